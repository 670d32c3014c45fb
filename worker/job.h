#ifndef BELFRY_WORKER_JOB_H
#define BELFRY_WORKER_JOB_H
/*
 * A claimed delivery on its way through the worker, and the batch that its memory belongs to.
 *
 *   waiting ─▶ (parked at a full endpoint) ─▶ (starting: its start is being committed) ─▶ flying ─▶ done ─▶
 * settling
 *
 * A job is on exactly one list at any time. A batch lives until its last job has been settled.
 */
#include "worker/accounts.h"
#include "worker/channel.h"
#include "worker/outcome.h"
#include <sys/queue.h>

struct batch {
    struct arena *arena;
    int jobs; /* not yet settled, and one for who fills it */
};

struct job {
    TAILQ_ENTRY(job) link;   /* on the list that its state is */
    TAILQ_ENTRY(job) flight; /* of its endpoint, oldest first, while it flies */
    struct batch *batch;
    struct delivery delivery;
    struct delivery_facts facts;
    bool tenant_paused;
    int64_t claimed_ms, started_ms, settle_ms; /* monotonic */
    int64_t started_us, finished_us;           /* time of day; 0 = never started */
    struct flow *flow;
    struct endpoint *endpoint;       /* NULL until it is known */
    struct account_held *account;    /* NULL if none; referenced */
    const struct provider *provider; /* NULL until it is known */
    struct outcome outcome;
    struct verdict verdict;
    bool asked_late; /* its end was sent after its new place once already */
};
TAILQ_HEAD(job_list, job);

/* With one job's claim on it, which is the caller's own until batch_release(). */
struct batch *batch_create(void) MUST_CHECK;
void batch_release(struct batch *batch);
/* The job has been settled, or dropped: its account is let go, and with the last one the batch. */
void job_release(struct job *job);

#endif
