#ifndef BELFRY_SCHEDULER_DUTIES_H
#define BELFRY_SCHEDULER_DUTIES_H
/* The list of duties; each step function is in the file of its name. */
#include "scheduler/duty.h"

extern const struct duty duties[]; /* ends with a name of NULL */

duty_step duty_due;       /* scheduled notifications arrive, expired ones leave, snoozed ones come back */
duty_step duty_request;   /* sends made through SQL are expanded */
duty_step duty_promote;   /* deliveries whose retry is due become ready */
duty_step duty_release;   /* deliveries that were held for something that is there by now */
duty_step duty_recover;   /* deliveries of workers that are gone */
duty_step duty_compact;   /* the queue's counters are summed up */
duty_step duty_age;       /* notifications leave inboxes for their age */
duty_step duty_partition; /* partitions ahead, and those past their time */
duty_step duty_forget;    /* keys, dead letters and tombstones past their time */
duty_step duty_epoch;     /* a promoted standby gets a new epoch */

#endif
