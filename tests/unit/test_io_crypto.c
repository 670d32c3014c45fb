/* Hashes against their standards' examples, the key ring, and Web Push encryption (RFC 8291's worked
 * example). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format/text.h"
#include "io/crypto.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error error;
static char directory[64], path[96];

static void ok(enum result code)
{
    if (code != RESULT_OK)
        fail_msg("%s: %s", result_name(code), error.text);
}

static void assert_hex(const unsigned char *data, size_t bytes, const char *expected)
{
    struct buf b = BUF_INIT(256);
    text_hex(&b, data, bytes);
    assert_string_equal(buf_cstr(&b), expected);
    buf_free(&b);
}

static int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/belfry-test-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/keys", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

/* ---- hashes ---- */

static void hashes_agree_with_their_standards(void **state)
{
    (void)state;
    unsigned char out[SHA256_BYTES], key[20];
    crypto_sha256(STR("abc"), out); /* FIPS 180-4 */
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(STR_NONE, out);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha1(STR("abc"), out);
    assert_hex(out, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
    memset(key, 0x0b, sizeof key); /* RFC 4231 4.2 and 4.3, RFC 2202 3 */
    crypto_hmac_sha256((struct str){(const char *)key, 20}, STR("Hi There"), out);
    assert_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    crypto_hmac_sha256(STR("Jefe"), STR("what do ya want for nothing?"), out);
    assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    crypto_hmac_sha1(STR("Jefe"), STR("what do ya want for nothing?"), out);
    assert_hex(out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
}

static void equality_looks_at_every_byte(void **state)
{
    (void)state;
    char a[32] = "same same same same same same s", b[32];
    memcpy(b, a, sizeof a);
    assert_true(crypto_equal(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 1;
        assert_false(crypto_equal(a, b, sizeof a));
        b[i] ^= 1;
    }
    assert_true(crypto_equal(a, b, 0));
}

static void random_bytes_do_not_repeat(void **state)
{
    (void)state;
    unsigned char a[32] = {0}, b[32] = {0};
    ok(crypto_random(a, sizeof a, &error));
    ok(crypto_random(b, sizeof b, &error));
    assert_memory_not_equal(a, b, sizeof a);
}

/* ---- the key ring ---- */

static struct keyring *load(void)
{
    struct keyring *ring;
    ok(keyring_load(path, &ring, &error));
    return ring;
}

static struct keyring *create(void)
{
    ok(keyring_create(path, &error));
    return load();
}

static void what_is_sealed_opens_in_its_context_only(void **state)
{
    (void)state;
    struct keyring *ring = create();
    struct buf sealed = BUF_INIT(1000), plain = BUF_INIT(1000);
    ok(keyring_seal(ring, STR("7:email"), STR("jane@example.com"), &sealed, &error));
    assert_int_equal(sealed.bytes, 1 + 12 + 16 + 16);
    assert_int_equal(sealed.data[0], keyring_current(ring));
    ok(keyring_open(ring, STR("7:email"), buf_str(&sealed), &plain, &error));
    assert_true(str_is(buf_str(&plain), "jane@example.com"));
    buf_clear(&plain);
    assert_int_equal(keyring_open(ring, STR("8:email"), buf_str(&sealed), &plain, &error), RESULT_INVALID);
    assert_int_equal(plain.bytes, 0);
    buf_free(&sealed);
    buf_free(&plain);
    keyring_free(ring);
}

static void a_changed_bit_anywhere_does_not_open(void **state)
{
    (void)state;
    struct keyring *ring = create();
    struct buf sealed = BUF_INIT(1000), plain = BUF_INIT(1000);
    ok(keyring_seal(ring, STR("c"), STR("secret"), &sealed, &error));
    for (size_t i = 0; i < sealed.bytes; i++) {
        sealed.data[i] ^= 0x40;
        assert_int_not_equal(keyring_open(ring, STR("c"), buf_str(&sealed), &plain, &error), RESULT_OK);
        sealed.data[i] ^= 0x40;
    }
    for (size_t bytes = 0; bytes < sealed.bytes; bytes++)
        assert_int_not_equal(keyring_open(ring, STR("c"), (struct str){sealed.data, bytes}, &plain, &error),
                             RESULT_OK);
    assert_int_equal(plain.bytes, 0);
    buf_free(&sealed);
    buf_free(&plain);
    keyring_free(ring);
}

static void an_empty_value_and_a_repeated_one_are_sealed_too(void **state)
{
    (void)state;
    struct keyring *ring = create();
    struct buf a = BUF_INIT(1000), b = BUF_INIT(1000), plain = BUF_INIT(1000);
    ok(keyring_seal(ring, STR("c"), STR_NONE, &a, &error));
    ok(keyring_open(ring, STR("c"), buf_str(&a), &plain, &error));
    assert_int_equal(plain.bytes, 0);
    buf_clear(&a);
    ok(keyring_seal(ring, STR("c"), STR("v"), &a, &error));
    ok(keyring_seal(ring, STR("c"), STR("v"), &b, &error));
    assert_false(str_equal(buf_str(&a), buf_str(&b)));
    buf_free(&a);
    buf_free(&b);
    buf_free(&plain);
    keyring_free(ring);
}

static void a_rotated_ring_seals_with_the_new_key_and_opens_the_old(void **state)
{
    (void)state;
    struct keyring *ring = create();
    struct buf old = BUF_INIT(1000), new = BUF_INIT(1000), plain = BUF_INIT(1000);
    unsigned char before[16], after[16], mac_before[SHA256_BYTES], mac_after[SHA256_BYTES];
    ok(keyring_seal(ring, STR("c"), STR("v"), &old, &error));
    keyring_blind_index(ring, 1, STR("email"), STR("v"), before);
    keyring_auth_mac(ring, STR("app"), STR("v"), mac_before);
    ok(keyring_rotate(path, &error));
    struct keyring *rotated = load();
    assert_int_equal(keyring_current(ring), 1);
    assert_int_equal(keyring_current(rotated), 2);
    ok(keyring_open(rotated, STR("c"), buf_str(&old), &plain, &error));
    ok(keyring_seal(rotated, STR("c"), STR("v"), &new, &error));
    assert_int_equal(new.data[0], 2);
    assert_int_equal(keyring_open(ring, STR("c"), buf_str(&new), &plain, &error), RESULT_MISSING);
    keyring_blind_index(rotated, 1, STR("email"), STR("v"), after);
    keyring_auth_mac(rotated, STR("app"), STR("v"), mac_after);
    assert_memory_equal(before, after, sizeof before);
    assert_memory_equal(mac_before, mac_after, sizeof mac_before);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    buf_free(&old);
    buf_free(&new);
    buf_free(&plain);
    keyring_free(ring);
    keyring_free(rotated);
}

static void indexes_and_macs_differ_by_everything_that_names_them(void **state)
{
    (void)state;
    struct keyring *ring = create();
    unsigned char a[16], b[16], m[SHA256_BYTES], n[SHA256_BYTES];
    keyring_blind_index(ring, 1, STR("email"), STR("v"), a);
    keyring_blind_index(ring, 1, STR("email"), STR("v"), b);
    assert_memory_equal(a, b, sizeof a);
    keyring_blind_index(ring, 2, STR("email"), STR("v"), b);
    assert_memory_not_equal(a, b, sizeof a);
    keyring_blind_index(ring, 1, STR("push"), STR("v"), b);
    assert_memory_not_equal(a, b, sizeof a);
    keyring_blind_index(ring, 1, STR("email"), STR("w"), b);
    assert_memory_not_equal(a, b, sizeof a);
    keyring_auth_mac(ring, STR("ab"), STR("c"), m);
    keyring_auth_mac(ring, STR("a"), STR("bc"), n);
    assert_memory_not_equal(m, n, sizeof m);
    keyring_free(ring);
}

static void creating_never_overwrites(void **state)
{
    (void)state;
    ok(keyring_create(path, &error));
    assert_int_equal(keyring_create(path, &error), RESULT_CONFLICT);
}

static void write_keys(const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

#define KEY "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="

static void a_malformed_key_file_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "enc:1 " KEY "\nindex " KEY "\n",
        "enc:1 " KEY "\nauth " KEY "\n",
        "index " KEY "\nauth " KEY "\n",
        "enc:1 " KEY "\nindex " KEY "\nauth " KEY "\nenc:1 " KEY "\n",
        "enc:1 " KEY "\nindex " KEY "\nauth " KEY "\nauth " KEY "\n",
        "enc:0 " KEY "\nindex " KEY "\nauth " KEY "\n",
        "enc:256 " KEY "\nindex " KEY "\nauth " KEY "\n",
        "enc:1x " KEY "\nindex " KEY "\nauth " KEY "\n",
        "enc:1 QUFB\nindex " KEY "\nauth " KEY "\n",
        "enc:1 " KEY "QUFB\nindex " KEY "\nauth " KEY "\n",
        "enc:1  " KEY "\nindex " KEY "\nauth " KEY "\n",
        "enc:1 " KEY "\r\nindex " KEY "\nauth " KEY "\n",
        "enc:1\nindex " KEY "\nauth " KEY "\n",
        "other " KEY "\nenc:1 " KEY "\nindex " KEY "\nauth " KEY "\n",
    };
    struct keyring *ring;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_keys(bad[i], 0600);
        if (keyring_load(path, &ring, &error) != RESULT_INVALID)
            fail_msg("accepted file %zu", i);
        assert_null(ring);
        assert_null(strstr(error.text, "QUFB"));
    }
    write_keys("# comment\n\nenc:3 " KEY "\nenc:1 " KEY "\nindex " KEY "\nauth " KEY, 0400);
    ring = load();
    assert_int_equal(keyring_current(ring), 3);
    keyring_free(ring);
}

static void a_key_file_that_others_can_read_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0640, 0604, 0660, 0644, 0601};
    struct keyring *ring;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        write_keys("enc:1 " KEY "\nindex " KEY "\nauth " KEY "\n", modes[i]);
        assert_int_equal(keyring_load(path, &ring, &error), RESULT_INVALID);
    }
    unlink(path);
    assert_int_equal(keyring_load(path, &ring, &error), RESULT_MISSING);
    ok(keyring_create(path, &error));
}

/* ---- Web Push ---- */

static struct str decode(const char *text, char *out, size_t bytes_max)
{
    size_t bytes;
    assert_true(text_from_base64url(str_from(text), out, bytes_max, &bytes));
    return (struct str){out, bytes};
}

#define UA_POINT "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
#define UA_AUTH "BTBZMqHH6r4Tts7J_aSIgg"

static void the_worked_example_of_rfc_8291_comes_out(void **state)
{
    (void)state;
    char point[80], auth[32], scalar[40], salt[32];
    struct buf body = BUF_INIT(5000), text = BUF_INIT(5000);
    decode("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw", scalar, sizeof scalar);
    decode("DGv6ra1nlYgDCS1FRnbzlw", salt, sizeof salt);
    ok(crypto_push_encrypt(decode(UA_POINT, point, sizeof point), decode(UA_AUTH, auth, sizeof auth),
                           STR("When I grow up, I want to be a watermelon"), (const unsigned char *)salt,
                           (const unsigned char *)scalar, &body, &error));
    text_base64url(&text, body.data, body.bytes);
    assert_string_equal(
        buf_cstr(&text),
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6T"
        "lzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4"
        "a-fN");
    buf_free(&body);
    buf_free(&text);
}

static void each_push_has_its_own_salt_and_key(void **state)
{
    (void)state;
    char point[80], auth[32];
    struct str to = decode(UA_POINT, point, sizeof point), secret = decode(UA_AUTH, auth, sizeof auth);
    struct buf a = BUF_INIT(5000), b = BUF_INIT(5000);
    ok(crypto_push_encrypt(to, secret, STR("hello"), NULL, NULL, &a, &error));
    ok(crypto_push_encrypt(to, secret, STR("hello"), NULL, NULL, &b, &error));
    assert_int_equal(a.bytes, 86 + 5 + 1 + 16);
    assert_memory_not_equal(a.data, b.data, 16);
    assert_memory_equal(a.data + 16, "\0\0\x10\0\x41\x04", 6);
    assert_memory_not_equal(a.data + 21, b.data + 21, 65);
    buf_free(&a);
    buf_free(&b);
}

static void a_push_that_does_not_fit_its_record_is_refused(void **state)
{
    (void)state;
    char point[80], auth[32], plain[3994] = "";
    struct str to = decode(UA_POINT, point, sizeof point), secret = decode(UA_AUTH, auth, sizeof auth);
    struct buf body = BUF_INIT(5000);
    memset(plain, 'x', sizeof plain);
    ok(crypto_push_encrypt(to, secret, (struct str){plain, 3993}, NULL, NULL, &body, &error));
    assert_int_equal(body.bytes, 4096);
    assert_int_equal(crypto_push_encrypt(to, secret, (struct str){plain, 3994}, NULL, NULL, &body, &error),
                     RESULT_INVALID);
    buf_free(&body);
}

static void only_points_of_the_curve_are_taken(void **state)
{
    (void)state;
    char point[80], auth[32];
    struct str to = decode(UA_POINT, point, sizeof point), secret = decode(UA_AUTH, auth, sizeof auth);
    struct buf body = BUF_INIT(5000);
    assert_true(crypto_p256_is_point(to));
    assert_false(crypto_p256_is_point((struct str){to.data, 64}));
    assert_false(crypto_p256_is_point(STR_NONE));
    point[64] ^= 1; /* off the curve */
    assert_false(crypto_p256_is_point(to));
    assert_int_equal(crypto_push_encrypt(to, secret, STR("x"), NULL, NULL, &body, &error), RESULT_INVALID);
    point[64] ^= 1;
    point[0] = 0x02; /* compressed form, wrong length */
    assert_false(crypto_p256_is_point(to));
    point[0] = 0x04;
    secret.bytes = 15;
    assert_int_equal(crypto_push_encrypt(to, secret, STR("x"), NULL, NULL, &body, &error), RESULT_INVALID);
    buf_free(&body);
}

static void a_generated_key_is_a_point_and_its_scalar(void **state)
{
    (void)state;
    unsigned char scalar[P256_SCALAR_BYTES], point[P256_POINT_BYTES];
    struct jws_key *key;
    ok(crypto_p256_generate(scalar, point, &error));
    assert_true(crypto_p256_is_point((struct str){(const char *)point, sizeof point}));
    ok(jws_key_from_p256(scalar, &key, &error));
    jws_key_free(key);
    memset(scalar, 0, sizeof scalar);
    assert_int_equal(jws_key_from_p256(scalar, &key, &error), RESULT_INVALID);
    memset(scalar, 0xff, sizeof scalar); /* above the order */
    assert_int_equal(jws_key_from_p256(scalar, &key, &error), RESULT_INVALID);
}

int main(void)
{
#define IN_DIRECTORY(name) cmocka_unit_test_setup_teardown(name, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_agree_with_their_standards),
        cmocka_unit_test(equality_looks_at_every_byte),
        cmocka_unit_test(random_bytes_do_not_repeat),
        IN_DIRECTORY(what_is_sealed_opens_in_its_context_only),
        IN_DIRECTORY(a_changed_bit_anywhere_does_not_open),
        IN_DIRECTORY(an_empty_value_and_a_repeated_one_are_sealed_too),
        IN_DIRECTORY(a_rotated_ring_seals_with_the_new_key_and_opens_the_old),
        IN_DIRECTORY(indexes_and_macs_differ_by_everything_that_names_them),
        IN_DIRECTORY(creating_never_overwrites),
        IN_DIRECTORY(a_malformed_key_file_is_refused),
        IN_DIRECTORY(a_key_file_that_others_can_read_is_refused),
        cmocka_unit_test(the_worked_example_of_rfc_8291_comes_out),
        cmocka_unit_test(each_push_has_its_own_salt_and_key),
        cmocka_unit_test(a_push_that_does_not_fit_its_record_is_refused),
        cmocka_unit_test(only_points_of_the_curve_are_taken),
        cmocka_unit_test(a_generated_key_is_a_point_and_its_scalar),
    };
    return cmocka_run_group_tests_name("io/crypto", tests, NULL, NULL);
}
