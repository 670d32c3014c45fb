/*
 * A sink for deliveries: answers every HTTP/1.1 request at once and counts, so that a benchmark measures the
 * sender and not the receiver. One thread, epoll, keep-alive and pipelining; TLS on request.
 *
 *   sink [--port N] [--status N] [--delay-ms N] [--key HEADER] [--tls CERT KEY]
 *
 * Prints "listening PORT" when it accepts. --key (webhook-id) names the header whose values should never come
 * twice: each is remembered as 64 bits of FNV-1a, so two values out of 100,000 look alike once in four
 * billion runs. GET /stats answers the counts as JSON, DELETE /stats begins anew, SIGTERM prints them and
 * ends.
 *
 * Promises: bounded memory for each connection (a head of at most BUFFER_BYTES; bodies are skipped, never
 * kept). Does not promise: chunked requests or anything else that our sender does not do.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_BYTES = 16 << 10, EVENTS = 256, BACKLOG = 4096 };

struct connection {
    int fd;
    SSL *tls;
    size_t in_bytes, skip_bytes; /* of head and body that still come; of body to throw away */
    size_t out_bytes, out_sent;
    int waiting; /* answers in the delay queue: the connection is freed only when none is left */
    bool closed;
    char in[BUFFER_BYTES], out[BUFFER_BYTES];
};

struct delayed {
    struct connection *connection;
    int64_t due_ns;
};

struct sink {
    int epoll, listener, signals;
    int delay_ms;
    const char *key;
    char answer[128];
    size_t answer_bytes;
    SSL_CTX *tls;
    struct delayed *queue; /* a ring: all delays are equal, so the first in is the first due */
    size_t queue_room, queue_first, queue_count;
    uint64_t *seen; /* open addressing; 0 is free */
    size_t seen_room, unique;
    uint64_t requests, keyed, duplicates, connections;
    int64_t first_ns, last_ns;
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *need(void *memory)
{
    if (!memory) {
        fputs("sink: no memory left\n", stderr);
        exit(1);
    }
    return memory;
}

/* ---- counting ---- */

static bool seen_add(uint64_t *seen, size_t room, uint64_t hash)
{
    size_t at = hash & (room - 1);
    for (; seen[at] != 0; at = (at + 1) & (room - 1))
        if (seen[at] == hash)
            return false;
    seen[at] = hash;
    return true;
}

static void seen_grow(struct sink *sink)
{
    size_t room = sink->seen_room ? sink->seen_room * 2 : 1 << 18;
    uint64_t *seen = need(calloc(room, sizeof *seen));
    for (size_t i = 0; i < sink->seen_room; i++)
        if (sink->seen[i] != 0)
            seen_add(seen, room, sink->seen[i]);
    free(sink->seen);
    sink->seen = seen;
    sink->seen_room = room;
}

static void count_key(struct sink *sink, const char *value, size_t bytes)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)value[i]) * 1099511628211u;
    if ((sink->unique + 1) * 2 > sink->seen_room)
        seen_grow(sink);
    sink->keyed++;
    if (seen_add(sink->seen, sink->seen_room, hash ? hash : 1))
        sink->unique++;
    else
        sink->duplicates++;
}

static int stats_print(const struct sink *sink, char *text, size_t room)
{
    return snprintf(
        text, room,
        "{\"requests\":%llu,\"keyed\":%llu,\"unique\":%zu,\"duplicates\":%llu,\"connections\":%llu,"
        "\"seconds\":%.6f}\n",
        (unsigned long long)sink->requests, (unsigned long long)sink->keyed, sink->unique,
        (unsigned long long)sink->duplicates, (unsigned long long)sink->connections,
        (double)(sink->last_ns - sink->first_ns) / 1e9);
}

static void stats_clear(struct sink *sink)
{
    if (sink->seen)
        memset(sink->seen, 0, sink->seen_room * sizeof *sink->seen);
    sink->requests = sink->keyed = sink->duplicates = sink->connections = sink->unique = 0;
    sink->first_ns = sink->last_ns = 0;
}

/* ---- connections ---- */

static void connection_close(struct connection *c)
{
    if (!c->closed) {
        SSL_free(c->tls);
        close(c->fd);
        c->closed = true;
    }
    if (c->waiting == 0)
        free(c);
}

/* Bytes moved, 0 if it has to wait, -1 if the connection is over. */
static ssize_t connection_read(struct connection *c, char *to, size_t room)
{
    if (!c->tls) {
        ssize_t got = read(c->fd, to, room);
        return got > 0 ? got : got < 0 && errno == EAGAIN ? 0 : -1;
    }
    int got = SSL_read(c->tls, to, (int)room);
    if (got > 0)
        return got;
    int why = SSL_get_error(c->tls, got);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t connection_write(struct connection *c, const char *from, size_t bytes)
{
    if (!c->tls) {
        ssize_t put = write(c->fd, from, bytes);
        return put >= 0 ? put : errno == EAGAIN ? 0 : -1;
    }
    int put = SSL_write(c->tls, from, (int)bytes);
    if (put > 0)
        return put;
    int why = SSL_get_error(c->tls, put);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* false: the connection is over. What cannot be written now goes out on EPOLLOUT. */
static bool connection_flush(struct connection *c)
{
    while (c->out_sent < c->out_bytes) {
        ssize_t put = connection_write(c, c->out + c->out_sent, c->out_bytes - c->out_sent);
        if (put <= 0)
            return put == 0;
        c->out_sent += (size_t)put;
    }
    c->out_bytes = c->out_sent = 0;
    return true;
}

static bool connection_queue(struct connection *c, const char *text, size_t bytes)
{
    if (c->out_bytes + bytes > sizeof c->out)
        return false; /* the peer asks and never reads */
    memcpy(c->out + c->out_bytes, text, bytes);
    c->out_bytes += bytes;
    return true;
}

/* ---- requests ---- */

static const char *header_find(const char *head, const char *end, const char *name, size_t *bytes)
{
    size_t name_bytes = strlen(name);
    for (const char *line = memchr(head, '\n', (size_t)(end - head)); line && line + 1 < end;
         line = memchr(line, '\n', (size_t)(end - line))) {
        line++;
        if ((size_t)(end - line) <= name_bytes || strncasecmp(line, name, name_bytes) != 0 ||
            line[name_bytes] != ':')
            continue;
        const char *value = line + name_bytes + 1;
        value += strspn(value, " ");
        *bytes = strcspn(value, "\r\n");
        return value;
    }
    return NULL;
}

static void delay_answer(struct sink *sink, struct connection *c)
{
    if (sink->queue_count == sink->queue_room) {
        size_t room = sink->queue_room ? sink->queue_room * 2 : 1024;
        struct delayed *queue = need(malloc(room * sizeof *queue));
        for (size_t i = 0; i < sink->queue_count; i++)
            queue[i] = sink->queue[(sink->queue_first + i) % sink->queue_room];
        free(sink->queue);
        sink->queue = queue;
        sink->queue_room = room;
        sink->queue_first = 0;
    }
    size_t at = (sink->queue_first + sink->queue_count++) % sink->queue_room;
    sink->queue[at] = (struct delayed){c, sink->last_ns + (int64_t)sink->delay_ms * 1000000};
    c->waiting++;
}

static bool answer_stats(struct sink *sink, struct connection *c, bool clear)
{
    char body[256], text[512];
    int bytes = stats_print(sink, body, sizeof body);
    if (clear)
        stats_clear(sink);
    int all = snprintf(text, sizeof text,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                       bytes, body);
    return connection_queue(c, text, (size_t)all);
}

/* One whole head; its body is skipped as it comes. */
static bool take_request(struct sink *sink, struct connection *c, const char *head, const char *end)
{
    size_t bytes;
    const char *length = header_find(head, end, "content-length", &bytes);
    c->skip_bytes = length ? strtoul(length, NULL, 10) : 0;
    if (strncmp(head, "GET /stats", 10) == 0 || strncmp(head, "DELETE /stats", 13) == 0)
        return answer_stats(sink, c, head[0] == 'D');
    sink->last_ns = now_ns();
    if (sink->requests++ == 0)
        sink->first_ns = sink->last_ns;
    const char *key = header_find(head, end, sink->key, &bytes);
    if (key)
        count_key(sink, key, bytes);
    if (sink->delay_ms == 0)
        return connection_queue(c, sink->answer, sink->answer_bytes);
    delay_answer(sink, c);
    return true;
}

/* Takes what stands in the buffer: bodies to skip and whole heads; keeps the rest. */
static bool take_input(struct sink *sink, struct connection *c)
{
    size_t at = 0;
    for (;;) {
        size_t skip = c->skip_bytes < c->in_bytes - at ? c->skip_bytes : c->in_bytes - at;
        at += skip;
        c->skip_bytes -= skip;
        const char *head = c->in + at, *end = memmem(head, c->in_bytes - at, "\r\n\r\n", 4);
        if (c->skip_bytes > 0 || !end)
            break;
        at += (size_t)(end + 4 - head);
        if (!take_request(sink, c, head, end + 2))
            return false;
    }
    c->in_bytes -= at;
    memmove(c->in, c->in + at, c->in_bytes);
    return c->in_bytes < sizeof c->in - 1;
}

static void serve(struct sink *sink, struct connection *c)
{
    bool alive = connection_flush(c);
    while (alive) {
        ssize_t got = connection_read(c, c->in + c->in_bytes, sizeof c->in - 1 - c->in_bytes);
        if (got == 0)
            break;
        c->in_bytes += got > 0 ? (size_t)got : 0;
        c->in[c->in_bytes] = '\0';
        alive = got > 0 && take_input(sink, c) && connection_flush(c);
    }
    if (!alive)
        connection_close(c);
}

static void accept_all(struct sink *sink)
{
    for (;;) {
        int fd = accept4(sink->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *c = need(malloc(sizeof *c));
        memset(c, 0, offsetof(struct connection, in));
        c->fd = fd;
        if (sink->tls) {
            c->tls = need(SSL_new(sink->tls));
            SSL_set_fd(c->tls, fd);
            SSL_set_accept_state(c->tls);
        }
        sink->connections++;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
        epoll_ctl(sink->epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

/* Writes the answers that are due; returns how long the loop may sleep, -1 for ever. */
static int send_due(struct sink *sink)
{
    while (sink->queue_count > 0) {
        struct delayed next = sink->queue[sink->queue_first];
        int64_t wait_ns = next.due_ns - now_ns();
        if (wait_ns > 0)
            return (int)(wait_ns / 1000000 + 1);
        sink->queue_first = (sink->queue_first + 1) % sink->queue_room;
        sink->queue_count--;
        struct connection *c = next.connection;
        c->waiting--;
        if (c->closed || !connection_queue(c, sink->answer, sink->answer_bytes) || !connection_flush(c))
            connection_close(c);
    }
    return -1;
}

/* ---- start ---- */

static void fail(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void listen_on(struct sink *sink, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t bytes = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sink->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(sink->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (sink->listener < 0 || bind(sink->listener, (struct sockaddr *)&address, bytes) != 0 ||
        listen(sink->listener, BACKLOG) != 0 ||
        getsockname(sink->listener, (struct sockaddr *)&address, &bytes) != 0)
        fail("could not listen");
    sink->epoll = epoll_create1(EPOLL_CLOEXEC);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    sink->signals = signalfd(-1, &set, SFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &sink->listener};
    epoll_ctl(sink->epoll, EPOLL_CTL_ADD, sink->listener, &event);
    event.data.ptr = &sink->signals;
    epoll_ctl(sink->epoll, EPOLL_CTL_ADD, sink->signals, &event);
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void use_tls(struct sink *sink, const char *certificate, const char *key)
{
    sink->tls = need(SSL_CTX_new(TLS_server_method()));
    if (SSL_CTX_use_certificate_chain_file(sink->tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(sink->tls, key, SSL_FILETYPE_PEM) != 1) {
        fputs("sink: cannot use the certificate and key\n", stderr);
        exit(1);
    }
}

static void parse(struct sink *sink, int argc, char **argv, int *port, int *status)
{
    for (int i = 1; i < argc; i++) {
        int left = argc - 1 - i;
        if (left >= 1 && strcmp(argv[i], "--port") == 0)
            *port = atoi(argv[++i]);
        else if (left >= 1 && strcmp(argv[i], "--status") == 0)
            *status = atoi(argv[++i]);
        else if (left >= 1 && strcmp(argv[i], "--delay-ms") == 0)
            sink->delay_ms = atoi(argv[++i]);
        else if (left >= 1 && strcmp(argv[i], "--key") == 0)
            sink->key = argv[++i];
        else if (left >= 2 && strcmp(argv[i], "--tls") == 0) {
            use_tls(sink, argv[i + 1], argv[i + 2]);
            i += 2;
        } else {
            fputs("usage: sink [--port N] [--status N] [--delay-ms N] [--key HEADER] [--tls CERT KEY]\n",
                  stderr);
            exit(64);
        }
    }
}

static void run(struct sink *sink)
{
    struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(sink->epoll, events, EVENTS, send_due(sink));
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == &sink->signals)
                return;
            if (events[i].data.ptr == &sink->listener)
                accept_all(sink);
            else
                serve(sink, events[i].data.ptr);
        }
    }
}

int main(int argc, char **argv)
{
    struct sink sink = {.key = "webhook-id"};
    int port = 0, status = 204;
    parse(&sink, argc, argv, &port, &status);
    const char *length = status == 204 ? "" : "Content-Length: 0\r\n";
    sink.answer_bytes =
        (size_t)snprintf(sink.answer, sizeof sink.answer, "HTTP/1.1 %d OK\r\n%s\r\n", status, length);
    listen_on(&sink, port);
    run(&sink);
    char text[256];
    stats_print(&sink, text, sizeof text);
    fputs(text, stdout);
    free(sink.queue);
    free(sink.seen);
    SSL_CTX_free(sink.tls);
    return 0;
}
