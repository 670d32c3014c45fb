/* One thread, a turn every half second. */
#include "handlers/chores.h"
#include "core/arena.h"
#include "core/clock.h"
#include "core/log.h"
#include "domain/feed_keep.h"
#include "domain/metrics.h"
#include "domain/throttle.h"
#include "handlers/health.h"
#include "handlers/park.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ARENA_BYTES = 16 << 20, STACK_BYTES = 256 << 10, POOL_WAIT_MS = 1000 };

struct chores {
    struct app *app;
    struct arena *arena;
    struct redis *redis;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool stopping, is_durable, refused;
    int64_t flush_ms;
};

static void flush_metrics(struct chores *chores, bool leave)
{
    struct app *app = chores->app;
    struct error error = {0};
    int processes = 0;
    metrics_gauge(app->metrics, METRIC_PARKED, "kind=\"poll\"", park_count(app->park, PARK_POLL));
    metrics_gauge(app->metrics, METRIC_PARKED, "kind=\"stream\"", park_count(app->park, PARK_STREAM));
    struct db *db = db_pool_take(app->readers, POOL_WAIT_MS);
    if (db == NULL)
        return;
    enum result result = leave ? metrics_leave(app->metrics, db, chores->arena, &error)
                               : metrics_flush(app->metrics, db, chores->arena, &processes, &error);
    db_pool_give(app->readers, db);
    if (result != RESULT_OK)
        log_debug("metrics could not be written", LOG_TEXT("error", error.text));
    else if (processes > 0)
        throttle_set_share(app->throttle, processes);
}

static void check_durability(struct chores *chores)
{
    struct error error = {0};
    enum result result = health_check_durability(chores->app->readers, chores->arena, &error);
    chores->is_durable = result == RESULT_OK;
    if (result != RESULT_INVALID || chores->refused)
        return;
    log_error("the database is refused", LOG_TEXT("error", error.text));
    chores->refused = true;
    kill(getpid(), SIGTERM); /* main() waits for it */
}

static void keep_marks(struct chores *chores)
{
    struct error error = {0};
    bool more = true;
    while (more) {
        if (feed_keep_turn(chores->app->keep, chores->redis, chores->app->readers, chores->arena, &more,
                           &error) != RESULT_OK)
            log_debug("marks of feeds could not be kept", LOG_TEXT("error", error.text));
        arena_reset(chores->arena);
    }
}

static void turn(struct chores *chores)
{
    int64_t now_ms = clock_mono_ms();
    if (now_ms - chores->flush_ms >= METRICS_FLUSH_MS) {
        chores->flush_ms = now_ms;
        if (!chores->is_durable)
            check_durability(chores);
        flush_metrics(chores, false);
        arena_reset(chores->arena);
    }
    keep_marks(chores);
}

static void *run(void *context)
{
    struct chores *chores = context;
    pthread_mutex_lock(&chores->lock);
    while (!chores->stopping) {
        int64_t until_ms = clock_mono_ms() + FEED_KEEP_TURN_MS;
        struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
        pthread_cond_timedwait(&chores->stop, &chores->lock, &until);
        pthread_mutex_unlock(&chores->lock);
        turn(chores);
        pthread_mutex_lock(&chores->lock);
    }
    pthread_mutex_unlock(&chores->lock);
    return NULL;
}

static void chores_free(struct chores *chores)
{
    pthread_mutex_destroy(&chores->lock);
    pthread_cond_destroy(&chores->stop);
    redis_close(chores->redis);
    arena_destroy(chores->arena);
    free(chores);
}

enum result chores_start(struct app *app, bool is_durable, struct chores **out, struct error *error)
{
    struct chores *chores = calloc(1, sizeof *chores);
    if (chores == NULL)
        return error_set(error, RESULT_FAILED, "no memory to start");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&chores->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&chores->lock, NULL);
    chores->app = app;
    chores->is_durable = is_durable;
    chores->arena = arena_create(ARENA_BYTES);
    chores->redis = redis_open(app->config->redis);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    bool started = chores->arena != NULL && chores->redis != NULL &&
                   pthread_create(&chores->thread, &attributes, run, chores) == 0;
    pthread_attr_destroy(&attributes);
    if (!started) {
        chores_free(chores);
        return error_set(error, RESULT_FAILED, "could not start the thread of chores");
    }
    *out = chores;
    return RESULT_OK;
}

bool chores_stop(struct chores *chores)
{
    pthread_mutex_lock(&chores->lock);
    chores->stopping = true;
    pthread_cond_signal(&chores->stop);
    pthread_mutex_unlock(&chores->lock);
    pthread_join(chores->thread, NULL);
    flush_metrics(chores, true);
    bool refused = chores->refused;
    chores_free(chores);
    return refused;
}
