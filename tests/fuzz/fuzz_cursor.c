/* Cursors: what is read is written as the very same text (one spelling), and the encodings below agree. */
#include "format/cursor.h"
#include "fuzz.h"

static void check_feeds(struct str text)
{
    struct cursor cursor;
    if (!cursor_parse(text, &cursor))
        return;
    struct buf out = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    PROMISE(cursor.count >= 0 && cursor.count <= CURSOR_FEEDS_MAX);
    for (int i = 0; i < cursor.count; i++) {
        PROMISE(cursor.places[i].rev >= 0 && cursor.places[i].feed.bytes > 0);
        PROMISE(cursor_find(&cursor, cursor.places[i].feed) == &cursor.places[i]);
    }
    cursor_write(&out, &cursor);
    PROMISE(buf_ok(&out) && str_equal(buf_str(&out), text));
    buf_free(&out);
}

static void check_pages(struct str text)
{
    struct buf out = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    int64_t number, again;
    struct uuid id;
    if (cursor_parse_page(text, 'd', &number)) {
        cursor_write_page(&out, 'd', number);
        PROMISE(cursor_parse_page(buf_str(&out), 'd', &again) && again == number);
    }
    PROMISE(!cursor_parse_page_uuid(text, 'd', &id) || !cursor_parse_page(text, 'd', &number));
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct str text = {(const char *)data, bytes};
    check_feeds(text);
    check_pages(text);
    /* The same bytes behind their encoding, so that a search need not learn base64 first. */
    struct buf encoded = BUF_INIT(CURSOR_TEXT_BYTES_MAX);
    text_base64url(&encoded, data, bytes);
    if (buf_ok(&encoded)) {
        check_feeds(buf_str(&encoded));
        check_pages(buf_str(&encoded));
    }
    buf_free(&encoded);
    return 0;
}
