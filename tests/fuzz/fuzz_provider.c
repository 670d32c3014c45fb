/*
 * What comes from outside meets the providers: any answer of any server is classified, with words that may be
 * stored and shown; and any title, name and text makes a mail whose structure is ours.
 * The first two bytes are the status, the third how it ended; the rest is head and words.
 */
#include "fuzz.h"
#include "worker/providers/all.h"
#include "worker/providers/mime.h"
#include <string.h>

static void check_text(const char *text, size_t room)
{
    size_t bytes = strnlen(text, room);
    PROMISE(bytes < room);
    PROMISE(str_is_utf8((struct str){text, bytes}));
    for (size_t i = 0; i < bytes; i++)
        PROMISE((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

static void check_answer(const struct provider *provider, int status, unsigned char how, struct str words)
{
    struct outcome outcome = {.kind = OUTCOME_KINDS};
    const struct http_answer answer = {.failure = (enum http_failure)(how % 5),
                                       .status = status,
                                       .smtp_after_data = (how & 64) != 0,
                                       .header_block = words,
                                       .detail = words};
    provider->classify(&answer, &outcome);
    PROMISE((int)outcome.kind >= 0 && outcome.kind < OUTCOME_KINDS);
    PROMISE(outcome.retry_after_ms >= -1 && outcome.retry_after_ms <= 3600000);
    check_text(outcome.detail, sizeof outcome.detail);
    check_text(outcome.provider_id, sizeof outcome.provider_id);
    if (outcome.kind == OUTCOME_SENT && provider != &provider_null)
        PROMISE(answer.failure == HTTP_ANSWERED && status >= 200 && status <= 299);
}

/* Only these lines may begin in the first column of the head. */
static bool is_known(struct str line)
{
    static const char *const names[] = {"From: ",       "To: ",           "Subject: ",      "Date: ",
                                        "Message-ID: ", "Auto-Submitted", "MIME-Version: ", "Content-Type: "};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_starts(line, names[i]))
            return true;
    return false;
}

static void check_mail(struct str words)
{
    struct buf out = BUF_INIT(16 << 20);
    const struct mime_message message = {.from_name = words,
                                         .from_email = words,
                                         .to_name = words,
                                         .to_email = words,
                                         .subject = words,
                                         .message_id = STR("1@example.com"),
                                         .boundary = STR("b"),
                                         .text = words,
                                         .html = words};
    mime_write(&out, &message);
    PROMISE(buf_ok(&out));
    struct str rest = buf_str(&out);
    int heads = 0, boundaries = 0;
    bool head = true;
    while (rest.bytes) {
        struct str line = str_cut(rest, '\n', &rest);
        PROMISE(line.bytes > 0 && line.data[line.bytes - 1] == '\r');
        line.bytes--;
        for (size_t i = 0; i < line.bytes; i++)
            PROMISE(line.data[i] >= ' ' && line.data[i] <= '~');
        if (head && line.bytes > 0 && line.data[0] != ' ') {
            PROMISE(is_known(line));
            heads++;
        }
        head = head && line.bytes > 0;
        boundaries += str_starts(line, "--=_b");
    }
    PROMISE(heads == 8 && boundaries == 3);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 3)
        return 0;
    int status = (data[0] << 8 | data[1]) % 1000;
    struct str words = {(const char *)data + 3, bytes - 3};
    check_answer(&provider_smtp, status, data[2], words);
    check_answer(&provider_webhook, status, data[2], words);
    check_answer(&provider_webpush, status, data[2], words);
    check_answer(&provider_null, status, data[2], words);
    check_mail(words);
    return 0;
}
