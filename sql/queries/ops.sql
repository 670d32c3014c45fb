-- Dead letters of a tenant, newest notification first. $1, $2 after this notification and number, $3 rows.
-- name: ops_dead_letters
select x.notification_id || '.' || x.n, x.notification_id, x.user_id, x.channel, x.reason, belfry.us(x.at), x.tries
from belfry.dead_letter x
where x.tenant_id = belfry.tenant() and (x.notification_id, x.n) < ($1::uuid, $2::smallint)
order by x.notification_id desc, x.n desc
limit $3
