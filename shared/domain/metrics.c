/*
 * Counting in memory: one small table of series under a mutex, each found by metric and labels. A flush takes
 * the changes out, writes them, and puts them back if that failed.
 */
#include "domain/metrics.h"
#include "core/clock.h"
#include "core/log.h"
#include "domain/metrics_private.h"
#include "format/text.h"
#include "queries.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES_MAX = 1024, FORGET_GAUGES_S = 60 };

const double metrics_bounds[METRICS_BUCKETS - 1] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                    0.25,  0.5,    1,     2.5,  5,     10,   30};

const struct metrics_row metrics_rows[METRICS] = {
    [METRIC_START] = {"belfry_process_start_time_seconds", METRICS_GAUGE,
                      "When the process started, as Unix time."},
    [METRIC_REQUESTS] = {"belfry_requests_total", METRICS_COUNTER,
                         "Requests answered, by kind of route and status."},
    [METRIC_REQUEST_SECONDS] = {"belfry_request_duration_seconds", METRICS_HISTOGRAM,
                                "Time to answer a request, or to park it, by kind of route."},
    [METRIC_PARKED] = {"belfry_parked_requests", METRICS_GAUGE, "Polls and streams that wait for news."},
    [METRIC_WAITS] = {"belfry_waits_total", METRICS_COUNTER,
                      "Waiting polls and streams that ended, by reason."},
    [METRIC_WAKE_SECONDS] = {"belfry_wake_duration_seconds", METRICS_HISTOGRAM,
                             "From the arrival of a wake to the last byte of its answers."},
    [METRIC_ATTEMPTS] = {"belfry_attempts_total", METRICS_COUNTER,
                         "Attempts at deliveries, by provider and outcome."},
    [METRIC_ATTEMPT_SECONDS] = {"belfry_attempt_duration_seconds", METRICS_HISTOGRAM,
                                "Duration of the transfer to a provider."},
    [METRIC_DELIVERY_SECONDS] = {"belfry_delivery_delay_seconds", METRICS_HISTOGRAM,
                                 "From the time a delivery was ready to its success."},
    [METRIC_IN_FLIGHT] = {"belfry_transfers_in_flight", METRICS_GAUGE, "Transfers to providers in progress."},
    [METRIC_LEASES_LOST] = {"belfry_leases_lost_total", METRICS_COUNTER,
                            "Deliveries taken back from workers that stopped renewing."},
    [METRIC_DEAD_LETTERS] = {"belfry_dead_letters_total", METRICS_COUNTER,
                             "Deliveries that became dead letters."},
    [METRIC_DUTY_SECONDS] = {"belfry_duty_duration_seconds", METRICS_HISTOGRAM,
                             "Duration of the scheduler's duties."},
    [METRIC_DUTY_FAILURES] = {"belfry_duty_failures_total", METRICS_COUNTER,
                              "Duties of the scheduler that failed."},
    [METRIC_SENDS] = {"belfry_notifications_total", METRICS_COUNTER, "Notifications accepted, by result."},
};

struct series {
    enum metric metric;
    bool changed;
    char *labels;
    int amount_count;
    double amounts[]; /* one; of a histogram METRICS_BUCKETS and the sum */
};

struct metrics {
    pthread_mutex_t lock;
    const char *program;
    char process[UUID_TEXT_BYTES + 1];
    bool overflowed;
    int count;
    struct series *series[SERIES_MAX];
};

struct metrics *metrics_create(const char *program)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics == NULL)
        return NULL;
    pthread_mutex_init(&metrics->lock, NULL);
    metrics->program = program;
    struct uuid id = uuid_new();
    uuid_text(&id, metrics->process);
    metrics_gauge(metrics, METRIC_START, "", (double)clock_now_us() / 1e6);
    return metrics;
}

void metrics_destroy(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (int i = 0; i < metrics->count; i++) {
        free(metrics->series[i]->labels);
        free(metrics->series[i]);
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static struct series *series_create(enum metric metric, const char *labels)
{
    int amounts = metrics_rows[metric].kind == METRICS_HISTOGRAM ? METRICS_BUCKETS + 1 : 1;
    struct series *series = calloc(1, sizeof *series + (size_t)amounts * sizeof *series->amounts);
    if (series == NULL)
        return NULL;
    series->metric = metric;
    series->amount_count = amounts;
    series->labels = strdup(labels);
    if (series->labels == NULL) {
        free(series);
        return NULL;
    }
    return series;
}

/* A process has a few dozen series, and the busy ones are made first: walking them is quick. */
static struct series *series_find(struct metrics *metrics, enum metric metric, const char *labels)
{
    for (int i = 0; i < metrics->count; i++)
        if (metrics->series[i]->metric == metric && strcmp(metrics->series[i]->labels, labels) == 0)
            return metrics->series[i];
    if (metrics->count == SERIES_MAX) {
        if (!metrics->overflowed)
            log_warning("too many series of metrics", LOG_TEXT("metric", metrics_rows[metric].name));
        metrics->overflowed = true;
        return NULL;
    }
    struct series *series = series_create(metric, labels);
    if (series != NULL)
        metrics->series[metrics->count++] = series;
    return series;
}

static void change(struct metrics *metrics, enum metric metric, const char *labels, double amount,
                   bool replace)
{
    if (metrics == NULL)
        return;
    pthread_mutex_lock(&metrics->lock);
    struct series *series = series_find(metrics, metric, labels);
    if (series != NULL) {
        series->amounts[0] = replace ? amount : series->amounts[0] + amount;
        series->changed = true;
    }
    pthread_mutex_unlock(&metrics->lock);
}

void metrics_count(struct metrics *metrics, enum metric metric, const char *labels, double amount)
{
    change(metrics, metric, labels, amount, false);
}

void metrics_gauge(struct metrics *metrics, enum metric metric, const char *labels, double value)
{
    change(metrics, metric, labels, value, true);
}

void metrics_observe(struct metrics *metrics, enum metric metric, const char *labels, double seconds)
{
    if (metrics == NULL)
        return;
    int bucket = 0;
    while (bucket < METRICS_BUCKETS - 1 && seconds > metrics_bounds[bucket])
        bucket++;
    pthread_mutex_lock(&metrics->lock);
    struct series *series = series_find(metrics, metric, labels);
    if (series != NULL) {
        series->amounts[bucket] += 1;
        series->amounts[METRICS_BUCKETS] += seconds;
        series->changed = true;
    }
    pthread_mutex_unlock(&metrics->lock);
}

/* ---- flush ---- */

/* Changes taken out of the table: what is being written, and comes back if that fails. */
struct taken {
    struct series *series;
    double *amounts;
};

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

/* Gauges stay and are written each time, so that their row shows that the process lives. */
static struct taken *take_changes(struct metrics *metrics, struct arena *arena, int *count)
{
    *count = 0;
    pthread_mutex_lock(&metrics->lock);
    struct taken *taken = arena_array(arena, (size_t)metrics->count + 1, sizeof *taken);
    for (int i = 0; taken != NULL && i < metrics->count; i++) {
        struct series *series = metrics->series[i];
        bool is_gauge = metrics_rows[series->metric].kind == METRICS_GAUGE;
        size_t bytes = (size_t)series->amount_count * sizeof *series->amounts;
        double *amounts = !series->changed && !is_gauge ? NULL : arena_alloc(arena, bytes);
        if (amounts == NULL)
            continue;
        memcpy(amounts, series->amounts, bytes);
        if (!is_gauge)
            memset(series->amounts, 0, bytes);
        series->changed = false;
        taken[(*count)++] = (struct taken){series, amounts};
    }
    pthread_mutex_unlock(&metrics->lock);
    return taken;
}

static void put_back(struct metrics *metrics, const struct taken *taken, int count)
{
    pthread_mutex_lock(&metrics->lock);
    for (int i = 0; i < count; i++) {
        struct series *series = taken[i].series;
        if (metrics_rows[series->metric].kind == METRICS_GAUGE)
            continue;
        for (int a = 0; a < series->amount_count; a++)
            series->amounts[a] += taken[i].amounts[a];
        series->changed = true;
    }
    pthread_mutex_unlock(&metrics->lock);
}

static void add_array(struct db_args *args, const struct taken *taken, int count,
                      struct str (*text)(const struct taken *))
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < count; i++)
        db_array_text(&array, text(&taken[i]));
    db_array_end(&array);
}

static struct str name_of(const struct taken *taken)
{
    return str_from(metrics_rows[taken->series->metric].name);
}
static struct str labels_of(const struct taken *taken)
{
    return str_from(taken->series->labels);
}
static struct str kind_of(const struct taken *taken)
{
    return str_from(kind_names[metrics_rows[taken->series->metric].kind]);
}

static void add_amounts(struct db_args *args, const struct taken *taken, int count)
{
    struct db_array array;
    struct buf text = BUF_INIT(4096);
    db_array_begin(&array, args);
    for (int i = 0; i < count; i++) {
        buf_clear(&text);
        for (int a = 0; a < taken[i].series->amount_count; a++)
            buf_printf(&text, "%c%.9g", a == 0 ? '{' : ',', taken[i].amounts[a]);
        buf_add_char(&text, '}');
        db_array_text(&array, buf_str(&text));
    }
    db_array_end(&array);
    buf_free(&text);
}

static enum result write_changes(struct metrics *metrics, struct db *db, struct arena *arena, bool leave,
                                 const struct taken *taken, int count, int *processes, struct error *error)
{
    enum result result = db_begin(db, DB_TENANT_NONE, STR_NONE, error);
    if (result != RESULT_OK)
        return result;
    struct db_args add = DB_ARGS(arena), forget = DB_ARGS(arena), own = DB_ARGS(arena), live = DB_ARGS(arena);
    db_arg_cstr(&add, metrics->program);
    db_arg_cstr(&add, metrics->process);
    add_array(&add, taken, count, name_of);
    add_array(&add, taken, count, labels_of);
    add_array(&add, taken, count, kind_of);
    add_amounts(&add, taken, count);
    db_arg_int(&forget, FORGET_GAUGES_S);
    db_arg_cstr(&own, metrics->program);
    db_arg_cstr(&own, metrics->process);
    db_arg_cstr(&live, metrics->program);
    struct db_result *const *results;
    int result_count;
    if ((result = db_queue(db, &query_metrics_add, &add, error)) != RESULT_OK ||
        (result = leave ? db_queue(db, &query_metrics_leave, &own, error)
                        : db_queue(db, &query_metrics_forget, &forget, error)) != RESULT_OK ||
        (result = db_queue(db, &query_metrics_processes, &live, error)) != RESULT_OK) {
        db_abandon(db);
        return result;
    }
    result = db_finish(db, arena, &results, &result_count, NULL, error);
    if (result == RESULT_OK && processes != NULL)
        *processes = (int)db_int(results[2], 0, 0);
    return result;
}

static enum result flush(struct metrics *metrics, struct db *db, struct arena *arena, bool leave,
                         int *processes, struct error *error)
{
    if (metrics == NULL)
        return RESULT_OK;
    int count;
    struct taken *taken = take_changes(metrics, arena, &count);
    if (taken == NULL)
        return error_set(error, RESULT_FAILED, "no memory to write metrics");
    enum result result = write_changes(metrics, db, arena, leave, taken, count, processes, error);
    if (result != RESULT_OK)
        put_back(metrics, taken, count);
    return result;
}

enum result metrics_flush(struct metrics *metrics, struct db *db, struct arena *arena, int *processes,
                          struct error *error)
{
    return flush(metrics, db, arena, false, processes, error);
}

enum result metrics_leave(struct metrics *metrics, struct db *db, struct arena *arena, struct error *error)
{
    return flush(metrics, db, arena, true, NULL, error);
}
