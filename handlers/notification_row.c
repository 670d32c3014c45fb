/* A notification as a service sees it: see notification_row.h. To add a member: a column there, in each query
 * of notifications.sql, and a line here. */
#include "handlers/notification_row.h"
#include "domain/send.h"
#include "format/cursor.h"
#include "handlers/member.h"
#include <string.h>

enum { PAGE_KIND = 'n' };

void notification_write(struct buf *out, const struct db_result *rows, int row)
{
    json_open(out, '{');
    member_text(out, "id", db_text(rows, row, ROW_ID));
    member_text(out, "user", db_text(rows, row, ROW_USER));
    member_text(out, "requestId", db_text(rows, row, ROW_REQUEST));
    member_text(out, "type", db_text(rows, row, ROW_TYPE));
    member_text(out, "title", db_text(rows, row, ROW_TITLE));
    member_text(out, "body", db_text(rows, row, ROW_BODY));
    member_raw(out, "data", db_text(rows, row, ROW_DATA));
    member_raw(out, "sender", db_text(rows, row, ROW_SENDER));
    member_text(out, "category", db_text(rows, row, ROW_CATEGORY));
    member_text(out, "priority",
                str_from(send_priority_name((enum send_priority)db_int(rows, row, ROW_PRIORITY))));
    member_raw(out, "actions", db_text(rows, row, ROW_ACTIONS));
    member_text(out, "url", db_text(rows, row, ROW_URL));
    member_raw(out, "channels", db_text(rows, row, ROW_CHANNELS));
    member_text(out, "status", db_text(rows, row, ROW_STATUS));
    member_bool(out, "sandbox", db_bool(rows, row, ROW_SANDBOX));
    member_time_column(out, "scheduledAt", rows, row, ROW_SCHEDULED);
    member_time_column(out, "expiresAt", rows, row, ROW_EXPIRES);
    member_time_column(out, "createdAt", rows, row, ROW_CREATED);
    member_time_column(out, "seenAt", rows, row, ROW_SEEN);
    member_time_column(out, "readAt", rows, row, ROW_READ);
    member_time_column(out, "archivedAt", rows, row, ROW_ARCHIVED);
    member_text(out, "action", db_text(rows, row, ROW_ACTION));
    member_time_column(out, "actedAt", rows, row, ROW_ACTED);
    json_close(out, '}');
}

void notification_write_page(struct buf *out, const struct db_result *rows, int64_t limit)
{
    struct buf cursor = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    int count = db_rows(rows) <= limit ? db_rows(rows) : (int)limit;
    json_key(out, "notifications");
    json_open(out, '[');
    for (int i = 0; i < count; i++)
        notification_write(out, rows, i);
    json_close(out, ']');
    if (db_rows(rows) > limit) {
        struct uuid last = db_uuid(rows, count - 1, ROW_ID);
        cursor_write_page_uuid(&cursor, PAGE_KIND, &last);
    }
    member_cursor(out, "nextCursor", &cursor);
    buf_free(&cursor);
}

bool notification_page_start(struct str cursor, struct uuid *before)
{
    memset(before, 0xff, sizeof *before);
    return !str_is_set(cursor) || cursor_parse_page_uuid(cursor, PAGE_KIND, before);
}
