#ifndef BELFRY_WORKER_LANES_H
#define BELFRY_WORKER_LANES_H
/*
 * Where to claim next. A lane is (channel, tenant); in it, four priorities have their own order.
 *
 * Promises: tenants take turns, with an equal share of each claim; inside a tenant, urgent counts most, but
 * every priority that has something gets some of each claim, so the low ones grow old only slowly. A claim
 * goes on from the last seq it saw, because the entries before it are dead and have to be walked over while
 * somebody holds a snapshot. But sequence numbers do not become visible in order: so a claim that follows one
 * which had taken everything goes back a moment, in which nearly every transaction ends; and every few
 * seconds a sweep begins at a mark that is old enough for every transaction of before to have ended.
 *
 * Pure but for memory: times come in, no clock is read.
 */
#include "core/error.h"
#include "core/str.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    LANE_PRIORITIES = 4,
    LANE_ASKS_MAX = 64,   /* index ranges in one claim */
    LANE_NEAR_MS = 50,    /* how far back a claim goes that follows a drained one */
    LANE_SWEEP_MS = 5000, /* how often a sweep goes back … */
    LANE_SAFE_MS = 15000, /* … to a mark at least this old: transactions that insert take less than 10 s */
    LANE_EMPTY_SWEEPS =
        4, /* the counters say that something is there, yet so many find nothing: from the start */
    LANE_FORGET_MS = 600000 /* a lane that had nothing for so long is forgotten */
};

struct lanes;
struct lane;
/* channels: "email,push", or "" for all. NULL if memory ran out. */
struct lanes *lanes_create(const char *channels) MUST_CHECK;
void lanes_destroy(struct lanes *lanes);

/* There may be something: after a wake, a poll, or what came back to ready. Ignores channels that are not
 * ours. */
void lanes_wake(struct lanes *lanes, struct str channel, int tenant, int64_t now_ms);

struct lane_ask {
    struct lane *lane;
    struct str channel;
    int tenant, priority, take;
    int64_t after_seq;
    bool sweep;
};
/* What to ask for, at most budget rows and LANE_ASKS_MAX lanes. room says how many more a tenant may bring
 * (its backlog is bounded); context is its own. Returns the number of asks; 0: nothing is there, sleep. */
int lanes_plan(struct lanes *lanes, int budget, int64_t now_ms, int (*room)(void *context, int tenant),
               void *context, struct lane_ask asks[LANE_ASKS_MAX]);
/* What came of an ask: rows, and the highest seq among them (ignored if rows is 0). */
void lanes_answer(struct lanes *lanes, const struct lane_ask *ask, int rows, int64_t top_seq, int64_t now_ms);
/* The claim failed: everything that was asked for may still be there. */
void lanes_failed(struct lanes *lanes, const struct lane_ask *ask);

#endif
