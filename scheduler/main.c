/*
 * belfry-scheduler: what happens because time has passed.
 *
 * One thread, one database connection, one loop: look what is to be done, do a slice of each duty that nobody
 * else holds (duty.h), wait. Any number of schedulers may run. Killed at any moment, nothing is lost: what
 * was not committed is done by whoever takes the duty when its lease has run out; after SIGTERM leases are
 * given back and others go on at once.
 */
#include "core/clock.h"
#include "core/log.h"
#include "queries.h"
#include "scheduler/duty.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    TURN_MS = 100,    /* between two looks: half of what belfry.send() promises, and room for the work */
    TURN_SHARE = 10,  /* a look that takes long is repeated less often: at most a tenth of the time */
    OFFLINE_MS = 250, /* while the database is away */
    CONNECT_MS = 3000,
    COMPLAIN_MS = 60000, /* the same trouble is logged once in this time */
    SCHEDULER_ARENA_BYTES_MAX = 64 << 20
};

static volatile bool stopping;

static void on_signal(int number)
{
    (void)number;
    stopping = true;
}

/* The signals are blocked but while waiting, so that none arrives between a look at `stopping` and the wait.
 */
static void catch_signals(sigset_t *waiting)
{
    struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, waiting);
    sigdelset(waiting, SIGTERM);
    sigdelset(waiting, SIGINT);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

static void wait_ms(int64_t ms, const sigset_t *waiting)
{
    struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)ppoll(NULL, 0, &time, waiting);
}

/* ---- the loop ---- */

struct loop {
    struct scheduler *scheduler;
    int status;   /* the exit code */
    bool entered; /* the rows of the duties are there */
    bool offline;
    int64_t complained_ms;
    int64_t flushed_ms;
};

static void complain(struct loop *l, const struct error *error, int64_t now_ms)
{
    if (l->complained_ms == 0 || now_ms - l->complained_ms > COMPLAIN_MS) {
        log_error("scheduler cannot work", LOG_TEXT("reason", error->text));
        l->complained_ms = now_ms;
    }
    l->offline = true;
}

static void flush_metrics(struct loop *l, int64_t now_ms)
{
    struct scheduler *s = l->scheduler;
    struct error ignored;
    if (now_ms - l->flushed_ms < METRICS_FLUSH_MS)
        return;
    l->flushed_ms = now_ms;
    arena_reset(s->arena);
    (void)!metrics_flush(s->metrics, s->db, s->arena, NULL, &ignored); /* kept for the next time */
}

/* Before the first turn: a database that forgets what it has committed is refused, as every program does. */
static enum result enter(struct loop *l, struct error *error)
{
    struct scheduler *s = l->scheduler;
    struct db_result *rows;
    enum result code =
        db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_health_durability, NULL, s->arena, &rows, error);
    if (code != RESULT_OK)
        return code;
    if (!db_bool(rows, 0, 0) || !db_bool(rows, 0, 1)) {
        log_error("cannot start: the database runs with fsync or synchronous_commit off");
        l->status = EX_CONFIG;
        stopping = true;
        return RESULT_OK;
    }
    code = duty_enter(s, error);
    l->entered = code == RESULT_OK;
    return code;
}

/* One turn; how long to wait before the next. */
static int64_t turn(struct loop *l)
{
    struct scheduler *s = l->scheduler;
    struct error error = {0};
    bool busy = false;
    int64_t began_ms = clock_mono_ms();
    enum result code = RESULT_OK;
    arena_reset(s->arena);
    if (!l->entered)
        code = enter(l, &error);
    if (code == RESULT_OK && !stopping)
        code = duty_turn(s, &stopping, &busy, &error);
    if (code != RESULT_OK) {
        complain(l, &error, began_ms);
        return OFFLINE_MS;
    }
    if (l->offline)
        log_info("scheduler works again");
    l->offline = false;
    l->complained_ms = 0;
    flush_metrics(l, began_ms);
    int64_t took_ms = clock_mono_ms() - began_ms;
    if (busy)
        return 0;
    return took_ms * TURN_SHARE > TURN_MS
               ? (took_ms < TURN_MS ? took_ms * TURN_SHARE / 2 : TURN_MS * TURN_SHARE / 2)
               : TURN_MS;
}

static int loop(struct scheduler *s, const sigset_t *waiting)
{
    struct loop l = {.scheduler = s};
    log_info("scheduler started", LOG_INT("pid", getpid()));
    while (!stopping) {
        int64_t rest_ms = turn(&l);
        if (rest_ms > 0 && !stopping)
            wait_ms(rest_ms, waiting);
        else if (rest_ms == 0)
            wait_ms(0, waiting); /* lets a signal in */
    }
    struct error ignored;
    arena_reset(s->arena);
    (void)!metrics_leave(s->metrics, s->db, s->arena, &ignored);
    log_info("scheduler stopped");
    return l.status;
}

/* ---- start ---- */

static void print_help(void)
{
    fputs(
        "Usage: belfry-scheduler [--help] [--version]\n\n"
        "Does what is due: scheduled and expired notifications, sends made through SQL, retries, leases of\n"
        "workers that are gone, partitions and retention. Any number of them share the work.\n"
        "SIGTERM and SIGINT end it cleanly. Settings come from the environment:\n\n",
        stdout);
    config_print(stdout, CONFIG_SCHEDULER);
}

static int start(const struct config *config)
{
    sigset_t waiting;
    char host[32] = "";
    const struct db_settings settings = {.conninfo = config->db,
                                         .application = "belfry-scheduler",
                                         .prepare = config->db_prepare,
                                         .connect_timeout_ms = CONNECT_MS};
    struct scheduler s = {.config = config,
                          .db = db_open(&settings),
                          .redis = redis_open(config->redis),
                          .metrics = metrics_create("scheduler"),
                          .arena = arena_create(SCHEDULER_ARENA_BYTES_MAX)};
    int status = EX_SOFTWARE;
    catch_signals(&waiting);
    gethostname(host, sizeof host - 1);
    snprintf(s.holder, sizeof s.holder, "%s:%d:%08x", host, (int)getpid(), clock_jitter(UINT32_MAX));
    if (s.db && s.redis && s.metrics && s.arena) {
        status = loop(&s, &waiting);
    } else {
        log_error("could not start: no memory");
    }
    db_close(s.db);
    redis_close(s.redis);
    metrics_destroy(s.metrics);
    arena_destroy(s.arena);
    return status;
}

int main(int argc, char **argv)
{
    struct config config;
    struct error error;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help();
        return EX_OK;
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("belfry-scheduler " BELFRY_VERSION);
        return EX_OK;
    }
    if (argc > 1) {
        fprintf(stderr, "belfry-scheduler: unexpected argument \"%.60s\"; see --help\n", argv[1]);
        return EX_USAGE;
    }
    log_open("scheduler", LOG_INFO);
    if (config_load(&config, CONFIG_SCHEDULER, &error) != RESULT_OK) {
        log_error("settings are wrong", LOG_TEXT("reason", error.text));
        return EX_CONFIG;
    }
    log_open("scheduler", (enum log_level)config.log_level);
    int status = start(&config);
    config_free(&config);
    return status;
}
