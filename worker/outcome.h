#ifndef BELFRY_WORKER_OUTCOME_H
#define BELFRY_WORKER_OUTCOME_H
/*
 * What an outcome becomes: the one place that turns how an attempt ended into where its id goes, whether the
 * try counts, when it comes back, and who is told. Pure.
 *
 *   outcome       becomes                                   counts as a try   also
 *   sent          ended                                     yes
 *   rejected      ended                                     yes               alert if it is somebody's
 * defect gone          ended                                     yes               the device is deleted
 *   expired, cancelled, suppressed   ended                  no
 *   retry         later; a dead letter after the last try   yes               alert with a dead letter
 *   throttled     later                                     no (yes when it is a day old)   the endpoint
 * rests unauthorized  held until an account can be used         no                the account is paused,
 * alert unknown       later, while the provider allows; else ended as unknown     yes
 *
 * What was never tried writes no attempt: it goes back to ready (waited too long), later (its endpoint is
 * full) or is held (no account, tenant paused).
 */
#include "worker/channel.h"
#include "worker/retry.h"
#include <stdbool.h>
#include <stdint.h>

enum verdict_place { VERDICT_ENDED = 'E', VERDICT_LATER = 'L', VERDICT_READY = 'R', VERDICT_DEAD = 'D' };
enum { HELD_BY_BYTES = 48 };

struct verdict {
    enum verdict_place place;
    bool log;                    /* an attempt is written */
    int number;                  /* of the attempt */
    int tries;                   /* from now on */
    int64_t due_us;              /* with VERDICT_LATER; 0 = held */
    char held_by[HELD_BY_BYTES]; /* "tenant", "channel:email", "provider:webpush"; "" = by time alone */
    bool prune;                  /* delete the device */
    bool pause;                  /* pause the account */
    bool alert;
};

/* draw: uniformly random, for the jitter. */
void outcome_decide(const struct delivery *delivery, const struct provider *provider,
                    const struct outcome *outcome, const struct retry_policy *policy, int64_t now_us,
                    uint32_t draw, struct verdict *verdict);
/* Untried: back to ready at once. */
void outcome_return(const struct delivery *delivery, struct verdict *verdict);
/* Untried: not before due_us, or at its expiry. */
void outcome_defer(const struct delivery *delivery, int64_t due_us, struct verdict *verdict);
/* Untried: until the tenant is resumed (provider NULL), or an account for provider can be used. */
void outcome_hold(const struct delivery *delivery, struct str provider, struct verdict *verdict);

/* Does anything forbid the attempt before it begins? Then fills outcome and returns true. The claim's own
 * look at the rows gives the facts. */
struct delivery_facts {
    bool known; /* the notification exists */
    bool has_device;
    bool cancelled, read, deleted, opted_out;
};
bool outcome_forbids(const struct delivery *delivery, const struct delivery_facts *facts, bool for_people,
                     int64_t now_us, struct outcome *outcome);

#endif
