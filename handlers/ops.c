/* What an operator of a tenant looks at: the depth of its queue, what was given up, and giving it another
 * try. */
#include "core/limits.h"
#include "domain/queue.h"
#include "format/text.h"
#include "handlers/member.h"
#include "handlers/resources.h"
#include "queries.h"
#include <string.h>

enum { REPLAY_ROWS = 500, CURSOR_CHARS = 1024, NAME_BYTES_MAX = UUID_TEXT_BYTES + 8, WAKES_MAX = 16 };

enum { LIST_LIMIT, LIST_CURSOR };
const struct field ops_dead_letters_query[] = {
    [LIST_LIMIT] = {.name = "limit", .kind = FIELD_INT, .least = 1, .most = LIMIT_PAGE_ROWS, .number = 50},
    [LIST_CURSOR] = {.name = "cursor", .kind = FIELD_TEXT, .least = 1, .most = CURSOR_CHARS},
    {.name = NULL},
};

/* ---- depths ---- */

static void write_depth(struct buf *out, const struct queue_depth *depth)
{
    json_open(out, '{');
    member_text(out, "channel", depth->channel);
    member_int(out, "ready", depth->ready);
    member_int(out, "scheduled", depth->scheduled);
    member_int(out, "leased", depth->leased);
    member_int(out, "dead", depth->dead);
    json_key(out, "oldestReadySeconds");
    if (depth->ready > 0)
        json_int(out, depth->oldest_ready_s);
    else
        json_nil(out);
    json_close(out, '}');
}

static enum result read_depths(struct call *call, struct queue_depth **depths, int *count)
{
    struct db *db;
    enum result result = call_db(call, &db);
    return result != RESULT_OK
               ? result
               : queue_depths(db, call->identity.tenant, call->arena, depths, count, &call->error);
}

enum result ops_queue(struct call *call)
{
    struct queue_depth *depths = NULL;
    int count = 0;
    enum result result = read_depths(call, &depths, &count);
    if (result != RESULT_OK)
        return result;
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    json_key(out, "channels");
    json_open(out, '[');
    for (int i = 0; i < count; i++)
        write_depth(out, &depths[i]);
    json_close(out, ']');
    json_close(out, '}');
    return RESULT_OK;
}

/* ---- dead letters: named "UUID.N" ---- */

static bool parse_name(struct str name, struct uuid *notification, int *n)
{
    struct str rest, id = str_cut(name, '.', &rest);
    long long number;
    if (!uuid_parse(id, notification) || !str_to_int(rest, 0, INT16_MAX, &number))
        return false;
    *n = (int)number;
    return true;
}

/* A page goes on after the last name, in base64url: opaque, and bound to nothing. */
static bool parse_cursor(struct str cursor, struct uuid *notification, int *n)
{
    char name[NAME_BYTES_MAX];
    size_t bytes;
    memset(notification, 0xff, sizeof *notification);
    *n = INT16_MAX;
    return !str_is_set(cursor) || (text_from_base64url(cursor, name, sizeof name, &bytes) &&
                                   parse_name((struct str){name, bytes}, notification, n));
}

/* Columns of ops_dead_letters. */
enum {
    LETTER_NAME,
    LETTER_NOTIFICATION,
    LETTER_USER,
    LETTER_CHANNEL,
    LETTER_REASON,
    LETTER_AT,
    LETTER_TRIES
};

static void write_letter(struct buf *out, const struct db_result *rows, int row)
{
    json_open(out, '{');
    member_text(out, "id", db_text(rows, row, LETTER_NAME));
    member_text(out, "notification", db_text(rows, row, LETTER_NOTIFICATION));
    member_text(out, "user", db_text(rows, row, LETTER_USER));
    member_text(out, "channel", db_text(rows, row, LETTER_CHANNEL));
    member_text(out, "reason", db_text(rows, row, LETTER_REASON));
    member_time_column(out, "at", rows, row, LETTER_AT);
    member_int(out, "attempts", db_int(rows, row, LETTER_TRIES));
    json_close(out, '}');
}

static void write_letters(struct buf *out, const struct db_result *rows, int64_t limit)
{
    struct buf cursor = BUF_INIT(2 * NAME_BYTES_MAX);
    int count = db_rows(rows) <= limit ? db_rows(rows) : (int)limit;
    json_open(out, '{');
    json_key(out, "deadLetters");
    json_open(out, '[');
    for (int i = 0; i < count; i++)
        write_letter(out, rows, i);
    json_close(out, ']');
    if (db_rows(rows) > limit) {
        struct str last = db_text(rows, count - 1, LETTER_NAME);
        text_base64url(&cursor, last.data, last.bytes);
    }
    member_cursor(out, "nextCursor", &cursor);
    json_close(out, '}');
    buf_free(&cursor);
}

enum result ops_dead_letters(struct call *call)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    struct uuid before;
    int n;
    if (!parse_cursor(call->query[LIST_CURSOR].text, &before, &n)) {
        fault_add_parameter(&call->faults, STR("cursor"), "is not one that this list gave");
        return error_set(&call->error, RESULT_INVALID, "bad cursor");
    }
    db_arg_uuid(&args, &before);
    db_arg_int(&args, n);
    db_arg_int(&args, call->query[LIST_LIMIT].number + 1);
    enum result result = call_run(call, &query_ops_dead_letters, &args, &rows);
    if (result == RESULT_OK)
        write_letters(response_json(call->response, 200), rows, call->query[LIST_LIMIT].number);
    return result;
}

enum result ops_replay(struct call *call)
{
    struct str name = call_param(call, "id"), channel;
    struct uuid notification;
    struct db *db;
    int n;
    if (!parse_name(name, &notification, &n))
        return error_set(&call->error, RESULT_MISSING, "There is no such dead letter.");
    enum result result = call_db(call, &db);
    if (result == RESULT_OK)
        result =
            queue_replay(db, call->identity.tenant, &notification, n, call->arena, &channel, &call->error);
    if (result == RESULT_MISSING)
        return error_set(&call->error, RESULT_MISSING, "There is no such dead letter.");
    if (result != RESULT_OK)
        return result;
    queue_wake(call->redis, call->identity.tenant, &channel, 1);
    struct buf *out = response_json(call->response, 202);
    json_open(out, '{');
    member_text(out, "id", name);
    json_close(out, '}');
    return RESULT_OK;
}

/* Replayed ones may be on any channel of the tenant: all that have something are woken. */
static void wake_all(struct call *call)
{
    struct str channels[WAKES_MAX];
    struct queue_depth *depths = NULL;
    int count = 0, woken = 0;
    if (read_depths(call, &depths, &count) != RESULT_OK)
        return;
    for (int i = 0; i < count && woken < WAKES_MAX; i++)
        if (depths[i].ready > 0)
            channels[woken++] = depths[i].channel;
    queue_wake(call->redis, call->identity.tenant, channels, woken);
}

enum result ops_replay_all(struct call *call)
{
    int64_t total = 0;
    int replayed = REPLAY_ROWS;
    struct db *db;
    enum result result = call_db(call, &db);
    while (result == RESULT_OK && replayed == REPLAY_ROWS) {
        result =
            queue_replay_all(db, call->identity.tenant, REPLAY_ROWS, call->arena, &replayed, &call->error);
        if (result == RESULT_OK)
            total += replayed;
    }
    if (result != RESULT_OK)
        return result;
    if (total > 0)
        wake_all(call);
    struct buf *out = response_json(call->response, 202);
    json_open(out, '{');
    member_int(out, "replayed", total);
    json_close(out, '}');
    return RESULT_OK;
}
