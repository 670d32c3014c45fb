-- Accepting notifications, in lock order: feeds, notifications, plan and deliveries.
--
-- Every look-up of a row is a lateral subquery with a limit (or offset 0), which the planner must run by index for
-- each row that drives it. As a plain join it may read all of a tenant's rows instead, in a plan made when there were
-- few. And a feed's key is a column of its own before it is looked up by: under row-level security an index only
-- serves conditions whose every function is leakproof, and || is not. Rows to be changed are found in the same way and
-- then named by their place (ctid), which nobody moves while we hold the feed's lock. (Without these
-- a send slows down with every row that its tenant has; tests/api/plans.test.mjs looks at the plans.)

-- Locks the inboxes of users, in the order of their keys, and takes as many revs and counts as each will get.
-- $1 users, $2 notifications for each.
-- name: send_lock_feeds
insert into belfry.feed as f (tenant_id, key, rev, unread, unseen)
select belfry.tenant(), 'inbox:' || w.user_id, w.arriving, w.arriving, w.arriving
from unnest($1::text[], $2::integer[]) as w (user_id, arriving)
order by w.user_id collate "C"
on conflict (tenant_id, key) do update
    set rev = f.rev + excluded.rev, unread = f.unread + excluded.unread, unseen = f.unseen + excluded.unseen, changed_at = now()

-- Inserts the notifications of a request. Contents ($3…$15) are said once; recipients refer to them: $16 id, $17 user,
-- $18 index of the content, $19 place among those of its user that arrive now, from 1 (0: later), $20 how many
-- those are. $1 request, $2 sandbox, $21 the time of acceptance.
-- A notification that another with the same dedupKey precedes is not inserted; what was counted too much is taken back.
-- One row for each recipient, in order: ordinal, id, inserted, in_inbox, epoch, rev, unread, unseen, feed_top.
-- name: send_insert
with content as materialized (
    select c.*, c.ordinal - 1 as number
    from unnest($3::text[], $4::text[], $5::text[], $6::json[], $7::json[], $8::text[], $9::smallint[], $10::json[],
                $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::text[])
         with ordinality as c (type, title, body, data, sender, category, priority, actions, url, channels,
                               scheduled_at, expires_at, dedup_key, ordinal)
), recipient as materialized (
    select r.ordinal, r.id, r.user_id, 'inbox:' || r.user_id as key, r.number, r.place, r.arriving
    from unnest($16::uuid[], $17::text[], $18::integer[], $19::integer[], $20::integer[])
         with ordinality as r (id, user_id, number, place, arriving, ordinal)
), claimed as (
    insert into belfry.dedup as d (tenant_id, user_id, key, notification_id, expires_at)
    select distinct on (r.user_id collate "C", c.dedup_key collate "C")
           belfry.tenant(), r.user_id, c.dedup_key, r.id, now() + interval '24 hours'
    from content c join recipient r on r.number = c.number
    where c.dedup_key is not null
    order by r.user_id collate "C", c.dedup_key collate "C", r.ordinal
    -- Always an update: a row that was committed since this statement began is seen by nothing else.
    on conflict (tenant_id, user_id, key) do update
        set notification_id = case when d.expires_at <= now() then excluded.notification_id else d.notification_id end,
            expires_at = case when d.expires_at <= now() then excluded.expires_at else d.expires_at end
    returning d.user_id, d.key, d.notification_id
), decided as materialized (
    select r.ordinal, r.id, r.user_id, r.key, r.number, r.place, c.dedup_key,
           x.fresh, x.fresh and r.place > 0 and not belfry.opted_out(p.opt_outs, c.category, 'inbox') as in_inbox,
           f.epoch # i.epoch as epoch, f.rev as feed_top, f.unread, f.unseen, f.rev - r.arriving + r.place as rev
    from recipient r
    join content c on c.number = r.number
    cross join lateral (select c.dedup_key is null or r.id in (select notification_id from claimed) as fresh) x
    cross join belfry.installation i
    left join lateral (select p.opt_outs from belfry.preference p
                       where p.tenant_id = belfry.tenant() and p.user_id = r.user_id limit 1) p on true
    left join lateral (select f.epoch, f.rev, f.unread, f.unseen from belfry.feed f
                       where f.tenant_id = belfry.tenant() and f.key = r.key limit 1) f on true
), inserted as (
    insert into belfry.notification (tenant_id, id, user_id, request_id, type, title, body, data, sender, category,
                                     priority, actions, url, channels, sandbox, scheduled_at, expires_at, in_inbox, rev,
                                     position, created_at)
    select belfry.tenant(), r.id, r.user_id, $1::uuid, c.type, c.title, c.body, c.data, c.sender, c.category, c.priority,
           c.actions, c.url, string_to_array(c.channels, ','), $2::boolean, c.scheduled_at, c.expires_at, r.in_inbox,
           case when r.in_inbox then r.rev end, case when r.in_inbox then r.rev end, $21::timestamptz
    from decided r join content c on c.number = r.number
    where r.fresh
), waiting as (
    insert into belfry.due (tenant_id, notification_id, kind, at)
    select belfry.tenant(), r.id, k.kind, k.at
    from content c
    join decided r on r.number = c.number
    cross join lateral (values ('send', case when r.place = 0 then c.scheduled_at end), ('expire', c.expires_at)) as k (kind, at)
    where (c.scheduled_at is not null or c.expires_at is not null) and r.fresh and k.at is not null
), surplus as materialized (
    select r.key, count(*)::integer as number from decided r where r.place > 0 and not r.in_inbox group by r.key
), corrected as (
    update belfry.feed f set unread = f.unread - s.number, unseen = f.unseen - s.number
    from surplus s
    cross join lateral (select x.ctid from belfry.feed x where x.tenant_id = belfry.tenant() and x.key = s.key limit 1) x
    where f.ctid = x.ctid
)
select r.ordinal,
       case when r.fresh then r.id
            else (select d.notification_id from claimed d where d.user_id = r.user_id and d.key = r.dedup_key) end as id,
       r.fresh as inserted, r.in_inbox, r.epoch, case when r.in_inbox then r.rev end as rev,
       r.unread - coalesce(s.number, 0) as unread, r.unseen - coalesce(s.number, 0) as unseen, r.feed_top
from decided r left join surplus s on s.key = r.key
order by r.ordinal

-- Decides, for notifications that are due now, on which channel and device each goes, and queues it.
-- $1 ids. A channel that the user opted out of, or that the tenant has no account for, is left out; what is left out is
-- written down with its reason. (Webhooks need no account: whom they go to is all in the device.)
-- name: send_plan
with target as (
    select w.id, n.user_id, n.category, n.channels, n.priority, n.in_inbox
    from unnest($1::uuid[]) as w (id)
    cross join lateral (select * from belfry.notification n where n.tenant_id = belfry.tenant() and n.id = w.id limit 1) n
    where n.cancelled_at is null and n.deleted_at is null and (n.expires_at is null or n.expires_at > now())
), candidate as (
    select t.id, t.user_id, t.priority, d.id as device_id, d.channel, d.provider,
           case when belfry.opted_out(p.opt_outs, t.category, d.channel) then 'opted out'
                when d.channel <> 'webhook'
                     and not exists (select from belfry.account a where a.tenant_id = belfry.tenant() and a.channel = d.channel)
                then 'no account' end as obstacle
    from target t
    cross join lateral (select d.id, d.channel, d.provider from belfry.device d
                        where d.tenant_id = belfry.tenant() and d.user_id = t.user_id
                              and (t.channels is null or d.channel = any (t.channels)) offset 0) d
    left join lateral (select p.opt_outs from belfry.preference p
                       where p.tenant_id = belfry.tenant() and p.user_id = t.user_id limit 1) p on true
), planned as (
    select c.id, c.user_id, c.priority, c.device_id, c.channel, c.provider,
           row_number() over (partition by c.id order by c.channel, c.device_id) as n
    from candidate c where c.obstacle is null
), delivered as (
    insert into belfry.delivery (tenant_id, notification_id, n, user_id, channel, provider, device_id)
    select belfry.tenant(), p.id, p.n, p.user_id, p.channel, p.provider, p.device_id from planned p
), queued as (
    insert into belfry.ready (channel, tenant_id, priority, notification_id, n)
    select p.channel, belfry.tenant(), p.priority, p.id, p.n from planned p
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, ready)
    select belfry.tenant(), p.channel, count(*) from planned p group by p.channel
), left_out as (
    select c.id, json_build_object('channel', c.channel, 'device', c.device_id, 'decision', 'skip', 'reason', c.obstacle) as decision
    from candidate c where c.obstacle is not null
    union all
    select t.id, json_build_object('channel', a.channel, 'device', null, 'decision', 'skip', 'reason', 'no address')
    from target t cross join unnest(t.channels) as a (channel)
    where not exists (select from candidate c where c.id = t.id and c.channel = a.channel)
    union all
    select t.id, json_build_object('channel', 'inbox', 'device', null, 'decision', 'skip', 'reason', 'opted out') as decision
    from target t where not t.in_inbox
), noted as (
    update belfry.notification n set decisions = l.decisions
    from (select id, json_agg(decision) as decisions from left_out group by id) l
    cross join lateral (select x.tableoid, x.ctid from belfry.notification x
                        where x.tenant_id = belfry.tenant() and x.id = l.id limit 1) x
    where n.ctid = x.ctid and n.tableoid = x.tableoid
)
select distinct p.channel from planned p

-- Locks the inboxes of scheduled notifications whose time has come, in the order of their keys, before anything
-- about them is read. $1 ids.
-- name: send_due_lock_feeds
insert into belfry.feed as f (tenant_id, key, rev, unread, unseen)
select belfry.tenant(), 'inbox:' || n.user_id, count(*), count(*), count(*)
from unnest($1::uuid[]) as w (id)
cross join lateral (select n.user_id from belfry.notification n
                    where n.tenant_id = belfry.tenant() and n.id = w.id limit 1) n
group by n.user_id
order by n.user_id collate "C"
on conflict (tenant_id, key) do update
    set rev = f.rev + excluded.rev, unread = f.unread + excluded.unread, unseen = f.unseen + excluded.unseen, changed_at = now()

-- Puts them into their inboxes, unless cancelled or expired since, and forgets that they were due. $1 ids.
-- One row for each: id, user, arrived, epoch, rev, unread, unseen, feed_top.
-- name: send_due_arrive
with target as materialized (
    select w.id, n.user_id, 'inbox:' || n.user_id as key, n.category, count(*) over (partition by n.user_id) as arriving,
           row_number() over (partition by n.user_id order by w.id) as place,
           n.cancelled_at is null and n.rev is null and n.deleted_at is null and (n.expires_at is null or n.expires_at > now()) as live
    from unnest($1::uuid[]) as w (id)
    cross join lateral (select * from belfry.notification n where n.tenant_id = belfry.tenant() and n.id = w.id limit 1) n
), arriving as (
    select t.*, f.rev - t.arriving + t.place as rev, f.rev as feed_top, f.unread, f.unseen, f.epoch # i.epoch as epoch,
           t.live and not belfry.opted_out(p.opt_outs, t.category, 'inbox') as in_inbox
    from target t
    cross join belfry.installation i
    cross join lateral (select f.epoch, f.rev, f.unread, f.unseen from belfry.feed f
                        where f.tenant_id = belfry.tenant() and f.key = t.key limit 1) f
    left join lateral (select p.opt_outs from belfry.preference p
                       where p.tenant_id = belfry.tenant() and p.user_id = t.user_id limit 1) p on true
), moved as (
    update belfry.notification n set in_inbox = true, rev = a.rev, position = a.rev
    from arriving a
    cross join lateral (select x.tableoid, x.ctid from belfry.notification x
                        where x.tenant_id = belfry.tenant() and x.id = a.id limit 1) x
    where a.in_inbox and n.ctid = x.ctid and n.tableoid = x.tableoid
), surplus as materialized (
    select a.user_id, a.key, count(*)::integer as number from arriving a where not a.in_inbox group by a.user_id, a.key
), corrected as (
    update belfry.feed f set unread = f.unread - s.number, unseen = f.unseen - s.number
    from surplus s
    cross join lateral (select x.ctid from belfry.feed x where x.tenant_id = belfry.tenant() and x.key = s.key limit 1) x
    where f.ctid = x.ctid
), forgotten as (
    delete from belfry.due d
    using unnest($1::uuid[]) as w (id)
    cross join lateral (select x.ctid from belfry.due x
                        where x.tenant_id = belfry.tenant() and x.notification_id = w.id and x.kind = 'send' limit 1) x
    where d.ctid = x.ctid
)
select a.id, a.user_id, a.in_inbox, a.epoch, a.rev, a.unread - coalesce(s.number, 0) as unread,
       a.unseen - coalesce(s.number, 0) as unseen, a.feed_top, a.live
from arriving a left join surplus s on s.user_id = a.user_id
order by a.user_id, a.rev
