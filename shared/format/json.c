/*
 * JSON in and out: the only file that calls jansson's parser.
 *
 * Reading looks over the text once before jansson does, with no memory of its own: jansson would build a
 * 2,048-deep or million-valued tree first and be asked later. That scan knows strings, brackets and commas,
 * no more; the grammar stays jansson's business. Messages never quote the text, which may be somebody's
 * secret.
 *
 * Writing keeps no state besides the buffer: whether a comma is due is seen from the last byte. That is why
 * json_key() and the value writers may be mixed with json_raw(), but text must not be added by other means in
 * between.
 */
#include "json.h"
#include "core/limits.h"
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

struct scan {
    struct str text;
    size_t at;
    size_t depth, values;
    const char *fault; /* why the text is refused */
};

static bool refuse(struct scan *s, const char *fault)
{
    s->fault = fault;
    return false;
}

/* From behind the opening quote to behind the closing one. */
static bool scan_string(struct scan *s)
{
    while (s->at < s->text.bytes) {
        const char *p = s->text.data + s->at;
        size_t left = s->text.bytes - s->at;
        if (*p == '"') {
            s->at++;
            return true;
        }
        if (*p == '\\') {
            if (left >= 6 && memcmp(p, "\\u0000", 6) == 0)
                return refuse(s, "a string holds U+0000");
            s->at += left >= 2 ? 2 : 1;
            continue;
        }
        size_t bytes = str_utf8_first((struct str){p, left});
        if (bytes == 0 || *p == '\0')
            return refuse(s, bytes == 0 ? "the text is not valid UTF-8" : "the text holds a NUL");
        s->at += bytes;
    }
    return refuse(s, "a string does not end");
}

static bool scan_character(struct scan *s)
{
    char c = s->text.data[s->at];
    if (c == '"') {
        s->at++;
        return scan_string(s);
    }
    if (c == '\0')
        return refuse(s, "the text holds a NUL");
    if ((unsigned char)c >= 0x80)
        return refuse(s, str_utf8_first((struct str){s->text.data + s->at, s->text.bytes - s->at}) == 0
                             ? "the text is not valid UTF-8"
                             : "unexpected character");
    if (c == '[' || c == '{') {
        if (++s->depth > LIMIT_JSON_DEPTH)
            return refuse(s, "too deeply nested");
    } else if ((c == ']' || c == '}') && s->depth > 0) {
        s->depth--;
    }
    if ((c == '[' || c == '{' || c == ',') && ++s->values > LIMIT_JSON_VALUES)
        return refuse(s, "too many values");
    s->at++;
    return true;
}

/* Line and column (in characters) of a place, both from 1. */
static void place_of(struct str text, size_t at, int *line, int *column)
{
    *line = 1;
    size_t start = 0;
    for (size_t i = 0; i < at; i++)
        if (text.data[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    *column = 1 + (int)str_utf8_length((struct str){text.data + start, at - start});
}

static enum result refused(struct error *error, int line, int column, struct str reason)
{
    return error_set(error, RESULT_INVALID, "cannot read the JSON: line %d, column %d: " STR_FMT, line,
                     column, STR_ARG(reason));
}

/* jansson's message ends with "near 'TEXT'". */
static struct str jansson_reason(const json_error_t *failure)
{
    const char *near = strstr(failure->text, " near ");
    return near ? (struct str){failure->text, (size_t)(near - failure->text)} : str_from(failure->text);
}

static void release_tree(void *tree)
{
    json_decref(tree);
}

enum result json_parse(struct arena *arena, struct str text, json_t **tree, struct error *error)
{
    struct scan scan = {.text = text};
    while (scan.at < text.bytes)
        if (!scan_character(&scan)) {
            int line, column;
            place_of(text, scan.at, &line, &column);
            return refused(error, line, column, str_from(scan.fault));
        }
    json_error_t failure;
    json_t *parsed = json_loadb(text.data ? text.data : "", text.bytes, JSON_REJECT_DUPLICATES, &failure);
    if (parsed == NULL && json_error_code(&failure) == json_error_out_of_memory)
        return error_set(error, RESULT_FAILED, "could not read the JSON: no memory left");
    if (parsed == NULL)
        return refused(error, failure.line, failure.column, jansson_reason(&failure));
    if (!arena_defer(arena, release_tree, parsed))
        return error_set(error, RESULT_FAILED, "could not keep the JSON: no memory left");
    *tree = parsed;
    return RESULT_OK;
}

struct str json_str(const json_t *value)
{
    if (!json_is_string(value))
        return STR_NONE;
    return (struct str){json_string_value(value), json_string_length(value)};
}

/* ---- writing ---- */

static void separate(struct buf *out)
{
    if (out->bytes == 0)
        return;
    char last = out->data[out->bytes - 1];
    if (strchr("[{:, \n", last) == NULL)
        buf_add_char(out, ',');
}

void json_open(struct buf *out, char bracket)
{
    separate(out);
    buf_add_char(out, bracket);
}

void json_close(struct buf *out, char bracket)
{
    buf_add_char(out, bracket);
}

void json_key(struct buf *out, const char *name)
{
    json_text(out, str_from(name));
    buf_add_char(out, ':');
}

/* Whether a byte stands for itself inside quotes; of what does not, what follows the backslash ('u': in
 * hexadecimal). Bytes of longer characters are looked at one character at a time. */
enum { PLAIN = 0, LONGER = 1 };
static const char escapes[256] = {
    [0x00 ... 0x07] = 'u',
    ['\b'] = 'b',
    ['\t'] = 't',
    ['\n'] = 'n',
    [0x0b] = 'u',
    ['\f'] = 'f',
    ['\r'] = 'r',
    [0x0e ... 0x1f] = 'u',
    ['"'] = '"',
    ['\\'] = '\\',
    [0x80 ... 0xff] = LONGER,
};

static void add_escape(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789abcdef";
    if (escapes[c] == 'u')
        buf_add(out, (const char[]){'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]}, 6);
    else
        buf_add(out, (const char[]){'\\', escapes[c]}, 2);
}

void json_text(struct buf *out, struct str s)
{
    separate(out);
    buf_add_char(out, '"');
    size_t plain = 0, i = 0; /* the run [plain, i) goes out as it is */
    while (i < s.bytes) {
        char escape = escapes[(unsigned char)s.data[i]];
        size_t bytes = escape == LONGER ? str_utf8_first((struct str){s.data + i, s.bytes - i}) : 1;
        if (escape == PLAIN || (escape == LONGER && bytes > 0)) {
            i += bytes;
            continue;
        }
        buf_add(out, s.data + plain, i - plain);
        if (escape == LONGER)
            buf_add_text(out, "\xef\xbf\xbd");
        else
            add_escape(out, (unsigned char)s.data[i]);
        plain = ++i;
    }
    if (i > plain)
        buf_add(out, s.data + plain, i - plain);
    buf_add_char(out, '"');
}

void json_text_or_null(struct buf *out, struct str s)
{
    if (str_is_set(s))
        json_text(out, s);
    else
        json_nil(out);
}

void json_int(struct buf *out, int64_t value)
{
    separate(out);
    buf_add_int(out, value);
}

void json_bool(struct buf *out, bool value)
{
    separate(out);
    buf_add_text(out, value ? "true" : "false");
}

void json_nil(struct buf *out)
{
    separate(out);
    buf_add_text(out, "null");
}

void json_raw(struct buf *out, struct str text)
{
    separate(out);
    buf_add_str(out, text);
}

/* The shortest decimal that reads back as the same number, always with a sign of being a real. */
static void write_real(struct buf *out, double value)
{
    char text[40];
    int digits = fabs(value) < DBL_MIN ? 1 : 15; /* 15 always survive, but in subnormal numbers */
    for (; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    separate(out);
    buf_add_text(out, isfinite(value) ? text : "null"); /* JSON has no other word for them */
    if (isfinite(value) && strpbrk(text, ".e") == NULL)
        buf_add_text(out, ".0");
}

static void write_value(struct buf *out, const json_t *value, int depth);

static void write_object(struct buf *out, const json_t *object, int depth)
{
    json_open(out, '{');
    /* jansson's iterator takes no const, though it changes nothing. */
    json_t *reading = (json_t *)(uintptr_t)object;
    for (void *at = json_object_iter(reading); at != NULL; at = json_object_iter_next(reading, at)) {
        json_key(out, json_object_iter_key(at));
        write_value(out, json_object_iter_value(at), depth + 1);
    }
    json_close(out, '}');
}

static void write_array(struct buf *out, const json_t *array, int depth)
{
    json_open(out, '[');
    for (size_t i = 0; i < json_array_size(array); i++)
        write_value(out, json_array_get(array, i), depth + 1);
    json_close(out, ']');
}

static void write_value(struct buf *out, const json_t *value, int depth)
{
    if (depth > LIMIT_JSON_DEPTH || value == NULL) {
        out->failed = true;
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        write_object(out, value, depth);
        break;
    case JSON_ARRAY:
        write_array(out, value, depth);
        break;
    case JSON_STRING:
        json_text(out, json_str(value));
        break;
    case JSON_INTEGER:
        json_int(out, json_integer_value(value));
        break;
    case JSON_REAL:
        write_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        json_bool(out, json_is_true(value));
        break;
    case JSON_NULL:
        json_nil(out);
        break;
    }
}

void json_write_tree(struct buf *out, const json_t *tree)
{
    write_value(out, tree, 0);
}
