/*
 * POST /notifications and /notifications/bulk: accepting sends.
 *
 * One transaction, in one round trip: the claim of the idempotency key first, then the locked feeds, the
 * notifications, their plan. The answer is written before anything is sent when every status is known
 * already, so that it can be stored with the claim; with a dedupKey it is known only after a step, and stored
 * then.
 *
 * Promises: 202 means committed; the same key and body get the first answer again, even if they would not
 * pass validation any more; a lost COMMIT is a 503 that the same key settles.
 */
#include "core/limits.h"
#include "domain/queue.h"
#include "domain/send_body.h"
#include "format/json.h"
#include "handlers/resources.h"
#include "handlers/retry.h"
#include "queries.h"
#include <string.h>

enum { BULK_ITEMS_MAX = 1000, CHANNELS_MAX = 16, PLAN_OFFSET = 2 /* lock, insert, plan: of send_queue() */ };

enum { BULK_NOTIFICATIONS };
const struct field notifications_bulk_fields[] = {
    [BULK_NOTIFICATIONS] = {"notifications", FIELD_ARRAY, FIELD_REQUIRED, .least = 1, .most = BULK_ITEMS_MAX},
    {.name = NULL},
};

/* One of a bulk send: its recipients, or its faults. */
struct item {
    int first, count;
    const struct faults *faults; /* NULL: valid */
};

struct sending {
    struct call *call;
    struct send_batch batch;
    struct send_content *contents;
    struct str key; /* STR_NONE: the request has no name */
    unsigned char hash[SHA256_BYTES];
    struct item *items; /* NULL: a single send */
    int item_count;
    struct str answer;
};

/* ---- the answer ---- */

static void write_recipients(struct buf *out, const struct send_batch *batch, int first, int count)
{
    static const char *const names[] = {"accepted", "scheduled", "deduplicated"};
    char id[UUID_TEXT_BYTES + 1];
    json_key(out, "notifications");
    json_open(out, '[');
    for (int i = first; i < first + count; i++) {
        const struct send_recipient *recipient = &batch->recipients[i];
        json_open(out, '{');
        json_key(out, "id");
        json_text(out, str_from(uuid_text(&recipient->id, id)));
        json_key(out, "user");
        json_text(out, recipient->user);
        json_key(out, "status");
        json_text(out, str_from(names[recipient->status]));
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void write_single(struct buf *out, const struct send_batch *batch)
{
    json_key(out, "status");
    json_text(out, batch->contents[0].scheduled_us != 0 ? STR("scheduled") : STR("accepted"));
    json_key(out, "sandbox");
    json_bool(out, batch->sandbox);
    write_recipients(out, batch, 0, batch->recipient_count);
}

static void write_faults(struct buf *out, const struct faults *faults)
{
    json_key(out, "errors");
    json_open(out, '[');
    for (int i = 0; i < faults->count; i++) {
        json_open(out, '{');
        json_key(out, "pointer");
        json_text(out, faults->items[i].pointer);
        json_key(out, "detail");
        json_text(out, faults->items[i].detail);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static void write_bulk(struct buf *out, const struct sending *s)
{
    json_key(out, "results");
    json_open(out, '[');
    for (int i = 0; i < s->item_count; i++) {
        const struct item *item = &s->items[i];
        json_open(out, '{');
        json_key(out, "index");
        json_int(out, i);
        json_key(out, "status");
        json_int(out, item->faults == NULL ? 202 : 422);
        if (item->faults == NULL)
            write_recipients(out, &s->batch, item->first, item->count);
        else
            write_faults(out, item->faults);
        json_close(out, '}');
    }
    json_close(out, ']');
}

static enum result write_answer(struct sending *s)
{
    char id[UUID_TEXT_BYTES + 1];
    struct buf out = BUF_INIT(LIMIT_RESPONSE_BYTES);
    json_open(&out, '{');
    json_key(&out, "id");
    json_text(&out, str_from(uuid_text(&s->batch.request_id, id)));
    if (s->items == NULL)
        write_single(&out, &s->batch);
    else
        write_bulk(&out, s);
    json_close(&out, '}');
    s->answer = buf_ok(&out) ? arena_str(s->call->arena, buf_str(&out)) : STR_NONE;
    buf_free(&out);
    return str_is_set(s->answer) ? RESULT_OK
                                 : error_set(&s->call->error, RESULT_FAILED, "no memory for an answer");
}

static enum result respond(struct call *call, struct str answer)
{
    buf_add_str(response_json(call->response, 202), answer);
    return RESULT_OK;
}

/* ---- the key ---- */

/* Names the request, if it has a key, by what was asked for: method, path and body as they came, and whether
 * it was meant: nobody's first real send may be answered with what a sandbox key did. */
static void hash_request(struct sending *s)
{
    if (!str_is_set(s->key))
        return;
    const struct request *request = s->call->request;
    struct buf text = BUF_INIT(LIMIT_BULK_BODY_BYTES + PATH_BYTES_MAX + 32);
    buf_printf(&text, "%s%s " STR_FMT "\n", s->batch.sandbox ? "sandbox " : "", method_name(request->method),
               STR_ARG(request->path));
    buf_add_str(&text, request->body);
    crypto_sha256(buf_str(&text), s->hash);
    buf_free(&text);
}

/* The stored answer of the key, if there is one. *found is false when there is none. */
static enum result replay(struct sending *s, bool *found)
{
    struct call *call = s->call;
    struct db_args args = DB_ARGS(call->arena);
    struct db_result *rows = NULL;
    *found = false;
    db_arg_text(&args, s->key);
    enum result result = call_run(call, &query_idempotency_find, &args, &rows);
    if (result != RESULT_OK || db_rows(rows) == 0)
        return result;
    *found = true;
    struct str hash = db_bytes(rows, 0, 0, call->arena);
    if (hash.bytes != SHA256_BYTES || memcmp(hash.data, s->hash, SHA256_BYTES) != 0) {
        call->faults = FAULTS_INIT(call->arena);
        return call_problem(call, PROBLEM_IDEMPOTENCY_MISMATCH,
                            "This key named another request before; use a new one.");
    }
    response_header(call->response, "Idempotency-Replayed", STR("true"));
    return respond(call, db_text(rows, 0, 1));
}

/* The request has faults. If the very same one was accepted before (its expiresAt has passed since, say), its
 * answer stands. */
static enum result refuse(struct sending *s)
{
    bool found = false;
    if (str_is_set(s->key)) {
        enum result result = replay(s, &found);
        if (result != RESULT_OK || found)
            return result;
    }
    return error_set(&s->call->error, RESULT_INVALID, "The request has faults.");
}

/* ---- the transaction ---- */

static enum result queue_statements(struct sending *s, struct db *db)
{
    struct call *call = s->call;
    bool named = str_is_set(s->key);
    if (named) {
        struct db_args args = DB_ARGS(call->arena);
        db_arg_text(&args, s->key);
        db_arg_bytes(&args, s->hash, sizeof s->hash);
        db_arg_text(&args, s->batch.predictable ? s->answer : STR(""));
        enum result result = db_queue(db, &query_idempotency_claim, &args, &call->error);
        if (result != RESULT_OK)
            return result;
    }
    return send_queue(db, call->arena, &s->batch, named ? 1 : 0, &call->error);
}

/* Says what was committed: to waiting readers, and to the workers of the channels that got something to do.
 */
static void announce(struct sending *s, struct db_result *const *results, const struct feed_change *changes,
                     int count)
{
    struct str channels[CHANNELS_MAX];
    feed_announce(s->call->redis, changes, count);
    if (!s->batch.has_arrivals)
        return;
    const struct db_result *planned = results[s->batch.first_result + PLAN_OFFSET];
    int channel_count = db_rows(planned) < CHANNELS_MAX ? db_rows(planned) : CHANNELS_MAX;
    for (int i = 0; i < channel_count; i++)
        channels[i] = db_text(planned, i, 0);
    if (channel_count > 0)
        queue_wake(s->call->redis, s->call->identity.tenant, channels, channel_count);
}

static enum result store_answer(struct sending *s, struct db *db)
{
    struct db_args args = DB_ARGS(s->call->arena);
    enum result result = write_answer(s);
    if (result != RESULT_OK || !str_is_set(s->key))
        return result;
    db_arg_text(&args, s->key);
    db_arg_text(&args, s->answer);
    return db_queue(db, &query_idempotency_answer, &args, &s->call->error);
}

/* One try. *failed is the statement that failed: 0 is the claim when there is a key. */
static enum result accept_once(struct sending *s, int *failed)
{
    struct call *call = s->call;
    struct db_result *const *results = NULL;
    struct feed_change *changes = NULL;
    struct db *db;
    int count = 0, change_count = 0;
    *failed = -1;
    enum result result = call_begin_as(call, STR("*"), &db);
    if (result == RESULT_OK)
        result = queue_statements(s, db);
    if (result != RESULT_OK)
        return result;
    if (s->batch.predictable) {
        result = db_finish(db, call->arena, &results, &count, failed, &call->error);
        if (result != RESULT_OK)
            return result;
        /* Committed: whatever fails now, the answer is a yes. */
        struct error ignored;
        if (send_collect(call->arena, &s->batch, results, &changes, &change_count, &ignored) == RESULT_OK)
            announce(s, results, changes, change_count);
        return RESULT_OK;
    }
    result = db_step(db, call->arena, &results, &count, failed, &call->error);
    if (result == RESULT_OK)
        result = send_collect(call->arena, &s->batch, results, &changes, &change_count, &call->error);
    if (result == RESULT_OK)
        result = store_answer(s, db);
    if (result == RESULT_OK)
        result = db_finish(db, call->arena, NULL, NULL, NULL, &call->error);
    if (result == RESULT_OK)
        announce(s, results, changes, change_count);
    db_abandon(db);
    return result;
}

static bool is_state(const struct error *error, const char *sqlstate)
{
    return strcmp(error->sqlstate, sqlstate) == 0;
}

static enum result accept_batch(struct sending *s)
{
    struct call *call = s->call;
    int failed, tries = 0;
    for (;;) {
        send_prepare(&s->batch);
        enum result result = s->batch.predictable ? write_answer(s) : RESULT_OK;
        if (result == RESULT_OK)
            result = accept_once(s, &failed);
        else
            return result;
        if (result == RESULT_OK)
            return respond(call, s->answer);
        bool at_claim = str_is_set(s->key) && failed == 0;
        if (at_claim && is_state(&call->error, "23505")) {
            bool found;
            result = replay(s, &found);
            if (result != RESULT_OK || found || tries++ >= RETRY_MAX)
                return result != RESULT_OK || found
                           ? result
                           : error_set(&call->error, RESULT_BUSY,
                                       "The key is being forgotten: repeat the request.");
            continue;
        }
        if (at_claim && is_state(&call->error, "55P03"))
            return call_problem(call, PROBLEM_IDEMPOTENCY_RUNNING,
                                "A request with this key is still running; ask again in a moment.");
        if (!retry_again(&call->error, &tries))
            return result;
    }
}

/* ---- reading requests ---- */

static enum result open_sending(struct sending *s, struct call *call, int contents)
{
    *s = (struct sending){.call = call, .key = request_header(call->request, HEADER_IDEMPOTENCY_KEY)};
    s->contents = arena_array(call->arena, (size_t)contents, sizeof *s->contents);
    s->batch = (struct send_batch){
        .tenant = call->identity.tenant, .sandbox = call->identity.sandbox, .contents = s->contents};
    s->batch.recipients = arena_array(call->arena, LIMIT_RECIPIENTS, sizeof *s->batch.recipients);
    if (s->contents == NULL || s->batch.recipients == NULL)
        return error_set(&call->error, RESULT_FAILED, "no memory for a send");
    return RESULT_OK;
}

static void add_content(struct sending *s, const struct send_body *body)
{
    for (int i = 0; i < body->user_count; i++)
        s->batch.recipients[s->batch.recipient_count++] =
            (struct send_recipient){.user = body->users[i], .content = s->batch.content_count};
    s->contents[s->batch.content_count++] = body->content;
}

static bool may_send(const struct call *call, const struct send_body *body)
{
    return body->content.priority != SEND_URGENT || (call->identity.scopes & SCOPE_SEND_URGENT) != 0;
}

static enum result refuse_urgent(struct call *call)
{
    return error_set(&call->error, RESULT_FORBIDDEN, "The key lacks the scope send:urgent.");
}

enum result notifications_send(struct call *call)
{
    struct sending s;
    struct send_body body;
    enum result result = open_sending(&s, call, 1);
    if (result != RESULT_OK)
        return result;
    bool valid = send_body_read(call->arena, call->tree, STR(""), call->started_us, SEND_FROM_API,
                                &call->faults, &body);
    if (str_is_set(body.event_id) && str_is_set(s.key) && !str_equal(body.event_id, s.key)) {
        fault_add(&call->faults, STR("/eventId"), "must equal the Idempotency-Key when both are given");
        valid = false;
    }
    if (!str_is_set(s.key))
        s.key = body.event_id;
    hash_request(&s);
    if (!valid)
        return refuse(&s);
    if (!may_send(call, &body))
        return refuse_urgent(call);
    add_content(&s, &body);
    return accept_batch(&s);
}

/* Reads one of a bulk send; false only when all of it must be refused, with call->error set. */
static bool read_item(struct sending *s, int index, const json_t *object)
{
    struct call *call = s->call;
    struct send_body body;
    struct faults *faults = arena_alloc(call->arena, sizeof *faults);
    if (faults == NULL)
        return error_set(&call->error, RESULT_FAILED, "no memory for a send") == RESULT_OK;
    faults->arena = call->arena;
    struct str prefix = fault_pointer_item(call->arena, STR("/notifications"), (size_t)index);
    bool valid = send_body_read(call->arena, object, prefix, call->started_us, SEND_FROM_API, faults, &body);
    if (str_is_set(body.event_id)) {
        fault_add(faults, fault_pointer(call->arena, prefix, STR("eventId")),
                  "names a request of its own: name a bulk send with Idempotency-Key");
        valid = false;
    }
    if (!valid) {
        s->items[index] = (struct item){.faults = faults};
        return true;
    }
    if (!may_send(call, &body))
        return refuse_urgent(call) == RESULT_OK;
    if (s->batch.recipient_count + body.user_count > LIMIT_RECIPIENTS) {
        fault_add(&call->faults, STR("/notifications"), "must have at most %d recipients in all",
                  LIMIT_RECIPIENTS);
        return error_set(&call->error, RESULT_INVALID, "too many recipients") == RESULT_OK;
    }
    s->items[index] = (struct item){.first = s->batch.recipient_count, .count = body.user_count};
    add_content(s, &body);
    return true;
}

/* None of them is valid: their faults become the request's. */
static void gather_faults(struct sending *s)
{
    struct faults *all = &s->call->faults;
    for (int i = 0; i < s->item_count; i++) {
        const struct faults *faults = s->items[i].faults;
        for (int f = 0; faults != NULL && f < faults->count; f++)
            fault_add(all, faults->items[f].pointer, STR_FMT, STR_ARG(faults->items[f].detail));
    }
}

enum result notifications_bulk(struct call *call)
{
    struct sending s;
    const json_t *list = call->body[BULK_NOTIFICATIONS].tree;
    int count = (int)json_array_size(list);
    enum result result = open_sending(&s, call, count);
    if (result != RESULT_OK)
        return result;
    s.item_count = count;
    hash_request(&s);
    s.items = arena_array(call->arena, (size_t)count, sizeof *s.items);
    if (s.items == NULL)
        return error_set(&call->error, RESULT_FAILED, "no memory for a send");
    for (int i = 0; i < count; i++)
        if (!read_item(&s, i, json_array_get(list, (size_t)i)))
            return call->error.code;
    if (s.batch.content_count == 0) {
        gather_faults(&s);
        return refuse(&s);
    }
    return accept_batch(&s);
}
