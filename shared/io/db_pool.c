/*
 * A fixed number of connections for a process's threads. The one used last is taken first, so that in quiet
 * hours the others stay idle; all share what is known about the server being down. Connections open when
 * first used and stay open.
 *
 * Those who wait are served in the order in which they came: a thread that gives a connection back and wants
 * one again at once would else win over all that sleep, every time.
 */
#include "io/db_private.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* A thread that waits, on its own stack: it gets a connection handed over, or takes itself out. */
struct waiter {
    struct waiter *next;
    pthread_cond_t served;
    struct db *db;
};

struct db_pool {
    pthread_mutex_t lock;
    struct waiter *first, **last;
    struct db_gate gate;
    struct db *free;
    int count;
    struct db **all;
};

static bool init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    bool good = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                pthread_cond_init(condition, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return good;
}

struct db_pool *db_pool_create(const struct db_settings *settings, int connections)
{
    struct db_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->all = calloc((size_t)connections, sizeof(struct db *));
    pool->last = &pool->first;
    if (!pool->all || pthread_mutex_init(&pool->lock, NULL) != 0) {
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
    pthread_mutex_destroy(&pool->lock);
    free(pool->all);
    free(pool);
}

static struct timespec deadline_in(int wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

static void leave_queue(struct db_pool *pool, const struct waiter *self)
{
    struct waiter **link = &pool->first;
    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    if (!self->next)
        pool->last = link;
}

/* Waits in the queue, under the lock, until it is served or the time is over. */
static struct db *wait_in_queue(struct db_pool *pool, int wait_ms)
{
    struct waiter self = {.next = NULL};
    struct timespec until = deadline_in(wait_ms);
    if (!init_condition(&self.served))
        return NULL;
    *pool->last = &self;
    // cppcheck-suppress autoVariables ; it leaves the queue before this function returns
    pool->last = &self.next;
    while (!self.db && pthread_cond_timedwait(&self.served, &pool->lock, &until) == 0)
        ;
    if (!self.db)
        leave_queue(pool, &self);
    pthread_cond_destroy(&self.served);
    return self.db;
}

struct db *db_pool_take(struct db_pool *pool, int wait_ms)
{
    pthread_mutex_lock(&pool->lock);
    struct db *db = pool->first ? NULL : pool->free;
    if (db)
        pool->free = db->next_free;
    else if (wait_ms > 0)
        db = wait_in_queue(pool, wait_ms);
    pthread_mutex_unlock(&pool->lock);
    return db;
}

void db_pool_give(struct db_pool *pool, struct db *db)
{
    if (!db)
        return;
    db_abandon(db); /* nobody's transaction may meet the next one */
    pthread_mutex_lock(&pool->lock);
    struct waiter *next = pool->first;
    if (next) {
        pool->first = next->next;
        if (!pool->first)
            pool->last = &pool->first;
        next->db = db;
        pthread_cond_signal(&next->served);
    } else {
        db->next_free = pool->free;
        pool->free = db;
    }
    pthread_mutex_unlock(&pool->lock);
}
