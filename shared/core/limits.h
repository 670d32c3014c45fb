#ifndef BELFRY_CORE_LIMITS_H
#define BELFRY_CORE_LIMITS_H
/* Every bound of the product that more than one file needs, with its unit and its reason. */

enum {
    LIMIT_ID_BYTES = 128,            /* ids that a tenant chooses */
    LIMIT_RECIPIENTS = 1000,         /* of one send: bounds the feeds locked together */
    LIMIT_BODY_BYTES = 1 << 20,      /* of a request, unless its route says less */
    LIMIT_BULK_BODY_BYTES = 8 << 20, /* 1,000 notifications of 8 KiB */
    LIMIT_JSON_DEPTH = 16,           /* jansson alone allows 2,048 */
    LIMIT_JSON_VALUES = 200000,      /* a value costs about 80 bytes parsed */
    LIMIT_HEADER_BYTES = 16384,      /* one header's value */
    LIMIT_QUERY_BYTES = 8192,
    LIMIT_QUERY_FIELDS = 32,
    LIMIT_DATA_BYTES = 8192, /* of a notification's data, a user's attributes */
    LIMIT_TITLE_CHARS = 256,
    LIMIT_TEXT_CHARS = 4096,
    LIMIT_ACTIONS = 5,
    LIMIT_DEVICES = 20, /* of one user */
    LIMIT_URL_BYTES = 2048,
    LIMIT_EMAIL_BYTES = 254, /* RFC 5321 4.5.3.1.3 less the brackets */
    LIMIT_PAGE_ROWS = 100,
    LIMIT_DELTA_ROWS = 50, /* of one poll answer; more says that there are more */
    LIMIT_WAITERS_PER_USER = 10,
    LIMIT_REQUEST_ARENA_BYTES = 64 << 20, /* a bulk send parsed, with its parameters */
    LIMIT_RESPONSE_BYTES = 16 << 20
};

#endif
