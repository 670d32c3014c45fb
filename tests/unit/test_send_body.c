/* What a send body may say, and where its faults are said to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/limits.h"
#include "domain/send_body.h"
#include "format/json.h"
#include <stdio.h>
#include <string.h>

static const int64_t NOW_US = 1800000000LL * 1000000; /* 2027-01-15T08:00:00Z */

static int setup(void **state)
{
    *state = arena_create(8 << 20);
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    arena_destroy(*state);
    return 0;
}

static bool read_at(void **state, const char *json, const char *prefix, enum send_body_from from,
                    struct faults *faults, struct send_body *body)
{
    json_t *tree = NULL;
    struct error error;
    *faults = FAULTS_INIT(*state);
    assert_int_equal(json_parse(*state, str_from(json), &tree, &error), RESULT_OK);
    return send_body_read(*state, tree, str_from(prefix), NOW_US, from, faults, body);
}

static bool read_body(void **state, const char *json, struct faults *faults, struct send_body *body)
{
    return read_at(state, json, "", SEND_FROM_API, faults, body);
}

#define ASSERT_STR(s, text) assert_true(str_is((s), (text)))

static void the_least_takes_the_defaults(void **state)
{
    struct faults faults;
    struct send_body body;
    assert_true(read_body(state, "{\"to\":[\"a\",\"b\"],\"title\":\"T\"}", &faults, &body));
    assert_int_equal(body.user_count, 2);
    ASSERT_STR(body.users[1], "b");
    ASSERT_STR(body.content.title, "T");
    ASSERT_STR(body.content.body, "");
    ASSERT_STR(body.content.type, "general");
    ASSERT_STR(body.content.category, "general");
    ASSERT_STR(body.content.data, "{}");
    ASSERT_STR(body.content.actions, "[]");
    assert_int_equal(body.content.priority, SEND_MEDIUM);
    assert_null(body.content.channels);
    assert_false(str_is_set(body.content.sender) || str_is_set(body.content.url) ||
                 str_is_set(body.content.dedup_key) || str_is_set(body.event_id));
    assert_true(body.content.scheduled_us == 0 && body.content.expires_us == 0);
}

static void everything_is_read_and_parts_get_one_form(void **state)
{
    struct faults faults;
    struct send_body body;
    assert_true(
        read_body(state,
                  "{\"to\":[\"a\"],\"title\":\"T\",\"body\":\"B\",\"type\":\"t.x\",\"category\":\"c\","
                  "\"priority\":\"urgent\","
                  "\"data\":{\"b\":1,\"a\":[true,null]},\"sender\":{\"name\":\"S\"},"
                  "\"actions\":[{\"label\":\"Yes\",\"id\":\"yes\"},{\"id\":\"go\",\"label\":\"Go\",\"url\":"
                  "\"https://x.example/\"}],"
                  "\"url\":\"https://y.example/"
                  "\",\"channels\":[\"webhook\",\"push\"],\"scheduledAt\":\"2027-01-15T09:00:00+00:00\","
                  "\"expiresAt\":\"2027-01-15T10:00:00Z\",\"dedupKey\":\"k\",\"eventId\":\"e\"}",
                  &faults, &body));
    assert_int_equal(body.content.priority, SEND_URGENT);
    ASSERT_STR(body.content.data, "{\"b\":1,\"a\":[true,null]}");
    ASSERT_STR(body.content.sender, "{\"id\":null,\"name\":\"S\",\"avatarUrl\":null}");
    ASSERT_STR(body.content.actions, "[{\"id\":\"yes\",\"label\":\"Yes\",\"url\":null},"
                                     "{\"id\":\"go\",\"label\":\"Go\",\"url\":\"https://x.example/\"}]");
    assert_int_equal(body.content.channel_count, 2);
    ASSERT_STR(body.content.channels[0], "push");
    ASSERT_STR(body.content.channels[1], "webhook");
    assert_true(body.content.scheduled_us == NOW_US + 3600LL * 1000000);
    assert_true(body.content.expires_us == NOW_US + 7200LL * 1000000);
    ASSERT_STR(body.content.dedup_key, "k");
    ASSERT_STR(body.event_id, "e");
}

static void no_channels_means_the_inbox_alone(void **state)
{
    struct faults faults;
    struct send_body body;
    assert_true(read_body(state, "{\"to\":[\"a\"],\"title\":\"T\",\"channels\":[]}", &faults, &body));
    assert_non_null(body.content.channels);
    assert_int_equal(body.content.channel_count, 0);
}

static void a_time_that_has_passed_means_now(void **state)
{
    struct faults faults;
    struct send_body body;
    assert_true(read_body(state, "{\"to\":[\"a\"],\"title\":\"T\",\"scheduledAt\":\"2027-01-15T07:59:59Z\"}",
                          &faults, &body));
    assert_true(body.content.scheduled_us == 0);
}

static void faults_name_their_place(void **state)
{
    static const struct {
        const char *json, *pointer;
    } cases[] = {
        {"{\"title\":\"T\"}", "/to"},
        {"{\"to\":[],\"title\":\"T\"}", "/to"},
        {"{\"to\":\"a\",\"title\":\"T\"}", "/to"},
        {"{\"to\":[\"a\",\"b\",\"a\"],\"title\":\"T\"}", "/to/2"},
        {"{\"to\":[\"a\",7],\"title\":\"T\"}", "/to/1"},
        {"{\"to\":[\"~developers\"],\"title\":\"T\"}", "/to/0"},
        {"{\"to\":[\"a\"]}", "/title"},
        {"{\"to\":[\"a\"],\"title\":\"\"}", "/title"},
        {"{\"to\":[\"a\"],\"title\":null}", "/title"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"a/b~\":1}", "/a~1b~0"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"actions\":[{\"id\":\"A\",\"label\":\"l\"}]}", "/actions/0/id"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"actions\":[{\"id\":\"a\",\"label\":\"l\",\"x\":1}]}",
         "/actions/0/x"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"actions\":[{\"id\":\"a\",\"label\":\"l\"},{\"id\":\"a\","
         "\"label\":\"m\"}]}",
         "/actions/1/id"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"actions\":[7]}", "/actions/0"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"sender\":{}}", "/sender/name"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"channels\":[\"sms\"]}", "/channels/0"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"channels\":[\"push\",\"push\"]}", "/channels/1"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"scheduledAt\":\"2028-01-17T08:00:00Z\"}", "/scheduledAt"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"expiresAt\":\"2027-01-15T08:00:00Z\"}", "/expiresAt"},
        {"{\"to\":[\"a\"],\"title\":\"T\",\"scheduledAt\":\"2027-01-15T09:00:00Z\",\"expiresAt\":\"2027-01-"
         "15T09:00:00Z\"}",
         "/expiresAt"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct faults faults;
        struct send_body body;
        if (read_body(state, cases[i].json, &faults, &body) || faults.total != 1 ||
            !str_is(faults.items[0].pointer, cases[i].pointer))
            fail_msg("%s: %d faults, the first at " STR_FMT, cases[i].json, faults.total,
                     STR_ARG(faults.count > 0 ? faults.items[0].pointer : STR("-")));
    }
}

static void an_item_of_a_bulk_has_its_place_in_front(void **state)
{
    struct faults faults;
    struct send_body body;
    assert_false(read_at(state, "{\"to\":[\"a b\"],\"title\":\"T\"}", "/notifications/3", SEND_FROM_API,
                         &faults, &body));
    ASSERT_STR(faults.items[0].pointer, "/notifications/3/to/0");
    faults = FAULTS_INIT(*state);
    assert_false(
        send_body_read(*state, json_null(), STR("/notifications/4"), NOW_US, SEND_FROM_API, &faults, &body));
    ASSERT_STR(faults.items[0].pointer, "/notifications/4");
    assert_int_equal(faults.total, 1);
}

static void belfry_itself_may_write_to_the_developers(void **state)
{
    struct faults faults;
    struct send_body body;
    assert_true(
        read_at(state, "{\"to\":[\"~developers\"],\"title\":\"T\"}", "", SEND_FROM_SQL, &faults, &body));
}

static void a_thousand_users_are_the_most(void **state)
{
    struct faults faults;
    struct send_body body;
    struct buf json = BUF_INIT(1 << 20);
    for (int count = LIMIT_RECIPIENTS; count <= LIMIT_RECIPIENTS + 1; count++) {
        buf_clear(&json);
        buf_add_text(&json, "{\"title\":\"T\",\"to\":[");
        for (int i = 0; i < count; i++)
            buf_printf(&json, "%s\"user-%d\"", i > 0 ? "," : "", i);
        buf_add_text(&json, "]}");
        assert_int_equal(read_body(state, buf_cstr(&json), &faults, &body), count == LIMIT_RECIPIENTS);
    }
    buf_free(&json);
}

int main(void)
{
#define WITH_ARENA(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(the_least_takes_the_defaults),
        WITH_ARENA(everything_is_read_and_parts_get_one_form),
        WITH_ARENA(no_channels_means_the_inbox_alone),
        WITH_ARENA(a_time_that_has_passed_means_now),
        WITH_ARENA(faults_name_their_place),
        WITH_ARENA(an_item_of_a_bulk_has_its_place_in_front),
        WITH_ARENA(belfry_itself_may_write_to_the_developers),
        WITH_ARENA(a_thousand_users_are_the_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
