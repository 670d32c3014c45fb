/* JSON: what is refused before and by the parser, and that what is written reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/limits.h"
#include "format/json.h"
#include <stdlib.h>
#include <string.h>

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(LIMIT_REQUEST_ARENA_BYTES);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

static void expect_round_trip(const char *in, const char *out)
{
    json_t *tree;
    struct error error;
    struct buf b = BUF_INIT(1 << 20);
    assert_int_equal(json_parse(arena, str_from(in), &tree, &error), RESULT_OK);
    json_write_tree(&b, tree);
    assert_string_equal(buf_cstr(&b), out);
    buf_free(&b);
}

static void expect_refusal(struct str text, const char *place, const char *reason)
{
    json_t *tree;
    struct error error;
    assert_int_equal(json_parse(arena, text, &tree, &error), RESULT_INVALID);
    assert_non_null(strstr(error.text, place));
    assert_non_null(strstr(error.text, reason));
}

static void trees_are_written_compactly_and_in_order(void **state)
{
    (void)state;
    expect_round_trip(
        " { \"z\" : [ 1 , [ ] , { } , null , true , false ] , \"a\" : \"\\u00e9\\/\" , \"\" : -0 } ",
        "{\"z\":[1,[],{},null,true,false],\"a\":\"é/\",\"\":0}");
    expect_round_trip("[9223372036854775807,-9223372036854775808]",
                      "[9223372036854775807,-9223372036854775808]");
    expect_round_trip("[\"[\",\":\",\",\",\"{\",{\"k:\":\"v,\",\"l\":\"\"}]",
                      "[\"[\",\":\",\",\",\"{\",{\"k:\":\"v,\",\"l\":\"\"}]");
}

static void reals_are_short_and_exact(void **state)
{
    (void)state;
    expect_round_trip("[0.1,1.0,-0.0,1e300,0.30000000000000004,5e-324,123456789.125]",
                      "[0.1,1.0,-0.0,1e+300,0.30000000000000004,5e-324,123456789.125]");
}

static void strings_are_escaped_both_ways(void **state)
{
    (void)state;
    expect_round_trip("[\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f\\ud83d\\ude00\"]",
                      "[\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f😀\"]");
}

static void limits_are_checked_before_parsing(void **state)
{
    (void)state;
    char deep[2 * LIMIT_JSON_DEPTH + 3] = "";
    memset(deep, '[', LIMIT_JSON_DEPTH);
    memset(deep + LIMIT_JSON_DEPTH, ']', LIMIT_JSON_DEPTH);
    expect_round_trip(deep, deep);
    memset(deep, '[', LIMIT_JSON_DEPTH + 1);
    expect_refusal(str_from(deep), "column 17", "too deeply nested");
    struct buf many = BUF_INIT(1 << 20);
    buf_add_char(&many, '[');
    for (int i = 0; i < LIMIT_JSON_VALUES; i++)
        buf_add_text(&many, "0,");
    buf_add_text(&many, "0]");
    expect_refusal(buf_str(&many), "line 1", "too many values");
    buf_free(&many);
}

static void brackets_in_strings_do_not_count(void **state)
{
    (void)state;
    expect_round_trip("[\"[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[\",\"\\\\\"]",
                      "[\"[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[\",\"\\\\\"]");
}

static void text_must_be_utf8_without_nul(void **state)
{
    (void)state;
    expect_refusal(STR("[\"\xff\"]"), "column 3", "UTF-8");
    expect_refusal(STR("[\"\xed\xa0\x80\"]"), "column 3", "UTF-8");
    expect_refusal((struct str){"[\"a\0\"]", 6}, "column 4", "NUL");
    expect_refusal((struct str){"[1]\0", 4}, "column 4", "NUL");
    expect_refusal(STR("[\"안\\u0000\"]"), "column 4", "U+0000");
    expect_refusal(STR("{\"\\u0000\":1}"), "column 3", "U+0000");
    expect_refusal(STR("[1]\xef\xbb\xbf"), "column 4", "unexpected");
    expect_round_trip("[\"\\\\u0000\"]", "[\"\\\\u0000\"]"); /* a backslash and letters, no escape */
}

static void grammar_is_strict(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",         "1",     "\"a\"",     "null",          "{",       "[1,]",       "{\"a\":1,}", "{a:1}",
        "['a']",    "[01]",  "[1.]",      "[.5]",          "[+1]",    "[NaN]",      "[1] x",      "[1][2]",
        "[\"\n\"]", "[1 2]", "[\"\\x\"]", "[\"\\ud83d\"]", "{\"a\"}", "[Infinity]", "// c\n[1]",  "[\"a"};
    json_t *tree;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(json_parse(arena, str_from(wrong[i]), &tree, NULL), RESULT_INVALID);
    expect_refusal(STR_NONE, "line", "");
}

static void numbers_beyond_their_range_are_refused(void **state)
{
    (void)state;
    expect_refusal(STR("[9223372036854775808]"), "line 1", "too big");
    expect_refusal(STR("[-9223372036854775809]"), "line 1", "too big negative");
    expect_refusal(STR("[1e999]"), "line 1", "overflow");
}

static void duplicate_keys_are_refused_without_quoting_them(void **state)
{
    (void)state;
    json_t *tree;
    struct error error;
    assert_int_equal(json_parse(arena, STR("{\n \"secret\":1,\n \"secret\":2}"), &tree, &error),
                     RESULT_INVALID);
    assert_non_null(strstr(error.text, "line 3"));
    assert_non_null(strstr(error.text, "duplicate"));
    assert_null(strstr(error.text, "secret"));
    expect_refusal(STR("{\"a\":1,\"\\u0061\":2}"), "line 1",
                   "duplicate"); /* the same key, spelled otherwise */
}

static void writer_places_commas(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(1000);
    buf_add_text(&b, "data: ");
    json_open(&b, '{');
    json_key(&b, "a");
    json_open(&b, '[');
    json_close(&b, ']');
    json_key(&b, "b");
    json_open(&b, '[');
    json_int(&b, -1);
    json_text(&b, STR("x,"));
    json_bool(&b, true);
    json_nil(&b);
    json_raw(&b, STR("{\"r\":1}"));
    json_open(&b, '{');
    json_close(&b, '}');
    json_close(&b, ']');
    json_key(&b, "c");
    json_text_or_null(&b, STR_NONE);
    json_key(&b, "d");
    json_text_or_null(&b, STR(""));
    json_close(&b, '}');
    assert_string_equal(buf_cstr(&b),
                        "data: {\"a\":[],\"b\":[-1,\"x,\",true,null,{\"r\":1},{}],\"c\":null,\"d\":\"\"}");
    buf_free(&b);
}

static void writer_mends_invalid_utf8(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(100);
    json_text(&b, (struct str){"a\xff\xe2\x82z\0", 6});
    assert_string_equal(buf_cstr(&b), "\"a\uFFFD\uFFFD\uFFFDz\\u0000\"");
    buf_free(&b);
}

static void a_view_of_a_string_has_its_length(void **state)
{
    (void)state;
    json_t *tree;
    assert_int_equal(json_parse(arena, STR("[\"abc\",1]"), &tree, NULL), RESULT_OK);
    assert_true(str_is(json_str(json_array_get(tree, 0)), "abc"));
    assert_false(str_is_set(json_str(json_array_get(tree, 1))));
    assert_false(str_is_set(json_str(NULL)));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(trees_are_written_compactly_and_in_order),
        CASE(reals_are_short_and_exact),
        CASE(strings_are_escaped_both_ways),
        CASE(limits_are_checked_before_parsing),
        CASE(brackets_in_strings_do_not_count),
        CASE(text_must_be_utf8_without_nul),
        CASE(grammar_is_strict),
        CASE(numbers_beyond_their_range_are_refused),
        CASE(duplicate_keys_are_refused_without_quoting_them),
        CASE(writer_places_commas),
        CASE(writer_mends_invalid_utf8),
        CASE(a_view_of_a_string_has_its_length),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
