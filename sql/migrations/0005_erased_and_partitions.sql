-- What erasing a user must not undo, and partitions that may go one by one.

-- ---- withdrawn tokens outlive the user -----------------------------------------------------------------------

alter table belfry.app_user add column erased_at timestamptz;
comment on column belfry.app_user.erased_at is 'Erased since then: nothing is left but the id and tokens_valid_from, or tokens that were withdrawn would be good again. Users without such a time leave no row.';

-- ---- partitions ----------------------------------------------------------------------------------------------

-- Which partition may go, the duty has found out: one that is still needed is no reason to keep those after it.
drop function belfry.partition_drop(text, uuid);
create function belfry.partition_drop(parent text, child text, before uuid) returns boolean
    language plpgsql security definer set search_path = pg_catalog set lock_timeout = '1s' as $$
begin
    if parent not in ('notification', 'delivery', 'attempt') then
        raise exception 'belfry.partition_drop: % is not partitioned', parent using errcode = 'invalid_parameter_value';
    end if;
    perform from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    where i.inhparent = to_regclass('belfry.' || parent) and c.relname = child
      and substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([0-9a-f-]{36})''\)')::uuid <= before;
    if not found then
        return false;
    end if;
    execute format('alter table belfry.%I detach partition belfry.%I', parent, child);
    execute format('drop table belfry.%I', child);
    return true;
end
$$;
comment on function belfry.partition_drop(text, text, uuid) is 'Detaches and drops a partition, if it lies wholly before an id.';
revoke execute on function belfry.partition_drop(text, text, uuid) from public;
grant execute on function belfry.partition_drop(text, text, uuid) to belfry_scheduler, belfry_operator;
