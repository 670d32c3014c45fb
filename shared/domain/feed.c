/*
 * Reading feeds and announcing their changes. Redis first, PostgreSQL whenever Redis cannot prove its answer;
 * what PostgreSQL said refills the cache. The keys and the meaning of their values are in feed.h, the cache
 * itself in feed_cache.c, the two queries in sql/queries/feed.sql.
 */
#include "domain/feed.h"

#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "domain/feed_cache.h"
#include "domain/item.h"
#include "format/json.h"
#include "queries.h"

#include <string.h>

enum {
    STATE_ROWS = LIMIT_DELTA_ROWS,
    DELTA_BYTES_MAX = 8 << 20,
    POOL_WAIT_MS = 2000,
    ACTIVE_S = 60,
    ANNOUNCE_SLICE = 256,
    ANNOUNCE_ARENA_BYTES = 16 << 20,
    ANNOUNCE_LOG_MS = 60000,
    MARKS = 3
};

/* The feed's columns follow those of the item. */
enum {
    ROW_EPOCH = ITEM_COLUMNS,
    ROW_REV,
    ROW_UNREAD,
    ROW_UNSEEN,
    ROW_READ_ALL,
    ROW_SEEN_ALL,
    ROW_DELETE_ALL,
    ROW_CHANGED
};

/* ---- the answer's JSON
 * -------------------------------------------------------------------------------------- */

static void answer_open(struct buf *out)
{
    json_open(out, '{');
    json_key(out, "events");
    json_open(out, '[');
}

static void answer_close(struct buf *out, const struct feed_counters *counters, bool reset)
{
    json_close(out, ']');
    json_key(out, "unreadCount");
    json_int(out, counters->unread);
    json_key(out, "unseenCount");
    json_int(out, counters->unseen);
    json_key(out, "reset");
    json_bool(out, reset);
    json_close(out, '}');
}

static bool answer_keep(struct buf *out, struct arena *arena, struct str *json)
{
    *json = buf_ok(out) ? arena_str(arena, buf_str(out)) : STR_NONE;
    buf_free(out);
    return str_is_set(*json);
}

static bool is_active(const struct feed_counters *counters)
{
    return clock_now_us() / 1000000 - counters->changed_s < ACTIVE_S;
}

/* ---- from the cache
 * ----------------------------------------------------------------------------------------- */

static bool delta_from_run(const struct feed_want *want, const struct feed_run *run, struct arena *arena,
                           struct feed_delta *delta)
{
    struct buf out = BUF_INIT(DELTA_BYTES_MAX);
    answer_open(&out);
    for (int i = 0; i < run->count; i++)
        json_raw(&out, run->events[i]);
    answer_close(&out, &run->counters, false);
    *delta = (struct feed_delta){
        .place = {want->place.epoch, run->top},
        .changed = run->count > 0,
        .more = run->more,
        .active = is_active(&run->counters),
    };
    return answer_keep(&out, arena, &delta->json);
}

/* ---- from PostgreSQL
 * ---------------------------------------------------------------------------------------- */

static void write_mark(struct buf *out, const char *type, int64_t mark_rev, int64_t from_rev)
{
    if (mark_rev <= from_rev)
        return;
    json_open(out, '{');
    json_key(out, "type");
    json_text(out, str_from(type));
    json_key(out, "rev");
    json_int(out, mark_rev);
    json_close(out, '}');
}

static void write_marks(struct buf *out, const struct db_result *rows, int64_t from_rev)
{
    write_mark(out, "delete-all", db_int(rows, 0, ROW_DELETE_ALL), from_rev);
    write_mark(out, "read-all", db_int(rows, 0, ROW_READ_ALL), from_rev);
    write_mark(out, "seen-all", db_int(rows, 0, ROW_SEEN_ALL), from_rev);
}

static int64_t newest_mark(const struct db_result *rows)
{
    int64_t newest = 0;
    for (int column = ROW_READ_ALL; column < ROW_READ_ALL + MARKS; column++)
        if (db_int(rows, 0, column) > newest)
            newest = db_int(rows, 0, column);
    return newest;
}

/* A feed that does not exist yet: an empty state, remembered as such. */
static bool delta_of_nothing(const struct feed_want *want, struct arena *arena, struct redis *redis,
                             struct feed_delta *delta)
{
    struct feed_counters none = {0};
    struct feed_place place = {FEED_EPOCH_NONE, 0};
    bool reset = want->place.epoch != FEED_EPOCH_NONE;
    struct buf out = BUF_INIT(DELTA_BYTES_MAX);
    answer_open(&out);
    answer_close(&out, &none, reset);
    *delta = (struct feed_delta){.place = place, .changed = reset};
    feed_cache_refill(redis, arena, want, place, &none, NULL, 0);
    return answer_keep(&out, arena, &delta->json);
}

/* Writes the rows as events and, for a delta, makes cache entries of them that cover its revs without a gap.
 */
static int write_rows(struct buf *out, const struct db_result *rows, int count, int64_t from_rev, int64_t top,
                      const struct feed_counters *counters, struct feed_entry *entries, size_t *offsets)
{
    for (int i = 0; i < count; i++) {
        struct item item = item_from_row(rows, i);
        size_t before = out->bytes;
        item_write_event(out, &item);
        offsets[i] = before + (i > 0 || before > sizeof "{\"events\":[" - 1 ? 1 : 0);
        entries[i] = (struct feed_entry){
            i > 0 ? entries[i - 1].rev : from_rev, item.rev, *counters, {NULL, out->bytes - offsets[i]}};
    }
    if (count > 0 && entries[count - 1].rev < top)
        entries[count - 1].rev = top;
    return count;
}

static bool delta_from_rows(const struct feed_want *want, const struct db_result *rows, bool whole,
                            struct arena *arena, struct redis *redis, struct feed_delta *delta)
{
    struct feed_entry entries[LIMIT_DELTA_ROWS];
    size_t offsets[LIMIT_DELTA_ROWS];
    struct feed_place top = {(uint64_t)db_int(rows, 0, ROW_EPOCH), db_int(rows, 0, ROW_REV)};
    struct feed_counters counters = {db_int(rows, 0, ROW_UNREAD), db_int(rows, 0, ROW_UNSEEN),
                                     db_int(rows, 0, ROW_CHANGED)};
    int count = db_is_null(rows, 0, ITEM_ID) ? 0 : db_rows(rows);
    bool more = !whole && count > LIMIT_DELTA_ROWS;
    if (more)
        count = LIMIT_DELTA_ROWS;
    int64_t from_rev = whole ? 0 : want->place.rev;
    bool marked = !whole && newest_mark(rows) > from_rev;

    struct buf out = BUF_INIT(DELTA_BYTES_MAX);
    answer_open(&out);
    if (marked)
        write_marks(&out, rows, from_rev);
    write_rows(&out, rows, count, from_rev, more ? 0 : top.rev, &counters, entries, offsets);
    *delta = (struct feed_delta){
        .place = {top.epoch, more ? db_int(rows, count - 1, ITEM_REV) : top.rev},
        .changed = whole || marked || count > 0,
        .more = more,
        .active = is_active(&counters),
    };
    if (!buf_ok(&out)) {
        buf_free(&out);
        return false;
    }
    for (int i = 0; i < count; i++)
        entries[i].event.data = out.data + offsets[i];
    if (!more)
        feed_cache_refill(redis, arena, want, top, &counters, entries, whole || marked ? 0 : count);
    answer_close(&out, &counters, whole);
    return answer_keep(&out, arena, &delta->json);
}

static enum result query_feed(struct db *db, const struct feed_want *want, bool whole, struct arena *arena,
                              struct db_result **rows, struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    db_arg_text(&args, want->user);
    if (!whole)
        db_arg_int(&args, want->place.rev);
    db_arg_int(&args, whole ? STATE_ROWS : LIMIT_DELTA_ROWS + 1);
    return db_run(db, want->tenant, want->user, whole ? &query_feed_read_state : &query_feed_read_delta,
                  &args, arena, rows, error);
}

static enum result read_from_database(struct db *db, struct redis *redis, const struct feed_want *want,
                                      struct arena *arena, struct feed_delta *delta, struct error *error)
{
    struct db_result *rows = NULL;
    bool whole = want->place.epoch == 0 || want->place.epoch == FEED_EPOCH_NONE;
    enum result result = query_feed(db, want, whole, arena, &rows, error);
    if (result != RESULT_OK)
        return result;
    if (db_rows(rows) > 0 && !whole &&
        ((uint64_t)db_int(rows, 0, ROW_EPOCH) != want->place.epoch ||
         db_int(rows, 0, ROW_REV) < want->place.rev)) {
        whole = true; /* the place is of another life of this feed */
        result = query_feed(db, want, whole, arena, &rows, error);
        if (result != RESULT_OK)
            return result;
    }
    bool made = db_rows(rows) == 0 ? delta_of_nothing(want, arena, redis, delta)
                                   : delta_from_rows(want, rows, whole, arena, redis, delta);
    return made ? RESULT_OK : error_set(error, RESULT_FAILED, "could not write a feed's answer: too large");
}

enum result feed_read(struct redis *redis, struct db_pool *pool, const struct feed_want *wants, int count,
                      struct arena *arena, struct feed_delta *deltas, struct error *error)
{
    struct feed_run *runs = arena_array(arena, (size_t)count, sizeof *runs);
    if (!runs)
        return error_set(error, RESULT_FAILED, "could not read feeds: no memory");
    feed_cache_read(redis, wants, count, arena, runs);

    struct db *db = NULL;
    enum result result = RESULT_OK;
    for (int i = 0; i < count && result == RESULT_OK; i++) {
        if (runs[i].known && delta_from_run(&wants[i], &runs[i], arena, &deltas[i]))
            continue;
        if (!db && !(db = db_pool_take(pool, POOL_WAIT_MS)))
            return error_set(error, RESULT_BUSY, "could not read feeds: every database connection is busy");
        result = read_from_database(db, redis, &wants[i], arena, &deltas[i], error);
    }
    if (db) {
        db_pool_give(pool, db);
        feed_cache_flush(redis, arena);
    }
    return result;
}

/* ---- the sweep
 * ---------------------------------------------------------------------------------------------- */

enum result feed_revs(struct db_pool *pool, const struct feed_want *wants, int count, struct arena *arena,
                      struct feed_place *places, struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    struct db_array array;
    db_array_begin(&array, &args);
    for (int i = 0; i < count; i++)
        db_array_int(&array, wants[i].tenant);
    db_array_end(&array);
    db_array_begin(&array, &args);
    for (int i = 0; i < count; i++)
        db_array_text(&array, wants[i].key);
    db_array_end(&array);

    struct db *db = db_pool_take(pool, POOL_WAIT_MS);
    if (!db)
        return error_set(error, RESULT_BUSY, "could not sweep feeds: every database connection is busy");
    struct db_result *rows = NULL;
    enum result result = db_run(db, DB_TENANT_NONE, STR_NONE, &query_feed_revs, &args, arena, &rows, error);
    db_pool_give(pool, db);
    if (result != RESULT_OK)
        return result;
    for (int i = 0; i < count; i++)
        places[i] = (struct feed_place){FEED_EPOCH_NONE, 0};
    for (int row = 0; row < db_rows(rows); row++) {
        int64_t ordinal = db_int(rows, row, 0);
        if (ordinal >= 1 && ordinal <= count)
            places[ordinal - 1] = (struct feed_place){(uint64_t)db_int(rows, row, 1), db_int(rows, row, 2)};
    }
    return RESULT_OK;
}

/* ---- announcing
 * --------------------------------------------------------------------------------------------- */

static void log_unannounced(int count)
{
    static _Atomic int64_t quiet_until_ms;
    int64_t now_ms = clock_mono_ms();
    if (now_ms < quiet_until_ms)
        return;
    quiet_until_ms = now_ms + ANNOUNCE_LOG_MS;
    log_warning("could not announce changes to Redis; waiting clients learn of them by sweep",
                LOG_INT("changes", count));
}

void feed_announce(struct redis *redis, const struct feed_change *changes, int count)
{
    struct arena *arena = arena_create(ANNOUNCE_ARENA_BYTES);
    if (!arena)
        return;
    int64_t now_s = clock_now_us() / 1000000;
    for (int done = 0; done < count; done += ANNOUNCE_SLICE) {
        for (int i = done; i < count && i < done + ANNOUNCE_SLICE; i++)
            feed_cache_announce(redis, arena, &changes[i], now_s);
        if (!feed_cache_flush(redis, arena)) {
            log_unannounced(count - done);
            break;
        }
        arena_reset(arena);
    }
    arena_destroy(arena);
}

bool feed_wake_parse(struct str payload, struct feed_wake *wake)
{
    long long tenant, rev;
    struct str word = str_cut(payload, ' ', &payload);
    if (!str_to_int(word, 1, INT32_MAX, &tenant))
        return false;
    struct str epoch = str_cut(payload, ' ', &payload);
    word = str_cut(payload, ' ', &payload);
    if (epoch.bytes < 1 || epoch.bytes > 16 || !str_to_int(word, 0, INT64_MAX, &rev) || payload.bytes == 0 ||
        payload.bytes >= FEED_KEY_BYTES)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < epoch.bytes; i++) {
        char c = epoch.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        value = value << 4 | (uint64_t)digit;
    }
    *wake = (struct feed_wake){(int)tenant, payload, {value, rev}};
    return true;
}
