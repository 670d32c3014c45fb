#ifndef BELFRY_TESTS_UNIT_TRANSFER_H
#define BELFRY_TESTS_UNIT_TRANSFER_H
/*
 * A loop around the HTTP client for tests: one client (`http`), transfers that are run to their end, and what
 * came back. For tests that include it; everything is static.
 */
#include "core/clock.h"
#include "io/http.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct http *http;
static int epoll_fd;
static struct error error;

/* What came back, copied out of the callback. */
struct outcome {
    int done;
    struct http_answer answer;
    char head[1024], body[HTTP_ANSWER_BYTES_MAX + 1], detail[256];
};

static void copy(char *out, size_t bytes, struct str s)
{
    size_t n = s.bytes < bytes ? s.bytes : bytes - 1;
    if (n)
        memcpy(out, s.data, n);
    out[n] = '\0';
}

static void on_done(void *context, const struct http_answer *answer)
{
    struct outcome *o = context;
    o->done++;
    o->answer = *answer;
    copy(o->head, sizeof o->head, answer->header_block);
    copy(o->body, sizeof o->body, answer->body);
    copy(o->detail, sizeof o->detail, answer->detail);
    o->answer.header_block = str_from(o->head);
}

static void open_client(const struct http_settings *settings)
{
    struct http_settings s = *settings;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s.epoll_fd = epoll_fd;
    if (!s.in_flight_max)
        s.in_flight_max = 16;
    if (http_create(&s, &http, &error) != RESULT_OK)
        fail_msg("%s", error.text);
}

static int tear_down(void **state)
{
    (void)state;
    http_destroy(http);
    http = NULL;
    close(epoll_fd);
    return 0;
}

static void turn(void)
{
    struct epoll_event events[16];
    int wait_ms = http_turn(http);
    if (http_in_flight(http) == 0)
        return;
    int count = epoll_wait(epoll_fd, events, 16, wait_ms < 0 || wait_ms > 100 ? 100 : wait_ms);
    for (int i = 0; i < count; i++)
        http_event(http, events[i].data.ptr, events[i].events);
}

static void run(void)
{
    int64_t deadline = clock_mono_ms() + 20000;
    while (http_in_flight(http) > 0) {
        assert_true(clock_mono_ms() < deadline);
        turn();
    }
}

static void start(const struct http_request *request, struct outcome *o)
{
    memset(o, 0, sizeof *o);
    if (http_start(http, request, on_done, o, &error) != RESULT_OK)
        fail_msg("%s", error.text);
}

static void transfer(const struct http_request *request, struct outcome *o)
{
    start(request, o);
    run();
    assert_int_equal(o->done, 1);
}

static void assert_failure(const struct outcome *o, enum http_failure expected)
{
    if (o->answer.failure != expected)
        fail_msg("failure %d, status %d: %s", (int)o->answer.failure, o->answer.status, o->detail);
}

#endif
