/*
 * Shapes of single values. Each function is a grammar spelled out over a character class; none looks at the
 * world (no DNS, no database, no clock). To add one: a class if it needs one, a function, its cases in
 * tests/unit/test_format.c.
 */
#include "check.h"
#include "core/limits.h"
#include <arpa/inet.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
    return is_alpha(c) || is_digit(c);
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool all(struct str s, bool (*is)(char c))
{
    for (size_t i = 0; i < s.bytes; i++)
        if (!is(s.data[i]))
            return false;
    return true;
}

static bool within(struct str s, size_t least, size_t most)
{
    return s.bytes >= least && s.bytes <= most;
}

static bool is_id_char(char c)
{
    return is_alnum(c) || is_one_of(c, "._~@|-");
}

bool check_id(struct str s)
{
    return within(s, 1, LIMIT_ID_BYTES) && all(s, is_id_char);
}

static bool is_slug_char(char c)
{
    return is_lower(c) || is_digit(c) || is_one_of(c, "._-");
}

bool check_slug(struct str s)
{
    return within(s, 1, 64) && (is_lower(s.data[0]) || is_digit(s.data[0])) && all(s, is_slug_char);
}

bool check_phone(struct str s)
{
    return within(s, 8, 16) && s.data[0] == '+' && s.data[1] != '0' &&
           all((struct str){s.data + 1, s.bytes - 1}, is_digit);
}

static bool is_printable(char c)
{
    return c >= 0x21 && c <= 0x7e;
}

bool check_printable(struct str s)
{
    return s.bytes > 0 && all(s, is_printable);
}

static bool is_header_char(char c)
{
    return (unsigned char)c >= 0x20 && c != 0x7f;
}

bool check_header_value(struct str s)
{
    return all(s, is_header_char);
}

/* ---- hosts ---- */

static bool is_label_char(char c)
{
    return is_alnum(c) || is_one_of(c, "-_"); /* _ is no host name's, but found in real ones */
}

static bool is_label(struct str s)
{
    return within(s, 1, 63) && all(s, is_label_char) && s.data[0] != '-' && s.data[s.bytes - 1] != '-';
}

static bool is_address(int family, struct str s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    if (s.bytes >= sizeof text)
        return false;
    memcpy(text, s.data, s.bytes);
    text[s.bytes] = '\0';
    return memchr(s.data, '\0', s.bytes) == NULL && inet_pton(family, text, address) == 1;
}

/* Resolvers take "127.1" and "0x7f000001" for addresses: what ends like a number must be a whole one. */
static bool ends_like_number(struct str last_label)
{
    return all(last_label, is_digit) || str_starts(last_label, "0x") || str_starts(last_label, "0X");
}

static bool is_host_name(struct str s)
{
    if (!within(s, 1, 253))
        return false;
    struct str rest = s, label = STR_NONE;
    while (str_is_set(rest)) {
        label = str_cut(rest, '.', &rest);
        if (!is_label(label))
            return false;
    }
    return !ends_like_number(label) || is_address(AF_INET, s);
}

/* ---- e-mail (RFC 5322 section 3.4.1 dot-atom, RFC 5321 section 4.5.3.1 lengths) ---- */

static bool is_atom_char(char c)
{
    return is_alnum(c) || is_one_of(c, "!#$%&'*+-/=?^_`{|}~");
}

static bool is_dot_atom(struct str s)
{
    while (str_is_set(s)) {
        struct str atom = str_cut(s, '.', &s);
        if (atom.bytes == 0 || !all(atom, is_atom_char))
            return false;
    }
    return true;
}

bool check_email(struct str s)
{
    struct str domain, local = str_cut(s, '@', &domain);
    if (s.bytes > LIMIT_EMAIL_BYTES || !within(local, 1, 64) || !is_dot_atom(local) || !str_is_set(domain))
        return false;
    return is_host_name(domain) && !is_address(AF_INET, domain) &&
           memchr(domain.data, '_', domain.bytes) == NULL;
}

/* ---- locales and zones ---- */

static bool is_variant(struct str part)
{
    return all(part, is_alnum) && (within(part, 5, 8) || (part.bytes == 4 && is_digit(part.data[0])));
}

bool check_locale(struct str s)
{
    enum { LOCALE_BYTES_MAX = 35 }; /* RFC 5646 section 4.4.1 */
    if (s.bytes > LOCALE_BYTES_MAX)
        return false;
    struct str part = str_cut(s, '-', &s);
    if (!within(part, 2, 8) || part.bytes == 4 || !all(part, is_alpha))
        return false;
    if (!str_is_set(s))
        return true;
    part = str_cut(s, '-', &s);
    if (part.bytes == 4 && all(part, is_alpha)) {
        if (!str_is_set(s))
            return true;
        part = str_cut(s, '-', &s);
    }
    bool region = (part.bytes == 2 && all(part, is_alpha)) || (part.bytes == 3 && all(part, is_digit));
    if (!region && !is_variant(part))
        return false;
    while (str_is_set(s))
        if (!is_variant(str_cut(s, '-', &s)))
            return false;
    return true;
}

static bool is_zone_char(char c)
{
    return is_alnum(c) || is_one_of(c, "_+-");
}

bool check_time_zone(struct str s)
{
    if (!within(s, 1, 64) || !is_alpha(s.data[0]))
        return false;
    while (str_is_set(s)) {
        struct str part = str_cut(s, '/', &s);
        if (part.bytes == 0 || !all(part, is_zone_char))
            return false;
    }
    return true;
}

/* ---- URLs ---- */

/* Splits "host:port" or "[ip6]:port"; *port is left alone when there is none. */
static bool parse_authority(struct str s, struct str *host, int *port, bool *host_is_ip6)
{
    struct str after = STR_NONE;
    *host_is_ip6 = s.bytes > 0 && s.data[0] == '[';
    if (*host_is_ip6) {
        s = (struct str){s.data + 1, s.bytes - 1};
        *host = str_cut(s, ']', &after);
        if (!str_is_set(after) || !is_address(AF_INET6, *host))
            return false;
        if (after.bytes == 0)
            return true;
        if (after.data[0] != ':')
            return false;
        after = (struct str){after.data + 1, after.bytes - 1};
    } else {
        *host = str_cut(s, ':', &after);
        if (!is_host_name(*host))
            return false;
    }
    long long number;
    if (!str_is_set(after))
        return true;
    if (after.bytes > 5 || !str_to_int(after, 1, 65535, &number))
        return false;
    *port = (int)number;
    return true;
}

/* RFC 3986 sections 3.3 and 3.4, and in the query the brackets that every form library writes. */
static bool is_path_query_from(struct str s, bool query)
{
    for (size_t i = 0; i < s.bytes; i++) {
        char c = s.data[i];
        if (c == '%' && !(s.bytes - i > 2 && is_one_of(s.data[i + 1], "0123456789abcdefABCDEF") &&
                          is_one_of(s.data[i + 2], "0123456789abcdefABCDEF")))
            return false;
        query = query || c == '?';
        if (!is_alnum(c) && !is_one_of(c, "-._~!$&'()*+,;=:@/?%") && !(query && is_one_of(c, "[]")))
            return false;
    }
    return true;
}

bool url_parse(struct str s, struct url *url)
{
    *url = (struct url){.port = 443};
    size_t scheme_bytes = 5;
    if (s.bytes > LIMIT_URL_BYTES)
        return false;
    if (s.bytes >= 7 && str_equal_nocase((struct str){s.data, 7}, STR("http://"))) {
        url->port = 80;
        scheme_bytes = 4;
    } else if (s.bytes < 8 || !str_equal_nocase((struct str){s.data, 8}, STR("https://"))) {
        return false;
    }
    url->scheme = (struct str){s.data, scheme_bytes};
    struct str rest = {s.data + scheme_bytes + 3, s.bytes - scheme_bytes - 3};
    size_t end = 0;
    while (end < rest.bytes && rest.data[end] != '/' && rest.data[end] != '?')
        end++;
    url->path_query = (struct str){rest.data + end, rest.bytes - end};
    return parse_authority((struct str){rest.data, end}, &url->host, &url->port, &url->host_is_ip6) &&
           is_path_query_from(url->path_query, false);
}

bool check_link(struct str s)
{
    struct str fragment, before = str_cut(s, '#', &fragment);
    struct url url;
    /* a fragment has the characters of a query (RFC 3986 section 3.5) */
    return s.bytes <= LIMIT_URL_BYTES && url_parse(before, &url) && is_path_query_from(fragment, true);
}

static bool is_scheme_char(char c)
{
    return is_lower(c) || is_digit(c) || is_one_of(c, "+.-");
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

bool check_origin(struct str s)
{
    struct str after, host, scheme = str_cut(s, ':', &after);
    int port = 0;
    bool ip6;
    if (s.bytes > LIMIT_URL_BYTES || !within(scheme, 1, 32) || !is_lower(scheme.data[0]) ||
        !all(scheme, is_scheme_char) || !str_is_set(after) || !str_starts(after, "//"))
        return false;
    for (size_t i = 0; i < after.bytes; i++)
        if (is_upper(after.data[i])) /* browsers send lower case, and origins are compared as they are */
            return false;
    return parse_authority((struct str){after.data + 2, after.bytes - 2}, &host, &port, &ip6);
}
