/* What outcomes become, what forbids an attempt, and how long retries wait. */
#include "unit_provider.h"

#include "worker/outcome.h"

static const struct retry_policy policy = {.attempts_max = 4, .base_ms = 1000, .cap_ms = 5000};
#define HALF 2147483648u /* of all draws */

static struct verdict decide(struct delivery *d, const struct provider *provider, enum outcome_kind kind,
                             int64_t asked_ms)
{
    struct outcome outcome;
    struct verdict verdict;
    outcome_set(&outcome, kind, 500, STR("x"));
    outcome.retry_after_ms = asked_ms;
    outcome_decide(d, provider, &outcome, &policy, TEST_NOW_US, HALF, &verdict);
    return verdict;
}

static void final_outcomes_end_it(void **state)
{
    (void)state;
    static const enum outcome_kind kinds[] = {OUTCOME_SENT,    OUTCOME_REJECTED,  OUTCOME_GONE,
                                              OUTCOME_EXPIRED, OUTCOME_CANCELLED, OUTCOME_SUPPRESSED};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct delivery d = sample_delivery();
        struct verdict v = decide(&d, &provider_webhook, kinds[i], -1);
        assert_int_equal(v.place, VERDICT_ENDED);
        assert_true(v.log);
        assert_int_equal(v.number, 1);
        assert_int_equal(v.prune, kinds[i] == OUTCOME_GONE);
    }
}

static void a_retry_counts_and_comes_back(void **state)
{
    (void)state;
    struct delivery d = sample_delivery();
    d.tries = 1;
    struct verdict v = decide(&d, &provider_webhook, OUTCOME_RETRY, -1);
    assert_int_equal(v.place, VERDICT_LATER);
    assert_int_equal(v.tries, 2);
    assert_int_equal(v.number, 2);
    assert_int_equal(v.due_us - TEST_NOW_US, 1000 * 1000); /* half of base doubled once */
    assert_string_equal(v.held_by, "");
}

static void the_last_try_makes_a_dead_letter_and_an_alert(void **state)
{
    (void)state;
    struct delivery d = sample_delivery();
    d.tries = 3;
    struct verdict v = decide(&d, &provider_webhook, OUTCOME_RETRY, -1);
    assert_int_equal(v.place, VERDICT_DEAD);
    assert_true(v.alert);
    assert_int_equal(v.tries, 4);
}

static void no_retry_is_later_than_the_expiry(void **state)
{
    (void)state;
    struct delivery d = sample_delivery();
    d.expires_us = TEST_NOW_US + 1000;
    struct verdict v = decide(&d, &provider_webhook, OUTCOME_RETRY, 60000);
    assert_int_equal(v.due_us, d.expires_us);
}

static void too_fast_costs_no_try_for_a_day(void **state)
{
    (void)state;
    struct delivery d = sample_delivery();
    d.tries = 3;
    struct verdict v = decide(&d, &provider_webhook, OUTCOME_THROTTLED, 30000);
    assert_int_equal(v.place, VERDICT_LATER);
    assert_int_equal(v.tries, 3);
    assert_true(v.due_us >= TEST_NOW_US + 30000 * 1000);
    d.created_us = TEST_NOW_US - INT64_C(90000) * 1000000;
    v = decide(&d, &provider_webhook, OUTCOME_THROTTLED, 30000);
    assert_int_equal(v.place, VERDICT_DEAD);
}

static void refused_credentials_pause_and_hold(void **state)
{
    (void)state;
    struct delivery d = sample_delivery();
    d.tries = 2;
    d.channel = STR("email");
    struct verdict v = decide(&d, &provider_smtp, OUTCOME_UNAUTHORIZED, -1);
    assert_int_equal(v.place, VERDICT_LATER);
    assert_int_equal(v.due_us, 0);
    assert_string_equal(v.held_by, "channel:email");
    assert_int_equal(v.tries, 2);
    assert_true(v.pause && v.alert && v.log);
    d.channel = STR("push");
    v = decide(&d, &provider_webpush, OUTCOME_UNAUTHORIZED, -1);
    assert_string_equal(v.held_by, "provider:webpush");
}

static void the_unknown_is_repeated_where_that_does_no_harm(void **state)
{
    (void)state;
    struct delivery d = sample_delivery();
    assert_int_equal(decide(&d, &provider_smtp, OUTCOME_UNKNOWN, -1).place, VERDICT_LATER); /* once */
    d.tries = 1;
    assert_int_equal(decide(&d, &provider_smtp, OUTCOME_UNKNOWN, -1).place, VERDICT_ENDED);
    d.tries = 0;
    assert_int_equal(decide(&d, &provider_null, OUTCOME_UNKNOWN, -1).place, VERDICT_ENDED);
}

static void what_was_not_tried_leaves_no_attempt(void **state)
{
    (void)state;
    struct delivery d = sample_delivery();
    struct verdict v;
    d.tries = 2;
    outcome_return(&d, &v);
    assert_int_equal(v.place, VERDICT_READY);
    assert_false(v.log);
    assert_int_equal(v.tries, 2);
    outcome_defer(&d, TEST_NOW_US + 5, &v);
    assert_int_equal(v.place, VERDICT_LATER);
    assert_int_equal(v.due_us, TEST_NOW_US + 5);
    assert_false(v.log);
    outcome_hold(&d, STR_NONE, &v);
    assert_string_equal(v.held_by, "tenant");
    assert_int_equal(v.due_us, 0);
    outcome_hold(&d, STR("webhook"), &v);
    assert_string_equal(v.held_by, "provider:webhook");
}

/* ---- before an attempt ---- */

static void each_fact_forbids(void **state)
{
    (void)state;
    static const struct {
        struct delivery_facts facts;
        enum outcome_kind kind;
    } cases[] = {
        {{.known = false, .has_device = true}, OUTCOME_CANCELLED},
        {{.known = true, .has_device = true, .cancelled = true, .opted_out = true}, OUTCOME_CANCELLED},
        {{.known = true, .has_device = true, .opted_out = true}, OUTCOME_SUPPRESSED},
        {{.known = true, .has_device = false}, OUTCOME_SUPPRESSED},
        {{.known = true, .has_device = true, .read = true}, OUTCOME_SUPPRESSED},
        {{.known = true, .has_device = true, .deleted = true}, OUTCOME_SUPPRESSED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct delivery d = sample_delivery();
        struct outcome outcome;
        assert_true(outcome_forbids(&d, &cases[i].facts, true, TEST_NOW_US, &outcome));
        assert_int_equal(outcome.kind, cases[i].kind);
    }
}

static void nothing_forbids_the_rest(void **state)
{
    (void)state;
    struct delivery d = sample_delivery();
    struct outcome outcome;
    const struct delivery_facts fine = {.known = true, .has_device = true};
    const struct delivery_facts read = {.known = true, .has_device = true, .read = true};
    assert_false(outcome_forbids(&d, &fine, true, TEST_NOW_US, &outcome));
    assert_false(
        outcome_forbids(&d, &read, false, TEST_NOW_US, &outcome)); /* machines are told all the same */
    d.expires_us = TEST_NOW_US + 1;
    assert_false(outcome_forbids(&d, &fine, true, TEST_NOW_US, &outcome));
    d.expires_us = TEST_NOW_US;
    assert_true(outcome_forbids(&d, &fine, true, TEST_NOW_US, &outcome));
    assert_int_equal(outcome.kind, OUTCOME_EXPIRED);
}

/* ---- words ---- */

static void details_are_clean_and_short(void **state)
{
    (void)state;
    struct outcome outcome;
    char longer[400];
    outcome_set(&outcome, OUTCOME_RETRY, 1, STR("a\r\nb\x7f \t"));
    assert_string_equal(outcome.detail, "a  b");
    outcome_set(&outcome, OUTCOME_RETRY, 1, STR("ok\xff rest"));
    assert_string_equal(outcome.detail, "ok");
    for (size_t i = 0; i + 2 <= sizeof longer; i += 2)
        memcpy(longer + i, "\xc3\xa9", 2);
    outcome_set(&outcome, OUTCOME_RETRY, 1, (struct str){longer, sizeof longer});
    assert_true(str_is_utf8(str_from(outcome.detail)));
    assert_true(strlen(outcome.detail) < OUTCOME_DETAIL_BYTES);
}

/* ---- backoff ---- */

static void waits_double_up_to_the_cap(void **state)
{
    (void)state;
    static const int64_t bounds[] = {1000, 2000, 4000, 5000, 5000};
    for (int tries = 1; tries <= 5; tries++) {
        assert_int_equal(retry_wait_ms(&policy, tries, -1, 0), 0);
        assert_int_equal(retry_wait_ms(&policy, tries, -1, HALF), bounds[tries - 1] / 2);
        assert_true(retry_wait_ms(&policy, tries, -1, UINT32_MAX) < bounds[tries - 1]);
    }
    assert_true(retry_wait_ms(&policy, 1000, -1, UINT32_MAX) < 5000);
}

static void what_was_asked_for_is_waited(void **state)
{
    (void)state;
    assert_int_equal(retry_wait_ms(&policy, 1, 8000, 0), 8000);
    assert_int_equal(retry_wait_ms(&policy, 1, 8000, HALF),
                     8500); /* and a little, so that not all come at once */
    assert_int_equal(retry_wait_ms(&policy, 3, 10, HALF), 2000);
    assert_int_equal(retry_wait_ms(&policy, 1, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(final_outcomes_end_it),
        cmocka_unit_test(a_retry_counts_and_comes_back),
        cmocka_unit_test(the_last_try_makes_a_dead_letter_and_an_alert),
        cmocka_unit_test(no_retry_is_later_than_the_expiry),
        cmocka_unit_test(too_fast_costs_no_try_for_a_day),
        cmocka_unit_test(refused_credentials_pause_and_hold),
        cmocka_unit_test(the_unknown_is_repeated_where_that_does_no_harm),
        cmocka_unit_test(what_was_not_tried_leaves_no_attempt),
        cmocka_unit_test(each_fact_forbids),
        cmocka_unit_test(nothing_forbids_the_rest),
        cmocka_unit_test(details_are_clean_and_short),
        cmocka_unit_test(waits_double_up_to_the_cap),
        cmocka_unit_test(what_was_asked_for_is_waited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
