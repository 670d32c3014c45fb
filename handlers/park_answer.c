/*
 * Answers of parked requests as bytes. A writer belongs to one thread, and remembers the records of its last
 * answer: waiters with equal cursors on one feed get the same ones without building them again.
 */
#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "handlers/park_private.h"
#include "handlers/poll_answer.h"
#include "handlers/response.h"
#include <stdlib.h>
#include <string.h>

enum { WRITER_KEEPS_BYTES = 64 << 10, UNSENT_MS = 10000, STOP_SPREAD_MS = 2000 };

static const char *const end_labels[ENDS] = {
    [END_NEWS] = "end=\"news\"",
    [END_DEADLINE] = "end=\"deadline\"",
    [END_SUPERSEDED] = "end=\"superseded\"",
    [END_STOPPED] = "end=\"shutdown\"",
    [END_REVOKED] = "end=\"revoked\"",
    [END_GONE] = "end=\"gone\"",
};

void park_writer_open(struct park_writer *writer, struct park *park)
{
    *writer = (struct park_writer){.park = park,
                                   .body = BUF_INIT(LIMIT_RESPONSE_BYTES),
                                   .records = BUF_INIT(LIMIT_RESPONSE_BYTES + (1 << 20))};
}

void park_writer_close(struct park_writer *writer)
{
    buf_free(&writer->body);
    buf_free(&writer->records);
}

/* Forgets the last answer, and memory that one large answer needed. */
static void writer_clear(struct park_writer *writer)
{
    if (writer->body.capacity > WRITER_KEEPS_BYTES)
        buf_free(&writer->body);
    if (writer->records.capacity > WRITER_KEEPS_BYTES)
        buf_free(&writer->records);
    buf_clear(&writer->body);
    buf_clear(&writer->records);
    writer->last_delta = NULL;
}

static int load_percent(const struct park *park)
{
    int held = park->counts[PARK_POLL] + park->counts[PARK_STREAM];
    return held * 100 / (park->settings.waiters_max > 0 ? park->settings.waiters_max : 1);
}

static int fill_feeds(const struct waiter *waiter, int index, const struct feed_delta *delta,
                      struct poll_feed *feeds)
{
    for (int i = 0; i < waiter->feed_count; i++) {
        const struct park_link *link = &waiter->feeds[i];
        struct str quiet = {link->quiet, link->quiet_bytes};
        feeds[i] = (struct poll_feed){link->name, quiet.bytes > 0 ? quiet : STR_NONE, link->place};
    }
    if (delta != NULL) {
        feeds[index].json = delta->json;
        feeds[index].place = delta->place;
    }
    return waiter->feed_count;
}

/* ---- building ---- */

static void add_end_records(struct park_writer *writer, const struct waiter *waiter, struct str head)
{
    fastcgi_add_output(&writer->records, waiter->request_id, head, buf_str(&writer->body));
    fastcgi_add_end(&writer->records, waiter->request_id);
}

static int build_revoked(struct park_writer *writer, const struct waiter *waiter)
{
    struct response response;
    struct buf head = BUF_INIT(16384);
    response_open(&response, NULL);
    response_header(&response, "WWW-Authenticate", STR("Bearer realm=\"belfry\", error=\"invalid_token\""));
    response_problem(&response, PROBLEM_UNAUTHORIZED, NULL, "The credentials do not hold any more.");
    buf_add_str(&response.headers, waiter_headers(waiter));
    response_write_head(&response, &head);
    buf_add_str(&writer->body, buf_str(&response.body));
    add_end_records(writer, waiter, buf_str(&head));
    buf_free(&head);
    response_close(&response);
    return 401;
}

static int build_poll(struct park_writer *writer, const struct waiter *waiter, enum park_end end, int index,
                      const struct feed_delta *delta)
{
    struct poll_feed feeds[PARK_FEEDS_MAX];
    int count = fill_feeds(waiter, index, delta, feeds);
    int pace_ms = end == END_STOPPED ? (int)clock_jitter(STOP_SPREAD_MS)
                                     : poll_answer_pace(end == END_NEWS ? POLL_ACTIVE : POLL_ORDINARY,
                                                        load_percent(writer->park));
    poll_answer_write(&writer->body, feeds, count, STR_NONE, delta != NULL && delta->more, pace_ms);
    struct buf head = BUF_INIT(16384);
    response_head(&head, 200, "application/json", false, waiter_headers(waiter), (long)writer->body.bytes);
    add_end_records(writer, waiter, buf_str(&head));
    buf_free(&head);
    return 200;
}

static void build_stream_end(struct park_writer *writer, const struct waiter *waiter, enum park_end end)
{
    static const char *const reasons[ENDS] = {[END_DEADLINE] = "expired",
                                              [END_REVOKED] = "expired",
                                              [END_STOPPED] = "shutdown",
                                              [END_SUPERSEDED] = "superseded"};
    if (reasons[end] != NULL)
        poll_answer_end(&writer->body, reasons[end]);
    add_end_records(writer, waiter, STR_NONE);
}

static bool same_as_last(const struct park_writer *writer, const struct waiter *waiter,
                         const struct feed_delta *delta)
{
    struct str headers = waiter_headers(waiter);
    return delta != NULL && writer->last_delta == delta && waiter->feed_count == 1 &&
           waiter->kind == PARK_POLL && writer->last_request_id == waiter->request_id &&
           headers.bytes < sizeof writer->last_headers && str_is(headers, writer->last_headers);
}

static void remember(struct park_writer *writer, const struct waiter *waiter, const struct feed_delta *delta)
{
    struct str headers = waiter_headers(waiter);
    if (delta == NULL || waiter->feed_count != 1 || headers.bytes >= sizeof writer->last_headers)
        return;
    writer->last_delta = delta;
    writer->last_request_id = waiter->request_id;
    memcpy(writer->last_headers, headers.data, headers.bytes);
    writer->last_headers[headers.bytes] = '\0';
}

/* ---- writing ---- */

/* What a socket did not take at once is the hub's to write when there is room. */
static void keep_unsent(struct park *park, struct waiter *waiter, struct str rest)
{
    waiter->unsent = malloc(rest.bytes);
    if (waiter->unsent == NULL) {
        fastcgi_close(waiter->fd);
        waiter_free(waiter);
        return;
    }
    memcpy(waiter->unsent, rest.data, rest.bytes);
    waiter->unsent_bytes = rest.bytes;
    pthread_mutex_lock(&park->lock);
    waiter->state = WAITER_UNSENT;
    waiter->deadline_ms = clock_mono_ms() + UNSENT_MS;
    park_timer_set(park, waiter, waiter->deadline_ms);
    bool watched = park_watch(park, waiter);
    if (!watched)
        park_take(park, waiter);
    pthread_mutex_unlock(&park->lock);
    if (!watched) {
        fastcgi_close(waiter->fd);
        waiter_free(waiter);
    }
}

static void count_end(struct park *park, const struct waiter *waiter, enum park_end end, int status)
{
    metrics_count(park->settings.metrics, METRIC_WAITS, end_labels[end], 1);
    if (waiter->kind == PARK_STREAM)
        metrics_count(park->settings.metrics, METRIC_REQUESTS, "kind=\"stream\",status=\"200\"", 1);
    else
        metrics_count(park->settings.metrics, METRIC_REQUESTS,
                      status == 200 ? "kind=\"poll\",status=\"200\"" : "kind=\"poll\",status=\"401\"", 1);
}

void park_answer(struct park_writer *writer, struct waiter *waiter, enum park_end end, int index,
                 const struct feed_delta *delta)
{
    int status = 200;
    if (!same_as_last(writer, waiter, delta)) {
        writer_clear(writer);
        if (waiter->kind == PARK_STREAM)
            build_stream_end(writer, waiter, end);
        else if (end == END_REVOKED)
            status = build_revoked(writer, waiter);
        else
            status = build_poll(writer, waiter, end, index, delta);
        remember(writer, waiter, delta);
    }
    count_end(writer->park, waiter, end, status);
    struct str records = buf_str(&writer->records);
    long sent = buf_ok(&writer->records) ? fastcgi_write_some(waiter->fd, records) : -1;
    if (sent >= 0 && (size_t)sent < records.bytes && waiter->kind == PARK_POLL) {
        keep_unsent(writer->park, waiter, (struct str){records.data + sent, records.bytes - (size_t)sent});
        return;
    }
    fastcgi_close(waiter->fd);
    waiter_free(waiter);
}

bool park_stream_update(struct park_writer *writer, struct waiter *waiter, int index,
                        const struct feed_delta *delta)
{
    struct poll_feed feeds[PARK_FEEDS_MAX];
    int count = fill_feeds(waiter, index, delta, feeds);
    writer_clear(writer);
    poll_answer_event(&writer->body, feeds, count, delta->more, poll_answer_pace(POLL_ACTIVE, 0));
    fastcgi_add_output(&writer->records, waiter->request_id, buf_str(&writer->body), STR_NONE);
    struct str records = buf_str(&writer->records);
    return buf_ok(&writer->records) && fastcgi_write_some(waiter->fd, records) == (long)records.bytes;
}

bool park_stream_beat(struct waiter *waiter)
{
    struct buf records = BUF_INIT(64);
    fastcgi_add_output(&records, waiter->request_id, STR(": hb\n\n"), STR_NONE);
    struct str bytes = buf_str(&records);
    bool sent = buf_ok(&records) && fastcgi_write_some(waiter->fd, bytes) == (long)bytes.bytes;
    buf_free(&records);
    return sent;
}
