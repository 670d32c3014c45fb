#ifndef BELFRY_HANDLERS_INBOX_FEED_H
#define BELFRY_HANDLERS_INBOX_FEED_H
/* The feed of an inbox as the queries in inbox.sql give it after their own columns: epoch, rev, unread,
 * unseen. */
#include "domain/feed.h"
#include "io/db.h"

struct inbox_feed {
    struct feed_place place;
    int64_t unread, unseen;
};

/* From the first row, whose column `first` is the epoch. Without a row there is no feed: nothing ever
 * arrived. */
static inline struct inbox_feed inbox_feed_from_row(const struct db_result *rows, int first)
{
    if (db_rows(rows) == 0)
        return (struct inbox_feed){.place = {FEED_EPOCH_NONE, 0}};
    return (struct inbox_feed){.place = {(uint64_t)db_int(rows, 0, first), db_int(rows, 0, first + 1)},
                               .unread = db_int(rows, 0, first + 2),
                               .unseen = db_int(rows, 0, first + 3)};
}

#endif
