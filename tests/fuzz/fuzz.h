#ifndef BELFRY_TESTS_FUZZ_H
#define BELFRY_TESTS_FUZZ_H
/*
 * A fuzz target is one function that takes any bytes and must neither crash nor break a promise that it
 * asserts. Build it with clang's -fsanitize=fuzzer to search; without that, tests/fuzz/main.c runs it over
 * the files named on the command line, which is how the corpus is replayed by the tests.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* assert() that no build switches off. */
#define PROMISE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition);                  \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
