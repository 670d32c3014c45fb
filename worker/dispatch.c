/*
 * Jobs into transfers, answers into outcomes.
 *
 * A job that comes up: may it be sent at all → with which account → to which endpoint, and has that room →
 * build → transfer → classify → verdict. Everything that stops a job on this way gives it a verdict, and
 * worker/settle.c makes it true.
 *
 * What was lost before (its worker died or hung) runs alone: nothing else flies and everything is settled, so
 * that it takes nothing with it; that it begins is committed first. Waiting for that, and its own time, are
 * bounded, and between two of them the others have their turn.
 */
#include "core/clock.h"
#include "core/log.h"
#include "worker/vapid.h"
#include "worker/worker.h"
#include <stdio.h>

enum { REST_MS = 1000 /* of an endpoint that asks to slow down and does not say how long */ };

/* ---- verdicts ---- */

static void end_with(struct worker *w, struct job *job)
{
    outcome_decide(&job->delivery, job->provider, &job->outcome, &w->policy, clock_now_us(),
                   clock_jitter(UINT32_MAX), &job->verdict);
    settle_add(w, job);
}

static void reject(struct worker *w, struct job *job, const struct error *error)
{
    bool never = error->code == RESULT_INVALID;
    outcome_set(&job->outcome, never ? OUTCOME_REJECTED : OUTCOME_RETRY, 0, str_from(error->text));
    job->outcome.alert = never;
    end_with(w, job);
}

static void give_back(struct worker *w, struct job *job)
{
    outcome_return(&job->delivery, &job->verdict);
    settle_add(w, job);
}

static void hold(struct worker *w, struct job *job, struct str provider)
{
    outcome_hold(&job->delivery, provider, &job->verdict);
    settle_add(w, job);
}

/* ---- after the transfer ---- */

/* Refused credentials pause their account. But an endpoint that a recipient chose may refuse them at will:
 * that counts as a try of this delivery and never stops those of others. */
static void judge_account(struct job *job)
{
    if (!job->account || job->outcome.kind != OUTCOME_UNAUTHORIZED)
        return;
    if (job->provider->origin_chosen_by_recipient)
        job->outcome.kind = OUTCOME_RETRY;
    else
        job->account->active = false;
}

static void measure(struct worker *w, const struct job *job)
{
    char labels[96];
    snprintf(labels, sizeof labels, "provider=\"%s\"", job->provider->name);
    metrics_observe(w->metrics, METRIC_ATTEMPT_SECONDS, labels,
                    (double)(job->finished_us - job->started_us) / 1e6);
}

static void finish(struct worker *w, struct job *job)
{
    int64_t rest_ms = 0;
    job->finished_us = clock_now_us();
    judge_account(job);
    if (job->outcome.kind == OUTCOME_THROTTLED)
        rest_ms = job->outcome.retry_after_ms >= 0 ? job->outcome.retry_after_ms : REST_MS;
    flow_ended(&w->flows, job, w->now_ms, rest_ms);
    if (w->alone_flying == job) {
        w->alone_flying = NULL;
        w->company_until_ms = w->now_ms + (w->now_ms - job->started_ms);
    }
    measure(w, job);
    end_with(w, job);
}

/* A transfer's end finds its worker through the flight. */
struct flight {
    struct worker *worker;
    struct job *job;
};

static void landed(void *context, const struct http_answer *answer)
{
    struct flight *flight = context;
    flight->job->provider->classify(answer, &flight->job->outcome);
    finish(flight->worker, flight->job);
}

/* ---- the transfer ---- */

static enum result build(struct job *job, struct http_request *request, struct error *error)
{
    struct delivery *d = &job->delivery;
    enum result code = RESULT_OK;
    job->started_us = d->now_us = clock_now_us();
    if (job->account && job->account->vapid) {
        struct str token;
        code = vapid_token(job->account->vapid, d->address.url, d->now_us, &token, error);
        if (code == RESULT_OK)
            d->vapid_token = arena_str(job->batch->arena, token);
    }
    if (code == RESULT_OK)
        code = job->provider->build(d, job->account ? &job->account->account : NULL, job->batch->arena,
                                    request, error);
    return code;
}

static void fail_built(struct worker *w, struct job *job, const struct error *error)
{
    outcome_set(&job->outcome, error->code == RESULT_INVALID ? OUTCOME_REJECTED : OUTCOME_RETRY, 0,
                str_from(error->text));
    job->outcome.alert = error->code == RESULT_INVALID;
    finish(w, job);
}

/* The job counts as flying already. */
static void fly(struct worker *w, struct job *job)
{
    struct http_request request;
    struct error error = {0};
    struct flight *flight = arena_alloc(job->batch->arena, sizeof *flight);
    enum result code = flight ? build(job, &request, &error)
                              : error_set(&error, RESULT_FAILED, "could not begin the transfer: no memory");
    if (flight == NULL || code != RESULT_OK) {
        fail_built(w, job, &error);
        return;
    }
    *flight = (struct flight){w, job};
    if (job->delivery.sandbox) {
        outcome_set(&job->outcome, OUTCOME_SENT, 0, STR("sandbox: rendered, not sent"));
        finish(w, job);
    } else if (request.url.bytes == 0) {
        static const struct http_answer nothing;
        job->provider->classify(&nothing, &job->outcome);
        finish(w, job);
    } else if (http_start(w->http, &request, landed, flight, &error) != RESULT_OK) {
        fail_built(w, job, &error);
    }
}

static void start(struct worker *w, struct job *job)
{
    flow_started(&w->flows, job, w->now_ms);
    if ((job->provider->start_first && !job->delivery.sandbox) || job->delivery.lost > 0) {
        TAILQ_INSERT_TAIL(&w->starting, job, link);
        w->starting_count++;
    } else {
        fly(w, job);
    }
}

void dispatch_started(struct worker *w, struct job *job)
{
    fly(w, job);
}

/* ---- before the transfer ---- */

/* Addresses of a channel that several providers serve name theirs. */
static struct str provider_wanted(const struct delivery *d)
{
    if (str_is(d->channel, "email"))
        return STR("smtp");
    return str_is(d->channel, "webhook") ? STR("webhook") : d->provider;
}

static void find_account(struct worker *w, struct job *job, bool *paused)
{
    const struct delivery *d = &job->delivery;
    struct str wanted = provider_wanted(d);
    job->account = accounts_take(w->accounts, d->tenant, d->channel, wanted, paused);
    job->provider = provider_find(job->account ? job->account->account.config.provider : wanted);
}

static enum result open_address(struct worker *w, struct job *job, struct error *error)
{
    struct delivery *d = &job->delivery;
    int kind = address_kind_of(d->channel, d->provider);
    if (kind < 0)
        return error_set(error, RESULT_INVALID, "nothing here sends to this kind of address");
    enum result code = address_open(w->ring, d->tenant, d->user, (enum address_kind)kind, d->address_sealed,
                                    job->batch->arena, &d->address, error);
    /* perhaps a key is missing from the key ring: that can be mended, so it is not the end */
    return code == RESULT_INVALID ? error_set(error, RESULT_FAILED, "the stored address cannot be opened")
                                  : code;
}

/* What stands in the way before anything is opened; true: the job has its verdict. */
static bool stopped(struct worker *w, struct job *job)
{
    struct delivery *d = &job->delivery;
    struct error error = {0};
    bool paused = false;
    if (w->now_ms - job->claimed_ms >= WORKER_WAIT_MAX_MS) {
        give_back(w, job);
        return true;
    }
    find_account(w, job, &paused);
    if (outcome_forbids(d, &job->facts, job->provider && job->provider->for_people, clock_now_us(),
                        &job->outcome)) {
        end_with(w, job);
    } else if (job->tenant_paused) {
        hold(w, job, STR_NONE);
    } else if (!job->provider) {
        error_set(&error, RESULT_INVALID, "there is no provider for this address");
        reject(w, job, &error);
    } else if (!job->account && (job->provider->needs_account || paused)) {
        hold(w, job, str_from(job->provider->name));
    } else if (open_address(w, job, &error) != RESULT_OK) {
        reject(w, job, &error);
    } else {
        return false;
    }
    return true;
}

static struct endpoint *find_endpoint(struct worker *w, const struct job *job)
{
    const struct delivery *d = &job->delivery;
    struct str where = d->address.kind == ADDRESS_EMAIL && job->account
                           ? job->account->account.config.smtp.host
                           : d->address.url;
    return endpoint_of(&w->flows, d->tenant, where, job->provider->endpoint_in_flight_max, w->now_ms);
}

static void dispatch(struct worker *w, struct job *job, bool alone)
{
    if (stopped(w, job))
        return;
    job->endpoint = find_endpoint(w, job);
    if (!job->endpoint) {
        give_back(w, job);
    } else if (alone || endpoint_has_room(&w->flows, job->endpoint, w->now_ms)) {
        w->alone_flying = alone ? job : w->alone_flying;
        start(w, job);
    } else if (!endpoint_park(&w->flows, job)) {
        int64_t off_ms = endpoint_put_off(&w->flows, job->endpoint, w->now_ms);
        outcome_defer(&job->delivery, clock_now_us() + off_ms * 1000, &job->verdict);
        settle_add(w, job);
    }
}

/* ---- alone ---- */

static struct job *take_alone(struct worker *w)
{
    struct job *job = TAILQ_FIRST(&w->alone);
    TAILQ_REMOVE(&w->alone, job, link);
    w->alone_count--;
    return job;
}

static bool quiet(const struct worker *w)
{
    return w->flows.flying_count == 0 && settle_idle(w);
}

/* Says whether the others must wait. */
static bool alone_turn(struct worker *w)
{
    if (w->alone_flying && w->now_ms - w->alone_flying->started_ms < WORKER_ALONE_MS)
        return true;
    if (w->alone_count == 0 || w->now_ms < w->company_until_ms) {
        w->alone_ms = 0;
        return false;
    }
    if (w->alone_ms == 0)
        w->alone_ms = w->now_ms;
    if (!quiet(w) && w->now_ms - w->alone_ms < WORKER_ALONE_MS)
        return true;
    w->alone_ms = 0;
    struct job *job = take_alone(w);
    if (!flow_add(&w->flows, job, w->now_ms)) {
        give_back(w, job);
        return true;
    }
    dispatch(w, flow_take(&w->flows, job), true);
    return true;
}

/* ---- turns ---- */

void dispatch_turn(struct worker *w)
{
    struct job *job;
    if (w->stopping) { /* a claim may have come in since */
        dispatch_return_all(w);
        return;
    }
    if (alone_turn(w))
        return;
    while (!TAILQ_EMPTY(&w->flows.freed)) {
        struct endpoint *endpoint = flow_freed(&w->flows);
        while ((job = endpoint_next(&w->flows, endpoint, w->now_ms)))
            start(w, job);
    }
    while ((job = flow_next(&w->flows)))
        dispatch(w, job, false);
}

static void tick_endpoint(struct table_node *node, void *context)
{
    struct worker *w = context;
    struct endpoint *endpoint = (struct endpoint *)node;
    struct job *job;
    while ((job = TAILQ_FIRST(&endpoint->parked)) && w->now_ms - job->claimed_ms >= WORKER_WAIT_MAX_MS) {
        job = endpoint_unpark(&w->flows, endpoint);
        give_back(w, job);
    }
    while (!w->alone_flying && (job = endpoint_next(&w->flows, endpoint, w->now_ms)))
        start(w, job);
}

void dispatch_tick(struct worker *w)
{
    struct job *job;
    if (w->flows.parked_count > 0)
        table_each(&w->flows.endpoints, tick_endpoint, w);
    while ((job = TAILQ_FIRST(&w->alone)) && w->now_ms - job->claimed_ms >= WORKER_WAIT_MAX_MS)
        give_back(w, take_alone(w));
    while ((job = flow_oldest(&w->flows, w->now_ms - WORKER_WAIT_MAX_MS)))
        give_back(w, job);
}

/* ---- giving up what does not fly ---- */

static void drop(struct worker *w, struct job *job)
{
    (void)w;
    job_release(job);
}

struct emptying {
    struct worker *worker;
    void (*each)(struct worker *worker, struct job *job);
};

static void empty_endpoint(struct table_node *node, void *context)
{
    struct emptying *emptying = context;
    struct job *job;
    while ((job = endpoint_unpark(&emptying->worker->flows, (struct endpoint *)node)))
        emptying->each(emptying->worker, job);
}

static void empty(struct worker *w, void (*each)(struct worker *worker, struct job *job))
{
    struct job *job;
    struct emptying emptying = {w, each};
    while ((job = flow_oldest(&w->flows, INT64_MAX)))
        each(w, job);
    table_each(&w->flows.endpoints, empty_endpoint, &emptying);
    while (w->alone_count > 0)
        each(w, take_alone(w));
    while ((job = TAILQ_FIRST(&w->starting))) { /* counted as flying, but nothing has left */
        TAILQ_REMOVE(&w->starting, job, link);
        w->starting_count--;
        flow_ended(&w->flows, job, w->now_ms, 0);
        if (w->alone_flying == job)
            w->alone_flying = NULL;
        each(w, job);
    }
}

void dispatch_return_all(struct worker *w)
{
    empty(w, give_back);
}

void dispatch_drop_all(struct worker *w)
{
    empty(w, drop);
}
