/*
 * Users: what a service keeps of its recipients. Name, addresses, language and time zone, attributes.
 *
 * The e-mail address and the phone number are sealed in the user's row, for GET, and again as devices `email`
 * and `phone`, for the worker. Erasing goes in steps of bounded size, each a transaction: if it is cut off,
 * repeating it goes on.
 */
#include "core/limits.h"
#include "domain/feed.h"
#include "format/check.h"
#include "handlers/device_row.h"
#include "handlers/member.h"
#include "handlers/notification_row.h"
#include "handlers/resources.h"
#include "handlers/retry.h"
#include "handlers/time_zone.h"
#include "queries.h"
#include <stdio.h>
#include <string.h>

enum { NAME_CHARS = 256, ZONE_CHARS = 64, PHONE_BYTES = 16, CURSOR_CHARS = 1024, ERASE_ROWS = 500 };

enum { PUT_NAME, PUT_AVATAR, PUT_EMAIL, PUT_PHONE, PUT_LOCALE, PUT_ZONE, PUT_ATTRIBUTES };
const struct field users_put_fields[] = {
    [PUT_NAME] = {.name = "name", .kind = FIELD_TEXT, .least = 1, .most = NAME_CHARS},
    [PUT_AVATAR] = {.name = "avatarUrl", .kind = FIELD_LINK},
    [PUT_EMAIL] = {.name = "email",
                   .kind = FIELD_WORD,
                   .check = check_email,
                   .rule = "must be an e-mail address"},
    [PUT_PHONE] = {.name = "phone",
                   .kind = FIELD_WORD,
                   .check = check_phone,
                   .rule = "must be a phone number as in E.164, such as +821012345678"},
    [PUT_LOCALE] = {.name = "locale",
                    .kind = FIELD_WORD,
                    .check = check_locale,
                    .rule = "must be a language tag as in BCP 47, such as ko-KR"},
    [PUT_ZONE] = {.name = "timeZone",
                  .kind = FIELD_WORD,
                  .check = check_time_zone,
                  .rule = "must be a time zone's name, such as Asia/Seoul"},
    [PUT_ATTRIBUTES] = {.name = "attributes", .kind = FIELD_OBJECT, .most = LIMIT_DATA_BYTES, .text = "{}"},
    {.name = NULL},
};

enum { EXPORT_LIMIT, EXPORT_CURSOR };
const struct field users_export_query[] = {
    [EXPORT_LIMIT] = {.name = "limit", .kind = FIELD_INT, .least = 1, .most = LIMIT_PAGE_ROWS, .number = 50},
    [EXPORT_CURSOR] = {.name = "cursor", .kind = FIELD_TEXT, .least = 1, .most = CURSOR_CHARS},
    {.name = NULL},
};

/* ---- sealed values of the user's own row ---- */

static struct str context_of(const struct call *call, struct str user)
{
    return str_from(arena_printf(call->arena, "user:%d:" STR_FMT, call->identity.tenant, STR_ARG(user)));
}

/* As an argument; NULL for nothing. */
static enum result arg_sealed(struct call *call, struct str user, struct str plain, struct db_args *args)
{
    if (!str_is_set(plain)) {
        db_arg_null(args);
        return RESULT_OK;
    }
    struct buf sealed = BUF_INIT(LIMIT_EMAIL_BYTES + 64);
    enum result result = keyring_seal(call->app->ring, context_of(call, user), plain, &sealed, &call->error);
    db_arg_bytes(args, sealed.data, sealed.bytes);
    buf_free(&sealed);
    return result;
}

static enum result open_sealed(struct call *call, struct str user, const struct db_result *rows, int column,
                               struct str *plain)
{
    *plain = STR_NONE;
    if (db_is_null(rows, 0, column))
        return RESULT_OK;
    struct buf text = BUF_INIT(LIMIT_EMAIL_BYTES + 64);
    enum result result = keyring_open(call->app->ring, context_of(call, user),
                                      db_bytes(rows, 0, column, call->arena), &text, &call->error);
    if (result == RESULT_OK)
        *plain = arena_str(call->arena, buf_str(&text));
    buf_free(&text);
    /* A stored value that does not open is our defect, not the caller's. */
    return result == RESULT_OK ? RESULT_OK : (call->error.code = RESULT_FAILED);
}

/* ---- what is shown ---- */

struct shown {
    struct str id, name, avatar, email, phone, locale, zone, attributes;
    int64_t created_us, updated_us;
};

static void write_user(struct buf *out, const struct shown *user)
{
    json_open(out, '{');
    member_text(out, "id", user->id);
    member_text(out, "name", user->name);
    member_text(out, "avatarUrl", user->avatar);
    member_text(out, "email", user->email);
    member_text(out, "phone", user->phone);
    member_text(out, "locale", user->locale);
    member_text(out, "timeZone", user->zone);
    member_raw(out, "attributes", user->attributes);
    member_time(out, "createdAt", user->created_us);
    member_time(out, "updatedAt", user->updated_us);
    json_close(out, '}');
}

/* The first row of users_get. */
static enum result read_user(struct call *call, const struct db_result *rows, struct shown *user)
{
    enum { ID, NAME, AVATAR, EMAIL, PHONE, LOCALE, ZONE, ATTRIBUTES, CREATED, UPDATED };
    *user = (struct shown){.id = db_text(rows, 0, ID),
                           .name = db_text(rows, 0, NAME),
                           .avatar = db_text(rows, 0, AVATAR),
                           .locale = db_text(rows, 0, LOCALE),
                           .zone = db_text(rows, 0, ZONE),
                           .attributes = db_text(rows, 0, ATTRIBUTES),
                           .created_us = db_int(rows, 0, CREATED),
                           .updated_us = db_int(rows, 0, UPDATED)};
    enum result result = open_sealed(call, user->id, rows, EMAIL, &user->email);
    return result != RESULT_OK ? result : open_sealed(call, user->id, rows, PHONE, &user->phone);
}

/* ---- put ---- */

static enum result queue_user(struct call *call, struct db *db, struct str user)
{
    const struct field_value *body = call->body;
    struct db_args args = DB_ARGS(call->arena);
    db_arg_text(&args, user);
    db_arg_text(&args, body[PUT_NAME].text);
    db_arg_text(&args, body[PUT_AVATAR].text);
    enum result result = arg_sealed(call, user, body[PUT_EMAIL].text, &args);
    if (result == RESULT_OK)
        result = arg_sealed(call, user, body[PUT_PHONE].text, &args);
    if (result != RESULT_OK)
        return result;
    db_arg_text(&args, body[PUT_LOCALE].text);
    db_arg_text(&args, body[PUT_ZONE].text);
    db_arg_text(&args, body[PUT_ATTRIBUTES].text);
    return db_queue(db, &query_users_put, &args, &call->error);
}

/* Makes, replaces or (without a value) removes the device that mirrors an address. sealed must live until the
 * statement is sent. */
static enum result queue_address(struct call *call, struct db *db, struct str user, const char *id,
                                 const char *channel, const struct address *address, bool given,
                                 struct device_sealed *sealed)
{
    struct db_args args = DB_ARGS(call->arena);
    db_arg_text(&args, user);
    db_arg_cstr(&args, id);
    if (!given)
        return db_queue(db, &query_users_drop_address, &args, &call->error);
    enum result result =
        device_seal(call->app->ring, call->arena, call->identity.tenant, user, address, sealed, &call->error);
    if (result != RESULT_OK)
        return result;
    db_arg_cstr(&args, channel);
    device_args(&args, sealed);
    return db_queue(db, &query_users_put_address, &args, &call->error);
}

static enum result put_once(struct call *call, struct str user, struct db_result *const **results)
{
    const struct field_value *body = call->body;
    struct address email = {
        .kind = ADDRESS_EMAIL, .email = body[PUT_EMAIL].text, .name = body[PUT_NAME].text};
    struct address phone = {.kind = ADDRESS_PHONE, .phone = body[PUT_PHONE].text};
    struct device_sealed sealed[2];
    struct db *db;
    int count = 0;
    enum result result = call_begin_as(call, STR("*"), &db);
    if (result == RESULT_OK)
        result = queue_user(call, db, user);
    if (result == RESULT_OK)
        result = queue_address(call, db, user, "email", "email", &email, body[PUT_EMAIL].given, &sealed[0]);
    if (result == RESULT_OK)
        result = queue_address(call, db, user, "phone", "sms", &phone, body[PUT_PHONE].given, &sealed[1]);
    return result == RESULT_OK ? db_finish(db, call->arena, results, &count, NULL, &call->error) : result;
}

/* Is it a user that a tenant may have, and a zone that exists? */
static enum result check_put(struct call *call, struct str user)
{
    const struct field_value *zone = &call->body[PUT_ZONE];
    bool known = true;
    if (user.data[0] == '~')
        return error_set(&call->error, RESULT_INVALID, "Ids that begin with ~ are reserved.");
    if (!zone->given)
        return RESULT_OK;
    enum result result = time_zone_exists(call, zone->text, &known);
    if (result == RESULT_OK && !known) {
        fault_add(&call->faults, STR("/timeZone"), "is not a time zone that exists");
        return error_set(&call->error, RESULT_INVALID, "faults");
    }
    return result;
}

enum result users_put(struct call *call)
{
    enum { CREATED, UPDATED, INSERTED };
    struct str user = call_param(call, "user");
    const struct field_value *body = call->body;
    struct db_result *const *results = NULL;
    int tries = 0;
    enum result result = check_put(call, user);
    if (result != RESULT_OK)
        return result;
    do
        result = put_once(call, user, &results);
    while (result != RESULT_OK && retry_again(&call->error, &tries));
    if (result != RESULT_OK)
        return result;
    struct shown shown = {.id = user,
                          .name = body[PUT_NAME].text,
                          .avatar = body[PUT_AVATAR].text,
                          .email = body[PUT_EMAIL].text,
                          .phone = body[PUT_PHONE].text,
                          .locale = body[PUT_LOCALE].text,
                          .zone = body[PUT_ZONE].text,
                          .attributes = body[PUT_ATTRIBUTES].text,
                          .created_us = db_int(results[0], 0, CREATED),
                          .updated_us = db_int(results[0], 0, UPDATED)};
    write_user(response_json(call->response, db_bool(results[0], 0, INSERTED) ? 201 : 200), &shown);
    return RESULT_OK;
}

/* ---- get, export ---- */

static enum result no_such_user(struct call *call)
{
    return error_set(&call->error, RESULT_MISSING, "There is no such user.");
}

enum result users_get(struct call *call)
{
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    struct shown user;
    db_arg_text(&args, call_param(call, "user"));
    enum result result = call_run(call, &query_users_get, &args, &rows);
    if (result != RESULT_OK)
        return result;
    if (db_rows(rows) == 0)
        return no_such_user(call);
    result = read_user(call, rows, &user);
    if (result == RESULT_OK)
        write_user(response_json(call->response, 200), &user);
    return result;
}

/* The user's notifications, a page of them, as the last statement of the export. */
static enum result queue_page(struct call *call, struct db *db, struct str user, const struct uuid *before)
{
    struct db_args args = DB_ARGS(call->arena);
    struct uuid least = {{0}}, most;
    memset(&most, 0xff, sizeof most);
    db_arg_text(&args, user);
    db_arg_null(&args);
    db_arg_null(&args);
    db_arg_uuid(&args, &least);
    db_arg_uuid(&args, &most);
    db_arg_uuid(&args, before);
    db_arg_int(&args, call->query[EXPORT_LIMIT].number + 1);
    return db_queue(db, &query_notifications_list_user, &args, &call->error);
}

enum { EXPORTED_USER, EXPORTED_DEVICES, EXPORTED_PREFERENCES, EXPORTED_NOTIFICATIONS, EXPORTED };

static enum result read_export(struct call *call, struct str user, const struct uuid *before,
                               struct db_result *const **results)
{
    static const struct db_query *const queries[] = {&query_users_get, &query_devices_list,
                                                     &query_preferences_get};
    struct db_args args = DB_ARGS(call->arena);
    struct db *db;
    int count = 0;
    db_arg_text(&args, user);
    enum result result = call_begin_as(call, STR("*"), &db);
    for (size_t i = 0; i < sizeof queries / sizeof *queries && result == RESULT_OK; i++)
        result = db_queue(db, queries[i], &args, &call->error);
    if (result == RESULT_OK)
        result = queue_page(call, db, user, before);
    return result == RESULT_OK ? db_finish(db, call->arena, results, &count, NULL, &call->error) : result;
}

enum result users_export(struct call *call)
{
    struct db_result *const *results = NULL;
    struct uuid before;
    struct shown user;
    if (!notification_page_start(call->query[EXPORT_CURSOR].text, &before)) {
        fault_add_parameter(&call->faults, STR("cursor"), "is not one that this list gave");
        return error_set(&call->error, RESULT_INVALID, "bad cursor");
    }
    enum result result = read_export(call, call_param(call, "user"), &before, &results);
    if (result != RESULT_OK)
        return result;
    int found = 0;
    for (int i = 0; i < EXPORTED; i++)
        found += db_rows(results[i]);
    if (found == 0 && !call->query[EXPORT_CURSOR].given)
        return no_such_user(call);
    bool kept = db_rows(results[EXPORTED_USER]) > 0;
    if (kept && (result = read_user(call, results[EXPORTED_USER], &user)) != RESULT_OK)
        return result;
    struct buf *out = response_json(call->response, 200);
    json_open(out, '{');
    json_key(out, "user");
    if (kept)
        write_user(out, &user);
    else
        json_nil(out);
    device_write_list(out, results[EXPORTED_DEVICES]);
    member_raw(out, "preferences",
               db_rows(results[EXPORTED_PREFERENCES]) > 0 ? db_text(results[EXPORTED_PREFERENCES], 0, 0)
                                                          : STR("{\"channels\":{},\"categories\":{}}"));
    notification_write_page(out, results[EXPORTED_NOTIFICATIONS], call->query[EXPORT_LIMIT].number);
    json_close(out, '}');
    return RESULT_OK;
}

/* ---- erase ---- */

/* One step: some notifications, or with rest everything else. *removed is how many rows went; *place where
 * the feed was, epoch 0 if there is none. */
static enum result erase_step(struct call *call, struct str user, bool rest, int64_t *removed,
                              struct feed_place *place)
{
    struct db_args lock = DB_ARGS(call->arena), args = DB_ARGS(call->arena);
    struct db_result *const *results = NULL;
    struct db *db;
    int count = 0;
    db_arg_text(&lock, user);
    db_arg_text(&args, user);
    if (!rest)
        db_arg_int(&args, ERASE_ROWS);
    enum result result = call_begin_as(call, STR("*"), &db);
    if (result == RESULT_OK)
        result = db_queue(db, &query_users_erase_lock, &lock, &call->error);
    if (result == RESULT_OK)
        result = db_queue(db, rest ? &query_users_erase_rest : &query_users_erase_notifications, &args,
                          &call->error);
    if (result == RESULT_OK)
        result = db_finish(db, call->arena, &results, &count, NULL, &call->error);
    if (result != RESULT_OK)
        return result;
    *removed = db_int(results[1], 0, 0);
    *place = (struct feed_place){0};
    if (db_rows(results[0]) > 0)
        *place = (struct feed_place){(uint64_t)db_int(results[0], 0, 0), db_int(results[0], 0, 1)};
    return RESULT_OK;
}

/* Whoever reads the feed that was finds out, and what was cached of it is dropped. */
static void announce_erased(struct call *call, struct str user, const struct feed_place *place)
{
    char key[FEED_KEY_BYTES + 1];
    snprintf(key, sizeof key, "inbox:" STR_FMT, STR_ARG(user));
    struct feed_change change = {.tenant = call->identity.tenant,
                                 .key = str_from(key),
                                 .place = {place->epoch, place->rev + 1},
                                 .prev_rev = place->rev,
                                 .event = STR_NONE};
    feed_announce(call->redis, &change, 1);
}

enum result users_erase(struct call *call)
{
    struct str user = call_param(call, "user");
    struct feed_place place = {0};
    int64_t total = 0, removed = 0;
    int tries = 0;
    if (user.data[0] == '~') /* where alerts go is the operator's to say */
        return error_set(&call->error, RESULT_INVALID, "Ids that begin with ~ are reserved.");
    for (bool rest = false;; rest = removed < ERASE_ROWS) {
        enum result result = erase_step(call, user, rest, &removed, &place);
        if (result != RESULT_OK && retry_again(&call->error, &tries)) {
            removed = rest ? 0 : ERASE_ROWS; /* the same step again */
            continue;
        }
        if (result != RESULT_OK)
            return result;
        total += removed;
        if (rest)
            break;
    }
    if (place.epoch != 0)
        announce_erased(call, user, &place);
    if (total == 0)
        return no_such_user(call);
    response_empty(call->response, 204);
    return RESULT_OK;
}
