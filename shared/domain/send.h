#ifndef BELFRY_DOMAIN_SEND_H
#define BELFRY_DOMAIN_SEND_H
/*
 * Accepting notifications: the one way in, for the API (now, scheduled, bulk), for requests made through SQL
 * and for scheduled notifications whose time has come.
 *
 * send_queue() queues the statements of an accepted request on an open transaction, in the lock order of the
 * project: feeds (sorted by key) → notifications → plan → deliveries. A notification that is due now is in
 * its inbox, planned and queued when the transaction commits; one with scheduled_us waits in `due`.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "domain/feed.h"
#include "format/text.h"
#include "io/db.h"
#include <stdbool.h>
#include <stdint.h>

enum send_priority { SEND_URGENT, SEND_HIGH, SEND_MEDIUM, SEND_LOW };

/* What is said: one for each notification of a request. All views live as long as the arena of the call. */
struct send_content {
    struct str type, title, body, category;
    struct str data;            /* JSON object */
    struct str sender;          /* JSON object, or STR_NONE */
    struct str actions;         /* JSON array */
    struct str url;             /* or STR_NONE */
    const struct str *channels; /* NULL: all that the user has an address for */
    int channel_count;
    enum send_priority priority;
    int64_t scheduled_us; /* 0: now */
    int64_t expires_us;   /* 0: never */
    struct str dedup_key; /* or STR_NONE */
};

enum send_status { SEND_ACCEPTED, SEND_SCHEDULED, SEND_DEDUPLICATED };

struct send_recipient {
    struct str user;
    int content;    /* index into contents */
    struct uuid id; /* filled by send_prepare(): of the new notification; by send_collect(), of the older one
                       if deduplicated */
    enum send_status status; /* filled by send_prepare() as predicted, by send_collect() as it is */
};

struct send_batch {
    int tenant;
    struct uuid request_id; /* filled by send_prepare() */
    int64_t accepted_us;    /* filled by send_prepare() */
    bool sandbox;
    const struct send_content *contents;
    int content_count;
    struct send_recipient *recipients; /* at most LIMIT_RECIPIENTS; users of one content distinct */
    int recipient_count;
    bool predictable;  /* filled by send_prepare(): no dedup key, so every status is known already */
    int first_result;  /* where its results begin among the transaction's */
    bool has_arrivals; /* some are due now */
};

/* Gives the request and each recipient an id and predicts each status, so that an answer can be written
 * before anything is sent to the database. No allocation, no I/O. Call again before repeating a failed
 * transaction. */
void send_prepare(struct send_batch *batch);
/* Queues the statements of a prepared batch on db (db_begin() was called for the tenant as "*";
 * results_before statements were queued already). Allocates in arena; no I/O. */
enum result send_queue(struct db *db, struct arena *arena, struct send_batch *batch, int results_before,
                       struct error *error) MUST_CHECK;
/* After db_step() or db_finish(): fills ids and statuses, and makes the feed changes to announce after the
 * commit (in the arena; *count may be 0). */
enum result send_collect(struct arena *arena, struct send_batch *batch, struct db_result *const *results,
                         struct feed_change **changes, int *count, struct error *error) MUST_CHECK;

/* Queues what makes scheduled notifications of one tenant arrive, for the scheduler's `due` duty: locks their
 * feeds, puts them into inboxes, plans and queues their deliveries, removes their due rows. Cancelled or
 * expired ones are only removed. */
enum result send_queue_due(struct db *db, struct arena *arena, const struct uuid *ids, int count,
                           int results_before, int *first_result, struct error *error) MUST_CHECK;
enum result send_collect_due(struct arena *arena, int tenant, struct db_result *const *results,
                             int first_result, struct feed_change **changes, int *count,
                             struct error *error) MUST_CHECK;

const char *send_priority_name(enum send_priority priority);
int send_priority_parse(struct str name); /* -1 for anything else */

#endif
