/*
 * The provider that accepts everything and sends nothing: for accounts that are not open yet and for
 * measuring the queue. It is also the example of a provider whose transfers must not be repeated: each start
 * is committed before it.
 */
#include "worker/providers/all.h"

static enum result build(const struct delivery *delivery, const struct account *account, struct arena *arena,
                         struct http_request *request, struct error *error)
{
    (void)delivery;
    (void)account;
    (void)arena;
    (void)error;
    *request = (struct http_request){.kind = HTTP_POST}; /* no URL: the dispatcher sends nothing */
    return RESULT_OK;
}

static void classify(const struct http_answer *answer, struct outcome *outcome)
{
    (void)answer;
    outcome_set(outcome, OUTCOME_SENT, 0, STR("accepted by the null provider"));
}

const struct provider provider_null = {
    .name = "null", .needs_account = true, .start_first = true, .build = build, .classify = classify};
