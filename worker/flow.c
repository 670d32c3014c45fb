/* Shares of transfers: tenants in a ring, endpoints by their speed. */
#include "worker/flow.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENDPOINT_KEY_BYTES = 320, PUT_OFF_MS_LEAST = 1000, PUT_OFF_MS_MAX = 900000, AVERAGE_OF = 8 };

void flows_init(struct flows *flows, int in_flight_max)
{
    *flows = (struct flows){.in_flight_max = in_flight_max};
    TAILQ_INIT(&flows->freed);
}

static void free_node(struct table_node *node, void *context)
{
    (void)context;
    free(node); /* the first member of its entry */
}

void flows_free(struct flows *flows)
{
    table_each(&flows->tenants, free_node, NULL);
    table_each(&flows->endpoints, free_node, NULL);
    table_free(&flows->tenants);
    table_free(&flows->endpoints);
}

static int three_quarters(const struct flows *flows)
{
    int most = flows->in_flight_max * 3 / 4;
    return most > 0 ? most : 1;
}

/* ---- tenants ---- */

static struct flow *find_flow(const struct flows *flows, int tenant)
{
    char key[16];
    int n = snprintf(key, sizeof key, "%d", tenant);
    return (struct flow *)table_find(&flows->tenants, (struct str){key, n > 0 ? (size_t)n : 0});
}

static struct flow *add_flow(struct flows *flows, int tenant)
{
    struct flow *flow = calloc(1, sizeof *flow);
    if (!flow)
        return NULL;
    int n = snprintf(flow->key, sizeof flow->key, "%d", tenant);
    flow->node.key = (struct str){flow->key, n > 0 ? (size_t)n : 0};
    flow->tenant = tenant;
    TAILQ_INIT(&flow->waiting);
    if (table_add(&flows->tenants, &flow->node))
        return flow;
    free(flow);
    return NULL;
}

static void join_ring(struct flows *flows, struct flow *flow)
{
    if (!flows->turn) {
        flow->next = flow->prev = flow;
        flows->turn = flow;
        return;
    }
    flow->next = flows->turn;
    flow->prev = flows->turn->prev;
    flow->prev->next = flow;
    flow->next->prev = flow;
}

static void leave_ring(struct flows *flows, struct flow *flow)
{
    if (flow->next == flow)
        flows->turn = NULL;
    else if (flows->turn == flow)
        flows->turn = flow->next;
    flow->prev->next = flow->next;
    flow->next->prev = flow->prev;
    flow->next = flow->prev = NULL;
}

bool flow_add(struct flows *flows, struct job *job, int64_t now_ms)
{
    struct flow *flow = find_flow(flows, job->delivery.tenant);
    if (!flow)
        flow = add_flow(flows, job->delivery.tenant);
    if (!flow)
        return false;
    flow->used_ms = now_ms;
    job->flow = flow;
    TAILQ_INSERT_TAIL(&flow->waiting, job, link);
    flow->waiting_count++;
    flows->waiting_count++;
    if (!flow->next)
        join_ring(flows, flow);
    return true;
}

int flow_room(const struct flows *flows, int tenant, int limit)
{
    const struct flow *flow = find_flow(flows, tenant);
    return flow ? limit - flow->waiting_count : limit;
}

struct job *flow_take(struct flows *flows, struct job *job)
{
    struct flow *flow = job->flow;
    TAILQ_REMOVE(&flow->waiting, job, link);
    flow->waiting_count--;
    flows->waiting_count--;
    if (flow->waiting_count == 0)
        leave_ring(flows, flow);
    return job;
}

struct job *flow_next(struct flows *flows)
{
    if (flows->flying_count >= flows->in_flight_max || !flows->turn)
        return NULL;
    const struct flow *first = flows->turn;
    while (flows->turn->flying_count >= three_quarters(flows)) {
        flows->turn = flows->turn->next;
        if (flows->turn == first)
            return NULL;
    }
    struct flow *flow = flows->turn;
    flows->turn = flow->next;
    return flow_take(flows, TAILQ_FIRST(&flow->waiting));
}

struct job *flow_oldest(struct flows *flows, int64_t claimed_ms)
{
    struct flow *flow = flows->turn;
    if (!flow)
        return NULL;
    do {
        struct job *job = TAILQ_FIRST(&flow->waiting);
        if (job->claimed_ms <= claimed_ms)
            return flow_take(flows, job);
        flow = flow->next;
    } while (flow != flows->turn);
    return NULL;
}

/* ---- endpoints ---- */

static size_t endpoint_key(char out[ENDPOINT_KEY_BYTES], int tenant, struct str url)
{
    /* the origin is what is before the first slash after "://" */
    struct str rest = url;
    (void)str_cut(rest, '/', &rest);
    (void)str_cut(rest, '/', &rest);
    struct str host = str_cut(rest, '/', &rest);
    struct str scheme = str_cut(url, ':', &rest);
    int n = snprintf(out, ENDPOINT_KEY_BYTES, "%d " STR_FMT " ", tenant, STR_ARG(scheme));
    size_t used = n > 0 ? (size_t)n : 0;
    size_t room = ENDPOINT_KEY_BYTES - used, bytes = host.bytes < room ? host.bytes : room;
    if (bytes)
        memcpy(out + used, host.data, bytes);
    return used + bytes;
}

struct endpoint *endpoint_of(struct flows *flows, int tenant, struct str url, int most, int64_t now_ms)
{
    char key[ENDPOINT_KEY_BYTES];
    size_t bytes = endpoint_key(key, tenant, url);
    struct endpoint *endpoint = (struct endpoint *)table_find(&flows->endpoints, (struct str){key, bytes});
    if (!endpoint) {
        endpoint = calloc(1, sizeof *endpoint + bytes);
        if (!endpoint)
            return NULL;
        memcpy(endpoint->key, key, bytes);
        endpoint->node.key = (struct str){endpoint->key, bytes};
        TAILQ_INIT(&endpoint->parked);
        TAILQ_INIT(&endpoint->flying);
        if (!table_add(&flows->endpoints, &endpoint->node)) {
            free(endpoint);
            return NULL;
        }
    }
    endpoint->most = most;
    endpoint->used_ms = now_ms;
    return endpoint;
}

/* How long an answer takes: the average, or the age of the oldest transfer if that is more, for one that
 * hangs gives no answers to average. */
static int64_t answer_us(const struct endpoint *endpoint, int64_t now_ms)
{
    const struct job *oldest = TAILQ_FIRST(&endpoint->flying);
    int64_t age_us = oldest ? (now_ms - oldest->started_ms) * 1000 : 0;
    return age_us > endpoint->answer_us ? age_us : endpoint->answer_us;
}

static int share_of(const struct flows *flows, const struct endpoint *endpoint, int64_t now_ms)
{
    int64_t most = three_quarters(flows), slow_us = answer_us(endpoint, now_ms);
    int64_t share = most;
    if (endpoint->answer_us == 0)
        share = ENDPOINT_FIRST;
    if (slow_us > ENDPOINT_SPEED_US)
        share = share * ENDPOINT_SPEED_US / slow_us;
    if (share < ENDPOINT_LEAST)
        share = ENDPOINT_LEAST;
    if (endpoint->most && share > endpoint->most)
        share = endpoint->most;
    return (int)(share < most ? share : most);
}

bool endpoint_has_room(const struct flows *flows, const struct endpoint *endpoint, int64_t now_ms)
{
    return now_ms >= endpoint->blocked_until_ms && endpoint->flying_count < share_of(flows, endpoint, now_ms);
}

bool endpoint_park(struct flows *flows, struct job *job)
{
    struct endpoint *endpoint = job->endpoint;
    int most = three_quarters(flows);
    if (endpoint->parked_count >= most || job->flow->parked_count >= FLOW_PARKED_MAX)
        return false;
    TAILQ_INSERT_TAIL(&endpoint->parked, job, link);
    endpoint->parked_count++;
    job->flow->parked_count++;
    flows->parked_count++;
    return true;
}

struct job *endpoint_unpark(struct flows *flows, struct endpoint *endpoint)
{
    struct job *job = TAILQ_FIRST(&endpoint->parked);
    if (!job)
        return NULL;
    TAILQ_REMOVE(&endpoint->parked, job, link);
    endpoint->parked_count--;
    job->flow->parked_count--;
    flows->parked_count--;
    return job;
}

struct job *endpoint_next(struct flows *flows, struct endpoint *endpoint, int64_t now_ms)
{
    const struct job *job = TAILQ_FIRST(&endpoint->parked);
    bool may = job && flows->flying_count < flows->in_flight_max &&
               endpoint_has_room(flows, endpoint, now_ms) && job->flow->flying_count < three_quarters(flows);
    return may ? endpoint_unpark(flows, endpoint) : NULL;
}

struct endpoint *flow_freed(struct flows *flows)
{
    struct endpoint *endpoint = TAILQ_FIRST(&flows->freed);
    TAILQ_REMOVE(&flows->freed, endpoint, freed_link);
    endpoint->freed = false;
    return endpoint;
}

int64_t endpoint_put_off(const struct flows *flows, struct endpoint *endpoint, int64_t now_ms)
{
    int64_t from_ms = now_ms + PUT_OFF_MS_LEAST;
    if (endpoint->blocked_until_ms > from_ms)
        from_ms = endpoint->blocked_until_ms;
    if (endpoint->busy_until_ms < from_ms)
        endpoint->busy_until_ms = from_ms;
    /* each one adds the time that its transfer will take of the endpoint's share */
    int64_t each_us = answer_us(endpoint, now_ms) / share_of(flows, endpoint, now_ms);
    endpoint->busy_until_ms += each_us / 1000 + 1;
    if (endpoint->busy_until_ms > now_ms + PUT_OFF_MS_MAX)
        endpoint->busy_until_ms = now_ms + PUT_OFF_MS_MAX;
    return endpoint->busy_until_ms - now_ms;
}

/* ---- transfers ---- */

void flow_started(struct flows *flows, struct job *job, int64_t now_ms)
{
    job->started_ms = now_ms;
    job->flow->flying_count++;
    flows->flying_count++;
    if (job->endpoint) {
        job->endpoint->flying_count++;
        TAILQ_INSERT_TAIL(&job->endpoint->flying, job, flight);
    }
}

void flow_ended(struct flows *flows, struct job *job, int64_t now_ms, int64_t rest_ms)
{
    job->flow->flying_count--;
    flows->flying_count--;
    struct endpoint *endpoint = job->endpoint;
    if (!endpoint)
        return;
    int64_t took_us = (now_ms - job->started_ms) * 1000 + 1;
    endpoint->answer_us =
        endpoint->answer_us ? endpoint->answer_us + (took_us - endpoint->answer_us) / AVERAGE_OF : took_us;
    if (endpoint->answer_us < ENDPOINT_SPEED_US)
        endpoint->busy_until_ms = 0; /* it has caught up: what is put off now need not queue */
    endpoint->flying_count--;
    endpoint->used_ms = now_ms;
    TAILQ_REMOVE(&endpoint->flying, job, flight);
    if (endpoint->parked_count > 0 && !endpoint->freed) {
        endpoint->freed = true;
        TAILQ_INSERT_TAIL(&flows->freed, endpoint, freed_link);
    }
    if (rest_ms > 0 && now_ms + rest_ms > endpoint->blocked_until_ms)
        endpoint->blocked_until_ms = now_ms + rest_ms;
}

/* ---- tidying ---- */

struct tidying {
    struct flows *flows;
    int64_t before_ms;
};

static void tidy_flow(struct table_node *node, void *context)
{
    struct tidying *tidying = context;
    struct flow *flow = (struct flow *)node;
    bool idle = flow->waiting_count == 0 && flow->parked_count == 0 && flow->flying_count == 0;
    if (idle && flow->used_ms < tidying->before_ms) {
        table_remove(&tidying->flows->tenants, node);
        free(flow);
    }
}

static void tidy_endpoint(struct table_node *node, void *context)
{
    struct tidying *tidying = context;
    struct endpoint *endpoint = (struct endpoint *)node;
    bool idle = endpoint->parked_count == 0 && endpoint->flying_count == 0 && !endpoint->freed;
    if (idle && endpoint->used_ms < tidying->before_ms && endpoint->blocked_until_ms < tidying->before_ms) {
        table_remove(&tidying->flows->endpoints, node);
        free(endpoint);
    }
}

void flows_tidy(struct flows *flows, int64_t now_ms)
{
    struct tidying tidying = {flows, now_ms - ENDPOINT_IDLE_MS};
    table_each(&flows->tenants, tidy_flow, &tidying);
    table_each(&flows->endpoints, tidy_endpoint, &tidying);
}
