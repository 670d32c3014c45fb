/* Commands, scripts and subscription against a real Redis (BELFRY_TEST_REDIS), some through a proxy that
 * fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "io/redis.h"
#include "unit_proxy.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *address;
static struct arena *arena;
static struct error error;
static char key[64], channel[80];

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(16 << 20);
    snprintf(key, sizeof key, "test:%d:%lld", (int)getpid(), (long long)clock_now_us());
    snprintf(channel, sizeof channel, "%s:wake", key);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

static struct redis *open_at(const char *where)
{
    struct redis *redis = redis_open(where);
    assert_non_null(redis);
    return redis;
}

/* A command of words without spaces. */
static enum result queue(struct redis *redis, const char *text)
{
    struct str words[16], rest = str_from(text);
    int count = 0;
    while (str_is_set(rest))
        words[count++] = str_cut(rest, ' ', &rest);
    return redis_queue(redis, count, words);
}

static struct redis_reply **finish(struct redis *redis, int expected)
{
    struct redis_reply **replies;
    int count;
    enum result code = redis_finish(redis, arena, &replies, &count, &error);
    if (code != RESULT_OK)
        fail_msg("%s: %s", result_name(code), error.text);
    assert_int_equal(count, expected);
    return replies;
}

static struct redis_reply *ask(struct redis *redis, const char *text)
{
    assert_int_equal(queue(redis, text), RESULT_OK);
    return finish(redis, 1)[0];
}

static enum result try(struct redis *redis)
{
    struct redis_reply **replies;
    int count;
    enum result queued = queue(redis, "PING"), code = redis_finish(redis, arena, &replies, &count, &error);
    if (queued != RESULT_OK)
        assert_int_not_equal(code, RESULT_OK);
    return code;
}

static struct unit_proxy *proxy_to_redis(void)
{
    const char *at = strrchr(address, '@');
    const char *where = at ? at + 1 : address;
    struct unit_proxy *proxy;
    if (strncmp(where, "unix:", 5) == 0) {
        proxy = unit_proxy_to(where + 5, "", 0);
    } else {
        char host[128];
        snprintf(host, sizeof host, "%.*s", (int)strcspn(where, ":"), where);
        proxy = unit_proxy_to(host, "", atoi(where + strcspn(where, ":") + 1));
    }
    snprintf(proxy->address, sizeof proxy->address, "%.*s127.0.0.1:%d", at ? (int)(at + 1 - address) : 0,
             address, unit_proxy_port(proxy));
    return proxy;
}

/* ---- commands ---- */

static void replies_come_in_order_and_with_their_kinds(void **state)
{
    (void)state;
    struct redis *redis = open_at(address);
    const struct str set[] = {STR("SET"), str_from(key), {"a\0b\r\n", 5}, STR("PX"), STR("5000")};
    char text[256];
    assert_int_equal(redis_queue(redis, 5, set), RESULT_OK);
    snprintf(text, sizeof text, "GET %s", key);
    assert_int_equal(queue(redis, text), RESULT_OK);
    snprintf(text, sizeof text, "GET %s:none", key);
    assert_int_equal(queue(redis, text), RESULT_OK);
    snprintf(text, sizeof text, "STRLEN %s", key);
    assert_int_equal(queue(redis, text), RESULT_OK);
    snprintf(text, sizeof text, "INCR %s", key);
    assert_int_equal(queue(redis, text), RESULT_OK);
    snprintf(text, sizeof text, "MGET %s %s:none", key, key);
    assert_int_equal(queue(redis, text), RESULT_OK);
    struct redis_reply **r = finish(redis, 6);
    assert_true(str_is(redis_text(r[0]), "OK"));
    assert_true(str_equal(redis_text(r[1]), set[2]));
    assert_int_equal(redis_kind(r[2]), REDIS_NIL);
    assert_false(str_is_set(redis_text(r[2])));
    assert_int_equal(redis_int(r[3]), 5);
    assert_int_equal(redis_kind(r[4]), REDIS_ERROR);
    assert_int_equal(redis_items(r[5]), 2);
    assert_true(str_equal(redis_text(redis_item(r[5], 0)), set[2]));
    assert_int_equal(redis_kind(redis_item(r[5], 1)), REDIS_NIL);
    redis_close(redis);
}

static void a_long_pipeline_comes_back_whole(void **state)
{
    (void)state;
    enum { MANY = 4000 };
    struct redis *redis = open_at(address);
    char text[64];
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "ECHO %d", i);
        assert_int_equal(queue(redis, text), RESULT_OK);
    }
    struct redis_reply **r = finish(redis, MANY);
    snprintf(text, sizeof text, "%d", MANY - 1);
    assert_true(str_is(redis_text(r[MANY - 1]), text));
    redis_close(redis);
}

static void a_script_is_sent_whole_only_when_it_is_unknown(void **state)
{
    (void)state;
    /* a script that no server can know yet */
    char lua[160];
    snprintf(lua, sizeof lua, "return {KEYS[1], ARGV[1], '%s'}", key);
    struct redis_script script = {.lua = lua};
    struct redis *redis = open_at(address);
    const struct str argv[] = {str_from(key), STR("x y")};
    for (int round = 0; round < 2; round++) {
        assert_int_equal(queue(redis, "ECHO before"), RESULT_OK);
        assert_int_equal(redis_queue_script(redis, &script, 1, 2, argv), RESULT_OK);
        assert_int_equal(queue(redis, "ECHO after"), RESULT_OK);
        struct redis_reply **r = finish(redis, 3);
        assert_true(str_is(redis_text(r[0]), "before"));
        assert_true(str_equal(redis_text(redis_item(r[1], 0)), argv[0]));
        assert_true(str_is(redis_text(redis_item(r[1], 1)), "x y"));
        assert_true(str_is(redis_text(r[2]), "after"));
        char by_name[160];
        snprintf(by_name, sizeof by_name, "EVALSHA %s 1 %s x", script.sha1, key);
        assert_int_equal(redis_items(ask(redis, by_name)), 3);
    }
    redis_close(redis);
}

static void a_script_of_another_error_is_not_sent_again(void **state)
{
    (void)state;
    static struct redis_script script = {.lua = "return redis.error_reply('NOTNOW later')"};
    struct redis *redis = open_at(address);
    assert_int_equal(redis_queue_script(redis, &script, 0, 0, NULL), RESULT_OK);
    assert_true(str_starts(redis_text(finish(redis, 1)[0]), "NOTNOW"));
    redis_close(redis);
}

/* ---- failures ---- */

static void no_address_is_always_offline(void **state)
{
    (void)state;
    static const char *const none[] = {"", "nonsense", "unix:/nowhere/at/all", "127.0.0.1:1", "user:pw@"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        struct redis *redis = open_at(none[i]);
        assert_int_equal(try(redis), RESULT_OFFLINE);
        redis_close(redis);
    }
}

static void a_wrong_password_is_offline(void **state)
{
    (void)state;
    struct unit_proxy *proxy = proxy_to_redis();
    char wrong[128];
    snprintf(wrong, sizeof wrong, "nobody:wrong@127.0.0.1:%d", unit_proxy_port(proxy));
    struct redis *redis = open_at(wrong);
    assert_int_equal(try(redis), RESULT_OFFLINE);
    redis_close(redis);
    unit_proxy_stop(proxy);
}

static void a_failure_is_remembered_and_then_forgotten(void **state)
{
    (void)state;
    struct unit_proxy *proxy = proxy_to_redis();
    struct redis *redis = open_at(proxy->address);
    assert_int_equal(try(redis), RESULT_OK);
    unit_proxy_set(proxy, UNIT_PROXY_CUT_ANSWER);
    assert_int_equal(try(redis), RESULT_OFFLINE);
    unit_proxy_set(proxy, UNIT_PROXY_PASS);
    int accepted = unit_proxy_accepted(proxy);
    assert_int_equal(try(redis), RESULT_OFFLINE);
    assert_int_equal(unit_proxy_accepted(proxy), accepted);
    int64_t deadline = clock_mono_ms() + 8000;
    while (try(redis) != RESULT_OK && clock_mono_ms() < deadline)
        poll(NULL, 0, 20);
    assert_int_equal(try(redis), RESULT_OK);
    redis_close(redis);
    unit_proxy_stop(proxy);
}

static void a_late_reply_never_answers_the_next_question(void **state)
{
    (void)state;
    struct unit_proxy *proxy = proxy_to_redis();
    struct redis *redis = open_at(proxy->address);
    assert_int_equal(try(redis), RESULT_OK);
    unit_proxy_set(proxy, UNIT_PROXY_STALL);
    assert_int_equal(try(redis), RESULT_OFFLINE); /* times out */
    unit_proxy_set(proxy, UNIT_PROXY_PASS);
    int64_t deadline = clock_mono_ms() + 8000;
    while (queue(redis, "ECHO fresh") != RESULT_OK && clock_mono_ms() < deadline) {
        struct redis_reply **replies;
        int count;
        assert_int_not_equal(redis_finish(redis, arena, &replies, &count, &error), RESULT_OK);
        poll(NULL, 0, 20);
    }
    assert_true(str_is(redis_text(finish(redis, 1)[0]), "fresh"));
    redis_close(redis);
    unit_proxy_stop(proxy);
}

static void an_idle_connection_that_was_closed_is_replaced_unnoticed(void **state)
{
    (void)state;
    struct unit_proxy *proxy = proxy_to_redis();
    struct redis *redis = open_at(proxy->address);
    assert_int_equal(try(redis), RESULT_OK);
    unit_proxy_hang_up(proxy);
    unit_proxy_set(proxy, UNIT_PROXY_PASS);
    assert_int_equal(try(redis), RESULT_OK);
    assert_int_equal(unit_proxy_accepted(proxy), 2);
    redis_close(redis);
    unit_proxy_stop(proxy);
}

/* ---- the listener ---- */

struct heard {
    int count;
    char last[64];
};

static void on_message(void *context, struct str payload)
{
    struct heard *heard = context;
    heard->count++;
    snprintf(heard->last, sizeof heard->last, STR_FMT, STR_ARG(payload));
}

/* Turns the listener until it is ready or has heard enough; fails after 10 s. */
static void listen_until(struct redis_listener *listener, struct heard *heard, bool ready, int count)
{
    int64_t deadline = clock_mono_ms() + 10000;
    while (redis_listener_ready(listener) != ready || heard->count < count) {
        struct pollfd p = {.fd = redis_listener_fd(listener), .events = POLLIN};
        assert_true(clock_mono_ms() < deadline);
        poll(&p, 1, 20);
        redis_listener_pump(listener, on_message, heard);
    }
}

static void publish(struct redis *redis, const char *payload)
{
    const struct str words[] = {STR("PUBLISH"), str_from(channel), str_from(payload)};
    assert_int_equal(redis_queue(redis, 3, words), RESULT_OK);
    finish(redis, 1);
}

static void a_ready_listener_hears_each_message(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct redis *redis = open_at(address);
    struct redis_listener *listener = redis_listen(address, channel);
    assert_false(redis_listener_ready(listener));
    assert_int_equal(redis_listener_fd(listener), -1);
    listen_until(listener, &heard, true, 0);
    publish(redis, "inbox:jane 41");
    publish(redis, "inbox:jane 42");
    listen_until(listener, &heard, true, 2);
    assert_int_equal(heard.count, 2);
    assert_string_equal(heard.last, "inbox:jane 42");
    redis_listener_close(listener);
    redis_close(redis);
}

static void a_listener_comes_back_after_its_server_was_away(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct unit_proxy *proxy = proxy_to_redis();
    struct redis *redis = open_at(address);
    struct redis_listener *listener = redis_listen(proxy->address, channel);
    listen_until(listener, &heard, true, 0);
    unit_proxy_set(proxy, UNIT_PROXY_CUT_ANSWER);
    publish(redis, "lost");
    listen_until(listener, &heard, false, 0);
    unit_proxy_set(proxy, UNIT_PROXY_PASS);
    listen_until(listener, &heard, true, 0);
    publish(redis, "heard");
    listen_until(listener, &heard, true, 1);
    assert_string_equal(heard.last, "heard");
    redis_listener_close(listener);
    redis_close(redis);
    unit_proxy_stop(proxy);
}

static void a_listener_leaves_a_server_that_fell_silent(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct unit_proxy *proxy = proxy_to_redis();
    struct redis_listener *listener = redis_listen(proxy->address, channel);
    listen_until(listener, &heard, true, 0);
    unit_proxy_set(proxy, UNIT_PROXY_STALL);
    int64_t deadline = clock_mono_ms() + 20000;
    while (redis_listener_ready(listener) && clock_mono_ms() < deadline) {
        redis_listener_pump(listener, on_message, &heard);
        poll(NULL, 0, 100);
    }
    assert_false(redis_listener_ready(listener));
    redis_listener_close(listener);
    unit_proxy_stop(proxy);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(replies_come_in_order_and_with_their_kinds),
        TEST(a_long_pipeline_comes_back_whole),
        TEST(a_script_is_sent_whole_only_when_it_is_unknown),
        TEST(a_script_of_another_error_is_not_sent_again),
        TEST(no_address_is_always_offline),
        TEST(a_wrong_password_is_offline),
        TEST(a_failure_is_remembered_and_then_forgotten),
        TEST(a_late_reply_never_answers_the_next_question),
        TEST(an_idle_connection_that_was_closed_is_replaced_unnoticed),
        TEST(a_ready_listener_hears_each_message),
        TEST(a_listener_comes_back_after_its_server_was_away),
        TEST(a_listener_leaves_a_server_that_fell_silent),
    };
    address = getenv("BELFRY_TEST_REDIS");
    if (!address || !*address) {
        fputs("BELFRY_TEST_REDIS must name a Redis: run tests/run\n", stderr);
        return 1;
    }
    return cmocka_run_group_tests_name("io/redis", tests, NULL, NULL);
}
