/*
 * Transactions in libpq's pipeline mode.
 *
 * db_queue() only collects: query and parameters go to libpq when db_finish(), db_step() or db_send() decides
 * that the transaction leaves, so abandoning an unsent one costs nothing. What was sent is mirrored by a list
 * of the answers that are owed (waits[]); take_answers() walks down that list as they come. If a statement
 * fails, the server skips to the sync; a transaction that is then still open is rolled back with one more
 * trip, before the caller learns of it: an ended transaction never leaves the connection in a failed state.
 *
 * Reading goes on while writing is blocked, so two full socket buffers cannot stop each other.
 *
 * Promises: no call blocks longer than DB_FINISH_MS; a connection that is given up is closed. 08007 is
 * reported when COMMIT may have reached the server and its answer did not reach us, and only then.
 */
#include "io/db.h"
#include "core/clock.h"
#include "io/db_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct db_query query_begin = {"db_begin", "begin"};
static const struct db_query query_commit = {"db_commit", "commit"};
static const struct db_query query_rollback = {"db_rollback", "rollback"};
static const struct db_query query_context = {
    "db_context", "select set_config('belfry.tenant', $1, true), set_config('belfry.user', $2, true)"};

/* Results that an arena owns. */
struct db_results {
    int count;
    PGresult *results[DB_STATEMENTS_MAX];
};

static void release_results(void *object)
{
    struct db_results *held = object;
    for (int i = 0; i < held->count; i++)
        PQclear(held->results[i]);
}

static void clear_results(struct db *db)
{
    for (int i = 0; i < db->statement_count; i++) {
        PQclear(db->results[i]);
        db->results[i] = NULL;
    }
}

static void forget_statements(struct db *db)
{
    clear_results(db);
    db->statement_count = db->value_count = 0;
    db->wait_count = db->wait_next = 0;
    db->outcome = RESULT_OK;
    db->failed = -1;
    memset(&db->error, 0, sizeof db->error);
}

static void go_idle(struct db *db)
{
    forget_statements(db);
    db->state = DB_IDLE;
    db->open_on_server = db->commit_sent = db->rolling_back = false;
    if (db->must_close)
        db_connection_drop(db);
}

/* ---- beginning and collecting ---- */

enum result db_begin(struct db *db, int tenant, struct str user, struct error *error)
{
    if (db->state != DB_IDLE)
        db_abandon(db);
    if (user.bytes > LIMIT_ID_BYTES || (user.bytes && memchr(user.data, 0, user.bytes)))
        return error_set(error, RESULT_INVALID, "cannot begin a transaction for this user id");
    enum result code = db_connection_ensure(db, error);
    if (code != RESULT_OK)
        return code;
    db->nobody = tenant == DB_TENANT_NONE && user.bytes == 0;
    db->tenant[0] = '\0';
    if (tenant != DB_TENANT_NONE)
        snprintf(db->tenant, sizeof db->tenant, "%d", tenant);
    if (user.bytes)
        memcpy(db->user, user.data, user.bytes);
    db->user[user.bytes] = '\0';
    db->state = DB_OPEN;
    return RESULT_OK;
}

enum result db_queue(struct db *db, const struct db_query *query, const struct db_args *args,
                     struct error *error)
{
    if (db->state != DB_OPEN)
        return error_set(error, RESULT_FAILED, "cannot run %s outside a transaction", query->name);
    if (args && args->failed)
        return error_set(error, RESULT_FAILED, "could not build the parameters of %s", query->name);
    if (db->statement_count == DB_STATEMENTS_MAX)
        return error_set(error, RESULT_FAILED, "cannot run %s: too many statements at once", query->name);
    const char **values = db->values + db->value_count;
    int count = args ? args->count : 0;
    if (count)
        memcpy(values, args->values, (size_t)count * sizeof *values);
    db->value_count += count;
    db->statements[db->statement_count++] = (struct db_statement){query, values, count};
    return RESULT_OK;
}

/* ---- sending ---- */

static void expect(struct db *db, enum db_wait_kind kind, int statement, int slot)
{
    db->waits[db->wait_count++] = (struct db_wait){.kind = kind, .statement = statement, .slot = slot};
}

static bool send_query(struct db *db, enum db_wait_kind kind, int statement, const struct db_statement *s)
{
    int slot = db->prepare ? db_prepared_slot(&db->prepared, s->query->name) : -1;
    if (slot < 0) {
        expect(db, kind, statement, -1);
        return PQsendQueryParams(db->conn, s->query->sql, s->count, NULL, s->values, NULL, NULL, 0) == 1;
    }
    if (db->prepared.states[slot] == DB_PREPARED_NO) {
        if (PQsendPrepare(db->conn, s->query->name, s->query->sql, 0, NULL) != 1)
            return false;
        db->prepared.states[slot] = DB_PREPARED_ASKED;
        expect(db, DB_WAIT_PREPARE, statement, slot);
    }
    expect(db, kind, statement, -1);
    return PQsendQueryPrepared(db->conn, s->query->name, s->count, s->values, NULL, NULL, 0) == 1;
}

static bool send_begin(struct db *db)
{
    if (!send_query(db, DB_WAIT_CONTROL, -1, &(struct db_statement){&query_begin, NULL, 0}))
        return false;
    if (db->nobody)
        return true;
    const char *const values[] = {db->tenant, db->user};
    return send_query(db, DB_WAIT_CONTROL, -1, &(struct db_statement){&query_context, values, 2});
}

static bool send_sync(struct db *db)
{
    expect(db, DB_WAIT_SYNC, -1, -1);
    if (PQpipelineSync(db->conn) != 1)
        return false;
    int unsent = PQflush(db->conn);
    db->wants_write = unsent > 0;
    return unsent >= 0;
}

static bool send_all(struct db *db, bool commit)
{
    if (!db->open_on_server && !send_begin(db))
        return false;
    for (int i = 0; i < db->statement_count; i++)
        if (!send_query(db, DB_WAIT_STATEMENT, i, &db->statements[i]))
            return false;
    if (commit) {
        db->commit_sent = true; /* set before: libpq may write early */
        if (!send_query(db, DB_WAIT_COMMIT, -1, &(struct db_statement){&query_commit, NULL, 0}))
            return false;
    }
    return send_sync(db);
}

/* ---- how it ended ---- */

static void end(struct db *db)
{
    db->state = DB_ENDED;
    db->open_on_server = db->outcome == RESULT_OK && !db->commit_sent;
}

static void end_lost(struct db *db, const char *why)
{
    if (db->outcome == RESULT_OK) {
        db->outcome = error_set(&db->error, RESULT_OFFLINE, "%s%s", why,
                                db->commit_sent ? "; whether it was committed is unknown" : "");
        memcpy(db->error.sqlstate, db->commit_sent ? "08007" : "", db->commit_sent ? 6 : 1);
    }
    db->must_close = true;
    db->wants_write = false;
    end(db);
}

static const char *wait_name(const struct db *db, const struct db_wait *wait)
{
    if (wait->statement >= 0)
        return db->statements[wait->statement].query->name;
    return wait->kind == DB_WAIT_COMMIT ? "COMMIT" : "BEGIN";
}

static bool is_fatal(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    return !severity || strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0;
}

/* The first error is the one that counts; what follows was skipped because of it. */
static void note_failure(struct db *db, const struct db_wait *wait, const PGresult *result)
{
    if (db->outcome != RESULT_OK)
        return;
    if (is_fatal(result)) {
        db->must_close = true;
        if (wait->kind == DB_WAIT_COMMIT || !PQresultErrorField(result, PG_DIAG_SQLSTATE)) {
            end_lost(db, "lost the database");
            return;
        }
    }
    db->outcome = db_error_from_result(result, wait_name(db, wait), &db->error);
    db->failed = wait->statement;
    const char *state = db->error.sqlstate;
    /* what we believe to be prepared is not what the server has: start afresh */
    if (strcmp(state, "26000") == 0 || strcmp(state, "42P05") == 0 || strcmp(state, "0A000") == 0)
        db->must_close = true;
}

/* COMMIT of a transaction that had failed answers ROLLBACK and is no error to the server. */
static void check_commit(struct db *db, PGresult *result)
{
    if (db->outcome == RESULT_OK && strcmp(PQcmdStatus(result), "COMMIT") != 0)
        db->outcome =
            error_set(&db->error, RESULT_FAILED, "could not commit: the transaction was rolled back");
}

/* ---- receiving ---- */

static void take_result(struct db *db, struct db_wait *wait, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool good = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    wait->answered = true;
    if (wait->kind == DB_WAIT_PREPARE)
        db->prepared.states[wait->slot] = good ? DB_PREPARED_YES : DB_PREPARED_NO;
    if (!good && status != PGRES_PIPELINE_ABORTED)
        note_failure(db, wait, result);
    if (good && wait->kind == DB_WAIT_COMMIT)
        check_commit(db, result);
    if (good && wait->kind == DB_WAIT_STATEMENT && !db->results[wait->statement])
        db->results[wait->statement] = result;
    else
        PQclear(result);
}

/* The sync's answer has come: ends the transaction, or rolls back what failed and is still open. */
static void take_sync(struct db *db)
{
    PGTransactionStatusType status = PQtransactionStatus(db->conn);
    if (db->outcome == RESULT_OK || status == PQTRANS_IDLE || db->must_close || db->rolling_back) {
        end(db);
        return;
    }
    db->rolling_back = true;
    expect(db, DB_WAIT_CONTROL, -1, -1);
    if (PQsendQueryParams(db->conn, query_rollback.sql, 0, NULL, NULL, NULL, NULL, 0) != 1 || !send_sync(db))
        end_lost(db, "lost the database");
}

static void take_answers(struct db *db)
{
    while (db->state == DB_RUNNING && db->wait_next < db->wait_count && !PQisBusy(db->conn)) {
        struct db_wait *wait = &db->waits[db->wait_next];
        PGresult *result = PQgetResult(db->conn);
        if (!result) { /* ends the answers to one query */
            if (!wait->answered) {
                end_lost(db, "lost step with the database");
                return;
            }
            db->wait_next++;
        } else if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            db->wait_next++;
            take_sync(db);
        } else {
            take_result(db, wait, result);
        }
    }
}

/* So that a caller's epoll does not spin on a connection that the server closed. */
static void pump_idle(struct db *db)
{
    if (db->conn && db->state == DB_IDLE && !db_connection_lives(db))
        db_connection_drop(db);
}

bool db_pump(struct db *db)
{
    if (db->state != DB_RUNNING) {
        pump_idle(db);
        return db->state == DB_ENDED;
    }
    int unsent = db->wants_write ? PQflush(db->conn) : 0;
    db->wants_write = unsent > 0;
    bool lost = PQconsumeInput(db->conn) != 1 || unsent < 0;
    take_answers(db); /* before giving up: the reason may have come last */
    if (db->state == DB_RUNNING && (lost || PQstatus(db->conn) != CONNECTION_OK))
        end_lost(db, "lost the database");
    else if (db->state == DB_RUNNING && clock_mono_ms() >= db->deadline_ms)
        end_lost(db, "the database did not answer in time");
    return db->state == DB_ENDED;
}

/* ---- ending ---- */

static void start(struct db *db, bool commit, int within_ms)
{
    db->deadline_ms = clock_mono_ms() + within_ms;
    db->state = DB_RUNNING;
    if (!send_all(db, commit))
        end_lost(db, "lost the database");
}

static void wait_until_ended(struct db *db)
{
    while (db->state == DB_RUNNING) {
        if (!db_wait_socket(PQsocket(db->conn), db->wants_write, true, db->deadline_ms))
            db->deadline_ms = 0; /* db_pump() gives up, but looks once more */
        db_pump(db);
    }
}

enum result db_send(struct db *db, struct error *error)
{
    if (db->state != DB_OPEN)
        return error_set(error, RESULT_FAILED, "cannot send: no transaction is open");
    start(db, true, DB_FINISH_MS);
    return RESULT_OK;
}

/* Hands the outcome of an ended transaction or step to the caller. held is the arena's. */
static enum result deliver(struct db *db, struct db_results *held, struct db_result *const **results,
                           int *count, int *failed, struct error *error)
{
    enum result code = db->outcome;
    if (code != RESULT_OK && error)
        *error = db->error;
    if (failed)
        *failed = db->failed;
    if (code == RESULT_OK) {
        held->count = db->statement_count;
        memcpy(held->results, db->results, (size_t)held->count * sizeof *held->results);
        memset(db->results, 0, sizeof db->results);
    }
    if (results)
        *results = (struct db_result *const *)held->results;
    if (count)
        *count = held->count;
    bool goes_on = code == RESULT_OK && db->open_on_server;
    if (!goes_on) {
        go_idle(db);
        return code;
    }
    forget_statements(db);
    db->state = DB_OPEN;
    return code;
}

static enum result run(struct db *db, bool commit, struct arena *arena, struct db_result *const **results,
                       int *count, int *failed, struct error *error)
{
    if (results)
        *results = NULL;
    if (count)
        *count = 0;
    if (failed)
        *failed = -1;
    if (db->state == DB_IDLE)
        return error_set(error, RESULT_FAILED, "cannot finish: no transaction is open");
    struct db_results *held = arena_alloc(arena, sizeof *held);
    if (!held || !arena_defer(arena, release_results, held)) {
        db_abandon(db);
        return error_set(error, RESULT_FAILED, "could not run a transaction: no memory");
    }
    if (db->state == DB_OPEN)
        start(db, commit, DB_FINISH_MS);
    wait_until_ended(db);
    return deliver(db, held, results, count, failed, error);
}

enum result db_finish(struct db *db, struct arena *arena, struct db_result *const **results, int *count,
                      int *failed, struct error *error)
{
    return run(db, true, arena, results, count, failed, error);
}

enum result db_step(struct db *db, struct arena *arena, struct db_result *const **results, int *count,
                    int *failed, struct error *error)
{
    return run(db, false, arena, results, count, failed, error);
}

void db_abandon(struct db *db)
{
    if (db->state == DB_RUNNING)
        db->must_close = true;
    if (db->state == DB_OPEN && db->open_on_server) {
        static const struct db_statement rollback = {&query_rollback, NULL, 0};
        forget_statements(db);
        db->deadline_ms = clock_mono_ms() + DB_ABANDON_MS;
        db->state = DB_RUNNING;
        db->rolling_back = true;
        if (send_query(db, DB_WAIT_CONTROL, -1, &rollback) && send_sync(db))
            wait_until_ended(db);
        else
            db->must_close = true;
    }
    go_idle(db);
}

enum result db_run(struct db *db, int tenant, struct str user, const struct db_query *query,
                   const struct db_args *args, struct arena *arena, struct db_result **result,
                   struct error *error)
{
    struct db_result *const *results;
    if (result)
        *result = NULL;
    enum result code = db_begin(db, tenant, user, error);
    if (code != RESULT_OK)
        return code;
    code = db_queue(db, query, args, error);
    if (code != RESULT_OK) {
        db_abandon(db);
        return code;
    }
    code = db_finish(db, arena, &results, NULL, NULL, error);
    if (code == RESULT_OK && result)
        *result = results ? results[0] : NULL;
    return code;
}

/* ---- scripts ---- */

enum result db_script(struct db *db, const char *sql, struct error *error)
{
    if (db->state != DB_IDLE)
        db_abandon(db);
    enum result code = db_connection_ensure(db, error);
    if (code != RESULT_OK)
        return code;
    if (PQexitPipelineMode(db->conn) != 1) {
        db_connection_drop(db);
        return error_set(error, RESULT_OFFLINE, "could not run a script: the connection is busy");
    }
    PGresult *result = PQexec(db->conn, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
        code = db_error_from_result(result, "the script", error);
    PQclear(result);
    if (PQtransactionStatus(db->conn) != PQTRANS_IDLE || PQenterPipelineMode(db->conn) != 1)
        db_connection_drop(db);
    return code;
}
