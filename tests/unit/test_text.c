/* Encodings of bytes as text, UUIDs, times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "format/text.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void base64_has_rfc_4648_vectors(void **state)
{
    (void)state;
    static const char *const vectors[][3] = {{"", "", ""},
                                             {"f", "Zg==", "Zg"},
                                             {"fo", "Zm8=", "Zm8"},
                                             {"foo", "Zm9v", "Zm9v"},
                                             {"foob", "Zm9vYg==", "Zm9vYg"},
                                             {"\xfb\xff\xfe", "+//+", "-__-"}};
    struct buf b = BUF_INIT(100);
    char out[16];
    size_t bytes;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct str plain = str_from(vectors[i][0]);
        buf_clear(&b);
        text_base64(&b, plain.data, plain.bytes);
        assert_true(str_is(buf_str(&b), vectors[i][1]));
        assert_true(text_from_base64(buf_str(&b), out, sizeof out, &bytes));
        assert_true(str_equal((struct str){out, bytes}, plain));
        buf_clear(&b);
        text_base64url(&b, plain.data, plain.bytes);
        assert_true(str_is(buf_str(&b), vectors[i][2]));
        assert_true(text_from_base64url(buf_str(&b), out, sizeof out, &bytes));
        assert_true(str_equal((struct str){out, bytes}, plain));
    }
    buf_free(&b);
    assert_true(text_from_base64url(STR("Zg=="), out, sizeof out, &bytes) && bytes == 1);
}

static void base64_has_one_spelling(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "Z", "Zh", "Zh==", "Zg=", "Zg===", "Z===", "=", "====", "Zm9v\n", "Zm 9v", "Z.==", "Zg==Zg=="};
    char out[16];
    size_t bytes;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(text_from_base64url(str_from(wrong[i]), out, sizeof out, &bytes));
        assert_false(text_from_base64(str_from(wrong[i]), out, sizeof out, &bytes));
    }
    assert_false(text_from_base64(STR("Zg"), out, sizeof out, &bytes));
    assert_false(text_from_base64(STR("-__-"), out, sizeof out, &bytes));
    assert_false(text_from_base64url(STR("+//+"), out, sizeof out, &bytes));
    assert_false(text_from_base64(STR("Zm9v"), out, 2, &bytes)); /* too long for its place */
}

static void hexadecimal_goes_both_ways(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(100);
    unsigned char out[4];
    size_t bytes;
    text_hex(&b, "\x00\xab\xff", 3);
    assert_true(str_is(buf_str(&b), "00abff"));
    assert_true(text_from_hex(STR("00ABff"), out, sizeof out, &bytes));
    assert_memory_equal(out, "\x00\xab\xff", 3);
    assert_int_equal(bytes, 3);
    assert_false(text_from_hex(STR("0"), out, sizeof out, &bytes));
    assert_false(text_from_hex(STR("0g"), out, sizeof out, &bytes));
    assert_false(text_from_hex(STR("0011223344"), out, sizeof out, &bytes));
    buf_free(&b);
}

static void percent_escapes_go_both_ways(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(100);
    text_percent_encode(&b, STR("a b/안~+"));
    assert_true(str_is(buf_str(&b), "a%20b%2F%EC%95%88~%2B"));
    buf_clear(&b);
    assert_true(text_percent_decode(&b, STR("a+b%2f%00"), true));
    assert_true(str_equal(buf_str(&b), (struct str){"a b/\0", 5}));
    buf_clear(&b);
    assert_true(text_percent_decode(&b, STR("a+b"), false));
    assert_true(str_is(buf_str(&b), "a+b"));
    static const char *const wrong[] = {"%", "%2", "a%2", "%zz", "%2g", "%%41"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(text_percent_decode(&b, str_from(wrong[i]), true));
    buf_free(&b);
}

static void html_has_no_way_out_of_text_or_attribute(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(200);
    text_html(&b, STR("<a href=\"x\" title='y'>안 & b"));
    assert_true(str_is(buf_str(&b), "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;안 &amp; b"));
    buf_free(&b);
}

/* ---- UUIDs ---- */

static void uuids_carry_version_variant_and_time(void **state)
{
    (void)state;
    int64_t before = clock_now_us() / 1000;
    struct uuid id = uuid_new();
    assert_int_equal(id.bytes[6] >> 4, 7);
    assert_int_equal(id.bytes[8] >> 6, 2);
    assert_in_range(uuid_unix_ms(&id), before, clock_now_us() / 1000);
    struct uuid past = uuid_at(INT64_C(1700000000123456));
    assert_int_equal(uuid_unix_ms(&past), INT64_C(1700000000123));
    assert_int_equal(past.bytes[6] >> 4, 7);
    assert_int_equal(past.bytes[8] >> 6, 2);
}

static void uuids_of_a_thread_increase(void **state)
{
    (void)state;
    struct uuid last = uuid_new();
    for (int i = 0; i < 100000; i++) {
        struct uuid id = uuid_new();
        assert_true(memcmp(last.bytes, id.bytes, sizeof id.bytes) < 0);
        last = id;
    }
}

static void *make_uuid(void *out)
{
    *(struct uuid *)out = uuid_at(0);
    return NULL;
}

static void threads_and_children_draw_their_own_randomness(void **state)
{
    (void)state;
    struct uuid here = uuid_at(0), there, child;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, make_uuid, &there), 0);
    pthread_join(thread, NULL);
    assert_memory_not_equal(here.bytes, there.bytes, sizeof here.bytes);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        child = uuid_at(0);
        _exit(write(ends[1], &child, sizeof child) == (ssize_t)sizeof child ? 0 : 1);
    }
    here = uuid_at(0); /* what the child would get from a shared pool */
    assert_int_equal(read(ends[0], &child, sizeof child), sizeof child);
    waitpid(pid, NULL, 0);
    assert_memory_not_equal(here.bytes, child.bytes, sizeof here.bytes);
    close(ends[0]);
    close(ends[1]);
}

static void uuid_text_is_canonical(void **state)
{
    (void)state;
    struct uuid id;
    char out[UUID_TEXT_BYTES + 1];
    assert_true(uuid_parse(STR("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), &id)); /* RFC 9562 appendix A.6 */
    assert_string_equal(uuid_text(&id, out), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    assert_int_equal(uuid_unix_ms(&id), INT64_C(0x017f22e279b0));
    static const char *const wrong[] = {"",
                                        "017f22e279b07cc398c4dc0c0c07398f",
                                        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
                                        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
                                        "017f22e2-79b0-7cc3-98c4_dc0c0c07398f",
                                        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
                                        "0-7f22e2-79b0-7cc3-98c4-dc0c0c07398f"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(uuid_parse(str_from(wrong[i]), &id));
}

/* ---- times ---- */

static void times_are_written_in_milliseconds_utc(void **state)
{
    (void)state;
    char out[TIME_TEXT_BYTES + 1];
    assert_string_equal(time_text(0, out), "1970-01-01T00:00:00.000Z");
    assert_string_equal(time_text(INT64_C(1795168800123999), out), "2026-11-20T10:00:00.123Z");
    assert_string_equal(time_text(INT64_C(951782400000000), out), "2000-02-29T00:00:00.000Z");
    assert_string_equal(time_text(INT64_C(4107542400000000), out), "2100-03-01T00:00:00.000Z");
    assert_string_equal(time_text(INT64_MAX, out), "9999-12-31T23:59:59.999Z");
    assert_string_equal(time_text(-1, out), "1970-01-01T00:00:00.000Z");
}

static void times_are_read_with_any_offset(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t unix_us;
    } cases[] = {
        {"2026-11-20T10:00:00.123Z", INT64_C(1795168800123000)},
        {"2026-11-20t10:00:00z", INT64_C(1795168800000000)},
        {"2026-11-20T19:00:00.1234567890+09:00", INT64_C(1795168800123456)},
        {"2026-11-20T04:30:00-05:30", INT64_C(1795168800000000)},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1969-12-31T23:30:00-01:00", INT64_C(1800000000)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228799000000)},
        {"2017-01-01T08:59:60.5+09:00", INT64_C(1483228799500000)},
        {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t us = -1;
        assert_true(time_parse(str_from(cases[i].text), &us));
        assert_int_equal(us, cases[i].unix_us);
    }
}

static void times_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "2026-11-20",
        "2026-11-20T10:00:00",
        "2026-11-20 10:00:00Z",
        "2026-11-20T10:00Z",
        "2026-11-20T10:00:00.Z",
        "2026-11-20T10:00:00,5Z",
        "2026-11-20T24:00:00Z",
        "2026-11-20T10:60:00Z",
        "2026-11-20T10:00:61Z",
        "2026-11-20T10:00:60Z",
        "2026-13-20T10:00:00Z",
        "2026-00-20T10:00:00Z",
        "2026-02-29T10:00:00Z",
        "2100-02-29T10:00:00Z",
        "2026-04-31T10:00:00Z",
        "2026-04-00T10:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-12-31T23:59:59-00:01",
        "2026-11-20T10:00:00+24:00",
        "2026-11-20T10:00:00+0900",
        "2026-11-20T10:00:00+09",
        "2026-11-20T10:00:00Zx",
        "+026-11-20T10:00:00Z",
    };
    int64_t us;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(time_parse(str_from(wrong[i]), &us));
}

static void every_day_is_read_as_it_is_written(void **state)
{
    (void)state;
    char out[TIME_TEXT_BYTES + 1];
    for (int64_t day = 0; day < 366 * 500; day++) {
        int64_t us = day * INT64_C(86400000000) + 43200000000, again = -1;
        assert_true(time_parse(str_from(time_text(us, out)), &again));
        assert_int_equal(us, again);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_has_rfc_4648_vectors),
        cmocka_unit_test(base64_has_one_spelling),
        cmocka_unit_test(hexadecimal_goes_both_ways),
        cmocka_unit_test(percent_escapes_go_both_ways),
        cmocka_unit_test(html_has_no_way_out_of_text_or_attribute),
        cmocka_unit_test(uuids_carry_version_variant_and_time),
        cmocka_unit_test(uuids_of_a_thread_increase),
        cmocka_unit_test(threads_and_children_draw_their_own_randomness),
        cmocka_unit_test(uuid_text_is_canonical),
        cmocka_unit_test(times_are_written_in_milliseconds_utc),
        cmocka_unit_test(times_are_read_with_any_offset),
        cmocka_unit_test(times_that_do_not_exist_are_refused),
        cmocka_unit_test(every_day_is_read_as_it_is_written),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
