-- What the scheduler asks, as belfry_scheduler: across tenants where it looks, as one tenant where it changes inboxes.
-- How rows are looked up and named for a change: see send.sql.

-- ---- duties: scheduler/duty.c ---------------------------------------------------------------------------------

-- $1 names.
-- name: scheduler_enter
insert into belfry.duty (name) select unnest($1::text[]) on conflict (name) do nothing

-- What is to be done now and nobody is at. Duties that rest until there is something to do are looked into here.
-- name: scheduler_peek
select d.name
from belfry.duty d
where d.due_at <= now() and (d.leased_until is null or d.leased_until <= now())
  and case d.name
      when 'due' then exists (select from belfry.due x where x.at <= now())
      when 'request' then exists (select from belfry.send_request x where x.failure is null)
      when 'promote' then exists (select from belfry.scheduled x where x.at <= now())
      when 'recover' then exists (select from belfry.worker x where x.until < now())
      when 'release' then exists (select from belfry.scheduled x where x.held_by is not null)
      when 'compact' then (select count(*) from (select from belfry.queue_delta limit 65) x) > 64
      else true
      end
order by d.due_at

-- $1 name, $2 holder, $3 lease in milliseconds. One row: it is ours.
-- name: scheduler_take
update belfry.duty d
set holder = $2, leased_until = now() + $3::integer * interval '1 millisecond'
where d.name = (select x.name from belfry.duty x
                where x.name = $1 and x.due_at <= now() and (x.leased_until is null or x.leased_until <= now())
                for update skip locked)
returning d.name

-- name: scheduler_renew
update belfry.duty
set leased_until = now() + $3::integer * interval '1 millisecond'
where name = $1 and holder = $2 and leased_until > now()
returning name

-- $1 name, $2 holder, $3 rest in milliseconds, $4 why it failed.
-- name: scheduler_give_back
update belfry.duty
set holder = null, leased_until = null, due_at = now() + $3::integer * interval '1 millisecond', ran_at = now(), failure = $4
where name = $1 and holder = $2

-- First statement of a slice that locks feeds: who holds one for long delays its own notifications only.
-- name: scheduler_brief
select set_config('lock_timeout', '100ms', true)

-- ---- due: scheduler/due.c -------------------------------------------------------------------------------------

-- After ($1 at, $2 tenant, $3 notification), of one moment and tenant after the other. $4 limit.
-- name: scheduler_due_find
select d.tenant_id, d.notification_id, d.kind, d.at
from belfry.due d
where d.at <= now() and d.at >= $1::timestamptz
  and (d.at, d.tenant_id, d.notification_id) > ($1::timestamptz, $2::integer, $3::uuid)
order by d.at, d.tenant_id, d.notification_id
limit $4

-- Locks the inboxes of notifications ($1), in the order of their keys.
-- name: scheduler_lock_feeds
with wanted as materialized (
    select distinct 'inbox:' || n.user_id as key
    from unnest($1::uuid[]) as w (id)
    cross join lateral (select n.* from belfry.notification n
                        where n.tenant_id = belfry.tenant() and n.id = w.id limit 1) n
)
select f.key
from wanted w
join belfry.feed f on f.tenant_id = belfry.tenant() and f.key = w.key
order by f.key collate "C"
for no key update of f

-- Takes notifications ($1) out of their inboxes, those that have expired or arrived before $2: they are not there any
-- more, the counters say so, and nothing further is due of them. One that is neither (scheduled long after it was made)
-- is due again when it will be. One row for each inbox that changed: key, epoch, rev, unread, unseen.
-- name: scheduler_leave
with target as materialized (
    select n.*, 'inbox:' || n.user_id as key, greatest(n.created_at, n.scheduled_at) as arrived_at,
           coalesce(n.expires_at <= now(), false) as expired, greatest(n.created_at, n.scheduled_at) < $2::timestamptz as old
    from unnest($1::uuid[]) as w (id)
    cross join lateral (select n.* from belfry.notification n
                        where n.tenant_id = belfry.tenant() and n.id = w.id limit 1) n
), leaving as materialized (
    select t.id, t.key, f.rev + row_number() over (partition by t.key order by t.id) as new_rev,
           t.archived_at is null and t.snoozed_until is null as listed,
           coalesce(t.read_at, case when t.rev < f.read_all_rev then f.read_all_at end) as read_at,
           coalesce(t.seen_at, case when t.rev < f.seen_all_rev then f.seen_all_at end) as seen_at
    from target t
    cross join lateral (select f.* from belfry.feed f where f.tenant_id = belfry.tenant() and f.key = t.key limit 1) f
    where (t.expired or t.old) and t.in_inbox and t.deleted_at is null and t.cancelled_at is null and t.rev > f.delete_all_rev
), moved as (
    update belfry.notification n set in_inbox = false, rev = l.new_rev, read_at = l.read_at, seen_at = l.seen_at
    from leaving l
    cross join lateral (select x.tableoid, x.ctid from belfry.notification x
                        where x.tenant_id = belfry.tenant() and x.id = l.id limit 1) x
    where n.ctid = x.ctid and n.tableoid = x.tableoid
), total as (
    select l.key, count(*) as revs, (count(*) filter (where l.listed and l.read_at is null))::integer as unread,
           (count(*) filter (where l.listed and l.read_at is null and l.seen_at is null))::integer as unseen
    from leaving l group by l.key
), counted as (
    update belfry.feed f
    set rev = f.rev + t.revs, unread = f.unread - t.unread, unseen = f.unseen - t.unseen, changed_at = now()
    from total t
    cross join lateral (select x.ctid from belfry.feed x where x.tenant_id = belfry.tenant() and x.key = t.key limit 1) x
    where f.ctid = x.ctid
    returning f.key, f.epoch, f.rev, f.unread, f.unseen
), forgotten as (
    delete from belfry.due d
    using (select w.id, coalesce(t.old, true) as all_kinds, coalesce(t.expired, true) as expired
           from unnest($1::uuid[]) as w (id) left join target t on t.id = w.id) g
    cross join lateral (select x.ctid from belfry.due x
                        where x.tenant_id = belfry.tenant() and x.notification_id = g.id
                              and (g.all_kinds or (g.expired and x.kind = 'expire')) offset 0) x
    where d.ctid = x.ctid
), later as (
    insert into belfry.due (tenant_id, notification_id, kind, at)
    select belfry.tenant(), t.id, 'expire', least(t.expires_at, now() + (t.arrived_at - $2::timestamptz))
    from target t where not t.expired and not t.old
    on conflict (tenant_id, notification_id, kind) do update set at = excluded.at
)
select c.key, c.epoch # i.epoch, c.rev, c.unread, c.unseen from counted c cross join belfry.installation i

-- Brings snoozed notifications ($1) back to the top of their inboxes. Rows as above.
-- name: scheduler_return
with target as materialized (
    select n.*, 'inbox:' || n.user_id as key
    from unnest($1::uuid[]) as w (id)
    cross join lateral (select n.* from belfry.notification n
                        where n.tenant_id = belfry.tenant() and n.id = w.id limit 1) n
), returning_ones as materialized (
    select t.id, t.key, f.rev + row_number() over (partition by t.key order by t.snoozed_until, t.id) as new_rev,
           t.archived_at is null as listed,
           coalesce(t.read_at, case when t.rev < f.read_all_rev then f.read_all_at end) as read_at,
           coalesce(t.seen_at, case when t.rev < f.seen_all_rev then f.seen_all_at end) as seen_at
    from target t
    cross join lateral (select f.* from belfry.feed f where f.tenant_id = belfry.tenant() and f.key = t.key limit 1) f
    where t.snoozed_until <= now() and t.in_inbox and t.deleted_at is null and t.cancelled_at is null
          and t.rev > f.delete_all_rev
), moved as (
    update belfry.notification n
    set snoozed_until = null, rev = r.new_rev, position = r.new_rev, read_at = r.read_at, seen_at = r.seen_at
    from returning_ones r
    cross join lateral (select x.tableoid, x.ctid from belfry.notification x
                        where x.tenant_id = belfry.tenant() and x.id = r.id limit 1) x
    where n.ctid = x.ctid and n.tableoid = x.tableoid
), total as (
    select r.key, count(*) as revs, (count(*) filter (where r.listed and r.read_at is null))::integer as unread,
           (count(*) filter (where r.listed and r.read_at is null and r.seen_at is null))::integer as unseen
    from returning_ones r group by r.key
), counted as (
    update belfry.feed f
    set rev = f.rev + t.revs, unread = f.unread + t.unread, unseen = f.unseen + t.unseen, changed_at = now()
    from total t
    cross join lateral (select x.ctid from belfry.feed x where x.tenant_id = belfry.tenant() and x.key = t.key limit 1) x
    where f.ctid = x.ctid
    returning f.key, f.epoch, f.rev, f.unread, f.unseen
), forgotten as (
    delete from belfry.due d
    using unnest($1::uuid[]) as w (id)
    cross join lateral (select x.ctid from belfry.due x where x.tenant_id = belfry.tenant() and x.notification_id = w.id
                              and x.kind = 'unsnooze' and x.at <= now() limit 1) x
    where d.ctid = x.ctid
)
select c.key, c.epoch # i.epoch, c.rev, c.unread, c.unseen from counted c cross join belfry.installation i

-- ---- request: scheduler/request.c -----------------------------------------------------------------------------

-- After ($1 time, $2 id). $3 limit.
-- name: scheduler_request_find
select r.tenant_id, r.id, r.body, belfry.us(r.created_at), r.created_at
from belfry.send_request r
where r.failure is null and r.created_at >= $1::timestamptz and (r.created_at, r.id) > ($1::timestamptz, $2::uuid)
order by r.created_at, r.id
limit $3

-- First statement of its expansion. One row: it was there, and is ours.
-- name: scheduler_request_take
delete from belfry.send_request where tenant_id = belfry.tenant() and id = $1 returning id

-- One row: nobody has sent under this event id ($1) before. $2 hash of the body, $3 answer.
-- name: scheduler_request_name
insert into belfry.idempotency (tenant_id, key, body_hash, response) values (belfry.tenant(), $1, $2, $3)
on conflict (tenant_id, key) do nothing
returning key

-- name: scheduler_request_fail
update belfry.send_request set failure = $3 where tenant_id = $1 and id = $2

-- ---- retention: scheduler/age.c, partition.c, forget.c --------------------------------------------------------

-- $1 days. How far inboxes are aged, and whether the next hour is old enough.
-- name: scheduler_age_place
select r.aged_until, r.tenant_id, r.notification_id,
       r.aged_until + interval '1 hour' <= now() - $1::integer * interval '1 day', now() - $1::integer * interval '1 day'
from belfry.retention r

-- Notifications of an hour ($1) after ($2 tenant, $3 id), each tenant by its primary key. $4 limit.
-- name: scheduler_age_find
select x.tenant_id, x.id
from belfry.tenant t
cross join lateral (
    select n.tenant_id, n.id from belfry.notification n
    where n.tenant_id = t.id and n.id >= belfry.uuid_floor($1::timestamptz)
      and n.id < belfry.uuid_floor($1::timestamptz + interval '1 hour') and (t.id > $2::integer or n.id > $3::uuid)
    order by n.id limit $4
) x
where t.id >= $2::integer
order by x.tenant_id, x.id
limit $4

-- $1 tenant, $2 id: those up to here are done.
-- name: scheduler_age_advance
update belfry.retention set tenant_id = $1, notification_id = $2

-- name: scheduler_age_next_hour
update belfry.retention
set aged_until = aged_until + interval '1 hour', tenant_id = 0, notification_id = '00000000-0000-0000-0000-000000000000'

-- name: scheduler_partitions_ahead
select belfry.partitions_ahead($1)

-- Before which ids partitions may go: of notifications (their tombstones have been there for $1 days), of deliveries
-- and attempts ($2 days).
-- name: scheduler_partition_bounds
select belfry.uuid_floor(r.aged_until - $1::integer * interval '1 day'),
       belfry.uuid_floor(now() - $2::integer * interval '1 day')
from belfry.retention r

-- The oldest partition of $1 that lies wholly before $2 and has nothing in it that is still due or on its way: what is
-- scheduled for next year keeps its own day, and no other.
-- name: scheduler_partition_find
with candidate as materialized (
    select c.relname::text as name, b.bound[1]::uuid as least, b.bound[2]::uuid as most
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    cross join lateral (
        select regexp_match(pg_get_expr(c.relpartbound, c.oid),
                            'FROM \(''([0-9a-f-]{36})''\) TO \(''([0-9a-f-]{36})''\)') as bound) b
    where i.inhparent = to_regclass('belfry.' || $1) and b.bound[2]::uuid <= $2::uuid
), busy as materialized (
    select d.notification_id as id from belfry.due d
    where d.notification_id < $2::uuid and (d.kind = 'send' or $1::text = 'notification')
    union all select s.notification_id from belfry.scheduled s where s.notification_id < $2::uuid
    union all select r.notification_id from belfry.ready r where r.notification_id < $2::uuid
    union all select l.notification_id from belfry.lease l where l.notification_id < $2::uuid
    union all select x.notification_id from belfry.dead_letter x where x.notification_id < $2::uuid
)
select c.name from candidate c
where not exists (select from busy b where b.id >= c.least and b.id < c.most)
order by c.name
limit 1

-- $1 notification, delivery or attempt; $2 its partition; $3 before.
-- name: scheduler_partition_drop
select belfry.partition_drop($1, $2, $3)

-- What has had its time: first answers after 72 hours, dedup keys, dead letters and failed requests after $2 days. $1 rows of each.
-- Returns the most that one of them lost.
-- name: scheduler_forget
with answers as (
    delete from belfry.idempotency where ctid = any (array(
        select ctid from belfry.idempotency where created_at < now() - interval '72 hours'
        order by created_at limit $1::integer for update skip locked))
    returning 1
), keys as (
    delete from belfry.dedup where ctid = any (array(
        select ctid from belfry.dedup where expires_at < now() order by expires_at limit $1::integer for update skip locked))
    returning 1
), letters as (
    delete from belfry.dead_letter where ctid = any (array(
        select x.place from belfry.tenant t cross join lateral (
            select l.ctid as place from belfry.dead_letter l
            where l.tenant_id = t.id and l.at < now() - $2::integer * interval '1 day'
            order by l.at limit $1::integer for update skip locked) x
        limit $1::integer))
    returning tenant_id, channel
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, dead)
    select tenant_id, channel, -count(*) from letters group by tenant_id, channel
), requests as (
    delete from belfry.send_request where ctid = any (array(
        select r.ctid from belfry.send_request r
        where r.failure is not null and r.created_at < now() - $2::integer * interval '1 day'
        limit $1::integer for update skip locked))
    returning 1
)
select greatest((select count(*) from answers), (select count(*) from keys), (select count(*) from letters),
                (select count(*) from requests))

-- Renews the epoch when the server's timeline is another than before. Returns whether cursors were made void, timeline.
-- name: scheduler_epoch
with server as (
    select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer as timeline
), before as (
    select timeline from belfry.installation
)
update belfry.installation i
set timeline = s.timeline, epoch = case when b.timeline = 0 then i.epoch else belfry.random_id() end
from server s, before b
where i.timeline <> s.timeline
returning b.timeline <> 0, i.timeline
