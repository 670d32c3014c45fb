/*
 * A notification as JSON. Every answer that shows one comes through here, so that inbox, polls and events agree.
 * To add a field: a column in ITEM order here, in item.h and in each query that selects items.
 */
#include "domain/item.h"

#include "domain/send.h"
#include "format/json.h"

static void put_time(struct buf *out, const char *name, const struct db_result *rows, int row, int column)
{
    json_key(out, name);
    if (db_is_null(rows, row, column)) {
        json_null(out);
        return;
    }
    char text[TIME_TEXT_BYTES + 1];
    json_string(out, str_from(time_text(db_int(rows, row, column), text)));
}

static void put_text(struct buf *out, const char *name, const struct db_result *rows, int row, int column)
{
    json_key(out, name);
    json_string_or_null(out, db_text(rows, row, column));
}

static void put_json(struct buf *out, const char *name, const struct db_result *rows, int row, int column)
{
    json_key(out, name);
    if (db_is_null(rows, row, column))
        json_null(out);
    else
        json_raw(out, db_text(rows, row, column));
}

void item_write(struct buf *out, const struct db_result *rows, int row)
{
    json_open(out, '{');
    put_text(out, "id", rows, row, ITEM_ID);
    put_text(out, "type", rows, row, ITEM_TYPE);
    put_text(out, "title", rows, row, ITEM_TITLE);
    put_text(out, "body", rows, row, ITEM_BODY);
    put_json(out, "data", rows, row, ITEM_DATA);
    put_json(out, "sender", rows, row, ITEM_SENDER);
    put_text(out, "category", rows, row, ITEM_CATEGORY);
    json_key(out, "priority");
    json_string(out, str_from(send_priority_name((enum send_priority)db_int(rows, row, ITEM_PRIORITY))));
    put_json(out, "actions", rows, row, ITEM_ACTIONS);
    put_text(out, "url", rows, row, ITEM_URL);
    put_time(out, "createdAt", rows, row, ITEM_CREATED);
    put_time(out, "expiresAt", rows, row, ITEM_EXPIRES);
    put_time(out, "seenAt", rows, row, ITEM_SEEN);
    put_time(out, "readAt", rows, row, ITEM_READ);
    put_time(out, "archivedAt", rows, row, ITEM_ARCHIVED);
    put_time(out, "snoozedUntil", rows, row, ITEM_SNOOZED);
    put_text(out, "action", rows, row, ITEM_ACTION);
    put_time(out, "actedAt", rows, row, ITEM_ACTED);
    json_close(out, '}');
}

void item_write_event(struct buf *out, const struct db_result *rows, int row)
{
    bool live = db_bool(rows, row, ITEM_LIVE);
    json_open(out, '{');
    json_key(out, "type");
    json_string(out, live ? STR("notification") : STR("deleted"));
    json_key(out, "rev");
    json_int(out, db_int(rows, row, ITEM_REV));
    if (live) {
        json_key(out, "notification");
        item_write(out, rows, row);
    } else {
        put_text(out, "id", rows, row, ITEM_ID);
    }
    json_close(out, '}');
}
