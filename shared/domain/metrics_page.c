/*
 * The page that Prometheus reads: sums of all processes from the table, gauges of those that live, depths of
 * the queue. Rows come ordered by name, so each metric is one block with its HELP and TYPE.
 */
#include "domain/metrics.h"
#include "domain/metrics_private.h"
#include "queries.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {"counter", "gauge", "histogram"};

static void write_block_head(struct buf *out, const char *name, const char *help, const char *type)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static const struct metrics_row *row_named(struct str name)
{
    for (int m = 0; m < METRICS; m++)
        if (str_is(name, metrics_rows[m].name))
            return &metrics_rows[m];
    return NULL;
}

/* {labels,program="…",process="…",le="…"} with what there is. */
static void write_labels(struct buf *out, struct str labels, struct str program, struct str process,
                         const char *le)
{
    buf_printf(out, "{" STR_FMT "%sprogram=\"" STR_FMT "\"", STR_ARG(labels), labels.bytes > 0 ? "," : "",
               STR_ARG(program));
    if (process.bytes > 0)
        buf_printf(out, ",process=\"" STR_FMT "\"", STR_ARG(process));
    if (le != NULL)
        buf_printf(out, ",le=\"%s\"", le);
    buf_add_char(out, '}');
}

/* amounts: counts of the buckets, then the sum. */
static void write_histogram(struct buf *out, const char *name, struct str labels, struct str program,
                            struct str amounts)
{
    double total = 0;
    struct str rest = amounts;
    for (int b = 0; b < METRICS_BUCKETS; b++) {
        char bound[24] = "+Inf";
        if (b < METRICS_BUCKETS - 1)
            snprintf(bound, sizeof bound, "%g", metrics_bounds[b]);
        total += strtod(str_cut(rest, ' ', &rest).data, NULL);
        buf_printf(out, "%s_bucket", name);
        write_labels(out, labels, program, STR_NONE, bound);
        buf_printf(out, " %.15g\n", total);
    }
    buf_printf(out, "%s_sum", name);
    write_labels(out, labels, program, STR_NONE, NULL);
    buf_printf(out, " " STR_FMT "\n%s_count", STR_ARG(rest), name);
    write_labels(out, labels, program, STR_NONE, NULL);
    buf_printf(out, " %.15g\n", total);
}

static void write_series(struct buf *out, const struct db_result *rows)
{
    const struct metrics_row *last = NULL;
    for (int r = 0; r < db_rows(rows); r++) {
        const struct metrics_row *row = row_named(db_text(rows, r, 0));
        if (row == NULL) /* of a newer version */
            continue;
        if (row != last)
            write_block_head(out, row->name, row->help, type_names[row->kind]);
        last = row;
        struct str labels = db_text(rows, r, 1), program = db_text(rows, r, 2), amounts = db_text(rows, r, 4);
        if (row->kind == METRICS_HISTOGRAM) {
            write_histogram(out, row->name, labels, program, amounts);
            continue;
        }
        buf_add_text(out, row->name);
        write_labels(out, labels, program, db_text(rows, r, 3), NULL);
        buf_printf(out, " " STR_FMT "\n", STR_ARG(amounts));
    }
}

/* Columns of metrics_queue: channel, ready, scheduled, leased, dead, age of the oldest. */
static void write_queue(struct buf *out, const struct db_result *rows)
{
    static const char *const states[] = {"ready", "scheduled", "leased", "dead"};
    write_block_head(out, "belfry_queue_deliveries", "Deliveries in the queue, by channel and state.",
                     "gauge");
    for (int r = 0; r < db_rows(rows); r++)
        for (int s = 0; s < 4; s++)
            buf_printf(out, "belfry_queue_deliveries{channel=\"" STR_FMT "\",state=\"%s\"} %lld\n",
                       STR_ARG(db_text(rows, r, 0)), states[s], (long long)db_int(rows, r, 1 + s));
    write_block_head(out, "belfry_queue_oldest_ready_seconds", "Age of the oldest delivery that may run now.",
                     "gauge");
    for (int r = 0; r < db_rows(rows); r++)
        buf_printf(out, "belfry_queue_oldest_ready_seconds{channel=\"" STR_FMT "\"} " STR_FMT "\n",
                   STR_ARG(db_text(rows, r, 0)), STR_ARG(db_text(rows, r, 5)));
}

enum result metrics_write(struct db *db, struct arena *arena, struct buf *out, struct error *error)
{
    enum result result = db_begin(db, DB_TENANT_NONE, STR_NONE, error);
    if (result != RESULT_OK)
        return result;
    struct db_args none = DB_ARGS(arena);
    struct db_result *const *results;
    int count;
    if ((result = db_queue(db, &query_metrics_read, &none, error)) != RESULT_OK ||
        (result = db_queue(db, &query_metrics_queue, &none, error)) != RESULT_OK) {
        db_abandon(db);
        return result;
    }
    result = db_finish(db, arena, &results, &count, NULL, error);
    if (result != RESULT_OK)
        return result;
    write_series(out, results[0]);
    write_queue(out, results[1]);
    return buf_ok(out) ? RESULT_OK : error_set(error, RESULT_FAILED, "no memory for the metrics");
}
