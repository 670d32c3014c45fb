/* JSON of polls, events of streams. */
#include "handlers/poll_answer.h"
#include "core/clock.h"
#include "format/cursor.h"
#include "format/json.h"

enum { LOADED_PERCENT = 80, LOADED_EXTRA_MS = 8000 };

static void write_cursor(struct buf *out, const struct poll_feed *feeds, int count)
{
    struct cursor cursor = {.issued_s = clock_now_us() / 1000000, .count = count};
    for (int i = 0; i < count; i++)
        cursor.places[i] =
            (struct cursor_place){str_from(feeds[i].name), feeds[i].place.epoch, feeds[i].place.rev};
    cursor_write(out, &cursor);
}

void poll_answer_write(struct buf *out, const struct poll_feed *feeds, int count, struct str cursor,
                       bool more, int poll_after_ms)
{
    buf_add_str(out, STR("{\"feeds\":{"));
    bool first = true;
    for (int i = 0; i < count; i++) {
        if (!str_is_set(feeds[i].json))
            continue;
        buf_add_text(out, first ? "\"" : ",\"");
        buf_add_text(out, feeds[i].name);
        buf_add_str(out, STR("\":"));
        buf_add_str(out, feeds[i].json);
        first = false;
    }
    buf_add_str(out, STR("},\"cursor\":\""));
    if (str_is_set(cursor))
        buf_add_str(out, cursor);
    else
        write_cursor(out, feeds, count);
    buf_add_text(out, more ? "\",\"more\":true,\"pollAfterMs\":" : "\",\"more\":false,\"pollAfterMs\":");
    buf_add_int(out, poll_after_ms);
    buf_add_char(out, '}');
}

void poll_answer_event(struct buf *out, const struct poll_feed *feeds, int count, bool more,
                       int poll_after_ms)
{
    buf_add_str(out, STR("id: "));
    size_t from = out->bytes;
    write_cursor(out, feeds, count);
    struct buf cursor = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    if (buf_ok(out))
        buf_add(&cursor, out->data + from, out->bytes - from);
    buf_add_str(out, STR("\nevent: update\ndata: "));
    poll_answer_write(out, feeds, count, buf_str(&cursor), more, poll_after_ms);
    buf_add_str(out, STR("\n\n"));
    buf_free(&cursor);
}

void poll_answer_end(struct buf *out, const char *reason)
{
    buf_printf(out, "event: end\ndata: {\"reason\":\"%s\"}\n\n", reason);
}

int poll_answer_pace(enum poll_activity activity, int load)
{
    static const struct {
        int least_ms, spread_ms;
    } paces[] = {[POLL_ACTIVE] = {900, 200}, [POLL_ORDINARY] = {2000, 1000}, [POLL_QUIET] = {5000, 5000}};
    int ms = paces[activity].least_ms + (int)clock_jitter((uint32_t)paces[activity].spread_ms);
    if (load > LOADED_PERCENT)
        ms += LOADED_EXTRA_MS * (load - LOADED_PERCENT) / (100 - LOADED_PERCENT);
    return ms;
}
