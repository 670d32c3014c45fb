/*
 * Dispatch by a route table: what is refused before a function runs, and what its results become. The table
 * here is the test's own; callers are nobody or hold a stream ticket, which needs no database.
 */
#include "core/arena.h"
#include "core/limits.h"
#include "domain/throttle.h"
#include "handlers/route.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define UUID "0192f0c1-2345-7abc-8def-0123456789ab"

/* ---- the table ---- */

static enum result answer_name(struct call *call)
{
    buf_printf(response_json(call->response, 200), "{\"user\":\"%s\",\"feeds\":\"%s\"}", call->identity.user,
               call->feeds);
    return RESULT_OK;
}

static enum result echo_title(struct call *call)
{
    buf_printf(response_json(call->response, 201), "\"" STR_FMT "\"", STR_ARG(call->body[0].text));
    return RESULT_OK;
}

static enum result answer_result_of(struct call *call)
{
    long long code = 0;
    assert_true(str_to_int(call_param(call, "code"), 0, RESULT_FAILED, &code));
    return error_set(&call->error, (enum result)code, "The sentence.");
}

static enum result fault(struct call *call)
{
    fault_add(&call->faults, STR("/to/3"), "occurs twice");
    return RESULT_INVALID;
}

static enum result tag(struct call *call)
{
    buf_add_text(response_json(call->response, 200), "{\"large\":true}");
    response_etag_of_body(call->response, call->request);
    return RESULT_OK;
}

static const struct field title_field[] = {{"title", FIELD_TEXT, FIELD_REQUIRED, .least = 1, .most = 4},
                                           {.name = NULL}};
static const struct field limit_field[] = {{"limit", FIELD_INT, .least = 1, .most = 9}, {.name = NULL}};
static const struct field ticket_field[] = {{"ticket", FIELD_TEXT, .most = TICKET_BYTES_MAX}, {.name = NULL}};

static const struct route table[] = {
    {METHOD_GET, "/open", ROUTE_ANYONE, .query = limit_field, .run = answer_name},
    {METHOD_POST, "/open", ROUTE_ANYONE, .body = title_field, .body_bytes_max = 64, .run = echo_title},
    {METHOD_POST, "/bare", ROUTE_ANYONE, .run = answer_name},
    {METHOD_GET, "/things/{id:uuid}", ROUTE_ANYONE, .run = answer_name},
    {METHOD_GET, "/fail/{code}", ROUTE_ANYONE, .run = answer_result_of},
    {METHOD_GET, "/fault", ROUTE_ANYONE, .run = fault},
    {METHOD_GET, "/tag", ROUTE_ANYONE, .run = tag},
    {METHOD_GET, "/stream", ROUTE_USER | ROUTE_TICKET, .query = ticket_field, .run = answer_name},
    {METHOD_GET, "/service", ROUTE_SERVICE, SCOPE_READ, .run = answer_name},
    {.run = NULL},
};

/* ---- asking ---- */

struct fixture {
    struct config config;
    struct app app;
    struct route_thread thread;
    struct request request;
    struct response response;
    char keys[64];
    const char *body;
    size_t body_at;
    struct buf head;
};

static long read_body(void *context, char *into, size_t bytes)
{
    struct fixture *f = context;
    size_t left = strlen(f->body) - f->body_at, got = bytes < left ? bytes : left;
    memcpy(into, f->body + f->body_at, got);
    f->body_at += got;
    return (long)got;
}

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    struct db_settings nowhere = {"host=/nonexistent dbname=none", "test", true, 100};
    snprintf(f->keys, sizeof f->keys, "/tmp/test_route.%d.keys", (int)getpid());
    unlink(f->keys);
    assert_int_equal(keyring_create(f->keys, NULL), RESULT_OK);
    assert_int_equal(keyring_load(f->keys, &f->app.ring, NULL), RESULT_OK);
    f->config.rate_user = 3;
    f->app.config = &f->config;
    f->app.readers = f->app.writers = db_pool_create(&nowhere, 1);
    f->app.auth = auth_create(f->app.readers, f->app.ring);
    f->app.throttle = throttle_create(false);
    f->thread = (struct route_thread){&f->app, arena_create(1 << 22), redis_open("")};
    f->head = BUF_INIT(16384);
    response_open(&f->response, f->thread.arena);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    response_close(&f->response);
    buf_free(&f->head);
    redis_close(f->thread.redis);
    arena_destroy(f->thread.arena);
    throttle_destroy(f->app.throttle);
    auth_destroy(f->app.auth);
    db_pool_destroy(f->app.readers);
    keyring_free(f->app.ring);
    unlink(f->keys);
    free(f);
    return 0;
}

/* "METHOD /path?query", headers as CGI variables, NULL at the end. Returns the status. */
static int ask_with(struct fixture *f, const char *line, const char *body, const char *const *headers)
{
    char method[16], uri[1024], length[48];
    assert_int_equal(sscanf(line, "%15s %1023s", method, uri), 2);
    char *variables[16] = {NULL};
    int count = 0;
    arena_reset(f->thread.arena);
    snprintf(length, sizeof length, "CONTENT_LENGTH=%zu", strlen(body));
    variables[count++] = arena_printf(f->thread.arena, "REQUEST_METHOD=%s", method);
    variables[count++] = arena_printf(f->thread.arena, "REQUEST_URI=%s", uri);
    variables[count++] = arena_strdup(f->thread.arena, str_from(length));
    for (; headers != NULL && *headers != NULL; headers++)
        variables[count++] = arena_strdup(f->thread.arena, str_from(*headers));
    assert_int_equal(request_from_cgi(&f->request, f->thread.arena, variables, NULL), RESULT_OK);
    f->body = body;
    f->body_at = 0;
    response_reuse(&f->response);
    route_dispatch(&f->thread, table, &f->request, &f->response, read_body, f);
    buf_clear(&f->head);
    assert_true(response_write_head(&f->response, &f->head));
    return f->response.status;
}

static int ask(struct fixture *f, const char *line)
{
    return ask_with(f, line, "", NULL);
}

static int post(struct fixture *f, const char *line, const char *body)
{
    return ask_with(f, line, body, (const char *const[]){"CONTENT_TYPE=application/json", NULL});
}

static void assert_head(struct fixture *f, const char *part)
{
    if (strstr(buf_cstr(&f->head), part) == NULL)
        fail_msg("no \"%s\" in: %s", part, buf_cstr(&f->head));
}

static void assert_body(struct fixture *f, const char *part)
{
    const char *body = buf_cstr(&f->response.body);
    if (body == NULL || strstr(body, part) == NULL)
        fail_msg("no \"%s\" in: %s", part, body);
}

/* ---- finding ---- */

static void unknown_paths_and_methods_are_told_apart(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "GET /nothing"), 404);
    assert_body(f, "\"type\":\"/problems/not-found\"");
    assert_int_equal(ask(f, "DELETE /open"), 405);
    assert_head(f, "Allow: GET, POST, OPTIONS, HEAD\r\n");
    assert_head(f, "Content-Type: application/problem+json\r\n");
    assert_int_equal(ask(f, "BREW /open"), 405);
    assert_int_equal(ask(f, "OPTIONS /open"), 204);
    assert_int_equal(ask(f, "OPTIONS /nothing"), 404);
}

static void head_is_get_without_the_body(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "HEAD /open"), 200);
    assert_true(f->response.without_body);
    assert_head(f, "Content-Length: 22\r\n");
}

static void a_path_parameter_of_the_wrong_form_is_malformed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "GET /things/" UUID), 200);
    assert_int_equal(ask(f, "GET /things/7"), 400);
    assert_body(f, "\"errors\":[{\"parameter\":\"id\",\"detail\":\"must be a UUID\"}]");
}

/* ---- input ---- */

static void query_faults_are_malformed_and_body_faults_invalid(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "GET /open?limit=0"), 400);
    assert_body(f, "{\"parameter\":\"limit\",");
    assert_int_equal(ask(f, "GET /open?other=0"), 400);
    assert_int_equal(post(f, "POST /open", "{\"title\":\"\",\"other\":1}"), 422);
    assert_body(f, "\"type\":\"/problems/invalid\"");
    assert_body(f, "{\"pointer\":\"/title\",");
    assert_body(f, "{\"pointer\":\"/other\",");
    assert_int_equal(post(f, "POST /open", "{\"title\":\"abc\"}"), 201);
    assert_int_equal(post(f, "POST /open", ""), 422);
}

static void bodies_are_bounded_typed_and_wellformed(void **state)
{
    struct fixture *f = *state;
    char large[128];
    memset(large, ' ', sizeof large);
    large[sizeof large - 1] = '\0';
    assert_int_equal(post(f, "POST /open", large), 413);
    assert_int_equal(f->body_at, 0); /* not even read */
    assert_int_equal(post(f, "POST /open", "{\"title\":"), 400);
    assert_int_equal(post(f, "POST /open", "{\"title\":\"a\",\"title\":\"a\"}"), 400);
    assert_int_equal(post(f, "POST /open", "[]"), 422);
    assert_int_equal(ask_with(f, "POST /open", "{\"title\":\"a\"}",
                              (const char *const[]){"CONTENT_TYPE=text/plain", NULL}),
                     415);
}

static void a_route_without_a_body_takes_none(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "POST /bare"), 200);
    assert_int_equal(post(f, "POST /bare", "{}"), 200);
    assert_int_equal(post(f, "POST /bare", "{\"a\":1}"), 422);
}

/* ---- who ---- */

static void credentials_are_asked_for(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "GET /stream"), 401);
    assert_head(f, "WWW-Authenticate: Bearer realm=\"belfry\"\r\n");
    assert_int_equal(ask(f, "GET /service"), 401);
    assert_head(f, "WWW-Authenticate: Basic ");
    assert_int_equal(ask(f, "GET /stream?ticket=forged"), 401);
    assert_head(f, "error=\"invalid_token\"");
}

static void what_cannot_be_checked_now_is_unavailable(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        ask_with(f, "GET /service", "", (const char *const[]){"HTTP_AUTHORIZATION=Basic YmtfYTpic19i", NULL}),
        503);
    assert_head(f, "Retry-After: ");
}

/* ---- results ---- */

static void results_become_problems(void **state)
{
    struct fixture *f = *state;
    static const int statuses[] = {
        [RESULT_OK] = 200,        [RESULT_INVALID] = 422, [RESULT_MISSING] = 404, [RESULT_CONFLICT] = 409,
        [RESULT_FORBIDDEN] = 403, [RESULT_BUSY] = 503,    [RESULT_OFFLINE] = 503, [RESULT_FAILED] = 500};
    for (int code = RESULT_INVALID; code <= RESULT_FAILED; code++) {
        char line[32];
        snprintf(line, sizeof line, "GET /fail/%d", code);
        assert_int_equal(ask(f, line), statuses[code]);
        if (code != RESULT_FAILED && code != RESULT_OFFLINE)
            assert_body(f, "\"detail\":\"The sentence.\"");
        else
            assert_null(strstr(buf_cstr(&f->response.body), "The sentence."));
    }
    assert_int_equal(ask(f, "GET /fault"), 422);
    assert_body(f, "\"errors\":[{\"pointer\":\"/to/3\",\"detail\":\"occurs twice\"}]");
}

static void an_answer_that_is_held_already_is_not_sent(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "GET /tag"), 200);
    char *tag_start = strstr(buf_cstr(&f->head), "ETag: \""), header[128];
    assert_non_null(tag_start);
    assert_head(f, "Cache-Control: private, no-cache\r\n");
    snprintf(header, sizeof header, "HTTP_IF_NONE_MATCH=\"other\", W/%.34s", tag_start + 6);
    assert_int_equal(ask_with(f, "GET /tag", "", (const char *const[]){header, NULL}), 304);
    assert_int_equal(f->response.body.bytes, 0);
    assert_null(strstr(buf_cstr(&f->head), "Content-Length"));
    assert_int_equal(ask_with(f, "GET /tag", "", (const char *const[]){"HTTP_IF_NONE_MATCH=\"other\"", NULL}),
                     200);
}

static void headers_cannot_be_split(void **state)
{
    struct fixture *f = *state;
    response_reuse(&f->response);
    response_header(&f->response, "X-Name", STR("a\r\nSet-Cookie: b"));
    assert_int_equal(f->response.headers.bytes, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        CASE(unknown_paths_and_methods_are_told_apart),
        CASE(head_is_get_without_the_body),
        CASE(a_path_parameter_of_the_wrong_form_is_malformed),
        CASE(query_faults_are_malformed_and_body_faults_invalid),
        CASE(bodies_are_bounded_typed_and_wellformed),
        CASE(a_route_without_a_body_takes_none),
        CASE(credentials_are_asked_for),
        CASE(what_cannot_be_checked_now_is_unavailable),
        CASE(results_become_problems),
        CASE(an_answer_that_is_held_already_is_not_sent),
        CASE(headers_cannot_be_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
