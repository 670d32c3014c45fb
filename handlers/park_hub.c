/*
 * The hub: one thread that waits for everything that can end a wait but the reading of a feed. A turn is:
 * what the descriptors said, wakes, then what is due on the wheel. It never blocks: what would need Redis or
 * PostgreSQL is queued for the reader.
 */
#include "core/clock.h"
#include "core/log.h"
#include "handlers/park_private.h"
#include "io/redis.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_A_TURN = 256,
    LISTENER_PUMP_MS = 1000,
    STOP_PAUSE_MS = 25, /* between slices of the last answers: their clients come back at once */
    STOP_LIMIT_MS = 3000
};
/* What an epoll event is about; anything else is a descriptor. */
static const uint64_t BELL = UINT64_MAX, LISTENER = UINT64_MAX - 1;

struct hub {
    struct park *park;
    struct park_writer writer;
    struct redis_listener *listener;
    int listener_fd; /* as epoll knows it; -1: not */
    int64_t pump_ms;
};

/* ---- wakes ---- */

static void on_wake(void *context, struct str payload)
{
    struct feed_wake wake;
    if (feed_wake_parse(payload, &wake))
        park_wake(context, &wake);
}

/* The listener makes a new descriptor with each connection. */
static void watch_listener(struct hub *hub)
{
    int fd = redis_listener_fd(hub->listener);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = LISTENER};
    if (fd >= 0 && epoll_ctl(hub->park->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 && errno != EEXIST)
        log_warning("could not watch the connection for wakes", LOG_INT("errno", errno));
    hub->listener_fd = fd;
}

static void pump_listener(struct hub *hub, int64_t now_ms)
{
    if (hub->listener == NULL)
        return;
    redis_listener_pump(hub->listener, on_wake, hub->park);
    hub->pump_ms = now_ms + LISTENER_PUMP_MS;
    watch_listener(hub);
}

/* ---- descriptors ---- */

/* A list of taken waiters, linked by timer_next. */
static void end_all(struct hub *hub, struct waiter *taken, enum park_end end)
{
    for (struct waiter *next; taken != NULL; taken = next) {
        next = taken->timer_next;
        park_answer(&hub->writer, taken, end, -1, NULL);
    }
}

static void drop(struct park *park, struct waiter *waiter)
{
    park_take(park, waiter);
    fastcgi_close(waiter->fd);
    waiter_free(waiter);
}

/* More of an answer that did not fit. With the lock held: the write does not wait. */
static void send_unsent(struct park *park, struct waiter *waiter)
{
    struct str rest = {waiter->unsent + waiter->unsent_done, waiter->unsent_bytes - waiter->unsent_done};
    long sent = fastcgi_write_some(waiter->fd, rest);
    if (sent < 0 || (size_t)sent == rest.bytes) {
        drop(park, waiter);
        return;
    }
    waiter->unsent_done += (size_t)sent;
}

/* The event may be old and the descriptor's number used anew: ask the socket itself. What the web server may
 * have written before (an ABORT_REQUEST) is read by nobody, and must not hide the end. */
static bool has_hung_up(int fd)
{
    struct pollfd now = {.fd = fd, .events = POLLRDHUP};
    return poll(&now, 1, 0) == 1 && (now.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

static void on_descriptor(struct hub *hub, int fd, uint32_t events)
{
    struct park *park = hub->park;
    pthread_mutex_lock(&park->lock);
    struct waiter *waiter = fd < park->by_fd_count ? park->by_fd[fd] : NULL, *gone = NULL;
    if (waiter != NULL && waiter->state == WAITER_UNSENT && (events & EPOLLOUT)) {
        send_unsent(park, waiter);
    } else if (waiter != NULL && waiter->state == WAITER_PARKED && has_hung_up(fd)) {
        park_take(park, waiter);
        gone = waiter;
    }
    pthread_mutex_unlock(&park->lock);
    if (gone != NULL)
        park_answer(&hub->writer, gone, END_GONE, -1, NULL);
}

/* ---- the wheel ---- */

/* What is due in one slot: polls and dead streams go to *taken, streams due for a heartbeat get it and a new
 * time. */
static int scan_slot(struct park *park, struct waiter *slot, int64_t now_ms, struct waiter **taken)
{
    int count = 0;
    for (struct waiter *waiter = slot, *next; waiter != NULL && count < PARK_SLICE; waiter = next) {
        next = waiter->timer_next;
        if (waiter->due_ms > now_ms)
            continue;
        count++;
        if (waiter->state == WAITER_UNSENT) {
            drop(park, waiter);
        } else if (waiter->deadline_ms > now_ms && park_stream_beat(waiter)) {
            int64_t beat_ms = now_ms + PARK_BEAT_MS;
            park_timer_set(park, waiter, beat_ms < waiter->deadline_ms ? beat_ms : waiter->deadline_ms);
        } else {
            park_take(park, waiter);
            waiter->timer_next = *taken;
            *taken = waiter;
        }
    }
    return count;
}

/* Returns false when there was more than one slice: the turn comes back soon. */
static bool advance_wheel(struct hub *hub, int64_t now_ms)
{
    struct park *park = hub->park;
    struct waiter *taken = NULL;
    int count = 0;
    pthread_mutex_lock(&park->lock);
    while (park->wheel_ms + WHEEL_TICK_MS <= now_ms && count < PARK_SLICE) {
        int64_t tick_ms = park->wheel_ms + WHEEL_TICK_MS;
        count += scan_slot(park, park->wheel[park->wheel_ms / WHEEL_TICK_MS % WHEEL_SLOTS], tick_ms, &taken);
        if (count < PARK_SLICE)
            park->wheel_ms = tick_ms;
    }
    pthread_mutex_unlock(&park->lock);
    end_all(hub, taken, END_DEADLINE);
    return count < PARK_SLICE;
}

/* ---- the end ---- */

/* Takes up to a slice of parked waiters. *left: some are still being written to. */
static struct waiter *take_slice(struct park *park, bool *left)
{
    struct waiter *taken = NULL;
    int count = 0;
    *left = false;
    pthread_mutex_lock(&park->lock);
    for (int fd = 0; fd < park->by_fd_count; fd++) {
        struct waiter *waiter = park->by_fd[fd];
        if (waiter == NULL)
            continue;
        if (waiter->state != WAITER_PARKED || count == PARK_SLICE) {
            *left = true;
            continue;
        }
        park_take(park, waiter);
        waiter->timer_next = taken;
        taken = waiter;
        count++;
    }
    pthread_mutex_unlock(&park->lock);
    return taken;
}

static void drop_rest(struct park *park)
{
    pthread_mutex_lock(&park->lock);
    for (int fd = 0; fd < park->by_fd_count; fd++)
        if (park->by_fd[fd] != NULL && park->by_fd[fd]->state != WAITER_BUSY)
            drop(park, park->by_fd[fd]);
    pthread_mutex_unlock(&park->lock);
}

static int take_events(struct hub *hub, int wait_ms);

static void end_everything(struct hub *hub)
{
    int64_t limit_ms = clock_mono_ms() + STOP_LIMIT_MS;
    bool left = true;
    while (left && clock_mono_ms() < limit_ms) {
        end_all(hub, take_slice(hub->park, &left), END_STOPPED);
        if (left)
            take_events(hub, STOP_PAUSE_MS);
    }
    drop_rest(hub->park);
}

/* ---- turns ---- */

static int take_events(struct hub *hub, int wait_ms)
{
    struct epoll_event events[EVENTS_A_TURN];
    int count = epoll_wait(hub->park->epoll_fd, events, EVENTS_A_TURN, wait_ms);
    int64_t now_ms = clock_mono_ms();
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == BELL) {
            eventfd_t rung;
            (void)eventfd_read(hub->park->bell_fd, &rung);
        } else if (events[i].data.u64 == LISTENER) {
            pump_listener(hub, now_ms);
        } else {
            on_descriptor(hub, (int)events[i].data.u64, events[i].events);
        }
    }
    return count;
}

static bool is_stopping(struct park *park)
{
    pthread_mutex_lock(&park->lock);
    bool stopping = park->stopping;
    pthread_mutex_unlock(&park->lock);
    return stopping;
}

static void hub_open(struct hub *hub, struct park *park)
{
    *hub = (struct hub){.park = park, .listener_fd = -1};
    park_writer_open(&hub->writer, park);
    struct epoll_event bell = {.events = EPOLLIN, .data.u64 = BELL};
    epoll_ctl(park->epoll_fd, EPOLL_CTL_ADD, park->bell_fd, &bell);
    if (park->settings.redis_address != NULL && park->settings.redis_address[0] != '\0')
        hub->listener = redis_listen(park->settings.redis_address, FEED_WAKE_CHANNEL);
}

void *park_hub_run(void *context)
{
    struct hub hub;
    hub_open(&hub, context);
    pump_listener(&hub, clock_mono_ms());
    bool caught_up = true;
    while (!is_stopping(hub.park)) {
        /* With nobody waiting there are no ticks: an idle process sleeps. The first to park rings the bell.
         */
        bool anybody = hub.park->node_count > 0;
        take_events(&hub, !caught_up ? 0 : anybody ? WHEEL_TICK_MS : LISTENER_PUMP_MS);
        int64_t now_ms = clock_mono_ms();
        if (now_ms >= hub.pump_ms)
            pump_listener(&hub, now_ms);
        caught_up = advance_wheel(&hub, now_ms);
    }
    end_everything(&hub);
    if (hub.listener != NULL)
        redis_listener_close(hub.listener);
    park_writer_close(&hub.writer);
    return NULL;
}
