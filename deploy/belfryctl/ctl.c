/*
 * What the commands share: given options, files, statements across tenants, sealed values. Nothing here knows
 * a particular command.
 */
#include "deploy/belfryctl/ctl.h"
#include "queries.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { SEALED_BYTES_MAX = 1 << 20 };

const char *ctl_value_at(const struct ctl *ctl, const char *option, int nth)
{
    for (int i = 0; i < ctl->given_count; i++)
        if (strcmp(ctl->given[i].option->name, option) == 0 && nth-- == 0)
            return ctl->given[i].value;
    return NULL;
}

const char *ctl_value(const struct ctl *ctl, const char *option)
{
    return ctl_value_at(ctl, option, 0);
}

bool ctl_is_given(const struct ctl *ctl, const char *option)
{
    return ctl_value(ctl, option) != NULL;
}

enum result ctl_number(const struct ctl *ctl, const char *option, long long least, long long most,
                       long long fallback, long long *number, struct error *error)
{
    const char *value = ctl_value(ctl, option);
    *number = fallback;
    if (value && !str_to_int(str_from(value), least, most, number))
        return error_set(error, RESULT_INVALID, "--%s must be a whole number from %lld to %lld", option,
                         least, most);
    return RESULT_OK;
}

enum result ctl_take(struct ctl *ctl, struct buf *buf, struct str *bytes, struct error *error)
{
    bool ok = buf_ok(buf);
    *bytes = STR_NONE;
    if (ok)
        *bytes = buf->bytes ? arena_str(ctl->arena, buf_str(buf)) : STR("");
    buf_free(buf);
    if (!str_is_set(*bytes))
        return error_set(error, RESULT_FAILED,
                         "could not keep a value: it is too long, or no memory is left");
    return RESULT_OK;
}

static enum result read_all(FILE *file, const char *path, struct buf *out, struct error *error)
{
    char chunk[4096];
    size_t bytes;
    while ((bytes = fread(chunk, 1, sizeof chunk, file)) > 0)
        buf_add(out, chunk, bytes);
    if (ferror(file))
        return error_set(error, RESULT_INVALID, "could not read %.200s: %s", path, strerror(errno));
    if (!buf_ok(out))
        return error_set(error, RESULT_INVALID, "%.200s is longer than %d bytes", path, CTL_FILE_BYTES_MAX);
    return RESULT_OK;
}

enum result ctl_read_file(struct ctl *ctl, const char *path, struct str *bytes, struct error *error)
{
    struct buf content = BUF_INIT(CTL_FILE_BYTES_MAX);
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (!file)
        return error_set(error, RESULT_INVALID, "could not open %.200s: %s", path, strerror(errno));
    enum result code = read_all(file, path, &content, error);
    if (!standard)
        fclose(file);
    if (code != RESULT_OK) {
        buf_free(&content);
        return code;
    }
    return ctl_take(ctl, &content, bytes, error);
}

enum result ctl_run(struct ctl *ctl, const struct db_query *query, const struct db_args *args,
                    struct db_result **result, struct error *error)
{
    return db_run(ctl->db, DB_TENANT_NONE, STR_NONE, query, args, ctl->arena, result, error);
}

enum result ctl_tenant(struct ctl *ctl, const char *name, int *tenant, struct error *error)
{
    struct db_args args = DB_ARGS(ctl->arena);
    struct db_result *rows;
    db_arg_cstr(&args, name);
    enum result code = ctl_run(ctl, &query_ctl_tenant_find, &args, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(rows) == 0)
        return error_set(error, RESULT_MISSING, "there is no tenant \"%.100s\"", name);
    *tenant = (int)db_int(rows, 0, 0);
    return RESULT_OK;
}

struct str ctl_context(struct ctl *ctl, const char *kind, int tenant, struct str id)
{
    return str_from(arena_printf(ctl->arena, "%s:%d:" STR_FMT, kind, tenant, STR_ARG(id)));
}

enum result ctl_seal(struct ctl *ctl, struct str context, struct str plain, struct str *sealed,
                     struct error *error)
{
    struct buf out = BUF_INIT(SEALED_BYTES_MAX);
    enum result code = keyring_seal(ctl->ring, context, plain, &out, error);
    if (code == RESULT_OK)
        return ctl_take(ctl, &out, sealed, error);
    buf_free(&out);
    return code;
}

enum result ctl_open(struct ctl *ctl, struct str context, struct str sealed, struct str *plain,
                     struct error *error)
{
    struct buf out = BUF_INIT(SEALED_BYTES_MAX);
    enum result code = keyring_open(ctl->ring, context, sealed, &out, error);
    if (code == RESULT_OK)
        return ctl_take(ctl, &out, plain, error);
    buf_free(&out);
    return code;
}
