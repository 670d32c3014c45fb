#ifndef BELFRY_IO_REDIS_H
#define BELFRY_IO_REDIS_H
/*
 * Redis through hiredis 0.14: only redis*.c include hiredis. Redis is never the truth: every call may fail
 * at once with RESULT_OFFLINE (a broken server is retried at most once a second, connect and reply time out
 * in 200 ms), and every caller has a way without it. After any error or time-out the connection is closed, so
 * that a late reply never answers the next question. One connection belongs to one thread.
 *
 * A pipeline: redis_queue() any number of commands, redis_finish() reads all replies in one round trip.
 */
#include "core/arena.h"
#include "core/error.h"
#include "core/str.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct redis;
struct redis_reply; /* opaque hiredis reply, owned by the arena given to redis_finish() */

/* address: "unix:/path", "host:port", optionally "user:password@" in front; "" means no Redis: every call is
 * RESULT_OFFLINE. Connects lazily. NULL if memory ran out. */
struct redis *redis_open(const char *address) MUST_CHECK;
void redis_close(struct redis *redis);

/* Queues a command of argc binary-safe words, which may go right after. Once one fails, redis_finish() does
 * too, so it is enough to check there; who queued must call redis_finish(). */
enum result redis_queue(struct redis *redis, int argc, const struct str *argv) MUST_CHECK;
/* Sends and reads. replies[0…count) are in order, owned by the arena; a command that Redis refused has a
 * reply of kind REDIS_ERROR. RESULT_OFFLINE: none are there, and any of the commands may have run. */
enum result redis_finish(struct redis *redis, struct arena *arena, struct redis_reply ***replies, int *count,
                         struct error *error) MUST_CHECK;

/* A script by its SHA-1, loaded on NOSCRIPT by sending EVAL instead (then it runs after what was queued
 * behind it). Define as a file-level variable: {.lua = "…"}. Its words must live until redis_finish(). */
struct redis_script {
    const char *lua;
    char sha1[41];     /* filled on first use … */
    _Atomic int named; /* … which this says */
};
enum result redis_queue_script(struct redis *redis, struct redis_script *script, int keys, int argc,
                               const struct str *argv) MUST_CHECK;

enum redis_kind { REDIS_NIL, REDIS_TEXT, REDIS_INT, REDIS_LIST, REDIS_ERROR };
enum redis_kind redis_kind(const struct redis_reply *reply);
struct str redis_text(const struct redis_reply *reply); /* also of errors; STR_NONE for others */
int64_t redis_int(const struct redis_reply *reply);
int redis_items(const struct redis_reply *reply);
const struct redis_reply *redis_item(const struct redis_reply *reply, int index);

/* ---- subscription, for a caller with its own loop. Never blocks longer than the connect time-out ---- */
struct redis_listener;
struct redis_listener *redis_listen(const char *address, const char *channel) MUST_CHECK;
void redis_listener_close(struct redis_listener *listener);
int redis_listener_fd(const struct redis_listener *listener);     /* -1 while not connected */
bool redis_listener_ready(const struct redis_listener *listener); /* the SUBSCRIBE reply has arrived */
/* Call when readable, and about once a second otherwise (it reconnects, and asks a silent server whether it
 * lives). Hands each message to on_message. The descriptor changes with each new connection: watch it anew
 * when redis_listener_ready() has become false. */
void redis_listener_pump(struct redis_listener *listener,
                         void (*on_message)(void *context, struct str payload), void *context);

#endif
