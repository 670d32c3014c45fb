#ifndef BELFRY_IO_HTTP_H
#define BELFRY_IO_HTTP_H
/*
 * Outgoing transfers, HTTP/1.1, HTTP/2 and SMTP, many at once on one thread: only http*.c include
 * curl/curl.h. The worker's loop gives its epoll descriptor; libcurl's sockets and timers live in it.
 *
 * The process must ignore SIGPIPE. Easy handles are kept and reused. Connections are pooled by libcurl.
 * Redirects are never followed, no proxy is taken from the environment, and the connected address is checked
 * (sockopt/opensocket callback): private, loopback, link-local, multicast, unique-local, IPv4-mapped and
 * metadata addresses are refused unless allowed (RFC 1918, 4193, 6890).
 */
#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "core/str.h"
#include <stdbool.h>
#include <stdint.h>

struct sockaddr;
struct http; /* a multi handle and its easy handles */

enum { HTTP_HEADERS_MAX = 24, HTTP_ANSWER_BYTES_MAX = 65536 };

enum http_kind { HTTP_POST, HTTP_GET, HTTP_PUT, HTTP_DELETE, HTTP_SMTP };

/* A request, as a provider's build() makes it. All views must live until http_start() returns, body and
 * message until the transfer ends (they are the batch's). */
struct http_request {
    enum http_kind kind;
    struct str url; /* https://…, smtp://host:587, smtps://host:465 */
    int header_count;
    struct str headers[HTTP_HEADERS_MAX]; /* "Name: value"; refused if they hold control characters */
    struct str body;                      /* HTTP body or SMTP message (CRLF, dot-stuffing is libcurl's) */
    int timeout_ms;                       /* whole transfer */
    int connect_timeout_ms;
    bool fresh_connection; /* where a repeat is visible: libcurl 7.88 silently sends a request again
                            * when a kept connection was closed without an answer */
    bool public_only;      /* the URL was chosen by a tenant or a browser: address check applies */
    /* SMTP */
    struct str mail_from, mail_to, user, password;
    bool starttls; /* required; never falls back to clear text */
};

/* What came back, for classify(). Views are valid during the callback. */
enum http_failure {
    HTTP_ANSWERED,          /* status is set; if the rest of the answer was cut, detail is set too */
    HTTP_NOT_SENT,          /* nothing of the request was written: DNS, connect, TLS */
    HTTP_BAD_CERTIFICATE,   /* verification failed, or no STARTTLS where it is required: configuration */
    HTTP_FORBIDDEN_ADDRESS, /* the connected address is not allowed */
    HTTP_LOST               /* broken or timed out after something was written: the outcome is unknown */
};
struct http_answer {
    enum http_failure failure;
    int status; /* HTTP status, or the SMTP reply code of the command that ended it; else 0 or the last seen
                 */
    bool smtp_after_data; /* the whole message was written: the final dot may be on its way */
    struct str
        header_block;  /* raw lines of the last head, or all SMTP replies of this transfer; at most 32 KiB */
    struct str body;   /* at most HTTP_ANSWER_BYTES_MAX; a longer one is cut there */
    struct str detail; /* libcurl's words, without credentials; STR_NONE when all went well */
    int64_t elapsed_us;
};
/* The value of a header in the last block, case-insensitive; STR_NONE if absent. */
struct str http_answer_header(const struct http_answer *answer, const char *name);
/* True for what a URL chosen by others may not reach: all but globally reachable unicast addresses (RFC 6890
 * and its updates); IPv4 inside IPv6 is judged as IPv4. Unknown families are private. */
bool http_address_is_private(const struct sockaddr *address);
/* Retry-After in milliseconds (seconds or HTTP date, RFC 9110 §10.2.3), clamped to one hour; -1 if absent. */
int64_t http_answer_retry_after_ms(const struct http_answer *answer);

typedef void http_done(void *context, const struct http_answer *answer);

struct http_settings {
    int epoll_fd; /* the loop's; events carry a pointer to struct http_socket in data.ptr, or NULL */
    int in_flight_max;
    int connections_per_host; /* 0 = libcurl's choice */
    bool private_addresses;   /* allowed even where public_only */
    const char *ca_file;      /* additional trust; NULL = the system's */
    const char *smtp_name;    /* EHLO name */
};
enum result http_create(const struct http_settings *settings, struct http **http,
                        struct error *error) MUST_CHECK;
void http_destroy(struct http *http); /* transfers still running get HTTP_LOST */
/* Starts a transfer; done is called exactly once, from http_event(), http_turn() or http_destroy().
 * RESULT_BUSY when in_flight_max run already, RESULT_INVALID for control characters in a header, URL or
 * address. It begins with the next http_turn(). */
enum result http_start(struct http *http, const struct http_request *request, http_done *done, void *context,
                       struct error *error) MUST_CHECK;
/* An epoll event of one of its sockets (event_data is the event's data.ptr). */
void http_event(struct http *http, void *event_data, uint32_t events);
/* Timers and finished transfers; call once a turn. Returns milliseconds until it wants to be called again, -1
 * = no timer. */
int http_turn(struct http *http);
int http_in_flight(const struct http *http);

#endif
