/* Outcomes into verdicts: the table in outcome.h, in code. Pure. */
#include "worker/outcome.h"
#include <stdio.h>
#include <string.h>

enum { THROTTLED_FREE_S = 86400 }; /* so long "too fast" costs no try; then it does, or it might never end */

static void later(const struct delivery *d, int64_t due_us, struct verdict *v)
{
    v->place = VERDICT_LATER;
    /* a try after its expiry would be none: it comes back at that moment and ends as expired */
    v->due_us = d->expires_us && due_us > d->expires_us ? d->expires_us : due_us;
}

static void hold(struct str provider, struct str channel, struct verdict *v)
{
    v->place = VERDICT_LATER;
    v->due_us = 0;
    if (!str_is_set(provider))
        snprintf(v->held_by, sizeof v->held_by, "tenant");
    else if (str_is(channel, "email"))
        snprintf(v->held_by, sizeof v->held_by, "channel:email");
    else
        snprintf(v->held_by, sizeof v->held_by, "provider:%.32s", provider.bytes ? provider.data : "");
}

static void try_again(const struct delivery *d, const struct outcome *o, const struct retry_policy *policy,
                      int64_t now_us, uint32_t draw, struct verdict *v)
{
    v->tries = d->tries + 1;
    if (v->tries >= policy->attempts_max) {
        v->place = VERDICT_DEAD;
        v->alert = true;
        return;
    }
    later(d, now_us + 1000 * retry_wait_ms(policy, v->tries, o->retry_after_ms, draw), v);
}

static void throttled(const struct delivery *d, const struct outcome *o, const struct retry_policy *policy,
                      int64_t now_us, uint32_t draw, struct verdict *v)
{
    if (now_us - d->created_us > THROTTLED_FREE_S * INT64_C(1000000)) {
        try_again(d, o, policy, now_us, draw, v);
        return;
    }
    v->tries = d->tries;
    int64_t asked_ms = o->retry_after_ms >= 0 ? o->retry_after_ms : policy->base_ms;
    later(d, now_us + 1000 * retry_wait_ms(policy, d->tries + 1, asked_ms, draw), v);
}

void outcome_decide(const struct delivery *d, const struct provider *provider, const struct outcome *o,
                    const struct retry_policy *policy, int64_t now_us, uint32_t draw, struct verdict *v)
{
    *v = (struct verdict){.place = VERDICT_ENDED,
                          .log = true,
                          .number = d->tries + 1,
                          .tries = d->tries + 1,
                          .alert = o->alert};
    switch (o->kind) {
    case OUTCOME_GONE:
        v->prune = true;
        return;
    case OUTCOME_RETRY:
        try_again(d, o, policy, now_us, draw, v);
        return;
    case OUTCOME_THROTTLED:
        throttled(d, o, policy, now_us, draw, v);
        return;
    case OUTCOME_UNAUTHORIZED:
        v->tries = d->tries;
        v->pause = v->alert = true;
        hold(str_from(provider->name), d->channel, v);
        return;
    case OUTCOME_UNKNOWN:
        if (provider && d->tries + 1 < provider->unknown_tries)
            try_again(d, o, policy, now_us, draw, v);
        return;
    case OUTCOME_SENT:
    case OUTCOME_REJECTED:
    case OUTCOME_EXPIRED:
    case OUTCOME_CANCELLED:
    case OUTCOME_SUPPRESSED:
    case OUTCOME_KINDS:
        return;
    }
}

static void untried(const struct delivery *d, struct verdict *v)
{
    *v = (struct verdict){.place = VERDICT_READY, .tries = d->tries};
}

void outcome_return(const struct delivery *d, struct verdict *v)
{
    untried(d, v);
}

void outcome_defer(const struct delivery *d, int64_t due_us, struct verdict *v)
{
    untried(d, v);
    later(d, due_us, v);
}

void outcome_hold(const struct delivery *d, struct str provider, struct verdict *v)
{
    untried(d, v);
    hold(provider, d->channel, v);
}

bool outcome_forbids(const struct delivery *d, const struct delivery_facts *facts, bool for_people,
                     int64_t now_us, struct outcome *o)
{
    if (!facts->known)
        outcome_set(o, OUTCOME_CANCELLED, 0, STR("the notification was erased"));
    else if (facts->cancelled)
        outcome_set(o, OUTCOME_CANCELLED, 0, STR_NONE);
    else if (d->expires_us && d->expires_us <= now_us)
        outcome_set(o, OUTCOME_EXPIRED, 0, STR_NONE);
    else if (facts->opted_out)
        outcome_set(o, OUTCOME_SUPPRESSED, 0, STR("opted out"));
    else if (!facts->has_device)
        outcome_set(o, OUTCOME_SUPPRESSED, 0, STR("the address was removed"));
    else if (for_people && (facts->read || facts->deleted))
        outcome_set(o, OUTCOME_SUPPRESSED, 0, facts->read ? STR("already read") : STR("already deleted"));
    else
        return false;
    return true;
}
