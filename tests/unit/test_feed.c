/* What a reader may take from the cache: an unbroken run from its place to the mark, and nothing else. */
#include "domain/feed.h"
#include "domain/feed_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { ARENA_BYTES = 1 << 20 };

static int setup(void **state)
{
    *state = arena_create(ARENA_BYTES);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    arena_destroy(*state);
    return 0;
}

static struct feed_run run_of(void **state, const char *mark, const char *const *members, int count,
                              int64_t from, int64_t least)
{
    struct str views[80];
    for (int i = 0; i < count; i++)
        views[i] = str_from(members[i]);
    return feed_run_make(*state, str_from(mark), views, count, from, least);
}

static void a_place_at_the_mark_needs_no_entries(void **state)
{
    struct feed_run run = run_of(state, "7 3 2 1700000000", NULL, 0, 7, 0);
    assert_true(run.known);
    assert_int_equal(run.top, 7);
    assert_int_equal(run.count, 0);
    assert_int_equal(run.counters.unread, 3);
    assert_int_equal(run.counters.unseen, 2);
}

static void without_a_mark_nothing_is_known(void **state)
{
    const char *const members[] = {"7 8 1 1 {}"};
    assert_false(run_of(state, NULL, members, 1, 7, 0).known);
    assert_false(run_of(state, "", members, 1, 7, 0).known);
    assert_false(run_of(state, "8 x 0 0", members, 1, 7, 0).known);
}

static void an_unbroken_run_is_taken_in_order(void **state)
{
    const char *const members[] = {"7 8 1 1 {\"a\":1}", "8 10 2 2 {\"b\":2}", "10 10 2 2 "};
    struct feed_run run = run_of(state, "10 2 2 0", members, 3, 7, 0);
    assert_true(run.known);
    assert_int_equal(run.top, 10);
    assert_int_equal(run.count, 2);
    assert_true(str_is(run.events[0], "{\"a\":1}"));
    assert_true(str_is(run.events[1], "{\"b\":2}"));
}

static void a_gap_sends_the_reader_to_the_database(void **state)
{
    const char *const members[] = {"7 8 1 1 {}", "9 10 2 2 {}"};
    assert_false(run_of(state, "10 2 2 0", members, 2, 7, 0).known);
    const char *const late[] = {"8 9 1 1 {}"};
    assert_false(run_of(state, "9 1 1 0", late, 1, 7, 0).known);
}

static void a_run_that_ends_below_the_mark_is_not_complete(void **state)
{
    const char *const members[] = {"7 8 1 1 {}"};
    assert_false(run_of(state, "9 2 2 0", members, 1, 7, 0).known);
}

static void a_mark_below_what_a_wake_said_is_stale(void **state)
{
    assert_true(run_of(state, "7 0 0 0", NULL, 0, 7, 7).known);
    assert_false(run_of(state, "7 0 0 0", NULL, 0, 7, 8).known);
}

static void a_place_beyond_the_mark_is_not_believed(void **state)
{
    assert_false(run_of(state, "7 0 0 0", NULL, 0, 9, 0).known);
}

static void an_entry_wider_than_the_gap_still_covers_it(void **state)
{
    const char *const members[] = {"3 8 1 1 {\"a\":1}"};
    struct feed_run run = run_of(state, "8 1 1 0", members, 1, 5, 0);
    assert_true(run.known);
    assert_int_equal(run.count, 1);
}

static void counters_come_from_entries_above_the_mark(void **state)
{
    const char *const members[] = {"7 8 5 4 {}"};
    struct feed_run run = run_of(state, "7 1 1 0", members, 1, 7, 0);
    assert_true(run.known);
    assert_int_equal(run.top, 8);
    assert_int_equal(run.counters.unread, 5);
    assert_int_equal(run.counters.unseen, 4);
}

static void a_long_run_is_given_in_pages(void **state)
{
    char texts[60][32];
    const char *members[60];
    for (int i = 0; i < 60; i++) {
        snprintf(texts[i], sizeof texts[i], "%d %d 1 1 {}", i, i + 1);
        members[i] = texts[i];
    }
    struct feed_run run = run_of(state, "60 1 1 0", members, 60, 0, 0);
    assert_true(run.known);
    assert_true(run.more);
    assert_int_equal(run.count, 50);
    assert_int_equal(run.top, 50);
}

static void a_wake_names_tenant_feed_and_place(void **state)
{
    (void)state;
    struct feed_wake wake;
    assert_true(feed_wake_parse(STR("12 1f 57 inbox:a b"), &wake));
    assert_int_equal(wake.tenant, 12);
    assert_int_equal(wake.place.epoch, 0x1f);
    assert_int_equal(wake.place.rev, 57);
    assert_true(str_is(wake.key, "inbox:a b"));
}

static void a_malformed_wake_is_refused(void **state)
{
    (void)state;
    struct feed_wake wake;
    static const char *const bad[] = {"",        "x",       "1",        "1 2",    "1 2 3",
                                      "0 1 1 k", "1 g 1 k", "1 1 -1 k", "1  1 k", "1 11111111111111111 1 k"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(feed_wake_parse(str_from(bad[i]), &wake));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_place_at_the_mark_needs_no_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_mark_nothing_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unbroken_run_is_taken_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(a_gap_sends_the_reader_to_the_database, setup, teardown),
        cmocka_unit_test_setup_teardown(a_run_that_ends_below_the_mark_is_not_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mark_below_what_a_wake_said_is_stale, setup, teardown),
        cmocka_unit_test_setup_teardown(a_place_beyond_the_mark_is_not_believed, setup, teardown),
        cmocka_unit_test_setup_teardown(an_entry_wider_than_the_gap_still_covers_it, setup, teardown),
        cmocka_unit_test_setup_teardown(counters_come_from_entries_above_the_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_run_is_given_in_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wake_names_tenant_feed_and_place, setup, teardown),
        cmocka_unit_test_setup_teardown(a_malformed_wake_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
