#ifndef BELFRY_HANDLERS_FASTCGI_PARK_H
#define BELFRY_HANDLERS_FASTCGI_PARK_H
/*
 * Taking a connection out of libfcgi, and answering it with FastCGI records of our own.
 *
 * A waiting request needs only its descriptor and its request id; libfcgi would keep 12 kB of buffers for it.
 * So the connection is taken, the rest freed, and the answer is later written as STDOUT records, an empty one
 * and END_REQUEST (FastCGI specification, sections 3.3, 5.3, 5.5), after which the connection is closed: all
 * web servers that we know send one request per connection or accept that.
 *
 * Immediate answers are written the same way, since that is one system call instead of libfcgi's several.
 */
#include "core/buf.h"
#include "core/str.h"
#include <stdbool.h>
#include <stdint.h>

struct FCGX_Request;

struct fastcgi_connection {
    int fd; /* -1: none */
    uint16_t request_id;
};

/* Reads a request's parameters from a connection that was accepted. False: the peer left or speaks something
 * else; then the connection is closed. (libfcgi would accept by itself, but a signal that is to end its
 * accept() would also end its reading from a connection that it already has, and that request would be lost.)
 */
bool fastcgi_begin(struct FCGX_Request *request, int fd);

/* Takes the connection and frees everything else of the request, which may then be initialised anew. Its
 * input should have been read to the end. */
struct fastcgi_connection fastcgi_take(struct FCGX_Request *request);

/* Appends STDOUT records with the bytes of a and then b; nothing if both are empty. */
void fastcgi_add_output(struct buf *records, uint16_t request_id, struct str a, struct str b);
/* Appends the end of the output and of the request. */
void fastcgi_add_end(struct buf *records, uint16_t request_id);

/* Writes without waiting. Returns the bytes written, which may be fewer; -1 if the peer is gone. */
long fastcgi_write_some(int fd, struct str records);
/* Writes all, waiting at most wait_ms in total for a peer that reads slowly. False: gone or too slow. */
bool fastcgi_write_all(int fd, struct str records, int wait_ms);

/* Closes; if the peer may still be sending (its input was not read to the end), reads that away first, at
 * most for wait_ms: a close with unread input would take the answer from the peer as well. */
void fastcgi_close(int fd);
void fastcgi_close_drained(int fd, int wait_ms);

#endif
