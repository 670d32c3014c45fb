// Preferences: one document for the user and for the service, and what it says no to is not planned.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { expect, faultsOf, newUser, openShop, send } from './lib.mjs';

let shop;
let stack;
let stop;
before(async () => {
  ({ shop, stack, stop } = await openShop());
});
after(() => stop?.());

const EMPTY = { channels: {}, categories: {} };
const decisions = async (id) => expect(200, await shop.service('GET', `/notifications/${id}/timeline`)).decisions;

test('somebody who said nothing wants everything', async () => {
  const user = newUser();
  assert.deepEqual(expect(200, await shop.user(user, 'GET', '/preferences')), EMPTY);
  assert.deepEqual(expect(200, await shop.service('GET', `/users/${user}/preferences`)), EMPTY);
});

test('the user and the service write the same document', async () => {
  const user = newUser();
  const document = { channels: { email: false, push: true }, categories: { marketing: { '*': false }, orders: { inbox: true, sms: false } } };
  assert.deepEqual(expect(200, await shop.user(user, 'PUT', '/preferences', document)), document);
  assert.deepEqual(expect(200, await shop.service('GET', `/users/${user}/preferences`)), document);
  assert.deepEqual(expect(200, await shop.service('PUT', `/users/${user}/preferences`, { channels: { sms: false } })), { channels: { sms: false }, categories: {} });
  assert.deepEqual(expect(200, await shop.user(user, 'GET', '/preferences')), { channels: { sms: false }, categories: {} });
});

test('a channel that the tenant has no account for is left out of the plan, and says so', async () => {
  const user = newUser();
  expect(201, await shop.service('PUT', `/users/${user}`, { email: 'x@example.com' }));
  const [id] = await send(shop, user);
  assert.deepEqual(await decisions(id), [{ channel: 'email', device: 'email', decision: 'skip', reason: 'no account' }]);
  stack.ctl('account', 'create', 'shop', '--channel', 'email', '--provider', 'null');
  const [later] = await send(shop, user);
  assert.deepEqual((await decisions(later)).map((d) => d.decision), ['deliver']);
});

test('what the user does not want is left out of the plan, by channel and by category', async () => {
  const user = newUser();
  expect(201, await shop.service('PUT', `/users/${user}`, { email: 'x@example.com' }));
  const wants = async (document, category) => {
    expect(200, await shop.user(user, 'PUT', '/preferences', document));
    const [id] = await send(shop, user, { category, channels: ['email'] });
    return (await decisions(id)).filter((d) => d.channel === 'email').map((d) => d.decision);
  };
  assert.deepEqual(await wants({}, 'news'), ['deliver']);
  assert.deepEqual(await wants({ channels: { email: false } }, 'news'), ['skip']);
  assert.deepEqual(await wants({ categories: { news: { email: false } } }, 'news'), ['skip']);
  assert.deepEqual(await wants({ categories: { news: { '*': false } } }, 'news'), ['skip']);
  assert.deepEqual(await wants({ categories: { news: { '*': false } } }, 'orders'), ['deliver']);
  assert.deepEqual(await wants({ categories: { news: { email: true } } }, 'news'), ['deliver']);
});

for (const [what, document, pointers] of [
  ['a channel that is none', { channels: { pigeon: false } }, ['/channels/pigeon']],
  ['* for all channels of all categories', { channels: { '*': false } }, ['/channels/*']],
  ['a switch that is a word', { channels: { email: 'no' } }, ['/channels/email']],
  ['a category in capitals', { categories: { News: { email: false } } }, ['/categories/News']],
  ['a category that is no object', { categories: { news: false } }, ['/categories/news']],
  ['a channel of a category that is none', { categories: { news: { 'a/b': false } } }, ['/categories/news/a~1b']],
  ['too many categories', { categories: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`c${i}`, {}])) }, ['/categories']],
  ['an unknown member', { sound: 'on' }, ['/sound']],
]) {
  test(`is refused for ${what}`, async () => {
    const user = newUser();
    for (const answer of [await shop.user(user, 'PUT', '/preferences', document), await shop.service('PUT', `/users/${user}/preferences`, document)]) {
      expect(422, answer);
      assert.deepEqual(faultsOf(answer), pointers);
    }
    assert.deepEqual(expect(200, await shop.user(user, 'GET', '/preferences')), EMPTY);
  });
}
