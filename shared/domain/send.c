/*
 * Accepting notifications: turns a batch into the statements of sql/queries/send.sql and their rows into what
 * is announced after the commit.
 *
 * Promises: feeds are locked in the order of their keys, before anything is read; every notification of a
 * user gets a rev of its own; counters are corrected in the transaction that counted too much.
 */
#include "domain/send.h"

#include "core/clock.h"
#include "core/limits.h"
#include "domain/item.h"
#include "queries.h"

#include <stdlib.h>
#include <string.h>

enum { EVENT_BYTES_MAX = 256 * 1024, INBOX_PREFIX_BYTES = sizeof "inbox:" - 1 };

static const char *const priority_names[] = {"urgent", "high", "medium", "low"};

const char *send_priority_name(enum send_priority priority)
{
    return priority <= SEND_LOW ? priority_names[priority] : "medium";
}

int send_priority_parse(struct str name)
{
    for (int i = 0; i <= SEND_LOW; i++)
        if (str_is(name, priority_names[i]))
            return i;
    return -1;
}

/* ---- who arrives now, in the order in which feeds are locked
 * ------------------------------------------------ */

struct arrival {
    struct str user;
    int ordinal; /* index into recipients */
};

static int arrival_compare(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    size_t bytes = x->user.bytes < y->user.bytes ? x->user.bytes : y->user.bytes;
    int order = memcmp(x->user.data, y->user.data, bytes);
    if (order == 0 && x->user.bytes != y->user.bytes)
        order = x->user.bytes < y->user.bytes ? -1 : 1;
    return order != 0 ? order : x->ordinal - y->ordinal;
}

/* Where a recipient stands among those of its user that arrive now: place 1 … of; 0 of 0 for scheduled ones.
 */
struct place {
    int place, of;
};

/* The end of the run of arrivals of one user that begins at first. */
static int same_user_end(const struct arrival *arrivals, int count, int first)
{
    int end = first + 1;
    while (end < count && str_equal(arrivals[end].user, arrivals[first].user))
        end++;
    return end;
}

/* Sorts those that arrive now and gives each its place. */
static int arrivals_sort(const struct send_batch *batch, struct arrival *arrivals, struct place *places)
{
    int count = 0;
    for (int i = 0; i < batch->recipient_count; i++) {
        places[i] = (struct place){0, 0};
        if (batch->contents[batch->recipients[i].content].scheduled_us == 0)
            arrivals[count++] = (struct arrival){batch->recipients[i].user, i};
    }
    qsort(arrivals, (size_t)count, sizeof *arrivals, arrival_compare);
    for (int first = 0, end; first < count; first = end) {
        end = same_user_end(arrivals, count, first);
        for (int i = first; i < end; i++)
            places[arrivals[i].ordinal] = (struct place){i - first + 1, end - first};
    }
    return count;
}

/* The users of the arrivals, each once and in lock order, as two arguments: names and numbers. */
static void arg_users(struct db_args *args, const struct arrival *arrivals, int count)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int first = 0; first < count; first = same_user_end(arrivals, count, first))
        db_array_text(&array, arrivals[first].user);
    db_array_end(&array);

    db_array_begin(&array, args);
    for (int first = 0, end; first < count; first = end) {
        end = same_user_end(arrivals, count, first);
        db_array_int(&array, end - first);
    }
    db_array_end(&array);
}

/* ---- arguments of send_insert
 * ------------------------------------------------------------------------------- */

static void arg_text_field(struct db_args *args, const struct send_batch *batch, size_t offset)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < batch->content_count; i++)
        db_array_text(&array,
                      *(const struct str *)(const void *)((const char *)&batch->contents[i] + offset));
    db_array_end(&array);
}

static void arg_time_field(struct db_args *args, const struct send_batch *batch, size_t offset)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < batch->content_count; i++) {
        int64_t unix_us = *(const int64_t *)(const void *)((const char *)&batch->contents[i] + offset);
        char text[TIME_TEXT_BYTES + 1];
        if (unix_us == 0)
            db_array_null(&array);
        else
            db_array_text(&array, str_from(time_text(unix_us, text)));
    }
    db_array_end(&array);
}

static void arg_priorities(struct db_args *args, const struct send_batch *batch)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < batch->content_count; i++)
        db_array_int(&array, batch->contents[i].priority);
    db_array_end(&array);
}

/* Channels as comma-separated text, NULL for all. */
static void arg_channels(struct db_args *args, const struct send_batch *batch)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < batch->content_count; i++) {
        const struct send_content *content = &batch->contents[i];
        struct buf text = BUF_INIT(1024);
        for (int c = 0; content->channels && c < content->channel_count; c++) {
            if (c > 0)
                buf_add_char(&text, ',');
            buf_add_str(&text, content->channels[c]);
        }
        if (content->channels)
            db_array_text(&array, content->channel_count > 0 ? buf_str(&text) : STR(""));
        else
            db_array_null(&array);
        buf_free(&text);
    }
    db_array_end(&array);
}

static void arg_contents(struct db_args *args, const struct send_batch *batch)
{
    arg_text_field(args, batch, offsetof(struct send_content, type));
    arg_text_field(args, batch, offsetof(struct send_content, title));
    arg_text_field(args, batch, offsetof(struct send_content, body));
    arg_text_field(args, batch, offsetof(struct send_content, data));
    arg_text_field(args, batch, offsetof(struct send_content, sender));
    arg_text_field(args, batch, offsetof(struct send_content, category));
    arg_priorities(args, batch);
    arg_text_field(args, batch, offsetof(struct send_content, actions));
    arg_text_field(args, batch, offsetof(struct send_content, url));
    arg_channels(args, batch);
    arg_time_field(args, batch, offsetof(struct send_content, scheduled_us));
    arg_time_field(args, batch, offsetof(struct send_content, expires_us));
    arg_text_field(args, batch, offsetof(struct send_content, dedup_key));
}

static void arg_recipients(struct db_args *args, const struct send_batch *batch, const struct place *places)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < batch->recipient_count; i++)
        db_array_uuid(&array, &batch->recipients[i].id);
    db_array_end(&array);
    db_array_begin(&array, args);
    for (int i = 0; i < batch->recipient_count; i++)
        db_array_text(&array, batch->recipients[i].user);
    db_array_end(&array);
    db_array_begin(&array, args);
    for (int i = 0; i < batch->recipient_count; i++)
        db_array_int(&array, batch->recipients[i].content);
    db_array_end(&array);
    db_array_begin(&array, args);
    for (int i = 0; i < batch->recipient_count; i++)
        db_array_int(&array, places[i].place);
    db_array_end(&array);
    db_array_begin(&array, args);
    for (int i = 0; i < batch->recipient_count; i++)
        db_array_int(&array, places[i].of);
    db_array_end(&array);
}

static void arg_arriving_ids(struct db_args *args, const struct send_batch *batch, const struct place *places)
{
    struct db_array array;
    db_array_begin(&array, args);
    for (int i = 0; i < batch->recipient_count; i++)
        if (places[i].place > 0)
            db_array_uuid(&array, &batch->recipients[i].id);
    db_array_end(&array);
}

/* ---- sending
 * ------------------------------------------------------------------------------------------------ */

void send_prepare(struct send_batch *batch)
{
    batch->accepted_us = clock_now_us();
    batch->request_id = uuid_at(batch->accepted_us);
    batch->predictable = true;
    for (int i = 0; i < batch->recipient_count; i++) {
        struct send_recipient *recipient = &batch->recipients[i];
        const struct send_content *content = &batch->contents[recipient->content];
        recipient->id = uuid_at(batch->accepted_us);
        recipient->status = content->scheduled_us != 0 ? SEND_SCHEDULED : SEND_ACCEPTED;
        if (str_is_set(content->dedup_key))
            batch->predictable = false;
    }
}

enum result send_queue(struct db *db, struct arena *arena, struct send_batch *batch, int results_before,
                       struct error *error)
{
    size_t count = (size_t)batch->recipient_count;
    struct arrival *arrivals = arena_array(arena, count, sizeof *arrivals);
    struct place *places = arena_array(arena, count, sizeof *places);
    if (count == 0 || count > LIMIT_RECIPIENTS || !arrivals || !places)
        return error_set(error, RESULT_FAILED, "could not prepare a send to %zu users", count);

    int arriving = arrivals_sort(batch, arrivals, places);
    batch->first_result = results_before;
    batch->has_arrivals = arriving > 0;

    if (arriving > 0) {
        struct db_args lock = DB_ARGS(arena);
        arg_users(&lock, arrivals, arriving);
        enum result result = db_queue(db, &query_send_lock_feeds, &lock, error);
        if (result != RESULT_OK)
            return result;
    }
    struct db_args insert = DB_ARGS(arena);
    db_arg_uuid(&insert, &batch->request_id);
    db_arg_bool(&insert, batch->sandbox);
    arg_contents(&insert, batch);
    arg_recipients(&insert, batch, places);
    db_arg_time(&insert, batch->accepted_us);
    enum result result = db_queue(db, &query_send_insert, &insert, error);
    if (result != RESULT_OK || arriving == 0)
        return result;

    struct db_args plan = DB_ARGS(arena);
    arg_arriving_ids(&plan, batch, places);
    return db_queue(db, &query_send_plan, &plan, error);
}

/* ---- what to announce
 * --------------------------------------------------------------------------------------- */

/* Columns of send_insert. */
enum { GOT_ORDINAL, GOT_ID, GOT_INSERTED, GOT_IN_INBOX, GOT_EPOCH, GOT_REV, GOT_UNREAD, GOT_UNSEEN, GOT_TOP };

static struct str inbox_key(struct arena *arena, struct str user)
{
    char *key = arena_alloc(arena, INBOX_PREFIX_BYTES + user.bytes + 1);
    if (!key)
        return STR_NONE;
    memcpy(key, "inbox:", INBOX_PREFIX_BYTES);
    memcpy(key + INBOX_PREFIX_BYTES, user.data, user.bytes);
    return (struct str){key, INBOX_PREFIX_BYTES + user.bytes};
}

/* The event of a new notification, exactly as a reader of its row would make it. */
static struct str new_event(struct arena *arena, const struct send_batch *batch, int ordinal, int64_t rev)
{
    const struct send_recipient *recipient = &batch->recipients[ordinal];
    const struct send_content *content = &batch->contents[recipient->content];
    char id[UUID_TEXT_BYTES + 1];
    struct item item = {
        .id = str_from(uuid_text(&recipient->id, id)),
        .rev = rev,
        .type = content->type,
        .title = content->title,
        .body = content->body,
        .data = content->data,
        .sender = content->sender,
        .category = content->category,
        .priority = (int)content->priority,
        .actions = content->actions,
        .url = content->url,
        .created_us = batch->accepted_us,
        .expires_us = content->expires_us,
        .live = true,
    };
    struct buf text = BUF_INIT(EVENT_BYTES_MAX);
    item_write_event(&text, &item);
    struct str event = buf_ok(&text) ? arena_str(arena, buf_str(&text)) : STR_NONE;
    buf_free(&text);
    return event;
}

/* One change for each arrival, in lock order. A user's changes cover the revs that its feed was moved by
 * without a gap: what did not arrive after all is covered by the next one, or by an empty one. */
static int changes_make(struct arena *arena, struct send_batch *batch, const struct db_result *rows,
                        const struct arrival *arrivals, int count, struct feed_change *changes)
{
    int made = 0;
    for (int first = 0, next; first < count; first = next) {
        next = same_user_end(arrivals, count, first);
        int64_t top = db_int(rows, arrivals[first].ordinal, GOT_TOP);
        int64_t prev = top - (next - first);
        struct feed_change change = {
            .tenant = batch->tenant,
            .key = inbox_key(arena, arrivals[first].user),
            .place = {(uint64_t)db_int(rows, arrivals[first].ordinal, GOT_EPOCH), top},
            .unread = db_int(rows, arrivals[first].ordinal, GOT_UNREAD),
            .unseen = db_int(rows, arrivals[first].ordinal, GOT_UNSEEN),
        };
        for (int i = first; i < next; i++) {
            int row = arrivals[i].ordinal;
            if (!db_bool(rows, row, GOT_IN_INBOX))
                continue;
            int64_t rev = db_int(rows, row, GOT_REV);
            change.prev_rev = prev;
            change.place.rev = rev;
            change.event = new_event(arena, batch, row, rev);
            changes[made++] = change;
            prev = rev;
        }
        if (prev < top) {
            change.prev_rev = prev;
            change.place.rev = top;
            change.event = STR("");
            changes[made++] = change;
        }
    }
    return made;
}

enum result send_collect(struct arena *arena, struct send_batch *batch, struct db_result *const *results,
                         struct feed_change **changes, int *count, struct error *error)
{
    *changes = NULL;
    *count = 0;
    const struct db_result *rows = results[batch->first_result + (batch->has_arrivals ? 1 : 0)];
    if (db_rows(rows) != batch->recipient_count)
        return error_set(error, RESULT_FAILED, "could not read back a send: %d rows for %d users",
                         db_rows(rows), batch->recipient_count);
    for (int i = 0; i < batch->recipient_count; i++) {
        if (!db_is_null(rows, i, GOT_ID))
            batch->recipients[i].id = db_uuid(rows, i, GOT_ID);
        if (!db_bool(rows, i, GOT_INSERTED))
            batch->recipients[i].status = SEND_DEDUPLICATED;
    }
    if (!batch->has_arrivals)
        return RESULT_OK;

    size_t most = (size_t)batch->recipient_count;
    struct arrival *arrivals = arena_array(arena, most, sizeof *arrivals);
    struct place *places = arena_array(arena, most, sizeof *places);
    *changes = arena_array(arena, 2 * most, sizeof **changes);
    if (!arrivals || !places || !*changes)
        return error_set(error, RESULT_FAILED, "could not announce a send: no memory");
    int arriving = arrivals_sort(batch, arrivals, places);
    *count = changes_make(arena, batch, rows, arrivals, arriving, *changes);
    return RESULT_OK;
}

/* ---- scheduled ones whose time has come
 * --------------------------------------------------------------------- */

enum result send_queue_due(struct db *db, struct arena *arena, const struct uuid *ids, int count,
                           int results_before, int *first_result, struct error *error)
{
    static const struct db_query *const steps[] = {&query_send_due_lock_feeds, &query_send_due_arrive,
                                                   &query_send_plan};
    *first_result = results_before;
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        struct db_args args = DB_ARGS(arena);
        struct db_array array;
        db_array_begin(&array, &args);
        for (int i = 0; i < count; i++)
            db_array_uuid(&array, &ids[i]);
        db_array_end(&array);
        enum result result = db_queue(db, steps[s], &args, error);
        if (result != RESULT_OK)
            return result;
    }
    return RESULT_OK;
}

/* Columns of send_due_arrive. */
enum { DUE_ID, DUE_USER, DUE_ARRIVED, DUE_EPOCH, DUE_REV, DUE_UNREAD, DUE_UNSEEN, DUE_TOP };

/* The rows' contents are not at hand here: one change a user without an event, so that waiting readers fetch
 * it. */
enum result send_collect_due(struct arena *arena, int tenant, struct db_result *const *results,
                             int first_result, struct feed_change **changes, int *count, struct error *error)
{
    const struct db_result *rows = results[first_result + 1];
    *count = 0;
    *changes = arena_array(arena, (size_t)db_rows(rows) + 1, sizeof **changes);
    if (!*changes)
        return error_set(error, RESULT_FAILED, "could not announce scheduled notifications: no memory");
    for (int i = 0, next; i < db_rows(rows); i = next) {
        struct str user = db_text(rows, i, DUE_USER);
        for (next = i + 1; next < db_rows(rows) && str_equal(user, db_text(rows, next, DUE_USER)); next++)
            ;
        (*changes)[(*count)++] = (struct feed_change){
            .tenant = tenant,
            .key = inbox_key(arena, user),
            .place = {(uint64_t)db_int(rows, i, DUE_EPOCH), db_int(rows, i, DUE_TOP)},
            .prev_rev = db_int(rows, i, DUE_TOP) - (next - i), /* 0: there was no feed before */
            .unread = db_int(rows, i, DUE_UNREAD),
            .unseen = db_int(rows, i, DUE_UNSEEN),
            .event = STR_NONE,
        };
    }
    return arena_failed(arena)
               ? error_set(error, RESULT_FAILED, "could not announce scheduled notifications: no memory")
               : RESULT_OK;
}
