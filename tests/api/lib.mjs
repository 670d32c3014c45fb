// What the tests of the HTTP interface share: a tenant whose every answer is checked against
// www/openapi.json, and small helpers.
//
//   const { stack, shop, stop } = await openShop();                   // a stack and a checked tenant
//   const answer = await shop.service('POST', '/notifications', { to: ['u1'], title: 'Hi' });
//   const answer = await shop.user('u1', 'GET', '/inbox');
//   const answer = await request(stack, 'GET', '/inbox', { headers, body, raw, type });   // anybody
//   await waitFor(async () => ..., 'what we wait for');
//
// Promises: an answer whose status, headers or body the contract does not allow fails the test; which
// route gave which status is noted in TEST_OUTPUT, where tests/last/contract.test.mjs looks
// whether anything was left out.
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import addFormats from 'ajv-formats';
import Ajv2020 from 'ajv/dist/2020.js';
import { startStack } from '../../deploy/dev/stack.mjs';
import { createTenant } from '../../deploy/dev/tenant.mjs';

export const contract = JSON.parse(readFileSync(new URL('../../www/openapi.json', import.meta.url), 'utf8'));
const METHODS = ['get', 'post', 'put', 'patch', 'delete'];
const CONTRACT_ID = 'https://belfry.example/openapi.json';
const COMMON = new Set([404, 405]); // of paths and methods that do not exist

const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats(ajv);
ajv.addSchema({ $id: CONTRACT_ID, ...contract });

/** Every route: {method, path, operation, isService, isUser}. */
export const routes = Object.entries(contract.paths).flatMap(([path, methods]) => METHODS.filter((m) => methods[m]).map((m) => {
  const operation = methods[m];
  const schemes = (operation.security ?? []).flatMap((s) => Object.keys(s));
  return { method: m.toUpperCase(), path, operation, isService: schemes.includes('basic'), isUser: schemes.includes('bearer') };
}));

const pattern = (path) => new RegExp(`^${path.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{[^}]+\}/g, '[^/]+')}$`);
const matchers = routes.map((route) => ({ ...route, regex: pattern(route.path), exact: !route.path.includes('{') }))
  .sort((a, b) => Number(b.exact) - Number(a.exact));

/** The route that a request meant; undefined for one that does not exist. */
export function findRoute(method, path) {
  const bare = path.split('?')[0];
  return matchers.find((route) => route.method === method && route.regex.test(bare));
}

const pointer = (...parts) => parts.map((p) => String(p).replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
const resolveRef = (value) => (value?.$ref ? value.$ref.slice(2).split('/').reduce((at, key) => at[key.replaceAll('~1', '/').replaceAll('~0', '~')], contract) : value);
const validators = new Map();

function validate(ref, value, what) {
  if (!validators.has(ref)) validators.set(ref, ajv.compile({ $ref: `${CONTRACT_ID}#/${ref}` }));
  const check = validators.get(ref);
  assert.ok(check(value), `${what}: ${ajv.errorsText(check.errors)} in ${JSON.stringify(value)?.slice(0, 2000)}`);
}

const seen = new Set();
function note(line) {
  const output = process.env.TEST_OUTPUT;
  if (!output || seen.has(line)) return;
  seen.add(line);
  mkdirSync(join(output, 'answers'), { recursive: true });
  appendFileSync(join(output, 'answers', `${process.pid}.txt`), `${line}\n`);
}

function checkHeaders(response, ref, headers, what) {
  for (const [name, entry] of Object.entries(response.headers ?? {})) {
    const header = resolveRef(entry);
    const value = headers.get(name);
    if (value === null) {
      assert.ok(!header.required, `${what}: the header ${name} is missing`);
      continue;
    }
    const schema = resolveRef(header.schema);
    const typed = schema.type === 'integer' ? Number(value) : value;
    assert.ok(ajv.validate(schema, typed), `${what}: ${name}: ${value}`);
  }
}

/** Holds an answer against the contract. body is text, or parsed JSON. */
export function checkAnswer({ method, path, status, headers, body }) {
  const route = findRoute(method, path);
  const what = `${method} ${path.slice(0, 200)} answered ${status} ${typeof body === 'string' ? body.slice(0, 300) : JSON.stringify(body).slice(0, 600)}`;
  assert.notEqual(status, 500, what);
  const declared = route?.operation.responses[status];
  if (!declared) {
    assert.ok(!route || COMMON.has(status), `${what}: the contract does not know this status`);
    if (status >= 400) validate(pointer('components', 'schemas', 'Problem'), body, what);
    return;
  }
  note(`${method} ${route.path} ${status}`);
  const base = declared.$ref ? declared.$ref.slice(2) : pointer('paths', route.path, method.toLowerCase(), 'responses', status);
  const response = resolveRef(declared);
  checkHeaders(response, base, headers, what);
  const types = Object.keys(response.content ?? {});
  const type = (headers.get('content-type') ?? '').split(';')[0];
  if (types.length === 0) {
    assert.equal(body, '', what);
    return;
  }
  assert.ok(types.includes(type), `${what}: ${type} is not ${types}`);
  if (response.content[type].schema && /json/.test(type)) validate(`${base}/${pointer('content', type, 'schema')}`, body, what);
}

// A web server may close an idle connection just when the next request is put on it: nothing was read then.
async function fetchAgain(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.cause?.code !== 'UND_ERR_SOCKET' || error.cause.message !== 'other side closed') throw error;
    return fetch(url, options);
  }
}

/** One request below /api/v1 (or at the root with root: true), its answer checked: {status, headers, body}. */
export async function request(stack, method, path, { headers = {}, body, raw, type = 'application/json', root = false, signal } = {}) {
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetchAgain(`${stack.url}${root ? '' : '/api/v1'}${path}`, {
    method, signal, headers: { ...(payload === undefined || !type ? {} : { 'Content-Type': type }), ...headers }, body: payload,
  });
  if (/^text\/event-stream/.test(response.headers.get('content-type') ?? '')) {
    note(`${method} ${findRoute(method, path).path} ${response.status}`);
    await response.body.cancel();
    return { status: response.status, headers: response.headers, body: '' };
  }
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  const answer = { status: response.status, headers: response.headers, body: isJson && text ? JSON.parse(text) : text };
  checkAnswer({ method, path, ...answer });
  return answer;
}

/** A tenant whose answers are checked. expect(status, answer) fails with the answer's body. */
export async function checkedTenant(stack, name, options) {
  const tenant = await createTenant(stack, name, options);
  return {
    ...tenant,
    service: (method, path, body, headers) => request(stack, method, path, { body, headers: { ...tenant.authorization, ...headers } }),
    user: (user, method, path, body, headers) => request(stack, method, path, { body, headers: { ...tenant.bearer(user), ...headers } }),
  };
}

/** A stack with one tenant. Rates are high: tests of limits make their own. Without `workers` nothing is delivered. */
export async function openShop({ name = 'shop', tenant = {}, ...options } = {}) {
  const stack = await startStack({ workers: 0, ...options, env: { BELFRY_RATE_SERVICE: '100000', BELFRY_RATE_USER: '100000', ...options.env } });
  const shop = await checkedTenant(stack, name, tenant);
  return { stack, shop, stop: () => stack.stop() };
}

/** The answer, if it has this status. */
export function expect(status, answer) {
  assert.equal(answer.status, status, JSON.stringify(answer.body).slice(0, 2000));
  return answer.body;
}

/** Sends to users and gives the ids, in their order. */
export async function send(shop, users, content = {}) {
  const body = expect(202, await shop.service('POST', '/notifications', { to: [users].flat(), title: 'Hello', ...content }));
  return body.notifications.map((n) => n.id);
}

/** Repeats until the condition gives something true, and gives that. */
export async function waitFor(condition, what, deadlineMs = 30_000) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited for ${deadlineMs / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

let counter = 0;
/** A user id that nobody else has. */
export function newUser(prefix = 'u') {
  counter += 1;
  return `${prefix}${process.pid}-${counter}`;
}

/** The pointers (or parameters) of a problem's faults. */
export const faultsOf = (answer) => (answer.body.errors ?? []).map((fault) => fault.pointer ?? fault.parameter);
