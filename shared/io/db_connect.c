/*
 * Connections to PostgreSQL: opened without blocking and with a deadline, put into pipeline mode, thrown away
 * when broken.
 *
 * Promises: db_connection_ensure() returns within connect_timeout_ms (name resolution by the system's
 * resolver apart); while the server is down it fails at once between tries, which are 250 ms to 1 s apart. An
 * idle connection that the server has closed is noticed before it is used. What the server says about the
 * values of a row never gets into an error sentence.
 *
 * A new class of server errors that callers must tell apart: add it to classify() and to db.h.
 */
#include "core/clock.h"
#include "io/db_private.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

struct db *db_open(const struct db_settings *settings)
{
    struct db *db = calloc(1, sizeof *db);
    if (!db)
        return NULL;
    db->conninfo = strdup(settings->conninfo ? settings->conninfo : "");
    db->application = strdup(settings->application ? settings->application : "belfry");
    db->prepare = settings->prepare;
    db->connect_timeout_ms = settings->connect_timeout_ms > 0 ? settings->connect_timeout_ms : DB_CONNECT_MS;
    db->gate = &db->own_gate;
    db->failed = -1;
    if (!db->conninfo || !db->application) {
        db_close(db);
        return NULL;
    }
    return db;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    for (int i = 0; i < DB_STATEMENTS_MAX; i++)
        PQclear(db->results[i]);
    db_connection_drop(db);
    free(db->conninfo);
    free(db->application);
    free(db);
}

void db_connection_drop(struct db *db)
{
    if (db->conn)
        PQfinish(db->conn);
    db->conn = NULL;
    db->wants_write = false;
    db->must_close = false;
    db->open_on_server = false;
    memset(&db->prepared, 0, sizeof db->prepared);
}

int db_fd(const struct db *db)
{
    return db->conn ? PQsocket(db->conn) : -1;
}

uint32_t db_generation(const struct db *db)
{
    return db->generation;
}

bool db_wants_write(const struct db *db)
{
    return db->wants_write;
}

bool db_wait_socket(int fd, bool want_write, bool want_read, int64_t deadline_ms)
{
    for (;;) {
        int64_t left = deadline_ms - clock_mono_ms();
        struct pollfd p = {.fd = fd,
                           .events = (short)((want_read ? POLLIN : 0) | (want_write ? POLLOUT : 0))};
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n > 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        return false;
    }
}

/* ---- when to try ---- */

/* True for the one caller that may try now. While the server is down the gate is closed for as long as a try
 * can last, so that others don't queue up behind a server that swallows packets. */
static bool gate_enter(struct db_gate *gate, int connect_timeout_ms)
{
    int64_t retry_at = atomic_load(&gate->retry_at_ms);
    if (retry_at == 0)
        return true;
    int64_t now = clock_mono_ms();
    if (now < retry_at)
        return false;
    return atomic_compare_exchange_strong(&gate->retry_at_ms, &retry_at, now + connect_timeout_ms);
}

static void gate_leave(struct db_gate *gate, bool connected)
{
    if (connected) {
        atomic_store(&gate->failures, 0);
        atomic_store(&gate->retry_at_ms, 0);
        return;
    }
    int failures = atomic_fetch_add(&gate->failures, 1);
    int64_t pause = (int64_t)DB_RETRY_MS << (failures < 2 ? failures : 2);
    if (pause > DB_RETRY_MS_MAX)
        pause = DB_RETRY_MS_MAX;
    pause = pause / 2 + clock_jitter((uint32_t)(pause / 2) + 1);
    atomic_store(&gate->retry_at_ms, clock_mono_ms() + pause);
}

/* ---- connecting ---- */

/* Notices would go to standard error otherwise; they may quote rows. */
static void drop_notice(void *context, const char *message)
{
    (void)context;
    (void)message;
}

static bool connect_until(PGconn *conn, int64_t deadline_ms)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED)
            return false;
        bool write = status == PGRES_POLLING_WRITING;
        if (!db_wait_socket(PQsocket(conn), write, !write, deadline_ms))
            return false;
        status = PQconnectPoll(conn);
    }
    return PQsetnonblocking(conn, 1) == 0 && PQenterPipelineMode(conn) == 1;
}

static enum result connect_failed(PGconn *conn, bool late, struct error *error)
{
    const char *said = conn ? PQerrorMessage(conn) : "no memory";
    size_t line = strcspn(said, "\n");
    if (late)
        return error_set(error, RESULT_OFFLINE, "could not connect to the database: no answer in time");
    return error_set(error, RESULT_OFFLINE, "could not connect to the database: %.*s", (int)line, said);
}

static enum result connect_now(struct db *db, struct error *error)
{
    const char *const keywords[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
    const char *const values[] = {db->conninfo, db->application, "UTF8", NULL};
    int64_t deadline_ms = clock_mono_ms() + db->connect_timeout_ms;
    PGconn *conn = PQconnectStartParams(keywords, values, 1);
    if (!conn || PQstatus(conn) == CONNECTION_BAD || !connect_until(conn, deadline_ms)) {
        enum result code = connect_failed(conn, clock_mono_ms() >= deadline_ms, error);
        PQfinish(conn);
        return code;
    }
    PQsetNoticeProcessor(conn, drop_notice, NULL);
    db->conn = conn;
    db->generation++;
    return RESULT_OK;
}

/* Something to read on an idle connection is the server's farewell. (Or a notice that a setting was reloaded:
 * a new connection costs little.) */
bool db_connection_lives(const struct db *db)
{
    struct pollfd p = {.fd = PQsocket(db->conn), .events = POLLIN};
    return !db->must_close && PQstatus(db->conn) == CONNECTION_OK && poll(&p, 1, 0) == 0;
}

enum result db_connection_ensure(struct db *db, struct error *error)
{
    if (db->conn && db_connection_lives(db))
        return RESULT_OK;
    db_connection_drop(db);
    if (!gate_enter(db->gate, db->connect_timeout_ms))
        return error_set(error, RESULT_OFFLINE, "could not connect to the database a moment ago");
    enum result code = connect_now(db, error);
    gate_leave(db->gate, code == RESULT_OK);
    return code;
}

/* ---- what is prepared ---- */

int db_prepared_slot(struct db_prepared *set, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    for (uint32_t i = hash;; i++) {
        uint32_t slot = i & (DB_PREPARED_SLOTS - 1);
        if (!set->names[slot]) {
            if (set->count >= DB_PREPARED_SLOTS * 3 / 4)
                return -1;
            set->names[slot] = name;
            set->count++;
            return (int)slot;
        }
        if (strcmp(set->names[slot], name) == 0)
            return (int)slot;
    }
}

/* ---- what the server's errors mean ---- */

static enum result classify(const char *state)
{
    static const struct {
        const char *prefix;
        enum result code;
    } meanings[] = {
        {"55P03", RESULT_BUSY},      {"40P01", RESULT_BUSY},    {"40001", RESULT_BUSY},
        {"57014", RESULT_BUSY},      {"0A000", RESULT_BUSY},    {"26000", RESULT_BUSY},
        {"42P05", RESULT_BUSY},      {"53", RESULT_BUSY},       {"23505", RESULT_CONFLICT},
        {"23P01", RESULT_CONFLICT},  {"22", RESULT_INVALID},    {"23514", RESULT_INVALID},
        {"42501", RESULT_FORBIDDEN}, {"08", RESULT_OFFLINE},    {"57P", RESULT_OFFLINE},
        {"25P03", RESULT_OFFLINE},   {"25006", RESULT_OFFLINE}, /* a standby after a failover */
    };
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (strncmp(state, meanings[i].prefix, strlen(meanings[i].prefix)) == 0)
            return meanings[i].code;
    return RESULT_FAILED;
}

enum result db_error_from_result(const PGresult *result, const char *query, struct error *error)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!state) /* libpq's own: the connection broke */
        return error_set(error, RESULT_OFFLINE, "lost the database while running %s", query);
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum result code = classify(state);
    /* messages of classes 22 and 23 quote values */
    if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 || !message)
        error_set(error, code, "could not run %s: SQLSTATE %s%s%s", query, state, constraint ? ", " : "",
                  constraint ? constraint : "");
    else
        error_set(error, code, "could not run %s: SQLSTATE %s, %s", query, state, message);
    if (error)
        memcpy(error->sqlstate, state, sizeof error->sqlstate - 1);
    return code;
}
