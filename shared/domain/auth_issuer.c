/*
 * Issuers of user tokens and their keys: asked for by name, remembered for 5 s, so that a revoked issuer or a
 * replaced key is noticed soon. Only names that exist are kept, so their number is bounded by the database's.
 */
#include "core/clock.h"
#include "domain/auth_private.h"
#include "queries.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ISSUER_BUCKETS = 256, ISSUER_KEY_BYTES_MAX = 16384, ISSUER_REST_US = 1000000 };

struct issuer {
    struct issuer *next;
    char *name;
    int tenant;
    bool good;                     /* exists and is not revoked */
    int64_t checked_us, failed_us; /* last answer; last question that got none */
    char *sealed;                  /* as read, to see whether it was replaced */
    size_t sealed_bytes;
    char algorithm[8];
    struct auth_issuer_key *key;
};

struct auth_issuers {
    struct db_pool *pool;
    const struct keyring *ring;
    pthread_mutex_t lock;
    struct issuer *buckets[ISSUER_BUCKETS];
};

struct auth_issuers *auth_issuers_create(struct db_pool *pool, const struct keyring *ring)
{
    struct auth_issuers *issuers = calloc(1, sizeof *issuers);
    if (issuers == NULL)
        return NULL;
    issuers->pool = pool;
    issuers->ring = ring;
    pthread_mutex_init(&issuers->lock, NULL);
    return issuers;
}

void auth_issuer_key_release(struct auth_issuer_key *key)
{
    if (key == NULL || atomic_fetch_sub(&key->holders, 1) != 1)
        return;
    jws_key_free(key->key);
    free(key);
}

void auth_issuers_destroy(struct auth_issuers *issuers)
{
    if (issuers == NULL)
        return;
    for (int i = 0; i < ISSUER_BUCKETS; i++)
        for (struct issuer *issuer = issuers->buckets[i], *next; issuer != NULL; issuer = next) {
            next = issuer->next;
            auth_issuer_key_release(issuer->key);
            free(issuer->sealed);
            free(issuer->name);
            free(issuer);
        }
    pthread_mutex_destroy(&issuers->lock);
    free(issuers);
}

static struct issuer **bucket_of(struct auth_issuers *issuers, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a: names come from our own database */
    for (const char *c = name; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &issuers->buckets[hash % ISSUER_BUCKETS];
}

static struct issuer *find(struct auth_issuers *issuers, const char *name)
{
    struct issuer *issuer = *bucket_of(issuers, name);
    while (issuer != NULL && strcmp(issuer->name, name) != 0)
        issuer = issuer->next;
    return issuer;
}

static struct issuer *add(struct auth_issuers *issuers, const char *name)
{
    struct issuer *issuer = calloc(1, sizeof *issuer), **bucket = bucket_of(issuers, name);
    if (issuer == NULL)
        return NULL;
    issuer->name = strdup(name);
    if (issuer->name == NULL) {
        free(issuer);
        return NULL;
    }
    issuer->next = *bucket;
    *bucket = issuer;
    return issuer;
}

/* Opens and loads a key as the database keeps it. */
static enum result load_key(const struct keyring *ring, int tenant, const char *name, const char *algorithm,
                            struct str sealed, struct auth_issuer_key **out, struct error *error)
{
    struct buf plain = BUF_INIT(ISSUER_KEY_BYTES_MAX);
    char context[AUTH_ISSUER_BYTES + 32];
    int bytes = snprintf(context, sizeof context, "issuer:%d:%s", tenant, name);
    int parsed = jws_algorithm_parse(str_from(algorithm));
    struct auth_issuer_key *key = calloc(1, sizeof *key);
    enum result result = RESULT_OK;
    if (key == NULL || parsed < 0)
        result = error_set(error, RESULT_FAILED, "could not load the key of an issuer");
    if (result == RESULT_OK)
        result = keyring_open(ring, (struct str){context, (size_t)bytes}, sealed, &plain, error);
    if (result == RESULT_OK)
        result = jws_key_load((enum jws_algorithm)parsed, buf_str(&plain), &key->key, error);
    if (plain.data != NULL)
        explicit_bzero(plain.data, plain.bytes);
    buf_free(&plain);
    if (result != RESULT_OK) {
        free(key);
        /* The record is damaged or was made with other keys: not the caller's fault, and it may be mended. */
        return error->code = RESULT_OFFLINE;
    }
    atomic_store(&key->holders, 1);
    *out = key;
    return RESULT_OK;
}

/* Takes over what the database said. Called under the lock. */
static enum result update(struct auth_issuers *issuers, struct issuer *issuer, const struct db_result *rows,
                          struct arena *arena, struct error *error)
{
    issuer->good = db_rows(rows) == 1;
    if (!issuer->good)
        return RESULT_OK;
    struct str sealed = db_bytes(rows, 0, 2, arena), algorithm = db_text(rows, 0, 1);
    issuer->tenant = (int)db_int(rows, 0, 0);
    if (issuer->key != NULL && issuer->sealed_bytes == sealed.bytes &&
        memcmp(issuer->sealed, sealed.data, sealed.bytes) == 0 && str_is(algorithm, issuer->algorithm))
        return RESULT_OK;
    struct auth_issuer_key *key = NULL;
    char *copy = malloc(sealed.bytes + 1);
    snprintf(issuer->algorithm, sizeof issuer->algorithm, STR_FMT, STR_ARG(algorithm));
    issuer->good = false;
    if (copy == NULL)
        return error_set(error, RESULT_FAILED, "could not keep an issuer: out of memory");
    enum result result =
        load_key(issuers->ring, issuer->tenant, issuer->name, issuer->algorithm, sealed, &key, error);
    if (result != RESULT_OK) {
        free(copy);
        return result;
    }
    memcpy(copy, sealed.data, sealed.bytes);
    free(issuer->sealed);
    auth_issuer_key_release(issuer->key);
    issuer->sealed = copy;
    issuer->sealed_bytes = sealed.bytes;
    issuer->key = key;
    issuer->good = true;
    return RESULT_OK;
}

/* Asks the database and remembers the answer; a name that does not exist is not kept. */
static enum result ask(struct auth_issuers *issuers, const char *name, struct arena *arena, int64_t now_us,
                       struct error *error)
{
    struct db *db = db_pool_take(issuers->pool, AUTH_POOL_WAIT_MS);
    if (db == NULL)
        return error_set(error, RESULT_OFFLINE, "could not check the token: no database connection is free");
    struct db_args args = DB_ARGS(arena);
    struct db_result *rows = NULL;
    db_arg_cstr(&args, name);
    enum result result = db_run(db, DB_TENANT_NONE, STR_NONE, &query_auth_issuer, &args, arena, &rows, error);
    db_pool_give(issuers->pool, db);
    if (result != RESULT_OK)
        return error->code = RESULT_OFFLINE;
    pthread_mutex_lock(&issuers->lock);
    struct issuer *issuer = find(issuers, name);
    if (issuer == NULL && db_rows(rows) == 1)
        issuer = add(issuers, name);
    if (issuer != NULL) {
        result = update(issuers, issuer, rows, arena, error);
        issuer->checked_us = result == RESULT_OK ? now_us : 0;
    }
    pthread_mutex_unlock(&issuers->lock);
    return result;
}

static void note_failure(struct auth_issuers *issuers, const char *name)
{
    pthread_mutex_lock(&issuers->lock);
    struct issuer *issuer = find(issuers, name);
    if (issuer != NULL)
        issuer->failed_us = clock_now_us();
    pthread_mutex_unlock(&issuers->lock);
}

/* What is known already. RESULT_BUSY: it must be asked for. RESULT_OFFLINE: that was tried a moment ago, and
 * who only wants to know whether it still exists need not wait once more (the park asks for each of
 * thousands). */
static enum result recall(struct auth_issuers *issuers, const char *name, int64_t least_us, int *tenant,
                          const char **interned, struct auth_issuer_key **key)
{
    enum result result = RESULT_BUSY;
    pthread_mutex_lock(&issuers->lock);
    struct issuer *issuer = find(issuers, name);
    if (issuer != NULL && issuer->checked_us > least_us)
        result = issuer->good ? RESULT_OK : RESULT_MISSING;
    else if (issuer != NULL && key == NULL && clock_now_us() - issuer->failed_us < ISSUER_REST_US)
        result = RESULT_OFFLINE;
    if (result == RESULT_OK) {
        *tenant = issuer->tenant;
        *interned = issuer->name;
        if (key != NULL) {
            *key = issuer->key;
            atomic_fetch_add(&issuer->key->holders, 1);
        }
    }
    pthread_mutex_unlock(&issuers->lock);
    return result;
}

enum result auth_issuers_find(struct auth_issuers *issuers, const char *name, int *tenant,
                              const char **interned, struct auth_issuer_key **key, struct error *error)
{
    int64_t now_us = clock_now_us();
    enum result result = recall(issuers, name, now_us - AUTH_KEY_REMEMBER_US, tenant, interned, key);
    if (result == RESULT_BUSY) {
        struct arena *arena = arena_create(256 << 10);
        if (arena == NULL)
            return error_set(error, RESULT_FAILED, "could not check a token: out of memory");
        result = ask(issuers, name, arena, now_us, error);
        arena_destroy(arena);
        if (result == RESULT_OFFLINE)
            note_failure(issuers, name);
        if (result != RESULT_OK)
            return result;
        result = recall(issuers, name, now_us - AUTH_KEY_REMEMBER_US, tenant, interned, key);
    }
    if (result == RESULT_OFFLINE)
        return error_set(error, RESULT_OFFLINE, "could not check the token's issuer a moment ago");
    if (result != RESULT_OK)
        return error_set(error, RESULT_MISSING, "the token's issuer is not known");
    return RESULT_OK;
}
