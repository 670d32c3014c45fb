// Accepting notifications: what a send answers, what is in the inbox after it, and what is refused.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { expect, faultsOf, newUser, openShop, send, waitFor, checkedTenant } from './lib.mjs';

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop());
  stack.ctl('account', 'create', 'shop', '--channel', 'email', '--provider', 'null');
});
after(() => stop?.());

const later = (ms) => new Date(Date.now() + ms).toISOString();

describe('a send', () => {
  test('is in the inbox of each recipient when it is accepted', async () => {
    const users = [newUser(), newUser(), newUser()];
    const sent = await shop.service('POST', '/notifications', {
      to: users, title: 'Your order 📦', body: 'Two\nlines', type: 'order.shipped', category: 'orders', priority: 'high',
      data: { order: 4711, nested: { a: [1, 2.5, null] } }, sender: { id: 'shop', name: 'Shop', avatarUrl: 'https://shop.example/a.png' },
      actions: [{ id: 'track', label: 'Track' }, { id: 'open', label: 'Open', url: 'https://shop.example/o' }], url: 'https://shop.example/#/orders/4711',
    });
    const body = expect(202, sent);
    assert.equal(body.status, 'accepted');
    assert.equal(body.sandbox, false);
    assert.deepEqual(body.notifications.map((n) => n.user), users);
    for (const { id, user } of body.notifications) {
      const inbox = expect(200, await shop.user(user, 'GET', '/inbox'));
      assert.equal(inbox.unreadCount, 1);
      assert.equal(inbox.unseenCount, 1);
      const [item] = inbox.notifications;
      assert.equal(item.id, id);
      assert.deepEqual(item.data, { order: 4711, nested: { a: [1, 2.5, null] } });
      assert.deepEqual(item.actions, [{ id: 'track', label: 'Track', url: null }, { id: 'open', label: 'Open', url: 'https://shop.example/o' }]);
      assert.equal(item.url, 'https://shop.example/#/orders/4711');
      assert.deepEqual(item.sender, { id: 'shop', name: 'Shop', avatarUrl: 'https://shop.example/a.png' });
    }
  });

  test('of the least that is needed takes the defaults', async () => {
    const user = newUser();
    const [id] = await send(shop, user, { title: 'x' });
    const found = expect(200, await shop.service('GET', `/notifications/${id}`));
    assert.deepEqual(
      { type: found.type, body: found.body, data: found.data, category: found.category, priority: found.priority, actions: found.actions, channels: found.channels, status: found.status },
      { type: 'general', body: '', data: {}, category: 'general', priority: 'medium', actions: [], channels: null, status: 'active' },
    );
    assert.equal(found.user, user);
  });

  test('to a thousand users reaches all of them, and to one more is refused', async () => {
    const prefix = newUser('k');
    const users = Array.from({ length: 1000 }, (_, i) => `${prefix}-${i}`);
    const body = expect(202, await shop.service('POST', '/notifications', { to: users, title: 'All' }));
    assert.equal(body.notifications.length, 1000);
    assert.equal(stack.sql(`select count(*) from belfry.notification where request_id = '${body.id}' and in_inbox`), '1000');
    const answer = await shop.service('POST', '/notifications', { to: [...users, 'one-more'], title: 'All' });
    expect(422, answer);
    assert.deepEqual(faultsOf(answer), ['/to']);
  });

  test('with a time ahead waits, is listed as scheduled, and arrives when it is due', async () => {
    const user = newUser();
    const sent = expect(202, await shop.service('POST', '/notifications', { to: [user], title: 'Later', scheduledAt: later(1500) }));
    assert.equal(sent.status, 'scheduled');
    assert.equal(sent.notifications[0].status, 'scheduled');
    assert.equal(expect(200, await shop.service('GET', `/notifications/${sent.notifications[0].id}`)).status, 'scheduled');
    assert.equal(expect(200, await shop.user(user, 'GET', '/inbox')).notifications.length, 0);
    await waitFor(async () => expect(200, await shop.user(user, 'GET', '/inbox')).unreadCount === 1, 'it arrives');
    assert.equal(expect(200, await shop.service('GET', `/notifications/${sent.notifications[0].id}`)).status, 'active');
  });

  test('with a time that has passed is sent now', async () => {
    const sent = expect(202, await shop.service('POST', '/notifications', { to: [newUser()], title: 'Now', scheduledAt: later(-60_000) }));
    assert.equal(sent.status, 'accepted');
  });

  test('with a dedupKey that another is just using names that one, though neither waits for an inbox', async () => {
    for (let round = 0; round < 10; round++) {
      const user = newUser();
      const scheduledAt = later(3_600_000);
      const answers = await Promise.all(Array.from({ length: 8 }, () => shop.service('POST', '/notifications', { to: [user], title: 'Once', dedupKey: 'k', scheduledAt })));
      const made = answers.map((answer) => expect(202, answer).notifications[0]);
      assert.equal(made.filter((n) => n.status === 'scheduled').length, 1);
      assert.equal(new Set(made.map((n) => n.id)).size, 1, JSON.stringify(made));
    }
  });

  test('with the same dedupKey to the same user is sent once', async () => {
    const [both, other] = [newUser(), newUser()];
    const first = expect(202, await shop.service('POST', '/notifications', { to: [both], title: 'Once', dedupKey: 'order-1' }));
    const second = expect(202, await shop.service('POST', '/notifications', { to: [both, other], title: 'Once', dedupKey: 'order-1' }));
    assert.deepEqual(second.notifications.map((n) => n.status), ['deduplicated', 'accepted']);
    assert.equal(second.notifications[0].id, first.notifications[0].id);
    assert.equal(expect(200, await shop.user(both, 'GET', '/inbox')).unreadCount, 1);
  });

  test('of a sandbox key is planned and says so', async () => {
    const sandbox = await checkedTenant(stack, 'sandbox', { sandbox: true });
    const user = newUser();
    const body = expect(202, await sandbox.service('POST', '/notifications', { to: [user], title: 'Try' }));
    assert.equal(body.sandbox, true);
    assert.equal(expect(200, await sandbox.service('GET', `/notifications/${body.notifications[0].id}`)).sandbox, true);
  });
});

describe('a send with faults', () => {
  const cases = [
    ['no recipients', { title: 'x' }, ['/to']],
    ['an empty list', { to: [], title: 'x' }, ['/to']],
    ['a user twice', { to: ['a', 'b', 'a'], title: 'x' }, ['/to/2']],
    ['a user that is no id', { to: ['a', 'b c', 7], title: 'x' }, ['/to/1', '/to/2']],
    ['a reserved user', { to: ['~developers'], title: 'x' }, ['/to/0']],
    ['no title', { to: ['a'] }, ['/title']],
    ['a title too long', { to: ['a'], title: 'é'.repeat(257) }, ['/title']],
    ['a text too long', { to: ['a'], title: 'x', body: 'y'.repeat(4097) }, ['/body']],
    ['an unknown member', { to: ['a'], title: 'x', colour: 'red' }, ['/colour']],
    ['a category in capitals', { to: ['a'], title: 'x', category: 'News' }, ['/category']],
    ['a priority that is none', { to: ['a'], title: 'x', priority: 'asap' }, ['/priority']],
    ['data too large', { to: ['a'], title: 'x', data: { d: 'x'.repeat(8200) } }, ['/data']],
    ['data that is no object', { to: ['a'], title: 'x', data: [1] }, ['/data']],
    ['six actions', { to: ['a'], title: 'x', actions: Array.from({ length: 6 }, (_, i) => ({ id: `a${i}`, label: 'l' })) }, ['/actions']],
    ['an action twice', { to: ['a'], title: 'x', actions: [{ id: 'a', label: 'l' }, { id: 'a', label: 'm' }] }, ['/actions/1/id']],
    ['an action without label', { to: ['a'], title: 'x', actions: [{ id: 'a' }] }, ['/actions/0/label']],
    ['a sender without name', { to: ['a'], title: 'x', sender: { id: 's' } }, ['/sender/name']],
    ['a url that is none', { to: ['a'], title: 'x', url: 'javascript:alert(1)' }, ['/url']],
    ['a channel that is none', { to: ['a'], title: 'x', channels: ['push', 'pigeon'] }, ['/channels/1']],
    ['a channel twice', { to: ['a'], title: 'x', channels: ['push', 'push'] }, ['/channels/1']],
    ['a time that is none', { to: ['a'], title: 'x', scheduledAt: 'tomorrow' }, ['/scheduledAt']],
    ['a time too far ahead', { to: ['a'], title: 'x', scheduledAt: later(400 * 86_400_000) }, ['/scheduledAt']],
    ['an end in the past', { to: ['a'], title: 'x', expiresAt: later(-1000) }, ['/expiresAt']],
    ['an end before its time', { to: ['a'], title: 'x', scheduledAt: later(60_000), expiresAt: later(30_000) }, ['/expiresAt']],
    ['several faults at once', { to: ['a', ''], body: 1, priority: 3 }, ['/title', '/body', '/priority', '/to/1']],
  ];
  for (const [what, body, pointers] of cases) {
    test(`is refused for ${what}, with a pointer to it, and changes nothing`, async () => {
      const before = stack.sql('select count(*) from belfry.notification');
      const answer = await shop.service('POST', '/notifications', body);
      expect(422, answer);
      assert.deepEqual(faultsOf(answer).sort(), [...pointers].sort());
      assert.equal(stack.sql('select count(*) from belfry.notification'), before);
    });
  }

  test('of priority urgent needs its own scope', async () => {
    const weak = await checkedTenant(stack, 'weak', { scopes: 'send' });
    expect(403, await weak.service('POST', '/notifications', { to: ['a'], title: 'x', priority: 'urgent' }));
    expect(403, await weak.service('POST', '/notifications/bulk', { notifications: [{ to: ['a'], title: 'x', priority: 'urgent' }] }));
    expect(202, await shop.service('POST', '/notifications', { to: ['a'], title: 'x', priority: 'urgent' }));
  });
});

describe('a bulk send', () => {
  test('accepts what is valid and says of each that is not why', async () => {
    const users = [newUser(), newUser()];
    const body = expect(202, await shop.service('POST', '/notifications/bulk', {
      notifications: [{ to: [users[0]], title: 'A' }, { to: ['x y'], title: '' }, { to: users, title: 'B', scheduledAt: later(3_600_000) }, 7],
    }));
    assert.deepEqual(body.results.map((r) => r.status), [202, 422, 202, 422]);
    assert.deepEqual(body.results[1].errors.map((e) => e.pointer).sort(), ['/notifications/1/title', '/notifications/1/to/0']);
    assert.deepEqual(body.results[3].errors.map((e) => e.pointer), ['/notifications/3']);
    assert.deepEqual(body.results[2].notifications.map((n) => n.status), ['scheduled', 'scheduled']);
    assert.equal(expect(200, await shop.user(users[0], 'GET', '/inbox')).unreadCount, 1);
  });

  test('gives a user that is named in several of them each, in their order', async () => {
    const user = newUser();
    expect(202, await shop.service('POST', '/notifications/bulk', { notifications: [1, 2, 3].map((n) => ({ to: [user], title: `No ${n}` })) }));
    const inbox = expect(200, await shop.user(user, 'GET', '/inbox'));
    assert.deepEqual(inbox.notifications.map((n) => n.title), ['No 3', 'No 2', 'No 1']);
    assert.equal(inbox.unreadCount, 3);
  });

  test('with none that is valid is refused with the faults of all', async () => {
    const answer = await shop.service('POST', '/notifications/bulk', { notifications: [{ to: ['a'] }, { title: 'x' }] });
    expect(422, answer);
    assert.deepEqual(faultsOf(answer).sort(), ['/notifications/0/title', '/notifications/1/to']);
  });

  test('with more than a thousand recipients in all is refused whole', async () => {
    const users = Array.from({ length: 600 }, (_, i) => `b${i}`);
    const answer = await shop.service('POST', '/notifications/bulk', { notifications: [{ to: users, title: 'A' }, { to: users, title: 'B' }] });
    expect(422, answer);
    assert.deepEqual(faultsOf(answer), ['/notifications']);
  });

  test('refuses eventId, which names a request and not a part of one', async () => {
    const answer = await shop.service('POST', '/notifications/bulk', { notifications: [{ to: ['a'], title: 'x', eventId: 'e' }] });
    expect(422, answer);
    assert.deepEqual(faultsOf(answer), ['/notifications/0/eventId']);
  });
});

describe('what was sent', () => {
  test('is listed newest first, by user, category, status and time, in pages without holes', async () => {
    const user = newUser();
    const ids = [];
    for (let i = 0; i < 7; i += 1) ids.push(...await send(shop, user, { title: `No ${i}`, category: i % 2 ? 'odd' : 'even' }));
    const [cancelled] = await send(shop, user, { title: 'gone' });
    expect(200, await shop.service('DELETE', `/notifications/${cancelled}`));
    const found = [];
    for (let cursor = ''; cursor !== null;) {
      const page = expect(200, await shop.service('GET', `/notifications?user=${user}&status=active&limit=3${cursor && `&cursor=${cursor}`}`));
      assert.ok(page.notifications.length <= 3);
      found.push(...page.notifications.map((n) => n.id));
      cursor = page.nextCursor;
    }
    assert.deepEqual(found, [...ids].reverse());
    const odd = expect(200, await shop.service('GET', `/notifications?user=${user}&category=odd`));
    assert.deepEqual(odd.notifications.map((n) => n.title), ['No 5', 'No 3', 'No 1']);
    const all = expect(200, await shop.service('GET', '/notifications?limit=1&status=cancelled'));
    assert.equal(all.notifications[0].id, cancelled);
    assert.deepEqual(expect(200, await shop.service('GET', `/notifications?user=${user}&to=2020-01-01T00:00:00Z`)).notifications, []);
    assert.equal(expect(200, await shop.service('GET', `/notifications?user=${user}&from=2020-01-01T00:00:00Z&limit=100`)).notifications.length, 8);
  });

  test('of another tenant does not exist', async () => {
    const other = await checkedTenant(stack, 'other');
    const [id] = await send(shop, newUser());
    expect(404, await other.service('GET', `/notifications/${id}`));
    expect(404, await other.service('GET', `/notifications/${id}/timeline`));
    expect(404, await other.service('DELETE', `/notifications/${id}`));
    assert.equal(expect(200, await shop.service('GET', `/notifications/${id}`)).status, 'active');
  });

  test('is cancelled once: it leaves the inbox, its deliveries are counted, and a repeat says 0', async () => {
    const user = newUser();
    await shop.service('PUT', `/users/${user}`, { email: 'a@example.com' });
    const [id, kept] = [...await send(shop, user), ...await send(shop, user)];
    const first = expect(200, await shop.service('DELETE', `/notifications/${id}`));
    assert.deepEqual(first, { id, status: 'cancelled', cancelledDeliveries: 1 });
    assert.equal(expect(200, await shop.service('DELETE', `/notifications/${id}`)).cancelledDeliveries, 0);
    const inbox = expect(200, await shop.user(user, 'GET', '/inbox'));
    assert.deepEqual(inbox.notifications.map((n) => n.id), [kept]);
    assert.deepEqual([inbox.unreadCount, inbox.unseenCount], [1, 1]);
    assert.equal(expect(200, await shop.service('GET', `/notifications/${id}/timeline`)).status, 'cancelled');
  });

  test('and scheduled can be cancelled before its time, and never arrives', async () => {
    const user = newUser();
    const sent = expect(202, await shop.service('POST', '/notifications', { to: [user], title: 'Later', scheduledAt: later(800) }));
    expect(200, await shop.service('DELETE', `/notifications/${sent.notifications[0].id}`));
    assert.equal(stack.sql(`select count(*) from belfry.due where notification_id = '${sent.notifications[0].id}'`), '0');
    const [marker] = await send(shop, user, { title: 'marker', scheduledAt: later(1200) });
    await waitFor(async () => expect(200, await shop.user(user, 'GET', '/inbox')).notifications.length > 0, 'the later one arrives');
    assert.deepEqual(expect(200, await shop.user(user, 'GET', '/inbox')).notifications.map((n) => n.id), [marker]);
  });

  test('has a timeline with what was decided', async () => {
    const user = newUser();
    await shop.service('PUT', `/users/${user}`, { email: 'a@example.com' });
    await shop.service('PUT', `/users/${user}/preferences`, { channels: { email: false } });
    const [id] = await send(shop, user, { channels: ['email', 'push'] });
    const timeline = expect(200, await shop.service('GET', `/notifications/${id}/timeline`));
    assert.deepEqual(timeline.deliveries, []);
    assert.deepEqual(timeline.decisions.map((d) => [d.channel, d.decision]).sort(), [['email', 'skip'], ['push', 'skip']]);
  });
});
