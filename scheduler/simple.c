/*
 * Duties that are one call: of the queue (domain/queue.h), and of the database's epoch. A duty that needs
 * more than that has a file of its own.
 */
#include "core/log.h"
#include "domain/queue.h"
#include "queries.h"
#include "scheduler/duties.h"

/* Rows of one step: a few milliseconds' work. */
enum { PROMOTE_ROWS = 1000, RELEASE_ROWS = 1000, RECOVER_ROWS = 500, COMPACT_ROWS = 5000 };

enum result duty_promote(struct scheduler *s, bool *more, struct error *error)
{
    int promoted, next_ms;
    enum result code = queue_promote(s->db, s->arena, PROMOTE_ROWS, &promoted, &next_ms, error);
    *more = code == RESULT_OK && promoted == PROMOTE_ROWS;
    return code;
}

enum result duty_release(struct scheduler *s, bool *more, struct error *error)
{
    int released;
    enum result code = queue_release(s->db, s->arena, RELEASE_ROWS, &released, error);
    *more = code == RESULT_OK && released == RELEASE_ROWS;
    return code;
}

enum result duty_recover(struct scheduler *s, bool *more, struct error *error)
{
    int recovered;
    enum result code = queue_recover(s->db, s->arena, RECOVER_ROWS, &recovered, error);
    *more = code == RESULT_OK && recovered == RECOVER_ROWS;
    if (code == RESULT_OK && recovered > 0) {
        log_warning("took deliveries back from workers that are gone", LOG_INT("deliveries", recovered));
        metrics_count(s->metrics, METRIC_LEASES_LOST, "", recovered);
    }
    return code;
}

enum result duty_compact(struct scheduler *s, bool *more, struct error *error)
{
    int removed;
    enum result code = queue_compact(s->db, s->arena, COMPACT_ROWS, &removed, error);
    *more = code == RESULT_OK && removed == COMPACT_ROWS;
    return code;
}

/* A promoted standby may lack the last commits: revs would be given out twice, to different changes. Its
 * timeline tells; a restored dump keeps its timeline, and its operator runs `belfryctl epoch renew`. */
enum result duty_epoch(struct scheduler *s, bool *more, struct error *error)
{
    struct db_result *rows;
    enum result code =
        db_run(s->db, DB_TENANT_NONE, STR_NONE, &query_scheduler_epoch, NULL, s->arena, &rows, error);
    *more = false;
    if (code == RESULT_OK && db_rows(rows) > 0 && db_bool(rows, 0, 0))
        log_warning("the database was promoted: cursors start anew", LOG_INT("timeline", db_int(rows, 0, 1)));
    return code;
}
