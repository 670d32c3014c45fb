#ifndef BELFRY_HANDLERS_PARK_PRIVATE_H
#define BELFRY_HANDLERS_PARK_PRIVATE_H
/*
 * What the files of the park share: park_table.c (nodes, links, timers), park.c (the calls of request
 * threads), park_hub.c (wakes, deadlines, hang-ups), park_reader.c (reading and the sweep), park_answer.c
 * (bytes).
 *
 * One mutex guards everything here; nobody reads, writes or waits while holding it. A waiter that was taken
 * out of the table (park_take) belongs to the thread that took it.
 */
#include "core/buf.h"
#include "handlers/park.h"
#include <pthread.h>

/* What a waiter is doing, and who may touch it. */
enum waiter_state {
    WAITER_REGISTERED, /* its request thread reads; others may only set superseded */
    WAITER_PARKED,     /* whoever holds the lock may take it */
    WAITER_BUSY,       /* a stream that the reader writes to; stays in the table */
    WAITER_UNSENT,     /* an answer that did not fit into the socket; only the hub goes on */
    WAITER_TAKEN       /* out of the table */
};

struct park_node;
struct park_link {
    struct park_link *next, **link_to_this;
    struct park_node *node;
    struct waiter *waiter;
    struct feed_place place;
    const char *name;
    unsigned char quiet_bytes;
    char quiet[PARK_QUIET_BYTES];
};

/* A feed that somebody waits on, or (key begins with PARK_USER_MARK) a user who waits. */
#define PARK_USER_MARK '\001'
struct park_node {
    struct park_node *next;
    uint64_t hash;
    int tenant, count;
    struct park_link *links;
    struct feed_place wake; /* the newest that is known; epoch 0: nothing */
    int64_t woken_us;       /* arrival of the oldest wake that nobody read yet */
    int64_t read_ms;        /* last read, for hot feeds */
    struct park_node *queue_next;
    bool queued, reading; /* either keeps an empty node alive */
    unsigned short key_bytes;
    char key[]; /* ends with a NUL that key_bytes does not count */
};

struct waiter {
    struct waiter *timer_next, **timer_link;
    int64_t due_ms;      /* when the hub looks at it again */
    int64_t deadline_ms; /* of a poll; of a stream the end of its credentials, or INT64_MAX */
    int fd;
    uint16_t request_id;
    unsigned char kind, state, feed_count, woken_feed;
    bool superseded;
    unsigned short client_bytes, headers_bytes;
    char *unsent; /* what did not fit yet, with WAITER_UNSENT */
    size_t unsent_bytes, unsent_done;
    int64_t expires_us, checked_us, issued_us; /* of the identity, whose user is the key of user.node */
    const char *issuer;
    char token_digest[45];
    struct park_link user;
    struct park_link *feeds; /* feed_count, behind the struct; then client and headers */
    char *text;
};

enum { WHEEL_SLOTS = 512, WHEEL_TICK_MS = 64 };

struct park {
    struct park_settings settings;
    pthread_mutex_t lock;
    pthread_cond_t work; /* for the reader */
    pthread_t hub, reader;
    int epoll_fd, bell_fd; /* bell: an eventfd that wakes the hub */
    bool stopping, hub_done;

    struct park_node **nodes;
    size_t node_buckets;
    _Atomic size_t node_count; /* written with the lock held, as counts; read without it as a hint */
    struct park_node *queue, **queue_end;

    struct waiter *wheel[WHEEL_SLOTS];
    int64_t wheel_ms; /* up to here it has been looked at */
    struct waiter **by_fd;
    int by_fd_count;
    _Atomic int counts[2]; /* by kind */

    /* the reader's own */
    size_t sweep_bucket;
    int64_t sweep_next_ms;
    unsigned sweep_round;
};

/* ---- park_table.c and park.c; all with the lock held ---- */
struct park_node *park_node_make(struct park *park, int tenant,
                                 struct str key); /* the one that is there, or a new one */
void park_link_add(struct park_link *link, struct park_node *node, struct waiter *waiter);
void park_link_remove(struct park *park, struct park_link *link); /* frees the node if it was the last */
struct park_node *park_node_find(struct park *park, int tenant, struct str key);
void park_node_queue(struct park *park, struct park_node *node);
struct park_node *park_node_dequeue(struct park *park);            /* NULL: empty. Clears queued */
void park_node_release(struct park *park, struct park_node *node); /* frees it if nobody needs it */
void park_node_wake(struct park *park, struct park_node *node, struct feed_place place, int64_t now_us);
/* Is what this link has seen older than what its node knows? */
bool park_link_is_behind(const struct park_link *link);
/* Out of every table; the waiter is the caller's. */
void park_take(struct park *park, struct waiter *waiter);
void park_timer_set(struct park *park, struct waiter *waiter, int64_t due_ms);
void park_timer_clear(struct waiter *waiter);
bool park_watch(struct park *park, struct waiter *waiter); /* hang-ups, by descriptor; false: no memory */
void waiter_free(struct waiter *waiter);                   /* memory alone */
const char *waiter_user(const struct waiter *waiter);      /* while it is in the table */
void waiter_identity(const struct waiter *waiter, struct auth_identity *identity);
struct str waiter_client(const struct waiter *waiter);
struct str waiter_headers(const struct waiter *waiter);

/* ---- park_answer.c; without the lock ---- */
enum park_end { END_NEWS, END_DEADLINE, END_SUPERSEDED, END_STOPPED, END_REVOKED, END_GONE, ENDS };
/* A place to build answers in: one per thread. Remembers the last answer, so that equal ones are built once.
 */
struct park_writer {
    struct park *park;
    struct buf body, records;
    const struct feed_delta *last_delta;
    uint16_t last_request_id;
    char last_headers[512];
    int poll_after_ms;
};
void park_writer_open(struct park_writer *writer, struct park *park);
void park_writer_close(struct park_writer *writer);
/* Ends a taken waiter: writes its answer or last event, closes, frees. With END_NEWS one feed (index) has a
 * delta. */
void park_answer(struct park_writer *writer, struct waiter *waiter, enum park_end end, int index,
                 const struct feed_delta *delta);
/* An update on a busy stream. False: it could not take it all, or is gone. */
bool park_stream_update(struct park_writer *writer, struct waiter *waiter, int index,
                        const struct feed_delta *delta);
bool park_stream_beat(struct waiter *waiter);

/* ---- threads ---- */
void *park_hub_run(void *park);
void *park_reader_run(void *park);

#endif
