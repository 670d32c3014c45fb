#ifndef BELFRY_HANDLERS_RESPONSE_H
#define BELFRY_HANDLERS_RESPONSE_H
/*
 * An answer, complete in memory before its first byte leaves, and written at once in the CGI form (a Status
 * line, headers, an empty line, the body). `Cache-Control: no-store` unless an ETag was set.
 *
 * Errors are RFC 9457 problems. To add one: a value here and its row in response.c (slug, status, title).
 */
#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "core/str.h"
#include "format/field.h"
#include "handlers/request.h"
#include <stdbool.h>
#include <stdint.h>

enum problem {
    PROBLEM_MALFORMED,            /* 400 */
    PROBLEM_UNAUTHORIZED,         /* 401, with WWW-Authenticate */
    PROBLEM_FORBIDDEN,            /* 403 */
    PROBLEM_NOT_FOUND,            /* 404 */
    PROBLEM_METHOD_NOT_ALLOWED,   /* 405 */
    PROBLEM_CONFLICT,             /* 409 */
    PROBLEM_TOO_LARGE,            /* 413 */
    PROBLEM_UNSUPPORTED_TYPE,     /* 415 */
    PROBLEM_INVALID,              /* 422 */
    PROBLEM_TOO_MANY_REQUESTS,    /* 429 */
    PROBLEM_FAILED,               /* 500: a defect */
    PROBLEM_UNAVAILABLE,          /* 503, with Retry-After */
    PROBLEM_IDEMPOTENCY_MISMATCH, /* 422 */
    PROBLEM_IDEMPOTENCY_RUNNING   /* 409 */
};

struct response {
    struct arena *arena;
    int status;
    const char *content_type; /* NULL: no body */
    struct buf headers;       /* "Name: value\r\n"… */
    struct buf body;
    bool has_etag;
    bool without_body; /* HEAD: headers only, Content-Length as if */
    bool taken;        /* parked or already written: the front end must not write it */
};

void response_open(struct response *response, struct arena *arena); /* 200, empty */
/* Back to 200, empty, keeping small buffers: for a thread that answers one request after another. */
void response_reuse(struct response *response);
void response_close(struct response *response); /* frees the buffers */

/* Adds a header. A value that holds control characters is left out and logged: never happens with checked
 * input. */
void response_header(struct response *response, const char *name, struct str value);
void response_header_int(struct response *response, const char *name, int64_t value);

/* Begins a JSON answer: sets the status and gives the buffer to write one JSON text into. */
struct buf *response_json(struct response *response, int status);
void response_text(struct response *response, int status, const char *content_type, struct str body);
void response_empty(struct response *response, int status); /* 204, 304 */

/* Replaces what was written by a problem. faults may be NULL. */
void response_problem(struct response *response, enum problem problem, const struct faults *faults,
                      const char *format, ...) PRINTF_LIKE(4, 5);

/* Sets the ETag (tag without quotes) and turns a 200 into an empty 304 if the request holds it. True: it did,
 * and nothing needs to be written. */
bool response_etag(struct response *response, const struct request *request, struct str tag);
/* The same with a tag made of the body, when the body has been written. */
void response_etag_of_body(struct response *response, const struct request *request);

/* The head in CGI form with Content-Length of the body, into out. False if the response failed (too long, out
 * of memory): answer with a problem instead. */
bool response_write_head(const struct response *response, struct buf *out);
/* The same from its parts, for answers that are written without a struct response. content_type NULL: no
 * body; content_bytes -1: its length is not known. */
void response_head(struct buf *out, int status, const char *content_type, bool may_revalidate,
                   struct str headers, long content_bytes);

#endif
