#ifndef BELFRY_HANDLERS_REQUEST_H
#define BELFRY_HANDLERS_REQUEST_H
/*
 * A request as the rest of the program sees it: bounded, decoded and typed, whichever front end it came
 * through. Every front end speaks CGI variables (RFC 3875), so there is one parser for them.
 *
 * Promises: no header, path, parameter or body reaches a handler with CR, LF or NUL where it could matter,
 * longer than its limit, or given twice. libfcgi itself bounds nothing.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "format/field.h"
#include <stdbool.h>
#include <stddef.h>

enum method {
    METHOD_GET,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OPTIONS,
    METHOD_HEAD, /* answered as GET without the body */
    METHOD_OTHER,
    METHODS
};

/* The headers that we look at; all others are ignored. To add one: here, and its row in request.c. */
enum header {
    HEADER_AUTHORIZATION,
    HEADER_CONTENT_TYPE,
    HEADER_IDEMPOTENCY_KEY, /* 1 to 255 printable ASCII: checked */
    HEADER_IF_NONE_MATCH,
    HEADER_ORIGIN,
    HEADER_LAST_EVENT_ID,
    HEADER_ACCESS_METHOD,  /* Access-Control-Request-Method */
    HEADER_ACCESS_HEADERS, /* Access-Control-Request-Headers */
    HEADER_HOST,
    HEADERS
};

enum { PATH_BYTES_MAX = 2048, PARAMS_MAX = 4 };

struct request_param {
    struct str name;  /* of the pattern: {user} */
    struct str text;  /* decoded and valid */
    struct uuid uuid; /* of {id:uuid} */
};

struct request {
    struct arena *arena; /* everything below lives in it or in the front end's own memory until the end */
    enum method method;
    struct str path;             /* as sent, percent-encoded, with the leading slash */
    struct str query;            /* as sent, without the question mark */
    struct str headers[HEADERS]; /* STR_NONE if absent */
    struct str remote;           /* the client's address as the web server says */
    size_t content_length;       /* as announced */
    struct str body;             /* set once the route allowed its length */
    int param_count;
    struct request_param params[PARAMS_MAX];
};

/* Fills a request from CGI variables ("NAME=value", NULL-terminated). RESULT_INVALID: malformed, with a
 * sentence for the client; RESULT_FAILED: out of memory. Reads no body. */
enum result request_from_cgi(struct request *request, struct arena *arena, char **variables,
                             struct error *error) MUST_CHECK;

/* Reads body_bytes bytes of a front end's input: at most `bytes`, 0 at the end, -1 on failure. */
typedef long request_reader(void *context, char *into, size_t bytes);
/* Reads the body announced by Content-Length (which must be at most bytes_max: the caller checked).
 * RESULT_INVALID if the input ends early. */
enum result request_read_body(struct request *request, request_reader *reader, void *context,
                              struct error *error) MUST_CHECK;

/* Matches the path against a pattern such as "/api/v1/users/{user}/devices/{id}" and fills params. `{x}`
 * takes one segment that is an id (check_id), `{x:uuid}` a UUID; a segment that is not one is a fault. False:
 * another path. */
bool request_match(struct request *request, const char *pattern, struct faults *faults);

/* Reads the query by a table (NULL: takes no parameter): unknown, repeated and malformed ones are faults.
 * values has fields_count() entries. False if it added a fault. */
bool request_read_query(struct request *request, const struct field *fields, struct faults *faults,
                        struct field_value *values);

/* A path parameter that the route's pattern names: its text, its UUID. Never fails for a name in the pattern.
 */
struct str request_param(const struct request *request, const char *name);
const struct uuid *request_param_uuid(const struct request *request, const char *name);

struct str request_header(const struct request *request, enum header header);
bool request_is_json(
    const struct request *request); /* Content-Type application/json, charset utf-8 or none */
const char *method_name(enum method method);
enum method method_parse(struct str name);

#endif
