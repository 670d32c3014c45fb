-- What belfryctl asks, as belfry_operator: across tenants, so tenants are named by parameters.

-- ---- setup ----

-- What `migrate` must know before it begins: may it make roles, are they there, was it ever run.
-- name: ctl_migrate_state
select r.rolsuper or r.rolcreaterole,
       exists (select from pg_roles where rolname = 'belfry_owner'),
       to_regclass('belfry.schema_migration') is not null
from pg_roles r
where r.rolname = current_user

-- name: ctl_migrate_applied
select name, checksum from belfry.schema_migration order by name

-- name: ctl_epoch_renew
update belfry.installation set epoch = belfry.random_id() where one returning epoch::text

-- ---- sealed values, for `keys reseal`: those not under key $1, after the row ($2, $3, $4) ----

-- name: ctl_reseal_users
select tenant_id, id, '', email_sealed, phone_sealed
from belfry.app_user
where (tenant_id, id) > ($2::integer, $3::text) and $4::text = ''
  and (get_byte(email_sealed, 0) <> $1::integer or get_byte(phone_sealed, 0) <> $1::integer)
order by tenant_id, id
limit 200

-- name: ctl_reseal_users_store
update belfry.app_user u
set email_sealed = coalesce(w.new_first, u.email_sealed), phone_sealed = coalesce(w.new_second, u.phone_sealed)
from unnest($1::integer[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])
    as w(tenant_id, id, unused, old_first, old_second, new_first, new_second)
where u.tenant_id = w.tenant_id and u.id = w.id
  and u.email_sealed is not distinct from w.old_first and u.phone_sealed is not distinct from w.old_second

-- name: ctl_reseal_devices
select tenant_id, user_id, id, address_sealed, null
from belfry.device
where (tenant_id, user_id, id) > ($2::integer, $3::text, $4::text) and get_byte(address_sealed, 0) <> $1::integer
order by tenant_id, user_id, id
limit 200

-- name: ctl_reseal_devices_store
update belfry.device d
set address_sealed = w.new_first
from unnest($1::integer[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])
    as w(tenant_id, user_id, id, old_first, old_second, new_first, new_second)
where d.tenant_id = w.tenant_id and d.user_id = w.user_id and d.id = w.id and d.address_sealed = w.old_first

-- name: ctl_reseal_accounts
select tenant_id, id, '', config_sealed, null
from belfry.account
where (tenant_id, id) > ($2::integer, $3::text) and $4::text = '' and get_byte(config_sealed, 0) <> $1::integer
order by tenant_id, id
limit 200

-- name: ctl_reseal_accounts_store
update belfry.account a
set config_sealed = w.new_first, version = a.version + 1
from unnest($1::integer[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])
    as w(tenant_id, id, unused, old_first, old_second, new_first, new_second)
where a.tenant_id = w.tenant_id and a.id = w.id and a.config_sealed = w.old_first

-- name: ctl_reseal_issuers
select tenant_id, name, '', key_sealed, null
from belfry.issuer
where (tenant_id, name) > ($2::integer, $3::text) and $4::text = '' and get_byte(key_sealed, 0) <> $1::integer
order by tenant_id, name
limit 200

-- name: ctl_reseal_issuers_store
update belfry.issuer i
set key_sealed = w.new_first
from unnest($1::integer[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])
    as w(tenant_id, name, unused, old_first, old_second, new_first, new_second)
where i.tenant_id = w.tenant_id and i.name = w.name and i.key_sealed = w.old_first

-- ---- tenants ----

-- name: ctl_tenant_find
select id from belfry.tenant where name = $1

-- name: ctl_tenant_create
with made as (
    insert into belfry.tenant (name) values ($1) returning id
), origins as (
    insert into belfry.tenant_origin (tenant_id, origin) select made.id, o from made, unnest($2::text[]) o
)
select id from made

-- name: ctl_tenant_list
select t.id, t.name, t.paused_at is not null, (extract(epoch from t.created_at) * 1000000)::bigint,
       (select coalesce(json_agg(o.origin order by o.origin), '[]') from belfry.tenant_origin o where o.tenant_id = t.id)
from belfry.tenant t
order by t.name

-- name: ctl_tenant_pause
update belfry.tenant
set paused_at = case when $2::boolean then coalesce(paused_at, now()) end
where name = $1
returning id

-- name: ctl_origin_add
insert into belfry.tenant_origin (tenant_id, origin) values ($1, $2) on conflict do nothing

-- name: ctl_origin_remove
delete from belfry.tenant_origin where tenant_id = $1 and origin = $2

-- name: ctl_login_create
insert into belfry.tenant_login (role_name, tenant_id) values ($2::text, $1)

-- name: ctl_login_exists
select 1 from pg_roles where rolname = $1::text

-- name: ctl_login_grant
select belfry.login_grant($1::text)

-- ---- credentials ----

-- name: ctl_key_create
insert into belfry.app_key (tenant_id, id, secret_mac, scopes, sandbox, label) values ($1, $2, $3, $4, $5, $6)

-- name: ctl_key_list
select id,
       (select string_agg(s.name, ',' order by s.bit) from unnest($2::text[], $3::integer[]) as s(name, bit)
        where scopes & s.bit <> 0),
       sandbox, label, (extract(epoch from created_at) * 1000000)::bigint,
       (extract(epoch from revoked_at) * 1000000)::bigint
from belfry.app_key
where tenant_id = $1
order by created_at, id

-- name: ctl_key_revoke
update belfry.app_key set revoked_at = coalesce(revoked_at, now()) where tenant_id = $1 and id = $2

-- name: ctl_issuer_create
insert into belfry.issuer (tenant_id, name, algorithm, key_sealed) values ($1, $2, $3, $4)

-- name: ctl_issuer_list
select name, algorithm, (extract(epoch from created_at) * 1000000)::bigint,
       (extract(epoch from revoked_at) * 1000000)::bigint
from belfry.issuer
where tenant_id = $1
order by name

-- name: ctl_issuer_find
select algorithm, key_sealed from belfry.issuer where tenant_id = $1 and name = $2 and revoked_at is null

-- name: ctl_issuer_revoke
update belfry.issuer set revoked_at = coalesce(revoked_at, now()) where tenant_id = $1 and name = $2

-- ---- provider accounts ----

-- The first version is one that no account of this name had before, so that workers notice a replacement.
-- name: ctl_account_create
insert into belfry.account (tenant_id, id, channel, provider, preference, config_sealed, public_config, version)
values ($1, $2, $3, $4, $5, $6, $7, (extract(epoch from clock_timestamp()) * 1000)::bigint)

-- name: ctl_account_list
select id, channel, provider, preference, state, paused_reason, public_config,
       (extract(epoch from created_at) * 1000000)::bigint
from belfry.account
where tenant_id = $1
order by channel, preference, id

-- name: ctl_account_resume
update belfry.account
set state = 'active', paused_reason = null, version = version + 1
where tenant_id = $1 and id = $2

-- name: ctl_account_delete
delete from belfry.account where tenant_id = $1 and id = $2

-- ---- people ----

-- After the id $2.
-- name: ctl_user_list
select id, name, locale, time_zone, (extract(epoch from created_at) * 1000000)::bigint
from belfry.app_user
where tenant_id = $1 and id > $2 and erased_at is null
order by id
limit $3

-- The user need not have a row before.
-- name: ctl_user_revoke
insert into belfry.app_user as u (tenant_id, id, tokens_valid_from) values ($1, $2, now())
on conflict (tenant_id, id) do update set tokens_valid_from = now()
returning belfry.us(tokens_valid_from)

-- Also who has no row but an inbox.
-- name: ctl_user_find
select u.name, u.locale, u.time_zone, u.attributes, (extract(epoch from u.created_at) * 1000000)::bigint,
       coalesce(f.unread, 0), coalesce(f.unseen, 0), array_to_json(p.opt_outs),
       (select json_agg(json_build_object('id', d.id, 'channel', d.channel, 'provider', d.provider, 'address', d.hint)
                        order by d.id)
        from belfry.device d where d.tenant_id = w.tenant_id and d.user_id = w.id)
from (select $1::integer as tenant_id, $2::text collate "C" as id) w
left join belfry.app_user u on u.tenant_id = w.tenant_id and u.id = w.id and u.erased_at is null
left join belfry.feed f on f.tenant_id = w.tenant_id and f.key = 'inbox:' || w.id
left join belfry.preference p on p.tenant_id = w.tenant_id and p.user_id = w.id
where u.id is not null or f.key is not null
   or exists (select from belfry.device d where d.tenant_id = w.tenant_id and d.user_id = w.id)

-- name: ctl_device_put
insert into belfry.device (tenant_id, user_id, id, channel, provider, address_sealed, address_index, hint)
values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (tenant_id, user_id, id) do update
set channel = excluded.channel, provider = excluded.provider, address_sealed = excluded.address_sealed,
    address_index = excluded.address_index, hint = excluded.hint, updated_at = now()

-- name: ctl_devices_remove
delete from belfry.device where tenant_id = $1 and user_id = $2

-- ---- sending and the queue ----

-- name: ctl_send
insert into belfry.send_request (tenant_id, body) values ($1, $2::jsonb) returning id

-- Requests that could not be expanded, newest first.
-- name: ctl_send_failures
select t.name, r.id, r.failure, (extract(epoch from r.created_at) * 1000000)::bigint
from belfry.send_request r
join belfry.tenant t on t.id = r.tenant_id
where r.failure is not null
order by r.created_at desc
limit $1

-- The oldest of a channel is the oldest first row of its lanes.
-- name: ctl_queue
select t.name, d.channel, d.ready, d.scheduled, d.leased, d.dead,
       (select extract(epoch from now() - min(first.at))::bigint
        from generate_series(0, 3) as p(priority)
        cross join lateral (select r.at from belfry.ready r
                            where r.channel = d.channel and r.tenant_id = d.tenant_id and r.priority = p.priority
                            order by r.seq limit 1) first)
from (select tenant_id, channel, sum(ready)::bigint as ready, sum(scheduled)::bigint as scheduled,
             sum(leased)::bigint as leased, sum(dead)::bigint as dead
      from belfry.queue_delta group by tenant_id, channel) d
join belfry.tenant t on t.id = d.tenant_id
where d.ready <> 0 or d.scheduled <> 0 or d.leased <> 0 or d.dead <> 0
order by t.name, d.channel

-- name: ctl_dead_letter_list
select d.notification_id || '.' || d.n, t.name, d.user_id, d.channel, d.reason, d.tries,
       (extract(epoch from d.at) * 1000000)::bigint
from belfry.tenant t
cross join lateral (
    select * from belfry.dead_letter l where l.tenant_id = t.id order by l.tenant_id, l.at desc limit $2
) d
where $1::text is null or t.name = $1
order by d.at desc
limit $2

-- name: ctl_timeline_find
select t.id, t.name, n.user_id, n.type, n.title, n.request_id, n.category, n.sandbox,
       (extract(epoch from n.created_at) * 1000000)::bigint, (extract(epoch from n.scheduled_at) * 1000000)::bigint,
       (extract(epoch from n.expires_at) * 1000000)::bigint, (extract(epoch from n.cancelled_at) * 1000000)::bigint,
       (extract(epoch from n.read_at) * 1000000)::bigint, n.decisions
from belfry.tenant t
cross join lateral (select * from belfry.notification x where x.tenant_id = t.id and x.id = $1) n

-- name: ctl_timeline_deliveries
select d.n, d.channel, d.provider, d.device_id,
       case when r.n is not null then 'ready' when s.n is not null then 'scheduled' when l.n is not null then 'leased'
            when x.n is not null then 'dead' else coalesce(a.outcome, 'gone') end,
       a.number, a.outcome, a.code, a.detail, a.account_id, a.provider_message_id,
       (extract(epoch from a.finished_at) * 1000000)::bigint, (extract(epoch from a.retry_at) * 1000000)::bigint
from belfry.delivery d
left join belfry.attempt a on a.tenant_id = d.tenant_id and a.notification_id = d.notification_id and a.n = d.n
left join belfry.scheduled s on s.tenant_id = d.tenant_id and s.notification_id = d.notification_id and s.n = d.n
left join belfry.lease l on l.tenant_id = d.tenant_id and l.notification_id = d.notification_id and l.n = d.n
left join belfry.dead_letter x on x.tenant_id = d.tenant_id and x.notification_id = d.notification_id and x.n = d.n
left join lateral (
    select q.n from belfry.ready q
    where q.channel = d.channel and q.tenant_id = d.tenant_id and q.notification_id = d.notification_id and q.n = d.n
      and s.n is null and l.n is null and x.n is null and not coalesce(a.final, false)
    limit 1
) r on true
where d.tenant_id = $1 and d.notification_id = $2
order by d.n, a.number, a.generation
