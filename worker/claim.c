/* Claims: which lanes to ask, and their rows into jobs. */
#include "core/log.h"
#include "queries.h"
#include "worker/worker.h"

/* ---- asking ---- */

static int room(void *context, int tenant)
{
    const struct worker *w = context;
    return flow_room(&w->flows, tenant, w->config->claim_max * 2);
}

bool claim_wanted(struct worker *w)
{
    int waiting = w->flows.waiting_count + w->alone_count;
    if (w->id == 0 || w->stopping || !w->accounts_known || waiting >= w->config->claim_max)
        return false;
    w->ask_count = lanes_plan(w->lanes, w->config->claim_max, w->now_ms, room, w, w->asks);
    return w->ask_count > 0;
}

enum ask_column { ASK_CHANNEL, ASK_TENANT, ASK_PRIORITY, ASK_AFTER, ASK_TAKE, ASK_COLUMNS };

static void add_column(struct db_args *args, const struct worker *w, enum ask_column column)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < w->ask_count; i++) {
        const struct lane_ask *ask = &w->asks[i];
        const int64_t numbers[] = {0, ask->tenant, ask->priority, ask->after_seq, ask->take};
        if (column == ASK_CHANNEL)
            db_array_text(&array, ask->channel);
        else
            db_array_int(&array, numbers[column]);
    }
    db_array_end(&array);
}

enum result claim_queue(struct worker *w, struct error *error)
{
    struct db_args args = DB_ARGS(w->first.arena);
    for (enum ask_column column = ASK_CHANNEL; column < ASK_COLUMNS; column++)
        add_column(&args, w, column);
    db_arg_int(&args, w->id);
    db_arg_int(&args, w->fence);
    return db_queue(w->first.db, &query_queue_claim, &args, error);
}

/* ---- rows ---- */

enum row_column {
    TENANT,
    NOTIFICATION,
    N,
    GENERATION,
    CHANNEL,
    PRIORITY,
    SEQ,
    TRIES,
    LOST,
    USER,
    PROVIDER,
    DEVICE,
    ADDRESS,
    DEVICE_UPDATED,
    KNOWN,
    TYPE,
    TITLE,
    BODY,
    DATA,
    SENDER,
    CATEGORY,
    ACTIONS,
    URL,
    SANDBOX,
    CREATED,
    EXPIRES,
    CANCELLED,
    READ,
    DELETED,
    OPTED_OUT,
    PAUSED
};

static void read_delivery(struct delivery *d, const struct db_result *rows, int row, struct arena *arena)
{
    *d = (struct delivery){
        .tenant = (int)db_int(rows, row, TENANT),
        .n = (int)db_int(rows, row, N),
        .generation = db_int(rows, row, GENERATION),
        .notification = db_text(rows, row, NOTIFICATION),
        .channel = db_text(rows, row, CHANNEL),
        .provider = db_text(rows, row, PROVIDER),
        .user = db_text(rows, row, USER),
        .device = db_text(rows, row, DEVICE),
        .priority = (int)db_int(rows, row, PRIORITY),
        .tries = (int)db_int(rows, row, TRIES),
        .lost = (int)db_int(rows, row, LOST),
        .device_updated_us = db_int(rows, row, DEVICE_UPDATED),
        .address_sealed = db_bytes(rows, row, ADDRESS, arena),
        .type = db_text(rows, row, TYPE),
        .title = db_text(rows, row, TITLE),
        .body = db_text(rows, row, BODY),
        .category = db_text(rows, row, CATEGORY),
        .url = db_text(rows, row, URL),
        .data = db_text(rows, row, DATA),
        .sender = db_text(rows, row, SENDER),
        .actions = db_text(rows, row, ACTIONS),
        .sandbox = db_bool(rows, row, SANDBOX),
        .created_us = db_int(rows, row, CREATED),
        .expires_us = db_int(rows, row, EXPIRES),
    };
}

static void read_job(struct job *job, const struct db_result *rows, int row, struct arena *arena)
{
    read_delivery(&job->delivery, rows, row, arena);
    job->facts = (struct delivery_facts){.known = db_bool(rows, row, KNOWN),
                                         .has_device = !db_is_null(rows, row, ADDRESS),
                                         .cancelled = db_bool(rows, row, CANCELLED),
                                         .read = db_bool(rows, row, READ),
                                         .deleted = db_bool(rows, row, DELETED),
                                         .opted_out = db_bool(rows, row, OPTED_OUT)};
    job->tenant_paused = db_bool(rows, row, PAUSED);
}

/* Rows come lane by lane: the search goes on from the lane of the row before. */
static int ask_of(const struct worker *w, const struct db_result *rows, int row, int from)
{
    int tenant = (int)db_int(rows, row, TENANT), priority = (int)db_int(rows, row, PRIORITY);
    struct str channel = db_text(rows, row, CHANNEL);
    for (int i = 0; i < w->ask_count; i++) {
        int at = (from + i) % w->ask_count;
        const struct lane_ask *ask = &w->asks[at];
        if (ask->tenant == tenant && ask->priority == priority && str_equal(ask->channel, channel))
            return at;
    }
    return from; /* cannot be: only what was asked for is answered */
}

static void tell_lanes(struct worker *w, const struct db_result *rows)
{
    int counts[LANE_ASKS_MAX] = {0};
    int64_t tops[LANE_ASKS_MAX] = {0};
    for (int row = 0, at = 0; row < db_rows(rows); row++) {
        int64_t seq = db_int(rows, row, SEQ);
        at = ask_of(w, rows, row, at);
        counts[at]++;
        tops[at] = seq > tops[at] ? seq : tops[at];
    }
    for (int i = 0; i < w->ask_count; i++)
        lanes_answer(w->lanes, &w->asks[i], counts[i], tops[i], w->now_ms);
}

void claim_take(struct worker *w, struct batch *batch, const struct db_result *rows)
{
    int count = db_rows(rows);
    tell_lanes(w, rows);
    struct job *jobs = arena_array(batch->arena, (size_t)count + 1, sizeof *jobs);
    if (!jobs) {
        /* the leases stay; they come back when this worker's own is given up */
        log_error("could not take a claim: no memory", LOG_INT("deliveries", count));
        worker_lease_lost(w);
        return;
    }
    for (int i = 0; i < count; i++) {
        struct job *job = &jobs[i];
        job->batch = batch;
        job->claimed_ms = w->sent_ms;
        read_job(job, rows, i, batch->arena);
        w->generation = job->delivery.generation;
        batch->jobs++;
        if (job->delivery.lost > 0) {
            TAILQ_INSERT_TAIL(&w->alone, job, link);
            w->alone_count++;
        } else if (!flow_add(&w->flows, job, w->now_ms)) {
            outcome_return(&job->delivery, &job->verdict);
            settle_add(w, job);
        }
    }
}
