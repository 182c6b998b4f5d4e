/* quic/token.c - tokens that prove a client's address on its next connection (NEW_TOKEN, RFC 9000,
 * section 8.1.3). Who has one is let in without Retry when the server is busy, and may be sent more
 * than three times what it sent. One that is false, too old or of another address is as none. */
#include "quic/parts.h"

int tbi_token_init(struct tbi_endpoint *ep)
{
    const struct tbi_crypto *crypto = ep->cfg.crypto;
    return crypto->derive(crypto->self, "address token", ep->token_secret, TBI_SECRET_SIZE);
}

void tbi_token_give(struct tbi_conn *c)
{
    struct tbi_endpoint *ep = c->ep;
    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN];

    ngtcp2_ssize size = ngtcp2_crypto_generate_regular_token(
        token, ep->token_secret, sizeof ep->token_secret, &c->remote.u.sa, c->remote.len,
        ep->now.wall_ms * TBI_NS_PER_MS);
    if (size <= 0 || ngtcp2_conn_submit_new_token(c->qc, token, (size_t)size) != 0) {
        tbi_log(ep->cfg.log, TBQ_LOG_DEBUG, "no address token could be sent");
    }
}

bool tbi_token_proves(struct tbi_endpoint *ep, const struct tbi_datagram *d,
                      const ngtcp2_pkt_hd *hd)
{
    if (hd->tokenlen == 0) {
        return false;
    }
    bool good = ngtcp2_crypto_verify_regular_token(hd->token, hd->tokenlen, ep->token_secret,
                                                   sizeof ep->token_secret, &d->remote.u.sa,
                                                   d->remote.len, TBI_ADDRESS_TOKEN_NS,
                                                   ep->now.wall_ms * TBI_NS_PER_MS) == 0;
    ep->stats.tokens_taken += good;
    ep->stats.tokens_old += !good;
    return good;
}

int tbi_token_taken(struct tbi_conn *c, const uint8_t *token, size_t size)
{
    if (size > TBI_TOKEN_MAX || ++c->tokens_in > TBI_TOKENS_PER_CONN) {
        return 0; /* the next connection can do without it */
    }
    struct tbi_block *b = tbi_block_copy(c->ep->alloc, token, size);
    struct tbi_queued_action *a = b != NULL ? tbi_endpoint_action(c->ep, c, TBI_QUIC_TOKEN) : NULL;
    if (a == NULL) {
        tbi_block_unref(b);
        return 0;
    }
    a->ticket = b;
    return 0;
}
