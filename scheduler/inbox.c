/* See inbox.h; the rules of counting are those of sql/queries/inbox.sql and notifications.sql. */
#include "scheduler/inbox.h"
#include "core/clock.h"
#include "domain/feed.h"
#include "queries.h"

enum { COLUMN_KEY, COLUMN_EPOCH, COLUMN_REV, COLUMN_UNREAD, COLUMN_UNSEEN };
enum { RESULT_OF_CHANGE = 2 }; /* after scheduler_brief and scheduler_lock_feeds */

static void arg_ids(struct db_args *args, const struct uuid *ids, int count)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < count; i++)
        db_array_uuid(&array, &ids[i]);
    db_array_end(&array);
}

/* The rows' contents are not at hand: the cached tails are dropped, and readers fetch. */
static void announce(struct scheduler *s, int tenant, const struct db_result *rows)
{
    struct feed_change *changes = arena_array(s->arena, (size_t)db_rows(rows) + 1, sizeof *changes);
    if (!changes)
        return; /* waiting readers learn by sweep */
    for (int row = 0; row < db_rows(rows); row++)
        changes[row] = (struct feed_change){
            .tenant = tenant,
            .key = db_text(rows, row, COLUMN_KEY),
            .place = {(uint64_t)db_int(rows, row, COLUMN_EPOCH), db_int(rows, row, COLUMN_REV)},
            .prev_rev = db_int(rows, row, COLUMN_REV) - 1,
            .unread = db_int(rows, row, COLUMN_UNREAD),
            .unseen = db_int(rows, row, COLUMN_UNSEEN),
            .event = STR_NONE,
        };
    feed_announce(s->redis, changes, db_rows(rows));
}

static enum result change(struct scheduler *s, int tenant, const struct uuid *ids, int count,
                          const struct db_query *query, const struct db_args *args,
                          const struct inbox_extra *extra, struct error *error)
{
    struct db_args lock = DB_ARGS(s->arena);
    struct db_result *const *results;
    arg_ids(&lock, ids, count);
    enum result code = db_queue(s->db, &query_scheduler_brief, NULL, error);
    if (code == RESULT_OK)
        code = db_queue(s->db, &query_scheduler_lock_feeds, &lock, error);
    if (code == RESULT_OK)
        code = db_queue(s->db, query, args, error);
    if (code == RESULT_OK && extra)
        code = db_queue(s->db, extra->query, extra->args, error);
    if (code == RESULT_OK)
        code = db_finish(s->db, s->arena, &results, NULL, NULL, error);
    if (code == RESULT_OK)
        announce(s, tenant, results[RESULT_OF_CHANGE]);
    return code;
}

enum result inbox_leave(struct scheduler *s, int tenant, const struct uuid *ids, int count,
                        const struct inbox_extra *extra, struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    int64_t keep_us = (int64_t)s->config->keep_inbox_days * 24 * 3600 * 1000000;
    arg_ids(&args, ids, count);
    db_arg_time(&args, clock_now_us() - keep_us);
    return change(s, tenant, ids, count, &query_scheduler_leave, &args, extra, error);
}

enum result inbox_return(struct scheduler *s, int tenant, const struct uuid *ids, int count,
                         struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    arg_ids(&args, ids, count);
    return change(s, tenant, ids, count, &query_scheduler_return, &args, NULL, error);
}
