/* One process, one request. Nothing waits here: a poll is answered at once and says when to come again. */
#include "handlers/cgi.h"
#include "core/limits.h"
#include "core/log.h"
#include "handlers/request.h"
#include "handlers/response.h"
#include "handlers/route.h"
#include <errno.h>
#include <unistd.h>

static long read_input(void *context, char *into, size_t bytes)
{
    (void)context;
    ssize_t got;
    do
        got = read(STDIN_FILENO, into, bytes);
    while (got < 0 && errno == EINTR);
    return (long)got;
}

/* A web server that cannot hand over the whole body may drop the answer (Apache does). */
static void drain_input(size_t bytes)
{
    char rest[16384];
    while (bytes > 0) {
        long got = read_input(NULL, rest, bytes < sizeof rest ? bytes : sizeof rest);
        if (got <= 0)
            return;
        bytes -= (size_t)got;
    }
}

static bool write_output(struct str bytes)
{
    while (bytes.bytes > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes.data, bytes.bytes);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            bytes.data += written;
            bytes.bytes -= (size_t)written;
        }
    }
    return true;
}

static bool answer(struct response *response)
{
    struct buf out = BUF_INIT(LIMIT_RESPONSE_BYTES + 65536);
    if (!response_write_head(response, &out)) {
        buf_clear(&out);
        response_problem(response, PROBLEM_FAILED, NULL, "The answer was too large.");
        (void)response_write_head(response, &out);
    }
    if (!response->without_body)
        buf_add_str(&out, buf_str(&response->body));
    bool written = buf_ok(&out) && write_output(buf_str(&out));
    buf_free(&out);
    return written;
}

int cgi_serve(struct app *app, char **environment)
{
    struct route_thread thread = {app, arena_create(LIMIT_REQUEST_ARENA_BYTES),
                                  redis_open(app->config->redis)};
    struct request request;
    struct response response;
    struct error error = {0};
    if (thread.arena == NULL || thread.redis == NULL) {
        log_error("no memory to answer a request");
        return 1;
    }
    response_open(&response, thread.arena);
    enum result result = request_from_cgi(&request, thread.arena, environment, &error);
    if (result == RESULT_OK)
        route_dispatch(&thread, routes_all, &request, &response, read_input, NULL);
    else
        response_problem(&response, result == RESULT_INVALID ? PROBLEM_MALFORMED : PROBLEM_FAILED, NULL, "%s",
                         error.text);
    if (result == RESULT_OK && request.content_length > request.body.bytes)
        drain_input(request.content_length - request.body.bytes);
    bool written = answer(&response);
    response_close(&response);
    redis_close(thread.redis);
    arena_destroy(thread.arena);
    return written ? 0 : 1;
}
