#ifndef BELFRY_IO_CRYPTO_H
#define BELFRY_IO_CRYPTO_H
/*
 * OpenSSL 3 (EVP): the only file set that includes it. Randomness, hashes, sealed values, key exchange and
 * JWS. All are pure but for randomness and safe from any thread.
 */
#include "core/arena.h"
#include "core/buf.h"
#include "core/error.h"
#include "core/str.h"
#include <stdbool.h>
#include <stdint.h>

enum { SHA256_BYTES = 32, SHA1_BYTES = 20 };

enum result crypto_random(void *out, size_t bytes, struct error *error) MUST_CHECK;
void crypto_sha256(struct str data, unsigned char out[SHA256_BYTES]);
void crypto_hmac_sha256(struct str key, struct str data, unsigned char out[SHA256_BYTES]); /* RFC 2104 */
void crypto_sha1(struct str data, unsigned char out[SHA1_BYTES]); /* names Redis scripts; not for secrets */
void crypto_hmac_sha1(struct str key, struct str data,
                      unsigned char out[SHA1_BYTES]);          /* providers that ask for it */
bool crypto_equal(const void *a, const void *b, size_t bytes); /* constant time */

/* ---- key ring: encrypts addresses and credentials at rest ----
 * A text file, mode 0600: lines `ID BASE64(32 bytes)`; the first `enc:N` line is current, others still open;
 * one `index` line for blind indexes and one `auth` line for app secrets and tickets. */
struct keyring;
enum result keyring_load(const char *path, struct keyring **ring, struct error *error) MUST_CHECK;
enum result keyring_create(const char *path, struct error *error) MUST_CHECK; /* fails if it exists */
enum result keyring_rotate(const char *path, struct error *error) MUST_CHECK; /* adds a new current key */
void keyring_free(struct keyring *ring);
/* AES-256-GCM: out = key id byte, nonce 12, ciphertext, tag 16. context (tenant and purpose) is authenticated
 * but not stored: a value copied to another row does not open. */
enum result keyring_seal(const struct keyring *ring, struct str context, struct str plain, struct buf *out,
                         struct error *error) MUST_CHECK;
enum result keyring_open(const struct keyring *ring, struct str context, struct str sealed, struct buf *plain,
                         struct error *error) MUST_CHECK;
int keyring_current(const struct keyring *ring);
/* HMAC-SHA-256 under the index key over tenant, kind and value, first 16 bytes: equal values are found. */
void keyring_blind_index(const struct keyring *ring, int tenant, struct str kind, struct str value,
                         unsigned char out[16]);
/* HMAC-SHA-256 under the auth key: what is stored of an app secret, and the MAC of tickets. */
void keyring_auth_mac(const struct keyring *ring, struct str purpose, struct str value,
                      unsigned char out[SHA256_BYTES]);

/* ---- JWS (RFC 7515 compact, RFC 7518, RFC 8037) ---- */
enum jws_algorithm { JWS_HS256, JWS_RS256, JWS_ES256, JWS_EDDSA };
int jws_algorithm_parse(struct str name); /* -1 for anything else */
/* A verification or signing key: HS256 raw secret bytes (≥ 32); others PEM (SubjectPublicKeyInfo or PKCS#8).
 * Refuses keys that do not fit: RSA below 2048 bits, another curve than P-256, another type than Ed25519. */
struct jws_key;
enum result jws_key_load(enum jws_algorithm algorithm, struct str key, struct jws_key **out,
                         struct error *error) MUST_CHECK;
void jws_key_free(struct jws_key *key);
/* Checks the signature under key, whose algorithm is pinned: a token whose header names another one is
 * refused. On success *payload is a view of the decoded claims in the arena. RESULT_INVALID: no token;
 * RESULT_FORBIDDEN: another algorithm, extensions, or a wrong signature. */
enum result jws_verify(const struct jws_key *key, struct str token, struct arena *arena, struct str *payload,
                       struct error *error) MUST_CHECK;
/* Appends header.payload.signature. The header is {"alg","typ":"JWT"}; header_extra: more members as
 * `,"kid":"x"`, or "". RESULT_FAILED with a public key. */
enum result jws_sign(const struct jws_key *key, const char *header_extra, struct str payload, struct buf *out,
                     struct error *error) MUST_CHECK;

/* ---- Web Push keys and encryption (RFC 8291 over RFC 8188, one record; RFC 8292 keys) ---- */
enum { P256_POINT_BYTES = 65, P256_SCALAR_BYTES = 32, PUSH_SALT_BYTES = 16, PUSH_AUTH_BYTES = 16 };
enum result crypto_p256_generate(unsigned char scalar[P256_SCALAR_BYTES],
                                 unsigned char point[P256_POINT_BYTES], struct error *error) MUST_CHECK;
bool crypto_p256_is_point(struct str point); /* 65 bytes, 0x04, on the curve */
/* An ES256 signing key from its raw scalar. */
enum result jws_key_from_p256(const unsigned char scalar[P256_SCALAR_BYTES], struct jws_key **out,
                              struct error *error) MUST_CHECK;
/* salt and sender scalar are NULL outside tests: fresh random ones are made. Appends the whole aes128gcm
 * body. */
enum result crypto_push_encrypt(struct str ua_point, struct str ua_auth, struct str plain,
                                const unsigned char *salt, const unsigned char *sender_scalar,
                                struct buf *out, struct error *error) MUST_CHECK;

#endif
