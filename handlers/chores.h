#ifndef BELFRY_HANDLERS_CHORES_H
#define BELFRY_HANDLERS_CHORES_H
/*
 * What belfry-api does beside answering, on one thread of its own because it may wait for the database:
 * metrics to their table, marks of polled feeds kept alive, and the check that the database keeps what it
 * commits, for as long as that could not be made at the start.
 */
#include "core/error.h"
#include "handlers/app.h"
#include <stdbool.h>

struct chores;
enum result chores_start(struct app *app, bool is_durable, struct chores **chores,
                         struct error *error) MUST_CHECK;
/* Ends the thread, writes the last metrics. Returns true if the database was refused: the process was asked
 * to end by a SIGTERM to itself. */
bool chores_stop(struct chores *chores);

#endif
