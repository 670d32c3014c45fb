/**
 * The demo page: sends as a backend would, shows the inbox as a user's browser would, and shows what the
 * receivers of the other channels got (demo-arrived.js).
 *
 * What it needs to know is in `demo.json`, which `make run` writes:
 * `{"user","userToken","appKey","appSecret","postboxUrl"}`.
 */

import { BelfryClient, pushSupported } from './client/belfry.js';
import './client/inbox-element.js';
import { randomId } from './client/tabs.js';
import { Arrived } from './demo-arrived.js';

const $ = (id) => document.getElementById(id);
const form = $('form');
const STATUS_TEXT = { connecting: 'connecting', live: 'live', polling: 'polling', offline: 'offline', unauthorized: 'signed out' };

/** The page's beginning: everything starts from what demo.json says. */
async function main() {
  const demo = await fetchDemo();
  if (!demo) return;
  const client = new BelfryClient({ token: freshToken(demo) });
  const service = serviceRequest(demo);
  const arrived = new Arrived({ client, service, postboxUrl: demo.postboxUrl, place: $('arrived') });

  client.addEventListener('status', () => showStatus(client, demo.user));
  client.addEventListener('change', () => {
    document.title = `${client.state.unreadCount ? `(${client.state.unreadCount}) ` : ''}Belfry demo`;
  });
  $('bell').client = client;
  $('inbox').client = client;
  document.addEventListener('belfry-open', (event) => arrived.show(event.detail.notification));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    send({ demo, service, arrived, client });
  });
  form.addEventListener('input', () => showCurl(demo));
  $('postbox-link').href = demo.postboxUrl;
  $('postbox-link').hidden = false;
  offerPush(client);
  showCurl(demo);
  showStatus(client, demo.user);
  $('send').disabled = false;
  arrived.start();
}

async function fetchDemo() {
  try {
    const response = await fetch('demo.json', { cache: 'no-store' });
    if (response.ok) return await response.json();
    alertUser('This page is the demo of a running Belfry: start one with “make run” and open the address that it prints.');
  } catch {
    alertUser('Belfry cannot be reached. Is “make run” still running? Reload this page when it is.');
  }
  return null;
}

/** `make run` writes a new token when it starts again, so a page that stayed open asks for it. */
function freshToken(demo) {
  let first = demo.userToken;
  return async () => {
    const token = first ?? (await (await fetch('demo.json', { cache: 'no-store' })).json()).userToken;
    first = null;
    return token;
  };
}

/** Requests with the app key: `service(method, path, body, headers)` gives `{status, body}`. */
function serviceRequest(demo) {
  const authorization = `Basic ${btoa(`${demo.appKey}:${demo.appSecret}`)}`;
  return async (method, path, body, headers = {}) => {
    const response = await fetch(`api/v1${path}`, {
      method,
      cache: 'no-store',
      headers: { Authorization: authorization, ...(body ? { 'Content-Type': 'application/json' } : {}), ...headers },
      body: body ? JSON.stringify(body) : undefined,
    });
    return { status: response.status, body: await response.json().catch(() => null) };
  };
}

// ---- sending -----------------------------------------------------------------------------------

/** What the form says, as the body of POST /notifications. */
function requestBody(demo) {
  const data = new FormData(form);
  const delaySeconds = Number(data.get('delay'));
  const actions = String(data.get('actions')).split(',').map((label) => label.trim()).filter(Boolean).slice(0, 5);
  return {
    to: [demo.user],
    title: String(data.get('title')).trim(),
    body: String(data.get('body')).trim(),
    type: 'demo.message',
    category: 'demo',
    sender: { name: 'Demo shop' },
    priority: data.get('priority'),
    channels: data.getAll('channel'),
    ...(actions.length ? { actions: actions.map((label, i) => ({ id: actionId(label, i), label: label.slice(0, 64) })) } : {}),
    ...(delaySeconds ? { scheduledAt: new Date(Date.now() + delaySeconds * 1000).toISOString() } : {}),
  };
}

/** "We are coming" becomes "we-are-coming"; a number keeps equal labels apart. */
function actionId(label, i) {
  const slug = label.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 24);
  return slug ? `${slug}-${i + 1}` : `action-${i + 1}`;
}

async function send({ demo, service, arrived, client }) {
  const body = requestBody(demo);
  const sentAtMs = Date.now();
  const startMs = performance.now();
  $('send').disabled = true;
  showResult('Sending…');
  try {
    const { status, body: answer } = await service('POST', '/notifications', body, { 'Idempotency-Key': randomId() });
    if (status !== 202) return showResult(problemText(status, answer), 'bad');
    const took = Math.round(performance.now() - startMs);
    const [notification] = answer.notifications;
    showResult(`${notification.status === 'scheduled' ? 'Scheduled' : 'Accepted'} and committed in ${took} ms`, 'good');
    arrived.show({ ...body, id: notification.id, sentAtMs });
    if (client.status === 'offline') client.retry(); // Belfry is back, as we just saw
  } catch {
    showResult('Belfry cannot be reached.', 'bad');
  } finally {
    $('send').disabled = false;
  }
}

function problemText(status, problem) {
  const faults = (problem?.errors ?? []).map((fault) => `${fault.pointer ?? fault.parameter}: ${fault.detail}`);
  return [problem?.detail ?? problem?.title ?? `Status ${status}`, ...faults].join(' · ');
}

function showResult(text, kind = '') {
  $('result').textContent = text;
  $('result').className = `result ${kind}`;
}

function showCurl(demo) {
  const json = JSON.stringify(requestBody(demo), null, 2).replaceAll("'", "'\\''");
  $('curl').textContent = [
    `curl -u "$BELFRY_APP_KEY:$BELFRY_APP_SECRET" \\`,
    `  -H 'Content-Type: application/json' -H 'Idempotency-Key: order-4711' \\`,
    `  ${new URL('api/v1/notifications', document.baseURI).href} -d '${json}'`,
  ].join('\n');
}

// ---- around it ---------------------------------------------------------------------------------

function showStatus(client, user) {
  $('who').hidden = false;
  $('dot').className = `dot ${client.status}`;
  $('who-text').textContent = `${user} · ${STATUS_TEXT[client.status]}`;
}

function offerPush(client) {
  if (!pushSupported()) return;
  $('push').hidden = false;
  $('push').addEventListener('click', async () => {
    $('push-result').className = 'result';
    try {
      await client.enablePush();
      $('push-result').textContent = 'Done: the next one comes here too.';
    } catch (error) {
      $('push-result').textContent = `${error.message}.`;
      $('push-result').classList.add('bad');
    }
  });
}

function alertUser(text) {
  $('alert').textContent = text;
  $('alert').hidden = false;
}

main();
