/* The rules of a send body: see send_body.h. */
#include "domain/send_body.h"
#include "core/buf.h"
#include "core/limits.h"
#include "format/check.h"
#include "format/json.h"
#include <stdlib.h>
#include <string.h>

enum {
    SENDER_NAME_CHARS = 128,
    ACTION_LABEL_CHARS = 64,
    ACTION_ID_BYTES = 32,
    DEDUP_KEY_CHARS = 128,
    EVENT_ID_CHARS = 255,
    PART_BYTES_MAX = 32768 /* of sender or actions as JSON: five URLs and more */
};
static const int64_t AHEAD_US = 366LL * 86400 * 1000000; /* a year, leap or not */

static bool is_action_id(struct str s)
{
    for (size_t i = 0; i < s.bytes; i++) {
        char c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return s.bytes >= 1 && s.bytes <= ACTION_ID_BYTES;
}

static const char *const priorities[] = {"urgent", "high", "medium", "low", NULL}; /* as enum send_priority */
static const char *const channels[] = {"push", "email", "webhook", NULL};
enum { CHANNELS = sizeof channels / sizeof *channels - 1 };

enum {
    BODY_TO,
    BODY_TITLE,
    BODY_BODY,
    BODY_TYPE,
    BODY_DATA,
    BODY_SENDER,
    BODY_CATEGORY,
    BODY_PRIORITY,
    BODY_ACTIONS,
    BODY_URL,
    BODY_CHANNELS,
    BODY_SCHEDULED,
    BODY_EXPIRES,
    BODY_DEDUP_KEY,
    BODY_EVENT_ID,
    BODY_FIELDS
};
static const struct field body_fields[BODY_FIELDS + 1] = {
    [BODY_TO] = {"to", FIELD_ARRAY, FIELD_REQUIRED, .least = 1, .most = LIMIT_RECIPIENTS},
    [BODY_TITLE] = {"title", FIELD_TEXT, FIELD_REQUIRED, .least = 1, .most = LIMIT_TITLE_CHARS},
    [BODY_BODY] = {"body", FIELD_TEXT, .most = LIMIT_TEXT_CHARS, .text = ""},
    [BODY_TYPE] = {"type", FIELD_SLUG, .text = "general"},
    [BODY_DATA] = {"data", FIELD_OBJECT, .most = LIMIT_DATA_BYTES, .text = "{}"},
    [BODY_SENDER] = {"sender", FIELD_OBJECT},
    [BODY_CATEGORY] = {"category", FIELD_SLUG, .text = "general"},
    [BODY_PRIORITY] = {"priority", FIELD_CHOICE, .choices = priorities, .text = "medium"},
    [BODY_ACTIONS] = {"actions", FIELD_ARRAY, .most = LIMIT_ACTIONS},
    [BODY_URL] = {"url", FIELD_LINK},
    [BODY_CHANNELS] = {"channels", FIELD_ARRAY, .most = CHANNELS},
    [BODY_SCHEDULED] = {"scheduledAt", FIELD_TIME},
    [BODY_EXPIRES] = {"expiresAt", FIELD_TIME},
    [BODY_DEDUP_KEY] = {"dedupKey", FIELD_TEXT, .least = 1, .most = DEDUP_KEY_CHARS},
    [BODY_EVENT_ID] = {"eventId", FIELD_TEXT, .least = 1, .most = EVENT_ID_CHARS},
};

enum { SENDER_ID, SENDER_NAME, SENDER_AVATAR, SENDER_FIELDS };
static const struct field sender_fields[SENDER_FIELDS + 1] = {
    [SENDER_ID] = {"id", FIELD_ID},
    [SENDER_NAME] = {"name", FIELD_TEXT, FIELD_REQUIRED, .least = 1, .most = SENDER_NAME_CHARS},
    [SENDER_AVATAR] = {"avatarUrl", FIELD_LINK},
};

enum { ACTION_ID, ACTION_LABEL, ACTION_URL, ACTION_FIELDS };
static const struct field action_fields[ACTION_FIELDS + 1] = {
    [ACTION_ID] = {"id", FIELD_WORD, FIELD_REQUIRED, .check = is_action_id,
                   .rule = "must be 1 to 32 of a-z 0-9 _ -"},
    [ACTION_LABEL] = {"label", FIELD_TEXT, FIELD_REQUIRED, .least = 1, .most = ACTION_LABEL_CHARS},
    [ACTION_URL] = {"url", FIELD_LINK},
};

/* What every part needs. */
struct reading {
    struct arena *arena;
    struct str prefix;
    struct faults *faults;
    struct send_body *out;
};

static struct str pointer_to(const struct reading *r, const char *name)
{
    return fault_pointer(r->arena, r->prefix, str_from(name));
}

static struct str pointer_to_item(const struct reading *r, const char *name, size_t index)
{
    return fault_pointer_item(r->arena, pointer_to(r, name), index);
}

/* ---- to ---- */

struct numbered {
    struct str user;
    int index;
};

static int numbered_compare(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;
    if (x->user.bytes != y->user.bytes)
        return x->user.bytes < y->user.bytes ? -1 : 1;
    int order = memcmp(x->user.data, y->user.data, x->user.bytes);
    return order != 0 ? order : x->index - y->index;
}

static void refuse_repeated(const struct reading *r)
{
    int count = r->out->user_count;
    struct numbered *sorted = arena_array(r->arena, (size_t)count, sizeof *sorted);
    if (sorted == NULL)
        return;
    for (int i = 0; i < count; i++)
        sorted[i] = (struct numbered){r->out->users[i], i};
    qsort(sorted, (size_t)count, sizeof *sorted, numbered_compare);
    for (int i = 1; i < count; i++)
        if (sorted[i].user.bytes > 0 && str_equal(sorted[i].user, sorted[i - 1].user))
            fault_add(r->faults, pointer_to_item(r, "to", (size_t)sorted[i].index), "is there already");
}

static void read_to(const struct reading *r, const json_t *list, enum send_body_from from)
{
    static const struct field rule = {.name = "to", .kind = FIELD_ID};
    size_t count = json_array_size(list);
    r->out->users = arena_array(r->arena, count + 1, sizeof *r->out->users);
    if (r->out->users == NULL || list == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        struct field_value value;
        const json_t *item = json_array_get(list, i);
        struct str user = json_str(item);
        /* A pointer is built only for a fault: most requests have a thousand good ids. */
        if (!check_id(user)) {
            field_read(&rule, item, pointer_to_item(r, "to", i), r->faults, &value);
            user = STR("");
        } else if (from == SEND_FROM_API && user.data[0] == '~') {
            fault_add(r->faults, pointer_to_item(r, "to", i), "must not begin with ~: such ids are reserved");
        }
        r->out->users[r->out->user_count++] = user;
    }
    refuse_repeated(r);
}

/* ---- sender, actions, channels ---- */

/* What was written, kept in the arena. */
static struct str keep(const struct reading *r, struct buf *text)
{
    struct str kept = buf_ok(text) ? arena_str(r->arena, buf_str(text)) : STR_NONE;
    buf_free(text);
    return kept;
}

static void read_sender(const struct reading *r, const json_t *object)
{
    struct field_value v[SENDER_FIELDS];
    if (object == NULL || !fields_read(sender_fields, object, pointer_to(r, "sender"), r->faults, v))
        return;
    struct buf text = BUF_INIT(PART_BYTES_MAX);
    json_open(&text, '{');
    json_key(&text, "id");
    json_text_or_null(&text, v[SENDER_ID].text);
    json_key(&text, "name");
    json_text(&text, v[SENDER_NAME].text);
    json_key(&text, "avatarUrl");
    json_text_or_null(&text, v[SENDER_AVATAR].text);
    json_close(&text, '}');
    r->out->content.sender = keep(r, &text);
}

static void write_action(struct buf *text, const struct field_value *v)
{
    json_open(text, '{');
    json_key(text, "id");
    json_text(text, v[ACTION_ID].text);
    json_key(text, "label");
    json_text(text, v[ACTION_LABEL].text);
    json_key(text, "url");
    json_text_or_null(text, v[ACTION_URL].text);
    json_close(text, '}');
}

static void read_actions(const struct reading *r, const json_t *list)
{
    struct field_value v[LIMIT_ACTIONS][ACTION_FIELDS];
    size_t count = json_array_size(list);
    struct buf text = BUF_INIT(PART_BYTES_MAX);
    json_open(&text, '[');
    for (size_t i = 0; i < count; i++) {
        struct str at = pointer_to_item(r, "actions", i);
        if (fields_read(action_fields, json_array_get(list, i), at, r->faults, v[i]))
            write_action(&text, v[i]);
        for (size_t before = 0; before < i; before++)
            if (str_is_set(v[i][ACTION_ID].text) &&
                str_equal(v[i][ACTION_ID].text, v[before][ACTION_ID].text)) {
                fault_add(r->faults, fault_pointer(r->arena, at, STR("id")), "is there already");
                break;
            }
    }
    json_close(&text, ']');
    r->out->content.actions = keep(r, &text);
}

static void read_channels(const struct reading *r, const json_t *list)
{
    static const struct field rule = {.name = "channels", .kind = FIELD_CHOICE, .choices = channels};
    bool named[CHANNELS] = {false};
    struct str *names = arena_array(r->arena, CHANNELS, sizeof *names);
    if (list == NULL || names == NULL)
        return;
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct field_value value;
        struct str at = pointer_to_item(r, "channels", i);
        if (!field_read(&rule, json_array_get(list, i), at, r->faults, &value))
            continue;
        if (named[value.number])
            fault_add(r->faults, at, "is there already");
        named[value.number] = true;
    }
    int count = 0;
    for (int i = 0; i < CHANNELS; i++)
        if (named[i])
            names[count++] = str_from(channels[i]);
    r->out->content.channels = names;
    r->out->content.channel_count = count;
}

/* ---- times ---- */

static void read_times(const struct reading *r, const struct field_value *v, int64_t now_us)
{
    struct send_content *content = &r->out->content;
    int64_t scheduled_us = v[BODY_SCHEDULED].given ? v[BODY_SCHEDULED].number : 0;
    if (scheduled_us > now_us + AHEAD_US)
        fault_add(r->faults, pointer_to(r, "scheduledAt"), "must be at most a year ahead");
    content->scheduled_us = scheduled_us > now_us ? scheduled_us : 0;
    if (!v[BODY_EXPIRES].given)
        return;
    content->expires_us = v[BODY_EXPIRES].number;
    if (content->expires_us <= now_us)
        fault_add(r->faults, pointer_to(r, "expiresAt"), "must be in the future");
    else if (content->expires_us <= content->scheduled_us)
        fault_add(r->faults, pointer_to(r, "expiresAt"), "must be after scheduledAt");
}

bool send_body_read(struct arena *arena, const json_t *object, struct str prefix, int64_t now_us,
                    enum send_body_from from, struct faults *faults, struct send_body *out)
{
    struct field_value v[BODY_FIELDS];
    int total = faults->total;
    *out = (struct send_body){0};
    fields_read(body_fields, object, prefix, faults, v);
    struct reading r = {arena, prefix, faults, out};
    out->content.title = v[BODY_TITLE].text;
    out->content.body = v[BODY_BODY].text;
    out->content.type = v[BODY_TYPE].text;
    out->content.data = v[BODY_DATA].text;
    out->content.category = v[BODY_CATEGORY].text;
    out->content.priority = (enum send_priority)v[BODY_PRIORITY].number;
    out->content.url = v[BODY_URL].text;
    out->content.dedup_key = v[BODY_DEDUP_KEY].text;
    out->event_id = v[BODY_EVENT_ID].text;
    read_to(&r, v[BODY_TO].tree, from);
    read_sender(&r, v[BODY_SENDER].tree);
    read_actions(&r, v[BODY_ACTIONS].tree);
    read_channels(&r, v[BODY_CHANNELS].tree);
    read_times(&r, v, now_us);
    if (arena_failed(arena))
        fault_add(faults, prefix, "needs more memory than a request may use");
    return faults->total == total;
}
