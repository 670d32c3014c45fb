/*
 * The cached tails of feeds in Redis. Adds commute, in whatever order they arrive; a reader takes only what
 * it can prove complete: from its own rev to the mark without a gap. Every script is small and fixed, so that
 * an ACL can allow just these commands.
 */
#include "domain/feed_cache.h"

#include "core/limits.h"

#include <stdio.h>
#include <string.h>

/* KEYS tail, mark; ARGV rev, mark value, mark ms, member or "" (drop the tail), entries kept, channel, wake
 * or "" (nobody is woken), mark of the feed that did not exist or "". A tail is only made by a reader's
 * refill. */
static struct redis_script announce_script = {
    .lua = "local old = redis.call('GET', KEYS[2]) "
           "if not old or tonumber(string.match(old, '^%d+')) < tonumber(ARGV[1]) then "
           "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end "
           "if ARGV[4] == '' then redis.call('DEL', KEYS[1]) "
           "elseif redis.call('EXISTS', KEYS[1]) == 1 then "
           "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[4]) "
           "redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[5]) end "
           "if ARGV[8] == '1' then redis.call('DEL', KEYS[3]) end "
           "if ARGV[7] ~= '' then redis.call('PUBLISH', ARGV[6], ARGV[7]) end "
           "return 1"};

/* KEYS tail, mark; ARGV rev, mark value, mark ms, tail ms, entries kept, then score and member by turns. */
static struct redis_script refill_script = {
    .lua = "local old = redis.call('GET', KEYS[2]) "
           "if not old or tonumber(string.match(old, '^%d+')) <= tonumber(ARGV[1]) then "
           "redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) end "
           "for i = 6, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[i], ARGV[i + 1]) end "
           "redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[5]) "
           "redis.call('PEXPIRE', KEYS[1], ARGV[4]) "
           "return 1"};

/* KEYS mark; ARGV rev, mark ms. */
static struct redis_script confirm_script = {
    .lua = "local old = redis.call('GET', KEYS[1]) "
           "if old and string.match(old, '^%d+') == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end "
           "return 1"};

static struct str tail_key(struct arena *arena, int tenant, struct str key, uint64_t epoch)
{
    return str_from(
        arena_printf(arena, "f:{%d:" STR_FMT "}:%llx", tenant, STR_ARG(key), (unsigned long long)epoch));
}

static struct str mark_key(struct arena *arena, int tenant, struct str key, uint64_t epoch)
{
    return str_from(
        arena_printf(arena, "m:{%d:" STR_FMT "}:%llx", tenant, STR_ARG(key), (unsigned long long)epoch));
}

static struct str number(struct arena *arena, long long value)
{
    return str_from(arena_printf(arena, "%lld", value));
}

/* ---- texts
 * -------------------------------------------------------------------------------------------------- */

/* Takes the next space-separated whole number. */
static bool take_int(struct str *text, int64_t *value)
{
    long long parsed;
    struct str word = str_cut(*text, ' ', text);
    if (!str_to_int(word, 0, INT64_MAX, &parsed))
        return false;
    *value = parsed;
    return true;
}

static bool mark_parse(struct str text, int64_t *rev, struct feed_counters *counters)
{
    return take_int(&text, rev) && take_int(&text, &counters->unread) && take_int(&text, &counters->unseen) &&
           take_int(&text, &counters->changed_s);
}

static bool entry_parse(struct str text, struct feed_entry *entry)
{
    if (!take_int(&text, &entry->prev) || !take_int(&text, &entry->rev) ||
        !take_int(&text, &entry->counters.unread) || !take_int(&text, &entry->counters.unseen))
        return false;
    entry->event = text;
    return entry->prev <= entry->rev;
}

static struct str mark_text(struct arena *arena, int64_t rev, const struct feed_counters *counters)
{
    return str_from(arena_printf(arena, "%lld %lld %lld %lld", (long long)rev, (long long)counters->unread,
                                 (long long)counters->unseen, (long long)counters->changed_s));
}

static struct str entry_text(struct arena *arena, const struct feed_entry *entry)
{
    return str_from(arena_printf(arena, "%lld %lld %lld %lld " STR_FMT, (long long)entry->prev,
                                 (long long)entry->rev, (long long)entry->counters.unread,
                                 (long long)entry->counters.unseen, STR_ARG(entry->event)));
}

/* ---- reading
 * ------------------------------------------------------------------------------------------------ */

struct feed_run feed_run_make(struct arena *arena, struct str mark, const struct str *members, int count,
                              int64_t from_rev, int64_t least_rev)
{
    struct feed_run run = {0};
    int64_t mark_rev = 0;
    if (!mark_parse(mark, &mark_rev, &run.counters) || mark_rev < least_rev || mark_rev < from_rev)
        return run;
    run.events = count > 0 ? arena_array(arena, (size_t)count, sizeof *run.events) : NULL;
    if (count > 0 && !run.events)
        return run;

    run.top = from_rev;
    for (int i = 0; i < count; i++) {
        struct feed_entry entry;
        if (!entry_parse(members[i], &entry) || entry.prev > run.top)
            return (struct feed_run){0};
        if (entry.rev <= run.top)
            continue;
        if (run.count == LIMIT_DELTA_ROWS) {
            run.more = true;
            break;
        }
        run.top = entry.rev;
        if (entry.event.bytes > 0)
            run.events[run.count++] = entry.event;
        if (entry.rev > mark_rev) {
            run.counters.unread = entry.counters.unread;
            run.counters.unseen = entry.counters.unseen;
        }
    }
    run.known = run.more || run.top >= mark_rev;
    return run;
}

static struct feed_run run_from_replies(struct arena *arena, const struct feed_want *want,
                                        const struct redis_reply *mark, const struct redis_reply *tail)
{
    int count = redis_kind(tail) == REDIS_LIST ? redis_items(tail) : 0;
    struct str *members = count > 0 ? arena_array(arena, (size_t)count, sizeof *members) : NULL;
    if (redis_kind(mark) != REDIS_TEXT || (count > 0 && !members))
        return (struct feed_run){0};
    for (int i = 0; i < count; i++)
        members[i] = redis_text(redis_item(tail, i));
    return feed_run_make(arena, redis_text(mark), members, count, want->place.rev, want->least_rev);
}

bool feed_cache_read(struct redis *redis, const struct feed_want *wants, int count, struct arena *arena,
                     struct feed_run *runs)
{
    memset(runs, 0, (size_t)count * sizeof *runs);
    for (int i = 0; i < count; i++) {
        const struct feed_want *want = &wants[i];
        if (want->place.epoch == 0)
            continue;
        struct str get[] = {STR("GET"), mark_key(arena, want->tenant, want->key, want->place.epoch)};
        char from[24];
        snprintf(from, sizeof from, "(%lld", (long long)want->place.rev);
        struct str range[] = {STR("ZRANGEBYSCORE"),
                              tail_key(arena, want->tenant, want->key, want->place.epoch), str_from(from),
                              STR("+inf")};
        if (redis_queue(redis, 2, get) != RESULT_OK || redis_queue(redis, 4, range) != RESULT_OK)
            return false;
    }
    struct redis_reply **replies = NULL;
    struct error error;
    int got = 0, next = 0;
    if (redis_finish(redis, arena, &replies, &got, &error) != RESULT_OK)
        return false;
    for (int i = 0; i < count; i++) {
        if (wants[i].place.epoch == 0 || next + 1 >= got)
            continue;
        runs[i] = run_from_replies(arena, &wants[i], replies[next], replies[next + 1]);
        next += 2;
    }
    return true;
}

/* ---- writing
 * ------------------------------------------------------------------------------------------------ */

void feed_cache_refill(struct redis *redis, struct arena *arena, const struct feed_want *want,
                       struct feed_place top, const struct feed_counters *counters,
                       const struct feed_entry *entries, int count)
{
    enum { FIXED = 7 };
    struct str argv[FIXED + 2 * (FEED_CACHE_ENTRIES + 1)];
    int argc = 0;
    argv[argc++] = tail_key(arena, want->tenant, want->key, top.epoch);
    argv[argc++] = mark_key(arena, want->tenant, want->key, top.epoch);
    argv[argc++] = number(arena, top.rev);
    argv[argc++] = mark_text(arena, top.rev, counters);
    argv[argc++] = number(arena, FEED_CACHE_MARK_MS);
    argv[argc++] = number(arena, FEED_CACHE_TAIL_MS);
    argv[argc++] = number(arena, FEED_CACHE_ENTRIES);
    for (int i = count > FEED_CACHE_ENTRIES ? count - FEED_CACHE_ENTRIES : 0; i < count; i++) {
        argv[argc++] = number(arena, entries[i].rev);
        argv[argc++] = entry_text(arena, &entries[i]);
    }
    /* An empty sorted set does not exist, and writers only add to one that does: an entry that covers nothing
     * says that somebody reads here. */
    struct feed_entry top_entry = {top.rev, top.rev, *counters, STR("")};
    argv[argc++] = number(arena, top.rev);
    argv[argc++] = entry_text(arena, &top_entry);
    (void)!redis_queue_script(redis, &refill_script, 2, argc, argv);
}

void feed_cache_announce(struct redis *redis, struct arena *arena, const struct feed_change *change,
                         int64_t now_s)
{
    struct feed_counters counters = {change->unread, change->unseen, now_s};
    struct feed_entry entry = {change->prev_rev, change->place.rev, counters, change->event};
    bool silent = str_is_set(change->event) && change->event.bytes == 0;
    struct str wake = str_from(arena_printf(arena, "%d %llx %lld " STR_FMT, change->tenant,
                                            (unsigned long long)change->place.epoch,
                                            (long long)change->place.rev, STR_ARG(change->key)));
    struct str argv[] = {
        tail_key(arena, change->tenant, change->key, change->place.epoch),
        mark_key(arena, change->tenant, change->key, change->place.epoch),
        mark_key(arena, change->tenant, change->key, FEED_EPOCH_NONE),
        number(arena, change->place.rev),
        mark_text(arena, change->place.rev, &counters),
        number(arena, FEED_CACHE_MARK_MS),
        str_is_set(change->event) ? entry_text(arena, &entry) : STR(""),
        number(arena, FEED_CACHE_ENTRIES),
        STR(FEED_WAKE_CHANNEL),
        silent ? STR("") : wake,
        change->prev_rev == 0 ? STR("1") : STR("0"),
    };
    (void)!redis_queue_script(redis, &announce_script, 3, sizeof argv / sizeof *argv, argv);
}

void feed_cache_confirm(struct redis *redis, struct arena *arena, int tenant, struct str key,
                        struct feed_place place)
{
    struct str argv[] = {mark_key(arena, tenant, key, place.epoch), number(arena, place.rev),
                         number(arena, FEED_CACHE_MARK_MS)};
    (void)!redis_queue_script(redis, &confirm_script, 1, 3, argv);
}

bool feed_cache_flush(struct redis *redis, struct arena *arena)
{
    struct redis_reply **replies = NULL;
    struct error error;
    int count = 0;
    return redis_finish(redis, arena, &replies, &count, &error) == RESULT_OK;
}
