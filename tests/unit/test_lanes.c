/* Which lanes a claim asks: turns of tenants, shares of priorities, marks and sweeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/lanes.h"

static struct lane_ask asks[LANE_ASKS_MAX];

static int plenty(void *context, int tenant)
{
    (void)context;
    (void)tenant;
    return 10000;
}

static int none_for_the_first(void *context, int tenant)
{
    (void)context;
    return tenant == 1 ? 0 : 10000;
}

static int plan(struct lanes *lanes, int budget, int64_t now_ms)
{
    return lanes_plan(lanes, budget, now_ms, plenty, NULL, asks);
}

static int asked_of(int count, int tenant)
{
    int sum = 0;
    for (int i = 0; i < count; i++)
        sum += asks[i].tenant == tenant ? asks[i].take : 0;
    return sum;
}

/* Answers all asks: a lane of the tenant and priority has plenty, the others nothing. */
static void answer(struct lanes *lanes, int count, int tenant, int priority, int64_t top, int64_t now_ms)
{
    for (int i = 0; i < count; i++) {
        bool full = asks[i].tenant == tenant && asks[i].priority == priority;
        lanes_answer(lanes, &asks[i], full ? asks[i].take : 0, top, now_ms);
    }
}

static void nothing_is_asked_without_a_wake(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    assert_int_equal(plan(lanes, 100, 1000), 0);
    lanes_wake(lanes, STR("email"), 1, 1000);
    int count = plan(lanes, 100, 1000);
    assert_int_equal(count, LANE_PRIORITIES);
    answer(lanes, count, 0, 0, 0, 1000);
    assert_int_equal(plan(lanes, 100, 1001), 0);
    lanes_destroy(lanes);
}

static void only_its_channels(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("email,push");
    lanes_wake(lanes, STR("webhook"), 1, 1000);
    lanes_wake(lanes, STR("mail"), 1, 1000);
    assert_int_equal(plan(lanes, 100, 1000), 0);
    lanes_wake(lanes, STR("push"), 1, 1000);
    assert_int_equal(plan(lanes, 100, 1000), LANE_PRIORITIES);
    assert_true(str_is(asks[0].channel, "push"));
    lanes_destroy(lanes);
}

/* One with a million and one with ten get equal shares of the next claim. */
static void tenants_share_alike(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    lanes_wake(lanes, STR("email"), 1, 1000);
    int count = plan(lanes, 200, 1000);
    answer(lanes, count, 1, 2, 500, 1000);
    lanes_wake(lanes, STR("email"), 2, 1001);
    count = plan(lanes, 200, 1001);
    assert_int_equal(asked_of(count, 1), 100);
    assert_in_range(asked_of(count, 2), 90, 100);
    lanes_destroy(lanes);
}

static void with_more_tenants_than_one_claim_can_ask_all_have_their_turn(void **state)
{
    (void)state;
    enum { TENANTS = 50 };
    bool asked[TENANTS + 1] = {false};
    struct lanes *lanes = lanes_create("");
    for (int tenant = 1; tenant <= TENANTS; tenant++)
        lanes_wake(lanes, STR("email"), tenant, 1000);
    for (int round = 0; round < 4; round++) {
        int count = plan(lanes, 100, 1000 + round);
        assert_in_range(count, 1, LANE_ASKS_MAX);
        for (int i = 0; i < count; i++)
            asked[asks[i].tenant] = true;
    }
    for (int tenant = 1; tenant <= TENANTS; tenant++)
        assert_true(asked[tenant]);
    lanes_destroy(lanes);
}

static void a_tenant_without_room_is_left_out(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    lanes_wake(lanes, STR("email"), 1, 1000);
    lanes_wake(lanes, STR("email"), 2, 1000);
    int count = lanes_plan(lanes, 100, 1000, none_for_the_first, NULL, asks);
    assert_int_equal(asked_of(count, 1), 0);
    assert_true(asked_of(count, 2) > 0);
    lanes_destroy(lanes);
}

static void urgent_counts_most_and_low_is_never_forgotten(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    lanes_wake(lanes, STR("email"), 1, 1000);
    int count = plan(lanes, 150, 1000);
    assert_int_equal(count, 4);
    for (int i = 1; i < 4; i++)
        assert_true(asks[i].take < asks[i - 1].take);
    assert_true(asks[3].priority == 3 && asks[3].take >= 1);
    lanes_wake(lanes, STR("email"), 1, 1000);
    count = plan(lanes, 1, 1001);
    assert_true(count == 4 && asks[3].take == 1);
    lanes_destroy(lanes);
}

static void one_that_alone_has_something_gets_everything(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    lanes_wake(lanes, STR("email"), 1, 1000);
    int count = plan(lanes, 100, 1000);
    answer(lanes, count, 1, 3, 77, 1000);
    count = plan(lanes, 100, 1001);
    assert_int_equal(count, 1);
    assert_int_equal(asks[0].take, 100);
    assert_int_equal(asks[0].after_seq, 77);
    lanes_destroy(lanes);
}

/* Drains a lane for a while; what a sweep begins at is old enough, and not much older. */
static void sweeps_begin_at_an_old_mark(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    int sweeps = 0;
    int64_t swept_ms = 0;
    lanes_wake(lanes, STR("email"), 1, 0);
    for (int64_t now_ms = 100000; now_ms < 200000; now_ms += 100) { /* the seq is the time */
        int count = plan(lanes, 100, now_ms);
        for (int i = 0; i < count; i++)
            if (asks[i].sweep && asks[i].priority == 0) {
                assert_true(swept_ms == 0 || now_ms - swept_ms >= LANE_SWEEP_MS);
                assert_true(asks[i].after_seq <= now_ms - LANE_SAFE_MS);
                if (now_ms > 100000 + 2 * LANE_SAFE_MS + LANE_SWEEP_MS)
                    assert_true(asks[i].after_seq >= now_ms - 2 * LANE_SAFE_MS - LANE_SWEEP_MS);
                swept_ms = now_ms;
                sweeps++;
            }
        answer(lanes, count, 1, 0, now_ms, now_ms);
    }
    assert_true(sweeps > 10);
    lanes_destroy(lanes);
}

/* The one ask of priority 0. */
static const struct lane_ask *first_ask(struct lanes *lanes, int64_t now_ms)
{
    int count = plan(lanes, 150, now_ms);
    for (int i = 0; i < count; i++)
        if (asks[i].priority == 0)
            return &asks[i];
    return NULL;
}

/* Transactions commit out of the order of their numbers: what came a moment late is found by the next claim.
 */
static void after_a_drained_claim_the_next_goes_back_a_moment(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    int64_t now_ms = 1000; /* the seq is the time; no sweep yet */
    for (; now_ms < 1000 + LANE_SWEEP_MS - 1000; now_ms += 20) {
        lanes_wake(lanes, STR("email"), 1, now_ms);
        const struct lane_ask *ask = first_ask(lanes, now_ms);
        assert_true(ask != NULL && !ask->sweep);
        if (now_ms > 1000 + 4 * LANE_NEAR_MS)
            assert_in_range(ask->after_seq, now_ms - 3 * LANE_NEAR_MS, now_ms - LANE_NEAR_MS);
        lanes_answer(lanes, ask, 1, now_ms, now_ms);
    }
    lanes_wake(lanes, STR("email"), 1, now_ms);
    const struct lane_ask *ask = first_ask(lanes, now_ms);
    lanes_answer(lanes, ask, ask->take, now_ms, now_ms);
    assert_int_equal(first_ask(lanes, now_ms + 1)->after_seq, now_ms); /* there is more ahead: not back */
    lanes_destroy(lanes);
}

/* What was left behind may be more than one claim takes. */
static void a_sweep_goes_on_until_it_has_caught_up(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    int64_t now_ms = 100000;
    for (; now_ms < 160000; now_ms += 1000) {
        lanes_wake(lanes, STR("email"), 1, now_ms);
        lanes_answer(lanes, first_ask(lanes, now_ms), 1, now_ms, now_ms);
    }
    const struct lane_ask *ask = NULL;
    for (; ask == NULL || !ask->sweep; now_ms += 1000) {
        lanes_wake(lanes, STR("email"), 1, now_ms);
        ask = first_ask(lanes, now_ms);
        if (!ask->sweep)
            lanes_answer(lanes, ask, 0, 0, now_ms);
    }
    int64_t from = ask->after_seq;
    for (int page = 0; page < 3; page++) {
        assert_true(ask->sweep);
        assert_int_equal(ask->after_seq, from + page);
        lanes_answer(lanes, ask, ask->take, from + page + 1, now_ms);
        ask = first_ask(lanes, now_ms);
        assert_non_null(ask);
    }
    lanes_answer(lanes, ask, 0, 0, now_ms);
    assert_null(first_ask(lanes, now_ms));
    lanes_destroy(lanes);
}

/* The counters say that there is something, and nothing is found behind the mark. */
static void empty_sweeps_lead_back_to_the_start(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    int64_t now_ms = 100000;
    lanes_wake(lanes, STR("email"), 1, now_ms);
    for (; now_ms < 160000; now_ms += 1000) {
        int count = plan(lanes, 100, now_ms);
        answer(lanes, count, 1, 0, now_ms, now_ms);
    }
    bool from_start = false;
    for (; now_ms < 200000; now_ms += 1000) {
        lanes_wake(lanes, STR("email"), 1, now_ms);
        int count = plan(lanes, 100, now_ms);
        for (int i = 0; i < count; i++)
            from_start = from_start || (asks[i].priority == 0 && asks[i].after_seq == 0);
        answer(lanes, count, 0, 0, 0, now_ms);
    }
    assert_true(from_start);
    lanes_destroy(lanes);
}

static void lanes_without_anything_are_forgotten(void **state)
{
    (void)state;
    struct lanes *lanes = lanes_create("");
    for (int tenant = 1; tenant <= 3; tenant++)
        lanes_wake(lanes, STR("email"), tenant, 1000);
    int count = plan(lanes, 100, 1000);
    answer(lanes, count, 0, 0, 0, 1000);
    assert_int_equal(plan(lanes, 100, 1000 + 2 * LANE_FORGET_MS), 0);
    lanes_wake(lanes, STR("email"), 2, 1001 + 2 * LANE_FORGET_MS);
    count = plan(lanes, 100, 1001 + 2 * LANE_FORGET_MS);
    assert_int_equal(count, LANE_PRIORITIES);
    assert_int_equal(asks[0].tenant, 2);
    lanes_destroy(lanes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_asked_without_a_wake),
        cmocka_unit_test(only_its_channels),
        cmocka_unit_test(tenants_share_alike),
        cmocka_unit_test(with_more_tenants_than_one_claim_can_ask_all_have_their_turn),
        cmocka_unit_test(a_tenant_without_room_is_left_out),
        cmocka_unit_test(urgent_counts_most_and_low_is_never_forgotten),
        cmocka_unit_test(one_that_alone_has_something_gets_everything),
        cmocka_unit_test(sweeps_begin_at_an_old_mark),
        cmocka_unit_test(after_a_drained_claim_the_next_goes_back_a_moment),
        cmocka_unit_test(a_sweep_goes_on_until_it_has_caught_up),
        cmocka_unit_test(empty_sweeps_lead_back_to_the_start),
        cmocka_unit_test(lanes_without_anything_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
