// What is at the edges: the document itself, who may read the metrics, and a poll that holds what it asked for.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { checkAnswer, contract, expect, newUser, openShop, request, send } from './lib.mjs';

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop());
});
after(() => stop?.());

/** The program run once as plain CGI, as a web server on another address would. */
function cgi(path, env = {}) {
  const { stdout } = spawnSync(join(stack.buildDir, 'belfry-api'), {
    encoding: 'utf8',
    env: {
      ...stack.env('belfry_api'), GATEWAY_INTERFACE: 'CGI/1.1', REQUEST_METHOD: 'GET', REQUEST_URI: path, SCRIPT_NAME: path, PATH_INFO: '', QUERY_STRING: '',
      SERVER_PROTOCOL: 'HTTP/1.1', SERVER_NAME: 'x', SERVER_PORT: '80', ...env,
    },
  });
  const [head, ...rest] = stdout.split('\r\n\r\n');
  const headers = new Headers(head.split('\r\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
  const text = rest.join('\r\n\r\n');
  const answer = { status: parseInt(headers.get('status') ?? '200', 10), headers, body: /json/.test(headers.get('content-type')) ? JSON.parse(text) : text };
  checkAnswer({ method: 'GET', path, ...answer });
  return answer;
}

test('the document is served as it is', async () => {
  assert.deepEqual(expect(200, await request(stack, 'GET', '/openapi.json')), contract);
});

test('metrics are for this machine, or for who has the token', async () => {
  expect(200, await request(stack, 'GET', '/metrics', { root: true }));
  expect(200, cgi('/metrics', { REMOTE_ADDR: '127.0.0.1' }));
  expect(403, cgi('/metrics', { REMOTE_ADDR: '203.0.113.7' }));
  const token = { BELFRY_METRICS_TOKEN: 'a-long-token-for-metrics' };
  expect(401, cgi('/metrics', { ...token, REMOTE_ADDR: '127.0.0.1' }));
  expect(401, cgi('/metrics', { ...token, REMOTE_ADDR: '127.0.0.1', HTTP_AUTHORIZATION: 'Bearer another' }));
  expect(200, cgi('/metrics', { ...token, REMOTE_ADDR: '203.0.113.7', HTTP_AUTHORIZATION: `Bearer ${token.BELFRY_METRICS_TOKEN}` }));
});

test('a poll whose answer the client holds is 304 until something changes', async () => {
  const user = newUser();
  await send(shop, user);
  const first = await shop.user(user, 'GET', '/poll?feeds=inbox');
  const path = `/poll?feeds=inbox&cursor=${encodeURIComponent(expect(200, first).cursor)}`;
  const empty = await shop.user(user, 'GET', path);
  const tag = { 'If-None-Match': empty.headers.get('etag') };
  assert.equal((await shop.user(user, 'GET', path, undefined, tag)).status, 304);
  await send(shop, user);
  assert.equal(expect(200, await shop.user(user, 'GET', path, undefined, tag)).feeds.inbox.events.length, 1);
});
