/* Web Push: headers (RFC 8030, 8292), the size and content of the payload, answers, and the tokens of
 * origins. */
#include "unit_provider.h"

#include "format/json.h"
#include "format/text.h"
#include "worker/vapid.h"

/* A subscription and an account, made once. */
struct push_fixture {
    struct arena *arena;
    struct account account;
    char point[P256_POINT_BYTES], auth[PUSH_AUTH_BYTES];
};

static int setup(void **state)
{
    static struct push_fixture fixture;
    struct buf json = BUF_INIT(4096);
    struct error error = {0};
    unsigned char scalar[P256_SCALAR_BYTES];
    fixture.arena = arena_create(TEST_ARENA_BYTES);
    if (!fixture.arena || account_make_webpush(STR("mailto:ops@example.com"), &json, &error) != RESULT_OK ||
        account_parse(STR("webpush"), buf_str(&json), fixture.arena, &fixture.account.config, &error) !=
            RESULT_OK ||
        crypto_p256_generate(scalar, (unsigned char *)fixture.point, &error) != RESULT_OK)
        return -1;
    buf_free(&json);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct push_fixture *fixture = *state;
    arena_destroy(fixture->arena);
    return 0;
}

static struct delivery push_delivery(struct push_fixture *fixture)
{
    struct delivery d = sample_delivery();
    d.channel = STR("push");
    d.vapid_token = STR("a.b.c");
    d.address = (struct address){.kind = ADDRESS_WEBPUSH,
                                 .url = STR("https://push.example.com/s/1"),
                                 .p256dh = {fixture->point, sizeof fixture->point},
                                 .auth = {fixture->auth, sizeof fixture->auth}};
    return d;
}

static struct http_request build(struct push_fixture *fixture, const struct delivery *d)
{
    struct http_request request;
    struct error error = {0};
    if (provider_webpush.build(d, &fixture->account, fixture->arena, &request, &error) != RESULT_OK)
        fail_msg("%s", error.text);
    return request;
}

static void headers_are_the_rfcs(void **state)
{
    struct push_fixture *fixture = *state;
    struct delivery d = push_delivery(fixture);
    struct http_request request = build(fixture, &d);
    assert_str(request_header(&request, "TTL"), "2419200");
    assert_str(request_header(&request, "Content-Encoding"), "aes128gcm");
    assert_str(request_header(&request, "Content-Type"), "application/octet-stream");
    assert_str(request_header(&request, "Urgency"), "high");
    assert_true(str_starts(request_header(&request, "Authorization"), "vapid t=a.b.c, k=B"));
    assert_true(request.public_only);
}

static void the_topic_is_of_the_alphabet_and_the_same_on_every_try(void **state)
{
    struct push_fixture *fixture = *state;
    struct delivery d = push_delivery(fixture);
    struct http_request first = build(fixture, &d);
    d.tries = 4;
    d.now_us += 1000000;
    struct http_request second = build(fixture, &d);
    struct str topic = request_header(&first, "Topic");
    assert_int_equal(topic.bytes, 32);
    for (size_t i = 0; i < topic.bytes; i++)
        assert_non_null(strchr("0123456789abcdef", topic.data[i]));
    assert_true(str_equal(topic, request_header(&second, "Topic")));
}

static void the_ttl_ends_with_the_notification(void **state)
{
    struct push_fixture *fixture = *state;
    struct delivery d = push_delivery(fixture);
    d.expires_us = d.now_us + INT64_C(90500000);
    struct http_request soon = build(fixture, &d);
    assert_str(request_header(&soon, "TTL"), "90");
    d.expires_us = d.now_us + INT64_C(400) * 86400 * 1000000;
    struct http_request late = build(fixture, &d);
    assert_str(request_header(&late, "TTL"), "2419200");
}

static void urgency_follows_priority(void **state)
{
    static const char *const urgencies[] = {"high", "high", "normal", "low"};
    struct push_fixture *fixture = *state;
    for (int priority = 0; priority < 4; priority++) {
        struct delivery d = push_delivery(fixture);
        d.priority = priority;
        struct http_request request = build(fixture, &d);
        assert_str(request_header(&request, "Urgency"), urgencies[priority]);
    }
}

/* 86 bytes of header, one of padding, 16 of tag around the payload. */
static size_t payload_bytes(const struct http_request *request)
{
    return request->body.bytes - 86 - 1 - 16;
}

static void a_short_message_is_sent_whole(void **state)
{
    struct push_fixture *fixture = *state;
    struct delivery d = push_delivery(fixture), bare = d;
    bare.data = STR_NONE;
    bare.actions = STR_NONE;
    struct http_request whole = build(fixture, &d), without = build(fixture, &bare);
    /* ,"data":{…} and ,"actions":[{id,label} twice] */
    assert_int_equal(payload_bytes(&whole) - payload_bytes(&without),
                     strlen(",\"data\":{\"order\":17},\"actions\":[{\"id\":\"track\",\"label\":\"Track "
                            "it\"},{\"id\":\"ok\",\"label\":\"OK\"}]"));
}

static void a_long_message_loses_data_then_actions_then_its_end(void **state)
{
    struct push_fixture *fixture = *state;
    static char big[8192];
    memset(big, 'x', sizeof big);
    struct delivery d = push_delivery(fixture), bare = d;
    bare.data = STR_NONE;
    struct http_request without = build(fixture, &bare);
    memcpy(big, "\"", 1);
    big[sizeof big - 1] = '"';
    d.data = (struct str){big, sizeof big};
    struct http_request request = build(fixture, &d);
    assert_int_equal(payload_bytes(&request), payload_bytes(&without));
    d.body = (struct str){big + 1, 4000};
    request = build(fixture, &d);
    assert_true(payload_bytes(&request) <= 2600);
    assert_true(payload_bytes(&request) > 1800);
}

static void a_title_of_the_longest_kind_still_fits(void **state)
{
    struct push_fixture *fixture = *state;
    static char title[4 * 256];
    for (size_t i = 0; i < sizeof title; i += 4)
        memcpy(title + i, "\xf0\x9f\x98\x80", 4);
    struct delivery d = push_delivery(fixture);
    d.title = (struct str){title, sizeof title};
    struct http_request request = build(fixture, &d);
    assert_true(payload_bytes(&request) <= 2600);
}

static void answers(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {201, NULL, false, OUTCOME_SENT, false},         {200, NULL, false, OUTCOME_SENT, false},
        {202, NULL, false, OUTCOME_SENT, false},         {400, NULL, false, OUTCOME_REJECTED, true},
        {401, NULL, false, OUTCOME_UNAUTHORIZED, false}, {403, NULL, false, OUTCOME_UNAUTHORIZED, false},
        {404, NULL, false, OUTCOME_GONE, false},         {410, NULL, false, OUTCOME_GONE, false},
        {406, NULL, false, OUTCOME_THROTTLED, false},    {429, NULL, false, OUTCOME_THROTTLED, false},
        {413, NULL, false, OUTCOME_REJECTED, false},     {500, NULL, false, OUTCOME_RETRY, false},
        {503, NULL, false, OUTCOME_RETRY, false},        {302, NULL, false, OUTCOME_RETRY, false},
    };
    expect_answers(&provider_webpush, cases, sizeof cases / sizeof *cases);
    const struct answer_case located = {
        201, "HTTP/1.1 201 Created\r\nLocation: https://push.example.com/m/9\r\n\r\n", false, OUTCOME_SENT,
        false};
    assert_string_equal(classify_case(&provider_webpush, &located).provider_id,
                        "https://push.example.com/m/9");
}

/* ---- tokens ---- */

static void an_origin_has_no_path_and_no_default_port(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"https://push.example.com/a/b?c", "https://push.example.com"},
        {"https://push.example.com:443/a", "https://push.example.com"},
        {"https://push.example.com:8443/a", "https://push.example.com:8443"},
        {"http://127.0.0.1:8080/", "http://127.0.0.1:8080"},
        {"https://[2001:db8::1]:444/x", "https://[2001:db8::1]:444"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf origin = BUF_INIT(512);
        assert_true(vapid_origin(str_from(cases[i][0]), &origin));
        assert_str(buf_str(&origin), cases[i][1]);
        buf_free(&origin);
    }
}

static const json_t *claims_of(struct str token, struct arena *arena)
{
    struct str rest;
    unsigned char *text = arena_alloc(arena, 1024);
    size_t bytes;
    json_t *tree;
    (void)str_cut(token, '.', &rest);
    assert_true(text_from_base64url(str_cut(rest, '.', &rest), text, 1024, &bytes));
    assert_int_equal(json_parse(arena, (struct str){(char *)text, bytes}, &tree, NULL), RESULT_OK);
    return tree;
}

static void a_token_is_kept_for_its_origin_alone(void **state)
{
    struct push_fixture *fixture = *state;
    struct vapid *vapid;
    struct str token;
    struct error error = {0};
    assert_int_equal(vapid_create(&fixture->account.config.webpush, &vapid, &error), RESULT_OK);
    assert_int_equal(vapid_token(vapid, STR("https://a.example.com/1"), TEST_NOW_US, &token, &error),
                     RESULT_OK);
    struct str first = arena_str(fixture->arena, token);
    const json_t *claims = claims_of(first, fixture->arena);
    assert_str(json_str(json_object_get(claims, "aud")), "https://a.example.com");
    assert_str(json_str(json_object_get(claims, "sub")), "mailto:ops@example.com");
    int64_t life_s = json_integer_value(json_object_get(claims, "exp")) - TEST_NOW_US / 1000000;
    assert_true(life_s > 3600 && life_s <= 86400);
    assert_int_equal(vapid_token(vapid, STR("https://a.example.com/2"), TEST_NOW_US, &token, &error),
                     RESULT_OK);
    assert_true(str_equal(token, first));
    assert_int_equal(vapid_token(vapid, STR("https://b.example.com/2"), TEST_NOW_US, &token, &error),
                     RESULT_OK);
    assert_false(str_equal(token, first));
    assert_int_equal(vapid_token(vapid, STR("https://a.example.com/1"),
                                 TEST_NOW_US + INT64_C(39601) * 1000000, &token, &error),
                     RESULT_OK);
    assert_false(str_equal(token, first)); /* an hour before its end there is a new one */
    vapid_destroy(vapid);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(headers_are_the_rfcs),
        TEST(the_topic_is_of_the_alphabet_and_the_same_on_every_try),
        TEST(the_ttl_ends_with_the_notification),
        TEST(urgency_follows_priority),
        TEST(a_short_message_is_sent_whole),
        TEST(a_long_message_loses_data_then_actions_then_its_end),
        TEST(a_title_of_the_longest_kind_still_fits),
        TEST(answers),
        TEST(an_origin_has_no_path_and_no_default_port),
        TEST(a_token_is_kept_for_its_origin_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
