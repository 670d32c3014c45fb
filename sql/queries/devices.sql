-- Devices: a user's addresses, one row each. The address itself is sealed; what is shown is its hint.
-- Columns: id, channel, provider, hint, created, updated.

-- name: devices_list
select id, channel, provider, hint, belfry.us(created_at), belfry.us(updated_at)
from belfry.device
where tenant_id = belfry.tenant() and user_id = $1
order by id

-- name: devices_get
select id, channel, provider, hint, belfry.us(created_at), belfry.us(updated_at)
from belfry.device
where tenant_id = belfry.tenant() and user_id = $1 and id = $2

-- One user's devices change one after the other, so that their number can be counted.
-- name: devices_lock
select pg_advisory_xact_lock(hashtext('belfry.device'), hashtext(belfry.tenant() || '/' || $1))

-- What a change must know: the device $2 as it is now, the one with the address $3 if that has another id, and how many
-- there are besides the user's own mailbox and phone.
-- name: devices_before
select d.channel, d.provider, d.address_sealed,
       (select e.id from belfry.device e
        where e.tenant_id = belfry.tenant() and e.user_id = $1 and e.address_index = $3 and e.id <> $2
              and e.id not in ('email', 'phone') limit 1),
       (select count(*) from belfry.device c
        where c.tenant_id = belfry.tenant() and c.user_id = $1 and c.id not in ('email', 'phone') and c.id <> $2)
from (select 1) one
left join belfry.device d on d.tenant_id = belfry.tenant() and d.user_id = $1 and d.id = $2

-- $1 user, $2 id, $3 channel, $4 provider, $5 sealed, $6 index, $7 hint.
-- name: devices_put
insert into belfry.device as d (tenant_id, user_id, id, channel, provider, address_sealed, address_index, hint)
values (belfry.tenant(), $1, $2, $3, $4, $5, $6, $7)
on conflict (tenant_id, user_id, id) do update
    set channel = excluded.channel, provider = excluded.provider, address_sealed = excluded.address_sealed,
        address_index = excluded.address_index, hint = excluded.hint, updated_at = now()
returning id, channel, provider, hint, belfry.us(created_at), belfry.us(updated_at)

-- A browser's subscription belongs to whoever registered it last: it leaves everybody else of the tenant, and
-- other ids of the same user. $1 user, $2 id, $3 index.
-- name: devices_take_over
delete from belfry.device
where tenant_id = belfry.tenant() and address_index = $3 and channel = 'push' and (user_id <> $1 or id <> $2)

-- name: devices_delete
delete from belfry.device where tenant_id = belfry.tenant() and user_id = $1 and id = $2

-- The user's device with the push address $2.
-- name: push_find
select id from belfry.device
where tenant_id = belfry.tenant() and user_id = $1 and address_index = $2 and channel = 'push' limit 1

-- name: push_delete
delete from belfry.device where tenant_id = belfry.tenant() and user_id = $1 and id = $2 and channel = 'push'

-- The key under which browsers subscribe.
-- name: push_key
select a.public_config ->> 'publicKey'
from belfry.account a
where a.tenant_id = belfry.tenant() and a.channel = 'push' and a.provider = 'webpush'
      and a.public_config ->> 'publicKey' is not null
order by a.preference, a.id
limit 1
