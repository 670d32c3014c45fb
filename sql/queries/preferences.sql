-- name: preferences_get
select document from belfry.preference where tenant_id = belfry.tenant() and user_id = $1

-- $1 user, $2 what it says no to, $3 the document.
-- name: preferences_put
insert into belfry.preference as p (tenant_id, user_id, opt_outs, document)
values (belfry.tenant(), $1, $2, $3)
on conflict (tenant_id, user_id) do update
    set opt_outs = excluded.opt_outs, document = excluded.document, updated_at = now()
