/*
 * Transactions against a real PostgreSQL (BELFRY_TEST_DB), some of them through a small proxy that loses
 * connections where we want it to. Nothing is written: what was committed is seen from the transaction's
 * status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "io/db.h"
#include "unit_proxy.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUERY(name, sql) static const struct db_query name = {#name, sql}

QUERY(query_one, "select 1");
QUERY(query_echo, "select $1::text");
QUERY(query_number, "select $1::bigint");
QUERY(query_context, "select current_setting('belfry.tenant', true), current_setting('belfry.user', true)");
QUERY(query_xid, "select pg_current_xact_id()::text");
QUERY(query_status, "select pg_xact_status($1::xid8)");
QUERY(query_pid, "select pg_backend_pid()");
QUERY(query_kill, "select pg_terminate_backend($1::int)");
QUERY(query_kill_self, "select pg_terminate_backend(pg_backend_pid()), pg_sleep(5)");
QUERY(query_fail, "select 1 / (1 - $1::int)");
QUERY(query_after_failure, "select 'first used behind a failure'");
QUERY(query_wide, "select repeat('x', $1::int)");
QUERY(query_forget, "deallocate all");

static const char *conninfo;
static struct arena *arena;
static struct error error;

static struct db *open_at(const char *where, bool prepare)
{
    const struct db_settings settings = {where, "test", prepare, 3000};
    struct db *db = db_open(&settings);
    assert_non_null(db);
    return db;
}

static struct db *open_db(void)
{
    return open_at(conninfo, true);
}

static void ok(enum result code)
{
    if (code != RESULT_OK)
        fail_msg("%s: %s", result_name(code), error.text);
}

static void begin(struct db *db)
{
    ok(db_begin(db, DB_TENANT_NONE, STR_NONE, &error));
}

static void queue_int(struct db *db, const struct db_query *query, int64_t n)
{
    struct db_args args = DB_ARGS(arena);
    db_arg_int(&args, n);
    ok(db_queue(db, query, &args, &error));
}

/* One statement, one value. */
static struct str ask(struct db *db, const struct db_query *query, const struct db_args *args)
{
    struct db_result *result;
    ok(db_run(db, DB_TENANT_NONE, STR_NONE, query, args, arena, &result, &error));
    assert_int_equal(db_rows(result), 1);
    return db_text(result, 0, 0);
}

static struct str status_of(struct db *db, struct str xid)
{
    struct db_args args = DB_ARGS(arena);
    db_arg_text(&args, xid);
    return ask(db, &query_status, &args);
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(64 << 20);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

/* ---- what goes well ---- */

static void results_come_at_their_statements_place(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_result *const *results;
    int count, failed;
    for (int round = 0; round < 2; round++) { /* the second time all is prepared */
        begin(db);
        for (int i = 0; i < 5; i++)
            queue_int(db, i % 2 ? &query_number : &query_echo, i);
        ok(db_finish(db, arena, &results, &count, &failed, &error));
        assert_int_equal(count, 5);
        assert_int_equal(failed, -1);
        for (int i = 0; i < 5; i++)
            assert_int_equal(db_int(results[i], 0, 0), i);
    }
    db_close(db);
}

static void unprepared_statements_work_as_well(void **state)
{
    (void)state;
    struct db *db = open_at(conninfo, false);
    struct db_result *result;
    ok(db_run(db, 7, STR("jane"), &query_context, NULL, arena, &result, &error));
    assert_true(str_is(db_text(result, 0, 0), "7"));
    assert_true(str_is(ask(db, &query_one, NULL), "1"));
    db_close(db);
}

static void tenant_and_user_hold_for_one_transaction(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_result *result;
    ok(db_run(db, 7, STR("jane"), &query_context, NULL, arena, &result, &error));
    assert_true(str_is(db_text(result, 0, 0), "7"));
    assert_true(str_is(db_text(result, 0, 1), "jane"));
    ok(db_run(db, DB_TENANT_NONE, STR_NONE, &query_context, NULL, arena, &result, &error));
    assert_int_equal(db_text(result, 0, 0).bytes, 0);
    assert_int_equal(db_text(result, 0, 1).bytes, 0);
    db_close(db);
}

static void arguments_arrive_as_they_were(void **state)
{
    (void)state;
    QUERY(query_types,
          "select $1::text is null, $2::text, $3::bigint, $4::boolean, $5::uuid,"
          " (extract(epoch from $6::timestamptz) * 1000000)::bigint, $7::bytea, $8::text is null");
    struct db *db = open_db();
    struct uuid id = uuid_new();
    struct db_args args = DB_ARGS(arena);
    db_arg_null(&args);
    db_arg_text(&args, STR("it's \"quoted\" \\ and ünïcode"));
    db_arg_int(&args, INT64_MIN);
    db_arg_bool(&args, true);
    db_arg_uuid(&args, &id);
    db_arg_time(&args, INT64_C(1700000000123456));
    db_arg_bytes(&args, "\0\xff\x10", 3);
    db_arg_text(&args, STR_NONE);
    struct db_result *r;
    ok(db_run(db, DB_TENANT_NONE, STR_NONE, &query_types, &args, arena, &r, &error));
    assert_true(db_bool(r, 0, 0));
    assert_true(str_is(db_text(r, 0, 1), "it's \"quoted\" \\ and ünïcode"));
    assert_true(db_int(r, 0, 2) == INT64_MIN);
    assert_true(db_bool(r, 0, 3));
    struct uuid back = db_uuid(r, 0, 4);
    assert_memory_equal(&back, &id, sizeof id);
    assert_int_equal(db_int(r, 0, 5), INT64_C(1700000000123456));
    struct str bytes = db_bytes(r, 0, 6, arena);
    assert_int_equal(bytes.bytes, 3);
    assert_memory_equal(bytes.data, "\0\xff\x10", 3);
    assert_true(db_bool(r, 0, 7));
    db_close(db);
}

static void arrays_arrive_as_they_were(void **state)
{
    (void)state;
    QUERY(query_arrays,
          "select ($1::text[])[1], ($1::text[])[2], ($1::text[])[3] is null, cardinality($1::text[]),"
          " (select sum(n) from unnest($2::bigint[]) n), ($3::uuid[])[1], ($4::bytea[])[2],"
          " cardinality($5::text[])");
    struct db *db = open_db();
    struct db_args args = DB_ARGS(arena);
    struct db_array array;
    struct uuid id = uuid_new();
    db_array_begin(&array, &args);
    db_array_text(&array, STR("a,\"b\\{c}'"));
    db_array_text(&array, STR(""));
    db_array_text(&array, STR_NONE);
    db_array_text(&array, STR("NULL"));
    db_array_end(&array);
    db_array_begin(&array, &args);
    db_array_int(&array, -4);
    db_array_int(&array, 46);
    db_array_end(&array);
    db_array_begin(&array, &args);
    db_array_uuid(&array, &id);
    db_array_end(&array);
    db_array_begin(&array, &args);
    db_array_null(&array);
    db_array_bytes(&array, "\0\\\xfe", 3);
    db_array_end(&array);
    db_array_begin(&array, &args);
    db_array_end(&array);
    struct db_result *r;
    ok(db_run(db, DB_TENANT_NONE, STR_NONE, &query_arrays, &args, arena, &r, &error));
    assert_true(str_is(db_text(r, 0, 0), "a,\"b\\{c}'"));
    assert_true(!db_is_null(r, 0, 1) && db_text(r, 0, 1).bytes == 0);
    assert_true(db_bool(r, 0, 2));
    assert_int_equal(db_int(r, 0, 3), 4);
    assert_int_equal(db_int(r, 0, 4), 42);
    struct uuid back = db_uuid(r, 0, 5);
    assert_memory_equal(&back, &id, sizeof id);
    assert_memory_equal(db_bytes(r, 0, 6, arena).data, "\0\\\xfe", 3);
    assert_int_equal(db_int(r, 0, 7), 0);
    db_close(db);
}

static void a_text_with_a_nul_is_refused_and_not_cut(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_args args = DB_ARGS(arena);
    db_arg_text(&args, (struct str){"ad\0min", 6});
    begin(db);
    assert_int_equal(db_queue(db, &query_echo, &args, &error), RESULT_FAILED);
    db_abandon(db);
    db_close(db);
}

static void steps_share_a_transaction_that_finish_commits(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_result *const *results;
    int count;
    ok(db_begin(db, 3, STR("*"), &error));
    ok(db_queue(db, &query_xid, NULL, &error));
    ok(db_step(db, arena, &results, &count, NULL, &error));
    struct str first = db_text(results[0], 0, 0);
    ok(db_queue(db, &query_context, NULL, &error));
    ok(db_queue(db, &query_xid, NULL, &error));
    ok(db_finish(db, arena, &results, &count, NULL, &error));
    assert_int_equal(count, 2);
    assert_true(str_is(db_text(results[0], 0, 0), "3"));
    assert_true(str_equal(db_text(results[1], 0, 0), first));
    assert_true(str_is(status_of(db, first), "committed"));
    db_close(db);
}

static void abandoning_after_a_step_rolls_back(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_result *const *results;
    begin(db);
    ok(db_queue(db, &query_xid, NULL, &error));
    ok(db_step(db, arena, &results, NULL, NULL, &error));
    struct str xid = db_text(results[0], 0, 0);
    uint32_t before = db_generation(db);
    db_abandon(db);
    assert_true(str_is(status_of(db, xid), "aborted"));
    assert_int_equal(db_generation(db), before);
    db_close(db);
}

static void beginning_again_abandons_what_was_left_open(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_result *const *results;
    int count;
    begin(db);
    ok(db_queue(db, &query_fail, NULL, &error));
    begin(db);
    ok(db_queue(db, &query_one, NULL, &error));
    ok(db_finish(db, arena, &results, &count, NULL, &error));
    assert_int_equal(count, 1);
    db_close(db);
}

static void megabytes_in_both_directions_do_not_block_each_other(void **state)
{
    (void)state;
    enum { BIG = 3 << 20, EACH = 8 };
    struct db *db = open_db();
    struct db_result *const *results;
    char *text = malloc(BIG);
    assert_non_null(text);
    memset(text, 'y', BIG);
    text[BIG - 1] = '\0';
    begin(db);
    for (int i = 0; i < EACH; i++) {
        struct db_args args = DB_ARGS(arena);
        db_arg_cstr(&args, text);
        ok(db_queue(db, &query_echo, &args, &error));
        queue_int(db, &query_wide, BIG);
    }
    ok(db_finish(db, arena, &results, NULL, NULL, &error));
    for (int i = 0; i < EACH; i++) {
        assert_int_equal(db_text(results[(ptrdiff_t)2 * i], 0, 0).bytes, BIG - 1);
        assert_int_equal(db_text(results[(ptrdiff_t)2 * i + 1], 0, 0).bytes, BIG);
    }
    free(text);
    db_close(db);
}

static void a_sent_transaction_is_pumped_to_its_end(void **state)
{
    (void)state;
    QUERY(query_nap, "select pg_sleep(0.05), 5");
    struct db *db = open_db();
    struct db_result *const *results;
    int count;
    begin(db);
    ok(db_queue(db, &query_nap, NULL, &error));
    ok(db_send(db, &error));
    assert_false(db_pump(db));
    do {
        struct pollfd p = {.fd = db_fd(db), .events = (short)(POLLIN | (db_wants_write(db) ? POLLOUT : 0))};
        assert_int_equal(poll(&p, 1, 5000), 1);
    } while (!db_pump(db));
    ok(db_finish(db, arena, &results, &count, NULL, &error));
    assert_int_equal(db_int(results[0], 0, 1), 5);
    assert_false(db_pump(db));
    db_close(db);
}

static void scripts_run_as_a_whole(void **state)
{
    (void)state;
    struct db *db = open_db();
    ok(db_script(db, "select 1; select 2;", &error));
    assert_int_equal(db_script(db, "select 1; select no_such_column;", &error), RESULT_FAILED);
    assert_string_equal(error.sqlstate, "42703");
    assert_true(str_is(ask(db, &query_one, NULL), "1"));
    db_close(db);
}

/* ---- what goes wrong on the server ---- */

static void a_failed_statement_is_named_and_nothing_is_committed(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_result *const *results;
    int count, failed;
    begin(db);
    ok(db_queue(db, &query_xid, NULL, &error));
    ok(db_step(db, arena, &results, NULL, NULL, &error));
    struct str xid = db_text(results[0], 0, 0);
    ok(db_queue(db, &query_one, NULL, &error));
    queue_int(db, &query_fail, 1);
    ok(db_queue(db, &query_after_failure, NULL, &error));
    uint32_t before = db_generation(db);
    assert_int_equal(db_finish(db, arena, &results, &count, &failed, &error), RESULT_INVALID);
    assert_string_equal(error.sqlstate, "22012");
    assert_int_equal(failed, 1);
    assert_int_equal(count, 0);
    assert_true(str_is(status_of(db, xid), "aborted"));
    assert_int_equal(db_generation(db), before);
    db_close(db);
}

static void a_statement_skipped_before_it_was_prepared_works_later(void **state)
{
    (void)state;
    struct db *db = open_db();
    begin(db);
    queue_int(db, &query_fail, 1);
    ok(db_queue(db, &query_after_failure, NULL, &error));
    assert_int_equal(db_finish(db, arena, NULL, NULL, NULL, &error), RESULT_INVALID);
    assert_true(str_starts(ask(db, &query_after_failure, NULL), "first used"));
    struct db_args args = DB_ARGS(arena);
    db_arg_int(&args, 0);
    assert_true(str_is(ask(db, &query_fail, &args), "1"));
    db_close(db);
}

static void a_statement_that_cannot_be_prepared_is_named(void **state)
{
    (void)state;
    QUERY(query_broken, "select nothing from nowhere");
    struct db *db = open_db();
    int failed;
    begin(db);
    ok(db_queue(db, &query_one, NULL, &error));
    ok(db_queue(db, &query_broken, NULL, &error));
    assert_int_equal(db_finish(db, arena, NULL, NULL, &failed, &error), RESULT_FAILED);
    assert_int_equal(failed, 1);
    assert_string_equal(error.sqlstate, "42P01");
    assert_non_null(strstr(error.text, "query_broken"));
    db_close(db);
}

static void values_of_rows_never_reach_the_sentence(void **state)
{
    (void)state;
    QUERY(query_cast, "select $1::text::int");
    struct db *db = open_db();
    struct db_args args = DB_ARGS(arena);
    db_arg_text(&args, STR("jane@example.com"));
    struct db_result *result;
    assert_int_equal(db_run(db, DB_TENANT_NONE, STR_NONE, &query_cast, &args, arena, &result, &error),
                     RESULT_INVALID);
    assert_string_equal(error.sqlstate, "22P02");
    assert_null(strstr(error.text, "jane"));
    db_close(db);
}

static void waiting_too_long_is_busy(void **state)
{
    (void)state;
    QUERY(query_limit,
          "select set_config('lock_timeout', '30', true), set_config('statement_timeout', '300', true)");
    QUERY(query_lock, "select pg_advisory_xact_lock(845301)");
    QUERY(query_sleep, "select pg_sleep(20)");
    struct db *holder = open_db(), *db = open_db();
    begin(holder);
    ok(db_queue(holder, &query_lock, NULL, &error));
    ok(db_step(holder, arena, NULL, NULL, NULL, &error));
    const struct {
        const struct db_query *query;
        const char *sqlstate;
    } cases[] = {{&query_lock, "55P03"}, {&query_sleep, "57014"}};
    for (size_t i = 0; i < 2; i++) {
        begin(db);
        ok(db_queue(db, &query_limit, NULL, &error));
        ok(db_queue(db, cases[i].query, NULL, &error));
        assert_int_equal(db_finish(db, arena, NULL, NULL, NULL, &error), RESULT_BUSY);
        assert_string_equal(error.sqlstate, cases[i].sqlstate);
    }
    db_abandon(holder);
    begin(db);
    ok(db_queue(db, &query_limit, NULL, &error));
    ok(db_queue(db, &query_lock, NULL, &error));
    ok(db_finish(db, arena, NULL, NULL, NULL, &error));
    db_close(holder);
    db_close(db);
}

static void statements_that_the_server_forgot_are_prepared_again(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_result *result;
    ask(db, &query_one, NULL);
    begin(db);
    ok(db_queue(db, &query_forget, NULL, &error));
    enum result code = db_finish(db, arena, NULL, NULL, NULL, &error); /* its COMMIT is forgotten too */
    assert_int_equal(code, RESULT_BUSY);
    assert_string_equal(error.sqlstate, "26000");
    ok(db_run(db, DB_TENANT_NONE, STR_NONE, &query_one, NULL, arena, &result, &error));
    db_close(db);
}

static void too_many_statements_are_refused(void **state)
{
    (void)state;
    struct db *db = open_db();
    struct db_result *const *results;
    int count;
    begin(db);
    for (int i = 0; i < DB_STATEMENTS_MAX; i++)
        ok(db_queue(db, &query_one, NULL, &error));
    assert_int_equal(db_queue(db, &query_one, NULL, &error), RESULT_FAILED);
    ok(db_finish(db, arena, &results, &count, NULL, &error));
    assert_int_equal(count, DB_STATEMENTS_MAX);
    db_close(db);
}

static void without_a_transaction_nothing_runs(void **state)
{
    (void)state;
    struct db *db = open_db();
    assert_int_equal(db_queue(db, &query_one, NULL, &error), RESULT_FAILED);
    assert_int_equal(db_finish(db, arena, NULL, NULL, NULL, &error), RESULT_FAILED);
    assert_int_equal(db_send(db, &error), RESULT_FAILED);
    db_abandon(db);
    db_close(db);
}

/* ---- lost connections ---- */

static void an_idle_connection_that_was_closed_is_replaced_unnoticed(void **state)
{
    (void)state;
    struct db *db = open_db(), *killer = open_db();
    struct str pid = ask(db, &query_pid, NULL);
    struct db_args args = DB_ARGS(arena);
    db_arg_text(&args, pid);
    assert_true(str_is(ask(killer, &query_kill, &args), "t"));
    struct pollfd p = {.fd = db_fd(db), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    assert_false(str_equal(ask(db, &query_pid, NULL), pid));
    assert_int_equal(db_generation(db), 2);
    db_close(db);
    db_close(killer);
}

static void pumping_an_idle_connection_that_was_closed_drops_it(void **state)
{
    (void)state;
    struct db *db = open_db(), *killer = open_db();
    struct db_args args = DB_ARGS(arena);
    db_arg_text(&args, ask(db, &query_pid, NULL));
    ask(killer, &query_kill, &args);
    int64_t deadline = clock_mono_ms() + 5000;
    while (db_fd(db) >= 0 && clock_mono_ms() < deadline) {
        struct pollfd p = {.fd = db_fd(db), .events = POLLIN};
        poll(&p, 1, 1000);
        assert_false(db_pump(db));
    }
    assert_int_equal(db_fd(db), -1);
    db_close(db);
    db_close(killer);
}

static void a_connection_killed_before_commit_is_offline_and_known(void **state)
{
    (void)state;
    struct db *db = open_db();
    int failed;
    begin(db);
    ok(db_queue(db, &query_one, NULL, &error));
    ok(db_queue(db, &query_kill_self, NULL, &error));
    assert_int_equal(db_finish(db, arena, NULL, NULL, &failed, &error), RESULT_OFFLINE);
    assert_string_equal(error.sqlstate, "57P01");
    assert_int_equal(failed, 1);
    assert_true(str_is(ask(db, &query_one, NULL), "1"));
    db_close(db);
}

static void a_connection_lost_during_commit_is_unknown(void **state)
{
    (void)state;
    struct unit_proxy *proxy = unit_proxy_to_postgres(conninfo);
    struct db *db = open_at(unit_proxy_conninfo(proxy), true);
    ask(db, &query_one, NULL);
    begin(db);
    ok(db_queue(db, &query_one, NULL, &error));
    unit_proxy_set(proxy, UNIT_PROXY_CUT_ANSWER);
    assert_int_equal(db_finish(db, arena, NULL, NULL, NULL, &error), RESULT_OFFLINE);
    assert_string_equal(error.sqlstate, "08007");
    unit_proxy_set(proxy, UNIT_PROXY_PASS);
    assert_true(str_is(ask(db, &query_one, NULL), "1"));
    db_close(db);
    unit_proxy_stop(proxy);
}

static void a_connection_lost_during_a_step_is_known(void **state)
{
    (void)state;
    struct unit_proxy *proxy = unit_proxy_to_postgres(conninfo);
    struct db *db = open_at(unit_proxy_conninfo(proxy), true);
    begin(db);
    ok(db_queue(db, &query_one, NULL, &error));
    unit_proxy_set(proxy, UNIT_PROXY_CUT_ANSWER);
    assert_int_equal(db_step(db, arena, NULL, NULL, NULL, &error), RESULT_OFFLINE);
    assert_string_equal(error.sqlstate, "");
    db_close(db);
    unit_proxy_stop(proxy);
}

static void a_server_that_is_down_costs_one_try_at_a_time(void **state)
{
    (void)state;
    struct unit_proxy *proxy = unit_proxy_to_postgres(conninfo);
    struct db *db = open_at(unit_proxy_conninfo(proxy), true);
    unit_proxy_set(proxy, UNIT_PROXY_REFUSE);
    assert_int_equal(db_begin(db, DB_TENANT_NONE, STR_NONE, &error), RESULT_OFFLINE);
    int tries = unit_proxy_accepted(proxy);
    assert_int_equal(db_begin(db, DB_TENANT_NONE, STR_NONE, &error), RESULT_OFFLINE);
    assert_non_null(strstr(error.text, "a moment ago"));
    assert_int_equal(unit_proxy_accepted(proxy), tries);
    unit_proxy_set(proxy, UNIT_PROXY_PASS);
    int64_t deadline = clock_mono_ms() + 5000;
    while (db_begin(db, DB_TENANT_NONE, STR_NONE, &error) != RESULT_OK && clock_mono_ms() < deadline)
        poll(NULL, 0, 10);
    ok(db_queue(db, &query_one, NULL, &error));
    ok(db_finish(db, arena, NULL, NULL, NULL, &error));
    db_close(db);
    unit_proxy_stop(proxy);
}

static void a_silent_server_is_given_up_in_time(void **state)
{
    (void)state;
    struct unit_proxy *proxy = unit_proxy_to_postgres(conninfo);
    unit_proxy_set(proxy, UNIT_PROXY_STALL);
    const struct db_settings settings = {unit_proxy_conninfo(proxy), "test", true, 100};
    struct db_pool *pool = db_pool_create(&settings, 2);
    struct db *a = db_pool_take(pool, 0), *b = db_pool_take(pool, 0);
    assert_int_equal(db_begin(a, DB_TENANT_NONE, STR_NONE, &error), RESULT_OFFLINE);
    assert_non_null(strstr(error.text, "no answer in time"));
    /* what one connection of a pool learned, the others know */
    assert_int_equal(db_begin(b, DB_TENANT_NONE, STR_NONE, &error), RESULT_OFFLINE);
    assert_non_null(strstr(error.text, "a moment ago"));
    db_pool_give(pool, a);
    db_pool_give(pool, b);
    db_pool_destroy(pool);
    unit_proxy_stop(proxy);
}

/* ---- the pool ---- */

static void an_exhausted_pool_gives_nothing_after_the_wait(void **state)
{
    (void)state;
    const struct db_settings settings = {conninfo, "test", true, 3000};
    struct db_pool *pool = db_pool_create(&settings, 1);
    struct db *db = db_pool_take(pool, 0);
    assert_non_null(db);
    assert_null(db_pool_take(pool, 0));
    assert_null(db_pool_take(pool, 20));
    db_pool_give(pool, db);
    assert_ptr_equal(db_pool_take(pool, 0), db);
    db_pool_give(pool, db);
    db_pool_destroy(pool);
}

static void *give_later(void *context)
{
    void **pair = context;
    poll(NULL, 0, 20);
    db_pool_give(pair[0], pair[1]);
    return NULL;
}

static void who_waits_gets_what_is_given_back(void **state)
{
    (void)state;
    const struct db_settings settings = {conninfo, "test", true, 3000};
    struct db_pool *pool = db_pool_create(&settings, 1);
    void *pair[] = {pool, db_pool_take(pool, 0)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, give_later, pair), 0);
    struct db *db = db_pool_take(pool, 10000);
    assert_ptr_equal(db, pair[1]);
    pthread_join(thread, NULL);
    db_pool_give(pool, db);
    db_pool_destroy(pool);
}

static void a_transaction_left_open_ends_with_giving_back(void **state)
{
    (void)state;
    const struct db_settings settings = {conninfo, "test", true, 3000};
    struct db_pool *pool = db_pool_create(&settings, 1);
    struct db_result *const *results;
    struct db *db = db_pool_take(pool, 0);
    ok(db_begin(db, 9, STR("*"), &error));
    ok(db_queue(db, &query_xid, NULL, &error));
    ok(db_step(db, arena, &results, NULL, NULL, &error));
    struct str xid = db_text(results[0], 0, 0);
    db_pool_give(pool, db);
    db = db_pool_take(pool, 0);
    assert_true(str_is(status_of(db, xid), "aborted"));
    db_pool_give(pool, db);
    db_pool_destroy(pool);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(results_come_at_their_statements_place),
        TEST(unprepared_statements_work_as_well),
        TEST(tenant_and_user_hold_for_one_transaction),
        TEST(arguments_arrive_as_they_were),
        TEST(arrays_arrive_as_they_were),
        TEST(a_text_with_a_nul_is_refused_and_not_cut),
        TEST(steps_share_a_transaction_that_finish_commits),
        TEST(abandoning_after_a_step_rolls_back),
        TEST(beginning_again_abandons_what_was_left_open),
        TEST(megabytes_in_both_directions_do_not_block_each_other),
        TEST(a_sent_transaction_is_pumped_to_its_end),
        TEST(scripts_run_as_a_whole),
        TEST(a_failed_statement_is_named_and_nothing_is_committed),
        TEST(a_statement_skipped_before_it_was_prepared_works_later),
        TEST(a_statement_that_cannot_be_prepared_is_named),
        TEST(values_of_rows_never_reach_the_sentence),
        TEST(waiting_too_long_is_busy),
        TEST(statements_that_the_server_forgot_are_prepared_again),
        TEST(too_many_statements_are_refused),
        TEST(without_a_transaction_nothing_runs),
        TEST(an_idle_connection_that_was_closed_is_replaced_unnoticed),
        TEST(pumping_an_idle_connection_that_was_closed_drops_it),
        TEST(a_connection_killed_before_commit_is_offline_and_known),
        TEST(a_connection_lost_during_commit_is_unknown),
        TEST(a_connection_lost_during_a_step_is_known),
        TEST(a_server_that_is_down_costs_one_try_at_a_time),
        TEST(a_silent_server_is_given_up_in_time),
        TEST(an_exhausted_pool_gives_nothing_after_the_wait),
        TEST(who_waits_gets_what_is_given_back),
        TEST(a_transaction_left_open_ends_with_giving_back),
    };
    conninfo = getenv("BELFRY_TEST_DB");
    if (!conninfo || !*conninfo) {
        fputs("BELFRY_TEST_DB must name a PostgreSQL: run tests/run\n", stderr);
        return 1;
    }
    return cmocka_run_group_tests_name("io/db", tests, NULL, NULL);
}
