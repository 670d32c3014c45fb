/* Web Push as a browser sees it: the key to subscribe with, its subscription, and the end of it. */
#include "handlers/device_row.h"
#include "handlers/device_store.h"
#include "handlers/member.h"
#include "handlers/resources.h"
#include "queries.h"

enum { PUSH_ENDPOINT, PUSH_EXPIRATION, PUSH_KEYS };
const struct field push_subscribe_fields[] = {
    [PUSH_ENDPOINT] = {.name = "endpoint", .kind = FIELD_URL, .flags = FIELD_REQUIRED},
    [PUSH_EXPIRATION] = {.name = "expirationTime",
                         .kind = FIELD_INT,
                         .flags = FIELD_NULLABLE,
                         .most = 1LL << 53},
    [PUSH_KEYS] = {.name = "keys", .kind = FIELD_OBJECT, .flags = FIELD_REQUIRED},
    {.name = NULL},
};

enum result push_subscribe(struct call *call)
{
    struct device_request request = {
        .user = str_from(call->identity.user), .channel = "push", .provider = "webpush"};
    struct device_stored stored;
    if (!device_read_subscription(call, call->body[PUSH_ENDPOINT].text, call->body[PUSH_KEYS].tree, STR(""),
                                  &request.address))
        return error_set(&call->error, RESULT_INVALID, "faults");
    enum result result = device_store(call, &request, &stored);
    if (result != RESULT_OK)
        return result;
    struct buf *out = response_json(call->response, stored.created ? 201 : 200);
    json_open(out, '{');
    member_text(out, "id", db_text(stored.row, 0, DEVICE_ID));
    json_close(out, '}');
    return RESULT_OK;
}

enum result push_unsubscribe(struct call *call)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    db_arg_cstr(&args, call->identity.user);
    db_arg_text(&args, call_param(call, "id"));
    enum result result = call_run(call, &query_push_delete, &args, &rows);
    if (result == RESULT_OK && db_affected(rows) == 0)
        return error_set(&call->error, RESULT_MISSING, "There is no such subscription.");
    if (result == RESULT_OK)
        response_empty(call->response, 204);
    return result;
}

enum result push_key(struct call *call)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    enum result result = call_run(call, &query_push_key, &args, &rows);
    if (result != RESULT_OK)
        return result;
    if (db_rows(rows) == 0)
        return error_set(&call->error, RESULT_MISSING, "Web Push is not set up.");
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    member_text(out, "publicKey", db_text(rows, 0, 0));
    json_close(out, '}');
    return RESULT_OK;
}
