/*
 * From a request to its answer: find the route, preflight, who asks, how often, what with, run, and a problem
 * for whatever went wrong. Each step returns false when it has filled the response, and then nothing follows.
 */
#include "handlers/route.h"
#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "domain/metrics.h"
#include "domain/throttle.h"
#include "format/json.h"
#include <stdarg.h>
#include <stdio.h>

enum { DB_WAIT_MS = 1000, EMPTY_BODY_BYTES_MAX = 64, PREFLIGHT_AGE_S = 600, RETRY_AFTER_S = 2 };

/* ---- find ---- */

static bool method_fits(const struct call *call, const struct route *route)
{
    enum method method = call->request->method;
    return route->method == method || (method == METHOD_HEAD && route->method == METHOD_GET);
}

/* The methods that exist for this path, as Allow lists them; "" if there are none. */
static const char *allowed_methods(struct call *call, const struct route *routes)
{
    bool allowed[METHODS] = {false};
    bool any = false;
    for (const struct route *route = routes; route->run != NULL; route++)
        if (request_match(call->request, route->path, NULL))
            any = allowed[route->method] = true;
    if (!any)
        return "";
    allowed[METHOD_HEAD] = allowed[METHOD_GET];
    allowed[METHOD_OPTIONS] = true;
    struct buf list = BUF_INIT(128);
    for (int m = 0; m < METHOD_OTHER; m++)
        if (allowed[m])
            buf_printf(&list, "%s%s", list.bytes > 0 ? ", " : "", method_name((enum method)m));
    const char *copy = arena_strdup(call->arena, buf_str(&list));
    buf_free(&list);
    return copy != NULL ? copy : "";
}

static void answer_preflight(struct call *call, const char *allowed)
{
    struct str origin = request_header(call->request, HEADER_ORIGIN);
    response_header(call->response, "Allow", str_from(allowed));
    response_empty(call->response, 204);
    if (!str_is_set(origin) || !auth_origin_allowed(call->app->auth, 0, origin))
        return;
    response_header(call->response, "Access-Control-Allow-Origin", origin);
    response_header(call->response, "Access-Control-Allow-Methods", str_from(allowed));
    response_header(call->response, "Access-Control-Allow-Headers",
                    STR("Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID"));
    response_header_int(call->response, "Access-Control-Max-Age", PREFLIGHT_AGE_S);
    response_header(call->response, "Vary", STR("Origin"));
}

static bool find_route(struct call *call, const struct route *routes)
{
    for (const struct route *route = routes; route->run != NULL; route++)
        if (method_fits(call, route) && request_match(call->request, route->path, NULL)) {
            call->route = route;
            request_match(call->request, route->path, &call->faults);
            return true;
        }
    const char *allowed = allowed_methods(call, routes);
    if (*allowed == '\0') {
        response_problem(call->response, PROBLEM_NOT_FOUND, NULL, "There is nothing at this path.");
    } else if (call->request->method == METHOD_OPTIONS) {
        answer_preflight(call, allowed);
    } else {
        response_header(call->response, "Allow", str_from(allowed));
        response_problem(call->response, PROBLEM_METHOD_NOT_ALLOWED, NULL, "This path has %s.", allowed);
    }
    return false;
}

/* ---- who ---- */

static void refuse_credentials(struct call *call, bool were_given)
{
    if (call->route->who & (ROUTE_USER | ROUTE_TICKET))
        response_header(call->response, "WWW-Authenticate",
                        were_given ? STR("Bearer realm=\"belfry\", error=\"invalid_token\"")
                                   : STR("Bearer realm=\"belfry\""));
    if (call->route->who & ROUTE_SERVICE)
        response_header(call->response, "WWW-Authenticate", STR("Basic realm=\"belfry\", charset=\"UTF-8\""));
    response_problem(call->response, PROBLEM_UNAUTHORIZED, NULL, "%s",
                     were_given ? call->error.text : "Credentials are missing.");
}

static void answer_result(struct call *call, enum result result);

static bool may_ask(struct call *call)
{
    unsigned who = call->route->who;
    if (call->identity.kind == AUTH_USER && !(who & (ROUTE_USER | ROUTE_TICKET))) {
        response_problem(call->response, PROBLEM_FORBIDDEN, NULL, "This needs an app key.");
        return false;
    }
    if (call->identity.kind == AUTH_SERVICE && !(who & ROUTE_SERVICE)) {
        response_problem(call->response, PROBLEM_FORBIDDEN, NULL, "This needs a user's token.");
        return false;
    }
    if (call->identity.kind == AUTH_SERVICE &&
        (call->identity.scopes & call->route->scope) != call->route->scope) {
        response_problem(call->response, PROBLEM_FORBIDDEN, NULL, "The key lacks a scope that this needs.");
        return false;
    }
    return true;
}

/* `ticket` of the query, where the route takes one: its table names it like any other parameter. */
static struct str given_ticket(const struct call *call)
{
    for (int i = 0; call->route->query != NULL && call->route->query[i].name != NULL; i++)
        if (str_is(str_from(call->route->query[i].name), "ticket"))
            return call->query[i].text;
    return STR_NONE;
}

static bool identify(struct call *call)
{
    if (call->route->who & ROUTE_ANYONE)
        return true;
    struct str authorization = request_header(call->request, HEADER_AUTHORIZATION);
    struct str ticket = call->route->who & ROUTE_TICKET ? given_ticket(call) : STR_NONE;
    enum result result = RESULT_FORBIDDEN;
    if (str_is_set(authorization))
        result = auth_check(call->app->auth, authorization, &call->identity, &call->error);
    else if (str_is_set(ticket))
        result = auth_ticket_check(call->app->auth, ticket, &call->identity, call->feeds, &call->error);
    if (result == RESULT_OK)
        return may_ask(call);
    if (result == RESULT_OFFLINE || result == RESULT_BUSY || result == RESULT_FAILED)
        answer_result(call, result);
    else
        refuse_credentials(call, str_is_set(authorization) || str_is_set(ticket));
    return false;
}

/* A page of an origin that the tenant lists may read the answer. Others get the answer too: their browser
 * keeps it from the page. */
static void allow_origin(struct call *call)
{
    struct str origin = request_header(call->request, HEADER_ORIGIN);
    if (!str_is_set(origin))
        return;
    response_header(call->response, "Vary", STR("Origin"));
    if (!auth_origin_allowed(call->app->auth, call->identity.tenant, origin))
        return;
    response_header(call->response, "Access-Control-Allow-Origin", origin);
    response_header(call->response, "Access-Control-Expose-Headers",
                    STR("ETag, Idempotency-Replayed, RateLimit, RateLimit-Policy, Retry-After"));
}

/* draft-ietf-httpapi-ratelimit-headers-08 */
static bool within_rate(struct call *call)
{
    const struct app *app = call->app;
    if (call->identity.kind == AUTH_NOBODY || call->route->rate == RATE_NONE)
        return true;
    bool is_user = call->identity.kind == AUTH_USER;
    char name[140];
    struct buf *headers = &call->response->headers;
    snprintf(name, sizeof name, "%c:%s", is_user ? 'u' : 'k',
             is_user ? call->identity.user : call->identity.key);
    struct throttle_answer answer =
        throttle_take(app->throttle, call->redis, call->arena, call->identity.tenant, str_from(name),
                      is_user ? app->config->rate_user : app->config->rate_service);
    buf_add_str(headers, STR("RateLimit-Policy: \"default\";q="));
    buf_add_int(headers, answer.quota);
    buf_add_str(headers, STR(";w=1\r\nRateLimit: \"default\";r="));
    buf_add_int(headers, answer.remaining);
    buf_add_str(headers, STR(";t="));
    buf_add_int(headers, answer.reset_s);
    buf_add_str(headers, STR("\r\n"));
    if (answer.allowed)
        return true;
    response_header_int(call->response, "Retry-After", answer.retry_after_s);
    response_problem(call->response, PROBLEM_TOO_MANY_REQUESTS, NULL, "Wait before the next request.");
    return false;
}

/* ---- what with ---- */

const struct field route_any_body[] = {{.name = NULL}};

static size_t body_bytes_max(const struct route *route)
{
    if (route->body == NULL)
        return EMPTY_BODY_BYTES_MAX;
    return route->body_bytes_max != 0 ? route->body_bytes_max : LIMIT_BODY_BYTES;
}

static void release_tree(void *tree)
{
    json_decref(tree);
}

static bool parse_body(struct call *call)
{
    json_t *tree = NULL;
    if (call->request->body.bytes > 0) {
        if (!request_is_json(call->request)) {
            response_problem(call->response, PROBLEM_UNSUPPORTED_TYPE, NULL,
                             "Send the body as application/json.");
            return false;
        }
        enum result result = json_parse(call->arena, call->request->body, &tree, &call->error);
        if (result == RESULT_INVALID)
            response_problem(call->response, PROBLEM_MALFORMED, NULL, "%s", call->error.text);
        else if (result != RESULT_OK)
            answer_result(call, result);
        if (result != RESULT_OK)
            return false;
    } else {
        tree = json_object(); /* as good as {}: what is required is then reported by name */
        if (tree == NULL || !arena_defer(call->arena, release_tree, tree)) {
            answer_result(call, error_set(&call->error, RESULT_FAILED, "no memory for a body"));
            return false;
        }
    }
    call->tree = tree;
    return true;
}

static bool read_body(struct call *call, request_reader *reader, void *connection)
{
    const struct route *route = call->route;
    size_t most = body_bytes_max(route);
    if (call->request->content_length > most) {
        response_problem(call->response, PROBLEM_TOO_LARGE, NULL, "The body may have %zu bytes.", most);
        return false;
    }
    if (call->request->content_length > 0) {
        enum result result = request_read_body(call->request, reader, connection, &call->error);
        if (result == RESULT_INVALID)
            response_problem(call->response, PROBLEM_MALFORMED, NULL, "%s", call->error.text);
        else if (result != RESULT_OK)
            answer_result(call, result);
        if (result != RESULT_OK)
            return false;
    } else if (route->body == NULL) {
        return true;
    }
    if (!parse_body(call))
        return false;
    if (route->body == route_any_body && json_is_object(call->tree))
        return true;
    call->body = arena_array(call->arena, (size_t)fields_count(route->body) + 1, sizeof *call->body);
    if (call->body == NULL) {
        answer_result(call, error_set(&call->error, RESULT_FAILED, "no memory for a body's fields"));
        return false;
    }
    static const struct field nothing[] = {{.name = NULL}};
    fields_read(route->body != NULL ? route->body : nothing, call->tree, STR(""), &call->faults, call->body);
    return true;
}

static bool read_query(struct call *call)
{
    call->query = arena_array(call->arena, (size_t)fields_count(call->route->query) + 1, sizeof *call->query);
    if (call->query == NULL) {
        answer_result(call, error_set(&call->error, RESULT_FAILED, "no memory for a query"));
        return false;
    }
    request_read_query(call->request, call->route->query, &call->faults, call->query);
    return true;
}

static bool only_parameters_at_fault(const struct faults *faults)
{
    for (int i = 0; i < faults->count; i++)
        if (!faults->items[i].is_parameter)
            return false;
    return faults->count > 0;
}

static void answer_faults(struct call *call)
{
    const char *noun = only_parameters_at_fault(&call->faults) ? "parameter" : "field";
    enum problem problem = *noun == 'p' ? PROBLEM_MALFORMED : PROBLEM_INVALID;
    if (call->faults.total == 1)
        response_problem(call->response, problem, &call->faults, "One %s has a fault.", noun);
    else
        response_problem(call->response, problem, &call->faults, "There are %d faults.", call->faults.total);
}

static bool is_valid(struct call *call)
{
    if (call->faults.total == 0)
        return true;
    answer_faults(call);
    return false;
}

/* ---- results ---- */

/* Why a server cannot be reached names sockets and hosts: that is for the log. */
/* What the database said names statements and settings: that is for the log, not for clients. */
static void answer_unavailable(struct call *call, enum result result)
{
    bool from_database = call->error.sqlstate[0] != '\0';
    if (result == RESULT_OFFLINE || from_database)
        log_debug("a request could not be done now", LOG_TEXT("error", call->error.text));
    response_header_int(call->response, "Retry-After", RETRY_AFTER_S);
    response_problem(call->response, PROBLEM_UNAVAILABLE, NULL, "%s",
                     result == RESULT_OFFLINE ? "What this needs cannot be reached for the moment."
                     : from_database ? "Others are changing the same just now; try again in a moment."
                                     : call->error.text);
}

static void answer_result(struct call *call, enum result result)
{
    struct response *response = call->response;
    const char *text = call->error.text;
    switch (result) {
    case RESULT_OK:
        break;
    case RESULT_INVALID:
        if (call->faults.total > 0)
            answer_faults(call);
        else
            response_problem(response, PROBLEM_INVALID, NULL, "%s", text);
        break;
    case RESULT_MISSING:
        response_problem(response, PROBLEM_NOT_FOUND, NULL, "%s", text);
        break;
    case RESULT_CONFLICT:
        response_problem(response, PROBLEM_CONFLICT, NULL, "%s", text);
        break;
    case RESULT_FORBIDDEN:
        response_problem(response, PROBLEM_FORBIDDEN, NULL, "%s", text);
        break;
    case RESULT_BUSY:
    case RESULT_OFFLINE:
        answer_unavailable(call, result);
        break;
    case RESULT_FAILED:
        log_error("request failed", LOG_TEXT("route", call->route != NULL ? call->route->path : ""),
                  LOG_TEXT("error", text), LOG_TEXT("sqlstate", call->error.sqlstate));
        response_problem(response, PROBLEM_FAILED, NULL, "The server could not do this because of a defect.");
        break;
    }
}

/* ---- for resources ---- */

enum result call_db(struct call *call, struct db **db)
{
    if (call->db == NULL) {
        bool writes = call->route->pool == POOL_WRITERS;
        call->db = db_pool_take(writes ? call->app->writers : call->app->readers, DB_WAIT_MS);
    }
    *db = call->db;
    return call->db != NULL ? RESULT_OK
                            : error_set(&call->error, RESULT_BUSY, "All database connections are in use.");
}

enum result call_begin_as(struct call *call, struct str user, struct db **db)
{
    enum result result = call_db(call, db);
    return result != RESULT_OK ? result : db_begin(*db, call->identity.tenant, user, &call->error);
}

enum result call_begin(struct call *call, struct db **db)
{
    return call_begin_as(call, str_from(call->identity.user), db);
}

enum result call_run(struct call *call, const struct db_query *query, const struct db_args *args,
                     struct db_result **rows)
{
    struct db *db;
    enum result result = call_db(call, &db);
    return result != RESULT_OK ? result
                               : db_run(db, call->identity.tenant, str_from(call->identity.user), query, args,
                                        call->arena, rows, &call->error);
}

enum result call_problem(struct call *call, enum problem problem, const char *format, ...)
{
    char text[ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    response_problem(call->response, problem, &call->faults, "%s", text);
    return RESULT_OK;
}

struct str call_param(const struct call *call, const char *name)
{
    return request_param(call->request, name);
}

const struct uuid *call_param_uuid(const struct call *call, const char *name)
{
    return request_param_uuid(call->request, name);
}

/* ---- dispatch ---- */

static const char *const kind_names[KINDS] = {"other", "send", "read", "write", "poll", "stream"};

static void measure(const struct call *call)
{
    const char *kind = kind_names[call->route != NULL ? call->route->kind : KIND_OTHER];
    char labels[48];
    snprintf(labels, sizeof labels, "kind=\"%s\"", kind);
    metrics_observe(call->app->metrics, METRIC_REQUEST_SECONDS, labels,
                    (double)(clock_now_us() - call->started_us) / 1e6);
    if (call->response->taken) /* counted when it is answered */
        return;
    snprintf(labels, sizeof labels, "kind=\"%s\",status=\"%d\"", kind, call->response->status);
    metrics_count(call->app->metrics, METRIC_REQUESTS, labels, 1);
}

static void run(struct call *call)
{
    enum result result = call->route->run(call);
    if (call->db != NULL) {
        struct db_pool *pool = call->route->pool == POOL_WRITERS ? call->app->writers : call->app->readers;
        db_pool_give(pool, call->db);
        call->db = NULL;
    }
    if (result != RESULT_OK && !call->response->taken)
        answer_result(call, result);
}

void route_dispatch(struct route_thread *thread, const struct route *routes, struct request *request,
                    struct response *response, request_reader *reader, void *connection)
{
    struct call call = {
        .app = thread->app,
        .request = request,
        .response = response,
        .arena = thread->arena,
        .redis = thread->redis,
        .faults = FAULTS_INIT(thread->arena),
        .connection = connection,
        .started_us = clock_now_us(),
    };
    response->without_body = request->method == METHOD_HEAD;
    if (find_route(&call, routes) && read_query(&call) && identify(&call)) {
        allow_origin(&call);
        if (within_rate(&call) && read_body(&call, reader, connection) && is_valid(&call))
            run(&call);
    } else if (call.route != NULL) {
        allow_origin(&call); /* so that the page sees why: an expired token must look like one */
    }
    measure(&call);
}
