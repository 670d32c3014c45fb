/*
 * The tables of the park: nodes (feeds, and users) by hash, waiters hanging on them, a wheel of timers,
 * waiters by descriptor. All of it with the lock held. Memory is one block per node, allocated to size, freed
 * with its last waiter.
 */
#include "core/clock.h"
#include "handlers/park_private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { FDS_FIRST = 64 };

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

struct park_node *park_node_make(struct park *park, int tenant, struct str key)
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
    return wake->epoch != 0 && (link->place.epoch != wake->epoch || link->place.rev < wake->rev);
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

/* ---- links, timers, descriptors ---- */

void park_link_add(struct park_link *link, struct park_node *node, struct waiter *waiter)
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

void park_link_remove(struct park *park, struct park_link *link)
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
