/*
 * Preferences: what a user does not want, by channel and by category. The same document for the user and for
 * a service that keeps it. false says no; what is true or absent is wanted.
 *
 * Beside the document its noes are kept as a list of words (CHANNEL, CATEGORY/CHANNEL, CATEGORY/ *), which
 * the planner and the claim look at. To add a channel: a word in `channels`.
 */
#include "core/limits.h"
#include "format/check.h"
#include "format/json.h"
#include "handlers/resources.h"
#include "queries.h"
#include <string.h>

enum { CATEGORIES_MAX = 100, DOCUMENT_BYTES_MAX = 256 * 1024 };
static const char *const channels[] = {"inbox", "push",    "email", "sms",     "webhook",
                                       "kakao", "discord", "slack", "telegram"};

enum { PUT_CHANNELS, PUT_CATEGORIES };
const struct field preferences_put_fields[] = {
    [PUT_CHANNELS] = {.name = "channels", .kind = FIELD_OBJECT},
    [PUT_CATEGORIES] = {.name = "categories", .kind = FIELD_OBJECT},
    {.name = NULL},
};

/* Whose: the caller's own, or {user}'s for a service. */
static struct str owner_of(const struct call *call)
{
    return call->identity.kind == AUTH_SERVICE ? call_param(call, "user") : str_from(call->identity.user);
}

enum result preferences_get(struct call *call)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    db_arg_text(&args, owner_of(call));
    enum result result = call_run(call, &query_preferences_get, &args, &rows);
    if (result == RESULT_OK)
        buf_add_str(response_json(call->response, 200),
                    db_rows(rows) > 0 ? db_text(rows, 0, 0) : STR("{\"channels\":{},\"categories\":{}}"));
    return result;
}

/* ---- put ---- */

/* jansson iterates only over objects that it could change; we do not. */
static json_t *iterable(const json_t *object)
{
    json_t *same;
    memcpy(&same, &object, sizeof same);
    return same;
}

static bool is_channel(const char *name)
{
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        if (strcmp(name, channels[i]) == 0)
            return true;
    return false;
}

/* Reads one set of switches and adds its noes, after prefix ("" or "CATEGORY/"). */
static void read_switches(struct call *call, const json_t *object, struct str pointer, const char *category,
                          struct db_array *noes)
{
    const char *name;
    json_t *value;
    json_t *walked = iterable(object);
    json_object_foreach(walked, name, value)
    {
        struct str at = fault_pointer(call->arena, pointer, str_from(name));
        if (!is_channel(name) && (category == NULL || strcmp(name, "*") != 0))
            fault_add(&call->faults, at, "is not a channel");
        else if (!json_is_boolean(value))
            fault_add(&call->faults, at, "must be true or false");
        else if (json_is_false(value))
            db_array_text(
                noes, str_from(category == NULL ? name : arena_printf(call->arena, "%s/%s", category, name)));
    }
}

static void read_categories(struct call *call, const json_t *object, struct db_array *noes)
{
    const char *name;
    json_t *value;
    json_t *walked = iterable(object);
    if (json_object_size(object) > CATEGORIES_MAX)
        fault_add(&call->faults, STR("/categories"), "must have at most %d categories", CATEGORIES_MAX);
    json_object_foreach(walked, name, value)
    {
        struct str at = fault_pointer(call->arena, STR("/categories"), str_from(name));
        if (!check_slug(str_from(name)))
            fault_add(&call->faults, at, "is not a category: 1 to 64 of a-z 0-9 . _ -");
        else if (!json_is_object(value))
            fault_add(&call->faults, at, "must be an object");
        else
            read_switches(call, value, at, name, noes);
    }
}

static void write_part(struct buf *out, const char *name, const json_t *tree)
{
    json_key(out, name);
    if (tree != NULL)
        json_write_tree(out, tree);
    else
        json_raw(out, STR("{}"));
}

enum result preferences_put(struct call *call)
{
    struct db_args args = DB_ARGS(call->arena);
    struct buf document = BUF_INIT(DOCUMENT_BYTES_MAX);
    struct db_array noes;
    struct db_result *rows = NULL;
    if (owner_of(call).data[0] == '~')
        return error_set(&call->error, RESULT_INVALID, "Ids that begin with ~ are reserved.");
    db_arg_text(&args, owner_of(call));
    db_array_begin(&noes, &args);
    read_switches(call, call->body[PUT_CHANNELS].tree, STR("/channels"), NULL, &noes);
    read_categories(call, call->body[PUT_CATEGORIES].tree, &noes);
    db_array_end(&noes);
    if (call->faults.total > 0)
        return error_set(&call->error, RESULT_INVALID, "faults");
    json_open(&document, '{');
    write_part(&document, "channels", call->body[PUT_CHANNELS].tree);
    write_part(&document, "categories", call->body[PUT_CATEGORIES].tree);
    json_close(&document, '}');
    db_arg_text(&args, buf_str(&document));
    enum result result = call_run(call, &query_preferences_put, &args, &rows);
    if (result == RESULT_OK)
        buf_add_str(response_json(call->response, 200), buf_str(&document));
    buf_free(&document);
    return result;
}
