/* Notifications as the service that sent them sees them: list, one, cancel. (Sending: notifications_send.c.)
 */
#include "core/limits.h"
#include "domain/feed.h"
#include "handlers/member.h"
#include "handlers/notification_row.h"
#include "handlers/resources.h"
#include "handlers/retry.h"
#include "queries.h"
#include <stdio.h>
#include <string.h>

enum { EVENT_BYTES = 128 };

enum { LIST_USER, LIST_CATEGORY, LIST_STATUS, LIST_FROM, LIST_TO, LIST_LIMIT, LIST_CURSOR };
static const char *const statuses[] = {"scheduled", "active", "cancelled", "expired", NULL};
const struct field notifications_list_query[] = {
    [LIST_USER] = {.name = "user", .kind = FIELD_ID},
    [LIST_CATEGORY] = {.name = "category", .kind = FIELD_SLUG},
    [LIST_STATUS] = {.name = "status", .kind = FIELD_CHOICE, .choices = statuses},
    [LIST_FROM] = {.name = "from", .kind = FIELD_TIME},
    [LIST_TO] = {.name = "to", .kind = FIELD_TIME},
    [LIST_LIMIT] = {.name = "limit", .kind = FIELD_INT, .least = 1, .most = LIMIT_PAGE_ROWS, .number = 50},
    [LIST_CURSOR] = {.name = "cursor", .kind = FIELD_TEXT, .least = 1, .most = 1024},
    {.name = NULL},
};

/* The least id that could have been given at a moment: its time, and zeros. */
static struct uuid uuid_floor(int64_t unix_us)
{
    struct uuid id = {{0}};
    uint64_t ms = unix_us <= 0 ? 0 : (uint64_t)unix_us / 1000;
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (unsigned char)(ms >> (8 * (5 - i)));
    return id;
}

enum result notifications_list(struct call *call)
{
    const struct field_value *query = call->query;
    struct uuid from = uuid_floor(query[LIST_FROM].given ? query[LIST_FROM].number : 0), to, before;
    if (!notification_page_start(query[LIST_CURSOR].text, &before)) {
        fault_add_parameter(&call->faults, STR("cursor"), "is not one that this list gave");
        return error_set(&call->error, RESULT_INVALID, "bad cursor");
    }
    memset(&to, 0xff, sizeof to);
    if (query[LIST_TO].given)
        to = uuid_floor(query[LIST_TO].number);
    bool of_user = query[LIST_USER].given;
    struct db_args args = DB_ARGS(call->arena);
    if (of_user)
        db_arg_text(&args, query[LIST_USER].text);
    db_arg_text(&args, query[LIST_CATEGORY].text);
    db_arg_text(&args, query[LIST_STATUS].text);
    db_arg_uuid(&args, &from);
    db_arg_uuid(&args, &to);
    db_arg_uuid(&args, &before);
    db_arg_int(&args, query[LIST_LIMIT].number + 1);
    struct db_result *rows = NULL;
    enum result result =
        call_run(call, of_user ? &query_notifications_list_user : &query_notifications_list, &args, &rows);
    if (result != RESULT_OK)
        return result;
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    notification_write_page(out, rows, query[LIST_LIMIT].number);
    json_close(out, '}');
    return RESULT_OK;
}

enum result notifications_get(struct call *call)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    db_arg_uuid(&args, call_param_uuid(call, "id"));
    enum result result = call_run(call, &query_notifications_get, &args, &rows);
    if (result != RESULT_OK)
        return result;
    if (db_rows(rows) == 0)
        return error_set(&call->error, RESULT_MISSING, "There is no such notification.");
    notification_write(response_json(call->response, 200), rows, 0);
    return RESULT_OK;
}

/* ---- cancel ---- */

/* Columns of notifications_cancel. */
enum { GOT_USER, GOT_FRESH, GOT_DELIVERIES, GOT_SHOWN, GOT_EPOCH, GOT_REV, GOT_UNREAD, GOT_UNSEEN };

/* Its reader's inbox loses it. */
static void announce_gone(struct call *call, const struct db_result *row, const struct uuid *id)
{
    char key[FEED_KEY_BYTES + 1], text[UUID_TEXT_BYTES + 1];
    struct buf event = BUF_INIT(EVENT_BYTES);
    int64_t rev = db_int(row, 0, GOT_REV);
    json_open(&event, '{');
    member_text(&event, "type", STR("deleted"));
    member_int(&event, "rev", rev);
    member_text(&event, "id", str_from(uuid_text(id, text)));
    json_close(&event, '}');
    snprintf(key, sizeof key, "inbox:" STR_FMT, STR_ARG(db_text(row, 0, GOT_USER)));
    struct feed_change change = {.tenant = call->identity.tenant,
                                 .key = str_from(key),
                                 .place = {(uint64_t)db_int(row, 0, GOT_EPOCH), rev},
                                 .prev_rev = rev - 1,
                                 .unread = db_int(row, 0, GOT_UNREAD),
                                 .unseen = db_int(row, 0, GOT_UNSEEN),
                                 .event = buf_str(&event)};
    feed_announce(call->redis, &change, 1);
    buf_free(&event);
}

static enum result cancel_once(struct call *call, const struct uuid *id, struct db_result **row)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *const *results = NULL;
    struct db *db;
    int count = 0;
    db_arg_uuid(&args, id);
    enum result result = call_begin_as(call, STR("*"), &db);
    if (result == RESULT_OK)
        result = db_queue(db, &query_notifications_cancel_lock, &args, &call->error);
    if (result == RESULT_OK)
        result = db_queue(db, &query_notifications_cancel, &args, &call->error);
    if (result == RESULT_OK)
        result = db_finish(db, call->arena, &results, &count, NULL, &call->error);
    if (result == RESULT_OK)
        *row = results[1];
    return result;
}

enum result notifications_cancel(struct call *call)
{
    const struct uuid *id = call_param_uuid(call, "id");
    struct db_result *row = NULL;
    char text[UUID_TEXT_BYTES + 1];
    enum result result;
    int tries = 0;
    do
        result = cancel_once(call, id, &row);
    while (result != RESULT_OK && retry_again(&call->error, &tries));
    if (result != RESULT_OK)
        return result;
    if (db_rows(row) == 0)
        return error_set(&call->error, RESULT_MISSING, "There is no such notification.");
    if (db_bool(row, 0, GOT_SHOWN))
        announce_gone(call, row, id);
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    member_text(out, "id", str_from(uuid_text(id, text)));
    member_text(out, "status", STR("cancelled"));
    member_int(out, "cancelledDeliveries", db_int(row, 0, GOT_DELIVERIES));
    json_close(out, '}');
    return RESULT_OK;
}
