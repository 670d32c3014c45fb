/*
 * E-mail through a submission server: RFC 6409, 8314 (TLS), 4954 (authentication); libcurl speaks it and
 * keeps connections. One transaction for each message.
 *
 * The Message-ID is made of the delivery's id and is the same on every try: it is the handle by which a
 * receiver may notice a repeat. The final reply may take ten minutes (RFC 5321 section 4.5.3.2.6), and giving
 * up before it is the one unknown outcome: it is tried again once.
 */
#include "core/buf.h"
#include "format/json.h"
#include "format/text.h"
#include "worker/providers/all.h"
#include "worker/providers/mime.h"
#include <stdio.h>
#include <string.h>

enum {
    TRANSFER_MS = 12 * 60000, /* ten minutes for the final reply, two for the rest */
    CONNECT_MS = 15000,
    IN_FLIGHT_MAX = 20,   /* connections to one submission server */
    GREYLIST_MS = 300000, /* a server that greylists wants five minutes */
    TEXT_BYTES_MAX = 65536,
    MESSAGE_BYTES_MAX = 262144
};

/* ---- text and HTML ---- */

/* Calls back for every action that has a link, and for the notification's own. */
static void each_link(const struct delivery *d, struct arena *arena, struct buf *out,
                      void (*write)(struct buf *out, struct str label, struct str url))
{
    json_t *tree;
    if (str_is_set(d->url))
        write(out, STR("Open"), d->url);
    if (!str_is_set(d->actions) || json_parse(arena, d->actions, &tree, NULL) != RESULT_OK)
        return;
    for (size_t i = 0; i < json_array_size(tree); i++) {
        const json_t *action = json_array_get(tree, i);
        struct str url = json_str(json_object_get(action, "url"));
        if (str_is_set(url))
            write(out, json_str(json_object_get(action, "label")), url);
    }
}

static void link_text(struct buf *out, struct str label, struct str url)
{
    buf_printf(out, STR_FMT ": " STR_FMT "\n", STR_ARG(label), STR_ARG(url));
}

static void link_html(struct buf *out, struct str label, struct str url)
{
    buf_add_text(out, "<p><a href=\"");
    text_html(out, url);
    buf_add_text(out, "\">");
    text_html(out, label);
    buf_add_text(out, "</a></p>\n");
}

static void write_text(struct buf *out, const struct delivery *d, struct arena *arena)
{
    buf_add_str(out, d->title);
    buf_add_text(out, "\n\n");
    if (d->body.bytes) {
        buf_add_str(out, d->body);
        buf_add_text(out, "\n\n");
    }
    each_link(d, arena, out, link_text);
}

static void html_lines(struct buf *out, struct str text)
{
    while (str_is_set(text)) {
        struct str line = str_cut(text, '\n', &text);
        text_html(out, line);
        if (str_is_set(text))
            buf_add_text(out, "<br>\n");
    }
}

static void write_html(struct buf *out, const struct delivery *d, struct arena *arena)
{
    buf_add_text(out, "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>");
    text_html(out, d->title);
    buf_add_text(out, "</title></head>\n<body style=\"font-family:sans-serif;max-width:36em\">\n<h2>");
    text_html(out, d->title);
    buf_add_text(out, "</h2>\n<p>");
    html_lines(out, d->body);
    buf_add_text(out, "</p>\n");
    each_link(d, arena, out, link_html);
    buf_add_text(out, "</body></html>\n");
}

/* ---- request ---- */

static struct str write_message(const struct delivery *d, const struct account_smtp *smtp,
                                struct arena *arena)
{
    struct buf text = BUF_INIT(TEXT_BYTES_MAX), html = BUF_INIT(TEXT_BYTES_MAX),
               out = BUF_INIT(MESSAGE_BYTES_MAX);
    write_text(&text, d, arena);
    write_html(&html, d, arena);
    struct str id = str_from(
        arena_printf(arena, STR_FMT ".%d@" STR_FMT, STR_ARG(d->notification), d->n, STR_ARG(smtp->domain)));
    const struct mime_message message = {.from_name = smtp->from_name,
                                         .from_email = smtp->from_email,
                                         .to_name = d->address.name,
                                         .to_email = d->address.email,
                                         .subject = d->title,
                                         .message_id = id,
                                         .boundary = d->notification,
                                         .date_us = d->now_us,
                                         .text = buf_str(&text),
                                         .html = buf_str(&html)};
    mime_write(&out, &message);
    bool whole = buf_ok(&text) && buf_ok(&html) && buf_ok(&out);
    struct str written = whole ? arena_str(arena, buf_str(&out)) : STR_NONE;
    buf_free(&text);
    buf_free(&html);
    buf_free(&out);
    return written;
}

static enum result build(const struct delivery *d, const struct account *account, struct arena *arena,
                         struct http_request *request, struct error *error)
{
    const struct account_smtp *smtp = &account->config.smtp;
    const char *scheme = smtp->tls == ACCOUNT_TLS_IMPLICIT ? "smtps" : "smtp";
    bool ip6 = smtp->host.bytes && memchr(smtp->host.data, ':', smtp->host.bytes) != NULL;
    *request = (struct http_request){
        .kind = HTTP_SMTP,
        .url = str_from(arena_printf(arena, ip6 ? "%s://[" STR_FMT "]:%d" : "%s://" STR_FMT ":%d", scheme,
                                     STR_ARG(smtp->host), smtp->port)),
        .body = write_message(d, smtp, arena),
        .timeout_ms = TRANSFER_MS,
        .connect_timeout_ms = CONNECT_MS,
        .mail_from = smtp->from_email,
        .mail_to = d->address.email,
        .user = smtp->user,
        .password = smtp->password,
        .starttls = smtp->tls == ACCOUNT_TLS_STARTTLS,
    };
    if (!str_is_set(request->url) || !str_is_set(request->body))
        return error_set(error, RESULT_FAILED, "could not build the message: no memory");
    return RESULT_OK;
}

/* ---- replies ---- */

static bool is_reply(struct str line, int status)
{
    char code[16];
    snprintf(code, sizeof code, "%03d", status);
    return line.bytes >= 3 && (status == 0 || memcmp(line.data, code, 3) == 0);
}

/* The last line of the reply that ended the transfer, after its code: "5.1.1 No such user". Those that follow
 * are the server's farewell. */
static struct str last_reply(const struct http_answer *answer)
{
    struct str rest = answer->header_block, last = STR_NONE;
    while (rest.bytes) {
        struct str line = str_cut(rest, '\n', &rest);
        if (line.bytes && line.data[line.bytes - 1] == '\r')
            line.bytes--;
        if (is_reply(line, answer->status))
            last = line;
    }
    return last.bytes > 4 ? (struct str){last.data + 4, last.bytes - 4} : STR_NONE;
}

/* Servers like to repeat the address: of its local part, only the first character is kept. */
static void mask_addresses(char *text)
{
    static const char local[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+/=?^_`{|}~-";
    for (char *at = strchr(text, '@'); at; at = strchr(at + 1, '@'))
        for (char *c = at - 1; c > text && strchr(local, *c) && strchr(local, c[-1]); c--)
            *c = '*';
}

/* An enhanced status code (RFC 3463) at the beginning: class * 10000 + subject * 1000 + detail; 0 if there is
 * none. */
static int enhanced_code(struct str reply)
{
    struct str rest;
    long long class, subject, detail;
    struct str word = str_cut(reply, ' ', &rest);
    struct str first = str_cut(word, '.', &word), second = str_cut(word, '.', &word);
    if (!str_to_int(first, 2, 5, &class) || !str_to_int(second, 0, 9, &subject) ||
        !str_to_int(word, 0, 999, &detail))
        return 0;
    return (int)(class * 10000 + subject * 1000 + detail);
}

enum smtp_meaning { MEANS_GONE, MEANS_REJECTED, MEANS_POLICY, MEANS_OURS, MEANS_UNAUTHORIZED, MEANS_NOTHING };

static enum smtp_meaning enhanced_meaning(int code)
{
    static const struct {
        int code;
        enum smtp_meaning meaning;
    } table[] = {
        {51001, MEANS_GONE},         {51002, MEANS_GONE},         {51003, MEANS_GONE},
        {51006, MEANS_GONE},         {51010, MEANS_GONE},         {52001, MEANS_GONE},
        {51008, MEANS_POLICY},       {52002, MEANS_REJECTED},     {52003, MEANS_REJECTED},
        {53004, MEANS_REJECTED},     {57008, MEANS_UNAUTHORIZED}, {57009, MEANS_UNAUTHORIZED},
        {57011, MEANS_UNAUTHORIZED},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].code == code)
            return table[i].meaning;
    if (code / 1000 == 57)
        return MEANS_POLICY;
    return code / 1000 == 56 ? MEANS_REJECTED : MEANS_NOTHING;
}

/* Permanent replies without an enhanced code that says more. Before the message was written, 550, 551 and 553
 * are about the recipient; after it, about the content. */
static enum smtp_meaning plain_meaning(int status, bool after_data)
{
    if (status == 550 || status == 551 || status == 553)
        return after_data ? MEANS_POLICY : MEANS_GONE;
    if (status == 556)
        return MEANS_GONE;
    return (status >= 500 && status <= 504) || status == 555 ? MEANS_OURS : MEANS_REJECTED;
}

/* RFC 4954 section 6: whatever enhanced code comes with it. */
static bool is_about_authentication(int status)
{
    return status == 530 || status == 534 || status == 535 || status == 538;
}

static void classify_permanent(const struct http_answer *answer, struct str reply, struct outcome *outcome)
{
    static const enum outcome_kind kinds[] = {OUTCOME_GONE, OUTCOME_REJECTED, OUTCOME_REJECTED,
                                              OUTCOME_REJECTED, OUTCOME_UNAUTHORIZED};
    enum smtp_meaning meaning =
        is_about_authentication(answer->status) ? MEANS_UNAUTHORIZED : enhanced_meaning(enhanced_code(reply));
    if (meaning == MEANS_NOTHING)
        meaning = plain_meaning(answer->status, answer->smtp_after_data);
    outcome_set(outcome, kinds[meaning], answer->status, reply);
    outcome->alert = meaning == MEANS_POLICY || meaning == MEANS_OURS;
}

static void classify_transient(const struct http_answer *answer, struct str reply, struct outcome *outcome)
{
    int code = enhanced_code(reply);
    bool policy = code / 1000 == 47 && code != 47000;
    bool authentication = answer->status == 432;
    outcome_set(outcome,
                authentication ? OUTCOME_UNAUTHORIZED
                : policy       ? OUTCOME_THROTTLED
                               : OUTCOME_RETRY,
                answer->status, reply);
    if (answer->status == 450 || answer->status == 451 || policy)
        outcome->retry_after_ms = GREYLIST_MS;
}

static void classify(const struct http_answer *answer, struct outcome *outcome)
{
    if (answer->failure == HTTP_BAD_CERTIFICATE) {
        outcome_set(outcome, OUTCOME_UNAUTHORIZED, 0, answer->detail);
        return;
    }
    if (outcome_from_failure(answer, !answer->smtp_after_data, outcome))
        return;
    struct str reply = last_reply(answer);
    if (answer->status >= 200 && answer->status <= 299) {
        outcome_set(outcome, OUTCOME_SENT, answer->status, STR_NONE);
        outcome_set_id(outcome, reply);
    } else if (answer->status >= 400 && answer->status <= 499) {
        classify_transient(answer, reply, outcome);
    } else if (answer->status >= 500 && answer->status <= 599) {
        classify_permanent(answer, reply, outcome);
    } else {
        outcome_set(outcome, OUTCOME_RETRY, answer->status, STR("the mail server's reply makes no sense"));
    }
    mask_addresses(outcome->detail);
}

const struct provider provider_smtp = {.name = "smtp",
                                       .needs_account = true,
                                       .for_people = true,
                                       .unknown_tries = 2,
                                       .endpoint_in_flight_max = IN_FLIGHT_MAX,
                                       .build = build,
                                       .classify = classify};
