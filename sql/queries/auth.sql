-- Credentials. But for auth_user_valid_from these run before the tenant is known, through resolver functions that
-- return what is asked by its exact name.

-- name: auth_app_key
select tenant_id, secret_mac, scopes, sandbox from belfry.resolve_app_key($1)

-- name: auth_issuer
select tenant_id, algorithm, key_sealed from belfry.resolve_issuer($1)

-- The moment before which the user's tokens are refused.
-- name: auth_user_valid_from
select (extract(epoch from tokens_valid_from) * 1000000)::bigint
from belfry.app_user
where tenant_id = belfry.tenant() and id = $1

-- Users whose tokens were withdrawn within $1 seconds, at most $2 of them.
-- name: auth_revocations
select tenant_id, user_id, (extract(epoch from valid_from) * 1000000)::bigint
from belfry.recent_revocations($1, $2)

-- name: auth_origin
select belfry.resolve_origin($1, $2)
