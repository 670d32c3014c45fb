#ifndef BELFRY_DOMAIN_FEED_H
#define BELFRY_DOMAIN_FEED_H
/*
 * Feeds: ordered logs with their own counter `rev`, the one idea behind everything live.
 *
 * Writers take a feed's next rev under its row lock, in the transaction that makes the change, and call
 * feed_announce() after the commit. Readers hold a place (epoch, rev) and ask feed_read() for what is newer:
 * from Redis when an unbroken run from their place to the top is cached, else from PostgreSQL, whose answer
 * refills the cache. An inbox converges: rows in their newest state, never two revs apart; a place of another
 * epoch, or one older than what is kept, gets the current state and `reset`.
 *
 * Redis keys, T = tenant, K = feed key, E = epoch: `f:{T:K}:E` is the tail, a sorted set (score rev, member
 * "prev rev unread unseen json"; an entry covers the revs in (prev, rev]), made by a reader's refill; writers
 * add to it where it exists. `m:{T:K}:E` is the mark "rev unread unseen changed", the top as of at most 5 s
 * ago. Both may vanish at any moment.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "io/db.h"
#include "io/redis.h"
#include <stdbool.h>
#include <stdint.h>

enum { FEED_KEY_BYTES = 8 + 128 }; /* "inbox:" and a user id */
/* The epoch of a feed that does not exist yet: a place in it is (FEED_EPOCH_NONE, 0). */
#define FEED_EPOCH_NONE 1u
#define FEED_WAKE_CHANNEL "belfry:wake"

/* A place in a feed. epoch 0: nowhere yet (the reader wants the current state). */
struct feed_place {
    uint64_t epoch;
    int64_t rev;
};

struct feed_want {
    int tenant;
    struct str user;         /* whose eyes read: row-level security applies as this user */
    struct str key;          /* "inbox:alice" */
    struct feed_place place; /* read what is newer than this */
    int64_t least_rev;       /* a wake or sweep said so: a cached top below this is stale; 0 = nothing said */
};

struct feed_delta {
    struct feed_place place; /* to be remembered: the new cursor */
    bool changed;            /* there is something to tell (events, or reset) */
    bool more;               /* LIMIT_DELTA_ROWS were given and there are further ones */
    struct str json;         /* {"events":[…],"unreadCount":n,"unseenCount":n,"reset":b}; in the arena */
    bool active;             /* changed within the last minute: a hint for pollAfterMs */
};

/* Reads count feeds: one Redis round trip for all, then one PostgreSQL transaction for each that needs it. A
 * connection is taken from the pool only then. Fails with RESULT_OFFLINE or RESULT_BUSY only if PostgreSQL
 * was needed and could not be asked; deltas[] is then undefined. */
enum result feed_read(struct redis *redis, struct db_pool *pool, const struct feed_want *wants, int count,
                      struct arena *arena, struct feed_delta *deltas, struct error *error) MUST_CHECK;

/* The revs that feeds have now, whatever their tenant (the sweep of a process that waits on them): one
 * statement. A feed that does not exist yet is at (FEED_EPOCH_NONE, 0). */
enum result feed_revs(struct db_pool *pool, const struct feed_want *wants, int count, struct arena *arena,
                      struct feed_place *places, struct error *error) MUST_CHECK;

/* What a writer tells the world after its commit. */
struct feed_change {
    int tenant;
    struct str key;
    struct feed_place place; /* after the change */
    int64_t prev_rev;        /* before it */
    int64_t unread, unseen;  /* counters after it */
    struct str event; /* JSON of the one event, as readers get it; STR_NONE: the cached tail is dropped */
};
/* Adds the events to the cached tails that exist, raises their marks, and wakes waiters: one round trip, in
 * slices of 256. A failure is logged at most once a minute and otherwise ignored: waiters then learn by
 * sweep. */
void feed_announce(struct redis *redis, const struct feed_change *changes, int count);

/* A wake as published on FEED_WAKE_CHANNEL: "T EPOCH REV KEY". false if malformed. key is a view into
 * payload. */
struct feed_wake {
    int tenant;
    struct str key;
    struct feed_place place;
};
bool feed_wake_parse(struct str payload, struct feed_wake *wake);

#endif
