#ifndef BELFRY_DOMAIN_FEED_KEEP_H
#define BELFRY_DOMAIN_FEED_KEEP_H
/*
 * Keeps the marks of feeds that are being polled alive.
 *
 * A mark in Redis lives 5 s, which bounds what a lost announcement can delay. Asking PostgreSQL anew at each
 * expiry, one feed at a time, cost a third of all polling. So the feeds that were polled in the last seconds
 * are asked for together, some hundred in one statement, and a mark that still says the same lives on. The
 * bound stays: a mark is never older than 5 s against PostgreSQL.
 *
 * It is only a saving: a feed that it has no room for, or that it comes too late for, is read from PostgreSQL
 * by the next poll.
 */
#include "core/arena.h"
#include "core/error.h"
#include "domain/feed.h"

enum { FEED_KEEP_MAX = 32768 };

struct feed_keep;                                    /* thread-safe */
struct feed_keep *feed_keep_create(void) MUST_CHECK; /* NULL if memory ran out */
void feed_keep_destroy(struct feed_keep *keep);
/* Somebody polls this feed and is at this place. */
void feed_keep_touch(struct feed_keep *keep, int tenant, struct str key, struct feed_place place);
/* Asks for a part of the feeds whose marks grow old; *more says that others are due as well. Call it every
 * FEED_KEEP_TURN_MS, from one thread. */
enum { FEED_KEEP_TURN_MS = 500 };
enum result feed_keep_turn(struct feed_keep *keep, struct redis *redis, struct db_pool *pool,
                           struct arena *arena, bool *more, struct error *error) MUST_CHECK;

#endif
