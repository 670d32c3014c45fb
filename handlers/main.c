/*
 * belfry-api: from settings to a running process and back. Which front end it is follows from how it was
 * started: BELFRY_LISTEN or a listening socket as descriptor 0 is FastCGI, GATEWAY_INTERFACE in the
 * environment is CGI.
 *
 * The main thread waits for signals, and every few seconds does what has no thread of its own: metrics, and
 * the check that the database keeps what it commits, if that could not be made at the start.
 */
#include "core/arena.h"
#include "core/clock.h"
#include "core/config.h"
#include "core/limits.h"
#include "core/log.h"
#include "domain/auth.h"
#include "domain/feed.h"
#include "domain/feed_keep.h"
#include "domain/metrics.h"
#include "domain/throttle.h"
#include "handlers/app.h"
#include "handlers/cgi.h"
#include "handlers/chores.h"
#include "handlers/fastcgi.h"
#include "handlers/health.h"
#include "handlers/park.h"
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum { MALLOC_ARENAS = 2, MALLOC_TRIM_BYTES = 128 << 10, ARENA_BYTES = 8 << 20, CONNECT_MS = 3000 };

/* Everything that lives as long as the process. */
struct process {
    struct config config;
    struct app app;
    struct redis *park_redis; /* of the reader thread */
    struct arena *arena;      /* for what is done once, at the start */
    bool is_cgi, is_durable;
};

/* ---- reading for the park: on its own connection ---- */

static enum result read_feeds(void *context, const struct feed_want *wants, int count, struct arena *arena,
                              struct feed_delta *deltas, struct error *error)
{
    struct process *process = context;
    return feed_read(process->park_redis, process->app.readers, wants, count, arena, deltas, error);
}

static enum result read_revs(void *context, const struct feed_want *wants, int count, struct arena *arena,
                             struct feed_place *places, struct error *error)
{
    struct process *process = context;
    return feed_revs(process->app.readers, wants, count, arena, places, error);
}

static bool still_valid(void *context, struct auth_identity *identity)
{
    struct process *process = context;
    return auth_still_valid(process->app.auth, identity);
}

/* ---- start ---- */

/* Glibc would give each thread an arena of its own, and keep what was freed. */
static void keep_memory_small(void)
{
    mallopt(M_ARENA_MAX, MALLOC_ARENAS);
    mallopt(M_TRIM_THRESHOLD, MALLOC_TRIM_BYTES);
    mallopt(M_MMAP_THRESHOLD, MALLOC_TRIM_BYTES);
}

/* A waiting request is a descriptor. */
static void raise_descriptor_limit(int waiters_max)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)waiters_max + 1024;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        log_warning("the limit of open files is below BELFRY_WAITERS_MAX", LOG_INT("limit", limit.rlim_cur));
}

static bool started_as_cgi(const struct config *config)
{
    struct sockaddr_storage peer;
    socklen_t bytes = sizeof peer;
    bool has_listener =
        config->listen[0] != '\0' ||
        (getpeername(STDIN_FILENO, (struct sockaddr *)&peer, &bytes) != 0 && errno == ENOTCONN);
    return !has_listener;
}

static enum result open_app(struct process *process, struct error *error)
{
    const struct config *config = &process->config;
    struct app *app = &process->app;
    struct db_settings settings = {.conninfo = config->db,
                                   .application = "belfry-api",
                                   .prepare = config->db_prepare,
                                   .connect_timeout_ms = CONNECT_MS};
    int writers = process->is_cgi ? 1 : config->db_connections / 2,
        readers = config->db_connections - writers;
    app->config = config;
    if (config->keys_file[0] == '\0')
        return error_set(error, RESULT_INVALID,
                         "BELFRY_KEYS_FILE is not set: it names the file with the keys");
    enum result result = keyring_load(config->keys_file, &app->ring, error);
    if (result != RESULT_OK)
        return RESULT_INVALID;
    app->readers = db_pool_create(&settings, readers > 0 ? readers : 1);
    app->writers = db_pool_create(&settings, writers > 0 ? writers : 1);
    app->throttle = throttle_create(process->is_cgi);
    app->metrics = process->is_cgi ? NULL : metrics_create("api");
    app->keep = process->is_cgi ? NULL : feed_keep_create();
    process->arena = arena_create(ARENA_BYTES);
    if (app->readers == NULL || app->writers == NULL || app->throttle == NULL || process->arena == NULL ||
        (app->keep == NULL && !process->is_cgi))
        return error_set(error, RESULT_FAILED, "no memory to start");
    app->auth = auth_create(app->readers, app->ring);
    return app->auth != NULL ? RESULT_OK : error_set(error, RESULT_FAILED, "no memory to start");
}

/* The database may be away: then this is asked again later. RESULT_INVALID ends the process. */
static enum result check_durability(struct process *process, struct error *error)
{
    enum result result = health_check_durability(process->app.readers, process->arena, error);
    arena_reset(process->arena);
    process->is_durable = result == RESULT_OK;
    return result;
}

static enum result open_park(struct process *process, struct error *error)
{
    process->park_redis = redis_open(process->config.redis);
    if (process->park_redis == NULL)
        return error_set(error, RESULT_FAILED, "no memory to start");
    struct park_settings settings = {
        .waiters_max = process->config.waiters_max,
        .redis_address = process->config.redis,
        .metrics = process->app.metrics,
        .reader = {process, read_feeds, read_revs, still_valid},
    };
    return park_create(&settings, &process->app.park, error);
}

static void close_app(struct process *process)
{
    park_destroy(process->app.park);
    redis_close(process->park_redis);
    auth_destroy(process->app.auth);
    metrics_destroy(process->app.metrics);
    throttle_destroy(process->app.throttle);
    feed_keep_destroy(process->app.keep);
    db_pool_destroy(process->app.readers);
    db_pool_destroy(process->app.writers);
    keyring_free(process->app.ring);
    arena_destroy(process->arena);
    config_free(&process->config);
}

/* ---- running ---- */

static int run_fastcgi(struct process *process)
{
    struct error error = {0};
    struct fastcgi *front;
    struct chores *chores = NULL;
    sigset_t signals;
    int received;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread starts */
    raise_descriptor_limit(process->config.waiters_max);
    enum result result = open_park(process, &error);
    if (result == RESULT_OK && (result = fastcgi_start(&process->app, &front, &error)) != RESULT_OK)
        park_stop(process->app.park);
    if (result == RESULT_OK &&
        (result = chores_start(&process->app, process->is_durable, &chores, &error)) != RESULT_OK) {
        park_stop(process->app.park);
        fastcgi_stop(front);
    }
    if (result != RESULT_OK) {
        log_error("could not start", LOG_TEXT("error", error.text));
        return EX_OSERR;
    }
    log_info("ready", LOG_INT("threads", process->config.threads),
             LOG_INT("waiters_max", process->config.waiters_max));
    sigwait(&signals, &received);
    log_info("stopping", LOG_INT("parked", park_count(process->app.park, PARK_POLL)));
    fastcgi_quit(front);
    park_stop(process->app.park);
    fastcgi_stop(front);
    return chores_stop(chores) ? EX_CONFIG : EX_OK;
}

static int run(struct process *process, char **environment)
{
    struct error error = {0};
    process->is_cgi = started_as_cgi(&process->config);
    enum result result = open_app(process, &error);
    if (result == RESULT_OK && !process->is_cgi)
        result = check_durability(process, &error);
    if (result == RESULT_OFFLINE || result == RESULT_BUSY) {
        log_warning("starting without the database", LOG_TEXT("error", error.text));
        result = RESULT_OK;
    }
    if (result != RESULT_OK) {
        log_error("could not start", LOG_TEXT("error", error.text));
        return result == RESULT_INVALID ? EX_CONFIG : EX_OSERR;
    }
    return process->is_cgi ? cgi_serve(&process->app, environment) : run_fastcgi(process);
}

static void print_help(void)
{
    puts("belfry-api answers the HTTP interface of Belfry, as FastCGI or CGI.\n\n"
         "  belfry-api             FastCGI on BELFRY_LISTEN or on the socket inherited as descriptor 0;\n"
         "                         CGI if a web server starts it for one request\n"
         "  belfry-api --help      this text\n"
         "  belfry-api --version\n\n"
         "Settings (environment):\n");
    config_print(stdout, CONFIG_API);
}

int main(int argc, char **argv, char **environment)
{
    if (argc > 1) {
        bool is_version = strcmp(argv[1], "--version") == 0, is_help = strcmp(argv[1], "--help") == 0;
        if (is_version)
            puts("belfry-api " BELFRY_VERSION);
        else if (is_help)
            print_help();
        else
            fprintf(stderr, "belfry-api takes --help or --version; settings come from the environment.\n");
        return is_version || is_help ? EX_OK : EX_USAGE;
    }
    keep_memory_small();
    struct process process = {0};
    struct error error = {0};
    if (config_load(&process.config, CONFIG_API, &error) != RESULT_OK) {
        fprintf(stderr, "belfry-api: %s\n", error.text);
        return EX_CONFIG;
    }
    log_open("belfry-api", (enum log_level)process.config.log_level);
    int status = run(&process, environment);
    close_app(&process);
    return status;
}
