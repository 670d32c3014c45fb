#ifndef BELFRY_HANDLERS_FASTCGI_TURN_H
#define BELFRY_HANDLERS_FASTCGI_TURN_H
/*
 * Writes take turns: at most so many threads serve requests that change something, however many are waiting,
 * so that a crowd of sends or a locked feed never stops the polls. Who would be one too many is kept here,
 * whole and unread, and served by the next thread that has finished a write, in the order of coming.
 */
#include <fcgiapp.h>
#include <stdbool.h>

struct fastcgi_turn;
/* most: threads that may serve writes at once, at least 1. NULL if memory ran out. */
struct fastcgi_turn *fastcgi_turn_create(int most);
void fastcgi_turn_destroy(struct fastcgi_turn *turn); /* nobody may wait any more */

/* Does this request change something, by its method? */
bool fastcgi_turn_needed(const FCGX_Request *request);
/* True: the caller serves this write now and then calls fastcgi_turn_next(). False: it was taken over. */
bool fastcgi_turn_enter(struct fastcgi_turn *turn, FCGX_Request *request);
/* After a write was served: the next one that the caller serves, or NULL when none waits. */
FCGX_Request *fastcgi_turn_next(struct fastcgi_turn *turn);

#endif
