/* server/peer.c - see <tbquic/peer.h>. */
#include <tbquic/peer.h>

#include <string.h>

#include "server/parts.h"

int tbq_server_peers(tbq_server *s, const tbq_peer_id *id, const tbq_peers **peers)
{
    return s != NULL && peers != NULL ? tbi_node_peers(s->node, id, peers) : TBQ_ERR_INVALID;
}

void tbq_peers_free(const tbq_peers *peers)
{
    tbi_peers_free(peers);
}

void tbq_stats_init_sized(tbq_stats *stats, size_t size)
{
    if (stats != NULL && size >= sizeof stats->size) {
        memset(stats, 0, size < sizeof *stats ? size : sizeof *stats);
        stats->size = size;
    }
}

int tbq_server_stats(const tbq_server *s, tbq_stats *stats)
{
    tbq_stats all = {0};

    if (s == NULL || stats == NULL || stats->size < sizeof stats->size) {
        return TBQ_ERR_INVALID;
    }
    const struct tbi_udp_stats *u = tbi_udp_stats(s->udp);
    tbi_node_stats(s->node, &all);
    all.size = stats->size;
    all.packets_received = u->datagrams_received;
    all.packets_sent = u->datagrams_sent;
    all.bytes_received = u->bytes_received;
    all.bytes_sent = u->bytes_sent;
    all.receive_errors = u->truncated;
    all.send_blocked = u->send_blocked;
    all.send_refused = u->send_refused + u->send_too_large;
    all.bundles_refused = u->bundles_refused;
    all.buffer_asked = u->buffer_asked;
    all.receive_buffer = u->receive_buffer;
    all.send_buffer = u->send_buffer;
    all.gso = u->gso;
    all.gro = u->gro;
    memcpy(stats, &all, stats->size < sizeof all ? stats->size : sizeof all);
    return 0;
}
