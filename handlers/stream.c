/*
 * GET /stream: the same as polls, as Server-Sent Events, and the tickets that let an EventSource open one (it
 * cannot send headers). The request's own thread writes the head and everything up to now; then the park goes
 * on.
 */
#include "core/clock.h"
#include "core/limits.h"
#include "format/cursor.h"
#include "format/json.h"
#include "handlers/fastcgi.h"
#include "handlers/park.h"
#include "handlers/poll.h"
#include "handlers/poll_feeds.h"

enum { STREAM_WRITE_MS = 5000, STREAM_RETRY_S = 10, CATCH_UP_READS = 200 };

enum { STREAM_FEEDS, STREAM_CURSOR, STREAM_TICKET };
const struct field stream_query[] = {
    [STREAM_FEEDS] = POLL_FEEDS_FIELD,
    [STREAM_CURSOR] = POLL_CURSOR_FIELD,
    [STREAM_TICKET] = {"ticket", FIELD_TEXT, .least = 1, .most = TICKET_BYTES_MAX},
    {.name = NULL}};

enum { TICKET_FEEDS };
const struct field stream_ticket_fields[] = {
    [TICKET_FEEDS] = {"feeds", FIELD_ARRAY, .least = 1, .most = PARK_FEEDS_MAX}, {.name = NULL}};

static bool write_output(struct fastcgi_connection connection, struct str a, struct str b)
{
    struct buf records = BUF_INIT(LIMIT_RESPONSE_BYTES + (1 << 20));
    fastcgi_add_output(&records, connection.request_id, a, b);
    bool written = buf_ok(&records) && fastcgi_write_all(connection.fd, buf_str(&records), STREAM_WRITE_MS);
    buf_free(&records);
    return written;
}

static bool write_head(struct call *call, struct fastcgi_connection connection)
{
    struct buf head = BUF_INIT(32768);
    response_header(call->response, "X-Accel-Buffering", STR("no")); /* nginx would collect the stream */
    response_head(&head, 200, "text/event-stream", false, buf_str(&call->response->headers), -1);
    bool written = buf_ok(&head) && write_output(connection, buf_str(&head), STR("retry: 3000\n\n"));
    buf_free(&head);
    return written;
}

static bool write_event(const struct poll_feeds *feeds, struct fastcgi_connection connection)
{
    struct poll_feed parts[PARK_FEEDS_MAX];
    struct buf event = BUF_INIT(LIMIT_RESPONSE_BYTES);
    int count = poll_feeds_answer(feeds, parts);
    poll_answer_event(&event, parts, count, poll_feeds_more(feeds), poll_answer_pace(POLL_ACTIVE, 0));
    bool written = buf_ok(&event) && write_output(connection, buf_str(&event), STR_NONE);
    buf_free(&event);
    return written;
}

/* The head is out: whatever happens now, the connection is parked or closed here. */
static void end_stream(struct fastcgi_connection connection, const char *reason)
{
    struct buf event = BUF_INIT(256), records = BUF_INIT(1024);
    poll_answer_end(&event, reason);
    fastcgi_add_output(&records, connection.request_id, buf_str(&event), STR_NONE);
    fastcgi_add_end(&records, connection.request_id);
    (void)fastcgi_write_all(connection.fd, buf_str(&records), STREAM_WRITE_MS);
    fastcgi_close(connection.fd);
    buf_free(&event);
    buf_free(&records);
}

/* Writes what is new until nothing is, then parks. The first read has been done. */
static void go_on(struct call *call, struct poll_feeds *feeds, struct waiter *waiter,
                  struct fastcgi_connection connection)
{
    bool written = true;
    for (int reads = 0; written && reads < CATCH_UP_READS; reads++) {
        if (poll_feeds_changed(feeds))
            written = write_event(feeds, connection);
        if (written && !poll_feeds_more(feeds)) {
            enum park_commit verdict = poll_feeds_commit(call, feeds, waiter, connection, 0);
            if (verdict == PARK_PARKED)
                return;
            if (verdict == PARK_ANSWER_NOW) {
                end_stream(connection, "shutdown");
                return;
            }
        }
        if (written && poll_feeds_read(call, feeds) != RESULT_OK)
            break;
    }
    park_cancel(call->app->park, waiter);
    end_stream(connection, "shutdown");
}

static enum result refuse(struct call *call, enum park_register verdict)
{
    response_header_int(call->response, "Retry-After", STREAM_RETRY_S);
    return call_problem(call, PROBLEM_UNAVAILABLE, "%s",
                        verdict == PARK_USER_FULL ? "This user has as many streams open as are allowed."
                                                  : "No further streams can be held here: poll instead.");
}

enum result stream_get(struct call *call)
{
    struct poll_feeds *feeds = arena_alloc(call->arena, sizeof *feeds);
    if (feeds == NULL)
        return error_set(&call->error, RESULT_FAILED, "no memory for a stream");
    struct str last_id = request_header(call->request, HEADER_LAST_EVENT_ID);
    enum result result =
        poll_feeds_parse(call, call->query[STREAM_FEEDS].text,
                         str_is_set(last_id) ? last_id : call->query[STREAM_CURSOR].text, call->feeds, feeds);
    if (result != RESULT_OK)
        return result;
    if (call->response->without_body) {
        response_text(call->response, 200, "text/event-stream", STR(""));
        return RESULT_OK;
    }
    struct park_wait wait = {
        .kind = PARK_STREAM, .identity = &call->identity, .feed_count = feeds->count, .feeds = feeds->feeds};
    struct waiter *waiter = NULL;
    enum park_register verdict = PARK_STOPPING;
    if (call->connection != NULL && call->app->park != NULL)
        verdict = park_register(call->app->park, &wait, &waiter);
    if (verdict != PARK_REGISTERED)
        return refuse(call, verdict);
    result = poll_feeds_read(call, feeds);
    if (result != RESULT_OK) {
        park_cancel(call->app->park, waiter);
        return result;
    }
    struct fastcgi_connection connection = fastcgi_detach(call->connection);
    call->response->taken = true;
    if (write_head(call, connection)) {
        go_on(call, feeds, waiter, connection);
        return RESULT_OK;
    }
    park_cancel(call->app->park, waiter);
    fastcgi_close(connection.fd);
    return RESULT_OK;
}

/* ---- tickets ---- */

static enum result ticket_feeds(struct call *call, struct buf *names)
{
    const json_t *list = call->body[TICKET_FEEDS].tree;
    if (!call->body[TICKET_FEEDS].given) {
        buf_add_text(names, "inbox");
        return RESULT_OK;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct str name = json_str(json_array_get(list, i));
        if (!poll_feeds_known(name))
            fault_add(&call->faults, fault_pointer_item(call->arena, STR("/feeds"), i),
                      "must be one of: inbox");
        else
            buf_printf(names, "%s" STR_FMT, i > 0 ? "," : "", STR_ARG(name));
    }
    return call->faults.total == 0 ? RESULT_OK : RESULT_INVALID;
}

enum result stream_ticket_create(struct call *call)
{
    struct buf names = BUF_INIT(255);
    char ticket[TICKET_BYTES_MAX], expires[TIME_TEXT_BYTES + 1];
    int64_t expires_us = 0;
    enum result result = ticket_feeds(call, &names);
    if (result == RESULT_OK && !buf_ok(&names))
        result = error_set(&call->error, RESULT_INVALID, "There are too many feeds.");
    if (result == RESULT_OK)
        result = auth_ticket_make(call->app->auth, &call->identity, buf_str(&names), ticket, &expires_us,
                                  &call->error);
    buf_free(&names);
    if (result != RESULT_OK)
        return result;
    struct buf *out = response_json(call->response, 201);
    json_open(out, '{');
    json_key(out, "ticket");
    json_text(out, str_from(ticket));
    json_key(out, "expiresAt");
    json_text(out, str_from(time_text(expires_us, expires)));
    json_close(out, '}');
    return RESULT_OK;
}
