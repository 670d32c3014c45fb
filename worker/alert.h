#ifndef BELFRY_WORKER_ALERT_H
#define BELFRY_WORKER_ALERT_H
/*
 * What a tenant's developers are told: dead letters, paused accounts, messages that a provider found wrong.
 * An alert is a notification to the reserved user ~developers, so it reaches them by the e-mail and webhook
 * that they have as devices; its dedupKey keeps them from hearing the same thing twice, and nothing about
 * alerts makes an alert.
 */
#include "io/db.h"
#include "worker/job.h"

struct alerts;
struct alerts *alerts_create(void) MUST_CHECK;
void alerts_destroy(struct alerts *alerts);
/* Notes what a job's verdict has to tell, unless the same was noted lately. */
void alerts_note(struct alerts *alerts, const struct job *job, int64_t now_ms);
int alerts_waiting(const struct alerts *alerts);
/* The arguments of worker_alert for all that wait. They wait on until alerts_told(). */
void alerts_args(const struct alerts *alerts, struct db_args *args);
void alerts_told(struct alerts *alerts, int count);

#endif
