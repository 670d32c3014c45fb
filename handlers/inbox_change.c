/*
 * Changing an inbox: one item, an action on it, or everything at once.
 *
 * Each is one transaction, tried again when it lost to another; after the commit waiting readers are told, of
 * an item with the event itself, of a mark by dropping the cached tail. To add a change to an item: a member
 * in inbox_patch_fields, an argument of query inbox_change.
 */
#include "core/clock.h"
#include "domain/item.h"
#include "format/cursor.h"
#include "handlers/inbox_feed.h"
#include "handlers/member.h"
#include "handlers/resources.h"
#include "handlers/retry.h"
#include "queries.h"
#include <stdio.h>

enum { EVENT_BYTES_MAX = 256 * 1024 };
static const int64_t SNOOZE_MOST_US = 366LL * 86400 * 1000000;

enum { PATCH_SEEN, PATCH_READ, PATCH_ARCHIVED, PATCH_SNOOZED };
const struct field inbox_patch_fields[] = {
    [PATCH_SEEN] = {.name = "seen", .kind = FIELD_BOOL},
    [PATCH_READ] = {.name = "read", .kind = FIELD_BOOL},
    [PATCH_ARCHIVED] = {.name = "archived", .kind = FIELD_BOOL},
    [PATCH_SNOOZED] = {.name = "snoozedUntil", .kind = FIELD_TIME, .flags = FIELD_NULLABLE},
    {.name = NULL},
};

/* ---- telling ---- */

static void announce(struct call *call, const struct inbox_feed *feed, struct str event)
{
    char key[FEED_KEY_BYTES + 1];
    snprintf(key, sizeof key, "inbox:%s", call->identity.user);
    struct feed_change change = {.tenant = call->identity.tenant,
                                 .key = str_from(key),
                                 .place = feed->place,
                                 .prev_rev = feed->place.rev - 1,
                                 .unread = feed->unread,
                                 .unseen = feed->unseen,
                                 .event = event};
    feed_announce(call->redis, &change, 1);
}

static void write_feed(struct buf *out, const struct inbox_feed *feed)
{
    struct buf text = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    struct cursor cursor = {.issued_s = clock_now_us() / 1000000, .count = 1};
    cursor.places[0] = (struct cursor_place){STR("inbox"), feed->place.epoch, feed->place.rev};
    cursor_write(&text, &cursor);
    member_int(out, "unreadCount", feed->unread);
    member_int(out, "unseenCount", feed->unseen);
    member_text(out, "cursor", buf_str(&text));
    buf_free(&text);
}

static enum result respond_feed(struct call *call, const struct inbox_feed *feed)
{
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    write_feed(out, feed);
    json_close(out, '}');
    return RESULT_OK;
}

/* ---- the transaction ---- */

/* Runs a query as the user, under the lock of the feed, until it does not lose to another transaction. */
static enum result run_change(struct call *call, const struct db_query *query, const struct db_args *args,
                              struct db_result **rows)
{
    struct str user = str_from(call->identity.user);
    struct db_args lock = DB_ARGS(call->arena);
    int tries = 0;
    db_arg_text(&lock, user);
    for (;;) {
        struct db_result *const *results = NULL;
        struct db *db;
        int count = 0;
        enum result result = call_begin(call, &db);
        if (result == RESULT_OK)
            result = db_queue(db, &query_inbox_lock, &lock, &call->error);
        if (result == RESULT_OK)
            result = db_queue(db, query, args, &call->error);
        if (result == RESULT_OK)
            result = db_finish(db, call->arena, &results, &count, NULL, &call->error);
        if (result == RESULT_OK)
            *rows = results[1];
        if (result == RESULT_OK || !retry_again(&call->error, &tries))
            return result;
    }
}

static enum result no_such_item(struct call *call)
{
    return error_set(&call->error, RESULT_MISSING, "There is no such notification in the inbox.");
}

/* ---- one item ---- */

/* Columns of inbox_change after the item's. */
enum {
    CHANGE_FEED = ITEM_COLUMNS,
    CHANGE_DIFFERS = CHANGE_FEED + 4,
    CHANGE_ACTION_EXISTS,
    CHANGE_ACTION_TAKEN
};

static void announce_item(struct call *call, const struct inbox_feed *feed, const struct item *item)
{
    struct buf event = BUF_INIT(EVENT_BYTES_MAX);
    item_write_event(&event, item);
    announce(call, feed, buf_ok(&event) ? buf_str(&event) : STR_NONE);
    buf_free(&event);
}

static enum result respond_item(struct call *call, const struct db_result *rows)
{
    struct inbox_feed feed = inbox_feed_from_row(rows, CHANGE_FEED);
    struct item item = item_from_row(rows, 0);
    if (db_bool(rows, 0, CHANGE_DIFFERS))
        announce_item(call, &feed, &item);
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    json_key(out, "notification");
    item_write(out, &item);
    write_feed(out, &feed);
    json_close(out, '}');
    return RESULT_OK;
}

/* A boolean as said, NULL where nothing was. */
static void arg_flag(struct db_args *args, const struct field_value *value)
{
    if (value != NULL && value->given)
        db_arg_bool(args, value->flag);
    else
        db_arg_null(args);
}

/* patch NULL: none of its members; action STR_NONE: none. */
static enum result change_item(struct call *call, const struct field_value *patch, struct str action,
                               struct db_result **rows)
{
    struct db_args args = DB_ARGS(call->arena);
    bool snoozes = patch != NULL && (patch[PATCH_SNOOZED].given || patch[PATCH_SNOOZED].is_null);
    db_arg_cstr(&args, call->identity.user);
    db_arg_uuid(&args, call_param_uuid(call, "id"));
    arg_flag(&args, patch != NULL ? &patch[PATCH_SEEN] : NULL);
    arg_flag(&args, patch != NULL ? &patch[PATCH_READ] : NULL);
    arg_flag(&args, patch != NULL ? &patch[PATCH_ARCHIVED] : NULL);
    db_arg_bool(&args, snoozes);
    if (snoozes && patch[PATCH_SNOOZED].given)
        db_arg_time(&args, patch[PATCH_SNOOZED].number);
    else
        db_arg_null(&args);
    db_arg_text(&args, action);
    enum result result = run_change(call, &query_inbox_change, &args, rows);
    return result == RESULT_OK && db_rows(*rows) == 0 ? no_such_item(call) : result;
}

enum result inbox_patch(struct call *call)
{
    const struct field_value *patch = call->body;
    struct db_result *rows = NULL;
    if (json_object_size(call->tree) == 0)
        fault_add(&call->faults, STR(""), "must have at least one member");
    if (patch[PATCH_SEEN].given && !patch[PATCH_SEEN].flag)
        fault_add(&call->faults, STR("/seen"), "must be true: what was seen stays seen");
    if (patch[PATCH_SNOOZED].given && (patch[PATCH_SNOOZED].number <= call->started_us ||
                                       patch[PATCH_SNOOZED].number > call->started_us + SNOOZE_MOST_US))
        fault_add(&call->faults, STR("/snoozedUntil"), "must be in the future, at most a year ahead");
    if (call->faults.total > 0)
        return error_set(&call->error, RESULT_INVALID, "faults");
    enum result result = change_item(call, patch, STR_NONE, &rows);
    return result == RESULT_OK ? respond_item(call, rows) : result;
}

enum result inbox_act(struct call *call)
{
    struct db_result *rows = NULL;
    enum result result = change_item(call, NULL, call_param(call, "action"), &rows);
    if (result != RESULT_OK)
        return result;
    if (!db_bool(rows, 0, CHANGE_ACTION_EXISTS))
        return error_set(&call->error, RESULT_MISSING, "The notification has no such action.");
    if (db_bool(rows, 0, CHANGE_ACTION_TAKEN))
        return error_set(&call->error, RESULT_CONFLICT, "Another action was taken before.");
    return respond_item(call, rows);
}

enum result inbox_delete(struct call *call)
{
    const struct uuid *id = call_param_uuid(call, "id");
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    char text[UUID_TEXT_BYTES + 1];
    db_arg_cstr(&args, call->identity.user);
    db_arg_uuid(&args, id);
    enum result result = run_change(call, &query_inbox_delete, &args, &rows);
    if (result != RESULT_OK)
        return result;
    if (db_rows(rows) == 0)
        return no_such_item(call);
    struct inbox_feed feed = inbox_feed_from_row(rows, 0);
    struct item gone = {.id = str_from(uuid_text(id, text)), .rev = feed.place.rev};
    announce_item(call, &feed, &gone);
    return respond_feed(call, &feed);
}

/* ---- everything ---- */

enum { MARK_CHANGED = 4 };

static enum result mark_all(struct call *call, const struct db_query *query)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    db_arg_cstr(&args, call->identity.user);
    enum result result = run_change(call, query, &args, &rows);
    if (result != RESULT_OK)
        return result;
    struct inbox_feed feed = inbox_feed_from_row(rows, 0);
    if (db_rows(rows) > 0 && db_bool(rows, 0, MARK_CHANGED))
        announce(call, &feed, STR_NONE);
    return respond_feed(call, &feed);
}

enum result inbox_read_all(struct call *call)
{
    return mark_all(call, &query_inbox_read_all);
}

enum result inbox_seen_all(struct call *call)
{
    return mark_all(call, &query_inbox_seen_all);
}

enum result inbox_delete_all(struct call *call)
{
    return mark_all(call, &query_inbox_delete_all);
}
