/* identity/parts.h - what an identity is made of; shared by the files of this folder only. */
#ifndef TBI_IDENTITY_PARTS_H
#define TBI_IDENTITY_PARTS_H

#include <gnutls/abstract.h>
#include <gnutls/x509.h>

#include "identity/identity.h"

struct tbi_identity {
    const struct tbi_alloc *alloc;
    uint8_t seed[TBI_SEED_SIZE]; /* the private key */
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    tbq_peer_id id;
    gnutls_x509_privkey_t x509_key;         /* the same key, as TLS and certificates want it */
    gnutls_privkey_t signer;                /* the same, as signing wants it; refers to x509_key */
    gnutls_x509_crt_t chain[TBI_CHAIN_MAX]; /* the leaf first */
    unsigned chain_len;
    struct tbi_crypto crypto;
};

void tbi_identity_fill_crypto(struct tbi_identity *identity);

/* The identity of a seed, still without a certificate, and how it gets one of its own. */
int tbi_identity_bare(struct tbi_identity **identity, const struct tbi_alloc *alloc,
                      const uint8_t seed[TBI_SEED_SIZE]);
int tbi_identity_self_sign(struct tbi_identity *identity, struct tbi_rng *rng);

/* The Ed25519 key of a certificate. Any failure is told by the verdict, and as
 * tbi_identity_cert_key() does. */
int tbi_cert_ed25519(gnutls_x509_crt_t crt, uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                     struct tbi_verdict *verdict);
int tbi_cert_valid_at(gnutls_x509_crt_t crt, uint64_t wall_ms, struct tbi_verdict *verdict);

/* A name for people; "unknown" where GnuTLS has none. */
const char *tbi_key_type_name(int pk_algorithm);

/* GnuTLS's error as ours: TBQ_ERR_NOMEM or TBQ_ERR_TLS; 0 stays 0. */
int tbi_tls_error(int gnutls_error);

#endif
