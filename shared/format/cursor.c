/*
 * Cursors as bytes, then base64url. A feed cursor is: 1, time of issue, number of feeds, and for each the
 * length of its name, the name, the epoch and the rev; numbers are varints (seven bits a byte, lowest first)
 * but the epoch, which is random, takes eight bytes. Each cursor has one spelling, so that equal cursors are
 * equal texts (the hub answers equal waiters with the same bytes). Another layout takes another first byte;
 * old ones are then read as malformed, and the client starts over.
 */
#include "cursor.h"
#include "format/text.h"
#include <string.h>

enum { FEED_CURSOR = 1, CURSOR_BYTES_MAX = CURSOR_TEXT_BYTES_MAX / 4 * 3, NAME_BYTES_MAX = 255 };

/* ---- writing ---- */

static void add_varint(struct buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_add_char(out, (char)(0x80 | (value & 0x7f)));
    buf_add_char(out, (char)value);
}

static void add_fixed(struct buf *out, uint64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_add_char(out, (char)(unsigned char)(value >> shift));
}

static bool is_writable(const struct cursor *cursor)
{
    size_t names = 0;
    if (cursor->count < 0 || cursor->count > CURSOR_FEEDS_MAX || cursor->issued_s < 0)
        return false;
    for (int i = 0; i < cursor->count; i++) {
        size_t bytes = cursor->places[i].feed.bytes;
        if (bytes == 0 || bytes > NAME_BYTES_MAX || cursor->places[i].rev < 0)
            return false;
        names += bytes;
    }
    return names <= sizeof cursor->names;
}

void cursor_write(struct buf *out, const struct cursor *cursor)
{
    if (!is_writable(cursor)) {
        out->failed = true;
        return;
    }
    struct buf bytes = BUF_INIT(CURSOR_BYTES_MAX);
    buf_add_char(&bytes, FEED_CURSOR);
    add_varint(&bytes, (uint64_t)cursor->issued_s);
    add_varint(&bytes, (uint64_t)cursor->count);
    for (int i = 0; i < cursor->count; i++) {
        const struct cursor_place *place = &cursor->places[i];
        add_varint(&bytes, place->feed.bytes);
        buf_add_str(&bytes, place->feed);
        add_fixed(&bytes, place->epoch);
        add_varint(&bytes, (uint64_t)place->rev);
    }
    if (buf_ok(&bytes))
        text_base64url(out, bytes.data, bytes.bytes);
    else
        out->failed = true;
    buf_free(&bytes);
}

/* ---- reading ---- */

struct reader {
    const unsigned char *data;
    size_t left;
    bool ok;
};

static unsigned char read_byte(struct reader *r)
{
    if (!r->ok || r->left == 0) {
        r->ok = false;
        return 0;
    }
    r->left--;
    return *r->data++;
}

static uint64_t read_varint(struct reader *r, uint64_t most)
{
    uint64_t value = 0;
    for (unsigned shift = 0; r->ok && shift < 64; shift += 7) {
        unsigned char byte = read_byte(r);
        uint64_t part = byte & 0x7f;
        if ((part << shift) >> shift != part || (byte == 0 && shift > 0))
            break; /* beyond 64 bits, or not the shortest form */
        value |= part << shift;
        if (byte < 0x80 && r->ok) {
            r->ok = value <= most;
            return value <= most ? value : 0;
        }
    }
    r->ok = false;
    return 0;
}

static uint64_t read_fixed(struct reader *r)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | read_byte(r);
    return value;
}

/* The name is copied into cursor->names at *used. */
static struct str read_name(struct reader *r, struct cursor *cursor, size_t *used)
{
    size_t bytes = (size_t)read_varint(r, NAME_BYTES_MAX);
    if (!r->ok || bytes == 0 || bytes > r->left || bytes > sizeof cursor->names - *used) {
        r->ok = false;
        return STR_NONE;
    }
    char *name = cursor->names + *used;
    memcpy(name, r->data, bytes);
    r->data += bytes;
    r->left -= bytes;
    *used += bytes;
    return (struct str){name, bytes};
}

static void read_place(struct reader *r, struct cursor *cursor, size_t *used)
{
    struct cursor_place place = {.feed = read_name(r, cursor, used)};
    place.epoch = read_fixed(r);
    place.rev = (int64_t)read_varint(r, INT64_MAX);
    if (!r->ok)
        return;
    if (cursor_find(cursor, place.feed) != NULL)
        r->ok = false;
    else
        cursor->places[cursor->count++] = place;
}

bool cursor_parse(struct str text, struct cursor *cursor)
{
    unsigned char bytes[CURSOR_BYTES_MAX];
    struct reader r = {.data = bytes, .ok = true};
    if (text.bytes > CURSOR_TEXT_BYTES_MAX || !text_from_base64url(text, bytes, sizeof bytes, &r.left))
        return false;
    if (text.bytes > 0 && text.data[text.bytes - 1] == '=')
        return false;
    cursor->count = 0;
    if (read_byte(&r) != FEED_CURSOR)
        return false;
    cursor->issued_s = (int64_t)read_varint(&r, INT64_MAX);
    size_t count = (size_t)read_varint(&r, CURSOR_FEEDS_MAX), used = 0;
    for (size_t i = 0; r.ok && i < count; i++)
        read_place(&r, cursor, &used);
    return r.ok && r.left == 0;
}

const struct cursor_place *cursor_find(const struct cursor *cursor, struct str feed)
{
    for (int i = 0; i < cursor->count; i++)
        if (str_equal(cursor->places[i].feed, feed))
            return &cursor->places[i];
    return NULL;
}

/* ---- pages ---- */

void cursor_write_page(struct buf *out, char kind, int64_t number)
{
    unsigned char bytes[9] = {(unsigned char)kind};
    for (size_t i = 0; i < 8; i++)
        bytes[1 + i] = (unsigned char)((uint64_t)number >> (56 - 8 * i));
    text_base64url(out, bytes, sizeof bytes);
}

bool cursor_parse_page(struct str text, char kind, int64_t *number)
{
    unsigned char bytes[9];
    size_t length;
    if (!text_from_base64url(text, bytes, sizeof bytes, &length) || length != sizeof bytes ||
        bytes[0] != (unsigned char)kind)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | bytes[1 + i];
    *number = (int64_t)value;
    return true;
}

void cursor_write_page_uuid(struct buf *out, char kind, const struct uuid *id)
{
    unsigned char bytes[17] = {(unsigned char)kind};
    memcpy(bytes + 1, id->bytes, sizeof id->bytes);
    text_base64url(out, bytes, sizeof bytes);
}

bool cursor_parse_page_uuid(struct str text, char kind, struct uuid *id)
{
    unsigned char bytes[17];
    size_t length;
    if (!text_from_base64url(text, bytes, sizeof bytes, &length) || length != sizeof bytes ||
        bytes[0] != (unsigned char)kind)
        return false;
    memcpy(id->bytes, bytes + 1, sizeof id->bytes);
    return true;
}
