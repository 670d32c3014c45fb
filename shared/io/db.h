#ifndef BELFRY_IO_DB_H
#define BELFRY_IO_DB_H
/*
 * PostgreSQL through libpq's pipeline mode: only db*.c include libpq-fe.h.
 *
 * Work is done in transactions. A caller queues BEGIN (with the tenant and user that row-level security looks
 * at), its statements and COMMIT, and all of it goes out in one write and comes back in one read: one round
 * trip. If a statement fails, the server skips what follows and rolls back; the error names the statement.
 *
 * Two ways to wait: db_finish() blocks (handlers, scheduler, belfryctl); db_send() with db_fd(), db_pump()
 * lets a caller with its own loop (the worker) go on in between. One connection belongs to one thread at a
 * time.
 *
 * A broken connection is reopened by the next db_begin(), with backoff; a connection lost during COMMIT gives
 * RESULT_OFFLINE with error->sqlstate "08007": the outcome is unknown.
 *
 * Statements are named queries from sql/queries/, made into constants by the build (build/gen/queries.h).
 * Parameters are text; NULL is SQL NULL.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "format/text.h"
#include <stdbool.h>
#include <stdint.h>

struct db;        /* one connection */
struct db_pool;   /* connections shared by threads */
struct db_result; /* the rows of one statement */

struct db_query {
    const char *name; /* "module_thing" */
    const char *sql;
};

enum { DB_ARGS_MAX = 48, DB_STATEMENTS_MAX = 24 };

struct db_settings {
    const char *conninfo;
    const char *application; /* application_name */
    bool prepare;            /* named prepared statements; false behind a transaction pooler */
    int connect_timeout_ms;
};

/* Opens lazily: never fails for a server that is down. NULL only if memory ran out. */
struct db *db_open(const struct db_settings *settings) MUST_CHECK;
void db_close(struct db *db);

/* ---- arguments: built in an arena, in the order of $1, $2, … ---- */
struct db_args {
    struct arena *arena;
    int count;
    bool failed; /* no memory, too many, or a NUL inside a text; db_queue() then gives RESULT_FAILED */
    const char *values[DB_ARGS_MAX];
};
#define DB_ARGS(a) ((struct db_args){.arena = (a)})
void db_arg_null(struct db_args *args);
void db_arg_text(struct db_args *args, struct str s); /* STR_NONE is NULL */
void db_arg_cstr(struct db_args *args,
                 const char *s); /* NULL is NULL; must live until the statement is sent */
void db_arg_int(struct db_args *args, int64_t n);
void db_arg_bool(struct db_args *args, bool b);
void db_arg_uuid(struct db_args *args, const struct uuid *id);           /* NULL is NULL */
void db_arg_time(struct db_args *args, int64_t unix_us);                 /* as timestamptz */
void db_arg_bytes(struct db_args *args, const void *data, size_t bytes); /* bytea, hexadecimal */
/* Arrays: begin, add elements, end (always: it releases the text). Text elements are quoted. */
struct db_array {
    struct db_args *args;
    struct buf text;
    int count;
};
void db_array_begin(struct db_array *array, struct db_args *args);
void db_array_text(struct db_array *array, struct str s); /* STR_NONE is NULL */
void db_array_int(struct db_array *array, int64_t n);
void db_array_uuid(struct db_array *array, const struct uuid *id);
void db_array_bytes(struct db_array *array, const void *data, size_t bytes); /* for bytea[] */
void db_array_null(struct db_array *array);
void db_array_end(struct db_array *array); /* becomes the next argument */

/* ---- a transaction ---- */
enum { DB_TENANT_NONE = 0 };
/* Starts a transaction (connects first if needed, within connect_timeout_ms; fails at once for a while after
 * a failed try): BEGIN, and belfry.tenant and belfry.user for row-level security. user STR("*") is the
 * tenant's service; STR_NONE with DB_TENANT_NONE is nobody. RESULT_OFFLINE if no connection can be had now.
 * One that was left open is abandoned. */
enum result db_begin(struct db *db, int tenant, struct str user, struct error *error) MUST_CHECK;
/* Queues one statement; its result comes at the same index from db_finish(). Sends nothing yet: query and
 * arguments must live until then (the args struct itself need not). */
enum result db_queue(struct db *db, const struct db_query *query, const struct db_args *args,
                     struct error *error) MUST_CHECK;
/* Queues COMMIT, sends, waits for everything. results[0…count) are the statements' results in order (owned by
 * the arena). On a failure nothing was committed (except sqlstate 08007: unknown), error holds the SQLSTATE
 * and *failed (may be NULL) is the index of the statement, -1 for none of them. 55P03, 40P01, 40001, 57014,
 * class 53 and stale prepared statements give RESULT_BUSY, 23505 and 23P01 RESULT_CONFLICT, class 22 and
 * 23514 RESULT_INVALID, 42501 RESULT_FORBIDDEN, lost connections RESULT_OFFLINE, others RESULT_FAILED.
 * results and count may be NULL. The transaction is over either way. Gives up after 15 s. */
enum result db_finish(struct db *db, struct arena *arena, struct db_result *const **results, int *count,
                      int *failed, struct error *error) MUST_CHECK;
/* Sends what was queued and waits, but leaves the transaction open for statements that depend on the answers:
 * their results count from 0 again. db_finish() then commits; db_abandon() rolls back, and so did a failed
 * step. */
enum result db_step(struct db *db, struct arena *arena, struct db_result *const **results, int *count,
                    int *failed, struct error *error) MUST_CHECK;
/* Ends a transaction without committing; does nothing when there is none. After db_send() it closes the
 * connection. */
void db_abandon(struct db *db);
/* One statement in its own transaction. */
enum result db_run(struct db *db, int tenant, struct str user, const struct db_query *query,
                   const struct db_args *args, struct arena *arena, struct db_result **result,
                   struct error *error) MUST_CHECK;

/* ---- without blocking (worker). Like db_finish(), in two halves ---- */
enum result db_send(struct db *db, struct error *error) MUST_CHECK; /* queues COMMIT and begins to write */
int db_fd(const struct db *db);                                     /* -1 when not connected */
uint32_t db_generation(
    const struct db *db); /* changes with each new connection: its descriptor must be watched anew */
bool db_wants_write(const struct db *db);
/* Reads and writes what can be without waiting. True when the transaction in progress has ended (well or
 * not): then db_finish() returns at once. Call it when the descriptor is ready and about once a second while
 * a transaction is on its way: it keeps the 15 s deadline. Without one it drops a connection that the server
 * closed. */
bool db_pump(struct db *db);

/* ---- rows ---- */
int db_rows(const struct db_result *r);
int64_t db_affected(const struct db_result *r);
bool db_is_null(const struct db_result *r, int row, int column);
struct str db_text(const struct db_result *r, int row,
                   int column);                                 /* STR_NONE for NULL; NUL-terminated view */
int64_t db_int(const struct db_result *r, int row, int column); /* 0 for NULL */
bool db_bool(const struct db_result *r, int row, int column);
struct uuid db_uuid(const struct db_result *r, int row, int column);
/* timestamptz selected as `(extract(epoch from x)*1000000)::bigint`: use db_int. bytea: */
struct str db_bytes(const struct db_result *r, int row, int column, struct arena *arena);

/* ---- a pool for threads ---- */
struct db_pool *db_pool_create(const struct db_settings *settings, int connections) MUST_CHECK;
void db_pool_destroy(struct db_pool *pool);
/* Waits at most wait_ms for a free connection; NULL if none came free. */
struct db *db_pool_take(struct db_pool *pool, int wait_ms) MUST_CHECK;
void db_pool_give(struct db_pool *pool, struct db *db);

/* ---- for belfryctl migrate: any script in one simple query ---- */
enum result db_script(struct db *db, const char *sql, struct error *error) MUST_CHECK;

#endif
