#ifndef BELFRY_WORKER_MIME_H
#define BELFRY_WORKER_MIME_H
/*
 * An e-mail message as bytes: RFC 5322 and 2045–2047. multipart/alternative, text first; everything 7-bit;
 * lines at most 76 characters, CRLF. No value can add a header: whatever is not printable is encoded or
 * becomes a space.
 */
#include "core/buf.h"
#include "core/str.h"
#include <stdint.h>

struct mime_message {
    struct str from_name, from_email; /* names may be STR_NONE */
    struct str to_name, to_email;
    struct str subject;
    struct str message_id; /* without <> */
    struct str boundary;   /* [A-Za-z0-9.-]{1,60} */
    int64_t date_us;
    struct str text, html; /* UTF-8 */
};
/* Appends the message. Pure. */
void mime_write(struct buf *out, const struct mime_message *message);
/* "Name: value", encoded and folded as RFC 2047 unstructured text, with its CRLF. */
void mime_header_text(struct buf *out, const char *name, struct str value);
/* Quoted-printable (RFC 2045 section 6.7) with line breaks as CRLF; ends with one. */
void mime_quoted_printable(struct buf *out, struct str text);

#endif
