#ifndef BELFRY_HANDLERS_ROUTE_H
#define BELFRY_HANDLERS_ROUTE_H
/*
 * The route table is the policy: method, path, who may, with which scope, how long the body may be, which
 * parameters and members there are, which rate class, which pool, and the function that answers.
 * route_dispatch() checks all of it before the function runs, so that no function can forget.
 *
 * To add a resource: a file for it with its field tables and functions, its rows in routes.c, its paths in
 * www/openapi.json.
 *
 *     enum result inbox_list(struct call *call)
 *     {
 *         int64_t limit = call->query[INBOX_LIST_LIMIT].number;
 *         struct db *db;
 *         enum result result = call_begin(call, &db);
 *         if (result != RESULT_OK)
 *             return result;
 *         … db_queue(db, …, &call->error), db_finish(db, call->arena, …, &call->error) …
 *         struct buf *out = response_json(call->response, 200);
 *         json_open(out, '{'); …
 *         return RESULT_OK;
 *     }
 *
 * A function returns RESULT_OK when the response is filled. Any other result becomes a problem with the
 * sentence in call->error: INVALID 422 (400 if only parameters are at fault), MISSING 404, CONFLICT 409,
 * FORBIDDEN 403, BUSY and OFFLINE 503 with Retry-After, FAILED 500 (its sentence is logged and not shown).
 * Faults in call->faults go along. For another problem: `return call_problem(call,
 * PROBLEM_IDEMPOTENCY_MISMATCH, "…")`.
 */
#include "core/arena.h"
#include "core/error.h"
#include "domain/auth.h"
#include "handlers/app.h"
#include "handlers/request.h"
#include "handlers/response.h"
#include "io/db.h"
#include "io/redis.h"
#include <jansson.h>

struct call;
typedef enum result route_function(struct call *call);

enum route_who {
    ROUTE_SERVICE = 1, /* an app key with `scope` */
    ROUTE_USER = 2,    /* a user's token */
    ROUTE_TICKET = 4,  /* ?ticket= instead of a header (streams) */
    ROUTE_ANYONE = 8   /* no credentials looked at */
};
enum route_rate { RATE_DEFAULT, RATE_NONE };
enum route_pool { POOL_READERS, POOL_WRITERS };
/* For metrics: latency histograms are kept by kind. */
enum route_kind { KIND_OTHER, KIND_SEND, KIND_READ, KIND_WRITE, KIND_POLL, KIND_STREAM, KINDS };

struct route {
    enum method method;
    const char *path; /* "/api/v1/users/{user}/devices/{id}" */
    unsigned who;     /* of enum route_who */
    unsigned scope;   /* of enum auth_scope, all needed; 0 for users */
    enum route_kind kind;
    enum route_pool pool;
    enum route_rate rate;
    const struct field *query; /* the parameters; NULL = takes none */
    const struct field *body;  /* the members; NULL = takes no body (an empty one or `{}` passes) */
    size_t body_bytes_max;     /* 0 = LIMIT_BODY_BYTES if there is a body */
    route_function *run;
};
extern const struct route routes_all[]; /* in routes.c; ended by a row without run */
/* As a route's body: any JSON object, whose members the function checks itself (call->tree). */
extern const struct field route_any_body[];

/* What a thread brings along for all its requests. */
struct route_thread {
    struct app *app;
    struct arena *arena; /* reset between requests */
    struct redis *redis;
};

/* One request on its way. */
struct call {
    struct app *app;
    const struct route *route;
    struct request *request;
    struct response *response;
    struct arena *arena; /* of the request */
    struct redis *redis; /* this thread's connection */
    struct auth_identity identity;
    struct field_value *query; /* by the route's table */
    struct field_value *body;  /* by the route's table */
    const json_t *tree;        /* the body itself, an object; NULL without */
    struct faults faults;
    struct error error;
    struct db *db;    /* taken by call_db(), given back by route_dispatch() */
    void *connection; /* the front end's, for park; NULL where nothing can be parked (plain CGI) */
    char feeds[256];  /* with a ticket: the feeds that it names */
    int64_t started_us;
};

/* A connection of the route's pool, until the function returns. RESULT_BUSY if none came free within a
 * second. */
enum result call_db(struct call *call, struct db **db) MUST_CHECK;
/* call_db() and db_begin() as the caller (tenant; user, or "*" for a service). */
enum result call_begin(struct call *call, struct db **db) MUST_CHECK;
/* The same as another user of the caller's tenant, where a service acts for one. */
enum result call_begin_as(struct call *call, struct str user, struct db **db) MUST_CHECK;
/* One statement as the caller, in its own transaction; a result that was in the way is in call->error. */
enum result call_run(struct call *call, const struct db_query *query, const struct db_args *args,
                     struct db_result **rows) MUST_CHECK;
/* Fills the response with a problem and returns RESULT_OK, as a route_function does. */
enum result call_problem(struct call *call, enum problem problem, const char *format, ...) PRINTF_LIKE(3, 4);
/* A path parameter: request_param(call->request, name). */
struct str call_param(const struct call *call, const char *name);
const struct uuid *call_param_uuid(const struct call *call, const char *name);

/* Answers one request of which request_from_cgi() returned RESULT_OK: fills response (or takes the connection
 * away, response->taken). reader gives the body. routes is routes_all, or a test's own table. */
void route_dispatch(struct route_thread *thread, const struct route *routes, struct request *request,
                    struct response *response, request_reader *reader, void *connection);

#endif
