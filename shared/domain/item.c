/*
 * A notification as JSON. Every answer that shows one to a user comes through here, so that inbox, polls and
 * events agree. To add a field: a column in item.h, in each query that selects items, and a line in each
 * function here.
 */
#include "domain/item.h"

#include "domain/send.h"
#include "format/json.h"

struct item item_from_row(const struct db_result *rows, int row)
{
    return (struct item){
        .id = db_text(rows, row, ITEM_ID),
        .rev = db_int(rows, row, ITEM_REV),
        .type = db_text(rows, row, ITEM_TYPE),
        .title = db_text(rows, row, ITEM_TITLE),
        .body = db_text(rows, row, ITEM_BODY),
        .data = db_text(rows, row, ITEM_DATA),
        .sender = db_text(rows, row, ITEM_SENDER),
        .category = db_text(rows, row, ITEM_CATEGORY),
        .priority = (int)db_int(rows, row, ITEM_PRIORITY),
        .actions = db_text(rows, row, ITEM_ACTIONS),
        .url = db_text(rows, row, ITEM_URL),
        .created_us = db_int(rows, row, ITEM_CREATED),
        .expires_us = db_int(rows, row, ITEM_EXPIRES),
        .seen_us = db_int(rows, row, ITEM_SEEN),
        .read_us = db_int(rows, row, ITEM_READ),
        .archived_us = db_int(rows, row, ITEM_ARCHIVED),
        .snoozed_us = db_int(rows, row, ITEM_SNOOZED),
        .action = db_text(rows, row, ITEM_ACTION),
        .acted_us = db_int(rows, row, ITEM_ACTED),
        .live = db_bool(rows, row, ITEM_LIVE),
        .position = db_int(rows, row, ITEM_POSITION),
    };
}

static void put_time(struct buf *out, const char *name, int64_t unix_us)
{
    char text[TIME_TEXT_BYTES + 1];
    json_key(out, name);
    if (unix_us == ITEM_NEVER)
        json_nil(out);
    else
        json_text(out, str_from(time_text(unix_us, text)));
}

static void put_text(struct buf *out, const char *name, struct str text)
{
    json_key(out, name);
    json_text_or_null(out, text);
}

static void put_json(struct buf *out, const char *name, struct str text)
{
    json_key(out, name);
    json_raw(out, str_is_set(text) ? text : STR("null"));
}

void item_write(struct buf *out, const struct item *item)
{
    json_open(out, '{');
    put_text(out, "id", item->id);
    put_text(out, "type", item->type);
    put_text(out, "title", item->title);
    put_text(out, "body", item->body);
    put_json(out, "data", item->data);
    put_json(out, "sender", item->sender);
    put_text(out, "category", item->category);
    put_text(out, "priority", str_from(send_priority_name((enum send_priority)item->priority)));
    put_json(out, "actions", item->actions);
    put_text(out, "url", item->url);
    put_time(out, "createdAt", item->created_us);
    put_time(out, "expiresAt", item->expires_us);
    put_time(out, "seenAt", item->seen_us);
    put_time(out, "readAt", item->read_us);
    put_time(out, "archivedAt", item->archived_us);
    put_time(out, "snoozedUntil", item->snoozed_us);
    put_text(out, "action", item->action);
    put_time(out, "actedAt", item->acted_us);
    json_close(out, '}');
}

void item_write_event(struct buf *out, const struct item *item)
{
    json_open(out, '{');
    put_text(out, "type", item->live ? STR("notification") : STR("deleted"));
    json_key(out, "rev");
    json_int(out, item->rev);
    if (item->live) {
        json_key(out, "notification");
        item_write(out, item);
    } else {
        put_text(out, "id", item->id);
    }
    json_close(out, '}');
}
