#ifndef BELFRY_WORKER_WORKER_H
#define BELFRY_WORKER_WORKER_H
/*
 * The worker process: everything in one struct, one thread, one epoll.
 *
 *   worker/main.c      settings, start, exit code
 *   worker/loop.c      the loop: a list of phases
 *   worker/errand.c    what is asked of the database on the first connection: lease, accounts, lanes, claim
 *   worker/claim.c     rows of a claim into jobs
 *   worker/dispatch.c  jobs into transfers, answers into outcomes
 *   worker/settle.c    outcomes into rows, on the second connection
 *   worker/alert.c     what the tenant's developers are told
 */
#include "core/config.h"
#include "domain/metrics.h"
#include "io/crypto.h"
#include "io/db.h"
#include "io/http.h"
#include "io/redis.h"
#include "worker/accounts.h"
#include "worker/flow.h"
#include "worker/job.h"
#include "worker/lanes.h"

enum {
    WORKER_WAIT_MAX_MS = 3000, /* a claim's look at opt-outs is good for so long (5 s are promised) */
    WORKER_ALONE_MS = 2000,    /* what was lost before gets the worker for itself, but not longer */
    WORKER_STOP_MS = 25000,    /* transfers may end within this after SIGTERM */
    WORKER_TICK_MS = 100,      /* parked jobs and deadlines are looked at so often */
    WORKER_SETTLE_MAX = 400,   /* outcomes settled in one statement … */
    WORKER_LATE_MS = 1000,     /* after which one that was not found is looked for again */
    WORKER_SETTLE_WAIT_MS = 15 /* … or as many as came in this time, while there is more to do */
};

enum errand {
    ERRAND_NONE,
    ERRAND_CHECK, /* does the database keep what it commits? */
    ERRAND_ENTER, /* take a worker id */
    ERRAND_RENEW,
    ERRAND_MARK, /* have accounts changed? */
    ERRAND_ACCOUNTS,
    ERRAND_DISCOVER, /* lanes by the counters */
    ERRAND_LANES,    /* lanes by looking */
    ERRAND_CLAIM,
    ERRAND_RETURN, /* what a claim took whose outcome is unknown */
    ERRAND_LEAVE
};

/* A connection on which one transaction at a time is under way. */
struct link {
    struct db *db;
    struct arena *arena; /* of the transaction under way */
    bool busy;
    int64_t complained_ms; /* when trouble was last logged; 0 = none since it last worked */
    bool event;            /* its descriptor is ready, or it is time to look */
    int64_t retry_ms;      /* not before this, after a failure */
    int fd;                /* as watched; -1 = none */
    uint32_t generation;   /* of the connection that fd is of */
    bool watches_write;
};

struct worker {
    const struct config *config;
    struct keyring *ring;
    struct retry_policy policy;
    struct metrics *metrics;
    int epoll_fd, signal_fd;
    struct http *http;
    struct redis_listener *listener;
    int listener_fd;
    struct accounts *accounts;
    struct lanes *lanes;
    struct flows flows;

    int64_t now_ms; /* read once a turn */

    /* errands */
    struct link first;
    enum errand errand;
    int64_t id;                      /* of the lease; 0 = none */
    int64_t lease_until_ms, sent_ms; /* as far as we know; when the errand under way was sent */
    int64_t renew_ms, mark_ms, discover_ms, lanes_ms; /* when due */
    int64_t accounts_mark[3];
    bool accounts_known;
    struct lane_ask asks[LANE_ASKS_MAX];
    int ask_count;
    bool claim_unknown; /* a claim may have been committed, and we do not have its rows */
    int fence;
    int64_t generation; /* the highest that was seen */

    /* jobs that are not in flows */
    struct job_list alone; /* lost before: to be sent with nothing else in flight */
    struct job *alone_flying;
    int64_t alone_ms;         /* since when the head waits; 0 = not yet */
    int64_t company_until_ms; /* others have their turn until then */
    struct job_list starting; /* their start is to be committed, or is being */
    struct job_list done, settling;
    struct job_list late, late_now; /* ended without a lease: to be taken from wherever they are */
    int alone_count, starting_count, done_count, settling_count;

    /* settling */
    struct link second;
    struct settle_parts {
        int settle, late, start; /* index of the statement, -1 = not there */
        int alerts;              /* how many were told */
    } parts;
    struct job_list starting_now; /* those of the statement under way */
    int settle_most;              /* smaller after a failure that one job may have caused */
    struct alerts *alerts;

    bool durable; /* the database was asked */
    int status;   /* the exit code */
    bool stopping, left;
    bool gave_up; /* transfers were cut off */
    int64_t stop_by_ms, tick_ms, flush_ms, tidy_ms;
};

/* loop.c */
enum result worker_open(struct worker *worker, const struct config *config, struct error *error) MUST_CHECK;
/* Until SIGTERM or SIGINT, which must be blocked, and then until everything is settled. */
void worker_run(struct worker *worker);
void worker_close(struct worker *worker);
/* Logs why a link did not do its work, at most every half minute; NULL: it did. */
void worker_complain(struct worker *worker, struct link *link, const char *what, const char *reason);
/* Watches a link's descriptor, anew when its connection is. */
void worker_watch(struct worker *worker, struct link *link);

/* errand.c */
void errand_turn(struct worker *worker);            /* takes the answer of one, sends the next that is due */
int64_t errand_due_ms(const struct worker *worker); /* when the next one is due, as far as known */
void worker_lease_lost(struct worker *worker);

/* claim.c: takes the rows of a claim; the results live in the batch. */
void claim_take(struct worker *worker, struct batch *batch, const struct db_result *rows);
enum result claim_queue(struct worker *worker, struct error *error) MUST_CHECK;
bool claim_wanted(struct worker *worker); /* plans worker->asks */

/* dispatch.c */
void dispatch_turn(struct worker *worker); /* starts what may start */
void dispatch_tick(struct worker *worker); /* parked jobs: start, or return those that waited too long */
void dispatch_started(struct worker *worker, struct job *job); /* its start is committed */
void dispatch_return_all(struct worker *worker); /* everything that does not fly: back to ready */
void dispatch_drop_all(struct worker *worker);   /* the same without settling: the lease is lost */

/* settle.c */
void settle_add(struct worker *worker, struct job *job); /* its verdict is made */
void settle_turn(struct worker *worker);
bool settle_idle(const struct worker *worker); /* nothing is left to settle */

#endif
