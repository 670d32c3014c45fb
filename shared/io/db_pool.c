/*
 * A fixed number of connections for a process's threads. The one used last is taken first, so that in quiet
 * hours the others stay idle; all share what is known about the server being down. Connections open when
 * first used and stay open.
 */
#include "core/clock.h"
#include "io/db_private.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct db_pool {
    pthread_mutex_t lock;
    pthread_cond_t came_free;
    struct db_gate gate;
    struct db *free;
    int count;
    struct db **all;
};

static bool init_lock(struct db_pool *pool)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool good = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(&pool->came_free, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return good && pthread_mutex_init(&pool->lock, NULL) == 0;
}

struct db_pool *db_pool_create(const struct db_settings *settings, int connections)
{
    struct db_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->all = calloc((size_t)connections, sizeof(struct db *));
    if (!pool->all || !init_lock(pool)) {
        free(pool->all);
        free(pool);
        return NULL;
    }
    for (int i = 0; i < connections; i++) {
        struct db *db = db_open(settings);
        if (!db) {
            db_pool_destroy(pool);
            return NULL;
        }
        db->gate = &pool->gate;
        db->next_free = pool->free;
        pool->free = pool->all[pool->count++] = db;
    }
    return pool;
}

void db_pool_destroy(struct db_pool *pool)
{
    if (!pool)
        return;
    for (int i = 0; i < pool->count; i++)
        db_close(pool->all[i]);
    pthread_cond_destroy(&pool->came_free);
    pthread_mutex_destroy(&pool->lock);
    free(pool->all);
    free(pool);
}

struct db *db_pool_take(struct db_pool *pool, int wait_ms)
{
    int64_t until_ms = clock_mono_ms() + wait_ms;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&pool->lock);
    while (!pool->free && clock_mono_ms() < until_ms)
        pthread_cond_timedwait(&pool->came_free, &pool->lock, &until);
    struct db *db = pool->free;
    if (db)
        pool->free = db->next_free;
    pthread_mutex_unlock(&pool->lock);
    return db;
}

void db_pool_give(struct db_pool *pool, struct db *db)
{
    if (!db)
        return;
    db_abandon(db); /* nobody's transaction may meet the next one */
    pthread_mutex_lock(&pool->lock);
    db->next_free = pool->free;
    pool->free = db;
    pthread_cond_signal(&pool->came_free);
    pthread_mutex_unlock(&pool->lock);
}
