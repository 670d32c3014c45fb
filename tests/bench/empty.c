/*
 * The reference of the polling benchmarks: a FastCGI program that answers every request with an empty JSON
 * object and does nothing else. What a web server and libfcgi cost alone.
 *
 *   empty [--threads N] < LISTENING-SOCKET        (N 4)
 *
 * Like belfry-api it does not wait for the web server to close, so both are measured alike.
 */
#include <fcgiapp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 256 };

static void *answer_all(void *unused)
{
    static const char answer[] = "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    FCGX_Request request;
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        FCGX_PutStr(answer, sizeof answer - 1, request.out);
        FCGX_Detach(&request);
        FCGX_Finish_r(&request);
    }
    return unused;
}

int main(int argc, char **argv)
{
    int threads = argc == 3 && strcmp(argv[1], "--threads") == 0 ? atoi(argv[2]) : 4;
    if (threads < 1 || threads > THREADS_MAX || FCGX_IsCGI()) {
        fputs("usage: empty [--threads N], with a listening socket as descriptor 0\n", stderr);
        return 64;
    }
    if (FCGX_Init() != 0)
        return 1;
    pthread_t thread;
    for (int i = 1; i < threads; i++)
        if (pthread_create(&thread, NULL, answer_all, NULL) != 0)
            return 1;
    answer_all(NULL);
    return 0;
}
