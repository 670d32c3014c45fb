// The scheduler's duties against a real database, without handlers: what is due happens once and soon, whoever does it.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { startDatabase } from '../database.mjs';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const later = (ms) => new Date(Date.now() + ms).toISOString();

/** A notification as the API would have made it: one row, feed and due rows included. */
async function insertNotification(db, { tenant = 1, user, at = Date.now(), inInbox = true, due = {}, ...columns }) {
  const id = uuidAt(at);
  await db.rows("insert into belfry.feed (tenant_id, key) values ($1, 'inbox:' || $2) on conflict do nothing", [tenant, user]);
  const row = { tenant_id: tenant, id, user_id: user, request_id: randomUUID(), type: 'general', title: 't', body: '', category: 'general',
    priority: 2, in_inbox: inInbox, created_at: new Date(at), ...columns };
  if (inInbox) {
    const shown = !row.archived_at && !row.snoozed_until && !row.read_at;
    const feed = await db.one(`update belfry.feed set rev = rev + 1, unread = unread + $3, unseen = unseen + $3
      where tenant_id = $1 and key = 'inbox:' || $2 returning rev`, [tenant, user, shown ? 1 : 0]);
    row.rev = row.position = feed.rev;
  }
  const names = Object.keys(row);
  await db.rows(`insert into belfry.notification (${names}) values (${names.map((_, i) => `$${i + 1}`)})`, Object.values(row));
  for (const [kind, time] of Object.entries(due)) {
    await db.rows('insert into belfry.due (tenant_id, notification_id, kind, at) values ($1, $2, $3, $4)', [tenant, id, kind, time]);
  }
  return id;
}

function uuidAt(ms) {
  const hex = Math.floor(ms).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${randomUUID().slice(15)}`;
}

const feedOf = (db, user) => db.one("select rev::integer, unread, unseen from belfry.feed where tenant_id = 1 and key = 'inbox:' || $1", [user]);
const notification = (db, id) => db.one('select * from belfry.notification where tenant_id = 1 and id = $1', [id]);

/** What the counters ought to be. */
async function recount(db, user) {
  return db.one(`select count(*) filter (where shown and read_at is null and rev > read_all_rev)::integer as unread,
      count(*) filter (where shown and read_at is null and seen_at is null and rev > greatest(read_all_rev, seen_all_rev))::integer as unseen
    from (select n.*, f.read_all_rev, f.seen_all_rev, n.in_inbox and n.deleted_at is null and n.cancelled_at is null
                 and n.archived_at is null and n.snoozed_until is null and n.rev > f.delete_all_rev as shown
          from belfry.notification n join belfry.feed f on f.tenant_id = n.tenant_id and f.key = 'inbox:' || n.user_id
          where n.tenant_id = 1 and n.user_id = $1) x`, [user]);
}

async function assertCounted(db, user) {
  const { unread, unseen } = await feedOf(db, user);
  assert.deepEqual({ unread, unseen }, await recount(db, user), user);
}

describe('what is due', () => {
  let db;
  before(async () => {
    db = await startDatabase();
    db.ctl('tenant', 'create', 'shop');
    await db.rows(`insert into belfry.device (tenant_id, user_id, id, channel, provider, address_sealed, address_index)
      values (1, 'alice', 'hook', 'webhook', 'webhook', '\\x00', '\\x00')`);
    await db.startScheduler();
  });
  after(() => db?.stop());

  test('a scheduled notification arrives at its time: inbox, counters, delivery', async () => {
    const id = await insertNotification(db, { user: 'alice', inInbox: false, scheduled_at: later(300), due: { send: later(300) } });
    assert.equal((await notification(db, id)).in_inbox, false);
    await db.until(async () => (await notification(db, id)).in_inbox, 'it arrives');
    const row = await notification(db, id);
    assert.ok(row.scheduled_at <= new Date(), 'not before its time');
    assert.ok(row.rev && row.position === row.rev);
    assert.equal((await feedOf(db, 'alice')).unread, 1);
    assert.deepEqual(await db.one('select channel, n from belfry.delivery where notification_id = $1', [id]), { channel: 'webhook', n: 1 });
    assert.equal((await db.one('select count(*)::integer from belfry.ready where notification_id = $1', [id])).count, 1);
    assert.equal((await db.one('select count(*)::integer from belfry.due where notification_id = $1', [id])).count, 0);
  });

  test('one that was cancelled before its time does not arrive', async () => {
    const id = await insertNotification(db, { user: 'carol', inInbox: false, cancelled_at: new Date(), due: { send: later(0) } });
    await db.until(async () => (await db.rows('select from belfry.due where notification_id = $1', [id])).length === 0, 'it is forgotten');
    assert.equal((await notification(db, id)).in_inbox, false);
    assert.deepEqual(await recount(db, 'carol'), { unread: 0, unseen: 0 });
    await assertCounted(db, 'carol');
  });

  test('an expired notification leaves the inbox with a new rev, and the counters are right', async () => {
    const read = await insertNotification(db, { user: 'bob', read_at: new Date(), expires_at: later(200), due: { expire: later(200) } });
    const unread = await insertNotification(db, { user: 'bob', expires_at: later(200), due: { expire: later(200) } });
    await insertNotification(db, { user: 'bob' });
    const before = await feedOf(db, 'bob');
    await db.until(async () => !(await notification(db, unread)).in_inbox && !(await notification(db, read)).in_inbox, 'both leave');
    const feed = await feedOf(db, 'bob');
    assert.equal(feed.rev, before.rev + 2);
    assert.equal(feed.unread, 1);
    const revs = [read, unread].map(async (id) => Number((await notification(db, id)).rev));
    assert.deepEqual((await Promise.all(revs)).sort(), [before.rev + 1, before.rev + 2], 'each has a rev of its own');
    await assertCounted(db, 'bob');
  });

  test('an expired one that a mark had read is not counted down twice', async () => {
    await insertNotification(db, { user: 'dora', expires_at: later(400), due: { expire: later(400) } });
    await db.rows("update belfry.feed set rev = rev + 1, read_all_rev = rev + 1, read_all_at = now(), unread = 0, unseen = 0 where key = 'inbox:dora'");
    const id = await insertNotification(db, { user: 'dora' });
    await db.until(async () => (await db.rows("select from belfry.due where kind = 'expire'")).length === 0, 'it expires');
    assert.equal((await feedOf(db, 'dora')).unread, 1);
    await assertCounted(db, 'dora');
    assert.ok((await notification(db, id)).in_inbox);
  });

  test('a snoozed notification comes back to the top when its time comes', async () => {
    const id = await insertNotification(db, { user: 'erin', snoozed_until: later(200), due: { unsnooze: later(200) } });
    const other = await insertNotification(db, { user: 'erin' });
    assert.equal((await feedOf(db, 'erin')).unread, 1);
    await db.until(async () => (await notification(db, id)).snoozed_until === null, 'it comes back');
    const row = await notification(db, id);
    assert.ok(Number(row.position) > Number((await notification(db, other)).position));
    assert.equal(row.position, row.rev);
    assert.equal((await feedOf(db, 'erin')).unread, 2);
    await assertCounted(db, 'erin');
  });

  test('an inbox that somebody holds delays its own notifications only', async () => {
    const held = await insertNotification(db, { user: 'frank', inInbox: false, due: {} });
    const free = await insertNotification(db, { user: 'grace', inInbox: false, due: {} });
    const blocker = new pg.Client({ connectionString: db.postgres.url('postgres') });
    await blocker.connect();
    try {
      await blocker.query('begin');
      await blocker.query("select from belfry.feed where key = 'inbox:frank' for update");
      for (const [id, ms] of [[held, 0], [free, 1]]) {
        await db.rows("insert into belfry.due (tenant_id, notification_id, kind, at) values (1, $1, 'send', $2)", [id, later(ms)]);
      }
      await db.until(async () => (await notification(db, free)).in_inbox, 'the free one arrives');
      assert.equal((await notification(db, held)).in_inbox, false);
      await blocker.query('rollback');
    } finally {
      await blocker.end();
    }
    await db.until(async () => (await notification(db, held)).in_inbox, 'the held one arrives after');
    await assertCounted(db, 'frank');
  });

  test('a retry whose time has come is ready again, a held delivery is not', async () => {
    const id = await insertNotification(db, { user: 'alice' });
    await db.rows(`insert into belfry.scheduled (tenant_id, notification_id, n, channel, priority, at, tries, held_by)
      values (1, $1, 1, 'email', 2, now() + interval '200 ms', 3, null), (1, $1, 2, 'email', 2, 'infinity', 0, 'channel:email')`, [id]);
    await db.until(async () => (await db.rows('select from belfry.ready where notification_id = $1 and n = 1 and tries = 3', [id])).length === 1, 'it is ready');
    assert.equal((await db.rows('select from belfry.scheduled where notification_id = $1', [id])).length, 1);
  });

  test('what is held for an account leaves once there is one', async () => {
    const id = await insertNotification(db, { user: 'alice' });
    await db.rows(`insert into belfry.scheduled (tenant_id, notification_id, n, channel, priority, at, held_by)
      values (1, $1, 1, 'email', 2, 'infinity', 'channel:email')`, [id]);
    db.ctl('account', 'create', 'shop', '--channel', 'email', '--provider', 'null');
    await db.until(async () => (await db.rows('select from belfry.ready where notification_id = $1', [id])).length === 1, 'it is ready');
  });

  test('deliveries of a worker that is gone are ready again', async () => {
    const id = await insertNotification(db, { user: 'alice' });
    await db.rows("insert into belfry.worker (id, until, host) values (77, now() - interval '1 second', 'gone')");
    await db.rows(`insert into belfry.lease (tenant_id, notification_id, n, generation, worker_id, channel, priority, tries, lost)
      values (1, $1, 1, 5, 77, 'email', 2, 0, 0)`, [id]);
    await db.until(async () => (await db.rows('select from belfry.ready where notification_id = $1 and lost = 1', [id])).length === 1, 'it is ready');
    await db.until(async () => (await db.rows('select from belfry.worker where id = 77')).length === 0, 'the worker is forgotten');
  });

  test('the counters of the queue are summed up and stay what they were', async () => {
    const [{ sum }] = await db.rows('select coalesce(sum(ready), 0)::integer as sum from belfry.queue_delta');
    await db.rows("insert into belfry.queue_delta (tenant_id, channel, ready) select 1, 'email', 1 from generate_series(1, 500)");
    await db.until(async () => (await db.one('select count(*)::integer as n from belfry.queue_delta')).n < 65, 'rows become few');
    assert.equal((await db.one('select sum(ready)::integer as sum from belfry.queue_delta')).sum, sum + 500);
  });

  test('a database on another timeline gets a new epoch, so that cursors of before are void', async () => {
    await db.until(async () => (await db.one('select timeline from belfry.installation')).timeline === 1, 'the timeline is noted');
    const before = await db.one('select epoch from belfry.installation');
    await db.rows("update belfry.installation set timeline = 9; update belfry.duty set due_at = now() where name = 'epoch'");
    await db.until(async () => (await db.one('select timeline from belfry.installation')).timeline === 1, 'the change is noticed');
    assert.notEqual((await db.one('select epoch from belfry.installation')).epoch, before.epoch);
  });
});

describe('sends through SQL', () => {
  let db;
  let shop;
  before(async () => {
    db = await startDatabase();
    db.ctl('tenant', 'create', 'first');
    db.ctl('tenant', 'create', 'shop');
    db.sql('create role shop_app login; create role stranger login', 'postgres');
    db.sql('create table public.orders (id integer)');
    db.sql('grant all on public.orders to shop_app');
    db.ctl('login', 'create', 'shop', 'shop_app');
    shop = new pg.Client({ connectionString: db.postgres.url('shop_app') });
    await shop.connect();
    await db.startScheduler();
  });
  after(async () => {
    await shop?.end();
    await db?.stop();
  });

  const send = async (body) => (await shop.query('select belfry.send($1) as id', [JSON.stringify(body)])).rows[0].id;
  const sent = (id) => db.rows('select * from belfry.notification where request_id = $1 order by user_id', [id]);

  test('a product sends in its own transaction: what it commits arrives, for its tenant', async () => {
    await shop.query('begin');
    await shop.query('insert into public.orders values (1)');
    const id = await send({ to: ['u1', 'u2'], title: 'Order 1', body: 'Thanks', priority: 'high', data: { order: 1 } });
    await shop.query('commit');
    await db.until(async () => (await sent(id)).length === 2, 'both arrive');
    const [row] = await sent(id);
    assert.equal(row.tenant_id, 2);
    assert.deepEqual([row.title, row.body, row.priority, row.in_inbox, row.data], ['Order 1', 'Thanks', 1, true, { order: 1 }]);
    assert.deepEqual(await db.rows('select from belfry.send_request'), []);
    assert.equal((await db.one("select unread from belfry.feed where tenant_id = 2 and key = 'inbox:u1'")).unread, 1);
  });

  test('what it rolls back never arrives', async () => {
    await shop.query('begin');
    const lost = await send({ to: ['u3'], title: 'Never' });
    await shop.query('rollback');
    const kept = await send({ to: ['u3'], title: 'Later' });
    await db.until(async () => (await sent(kept)).length === 1, 'the later one arrives');
    assert.deepEqual(await sent(lost), []);
  });

  test('an open transaction of the product holds up nobody', async () => {
    const other = new pg.Client({ connectionString: db.postgres.url('shop_app') });
    await other.connect();
    try {
      await other.query('begin');
      await other.query('select belfry.send($1)', [JSON.stringify({ to: ['u4'], title: 'Open' })]);
      const id = await send({ to: ['u4'], title: 'Closed' });
      await db.until(async () => (await sent(id)).length === 1, 'the other one arrives');
      await other.query('rollback');
    } finally {
      await other.end();
    }
  });

  test('a wrong body is kept with what is wrong with it, and holds up no other', async () => {
    const wrong = await send({ to: [], title: '', priority: 'loud', nonsense: 1 });
    const right = await send({ to: ['u5'], title: 'Right' });
    await db.until(async () => (await sent(right)).length === 1, 'the right one arrives');
    await db.until(async () => (await db.one('select failure from belfry.send_request where id = $1', [wrong])).failure, 'the wrong one is marked');
    const { failure } = await db.one('select failure from belfry.send_request where id = $1', [wrong]);
    for (const pointer of ['/to', '/title', '/priority', '/nonsense']) assert.ok(failure.includes(pointer), failure);
    assert.equal(db.ctl('send', 'failures', '--json').failures[0].request, wrong);
  });

  test('the same eventId sends once', async () => {
    const first = await send({ to: ['u6'], title: 'Once', eventId: 'order-7' });
    const second = await send({ to: ['u6'], title: 'Once', eventId: 'order-7' });
    await db.until(async () => (await db.rows('select from belfry.send_request where failure is null')).length === 0, 'both are expanded');
    assert.equal((await sent(first)).length + (await sent(second)).length, 1);
  });

  test('a scheduled one waits', async () => {
    const id = await send({ to: ['u7'], title: 'Tomorrow', scheduledAt: later(DAY) });
    await db.until(async () => (await sent(id)).length === 1, 'it is made');
    assert.equal((await sent(id))[0].in_inbox, false);
    assert.equal((await db.rows("select from belfry.due where kind = 'send'")).length, 1);
  });

  test('a role that belongs to no tenant is refused with a hint', async () => {
    const stranger = new pg.Client({ connectionString: db.postgres.url('stranger') });
    await stranger.connect();
    await assert.rejects(stranger.query("select belfry.send('{\"to\":[\"u1\"],\"title\":\"x\"}')"), /permission denied/);
    db.sql("select belfry.login_grant('stranger')");
    await assert.rejects(stranger.query("select belfry.send('{\"to\":[\"u1\"],\"title\":\"x\"}')"), (error) => {
      assert.match(error.message, /belongs to no tenant/);
      assert.match(error.hint, /belfryctl login create/);
      return true;
    });
    await stranger.end();
  });

  test('a product\'s role can call belfry.send() and nothing else', async () => {
    await assert.rejects(shop.query('select * from belfry.notification'), /permission denied/);
    await assert.rejects(shop.query('select * from belfry.tenant_login'), /permission denied/);
    await assert.rejects(shop.query('select belfry.login_grant(current_user::text)'), /permission denied/);
    await assert.rejects(shop.query("select belfry.resolve_app_key('x')"), /permission denied/);
  });

  test('belfryctl send goes the same way', async () => {
    const { request } = db.ctl('send', 'shop', '--to', 'u8', '--to', 'u9', '--title', 'By hand', '--data', '{"a":1}', '--json');
    await db.until(async () => (await sent(request)).length === 2, 'both arrive');
  });
});

describe('several schedulers', () => {
  let db;
  before(async () => {
    db = await startDatabase();
    db.ctl('tenant', 'create', 'shop');
    // Writes down each time that somebody takes or renews a lease while another one holds it.
    db.sql(`create table public.crossed (name text, old text, new text);
      create table public.taken (name text, holder text);
      grant insert on public.crossed, public.taken to public;
      create function public.watch() returns trigger language plpgsql as $$ begin
        if old.holder is not null and new.holder is not null and new.holder <> old.holder and old.leased_until > clock_timestamp() then
          insert into public.crossed values (old.name, old.holder, new.holder);
        end if;
        if old.holder is null and new.holder is not null then insert into public.taken values (new.name, new.holder); end if;
        return new; end $$;
      create trigger watch before update on belfry.duty for each row execute function public.watch()`);
  });
  after(() => db?.stop());

  test('share the work, never do a duty twice at once, and each occurrence happens once', async () => {
    const schedulers = await Promise.all([db.startScheduler(), db.startScheduler()]);
    const total = 400;
    for (let i = 0; i < total; i++) {
      await db.rows("insert into belfry.send_request (tenant_id, body) values (1, $1)", [JSON.stringify({ to: [`u${i % 20}`], title: `n${i}` })]);
    }
    const ids = [];
    for (let i = 0; i < 100; i++) ids.push(await insertNotification(db, { user: `v${i % 10}`, inInbox: false, due: { send: later(i * 10) } }));
    await db.until(async () => (await db.one('select count(*)::integer as n from belfry.notification where in_inbox')).n >= total + ids.length, 'all arrive');
    const { n, titles } = await db.one("select count(*)::integer as n, count(distinct title)::integer as titles from belfry.notification where title like 'n%'");
    assert.deepEqual({ n, titles }, { n: total, titles: total });
    assert.deepEqual(await db.rows('select * from public.crossed'), []);
    const holders = await db.rows('select distinct holder from public.taken');
    assert.equal(holders.length, 2, 'both took duties');
    for (let i = 0; i < 10; i++) await assertCounted(db, `v${i}`);
    for (const scheduler of schedulers) await scheduler.stop();
    assert.deepEqual(await db.rows('select name from belfry.duty where holder is not null'), [], 'leases are given back at the end');
  });

  test('a killed scheduler\'s duty is taken over when its lease has run out', async () => {
    await db.rows("update belfry.duty set holder = 'dead', leased_until = now() + interval '700 ms' where name = 'request'");
    const scheduler = await db.startScheduler();
    await db.rows("insert into belfry.send_request (tenant_id, body) values (1, $1)", [JSON.stringify({ to: ['w'], title: 'after' })]);
    const arrived = async () => (await db.rows("select created_at from belfry.notification where title = 'after'"))[0];
    await db.until(arrived, 'it arrives');
    await scheduler.stop();
  });

  test('survives the database and goes on', async () => {
    const scheduler = await db.startScheduler();
    await db.postgres.stop();
    await db.until(() => /scheduler cannot work/.test(scheduler.log()), 'it notices');
    await db.postgres.start();
    await db.until(async () => {
      await db.rows("insert into belfry.send_request (tenant_id, body) values (1, $1)", [JSON.stringify({ to: ['x'], title: 'again' })]);
      return true;
    }, 'the database is back');
    await db.until(async () => (await db.rows("select from belfry.notification where title = 'again'")).length > 0, 'it goes on');
    assert.ok(scheduler.pid, 'without a restart');
  });
});

describe('retention', () => {
  let db;
  const parts = (parent, fromDays, toDays, step, format) => `do $$ declare d timestamptz := date_trunc('${step}', now() - interval '${fromDays} days', 'UTC'); begin
      while d < now() - interval '${toDays} days' loop
        perform belfry.partition_ensure('${parent}', d, d + interval '1 ${step}', to_char(d at time zone 'UTC', '${format}')); d := d + interval '1 ${step}'; end loop; end $$;`;
  const days = (parent, from, to) => parts(parent, from, to, 'day', 'YYYYMMDD');
  const heldId = uuidAt(Date.now() - 38 * DAY);
  before(async () => {
    db = await startDatabase();
    db.ctl('tenant', 'create', 'shop');
    db.sql(`set role belfry_owner; set timezone = 'UTC'; ${parts('notification', 200, 0, 'month', 'YYYYMM')} ${parts('delivery', 40, 0, 'day', 'YYYYMMDD')} ${parts('attempt', 40, 0, 'day', 'YYYYMMDD')}`);
    db.sql("update belfry.retention set aged_until = date_trunc('hour', now()) - interval '190 days'");
    await db.rows("insert into belfry.delivery (tenant_id, notification_id, n, user_id, channel, provider, device_id) values (1, $1, 1, 'alice', 'email', '', 'email')", [heldId]);
    await db.rows("insert into belfry.scheduled (tenant_id, notification_id, n, channel, priority, at, held_by) values (1, $1, 1, 'email', 2, 'infinity', 'channel:email')", [heldId]);
  });
  after(() => db?.stop());

  const partitions = async (parent) => (await db.rows("select inhrelid::regclass::text as name from pg_inherits where inhparent = $1::regclass order by 1", [`belfry.${parent}`])).map((r) => r.name);
  const run = async (name) => {
    await db.rows('update belfry.duty set due_at = now() where name = $1', [name]);
    await db.until(async () => (await db.one('select due_at > now() + interval \'5 seconds\' as rests from belfry.duty where name = $1', [name])).rests, `${name} is done`, 120_000);
  };

  test('old notifications leave inboxes with the counters right, and then their partitions go', async () => {
    const ancient = await insertNotification(db, { user: 'alice', at: Date.now() - 185 * DAY });
    const old = await insertNotification(db, { user: 'alice', at: Date.now() - 95 * DAY });
    const young = await insertNotification(db, { user: 'alice', at: Date.now() - 80 * DAY });
    const late = await insertNotification(db, { user: 'alice', at: Date.now() - 92 * DAY, scheduled_at: new Date(Date.now() - 2 * DAY) });
    assert.equal((await feedOf(db, 'alice')).unread, 4);
    const before = await partitions('notification');
    await db.startScheduler();
    await run('age');
    assert.equal((await notification(db, old)).in_inbox, false, 'too old');
    assert.equal((await notification(db, young)).in_inbox, true, 'young enough');
    assert.equal((await notification(db, late)).in_inbox, true, 'made long ago, but arrived lately');
    assert.equal((await feedOf(db, 'alice')).unread, 2);
    assert.equal((await db.one('select kind from belfry.due where notification_id = $1', [late])).kind, 'expire', 'it is due again when it will be old');
    await run('partition');
    const after = await partitions('notification');
    assert.ok(after.length < before.length, `${before} → ${after}`);
    assert.equal(await notification(db, ancient), undefined);
    assert.ok(await notification(db, old), 'its tombstone stays for 30 days more');
    await assertCounted(db, 'alice');
  });

  test('days of deliveries go after 30 days, but not while one is on its way', async () => {
    await run('partition');
    const held = await partitions('delivery');
    assert.ok(await db.one('select from belfry.delivery where notification_id = $1', [heldId]), 'kept');
    await db.rows('delete from belfry.scheduled');
    await run('partition');
    const after = await partitions('delivery');
    assert.ok(after.length < held.length, `${held} → ${after}`);
    const first = new Date(Date.now() - 30 * DAY).toISOString().slice(0, 10).replaceAll('-', '');
    assert.equal(after[0], `belfry.delivery_${first}`, 'the day that is half over is the first');
  });

  test('what is due in a year keeps its own day and holds up no other', async () => {
    db.sql(`set role belfry_owner; set timezone = 'UTC'; ${days('delivery', 45, 31)} ${days('attempt', 45, 31)}`);
    const far = await insertNotification(db, { user: 'alice', at: Date.now() - 40 * DAY, inInbox: false, scheduled_at: new Date(Date.now() + 300 * DAY), due: { send: new Date(Date.now() + 300 * DAY) } });
    await run('partition');
    const name = (ms) => `belfry.delivery_${new Date(ms).toISOString().slice(0, 10).replaceAll('-', '')}`;
    const [first, second] = await partitions('delivery');
    assert.deepEqual([first, second], [name(Date.now() - 40 * DAY), name(Date.now() - 30 * DAY)], 'only the day of what waits is kept');
    await db.rows('delete from belfry.due where notification_id = $1', [far]);
    await run('partition');
    assert.equal((await partitions('delivery'))[0], name(Date.now() - 30 * DAY));
  });

  test('keys, dead letters and failed requests are forgotten in time, not before', async () => {
    await db.rows("insert into belfry.idempotency (tenant_id, key, body_hash, response, created_at) values (1, 'old', '', '', now() - interval '73 hours'), (1, 'new', '', '', now() - interval '71 hours')");
    await db.rows("insert into belfry.dedup (tenant_id, user_id, key, notification_id, expires_at) values (1, 'u', 'old', gen_random_uuid(), now() - interval '1 s'), (1, 'u', 'new', gen_random_uuid(), now() + interval '1 hour')");
    await db.rows("insert into belfry.dead_letter (tenant_id, notification_id, n, user_id, channel, priority, reason, tries, at) values (1, gen_random_uuid(), 1, 'u', 'email', 2, 'x', 1, now() - interval '31 days'), (1, gen_random_uuid(), 2, 'u', 'email', 2, 'x', 1, now())");
    await db.rows("insert into belfry.queue_delta (tenant_id, channel, dead) values (1, 'email', 2)");
    await db.rows("insert into belfry.send_request (tenant_id, body, failure, created_at) values (1, '{}', 'x', now() - interval '31 days'), (1, '{}', 'x', now())");
    await run('forget');
    assert.deepEqual(await db.rows('select key from belfry.idempotency'), [{ key: 'new' }]);
    assert.deepEqual(await db.rows('select key from belfry.dedup'), [{ key: 'new' }]);
    assert.equal((await db.rows('select from belfry.dead_letter')).length, 1);
    assert.equal((await db.one('select sum(dead)::integer as dead from belfry.queue_delta')).dead, 1);
    assert.equal((await db.rows('select from belfry.send_request')).length, 1);
  });

  test('partitions that are missing ahead are made', async () => {
    const [last] = (await partitions('delivery')).slice(-1);
    db.sql(`set role belfry_owner; drop table ${last}`);
    await run('partition');
    assert.ok((await partitions('delivery')).includes(last));
  });
});
