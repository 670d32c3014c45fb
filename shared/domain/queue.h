#ifndef BELFRY_DOMAIN_QUEUE_H
#define BELFRY_DOMAIN_QUEUE_H
/*
 * The queue: this file and sql/queries/queue.sql are the only ones that move ids of deliveries between
 *
 *   ready ──claim──▶ lease ──settle──▶ (gone: its last attempt tells how it ended)
 *     ▲                │  ├──────────▶ scheduled ──promote──▶ ready    a retry, or held until something is
 * resumed └────recover─────┘  └──────────▶ dead_letter ──replay──▶ ready   given up
 *
 * (Planning alone inserts into ready as well: domain/send.) Every move adds a row to queue_delta, in the same
 * statement: depths are sums of it and nothing counts rows. The rows are added and never changed while a
 * snapshot may be held, so that the depths stay cheap to read.
 *
 * Who may do what with an id:
 *   ready      anybody may claim it
 *   lease      only the worker that holds it, by its generation, until the worker's own lease runs out
 *   scheduled  nobody until its time has come; held_by names what it waits for, then its time is infinity
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "format/text.h"
#include "io/db.h"
#include "io/redis.h"
#include <stdbool.h>
#include <stdint.h>

#define QUEUE_WAKE_CHANNEL "belfry:queue"

/* Says that there is work, after the commit that put it there: PUBLISH "CHANNEL TENANT" for each channel.
 * Failures are ignored: workers look for themselves within a second. */
void queue_wake(struct redis *redis, int tenant, const struct str *channels, int count);
/* "email 7" → its parts; false if malformed. channel is a view into payload. */
bool queue_wake_parse(struct str payload, struct str *channel, int *tenant) MUST_CHECK;

/* ---- duties of the scheduler: each does at most limit rows, in one transaction of its own, and is called
 * again at once when it did that many ---- */

/* Leases of workers that stopped renewing theirs: back to ready, to run alone; those that had been started
 * and must not be repeated end as unknown; those lost too often become dead letters. */
enum result queue_recover(struct db *db, struct arena *arena, int limit, int *recovered,
                          struct error *error) MUST_CHECK;
/* What was scheduled and whose time has come: to ready. *next_ms is how long until the next one is due, at
 * most 60,000. */
enum result queue_promote(struct db *db, struct arena *arena, int limit, int *promoted, int *next_ms,
                          struct error *error) MUST_CHECK;
/* What is held (no usable account, tenant paused) and need not be any more: to ready. */
enum result queue_release(struct db *db, struct arena *arena, int limit, int *released,
                          struct error *error) MUST_CHECK;
/* Sums up queue_delta: many rows become one for each tenant and channel. */
enum result queue_compact(struct db *db, struct arena *arena, int limit, int *removed,
                          struct error *error) MUST_CHECK;

/* ---- looking ---- */

struct queue_depth {
    int tenant;         /* 0 in a sum over all tenants */
    struct str channel; /* in the arena */
    int64_t ready, scheduled, leased, dead;
    int64_t oldest_ready_s; /* age of the oldest that may run now, 0 if there is none */
};
/* Depths by channel, of one tenant (db_run as that tenant's service) or with tenant 0 of all (worker,
 * scheduler, operator). */
enum result queue_depths(struct db *db, int tenant, struct arena *arena, struct queue_depth **depths,
                         int *count, struct error *error) MUST_CHECK;

/* ---- dead letters ---- */

/* One back to ready, with its tries forgotten. RESULT_MISSING if it is not (or no longer) there. */
enum result queue_replay(struct db *db, int tenant, const struct uuid *notification, int n,
                         struct arena *arena, struct str *channel, struct error *error) MUST_CHECK;
/* The oldest limit of a tenant. Call again until *replayed is below limit. */
enum result queue_replay_all(struct db *db, int tenant, int limit, struct arena *arena, int *replayed,
                             struct error *error) MUST_CHECK;

#endif
