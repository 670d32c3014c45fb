#ifndef BELFRY_HANDLERS_APP_H
#define BELFRY_HANDLERS_APP_H
/* What every request handler may use: made once by main(), passed down, never global. */
#include "core/config.h"
#include "domain/auth.h"
#include "io/crypto.h"
#include "io/db.h"

struct park;
struct metrics;
struct throttle;
struct feed_keep;

struct app {
    const struct config *config;
    struct keyring *ring;
    struct db_pool *readers; /* polls, lists */
    struct db_pool *writers; /* at most half the threads, so that a locked feed never stops the polls */
    struct auth *auth;
    struct park *park; /* NULL under plain CGI: nothing is parked */
    struct metrics *metrics;
    struct throttle *throttle;
    struct feed_keep *keep; /* NULL under plain CGI */
};

#endif
