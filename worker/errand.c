/*
 * What the worker asks of the database on its first connection, one transaction at a time, the most urgent
 * first: its lease, the accounts, which lanes have something, and the next claim.
 *
 * The lease is renewed for all that was claimed at once. A claim that may have been committed without our
 * learning of it is taken back before the next one, or it would be held for as long as we live. Our own clock
 * decides when it is lost, counted from before the renewal was sent, so we always think so before the
 * database does.
 */
#include "core/clock.h"
#include "core/log.h"
#include "queries.h"
#include "worker/worker.h"
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    RETRY_MS = 500,     /* after a failure, of the connection or of a statement */
    MARK_MS = 2000,     /* accounts */
    DISCOVER_MS = 1000, /* lanes, while Redis wakes us */
    DISCOVER_ALONE_MS = 250,
    LANES_MS = 60000,
    ERRAND_BYTES_MAX = 16 << 20
};

/* ---- which ---- */

static bool wakes_arrive(const struct worker *w)
{
    return w->listener && redis_listener_ready(w->listener);
}

static bool is_empty(const struct worker *w)
{
    const struct flows *f = &w->flows;
    return f->flying_count == 0 && f->waiting_count == 0 && f->parked_count == 0 && w->alone_count == 0 &&
           settle_idle(w);
}

static enum errand next_errand(struct worker *w)
{
    if (w->left)
        return ERRAND_NONE;
    if (w->id == 0 && w->stopping)
        return ERRAND_NONE;
    if (w->id == 0)
        return w->durable ? ERRAND_ENTER : ERRAND_CHECK;
    if (w->now_ms >= w->renew_ms)
        return ERRAND_RENEW;
    if (w->claim_unknown)
        return ERRAND_RETURN;
    if (w->stopping)
        return is_empty(w) ? ERRAND_LEAVE : ERRAND_NONE;
    if (w->now_ms >= w->mark_ms)
        return ERRAND_MARK;
    if (w->now_ms >= w->lanes_ms)
        return ERRAND_LANES;
    if (w->now_ms >= w->discover_ms)
        return ERRAND_DISCOVER;
    return claim_wanted(w) ? ERRAND_CLAIM : ERRAND_NONE;
}

int64_t errand_due_ms(const struct worker *w)
{
    int64_t due = w->id == 0 ? w->now_ms : w->renew_ms;
    const int64_t others[] = {w->mark_ms, w->lanes_ms, w->discover_ms};
    for (size_t i = 0; i < 3 && !w->stopping && w->id; i++)
        due = others[i] < due ? others[i] : due;
    return due > w->first.retry_ms ? due : w->first.retry_ms;
}

/* ---- sending ---- */

static void arg_channels(struct db_args *args, const char *channels)
{
    struct db_array array;
    struct str rest = str_from(channels);
    if (rest.bytes == 0) {
        db_arg_null(args);
        return;
    }
    db_array_begin(&array, args);
    while (str_is_set(rest))
        db_array_text(&array, str_cut(rest, ',', &rest));
    db_array_end(&array);
}

static enum result queue_one(struct worker *w, const struct db_query *query, const struct db_args *args,
                             struct error *error)
{
    return db_queue(w->first.db, query, args, error);
}

static enum result queue_return(struct worker *w, struct error *error)
{
    struct db_args fence = DB_ARGS(w->first.arena), back = DB_ARGS(w->first.arena);
    db_arg_int(&fence, w->id);
    db_arg_int(&back, w->id);
    db_arg_int(&back, w->generation);
    enum result code = queue_one(w, &query_queue_worker_fence, &fence, error);
    return code == RESULT_OK ? queue_one(w, &query_queue_claim_return, &back, error) : code;
}

static enum result queue_errand(struct worker *w, enum errand errand, struct error *error)
{
    struct db_args args = DB_ARGS(w->first.arena);
    char host[64] = "";
    switch (errand) {
    case ERRAND_CHECK:
        return queue_one(w, &query_health_durability, NULL, error);
    case ERRAND_ENTER:
        (void)!gethostname(host, sizeof host - 1);
        db_arg_int(&args, w->config->lease_ms);
        db_arg_text(&args, str_from(host));
        db_arg_text(&args, str_from(w->config->channels));
        return queue_one(w, &query_queue_worker_enter, &args, error);
    case ERRAND_RENEW:
        db_arg_int(&args, w->id);
        db_arg_int(&args, w->config->lease_ms);
        return queue_one(w, &query_queue_worker_renew, &args, error);
    case ERRAND_MARK:
        return queue_one(w, &query_worker_accounts_mark, NULL, error);
    case ERRAND_ACCOUNTS:
        return queue_one(w, &query_worker_accounts, NULL, error);
    case ERRAND_DISCOVER:
        arg_channels(&args, w->config->channels);
        return queue_one(w, &query_queue_discover, &args, error);
    case ERRAND_LANES:
        arg_channels(&args, w->config->channels);
        return queue_one(w, &query_queue_lanes, &args, error);
    case ERRAND_CLAIM:
        return claim_queue(w, error);
    case ERRAND_RETURN:
        return queue_return(w, error);
    case ERRAND_LEAVE:
        db_arg_int(&args, w->id);
        return queue_one(w, &query_queue_worker_leave, &args, error);
    case ERRAND_NONE:
        break;
    }
    return RESULT_FAILED;
}

static void fail(struct worker *w, enum errand errand, const struct error *error)
{
    static const char *const names[] = {"none",     "check", "enter", "renew",  "accounts mark", "accounts",
                                        "discover", "lanes", "claim", "return", "leave"};
    w->first.retry_ms = w->now_ms + RETRY_MS;
    for (int i = 0; errand == ERRAND_CLAIM && i < w->ask_count; i++)
        lanes_failed(w->lanes, &w->asks[i]);
    worker_complain(w, &w->first, names[errand], error->text);
}

static void send(struct worker *w, enum errand errand)
{
    struct error error = {0};
    w->errand = ERRAND_NONE;
    w->sent_ms = clock_mono_ms(); /* connecting may have taken a while */
    enum result code = db_begin(w->first.db, DB_TENANT_NONE, STR_NONE, &error);
    if (code == RESULT_OK)
        code = queue_errand(w, errand, &error);
    if (code == RESULT_OK)
        code = db_send(w->first.db, &error);
    if (code == RESULT_OK) {
        w->errand = errand;
        w->first.busy = w->first.event = true; /* it may have failed already */
    } else {
        db_abandon(w->first.db);
        arena_reset(w->first.arena);
        fail(w, errand, &error);
    }
    worker_watch(w, &w->first);
}

/* ---- answers ---- */

static void take_check(struct worker *w, const struct db_result *rows)
{
    w->durable = true;
    if (db_bool(rows, 0, 0) && db_bool(rows, 0, 1))
        return;
    log_error("cannot work: the database runs with fsync or synchronous_commit off");
    w->status = EX_CONFIG;
    w->stopping = true;
}

static void take_lease(struct worker *w, const struct db_result *rows)
{
    bool entered = w->errand == ERRAND_ENTER;
    if (db_rows(rows) == 0) {
        worker_lease_lost(w);
        return;
    }
    w->id = db_int(rows, 0, 0);
    w->lease_until_ms = w->sent_ms + w->config->lease_ms;
    w->renew_ms = w->sent_ms + w->config->lease_ms / 3;
    if (entered)
        log_info("took a lease", LOG_INT("worker", w->id), LOG_TEXT("channels", w->config->channels));
}

static bool take_mark(struct worker *w, const struct db_result *rows)
{
    const int64_t mark[3] = {db_int(rows, 0, 0), db_int(rows, 0, 1), db_int(rows, 0, 2)};
    bool same = w->accounts_known && memcmp(mark, w->accounts_mark, sizeof mark) == 0;
    memcpy(w->accounts_mark, mark, sizeof mark);
    w->mark_ms = w->now_ms + MARK_MS;
    return !same;
}

static void take_lanes(struct worker *w, const struct db_result *rows)
{
    for (int i = 0; i < db_rows(rows); i++)
        lanes_wake(w->lanes, db_text(rows, i, 0), (int)db_int(rows, i, 1), w->now_ms);
    w->discover_ms = w->now_ms + (wakes_arrive(w) ? DISCOVER_MS : DISCOVER_ALONE_MS);
    if (w->errand == ERRAND_LANES)
        w->lanes_ms = w->now_ms + LANES_MS;
}

static void take_return(struct worker *w, const struct db_result *fence)
{
    if (db_rows(fence) == 0) {
        worker_lease_lost(w);
        return;
    }
    w->fence = (int)db_int(fence, 0, 0);
    w->claim_unknown = false;
}

/* Says whether the accounts are to be read next. */
static bool take_answer(struct worker *w, const struct db_result *rows)
{
    switch (w->errand) {
    case ERRAND_CHECK:
        take_check(w, rows);
        break;
    case ERRAND_ENTER:
    case ERRAND_RENEW:
        take_lease(w, rows);
        break;
    case ERRAND_MARK:
        return take_mark(w, rows);
    case ERRAND_ACCOUNTS:
        accounts_load(w->accounts, rows);
        w->accounts_known = true;
        break;
    case ERRAND_DISCOVER:
    case ERRAND_LANES:
        take_lanes(w, rows);
        break;
    case ERRAND_RETURN:
        take_return(w, rows);
        break;
    case ERRAND_LEAVE:
        w->left = true;
        break;
    case ERRAND_CLAIM:
    case ERRAND_NONE:
        break;
    }
    return false;
}

/* The rows of a claim belong to its batch, those of anything else to the transaction. */
static void finish(struct worker *w)
{
    struct error error = {0};
    struct db_result *const *results;
    struct batch *batch = w->errand == ERRAND_CLAIM ? batch_create() : NULL;
    struct arena *arena = batch ? batch->arena : w->first.arena;
    enum errand errand = w->errand;
    bool read_accounts = false;
    enum result code = db_finish(w->first.db, arena, &results, NULL, NULL, &error);
    w->first.busy = false;
    if (code != RESULT_OK && errand == ERRAND_CLAIM)
        w->claim_unknown = true; /* it may have been committed all the same */
    if (code == RESULT_OK)
        worker_complain(w, &w->first, NULL, NULL);
    if (code != RESULT_OK)
        fail(w, errand, &error);
    else if (batch)
        claim_take(w, batch, results[0]);
    else if (errand == ERRAND_CLAIM)
        worker_lease_lost(w); /* no memory for what was leased */
    else
        read_accounts = take_answer(w, results[0]);
    if (batch)
        batch_release(batch);
    arena_reset(w->first.arena);
    w->errand = ERRAND_NONE;
    if (read_accounts)
        send(w, ERRAND_ACCOUNTS);
}

void errand_turn(struct worker *w)
{
    if (w->id && w->now_ms >= w->lease_until_ms)
        worker_lease_lost(w);
    if (w->first.event && db_pump(w->first.db) && w->first.busy)
        finish(w);
    w->first.event = w->first.event && w->first.busy;
    worker_watch(w, &w->first);
    if (w->first.busy || w->now_ms < w->first.retry_ms)
        return;
    enum errand errand = next_errand(w);
    if (errand != ERRAND_NONE)
        send(w, errand);
}

void worker_lease_lost(struct worker *w)
{
    log_warning("lost the lease: what had not begun is left to others", LOG_INT("worker", w->id),
                LOG_INT("in_flight", w->flows.flying_count));
    w->id = 0;
    w->fence = 0;
    w->claim_unknown = false;
    dispatch_drop_all(w);
}
