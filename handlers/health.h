#ifndef BELFRY_HANDLERS_HEALTH_H
#define BELFRY_HANDLERS_HEALTH_H
/* /healthz (the process answers), /readyz (and what it needs does), /metrics: for operators and balancers. */
#include "handlers/route.h"

route_function health_live, health_ready, health_metrics;

/* RESULT_OK: durable. RESULT_INVALID: the database answers and may lose what it commits (design: start-up
 * refuses it). RESULT_OFFLINE, RESULT_BUSY: it does not answer now. */
enum result health_check_durability(struct db_pool *pool, struct arena *arena,
                                    struct error *error) MUST_CHECK;

#endif
