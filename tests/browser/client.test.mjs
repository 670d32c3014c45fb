// BelfryClient in a browser against the real stack: what it holds is what the server has, whatever restarts
// in between, by long-poll, by stream and where nothing may wait.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { startStack } from '../../deploy/dev/stack.mjs';
import { openTab, startBrowser, waitFor, waitForParkedPoll } from './lib.mjs';

const BLANK = new URL('blank.html', import.meta.url).pathname;
const STACK = { files: { '/blank.html': BLANK }, workers: 0 };

let browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser?.close());

/** A tab with a started client in window.client; what arrived, by id, in window.arrived. */
async function openClient(stack, tenant, user, options = {}) {
  const tab = await openTab(browser, `${stack.url}/blank.html`);
  tab.streams = [];
  tab.page.on('response', (response) => {
    if (/\/api\/v1\/stream\?/.test(response.url())) tab.streams.push(response.status());
  });
  await tab.page.evaluate(async (settings) => {
    const { BelfryClient } = await import('/client/belfry.js');
    const client = new BelfryClient({ shareTabs: false, ...settings });
    Object.assign(window, { client, arrived: [] });
    client.addEventListener('arrived', (event) => window.arrived.push(...event.detail.map(({ id }) => id)));
    client.start();
  }, { token: tenant.token(user), ...options });
  tab.held = () => tab.page.evaluate(() => {
    const { known, notifications, unreadCount, unseenCount } = window.client.state;
    return { status: window.client.status, known, ids: notifications.map(({ id }) => id), unreadCount, unseenCount, arrived: window.arrived };
  });
  await waitFor(async () => (await tab.held()).known, 'the first state');
  return tab;
}

/** Sends as a careful backend does: again with the same key until it is accepted. Gives the id. */
async function sendSafely(tenant, user, n) {
  return waitFor(async () => {
    const answer = await tenant.service('POST', '/notifications', { to: [user], title: `Number ${n}` }, { 'Idempotency-Key': `${user}-${n}` })
      .catch(() => ({ status: 0 }));
    assert.ok(answer.status === 202 || answer.status === 0 || answer.status >= 500 || answer.status === 409, JSON.stringify(answer.body));
    return answer.status === 202 && answer.body.notifications[0].id;
  }, `number ${n} is accepted`);
}

/** The client holds exactly these, heard of each once, and counts as the server does. */
async function assertHolds(tab, tenant, user, ids) {
  await waitFor(async () => (await tab.held()).ids.length >= ids.length, `${ids.length} notifications`);
  const held = await tab.held();
  const { body } = await tenant.user(user, 'GET', '/inbox?limit=100');
  assert.deepEqual(held.ids, body.notifications.map(({ id }) => id), 'the order and content of the inbox');
  assert.deepEqual([...held.ids].sort(), [...ids].sort(), 'nothing lost, nothing made up');
  assert.deepEqual([...held.arrived].sort(), [...ids].sort(), 'told of each one once');
  assert.deepEqual([held.unreadCount, held.unseenCount], [body.unreadCount, body.unseenCount]);
}

describe('a client behind lighttpd', () => {
  let stack;
  let tenant;
  before(async () => {
    stack = await startStack(STACK);
    tenant = await createTenant(stack, 'shop', { accounts: false });
  });
  after(() => stack?.stop());

  test('a long-polling client loses and repeats nothing while handlers and web server restart', async () => {
    const tab = await openClient(stack, tenant, 'poller');
    const disturb = { 5: () => stack.kill('api'), 10: () => stack.replace('api'), 15: () => stack.kill('web'), 20: () => stack.kill('redis') };
    const ids = [];
    for (let n = 1; n <= 25; n += 1) {
      if (disturb[n]) await waitForParkedPoll(tab); // so that it hurts
      await disturb[n]?.();
      ids.push(await sendSafely(tenant, 'poller', n));
    }
    await assertHolds(tab, tenant, 'poller', ids);
    await waitFor(async () => (await tab.held()).status === 'live', 'it is live again');
    await tab.context.close();
  });

  test('a streaming client loses and repeats nothing, and never has to poll', async () => {
    const tab = await openClient(stack, tenant, 'streamer', { mode: 'stream' });
    const ids = [];
    const streamed = (count) => waitFor(() => tab.streams.filter((status) => status === 200).length >= count, `stream number ${count}`);
    await streamed(1);
    const disturb = { 4: () => stack.replace('api'), 8: () => stack.kill('api') };
    let streams = 1;
    for (let n = 1; n <= 12; n += 1) {
      await disturb[n]?.();
      ids.push(await sendSafely(tenant, 'streamer', n));
      if (disturb[n]) await streamed(streams += 1);
    }
    await assertHolds(tab, tenant, 'streamer', ids);
    assert.equal((await tab.held()).status, 'live');
    assert.equal(tab.polls.length, 0);
    await tab.context.close();
  });

  test('after a restore, when its cursor is of another epoch, it takes the whole state anew', async () => {
    const tab = await openClient(stack, tenant, 'restored');
    const kept = await sendSafely(tenant, 'restored', 1);
    const lost = await sendSafely(tenant, 'restored', 2);
    await waitFor(async () => (await tab.held()).ids.length === 2, 'both are there');
    await stack.stopService('api');
    // As a backup would be that was made between the two.
    stack.sql(`delete from belfry.notification where id = '${lost}';
      update belfry.feed set rev = rev - 1, unread = unread - 1, unseen = unseen - 1 where key = 'inbox:restored'`);
    stack.ctl('epoch', 'renew');
    await stack.startService('api');
    await waitFor(async () => (await tab.held()).ids.length === 1, 'what was never restored is gone');
    const after = await sendSafely(tenant, 'restored', 3);
    await waitFor(async () => (await tab.held()).ids.length === 2, 'the next one');
    const held = await tab.held();
    assert.deepEqual(held.ids, [after, kept]);
    assert.deepEqual([held.unreadCount, held.unseenCount], [2, 2]);
    assert.deepEqual(held.arrived, [kept, lost, after]);
    await tab.context.close();
  });

  test('a token that is refused is told, and another one ends it', async () => {
    const tab = await openClient(stack, tenant, 'guest');
    await tab.page.evaluate(async (token) => {
      const { BelfryClient } = await import('/client/belfry.js');
      window.tokens = ['not.a.token', 'nor.is.this'];
      window.other = new BelfryClient({ shareTabs: false, token: () => window.tokens.shift() ?? token });
      window.other.start();
    }, tenant.token('guest'));
    const status = () => tab.page.evaluate(() => window.other.status);
    await waitFor(async () => (await status()) === 'unauthorized', 'it is refused');
    await tab.page.evaluate(() => window.other.retry());
    await waitFor(async () => (await status()) === 'live', 'it is let in');
    await tab.context.close();
  });
});

test('where requests may not wait (plain CGI) the client polls at the pace it is told, and everything arrives', async () => {
  const stack = await startStack({ ...STACK, webServer: 'cgi' });
  try {
    const tenant = await createTenant(stack, 'shop', { accounts: false });
    const tab = await openClient(stack, tenant, 'cgi');
    await waitFor(async () => (await tab.held()).status === 'polling', 'it polls');
    const ids = [await sendSafely(tenant, 'cgi', 1), await sendSafely(tenant, 'cgi', 2)];
    await assertHolds(tab, tenant, 'cgi', ids);
    assert.equal(new URL(tab.polls.at(-1).url()).searchParams.get('wait'), '0');
    tab.assertQuiet();
    await tab.context.close();
  } finally {
    await stack.stop();
  }
});
