/*
 * Taking, keeping and giving back duties. The statements are in sql/queries/scheduler.sql.
 *
 * Idle, a turn is one statement that reads: peek. A duty is taken only when there is something for it to do,
 * so schedulers that have nothing to do write nothing.
 */
#include "scheduler/duty.h"
#include "core/clock.h"
#include "core/log.h"
#include "queries.h"
#include "scheduler/duties.h"
#include <stdio.h>
#include <string.h>

static enum result run(struct scheduler *s, const struct db_query *query, const struct db_args *args,
                       struct db_result **rows, struct error *error)
{
    return db_run(s->db, DB_TENANT_NONE, STR_NONE, query, args, s->arena, rows, error);
}

enum result duty_enter(struct scheduler *s, struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    struct db_array names;
    db_array_begin(&names, &args);
    for (const struct duty *d = duties; d->name; d++)
        db_array_text(&names, str_from(d->name));
    db_array_end(&names);
    return run(s, &query_scheduler_enter, &args, NULL, error);
}

/* *taken: the lease is ours. */
static enum result take(struct scheduler *s, const struct duty *duty, bool *taken, struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    struct db_result *rows;
    db_arg_cstr(&args, duty->name);
    db_arg_cstr(&args, s->holder);
    db_arg_int(&args, DUTY_LEASE_MS);
    enum result code = run(s, &query_scheduler_take, &args, &rows, error);
    *taken = code == RESULT_OK && db_rows(rows) == 1;
    return code;
}

/* *kept: it is still ours. */
static enum result renew(struct scheduler *s, const struct duty *duty, bool *kept, struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    struct db_result *rows;
    db_arg_cstr(&args, duty->name);
    db_arg_cstr(&args, s->holder);
    db_arg_int(&args, DUTY_LEASE_MS);
    enum result code = run(s, &query_scheduler_renew, &args, &rows, error);
    *kept = code == RESULT_OK && db_rows(rows) == 1;
    return code;
}

/* failure NULL: it went well. If this fails the lease runs out by itself. */
static enum result give_back(struct scheduler *s, const struct duty *duty, int rest_ms, const char *failure,
                             struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    db_arg_cstr(&args, duty->name);
    db_arg_cstr(&args, s->holder);
    db_arg_int(&args, rest_ms);
    db_arg_cstr(&args, failure);
    return run(s, &query_scheduler_give_back, &args, NULL, error);
}

/* Steps until there is nothing more, the slice is over, or one failed. */
static enum result run_slice(struct scheduler *s, const struct duty *duty, const volatile bool *stop,
                             bool *more, struct error *error)
{
    int64_t began_ms = clock_mono_ms(), leased_ms = began_ms;
    enum result code;
    do {
        bool kept = true;
        *more = false;
        arena_reset(s->arena);
        if (clock_mono_ms() - leased_ms > DUTY_LEASE_MS / 2) {
            leased_ms = clock_mono_ms();
            code = renew(s, duty, &kept, error);
            if (code != RESULT_OK || !kept)
                return code;
        }
        code = duty->step(s, more, error);
    } while (code == RESULT_OK && *more && !*stop && clock_mono_ms() - began_ms < DUTY_SLICE_MS);
    return code;
}

static void measure(struct scheduler *s, const struct duty *duty, int64_t began_us, bool failed)
{
    char label[64];
    snprintf(label, sizeof label, "duty=\"%s\"", duty->name);
    metrics_observe(s->metrics, METRIC_DUTY_SECONDS, label, (double)(clock_now_us() - began_us) / 1e6);
    if (failed)
        metrics_count(s->metrics, METRIC_DUTY_FAILURES, label, 1);
}

/* How long a duty that has failed so often in a row rests: with jitter, so that schedulers don't meet again.
 */
static int backoff_ms(int failures)
{
    int64_t most = (int64_t)DUTY_BACKOFF_MS << (failures < 8 ? failures - 1 : 7);
    if (most > DUTY_BACKOFF_MS_MAX)
        most = DUTY_BACKOFF_MS_MAX;
    return (int)(most / 2 + clock_jitter((uint32_t)(most / 2) + 1));
}

static enum result do_duty(struct scheduler *s, const struct duty *duty, const volatile bool *stop,
                           bool *busy, struct error *error)
{
    int *failures = &s->failures[duty - duties];
    int64_t began_us = clock_now_us();
    struct error why = {0};
    bool taken, more = false;
    arena_reset(s->arena);
    enum result code = take(s, duty, &taken, error);
    if (code != RESULT_OK || !taken)
        return code;
    code = run_slice(s, duty, stop, &more, &why);
    measure(s, duty, began_us, code != RESULT_OK);
    arena_reset(s->arena);
    if (code == RESULT_OK) {
        *failures = 0;
        *busy |= more;
        return give_back(s, duty, more ? 0 : duty->every_ms, NULL, error);
    }
    ++*failures;
    log_warning("duty failed", LOG_TEXT("duty", duty->name), LOG_TEXT("reason", why.text),
                LOG_INT("failures", *failures));
    enum result gave = give_back(s, duty, backoff_ms(*failures), why.text, error);
    if (code != RESULT_OFFLINE)
        return gave;
    if (error)
        *error = why;
    return code;
}

static const struct duty *find_duty(struct str name)
{
    for (const struct duty *d = duties; d->name; d++)
        if (str_is(name, d->name))
            return d;
    return NULL;
}

enum result duty_turn(struct scheduler *s, const volatile bool *stop, bool *busy, struct error *error)
{
    const struct duty *todo[DUTIES_MAX];
    struct db_result *rows;
    int count = 0;
    *busy = false;
    arena_reset(s->arena);
    enum result code = run(s, &query_scheduler_peek, NULL, &rows, error);
    if (code != RESULT_OK)
        return code;
    for (int row = 0; row < db_rows(rows) && count < DUTIES_MAX; row++) {
        todo[count] = find_duty(db_text(rows, row, 0)); /* NULL: a duty of a newer release */
        count += todo[count] != NULL;
    }
    for (int i = 0; i < count && code == RESULT_OK && !*stop; i++)
        code = do_duty(s, todo[i], stop, busy, error);
    return code;
}
