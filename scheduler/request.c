/*
 * The duty `request`: sends made through SQL (belfry.send(), belfryctl, alerts of the worker) are expanded
 * into notifications, each request in one transaction that also deletes its row: it happens whole and once.
 *
 * The body is read by the same rules as POST /notifications, against the moment it was written. One that does
 * not pass is kept with what is wrong with it. An eventId that was used before, here or over HTTP, makes the
 * request a repetition: nothing is sent.
 *
 * A request whose users' feeds are locked for longer than a moment is passed over and tried again in the next
 * round, so it holds up no other.
 */
#include "core/clock.h"
#include "core/log.h"
#include "domain/feed.h"
#include "domain/queue.h"
#include "domain/send.h"
#include "domain/send_body.h"
#include "format/json.h"
#include "io/crypto.h"
#include "queries.h"
#include "scheduler/duties.h"
#include <stdio.h>
#include <string.h>

enum { REQUEST_ROWS = 16, FAILURE_BYTES = 1000, REQUEST_ARENA_BYTES_MAX = 64 << 20 };

struct request_round {
    char at[64];
    char id[UUID_TEXT_BYTES + 1];
    bool started, passed;
};

enum { COLUMN_TENANT, COLUMN_ID, COLUMN_BODY, COLUMN_MADE_US, COLUMN_MADE };

struct request {
    int tenant;
    struct uuid id;
    struct str body_text;
    int64_t made_us;
    struct send_body body;
    struct send_batch batch;
};

static void start_round(struct request_round *round)
{
    snprintf(round->at, sizeof round->at, "-infinity");
    snprintf(round->id, sizeof round->id, "00000000-0000-0000-0000-000000000000");
    round->started = true;
    round->passed = false;
}

static enum result find(struct scheduler *s, const struct request_round *round, struct db_result **rows,
                        struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    db_arg_cstr(&args, round->at);
    db_arg_cstr(&args, round->id);
    db_arg_int(&args, REQUEST_ROWS);
    return db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_request_find, &args, s->arena, rows,
                  error);
}

/* ---- one request ---- */

/* The first faults as one text for people. */
static void write_faults(const struct faults *faults, char *out, size_t bytes)
{
    size_t used = 0;
    for (int i = 0; i < faults->count && used < bytes; i++) {
        const struct fault *f = &faults->items[i];
        int wrote = snprintf(out + used, bytes - used, "%s" STR_FMT " " STR_FMT, i ? "; " : "",
                             STR_ARG(f->pointer), STR_ARG(f->detail));
        used += wrote > 0 ? (size_t)wrote : 0;
    }
    out[str_utf8_cut(str_from(out), bytes - 1).bytes] = '\0';
}

/* false: failure says what is wrong. */
static bool read_body(struct arena *arena, struct request *r, char failure[FAILURE_BYTES])
{
    struct faults *faults = arena_alloc(arena, sizeof *faults);
    struct error error;
    json_t *tree;
    if (!faults || json_parse(arena, r->body_text, &tree, &error) != RESULT_OK) {
        snprintf(failure, FAILURE_BYTES, "%s",
                 faults ? error.text : "needs more memory than a request may use");
        return false;
    }
    *faults = FAULTS_INIT(arena);
    if (!send_body_read(arena, tree, STR(""), r->made_us, SEND_FROM_SQL, faults, &r->body)) {
        write_faults(faults, failure, FAILURE_BYTES);
        return false;
    }
    if (r->body.content.expires_us && r->body.content.expires_us <= clock_now_us()) {
        snprintf(failure, FAILURE_BYTES, "/expiresAt was over before the request could be expanded");
        return false;
    }
    return true;
}

static enum result make_batch(struct arena *arena, struct request *r, struct error *error)
{
    struct send_recipient *recipients = arena_array(arena, (size_t)r->body.user_count, sizeof *recipients);
    if (!recipients)
        return error_set(error, RESULT_FAILED, "could not expand a request: no memory");
    if (r->body.content.scheduled_us <= clock_now_us())
        r->body.content.scheduled_us = 0;
    for (int i = 0; i < r->body.user_count; i++)
        recipients[i] = (struct send_recipient){.user = r->body.users[i]};
    r->batch = (struct send_batch){.tenant = r->tenant,
                                   .contents = &r->body.content,
                                   .content_count = 1,
                                   .recipients = recipients,
                                   .recipient_count = r->body.user_count};
    send_prepare(&r->batch);
    r->batch.request_id = r->id; /* what belfry.send() returned */
    return RESULT_OK;
}

/* Takes the request, and its event id if it has one. *ours: go on and send. */
static enum result take(struct scheduler *s, struct arena *arena, const struct request *r, bool *ours,
                        struct error *error)
{
    struct db_args id = DB_ARGS(arena), name = DB_ARGS(arena);
    struct db_result *const *results;
    char id_text[UUID_TEXT_BYTES + 1];
    bool named = str_is_set(r->body.event_id);
    db_arg_uuid(&id, &r->id);
    enum result code = db_queue(s->db, &query_scheduler_brief, NULL, error);
    if (code == RESULT_OK)
        code = db_queue(s->db, &query_scheduler_request_take, &id, error);
    if (code == RESULT_OK && named) {
        unsigned char hash[SHA256_BYTES];
        crypto_sha256(r->body_text, hash);
        db_arg_text(&name, r->body.event_id);
        db_arg_bytes(&name, hash, sizeof hash);
        db_arg_cstr(&name, arena_printf(arena, "{\"id\":\"%s\"}", uuid_text(&r->id, id_text)));
        code = db_queue(s->db, &query_scheduler_request_name, &name, error);
    }
    if (code == RESULT_OK)
        code = db_step(s->db, arena, &results, NULL, NULL, error);
    if (code == RESULT_OK)
        *ours = db_rows(results[1]) == 1 && (!named || db_rows(results[2]) == 1);
    return code;
}

static void announce(struct scheduler *s, struct arena *arena, struct request *r,
                     struct db_result *const *results)
{
    struct feed_change *changes;
    struct error ignored;
    int count;
    metrics_count(s->metrics, METRIC_SENDS, "result=\"accepted\"", r->batch.recipient_count);
    if (send_collect(arena, &r->batch, results, &changes, &count, &ignored) != RESULT_OK)
        return; /* committed all the same: readers learn by sweep */
    feed_announce(s->redis, changes, count);
    if (!r->batch.has_arrivals)
        return;
    const struct db_result *channels = results[r->batch.first_result + 2];
    for (int row = 0; row < db_rows(channels); row++) {
        struct str channel = db_text(channels, row, 0);
        queue_wake(s->redis, r->tenant, &channel, 1);
    }
}

static enum result expand(struct scheduler *s, struct arena *arena, struct request *r, struct error *error)
{
    struct db_result *const *results;
    bool ours = false;
    enum result code = db_begin(s->db, r->tenant, STR("*"), error);
    if (code == RESULT_OK)
        code = take(s, arena, r, &ours, error);
    if (code == RESULT_OK && ours)
        code = make_batch(arena, r, error);
    if (code == RESULT_OK && ours)
        code = send_queue(s->db, arena, &r->batch, 0, error);
    if (code == RESULT_OK)
        code = db_finish(s->db, arena, &results, NULL, NULL, error);
    if (code == RESULT_OK && ours)
        announce(s, arena, r, results);
    db_abandon(s->db);
    return code;
}

static enum result fail(struct scheduler *s, const struct request *r, const char *failure,
                        struct error *error)
{
    struct db_args args = DB_ARGS(s->arena);
    char id[UUID_TEXT_BYTES + 1];
    db_arg_int(&args, r->tenant);
    db_arg_uuid(&args, &r->id);
    db_arg_cstr(&args, failure);
    log_warning("send request refused", LOG_INT("tenant", r->tenant),
                LOG_TEXT("request", uuid_text(&r->id, id)), LOG_TEXT("reason", failure));
    return db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_request_fail, &args, s->arena, NULL,
                  error);
}

/* Busy and offline may work later; anything else never will, and must not come up again and again. */
static enum result do_request(struct scheduler *s, struct request *r, bool *passed, struct error *error)
{
    char failure[FAILURE_BYTES];
    struct arena *arena = arena_create(REQUEST_ARENA_BYTES_MAX);
    if (!arena)
        return error_set(error, RESULT_FAILED, "could not expand a request: no memory");
    enum result code = RESULT_INVALID;
    if (read_body(arena, r, failure)) {
        code = expand(s, arena, r, error);
        if (code == RESULT_BUSY) {
            *passed = true;
            code = RESULT_OK;
        } else if (code != RESULT_OK && code != RESULT_OFFLINE) {
            snprintf(failure, sizeof failure, "%s", error->text);
            code = RESULT_INVALID;
        }
    }
    if (code == RESULT_INVALID)
        code = fail(s, r, failure, error);
    arena_destroy(arena);
    return code;
}

enum result duty_request(struct scheduler *s, bool *more, struct error *error)
{
    static struct request_round round;
    struct db_result *rows;
    int64_t began_ms = clock_mono_ms();
    if (!round.started)
        start_round(&round);
    enum result code = find(s, &round, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (db_rows(rows) == 0) {
        bool passed = round.passed;
        start_round(&round);
        return passed ? error_set(error, RESULT_BUSY, "some inboxes are locked by others") : RESULT_OK;
    }
    for (int row = 0; row < db_rows(rows) && code == RESULT_OK; row++) {
        struct request r = {.tenant = (int)db_int(rows, row, COLUMN_TENANT),
                            .id = db_uuid(rows, row, COLUMN_ID),
                            .body_text = db_text(rows, row, COLUMN_BODY),
                            .made_us = db_int(rows, row, COLUMN_MADE_US)};
        if (clock_mono_ms() - began_ms > DUTY_SLICE_MS)
            break;
        code = do_request(s, &r, &round.passed, error);
        snprintf(round.at, sizeof round.at, "%s", db_text(rows, row, COLUMN_MADE).data);
        snprintf(round.id, sizeof round.id, "%s", db_text(rows, row, COLUMN_ID).data);
    }
    *more = code == RESULT_OK;
    return code;
}
