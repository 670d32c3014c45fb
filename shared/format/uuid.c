/*
 * UUIDv7 (RFC 9562 section 5.7). Within a thread ids strictly increase: in a new millisecond all 74 other
 * bits are random; in the same one, or after the clock went back, the lower 62 are raised by a random step
 * (section 6.2, method 2), so that neither order nor secrecy of the next id is given up. Random bytes are
 * drawn from the kernel in pages per thread and thrown away in a forked child.
 */
#include "core/clock.h"
#include "text.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { POOL_BYTES = 256 /* getrandom() never cuts or interrupts a read of this size */ };

static const uint64_t low_mask = (UINT64_C(1) << 62) - 1;

static _Thread_local struct {
    unsigned char bytes[POOL_BYTES];
    size_t left;
} pool;

static void forget_pool(void)
{
    pool.left = 0;
}

static void watch_forks(void)
{
    pthread_atfork(NULL, NULL, forget_pool);
}

static void fill_pool(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    ssize_t got;
    do
        got = getrandom(pool.bytes, sizeof pool.bytes, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof pool.bytes)
        abort(); /* a kernel without randomness: ids that repeat would mix up people's messages */
    pool.left = sizeof pool.bytes;
}

static uint64_t random_64(void)
{
    uint64_t value;
    if (pool.left < sizeof value)
        fill_pool();
    pool.left -= sizeof value;
    memcpy(&value, pool.bytes + pool.left, sizeof value);
    memset(pool.bytes + pool.left, 0, sizeof value); /* a leaked page must not tell ids already given */
    return value;
}

/* high: 12 bits, low: 62 bits. */
static struct uuid uuid_pack(uint64_t unix_ms, uint64_t high, uint64_t low)
{
    struct uuid id;
    uint64_t words[2] = {unix_ms << 16 | 7U << 12 | (high & 0xfff), UINT64_C(2) << 62 | (low & low_mask)};
    for (unsigned i = 0; i < sizeof id.bytes; i++)
        id.bytes[i] = (unsigned char)(words[i / 8] >> (56 - 8 * (i % 8)));
    return id;
}

struct uuid uuid_new(void)
{
    static _Thread_local uint64_t last_ms, high, low;
    uint64_t now_ms = (uint64_t)(clock_now_us() / 1000);
    if (now_ms <= last_ms) {
        low += 1 + (random_64() & UINT32_MAX);
        if (low <= low_mask)
            return uuid_pack(last_ms, high, low);
        now_ms = last_ms + 1; /* half a billion ids in one millisecond: borrow from the next */
    }
    last_ms = now_ms;
    high = random_64();
    low = random_64() & (low_mask >> 1); /* the top bit is room to count in */
    return uuid_pack(last_ms, high, low);
}

struct uuid uuid_at(int64_t unix_us)
{
    uint64_t unix_ms = unix_us > 0 ? (uint64_t)(unix_us / 1000) : 0;
    uint64_t high = random_64();
    return uuid_pack(unix_ms, high, random_64());
}

static bool is_dash(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

bool uuid_parse(struct str s, struct uuid *id)
{
    char digits[32];
    size_t count = 0, bytes;
    if (s.bytes != UUID_TEXT_BYTES)
        return false;
    for (size_t i = 0; i < UUID_TEXT_BYTES; i++) {
        if (!is_dash(i))
            digits[count++] = s.data[i];
        else if (s.data[i] != '-')
            return false;
    }
    return text_from_hex((struct str){digits, count}, id->bytes, sizeof id->bytes, &bytes);
}

char *uuid_text(const struct uuid *id, char out[UUID_TEXT_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    char *to = out;
    for (size_t i = 0; i < sizeof id->bytes; i++) {
        if (is_dash((size_t)(to - out)))
            *to++ = '-';
        *to++ = digits[id->bytes[i] >> 4];
        *to++ = digits[id->bytes[i] & 15];
    }
    *to = '\0';
    return out;
}

int64_t uuid_unix_ms(const struct uuid *id)
{
    int64_t ms = 0;
    for (size_t i = 0; i < 6; i++)
        ms = ms << 8 | id->bytes[i];
    return ms;
}
