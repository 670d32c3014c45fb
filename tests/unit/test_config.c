/* Settings: defaults, strict values, secrets from files, what each program gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/config.h"
#include "core/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fresh_environment(void **state)
{
    (void)state;
    clearenv();
    setenv("BELFRY_DB", "dbname=belfry", 1);
    return 0;
}

/* Asserts that loading fails and that the sentence says both. */
static void expect_refusal(const char *variable, const char *rule)
{
    struct config config;
    struct error error;
    assert_int_equal(config_load(&config, CONFIG_API, &error), RESULT_INVALID);
    assert_non_null(strstr(error.text, variable));
    assert_non_null(strstr(error.text, rule));
}

static void defaults_are_those_of_the_table(void **state)
{
    (void)state;
    struct config config;
    struct error error;
    assert_int_equal(config_load(&config, CONFIG_API, &error), RESULT_OK);
    assert_string_equal(config.db, "dbname=belfry");
    assert_true(config.db_prepare);
    assert_int_equal(config.db_connections, 8);
    assert_int_equal(config.threads, 8);
    assert_int_equal(config.waiters_max, 8000);
    assert_int_equal(config.wait_ms, 25000);
    assert_int_equal(config.log_level, LOG_INFO);
    assert_false(config.private_addresses);
    assert_string_equal(config.redis, "");
    config_free(&config);
    assert_null(config.db);
}

static void database_must_be_named(void **state)
{
    (void)state;
    setenv("BELFRY_DB", "", 1);
    expect_refusal("BELFRY_DB", "must be set");
    unsetenv("BELFRY_DB");
    expect_refusal("BELFRY_DB", "must be set");
}

static void numbers_have_limits_and_no_units(void **state)
{
    (void)state;
    const char *const wrong[] = {"", "1", "257", "8 ", "8k", "-8", "0x8"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("BELFRY_THREADS", wrong[i], 1);
        expect_refusal("BELFRY_THREADS", "from 2 to 256");
    }
}

static void words_are_exact(void **state)
{
    (void)state;
    setenv("BELFRY_DB_PREPARE", "true", 1);
    expect_refusal("BELFRY_DB_PREPARE", "off,on");
    setenv("BELFRY_DB_PREPARE", "off", 1);
    setenv("BELFRY_PRIVATE_ADDRESSES", "allow", 1);
    setenv("BELFRY_LOG", "error", 1);
    struct config config;
    assert_int_equal(config_load(&config, CONFIG_API, NULL), RESULT_OK);
    assert_false(config.db_prepare);
    assert_true(config.private_addresses);
    assert_int_equal(config.log_level, LOG_ERROR);
    config_free(&config);
}

static void texts_have_shapes(void **state)
{
    (void)state;
    setenv("BELFRY_PUBLIC_URL", "https://x.example/", 1);
    expect_refusal("BELFRY_PUBLIC_URL", "without a slash");
    setenv("BELFRY_PUBLIC_URL", "x.example", 1);
    expect_refusal("BELFRY_PUBLIC_URL", "http");
    setenv("BELFRY_PUBLIC_URL", "https://x.example/app", 1);
    const char *const wrong[] = {"localhost", "localhost:",    "host:99999",
                                 "unix:",     "unix:relative", "user:pw@"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("BELFRY_REDIS", wrong[i], 1);
        expect_refusal("BELFRY_REDIS", "host:port");
    }
    const char *const good[] = {"127.0.0.1:6379", "user:p@ss@host:1", "unix:/run/redis.sock",
                                "u:p@unix:/run/redis.sock"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct config config;
        setenv("BELFRY_REDIS", good[i], 1);
        assert_int_equal(config_load(&config, CONFIG_API, NULL), RESULT_OK);
        assert_string_equal(config.redis, good[i]);
        config_free(&config);
    }
}

static void a_refused_secret_is_not_repeated(void **state)
{
    (void)state;
    struct config config;
    struct error error;
    setenv("BELFRY_REDIS", "user:hunter2@nowhere", 1);
    assert_int_equal(config_load(&config, CONFIG_API, &error), RESULT_INVALID);
    assert_null(strstr(error.text, "hunter2"));
}

static void write_file(char *path, const char *text, size_t bytes)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, bytes), bytes);
    close(fd);
}

static void a_secret_may_come_from_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/belfry-test-XXXXXX";
    write_file(path, "dbname=other\n", 13);
    setenv("BELFRY_DB_FILE", path, 1);
    expect_refusal("BELFRY_DB_FILE", "both set");
    unsetenv("BELFRY_DB");
    struct config config;
    assert_int_equal(config_load(&config, CONFIG_WORKER, NULL), RESULT_OK);
    assert_string_equal(config.db, "dbname=other");
    config_free(&config);
    unlink(path);
    expect_refusal("BELFRY_DB_FILE", "could not read");
}

static void a_secret_file_is_text(void **state)
{
    (void)state;
    char path[] = "/tmp/belfry-test-XXXXXX";
    write_file(path, "a\0b", 3);
    unsetenv("BELFRY_DB");
    setenv("BELFRY_DB_FILE", path, 1);
    expect_refusal("BELFRY_DB_FILE", "no text");
    unlink(path);
}

static void other_programs_settings_are_left_alone(void **state)
{
    (void)state;
    setenv("BELFRY_THREADS", "nonsense", 1);
    struct config config;
    assert_int_equal(config_load(&config, CONFIG_WORKER, NULL), RESULT_OK);
    assert_int_equal(config.threads, 8);
    assert_int_equal(config.claim_max, 200);
    config_free(&config);
}

static void retries_must_be_able_to_grow(void **state)
{
    (void)state;
    struct config config;
    struct error error;
    setenv("BELFRY_RETRY_BASE_MS", "5000", 1);
    setenv("BELFRY_RETRY_CAP_MS", "4000", 1);
    assert_int_equal(config_load(&config, CONFIG_WORKER, &error), RESULT_INVALID);
    assert_non_null(strstr(error.text, "BELFRY_RETRY_CAP_MS"));
}

static void help_shows_what_the_program_reads(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    config_print(out, CONFIG_WORKER);
    fclose(out);
    assert_non_null(strstr(text, "BELFRY_CLAIM"));
    assert_non_null(strstr(text, "default 200"));
    assert_null(strstr(text, "BELFRY_THREADS"));
    free(text);
    out = open_memstream(&text, &bytes);
    config_print(out, CONFIG_ALL);
    fclose(out);
    assert_non_null(strstr(text, "| `BELFRY_THREADS` | api | 2 to 256 | 8 |"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_those_of_the_table, fresh_environment),
        cmocka_unit_test_setup(database_must_be_named, fresh_environment),
        cmocka_unit_test_setup(numbers_have_limits_and_no_units, fresh_environment),
        cmocka_unit_test_setup(words_are_exact, fresh_environment),
        cmocka_unit_test_setup(texts_have_shapes, fresh_environment),
        cmocka_unit_test_setup(a_refused_secret_is_not_repeated, fresh_environment),
        cmocka_unit_test_setup(a_secret_may_come_from_a_file, fresh_environment),
        cmocka_unit_test_setup(a_secret_file_is_text, fresh_environment),
        cmocka_unit_test_setup(other_programs_settings_are_left_alone, fresh_environment),
        cmocka_unit_test_setup(retries_must_be_able_to_grow, fresh_environment),
        cmocka_unit_test_setup(help_shows_what_the_program_reads, fresh_environment),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
