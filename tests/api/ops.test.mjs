// What an operator of a tenant sees: depths by channel, what was given up, and another try for it.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { startPostbox } from '../postbox/index.mjs';
import { checkedTenant, expect, newUser, openShop, send, waitFor } from './lib.mjs';

let stack;
let shop;
let postbox;
let stop;
before(async () => {
  postbox = await startPostbox();
  ({ stack, shop, stop } = await openShop({ postbox, workers: 1, workerEnv: { BELFRY_ATTEMPTS: '1', BELFRY_RETRY_BASE_MS: '50' } }));
});
after(async () => {
  await stop?.();
  await postbox?.close();
});

const depths = async (tenant = shop) => Object.fromEntries(expect(200, await tenant.service('GET', '/ops/queue')).channels.map((c) => [c.channel, c]));
const letters = async (query = '') => expect(200, await shop.service('GET', `/ops/dead-letters${query}`));

async function person(name) {
  const user = newUser();
  expect(201, await shop.service('PUT', `/users/${user}`, {}));
  const device = expect(201, await shop.service('PUT', `/users/${user}/devices/hook`, { channel: 'webhook', url: `${postbox.url}/webhooks/${name}` }));
  await postbox.setWebhookSecrets(name, [device.secret]);
  return user;
}

test('depths follow what waits, and the age of the oldest', async () => {
  const user = await person('depths');
  await stack.stopService('worker');
  await send(shop, user);
  const { webhook } = await depths();
  assert.equal(webhook.ready, 1);
  assert.ok(webhook.oldestReadySeconds >= 0);
  const other = await checkedTenant(stack, 'empty');
  assert.equal((await depths(other)).webhook?.ready ?? 0, 0);
  await stack.startService('worker');
  await waitFor(async () => (await depths()).webhook.ready === 0, 'it is delivered');
  await waitFor(async () => (await depths()).webhook.leased === 0, 'and settled');
  assert.equal((await depths()).webhook.oldestReadySeconds, null);
});

test('what was given up is listed in pages, and delivered when it is replayed', async () => {
  const user = await person('replayed');
  postbox.fault({ kind: 'webhook', next: 3, status: 500 });
  const ids = [];
  for (let i = 0; i < 3; i += 1) ids.push(...await send(shop, user));
  await waitFor(async () => (await letters()).deadLetters.length === 3, 'all three are given up');
  const found = [];
  for (let cursor = ''; cursor !== null;) {
    const page = await letters(`?limit=2${cursor && `&cursor=${cursor}`}`);
    found.push(...page.deadLetters);
    cursor = page.nextCursor;
  }
  assert.deepEqual(found.map((l) => l.notification), [...ids].reverse());
  assert.ok(found.every((l) => l.user === user && l.channel === 'webhook' && l.attempts >= 1 && l.reason));
  const timeline = expect(200, await shop.service('GET', `/notifications/${ids[0]}/timeline`));
  assert.deepEqual(timeline.deliveries.map((d) => d.state), ['dead']);
  assert.equal((await depths()).webhook.dead, 3);

  assert.deepEqual(expect(202, await shop.service('POST', `/ops/dead-letters/${found[0].id}/replay`)), { id: found[0].id });
  await postbox.waitFor((m) => m.kind === 'webhook' && m.payload?.data?.id === found[0].notification, { timeoutMs: 30_000 });
  expect(404, await shop.service('POST', `/ops/dead-letters/${found[0].id}/replay`));
  assert.deepEqual(expect(202, await shop.service('POST', '/ops/dead-letters/replay-all')), { replayed: 2 });
  await waitFor(async () => {
    const states = await Promise.all(ids.map(async (id) => expect(200, await shop.service('GET', `/notifications/${id}/timeline`)).deliveries[0].state));
    return states.every((state) => state === 'sent');
  }, 'all are sent');
  assert.deepEqual((await letters()).deadLetters, []);
  assert.equal((await depths()).webhook.dead, 0);
  assert.deepEqual(expect(202, await shop.service('POST', '/ops/dead-letters/replay-all')), { replayed: 0 });
});

test('dead letters of another tenant are not there', async () => {
  const user = await person('others');
  postbox.fault({ kind: 'webhook', next: 1, status: 500 });
  await send(shop, user);
  const [letter] = await waitFor(async () => { const list = (await letters()).deadLetters; return list.length ? list : null; }, 'it is given up');
  const other = await checkedTenant(stack, 'strangers');
  assert.deepEqual(expect(200, await other.service('GET', '/ops/dead-letters')).deadLetters, []);
  expect(404, await other.service('POST', `/ops/dead-letters/${letter.id}/replay`));
  assert.deepEqual(expect(202, await other.service('POST', '/ops/dead-letters/replay-all')), { replayed: 0 });
  assert.equal((await letters()).deadLetters.length, 1);
});

test('a cursor that is none is refused', async () => {
  expect(400, await shop.service('GET', '/ops/dead-letters?cursor=nonsense'));
});
