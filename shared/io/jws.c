/*
 * JSON Web Signatures in compact form (RFC 7515) with HS256, RS256 and ES256 (RFC 7518) and EdDSA on Ed25519
 * (RFC 8037).
 *
 * The algorithm belongs to the key, never to the token: a header that names another one is refused before its
 * signature is looked at, "none" included, so a public RSA key can't be used as an HMAC secret. Headers with
 * "crit" are refused (we know no extension), as is any text that is not canonical unpadded base64url. What
 * the claims mean (exp, aud, …) is for the caller to check.
 *
 * Another algorithm: a row in names[], its key's check in key_fits(), its two functions in sign_input() and
 * check_signature().
 */
#include "format/json.h"
#include "format/text.h"
#include "io/crypto.h"
#include "io/crypto_private.h"
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

enum {
    HS256_BYTES_MIN = 32, /* RFC 7518 section 3.2 */
    RSA_BITS_MIN = 2048,  /* section 3.3 */
    RSA_BITS_MAX = 8192,  /* checking a longer one costs milliseconds */
    ES256_BYTES = 64,
    ES256_HALF = 32,
    SIGNATURE_BYTES_MAX = RSA_BITS_MAX / 8,
    TOKEN_BYTES_MAX = 16384
};

struct jws_key {
    enum jws_algorithm algorithm;
    EVP_PKEY *pair; /* NULL for HS256 */
    unsigned char *secret;
    size_t secret_bytes;
};

static const char *const names[] = {
    [JWS_HS256] = "HS256", [JWS_RS256] = "RS256", [JWS_ES256] = "ES256", [JWS_EDDSA] = "EdDSA"};

int jws_algorithm_parse(struct str name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_is(name, names[i]))
            return (int)i;
    return -1;
}

/* ---- keys ---- */

/* An encrypted PEM must fail rather than ask at the terminal. */
static int no_passphrase(char *out, int bytes, int writing, void *context)
{
    (void)out;
    (void)bytes;
    (void)writing;
    (void)context;
    return -1;
}

static EVP_PKEY *read_pem(struct str pem)
{
    if (pem.bytes > TOKEN_BYTES_MAX)
        return NULL;
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.bytes);
    if (!bio)
        return NULL;
    EVP_PKEY *pair = PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    if (!pair && BIO_reset(bio) == 1)
        pair = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    ERR_clear_error();
    return pair;
}

static bool key_fits(enum jws_algorithm algorithm, const EVP_PKEY *pair)
{
    char curve[32] = "";
    switch (algorithm) {
    case JWS_RS256:
        return EVP_PKEY_is_a(pair, "RSA") && EVP_PKEY_get_bits(pair) >= RSA_BITS_MIN &&
               EVP_PKEY_get_bits(pair) <= RSA_BITS_MAX;
    case JWS_ES256:
        return EVP_PKEY_is_a(pair, "EC") && EVP_PKEY_get_group_name(pair, curve, sizeof curve, NULL) == 1 &&
               strcmp(curve, "prime256v1") == 0;
    case JWS_EDDSA:
        return EVP_PKEY_is_a(pair, "ED25519");
    case JWS_HS256:
        break;
    }
    return false;
}

static bool copy_secret(struct jws_key *key, struct str secret)
{
    key->secret = malloc(secret.bytes);
    if (!key->secret)
        return false;
    memcpy(key->secret, secret.data, secret.bytes);
    key->secret_bytes = secret.bytes;
    return true;
}

enum result jws_key_load(enum jws_algorithm algorithm, struct str text, struct jws_key **out,
                         struct error *error)
{
    *out = NULL;
    if (algorithm == JWS_HS256 && text.bytes < HS256_BYTES_MIN)
        return error_set(error, RESULT_INVALID, "cannot use an HS256 secret of less than %d bytes",
                         HS256_BYTES_MIN);
    struct jws_key *key = calloc(1, sizeof *key);
    if (!key)
        return error_set(error, RESULT_FAILED, "could not load a key: no memory");
    key->algorithm = algorithm;
    enum result code = RESULT_OK;
    if (algorithm == JWS_HS256) {
        if (!copy_secret(key, text))
            code = error_set(error, RESULT_FAILED, "could not load a key: no memory");
    } else {
        key->pair = read_pem(text);
        if (!key->pair)
            code = error_set(error, RESULT_INVALID,
                             "cannot read the key: it is no PEM of a public or private key");
        else if (!key_fits(algorithm, key->pair))
            code = error_set(error, RESULT_INVALID, "cannot use this key for %s", names[algorithm]);
    }
    if (code == RESULT_OK)
        *out = key;
    else
        jws_key_free(key);
    return code;
}

enum result jws_key_from_p256(const unsigned char scalar[P256_SCALAR_BYTES], struct jws_key **out,
                              struct error *error)
{
    *out = NULL;
    struct jws_key *key = calloc(1, sizeof *key);
    if (!key)
        return error_set(error, RESULT_FAILED, "could not load a key: no memory");
    key->algorithm = JWS_ES256;
    key->pair = crypto_p256_private(scalar);
    if (!key->pair) {
        jws_key_free(key);
        return error_set(error, RESULT_INVALID, "cannot use this number as a P-256 key");
    }
    *out = key;
    return RESULT_OK;
}

void jws_key_free(struct jws_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pair);
    if (key->secret)
        OPENSSL_cleanse(key->secret, key->secret_bytes);
    free(key->secret);
    free(key);
}

/* ---- signatures ---- */

static struct str secret_of(const struct jws_key *key)
{
    return (struct str){(const char *)key->secret, key->secret_bytes};
}

/* Ed25519 hashes by itself. */
static const EVP_MD *hash_of(const struct jws_key *key)
{
    return key->algorithm == JWS_EDDSA ? NULL : EVP_sha256();
}

/* r || s as RFC 7518 section 3.4 wants it, from and to the DER that OpenSSL speaks. */
static int der_from_raw(const unsigned char *raw, unsigned char **der)
{
    int bytes = -1;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, ES256_HALF, NULL), *s = BN_bin2bn(raw + ES256_HALF, ES256_HALF, NULL);
    if (pair && r && s && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = s = NULL; /* the pair's now */
        bytes = i2d_ECDSA_SIG(pair, der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return bytes;
}

static bool raw_from_der(const unsigned char *der, size_t bytes, unsigned char *raw)
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)bytes);
    bool good = pair && BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, ES256_HALF) == ES256_HALF &&
                BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + ES256_HALF, ES256_HALF) == ES256_HALF;
    ECDSA_SIG_free(pair);
    return good;
}

static bool check_pair(const struct jws_key *key, struct str input, const unsigned char *signature,
                       size_t bytes)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool good = c && EVP_DigestVerifyInit(c, NULL, hash_of(key), NULL, key->pair) == 1 &&
                EVP_DigestVerify(c, signature, bytes, (const unsigned char *)input.data, input.bytes) == 1;
    EVP_MD_CTX_free(c);
    ERR_clear_error();
    return good;
}

static bool check_signature(const struct jws_key *key, struct str input, const unsigned char *signature,
                            size_t bytes)
{
    if (key->algorithm == JWS_HS256) {
        unsigned char mac[SHA256_BYTES];
        crypto_hmac_sha256(secret_of(key), input, mac);
        return bytes == sizeof mac && crypto_equal(mac, signature, sizeof mac);
    }
    if (key->algorithm != JWS_ES256)
        return check_pair(key, input, signature, bytes);
    unsigned char *der = NULL;
    int der_bytes = bytes == ES256_BYTES ? der_from_raw(signature, &der) : -1;
    bool good = der_bytes > 0 && check_pair(key, input, der, (size_t)der_bytes);
    OPENSSL_free(der);
    return good;
}

/* Writes the signature and its length; signature has SIGNATURE_BYTES_MAX bytes. */
static bool sign_input(const struct jws_key *key, struct str input, unsigned char *signature, size_t *bytes)
{
    if (key->algorithm == JWS_HS256) {
        crypto_hmac_sha256(secret_of(key), input, signature);
        *bytes = SHA256_BYTES;
        return true;
    }
    unsigned char made[SIGNATURE_BYTES_MAX];
    size_t made_bytes = sizeof made;
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool good = c && EVP_DigestSignInit(c, NULL, hash_of(key), NULL, key->pair) == 1 &&
                EVP_DigestSign(c, made, &made_bytes, (const unsigned char *)input.data, input.bytes) == 1;
    EVP_MD_CTX_free(c);
    ERR_clear_error();
    if (!good)
        return false;
    if (key->algorithm == JWS_ES256) {
        *bytes = ES256_BYTES;
        return raw_from_der(made, made_bytes, signature);
    }
    memcpy(signature, made, made_bytes);
    *bytes = made_bytes;
    return true;
}

/* ---- tokens ---- */

/* Decodes one part into the arena. Padding is no part of the compact form. */
static bool decode(struct str part, struct arena *arena, struct str *out)
{
    size_t bytes;
    char *decoded = arena_alloc(arena, part.bytes + 1);
    if (!decoded || (part.bytes && memchr(part.data, '=', part.bytes)) ||
        !text_from_base64url(part, decoded, part.bytes, &bytes))
        return false;
    *out = (struct str){decoded, bytes};
    return true;
}

static enum result check_header(const struct jws_key *key, struct str text, struct arena *arena,
                                struct error *error)
{
    json_t *header;
    if (json_parse(arena, text, &header, NULL) != RESULT_OK || !json_is_object(header))
        return error_set(error, RESULT_INVALID, "cannot read the token: its header is no JSON object");
    if (!str_is(json_str(json_object_get(header, "alg")), names[key->algorithm]))
        return error_set(error, RESULT_FORBIDDEN, "cannot accept the token: its algorithm is not %s",
                         names[key->algorithm]);
    if (json_object_get(header, "crit"))
        return error_set(error, RESULT_FORBIDDEN, "cannot accept the token: it demands extensions");
    return RESULT_OK;
}

enum result jws_verify(const struct jws_key *key, struct str token, struct arena *arena, struct str *payload,
                       struct error *error)
{
    struct str rest = token, header, claims, signature;
    *payload = STR_NONE;
    if (token.bytes > TOKEN_BYTES_MAX)
        return error_set(error, RESULT_INVALID, "cannot read the token: it is too long");
    struct str header_part = str_cut(rest, '.', &rest), claims_part = str_cut(rest, '.', &rest);
    if (!str_is_set(rest) || memchr(rest.data, '.', rest.bytes) || !decode(header_part, arena, &header) ||
        !decode(claims_part, arena, &claims) || !decode(rest, arena, &signature))
        return error_set(error, RESULT_INVALID, "cannot read the token: it is not three parts of base64url");
    enum result code = check_header(key, header, arena, error);
    if (code != RESULT_OK)
        return code;
    struct str input = {token.data, header_part.bytes + 1 + claims_part.bytes};
    if (!check_signature(key, input, (const unsigned char *)signature.data, signature.bytes))
        return error_set(error, RESULT_FORBIDDEN, "cannot accept the token: its signature is wrong");
    *payload = claims;
    return RESULT_OK;
}

enum result jws_sign(const struct jws_key *key, const char *header_extra, struct str payload, struct buf *out,
                     struct error *error)
{
    unsigned char signature[SIGNATURE_BYTES_MAX];
    size_t bytes, start = out->bytes;
    struct buf header = BUF_INIT(TOKEN_BYTES_MAX);
    buf_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\"%s}", names[key->algorithm],
               header_extra ? header_extra : "");
    text_base64url(out, header.data, header.bytes);
    buf_add_char(out, '.');
    text_base64url(out, payload.data, payload.bytes);
    bool good = buf_ok(&header) && buf_ok(out);
    buf_free(&header);
    if (!good)
        return error_set(error, RESULT_FAILED, "could not sign: the token does not fit");
    if (!sign_input(key, (struct str){out->data + start, out->bytes - start}, signature, &bytes))
        return error_set(error, RESULT_FAILED, "could not sign with this %s key: it may be a public one",
                         names[key->algorithm]);
    buf_add_char(out, '.');
    text_base64url(out, signature, bytes);
    return buf_ok(out) ? RESULT_OK
                       : error_set(error, RESULT_FAILED, "could not sign: the token does not fit");
}
