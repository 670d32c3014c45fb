/* Addresses and accounts: what is well formed, that sealing keeps it, and that nothing opens elsewhere. */
#include "unit_provider.h"

#include <stdlib.h>
#include <unistd.h>

struct address_fixture {
    struct arena *arena;
    struct keyring *ring;
    char path[64];
};

static int setup(void **state)
{
    static struct address_fixture fixture;
    struct error error;
    snprintf(fixture.path, sizeof fixture.path, "%s", "/tmp/belfry-test-XXXXXX");
    int fd = mkstemp(fixture.path);
    if (fd < 0)
        return -1;
    close(fd);
    unlink(fixture.path);
    fixture.arena = arena_create(TEST_ARENA_BYTES);
    if (!fixture.arena || keyring_create(fixture.path, &error) != RESULT_OK ||
        keyring_load(fixture.path, &fixture.ring, &error) != RESULT_OK)
        return -1;
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct address_fixture *fixture = *state;
    unlink(fixture->path);
    keyring_free(fixture->ring);
    arena_destroy(fixture->arena);
    return 0;
}

static enum result reopen(struct address_fixture *f, const struct address *address, const char *user,
                          struct address *out)
{
    struct buf sealed = BUF_INIT(16384);
    struct error error = {0};
    assert_int_equal(address_seal(f->ring, 7, STR("jane"), address, &sealed, &error), RESULT_OK);
    enum result code =
        address_open(f->ring, 7, str_from(user), address->kind, buf_str(&sealed), f->arena, out, &error);
    buf_free(&sealed);
    return code;
}

static void each_kind_comes_back_as_it_was(void **state)
{
    struct address_fixture *f = *state;
    struct address out;
    const struct address mail = {
        .kind = ADDRESS_EMAIL, .email = STR("jane@example.com"), .name = STR("J\xc3\xa4ne \"x\"")};
    assert_int_equal(reopen(f, &mail, "jane", &out), RESULT_OK);
    assert_str(out.email, "jane@example.com");
    assert_str(out.name, "J\xc3\xa4ne \"x\"");
    const struct address hook = {.kind = ADDRESS_WEBHOOK,
                                 .url = STR("https://h.example.com/"),
                                 .secret_count = 2,
                                 .secrets = {STR("whsec_a"), STR("whsec_b")}};
    assert_int_equal(reopen(f, &hook, "jane", &out), RESULT_OK);
    assert_int_equal(out.secret_count, 2);
    assert_str(out.secrets[1], "whsec_b");
    const struct address push = {.kind = ADDRESS_WEBPUSH,
                                 .url = STR("https://p.example.com/"),
                                 .p256dh = STR("\x04..."),
                                 .auth = STR("0123456789abcdef")};
    assert_int_equal(reopen(f, &push, "jane", &out), RESULT_OK);
    assert_true(str_equal(out.p256dh, push.p256dh) && str_equal(out.auth, push.auth));
}

static void another_user_cannot_open_it(void **state)
{
    struct address out;
    const struct address mail = {.kind = ADDRESS_EMAIL, .email = STR("jane@example.com")};
    assert_int_equal(reopen(*state, &mail, "eve", &out), RESULT_INVALID);
}

static void equal_addresses_are_found_whatever_the_domains_case(void **state)
{
    struct address_fixture *f = *state;
    unsigned char a[16], b[16], c[16], d[16];
    struct address mail = {.kind = ADDRESS_EMAIL, .email = STR("Jane@Example.COM")};
    address_index(f->ring, 7, &mail, a);
    mail.email = STR("Jane@example.com");
    address_index(f->ring, 7, &mail, b);
    mail.email = STR("jane@example.com");
    address_index(f->ring, 7, &mail, c);
    address_index(f->ring, 8, &mail, d);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(b, c, sizeof b); /* the local part's case is the receiver's business */
    assert_memory_not_equal(c, d, sizeof c);
}

static void malformed_addresses_are_refused(void **state)
{
    (void)state;
    struct error error;
    const struct address bad[] = {
        {.kind = ADDRESS_EMAIL, .email = STR("jane")},
        {.kind = ADDRESS_EMAIL, .email = STR("jane@example.com\r\nBcc: x@y")},
        {.kind = ADDRESS_WEBHOOK, .url = STR("ftp://example.com/")},
        {.kind = ADDRESS_WEBHOOK, .url = STR("https://user@example.com/")},
        {.kind = ADDRESS_WEBHOOK,
         .url = STR("https://example.com/"),
         .secret_count = 1,
         .secrets = {STR("whsec_c2hvcnQ=")}},
        {.kind = ADDRESS_WEBPUSH,
         .url = STR("http://example.com/"),
         .p256dh = STR("x"),
         .auth = STR("0123456789abcdef")},
        {.kind = ADDRESS_WEBPUSH,
         .url = STR("https://example.com/"),
         .p256dh = STR("x"),
         .auth = STR("0123456789abcdef")},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(address_check(&bad[i], &error), RESULT_INVALID);
}

/* ---- accounts ---- */

static enum result parse(struct arena *arena, const char *provider, const char *json,
                         struct account_config *config)
{
    struct error error;
    return account_parse(str_from(provider), str_from(json), arena, config, &error);
}

static void mail_accounts_are_read_with_their_defaults(void **state)
{
    struct address_fixture *f = *state;
    struct account_config c;
    assert_int_equal(
        parse(f->arena, "smtp",
              "{\"host\":\"mail.example.com\",\"tls\":\"starttls\",\"from\":\"The Shop <a@b.example>\"}", &c),
        RESULT_OK);
    assert_int_equal(c.smtp.port, 587);
    assert_str(c.smtp.from_name, "The Shop");
    assert_str(c.smtp.from_email, "a@b.example");
    assert_str(c.smtp.domain, "b.example");
    assert_false(str_is_set(c.smtp.user));
    assert_int_equal(parse(f->arena, "smtp",
                           "{\"host\":\"::1\",\"tls\":\"implicit\",\"from\":\"a@b.example\",\"domain\":\"m."
                           "example\",\"user\":\"u\",\"password\":\"p\"}",
                           &c),
                     RESULT_OK);
    assert_int_equal(c.smtp.port, 465);
    assert_str(c.smtp.domain, "m.example");
}

static void wrong_configurations_are_refused(void **state)
{
    struct address_fixture *f = *state;
    struct account_config c;
    static const char *const cases[][2] = {
        {"smtp", "{}"},
        {"smtp", "[]"},
        {"smtp", "{\"host\":\"h\",\"tls\":\"maybe\",\"from\":\"a@b.example\"}"},
        {"smtp", "{\"host\":\"h\",\"from\":\"a@b.example\"}"},
        {"smtp", "{\"host\":\"h/x\",\"tls\":\"none\",\"from\":\"a@b.example\"}"},
        {"smtp", "{\"host\":\"h\",\"tls\":\"none\",\"from\":\"a\"}"},
        {"smtp", "{\"host\":\"h\",\"tls\":\"none\",\"from\":\"x\\r\\nBcc: y <a@b.example>\"}"},
        {"smtp", "{\"host\":\"h\",\"tls\":\"none\",\"from\":\"a@b.example\",\"user\":\"u\"}"},
        {"smtp", "{\"host\":\"h\",\"tls\":\"none\",\"from\":\"a@b.example\",\"port\":0}"},
        {"smtp", "{\"host\":\"h\",\"tls\":\"none\",\"from\":\"a@b.example\",\"pasword\":\"p\"}"},
        {"webpush", "{\"subject\":\"ops@example.com\",\"publicKey\":\"x\",\"privateKey\":\"y\"}"},
        {"webhook", "{\"url\":\"x\"}"},
        {"pigeon", "{}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse(f->arena, cases[i][0], cases[i][1], &c) != RESULT_INVALID)
            fail_msg("accepted: %s", cases[i][1]);
}

static void new_push_keys_are_a_pair_and_only_one_of_them_is_shown(void **state)
{
    struct address_fixture *f = *state;
    struct buf json = BUF_INIT(4096), shown = BUF_INIT(4096);
    struct account_config c;
    struct error error;
    assert_int_equal(account_make_webpush(STR("mailto:a@b.example"), &json, &error), RESULT_OK);
    assert_int_equal(account_parse(STR("webpush"), buf_str(&json), f->arena, &c, &error), RESULT_OK);
    account_public(&c, &shown);
    assert_true(contains(buf_str(&shown), "\"publicKey\":\"B"));
    assert_false(contains(buf_str(&shown), "rivate"));
    buf_free(&json);
    buf_free(&shown);
}

static void an_account_opens_only_as_itself(void **state)
{
    struct address_fixture *f = *state;
    struct buf sealed = BUF_INIT(4096), json = BUF_INIT(4096);
    struct error error;
    assert_int_equal(account_seal(f->ring, 7, STR("main"), STR("{}"), &sealed, &error), RESULT_OK);
    assert_int_equal(account_open(f->ring, 7, STR("main"), buf_str(&sealed), &json, &error), RESULT_OK);
    assert_str(buf_str(&json), "{}");
    assert_int_not_equal(account_open(f->ring, 7, STR("other"), buf_str(&sealed), &json, &error), RESULT_OK);
    assert_int_not_equal(account_open(f->ring, 8, STR("main"), buf_str(&sealed), &json, &error), RESULT_OK);
    buf_free(&sealed);
    buf_free(&json);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_kind_comes_back_as_it_was),
        TEST(another_user_cannot_open_it),
        TEST(equal_addresses_are_found_whatever_the_domains_case),
        TEST(malformed_addresses_are_refused),
        TEST(mail_accounts_are_read_with_their_defaults),
        TEST(wrong_configurations_are_refused),
        TEST(new_push_keys_are_a_pair_and_only_one_of_them_is_shown),
        TEST(an_account_opens_only_as_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
