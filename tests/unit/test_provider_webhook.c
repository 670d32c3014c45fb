/* Signed webhooks: Standard Webhooks 1.0.0, the body, and what answers mean. */
#include "unit_provider.h"

#include "format/json.h"
#include "format/text.h"

static struct http_request build(struct delivery *d, struct arena *arena)
{
    struct http_request request;
    struct error error = {0};
    if (provider_webhook.build(d, NULL, arena, &request, &error) != RESULT_OK)
        fail_msg("%s", error.text);
    return request;
}

static void a_signature_is_the_specifications(void **state)
{
    (void)state;
    unsigned char key[ADDRESS_SECRET_BYTES_MOST], mac[SHA256_BYTES];
    struct buf text = BUF_INIT(128);
    size_t bytes;
    assert_true(address_secret_key(STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), key, &bytes));
    crypto_hmac_sha256((struct str){(char *)key, bytes},
                       STR("msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{\"test\": 2432232314}"), mac);
    text_base64(&text, mac, sizeof mac);
    assert_str(buf_str(&text), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    buf_free(&text);
}

/* What a receiver does: HMAC over "id.timestamp.body" with one secret, looked for in the header. */
static bool verifies(const struct http_request *request, struct str secret, struct arena *arena)
{
    unsigned char key[ADDRESS_SECRET_BYTES_MOST], mac[SHA256_BYTES];
    size_t bytes;
    struct buf expected = BUF_INIT(128);
    assert_true(address_secret_key(secret, key, &bytes));
    char *content =
        arena_printf(arena, STR_FMT "." STR_FMT "." STR_FMT, STR_ARG(request_header(request, "webhook-id")),
                     STR_ARG(request_header(request, "webhook-timestamp")), STR_ARG(request->body));
    crypto_hmac_sha256((struct str){(char *)key, bytes}, str_from(content), mac);
    buf_add_text(&expected, "v1,");
    text_base64(&expected, mac, sizeof mac);
    bool found = contains(request_header(request, "webhook-signature"), buf_cstr(&expected));
    buf_free(&expected);
    return found;
}

static void every_secret_signs(void **state)
{
    struct delivery d = sample_delivery();
    struct str old, fresh;
    struct error error;
    assert_int_equal(address_secret_make(*state, &old, &error), RESULT_OK);
    assert_int_equal(address_secret_make(*state, &fresh, &error), RESULT_OK);
    d.address = (struct address){.kind = ADDRESS_WEBHOOK,
                                 .url = STR("https://h.example.com/in"),
                                 .secret_count = 2,
                                 .secrets = {fresh, old}};
    struct http_request request = build(&d, *state);
    assert_true(verifies(&request, fresh, *state));
    assert_true(verifies(&request, old, *state));
    assert_true(request.public_only);
    assert_str(request.url, "https://h.example.com/in");
    assert_str(request_header(&request, "Content-Type"), "application/json");
}

static void the_id_is_the_same_on_every_try_and_the_time_is_not(void **state)
{
    struct delivery d = sample_delivery();
    d.address.url = STR("https://h.example.com/");
    struct http_request first = build(&d, *state);
    d.now_us += 90000000;
    d.tries = 3;
    struct http_request second = build(&d, *state);
    assert_str(request_header(&first, "webhook-id"), "msg_0193f0a1-7c3e-7abc-8def-0123456789ab_2");
    assert_true(str_equal(request_header(&first, "webhook-id"), request_header(&second, "webhook-id")));
    assert_str(request_header(&first, "webhook-timestamp"), "1795000000");
    assert_str(request_header(&second, "webhook-timestamp"), "1795000090");
}

static void without_a_secret_there_is_no_signature(void **state)
{
    struct delivery d = sample_delivery();
    d.address.url = STR("https://h.example.com/");
    struct http_request request = build(&d, *state);
    assert_false(str_is_set(request_header(&request, "webhook-signature")));
}

static void a_damaged_secret_is_never_sent_with(void **state)
{
    struct delivery d = sample_delivery();
    struct http_request request;
    struct error error = {0};
    d.address = (struct address){
        .url = STR("https://h.example.com/"), .secret_count = 1, .secrets = {STR("whsec_?")}};
    assert_int_equal(provider_webhook.build(&d, NULL, *state, &request, &error), RESULT_INVALID);
}

static void the_body_says_everything(void **state)
{
    struct delivery d = sample_delivery();
    json_t *tree;
    struct error error = {0};
    d.address.url = STR("https://h.example.com/");
    struct http_request request = build(&d, *state);
    assert_int_equal(json_parse(*state, request.body, &tree, &error), RESULT_OK);
    const json_t *data = json_object_get(tree, "data");
    assert_str(json_str(json_object_get(tree, "type")), "notification");
    assert_str(json_str(json_object_get(tree, "timestamp")), "2026-11-18T11:06:40.123Z");
    assert_str(json_str(json_object_get(data, "id")), "0193f0a1-7c3e-7abc-8def-0123456789ab");
    assert_str(json_str(json_object_get(data, "user")), "jane");
    assert_str(json_str(json_object_get(data, "title")), "Your order");
    assert_str(json_str(json_object_get(data, "body")), "It has left \"us\"\n");
    assert_str(json_str(json_object_get(data, "priority")), "high");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(data, "data"), "order")), 17);
    assert_true(json_is_null(json_object_get(data, "sender")));
    assert_int_equal(json_array_size(json_object_get(data, "actions")), 2);
    assert_int_equal(json_object_size(data), 12);
}

/* What the API lets through at most: every character of body and title is escaped to six bytes. */
static void the_longest_notification_fits(void **state)
{
    struct delivery d = sample_delivery();
    static char title[256], body[4096], data[8192];
    memset(title, 1, sizeof title);
    memset(body, 1, sizeof body);
    memset(data, 'x', sizeof data);
    memcpy(data, "{\"x\":\"", 6);
    memcpy(data + sizeof data - 2, "\"}", 2);
    d.title = (struct str){title, sizeof title};
    d.body = (struct str){body, sizeof body};
    d.data = (struct str){data, sizeof data};
    d.address.url = STR("https://h.example.com/");
    struct http_request request = build(&d, *state);
    assert_true(request.body.bytes > 6 * sizeof body);
}

static void answers(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {200, NULL, false, OUTCOME_SENT, false},      {204, NULL, false, OUTCOME_SENT, false},
        {299, NULL, false, OUTCOME_SENT, false},      {301, NULL, false, OUTCOME_RETRY, false},
        {400, NULL, false, OUTCOME_RETRY, false},     {401, NULL, false, OUTCOME_RETRY, false},
        {404, NULL, false, OUTCOME_RETRY, false},     {410, NULL, false, OUTCOME_GONE, false},
        {429, NULL, false, OUTCOME_THROTTLED, false}, {500, NULL, false, OUTCOME_RETRY, false},
        {503, NULL, false, OUTCOME_RETRY, false},
    };
    expect_answers(&provider_webhook, cases, sizeof cases / sizeof *cases);
}

static void retry_after_is_passed_on(void **state)
{
    (void)state;
    const struct answer_case slow = {503, "HTTP/1.1 503 x\r\nretry-after: 120\r\n\r\n", false, OUTCOME_RETRY,
                                     false};
    const struct answer_case silent = {503, "HTTP/1.1 503 x\r\n\r\n", false, OUTCOME_RETRY, false};
    assert_int_equal(classify_case(&provider_webhook, &slow).retry_after_ms, 120000);
    assert_int_equal(classify_case(&provider_webhook, &silent).retry_after_ms, -1);
}

static void failures(void **state)
{
    (void)state;
    assert_int_equal(classify_failure(&provider_webhook, HTTP_NOT_SENT, false).kind, OUTCOME_RETRY);
    assert_int_equal(classify_failure(&provider_webhook, HTTP_LOST, false).kind,
                     OUTCOME_RETRY); /* the id tells a repeat */
    assert_int_equal(classify_failure(&provider_webhook, HTTP_FORBIDDEN_ADDRESS, false).kind,
                     OUTCOME_REJECTED);
    assert_int_equal(classify_failure(&provider_webhook, HTTP_BAD_CERTIFICATE, false).kind, OUTCOME_RETRY);
    assert_string_equal(classify_failure(&provider_webhook, HTTP_NOT_SENT, false).detail, "why");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, arena_setup, arena_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_signature_is_the_specifications),
        TEST(every_secret_signs),
        TEST(the_id_is_the_same_on_every_try_and_the_time_is_not),
        TEST(without_a_secret_there_is_no_signature),
        TEST(a_damaged_secret_is_never_sent_with),
        TEST(the_body_says_everything),
        TEST(the_longest_notification_fits),
        TEST(answers),
        TEST(retry_after_is_passed_on),
        TEST(failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
