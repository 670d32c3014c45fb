/* Shapes of single values: what each lets through and what it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/limits.h"
#include "format/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Both lists end with NULL. The failing value is printed by name. */
static void expect(bool (*check)(struct str s), const char *const *good, const char *const *bad)
{
    for (; *good != NULL; good++)
        if (!check(str_from(*good)))
            fail_msg("refused: %s", *good);
    for (; *bad != NULL; bad++)
        if (check(str_from(*bad)))
            fail_msg("let through: %s", *bad);
    assert_false(check((struct str){"a\0b", 3}));
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A run of one letter, static memory. */
static const char *run(size_t bytes)
{
    static char text[4][4096];
    static unsigned turn;
    char *to = text[turn++ % 4];
    memset(to, 'a', bytes);
    to[bytes] = '\0';
    return to;
}

static void ids(void **state)
{
    (void)state;
    expect(check_id, LIST("a", "user@example.com", "A.b_c~d@e|f-9", run(128)),
           LIST("", run(129), "a b", "a/b", "é", "a\n", "a%"));
    expect(check_slug, LIST("a", "0", "order.paid", "a-b_c", run(64)),
           LIST("", run(65), "A", ".a", "-a", "_a", "a b", "a@"));
}

static void emails(void **state)
{
    (void)state;
    char local64[80], local65[80];
    snprintf(local64, sizeof local64, "%s@x.kr", run(64));
    snprintf(local65, sizeof local65, "%s@x.kr", run(65));
    expect(check_email,
           LIST("a@b.c", "jane.doe+tag@mail.example.com", "x@localhost", "o'neil!#$%&*/=?^_`{|}~-@x.org",
                "a@xn--bcher-kva.example", "a@1.example", local64),
           LIST("", "a", "@", "a@", "@b", ".a@b.c", "a.@b.c", "a..b@c.d", "a@b..c", "a@.b", "a@b.", "a b@c.d",
                "\"a\"@b.c", "a@[127.0.0.1]", "a@127.0.0.1", "a@b@c", "a@b.c\r\n", "a\n@b.c", "é@b.c",
                "a@b_c.d", "a@-b.c", "a@b-.c", "<a@b.c>", "a@b.c,d@e.f", local65));
    char long_domain[300] = "a@";
    for (int i = 0; i < 63; i++)
        strcat(long_domain, "abc.");
    assert_true(check_email((struct str){long_domain, 2 + 251}));
    strcat(long_domain, "abc");
    assert_false(check_email(str_from(long_domain)));
}

static void phones(void **state)
{
    (void)state;
    expect(check_phone, LIST("+1234567", "+821012345678", "+123456789012345"),
           LIST("", "+", "821012345678", "+0123456789", "+123456", "+1234567890123456", "+82 10",
                "+82-10-1234", "++8210123456"));
}

static void locales(void **state)
{
    (void)state;
    expect(check_locale,
           LIST("en", "ko-KR", "zh-Hant", "zh-Hant-TW", "es-419", "de-CH-1996", "sl-rozaj-biske",
                "sr-Latn-RS-ekavsk", "fil"),
           LIST("", "e", "en_US", "en-", "-en", "en-US-", "en-U", "en-Latn-Latn", "abcd", "12", "en-12",
                "en-US-GB", "ko-KR;x", "C", "sl-rozaj-biske-rozaj-biske-rozaj-bis"));
}

static void time_zones(void **state)
{
    (void)state;
    expect(check_time_zone,
           LIST("UTC", "Asia/Seoul", "America/Argentina/Buenos_Aires", "Etc/GMT+9", "America/Port-au-Prince"),
           LIST("", "/", "Asia/", "/Asia", "Asia//Seoul", "../etc/passwd", "Asia/Se oul", "9", "+09:00",
                "Asia/Seoul'"));
}

static void origins(void **state)
{
    (void)state;
    expect(check_origin,
           LIST("https://example.com", "http://localhost:8080", "https://[::1]:8443", "capacitor://localhost",
                "http://127.0.0.1:1"),
           LIST("", "*", "null", "https://", "https://example.com/", "example.com", "https://Example.com",
                "https://a b", "https://example.com:0", "https://example.com:65536",
                "https://example.com:", "https://u@example.com", "https://*.example.com", "https://[::1",
                "https://[::1]x", "https:example.com"));
}

static void header_values(void **state)
{
    (void)state;
    assert_true(check_header_value(STR("")));
    assert_true(check_header_value(STR("a b é")));
    assert_false(check_header_value(STR("a\r\nX: y")));
    assert_false(check_header_value(STR("a\tb")));
    assert_false(check_header_value(STR("a\x7f")));
    assert_true(check_printable(STR("!~")));
    assert_false(check_printable(STR("")));
    assert_false(check_printable(STR("a b")));
    assert_false(check_printable(STR("é")));
}

static void urls_are_taken_apart(void **state)
{
    (void)state;
    struct url url;
    assert_true(url_parse(STR("HTTPS://Example.com/a/b?c=d&e[]=%20"), &url));
    assert_true(str_is(url.scheme, "HTTPS"));
    assert_true(str_is(url.host, "Example.com"));
    assert_true(str_is(url.path_query, "/a/b?c=d&e[]=%20"));
    assert_int_equal(url.port, 443);
    assert_false(url.host_is_ip6);
    assert_true(url_parse(STR("http://[2001:db8::1]:8080?x"), &url));
    assert_true(str_is(url.host, "2001:db8::1"));
    assert_true(str_is(url.path_query, "?x"));
    assert_int_equal(url.port, 8080);
    assert_true(url.host_is_ip6);
    assert_true(url_parse(STR("http://127.0.0.1"), &url));
    assert_true(str_is(url.path_query, "") && str_is_set(url.path_query));
    assert_int_equal(url.port, 80);
}

static bool is_url(struct str s)
{
    struct url url;
    return url_parse(s, &url);
}

static void urls_that_mean_two_things_are_refused(void **state)
{
    (void)state;
    expect(is_url,
           LIST("https://a.example", "http://my_host:81/", "https://1.2.3.4/", "https://a.example/~x;y=(1)!"),
           LIST("", "https://", "https:///x", "ftp://a.example", "//a.example", "javascript:alert(1)",
                "https:/a.example", "https://u:p@a.example", "https://a.example#f", "https://a.example/#f",
                "https://a.example/a b", "https://a.example/\r\nX", "https://a.example\\@b.example",
                "https://a.example/%", "https://a.example/%2", "https://a.example/%zz", "https://a..example",
                "https://.example", "https://a.example.", "https://-a.example", "https://127.1",
                "https://0x7f000001", "https://2130706433", "https://1.2.3.256", "https://[::1",
                "https://[::1%25lo]", "https://[1.2.3.4]", "https://a.example:", "https://a.example:0",
                "https://a.example:99999", "https://a.example:80:80", "https://é.example",
                "https://a.example/é", "https://a.example/<x>", "https://%61.example",
                "https://a.example/[x]"));
    char text[LIMIT_URL_BYTES + 2] = "https://a.example/";
    size_t head = strlen(text);
    memset(text + head, 'x', LIMIT_URL_BYTES + 1 - head);
    assert_false(is_url((struct str){text, LIMIT_URL_BYTES + 1}));
    assert_true(is_url((struct str){text, LIMIT_URL_BYTES}));
}

static void links_may_name_a_place_in_a_page(void **state)
{
    (void)state;
    expect(check_link,
           LIST("https://a.example/#/orders/12?x=[1]", "https://a.example#top", "http://a.example/a?b#",
                "https://a.example/"),
           LIST("", "#top", "https://a.example/#a#b", "https://a.example/#a b", "https://a.example/#<x>",
                "https://a.example/#\r\n", "https://a.example/#%2", "javascript:alert(1)#https://a.example"));
    char text[LIMIT_URL_BYTES + 2] = "https://a.example/#";
    size_t head = strlen(text);
    memset(text + head, 'x', LIMIT_URL_BYTES + 1 - head);
    assert_false(check_link((struct str){text, LIMIT_URL_BYTES + 1}));
    assert_true(check_link((struct str){text, LIMIT_URL_BYTES}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(emails),
        cmocka_unit_test(phones),
        cmocka_unit_test(locales),
        cmocka_unit_test(time_zones),
        cmocka_unit_test(origins),
        cmocka_unit_test(header_values),
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(urls_that_mean_two_things_are_refused),
        cmocka_unit_test(links_may_name_a_place_in_a_page),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
