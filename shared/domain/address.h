#ifndef BELFRY_DOMAIN_ADDRESS_H
#define BELFRY_DOMAIN_ADDRESS_H
/*
 * One address of a user: a mailbox, a webhook, a push subscription. It is stored sealed
 * (device.address_sealed, bound to tenant and user), found by a blind index, and shown masked.
 *
 * The sealed value is JSON:
 *   email    {"email":"a@b","name":"…"}           the name may be absent
 *   webhook  {"url":"https://…","secrets":["whsec_…"]}
 *   webpush  {"endpoint":"https://…","p256dh":"…","auth":"…"}   base64url
 *   phone    {"phone":"+82…"}   E.164; channel sms
 *
 * To add a kind: an enum value, its row in address.c, and its provider in worker/providers.
 */
#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "core/str.h"
#include "io/crypto.h"

enum address_kind { ADDRESS_EMAIL, ADDRESS_WEBHOOK, ADDRESS_WEBPUSH, ADDRESS_PHONE };
enum { ADDRESS_SECRETS_MAX = 4, ADDRESS_JSON_BYTES_MAX = 8192, ADDRESS_HINT_BYTES = 128 };
enum { ADDRESS_SECRET_BYTES_LEAST = 24, ADDRESS_SECRET_BYTES_MOST = 64 }; /* Standard Webhooks 1.0.0 */

struct address {
    enum address_kind kind;
    struct str email, name; /* name: STR_NONE if unknown */
    struct str phone;       /* E.164 */
    struct str url;         /* of the webhook, or the push endpoint */
    int secret_count;
    struct str secrets[ADDRESS_SECRETS_MAX]; /* "whsec_…" as shown to its owner, newest first */
    struct str p256dh, auth;                 /* raw bytes: 65 and 16 or more */
};

/* The kind that devices of a channel and provider have ("email", "webhook", "sms", "push" with "webpush"); -1
 * if none. */
int address_kind_of(struct str channel, struct str provider);
/* Is it well formed: e-mail syntax, http(s) URL (push: https or a loopback host), point on the curve, secrets
 * of 24 to 64 bytes. Pure. RESULT_INVALID says what is wrong, without the address. */
enum result address_check(const struct address *address, struct error *error) MUST_CHECK;
/* Appends the sealed JSON to out. */
enum result address_seal(const struct keyring *ring, int tenant, struct str user,
                         const struct address *address, struct buf *out, struct error *error) MUST_CHECK;
/* Opens and parses it; the views live in the arena. RESULT_INVALID: not ours, damaged, or of another user. */
enum result address_open(const struct keyring *ring, int tenant, struct str user, enum address_kind kind,
                         struct str sealed, struct arena *arena, struct address *address,
                         struct error *error) MUST_CHECK;
/* Blind index within a tenant (device.address_index): equal addresses are equal, a mail domain's case does
 * not count. */
void address_index(const struct keyring *ring, int tenant, const struct address *address,
                   unsigned char out[16]);
/* What may be shown (device.hint): "j…@example.com", "https://hooks.example.com". Returns out. */
char *address_hint(const struct address *address, char out[ADDRESS_HINT_BYTES]);

/* A new signing secret, "whsec_" and base64 of 32 random bytes, in the arena. */
enum result address_secret_make(struct arena *arena, struct str *secret, struct error *error) MUST_CHECK;
/* The key inside "whsec_…"; false for anything malformed. key has room for ADDRESS_SECRET_BYTES_MOST. */
bool address_secret_key(struct str secret, unsigned char *key, size_t *bytes) MUST_CHECK;

#endif
