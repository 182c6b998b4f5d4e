/* quic/cert.c - what peers' certificates say, and what of it is kept.
 *
 * To read one takes a tenth of a resumed handshake, and who comes again shows the same one. So the
 * endpoint remembers what the newest ones said, by the hash of all their bytes; whether their time
 * is now is asked each time. A flood of made-up ones displaces the others, which are then read
 * again. */
#include <string.h>

#include "identity/identity.h"
#include "quic/parts.h"

void tbi_certs_init(struct tbi_endpoint *ep, const uint8_t secret[16])
{
    tbi_map_init(&ep->certs, ep->alloc, secret, TBI_HASH_SIZE, TBI_CERTS_MAX);
}

static void drop_first(struct tbi_endpoint *ep)
{
    struct tbi_map_entry *e = tbi_map_first(&ep->certs);
    uint8_t hash[TBI_HASH_SIZE];

    memcpy(hash, tbi_map_key(e), sizeof hash);
    tbi_free(ep->alloc, tbi_map_remove(&ep->certs, hash));
}

void tbi_certs_free(struct tbi_endpoint *ep)
{
    while (tbi_map_count(&ep->certs) > 0) {
        drop_first(ep);
    }
    tbi_map_free(&ep->certs);
}

/* Without memory it is read again the next time. */
static void remember(struct tbi_endpoint *ep, const uint8_t hash[TBI_HASH_SIZE],
                     const struct tbi_cert *cert)
{
    struct tbi_cert *copy = tbi_memdup(ep->alloc, cert, sizeof *cert);

    if (copy != NULL && tbi_map_count(&ep->certs) >= TBI_CERTS_MAX) {
        drop_first(ep);
    }
    if (copy != NULL && tbi_map_put(&ep->certs, hash, copy) < 0) {
        tbi_free(ep->alloc, copy);
    }
}

static int look(struct tbi_endpoint *ep, const gnutls_datum_t *der, struct tbi_cert *cert,
                struct tbi_verdict *verdict)
{
    const struct tbi_crypto *crypto = ep->cfg.crypto;
    uint8_t hash[TBI_HASH_SIZE];
    bool hashed = der != NULL && crypto->hash(crypto->self, der->data, der->size, hash) == 0;
    const struct tbi_cert *known = hashed ? tbi_map_get(&ep->certs, hash) : NULL;

    if (known != NULL) {
        *cert = *known;
        return 0;
    }
    int rv = tbi_cert_read(der, cert, verdict);
    if (rv == 0) {
        ep->stats.certificates_read++;
        if (hashed) {
            remember(ep, hash, cert);
        }
    }
    return rv;
}

int tbi_conn_peer_key(struct tbi_conn *c, uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                      struct tbi_verdict *verdict)
{
    memset(verdict, 0, sizeof *verdict);
    if (!c->key_known) {
        struct tbi_cert cert;
        unsigned count = 0;
        const gnutls_datum_t *chain = tbi_conn_peer_chain(c, &count);
        int rv = look(c->ep, count > 0 ? chain : NULL, &cert, verdict);
        if (rv == 0) {
            rv = tbi_cert_judge(&cert, c->ep->now.wall_ms, verdict);
        }
        if (rv < 0) {
            return rv;
        }
        memcpy(c->peer_key, cert.key, sizeof c->peer_key);
        c->key_known = true;
    }
    memcpy(key, c->peer_key, TBQ_PUBLIC_KEY_SIZE);
    return 0;
}
