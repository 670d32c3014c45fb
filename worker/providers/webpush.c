/*
 * Web Push: RFC 8030 (request), 8291 and 8188 (encryption), 8292 (VAPID).
 *
 * The payload is what www/client's service worker shows:
 * {"id","title","body","url","type","tag","actions","data"}. It stays below PAYLOAD_BYTES_MAX, for some
 * subscriptions are bridged through services that take less than 4 kB: data is left out first, then actions,
 * then the body is cut.
 *
 * The signed token of an origin is made by the dispatcher (worker/vapid.h), which keeps it for hours.
 */
#include "core/buf.h"
#include "format/json.h"
#include "format/text.h"
#include "worker/providers/all.h"
#include <string.h>

enum {
    PAYLOAD_BYTES_MAX = 2600,
    PUSH_BODY_BYTES_MAX = 4096,
    TTL_DEFAULT_S = 4 * 7 * 86400, /* also the most that the services keep */
    TOPIC_BYTES = 32,              /* RFC 8030 section 5.4 */
    TRANSFER_MS = 20000,
    CONNECT_MS = 5000
};

/* ---- payload ---- */

struct payload_parts {
    struct str body;
    bool actions, data;
};

static void write_actions(struct buf *out, struct str actions, struct arena *arena)
{
    json_t *tree;
    json_key(out, "actions");
    json_open(out, '[');
    if (json_parse(arena, actions, &tree, NULL) == RESULT_OK)
        for (size_t i = 0; i < json_array_size(tree); i++) {
            const json_t *action = json_array_get(tree, i);
            json_open(out, '{');
            json_key(out, "id");
            json_text(out, json_str(json_object_get(action, "id")));
            json_key(out, "label");
            json_text(out, json_str(json_object_get(action, "label")));
            json_close(out, '}');
        }
    json_close(out, ']');
}

static void write_payload(struct buf *out, const struct delivery *d, const struct payload_parts *parts,
                          struct arena *arena)
{
    json_open(out, '{');
    json_key(out, "id");
    json_text(out, d->notification);
    json_key(out, "title");
    json_text(out, d->title);
    json_key(out, "body");
    json_text(out, parts->body);
    json_key(out, "url");
    json_text_or_null(out, d->url);
    json_key(out, "type");
    json_text(out, d->type);
    json_key(out, "tag");
    json_text(out, d->notification);
    if (parts->actions && str_is_set(d->actions))
        write_actions(out, d->actions, arena);
    if (parts->data && str_is_set(d->data)) {
        json_key(out, "data");
        json_raw(out, d->data);
    }
    json_close(out, '}');
}

/* Leaves things out until it fits; false if even an empty body does not. */
static bool fit_payload(struct buf *out, const struct delivery *d, struct arena *arena)
{
    struct payload_parts parts = {d->body, true, true};
    for (;;) {
        buf_clear(out);
        write_payload(out, d, &parts, arena);
        if (!out->failed && out->bytes <= PAYLOAD_BYTES_MAX)
            return true;
        if (parts.data)
            parts.data = false;
        else if (parts.actions)
            parts.actions = false;
        else if (parts.body.bytes == 0)
            return false;
        else
            parts.body = str_utf8_cut(parts.body, parts.body.bytes * 3 / 4);
    }
}

/* ---- request ---- */

static const char *urgency_of(int priority)
{
    static const char *const names[] = {"high", "high", "normal", "low"};
    return names[priority & 3];
}

static long long ttl_of(const struct delivery *d)
{
    if (d->expires_us == 0)
        return TTL_DEFAULT_S;
    int64_t left_s = (d->expires_us - d->now_us) / 1000000;
    return left_s < 0 ? 0 : left_s < TTL_DEFAULT_S ? left_s : TTL_DEFAULT_S;
}

/* The same for every try of a delivery: a repeat replaces the message that the service still keeps. A UUID
 * without its hyphens has 32 characters of the alphabet. */
static void write_topic(char out[TOPIC_BYTES + 1], struct str uuid)
{
    size_t n = 0;
    for (size_t i = 0; i < uuid.bytes && n < TOPIC_BYTES; i++)
        if (uuid.data[i] != '-')
            out[n++] = uuid.data[i];
    out[n] = '\0';
}

static void add_header(struct http_request *request, const char *line)
{
    if (line && request->header_count < HTTP_HEADERS_MAX)
        request->headers[request->header_count++] = str_from(line);
}

static void add_headers(struct http_request *request, const struct delivery *d, const struct account *account,
                        struct arena *arena)
{
    char topic[TOPIC_BYTES + 1];
    write_topic(topic, d->notification);
    add_header(request, arena_printf(arena, "TTL: %lld", ttl_of(d)));
    add_header(request, "Content-Encoding: aes128gcm");
    add_header(request, "Content-Type: application/octet-stream");
    add_header(request, arena_printf(arena, "Urgency: %s", urgency_of(d->priority)));
    add_header(request, arena_printf(arena, "Topic: %s", topic));
    add_header(request, arena_printf(arena, "Authorization: vapid t=" STR_FMT ", k=" STR_FMT,
                                     STR_ARG(d->vapid_token), STR_ARG(account->config.webpush.public_key)));
}

static enum result build(const struct delivery *d, const struct account *account, struct arena *arena,
                         struct http_request *request, struct error *error)
{
    struct buf payload = BUF_INIT(PAYLOAD_BYTES_MAX + 65536), body = BUF_INIT(PUSH_BODY_BYTES_MAX);
    *request = (struct http_request){.kind = HTTP_POST,
                                     .url = d->address.url,
                                     .timeout_ms = TRANSFER_MS,
                                     .connect_timeout_ms = CONNECT_MS,
                                     .public_only = true};
    enum result code = RESULT_OK;
    if (!fit_payload(&payload, d, arena))
        code = error_set(error, RESULT_INVALID, "the title is too long for a push message");
    if (code == RESULT_OK)
        code = crypto_push_encrypt(d->address.p256dh, d->address.auth, buf_str(&payload), NULL, NULL, &body,
                                   error);
    if (code == RESULT_OK) {
        request->body = arena_str(arena, buf_str(&body));
        add_headers(request, d, account, arena);
    }
    if (code == RESULT_OK && (!str_is_set(request->body) || arena_failed(arena)))
        code = error_set(error, RESULT_FAILED, "could not build the push message: no memory");
    buf_free(&payload);
    buf_free(&body);
    return code;
}

/* ---- answers (RFC 8030 section 5, and what the services do) ---- */

static void classify(const struct http_answer *answer, struct outcome *outcome)
{
    if (outcome_from_failure(answer, true, outcome))
        return;
    int status = answer->status;
    switch (status) {
    case 200:
    case 201:
    case 202:
        outcome_set(outcome, OUTCOME_SENT, status, STR_NONE);
        outcome_set_id(outcome, http_answer_header(answer, "Location"));
        return;
    case 401:
    case 403:
        outcome_set(outcome, OUTCOME_UNAUTHORIZED, status, STR("the push service refused the VAPID key"));
        return;
    case 404:
    case 410:
        outcome_set(outcome, OUTCOME_GONE, status, STR("the subscription has ended"));
        return;
    case 406:
    case 429:
        outcome_set(outcome, OUTCOME_THROTTLED, status, STR("the push service asks to slow down"));
        break;
    case 413:
        outcome_set(outcome, OUTCOME_REJECTED, status, STR("the push service finds the message too large"));
        break;
    default:
        if (status >= 400 && status <= 499) {
            outcome_set(outcome, OUTCOME_REJECTED, status,
                        STR("the push service did not understand the request"));
            outcome->alert = true;
        } else {
            outcome_set(outcome, OUTCOME_RETRY, status, STR("the push service could not take it"));
        }
    }
    outcome->retry_after_ms = http_answer_retry_after_ms(answer);
}

const struct provider provider_webpush = {.name = "webpush",
                                          .needs_account = true,
                                          .for_people = true,
                                          .origin_chosen_by_recipient = true,
                                          .unknown_tries = 1 << 14,
                                          .build = build,
                                          .classify = classify};
