// Users as a service keeps them: full replace, sealed at rest, exported whole, and erased for good.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { checkedTenant, expect, faultsOf, newUser, openShop, request, send, waitFor } from './lib.mjs';
import { openStream } from '../stream.mjs';

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop());
});
after(() => stop?.());

const put = (user, body) => shop.service('PUT', `/users/${user}`, body);

test('a user is made, replaced whole, and read back', async () => {
  const user = newUser();
  const full = {
    name: 'Mina 박', avatarUrl: 'https://example.com/m.png', email: 'Mina@Example.com', phone: '+821012345678', locale: 'ko-KR',
    timeZone: 'Asia/Seoul', attributes: { plan: 'pro', tags: ['a', 1, null] },
  };
  const made = expect(201, await put(user, full));
  for (const [name, value] of Object.entries(full)) assert.deepEqual(made[name], value, name);
  assert.deepEqual(expect(200, await shop.service('GET', `/users/${user}`)), made);
  const replaced = expect(200, await put(user, { name: 'M' }));
  assert.deepEqual(
    { ...replaced, createdAt: 0, updatedAt: 0 },
    { id: user, name: 'M', avatarUrl: null, email: null, phone: null, locale: null, timeZone: null, attributes: {}, createdAt: 0, updatedAt: 0 },
  );
  assert.equal(replaced.createdAt, made.createdAt);
  assert.ok(replaced.updatedAt >= made.updatedAt);
});

test('e-mail and phone become devices and go when they are removed', async () => {
  const user = newUser();
  expect(201, await put(user, { email: 'jane@example.com', phone: '+821012345678' }));
  const { devices } = expect(200, await shop.service('GET', `/users/${user}/devices`));
  assert.deepEqual(devices.map((d) => [d.id, d.channel, d.secret]), [['email', 'email', null], ['phone', 'sms', null]]);
  assert.ok(!JSON.stringify(devices).includes('jane@') && !JSON.stringify(devices).includes('12345'), 'addresses are masked');
  expect(200, await put(user, { phone: '+821012345678' }));
  assert.deepEqual(expect(200, await shop.service('GET', `/users/${user}/devices`)).devices.map((d) => d.id), ['phone']);
  expect(403, await shop.service('DELETE', `/users/${user}/devices/phone`));
});

test('addresses are not readable in the database', async () => {
  const user = newUser();
  expect(201, await put(user, { email: 'secret-box@example.com', phone: '+821099998888' }));
  const dump = stack.sql(`select u::text, d::text from belfry.app_user u join belfry.device d on d.user_id = u.id where u.id = '${user}'`);
  assert.ok(dump.length > 50);
  assert.ok(!dump.includes('secret-box') && !dump.includes('99998888') && !dump.includes(Buffer.from('secret-box').toString('hex')));
});

for (const [what, body, pointers] of [
  ['an address that is none', { email: 'not an address' }, ['/email']],
  ['a phone number without country', { phone: '0101234567' }, ['/phone']],
  ['a time zone that does not exist', { timeZone: 'Mars/Olympus' }, ['/timeZone']],
  ['a time zone outside its directory', { timeZone: '../../etc/passwd' }, ['/timeZone']],
  ['a locale that is none', { locale: 'k' }, ['/locale']],
  ['attributes too large', { attributes: { a: 'x'.repeat(8200) } }, ['/attributes']],
  ['a name that is a number', { name: 7 }, ['/name']],
  ['an unknown member', { nickname: 'x' }, ['/nickname']],
]) {
  test(`is refused for ${what}`, async () => {
    const user = newUser();
    const answer = await put(user, body);
    expect(422, answer);
    assert.deepEqual(faultsOf(answer), pointers);
    expect(404, await shop.service('GET', `/users/${user}`));
  });
}

test('ids of Belfry itself are refused, and ids that are none', async () => {
  expect(422, await put('~developers', { name: 'x' }));
  expect(422, await shop.service('DELETE', '/users/~developers'));
  expect(422, await shop.service('PUT', '/users/~developers/preferences', {}));
  expect(422, await shop.service('PUT', '/users/~developers/devices/x', { channel: 'webhook', url: 'https://example.com/' }));
  expect(400, await put('a%20b', { name: 'x' }));
  expect(400, await put('x'.repeat(129), { name: 'x' }));
  expect(201, await put(newUser('a.b~c@d|e-'), { name: 'x' }));
});

test('an export has everything, in pages', async () => {
  const user = newUser();
  expect(201, await put(user, { email: 'x@example.com' }));
  expect(200, await shop.user(user, 'PUT', '/preferences', { channels: { sms: false } }));
  const sent = [];
  for (let i = 0; i < 5; i += 1) sent.push(...await send(shop, user));
  const found = [];
  for (let cursor = ''; cursor !== null;) {
    const page = expect(200, await shop.service('GET', `/users/${user}/export?limit=2${cursor && `&cursor=${cursor}`}`));
    assert.equal(page.user.email, 'x@example.com');
    assert.deepEqual(page.devices.map((d) => d.id), ['email']);
    assert.deepEqual(page.preferences.channels, { sms: false });
    found.push(...page.notifications.map((n) => n.id));
    cursor = page.nextCursor;
  }
  assert.deepEqual(found, sent.reverse());
  const stranger = newUser();
  expect(404, await shop.service('GET', `/users/${stranger}/export`));
  await send(shop, stranger);
  assert.equal(expect(200, await shop.service('GET', `/users/${stranger}/export`)).user, null);
});

test('an erased user is gone from every table, and whoever still reads is reset', async () => {
  const user = newUser();
  expect(201, await put(user, { email: 'x@example.com' }));
  expect(200, await shop.user(user, 'PUT', '/preferences', { channels: { sms: false } }));
  await send(shop, user, { dedupKey: 'd', actions: [{ id: 'a', label: 'A' }] });
  const [snoozed] = await send(shop, user);
  await shop.user(user, 'PATCH', `/inbox/${snoozed}`, { snoozedUntil: new Date(Date.now() + 3_600_000).toISOString() });
  await send(shop, user, { scheduledAt: new Date(Date.now() + 3_600_000).toISOString() });
  const before = expect(200, await shop.user(user, 'GET', '/poll?feeds=inbox'));
  const stream = await openStream(stack, shop.bearer(user), `feeds=inbox&cursor=${encodeURIComponent(before.cursor)}`);
  const answer = await shop.service('DELETE', `/users/${user}`);
  assert.equal(answer.status, 204);
  for (const [table, column] of [['app_user', 'id'], ['device', 'user_id'], ['preference', 'user_id'], ['notification', 'user_id'], ['dedup', 'user_id'], ['delivery', 'user_id'], ['dead_letter', 'user_id']]) {
    assert.equal(stack.sql(`select count(*) from belfry.${table} where ${column} = '${user}'`), '0', table);
  }
  assert.equal(stack.sql(`select count(*) from belfry.feed where key = 'inbox:${user}'`), '0');
  assert.equal(stack.sql(`select count(*) from belfry.due d where not exists (select from belfry.notification n where n.id = d.notification_id)`), '0');
  const reset = await stream.next((event) => event.event === 'update' && event.data.feeds.inbox.reset);
  assert.deepEqual(reset.data.feeds.inbox.events, []);
  stream.close();
  const after = expect(200, await shop.user(user, 'GET', `/poll?feeds=inbox&cursor=${encodeURIComponent(before.cursor)}`));
  assert.equal(after.feeds.inbox.reset, true);
  assert.deepEqual(after.feeds.inbox.events, []);
  expect(404, await shop.service('DELETE', `/users/${user}`));
  const [fresh] = await send(shop, user);
  await waitFor(async () => expect(200, await shop.user(user, 'GET', '/inbox')).notifications[0]?.id === fresh, 'a new one arrives');
});

test('a withdrawal of tokens outlives the user that is erased', async () => {
  const user = newUser();
  const old = shop.bearer(user);
  const inbox = (headers) => request(stack, 'GET', '/inbox', { headers });
  expect(201, await put(user, { name: 'Mallory', email: 'mallory@example.com', attributes: { a: 1 } }));
  expect(200, await inbox(old));
  stack.ctl('user', 'revoke', 'shop', user);
  await waitFor(async () => (await inbox(old)).status === 401, 'the withdrawal is noticed');
  assert.equal((await shop.service('DELETE', `/users/${user}`)).status, 204);
  expect(401, await inbox(old));
  expect(404, await shop.service('GET', `/users/${user}`));
  expect(404, await shop.service('GET', `/users/${user}/export`));
  expect(404, await shop.service('DELETE', `/users/${user}`));
  assert.ok(!stack.sql(`select u::text from belfry.app_user u where id = '${user}'`).includes('Mallory'));
  expect(201, await put(user, { name: 'Again' }));
  expect(401, await inbox(old));
  const again = expect(200, await shop.service('GET', `/users/${user}`));
  assert.deepEqual([again.name, again.email, again.attributes, again.createdAt], ['Again', null, {}, again.updatedAt]);
});

test('a user of another tenant does not exist', async () => {
  const other = await checkedTenant(stack, 'others');
  const user = newUser();
  expect(201, await put(user, { email: 'x@example.com' }));
  expect(404, await other.service('GET', `/users/${user}`));
  expect(404, await other.service('DELETE', `/users/${user}`));
  assert.deepEqual(expect(200, await other.service('GET', `/users/${user}/devices`)).devices, []);
  expect(200, await shop.service('GET', `/users/${user}`));
});
