/*
 * The reader: one thread that reads the feeds that were woken, each place once, and answers everybody who
 * waits there. Between batches it sweeps, a part of the table at a time: the revs of all feeds, for wakes
 * that were lost, and the credentials of all who wait. All of it may block on Redis and PostgreSQL; nothing
 * else waits for it.
 */
#include "core/clock.h"
#include "core/log.h"
#include "handlers/park_private.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    WANTS_MAX = 64,       /* feeds and places read in one round trip */
    PLACES_PER_FEED = 16, /* the rest in the next batch */
    ROUNDS_PER_SWEEP = 5, /* credentials are looked at in each round, in memory; feeds once, in PostgreSQL */
    SWEEP_CHUNK = 500,    /* nodes looked at between two batches */
    READER_ARENA_BYTES = 256 << 20,
    SLICE_PAUSE_NS = 15000000,
    LOG_EVERY_MS = 60000
};

/* Everybody who waits at one place of one feed. */
struct group {
    struct park_node *node;
    struct feed_place place;
    struct feed_place wake; /* what was known when the read began */
    const char *user;
    int64_t woken_us;
};

struct reader {
    struct park *park;
    struct arena *arena;
    struct park_writer writer;
    int count;
    struct group groups[WANTS_MAX];
    struct feed_want wants[WANTS_MAX];
    struct park_node *nodes[WANTS_MAX];
    int node_count;
    int64_t logged_ms;
};

static void log_failure(struct reader *reader, const char *what, const struct error *error)
{
    int64_t now_ms = clock_mono_ms();
    if (reader->logged_ms != 0 && now_ms - reader->logged_ms < LOG_EVERY_MS)
        return;
    reader->logged_ms = now_ms;
    log_warning(what, LOG_TEXT("error", error->text));
}

/* ---- what to read ---- */

static bool group_holds(const struct group *group, const struct park_link *link)
{
    return group->place.epoch == link->place.epoch && group->place.rev == link->place.rev &&
           strcmp(group->user, waiter_user(link->waiter)) == 0;
}

/* False: there is no room for another place; the node has to come back. */
static bool add_link(struct reader *reader, struct park_node *node, int first, const struct park_link *link)
{
    for (int g = first; g < reader->count; g++)
        if (group_holds(&reader->groups[g], link))
            return true;
    if (reader->count == WANTS_MAX || reader->count - first == PLACES_PER_FEED)
        return false;
    const char *user = arena_strdup(reader->arena, str_from(waiter_user(link->waiter)));
    if (user == NULL)
        return false;
    reader->groups[reader->count] = (struct group){node, link->place, node->wake, user, node->woken_us};
    reader->wants[reader->count++] = (struct feed_want){
        .tenant = node->tenant,
        .user = str_from(user),
        .key = {node->key, node->key_bytes},
        .place = link->place,
        .least_rev = node->wake.rev, /* whichever its epoch: a cached top below it proves nothing */
    };
    return true;
}

static void add_node(struct reader *reader, struct park_node *node, int64_t now_ms)
{
    int first = reader->count;
    bool all = true;
    for (struct park_link *link = node->links; link != NULL && all; link = link->next)
        if (link->waiter->state == WAITER_PARKED && park_link_is_behind(link))
            all = add_link(reader, node, first, link);
    if (reader->count > first) {
        node->reading = true;
        node->read_ms = now_ms;
        reader->nodes[reader->node_count++] = node;
    }
    if (!all)
        park_node_queue(reader->park, node);
}

/* With the lock held. Returns how long the first hot feed has to wait, or -1. */
static int take_batch(struct reader *reader, int64_t now_ms)
{
    struct park_node *last = NULL;
    int pause_ms = -1;
    reader->count = reader->node_count = 0;
    for (struct park_node *node; reader->count < WANTS_MAX && reader->park->queue != last &&
                                 (node = park_node_dequeue(reader->park)) != NULL;) {
        if (node->reading) { /* the rest of a feed that is in this batch */
            park_node_queue(reader->park, node);
            break;
        }
        int64_t early_ms = node->count > PARK_HOT_WAITERS ? node->read_ms + PARK_HOT_MS - now_ms : 0;
        if (early_ms > 0) {
            pause_ms = pause_ms < 0 || early_ms < pause_ms ? (int)early_ms : pause_ms;
            last = last == NULL ? node : last; /* once around the queue */
            park_node_queue(reader->park, node);
            continue;
        }
        add_node(reader, node, now_ms);
        if (!node->reading)
            park_node_release(reader->park, node);
    }
    return pause_ms;
}

static void let_nodes_go(struct reader *reader)
{
    for (int n = 0; n < reader->node_count; n++) {
        reader->nodes[n]->reading = false;
        park_node_release(reader->park, reader->nodes[n]);
    }
}

/* ---- answering ---- */

/* A wake of another life of the feed (a restored database) would leave everybody behind it for ever. */
static void note_life(const struct group *group, const struct feed_delta *delta)
{
    struct feed_place *wake = &group->node->wake;
    if (wake->epoch == group->wake.epoch && wake->rev == group->wake.rev && wake->epoch != delta->place.epoch)
        *wake = delta->place;
}

/* Collects those of a group: polls leave the table, streams stay in it as busy. Linked by timer_next; a
 * stream has no timer meanwhile. */
static struct waiter *take_group(struct reader *reader, const struct group *group,
                                 const struct feed_delta *delta)
{
    struct waiter *taken = NULL;
    for (struct park_link *link = group->node->links, *next; link != NULL; link = next) {
        next = link->next;
        struct waiter *waiter = link->waiter;
        if (waiter->state != WAITER_PARKED || !group_holds(group, link))
            continue;
        waiter->woken_feed = (unsigned char)(link - waiter->feeds);
        if (!delta->changed) {
            link->place = delta->place;
            continue;
        }
        if (waiter->kind == PARK_POLL) {
            park_take(reader->park, waiter);
        } else {
            park_timer_clear(waiter);
            waiter->state = WAITER_BUSY;
        }
        waiter->timer_next = taken;
        taken = waiter;
    }
    return taken;
}

/* A stream goes back to waiting, or away if it could not take the update. */
static void return_stream(struct reader *reader, struct waiter *waiter, int index,
                          const struct feed_delta *delta, bool sent)
{
    struct park *park = reader->park;
    enum park_end end = END_GONE;
    pthread_mutex_lock(&park->lock);
    if (sent && !park->stopping) {
        struct park_link *link = &waiter->feeds[index];
        int64_t beat_ms = clock_mono_ms() + PARK_BEAT_MS;
        link->place = delta->place;
        waiter->state = WAITER_PARKED;
        park_timer_set(park, waiter, beat_ms < waiter->deadline_ms ? beat_ms : waiter->deadline_ms);
        if (delta->more && link->node->wake.rev <= link->place.rev)
            link->node->wake = (struct feed_place){link->place.epoch, link->place.rev + 1};
        if (park_link_is_behind(link))
            park_node_queue(park, link->node);
        waiter = NULL;
    } else {
        end = sent ? END_STOPPED : END_GONE;
        park_take(park, waiter);
    }
    pthread_mutex_unlock(&park->lock);
    if (waiter != NULL)
        park_answer(&reader->writer, waiter, end, -1, NULL);
}

static void answer_group(struct reader *reader, struct waiter *taken, const struct group *group,
                         const struct feed_delta *delta)
{
    int count = 0;
    for (struct waiter *next; taken != NULL; taken = next, count++) {
        next = taken->timer_next;
        int index = taken->woken_feed;
        if (count > 0 && count % PARK_SLICE == 0)
            nanosleep(&(struct timespec){.tv_nsec = SLICE_PAUSE_NS}, NULL);
        if (taken->kind == PARK_POLL)
            park_answer(&reader->writer, taken, END_NEWS, index, delta);
        else
            return_stream(reader, taken, index, delta,
                          park_stream_update(&reader->writer, taken, index, delta));
    }
    if (count > 0 && group->woken_us > 0)
        metrics_observe(reader->park->settings.metrics, METRIC_WAKE_SECONDS, "",
                        (double)(clock_now_us() - group->woken_us) / 1e6);
}

static void answer_batch(struct reader *reader, const struct feed_delta *deltas)
{
    struct park *park = reader->park;
    for (int g = 0; g < reader->count; g++) {
        pthread_mutex_lock(&park->lock);
        note_life(&reader->groups[g], &deltas[g]);
        struct waiter *taken = take_group(reader, &reader->groups[g], &deltas[g]);
        pthread_mutex_unlock(&park->lock);
        answer_group(reader, taken, &reader->groups[g], &deltas[g]);
    }
    reader->writer.last_delta = NULL; /* deltas go with the arena */
}

static void read_batch(struct reader *reader)
{
    const struct park_reader *source = &reader->park->settings.reader;
    struct error error = {.text = "no memory"};
    struct feed_delta *deltas = arena_array(reader->arena, (size_t)reader->count, sizeof *deltas);
    if (deltas != NULL && source->read(source->context, reader->wants, reader->count, reader->arena, deltas,
                                       &error) == RESULT_OK)
        answer_batch(reader, deltas);
    else /* the next sweep finds them behind again */
        log_failure(reader, "could not read feeds that were woken", &error);
    pthread_mutex_lock(&reader->park->lock);
    let_nodes_go(reader);
    pthread_mutex_unlock(&reader->park->lock);
    arena_reset(reader->arena);
}

/* ---- the sweep ---- */

/* A part of the table, copied: nothing here may point to what the lock guards. */
struct chunk {
    int want_count, identity_count;
    struct feed_want *wants; /* place: what was known of the feed */
    struct auth_identity *identities;
};

static void chunk_add(struct reader *reader, struct chunk *chunk, const struct park_node *node)
{
    struct str key = {node->key, node->key_bytes};
    if (node->key[0] != PARK_USER_MARK) {
        bool feeds_too = reader->park->sweep_round % ROUNDS_PER_SWEEP == 0;
        if (feeds_too && chunk->want_count < SWEEP_CHUNK)
            chunk->wants[chunk->want_count++] = (struct feed_want){
                .tenant = node->tenant, .key = arena_str(reader->arena, key), .place = node->wake};
        return;
    }
    for (const struct park_link *link = node->links; link != NULL && chunk->identity_count < SWEEP_CHUNK;
         link = link->next)
        if (link->waiter->state == WAITER_PARKED)
            waiter_identity(link->waiter, &chunk->identities[chunk->identity_count++]);
}

/* With the lock held: whole buckets, until the chunk could be full. */
static void chunk_fill(struct reader *reader, struct chunk *chunk)
{
    struct park *park = reader->park;
    enum { MARGIN = 32 }; /* a bucket holds a node or two, a user at most LIMIT_WAITERS_PER_USER identities */
    while (park->sweep_bucket < park->node_buckets && chunk->want_count < SWEEP_CHUNK - MARGIN &&
           chunk->identity_count < SWEEP_CHUNK - MARGIN) {
        for (const struct park_node *node = park->nodes[park->sweep_bucket]; node != NULL; node = node->next)
            chunk_add(reader, chunk, node);
        park->sweep_bucket++;
    }
    if (park->sweep_bucket >= park->node_buckets) {
        park->sweep_bucket = 0;
        park->sweep_round++;
        park->sweep_next_ms = clock_mono_ms() + park->settings.sweep_ms / ROUNDS_PER_SWEEP;
    }
}

static bool is_same(struct feed_place a, struct feed_place b)
{
    return a.epoch == b.epoch && a.rev == b.rev;
}

static void sweep_feeds(struct reader *reader, const struct chunk *chunk)
{
    struct park *park = reader->park;
    const struct park_reader *source = &park->settings.reader;
    struct error error = {.text = "no memory"};
    if (chunk->want_count == 0)
        return;
    struct feed_place *places = arena_array(reader->arena, (size_t)chunk->want_count, sizeof *places);
    if (places == NULL || source->revs(source->context, chunk->wants, chunk->want_count, reader->arena,
                                       places, &error) != RESULT_OK) {
        log_failure(reader, "could not sweep feeds that are waited on", &error);
        return;
    }
    int64_t now_us = clock_now_us();
    pthread_mutex_lock(&park->lock);
    for (int i = 0; i < chunk->want_count; i++) {
        struct park_node *node = park_node_find(park, chunk->wants[i].tenant, chunk->wants[i].key);
        /* a wake that came while we asked is newer than the answer */
        if (node != NULL && is_same(node->wake, chunk->wants[i].place))
            park_node_wake(park, node, places[i], now_us);
    }
    pthread_mutex_unlock(&park->lock);
}

/* Everybody who waits with these credentials. */
static void end_identity(struct reader *reader, const struct auth_identity *identity)
{
    struct park *park = reader->park;
    struct waiter *taken = NULL;
    const char *key = arena_printf(reader->arena, "%c%s", PARK_USER_MARK, identity->user);
    if (key == NULL)
        return;
    pthread_mutex_lock(&park->lock);
    struct park_node *node = park_node_find(park, identity->tenant, str_from(key));
    for (struct park_link *link = node != NULL ? node->links : NULL, *next; link != NULL; link = next) {
        next = link->next;
        struct waiter *waiter = link->waiter;
        if (waiter->state != WAITER_PARKED || waiter->issued_us != identity->issued_us ||
            strcmp(waiter->token_digest, identity->token_digest) != 0)
            continue;
        park_take(park, waiter);
        waiter->timer_next = taken;
        taken = waiter;
    }
    pthread_mutex_unlock(&park->lock);
    for (struct waiter *next; taken != NULL; taken = next) {
        next = taken->timer_next;
        park_answer(&reader->writer, taken, END_REVOKED, -1, NULL);
    }
}

static void sweep_chunk(struct reader *reader)
{
    struct park *park = reader->park;
    struct chunk chunk = {
        .wants = arena_array(reader->arena, SWEEP_CHUNK, sizeof *chunk.wants),
        .identities = arena_array(reader->arena, SWEEP_CHUNK, sizeof *chunk.identities),
    };
    if (chunk.wants != NULL && chunk.identities != NULL) {
        pthread_mutex_lock(&park->lock);
        chunk_fill(reader, &chunk);
        pthread_mutex_unlock(&park->lock);
        sweep_feeds(reader, &chunk);
        for (int i = 0; i < chunk.identity_count; i++)
            if (!park->settings.reader.still_valid(park->settings.reader.context, &chunk.identities[i]))
                end_identity(reader, &chunk.identities[i]);
    }
    arena_reset(reader->arena);
}

/* ---- the thread ---- */

/* With the lock held. */
static void wait_for_work(struct park *park, int pause_ms)
{
    int64_t now_ms = clock_mono_ms(), until_ms = park->sweep_next_ms;
    if (pause_ms >= 0 && now_ms + pause_ms < until_ms)
        until_ms = now_ms + pause_ms;
    if (until_ms <= now_ms || park->hub_done)
        return;
    struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    pthread_cond_timedwait(&park->work, &park->lock, &until);
}

void *park_reader_run(void *context)
{
    struct park *park = context;
    struct reader *reader = calloc(1, sizeof *reader);
    struct arena *arena = arena_create(READER_ARENA_BYTES);
    if (reader == NULL || arena == NULL) {
        log_error("no memory for the reader of waiting requests");
        abort(); /* at start-up: nothing is lost */
    }
    reader->park = park;
    reader->arena = arena;
    park_writer_open(&reader->writer, park);
    pthread_mutex_lock(&park->lock);
    park->sweep_next_ms = clock_mono_ms() + park->settings.sweep_ms / ROUNDS_PER_SWEEP;
    while (!park->hub_done) {
        int64_t now_ms = clock_mono_ms();
        int pause_ms = take_batch(reader, now_ms);
        bool sweeps = now_ms >= park->sweep_next_ms;
        if (reader->count == 0 && !sweeps) {
            wait_for_work(park, pause_ms);
            continue;
        }
        pthread_mutex_unlock(&park->lock);
        if (reader->count > 0)
            read_batch(reader);
        if (sweeps)
            sweep_chunk(reader);
        pthread_mutex_lock(&park->lock);
    }
    pthread_mutex_unlock(&park->lock);
    park_writer_close(&reader->writer);
    arena_destroy(arena);
    free(reader);
    return NULL;
}
