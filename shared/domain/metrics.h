#ifndef BELFRY_DOMAIN_METRICS_H
#define BELFRY_DOMAIN_METRICS_H
/*
 * What a process measures. It counts in memory and adds to the table process_metric every few seconds, so
 * that any handler's /metrics answers for all processes; what cannot be added now is added later.
 *
 * To add a metric: a value here, its row in metrics.c (name, kind, help). Names and units follow Prometheus:
 * base units, counters end in _total. Labels are few and closed: never a tenant, a user or an address.
 */
#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "io/db.h"

enum metric {
    METRIC_START,            /* gauge: when the process started */
    METRIC_REQUESTS,         /* counter {kind,status} */
    METRIC_REQUEST_SECONDS,  /* histogram {kind}: without the time that a poll waits */
    METRIC_PARKED,           /* gauge {kind}: polls and streams that wait */
    METRIC_WAITS,            /* counter {end}: how waits ended */
    METRIC_WAKE_SECONDS,     /* histogram: from a wake's arrival to its answers' last byte */
    METRIC_ATTEMPTS,         /* counter {channel,provider,outcome} */
    METRIC_ATTEMPT_SECONDS,  /* histogram {provider}: transfer alone */
    METRIC_DELIVERY_SECONDS, /* histogram {channel}: from ready to settled as sent */
    METRIC_IN_FLIGHT,        /* gauge {}: transfers of workers */
    METRIC_LEASES_LOST,      /* counter: deliveries taken back from dead workers */
    METRIC_DEAD_LETTERS,     /* counter {channel} */
    METRIC_DUTY_SECONDS,     /* histogram {duty} */
    METRIC_DUTY_FAILURES,    /* counter {duty} */
    METRIC_SENDS,            /* counter {result}: accepted notifications */
    METRICS
};

struct metrics; /* thread-safe */
/* program: "api", "worker", "scheduler". NULL if memory ran out. All functions below take NULL and do
 * nothing. */
struct metrics *metrics_create(const char *program) MUST_CHECK;
void metrics_destroy(struct metrics *metrics);

/* labels: `channel="email",outcome="sent"`, or "" for none; the values must need no escaping. A new
 * combination costs an entry (at most 1,024, more are dropped and logged once). */
void metrics_count(struct metrics *metrics, enum metric metric, const char *labels, double amount);
void metrics_observe(struct metrics *metrics, enum metric metric, const char *labels, double seconds);
void metrics_gauge(struct metrics *metrics, enum metric metric, const char *labels, double value);

/* Adds to the table what changed; on failure it stays for the next time. Call it every METRICS_FLUSH_MS;
 * *processes (may be NULL) is how many processes of this program live. */
enum { METRICS_FLUSH_MS = 5000 };
enum result metrics_flush(struct metrics *metrics, struct db *db, struct arena *arena, int *processes,
                          struct error *error) MUST_CHECK;
/* The last flush, when the process ends: its gauges go. */
enum result metrics_leave(struct metrics *metrics, struct db *db, struct arena *arena,
                          struct error *error) MUST_CHECK;

/* The page of all processes in Prometheus's text format 0.0.4, with the queue's depths. */
enum result metrics_write(struct db *db, struct arena *arena, struct buf *out,
                          struct error *error) MUST_CHECK;

#endif
