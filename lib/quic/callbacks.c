/* quic/callbacks.c - what ngtcp2 asks and tells in the middle of its work. Nothing is freed here.
 */
#include <string.h>

#include "identity/identity.h"
#include "quic/parts.h"

/* When memory was out the ClientHello may not have been made although GnuTLS calls it no error.
 * Then ngtcp2 asks again, and its helper, which cannot begin twice, would abort. */
static int on_client_initial(ngtcp2_conn *qc, void *user)
{
    struct tbi_conn *c = user;

    if (c->begun) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    c->begun = true;
    return ngtcp2_crypto_client_initial_cb(qc, user);
}

/* GnuTLS keeps what it is given until a message is whole, and a message may claim 16 MiB. */
static int on_crypto(ngtcp2_conn *qc, ngtcp2_encryption_level level, uint64_t offset,
                     const uint8_t *data, size_t size, void *user)
{
    struct tbi_conn *c = user;

    c->crypto_in += size;
    if (c->crypto_in > TBI_CRYPTO_MAX) {
        ngtcp2_conn_set_tls_alert(qc, GNUTLS_A_UNEXPECTED_MESSAGE);
        return NGTCP2_ERR_CRYPTO;
    }
    if (level == NGTCP2_ENCRYPTION_LEVEL_1RTT && !tbi_late_tls(c, data, size)) {
        ngtcp2_conn_set_tls_alert(qc, GNUTLS_A_UNEXPECTED_MESSAGE);
        return NGTCP2_ERR_CRYPTO;
    }
    if (c->tls == NULL) {
        return 0; /* a ticket more than was waited for */
    }
    return ngtcp2_crypto_recv_crypto_data_cb(qc, level, offset, data, size, user);
}

/* No ticket for who showed no key of ours: nobody could tell on the next connection who it is. */
static void give_for_next_time(struct tbi_conn *c)
{
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict;

    if (tbi_conn_peer_key(c, key, &verdict) == 0 && gnutls_session_ticket_send(c->tls, 1, 0) != 0) {
        tbi_log(c->ep->cfg.log, TBQ_LOG_DEBUG, "no session ticket could be sent");
    }
    tbi_token_give(c);
}

static int on_handshake_completed(ngtcp2_conn *qc, void *user)
{
    struct tbi_conn *c = user;
    (void)qc;

    tbi_conn_not_half_open(c);
    if (!tbi_tls_alpn_agreed(c)) {
        ngtcp2_conn_set_tls_alert(qc, 120); /* no_application_protocol */
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    c->complete = true;
    c->flight_due = !c->server;
    c->resumed = gnutls_session_is_resumed(c->tls) != 0;
    if (c->server) {
        give_for_next_time(c);
    }
    int rv = tbi_early_settle(c);
    if (rv != 0) {
        return rv;
    }
    return tbi_endpoint_action(c->ep, c, TBI_QUIC_HANDSHAKE_DONE) != NULL
               ? 0
               : NGTCP2_ERR_CALLBACK_FAILURE;
}

/* The server can write as soon as it has keys for 1-RTT packets: in its first flight. A client that
 * speaks early was told when it dialled. */
static int on_tx_key(ngtcp2_conn *qc, ngtcp2_encryption_level level, void *user)
{
    struct tbi_conn *c = user;
    (void)qc;
    if (level == NGTCP2_ENCRYPTION_LEVEL_1RTT && !c->early &&
        tbi_endpoint_action(c->ep, c, TBI_QUIC_CONNECTED_EARLY) == NULL) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

static int on_stream_data(ngtcp2_conn *qc, uint32_t flags, int64_t stream, uint64_t offset,
                          const uint8_t *data, size_t size, void *user, void *stream_user)
{
    struct tbi_conn *c = user;
    const struct tbi_quic_sink *sink = &c->ep->cfg.sink;
    (void)offset, (void)stream_user;

    /* Connection-level credit comes back at once: memory is bounded by the streams' windows, and
     * control frames never wait for a lane that nobody reads. */
    ngtcp2_conn_extend_max_offset(qc, size);
    if (!c->want_close) {
        sink->stream_data(sink->user, c, stream, data, size,
                          (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
    }
    return 0;
}

static int on_stream_reset(ngtcp2_conn *qc, int64_t stream, uint64_t final_size, uint64_t code,
                           void *user, void *stream_user)
{
    struct tbi_conn *c = user;
    const struct tbi_quic_sink *sink = &c->ep->cfg.sink;
    (void)qc, (void)final_size, (void)code, (void)stream_user;

    if (!c->want_close) {
        sink->stream_reset(sink->user, c, stream);
    }
    return 0;
}

static int on_datagram(ngtcp2_conn *qc, uint32_t flags, const uint8_t *data, size_t size,
                       void *user)
{
    struct tbi_conn *c = user;
    const struct tbi_quic_sink *sink = &c->ep->cfg.sink;
    (void)qc, (void)flags;

    if (!c->want_close) {
        sink->datagram(sink->user, c, data, size);
    }
    return 0;
}

static int on_datagram_acked(ngtcp2_conn *qc, uint64_t serial, void *user)
{
    (void)qc;
    tbi_datagram_fate(user, serial, TBI_QUIC_DATAGRAM_ACKED);
    return 0;
}

static int on_datagram_lost(ngtcp2_conn *qc, uint64_t serial, void *user)
{
    (void)qc;
    tbi_datagram_fate(user, serial, TBI_QUIC_DATAGRAM_LOST);
    return 0;
}

static int on_new_token(ngtcp2_conn *qc, const uint8_t *token, size_t size, void *user)
{
    (void)qc;
    return tbi_token_taken(user, token, size);
}

static int on_acked(ngtcp2_conn *qc, int64_t stream, uint64_t offset, uint64_t size, void *user,
                    void *stream_user)
{
    struct tbi_ostream *o = tbi_conn_ostream(user, stream);
    (void)qc, (void)stream_user;
    if (o != NULL) {
        tbi_ostream_acked(o, offset, size);
    }
    return 0;
}

static int on_stream_close(ngtcp2_conn *qc, uint32_t flags, int64_t stream, uint64_t code,
                           void *user, void *stream_user)
{
    struct tbi_conn *c = user;
    const struct tbi_quic_sink *sink = &c->ep->cfg.sink;
    struct tbi_ostream *o = tbi_conn_ostream(c, stream);
    (void)qc, (void)flags, (void)code, (void)stream_user;
    if (o != NULL && !o->fin && !c->want_close) {
        sink->stream_stopped(sink->user, c, stream);
    }
    if (o != NULL) {
        tbi_conn_drop_ostream(c, o);
    }
    return 0;
}

static int on_more_streams(ngtcp2_conn *qc, uint64_t max, void *user)
{
    struct tbi_conn *c = user;
    (void)qc, (void)max;
    return tbi_endpoint_action(c->ep, c, TBI_QUIC_WRITABLE) != NULL ? 0
                                                                    : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int on_more_stream_data(ngtcp2_conn *qc, int64_t stream, uint64_t max, void *user,
                               void *stream_user)
{
    (void)qc, (void)stream, (void)max, (void)stream_user;
    tbi_conn_ready(user);
    return 0;
}

static int on_stateless_reset(ngtcp2_conn *qc, const ngtcp2_pkt_stateless_reset *sr, void *user)
{
    struct tbi_conn *c = user;
    (void)qc, (void)sr;
    c->reset = true;
    return 0;
}

static int on_path(ngtcp2_conn *qc, uint32_t flags, const ngtcp2_path *path, const ngtcp2_path *old,
                   ngtcp2_path_validation_result result, void *user)
{
    (void)qc, (void)flags, (void)old;
    tbi_conn_path_tried(user, path, result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS);
    return 0;
}

static int on_update_key(ngtcp2_conn *qc, uint8_t *rx_secret, uint8_t *tx_secret,
                         ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv, ngtcp2_crypto_aead_ctx *tx,
                         uint8_t *tx_iv, const uint8_t *rx_now, const uint8_t *tx_now, size_t size,
                         void *user)
{
    ((struct tbi_conn *)user)->ep->stats.keys_derived++;
    return ngtcp2_crypto_update_key_cb(qc, rx_secret, tx_secret, rx, rx_iv, tx, tx_iv, rx_now,
                                       tx_now, size, user);
}

static void on_rand(uint8_t *to, size_t size, const ngtcp2_rand_ctx *ctx)
{
    struct tbi_endpoint *ep = ctx->native_handle;
    tbi_rng_bytes(&ep->rng, to, size);
}

static int on_new_cid(ngtcp2_conn *qc, ngtcp2_cid *cid, uint8_t *token, size_t size, void *user)
{
    struct tbi_conn *c = user;
    (void)qc;

    tbi_endpoint_new_cid(c->ep, cid);
    cid->datalen = size;
    if (size != TBI_CID_SIZE || tbi_reset_token(c->ep, cid, token) < 0 ||
        tbi_endpoint_add_cid(c->ep, cid, c) < 0) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

static int on_remove_cid(ngtcp2_conn *qc, const ngtcp2_cid *cid, void *user)
{
    struct tbi_conn *c = user;
    (void)qc;
    tbi_endpoint_remove_cid(c->ep, cid, c);
    return 0;
}

/* The peer's ids that we use: a stateless reset is told by the token that came with one. */
static int on_dcid_status(ngtcp2_conn *qc, ngtcp2_connection_id_status_type type, uint64_t number,
                          const ngtcp2_cid *cid, const uint8_t *token, void *user)
{
    struct tbi_conn *c = user;
    struct tbi_map *tokens = &c->ep->tokens;
    (void)qc, (void)number, (void)cid;

    if (token == NULL) {
        return 0;
    }
    if (type == NGTCP2_CONNECTION_ID_STATUS_TYPE_ACTIVATE) {
        (void)tbi_route_add(c, tokens, token); /* full: the idle timeout finds out instead */
    } else {
        tbi_route_remove(c, tokens, token);
    }
    return 0;
}

/* ngtcp2's own helper draws from GnuTLS; ours shall repeat under a seed. */
static int on_path_challenge(ngtcp2_conn *qc, uint8_t *data, void *user)
{
    struct tbi_conn *c = user;
    (void)qc;
    tbi_rng_bytes(&c->ep->rng, data, NGTCP2_PATH_CHALLENGE_DATALEN);
    return 0;
}

void tbi_conn_callbacks(ngtcp2_callbacks *callbacks, bool server)
{
    *callbacks = (ngtcp2_callbacks){
        .client_initial = server ? NULL : on_client_initial,
        .recv_client_initial = server ? ngtcp2_crypto_recv_client_initial_cb : NULL,
        .recv_crypto_data = on_crypto,
        .recv_retry = server ? NULL : ngtcp2_crypto_recv_retry_cb,
        .encrypt = ngtcp2_crypto_encrypt_cb,
        .decrypt = ngtcp2_crypto_decrypt_cb,
        .hp_mask = ngtcp2_crypto_hp_mask_cb,
        .update_key = on_update_key,
        .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
        .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
        .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
        .handshake_completed = on_handshake_completed,
        .recv_tx_key = on_tx_key,
        .recv_stream_data = on_stream_data,
        .recv_new_token = server ? NULL : on_new_token,
        .recv_datagram = on_datagram,
        .ack_datagram = on_datagram_acked,
        .lost_datagram = on_datagram_lost,
        .stream_reset = on_stream_reset,
        .acked_stream_data_offset = on_acked,
        .stream_close = on_stream_close,
        .extend_max_local_streams_uni = on_more_streams,
        .extend_max_stream_data = on_more_stream_data,
        .recv_stateless_reset = on_stateless_reset,
        .dcid_status = on_dcid_status,
        .path_validation = on_path,
        .rand = on_rand,
        .get_new_connection_id = on_new_cid,
        .remove_connection_id = on_remove_cid,
        .get_path_challenge_data = on_path_challenge,
    };
}
