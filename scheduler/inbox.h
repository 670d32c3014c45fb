#ifndef BELFRY_SCHEDULER_INBOX_H
#define BELFRY_SCHEDULER_INBOX_H
/*
 * Notifications that leave inboxes or come back because time has passed. Each locks the feeds of its
 * notifications in order and changes them in the next statement; counters and revs are right at the commit,
 * and readers are told after it.
 */
#include "format/text.h"
#include "scheduler/duty.h"

/* Completes a transaction that was begun for the tenant as "*", with at most DB_STATEMENTS_MAX - 3 statements
 * queued: takes those out that have expired or are older than is kept. extra, if not NULL, queues one more
 * statement before the commit. RESULT_BUSY: somebody holds one of the feeds. */
struct inbox_extra {
    const struct db_query *query;
    const struct db_args *args;
};
enum result inbox_leave(struct scheduler *s, int tenant, const struct uuid *ids, int count,
                        const struct inbox_extra *extra, struct error *error) MUST_CHECK;
/* The same for snoozed ones whose time has come: to the top of the inbox. */
enum result inbox_return(struct scheduler *s, int tenant, const struct uuid *ids, int count,
                         struct error *error) MUST_CHECK;

#endif
