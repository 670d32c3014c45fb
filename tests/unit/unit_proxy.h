#ifndef BELFRY_TESTS_UNIT_PROXY_H
#define BELFRY_TESTS_UNIT_PROXY_H
/*
 * A server on loopback that passes bytes on to another one, until it is told to lose them. It runs on a
 * thread of its own. For tests that include it; everything is static.
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
#include <sys/un.h>
#include <unistd.h>

enum unit_proxy_mode {
    UNIT_PROXY_PASS,
    UNIT_PROXY_CUT_ANSWER, /* passes requests on, and closes when the answer begins */
    UNIT_PROXY_REFUSE,     /* closes at once */
    UNIT_PROXY_HANG_UP,    /* closes what is open, and whatever comes */
    UNIT_PROXY_STALL       /* swallows everything */
};

struct unit_proxy {
    int listener;
    _Atomic int mode, accepted, open, stop;
    struct sockaddr_storage upstream;
    socklen_t upstream_bytes;
    char address[512];
    pthread_t thread;
};

/* pairs[2i] is a client, pairs[2i+1] its upstream */
enum { UNIT_PROXY_PAIRS = 16 };

static void unit_proxy_close_pair(struct unit_proxy *proxy, struct pollfd *pair)
{
    atomic_fetch_sub(&proxy->open, 1);
    close(pair[0].fd);
    if (pair[1].fd >= 0)
        close(pair[1].fd);
    pair[0].fd = pair[1].fd = -1;
}

/* Moves what can be read on one side to the other; false when the pair is to be closed. */
static bool unit_proxy_move(struct unit_proxy *proxy, int from, int to, bool is_answer)
{
    char bytes[65536];
    int mode = atomic_load(&proxy->mode);
    ssize_t n = read(from, bytes, sizeof bytes);
    if (n <= 0 || mode == UNIT_PROXY_REFUSE || (mode == UNIT_PROXY_CUT_ANSWER && is_answer))
        return false;
    if (mode == UNIT_PROXY_STALL)
        return true;
    for (ssize_t done = 0, put; done < n; done += put)
        if ((put = send(to, bytes + done, (size_t)(n - done), MSG_NOSIGNAL)) <= 0)
            return false;
    return true;
}

static void unit_proxy_accept(struct unit_proxy *proxy, struct pollfd *pairs)
{
    int client = accept(proxy->listener, NULL, NULL);
    if (client < 0)
        return;
    atomic_fetch_add(&proxy->accepted, 1);
    int mode = atomic_load(&proxy->mode);
    if (mode == UNIT_PROXY_REFUSE || mode == UNIT_PROXY_HANG_UP) {
        close(client);
        return;
    }
    int upstream = socket(proxy->upstream.ss_family, SOCK_STREAM, 0);
    if (connect(upstream, (const struct sockaddr *)&proxy->upstream, proxy->upstream_bytes) != 0) {
        close(upstream);
        close(client);
        return;
    }
    for (int i = 0; i < UNIT_PROXY_PAIRS; i++)
        if (pairs[2 * i].fd < 0) {
            pairs[2 * i] = (struct pollfd){.fd = client, .events = POLLIN};
            pairs[2 * i + 1] = (struct pollfd){.fd = upstream, .events = POLLIN};
            atomic_fetch_add(&proxy->open, 1);
            return;
        }
    close(upstream);
    close(client);
}

static void *unit_proxy_run(void *context)
{
    struct unit_proxy *proxy = context;
    struct pollfd all[2 * UNIT_PROXY_PAIRS + 1], *pairs = all;
    for (int i = 0; i < 2 * UNIT_PROXY_PAIRS; i++)
        pairs[i].fd = -1;
    all[2 * UNIT_PROXY_PAIRS] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
    while (!atomic_load(&proxy->stop)) {
        bool hang_up = atomic_load(&proxy->mode) == UNIT_PROXY_HANG_UP;
        if (poll(all, 2 * UNIT_PROXY_PAIRS + 1, 20) <= 0 && !hang_up)
            continue;
        for (int i = 0; i < UNIT_PROXY_PAIRS; i++) {
            struct pollfd *pair = pairs + (ptrdiff_t)2 * i;
            if (hang_up && pair[0].fd >= 0)
                unit_proxy_close_pair(proxy, pair);
            for (int side = 0; side < 2 && pair[0].fd >= 0; side++)
                if (pair[side].revents &&
                    !unit_proxy_move(proxy, pair[side].fd, pair[1 - side].fd, side == 1))
                    unit_proxy_close_pair(proxy, pair);
        }
        if (all[2 * UNIT_PROXY_PAIRS].revents)
            unit_proxy_accept(proxy, pairs);
    }
    for (int i = 0; i < UNIT_PROXY_PAIRS; i++)
        if (pairs[2 * i].fd >= 0)
            unit_proxy_close_pair(proxy, pairs + (ptrdiff_t)2 * i);
    return NULL;
}

static inline int unit_proxy_port(const struct unit_proxy *proxy)
{
    struct sockaddr_in in;
    socklen_t bytes = sizeof in;
    return getsockname(proxy->listener, (struct sockaddr *)&in, &bytes) == 0 ? ntohs(in.sin_port) : -1;
}

static struct unit_proxy *unit_proxy_start(const struct sockaddr *upstream, socklen_t bytes)
{
    struct unit_proxy *proxy = calloc(1, sizeof *proxy);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_non_null(proxy);
    memcpy(&proxy->upstream, upstream, bytes);
    proxy->upstream_bytes = bytes;
    proxy->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(proxy->listener, (const struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(proxy->listener, 16), 0);
    assert_int_equal(pthread_create(&proxy->thread, NULL, unit_proxy_run, proxy), 0);
    return proxy;
}

static void unit_proxy_stop(struct unit_proxy *proxy)
{
    atomic_store(&proxy->stop, 1);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
    free(proxy);
}

static void unit_proxy_set(struct unit_proxy *proxy, enum unit_proxy_mode mode)
{
    atomic_store(&proxy->mode, (int)mode);
}

static inline int unit_proxy_accepted(struct unit_proxy *proxy)
{
    return atomic_load(&proxy->accepted);
}

/* Closes all connections and returns when they are. */
static inline void unit_proxy_hang_up(struct unit_proxy *proxy)
{
    unit_proxy_set(proxy, UNIT_PROXY_HANG_UP);
    for (int tries = 0; atomic_load(&proxy->open) > 0; tries++) {
        assert_true(tries < 1000);
        poll(NULL, 0, 10);
    }
}

/* A directory or a dotted address, and a port. */
static inline struct unit_proxy *unit_proxy_to(const char *host, const char *socket_name, int port)
{
    if (host[0] == '/') {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        if (snprintf(un.sun_path, sizeof un.sun_path, "%s%s", host, socket_name) >= (int)sizeof un.sun_path)
            fail_msg("the path of the socket is too long: %s%s", host, socket_name);
        return unit_proxy_start((const struct sockaddr *)&un, sizeof un);
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &in.sin_addr) != 1)
        fail_msg("the proxy needs a directory or an IPv4 address, not %s", host);
    return unit_proxy_start((const struct sockaddr *)&in, sizeof in);
}

/* A word's value in "host=… port=…". */
static inline void unit_proxy_word(const char *conninfo, const char *word, char *out, size_t bytes)
{
    const char *at = strstr(conninfo, word);
    size_t length = at ? strcspn(at + strlen(word), " ") : 0;
    if (at && length < bytes)
        snprintf(out, bytes, "%.*s", (int)length, at + strlen(word));
}

static inline struct unit_proxy *unit_proxy_to_postgres(const char *conninfo)
{
    char host[128] = "/var/run/postgresql", port[8] = "5432", name[32];
    unit_proxy_word(conninfo, "host=", host, sizeof host);
    unit_proxy_word(conninfo, "port=", port, sizeof port);
    snprintf(name, sizeof name, "/.s.PGSQL.%s", port);
    struct unit_proxy *proxy = unit_proxy_to(host, name, atoi(port));
    snprintf(proxy->address, sizeof proxy->address,
             "%s host=127.0.0.1 port=%d sslmode=disable gssencmode=disable", conninfo,
             unit_proxy_port(proxy));
    return proxy;
}

static inline const char *unit_proxy_conninfo(const struct unit_proxy *proxy)
{
    return proxy->address;
}

#endif
