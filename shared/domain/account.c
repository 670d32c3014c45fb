/*
 * Provider accounts: reading and checking their configuration. Pure but for sealing and new keys.
 */
#include "domain/account.h"
#include "core/limits.h"
#include "format/check.h"
#include "format/json.h"
#include "format/text.h"
#include <stdio.h>
#include <string.h>

enum { CONTEXT_BYTES = 16 + LIMIT_ID_BYTES + 16, CONFIG_JSON_BYTES_MAX = 16384 };

/* ---- members ---- */

/* A configuration being read: the first fault is kept. */
struct reading {
    const json_t *tree;
    struct arena *arena;
    size_t known; /* members asked for and found */
    enum result code;
    struct error *error;
};

static void refuse(struct reading *r, const char *member, const char *rule)
{
    if (r->code == RESULT_OK)
        r->code = error_set(r->error, RESULT_INVALID, "%s must be %s", member, rule);
}

static struct str read_text(struct reading *r, const char *member, bool required, bool (*check)(struct str),
                            const char *rule)
{
    const json_t *value = json_object_get(r->tree, member);
    if (!value) {
        if (required)
            refuse(r, member, "given");
        return STR_NONE;
    }
    r->known++;
    struct str text = json_str(value);
    if (!str_is_set(text) || text.bytes == 0 || text.bytes > LIMIT_URL_BYTES || (check && !check(text)))
        refuse(r, member, rule);
    return arena_str(r->arena, text);
}

static int read_port(struct reading *r, int fallback)
{
    const json_t *value = json_object_get(r->tree, "port");
    if (!value)
        return fallback;
    r->known++;
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > 65535) {
        refuse(r, "port", "a number from 1 to 65535");
        return fallback;
    }
    return (int)json_integer_value(value);
}

static bool is_host(struct str s)
{
    if (s.bytes == 0 || s.bytes > 255)
        return false;
    for (size_t i = 0; i < s.bytes; i++) {
        char c = s.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '.' && c != '-' && c != ':' && c != '_')
            return false;
    }
    return s.data[0] != '-';
}

static bool is_domain(struct str s)
{
    return is_host(s) && memchr(s.data, ':', s.bytes) == NULL;
}

static bool is_plain(struct str s)
{
    return check_header_value(s);
}

/* ---- smtp ---- */

/* "Name <a@b>" or "a@b"; the name may be in quotation marks. */
static bool split_mailbox(struct str text, struct str *name, struct str *email)
{
    *name = STR_NONE;
    *email = text;
    if (text.bytes && text.data[text.bytes - 1] == '>') {
        struct str rest;
        struct str before = str_trim(str_cut(text, '<', &rest));
        if (!str_is_set(rest))
            return false;
        *email = (struct str){rest.data, rest.bytes - 1};
        if (before.bytes >= 2 && before.data[0] == '"' && before.data[before.bytes - 1] == '"')
            before = (struct str){before.data + 1, before.bytes - 2};
        if (before.bytes)
            *name = before;
    }
    return check_email(*email) && (!str_is_set(*name) || check_header_value(*name));
}

static enum account_tls read_tls(struct reading *r)
{
    struct str tls = read_text(r, "tls", true, NULL, "starttls, implicit or none");
    if (str_is(tls, "implicit"))
        return ACCOUNT_TLS_IMPLICIT;
    if (str_is(tls, "none"))
        return ACCOUNT_TLS_NONE;
    if (str_is_set(tls) && !str_is(tls, "starttls"))
        refuse(r, "tls", "starttls, implicit or none");
    return ACCOUNT_TLS_STARTTLS;
}

static void read_smtp(struct reading *r, struct account_config *config)
{
    struct account_smtp *smtp = &config->smtp;
    smtp->host = read_text(r, "host", true, is_host, "a host name or address");
    smtp->tls = read_tls(r);
    smtp->port = read_port(r, smtp->tls == ACCOUNT_TLS_IMPLICIT ? 465 : 587);
    smtp->user = read_text(r, "user", false, is_plain, "text without control characters");
    smtp->password = read_text(r, "password", false, is_plain, "text without control characters");
    if (str_is_set(smtp->user) != str_is_set(smtp->password))
        refuse(r, "password", "given together with user");
    struct str from = read_text(r, "from", true, NULL, "an e-mail address, or Name <address>");
    if (str_is_set(from) && !split_mailbox(from, &smtp->from_name, &smtp->from_email))
        refuse(r, "from", "an e-mail address, or Name <address>");
    smtp->domain = read_text(r, "domain", false, is_domain, "a domain name");
    if (!str_is_set(smtp->domain) && str_is_set(smtp->from_email))
        (void)str_cut(smtp->from_email, '@', &smtp->domain);
}

/* ---- webpush ---- */

static bool is_subject(struct str s)
{
    return check_printable(s) &&
           ((str_starts(s, "mailto:") && s.bytes > 9) || (str_starts(s, "https://") && s.bytes > 10));
}

static void read_webpush(struct reading *r, struct account_config *config)
{
    struct account_webpush *push = &config->webpush;
    unsigned char point[P256_POINT_BYTES];
    size_t bytes = 0;
    push->subject = read_text(r, "subject", true, is_subject, "a mailto: or https: contact");
    push->public_key = read_text(r, "publicKey", true, NULL, "a P-256 point in base64url");
    if (str_is_set(push->public_key) &&
        (!text_from_base64url(push->public_key, point, sizeof point, &bytes) ||
         !crypto_p256_is_point((struct str){(char *)point, bytes})))
        refuse(r, "publicKey", "a P-256 point in base64url");
    struct str scalar = read_text(r, "privateKey", true, NULL, "32 bytes in base64url");
    if (str_is_set(scalar) && (!text_from_base64url(scalar, push->private_key, P256_SCALAR_BYTES, &bytes) ||
                               bytes != P256_SCALAR_BYTES))
        refuse(r, "privateKey", "32 bytes in base64url");
}

static void read_nothing(struct reading *r, struct account_config *config)
{
    (void)r;
    (void)config;
}

/* ---- the providers ---- */

static const struct {
    const char *provider, *channel;
    void (*read)(struct reading *r, struct account_config *config);
} providers[] = {
    {"smtp", "email", read_smtp},
    {"webpush", "push", read_webpush},
    {"webhook", "webhook", read_nothing},
    {"null", "", read_nothing},
};
enum { PROVIDERS = sizeof providers / sizeof *providers };

struct str account_channel_of(struct str provider)
{
    for (size_t i = 0; i < PROVIDERS; i++)
        if (str_is(provider, providers[i].provider))
            return str_from(providers[i].channel);
    return STR_NONE;
}

enum result account_parse(struct str provider, struct str json, struct arena *arena,
                          struct account_config *config, struct error *error)
{
    struct reading r = {.arena = arena, .error = error};
    json_t *tree;
    *config = (struct account_config){.provider = arena_str(arena, provider),
                                      .channel = account_channel_of(provider)};
    r.code = json_parse(arena, json, &tree, error);
    if (r.code != RESULT_OK)
        return r.code;
    r.tree = tree;
    if (!json_is_object(tree))
        return error_set(error, RESULT_INVALID, "the configuration must be a JSON object");
    for (size_t i = 0; i < PROVIDERS; i++)
        if (str_is(provider, providers[i].provider)) {
            providers[i].read(&r, config);
            if (r.code == RESULT_OK && r.known != json_object_size(tree))
                r.code =
                    error_set(error, RESULT_INVALID, "the configuration has a member that %s does not know",
                              providers[i].provider);
            return r.code;
        }
    return error_set(error, RESULT_INVALID, "there is no such provider");
}

void account_public(const struct account_config *config, struct buf *out)
{
    json_open(out, '{');
    if (str_is(config->provider, "webpush")) {
        json_key(out, "publicKey");
        json_text(out, config->webpush.public_key);
    }
    json_close(out, '}');
}

static void write_key(struct buf *json, const char *name, const unsigned char *bytes, size_t count)
{
    json_key(json, name);
    buf_add_char(json, '"');
    text_base64url(json, bytes, count);
    buf_add_char(json, '"');
}

enum result account_make_webpush(struct str subject, struct buf *json, struct error *error)
{
    unsigned char scalar[P256_SCALAR_BYTES], point[P256_POINT_BYTES];
    enum result code = crypto_p256_generate(scalar, point, error);
    if (code != RESULT_OK)
        return code;
    json_open(json, '{');
    json_key(json, "subject");
    json_text(json, subject);
    write_key(json, "publicKey", point, sizeof point);
    write_key(json, "privateKey", scalar, sizeof scalar);
    json_close(json, '}');
    return buf_ok(json) ? RESULT_OK
                        : error_set(error, RESULT_FAILED, "could not write the configuration: no memory");
}

/* ---- sealing ---- */

static struct str context_of(int tenant, struct str id, char out[CONTEXT_BYTES])
{
    int n = snprintf(out, CONTEXT_BYTES, "account:%d:" STR_FMT, tenant, STR_ARG(id));
    return (struct str){out, n > 0 && n < CONTEXT_BYTES ? (size_t)n : 0};
}

enum result account_seal(const struct keyring *ring, int tenant, struct str id, struct str json,
                         struct buf *out, struct error *error)
{
    char context[CONTEXT_BYTES];
    if (json.bytes > CONFIG_JSON_BYTES_MAX)
        return error_set(error, RESULT_INVALID, "the configuration is too long");
    return keyring_seal(ring, context_of(tenant, id, context), json, out, error);
}

enum result account_open(const struct keyring *ring, int tenant, struct str id, struct str sealed,
                         struct buf *json, struct error *error)
{
    char context[CONTEXT_BYTES];
    return keyring_open(ring, context_of(tenant, id, context), sealed, json, error);
}
