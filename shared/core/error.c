/*
 * Fills struct error and names its codes. Allocates nothing, so that it works when memory has run out.
 * A new code needs a row in result_name() and, if clients see it, one in the handlers' table of statuses.
 */
#include "error.h"
#include "str.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Takes away a last character that vsnprintf() cut in two. */
static void drop_half_character(char *text, size_t bytes)
{
    size_t at = bytes;
    while (at > 0 && ((unsigned char)text[at - 1] & 0xc0) == 0x80)
        at--;
    if (at > 0 && str_utf8_first((struct str){text + at - 1, bytes - at + 1}) == 0)
        text[at - 1] = '\0';
}

enum result error_set(struct error *e, enum result code, const char *format, ...)
{
    if (e == NULL)
        return code;
    e->code = code;
    e->sqlstate[0] = '\0';
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    if (bytes < 0)
        snprintf(e->text, sizeof e->text, "%s", result_name(code));
    else if ((size_t)bytes >= sizeof e->text)
        drop_half_character(e->text, sizeof e->text - 1);
    return code;
}

const char *result_name(enum result code)
{
    switch (code) {
    case RESULT_OK:
        return "ok";
    case RESULT_INVALID:
        return "invalid";
    case RESULT_MISSING:
        return "missing";
    case RESULT_CONFLICT:
        return "conflict";
    case RESULT_FORBIDDEN:
        return "forbidden";
    case RESULT_BUSY:
        return "busy";
    case RESULT_OFFLINE:
        return "offline";
    case RESULT_FAILED:
        return "failed";
    }
    return "unknown";
}
