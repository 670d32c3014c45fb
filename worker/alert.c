/* Alerts: a short list of those to be told, and a longer one of those told lately. */
#include "worker/alert.h"
#include "format/json.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAITING_MAX = 32, /* more at once say nothing new */
    RECENT_MAX = 64,
    RECENT_MS = 600000, /* the dedupKey holds for longer, but does not spare the row */
    KEY_BYTES = 128,
    BODY_BYTES_MAX = 4096
};
#define DEVELOPERS "~developers"

struct alerts {
    int waiting;
    struct {
        int tenant;
        struct buf body;
    } list[WAITING_MAX];
    struct {
        char key[KEY_BYTES];
        int64_t at_ms;
    } recent[RECENT_MAX];
    int next_recent;
};

struct alerts *alerts_create(void)
{
    struct alerts *alerts = calloc(1, sizeof *alerts);
    for (int i = 0; alerts && i < WAITING_MAX; i++)
        alerts->list[i].body = BUF_INIT(BODY_BYTES_MAX);
    return alerts;
}

void alerts_destroy(struct alerts *alerts)
{
    for (int i = 0; alerts && i < WAITING_MAX; i++)
        buf_free(&alerts->list[i].body);
    free(alerts);
}

/* Was it noted lately? If not, it is now. */
static bool is_repeated(struct alerts *alerts, int tenant, const char *key, int64_t now_ms)
{
    char whole[KEY_BYTES];
    snprintf(whole, sizeof whole, "%d %.100s", tenant, key);
    for (int i = 0; i < RECENT_MAX; i++)
        if (alerts->recent[i].key[0] && now_ms - alerts->recent[i].at_ms < RECENT_MS &&
            strcmp(alerts->recent[i].key, whole) == 0)
            return true;
    int at = alerts->next_recent++ % RECENT_MAX;
    memcpy(alerts->recent[at].key, whole, sizeof whole);
    alerts->recent[at].at_ms = now_ms;
    return false;
}

static void write_text(struct buf *out, const char *name, const char *text)
{
    json_key(out, name);
    json_text(out, str_from(text));
}

static void add(struct alerts *alerts, int tenant, const char *key, const char *title, const char *text)
{
    struct buf *out = &alerts->list[alerts->waiting].body;
    buf_clear(out);
    json_open(out, '{');
    json_key(out, "to");
    json_raw(out, STR("[\"" DEVELOPERS "\"]"));
    write_text(out, "type", "alert");
    write_text(out, "category", "alert");
    write_text(out, "priority", "high");
    write_text(out, "title", title);
    write_text(out, "body", text);
    write_text(out, "dedupKey", key);
    json_close(out, '}');
    alerts->list[alerts->waiting].tenant = tenant;
    if (buf_ok(out))
        alerts->waiting++;
}

/* Titles and texts name accounts and channels, never people. */
static void describe(const struct job *job, char key[KEY_BYTES], char *title, size_t title_bytes, char *text,
                     size_t text_bytes)
{
    const struct delivery *d = &job->delivery;
    long long hour = (long long)(job->finished_us / INT64_C(3600000000));
    const char *detail = job->outcome.detail[0] ? job->outcome.detail : outcome_name(job->outcome.kind);
    if (job->verdict.pause) {
        struct str id = job->account ? job->account->account.id : STR("?");
        snprintf(key, KEY_BYTES, "alert:paused:%.64s:%lld", id.data,
                 (long long)(job->account ? job->account->version : 0));
        snprintf(title, title_bytes, "Provider account %.64s is paused", id.data);
        snprintf(text, text_bytes,
                 "The provider refused it: %s (%d). Its deliveries wait until it is resumed.", detail,
                 job->outcome.code);
    } else if (job->verdict.place == VERDICT_DEAD) {
        snprintf(key, KEY_BYTES, "alert:dead:%.32s:%lld", d->channel.data, hour);
        snprintf(title, title_bytes, "Deliveries by %.32s have failed for good", d->channel.data);
        snprintf(text, text_bytes,
                 "%d tries, the last one: %s (%d). They are among the dead letters, and can be replayed.",
                 job->verdict.tries, detail, job->outcome.code);
    } else {
        snprintf(key, KEY_BYTES, "alert:rejected:%.32s:%d:%lld", d->channel.data, job->outcome.code, hour);
        snprintf(title, title_bytes, "Messages by %.32s are rejected", d->channel.data);
        snprintf(text, text_bytes, "The provider says: %s (%d).", detail, job->outcome.code);
    }
}

void alerts_note(struct alerts *alerts, const struct job *job, int64_t now_ms)
{
    char key[KEY_BYTES], title[160], text[512];
    if (!job->verdict.alert || str_is(job->delivery.user, DEVELOPERS) || alerts->waiting == WAITING_MAX)
        return;
    describe(job, key, title, sizeof title, text, sizeof text);
    if (!is_repeated(alerts, job->delivery.tenant, key, now_ms))
        add(alerts, job->delivery.tenant, key, title, text);
}

int alerts_waiting(const struct alerts *alerts)
{
    return alerts->waiting;
}

void alerts_args(const struct alerts *alerts, struct db_args *args)
{
    struct db_array tenants, bodies;
    db_array_begin(&tenants, args);
    for (int i = 0; i < alerts->waiting; i++)
        db_array_int(&tenants, alerts->list[i].tenant);
    db_array_end(&tenants);
    db_array_begin(&bodies, args);
    for (int i = 0; i < alerts->waiting; i++)
        db_array_text(&bodies, buf_str(&alerts->list[i].body));
    db_array_end(&bodies);
}

void alerts_told(struct alerts *alerts, int count)
{
    int left = alerts->waiting - count;
    if (count == 0)
        return;                      /* a body would be copied onto itself */
    for (int i = 0; i < left; i++) { /* those that came since */
        buf_clear(&alerts->list[i].body);
        buf_add_str(&alerts->list[i].body, buf_str(&alerts->list[count + i].body));
        alerts->list[i].tenant = alerts->list[count + i].tenant;
    }
    alerts->waiting = left > 0 ? left : 0;
}
