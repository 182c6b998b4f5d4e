/* quic/loss.c - how much of what a connection sends is lost, estimated.
 *
 * ngtcp2 1.11 does not tell. But what was lost is sent again: a large packet most of which is no
 * new data of a stream carries, nearly always, what an earlier one was to bring. The share of these
 * is the estimate; a probe that was sent for nothing counts, too. */
#include "quic/parts.h"

#define LARGE 600U /* bytes; ACK, window updates and the like stay below */
#define MANY 2048U /* packets, after which earlier ones count half */

void tbi_loss_wrote(struct tbi_conn *c, size_t size)
{
    size_t fresh = c->fresh;
    bool probe = size > ngtcp2_conn_get_path_max_tx_udp_payload_size(c->qc); /* for the path MTU */

    c->fresh = 0;
    if (size < LARGE || probe || !c->complete) {
        return;
    }
    if (c->data_packets == MANY) {
        c->data_packets /= 2;
        c->again_packets /= 2;
    }
    c->data_packets++;
    c->again_packets += fresh < size / 2;
}

uint32_t tbi_loss_permille(const struct tbi_conn *c)
{
    return c->data_packets > 0 ? c->again_packets * 1000 / c->data_packets : 0;
}
