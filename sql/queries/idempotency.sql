-- First answers, by the key that names a request.

-- Claims the key $1 for a request with the hash $2, whose answer is $3. A second one waits for the first to commit
-- (then 23505) or gives up after lock_timeout (55P03): that is how "still running" shows.
-- name: idempotency_claim
insert into belfry.idempotency (tenant_id, key, body_hash, response) values (belfry.tenant(), $1, $2, $3)

-- The answer $2 of a key $1 that was claimed in this transaction before it was known.
-- name: idempotency_answer
update belfry.idempotency set response = $2 where tenant_id = belfry.tenant() and key = $1

-- name: idempotency_find
select body_hash, response from belfry.idempotency where tenant_id = belfry.tenant() and key = $1
