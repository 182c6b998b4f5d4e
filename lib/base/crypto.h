/* base/crypto.h - signatures, hashes and derived secrets, as an interface that identity/ fills.
 *
 * So that link/ and mesh/ can sign and verify without knowing a TLS library. */
#ifndef TBI_BASE_CRYPTO_H
#define TBI_BASE_CRYPTO_H

#include <stddef.h>
#include <stdint.h>

#define TBI_SIGNATURE_SIZE 64 /* Ed25519, RFC 8032 */
#define TBI_HASH_SIZE 32      /* SHA-256 */

struct tbi_crypto {
    void *self; /* holds the private key; handed to every function */

    /* All return 0 or a TBQ_ERR_*: TBQ_ERR_TLS when the library fails, TBQ_ERR_IDENTITY when a
     * signature is not genuine. */
    int (*sign)(void *self, const void *data, size_t size, uint8_t signature[TBI_SIGNATURE_SIZE]);
    int (*verify)(void *self, const uint8_t key[32], const void *data, size_t size,
                  const uint8_t signature[TBI_SIGNATURE_SIZE]);
    int (*hash)(void *self, const void *data, size_t size, uint8_t hash[TBI_HASH_SIZE]);
    /* A secret of `size` bytes that depends on the identity key and the label only. */
    int (*derive)(void *self, const char *label, uint8_t *secret, size_t size);
};

#endif
