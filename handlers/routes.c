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

    /* operators and balancers */
    {METHOD_GET, "/healthz", ROUTE_ANYONE, .run = health_live},
    {METHOD_GET, "/readyz", ROUTE_ANYONE, .run = health_ready},
    {METHOD_GET, "/metrics", ROUTE_ANYONE, .run = health_metrics},
    {.run = NULL},
};
/* clang-format on */
