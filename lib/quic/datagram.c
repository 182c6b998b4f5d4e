/* quic/datagram.c - unreliable datagrams (RFC 9221): a short queue, and what became of those that
 * somebody asks about. Nothing is sent again; when the queue is full, the oldest one goes. */
#include "quic/parts.h"

/* Bytes of a packet around a datagram: the frame's type and length; packet number and AEAD tag; the
 * flags of a short header. Or of a long one: version, lengths of two ids, and of the payload. */
#define FRAME_OVERHEAD 3U
#define PACKET_OVERHEAD (1U + 4 + 16)
#define LONG_OVERHEAD (4U + 1 + 1 + 2)

struct tbi_odatagram {
    struct tbi_list entry; /* of the queue, until it is in a packet */
    struct tbi_block *block;
    uint64_t serial;
    struct tbi_queued_action *fate; /* made at the beginning: it is told without memory; or NULL */
};

void tbi_datagrams_init(struct tbi_conn *c)
{
    tbi_list_init(&c->datagrams);
    tbi_map_init(&c->fates, c->ep->alloc, c->ep->conns.secret, sizeof(uint64_t),
                 TBI_DATAGRAM_FATES_MAX);
}

static void leave_queue(struct tbi_conn *c, struct tbi_odatagram *d)
{
    if (!tbi_list_empty(&d->entry)) {
        tbi_list_remove(&d->entry);
        c->datagram_count--;
    }
    tbi_block_unref(d->block);
    d->block = NULL;
}

static void free_one(struct tbi_conn *c, struct tbi_odatagram *d)
{
    leave_queue(c, d);
    tbi_free(c->ep->alloc, d->fate);
    tbi_free(c->ep->alloc, d);
}

static void tell(struct tbi_conn *c, struct tbi_odatagram *d, enum tbi_quic_action_type fate)
{
    if (d->fate != NULL) {
        d->fate->action.type = fate;
        tbi_list_push(&c->ep->actions, &d->fate->entry);
        d->fate = NULL;
        tbi_map_remove(&c->fates, &d->serial);
    }
    free_one(c, d);
}

void tbi_datagram_fate(struct tbi_conn *c, uint64_t serial, enum tbi_quic_action_type fate)
{
    /* One that was thought lost may be acknowledged after all: what was told stands. */
    struct tbi_odatagram *d = tbi_map_get(&c->fates, &serial);
    if (d != NULL) {
        tell(c, d, fate);
    }
}

static struct tbi_odatagram *first(const struct tbi_conn *c)
{
    return TBI_CONTAINER(c->datagrams.next, struct tbi_odatagram, entry);
}

static void drop_first(struct tbi_conn *c)
{
    c->ep->stats.datagrams_dropped++;
    tell(c, first(c), TBI_QUIC_DATAGRAM_LOST);
}

bool tbi_datagram_waits(const struct tbi_conn *c)
{
    return !tbi_list_empty(&c->datagrams);
}

/* Those with a fate to tell: all of them, or only those that are in packets. */
static void lose(struct tbi_conn *c, bool all)
{
    struct tbi_map_entry *e = tbi_map_first(&c->fates);

    while (e != NULL) {
        struct tbi_odatagram *d = tbi_map_value(e);
        e = tbi_map_next(e);
        if (all || tbi_list_empty(&d->entry)) {
            tell(c, d, TBI_QUIC_DATAGRAM_LOST);
        }
    }
}

void tbi_datagrams_lost(struct tbi_conn *c)
{
    lose(c, false);
}

void tbi_datagrams_end(struct tbi_conn *c)
{
    lose(c, true);
    while (tbi_datagram_waits(c)) {
        free_one(c, first(c));
    }
}

void tbi_datagrams_free(struct tbi_conn *c)
{
    struct tbi_map_entry *e;

    while ((e = tbi_map_first(&c->fates)) != NULL) {
        struct tbi_odatagram *d = tbi_map_value(e);
        tbi_map_remove(&c->fates, &d->serial);
        free_one(c, d);
    }
    while (tbi_datagram_waits(c)) {
        free_one(c, first(c));
    }
}

/* --- Size ------------------------------------------------------------------------------------- */

size_t tbi_conn_datagram_room(const struct tbi_conn *c)
{
    if (c->state != TBI_CONN_ALIVE || c->want_close) {
        return 0;
    }
    const ngtcp2_transport_params *theirs = ngtcp2_conn_get_remote_transport_params(c->qc);
    if (theirs == NULL || theirs->max_datagram_frame_size <= FRAME_OVERHEAD) {
        return 0;
    }
    size_t packet = ngtcp2_conn_get_path_max_tx_udp_payload_size(c->qc);
    size_t around = PACKET_OVERHEAD + ngtcp2_conn_get_dcid(c->qc)->datalen + FRAME_OVERHEAD;
    if (!c->complete) {
        around += LONG_OVERHEAD + TBI_CID_SIZE;
    }
    size_t room = (packet < TBI_PACKET_MAX ? packet : TBI_PACKET_MAX) - around;
    uint64_t frame = theirs->max_datagram_frame_size - FRAME_OVERHEAD;
    return frame < room ? (size_t)frame : room;
}

bool tbi_conn_datagrams_full(const struct tbi_conn *c)
{
    return c->datagram_count >= TBI_DATAGRAMS_MAX;
}

void tbi_datagrams_fit(struct tbi_conn *c)
{
    while (tbi_datagram_waits(c) && first(c)->block->size > tbi_conn_datagram_room(c)) {
        drop_first(c);
    }
}

/* --- Sending ---------------------------------------------------------------------------------- */

static int make(struct tbi_conn *c, uint64_t id, struct tbi_odatagram **made)
{
    const struct tbi_alloc *a = c->ep->alloc;
    struct tbi_odatagram *d = tbi_calloc(a, 1, sizeof *d);
    int rv = 0;

    if (d == NULL) {
        return TBQ_ERR_NOMEM;
    }
    tbi_list_init(&d->entry);
    d->serial = c->ep->next_datagram++;
    if (id != 0) {
        d->fate = tbi_calloc(a, 1, sizeof *d->fate);
        rv = d->fate != NULL ? tbi_map_put(&c->fates, &d->serial, d) : TBQ_ERR_NOMEM;
    }
    if (rv < 0) {
        free_one(c, d);
        return rv == TBQ_ERR_LIMIT ? TBQ_ERR_AGAIN : rv;
    }
    if (id != 0) {
        d->fate->action.conn = c->number;
        d->fate->action.datagram.id = id;
    }
    *made = d;
    return 0;
}

int tbi_conn_send_datagram(struct tbi_conn *c, struct tbi_block *block, uint64_t id)
{
    struct tbi_odatagram *d = NULL;

    if (c->state != TBI_CONN_ALIVE || c->want_close) {
        return TBQ_ERR_CLOSED;
    }
    size_t room = tbi_conn_datagram_room(c);
    if (room == 0 || block->size > room) {
        return room == 0 ? TBQ_ERR_UNSUPPORTED : TBQ_ERR_TOO_LARGE;
    }
    int rv = make(c, id, &d);
    if (rv < 0) {
        return rv;
    }
    if (c->datagram_count >= TBI_DATAGRAMS_MAX) {
        drop_first(c);
    }
    d->block = tbi_block_ref(block);
    tbi_list_push(&c->datagrams, &d->entry);
    c->datagram_count++;
    tbi_conn_ready(c);
    return 0;
}

/* The first of the queue into the packet that is being written; see write_some() in conn.c. */
ngtcp2_ssize tbi_datagram_write(struct tbi_conn *c, ngtcp2_path *path, ngtcp2_pkt_info *pi,
                                uint8_t *dest, size_t size, bool *again)
{
    struct tbi_odatagram *d = first(c);
    ngtcp2_vec vec = {.base = d->block->data, .len = d->block->size};
    int accepted = 0;

    ngtcp2_ssize rv = ngtcp2_conn_writev_datagram(c->qc, path, pi, dest, size, &accepted,
                                                  NGTCP2_WRITE_DATAGRAM_FLAG_MORE, d->serial, &vec,
                                                  vec.len > 0 ? 1 : 0, c->ep->now.mono_ns);
    if (rv == NGTCP2_ERR_INVALID_STATE || rv == NGTCP2_ERR_INVALID_ARGUMENT) {
        drop_first(c); /* the peer takes none of this size; nothing was written */
        *again = true;
        return 0;
    }
    *again = rv == NGTCP2_ERR_WRITE_MORE;
    if (accepted) {
        c->fresh += d->block->size;
        leave_queue(c, d); /* the packet has its bytes */
        if (d->fate == NULL) {
            free_one(c, d);
        }
    }
    return *again ? 0 : rv;
}
