#ifndef BELFRY_SCHEDULER_DUTY_H
#define BELFRY_SCHEDULER_DUTY_H
/*
 * Duties: standing work that every scheduler shares. A duty is a row in belfry.duty with a time before which
 * it need not run and a lease; whichever process is free takes the lease, works in slices of at most
 * DUTY_SLICE_MS, and gives it back. So there is no leader to lose, and a duty never runs twice at once: a
 * lease is renewed before half of it has gone, and outlives the longest single transaction.
 *
 * To add a duty: a file with its step function, declared in duties.h, and a row in duties[] of duties.c. If
 * it has to react quickly, a case in query scheduler_peek says when there is something to do; else its
 * every_ms is when it runs.
 */
#include "core/arena.h"
#include "core/config.h"
#include "core/error.h"
#include "domain/metrics.h"
#include "io/db.h"
#include "io/redis.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    DUTY_SLICE_MS = 100,   /* what one duty takes before others have their turn */
    DUTY_LEASE_MS = 20000, /* longer than a transaction may last (db.h: 15 s) */
    DUTY_BACKOFF_MS = 250, /* after a failure; doubled with each further one … */
    DUTY_BACKOFF_MS_MAX = 30000,
    DUTIES_MAX = 16
};

/* What a duty may use: made once by main(). */
struct scheduler {
    const struct config *config;
    struct db *db;
    struct redis *redis;
    struct metrics *metrics;
    struct arena *arena;      /* of one step; reset before each */
    char holder[64];          /* how this process signs its leases */
    int failures[DUTIES_MAX]; /* in a row, by index in duties[] */
};

/* One bounded piece of work in transactions of its own. *more: there is more to do now. A failure is logged
 * and repeated with backoff; what was committed stays. */
typedef enum result duty_step(struct scheduler *s, bool *more, struct error *error);

struct duty {
    const char *name;
    duty_step *step;
    int every_ms; /* how long it rests when nothing was left to do; 0: as long as scheduler_peek finds nothing
                   */
};

/* Makes the rows of all duties; repeatable. */
enum result duty_enter(struct scheduler *s, struct error *error) MUST_CHECK;
/* One turn: looks once what is to be done, and does a slice of each duty that no other process holds. *busy:
 * something was left over. stop is looked at between steps. */
enum result duty_turn(struct scheduler *s, const volatile bool *stop, bool *busy,
                      struct error *error) MUST_CHECK;

#endif
