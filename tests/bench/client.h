#ifndef BELFRY_BENCH_CLIENT_H
#define BELFRY_BENCH_CLIENT_H
/*
 * What the load programs share: non-blocking keep-alive HTTP/1.1 connections, just enough of a response
 * parser to know where an answer ends, a clock, and percentiles. A load program that meets what it cannot go
 * on with ends with a message: a benchmark that limps on measures nothing.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENT_ANSWER_BYTES = 64 * 1024 };

struct client {
    int fd;
    char *answer; /* grows as needed, NUL-terminated */
    size_t bytes, capacity;
    const char *request; /* being sent */
    size_t request_bytes, sent;
};

static inline _Noreturn void fail(const char *what)
{
    fprintf(stderr, "could not %s: %s\n", what, errno ? strerror(errno) : "unexpected");
    exit(1);
}

static inline int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* "127.0.0.1:8080" */
static inline struct sockaddr_in client_address(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        fail("read the address");
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail("read the host");
    return address;
}

static inline void client_connect(struct client *c, const struct sockaddr_in *address, int epoll_fd,
                                  void *tag)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)address, sizeof *address) != 0)
        fail("connect");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        fail("watch a connection");
    c->bytes = 0;
}

/* Requests are small: they always fit into an empty socket buffer. */
static inline void client_send(struct client *c, const char *request, size_t bytes)
{
    c->bytes = 0;
    for (size_t sent = 0; sent < bytes;) {
        ssize_t n = write(c->fd, request + sent, bytes - sent);
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            fail("send a request");
    }
}

static inline bool client_is_complete(const struct client *c)
{
    char *body = c->bytes ? strstr(c->answer, "\r\n\r\n") : NULL;
    if (!body)
        return false;
    size_t have = c->bytes - (size_t)(body + 4 - c->answer);
    char *length = strcasestr(c->answer, "\r\ncontent-length:");
    if (length && length < body)
        return have >= strtoul(length + 17, NULL, 10);
    char *chunked = strcasestr(c->answer, "\r\ntransfer-encoding: chunked");
    if (chunked && chunked < body)
        return have >= 5 && memcmp(c->answer + c->bytes - 5, "0\r\n\r\n", 5) == 0;
    return true; /* no body */
}

/* Reads what there is. 1: the answer is complete, 0: not yet, -1: the server closed before it was. */
static inline int client_read(struct client *c)
{
    bool closed = false;
    size_t before = c->bytes;
    while (!closed) {
        if (c->capacity - c->bytes < 2048) {
            c->capacity = c->capacity ? c->capacity * 2 : 4096;
            if (c->capacity > 64 * CLIENT_ANSWER_BYTES || !(c->answer = realloc(c->answer, c->capacity)))
                fail("hold an answer");
        }
        ssize_t n = read(c->fd, c->answer + c->bytes, c->capacity - c->bytes - 1);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        closed = n <= 0;
        c->bytes += n > 0 ? (size_t)n : 0;
        c->answer[c->bytes] = '\0';
    }
    bool more = c->bytes > before; /* a close after an answer is no second answer */
    return more && client_is_complete(c) ? 1 : closed ? -1 : 0;
}

static inline int client_status(const struct client *c)
{
    return c->bytes > 12 ? atoi(c->answer + 9) : 0;
}

static inline bool client_must_close(const struct client *c)
{
    char *end = strstr(c->answer, "\r\n\r\n");
    char *header = strcasestr(c->answer, "\r\nconnection: close");
    return header && header < end;
}

static inline int compare_ns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Sorts; milliseconds. */
static inline double percentile_ms(int64_t *values, size_t count, double p)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof *values, compare_ns);
    size_t i = (size_t)(p * (double)(count - 1) / 100.0 + 0.5);
    return (double)values[i] / 1e6;
}

/* A whole file; *bytes is its length. */
static inline char *file_read(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail(path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    if (!text || fread(text, 1, (size_t)size, file) != (size_t)size)
        fail(path);
    text[size] = '\0';
    fclose(file);
    *bytes = (size_t)size;
    return text;
}

#endif
