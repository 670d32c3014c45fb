/* Reading an inbox: the list, and the counters alone. (Changing it: inbox_change.c; what is new: /poll.) */
#include "core/limits.h"
#include "domain/item.h"
#include "format/cursor.h"
#include "handlers/inbox_feed.h"
#include "handlers/member.h"
#include "handlers/resources.h"
#include "queries.h"

enum { PAGE_KIND = 'i', SEARCH_CHARS = 128, CURSOR_CHARS = 1024 };

enum { LIST_LIMIT, LIST_CURSOR, LIST_STATE, LIST_CATEGORY, LIST_TYPE, LIST_SEARCH };
static const char *const states[] = {"inbox", "unread", "archived", "snoozed", "all", NULL};
const struct field inbox_list_query[] = {
    [LIST_LIMIT] = {.name = "limit", .kind = FIELD_INT, .least = 1, .most = LIMIT_PAGE_ROWS, .number = 30},
    [LIST_CURSOR] = {.name = "cursor", .kind = FIELD_TEXT, .least = 1, .most = CURSOR_CHARS},
    [LIST_STATE] = {.name = "state", .kind = FIELD_CHOICE, .choices = states, .text = "inbox"},
    [LIST_CATEGORY] = {.name = "category", .kind = FIELD_SLUG},
    [LIST_TYPE] = {.name = "type", .kind = FIELD_SLUG},
    [LIST_SEARCH] = {.name = "q", .kind = FIELD_TEXT, .least = 1, .most = SEARCH_CHARS},
    {.name = NULL},
};

/* "50%" → "%50\%%": the text as it is, anywhere. */
static struct str search_pattern(struct arena *arena, struct str text)
{
    if (!str_is_set(text))
        return STR_NONE;
    struct buf pattern = BUF_INIT(2 * 4 * SEARCH_CHARS + 2);
    buf_add_char(&pattern, '%');
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] == '%' || text.data[i] == '_' || text.data[i] == '\\')
            buf_add_char(&pattern, '\\');
        buf_add_char(&pattern, text.data[i]);
    }
    buf_add_char(&pattern, '%');
    struct str kept = arena_str(arena, buf_str(&pattern));
    buf_free(&pattern);
    return kept;
}

static enum result ask_page(struct call *call, int64_t before, struct db_result **rows)
{
    const struct field_value *query = call->query;
    struct db_args args = DB_ARGS(call->arena);
    db_arg_cstr(&args, call->identity.user);
    db_arg_text(&args, query[LIST_STATE].text);
    db_arg_text(&args, query[LIST_CATEGORY].text);
    db_arg_text(&args, query[LIST_TYPE].text);
    db_arg_text(&args, search_pattern(call->arena, query[LIST_SEARCH].text));
    db_arg_int(&args, before);
    db_arg_int(&args, query[LIST_LIMIT].number + 1);
    return call_run(call, &query_inbox_list, &args, rows);
}

static void write_list(struct buf *out, const struct db_result *rows, int64_t limit)
{
    struct buf cursor = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    struct inbox_feed feed = inbox_feed_from_row(rows, ITEM_COLUMNS);
    int count = db_rows(rows) > 0 && db_is_null(rows, 0, ITEM_ID) ? 0 : db_rows(rows);
    int shown = count <= limit ? count : (int)limit;
    json_open(out, '{');
    json_key(out, "notifications");
    json_open(out, '[');
    for (int i = 0; i < shown; i++) {
        struct item item = item_from_row(rows, i);
        item_write(out, &item);
    }
    json_close(out, ']');
    member_int(out, "unreadCount", feed.unread);
    member_int(out, "unseenCount", feed.unseen);
    if (count > limit)
        cursor_write_page(&cursor, PAGE_KIND, db_int(rows, shown - 1, ITEM_POSITION));
    member_cursor(out, "nextCursor", &cursor);
    json_close(out, '}');
    buf_free(&cursor);
}

enum result inbox_list(struct call *call)
{
    struct db_result *rows = NULL;
    int64_t before = INT64_MAX;
    if (call->query[LIST_CURSOR].given &&
        !cursor_parse_page(call->query[LIST_CURSOR].text, PAGE_KIND, &before)) {
        fault_add_parameter(&call->faults, STR("cursor"), "is not one that this list gave");
        return error_set(&call->error, RESULT_INVALID, "bad cursor");
    }
    enum result result = ask_page(call, before, &rows);
    if (result != RESULT_OK)
        return result;
    write_list(response_json(call->response, 200), rows, call->query[LIST_LIMIT].number);
    response_etag_of_body(call->response, call->request);
    return RESULT_OK;
}

enum result inbox_count(struct call *call)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    db_arg_cstr(&args, call->identity.user);
    enum result result = call_run(call, &query_inbox_count, &args, &rows);
    if (result != RESULT_OK)
        return result;
    struct inbox_feed feed = inbox_feed_from_row(rows, 0);
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    member_int(out, "unreadCount", feed.unread);
    member_int(out, "unseenCount", feed.unseen);
    json_close(out, '}');
    response_etag_of_body(call->response, call->request);
    return RESULT_OK;
}
