/* Log lines: valid JSON whatever goes in, and what is left of an address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/log.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int saved_stderr, pipe_ends[2];

static int capture(void **state)
{
    (void)state;
    saved_stderr = dup(STDERR_FILENO);
    if (saved_stderr < 0 || pipe(pipe_ends) != 0 || dup2(pipe_ends[1], STDERR_FILENO) < 0)
        return -1;
    log_open("belfry-test", LOG_INFO);
    return 0;
}

static int release(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return 0;
}

/* The one line written since, as an object. A single read() gets it, since it was a single write(). */
static json_t *read_line(void)
{
    char line[8192];
    ssize_t bytes = read(pipe_ends[0], line, sizeof line);
    assert_true(bytes > 2 && bytes <= 4096);
    assert_int_equal(line[bytes - 1], '\n');
    assert_null(memchr(line, '\n', (size_t)bytes - 1));
    json_error_t error;
    json_t *object = json_loadb(line, (size_t)bytes, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(object);
    return object;
}

static const char *text_of(json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static void a_line_names_time_level_program_and_event(void **state)
{
    (void)state;
    errno = 42;
    log_warning("account paused", LOG_TEXT("provider", "smtp"), LOG_INT("status", -401));
    assert_int_equal(errno, 42);
    json_t *line = read_line();
    assert_int_equal(strlen(text_of(line, "time")), 24);
    assert_string_equal(text_of(line, "level"), "warning");
    assert_string_equal(text_of(line, "program"), "belfry-test");
    assert_string_equal(text_of(line, "event"), "account paused");
    assert_string_equal(text_of(line, "provider"), "smtp");
    assert_int_equal(json_integer_value(json_object_get(line, "status")), -401);
    json_decref(line);
}

static void a_closed_log_is_nobodys_error(void **state)
{
    (void)state;
    close(STDERR_FILENO);
    errno = 42;
    log_error("unheard");
    assert_int_equal(errno, 42);
}

static void values_cannot_break_out_of_their_quotes(void **state)
{
    (void)state;
    log_info("x", LOG_STR("v", ((struct str){"a\"\\\n\r\x1b\x7f\0\xff안", 12})), LOG_TEXT("none", NULL));
    json_t *line = read_line();
    assert_string_equal(text_of(line, "v"), "a\"\\\n\r\x1b\x7f\uFFFD\uFFFD안");
    assert_string_equal(text_of(line, "none"), "");
    json_decref(line);
}

static void long_values_are_cut_and_the_line_stays_whole(void **state)
{
    (void)state;
    char text[5000];
    memset(text, '\x01', sizeof text);
    text[sizeof text - 1] = '\0';
    log_info(text, LOG_TEXT("a", text), LOG_TEXT("b", text), LOG_INT("n", 1), LOG_TEXT("c", text));
    json_decref(read_line());
    for (size_t bytes = 900; bytes < 1100; bytes++) { /* every place where the line can end */
        memset(text, 'x', sizeof text);
        struct str s = {text, bytes};
        log_info("e", LOG_STR("a", s), LOG_STR("b", s), LOG_STR("c", s), LOG_STR("d", s),
                 LOG_INT("n", bytes));
        json_decref(read_line());
    }
}

static void lesser_levels_are_silent(void **state)
{
    (void)state;
    log_debug("not this");
    log_info("this");
    json_t *line = read_line();
    assert_string_equal(text_of(line, "event"), "this");
    json_decref(line);
    assert_int_equal(log_level_parse("warning"), LOG_WARNING);
    assert_int_equal(log_level_parse("loud"), -1);
}

static void addresses_are_masked(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"jane@example.com", "j…@example.com"},
        {"é@example.com", "é@example.com"},
        {"+821012345678", "+82…78"},
        {"https://hooks.example.com/t/secret?x=1", "https://hooks.example.com…"},
        {"https://user:secret@example.com/", "https://…"},
        {"dGhpcyBpcyBhIHRva2Vu", "dGhp…"},
        {"short", "…"},
        {"", ""},
    };
    char out[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(log_masked(str_from(cases[i][0]), out, sizeof out), cases[i][1]);
    assert_string_equal(log_masked(STR("jane@example.com"), out, 3), "j"); /* not half of the … */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_names_time_level_program_and_event, capture, release),
        cmocka_unit_test_setup_teardown(a_closed_log_is_nobodys_error, capture, release),
        cmocka_unit_test_setup_teardown(values_cannot_break_out_of_their_quotes, capture, release),
        cmocka_unit_test_setup_teardown(long_values_are_cut_and_the_line_stays_whole, capture, release),
        cmocka_unit_test_setup_teardown(lesser_levels_are_silent, capture, release),
        cmocka_unit_test(addresses_are_masked),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
