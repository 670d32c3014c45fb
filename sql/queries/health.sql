-- Is the database there, and does it keep what it commits?

-- name: health_ping
select 1

-- A commit must be on disk when it is answered: off or local is not enough with a synchronous standby either, but off
-- is a broken promise.
-- name: health_durability
select current_setting('fsync') = 'on', current_setting('synchronous_commit') <> 'off'
