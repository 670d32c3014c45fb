#ifndef BELFRY_IO_DB_PRIVATE_H
#define BELFRY_IO_DB_PRIVATE_H
/*
 * What db.c (transactions), db_connect.c (connections), db_pool.c and db_rows.c share. Nobody else includes
 * this.
 */
#include "core/error.h"
#include "core/limits.h"
#include "io/db.h"
#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    DB_FINISH_MS = 15000,     /* statement_timeout is 5 s: who needs longer than three of them is gone */
    DB_ABANDON_MS = 2000,     /* a ROLLBACK takes no longer, or the connection is closed instead */
    DB_CONNECT_MS = 5000,     /* when the settings say nothing */
    DB_RETRY_MS = 250,        /* first pause after a failed connect, doubled … */
    DB_RETRY_MS_MAX = 1000,   /* … up to this */
    DB_PREPARED_SLOTS = 1024, /* power of two, several times the number of our queries */
    DB_WAITS_MAX =
        2 * DB_STATEMENTS_MAX + 16 /* each may need a Prepare; BEGIN, context, COMMIT, ROLLBACK, syncs */
};

/* When the server was last found down: shared by the connections of a pool, so that one of them tries and the
 * others fail at once. */
struct db_gate {
    _Atomic int64_t retry_at_ms; /* of the monotonic clock; 0 = the server answered last time */
    _Atomic int failures;
};

/* Which statements this connection has prepared: a hash set by name, forgotten with the connection. */
enum db_prepared_state {
    DB_PREPARED_NO,    /* never asked for, or asked for in a pipeline that was skipped */
    DB_PREPARED_ASKED, /* its Prepare is on its way: what follows in this pipeline may use it */
    DB_PREPARED_YES
};
struct db_prepared {
    const char *names[DB_PREPARED_SLOTS];
    unsigned char states[DB_PREPARED_SLOTS];
    int count;
};

enum db_state {
    DB_IDLE,    /* no transaction */
    DB_OPEN,    /* db_begin() was called, statements are collected; after db_step() also open on the server */
    DB_RUNNING, /* sent, answers are awaited */
    DB_ENDED    /* all answers are in; db_finish() or db_step() fetches the outcome */
};

/* One answer that the server owes us, in the order in which they will come. */
enum db_wait_kind { DB_WAIT_PREPARE, DB_WAIT_CONTROL, DB_WAIT_STATEMENT, DB_WAIT_COMMIT, DB_WAIT_SYNC };
struct db_wait {
    enum db_wait_kind kind;
    int statement; /* index that an error is reported for, -1 = none of the caller's */
    int slot;      /* of a Prepare */
    bool answered;
};

struct db_statement {
    const struct db_query *query;
    const char *const *values;
    int count;
};

struct db {
    char *conninfo, *application;
    bool prepare;
    int connect_timeout_ms;
    PGconn *conn; /* NULL = not connected */
    uint32_t generation;
    struct db_gate own_gate, *gate;
    struct db_prepared prepared;
    struct db *next_free; /* in the pool */

    enum db_state state;
    bool open_on_server; /* BEGIN was answered, COMMIT was not sent */
    bool commit_sent;
    bool rolling_back;
    bool wants_write;
    bool must_close; /* the connection is not to be used again */
    int64_t deadline_ms;
    char tenant[12], user[LIMIT_ID_BYTES + 1];
    bool nobody; /* neither tenant nor user */

    int statement_count, value_count;
    struct db_statement statements[DB_STATEMENTS_MAX];
    const char *values[DB_STATEMENTS_MAX * DB_ARGS_MAX];

    int wait_count, wait_next;
    struct db_wait waits[DB_WAITS_MAX];

    enum result outcome;
    struct error error;
    int failed; /* statement index, -1 */
    PGresult *results[DB_STATEMENTS_MAX];
};

/* Makes sure that there is a connection in pipeline mode; blocks for at most connect_timeout_ms. */
enum result db_connection_ensure(struct db *db, struct error *error) MUST_CHECK;
/* Whether an idle connection can be used. */
bool db_connection_lives(const struct db *db);
/* Closes the connection, if any, and forgets what was prepared. */
void db_connection_drop(struct db *db);
/* The statement's slot, or -1 when the set is full (the statement then goes out unprepared). */
int db_prepared_slot(struct db_prepared *set, const char *name);
/* Waits until the socket is readable (or writable, when wanted) or the deadline has passed: then false. */
bool db_wait_socket(int fd, bool want_write, bool want_read, int64_t deadline_ms);
/* Our code for a server's error, and its sentence without data from rows. */
enum result db_error_from_result(const PGresult *result, const char *query, struct error *error);

#endif
