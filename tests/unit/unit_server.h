#ifndef BELFRY_TESTS_UNIT_SERVER_H
#define BELFRY_TESTS_UNIT_SERVER_H
/*
 * A server on loopback whose connections are served by a function of the test, each on its own thread. What
 * was read is kept in a log. For tests that include it; everything is static.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UNIT_SERVER_CONNECTIONS = 128, UNIT_SERVER_LOG_BYTES = 1 << 18 };

struct unit_server;
/* Serves connection number nth (from 0); the socket is closed afterwards. */
typedef void unit_serve(struct unit_server *server, int fd, int nth);

struct unit_connection {
    struct unit_server *server;
    int fd, nth;
    pthread_t thread;
};

struct unit_server {
    int listener, port;
    unit_serve *serve;
    const void *context;
    _Atomic int accepted, requests, stop;
    pthread_t thread;
    struct unit_connection connections[UNIT_SERVER_CONNECTIONS];
    pthread_mutex_t lock;
    char log[UNIT_SERVER_LOG_BYTES];
    size_t log_bytes;
};

static void *unit_server_connection(void *context)
{
    struct unit_connection *c = context;
    c->server->serve(c->server, c->fd, c->nth);
    shutdown(c->fd, SHUT_RDWR);
    close(c->fd);
    return NULL;
}

static void *unit_server_run(void *context)
{
    struct unit_server *server = context;
    while (!atomic_load(&server->stop)) {
        struct pollfd p = {.fd = server->listener, .events = POLLIN};
        int nth = atomic_load(&server->accepted);
        if (poll(&p, 1, 20) <= 0 || nth == UNIT_SERVER_CONNECTIONS)
            continue;
        struct unit_connection *c = &server->connections[nth];
        *c = (struct unit_connection){server, accept(server->listener, NULL, NULL), nth, 0};
        if (c->fd >= 0 && pthread_create(&c->thread, NULL, unit_server_connection, c) == 0)
            atomic_fetch_add(&server->accepted, 1);
    }
    return NULL;
}

static struct unit_server *unit_server_start(unit_serve *serve, const void *context)
{
    struct unit_server *server = calloc(1, sizeof *server);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof in;
    assert_non_null(server);
    server->serve = serve;
    server->context = context;
    pthread_mutex_init(&server->lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server->listener, (const struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(server->listener, 128), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&in, &bytes), 0);
    server->port = ntohs(in.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, unit_server_run, server), 0);
    return server;
}

/* Clients must have closed their connections. */
static void unit_server_stop(struct unit_server *server)
{
    atomic_store(&server->stop, 1);
    pthread_join(server->thread, NULL);
    for (int i = 0; i < atomic_load(&server->accepted); i++)
        pthread_join(server->connections[i].thread, NULL);
    close(server->listener);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static void unit_server_log(struct unit_server *server, const char *data, size_t bytes)
{
    pthread_mutex_lock(&server->lock);
    if (server->log_bytes + bytes < sizeof server->log) {
        memcpy(server->log + server->log_bytes, data, bytes);
        server->log_bytes += bytes;
    }
    pthread_mutex_unlock(&server->lock);
}

/* Whether text was read from a client; its first place, or NULL. */
static inline const char *unit_server_saw(struct unit_server *server, const char *text)
{
    pthread_mutex_lock(&server->lock);
    const char *at = strstr(server->log, text);
    pthread_mutex_unlock(&server->lock);
    return at;
}

/* Reads up to and with the next end, or NULL at the end of the connection. */
static inline bool unit_server_read_until(int fd, const char *end, char *out, size_t bytes)
{
    size_t length = 0, end_length = strlen(end);
    while (length + 1 < bytes && recv(fd, out + length, 1, 0) == 1) {
        out[++length] = '\0';
        if (length >= end_length && strcmp(out + length - end_length, end) == 0)
            return true;
    }
    return false;
}

/* Reads one HTTP request with its Content-Length into the log; false at the end of the connection. */
static inline bool unit_server_read_request(struct unit_server *server, int fd)
{
    static _Thread_local char head[32768], body[65536];
    if (!unit_server_read_until(fd, "\r\n\r\n", head, sizeof head))
        return false;
    unit_server_log(server, head, strlen(head));
    const char *length = strstr(head, "Content-Length: ");
    size_t left = length ? strtoul(length + 16, NULL, 10) : 0;
    while (left) {
        ssize_t n = recv(fd, body, left < sizeof body ? left : sizeof body, 0);
        if (n <= 0)
            return false;
        unit_server_log(server, body, (size_t)n);
        left -= (size_t)n;
    }
    atomic_fetch_add(&server->requests, 1);
    return true;
}

static inline bool unit_server_write(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        text += n;
        left -= (size_t)n;
    }
    return true;
}

/* Waits until the client closes. */
static inline void unit_server_drain(int fd)
{
    char bytes[4096];
    while (recv(fd, bytes, sizeof bytes, 0) > 0)
        ;
}

#endif
