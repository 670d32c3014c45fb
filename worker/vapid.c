/* VAPID tokens: a few origins, found by going through them. */
#include "worker/vapid.h"
#include "format/check.h"
#include "format/json.h"
#include <stdlib.h>

enum {
    ORIGINS_MAX = 32,   /* there are four big services; tenants may have some of their own */
    LIFE_S = 12 * 3600, /* at most 24 h (RFC 8292 section 2) */
    RENEW_S = 3600,     /* so long before its end a token is not used any more */
    ORIGIN_BYTES_MAX = 320,
    CLAIMS_BYTES_MAX = 4096,
    TOKEN_BYTES_MAX = 8192
};

struct vapid_entry {
    struct buf origin, token;
    int64_t expires_s;
    uint64_t used;
};
struct vapid {
    struct jws_key *key;
    struct str subject; /* the account's */
    uint64_t clock;     /* counts uses, for eviction */
    struct vapid_entry entries[ORIGINS_MAX];
};

enum result vapid_create(const struct account_webpush *config, struct vapid **out, struct error *error)
{
    struct vapid *vapid = calloc(1, sizeof *vapid);
    if (!vapid)
        return error_set(error, RESULT_FAILED, "could not open a push account: no memory");
    enum result code = jws_key_from_p256(config->private_key, &vapid->key, error);
    if (code != RESULT_OK) {
        free(vapid);
        return code;
    }
    vapid->subject = config->subject;
    for (int i = 0; i < ORIGINS_MAX; i++) {
        vapid->entries[i].origin = BUF_INIT(ORIGIN_BYTES_MAX);
        vapid->entries[i].token = BUF_INIT(TOKEN_BYTES_MAX);
    }
    *out = vapid;
    return RESULT_OK;
}

void vapid_destroy(struct vapid *vapid)
{
    if (!vapid)
        return;
    for (int i = 0; i < ORIGINS_MAX; i++) {
        buf_free(&vapid->entries[i].origin);
        buf_free(&vapid->entries[i].token);
    }
    jws_key_free(vapid->key);
    free(vapid);
}

bool vapid_origin(struct str url_text, struct buf *out)
{
    struct url url;
    if (!url_parse(url_text, &url))
        return false;
    bool usual = url.port == (str_equal_nocase(url.scheme, STR("https")) ? 443 : 80);
    buf_printf(out, url.host_is_ip6 ? STR_FMT "://[" STR_FMT "]" : STR_FMT "://" STR_FMT, STR_ARG(url.scheme),
               STR_ARG(url.host));
    if (!usual)
        buf_printf(out, ":%d", url.port);
    return buf_ok(out);
}

static enum result sign(struct vapid *vapid, struct vapid_entry *entry, int64_t now_s, struct error *error)
{
    struct buf claims = BUF_INIT(CLAIMS_BYTES_MAX);
    entry->expires_s = now_s + LIFE_S;
    json_open(&claims, '{');
    json_key(&claims, "aud");
    json_text(&claims, buf_str(&entry->origin));
    json_key(&claims, "exp");
    json_int(&claims, entry->expires_s);
    json_key(&claims, "sub");
    json_text(&claims, vapid->subject);
    json_close(&claims, '}');
    buf_clear(&entry->token);
    enum result code = jws_sign(vapid->key, NULL, buf_str(&claims), &entry->token, error);
    if (code != RESULT_OK)
        entry->expires_s = 0;
    buf_free(&claims);
    return code;
}

/* The entry of the origin, or the one that was not used for longest. */
static struct vapid_entry *find(struct vapid *vapid, struct str origin)
{
    struct vapid_entry *oldest = &vapid->entries[0];
    for (int i = 0; i < ORIGINS_MAX; i++) {
        struct vapid_entry *entry = &vapid->entries[i];
        if (entry->expires_s && str_equal(buf_str(&entry->origin), origin))
            return entry;
        if (entry->used < oldest->used)
            oldest = entry;
    }
    oldest->expires_s = 0;
    buf_clear(&oldest->origin);
    buf_add_str(&oldest->origin, origin);
    return oldest;
}

enum result vapid_token(struct vapid *vapid, struct str endpoint, int64_t now_us, struct str *token,
                        struct error *error)
{
    struct buf origin = BUF_INIT(ORIGIN_BYTES_MAX);
    int64_t now_s = now_us / 1000000;
    if (!vapid_origin(endpoint, &origin)) {
        buf_free(&origin);
        return error_set(error, RESULT_INVALID, "the push endpoint is no URL");
    }
    struct vapid_entry *entry = find(vapid, buf_str(&origin));
    buf_free(&origin);
    entry->used = ++vapid->clock;
    enum result code = RESULT_OK;
    if (entry->expires_s - RENEW_S < now_s)
        code = sign(vapid, entry, now_s, error);
    *token = buf_str(&entry->token);
    return code;
}
