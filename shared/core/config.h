#ifndef BELFRY_CORE_CONFIG_H
#define BELFRY_CORE_CONFIG_H
/*
 * Settings: environment variables BELFRY_*, described in one table in config.c (name, which programs, type,
 * default, limits, secret or not, help). --help and the reference in the README are printed from the table.
 * To add a setting: a field here, a row there; a test compares the documentation with the table.
 *
 * A secret may come from a file: BELFRY_X_FILE names it where BELFRY_X is secret.
 */
#include "error.h"
#include <stdbool.h>
#include <stdio.h>

enum config_program {
    CONFIG_API = 1,
    CONFIG_WORKER = 2,
    CONFIG_SCHEDULER = 4,
    CONFIG_CTL = 8,
    CONFIG_ALL = 15
};

struct config {
    char *db;           /* BELFRY_DB: libpq connection string, secret */
    bool db_prepare;    /* BELFRY_DB_PREPARE: named prepared statements; off behind a transaction pooler */
    int db_connections; /* BELFRY_DB_CONNECTIONS: most connections of this process */
    char *redis;      /* BELFRY_REDIS: unix:/path or host:port, optionally user:password@ in front; "" = none;
                         secret */
    char *keys_file;  /* BELFRY_KEYS_FILE: key ring for addresses and credentials */
    int log_level;    /* BELFRY_LOG */
    char *public_url; /* BELFRY_PUBLIC_URL: as clients reach us, no slash at the end */
    char *listen;     /* BELFRY_LISTEN: unix socket of belfry-api; "" = inherited on descriptor 0 */
    int threads;      /* BELFRY_THREADS: request threads */
    int waiters_max;  /* BELFRY_WAITERS_MAX: parked polls and streams of this process */
    int wait_ms;      /* BELFRY_WAIT_MS: longest hold of a poll */
    int rate_service; /* BELFRY_RATE_SERVICE: requests a second for an app key */
    int rate_user;    /* BELFRY_RATE_USER: requests a second for a user */
    char *metrics_token;    /* BELFRY_METRICS_TOKEN: secret */
    bool private_addresses; /* BELFRY_PRIVATE_ADDRESSES=allow: outgoing URLs may reach private addresses */
    char *ca_file;          /* BELFRY_CA_FILE: additional trust for outgoing TLS */
    char *channels; /* BELFRY_CHANNELS (also --channels): channels this worker drains, comma-separated; "" =
                       all */
    int in_flight_max; /* BELFRY_IN_FLIGHT: transfers at once in a worker */
    int claim_max;     /* BELFRY_CLAIM: deliveries a claim takes at most */
    int lease_ms;      /* BELFRY_LEASE_MS */
    int attempts_max;  /* BELFRY_ATTEMPTS: tries before a dead letter */
    int retry_base_ms; /* BELFRY_RETRY_BASE_MS */
    int retry_cap_ms;  /* BELFRY_RETRY_CAP_MS */
    int keep_inbox_days, keep_event_days, keep_delivery_days; /* BELFRY_KEEP_… */
};

/* Reads and checks the environment for one program. On failure error names the variable and the rule (the
 * program exits 78, EX_CONFIG). The strings belong to the struct; config_free() releases them. */
enum result config_load(struct config *config, enum config_program program, struct error *error) MUST_CHECK;
void config_free(struct config *config);
/* The settings of a program with defaults and help, as --help shows them; with CONFIG_ALL those of all, as
 * the table in Markdown that the README holds. */
void config_print(FILE *out, enum config_program program);

#endif
