-- Users as services keep them. Addresses are sealed; devices email and phone mirror them.

-- name: users_put
insert into belfry.app_user as u (tenant_id, id, name, avatar_url, email_sealed, phone_sealed, locale, time_zone, attributes)
values (belfry.tenant(), $1, $2, $3, $4, $5, $6, $7, $8)
on conflict (tenant_id, id) do update
    set name = excluded.name, avatar_url = excluded.avatar_url, email_sealed = excluded.email_sealed,
        phone_sealed = excluded.phone_sealed, locale = excluded.locale, time_zone = excluded.time_zone,
        attributes = excluded.attributes, updated_at = now(), erased_at = null,
        created_at = case when u.erased_at is null then u.created_at else now() end
returning belfry.us(created_at), belfry.us(updated_at), created_at = now()

-- $1 user, $2 device, $3 channel, $4 sealed, $5 index, $6 hint.
-- name: users_put_address
insert into belfry.device as d (tenant_id, user_id, id, channel, provider, address_sealed, address_index, hint)
values (belfry.tenant(), $1, $2, $3, '', $4, $5, $6)
on conflict (tenant_id, user_id, id) do update
    set channel = excluded.channel, provider = '', address_sealed = excluded.address_sealed,
        address_index = excluded.address_index, hint = excluded.hint, updated_at = now()

-- name: users_drop_address
delete from belfry.device where tenant_id = belfry.tenant() and user_id = $1 and id = $2

-- name: users_get
select id, name, avatar_url, email_sealed, phone_sealed, locale, time_zone, attributes, belfry.us(created_at), belfry.us(updated_at)
from belfry.app_user
where tenant_id = belfry.tenant() and id = $1 and erased_at is null

-- Does the database know this time zone? Reads all its files: only asked when ours does not have it.
-- name: users_time_zone
select exists (select from pg_timezone_names where name = $1)

-- ---- erasing, in steps: the feed is locked first, so that nothing arrives meanwhile

-- name: users_erase_lock
select f.epoch # i.epoch, f.rev from belfry.feed f, belfry.installation i
where f.tenant_id = belfry.tenant() and f.key = 'inbox:' || $1 for no key update of f

-- At most $2 notifications of user $1 with all that hangs on them. Answers how many. (How rows are named: see send.sql.)
-- name: users_erase_notifications
with gone as (
    delete from belfry.notification n
    using (select m.tableoid, m.ctid from belfry.notification m
           where m.tenant_id = belfry.tenant() and m.user_id = $1 limit $2) x
    where n.ctid = x.ctid and n.tableoid = x.tableoid
    returning n.id
), due as (
    delete from belfry.due d using gone g
    cross join lateral (select y.ctid from belfry.due y
                        where y.tenant_id = belfry.tenant() and y.notification_id = g.id offset 0) y
    where d.ctid = y.ctid
), delivery as (
    delete from belfry.delivery d using gone g
    cross join lateral (select y.tableoid, y.ctid from belfry.delivery y
                        where y.tenant_id = belfry.tenant() and y.notification_id = g.id offset 0) y
    where d.ctid = y.ctid and d.tableoid = y.tableoid
), attempt as (
    delete from belfry.attempt a using gone g
    cross join lateral (select y.tableoid, y.ctid from belfry.attempt y
                        where y.tenant_id = belfry.tenant() and y.notification_id = g.id offset 0) y
    where a.ctid = y.ctid and a.tableoid = y.tableoid
), dead as (
    delete from belfry.dead_letter x using gone g
    cross join lateral (select y.ctid from belfry.dead_letter y
                        where y.tenant_id = belfry.tenant() and y.notification_id = g.id offset 0) y
    where x.ctid = y.ctid
    returning x.channel
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, dead)
    select belfry.tenant(), d.channel, -count(*) from dead d group by d.channel
)
select count(*) from gone

-- The rest. Answers how much there was. Of whom tokens were withdrawn, that stays known.
-- name: users_erase_rest
with u as (
    delete from belfry.app_user
    where tenant_id = belfry.tenant() and id = $1 and tokens_valid_from is null returning 1
), w as (
    update belfry.app_user
    set name = null, avatar_url = null, email_sealed = null, phone_sealed = null, locale = null, time_zone = null,
        attributes = '{}', erased_at = now()
    where tenant_id = belfry.tenant() and id = $1 and tokens_valid_from is not null and erased_at is null returning 1
), d as (
    delete from belfry.device where tenant_id = belfry.tenant() and user_id = $1 returning 1
), p as (
    delete from belfry.preference where tenant_id = belfry.tenant() and user_id = $1 returning 1
), k as (
    delete from belfry.dedup where tenant_id = belfry.tenant() and user_id = $1 returning 1
), f as (
    delete from belfry.feed where tenant_id = belfry.tenant() and key = 'inbox:' || $1 returning 1
)
select (select count(*) from u) + (select count(*) from w) + (select count(*) from d) + (select count(*) from p) + (select count(*) from k)
       + (select count(*) from f)
