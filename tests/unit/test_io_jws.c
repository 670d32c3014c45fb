/* Signed tokens: the examples of RFC 7515 and RFC 8037, tampered ones, and what must not be accepted as a
 * key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/text.h"
#include "io/crypto.h"
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOE "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define JOE_CLAIMS "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"

/* RFC 7515 A.1 */
#define HS256_SECRET "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
#define HS256_TOKEN                                                                                          \
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." JOE ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
/* A.2 */
#define RS256_PUBLIC                                                                                         \
    "-----BEGIN PUBLIC KEY-----\n"                                                                           \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"                                     \
    "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"                                     \
    "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"                                     \
    "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"                                     \
    "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"                                     \
    "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"                                     \
    "oQIDAQAB\n"                                                                                             \
    "-----END PUBLIC KEY-----\n"
#define RS256_TOKEN                                                                                          \
    "eyJhbGciOiJSUzI1NiJ9." JOE                                                                              \
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"                 \
    "O8W2Fp5jujGbds9uJdbF9CUA"                                                                               \
    "r7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_"           \
    "eSN9383LcOLn6_dO--x"                                                                                    \
    "i12jzDwusC-"                                                                                            \
    "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_Ioyp"   \
    "GlUPQGe77Rw"
/* A.3 */
#define ES256_PUBLIC                                                                                         \
    "-----BEGIN PUBLIC KEY-----\n"                                                                           \
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"                                     \
    "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"                                         \
    "-----END PUBLIC KEY-----\n"
#define ES256_SCALAR "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
#define ES256_TOKEN                                                                                          \
    "eyJhbGciOiJFUzI1NiJ9." JOE                                                                              \
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
/* the same key over `{}`; s begins with a zero byte */
#define ES256_SHORT_TOKEN                                                                                    \
    "eyJhbGciOiJFUzI1NiJ9.e30."                                                                              \
    "3NgwfK99RuXqWYgMxQfKiQ6auOHPdToPC7FVrma2PI8AVgig3rEhZHXipjAtch9ouu8f0RgopglrcuXK8cMaTw"
/* RFC 8037 A.1, A.4 */
#define EDDSA_PRIVATE                                                                                        \
    "-----BEGIN PRIVATE KEY-----\n"                                                                          \
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"                                     \
    "-----END PRIVATE KEY-----\n"
#define EDDSA_PUBLIC                                                                                         \
    "-----BEGIN PUBLIC KEY-----\n"                                                                           \
    "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"                                         \
    "-----END PUBLIC KEY-----\n"
#define EDDSA_TOKEN                                                                                          \
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"                                               \
    ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
/* keys that are too small, or of another kind */
#define RSA_1024                                                                                             \
    "-----BEGIN PUBLIC KEY-----\n"                                                                           \
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCpi8vercseyzmTzrYULseRpRg/\n"                                     \
    "l/ZtT6jPIBQK2A4+njHs7IVKPU2j69sPs9qdnnb7oGmGpJrRgY1yao6sm1Qv9EYz\n"                                     \
    "f43E7RzOkdB9J2XAN1flkxNGdgjKFGMW+ewCkury4PAkkdvFsSHHQLLQESACJQ/u\n"                                     \
    "I+6XzQph7YJYefKjhQIDAQAB\n"                                                                             \
    "-----END PUBLIC KEY-----\n"
#define EC_P384                                                                                              \
    "-----BEGIN PUBLIC KEY-----\n"                                                                           \
    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEy2QDTmZtFwuWd4Rpul7ZtqwYKIqS53rF\n"                                     \
    "piKul5VJCO+OYiINRZhM/BUn4a953mS2lqpNRoL3gdb4msK9j3OLlvAW0UDcqfV7\n"                                     \
    "zAhrkucn31Mry1b3mVIxjTGAuIwdgCO3\n"                                                                     \
    "-----END PUBLIC KEY-----\n"

static struct arena *arena;
static struct error error;

static int set_up(void **state)
{
    (void)state;
    arena = arena_create(1 << 20);
    return arena ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(arena);
    return 0;
}

static struct jws_key *load(enum jws_algorithm algorithm, const char *text)
{
    struct jws_key *key;
    char secret[128];
    size_t bytes = 0;
    struct str s = str_from(text);
    if (algorithm == JWS_HS256) {
        assert_true(text_from_base64url(s, secret, sizeof secret, &bytes));
        s = (struct str){secret, bytes};
    }
    if (jws_key_load(algorithm, s, &key, &error) != RESULT_OK)
        fail_msg("%s", error.text);
    return key;
}

static enum result verify(const struct jws_key *key, const char *token, struct str *payload)
{
    return jws_verify(key, str_from(token), arena, payload, &error);
}

struct example {
    enum jws_algorithm algorithm;
    const char *key, *token, *payload;
};

static const struct example examples[] = {
    {JWS_HS256, HS256_SECRET, HS256_TOKEN, JOE_CLAIMS},
    {JWS_RS256, RS256_PUBLIC, RS256_TOKEN, JOE_CLAIMS},
    {JWS_ES256, ES256_PUBLIC, ES256_TOKEN, JOE_CLAIMS},
    {JWS_ES256, ES256_PUBLIC, ES256_SHORT_TOKEN, "{}"},
    {JWS_EDDSA, EDDSA_PUBLIC, EDDSA_TOKEN, "Example of Ed25519 signing"},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static void the_standards_examples_verify(void **state)
{
    (void)state;
    for (int i = 0; i < EXAMPLES; i++) {
        struct jws_key *key = load(examples[i].algorithm, examples[i].key);
        struct str payload;
        if (verify(key, examples[i].token, &payload) != RESULT_OK)
            fail_msg("example %d: %s", i, error.text);
        assert_true(str_is(payload, examples[i].payload));
        jws_key_free(key);
    }
}

/* The last character of a part may hold bits that decode to nothing, so it is left alone. */
static bool is_last_of_part(const char *token, size_t i)
{
    return token[i] == '.' || token[i + 1] == '.' || token[i + 1] == '\0';
}

static void a_changed_character_anywhere_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < EXAMPLES; i++) {
        struct jws_key *key = load(examples[i].algorithm, examples[i].key);
        char token[1024];
        struct str payload;
        snprintf(token, sizeof token, "%s", examples[i].token);
        for (size_t at = 0; token[at]; at++) {
            char kept = token[at];
            if (is_last_of_part(token, at))
                continue;
            token[at] = kept == 'A' ? 'B' : 'A';
            if (verify(key, token, &payload) == RESULT_OK)
                fail_msg("example %d accepted with character %zu changed", i, at);
            assert_false(str_is_set(payload));
            token[at] = kept;
            arena_reset(arena);
        }
        jws_key_free(key);
    }
}

static void a_token_of_another_algorithm_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < EXAMPLES; i++) {
        struct jws_key *key = load(examples[i].algorithm, examples[i].key);
        for (int other = 0; other < EXAMPLES; other++) {
            struct str payload;
            if (examples[other].algorithm != examples[i].algorithm)
                assert_int_equal(verify(key, examples[other].token, &payload), RESULT_FORBIDDEN);
        }
        jws_key_free(key);
    }
}

/* Makes a token with any header, correctly signed with the secret. */
static char *forge(const char *header, struct str secret)
{
    struct buf token = BUF_INIT(4096);
    unsigned char mac[SHA256_BYTES];
    text_base64url(&token, header, strlen(header));
    buf_add_text(&token, ".e30");
    crypto_hmac_sha256(secret, buf_str(&token), mac);
    buf_add_char(&token, '.');
    text_base64url(&token, mac, sizeof mac);
    char *copy = arena_strdup(arena, buf_str(&token));
    buf_free(&token);
    return copy;
}

static void the_token_never_chooses_the_algorithm(void **state)
{
    (void)state;
    struct str payload, secret = STR("0123456789abcdef0123456789abcdef");
    struct jws_key *shared, *public = load(JWS_RS256, RS256_PUBLIC);
    assert_int_equal(jws_key_load(JWS_HS256, secret, &shared, &error), RESULT_OK);
    assert_int_equal(verify(shared, forge("{\"alg\":\"HS256\"}", secret), &payload), RESULT_OK);
    /* the public key taken for a secret */
    assert_int_equal(verify(public, forge("{\"alg\":\"HS256\"}", STR(RS256_PUBLIC)), &payload),
                     RESULT_FORBIDDEN);
    static const char *const headers[] = {"{\"alg\":\"none\"}",
                                          "{\"alg\":\"None\"}",
                                          "{\"alg\":\"hs256\"}",
                                          "{\"alg\":\"HS512\"}",
                                          "{\"alg\":[\"HS256\"]}",
                                          "{\"typ\":\"JWT\"}",
                                          "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}",
                                          "{\"alg\":\"none\",\"alg\":\"HS256\"}",
                                          "[\"HS256\"]",
                                          "\"HS256\"",
                                          "{\"alg\":\"HS256\"",
                                          ""};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        if (verify(shared, forge(headers[i], secret), &payload) == RESULT_OK)
            fail_msg("accepted header %s", headers[i]);
    assert_int_not_equal(verify(shared, "eyJhbGciOiJub25lIn0.e30.", &payload), RESULT_OK);
    jws_key_free(shared);
    jws_key_free(public);
}

static void what_is_not_three_parts_of_base64url_is_invalid(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ".",
                                      "..",
                                      "a",
                                      "a.b",
                                      HS256_TOKEN ".",
                                      HS256_TOKEN "=",
                                      HS256_TOKEN " ",
                                      " " HS256_TOKEN,
                                      "e30.e30.e30.e30",
                                      "e30.e30.+/+/",
                                      "e30=.e30.e30"};
    struct jws_key *key = load(JWS_HS256, HS256_SECRET);
    struct str payload;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (verify(key, bad[i], &payload) != RESULT_INVALID)
            fail_msg("not invalid: %s", bad[i]);
    jws_key_free(key);
}

static void a_truncated_signature_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < EXAMPLES; i++) {
        struct jws_key *key = load(examples[i].algorithm, examples[i].key);
        const char *dot = strrchr(examples[i].token, '.');
        struct str payload, token = {examples[i].token, (size_t)(dot - examples[i].token) + 1};
        for (; token.bytes < strlen(examples[i].token); token.bytes++)
            assert_int_not_equal(jws_verify(key, token, arena, &payload, &error), RESULT_OK);
        jws_key_free(key);
    }
}

static char *make_rsa_key(void)
{
    EVP_PKEY *pair = EVP_RSA_gen(2048);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL), 1);
    long bytes = BIO_get_mem_data(bio, &text);
    char *copy = arena_strdup(arena, (struct str){text, (size_t)bytes});
    BIO_free(bio);
    EVP_PKEY_free(pair);
    return copy;
}

static void what_is_signed_verifies(void **state)
{
    (void)state;
    unsigned char scalar[P256_SCALAR_BYTES];
    size_t bytes;
    struct jws_key *keys[4];
    assert_true(text_from_base64url(STR(ES256_SCALAR), scalar, sizeof scalar, &bytes));
    keys[0] = load(JWS_HS256, HS256_SECRET);
    keys[1] = load(JWS_RS256, make_rsa_key());
    assert_int_equal(jws_key_from_p256(scalar, &keys[2], &error), RESULT_OK);
    keys[3] = load(JWS_EDDSA, EDDSA_PRIVATE);
    for (int i = 0; i < 4; i++) {
        /* often enough that r or s is short at least once: 2 in 256 */
        for (int round = 0; round < (i == 2 ? 600 : 2); round++) {
            struct buf token = BUF_INIT(4096);
            struct str payload;
            assert_int_equal(jws_sign(keys[i], ",\"kid\":\"k1\"", STR("{\"sub\":\"jane\"}"), &token, &error),
                             RESULT_OK);
            assert_int_equal(jws_verify(keys[i], buf_str(&token), arena, &payload, &error), RESULT_OK);
            assert_true(str_is(payload, "{\"sub\":\"jane\"}"));
            if (i == 2)
                assert_int_equal(token.bytes - (size_t)(strrchr(buf_cstr(&token), '.') + 1 - token.data), 86);
            buf_free(&token);
            arena_reset(arena);
        }
        jws_key_free(keys[i]);
    }
}

static void a_public_key_verifies_and_cannot_sign(void **state)
{
    (void)state;
    struct jws_key *key = load(JWS_EDDSA, EDDSA_PRIVATE), *public = load(JWS_EDDSA, EDDSA_PUBLIC);
    struct buf token = BUF_INIT(4096), other = BUF_INIT(4096);
    struct str payload;
    assert_int_equal(jws_sign(key, "", STR("x"), &token, &error), RESULT_OK);
    assert_true(str_starts(buf_str(&token), "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eA."));
    assert_int_equal(jws_verify(public, buf_str(&token), arena, &payload, &error), RESULT_OK);
    assert_int_equal(jws_sign(public, "", STR("x"), &other, &error), RESULT_FAILED);
    buf_free(&token);
    buf_free(&other);
    jws_key_free(key);
    jws_key_free(public);
}

static void keys_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        enum jws_algorithm algorithm;
        const char *text;
    } bad[] = {
        {JWS_HS256, "0123456789abcdef0123456789abcde"}, /* 31 bytes */
        {JWS_RS256, RSA_1024},
        {JWS_RS256, ES256_PUBLIC},
        {JWS_ES256, EC_P384},
        {JWS_ES256, RS256_PUBLIC},
        {JWS_ES256, EDDSA_PUBLIC},
        {JWS_EDDSA, ES256_PUBLIC},
        {JWS_RS256, ""},
        {JWS_RS256, "no key"},
        {JWS_RS256, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
        {JWS_EDDSA, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct jws_key *key;
        if (jws_key_load(bad[i].algorithm, str_from(bad[i].text), &key, &error) != RESULT_INVALID)
            fail_msg("accepted key %zu", i);
        assert_null(key);
    }
}

static void only_four_algorithms_are_known(void **state)
{
    (void)state;
    assert_int_equal(jws_algorithm_parse(STR("HS256")), JWS_HS256);
    assert_int_equal(jws_algorithm_parse(STR("RS256")), JWS_RS256);
    assert_int_equal(jws_algorithm_parse(STR("ES256")), JWS_ES256);
    assert_int_equal(jws_algorithm_parse(STR("EdDSA")), JWS_EDDSA);
    static const char *const others[] = {"none", "", "hs256", "HS384", "PS256", "EDDSA", "ES256K"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(jws_algorithm_parse(str_from(others[i])), -1);
    assert_int_equal(jws_algorithm_parse(STR_NONE), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_standards_examples_verify),
        TEST(a_changed_character_anywhere_is_refused),
        TEST(a_token_of_another_algorithm_is_refused),
        TEST(the_token_never_chooses_the_algorithm),
        TEST(what_is_not_three_parts_of_base64url_is_invalid),
        TEST(a_truncated_signature_is_refused),
        TEST(what_is_signed_verifies),
        TEST(a_public_key_verifies_and_cannot_sign),
        TEST(keys_that_do_not_fit_are_refused),
        TEST(only_four_algorithms_are_known),
    };
    return cmocka_run_group_tests_name("io/jws", tests, NULL, NULL);
}
