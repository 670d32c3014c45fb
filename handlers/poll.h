#ifndef BELFRY_HANDLERS_POLL_H
#define BELFRY_HANDLERS_POLL_H
/* GET /poll, GET /stream, POST /stream-tickets: their rows in the route table. */
#include "handlers/route.h"

extern const struct field poll_query[], stream_query[], stream_ticket_fields[];
route_function poll_get, stream_get, stream_ticket_create;

#endif
