/* node/datagram.c - unreliable datagrams (RFC 9221): the application's bytes, as they are, over the
 * connection that the peer is known by. They have no number and no fate, wait for nothing, and are
 * no use of a connection in the sense of rest.c.
 *
 * Off unless configured. What arrives waits for the application within the limits below, half of
 * what is left for each peer, and is dropped and counted beyond. */
#include "node/parts.h"

#define WAIT_MAX 4096U /* datagrams that the application has not released, of all peers: 6 MB */
#define WAIT_MAX_OF_A_PEER 256U /* and of one */

/* --- Out -------------------------------------------------------------------------------------- */

/* The connection that the peer is known by, unless it is closing; NULL: there is none. */
static struct tbi_session *way_to(struct tbi_node *node, const tbq_peer_id *id)
{
    struct tbi_peer *peer = tbi_peer_get(node, id, false);
    struct tbi_bond *b = peer != NULL ? tbi_peer_newest(peer) : NULL;

    return b != NULL && b->session != NULL && !b->session->closing ? b->session : NULL;
}

size_t tbi_node_datagram_room(struct tbi_node *node, const tbq_peer_id *id)
{
    struct tbi_session *s = way_to(node, id);

    return s != NULL && node->cfg.settings.datagrams ? tbi_conn_datagram_room(tbi_session_conn(s))
                                                     : 0;
}

int tbi_node_send_datagram(struct tbi_node *node, struct tbi_now now, const tbq_peer_id *id,
                           tbq_bytes bytes)
{
    struct tbi_session *s = way_to(node, id);

    node->now = now;
    if (node->stopping) {
        return TBQ_ERR_CLOSED;
    }
    if (!node->cfg.settings.datagrams) {
        return TBQ_ERR_UNSUPPORTED;
    }
    if (s == NULL) {
        return TBQ_ERR_NO_ROUTE;
    }
    struct tbi_conn *conn = tbi_session_conn(s);
    size_t room = tbi_conn_datagram_room(conn);
    if (room == 0 || bytes.size > room) {
        return room == 0 ? TBQ_ERR_UNSUPPORTED : TBQ_ERR_TOO_LARGE;
    }
    if (tbi_conn_datagrams_full(conn)) {
        return TBQ_ERR_AGAIN;
    }
    struct tbi_block *block = tbi_block_copy(node->alloc, bytes.data, bytes.size);
    if (block == NULL) {
        return TBQ_ERR_NOMEM;
    }
    int rv = tbi_conn_send_datagram(conn, block, 0);
    tbi_block_unref(block);
    if (rv == 0) {
        s->bond->peer->datagrams.sent++;
        node->datagrams.sent++;
    }
    return rv;
}

/* --- In --------------------------------------------------------------------------------------- */

static bool has_place(const struct tbi_node *node, const struct tbi_peer *peer)
{
    return peer->datagrams.waiting < WAIT_MAX_OF_A_PEER &&
           peer->datagrams.waiting < WAIT_MAX - node->datagrams.waiting;
}

static struct tbi_event *make_event(struct tbi_session *s, const uint8_t *data, size_t size)
{
    struct tbi_node *node = s->node;
    struct tbi_event *e = tbi_event_new(&node->events, node, TBQ_EVENT_DATAGRAM);

    if (e == NULL) {
        return NULL;
    }
    e->body = tbi_block_copy(node->alloc, data, size);
    if (e->body == NULL) {
        tbi_event_free(e);
        return NULL;
    }
    tbi_event_set_peer(e, &s->peer_id);
    e->pub.connection = s->bond->session->contact != NULL ? s->bond->session->contact->handle : 0;
    e->pub.datagram = (tbq_bytes){.data = e->body->data, .size = size};
    return e;
}

/* From inside a callback. Before both sides have agreed to be connected nothing acts. */
void tbi_datagram_in(struct tbi_session *s, const uint8_t *data, size_t size)
{
    struct tbi_node *node = s->node;
    struct tbi_peer *peer = s->up && s->path != NULL ? s->bond->peer : NULL;
    struct tbi_event *e = NULL;

    if (peer != NULL && s->bond->session != NULL && !node->stopping && has_place(node, peer)) {
        e = make_event(s, data, size);
    }
    if (e == NULL) {
        node->datagrams.dropped++;
        if (peer != NULL) {
            peer->datagrams.dropped++;
        }
        return;
    }
    peer->datagrams.received++;
    peer->datagrams.waiting++;
    node->datagrams.received++;
    node->datagrams.waiting++;
    tbi_events_push(&node->events, e);
}

void tbi_datagram_released(struct tbi_event *e)
{
    struct tbi_peer *peer = tbi_peer_get(e->node, &e->peer, false);

    e->node->datagrams.waiting--;
    if (peer != NULL && peer->datagrams.waiting > 0) { /* it may have been forgotten meanwhile */
        peer->datagrams.waiting--;
    }
}
