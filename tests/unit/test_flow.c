/* Shares of transfers: between tenants, and of endpoints by their speed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/flow.h"
#include <stdlib.h>

enum { IN_FLIGHT = 64, JOBS = 512 };

struct flow_fixture {
    struct flows flows;
    struct job jobs[JOBS];
    int used;
};

static int setup(void **state)
{
    struct flow_fixture *f = calloc(1, sizeof *f);
    if (!f)
        return -1;
    flows_init(&f->flows, IN_FLIGHT);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct flow_fixture *f = *state;
    flows_free(&f->flows);
    free(f);
    return 0;
}

static struct job *add(struct flow_fixture *f, int tenant, int64_t now_ms)
{
    struct job *job = &f->jobs[f->used++];
    job->delivery.tenant = tenant;
    job->claimed_ms = now_ms;
    assert_true(flow_add(&f->flows, job, now_ms));
    return job;
}

static struct endpoint *endpoint(struct flow_fixture *f, const char *url, int64_t now_ms)
{
    struct endpoint *found = endpoint_of(&f->flows, 1, str_from(url), 0, now_ms);
    assert_non_null(found);
    return found;
}

static struct job *fly(struct flow_fixture *f, struct endpoint *to, int64_t now_ms)
{
    struct job *job = add(f, 1, now_ms);
    job = flow_take(&f->flows, job);
    job->endpoint = to;
    flow_started(&f->flows, job, now_ms);
    return job;
}

static void tenants_take_turns(void **state)
{
    struct flow_fixture *f = *state;
    for (int i = 0; i < 6; i++)
        add(f, 1, 0);
    add(f, 2, 0);
    add(f, 3, 0);
    bool seen[4] = {false};
    for (int i = 0; i < 3; i++)
        seen[flow_next(&f->flows)->delivery.tenant] = true;
    assert_true(seen[1] && seen[2] && seen[3]);
}

static void no_tenant_takes_the_whole_pool(void **state)
{
    struct flow_fixture *f = *state;
    struct job *job;
    int started = 0;
    for (int i = 0; i < 2 * IN_FLIGHT; i++)
        add(f, 1, 0);
    while ((job = flow_next(&f->flows))) {
        flow_started(&f->flows, job, 0);
        started++;
    }
    assert_int_equal(started, IN_FLIGHT * 3 / 4);
    add(f, 2, 0);
    job = flow_next(&f->flows);
    assert_non_null(job);
    assert_int_equal(job->delivery.tenant, 2);
}

static void room_is_what_may_still_wait(void **state)
{
    struct flow_fixture *f = *state;
    assert_int_equal(flow_room(&f->flows, 1, 10), 10);
    for (int i = 0; i < 4; i++)
        add(f, 1, 0);
    assert_int_equal(flow_room(&f->flows, 1, 10), 6);
    assert_int_equal(flow_room(&f->flows, 2, 10), 10);
}

static void those_that_waited_too_long_are_found(void **state)
{
    struct flow_fixture *f = *state;
    const struct job *first = add(f, 1, 100), *second = add(f, 2, 50);
    assert_null(flow_oldest(&f->flows, 49));
    assert_ptr_equal(flow_oldest(&f->flows, 99), second);
    assert_null(flow_oldest(&f->flows, 99));
    assert_ptr_equal(flow_oldest(&f->flows, 100), first);
    assert_null(f->flows.turn);
}

static void endpoints_are_origins_of_a_tenant(void **state)
{
    struct flow_fixture *f = *state;
    const struct endpoint *one = endpoint(f, "https://a.example.com/1", 0);
    assert_ptr_equal(endpoint(f, "https://a.example.com/2?x", 0), one);
    assert_ptr_not_equal(endpoint(f, "http://a.example.com/1", 0), one);
    assert_ptr_not_equal(endpoint(f, "https://a.example.com:8443/1", 0), one);
    assert_ptr_not_equal(endpoint_of(&f->flows, 2, STR("https://a.example.com/1"), 0, 0), one);
    assert_non_null(endpoint(f, "mail.example.com", 0)); /* a mail server has a host alone */
}

static int share(struct flow_fixture *f, struct endpoint *e, int64_t now_ms)
{
    int count = 0;
    while (endpoint_has_room(&f->flows, e, now_ms)) {
        fly(f, e, now_ms);
        count++;
    }
    return count;
}

static void a_fast_endpoint_gets_much_and_a_slow_one_little(void **state)
{
    struct flow_fixture *f = *state;
    struct endpoint *fast = endpoint(f, "https://fast.example.com/", 0),
                    *slow = endpoint(f, "https://slow.example.com/", 0);
    flow_ended(&f->flows, fly(f, fast, 0), 5, 0);
    flow_ended(&f->flows, fly(f, slow, 0), 10000, 0);
    assert_int_equal(share(f, fast, 10000), IN_FLIGHT * 3 / 4);
    assert_int_equal(share(f, slow, 10000), ENDPOINT_LEAST);
}

/* One that answers no more gives no answer times: the age of its oldest transfer speaks. */
static void a_hanging_endpoint_loses_its_share(void **state)
{
    struct flow_fixture *f = *state;
    struct endpoint *e = endpoint(f, "https://hangs.example.com/", 0);
    flow_ended(&f->flows, fly(f, e, 0), 5, 0);
    for (int i = 0; i < 8; i++)
        fly(f, e, 100);
    assert_true(endpoint_has_room(&f->flows, e, 150));
    assert_false(endpoint_has_room(&f->flows, e, 100 + 20000));
}

static void a_provider_bounds_its_endpoints(void **state)
{
    struct flow_fixture *f = *state;
    struct endpoint *e = endpoint_of(&f->flows, 1, STR("mail.example.com"), 3, 0);
    assert_int_equal(share(f, e, 0), 3);
}

static void a_rest_lets_nothing_begin(void **state)
{
    struct flow_fixture *f = *state;
    struct endpoint *e = endpoint(f, "https://a.example.com/", 0);
    flow_ended(&f->flows, fly(f, e, 0), 10, 5000);
    assert_false(endpoint_has_room(&f->flows, e, 5009));
    assert_true(endpoint_has_room(&f->flows, e, 5010));
    assert_true(endpoint_put_off(&f->flows, e, 10) >= 5000);
}

static void parked_jobs_start_when_a_transfer_ends(void **state)
{
    struct flow_fixture *f = *state;
    struct endpoint *e = endpoint_of(&f->flows, 1, STR("https://a.example.com/"), 1, 0);
    struct job *flying = fly(f, e, 0), *parked = flow_take(&f->flows, add(f, 1, 0));
    parked->endpoint = e;
    assert_true(endpoint_park(&f->flows, parked));
    assert_null(endpoint_next(&f->flows, e, 0));
    flow_ended(&f->flows, flying, 1, 0);
    assert_ptr_equal(flow_freed(&f->flows), e);
    assert_ptr_equal(endpoint_next(&f->flows, e, 1), parked);
    assert_int_equal(f->flows.parked_count, 0);
}

/* Those that do not fit come back one after the other, as fast as the endpoint is. */
static void what_is_put_off_is_spread(void **state)
{
    struct flow_fixture *f = *state;
    struct endpoint *e = endpoint(f, "https://slow.example.com/", 0);
    flow_ended(&f->flows, fly(f, e, 0), 4000, 0); /* four seconds each, a few at once */
    int64_t first = endpoint_put_off(&f->flows, e, 4000), last = 0;
    for (int i = 0; i < 100; i++) {
        int64_t next = endpoint_put_off(&f->flows, e, 4000);
        assert_true(next >= first && next >= last);
        last = next;
    }
    assert_in_range(last - first, 90 * 1000, 110 * 1000);
}

static void what_is_idle_is_forgotten(void **state)
{
    struct flow_fixture *f = *state;
    struct endpoint *busy = endpoint(f, "https://busy.example.com/", 0);
    endpoint(f, "https://idle.example.com/", 0);
    fly(f, busy, 0);
    flows_tidy(&f->flows, 10 * ENDPOINT_IDLE_MS);
    assert_int_equal(f->flows.endpoints.count, 1);
    assert_int_equal(f->flows.tenants.count, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tenants_take_turns),
        TEST(no_tenant_takes_the_whole_pool),
        TEST(room_is_what_may_still_wait),
        TEST(those_that_waited_too_long_are_found),
        TEST(endpoints_are_origins_of_a_tenant),
        TEST(a_fast_endpoint_gets_much_and_a_slow_one_little),
        TEST(a_hanging_endpoint_loses_its_share),
        TEST(a_provider_bounds_its_endpoints),
        TEST(a_rest_lets_nothing_begin),
        TEST(parked_jobs_start_when_a_transfer_ends),
        TEST(what_is_put_off_is_spread),
        TEST(what_is_idle_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
