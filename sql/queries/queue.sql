-- The queue: the only statements that move ids between ready, scheduled, lease and dead_letter (domain/queue.h has
-- the picture). Each counts what it moves in queue_delta.
--
-- Rows of other tables are looked up one at a time in LATERAL subqueries with a LIMIT: such a lookup keeps its
-- plan, by primary key, however wrong the statistics of a new or fast-growing table are.

-- ---- workers ------------------------------------------------------------------------------------------------

-- A worker's lease for all that it will claim. $1 lease in milliseconds, $2 host, $3 channels.
-- name: queue_worker_enter
insert into belfry.worker (id, until, host, channels)
values (nextval('belfry.generation_seq'), now() + $1::integer * interval '1 millisecond', $2, $3)
returning id

-- Renews it; no row: it ran out, and the worker must take a new one. $1 worker, $2 lease in milliseconds.
-- name: queue_worker_renew
update belfry.worker set until = now() + $2::integer * interval '1 millisecond'
where id = $1::bigint and until > now()
returning id

-- On a clean stop. What it still has leased keeps the row, and is recovered at once. $1 worker.
-- name: queue_worker_leave
with left_behind as (
    update belfry.worker set until = now() where id = $1::bigint and exists (select from belfry.lease where worker_id = $1::bigint)
)
delete from belfry.worker where id = $1::bigint and not exists (select from belfry.lease where worker_id = $1::bigint)

-- Which lanes have something, by the counters. $1 channels, NULL for all.
-- name: queue_discover
select channel, tenant_id from belfry.queue_delta
where $1::text[] is null or channel = any ($1::text[])
group by channel, tenant_id
having sum(ready) > 0

-- The same by looking at the lanes themselves, jumping from one to the next. $1 channels, NULL for all.
-- name: queue_lanes
with recursive lane (channel, tenant_id) as (
    (select channel, tenant_id from belfry.ready order by channel, tenant_id limit 1)
    union all
    select r.channel, r.tenant_id
    from lane l cross join lateral (
        select r.channel, r.tenant_id from belfry.ready r
        where (r.channel, r.tenant_id) > (l.channel, l.tenant_id) order by r.channel, r.tenant_id limit 1
    ) r
)
select channel, tenant_id from lane where $1::text[] is null or channel = any ($1::text[])

-- ---- claim and start ----------------------------------------------------------------------------------------

-- Takes from lanes ($1 channels, $2 tenants, $3 priorities), of each what follows seq $4, at most $5 rows, for
-- worker $6 with fence $7, whose own lease is looked at in the same statement. Returns all that is needed to send or to end.
-- name: queue_claim
with lane as (
    select * from unnest($1::text[], $2::integer[], $3::smallint[], $4::bigint[], $5::integer[])
                  as l (channel, tenant_id, priority, after_seq, take)
), picked as materialized (
    select r.*
    from lane l cross join lateral (
        select r.ctid as place, r.channel, r.tenant_id, r.priority, r.seq, r.notification_id, r.n, r.tries, r.lost
        from belfry.ready r
        where r.channel = l.channel and r.tenant_id = l.tenant_id and r.priority = l.priority and r.seq > l.after_seq
        order by r.seq limit l.take
        for update skip locked
    ) r
    where exists (select from belfry.worker w where w.id = $6::bigint and w.fence = $7::integer and w.until > now() for key share)
), taken as (
    delete from belfry.ready where ctid = any (array(select place from picked))
), generation as materialized (
    select nextval('belfry.generation_seq') as generation
), leased as (
    insert into belfry.lease (tenant_id, notification_id, n, generation, worker_id, channel, priority, tries, lost)
    select p.tenant_id, p.notification_id, p.n, g.generation, $6::bigint, p.channel, p.priority, p.tries, p.lost
    from picked p cross join generation g
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, ready, leased)
    select tenant_id, channel, -count(*), count(*) from picked group by tenant_id, channel
)
select p.tenant_id, p.notification_id, p.n, g.generation, p.channel, p.priority, p.seq, p.tries, p.lost,
       d.user_id, d.provider, d.device_id, v.address_sealed, belfry.us(v.updated_at) as device_updated,
       n.id is not null as known, n.type, n.title, n.body, n.data, n.sender, n.category, n.actions, n.url,
       n.sandbox, belfry.us(n.created_at) as created, belfry.us(n.expires_at) as expires,
       n.cancelled_at is not null as cancelled, n.read_at is not null or coalesce(n.rev < m.read_all_rev, false) as read,
       n.deleted_at is not null or coalesce(n.rev < m.delete_all_rev, false) as deleted,
       belfry.opted_out(f.opt_outs, n.category, p.channel) as opted_out, t.paused_at is not null as paused
from picked p
cross join generation g
left join lateral (
    select d.user_id, d.provider, d.device_id from belfry.delivery d
    where d.tenant_id = p.tenant_id and d.notification_id = p.notification_id and d.n = p.n limit 1) d on true
left join lateral (
    select * from belfry.notification n where n.tenant_id = p.tenant_id and n.id = p.notification_id limit 1) n on true
left join lateral (
    select v.address_sealed, v.updated_at from belfry.device v
    where v.tenant_id = p.tenant_id and v.user_id = d.user_id and v.id = d.device_id limit 1) v on true
left join lateral (
    select f.opt_outs from belfry.preference f where f.tenant_id = p.tenant_id and f.user_id = d.user_id limit 1) f on true
left join lateral (
    select m.read_all_rev, m.delete_all_rev from belfry.feed m
    where m.tenant_id = p.tenant_id and m.key = 'inbox:' || d.user_id limit 1) m on true
left join lateral (select t.paused_at from belfry.tenant t where t.id = p.tenant_id limit 1) t on true

-- After a claim whose outcome is unknown: waits for it, or keeps it from taking anything. $1 worker.
-- name: queue_worker_fence
update belfry.worker set fence = fence + 1 where id = $1::bigint and until > now() returning fence

-- What such a claim took goes back as it was: its generation is above all that the worker has seen. $1 worker,
-- $2 generation.
-- name: queue_claim_return
with picked as (
    delete from belfry.lease where worker_id = $1::bigint and generation > $2::bigint
    returning tenant_id, notification_id, n, channel, priority, tries, lost
), back as (
    insert into belfry.ready (channel, tenant_id, priority, notification_id, n, tries, lost)
    select channel, tenant_id, priority, notification_id, n, tries, lost from picked
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, leased, ready)
    select tenant_id, channel, -count(*), count(*) from picked group by tenant_id, channel
)
select count(*) from picked

-- Notes that transfers are about to begin. Only those returned may. $1 tenants, $2 notifications, $3 numbers,
-- $4 generations, $5 whether a repeat is forbidden, $6 whether it runs alone: that it may take its worker with it is
-- noted before, so that what only waited beside it is not blamed.
-- name: queue_start
update belfry.lease l
set started_at = case when g.once then now() end, lost = l.lost + g.alone::integer
from unnest($1::integer[], $2::uuid[], $3::smallint[], $4::bigint[], $5::boolean[], $6::boolean[]) with ordinality
     as g (tenant_id, notification_id, n, generation, once, alone, ordinal)
where l.tenant_id = g.tenant_id and l.notification_id = g.notification_id and l.n = g.n and l.generation = g.generation
returning g.ordinal

-- ---- settle -------------------------------------------------------------------------------------------------

-- Ends leases and writes the attempts. Arrays, one element for each delivery:
--   $1 tenant, $2 notification, $3 n, $4 generation,
--   $5 what becomes of it: E ended, L later (scheduled), R ready again, D dead letter,
--   $6 outcome (NULL: nothing was tried, no attempt is written), $7 number of the attempt, $8 tries from now on,
--   $9 code, $10 detail, $11 account, $12 the provider's message id,
--   $13 started, $14 finished, $15 due again (microseconds since 1970; NULL with L: held by $16),
--   $17 user, $18 device to delete, unless it was changed after $19.
-- Returns the places (from 1) of those whose lease was still held: of the others, only the attempt is written.
-- name: queue_settle
with given as materialized (
    select *
    from unnest($1::integer[], $2::uuid[], $3::smallint[], $4::bigint[], $5::text[], $6::text[], $7::smallint[],
                $8::smallint[], $9::integer[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::bigint[],
                $15::bigint[], $16::text[], $17::text[], $18::text[], $19::bigint[]) with ordinality
         as g (tenant_id, notification_id, n, generation, becomes, outcome, number, tries, code, detail, account_id,
               provider_message_id, started, finished, due, held_by, user_id, device_id, device_updated, ordinal)
), released as (
    delete from belfry.lease l using given g
    where l.tenant_id = g.tenant_id and l.notification_id = g.notification_id and l.n = g.n and l.generation = g.generation
    returning g.ordinal, g.tenant_id, g.notification_id, g.n, l.channel, l.priority, g.becomes, g.tries,
              case when g.outcome is null then l.lost else 0 end as lost, -- what ended by itself harms nobody
              g.outcome, g.detail, g.due, g.held_by, g.user_id
), logged as (
    insert into belfry.attempt (tenant_id, notification_id, n, generation, number, outcome, final, code, detail,
                                account_id, provider_message_id, started_at, finished_at, retry_at)
    select tenant_id, notification_id, n, generation, number, outcome, becomes in ('E', 'D'), code, detail, account_id,
           provider_message_id, timestamptz 'epoch' + started * interval '1 microsecond',
           timestamptz 'epoch' + finished * interval '1 microsecond', timestamptz 'epoch' + due * interval '1 microsecond'
    from given where outcome is not null
    on conflict do nothing
), later as (
    insert into belfry.scheduled (tenant_id, notification_id, n, channel, priority, at, tries, lost, held_by)
    select tenant_id, notification_id, n, channel, priority,
           coalesce(timestamptz 'epoch' + due * interval '1 microsecond', 'infinity'), tries, lost, held_by
    from released where becomes = 'L'
), again as (
    insert into belfry.ready (channel, tenant_id, priority, notification_id, n, tries, lost)
    select channel, tenant_id, priority, notification_id, n, tries, lost from released where becomes = 'R' order by ordinal
), dead as (
    insert into belfry.dead_letter (tenant_id, notification_id, n, user_id, channel, priority, reason, tries)
    select tenant_id, notification_id, n, coalesce(user_id, ''), channel, priority, coalesce(detail, outcome, ''), tries
    from released where becomes = 'D'
    on conflict do nothing
), pruned as (
    delete from belfry.device v using given g
    where g.device_id is not null and v.tenant_id = g.tenant_id and v.user_id = g.user_id and v.id = g.device_id
          and belfry.us(v.updated_at) = g.device_updated
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, leased, scheduled, ready, dead)
    select tenant_id, channel, -count(*), count(*) filter (where becomes = 'L'), count(*) filter (where becomes = 'R'),
           count(*) filter (where becomes = 'D')
    from released group by tenant_id, channel
)
select ordinal from released

-- A result that came after its lease was lost ends the delivery all the same, unless a newer claim has started it.
-- $1 tenants, $2 notifications, $3 numbers, $4 channels. Rare: it looks through the lanes. Returns the places of those
-- that it found. One that is just being moved may be missed: the worker asks again a second later.
-- name: queue_settle_late
with given as materialized (
    select * from unnest($1::integer[], $2::uuid[], $3::smallint[], $4::text[]) with ordinality
                  as g (tenant_id, notification_id, n, channel, ordinal)
), unleased as (
    delete from belfry.lease l using given g
    where l.tenant_id = g.tenant_id and l.notification_id = g.notification_id and l.n = g.n and l.started_at is null
    returning g.ordinal, l.tenant_id, l.channel, 0 as ready, 0 as scheduled, -1 as leased
), unscheduled as (
    delete from belfry.scheduled s using given g
    where s.tenant_id = g.tenant_id and s.notification_id = g.notification_id and s.n = g.n
    returning g.ordinal, s.tenant_id, s.channel, 0 as ready, -1 as scheduled, 0 as leased
), unready as (
    delete from belfry.ready r using given g
    where r.channel = g.channel and r.tenant_id = g.tenant_id and r.notification_id = g.notification_id and r.n = g.n
    returning g.ordinal, r.tenant_id, r.channel, -1 as ready, 0 as scheduled, 0 as leased
), moved as (
    select * from unleased union all select * from unscheduled union all select * from unready
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, ready, scheduled, leased)
    select tenant_id, channel, sum(ready), sum(scheduled), sum(leased) from moved group by tenant_id, channel
)
select ordinal from moved

-- ---- duties of the scheduler ----------------------------------------------------------------------------------

-- What workers that are gone had leased. A lease lost for the first time counts; from then on queue_start counts
-- those that ran alone. $1 limit, $2 how often a delivery may be lost alone. A worker's row goes when nothing refers
-- to it any more.
-- name: queue_recover
with gone as materialized (
    select id from belfry.worker where until < now() order by until limit 8 for update skip locked
), picked as materialized (
    select l.*
    from gone g cross join lateral (
        select l.ctid as place, l.* from belfry.lease l where l.worker_id = g.id limit $1::integer for update skip locked
    ) l
    limit $1::integer
), taken as (
    delete from belfry.lease where ctid = any (array(select place from picked))
), fate as materialized (
    select p.*, case when p.started_at is not null then 'unknown' when p.lost > $2::integer then 'dead' else 'ready' end as becomes
    from picked p
), back as (
    insert into belfry.ready (channel, tenant_id, priority, notification_id, n, tries, lost)
    select channel, tenant_id, priority, notification_id, n, tries, greatest(lost, 1) from fate where becomes = 'ready'
    order by generation
), logged as (
    insert into belfry.attempt (tenant_id, notification_id, n, generation, number, outcome, final, detail, started_at)
    select tenant_id, notification_id, n, generation, tries + 1, 'unknown', true,
           case becomes when 'dead' then 'the worker was lost each time that it tried this'
                        else 'the worker was lost after the transfer had begun' end, coalesce(started_at, claimed_at)
    from fate where becomes <> 'ready'
    on conflict do nothing
), dead as (
    insert into belfry.dead_letter (tenant_id, notification_id, n, user_id, channel, priority, reason, tries)
    select f.tenant_id, f.notification_id, f.n, coalesce(d.user_id, ''), f.channel, f.priority,
           'the worker was lost each time that it tried this', f.tries
    from fate f left join lateral (
        select d.user_id from belfry.delivery d
        where d.tenant_id = f.tenant_id and d.notification_id = f.notification_id and d.n = f.n limit 1) d on true
    where f.becomes = 'dead'
    on conflict do nothing
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, leased, ready, dead)
    select tenant_id, channel, -count(*), count(*) filter (where becomes = 'ready'), count(*) filter (where becomes = 'dead')
    from fate group by tenant_id, channel
), forgotten as (
    delete from belfry.worker w using gone g
    where w.id = g.id and not exists (select from belfry.lease l where l.worker_id = g.id)
)
select count(*) from picked

-- $1 limit. Returns how many moved, and milliseconds until the next is due (NULL: nothing waits for a time).
-- name: queue_promote
with picked as materialized (
    select ctid as place, * from belfry.scheduled where at <= now() order by at limit $1::integer for update skip locked
), taken as (
    delete from belfry.scheduled where ctid = any (array(select place from picked))
), back as (
    insert into belfry.ready (channel, tenant_id, priority, notification_id, n, tries, lost)
    select channel, tenant_id, priority, notification_id, n, tries, lost from picked order by at
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, scheduled, ready)
    select tenant_id, channel, -count(*), count(*) from picked group by tenant_id, channel
)
select (select count(*) from picked),
       (select ceil(extract(epoch from s.at - now()) * 1000)::bigint from belfry.scheduled s
        where s.at > now() and s.at < now() + interval '1 minute' order by s.at limit 1)

-- What is held for something that is there by now: tenant (paused no more), channel:X (an account of the channel
-- is active), provider:X (one of the provider). $1 limit.
-- name: queue_release
with recursive held (tenant_id, held_by, channel) as (
    (select tenant_id, held_by, channel from belfry.scheduled where held_by is not null order by tenant_id, held_by limit 1)
    union all
    select s.tenant_id, s.held_by, s.channel
    from held h cross join lateral (
        select s.tenant_id, s.held_by, s.channel from belfry.scheduled s
        where s.held_by is not null and (s.tenant_id, s.held_by) > (h.tenant_id, h.held_by)
        order by s.tenant_id, s.held_by limit 1
    ) s
), open as materialized (
    select h.tenant_id, h.held_by from held h
    where case when h.held_by = 'tenant' then exists (
                    select from belfry.tenant t where t.id = h.tenant_id and t.paused_at is null)
               when h.held_by = 'provider:webhook' then not exists (
                    select from belfry.account a where a.tenant_id = h.tenant_id and a.channel = 'webhook'
                                                       and a.state = 'paused')
               else exists (
                    select from belfry.account a
                    where a.tenant_id = h.tenant_id and a.state = 'active'
                      and (h.held_by = 'channel:' || a.channel or h.held_by = 'provider:' || a.provider
                           or (a.provider = 'null' and a.channel = h.channel)))
          end
), picked as materialized (
    select s.*
    from open o cross join lateral (
        select s.ctid as place, s.* from belfry.scheduled s
        where s.tenant_id = o.tenant_id and s.held_by = o.held_by limit $1::integer for update skip locked
    ) s
    limit $1::integer
), taken as (
    delete from belfry.scheduled where ctid = any (array(select place from picked))
), back as (
    insert into belfry.ready (channel, tenant_id, priority, notification_id, n, tries, lost)
    select channel, tenant_id, priority, notification_id, n, tries, lost from picked order by notification_id, n
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, scheduled, ready)
    select tenant_id, channel, -count(*), count(*) from picked group by tenant_id, channel
)
select count(*) from picked

-- Makes one row of many, for each tenant and channel of which at least $2 are there. $1 limit.
-- name: queue_compact
with many as materialized (
    select tenant_id, channel from belfry.queue_delta group by tenant_id, channel having count(*) >= $2::integer
), picked as materialized (
    select q.ctid as place, q.* from belfry.queue_delta q
    where (q.tenant_id, q.channel) in (select tenant_id, channel from many)
    limit $1::integer for update of q skip locked
), taken as (
    delete from belfry.queue_delta where ctid = any (array(select place from picked))
), summed as (
    insert into belfry.queue_delta (tenant_id, channel, ready, scheduled, leased, dead)
    select tenant_id, channel, sum(ready), sum(scheduled), sum(leased), sum(dead) from picked group by tenant_id, channel
    having sum(ready) <> 0 or sum(scheduled) <> 0 or sum(leased) <> 0 or sum(dead) <> 0
)
select count(*) from picked

-- ---- looking ------------------------------------------------------------------------------------------------

-- Depths by channel of all tenants that the caller may see, and the age of the oldest ready one in seconds.
-- name: queue_depths
with recursive lane (channel, tenant_id, priority) as (
    (select channel, tenant_id, priority from belfry.ready order by channel, tenant_id, priority limit 1)
    union all
    select r.channel, r.tenant_id, r.priority
    from lane l cross join lateral (
        select r.channel, r.tenant_id, r.priority from belfry.ready r
        where (r.channel, r.tenant_id, r.priority) > (l.channel, l.tenant_id, l.priority)
        order by r.channel, r.tenant_id, r.priority limit 1
    ) r
), oldest as (
    select l.channel, min(r.at) as at
    from lane l cross join lateral (
        select r.at from belfry.ready r
        where r.channel = l.channel and r.tenant_id = l.tenant_id and r.priority = l.priority order by r.seq limit 1
    ) r
    group by l.channel
), depth as (
    select channel, sum(ready) as ready, sum(scheduled) as scheduled, sum(leased) as leased, sum(dead) as dead
    from belfry.queue_delta group by channel
)
select d.channel, d.ready, d.scheduled, d.leased, d.dead,
       coalesce(greatest(floor(extract(epoch from now() - o.at)), 0)::bigint, 0) as oldest_ready_s
from depth d left join oldest o on o.channel = d.channel
order by d.channel

-- ---- dead letters -------------------------------------------------------------------------------------------

-- $1 notification, $2 n. Returns the channel, or nothing when it is not there.
-- name: queue_replay
with picked as (
    delete from belfry.dead_letter where tenant_id = belfry.tenant() and notification_id = $1::uuid and n = $2::smallint
    returning tenant_id, notification_id, n, channel, priority
), back as (
    insert into belfry.ready (channel, tenant_id, priority, notification_id, n)
    select channel, tenant_id, priority, notification_id, n from picked
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, dead, ready) select tenant_id, channel, -1, 1 from picked
)
select channel from picked

-- The oldest. $1 limit.
-- name: queue_replay_all
with picked as (
    delete from belfry.dead_letter where ctid = any (array(
        select ctid from belfry.dead_letter where tenant_id = belfry.tenant() order by at limit $1::integer for update skip locked))
    returning tenant_id, notification_id, n, channel, priority, at
), back as (
    insert into belfry.ready (channel, tenant_id, priority, notification_id, n)
    select channel, tenant_id, priority, notification_id, n from picked order by at
), counted as (
    insert into belfry.queue_delta (tenant_id, channel, dead, ready)
    select tenant_id, channel, -count(*), count(*) from picked group by tenant_id, channel
)
select count(*) from picked
