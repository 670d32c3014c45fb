#ifndef BELFRY_CORE_BUF_H
#define BELFRY_CORE_BUF_H
/*
 * A growing run of bytes with a maximum. Writers need not check each append: the first that does not fit (or
 * finds no memory) marks the buffer as failed, later ones do nothing, and the owner asks buf_ok() at the end.
 */
#include "error.h"
#include "str.h"
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t bytes, capacity, bytes_max;
    bool failed;
};

#define BUF_INIT(max) ((struct buf){.bytes_max = (max)})

void buf_add(struct buf *b, const void *data, size_t bytes);
void buf_add_str(struct buf *b, struct str s);
void buf_add_text(struct buf *b, const char *terminated);
void buf_add_char(struct buf *b, char c);
void buf_add_int(struct buf *b, long long value);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
/* Makes room for more bytes and a NUL after them, for a writer that fills data + bytes itself and then adds
 * to bytes. false: it does not fit, and the buffer is marked as failed. */
bool buf_reserve(struct buf *b, size_t more) MUST_CHECK;
bool buf_ok(const struct buf *b);
struct str buf_str(const struct buf *b); /* a view; valid until the next append */
const char *buf_cstr(struct buf *b);     /* NUL-terminated; NULL if failed */
void buf_clear(struct buf *b);           /* keeps the memory, forgets content and failure */
void buf_free(struct buf *b);            /* back to BUF_INIT with the same maximum */

#endif
