/*
 * The duties that keep the database from growing: `age`, `partition`, `forget`.
 *
 * A notification has three lives. It is in the inbox for BELFRY_KEEP_INBOX_DAYS after it arrived; then `age`
 * takes it out, with a new rev and the counters right, so that every reader sees it go; 30 days later, when
 * no cursor that is still honoured can be older, its partition is dropped. Deliveries and attempts are
 * dropped with their day. What is still on its way, or due in the future, keeps its partition.
 *
 * `age` walks hour by hour of the time in the ids, tenant by tenant, and notes how far it came in
 * belfry.retention in the same transaction as the work: each notification is visited once.
 */
#include "core/log.h"
#include "queries.h"
#include "scheduler/duties.h"
#include "scheduler/inbox.h"

enum {
    AGE_ROWS = 200,
    FORGET_ROWS = 1000,
    AHEAD_DAYS = 14,
    TOMBSTONE_DAYS = 30 /* cursors older than this are answered with a reset */
};

/* ---- age ---- */

struct age_place {
    struct str hour; /* as PostgreSQL writes it */
    int tenant;
    struct uuid id;
    bool ripe; /* the hour is older than is kept */
};

static enum result read_place(struct scheduler *s, struct age_place *place, struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    struct db_result *rows;
    db_arg_int(&args, s->config->keep_inbox_days);
    enum result code =
        db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_age_place, &args, s->arena, &rows, error);
    if (code == RESULT_OK && db_rows(rows) == 1)
        *place = (struct age_place){db_text(rows, 0, 0), (int)db_int(rows, 0, 1), db_uuid(rows, 0, 2),
                                    db_bool(rows, 0, 3)};
    return code;
}

static enum result find_old(struct scheduler *s, const struct age_place *place, struct db_result **rows,
                            struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    db_arg_text(&args, place->hour);
    db_arg_int(&args, place->tenant);
    db_arg_uuid(&args, &place->id);
    db_arg_int(&args, AGE_ROWS);
    return db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_age_find, &args, s->arena, rows, error);
}

/* Those of the first tenant among the rows, and how far that brings us, in one transaction. */
static enum result leave_old(struct scheduler *s, const struct db_result *rows, struct error *error)
{
    struct uuid ids[AGE_ROWS];
    int tenant = (int)db_int(rows, 0, 0), count = 0;
    struct db_args args = DB_ARGS(s->arena);
    for (int row = 0; row < db_rows(rows) && (int)db_int(rows, row, 0) == tenant; row++)
        ids[count++] = db_uuid(rows, row, 1);
    db_arg_int(&args, tenant);
    db_arg_uuid(&args, &ids[count - 1]);
    const struct inbox_extra advance = {&query_scheduler_age_advance, &args};
    enum result code = db_begin(s->db, tenant, STR("*"), error);
    if (code == RESULT_OK)
        code = inbox_leave(s, tenant, ids, count, &advance, error);
    db_abandon(s->db);
    return code;
}

enum result duty_age(struct scheduler *s, bool *more, struct error *error)
{
    struct age_place place = {.ripe = false};
    struct db_result *rows;
    enum result code = read_place(s, &place, error);
    if (code != RESULT_OK || !place.ripe)
        return code;
    *more = true;
    code = find_old(s, &place, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(rows) > 0)
        return leave_old(s, rows, error);
    return db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_age_next_hour, NULL, s->arena, NULL,
                  error);
}

/* ---- partitions ---- */

/* *dropped: one was, and there may be another. */
static enum result drop_one(struct scheduler *s, const char *parent, struct str before, bool *dropped,
                            struct error *error)
{
    struct db_args find = DB_ARGS(s->arena), drop = DB_ARGS(s->arena);
    struct db_result *found, *rows;
    *dropped = false;
    db_arg_cstr(&find, parent);
    db_arg_text(&find, before);
    enum result code = db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_partition_find, &find,
                              s->arena, &found, error);
    if (code != RESULT_OK || db_rows(found) == 0)
        return code;
    struct str partition = db_text(found, 0, 0);
    db_arg_cstr(&drop, parent);
    db_arg_text(&drop, partition);
    db_arg_text(&drop, before);
    code = db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_partition_drop, &drop, s->arena, &rows,
                  error);
    *dropped = code == RESULT_OK && db_bool(rows, 0, 0);
    if (*dropped)
        log_info("dropped a partition past its time", LOG_STR("partition", partition));
    return code;
}

enum result duty_partition(struct scheduler *s, bool *more, struct error *error)
{
    static const struct {
        const char *parent;
        int bound;
    } parents[] = {{"attempt", 1}, {"delivery", 1}, {"notification", 0}};
    struct db_args ahead = DB_ARGS(s->arena), bounds = DB_ARGS(s->arena);
    struct db_result *rows;
    db_arg_int(&ahead, AHEAD_DAYS);
    enum result code = db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_partitions_ahead, &ahead,
                              s->arena, NULL, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&bounds, TOMBSTONE_DAYS);
    db_arg_int(&bounds, s->config->keep_delivery_days);
    code = db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_partition_bounds, &bounds, s->arena,
                  &rows, error);
    for (size_t i = 0; i < sizeof parents / sizeof *parents && code == RESULT_OK; i++) {
        bool dropped = false;
        code = drop_one(s, parents[i].parent, db_text(rows, 0, parents[i].bound), &dropped, error);
        *more |= dropped;
    }
    return code;
}

/* ---- what has had its time ---- */

enum result duty_forget(struct scheduler *s, bool *more, struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    struct db_result *rows;
    db_arg_int(&args, FORGET_ROWS);
    db_arg_int(&args, s->config->keep_delivery_days);
    enum result code =
        db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_forget, &args, s->arena, &rows, error);
    *more = code == RESULT_OK && db_int(rows, 0, 0) == FORGET_ROWS;
    return code;
}
