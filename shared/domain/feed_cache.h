#ifndef BELFRY_DOMAIN_FEED_CACHE_H
#define BELFRY_DOMAIN_FEED_CACHE_H
/*
 * The cached tails of feeds in Redis: what feed.c reads first, and what writers announce. Nothing here
 * touches PostgreSQL; nothing here is believed unless it is an unbroken run up to the mark. The keys are in
 * feed.h.
 */
#include "core/arena.h"
#include "domain/feed.h"

enum {
    FEED_CACHE_ENTRIES = 64,
    FEED_CACHE_TAIL_MS = 600000, /* a tail nobody refills is forgotten */
    FEED_CACHE_MARK_MS = 5000    /* bounds what a lost announcement can delay */
};

struct feed_counters {
    int64_t unread, unseen;
    int64_t changed_s; /* when the feed last changed, seconds since 1970 */
};

/* One cached entry: covers the revs in (prev, rev]. */
struct feed_entry {
    int64_t prev, rev;
    struct feed_counters counters;
    struct str event; /* JSON; "" where nothing is to be told */
};

/* What the cache knows of a feed after a place. */
struct feed_run {
    bool known; /* false: ask PostgreSQL */
    int64_t top;
    struct feed_counters counters;
    int count;
    struct str *events; /* in order of rev; entries without an event are left out */
    bool more;
};

/* Asks for all wants with an epoch in one round trip. False: Redis did not answer; runs are all unknown. */
bool feed_cache_read(struct redis *redis, const struct feed_want *wants, int count, struct arena *arena,
                     struct feed_run *runs);
/* Puts what was read from PostgreSQL into the cache: the mark, and the entries (may be none). Queued only;
 * feed_cache_flush() sends. */
void feed_cache_refill(struct redis *redis, struct arena *arena, const struct feed_want *want,
                       struct feed_place top, const struct feed_counters *counters,
                       const struct feed_entry *entries, int count);
/* PostgreSQL was asked and the feed is still at this place: a mark that says the same lives on. Queued. */
void feed_cache_confirm(struct redis *redis, struct arena *arena, int tenant, struct str key,
                        struct feed_place place);
/* The writer's side of one change, queued. */
void feed_cache_announce(struct redis *redis, struct arena *arena, const struct feed_change *change,
                         int64_t now_s);
/* Sends what was queued. False if Redis did not take it. */
bool feed_cache_flush(struct redis *redis, struct arena *arena);

/* Pure, for tests: the unbroken run from a place to the top, or known = false. members are "prev rev unread
 * unseen json" in order of rev; mark is "rev unread unseen changed" or STR_NONE. */
struct feed_run feed_run_make(struct arena *arena, struct str mark, const struct str *members, int count,
                              int64_t from_rev, int64_t least_rev);

#endif
