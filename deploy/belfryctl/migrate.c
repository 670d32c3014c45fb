/*
 * belfryctl migrate: brings the schema of a database to this release.
 *
 * Promises: each migration runs once, whole, in its own transaction, as belfry_owner; any number of processes
 * may do it at the same time. The row in belfry.schema_migration is written in the same transaction as what
 * it names, under an advisory lock, so who comes second finds it and goes on with the next. A database that
 * knows a migration that this program does not, or one with another text, is left alone.
 *
 * roles.sql runs first and again each time, by whoever may make roles; it can be repeated. Nothing here
 * depends on the state of a session.
 *
 * To add a migration: a file sql/migrations/NNNN_name.sql with the next number. One that was released is
 * never changed.
 */
#include "deploy/belfryctl/migrate.h"
#include "core/clock.h"
#include "deploy/belfryctl/migrations.h"
#include "deploy/belfryctl/output.h"
#include "format/json.h"
#include "format/text.h"
#include "queries.h"
#include <poll.h>
#include <string.h>

enum { SCRIPT_BYTES_MAX = 16 << 20, ROLES_TRIES = 8, ROLES_WAIT_MS = 200 };

/* hashtext('belfry.migrate') would do as well; a constant can be looked up in pg_locks. */
#define MIGRATE_LOCK "select pg_advisory_xact_lock(7308332046);\n"

static const char table_sql[] =
    "set local role belfry_owner;\n"
    "create table if not exists belfry.schema_migration (\n"
    "    name text collate \"C\" primary key,\n"
    "    checksum text not null,\n"
    "    applied_at timestamptz not null default now()\n"
    ");\n"
    "comment on table belfry.schema_migration is\n"
    "    'Which migrations this database has had, and the SHA-256 of their text.';\n"
    "grant select on belfry.schema_migration to belfry_api, belfry_worker, belfry_scheduler, "
    "belfry_operator;\n";

/* roles.sql is among the files but is no migration: it runs apart. */
static bool is_migration(const struct migration *m)
{
    return str_starts(str_from(m->name), "migrations/");
}

static const struct migration *find_migration(struct str name)
{
    for (const struct migration *m = migrations_all; m->name; m++)
        if (str_is(name, m->name))
            return m;
    return NULL;
}

static struct str checksum_of(struct ctl *ctl, const struct migration *m)
{
    unsigned char digest[SHA256_BYTES];
    struct buf hex = BUF_INIT(2 * SHA256_BYTES + 1);
    struct str text = STR_NONE;
    struct error ignored;
    crypto_sha256(str_from(m->sql), digest);
    text_hex(&hex, digest, sizeof digest);
    return ctl_take(ctl, &hex, &text, &ignored) == RESULT_OK ? text : STR_NONE;
}

/* begin; lock; parts…; commit, as one simple query: it cannot be left half-way. */
static enum result run_script(struct ctl *ctl, const char *const *parts, struct error *error)
{
    struct buf script = BUF_INIT(SCRIPT_BYTES_MAX);
    buf_add_text(&script, "begin;\n" MIGRATE_LOCK);
    for (; *parts; parts++)
        buf_add_text(&script, *parts);
    buf_add_text(&script, "\n;commit;\n");
    const char *sql = buf_cstr(&script);
    enum result code = sql ? db_script(ctl->db, sql, error)
                           : error_set(error, RESULT_FAILED, "could not run a migration: no memory");
    buf_free(&script);
    return code;
}

/* Roles belong to the whole server, locks to one database: two databases that are set up at once can still
 * meet. What then fails can be repeated. */
static bool met_another(const struct error *error)
{
    return strcmp(error->sqlstate, "23505") == 0 || strcmp(error->sqlstate, "42710") == 0 ||
           strcmp(error->sqlstate, "XX000") == 0;
}

static enum result make_roles(struct ctl *ctl, struct error *error)
{
    const struct migration *roles = find_migration(STR("roles.sql"));
    const char *const parts[] = {roles ? roles->sql : "", ";\n", table_sql, NULL};
    enum result code = RESULT_FAILED;
    for (int i = 0; i < ROLES_TRIES; i++) {
        code = run_script(ctl, parts, error);
        if (code == RESULT_OK || !met_another(error))
            break;
        poll(NULL, 0, (int)clock_jitter(ROLES_WAIT_MS));
    }
    return code;
}

/* Refuses what this program does not know. applied: name, checksum. */
static enum result check_applied(struct ctl *ctl, const struct db_result *applied, struct error *error)
{
    for (int row = 0; row < db_rows(applied); row++) {
        struct str name = db_text(applied, row, 0);
        const struct migration *m = find_migration(name);
        if (!m)
            return error_set(error, RESULT_CONFLICT,
                             "cannot migrate: the database is newer than this program, it has had " STR_FMT,
                             STR_ARG(name));
        if (!str_equal(db_text(applied, row, 1), checksum_of(ctl, m)))
            return error_set(error, RESULT_CONFLICT,
                             "cannot migrate: " STR_FMT " was changed after the database had it",
                             STR_ARG(name));
    }
    return RESULT_OK;
}

static const struct migration *first_missing(const struct db_result *applied)
{
    for (const struct migration *m = migrations_all; m->name; m++) {
        bool had = !is_migration(m);
        for (int row = 0; row < db_rows(applied) && !had; row++)
            had = str_is(db_text(applied, row, 0), m->name);
        if (!had)
            return m;
    }
    return NULL;
}

/* *done: we applied it. If another process was quicker, its row is in our way; that is no error. */
static enum result apply(struct ctl *ctl, const struct migration *m, bool *done, struct error *error)
{
    struct str checksum = checksum_of(ctl, m);
    const char *record = arena_printf(ctl->arena,
                                      "set local role belfry_owner;\n"
                                      "insert into belfry.schema_migration (name, checksum)"
                                      " values ('%s', '" STR_FMT "');\n",
                                      m->name, STR_ARG(checksum));
    if (!record)
        return error_set(error, RESULT_FAILED, "could not run a migration: no memory");
    const char *const parts[] = {record, m->sql, NULL};
    struct error why = {0};
    enum result code = run_script(ctl, parts, &why);
    *done = code == RESULT_OK;
    if (code == RESULT_CONFLICT && strstr(why.text, "schema_migration_pkey"))
        return RESULT_OK;
    if (code != RESULT_OK)
        return error_set(error, code, "%s: %s", m->name, why.text);
    return RESULT_OK;
}

static enum result read_applied(struct ctl *ctl, struct db_result **applied, struct error *error)
{
    enum result code = ctl_run(ctl, &query_ctl_migrate_applied, NULL, applied, error);
    return code == RESULT_OK ? check_applied(ctl, *applied, error) : code;
}

static enum result apply_missing(struct ctl *ctl, struct buf *names, struct error *error)
{
    for (;;) {
        struct db_result *applied;
        bool done = false;
        enum result code = read_applied(ctl, &applied, error);
        const struct migration *m = code == RESULT_OK ? first_missing(applied) : NULL;
        if (!m)
            return code;
        code = apply(ctl, m, &done, error);
        if (code != RESULT_OK)
            return code;
        if (done)
            json_text(names, str_from(m->name));
    }
}

/* Checks first, so that a newer database is not touched at all. */
static enum result prepare(struct ctl *ctl, struct error *error)
{
    struct db_result *state, *applied;
    enum result code = ctl_run(ctl, &query_ctl_migrate_state, NULL, &state, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(state) != 1)
        return error_set(error, RESULT_FORBIDDEN, "cannot migrate: the current role is unknown");
    bool may_make_roles = db_bool(state, 0, 0), has_roles = db_bool(state, 0, 1), ran = db_bool(state, 0, 2);
    if (ran)
        code = read_applied(ctl, &applied, error);
    if (code != RESULT_OK)
        return code;
    if (!may_make_roles && !(has_roles && ran))
        return error_set(error, RESULT_FORBIDDEN,
                         "cannot migrate: the first time BELFRY_DB must name a role that may create roles");
    return may_make_roles ? make_roles(ctl, error) : RESULT_OK;
}

enum result migrate_run(struct ctl *ctl, struct error *error)
{
    enum result code = prepare(ctl, error);
    if (code != RESULT_OK)
        return code;
    struct buf names = BUF_INIT(1 << 16);
    json_open(&names, '[');
    code = apply_missing(ctl, &names, error);
    json_close(&names, ']');
    struct str applied = STR_NONE;
    if (code == RESULT_OK)
        code = ctl_take(ctl, &names, &applied, error);
    buf_free(&names);
    return code == RESULT_OK ? OUTPUT_OBJECT(ctl, error, SHOW_JSON("applied", applied)) : code;
}
