-- Accepting notifications, in lock order: feeds, notifications, plan and deliveries.
--
-- A feed's key is always a column of its own before it is joined by: under row-level security the planner
-- uses an index only for a condition whose every function is leakproof, and || is not (40 times slower, measured).

-- Locks the inboxes of users, in the order of their keys, and takes as many revs and counts as each will get.
-- $1 users, $2 notifications for each.
-- name: send_lock_feeds
insert into belfry.feed as f (tenant_id, key, rev, unread, unseen)
select belfry.tenant(), 'inbox:' || w.user_id, w.arriving, w.arriving, w.arriving
from unnest($1::text[], $2::integer[]) as w (user_id, arriving)
order by w.user_id collate "C"
on conflict (tenant_id, key) do update
    set rev = f.rev + excluded.rev, unread = f.unread + excluded.unread, unseen = f.unseen + excluded.unseen, changed_at = now()

-- Inserts the notifications of a request. Contents ($3…$15) are said once, recipients ($16 id, $17 user, $18 index of the
-- content, $19 place among those of its user that arrive now, from 1) refer to them. $1 request, $2 sandbox.
-- $20 for each user of send_lock_feeds, $21 how many were counted for it. $22 the time of acceptance.
-- A notification that another with the same dedupKey precedes is not inserted; what was counted too much is taken back.
-- One row for each recipient, in order: ordinal, id, inserted, in_inbox, epoch, rev, unread, unseen, feed_top.
-- name: send_insert
with content as (
    select c.*, c.ordinal - 1 as number
    from unnest($3::text[], $4::text[], $5::text[], $6::json[], $7::json[], $8::text[], $9::smallint[], $10::json[],
                $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::text[])
         with ordinality as c (type, title, body, data, sender, category, priority, actions, url, channels,
                               scheduled_at, expires_at, dedup_key, ordinal)
), recipient as (
    select r.ordinal, r.id, r.user_id, 'inbox:' || r.user_id as key, r.place, c.dedup_key, r.number
    from unnest($16::uuid[], $17::text[], $18::integer[], $19::integer[]) with ordinality as r (id, user_id, number, place, ordinal)
    join content c on c.number = r.number
), claimed as (
    insert into belfry.dedup as d (tenant_id, user_id, key, notification_id, expires_at)
    select distinct on (r.user_id collate "C", r.dedup_key collate "C")
           belfry.tenant(), r.user_id, r.dedup_key, r.id, now() + interval '24 hours'
    from recipient r where r.dedup_key is not null
    order by r.user_id collate "C", r.dedup_key collate "C", r.ordinal
    on conflict (tenant_id, user_id, key) do update
        set notification_id = excluded.notification_id, expires_at = excluded.expires_at where d.expires_at <= now()
    returning d.notification_id
), fresh as (
    select r.ordinal, r.id, r.user_id, r.key, r.place, r.number,
           r.place > 0 and not belfry.opted_out(p.opt_outs, c.category, 'inbox') as in_inbox,
           f.epoch # i.epoch as epoch, f.rev - coalesce(l.arriving, 0) + r.place as rev
    from recipient r
    join content c on c.number = r.number
    cross join belfry.installation i
    left join belfry.preference p on p.tenant_id = belfry.tenant() and p.user_id = r.user_id
    left join belfry.feed f on f.tenant_id = belfry.tenant() and f.key = r.key and r.place > 0
    left join unnest($20::text[], $21::integer[]) as l (user_id, arriving) on l.user_id = r.user_id and r.place > 0
    where r.dedup_key is null or r.id in (select notification_id from claimed)
), inserted as (
    insert into belfry.notification (tenant_id, id, user_id, request_id, type, title, body, data, sender, category,
                                     priority, actions, url, channels, sandbox, scheduled_at, expires_at, in_inbox, rev,
                                     position, created_at)
    select belfry.tenant(), r.id, r.user_id, $1::uuid, c.type, c.title, c.body, c.data, c.sender, c.category, c.priority,
           c.actions, c.url, string_to_array(c.channels, ','), $2::boolean, c.scheduled_at, c.expires_at, r.in_inbox,
           case when r.in_inbox then r.rev end, case when r.in_inbox then r.rev end, $22::timestamptz
    from fresh r join content c on c.number = r.number
), waiting as (
    insert into belfry.due (tenant_id, notification_id, kind, at)
    select belfry.tenant(), r.id, 'send', c.scheduled_at from fresh r join content c on c.number = r.number
    where r.place = 0
    union all
    select belfry.tenant(), r.id, 'expire', c.expires_at from fresh r join content c on c.number = r.number
    where c.expires_at is not null
), surplus as (
    select r.user_id, r.key, count(*)::integer as number
    from recipient r left join fresh x on x.ordinal = r.ordinal
    where r.place > 0 and x.in_inbox is not true
    group by r.user_id, r.key
), corrected as (
    update belfry.feed f set unread = f.unread - s.number, unseen = f.unseen - s.number
    from surplus s where f.tenant_id = belfry.tenant() and f.key = s.key
)
select r.ordinal, coalesce(x.id, d.notification_id, own.id) as id, x.id is not null as inserted, coalesce(x.in_inbox, false) as in_inbox,
       f.epoch # i.epoch as epoch, x.rev, f.unread - coalesce(s.number, 0) as unread, f.unseen - coalesce(s.number, 0) as unseen,
       f.rev as feed_top
from recipient r
cross join belfry.installation i
left join fresh x on x.ordinal = r.ordinal
left join belfry.feed f on f.tenant_id = belfry.tenant() and f.key = r.key and r.place > 0
left join surplus s on s.user_id = r.user_id
left join belfry.dedup d on x.id is null and d.tenant_id = belfry.tenant() and d.user_id = r.user_id and d.key = r.dedup_key
left join recipient own on x.id is null and own.user_id = r.user_id and own.dedup_key = r.dedup_key
                        and own.id in (select notification_id from claimed)
order by r.ordinal

-- Decides, for notifications that are due now, on which channel and device each goes, and queues it.
-- $1 ids. Opt-outs hold from the first day; what is left out is written down with its reason.
-- name: send_plan
with target as (
    select n.id, n.user_id, n.category, n.channels, n.priority
    from unnest($1::uuid[]) as w (id)
    join belfry.notification n on n.tenant_id = belfry.tenant() and n.id = w.id
    where n.cancelled_at is null and n.deleted_at is null and (n.expires_at is null or n.expires_at > now())
), candidate as (
    select t.id, t.user_id, t.priority, d.id as device_id, d.channel, d.provider,
           belfry.opted_out(p.opt_outs, t.category, d.channel) as opted_out
    from target t
    join belfry.device d on d.tenant_id = belfry.tenant() and d.user_id = t.user_id
                        and (t.channels is null or d.channel = any (t.channels))
    left join belfry.preference p on p.tenant_id = belfry.tenant() and p.user_id = t.user_id
), planned as (
    select c.id, c.user_id, c.priority, c.device_id, c.channel, c.provider,
           row_number() over (partition by c.id order by c.channel, c.device_id) as n
    from candidate c where not c.opted_out
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
    select c.id, json_build_object('channel', c.channel, 'device', c.device_id, 'decision', 'skip', 'reason', 'opted out') as decision
    from candidate c where c.opted_out
    union all
    select t.id, json_build_object('channel', a.channel, 'device', null, 'decision', 'skip', 'reason', 'no address')
    from target t cross join unnest(t.channels) as a (channel)
    where not exists (select from candidate c where c.id = t.id and c.channel = a.channel)
), noted as (
    update belfry.notification n set decisions = l.decisions
    from (select id, json_agg(decision) as decisions from left_out group by id) l
    where n.tenant_id = belfry.tenant() and n.id = l.id
)
select distinct p.channel from planned p

-- Locks the inboxes of scheduled notifications whose time has come, in the order of their keys, before anything
-- about them is read. $1 ids.
-- name: send_due_lock_feeds
insert into belfry.feed as f (tenant_id, key, rev, unread, unseen)
select belfry.tenant(), 'inbox:' || n.user_id, count(*), count(*), count(*)
from unnest($1::uuid[]) as w (id)
join belfry.notification n on n.tenant_id = belfry.tenant() and n.id = w.id
group by n.user_id
order by n.user_id collate "C"
on conflict (tenant_id, key) do update
    set rev = f.rev + excluded.rev, unread = f.unread + excluded.unread, unseen = f.unseen + excluded.unseen, changed_at = now()

-- Puts them into their inboxes, unless cancelled or expired since, and forgets that they were due. $1 ids.
-- One row for each: id, user, arrived, epoch, rev, unread, unseen, feed_top.
-- name: send_due_arrive
with target as materialized (
    select n.id, n.user_id, 'inbox:' || n.user_id as key, n.category, count(*) over (partition by n.user_id) as arriving,
           row_number() over (partition by n.user_id order by n.id) as place,
           n.cancelled_at is null and n.rev is null and n.deleted_at is null and (n.expires_at is null or n.expires_at > now()) as live
    from unnest($1::uuid[]) as w (id)
    join belfry.notification n on n.tenant_id = belfry.tenant() and n.id = w.id
), arriving as (
    select t.*, f.rev - t.arriving + t.place as rev, f.rev as feed_top, f.unread, f.unseen, f.epoch # i.epoch as epoch,
           t.live and not belfry.opted_out(p.opt_outs, t.category, 'inbox') as in_inbox
    from target t
    cross join belfry.installation i
    join belfry.feed f on f.tenant_id = belfry.tenant() and f.key = t.key
    left join belfry.preference p on p.tenant_id = belfry.tenant() and p.user_id = t.user_id
), moved as (
    update belfry.notification n set in_inbox = true, rev = a.rev, position = a.rev
    from arriving a where n.tenant_id = belfry.tenant() and n.id = a.id and a.in_inbox
), surplus as (
    select a.user_id, a.key, count(*)::integer as number from arriving a where not a.in_inbox group by a.user_id, a.key
), corrected as (
    update belfry.feed f set unread = f.unread - s.number, unseen = f.unseen - s.number
    from surplus s where f.tenant_id = belfry.tenant() and f.key = s.key
), forgotten as (
    delete from belfry.due d using unnest($1::uuid[]) as w (id)
    where d.tenant_id = belfry.tenant() and d.notification_id = w.id and d.kind = 'send'
)
select a.id, a.user_id, a.in_inbox, a.epoch, a.rev, a.unread - coalesce(s.number, 0) as unread,
       a.unseen - coalesce(s.number, 0) as unseen, a.feed_top, a.live
from arriving a left join surplus s on s.user_id = a.user_id
order by a.user_id, a.rev
