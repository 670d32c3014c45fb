/* Devices of a user, as a service keeps them: webhooks and push subscriptions; the user's own mailbox and
 * phone are shown among them and kept by PUT /users/{user}. */
#include "core/limits.h"
#include "format/check.h"
#include "format/json.h"
#include "handlers/device_row.h"
#include "handlers/device_store.h"
#include "handlers/resources.h"
#include "queries.h"

enum { PUT_CHANNEL, PUT_PROVIDER, PUT_URL, PUT_SECRET, PUT_SUBSCRIPTION };
enum { CHANNEL_WEBHOOK, CHANNEL_PUSH };
static const char *const channels[] = {"webhook", "push", NULL};
static const char *const providers[] = {"webpush", NULL};

static bool is_secret(struct str s)
{
    unsigned char key[ADDRESS_SECRET_BYTES_MOST];
    size_t bytes;
    return address_secret_key(s, key, &bytes);
}

const struct field devices_put_fields[] = {
    [PUT_CHANNEL] = {.name = "channel", .kind = FIELD_CHOICE, .flags = FIELD_REQUIRED, .choices = channels},
    [PUT_PROVIDER] = {.name = "provider", .kind = FIELD_CHOICE, .choices = providers},
    [PUT_URL] = {.name = "url", .kind = FIELD_URL},
    [PUT_SECRET] = {.name = "secret",
                    .kind = FIELD_WORD,
                    .check = is_secret,
                    .rule = "must be whsec_ and base64 of 24 to 64 bytes"},
    [PUT_SUBSCRIPTION] = {.name = "subscription", .kind = FIELD_OBJECT},
    {.name = NULL},
};

static enum result no_such_device(struct call *call)
{
    return error_set(&call->error, RESULT_MISSING, "There is no such device.");
}

/* ---- put ---- */

/* Members that belong to the other kind of device, and those that are missing. */
static void check_members(struct call *call, int required, int required_too, int foreign, int foreign_too)
{
    const struct field_value *body = call->body;
    const int needed[] = {required, required_too}, unwanted[] = {foreign, foreign_too};
    for (int i = 0; i < 2; i++) {
        if (needed[i] >= 0 && !body[needed[i]].given)
            fault_add(&call->faults,
                      fault_pointer(call->arena, STR(""), str_from(devices_put_fields[needed[i]].name)),
                      "is required for this channel");
        if (body[unwanted[i]].given)
            fault_add(&call->faults,
                      fault_pointer(call->arena, STR(""), str_from(devices_put_fields[unwanted[i]].name)),
                      "does not belong to this channel");
    }
}

static void read_webhook(struct call *call, struct device_request *request)
{
    const struct field_value *body = call->body;
    struct url url;
    check_members(call, PUT_URL, -1, PUT_PROVIDER, PUT_SUBSCRIPTION);
    request->channel = "webhook";
    request->provider = "webhook";
    request->address = (struct address){.kind = ADDRESS_WEBHOOK, .url = body[PUT_URL].text};
    if (body[PUT_SECRET].given) {
        request->address.secrets[0] = body[PUT_SECRET].text;
        request->address.secret_count = 1;
    }
    if (body[PUT_URL].given && url_parse(body[PUT_URL].text, &url) && !str_is(url.scheme, "https") &&
        !call->app->config->private_addresses)
        fault_add(&call->faults, STR("/url"), "must be an https URL");
}

static void read_push(struct call *call, struct device_request *request)
{
    enum { ENDPOINT, KEYS, SUBSCRIPTION };
    static const struct field fields[] = {
        [ENDPOINT] = {.name = "endpoint", .kind = FIELD_URL, .flags = FIELD_REQUIRED},
        [KEYS] = {.name = "keys", .kind = FIELD_OBJECT, .flags = FIELD_REQUIRED},
        {.name = NULL},
    };
    struct field_value v[SUBSCRIPTION];
    check_members(call, PUT_PROVIDER, PUT_SUBSCRIPTION, PUT_URL, PUT_SECRET);
    request->channel = "push";
    request->provider = "webpush";
    const json_t *subscription = call->body[PUT_SUBSCRIPTION].tree;
    if (subscription == NULL || !fields_read(fields, subscription, STR("/subscription"), &call->faults, v))
        return;
    device_read_subscription(call, v[ENDPOINT].text, v[KEYS].tree, STR("/subscription"), &request->address);
}

enum result devices_put(struct call *call)
{
    struct device_request request = {.user = call_param(call, "user"), .id = call_param(call, "id")};
    struct device_stored stored;
    if (request.user.data[0] == '~')
        return error_set(&call->error, RESULT_INVALID, "Ids that begin with ~ are reserved.");
    if (device_is_reserved(request.id))
        return error_set(&call->error, RESULT_INVALID,
                         "This id belongs to the user's own address: PUT the user.");
    if (call->body[PUT_CHANNEL].number == CHANNEL_WEBHOOK)
        read_webhook(call, &request);
    else
        read_push(call, &request);
    if (call->faults.total > 0)
        return error_set(&call->error, RESULT_INVALID, "faults");
    enum result result = device_store(call, &request, &stored);
    if (result == RESULT_OK)
        device_write(response_json(call->response, stored.created ? 201 : 200), stored.row, 0, stored.secret);
    return result;
}

/* ---- list, get, delete ---- */

static enum result run(struct call *call, const struct db_query *query, bool with_id, struct db_result **rows)
{
    struct db_args args = DB_ARGS(call->arena);
    db_arg_text(&args, call_param(call, "user"));
    if (with_id)
        db_arg_text(&args, call_param(call, "id"));
    return call_run(call, query, &args, rows);
}

enum result devices_list(struct call *call)
{
    struct db_result *rows = NULL;
    enum result result = run(call, &query_devices_list, false, &rows);
    if (result != RESULT_OK)
        return result;
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    device_write_list(out, rows);
    json_close(out, '}');
    return RESULT_OK;
}

enum result devices_get(struct call *call)
{
    struct db_result *rows = NULL;
    enum result result = run(call, &query_devices_get, true, &rows);
    if (result == RESULT_OK && db_rows(rows) == 0)
        return no_such_device(call);
    if (result == RESULT_OK)
        device_write(response_json(call->response, 200), rows, 0, STR_NONE);
    return result;
}

enum result devices_delete(struct call *call)
{
    struct db_result *rows = NULL;
    if (device_is_reserved(call_param(call, "id")) || call_param(call, "user").data[0] == '~')
        return error_set(&call->error, RESULT_FORBIDDEN,
                         "This is the user's own address: PUT the user without it.");
    enum result result = run(call, &query_devices_delete, true, &rows);
    if (result == RESULT_OK && db_affected(rows) == 0)
        return no_such_device(call);
    if (result == RESULT_OK)
        response_empty(call->response, 204);
    return result;
}
