/*
 * Views of bytes: comparing, cutting, numbers, UTF-8. Nothing here allocates or keeps state, and no view is
 * ever written through. Letter case is that of ASCII, whatever the locale.
 */
#include "str.h"
#include <string.h>

struct str str_from(const char *terminated)
{
    return terminated ? (struct str){terminated, strlen(terminated)} : STR_NONE;
}

bool str_is_set(struct str s)
{
    return s.data != NULL;
}

bool str_equal(struct str a, struct str b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_equal_nocase(struct str a, struct str b)
{
    if (a.bytes != b.bytes)
        return false;
    for (size_t i = 0; i < a.bytes; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

bool str_is(struct str a, const char *terminated)
{
    return str_equal(a, str_from(terminated));
}

bool str_starts(struct str s, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return s.bytes >= bytes && (bytes == 0 || memcmp(s.data, prefix, bytes) == 0);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.bytes > 0 && is_blank(s.data[0])) {
        s.data++;
        s.bytes--;
    }
    while (s.bytes > 0 && is_blank(s.data[s.bytes - 1]))
        s.bytes--;
    return s;
}

struct str str_cut(struct str s, char separator, struct str *rest)
{
    const char *at = s.bytes > 0 ? memchr(s.data, separator, s.bytes) : NULL;
    if (at == NULL) {
        *rest = STR_NONE;
        return s;
    }
    size_t before = (size_t)(at - s.data);
    *rest = (struct str){at + 1, s.bytes - before - 1};
    return (struct str){s.data, before};
}

bool str_to_int(struct str s, long long least, long long most, long long *value)
{
    if (s.bytes == 0)
        return false;
    long long n = 0;
    for (size_t i = 0; i < s.bytes; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, s.data[i] - '0', &n))
            return false;
    }
    if (n < least || n > most)
        return false;
    *value = n;
    return true;
}

/* What a first byte allows (RFC 3629 section 4): the sequence's length and the range of its second byte,
 * which is where overlong forms, surrogates and anything above U+10FFFF are excluded. */
static size_t utf8_shape(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef) {
        if (first == 0xe0)
            *low = 0xa0;
        if (first == 0xed)
            *high = 0x9f;
        return 3;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        if (first == 0xf0)
            *low = 0x90;
        if (first == 0xf4)
            *high = 0x8f;
        return 4;
    }
    return 0;
}

size_t str_utf8_first(struct str s)
{
    if (s.bytes == 0)
        return 0;
    const unsigned char *p = (const unsigned char *)s.data;
    if (p[0] < 0x80)
        return 1;
    unsigned char low, high;
    size_t bytes = utf8_shape(p[0], &low, &high);
    if (bytes == 0 || bytes > s.bytes || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return bytes;
}

bool str_is_utf8(struct str s)
{
    while (s.bytes > 0) {
        size_t bytes = str_utf8_first(s);
        if (bytes == 0 || s.data[0] == '\0')
            return false;
        s.data += bytes;
        s.bytes -= bytes;
    }
    return true;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t str_utf8_length(struct str s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.bytes; i++)
        count += !is_continuation(s.data[i]);
    return count;
}

struct str str_utf8_cut(struct str s, size_t bytes_max)
{
    if (s.bytes <= bytes_max)
        return s;
    size_t bytes = bytes_max;
    while (bytes > 0 && is_continuation(s.data[bytes]))
        bytes--;
    return (struct str){s.data, bytes};
}

struct str str_utf8_whole(struct str s)
{
    size_t last = s.bytes; /* one past the last byte that begins a character */
    while (last > 0 && is_continuation(s.data[last - 1]))
        last--;
    if (last > 0 && str_utf8_first((struct str){s.data + last - 1, s.bytes - last + 1}) == 0)
        s.bytes = last - 1;
    return s;
}
