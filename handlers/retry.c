/* Whether and when a transaction that lost is tried again: see retry.h. */
#include "handlers/retry.h"
#include "core/clock.h"
#include <string.h>
#include <time.h>

enum { RETRY_PAUSE_MS = 20 };

static bool lost_to_another(const char *sqlstate)
{
    static const char *const states[] = {"40P01", "40001", "55P03"};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        if (strcmp(sqlstate, states[i]) == 0)
            return true;
    return false;
}

bool retry_again(const struct error *error, int *tries)
{
    if (*tries >= RETRY_MAX || !lost_to_another(error->sqlstate))
        return false;
    (*tries)++;
    long ms = 1 + (long)clock_jitter((uint32_t)(RETRY_PAUSE_MS * *tries));
    struct timespec pause = {.tv_sec = 0, .tv_nsec = ms * 1000000};
    nanosleep(&pause, NULL);
    return true;
}
