/* Lanes, their marks, and who takes turns. */
#include "worker/lanes.h"
#include "worker/table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 64 + 12 };

/* A place to go on from, and older ones, in pairs that follow it at a distance: a claim that has taken all
 * goes back to the nearest, for what was committed a moment late; a sweep begins at the oldest. */
struct lane_mark {
    int64_t seq, nearer, near, older, oldest;
    int64_t nearer_at_ms, older_at_ms;
    int64_t sweep_seq; /* while a sweep is under way: how far it has come */
    int empty_sweeps;
    bool filled;  /* may have something */
    bool drained; /* the last claim had less than it asked for */
    bool sweeping;
};

struct lane {
    struct table_node node;
    struct lane *next; /* in turn */
    struct lane *prev;
    int tenant;
    size_t channel_bytes;
    int64_t swept_ms, used_ms;
    struct lane_mark marks[LANE_PRIORITIES];
    char key[KEY_BYTES]; /* "channel tenant" */
};

struct lanes {
    struct table table;
    struct lane *turn; /* a ring; the one whose turn it is */
    char *channels;
};

struct lanes *lanes_create(const char *channels)
{
    struct lanes *lanes = calloc(1, sizeof *lanes);
    if (!lanes)
        return NULL;
    lanes->channels = strdup(channels ? channels : "");
    if (!lanes->channels) {
        free(lanes);
        return NULL;
    }
    return lanes;
}

static void free_lane(struct table_node *node, void *context)
{
    (void)context;
    free(node); /* node is its first member */
}

void lanes_destroy(struct lanes *lanes)
{
    if (!lanes)
        return;
    table_each(&lanes->table, free_lane, NULL);
    table_free(&lanes->table);
    free(lanes->channels);
    free(lanes);
}

/* ---- the ring ---- */

static void join_ring(struct lanes *lanes, struct lane *lane)
{
    if (!lanes->turn) {
        lane->next = lane->prev = lane;
        lanes->turn = lane;
        return;
    }
    lane->next = lanes->turn; /* at the end of the round */
    lane->prev = lanes->turn->prev;
    lane->prev->next = lane;
    lane->next->prev = lane;
}

static void forget(struct lanes *lanes, struct lane *lane)
{
    table_remove(&lanes->table, &lane->node);
    if (lane->next == lane)
        lanes->turn = NULL;
    else if (lanes->turn == lane)
        lanes->turn = lane->next;
    lane->prev->next = lane->next;
    lane->next->prev = lane->prev;
    free(lane);
}

static bool is_ours(const struct lanes *lanes, struct str channel)
{
    struct str rest = str_from(lanes->channels);
    if (rest.bytes == 0)
        return true;
    while (str_is_set(rest))
        if (str_equal(str_cut(rest, ',', &rest), channel))
            return true;
    return false;
}

static struct lane *find_or_add(struct lanes *lanes, struct str channel, int tenant)
{
    char key[KEY_BYTES];
    int n = snprintf(key, sizeof key, STR_FMT " %d", STR_ARG(channel), tenant);
    if (n < 0 || (size_t)n >= sizeof key)
        return NULL;
    struct lane *lane = (struct lane *)table_find(&lanes->table, (struct str){key, (size_t)n});
    if (lane)
        return lane;
    lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    memcpy(lane->key, key, sizeof key);
    lane->node.key = (struct str){lane->key, (size_t)n};
    lane->channel_bytes = channel.bytes;
    lane->tenant = tenant;
    if (!table_add(&lanes->table, &lane->node)) {
        free(lane);
        return NULL;
    }
    join_ring(lanes, lane);
    return lane;
}

void lanes_wake(struct lanes *lanes, struct str channel, int tenant, int64_t now_ms)
{
    struct lane *lane = is_ours(lanes, channel) ? find_or_add(lanes, channel, tenant) : NULL;
    if (!lane)
        return;
    lane->used_ms = now_ms;
    for (int p = 0; p < LANE_PRIORITIES; p++)
        lane->marks[p].filled = true;
}

/* ---- planning ---- */

static const int weights[LANE_PRIORITIES] = {8, 4, 2, 1};

static int weight_of(const struct lane *lane)
{
    int sum = 0;
    for (int p = 0; p < LANE_PRIORITIES; p++)
        if (lane->marks[p].filled)
            sum += weights[p];
    return sum;
}

static int count_filled(const struct lanes *lanes)
{
    int count = 0;
    struct lane *lane = lanes->turn;
    do {
        count += weight_of(lane) > 0;
        lane = lane->next;
    } while (lane != lanes->turn);
    return count;
}

static int64_t begin_at(struct lane_mark *mark, bool sweep)
{
    if (sweep && !mark->sweeping)
        mark->sweep_seq = mark->oldest;
    mark->sweeping = mark->sweeping || sweep;
    if (mark->sweeping)
        return mark->sweep_seq;
    return mark->drained ? mark->near : mark->seq;
}

/* Divides share among the priorities of a lane that may have something. */
static int ask_lane(struct lane *lane, int share, int64_t now_ms, struct lane_ask *asks)
{
    int sum = weight_of(lane), count = 0;
    bool sweep = now_ms - lane->swept_ms >= LANE_SWEEP_MS;
    if (sweep)
        lane->swept_ms = now_ms;
    for (int p = 0; p < LANE_PRIORITIES; p++) {
        struct lane_mark *mark = &lane->marks[p];
        if (!mark->filled)
            continue;
        int take = share * weights[p] / sum;
        int64_t after_seq = begin_at(mark, sweep);
        asks[count++] = (struct lane_ask){.lane = lane,
                                          .channel = {lane->key, lane->channel_bytes},
                                          .tenant = lane->tenant,
                                          .priority = p,
                                          .take = take > 0 ? take : 1,
                                          .after_seq = after_seq,
                                          .sweep = mark->sweeping};
    }
    return count;
}

int lanes_plan(struct lanes *lanes, int budget, int64_t now_ms, int (*room)(void *context, int tenant),
               void *context, struct lane_ask asks[LANE_ASKS_MAX])
{
    if (!lanes->turn)
        return 0;
    int filled = count_filled(lanes), count = 0, left = budget;
    int in_one = LANE_ASKS_MAX / LANE_PRIORITIES;
    int share = filled ? budget / (filled < in_one ? filled : in_one) : 0;
    for (size_t seen = lanes->table.count; seen > 0 && left > 0 && count + LANE_PRIORITIES <= LANE_ASKS_MAX;
         seen--) {
        struct lane *lane = lanes->turn;
        lanes->turn = lane->next;
        if (weight_of(lane) == 0) {
            if (now_ms - lane->used_ms > LANE_FORGET_MS)
                forget(lanes, lane);
            if (!lanes->turn)
                break;
            continue;
        }
        int may = room(context, lane->tenant), take = share > 0 ? share : 1;
        if (may <= 0)
            continue;
        take = take < may ? take : may;
        lane->used_ms = now_ms;
        count += ask_lane(lane, take, now_ms, asks + count);
        left -= take;
    }
    return count;
}

/* ---- answers ---- */

/* near follows behind by LANE_NEAR_MS at least, oldest by LANE_SAFE_MS, and both by twice that at most. */
static void keep_marks(struct lane_mark *mark, int64_t now_ms)
{
    if (now_ms - mark->nearer_at_ms >= LANE_NEAR_MS) {
        mark->near = mark->nearer;
        mark->nearer = mark->seq;
        mark->nearer_at_ms = now_ms;
    }
    if (now_ms - mark->older_at_ms < LANE_SAFE_MS)
        return;
    mark->oldest = mark->older;
    mark->older = mark->seq;
    mark->older_at_ms = now_ms;
}

void lanes_answer(struct lanes *lanes, const struct lane_ask *ask, int rows, int64_t top_seq, int64_t now_ms)
{
    (void)lanes;
    struct lane_mark *mark = &ask->lane->marks[ask->priority];
    keep_marks(mark, now_ms);
    if (rows > 0)
        mark->empty_sweeps = 0;
    else if (ask->sweep && ++mark->empty_sweeps >= LANE_EMPTY_SWEEPS)
        *mark = (struct lane_mark){.nearer_at_ms = now_ms, .older_at_ms = now_ms};
    mark->filled = rows >= ask->take;
    mark->drained = !mark->filled;
    if (ask->sweep) { /* it goes on until it has caught up, or found less than it asked for */
        mark->sweeping = mark->filled && top_seq < mark->seq;
        mark->sweep_seq = top_seq;
    }
    if (rows > 0 && top_seq > mark->seq)
        mark->seq = top_seq;
}

void lanes_failed(struct lanes *lanes, const struct lane_ask *ask)
{
    (void)lanes;
    ask->lane->swept_ms = 0;
    ask->lane->marks[ask->priority].sweeping = false;
}
