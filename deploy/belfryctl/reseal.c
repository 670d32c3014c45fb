/*
 * belfryctl keys reseal: after a rotation, everything sealed is moved to the current key, table by table, in
 * the order of the primary key, in bounded steps. It may be stopped at any time and repeated.
 *
 * To add a sealed column: its two queries in ctl.sql and a row in kinds[].
 */
#include "deploy/belfryctl/reseal.h"
#include "deploy/belfryctl/output.h"
#include "queries.h"
#include <string.h>

enum { SEALED_COLUMNS = 2, RESEAL_ARENA_BYTES_MAX = 64 << 20 };

struct reseal_kind {
    const char *name;
    const struct db_query *select; /* tenant, first and second part of the key, sealed values */
    const struct db_query *store;
    const char *contexts[SEALED_COLUMNS]; /* of each sealed column; the id follows */
};

static const struct reseal_kind kinds[] = {
    {"users", &query_ctl_reseal_users, &query_ctl_reseal_users_store, {"user", "user"}},
    {"devices", &query_ctl_reseal_devices, &query_ctl_reseal_devices_store, {"device", NULL}},
    {"accounts", &query_ctl_reseal_accounts, &query_ctl_reseal_accounts_store, {"account", NULL}},
    {"issuers", &query_ctl_reseal_issuers, &query_ctl_reseal_issuers_store, {"issuer", NULL}},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Where a walk over a table is. */
struct reseal_place {
    int tenant;
    struct str first, second;
};

struct reseal_step {
    const struct reseal_kind *kind;
    struct db_result *rows;
    int64_t resealed, unreadable;
};

/* The column's value under the current key; STR_NONE if there is none or it cannot be opened. */
static struct str reseal_value(struct ctl *ctl, struct reseal_step *step, int row, int column)
{
    struct str sealed = db_bytes(step->rows, row, 3 + column, ctl->arena), plain, again;
    struct error ignored;
    if (!str_is_set(sealed) || sealed.bytes == 0)
        return STR_NONE;
    struct str context = ctl_context(ctl, step->kind->contexts[column], (int)db_int(step->rows, row, 0),
                                     db_text(step->rows, row, 1));
    if (ctl_open(ctl, context, sealed, &plain, &ignored) != RESULT_OK ||
        ctl_seal(ctl, context, plain, &again, &ignored) != RESULT_OK) {
        step->unreadable++;
        return STR_NONE;
    }
    return again;
}

static void array_bytes(struct db_array *array, struct str bytes)
{
    if (str_is_set(bytes))
        db_array_bytes(array, bytes.data, bytes.bytes);
    else
        db_array_null(array);
}

static void add_keys(struct ctl *ctl, const struct reseal_step *step, struct db_args *args)
{
    struct db_array array;
    (void)ctl;
    db_array_begin(&array, args);
    for (int row = 0; row < db_rows(step->rows); row++)
        db_array_int(&array, db_int(step->rows, row, 0));
    db_array_end(&array);
    for (int part = 1; part <= 2; part++) {
        db_array_begin(&array, args);
        for (int row = 0; row < db_rows(step->rows); row++)
            db_array_text(&array, db_text(step->rows, row, part));
        db_array_end(&array);
    }
}

static enum result store(struct ctl *ctl, struct reseal_step *step, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_array array;
    struct db_result *stored;
    add_keys(ctl, step, &args);
    for (int column = 0; column < SEALED_COLUMNS; column++) {
        db_array_begin(&array, &args);
        for (int row = 0; row < db_rows(step->rows); row++)
            array_bytes(&array, db_bytes(step->rows, row, 3 + column, ctl->arena));
        db_array_end(&array);
    }
    for (int column = 0; column < SEALED_COLUMNS; column++) {
        db_array_begin(&array, &args);
        for (int row = 0; row < db_rows(step->rows); row++) {
            struct str again = reseal_value(ctl, step, row, column);
            /* one that could not be opened stays */
            array_bytes(&array,
                        str_is_set(again) ? again : db_bytes(step->rows, row, 3 + column, ctl->arena));
        }
        db_array_end(&array);
    }
    enum result code = ctl_run(ctl, step->kind->store, &args, &stored, error);
    if (code == RESULT_OK)
        step->resealed += db_affected(stored);
    return code;
}

static enum result select_next(struct ctl *ctl, struct reseal_step *step, const struct reseal_place *place,
                               struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    db_arg_int(&args, keyring_current(ctl->ring));
    db_arg_int(&args, place->tenant);
    db_arg_text(&args, place->first);
    db_arg_text(&args, place->second);
    return ctl_run(ctl, step->kind->select, &args, &step->rows, error);
}

/* One table. place's texts must outlive the step's memory, so they are kept in an arena of the walk. */
static enum result reseal_kind(struct ctl *ctl, struct reseal_step *step, struct error *error)
{
    struct arena *walk = ctl->arena, *steps = arena_create(RESEAL_ARENA_BYTES_MAX);
    struct reseal_place place = {0, STR(""), STR("")};
    if (!steps)
        return error_set(error, RESULT_FAILED, "could not reseal: no memory");
    ctl->arena = steps;
    enum result code = RESULT_OK;
    for (;;) {
        code = select_next(ctl, step, &place, error);
        int rows = code == RESULT_OK ? db_rows(step->rows) : 0;
        if (rows == 0)
            break;
        code = store(ctl, step, error);
        if (code != RESULT_OK)
            break;
        place.tenant = (int)db_int(step->rows, rows - 1, 0);
        place.first = arena_str(walk, db_text(step->rows, rows - 1, 1));
        place.second = arena_str(walk, db_text(step->rows, rows - 1, 2));
        arena_reset(steps);
    }
    ctl->arena = walk;
    arena_destroy(steps);
    return code;
}

enum result reseal_run(struct ctl *ctl, struct error *error)
{
    struct output_field fields[KINDS + 1];
    int64_t unreadable = 0;
    for (int i = 0; i < KINDS; i++) {
        struct reseal_step step = {.kind = &kinds[i]};
        enum result code = reseal_kind(ctl, &step, error);
        if (code != RESULT_OK)
            return code;
        fields[i] = SHOW_INT(kinds[i].name, step.resealed);
        unreadable += step.unreadable;
    }
    fields[KINDS] = SHOW_INT("unreadable", unreadable);
    enum result code = output_object(ctl, fields, KINDS + 1, error);
    if (code == RESULT_OK && unreadable > 0)
        return error_set(error, RESULT_FAILED, "%lld values could not be opened with this key ring",
                         (long long)unreadable);
    return code;
}
