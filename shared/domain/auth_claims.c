/*
 * What a user token says (RFC 7519), read without believing more than has been checked: the issuer's name
 * alone before the signature, everything else after it. Pure: no clock, no database.
 *
 * To respect one more claim: read it in auth_claims_read(), keep it in struct auth_claims, test it in
 * test_auth.c.
 */
#include "core/limits.h"
#include "domain/auth_private.h"
#include "format/check.h"
#include "format/json.h"
#include "format/text.h"
#include <math.h>
#include <string.h>

static enum result refuse(struct error *error, const char *why)
{
    return error_set(error, RESULT_FORBIDDEN, "the token %s", why);
}

/* RFC 7519 NumericDate: seconds since 1970, maybe with a fraction. */
static bool read_date(const json_t *value, int64_t *us)
{
    double seconds = json_number_value(value);
    if (!json_is_number(value) || !isfinite(seconds) || seconds < 0 || seconds > 253402300799.0)
        return false;
    *us = (int64_t)(seconds * 1000000.0);
    return true;
}

static bool copy_text(char *out, size_t bytes, struct str s)
{
    if (!str_is_set(s) || s.bytes == 0 || s.bytes >= bytes)
        return false;
    memcpy(out, s.data, s.bytes);
    out[s.bytes] = '\0';
    return true;
}

enum result auth_claims_issuer(struct str token, struct arena *arena, char issuer[AUTH_ISSUER_BYTES + 1],
                               struct error *error)
{
    struct str rest, ignored;
    str_cut(token, '.', &rest);
    struct str encoded = str_cut(rest, '.', &ignored);
    if (!str_is_set(rest) || !str_is_set(ignored) || token.bytes > LIMIT_HEADER_BYTES)
        return error_set(error, RESULT_INVALID, "the token is no JSON Web Token");
    size_t bytes = 0, room = encoded.bytes;
    char *decoded = arena_alloc(arena, room + 1);
    if (decoded == NULL)
        return error_set(error, RESULT_FAILED, "could not read a token: out of memory");
    json_t *claims = NULL;
    struct error detail;
    if (!text_from_base64url(encoded, decoded, room, &bytes) ||
        json_parse(arena, (struct str){decoded, bytes}, &claims, &detail) != RESULT_OK ||
        !json_is_object(claims))
        return error_set(error, RESULT_INVALID, "the token is no JSON Web Token");
    if (!copy_text(issuer, AUTH_ISSUER_BYTES + 1, json_str(json_object_get(claims, "iss"))))
        return error_set(error, RESULT_INVALID, "the token names no issuer (iss)");
    return RESULT_OK;
}

static enum result read_times(const json_t *tree, int64_t now_us, struct auth_claims *claims,
                              struct error *error)
{
    const int64_t leeway_us = AUTH_LEEWAY_S * 1000000LL;
    const json_t *nbf = json_object_get(tree, "nbf"), *iat = json_object_get(tree, "iat");
    int64_t not_before_us;
    if (!read_date(json_object_get(tree, "exp"), &claims->expires_us))
        return refuse(error, "does not say when it expires (exp)");
    if (now_us >= claims->expires_us + leeway_us)
        return refuse(error, "has expired");
    /* A stream opened while the token is good ends with it; the leeway is for those who come just after. */
    if (now_us >= claims->expires_us)
        claims->expires_us += leeway_us;
    if (nbf != NULL && (!read_date(nbf, &not_before_us) || not_before_us > now_us + leeway_us))
        return refuse(error, "is not valid yet (nbf)");
    claims->issued_us = 0;
    if (iat != NULL && (!read_date(iat, &claims->issued_us) || claims->issued_us > now_us + leeway_us))
        return refuse(error, "was issued in the future (iat)");
    return RESULT_OK;
}

enum result auth_claims_read(struct str payload, struct arena *arena, int64_t now_us,
                             struct auth_claims *claims, struct error *error)
{
    json_t *tree = NULL;
    struct error detail;
    *claims = (struct auth_claims){0};
    if (json_parse(arena, payload, &tree, &detail) != RESULT_OK || !json_is_object(tree))
        return refuse(error, "holds no JSON object");
    if (!copy_text(claims->issuer, sizeof claims->issuer, json_str(json_object_get(tree, "iss"))))
        return refuse(error, "names no issuer (iss)");
    struct str sub = json_str(json_object_get(tree, "sub"));
    /* Ids that begin with ~ are Belfry's own mailboxes: no token speaks for them. */
    if (!str_is_set(sub) || !check_id(sub) || sub.data[0] == '~' ||
        !copy_text(claims->user, sizeof claims->user, sub))
        return refuse(error, "names no valid user (sub)");
    return read_times(tree, now_us, claims, error);
}
