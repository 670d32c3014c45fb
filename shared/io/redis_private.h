#ifndef BELFRY_IO_REDIS_PRIVATE_H
#define BELFRY_IO_REDIS_PRIVATE_H
/* What redis.c (commands) and redis_listener.c (subscription) share. Nobody else includes this. */
#include "core/str.h"
#include <hiredis/hiredis.h>
#include <stdbool.h>

enum {
    REDIS_TIMEOUT_MS = 200,    /* to connect, and for a reply: longer than that PostgreSQL is quicker */
    REDIS_RETRY_MS = 1000,     /* pause after a failure … */
    REDIS_RETRY_MS_MAX = 4000, /* … doubled up to this while it does not answer at all */
    REDIS_PIPELINE_MAX = 8192  /* commands: a send to 1,000 users needs a few for each */
};

/* An address in parts; every string lives in text. */
struct redis_address {
    char *text;
    const char *user, *password; /* NULL = none */
    const char *path;            /* unix socket, or NULL */
    const char *host;
    int port;
};

/* False if memory ran out. An empty or malformed address gives neither path nor host. */
bool redis_address_parse(struct redis_address *address, const char *text);
void redis_address_free(struct redis_address *address);
/* Connects within REDIS_TIMEOUT_MS and authenticates; NULL if that did not work. */
redisContext *redis_connect(const struct redis_address *address);

#endif
