/*
 * Replays files through a fuzz target, and each of them also cut short at every byte and with every byte
 * flipped: a small, repeatable search for machines without libFuzzer. Exit 0 when nothing broke.
 */
#include "fuzz.h"
#include <string.h>

enum { FILE_BYTES_MAX = 1 << 16, VARY_BYTES_MAX = 4096 };

/* The target gets an allocation of exactly the input's size, so that reading past its end is noticed. */
static void run(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = malloc(bytes ? bytes : 1);
    PROMISE(copy != NULL);
    if (bytes > 0)
        memcpy(copy, data, bytes);
    LLVMFuzzerTestOneInput(copy, bytes);
    free(copy);
}

static void vary(uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes && bytes <= VARY_BYTES_MAX; i++) {
        run(data, i);
        for (unsigned bit = 0; bit < 8; bit++) {
            data[i] = (uint8_t)(data[i] ^ 1U << bit);
            run(data, bytes);
            data[i] = (uint8_t)(data[i] ^ 1U << bit);
        }
    }
}

int main(int argc, char **argv)
{
    static uint8_t data[FILE_BYTES_MAX];
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            perror(argv[i]);
            return 2;
        }
        size_t bytes = fread(data, 1, sizeof data, file);
        fclose(file);
        run(data, bytes);
        vary(data, bytes);
    }
    printf("%d inputs and their variations held\n", argc - 1);
    return 0;
}
