/*
 * Keys on P-256 and the encryption of Web Push messages (RFC 8291 over RFC 8188, one record).
 *
 * Raw scalars and points come in and go out; OpenSSL's key objects stay in here and in jws.c.
 */
#include "io/crypto.h"
#include "io/crypto_private.h"
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

enum {
    RECORD_BYTES = 4096, /* RFC 8291 section 4: what every push service must take */
    TAG_BYTES = 16,
    KEY_BYTES = 16,
    NONCE_BYTES = 12,
    HEADER_BYTES = PUSH_SALT_BYTES + 4 + 1 + P256_POINT_BYTES,
    PLAIN_BYTES_MAX = RECORD_BYTES - HEADER_BYTES - TAG_BYTES - 1
};

/* ---- keys ---- */

static bool point_of(const unsigned char *scalar, unsigned char *point)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *number = BN_bin2bn(scalar, P256_SCALAR_BYTES, NULL);
    EC_POINT *place = group ? EC_POINT_new(group) : NULL;
    bool good =
        group && number && place && !BN_is_zero(number) && BN_cmp(number, EC_GROUP_get0_order(group)) < 0 &&
        EC_POINT_mul(group, place, number, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(group, place, POINT_CONVERSION_UNCOMPRESSED, point, P256_POINT_BYTES, NULL) ==
            P256_POINT_BYTES;
    EC_POINT_free(place);
    BN_clear_free(number);
    EC_GROUP_free(group);
    return good;
}

static EVP_PKEY *key_from_params(OSSL_PARAM *params, int selection)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (!c || EVP_PKEY_fromdata_init(c) != 1 || EVP_PKEY_fromdata(c, &key, selection, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(c);
    return key;
}

EVP_PKEY *crypto_p256_private(const unsigned char scalar[P256_SCALAR_BYTES])
{
    unsigned char point[P256_POINT_BYTES];
    if (!point_of(scalar, point))
        return NULL;
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *number = BN_secure_new();
    if (build && number && BN_bin2bn(scalar, P256_SCALAR_BYTES, number) &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, number) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    if (params)
        key = key_from_params(params, EVP_PKEY_KEYPAIR);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_clear_free(number);
    return key;
}

/* NULL for a point that is not on the curve: OpenSSL checks while decoding. */
static EVP_PKEY *public_key(struct str point)
{
    char group[] = "prime256v1";
    unsigned char copy[P256_POINT_BYTES];
    if (point.bytes != P256_POINT_BYTES || point.data[0] != 0x04)
        return NULL;
    memcpy(copy, point.data, sizeof copy);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
                           OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, copy, sizeof copy),
                           OSSL_PARAM_construct_end()};
    return key_from_params(params, EVP_PKEY_PUBLIC_KEY);
}

bool crypto_p256_is_point(struct str point)
{
    EVP_PKEY *key = public_key(point);
    EVP_PKEY_free(key);
    return key != NULL;
}

enum result crypto_p256_generate(unsigned char scalar[P256_SCALAR_BYTES],
                                 unsigned char point[P256_POINT_BYTES], struct error *error)
{
    /* a random number is out of range about once in 2^32 times */
    for (int tries = 0; tries < 8; tries++) {
        enum result code = crypto_random(scalar, P256_SCALAR_BYTES, error);
        if (code != RESULT_OK)
            return code;
        if (point_of(scalar, point))
            return RESULT_OK;
    }
    return error_set(error, RESULT_FAILED, "could not make a P-256 key");
}

/* ---- encryption ---- */

static bool agree(const unsigned char *scalar, struct str ua_point, unsigned char secret[P256_SCALAR_BYTES])
{
    size_t bytes = P256_SCALAR_BYTES;
    EVP_PKEY *ours = crypto_p256_private(scalar), *theirs = public_key(ua_point);
    EVP_PKEY_CTX *c = ours ? EVP_PKEY_CTX_new(ours, NULL) : NULL;
    bool good = c && theirs && EVP_PKEY_derive_init(c) == 1 && EVP_PKEY_derive_set_peer(c, theirs) == 1 &&
                EVP_PKEY_derive(c, secret, &bytes) == 1 && bytes == P256_SCALAR_BYTES;
    EVP_PKEY_CTX_free(c);
    EVP_PKEY_free(ours);
    EVP_PKEY_free(theirs);
    return good;
}

static struct str view(const unsigned char *data, size_t bytes)
{
    return (struct str){(const char *)data, bytes};
}

/* HKDF with a single output block (RFC 5869): out = HMAC(HMAC(salt, ikm), info || 0x01). */
static void hkdf(struct str salt, struct str ikm, const void *info, size_t info_bytes,
                 unsigned char out[SHA256_BYTES])
{
    unsigned char prk[SHA256_BYTES], block[192];
    crypto_hmac_sha256(salt, ikm, prk);
    memcpy(block, info, info_bytes);
    block[info_bytes] = 0x01;
    crypto_hmac_sha256(view(prk, sizeof prk), view(block, info_bytes + 1), out);
    OPENSSL_cleanse(prk, sizeof prk);
}

struct push_keys {
    unsigned char key[SHA256_BYTES], nonce[SHA256_BYTES]; /* the first 16 and 12 bytes count */
};

/* RFC 8291 section 3.4. */
static void derive(struct str ua_point, struct str ua_auth, const unsigned char *as_point,
                   const unsigned char *salt, const unsigned char *secret, struct push_keys *keys)
{
    static const char label[] = "WebPush: info"; /* with its NUL */
    static const char key_label[] = "Content-Encoding: aes128gcm", nonce_label[] = "Content-Encoding: nonce";
    unsigned char info[sizeof label + 2 * P256_POINT_BYTES], ikm[SHA256_BYTES];
    memcpy(info, label, sizeof label);
    memcpy(info + sizeof label, ua_point.data, P256_POINT_BYTES);
    memcpy(info + sizeof label + P256_POINT_BYTES, as_point, P256_POINT_BYTES);
    hkdf(ua_auth, view(secret, P256_SCALAR_BYTES), info, sizeof info, ikm);
    hkdf(view(salt, PUSH_SALT_BYTES), view(ikm, sizeof ikm), key_label, sizeof key_label, keys->key);
    hkdf(view(salt, PUSH_SALT_BYTES), view(ikm, sizeof ikm), nonce_label, sizeof nonce_label, keys->nonce);
    OPENSSL_cleanse(ikm, sizeof ikm);
}

static bool encrypt(const struct push_keys *keys, struct str plain, unsigned char *out)
{
    static const unsigned char last_record = 0x02; /* RFC 8188 section 2 */
    int n, more;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool good = c && EVP_EncryptInit_ex2(c, EVP_aes_128_gcm(), keys->key, keys->nonce, NULL) == 1 &&
                EVP_EncryptUpdate(c, out, &n, (const unsigned char *)(plain.data ? plain.data : ""),
                                  (int)plain.bytes) == 1 &&
                EVP_EncryptUpdate(c, out + n, &more, &last_record, 1) == 1 &&
                EVP_EncryptFinal_ex(c, out + n + more, &more) == 1 &&
                EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, out + plain.bytes + 1) == 1;
    EVP_CIPHER_CTX_free(c);
    return good;
}

static void write_header(struct buf *out, const unsigned char *salt, const unsigned char *as_point)
{
    static const unsigned char sizes[] = {0, 0, RECORD_BYTES >> 8, RECORD_BYTES & 255, P256_POINT_BYTES};
    buf_add(out, salt, PUSH_SALT_BYTES);
    buf_add(out, sizes, sizeof sizes);
    buf_add(out, as_point, P256_POINT_BYTES);
}

static enum result pick_sender(const unsigned char *given_salt, const unsigned char *given_scalar,
                               unsigned char *salt, unsigned char *scalar, unsigned char *point,
                               struct error *error)
{
    enum result code = RESULT_OK;
    if (given_salt)
        memcpy(salt, given_salt, PUSH_SALT_BYTES);
    else
        code = crypto_random(salt, PUSH_SALT_BYTES, error);
    if (code != RESULT_OK || !given_scalar)
        return code == RESULT_OK ? crypto_p256_generate(scalar, point, error) : code;
    memcpy(scalar, given_scalar, P256_SCALAR_BYTES);
    return point_of(scalar, point) ? RESULT_OK
                                   : error_set(error, RESULT_INVALID, "cannot use this sender key");
}

enum result crypto_push_encrypt(struct str ua_point, struct str ua_auth, struct str plain,
                                const unsigned char *given_salt, const unsigned char *given_scalar,
                                struct buf *out, struct error *error)
{
    unsigned char salt[PUSH_SALT_BYTES], scalar[P256_SCALAR_BYTES], point[P256_POINT_BYTES],
        secret[P256_SCALAR_BYTES], body[RECORD_BYTES];
    struct push_keys keys;
    if (plain.bytes > PLAIN_BYTES_MAX)
        return error_set(error, RESULT_INVALID, "cannot push %zu bytes: a record holds %d", plain.bytes,
                         (int)PLAIN_BYTES_MAX);
    if (ua_auth.bytes < PUSH_AUTH_BYTES)
        return error_set(error, RESULT_INVALID,
                         "cannot encrypt: the subscription's auth secret is too short");
    enum result code = pick_sender(given_salt, given_scalar, salt, scalar, point, error);
    if (code != RESULT_OK)
        return code;
    if (!agree(scalar, ua_point, secret))
        return error_set(error, RESULT_INVALID,
                         "cannot encrypt: the subscription's key is no point of P-256");
    derive(ua_point, ua_auth, point, salt, secret, &keys);
    if (encrypt(&keys, plain, body)) {
        write_header(out, salt, point);
        buf_add(out, body, plain.bytes + 1 + TAG_BYTES);
        code = buf_ok(out) ? RESULT_OK
                           : error_set(error, RESULT_FAILED, "could not encrypt a push: it does not fit");
    } else {
        code = error_set(error, RESULT_FAILED, "could not encrypt a push");
    }
    OPENSSL_cleanse(scalar, sizeof scalar);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(&keys, sizeof keys);
    return code;
}
