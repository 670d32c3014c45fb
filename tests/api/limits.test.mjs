// Rate limits of app keys and users: what the headers promise, who is counted, and that being refused costs nothing.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { expect, openShop, request, routes, waitFor } from './lib.mjs';

const UUID = '0193a000-0000-7000-8000-000000000000';
const fill = (path) => path.replace('{user}', 'u1').replace('{action}', 'yes').replace('{id}', /notifications|inbox/.test(path) ? UUID : 'd1');

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop({ env: { BELFRY_RATE_SERVICE: '2', BELFRY_RATE_USER: '2' } }));
});
after(() => stop?.());

for (const route of routes.filter((r) => r.isService || r.isUser)) {
  test(`${route.method} ${route.path} is refused beyond the rate, and says when to come back`, async () => {
    const user = `u-${route.operation.operationId}`;
    const headers = route.isService ? shop.authorization : shop.bearer(user);
    const refused = await waitFor(async () => {
      const answer = await request(stack, route.method, fill(route.path), { headers });
      assert.match(answer.headers.get('ratelimit-policy'), /^"default";q=2;w=1$/);
      assert.match(answer.headers.get('ratelimit'), /^"default";r=[0-2];t=\d+$/);
      return answer.status === 429 ? answer : null;
    }, 'it is refused');
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  });
}

test('one user’s haste does not slow another', async () => {
  await waitFor(async () => (await shop.user('hasty', 'GET', '/inbox')).status === 429, 'the hasty one is refused');
  expect(200, await shop.user('calm', 'GET', '/inbox'));
});

test('a refused send was not made', async () => {
  const count = () => stack.sql("select count(*) from belfry.notification where user_id = 'counted'");
  let accepted = 0;
  for (let i = 0; i < 12; i += 1) {
    const answer = await shop.service('POST', '/notifications', { to: ['counted'], title: 'x' });
    assert.ok([202, 429].includes(answer.status));
    accepted += answer.status === 202 ? 1 : 0;
  }
  assert.ok(accepted < 12);
  assert.equal(count(), String(accepted));
});

test('who waited may ask again', async () => {
  await waitFor(async () => (await shop.user('patient', 'GET', '/inbox')).status === 429, 'it is refused');
  await waitFor(async () => (await shop.user('patient', 'GET', '/inbox')).status === 200, 'it may ask again');
});
