/*
 * The table of waiters, and what request threads do with it. Nodes are feeds and users in one hash table; a
 * waiter hangs on its user's node and on one node for each of its feeds, on a timer wheel, and in an array by
 * descriptor. Memory is one block per waiter and one per node, allocated to size.
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

enum { NODE_BUCKETS_FIRST = 64, FDS_FIRST = 64, THREAD_STACK_BYTES = 256 << 10, JITTER_PART = 10 };

/* ---- nodes ---- */

static uint64_t node_hash(int tenant, struct str key)
{
    uint64_t hash = 0xcbf29ce484222325ULL ^ (uint64_t)(uint32_t)tenant;
    for (size_t i = 0; i < key.bytes; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 0x100000001b3ULL;
    return hash ^ (hash >> 29);
}

struct park_node *park_node_find(struct park *park, int tenant, struct str key)
{
    uint64_t hash = node_hash(tenant, key);
    struct park_node *node = park->nodes[hash & (park->node_buckets - 1)];
    while (node != NULL && (node->hash != hash || node->tenant != tenant || node->key_bytes != key.bytes ||
                            memcmp(node->key, key.data, key.bytes) != 0))
        node = node->next;
    return node;
}

/* Twice as many buckets when there is a node for each. Without memory the chains just get longer. */
static void nodes_grow(struct park *park)
{
    size_t buckets = park->node_buckets * 2;
    struct park_node **nodes = calloc(buckets, sizeof *nodes);
    if (nodes == NULL)
        return;
    for (size_t b = 0; b < park->node_buckets; b++)
        for (struct park_node *node = park->nodes[b], *next; node != NULL; node = next) {
            next = node->next;
            node->next = nodes[node->hash & (buckets - 1)];
            nodes[node->hash & (buckets - 1)] = node;
        }
    free(park->nodes);
    park->nodes = nodes;
    park->node_buckets = buckets;
}

static struct park_node *node_make(struct park *park, int tenant, struct str key)
{
    struct park_node *node = park_node_find(park, tenant, key);
    if (node != NULL)
        return node;
    if (park->node_count >= park->node_buckets)
        nodes_grow(park);
    node = calloc(1, sizeof *node + key.bytes + 1);
    if (node == NULL)
        return NULL;
    node->hash = node_hash(tenant, key);
    node->tenant = tenant;
    node->key_bytes = (unsigned short)key.bytes;
    memcpy(node->key, key.data, key.bytes);
    struct park_node **bucket = &park->nodes[node->hash & (park->node_buckets - 1)];
    node->next = *bucket;
    *bucket = node;
    park->node_count++;
    return node;
}

void park_node_release(struct park *park, struct park_node *node)
{
    if (node->links != NULL || node->queued || node->reading)
        return;
    struct park_node **at = &park->nodes[node->hash & (park->node_buckets - 1)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    park->node_count--;
    free(node);
}

void park_node_queue(struct park *park, struct park_node *node)
{
    if (node->queued)
        return;
    node->queued = true;
    node->queue_next = NULL;
    *park->queue_end = node;
    park->queue_end = &node->queue_next;
    pthread_cond_signal(&park->work);
}

struct park_node *park_node_dequeue(struct park *park)
{
    struct park_node *node = park->queue;
    if (node == NULL)
        return NULL;
    park->queue = node->queue_next;
    if (park->queue == NULL)
        park->queue_end = &park->queue;
    node->queued = false;
    return node;
}

bool park_link_is_behind(const struct park_link *link)
{
    const struct feed_place *wake = &link->node->wake;
    return wake->rev > 0 && (link->place.epoch != wake->epoch || link->place.rev < wake->rev);
}

void park_node_wake(struct park *park, struct park_node *node, struct feed_place place, int64_t now_us)
{
    if (place.epoch != node->wake.epoch || place.rev > node->wake.rev)
        node->wake = place;
    bool behind = false;
    for (struct park_link *link = node->links; link != NULL && !behind; link = link->next)
        behind = link->waiter->state != WAITER_REGISTERED && park_link_is_behind(link);
    if (!behind)
        return;
    if (!node->queued)
        node->woken_us = now_us;
    park_node_queue(park, node);
}

void park_wake(struct park *park, const struct feed_wake *wake)
{
    pthread_mutex_lock(&park->lock);
    struct park_node *node = park_node_find(park, wake->tenant, wake->key);
    if (node != NULL)
        park_node_wake(park, node, wake->place, clock_now_us());
    pthread_mutex_unlock(&park->lock);
}

/* ---- links, timers, descriptors ---- */

static void link_add(struct park_link *link, struct park_node *node, struct waiter *waiter)
{
    link->node = node;
    link->waiter = waiter;
    link->next = node->links;
    link->link_to_this = &node->links;
    if (node->links != NULL)
        node->links->link_to_this = &link->next;
    node->links = link;
    node->count++;
}

static void link_remove(struct park *park, struct park_link *link)
{
    if (link->node == NULL)
        return;
    *link->link_to_this = link->next;
    if (link->next != NULL)
        link->next->link_to_this = link->link_to_this;
    link->node->count--;
    park_node_release(park, link->node);
    link->node = NULL;
}

void park_timer_clear(struct waiter *waiter)
{
    if (waiter->timer_link == NULL)
        return;
    *waiter->timer_link = waiter->timer_next;
    if (waiter->timer_next != NULL)
        waiter->timer_next->timer_link = waiter->timer_link;
    waiter->timer_link = NULL;
}

void park_timer_set(struct park *park, struct waiter *waiter, int64_t due_ms)
{
    park_timer_clear(waiter);
    waiter->due_ms = due_ms;
    if (due_ms <= park->wheel_ms)
        due_ms = park->wheel_ms + WHEEL_TICK_MS;
    struct waiter **slot = &park->wheel[due_ms / WHEEL_TICK_MS % WHEEL_SLOTS];
    waiter->timer_next = *slot;
    waiter->timer_link = slot;
    if (*slot != NULL)
        (*slot)->timer_link = &waiter->timer_next;
    *slot = waiter;
}

static bool fds_fit(struct park *park, int fd)
{
    int count = park->by_fd_count > 0 ? park->by_fd_count : FDS_FIRST;
    while (count <= fd)
        count *= 2;
    if (count == park->by_fd_count)
        return true;
    struct waiter **by_fd = realloc(park->by_fd, (size_t)count * sizeof *by_fd);
    if (by_fd == NULL)
        return false;
    memset(by_fd + park->by_fd_count, 0, (size_t)(count - park->by_fd_count) * sizeof *by_fd);
    park->by_fd = by_fd;
    park->by_fd_count = count;
    return true;
}

bool park_watch(struct park *park, struct waiter *waiter)
{
    struct epoll_event event = {
        .events = EPOLLRDHUP | (waiter->state == WAITER_UNSENT ? (uint32_t)EPOLLOUT : 0),
        .data.u64 = (uint64_t)waiter->fd,
    };
    if (!fds_fit(park, waiter->fd) ||
        (epoll_ctl(park->epoll_fd, EPOLL_CTL_ADD, waiter->fd, &event) != 0 &&
         (errno != EEXIST || epoll_ctl(park->epoll_fd, EPOLL_CTL_MOD, waiter->fd, &event) != 0)))
        return false;
    park->by_fd[waiter->fd] = waiter;
    return true;
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
        link_remove(park, &waiter->feeds[i]);
    if (waiter->user.node != NULL)
        park->counts[waiter->kind]--;
    link_remove(park, &waiter->user);
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
    struct park_node *node = node_make(park, wait->identity->tenant, user_key);
    if (node == NULL)
        return false;
    link_add(&waiter->user, node, waiter);
    park->counts[waiter->kind]++;
    for (int i = 0; i < wait->feed_count; i++) {
        node = node_make(park, wait->identity->tenant, wait->feeds[i].key);
        if (node == NULL)
            return false;
        waiter->feeds[i].name = wait->feeds[i].name;
        waiter->feeds[i].place = wait->feeds[i].place;
        link_add(&waiter->feeds[i], node, waiter);
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

enum park_register park_register(struct park *park, const struct park_wait *wait, struct waiter **out)
{
    char key[2 + sizeof wait->identity->user];
    snprintf(key, sizeof key, "%c%s", PARK_USER_MARK, wait->identity->user);
    struct waiter *waiter = waiter_make(wait);
    if (waiter == NULL)
        return PARK_STOPPING;
    pthread_mutex_lock(&park->lock);
    struct park_node *user = park_node_find(park, wait->identity->tenant, str_from(key));
    struct waiter *older = find_superseded(user, wait);
    int user_count = user != NULL ? user->count : 0;
    enum park_register verdict = PARK_REGISTERED;
    if (older != NULL && older->state == WAITER_PARKED) {
        park_take(park, older);
        user_count--;
    } else if (older != NULL) {
        older->superseded = true; /* its own thread or the reader answers it in a moment */
        older = NULL;
        user_count--;
    }
    if (park->stopping)
        verdict = PARK_STOPPING;
    else if (park->counts[PARK_POLL] + park->counts[PARK_STREAM] >= park->settings.waiters_max)
        verdict = PARK_FULL;
    else if (user_count >= LIMIT_WAITERS_PER_USER)
        verdict = PARK_USER_FULL;
    else if (!waiter_hang(park, waiter, wait, str_from(key)))
        verdict = PARK_STOPPING;
    if (verdict != PARK_REGISTERED)
        park_take(park, waiter);
    pthread_mutex_unlock(&park->lock);

    if (older != NULL) {
        struct park_writer writer;
        park_writer_open(&writer, park);
        park_answer(&writer, older, END_SUPERSEDED, -1, NULL);
        park_writer_close(&writer);
    }
    if (verdict != PARK_REGISTERED) {
        waiter_free(waiter);
        waiter = NULL;
    }
    *out = waiter;
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
        reads[i].least_rev = park_link_is_behind(link) ? link->node->wake.rev : 0;
        if (reads[i].least_rev > 0)
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

static void park_free(struct park *park)
{
    if (park->epoll_fd >= 0)
        close(park->epoll_fd);
    if (park->bell_fd >= 0)
        close(park->bell_fd);
    pthread_mutex_destroy(&park->lock);
    pthread_cond_destroy(&park->work);
    free(park->nodes);
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
