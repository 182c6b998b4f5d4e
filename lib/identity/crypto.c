/* identity/crypto.c - struct tbi_crypto over GnuTLS and the identity's key. */
#include "identity/parts.h"

#include <gnutls/crypto.h>
#include <limits.h>
#include <string.h>

#include <tbquic/error.h>

/* Stands before the key in every derivation, so that nobody's secret made from the same key in
 * another way is ever equal. */
static const char derive_salt[] = "tbq/1 derive";

/* GnuTLS counts in unsigned and takes what it only reads without const. Nothing it is given here
 * is written to. */
static int borrow(gnutls_datum_t *datum, const void *data, size_t size)
{
    if (size > UINT_MAX) {
        return TBQ_ERR_TOO_LARGE;
    }
    memcpy(&datum->data, &data, sizeof datum->data);
    datum->size = (unsigned)size;
    return 0;
}

static int sign(void *self, const void *data, size_t size, uint8_t signature[TBI_SIGNATURE_SIZE])
{
    const struct tbi_identity *identity = self;
    gnutls_datum_t message, made = {0};
    int rv = borrow(&message, data, size);

    if (rv != 0) {
        return rv;
    }
    rv = tbi_tls_error(
        gnutls_privkey_sign_data2(identity->signer, GNUTLS_SIGN_EDDSA_ED25519, 0, &message, &made));
    if (rv != 0) {
        return rv;
    }
    if (made.size == TBI_SIGNATURE_SIZE) {
        memcpy(signature, made.data, TBI_SIGNATURE_SIZE);
    } else {
        rv = TBQ_ERR_TLS;
    }
    gnutls_free(made.data);
    return rv;
}

static int verify(void *self, const uint8_t key[32], const void *data, size_t size,
                  const uint8_t signature[TBI_SIGNATURE_SIZE])
{
    gnutls_datum_t message, claimed, x;
    gnutls_pubkey_t signer = NULL;
    int rv;

    (void)self;
    if ((rv = borrow(&message, data, size)) != 0 || (rv = borrow(&x, key, 32)) != 0 ||
        (rv = borrow(&claimed, signature, TBI_SIGNATURE_SIZE)) != 0) {
        return rv;
    }
    rv = tbi_tls_error(gnutls_pubkey_init(&signer));
    if (rv != 0) {
        return rv;
    }
    rv = tbi_tls_error(gnutls_pubkey_import_ecc_raw(signer, GNUTLS_ECC_CURVE_ED25519, &x, NULL));
    if (rv == 0) {
        rv = gnutls_pubkey_verify_data2(signer, GNUTLS_SIGN_EDDSA_ED25519, 0, &message, &claimed);
        rv = rv == GNUTLS_E_PK_SIG_VERIFY_FAILED ? TBQ_ERR_IDENTITY : tbi_tls_error(rv);
    }
    gnutls_pubkey_deinit(signer);
    return rv;
}

static int hash(void *self, const void *data, size_t size, uint8_t digest[TBI_HASH_SIZE])
{
    (void)self;
    return tbi_tls_error(gnutls_hash_fast(GNUTLS_DIG_SHA256, data, size, digest));
}

/* HKDF-SHA256, RFC 5869: extract under the salt, expand with the label as info. */
static int derive(void *self, const char *label, uint8_t *secret, size_t size)
{
    const struct tbi_identity *identity = self;
    uint8_t prk[TBI_HASH_SIZE];
    gnutls_datum_t key, salt, info, extracted = {.data = prk, .size = sizeof prk};
    int rv;

    if (size > (size_t)255 * TBI_HASH_SIZE) { /* RFC 5869, section 2.3 */
        return TBQ_ERR_TOO_LARGE;
    }
    if ((rv = borrow(&key, identity->seed, sizeof identity->seed)) != 0 ||
        (rv = borrow(&salt, derive_salt, sizeof derive_salt - 1)) != 0 ||
        (rv = borrow(&info, label, strlen(label))) != 0) {
        return rv;
    }
    rv = tbi_tls_error(gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &key, &salt, prk));
    if (rv == 0) {
        rv = tbi_tls_error(gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &extracted, &info, secret, size));
    }
    tbi_wipe(prk, sizeof prk);
    return rv;
}

void tbi_identity_fill_crypto(struct tbi_identity *identity)
{
    identity->crypto = (struct tbi_crypto){
        .self = identity, .sign = sign, .verify = verify, .hash = hash, .derive = derive};
}
