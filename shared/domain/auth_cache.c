/*
 * What was verified, remembered by the SHA-256 of what was shown (so that memory holds no secrets), and whose
 * tokens were withdrawn of late. Both are bounded; both may forget at any time, which costs a look-up.
 *
 * Entries are allocated to size, some 150 bytes for a user, and found through a table of pointers: with the
 * identities in the table itself, a few thousand callers would touch all of its 10 MB.
 */
#include "domain/auth_private.h"
#include "queries.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CACHE_SETS = 4096, /* power of two; with 8 ways 32,768 callers a minute */
    CACHE_WAYS = 8,
    CACHE_LOCKS = 64,
    WITHDRAWN_MAX = 4096,
    WITHDRAWN_ASK_US = 3500000, /* with the second between two looks at who waits: below 5 s */
    WITHDRAWN_RETRY_US = 1000000,
    WITHDRAWN_WINDOW_S = 150 /* longer than anything is remembered, plus a transaction that commits late */
};

struct entry {
    unsigned char digest[SHA256_BYTES];
    int64_t expires_us, checked_us, issued_us;
    const char *issuer;
    int tenant;
    unsigned scopes;
    unsigned char kind;
    bool sandbox;
    char texts[]; /* user, key, token_digest, each with its NUL */
};

struct auth_cache {
    pthread_mutex_t locks[CACHE_LOCKS];
    struct entry **entries; /* CACHE_SETS × CACHE_WAYS; NULL = free */
};

static struct entry *entry_make(const unsigned char *digest, const struct auth_identity *identity)
{
    size_t user = strlen(identity->user) + 1, key = strlen(identity->key) + 1,
           token = strlen(identity->token_digest) + 1;
    struct entry *entry = malloc(sizeof *entry + user + key + token);
    if (entry == NULL)
        return NULL;
    *entry = (struct entry){.expires_us = identity->expires_us,
                            .checked_us = identity->checked_us,
                            .issued_us = identity->issued_us,
                            .issuer = identity->issuer,
                            .tenant = identity->tenant,
                            .scopes = identity->scopes,
                            .kind = (unsigned char)identity->kind,
                            .sandbox = identity->sandbox};
    memcpy(entry->digest, digest, SHA256_BYTES);
    memcpy(entry->texts, identity->user, user);
    memcpy(entry->texts + user, identity->key, key);
    memcpy(entry->texts + user + key, identity->token_digest, token);
    return entry;
}

static void entry_read(const struct entry *entry, struct auth_identity *identity)
{
    *identity = (struct auth_identity){.kind = (enum auth_kind)entry->kind,
                                       .tenant = entry->tenant,
                                       .scopes = entry->scopes,
                                       .sandbox = entry->sandbox,
                                       .expires_us = entry->expires_us,
                                       .checked_us = entry->checked_us,
                                       .issued_us = entry->issued_us,
                                       .issuer = entry->issuer};
    const char *user = entry->texts, *key = user + strlen(user) + 1, *token = key + strlen(key) + 1;
    memcpy(identity->user, user, strlen(user) + 1);
    memcpy(identity->key, key, strlen(key) + 1);
    memcpy(identity->token_digest, token, strlen(token) + 1);
}

struct auth_cache *auth_cache_create(void)
{
    struct auth_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return NULL;
    cache->entries = calloc((size_t)CACHE_SETS * CACHE_WAYS, sizeof *cache->entries);
    if (cache->entries == NULL) {
        free(cache);
        return NULL;
    }
    for (int i = 0; i < CACHE_LOCKS; i++)
        pthread_mutex_init(&cache->locks[i], NULL);
    return cache;
}

void auth_cache_destroy(struct auth_cache *cache)
{
    if (cache == NULL)
        return;
    for (int i = 0; i < CACHE_LOCKS; i++)
        pthread_mutex_destroy(&cache->locks[i]);
    for (int i = 0; i < CACHE_SETS * CACHE_WAYS; i++)
        free(cache->entries[i]);
    free(cache->entries);
    free(cache);
}

/* Locks the set of a digest; its ways are returned. */
static struct entry **lock_set(struct auth_cache *cache, const unsigned char *digest, pthread_mutex_t **lock)
{
    size_t set = ((size_t)digest[0] << 8 | digest[1]) % CACHE_SETS;
    *lock = &cache->locks[set % CACHE_LOCKS];
    pthread_mutex_lock(*lock);
    return cache->entries + set * CACHE_WAYS;
}

static struct entry **find_way(struct entry **ways, const unsigned char *digest)
{
    for (int i = 0; i < CACHE_WAYS; i++)
        if (ways[i] != NULL && memcmp(ways[i]->digest, digest, SHA256_BYTES) == 0)
            return &ways[i];
    return NULL;
}

/* A free way, or the one that was checked longest ago. */
static struct entry **least_useful(struct entry **ways)
{
    struct entry **oldest = &ways[0];
    for (int i = 0; i < CACHE_WAYS; i++) {
        if (ways[i] == NULL)
            return &ways[i];
        if (ways[i]->checked_us < (*oldest)->checked_us)
            oldest = &ways[i];
    }
    return oldest;
}

bool auth_cache_find(struct auth_cache *cache, const unsigned char digest[SHA256_BYTES],
                     struct auth_identity *identity)
{
    pthread_mutex_t *lock;
    struct entry **way = find_way(lock_set(cache, digest, &lock), digest);
    if (way != NULL)
        entry_read(*way, identity);
    pthread_mutex_unlock(lock);
    return way != NULL;
}

void auth_cache_put(struct auth_cache *cache, const unsigned char digest[SHA256_BYTES],
                    const struct auth_identity *identity)
{
    struct entry *made = entry_make(digest, identity);
    if (made == NULL)
        return;
    pthread_mutex_t *lock;
    struct entry **ways = lock_set(cache, digest, &lock), **way = find_way(ways, digest);
    if (way == NULL)
        way = least_useful(ways);
    struct entry *replaced = *way;
    *way = made;
    pthread_mutex_unlock(lock);
    free(replaced);
}

void auth_cache_drop(struct auth_cache *cache, const unsigned char digest[SHA256_BYTES])
{
    pthread_mutex_t *lock;
    struct entry **way = find_way(lock_set(cache, digest, &lock), digest);
    if (way != NULL) {
        free(*way);
        *way = NULL;
    }
    pthread_mutex_unlock(lock);
}

/* ---- withdrawn tokens ---- */

void auth_withdrawn_init(struct auth_withdrawn *list)
{
    *list = (struct auth_withdrawn){0};
    pthread_rwlock_init(&list->lock, NULL);
}

void auth_withdrawn_free(struct auth_withdrawn *list)
{
    pthread_rwlock_destroy(&list->lock);
    free(list->hashes);
    free(list->valid_from_us);
}

/* 64 bits of SHA-256: two users that share them would both have to log in again, and nothing worse. */
static uint64_t hash_user(int tenant, struct str user)
{
    char text[16 + 130];
    int bytes = snprintf(text, sizeof text, "%d/" STR_FMT, tenant, STR_ARG(user));
    unsigned char digest[SHA256_BYTES];
    uint64_t hash;
    crypto_sha256((struct str){text, (size_t)bytes}, digest);
    memcpy(&hash, digest, sizeof hash);
    return hash;
}

static void replace(struct auth_withdrawn *list, const struct db_result *rows)
{
    int count = db_rows(rows);
    bool too_many = count > WITHDRAWN_MAX;
    if (too_many)
        count = 0;
    uint64_t *hashes = calloc((size_t)count + 1, sizeof *hashes);
    int64_t *times = calloc((size_t)count + 1, sizeof *times);
    if (hashes == NULL || times == NULL) {
        too_many = true;
        count = 0;
    }
    for (int i = 0; i < count; i++) {
        hashes[i] = hash_user((int)db_int(rows, i, 0), db_text(rows, i, 1));
        times[i] = db_int(rows, i, 2);
    }
    pthread_rwlock_wrlock(&list->lock);
    uint64_t *old_hashes = list->hashes;
    int64_t *old_times = list->valid_from_us;
    list->hashes = hashes;
    list->valid_from_us = times;
    list->count = count;
    list->too_many = too_many;
    pthread_rwlock_unlock(&list->lock);
    free(old_hashes);
    free(old_times);
}

static void ask(struct auth_withdrawn *list, struct db_pool *pool, int64_t now_us)
{
    struct arena *arena = arena_create(8 << 20);
    struct db *db = arena == NULL ? NULL : db_pool_take(pool, 0);
    int64_t known_us = atomic_load(&list->known_us);
    if (db != NULL) {
        struct db_args args = DB_ARGS(arena);
        struct db_result *rows = NULL;
        struct error error;
        db_arg_int(&args, WITHDRAWN_WINDOW_S + (known_us == 0 ? 0 : (now_us - known_us) / 1000000));
        db_arg_int(&args, WITHDRAWN_MAX + 1);
        if (db_run(db, DB_TENANT_NONE, STR_NONE, &query_auth_revocations, &args, arena, &rows, &error) ==
            RESULT_OK) {
            replace(list, rows);
            atomic_store(&list->known_us, now_us);
        }
        db_pool_give(pool, db);
    }
    arena_destroy(arena);
}

void auth_withdrawn_refresh(struct auth_withdrawn *list, struct db_pool *pool, int64_t now_us)
{
    bool idle = false;
    if (now_us - atomic_load(&list->known_us) < WITHDRAWN_ASK_US ||
        now_us - atomic_load(&list->asked_us) < WITHDRAWN_RETRY_US)
        return;
    if (!atomic_compare_exchange_strong(&list->asking, &idle, true))
        return;
    atomic_store(&list->asked_us, now_us);
    ask(list, pool, now_us);
    atomic_store(&list->asking, false);
}

enum auth_verdict auth_withdrawn_find(struct auth_withdrawn *list, const struct auth_identity *identity)
{
    enum auth_verdict verdict = AUTH_GOOD;
    pthread_rwlock_rdlock(&list->lock);
    if (list->too_many)
        verdict = AUTH_ASK;
    uint64_t hash = list->count == 0 ? 0 : hash_user(identity->tenant, str_from(identity->user));
    for (int i = 0; i < list->count && verdict == AUTH_GOOD; i++)
        if (list->hashes[i] == hash && identity->issued_us < list->valid_from_us[i])
            verdict = AUTH_WITHDRAWN;
    pthread_rwlock_unlock(&list->lock);
    return verdict;
}
