#ifndef BELFRY_FORMAT_CURSOR_H
#define BELFRY_FORMAT_CURSOR_H
/*
 * Cursors: opaque base64url text naming a place. A feed cursor names epoch and rev in one or several feeds
 * and its time of issue; a page cursor names the last row of a list. They carry no authority: what they name
 * is read under the caller's own rights, so a forged one sees nothing foreign.
 */
#include "core/buf.h"
#include "core/str.h"
#include "format/text.h"
#include <stdbool.h>
#include <stdint.h>

enum { CURSOR_FEEDS_MAX = 16, CURSOR_TEXT_BYTES_MAX = 2048 };

struct cursor_place {
    struct str feed; /* as the client names it, e.g. "inbox" */
    uint64_t epoch;
    int64_t rev;
};
struct cursor {
    int64_t issued_s;
    int count;
    struct cursor_place places[CURSOR_FEEDS_MAX];
    char names[1024]; /* where parsed feed names are kept: a parsed cursor must not be copied as a struct */
};

/* Marks out as failed if a name is empty or above 255 bytes, or a number negative. */
void cursor_write(struct buf *out, const struct cursor *cursor);
bool cursor_parse(struct str text, struct cursor *cursor) MUST_CHECK;                 /* false: malformed */
const struct cursor_place *cursor_find(const struct cursor *cursor, struct str feed); /* NULL if not there */

/* A page cursor is a kind letter and one number or uuid: the row after which the next page begins. */
void cursor_write_page(struct buf *out, char kind, int64_t number);
bool cursor_parse_page(struct str text, char kind, int64_t *number);
void cursor_write_page_uuid(struct buf *out, char kind, const struct uuid *id);
bool cursor_parse_page_uuid(struct str text, char kind, struct uuid *id);

#endif
