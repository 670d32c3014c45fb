/* core: views of bytes, buffers, arenas, errors, clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/arena.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/str.h"
#include <stdlib.h>
#include <string.h>

/* ---- str ---- */

static void equality_looks_at_all_bytes_and_ascii_case_only(void **state)
{
    (void)state;
    assert_true(str_equal(STR("abc"), STR("abc")));
    assert_false(str_equal(STR("abc"), STR("abd")));
    assert_false(str_equal(STR("abc"), STR("ab")));
    assert_true(str_equal(STR_NONE, STR("")));
    assert_true(str_equal_nocase(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_equal_nocase(STR("[bc"), STR("{bc"))); /* differ in the bit that tells case */
    assert_true(str_is(STR("x"), "x"));
    assert_true(str_starts(STR("Bearer x"), "Bearer "));
    assert_false(str_starts(STR("Bea"), "Bearer "));
}

static void absent_is_not_empty(void **state)
{
    (void)state;
    assert_false(str_is_set(STR_NONE));
    assert_false(str_is_set(str_from(NULL)));
    assert_true(str_is_set(STR("")));
}

static void cut_walks_over_fields(void **state)
{
    (void)state;
    struct str rest = STR("a,,b");
    assert_true(str_is(str_cut(rest, ',', &rest), "a"));
    assert_true(str_is(str_cut(rest, ',', &rest), ""));
    assert_true(str_is_set(rest));
    assert_true(str_is(str_cut(rest, ',', &rest), "b"));
    assert_false(str_is_set(rest));
    rest = STR("a,");
    str_cut(rest, ',', &rest);
    assert_true(str_is_set(rest) && rest.bytes == 0);
}

static void trim_takes_blanks_at_both_ends(void **state)
{
    (void)state;
    assert_true(str_is(str_trim(STR(" \t a b \t")), "a b"));
    assert_true(str_is(str_trim(STR(" \t ")), ""));
}

static void numbers_are_digits_within_limits(void **state)
{
    (void)state;
    long long n = -1;
    assert_true(str_to_int(STR("0042"), 0, 100, &n) && n == 42);
    assert_true(str_to_int(STR("9223372036854775807"), 0, INT64_MAX, &n) && n == INT64_MAX);
    const char *const wrong[] = {"",
                                 "+1",
                                 "-1",
                                 " 1",
                                 "1 ",
                                 "1.0",
                                 "0x1",
                                 "101",
                                 "9223372036854775808",
                                 "1e1",
                                 "99999999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(str_to_int(str_from(wrong[i]), 0, 100, &n));
    assert_false(str_to_int(STR("9223372036854775808"), 0, INT64_MAX, &n));
}

static void utf8_follows_rfc_3629(void **state)
{
    (void)state;
    const char *const good[] = {"",
                                "abc",
                                "\x7f",
                                "\xc2\x80",
                                "\xdf\xbf",
                                "\xe0\xa0\x80",
                                "\xed\x9f\xbf",
                                "\xee\x80\x80",
                                "\xf0\x90\x80\x80",
                                "\xf4\x8f\xbf\xbf",
                                "안녕"};
    const char *const bad[] = {"\x80",         "\xc0\x80",         "\xc1\xbf",         "\xc2",
                               "\xe0\x9f\xbf", "\xed\xa0\x80",     "\xed\xbf\xbf",     "\xe2\x82",
                               "\xe2(\xa1",    "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                               "\xff",         "a\xf0\x90\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(str_is_utf8(str_from(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_is_utf8(str_from(bad[i])));
    assert_false(str_is_utf8((struct str){"a\0b", 3}));
    assert_int_equal(str_utf8_length(STR("a안é😀")), 4);
}

static void utf8_is_cut_between_characters(void **state)
{
    (void)state;
    assert_true(str_is(str_utf8_cut(STR("안녕"), 5), "안"));
    assert_true(str_is(str_utf8_cut(STR("안녕"), 6), "안녕"));
    assert_true(str_is(str_utf8_cut(STR("안녕"), 2), ""));
    assert_true(str_is(str_utf8_whole(STR("a안")), "a안"));
    assert_true(str_is(str_utf8_whole((struct str){"a안", 3}), "a"));
    assert_true(str_is(str_utf8_whole((struct str){"안", 2}), ""));
    assert_true(str_is(str_utf8_whole(STR("")), ""));
}

/* ---- buf ---- */

static void buffer_grows_to_its_maximum_and_then_fails_for_good(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1000);
    for (int i = 0; i < 1000; i++)
        buf_add_char(&b, 'x');
    assert_true(buf_ok(&b));
    assert_int_equal(strlen(buf_cstr(&b)), 1000);
    buf_add_char(&b, 'y');
    assert_false(buf_ok(&b));
    assert_null(buf_cstr(&b));
    buf_clear(&b);
    buf_add_text(&b, "again");
    assert_true(buf_ok(&b) && str_is(buf_str(&b), "again"));
    buf_free(&b);
    assert_int_equal(b.bytes_max, 1000);
}

static void buffer_keeps_what_it_had_when_an_append_does_not_fit(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(5);
    buf_add_text(&b, "abc");
    buf_add_text(&b, "def");
    buf_add_text(&b, "g");
    assert_true(str_is(buf_str(&b), "abc"));
    assert_false(buf_ok(&b));
    buf_free(&b);
}

static void buffer_formats_short_and_long(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(10000);
    buf_printf(&b, "%d-%s", 7, "x");
    assert_true(str_is(buf_str(&b), "7-x"));
    buf_clear(&b);
    buf_printf(&b, "%0500d|", 1);
    assert_int_equal(b.bytes, 501);
    assert_string_equal(buf_cstr(&b) + 499, "1|");
    buf_clear(&b);
    buf_add_int(&b, INT64_MIN);
    buf_add_char(&b, ' ');
    buf_add_int(&b, 0);
    assert_string_equal(buf_cstr(&b), "-9223372036854775808 0");
    buf_free(&b);
}

static void empty_buffer_is_an_empty_string(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(0);
    assert_string_equal(buf_cstr(&b), "");
    assert_true(str_is_set(buf_str(&b)));
    buf_add(&b, NULL, 0);
    assert_true(buf_ok(&b));
    buf_free(&b);
}

/* ---- arena ---- */

static void arena_memory_is_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    struct arena *a = arena_create(1 << 20);
    unsigned char *last = NULL;
    for (size_t bytes = 0; bytes < 300; bytes++) {
        unsigned char *p = arena_alloc(a, bytes);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % sizeof(max_align_t) % 16, 0);
        assert_ptr_not_equal(p, last);
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xee, bytes);
        last = p;
    }
    arena_reset(a);
    unsigned char *again = arena_alloc(a, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(again[i], 0);
    arena_destroy(a);
}

static void arena_gives_back_all_but_a_small_block_on_reset(void **state)
{
    (void)state;
    struct arena *a = arena_create(64 << 20);
    assert_non_null(arena_alloc(a, 10));
    size_t idle = arena_bytes(a);
    assert_true(idle <= 8192);
    for (int i = 0; i < 1000; i++)
        assert_non_null(arena_alloc(a, 1000));
    assert_non_null(arena_alloc(a, 5 << 20));
    assert_true(arena_bytes(a) > 5 << 20);
    arena_reset(a);
    assert_int_equal(arena_bytes(a), idle);
    assert_non_null(arena_alloc(a, 3 << 20)); /* with nothing small before it */
    arena_reset(a);
    assert_true(arena_bytes(a) <= idle);
    arena_destroy(a);
}

static void arena_refuses_beyond_its_maximum_and_says_so_until_reset(void **state)
{
    (void)state;
    struct arena *a = arena_create(100000);
    assert_false(arena_failed(a));
    assert_null(arena_alloc(a, 100001));
    assert_true(arena_failed(a));
    assert_non_null(arena_alloc(a, 50000)); /* what fits still does */
    assert_true(arena_failed(a));
    arena_reset(a);
    assert_false(arena_failed(a));
    assert_null(arena_array(a, SIZE_MAX / 2, 3));
    assert_null(arena_alloc(a, SIZE_MAX));
    arena_reset(a);
    size_t total = 0;
    while (arena_alloc(a, 500) != NULL)
        total += 500;
    assert_true(total > 90000 && arena_bytes(a) <= 100000); /* little of the maximum is lost */
    arena_destroy(a);
    arena_destroy(NULL);
}

static void arena_keeps_one_block_even_if_another_looks_like_it(void **state)
{
    (void)state;
    int placed = 0;
    struct arena *a = arena_create(2 * 8192); /* too small for a second block of twice the size */
    for (size_t bytes = 8192; bytes > 8000; bytes -= 16) {
        assert_non_null(arena_alloc(a, 10));
        placed += arena_alloc(a, bytes) != NULL;
        arena_reset(a);
        assert_true(arena_bytes(a) <= 8192);
    }
    assert_true(placed > 0);
    arena_destroy(a);
}

static char released[8];

static void release(void *object)
{
    strncat(released, object, 1);
}

static void deferred_releases_run_last_first_and_once(void **state)
{
    (void)state;
    struct arena *a = arena_create(100000);
    released[0] = '\0';
    assert_true(arena_defer(a, release, arena_strdup(a, STR("1"))));
    assert_true(arena_defer(a, release, arena_strdup(a, STR("2"))));
    arena_reset(a);
    assert_string_equal(released, "21");
    assert_true(arena_defer(a, release, arena_strdup(a, STR("3"))));
    arena_destroy(a);
    assert_string_equal(released, "213");
}

static void what_cannot_be_deferred_is_released_at_once(void **state)
{
    (void)state;
    struct arena *a = arena_create(8);
    released[0] = '\0';
    char object[] = "x";
    assert_false(arena_defer(a, release, object));
    assert_string_equal(released, "x");
    arena_destroy(a);
    assert_string_equal(released, "x");
}

static void arena_copies_strings(void **state)
{
    (void)state;
    struct arena *a = arena_create(100000);
    assert_string_equal(arena_strdup(a, (struct str){"abcdef", 3}), "abc");
    assert_string_equal(arena_strdup(a, STR_NONE), "");
    assert_true(str_is(arena_str(a, STR("view")), "view"));
    assert_false(str_is_set(arena_str(a, STR_NONE)));
    assert_true(str_is_set(arena_str(a, STR(""))));
    assert_string_equal(arena_printf(a, "%s/%d", "x", 5), "x/5");
    arena_destroy(a);
}

/* ---- error, clock ---- */

static void error_text_is_cut_at_a_character(void **state)
{
    (void)state;
    struct error e = {.sqlstate = "12345"};
    char text[1000] = "";
    for (int i = 0; i < 300; i++)
        strcat(text, "안");
    assert_int_equal(error_set(&e, RESULT_BUSY, "%s", text), RESULT_BUSY);
    assert_int_equal(e.code, RESULT_BUSY);
    assert_string_equal(e.sqlstate, "");
    assert_int_equal(strlen(e.text), 318);
    assert_true(str_is_utf8(str_from(e.text)));
    assert_int_equal(error_set(NULL, RESULT_FAILED, "x"), RESULT_FAILED);
    assert_string_equal(result_name(RESULT_CONFLICT), "conflict");
}

static void jitter_stays_below_and_reaches_everything(void **state)
{
    (void)state;
    int seen[5] = {0};
    for (int i = 0; i < 1000; i++) {
        uint32_t n = clock_jitter(5);
        assert_true(n < 5);
        seen[n]++;
    }
    for (int i = 0; i < 5; i++)
        assert_true(seen[i] > 0);
    assert_int_equal(clock_jitter(1), 0);
    assert_true(clock_now_us() > INT64_C(1700000000000000));
    assert_true(clock_mono_ms() >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_looks_at_all_bytes_and_ascii_case_only),
        cmocka_unit_test(absent_is_not_empty),
        cmocka_unit_test(cut_walks_over_fields),
        cmocka_unit_test(trim_takes_blanks_at_both_ends),
        cmocka_unit_test(numbers_are_digits_within_limits),
        cmocka_unit_test(utf8_follows_rfc_3629),
        cmocka_unit_test(utf8_is_cut_between_characters),
        cmocka_unit_test(buffer_grows_to_its_maximum_and_then_fails_for_good),
        cmocka_unit_test(buffer_keeps_what_it_had_when_an_append_does_not_fit),
        cmocka_unit_test(buffer_formats_short_and_long),
        cmocka_unit_test(empty_buffer_is_an_empty_string),
        cmocka_unit_test(arena_memory_is_zeroed_aligned_and_apart),
        cmocka_unit_test(arena_gives_back_all_but_a_small_block_on_reset),
        cmocka_unit_test(arena_keeps_one_block_even_if_another_looks_like_it),
        cmocka_unit_test(arena_refuses_beyond_its_maximum_and_says_so_until_reset),
        cmocka_unit_test(deferred_releases_run_last_first_and_once),
        cmocka_unit_test(what_cannot_be_deferred_is_released_at_once),
        cmocka_unit_test(arena_copies_strings),
        cmocka_unit_test(error_text_is_cut_at_a_character),
        cmocka_unit_test(jitter_stays_below_and_reaches_everything),
    };
    return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
