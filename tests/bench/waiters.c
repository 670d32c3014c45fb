/*
 * Thousands of waiting clients and somebody who sends to them, in one process, so that one clock measures
 * both ends.
 *
 *   waiters HOST:PORT TOKENS SENDS
 *
 * TOKENS: a line with a user's token for each waiter. SENDS: for each waiter a raw HTTP request that sends to
 * its user, separated by NUL, with a title of `n@@@@@@@@`, whose @ become the number of the send. Every
 * waiter long-polls on a connection of its own, follows its cursor and polls again at once.
 *
 * Commands on standard input, one JSON line of answer each:
 *   stats              waiters, polls answered, notifications received, errors
 *   run RATE SECONDS   sends at that rate to waiters at random; then waits (at most 10 s) for what was sent.
 *                      wake: from the first byte of the send to the last byte at the waiting client; commit:
 * to the last byte of the send's own answer. lost and repeated must be 0. quit
 */
#include "client.h"

enum {
    WAITERS_MAX = 20000,
    SENDERS = 16,
    SENDS_MAX = 1000000,
    TOKEN_BYTES_MAX = 1024,
    CURSOR_BYTES_MAX = 512,
    REQUEST_BYTES_MAX = 8192,
    FIRST_POLLS_MAX = 128, /* unanswered while connecting: the backend's backlog is not what is measured */
    DRAIN_NS_PER_S = 1000000000
};

struct waiter {
    struct client client;
    bool is_sender, waiting, busy;
    char *token;
    char cursor[CURSOR_BYTES_MAX];
    int number; /* a sender's send in flight; a waiter's own index */
};

static struct {
    struct sockaddr_in address;
    int epoll_fd;
    struct waiter *waiters, senders[SENDERS];
    char **sends;
    int count, connected, first_answers;
    unsigned long polls, received, unknown, errors, reconnects;
    int64_t *began_ns, *wake_ns, *commit_ns;
    unsigned char *got;
    int sent, wakes, commits, repeated;
    int64_t next_ns, interval_ns, end_ns, drain_ns;
} bench;

/* ---- polling
 * ------------------------------------------------------------------------------------------------ */

static void poll_again(struct waiter *w)
{
    char request[REQUEST_BYTES_MAX];
    int bytes = snprintf(
        request, sizeof request,
        "GET /api/v1/poll?wait=25&client=w%d%s%s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n\r\n",
        w->number, w->cursor[0] ? "&cursor=" : "", w->cursor, w->token);
    if (bytes <= 0 || (size_t)bytes >= sizeof request)
        fail("write a poll");
    w->waiting = w->cursor[0] != '\0';
    client_send(&w->client, request, (size_t)bytes);
}

static void take_cursor(struct waiter *w)
{
    const char *at = strstr(w->client.answer, "\"cursor\":\"");
    if (!at)
        fail("find a cursor in a poll's answer");
    at += strlen("\"cursor\":\"");
    size_t bytes = strcspn(at, "\"");
    if (bytes >= sizeof w->cursor)
        fail("hold a cursor");
    memcpy(w->cursor, at, bytes);
    w->cursor[bytes] = '\0';
}

static void take_notifications(struct waiter *w, int64_t at_ns)
{
    for (char *at = w->client.answer; (at = strstr(at, "\"title\":\"n")) != NULL; at++) {
        int number = atoi(at + strlen("\"title\":\"n"));
        bench.received++;
        if (number < 0 || number >= bench.sent || bench.began_ns[number] == 0) {
            bench.unknown++;
            continue;
        }
        if (bench.got[number]++) {
            bench.repeated++;
            continue;
        }
        bench.wake_ns[bench.wakes++] = at_ns - bench.began_ns[number];
    }
}

static void waiter_readable(struct waiter *w)
{
    int state = client_read(&w->client);
    if (state == 0)
        return;
    int64_t at_ns = now_ns();
    if (state < 0) {
        bench.reconnects++;
        close(w->client.fd);
        client_connect(&w->client, &bench.address, bench.epoll_fd, w);
        poll_again(w);
        return;
    }
    bench.polls++;
    if (client_status(&w->client) != 200) {
        bench.errors++;
        fprintf(stderr, "a poll was answered: %.300s\n", w->client.answer);
        if (bench.errors > 20)
            exit(1);
    } else {
        if (w->cursor[0]) /* the first answer is the state so far */
            take_notifications(w, at_ns);
        else
            bench.first_answers++;
        take_cursor(w);
    }
    bool reconnect = client_must_close(&w->client);
    if (reconnect) {
        close(w->client.fd);
        client_connect(&w->client, &bench.address, bench.epoll_fd, w);
    }
    poll_again(w);
    if (w->client.capacity > 4096) {
        free(w->client.answer);
        w->client.answer = NULL;
        w->client.capacity = 0;
    }
}

static void connect_some(void)
{
    while (bench.connected < bench.count && bench.connected - bench.first_answers < FIRST_POLLS_MAX) {
        struct waiter *w = &bench.waiters[bench.connected++];
        client_connect(&w->client, &bench.address, bench.epoll_fd, w);
        poll_again(w);
    }
}

/* ---- sending
 * ------------------------------------------------------------------------------------------------ */

static void send_one(struct waiter *sender)
{
    char request[REQUEST_BYTES_MAX];
    const char *model = bench.sends[random() % bench.count];
    size_t bytes = strlen(model);
    char *mark;
    if (bytes >= sizeof request || bench.sent >= SENDS_MAX)
        fail("send that much");
    memcpy(request, model, bytes + 1);
    if (!(mark = strstr(request, "n@@@@@@@@")))
        fail("find the title in a send");
    char number[9];
    snprintf(number, sizeof number, "%08u", (unsigned)bench.sent % 100000000U);
    memcpy(mark + 1, number, 8);
    sender->number = bench.sent++;
    sender->busy = true;
    bench.began_ns[sender->number] = now_ns();
    client_send(&sender->client, request, bytes);
}

static void sender_readable(struct waiter *sender)
{
    int state = client_read(&sender->client);
    if (state == 0)
        return;
    if (state < 0) {
        if (sender->busy)
            bench.errors++;
    } else {
        if (client_status(&sender->client) != 202) {
            bench.errors++;
            fprintf(stderr, "a send was answered: %.300s\n", sender->client.answer);
        }
        bench.commit_ns[bench.commits++] = now_ns() - bench.began_ns[sender->number];
    }
    sender->busy = false;
    if (state < 0 || client_must_close(&sender->client)) {
        close(sender->client.fd);
        client_connect(&sender->client, &bench.address, bench.epoll_fd, sender);
    }
}

static void send_due(int64_t at_ns)
{
    while (bench.interval_ns > 0 && at_ns >= bench.next_ns && bench.next_ns < bench.end_ns) {
        struct waiter *idle = NULL;
        for (int i = 0; i < SENDERS && !idle; i++)
            if (!bench.senders[i].busy)
                idle = &bench.senders[i];
        if (!idle)
            return; /* the rate is not kept; sends/s in the answer shows it */
        send_one(idle);
        bench.next_ns += bench.interval_ns;
    }
}

/* ---- commands
 * ----------------------------------------------------------------------------------------------- */

static int waiting_count(void)
{
    int waiting = 0;
    for (int i = 0; i < bench.connected; i++)
        waiting += bench.waiters[i].waiting;
    return waiting;
}

static void print_stats(void)
{
    printf(
        "{\"waiters\":%d,\"waiting\":%d,\"polls\":%lu,\"received\":%lu,\"errors\":%lu,\"reconnects\":%lu}\n",
        bench.count, waiting_count(), bench.polls, bench.received, bench.errors, bench.reconnects);
}

static void run_begin(double rate, double seconds)
{
    memset(bench.began_ns, 0, SENDS_MAX * sizeof *bench.began_ns);
    memset(bench.got, 0, SENDS_MAX);
    bench.sent = bench.wakes = bench.commits = bench.repeated = 0;
    bench.unknown = 0;
    bench.interval_ns = (int64_t)(1e9 / rate);
    bench.next_ns = now_ns();
    bench.end_ns = bench.next_ns + (int64_t)(seconds * 1e9);
    bench.drain_ns = bench.end_ns + 10 * (int64_t)DRAIN_NS_PER_S;
}

static void run_end(void)
{
    size_t wakes = (size_t)bench.wakes, commits = (size_t)bench.commits;
    printf("{\"sent\":%d,\"woken\":%d,\"lost\":%d,\"repeated\":%d,\"errors\":%lu,", bench.sent, bench.wakes,
           bench.sent - bench.wakes, bench.repeated, bench.errors);
    printf("\"wakeP50\":%.3f,\"wakeP90\":%.3f,", percentile_ms(bench.wake_ns, wakes, 50),
           percentile_ms(bench.wake_ns, wakes, 90));
    printf("\"wakeP99\":%.3f,\"wakeMax\":%.3f,", percentile_ms(bench.wake_ns, wakes, 99),
           percentile_ms(bench.wake_ns, wakes, 100));
    printf("\"commitP50\":%.3f,\"commitP99\":%.3f}\n", percentile_ms(bench.commit_ns, commits, 50),
           percentile_ms(bench.commit_ns, commits, 99));
    bench.interval_ns = 0;
}

/* Reads one command; false at the end. */
static bool command(void)
{
    char line[128];
    double rate, seconds;
    ssize_t bytes = read(STDIN_FILENO, line, sizeof line - 1);
    if (bytes <= 0)
        return false;
    line[bytes] = '\0';
    if (strncmp(line, "stats", 5) == 0)
        print_stats();
    else if (sscanf(line, "run %lf %lf", &rate, &seconds) == 2 && rate > 0)
        run_begin(rate, seconds);
    else
        return false;
    return true;
}

static void *hold(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (!memory)
        fail("find memory");
    return memory;
}

static void set_up(char **argv)
{
    size_t bytes;
    bench.address = client_address(argv[1]);
    bench.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    bench.waiters = hold(WAITERS_MAX, sizeof *bench.waiters);
    bench.sends = hold(WAITERS_MAX, sizeof *bench.sends);
    bench.began_ns = hold(SENDS_MAX, sizeof *bench.began_ns);
    bench.wake_ns = hold(SENDS_MAX, sizeof *bench.wake_ns);
    bench.commit_ns = hold(SENDS_MAX, sizeof *bench.commit_ns);
    bench.got = hold(SENDS_MAX, 1);
    char *tokens = file_read(argv[2], &bytes);
    for (char *line = strtok(tokens, "\n"); line && bench.count < WAITERS_MAX; line = strtok(NULL, "\n")) {
        bench.waiters[bench.count] = (struct waiter){.token = line, .number = bench.count};
        bench.count++;
    }
    int sends = 0;
    char *text = file_read(argv[3], &bytes);
    for (char *at = text; at < text + bytes && sends < bench.count; at += strlen(at) + 1)
        bench.sends[sends++] = at;
    if (bench.count == 0 || sends < bench.count)
        fail("find a send for each token");
    for (int i = 0; i < SENDERS; i++) {
        bench.senders[i].is_sender = true;
        client_connect(&bench.senders[i].client, &bench.address, bench.epoll_fd, &bench.senders[i]);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(bench.epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("read the arguments: HOST:PORT TOKENS SENDS");
    setvbuf(stdout, NULL, _IOLBF, 0);
    srandom(11);
    set_up(argv);
    for (bool running = true; running;) {
        struct epoll_event events[256];
        bool busy = bench.connected < bench.count || bench.interval_ns > 0;
        int count = epoll_wait(bench.epoll_fd, events, 256, busy ? 1 : 1000);
        for (int i = 0; i < count; i++) {
            struct waiter *w = events[i].data.ptr;
            if (!w)
                running = command();
            else if (w->is_sender)
                sender_readable(w);
            else
                waiter_readable(w);
        }
        connect_some();
        int64_t at_ns = now_ns();
        send_due(at_ns);
        if (bench.interval_ns > 0 && at_ns >= bench.end_ns &&
            (bench.wakes >= bench.sent || at_ns >= bench.drain_ns))
            run_end();
    }
    return 0;
}
