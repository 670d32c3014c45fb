// An inbox: its states and counters, marks for all, paging and search, and that nothing drifts however many write at once.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import pg from 'pg';
import { checkedTenant, expect, faultsOf, newUser, openShop, request, send, waitFor } from './lib.mjs';

let stack;
let shop;
let stop;
before(async () => {
  ({ stack, shop, stop } = await openShop());
});
after(() => stop?.());

const inbox = async (user, query = '') => expect(200, await shop.user(user, 'GET', `/inbox${query}`));
const patch = (user, id, change) => shop.user(user, 'PATCH', `/inbox/${id}`, change);
const counts = (body) => [body.unreadCount, body.unseenCount];
const later = (ms) => new Date(Date.now() + ms).toISOString();
const ids = (body) => body.notifications.map((n) => n.id);

/** What the rows say that the counters should be. */
export function recount(user, tenant = 'shop') {
  const [feed, rows] = [
    `select f.unread, f.unseen from belfry.feed f join belfry.tenant t on t.id = f.tenant_id where t.name = '${tenant}' and f.key = 'inbox:${user}'`,
    `select count(*) filter (where n.read_at is null and n.rev > f.read_all_rev),
            count(*) filter (where n.read_at is null and n.seen_at is null and n.rev > f.read_all_rev and n.rev > f.seen_all_rev)
     from belfry.feed f join belfry.tenant t on t.id = f.tenant_id
     left join belfry.notification n on n.tenant_id = f.tenant_id and 'inbox:' || n.user_id = f.key and n.in_inbox and n.deleted_at is null
          and n.cancelled_at is null and n.archived_at is null and n.snoozed_until is null and n.rev > f.delete_all_rev
     where t.name = '${tenant}' and f.key = 'inbox:${user}'`,
  ].map((query) => stack.sql(query));
  return { feed, rows };
}
const sharedRevs = (user) => stack.sql(`select count(rev) - count(distinct rev) from belfry.notification where user_id = '${user}'`);
function assertCounted(user) {
  const { feed, rows } = recount(user);
  assert.equal(feed, rows, `counters of ${user}`);
  assert.equal(sharedRevs(user), '0', `each change of ${user} has a rev of its own`);
}

describe('one item', () => {
  test('is seen, read and unread again, and the counters follow', async () => {
    const user = newUser();
    const [id, other] = [...await send(shop, user), ...await send(shop, user)];
    assert.deepEqual(counts(await inbox(user)), [2, 2]);
    const seen = expect(200, await patch(user, id, { seen: true }));
    assert.deepEqual(counts(seen), [2, 1]);
    assert.ok(seen.notification.seenAt);
    assert.equal(seen.notification.readAt, null);
    const read = expect(200, await patch(user, id, { read: true }));
    assert.deepEqual(counts(read), [1, 1]);
    assert.equal(read.notification.seenAt, seen.notification.seenAt);
    const both = expect(200, await patch(user, other, { read: true }));
    assert.deepEqual(counts(both), [0, 0]);
    assert.ok(both.notification.seenAt, 'what was read was seen');
    const unread = expect(200, await patch(user, id, { read: false }));
    assert.deepEqual(counts(unread), [1, 0]);
    assert.equal(unread.notification.readAt, null);
    assertCounted(user);
  });

  test('archived leaves the list and the counters, and comes back', async () => {
    const user = newUser();
    const [id] = await send(shop, user);
    assert.deepEqual(counts(expect(200, await patch(user, id, { archived: true }))), [0, 0]);
    assert.deepEqual(ids(await inbox(user)), []);
    assert.deepEqual(ids(await inbox(user, '?state=archived')), [id]);
    assert.deepEqual(counts(expect(200, await patch(user, id, { archived: false }))), [1, 1]);
    assert.deepEqual(ids(await inbox(user)), [id]);
  });

  test('snoozed is hidden until its time and then comes back, unread and at the top', async () => {
    const user = newUser();
    const [id, above] = [...await send(shop, user), ...await send(shop, user)];
    const snoozed = expect(200, await patch(user, id, { snoozedUntil: later(1200) }));
    assert.deepEqual(counts(snoozed), [1, 1]);
    assert.deepEqual(ids(await inbox(user)), [above]);
    assert.deepEqual(ids(await inbox(user, '?state=snoozed')), [id]);
    await waitFor(async () => (await inbox(user)).notifications.length === 2, 'it comes back');
    const back = await inbox(user);
    assert.deepEqual(ids(back), [id, above]);
    assert.deepEqual(counts(back), [2, 2]);
    assertCounted(user);
  });

  test('snoozed can be shown again at once', async () => {
    const user = newUser();
    const [id] = await send(shop, user);
    expect(200, await patch(user, id, { snoozedUntil: later(3_600_000) }));
    assert.deepEqual(counts(expect(200, await patch(user, id, { snoozedUntil: null }))), [1, 1]);
    assert.equal(stack.sql(`select count(*) from belfry.due where notification_id = '${id}'`), '0');
  });

  test('deleted is gone for good', async () => {
    const user = newUser();
    const [id] = await send(shop, user);
    assert.deepEqual(counts(expect(200, await shop.user(user, 'DELETE', `/inbox/${id}`))), [0, 0]);
    assert.deepEqual(ids(await inbox(user, '?state=all')), []);
    expect(404, await shop.user(user, 'DELETE', `/inbox/${id}`));
    expect(404, await patch(user, id, { read: true }));
    assertCounted(user);
  });

  test('takes one of its actions, once, and is read by it', async () => {
    const user = newUser();
    const [id] = await send(shop, user, { actions: [{ id: 'yes', label: 'Yes' }, { id: 'no', label: 'No' }] });
    const acted = expect(200, await shop.user(user, 'POST', `/inbox/${id}/actions/yes`));
    assert.equal(acted.notification.action, 'yes');
    assert.ok(acted.notification.actedAt && acted.notification.readAt);
    assert.deepEqual(counts(acted), [0, 0]);
    const again = expect(200, await shop.user(user, 'POST', `/inbox/${id}/actions/yes`));
    assert.equal(again.notification.actedAt, acted.notification.actedAt);
    expect(409, await shop.user(user, 'POST', `/inbox/${id}/actions/no`));
    expect(404, await shop.user(user, 'POST', `/inbox/${id}/actions/maybe`));
    assert.equal(expect(200, await shop.service('GET', `/notifications/${id}`)).action, 'yes');
  });

  test('of somebody else does not exist', async () => {
    const [user, thief] = [newUser(), newUser()];
    const [id] = await send(shop, user);
    await send(shop, thief);
    expect(404, await patch(thief, id, { read: true }));
    expect(404, await shop.user(thief, 'DELETE', `/inbox/${id}`));
    expect(404, await shop.user(thief, 'POST', `/inbox/${id}/actions/x`));
    const other = await checkedTenant(stack, 'thieves');
    await send(other, user);
    expect(404, await other.user(user, 'PATCH', `/inbox/${id}`, { read: true }));
    assert.deepEqual(counts(await inbox(user)), [1, 1]);
  });

  test('that was read with all others stays read when it is deleted or cancelled', async () => {
    const user = newUser();
    const [deleted, cancelled] = [(await send(shop, user))[0], (await send(shop, user))[0]];
    expect(200, await shop.user(user, 'POST', '/inbox/read-all'));
    expect(200, await shop.user(user, 'DELETE', `/inbox/${deleted}`));
    expect(200, await shop.service('DELETE', `/notifications/${cancelled}`));
    for (const id of [deleted, cancelled]) {
      const { readAt, seenAt } = expect(200, await shop.service('GET', `/notifications/${id}`));
      assert.ok(readAt && seenAt, `${id}: ${readAt} ${seenAt}`);
    }
  });

  test('that is not changed by a change keeps its rev, so that nobody is woken', async () => {
    const user = newUser();
    const [id] = await send(shop, user);
    const first = expect(200, await patch(user, id, { read: true }));
    const rev = stack.sql(`select rev from belfry.feed where key = 'inbox:${user}'`);
    const again = expect(200, await patch(user, id, { read: true, seen: true, archived: false, snoozedUntil: null }));
    assert.equal(stack.sql(`select rev from belfry.feed where key = 'inbox:${user}'`), rev);
    assert.deepEqual(again.notification, first.notification);
    expect(200, await shop.user(user, 'POST', '/inbox/read-all'));
    const marked = stack.sql(`select rev from belfry.feed where key = 'inbox:${user}'`);
    expect(200, await shop.user(user, 'POST', '/inbox/read-all'));
    expect(200, await shop.user(user, 'POST', '/inbox/seen-all'));
    assert.equal(stack.sql(`select rev from belfry.feed where key = 'inbox:${user}'`), marked);
  });

  for (const [what, change, pointers] of [
    ['nothing', {}, ['']],
    ['what was seen made unseen', { seen: false }, ['/seen']],
    ['a snooze into the past', { snoozedUntil: '2020-01-01T00:00:00Z' }, ['/snoozedUntil']],
    ['a flag that is a word', { read: 'yes' }, ['/read']],
    ['an unknown member', { starred: true }, ['/starred']],
  ]) {
    test(`refuses ${what}`, async () => {
      const user = newUser();
      const [id] = await send(shop, user);
      const answer = await patch(user, id, change);
      expect(422, answer);
      assert.deepEqual(faultsOf(answer), pointers);
    });
  }
});

describe('all of them', () => {
  test('are read by one mark, which new ones are not, and one can be unread after it', async () => {
    const user = newUser();
    const [a, b] = [...await send(shop, user), ...await send(shop, user)];
    assert.deepEqual(counts(expect(200, await shop.user(user, 'POST', '/inbox/read-all'))), [0, 0]);
    const read = await inbox(user);
    assert.ok(read.notifications.every((n) => n.readAt && n.seenAt));
    const [c] = await send(shop, user);
    assert.deepEqual(ids(await inbox(user, '?state=unread')), [c]);
    assert.deepEqual(counts(expect(200, await patch(user, a, { read: false }))), [2, 1]);
    assert.deepEqual(ids(await inbox(user, '?state=unread')), [c, a]);
    assert.ok((await inbox(user)).notifications.find((n) => n.id === b).readAt);
    assertCounted(user);
  });

  test('are seen by one mark, and stay unread', async () => {
    const user = newUser();
    await send(shop, user);
    await send(shop, user);
    assert.deepEqual(counts(expect(200, await shop.user(user, 'POST', '/inbox/seen-all'))), [2, 0]);
    assert.ok((await inbox(user)).notifications.every((n) => n.seenAt && !n.readAt));
    await send(shop, user);
    assert.deepEqual(counts(await inbox(user)), [3, 1]);
    assertCounted(user);
  });

  test('are deleted by one mark, whatever their state, and new ones come', async () => {
    const user = newUser();
    const [a, b] = [...await send(shop, user), ...await send(shop, user), ...await send(shop, user)];
    await patch(user, a, { archived: true });
    await patch(user, b, { snoozedUntil: later(3_600_000) });
    assert.deepEqual(counts(expect(200, await shop.user(user, 'DELETE', '/inbox'))), [0, 0]);
    assert.deepEqual(ids(await inbox(user, '?state=all')), []);
    expect(404, await patch(user, a, { archived: false }));
    const [c] = await send(shop, user);
    assert.deepEqual(ids(await inbox(user, '?state=all')), [c]);
    assertCounted(user);
  });

  test('of somebody who never got anything are none', async () => {
    const user = newUser();
    for (const [method, path] of [['POST', '/inbox/read-all'], ['POST', '/inbox/seen-all'], ['DELETE', '/inbox']]) {
      const answer = expect(200, await shop.user(user, method, path));
      assert.deepEqual(counts(answer), [0, 0]);
      expect(200, await shop.user(user, 'GET', `/poll?feeds=inbox&cursor=${encodeURIComponent(answer.cursor)}`));
    }
    assert.deepEqual(await inbox(user), { notifications: [], unreadCount: 0, unseenCount: 0, nextCursor: null });
  });
});

describe('the list', () => {
  test('comes in pages, newest first, without holes while more arrive', async () => {
    const user = newUser();
    const sent = [];
    for (let i = 0; i < 7; i += 1) sent.push(...await send(shop, user, { title: `No ${i}` }));
    const found = [];
    for (let cursor = ''; cursor !== null;) {
      const page = await inbox(user, `?limit=3${cursor && `&cursor=${cursor}`}`);
      found.push(...ids(page));
      cursor = page.nextCursor;
      await send(shop, user);
    }
    assert.deepEqual(found, [...sent].reverse());
  });

  test('is searched by text as it is, and filtered by type and category', async () => {
    const user = newUser();
    const [percent] = await send(shop, user, { title: '50% off', type: 'sale', category: 'shop' });
    const [plain] = await send(shop, user, { title: '50 off', body: 'Ünder_score', type: 'sale', category: 'other' });
    assert.deepEqual(ids(await inbox(user, `?q=${encodeURIComponent('50%')}`)), [percent]);
    assert.deepEqual(ids(await inbox(user, `?q=${encodeURIComponent('r_s')}`)), [plain]);
    assert.deepEqual(ids(await inbox(user, '?q=OFF')), [plain, percent]);
    assert.deepEqual(ids(await inbox(user, `?q=${encodeURIComponent('\\')}`)), []);
    assert.deepEqual(ids(await inbox(user, '?type=sale&category=shop')), [percent]);
    assert.deepEqual(ids(await inbox(user, '?category=none')), []);
  });

  test('and the counters say 304 to those who hold them, until something changes', async () => {
    const user = newUser();
    await send(shop, user);
    for (const path of ['/inbox', '/inbox/unread-count']) {
      const first = await shop.user(user, 'GET', path);
      const tag = { 'If-None-Match': first.headers.get('etag') };
      const same = await shop.user(user, 'GET', path, undefined, tag);
      assert.equal(same.status, 304);
      await send(shop, user);
      expect(200, await shop.user(user, 'GET', path, undefined, tag));
    }
  });

  test('refuses what it does not know', async () => {
    for (const query of ['?limit=0', '?limit=101', '?limit=x', '?state=read', '?cursor=nonsense', '?colour=red', '?limit=1&limit=2', '?category=UPPER']) {
      const answer = await shop.user('u1', 'GET', `/inbox${query}`);
      assert.equal(answer.status, 400, query);
      assert.equal(answer.body.errors.length, 1, query);
      assert.ok(answer.body.errors[0].parameter);
    }
  });

  test('does not show what the user did not want in the inbox', async () => {
    const user = newUser();
    expect(200, await shop.user(user, 'PUT', '/preferences', { categories: { marketing: { inbox: false } } }));
    const [kept] = await send(shop, user, { category: 'orders' });
    const [hidden] = await send(shop, user, { category: 'marketing' });
    const list = await inbox(user);
    assert.deepEqual(ids(list), [kept]);
    const { decisions } = expect(200, await shop.service('GET', `/notifications/${hidden}/timeline`));
    assert.deepEqual(decisions, [{ channel: 'inbox', device: null, decision: 'skip', reason: 'opted out' }]);
    assert.deepEqual(counts(list), [1, 1]);
    assertCounted(user);
  });

  test('loses what has expired, and so do the counters', async () => {
    const user = newUser();
    const [kept] = await send(shop, user);
    await send(shop, user, { expiresAt: later(900) });
    assert.deepEqual(counts(await inbox(user)), [2, 2]);
    await waitFor(async () => (await inbox(user)).unreadCount === 1, 'it expires');
    assert.deepEqual(ids(await inbox(user)), [kept]);
    assertCounted(user);
  });
});

describe('many at once', () => {
  test('eight clients that do random things to one inbox leave counters that equal a recount', async () => {
    const user = newUser();
    let known = await Promise.all(Array.from({ length: 10 }, () => send(shop, user).then(([id]) => id)));
    const pick = (list) => list[Math.floor(Math.random() * list.length)];
    const operations = [
      () => patch(user, pick(known), { read: Math.random() < 0.5 }),
      () => patch(user, pick(known), { seen: true }),
      () => patch(user, pick(known), { archived: Math.random() < 0.5 }),
      () => patch(user, pick(known), { snoozedUntil: Math.random() < 0.5 ? null : later(3_600_000) }),
      () => patch(user, pick(known), { read: true, archived: true }),
      () => shop.user(user, 'DELETE', `/inbox/${pick(known)}`),
      () => shop.user(user, 'POST', '/inbox/read-all'),
      () => shop.user(user, 'POST', '/inbox/seen-all'),
      () => (Math.random() < 0.1 ? shop.user(user, 'DELETE', '/inbox') : shop.user(user, 'GET', '/inbox')),
      () => shop.service('DELETE', `/notifications/${pick(known)}`),
      async () => { known = [...known, ...await send(shop, user)]; return { status: 200 }; },
      async () => { known = [...known, ...await send(shop, user)]; return { status: 200 }; },
    ];
    const client = async () => {
      for (let i = 0; i < 60; i += 1) {
        const answer = await pick(operations)();
        assert.ok([200, 404].includes(answer.status), JSON.stringify(answer.body));
      }
    };
    await Promise.all(Array.from({ length: 8 }, client));
    assertCounted(user);
    const list = await inbox(user, '?limit=100');
    const shown = list.notifications;
    if (list.nextCursor === null) assert.equal(list.unreadCount, shown.filter((n) => !n.readAt).length);
  });

  test('sixty-four overlapping sends to a thousand users each, beside read-all, are all accepted', async () => {
    const prefix = newUser('crowd');
    const users = Array.from({ length: 1000 }, (_, i) => `${prefix}-${i}`);
    let busy = true;
    const readers = Array.from({ length: 4 }, async () => {
      while (busy) expect(200, await shop.user(users[Math.floor(Math.random() * 1000)], 'POST', '/inbox/read-all'));
    });
    const shuffled = () => [...users].sort(() => Math.random() - 0.5);
    const sends = Array.from({ length: 64 }, async () => expect(202, await shop.service('POST', '/notifications', { to: shuffled(), title: 'All' })));
    await Promise.all(sends).finally(() => { busy = false; });
    await Promise.all(readers);
    assert.equal(stack.sql(`select count(*) from belfry.notification where user_id like '${prefix}-%' and in_inbox`), '64000');
    const drifted = stack.sql(`
      select count(*) from belfry.feed f
      where f.key like 'inbox:${prefix}-%' and (f.rev < 64 or f.unread <> (
        select count(*) from belfry.notification n
        where n.tenant_id = f.tenant_id and 'inbox:' || n.user_id = f.key and n.read_at is null and n.rev > f.read_all_rev))`);
    assert.equal(drifted, '0');
  });

  test('every write is tried while a second session holds the lock of its feed, and nothing drifts', async () => {
    const user = newUser();
    const [id] = await send(shop, user, { actions: [{ id: 'ok', label: 'OK' }] });
    const writes = [
      ['a send', () => shop.service('POST', '/notifications', { to: [user], title: 'x' }), 202],
      ['a bulk send', () => shop.service('POST', '/notifications/bulk', { notifications: [{ to: [user], title: 'x' }, { to: [user], title: 'y' }] }), 202],
      ['a send with a dedupKey', () => shop.service('POST', '/notifications', { to: [user], title: 'x', dedupKey: 'd' }), 202],
      ['a change', () => patch(user, id, { read: true }), 200],
      ['a change back', () => patch(user, id, { read: false }), 200],
      ['an archive', () => patch(user, id, { archived: true }), 200],
      ['a snooze', () => patch(user, id, { archived: false, snoozedUntil: later(3_600_000) }), 200],
      ['the end of a snooze', () => patch(user, id, { snoozedUntil: null }), 200],
      ['an action', () => shop.user(user, 'POST', `/inbox/${id}/actions/ok`), 200],
      ['read-all', () => shop.user(user, 'POST', '/inbox/read-all'), 200],
      ['seen-all', () => shop.user(user, 'POST', '/inbox/seen-all'), 200],
      ['a cancel', async () => shop.service('DELETE', `/notifications/${(await inbox(user)).notifications[0].id}`), 200],
      ['a delete', () => shop.user(user, 'DELETE', `/inbox/${id}`), 200],
      ['delete-all', () => shop.user(user, 'DELETE', '/inbox'), 200],
    ];
    const other = new pg.Client({ connectionString: stack.db });
    await other.connect();
    const tenant = Number(stack.sql("select id from belfry.tenant where name = 'shop'"));
    try {
      for (const [what, write, status] of writes) {
        const [arriving] = await send(shop, user);
        await other.query('begin');
        // What another writer does under the lock: it takes a rev and changes a row and the counters.
        await other.query("update belfry.feed set rev = rev + 1, unread = unread - 1, unseen = unseen - 1 where tenant_id = $1 and key = 'inbox:' || $2", [tenant, user]);
        const pending = write();
        await waitFor(async () => Number((await other.query("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and usename = 'belfry_api'")).rows[0].count) > 0, `${what} waits for the lock`);
        await other.query("update belfry.notification n set read_at = now(), seen_at = now(), rev = f.rev from belfry.feed f where f.tenant_id = $1 and f.key = 'inbox:' || $2 and n.tenant_id = $1 and n.id = $3", [tenant, user, arriving]);
        await other.query('commit');
        expect(status, await pending);
        const { feed, rows } = recount(user);
        assert.equal(feed, rows, `after ${what}`);
        assert.equal(sharedRevs(user), '0', `after ${what} two changes have the same rev`);
      }
    } finally {
      await other.end();
    }
  });

  test('a feed that stays locked is answered 503 with Retry-After, and nothing has changed', async () => {
    const user = newUser();
    const [id] = await send(shop, user);
    const other = new pg.Client({ connectionString: stack.db });
    await other.connect();
    try {
      await other.query('begin');
      await other.query("select from belfry.feed where key = 'inbox:' || $1 for update", [user]);
      const answers = await Promise.all([
        patch(user, id, { read: true }),
        shop.user(user, 'POST', '/inbox/read-all'),
        shop.service('POST', '/notifications', { to: [user], title: 'x' }),
        shop.service('DELETE', `/notifications/${id}`),
      ]);
      for (const answer of answers) {
        expect(503, answer);
        assert.ok(answer.headers.get('retry-after'));
      }
      expect(200, await request(stack, 'GET', '/inbox', { headers: shop.bearer(user) })); // readers are not held up
      await other.query('rollback');
    } finally {
      await other.end();
    }
    assert.deepEqual(counts(await inbox(user)), [1, 1]);
  });
});
