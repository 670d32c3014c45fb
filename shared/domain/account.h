#ifndef BELFRY_DOMAIN_ACCOUNT_H
#define BELFRY_DOMAIN_ACCOUNT_H
/*
 * A tenant's account at a provider: what belfryctl stores and the worker sends with. The configuration is
 * JSON, checked when it is entered, sealed in account.config_sealed; what browsers may know is
 * account.public_config.
 *
 *   smtp     {"host","port","tls":"starttls|implicit|none","user"?,"password"?,"from":"Name <a@b>" or
 * "a@b","domain"?} webpush  {"subject":"mailto:…" or "https://…","publicKey","privateKey"}   RFC 8292;
 * base64url point and scalar webhook  {}     null {}
 *
 * To add a provider: a row in account.c, its configuration here, its file in worker/providers.
 */
#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "core/str.h"
#include "io/crypto.h"

enum account_tls { ACCOUNT_TLS_STARTTLS, ACCOUNT_TLS_IMPLICIT, ACCOUNT_TLS_NONE };

struct account_smtp {
    struct str host;
    int port;
    enum account_tls tls;             /* never falls back to clear text */
    struct str user, password;        /* STR_NONE: no authentication */
    struct str from_name, from_email; /* name may be STR_NONE */
    struct str domain;                /* of Message-ID; the one of from_email unless given */
};
struct account_webpush {
    struct str subject, public_key; /* base64url, as browsers get it */
    unsigned char private_key[P256_SCALAR_BYTES];
};
struct account_config {
    struct str provider, channel; /* channel: the one that this provider serves */
    struct account_smtp smtp;
    struct account_webpush webpush;
};

/* "smtp" → "email", "webpush" → "push", "webhook" → "webhook"; STR_NONE for a provider that does not exist.
 * null takes any channel: it accepts everything and sends nothing. */
struct str account_channel_of(struct str provider);
/* Parses and checks a configuration; unknown members are refused. The views live in the arena. RESULT_INVALID
 * says which member is wrong, and never its value. */
enum result account_parse(struct str provider, struct str json, struct arena *arena,
                          struct account_config *config, struct error *error) MUST_CHECK;
/* What may be shown of it, as JSON: {"publicKey":"…"} for webpush, {} otherwise. */
void account_public(const struct account_config *config, struct buf *out);
/* A webpush configuration with a new key pair. */
enum result account_make_webpush(struct str subject, struct buf *json, struct error *error) MUST_CHECK;

enum result account_seal(const struct keyring *ring, int tenant, struct str id, struct str json,
                         struct buf *out, struct error *error) MUST_CHECK;
enum result account_open(const struct keyring *ring, int tenant, struct str id, struct str sealed,
                         struct buf *json, struct error *error) MUST_CHECK;

#endif
