/*
 * libcurl's sockets in the caller's epoll.
 *
 * libcurl says "wait for reading" when a request went out and "forget it" when the answer came. Told to epoll
 * each time, that would be two system calls for every transfer on a kept connection. So a socket of ours
 * stays in epoll when libcurl forgets it, and leaves only if something happens on it while nobody waits (its
 * peer closed it), or with its end. That needs us to hear of its end, which libcurl tells only for sockets
 * that we opened; its own pipes (of the resolver's thread) are taken out at once.
 *
 * A socket that was closed keeps its struct until the turn ends: epoll may have handed out events for it
 * already.
 */
#include "io/http_private.h"
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

static bool make_room(struct http_sockets *sockets, int fd)
{
    if (fd < sockets->by_fd_count)
        return true;
    int count = sockets->by_fd_count ? sockets->by_fd_count : 64;
    while (count <= fd)
        count *= 2;
    struct http_socket **more = realloc(sockets->by_fd, (size_t)count * sizeof *more);
    if (!more)
        return false;
    memset(more + sockets->by_fd_count, 0, (size_t)(count - sockets->by_fd_count) * sizeof *more);
    sockets->by_fd = more;
    sockets->by_fd_count = count;
    return true;
}

static struct http_socket *find(const struct http_sockets *sockets, int fd)
{
    return fd >= 0 && fd < sockets->by_fd_count ? sockets->by_fd[fd] : NULL;
}

static struct http_socket *add(struct http_sockets *sockets, int fd)
{
    if (fd < 0 || !make_room(sockets, fd))
        return NULL;
    struct http_socket *s = sockets->spare;
    if (s)
        sockets->spare = s->next;
    else
        s = malloc(sizeof *s);
    if (!s)
        return NULL;
    *s = (struct http_socket){.fd = fd};
    sockets->by_fd[fd] = s;
    return s;
}

static void drop(struct http_sockets *sockets, struct http_socket *s)
{
    sockets->by_fd[s->fd] = NULL;
    s->closed = true;
    s->next = sockets->closed;
    sockets->closed = s;
}

static void leave_epoll(const struct http_sockets *sockets, struct http_socket *s)
{
    if (s->events)
        epoll_ctl(sockets->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    s->events = 0;
}

bool http_socket_opened(struct http_sockets *sockets, int fd)
{
    struct http_socket *left_over = find(sockets, fd);
    if (left_over)
        drop(sockets, left_over);
    struct http_socket *s = add(sockets, fd);
    if (s)
        s->ours = true;
    return s != NULL;
}

void http_socket_closing(struct http_sockets *sockets, int fd)
{
    struct http_socket *s = find(sockets, fd);
    if (!s)
        return;
    leave_epoll(sockets, s);
    drop(sockets, s);
}

bool http_socket_want(struct http_sockets *sockets, int fd, int what)
{
    struct http_socket *s = find(sockets, fd);
    if (what == CURL_POLL_REMOVE) {
        if (!s)
            return true;
        s->wanted = false;
        if (!s->ours)
            http_socket_closing(sockets, fd);
        return true;
    }
    if (!s && !(s = add(sockets, fd)))
        return false;
    uint32_t events =
        (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    s->wanted = events != 0;
    if (events == s->events)
        return true;
    struct epoll_event event = {.events = events, .data.ptr = s};
    int operation = !events ? EPOLL_CTL_DEL : s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(sockets->epoll_fd, operation, fd, &event) != 0)
        return false;
    s->events = events;
    return true;
}

bool http_socket_event(struct http_sockets *sockets, struct http_socket *s)
{
    if (s->closed)
        return false;
    if (!s->wanted)
        leave_epoll(sockets, s);
    return s->wanted;
}

void http_sockets_end_turn(struct http_sockets *sockets)
{
    while (sockets->closed) {
        struct http_socket *s = sockets->closed;
        sockets->closed = s->next;
        s->next = sockets->spare;
        sockets->spare = s;
    }
}

static void free_list(struct http_socket *s)
{
    while (s) {
        struct http_socket *next = s->next;
        free(s);
        s = next;
    }
}

void http_sockets_free(struct http_sockets *sockets)
{
    for (int fd = 0; fd < sockets->by_fd_count; fd++)
        if (sockets->by_fd[fd])
            http_socket_closing(sockets, fd);
    free_list(sockets->closed);
    free_list(sockets->spare);
    free(sockets->by_fd);
    *sockets = (struct http_sockets){.epoll_fd = -1};
}
