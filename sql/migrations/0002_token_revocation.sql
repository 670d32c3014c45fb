-- Revocation of user tokens, asked for as a whole: a process with thousands of open streams learns in one small
-- statement whose tokens were withdrawn of late, instead of asking for each.

create index app_user_revoked on belfry.app_user (tokens_valid_from) where tokens_valid_from is not null;
create policy resolver on belfry.app_user for select to belfry_resolver using (true);
grant select (tenant_id, id, tokens_valid_from) on belfry.app_user to belfry_resolver;

create function belfry.recent_revocations(since_s integer, at_most integer)
    returns table (tenant_id integer, user_id text, valid_from timestamptz)
    language sql stable security definer set search_path = pg_catalog
    as $$ select u.tenant_id, u.id, u.tokens_valid_from from belfry.app_user u
          where u.tokens_valid_from > now() - make_interval(secs => since_s) limit at_most $$;
comment on function belfry.recent_revocations(integer, integer) is 'Users whose tokens were withdrawn within the last seconds: ids and times only.';
alter function belfry.recent_revocations(integer, integer) owner to belfry_resolver;
revoke execute on function belfry.recent_revocations(integer, integer) from public;
grant execute on function belfry.recent_revocations(integer, integer) to belfry_api;
