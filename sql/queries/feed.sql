-- Reading feeds. Columns of notifications come in the order of shared/domain/item.h, then those of the feed.

-- What changed in an inbox after a rev, oldest change first, and the counters, of one snapshot.
-- $1 user, $2 rev, $3 rows at most. No row at all: there is no such feed. A row without id: nothing changed.
-- name: feed_read_delta
select n.*, f.epoch, f.rev, f.unread, f.unseen, f.read_all_rev, f.seen_all_rev, f.delete_all_rev, f.changed
from (
    select x.epoch # i.epoch as epoch, x.rev, x.unread, x.unseen, x.read_all_rev, x.seen_all_rev, x.delete_all_rev,
           x.read_all_at, x.seen_all_at, extract(epoch from x.changed_at)::bigint as changed
    from belfry.feed x, belfry.installation i
    where x.tenant_id = belfry.tenant() and x.key = 'inbox:' || $1
) f
left join lateral (
    select n.id, n.rev, n.type, n.title, n.body, n.data, n.sender, n.category, n.priority, n.actions, n.url,
           belfry.us(greatest(n.created_at, n.scheduled_at)), belfry.us(n.expires_at),
           belfry.us(coalesce(n.seen_at, case when n.rev < f.seen_all_rev then f.seen_all_at end, n.read_at,
                              case when n.rev < f.read_all_rev then f.read_all_at end)),
           belfry.us(coalesce(n.read_at, case when n.rev < f.read_all_rev then f.read_all_at end)),
           belfry.us(n.archived_at), belfry.us(n.snoozed_until), n.action, belfry.us(n.acted_at),
           n.in_inbox and n.deleted_at is null and n.cancelled_at is null, n.position
    from belfry.notification n
    where n.tenant_id = belfry.tenant() and n.user_id = $1 and n.rev > greatest($2::bigint, f.delete_all_rev)
    order by n.rev
    limit $3
) n on true

-- What an inbox shows now: the newest rows, oldest change first. $1 user, $2 rows at most.
-- name: feed_read_state
select n.*, f.epoch, f.rev, f.unread, f.unseen, f.read_all_rev, f.seen_all_rev, f.delete_all_rev, f.changed
from (
    select x.epoch # i.epoch as epoch, x.rev, x.unread, x.unseen, x.read_all_rev, x.seen_all_rev, x.delete_all_rev,
           x.read_all_at, x.seen_all_at, extract(epoch from x.changed_at)::bigint as changed
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
    where n.tenant_id = belfry.tenant() and n.user_id = $1 and n.in_inbox and n.deleted_at is null
          and n.cancelled_at is null and n.archived_at is null and n.snoozed_until is null
          and n.rev > f.delete_all_rev and n.position is not null
    order by n.position desc
    limit $2
) n on true
order by n.rev

-- The revs that feeds have now, of any tenant. $1 tenants, $2 keys.
-- name: feed_revs
select r.ordinal, r.epoch, r.rev from belfry.feed_revs($1::integer[], $2::text[]) r
