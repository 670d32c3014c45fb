-- The core: tenants and their credentials, users and addresses, feeds and notifications, the queue.
-- Runs as belfry_owner. Row-level security is forced on every table; policies follow at the end.
-- Words are those of the README: tenant, app key, issuer, user, device, notification, delivery, attempt, feed.

-- ---- who is asking -------------------------------------------------------------------------------------------

create function belfry.tenant() returns integer language sql stable parallel safe
    as $$ select nullif(current_setting('belfry.tenant', true), '')::integer $$;
comment on function belfry.tenant() is 'The tenant of this transaction; NULL is nobody.';

create function belfry.viewer() returns text language sql stable parallel safe
    as $$ select nullif(current_setting('belfry.user', true), '') $$;
comment on function belfry.viewer() is 'The user of this transaction; * is the tenant''s own service, NULL is nobody.';

create function belfry.may_see(user_id text) returns boolean language sql stable parallel safe
    as $$ select user_id = belfry.viewer() or belfry.viewer() = '*' $$;

create function belfry.us(at timestamptz) returns bigint language sql immutable parallel safe
    as $$ select (extract(epoch from at) * 1000000)::bigint $$;
comment on function belfry.us(timestamptz) is 'Microseconds since 1970, as programs read times.';

create function belfry.random_id() returns bigint language sql volatile parallel safe
    as $$ select hashtextextended(gen_random_uuid()::text, 0) & 9007199254740991 $$;

-- ---- the installation ----------------------------------------------------------------------------------------

create table belfry.installation (
    one boolean primary key default true check (one),
    epoch bigint not null default belfry.random_id(),
    timeline integer not null default 0,
    created_at timestamptz not null default now()
);
comment on table belfry.installation is 'One row. Its epoch is renewed when a database is restored or a standby promoted: cursors of before are answered with a reset.';
insert into belfry.installation default values;

create table belfry.tenant (
    id integer generated always as identity primary key,
    name text collate "C" not null unique,
    paused_at timestamptz,
    created_at timestamptz not null default now()
);
comment on column belfry.tenant.paused_at is 'While set, nothing of this tenant is delivered; nothing is lost.';

create table belfry.tenant_origin (
    tenant_id integer not null references belfry.tenant on delete cascade,
    origin text collate "C" not null,
    primary key (tenant_id, origin)
);
comment on table belfry.tenant_origin is 'Origins whose pages may call the API (CORS), compared exactly.';

create table belfry.tenant_login (
    role_name name primary key,
    tenant_id integer not null references belfry.tenant on delete cascade
);
comment on table belfry.tenant_login is 'Database roles of products that call belfry.send(): whose tenant they are.';

create table belfry.app_key (
    tenant_id integer not null references belfry.tenant on delete cascade,
    id text collate "C" not null unique,
    secret_mac bytea not null,
    scopes integer not null,
    sandbox boolean not null default false,
    label text not null default '',
    created_at timestamptz not null default now(),
    revoked_at timestamptz,
    primary key (tenant_id, id)
);
comment on column belfry.app_key.secret_mac is 'HMAC-SHA-256 of the secret under a key that is not in the database.';

create table belfry.issuer (
    tenant_id integer not null references belfry.tenant on delete cascade,
    name text collate "C" not null unique,
    algorithm text not null check (algorithm in ('HS256', 'RS256', 'ES256', 'EdDSA')),
    key_sealed bytea not null,
    created_at timestamptz not null default now(),
    revoked_at timestamptz,
    primary key (tenant_id, name)
);
comment on table belfry.issuer is 'Who signs user tokens. The algorithm is pinned here; a token''s header is not believed.';

create table belfry.account (
    tenant_id integer not null references belfry.tenant on delete cascade,
    id text collate "C" not null,
    channel text collate "C" not null,
    provider text collate "C" not null,
    preference smallint not null default 100,
    config_sealed bytea not null,
    public_config json not null default '{}',
    state text not null default 'active' check (state in ('active', 'paused')),
    paused_reason text,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
comment on table belfry.account is 'Provider accounts, lowest preference first. config_sealed is JSON, encrypted; public_config may be shown.';

-- ---- people --------------------------------------------------------------------------------------------------

create table belfry.app_user (
    tenant_id integer not null,
    id text collate "C" not null,
    name text,
    avatar_url text,
    email_sealed bytea,
    phone_sealed bytea,
    locale text,
    time_zone text,
    attributes json not null default '{}',
    tokens_valid_from timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, id)
);
comment on table belfry.app_user is 'Recipients. A user need not be here to have an inbox; only addresses and names need a row.';
comment on column belfry.app_user.tokens_valid_from is 'Tokens issued before this are refused.';

create table belfry.device (
    tenant_id integer not null,
    user_id text collate "C" not null,
    id text collate "C" not null,
    channel text collate "C" not null,
    provider text collate "C" not null,
    address_sealed bytea not null,
    address_index bytea not null,
    hint text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create index device_by_address on belfry.device (tenant_id, address_index);
-- The primary key comes after other indexes that begin with tenant_id: while a table is small or unknown to the
-- statistics the planner finds them equally good, and takes the newest.
alter table belfry.device add primary key (tenant_id, user_id, id);
comment on table belfry.device is 'One address of a user on one channel; ids email and phone mirror the user''s own. address_sealed is JSON, encrypted; hint is a masked form for people.';
comment on column belfry.device.address_index is 'Blind index (HMAC) of the address within the tenant: finds it without decrypting.';

create table belfry.preference (
    tenant_id integer not null,
    user_id text collate "C" not null,
    opt_outs text[] not null default '{}',
    document json not null default '{}',
    updated_at timestamptz not null default now(),
    primary key (tenant_id, user_id)
);
comment on column belfry.preference.opt_outs is 'What the document says no to: CHANNEL, CATEGORY/CHANNEL or CATEGORY/*.';

create function belfry.opted_out(opt_outs text[], category text, channel text) returns boolean
    language sql immutable parallel safe
    as $$ select coalesce(opt_outs && array[channel, category || '/' || channel, category || '/*'], false) $$;

-- ---- feeds and notifications ---------------------------------------------------------------------------------

create table belfry.feed (
    tenant_id integer not null,
    key text collate "C" not null,
    epoch bigint not null default belfry.random_id(),
    rev bigint not null default 0,
    unread integer not null default 0,
    unseen integer not null default 0,
    read_all_rev bigint not null default 0,
    seen_all_rev bigint not null default 0,
    delete_all_rev bigint not null default 0,
    read_all_at timestamptz,
    seen_all_at timestamptz,
    changed_at timestamptz not null default now(),
    primary key (tenant_id, key)
) with (fillfactor = 50);
comment on table belfry.feed is 'An ordered log''s counter. Whoever changes something visible locks its row first; the order of revs is the order of commits.';
comment on column belfry.feed.read_all_rev is 'Every notification whose last change is before this rev counts as read; likewise seen and deleted.';

create table belfry.notification (
    tenant_id integer not null,
    id uuid not null,
    user_id text collate "C" not null,
    request_id uuid not null,
    type text not null,
    title text not null,
    body text not null,
    data json not null default '{}',
    sender json,
    category text collate "C" not null,
    priority smallint not null,
    actions json not null default '[]',
    url text,
    channels text[],
    sandbox boolean not null default false,
    scheduled_at timestamptz,
    expires_at timestamptz,
    rev bigint,
    position bigint,
    in_inbox boolean not null default false,
    seen_at timestamptz,
    read_at timestamptz,
    archived_at timestamptz,
    deleted_at timestamptz,
    snoozed_until timestamptz,
    action text,
    acted_at timestamptz,
    cancelled_at timestamptz,
    decisions json,
    created_at timestamptz not null default now()
) partition by range (id);
create index notification_by_rev on belfry.notification (tenant_id, user_id, rev);
create index notification_by_position on belfry.notification (tenant_id, user_id, position);
-- After the others, as for belfry.device.
alter table belfry.notification add primary key (tenant_id, id);
comment on table belfry.notification is 'One message to one user, with its state in the inbox. Partitioned by month on the time in its UUIDv7.';
comment on column belfry.notification.rev is 'The feed''s rev of its last change; NULL until it is due.';
comment on column belfry.notification.position is 'The feed''s rev when it arrived: the inbox is listed by it, newest first.';
comment on column belfry.notification.priority is '0 urgent, 1 high, 2 medium, 3 low.';
comment on column belfry.notification.channels is 'As asked for; NULL means every channel that the user has an address for.';
comment on column belfry.notification.decisions is 'What the planner left out, and why: [{channel, device, decision, reason}].';

create table belfry.due (
    tenant_id integer not null,
    notification_id uuid not null,
    kind text not null check (kind in ('send', 'expire', 'unsnooze')),
    at timestamptz not null,
    primary key (tenant_id, notification_id, kind)
);
create index due_by_time on belfry.due (at);
comment on table belfry.due is 'What the scheduler does to a notification when its time comes.';

create table belfry.idempotency (
    tenant_id integer not null,
    key text collate "C" not null,
    body_hash bytea not null,
    response text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, key)
);
create index idempotency_by_age on belfry.idempotency (created_at);
comment on table belfry.idempotency is 'First answers, for 72 hours. Written in the transaction that accepts.';

create table belfry.dedup (
    tenant_id integer not null,
    user_id text collate "C" not null,
    key text collate "C" not null,
    notification_id uuid not null,
    expires_at timestamptz not null,
    primary key (tenant_id, user_id, key)
);
create index dedup_by_expiry on belfry.dedup (expires_at);

create table belfry.send_request (
    tenant_id integer not null,
    id uuid not null default gen_random_uuid(),
    body jsonb not null,
    created_at timestamptz not null default now(),
    failure text,
    primary key (tenant_id, id)
);
create index send_request_waiting on belfry.send_request (created_at) where failure is null;
comment on table belfry.send_request is 'Sends asked for through SQL or by Belfry itself (alerts), expanded by the scheduler. failure says why one could not be.';

-- ---- the queue -----------------------------------------------------------------------------------------------

create table belfry.delivery (
    tenant_id integer not null,
    notification_id uuid not null,
    n smallint not null,
    user_id text collate "C" not null,
    channel text collate "C" not null,
    provider text collate "C" not null,
    device_id text collate "C" not null,
    primary key (tenant_id, notification_id, n)
) partition by range (notification_id);
comment on table belfry.delivery is 'What is to be sent to whom. Never updated: its state is the table its id is in, and at the end its last attempt.';

create table belfry.attempt (
    tenant_id integer not null,
    notification_id uuid not null,
    n smallint not null,
    generation bigint not null,
    number smallint not null,
    outcome text not null,
    final boolean not null,
    code integer,
    detail text,
    account_id text,
    provider_message_id text,
    started_at timestamptz,
    finished_at timestamptz not null default now(),
    retry_at timestamptz,
    primary key (tenant_id, notification_id, n, generation)
) partition by range (notification_id);
comment on table belfry.attempt is 'The log of tries. outcome: sent, retry, rejected, gone, throttled, unauthorized, unknown, expired, cancelled, suppressed. final: the delivery ended with it.';

create sequence belfry.ready_seq;
create sequence belfry.generation_seq;

create table belfry.ready (
    channel text collate "C" not null,
    tenant_id integer not null,
    priority smallint not null,
    seq bigint not null default nextval('belfry.ready_seq'),
    notification_id uuid not null,
    n smallint not null,
    tries smallint not null default 0,
    lost smallint not null default 0,
    at timestamptz not null default now(),
    primary key (channel, tenant_id, priority, seq)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
comment on table belfry.ready is 'May run now. A lane is (channel, tenant, priority), in order of seq.';

create table belfry.scheduled (
    tenant_id integer not null,
    notification_id uuid not null,
    n smallint not null,
    channel text collate "C" not null,
    priority smallint not null,
    at timestamptz not null,
    tries smallint not null default 0,
    lost smallint not null default 0,
    held_by text,
    primary key (tenant_id, notification_id, n)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index scheduled_by_time on belfry.scheduled (at);
create index scheduled_held on belfry.scheduled (tenant_id, held_by) where held_by is not null;
comment on table belfry.scheduled is 'Its time has not come: a retry, or (held_by an account or tenant, at infinity) until that is resumed.';

create table belfry.worker (
    id bigint primary key,
    until timestamptz not null,
    host text not null,
    channels text not null default '',
    started_at timestamptz not null default now()
);
comment on table belfry.worker is 'A worker''s one lease, renewed for all that it has claimed.';

create table belfry.lease (
    tenant_id integer not null,
    notification_id uuid not null,
    n smallint not null,
    generation bigint not null,
    worker_id bigint not null,
    channel text collate "C" not null,
    priority smallint not null,
    tries smallint not null,
    lost smallint not null,
    claimed_at timestamptz not null default now(),
    started_at timestamptz,
    primary key (tenant_id, notification_id, n)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index lease_by_worker on belfry.lease (worker_id);
comment on table belfry.lease is 'Claimed by a worker. started_at is set before a transfer that must not be repeated.';

create table belfry.dead_letter (
    tenant_id integer not null,
    notification_id uuid not null,
    n smallint not null,
    user_id text collate "C" not null,
    channel text collate "C" not null,
    priority smallint not null,
    reason text not null,
    tries smallint not null,
    at timestamptz not null default now(),
    primary key (tenant_id, notification_id, n)
);
create index dead_letter_by_time on belfry.dead_letter (tenant_id, at);

create table belfry.queue_delta (
    tenant_id integer not null,
    channel text collate "C" not null,
    ready integer not null default 0,
    scheduled integer not null default 0,
    leased integer not null default 0,
    dead integer not null default 0,
    at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
comment on table belfry.queue_delta is 'Depths, without count(*): every move between the queue''s tables adds a row, a duty sums them up.';

create table belfry.duty (
    name text primary key,
    due_at timestamptz not null default now(),
    leased_until timestamptz,
    holder text,
    ran_at timestamptz,
    failure text
);
comment on table belfry.duty is 'Standing work of the scheduler, taken by whichever process is free.';

-- ---- partitions ----------------------------------------------------------------------------------------------

create function belfry.uuid_floor(at timestamptz) returns uuid language sql immutable parallel safe
    as $$ select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid $$;
comment on function belfry.uuid_floor(timestamptz) is 'The least UUIDv7-like value of a moment: bounds of partitions and of searches by time.';

create function belfry.partition_ensure(parent text, from_at timestamptz, to_at timestamptz, suffix text) returns void
    language plpgsql as $$
declare
    child text := parent || '_' || suffix;
begin
    if to_regclass('belfry.' || child) is null then
        execute format('create table belfry.%I partition of belfry.%I for values from (%L) to (%L)',
                       child, parent, belfry.uuid_floor(from_at), belfry.uuid_floor(to_at));
    end if;
end
$$;

-- Called by a duty; SECURITY DEFINER because only the owner may make tables. It reads no rows.
create function belfry.partitions_ahead(days integer) returns void
    language plpgsql security definer set search_path = pg_catalog as $$
declare
    moment timestamptz;
    today timestamptz := date_trunc('day', now(), 'UTC');
begin
    perform pg_advisory_xact_lock(hashtext('belfry.partitions'));
    moment := date_trunc('month', now() - interval '1 day', 'UTC');
    while moment <= now() + make_interval(days => days) loop
        perform belfry.partition_ensure('notification', moment, (moment at time zone 'UTC' + interval '1 month') at time zone 'UTC',
                                        to_char(moment at time zone 'UTC', 'YYYYMM'));
        moment := (moment at time zone 'UTC' + interval '1 month') at time zone 'UTC';
    end loop;
    for i in -1 .. days loop
        moment := today + make_interval(hours => 24 * i);
        perform belfry.partition_ensure('delivery', moment, moment + interval '24 hours', to_char(moment at time zone 'UTC', 'YYYYMMDD'));
        perform belfry.partition_ensure('attempt', moment, moment + interval '24 hours', to_char(moment at time zone 'UTC', 'YYYYMMDD'));
    end loop;
end
$$;
revoke execute on function belfry.partitions_ahead(integer), belfry.partition_ensure(text, timestamptz, timestamptz, text) from public;
select belfry.partitions_ahead(14);

-- ---- row-level security --------------------------------------------------------------------------------------

do $$
declare
    t text;
begin
    -- Tables of a tenant, seen by its services whole and by users not at all.
    foreach t in array array['tenant_origin', 'app_key', 'issuer', 'account', 'app_user', 'device', 'preference', 'feed',
                             'notification', 'due', 'idempotency', 'dedup', 'send_request', 'delivery', 'attempt', 'ready',
                             'scheduled', 'lease', 'dead_letter', 'queue_delta', 'tenant', 'tenant_login'] loop
        execute format('alter table belfry.%I enable row level security', t);
        execute format('alter table belfry.%I force row level security', t);
        execute format('create policy operator on belfry.%I to belfry_operator using (true) with check (true)', t);
        execute format('grant select, insert, update, delete on belfry.%I to belfry_operator', t);
    end loop;

    -- The API: its own tenant; of what belongs to a user, only that user's or, for a service, everybody's.
    foreach t in array array['idempotency', 'dedup', 'delivery', 'ready', 'scheduled', 'lease', 'attempt', 'dead_letter',
                             'queue_delta'] loop
        execute format('create policy api on belfry.%I to belfry_api using (tenant_id = belfry.tenant() and belfry.viewer() = ''*'') with check (tenant_id = belfry.tenant() and belfry.viewer() = ''*'')', t);
    end loop;
    foreach t in array array['due', 'account'] loop
        execute format('create policy api on belfry.%I to belfry_api using (tenant_id = belfry.tenant() and belfry.viewer() is not null) with check (tenant_id = belfry.tenant() and belfry.viewer() is not null)', t);
    end loop;
    foreach t in array array['device', 'preference', 'notification'] loop
        execute format('create policy api on belfry.%I to belfry_api using (tenant_id = belfry.tenant() and belfry.may_see(user_id)) with check (tenant_id = belfry.tenant() and belfry.may_see(user_id))', t);
    end loop;
    create policy api on belfry.app_user to belfry_api using (tenant_id = belfry.tenant() and belfry.may_see(id)) with check (tenant_id = belfry.tenant() and belfry.may_see(id));
    create policy api on belfry.feed to belfry_api
        using (tenant_id = belfry.tenant() and (belfry.viewer() = '*' or key = 'inbox:' || belfry.viewer()))
        with check (tenant_id = belfry.tenant() and (belfry.viewer() = '*' or key = 'inbox:' || belfry.viewer()));

    -- Worker and scheduler work across tenants, on the tables they need.
    foreach t in array array['delivery', 'attempt', 'ready', 'scheduled', 'lease', 'dead_letter', 'queue_delta', 'notification',
                             'device', 'preference', 'account', 'send_request', 'app_user', 'tenant', 'feed'] loop
        execute format('create policy worker on belfry.%I to belfry_worker using (true) with check (true)', t);
    end loop;
    foreach t in array array['due', 'notification', 'feed', 'delivery', 'attempt', 'ready', 'scheduled', 'lease', 'dead_letter',
                             'queue_delta', 'preference', 'device', 'account', 'dedup', 'idempotency', 'send_request', 'tenant'] loop
        execute format('create policy scheduler on belfry.%I to belfry_scheduler using (true) with check (true)', t);
    end loop;
end
$$;

grant select, insert, update, delete on belfry.app_user, belfry.device, belfry.preference, belfry.feed, belfry.notification,
    belfry.due, belfry.idempotency, belfry.dedup, belfry.delivery, belfry.attempt, belfry.dead_letter to belfry_api;
grant select, insert on belfry.ready, belfry.scheduled, belfry.queue_delta to belfry_api;
grant select on belfry.lease, belfry.installation to belfry_api;
grant select (tenant_id, id, channel, provider, preference, public_config, state) on belfry.account to belfry_api;
grant usage on all sequences in schema belfry to belfry_api, belfry_worker, belfry_scheduler, belfry_operator;

grant select, insert, update, delete on belfry.ready, belfry.scheduled, belfry.lease, belfry.attempt, belfry.dead_letter,
    belfry.queue_delta, belfry.worker to belfry_worker;
grant select on belfry.delivery, belfry.notification, belfry.preference, belfry.app_user, belfry.tenant, belfry.installation to belfry_worker;
grant select (tenant_id, key, read_all_rev, delete_all_rev) on belfry.feed to belfry_worker;
grant select, delete on belfry.device to belfry_worker;
grant select, update (state, paused_reason, version) on belfry.account to belfry_worker;
grant insert on belfry.send_request to belfry_worker;

grant select, insert, update, delete on belfry.due, belfry.notification, belfry.feed, belfry.delivery, belfry.attempt, belfry.ready,
    belfry.scheduled, belfry.lease, belfry.dead_letter, belfry.queue_delta, belfry.dedup, belfry.idempotency,
    belfry.send_request, belfry.duty, belfry.worker to belfry_scheduler;
grant select, update on belfry.installation to belfry_scheduler;
grant select on belfry.preference, belfry.device, belfry.tenant to belfry_scheduler;
grant select (tenant_id, id, channel, provider, state) on belfry.account to belfry_scheduler;
grant execute on function belfry.partitions_ahead(integer) to belfry_scheduler, belfry_operator;

grant select, insert, update, delete on belfry.worker, belfry.duty, belfry.installation to belfry_operator;

-- ---- before the tenant is known ------------------------------------------------------------------------------
-- Owned by roles with narrow policies of their own: they return what is asked by its exact name, and no more.

create policy resolver on belfry.app_key for select to belfry_resolver using (true);
create policy resolver on belfry.issuer for select to belfry_resolver using (true);
create policy resolver on belfry.tenant_origin for select to belfry_resolver using (true);
create policy resolver on belfry.tenant for select to belfry_resolver using (true);
create policy resolver on belfry.feed for select to belfry_resolver using (true);
grant select on belfry.app_key, belfry.issuer, belfry.tenant_origin, belfry.tenant, belfry.installation to belfry_resolver;
grant select (tenant_id, key, epoch, rev) on belfry.feed to belfry_resolver;
grant select on belfry.tenant_login to belfry_sender;
grant insert on belfry.send_request to belfry_sender;
create policy sender on belfry.tenant_login for select to belfry_sender using (true);
create policy sender on belfry.send_request for insert to belfry_sender with check (true);

create function belfry.resolve_app_key(key_id text)
    returns table (tenant_id integer, secret_mac bytea, scopes integer, sandbox boolean)
    language sql stable security definer set search_path = pg_catalog
    as $$ select k.tenant_id, k.secret_mac, k.scopes, k.sandbox from belfry.app_key k
          where k.id = key_id and k.revoked_at is null $$;

create function belfry.resolve_issuer(issuer_name text)
    returns table (tenant_id integer, algorithm text, key_sealed bytea)
    language sql stable security definer set search_path = pg_catalog
    as $$ select i.tenant_id, i.algorithm, i.key_sealed from belfry.issuer i
          where i.name = issuer_name and i.revoked_at is null $$;

create function belfry.resolve_origin(wanted text, of_tenant integer) returns boolean
    language sql stable security definer set search_path = pg_catalog
    as $$ select exists (select from belfry.tenant_origin o where o.origin = wanted and (of_tenant = 0 or o.tenant_id = of_tenant)) $$;

create function belfry.feed_revs(tenants integer[], keys text[])
    returns table (ordinal bigint, epoch bigint, rev bigint)
    language sql stable security definer set search_path = pg_catalog
    as $$ select w.ordinal, f.epoch # i.epoch, f.rev
          from belfry.installation i, unnest(tenants, keys) with ordinality as w(tenant_id, key, ordinal)
          join belfry.feed f on f.tenant_id = w.tenant_id and f.key = w.key $$;
comment on function belfry.feed_revs(integer[], text[]) is 'The sweep of a process that waits on feeds of several tenants: numbers only.';

create function belfry.send(request jsonb) returns uuid
    language plpgsql volatile security definer set search_path = pg_catalog as $$
declare
    of_tenant integer;
    request_id uuid;
begin
    select l.tenant_id into of_tenant from belfry.tenant_login l where l.role_name = session_user;
    if of_tenant is null then
        raise exception 'belfry.send: role % belongs to no tenant', session_user
            using errcode = 'insufficient_privilege', hint = 'An operator adds it with: belfryctl login create TENANT ROLE';
    end if;
    if jsonb_typeof(request) is distinct from 'object' or not request ? 'to' or not request ? 'title' then
        raise exception 'belfry.send: the request must be an object with at least "to" and "title"'
            using errcode = 'invalid_parameter_value';
    end if;
    if pg_column_size(request) > 1048576 then
        raise exception 'belfry.send: the request is larger than 1 MiB' using errcode = 'program_limit_exceeded';
    end if;
    request_id := gen_random_uuid();
    insert into belfry.send_request (tenant_id, id, body) values (of_tenant, request_id, request);
    return request_id;
end
$$;
comment on function belfry.send(jsonb) is 'Sends within the caller''s own transaction: the body of POST /notifications. Only inserts a row and takes no lock of ours; what is wrong with it is found when the scheduler expands it, within 250 ms of the commit.';

alter function belfry.resolve_app_key(text) owner to belfry_resolver;
alter function belfry.resolve_issuer(text) owner to belfry_resolver;
alter function belfry.resolve_origin(text, integer) owner to belfry_resolver;
alter function belfry.feed_revs(integer[], text[]) owner to belfry_resolver;
alter function belfry.send(jsonb) owner to belfry_sender;
revoke execute on function belfry.resolve_app_key(text), belfry.resolve_issuer(text), belfry.resolve_origin(text, integer),
    belfry.feed_revs(integer[], text[]), belfry.send(jsonb) from public;
grant execute on function belfry.resolve_app_key(text), belfry.resolve_issuer(text), belfry.resolve_origin(text, integer),
    belfry.feed_revs(integer[], text[]) to belfry_api;
