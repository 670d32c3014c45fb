#ifndef BELFRY_WORKER_FLOW_H
#define BELFRY_WORKER_FLOW_H
/*
 * Who may start: shares of the transfers that a worker makes at once.
 *
 * A flow is a tenant's: its claimed jobs wait here, flows take turns, and none has more than three quarters
 * of all transfers. An endpoint is an origin (scheme, host, port) that a tenant sends to. It gets as many
 * transfers at once as its speed deserves, so a slow or hanging one cannot hold the pool: a fast one may have
 * three quarters too, one that needs ten seconds gets a few. What finds its endpoint full is parked for a
 * moment, or, when that is full as well, put off until the endpoint will have come to it.
 *
 * Pure but for memory: times come in.
 */
#include "worker/job.h"
#include "worker/table.h"

enum {
    FLOW_PARKED_MAX = 1024,     /* jobs parked at endpoints of one tenant */
    ENDPOINT_FIRST = 32,        /* transfers at once before its speed is known */
    ENDPOINT_LEAST = 4,         /* however slow */
    ENDPOINT_SPEED_US = 250000, /* full share up to this answer time, then less in proportion */
    ENDPOINT_IDLE_MS = 120000   /* forgotten after so long without use */
};

struct flow {
    struct table_node node;
    struct flow *next, *prev; /* the ring of flows with waiting jobs; NULL when it has none */
    int tenant;
    struct job_list waiting;
    int waiting_count, parked_count, flying_count;
    int64_t used_ms;
    char key[16];
};

struct endpoint {
    struct table_node node;
    struct job_list parked;
    struct job_list flying;               /* oldest first */
    int parked_count, flying_count, most; /* most: of its provider; 0 = none */
    int64_t answer_us;                    /* moving average; 0 = unknown */
    int64_t blocked_until_ms;             /* it asked for a rest */
    int64_t busy_until_ms;                /* what was put off keeps it busy until then */
    int64_t used_ms;
    bool freed; /* is on the list of those */
    TAILQ_ENTRY(endpoint) freed_link;
    char key[];
};

struct flows {
    int in_flight_max;
    int flying_count, waiting_count, parked_count;
    struct table tenants, endpoints;
    struct flow *turn; /* NULL: nothing waits */
    TAILQ_HEAD(endpoint_list, endpoint) freed;
};

void flows_init(struct flows *flows, int in_flight_max);
void flows_free(struct flows *flows);

/* Puts a claimed job at the end of (or, when it comes back, at the head of) its tenant's line; false: no
 * memory. */
bool flow_add(struct flows *flows, struct job *job, int64_t now_ms) MUST_CHECK;
/* How many more jobs of a tenant may be claimed, if limit may wait. */
int flow_room(const struct flows *flows, int tenant, int limit);
/* The next job that its tenant may start, taken off its line; NULL if nobody may. */
struct job *flow_next(struct flows *flows);
/* Takes this one off its line, whoever's turn it is; returns it. */
struct job *flow_take(struct flows *flows, struct job *job);
/* Takes off a line the first job that was claimed at or before claimed_ms; NULL if there is none. */
struct job *flow_oldest(struct flows *flows, int64_t claimed_ms);

/* The endpoint of a job, made when needed; NULL: no memory. url is where it goes. */
struct endpoint *endpoint_of(struct flows *flows, int tenant, struct str url, int most,
                             int64_t now_ms) MUST_CHECK;
bool endpoint_has_room(const struct flows *flows, const struct endpoint *endpoint, int64_t now_ms);
/* Parks the job at its endpoint if that has room for it. */
bool endpoint_park(struct flows *flows, struct job *job);
/* The parked job that may start now, taken off; NULL if none. */
struct job *endpoint_next(struct flows *flows, struct endpoint *endpoint, int64_t now_ms);
/* Takes any parked job off, whether there is room or not; NULL if none is parked. */
struct job *endpoint_unpark(struct flows *flows, struct endpoint *endpoint);
/* An endpoint at which a transfer has ended while others are parked there, taken off the list of those. */
struct endpoint *flow_freed(struct flows *flows);
/* When a job that cannot be parked should come back: later for each one that is put off. Milliseconds from
 * now. */
int64_t endpoint_put_off(const struct flows *flows, struct endpoint *endpoint, int64_t now_ms);
/* A transfer begins, ends. A rest (rest_ms > 0) lets nothing begin until it is over. */
void flow_started(struct flows *flows, struct job *job, int64_t now_ms);
void flow_ended(struct flows *flows, struct job *job, int64_t now_ms, int64_t rest_ms);
/* Forgets tenants and endpoints that were not used for long. */
void flows_tidy(struct flows *flows, int64_t now_ms);

#endif
