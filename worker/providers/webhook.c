/*
 * Signed webhooks: the Standard Webhooks specification 1.0.0.
 *
 * POST of {"type":"notification","timestamp":…,"data":{…}} with webhook-id (the same on every try: the
 * receiver's idempotency key), webhook-timestamp (new on every try) and webhook-signature: HMAC-SHA-256 over
 * "id.timestamp.body", one for each secret of the receiver, so that secrets can be changed without a gap.
 */
#include "core/buf.h"
#include "domain/send.h"
#include "format/json.h"
#include "format/text.h"
#include "worker/providers/all.h"

enum {
    BODY_BYTES_MAX = 65536,
    HEAD_BYTES_MAX = 128,
    SIGNATURES_BYTES_MAX = 512,
    TRANSFER_MS = 20000,
    CONNECT_MS = 5000
};

static void member_text(struct buf *out, const char *name, struct str value)
{
    json_key(out, name);
    json_text_or_null(out, value);
}

static void member_raw(struct buf *out, const char *name, struct str json)
{
    json_key(out, name);
    json_raw(out, str_is_set(json) ? json : STR("null"));
}

static void member_time(struct buf *out, const char *name, int64_t us)
{
    char text[TIME_TEXT_BYTES + 1];
    member_text(out, name, str_from(time_text(us, text)));
}

static void write_body(struct buf *out, const struct delivery *d)
{
    json_open(out, '{');
    member_text(out, "type", STR("notification"));
    member_time(out, "timestamp", d->now_us);
    json_key(out, "data");
    json_open(out, '{');
    member_text(out, "id", d->notification);
    member_text(out, "user", d->user);
    member_text(out, "type", d->type);
    member_text(out, "title", d->title);
    member_text(out, "body", d->body);
    member_raw(out, "data", d->data);
    member_raw(out, "sender", d->sender);
    member_text(out, "category", d->category);
    member_text(out, "priority", str_from(send_priority_name((enum send_priority)d->priority)));
    member_raw(out, "actions", d->actions);
    member_text(out, "url", d->url);
    member_time(out, "createdAt", d->created_us);
    json_close(out, '}');
    json_close(out, '}');
}

/* " v1,BASE64" of each secret, after content = "id.timestamp.body". */
static bool write_signatures(struct buf *out, const struct address *address, struct str content)
{
    for (int i = 0; i < address->secret_count; i++) {
        unsigned char key[ADDRESS_SECRET_BYTES_MOST], mac[SHA256_BYTES];
        size_t bytes;
        if (!address_secret_key(address->secrets[i], key, &bytes))
            return false;
        crypto_hmac_sha256((struct str){(const char *)key, bytes}, content, mac);
        buf_add_text(out, " v1,");
        text_base64(out, mac, sizeof mac);
    }
    return buf_ok(out);
}

static void add_header(struct http_request *request, struct str line)
{
    if (str_is_set(line) && request->header_count < HTTP_HEADERS_MAX)
        request->headers[request->header_count++] = line;
}

/* content is "id.timestamp." and the body; id and timestamp are also headers. */
static enum result sign(const struct delivery *d, struct str id, int64_t seconds, struct str content,
                        struct arena *arena, struct http_request *request, struct error *error)
{
    struct buf signatures = BUF_INIT(SIGNATURES_BYTES_MAX);
    buf_add_text(&signatures, "webhook-signature:");
    enum result code = RESULT_OK;
    if (!write_signatures(&signatures, &d->address, content))
        code = error_set(error, RESULT_INVALID, "the webhook's secret is damaged");
    add_header(request, STR("Content-Type: application/json"));
    add_header(request, str_from(arena_printf(arena, "webhook-id: " STR_FMT, STR_ARG(id))));
    add_header(request, str_from(arena_printf(arena, "webhook-timestamp: %lld", (long long)seconds)));
    if (d->address.secret_count)
        add_header(request, arena_str(arena, buf_str(&signatures)));
    buf_free(&signatures);
    return code;
}

static enum result build(const struct delivery *d, const struct account *account, struct arena *arena,
                         struct http_request *request, struct error *error)
{
    (void)account;
    *request = (struct http_request){.kind = HTTP_POST,
                                     .url = d->address.url,
                                     .timeout_ms = TRANSFER_MS,
                                     .connect_timeout_ms = CONNECT_MS,
                                     .public_only = true};
    struct buf body = BUF_INIT(BODY_BYTES_MAX), content = BUF_INIT(BODY_BYTES_MAX + HEAD_BYTES_MAX);
    int64_t seconds = d->now_us / 1000000;
    write_body(&body, d);
    buf_printf(&content, "msg_" STR_FMT "_%d", STR_ARG(d->notification), d->n);
    size_t id_bytes = content.bytes;
    buf_printf(&content, ".%lld.", (long long)seconds);
    size_t head_bytes = content.bytes;
    buf_add_str(&content, buf_str(&body));
    struct str text = buf_ok(&body) && buf_ok(&content) ? arena_str(arena, buf_str(&content)) : STR_NONE;
    bool too_long =
        !buf_ok(&body) && body.bytes_max - body.bytes < 1024; /* the rest is headroom for one member */
    buf_free(&body);
    buf_free(&content);
    if (!str_is_set(text))
        return too_long ? error_set(error, RESULT_INVALID, "the webhook's body is too long")
                        : error_set(error, RESULT_FAILED, "could not build the webhook: no memory");
    request->body = (struct str){text.data + head_bytes, text.bytes - head_bytes};
    return sign(d, (struct str){text.data, id_bytes}, seconds, text, arena, request, error);
}

/* 2xx sent; 410 the receiver is gone; 429, 502, 503, 504 wait as told; 3xx is not followed; all else may
 * change. */
static void classify(const struct http_answer *answer, struct outcome *outcome)
{
    if (outcome_from_failure(answer, true, outcome))
        return;
    int status = answer->status;
    if (status >= 200 && status <= 299)
        outcome_set(outcome, OUTCOME_SENT, status, STR_NONE);
    else if (status == 410)
        outcome_set(outcome, OUTCOME_GONE, status, STR("the receiver says that it is gone"));
    else if (status == 429)
        outcome_set(outcome, OUTCOME_THROTTLED, status, STR("the receiver asks to slow down"));
    else if (status >= 300 && status <= 399)
        outcome_set(outcome, OUTCOME_RETRY, status, STR("redirects are not followed"));
    else
        outcome_set(outcome, OUTCOME_RETRY, status, STR("the receiver did not accept it"));
    outcome->retry_after_ms = http_answer_retry_after_ms(answer);
}

const struct provider provider_webhook = {
    .name = "webhook", .unknown_tries = 1 << 14, .build = build, .classify = classify};
