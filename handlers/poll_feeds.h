#ifndef BELFRY_HANDLERS_POLL_FEEDS_H
#define BELFRY_HANDLERS_POLL_FEEDS_H
/*
 * The feeds that a poll or stream names, with the places that its cursor holds, ready to be read and parked.
 * To add a kind of feed (rooms, chats): a row in the table in poll_feeds.c.
 */
#include "domain/feed.h"
#include "handlers/park.h"
#include "handlers/poll_answer.h"
#include "handlers/route.h"

/* `feeds` as both take it: names with commas between them, by default the inbox. */
#define POLL_FEEDS_FIELD                                                                                     \
    {                                                                                                        \
        "feeds", FIELD_TEXT, .least = 1, .most = 255, .text = "inbox"                                        \
    }
#define POLL_CURSOR_FIELD                                                                                    \
    {                                                                                                        \
        "cursor", FIELD_TEXT, .least = 1, .most = CURSOR_TEXT_BYTES_MAX                                      \
    }

struct poll_feeds {
    int count;
    struct park_feed feeds[PARK_FEEDS_MAX];
    struct feed_delta deltas[PARK_FEEDS_MAX]; /* after poll_feeds_read() */
    int64_t least_revs[PARK_FEEDS_MAX];
    struct str cursor; /* as given; STR_NONE if there was none that is still good */
    int64_t cursor_issued_s;
};

/* RESULT_INVALID with a fault for each name or cursor that is not one. allowed: comma-separated names that a
 * ticket gives, or
 * "" for all; another one is RESULT_FORBIDDEN. */
enum result poll_feeds_parse(struct call *call, struct str names, struct str cursor, const char *allowed,
                             struct poll_feeds *feeds) MUST_CHECK;
/* Reads what is newer than the places, and moves them on. */
enum result poll_feeds_read(struct call *call, struct poll_feeds *feeds) MUST_CHECK;
bool poll_feeds_changed(const struct poll_feeds *feeds); /* something to tell */
bool poll_feeds_more(const struct poll_feeds *feeds);
/* As poll_answer takes them. Returns count. */
int poll_feeds_answer(const struct poll_feeds *feeds, struct poll_feed *answer);
/* park_commit() with what was read; PARK_AGAIN sets least_revs for the next read. */
enum park_commit poll_feeds_commit(struct call *call, struct poll_feeds *feeds, struct waiter *waiter,
                                   struct fastcgi_connection connection, int wait_ms) MUST_CHECK;
int poll_feeds_pace(const struct call *call, const struct poll_feeds *feeds, bool refused);
bool poll_feeds_known(struct str name);

#endif
