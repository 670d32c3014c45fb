#ifndef BELFRY_TESTS_UNIT_PROVIDER_H
#define BELFRY_TESTS_UNIT_PROVIDER_H
/* What the tests of providers share: a delivery, an arena for each test, headers of requests, tables of
 * answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/providers/all.h"
#include <stdio.h>
#include <string.h>

enum { TEST_ARENA_BYTES = 4 << 20 };
#define TEST_NOW_US INT64_C(1795000000123456) /* 2026-11-18T13:06:40.123Z */

static inline int arena_setup(void **state)
{
    *state = arena_create(TEST_ARENA_BYTES);
    return *state ? 0 : -1;
}

static inline int arena_teardown(void **state)
{
    arena_destroy(*state);
    return 0;
}

static inline struct delivery sample_delivery(void)
{
    return (struct delivery){
        .tenant = 7,
        .n = 2,
        .generation = 5,
        .notification = STR("0193f0a1-7c3e-7abc-8def-0123456789ab"),
        .channel = STR("webhook"),
        .user = STR("jane"),
        .device = STR("d1"),
        .priority = 1,
        .type = STR("order.shipped"),
        .title = STR("Your order"),
        .body = STR("It has left \"us\"\n"),
        .category = STR("orders"),
        .url = STR("https://shop.example.com/1"),
        .data = STR("{\"order\":17}"),
        .sender = STR_NONE,
        .actions =
            STR("[{\"id\":\"track\",\"label\":\"Track it\",\"url\":\"https://t.example.com/?a=1&b=2\"},"
                "{\"id\":\"ok\",\"label\":\"OK\",\"url\":null}]"),
        .created_us = TEST_NOW_US - 5000000,
        .now_us = TEST_NOW_US};
}

/* The value of a request's header; STR_NONE if it is not there, a failed test if it is there twice. */
static inline struct str request_header(const struct http_request *request, const char *name)
{
    struct str found = STR_NONE;
    for (int i = 0; i < request->header_count; i++) {
        struct str value;
        struct str field = str_cut(request->headers[i], ':', &value);
        if (!str_equal_nocase(field, str_from(name)))
            continue;
        assert_false(str_is_set(found));
        found = str_trim(value);
    }
    return found;
}

static inline void assert_str(struct str s, const char *expected)
{
    char text[4096];
    snprintf(text, sizeof text, STR_FMT, STR_ARG(s));
    assert_string_equal(text, expected);
}

static inline bool contains(struct str s, const char *part)
{
    return s.bytes && memmem(s.data, s.bytes, part, strlen(part)) != NULL;
}

/* One line of a provider's table of answers. */
struct answer_case {
    int status;
    const char *head; /* header lines, or the server's replies; NULL = none */
    bool after_data;
    enum outcome_kind kind;
    bool alert;
};

static inline struct outcome classify_case(const struct provider *provider, const struct answer_case *c)
{
    struct outcome outcome = {0};
    const struct http_answer answer = {.failure = HTTP_ANSWERED,
                                       .status = c->status,
                                       .smtp_after_data = c->after_data,
                                       .header_block = str_from(c->head)};
    provider->classify(&answer, &outcome);
    return outcome;
}

static inline void expect_answers(const struct provider *provider, const struct answer_case *cases,
                                  size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct outcome outcome = classify_case(provider, &cases[i]);
        if (outcome.kind != cases[i].kind || outcome.alert != cases[i].alert)
            fail_msg("%d %s: %s%s", cases[i].status, cases[i].head ? cases[i].head : "",
                     outcome_name(outcome.kind), outcome.alert ? " with an alert" : "");
        assert_int_equal(outcome.code, cases[i].status);
    }
}

static inline struct outcome classify_failure(const struct provider *provider, enum http_failure failure,
                                              bool after_data)
{
    struct outcome outcome = {0};
    const struct http_answer answer = {
        .failure = failure, .smtp_after_data = after_data, .detail = STR("why")};
    provider->classify(&answer, &outcome);
    return outcome;
}

#endif
