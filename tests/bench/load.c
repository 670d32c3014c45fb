/*
 * A closed loop: N connections, each sends its next request as soon as its last one is answered.
 *
 *   load HOST:PORT CONNECTIONS SECONDS REQUESTS
 *
 * REQUESTS is a file of raw HTTP/1.1 requests, separated by a NUL; each turn takes one at random. In a
 * request the text @@@@@@@@ is replaced by a number that is never repeated. Prints one JSON object: requests,
 * seconds, perSecond, p50, p99 (milliseconds) and how often each status came.
 */
#include "client.h"

enum { CONNECTIONS_MAX = 10000, STATUSES = 600, REQUEST_BYTES_MAX = 65536, UNIQUE_BYTES = 8 };

struct slot {
    struct client client;
    int64_t began_ns;
};

struct load {
    struct sockaddr_in address;
    int epoll_fd;
    char **requests;
    size_t request_count;
    int64_t *latencies;
    size_t done, capacity;
    unsigned statuses[STATUSES];
    unsigned unique;
};

static void split_requests(struct load *load, char *text, size_t bytes)
{
    for (char *at = text; at < text + bytes; at += strlen(at) + 1) {
        load->requests = realloc(load->requests, (load->request_count + 1) * sizeof *load->requests);
        if (!load->requests)
            fail("hold the requests");
        load->requests[load->request_count++] = at;
    }
    if (load->request_count == 0)
        fail("find a request in the file");
}

static void next(struct load *load, struct slot *slot)
{
    static char copy[REQUEST_BYTES_MAX];
    const char *request = load->requests[(size_t)random() % load->request_count];
    size_t bytes = strlen(request);
    const char *mark = strstr(request, "@@@@@@@@");
    if (mark && bytes < sizeof copy) {
        memcpy(copy, request, bytes + 1);
        char number[UNIQUE_BYTES + 1];
        snprintf(number, sizeof number, "%08u", load->unique++ % 100000000);
        memcpy(copy + (mark - request), number, UNIQUE_BYTES);
        request = copy;
    }
    slot->began_ns = now_ns();
    client_send(&slot->client, request, bytes);
}

static void record(struct load *load, const struct slot *slot)
{
    if (load->done == load->capacity) {
        load->capacity = load->capacity ? load->capacity * 2 : 1 << 16;
        load->latencies = realloc(load->latencies, load->capacity * sizeof *load->latencies);
        if (!load->latencies)
            fail("hold the latencies");
    }
    load->latencies[load->done++] = now_ns() - slot->began_ns;
    int status = client_status(&slot->client);
    load->statuses[status > 0 && status < STATUSES ? status : 0]++;
}

static void on_readable(struct load *load, struct slot *slot)
{
    int state = client_read(&slot->client);
    if (state == 0)
        return;
    if (state > 0)
        record(load, slot);
    else if (slot->client.bytes > 0)
        load->statuses[0]++;
    if (state < 0 || client_must_close(&slot->client)) {
        close(slot->client.fd);
        client_connect(&slot->client, &load->address, load->epoll_fd, slot);
    }
    next(load, slot);
}

static void print(struct load *load, double seconds)
{
    printf("{\"requests\":%zu,\"seconds\":%.3f,\"perSecond\":%.1f,", load->done, seconds,
           (double)load->done / seconds);
    printf("\"p50\":%.3f,", percentile_ms(load->latencies, load->done, 50));
    printf("\"p99\":%.3f,\"statuses\":{", percentile_ms(load->latencies, load->done, 99));
    const char *comma = "";
    for (int i = 0; i < STATUSES; i++)
        if (load->statuses[i]) {
            printf("%s\"%d\":%u", comma, i, load->statuses[i]);
            comma = ",";
        }
    printf("}}\n");
}

int main(int argc, char **argv)
{
    if (argc != 5)
        fail("read the arguments: HOST:PORT CONNECTIONS SECONDS REQUESTS");
    struct load load = {.address = client_address(argv[1]), .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    size_t bytes, connections = strtoul(argv[2], NULL, 10);
    char *text = file_read(argv[4], &bytes);
    split_requests(&load, text, bytes);
    if (connections < 1 || connections > CONNECTIONS_MAX)
        fail("use that many connections");
    struct slot *slots = calloc(connections, sizeof *slots);
    if (!slots)
        fail("hold the connections");
    srandom(7);

    int64_t began_ns = now_ns(), end_ns = began_ns + (int64_t)(atof(argv[3]) * 1e9);
    for (size_t i = 0; i < connections; i++) {
        client_connect(&slots[i].client, &load.address, load.epoll_fd, &slots[i]);
        next(&load, &slots[i]);
    }
    while (now_ns() < end_ns) {
        struct epoll_event events[256];
        int count = epoll_wait(load.epoll_fd, events, 256, 100);
        for (int i = 0; i < count; i++)
            on_readable(&load, events[i].data.ptr);
    }
    print(&load, (double)(now_ns() - began_ns) / 1e9);
    return 0;
}
