/*
 * Moving ids of deliveries between the queue's tables; the statements are in sql/queries/queue.sql. The
 * worker's own statements (claim, start, settle) are queued by worker/claim.c and worker/settle.c, for they
 * are not waited for.
 */
#include "domain/queue.h"
#include "queries.h"
#include <stdio.h>

enum {
    LOST_MAX = 3,      /* times alone, after the first one in company */
    COMPACT_LEAST = 16 /* rows of one tenant and channel that are worth a rewrite */
};

/* ---- wakes ---- */

void queue_wake(struct redis *redis, int tenant, const struct str *channels, int count)
{
    struct arena *arena = redis ? arena_create(16384) : NULL;
    if (!arena)
        return;
    int queued = 0;
    for (int i = 0; i < count; i++) {
        char *payload = arena_printf(arena, STR_FMT " %d", STR_ARG(channels[i]), tenant);
        const struct str words[] = {STR("PUBLISH"), STR(QUEUE_WAKE_CHANNEL), str_from(payload)};
        if (payload && redis_queue(redis, 3, words) == RESULT_OK)
            queued++;
    }
    struct redis_reply **replies;
    if (queued)
        (void)!redis_finish(redis, arena, &replies, &count, NULL); /* unheard, workers look for themselves */
    arena_destroy(arena);
}

bool queue_wake_parse(struct str payload, struct str *channel, int *tenant)
{
    struct str rest;
    long long number;
    *channel = str_cut(payload, ' ', &rest);
    if (channel->bytes == 0 || !str_to_int(rest, 1, INT32_MAX, &number))
        return false;
    *tenant = (int)number;
    return true;
}

/* ---- duties ---- */

static enum result run(struct db *db, const struct db_query *query, const struct db_args *args,
                       struct arena *arena, struct db_result **result, struct error *error)
{
    return db_run(db, DB_TENANT_NONE, STR_NONE, query, args, arena, result, error);
}

enum result queue_recover(struct db *db, struct arena *arena, int limit, int *recovered, struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    struct db_result *result;
    db_arg_int(&args, limit);
    db_arg_int(&args, LOST_MAX);
    enum result code = run(db, &query_queue_recover, &args, arena, &result, error);
    *recovered = code == RESULT_OK ? (int)db_int(result, 0, 0) : 0;
    return code;
}

enum result queue_promote(struct db *db, struct arena *arena, int limit, int *promoted, int *next_ms,
                          struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    struct db_result *result;
    db_arg_int(&args, limit);
    enum result code = run(db, &query_queue_promote, &args, arena, &result, error);
    *promoted = code == RESULT_OK ? (int)db_int(result, 0, 0) : 0;
    *next_ms = code == RESULT_OK && !db_is_null(result, 0, 1) ? (int)db_int(result, 0, 1) : 60000;
    return code;
}

enum result queue_release(struct db *db, struct arena *arena, int limit, int *released, struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    struct db_result *result;
    db_arg_int(&args, limit);
    enum result code = run(db, &query_queue_release, &args, arena, &result, error);
    *released = code == RESULT_OK ? (int)db_int(result, 0, 0) : 0;
    return code;
}

enum result queue_compact(struct db *db, struct arena *arena, int limit, int *removed, struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    struct db_result *result;
    db_arg_int(&args, limit);
    db_arg_int(&args, COMPACT_LEAST);
    enum result code = run(db, &query_queue_compact, &args, arena, &result, error);
    *removed = code == RESULT_OK ? (int)db_int(result, 0, 0) : 0;
    return code;
}

/* ---- looking ---- */

enum result queue_depths(struct db *db, int tenant, struct arena *arena, struct queue_depth **depths,
                         int *count, struct error *error)
{
    struct db_result *result;
    *count = 0;
    enum result code = db_run(db, tenant, tenant == DB_TENANT_NONE ? STR_NONE : STR("*"), &query_queue_depths,
                              NULL, arena, &result, error);
    if (code != RESULT_OK)
        return code;
    *depths = arena_array(arena, (size_t)db_rows(result) + 1, sizeof **depths);
    if (!*depths)
        return error_set(error, RESULT_FAILED, "could not read the depths of the queue: no memory");
    for (int i = 0; i < db_rows(result); i++)
        (*depths)[(*count)++] = (struct queue_depth){.tenant = tenant,
                                                     .channel = arena_str(arena, db_text(result, i, 0)),
                                                     .ready = db_int(result, i, 1),
                                                     .scheduled = db_int(result, i, 2),
                                                     .leased = db_int(result, i, 3),
                                                     .dead = db_int(result, i, 4),
                                                     .oldest_ready_s = db_int(result, i, 5)};
    return RESULT_OK;
}

/* ---- dead letters ---- */

enum result queue_replay(struct db *db, int tenant, const struct uuid *notification, int n,
                         struct arena *arena, struct str *channel, struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    struct db_result *result;
    db_arg_uuid(&args, notification);
    db_arg_int(&args, n);
    enum result code = db_run(db, tenant, STR("*"), &query_queue_replay, &args, arena, &result, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(result) == 0)
        return error_set(error, RESULT_MISSING, "there is no such dead letter");
    *channel = arena_str(arena, db_text(result, 0, 0));
    return RESULT_OK;
}

enum result queue_replay_all(struct db *db, int tenant, int limit, struct arena *arena, int *replayed,
                             struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    struct db_result *result;
    db_arg_int(&args, limit);
    enum result code = db_run(db, tenant, STR("*"), &query_queue_replay_all, &args, arena, &result, error);
    *replayed = code == RESULT_OK ? (int)db_int(result, 0, 0) : 0;
    return code;
}
