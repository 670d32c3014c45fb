#ifndef BELFRY_IO_CRYPTO_PRIVATE_H
#define BELFRY_IO_CRYPTO_PRIVATE_H
/* What push_crypto.c lends to jws.c. Nobody else includes this. */
#include "io/crypto.h"
#include <openssl/evp.h>

/* The key pair of a raw scalar; NULL if it is out of range or memory ran out. Free with EVP_PKEY_free(). */
EVP_PKEY *crypto_p256_private(const unsigned char scalar[P256_SCALAR_BYTES]);

#endif
