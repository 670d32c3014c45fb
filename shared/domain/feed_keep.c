/* A fixed hash table of pointers, walked around; entries are allocated to size and go when nobody polls. */
#include "domain/feed_keep.h"
#include "core/clock.h"
#include "domain/feed_cache.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    PROBES = 8,  /* slots that a feed may be in: a full neighbourhood forgets the one polled longest ago */
    CHUNK = 250, /* feeds of one statement */
    POLLED_MS = 6000, /* who has not been polled for so long is let go */
    AGE_MS = 2500,    /* a mark is asked for when it is so old: twice before it would expire */
    SCAN_SLOTS = 4096 /* looked at in one turn under the lock */
};

struct kept {
    uint64_t hash;
    struct feed_place place;
    int64_t touched_ms, confirmed_ms;
    int tenant;
    unsigned short key_bytes;
    char key[];
};

struct feed_keep {
    pthread_mutex_t lock;
    size_t at; /* where the walk is */
    struct kept *slots[FEED_KEEP_MAX];
};

struct feed_keep *feed_keep_create(void)
{
    struct feed_keep *keep = calloc(1, sizeof *keep);
    if (keep != NULL)
        pthread_mutex_init(&keep->lock, NULL);
    return keep;
}

void feed_keep_destroy(struct feed_keep *keep)
{
    if (keep == NULL)
        return;
    for (int i = 0; i < FEED_KEEP_MAX; i++)
        free(keep->slots[i]);
    pthread_mutex_destroy(&keep->lock);
    free(keep);
}

static uint64_t hash_of(int tenant, struct str key)
{
    uint64_t hash = 0xcbf29ce484222325ULL ^ (uint64_t)(uint32_t)tenant;
    for (size_t i = 0; i < key.bytes; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 0x100000001b3ULL;
    return hash ^ hash >> 29;
}

static bool is_feed(const struct kept *kept, uint64_t hash, int tenant, struct str key)
{
    return kept->hash == hash && kept->tenant == tenant && kept->key_bytes == key.bytes &&
           memcmp(kept->key, key.data, key.bytes) == 0;
}

/* The feed's slot if it is there, else the one to put it into. */
static struct kept **find_slot(struct feed_keep *keep, uint64_t hash, int tenant, struct str key)
{
    struct kept **best = NULL;
    for (unsigned i = 0; i < PROBES; i++) {
        struct kept **slot = &keep->slots[(hash + i) % FEED_KEEP_MAX];
        if (*slot != NULL && is_feed(*slot, hash, tenant, key))
            return slot;
        if (best == NULL || (*best != NULL && (*slot == NULL || (*slot)->touched_ms < (*best)->touched_ms)))
            best = slot;
    }
    return best;
}

static struct kept *kept_make(uint64_t hash, int tenant, struct str key)
{
    struct kept *kept = malloc(sizeof *kept + key.bytes);
    if (kept == NULL)
        return NULL;
    *kept = (struct kept){.hash = hash, .tenant = tenant, .key_bytes = (unsigned short)key.bytes};
    memcpy(kept->key, key.data, key.bytes);
    return kept;
}

void feed_keep_touch(struct feed_keep *keep, int tenant, struct str key, struct feed_place place)
{
    int64_t now_ms = clock_mono_ms();
    uint64_t hash = hash_of(tenant, key);
    pthread_mutex_lock(&keep->lock);
    struct kept **slot = find_slot(keep, hash, tenant, key);
    if (*slot == NULL || !is_feed(*slot, hash, tenant, key)) {
        free(*slot);
        *slot = kept_make(hash, tenant, key);
        if (*slot != NULL)
            (*slot)->confirmed_ms = now_ms - AGE_MS; /* its mark may be of any age */
    }
    if (*slot != NULL) {
        (*slot)->touched_ms = now_ms;
        (*slot)->place = place;
    }
    pthread_mutex_unlock(&keep->lock);
}

/* Copies what is due and frees what nobody polls any more. Returns how many; *more if the walk is not round.
 */
static int take_due(struct feed_keep *keep, struct arena *arena, struct feed_want *wants, bool *more)
{
    int64_t now_ms = clock_mono_ms();
    int count = 0;
    pthread_mutex_lock(&keep->lock);
    for (int scanned = 0; scanned < SCAN_SLOTS && count < CHUNK; scanned++) {
        struct kept **slot = &keep->slots[keep->at];
        keep->at = (keep->at + 1) % FEED_KEEP_MAX;
        *more = keep->at != 0;
        if (*slot != NULL && now_ms - (*slot)->touched_ms > POLLED_MS) {
            free(*slot);
            *slot = NULL;
        } else if (*slot != NULL && now_ms - (*slot)->confirmed_ms >= AGE_MS) {
            (*slot)->confirmed_ms = now_ms;
            wants[count++] =
                (struct feed_want){.tenant = (*slot)->tenant,
                                   .key = arena_str(arena, (struct str){(*slot)->key, (*slot)->key_bytes}),
                                   .place = (*slot)->place};
        }
        if (!*more)
            break;
    }
    pthread_mutex_unlock(&keep->lock);
    return count;
}

enum result feed_keep_turn(struct feed_keep *keep, struct redis *redis, struct db_pool *pool,
                           struct arena *arena, bool *more, struct error *error)
{
    struct feed_want *wants = arena_array(arena, CHUNK, sizeof *wants);
    struct feed_place *places = arena_array(arena, CHUNK, sizeof *places);
    *more = false;
    if (wants == NULL || places == NULL)
        return error_set(error, RESULT_FAILED, "no memory to keep marks of feeds");
    int count = take_due(keep, arena, wants, more);
    if (arena_failed(arena))
        return error_set(error, RESULT_FAILED, "no memory to keep marks of feeds");
    if (count == 0)
        return RESULT_OK;
    enum result result = feed_revs(pool, wants, count, arena, places, error);
    if (result != RESULT_OK) {
        *more = false;
        return result;
    }
    for (int i = 0; i < count; i++)
        feed_cache_confirm(redis, arena, wants[i].tenant, wants[i].key, places[i]);
    (void)feed_cache_flush(redis, arena);
    return RESULT_OK;
}
