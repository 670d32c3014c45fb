/* Transfers over HTTP against a small server of our own: what goes out, what comes back, and each way to
 * fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "io/http.h"
#include "unit_server.h"
#include "unit_transfer.h"
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int set_up(void **state)
{
    (void)state;
    open_client(&(struct http_settings){0});
    return 0;
}

static char url[128];

static struct http_request request_to(const struct unit_server *server, const char *path)
{
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", server->port, path);
    return (struct http_request){.kind = HTTP_POST,
                                 .url = str_from(url),
                                 .header_count = 1,
                                 .headers = {STR("Content-Type: application/json")},
                                 .body = STR("{\"n\":1}"),
                                 .timeout_ms = 5000,
                                 .connect_timeout_ms = 2000};
}

/* ---- servers ---- */

static void serve_ok(struct unit_server *server, int fd, int nth)
{
    (void)nth;
    while (unit_server_read_request(server, fd))
        if (!unit_server_write(fd, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nLocation: /m/1\r\n\r\n{}"))
            return;
}

/* Answers the first request of a connection and closes on the second without a byte. */
static void serve_one_each(struct unit_server *server, int fd, int nth)
{
    (void)nth;
    if (unit_server_read_request(server, fd))
        unit_server_write(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    unit_server_read_request(server, fd);
}

static void serve_nothing(struct unit_server *server, int fd, int nth)
{
    (void)nth;
    unit_server_read_request(server, fd);
}

static void serve_silence(struct unit_server *server, int fd, int nth)
{
    (void)nth;
    unit_server_read_request(server, fd);
    unit_server_drain(fd);
}

/* Writes server->context to whoever asks. */
static void serve_text(struct unit_server *server, int fd, int nth)
{
    (void)nth;
    while (unit_server_read_request(server, fd))
        if (!unit_server_write(fd, server->context))
            return;
}

/* ---- what goes out ---- */

static void a_post_goes_out_as_it_was_built(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    struct http_request r = request_to(server, "/hook?a=b%20c");
    struct outcome o;
    r.headers[r.header_count++] = STR("X-Signature: v1,abc=");
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(o.answer.status, 201);
    assert_string_equal(o.body, "{}");
    assert_true(str_is(http_answer_header(&o.answer, "location"), "/m/1"));
    assert_true(o.answer.elapsed_us > 0);
    assert_non_null(unit_server_saw(server, "POST /hook?a=b%20c HTTP/1.1\r\n"));
    assert_non_null(unit_server_saw(server, "Content-Type: application/json\r\n"));
    assert_non_null(unit_server_saw(server, "X-Signature: v1,abc=\r\n"));
    assert_non_null(unit_server_saw(server, "Content-Length: 7\r\n"));
    assert_non_null(unit_server_saw(server, "\r\n\r\n{\"n\":1}"));
    assert_null(unit_server_saw(server, "Expect"));
    assert_null(unit_server_saw(server, "urlencoded"));
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void a_handle_forgets_its_last_request(void **state)
{
    (void)state;
    static const struct {
        enum http_kind kind;
        const char *line;
        bool has_body;
    } steps[] = {{HTTP_PUT, "PUT /1 ", true},   {HTTP_GET, "GET /2 ", false},
                 {HTTP_POST, "POST /3 ", true}, {HTTP_DELETE, "DELETE /4 ", false},
                 {HTTP_GET, "GET /5 ", false},  {HTTP_PUT, "PUT /6 ", true}};
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    struct outcome o;
    for (int i = 0; i < 6; i++) {
        char path[16], body[24], header[24];
        snprintf(path, sizeof path, "/%d", i + 1);
        snprintf(body, sizeof body, "body-%d", i);
        snprintf(header, sizeof header, "X-Step: %d", i);
        struct http_request r = request_to(server, path);
        r.kind = steps[i].kind;
        r.headers[0] = str_from(header);
        r.body = steps[i].has_body ? str_from(body) : STR_NONE;
        transfer(&r, &o);
        assert_int_equal(o.answer.status, 201);
        const char *seen = unit_server_saw(server, steps[i].line);
        assert_non_null(seen);
        assert_non_null(strstr(seen, header));
        if (steps[i].has_body)
            assert_non_null(strstr(seen, body));
        else
            assert_null(strstr(seen, "Content-Length"));
    }
    assert_int_equal(atomic_load(&server->requests), 6);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void an_empty_post_says_that_it_is_empty(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    struct http_request r = request_to(server, "/");
    struct outcome o;
    r.body = STR_NONE;
    r.header_count = 0;
    transfer(&r, &o);
    assert_int_equal(o.answer.status, 201);
    assert_non_null(unit_server_saw(server, "Content-Length: 0\r\n"));
    assert_null(unit_server_saw(server, "Content-Type"));
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void control_characters_never_leave(void **state)
{
    (void)state;
    static const struct str headers[] = {
        {"X: a\r\nY: b", 10}, {"X: a\nY", 6}, {"X: \0", 4}, {"no colon", 8}, {"", 0}};
    static const struct str urls[] = {
        {"http://h/a b", 12}, {"http://h/\r\nX: y", 15}, {"", 0}, {"http://h/\0", 10}};
    struct http_request r = {.url = STR("http://127.0.0.1:1/"), .header_count = 1, .timeout_ms = 100};
    struct outcome o = {0};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        r.headers[0] = headers[i];
        assert_int_equal(http_start(http, &r, on_done, &o, &error), RESULT_INVALID);
    }
    r.header_count = 0;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        r.url = urls[i];
        assert_int_equal(http_start(http, &r, on_done, &o, &error), RESULT_INVALID);
    }
    assert_int_equal(http_in_flight(http), 0);
    assert_int_equal(o.done, 0);
}

static void only_http_is_spoken(void **state)
{
    (void)state;
    static const char *const urls[] = {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:1/x",
                                       "dict://127.0.0.1:1/x"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct http_request r = {.kind = HTTP_GET, .url = str_from(urls[i]), .timeout_ms = 1000};
        struct outcome o;
        transfer(&r, &o);
        assert_failure(&o, HTTP_NOT_SENT);
        assert_string_equal(o.body, "");
    }
}

/* ---- connections ---- */

static void connections_are_kept(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    struct http_request r = request_to(server, "/");
    struct outcome o;
    for (int i = 0; i < 20; i++)
        transfer(&r, &o);
    assert_int_equal(atomic_load(&server->requests), 20);
    assert_int_equal(atomic_load(&server->accepted), 1);
    r.fresh_connection = true;
    for (int i = 0; i < 3; i++)
        transfer(&r, &o);
    assert_int_equal(atomic_load(&server->accepted), 4);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void a_kept_connection_that_was_closed_costs_nothing(void **state)
{
    (void)state;
    struct unit_server *server =
        unit_server_start(serve_text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    struct http_request r = request_to(server, "/");
    struct outcome o;
    for (int i = 0; i < 5; i++) {
        transfer(&r, &o);
        assert_failure(&o, HTTP_ANSWERED);
    }
    assert_int_equal(atomic_load(&server->requests), 5);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

/* libcurl 7.88 repeats by itself; whoever cannot have that asks for a fresh connection. */
static void a_request_is_repeated_on_a_kept_connection_alone(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_one_each, NULL);
    struct http_request r = request_to(server, "/");
    struct outcome o;
    transfer(&r, &o);
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(atomic_load(&server->requests), 3);
    http_destroy(http);
    unit_server_stop(server);
    open_client(&(struct http_settings){0});
    server = unit_server_start(serve_nothing, NULL);
    r = request_to(server, "/");
    r.fresh_connection = true;
    transfer(&r, &o);
    assert_failure(&o, HTTP_LOST);
    assert_int_equal(atomic_load(&server->requests), 1);
    unit_server_stop(server);
}

static int left_to_start;
static struct http_request repeated;

static void start_next(void *context, const struct http_answer *answer)
{
    on_done(context, answer);
    if (left_to_start-- > 0)
        assert_int_equal(http_start(http, &repeated, start_next, context, &error), RESULT_OK);
}

static void many_at_once_each_end_once(void **state)
{
    (void)state;
    enum { AT_ONCE = 16, MORE = 300 };
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    struct outcome *o = calloc(1, sizeof *o);
    repeated = request_to(server, "/");
    left_to_start = MORE;
    for (int i = 0; i < AT_ONCE; i++)
        assert_int_equal(http_start(http, &repeated, start_next, o, &error), RESULT_OK);
    assert_int_equal(http_start(http, &repeated, start_next, o, &error), RESULT_BUSY);
    run();
    assert_int_equal(o->done, AT_ONCE + MORE);
    assert_int_equal(atomic_load(&server->requests), AT_ONCE + MORE);
    assert_in_range(atomic_load(&server->accepted), 1, AT_ONCE);
    free(o);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

/* ---- answers ---- */

static void an_interim_answer_is_not_the_answer(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(
        serve_text, "HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n"
                    "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow");
    struct http_request r = request_to(server, "/");
    struct outcome o;
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(o.answer.status, 429);
    assert_int_equal(http_answer_retry_after_ms(&o.answer), 7000);
    assert_null(strstr(o.head, "103"));
    assert_string_equal(o.body, "slow");
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void a_redirect_is_an_answer(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(
        serve_text, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    struct http_request r = request_to(server, "/");
    struct outcome o;
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(o.answer.status, 302);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void a_long_answer_is_cut(void **state)
{
    (void)state;
    enum { LONG = 1 << 20 };
    char *text = malloc(LONG + 100);
    int head = snprintf(text, 100, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LONG);
    memset(text + head, 'x', LONG);
    text[head + LONG] = '\0';
    struct unit_server *server = unit_server_start(serve_text, text);
    struct http_request r = request_to(server, "/");
    struct outcome o;
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(o.answer.status, 200);
    assert_int_equal(o.answer.body.bytes, HTTP_ANSWER_BYTES_MAX);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
    free(text);
}

/* ---- failures ---- */

static void nothing_is_sent_to_a_closed_port(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    struct http_request r = request_to(server, "/");
    struct outcome o;
    unit_server_stop(server);
    transfer(&r, &o);
    assert_failure(&o, HTTP_NOT_SENT);
    assert_true(strlen(o.detail) > 0);
}

static void a_request_without_an_answer_is_lost(void **state)
{
    (void)state;
    static unit_serve *const servers[] = {serve_nothing, serve_silence};
    for (int i = 0; i < 2; i++) {
        struct unit_server *server = unit_server_start(servers[i], NULL);
        struct http_request r = request_to(server, "/");
        struct outcome o;
        r.timeout_ms = i == 0 ? 5000 : 200;
        transfer(&r, &o);
        assert_failure(&o, HTTP_LOST);
        assert_int_equal(o.answer.status, 0);
        unit_server_stop(server);
    }
}

static void a_status_counts_though_its_body_was_cut(void **state)
{
    (void)state;
    struct unit_server *server =
        unit_server_start(serve_text, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
    struct http_request r = request_to(server, "/");
    struct outcome o;
    r.timeout_ms = 300;
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_int_equal(o.answer.status, 200);
    assert_string_equal(o.body, "short");
    assert_true(strlen(o.detail) > 0);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void an_interim_status_does_not_count(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_text, "HTTP/1.1 103 Early Hints\r\n\r\n");
    struct http_request r = request_to(server, "/");
    struct outcome o;
    r.timeout_ms = 300;
    transfer(&r, &o);
    assert_failure(&o, HTTP_LOST);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void destroying_ends_what_runs(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_silence, NULL);
    struct http_request r = request_to(server, "/");
    struct outcome sent, unsent;
    start(&r, &sent);
    int64_t deadline = clock_mono_ms() + 5000;
    while (atomic_load(&server->requests) == 0 && clock_mono_ms() < deadline)
        turn();
    start(&r, &unsent);
    http_destroy(http);
    http = NULL;
    assert_int_equal(sent.done, 1);
    assert_failure(&sent, HTTP_LOST);
    assert_int_equal(unsent.done, 1);
    assert_failure(&unsent, HTTP_NOT_SENT);
    unit_server_stop(server);
}

/* ---- addresses ---- */

static void a_private_address_is_not_connected_to(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    static const char *const hosts[] = {"127.0.0.1",          "localhost",  "127.1",
                                        "0x7f000001",         "2130706433", "[::1]",
                                        "[::ffff:127.0.0.1]", "0.0.0.0"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct http_request r = request_to(server, "/");
        struct outcome o;
        snprintf(url, sizeof url, "http://%s:%d/", hosts[i], server->port);
        r.url = str_from(url);
        r.public_only = true;
        transfer(&r, &o);
        if (o.answer.failure != HTTP_FORBIDDEN_ADDRESS)
            fail_msg("%s: failure %d, %s", hosts[i], (int)o.answer.failure, o.detail);
    }
    assert_int_equal(atomic_load(&server->accepted), 0);
    unit_server_stop(server);
}

static void a_kept_connection_to_a_private_address_is_not_used(void **state)
{
    (void)state;
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    struct http_request r = request_to(server, "/");
    struct outcome o;
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    r.public_only = true;
    transfer(&r, &o);
    assert_failure(&o, HTTP_FORBIDDEN_ADDRESS);
    assert_int_equal(atomic_load(&server->requests), 1);
    r.public_only = false;
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

static void private_addresses_may_be_allowed(void **state)
{
    (void)state;
    tear_down(NULL);
    open_client(&(struct http_settings){.private_addresses = true});
    struct unit_server *server = unit_server_start(serve_ok, NULL);
    struct http_request r = request_to(server, "/");
    struct outcome o;
    r.public_only = true;
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
}

/* ---- TLS ---- */

static X509 *make_certificate(EVP_PKEY *pair)
{
    X509 *certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, pair);
    X509_NAME *name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"belfry test", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    static const struct {
        int id;
        const char *value;
    } extensions[] = {{NID_subject_alt_name, "IP:127.0.0.1"}, {NID_basic_constraints, "critical,CA:TRUE"}};
    for (int i = 0; i < 2; i++) {
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, extensions[i].id, extensions[i].value);
        X509_add_ext(certificate, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(certificate, pair, EVP_sha256()) > 0);
    return certificate;
}

static void serve_tls(struct unit_server *server, int fd, int nth)
{
    (void)nth;
    char bytes[4096];
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntls";
    SSL *ssl = SSL_new((SSL_CTX *)(uintptr_t)server->context);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        while (SSL_read(ssl, bytes, sizeof bytes) > 0) {
            atomic_fetch_add(&server->requests, 1);
            SSL_write(ssl, answer, sizeof answer - 1);
        }
    }
    SSL_free(ssl);
}

static void a_certificate_must_be_trusted(void **state)
{
    (void)state;
    char ca_file[] = "/tmp/belfry-test-XXXXXX";
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    X509 *certificate = make_certificate(pair);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, pair), 1);
    FILE *file = fdopen(mkstemp(ca_file), "w");
    PEM_write_X509(file, certificate);
    fclose(file);
    struct unit_server *server = unit_server_start(serve_tls, context);
    struct http_request r = request_to(server, "/");
    struct outcome o;
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server->port);
    r.url = str_from(url);
    transfer(&r, &o);
    assert_failure(&o, HTTP_BAD_CERTIFICATE);
    assert_int_equal(atomic_load(&server->requests), 0);
    tear_down(NULL);
    open_client(&(struct http_settings){.ca_file = ca_file});
    transfer(&r, &o);
    assert_failure(&o, HTTP_ANSWERED);
    assert_string_equal(o.body, "tls");
    http_destroy(http);
    http = NULL;
    unit_server_stop(server);
    unlink(ca_file);
    SSL_CTX_free(context);
    X509_free(certificate);
    EVP_PKEY_free(pair);
}

static void a_server_without_tls_gets_nothing(void **state)
{
    (void)state;
    struct unit_server *server =
        unit_server_start(serve_text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct http_request r = request_to(server, "/");
    struct outcome o;
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", server->port);
    r.url = str_from(url);
    r.timeout_ms = 500;
    transfer(&r, &o);
    assert_failure(&o, HTTP_NOT_SENT);
    assert_int_equal(atomic_load(&server->requests), 0);
    unit_server_stop(server);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_post_goes_out_as_it_was_built),
        TEST(a_handle_forgets_its_last_request),
        TEST(an_empty_post_says_that_it_is_empty),
        TEST(control_characters_never_leave),
        TEST(only_http_is_spoken),
        TEST(connections_are_kept),
        TEST(a_kept_connection_that_was_closed_costs_nothing),
        TEST(a_request_is_repeated_on_a_kept_connection_alone),
        TEST(many_at_once_each_end_once),
        TEST(an_interim_answer_is_not_the_answer),
        TEST(a_redirect_is_an_answer),
        TEST(a_long_answer_is_cut),
        TEST(nothing_is_sent_to_a_closed_port),
        TEST(a_request_without_an_answer_is_lost),
        TEST(a_status_counts_though_its_body_was_cut),
        TEST(an_interim_status_does_not_count),
        TEST(destroying_ends_what_runs),
        TEST(a_private_address_is_not_connected_to),
        TEST(a_kept_connection_to_a_private_address_is_not_used),
        TEST(private_addresses_may_be_allowed),
        TEST(a_certificate_must_be_trusted),
        TEST(a_server_without_tls_gets_nothing),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("io/http", tests, NULL, NULL);
}
