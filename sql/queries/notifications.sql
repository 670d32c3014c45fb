-- Notifications as a service sees them. The columns of a row are those of handlers/notification_row.h, in its order;
-- read and seen are effective: the marks of the user's feed are applied. How rows are looked up: see send.sql.

-- Newest first. $1 category, $2 status, $3 from, $4 to (ids of moments), $5 before this id, $6 rows; NULL: any.
-- name: notifications_list
select n.id, n.user_id, n.request_id, n.type, n.title, n.body, n.data, n.sender, n.category, n.priority, n.actions, n.url,
       array_to_json(n.channels), s.status, n.sandbox, belfry.us(n.scheduled_at), belfry.us(n.expires_at), belfry.us(n.created_at),
       belfry.us(coalesce(n.seen_at, case when n.rev < f.seen_all_rev then f.seen_all_at end, n.read_at,
                          case when n.rev < f.read_all_rev then f.read_all_at end)),
       belfry.us(coalesce(n.read_at, case when n.rev < f.read_all_rev then f.read_all_at end)),
       belfry.us(n.archived_at), n.action, belfry.us(n.acted_at)
from belfry.notification n
cross join lateral (select 'inbox:' || n.user_id as key offset 0) k
left join lateral (select f.* from belfry.feed f where f.tenant_id = belfry.tenant() and f.key = k.key limit 1) f on true
cross join lateral (select case when n.cancelled_at is not null then 'cancelled' when n.expires_at <= now() then 'expired'
                                when n.scheduled_at > now() then 'scheduled' else 'active' end as status) s
where n.tenant_id = belfry.tenant() and ($1::text is null or n.category = $1) and ($2::text is null or s.status = $2)
      and n.id >= $3::uuid and n.id < $4::uuid and n.id < $5::uuid
order by n.id desc
limit $6

-- The same of one user: $1 user, then as above.
-- name: notifications_list_user
select n.id, n.user_id, n.request_id, n.type, n.title, n.body, n.data, n.sender, n.category, n.priority, n.actions, n.url,
       array_to_json(n.channels), s.status, n.sandbox, belfry.us(n.scheduled_at), belfry.us(n.expires_at), belfry.us(n.created_at),
       belfry.us(coalesce(n.seen_at, case when n.rev < f.seen_all_rev then f.seen_all_at end, n.read_at,
                          case when n.rev < f.read_all_rev then f.read_all_at end)),
       belfry.us(coalesce(n.read_at, case when n.rev < f.read_all_rev then f.read_all_at end)),
       belfry.us(n.archived_at), n.action, belfry.us(n.acted_at)
from (select * from belfry.notification n where n.tenant_id = belfry.tenant() and n.user_id = $1 order by n.rev offset 0) n
cross join lateral (select 'inbox:' || n.user_id as key offset 0) k
left join lateral (select f.* from belfry.feed f where f.tenant_id = belfry.tenant() and f.key = k.key limit 1) f on true
cross join lateral (select case when n.cancelled_at is not null then 'cancelled' when n.expires_at <= now() then 'expired'
                                when n.scheduled_at > now() then 'scheduled' else 'active' end as status) s
where ($2::text is null or n.category = $2)
      and ($3::text is null or s.status = $3) and n.id >= $4::uuid and n.id < $5::uuid and n.id < $6::uuid
order by n.id desc
limit $7

-- name: notifications_get
select n.id, n.user_id, n.request_id, n.type, n.title, n.body, n.data, n.sender, n.category, n.priority, n.actions, n.url,
       array_to_json(n.channels), case when n.cancelled_at is not null then 'cancelled' when n.expires_at <= now() then 'expired'
                                       when n.scheduled_at > now() then 'scheduled' else 'active' end,
       n.sandbox, belfry.us(n.scheduled_at), belfry.us(n.expires_at), belfry.us(n.created_at),
       belfry.us(coalesce(n.seen_at, case when n.rev < f.seen_all_rev then f.seen_all_at end, n.read_at,
                          case when n.rev < f.read_all_rev then f.read_all_at end)),
       belfry.us(coalesce(n.read_at, case when n.rev < f.read_all_rev then f.read_all_at end)),
       belfry.us(n.archived_at), n.action, belfry.us(n.acted_at)
from belfry.notification n
cross join lateral (select 'inbox:' || n.user_id as key offset 0) k
left join lateral (select f.* from belfry.feed f where f.tenant_id = belfry.tenant() and f.key = k.key limit 1) f on true
where n.tenant_id = belfry.tenant() and n.id = $1

-- ---- cancelling: the feed is locked by the first statement, the second sees what is true under the lock

-- A feed that does not exist yet is made: the notification may be arriving at this moment.
-- name: notifications_cancel_lock
insert into belfry.feed as f (tenant_id, key)
select belfry.tenant(), 'inbox:' || n.user_id from belfry.notification n where n.tenant_id = belfry.tenant() and n.id = $1
on conflict (tenant_id, key) do update set rev = f.rev

-- Takes $1 back: out of the inbox, out of what is due, and no delivery of it starts any more. One row if it exists:
-- user, whether it changed anything, deliveries that had not left, whether the inbox changed, epoch, rev, unread, unseen.
-- name: notifications_cancel
with found as (
    select n.id, n.user_id, k.key, n.cancelled_at is null as fresh,
           n.in_inbox and n.deleted_at is null and n.cancelled_at is null and n.rev > f.delete_all_rev as shown,
           n.archived_at is null and n.snoozed_until is null as listed,
           coalesce(n.read_at, case when n.rev < f.read_all_rev then f.read_all_at end) as read_at,
           coalesce(n.seen_at, case when n.rev < f.seen_all_rev then f.seen_all_at end) as seen_at,
           f.epoch # i.epoch as epoch, f.rev, f.unread, f.unseen
    from belfry.notification n
    cross join belfry.installation i
    cross join lateral (select 'inbox:' || n.user_id as key offset 0) k
    left join lateral (select f.* from belfry.feed f where f.tenant_id = belfry.tenant() and f.key = k.key limit 1) f on true
    where n.tenant_id = belfry.tenant() and n.id = $1
), cancelled as (
    update belfry.notification n
        set cancelled_at = now(), rev = case when t.shown then t.rev + 1 else n.rev end, read_at = t.read_at, seen_at = t.seen_at
    from found t where n.tenant_id = belfry.tenant() and n.id = $1 and t.fresh
), counted as (
    update belfry.feed f
        set rev = f.rev + 1, changed_at = now(), unread = f.unread - (t.listed and t.read_at is null)::integer,
            unseen = f.unseen - (t.listed and t.read_at is null and t.seen_at is null)::integer
    from found t
    cross join lateral (select x.ctid from belfry.feed x where x.tenant_id = belfry.tenant() and x.key = t.key limit 1) x
    where f.ctid = x.ctid and t.shown
    returning f.rev, f.unread, f.unseen
), forgotten as (
    delete from belfry.due d using found t where d.tenant_id = belfry.tenant() and d.notification_id = $1 and t.fresh
)
select t.user_id, t.fresh,
       (select count(*) from belfry.delivery d
        where d.tenant_id = belfry.tenant() and d.notification_id = $1 and t.fresh
              and not exists (select from belfry.lease l
                              where l.tenant_id = belfry.tenant() and l.notification_id = $1 and l.n = d.n)
              and not exists (select from belfry.dead_letter x
                              where x.tenant_id = belfry.tenant() and x.notification_id = $1 and x.n = d.n)
              and not exists (select from belfry.attempt a
                              where a.tenant_id = belfry.tenant() and a.notification_id = $1 and a.n = d.n and a.final)),
       coalesce(t.shown, false), t.epoch, coalesce(c.rev, t.rev), coalesce(c.unread, t.unread), coalesce(c.unseen, t.unseen)
from found t left join counted c on true

-- ---- the timeline: three statements of one transaction

-- name: timeline_notification
select case when n.cancelled_at is not null then 'cancelled' when n.expires_at <= now() then 'expired'
            when n.scheduled_at > now() then 'scheduled' else 'active' end, n.decisions
from belfry.notification n
where n.tenant_id = belfry.tenant() and n.id = $1

-- Where each delivery's id is, and how its last attempt ended if it is nowhere.
-- name: timeline_deliveries
select d.n, d.channel, d.provider, d.device_id,
       exists (select from belfry.dead_letter x where x.tenant_id = belfry.tenant() and x.notification_id = $1 and x.n = d.n) as dead,
       exists (select from belfry.lease l where l.tenant_id = belfry.tenant() and l.notification_id = $1 and l.n = d.n) as leased,
       exists (select from belfry.scheduled s where s.tenant_id = belfry.tenant() and s.notification_id = $1 and s.n = d.n) as scheduled
from belfry.delivery d
where d.tenant_id = belfry.tenant() and d.notification_id = $1
order by d.n

-- name: timeline_attempts
select a.n, a.number, a.outcome, a.final, a.code, a.detail, a.provider_message_id, belfry.us(a.started_at),
       belfry.us(a.finished_at), belfry.us(a.retry_at)
from belfry.attempt a
where a.tenant_id = belfry.tenant() and a.notification_id = $1
order by a.n, a.generation
