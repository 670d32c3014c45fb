#ifndef BELFRY_DOMAIN_METRICS_PRIVATE_H
#define BELFRY_DOMAIN_METRICS_PRIVATE_H
/* What counting and the page share: the table of metrics and the bounds of histograms. */
#include "domain/metrics.h"

enum { METRICS_BUCKETS = 15 }; /* the last one has no bound */
enum metrics_kind { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_row {
    const char *name;
    enum metrics_kind kind;
    const char *help;
};
extern const struct metrics_row metrics_rows[METRICS];
extern const double metrics_bounds[METRICS_BUCKETS - 1]; /* seconds, ascending */

#endif
