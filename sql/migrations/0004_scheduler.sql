-- What the scheduler keeps and may do, and what an operator grants to products.

-- ---- retention -----------------------------------------------------------------------------------------------

create table belfry.retention (
    one boolean primary key default true check (one),
    aged_until timestamptz not null default date_trunc('hour', now()) - interval '1 day',
    tenant_id integer not null default 0,
    notification_id uuid not null default '00000000-0000-0000-0000-000000000000'
);
comment on table belfry.retention is 'One row: how far notifications have been taken out of inboxes for their age. All made before aged_until are done; of the hour that begins there, those up to tenant_id and notification_id.';
insert into belfry.retention default values;
grant select, update on belfry.retention to belfry_scheduler;

-- Called by a duty; SECURITY DEFINER because only the owner may drop tables. It reads no rows: what may go, the duty
-- has found out. Drops the oldest partition that holds no id at or above `before`; its name, or NULL if there is none.
create function belfry.partition_drop(parent text, before uuid) returns text
    language plpgsql security definer set search_path = pg_catalog set lock_timeout = '1s' as $$
declare
    child text;
begin
    if parent not in ('notification', 'delivery', 'attempt') then
        raise exception 'belfry.partition_drop: % is not partitioned', parent using errcode = 'invalid_parameter_value';
    end if;
    select c.relname into child
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass('belfry.' || parent)
      and substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([0-9a-f-]{36})''\)')::uuid <= before
    order by c.relname
    limit 1;
    if child is null then
        return null;
    end if;
    execute format('alter table belfry.%I detach partition belfry.%I', parent, child);
    execute format('drop table belfry.%I', child);
    return child;
end
$$;
comment on function belfry.partition_drop(text, uuid) is 'Detaches and drops the oldest partition that lies wholly before an id.';
revoke execute on function belfry.partition_drop(text, uuid) from public;
grant execute on function belfry.partition_drop(text, uuid) to belfry_scheduler, belfry_operator;

-- ---- products that share the database ------------------------------------------------------------------------

create function belfry.login_grant(role_name text) returns void
    language plpgsql security definer set search_path = pg_catalog as $$
begin
    execute format('grant usage on schema belfry to %I', role_name);
    execute format('grant execute on function belfry.send(jsonb) to %I', role_name);
end
$$;
comment on function belfry.login_grant(text) is 'Lets a product''s role call belfry.send(), which itself looks for the role''s tenant.';
revoke execute on function belfry.login_grant(text) from public;
grant execute on function belfry.login_grant(text) to belfry_operator;

-- ---- users are walls too -------------------------------------------------------------------------------------

-- A user's request (snoozing) touches what is due of that user's own notifications only.
alter policy api on belfry.due
    using (tenant_id = belfry.tenant() and (belfry.viewer() = '*' or exists (
        select from belfry.notification n where n.tenant_id = due.tenant_id and n.id = due.notification_id)))
    with check (tenant_id = belfry.tenant() and (belfry.viewer() = '*' or exists (
        select from belfry.notification n where n.tenant_id = due.tenant_id and n.id = due.notification_id)));

-- ---- comments that the tables were made without --------------------------------------------------------------

comment on table belfry.tenant is 'Customers or products: nothing crosses from one to another.';
comment on table belfry.app_key is 'Credentials of backend services inside a tenant, with scopes (bits of enum auth_scope).';
comment on table belfry.preference is 'What a user wants to get, and on which channels.';
comment on table belfry.dedup is 'Which notification had a dedupKey last, until expires_at: a second one to the same user is not made.';
comment on table belfry.dead_letter is 'Deliveries that were given up, until an operator replays them or they are too old.';
comment on column belfry.app_key.scopes is '1 send, 2 send:urgent, 4 read, 8 users, 16 ops.';
comment on column belfry.app_key.sandbox is 'What it sends is planned and rendered, and reaches nobody.';
comment on column belfry.due.kind is 'send: it arrives; expire: it leaves the inbox; unsnooze: it comes back.';
comment on column belfry.scheduled.held_by is 'What it waits for, with at = infinity: tenant, channel:NAME or provider:NAME.';
comment on column belfry.ready.lost is 'How often a worker that had it was lost: then it runs alone.';
comment on column belfry.ready.tries is 'Attempts that have ended so far.';
comment on column belfry.lease.generation is 'Of the claim: a settle with another one is late.';
comment on column belfry.send_request.failure is 'Why it cannot be expanded; NULL while it waits.';
comment on column belfry.duty.due_at is 'Not before this; after a failure later and later.';
comment on column belfry.duty.leased_until is 'Until then only the holder works on it.';
