#ifndef BELFRY_IO_HTTP_PRIVATE_H
#define BELFRY_IO_HTTP_PRIVATE_H
/* What http.c (life of a client), http_transfer.c (one transfer) and http_socket.c (libcurl's sockets in the
 * caller's epoll) share. Nobody else includes this. */
#include "core/buf.h"
#include "io/http.h"
#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HTTP_HEADER_BLOCK_BYTES_MAX = 32768, /* what of an answer's head is kept */
    HTTP_KEPT_BYTES = 8192,              /* a bigger answer's memory is given back after it */
    HTTP_NAME_BYTES_MAX = 255,
    SMTP_IDLE_S = 30 /* a connection that was idle for longer may be about to be closed by the server */
};

struct http_socket {
    int fd;
    uint32_t events; /* as epoll knows them; 0 = not in it */
    bool wanted;     /* libcurl waits for it now */
    bool ours;       /* opened by us, so that we hear of its end; libcurl's own pipes are not */
    bool closed;     /* events that still arrive in this turn mean nothing */
    struct http_socket *next;
};

struct http_sockets {
    int epoll_fd;
    struct http_socket **by_fd;
    int by_fd_count;
    struct http_socket *closed; /* until the turn ends */
    struct http_socket *spare;
};

/* An easy handle with what it needs; kept and used again. What it was last set to is remembered, so that only
 * what differs is set. */
struct http_transfer {
    struct http *http;
    CURL *easy;
    struct http_transfer *next_free, *previous, *next; /* free list; list of those that run */
    bool smtp;
    /* as last set */
    enum http_kind kind;
    int timeout_ms, connect_timeout_ms;
    bool fresh, tls, checked, was_set;
    /* of this transfer */
    http_done *done;
    void *context;
    struct str body;
    size_t body_read;
    bool public_only;
    bool refused; /* an address was */
    char *text;   /* URL, headers and addresses, each terminated */
    size_t text_bytes;
    struct curl_slist headers[HTTP_HEADERS_MAX + 2], recipient;
    char error_text[CURL_ERROR_SIZE];
    struct buf header_block, answer;
};

struct http {
    CURLM *multi;
    struct http_sockets sockets;
    int64_t timer_at_ms; /* of the monotonic clock, -1 = none */
    int in_flight, in_flight_max;
    bool private_addresses;
    char *ca_file;
    char smtp_name[HTTP_NAME_BYTES_MAX + 1];
    struct http_transfer *running, *free_http, *free_smtp;
};

/* ---- http_socket.c ---- */
/* Puts a socket that was just opened under our care; false if memory ran out. */
bool http_socket_opened(struct http_sockets *sockets, int fd) MUST_CHECK;
void http_socket_closing(struct http_sockets *sockets, int fd);
/* What libcurl wants from it now: CURL_POLL_IN, …, CURL_POLL_REMOVE. */
bool http_socket_want(struct http_sockets *sockets, int fd, int what) MUST_CHECK;
/* True if libcurl should hear of an event. */
bool http_socket_event(struct http_sockets *sockets, struct http_socket *socket);
void http_sockets_end_turn(struct http_sockets *sockets);
void http_sockets_free(struct http_sockets *sockets);

/* ---- http_transfer.c ---- */
struct http_transfer *http_transfer_create(struct http *http, bool smtp) MUST_CHECK;
void http_transfer_free(struct http_transfer *t);
/* Sets the handle to the request. */
enum result http_transfer_set(struct http_transfer *t, const struct http_request *request,
                              struct error *error) MUST_CHECK;
/* What came of it; the views live until the transfer is used again. */
void http_transfer_answer(struct http_transfer *t, CURLcode code, struct http_answer *answer);

#endif
