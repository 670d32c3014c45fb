/*
 * The route table: the whole policy of who may do what, in one place. A path that several methods share
 * stands together; of two patterns that could match the same path the more exact one comes first.
 */
#include "core/limits.h"
#include "handlers/health.h"
#include "handlers/poll.h"
#include "handlers/resources.h"
#include "handlers/route.h"

#define API "/api/v1"
enum { SMALL_BODY_BYTES = 16384, USER_BODY_BYTES = 65536 };

/* clang-format off */
const struct route routes_all[] = {
    /* What is asked most comes first. */
    {METHOD_GET, API "/poll", ROUTE_USER, 0, KIND_POLL, .query = poll_query, .run = poll_get},
    {METHOD_GET, API "/stream", ROUTE_USER | ROUTE_TICKET, 0, KIND_STREAM, .query = stream_query, .run = stream_get},
    {METHOD_POST, API "/stream-tickets", ROUTE_USER, 0, KIND_WRITE, .body = stream_ticket_fields,
     .body_bytes_max = SMALL_BODY_BYTES, .run = stream_ticket_create},

    /* services: notifications */
    {METHOD_POST, API "/notifications", ROUTE_SERVICE, SCOPE_SEND, KIND_SEND, POOL_WRITERS, .body = route_any_body,
     .run = notifications_send},
    {METHOD_GET, API "/notifications", ROUTE_SERVICE, SCOPE_READ, KIND_READ, .query = notifications_list_query,
     .run = notifications_list},
    {METHOD_POST, API "/notifications/bulk", ROUTE_SERVICE, SCOPE_SEND, KIND_SEND, POOL_WRITERS,
     .body = notifications_bulk_fields, .body_bytes_max = LIMIT_BULK_BODY_BYTES, .run = notifications_bulk},
    {METHOD_GET, API "/notifications/{id:uuid}", ROUTE_SERVICE, SCOPE_READ, KIND_READ, .run = notifications_get},
    {METHOD_DELETE, API "/notifications/{id:uuid}", ROUTE_SERVICE, SCOPE_SEND, KIND_WRITE, POOL_WRITERS,
     .run = notifications_cancel},
    {METHOD_GET, API "/notifications/{id:uuid}/timeline", ROUTE_SERVICE, SCOPE_READ, KIND_READ, .run = timeline_get},

    /* users: the inbox */
    {METHOD_GET, API "/inbox", ROUTE_USER, 0, KIND_READ, .query = inbox_list_query, .run = inbox_list},
    {METHOD_DELETE, API "/inbox", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .run = inbox_delete_all},
    {METHOD_GET, API "/inbox/unread-count", ROUTE_USER, 0, KIND_READ, .run = inbox_count},
    {METHOD_POST, API "/inbox/read-all", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .run = inbox_read_all},
    {METHOD_POST, API "/inbox/seen-all", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .run = inbox_seen_all},
    {METHOD_PATCH, API "/inbox/{id:uuid}", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .body = inbox_patch_fields,
     .body_bytes_max = SMALL_BODY_BYTES, .run = inbox_patch},
    {METHOD_DELETE, API "/inbox/{id:uuid}", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .run = inbox_delete},
    {METHOD_POST, API "/inbox/{id:uuid}/actions/{action}", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .run = inbox_act},

    /* services: people */
    {METHOD_PUT, API "/users/{user}", ROUTE_SERVICE, SCOPE_USERS, KIND_WRITE, POOL_WRITERS, .body = users_put_fields,
     .body_bytes_max = USER_BODY_BYTES, .run = users_put},
    {METHOD_GET, API "/users/{user}", ROUTE_SERVICE, SCOPE_USERS, KIND_READ, .run = users_get},
    {METHOD_DELETE, API "/users/{user}", ROUTE_SERVICE, SCOPE_USERS, KIND_WRITE, POOL_WRITERS, .run = users_erase},
    {METHOD_GET, API "/users/{user}/export", ROUTE_SERVICE, SCOPE_USERS, KIND_READ, .query = users_export_query,
     .run = users_export},
    {METHOD_GET, API "/users/{user}/devices", ROUTE_SERVICE, SCOPE_USERS, KIND_READ, .run = devices_list},
    {METHOD_PUT, API "/users/{user}/devices/{id}", ROUTE_SERVICE, SCOPE_USERS, KIND_WRITE, POOL_WRITERS,
     .body = devices_put_fields, .body_bytes_max = SMALL_BODY_BYTES, .run = devices_put},
    {METHOD_GET, API "/users/{user}/devices/{id}", ROUTE_SERVICE, SCOPE_USERS, KIND_READ, .run = devices_get},
    {METHOD_DELETE, API "/users/{user}/devices/{id}", ROUTE_SERVICE, SCOPE_USERS, KIND_WRITE, POOL_WRITERS,
     .run = devices_delete},
    {METHOD_GET, API "/users/{user}/preferences", ROUTE_SERVICE, SCOPE_USERS, KIND_READ, .run = preferences_get},
    {METHOD_PUT, API "/users/{user}/preferences", ROUTE_SERVICE, SCOPE_USERS, KIND_WRITE, POOL_WRITERS,
     .body = preferences_put_fields, .body_bytes_max = USER_BODY_BYTES, .run = preferences_put},

    /* users: what they want, and where */
    {METHOD_GET, API "/preferences", ROUTE_USER, 0, KIND_READ, .run = preferences_get},
    {METHOD_PUT, API "/preferences", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .body = preferences_put_fields,
     .body_bytes_max = USER_BODY_BYTES, .run = preferences_put},
    {METHOD_GET, API "/push/key", ROUTE_USER, 0, KIND_READ, .run = push_key},
    {METHOD_POST, API "/push-subscriptions", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .body = push_subscribe_fields,
     .body_bytes_max = SMALL_BODY_BYTES, .run = push_subscribe},
    {METHOD_DELETE, API "/push-subscriptions/{id}", ROUTE_USER, 0, KIND_WRITE, POOL_WRITERS, .run = push_unsubscribe},

    /* services: the queue */
    {METHOD_GET, API "/ops/queue", ROUTE_SERVICE, SCOPE_OPS, KIND_READ, .run = ops_queue},
    {METHOD_GET, API "/ops/dead-letters", ROUTE_SERVICE, SCOPE_OPS, KIND_READ, .query = ops_dead_letters_query,
     .run = ops_dead_letters},
    {METHOD_POST, API "/ops/dead-letters/replay-all", ROUTE_SERVICE, SCOPE_OPS, KIND_WRITE, POOL_WRITERS,
     .run = ops_replay_all},
    {METHOD_POST, API "/ops/dead-letters/{id}/replay", ROUTE_SERVICE, SCOPE_OPS, KIND_WRITE, POOL_WRITERS,
     .run = ops_replay},

    /* operators and balancers */
    {METHOD_GET, "/healthz", ROUTE_ANYONE, .run = health_live},
    {METHOD_GET, "/readyz", ROUTE_ANYONE, .run = health_ready},
    {METHOD_GET, "/metrics", ROUTE_ANYONE, .run = health_metrics},
    {.run = NULL},
};
/* clang-format on */
