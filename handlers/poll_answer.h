#ifndef BELFRY_HANDLERS_POLL_ANSWER_H
#define BELFRY_HANDLERS_POLL_ANSWER_H
/* What a poll answers and a stream sends: the one place that knows their JSON, cursor and pace. Pure. */
#include "core/buf.h"
#include "core/str.h"
#include "domain/feed.h"
#include <stdbool.h>

struct poll_feed {
    const char *name; /* "inbox" */
    struct str
        json; /* {"events":[…],"unreadCount":n,"unseenCount":n,"reset":b}; STR_NONE: only in the cursor */
    struct feed_place place;
};

/* {"feeds":{…},"cursor":"…","more":b,"pollAfterMs":n}. cursor STR_NONE: made of the places, issued now. */
void poll_answer_write(struct buf *out, const struct poll_feed *feeds, int count, struct str cursor,
                       bool more, int poll_after_ms);
/* The same as one Server-Sent Event (HTML standard, section 9.2): id is the cursor. */
void poll_answer_event(struct buf *out, const struct poll_feed *feeds, int count, bool more,
                       int poll_after_ms);
void poll_answer_end(struct buf *out, const char *reason); /* event: end */

/* When to ask again, with jitter: about 1 s where much happens, 2 to 3 s in ordinary traffic, up to 10 s for
 * a feed that has been quiet, and longer still when the server is loaded (load 0 … 100). */
enum poll_activity { POLL_ACTIVE, POLL_ORDINARY, POLL_QUIET };
int poll_answer_pace(enum poll_activity activity, int load);

#endif
