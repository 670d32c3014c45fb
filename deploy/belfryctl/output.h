#ifndef BELFRY_BELFRYCTL_OUTPUT_H
#define BELFRY_BELFRYCTL_OUTPUT_H
/*
 * What a command shows: one object or one list, as a table for people or as JSON (--json) for programs.
 * JSON names are camelCase; people read the same names as headings. Values that are NULL are null, or "-".
 */
#include "deploy/belfryctl/ctl.h"
#include <stddef.h>
#include <stdint.h>

enum output_kind {
    OUTPUT_TEXT,
    OUTPUT_INT,
    OUTPUT_BOOL,
    OUTPUT_JSON, /* text that is JSON already; people read it as it is */
    OUTPUT_TIME  /* microseconds since 1970 */
};

struct output_column {
    const char *name;
    enum output_kind kind;
};

/* Rows of a result as {"NAME":[{…}]}: column i of the result is columns[i]. */
enum result output_list(struct ctl *ctl, const char *name, const struct output_column *columns, int count,
                        const struct db_result *rows, struct error *error) MUST_CHECK;

/* The same rows as a JSON array, for a field of an object. */
void output_write_rows(struct buf *out, const struct output_column *columns, int count,
                       const struct db_result *rows);

struct output_field {
    const char *name;
    enum output_kind kind;
    struct str text; /* OUTPUT_TEXT, OUTPUT_JSON; STR_NONE is null */
    int64_t number;  /* others */
};
#define SHOW_TEXT(name, s) ((struct output_field){(name), OUTPUT_TEXT, (s), 0})
#define SHOW_CSTR(name, s) ((struct output_field){(name), OUTPUT_TEXT, str_from(s), 0})
#define SHOW_INT(name, n) ((struct output_field){(name), OUTPUT_INT, STR_NONE, (n)})
#define SHOW_BOOL(name, b) ((struct output_field){(name), OUTPUT_BOOL, STR_NONE, (b)})
#define SHOW_TIME(name, us) ((struct output_field){(name), (us) ? OUTPUT_TIME : OUTPUT_TEXT, STR_NONE, (us)})
#define SHOW_JSON(name, s) ((struct output_field){(name), OUTPUT_JSON, (s), 0})

/* Column i of a row as a field. */
struct output_field output_field(const struct output_column *column, const struct db_result *rows, int row,
                                 int i);

/* One object: {"NAME":value,…}, or a line for each. */
enum result output_object(struct ctl *ctl, const struct output_field *fields, int count,
                          struct error *error) MUST_CHECK;
#define OUTPUT_OBJECT(ctl, error, ...)                                                                       \
    output_object((ctl), (const struct output_field[]){__VA_ARGS__},                                         \
                  (int)(sizeof((const struct output_field[]){__VA_ARGS__}) / sizeof(struct output_field)),   \
                  (error))

#endif
