#ifndef BELFRY_DOMAIN_THROTTLE_H
#define BELFRY_DOMAIN_THROTTLE_H
/*
 * Rate limits of callers: a token bucket for each app key and each user, shared by all processes through
 * Redis.
 *
 * Most requests cost no trip: a process spends from its own copy of a bucket, and squares up with Redis only
 * after each eighth of a second's budget. Somebody who asks rarely is therefore never looked up; somebody at
 * the limit is at most one such slice per process above it. Without Redis a process takes its share of the
 * rate (throttle_set_share) and nothing is let through unchecked.
 *
 * Bounded: at most THROTTLE_BUCKETS are remembered; the one unused for longest in its row gives way.
 * Thread-safe.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "io/redis.h"
#include <stdbool.h>
#include <stdint.h>

enum { THROTTLE_BUCKETS = 16384 };

struct throttle;
/* exact: each token is asked for at once, for a process that lives for one request (CGI). NULL if memory ran
 * out. */
struct throttle *throttle_create(bool exact) MUST_CHECK;
void throttle_destroy(struct throttle *throttle);
/* How many processes share the work, for times without Redis; at least 1. */
void throttle_set_share(struct throttle *throttle, int processes);

struct throttle_answer {
    bool allowed;
    int quota, remaining; /* requests a second; left right now */
    int reset_s;          /* until the bucket is full again */
    int retry_after_s;    /* when refused: at least 1 */
};
/* Takes one token from the bucket `name` of `tenant` that fills with rate tokens a second up to a second's
 * worth. redis may be NULL. The arena holds Redis's reply when one is needed. */
struct throttle_answer throttle_take(struct throttle *throttle, struct redis *redis, struct arena *arena,
                                     int tenant, struct str name, int rate);

#endif
