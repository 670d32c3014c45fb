/*
 * Bytes as text and back: base64 in both alphabets, hexadecimal, percent-encoding, HTML. Everything is
 * appended to a buf, whose maximum is the only bound; decoders into a caller's memory check its size. A
 * decoder accepts one spelling of each value (no stray bits, no white space), so that equal text means equal
 * bytes.
 */
#include "text.h"
#include <string.h>

static const char alphabet_standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct buf *out, const unsigned char *in, size_t bytes, const char *alphabet, bool padded)
{
    for (size_t i = 0; i < bytes; i += 3) {
        size_t left = bytes - i;
        uint32_t bits = (uint32_t)in[i] << 16;
        if (left > 1)
            bits |= (uint32_t)in[i + 1] << 8;
        if (left > 2)
            bits |= in[i + 2];
        char quad[4] = {alphabet[bits >> 18], alphabet[bits >> 12 & 63], alphabet[bits >> 6 & 63],
                        alphabet[bits & 63]};
        size_t letters = left > 2 ? 4 : left + 1;
        if (padded && letters < 4) {
            memset(quad + letters, '=', 4 - letters);
            letters = 4;
        }
        buf_add(out, quad, letters);
    }
}

void text_base64(struct buf *out, const void *data, size_t bytes)
{
    encode(out, data, bytes, alphabet_standard, true);
}

void text_base64url(struct buf *out, const void *data, size_t bytes)
{
    encode(out, data, bytes, alphabet_url, false);
}

/* The value of a letter, 64 for any other character. c62 and c63 are what the two alphabets differ in. */
static uint32_t letter_value(char c, char c62, char c63)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    return c == c62 ? 62 : c == c63 ? 63 : 64;
}

/* Decodes letters without padding. */
static bool decode(struct str s, char c62, char c63, unsigned char *out, size_t bytes_max, size_t *bytes)
{
    size_t length = s.bytes / 4 * 3 + (s.bytes % 4 ? s.bytes % 4 - 1 : 0);
    if (s.bytes % 4 == 1 || length > bytes_max)
        return false;
    uint32_t bits = 0;
    unsigned held = 0;
    size_t at = 0;
    for (size_t i = 0; i < s.bytes; i++) {
        uint32_t value = letter_value(s.data[i], c62, c63);
        if (value == 64)
            return false;
        bits = bits << 6 | value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[at++] = (unsigned char)(bits >> held);
            bits &= (1U << held) - 1;
        }
    }
    *bytes = length;
    return bits == 0; /* RFC 4648 section 3.5: what is left over must be zero */
}

static struct str without_padding(struct str s)
{
    for (int i = 0; i < 2 && s.bytes > 0 && s.data[s.bytes - 1] == '='; i++)
        s.bytes--;
    return s;
}

bool text_from_base64(struct str s, void *out, size_t bytes_max, size_t *bytes)
{
    return s.bytes % 4 == 0 && decode(without_padding(s), '+', '/', out, bytes_max, bytes);
}

bool text_from_base64url(struct str s, void *out, size_t bytes_max, size_t *bytes)
{
    struct str letters = without_padding(s);
    return (letters.bytes == s.bytes || s.bytes % 4 == 0) && decode(letters, '-', '_', out, bytes_max, bytes);
}

void text_hex(struct buf *out, const void *data, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *in = data;
    if (bytes > SIZE_MAX / 2 || !buf_reserve(out, bytes * 2))
        return;
    for (size_t i = 0; i < bytes; i++) {
        out->data[out->bytes++] = digits[in[i] >> 4];
        out->data[out->bytes++] = digits[in[i] & 15];
    }
}

/* -1 if c is no hexadecimal digit. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that two digits at p name, -1 if they are none. */
static int hex_byte(const char *p)
{
    int high = hex_value(p[0]), low = hex_value(p[1]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool text_from_hex(struct str s, void *out, size_t bytes_max, size_t *bytes)
{
    unsigned char *to = out;
    if (s.bytes % 2 != 0 || s.bytes / 2 > bytes_max)
        return false;
    for (size_t i = 0; i < s.bytes / 2; i++) {
        int byte = hex_byte(s.data + 2 * i);
        if (byte < 0)
            return false;
        to[i] = (unsigned char)byte;
    }
    *bytes = s.bytes / 2;
    return true;
}

bool text_percent_decode(struct buf *out, struct str s, bool plus)
{
    for (size_t i = 0; i < s.bytes; i++) {
        if (s.data[i] != '%') {
            buf_add_char(out, plus && s.data[i] == '+' ? ' ' : s.data[i]);
            continue;
        }
        int byte = s.bytes - i > 2 ? hex_byte(s.data + i + 1) : -1;
        if (byte < 0)
            return false;
        buf_add_char(out, (char)byte);
        i += 2;
    }
    return true;
}

static bool is_unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void text_percent_encode(struct buf *out, struct str s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.bytes; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (is_unreserved(c))
            buf_add_char(out, (char)c);
        else
            buf_add(out, (const char[]){'%', digits[c >> 4], digits[c & 15]}, 3);
    }
}

static const char *html_entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void text_html(struct buf *out, struct str s)
{
    size_t plain = 0; /* start of the run that needs no escape */
    for (size_t i = 0; i < s.bytes; i++) {
        const char *entity = html_entity(s.data[i]);
        if (entity == NULL)
            continue;
        buf_add(out, s.data + plain, i - plain);
        buf_add_text(out, entity);
        plain = i + 1;
    }
    if (s.bytes > plain)
        buf_add(out, s.data + plain, s.bytes - plain);
}
