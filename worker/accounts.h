#ifndef BELFRY_WORKER_ACCOUNTS_H
#define BELFRY_WORKER_ACCOUNTS_H
/*
 * The provider accounts of all tenants, opened and parsed, in memory. They are read anew when the database's
 * mark of them changes (asked for every two seconds). One that is in use when it is replaced lives until its
 * last job lets go of it.
 */
#include "io/crypto.h"
#include "io/db.h"
#include "worker/channel.h"

struct vapid;
struct accounts;

struct account_held {
    struct account account; /* what providers see */
    int64_t version;
    bool active;
    int references;
    struct arena *arena;
    struct vapid *vapid; /* for webpush, else NULL */
};

struct accounts *accounts_create(const struct keyring *ring) MUST_CHECK;
void accounts_destroy(struct accounts *accounts);
/* Takes the rows of worker_accounts. Accounts that did not change stay as they are; those that cannot be
 * opened are logged and left out. */
void accounts_load(struct accounts *accounts, const struct db_result *rows);
/* The first active account by preference: of the channel for e-mail, of the provider otherwise. NULL if there
 * is none. *paused (may be NULL): there is one, but it is paused. A reference is taken. */
struct account_held *accounts_take(struct accounts *accounts, int tenant, struct str channel,
                                   struct str provider, bool *paused) MUST_CHECK;
void accounts_release(struct account_held *held); /* NULL is fine */

#endif
