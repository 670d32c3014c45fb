#ifndef BELFRY_FORMAT_JSON_H
#define BELFRY_FORMAT_JSON_H
/*
 * JSON: reading through jansson, bounded before jansson sees it (size, depth, number of values, UTF-8, NUL,
 * duplicate keys); writing straight into a buf, with no tree in between.
 */
#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "core/str.h"
#include <jansson.h>
#include <stdint.h>

/* Parses one object or array within LIMIT_JSON_DEPTH and LIMIT_JSON_VALUES (RFC 8259). The tree is released
 * with the arena. RESULT_INVALID says line, column and reason. */
enum result json_parse(struct arena *arena, struct str text, json_t **tree, struct error *error) MUST_CHECK;
/* The string's bytes as a view into the tree; STR_NONE if value is no string. */
struct str json_str(const json_t *value);
/* Compact text of a tree in the order of its keys as written, appended to out. A tree deeper than
 * LIMIT_JSON_DEPTH, which json_parse() never gives, marks out as failed. */
void json_write_tree(struct buf *out, const json_t *tree);

/* Writing (json_string and json_null are jansson's, hence text and nil). Commas are the writer's business:
 * `json_key()` puts a comma unless the object just opened. */
void json_open(struct buf *out, char bracket);  /* '{' or '[' ; in an array puts a comma when needed */
void json_close(struct buf *out, char bracket); /* '}' or ']' */
void json_key(struct buf *out, const char *name);
void json_text(struct buf *out, struct str s);         /* quoted and escaped; invalid UTF-8 becomes U+FFFD */
void json_text_or_null(struct buf *out, struct str s); /* STR_NONE writes null */
void json_int(struct buf *out, int64_t value);
void json_bool(struct buf *out, bool value);
void json_nil(struct buf *out);
void json_raw(struct buf *out, struct str text); /* already JSON; array commas are put */

/* In an array, text/int/bool/nil/raw/open put the comma before themselves when the last byte written is none
 * of
 * "[{:," nor a space or line feed (so that a value may follow "data: "). */

#endif
