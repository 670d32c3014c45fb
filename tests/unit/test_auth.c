/* Who is asking, as far as it can be told without a database: claims, tickets, what is remembered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "domain/auth_private.h"
#include "format/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t NOW_US = 1800000000LL * 1000000;

static int setup(void **state)
{
    *state = arena_create(1 << 20);
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    arena_destroy(*state);
    return 0;
}

/* ---- claims ---- */

static enum result claims_of(void **state, const char *json, struct auth_claims *claims)
{
    struct error error;
    return auth_claims_read(str_from(json), *state, NOW_US, claims, &error);
}

static void good_claims_are_read(void **state)
{
    struct auth_claims claims;
    assert_int_equal(claims_of(state,
                               "{\"iss\":\"https://a.example\",\"sub\":\"alice@x\",\"iat\":1799999990,"
                               "\"nbf\":1799999990.5,\"exp\":1800000600,\"aud\":[\"b\"],\"x\":{}}",
                               &claims),
                     RESULT_OK);
    assert_string_equal(claims.user, "alice@x");
    assert_string_equal(claims.issuer, "https://a.example");
    assert_true(claims.issued_us == NOW_US - 10000000);
    assert_true(claims.expires_us == NOW_US + 600000000);
}

static void bad_claims_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "\"x\"",
        "{",
        "{\"exp\":1800000600}",
        "{\"sub\":\"a\",\"exp\":1800000600}", /* no issuer */
        "{\"iss\":\"i\",\"exp\":1800000600}", /* no user */
        "{\"iss\":\"i\",\"sub\":\"a\"}",      /* no end */
        "{\"iss\":\"\",\"sub\":\"a\",\"exp\":1800000600}",
        "{\"iss\":7,\"sub\":\"a\",\"exp\":1800000600}",
        "{\"iss\":\"i\",\"sub\":\"\",\"exp\":1800000600}",
        "{\"iss\":\"i\",\"sub\":\"a b\",\"exp\":1800000600}",
        "{\"iss\":\"i\",\"sub\":\"*\",\"exp\":1800000600}",           /* the tenant's service */
        "{\"iss\":\"i\",\"sub\":\"~developers\",\"exp\":1800000600}", /* reserved */
        "{\"iss\":\"i\",\"sub\":[\"a\"],\"exp\":1800000600}",
        "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":\"1800000600\"}",
        "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":-1}",
        "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1e300}",
        "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1799999940}", /* a minute ago */
        "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1800000600,\"nbf\":1800000061}",
        "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1800000600,\"nbf\":null}",
        "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1800000600,\"iat\":1800000061}",
        "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1800000600,\"exp\":1900000000}", /* twice */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct auth_claims claims;
        if (claims_of(state, bad[i], &claims) != RESULT_FORBIDDEN)
            fail_msg("let through: %s", bad[i]);
    }
}

static void clocks_may_differ_by_a_minute(void **state)
{
    struct auth_claims claims;
    assert_int_equal(claims_of(state, "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1799999941}", &claims),
                     RESULT_OK);
    assert_true(claims.expires_us == NOW_US + 1000000); /* used late: it ends with the leeway */
    assert_int_equal(claims_of(state, "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1800000001}", &claims),
                     RESULT_OK);
    assert_true(claims.expires_us == NOW_US + 1000000); /* used in time: it ends when it says */
    assert_int_equal(
        claims_of(state,
                  "{\"iss\":\"i\",\"sub\":\"a\",\"exp\":1800000600,\"nbf\":1800000060,\"iat\":1800000060}",
                  &claims),
        RESULT_OK);
}

static void a_name_too_long_for_us_is_refused(void **state)
{
    char json[400], name[AUTH_ISSUER_BYTES + 2];
    struct auth_claims claims;
    memset(name, 'i', sizeof name);
    name[AUTH_ISSUER_BYTES + 1] = '\0';
    snprintf(json, sizeof json, "{\"iss\":\"%s\",\"sub\":\"a\",\"exp\":1800000600}", name);
    assert_int_equal(claims_of(state, json, &claims), RESULT_FORBIDDEN);
    name[AUTH_ISSUER_BYTES] = '\0';
    snprintf(json, sizeof json, "{\"iss\":\"%s\",\"sub\":\"a\",\"exp\":1800000600}", name);
    assert_int_equal(claims_of(state, json, &claims), RESULT_OK);
}

static void the_issuer_is_found_before_the_signature_is_checked(void **state)
{
    char issuer[AUTH_ISSUER_BYTES + 1];
    struct error error;
    struct buf token = BUF_INIT(512);
    buf_add_text(&token, "e30.");
    text_base64url(&token, "{\"iss\":\"https://a\"}", 19);
    buf_add_text(&token, ".c2ln");
    assert_int_equal(auth_claims_issuer(buf_str(&token), *state, issuer, &error), RESULT_OK);
    assert_string_equal(issuer, "https://a");
    buf_free(&token);
    static const char *const bad[] = {
        "", ".", "..", "a", "a.b", "e30.e30.x", "e30.!!.x", "e30.W10.x", "e30.eyJpc3MiOjF9.x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (auth_claims_issuer(str_from(bad[i]), *state, issuer, &error) != RESULT_INVALID)
            fail_msg("let through: %s", bad[i]);
}

/* The way that auth.c goes: the algorithm is the key's, never the token's. */
static void a_verified_token_gives_its_claims_and_a_changed_one_none(void **state)
{
    static const char secret[] = "0123456789abcdef0123456789abcdef";
    struct jws_key *key;
    struct error error;
    struct buf token = BUF_INIT(1024);
    struct str payload;
    struct auth_claims claims;
    assert_int_equal(jws_key_load(JWS_HS256, STR(secret), &key, &error), RESULT_OK);
    assert_int_equal(
        jws_sign(key, "", STR("{\"iss\":\"i\",\"sub\":\"alice\",\"exp\":1800000600}"), &token, &error),
        RESULT_OK);
    assert_int_equal(jws_verify(key, buf_str(&token), *state, &payload, &error), RESULT_OK);
    assert_int_equal(auth_claims_read(payload, *state, NOW_US, &claims, &error), RESULT_OK);
    assert_string_equal(claims.user, "alice");
    for (size_t i = 0; i < token.bytes; i++) {
        char was = token.data[i];
        token.data[i] = was == 'A' ? 'B' : 'A';
        bool last_of_signature = i + 1 == token.bytes; /* its lowest two bits mean nothing */
        if (!last_of_signature && jws_verify(key, buf_str(&token), *state, &payload, &error) == RESULT_OK)
            fail_msg("a token with byte %zu changed was believed", i);
        token.data[i] = was;
    }
    buf_free(&token);
    jws_key_free(key);
}

/* ---- tickets ---- */

struct keys {
    char path[64];
    struct keyring *ring;
};

static void keys_make(struct keys *keys)
{
    struct error error;
    snprintf(keys->path, sizeof keys->path, "/tmp/belfry-auth-%d", (int)getpid());
    unlink(keys->path);
    assert_int_equal(keyring_create(keys->path, &error), RESULT_OK);
    assert_int_equal(keyring_load(keys->path, &keys->ring, &error), RESULT_OK);
    unlink(keys->path);
}

static struct auth_identity user_of(const char *user)
{
    struct auth_identity identity = {
        .kind = AUTH_USER, .tenant = 7, .issuer = "https://a", .issued_us = NOW_US - 5};
    snprintf(identity.user, sizeof identity.user, "%s", user);
    return identity;
}

static void a_ticket_says_whose_stream_it_opens_until_when(void **state)
{
    (void)state;
    struct keys keys;
    struct error error;
    char ticket[TICKET_BYTES_MAX], issuer[AUTH_ISSUER_BYTES + 1], feeds[256];
    struct auth_identity alice = user_of("alice"), found;
    keys_make(&keys);
    assert_int_equal(auth_ticket_write(keys.ring, &alice, STR("inbox"), NOW_US + 1000, ticket, &error),
                     RESULT_OK);
    assert_int_equal(auth_ticket_read(keys.ring, str_from(ticket), NOW_US, &found, issuer, feeds, &error),
                     RESULT_OK);
    assert_int_equal(found.kind, AUTH_USER);
    assert_int_equal(found.tenant, 7);
    assert_string_equal(found.user, "alice");
    assert_string_equal(issuer, "https://a");
    assert_string_equal(feeds, "inbox");
    assert_true(found.expires_us == NOW_US + 1000 && found.issued_us == alice.issued_us);
    assert_int_equal(
        auth_ticket_read(keys.ring, str_from(ticket), NOW_US + 1000, &found, issuer, feeds, &error),
        RESULT_FORBIDDEN);
    keyring_free(keys.ring);
}

static void a_ticket_that_was_changed_is_refused(void **state)
{
    (void)state;
    struct keys keys;
    struct error error;
    char ticket[TICKET_BYTES_MAX], issuer[AUTH_ISSUER_BYTES + 1], feeds[256];
    struct auth_identity alice = user_of("alice"), found;
    keys_make(&keys);
    assert_int_equal(auth_ticket_write(keys.ring, &alice, STR("inbox"), NOW_US + 1000, ticket, &error),
                     RESULT_OK);
    size_t bytes = strlen(ticket);
    for (size_t i = 0; i + 1 < bytes; i++) {
        char was = ticket[i];
        ticket[i] = was == 'A' ? 'B' : 'A';
        if (auth_ticket_read(keys.ring, str_from(ticket), NOW_US, &found, issuer, feeds, &error) == RESULT_OK)
            fail_msg("a ticket with byte %zu changed was believed", i);
        ticket[i] = was;
    }
    for (size_t cut = 0; cut < bytes - 1; cut++)
        assert_int_equal(
            auth_ticket_read(keys.ring, (struct str){ticket, cut}, NOW_US, &found, issuer, feeds, &error),
            RESULT_FORBIDDEN);
    keyring_free(keys.ring);
}

static void the_longest_names_fit_into_a_ticket(void **state)
{
    (void)state;
    struct keys keys;
    struct error error;
    char user[129], name[AUTH_ISSUER_BYTES + 1], ticket[TICKET_BYTES_MAX];
    memset(user, 'u', 128);
    memset(name, 'i', AUTH_ISSUER_BYTES);
    user[128] = name[AUTH_ISSUER_BYTES] = '\0';
    struct auth_identity identity = user_of(user);
    identity.issuer = name;
    identity.tenant = INT32_MAX;
    keys_make(&keys);
    assert_int_equal(auth_ticket_write(keys.ring, &identity, STR("inbox"), NOW_US, ticket, &error),
                     RESULT_OK);
    keyring_free(keys.ring);
}

/* ---- what is remembered ---- */

static void digest_of(unsigned number, unsigned char digest[SHA256_BYTES])
{
    crypto_sha256((struct str){(const char *)&number, sizeof number}, digest);
}

static void what_was_put_is_found_until_it_is_dropped(void **state)
{
    (void)state;
    struct auth_cache *cache = auth_cache_create();
    struct auth_identity alice = user_of("alice"), found;
    unsigned char digest[SHA256_BYTES], other[SHA256_BYTES];
    digest_of(1, digest);
    digest_of(2, other);
    alice.expires_us = 5;
    alice.checked_us = 6;
    assert_false(auth_cache_find(cache, digest, &found));
    auth_cache_put(cache, digest, &alice);
    assert_true(auth_cache_find(cache, digest, &found));
    assert_string_equal(found.user, "alice");
    assert_int_equal(found.tenant, 7);
    assert_true(found.expires_us == 5 && found.checked_us == 6 && found.issued_us == alice.issued_us);
    assert_false(auth_cache_find(cache, other, &found));
    alice.tenant = 8;
    auth_cache_put(cache, digest, &alice);
    assert_true(auth_cache_find(cache, digest, &found));
    assert_int_equal(found.tenant, 8);
    auth_cache_drop(cache, digest);
    assert_false(auth_cache_find(cache, digest, &found));
    auth_cache_destroy(cache);
}

static void what_was_checked_longest_ago_gives_way(void **state)
{
    (void)state;
    struct auth_cache *cache = auth_cache_create();
    struct auth_identity identity = user_of("u"), found;
    unsigned char digest[SHA256_BYTES];
    int kept = 0;
    for (unsigned i = 0; i < 200000; i++) {
        digest_of(i, digest);
        identity.checked_us = i;
        auth_cache_put(cache, digest, &identity);
    }
    for (unsigned i = 0; i < 200000; i++) {
        digest_of(i, digest);
        kept += auth_cache_find(cache, digest, &found);
    }
    assert_in_range(kept, 10000, 40000); /* bounded, and not forgetful */
    digest_of(199999, digest);
    assert_true(auth_cache_find(cache, digest, &found));
    auth_cache_destroy(cache);
}

static void scopes_have_names(void **state)
{
    (void)state;
    assert_int_equal(auth_scope_parse(STR("send")), SCOPE_SEND);
    assert_int_equal(auth_scope_parse(STR("send:urgent")), SCOPE_SEND_URGENT);
    assert_int_equal(auth_scope_parse(STR("ops")), SCOPE_OPS);
    assert_int_equal(auth_scope_parse(STR("Send")), 0);
    assert_int_equal(auth_scope_parse(STR_NONE), 0);
}

int main(void)
{
#define WITH_ARENA(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(good_claims_are_read),
        WITH_ARENA(bad_claims_are_refused),
        WITH_ARENA(clocks_may_differ_by_a_minute),
        WITH_ARENA(a_name_too_long_for_us_is_refused),
        WITH_ARENA(the_issuer_is_found_before_the_signature_is_checked),
        WITH_ARENA(a_verified_token_gives_its_claims_and_a_changed_one_none),
        WITH_ARENA(a_ticket_says_whose_stream_it_opens_until_when),
        WITH_ARENA(a_ticket_that_was_changed_is_refused),
        WITH_ARENA(the_longest_names_fit_into_a_ticket),
        WITH_ARENA(what_was_put_is_found_until_it_is_dropped),
        WITH_ARENA(what_was_checked_longest_ago_gives_way),
        WITH_ARENA(scopes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
