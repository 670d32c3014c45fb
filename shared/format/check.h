#ifndef BELFRY_FORMAT_CHECK_H
#define BELFRY_FORMAT_CHECK_H
/* Shapes of single values, shared by request validation, belfryctl and providers. All are pure. */
#include "core/str.h"
#include <stdbool.h>

bool check_id(struct str s);   /* [A-Za-z0-9._~@|-]{1,128}: ids that a tenant chooses */
bool check_slug(struct str s); /* [a-z0-9][a-z0-9._-]{0,63}: types, categories */
bool check_email(
    struct str s); /* dot-atom@domain, RFC 5321 limits; no quotes, no literals, no control characters */
bool check_phone(struct str s);        /* E.164: ^\+[1-9][0-9]{6,14}$ */
bool check_locale(struct str s);       /* BCP 47: language[-Script][-REGION][-variant…] */
bool check_time_zone(struct str s);    /* the form of an IANA name; that it exists, the database says */
bool check_origin(struct str s);       /* scheme://host[:port] in lower case, nothing after */
bool check_printable(struct str s);    /* ASCII 0x21..0x7e, at least one */
bool check_header_value(struct str s); /* no control characters: may be put into a header */

struct url {
    struct str scheme, host, path_query; /* host without brackets; path_query at least "" */
    int port;                            /* 443 or 80 when not written */
    bool host_is_ip6;
};
/* Absolute http(s) URL of at most LIMIT_URL_BYTES without user info, fragment, spaces or control characters
 * (RFC 3986). Views into s. */
bool url_parse(struct str s, struct url *url);
bool check_link(struct str s); /* the same, for people to follow: it may end with a #fragment */

#endif
