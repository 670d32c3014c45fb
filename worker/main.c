/*
 * belfry-worker: claims deliveries, sends them, settles what came of it. Any number of workers share the
 * queue;
 * --channels lets pools of them scale apart. What a killed worker had claimed is sent by others when its
 * lease has run out.
 */
#include "core/log.h"
#include "worker/worker.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static void print_help(void)
{
    fputs("Usage: belfry-worker [--channels=email,push] [--help] [--version]\n\n"
          "Delivers notifications. Any number of workers share the queue; --channels (or BELFRY_CHANNELS) "
          "lets this\n"
          "one send on some channels only. SIGTERM and SIGINT end it cleanly: what it is sending may finish, "
          "the rest\n"
          "goes back. Settings come from the environment:\n\n",
          stdout);
    config_print(stdout, CONFIG_WORKER);
}

/* They are read from a descriptor; threads that libraries start inherit the mask. */
static void block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int run(const struct config *config)
{
    struct error error = {0};
    struct worker *w = calloc(1, sizeof *w);
    int status = EX_OK;
    if (!w)
        return EX_SOFTWARE;
    block_signals();
    if (worker_open(w, config, &error) != RESULT_OK) {
        log_error("cannot start", LOG_TEXT("reason", error.text));
        status = error.code == RESULT_FAILED ? EX_SOFTWARE : EX_CONFIG;
    } else {
        worker_run(w);
        status = w->status;
    }
    worker_close(w);
    free(w);
    return status;
}

/* --channels is the setting by another name; it goes before the environment. */
static bool take_argument(const char *argument)
{
    static const char prefix[] = "--channels=";
    return strncmp(argument, prefix, sizeof prefix - 1) == 0 &&
           setenv("BELFRY_CHANNELS", argument + sizeof prefix - 1, 1) == 0;
}

int main(int argc, char **argv)
{
    struct config config;
    struct error error;
    log_open("worker", LOG_INFO);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help();
            return EX_OK;
        }
        if (strcmp(argv[i], "--version") == 0) {
            puts("belfry-worker " BELFRY_VERSION);
            return EX_OK;
        }
        if (!take_argument(argv[i])) {
            fprintf(stderr, "belfry-worker: unexpected argument \"%.60s\"; see --help\n", argv[i]);
            return EX_USAGE;
        }
    }
    if (config_load(&config, CONFIG_WORKER, &error) != RESULT_OK) {
        log_error("settings are wrong", LOG_TEXT("reason", error.text));
        return EX_CONFIG;
    }
    log_open("worker", (enum log_level)config.log_level);
    int status = run(&config);
    config_free(&config);
    return status;
}
