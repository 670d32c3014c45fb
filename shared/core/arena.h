#ifndef BELFRY_CORE_ARENA_H
#define BELFRY_CORE_ARENA_H
/*
 * Memory by lifetime: an arena lives as long as a request, a batch or a process; everything in it goes at
 * once. What is not memory (a PGresult, a reply, a JSON tree) is released by a callback registered on the
 * arena, in reverse order of registration. One arena belongs to one thread at a time.
 *
 * When the arena's maximum is reached or memory runs out an allocation returns NULL, and arena_failed() stays
 * true until the reset, so that a caller may check once for a whole unit of work.
 */
#include "error.h"
#include "str.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct arena;

/* An empty arena that will hold at most bytes_max. Allocates nothing big until used. NULL if memory ran out.
 */
struct arena *arena_create(size_t bytes_max) MUST_CHECK;
/* Runs the callbacks, gives all but the first block back, and clears arena_failed(). */
void arena_reset(struct arena *a);
void arena_destroy(struct arena *a); /* NULL is fine */
/* Zeroed, aligned for any type; NULL when full. */
void *arena_alloc(struct arena *a, size_t bytes) MUST_CHECK;
void *arena_array(struct arena *a, size_t count, size_t item_bytes) MUST_CHECK; /* overflow-checked */
char *arena_strdup(struct arena *a, struct str s) MUST_CHECK; /* adds a NUL; of STR_NONE: "" */
struct str arena_str(struct arena *a,
                     struct str s) MUST_CHECK; /* a copy, as a view; STR_NONE of STR_NONE or when full */
char *arena_printf(struct arena *a, const char *format, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
/* Calls release(object) at reset or destroy. If it cannot be registered, release is called at once and false
 * returned. */
bool arena_defer(struct arena *a, void (*release)(void *object), void *object) MUST_CHECK;
bool arena_failed(const struct arena *a);
size_t arena_bytes(const struct arena *a); /* held from the system, for metrics and tests */

#endif
