/* The pure parts of the HTTP client: which addresses are private, headers of an answer, Retry-After. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "io/http.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

static bool is_private(const char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(443)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    if (inet_pton(AF_INET, address, &in.sin_addr) == 1)
        return http_address_is_private((const struct sockaddr *)&in);
    assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
    return http_address_is_private((const struct sockaddr *)&in6);
}

static void what_is_not_globally_reachable_is_private(void **state)
{
    (void)state;
    static const char *const addresses[] = {"0.0.0.0",
                                            "0.255.255.255",
                                            "10.0.0.0",
                                            "10.255.255.255",
                                            "100.64.0.0",
                                            "100.127.255.255",
                                            "127.0.0.1",
                                            "127.255.255.255",
                                            "169.254.0.0",
                                            "169.254.169.254",
                                            "169.254.255.255",
                                            "172.16.0.0",
                                            "172.31.255.255",
                                            "192.0.0.1",
                                            "192.0.0.255",
                                            "192.0.2.1",
                                            "192.88.99.1",
                                            "192.168.0.0",
                                            "192.168.255.255",
                                            "198.18.0.0",
                                            "198.19.255.255",
                                            "198.51.100.7",
                                            "203.0.113.255",
                                            "224.0.0.1",
                                            "239.255.255.255",
                                            "240.0.0.1",
                                            "255.255.255.255",
                                            "::",
                                            "::1",
                                            "::7f00:1",
                                            "::ffff:127.0.0.1",
                                            "::ffff:10.1.2.3",
                                            "::ffff:169.254.169.254",
                                            "::ffff:192.168.1.1",
                                            "64:ff9b::10.0.0.1",
                                            "64:ff9b::7f00:1",
                                            "64:ff9b:1::1",
                                            "100::1",
                                            "fc00::1",
                                            "fd00:ec2::254",
                                            "fdff::1",
                                            "fe80::1",
                                            "febf::1",
                                            "fec0::1",
                                            "ff02::1",
                                            "ff0e::1",
                                            "2001::1",
                                            "2001:0:4136:e378::1",
                                            "2001:2::1",
                                            "2001:10::1",
                                            "2001:1ff::1",
                                            "2001:db8::1",
                                            "2001:db8:ffff::1",
                                            "2002:0a00:0001::1",
                                            "2002:7f00:1::1",
                                            "2002:c0a8:101::1",
                                            "3fff::1",
                                            "3fff:fff::1",
                                            "4000::1",
                                            "1fff::1",
                                            "::ffff:0:127.0.0.1"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        if (!is_private(addresses[i]))
            fail_msg("%s is allowed", addresses[i]);
}

static void what_is_globally_reachable_is_not(void **state)
{
    (void)state;
    static const char *const addresses[] = {"1.1.1.1",
                                            "9.255.255.255",
                                            "11.0.0.0",
                                            "100.63.255.255",
                                            "100.128.0.0",
                                            "126.255.255.255",
                                            "128.0.0.1",
                                            "169.253.255.255",
                                            "169.255.0.0",
                                            "172.15.255.255",
                                            "172.32.0.0",
                                            "191.255.255.255",
                                            "192.0.1.0",
                                            "192.0.3.0",
                                            "192.88.98.1",
                                            "192.167.255.255",
                                            "192.169.0.0",
                                            "198.17.255.255",
                                            "198.20.0.0",
                                            "198.51.99.255",
                                            "198.51.101.0",
                                            "203.0.112.255",
                                            "203.0.114.0",
                                            "223.255.255.255",
                                            "2001:200::1",
                                            "2001:4860:4860::8888",
                                            "2606:4700:4700::1111",
                                            "2a00:1450::1",
                                            "2002:0101:0101::1",
                                            "::ffff:1.1.1.1",
                                            "64:ff9b::1.1.1.1",
                                            "3ffe::1",
                                            "3fff:1000::1",
                                            "2000::1"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        if (is_private(addresses[i]))
            fail_msg("%s is refused", addresses[i]);
}

static void another_family_is_private(void **state)
{
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    assert_true(http_address_is_private((const struct sockaddr *)&un));
}

static struct http_answer answer_with(const char *head)
{
    return (struct http_answer){.header_block = str_from(head)};
}

static void headers_are_found_in_any_case(void **state)
{
    (void)state;
    struct http_answer a = answer_with("HTTP/1.1 429 Too Many: Requests\r\nLocation:  /a b \r\nx-one: 1\r\n"
                                       "X-One: 2\r\nempty:\r\nno colon\r\n\r\n");
    assert_true(str_is(http_answer_header(&a, "LOCATION"), "/a b"));
    assert_true(str_is(http_answer_header(&a, "X-ONE"), "2"));
    assert_true(str_is_set(http_answer_header(&a, "Empty")));
    assert_int_equal(http_answer_header(&a, "Empty").bytes, 0);
    assert_false(str_is_set(http_answer_header(&a, "no colon")));
    assert_false(str_is_set(http_answer_header(&a, "Locatio")));
    a = answer_with("");
    assert_false(str_is_set(http_answer_header(&a, "Location")));
}

static int64_t retry_after(const char *value)
{
    char head[200];
    snprintf(head, sizeof head, "HTTP/1.1 503 Busy\r\nRetry-After: %s\r\n\r\n", value);
    struct http_answer a = answer_with(head);
    return http_answer_retry_after_ms(&a);
}

static void retry_after_in_seconds_is_clamped_to_an_hour(void **state)
{
    (void)state;
    assert_int_equal(retry_after("0"), 0);
    assert_int_equal(retry_after("7"), 7000);
    assert_int_equal(retry_after("0120"), 120000);
    assert_int_equal(retry_after("3600"), 3600000);
    assert_int_equal(retry_after("3601"), 3600000);
    assert_int_equal(retry_after("99999999999999999999999999"), 3600000);
}

/* In the three forms of RFC 9110 section 5.6.7. */
static int64_t retry_at(time_t at, int form)
{
    char date[64];
    struct tm tm;
    gmtime_r(&at, &tm);
    if (form == 0) {
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    } else if (form == 1) {
        char day[32], hour[16];
        strftime(day, sizeof day, "%A, %d-%b", &tm);
        strftime(hour, sizeof hour, "%H:%M:%S", &tm);
        snprintf(date, sizeof date, "%s-%02d %s GMT", day, tm.tm_year % 100, hour);
    } else {
        strftime(date, sizeof date, "%a %b %e %H:%M:%S %Y", &tm);
    }
    return retry_after(date);
}

static void retry_after_may_be_a_date(void **state)
{
    (void)state;
    time_t now = (time_t)(clock_now_us() / 1000000);
    for (int form = 0; form < 3; form++) {
        int64_t ms = retry_at(now + 60, form);
        if (ms < 30000 || ms > 60000)
            fail_msg("form %d gives %lld ms", form, (long long)ms);
        assert_int_equal(retry_at(now - 60, form), 0);
        assert_int_equal(retry_at(now + 100000, form), 3600000);
    }
}

static void what_cannot_be_read_is_no_retry_after(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "-5", "+5", "1.5", "5s", "soon", "Never, ever", "5 6"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (retry_after(bad[i]) != -1)
            fail_msg("\"%s\" was read", bad[i]);
    struct http_answer a = answer_with("HTTP/1.1 503 Busy\r\n\r\n");
    assert_int_equal(http_answer_retry_after_ms(&a), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_globally_reachable_is_private),
        cmocka_unit_test(what_is_globally_reachable_is_not),
        cmocka_unit_test(another_family_is_private),
        cmocka_unit_test(headers_are_found_in_any_case),
        cmocka_unit_test(retry_after_in_seconds_is_clamped_to_an_hour),
        cmocka_unit_test(retry_after_may_be_a_date),
        cmocka_unit_test(what_cannot_be_read_is_no_retry_after),
    };
    return cmocka_run_group_tests_name("io/http address and answer", tests, NULL, NULL);
}
