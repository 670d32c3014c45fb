/* Answers: status, checked headers, a body in a buffer; problems by their table. */
#include "handlers/response.h"
#include "core/limits.h"
#include "core/log.h"
#include "format/check.h"
#include "format/json.h"
#include "format/text.h"
#include "io/crypto.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HEADERS_BYTES_MAX = 16384, KEEP_BYTES = 16384, TAG_BYTES = 16, PROBLEM_DETAIL_BYTES = 400 };

static const struct {
    const char *slug;
    int status;
    const char *title;
} problems[] = {
    [PROBLEM_MALFORMED] = {"malformed", 400, "The request cannot be read"},
    [PROBLEM_UNAUTHORIZED] = {"unauthorized", 401, "Credentials are missing or wrong"},
    [PROBLEM_FORBIDDEN] = {"forbidden", 403, "Not allowed"},
    [PROBLEM_NOT_FOUND] = {"not-found", 404, "Not found"},
    [PROBLEM_METHOD_NOT_ALLOWED] = {"method-not-allowed", 405, "Method not allowed"},
    [PROBLEM_CONFLICT] = {"conflict", 409, "Conflict"},
    [PROBLEM_TOO_LARGE] = {"too-large", 413, "Body too large"},
    [PROBLEM_UNSUPPORTED_TYPE] = {"unsupported-media-type", 415, "Unsupported media type"},
    [PROBLEM_INVALID] = {"invalid", 422, "The request is not valid"},
    [PROBLEM_TOO_MANY_REQUESTS] = {"too-many-requests", 429, "Too many requests"},
    [PROBLEM_FAILED] = {"failed", 500, "The request failed"},
    [PROBLEM_UNAVAILABLE] = {"unavailable", 503, "Unavailable"},
    [PROBLEM_IDEMPOTENCY_MISMATCH] = {"idempotency-mismatch", 422, "The key was used for another request"},
    [PROBLEM_IDEMPOTENCY_RUNNING] = {"idempotency-running", 409, "The same request is still running"},
};

void response_open(struct response *response, struct arena *arena)
{
    *response = (struct response){.arena = arena,
                                  .status = 200,
                                  .headers = BUF_INIT(HEADERS_BYTES_MAX),
                                  .body = BUF_INIT(LIMIT_RESPONSE_BYTES)};
}

void response_reuse(struct response *response)
{
    struct buf headers = response->headers, body = response->body;
    if (headers.capacity > KEEP_BYTES)
        buf_free(&headers);
    if (body.capacity > KEEP_BYTES)
        buf_free(&body);
    buf_clear(&headers);
    buf_clear(&body);
    *response = (struct response){.arena = response->arena, .status = 200, .headers = headers, .body = body};
}

void response_close(struct response *response)
{
    buf_free(&response->headers);
    buf_free(&response->body);
}

void response_header(struct response *response, const char *name, struct str value)
{
    if (!check_header_value(value)) {
        log_error("response header left out", LOG_TEXT("header", name));
        return;
    }
    buf_add_text(&response->headers, name);
    buf_add_str(&response->headers, STR(": "));
    buf_add_str(&response->headers, value);
    buf_add_str(&response->headers, STR("\r\n"));
}

void response_header_int(struct response *response, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    response_header(response, name, str_from(text));
}

struct buf *response_json(struct response *response, int status)
{
    response->status = status;
    response->content_type = "application/json";
    buf_clear(&response->body);
    return &response->body;
}

void response_text(struct response *response, int status, const char *content_type, struct str body)
{
    response->status = status;
    response->content_type = content_type;
    buf_clear(&response->body);
    buf_add_str(&response->body, body);
}

void response_empty(struct response *response, int status)
{
    response->status = status;
    response->content_type = NULL;
    buf_clear(&response->body);
}

/* ---- problems ---- */

static void write_faults(struct buf *out, const struct faults *faults)
{
    json_key(out, "errors");
    json_open(out, '[');
    for (int i = 0; i < faults->count; i++) {
        const struct fault *fault = &faults->items[i];
        json_open(out, '{');
        json_key(out, fault->is_parameter ? "parameter" : "pointer");
        json_text(out, fault->pointer);
        json_key(out, "detail");
        json_text(out, fault->detail);
        json_close(out, '}');
    }
    json_close(out, ']');
}

void response_problem(struct response *response, enum problem problem, const struct faults *faults,
                      const char *format, ...)
{
    char detail[PROBLEM_DETAIL_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    struct buf *out = response_json(response, problems[problem].status);
    response->content_type = "application/problem+json";
    json_open(out, '{');
    json_key(out, "type");
    char type[64];
    snprintf(type, sizeof type, "/problems/%s", problems[problem].slug);
    json_text(out, str_from(type));
    json_key(out, "title");
    json_text(out, str_from(problems[problem].title));
    json_key(out, "status");
    json_int(out, problems[problem].status);
    json_key(out, "detail");
    json_text(out, str_utf8_cut(str_from(detail), sizeof detail));
    if (faults != NULL && faults->count > 0)
        write_faults(out, faults);
    json_close(out, '}');
}

/* ---- conditional requests (RFC 9110 section 13.1.2: weak comparison) ---- */

static bool holds_tag(struct str if_none_match, struct str tag)
{
    struct str rest = if_none_match;
    while (str_is_set(rest)) {
        struct str one = str_trim(str_cut(rest, ',', &rest));
        if (str_is(one, "*"))
            return true;
        if (str_starts(one, "W/"))
            one = (struct str){one.data + 2, one.bytes - 2};
        if (one.bytes == tag.bytes + 2 && one.data[0] == '"' &&
            memcmp(one.data + 1, tag.data, tag.bytes) == 0)
            return true;
    }
    return false;
}

bool response_etag(struct response *response, const struct request *request, struct str tag)
{
    char quoted[128];
    snprintf(quoted, sizeof quoted, "\"" STR_FMT "\"", STR_ARG(tag));
    response_header(response, "ETag", str_from(quoted));
    response->has_etag = true;
    if (!holds_tag(request_header(request, HEADER_IF_NONE_MATCH), tag))
        return false;
    response_empty(response, 304);
    return true;
}

void response_etag_of_body(struct response *response, const struct request *request)
{
    unsigned char digest[SHA256_BYTES];
    crypto_sha256(buf_str(&response->body), digest);
    struct buf tag = BUF_INIT(2 * TAG_BYTES);
    text_hex(&tag, digest, TAG_BYTES);
    response_etag(response, request, buf_str(&tag));
    buf_free(&tag);
}

void response_head(struct buf *out, int status, const char *content_type, bool may_revalidate,
                   struct str headers, long content_bytes)
{
    buf_add_str(out, STR("Status: "));
    buf_add_int(out, status);
    if (content_type != NULL) {
        buf_add_str(out, STR("\r\nContent-Type: "));
        buf_add_text(out, content_type);
    }
    buf_add_str(out, STR("\r\n"));
    buf_add_str(out, may_revalidate ? STR("Cache-Control: private, no-cache\r\n")
                                    : STR("Cache-Control: no-store\r\n"));
    buf_add_str(out, STR("X-Content-Type-Options: nosniff\r\n"));
    buf_add_str(out, headers);
    if (content_bytes >= 0) {
        buf_add_str(out, STR("Content-Length: "));
        buf_add_int(out, content_bytes);
        buf_add_str(out, STR("\r\n"));
    }
    buf_add_str(out, STR("\r\n"));
}

bool response_write_head(const struct response *response, struct buf *out)
{
    if (!buf_ok(&response->body) || !buf_ok(&response->headers))
        return false;
    bool has_length = response->status != 204 && response->status != 304;
    response_head(out, response->status, response->content_type, response->has_etag,
                  buf_str(&response->headers), has_length ? (long)response->body.bytes : -1);
    return buf_ok(out);
}
