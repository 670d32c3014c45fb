/*
 * The arena: a list of blocks, of which the newest is allocated from by moving an offset. Blocks double from
 * 8 KiB to 256 KiB, so that a small request costs one block and a big one few; an allocation larger than half
 * a block gets one of its own, so that little is wasted. A reset keeps the first small block and nothing
 * else: memory that one large request needed does not stay with an idle thread.
 */
#include "arena.h"
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK_FIRST_BYTES = 8 << 10, ARENA_BLOCK_MOST_BYTES = 256 << 10 };

struct block {
    struct block *older;
    size_t bytes, used; /* of data */
    alignas(max_align_t) unsigned char data[];
};

struct deferred {
    struct deferred *older;
    void (*release)(void *object);
    void *object;
};

struct arena {
    struct block *newest;
    struct deferred *deferred;
    size_t bytes_held, bytes_max;
    bool failed;
};

struct arena *arena_create(size_t bytes_max)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a != NULL)
        a->bytes_max = bytes_max;
    return a;
}

static struct block *block_create(struct arena *a, size_t bytes)
{
    size_t whole = sizeof(struct block) + bytes;
    if (whole < bytes || whole > a->bytes_max - a->bytes_held)
        return NULL;
    struct block *block = malloc(whole);
    if (block == NULL)
        return NULL;
    *block = (struct block){.bytes = bytes};
    a->bytes_held += whole;
    return block;
}

static void block_free(struct arena *a, struct block *block)
{
    a->bytes_held -= sizeof *block + block->bytes;
    free(block);
}

/* A block with room for bytes, already linked. One made for a single large allocation goes behind the newest,
 * whose free rest stays in use. */
static struct block *block_for(struct arena *a, size_t bytes)
{
    struct block *newest = a->newest;
    if (newest != NULL && bytes <= newest->bytes - newest->used)
        return newest;
    size_t size = newest == NULL ? ARENA_BLOCK_FIRST_BYTES - sizeof(struct block) : newest->bytes * 2;
    if (size > ARENA_BLOCK_MOST_BYTES)
        size = ARENA_BLOCK_MOST_BYTES;
    bool alone = bytes > size / 2;
    struct block *block = block_create(a, alone ? bytes : size);
    if (block == NULL && !alone) /* close to the maximum: perhaps just this one still fits */
        block = block_create(a, bytes), alone = true;
    if (block == NULL)
        return NULL;
    if (alone && newest != NULL) {
        block->older = newest->older;
        newest->older = block;
    } else {
        block->older = newest;
        a->newest = block;
    }
    return block;
}

static void *take(struct arena *a, size_t bytes)
{
    const size_t unit = alignof(max_align_t);
    size_t rounded = bytes == 0 ? unit : (bytes + unit - 1) / unit * unit;
    struct block *block = bytes > SIZE_MAX - unit ? NULL : block_for(a, rounded);
    if (block == NULL) {
        a->failed = true;
        return NULL;
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    return memory;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    void *memory = take(a, bytes);
    if (memory != NULL)
        memset(memory, 0, bytes);
    return memory;
}

void *arena_array(struct arena *a, size_t count, size_t item_bytes)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, item_bytes, &bytes)) {
        a->failed = true;
        return NULL;
    }
    return arena_alloc(a, bytes);
}

char *arena_strdup(struct arena *a, struct str s)
{
    char *copy = s.bytes < SIZE_MAX ? take(a, s.bytes + 1) : NULL;
    if (copy == NULL)
        return NULL;
    if (s.bytes > 0)
        memcpy(copy, s.data, s.bytes);
    copy[s.bytes] = '\0';
    return copy;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *copy = str_is_set(s) ? arena_strdup(a, s) : NULL;
    return copy != NULL ? (struct str){copy, s.bytes} : STR_NONE;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, args);
    char *text = bytes >= 0 ? take(a, (size_t)bytes + 1) : NULL;
    if (text != NULL)
        vsnprintf(text, (size_t)bytes + 1, format, again);
    else
        a->failed = true;
    va_end(again);
    va_end(args);
    return text;
}

bool arena_defer(struct arena *a, void (*release)(void *object), void *object)
{
    struct deferred *deferred = take(a, sizeof *deferred);
    if (deferred == NULL) {
        release(object);
        return false;
    }
    *deferred = (struct deferred){a->deferred, release, object};
    a->deferred = deferred;
    return true;
}

/* Only after every callback has run may memory go: a callback's object may lie in the arena. */
static void run_deferred(struct arena *a)
{
    while (a->deferred != NULL) {
        struct deferred *last = a->deferred;
        a->deferred = last->older;
        last->release(last->object);
    }
}

void arena_reset(struct arena *a)
{
    run_deferred(a);
    struct block *kept = NULL;
    for (struct block *block = a->newest, *older; block != NULL; block = older) {
        older = block->older;
        if (kept == NULL && sizeof *block + block->bytes == ARENA_BLOCK_FIRST_BYTES)
            kept = block;
        else
            block_free(a, block);
    }
    a->newest = kept;
    if (kept != NULL) {
        kept->older = NULL;
        kept->used = 0;
    }
    a->failed = false;
}

void arena_destroy(struct arena *a)
{
    if (a == NULL)
        return;
    run_deferred(a);
    for (struct block *block = a->newest, *older; block != NULL; block = older) {
        older = block->older;
        block_free(a, block);
    }
    free(a);
}

bool arena_failed(const struct arena *a)
{
    return a->failed;
}

size_t arena_bytes(const struct arena *a)
{
    return a->bytes_held;
}
