/*
 * Storing a device: see device_store.h. Two trips: what is there already must be known (its secrets, its
 * number, whose endpoint it was) before the row can be sealed.
 *
 * It runs as the tenant's service even for a browser's user: the subscription may be somebody else's row.
 */
#include "handlers/device_store.h"
#include "core/limits.h"
#include "format/check.h"
#include "format/text.h"
#include "handlers/device_row.h"
#include "handlers/retry.h"
#include "queries.h"

/* Columns of devices_before. */
enum { BEFORE_CHANNEL, BEFORE_PROVIDER, BEFORE_SEALED, BEFORE_OTHER, BEFORE_COUNT };
/* Statements of the first trip. */
enum { STEP_LOCK, STEP_FIND, STEP_BEFORE };

struct storing {
    struct call *call;
    struct device_request *request;
    struct str id;          /* as it will be */
    struct str secret_made; /* or STR_NONE */
    bool exists;
};

static bool is_push(const struct device_request *request)
{
    return request->address.kind == ADDRESS_WEBPUSH;
}

static enum result look(struct storing *s, struct db **db, struct db_result *const **results)
{
    struct call *call = s->call;
    unsigned char index[16];
    struct db_args lock = DB_ARGS(call->arena), find = DB_ARGS(call->arena), before = DB_ARGS(call->arena);
    int count = 0;
    address_index(call->app->ring, call->identity.tenant, &s->request->address, index);
    db_arg_text(&lock, s->request->user);
    db_arg_text(&find, s->request->user);
    db_arg_bytes(&find, index, sizeof index);
    db_arg_text(&before, s->request->user);
    db_arg_text(&before, s->id);
    db_arg_bytes(&before, index, sizeof index);
    enum result result = call_begin_as(call, STR("*"), db);
    if (result == RESULT_OK)
        result = db_queue(*db, &query_devices_lock, &lock, &call->error);
    if (result == RESULT_OK)
        result = db_queue(*db, &query_push_find, &find, &call->error);
    if (result == RESULT_OK)
        result = db_queue(*db, &query_devices_before, &before, &call->error);
    return result == RESULT_OK ? db_step(*db, call->arena, results, &count, NULL, &call->error) : result;
}

/* A webhook's secrets: as given, as they were, or a new one. */
static enum result settle_secrets(struct storing *s, const struct db_result *before)
{
    struct call *call = s->call;
    struct address *address = &s->request->address;
    struct address old;
    if (address->kind != ADDRESS_WEBHOOK || address->secret_count > 0)
        return RESULT_OK;
    if (str_is(db_text(before, 0, BEFORE_CHANNEL), "webhook") &&
        address_open(call->app->ring, call->identity.tenant, s->request->user, ADDRESS_WEBHOOK,
                     db_bytes(before, 0, BEFORE_SEALED, call->arena), call->arena, &old,
                     &call->error) == RESULT_OK) {
        for (int i = 0; i < old.secret_count; i++)
            address->secrets[i] = old.secrets[i];
        address->secret_count = old.secret_count;
    }
    if (address->secret_count > 0)
        return RESULT_OK;
    address->secret_count = 1;
    enum result result = address_secret_make(call->arena, &address->secrets[0], &call->error);
    s->secret_made = address->secrets[0];
    return result;
}

/* Is there room? Sets what exists, and the id that an endpoint has already. */
static enum result admit(struct storing *s, struct db_result *const *results)
{
    const struct db_result *before = results[STEP_BEFORE];
    bool moves = is_push(s->request) && !db_is_null(before, 0, BEFORE_OTHER);
    s->exists = !db_is_null(before, 0, BEFORE_CHANNEL);
    if (!str_is_set(s->request->id) && db_rows(results[STEP_FIND]) > 0) {
        s->id = db_text(results[STEP_FIND], 0, 0);
        s->exists = true;
    }
    if (!s->exists && db_int(before, 0, BEFORE_COUNT) - (moves ? 1 : 0) >= LIMIT_DEVICES)
        return error_set(&s->call->error, RESULT_CONFLICT, "A user can have %d devices: remove one first.",
                         LIMIT_DEVICES);
    return RESULT_OK;
}

static enum result put(struct storing *s, struct db *db, const struct db_result **row)
{
    struct call *call = s->call;
    const struct device_request *request = s->request;
    struct db_args args = DB_ARGS(call->arena), take_over = DB_ARGS(call->arena);
    struct db_result *const *results = NULL;
    struct device_sealed sealed;
    int count = 0;
    enum result result = device_seal(call->app->ring, call->arena, call->identity.tenant, request->user,
                                     &request->address, &sealed, &call->error);
    if (result != RESULT_OK)
        return result;
    db_arg_text(&args, request->user);
    db_arg_text(&args, s->id);
    db_arg_cstr(&args, request->channel);
    db_arg_cstr(&args, request->provider);
    device_args(&args, &sealed);
    result = db_queue(db, &query_devices_put, &args, &call->error);
    db_arg_text(&take_over, request->user);
    db_arg_text(&take_over, s->id);
    db_arg_bytes(&take_over, sealed.index, sizeof sealed.index);
    if (result == RESULT_OK && is_push(request))
        result = db_queue(db, &query_devices_take_over, &take_over, &call->error);
    if (result == RESULT_OK)
        result = db_finish(db, call->arena, &results, &count, NULL, &call->error);
    if (result == RESULT_OK)
        *row = results[0];
    return result;
}

static enum result store_once(struct storing *s, const struct db_result **row)
{
    struct db_result *const *results = NULL;
    struct db *db = NULL;
    enum result result = look(s, &db, &results);
    if (result == RESULT_OK)
        result = admit(s, results);
    if (result == RESULT_OK)
        result = settle_secrets(s, results[STEP_BEFORE]);
    if (result == RESULT_OK)
        result = put(s, db, row);
    if (db != NULL)
        db_abandon(db);
    return result;
}

enum result device_store(struct call *call, struct device_request *request, struct device_stored *stored)
{
    char fresh[UUID_TEXT_BYTES + 1];
    struct uuid id = uuid_new();
    int given = request->address.secret_count, tries = 0;
    struct storing s;
    for (;;) {
        s = (struct storing){.call = call, .request = request, .id = request->id};
        request->address.secret_count = given;
        if (!str_is_set(s.id))
            s.id = str_from(uuid_text(&id, fresh));
        enum result result = store_once(&s, &stored->row);
        if (result == RESULT_OK)
            break;
        if (!retry_again(&call->error, &tries))
            return result;
    }
    stored->created = !s.exists;
    stored->secret = s.secret_made;
    return RESULT_OK;
}

/* ---- browsers' subscriptions ---- */

static bool decode(struct arena *arena, struct str text, struct str *bytes)
{
    char *decoded = arena_alloc(arena, P256_POINT_BYTES);
    bytes->data = decoded;
    return decoded != NULL && text_from_base64url(text, decoded, P256_POINT_BYTES, &bytes->bytes);
}

bool device_read_subscription(struct call *call, struct str endpoint, const json_t *keys, struct str prefix,
                              struct address *address)
{
    enum { P256DH, AUTH, KEYS };
    static const struct field fields[] = {
        [P256DH] = {.name = "p256dh", .kind = FIELD_TEXT, .flags = FIELD_REQUIRED, .least = 87, .most = 88},
        [AUTH] = {.name = "auth", .kind = FIELD_TEXT, .flags = FIELD_REQUIRED, .least = 22, .most = 64},
        {.name = NULL},
    };
    struct field_value v[KEYS];
    struct url url;
    struct str at = fault_pointer(call->arena, prefix, STR("keys"));
    int before = call->faults.total;
    *address = (struct address){.kind = ADDRESS_WEBPUSH, .url = endpoint};
    if (str_is_set(endpoint) && url_parse(endpoint, &url) && !str_is(url.scheme, "https") &&
        !call->app->config->private_addresses)
        fault_add(&call->faults, fault_pointer(call->arena, prefix, STR("endpoint")), "must be an https URL");
    if (!fields_read(fields, keys, at, &call->faults, v))
        return false;
    if (!decode(call->arena, v[P256DH].text, &address->p256dh) || !crypto_p256_is_point(address->p256dh))
        fault_add(&call->faults, fault_pointer(call->arena, at, STR("p256dh")),
                  "must be a point on P-256, uncompressed, in base64url");
    if (!decode(call->arena, v[AUTH].text, &address->auth) || address->auth.bytes < PUSH_AUTH_BYTES)
        fault_add(&call->faults, fault_pointer(call->arena, at, STR("auth")),
                  "must be 16 bytes in base64url");
    return call->faults.total == before;
}
