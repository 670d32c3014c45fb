/* Requests from CGI variables, and declared fields of bodies and queries. */
#include "core/arena.h"
#include "core/limits.h"
#include "format/check.h"
#include "format/field.h"
#include "format/json.h"
#include "handlers/request.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct arena *arena;
    struct faults faults;
    struct error error;
    struct request request;
};

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->arena = arena_create(1 << 22);
    f->faults = FAULTS_INIT(f->arena);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    arena_destroy(f->arena);
    free(f);
    return 0;
}

static enum result parse(struct fixture *f, const char *const *variables)
{
    char *copies[16] = {NULL};
    for (int i = 0; variables[i] != NULL; i++)
        assert_non_null(copies[i] = arena_strdup(f->arena, str_from(variables[i])));
    return request_from_cgi(&f->request, f->arena, copies, &f->error);
}

static const struct fault *only_fault(const struct fixture *f)
{
    assert_int_equal(f->faults.total, 1);
    return &f->faults.items[0];
}

static void assert_text(struct str given, const char *expected)
{
    if (!str_is(given, expected))
        fail_msg("\"" STR_FMT "\" is not \"%s\"", STR_ARG(given), expected);
}

/* ---- variables ---- */

static void takes_what_it_knows_of_the_variables(void **state)
{
    struct fixture *f = *state;
    const char *variables[] = {"REQUEST_METHOD=PATCH",
                               "REQUEST_URI=/api/v1/inbox?x=1",
                               "QUERY_STRING=x=1",
                               "CONTENT_LENGTH=12",
                               "HTTP_AUTHORIZATION=Bearer a.b.c",
                               "CONTENT_TYPE=",
                               "HTTP_UNHEARD_OF=1",
                               "REMOTE_ADDR=::1",
                               NULL};
    assert_int_equal(parse(f, variables), RESULT_OK);
    assert_int_equal(f->request.method, METHOD_PATCH);
    assert_text(f->request.path, "/api/v1/inbox");
    assert_text(f->request.query, "x=1");
    assert_int_equal(f->request.content_length, 12);
    assert_text(request_header(&f->request, HEADER_AUTHORIZATION), "Bearer a.b.c");
    assert_false(str_is_set(request_header(&f->request, HEADER_CONTENT_TYPE)));
}

static void cuts_the_name_of_a_cgi_script_and_keeps_a_mount_point(void **state)
{
    struct fixture *f = *state;
    const char *script[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/cgi-bin/belfry-api/healthz",
                            "SCRIPT_NAME=/cgi-bin/belfry-api", NULL};
    assert_int_equal(parse(f, script), RESULT_OK);
    assert_text(f->request.path, "/healthz");
    const char *mounted[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/api/v1/poll", "SCRIPT_NAME=/api", NULL};
    assert_int_equal(parse(f, mounted), RESULT_OK);
    assert_text(f->request.path, "/api/v1/poll");
}

static void refuses_variables_that_are_unsafe(void **state)
{
    struct fixture *f = *state;
    char long_path[PATH_BYTES_MAX + 64] = "REQUEST_URI=/";
    memset(long_path + 13, 'a', sizeof long_path - 14);
    const char *const wrong[] = {"HTTP_ORIGIN=http://a\r\nX: y",
                                 "HTTP_ORIGIN=a\nb",
                                 "CONTENT_LENGTH=-1",
                                 "CONTENT_LENGTH=1x",
                                 "CONTENT_LENGTH=99999999999999999999",
                                 "HTTP_IDEMPOTENCY_KEY=\xc3\xa4",
                                 "REQUEST_URI=nothing",
                                 long_path};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *variables[] = {"REQUEST_METHOD=GET", wrong[i], i < 6 ? "REQUEST_URI=/" : NULL, NULL};
        if (parse(f, variables) != RESULT_INVALID)
            fail_msg("accepted %.40s", wrong[i]);
    }
    const char *twice[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/", "HTTP_AUTHORIZATION=a",
                           "HTTP_AUTHORIZATION=b", NULL};
    assert_int_equal(parse(f, twice), RESULT_INVALID);
}

struct source {
    const char *text;
    size_t at, most;
};

static long read_source(void *context, char *into, size_t bytes)
{
    struct source *source = context;
    size_t left = strlen(source->text) - source->at, got = bytes < source->most ? bytes : source->most;
    got = got < left ? got : left;
    memcpy(into, source->text + source->at, got);
    source->at += got;
    return (long)got;
}

static void reads_a_body_in_pieces_and_notices_its_early_end(void **state)
{
    struct fixture *f = *state;
    const char *variables[] = {"REQUEST_METHOD=POST", "REQUEST_URI=/", "CONTENT_LENGTH=8", NULL};
    struct source whole = {"12345678", 0, 3}, cut = {"1234", 0, 3};
    assert_int_equal(parse(f, variables), RESULT_OK);
    assert_int_equal(request_read_body(&f->request, read_source, &whole, &f->error), RESULT_OK);
    assert_text(f->request.body, "12345678");
    assert_int_equal(parse(f, variables), RESULT_OK);
    assert_int_equal(request_read_body(&f->request, read_source, &cut, &f->error), RESULT_INVALID);
}

static void knows_json_by_its_content_type(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *type;
        bool is_json;
    } cases[] = {{"CONTENT_TYPE=application/json", true},
                 {"CONTENT_TYPE=Application/JSON; charset=UTF-8", true},
                 {"CONTENT_TYPE=application/json;charset=\"utf-8\"", true},
                 {"CONTENT_TYPE=application/json; charset=latin1", false},
                 {"CONTENT_TYPE=text/plain", false},
                 {"CONTENT_TYPE=application/jsonp", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *variables[] = {"REQUEST_METHOD=POST", "REQUEST_URI=/", cases[i].type, NULL};
        assert_int_equal(parse(f, variables), RESULT_OK);
        assert_int_equal(request_is_json(&f->request), cases[i].is_json);
    }
}

/* ---- paths ---- */

static void set_path(struct fixture *f, const char *path)
{
    f->request = (struct request){.arena = f->arena, .path = str_from(path)};
    f->faults = FAULTS_INIT(f->arena);
}

static void matches_patterns_and_decodes_their_parameters(void **state)
{
    struct fixture *f = *state;
    set_path(f, "/users/a%40b.example/devices/x%7Cy");
    assert_true(request_match(&f->request, "/users/{user}/devices/{id}", &f->faults));
    assert_int_equal(f->faults.total, 0);
    assert_text(request_param(&f->request, "user"), "a@b.example");
    assert_text(request_param(&f->request, "id"), "x|y");
    set_path(f, "/inbox/0192f0c1-2345-7abc-8def-0123456789ab");
    assert_true(request_match(&f->request, "/inbox/{id:uuid}", &f->faults));
    assert_int_equal(request_param_uuid(&f->request, "id")->bytes[15], 0xab);
    assert_false(request_match(&f->request, "/inbox/{id}/read", NULL));
    assert_false(request_match(&f->request, "/inbox", NULL));
    set_path(f, "/inbox/");
    assert_false(request_match(&f->request, "/inbox/{id}", NULL));
}

static void names_the_path_parameter_at_fault(void **state)
{
    struct fixture *f = *state;
    const char *const wrong[] = {"/users/a%2Fb", "/users/a%00", "/users/%zz", "/users/%c3%28", "/users/a b"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        set_path(f, wrong[i]);
        assert_true(request_match(&f->request, "/users/{user}", &f->faults));
        assert_text(only_fault(f)->pointer, "user");
        assert_true(only_fault(f)->is_parameter);
    }
}

/* ---- queries ---- */

enum { Q_LIMIT, Q_STATE, Q_TEXT };
static const struct field query_fields[] = {
    [Q_LIMIT] = {"limit", FIELD_INT, .least = 1, .most = 100, .number = 30},
    [Q_STATE] = {"state", FIELD_CHOICE, .choices = (const char *const[]){"inbox", "unread", NULL},
                 .text = "inbox"},
    [Q_TEXT] = {"q", FIELD_TEXT, .most = 5},
    {.name = NULL}};

static bool read_query(struct fixture *f, const char *query, struct field_value *values)
{
    f->request = (struct request){.arena = f->arena, .query = str_from(query)};
    f->faults = FAULTS_INIT(f->arena);
    return request_read_query(&f->request, query_fields, &f->faults, values);
}

static void reads_typed_query_parameters_with_defaults(void **state)
{
    struct fixture *f = *state;
    struct field_value values[3];
    assert_true(read_query(f, "q=a%20%2Bb+&limit=7", values));
    assert_int_equal(values[Q_LIMIT].number, 7);
    assert_text(values[Q_TEXT].text, "a +b ");
    assert_int_equal(values[Q_STATE].number, 0);
    assert_false(values[Q_STATE].given);
    assert_true(read_query(f, "", values));
    assert_int_equal(values[Q_LIMIT].number, 30);
    assert_true(read_query(f, "limit=&state=unread", values));
    assert_int_equal(values[Q_LIMIT].number, 30);
    assert_int_equal(values[Q_STATE].number, 1);
}

static void refuses_query_parameters_by_name(void **state)
{
    struct fixture *f = *state;
    struct field_value values[3];
    static const struct {
        const char *query, *parameter;
    } cases[] = {
        {"limit=0", "limit"},   {"limit=101", "limit"},      {"limit=+5", "limit"}, {"limit=1e1", "limit"},
        {"state=all", "state"}, {"q=abcdef", "q"},           {"q=%ff", "q"},        {"q=%00", "q"},
        {"other=1", "other"},   {"limit=1&limit=1", "limit"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(read_query(f, cases[i].query, values));
        assert_text(only_fault(f)->pointer, cases[i].parameter);
    }
}

static void bounds_the_number_of_query_parameters(void **state)
{
    struct fixture *f = *state;
    char query[1024] = "";
    struct field_value values[3];
    for (int i = 0; i < 200; i++)
        strcat(query, "&a=1");
    assert_false(read_query(f, query + 1, values));
    assert_true(f->faults.total <= LIMIT_QUERY_FIELDS + 1);
}

/* ---- bodies ---- */

enum { B_TITLE, B_COUNT, B_AT, B_DATA, B_TO, B_NOTE, B_FLAG };
static const struct field body_fields[] = {
    [B_TITLE] = {"title", FIELD_TEXT, FIELD_REQUIRED, .least = 1, .most = 4},
    [B_COUNT] = {"count", FIELD_INT, .least = -2, .most = 2, .number = 1},
    [B_AT] = {"at", FIELD_TIME},
    [B_DATA] = {"data", FIELD_OBJECT, .most = 16},
    [B_TO] = {"to", FIELD_ARRAY, .least = 1, .most = 2},
    [B_NOTE] = {"note", FIELD_TEXT, FIELD_NULLABLE},
    [B_FLAG] = {"flag", FIELD_BOOL},
    {.name = NULL}};

static bool read_body(struct fixture *f, const char *text, struct field_value *values)
{
    json_t *tree;
    f->faults = FAULTS_INIT(f->arena);
    assert_int_equal(json_parse(f->arena, str_from(text), &tree, &f->error), RESULT_OK);
    return fields_read(body_fields, tree, STR(""), &f->faults, values);
}

static void reads_typed_members(void **state)
{
    struct fixture *f = *state;
    struct field_value values[7];
    assert_true(
        read_body(f,
                  "{\"title\":\"\xf0\x9f\x94\x94"
                  "ab\",\"count\":-2,\"at\":\"1970-01-01T00:00:01+00:00\",\"data\":{\"a\": 1},\"to\":[1],"
                  "\"note\":null,\"flag\":true}",
                  values));
    assert_true(values[B_TITLE].given);
    assert_int_equal(values[B_COUNT].number, -2);
    assert_int_equal(values[B_AT].number, 1000000);
    assert_text(values[B_DATA].text, "{\"a\":1}");
    assert_int_equal(json_array_size(values[B_TO].tree), 1);
    assert_true(values[B_NOTE].is_null);
    assert_false(values[B_NOTE].given);
    assert_true(values[B_FLAG].flag);
}

static void points_at_every_fault(void **state)
{
    struct fixture *f = *state;
    struct field_value values[7];
    assert_false(read_body(
        f,
        "{\"count\":3,\"at\":\"yesterday\",\"data\":{\"long\":\"0123456789\"},\"to\":[1,2,3],\"note\":1,"
        "\"flag\":null,\"a/b~c\":1}",
        values));
    const char *const pointers[] = {"/title", "/count", "/at", "/data", "/to", "/note", "/flag", "/a~1b~0c"};
    assert_int_equal(f->faults.total, 8);
    for (int i = 0; i < 8; i++)
        assert_text(f->faults.items[i].pointer, pointers[i]);
    assert_int_equal(values[B_COUNT].number, 1); /* a value at fault is never seen */
    assert_null(values[B_TO].tree);
}

static void refuses_other_types_of_numbers(void **state)
{
    struct fixture *f = *state;
    struct field_value values[7];
    const char *const wrong[] = {"1.0", "\"1\"", "true", "1e0", "9007199254740993"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[80];
        snprintf(text, sizeof text, "{\"title\":\"a\",\"count\":%s}", wrong[i]);
        assert_false(read_body(f, text, values));
        assert_text(only_fault(f)->pointer, "/count");
    }
}

static void prefixes_pointers_of_a_part(void **state)
{
    struct fixture *f = *state;
    struct field_value values[7];
    struct str item = fault_pointer_item(f->arena, STR("/notifications"), 3);
    json_t *tree;
    assert_int_equal(json_parse(f->arena, STR("{}"), &tree, &f->error), RESULT_OK);
    assert_false(fields_read(body_fields, tree, item, &f->faults, values));
    assert_text(only_fault(f)->pointer, "/notifications/3/title");
    f->faults = FAULTS_INIT(f->arena);
    assert_false(fields_read(body_fields, json_object_get(tree, "none"), item, &f->faults, values));
    assert_text(only_fault(f)->pointer, "/notifications/3");
}

static void keeps_a_bounded_number_of_faults_and_counts_the_rest(void **state)
{
    struct fixture *f = *state;
    struct field_value values[7];
    struct buf text = BUF_INIT(65536);
    buf_add_text(&text, "{\"title\":\"a\"");
    for (int i = 0; i < 500; i++)
        buf_printf(&text, ",\"x%d\":1", i);
    buf_add_text(&text, "}");
    assert_false(read_body(f, buf_cstr(&text), values));
    assert_int_equal(f->faults.count, FAULTS_MAX);
    assert_int_equal(f->faults.total, 500);
    buf_free(&text);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        CASE(takes_what_it_knows_of_the_variables),
        CASE(cuts_the_name_of_a_cgi_script_and_keeps_a_mount_point),
        CASE(refuses_variables_that_are_unsafe),
        CASE(reads_a_body_in_pieces_and_notices_its_early_end),
        CASE(knows_json_by_its_content_type),
        CASE(matches_patterns_and_decodes_their_parameters),
        CASE(names_the_path_parameter_at_fault),
        CASE(reads_typed_query_parameters_with_defaults),
        CASE(refuses_query_parameters_by_name),
        CASE(bounds_the_number_of_query_parameters),
        CASE(reads_typed_members),
        CASE(points_at_every_fault),
        CASE(refuses_other_types_of_numbers),
        CASE(prefixes_pointers_of_a_part),
        CASE(keeps_a_bounded_number_of_faults_and_counts_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
