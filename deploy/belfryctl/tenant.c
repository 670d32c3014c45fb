/*
 * Tenants, the origins of their pages, and the database roles of their products.
 */
#include "deploy/belfryctl/ctl.h"
#include "deploy/belfryctl/output.h"
#include "format/check.h"
#include "queries.h"
#include <string.h>

static enum result check_name(const char *name, struct error *error)
{
    if (check_id(str_from(name)))
        return RESULT_OK;
    return error_set(error, RESULT_INVALID, "a tenant's name must be 1 to 128 of A-Z a-z 0-9 . _ ~ @ | -");
}

static enum result check_one_origin(const char *origin, struct error *error)
{
    if (check_origin(str_from(origin)))
        return RESULT_OK;
    return error_set(error, RESULT_INVALID,
                     "\"%.100s\" is no origin: write scheme://host or scheme://host:port in lower case",
                     origin);
}

static enum result tenant_create(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_array origins;
    struct db_result *rows;
    enum result code = check_name(ctl->words[0], error);
    for (int i = 0; code == RESULT_OK && ctl_value_at(ctl, "origin", i); i++)
        code = check_one_origin(ctl_value_at(ctl, "origin", i), error);
    if (code != RESULT_OK)
        return code;
    db_arg_cstr(&args, ctl->words[0]);
    db_array_begin(&origins, &args);
    for (int i = 0; ctl_value_at(ctl, "origin", i); i++)
        db_array_text(&origins, str_from(ctl_value_at(ctl, "origin", i)));
    db_array_end(&origins);
    code = ctl_run(ctl, &query_ctl_tenant_create, &args, &rows, error);
    if (code == RESULT_CONFLICT)
        return error_set(error, code, "the tenant \"%.100s\" or one of its origins exists already",
                         ctl->words[0]);
    if (code != RESULT_OK)
        return code;
    return OUTPUT_OBJECT(ctl, error, SHOW_INT("id", db_int(rows, 0, 0)), SHOW_CSTR("name", ctl->words[0]));
}

static enum result tenant_list(struct ctl *ctl, struct error *error)
{
    static const struct output_column columns[] = {{"id", OUTPUT_INT},
                                                   {"name", OUTPUT_TEXT},
                                                   {"paused", OUTPUT_BOOL},
                                                   {"createdAt", OUTPUT_TIME},
                                                   {"origins", OUTPUT_JSON}};
    struct db_result *rows;
    enum result code = ctl_run(ctl, &query_ctl_tenant_list, NULL, &rows, error);
    return code == RESULT_OK ? output_list(ctl, "tenants", columns, 5, rows, error) : code;
}

static enum result set_paused(struct ctl *ctl, bool paused, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    db_arg_cstr(&args, ctl->words[0]);
    db_arg_bool(&args, paused);
    enum result code = ctl_run(ctl, &query_ctl_tenant_pause, &args, &rows, error);
    if (code == RESULT_OK && db_rows(rows) == 0)
        return error_set(error, RESULT_MISSING, "there is no tenant \"%.100s\"", ctl->words[0]);
    if (code != RESULT_OK)
        return code;
    return OUTPUT_OBJECT(ctl, error, SHOW_CSTR("name", ctl->words[0]), SHOW_BOOL("paused", paused));
}

static enum result tenant_pause(struct ctl *ctl, struct error *error)
{
    return set_paused(ctl, true, error);
}

static enum result tenant_resume(struct ctl *ctl, struct error *error)
{
    return set_paused(ctl, false, error);
}

static enum result change_origin(struct ctl *ctl, const struct db_query *query, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    int tenant;
    enum result code = check_one_origin(ctl->words[1], error);
    if (code == RESULT_OK)
        code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_cstr(&args, ctl->words[1]);
    code = ctl_run(ctl, query, &args, &rows, error);
    if (code != RESULT_OK)
        return code;
    return OUTPUT_OBJECT(ctl, error, SHOW_CSTR("origin", ctl->words[1]),
                         SHOW_BOOL("changed", db_affected(rows) > 0));
}

static enum result origin_add(struct ctl *ctl, struct error *error)
{
    return change_origin(ctl, &query_ctl_origin_add, error);
}

static enum result origin_remove(struct ctl *ctl, struct error *error)
{
    return change_origin(ctl, &query_ctl_origin_remove, error);
}

static enum result login_create(struct ctl *ctl, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena), role = DB_ARGS(ctl->arena);
    struct db_result *rows;
    int tenant;
    enum result code = ctl_tenant(ctl, ctl->words[0], &tenant, error);
    if (code != RESULT_OK)
        return code;
    db_arg_cstr(&role, ctl->words[1]);
    code = ctl_run(ctl, &query_ctl_login_exists, &role, &rows, error);
    if (code == RESULT_OK && db_rows(rows) == 0)
        return error_set(error, RESULT_MISSING, "there is no database role \"%.63s\"", ctl->words[1]);
    if (code != RESULT_OK)
        return code;
    db_arg_int(&args, tenant);
    db_arg_cstr(&args, ctl->words[1]);
    code = ctl_run(ctl, &query_ctl_login_create, &args, NULL, error);
    if (code == RESULT_CONFLICT)
        return error_set(error, code, "the role \"%.63s\" belongs to a tenant already", ctl->words[1]);
    if (code != RESULT_OK)
        return code;
    code = ctl_run(ctl, &query_ctl_login_grant, &role, NULL, error);
    if (code != RESULT_OK)
        return code;
    return OUTPUT_OBJECT(ctl, error, SHOW_CSTR("tenant", ctl->words[0]), SHOW_CSTR("role", ctl->words[1]));
}

const struct ctl_command ctl_commands_tenant[] = {
    {.name = "tenant create",
     .words = "NAME",
     .help = "make a tenant",
     .needs = CTL_DB,
     .run = tenant_create,
     .options = {{"origin", "URL", "an origin whose pages may call the API", .repeats = true}}},
    {.name = "tenant list", .words = "", .help = "list the tenants", .needs = CTL_DB, .run = tenant_list},
    {.name = "tenant pause",
     .words = "TENANT",
     .help = "deliver nothing of a tenant until it is resumed\n\nIts notifications still reach inboxes.",
     .needs = CTL_DB,
     .run = tenant_pause},
    {.name = "tenant resume",
     .words = "TENANT",
     .help = "deliver again, what was held first",
     .needs = CTL_DB,
     .run = tenant_resume},
    {.name = "origin add",
     .words = "TENANT ORIGIN",
     .help = "let pages of an origin call the API",
     .needs = CTL_DB,
     .run = origin_add},
    {.name = "origin remove",
     .words = "TENANT ORIGIN",
     .help = "no longer let pages of an origin call the API",
     .needs = CTL_DB,
     .run = origin_remove},
    {.name = "login create",
     .words = "TENANT ROLE",
     .help = "let a product's database role call belfry.send() for a tenant\n\nThe role must exist.",
     .needs = CTL_DB,
     .run = login_create},
    {0},
};
