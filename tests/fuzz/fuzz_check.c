/* Shapes and encodings: what is let through is harmless where it goes, and what is decoded encodes back. */
#include "core/limits.h"
#include "core/log.h"
#include "format/check.h"
#include "format/text.h"
#include "fuzz.h"
#include <string.h>

static void check_shapes(struct str s)
{
    bool clean = check_header_value(s);
    PROMISE(!check_id(s) || (check_printable(s) && s.bytes <= LIMIT_ID_BYTES));
    PROMISE(!check_slug(s) || check_id(s));
    PROMISE(!check_email(s) || (check_printable(s) && s.bytes <= LIMIT_EMAIL_BYTES));
    PROMISE(!check_phone(s) || check_printable(s));
    PROMISE(!check_locale(s) || check_printable(s));
    PROMISE(!check_time_zone(s) || check_printable(s));
    PROMISE(!check_origin(s) || check_printable(s));
    PROMISE(!check_printable(s) || clean);
}

static bool is_inside(struct str part, struct str whole)
{
    return part.data >= whole.data && part.data + part.bytes <= whole.data + whole.bytes;
}

static void check_url(struct str s)
{
    struct url url;
    if (!url_parse(s, &url))
        return;
    PROMISE(check_printable(s) && s.bytes <= LIMIT_URL_BYTES);
    PROMISE(is_inside(url.scheme, s) && is_inside(url.host, s) && is_inside(url.path_query, s));
    PROMISE(url.host.bytes > 0 && url.port >= 1 && url.port <= 65535);
    PROMISE(memchr(url.host.data, '@', url.host.bytes) == NULL);
}

static void check_encodings(struct str s)
{
    unsigned char bytes[4096];
    size_t count;
    struct buf out = BUF_INIT(16384);
    if (text_from_base64(s, bytes, sizeof bytes, &count)) {
        text_base64(&out, bytes, count);
        PROMISE(str_equal(buf_str(&out), s));
    }
    buf_clear(&out);
    if (text_from_base64url(s, bytes, sizeof bytes, &count)) {
        text_base64url(&out, bytes, count);
        PROMISE(str_starts(s, buf_cstr(&out)));
    }
    buf_clear(&out);
    if (text_from_hex(s, bytes, sizeof bytes, &count)) {
        text_hex(&out, bytes, count);
        PROMISE(str_equal_nocase(buf_str(&out), s));
    }
    buf_clear(&out);
    if (s.bytes <= 4096) {
        struct buf plain = BUF_INIT(4096);
        text_percent_encode(&out, s);
        PROMISE(check_header_value(buf_str(&out)) && text_percent_decode(&plain, buf_str(&out), true));
        PROMISE(str_equal(buf_str(&plain), s));
        buf_clear(&plain);
        PROMISE(text_percent_decode(&plain, s, true) || memchr(s.data, '%', s.bytes) != NULL);
        buf_free(&plain);
    }
    buf_free(&out);
}

static void check_values(struct str s)
{
    struct uuid id;
    int64_t us, again;
    char uuid[UUID_TEXT_BYTES + 1], time[TIME_TEXT_BYTES + 1], masked[48];
    if (uuid_parse(s, &id))
        PROMISE(str_equal_nocase(str_from(uuid_text(&id, uuid)), s));
    if (time_parse(s, &us))
        PROMISE(us >= 0 && time_parse(str_from(time_text(us, time)), &again) && again == us / 1000 * 1000);
    PROMISE(strlen(log_masked(s, masked, sizeof masked)) < sizeof masked);
    PROMISE(!str_is_utf8(s) || str_is_utf8(str_from(masked)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct str s = {(const char *)data, bytes};
    check_shapes(s);
    check_url(s);
    check_encodings(s);
    check_values(s);
    return 0;
}
