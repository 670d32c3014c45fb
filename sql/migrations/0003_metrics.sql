-- What the processes measure, gathered so that any handler can answer for all of them.

-- Unlogged: a crash of the database starts the counters anew, which is what a counter may do, and they cost no WAL.
create unlogged table belfry.process_metric (
    name text collate "C" not null,
    labels text collate "C" not null,
    program text collate "C" not null,
    process text collate "C" not null,
    kind text not null check (kind in ('counter', 'gauge', 'histogram')),
    amounts double precision[] not null,
    updated_at timestamptz not null default now(),
    primary key (name, labels, program, process)
) with (fillfactor = 50);
comment on table belfry.process_metric is 'Counters and histograms of all processes of a program together (process is empty): each adds what it has counted since it last did. Gauges are of one process.';
comment on column belfry.process_metric.amounts is 'The value; of a histogram the count of each bucket, not cumulated, and at the end the sum.';
grant select, insert, update, delete on belfry.process_metric to belfry_api, belfry_worker, belfry_scheduler, belfry_operator;

-- Depths of all tenants, for the operator's metrics: numbers only. The oldest of a channel is the oldest first row of
-- its lanes, each found by one step in the index.
create policy resolver on belfry.queue_delta for select to belfry_resolver using (true);
create policy resolver on belfry.ready for select to belfry_resolver using (true);
grant select on belfry.queue_delta to belfry_resolver;
grant select (channel, tenant_id, priority, seq, at) on belfry.ready to belfry_resolver;

create function belfry.queue_depths()
    returns table (channel text, ready bigint, scheduled bigint, leased bigint, dead bigint, oldest_ready_s double precision)
    language sql stable security definer set search_path = pg_catalog
    as $$
    with recursive lane as (
        (select r.channel, r.tenant_id, r.priority, r.at from belfry.ready r
         order by r.channel, r.tenant_id, r.priority, r.seq limit 1)
        union all
        select n.* from lane l cross join lateral (
            select r.channel, r.tenant_id, r.priority, r.at from belfry.ready r
            where (r.channel, r.tenant_id, r.priority) > (l.channel, l.tenant_id, l.priority)
            order by r.channel, r.tenant_id, r.priority, r.seq limit 1) n
    ), oldest as (
        select l.channel, extract(epoch from now() - min(l.at))::double precision as age_s from lane l group by 1
    ), depth as (
        select d.channel, sum(d.ready) as ready, sum(d.scheduled) as scheduled, sum(d.leased) as leased, sum(d.dead) as dead
        from belfry.queue_delta d group by 1
    )
    select coalesce(d.channel, o.channel), coalesce(d.ready, 0)::bigint, coalesce(d.scheduled, 0)::bigint,
           coalesce(d.leased, 0)::bigint, coalesce(d.dead, 0)::bigint, coalesce(o.age_s, 0)
    from depth d full join oldest o on o.channel = d.channel
    $$;
comment on function belfry.queue_depths() is 'The queue by channel, all tenants together.';
alter function belfry.queue_depths() owner to belfry_resolver;
revoke execute on function belfry.queue_depths() from public;
grant execute on function belfry.queue_depths() to belfry_api;
