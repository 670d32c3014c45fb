/*
 * From CGI variables to struct request. The table of headers says which we look at and how long they may be;
 * what is not in it is never copied or seen.
 */
#include "handlers/request.h"
#include "core/buf.h"
#include "core/limits.h"
#include "format/check.h"
#include <string.h>

enum { AUTHORIZATION_BYTES_MAX = 8192, IDEMPOTENCY_KEY_BYTES_MAX = 255, NAME_BYTES_MAX = 64 };

static const struct {
    const char *variable;
    size_t bytes_max;
} header_rules[HEADERS] = {
    [HEADER_AUTHORIZATION] = {"HTTP_AUTHORIZATION", AUTHORIZATION_BYTES_MAX},
    [HEADER_CONTENT_TYPE] = {"CONTENT_TYPE", 256},
    [HEADER_IDEMPOTENCY_KEY] = {"HTTP_IDEMPOTENCY_KEY", IDEMPOTENCY_KEY_BYTES_MAX},
    [HEADER_IF_NONE_MATCH] = {"HTTP_IF_NONE_MATCH", 512},
    [HEADER_ORIGIN] = {"HTTP_ORIGIN", 512},
    [HEADER_LAST_EVENT_ID] = {"HTTP_LAST_EVENT_ID", 2048},
    [HEADER_ACCESS_METHOD] = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD", 32},
    [HEADER_ACCESS_HEADERS] = {"HTTP_ACCESS_CONTROL_REQUEST_HEADERS", 1024},
    [HEADER_HOST] = {"HTTP_HOST", 512},
};

static const char *const method_names[METHODS] = {
    [METHOD_GET] = "GET",     [METHOD_POST] = "POST",     [METHOD_PUT] = "PUT",
    [METHOD_PATCH] = "PATCH", [METHOD_DELETE] = "DELETE", [METHOD_OPTIONS] = "OPTIONS",
    [METHOD_HEAD] = "HEAD",   [METHOD_OTHER] = "OTHER",
};

const char *method_name(enum method method)
{
    return method_names[method];
}

enum method method_parse(struct str name)
{
    for (int m = 0; m < METHOD_OTHER; m++)
        if (str_is(name, method_names[m]))
            return (enum method)m;
    return METHOD_OTHER;
}

/* ---- variables ---- */

/* What is taken from the variables besides the headers, before it is looked at. */
struct raw {
    struct str method, uri, path_info, script, query, length, remote;
};

static bool is_clean(struct str value)
{
    for (size_t i = 0; i < value.bytes; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static struct str *variable_slot(struct request *request, struct raw *raw, struct str name, size_t *bytes_max)
{
    struct {
        const char *name;
        struct str *slot;
        size_t bytes_max;
    } others[] = {
        {"REQUEST_METHOD", &raw->method, 32},
        {"REQUEST_URI", &raw->uri, PATH_BYTES_MAX + 1 + LIMIT_QUERY_BYTES},
        {"PATH_INFO", &raw->path_info, PATH_BYTES_MAX},
        {"SCRIPT_NAME", &raw->script, PATH_BYTES_MAX},
        {"QUERY_STRING", &raw->query, LIMIT_QUERY_BYTES},
        {"CONTENT_LENGTH", &raw->length, 20},
        {"REMOTE_ADDR", &raw->remote, 64},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (str_is(name, others[i].name)) {
            *bytes_max = others[i].bytes_max;
            return others[i].slot;
        }
    for (int h = 0; h < HEADERS; h++)
        if (str_is(name, header_rules[h].variable)) {
            *bytes_max = header_rules[h].bytes_max;
            return &request->headers[h];
        }
    return NULL;
}

static enum result take_variable(struct request *request, struct raw *raw, const char *variable,
                                 struct error *error)
{
    struct str value, name = str_cut(str_from(variable), '=', &value);
    size_t bytes_max = 0;
    struct str *slot = name.bytes > NAME_BYTES_MAX ? NULL : variable_slot(request, raw, name, &bytes_max);
    if (slot == NULL || !str_is_set(value))
        return RESULT_OK;
    if (str_is_set(*slot))
        return error_set(error, RESULT_INVALID, "A header or variable is given twice.");
    if (value.bytes > bytes_max)
        return error_set(error, RESULT_INVALID, "The request line or a header is too long.");
    if (!is_clean(value))
        return error_set(error, RESULT_INVALID, "A header holds a control character.");
    *slot = value;
    return RESULT_OK;
}

/* ---- path and lengths ---- */

/* REQUEST_URI is as the client sent it. Below a CGI script its path begins with the script's own name, which
 * is cut; web servers with FastCGI put a part of our own paths there instead, which is kept. */
static enum result set_path(struct request *request, const struct raw *raw, struct error *error)
{
    struct str path = str_is_set(raw->uri) ? raw->uri : raw->path_info, query = STR_NONE;
    if (str_is_set(raw->uri))
        path = str_cut(raw->uri, '?', &query);
    if (raw->script.bytes > 1 && !str_starts(path, "/api/") && path.bytes > raw->script.bytes &&
        memcmp(path.data, raw->script.data, raw->script.bytes) == 0 && path.data[raw->script.bytes] == '/')
        path = (struct str){path.data + raw->script.bytes, path.bytes - raw->script.bytes};
    if (!str_starts(path, "/") || path.bytes > PATH_BYTES_MAX)
        return error_set(error, RESULT_INVALID, "The path is not valid.");
    request->path = path;
    request->query = str_is_set(raw->query) ? raw->query : query;
    if (request->query.bytes > LIMIT_QUERY_BYTES)
        return error_set(error, RESULT_INVALID, "The query is too long.");
    return RESULT_OK;
}

static bool is_idempotency_key(struct str key)
{
    for (size_t i = 0; i < key.bytes; i++)
        if (key.data[i] < 0x20 || key.data[i] > 0x7e)
            return false;
    return key.bytes >= 1;
}

enum result request_from_cgi(struct request *request, struct arena *arena, char **variables,
                             struct error *error)
{
    *request = (struct request){.arena = arena};
    struct raw raw = {0};
    for (char **variable = variables; variable != NULL && *variable != NULL; variable++) {
        enum result result = take_variable(request, &raw, *variable, error);
        if (result != RESULT_OK)
            return result;
    }
    request->method = method_parse(raw.method);
    request->remote = raw.remote;
    long long length = 0;
    if (raw.length.bytes > 0 && !str_to_int(raw.length, 0, 1LL << 50, &length))
        return error_set(error, RESULT_INVALID, "Content-Length is not a number.");
    request->content_length = (size_t)length;
    struct str key = request->headers[HEADER_IDEMPOTENCY_KEY];
    if (str_is_set(key) && !is_idempotency_key(key))
        return error_set(error, RESULT_INVALID,
                         "Idempotency-Key must be 1 to 255 printable ASCII characters.");
    for (int h = 0; h < HEADERS; h++) /* web servers pass some as empty when they are absent */
        if (request->headers[h].bytes == 0)
            request->headers[h] = STR_NONE;
    return set_path(request, &raw, error);
}

enum result request_read_body(struct request *request, request_reader *reader, void *context,
                              struct error *error)
{
    if (request->content_length == 0)
        return RESULT_OK;
    char *body = arena_alloc(request->arena, request->content_length);
    if (body == NULL)
        return error_set(error, RESULT_FAILED, "no memory for a body of %zu bytes", request->content_length);
    size_t bytes = 0;
    while (bytes < request->content_length) {
        long got = reader(context, body + bytes, request->content_length - bytes);
        if (got <= 0)
            return error_set(error, RESULT_INVALID, "The body is shorter than Content-Length says.");
        bytes += (size_t)got;
    }
    request->body = (struct str){body, bytes};
    return RESULT_OK;
}

/* ---- matching ---- */

/* A view of text, decoded only if it needs to be. False: broken escape, NUL, or no UTF-8. */
static bool decode(struct request *request, struct str text, bool plus, struct str *decoded)
{
    *decoded = text;
    if (memchr(text.data, '%', text.bytes) == NULL && (!plus || memchr(text.data, '+', text.bytes) == NULL))
        return str_is_utf8(text);
    struct buf out = BUF_INIT(text.bytes);
    bool fine = text_percent_decode(&out, text, plus) && buf_ok(&out) && str_is_utf8(buf_str(&out));
    if (fine)
        *decoded = arena_str(request->arena, buf_str(&out));
    buf_free(&out);
    return fine && str_is_set(*decoded);
}

static void take_param(struct request *request, struct str declared, struct str segment,
                       struct faults *faults)
{
    struct str kind, name = str_cut(declared, ':', &kind);
    struct request_param param = {.name = name};
    bool fine = decode(request, segment, false, &param.text);
    if (str_is(kind, "uuid")) {
        if (!fine || !uuid_parse(param.text, &param.uuid))
            fault_add_parameter(faults, name, "must be a UUID");
    } else if (!fine || !check_id(param.text)) {
        fault_add_parameter(faults, name, "must be an id: 1 to 128 of A-Z a-z 0-9 . _ ~ @ | -");
    }
    if (request->param_count < PARAMS_MAX)
        request->params[request->param_count++] = param;
}

bool request_match(struct request *request, const char *pattern, struct faults *faults)
{
    struct str path = request->path, want = str_from(pattern);
    if (faults != NULL)
        request->param_count = 0;
    while (str_is_set(want) && str_is_set(path)) {
        struct str wanted = str_cut(want, '/', &want), segment = str_cut(path, '/', &path);
        bool is_param = wanted.bytes > 2 && wanted.data[0] == '{';
        if (is_param ? segment.bytes == 0 : !str_equal(wanted, segment))
            return false;
        if (is_param && faults != NULL)
            take_param(request, (struct str){wanted.data + 1, wanted.bytes - 2}, segment, faults);
    }
    return !str_is_set(want) && !str_is_set(path);
}

/* ---- query ---- */

static int declared_index(const struct field *fields, struct str name)
{
    for (int i = 0; fields != NULL && fields[i].name != NULL; i++)
        if (str_is(name, fields[i].name))
            return i;
    return -1;
}

/* One `name=value`. An empty value is the same as none. */
static bool take_query_field(struct request *request, const struct field *fields, struct str pair,
                             unsigned *seen, struct faults *faults, struct field_value *values)
{
    struct str value, name = str_cut(pair, '=', &value), decoded;
    if (!decode(request, name, true, &name)) {
        fault_add_parameter(faults, STR("?"), "has a name that is not UTF-8 in percent-encoding");
        return false;
    }
    int i = declared_index(fields, name);
    if (i < 0 || (*seen & 1u << i)) {
        fault_add_parameter(faults, str_utf8_cut(name, NAME_BYTES_MAX),
                            i < 0 ? "is not a known parameter" : "is given twice");
        return false;
    }
    *seen |= 1u << i;
    if (value.bytes == 0)
        return true;
    if (!decode(request, value, true, &decoded)) {
        fault_add_parameter(faults, name, "must be UTF-8 in percent-encoding");
        return false;
    }
    return field_read_text(&fields[i], decoded, faults, &values[i]);
}

bool request_read_query(struct request *request, const struct field *fields, struct faults *faults,
                        struct field_value *values)
{
    fields_default(fields, values);
    unsigned seen = 0;
    bool fine = true;
    struct str rest = request->query;
    for (int count = 0; rest.bytes > 0; count++) {
        if (count == LIMIT_QUERY_FIELDS) {
            fault_add_parameter(faults, STR("?"), "has more than %d parameters", (int)LIMIT_QUERY_FIELDS);
            return false;
        }
        struct str pair = str_cut(rest, '&', &rest);
        if (pair.bytes > 0)
            fine &= take_query_field(request, fields, pair, &seen, faults, values);
    }
    for (int i = 0; fields != NULL && fields[i].name != NULL; i++)
        if ((fields[i].flags & FIELD_REQUIRED) && !(seen & 1u << i)) {
            fault_add_parameter(faults, str_from(fields[i].name), "is required");
            fine = false;
        }
    return fine;
}

/* ---- reading ---- */

static const struct request_param *find_param(const struct request *request, const char *name)
{
    for (int i = 0; i < request->param_count; i++)
        if (str_is(request->params[i].name, name))
            return &request->params[i];
    static const struct request_param none;
    return &none;
}

struct str request_param(const struct request *request, const char *name)
{
    return find_param(request, name)->text;
}

const struct uuid *request_param_uuid(const struct request *request, const char *name)
{
    return &find_param(request, name)->uuid;
}

struct str request_header(const struct request *request, enum header header)
{
    return request->headers[header];
}

bool request_is_json(const struct request *request)
{
    struct str parameters, type = str_trim(str_cut(request->headers[HEADER_CONTENT_TYPE], ';', &parameters));
    if (!str_equal_nocase(type, STR("application/json")))
        return false;
    struct str value, name = str_trim(str_cut(str_trim(parameters), '=', &value));
    return parameters.bytes == 0 || !str_equal_nocase(name, STR("charset")) ||
           str_equal_nocase(value, STR("utf-8")) || str_equal_nocase(value, STR("\"utf-8\""));
}
