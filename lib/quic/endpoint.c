/* quic/endpoint.c - one UDP port: which connection a datagram belongs to, who may begin one, and
 * whose turn it is to send. */
#include <string.h>

#include "quic/parts.h"

#define PACE_LEAST_NS (50 * TBI_NS_PER_US) /* less than it takes to wake somebody */
/* Where a window has gone after a few times that, nobody is woken for the end of each pace. */
#define QUICK_PATH_NS (200 * TBI_NS_PER_US)
#define SELDOM_NS (5 * TBI_NS_PER_MS)

/* --- Life ------------------------------------------------------------------------------------- */

int tbi_endpoint_new(struct tbi_endpoint **made, const struct tbi_endpoint_config *config)
{
    struct tbi_endpoint *ep = tbi_calloc(config->alloc, 1, sizeof *ep);
    const struct tbi_crypto *crypto = config->crypto;
    uint8_t secret[16];
    int rv;

    if (ep == NULL) {
        gnutls_certificate_free_credentials(config->credentials);
        return TBQ_ERR_NOMEM;
    }
    ep->cfg = *config;
    if (ep->cfg.key_update_packets == 0) {
        ep->cfg.key_update_packets = TBI_KEY_UPDATE_PACKETS;
    }
    ep->alloc = config->alloc;
    tbi_rng_init(&ep->rng, config->seed);
    tbi_rng_bytes(&ep->rng, secret, sizeof secret);
    tbi_heap_init(&ep->timers, ep->alloc);
    /* Twice the connections: those that are closing still answer. */
    size_t most = 2 * config->max_connections + 16;
    tbi_map_init(&ep->conns, ep->alloc, secret, sizeof(uint64_t), most);
    tbi_map_init(&ep->cids, ep->alloc, secret, sizeof(struct tbi_cid_key), 16 * most);
    tbi_map_init(&ep->tokens, ep->alloc, secret, NGTCP2_STATELESS_RESET_TOKENLEN, 16 * most);
    tbi_map_init(&ep->crowd, ep->alloc, secret, TBI_PREFIX_SIZE, most);
    tbi_certs_init(ep, secret);
    tbi_early_prepare(ep, secret);
    tbi_list_init(&ep->hurried);
    tbi_list_init(&ep->ready);
    tbi_list_init(&ep->reap);
    tbi_list_init(&ep->actions);
    ep->next_number = 1;
    ep->reply = tbi_calloc(ep->alloc, TBI_REPLIES_MAX, sizeof *ep->reply);
    if (ep->reply == NULL || tbi_heap_room(&ep->timers, most) < 0) {
        rv = TBQ_ERR_NOMEM;
        goto fail;
    }
    /* From the identity key: after a restart the node can still reset what it no longer knows. */
    rv = crypto->derive(crypto->self, "stateless reset", ep->reset_secret, TBI_SECRET_SIZE);
    if (rv == 0) {
        rv = crypto->derive(crypto->self, "retry token", ep->retry_secret, TBI_SECRET_SIZE);
    }
    if (rv < 0 || (rv = tbi_token_init(ep)) < 0 || (rv = tbi_tls_init(ep)) < 0 ||
        (rv = tbi_early_init(ep)) < 0) {
        goto fail;
    }
    *made = ep;
    return 0;
fail:
    tbi_endpoint_free(ep);
    return rv;
}

static void free_action(struct tbi_endpoint *ep, struct tbi_queued_action *a)
{
    tbi_list_remove(&a->entry);
    tbi_block_unref(a->ticket);
    tbi_free(ep->alloc, a);
}

void tbi_endpoint_free(struct tbi_endpoint *ep)
{
    struct tbi_map_entry *e;

    if (ep == NULL) {
        return;
    }
    while ((e = tbi_map_first(&ep->conns)) != NULL) {
        tbi_conn_free(tbi_map_value(e));
    }
    while (!tbi_list_empty(&ep->actions)) {
        free_action(ep, TBI_CONTAINER(ep->actions.next, struct tbi_queued_action, entry));
    }
    tbi_block_unref(ep->last_ticket);
    tbi_early_free(ep);
    tbi_tls_free(ep);
    tbi_map_free(&ep->conns);
    tbi_certs_free(ep);
    tbi_crowd_free(ep);
    tbi_map_free(&ep->cids);
    tbi_map_free(&ep->tokens);
    tbi_heap_free(&ep->timers);
    tbi_free(ep->alloc, ep->reply);
    tbi_wipe(ep->reset_secret, sizeof ep->reset_secret);
    tbi_wipe(ep->retry_secret, sizeof ep->retry_secret);
    tbi_wipe(ep->token_secret, sizeof ep->token_secret);
    tbi_wipe(&ep->rng, sizeof ep->rng);
    tbi_free(ep->alloc, ep);
}

void tbi_endpoint_end(struct tbi_endpoint *ep)
{
    ep->cfg.accept = false;
    ep->ending = true;
}

const struct tbi_endpoint_stats *tbi_endpoint_stats(const struct tbi_endpoint *ep)
{
    return &ep->stats;
}

struct tbi_conn *tbi_endpoint_conn(struct tbi_endpoint *ep, uint64_t conn)
{
    /* Mostly it is the same one again, several times for each message: to ask the map, which
     * remembers it too, would take longer. */
    if (ep->asked == NULL || ep->asked->number != conn) {
        ep->asked = tbi_map_get(&ep->conns, &conn);
    }
    return ep->asked;
}

/* --- Connection ids --------------------------------------------------------------------------- */

static struct tbi_cid_key key_of(const uint8_t *data, size_t size)
{
    struct tbi_cid_key key = {{0}};
    key.bytes[0] = (uint8_t)size;
    memcpy(key.bytes + 1, data, size < NGTCP2_MAX_CIDLEN ? size : NGTCP2_MAX_CIDLEN);
    return key;
}

int tbi_endpoint_add_cid(struct tbi_endpoint *ep, const ngtcp2_cid *cid, struct tbi_conn *c)
{
    struct tbi_cid_key key = key_of(cid->data, cid->datalen);
    return tbi_route_add(c, &ep->cids, &key);
}

void tbi_endpoint_remove_cid(struct tbi_endpoint *ep, const ngtcp2_cid *cid, struct tbi_conn *c)
{
    struct tbi_cid_key key = key_of(cid->data, cid->datalen);
    tbi_route_remove(c, &ep->cids, &key);
}

void tbi_endpoint_new_cid(struct tbi_endpoint *ep, ngtcp2_cid *cid)
{
    uint8_t bytes[TBI_CID_SIZE];
    tbi_rng_bytes(&ep->rng, bytes, sizeof bytes);
    ngtcp2_cid_init(cid, bytes, sizeof bytes);
}

/* --- Actions ---------------------------------------------------------------------------------- */

struct tbi_queued_action *tbi_endpoint_action(struct tbi_endpoint *ep, const struct tbi_conn *c,
                                              enum tbi_quic_action_type type)
{
    struct tbi_queued_action *a = tbi_calloc(ep->alloc, 1, sizeof *a);
    if (a != NULL) {
        a->action.type = type;
        a->action.conn = c->number;
        tbi_list_push(&ep->actions, &a->entry);
    }
    return a;
}

/* What has ended. To answer, or to be silent, until the last packets have come takes next to
 * nothing: a crowd that comes and goes costs no more than those that are there. */
static void reap(struct tbi_endpoint *ep)
{
    TBI_LIST_FOREACH(it, &ep->reap)
    {
        struct tbi_conn *c = TBI_CONTAINER(it, struct tbi_conn, reap);
        if (c->drained && c->state == TBI_CONN_DEAD) {
            tbi_conn_free(c);
        } else if (c->drained) {
            tbi_conn_hollow(c);
            tbi_list_remove(&c->reap);
        }
    }
}

bool tbi_endpoint_next_action(struct tbi_endpoint *ep, struct tbi_quic_action *action)
{
    tbi_block_unref(ep->last_ticket);
    ep->last_ticket = NULL;
    if (tbi_list_empty(&ep->actions)) {
        reap(ep);
        return false;
    }
    struct tbi_queued_action *a = TBI_CONTAINER(ep->actions.next, struct tbi_queued_action, entry);
    *action = a->action;
    if (a->ticket != NULL) {
        ep->last_ticket = tbi_block_ref(a->ticket);
        action->ticket.data = a->ticket->data;
        action->ticket.size = a->ticket->size;
    }
    if (action->type == TBI_QUIC_CLOSED) {
        struct tbi_conn *c = tbi_endpoint_conn(ep, action->conn);
        if (c != NULL) {
            c->drained = true;
        }
    }
    free_action(ep, a);
    return true;
}

bool tbi_endpoint_has_actions(const struct tbi_endpoint *ep)
{
    return !tbi_list_empty(&ep->actions) || !tbi_list_empty(&ep->reap);
}

/* --- Receiving -------------------------------------------------------------------------------- */

static size_t at_most_half(const struct tbi_endpoint *ep, size_t limit)
{
    size_t half = (ep->cfg.max_connections + 1) / 2;
    return limit < half ? limit : half;
}

static bool must_prove(const struct tbi_endpoint *ep, const struct tbi_addr *remote)
{
    return ep->cfg.always_retry || ep->stats.half_open >= at_most_half(ep, TBI_HALF_OPEN_RETRY) ||
           tbi_crowd_of(ep, remote) >= at_most_half(ep, TBI_HALF_OPEN_RETRY_NETWORK);
}

/* A connection for a client that may have one; see tbi_conn_start_server(). */
static struct tbi_conn *new_for(struct tbi_endpoint *ep, const struct tbi_datagram *d,
                                const ngtcp2_pkt_hd *hd, const ngtcp2_cid *odcid, bool proved)
{
    struct tbi_conn *c = tbi_conn_new(ep, true, &d->remote);
    struct tbi_queued_action *a = NULL;

    if (c == NULL) {
        return NULL;
    }
    if (tbi_crowd_enter(c) < 0 || (a = tbi_endpoint_action(ep, c, TBI_QUIC_ACCEPTED)) == NULL ||
        tbi_conn_start_server(c, hd, odcid, proved) < 0) {
        if (a != NULL) {
            free_action(ep, a);
        }
        tbi_conn_free(c);
        return NULL;
    }
    a->action.accepted.remote = d->remote;
    return c;
}

static void accept_new(struct tbi_endpoint *ep, const struct tbi_datagram *d, const uint8_t *data,
                       size_t size)
{
    ngtcp2_pkt_hd hd;
    ngtcp2_cid odcid = {0};
    const ngtcp2_cid *retried = NULL;
    bool proved = false;

    if (!ep->cfg.accept || ngtcp2_accept(&hd, data, size) != 0) {
        ep->stats.dropped_unknown++;
        return;
    }
    if (ep->stats.connections + ep->cfg.kept >= ep->cfg.max_connections) {
        ep->stats.refused_full++;
        tbi_send_refusal(ep, d, &hd, NGTCP2_CONNECTION_REFUSED);
        return;
    }
    if (hd.tokenlen > 0 && hd.token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY) {
        if (ngtcp2_crypto_verify_retry_token(&odcid, hd.token, hd.tokenlen, ep->retry_secret,
                                             sizeof ep->retry_secret, hd.version, &d->remote.u.sa,
                                             d->remote.len, &hd.dcid, TBI_RETRY_TOKEN_NS,
                                             ep->now.wall_ms * TBI_NS_PER_MS) != 0) {
            ep->stats.refused_token++;
            tbi_send_refusal(ep, d, &hd, NGTCP2_INVALID_TOKEN);
            return;
        }
        retried = &odcid;
    } else if (!(proved = tbi_token_proves(ep, d, &hd)) && must_prove(ep, &d->remote)) {
        tbi_send_retry(ep, d, &hd);
        return;
    }
    if (tbi_crowd_of(ep, &d->remote) >= at_most_half(ep, TBI_HALF_OPEN_NETWORK_MAX)) {
        ep->stats.refused_crowded++;
        return;
    }
    struct tbi_conn *c = new_for(ep, d, &hd, retried, proved);
    if (c == NULL) {
        ep->stats.not_begun++;
        return;
    }
    ep->stats.accepted++;
    tbi_conn_recv(c, d, data, size);
    tbi_conn_rearm(c);
}

/* A short header with an id that is not ours: a stateless reset, told by its last bytes (RFC 9000,
 * section 10.3.1), or a packet of a connection that we have forgotten: then we reset it. */
static void short_unknown(struct tbi_endpoint *ep, const struct tbi_datagram *d,
                          const uint8_t *data, size_t size, const uint8_t *dcid)
{
    struct tbi_conn *c = NULL;

    if (size >= NGTCP2_STATELESS_RESET_TOKENLEN) {
        c = tbi_route_find(&ep->tokens, data + size - NGTCP2_STATELESS_RESET_TOKENLEN);
    }
    if (c != NULL) {
        ep->stats.to_connections++;
        tbi_conn_recv(c, d, data, size);
        tbi_conn_rearm(c);
        return;
    }
    ep->stats.dropped_unknown++;
    tbi_send_reset(ep, d, dcid, size);
}

static void recv_packet(struct tbi_endpoint *ep, const struct tbi_datagram *d, const uint8_t *data,
                        size_t size)
{
    ngtcp2_version_cid v;

    ep->stats.datagrams_in++;
    if (size == 0 || data[0] < 0x40) {
        ep->stats.dropped_reserved++;
        return;
    }
    int rv = ngtcp2_pkt_decode_version_cid(&v, data, size, TBI_CID_SIZE);
    if (rv == NGTCP2_ERR_VERSION_NEGOTIATION) {
        if (ep->cfg.accept) {
            tbi_send_versions(ep, d, &v);
        } else {
            ep->stats.dropped_unknown++;
        }
        return;
    }
    if (rv != 0 || v.dcidlen > NGTCP2_MAX_CIDLEN) {
        ep->stats.dropped_unknown++;
        return;
    }
    struct tbi_cid_key key = key_of(v.dcid, v.dcidlen);
    struct tbi_conn *c = tbi_route_find(&ep->cids, &key);
    if (c != NULL) {
        ep->stats.to_connections++;
        tbi_conn_recv(c, d, data, size);
        tbi_conn_rearm(c);
    } else if (v.version == 0) {
        short_unknown(ep, d, data, size, v.dcid);
    } else {
        accept_new(ep, d, data, size);
    }
}

size_t tbi_endpoint_recv(struct tbi_endpoint *ep, struct tbi_now now,
                         const struct tbi_datagram *batch, size_t n)
{
    size_t read = 0;

    ep->now = now;
    do {
        const struct tbi_datagram *d = &batch[read++];
        size_t step = d->segment_size > 0 ? d->segment_size : d->size;
        ep->turn_in += d->size;
        for (size_t at = 0; at < d->size; at += step) {
            recv_packet(ep, d, d->data + at, d->size - at < step ? d->size - at : step);
        }
    } while (read < n && !tbi_endpoint_hurries(ep));
    return read;
}

/* --- Sending ---------------------------------------------------------------------------------- */

static int send_reply(struct tbi_endpoint *ep, struct tbi_send_batch *out)
{
    const struct tbi_reply *r = &ep->reply[ep->reply_first];

    ep->reply_first = (ep->reply_first + 1) % TBI_REPLIES_MAX;
    ep->reply_count--;
    if (r->size > out->capacity) {
        return 0;
    }
    out->local = r->local;
    out->remote = r->remote;
    out->ecn = TBI_ECN_NOT_ECT;
    memcpy(out->data, r->data, r->size);
    out->size = r->size;
    out->segment_size = 0;
    ep->stats.packets_out++;
    return 1;
}

static int send_spare(struct tbi_endpoint *ep, struct tbi_send_batch *out)
{
    const struct tbi_send_batch *spare = &ep->spare_batch;

    out->local = spare->local;
    out->remote = spare->remote;
    out->ecn = spare->ecn;
    memcpy(out->data, ep->spare, spare->size);
    out->size = spare->size;
    out->segment_size = 0;
    ep->spare_batch.size = 0;
    return 1;
}

/* A packet that does not fit those before it: the next batch. */
static void keep_spare(struct tbi_endpoint *ep, const struct tbi_conn *c, const uint8_t *data,
                       size_t size, uint8_t ecn)
{
    memcpy(ep->spare, data, size);
    ep->spare_batch =
        (struct tbi_send_batch){.local = c->out, .remote = c->remote, .ecn = ecn, .size = size};
}

/* Bytes that a batch has at least, if there are so many; its last packet may be beyond. */
static size_t share_of(const struct tbi_conn *c)
{
    if (c->state != TBI_CONN_ALIVE) {
        return 0;
    }
    size_t quantum = ngtcp2_conn_get_send_quantum(c->qc), credit = (size_t)c->credit;
    return quantum < credit ? quantum : credit;
}

/* Tells ngtcp2 that packets are on their way, so that what follows waits for its pace. Not of so
 * little that this would be over before anybody could be woken for it: that counts with what comes
 * next, perhaps on another path, so it is never much. */
static void pace(struct tbi_endpoint *ep, struct tbi_conn *c, size_t size, bool all)
{
    uint64_t now = ep->now.mono_ns;
    ngtcp2_conn_info info;

    c->unpaced += size;
    ngtcp2_conn_get_conn_info(c->qc, &info);
    uint64_t wait = info.smoothed_rtt * c->unpaced / info.cwnd; /* ngtcp2 does not tell it */
    if (all && c->unpaced < NGTCP2_MAX_UDP_PAYLOAD_SIZE && wait < PACE_LEAST_NS) {
        return;
    }
    c->unpaced = 0;
    ngtcp2_conn_update_pkt_tx_time(c->qc, now);
    if (info.smoothed_rtt >= QUICK_PATH_NS || now >= c->paced_until + SELDOM_NS) {
        c->paced_until = now + wait / 4 * 3 + 1; /* cubic and reno: four fifths of it */
    }
}

/* Whether a packet goes into the batch: it is not longer than those before it, which are all of one
 * size, none of them shorter, and goes the same way. */
static bool fits(const struct tbi_send_batch *out, const struct tbi_conn *c, size_t size,
                 uint8_t ecn)
{
    bool alike = size <= out->segment_size && ecn == out->ecn;
    bool behind_a_short_one = out->size % out->segment_size != 0;

    return alike && !behind_a_short_one && tbi_addr_equal(&out->remote, &c->remote) &&
           tbi_addr_equal(&out->local, &c->out);
}

/* Fills the batch from one connection; packets of one size, the last may be shorter. *all: it has
 * no more to send now. */
static bool fill(struct tbi_endpoint *ep, struct tbi_conn *c, struct tbi_send_batch *out, bool *all)
{
    size_t share = share_of(c);
    size_t packets = 0;

    TBI_LIST_FOREACH(it, &c->streams)
    {
        TBI_CONTAINER(it, struct tbi_ostream, entry)->blocked = false;
    }
    out->size = 0;
    *all = false;
    while (packets < TBI_SEGMENTS_MAX && out->capacity - out->size >= TBI_PACKET_MAX &&
           (packets == 0 || (out->size < share && c->state == TBI_CONN_ALIVE))) {
        uint8_t *at = out->data + out->size;
        uint8_t ecn = 0;
        size_t n = tbi_conn_write_packet(c, at, TBI_PACKET_MAX, &ecn);
        if (n == 0) {
            *all = true;
            break;
        }
        ep->stats.packets_out++;
        ep->turn_out += n;
        c->credit -= (int32_t)n;
        if (packets > 0 && !fits(out, c, n, ecn)) {
            keep_spare(ep, c, at, n, ecn);
            break;
        }
        if (packets++ == 0) {
            out->local = c->out;
            out->remote = c->remote;
            out->ecn = ecn;
            out->segment_size = n;
        }
        out->size += n;
    }
    if (out->size > 0 && c->state == TBI_CONN_ALIVE) {
        pace(ep, c, out->size, *all);
    }
    return out->size > 0;
}

/* Deficit round robin (Shreedhar and Varghese, 1995), by bytes: batches may be cut for many
 * reasons. Who wrote a little more than its share has less in the next round; who had nothing more
 * to write saves nothing up. */
static void line_up(struct tbi_endpoint *ep, struct tbi_conn *c, bool more)
{
    more = more && c->state == TBI_CONN_ALIVE; /* asked again until it has nothing */

    if (more && c->credit >= (int32_t)TBI_PACKET_MAX) {
        tbi_list_remove(&c->ready); /* a packet that it wrote may have put it there */
        tbi_list_push_front(&ep->ready, &c->ready);
        return;
    }
    c->credit = TBI_ROUND_BYTES + (more && c->credit < 0 ? c->credit : 0);
    if (more) {
        tbi_conn_ready(c);
    }
}

/* A batch of a handshake that waits for it. */
static bool send_hurried(struct tbi_endpoint *ep, struct tbi_send_batch *out)
{
    struct tbi_list *entry;
    bool all, got = false;

    while (!got && (entry = tbi_list_shift(&ep->hurried)) != NULL) {
        struct tbi_conn *c = TBI_CONTAINER(entry, struct tbi_conn, ready);
        int32_t credit = c->credit;
        got = fill(ep, c, out, &all);
        c->credit = credit; /* these few bytes cost it no turn */
        if (got && !all) {
            tbi_conn_hurry(c); /* behind the others; asked again until it has nothing */
        }
        tbi_conn_rearm(c);
    }
    return got;
}

/* The same of all others. */
static bool send_ready(struct tbi_endpoint *ep, struct tbi_send_batch *out)
{
    struct tbi_list *entry;
    bool all, got = false;

    while (!got && (entry = tbi_list_shift(&ep->ready)) != NULL) {
        struct tbi_conn *c = TBI_CONTAINER(entry, struct tbi_conn, ready);
        got = fill(ep, c, out, &all);
        line_up(ep, c, got && !all);
        tbi_conn_rearm(c);
    }
    return got;
}

int tbi_endpoint_send(struct tbi_endpoint *ep, struct tbi_now now, struct tbi_send_batch *out)
{
    ep->now = now;
    if (ep->spare_batch.size > 0) {
        return send_spare(ep, out);
    }
    while (ep->reply_count > 0) {
        if (send_reply(ep, out) == 1) {
            return 1;
        }
    }
    if (ep->turn_out >= TBI_TURN_BYTES && !ep->ending) {
        return 0;
    }
    return send_hurried(ep, out) || send_ready(ep, out) ? 1 : 0;
}

bool tbi_endpoint_hurries(const struct tbi_endpoint *ep)
{
    return !tbi_list_empty(&ep->hurried) && ep->turn_out < TBI_TURN_BYTES;
}

bool tbi_endpoint_must_send(const struct tbi_endpoint *ep)
{
    return ep->reply_count >= TBI_REPLIES_MAX / 2 || ep->turn_in >= TBI_TURN_BYTES;
}

/* --- Time and dialling ------------------------------------------------------------------------ */

uint64_t tbi_endpoint_deadline(const struct tbi_endpoint *ep)
{
    bool now = !tbi_list_empty(&ep->hurried) || !tbi_list_empty(&ep->ready) ||
               ep->reply_count > 0 || ep->spare_batch.size > 0;
    return now ? 0 : tbi_heap_next(&ep->timers);
}

void tbi_endpoint_tick(struct tbi_endpoint *ep, struct tbi_now now)
{
    struct tbi_timer *t;

    ep->now = now;
    ep->turn_in = ep->turn_out = 0;
    while ((t = tbi_heap_due(&ep->timers, now.mono_ns)) != NULL) {
        tbi_conn_timer(t->owner);
    }
}

int tbi_endpoint_dial(struct tbi_endpoint *ep, struct tbi_now now, const struct tbi_addr *remote,
                      const struct tbi_dial_options *options, uint64_t *conn)
{
    ep->now = now;
    size_t kept = options->needed ? 0 : ep->cfg.kept;
    if (!options->in_place && ep->stats.connections + kept >= ep->cfg.max_connections) {
        return TBQ_ERR_LIMIT;
    }
    struct tbi_conn *c = tbi_conn_new(ep, false, remote);
    if (c == NULL) {
        return TBQ_ERR_NOMEM;
    }
    if (options->local != NULL) {
        c->from = *options->local;
    }
    int rv = tbi_conn_start_client(c, options);
    if (rv < 0) {
        tbi_conn_free(c);
        return rv;
    }
    ep->stats.dialled++;
    tbi_conn_ready(c);
    *conn = c->number;
    return 0;
}
