/*
 * Who is asking: the way in. An Authorization header or a ticket becomes a struct auth_identity, from what is
 * remembered if that is young enough, else from the database; the pure parts are in auth_claims.c and
 * auth_ticket.c.
 *
 * Promises: what cannot be checked now is RESULT_OFFLINE, never a yes and never a no; a caller learns nothing
 * from the time that a refusal takes (an unknown app key costs a MAC and a look-up as well).
 */
#include "core/clock.h"
#include "core/limits.h"
#include "domain/auth_private.h"
#include "format/check.h"
#include "format/text.h"
#include "queries.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AUTH_ARENA_BYTES = 256 << 10, KEY_BYTES_MAX = 40, SECRET_BYTES_MAX = 256, ORIGIN_SLOTS = 512 };

struct origin {
    unsigned char digest[SHA256_BYTES]; /* of tenant and origin */
    int64_t checked_us;
    bool allowed;
};

struct auth {
    struct db_pool *pool;
    const struct keyring *ring;
    struct auth_cache *cache;
    struct auth_issuers *issuers;
    struct auth_withdrawn withdrawn;
    pthread_mutex_t origins_lock;
    struct origin origins[ORIGIN_SLOTS];
};

unsigned auth_scope_parse(struct str name)
{
    static const struct {
        const char *name;
        enum auth_scope scope;
    } scopes[] = {{"send", SCOPE_SEND},
                  {"send:urgent", SCOPE_SEND_URGENT},
                  {"read", SCOPE_READ},
                  {"users", SCOPE_USERS},
                  {"ops", SCOPE_OPS}};
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++)
        if (str_is(name, scopes[i].name))
            return scopes[i].scope;
    return 0;
}

struct auth *auth_create(struct db_pool *pool, const struct keyring *ring)
{
    struct auth *auth = calloc(1, sizeof *auth);
    if (auth == NULL)
        return NULL;
    auth->pool = pool;
    auth->ring = ring;
    auth->cache = auth_cache_create();
    auth->issuers = auth_issuers_create(pool, ring);
    auth_withdrawn_init(&auth->withdrawn);
    pthread_mutex_init(&auth->origins_lock, NULL);
    if (auth->cache == NULL || auth->issuers == NULL) {
        auth_destroy(auth);
        return NULL;
    }
    return auth;
}

void auth_destroy(struct auth *auth)
{
    if (auth == NULL)
        return;
    auth_cache_destroy(auth->cache);
    auth_issuers_destroy(auth->issuers);
    auth_withdrawn_free(&auth->withdrawn);
    pthread_mutex_destroy(&auth->origins_lock);
    free(auth);
}

/* One statement on a connection of the pool. A database that does not answer is RESULT_OFFLINE, whatever its
 * reason. */
static enum result ask(struct auth *auth, int tenant, struct str user, const struct db_query *query,
                       const struct db_args *args, struct arena *arena, struct db_result **rows,
                       struct error *error)
{
    struct db *db = db_pool_take(auth->pool, AUTH_POOL_WAIT_MS);
    if (db == NULL)
        return error_set(error, RESULT_OFFLINE,
                         "could not check the credentials: no database connection is free");
    enum result result = db_run(db, tenant, user, query, args, arena, rows, error);
    db_pool_give(auth->pool, db);
    return result == RESULT_OK ? RESULT_OK : (error->code = RESULT_OFFLINE);
}

/* ---- app keys ---- */

static enum result refuse_key(struct error *error)
{
    return error_set(error, RESULT_FORBIDDEN, "the app key or its secret is not valid");
}

/* Compares the secret's MAC with the row's; without a row with nothing, at the same cost. */
static bool secret_fits(const struct auth *auth, struct str key, struct str secret, struct str stored)
{
    static const unsigned char nobody[SHA256_BYTES];
    unsigned char mac[SHA256_BYTES];
    char purpose[KEY_BYTES_MAX + 16];
    int bytes = snprintf(purpose, sizeof purpose, "app-secret:" STR_FMT, STR_ARG(key));
    keyring_auth_mac(auth->ring, (struct str){purpose, (size_t)bytes}, secret, mac);
    bool known = stored.bytes == SHA256_BYTES;
    return crypto_equal(mac, known ? (const void *)stored.data : nobody, SHA256_BYTES) && known;
}

static enum result look_up_key(struct auth *auth, struct str key, struct str secret,
                               struct auth_identity *identity, struct error *error)
{
    struct arena *arena = arena_create(AUTH_ARENA_BYTES);
    if (arena == NULL)
        return error_set(error, RESULT_FAILED, "could not check the app key: out of memory");
    struct db_args args = DB_ARGS(arena);
    struct db_result *rows = NULL;
    db_arg_text(&args, key);
    enum result result = ask(auth, DB_TENANT_NONE, STR_NONE, &query_auth_app_key, &args, arena, &rows, error);
    if (result == RESULT_OK) {
        bool exists = db_rows(rows) == 1;
        if (!secret_fits(auth, key, secret, exists ? db_bytes(rows, 0, 1, arena) : STR_NONE)) {
            result = refuse_key(error);
        } else {
            *identity = (struct auth_identity){.kind = AUTH_SERVICE,
                                               .tenant = (int)db_int(rows, 0, 0),
                                               .user = "*",
                                               .scopes = (unsigned)db_int(rows, 0, 2),
                                               .sandbox = db_bool(rows, 0, 3),
                                               .checked_us = clock_now_us()};
            memcpy(identity->key, key.data, key.bytes);
        }
    }
    arena_destroy(arena);
    return result;
}

static enum result check_basic(struct auth *auth, struct str encoded,
                               const unsigned char digest[SHA256_BYTES], struct auth_identity *identity,
                               struct error *error)
{
    char decoded[KEY_BYTES_MAX + 1 + SECRET_BYTES_MAX];
    size_t bytes = 0;
    if (auth_cache_find(auth->cache, digest, identity) && identity->kind == AUTH_SERVICE &&
        clock_now_us() - identity->checked_us < AUTH_KEY_REMEMBER_US)
        return RESULT_OK;
    if (!text_from_base64(encoded, decoded, sizeof decoded, &bytes))
        return refuse_key(error);
    struct str secret, key = str_cut((struct str){decoded, bytes}, ':', &secret);
    if (!str_is_set(secret) || key.bytes > KEY_BYTES_MAX || !check_printable(key) || !check_printable(secret))
        return refuse_key(error);
    enum result result = look_up_key(auth, key, secret, identity, error);
    if (result == RESULT_OK)
        auth_cache_put(auth->cache, digest, identity);
    explicit_bzero(decoded, sizeof decoded);
    return result;
}

/* Does the key still exist, as the identity had it? The secret is not asked for again. */
static bool key_still_exists(struct auth *auth, struct auth_identity *identity)
{
    struct arena *arena = arena_create(AUTH_ARENA_BYTES);
    if (arena == NULL)
        return true;
    struct db_args args = DB_ARGS(arena);
    struct db_result *rows = NULL;
    struct error error;
    db_arg_cstr(&args, identity->key);
    bool exists = true;
    if (ask(auth, DB_TENANT_NONE, STR_NONE, &query_auth_app_key, &args, arena, &rows, &error) == RESULT_OK) {
        exists = db_rows(rows) == 1 && (int)db_int(rows, 0, 0) == identity->tenant;
        identity->checked_us = clock_now_us();
    }
    arena_destroy(arena);
    return exists;
}

/* ---- users ---- */

/* Asks whether the user's tokens were withdrawn after this one was issued. A token that does not say when it
 * was issued cannot be newer than that. */
static enum result admit_user(struct auth *auth, struct auth_identity *identity, struct arena *arena,
                              struct error *error)
{
    struct db_args args = DB_ARGS(arena);
    struct db_result *rows = NULL;
    struct str user = str_from(identity->user);
    db_arg_text(&args, user);
    enum result result =
        ask(auth, identity->tenant, user, &query_auth_user_valid_from, &args, arena, &rows, error);
    if (result != RESULT_OK)
        return result;
    if (db_rows(rows) == 1 && !db_is_null(rows, 0, 0) && identity->issued_us < db_int(rows, 0, 0))
        return error_set(error, RESULT_FORBIDDEN, "the token was withdrawn");
    identity->checked_us = clock_now_us();
    return RESULT_OK;
}

/* What is remembered of a user, checked against what was withdrawn since. AUTH_ASK: not known now. */
static enum auth_verdict review_user(struct auth *auth, const struct auth_identity *identity, int64_t now_us)
{
    int tenant;
    const char *interned;
    struct error error;
    auth_withdrawn_refresh(&auth->withdrawn, auth->pool, now_us);
    switch (auth_issuers_find(auth->issuers, identity->issuer, &tenant, &interned, NULL, &error)) {
    case RESULT_OK:
        break;
    case RESULT_MISSING:
        return AUTH_WITHDRAWN;
    default:
        return AUTH_GOOD; /* cannot be asked: good until it expires */
    }
    return tenant == identity->tenant ? auth_withdrawn_find(&auth->withdrawn, identity) : AUTH_WITHDRAWN;
}

/* The identity as remembered, if that may still be believed. */
static bool recall_user(struct auth *auth, const unsigned char digest[SHA256_BYTES],
                        struct auth_identity *identity)
{
    int64_t now_us = clock_now_us();
    if (!auth_cache_find(auth->cache, digest, identity) || identity->kind != AUTH_USER ||
        now_us - identity->checked_us >= AUTH_REMEMBER_US || now_us >= identity->expires_us)
        return false;
    if (review_user(auth, identity, now_us) == AUTH_GOOD)
        return true;
    auth_cache_drop(auth->cache, digest);
    return false;
}

static void remember_user(struct auth *auth, const unsigned char digest[SHA256_BYTES],
                          struct auth_identity *identity)
{
    struct buf text = BUF_INIT(sizeof identity->token_digest - 1);
    text_base64url(&text, digest, SHA256_BYTES);
    if (buf_ok(&text))
        memcpy(identity->token_digest, text.data, text.bytes);
    buf_free(&text);
    auth_cache_put(auth->cache, digest, identity);
}

static enum result find_issuer(struct auth *auth, const char *name, struct auth_identity *identity,
                               struct auth_issuer_key **key, struct error *error)
{
    enum result result =
        auth_issuers_find(auth->issuers, name, &identity->tenant, &identity->issuer, key, error);
    return result == RESULT_MISSING ? (error->code = RESULT_FORBIDDEN) : result;
}

static enum result verify_token(struct auth *auth, struct str token, struct arena *arena,
                                struct auth_identity *identity, struct error *error)
{
    char issuer[AUTH_ISSUER_BYTES + 1];
    struct auth_issuer_key *key = NULL;
    struct auth_claims claims;
    struct str payload;
    *identity = (struct auth_identity){.kind = AUTH_USER};
    if (auth_claims_issuer(token, arena, issuer, error) != RESULT_OK)
        return error->code = RESULT_FORBIDDEN;
    enum result result = find_issuer(auth, issuer, identity, &key, error);
    if (result != RESULT_OK)
        return result;
    result = jws_verify(key->key, token, arena, &payload, error);
    auth_issuer_key_release(key);
    if (result != RESULT_OK)
        return error_set(error, RESULT_FORBIDDEN, "the token's signature is not valid");
    result = auth_claims_read(payload, arena, clock_now_us(), &claims, error);
    if (result != RESULT_OK)
        return result;
    memcpy(identity->user, claims.user, sizeof identity->user);
    identity->issued_us = claims.issued_us;
    identity->expires_us = claims.expires_us;
    return admit_user(auth, identity, arena, error);
}

static enum result check_bearer(struct auth *auth, struct str token, const unsigned char digest[SHA256_BYTES],
                                struct auth_identity *identity, struct error *error)
{
    if (recall_user(auth, digest, identity))
        return RESULT_OK;
    struct arena *arena = arena_create(AUTH_ARENA_BYTES);
    if (arena == NULL)
        return error_set(error, RESULT_FAILED, "could not check the token: out of memory");
    enum result result = verify_token(auth, token, arena, identity, error);
    if (result == RESULT_OK)
        remember_user(auth, digest, identity);
    arena_destroy(arena);
    return result;
}

enum result auth_check(struct auth *auth, struct str authorization, struct auth_identity *identity,
                       struct error *error)
{
    unsigned char digest[SHA256_BYTES];
    struct str rest, scheme = str_cut(authorization, ' ', &rest);
    *identity = (struct auth_identity){0};
    rest = str_trim(rest);
    crypto_sha256(authorization, digest);
    if (str_equal_nocase(scheme, STR("Basic")))
        return check_basic(auth, rest, digest, identity, error);
    if (str_equal_nocase(scheme, STR("Bearer")))
        return check_bearer(auth, rest, digest, identity, error);
    return error_set(error, RESULT_FORBIDDEN, "the Authorization header must be Basic or Bearer");
}

static void forget(struct auth *auth, const struct auth_identity *identity)
{
    unsigned char digest[SHA256_BYTES];
    size_t bytes;
    if (text_from_base64url(str_from(identity->token_digest), digest, sizeof digest, &bytes) &&
        bytes == sizeof digest)
        auth_cache_drop(auth->cache, digest);
}

/* Asked one by one only when more users were withdrawn at once than the list holds. */
static bool still_admitted(struct auth *auth, struct auth_identity *identity, int64_t now_us)
{
    struct error error;
    if (now_us - identity->checked_us < AUTH_KEY_REMEMBER_US)
        return true;
    struct arena *arena = arena_create(AUTH_ARENA_BYTES);
    if (arena == NULL)
        return true;
    bool admitted = admit_user(auth, identity, arena, &error) != RESULT_FORBIDDEN;
    arena_destroy(arena);
    return admitted;
}

bool auth_still_valid(struct auth *auth, struct auth_identity *identity)
{
    int64_t now_us = clock_now_us();
    bool valid = identity->expires_us == 0 || now_us < identity->expires_us;
    if (valid && identity->kind == AUTH_SERVICE && now_us - identity->checked_us >= AUTH_KEY_REMEMBER_US)
        valid = key_still_exists(auth, identity);
    if (valid && identity->kind == AUTH_USER) {
        enum auth_verdict verdict = review_user(auth, identity, now_us);
        valid = verdict == AUTH_GOOD || (verdict == AUTH_ASK && still_admitted(auth, identity, now_us));
        if (!valid)
            forget(auth, identity);
    }
    return valid;
}

/* ---- tickets ---- */

enum result auth_ticket_make(struct auth *auth, const struct auth_identity *identity, struct str feeds,
                             char out[TICKET_BYTES_MAX], int64_t *expires_us, struct error *error)
{
    if (identity->kind != AUTH_USER || feeds.bytes >= 256)
        return error_set(error, RESULT_FORBIDDEN, "only a user may have a ticket");
    *expires_us = clock_now_us() + TICKET_LIFE_S * 1000000LL;
    if (identity->expires_us != 0 && identity->expires_us < *expires_us)
        *expires_us = identity->expires_us; /* a ticket does not outlive the token that bought it */
    return auth_ticket_write(auth->ring, identity, feeds, *expires_us, out, error);
}

enum result auth_ticket_check(struct auth *auth, struct str ticket, struct auth_identity *identity,
                              char feeds[256], struct error *error)
{
    char issuer[AUTH_ISSUER_BYTES + 1];
    unsigned char digest[SHA256_BYTES];
    struct auth_identity said;
    enum result result = auth_ticket_read(auth->ring, ticket, clock_now_us(), &said, issuer, feeds, error);
    if (result != RESULT_OK)
        return result;
    crypto_sha256(ticket, digest);
    if (recall_user(auth, digest, identity))
        return RESULT_OK;
    *identity = said;
    result = find_issuer(auth, issuer, identity, NULL, error);
    if (result == RESULT_OK && identity->tenant != said.tenant)
        result = error_set(error, RESULT_FORBIDDEN, "the ticket's issuer belongs to somebody else now");
    if (result != RESULT_OK)
        return result;
    struct arena *arena = arena_create(AUTH_ARENA_BYTES);
    if (arena == NULL)
        return error_set(error, RESULT_FAILED, "could not check the ticket: out of memory");
    result = admit_user(auth, identity, arena, error);
    arena_destroy(arena);
    if (result == RESULT_OK)
        remember_user(auth, digest, identity);
    return result;
}

/* ---- origins ---- */

static bool ask_origin(struct auth *auth, int tenant, struct str origin, bool *allowed)
{
    struct arena *arena = arena_create(AUTH_ARENA_BYTES);
    if (arena == NULL)
        return false;
    struct db_args args = DB_ARGS(arena);
    struct db_result *rows = NULL;
    struct error error;
    db_arg_text(&args, origin);
    db_arg_int(&args, tenant);
    bool answered =
        ask(auth, DB_TENANT_NONE, STR_NONE, &query_auth_origin, &args, arena, &rows, &error) == RESULT_OK;
    if (answered)
        *allowed = db_rows(rows) == 1 && db_bool(rows, 0, 0);
    arena_destroy(arena);
    return answered;
}

bool auth_origin_allowed(struct auth *auth, int tenant, struct str origin)
{
    char text[512];
    unsigned char digest[SHA256_BYTES];
    int64_t now_us = clock_now_us();
    if (!check_origin(origin))
        return false;
    int bytes = snprintf(text, sizeof text, "%d " STR_FMT, tenant, STR_ARG(origin));
    if (bytes < 0 || (size_t)bytes >= sizeof text)
        return false;
    crypto_sha256((struct str){text, (size_t)bytes}, digest);
    struct origin *slot = &auth->origins[((size_t)digest[0] << 8 | digest[1]) % ORIGIN_SLOTS];
    pthread_mutex_lock(&auth->origins_lock);
    struct origin known = *slot;
    pthread_mutex_unlock(&auth->origins_lock);
    bool same = memcmp(known.digest, digest, sizeof digest) == 0;
    if (same && now_us - known.checked_us < AUTH_KEY_REMEMBER_US)
        return known.allowed;
    struct origin fresh = {.checked_us = now_us};
    memcpy(fresh.digest, digest, sizeof digest);
    if (!ask_origin(auth, tenant, origin, &fresh.allowed))
        return same && known.allowed; /* no database: what was last known */
    pthread_mutex_lock(&auth->origins_lock);
    *slot = fresh;
    pthread_mutex_unlock(&auth->origins_lock);
    return fresh.allowed;
}
