/*
 * The reference for deliveries: libcurl's multi interface alone, posting a body of a delivery's size over and
 * over with so many in flight. No queue, no database, no rendering.
 *
 *   curl_alone URL IN_FLIGHT REQUESTS [CA_FILE]
 *
 * Prints {"requests":…,"seconds":…,"perSecond":…}.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { IN_FLIGHT_MAX = 4096, BODY_BYTES = 420 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t swallow(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    (void)context;
    return size * count;
}

static CURL *make_handle(const char *url, const char *ca_file, struct curl_slist *headers)
{
    static char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    CURL *handle = curl_easy_init();
    curl_easy_setopt(handle, CURLOPT_URL, url);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, (long)BODY_BYTES);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, swallow);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    if (ca_file)
        curl_easy_setopt(handle, CURLOPT_CAINFO, ca_file);
    return handle;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "arguments: URL IN_FLIGHT REQUESTS [CA_FILE]\n");
        return 64;
    }
    long in_flight = atol(argv[2]), wanted = atol(argv[3]), started = 0, done = 0, failed = 0;
    if (in_flight < 1 || in_flight > IN_FLIGHT_MAX)
        return 64;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    headers = curl_slist_append(headers, "webhook-id: msg_00000000-0000-7000-8000-000000000000_1");
    headers = curl_slist_append(headers, "webhook-timestamp: 1700000000");
    headers =
        curl_slist_append(headers, "webhook-signature: v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    CURLM *multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, in_flight);

    double began_s = now_s();
    for (; started < in_flight && started < wanted; started++)
        curl_multi_add_handle(multi, make_handle(argv[1], argc > 4 ? argv[4] : NULL, headers));
    while (done < wanted) {
        int running = 0, left = 0;
        curl_multi_perform(multi, &running);
        for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));) {
            CURL *handle = message->easy_handle;
            failed += message->data.result != CURLE_OK;
            done++;
            curl_multi_remove_handle(multi, handle);
            if (started < wanted) {
                started++;
                curl_multi_add_handle(multi, handle);
            } else {
                curl_easy_cleanup(handle);
            }
        }
        if (running > 0)
            curl_multi_poll(multi, NULL, 0, 100, NULL);
    }
    double seconds = now_s() - began_s;
    printf("{\"requests\":%ld,\"seconds\":%.3f,\"perSecond\":%.1f,\"failed\":%ld}\n", done, seconds,
           (double)done / seconds, failed);
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    return failed ? 1 : 0;
}
