// Devices: webhooks with their secrets, browsers' subscriptions and who has them, and how many there may be.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createECDH, randomBytes } from 'node:crypto';
import { createAccounts } from '../../deploy/dev/tenant.mjs';
import { checkedTenant, expect, faultsOf, newUser, openShop, request } from './lib.mjs';

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop());
});
after(() => stop?.());

function subscription(endpoint = `https://push.example/${randomBytes(12).toString('hex')}`) {
  const ecdh = createECDH('prime256v1');
  return { endpoint, keys: { p256dh: ecdh.generateKeys('base64url'), auth: randomBytes(16).toString('base64url') } };
}
const put = (user, id, body) => shop.service('PUT', `/users/${user}/devices/${id}`, body);
const webhook = (extra = {}) => ({ channel: 'webhook', url: 'https://hooks.example/a', ...extra });
const list = async (user) => expect(200, await shop.service('GET', `/users/${user}/devices`)).devices;

test('a webhook without a secret gets one, which is shown once', async () => {
  const user = newUser();
  const made = expect(201, await put(user, 'crm', webhook()));
  assert.match(made.secret, /^whsec_[A-Za-z0-9+/]{32,}={0,2}$/);
  assert.ok(!made.address.includes('/a'), 'the address is masked');
  assert.equal(expect(200, await shop.service('GET', `/users/${user}/devices/crm`)).secret, null);
  assert.equal(expect(200, await put(user, 'crm', webhook({ url: 'https://hooks.example/b' }))).secret, null, 'it keeps the one it had');
  assert.equal(expect(200, await put(user, 'crm', webhook({ secret: `whsec_${Buffer.alloc(32, 7).toString('base64')}` }))).secret, null);
  assert.equal((await shop.service('DELETE', `/users/${user}/devices/crm`)).status, 204);
  expect(404, await shop.service('GET', `/users/${user}/devices/crm`));
  expect(404, await shop.service('DELETE', `/users/${user}/devices/crm`));
});

test('a device may become another kind', async () => {
  const user = newUser();
  expect(201, await put(user, 'x', webhook()));
  const pushed = expect(200, await put(user, 'x', { channel: 'push', provider: 'webpush', subscription: subscription() }));
  assert.equal(pushed.channel, 'push');
  assert.match(expect(200, await put(user, 'x', webhook())).secret, /^whsec_/);
});

for (const [what, body, pointers] of [
  ['no channel', {}, ['/channel']],
  ['a channel that is none', { channel: 'pigeon' }, ['/channel']],
  ['a webhook without address', { channel: 'webhook' }, ['/url']],
  ['a webhook with a subscription', webhook({ subscription: {} }), ['/subscription']],
  ['a secret that is none', webhook({ secret: 'short' }), ['/secret']],
  ['an address with a password', webhook({ url: 'https://me:you@hooks.example/' }), ['/url']],
  ['a push device without provider', { channel: 'push', subscription: subscription() }, ['/provider']],
  ['a subscription without keys', { channel: 'push', provider: 'webpush', subscription: { endpoint: 'https://push.example/x' } }, ['/subscription/keys']],
  ['a key that is no point', { channel: 'push', provider: 'webpush', subscription: { endpoint: 'https://push.example/x', keys: { p256dh: 'A'.repeat(87), auth: 'A'.repeat(22) } } }, ['/subscription/keys/p256dh']],
  ['an unknown member', webhook({ colour: 'red' }), ['/colour']],
]) {
  test(`is refused for ${what}`, async () => {
    const user = newUser();
    const answer = await put(user, 'x', body);
    expect(422, answer);
    assert.deepEqual(faultsOf(answer), pointers);
    assert.deepEqual(await list(user), []);
  });
}

test('the ids of the user’s own addresses are reserved', async () => {
  expect(422, await put(newUser(), 'email', webhook()));
  expect(422, await put(newUser(), 'phone', webhook()));
});

test('a user has at most twenty, however many are put at once', async () => {
  const user = newUser();
  expect(201, await shop.service('PUT', `/users/${user}`, { email: 'x@example.com', phone: '+821012345678' }));
  const answers = await Promise.all(Array.from({ length: 24 }, (_, i) => put(user, `d${i}`, webhook({ url: `https://hooks.example/${i}` }))));
  assert.equal(answers.filter((a) => a.status === 201).length, 20);
  assert.equal(answers.filter((a) => a.status === 409).length, 4);
  assert.equal((await list(user)).length, 22);
  const kept = (await list(user)).find((d) => d.channel === 'webhook');
  expect(200, await put(user, kept.id, webhook()));
  expect(409, await shop.user(user, 'POST', '/push-subscriptions', subscription()));
});

test('a browser’s subscription is registered once, and belongs to who registered it last', async () => {
  const [first, second] = [newUser(), newUser()];
  const browser = subscription();
  const { id } = expect(201, await shop.user(first, 'POST', '/push-subscriptions', { ...browser, expirationTime: null }));
  assert.equal(expect(200, await shop.user(first, 'POST', '/push-subscriptions', browser)).id, id);
  const moved = expect(201, await shop.user(second, 'POST', '/push-subscriptions', browser));
  assert.deepEqual(await list(first), []);
  assert.deepEqual((await list(second)).map((d) => [d.id, d.channel, d.provider]), [[moved.id, 'push', 'webpush']]);
  expect(201, await put(first, 'mine', { channel: 'push', provider: 'webpush', subscription: browser }));
  assert.deepEqual(await list(second), []);
  expect(404, await shop.user(second, 'DELETE', `/push-subscriptions/${moved.id}`));
  expect(404, await shop.user(second, 'DELETE', '/push-subscriptions/mine'));
  assert.equal((await shop.user(first, 'DELETE', '/push-subscriptions/mine')).status, 204);
});

test('a subscription of another tenant stays where it is', async () => {
  const other = await checkedTenant(stack, 'other-browsers');
  const [user, browser] = [newUser(), subscription()];
  expect(201, await shop.user(user, 'POST', '/push-subscriptions', browser));
  expect(201, await other.user(user, 'POST', '/push-subscriptions', browser));
  assert.equal((await list(user)).length, 1);
});

for (const [what, body, pointers] of [
  ['without endpoint', { keys: subscription().keys }, ['/endpoint']],
  ['without keys', { endpoint: 'https://push.example/x' }, ['/keys']],
  ['with a short auth', { endpoint: 'https://push.example/x', keys: { p256dh: subscription().keys.p256dh, auth: 'AAAA' } }, ['/keys/auth']],
]) {
  test(`a subscription ${what} is refused`, async () => {
    const answer = await shop.user(newUser(), 'POST', '/push-subscriptions', body);
    expect(422, answer);
    assert.deepEqual(faultsOf(answer), pointers);
  });
}

test('the key to subscribe with is the tenant’s, if it has one', async () => {
  const bare = await checkedTenant(stack, 'no-push', { accounts: false });
  expect(404, await bare.user('u', 'GET', '/push/key'));
  createAccounts(stack, 'no-push', { host: '127.0.0.1', smtpPort: 1, user: 'u', password: 'p' });
  const { publicKey } = expect(200, await bare.user('u', 'GET', '/push/key'));
  assert.equal(Buffer.from(publicKey, 'base64url').length, 65);
});

test('an operator who does not allow private addresses has https asked for', async () => {
  const strict = await openShop({ apiEnv: { BELFRY_PRIVATE_ADDRESSES: 'refuse' } });
  try {
    const answer = await strict.shop.service('PUT', '/users/u/devices/x', webhook({ url: 'http://hooks.example/' }));
    expect(422, answer);
    assert.deepEqual(faultsOf(answer), ['/url']);
    const push = await request(strict.stack, 'POST', '/push-subscriptions', { headers: strict.shop.bearer('u'), body: subscription('http://push.example/x') });
    expect(422, push);
    assert.deepEqual(faultsOf(push), ['/endpoint']);
  } finally {
    await strict.stop();
  }
});
