#ifndef BELFRY_HANDLERS_PARK_H
#define BELFRY_HANDLERS_PARK_H
/*
 * Waiting polls and streams, outside of libfcgi: a table of waiters by feed, one hub thread that waits for
 * wakes, deadlines and hang-ups, one reader thread that reads woken feeds and answers. Request threads never
 * wait.
 *
 * A request that would like to wait does, in this order: park_register(), read its feeds, and only if there
 * is nothing to say park_commit(). A wake that comes in between is not lost: commit then says PARK_AGAIN.
 * From the commit on exactly one thread answers, whichever takes the waiter out of the table first; before it
 * only the request's own thread does.
 *
 * Promises: a waiter is answered when one of its feeds changes, at its deadline, when its client asks anew,
 * when its credentials end (within 5 s), when the process ends. A lost wake costs at most one sweep (5 s).
 * Nothing here blocks on a slow peer.
 *
 * What it does not know: JSON and HTTP are poll_answer's, feeds are read by the functions in park_settings.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "domain/auth.h"
#include "domain/feed.h"
#include "domain/metrics.h"
#include "handlers/fastcgi_park.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    PARK_FEEDS_MAX = 16,
    PARK_QUIET_BYTES = 96, /* of a feed's answer when nothing is new: kept for the deadline */
    PARK_SWEEP_MS = 5000,
    PARK_BEAT_MS = 25000, /* a comment on a silent stream, below the web servers' time limits */
    PARK_HOT_WAITERS = 50,
    PARK_HOT_MS = 100, /* a feed with more waiters than that is read at most this often */
    PARK_SLICE = 256 /* answers written in one go: their clients ask anew, and the listen backlog is finite */
};

enum park_kind { PARK_POLL, PARK_STREAM };

/* How feeds are read and callers re-checked; a test puts its own here. Called from the reader thread only. */
struct park_reader {
    void *context;
    enum result (*read)(void *context, const struct feed_want *wants, int count, struct arena *arena,
                        struct feed_delta *deltas, struct error *error);
    enum result (*revs)(void *context, const struct feed_want *wants, int count, struct arena *arena,
                        struct feed_place *places, struct error *error);
    bool (*still_valid)(void *context, struct auth_identity *identity);
};

struct park_settings {
    int waiters_max;
    const char *redis_address; /* wakes come from there; "": only sweeps and park_wake() */
    struct metrics *metrics;
    struct park_reader reader;
    int sweep_ms; /* 0: PARK_SWEEP_MS */
};

struct park;
/* Starts the two threads. */
enum result park_create(const struct park_settings *settings, struct park **park,
                        struct error *error) MUST_CHECK;
/* From now on nobody is parked, and every waiter is answered at once; returns when all are. */
void park_stop(struct park *park);
void park_destroy(struct park *park); /* after park_stop(); NULL is fine */
/* Waiters by kind, for metrics and the load hint. */
int park_count(struct park *park, enum park_kind kind);
int park_capacity(const struct park *park);

/* ---- a request that would like to wait ---- */
struct park_feed {
    const char *name; /* as the client names it; a constant */
    struct str key;
    struct feed_place place;
};
struct park_wait {
    enum park_kind kind;
    const struct auth_identity *identity;
    struct str client;  /* a newer poll of the same client answers this one; "": none */
    struct str headers; /* of the answer, in addition to those that every answer has */
    int feed_count;
    const struct park_feed *feeds;
};

struct waiter; /* owned by the park from register until cancel, a commit that does not park, or the answer */

enum park_register {
    PARK_REGISTERED,
    PARK_FULL,      /* the process holds all that it may */
    PARK_USER_FULL, /* this user has LIMIT_WAITERS_PER_USER waiting */
    PARK_STOPPING   /* the process ends; or memory ran out */
};
enum park_register park_register(struct park *park, const struct park_wait *wait,
                                 struct waiter **waiter) MUST_CHECK;

enum park_commit {
    PARK_PARKED,    /* the connection is the park's now */
    PARK_AGAIN,     /* woken meanwhile: read again with least_revs, then commit again */
    PARK_ANSWER_NOW /* superseded or stopping: the waiter is gone, answer with what was read */
};
/* What was read for each feed: where it is now, and (polls) its answer if nothing comes, at most
 * PARK_QUIET_BYTES. */
struct park_read {
    struct feed_place place;
    struct str quiet;
    int64_t least_rev; /* out, with PARK_AGAIN */
};
enum park_commit park_commit(struct park *park, struct waiter *waiter, struct park_read *reads,
                             struct fastcgi_connection connection, int wait_ms) MUST_CHECK;
void park_cancel(struct park *park, struct waiter *waiter);

/* A feed has changed: what the hub calls for each wake it receives. */
void park_wake(struct park *park, const struct feed_wake *wake);

#endif
