-- The roles of an installation, made before the first migration by whoever runs `belfryctl migrate` for the
-- first time (a superuser, or a role with CREATEROLE and CREATE on the database). Repeatable.
--
-- No role here is a superuser or has BYPASSRLS, and none that a program logs in with owns a table.

do $$
declare
    role_name text;
begin
    foreach role_name in array array['belfry_owner', 'belfry_resolver', 'belfry_sender'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I nologin', role_name);
        end if;
    end loop;
    foreach role_name in array array['belfry_api', 'belfry_worker', 'belfry_scheduler', 'belfry_operator'] loop
        if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I login', role_name);
        end if;
    end loop;
end
$$;

-- Functions that look before the tenant is known belong to roles of their own; migrations hand them over.
grant belfry_resolver, belfry_sender to belfry_owner;

-- Who migrates works as the owner.
do $$
begin
    if not pg_has_role(current_user, 'belfry_owner', 'member') then
        execute format('grant belfry_owner to %I', current_user);
    end if;
end
$$;

-- Time limits belong to the role, so that they hold behind a transaction pooler too. Statements are prepared
-- once with arrays of any length: planning anew for each would cost more than running them. Such a plan may be
-- made while a table is still empty and kept when it is large, so everything that only suits small tables is off:
-- queries look rows up by key, from a small driving set (tests/api/plans.test.mjs looks at the plans).
do $$
declare
    role_name text;
begin
    foreach role_name in array array['belfry_api', 'belfry_worker', 'belfry_scheduler'] loop
        execute format('alter role %I set lock_timeout = ''1s''', role_name);
        execute format('alter role %I set statement_timeout = ''5s''', role_name);
        execute format('alter role %I set idle_in_transaction_session_timeout = ''10s''', role_name);
        execute format('alter role %I set plan_cache_mode = ''force_generic_plan''', role_name);
        execute format('alter role %I set jit = off', role_name);
        execute format('alter role %I set enable_seqscan = off', role_name);
        execute format('alter role %I set enable_bitmapscan = off', role_name);
        execute format('alter role %I set enable_hashjoin = off', role_name);
        execute format('alter role %I set enable_mergejoin = off', role_name);
    end loop;
end
$$;
alter role belfry_operator set lock_timeout = '5s';

create schema if not exists belfry authorization belfry_owner;
grant usage on schema belfry to belfry_api, belfry_worker, belfry_scheduler, belfry_operator;
grant usage, create on schema belfry to belfry_resolver, belfry_sender;
