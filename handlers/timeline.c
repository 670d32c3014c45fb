/*
 * GET /notifications/{id}/timeline: what the planner decided, and every delivery with its attempts.
 *
 * A delivery has no state column: it is dead, leased or scheduled if its id is in that table; else its last
 * attempt ended it, or it is ready (nothing ended it yet, or an operator replayed it).
 */
#include "handlers/member.h"
#include "handlers/resources.h"
#include "queries.h"
#include <stdio.h>

enum { FOUND_STATUS, FOUND_DECISIONS };
enum {
    DELIVERY_N,
    DELIVERY_CHANNEL,
    DELIVERY_PROVIDER,
    DELIVERY_DEVICE,
    DELIVERY_DEAD,
    DELIVERY_LEASED,
    DELIVERY_SCHEDULED
};
enum {
    ATTEMPT_N,
    ATTEMPT_NUMBER,
    ATTEMPT_OUTCOME,
    ATTEMPT_FINAL,
    ATTEMPT_CODE,
    ATTEMPT_DETAIL,
    ATTEMPT_MESSAGE_ID,
    ATTEMPT_STARTED,
    ATTEMPT_FINISHED,
    ATTEMPT_RETRY
};

/* The state in which an attempt left its delivery. */
static const char *ended_as(const struct db_result *attempts, int row)
{
    static const char *const states[][2] = {
        {"sent", "sent"},           {"rejected", "failed"},      {"gone", "failed"},
        {"unauthorized", "failed"}, {"expired", "expired"},      {"unknown", "unknown"},
        {"cancelled", "cancelled"}, {"suppressed", "cancelled"},
    };
    struct str outcome = db_text(attempts, row, ATTEMPT_OUTCOME);
    for (size_t i = 0; db_bool(attempts, row, ATTEMPT_FINAL) && i < sizeof states / sizeof *states; i++)
        if (str_is(outcome, states[i][0]))
            return states[i][1];
    return "ready"; /* a try that ended nothing, or a dead letter that was replayed */
}

static const char *state_of(const struct db_result *deliveries, int row, const struct db_result *attempts,
                            int last)
{
    if (db_bool(deliveries, row, DELIVERY_DEAD))
        return "dead";
    if (db_bool(deliveries, row, DELIVERY_LEASED))
        return "leased";
    if (db_bool(deliveries, row, DELIVERY_SCHEDULED))
        return "scheduled";
    return last < 0 ? "ready" : ended_as(attempts, last);
}

static void write_attempt(struct buf *out, const struct db_result *rows, int row)
{
    json_open(out, '{');
    member_int(out, "number", db_int(rows, row, ATTEMPT_NUMBER));
    member_text(out, "outcome", db_text(rows, row, ATTEMPT_OUTCOME));
    member_text(out, "code", db_text(rows, row, ATTEMPT_CODE));
    member_text(out, "detail", db_text(rows, row, ATTEMPT_DETAIL));
    member_text(out, "providerMessageId", db_text(rows, row, ATTEMPT_MESSAGE_ID));
    member_time_column(out, "startedAt", rows, row, ATTEMPT_STARTED);
    member_time_column(out, "finishedAt", rows, row, ATTEMPT_FINISHED);
    member_time_column(out, "retryAt", rows, row, ATTEMPT_RETRY);
    json_close(out, '}');
}

static struct str or_none(struct str text)
{
    return text.bytes > 0 ? text : STR_NONE;
}

/* Both lists come in the order of n; *next is where this delivery's attempts begin. */
static void write_delivery(struct buf *out, const char *id, const struct db_result *deliveries, int row,
                           const struct db_result *attempts, int *next)
{
    char name[UUID_TEXT_BYTES + 16];
    int64_t n = db_int(deliveries, row, DELIVERY_N);
    while (*next < db_rows(attempts) && db_int(attempts, *next, ATTEMPT_N) < n)
        (*next)++;
    int first = *next;
    while (*next < db_rows(attempts) && db_int(attempts, *next, ATTEMPT_N) == n)
        (*next)++;
    snprintf(name, sizeof name, "%s.%lld", id, (long long)n);
    json_open(out, '{');
    member_text(out, "id", str_from(name));
    member_text(out, "channel", db_text(deliveries, row, DELIVERY_CHANNEL));
    member_text(out, "provider", or_none(db_text(deliveries, row, DELIVERY_PROVIDER)));
    member_text(out, "device", or_none(db_text(deliveries, row, DELIVERY_DEVICE)));
    member_text(out, "state", str_from(state_of(deliveries, row, attempts, *next > first ? *next - 1 : -1)));
    json_key(out, "attempts");
    json_open(out, '[');
    for (int i = first; i < *next; i++)
        write_attempt(out, attempts, i);
    json_close(out, ']');
    json_close(out, '}');
}

/* What was left out is stored as the planner wrote it; what was not is a delivery. */
static void write_decisions(struct buf *out, struct str stored, const struct db_result *deliveries)
{
    struct str inner =
        stored.bytes > 2 ? str_trim((struct str){stored.data + 1, stored.bytes - 2}) : STR_NONE;
    json_key(out, "decisions");
    json_open(out, '[');
    for (int i = 0; i < db_rows(deliveries); i++) {
        json_open(out, '{');
        member_text(out, "channel", db_text(deliveries, i, DELIVERY_CHANNEL));
        member_text(out, "device", or_none(db_text(deliveries, i, DELIVERY_DEVICE)));
        member_text(out, "decision", STR("deliver"));
        member_text(out, "reason", STR("has address"));
        json_close(out, '}');
    }
    if (inner.bytes > 0)
        json_raw(out, inner);
    json_close(out, ']');
}

static void write_timeline(struct buf *out, const struct uuid *id, struct db_result *const *results)
{
    char text[UUID_TEXT_BYTES + 1];
    int next = 0;
    uuid_text(id, text);
    json_open(out, '{');
    member_text(out, "id", str_from(text));
    member_text(out, "status", db_text(results[0], 0, FOUND_STATUS));
    write_decisions(out, db_text(results[0], 0, FOUND_DECISIONS), results[1]);
    json_key(out, "deliveries");
    json_open(out, '[');
    for (int i = 0; i < db_rows(results[1]); i++)
        write_delivery(out, text, results[1], i, results[2], &next);
    json_close(out, ']');
    json_close(out, '}');
}

enum result timeline_get(struct call *call)
{
    static const struct db_query *const queries[] = {&query_timeline_notification, &query_timeline_deliveries,
                                                     &query_timeline_attempts};
    const struct uuid *id = call_param_uuid(call, "id");
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *const *results = NULL;
    struct db *db;
    int count = 0;
    db_arg_uuid(&args, id);
    enum result result = call_begin_as(call, STR("*"), &db);
    for (size_t i = 0; i < sizeof queries / sizeof *queries && result == RESULT_OK; i++)
        result = db_queue(db, queries[i], &args, &call->error);
    if (result == RESULT_OK)
        result = db_finish(db, call->arena, &results, &count, NULL, &call->error);
    if (result != RESULT_OK)
        return result;
    if (db_rows(results[0]) == 0)
        return error_set(&call->error, RESULT_MISSING, "There is no such notification.");
    write_timeline(response_json(call->response, 200), id, results);
    return RESULT_OK;
}
