/*
 * Fills struct error and names its codes. Allocates nothing, so that it works when memory has run out.
 * A new code needs a row in result_name() and, if clients see it, one in the handlers' table of statuses.
 */
#include "error.h"
#include "str.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
        e->text[str_utf8_whole(str_from(e->text)).bytes] = '\0';
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
