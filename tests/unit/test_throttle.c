/* Rate limits in memory: what a process does by itself, with and without a Redis that answers. */
#include "core/arena.h"
#include "core/clock.h"
#include "domain/throttle.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct throttle *throttle;
    struct arena *arena;
};

static int open_fixture(void **state)
{
    static struct fixture f;
    f = (struct fixture){throttle_create(false), arena_create(1 << 20)};
    *state = &f;
    return f.throttle == NULL || f.arena == NULL;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    throttle_destroy(f->throttle);
    arena_destroy(f->arena);
    return 0;
}

static struct throttle_answer take(struct fixture *f, int tenant, const char *name, int rate)
{
    arena_reset(f->arena);
    return throttle_take(f->throttle, NULL, f->arena, tenant, str_from(name), rate);
}

/* Takes until refused. Returns how many were allowed. */
static int drain(struct fixture *f, const char *name, int rate)
{
    for (int count = 0;; count++)
        if (!take(f, 1, name, rate).allowed)
            return count;
}

static void a_bucket_holds_a_second_and_then_refuses(void **state)
{
    struct fixture *f = *state;
    int64_t began_ms = clock_mono_ms();
    struct throttle_answer first = take(f, 1, "u:a", 20);
    assert_true(first.allowed);
    assert_int_equal(first.quota, 20);
    assert_int_equal(first.remaining, 19);
    int allowed = 1 + drain(f, "u:a", 20);
    int refilled = (int)((clock_mono_ms() - began_ms) * 20 / 1000) + 1;
    assert_in_range(allowed, 20, 20 + refilled);
    struct throttle_answer refused = take(f, 1, "u:a", 20);
    assert_false(refused.allowed);
    assert_int_equal(refused.remaining, 0);
    assert_int_equal(refused.retry_after_s, 1);
}

static void a_bucket_fills_again(void **state)
{
    struct fixture *f = *state;
    drain(f, "u:a", 50);
    int64_t deadline_ms = clock_mono_ms() + 10000;
    while (!take(f, 1, "u:a", 50).allowed && clock_mono_ms() < deadline_ms)
        usleep(1000);
    assert_true(clock_mono_ms() < deadline_ms);
}

static void names_and_tenants_have_buckets_of_their_own(void **state)
{
    struct fixture *f = *state;
    drain(f, "u:a", 5);
    assert_true(take(f, 1, "u:b", 5).allowed);
    assert_true(take(f, 2, "u:a", 5).allowed);
}

static void without_redis_a_process_takes_its_share(void **state)
{
    struct fixture *f = *state;
    throttle_set_share(f->throttle, 10);
    drain(f, "u:a", 100); /* spends a slice, and learns that Redis is away */
    int64_t began_ms = clock_mono_ms();
    int allowed = 0;
    while (clock_mono_ms() - began_ms < 200)
        allowed += take(f, 1, "u:a", 100).allowed;
    int64_t took_ms = clock_mono_ms() - began_ms;
    assert_in_range(allowed, 0, 10 * took_ms / 1000 + 2);
}

static void the_table_is_bounded(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3 * THROTTLE_BUCKETS; i++) {
        char name[32];
        snprintf(name, sizeof name, "u:%d", i);
        assert_true(take(f, 1, name, 1).allowed);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        CASE(a_bucket_holds_a_second_and_then_refuses),
        CASE(a_bucket_fills_again),
        CASE(names_and_tenants_have_buckets_of_their_own),
        CASE(without_redis_a_process_takes_its_share),
        CASE(the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
