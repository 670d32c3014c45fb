/* Backoff. Pure: the caller throws the dice. */
#include "worker/retry.h"

enum { ASKED_SPREAD = 8 /* adds up to an eighth of what was asked for */ };

static int64_t part_of(int64_t whole_ms, uint32_t draw)
{
    return (int64_t)((double)whole_ms * ((double)draw / 4294967296.0));
}

int64_t retry_wait_ms(const struct retry_policy *policy, int tries, int64_t asked_ms, uint32_t draw)
{
    int64_t bound_ms = policy->base_ms;
    for (int i = 1; i < tries && bound_ms < policy->cap_ms; i++)
        bound_ms *= 2;
    if (bound_ms > policy->cap_ms)
        bound_ms = policy->cap_ms;
    int64_t wait_ms = part_of(bound_ms, draw);
    int64_t least_ms = asked_ms < 0 ? 0 : asked_ms + part_of(asked_ms / ASKED_SPREAD, draw);
    return wait_ms > least_ms ? wait_ms : least_ms;
}
