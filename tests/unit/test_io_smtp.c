/* Mail over SMTP against a scripted server: the dialogue, each refusal, and what is known when it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/http.h"
#include "unit_server.h"
#include "unit_transfer.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* A rule answers the commands that begin so; NULL closes the connection. "GREETING" and "." are no commands:
 * the first word of the server, and the end of the message. The first rule that fits counts. */
struct rule {
    const char *command, *reply;
};

static const struct rule usual[] = {{"GREETING", "220 mail.test ESMTP\r\n"},
                                    {"EHLO", "250-mail.test\r\n250-SIZE 1000000\r\n250 AUTH PLAIN\r\n"},
                                    {"AUTH", "235 2.7.0 welcome\r\n"},
                                    {"MAIL", "250 2.1.0 ok\r\n"},
                                    {"RCPT", "250 2.1.5 ok\r\n"},
                                    {"DATA", "354 go on\r\n"},
                                    {".", "250 2.0.0 queued as Q77\r\n"},
                                    {"", "250 ok\r\n"}};

static const char *reply_to(const struct rule *rules, const char *command)
{
    for (; rules && rules->command; rules++)
        if (strncmp(command, rules->command, strlen(rules->command)) == 0)
            return rules->reply;
    for (size_t i = 0;; i++)
        if (strncmp(command, usual[i].command, strlen(usual[i].command)) == 0)
            return usual[i].reply;
}

static void serve_mail(struct unit_server *server, int fd, int nth)
{
    (void)nth;
    static _Thread_local char line[8192], message[1 << 17];
    const char *reply = reply_to(server->context, "GREETING");
    while (reply && unit_server_write(fd, reply) && unit_server_read_until(fd, "\r\n", line, sizeof line)) {
        unit_server_log(server, line, strlen(line));
        reply = reply_to(server->context, line);
        if (strncmp(line, "DATA", 4) != 0 || !reply || reply[0] != '3')
            continue;
        unit_server_write(fd, reply);
        if (!unit_server_read_until(fd, "\r\n.\r\n", message, sizeof message))
            return;
        unit_server_log(server, message, strlen(message));
        atomic_fetch_add(&server->requests, 1);
        reply = reply_to(server->context, ".");
    }
}

static int set_up(void **state)
{
    (void)state;
    open_client(&(struct http_settings){.smtp_name = "belfry.example.com"});
    return 0;
}

static char url[64];

static struct http_request mail_to(const struct unit_server *server)
{
    snprintf(url, sizeof url, "smtp://127.0.0.1:%d", server->port);
    return (struct http_request){.kind = HTTP_SMTP,
                                 .url = str_from(url),
                                 .body = STR("Subject: hi\r\n\r\n.leading dot\r\nlast line\r\n"),
                                 .timeout_ms = 5000,
                                 .connect_timeout_ms = 2000,
                                 .mail_from = STR("bounce+7@belfry.example.com"),
                                 .mail_to = STR("jane@example.com")};
}

/* Sends one mail to a server with these rules. */
static void send_by(const struct rule *rules, struct http_request *(*change)(struct http_request *),
                    struct outcome *o)
{
    struct unit_server *server = unit_server_start(serve_mail, rules);
    struct http_request r = mail_to(server);
    transfer(change ? change(&r) : &r, o);
    http_destroy(http);
    unit_server_stop(server);
    set_up(NULL);
}

static void a_mail_is_delivered_whole(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_mail, NULL);
    struct http_request r = mail_to(server);
    struct outcome o;
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(o.answer.status, 250);
    assert_true(o.answer.smtp_after_data);
    assert_non_null(strstr(o.head, "queued as Q77"));
    assert_non_null(unit_server_saw(server, "EHLO belfry.example.com\r\n"));
    assert_non_null(unit_server_saw(server, "MAIL FROM:<bounce+7@belfry.example.com>"));
    assert_non_null(unit_server_saw(server, "RCPT TO:<jane@example.com>\r\n"));
    assert_non_null(unit_server_saw(server, "Subject: hi\r\n\r\n..leading dot\r\nlast line\r\n.\r\n"));
    assert_null(unit_server_saw(server, "AUTH"));
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void a_session_carries_several_mails(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_mail, NULL);
    struct http_request r = mail_to(server);
    struct outcome o;
    for (int i = 0; i < 5; i++) {
        transfer(&r, &o);
        assert_failure(&o, HTTP_ANSWERED);
        assert_int_equal(o.answer.status, 250);
        assert_non_null(strstr(o.head, "queued as Q77"));
    }
    assert_int_equal(atomic_load(&server->requests), 5);
    assert_int_equal(atomic_load(&server->accepted), 1);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static struct http_request *with_login(struct http_request *r)
{
    r->user = STR("jane");
    r->password = STR("p:w@d");
    return r;
}

static void a_login_is_sent_where_one_is_given(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_mail, NULL);
    struct http_request r = mail_to(server);
    struct outcome o;
    transfer(with_login(&r), &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(o.answer.status, 250);
    const char *login = unit_server_saw(server, "AUTH PLAIN");
    assert_non_null(login);
    assert_non_null(strstr(login, "AGphbmUAcDp3QGQ="));
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void each_refusal_is_an_answer(void **state)
{
    (void)state;
    static const struct {
        struct rule rules[2];
        int status;
        bool after_data, login;
    } cases[] = {
        {{{"GREETING", "554 5.3.2 no service\r\n"}}, 554, false, false},
        {{{"GREETING", "421 4.3.2 too busy\r\n"}}, 421, false, false},
        {{{"AUTH", "535 5.7.8 bad credentials\r\n"}}, 535, false, true},
        {{{"AUTH", "454 4.7.0 later\r\n"}}, 454, false, true},
        {{{"MAIL", "550 5.1.8 no such sender\r\n"}}, 550, false, false},
        {{{"RCPT", "550 5.1.1 no such user\r\n"}}, 550, false, false},
        {{{"RCPT", "450 4.2.0 greylisted\r\n"}}, 450, false, false},
        {{{"DATA", "452 4.3.1 full\r\n"}}, 452, false, false},
        {{{".", "554 5.6.0 content\r\n"}}, 554, true, false},
        {{{".", "451 4.7.1 later\r\n"}}, 451, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o;
        send_by(cases[i].rules, cases[i].login ? with_login : NULL, &o);
        if (o.answer.failure != HTTP_ANSWERED || o.answer.status != cases[i].status ||
            o.answer.smtp_after_data != cases[i].after_data)
            fail_msg("%s: failure %d, status %d, after data %d, %s", cases[i].rules[0].reply,
                     (int)o.answer.failure, o.answer.status, o.answer.smtp_after_data, o.detail);
        assert_non_null(strstr(o.head, cases[i].rules[0].reply));
    }
}

static void a_cut_session_says_whether_the_message_was_out(void **state)
{
    (void)state;
    static const struct {
        struct rule rules[2];
        bool after_data;
    } cases[] = {{{{"EHLO", NULL}}, false},
                 {{{"MAIL", NULL}}, false},
                 {{{"RCPT", NULL}}, false},
                 {{{"DATA", NULL}}, false},
                 {{{".", NULL}}, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome o;
        send_by(cases[i].rules, NULL, &o);
        if (o.answer.failure != HTTP_LOST || o.answer.smtp_after_data != cases[i].after_data)
            fail_msg("%s: failure %d, after data %d, %s", cases[i].rules[0].command, (int)o.answer.failure,
                     o.answer.smtp_after_data, o.detail);
    }
}

static struct http_request *with_starttls(struct http_request *r)
{
    r->starttls = true;
    return with_login(r);
}

static void without_the_tls_that_is_required_nothing_is_said(void **state)
{
    (void)state;
    static const struct rule refuses[] = {{"EHLO", "250-mail.test\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"},
                                          {"STARTTLS", "454 4.7.0 not now\r\n"},
                                          {0}};
    const struct rule *const servers[] = {NULL, refuses};
    for (int i = 0; i < 2; i++) {
        struct unit_server *server = unit_server_start(serve_mail, servers[i]);
        struct http_request r = mail_to(server);
        struct outcome o;
        transfer(with_starttls(&r), &o);
        assert_failure(&o, HTTP_BAD_CERTIFICATE);
        assert_false(o.answer.smtp_after_data);
        http_destroy(http);
        assert_null(unit_server_saw(server, "AUTH"));
        assert_null(unit_server_saw(server, "MAIL"));
        unit_server_stop(server);
        set_up(NULL);
    }
}

static void a_server_that_is_not_there_is_not_sent_to(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_mail, NULL);
    struct http_request r = mail_to(server);
    struct outcome o;
    unit_server_stop(server);
    transfer(&r, &o);
    assert_failure(&o, HTTP_NOT_SENT);
}

static void a_private_mail_server_is_refused_where_a_tenant_chose_it(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_mail, NULL);
    struct http_request r = mail_to(server);
    struct outcome o;
    r.public_only = true;
    transfer(&r, &o);
    assert_failure(&o, HTTP_FORBIDDEN_ADDRESS);
    assert_int_equal(atomic_load(&server->accepted), 0);
    unit_server_stop(server);
}

static void addresses_cannot_carry_commands(void **state)
{
    (void)state;
    static const struct str bad[] = {
        {"a@b>\r\nRCPT TO:<c@d", 20}, {"a@b> SIZE=1", 11}, {"<a@b", 4}, {"a b@c", 5}, {"", 0}};
    struct outcome o = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_request r = {.kind = HTTP_SMTP, .url = STR("smtp://127.0.0.1:1"), .timeout_ms = 100};
        r.mail_from = STR("a@example.com");
        r.mail_to = bad[i];
        assert_int_equal(http_start(http, &r, on_done, &o, &error), RESULT_INVALID);
        r.mail_to = STR("a@example.com");
        r.mail_from = bad[i];
        if (bad[i].bytes) /* an empty sender is that of bounces */
            assert_int_equal(http_start(http, &r, on_done, &o, &error), RESULT_INVALID);
    }
    assert_int_equal(o.done, 0);
}

static void a_big_message_goes_through(void **state)
{
    (void)state;
    enum { LINES = 1500 };
    static char body[LINES * 64 + 1];
    struct unit_server *server = unit_server_start(serve_mail, NULL);
    struct http_request r = mail_to(server);
    struct outcome o;
    for (int i = 0; i < LINES; i++)
        memcpy(body + (size_t)i * 64, ".23456789 123456789 123456789 123456789 123456789 123456789 12\r\n",
               65);
    r.body = str_from(body);
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(o.answer.status, 250);
    assert_true(o.answer.smtp_after_data);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_mail_is_delivered_whole),
        TEST(a_session_carries_several_mails),
        TEST(a_login_is_sent_where_one_is_given),
        TEST(each_refusal_is_an_answer),
        TEST(a_cut_session_says_whether_the_message_was_out),
        TEST(without_the_tls_that_is_required_nothing_is_said),
        TEST(a_server_that_is_not_there_is_not_sent_to),
        TEST(a_private_mail_server_is_refused_where_a_tenant_chose_it),
        TEST(addresses_cannot_carry_commands),
        TEST(a_big_message_goes_through),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("io/smtp", tests, NULL, NULL);
}
