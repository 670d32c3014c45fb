-- Test.
-- name: health_ping
select 1 as "one" -- x
