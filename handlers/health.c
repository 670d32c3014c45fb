/* Health and metrics. Readiness asks PostgreSQL and Redis themselves: a remembered answer could be old. */
#include "handlers/health.h"
#include "core/limits.h"
#include "domain/metrics.h"
#include "format/json.h"
#include "queries.h"
#include <string.h>

enum { READY_WAIT_MS = 500 };

enum result health_live(struct call *call)
{
    buf_add_text(response_json(call->response, 200), "{\"status\":\"ok\"}");
    return RESULT_OK;
}

static bool database_answers(struct call *call)
{
    struct db *db = db_pool_take(call->app->readers, READY_WAIT_MS);
    if (db == NULL)
        return false;
    struct db_args none = DB_ARGS(call->arena);
    struct db_result *rows;
    struct error error = {0};
    bool answers = db_run(db, DB_TENANT_NONE, STR_NONE, &query_health_ping, &none, call->arena, &rows,
                          &error) == RESULT_OK;
    db_pool_give(call->app->readers, db);
    return answers;
}

static bool redis_answers(struct call *call)
{
    const struct str ping[] = {STR("PING")};
    struct redis_reply **replies;
    struct error error = {0};
    int count;
    return redis_queue(call->redis, 1, ping) == RESULT_OK &&
           redis_finish(call->redis, call->arena, &replies, &count, &error) == RESULT_OK &&
           redis_kind(replies[0]) == REDIS_TEXT;
}

/* Without Redis everything works, only slower: degraded is still ready. */
enum result health_ready(struct call *call)
{
    bool database = database_answers(call);
    bool redis = redis_answers(call);
    struct buf *out = response_json(call->response, database ? 200 : 503);
    if (!database)
        response_header_int(call->response, "Retry-After", 2);
    json_open(out, '{');
    json_key(out, "status");
    json_text(out, !database ? STR("unavailable") : redis ? STR("ready") : STR("degraded"));
    json_key(out, "database");
    json_bool(out, database);
    json_key(out, "redis");
    json_bool(out, redis);
    json_close(out, '}');
    return RESULT_OK;
}

enum result health_check_durability(struct db_pool *pool, struct arena *arena, struct error *error)
{
    struct db *db = db_pool_take(pool, READY_WAIT_MS);
    if (db == NULL)
        return error_set(error, RESULT_BUSY, "All database connections are in use.");
    struct db_args none = DB_ARGS(arena);
    struct db_result *rows;
    enum result result =
        db_run(db, DB_TENANT_NONE, STR_NONE, &query_health_durability, &none, arena, &rows, error);
    if (result == RESULT_OK && !db_bool(rows, 0, 0))
        result = error_set(error, RESULT_INVALID,
                           "the database runs with fsync off: it would lose what it accepted");
    else if (result == RESULT_OK && !db_bool(rows, 0, 1))
        result = error_set(error, RESULT_INVALID,
                           "the database runs with synchronous_commit off: it would lose what it accepted");
    db_pool_give(pool, db);
    return result;
}

/* ---- metrics ---- */

static bool is_loopback(struct str address)
{
    return str_starts(address, "127.") || str_is(address, "::1") || str_starts(address, "::ffff:127.");
}

/* With a token only by the token; without one only from this machine. */
static bool may_read_metrics(struct call *call)
{
    const char *token = call->app->config->metrics_token;
    if (token[0] == '\0') {
        if (is_loopback(call->request->remote))
            return true;
        (void)call_problem(call, PROBLEM_FORBIDDEN, "Metrics are shown to this machine only.");
        return false;
    }
    struct str given = request_header(call->request, HEADER_AUTHORIZATION), expected = str_from(token);
    if (str_starts(given, "Bearer ")) {
        given = (struct str){given.data + 7, given.bytes - 7};
        if (given.bytes == expected.bytes && crypto_equal(given.data, expected.data, given.bytes))
            return true;
    }
    response_header(call->response, "WWW-Authenticate", STR("Bearer realm=\"belfry metrics\""));
    (void)call_problem(call, PROBLEM_UNAUTHORIZED, "Metrics need their token.");
    return false;
}

enum result health_metrics(struct call *call)
{
    if (!may_read_metrics(call))
        return RESULT_OK;
    struct db *db;
    enum result result = call_db(call, &db);
    if (result != RESULT_OK)
        return result;
    response_text(call->response, 200, "text/plain; version=0.0.4; charset=utf-8", STR(""));
    return metrics_write(db, call->arena, &call->response->body, &call->error);
}
