/*
 * Clocks of the machine, and a quick source of jitter. Each thread has its own generator, seeded from the
 * kernel, so that the processes of one start do not all choose the same moments.
 */
#include "clock.h"
#include <sys/random.h>
#include <time.h>

int64_t clock_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A counter through a mixing function (SplitMix64): one addition of state, uniform output. */
static uint64_t next_random(void)
{
    static _Thread_local uint64_t state;
    static _Thread_local int seeded;
    if (!seeded) {
        if (getrandom(&state, sizeof state, 0) != (ssize_t)sizeof state)
            state = (uint64_t)clock_now_us() ^ (uint64_t)(uintptr_t)&state;
        seeded = 1;
    }
    uint64_t z = state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint32_t clock_jitter(uint32_t below)
{
    /* 64 random bits into at most 32: the bias is below one in 2^32. */
    return below == 0 ? 0 : (uint32_t)(next_random() % below);
}
