/*
 * Redis commands in pipelines over one blocking connection with short time-outs.
 *
 * redis_queue() writes a command into hiredis's buffer at once; redis_finish() sends all and reads all
 * replies. Scripts go out as EVALSHA; those that the server does not know (it was restarted or flushed) are
 * sent again as EVAL in a second trip of the same redis_finish(), so a script may run after the commands that
 * were queued behind it: within one pipeline nothing may depend on the order.
 *
 * Any error closes the connection and is remembered: a server that is down costs its callers one quick
 * failure a second, one that accepts but does not answer costs 200 ms at growing intervals.
 */
#include "io/redis.h"
#include "core/clock.h"
#include "io/crypto.h"
#include "io/redis_private.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A command in the pipeline; for scripts what is needed to send it again. */
struct command {
    struct redis_script *script; /* NULL for plain commands */
    const struct str *argv;      /* the caller's words, copied into words[] */
    int keys, argc;
};

struct redis {
    struct redis_address address;
    redisContext *context; /* NULL = not connected */
    int64_t retry_at_ms;
    int failures;
    struct command *commands;
    int count, capacity;
    bool failed; /* something could not be queued: redis_finish() reports it */
};

/* ---- connection ---- */

bool redis_address_parse(struct redis_address *address, const char *text)
{
    *address = (struct redis_address){.text = strdup(text ? text : "")};
    if (!address->text)
        return false;
    char *rest = address->text, *at = strrchr(rest, '@');
    if (at) {
        *at = '\0';
        char *colon = strchr(rest, ':');
        address->password = colon ? colon + 1 : rest;
        if (colon)
            *colon = '\0';
        if (colon && *rest)
            address->user = rest;
        rest = at + 1;
    }
    if (strncmp(rest, "unix:", 5) == 0) {
        address->path = rest + 5;
        return true;
    }
    char *colon = strrchr(rest, ':');
    if (!colon || colon == rest)
        return true;
    *colon = '\0';
    address->port = atoi(colon + 1);
    size_t bytes = strlen(rest);
    if (rest[0] == '[' && rest[bytes - 1] == ']') {
        rest[bytes - 1] = '\0';
        rest++;
    }
    address->host = rest;
    return true;
}

void redis_address_free(struct redis_address *address)
{
    free(address->text);
    *address = (struct redis_address){0};
}

static bool authenticate(redisContext *context, const struct redis_address *address)
{
    if (!address->password)
        return true;
    redisReply *reply = address->user ? redisCommand(context, "AUTH %s %s", address->user, address->password)
                                      : redisCommand(context, "AUTH %s", address->password);
    bool good = reply && reply->type == REDIS_REPLY_STATUS;
    freeReplyObject(reply);
    return good;
}

redisContext *redis_connect(const struct redis_address *address)
{
    struct timeval limit = {.tv_sec = REDIS_TIMEOUT_MS / 1000, .tv_usec = REDIS_TIMEOUT_MS % 1000 * 1000};
    redisContext *context = NULL;
    if (address->path)
        context = redisConnectUnixWithTimeout(address->path, limit);
    else if (address->host)
        context = redisConnectWithTimeout(address->host, address->port, limit);
    if (!context)
        return NULL;
    if (context->err || redisSetTimeout(context, limit) != REDIS_OK || !authenticate(context, address)) {
        redisFree(context);
        return NULL;
    }
    return context;
}

struct redis *redis_open(const char *address)
{
    struct redis *redis = calloc(1, sizeof *redis);
    if (!redis || !redis_address_parse(&redis->address, address)) {
        free(redis);
        return NULL;
    }
    return redis;
}

static void forget_commands(struct redis *redis)
{
    for (int i = 0; i < redis->count; i++)
        free((void *)(uintptr_t)redis->commands[i].argv);
    redis->count = 0;
    redis->failed = false;
}

static void disconnect(struct redis *redis)
{
    if (redis->context)
        redisFree(redis->context);
    redis->context = NULL;
}

void redis_close(struct redis *redis)
{
    if (!redis)
        return;
    forget_commands(redis);
    disconnect(redis);
    redis_address_free(&redis->address);
    free(redis->commands);
    free(redis);
}

/* Closes and remembers. Who is refused costs nothing to ask again in a second; who is silent costs a
 * time-out. */
static void give_up(struct redis *redis, bool silent)
{
    disconnect(redis);
    int64_t pause = REDIS_RETRY_MS;
    for (int i = 0; silent && i < redis->failures && pause < REDIS_RETRY_MS_MAX; i++)
        pause *= 2;
    redis->failures = silent ? redis->failures + 1 : 0;
    redis->retry_at_ms = clock_mono_ms() + pause;
}

/* Something to read between two pipelines can only be the end of the connection. */
static bool is_stale(const struct redis *redis)
{
    struct pollfd p = {.fd = redis->context->fd, .events = POLLIN};
    return poll(&p, 1, 0) != 0;
}

static bool connected(struct redis *redis)
{
    if (redis->context && redis->count == 0 && is_stale(redis))
        disconnect(redis);
    if (redis->context)
        return true;
    int64_t now = clock_mono_ms();
    if ((!redis->address.path && !redis->address.host) || now < redis->retry_at_ms)
        return false;
    redis->context = redis_connect(&redis->address);
    if (!redis->context)
        give_up(redis, clock_mono_ms() - now >= REDIS_TIMEOUT_MS);
    return redis->context != NULL;
}

/* ---- queueing ---- */

static struct command *add_command(struct redis *redis)
{
    if (redis->count == redis->capacity) {
        int capacity = redis->capacity ? redis->capacity * 2 : 16;
        struct command *more = redis->count >= REDIS_PIPELINE_MAX
                                   ? NULL
                                   : realloc(redis->commands, (size_t)capacity * sizeof *more);
        if (!more) {
            redis->failed = true;
            return NULL;
        }
        redis->commands = more;
        redis->capacity = capacity;
    }
    redis->commands[redis->count] = (struct command){0};
    return &redis->commands[redis->count++];
}

/* Writes head and then argv as one command, in the form of the protocol. */
static bool append(struct redis *redis, int head_count, const struct str *head, int argc,
                   const struct str *argv)
{
    int count = head_count + argc;
    const char **words = calloc((size_t)count, sizeof *words);
    size_t *lengths = calloc((size_t)count, sizeof *lengths);
    bool good = words && lengths;
    for (int i = 0; good && i < count; i++) {
        struct str word = i < head_count ? head[i] : argv[i - head_count];
        words[i] = word.data ? word.data : "";
        lengths[i] = word.bytes;
    }
    good = good && redisAppendCommandArgv(redis->context, count, words, lengths) == REDIS_OK;
    free(words);
    free(lengths);
    if (!good)
        redis->failed = true;
    return good;
}

enum result redis_queue(struct redis *redis, int argc, const struct str *argv)
{
    if (!connected(redis)) {
        redis->failed = true; /* so that redis_finish() never answers to a part of what was asked */
        return RESULT_OFFLINE;
    }
    if (!add_command(redis) || !append(redis, 0, argv, argc, argv))
        return RESULT_FAILED;
    return RESULT_OK;
}

/* Threads may meet at a script's first use. */
static void name_script(struct redis_script *script)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (atomic_load_explicit(&script->named, memory_order_acquire))
        return;
    unsigned char digest[SHA1_BYTES];
    crypto_sha1(str_from(script->lua), digest);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < SHA1_BYTES; i++)
        snprintf(script->sha1 + (size_t)i * 2, 3, "%02x", digest[i]);
    atomic_store_explicit(&script->named, 1, memory_order_release);
    pthread_mutex_unlock(&lock);
}

static bool append_script(struct redis *redis, const struct command *command, bool by_name)
{
    char keys[12];
    snprintf(keys, sizeof keys, "%d", command->keys);
    const struct str head[] = {
        by_name ? STR("EVALSHA") : STR("EVAL"),
        by_name ? (struct str){command->script->sha1, 40} : str_from(command->script->lua), str_from(keys)};
    return append(redis, 3, head, command->argc, command->argv);
}

enum result redis_queue_script(struct redis *redis, struct redis_script *script, int keys, int argc,
                               const struct str *argv)
{
    if (!connected(redis)) {
        redis->failed = true;
        return RESULT_OFFLINE;
    }
    name_script(script);
    struct str *copy = calloc((size_t)argc + 1, sizeof *copy);
    struct command *command = copy ? add_command(redis) : NULL;
    if (!command) {
        free(copy);
        redis->failed = true;
        return RESULT_FAILED;
    }
    if (argc)
        memcpy(copy, argv, (size_t)argc * sizeof *copy);
    command->script = script;
    command->argv = copy; /* freed by forget_commands() */
    command->keys = keys;
    command->argc = argc;
    return append_script(redis, command, true) ? RESULT_OK : RESULT_FAILED;
}

/* ---- replies ---- */

struct held_replies {
    int count;
    redisReply **replies;
};

static void release_replies(void *object)
{
    struct held_replies *held = object;
    for (int i = 0; i < held->count; i++)
        freeReplyObject(held->replies[i]);
}

static struct held_replies *hold(struct arena *arena, int count)
{
    struct held_replies *held = arena_alloc(arena, sizeof *held);
    if (!held)
        return NULL;
    held->replies = arena_array(arena, (size_t)count + 1, sizeof *held->replies);
    if (!held->replies || !arena_defer(arena, release_replies, held))
        return NULL;
    held->count = count;
    return held;
}

static bool is_unknown_script(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
}

/* Reads a reply to each command, or with again only to those scripts that were not known. */
static bool read_replies(struct redis *redis, struct held_replies *held, bool again)
{
    for (int i = 0; i < redis->count; i++) {
        if (again && (!redis->commands[i].script || !is_unknown_script(held->replies[i])))
            continue;
        void *reply = NULL;
        if (redisGetReply(redis->context, &reply) != REDIS_OK)
            return false;
        freeReplyObject(held->replies[i]);
        held->replies[i] = reply;
    }
    return true;
}

static bool send_unknown_scripts(struct redis *redis, const struct held_replies *held, bool *any)
{
    *any = false;
    for (int i = 0; i < redis->count; i++)
        if (redis->commands[i].script && is_unknown_script(held->replies[i])) {
            *any = true;
            if (!append_script(redis, &redis->commands[i], false))
                return false;
        }
    return true;
}

static enum result finish(struct redis *redis, struct held_replies *held, struct error *error)
{
    bool again;
    int64_t started_ms = clock_mono_ms();
    if (!read_replies(redis, held, false) || !send_unknown_scripts(redis, held, &again) ||
        (again && !read_replies(redis, held, true))) {
        error_set(error, RESULT_OFFLINE, "lost Redis: %s",
                  redis->context->err ? redis->context->errstr : "no memory");
        give_up(redis, clock_mono_ms() - started_ms >= REDIS_TIMEOUT_MS);
        return RESULT_OFFLINE;
    }
    redis->failures = 0;
    return RESULT_OK;
}

enum result redis_finish(struct redis *redis, struct arena *arena, struct redis_reply ***replies, int *count,
                         struct error *error)
{
    enum result code;
    *replies = NULL;
    *count = 0;
    if (!redis->context) {
        code = error_set(error, RESULT_OFFLINE, "could not reach Redis");
    } else {
        struct held_replies *held = redis->failed ? NULL : hold(arena, redis->count);
        if (!held) { /* half a pipeline may be in the buffer: it must not go out with the next one */
            disconnect(redis);
            code = error_set(error, RESULT_FAILED, "could not build the commands for Redis");
        } else {
            code = finish(redis, held, error);
            if (code == RESULT_OK) {
                *replies = (struct redis_reply **)held->replies;
                *count = held->count;
            }
        }
    }
    forget_commands(redis);
    return code;
}

static const redisReply *inside(const struct redis_reply *reply)
{
    return (const redisReply *)reply;
}

enum redis_kind redis_kind(const struct redis_reply *reply)
{
    switch (inside(reply)->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return REDIS_TEXT;
    case REDIS_REPLY_INTEGER:
        return REDIS_INT;
    case REDIS_REPLY_ARRAY:
        return REDIS_LIST;
    case REDIS_REPLY_ERROR:
        return REDIS_ERROR;
    default:
        return REDIS_NIL;
    }
}

struct str redis_text(const struct redis_reply *reply)
{
    enum redis_kind kind = redis_kind(reply);
    if (kind != REDIS_TEXT && kind != REDIS_ERROR)
        return STR_NONE;
    return (struct str){inside(reply)->str, inside(reply)->len};
}

int64_t redis_int(const struct redis_reply *reply)
{
    return redis_kind(reply) == REDIS_INT ? inside(reply)->integer : 0;
}

int redis_items(const struct redis_reply *reply)
{
    return redis_kind(reply) == REDIS_LIST ? (int)inside(reply)->elements : 0;
}

const struct redis_reply *redis_item(const struct redis_reply *reply, int index)
{
    return (const struct redis_reply *)inside(reply)->element[index];
}
