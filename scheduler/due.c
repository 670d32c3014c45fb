/*
 * The duty `due`: what belfry.due says happens when its time has come.
 *
 *   send      a scheduled notification arrives: inbox, plan, deliveries (domain/send)
 *   expire    an expired one leaves the inbox
 *   unsnooze  a snoozed one comes back to its top
 *
 * Each is done for many notifications of one tenant in one transaction, which first locks their feeds in
 * order. If one of these is locked by somebody for longer than a moment, smaller and smaller parts are tried,
 * and at last that one is passed over: it holds up nobody else, and is tried again in the next round.
 *
 * The rows of belfry.due are not locked: the duty's lease keeps others away, and the statements look at each
 * notification again under its feed's lock, so a cancel that came first wins.
 */
#include "core/clock.h"
#include "core/limits.h"
#include "domain/feed.h"
#include "domain/queue.h"
#include "domain/send.h"
#include "queries.h"
#include "scheduler/duties.h"
#include "scheduler/inbox.h"
#include <stdio.h>
#include <string.h>

enum { DUE_ROWS = 200, DUE_ROWS_STEP = 8 };

/* Where the round is, and how much is tried at once: of this process, lost without harm. */
struct due_round {
    char at[64];
    int tenant;
    char id[UUID_TEXT_BYTES + 1];
    int rows;
    bool passed; /* something was passed over in this round */
};

static void start_round(struct due_round *round)
{
    snprintf(round->at, sizeof round->at, "-infinity");
    round->tenant = 0;
    snprintf(round->id, sizeof round->id, "00000000-0000-0000-0000-000000000000");
    round->passed = false;
    if (round->rows == 0)
        round->rows = DUE_ROWS;
}

enum { COLUMN_TENANT, COLUMN_ID, COLUMN_KIND, COLUMN_AT };

/* Those of one tenant and kind among the rows that were found. */
struct due_group {
    int tenant;
    struct str kind;
    struct uuid ids[DUE_ROWS];
    int count;
};

static enum result find(struct scheduler *s, const struct due_round *round, struct db_result **rows,
                        struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    db_arg_cstr(&args, round->at);
    db_arg_int(&args, round->tenant);
    db_arg_cstr(&args, round->id);
    db_arg_int(&args, round->rows);
    return db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_due_find, &args, s->arena, rows, error);
}

static void make_group(const struct db_result *rows, struct due_group *group)
{
    group->tenant = (int)db_int(rows, 0, COLUMN_TENANT);
    group->kind = db_text(rows, 0, COLUMN_KIND);
    group->count = 0;
    for (int row = 0; row < db_rows(rows) && group->count < DUE_ROWS; row++)
        if ((int)db_int(rows, row, COLUMN_TENANT) == group->tenant &&
            str_equal(db_text(rows, row, COLUMN_KIND), group->kind))
            group->ids[group->count++] = db_uuid(rows, row, COLUMN_ID);
}

/* ---- scheduled notifications arrive ---- */

static enum result arrive(struct scheduler *s, const struct due_group *group, struct error *error)
{
    struct db_result *const *results;
    struct feed_change *changes;
    int first, count;
    enum result code = db_queue(s->db, &query_scheduler_brief, NULL, error);
    if (code == RESULT_OK)
        code = send_queue_due(s->db, s->arena, group->ids, group->count, 1, &first, error);
    if (code == RESULT_OK)
        code = db_finish(s->db, s->arena, &results, NULL, NULL, error);
    if (code == RESULT_OK)
        code = send_collect_due(s->arena, group->tenant, results, first, &changes, &count, error);
    if (code != RESULT_OK)
        return code;
    feed_announce(s->redis, changes, count);
    const struct db_result *channels = results[first + 2];
    for (int row = 0; row < db_rows(channels); row++) {
        struct str channel = db_text(channels, row, 0);
        queue_wake(s->redis, group->tenant, &channel, 1);
    }
    return RESULT_OK;
}

static enum result do_group(struct scheduler *s, const struct due_group *group, struct error *error)
{
    enum result code = db_begin(s->db, group->tenant, STR("*"), error);
    if (code != RESULT_OK)
        return code;
    if (str_is(group->kind, "send"))
        code = arrive(s, group, error);
    else if (str_is(group->kind, "expire"))
        code = inbox_leave(s, group->tenant, group->ids, group->count, NULL, error);
    else
        code = inbox_return(s, group->tenant, group->ids, group->count, error);
    db_abandon(s->db); /* nothing if it was committed */
    return code;
}

/* Goes on after the first row that was found. */
static void pass_over(struct due_round *round, const struct db_result *rows)
{
    snprintf(round->at, sizeof round->at, "%s", db_text(rows, 0, COLUMN_AT).data);
    round->tenant = (int)db_int(rows, 0, COLUMN_TENANT);
    snprintf(round->id, sizeof round->id, "%s", db_text(rows, 0, COLUMN_ID).data);
    round->passed = true;
}

enum result duty_due(struct scheduler *s, bool *more, struct error *error)
{
    static struct due_round round;
    struct due_group *group = arena_alloc(s->arena, sizeof *group);
    struct db_result *rows;
    if (!group)
        return error_set(error, RESULT_FAILED, "could not look what is due: no memory");
    if (round.rows == 0)
        start_round(&round);
    enum result code = find(s, &round, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(rows) == 0) {
        bool passed = round.passed;
        start_round(&round);
        return passed ? error_set(error, RESULT_BUSY, "some inboxes are locked by others") : RESULT_OK;
    }
    make_group(rows, group);
    code = do_group(s, group, error);
    *more = code == RESULT_OK || code == RESULT_BUSY;
    if (code == RESULT_OK && round.rows < DUE_ROWS)
        round.rows = round.rows * 2 < DUE_ROWS ? round.rows * 2 : DUE_ROWS;
    if (code != RESULT_OK && code != RESULT_OFFLINE && round.rows == 1)
        pass_over(&round, rows); /* whatever is wrong with it, others wait */
    if (code != RESULT_OK && code != RESULT_OFFLINE)
        round.rows = round.rows > DUE_ROWS_STEP ? round.rows / DUE_ROWS_STEP : 1;
    return code == RESULT_BUSY ? RESULT_OK : code;
}
