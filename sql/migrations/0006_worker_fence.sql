-- A worker that does not know what became of a claim (its connection was lost at COMMIT) raises its fence: that claim
-- takes nothing if it is still on its way, and what it had taken goes back.

alter table belfry.worker add column fence integer not null default 0;
comment on column belfry.worker.fence is 'Claims name it; one that names an older value takes nothing.';
