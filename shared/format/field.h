#ifndef BELFRY_FORMAT_FIELD_H
#define BELFRY_FORMAT_FIELD_H
/*
 * Fields declared with their rules: a resource writes a table of what it takes, and sees only typed, bounded
 * values. The same table form serves JSON bodies, objects inside them, and query parameters.
 *
 *     enum { MOVE_TITLE, MOVE_LIMIT, MOVE_COLOUR };
 *     const struct field move_fields[] = {
 *         [MOVE_TITLE] = {"title", FIELD_TEXT, FIELD_REQUIRED, .least = 1, .most = LIMIT_TITLE_CHARS},
 *         [MOVE_LIMIT] = {"limit", FIELD_INT, .least = 1, .most = 100, .number = 50},
 *         [MOVE_COLOUR] = {"colour", FIELD_CHOICE, .choices = (const char *const[]){"red", "blue", NULL}},
 *         {NULL}};
 *     … values[MOVE_TITLE].text, values[MOVE_LIMIT].number, values[MOVE_COLOUR].number == 1 …
 *
 * Everything that is wrong is collected as faults with a JSON Pointer (RFC 6901) each, at most FAULTS_MAX;
 * members that the table does not name are faults too. To add a kind: a value in the enum, a case in
 * field_convert().
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "format/text.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { FIELDS_MAX = 32, FAULTS_MAX = 50, FAULT_TEXT_BYTES = 200 };

/* ---- faults ---- */
struct fault {
    struct str pointer; /* "/to/3"; or the name of the parameter */
    bool is_parameter;  /* of the query or the path */
    struct str detail;  /* "must be …", no capital, no full stop */
};
struct faults {
    struct arena *arena;
    int count; /* of what is kept */
    int total; /* of all that were found */
    struct fault items[FAULTS_MAX];
};
#define FAULTS_INIT(a) ((struct faults){.arena = (a)})
/* Beyond FAULTS_MAX only counted. The pointer's and parameter's text is copied. */
void fault_add(struct faults *faults, struct str pointer, const char *format, ...) PRINTF_LIKE(3, 4);
void fault_add_parameter(struct faults *faults, struct str name, const char *format, ...) PRINTF_LIKE(3, 4);
/* prefix "/" name with `~` and `/` escaped, and prefix "/" index. In the arena; prefix "" is the document. */
struct str fault_pointer(struct arena *arena, struct str prefix, struct str name);
struct str fault_pointer_item(struct arena *arena, struct str prefix, size_t index);

/* ---- declarations ---- */
enum field_kind {
    FIELD_TEXT,   /* UTF-8 without NUL; least and most count code points. → text */
    FIELD_ID,     /* check_id(): an id that the tenant chose. → text */
    FIELD_SLUG,   /* check_slug(): types, categories. → text */
    FIELD_WORD,   /* a text that .check accepts; .rule says what it must be. → text */
    FIELD_CHOICE, /* one of .choices, NULL-terminated. → text, and number = its index */
    FIELD_INT,    /* whole, within [least, most]. → number */
    FIELD_BOOL,   /* → flag (and number 0 or 1) */
    FIELD_TIME,   /* RFC 3339. → number, microseconds since 1970 */
    FIELD_UUID,   /* → uuid (and text) */
    FIELD_URL,    /* absolute http(s), url_parse(): where we send to. → text */
    FIELD_LINK,   /* absolute http(s), check_link(): where people are led. → text */
    FIELD_OBJECT, /* any JSON object; compact text at most `most` bytes if that is set. → tree, and text = the
                   * compact JSON if most is set */
    FIELD_ARRAY   /* least to most items of any kind. → tree */
};
enum { FIELD_REQUIRED = 1, FIELD_NULLABLE = 2 };

struct field {
    const char *name;
    enum field_kind kind;
    int flags;
    long long least, most; /* 0, 0: the kind's own limits */
    const char *const *choices;
    bool (*check)(struct str s); /* for any text kind in addition, for FIELD_WORD alone */
    const char *rule;            /* "must be an e-mail address" when check says no */
    const char *text;            /* default of the text kinds and of CHOICE */
    long long number;            /* default of INT and BOOL; a CHOICE without default .text has -1 */
};

/* A value, typed as its field says. Views live as long as the arena or the tree. */
struct field_value {
    bool given;   /* present and not null */
    bool is_null; /* present as null, where the field is nullable */
    bool flag;
    int64_t number;
    struct str text; /* STR_NONE if not given and without default */
    struct uuid uuid;
    const json_t *tree;
};

/* Number of fields before the terminating {NULL}. */
int fields_count(const struct field *fields);
/* Reads a JSON object by a table into values[0 … fields_count). `object` NULL or no object is a fault at
 * `prefix` itself. Every value is set, to its default if absent or at fault. Returns false if it added a
 * fault. prefix "" for the body, "/notifications/3" for a part of it. */
bool fields_read(const struct field *fields, const json_t *object, struct str prefix, struct faults *faults,
                 struct field_value *values);
/* One value by a field's rule (its name is not looked at): for the items of an array. */
bool field_read(const struct field *field, const json_t *value, struct str pointer, struct faults *faults,
                struct field_value *out);
/* The same rule for text that came from a query. */
bool field_read_text(const struct field *field, struct str text, struct faults *faults,
                     struct field_value *out);
/* values[] with nothing given: the defaults. */
void fields_default(const struct field *fields, struct field_value *values);

#endif
