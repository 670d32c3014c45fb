// Signed webhooks from POST /notifications to a receiver that verifies them with the reference library
// of Standard Webhooks, and what becomes of each of its answers.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { randomBytes } from 'node:crypto';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';
import { startPostbox } from '../postbox/index.mjs';
import { QUICK, DEADLINE_MS, outcomes, put, queueIsEmpty, send, untilAttempts, untilState } from './lib.mjs';

const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;
let postbox;
let userNumber = 0;

before(async () => {
  postbox = await startPostbox();
});
after(async () => {
  await postbox?.close();
});

const hooksOf = (name) => postbox.messages({ kind: 'webhook' }).filter((m) => m.name === name);
const hookTo = (name, predicate = () => true) => postbox.waitFor((m) => m.kind === 'webhook' && m.name === name && predicate(m), { timeoutMs: DEADLINE_MS });

describe('webhooks', () => {
  let stack;
  let shop;
  before(async () => {
    stack = await startStack({ postbox, env: QUICK });
    shop = await createTenant(stack, 'shop', { accounts: false });
  });
  after(async () => {
    await stack?.stop();
  });

  async function receiver({ secret = newSecret(), secure = true } = {}) {
    const user = `h${userNumber++}`;
    postbox.setWebhookSecrets(user, [secret]);
    const url = `${secure ? postbox.httpsUrl : postbox.url}/webhooks/${user}`;
    await put(shop, `/users/${user}/devices/hook`, { channel: 'webhook', url, secret });
    return { user, url, secret };
  }

  test('are signed as Standard Webhooks asks, and say everything about the notification', async () => {
    const { user } = await receiver();
    const fields = {
      title: '제목 📦', body: 'Text', type: 'order.shipped', category: 'orders', priority: 'high', data: { n: 1.5, deep: [{ a: null }] },
      sender: { id: 's1', name: 'Shop' }, actions: [{ id: 'ok', label: 'OK', url: 'https://shop.example.com/ok' }], url: 'https://shop.example.com/1',
    };
    const id = await send(shop, user, fields);
    const hook = await hookTo(user);
    assert.equal(hook.problem, null);
    assert.equal(hook.contentType, 'application/json');
    assert.equal(hook.id, `msg_${id}_1`);
    assert.ok(Math.abs(hook.timestamp - Date.now() / 1000) < 120);
    assert.equal(hook.payload.type, 'notification');
    const { createdAt, sender, actions, ...rest } = hook.payload.data;
    assert.deepEqual(rest, {
      id, user, title: fields.title, body: fields.body, type: fields.type, category: fields.category, priority: fields.priority,
      data: fields.data, url: fields.url,
    });
    assert.ok(Date.parse(createdAt) > 0);
    assert.equal(sender.name, 'Shop');
    assert.deepEqual([actions[0].id, actions[0].label, actions[0].url], ['ok', 'OK', 'https://shop.example.com/ok']);
    const delivery = await untilState(stack, shop, id, 'sent');
    assert.deepEqual([delivery.channel, delivery.device, delivery.attempts[0].code], ['webhook', 'hook', '204']);
  });

  test('a secret that Belfry made is told once and verifies', async () => {
    const user = `h${userNumber++}`;
    const made = await put(shop, `/users/${user}/devices/hook`, { channel: 'webhook', url: `${postbox.httpsUrl}/webhooks/${user}` });
    assert.match(made.secret, /^whsec_/);
    postbox.setWebhookSecrets(user, [made.secret]);
    await send(shop, user);
    assert.equal((await hookTo(user)).problem, null);
    assert.equal((await shop.service('GET', `/users/${user}/devices/hook`)).body.secret, null);
    const again = await put(shop, `/users/${user}/devices/hook`, { channel: 'webhook', url: `${postbox.httpsUrl}/webhooks/${user}` });
    assert.equal(again.secret, null, 'it stays as it was');
    await send(shop, user);
    await hookTo(user, (m) => m.n > hooksOf(user)[0].n && m.problem === null);
  });

  test('a secret can be changed while the receiver knows several, without a refused message', async () => {
    const { user, url, secret } = await receiver();
    await send(shop, user);
    await hookTo(user);
    const next = newSecret();
    postbox.setWebhookSecrets(user, [secret, next]);
    await send(shop, user);
    await put(shop, `/users/${user}/devices/hook`, { channel: 'webhook', url, secret: next });
    await send(shop, user);
    await stack.until(() => hooksOf(user).length === 3, 'all three arrive', DEADLINE_MS);
    assert.deepEqual(hooksOf(user).map((hook) => hook.problem), [null, null, null]);
    postbox.setWebhookSecrets(user, [next]);
    await send(shop, user);
    await stack.until(() => hooksOf(user).length === 4, 'the new one alone', DEADLINE_MS);
    assert.equal(hooksOf(user)[3].problem, null);
  });

  test('a receiver that fails is asked again with the same id and a new signature', async () => {
    const { user } = await receiver();
    postbox.fault({ kind: 'webhook', next: 1, status: 500, match: user });
    postbox.fault({ kind: 'webhook', next: 1, reset: true, match: user });
    postbox.fault({ kind: 'webhook', next: 1, status: 400, match: user });
    const delivery = await untilState(stack, shop, await send(shop, user), 'sent');
    // A kept connection that is cut may be replaced without an attempt of its own.
    const seen = outcomes(delivery.attempts);
    assert.deepEqual([...new Set(seen.slice(0, -1)), seen.at(-1)], ['retry', 'sent']);
    assert.deepEqual(delivery.attempts.map((attempt) => attempt.number), seen.map((_, i) => i + 1));
    const hooks = hooksOf(user);
    assert.deepEqual(hooks.map((hook) => [hook.ok, hook.repeat]), [[false, false], [false, true], [false, true], [true, true]]);
    assert.equal(new Set(hooks.map((hook) => hook.id)).size, 1);
  });

  test('Retry-After is honoured, in seconds and as a date', async () => {
    for (const [status, retryAfter] of [[503, 2], [429, new Date(Date.now() + 4000).toUTCString()]]) {
      const { user } = await receiver();
      postbox.fault({ kind: 'webhook', next: 1, status, retryAfter, match: user });
      const delivery = await untilState(stack, shop, await send(shop, user), 'sent');
      assert.deepEqual(outcomes(delivery.attempts), [status === 429 ? 'throttled' : 'retry', 'sent']);
      const [first, second] = hooksOf(user).map((hook) => Date.parse(hook.at));
      const due = typeof retryAfter === 'number' ? first + 1000 * retryAfter : Date.parse(retryAfter);
      assert.ok(second >= due - 100, `${status}: ${second - due} ms`);
    }
  });

  test('410 removes the webhook', async () => {
    const { user } = await receiver();
    postbox.fault({ kind: 'webhook', next: 1, status: 410, match: user });
    const delivery = await untilState(stack, shop, await send(shop, user), 'failed');
    assert.deepEqual(outcomes(delivery.attempts), ['gone']);
    assert.equal((await shop.service('GET', `/users/${user}/devices/hook`)).status, 404);
  });

  test('redirects are not followed', async () => {
    const { user } = await receiver();
    const { user: other } = await receiver();
    postbox.fault({ kind: 'webhook', next: 1, status: 307, headers: { Location: `${postbox.httpsUrl}/webhooks/${other}` }, match: user });
    const delivery = await untilState(stack, shop, await send(shop, user), 'sent');
    assert.deepEqual([outcomes(delivery.attempts), delivery.attempts[0].code], [['retry', 'sent'], '307']);
    assert.deepEqual(hooksOf(other), []);
  });

  test('a certificate of nobody\'s authority gets nothing', async () => {
    const foreign = await startPostbox();
    try {
      const user = `h${userNumber++}`;
      await put(shop, `/users/${user}/devices/hook`, { channel: 'webhook', url: `${foreign.httpsUrl}/webhooks/${user}` });
      const [attempt] = await untilAttempts(stack, shop, await send(shop, user), 1);
      assert.equal(attempt.outcome, 'retry');
      assert.deepEqual(foreign.messages(), []);
    } finally {
      await foreign.close();
    }
  });

  test('a slow receiver does not hold up the others', async () => {
    const slow = await receiver();
    postbox.fault({ kind: 'webhook', next: 40, delayMs: 5000, match: slow.user });
    for (let i = 0; i < 40; i++) await send(shop, slow.user);
    const quick = await receiver({ secure: false }); // another origin
    const id = await send(shop, quick.user);
    await untilState(stack, shop, id, 'sent');
    assert.notEqual(stack.sql('select count(*) from belfry.lease'), '0', 'the slow one is still at it');
    postbox.clearFaults();
    await queueIsEmpty(stack);
  });
});

describe('URLs that others chose', () => {
  let stack;
  let shop;
  let inside; // what must not be reached
  let connections = 0;

  before(async () => {
    inside = http.createServer((request, response) => response.end());
    inside.on('connection', () => connections++);
    await new Promise((resolve) => inside.listen({ port: 0, host: '::', ipv6Only: false }, resolve));
    stack = await startStack({ env: { ...QUICK, BELFRY_PRIVATE_ADDRESSES: 'refuse' } });
    shop = await createTenant(stack, 'shop', { accounts: false });
    stack.ctl('account', 'create', 'shop', '--channel', 'push', '--provider', 'webpush', '--config', '{"subject":"mailto:ops@example.com"}', '--json');
  });
  after(async () => {
    await stack?.stop();
    inside?.close();
  });

  const port = () => inside.address().port;
  const hosts = {
    'a loopback address': '127.0.0.1',
    'another loopback address': '127.8.9.10',
    'a name that resolves to a loopback address': 'localhost',
    'an IPv4 address within IPv6': '[::ffff:127.0.0.1]',
    'IPv6 loopback': '[::1]',
    'the unspecified address': '0.0.0.0',
    'a number': '2130706433',
    'an octal address': '0177.0.0.1',
    'a short address': '127.1',
    'the metadata service': '169.254.169.254',
    'a private network': '10.0.0.1',
    'NAT64 of a loopback address': '[64:ff9b::7f00:1]',
  };
  for (const [what, host] of Object.entries(hosts)) {
    test(`a webhook to ${what} is refused, and no connection is made`, async () => {
      const user = `i${userNumber++}`;
      const url = `https://${host}:${port()}/inside`;
      const answer = await shop.service('PUT', `/users/${user}/devices/hook`, { channel: 'webhook', url });
      if (answer.status === 422) return; // refused on entry: as good
      const delivery = await untilState(stack, shop, await send(shop, user), 'failed');
      assert.deepEqual(outcomes(delivery.attempts), ['rejected'], JSON.stringify(delivery.attempts));
      assert.match(delivery.attempts[0].detail, /private address/);
      assert.equal(connections, 0);
    });
  }

  test('a push endpoint on a private address is refused, and no connection is made', async () => {
    const foreign = await startPostbox();
    try {
      const user = `i${userNumber++}`;
      const { keys } = foreign.subscribe();
      const endpoint = `https://localhost:${port()}/push/1`;
      const answer = await shop.user(user, 'POST', '/push-subscriptions', { endpoint, keys });
      if (answer.status !== 422) {
        const delivery = await untilState(stack, shop, await send(shop, user), 'failed');
        assert.deepEqual(outcomes(delivery.attempts), ['rejected'], JSON.stringify(delivery.attempts));
      }
      assert.equal(connections, 0);
    } finally {
      await foreign.close();
    }
  });
});
