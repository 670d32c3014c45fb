/*
 * The park: connections taken out of libfcgi and answered with our own records; waiters woken, timed out,
 * superseded, revoked and ended. Feeds are a fake that says what rev they have; connections are socket pairs.
 */
#include "core/buf.h"
#include "core/clock.h"
#include "core/limits.h"
#include "handlers/fastcgi_park.h"
#include "handlers/park.h"
#include <errno.h>
#include <fcgiapp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEADLINE_MS = 10000, FAR_MS = 20000, EPOCH = 7 };

/* ---- FastCGI, from the web server's side ---- */

struct answer {
    struct buf output;
    bool ended; /* END_REQUEST has come */
    int request_id;
};

static bool read_exactly(int fd, void *into, size_t bytes)
{
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    for (size_t at = 0; at < bytes;) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        int left_ms = (int)(deadline_ms - clock_mono_ms());
        if (left_ms <= 0 || poll(&waiting, 1, left_ms) <= 0)
            return false;
        ssize_t got = read(fd, (char *)into + at, bytes - at);
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

/* Reads records until the end of the request, or until the output holds `until`. */
static void read_answer(int fd, struct answer *answer, const char *until)
{
    unsigned char head[8];
    char content[65536 + 256];
    while (!answer->ended && !(until != NULL && strstr(buf_cstr(&answer->output), until) != NULL)) {
        assert_true(read_exactly(fd, head, sizeof head));
        size_t bytes = (size_t)head[4] << 8 | head[5];
        assert_int_equal(head[0], 1);
        assert_true(read_exactly(fd, content, bytes + head[6]));
        answer->request_id = head[2] << 8 | head[3];
        if (head[1] == 6)
            buf_add(&answer->output, content, bytes);
        else
            answer->ended = head[1] == 3;
    }
}

static void assert_holds(struct answer *answer, const char *part)
{
    const char *text = buf_cstr(&answer->output);
    if (text == NULL || strstr(text, part) == NULL)
        fail_msg("no \"%s\" in: %s", part, text);
}

/* ---- records ---- */

static void writes_records_that_a_web_server_reads(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 8, 65527, 65528, 65529, 200000};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        char *body = malloc(sizes[s] + 1);
        memset(body, 'x', sizes[s]);
        struct buf records = BUF_INIT(1 << 20);
        fastcgi_add_output(&records, 258, STR("head"), (struct str){body, sizes[s]});
        fastcgi_add_end(&records, 258);
        struct answer answer = {.output = BUF_INIT(1 << 20)};
        long sent = fastcgi_write_some(pair[0], buf_str(&records));
        assert_true(sent > 0);
        struct str rest = {records.data + sent, records.bytes - (size_t)sent};
        if (rest.bytes > 0) { /* more than the socket holds: the reader goes first */
            assert_int_equal(fastcgi_write_some(pair[0], rest), 0);
            free(body);
            buf_free(&records);
            close(pair[0]);
            close(pair[1]);
            continue;
        }
        read_answer(pair[1], &answer, NULL);
        assert_int_equal(answer.output.bytes, 4 + sizes[s]);
        assert_int_equal(answer.request_id, 258);
        free(body);
        buf_free(&records);
        buf_free(&answer.output);
        close(pair[0]);
        close(pair[1]);
    }
}

static void add_record(struct buf *out, int type, const void *content, size_t bytes)
{
    const unsigned char head[8] = {1, (unsigned char)type,         0,
                                   5, (unsigned char)(bytes >> 8), (unsigned char)bytes};
    buf_add(out, head, sizeof head);
    buf_add(out, content, bytes);
}

/* What fastcgi_take() reads of libfcgi's own fields must still be the connection and the id. */
static void takes_a_connection_out_of_libfcgi(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/test_park.%d.sock", (int)getpid());
    unlink(address.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 4), 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof address), 0);
    struct buf request = BUF_INIT(4096);
    add_record(&request, 1, "\0\1\1\0\0\0\0\0", 8); /* BEGIN_REQUEST as a responder, FCGI_KEEP_CONN */
    add_record(&request, 4, "\1\1AB", 4);
    add_record(&request, 4, "", 0);
    add_record(&request, 5, "", 0);
    assert_int_equal(write(client, request.data, request.bytes), (ssize_t)request.bytes);

    FCGX_Request raw;
    assert_int_equal(FCGX_Init(), 0);
    FCGX_InitRequest(&raw, listener, 0);
    assert_int_equal(FCGX_Accept_r(&raw), 0);
    assert_string_equal(FCGX_GetParam("A", raw.envp), "B");
    struct fastcgi_connection connection = fastcgi_take(&raw);
    assert_int_equal(connection.request_id, 5);
    assert_null(raw.in);
    FCGX_Finish_r(&raw); /* must not touch the connection any more */

    struct buf records = BUF_INIT(4096);
    struct answer answer = {.output = BUF_INIT(4096)};
    fastcgi_add_output(&records, connection.request_id, STR("taken"), STR_NONE);
    fastcgi_add_end(&records, connection.request_id);
    assert_true(fastcgi_write_all(connection.fd, buf_str(&records), DEADLINE_MS));
    fastcgi_close_drained(connection.fd, 0);
    read_answer(client, &answer, NULL);
    assert_string_equal(buf_cstr(&answer.output), "taken");
    char byte;
    assert_int_equal(read(client, &byte, 1), 0);
    buf_free(&request);
    buf_free(&records);
    buf_free(&answer.output);
    close(client);
    close(listener);
    unlink(address.sun_path);
}

/* ---- a park with a fake reader ---- */

struct fixture {
    struct park *park;
    _Atomic int64_t rev; /* of every feed */
    _Atomic int reads, wants, sweeps;
    _Atomic bool revoked, erased; /* erased: there is no feed any more */
    _Atomic int64_t least_rev;    /* of the last want */
    size_t event_bytes;           /* filler in an event */
    struct auth_identity identity;
};

static enum result fake_read(void *context, const struct feed_want *wants, int count, struct arena *arena,
                             struct feed_delta *deltas, struct error *error)
{
    struct fixture *f = context;
    (void)error;
    f->reads++;
    for (int i = 0; i < count; i++) {
        int64_t rev = f->erased ? 0 : f->rev;
        uint64_t epoch = f->erased ? FEED_EPOCH_NONE : EPOCH;
        bool changed = wants[i].place.rev < rev || wants[i].place.epoch != epoch;
        f->least_rev = wants[i].least_rev;
        char *filler = arena_alloc(arena, f->event_bytes + 1);
        memset(filler, 'x', f->event_bytes);
        f->wants++;
        deltas[i] = (struct feed_delta){
            .place = {epoch, rev},
            .changed = changed,
            .json = str_from(
                arena_printf(arena, "{\"events\":[%lld,\"%s\"],\"reset\":false}", (long long)rev, filler))};
    }
    return RESULT_OK;
}

static enum result fake_revs(void *context, const struct feed_want *wants, int count, struct arena *arena,
                             struct feed_place *places, struct error *error)
{
    struct fixture *f = context;
    (void)wants, (void)arena, (void)error;
    f->sweeps++;
    for (int i = 0; i < count; i++)
        places[i] = f->erased ? (struct feed_place){FEED_EPOCH_NONE, 0} : (struct feed_place){EPOCH, f->rev};
    return RESULT_OK;
}

static bool fake_valid(void *context, struct auth_identity *identity)
{
    (void)identity;
    return !((struct fixture *)context)->revoked;
}

static void open_park(struct fixture *f, int waiters_max, int sweep_ms)
{
    struct park_settings settings = {.waiters_max = waiters_max,
                                     .redis_address = "",
                                     .reader = {f, fake_read, fake_revs, fake_valid},
                                     .sweep_ms = sweep_ms};
    assert_int_equal(park_create(&settings, &f->park, NULL), RESULT_OK);
}

static int open_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->rev = 1;
    f->identity = (struct auth_identity){.kind = AUTH_USER, .tenant = 3, .user = "ann", .token_digest = "t"};
    open_park(f, 1000, 3600000);
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *f = *state;
    if (f->park != NULL) {
        park_stop(f->park);
        park_destroy(f->park);
    }
    free(f);
    return 0;
}

static void reopen_park(struct fixture *f, int waiters_max, int sweep_ms)
{
    park_stop(f->park);
    park_destroy(f->park);
    open_park(f, waiters_max, sweep_ms);
}

static enum park_register join(struct fixture *f, enum park_kind kind, const char *client,
                               struct waiter **waiter)
{
    struct park_feed feed = {"inbox", STR("inbox:ann"), {EPOCH, f->rev}};
    struct park_wait wait = {.kind = kind,
                             .identity = &f->identity,
                             .client = str_from(client),
                             .headers = STR("X-Extra: 1\r\n"),
                             .feed_count = 1,
                             .feeds = &feed};
    return park_register(f->park, &wait, waiter);
}

static enum park_commit settle(struct fixture *f, struct waiter *waiter, int64_t rev, int fd, int wait_ms)
{
    struct park_read read = {{EPOCH, rev}, STR("{\"events\":[],\"unreadCount\":4}"), 0};
    return park_commit(f->park, waiter, &read, (struct fastcgi_connection){fd, 1}, wait_ms);
}

/* Parks, and returns the web server's end of the connection. */
static int park_one(struct fixture *f, enum park_kind kind, const char *client, int wait_ms)
{
    int pair[2];
    struct waiter *waiter;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(join(f, kind, client, &waiter), PARK_REGISTERED);
    assert_int_equal(settle(f, waiter, f->rev, pair[0], wait_ms), PARK_PARKED);
    return pair[1];
}

static void wake(struct fixture *f, int64_t rev)
{
    f->rev = rev;
    struct feed_wake wake = {3, STR("inbox:ann"), {EPOCH, rev}};
    park_wake(f->park, &wake);
}

/* Reads the whole answer and checks that the connection is closed behind it. */
static struct answer whole_answer(int fd)
{
    struct answer answer = {.output = BUF_INIT(4 << 20)};
    char byte;
    read_answer(fd, &answer, NULL);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
    return answer;
}

static void expect_answer(int fd, const char *part)
{
    struct answer answer = whole_answer(fd);
    assert_holds(&answer, part);
    buf_free(&answer.output);
}

static void wait_for_count(struct fixture *f, enum park_kind kind, int count)
{
    int64_t deadline_ms = clock_mono_ms() + DEADLINE_MS;
    while (park_count(f->park, kind) != count && clock_mono_ms() < deadline_ms)
        usleep(1000);
    assert_int_equal(park_count(f->park, kind), count);
}

static void a_wake_answers_with_what_is_new(void **state)
{
    struct fixture *f = *state;
    int fd = park_one(f, PARK_POLL, "", FAR_MS);
    wake(f, 2);
    struct answer answer = whole_answer(fd);
    assert_holds(&answer, "Status: 200\r\n");
    assert_holds(&answer, "X-Extra: 1\r\n");
    assert_holds(&answer, "{\"feeds\":{\"inbox\":{\"events\":[2,");
    assert_holds(&answer, "\"more\":false");
    assert_int_equal(park_count(f->park, PARK_POLL), 0);
    buf_free(&answer.output);
}

static void a_deadline_answers_with_nothing_new(void **state)
{
    struct fixture *f = *state;
    expect_answer(park_one(f, PARK_POLL, "", 50), "\"inbox\":{\"events\":[],\"unreadCount\":4}");
    assert_int_equal(f->reads, 0);
}

static void a_wake_between_register_and_commit_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct waiter *waiter;
    struct park_read read = {{EPOCH, 1}, STR("{}"), 0};
    assert_int_equal(join(f, PARK_POLL, "", &waiter), PARK_REGISTERED);
    wake(f, 5);
    assert_int_equal(park_commit(f->park, waiter, &read, (struct fastcgi_connection){-1, 1}, FAR_MS),
                     PARK_AGAIN);
    assert_int_equal(read.least_rev, 5);
    assert_int_equal(f->reads, 0); /* its own thread reads, nobody else */
    park_cancel(f->park, waiter);
}

static void a_wake_that_was_read_already_is_ignored(void **state)
{
    struct fixture *f = *state;
    struct waiter *waiter;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(join(f, PARK_POLL, "", &waiter), PARK_REGISTERED);
    wake(f, 5);
    assert_int_equal(settle(f, waiter, 5, pair[0], FAR_MS), PARK_PARKED);
    wake(f, 5);
    wake(f, 6);
    expect_answer(pair[1], "[6,");
    assert_int_equal(f->reads, 1);
}

static void equal_cursors_are_read_once(void **state)
{
    struct fixture *f = *state;
    int fds[LIMIT_WAITERS_PER_USER];
    for (int i = 0; i < LIMIT_WAITERS_PER_USER; i++)
        fds[i] = park_one(f, PARK_POLL, "", FAR_MS);
    wake(f, 2);
    for (int i = 0; i < LIMIT_WAITERS_PER_USER; i++)
        expect_answer(fds[i], "[2,");
    assert_int_equal(f->wants, 1);
}

static void a_newer_poll_of_a_client_answers_the_older(void **state)
{
    struct fixture *f = *state;
    int older = park_one(f, PARK_POLL, "tab", FAR_MS), other = park_one(f, PARK_POLL, "tab2", FAR_MS);
    int newer = park_one(f, PARK_POLL, "tab", FAR_MS);
    expect_answer(older, "\"events\":[]");
    assert_int_equal(park_count(f->park, PARK_POLL), 2);
    wake(f, 2);
    expect_answer(newer, "[2,");
    expect_answer(other, "[2,");
}

static void a_poll_that_is_superseded_while_it_reads_is_told_so(void **state)
{
    struct fixture *f = *state;
    struct waiter *older, *newer;
    assert_int_equal(join(f, PARK_POLL, "tab", &older), PARK_REGISTERED);
    assert_int_equal(join(f, PARK_POLL, "tab", &newer), PARK_REGISTERED);
    assert_int_equal(settle(f, older, 1, -1, FAR_MS), PARK_ANSWER_NOW);
    park_cancel(f->park, newer);
}

static void limits_hold(void **state)
{
    struct fixture *f = *state;
    int fds[LIMIT_WAITERS_PER_USER];
    struct waiter *waiter;
    for (int i = 0; i < LIMIT_WAITERS_PER_USER; i++)
        fds[i] = park_one(f, PARK_POLL, "", FAR_MS);
    assert_int_equal(join(f, PARK_POLL, "", &waiter), PARK_USER_FULL);
    wake(f, 2);
    for (int i = 0; i < LIMIT_WAITERS_PER_USER; i++)
        expect_answer(fds[i], "[2,");
    reopen_park(f, 1, 3600000);
    int held = park_one(f, PARK_POLL, "", FAR_MS);
    assert_int_equal(join(f, PARK_POLL, "", &waiter), PARK_FULL);
    wake(f, 3);
    expect_answer(held, "[3,");
}

static void a_client_that_left_is_forgotten(void **state)
{
    struct fixture *f = *state;
    close(park_one(f, PARK_POLL, "", FAR_MS));
    wait_for_count(f, PARK_POLL, 0);
    int aborted = park_one(f, PARK_POLL, "", FAR_MS);
    assert_int_equal(write(aborted, "\1\2\0\1\0\0\0\0", 8), 8); /* ABORT_REQUEST, which nobody reads */
    close(aborted);
    wait_for_count(f, PARK_POLL, 0);
    int fd = park_one(f, PARK_STREAM, "", 0);
    shutdown(fd, SHUT_WR);
    wait_for_count(f, PARK_STREAM, 0);
    close(fd);
}

static void a_sweep_finds_what_a_lost_wake_would_have_said(void **state)
{
    struct fixture *f = *state;
    reopen_park(f, 1000, 20);
    int fd = park_one(f, PARK_POLL, "", FAR_MS);
    f->rev = 9;
    expect_answer(fd, "[9,");
}

static void a_sweep_finds_that_a_feed_was_erased(void **state)
{
    struct fixture *f = *state;
    reopen_park(f, 1000, 20);
    int poller = park_one(f, PARK_POLL, "", FAR_MS), stream = park_one(f, PARK_STREAM, "", 0);
    f->erased = true;
    struct answer update = {.output = BUF_INIT(4 << 20)};
    expect_answer(poller, "[0,");
    read_answer(stream, &update, "[0,");
    int reads = f->reads, sweeps = f->sweeps;
    while (f->sweeps < sweeps + 3)
        usleep(1000);
    assert_int_equal(f->reads, reads); /* who knows it is not told again */
    buf_free(&update.output);
    close(stream);
}

/* What is cached of a feed that did not exist must not answer who waits for its beginning. */
static void a_wake_of_a_new_feed_is_read_past_what_is_cached(void **state)
{
    struct fixture *f = *state;
    struct park_feed feed = {"inbox", STR("inbox:ann"), {FEED_EPOCH_NONE, 0}};
    struct park_wait wait = {.identity = &f->identity, .feed_count = 1, .feeds = &feed};
    struct park_read read = {{FEED_EPOCH_NONE, 0}, STR("{}"), 0};
    struct waiter *waiter;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(park_register(f->park, &wait, &waiter), PARK_REGISTERED);
    assert_int_equal(park_commit(f->park, waiter, &read, (struct fastcgi_connection){pair[0], 1}, FAR_MS),
                     PARK_PARKED);
    wake(f, 2);
    expect_answer(pair[1], "[2,");
    assert_int_equal(f->least_rev, 2);
}

static void credentials_that_end_end_the_wait(void **state)
{
    struct fixture *f = *state;
    reopen_park(f, 1000, 20);
    int poller = park_one(f, PARK_POLL, "", FAR_MS), stream = park_one(f, PARK_STREAM, "", 0);
    f->revoked = true;
    expect_answer(poller, "Status: 401\r\n");
    expect_answer(stream, "event: end\ndata: {\"reason\":\"expired\"}\n\n");
}

static void a_token_that_expires_ends_the_wait(void **state)
{
    struct fixture *f = *state;
    f->identity.expires_us = clock_now_us() + 100000;
    int poller = park_one(f, PARK_POLL, "", FAR_MS), stream = park_one(f, PARK_STREAM, "", 0);
    expect_answer(poller, "\"events\":[]");
    expect_answer(stream, "{\"reason\":\"expired\"}");
}

static void a_stream_goes_on_after_an_update(void **state)
{
    struct fixture *f = *state;
    int fd = park_one(f, PARK_STREAM, "", 0);
    struct answer answer = {.output = BUF_INIT(1 << 20)};
    wake(f, 2);
    read_answer(fd, &answer, "[2,");
    wake(f, 3);
    read_answer(fd, &answer, "[3,");
    assert_holds(&answer, "id: ");
    assert_holds(&answer, "\nevent: update\ndata: {\"feeds\":{\"inbox\":{\"events\":[2,");
    assert_int_equal(park_count(f->park, PARK_STREAM), 1);
    buf_free(&answer.output);
    close(fd);
    wait_for_count(f, PARK_STREAM, 0);
}

static void a_stream_that_reads_too_slowly_is_closed(void **state)
{
    struct fixture *f = *state;
    f->event_bytes = 1 << 20; /* more than a socket holds */
    int fd = park_one(f, PARK_STREAM, "", 0);
    wake(f, 2);
    wait_for_count(f, PARK_STREAM, 0);
    close(fd);
}

static void a_poll_gets_an_answer_that_does_not_fit_its_socket(void **state)
{
    struct fixture *f = *state;
    f->event_bytes = 1 << 20;
    int fd = park_one(f, PARK_POLL, "", FAR_MS);
    wake(f, 2);
    wait_for_count(f, PARK_POLL, 0); /* answered as far as it goes; the rest is sent as the peer reads */
    struct answer answer = whole_answer(fd);
    assert_true(answer.output.bytes > 1 << 20);
    assert_holds(&answer, "\"pollAfterMs\":");
    buf_free(&answer.output);
}

static void stopping_answers_everybody_and_parks_nobody(void **state)
{
    struct fixture *f = *state;
    struct waiter *waiter;
    int poller = park_one(f, PARK_POLL, "", FAR_MS), stream = park_one(f, PARK_STREAM, "", 0);
    assert_int_equal(join(f, PARK_POLL, "", &waiter), PARK_REGISTERED);
    park_stop(f->park);
    assert_int_equal(settle(f, waiter, 1, -1, FAR_MS), PARK_ANSWER_NOW);
    assert_int_equal(join(f, PARK_POLL, "", &waiter), PARK_STOPPING);
    expect_answer(poller, "\"cursor\":\"");
    expect_answer(stream, "{\"reason\":\"shutdown\"}");
    park_destroy(f->park);
    f->park = NULL;
}

/* ---- from many threads ---- */

enum { THREADS = 4, ROUNDS = 200 };

static void *poll_again_and_again(void *context)
{
    struct fixture *f = context;
    for (int i = 0; i < ROUNDS; i++) {
        int pair[2];
        struct waiter *waiter;
        int64_t seen = f->rev;
        if (join(f, PARK_POLL, "", &waiter) != PARK_REGISTERED)
            continue;
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
            abort();
        enum park_commit verdict;
        while ((verdict = settle(f, waiter, seen, pair[0], FAR_MS)) == PARK_AGAIN)
            seen = f->rev;
        if (verdict == PARK_PARKED) {
            struct answer answer = {.output = BUF_INIT(1 << 16)};
            read_answer(pair[1], &answer, NULL);
            if (!answer.ended)
                abort();
            buf_free(&answer.output);
        } else {
            close(pair[0]);
        }
        close(pair[1]);
    }
    return NULL;
}

static void *wake_again_and_again(void *context)
{
    struct fixture *f = context;
    while (!f->revoked) {
        wake(f, f->rev + 1);
        usleep(200);
    }
    return NULL;
}

static void every_waiter_is_answered_exactly_once_under_load(void **state)
{
    struct fixture *f = *state;
    pthread_t pollers[THREADS], waker;
    pthread_create(&waker, NULL, wake_again_and_again, f);
    for (int t = 0; t < THREADS; t++)
        pthread_create(&pollers[t], NULL, poll_again_and_again, f);
    for (int t = 0; t < THREADS; t++)
        pthread_join(pollers[t], NULL);
    f->revoked = true;
    pthread_join(waker, NULL);
    assert_int_equal(park_count(f->park, PARK_POLL), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_records_that_a_web_server_reads),
        cmocka_unit_test(takes_a_connection_out_of_libfcgi),
        CASE(a_wake_answers_with_what_is_new),
        CASE(a_deadline_answers_with_nothing_new),
        CASE(a_wake_between_register_and_commit_is_not_lost),
        CASE(a_wake_that_was_read_already_is_ignored),
        CASE(equal_cursors_are_read_once),
        CASE(a_newer_poll_of_a_client_answers_the_older),
        CASE(a_poll_that_is_superseded_while_it_reads_is_told_so),
        CASE(limits_hold),
        CASE(a_client_that_left_is_forgotten),
        CASE(a_sweep_finds_what_a_lost_wake_would_have_said),
        CASE(a_sweep_finds_that_a_feed_was_erased),
        CASE(a_wake_of_a_new_feed_is_read_past_what_is_cached),
        CASE(credentials_that_end_end_the_wait),
        CASE(a_token_that_expires_ends_the_wait),
        CASE(a_stream_goes_on_after_an_update),
        CASE(a_stream_that_reads_too_slowly_is_closed),
        CASE(a_poll_gets_an_answer_that_does_not_fit_its_socket),
        CASE(stopping_answers_everybody_and_parks_nobody),
        CASE(every_waiter_is_answered_exactly_once_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
