/*
 * Outcomes into rows, on the second connection: one transaction at a time with all that is done by then,
 * while transfers go on. The same transaction commits the starts of transfers that must not be repeated,
 * pauses accounts, and leaves alerts.
 *
 * A transaction that fails is sent again; that does no harm, for an attempt is written once for each
 * generation and a lease is ended once. A failure that a row may have caused is narrowed down to that row,
 * which then is settled without the words that came from outside.
 *
 * A result whose lease was lost is still written to its attempt. If it is the end, it ends the delivery
 * wherever it is by now, unless it has been started again.
 */
#include "core/clock.h"
#include "core/log.h"
#include "queries.h"
#include "worker/alert.h"
#include "worker/worker.h"
#include <stdio.h>

enum { RETRY_MS = 250, PAUSES_MAX = 8 };

void settle_add(struct worker *w, struct job *job)
{
    job->settle_ms = w->now_ms;
    if (job->finished_us == 0)
        job->finished_us = clock_now_us();
    if (job->started_us == 0)
        job->started_us = job->finished_us;
    alerts_note(w->alerts, job, w->now_ms);
    TAILQ_INSERT_TAIL(&w->done, job, link);
    w->done_count++;
}

bool settle_idle(const struct worker *w)
{
    return w->done_count == 0 && w->settling_count == 0 && TAILQ_EMPTY(&w->late) &&
           TAILQ_EMPTY(&w->late_now) && !w->second.busy;
}

/* ---- arguments ---- */

enum settle_column {
    TENANT,
    NOTIFICATION,
    N,
    GENERATION,
    BECOMES,
    OUTCOME,
    NUMBER,
    TRIES,
    CODE,
    DETAIL,
    ACCOUNT,
    MESSAGE_ID,
    STARTED,
    FINISHED,
    DUE,
    HELD_BY,
    USER,
    DEVICE,
    DEVICE_UPDATED,
    SETTLE_COLUMNS,
    CHANNEL,
    ONCE,
    ALONE /* of other statements */
};

static void int_or_null(struct db_array *array, bool given, int64_t number)
{
    if (given)
        db_array_int(array, number);
    else
        db_array_null(array);
}

static void text_or_null(struct db_array *array, bool given, struct str text)
{
    db_array_text(array, given ? text : STR_NONE);
}

static void add_cell(struct db_array *array, const struct job *job, enum settle_column column)
{
    const struct delivery *d = &job->delivery;
    const struct verdict *v = &job->verdict;
    const struct outcome *o = &job->outcome;
    char becomes = (char)v->place;
    switch (column) {
    case TENANT:
        db_array_int(array, d->tenant);
        break;
    case NOTIFICATION:
        db_array_text(array, d->notification);
        break;
    case N:
        db_array_int(array, d->n);
        break;
    case GENERATION:
        db_array_int(array, d->generation);
        break;
    case BECOMES:
        db_array_text(array, (struct str){&becomes, 1});
        break;
    case OUTCOME:
        text_or_null(array, v->log, str_from(outcome_name(o->kind)));
        break;
    case NUMBER:
        db_array_int(array, v->number);
        break;
    case TRIES:
        db_array_int(array, v->tries);
        break;
    case CODE:
        int_or_null(array, o->code != 0, o->code);
        break;
    case DETAIL:
        text_or_null(array, o->detail[0] != '\0', str_from(o->detail));
        break;
    case ACCOUNT:
        text_or_null(array, job->account != NULL, job->account ? job->account->account.id : STR_NONE);
        break;
    case MESSAGE_ID:
        text_or_null(array, o->provider_id[0] != '\0', str_from(o->provider_id));
        break;
    case STARTED:
        db_array_int(array, job->started_us);
        break;
    case FINISHED:
        db_array_int(array, job->finished_us);
        break;
    case DUE:
        int_or_null(array, v->due_us != 0, v->due_us);
        break;
    case HELD_BY:
        text_or_null(array, v->held_by[0] != '\0', str_from(v->held_by));
        break;
    case USER:
        text_or_null(array, v->prune || v->place == VERDICT_DEAD, d->user);
        break;
    case DEVICE:
        text_or_null(array, v->prune, d->device);
        break;
    case DEVICE_UPDATED:
        int_or_null(array, v->prune, d->device_updated_us);
        break;
    case CHANNEL:
        db_array_text(array, d->channel);
        break;
    case ONCE:
        db_array_text(array, job->provider && job->provider->start_first ? STR("t") : STR("f"));
        break;
    case ALONE:
        db_array_text(array, d->lost > 0 ? STR("t") : STR("f"));
        break;
    case SETTLE_COLUMNS:
        break;
    }
}

static void settle_args(const struct worker *w, struct db_args *args)
{
    for (enum settle_column column = TENANT; column < SETTLE_COLUMNS; column++) {
        const struct job *job;
        struct db_array array;
        db_array_begin(&array, args);
        for (job = TAILQ_FIRST(&w->settling); job; job = TAILQ_NEXT(job, link))
            add_cell(&array, job, column);
        db_array_end(&array);
    }
}

/* The same columns for other statements about deliveries. */
static void key_args(const struct job_list *jobs, struct db_args *args, const enum settle_column *columns,
                     int count)
{
    for (int i = 0; i < count; i++) {
        const struct job *job;
        struct db_array array;
        db_array_begin(&array, args);
        for (job = TAILQ_FIRST(jobs); job; job = TAILQ_NEXT(job, link))
            add_cell(&array, job, columns[i]);
        db_array_end(&array);
    }
}

static int length(const struct job_list *jobs)
{
    const struct job *job;
    int count = 0;
    for (job = TAILQ_FIRST(jobs); job; job = TAILQ_NEXT(job, link))
        count++;
    return count;
}

/* ---- sending ---- */

static enum result queue_late(struct worker *w, struct error *error)
{
    static const enum settle_column columns[] = {TENANT, NOTIFICATION, N, CHANNEL};
    struct db_args args = DB_ARGS(w->second.arena);
    key_args(&w->late_now, &args, columns, 4);
    return db_queue(w->second.db, &query_queue_settle_late, &args, error);
}

static enum result queue_starts(struct worker *w, struct error *error)
{
    static const enum settle_column columns[] = {TENANT, NOTIFICATION, N, GENERATION, ONCE, ALONE};
    struct db_args args = DB_ARGS(w->second.arena);
    key_args(&w->starting_now, &args, columns, 6);
    return db_queue(w->second.db, &query_queue_start, &args, error);
}

static enum result queue_pauses(struct worker *w, struct error *error)
{
    const struct job *job;
    const struct account_held *last = NULL;
    int count = 0;
    enum result code = RESULT_OK;
    for (job = TAILQ_FIRST(&w->settling); job; job = TAILQ_NEXT(job, link)) {
        if (!job->verdict.pause || !job->account || job->account == last || count == PAUSES_MAX ||
            code != RESULT_OK)
            continue;
        struct db_args args = DB_ARGS(w->second.arena);
        last = job->account;
        count++;
        db_arg_int(&args, last->account.tenant);
        db_arg_text(&args, last->account.id);
        db_arg_int(&args, last->version);
        db_arg_text(&args, str_from(job->outcome.detail));
        code = db_queue(w->second.db, &query_worker_account_pause, &args, error);
        log_warning("provider account paused", LOG_INT("tenant", last->account.tenant),
                    LOG_STR("account", last->account.id), LOG_INT("code", job->outcome.code),
                    LOG_TEXT("reason", job->outcome.detail));
    }
    return code;
}

static enum result queue_all(struct worker *w, struct error *error)
{
    struct settle_parts *parts = &w->parts;
    int count = 0;
    enum result code = RESULT_OK;
    *parts = (struct settle_parts){-1, -1, -1, 0};
    if (w->settling_count > 0) {
        struct db_args args = DB_ARGS(w->second.arena);
        settle_args(w, &args);
        parts->settle = count++;
        code = db_queue(w->second.db, &query_queue_settle, &args, error);
    }
    if (code == RESULT_OK && !TAILQ_EMPTY(&w->late_now)) {
        parts->late = count++;
        code = queue_late(w, error);
    }
    if (code == RESULT_OK && !TAILQ_EMPTY(&w->starting_now)) {
        parts->start = count++;
        code = queue_starts(w, error);
    }
    if (code == RESULT_OK)
        code = queue_pauses(w, error);
    w->parts.alerts = alerts_waiting(w->alerts);
    if (code == RESULT_OK && w->parts.alerts > 0) {
        struct db_args args = DB_ARGS(w->second.arena);
        alerts_args(w->alerts, &args);
        code = db_queue(w->second.db, &query_worker_alert, &args, error);
    }
    return code;
}

static bool is_late_due(const struct worker *w)
{
    const struct job *job = TAILQ_FIRST(&w->late);
    return job && (!job->asked_late || w->now_ms - job->settle_ms >= WORKER_LATE_MS);
}

static void take_jobs(struct worker *w)
{
    while (w->done_count > 0 && w->settling_count < w->settle_most) {
        struct job *job = TAILQ_FIRST(&w->done);
        TAILQ_REMOVE(&w->done, job, link);
        TAILQ_INSERT_TAIL(&w->settling, job, link);
        w->done_count--;
        w->settling_count++;
    }
    TAILQ_CONCAT(&w->starting_now, &w->starting, link);
    w->starting_count = 0;
    while (is_late_due(w)) {
        struct job *job = TAILQ_FIRST(&w->late);
        TAILQ_REMOVE(&w->late, job, link);
        TAILQ_INSERT_TAIL(&w->late_now, job, link);
    }
}

static void put_back(struct worker *w)
{
    struct job_list rest = TAILQ_HEAD_INITIALIZER(rest);
    TAILQ_CONCAT(&rest, &w->settling, link);
    TAILQ_CONCAT(&rest, &w->done, link);
    TAILQ_CONCAT(&w->done, &rest, link);
    w->done_count += w->settling_count;
    w->settling_count = 0;
    TAILQ_CONCAT(&w->late, &w->late_now, link);
    TAILQ_CONCAT(&w->starting, &w->starting_now, link);
    w->starting_count = length(&w->starting);
}

/* One job alone could not be settled: once more without the words, then it is left to its lease. */
static void suspect(struct worker *w, const struct error *error)
{
    struct job *job = TAILQ_FIRST(&w->settling);
    log_error("could not settle a delivery", LOG_STR("notification", job->delivery.notification),
              LOG_INT("n", job->delivery.n), LOG_TEXT("reason", error->text));
    if (job->outcome.detail[0] || job->outcome.provider_id[0]) {
        job->outcome.detail[0] = job->outcome.provider_id[0] = '\0';
        return;
    }
    TAILQ_REMOVE(&w->settling, job, link);
    w->settling_count--;
    job_release(job);
}

static void fail(struct worker *w, const struct error *error)
{
    bool passing = error->code == RESULT_OFFLINE || error->code == RESULT_BUSY;
    worker_complain(w, &w->second, "settle", error->text);
    w->second.retry_ms = w->now_ms + RETRY_MS;
    if (!passing && w->parts.alerts > 0) { /* an alert must not keep anything from being settled */
        log_error("gave up alerts that could not be told", LOG_INT("alerts", w->parts.alerts));
        alerts_told(w->alerts, w->parts.alerts);
        w->parts.alerts = 0;
    } else if (!passing && w->settling_count == 1) {
        suspect(w, error);
    } else if (!passing) {
        w->settle_most = w->settling_count / 2 > 0 ? w->settling_count / 2 : 1;
    }
    put_back(w);
}

static void send(struct worker *w)
{
    struct error error = {0};
    take_jobs(w);
    enum result code = db_begin(w->second.db, DB_TENANT_NONE, STR_NONE, &error);
    if (code == RESULT_OK)
        code = queue_all(w, &error);
    if (code == RESULT_OK)
        code = db_send(w->second.db, &error);
    if (code == RESULT_OK) {
        w->second.busy = w->second.event = true; /* it may have failed already */
    } else {
        db_abandon(w->second.db);
        arena_reset(w->second.arena);
        error.code = code;
        fail(w, &error);
    }
    worker_watch(w, &w->second);
}

/* ---- answers ---- */

static void measure(struct worker *w, const struct job *job)
{
    char labels[128];
    const char *provider = job->provider ? job->provider->name : "none";
    if (!job->verdict.log)
        return;
    snprintf(labels, sizeof labels, "channel=\"%.32s\",provider=\"%s\",outcome=\"%s\"",
             job->delivery.channel.data, provider, outcome_name(job->outcome.kind));
    metrics_count(w->metrics, METRIC_ATTEMPTS, labels, 1);
    snprintf(labels, sizeof labels, "channel=\"%.32s\"", job->delivery.channel.data);
    if (job->outcome.kind == OUTCOME_SENT)
        metrics_observe(w->metrics, METRIC_DELIVERY_SECONDS, labels,
                        (double)(clock_now_us() - job->delivery.created_us) / 1e6);
    if (job->verdict.place == VERDICT_DEAD)
        metrics_count(w->metrics, METRIC_DEAD_LETTERS, labels, 1);
}

/* Which of count places come back in rows: flags from 1, in the transaction's arena; NULL if there is no
 * memory. */
static bool *places(struct worker *w, const struct db_result *rows, int count)
{
    bool *there = arena_array(w->second.arena, (size_t)count + 1, sizeof *there);
    for (int i = 0; there && i < db_rows(rows); i++) {
        int64_t place = db_int(rows, i, 0);
        if (place >= 1 && place <= count)
            there[place] = true;
    }
    return there;
}

/* Places of those whose lease was held come back; what ended without a lease is sent after its new place. */
static void release_settled(struct worker *w, const struct db_result *rows)
{
    const bool *held = places(w, rows, w->settling_count);
    for (int place = 1; w->settling_count > 0; place++) {
        struct job *job = TAILQ_FIRST(&w->settling);
        TAILQ_REMOVE(&w->settling, job, link);
        w->settling_count--;
        measure(w, job);
        if (held && !held[place] && job->verdict.log)
            log_info("a late result was written", LOG_STR("notification", job->delivery.notification),
                     LOG_INT("n", job->delivery.n));
        if (held && !held[place] && job->verdict.place == VERDICT_ENDED)
            TAILQ_INSERT_HEAD(&w->late, job, link); /* before those that wait for their second time */
        else
            job_release(job);
    }
}

/* One that was found has ended. Another may have ended before, or was on its way: once more, a second later.
 */
static void release_late(struct worker *w, const struct db_result *rows)
{
    struct job *job;
    const bool *found = places(w, rows, length(&w->late_now));
    for (int place = 1; (job = TAILQ_FIRST(&w->late_now)); place++) {
        TAILQ_REMOVE(&w->late_now, job, link);
        if (job->asked_late || (found && found[place])) {
            job_release(job);
        } else {
            job->asked_late = true;
            job->settle_ms = w->now_ms;
            TAILQ_INSERT_TAIL(&w->late, job, link);
        }
    }
}

/* Those that came back may fly; of the others the lease was lost. So it is for all, if ours was meanwhile. */
static void begin_started(struct worker *w, const struct db_result *started)
{
    struct job *job;
    struct job_list jobs = TAILQ_HEAD_INITIALIZER(jobs);
    TAILQ_CONCAT(&jobs, &w->starting_now, link);
    const bool *begun = places(w, started, length(&jobs));
    for (int place = 1; (job = TAILQ_FIRST(&jobs)); place++) {
        bool may = w->id != 0 && begun && begun[place];
        TAILQ_REMOVE(&jobs, job, link);
        if (may) {
            dispatch_started(w, job);
            continue;
        }
        flow_ended(&w->flows, job, w->now_ms, 0);
        w->alone_flying = w->alone_flying == job ? NULL : w->alone_flying;
        job_release(job);
    }
}

static void finish(struct worker *w)
{
    struct error error = {0};
    struct db_result *const *results;
    enum result code = db_finish(w->second.db, w->second.arena, &results, NULL, NULL, &error);
    w->second.busy = false;
    if (code != RESULT_OK) {
        error.code = code;
        fail(w, &error);
    } else {
        worker_complain(w, &w->second, NULL, NULL);
        w->settle_most = WORKER_SETTLE_MAX;
        if (w->parts.late >= 0)
            release_late(w, results[w->parts.late]);
        if (w->parts.settle >= 0)
            release_settled(w, results[w->parts.settle]);
        if (w->parts.start >= 0)
            begin_started(w, results[w->parts.start]);
        alerts_told(w->alerts, w->parts.alerts);
    }
    arena_reset(w->second.arena);
}

static bool is_due(const struct worker *w)
{
    if (is_late_due(w) || w->starting_count > 0 || alerts_waiting(w->alerts) > 0)
        return true;
    if (w->done_count == 0)
        return false;
    bool nothing_else = w->flows.flying_count == 0 && w->flows.waiting_count == 0;
    return nothing_else || w->done_count >= w->settle_most ||
           w->now_ms - TAILQ_FIRST(&w->done)->settle_ms >= WORKER_SETTLE_WAIT_MS;
}

void settle_turn(struct worker *w)
{
    if (w->second.event && db_pump(w->second.db) && w->second.busy)
        finish(w);
    w->second.event = false;
    worker_watch(w, &w->second);
    if (!w->second.busy && w->now_ms >= w->second.retry_ms && is_due(w))
        send(w);
}
