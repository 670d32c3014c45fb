/* Names of feeds to keys, cursors to places. */
#include "handlers/poll_feeds.h"
#include "core/clock.h"
#include "format/cursor.h"
#include <string.h>

enum {
    CURSOR_LIFE_S = 30 * 86400, /* as long as deletions leave a trace: an older cursor gets the state */
    ACTIVE_S = 60,
    ORDINARY_S = 600,
    REFUSED_EXTRA_MS = 4000
};

static struct str inbox_key(struct call *call)
{
    return str_from(arena_printf(call->arena, "inbox:%s", call->identity.user));
}

/* Kinds of feeds by the name that clients use. */
static const struct {
    const char *name;
    struct str (*key)(struct call *call);
} kinds[] = {
    {"inbox", inbox_key},
};
enum { KINDS_OF_FEEDS = sizeof kinds / sizeof *kinds };

static int find_kind(struct str name)
{
    for (int k = 0; k < KINDS_OF_FEEDS; k++)
        if (str_is(name, kinds[k].name))
            return k;
    return -1;
}

bool poll_feeds_known(struct str name)
{
    return find_kind(name) >= 0;
}

static bool is_listed(const char *allowed, struct str name)
{
    struct str rest = str_from(allowed);
    if (rest.bytes == 0)
        return true;
    while (str_is_set(rest))
        if (str_equal(str_cut(rest, ',', &rest), name))
            return true;
    return false;
}

static bool is_repeated(const struct poll_feeds *feeds, const char *name)
{
    for (int i = 0; i < feeds->count; i++)
        if (feeds->feeds[i].name == name)
            return true;
    return false;
}

static enum result add_feed(struct call *call, struct str name, const char *allowed, struct poll_feeds *feeds)
{
    int kind = find_kind(name);
    if (kind < 0 || feeds->count == PARK_FEEDS_MAX || is_repeated(feeds, kinds[kind].name)) {
        fault_add_parameter(&call->faults, STR("feeds"), "must be names of feeds, each once: inbox");
        return error_set(&call->error, RESULT_INVALID, "The feeds are not valid.");
    }
    if (!is_listed(allowed, name))
        return error_set(&call->error, RESULT_FORBIDDEN, "The ticket is for other feeds.");
    struct park_feed feed = {.name = kinds[kind].name, .key = kinds[kind].key(call)};
    if (!str_is_set(feed.key))
        return error_set(&call->error, RESULT_FAILED, "no memory for the name of a feed");
    feeds->feeds[feeds->count++] = feed;
    return RESULT_OK;
}

static enum result take_cursor(struct call *call, struct str text, struct poll_feeds *feeds)
{
    struct cursor cursor;
    if (text.bytes == 0)
        return RESULT_OK;
    if (!cursor_parse(text, &cursor)) {
        fault_add_parameter(&call->faults, STR("cursor"), "must be the cursor of an answer");
        return error_set(&call->error, RESULT_INVALID, "The cursor is not valid.");
    }
    if (clock_now_us() / 1000000 - cursor.issued_s > CURSOR_LIFE_S)
        return RESULT_OK;
    feeds->cursor_issued_s = cursor.issued_s;
    /* copied: the request's own text is gone once its connection was taken out of libfcgi */
    feeds->cursor = cursor.count == feeds->count ? arena_str(call->arena, text) : STR_NONE;
    for (int i = 0; i < feeds->count; i++) {
        const struct cursor_place *place = cursor_find(&cursor, str_from(feeds->feeds[i].name));
        if (place != NULL)
            feeds->feeds[i].place = (struct feed_place){place->epoch, place->rev};
        else
            feeds->cursor = STR_NONE;
    }
    return RESULT_OK;
}

enum result poll_feeds_parse(struct call *call, struct str names, struct str cursor, const char *allowed,
                             struct poll_feeds *feeds)
{
    memset(feeds, 0, sizeof *feeds);
    struct str rest = names;
    while (str_is_set(rest)) {
        enum result result = add_feed(call, str_cut(rest, ',', &rest), allowed, feeds);
        if (result != RESULT_OK)
            return result;
    }
    return take_cursor(call, cursor, feeds);
}

enum result poll_feeds_read(struct call *call, struct poll_feeds *feeds)
{
    struct feed_want wants[PARK_FEEDS_MAX];
    for (int i = 0; i < feeds->count; i++)
        wants[i] = (struct feed_want){
            .tenant = call->identity.tenant,
            .user = str_from(call->identity.user),
            .key = feeds->feeds[i].key,
            .place = feeds->feeds[i].place,
            .least_rev = feeds->least_revs[i],
        };
    enum result result = feed_read(call->redis, call->app->readers, wants, feeds->count, call->arena,
                                   feeds->deltas, &call->error);
    for (int i = 0; result == RESULT_OK && i < feeds->count; i++) {
        const struct feed_place *old = &feeds->feeds[i].place, *new = &feeds->deltas[i].place;
        if (old->epoch != new->epoch || old->rev != new->rev)
            feeds->cursor = STR_NONE;
        feeds->feeds[i].place = *new;
    }
    return result;
}

bool poll_feeds_changed(const struct poll_feeds *feeds)
{
    for (int i = 0; i < feeds->count; i++)
        if (feeds->deltas[i].changed)
            return true;
    return false;
}

bool poll_feeds_more(const struct poll_feeds *feeds)
{
    for (int i = 0; i < feeds->count; i++)
        if (feeds->deltas[i].more)
            return true;
    return false;
}

int poll_feeds_answer(const struct poll_feeds *feeds, struct poll_feed *answer)
{
    for (int i = 0; i < feeds->count; i++)
        answer[i] = (struct poll_feed){feeds->feeds[i].name, feeds->deltas[i].json, feeds->feeds[i].place};
    return feeds->count;
}

enum park_commit poll_feeds_commit(struct call *call, struct poll_feeds *feeds, struct waiter *waiter,
                                   struct fastcgi_connection connection, int wait_ms)
{
    struct park_read reads[PARK_FEEDS_MAX];
    for (int i = 0; i < feeds->count; i++)
        reads[i] = (struct park_read){feeds->feeds[i].place, feeds->deltas[i].json, 0};
    enum park_commit verdict = park_commit(call->app->park, waiter, reads, connection, wait_ms);
    for (int i = 0; verdict == PARK_AGAIN && i < feeds->count; i++)
        feeds->least_revs[i] = reads[i].least_rev;
    return verdict;
}

/* How long ago something last came is the cursor's age: it is issued anew only when something is new. */
int poll_feeds_pace(const struct call *call, const struct poll_feeds *feeds, bool refused)
{
    int64_t age_s = str_is_set(feeds->cursor) ? clock_now_us() / 1000000 - feeds->cursor_issued_s : 0;
    enum poll_activity activity = age_s < ACTIVE_S     ? POLL_ACTIVE
                                  : age_s < ORDINARY_S ? POLL_ORDINARY
                                                       : POLL_QUIET;
    for (int i = 0; i < feeds->count; i++)
        if (feeds->deltas[i].active)
            activity = POLL_ACTIVE;
    int load = 0;
    struct park *park = call->app->park;
    if (park != NULL && park_capacity(park) > 0)
        load = (park_count(park, PARK_POLL) + park_count(park, PARK_STREAM)) * 100 / park_capacity(park);
    return poll_answer_pace(activity, load) + (refused ? REFUSED_EXTRA_MS : 0);
}
