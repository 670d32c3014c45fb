#ifndef BELFRY_DOMAIN_ITEM_H
#define BELFRY_DOMAIN_ITEM_H
/*
 * A notification as rows give it and as JSON shows it: one shape for the inbox, the polls, the events and the
 * services, so that all of them always agree.
 *
 * Queries that read notifications select ITEM_COLUMNS in this order (the text is repeated in sql/queries; a
 * test compares). read/seen are effective: marks of the feed are already applied by the query.
 */
#include "core/buf.h"
#include "io/db.h"

/* Column positions in such a result. */
enum item_column {
    ITEM_ID, ITEM_REV, ITEM_TYPE, ITEM_TITLE, ITEM_BODY, ITEM_DATA, ITEM_SENDER, ITEM_CATEGORY, ITEM_PRIORITY,
    ITEM_ACTIONS, ITEM_URL, ITEM_CREATED, ITEM_EXPIRES, ITEM_SEEN, ITEM_READ, ITEM_ARCHIVED, ITEM_SNOOZED,
    ITEM_ACTION, ITEM_ACTED, ITEM_LIVE, ITEM_POSITION, ITEM_COLUMNS
};
/* ITEM_LIVE: boolean, false = tombstone (deleted, cancelled, expired, or not in the inbox). Times are microseconds
 * since 1970 (bigint) or NULL. */

/* InboxItem of the contract. */
void item_write(struct buf *out, const struct db_result *rows, int row);
/* {"type":"notification","rev":n,"notification":InboxItem} or {"type":"deleted","rev":n,"id":"…"}. */
void item_write_event(struct buf *out, const struct db_result *rows, int row);

#endif
