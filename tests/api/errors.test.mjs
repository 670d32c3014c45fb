// Every route under every fault: who may not, what cannot be read, what is too large, a database that is away. Nothing
// that anybody sends is answered with a 500.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { expect, findRoute, openShop, request, routes, send, waitFor, checkedTenant } from './lib.mjs';

const UUID = '0193a000-0000-7000-8000-000000000000';
const VALUES = { user: 'u1', id: UUID, action: 'yes' };
const withId = (path) => (path.includes('dead-letters') ? `${UUID}.1` : /notifications|inbox/.test(path) ? UUID : 'd1');
const fill = (path) => path.replace(/\{(\w+)\}/g, (_, name) => (name === 'id' ? withId(path) : VALUES[name]));
const secured = routes.filter((route) => route.isService || route.isUser);
const takesBody = (route) => route.operation.responses[415];
const label = (route) => `${route.method} ${route.path}`;
const bodyOf = (route) => (route.operation.requestBody ? route.operation.requestBody.content['application/json'].example ?? {} : undefined);

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop());
});
after(() => stop?.());

const credentials = (route, tenant = shop) => (route.isService ? tenant.authorization : tenant.bearer('u1'));
const ask = (route, options = {}) => request(options.stack ?? stack, route.method, options.path ?? fill(route.path), { headers: { ...credentials(route, options.tenant), ...options.headers }, ...options.send });

describe('every route', () => {
  for (const route of secured) {
    test(`${label(route)} asks for credentials`, async () => {
      const answer = await request(stack, route.method, fill(route.path));
      expect(401, answer);
      assert.ok(answer.headers.get('www-authenticate'));
    });

    test(`${label(route)} refuses the other kind of caller`, async () => {
      const headers = route.isService ? shop.bearer('u1') : shop.authorization;
      expect(403, await request(stack, route.method, fill(route.path), { headers }));
    });

    test(`${label(route)} refuses a parameter that it does not know`, async () => {
      const answer = await ask(route, { path: `${fill(route.path)}?nonsense=1`, send: { body: bodyOf(route) } });
      expect(400, answer);
      assert.deepEqual(answer.body.errors.map((e) => e.parameter), ['nonsense']);
    });
  }

  for (const route of secured.filter(takesBody)) {
    const fits = route.operation.requestBody ? bodyOf(route) : {};
    test(`${label(route)} refuses a body that it cannot read`, async () => {
      expect(400, await ask(route, { send: { raw: '{"a":' } }));
      expect(400, await ask(route, { send: { raw: '{"a":1,"a":2}' } }));
      expect(400, await ask(route, { send: { raw: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) } }));
      expect(415, await ask(route, { send: { raw: JSON.stringify(fits), type: 'text/plain' } }));
      expect(413, await ask(route, { send: { raw: JSON.stringify({ pad: 'x'.repeat(9 << 20) }) } }));
      const unknown = await ask(route, { send: { body: { ...fits, nonsense: 1 } } });
      expect(422, unknown);
      assert.ok(unknown.body.errors.some((e) => e.pointer === '/nonsense'), JSON.stringify(unknown.body));
    });
  }

  test('names the parts of a path that are no ids', async () => {
    for (const route of secured.filter((r) => r.path.includes('{'))) {
      const answer = await ask(route, { path: fill(route.path).replace(UUID, 'not-a-uuid').replace(/u1|d1|yes$/, '%20'), send: { body: bodyOf(route) } });
      assert.ok([400, 404].includes(answer.status), `${label(route)} ${answer.status}`);
    }
  });

  test('that does not exist is 404, and a method that it does not have 405 with those that it has', async () => {
    expect(404, await request(stack, 'GET', '/nothing', { headers: shop.authorization }));
    const answer = await request(stack, 'PATCH', '/notifications', { headers: shop.authorization });
    expect(405, answer);
    assert.match(answer.headers.get('allow'), /GET/);
    assert.match(answer.headers.get('allow'), /POST/);
  });
});

describe('what is not there', () => {
  for (const [method, path, who] of [
    ['GET', `/notifications/${UUID}`], ['DELETE', `/notifications/${UUID}`], ['GET', `/notifications/${UUID}/timeline`], ['GET', '/users/nobody'],
    ['DELETE', '/users/nobody'], ['GET', '/users/nobody/export'], ['GET', '/users/nobody/devices/d'], ['DELETE', '/users/nobody/devices/d'],
    ['PATCH', `/inbox/${UUID}`, 'user'], ['DELETE', `/inbox/${UUID}`, 'user'], ['POST', `/inbox/${UUID}/actions/yes`, 'user'], ['DELETE', '/push-subscriptions/d', 'user'],
    ['POST', `/ops/dead-letters/${UUID}.1/replay`], ['POST', '/ops/dead-letters/nonsense/replay'],
  ]) {
    test(`${method} ${path} is 404`, async () => {
      const headers = who ? shop.bearer('u1') : shop.authorization;
      expect(404, await request(stack, method, path, { headers, body: method === 'PATCH' ? { read: true } : undefined }));
    });
  }
});

test('no input is answered with a 500', async () => {
  const words = ['', 'null', '0', '-1', '1e309', '9223372036854775808', '"\\u0000"', '"\\ud800"', '[]', '{}', 'true', '{"$ref":"#"}', '[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]', `"${'x'.repeat(5000)}"`, '"💥\'; drop table belfry.feed; --"', '"%00"'];
  const members = ['to', 'title', 'body', 'data', 'actions', 'scheduledAt', 'channels', 'email', 'timeZone', 'attributes', 'channel', 'url', 'keys', 'endpoint', 'read', 'snoozedUntil', 'channels', 'categories', 'notifications', 'feeds'];
  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  for (const route of secured) {
    for (let i = 0; i < 12; i += 1) {
      const raw = takesBody(route) ? `{"${pick(members)}":${pick(words) || '1'},"${pick(['x', 'id', 'y'])}":${pick(words) || '1'}}` : undefined;
      const query = pick(['', '', '?limit=99999999999999999999', '?cursor=%ff', `?cursor=${randomBytes(30).toString('base64url')}`, '?user=%00', '?q=%25%5c', '?from=0000-00-00T00:00:00Z', '?%=1', '?a=b=c&&&']);
      // Not held against the contract: some of it the web server refuses in its own words.
      const answer = await fetch(`${stack.url}/api/v1${fill(route.path)}${query}`, {
        method: route.method, body: raw, headers: { ...credentials(route), ...(raw ? { 'Content-Type': 'application/json' } : {}) },
      });
      if (!/event-stream/.test(answer.headers.get('content-type'))) await answer.text();
      else await answer.body.cancel();
      assert.ok(answer.status < 500, `${label(route)}${query} ${raw}: ${answer.status}`);
    }
  }
  assert.equal(stack.sql("select count(*) from pg_tables where schemaname = 'belfry' and tablename = 'feed'"), '1');
});

test('bytes that are no HTTP do not end the service', async () => {
  for (const bytes of ['GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n', '\0\0\0\0', 'POST /api/v1/notifications HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n']) {
    await new Promise((resolve) => {
      const socket = net.connect(stack.port, '127.0.0.1', () => socket.end(bytes));
      socket.on('error', resolve).on('close', resolve).on('data', () => {});
      setTimeout(() => socket.destroy(), 2000).unref();
    });
  }
  expect(200, await request(stack, 'GET', '/readyz', { root: true }));
});

describe('without PostgreSQL', () => {
  let lone;
  let tenant;
  let fresh;
  before(async () => {
    lone = await openShop();
    tenant = lone.shop;
    fresh = await checkedTenant(lone.stack, 'fresh');
    await send(tenant, 'u1');
    await lone.stack.stopService('postgres');
  });
  after(() => lone?.stop());

  for (const route of secured) {
    test(`${label(route)} is answered 503 with Retry-After`, async () => {
      const caller = route.path === '/poll' || route.path === '/stream' ? fresh : tenant;
      const answer = await ask(route, { stack: lone.stack, tenant: caller, send: { body: bodyOf(route) } });
      expect(503, answer);
      assert.ok(Number(answer.headers.get('retry-after')) >= 1);
    });
  }

  test('it says so to balancers, and recovers by itself', async () => {
    expect(503, await request(lone.stack, 'GET', '/readyz', { root: true }));
    expect(200, await request(lone.stack, 'GET', '/healthz', { root: true }));
    const pid = lone.stack.pids().api;
    await lone.stack.startService('postgres');
    await waitFor(async () => (await request(lone.stack, 'GET', '/readyz', { root: true })).status === 200, 'it is ready again');
    await waitFor(async () => (await tenant.service('POST', '/notifications', { to: ['u1'], title: 'Back' })).status === 202, 'it accepts again');
    assert.equal(lone.stack.pids().api, pid, 'without a restart');
  });
});

test('every route of the document is one that the tests can find', () => {
  for (const route of routes) assert.equal(findRoute(route.method, fill(route.path))?.path, route.path);
});
