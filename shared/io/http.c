/*
 * Outgoing transfers on one thread: libcurl's multi interface inside the caller's epoll loop.
 *
 * A turn of the caller's loop is: epoll_wait(), http_event() for each of our events, http_turn(). http_turn()
 * lets libcurl's timers run (which is also how a new transfer begins) and hands out what has ended, so `done`
 * runs outside libcurl and may start the next transfer.
 *
 * Promises: done is called exactly once for each transfer that http_start() accepted; nothing here blocks
 * (name resolution runs on libcurl's thread, addresses in numbers need none).
 */
#include "io/http.h"
#include "core/clock.h"
#include "io/http_private.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *unused)
{
    (void)easy;
    (void)unused;
    struct http *http = context;
    return http_socket_want(&http->sockets, fd, what) ? 0 : -1;
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    struct http *http = context;
    if (timeout_ms < 0)
        http->timer_at_ms = -1;
    else
        http->timer_at_ms = timeout_ms == 0 ? 0 : clock_mono_ms() + timeout_ms;
    return 0;
}

static void start_libcurl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool set_up(struct http *http, const struct http_settings *settings)
{
    CURLM *multi = http->multi = curl_multi_init();
    long connections = settings->in_flight_max > 16 ? settings->in_flight_max : 16;
    return multi && curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, http) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_TIMERDATA, http) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections) == CURLM_OK &&
           /* the server's own limit holds; libcurl's of 100 would open a connection for each one above */
           curl_multi_setopt(multi, CURLMOPT_MAX_CONCURRENT_STREAMS, connections) == CURLM_OK &&
           curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)settings->connections_per_host) ==
               CURLM_OK;
}

enum result http_create(const struct http_settings *settings, struct http **http, struct error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *http = NULL;
    pthread_once(&once, start_libcurl);
    struct http *made = calloc(1, sizeof *made);
    if (!made)
        return error_set(error, RESULT_FAILED, "could not prepare outgoing transfers: no memory");
    made->sockets.epoll_fd = settings->epoll_fd;
    made->timer_at_ms = -1;
    made->in_flight_max = settings->in_flight_max;
    made->private_addresses = settings->private_addresses;
    const char *name = settings->smtp_name ? settings->smtp_name : "localhost";
    strncpy(made->smtp_name, name, HTTP_NAME_BYTES_MAX);
    if (settings->ca_file && *settings->ca_file)
        made->ca_file = strdup(settings->ca_file);
    if ((settings->ca_file && *settings->ca_file && !made->ca_file) || !set_up(made, settings)) {
        http_destroy(made);
        return error_set(error, RESULT_FAILED, "could not prepare outgoing transfers");
    }
    *http = made;
    return RESULT_OK;
}

/* ---- transfers ---- */

static struct http_transfer *take_transfer(struct http *http, bool smtp)
{
    struct http_transfer **list = smtp ? &http->free_smtp : &http->free_http;
    struct http_transfer *t = *list;
    if (!t)
        return http_transfer_create(http, smtp);
    *list = t->next_free;
    return t;
}

static void give_transfer(struct http *http, struct http_transfer *t)
{
    struct http_transfer **list = t->smtp ? &http->free_smtp : &http->free_http;
    if (t->answer.capacity > HTTP_KEPT_BYTES)
        buf_free(&t->answer);
    t->next_free = *list;
    *list = t;
}

static void link_running(struct http *http, struct http_transfer *t)
{
    t->previous = NULL;
    t->next = http->running;
    if (t->next)
        t->next->previous = t;
    http->running = t;
    http->in_flight++;
}

static void unlink_running(struct http *http, struct http_transfer *t)
{
    if (t->previous)
        t->previous->next = t->next;
    else
        http->running = t->next;
    if (t->next)
        t->next->previous = t->previous;
    http->in_flight--;
}

enum result http_start(struct http *http, const struct http_request *request, http_done *done, void *context,
                       struct error *error)
{
    if (http->in_flight >= http->in_flight_max)
        return error_set(error, RESULT_BUSY, "could not start a transfer: %d are running", http->in_flight);
    struct http_transfer *t = take_transfer(http, request->kind == HTTP_SMTP);
    if (!t)
        return error_set(error, RESULT_FAILED, "could not start a transfer: no memory");
    t->done = done;
    t->context = context;
    enum result code = http_transfer_set(t, request, error);
    if (code == RESULT_OK && curl_multi_add_handle(http->multi, t->easy) != CURLM_OK)
        code = error_set(error, RESULT_FAILED, "could not start a transfer");
    if (code != RESULT_OK) {
        t->was_set = false; /* who knows how far it came */
        give_transfer(http, t);
        return code;
    }
    link_running(http, t);
    return RESULT_OK;
}

static void end_transfer(struct http *http, struct http_transfer *t, CURLcode code)
{
    struct http_answer answer;
    http_transfer_answer(t, code, &answer);
    curl_multi_remove_handle(http->multi, t->easy);
    unlink_running(http, t); /* before done(), which may start another */
    t->done(t->context, &answer);
    give_transfer(http, t);
}

int http_in_flight(const struct http *http)
{
    return http->in_flight;
}

/* ---- the loop's side ---- */

void http_event(struct http *http, void *event_data, uint32_t events)
{
    struct http_socket *s = event_data;
    int running, mask = 0;
    if (!http_socket_event(&http->sockets, s))
        return;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & (EPOLLERR | EPOLLHUP)) /* a failed connect shows itself when written to */
        mask |= CURL_CSELECT_IN | CURL_CSELECT_OUT;
    curl_multi_socket_action(http->multi, s->fd, mask, &running);
}

static void hand_out_ended(struct http *http)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(http->multi, &left));) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        char *private = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        end_transfer(http, (struct http_transfer *)(void *)private, code);
    }
}

static bool is_timer_due(const struct http *http)
{
    return http->timer_at_ms == 0 || (http->timer_at_ms > 0 && clock_mono_ms() >= http->timer_at_ms);
}

static void run_timers(struct http *http)
{
    int running;
    if (!is_timer_due(http))
        return;
    http->timer_at_ms = -1;
    curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

int http_turn(struct http *http)
{
    /* twice: what done() started goes out before the caller waits. Handing out comes last, as a transfer may
     * end inside run_timers() and nothing else would say so */
    for (int round = 0; round < 2; round++) {
        run_timers(http);
        hand_out_ended(http);
    }
    http_sockets_end_turn(&http->sockets);
    if (http->timer_at_ms < 0)
        return -1;
    int64_t left = http->timer_at_ms == 0 ? 0 : http->timer_at_ms - clock_mono_ms();
    return left > 0 ? (int)left : 0;
}

static void free_list(struct http_transfer *t)
{
    while (t) {
        struct http_transfer *next = t->next_free;
        http_transfer_free(t);
        t = next;
    }
}

void http_destroy(struct http *http)
{
    if (!http)
        return;
    http->in_flight_max = 0; /* nobody starts another from done() */
    while (http->running)
        end_transfer(http, http->running, CURLE_ABORTED_BY_CALLBACK);
    free_list(http->free_http);
    free_list(http->free_smtp);
    if (http->multi)
        curl_multi_cleanup(http->multi);
    http_sockets_free(&http->sockets);
    free(http->ca_file);
    free(http);
}
