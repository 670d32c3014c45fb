/* Batches and jobs: memory by lifetime. */
#include "worker/job.h"
#include <stdlib.h>

enum { BATCH_BYTES_MAX = 256 << 20 }; /* 1,000 deliveries of the largest size, with their requests */

struct batch *batch_create(void)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (batch && !(batch->arena = arena_create(BATCH_BYTES_MAX))) {
        free(batch);
        return NULL;
    }
    if (batch)
        batch->jobs = 1;
    return batch;
}

static void destroy(struct batch *batch)
{
    arena_destroy(batch->arena);
    free(batch);
}

void batch_release(struct batch *batch)
{
    if (--batch->jobs == 0)
        destroy(batch);
}

void job_release(struct job *job)
{
    accounts_release(job->account);
    batch_release(job->batch);
}
