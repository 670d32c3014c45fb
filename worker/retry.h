#ifndef BELFRY_WORKER_RETRY_H
#define BELFRY_WORKER_RETRY_H
/* How long to wait before the next try: exponential backoff with full jitter, so that what failed together
 * does not come back together. Pure. */
#include <stdint.h>

struct retry_policy {
    int attempts_max; /* tries before a dead letter */
    int base_ms;      /* upper bound of the first wait; doubles with each try … */
    int cap_ms;       /* … up to this */
};
/* tries: how many were made, at least 1. asked_ms: what the provider asked for, -1 if nothing: never waits
 * less, and adds a little so that not everybody comes back at that very moment. draw: uniformly random. */
int64_t retry_wait_ms(const struct retry_policy *policy, int tries, int64_t asked_ms, uint32_t draw);

#endif
