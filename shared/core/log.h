#ifndef BELFRY_CORE_LOG_H
#define BELFRY_CORE_LOG_H
/*
 * Structured logs to standard error: one JSON object a line ({"time","level","program","event",…fields}), or
 * coloured text when standard error is a terminal. Thread-safe, a line is one write(2). Never pass secrets,
 * tokens, whole addresses or message texts; log_masked() shows just enough of an address to recognise it.
 */
#include "str.h"
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log_field {
    const char *name;
    const char *text; /* NULL: the number is meant */
    size_t text_bytes;
    int64_t number;
};

/* NULL is shown as "". */
static inline struct log_field log_field_text(const char *name, const char *text)
{
    return (struct log_field){name, text ? text : "", (size_t)-1, 0};
}
static inline struct log_field log_field_str(const char *name, struct str s)
{
    return (struct log_field){name, s.data ? s.data : "", s.bytes, 0};
}
#define LOG_TEXT(name, cstr) log_field_text((name), (cstr))
#define LOG_STR(name, s) log_field_str((name), (s))
#define LOG_INT(name, n) ((struct log_field){(name), NULL, 0, (int64_t)(n)})

void log_open(const char *program, enum log_level least);
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);
int log_level_parse(const char *name); /* "debug", "info", "warning", "error"; -1 otherwise */

/* log_info("account paused", LOG_TEXT("provider", name), LOG_INT("status", 401)); */
#define LOG_AT(level, event, ...)                                                                            \
    do {                                                                                                     \
        const struct log_field log_fields_[] = {{0}, ##__VA_ARGS__};                                         \
        log_write((level), (event), log_fields_ + 1, sizeof log_fields_ / sizeof *log_fields_ - 1);          \
    } while (0)
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event, ##__VA_ARGS__)
#define log_info(event, ...) LOG_AT(LOG_INFO, event, ##__VA_ARGS__)
#define log_warning(event, ...) LOG_AT(LOG_WARNING, event, ##__VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event, ##__VA_ARGS__)

/* "jane@example.com" → "j…@example.com", "+821012345678" → "+82…78", a URL → its scheme and host. Writes at
 * most bytes, terminated; returns out. */
char *log_masked(struct str address, char *out, size_t bytes);

#endif
