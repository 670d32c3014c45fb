/*
 * The loop of the worker: one thread, one epoll. The clock is read once a turn; no phase waits for anything
 * but the first, apart from connecting to a database or a Redis that was lost, which is bounded.
 */
#include "core/clock.h"
#include "core/log.h"
#include "domain/queue.h"
#include "worker/alert.h"
#include "worker/worker.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 256,
    IDLE_MS = 1000,
    COMPLAIN_MS = 30000,
    TIDY_MS = 30000,
    CONNECT_MS = 2000,
    LAST_MS = 3000, /* to settle what was cut off */
    LINK_BYTES_MAX = 64 << 20,
    METRICS_BYTES_MAX = 4 << 20
};

/* ---- watching ---- */

/* A descriptor that was closed has left the epoll by itself, and its number may be somebody else's by now: so
 * nothing is ever removed here. */
void worker_watch(struct worker *w, struct link *link)
{
    int fd = db_fd(link->db);
    bool fresh = fd != link->fd || db_generation(link->db) != link->generation;
    bool write = db_wants_write(link->db);
    if (fd >= 0 && (fresh || write != link->watches_write)) {
        struct epoll_event event = {.events = write ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = link};
        if (epoll_ctl(w->epoll_fd, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) != 0 && errno != EEXIST)
            log_error("could not watch a connection", LOG_INT("errno", errno));
    }
    link->fd = fd;
    link->generation = db_generation(link->db);
    link->watches_write = write;
}

void worker_complain(struct worker *w, struct link *link, const char *what, const char *reason)
{
    if (!reason) {
        link->complained_ms = 0;
        return;
    }
    if (link->complained_ms != 0 && w->now_ms - link->complained_ms < COMPLAIN_MS)
        return;
    link->complained_ms = w->now_ms;
    log_warning("could not ask the database", LOG_TEXT("what", what), LOG_TEXT("reason", reason));
}

static void watch_listener(struct worker *w)
{
    int fd = redis_listener_fd(w->listener);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w->listener};
    if (fd >= 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT)
        (void)epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void on_wake(void *context, struct str payload)
{
    struct worker *w = context;
    struct str channel;
    int tenant;
    if (queue_wake_parse(payload, &channel, &tenant))
        lanes_wake(w->lanes, channel, tenant, w->now_ms);
}

/* ---- phases ---- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool is_idle(const struct worker *w)
{
    return w->flows.flying_count == 0 && w->flows.waiting_count == 0 && w->flows.parked_count == 0 &&
           w->alone_count == 0 && settle_idle(w);
}

static int time_to_wait(const struct worker *w, int http_ms)
{
    int64_t wait = is_idle(w) && !w->stopping ? IDLE_MS : WORKER_TICK_MS;
    if (http_ms >= 0)
        wait = least(wait, http_ms);
    if (!w->first.busy && !w->stopping)
        wait = least(wait, errand_due_ms(w) - w->now_ms);
    if (!w->second.busy && w->done_count > 0) {
        int64_t due = TAILQ_FIRST(&w->done)->settle_ms + WORKER_SETTLE_WAIT_MS;
        wait = least(wait, (due > w->second.retry_ms ? due : w->second.retry_ms) - w->now_ms);
    }
    return wait > 0 ? (int)wait : 0;
}

static void begin_stop(struct worker *w)
{
    struct signalfd_siginfo info;
    while (read(w->signal_fd, &info, sizeof info) == sizeof info)
        if (!w->stopping) {
            log_info("stopping: what flies may land", LOG_INT("in_flight", w->flows.flying_count));
            w->stopping = true;
            w->stop_by_ms = w->now_ms + WORKER_STOP_MS;
            dispatch_return_all(w);
        }
}

static void take_events(struct worker *w, int wait_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(w->epoll_fd, events, EVENTS_MAX, wait_ms);
    w->now_ms = clock_mono_ms();
    for (int i = 0; i < count; i++) {
        void *who = events[i].data.ptr;
        if (who == &w->first)
            w->first.event = true;
        else if (who == &w->second)
            w->second.event = true;
        else if (who == w->listener)
            redis_listener_pump(w->listener, on_wake, w);
        else if (who == &w->signal_fd)
            begin_stop(w);
        else if (w->http)
            http_event(w->http, who, events[i].events);
    }
}

static void flush_metrics(struct worker *w)
{
    struct error error;
    struct arena *arena = arena_create(METRICS_BYTES_MAX);
    w->flush_ms = w->now_ms + METRICS_FLUSH_MS;
    metrics_gauge(w->metrics, METRIC_IN_FLIGHT, "", w->flows.flying_count);
    if (arena && metrics_flush(w->metrics, w->first.db, arena, NULL, &error) != RESULT_OK)
        log_debug("could not store metrics",
                  LOG_TEXT("reason", error.text)); /* they wait for the next time */
    arena_destroy(arena);
    worker_watch(w, &w->first);
}

/* What is looked at ten times a second only. */
static void tick(struct worker *w)
{
    if (w->now_ms < w->tick_ms)
        return;
    w->tick_ms = w->now_ms + WORKER_TICK_MS;
    w->first.event = w->second.event = true;
    dispatch_tick(w);
    if (!redis_listener_ready(w->listener))
        redis_listener_pump(w->listener, on_wake, w);
    watch_listener(w);
    if (w->now_ms >= w->flush_ms && !w->first.busy && !w->stopping)
        flush_metrics(w);
    if (w->now_ms >= w->tidy_ms) {
        w->tidy_ms = w->now_ms + TIDY_MS;
        flows_tidy(&w->flows, w->now_ms);
    }
    if (w->stopping && w->now_ms >= w->stop_by_ms && !w->gave_up) {
        log_warning("cutting off what still flies", LOG_INT("in_flight", w->flows.flying_count));
        w->gave_up = true;
        http_destroy(w->http);
        w->http = NULL;
    }
}

static bool is_finished(const struct worker *w)
{
    if (!w->stopping)
        return false;
    return w->left || (w->id == 0 && w->flows.flying_count == 0 && settle_idle(w)) ||
           w->now_ms >= w->stop_by_ms + LAST_MS;
}

void worker_run(struct worker *w)
{
    int http_ms = 0;
    log_info("worker started", LOG_INT("pid", getpid()));
    while (!is_finished(w)) {
        int done = w->done_count;
        take_events(w, time_to_wait(w, http_ms));
        tick(w);
        errand_turn(w);
        dispatch_turn(w);
        errand_turn(w); /* there may be room for more */
        settle_turn(w);
        http_ms = w->http ? http_turn(w->http) : -1;
        if (w->done_count != done)
            http_ms = 0; /* what ended makes room */
    }
    log_info("worker stopped");
}

/* ---- opening ---- */

static bool open_links(struct worker *w)
{
    const struct db_settings settings = {.conninfo = w->config->db,
                                         .application = "belfry-worker",
                                         .prepare = w->config->db_prepare,
                                         .connect_timeout_ms = CONNECT_MS};
    struct link *links[] = {&w->first, &w->second};
    for (int i = 0; i < 2; i++) {
        links[i]->fd = -1;
        links[i]->db = db_open(&settings);
        links[i]->arena = arena_create(LINK_BYTES_MAX);
        if (!links[i]->db || !links[i]->arena)
            return false;
    }
    return true;
}

static bool open_signals(struct worker *w)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &w->signal_fd};
    w->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    return w->signal_fd >= 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->signal_fd, &event) == 0;
}

static enum result open_http(struct worker *w, struct error *error)
{
    char name[256] = "localhost";
    (void)!gethostname(name, sizeof name - 1);
    const struct http_settings settings = {.epoll_fd = w->epoll_fd,
                                           .in_flight_max = w->config->in_flight_max,
                                           .private_addresses = w->config->private_addresses,
                                           .ca_file = w->config->ca_file[0] ? w->config->ca_file : NULL,
                                           .smtp_name = name};
    return http_create(&settings, &w->http, error);
}

static void init_lists(struct worker *w)
{
    struct job_list *lists[] = {&w->alone,    &w->starting, &w->starting_now, &w->done,
                                &w->settling, &w->late,     &w->late_now};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        TAILQ_INIT(lists[i]);
    flows_init(&w->flows, w->config->in_flight_max);
}

enum result worker_open(struct worker *w, const struct config *config, struct error *error)
{
    *w = (struct worker){.config = config,
                         .policy = {config->attempts_max, config->retry_base_ms, config->retry_cap_ms},
                         .settle_most = WORKER_SETTLE_MAX,
                         .now_ms = clock_mono_ms(),
                         .epoll_fd = epoll_create1(EPOLL_CLOEXEC),
                         .signal_fd = -1};
    init_lists(w);
    enum result code = keyring_load(config->keys_file, &w->ring, error);
    if (code != RESULT_OK)
        return code;
    w->accounts = accounts_create(w->ring);
    w->lanes = lanes_create(config->channels);
    w->alerts = alerts_create();
    w->metrics = metrics_create("worker");
    w->listener = redis_listen(config->redis, QUEUE_WAKE_CHANNEL);
    if (!w->accounts || !w->lanes || !w->alerts || !w->metrics || !w->listener || !open_links(w) ||
        w->epoll_fd < 0 || !open_signals(w))
        return error_set(error, RESULT_FAILED, "could not start: no memory or descriptors");
    return open_http(w, error);
}

static void leave_metrics(struct worker *w)
{
    struct error error;
    struct arena *arena = arena_create(METRICS_BYTES_MAX);
    if (arena && w->first.db && metrics_leave(w->metrics, w->first.db, arena, &error) != RESULT_OK)
        log_debug("could not store the last metrics", LOG_TEXT("reason", error.text));
    arena_destroy(arena);
}

static void release_jobs(struct job_list *jobs)
{
    struct job *job;
    while ((job = TAILQ_FIRST(jobs))) {
        TAILQ_REMOVE(jobs, job, link);
        job_release(job);
    }
}

void worker_close(struct worker *w)
{
    if (w->http)
        http_destroy(w->http); /* what it cuts off comes to w->done, and stays leased */
    dispatch_drop_all(w);
    release_jobs(&w->done);
    release_jobs(&w->settling);
    release_jobs(&w->starting_now);
    release_jobs(&w->late);
    release_jobs(&w->late_now);
    if (w->metrics)
        leave_metrics(w);
    struct link *links[] = {&w->first, &w->second};
    for (int i = 0; i < 2; i++) {
        if (links[i]->db)
            db_close(links[i]->db);
        arena_destroy(links[i]->arena);
    }
    if (w->listener)
        redis_listener_close(w->listener);
    flows_free(&w->flows);
    accounts_destroy(w->accounts);
    lanes_destroy(w->lanes);
    alerts_destroy(w->alerts);
    metrics_destroy(w->metrics);
    keyring_free(w->ring);
    if (w->signal_fd >= 0)
        close(w->signal_fd);
    if (w->epoll_fd >= 0)
        close(w->epoll_fd);
}
