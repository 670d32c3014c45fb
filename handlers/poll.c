/*
 * GET /poll: what is new in some feeds since a cursor, at once or, with `wait`, as soon as there is
 * something.
 *
 * The quick way, which most polls take, is: credentials and rate from memory, one Redis trip, a few hundred
 * bytes put together. Nothing here parses JSON or takes a database connection; feed_read() does where it
 * must.
 */
#include "handlers/poll.h"
#include "core/limits.h"
#include "domain/feed_keep.h"
#include "format/cursor.h"
#include "handlers/fastcgi.h"
#include "handlers/park.h"
#include "handlers/poll_feeds.h"
#include <stdio.h>
#include <string.h>

enum { WAIT_S_MAX = 25, CLIENT_BYTES_MAX = 64, TRIES = 4 };

static bool is_client(struct str s)
{
    for (size_t i = 0; i < s.bytes; i++) {
        char c = s.data[i];
        bool fine = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
                    c == '-';
        if (!fine)
            return false;
    }
    return s.bytes >= 1 && s.bytes <= CLIENT_BYTES_MAX;
}

enum { POLL_FEEDS, POLL_CURSOR, POLL_WAIT, POLL_CLIENT };
const struct field poll_query[] = {
    [POLL_FEEDS] = POLL_FEEDS_FIELD,
    [POLL_CURSOR] = POLL_CURSOR_FIELD,
    [POLL_WAIT] = {"wait", FIELD_INT, .least = 0, .most = WAIT_S_MAX},
    [POLL_CLIENT] = {"client", FIELD_WORD, .check = is_client, .rule = "must be 1 to 64 of A-Z a-z 0-9 _ -"},
    {.name = NULL}};

static uint64_t mix(uint64_t hash, struct feed_place place)
{
    const uint64_t prime = 0x9e3779b97f4a7c15ULL;
    hash = (hash ^ place.epoch) * prime;
    hash = (hash ^ hash >> 29 ^ (uint64_t)place.rev) * prime;
    return hash ^ hash >> 32;
}

/* A name for the answer that depends on what it shows: where the feeds are, and from where it tells. */
static void write_tag(const struct poll_feeds *feeds, const struct feed_place *from, char tag[20])
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (int i = 0; i < feeds->count; i++)
        hash = mix(mix(hash, feeds->feeds[i].place), from[i]);
    snprintf(tag, 20, "%016llx", (unsigned long long)hash);
}

static enum result answer(struct call *call, struct poll_feeds *feeds, bool refused)
{
    struct poll_feed parts[PARK_FEEDS_MAX];
    int count = poll_feeds_answer(feeds, parts), pace_ms = poll_feeds_pace(call, feeds, refused);
    poll_answer_write(response_json(call->response, 200), parts, count, feeds->cursor, poll_feeds_more(feeds),
                      pace_ms);
    return RESULT_OK;
}

static enum result answer_now(struct call *call, struct poll_feeds *feeds, bool refused, bool may_revalidate)
{
    struct feed_place from[PARK_FEEDS_MAX] = {{0}};
    for (int i = 0; i < feeds->count; i++)
        from[i] = feeds->feeds[i].place;
    enum result result = poll_feeds_read(call, feeds);
    if (result != RESULT_OK)
        return result;
    for (int i = 0; call->app->keep != NULL && i < feeds->count; i++)
        feed_keep_touch(call->app->keep, call->identity.tenant, feeds->feeds[i].key, feeds->feeds[i].place);
    char tag[20];
    write_tag(feeds, from, tag);
    if (may_revalidate && response_etag(call->response, call->request, str_from(tag)))
        return RESULT_OK;
    return answer(call, feeds, refused);
}

static bool may_park(const struct poll_feeds *feeds)
{
    for (int i = 0; i < feeds->count; i++)
        if (feeds->deltas[i].json.bytes > PARK_QUIET_BYTES)
            return false;
    return !poll_feeds_changed(feeds);
}

/* Registered: whatever is returned, the waiter is parked or gone. */
static enum result read_and_park(struct call *call, struct poll_feeds *feeds, struct waiter *waiter,
                                 int wait_ms)
{
    for (int tries = 0; tries < TRIES; tries++) {
        enum result result = poll_feeds_read(call, feeds);
        if (result != RESULT_OK || !may_park(feeds)) {
            park_cancel(call->app->park, waiter);
            return result != RESULT_OK ? result : answer(call, feeds, false);
        }
        struct fastcgi_connection connection = fastcgi_detach(call->connection);
        switch (poll_feeds_commit(call, feeds, waiter, connection, wait_ms)) {
        case PARK_PARKED:
            call->response->taken = true;
            return RESULT_OK;
        case PARK_ANSWER_NOW:
            return answer(call, feeds, false);
        case PARK_AGAIN:
            break;
        }
    }
    park_cancel(call->app->park, waiter);
    return answer(call, feeds, false);
}

static enum result wait_for_news(struct call *call, struct poll_feeds *feeds, int wait_ms)
{
    struct park_wait wait = {
        .kind = PARK_POLL,
        .identity = &call->identity,
        .client = call->query[POLL_CLIENT].text,
        .headers = buf_str(&call->response->headers),
        .feed_count = feeds->count,
        .feeds = feeds->feeds,
    };
    struct waiter *waiter;
    if (park_register(call->app->park, &wait, &waiter) != PARK_REGISTERED)
        return answer_now(call, feeds, true, false);
    return read_and_park(call, feeds, waiter, wait_ms);
}

enum result poll_get(struct call *call)
{
    struct poll_feeds *feeds = arena_alloc(call->arena, sizeof *feeds);
    if (feeds == NULL)
        return error_set(&call->error, RESULT_FAILED, "no memory for a poll");
    enum result result =
        poll_feeds_parse(call, call->query[POLL_FEEDS].text, call->query[POLL_CURSOR].text, "", feeds);
    if (result != RESULT_OK)
        return result;
    int wait_ms = (int)call->query[POLL_WAIT].number * 1000;
    if (wait_ms > call->app->config->wait_ms)
        wait_ms = call->app->config->wait_ms;
    if (wait_ms == 0 || call->connection == NULL || call->app->park == NULL || call->response->without_body)
        return answer_now(call, feeds, false, call->query[POLL_WAIT].number == 0);
    return wait_for_news(call, feeds, wait_ms);
}
