#ifndef BELFRY_DOMAIN_AUTH_H
#define BELFRY_DOMAIN_AUTH_H
/*
 * Who is asking: app keys (HTTP Basic), user tokens (JWT, RFC 7519) and stream tickets.
 *
 * What was verified is remembered in memory for at most 60 s (app keys 5 s), bounded in number, and a revoked
 * key or issuer, or a user's withdrawn tokens, are noticed within 5 s even then: one statement per process
 * asks who was withdrawn of late. Secrets are compared in constant time. An issuer's record pins the
 * algorithm; the token's own header is never believed.
 *
 * Files: auth.c is the way in, auth_claims.c what a token and a ticket say (pure), auth_cache.c what is
 * remembered, auth_issuer.c the issuers' keys.
 */
#include "core/error.h"
#include "core/str.h"
#include "io/crypto.h"
#include "io/db.h"
#include <stdbool.h>
#include <stdint.h>

enum auth_scope { SCOPE_SEND = 1, SCOPE_SEND_URGENT = 2, SCOPE_READ = 4, SCOPE_USERS = 8, SCOPE_OPS = 16 };
/* "send" → SCOPE_SEND; 0 for anything else. */
unsigned auth_scope_parse(struct str name);

enum auth_kind { AUTH_NOBODY, AUTH_SERVICE, AUTH_USER };

struct auth_identity {
    enum auth_kind kind;
    int tenant;
    char user[129];        /* AUTH_USER: the id; AUTH_SERVICE: "*" */
    char key[41];          /* AUTH_SERVICE: the app key's public part */
    unsigned scopes;       /* AUTH_SERVICE */
    bool sandbox;          /* AUTH_SERVICE: plan and render everything, send nothing */
    int64_t expires_us;    /* of the token or ticket; 0 = does not expire */
    int64_t checked_us;    /* when it was last looked up */
    int64_t issued_us;     /* AUTH_USER: of the token; 0 = it does not say */
    const char *issuer;    /* AUTH_USER: lives as long as struct auth */
    char token_digest[45]; /* of the token, to forget it when it turns out to be withdrawn */
};

struct auth; /* caches; one per process, thread-safe */
struct auth *auth_create(struct db_pool *pool, const struct keyring *ring) MUST_CHECK;
void auth_destroy(struct auth *auth);

/* The value of an Authorization header ("Basic …", "Bearer …"). RESULT_FORBIDDEN: not valid (401);
 * RESULT_OFFLINE: could not be checked now (503). */
enum result auth_check(struct auth *auth, struct str authorization, struct auth_identity *identity,
                       struct error *error) MUST_CHECK;
/* Is this identity still good: not expired, its key, issuer or tokens not withdrawn since? Cheap for users:
 * the database is asked at most every 4 s per process and every 5 s per issuer, whoever calls. While it
 * cannot be asked, what was good stays good until it expires. */
bool auth_still_valid(struct auth *auth, struct auth_identity *identity);

/* A ticket opens streams of one user for 10 minutes: MAC over tenant, user, feeds and expiry; needs no table.
 */
enum { TICKET_BYTES_MAX = 512, TICKET_LIFE_S = 600 };
enum result auth_ticket_make(struct auth *auth, const struct auth_identity *identity, struct str feeds,
                             char out[TICKET_BYTES_MAX], int64_t *expires_us, struct error *error) MUST_CHECK;
enum result auth_ticket_check(struct auth *auth, struct str ticket, struct auth_identity *identity,
                              char feeds[256], struct error *error) MUST_CHECK;

/* Origins that a tenant lists for CORS, exact match; tenant 0: listed by any tenant (for a preflight). Cached
 * 5 s. */
bool auth_origin_allowed(struct auth *auth, int tenant, struct str origin);

#endif
