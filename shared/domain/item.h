#ifndef BELFRY_DOMAIN_ITEM_H
#define BELFRY_DOMAIN_ITEM_H
/*
 * A notification as rows give it and as JSON shows it: one shape for the inbox, the polls and the events, so
 * that all of them always agree.
 *
 * Queries that read items select their columns in the order of enum item_column. read and seen are effective:
 * the query has applied the feed's marks.
 */
#include "core/buf.h"
#include "format/text.h"
#include "io/db.h"
#include <stdint.h>

/* Column positions in such a result. Times are microseconds since 1970 (bigint) or NULL. ITEM_LIVE is a
 * boolean, false for a tombstone: deleted, cancelled, or not in the inbox. */
enum item_column {
    ITEM_ID,
    ITEM_REV,
    ITEM_TYPE,
    ITEM_TITLE,
    ITEM_BODY,
    ITEM_DATA,
    ITEM_SENDER,
    ITEM_CATEGORY,
    ITEM_PRIORITY,
    ITEM_ACTIONS,
    ITEM_URL,
    ITEM_CREATED,
    ITEM_EXPIRES,
    ITEM_SEEN,
    ITEM_READ,
    ITEM_ARCHIVED,
    ITEM_SNOOZED,
    ITEM_ACTION,
    ITEM_ACTED,
    ITEM_LIVE,
    ITEM_POSITION,
    ITEM_COLUMNS
};

/* The same as values. Absent texts are STR_NONE, absent times ITEM_NEVER. */
enum { ITEM_NEVER = 0 };
struct item {
    struct str id, type, title, body, data, sender, category, actions, url, action;
    int64_t rev, position;
    int priority; /* enum send_priority */
    int64_t created_us, expires_us, seen_us, read_us, archived_us, snoozed_us, acted_us;
    bool live;
};

/* Views into the row. */
struct item item_from_row(const struct db_result *rows, int row);
/* InboxItem of the API. */
void item_write(struct buf *out, const struct item *item);
/* {"type":"notification","rev":n,"notification":InboxItem} or, when not live,
 * {"type":"deleted","rev":n,"id":"…"}. */
void item_write_event(struct buf *out, const struct item *item);

#endif
