/* Writes take turns: see fastcgi_turn.h. A ring of waiting requests under one lock. */
#include "handlers/fastcgi_turn.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* libfcgi holds some 17 kB for each. Beyond them a write goes ahead, and is told 503 if no connection comes
 * free. */
enum { WAITING_MAX = 1024 };

struct fastcgi_turn {
    pthread_mutex_t lock;
    int most, serving;
    int first, count;
    FCGX_Request *waiting[WAITING_MAX];
};

struct fastcgi_turn *fastcgi_turn_create(int most)
{
    struct fastcgi_turn *turn = calloc(1, sizeof *turn);
    if (turn == NULL)
        return NULL;
    turn->most = most > 0 ? most : 1;
    pthread_mutex_init(&turn->lock, NULL);
    return turn;
}

void fastcgi_turn_destroy(struct fastcgi_turn *turn)
{
    if (turn == NULL)
        return;
    pthread_mutex_destroy(&turn->lock);
    free(turn);
}

bool fastcgi_turn_needed(const FCGX_Request *request)
{
    const char *method = FCGX_GetParam("REQUEST_METHOD", request->envp);
    return method != NULL && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 &&
           strcmp(method, "OPTIONS") != 0;
}

bool fastcgi_turn_enter(struct fastcgi_turn *turn, FCGX_Request *request)
{
    pthread_mutex_lock(&turn->lock);
    bool waits = turn->serving >= turn->most && turn->count < WAITING_MAX;
    if (waits)
        turn->waiting[(turn->first + turn->count++) % WAITING_MAX] = request;
    else
        turn->serving++;
    pthread_mutex_unlock(&turn->lock);
    return !waits;
}

FCGX_Request *fastcgi_turn_next(struct fastcgi_turn *turn)
{
    FCGX_Request *next = NULL;
    pthread_mutex_lock(&turn->lock);
    if (turn->count > 0) {
        next = turn->waiting[turn->first];
        turn->first = (turn->first + 1) % WAITING_MAX;
        turn->count--;
    } else {
        turn->serving--;
    }
    pthread_mutex_unlock(&turn->lock);
    return next;
}
