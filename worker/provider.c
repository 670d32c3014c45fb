/*
 * The set of providers, and what they share when they look at an answer. Pure.
 */
#include "worker/channel.h"
#include "worker/providers/all.h"
#include <string.h>

static const struct provider *const providers[] = {&provider_smtp, &provider_webpush, &provider_webhook,
                                                   &provider_null};

const struct provider *provider_find(struct str name)
{
    for (size_t i = 0; i < sizeof providers / sizeof *providers; i++)
        if (str_is(name, providers[i]->name))
            return providers[i];
    return NULL;
}

const char *outcome_name(enum outcome_kind kind)
{
    static const char *const names[OUTCOME_KINDS] = {"sent",      "retry",        "rejected", "gone",
                                                     "throttled", "unauthorized", "unknown",  "expired",
                                                     "cancelled", "suppressed"};
    return names[kind];
}

/* Copies what is text: control characters become spaces, anything that is no UTF-8 ends it. */
static void copy_text(char *out, size_t room, struct str text)
{
    size_t n = 0;
    while (text.bytes) {
        size_t step = str_utf8_first(text);
        if (step == 0 || n + step >= room)
            break;
        memcpy(out + n, text.data, step);
        if (step == 1 && ((unsigned char)out[n] < ' ' || out[n] == 0x7f))
            out[n] = ' ';
        n += step;
        text.data += step;
        text.bytes -= step;
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

void outcome_set(struct outcome *outcome, enum outcome_kind kind, int code, struct str detail)
{
    outcome->kind = kind;
    outcome->code = code;
    outcome->retry_after_ms = -1;
    outcome->alert = false;
    outcome->provider_id[0] = '\0';
    copy_text(outcome->detail, sizeof outcome->detail, detail);
}

void outcome_set_id(struct outcome *outcome, struct str id)
{
    copy_text(outcome->provider_id, sizeof outcome->provider_id, id);
}

bool outcome_from_failure(const struct http_answer *answer, bool repeatable, struct outcome *outcome)
{
    switch (answer->failure) {
    case HTTP_ANSWERED:
        return false;
    case HTTP_NOT_SENT:
        outcome_set(outcome, OUTCOME_RETRY, 0, answer->detail);
        return true;
    case HTTP_BAD_CERTIFICATE:
        outcome_set(outcome, OUTCOME_RETRY, 0, answer->detail);
        outcome->alert = true;
        return true;
    case HTTP_FORBIDDEN_ADDRESS:
        outcome_set(outcome, OUTCOME_REJECTED, 0, STR("the URL leads to a private address"));
        outcome->alert = true;
        return true;
    case HTTP_LOST:
        outcome_set(outcome, repeatable ? OUTCOME_RETRY : OUTCOME_UNKNOWN, 0, answer->detail);
        return true;
    }
    return false;
}
