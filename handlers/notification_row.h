#ifndef BELFRY_HANDLERS_NOTIFICATION_ROW_H
#define BELFRY_HANDLERS_NOTIFICATION_ROW_H
/* A notification as a service sees it: the columns that the queries in notifications.sql select, and its
 * JSON. */
#include "core/buf.h"
#include "io/db.h"
#include <stdint.h>

enum notification_column {
    ROW_ID,
    ROW_USER,
    ROW_REQUEST,
    ROW_TYPE,
    ROW_TITLE,
    ROW_BODY,
    ROW_DATA,
    ROW_SENDER,
    ROW_CATEGORY,
    ROW_PRIORITY,
    ROW_ACTIONS,
    ROW_URL,
    ROW_CHANNELS,
    ROW_STATUS,
    ROW_SANDBOX,
    ROW_SCHEDULED,
    ROW_EXPIRES,
    ROW_CREATED,
    ROW_SEEN,
    ROW_READ,
    ROW_ARCHIVED,
    ROW_ACTION,
    ROW_ACTED,
    ROW_COLUMNS
};

/* Notification of the API. */
void notification_write(struct buf *out, const struct db_result *rows, int row);
/* "notifications": the first `limit` rows of a page for which one more was asked, "nextCursor": after the
 * last. */
void notification_write_page(struct buf *out, const struct db_result *rows, int64_t limit);
/* The id from which a page goes on, from its cursor; without one the greatest there is. False: no such
 * cursor. */
bool notification_page_start(struct str cursor, struct uuid *before);

#endif
