/* E-mail: the request, and what each reply of a mail server means (RFC 5321, 3463, 4954). */
#include "unit_provider.h"

static struct account smtp_account(enum account_tls tls)
{
    return (struct account){.id = STR("main"),
                            .config = {.provider = STR("smtp"),
                                       .smtp = {.host = STR("mail.example.com"),
                                                .port = 587,
                                                .tls = tls,
                                                .user = STR("u"),
                                                .password = STR("p"),
                                                .from_name = STR("Shop"),
                                                .from_email = STR("notify@example.com"),
                                                .domain = STR("example.com")}}};
}

static struct http_request build(const struct account *account, struct arena *arena)
{
    struct delivery d = sample_delivery();
    struct http_request request;
    struct error error = {0};
    d.channel = STR("email");
    d.address =
        (struct address){.kind = ADDRESS_EMAIL, .email = STR("jane@example.org"), .name = STR("Jane")};
    if (provider_smtp.build(&d, account, arena, &request, &error) != RESULT_OK)
        fail_msg("%s", error.text);
    return request;
}

static void tls_is_what_the_account_says(void **state)
{
    struct account account = smtp_account(ACCOUNT_TLS_STARTTLS);
    struct http_request request = build(&account, *state);
    assert_str(request.url, "smtp://mail.example.com:587");
    assert_true(request.starttls);
    account = smtp_account(ACCOUNT_TLS_IMPLICIT);
    account.config.smtp.port = 465;
    request = build(&account, *state);
    assert_str(request.url, "smtps://mail.example.com:465");
    account = smtp_account(ACCOUNT_TLS_NONE);
    account.config.smtp.host = STR("2001:db8::1");
    request = build(&account, *state);
    assert_str(request.url, "smtp://[2001:db8::1]:587");
    assert_false(request.starttls);
}

static void the_envelope_and_the_patience_are_right(void **state)
{
    struct account account = smtp_account(ACCOUNT_TLS_STARTTLS);
    struct http_request request = build(&account, *state);
    assert_str(request.mail_from, "notify@example.com");
    assert_str(request.mail_to, "jane@example.org");
    assert_str(request.user, "u");
    assert_true(request.timeout_ms >= 600000); /* ten minutes for the final reply */
    assert_false(request.public_only);
}

static void the_message_has_what_it_needs(void **state)
{
    struct account account = smtp_account(ACCOUNT_TLS_STARTTLS);
    struct http_request first = build(&account, *state), second = build(&account, *state);
    assert_true(contains(first.body, "Message-ID: <0193f0a1-7c3e-7abc-8def-0123456789ab.2@example.com>\r\n"));
    assert_true(
        contains(second.body, "Message-ID: <0193f0a1-7c3e-7abc-8def-0123456789ab.2@example.com>\r\n"));
    assert_true(contains(first.body, "Auto-Submitted: auto-generated\r\n"));
    assert_true(contains(first.body, "It has left \"us\"\r\n"));
    assert_true(contains(first.body, "It has left &quot;us&quot;"));
    assert_true(contains(first.body, "Track it: https://t.example.com/?a=3D1&b=3D2\r\n"));
    assert_true(contains(first.body, "https://t.example.com/?a=3D1&amp;b=3D2"));
}

#define REPLY(text) "220 hello\r\n250 EHLO\r\n" text "\r\n"

static void replies(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {250, REPLY("250 2.0.0 Ok: queued as 12AB"), true, OUTCOME_SENT, false},
        {252, REPLY("252 cannot verify"), true, OUTCOME_SENT, false},
        {421, REPLY("421 4.3.0 shutting down"), false, OUTCOME_RETRY, false},
        {450, REPLY("450 4.2.0 greylisted"), false, OUTCOME_RETRY, false},
        {452, REPLY("452 4.2.2 mailbox full"), false, OUTCOME_RETRY, false},
        {454, REPLY("454 4.7.0 temporary authentication failure"), false, OUTCOME_RETRY, false},
        {451, REPLY("451 4.7.1 slow down"), false, OUTCOME_THROTTLED, false},
        {550, REPLY("550 5.1.1 no such user"), false, OUTCOME_GONE, false},
        {550, REPLY("550 5.2.1 disabled"), false, OUTCOME_GONE, false},
        {550, REPLY("550 no such user"), false, OUTCOME_GONE, false},
        {550, REPLY("550 content"), true, OUTCOME_REJECTED, true},
        {551, REPLY("551 not local"), false, OUTCOME_GONE, false},
        {553, REPLY("553 bad name"), false, OUTCOME_GONE, false},
        {556, REPLY("556 5.1.10 null MX"), false, OUTCOME_GONE, false},
        {552, REPLY("552 5.2.2 full"), false, OUTCOME_REJECTED, false},
        {552, REPLY("552 5.3.4 too big"), true, OUTCOME_REJECTED, false},
        {554, REPLY("554 5.6.0 content"), true, OUTCOME_REJECTED, false},
        {550, REPLY("550 5.7.1 policy"), false, OUTCOME_REJECTED, true}, /* never the address's fault */
        {554, REPLY("554 5.7.1 spam"), true, OUTCOME_REJECTED, true},
        {553, REPLY("553 5.1.8 bad sender"), false, OUTCOME_REJECTED, true},
        {500, REPLY("500 what?"), false, OUTCOME_REJECTED, true},
        {503, REPLY("503 bad sequence"), false, OUTCOME_REJECTED, true},
        {530, REPLY("530 5.7.0 must issue STARTTLS"), false, OUTCOME_UNAUTHORIZED, false},
        {535, REPLY("535 5.7.8 bad credentials"), false, OUTCOME_UNAUTHORIZED, false},
        {535, REPLY("535 no"), false, OUTCOME_UNAUTHORIZED, false},
        {534, REPLY("534 5.7.9 too weak"), false, OUTCOME_UNAUTHORIZED, false},
        {538, REPLY("538 5.7.11 encryption required"), false, OUTCOME_UNAUTHORIZED, false},
    };
    expect_answers(&provider_smtp, cases, sizeof cases / sizeof *cases);
}

static void the_queue_id_is_kept(void **state)
{
    (void)state;
    const struct answer_case queued = {250, REPLY("354 go on\r\n250 2.0.0 Ok: queued as 12AB"), true,
                                       OUTCOME_SENT, false};
    assert_string_equal(classify_case(&provider_smtp, &queued).provider_id, "2.0.0 Ok: queued as 12AB");
}

static void greylisting_waits_five_minutes(void **state)
{
    (void)state;
    const struct answer_case grey = {450, REPLY("450 4.2.0 greylisted"), false, OUTCOME_RETRY, false};
    assert_int_equal(classify_case(&provider_smtp, &grey).retry_after_ms, 300000);
}

static void addresses_in_replies_are_masked(void **state)
{
    (void)state;
    const struct answer_case repeated = {550, REPLY("550 5.1.1 <jane.doe@example.org>: unknown"), false,
                                         OUTCOME_GONE, false};
    struct outcome outcome = classify_case(&provider_smtp, &repeated);
    assert_null(strstr(outcome.detail, "jane.doe"));
    assert_non_null(strstr(outcome.detail, "@example.org"));
}

static void what_is_lost_after_the_last_dot_is_unknown(void **state)
{
    (void)state;
    assert_int_equal(classify_failure(&provider_smtp, HTTP_LOST, true).kind, OUTCOME_UNKNOWN);
    assert_int_equal(classify_failure(&provider_smtp, HTTP_LOST, false).kind, OUTCOME_RETRY);
    assert_int_equal(classify_failure(&provider_smtp, HTTP_NOT_SENT, false).kind, OUTCOME_RETRY);
    assert_int_equal(classify_failure(&provider_smtp, HTTP_BAD_CERTIFICATE, false).kind,
                     OUTCOME_UNAUTHORIZED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, arena_setup, arena_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tls_is_what_the_account_says),
        TEST(the_envelope_and_the_patience_are_right),
        TEST(the_message_has_what_it_needs),
        TEST(replies),
        TEST(the_queue_id_is_kept),
        TEST(greylisting_waits_five_minutes),
        TEST(addresses_in_replies_are_masked),
        TEST(what_is_lost_after_the_last_dot_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
