/*
 * The buckets of a process are a table of rows of 8, each row with the least recently used one at hand to be
 * replaced, so that memory is fixed and no list is kept. It is allocated in stripes when first touched: an
 * idle process holds none of it.
 */
#include "domain/throttle.h"
#include "core/buf.h"
#include "core/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { ROW = 8, STRIPES = 64, ROWS_PER_STRIPE = THROTTLE_BUCKETS / STRIPES / ROW, SLICES_PER_S = 8 };

struct bucket {
    uint64_t hash; /* 0: free. Two names with one hash would share a bucket: 2^-64 */
    int64_t used_ms, filled_ms;
    float tokens;
    int unsettled; /* spent here and not yet told to Redis */
    bool alone;    /* Redis did not answer: only our share of the rate is ours */
};
struct stripe {
    pthread_mutex_t lock;
    struct bucket (*rows)[ROW];
};
struct throttle {
    uint64_t seed;
    atomic_int share;
    bool exact;
    struct stripe stripes[STRIPES];
};

/* KEYS[1] bucket; ARGV rate, tokens that this process spent, '1' if they are not to be spent unless they are
 * there. Returns what is left, in thousandths. The clock is Redis's own. */
static struct redis_script settle_script = {
    .lua = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
           "local rate = tonumber(ARGV[1]) "
           "local v = redis.call('HMGET', KEYS[1], 'n', 't') "
           "local n = rate if v[1] then n = math.min(rate, v[1] + (now - v[2]) * rate / 1000) end "
           "if ARGV[3] == '1' and n < tonumber(ARGV[2]) then return -1 end "
           "n = math.max(n - ARGV[2], -rate) "
           "redis.call('HSET', KEYS[1], 'n', n, 't', now) redis.call('PEXPIRE', KEYS[1], 3000) "
           "return math.floor(n * 1000)"};

struct throttle *throttle_create(bool exact)
{
    struct throttle *throttle = calloc(1, sizeof *throttle);
    if (throttle == NULL)
        return NULL;
    throttle->seed = ((uint64_t)clock_jitter(UINT32_MAX) << 32) | clock_jitter(UINT32_MAX);
    throttle->share = 1;
    throttle->exact = exact;
    for (int i = 0; i < STRIPES; i++)
        pthread_mutex_init(&throttle->stripes[i].lock, NULL);
    return throttle;
}

void throttle_destroy(struct throttle *throttle)
{
    if (throttle == NULL)
        return;
    for (int i = 0; i < STRIPES; i++) {
        pthread_mutex_destroy(&throttle->stripes[i].lock);
        free(throttle->stripes[i].rows);
    }
    free(throttle);
}

void throttle_set_share(struct throttle *throttle, int processes)
{
    atomic_store(&throttle->share, processes < 1 ? 1 : processes);
}

/* FNV-1a with a seed of the process, and a final mix so that low bits depend on all. */
static uint64_t bucket_hash(const struct throttle *throttle, int tenant, struct str name)
{
    uint64_t hash = throttle->seed ^ (uint64_t)(uint32_t)tenant;
    for (size_t i = 0; i < name.bytes; i++)
        hash = (hash ^ (unsigned char)name.data[i]) * 0x100000001b3ULL;
    hash = (hash ^ (hash >> 32)) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 29;
    return hash == 0 ? 1 : hash;
}

static struct bucket *bucket_find(struct stripe *stripe, uint64_t hash, int rate, int64_t now_ms)
{
    if (stripe->rows == NULL)
        stripe->rows = calloc(ROWS_PER_STRIPE, sizeof *stripe->rows);
    if (stripe->rows == NULL)
        return NULL;
    struct bucket *row = stripe->rows[(hash >> 8) % ROWS_PER_STRIPE], *oldest = row;
    for (int i = 0; i < ROW; i++) {
        if (row[i].hash == hash)
            return &row[i];
        if (row[i].used_ms < oldest->used_ms)
            oldest = &row[i];
    }
    *oldest = (struct bucket){.hash = hash, .used_ms = now_ms, .filled_ms = now_ms, .tokens = (float)rate};
    return oldest;
}

static void bucket_fill(struct bucket *bucket, float rate, int64_t now_ms)
{
    bucket->tokens += (float)(now_ms - bucket->filled_ms) * rate / 1000;
    if (bucket->tokens > rate)
        bucket->tokens = rate;
    bucket->filled_ms = now_ms;
    bucket->used_ms = now_ms;
}

/* What Redis says is left, in tokens; false without Redis. Done outside of any lock. */
static bool settle(struct redis *redis, struct arena *arena, int tenant, struct str name, int rate,
                   bool exact, int spent, float *left)
{
    const char *key = arena_printf(arena, "t:{%d:" STR_FMT "}", tenant, STR_ARG(name));
    const char *rate_text = arena_printf(arena, "%d", rate), *spent_text = arena_printf(arena, "%d", spent);
    struct str words[] = {str_from(key), str_from(rate_text), str_from(spent_text),
                          exact ? STR("1") : STR("0")};
    struct redis_reply **replies;
    int count;
    if (redis == NULL || arena_failed(arena) ||
        redis_queue_script(redis, &settle_script, 1, 4, words) != RESULT_OK ||
        redis_finish(redis, arena, &replies, &count, NULL) != RESULT_OK || count != 1 ||
        redis_kind(replies[0]) != REDIS_INT)
        return false;
    *left = (float)redis_int(replies[0]) / 1000;
    return true;
}

static struct throttle_answer answer_from(const struct bucket *bucket, bool allowed, int rate)
{
    float tokens = bucket->tokens < 0 ? 0 : bucket->tokens;
    float missing = (float)rate - bucket->tokens, until_one = 1 - bucket->tokens;
    return (struct throttle_answer){
        .allowed = allowed,
        .quota = rate,
        .remaining = (int)tokens,
        .reset_s = 1 + (int)(missing / (float)rate),
        .retry_after_s = 1 + (int)(until_one > 0 ? until_one / (float)rate : 0),
    };
}

/* Takes a token of our own copy. Returns how many must be settled with Redis now, mostly 0. */
static int spend(struct throttle *throttle, struct stripe *stripe, uint64_t hash, int rate,
                 struct throttle_answer *answer)
{
    int64_t now_ms = clock_mono_ms();
    struct bucket *bucket = bucket_find(stripe, hash, rate, now_ms);
    if (bucket == NULL)
        return 0;
    float own_rate = bucket->alone ? (float)rate / (float)atomic_load(&throttle->share) : (float)rate;
    if (now_ms - bucket->used_ms >= 1000)
        bucket->unsettled = 0; /* since then it has filled up everywhere */
    bucket_fill(bucket, own_rate < 1 ? 1 : own_rate, now_ms);
    bool allowed = bucket->tokens >= 1;
    int due = 0, slice = throttle->exact ? 0 : rate / SLICES_PER_S > 1 ? rate / SLICES_PER_S : 1;
    if (allowed) {
        bucket->tokens -= 1;
        if (++bucket->unsettled > slice) {
            due = bucket->unsettled;
            bucket->unsettled = 0;
        }
    }
    *answer = answer_from(bucket, allowed, rate);
    return due;
}

struct throttle_answer throttle_take(struct throttle *throttle, struct redis *redis, struct arena *arena,
                                     int tenant, struct str name, int rate)
{
    struct throttle_answer answer = {.allowed = true, .quota = rate, .remaining = rate, .reset_s = 1};
    uint64_t hash = bucket_hash(throttle, tenant, name);
    struct stripe *stripe = &throttle->stripes[hash % STRIPES];
    pthread_mutex_lock(&stripe->lock);
    int due = spend(throttle, stripe, hash, rate, &answer);
    pthread_mutex_unlock(&stripe->lock);
    if (due == 0)
        return answer;

    float left = 0;
    bool answered = settle(redis, arena, tenant, name, rate, throttle->exact, due, &left);
    pthread_mutex_lock(&stripe->lock);
    struct bucket *bucket = bucket_find(stripe, hash, rate, clock_mono_ms());
    if (bucket != NULL) {
        bucket->alone = !answered;
        if (answered && left < bucket->tokens)
            bucket->tokens = left;
        answer = answer_from(bucket, !answered || left >= 0, rate);
    }
    pthread_mutex_unlock(&stripe->lock);
    return answer;
}
