#ifndef BELFRY_HANDLERS_RETRY_H
#define BELFRY_HANDLERS_RETRY_H
/*
 * Transactions that lost to another one are tried again: a deadlock, a serialization failure, or a feed that
 * stayed locked for lock_timeout. Each rolled back whole, so nothing happens twice. A connection lost at
 * COMMIT is none of these: nobody knows its outcome, and the client's key settles it.
 */
#include "core/error.h"
#include <stdbool.h>

enum { RETRY_MAX = 3 };

/* After a failed transaction: may it be run again? Counts in *tries, and waits some milliseconds with jitter,
 * so that those who met do not meet again. */
bool retry_again(const struct error *error, int *tries);

#endif
