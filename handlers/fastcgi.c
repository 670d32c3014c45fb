/*
 * Accepting through libfcgi, answering with records of our own: one write for each answer.
 *
 * Traps that this file knows: FCGX_Init installs signal handlers (main() blocks signals before and sets its
 * own after); closing through libfcgi can wait 2 s for the peer (we close ourselves); a close with unread
 * input can take the answer away from the peer (we read it first).
 */
#include "handlers/fastcgi.h"
#include "core/limits.h"
#include "core/log.h"
#include "handlers/fastcgi_turn.h"
#include "handlers/request.h"
#include "handlers/response.h"
#include "handlers/route.h"
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 4096, /* what the kernel's own maximum allows by default */
    THREAD_STACK_BYTES = 256 << 10,
    WRITE_MS = 10000,
    DRAIN_MS = 2000,
    PAUSE_NS = 10000000,
    /* How long an accepted connection may say nothing. A web server that has just connected thousands of
     * requests needs a while to write them all; libfcgi's 2 s are too short (seen with 8,000). */
    FIRST_BYTE_MS = 15000,
    RECORDS_KEEP_BYTES = 64 << 10,
    INPUT_REST_BYTES = 1 << 16
};

struct fastcgi_thread {
    struct fastcgi *front;
    pthread_t id;
    atomic_bool done;
    struct route_thread route;
    struct response response; /* this and the two buffers are used again and again */
    struct buf head, records;
};

struct fastcgi {
    struct app *app;
    int socket;
    bool own_socket;
    dev_t device; /* of our socket's file, so that a successor's is not removed */
    ino_t inode;
    atomic_bool stopping;
    struct fastcgi_turn *writes;
    int thread_count;
    struct fastcgi_thread threads[];
};

/* One request's connection while a function runs. */
struct front_connection {
    FCGX_Request *request;
    struct fastcgi_connection taken;
    bool input_read;
};

/* ---- input ---- */

static long read_input(void *context, char *into, size_t bytes)
{
    struct front_connection *connection = context;
    if (connection->request == NULL)
        return -1;
    return FCGX_GetStr(into, (int)(bytes > 1 << 20 ? 1 << 20 : bytes), connection->request->in);
}

/* The end of the input is a record of its own. False: there is more than a few bytes, which nobody wants. */
static bool read_input_end(FCGX_Request *request)
{
    char rest[512];
    for (int bytes = 0; bytes < INPUT_REST_BYTES;) {
        int got = FCGX_GetStr(rest, sizeof rest, request->in);
        if (got <= 0)
            return true;
        bytes += got;
    }
    return false;
}

static void take(struct front_connection *connection, bool body_is_unread)
{
    if (connection->request == NULL)
        return;
    connection->input_read = !body_is_unread && read_input_end(connection->request);
    connection->taken = fastcgi_take(connection->request);
    connection->request = NULL;
}

struct fastcgi_connection fastcgi_detach(void *context)
{
    struct front_connection *connection = context;
    take(connection, false);
    return connection->taken;
}

/* ---- one request ---- */

static void write_answer(struct fastcgi_thread *thread, struct front_connection *connection,
                         struct response *response)
{
    struct buf *head = &thread->head;
    buf_clear(head);
    if (!response_write_head(response, head)) {
        log_error("an answer could not be written", LOG_INT("bytes", response->body.bytes));
        buf_clear(head);
        response_close(response);
        response_open(response, thread->route.arena);
        response_problem(response, PROBLEM_FAILED, NULL, "The answer was too large.");
        (void)response_write_head(response, head);
    }
    struct str body = response->without_body ? STR_NONE : buf_str(&response->body);
    buf_clear(&thread->records);
    fastcgi_add_output(&thread->records, connection->taken.request_id, buf_str(head), body);
    fastcgi_add_end(&thread->records, connection->taken.request_id);
    if (buf_ok(&thread->records))
        (void)fastcgi_write_all(connection->taken.fd, buf_str(&thread->records), WRITE_MS);
    if (connection->input_read)
        fastcgi_close(connection->taken.fd);
    else
        fastcgi_close_drained(connection->taken.fd, DRAIN_MS);
    if (thread->records.capacity > RECORDS_KEEP_BYTES)
        buf_free(&thread->records);
}

static void serve(struct fastcgi_thread *thread, FCGX_Request *raw)
{
    struct front_connection connection = {.request = raw, .taken = {-1, 0}};
    struct request request;
    struct response *response = &thread->response;
    struct error error = {0};
    response_reuse(response);
    enum result result = request_from_cgi(&request, thread->route.arena, raw->envp, &error);
    if (result == RESULT_OK)
        route_dispatch(&thread->route, routes_all, &request, response, read_input, &connection);
    else
        response_problem(response, result == RESULT_INVALID ? PROBLEM_MALFORMED : PROBLEM_FAILED, NULL, "%s",
                         error.text);
    if (!response->taken) {
        bool body_is_unread = result != RESULT_OK || request.content_length > request.body.bytes;
        take(&connection, body_is_unread);
        write_answer(thread, &connection, response);
    }
    arena_reset(thread->route.arena);
}

/* The next connection; -1 with errno. Only here may the signal that ends the thread reach it, so that it cuts
 * no request that was accepted. */
static int accept_connection(struct fastcgi *front, const sigset_t *interrupt)
{
    int fd = -1;
    pthread_sigmask(SIG_UNBLOCK, interrupt, NULL);
    if (!atomic_load(&front->stopping) || front->own_socket)
        fd = accept4(front->socket, NULL, NULL, SOCK_CLOEXEC);
    int reason = errno;
    pthread_sigmask(SIG_BLOCK, interrupt, NULL);
    errno = reason;
    return fd;
}

/* False: there is no request, and the connection is closed. */
static bool begin_request(FCGX_Request *request, int fd)
{
    struct pollfd first = {.fd = fd, .events = POLLIN};
    if (poll(&first, 1, FIRST_BYTE_MS) == 1)
        return fastcgi_begin(request, fd);
    close(fd);
    return false;
}

/* Serves a request, or leaves it to a thread that is at a write already; then the writes that wait. */
static void serve_in_turn(struct fastcgi_thread *thread, FCGX_Request *request)
{
    struct fastcgi_turn *writes = thread->front->writes;
    bool is_write = fastcgi_turn_needed(request);
    if (is_write && !fastcgi_turn_enter(writes, request))
        return;
    for (; request != NULL; request = is_write ? fastcgi_turn_next(writes) : NULL) {
        serve(thread, request);
        free(request);
    }
}

/* On the heap, since another thread may serve it and libfcgi's streams point back at it. */
static void serve_connection(struct fastcgi_thread *thread, int fd)
{
    FCGX_Request *request = malloc(sizeof *request);
    if (request == NULL)
        close(fd);
    else if (begin_request(request, fd))
        serve_in_turn(thread, request);
    else
        free(request);
}

static void *accept_requests(void *context)
{
    struct fastcgi_thread *thread = context;
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGUSR2);
    for (;;) {
        int fd = accept_connection(thread->front, &interrupt);
        if (fd >= 0) {
            serve_connection(thread, fd);
        } else if (atomic_load(&thread->front->stopping)) {
            break;
        } else if (errno != EINTR) { /* out of descriptors, mostly: wait until some are back */
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        }
    }
    atomic_store(&thread->done, true);
    return NULL;
}

/* ---- the socket ---- */

/* Bound beside and moved over: a socket that is in use is replaced without a moment of absence. */
static enum result listen_on(struct fastcgi *front, const char *path, struct error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char beside[sizeof address.sun_path];
    struct stat status;
    if (snprintf(beside, sizeof beside, "%s.%d", path, (int)getpid()) >= (int)sizeof beside)
        return error_set(error, RESULT_INVALID, "cannot listen on %s: the path is too long", path);
    memcpy(address.sun_path, beside, sizeof beside);
    unlink(beside);
    front->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (front->socket < 0 || bind(front->socket, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(beside, 0660) != 0 || listen(front->socket, BACKLOG) != 0 || stat(beside, &status) != 0 ||
        rename(beside, path) != 0) {
        error_set(error, RESULT_FAILED, "could not listen on %s: %s", path, strerror(errno));
        unlink(beside);
        return RESULT_FAILED;
    }
    front->own_socket = true;
    front->device = status.st_dev;
    front->inode = status.st_ino;
    return RESULT_OK;
}

static void stop_listening(struct fastcgi *front)
{
    const char *path = front->app->config->listen;
    struct stat status;
    if (!front->own_socket)
        return;
    if (stat(path, &status) == 0 && status.st_dev == front->device && status.st_ino == front->inode)
        unlink(path);
    fcntl(front->socket, F_SETFL,
          fcntl(front->socket, F_GETFL) | O_NONBLOCK); /* accept what waits, then end */
}

/* ---- life ---- */

static void on_interrupt(int signal_number)
{
    (void)signal_number; /* only to make accept() return */
}

static bool start_thread(struct fastcgi *front, struct fastcgi_thread *thread,
                         const pthread_attr_t *attributes)
{
    thread->front = front;
    thread->records = BUF_INIT(LIMIT_RESPONSE_BYTES + (1 << 20));
    thread->route = (struct route_thread){front->app, arena_create(LIMIT_REQUEST_ARENA_BYTES),
                                          redis_open(front->app->config->redis)};
    response_open(&thread->response, thread->route.arena);
    thread->head = BUF_INIT(32768);
    return thread->route.arena != NULL && thread->route.redis != NULL &&
           pthread_create(&thread->id, attributes, accept_requests, thread) == 0;
}

enum result fastcgi_start(struct app *app, struct fastcgi **out, struct error *error)
{
    int count = app->config->threads;
    struct fastcgi *front = calloc(1, sizeof *front + (size_t)count * sizeof *front->threads);
    if (front == NULL)
        return error_set(error, RESULT_FAILED, "no memory for %d threads", count);
    front->app = app;
    front->writes = fastcgi_turn_create(count / 2);
    if (front->writes == NULL) {
        free(front);
        return error_set(error, RESULT_FAILED, "no memory for waiting writes");
    }
    setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "0", 1);
    FCGX_Init();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    struct sigaction interrupt = {.sa_handler = on_interrupt}; /* without SA_RESTART */
    sigaction(SIGUSR2, &interrupt, NULL);
    if (app->config->listen[0] != '\0') {
        enum result result = listen_on(front, app->config->listen, error);
        if (result != RESULT_OK) {
            fastcgi_turn_destroy(front->writes);
            free(front);
            return result;
        }
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    *out = front;
    while (front->thread_count < count &&
           start_thread(front, &front->threads[front->thread_count], &attributes))
        front->thread_count++;
    pthread_attr_destroy(&attributes);
    if (front->thread_count == count)
        return RESULT_OK;
    fastcgi_stop(front);
    return error_set(error, RESULT_FAILED, "could not start %d threads", count);
}

void fastcgi_quit(struct fastcgi *front)
{
    if (atomic_exchange(&front->stopping, true))
        return;
    stop_listening(front);
    for (int t = 0; t < front->thread_count; t++)
        pthread_kill(front->threads[t].id, SIGUSR2);
}

void fastcgi_stop(struct fastcgi *front)
{
    fastcgi_quit(front);
    for (int t = 0; t < front->thread_count; t++) {
        /* A signal may come just before accept() is entered: again, until the thread has seen it. */
        while (!atomic_load(&front->threads[t].done)) {
            pthread_kill(front->threads[t].id, SIGUSR2);
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
        }
        pthread_join(front->threads[t].id, NULL);
        redis_close(front->threads[t].route.redis);
        arena_destroy(front->threads[t].route.arena);
        response_close(&front->threads[t].response);
        buf_free(&front->threads[t].head);
        buf_free(&front->threads[t].records);
    }
    if (front->own_socket)
        close(front->socket);
    fastcgi_turn_destroy(front->writes);
    free(front);
}
