/* Building e-mail messages. Pure; what the values hold cannot change the structure. */
#include "worker/providers/mime.h"
#include "format/text.h"
#include <string.h>
#include <time.h>

enum {
    LINE_MAX = 76,         /* of encoded text, RFC 2045 section 6.7 */
    PLAIN_HEADER_MAX = 60, /* what needs no folding even after a long header name */
    WORD_BYTES_MAX = 39    /* in an encoded word: 64 characters, which fit on a line after "Subject: " */
};

/* ---- headers ---- */

static bool is_plain(struct str value)
{
    if (value.bytes > PLAIN_HEADER_MAX)
        return false;
    for (size_t i = 0; i < value.bytes; i++) {
        if (value.data[i] < ' ' || value.data[i] > '~')
            return false;
        if (value.data[i] == '=' && i + 1 < value.bytes && value.data[i + 1] == '?')
            return false;
    }
    return true;
}

/* Encoded words (RFC 2047), each on its own line, never splitting a character. */
static void write_words(struct buf *out, struct str value)
{
    while (value.bytes) {
        struct str part = str_utf8_cut(value, WORD_BYTES_MAX);
        if (part.bytes == 0) /* no UTF-8 */
            return;
        char clean[WORD_BYTES_MAX];
        for (size_t i = 0; i < part.bytes; i++)
            clean[i] = (unsigned char)part.data[i] < ' ' || part.data[i] == 0x7f ? ' ' : part.data[i];
        buf_add_text(out, "=?UTF-8?B?");
        text_base64(out, clean, part.bytes);
        buf_add_text(out, "?=");
        value.data += part.bytes;
        value.bytes -= part.bytes;
        if (value.bytes)
            buf_add_text(out, "\r\n ");
    }
}

void mime_header_text(struct buf *out, const char *name, struct str value)
{
    buf_add_text(out, name);
    buf_add_text(out, ": ");
    if (is_plain(value))
        buf_add_str(out, value);
    else
        write_words(out, value);
    buf_add_text(out, "\r\n");
}

static void write_quoted(struct buf *out, struct str value)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < value.bytes; i++) {
        if (value.data[i] == '"' || value.data[i] == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, value.data[i]);
    }
    buf_add_char(out, '"');
}

static void header_mailbox(struct buf *out, const char *name, struct str display, struct str email)
{
    buf_add_text(out, name);
    buf_add_text(out, ": ");
    if (display.bytes) {
        if (is_plain(display))
            write_quoted(out, display);
        else
            write_words(out, display);
        buf_add_text(out, "\r\n ");
    }
    buf_add_char(out, '<');
    for (size_t i = 0; i < email.bytes;
         i++) /* checked when it was stored; nothing gets through here in any case */
        if (email.data[i] > ' ' && email.data[i] < 0x7f && email.data[i] != '<' && email.data[i] != '>')
            buf_add_char(out, email.data[i]);
    buf_add_text(out, ">\r\n");
}

/* RFC 5322 section 3.3, in UTC; the words do not depend on a locale. */
static void header_date(struct buf *out, int64_t us)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm = {0};
    gmtime_r(&seconds, &tm);
    buf_printf(out, "Date: %.3s, %d %.3s %d %02d:%02d:%02d +0000\r\n", days + 3 * tm.tm_wday, tm.tm_mday,
               months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* ---- bodies ---- */

static bool is_literal(char c)
{
    return c >= ' ' && c <= '~' && c != '=';
}

void mime_quoted_printable(struct buf *out, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t column = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        bool line_end = i + 1 == text.bytes || text.data[i + 1] == '\n' || text.data[i + 1] == '\r';
        if (c == '\r' && i + 1 < text.bytes && text.data[i + 1] == '\n')
            continue;
        if (c == '\n') {
            buf_add_text(out, "\r\n");
            column = 0;
            continue;
        }
        bool literal = is_literal(c) && !(c == ' ' && line_end);
        if (column + (literal ? 1 : 3) > LINE_MAX - 1) { /* room for the soft break's "=" */
            buf_add_text(out, "=\r\n");
            column = 0;
        }
        if (literal) {
            buf_add_char(out, c);
            column++;
        } else {
            const char hex[] = {'=', digits[(unsigned char)c >> 4], digits[(unsigned char)c & 15]};
            buf_add(out, hex, sizeof hex);
            column += sizeof hex;
        }
    }
    if (column)
        buf_add_text(out, "\r\n");
}

static void write_part(struct buf *out, struct str boundary, const char *type, struct str text)
{
    buf_printf(out, "--=_" STR_FMT "\r\nContent-Type: %s; charset=utf-8\r\n", STR_ARG(boundary), type);
    buf_add_text(out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    mime_quoted_printable(out, text);
}

void mime_write(struct buf *out, const struct mime_message *m)
{
    header_mailbox(out, "From", m->from_name, m->from_email);
    header_mailbox(out, "To", m->to_name, m->to_email);
    mime_header_text(out, "Subject", m->subject);
    header_date(out, m->date_us);
    buf_printf(out, "Message-ID: <" STR_FMT ">\r\n", STR_ARG(m->message_id));
    buf_add_text(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
    /* "=_" cannot occur in quoted-printable text, so no part can hold its boundary */
    buf_printf(out, "Content-Type: multipart/alternative;\r\n boundary=\"=_" STR_FMT "\"\r\n\r\n",
               STR_ARG(m->boundary));
    write_part(out, m->boundary, "text/plain", m->text);
    write_part(out, m->boundary, "text/html", m->html);
    buf_printf(out, "--=_" STR_FMT "--\r\n", STR_ARG(m->boundary));
}
