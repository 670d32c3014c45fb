// A key names a request: the same request again gets the first answer, another one is refused, one that is still running is
// told so, and whatever happens nobody gets two.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import pg from 'pg';
import { expect, faultsOf, newUser, openShop, request, waitFor } from './lib.mjs';

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop());
});
after(() => stop?.());

let number = 0;
const newKey = () => `key-${number += 1}`;
const sendAs = (key, body, path = '/notifications') => shop.service('POST', path, body, key === undefined ? {} : { 'Idempotency-Key': key });
const arrived = async (user) => expect(200, await shop.user(user, 'GET', '/inbox?limit=100')).notifications.length;

test('the same request with the same key gets the first answer and sends nothing more', async () => {
  const [key, user] = [newKey(), newUser()];
  const body = { to: [user], title: 'Once' };
  const first = await sendAs(key, body);
  const again = await sendAs(key, body);
  assert.equal(first.headers.get('idempotency-replayed'), null);
  assert.equal(again.headers.get('idempotency-replayed'), 'true');
  assert.deepEqual(expect(202, again), expect(202, first));
  assert.equal(await arrived(user), 1);
});

test('the same key with another body is refused and sends nothing', async () => {
  const [key, user] = [newKey(), newUser()];
  expect(202, await sendAs(key, { to: [user], title: 'A' }));
  const other = await sendAs(key, { to: [user], title: 'B' });
  expect(422, other);
  assert.equal(other.body.type, '/problems/idempotency-mismatch');
  assert.equal(await arrived(user), 1);
});

test('eventId names the request as the header does', async () => {
  const [key, user] = [newKey(), newUser()];
  const body = { to: [user], title: 'Once', eventId: key };
  const first = expect(202, await sendAs(undefined, body));
  assert.deepEqual(expect(202, await sendAs(undefined, body)), first);
  assert.deepEqual(expect(202, await sendAs(key, body)), first);
  const both = await sendAs('another', { ...body, eventId: newKey() });
  expect(422, both);
  assert.deepEqual(faultsOf(both), ['/eventId']);
  assert.equal(await arrived(user), 1);
});

test('a bulk send is named as a whole', async () => {
  const [key, user] = [newKey(), newUser()];
  const body = { notifications: [{ to: [user], title: 'A' }, { to: [''], title: 'B' }, { to: [user], title: 'C' }] };
  const first = expect(202, await sendAs(key, body, '/notifications/bulk'));
  assert.deepEqual(expect(202, await sendAs(key, body, '/notifications/bulk')), first);
  expect(422, await sendAs(key, { notifications: [{ to: [user], title: 'A' }] }, '/notifications/bulk'));
  assert.equal(await arrived(user), 2);
});

test('an answer that is known only afterwards (dedupKey) is kept as well', async () => {
  const [key, user] = [newKey(), newUser()];
  const body = { to: [user], title: 'Once', dedupKey: 'd' };
  const earlier = expect(202, await sendAs(undefined, body));
  const first = expect(202, await sendAs(key, body));
  assert.equal(first.notifications[0].status, 'deduplicated');
  assert.equal(first.notifications[0].id, earlier.notifications[0].id);
  assert.deepEqual(expect(202, await sendAs(key, body)), first);
  assert.equal(await arrived(user), 1);
});

test('what was accepted is replayed although it would not pass any more', async () => {
  const [key, user] = [newKey(), newUser()];
  const body = { to: [user], title: 'Soon over', expiresAt: new Date(Date.now() + 700).toISOString() };
  const first = expect(202, await sendAs(key, body));
  await waitFor(async () => Date.now() > Date.parse(body.expiresAt), 'it expires');
  expect(422, await sendAs(undefined, body));
  assert.deepEqual(expect(202, await sendAs(key, body)), first);
});

test('a refused request does not use up its key', async () => {
  const [key, user] = [newKey(), newUser()];
  expect(422, await sendAs(key, { to: [user] }));
  expect(202, await sendAs(key, { to: [user], title: 'Now right' }));
  assert.equal(await arrived(user), 1);
});

test('fifty at once with one key are one send', async () => {
  const [key, user] = [newKey(), newUser()];
  const answers = await Promise.all(Array.from({ length: 50 }, () => sendAs(key, { to: [user], title: 'Once' })));
  const accepted = answers.filter((a) => a.status === 202);
  assert.ok(accepted.length > 0);
  assert.equal(new Set(accepted.map((a) => JSON.stringify(a.body))).size, 1);
  for (const answer of answers) assert.ok([202, 409].includes(answer.status), JSON.stringify(answer.body));
  assert.equal(await arrived(user), 1);
});

test('while one with the same key is running the other is told so, and nothing is sent twice', async () => {
  const [key, user] = [newKey(), newUser()];
  const other = new pg.Client({ connectionString: stack.db });
  await other.connect();
  try {
    await other.query('begin');
    await other.query("insert into belfry.idempotency (tenant_id, key, body_hash, response) select id, $1, '\\x00', '{}' from belfry.tenant where name = 'shop'", [key]);
    const answer = await sendAs(key, { to: [user], title: 'Wait' });
    expect(409, answer);
    assert.equal(answer.body.type, '/problems/idempotency-running');
    await other.query('rollback');
  } finally {
    await other.end();
  }
  expect(202, await sendAs(key, { to: [user], title: 'Wait' }));
  assert.equal(await arrived(user), 1);
});

test('keys of one tenant mean nothing to another', async () => {
  const { checkedTenant } = await import('./lib.mjs');
  const other = await checkedTenant(stack, 'other-keys');
  const key = newKey();
  expect(202, await sendAs(key, { to: ['x'], title: 'A' }));
  const answer = await other.service('POST', '/notifications', { to: ['x'], title: 'B' }, { 'Idempotency-Key': key });
  expect(202, answer);
  assert.equal(answer.headers.get('idempotency-replayed'), null);
});

test('what a sandbox key has sent is not taken for the real thing', async () => {
  const sandbox = stack.ctl('key', 'create', 'shop', '--scopes', 'send', '--sandbox', '--json');
  const headers = { Authorization: `Basic ${Buffer.from(`${sandbox.appKey}:${sandbox.appSecret}`).toString('base64')}`, 'Idempotency-Key': `s-${newUser()}` };
  const body = { to: [newUser()], title: 'Hi' };
  assert.equal(expect(202, await request(stack, 'POST', '/notifications', { body, headers })).sandbox, true);
  const real = await shop.service('POST', '/notifications', body, { 'Idempotency-Key': headers['Idempotency-Key'] });
  assert.equal(expect(422, real).type, '/problems/idempotency-mismatch');
});

test('a key that is too long or not printable is malformed', async () => {
  for (const key of ['x'.repeat(256), 'tab\there', 'é']) {
    expect(400, await sendAs(key, { to: ['x'], title: 'A' }));
  }
});

test('a bulk send is told, too, that one with its key is running', async () => {
  const key = newKey();
  const other = new pg.Client({ connectionString: stack.db });
  await other.connect();
  try {
    await other.query('begin');
    await other.query("insert into belfry.idempotency (tenant_id, key, body_hash, response) select id, $1, '\\x00', '{}' from belfry.tenant where name = 'shop'", [key]);
    expect(409, await sendAs(key, { notifications: [{ to: ['x'], title: 'A' }] }, '/notifications/bulk'));
  } finally {
    await other.end();
  }
});
