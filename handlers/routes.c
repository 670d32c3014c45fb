/*
 * The route table: the whole policy of who may do what, in one place. A path that several methods share stands
 * together; of two patterns that could match the same path the more exact one comes first.
 */
#include "core/limits.h"
#include "handlers/health.h"
#include "handlers/poll.h"
#include "handlers/resources.h"
#include "handlers/route.h"

#define API "/api/v1"
enum { SMALL_BODY_BYTES = 16384 };

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

    /* operators and balancers */
    {METHOD_GET, "/healthz", ROUTE_ANYONE, .run = health_live},
    {METHOD_GET, "/readyz", ROUTE_ANYONE, .run = health_ready},
    {METHOD_GET, "/metrics", ROUTE_ANYONE, .run = health_metrics},
    {.run = NULL},
};
/* clang-format on */
