#ifndef BELFRY_DOMAIN_AUTH_PRIVATE_H
#define BELFRY_DOMAIN_AUTH_PRIVATE_H
/* What the files of auth share. Nobody else includes this but their tests. */
#include "core/arena.h"
#include "domain/auth.h"
#include <pthread.h>
#include <stdatomic.h>

enum {
    AUTH_REMEMBER_US = 60000000,    /* a verified user token */
    AUTH_KEY_REMEMBER_US = 3500000, /* a verified app key, an issuer, an origin */
    AUTH_LEEWAY_S = 60,             /* clocks of issuers differ by so much at most */
    AUTH_ISSUER_BYTES = 128,        /* of an issuer's name */
    AUTH_POOL_WAIT_MS = 1000
};

/* ---- auth_claims.c: pure ---- */
struct auth_claims {
    char user[129];
    char issuer[AUTH_ISSUER_BYTES + 1];
    int64_t issued_us;  /* 0 = not said */
    int64_t expires_us; /* the moment from which it is refused, leeway included if it is used already */
};
/* The issuer that an unverified token names, to find the key: nothing else of it may be believed yet.
 * RESULT_INVALID if the token is not a JWT. */
enum result auth_claims_issuer(struct str token, struct arena *arena, char issuer[AUTH_ISSUER_BYTES + 1],
                               struct error *error) MUST_CHECK;
/* The claims of a verified token at a moment: exp, iss and sub are required, nbf and iat respected (RFC 7519
 * §4.1). RESULT_FORBIDDEN says what is wrong. */
enum result auth_claims_read(struct str payload, struct arena *arena, int64_t now_us,
                             struct auth_claims *claims, struct error *error) MUST_CHECK;

/* ---- auth_ticket.c: pure ---- */
/* Writes a ticket that holds until expires_us. RESULT_INVALID if it would be too long. */
enum result auth_ticket_write(const struct keyring *ring, const struct auth_identity *identity,
                              struct str feeds, int64_t expires_us, char out[TICKET_BYTES_MAX],
                              struct error *error) MUST_CHECK;
/* What a genuine, unexpired ticket says: identity without issuer, whose name goes to issuer. RESULT_FORBIDDEN
 * else. */
enum result auth_ticket_read(const struct keyring *ring, struct str ticket, int64_t now_us,
                             struct auth_identity *identity, char issuer[AUTH_ISSUER_BYTES + 1],
                             char feeds[256], struct error *error) MUST_CHECK;

/* ---- auth_cache.c: what was verified, by the digest of what was shown ---- */
struct auth_cache;
struct auth_cache *auth_cache_create(void) MUST_CHECK; /* memory is touched only as it fills */
void auth_cache_destroy(struct auth_cache *cache);
bool auth_cache_find(struct auth_cache *cache, const unsigned char digest[SHA256_BYTES],
                     struct auth_identity *identity);
void auth_cache_put(struct auth_cache *cache, const unsigned char digest[SHA256_BYTES],
                    const struct auth_identity *identity);
void auth_cache_drop(struct auth_cache *cache, const unsigned char digest[SHA256_BYTES]);

/* Whose tokens were withdrawn of late: replaced as a whole every few seconds. */
struct auth_withdrawn {
    pthread_rwlock_t lock;
    uint64_t *hashes; /* of tenant and user */
    int64_t *valid_from_us;
    int count;
    bool too_many;            /* more than fit: each identity is asked for */
    _Atomic int64_t asked_us; /* last try */
    _Atomic int64_t known_us; /* last success; 0 = never */
    _Atomic bool asking;
};
void auth_withdrawn_init(struct auth_withdrawn *list);
void auth_withdrawn_free(struct auth_withdrawn *list);
/* Asks the database if the last answer is older than 4 s and nobody else is asking. */
void auth_withdrawn_refresh(struct auth_withdrawn *list, struct db_pool *pool, int64_t now_us);
enum auth_verdict { AUTH_GOOD, AUTH_WITHDRAWN, AUTH_ASK };
enum auth_verdict auth_withdrawn_find(struct auth_withdrawn *list, const struct auth_identity *identity);

/* ---- auth_issuer.c: keys of issuers ---- */
struct auth_issuers;
/* A key in use: stays valid until it is given back, whatever happens to the issuer meanwhile. */
struct auth_issuer_key {
    struct jws_key *key;
    _Atomic int holders;
};
struct auth_issuers *auth_issuers_create(struct db_pool *pool, const struct keyring *ring) MUST_CHECK;
void auth_issuers_destroy(struct auth_issuers *issuers);
/* The issuer of this name, asked for at most 5 s ago. *interned is its name, living as long as issuers; key
 * may be NULL if only its existence matters. RESULT_MISSING: unknown or revoked; RESULT_OFFLINE: not known
 * now. */
enum result auth_issuers_find(struct auth_issuers *issuers, const char *name, int *tenant,
                              const char **interned, struct auth_issuer_key **key,
                              struct error *error) MUST_CHECK;
void auth_issuer_key_release(struct auth_issuer_key *key);

#endif
