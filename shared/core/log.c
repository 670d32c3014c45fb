/*
 * Log lines. A line is built on the stack and leaves with one write(2) of at most LOG_LINE_BYTES, which is
 * what a pipe takes without mixing it with another's line. What does not fit is cut inside a value (with …)
 * or left out as a whole field: the line is always valid JSON. Nothing here allocates, fails or changes
 * errno.
 */
#include "log.h"
#include "clock.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LOG_LINE_BYTES = 4096, LOG_VALUE_BYTES = 1024, LOG_TAIL_BYTES = 8 /* …"}\n and a colour's end */ };

static const char *const level_names[] = {"debug", "info", "warning", "error"};
static const char *const level_colours[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};

static const char *log_program = "belfry";
static enum log_level log_least = LOG_INFO;
static bool log_coloured;

struct line {
    char text[LOG_LINE_BYTES];
    size_t bytes;
};

void log_open(const char *program, enum log_level least)
{
    log_program = program;
    log_least = least;
    log_coloured = isatty(STDERR_FILENO) == 1;
}

int log_level_parse(const char *name)
{
    for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
        if (strcmp(level_names[i], name) == 0)
            return (int)i;
    return -1;
}

static bool fits(const struct line *line, size_t bytes)
{
    return line->bytes + bytes + LOG_TAIL_BYTES <= sizeof line->text;
}

/* Adds all or, when it would touch the room kept for the line's end, nothing. */
static bool add(struct line *line, const char *data, size_t bytes)
{
    if (!fits(line, bytes))
        return false;
    memcpy(line->text + line->bytes, data, bytes);
    line->bytes += bytes;
    return true;
}

static bool add_text(struct line *line, const char *text)
{
    return add(line, text, strlen(text));
}

/* One character of s as it may stand between quotes; returns how many bytes of s it was, 0 when full. */
static size_t add_character(struct line *line, struct str s)
{
    unsigned char c = (unsigned char)s.data[0];
    size_t bytes = str_utf8_first(s);
    if (bytes == 0 || c == '\0') /* \u0000 is JSON, but many readers refuse it */
        return add_text(line, "\xef\xbf\xbd");
    char escape[8];
    if (c == '"' || c == '\\')
        snprintf(escape, sizeof escape, "\\%c", c);
    else if (c < 0x20 || c == 0x7f)
        snprintf(escape, sizeof escape, "\\u%04x", c);
    else
        return add(line, s.data, bytes) ? bytes : 0;
    return add_text(line, escape);
}

static void add_value(struct line *line, struct str s)
{
    bool cut = s.bytes > LOG_VALUE_BYTES;
    s = str_utf8_cut(s, LOG_VALUE_BYTES);
    for (size_t i = 0, step; i < s.bytes; i += step) {
        step = add_character(line, (struct str){s.data + i, s.bytes - i});
        if (step == 0) {
            cut = true;
            break;
        }
    }
    if (cut) /* the tail keeps room for it */
        line->bytes += (size_t)snprintf(line->text + line->bytes, 4, "\xe2\x80\xa6");
}

static void add_field(struct line *line, const struct log_field *field)
{
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)field->number);
    size_t value_bytes = field->text ? 8 : strlen(number);
    if (!fits(line, strlen(field->name) + 4 + value_bytes + LOG_TAIL_BYTES))
        return;
    bool quoted = field->text != NULL;
    add_text(line, log_coloured ? " " : ",\"");
    add_text(line, field->name);
    add_text(line, log_coloured ? (quoted ? "=\"" : "=") : (quoted ? "\":\"" : "\":"));
    if (!quoted) {
        add_text(line, number);
        return;
    }
    size_t bytes = field->text_bytes == (size_t)-1 ? strlen(field->text) : field->text_bytes;
    add_value(line, (struct str){field->text, bytes});
    line->text[line->bytes++] = '"';
}

static void add_head(struct line *line, enum log_level level, const char *event)
{
    int64_t us = clock_now_us();
    time_t seconds = (time_t)(us / 1000000);
    struct tm utc;
    char time[32], head[160];
    gmtime_r(&seconds, &utc);
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
    int ms = (int)(us / 1000 % 1000);
    if (log_coloured)
        snprintf(head, sizeof head, "%s.%03dZ %s%-7s\033[0m %s: ", time, ms, level_colours[level],
                 level_names[level], log_program);
    else
        snprintf(head, sizeof head, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"program\":\"%s\",\"event\":\"",
                 time, ms, level_names[level], log_program);
    add_text(line, head);
    add_value(line, str_from(event));
    if (!log_coloured)
        line->text[line->bytes++] = '"';
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    if (level < log_least)
        return;
    int saved = errno;
    struct line line;
    line.bytes = 0;
    add_head(&line, level, event);
    for (size_t i = 0; i < count; i++)
        add_field(&line, &fields[i]);
    line.bytes += (size_t)snprintf(line.text + line.bytes, 3, log_coloured ? "\n" : "}\n");
    ssize_t written;
    do
        written = write(STDERR_FILENO, line.text, line.bytes);
    while (written < 0 && errno == EINTR);
    errno = saved;
}

static bool is_phone(struct str s)
{
    if (s.bytes < 8 || s.data[0] != '+')
        return false;
    for (size_t i = 1; i < s.bytes; i++)
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
    return true;
}

/* How many bytes of the address may be shown at its beginning, and from where on again. */
static void masked_span(struct str s, size_t *head, size_t *tail)
{
    const char *at = memchr(s.data, '@', s.bytes);
    const char *scheme = s.bytes > 3 ? memmem(s.data, s.bytes, "://", 3) : NULL;
    if (scheme != NULL) {
        size_t i = (size_t)(scheme - s.data) + 3;
        while (i < s.bytes && strchr("/?#@", s.data[i]) == NULL)
            i++;
        *head = i < s.bytes && s.data[i] == '@' ? (size_t)(scheme - s.data) + 3 : i;
        *tail = s.bytes;
    } else if (at != NULL) {
        *head = at == s.data ? 0 : str_utf8_first(s);
        *tail = (size_t)(at - s.data);
    } else if (is_phone(s)) {
        *head = 3;
        *tail = s.bytes - 2;
    } else {
        *head = s.bytes >= 12 ? str_utf8_cut(s, 4).bytes : 0;
        *tail = s.bytes;
    }
}

char *log_masked(struct str address, char *out, size_t bytes)
{
    char all[256];
    out[0] = '\0';
    if (address.bytes == 0)
        return out;
    size_t head, tail;
    masked_span(address, &head, &tail);
    const char *gap = head < tail ? "\xe2\x80\xa6" : "";
    int length = snprintf(all, sizeof all, "%.*s%s%.*s", (int)head, address.data, gap,
                          (int)(address.bytes - tail), address.data + tail);
    size_t whole = length < 0 ? 0 : (size_t)length < sizeof all ? (size_t)length : sizeof all - 1;
    struct str cut = str_utf8_cut((struct str){all, whole}, bytes - 1);
    memcpy(out, cut.data, cut.bytes);
    out[cut.bytes] = '\0';
    return out;
}
