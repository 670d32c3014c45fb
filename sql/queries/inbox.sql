-- A user's inbox. Items come with the columns of shared/domain/item.h, in its order, and then those of the feed:
-- epoch, rev, unread, unseen. read and seen are effective: the feed's marks are applied.
--
-- A change to an item is two statements of one transaction: the first locks the feed, the second, whose snapshot is
-- younger than the lock, reads the item, writes the marks that held for it into it, changes it under the next rev,
-- and corrects the counters by what became of it. An item counts as unread (unseen) while it is shown: live, neither
-- archived nor snoozed. What changes nothing takes no rev.

-- A page of the list with the counters, of one snapshot, newest first. $1 user, $2 state, $3 category, $4 type,
-- $5 pattern for ILIKE, $6 before this position, $7 rows. No row: there is no feed. A row without id: an empty page.
-- name: inbox_list
select n.*, f.epoch, f.rev, f.unread, f.unseen
from (
    select x.epoch # i.epoch as epoch, x.rev, x.unread, x.unseen, x.read_all_rev, x.seen_all_rev, x.delete_all_rev,
           x.read_all_at, x.seen_all_at
    from belfry.feed x, belfry.installation i
    where x.tenant_id = belfry.tenant() and x.key = 'inbox:' || $1
) f
left join lateral (
    select n.id, n.rev, n.type, n.title, n.body, n.data, n.sender, n.category, n.priority, n.actions, n.url,
           belfry.us(greatest(n.created_at, n.scheduled_at)), belfry.us(n.expires_at),
           belfry.us(coalesce(n.seen_at, case when n.rev < f.seen_all_rev then f.seen_all_at end, n.read_at,
                              case when n.rev < f.read_all_rev then f.read_all_at end)),
           belfry.us(coalesce(n.read_at, case when n.rev < f.read_all_rev then f.read_all_at end)),
           belfry.us(n.archived_at), belfry.us(n.snoozed_until), n.action, belfry.us(n.acted_at), true, n.position
    from belfry.notification n
    where n.tenant_id = belfry.tenant() and n.user_id = $1 and n.position < $6::bigint and n.in_inbox
          and n.deleted_at is null and n.cancelled_at is null and n.rev > f.delete_all_rev
          and case $2::text
                  when 'inbox' then n.archived_at is null and n.snoozed_until is null
                  when 'unread' then n.archived_at is null and n.snoozed_until is null and n.read_at is null
                                     and n.rev > f.read_all_rev
                  when 'archived' then n.archived_at is not null
                  when 'snoozed' then n.snoozed_until is not null
                  else true
              end
          and ($3::text is null or n.category = $3) and ($4::text is null or n.type = $4)
          and ($5::text is null or n.title ilike $5 or n.body ilike $5)
    order by n.position desc
    limit $7
) n on true
order by n.position desc

-- name: inbox_count
select f.epoch # i.epoch, f.rev, f.unread, f.unseen
from belfry.feed f, belfry.installation i
where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1

-- name: inbox_lock
select from belfry.feed f where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1 for no key update

-- Changes one item. $1 user, $2 id, $3 seen, $4 read, $5 archived: true, false or NULL for as it is. $6 snoozedUntil is
-- meant, $7 it (NULL: not snoozed). $8 an action that was taken, NULL: none. One row if the item is there: the item after the change,
-- the feed's columns, then: changed; the action is one of the item's; another action was taken before.
-- name: inbox_change
with f as (
    select x.epoch # i.epoch as epoch, x.rev, x.unread, x.unseen, x.read_all_rev, x.seen_all_rev, x.delete_all_rev,
           x.read_all_at, x.seen_all_at
    from belfry.feed x, belfry.installation i
    where x.tenant_id = belfry.tenant() and x.key = 'inbox:' || $1
), old as (
    select n.*, coalesce(n.read_at, case when n.rev < f.read_all_rev then f.read_all_at end) as was_read_at,
           coalesce(n.seen_at, case when n.rev < f.seen_all_rev then f.seen_all_at end, n.read_at,
                    case when n.rev < f.read_all_rev then f.read_all_at end) as was_seen_at,
           n.archived_at is null and n.snoozed_until is null as was_shown,
           exists (select from json_array_elements(n.actions) a where a ->> 'id' = $8::text) as action_exists,
           n.action is not null and n.action <> $8::text as action_taken
    from f join belfry.notification n
         on n.tenant_id = belfry.tenant() and n.user_id = $1 and n.id = $2 and n.in_inbox and n.deleted_at is null
            and n.cancelled_at is null and n.rev > f.delete_all_rev
), meant as (
    select o.*, $8::text is null or (o.action_exists and not coalesce(o.action_taken, false)) as allowed,
           case when $4::boolean or $8::text is not null then coalesce(o.was_read_at, now())
                when not $4::boolean then null else o.was_read_at end as now_read_at,
           case when $5::boolean then coalesce(o.archived_at, now()) when not $5::boolean then null else o.archived_at end as now_archived_at,
           case when $6::boolean then $7::timestamptz else o.snoozed_until end as now_snoozed_until,
           coalesce($8::text, o.action) as now_action,
           case when $8::text is null or o.action is not null then o.acted_at else now() end as now_acted_at
    from old o
), wanted as (
    select m.*, coalesce(m.was_seen_at, case when $3::boolean or m.now_read_at is not null then now() end) as now_seen_at,
           m.now_archived_at is null and m.now_snoozed_until is null as now_shown,
           m.allowed and (m.was_read_at is distinct from m.now_read_at or m.archived_at is distinct from m.now_archived_at
                or m.snoozed_until is distinct from m.now_snoozed_until or m.action is distinct from m.now_action
                or m.was_seen_at is null and ($3::boolean or m.now_read_at is not null) is true) as differs
    from meant m
), changed as (
    update belfry.notification n
        set rev = f.rev + 1, read_at = w.now_read_at, seen_at = w.now_seen_at, archived_at = w.now_archived_at,
            snoozed_until = w.now_snoozed_until, action = w.now_action, acted_at = w.now_acted_at
    from wanted w, f
    where n.tenant_id = belfry.tenant() and n.id = $2 and w.differs
), counted as (
    update belfry.feed x
        set rev = x.rev + 1, changed_at = now(),
            unread = x.unread + (w.now_shown and w.now_read_at is null)::integer - (w.was_shown and w.was_read_at is null)::integer,
            unseen = x.unseen + (w.now_shown and w.now_seen_at is null)::integer - (w.was_shown and w.was_seen_at is null)::integer
    from wanted w
    where x.tenant_id = belfry.tenant() and x.key = 'inbox:' || $1 and w.differs
    returning x.rev, x.unread, x.unseen
), snoozed as (
    insert into belfry.due (tenant_id, notification_id, kind, at)
    select belfry.tenant(), w.id, 'unsnooze', w.now_snoozed_until from wanted w
    where w.differs and $6::boolean and w.now_snoozed_until is not null
    on conflict (tenant_id, notification_id, kind) do update set at = excluded.at
), woken as (
    delete from belfry.due d using wanted w
    where d.tenant_id = belfry.tenant() and d.notification_id = $2 and d.kind = 'unsnooze' and w.differs
          and $6::boolean and w.now_snoozed_until is null
)
select w.id, coalesce(c.rev, w.rev), w.type, w.title, w.body, w.data, w.sender, w.category, w.priority, w.actions, w.url,
       belfry.us(greatest(w.created_at, w.scheduled_at)), belfry.us(w.expires_at),
       belfry.us(case when w.differs then w.now_seen_at else w.was_seen_at end),
       belfry.us(case when w.differs then w.now_read_at else w.was_read_at end),
       belfry.us(case when w.differs then w.now_archived_at else w.archived_at end),
       belfry.us(case when w.differs then w.now_snoozed_until else w.snoozed_until end),
       case when w.differs then w.now_action else w.action end,
       belfry.us(case when w.differs then w.now_acted_at else w.acted_at end), true, w.position,
       f.epoch, coalesce(c.rev, f.rev), coalesce(c.unread, f.unread), coalesce(c.unseen, f.unseen),
       w.differs, w.action_exists, coalesce(w.action_taken, false)
from wanted w cross join f left join counted c on true

-- Takes one item out. $1 user, $2 id. A tombstone stays, so that every reader hears of it.
-- One row if the item was there: epoch, rev, unread, unseen.
-- name: inbox_delete
with f as (
    select x.epoch # i.epoch as epoch, x.rev, x.read_all_rev, x.seen_all_rev, x.delete_all_rev, x.read_all_at, x.seen_all_at
    from belfry.feed x, belfry.installation i
    where x.tenant_id = belfry.tenant() and x.key = 'inbox:' || $1
), old as (
    select n.id, coalesce(n.read_at, case when n.rev < f.read_all_rev then f.read_all_at end) as read_at,
           coalesce(n.seen_at, case when n.rev < f.seen_all_rev then f.seen_all_at end) as seen_at,
           n.archived_at is null and n.snoozed_until is null as shown,
           n.read_at is null and n.rev > f.read_all_rev as unread,
           n.read_at is null and n.seen_at is null and n.rev > f.read_all_rev and n.rev > f.seen_all_rev as unseen
    from f join belfry.notification n
         on n.tenant_id = belfry.tenant() and n.user_id = $1 and n.id = $2 and n.in_inbox and n.deleted_at is null
            and n.cancelled_at is null and n.rev > f.delete_all_rev
), deleted as (
    update belfry.notification n set deleted_at = now(), rev = f.rev + 1, read_at = o.read_at, seen_at = o.seen_at
    from old o, f where n.tenant_id = belfry.tenant() and n.id = $2
), counted as (
    update belfry.feed x
        set rev = x.rev + 1, changed_at = now(), unread = x.unread - (o.shown and o.unread)::integer,
            unseen = x.unseen - (o.shown and o.unseen)::integer
    from old o where x.tenant_id = belfry.tenant() and x.key = 'inbox:' || $1
    returning x.rev, x.unread, x.unseen
), forgotten as (
    delete from belfry.due d using old o
    where d.tenant_id = belfry.tenant() and d.notification_id = $2 and d.kind = 'unsnooze'
)
select f.epoch, c.rev, c.unread, c.unseen from counted c cross join f

-- Marks on the feed, after inbox_lock too: one rev, however many items. Each answers with epoch, rev, unread, unseen, and whether it changed
-- anything; no row: there is no feed. Nothing happened since the last one: nothing to do.

-- name: inbox_read_all
with marked as (
    update belfry.feed f set rev = f.rev + 1, unread = 0, unseen = 0, read_all_rev = f.rev + 1, read_all_at = now(), changed_at = now()
    where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1 and f.rev > greatest(f.read_all_rev, f.delete_all_rev)
    returning f.epoch, f.rev, f.unread, f.unseen
)
select m.epoch # i.epoch, m.rev, m.unread, m.unseen, true from marked m, belfry.installation i
union all
select f.epoch # i.epoch, f.rev, f.unread, f.unseen, false from belfry.feed f, belfry.installation i
where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1 and not exists (select from marked)

-- name: inbox_seen_all
with marked as (
    update belfry.feed f set rev = f.rev + 1, unseen = 0, seen_all_rev = f.rev + 1, seen_all_at = now(), changed_at = now()
    where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1
          and f.rev > greatest(f.seen_all_rev, f.read_all_rev, f.delete_all_rev)
    returning f.epoch, f.rev, f.unread, f.unseen
)
select m.epoch # i.epoch, m.rev, m.unread, m.unseen, true from marked m, belfry.installation i
union all
select f.epoch # i.epoch, f.rev, f.unread, f.unseen, false from belfry.feed f, belfry.installation i
where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1 and not exists (select from marked)

-- name: inbox_delete_all
with marked as (
    update belfry.feed f set rev = f.rev + 1, unread = 0, unseen = 0, delete_all_rev = f.rev + 1, changed_at = now()
    where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1 and f.rev > f.delete_all_rev
    returning f.epoch, f.rev, f.unread, f.unseen
)
select m.epoch # i.epoch, m.rev, m.unread, m.unseen, true from marked m, belfry.installation i
union all
select f.epoch # i.epoch, f.rev, f.unread, f.unseen, false from belfry.feed f, belfry.installation i
where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1 and not exists (select from marked)
