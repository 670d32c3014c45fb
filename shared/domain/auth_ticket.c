/*
 * Stream tickets: what an EventSource shows instead of a token, since it cannot send headers. The text is
 * base64url(lines) "." base64url(MAC); the lines are tenant, user, feeds, issuer, time of the token, expiry.
 * A ticket needs no table: it carries what is checked, and the issuer and the user are looked up again.
 */
#include "domain/auth_private.h"
#include "format/check.h"
#include "format/text.h"
#include <string.h>

enum { TICKET_LINES = 6, TICKET_TEXT_BYTES = 384 };

static void ticket_mac(const struct keyring *ring, struct str text, unsigned char mac[SHA256_BYTES])
{
    keyring_auth_mac(ring, STR("ticket:1"), text, mac);
}

enum result auth_ticket_write(const struct keyring *ring, const struct auth_identity *identity,
                              struct str feeds, int64_t expires_us, char out[TICKET_BYTES_MAX],
                              struct error *error)
{
    unsigned char mac[SHA256_BYTES];
    struct buf text = BUF_INIT(TICKET_TEXT_BYTES), ticket = BUF_INIT(TICKET_BYTES_MAX - 1);
    buf_printf(&text, "%d\n%s\n" STR_FMT "\n%s\n%lld\n%lld", identity->tenant, identity->user, STR_ARG(feeds),
               identity->issuer == NULL ? "" : identity->issuer, (long long)identity->issued_us,
               (long long)expires_us);
    if (buf_ok(&text)) {
        ticket_mac(ring, buf_str(&text), mac);
        text_base64url(&ticket, text.data, text.bytes);
        buf_add_char(&ticket, '.');
        text_base64url(&ticket, mac, sizeof mac);
    }
    bool fits = buf_ok(&text) && buf_ok(&ticket);
    if (fits) {
        memcpy(out, ticket.data, ticket.bytes);
        out[ticket.bytes] = '\0';
    }
    buf_free(&text);
    buf_free(&ticket);
    return fits ? RESULT_OK
                : error_set(error, RESULT_INVALID, "could not make a ticket: the names in it are too long");
}

static enum result refuse(struct error *error)
{
    return error_set(error, RESULT_FORBIDDEN, "the ticket is not valid or has expired");
}

static bool copy_line(char *out, size_t bytes, struct str line)
{
    if (line.bytes >= bytes)
        return false;
    memcpy(out, line.data, line.bytes);
    out[line.bytes] = '\0';
    return true;
}

static bool read_lines(struct str text, struct auth_identity *identity, char *issuer, char *feeds)
{
    struct str lines[TICKET_LINES], rest = text;
    for (int i = 0; i < TICKET_LINES; i++) {
        if (!str_is_set(rest))
            return false;
        lines[i] = str_cut(rest, '\n', &rest);
    }
    long long tenant, issued, expires;
    if (!str_to_int(lines[0], 1, INT32_MAX, &tenant) || !check_id(lines[1]) ||
        !str_to_int(lines[4], 0, INT64_MAX, &issued) || !str_to_int(lines[5], 0, INT64_MAX, &expires))
        return false;
    identity->kind = AUTH_USER;
    identity->tenant = (int)tenant;
    identity->issued_us = issued;
    identity->expires_us = expires;
    return copy_line(identity->user, sizeof identity->user, lines[1]) && copy_line(feeds, 256, lines[2]) &&
           copy_line(issuer, AUTH_ISSUER_BYTES + 1, lines[3]);
}

enum result auth_ticket_read(const struct keyring *ring, struct str ticket, int64_t now_us,
                             struct auth_identity *identity, char issuer[AUTH_ISSUER_BYTES + 1],
                             char feeds[256], struct error *error)
{
    char text[TICKET_TEXT_BYTES];
    unsigned char mac[SHA256_BYTES], shown[SHA256_BYTES];
    size_t text_bytes, mac_bytes;
    struct str rest, encoded = str_cut(ticket, '.', &rest);
    *identity = (struct auth_identity){0};
    if (ticket.bytes >= TICKET_BYTES_MAX || !text_from_base64url(encoded, text, sizeof text, &text_bytes) ||
        !str_is_set(rest) || !text_from_base64url(rest, shown, sizeof shown, &mac_bytes) ||
        mac_bytes != sizeof shown)
        return refuse(error);
    ticket_mac(ring, (struct str){text, text_bytes}, mac);
    if (!crypto_equal(mac, shown, sizeof mac) ||
        !read_lines((struct str){text, text_bytes}, identity, issuer, feeds) ||
        identity->expires_us <= now_us)
        return refuse(error);
    return RESULT_OK;
}
