#ifndef BELFRY_WORKER_CHANNEL_H
#define BELFRY_WORKER_CHANNEL_H
/*
 * The provider interface. A provider is a struct of two pure functions: build() makes the request that
 * carries a delivery, classify() says what an answer means. Neither does I/O or remembers anything; the same
 * input gives the same output, so both are tested with tables.
 *
 * To add a provider: copy worker/providers/webhook.c, list it in worker/provider.c, describe its account in
 * shared/domain/account.c and its addresses in shared/domain/address.c, give the postbox a way to play it,
 * and write tests/unit/test_provider_NAME.c.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include "domain/account.h"
#include "domain/address.h"
#include "io/http.h"
#include <stdbool.h>
#include <stdint.h>

/* One delivery as a claim returns it, opened. All views live as long as the batch. */
struct delivery {
    int tenant, n;
    int64_t generation;
    struct str notification; /* UUID as text, 36 bytes */
    struct str channel, provider, user, device;
    int priority;    /* 0 urgent … 3 low */
    int tries, lost; /* attempts that counted before this one; leases lost */
    int64_t device_updated_us;
    struct str address_sealed;
    struct address address;
    struct str type, title, body, category, url; /* url: STR_NONE if there is none */
    struct str data, sender, actions;            /* JSON; sender may be STR_NONE */
    bool sandbox;
    int64_t created_us, expires_us; /* expires_us: 0 = never */
    int64_t now_us;                 /* when this attempt begins */
    /* filled when there is one, for providers that keep a signed token for each origin */
    struct str vapid_token;
};

/* How an attempt ended: a closed set. worker/outcome.c turns it into rows, and nothing else does. */
enum outcome_kind {
    OUTCOME_SENT,         /* the provider accepted it */
    OUTCOME_RETRY,        /* may work later; counts as a try */
    OUTCOME_REJECTED,     /* this message can never succeed; the address may be fine */
    OUTCOME_GONE,         /* the address is dead: the device is deleted */
    OUTCOME_THROTTLED,    /* too fast; does not count as a try, the endpoint rests */
    OUTCOME_UNAUTHORIZED, /* our credentials or account: it is paused, its deliveries are held */
    OUTCOME_UNKNOWN,      /* lost after it may have been read */
    OUTCOME_EXPIRED,      /* its time was over before it could be sent */
    OUTCOME_CANCELLED,    /* the sender took it back, or the notification was erased */
    OUTCOME_SUPPRESSED,   /* the recipient does not want it (any more), or has seen it */
    OUTCOME_KINDS
};
const char *outcome_name(enum outcome_kind kind);

enum { OUTCOME_DETAIL_BYTES = 160, OUTCOME_ID_BYTES = 96 };
struct outcome {
    enum outcome_kind kind;
    int code;               /* HTTP status or SMTP reply, 0 = none */
    int64_t retry_after_ms; /* what the provider asked for; -1 = it did not say */
    bool alert;             /* the tenant's developers should hear of it: a defect of theirs or ours */
    char detail[OUTCOME_DETAIL_BYTES];  /* for people; no secrets, no whole addresses, valid UTF-8 */
    char provider_id[OUTCOME_ID_BYTES]; /* the provider's name for the message, "" = none */
};
/* Fills outcome; detail is copied, cut at a character boundary and stripped of control characters. */
void outcome_set(struct outcome *outcome, enum outcome_kind kind, int code, struct str detail);
void outcome_set_id(struct outcome *outcome, struct str id);

/* An account as the worker holds it. */
struct account {
    int tenant;
    struct str id, channel;
    struct account_config config;
};

struct provider {
    const char *name;
    bool needs_account;              /* without an active one, deliveries are held */
    bool for_people;                 /* pointless once its notification was read or deleted in the inbox */
    bool start_first;                /* a repeat is not allowed: the start is committed before the transfer */
    bool origin_chosen_by_recipient; /* a refusal of our credentials may be the recipient's doing */
    int unknown_tries;          /* an unknown outcome is tried again while fewer tries than this were made */
    int endpoint_in_flight_max; /* transfers at once to one endpoint, 0 = as many as its speed allows */
    /* RESULT_INVALID: can never be sent (the outcome is rejected); anything else may work later. account is
     * NULL where none is needed and none exists. Views of request live in the arena or the delivery. */
    enum result (*build)(const struct delivery *delivery, const struct account *account, struct arena *arena,
                         struct http_request *request, struct error *error);
    void (*classify)(const struct http_answer *answer, struct outcome *outcome);
};

/* The provider that carries a delivery: that of the account if there is one, else by the name; NULL if
 * unknown. */
const struct provider *provider_find(struct str name);

/* What all HTTP providers do with an answer that is none: not sent, bad certificate, forbidden address, lost.
 * True if it was such a one; then outcome is filled. */
bool outcome_from_failure(const struct http_answer *answer, bool repeatable, struct outcome *outcome);

#endif
