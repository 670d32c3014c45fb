#ifndef BELFRY_FORMAT_TEXT_H
#define BELFRY_FORMAT_TEXT_H
/* Encodings of bytes as text: base64 (RFC 4648 §4), base64url (§5, written without padding, read with or
 * without), hexadecimal, percent-encoding (RFC 3986 §2.1), UUIDv7 (RFC 9562 §5.7), RFC 3339 times, HTML. */
#include "core/buf.h"
#include "core/error.h"
#include "core/str.h"
#include <stdbool.h>
#include <stdint.h>

void text_base64(struct buf *out, const void *data, size_t bytes);
void text_base64url(struct buf *out, const void *data, size_t bytes);
/* Decode into out (capacity bytes_max); false for anything malformed or too long; *bytes is the length. */
bool text_from_base64(struct str s, void *out, size_t bytes_max, size_t *bytes) MUST_CHECK;
bool text_from_base64url(struct str s, void *out, size_t bytes_max, size_t *bytes) MUST_CHECK;
void text_hex(struct buf *out, const void *data, size_t bytes);
bool text_from_hex(struct str s, void *out, size_t bytes_max, size_t *bytes) MUST_CHECK;

/* Decodes %XX and, if plus is true, '+' as space. false for a broken escape. out is appended to. */
bool text_percent_decode(struct buf *out, struct str s, bool plus) MUST_CHECK;
void text_percent_encode(struct buf *out, struct str s); /* all but unreserved characters */
void text_html(struct buf *out, struct str s);           /* & < > " ' escaped */

enum { UUID_TEXT_BYTES = 36 };
struct uuid {
    unsigned char bytes[16];
};
/* A new UUIDv7 with now's millisecond, random otherwise; within a thread strictly increasing. */
struct uuid uuid_new(void);
struct uuid uuid_at(int64_t unix_us);                      /* its time is given, the rest random */
bool uuid_parse(struct str s, struct uuid *id) MUST_CHECK; /* canonical 8-4-4-4-12, either case */
char *uuid_text(const struct uuid *id,
                char out[UUID_TEXT_BYTES + 1]); /* lower case, terminated; returns out */
int64_t uuid_unix_ms(const struct uuid *id);

enum { TIME_TEXT_BYTES = 24 };
/* "2026-11-20T10:00:00.123Z"; terminated; returns out. Times before 1970 or after 9999 are written as the
 * first or last one between. */
char *time_text(int64_t unix_us, char out[TIME_TEXT_BYTES + 1]);
/* RFC 3339 with any offset, leap second folded to :59, years 1970 to 9999. */
bool time_parse(struct str s, int64_t *unix_us) MUST_CHECK;

#endif
