#ifndef BELFRY_HANDLERS_MEMBER_H
#define BELFRY_HANDLERS_MEMBER_H
/* Members of answers, written from rows: a name and a value. Absent values are null, so every member is
 * always there. */
#include "core/buf.h"
#include "core/str.h"
#include "format/json.h"
#include "format/text.h"
#include "io/db.h"

static inline void member_text(struct buf *out, const char *name, struct str text)
{
    json_key(out, name);
    json_text_or_null(out, text);
}

static inline void member_int(struct buf *out, const char *name, int64_t number)
{
    json_key(out, name);
    json_int(out, number);
}

static inline void member_bool(struct buf *out, const char *name, bool flag)
{
    json_key(out, name);
    json_bool(out, flag);
}

/* JSON as the database keeps it; absent is null. */
static inline void member_raw(struct buf *out, const char *name, struct str json)
{
    json_key(out, name);
    json_raw(out, str_is_set(json) ? json : STR("null"));
}

static inline void member_time(struct buf *out, const char *name, int64_t unix_us)
{
    char text[TIME_TEXT_BYTES + 1];
    json_key(out, name);
    json_text(out, str_from(time_text(unix_us, text)));
}

/* A column of microseconds; NULL is null. */
static inline void member_time_column(struct buf *out, const char *name, const struct db_result *rows,
                                      int row, int column)
{
    if (db_is_null(rows, row, column))
        member_text(out, name, STR_NONE);
    else
        member_time(out, name, db_int(rows, row, column));
}

/* The cursor of a page, or null at the end. */
static inline void member_cursor(struct buf *out, const char *name, const struct buf *cursor)
{
    member_text(out, name, cursor->bytes > 0 ? buf_str(cursor) : STR_NONE);
}

#endif
