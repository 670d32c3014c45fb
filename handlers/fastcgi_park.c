/*
 * The one file that reads fields which libfcgi marks as its own (`ipcFd`, `detached`, `keepConnection`):
 * tests/unit/test_park.c checks that they still mean what is assumed here.
 */
#include "handlers/fastcgi_park.h"
#include "core/clock.h"
#include <errno.h>
#include <fcgiapp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* FastCGI specification, section 8. */
enum {
    FASTCGI_VERSION = 1,
    RECORD_END_REQUEST = 3,
    RECORD_STDOUT = 6,
    RECORD_HEAD_BYTES = 8,
    RECORD_CONTENT_MAX = 65528, /* a multiple of 8 below 65,536: full records need no padding */
    REQUEST_COMPLETE = 0
};

bool fastcgi_begin(FCGX_Request *request, int fd)
{
    FCGX_InitRequest(request, -1,
                     FCGI_FAIL_ACCEPT_ON_INTR); /* it has no socket to accept from, so it will not wait */
    request->ipcFd = fd;
    request->keepConnection = 1; /* as if it had been kept from an earlier request */
    if (FCGX_Accept_r(request) == 0)
        return true;
    FCGX_Free(request, 1);
    return false;
}

struct fastcgi_connection fastcgi_take(FCGX_Request *request)
{
    struct fastcgi_connection connection = {request->ipcFd, (uint16_t)request->requestId};
    FCGX_Free(request, 0);
    request->ipcFd = -1;
    request->keepConnection = 0;
    return connection;
}

static void add_head(struct buf *records, int type, uint16_t request_id, size_t content, size_t padding)
{
    const unsigned char head[RECORD_HEAD_BYTES] = {FASTCGI_VERSION,
                                                   (unsigned char)type,
                                                   (unsigned char)(request_id >> 8),
                                                   (unsigned char)(request_id & 0xff),
                                                   (unsigned char)(content >> 8),
                                                   (unsigned char)(content & 0xff),
                                                   (unsigned char)padding,
                                                   0};
    buf_add(records, head, sizeof head);
}

static size_t add_part(struct buf *records, struct str *part, size_t room)
{
    size_t bytes = part->bytes < room ? part->bytes : room;
    buf_add(records, part->data, bytes);
    part->data += bytes;
    part->bytes -= bytes;
    return bytes;
}

void fastcgi_add_output(struct buf *records, uint16_t request_id, struct str a, struct str b)
{
    static const char zeros[8];
    while (a.bytes + b.bytes > 0) {
        size_t all = a.bytes + b.bytes, content = all < RECORD_CONTENT_MAX ? all : RECORD_CONTENT_MAX;
        size_t padding = -content & 7;
        add_head(records, RECORD_STDOUT, request_id, content, padding);
        size_t room = content;
        if (a.bytes > 0)
            room -= add_part(records, &a, room);
        if (room > 0)
            add_part(records, &b, room);
        buf_add(records, zeros, padding);
    }
}

void fastcgi_add_end(struct buf *records, uint16_t request_id)
{
    static const unsigned char end[8] = {0, 0, 0, 0, REQUEST_COMPLETE};
    add_head(records, RECORD_STDOUT, request_id, 0, 0);
    add_head(records, RECORD_END_REQUEST, request_id, sizeof end, 0);
    buf_add(records, end, sizeof end);
}

long fastcgi_write_some(int fd, struct str records)
{
    size_t done = 0;
    while (done < records.bytes) {
        ssize_t sent = send(fd, records.data + done, records.bytes - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0)
            done += (size_t)sent;
        else if (sent < 0 && errno == EINTR)
            continue;
        else if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        else
            return -1;
    }
    return (long)done;
}

bool fastcgi_write_all(int fd, struct str records, int wait_ms)
{
    int64_t deadline_ms = clock_mono_ms() + wait_ms;
    for (;;) {
        long sent = fastcgi_write_some(fd, records);
        if (sent < 0)
            return false;
        records.data += sent;
        records.bytes -= (size_t)sent;
        if (records.bytes == 0)
            return true;
        int64_t left_ms = deadline_ms - clock_mono_ms();
        struct pollfd waiting = {.fd = fd, .events = POLLOUT};
        if (left_ms <= 0 || (poll(&waiting, 1, (int)left_ms) < 0 && errno != EINTR))
            return false;
    }
}

void fastcgi_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

void fastcgi_close_drained(int fd, int wait_ms)
{
    if (fd < 0)
        return;
    int64_t deadline_ms = clock_mono_ms() + wait_ms;
    shutdown(fd, SHUT_WR);
    char away[4096];
    for (;;) {
        ssize_t got = recv(fd, away, sizeof away, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            break;
        int64_t left_ms = deadline_ms - clock_mono_ms();
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (left_ms <= 0 || (got < 0 && poll(&waiting, 1, (int)left_ms) == 0))
            break;
    }
    close(fd);
}
