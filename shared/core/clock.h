#ifndef BELFRY_CORE_CLOCK_H
#define BELFRY_CORE_CLOCK_H
/* Time of day and time elapsed, kept apart: deadlines use clock_mono_ms(), stored times use clock_now_us().
 */
#include <stdint.h>

int64_t clock_now_us(void);  /* microseconds since 1970-01-01 UTC */
int64_t clock_mono_ms(void); /* milliseconds of a clock that never jumps */
/* A uniformly random whole number in [0, below); below ≥ 1. Not for secrets: for jitter. Thread-safe. */
uint32_t clock_jitter(uint32_t below);

#endif
