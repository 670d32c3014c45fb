/*
 * Rows: typed views of a statement's result. A column that is NULL reads as nothing (STR_NONE, 0, false);
 * which of them can be NULL is for the query to say. Views live as long as the arena that owns the result.
 */
#include "io/db_private.h"
#include <stdlib.h>
#include <string.h>

static const PGresult *rows(const struct db_result *r)
{
    return (const PGresult *)r;
}

int db_rows(const struct db_result *r)
{
    return PQntuples(rows(r));
}

int64_t db_affected(const struct db_result *r)
{
    /* PQcmdTuples() takes a plain pointer but changes nothing */
    return strtoll(PQcmdTuples((PGresult *)(uintptr_t)rows(r)), NULL, 10);
}

bool db_is_null(const struct db_result *r, int row, int column)
{
    return PQgetisnull(rows(r), row, column) == 1;
}

struct str db_text(const struct db_result *r, int row, int column)
{
    if (db_is_null(r, row, column))
        return STR_NONE;
    return (struct str){PQgetvalue(rows(r), row, column), (size_t)PQgetlength(rows(r), row, column)};
}

int64_t db_int(const struct db_result *r, int row, int column)
{
    return db_is_null(r, row, column) ? 0 : strtoll(PQgetvalue(rows(r), row, column), NULL, 10);
}

bool db_bool(const struct db_result *r, int row, int column)
{
    return !db_is_null(r, row, column) && PQgetvalue(rows(r), row, column)[0] == 't';
}

struct uuid db_uuid(const struct db_result *r, int row, int column)
{
    struct uuid id = {{0}};
    if (!uuid_parse(db_text(r, row, column), &id))
        memset(&id, 0, sizeof id);
    return id;
}

struct str db_bytes(const struct db_result *r, int row, int column, struct arena *arena)
{
    struct str text = db_text(r, row, column);
    if (text.bytes < 2 || text.data[0] != '\\' || text.data[1] != 'x')
        return STR_NONE;
    size_t bytes = (text.bytes - 2) / 2;
    char *out = arena_alloc(arena, bytes + 1);
    if (!out || !text_from_hex((struct str){text.data + 2, text.bytes - 2}, out, bytes, &bytes))
        return STR_NONE;
    return (struct str){out, bytes};
}
