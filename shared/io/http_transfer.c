/*
 * One transfer: setting an easy handle to a request, and telling from libcurl's words what became of it.
 *
 * Handles are used again and again without a reset; what never changes is set once, what did not change since
 * the last request is left alone. A header list is built in the handle's own memory.
 *
 * Addresses are checked twice where the URL was chosen by a tenant or a browser: when a socket is about to be
 * opened, on the very address that it will connect to (so that a name cannot resolve to something else
 * meanwhile), and before the request goes out, on the address that the connection has (it may be an old one
 * that a transfer without the check had opened).
 *
 * What libcurl 7.88 does on its own: a request on a kept connection that its peer closed without a byte of
 * answer is sent again, POST too. Who cannot have that sets fresh_connection.
 */
#include "format/check.h"
#include "io/http_private.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- callbacks ---- */

static size_t on_answer(char *data, size_t size, size_t count, void *context)
{
    struct http_transfer *t = context;
    size_t bytes = size * count, room = HTTP_ANSWER_BYTES_MAX - t->answer.bytes;
    buf_add(&t->answer, data, bytes < room ? bytes : room);
    return bytes <= room ? bytes : 0; /* 0 ends the transfer: more is of no use */
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    struct http_transfer *t = context;
    size_t bytes = size * count;
    if (!t->smtp && bytes >= 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_clear(&t->header_block); /* what came before was an interim answer */
    buf_add(&t->header_block, data, bytes);
    return bytes;
}

static size_t on_read(char *out, size_t size, size_t count, void *context)
{
    struct http_transfer *t = context;
    size_t left = t->body.bytes - t->body_read, bytes = size * count;
    if (bytes > left)
        bytes = left;
    if (bytes)
        memcpy(out, t->body.data + t->body_read, bytes);
    t->body_read += bytes;
    return bytes;
}

static bool is_checked(const struct http_transfer *t)
{
    return t->public_only && !t->http->private_addresses;
}

static curl_socket_t on_open(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct http_transfer *t = context;
    if (is_checked(t) && http_address_is_private(&address->addr)) {
        t->refused = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    if (fd >= 0 && !http_socket_opened(&t->http->sockets, fd)) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

static int on_close(void *context, curl_socket_t fd)
{
    struct http *http = context;
    http_socket_closing(&http->sockets, fd);
    return close(fd);
}

static bool text_is_private(const char *address)
{
    struct sockaddr_in ip4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, address, &ip4.sin_addr) == 1)
        return http_address_is_private((const struct sockaddr *)&ip4);
    if (inet_pton(AF_INET6, address, &ip6.sin6_addr) == 1)
        return http_address_is_private((const struct sockaddr *)&ip6);
    return true;
}

static int on_connected(void *context, char *remote, char *local, int remote_port, int local_port)
{
    (void)local;
    (void)remote_port;
    (void)local_port;
    struct http_transfer *t = context;
    if (!is_checked(t) || !text_is_private(remote))
        return CURL_PREREQFUNC_OK;
    t->refused = true;
    return CURL_PREREQFUNC_ABORT;
}

/* ---- a handle ---- */

#define SET(option, value)                                                                                   \
    do {                                                                                                     \
        if (curl_easy_setopt(t->easy, (option), (value)) != CURLE_OK)                                        \
            return false;                                                                                    \
    } while (0)

static bool set_once(struct http_transfer *t)
{
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_ERRORBUFFER, t->error_text);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_NOPROGRESS, 1L);
    SET(CURLOPT_PROXY, ""); /* not even from the environment */
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROTOCOLS_STR, t->smtp ? "smtp,smtps" : "http,https");
    SET(CURLOPT_WRITEFUNCTION, on_answer);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
    SET(CURLOPT_OPENSOCKETDATA, t);
    SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
    SET(CURLOPT_CLOSESOCKETDATA, t->http); /* a connection outlives the transfer that opened it */
    SET(CURLOPT_PREREQDATA, t);
    if (t->http->ca_file) /* beside the directory of the system's, which stays */
        SET(CURLOPT_CAINFO, t->http->ca_file);
    if (!t->smtp) {
        SET(CURLOPT_USERAGENT, "Belfry");
        return true;
    }
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_SASL_IR,
        1L); /* the login in the AUTH command itself (RFC 4954 section 4): a round trip less */
    SET(CURLOPT_READFUNCTION, on_read);
    SET(CURLOPT_READDATA, t);
    return true;
}

struct http_transfer *http_transfer_create(struct http *http, bool smtp)
{
    struct http_transfer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->http = http;
    t->smtp = smtp;
    t->header_block = BUF_INIT(HTTP_HEADER_BLOCK_BYTES_MAX);
    t->answer = BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    t->easy = curl_easy_init();
    if (!t->easy || !set_once(t)) {
        http_transfer_free(t);
        return NULL;
    }
    return t;
}

void http_transfer_free(struct http_transfer *t)
{
    if (!t)
        return;
    if (t->easy)
        curl_easy_cleanup(t->easy);
    buf_free(&t->header_block);
    buf_free(&t->answer);
    free(t->text);
    free(t);
}

/* ---- texts of a request ---- */

static bool is_address(struct str s)
{
    for (size_t i = 0; i < s.bytes; i++)
        if (strchr("<> \t", s.data[i]))
            return false;
    return check_header_value(s);
}

static enum result check_texts(const struct http_request *r, struct error *error)
{
    if (!check_printable(r->url))
        return error_set(error, RESULT_INVALID,
                         "cannot send to this URL: it holds spaces or control characters");
    if (r->header_count < 0 || r->header_count > HTTP_HEADERS_MAX)
        return error_set(error, RESULT_INVALID, "cannot send %d headers", r->header_count);
    for (int i = 0; i < r->header_count; i++)
        if (!check_header_value(r->headers[i]) || !memchr(r->headers[i].data, ':', r->headers[i].bytes))
            return error_set(error, RESULT_INVALID,
                             "cannot send header %d: it holds control characters or no colon", i + 1);
    if (r->kind != HTTP_SMTP)
        return RESULT_OK;
    if (!is_address(r->mail_from) || !is_address(r->mail_to) || r->mail_to.bytes == 0)
        return error_set(error, RESULT_INVALID, "cannot send to or from this mail address");
    if ((r->user.bytes && !check_header_value(r->user)) ||
        (r->password.bytes && !check_header_value(r->password)))
        return error_set(error, RESULT_INVALID, "cannot log in: user or password hold control characters");
    return RESULT_OK;
}

static bool make_text_room(struct http_transfer *t, const struct http_request *r)
{
    size_t bytes = r->url.bytes + r->mail_from.bytes + r->mail_to.bytes + r->user.bytes + r->password.bytes +
                   HTTP_NAME_BYTES_MAX + 16;
    for (int i = 0; i < r->header_count; i++)
        bytes += r->headers[i].bytes + 1;
    if (bytes <= t->text_bytes)
        return true;
    char *more = realloc(t->text, bytes);
    if (!more)
        return false;
    t->text = more;
    t->text_bytes = bytes;
    return true;
}

/* Appends a terminated copy at *end and moves it behind. */
static char *keep(char **end, struct str s)
{
    char *start = *end;
    if (s.bytes)
        memcpy(start, s.data, s.bytes);
    start[s.bytes] = '\0';
    *end += s.bytes + 1;
    return start;
}

static bool starts_nocase(struct str s, const char *prefix)
{
    return s.bytes >= strlen(prefix) && strncasecmp(s.data, prefix, strlen(prefix)) == 0;
}

/* The list of headers, in memory that stays; NULL entries of libcurl's own are taken out. */
static struct curl_slist *list_headers(struct http_transfer *t, const struct http_request *r, char **end)
{
    static char no_expect[] = "Expect:", no_type[] = "Content-Type:";
    bool has_type = false;
    int count = 0;
    for (int i = 0; i < r->header_count; i++) {
        has_type = has_type || starts_nocase(r->headers[i], "content-type:");
        t->headers[count++].data = keep(end, r->headers[i]);
    }
    t->headers[count++].data = no_expect;
    if (!has_type)
        t->headers[count++].data = no_type;
    for (int i = 0; i < count; i++)
        t->headers[i].next = i + 1 < count ? &t->headers[i + 1] : NULL;
    return t->headers;
}

/* ---- setting ---- */

static bool set_common(struct http_transfer *t, const struct http_request *r)
{
    if (!t->was_set || t->timeout_ms != r->timeout_ms)
        SET(CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    if (!t->was_set || t->connect_timeout_ms != r->connect_timeout_ms)
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_timeout_ms);
    if (!t->was_set || t->fresh != r->fresh_connection) {
        SET(CURLOPT_FRESH_CONNECT, r->fresh_connection ? 1L : 0L);
        SET(CURLOPT_FORBID_REUSE, r->fresh_connection ? 1L : 0L);
    }
    if (!t->was_set || t->checked != is_checked(t))
        SET(CURLOPT_PREREQFUNCTION, is_checked(t) ? on_connected : NULL);
    t->timeout_ms = r->timeout_ms;
    t->connect_timeout_ms = r->connect_timeout_ms;
    t->fresh = r->fresh_connection;
    t->checked = is_checked(t);
    return true;
}

static bool set_method(struct http_transfer *t, enum http_kind kind)
{
    if (t->was_set && t->kind == kind)
        return true;
    const char *custom = kind == HTTP_PUT ? "PUT" : kind == HTTP_DELETE ? "DELETE" : NULL;
    if (kind == HTTP_GET || kind == HTTP_DELETE)
        SET(CURLOPT_HTTPGET, 1L);
    else
        SET(CURLOPT_POST, 1L);
    SET(CURLOPT_CUSTOMREQUEST, custom);
    return true;
}

static bool set_http(struct http_transfer *t, const struct http_request *r)
{
    char *end = t->text;
    bool tls = starts_nocase(r->url, "https:");
    SET(CURLOPT_URL, keep(&end, r->url));
    if (!set_method(t, r->kind))
        return false;
    if (r->kind == HTTP_POST || r->kind == HTTP_PUT) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.bytes);
        SET(CURLOPT_POSTFIELDS, r->body.bytes ? r->body.data : "");
    }
    SET(CURLOPT_HTTPHEADER, list_headers(t, r, &end));
    if (!t->was_set || t->tls != tls) {
        /* over TLS one HTTP/2 connection carries many: better wait for it than open another */
        SET(CURLOPT_HTTP_VERSION, tls ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
        SET(CURLOPT_PIPEWAIT, tls ? 1L : 0L);
    }
    t->tls = tls;
    t->kind = r->kind;
    return true;
}

static bool set_smtp(struct http_transfer *t, const struct http_request *r)
{
    char *end = t->text, *url = end;
    struct str address = r->url;
    while (address.bytes && address.data[address.bytes - 1] == '/')
        address.bytes--;
    memcpy(end, address.data, address.bytes);
    end[address.bytes] = '/'; /* libcurl takes the EHLO name from the path */
    end += address.bytes + 1;
    keep(&end, str_from(t->http->smtp_name));
    SET(CURLOPT_URL, url);
    SET(CURLOPT_MAIL_FROM, keep(&end, r->mail_from));
    t->recipient.data = keep(&end, r->mail_to);
    SET(CURLOPT_MAIL_RCPT, &t->recipient);
    SET(CURLOPT_USERNAME, r->user.bytes ? keep(&end, r->user) : NULL);
    SET(CURLOPT_PASSWORD, r->user.bytes ? keep(&end, r->password) : NULL);
    SET(CURLOPT_USE_SSL, r->starttls ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_NONE);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body.bytes);
    /* the reply to the final dot may take ten minutes (RFC 5321 4.5.3.2.6); libcurl's own limit is two */
    SET(CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)r->timeout_ms / 1000 + 1);
    /* a server that closes idle connections says so with a 421, which would be our next reply */
    SET(CURLOPT_MAXAGE_CONN, (long)SMTP_IDLE_S);
    return true;
}

enum result http_transfer_set(struct http_transfer *t, const struct http_request *r, struct error *error)
{
    enum result code = check_texts(r, error);
    if (code != RESULT_OK)
        return code;
    t->body = r->body;
    t->body_read = 0;
    t->public_only = r->public_only;
    t->refused = false;
    t->error_text[0] = '\0';
    buf_clear(&t->header_block);
    buf_clear(&t->answer);
    if (!make_text_room(t, r) || !set_common(t, r) || !(t->smtp ? set_smtp(t, r) : set_http(t, r)))
        return error_set(error, RESULT_FAILED, "could not prepare a transfer");
    t->was_set = true;
    return RESULT_OK;
}

/* ---- what became of it ---- */

static long info_long(const struct http_transfer *t, CURLINFO info)
{
    long value = 0;
    curl_easy_getinfo(t->easy, info, &value);
    return value;
}

static int64_t info_offset(const struct http_transfer *t, CURLINFO info)
{
    curl_off_t value = 0;
    curl_easy_getinfo(t->easy, info, &value);
    return (int64_t)value;
}

/* A reply code of 4xx or 5xx ended the session; libcurl has different words for it in each of its states. */
static bool is_smtp_refusal(const struct http_transfer *t, CURLcode code, int status)
{
    return t->smtp && status >= 400 && code != CURLE_OPERATION_TIMEDOUT && code != CURLE_USE_SSL_FAILED;
}

static bool is_bad_certificate(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR || code == CURLE_SSL_INVALIDCERTSTATUS ||
           code == CURLE_USE_SSL_FAILED;
}

static bool was_written(const struct http_transfer *t)
{
    if (t->smtp) /* commands are not counted: a server that greeted us has been talked to */
        return t->header_block.bytes > 0;
    return info_long(t, CURLINFO_REQUEST_SIZE) > 0;
}

/* A final status has decided, however the rest of the answer ended: who repeats it then sends twice. */
static enum http_failure judge(const struct http_transfer *t, CURLcode code, int status)
{
    if (code == CURLE_OK || (!t->smtp && status >= 200) || is_smtp_refusal(t, code, status))
        return HTTP_ANSWERED;
    if (t->refused && (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK))
        return HTTP_FORBIDDEN_ADDRESS;
    if (is_bad_certificate(code))
        return HTTP_BAD_CERTIFICATE;
    return was_written(t) ? HTTP_LOST : HTTP_NOT_SENT;
}

void http_transfer_answer(struct http_transfer *t, CURLcode code, struct http_answer *answer)
{
    int status = (int)info_long(t, CURLINFO_RESPONSE_CODE);
    *answer = (struct http_answer){
        .failure = judge(t, code, status),
        .status = status,
        .header_block = buf_str(&t->header_block),
        .body = buf_str(&t->answer),
        .elapsed_us = info_offset(t, CURLINFO_TOTAL_TIME_T),
    };
    /* dots are doubled on the way, so what was written is never less than the message */
    answer->smtp_after_data = t->smtp && t->body_read == t->body.bytes &&
                              info_offset(t, CURLINFO_SIZE_UPLOAD_T) >= (int64_t)t->body.bytes;
    if (code != CURLE_OK)
        answer->detail = str_from(t->error_text[0] ? t->error_text : curl_easy_strerror(code));
}
