/* The duties, in the order of their urgency. The names are keys in belfry.duty and labels of metrics. */
#include "scheduler/duties.h"

const struct duty duties[] = {
    {"due", duty_due, 0},
    {"request", duty_request, 0},
    {"promote", duty_promote, 0},
    {"recover", duty_recover, 0},
    {"release", duty_release, 1000},
    {"compact", duty_compact, 2000},
    {"epoch", duty_epoch, 10000},
    {"forget", duty_forget, 60000},
    {"age", duty_age, 300000},
    {"partition", duty_partition, 600000},
    {NULL, NULL, 0},
};
