/*
 * Randomness, hashes and comparison on OpenSSL's EVP.
 *
 * The hashes have no failure of their own: OpenSSL can only run out of memory for its small contexts, and
 * then the process ends, because a made-up digest could open a door or hide a row.
 */
#include "io/crypto.h"
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>

enum result crypto_random(void *out, size_t bytes, struct error *error)
{
    if (bytes > INT_MAX || RAND_bytes(out, (int)bytes) != 1)
        return error_set(error, RESULT_FAILED, "could not get random bytes");
    return RESULT_OK;
}

static void digest(const EVP_MD *type, struct str data, unsigned char *out)
{
    if (EVP_Digest(data.data ? data.data : "", data.bytes, out, NULL, type, NULL) != 1)
        abort();
}

static void mac(const EVP_MD *type, struct str key, struct str data, unsigned char *out)
{
    const unsigned char *in = (const unsigned char *)(data.data ? data.data : "");
    if (key.bytes > INT_MAX ||
        !HMAC(type, key.data ? key.data : "", (int)key.bytes, in, data.bytes, out, NULL))
        abort();
}

void crypto_sha256(struct str data, unsigned char out[SHA256_BYTES])
{
    digest(EVP_sha256(), data, out);
}

void crypto_sha1(struct str data, unsigned char out[SHA1_BYTES])
{
    digest(EVP_sha1(), data, out);
}

void crypto_hmac_sha256(struct str key, struct str data, unsigned char out[SHA256_BYTES])
{
    mac(EVP_sha256(), key, data, out);
}

void crypto_hmac_sha1(struct str key, struct str data, unsigned char out[SHA1_BYTES])
{
    mac(EVP_sha1(), key, data, out);
}

bool crypto_equal(const void *a, const void *b, size_t bytes)
{
    return CRYPTO_memcmp(a, b, bytes) == 0;
}
