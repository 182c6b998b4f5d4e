/* identity/identity.c - making and freeing an identity, and its self-signed certificate.
 *
 * A certificate is a formality here: peers look at the key in it and at nothing else. It never
 * expires, so that a node with a wrong clock is still the same node. */
#include "identity/parts.h"

#include <gnutls/crypto.h>
#include <string.h>

#include <tbquic/error.h>

#define SERIAL_SIZE 16 /* bytes; RFC 5280, section 4.1.2.2 allows 20 */

int tbi_tls_error(int gnutls_error)
{
    if (gnutls_error >= 0) {
        return 0;
    }
    return gnutls_error == GNUTLS_E_MEMORY_ERROR ? TBQ_ERR_NOMEM : TBQ_ERR_TLS;
}

int tbq_peer_id_from_key(tbq_peer_id *id, const uint8_t key[TBQ_PUBLIC_KEY_SIZE])
{
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, key, TBQ_PUBLIC_KEY_SIZE, id->bytes) < 0
               ? TBQ_ERR_TLS
               : 0;
}

/* Through PKCS #8, because that is the form from which GnuTLS works out the public half. */
static int import_seed(struct tbi_identity *identity)
{
    /* RFC 8410, section 7: version 0, OID 1.3.101.112, the seed in two octet strings */
    static const uint8_t head[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                   0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
    uint8_t der[sizeof head + TBI_SEED_SIZE];
    gnutls_datum_t datum = {.data = der, .size = sizeof der};
    gnutls_datum_t x = {0};
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    int rv;

    memcpy(der, head, sizeof head);
    memcpy(der + sizeof head, identity->seed, TBI_SEED_SIZE);
    rv = gnutls_x509_privkey_import_pkcs8(identity->x509_key, &datum, GNUTLS_X509_FMT_DER, NULL,
                                          GNUTLS_PKCS_PLAIN);
    tbi_wipe(der, sizeof der);
    if (rv < 0) {
        return tbi_tls_error(rv);
    }
    rv = gnutls_x509_privkey_export_ecc_raw(identity->x509_key, &curve, &x, NULL, NULL);
    if (rv < 0) {
        return tbi_tls_error(rv);
    }
    if (curve == GNUTLS_ECC_CURVE_ED25519 && x.size == sizeof identity->key) {
        memcpy(identity->key, x.data, sizeof identity->key);
    } else {
        rv = TBQ_ERR_TLS;
    }
    gnutls_free(x.data);
    return rv;
}

int tbi_identity_bare(struct tbi_identity **identity, const struct tbi_alloc *alloc,
                      const uint8_t seed[TBI_SEED_SIZE])
{
    struct tbi_identity *made = tbi_calloc(alloc, 1, sizeof *made);
    int rv;

    if (made == NULL) {
        return TBQ_ERR_NOMEM;
    }
    made->alloc = alloc;
    memcpy(made->seed, seed, sizeof made->seed);
    rv = tbi_tls_error(gnutls_x509_privkey_init(&made->x509_key));
    if (rv != 0) {
        goto fail;
    }
    rv = import_seed(made);
    if (rv != 0) {
        goto fail;
    }
    rv = tbi_tls_error(gnutls_privkey_init(&made->signer));
    if (rv != 0) {
        goto fail;
    }
    rv = tbi_tls_error(gnutls_privkey_import_x509(made->signer, made->x509_key, 0));
    if (rv != 0) {
        goto fail;
    }
    rv = tbq_peer_id_from_key(&made->id, made->key);
    if (rv != 0) {
        goto fail;
    }
    tbi_identity_fill_crypto(made);
    *identity = made;
    return 0;

fail:
    tbi_identity_free(made);
    return rv;
}

/* All that is said in the certificate, but for the signature. */
static int describe(const struct tbi_identity *identity, gnutls_x509_crt_t crt, struct tbi_rng *rng)
{
    char name[TBQ_PEER_ID_TEXT_SIZE];
    uint8_t serial[SERIAL_SIZE];
    int rv;

    tbq_peer_id_to_text(&identity->id, name);
    tbi_rng_bytes(rng, serial, sizeof serial);
    /* Positive and never shortened in DER: handshakes of all nodes have the same size. */
    serial[0] = (uint8_t)((serial[0] & 0x3fU) | 0x40U);

    if ((rv = gnutls_x509_crt_set_version(crt, 3)) < 0 ||
        (rv = gnutls_x509_crt_set_serial(crt, serial, sizeof serial)) < 0 ||
        (rv = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                            (unsigned)strlen(name))) < 0 ||
        (rv = gnutls_x509_crt_set_activation_time(crt, 0)) < 0 ||
        /* -1 is 99991231235959Z, "no well-defined expiration", RFC 5280, section 4.1.2.5 */
        (rv = gnutls_x509_crt_set_expiration_time(crt, (time_t)-1)) < 0 ||
        (rv = gnutls_x509_crt_set_basic_constraints(crt, 0, -1)) < 0 ||
        (rv = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE)) < 0 ||
        (rv = gnutls_x509_crt_set_key(crt, identity->x509_key)) < 0) {
        return tbi_tls_error(rv);
    }
    return 0;
}

int tbi_identity_self_sign(struct tbi_identity *identity, struct tbi_rng *rng)
{
    gnutls_x509_crt_t crt = NULL;
    int rv = tbi_tls_error(gnutls_x509_crt_init(&crt));

    if (rv != 0) {
        return rv;
    }
    rv = describe(identity, crt, rng);
    if (rv == 0) {
        /* The hash of Ed25519 is part of it; GnuTLS wants to hear its name. */
        rv = tbi_tls_error(
            gnutls_x509_crt_sign2(crt, crt, identity->x509_key, GNUTLS_DIG_SHA512, 0));
    }
    if (rv != 0) {
        gnutls_x509_crt_deinit(crt);
        return rv;
    }
    identity->chain[0] = crt;
    identity->chain_len = 1;
    return 0;
}

int tbi_identity_new(struct tbi_identity **identity, const struct tbi_alloc *alloc,
                     const uint8_t seed[TBI_SEED_SIZE], struct tbi_rng *rng)
{
    struct tbi_identity *made = NULL;
    int rv = tbi_identity_bare(&made, alloc, seed);

    if (rv != 0) {
        return rv;
    }
    rv = tbi_identity_self_sign(made, rng);
    if (rv != 0) {
        tbi_identity_free(made);
        return rv;
    }
    *identity = made;
    return 0;
}

void tbi_identity_free(struct tbi_identity *identity)
{
    const struct tbi_alloc *alloc;

    if (identity == NULL) {
        return;
    }
    for (unsigned i = 0; i < identity->chain_len; i++) {
        gnutls_x509_crt_deinit(identity->chain[i]);
    }
    if (identity->signer != NULL) {
        gnutls_privkey_deinit(identity->signer);
    }
    if (identity->x509_key != NULL) {
        gnutls_x509_privkey_deinit(identity->x509_key);
    }
    alloc = identity->alloc;
    tbi_wipe(identity, sizeof *identity);
    tbi_free(alloc, identity);
}

const tbq_peer_id *tbi_identity_id(const struct tbi_identity *identity)
{
    return &identity->id;
}

const uint8_t *tbi_identity_key(const struct tbi_identity *identity)
{
    return identity->key;
}

const struct tbi_crypto *tbi_identity_crypto(const struct tbi_identity *identity)
{
    return &identity->crypto;
}

int tbi_identity_credentials(const struct tbi_identity *identity,
                             gnutls_certificate_credentials_t *credentials)
{
    gnutls_certificate_credentials_t made = NULL;
    gnutls_x509_crt_t chain[TBI_CHAIN_MAX]; /* GnuTLS does not promise to leave the list alone */
    int rv = tbi_tls_error(gnutls_certificate_allocate_credentials(&made));

    if (rv != 0) {
        return rv;
    }
    memcpy(chain, identity->chain, sizeof chain);
    rv = tbi_tls_error(
        gnutls_certificate_set_x509_key(made, chain, (int)identity->chain_len, identity->x509_key));
    if (rv != 0) {
        gnutls_certificate_free_credentials(made);
        return rv;
    }
    *credentials = made;
    return 0;
}
