/* Whether a time zone exists: see time_zone.h. */
#include "handlers/time_zone.h"
#include "queries.h"
#include <stdio.h>
#include <string.h>

#define ZONE_DIRECTORY "/usr/share/zoneinfo"

/* A compiled zone begins with these bytes (RFC 8536 §3.1); the directory holds other files too. */
static bool have_file(struct str name)
{
    char path[256], magic[4] = "";
    int bytes = snprintf(path, sizeof path, ZONE_DIRECTORY "/" STR_FMT, STR_ARG(name));
    if (bytes < 0 || (size_t)bytes >= sizeof path || strstr(path, "..") != NULL)
        return false;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    bool is_zone = fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "TZif", 4) == 0;
    fclose(file);
    return is_zone;
}

enum result time_zone_exists(struct call *call, struct str name, bool *exists)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    struct db *db;
    *exists = have_file(name);
    if (*exists)
        return RESULT_OK;
    db_arg_text(&args, name);
    enum result result = call_db(call, &db);
    if (result == RESULT_OK)
        result = db_run(db, call->identity.tenant, STR("*"), &query_users_time_zone, &args, call->arena,
                        &rows, &call->error);
    if (result == RESULT_OK)
        *exists = db_bool(rows, 0, 0);
    return result;
}
