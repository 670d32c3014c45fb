/*
 * What request threads do with the table of waiters: register, commit, cancel; and its life. A waiter hangs
 * on its user's node and on one node for each of its feeds, is one block of memory allocated to size, and
 * belongs to whoever took it out of the table.
 */
#include "handlers/park.h"
#include "core/clock.h"
#include "core/limits.h"
#include "handlers/park_private.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { NODE_BUCKETS_FIRST = 64, THREAD_STACK_BYTES = 256 << 10, JITTER_PART = 10 };

void park_wake(struct park *park, const struct feed_wake *wake)
{
    pthread_mutex_lock(&park->lock);
    struct park_node *node = park_node_find(park, wake->tenant, wake->key);
    if (node != NULL)
        park_node_wake(park, node, wake->place, clock_now_us());
    pthread_mutex_unlock(&park->lock);
}

/* ---- waiters ---- */

struct str waiter_client(const struct waiter *waiter)
{
    return (struct str){waiter->text, waiter->client_bytes};
}

struct str waiter_headers(const struct waiter *waiter)
{
    return (struct str){waiter->text + waiter->client_bytes, waiter->headers_bytes};
}

const char *waiter_user(const struct waiter *waiter)
{
    return waiter->user.node->key + 1;
}

void waiter_identity(const struct waiter *waiter, struct auth_identity *identity)
{
    *identity = (struct auth_identity){.kind = AUTH_USER,
                                       .tenant = waiter->user.node->tenant,
                                       .expires_us = waiter->expires_us,
                                       .checked_us = waiter->checked_us,
                                       .issued_us = waiter->issued_us,
                                       .issuer = waiter->issuer};
    snprintf(identity->user, sizeof identity->user, "%s", waiter_user(waiter));
    memcpy(identity->token_digest, waiter->token_digest, sizeof identity->token_digest);
}

void waiter_free(struct waiter *waiter)
{
    free(waiter->unsent);
    free(waiter);
}

void park_take(struct park *park, struct waiter *waiter)
{
    park_timer_clear(waiter);
    if (waiter->fd >= 0 && waiter->fd < park->by_fd_count && park->by_fd[waiter->fd] == waiter)
        park->by_fd[waiter->fd] = NULL;
    for (int i = 0; i < waiter->feed_count; i++)
        park_link_remove(park, &waiter->feeds[i]);
    if (waiter->user.node != NULL)
        park->counts[waiter->kind]--;
    park_link_remove(park, &waiter->user);
    waiter->state = WAITER_TAKEN;
}

static struct waiter *waiter_make(const struct park_wait *wait)
{
    size_t feeds_bytes = (size_t)wait->feed_count * sizeof(struct park_link);
    struct waiter *waiter =
        calloc(1, sizeof *waiter + feeds_bytes + wait->client.bytes + wait->headers.bytes);
    if (waiter == NULL)
        return NULL;
    waiter->fd = -1;
    waiter->kind = (unsigned char)wait->kind;
    waiter->feed_count = (unsigned char)wait->feed_count;
    waiter->expires_us = wait->identity->expires_us;
    waiter->checked_us = wait->identity->checked_us;
    waiter->issued_us = wait->identity->issued_us;
    waiter->issuer = wait->identity->issuer;
    memcpy(waiter->token_digest, wait->identity->token_digest, sizeof waiter->token_digest);
    waiter->feeds = (struct park_link *)(waiter + 1);
    waiter->text = (char *)waiter->feeds + feeds_bytes;
    waiter->client_bytes = (unsigned short)wait->client.bytes;
    waiter->headers_bytes = (unsigned short)wait->headers.bytes;
    if (wait->client.bytes > 0)
        memcpy(waiter->text, wait->client.data, wait->client.bytes);
    if (wait->headers.bytes > 0)
        memcpy(waiter->text + wait->client.bytes, wait->headers.data, wait->headers.bytes);
    return waiter;
}

static bool waiter_hang(struct park *park, struct waiter *waiter, const struct park_wait *wait,
                        struct str user_key)
{
    struct park_node *node = park_node_make(park, wait->identity->tenant, user_key);
    if (node == NULL)
        return false;
    park_link_add(&waiter->user, node, waiter);
    park->counts[waiter->kind]++;
    for (int i = 0; i < wait->feed_count; i++) {
        node = park_node_make(park, wait->identity->tenant, wait->feeds[i].key);
        if (node == NULL)
            return false;
        waiter->feeds[i].name = wait->feeds[i].name;
        waiter->feeds[i].place = wait->feeds[i].place;
        park_link_add(&waiter->feeds[i], node, waiter);
    }
    return true;
}

/* The waiter that has to go because a newer one came: the same client's poll, or the oldest stream of a user
 * who has too many. Links are newest first. */
static struct waiter *find_superseded(struct park_node *user, const struct park_wait *wait)
{
    struct waiter *found = NULL;
    for (struct park_link *link = user != NULL ? user->links : NULL; link != NULL; link = link->next) {
        struct waiter *waiter = link->waiter;
        if (waiter->kind != wait->kind || waiter->superseded)
            continue;
        if (wait->kind == PARK_POLL && wait->client.bytes > 0 &&
            str_equal(waiter_client(waiter), wait->client))
            return waiter;
        if (wait->kind == PARK_STREAM && user->count >= LIMIT_WAITERS_PER_USER &&
            waiter->state == WAITER_PARKED)
            found = waiter;
    }
    return found;
}

/* With the lock held. *superseded: a waiter that was taken because of this one, to be answered by the caller.
 */
static enum park_register admit(struct park *park, struct waiter *waiter, const struct park_wait *wait,
                                struct str user_key, struct waiter **superseded)
{
    struct park_node *user = park_node_find(park, wait->identity->tenant, user_key);
    struct waiter *older = find_superseded(user, wait);
    int user_count = user != NULL ? user->count : 0;
    if (older != NULL) {
        user_count--;
        older->superseded = true; /* its own thread or the reader may be about to answer it */
        if (older->state == WAITER_PARKED) {
            park_take(park, older);
            *superseded = older;
        }
    }
    if (park->stopping)
        return PARK_STOPPING;
    if (park->counts[PARK_POLL] + park->counts[PARK_STREAM] >= park->settings.waiters_max)
        return PARK_FULL;
    if (user_count >= LIMIT_WAITERS_PER_USER)
        return PARK_USER_FULL;
    return waiter_hang(park, waiter, wait, user_key) ? PARK_REGISTERED : PARK_STOPPING;
}

static void answer_superseded(struct park *park, struct waiter *waiter)
{
    struct park_writer writer;
    park_writer_open(&writer, park);
    park_answer(&writer, waiter, END_SUPERSEDED, -1, NULL);
    park_writer_close(&writer);
}

enum park_register park_register(struct park *park, const struct park_wait *wait, struct waiter **out)
{
    char key[2 + sizeof wait->identity->user];
    snprintf(key, sizeof key, "%c%s", PARK_USER_MARK, wait->identity->user);
    struct waiter *waiter = waiter_make(wait), *superseded = NULL;
    *out = NULL;
    if (waiter == NULL)
        return PARK_STOPPING;
    pthread_mutex_lock(&park->lock);
    enum park_register verdict = admit(park, waiter, wait, str_from(key), &superseded);
    if (verdict != PARK_REGISTERED)
        park_take(park, waiter);
    pthread_mutex_unlock(&park->lock);
    if (superseded != NULL)
        answer_superseded(park, superseded);
    if (verdict == PARK_REGISTERED)
        *out = waiter;
    else
        waiter_free(waiter);
    return verdict;
}

static int64_t deadline_of(const struct waiter *waiter, int wait_ms, int64_t now_ms)
{
    int64_t deadline_ms = INT64_MAX;
    if (waiter->kind == PARK_POLL)
        deadline_ms = now_ms + wait_ms - clock_jitter((uint32_t)wait_ms / JITTER_PART + 1);
    if (waiter->expires_us > 0) {
        int64_t expires_ms = now_ms + (waiter->expires_us - clock_now_us()) / 1000;
        if (expires_ms < deadline_ms)
            deadline_ms = expires_ms;
    }
    return deadline_ms;
}

enum park_commit park_commit(struct park *park, struct waiter *waiter, struct park_read *reads,
                             struct fastcgi_connection connection, int wait_ms)
{
    int64_t now_ms = clock_mono_ms();
    enum park_commit verdict = PARK_PARKED;
    pthread_mutex_lock(&park->lock);
    for (int i = 0; i < waiter->feed_count; i++) {
        struct park_link *link = &waiter->feeds[i];
        size_t bytes = reads[i].quiet.bytes <= PARK_QUIET_BYTES ? reads[i].quiet.bytes : 0;
        link->place = reads[i].place;
        link->quiet_bytes = (unsigned char)bytes;
        if (bytes > 0)
            memcpy(link->quiet, reads[i].quiet.data, bytes);
        /* "there is no feed" is what a sweep found some time ago: whoever has read one knows better, or is
         * told by the next sweep */
        bool behind = park_link_is_behind(link) && link->node->wake.epoch != FEED_EPOCH_NONE;
        reads[i].least_rev = behind ? link->node->wake.rev : 0;
        if (behind)
            verdict = PARK_AGAIN;
    }
    if (waiter->superseded || park->stopping)
        verdict = PARK_ANSWER_NOW;
    if (verdict == PARK_PARKED) {
        waiter->fd = connection.fd;
        waiter->request_id = connection.request_id;
        waiter->state = WAITER_PARKED;
        waiter->deadline_ms = deadline_of(waiter, wait_ms, now_ms);
        int64_t beat_ms = now_ms + PARK_BEAT_MS;
        bool beats = waiter->kind == PARK_STREAM && beat_ms < waiter->deadline_ms;
        park_timer_set(park, waiter, beats ? beat_ms : waiter->deadline_ms);
        if (!park_watch(park, waiter))
            verdict = PARK_ANSWER_NOW;
    }
    bool is_first = park->counts[PARK_POLL] + park->counts[PARK_STREAM] == 1;
    if (verdict == PARK_ANSWER_NOW)
        park_take(park, waiter);
    pthread_mutex_unlock(&park->lock);
    if (verdict == PARK_ANSWER_NOW)
        waiter_free(waiter);
    else if (is_first) /* the hub sleeps long while nobody waits */
        eventfd_write(park->bell_fd, 1);
    return verdict;
}

void park_cancel(struct park *park, struct waiter *waiter)
{
    pthread_mutex_lock(&park->lock);
    park_take(park, waiter);
    pthread_mutex_unlock(&park->lock);
    waiter_free(waiter);
}

/* ---- life ---- */

int park_count(struct park *park, enum park_kind kind)
{
    return park->counts[kind];
}

int park_capacity(const struct park *park)
{
    return park->settings.waiters_max;
}

static bool start_threads(struct park *park)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    bool started = pthread_create(&park->hub, &attributes, park_hub_run, park) == 0;
    if (started && pthread_create(&park->reader, &attributes, park_reader_run, park) != 0) {
        park->stopping = true;
        eventfd_write(park->bell_fd, 1);
        pthread_join(park->hub, NULL);
        started = false;
    }
    pthread_attr_destroy(&attributes);
    return started;
}

/* Those that were woken and then left by all who waited are still there when the reader has ended. */
static void nodes_free(struct park *park)
{
    for (size_t b = 0; park->nodes != NULL && b < park->node_buckets; b++)
        for (struct park_node *node = park->nodes[b], *next; node != NULL; node = next) {
            next = node->next;
            free(node);
        }
    free(park->nodes);
}

static void park_free(struct park *park)
{
    if (park->epoll_fd >= 0)
        close(park->epoll_fd);
    if (park->bell_fd >= 0)
        close(park->bell_fd);
    pthread_mutex_destroy(&park->lock);
    pthread_cond_destroy(&park->work);
    nodes_free(park);
    free(park->by_fd);
    free(park);
}

enum result park_create(const struct park_settings *settings, struct park **out, struct error *error)
{
    struct park *park = calloc(1, sizeof *park);
    if (park == NULL)
        return error_set(error, RESULT_FAILED, "no memory for the table of waiters");
    park->settings = *settings;
    if (park->settings.sweep_ms == 0)
        park->settings.sweep_ms = PARK_SWEEP_MS;
    pthread_mutex_init(&park->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&park->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    park->queue_end = &park->queue;
    park->wheel_ms = clock_mono_ms();
    park->node_buckets = NODE_BUCKETS_FIRST;
    park->nodes = calloc(park->node_buckets, sizeof *park->nodes);
    park->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    park->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (park->nodes == NULL || park->epoll_fd < 0 || park->bell_fd < 0 || !start_threads(park)) {
        park_free(park);
        return error_set(error, RESULT_FAILED, "could not start the hub of waiting requests: %s",
                         strerror(errno));
    }
    *out = park;
    return RESULT_OK;
}

void park_stop(struct park *park)
{
    pthread_mutex_lock(&park->lock);
    park->stopping = true;
    pthread_mutex_unlock(&park->lock);
    eventfd_write(park->bell_fd, 1);
    pthread_join(park->hub, NULL);
    pthread_mutex_lock(&park->lock);
    park->hub_done = true;
    pthread_cond_signal(&park->work);
    pthread_mutex_unlock(&park->lock);
    pthread_join(park->reader, NULL);
}

void park_destroy(struct park *park)
{
    if (park != NULL)
        park_free(park);
}
