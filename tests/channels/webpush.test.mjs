// Web Push from POST /notifications to what a browser decrypts. The postbox is strict: it checks the
// VAPID token, the headers and the encryption, and keeps a `problem` for whatever a push service would refuse.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { startPostbox } from '../postbox/index.mjs';
import { QUICK, DEADLINE_MS, outcomes, put, send, untilState } from './lib.mjs';

const TTL_DEFAULT_S = 4 * 7 * 86_400;
let postbox;
let stack;
let shop;
let userNumber = 0;

before(async () => {
  postbox = await startPostbox();
  stack = await startStack({ postbox, env: QUICK });
  shop = await createTenant(stack, 'shop', { accounts: false });
  stack.ctl('account', 'create', 'shop', '--channel', 'push', '--provider', 'webpush', '--config', '{"subject":"mailto:ops@example.com"}', '--json');
});
after(async () => {
  await stack?.stop();
  await postbox?.close();
});

// A browser subscribes with the key that GET /push/key gives, so a push with any other key is refused.
async function browser(user = `b${userNumber++}`) {
  const key = (await shop.user(user, 'GET', '/push/key')).body.publicKey;
  const subscription = postbox.subscribe({ applicationServerKey: key });
  const { endpoint, expirationTime, keys } = subscription;
  const answer = await shop.user(user, 'POST', '/push-subscriptions', { endpoint, expirationTime, keys });
  return { user, key, subscription, answer, device: answer.body.id };
}
const pushTo = ({ subscription }) => postbox.waitFor((m) => m.kind === 'push' && m.subscription === subscription.id, { timeoutMs: DEADLINE_MS });
const pushesTo = ({ subscription }) => postbox.messages({ kind: 'push' }).filter((m) => m.subscription === subscription.id);

describe('Web Push', () => {
  test('a browser subscribes with its token, decrypts what is sent, and unsubscribes', async () => {
    const one = await browser();
    assert.equal(one.answer.status, 201, JSON.stringify(one.answer.body));
    const { endpoint, keys } = one.subscription;
    const again = await shop.user(one.user, 'POST', '/push-subscriptions', { endpoint, keys });
    assert.deepEqual([again.status, again.body.id], [200, one.device]);
    const id = await send(shop, one.user, {
      title: '새 메시지 ✉️', body: 'A text', url: 'https://shop.example.com/1', data: { order: 7 }, actions: [{ id: 'ok', label: 'OK' }], type: 'order',
    });
    const push = await pushTo(one);
    assert.equal(push.problem, null);
    assert.equal(push.payload.id, id);
    assert.equal(push.payload.title, '새 메시지 ✉️');
    assert.deepEqual([push.payload.body, push.payload.url, push.payload.type], ['A text', 'https://shop.example.com/1', 'order']);
    assert.deepEqual(push.payload.data, { order: 7 });
    assert.deepEqual(push.payload.actions, [{ id: 'ok', label: 'OK' }]);
    const delivery = await untilState(stack, shop, id, 'sent');
    assert.equal(delivery.device, one.device);
    assert.equal(delivery.attempts[0].code, '201');
    assert.ok(delivery.attempts[0].providerMessageId);
    const gone = await shop.user(one.user, 'DELETE', `/push-subscriptions/${one.device}`);
    assert.equal(gone.status, 204);
    const after = await send(shop, one.user, { channels: ['push'] });
    const decisions = (await shop.service('GET', `/notifications/${after}/timeline`)).body.decisions;
    assert.deepEqual(decisions.map((one_) => [one_.channel, one_.decision, one_.reason]), [['push', 'skip', 'no address']]);
  });

  test('is signed by VAPID for the push service\'s origin, for less than a day', async () => {
    const one = await browser();
    await send(shop, one.user);
    const { vapid } = await pushTo(one);
    assert.equal(vapid.key, one.key);
    assert.equal(vapid.aud, new URL(one.subscription.endpoint).origin);
    assert.equal(vapid.sub, 'mailto:ops@example.com');
    assert.ok(vapid.exp > Date.now() / 1000 && vapid.exp <= Date.now() / 1000 + 86_400);
  });

  test('TTL follows expiresAt, Urgency the priority, Topic the notification', async () => {
    const urgencies = { low: 'low', medium: 'normal', high: 'high', urgent: 'high' };
    for (const [priority, urgency] of Object.entries(urgencies)) {
      const one = await browser();
      const id = await send(shop, one.user, { priority });
      const push = await pushTo(one);
      assert.deepEqual([push.urgency, push.ttl, push.topic], [urgency, TTL_DEFAULT_S, id.replaceAll('-', '')], priority);
    }
    const one = await browser();
    await send(shop, one.user, { expiresAt: new Date(Date.now() + 600_000).toISOString() });
    const push = await pushTo(one);
    assert.ok(push.ttl > 500 && push.ttl <= 600, `${push.ttl}`);
  });

  test('a message that is too long loses its data and its end, not its title', async () => {
    const one = await browser();
    await send(shop, one.user, { title: 'Title', body: '길다'.repeat(2000), data: { much: 'x'.repeat(4000) } });
    const push = await pushTo(one);
    assert.equal(push.problem, null);
    assert.equal(push.payload.title, 'Title');
    assert.ok('길다'.repeat(2000).startsWith(push.payload.body.replace(/…$/, '')), 'cut at a character');
    assert.ok(push.bytes <= 4096);
  });

  test('410 and 404 remove the subscription', async () => {
    for (const status of [410, 404]) {
      const one = await browser();
      if (status === 410) postbox.expire(one.subscription.id);
      else postbox.fault({ kind: 'push', next: 1, status, match: one.subscription.id });
      const delivery = await untilState(stack, shop, await send(shop, one.user), 'failed');
      assert.deepEqual([outcomes(delivery.attempts), delivery.attempts[0].code], [['gone'], String(status)]);
      assert.equal((await shop.service('GET', `/users/${one.user}/devices/${one.device}`)).status, 404);
      const devices = await shop.service('GET', `/users/${one.user}/devices`);
      assert.deepEqual(devices.body.devices, []);
    }
  });

  test('429 waits as long as Retry-After says', async () => {
    const one = await browser();
    postbox.fault({ kind: 'push', next: 1, status: 429, retryAfter: 2, match: one.subscription.id });
    const delivery = await untilState(stack, shop, await send(shop, one.user), 'sent');
    assert.deepEqual(outcomes(delivery.attempts), ['throttled', 'sent']);
    const [first, second] = pushesTo(one).map((push) => Date.parse(push.at));
    assert.ok(second - first >= 1900, `${second - first} ms`);
  });

  test('a push service that is broken is asked again, and the repeat replaces the first', async () => {
    const one = await browser();
    postbox.fault({ kind: 'push', next: 1, status: 500, match: one.subscription.id });
    postbox.fault({ kind: 'push', next: 1, reset: true, match: one.subscription.id });
    const delivery = await untilState(stack, shop, await send(shop, one.user), 'sent');
    assert.equal(outcomes(delivery.attempts)[0], 'retry');
    assert.equal(new Set(pushesTo(one).map((push) => push.topic)).size, 1);
  });

  test('a subscription that moves to another user leaves the first', async () => {
    const one = await browser();
    const other = `b${userNumber++}`;
    const { endpoint, keys } = one.subscription;
    const moved = await shop.user(other, 'POST', '/push-subscriptions', { endpoint, keys });
    assert.ok([200, 201].includes(moved.status), JSON.stringify(moved.body));
    assert.deepEqual((await shop.service('GET', `/users/${one.user}/devices`)).body.devices, []);
    const id = await send(shop, other);
    assert.equal((await pushTo(one)).payload.id, id);
  });

  test('what was read before it was pushed is not pushed', async () => {
    const one = await browser();
    await stack.stopService('worker');
    const id = await send(shop, one.user);
    assert.equal((await shop.user(one.user, 'PATCH', `/inbox/${id}`, { read: true })).status, 200);
    await stack.startService('worker');
    const delivery = await untilState(stack, shop, id, 'cancelled');
    assert.deepEqual(outcomes(delivery.attempts), ['suppressed']);
    assert.deepEqual(pushesTo(one), []);
  });

  test('endpoints that refuse the VAPID key, however many, do not stop the others', async () => {
    const good = await browser();
    for (let i = 0; i < 5; i++) {
      const bad = await browser();
      postbox.fault({ kind: 'push', next: 1, status: i % 2 ? 401 : 403, match: bad.subscription.id });
      await send(shop, bad.user);
      await stack.until(() => pushesTo(bad).length > 0, 'it was refused', DEADLINE_MS);
    }
    await put(shop, `/users/${good.user}`, { name: 'Good' });
    await untilState(stack, shop, await send(shop, good.user), 'sent');
  });
});
