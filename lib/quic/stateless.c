/* quic/stateless.c - answers that need no connection: Retry, refusal, Version Negotiation and
 * stateless reset. None is larger than what caused it, and few wait at a time. */
#include <string.h>

#include <gnutls/crypto.h>

#include "quic/parts.h"

#define RESET_SIZE_MIN 43U /* looks like a small short-header packet; RFC 9000, section 10.3 */

/* A place in the ring; NULL when all are taken: then the answer is not given. */
static struct tbi_reply *reply_to(struct tbi_endpoint *ep, const struct tbi_datagram *d)
{
    if (ep->reply_count == TBI_REPLIES_MAX) {
        ep->stats.replies_dropped++;
        return NULL;
    }
    struct tbi_reply *r = &ep->reply[(ep->reply_first + ep->reply_count) % TBI_REPLIES_MAX];
    r->local = d->local;
    r->remote = d->remote;
    r->size = 0;
    return r;
}

static bool commit(struct tbi_endpoint *ep, struct tbi_reply *r, ngtcp2_ssize size)
{
    if (size <= 0) {
        return false;
    }
    r->size = (size_t)size;
    ep->reply_count++;
    return true;
}

void tbi_send_retry(struct tbi_endpoint *ep, const struct tbi_datagram *d, const ngtcp2_pkt_hd *hd)
{
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN];
    struct tbi_reply *r = reply_to(ep, d);
    ngtcp2_cid scid;

    ep->stats.unanswered++; /* until it is committed */
    if (r == NULL) {
        return;
    }
    tbi_endpoint_new_cid(ep, &scid);
    ngtcp2_ssize size = ngtcp2_crypto_generate_retry_token(
        token, ep->retry_secret, sizeof ep->retry_secret, hd->version, &d->remote.u.sa,
        d->remote.len, &scid, &hd->dcid, ep->now.wall_ms * TBI_NS_PER_MS);
    if (size < 0) {
        return;
    }
    size = ngtcp2_crypto_write_retry(r->data, sizeof r->data, hd->version, &hd->scid, &scid,
                                     &hd->dcid, token, (size_t)size);
    if (commit(ep, r, size)) {
        ep->stats.retries_sent++;
        ep->stats.unanswered--;
    }
}

void tbi_send_refusal(struct tbi_endpoint *ep, const struct tbi_datagram *d,
                      const ngtcp2_pkt_hd *hd, uint64_t error)
{
    struct tbi_reply *r = reply_to(ep, d);
    if (r != NULL) {
        commit(ep, r,
               ngtcp2_crypto_write_connection_close(r->data, sizeof r->data, hd->version, &hd->scid,
                                                    &hd->dcid, error, NULL, 0));
    }
}

void tbi_send_versions(struct tbi_endpoint *ep, const struct tbi_datagram *d,
                       const ngtcp2_version_cid *v)
{
    static const uint32_t versions[] = {NGTCP2_PROTO_VER_V1, NGTCP2_PROTO_VER_V2};
    struct tbi_reply *r = reply_to(ep, d);

    ep->stats.unanswered++; /* until it is committed */
    if (r != NULL && commit(ep, r,
                            ngtcp2_pkt_write_version_negotiation(
                                r->data, sizeof r->data, (uint8_t)tbi_rng_below(&ep->rng, 256),
                                v->scid, v->scidlen, v->dcid, v->dcidlen, versions, 2))) {
        ep->stats.versions_sent++;
        ep->stats.unanswered--;
    }
}

/* One hash where a key derivation would take six: there are a dozen ids for each connection. */
int tbi_reset_token(const struct tbi_endpoint *ep, const ngtcp2_cid *cid,
                    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN])
{
    uint8_t hash[TBI_HASH_SIZE];

    if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, ep->reset_secret, sizeof ep->reset_secret, cid->data,
                         cid->datalen, hash) != 0) {
        return TBQ_ERR_TLS;
    }
    memcpy(token, hash, NGTCP2_STATELESS_RESET_TOKENLEN);
    return 0;
}

void tbi_send_reset(struct tbi_endpoint *ep, const struct tbi_datagram *d, const uint8_t *dcid,
                    size_t size)
{
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN];
    uint8_t noise[RESET_SIZE_MIN - NGTCP2_STATELESS_RESET_TOKENLEN];
    ngtcp2_cid cid;

    if (size <= RESET_SIZE_MIN) {
        return; /* two endpoints must not answer each other's resets for ever */
    }
    struct tbi_reply *r = reply_to(ep, d);
    if (r == NULL) {
        return;
    }
    ngtcp2_cid_init(&cid, dcid, TBI_CID_SIZE);
    tbi_rng_bytes(&ep->rng, noise, sizeof noise);
    if (tbi_reset_token(ep, &cid, token) == 0 &&
        commit(ep, r,
               ngtcp2_pkt_write_stateless_reset(r->data, RESET_SIZE_MIN, token, noise,
                                                sizeof noise))) {
        ep->stats.resets_sent++;
    }
}
