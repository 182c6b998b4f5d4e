/* identity/identity.h - who this node is: an Ed25519 key, the certificate that carries it in TLS,
 * and the key that a peer's certificate carries.
 *
 * Files are read and written elsewhere: here keys are bytes that come in and go out. Time and
 * randomness are arguments; GnuTLS draws none for Ed25519. */
#ifndef TBI_IDENTITY_IDENTITY_H
#define TBI_IDENTITY_IDENTITY_H

#include <gnutls/gnutls.h>

#include <tbquic/types.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rng.h"
#include "identity/verdict.h"

#define TBI_SEED_SIZE 32        /* of a private key, RFC 8032, section 5.1.5 */
#define TBI_CHAIN_MAX 8         /* certificates in a certificate file, the leaf first */
#define TBI_PEM_SIZE_MAX 65536U /* bytes of a key or certificate file that are looked at */
#define TBI_KEY_PEM_SIZE 256    /* enough for the key's PEM text and a NUL */
#define TBI_CERT_PEM_SIZE 2048  /* enough for the PEM text of a certificate made here, and a NUL */

struct tbi_identity;

/* Makes the identity of a private key; who calls brings the randomness, and wipes it. The
 * certificate is self-signed, its serial drawn from `rng`: same seed and rng, same certificate.
 * Returns 0, TBQ_ERR_NOMEM or TBQ_ERR_TLS. */
int tbi_identity_new(struct tbi_identity **identity, const struct tbi_alloc *alloc,
                     const uint8_t seed[TBI_SEED_SIZE], struct tbi_rng *rng);

/* Reads a key, and the certificate that goes with it and what certifies that; cert_pem.data NULL:
 * a self-signed one is made (an empty file is a fault). Returns 0, TBQ_ERR_NOMEM, TBQ_ERR_TLS or
 * TBQ_ERR_IDENTITY, and `text` says what is wrong, beginning with "key: " or "certificate: ". The
 * bytes are not kept. */
int tbi_identity_from_pem(struct tbi_identity **identity, const struct tbi_alloc *alloc,
                          tbq_bytes key_pem, tbq_bytes cert_pem, struct tbi_rng *rng, char *text,
                          size_t text_size);

void tbi_identity_free(struct tbi_identity *identity); /* NULL is fine; wipes the key */

/* Whether the own certificate is valid at that time; for an operator's one, at start.
 * Returns 0, TBQ_ERR_IDENTITY (and `text`) or TBQ_ERR_TLS. */
int tbi_identity_valid_at(const struct tbi_identity *identity, uint64_t wall_ms, char *text,
                          size_t text_size);

/* When the first certificate of the own chain ends, ms since 1970; TBI_WALL_MS_MAX: never, as with
 * those made here. `text` is that time for people. */
uint64_t tbi_identity_ends_ms(const struct tbi_identity *identity, char *text, size_t text_size);

/* All three borrow from the identity. */
const tbq_peer_id *tbi_identity_id(const struct tbi_identity *identity);
const uint8_t *tbi_identity_key(const struct tbi_identity *identity); /* 32 bytes, public */
const struct tbi_crypto *tbi_identity_crypto(const struct tbi_identity *identity);

/* PEM text with a NUL behind it; *size is without the NUL. The key as PKCS #8 (RFC 8410); of the
 * certificates only the leaf. Returns 0, TBQ_ERR_TOO_LARGE (the buffer) or TBQ_ERR_TLS. */
int tbi_identity_export_key(const struct tbi_identity *identity, char *pem, size_t capacity,
                            size_t *size);
int tbi_identity_export_cert(const struct tbi_identity *identity, char *pem, size_t capacity,
                             size_t *size);

/* New credentials with key and certificate chain, for sessions of both roles; they stay valid when
 * the identity is freed. Free with gnutls_certificate_free_credentials(). 0 or TBQ_ERR_TLS. */
int tbi_identity_credentials(const struct tbi_identity *identity,
                             gnutls_certificate_credentials_t *credentials);

/* The key that the peer of a session proved, in a full or a resumed handshake that is complete.
 * Nothing but the leaf counts; its validity is judged at wall_ms. Returns 0, or TBQ_ERR_IDENTITY
 * with close code NO_CERTIFICATE, KEY_TYPE or CERTIFICATE and a text in `verdict`, or TBQ_ERR_TLS
 * with INTERNAL. `key` is set with 0 only. Ask the trust policy next. */
int tbi_identity_peer_key(gnutls_session_t session, uint64_t wall_ms,
                          uint8_t key[TBQ_PUBLIC_KEY_SIZE], struct tbi_verdict *verdict);

/* All that the peer showed, the leaf first; the session's memory. NULL: nothing. */
const gnutls_datum_t *tbi_identity_peer_chain(gnutls_session_t session, unsigned *count);

/* The same for the DER of a certificate; NULL or empty: NO_CERTIFICATE. */
int tbi_identity_cert_key(const gnutls_datum_t *der, uint64_t wall_ms,
                          uint8_t key[TBQ_PUBLIC_KEY_SIZE], struct tbi_verdict *verdict);

/* And in two steps, for who sees the same certificate again and again: what is in it, and whether
 * its time is now. Errors are as above. */
struct tbi_cert {
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    time_t from, until; /* -1: cannot be read */
};
int tbi_cert_read(const gnutls_datum_t *der, struct tbi_cert *cert, struct tbi_verdict *verdict);
int tbi_cert_judge(const struct tbi_cert *cert, uint64_t wall_ms, struct tbi_verdict *verdict);

#endif
