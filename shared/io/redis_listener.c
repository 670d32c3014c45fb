/*
 * A subscription to one channel, for a caller with its own loop.
 *
 * Connecting blocks for at most the time-out of 200 ms, once a second; everything else does not block. Every
 * 5 s of silence a PING goes out, and a server that does not answer it within 5 s more is left: a wake that
 * can never arrive must not look like a quiet channel. Messages published while not connected are lost, as
 * callers know: they sweep.
 */
#include "core/clock.h"
#include "io/redis.h"
#include "io/redis_private.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum { QUIET_MS = 5000 };

struct redis_listener {
    struct redis_address address;
    char *channel;
    redisContext *context; /* NULL = not connected */
    bool ready;
    bool pinged;
    int64_t retry_at_ms, heard_at_ms;
};

struct redis_listener *redis_listen(const char *address, const char *channel)
{
    struct redis_listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return NULL;
    listener->channel = strdup(channel);
    if (!listener->channel || !redis_address_parse(&listener->address, address)) {
        free(listener->channel);
        free(listener);
        return NULL;
    }
    return listener;
}

static void leave(struct redis_listener *listener)
{
    if (listener->context)
        redisFree(listener->context);
    listener->context = NULL;
    listener->ready = listener->pinged = false;
    listener->retry_at_ms = clock_mono_ms() + REDIS_RETRY_MS;
}

void redis_listener_close(struct redis_listener *listener)
{
    if (!listener)
        return;
    leave(listener);
    redis_address_free(&listener->address);
    free(listener->channel);
    free(listener);
}

int redis_listener_fd(const struct redis_listener *listener)
{
    return listener->context ? listener->context->fd : -1;
}

bool redis_listener_ready(const struct redis_listener *listener)
{
    return listener->ready;
}

/* Our commands are far smaller than a socket's buffer: what does not go out at once never will. */
static bool send_now(redisContext *context)
{
    int done = 0;
    return redisBufferWrite(context, &done) == REDIS_OK && done;
}

static void join(struct redis_listener *listener)
{
    redisContext *context = redis_connect(&listener->address);
    listener->context = context;
    if (!context) {
        leave(listener);
        return;
    }
    listener->heard_at_ms = clock_mono_ms();
    int flags = fcntl(context->fd, F_GETFL);
    context->flags &= ~REDIS_BLOCK;
    if (fcntl(context->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        redisAppendCommand(context, "SUBSCRIBE %s", listener->channel) != REDIS_OK || !send_now(context))
        leave(listener);
}

static bool is_word(const redisReply *reply, const char *word)
{
    return reply->type == REDIS_REPLY_STRING && strcmp(reply->str, word) == 0;
}

/* False when the reply is an error: no right to subscribe, or still loading. */
static bool take(struct redis_listener *listener, const redisReply *reply,
                 void (*on_message)(void *context, struct str payload), void *context)
{
    if (reply->type == REDIS_REPLY_ERROR)
        return false;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return true;
    if (is_word(reply->element[0], "subscribe"))
        listener->ready = true;
    else if (is_word(reply->element[0], "message") && reply->elements == 3 &&
             reply->element[2]->type == REDIS_REPLY_STRING)
        on_message(context, (struct str){reply->element[2]->str, reply->element[2]->len});
    return true;
}

static bool read_all(struct redis_listener *listener, void (*on_message)(void *context, struct str payload),
                     void *context)
{
    if (redisBufferRead(listener->context) != REDIS_OK)
        return false;
    for (;;) {
        void *reply = NULL;
        if (redisGetReplyFromReader(listener->context, &reply) != REDIS_OK)
            return false;
        if (!reply)
            return true;
        listener->heard_at_ms = clock_mono_ms();
        listener->pinged = false;
        bool good = take(listener, reply, on_message, context);
        freeReplyObject(reply);
        if (!good)
            return false;
    }
}

static bool is_alive(struct redis_listener *listener)
{
    int64_t quiet_ms = clock_mono_ms() - listener->heard_at_ms;
    if (quiet_ms < QUIET_MS)
        return true;
    if (listener->pinged)
        return quiet_ms < (int64_t)2 * QUIET_MS;
    listener->pinged = true;
    return redisAppendCommand(listener->context, "PING") == REDIS_OK && send_now(listener->context);
}

void redis_listener_pump(struct redis_listener *listener,
                         void (*on_message)(void *context, struct str payload), void *context)
{
    if (!listener->address.path && !listener->address.host)
        return;
    if (!listener->context && clock_mono_ms() >= listener->retry_at_ms)
        join(listener);
    if (listener->context && (!read_all(listener, on_message, context) || !is_alive(listener)))
        leave(listener);
}
