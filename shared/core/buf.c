/*
 * The growing buffer. Capacity doubles, and always leaves one byte free, so that buf_cstr() can put its NUL
 * without counting it. Once failed, a buffer keeps what it had before the append that did not fit.
 */
#include "buf.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_BYTES_FIRST = 256 };

bool buf_reserve(struct buf *b, size_t more)
{
    if (b->failed)
        return false;
    if (more > b->bytes_max - b->bytes) {
        b->failed = true;
        return false;
    }
    if (more < b->capacity - b->bytes)
        return true;
    size_t capacity = b->capacity ? b->capacity : BUF_BYTES_FIRST;
    while (capacity <= b->bytes + more && capacity <= SIZE_MAX / 2)
        capacity *= 2;
    char *data = capacity > b->bytes + more ? realloc(b->data, capacity) : NULL;
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void buf_add(struct buf *b, const void *data, size_t bytes)
{
    if (bytes == 0 || !buf_reserve(b, bytes))
        return;
    memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
}

void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.data, s.bytes);
}

void buf_add_text(struct buf *b, const char *terminated)
{
    buf_add(b, terminated, strlen(terminated));
}

void buf_add_char(struct buf *b, char c)
{
    if (buf_reserve(b, 1))
        b->data[b->bytes++] = c;
}

void buf_add_int(struct buf *b, long long value)
{
    char digits[24], *at = digits + sizeof digits;
    unsigned long long rest = value < 0 ? 0ULL - (unsigned long long)value : (unsigned long long)value;
    do
        *--at = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (value < 0)
        *--at = '-';
    buf_add(b, at, (size_t)(digits + sizeof digits - at));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char small[128];
    int bytes = vsnprintf(small, sizeof small, format, args);
    if (bytes < 0)
        b->failed = true;
    else if ((size_t)bytes < sizeof small)
        buf_add(b, small, (size_t)bytes);
    else if (buf_reserve(b, (size_t)bytes)) {
        vsnprintf(b->data + b->bytes, (size_t)bytes + 1, format, again);
        b->bytes += (size_t)bytes;
    }
    va_end(again);
    va_end(args);
}

bool buf_ok(const struct buf *b)
{
    return !b->failed;
}

struct str buf_str(const struct buf *b)
{
    return (struct str){b->data ? b->data : "", b->bytes};
}

const char *buf_cstr(struct buf *b)
{
    if (!buf_reserve(b, 0))
        return NULL;
    b->data[b->bytes] = '\0';
    return b->data;
}

void buf_clear(struct buf *b)
{
    b->bytes = 0;
    b->failed = false;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = BUF_INIT(b->bytes_max);
}
