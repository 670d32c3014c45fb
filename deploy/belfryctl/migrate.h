#ifndef BELFRY_BELFRYCTL_MIGRATE_H
#define BELFRY_BELFRYCTL_MIGRATE_H
#include "deploy/belfryctl/ctl.h"

/* Applies what is missing; shows {"applied":[names]}. RESULT_CONFLICT: the database is newer than this
 * program, or a migration's text was changed. RESULT_FORBIDDEN: the first run needs a role that may create
 * roles. */
enum result migrate_run(struct ctl *ctl, struct error *error) MUST_CHECK;

#endif
