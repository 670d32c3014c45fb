/*
 * Parameters as text, in the order of $1, $2, …, kept in an arena until the transaction has been sent.
 * Nothing here can fail by itself: whatever did not fit, or could not be passed on whole, sets args->failed,
 * and db_queue() refuses the statement.
 */
#include "io/db.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ARRAY_BYTES_MAX = 32 << 20 }; /* a bulk send's largest column, hexadecimal */

static void add(struct db_args *args, const char *value)
{
    if (args->count == DB_ARGS_MAX)
        args->failed = true;
    else
        args->values[args->count++] = value;
}

/* value was allocated by the caller just before; NULL means that there was no memory. */
static void add_made(struct db_args *args, const char *value)
{
    if (!value)
        args->failed = true;
    add(args, value);
}

void db_arg_null(struct db_args *args)
{
    add(args, NULL);
}

void db_arg_text(struct db_args *args, struct str s)
{
    if (!str_is_set(s)) {
        add(args, NULL);
        return;
    }
    if (s.bytes && memchr(s.data, 0, s.bytes)) /* would be cut there */
        args->failed = true;
    add_made(args, arena_strdup(args->arena, s));
}

void db_arg_cstr(struct db_args *args, const char *s)
{
    add(args, s);
}

void db_arg_int(struct db_args *args, int64_t n)
{
    add_made(args, arena_printf(args->arena, "%lld", (long long)n));
}

void db_arg_bool(struct db_args *args, bool b)
{
    add(args, b ? "t" : "f");
}

void db_arg_uuid(struct db_args *args, const struct uuid *id)
{
    if (!id) {
        add(args, NULL);
        return;
    }
    char *text = arena_alloc(args->arena, UUID_TEXT_BYTES + 1);
    add_made(args, text ? uuid_text(id, text) : NULL);
}

void db_arg_time(struct db_args *args, int64_t unix_us)
{
    int64_t seconds = unix_us / 1000000, us = unix_us % 1000000;
    if (us < 0) {
        us += 1000000;
        seconds--;
    }
    struct tm tm;
    time_t t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || tm.tm_year + 1900 < 1 || tm.tm_year + 1900 > 9999) {
        args->failed = true;
        add(args, NULL);
        return;
    }
    add_made(args, arena_printf(args->arena, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00", tm.tm_year + 1900,
                                tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)us));
}

static char *hex_write(char *out, const void *data, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = data;
    for (size_t i = 0; i < bytes; i++) {
        *out++ = digits[in[i] >> 4];
        *out++ = digits[in[i] & 15];
    }
    return out;
}

void db_arg_bytes(struct db_args *args, const void *data, size_t bytes)
{
    if (!data) {
        add(args, NULL);
        return;
    }
    char *text = arena_alloc(args->arena, 2 * bytes + 3);
    if (text) {
        text[0] = '\\';
        text[1] = 'x';
        *hex_write(text + 2, data, bytes) = '\0';
    }
    add_made(args, text);
}

/* ---- arrays: {1,2,NULL,"quoted \"text\""} ---- */

void db_array_begin(struct db_array *array, struct db_args *args)
{
    *array = (struct db_array){.args = args, .text = BUF_INIT(ARRAY_BYTES_MAX)};
    buf_add_char(&array->text, '{');
}

static void separate(struct db_array *array)
{
    if (array->count++)
        buf_add_char(&array->text, ',');
}

void db_array_null(struct db_array *array)
{
    separate(array);
    buf_add_text(&array->text, "NULL");
}

void db_array_text(struct db_array *array, struct str s)
{
    if (!str_is_set(s)) {
        db_array_null(array);
        return;
    }
    if (s.bytes && memchr(s.data, 0, s.bytes))
        array->args->failed = true;
    separate(array);
    buf_add_char(&array->text, '"');
    for (size_t from = 0; from < s.bytes;) {
        size_t to = from;
        while (to < s.bytes && s.data[to] != '"' && s.data[to] != '\\')
            to++;
        buf_add(&array->text, s.data + from, to - from);
        if (to < s.bytes) {
            buf_add_char(&array->text, '\\');
            buf_add_char(&array->text, s.data[to]);
            to++;
        }
        from = to;
    }
    buf_add_char(&array->text, '"');
}

void db_array_int(struct db_array *array, int64_t n)
{
    separate(array);
    buf_add_int(&array->text, n);
}

void db_array_uuid(struct db_array *array, const struct uuid *id)
{
    char text[UUID_TEXT_BYTES + 1];
    if (!id) {
        db_array_null(array);
        return;
    }
    separate(array);
    buf_add(&array->text, uuid_text(id, text), UUID_TEXT_BYTES);
}

void db_array_bytes(struct db_array *array, const void *data, size_t bytes)
{
    if (!data) {
        db_array_null(array);
        return;
    }
    separate(array);
    buf_add_text(&array->text, "\"\\\\x");
    text_hex(&array->text, data, bytes);
    buf_add_char(&array->text, '"');
}

void db_array_end(struct db_array *array)
{
    buf_add_char(&array->text, '}');
    add_made(array->args,
             buf_ok(&array->text) ? arena_strdup(array->args->arena, buf_str(&array->text)) : NULL);
    buf_free(&array->text);
}
