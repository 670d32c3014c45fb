/* Reading an answer: its headers, and how long its sender wants us to wait. Pure. */
#include "core/clock.h"
#include "io/http.h"
#include <curl/curl.h>
#include <string.h>

enum { RETRY_AFTER_S_MAX = 3600, DATE_BYTES_MAX = 64 };

struct str http_answer_header(const struct http_answer *answer, const char *name)
{
    struct str rest = answer->header_block, found = STR_NONE;
    while (rest.bytes) {
        struct str line = str_cut(rest, '\n', &rest), value;
        struct str field = str_cut(line, ':', &value);
        if (!str_is_set(value) || !str_equal_nocase(field, str_from(name)))
            continue;
        if (value.bytes && value.data[value.bytes - 1] == '\r')
            value.bytes--;
        found = str_trim(value);
    }
    return found;
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.bytes; i++)
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
    return s.bytes > 0;
}

int64_t http_answer_retry_after_ms(const struct http_answer *answer)
{
    struct str value = http_answer_header(answer, "Retry-After");
    char date[DATE_BYTES_MAX];
    long long seconds;
    if (all_digits(value)) {
        if (!str_to_int(value, 0, RETRY_AFTER_S_MAX, &seconds))
            seconds = RETRY_AFTER_S_MAX;
        return (int64_t)seconds * 1000;
    }
    /* a date begins with the name of its day in all three forms (RFC 9110 section 5.6.7) */
    if (value.bytes < 8 || value.bytes >= sizeof date || value.data[0] < 'A' || value.data[0] > 'Z')
        return -1;
    memcpy(date, value.data, value.bytes);
    date[value.bytes] = '\0';
    time_t at = curl_getdate(date, NULL);
    if (at == -1)
        return -1;
    int64_t left_ms = (int64_t)at * 1000 - clock_now_us() / 1000;
    if (left_ms < 0)
        return 0;
    return left_ms < RETRY_AFTER_S_MAX * 1000 ? left_ms : RETRY_AFTER_S_MAX * 1000;
}
