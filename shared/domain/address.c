/*
 * Addresses of users: their JSON, sealing, checking and masking. Pure but for the keyring's randomness.
 */
#include "domain/address.h"
#include "core/limits.h"
#include "core/log.h"
#include "format/check.h"
#include "format/json.h"
#include "format/text.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { CONTEXT_BYTES = 16 + LIMIT_ID_BYTES + 16, PUSH_AUTH_BYTES_MAX = 64 };
#define SECRET_PREFIX "whsec_"

int address_kind_of(struct str channel, struct str provider)
{
    if (str_is(channel, "email"))
        return ADDRESS_EMAIL;
    if (str_is(channel, "webhook"))
        return ADDRESS_WEBHOOK;
    if (str_is(channel, "sms"))
        return ADDRESS_PHONE;
    if (str_is(channel, "push") && str_is(provider, "webpush"))
        return ADDRESS_WEBPUSH;
    return -1;
}

/* ---- checking ---- */

static bool is_loopback(struct str host)
{
    return str_is(host, "localhost") || str_starts(host, "127.") || str_is(host, "::1");
}

static enum result check_webhook(const struct address *address, struct error *error)
{
    struct url url;
    if (!url_parse(address->url, &url))
        return error_set(error, RESULT_INVALID, "the URL must be an absolute http or https URL");
    for (int i = 0; i < address->secret_count; i++) {
        unsigned char key[ADDRESS_SECRET_BYTES_MOST];
        size_t bytes;
        if (!address_secret_key(address->secrets[i], key, &bytes))
            return error_set(error, RESULT_INVALID, "the secret must be whsec_ and base64 of 24 to 64 bytes");
    }
    return RESULT_OK;
}

static enum result check_webpush(const struct address *address, struct error *error)
{
    struct url url;
    if (!url_parse(address->url, &url) || (!str_is(url.scheme, "https") && !is_loopback(url.host)))
        return error_set(error, RESULT_INVALID, "the endpoint must be an https URL");
    if (!crypto_p256_is_point(address->p256dh))
        return error_set(error, RESULT_INVALID, "p256dh must be an uncompressed point on P-256");
    if (address->auth.bytes < PUSH_AUTH_BYTES || address->auth.bytes > PUSH_AUTH_BYTES_MAX)
        return error_set(error, RESULT_INVALID, "auth must be 16 bytes");
    return RESULT_OK;
}

enum result address_check(const struct address *address, struct error *error)
{
    switch (address->kind) {
    case ADDRESS_EMAIL:
        if (!check_email(address->email))
            return error_set(error, RESULT_INVALID, "the e-mail address is not well formed");
        return RESULT_OK;
    case ADDRESS_WEBHOOK:
        return check_webhook(address, error);
    case ADDRESS_WEBPUSH:
        return check_webpush(address, error);
    case ADDRESS_PHONE:
        if (!check_phone(address->phone))
            return error_set(error, RESULT_INVALID, "the phone number is not well formed");
        return RESULT_OK;
    }
    return error_set(error, RESULT_INVALID, "there is no such kind of address");
}

/* ---- JSON ---- */

static void write_base64url(struct buf *out, const char *name, struct str bytes)
{
    json_key(out, name);
    buf_add_char(out, '"');
    text_base64url(out, bytes.data, bytes.bytes);
    buf_add_char(out, '"');
}

static void write_json(struct buf *out, const struct address *address)
{
    json_open(out, '{');
    if (address->kind == ADDRESS_EMAIL) {
        json_key(out, "email");
        json_text(out, address->email);
        if (str_is_set(address->name)) {
            json_key(out, "name");
            json_text(out, address->name);
        }
    } else if (address->kind == ADDRESS_PHONE) {
        json_key(out, "phone");
        json_text(out, address->phone);
    } else if (address->kind == ADDRESS_WEBHOOK) {
        json_key(out, "url");
        json_text(out, address->url);
        json_key(out, "secrets");
        json_open(out, '[');
        for (int i = 0; i < address->secret_count; i++)
            json_text(out, address->secrets[i]);
        json_close(out, ']');
    } else {
        json_key(out, "endpoint");
        json_text(out, address->url);
        write_base64url(out, "p256dh", address->p256dh);
        write_base64url(out, "auth", address->auth);
    }
    json_close(out, '}');
}

static bool read_bytes(const json_t *value, struct arena *arena, struct str *out)
{
    struct str text = json_str(value);
    unsigned char *bytes = arena_alloc(arena, P256_POINT_BYTES + 1);
    if (!bytes || !text_from_base64url(text, bytes, P256_POINT_BYTES, &out->bytes))
        return false;
    out->data = (const char *)bytes;
    return true;
}

static bool read_webhook(const json_t *tree, struct address *address)
{
    address->url = json_str(json_object_get(tree, "url"));
    const json_t *secrets = json_object_get(tree, "secrets");
    for (size_t i = 0; i < json_array_size(secrets) && i < ADDRESS_SECRETS_MAX; i++)
        address->secrets[address->secret_count++] = json_str(json_array_get(secrets, i));
    return address->url.bytes > 0;
}

static bool read_json(const json_t *tree, struct arena *arena, struct address *address)
{
    switch (address->kind) {
    case ADDRESS_EMAIL:
        address->email = json_str(json_object_get(tree, "email"));
        address->name = json_str(json_object_get(tree, "name"));
        return address->email.bytes > 0;
    case ADDRESS_WEBHOOK:
        return read_webhook(tree, address);
    case ADDRESS_WEBPUSH:
        address->url = json_str(json_object_get(tree, "endpoint"));
        return address->url.bytes > 0 &&
               read_bytes(json_object_get(tree, "p256dh"), arena, &address->p256dh) &&
               read_bytes(json_object_get(tree, "auth"), arena, &address->auth);
    case ADDRESS_PHONE:
        address->phone = json_str(json_object_get(tree, "phone"));
        return address->phone.bytes > 0;
    }
    return false;
}

/* ---- sealing ---- */

static struct str context_of(int tenant, struct str user, char out[CONTEXT_BYTES])
{
    int n = snprintf(out, CONTEXT_BYTES, "device:%d:" STR_FMT, tenant, STR_ARG(user));
    return (struct str){out, n > 0 && n < CONTEXT_BYTES ? (size_t)n : 0};
}

enum result address_seal(const struct keyring *ring, int tenant, struct str user,
                         const struct address *address, struct buf *out, struct error *error)
{
    char context[CONTEXT_BYTES];
    struct buf json = BUF_INIT(ADDRESS_JSON_BYTES_MAX);
    write_json(&json, address);
    enum result code = buf_ok(&json)
                           ? keyring_seal(ring, context_of(tenant, user, context), buf_str(&json), out, error)
                           : error_set(error, RESULT_INVALID, "the address is too long");
    buf_free(&json);
    return code;
}

enum result address_open(const struct keyring *ring, int tenant, struct str user, enum address_kind kind,
                         struct str sealed, struct arena *arena, struct address *address, struct error *error)
{
    char context[CONTEXT_BYTES];
    struct buf json = BUF_INIT(ADDRESS_JSON_BYTES_MAX);
    json_t *tree = NULL;
    *address = (struct address){.kind = kind};
    enum result code = keyring_open(ring, context_of(tenant, user, context), sealed, &json, error);
    if (code == RESULT_OK)
        code = json_parse(arena, buf_str(&json), &tree, error);
    if (code == RESULT_OK && !read_json(tree, arena, address))
        code = error_set(error, RESULT_INVALID, "the stored address is damaged");
    buf_free(&json);
    return code;
}

/* ---- finding and showing ---- */

static struct str lower_domain(struct str email, char out[LIMIT_EMAIL_BYTES + 1])
{
    if (email.bytes > LIMIT_EMAIL_BYTES)
        return email;
    memcpy(out, email.data, email.bytes);
    bool domain = false;
    for (size_t i = 0; i < email.bytes; i++) {
        domain = domain || out[i] == '@';
        if (domain)
            out[i] = (char)tolower((unsigned char)out[i]);
    }
    return (struct str){out, email.bytes};
}

/* What names it: equal for equal addresses. */
static struct str name_of(const struct address *address)
{
    switch (address->kind) {
    case ADDRESS_EMAIL:
        return address->email;
    case ADDRESS_PHONE:
        return address->phone;
    case ADDRESS_WEBHOOK:
    case ADDRESS_WEBPUSH:
        break;
    }
    return address->url;
}

void address_index(const struct keyring *ring, int tenant, const struct address *address,
                   unsigned char out[16])
{
    static const char *const kinds[] = {"email", "webhook", "webpush", "phone"};
    char lowered[LIMIT_EMAIL_BYTES + 1];
    struct str value = name_of(address);
    if (address->kind == ADDRESS_EMAIL)
        value = lower_domain(value, lowered);
    keyring_blind_index(ring, tenant, str_from(kinds[address->kind]), value, out);
}

char *address_hint(const struct address *address, char out[ADDRESS_HINT_BYTES])
{
    return log_masked(name_of(address), out, ADDRESS_HINT_BYTES);
}

/* ---- webhook secrets ---- */

enum result address_secret_make(struct arena *arena, struct str *secret, struct error *error)
{
    unsigned char key[32];
    struct buf text = BUF_INIT(128);
    enum result code = crypto_random(key, sizeof key, error);
    if (code == RESULT_OK) {
        buf_add_text(&text, SECRET_PREFIX);
        text_base64(&text, key, sizeof key);
        *secret = arena_str(arena, buf_str(&text));
        if (!str_is_set(*secret))
            code = error_set(error, RESULT_FAILED, "could not make a secret: no memory");
    }
    buf_free(&text);
    return code;
}

bool address_secret_key(struct str secret, unsigned char *key, size_t *bytes)
{
    if (!str_starts(secret, SECRET_PREFIX))
        return false;
    secret.data += sizeof SECRET_PREFIX - 1;
    secret.bytes -= sizeof SECRET_PREFIX - 1;
    return text_from_base64(secret, key, ADDRESS_SECRET_BYTES_MOST, bytes) &&
           *bytes >= ADDRESS_SECRET_BYTES_LEAST;
}
