/* Cursors: that they read back, that each has one spelling, that damage is noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/cursor.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cursor two_feeds(void)
{
    return (struct cursor){
        .issued_s = 1795168800,
        .count = 2,
        .places = {{STR("inbox"), UINT64_MAX, 0}, {STR("room:a.b~c@d|e-1"), 1, INT64_MAX}}};
}

static void a_cursor_reads_back(void **state)
{
    (void)state;
    struct cursor in = two_feeds(), out;
    struct buf b = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    cursor_write(&b, &in);
    assert_true(buf_ok(&b));
    assert_true(cursor_parse(buf_str(&b), &out));
    assert_int_equal(out.issued_s, in.issued_s);
    assert_int_equal(out.count, 2);
    const struct cursor_place *inbox = cursor_find(&out, STR("inbox"));
    assert_true(inbox->epoch == UINT64_MAX && inbox->rev == 0);
    const struct cursor_place *room = cursor_find(&out, STR("room:a.b~c@d|e-1"));
    assert_true(room->epoch == 1 && room->rev == INT64_MAX);
    assert_null(cursor_find(&out, STR("room:a")));
    buf_free(&b);
}

static void damage_is_noticed(void **state)
{
    (void)state;
    struct cursor in = two_feeds(), out;
    struct buf b = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    cursor_write(&b, &in);
    for (size_t bytes = 0; bytes < b.bytes; bytes++)
        assert_false(cursor_parse((struct str){b.data, bytes}, &out));
    buf_add_text(&b, "AAAA");
    assert_false(cursor_parse(buf_str(&b), &out));
    assert_false(cursor_parse(STR("not a cursor!"), &out));
    assert_false(cursor_parse(STR("AgAA"), &out)); /* another layout */
    assert_true(cursor_parse(STR("AQAA"), &out) && out.count == 0);
    assert_false(cursor_parse(STR("AYAAAA"), &out)); /* the same, with a number in two bytes */
    buf_free(&b);
}

static void one_feed_is_named_once(void **state)
{
    (void)state;
    struct cursor in = two_feeds(), out;
    in.places[1].feed = STR("inbox");
    struct buf b = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    cursor_write(&b, &in);
    assert_false(cursor_parse(buf_str(&b), &out));
    buf_free(&b);
}

static void the_largest_cursor_fits_its_bound(void **state)
{
    (void)state;
    static char names[CURSOR_FEEDS_MAX][65];
    struct cursor in = {.issued_s = INT64_MAX, .count = CURSOR_FEEDS_MAX}, out;
    for (int i = 0; i < CURSOR_FEEDS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "%064d", i);
        in.places[i] = (struct cursor_place){str_from(names[i]), UINT64_MAX, INT64_MAX};
    }
    struct buf b = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    cursor_write(&b, &in);
    assert_true(buf_ok(&b));
    assert_true(cursor_parse(buf_str(&b), &out));
    assert_int_equal(out.count, CURSOR_FEEDS_MAX);
    buf_free(&b);
}

static void what_no_cursor_can_hold_fails_the_buffer(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    struct cursor in = two_feeds();
    in.places[0].rev = -1;
    cursor_write(&b, &in);
    assert_false(buf_ok(&b));
    buf_clear(&b);
    in = two_feeds();
    in.places[0].feed = STR("");
    cursor_write(&b, &in);
    assert_false(buf_ok(&b));
    buf_free(&b);
}

static void page_cursors_are_of_one_kind(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(100);
    int64_t number = 0;
    cursor_write_page(&b, 'd', -5);
    assert_true(cursor_parse_page(buf_str(&b), 'd', &number) && number == -5);
    assert_false(cursor_parse_page(buf_str(&b), 'n', &number));
    assert_false(cursor_parse_page(STR(""), 'd', &number));
    buf_clear(&b);
    struct uuid in = uuid_new(), out;
    cursor_write_page_uuid(&b, 'n', &in);
    assert_true(cursor_parse_page_uuid(buf_str(&b), 'n', &out));
    assert_memory_equal(in.bytes, out.bytes, sizeof in.bytes);
    assert_false(cursor_parse_page_uuid(buf_str(&b), 'd', &out));
    assert_false(cursor_parse_page(buf_str(&b), 'n', &number));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_reads_back),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(one_feed_is_named_once),
        cmocka_unit_test(the_largest_cursor_fits_its_bound),
        cmocka_unit_test(what_no_cursor_can_hold_fails_the_buffer),
        cmocka_unit_test(page_cursors_are_of_one_kind),
    };
    return cmocka_run_group_tests_name("cursor", tests, NULL, NULL);
}
