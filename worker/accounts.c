/* Accounts in memory: an array sorted by tenant, channel and preference, as the query gives it. */
#include "worker/accounts.h"
#include "core/log.h"
#include "worker/vapid.h"
#include <stdlib.h>
#include <string.h>

enum { ACCOUNT_ARENA_BYTES = 65536 };

struct accounts {
    const struct keyring *ring;
    int count;
    struct account_held **held;
};

struct accounts *accounts_create(const struct keyring *ring)
{
    struct accounts *accounts = calloc(1, sizeof *accounts);
    if (accounts)
        accounts->ring = ring;
    return accounts;
}

void accounts_release(struct account_held *held)
{
    if (!held || --held->references > 0)
        return;
    vapid_destroy(held->vapid);
    arena_destroy(held->arena);
    free(held);
}

void accounts_destroy(struct accounts *accounts)
{
    if (!accounts)
        return;
    for (int i = 0; i < accounts->count; i++)
        accounts_release(accounts->held[i]);
    free(accounts->held);
    free(accounts);
}

/* Where a tenant's accounts begin, or would. */
static int first_of(const struct accounts *accounts, int tenant)
{
    int low = 0, high = accounts->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (accounts->held[middle]->account.tenant < tenant)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- loading ---- */

enum column { TENANT, ID, CHANNEL, PROVIDER, STATE, VERSION, CONFIG };

static enum result open_config(const struct accounts *accounts, struct account_held *held,
                               const struct db_result *rows, int row, struct error *error)
{
    struct account *account = &held->account;
    struct buf json = BUF_INIT(ACCOUNT_ARENA_BYTES);
    struct str sealed = db_bytes(rows, row, CONFIG, held->arena);
    enum result code = account_open(accounts->ring, account->tenant, account->id, sealed, &json, error);
    if (code == RESULT_OK)
        code =
            account_parse(db_text(rows, row, PROVIDER), buf_str(&json), held->arena, &account->config, error);
    buf_free(&json);
    if (code == RESULT_OK && str_is(account->config.provider, "webpush"))
        code = vapid_create(&account->config.webpush, &held->vapid, error);
    return code;
}

static struct account_held *load_one(const struct accounts *accounts, const struct db_result *rows, int row)
{
    struct error error = {0};
    struct account_held *held = calloc(1, sizeof *held);
    if (!held || !(held->arena = arena_create(ACCOUNT_ARENA_BYTES))) {
        free(held);
        return NULL;
    }
    held->references = 1;
    held->version = db_int(rows, row, VERSION);
    held->active = str_is(db_text(rows, row, STATE), "active");
    held->account.tenant = (int)db_int(rows, row, TENANT);
    held->account.id = arena_str(held->arena, db_text(rows, row, ID));
    held->account.channel = arena_str(held->arena, db_text(rows, row, CHANNEL));
    if (open_config(accounts, held, rows, row, &error) == RESULT_OK)
        return held;
    log_error("provider account cannot be used", LOG_INT("tenant", held->account.tenant),
              LOG_STR("account", held->account.id), LOG_TEXT("reason", error.text));
    accounts_release(held);
    return NULL;
}

static struct account_held *find_same(const struct accounts *accounts, const struct db_result *rows, int row)
{
    int tenant = (int)db_int(rows, row, TENANT);
    for (int i = first_of(accounts, tenant); i < accounts->count; i++) {
        struct account_held *held = accounts->held[i];
        if (held->account.tenant != tenant)
            break;
        if (held->version == db_int(rows, row, VERSION) &&
            str_equal(held->account.id, db_text(rows, row, ID)))
            return held;
    }
    return NULL;
}

void accounts_load(struct accounts *accounts, const struct db_result *rows)
{
    struct account_held **fresh = calloc((size_t)db_rows(rows) + 1, sizeof *fresh);
    int count = 0;
    if (!fresh)
        return; /* the old ones serve until the next time */
    for (int i = 0; i < db_rows(rows); i++) {
        struct account_held *held = find_same(accounts, rows, i);
        if (held)
            held->references++;
        else
            held = load_one(accounts, rows, i);
        if (held)
            fresh[count++] = held;
    }
    for (int i = 0; i < accounts->count; i++)
        accounts_release(accounts->held[i]);
    free(accounts->held);
    accounts->held = fresh;
    accounts->count = count;
}

/* ---- finding ---- */

struct account_held *accounts_take(struct accounts *accounts, int tenant, struct str channel,
                                   struct str provider, bool *paused)
{
    if (paused)
        *paused = false;
    for (int i = first_of(accounts, tenant); i < accounts->count; i++) {
        struct account_held *held = accounts->held[i];
        if (held->account.tenant != tenant)
            break;
        bool fits = str_equal(held->account.channel, channel) &&
                    (str_is(channel, "email") || str_is(held->account.config.provider, "null") ||
                     str_equal(held->account.config.provider, provider));
        if (fits && held->active) {
            held->references++;
            return held;
        }
        if (fits && paused)
            *paused = true;
    }
    return NULL;
}
