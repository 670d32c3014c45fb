-- What the worker asks of provider accounts, and what it tells about them.

-- Changes whenever an account does.
-- name: worker_accounts_mark
select count(*) as accounts, coalesce(sum(version), 0)::bigint as versions, count(*) filter (where state = 'active') as active
from belfry.account

-- name: worker_accounts
select tenant_id, id, channel, provider, state, version, config_sealed from belfry.account
order by tenant_id, channel, preference, id

-- An account that the provider refused: nothing more is sent with it, unless it was changed since it was read.
-- $1 tenant, $2 id, $3 version, $4 reason.
-- name: worker_account_pause
update belfry.account set state = 'paused', paused_reason = $4, version = version + 1
where tenant_id = $1::integer and id = $2 and version = $3::bigint and state = 'active'
returning version

-- Tells a tenant's developers, by a notification like any other. $1 tenants, $2 requests.
-- name: worker_alert
insert into belfry.send_request (tenant_id, body)
select a.tenant_id, a.body from unnest($1::integer[], $2::jsonb[]) as a (tenant_id, body)
