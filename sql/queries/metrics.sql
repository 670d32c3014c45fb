-- What processes measure. See shared/domain/metrics.h.

-- Adds what was counted since the last time, and replaces gauges. Rows are written in one order, so that processes that do
-- this at the same time only wait for each other.
-- $1 program, $2 process, $3 names, $4 labels, $5 kinds, $6 amounts (texts of arrays).
-- name: metrics_add
insert into belfry.process_metric as m (name, labels, program, process, kind, amounts)
select u.name, u.labels, $1, case when u.kind = 'gauge' then $2 else '' end, u.kind, u.amounts::double precision[]
from unnest($3::text[], $4::text[], $5::text[], $6::text[]) as u(name, labels, kind, amounts)
order by 1, 2, 3, 4
on conflict (name, labels, program, process) do update set
    amounts = case when m.kind = 'gauge' or cardinality(m.amounts) <> cardinality(excluded.amounts) then excluded.amounts
                   else (select array_agg(x.a + x.b order by x.i)
                         from unnest(m.amounts, excluded.amounts) with ordinality as x(a, b, i)) end,
    updated_at = now()

-- Forgets gauges of processes that are gone. $1 seconds.
-- name: metrics_forget
delete from belfry.process_metric
where (name, labels, program, process) in (
    select g.name, g.labels, g.program, g.process from belfry.process_metric g
    where g.kind = 'gauge' and g.updated_at < now() - make_interval(secs => $1)
    for update skip locked)

-- A process ends: its gauges go with it. $1 program, $2 process.
-- name: metrics_leave
delete from belfry.process_metric where program = $1 and process = $2 and kind = 'gauge'

-- How many processes of a program live. $1 program.
-- name: metrics_processes
select count(*) from belfry.process_metric
where name = 'belfry_process_start_time_seconds' and program = $1 and updated_at > now() - interval '15 s'

-- Everything, for one page; gauges only of processes that live.
-- name: metrics_read
select name, labels, program, process, array_to_string(amounts, ' ')
from belfry.process_metric
where kind <> 'gauge' or updated_at > now() - interval '15 s'
order by name, labels, program, process

-- name: metrics_queue
select channel, ready, scheduled, leased, dead, round(oldest_ready_s::numeric, 3) from belfry.queue_depths() order by 1
