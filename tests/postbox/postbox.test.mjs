// The postbox against senders that are not ours: web-push, nodemailer and standardwebhooks.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { after, before, beforeEach, test } from 'node:test';
import nodemailer from 'nodemailer';
import { Webhook } from 'standardwebhooks';
import webpush from 'web-push';
import { startPostbox } from './index.mjs';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const vapid = webpush.generateVAPIDKeys();
let postbox;

before(async () => { postbox = await startPostbox(); });
after(() => postbox.close());
beforeEach(() => { postbox.clear(); postbox.clearFaults(); });

function sendMail({ implicit = false, user = postbox.user, requireTLS = true, to = 'a@example.org' } = {}) {
  const transport = nodemailer.createTransport({
    host: postbox.host, port: implicit ? postbox.smtpsPort : postbox.smtpPort, secure: implicit, requireTLS,
    auth: { user, pass: postbox.password }, tls: { ca: readFileSync(postbox.caFile), servername: 'localhost' },
  });
  return transport.sendMail({ from: 'b@example.org', to, subject: '안녕 – hello', text: 'plain\n.dot', html: '<b>x</b>' });
}

function sendPush(subscription, options = {}) {
  return webpush.sendNotification(subscription, JSON.stringify({ title: 'Hi' }), {
    TTL: 60, urgency: 'high', topic: 'abc', agent: new https.Agent({ ca: readFileSync(postbox.caFile) }),
    vapidDetails: { subject: 'mailto:ops@example.org', ...vapid }, ...options,
  });
}

function sendHook(name, { secret = SECRET, id = 'msg_1', body = '{"type":"a.b","data":{}}' } = {}) {
  const now = new Date();
  return fetch(`${postbox.url}/webhooks/${name}`, {
    method: 'POST', body, headers: {
      'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': String(Math.floor(now / 1000)),
      'webhook-signature': new Webhook(secret).sign(id, now, body),
    },
  });
}

test('mail by STARTTLS and by implicit TLS arrives decoded', async () => {
  await sendMail();
  await sendMail({ implicit: true });
  const [first, second] = postbox.messages({ kind: 'email' });
  assert.equal(first.subject, '안녕 – hello');
  assert.equal(first.text.trim(), 'plain\n.dot');
  assert.deepEqual([first.ok, first.tls, second.tls, first.to], [true, 'starttls', 'implicit', ['a@example.org']]);
});

test('a wrong mail password is refused', async () => {
  await assert.rejects(sendMail({ user: 'nobody' }), { responseCode: 535 });
});

test('each stage of a mail transaction can be made to fail, once', async () => {
  for (const stage of ['connect', 'auth', 'mail', 'rcpt', 'data', 'end']) {
    postbox.fault({ kind: 'email', smtp: { stage, code: 451, text: `4.7.1 no ${stage}` } });
    await assert.rejects(sendMail(), (error) => /no /.test(error.response ?? error.message), stage);
    await sendMail();
  }
  postbox.fault({ kind: 'email', reset: true });
  await assert.rejects(sendMail());
  assert.equal(postbox.messages({ kind: 'email' }).at(-1).problem, 'fault: connection cut');
});

test('a push message is decrypted and its VAPID token checked', async () => {
  const subscription = postbox.subscribe();
  assert.equal((await sendPush(subscription)).statusCode, 201);
  const message = await postbox.waitFor((m) => m.kind === 'push');
  assert.deepEqual(message.payload, { title: 'Hi' });
  assert.equal(message.vapid.key, vapid.publicKey);
  assert.deepEqual([message.ttl, message.urgency, message.topic, message.repeat], [60, 'high', 'abc', false]);
});

test('a push with a foreign key, damaged body or to an expired subscription is refused', async () => {
  const bound = postbox.subscribe({ applicationServerKey: webpush.generateVAPIDKeys().publicKey });
  await assert.rejects(sendPush(bound), { statusCode: 403 });
  const subscription = postbox.subscribe();
  const wrongKeys = { ...subscription, keys: postbox.subscribe().keys };
  await assert.rejects(sendPush(wrongKeys), { statusCode: 400 });
  assert.match(postbox.messages().at(-1).problem, /cannot decrypt/);
  postbox.expire(subscription.id);
  await assert.rejects(sendPush(subscription), { statusCode: 410 });
  await assert.rejects(sendPush({ ...subscription, endpoint: `${postbox.httpsUrl}/push/none` }), { statusCode: 404 });
});

test('a push token for another origin is refused', async () => {
  const subscription = postbox.subscribe();
  const { headers, body } = webpush.generateRequestDetails(
    { ...subscription, endpoint: 'https://other.example/push/1' }, 'x',
    { vapidDetails: { subject: 'mailto:ops@example.org', ...vapid } });
  const answer = await fetch(`${postbox.url}/push/${subscription.id}`, { method: 'POST', headers, body });
  assert.equal(answer.status, 403);
  assert.match(postbox.messages().at(-1).problem, /aud/);
});

test('webhooks are verified with any of the registered secrets', async () => {
  postbox.setWebhookSecrets('orders', [`whsec_${Buffer.alloc(32, 1).toString('base64')}`, SECRET]);
  assert.equal((await sendHook('orders')).status, 204);
  assert.equal((await sendHook('orders')).status, 204);
  assert.equal((await sendHook('orders', { secret: `whsec_${Buffer.alloc(32, 9).toString('base64')}` })).status, 401);
  assert.equal((await sendHook('unknown')).status, 401);
  assert.deepEqual(postbox.messages().map((m) => [m.ok, m.repeat]), [[true, false], [true, true], [false, true], [false, true]]);
});

test('faults answer the next requests that match, with Retry-After', async () => {
  postbox.setWebhookSecrets('a', [SECRET]);
  postbox.setWebhookSecrets('b', [SECRET]);
  postbox.fault({ kind: 'webhook', next: 2, status: 503, retryAfter: 7, match: 'a' });
  assert.equal((await sendHook('b')).status, 204);
  const refused = await sendHook('a');
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '7']);
  assert.equal((await sendHook('a')).status, 503);
  assert.equal((await sendHook('a')).status, 204);
  for (const reset of [true, 'before']) {
    postbox.fault({ kind: 'webhook', reset });
    await assert.rejects(sendHook('a'));
  }
  assert.equal(postbox.messages().length, 5);
});

test('everything is shown as JSON, can be waited for, and cleared', async () => {
  postbox.setWebhookSecrets('a', [SECRET]);
  const waiting = fetch(`${postbox.url}/?kind=webhook&since=0&wait=10`);
  await sendHook('a');
  const shown = await (await waiting).json();
  assert.deepEqual(shown.counts, { email: 0, push: 0, webhook: 1 });
  const later = await (await fetch(`${postbox.url}/?since=${shown.messages[0].n}`)).json();
  assert.deepEqual(later.messages, []);
  await fetch(`${postbox.url}/messages`, { method: 'DELETE' });
  assert.deepEqual(postbox.messages(), []);
});

test('browsers get a page without inline script', async () => {
  const page = await fetch(postbox.url, { headers: { accept: 'text/html,*/*' } });
  assert.match(page.headers.get('content-security-policy'), /default-src 'none'/);
  assert.doesNotMatch(await page.text(), /<script(?![^>]*src=)|style=|onclick/);
});

test('memory is bounded: the oldest messages go first', async () => {
  const small = await startPostbox({ messagesMax: 3 });
  try {
    small.setWebhookSecrets('a', [SECRET]);
    for (let i = 0; i < 5; i++) await fetch(`${small.url}/webhooks/a`, { method: 'POST', body: `${i}` });
    assert.deepEqual(small.messages().map((m) => m.text), ['2', '3', '4']);
  } finally {
    await small.close();
  }
});
