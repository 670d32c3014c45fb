// Who may ask: app keys and their scopes, user tokens of four algorithms, tickets, and how soon each of them ends.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { checkedTenant, expect, newUser, openShop, request, send, waitFor } from './lib.mjs';
import { openStream } from '../stream.mjs';

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop());
});
after(() => stop?.());

const now = () => Math.floor(Date.now() / 1000);
const asUser = (token, path = '/inbox/unread-count') => request(stack, 'GET', path, { headers: { Authorization: `Bearer ${token}` } });
const basic = (key, secret) => ({ Authorization: `Basic ${Buffer.from(`${key}:${secret}`).toString('base64')}` });
const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const sign = (header, claims, secret) => {
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
};
const claims = (extra = {}) => ({ iss: shop.issuer, sub: 'alice', iat: now(), exp: now() + 600, ...extra });
const secret = () => Buffer.from(shop.secret, 'base64url');
const HEADER = { alg: 'HS256', typ: 'JWT' };

describe('a user token', () => {
  for (const [algorithm, type, options] of [['RS256', 'rsa', { modulusLength: 2048 }], ['ES256', 'ec', { namedCurve: 'P-256' }], ['EdDSA', 'ed25519', {}]]) {
    test(`signed with ${algorithm} is believed, and what is derived from its public key is not`, async () => {
      const { privateKey, publicKey } = generateKeyPairSync(type, options);
      const pem = publicKey.export({ type: 'spki', format: 'pem' });
      const file = join(stack.dir, `${algorithm}.pem`);
      writeFileSync(file, pem);
      const issuer = `https://${algorithm.toLowerCase()}.example`;
      stack.ctl('issuer', 'create', 'shop', '--name', issuer, '--alg', algorithm, '--public-key', file, '--json');
      const token = await new SignJWT({}).setProtectedHeader({ alg: algorithm, typ: 'JWT' }).setIssuer(issuer).setSubject('alice').setIssuedAt().setExpirationTime('10m').sign(privateKey);
      expect(200, await asUser(token));
      const mine = { iss: issuer, sub: 'alice', iat: now(), exp: now() + 600 };
      expect(401, await asUser(sign(HEADER, mine, pem))); // the public key taken for a shared secret
      expect(401, await asUser(`${part({ alg: 'none' })}.${part(mine)}.`));
      const other = generateKeyPairSync(type, options).privateKey;
      const forged = await new SignJWT({}).setProtectedHeader({ alg: algorithm }).setIssuer(issuer).setSubject('alice').setExpirationTime('10m').sign(other);
      expect(401, await asUser(forged));
    });
  }

  test('signed with HS256 is believed', async () => {
    expect(200, await asUser(sign(HEADER, claims(), secret())));
  });

  for (const [what, make] of [
    ['without a signature (alg none)', () => `${part({ alg: 'none' })}.${part(claims())}.`],
    ['that names another algorithm', () => sign({ alg: 'HS512', typ: 'JWT' }, claims(), secret())],
    ['with another secret', () => sign(HEADER, claims(), Buffer.alloc(32))],
    ['whose claims were changed', () => { const [h, , s] = sign(HEADER, claims(), secret()).split('.'); return `${h}.${part(claims({ sub: 'bob' }))}.${s}`; }],
    ['of an unknown issuer', () => sign(HEADER, claims({ iss: 'https://nobody.example' }), secret())],
    ['without issuer', () => sign(HEADER, claims({ iss: undefined }), secret())],
    ['without user', () => sign(HEADER, claims({ sub: undefined }), secret())],
    ['whose user is no id', () => sign(HEADER, claims({ sub: 'a b' }), secret())],
    ['for a mailbox of Belfry itself', () => sign(HEADER, claims({ sub: '~developers' }), secret())],
    ['for everybody', () => sign(HEADER, claims({ sub: '*' }), secret())],
    ['without an end', () => sign(HEADER, claims({ exp: undefined }), secret())],
    ['that has expired', () => sign(HEADER, claims({ exp: now() - 61 }), secret())],
    ['that is not valid yet', () => sign(HEADER, claims({ nbf: now() + 90 }), secret())],
    ['from the future', () => sign(HEADER, claims({ iat: now() + 90 }), secret())],
    ['with an end that is a word', () => sign(HEADER, claims({ exp: 'never' }), secret())],
    ['that is no token', () => 'abc'],
    ['with claims that are no JSON', () => sign(HEADER, 'not json', secret())],
  ]) {
    test(`${what} is refused`, async () => {
      const answer = await asUser(make());
      expect(401, answer);
      assert.match(answer.headers.get('www-authenticate'), /Bearer/);
    });
  }

  test('is accepted within a minute of its times, since clocks differ', async () => {
    expect(200, await asUser(sign(HEADER, claims({ exp: now() - 30 }), secret())));
    expect(200, await asUser(sign(HEADER, claims({ nbf: now() + 30, iat: now() + 30 }), secret())));
  });

  test('shows its own user’s inbox and no other', async () => {
    const [one, two] = [newUser(), newUser()];
    await send(shop, one);
    assert.equal(expect(200, await shop.user(one, 'GET', '/inbox')).unreadCount, 1);
    assert.equal(expect(200, await shop.user(two, 'GET', '/inbox')).unreadCount, 0);
    const other = await checkedTenant(stack, 'namesakes');
    assert.equal(expect(200, await other.user(one, 'GET', '/inbox')).unreadCount, 0);
  });

  test('of before a withdrawal ends within 5 s, its streams too, and a newer one is good', async () => {
    const user = newUser();
    const old = shop.token(user, { iat: now() - 10 });
    expect(200, await asUser(old));
    const stream = await openStream(stack, { Authorization: `Bearer ${old}` }, 'feeds=inbox');
    stack.ctl('user', 'revoke', 'shop', user);
    // What was verified is remembered for a minute: it must not take that long.
    await waitFor(async () => (await asUser(old)).status === 401, 'the old token is refused', 30_000);
    expect(200, await asUser(shop.token(user, { iat: now() + 1 })));
    expect(401, await asUser(sign(HEADER, { ...claims(), sub: user, iat: undefined }, secret())));
    const end = await stream.next((event) => event.event === 'end', { timeoutMs: 30_000 });
    assert.equal(end.data.reason, 'expired');
  });

  test('of a revoked issuer ends within 5 s', async () => {
    const brief = await checkedTenant(stack, 'brief');
    expect(200, await brief.user('u', 'GET', '/inbox'));
    stack.ctl('issuer', 'revoke', 'brief', brief.issuer);
    await waitFor(async () => (await brief.user('u', 'GET', '/inbox')).status === 401, 'tokens of the issuer are refused', 30_000);
  });

  test('that expires ends its stream', async () => {
    const token = shop.token(newUser(), { exp: now() + 2 });
    const stream = await openStream(stack, { Authorization: `Bearer ${token}` }, 'feeds=inbox');
    const end = await stream.next((event) => event.event === 'end', { timeoutMs: 30_000 });
    assert.equal(end.data.reason, 'expired');
  });
});

describe('an app key', () => {
  test('with a wrong secret, an unknown one, and what is no credential are refused alike', async () => {
    const ask = (headers) => request(stack, 'GET', '/notifications', { headers });
    const answers = [
      await ask(basic(shop.appKey, `${shop.appSecret}x`)), await ask(basic('unknown', shop.appSecret)), await ask(basic(shop.appKey, '')),
      await ask({ Authorization: 'Basic !!!' }), await ask({ Authorization: 'Basic' }), await ask({ Authorization: 'Digest x' }),
    ];
    for (const answer of answers) {
      expect(401, answer);
      assert.match(answer.headers.get('www-authenticate'), /Basic/);
    }
    assert.equal(answers[0].body.detail, answers[1].body.detail);
    expect(200, await ask(basic(shop.appKey, shop.appSecret)));
  });

  test('does what its scopes say and no more', async () => {
    const reader = await checkedTenant(stack, 'reader', { scopes: 'read' });
    expect(200, await reader.service('GET', '/notifications'));
    expect(403, await reader.service('POST', '/notifications', { to: ['u'], title: 'x' }));
    expect(403, await reader.service('PUT', '/users/u', {}));
    expect(403, await reader.service('GET', '/ops/queue'));
  });

  test('has no inbox, and a user’s token sends nothing', async () => {
    expect(403, await shop.service('GET', '/inbox'));
    expect(403, await shop.user('u', 'POST', '/notifications', { to: ['u'], title: 'x' }));
  });

  test('that is revoked ends within 5 s', async () => {
    const brief = await checkedTenant(stack, 'brief-key');
    expect(200, await brief.service('GET', '/notifications'));
    stack.ctl('key', 'revoke', 'brief-key', brief.appKey);
    await waitFor(async () => (await brief.service('GET', '/notifications')).status === 401, 'the key is refused', 30_000);
  });

  test('is not in the database in a form that could be used', async () => {
    const dump = stack.sql('select k::text from belfry.app_key k');
    assert.ok(dump.includes(shop.appKey) && !dump.includes(shop.appSecret));
    assert.ok(!dump.includes(Buffer.from(shop.appSecret).toString('hex')));
  });
});

describe('a ticket', () => {
  const open = (ticket) => fetch(`${stack.url}/api/v1/stream?feeds=inbox&ticket=${encodeURIComponent(ticket)}`);

  test('opens its user’s stream for ten minutes, and nothing else', async () => {
    const user = newUser();
    const made = expect(201, await shop.user(user, 'POST', '/stream-tickets', { feeds: ['inbox'] }));
    const left = Date.parse(made.expiresAt) - Date.now();
    assert.ok(left > 590_000 && left <= 601_000, `${left}`);
    const stream = await open(made.ticket);
    assert.equal(stream.status, 200);
    await stream.body.cancel();
    expect(401, await request(stack, 'GET', '/inbox', { headers: { Authorization: `Bearer ${made.ticket}` } }));
    expect(400, await request(stack, 'GET', `/inbox?ticket=${made.ticket}`, { headers: shop.bearer(user) }));
  });

  test('does not outlive the token that bought it', async () => {
    const token = shop.token(newUser(), { exp: now() + 30 });
    const made = expect(201, await request(stack, 'POST', '/stream-tickets', { headers: { Authorization: `Bearer ${token}` }, body: {} }));
    assert.ok(Date.parse(made.expiresAt) <= (now() + 31) * 1000);
  });

  test('that was changed or made up is refused', async () => {
    const { ticket } = expect(201, await shop.user(newUser(), 'POST', '/stream-tickets', {}));
    const [text, mac] = ticket.split('.');
    const changed = Buffer.from(Buffer.from(text, 'base64url').toString().replace(/^(\d+)\n[^\n]+/, '$1\nroot')).toString('base64url');
    for (const bad of [`${changed}.${mac}`, `${text}.${mac.slice(0, -2)}AA`, text, `${text}.`, 'x']) {
      const answer = await request(stack, 'GET', `/stream?feeds=inbox&ticket=${encodeURIComponent(bad)}`);
      expect(401, answer);
    }
  });
});

describe('a page of an origin', () => {
  test('that the tenant lists may read answers, and of another may not', async () => {
    const paged = await checkedTenant(stack, 'paged', { origins: ['https://app.example'] });
    const ask = async (origin) => (await paged.user('u', 'GET', '/inbox', undefined, { Origin: origin })).headers.get('access-control-allow-origin');
    assert.equal(await ask('https://app.example'), 'https://app.example');
    assert.equal(await ask('https://evil.example'), null);
    assert.equal(await ask('null'), null);
    const foreign = await shop.user('u', 'GET', '/inbox', undefined, { Origin: 'https://app.example' });
    assert.equal(foreign.headers.get('access-control-allow-origin'), null, 'the origin of another tenant');
  });
});
