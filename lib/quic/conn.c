/* quic/conn.c - one connection: its beginning, its packets each way, its end. */
#include <string.h>

#include "quic/parts.h"

#define VECTORS_MAX 16
#define SHARE_EVERY 16 /* packets: one of them begins with a lane that has to wait for others */
/* Packets to an acknowledgement, where none is missing; the last ones wait for 25 ms at most. With
 * two, ngtcp2's default, 3.2 % of the bytes of messages of 1 KiB come back, and 5.4 % where some
 * packets were lost, for each acknowledgement tells of those again; with eight, it is 1.2 % in both
 * cases. */
#define ACK_PACKETS 8
/* Where these are not many, an acknowledgement that is due so soon waits so long for company; the
 * peer counts with 25 ms (max_ack_delay, RFC 9000, section 13.2.1). */
#define ACK_SOON_NS (500 * TBI_NS_PER_US)
#define ACK_LONE_NS (5 * TBI_NS_PER_MS)
#define LITTLE NGTCP2_MAX_UDP_PAYLOAD_SIZE /* bytes: less than two packets */
#define CIDS_MAX 4        /* of the peer's: as many moves but one, before it must hear of one */
#define CLOSE_WAIT_PTOS 3 /* closing and draining periods, RFC 9000, section 10.2 */

uint64_t tbi_connection_window(const struct tbi_endpoint *ep)
{
    return TBI_WINDOWS_UNDER_WAY * ep->cfg.stream_window;
}

/* --- Beginning -------------------------------------------------------------------------------- */

struct tbi_conn *tbi_conn_new(struct tbi_endpoint *ep, bool server, const struct tbi_addr *remote)
{
    struct tbi_conn *c = tbi_calloc(ep->alloc, 1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->ep = ep;
    c->number = ep->next_number++;
    c->server = server;
    c->remote = *remote;
    c->credit = TBI_ROUND_BYTES;
    tbi_list_init(&c->ready);
    tbi_list_init(&c->reap);
    tbi_list_init(&c->routes);
    tbi_list_init(&c->streams);
    tbi_datagrams_init(c);
    ngtcp2_ccerr_default(&c->error);
    tbi_account_init(&c->account, ep->alloc, tbi_account_limit(tbi_connection_window(ep)));
    if (tbi_timer_register(&ep->timers, &c->timer, c, 0) < 0) {
        tbi_free(ep->alloc, c);
        return NULL;
    }
    c->closed = tbi_calloc(ep->alloc, 1, sizeof *c->closed);
    if (c->closed == NULL || tbi_map_put(&ep->conns, &c->number, c) < 0) {
        tbi_free(ep->alloc, c->closed);
        tbi_timer_unregister(&ep->timers, &c->timer);
        tbi_free(ep->alloc, c);
        return NULL;
    }
    c->half_open = true;
    ep->stats.half_open++;
    ep->stats.connections++;
    return c;
}

void tbi_conn_not_half_open(struct tbi_conn *c)
{
    if (c->half_open) {
        c->half_open = false;
        c->ep->stats.half_open--;
    }
    tbi_crowd_leave(c);
}

void tbi_conn_free(struct tbi_conn *c)
{
    struct tbi_endpoint *ep = c->ep;

    tbi_conn_hollow(c);
    tbi_routes_free(c);
    tbi_conn_not_half_open(c);
    ep->stats.connections--;
    tbi_list_remove(&c->ready);
    tbi_list_remove(&c->reap);
    tbi_timer_unregister(&ep->timers, &c->timer);
    tbi_map_remove(&ep->conns, &c->number);
    ep->asked = NULL;
    tbi_free(ep->alloc, c->close_packet);
    tbi_free(ep->alloc, c->closed);
    tbi_free(ep->alloc, c);
}

static ngtcp2_cc_algo congestion_of(tbq_congestion c)
{
    return c == TBQ_RENO  ? NGTCP2_CC_ALGO_RENO
           : c == TBQ_BBR ? NGTCP2_CC_ALGO_BBR
                          : NGTCP2_CC_ALGO_CUBIC;
}

static void settings_of(const struct tbi_endpoint *ep, ngtcp2_settings *s)
{
    static const uint32_t versions[] = {NGTCP2_PROTO_VER_V1, NGTCP2_PROTO_VER_V2};

    ngtcp2_settings_default(s);
    s->cc_algo = congestion_of(ep->cfg.congestion);
    s->initial_ts = ep->now.mono_ns;
    s->handshake_timeout = ep->cfg.handshake_timeout_ms * TBI_NS_PER_MS;
    s->rand_ctx.native_handle = (void *)(uintptr_t)ep;
    s->available_versions = versions;
    s->available_versionslen = 2;
    s->ack_thresh = ACK_PACKETS;
    s->max_tx_udp_payload_size = TBI_PACKET_MAX - 48; /* an Ethernet frame less IPv6 and UDP */
}

static void params_of(const struct tbi_endpoint *ep, ngtcp2_transport_params *p)
{
    ngtcp2_transport_params_default(p);
    p->initial_max_streams_uni = TBI_UNI_STREAMS_MAX;
    p->initial_max_stream_data_uni = ep->cfg.stream_window;
    p->initial_max_data = tbi_connection_window(ep);
    p->max_idle_timeout = ep->cfg.idle_timeout_ms * TBI_NS_PER_MS;
    p->active_connection_id_limit = CIDS_MAX;
    p->disable_active_migration = ep->cfg.no_migration;
    p->max_udp_payload_size = NGTCP2_DEFAULT_MAX_RECV_UDP_PAYLOAD_SIZE;
    p->max_datagram_frame_size = ep->cfg.datagrams ? 65535 : 0;
}

static void rand_cid(struct tbi_endpoint *ep, ngtcp2_cid *cid, size_t size)
{
    uint8_t bytes[NGTCP2_MAX_CIDLEN];
    tbi_rng_bytes(&ep->rng, bytes, size);
    ngtcp2_cid_init(cid, bytes, size);
}

static int attach_tls(struct tbi_conn *c, const struct tbi_dial_options *options)
{
    int rv = tbi_tls_session(c, options);
    if (rv == 0) {
        ngtcp2_conn_set_tls_native_handle(c->qc, c->tls);
        /* A third of the idle time at most: two keep-alives may be lost. */
        uint64_t ms = c->ep->cfg.idle_timeout_ms / 3;
        uint64_t wanted = c->ep->cfg.keep_alive_ms;
        c->keep_alive_ns = (wanted > 0 && wanted < ms ? wanted : ms) * TBI_NS_PER_MS;
        ngtcp2_conn_set_keep_alive_timeout(c->qc, c->keep_alive_ns);
    }
    return rv;
}

int tbi_conn_start_client(struct tbi_conn *c, const struct tbi_dial_options *options)
{
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_callbacks callbacks;
    ngtcp2_cid dcid, scid;
    struct tbi_path p;

    settings_of(c->ep, &settings);
    if (options->token != NULL && options->token_size <= TBI_TOKEN_MAX) {
        settings.token = options->token;
        settings.tokenlen = options->token_size;
    }
    params_of(c->ep, &params);
    tbi_conn_callbacks(&callbacks, false);
    rand_cid(c->ep, &dcid, 18);
    tbi_endpoint_new_cid(c->ep, &scid);
    if (ngtcp2_conn_client_new(&c->qc, &dcid, &scid, tbi_path_set(&p, 0, &c->remote),
                               NGTCP2_PROTO_VER_V1, &callbacks, &settings, &params, &c->account.mem,
                               c) != 0) {
        c->qc = NULL; /* ngtcp2 sets it before it fails and frees what it points to */
        return TBQ_ERR_NOMEM;
    }
    int rv = tbi_endpoint_add_cid(c->ep, &scid, c);
    return rv < 0 ? rv : attach_tls(c, options);
}

int tbi_conn_start_server(struct tbi_conn *c, const ngtcp2_pkt_hd *hd, const ngtcp2_cid *odcid,
                          bool proved)
{
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_callbacks callbacks;
    ngtcp2_cid scid;
    struct tbi_path p;

    settings_of(c->ep, &settings);
    params_of(c->ep, &params);
    tbi_conn_callbacks(&callbacks, true);
    tbi_endpoint_new_cid(c->ep, &scid);
    if (odcid != NULL || proved) { /* the client's address is: by Retry, or before */
        settings.token = hd->token;
        settings.tokenlen = hd->tokenlen;
        settings.token_type = odcid != NULL ? NGTCP2_TOKEN_TYPE_RETRY : NGTCP2_TOKEN_TYPE_NEW_TOKEN;
    }
    if (odcid != NULL) {
        params.original_dcid = *odcid;
        params.retry_scid = hd->dcid;
        params.retry_scid_present = 1;
    } else {
        params.original_dcid = hd->dcid;
    }
    params.original_dcid_present = 1;
    params.stateless_reset_token_present = 1;
    if (tbi_reset_token(c->ep, &scid, params.stateless_reset_token) < 0) {
        return TBQ_ERR_TLS;
    }
    if (ngtcp2_conn_server_new(&c->qc, &hd->scid, &scid, tbi_path_set(&p, 0, &c->remote),
                               hd->version, &callbacks, &settings, &params, &c->account.mem,
                               c) != 0) {
        c->qc = NULL; /* as above */
        return TBQ_ERR_NOMEM;
    }
    int rv = tbi_endpoint_add_cid(c->ep, &scid, c);
    if (rv == 0) {
        rv = tbi_endpoint_add_cid(c->ep, &hd->dcid, c);
    }
    return rv < 0 ? rv : attach_tls(c, NULL);
}

/* --- The end ---------------------------------------------------------------------------------- */

void tbi_conn_ended(struct tbi_conn *c, enum tbi_closed_by who, int reason, uint64_t code,
                    const char *text)
{
    if (c->told_closed) {
        return;
    }
    tbi_datagrams_end(c);
    struct tbi_queued_action *a = c->closed;
    c->closed = NULL;
    c->told_closed = true;
    a->action.type = TBI_QUIC_CLOSED;
    a->action.conn = c->number;
    tbi_list_push(&c->ep->actions, &a->entry);
    a->action.closed.who = who;
    a->action.closed.reason = reason;
    a->action.closed.app_code = code;
    tbi_text(a->action.closed.text, sizeof a->action.closed.text, "%s", text);
}

static void enter(struct tbi_conn *c, enum tbi_conn_state state)
{
    struct tbi_endpoint *ep = c->ep;

    c->state = state;
    tbi_list_remove(&c->reap);
    tbi_list_push(&ep->reap, &c->reap);
    if (state == TBI_CONN_DEAD) {
        tbi_timer_set(&ep->timers, &c->timer, TBI_NEVER);
        tbi_list_remove(&c->ready);
        return;
    }
    tbi_timer_set(&ep->timers, &c->timer,
                  ep->now.mono_ns + CLOSE_WAIT_PTOS * ngtcp2_conn_get_pto(c->qc));
}

/* RFC 9000 has no code for it; the words tell what it was. */
static int too_large(struct tbi_conn *c, char *text, size_t size)
{
    static const char what[] = "more out of order than one connection may have";

    ngtcp2_ccerr_set_transport_error(&c->error, NGTCP2_INTERNAL_ERROR, (const uint8_t *)what,
                                     sizeof what - 1);
    c->ep->stats.over_memory++;
    tbi_text(text, size, "the peer sent %s", what);
    return TBQ_ERR_LIMIT;
}

/* The transport or TLS found a fault: close with it. */
static void fail(struct tbi_conn *c, int liberr)
{
    char text[TBI_CLOSE_TEXT_SIZE];

    if (c->want_close || c->state != TBI_CONN_ALIVE) {
        return;
    }
    if (liberr == NGTCP2_ERR_CRYPTO ||
        (liberr == NGTCP2_ERR_CALLBACK_FAILURE && ngtcp2_conn_get_tls_alert(c->qc) != 0)) {
        ngtcp2_ccerr_set_tls_alert(&c->error, ngtcp2_conn_get_tls_alert(c->qc), NULL, 0);
    } else {
        ngtcp2_ccerr_set_liberr(&c->error, liberr, NULL, 0);
    }
    bool over = liberr == NGTCP2_ERR_NOMEM && c->account.over;
    if (liberr != NGTCP2_ERR_NOMEM || over) {
        c->ep->stats.violations++;
    }
    int reason = over ? too_large(c, text, sizeof text)
                      : tbi_ccerr_text(&c->error, false, text, sizeof text);
    c->want_close = true;
    tbi_conn_ended(c, TBI_CLOSED_TRANSPORT, reason, 0, text);
    tbi_conn_ready(c);
}

void tbi_conn_fail(struct tbi_conn *c, int liberr)
{
    fail(c, liberr);
}

void tbi_conn_close(struct tbi_conn *c, struct tbi_now now, uint64_t code, const char *text)
{
    (void)now;
    if (c == NULL || c->want_close || c->state != TBI_CONN_ALIVE) {
        return;
    }
    tbi_text(c->error_text, sizeof c->error_text, "%s", text);
    ngtcp2_ccerr_set_application_error(&c->error, code, (const uint8_t *)c->error_text,
                                       strlen(c->error_text));
    c->want_close = true;
    tbi_conn_ended(c, TBI_CLOSED_LOCAL, 0, code, c->error_text);
    tbi_conn_ready(c);
}

static void peer_closed(struct tbi_conn *c)
{
    const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(c->qc);
    char text[TBI_CLOSE_TEXT_SIZE];

    if (c->reset) {
        tbi_conn_ended(c, TBI_CLOSED_TRANSPORT, TBQ_ERR_LOST, 0,
                       "stateless reset: the peer does not know the connection any more");
        enter(c, TBI_CONN_DEAD);
        return;
    }
    if (e->type == NGTCP2_CCERR_TYPE_APPLICATION) {
        const char *what = tbi_close_text(e->error_code);
        bool more = e->reasonlen > 0 &&
                    (e->reasonlen != strlen(what) || memcmp(e->reason, what, e->reasonlen) != 0);
        tbi_text(text, sizeof text, "%s%s%.*s", what, more ? ": " : "",
                 more ? (int)e->reasonlen : 0, more ? (const char *)e->reason : "");
        tbi_conn_ended(c, TBI_CLOSED_APPLICATION, 0, e->error_code, text);
    } else {
        int reason = tbi_ccerr_text(e, true, text, sizeof text);
        tbi_conn_ended(c, TBI_CLOSED_TRANSPORT, reason, 0, text);
    }
    enter(c, TBI_CONN_DRAINING);
}

/* Writes the CONNECTION_CLOSE once; it is kept to be repeated. */
static size_t write_close(struct tbi_conn *c, uint8_t *dest, size_t size)
{
    ngtcp2_path_storage ps;
    ngtcp2_pkt_info pi;

    ngtcp2_path_storage_zero(&ps);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(
        c->qc, &ps.path, &pi, dest, size < 1200 ? size : 1200, &c->error, c->ep->now.mono_ns);
    c->want_close = false;
    if (n <= 0) {
        enter(c, TBI_CONN_DEAD);
        return 0;
    }
    tbi_conn_wrote(c, &ps.path, (size_t)n); /* not where a packet was last that tried a path */
    c->close_packet = tbi_memdup(c->ep->alloc, dest, (size_t)n);
    c->close_size = c->close_packet != NULL ? (size_t)n : 0;
    enter(c, TBI_CONN_CLOSING);
    return (size_t)n;
}

/* --- Packets in ------------------------------------------------------------------------------- */

/* Whether little is on its way, in either direction (no whole packet came lately), and there is
 * nothing to send, nor to send again: of that more is not acknowledged than is in flight. Else
 * ngtcp2 may want to look for losses, or the other side wait to hear of them. (With these left out
 * bursts over a path of 2 ms that lost a tenth took 1.1 times as long.) */
static bool is_calm(const struct tbi_conn *c)
{
    uint64_t in_flight = tbi_conn_in_flight(c), unheard = 0;

    TBI_LIST_FOREACH(it, &c->streams)
    {
        const struct tbi_ostream *o = TBI_CONTAINER(it, struct tbi_ostream, entry);
        if (o->unsent > 0 || (o->fin && !o->fin_sent)) {
            return false;
        }
        unheard += o->sent - o->acked;
    }
    return c->complete && c->ep->now.mono_ns > c->much_at + ACK_LONE_NS && in_flight <= LITTLE &&
           unheard <= in_flight && !tbi_datagram_waits(c);
}

/* When ngtcp2 is asked next. On a short path it wants to acknowledge after an eighth of the round
 * trip, just when the answer has left without. Among few and small packets that waits for the next
 * one, or for ACK_LONE_NS. The end of a pace that pace() names does not: ngtcp2 takes the delay for
 * credit, which lets what follows go without any. It comes after 1,200 bytes at the latest, or, on
 * quick paths, once in 5 ms, and then ngtcp2 sees to all that is due: so messages that follow one
 * another put off nothing for ever. */
static uint64_t expires_at(struct tbi_conn *c)
{
    uint64_t at = ngtcp2_conn_get_expiry(c->qc), now = c->ep->now.mono_ns;

    if (at >= now + ACK_SOON_NS || now < c->paced_until || !is_calm(c)) {
        c->lone_at = 0;
        return at;
    }
    c->lone_at = c->lone_at != 0 ? c->lone_at : now;
    return at > c->lone_at + ACK_LONE_NS ? at : c->lone_at + ACK_LONE_NS;
}

void tbi_conn_rearm(struct tbi_conn *c)
{
    bool in_line = !tbi_list_empty(&c->ready); /* then it is asked again at the end of its turn */

    if (c->state == TBI_CONN_ALIVE && !in_line) {
        uint64_t at = expires_at(c), silent = tbi_conn_suspect_at(c);
        tbi_timer_set(&c->ep->timers, &c->timer, silent < at ? silent : at);
    }
}

void tbi_conn_ready(struct tbi_conn *c)
{
    if (tbi_list_empty(&c->ready) && c->state != TBI_CONN_DEAD) {
        tbi_list_push(&c->ep->ready, &c->ready);
    }
}

void tbi_conn_hurry(struct tbi_conn *c)
{
    if (c->state != TBI_CONN_DEAD) {
        tbi_list_remove(&c->ready);
        tbi_list_push(&c->ep->hurried, &c->ready);
    }
}

static void read_failed(struct tbi_conn *c, int rv)
{
    switch (rv) {
    case NGTCP2_ERR_DRAINING:
        peer_closed(c);
        return;
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
        tbi_conn_ended(c, TBI_CLOSED_TRANSPORT, TBQ_ERR_LOST, 0, "the handshake was given up");
        enter(c, TBI_CONN_DEAD);
        return;
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
        tbi_conn_ended(c, TBI_CLOSED_TRANSPORT, TBQ_ERR_UNSUPPORTED, 0,
                       "no version of QUIC in common");
        enter(c, TBI_CONN_DEAD);
        return;
    default:
        fail(c, rv);
    }
}

void tbi_conn_recv(struct tbi_conn *c, const struct tbi_datagram *d, const uint8_t *data,
                   size_t size)
{
    struct tbi_path p;
    ngtcp2_pkt_info pi = {.ecn = d->ecn};

    c->bytes_in += size;
    if (size >= LITTLE) {
        c->much_at = c->ep->now.mono_ns;
    }
    if (c->state == TBI_CONN_CLOSING) {
        c->close_seen++;
        if ((c->close_seen & (c->close_seen - 1)) == 0) { /* answer the 1st, 2nd, 4th, 8th, ... */
            c->close_due = true;
            tbi_conn_ready(c);
        }
        return;
    }
    if (c->state != TBI_CONN_ALIVE || c->want_close) {
        return;
    }
    const ngtcp2_path *path = tbi_path_set(&p, tbi_conn_reached_at(c, &d->local), &d->remote);
    uint64_t before = tbi_conn_in_flight(c);
    c->account.reading = true;
    int rv = ngtcp2_conn_read_pkt(c->qc, path, &pi, data, size, c->ep->now.mono_ns);
    c->account.reading = false;
    if (c->account.most > c->ep->stats.connection_memory) {
        c->ep->stats.connection_memory = c->account.most;
    }
    if (rv != 0) {
        read_failed(c, rv);
        return;
    }
    tbi_shed(c);
    tbi_conn_heard(c, before);
    if (c->complete && (c->server || !c->flight_due)) {
        tbi_conn_ready(c);
    } else { /* what was computed took long, and so will what it is answered with */
        tbi_conn_hurry(c);
    }
}

void tbi_conn_timer(struct tbi_conn *c)
{
    if (c->state != TBI_CONN_ALIVE) {
        tbi_conn_ended(c, TBI_CLOSED_TRANSPORT, TBQ_ERR_LOST, 0, "closed");
        enter(c, TBI_CONN_DEAD);
        return;
    }
    if (tbi_conn_suspect_at(c) <= c->ep->now.mono_ns) {
        tbi_conn_set_suspect(c, true);
    }
    int rv = ngtcp2_conn_handle_expiry(c->qc, c->ep->now.mono_ns);
    if (rv == NGTCP2_ERR_IDLE_CLOSE) {
        tbi_conn_ended(c, TBI_CLOSED_TRANSPORT, TBQ_ERR_LOST, 0,
                       "nothing was heard from the peer for the idle timeout");
        enter(c, TBI_CONN_DEAD);
    } else if (rv == NGTCP2_ERR_HANDSHAKE_TIMEOUT) {
        tbi_conn_ended(c, TBI_CLOSED_TRANSPORT, TBQ_ERR_TIMEOUT, 0,
                       "the handshake was not complete in time");
        enter(c, TBI_CONN_DEAD);
    } else if (rv != 0) {
        fail(c, rv);
    } else {
        tbi_conn_ready(c);
    }
}

/* --- Packets out ------------------------------------------------------------------------------ */

static bool may_send(const struct tbi_ostream *o)
{
    return !o->blocked && !o->closed && (o->unsent > 0 || (o->fin && !o->fin_sent));
}

/* The most urgent one. Where it is the turn of the others, the first one behind it: of the next
 * lane after the one that had the last turn. *more: another one could follow in the same packet. */
static struct tbi_ostream *next_stream(struct tbi_conn *c, bool *more)
{
    struct tbi_ostream *urgent = NULL, *behind = NULL, *next = NULL;
    bool turn = c->others_turn;

    TBI_LIST_FOREACH(it, &c->streams)
    {
        struct tbi_ostream *o = TBI_CONTAINER(it, struct tbi_ostream, entry);
        if (!may_send(o)) {
            continue;
        }
        if (urgent == NULL) {
            urgent = o;
            continue;
        }
        behind = behind != NULL ? behind : o;
        next = next == NULL && o->priority > c->last_turn ? o : next;
        if (!turn || next != NULL) {
            break;
        }
    }
    c->others_turn = false;
    *more = behind != NULL || tbi_datagram_waits(c);
    if (!turn || behind == NULL) {
        return urgent;
    }
    next = next != NULL ? next : behind;
    c->last_turn = next->priority;
    return next;
}

static void after_write(struct tbi_conn *c, struct tbi_ostream *o, size_t size, bool fin)
{
    tbi_ostream_sent(o, size);
    if (fin && o->unsent == 0) {
        o->fin_sent = true;
    }
    if (o->was_full && o->unsent < TBI_STREAM_UNSENT_MAX / 2) {
        o->was_full = false;
        if (tbi_endpoint_action(c->ep, c, TBI_QUIC_WRITABLE) == NULL) {
            fail(c, NGTCP2_ERR_NOMEM); /* who waits for it would wait for ever */
        }
    }
}

/* One call into ngtcp2 with the most urgent stream. >0: a packet; 0: nothing; <0: an NGTCP2_ERR_*,
 * of which WRITE_MORE and the per-stream ones are dealt with here: then *again. */
static ngtcp2_ssize write_some(struct tbi_conn *c, ngtcp2_path *path, ngtcp2_pkt_info *pi,
                               uint8_t *dest, size_t size, bool *again)
{
    ngtcp2_vec vec[VECTORS_MAX];
    ngtcp2_ssize used = -1;
    size_t n = 0;
    bool fin = false;
    uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_NONE;
    bool turn = c->others_turn; /* before datagrams too, or they might fill every packet */
    bool more = false;
    struct tbi_ostream *o = c->want_close ? NULL : next_stream(c, &more);

    if (!c->want_close && tbi_datagram_waits(c) && !(turn && o != NULL) &&
        (o == NULL || o->priority >= TBI_DATAGRAM_PRIORITY)) {
        return tbi_datagram_write(c, path, pi, dest, size, again);
    }
    if (o != NULL) {
        bool all;
        n = tbi_ostream_gather(o, vec, VECTORS_MAX, size, &all);
        fin = o->fin && all;
        flags = (fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0U) |
                (!all || more ? NGTCP2_WRITE_STREAM_FLAG_MORE : 0U);
    }
    ngtcp2_ssize rv = ngtcp2_conn_writev_stream(c->qc, path, pi, dest, size, &used, flags,
                                                o != NULL ? o->id : -1, vec, n, c->ep->now.mono_ns);
    *again = false;
    if (o == NULL) {
        return rv;
    }
    if (used >= 0) {
        c->fresh += (size_t)used;
        after_write(c, o, (size_t)used, fin);
    }
    switch (rv) {
    case NGTCP2_ERR_STREAM_DATA_BLOCKED:
        o->blocked = true;
        *again = true;
        return 0;
    case NGTCP2_ERR_STREAM_SHUT_WR:
    case NGTCP2_ERR_STREAM_NOT_FOUND:
        o->closed = true;
        *again = true;
        return 0;
    case NGTCP2_ERR_WRITE_MORE:
        *again = true;
        return 0;
    default:
        return rv;
    }
}

size_t tbi_conn_write_packet(struct tbi_conn *c, uint8_t *dest, size_t size, uint8_t *ecn)
{
    ngtcp2_path_storage ps;
    ngtcp2_pkt_info pi = {0};
    ngtcp2_ssize rv;
    bool again;

    /* A client that refuses the server ends its handshake first: before, the server could not read
     * the application's close code and would learn APPLICATION_ERROR (RFC 9000, section 10.2.3). */
    bool closes = c->want_close && c->state == TBI_CONN_ALIVE;
    if (closes && !c->flight_due) {
        return write_close(c, dest, size);
    }
    if (c->state == TBI_CONN_CLOSING && c->close_due && c->close_size > 0) {
        c->close_due = false;
        memcpy(dest, c->close_packet, c->close_size);
        return c->close_size;
    }
    if (c->state != TBI_CONN_ALIVE) {
        return 0;
    }
    ngtcp2_path_storage_zero(&ps);
    c->others_turn = c->key_used % SHARE_EVERY == SHARE_EVERY - 1;
    tbi_conn_before_write(c);
    tbi_datagrams_fit(c);
    do {
        rv = write_some(c, &ps.path, &pi, dest, size, &again);
    } while (again);
    c->flight_due = c->flight_due && rv > 0;
    if (closes && rv <= 0) {
        return write_close(c, dest, size);
    }
    if (rv < 0) {
        fail(c, (int)rv);
        return 0;
    }
    if (rv > 0) {
        if (++c->key_used >= c->ep->cfg.key_update_packets) {
            (void)tbi_conn_update_key(c, c->ep->now); /* too fresh: tried again after the next */
        }
        /* Not by a packet that tries whether larger ones pass: those are lost without harm. */
        if (c->asked_at == 0 && tbi_conn_in_flight(c) > 0 &&
            (size_t)rv <= ngtcp2_conn_get_path_max_tx_udp_payload_size(c->qc)) {
            c->asked_at = c->ep->now.mono_ns;
        }
        c->lone_at = 0; /* whatever was due has gone along */
        *ecn = pi.ecn & 3U;
        c->bytes_out += (uint64_t)rv;
        tbi_loss_wrote(c, (size_t)rv);
        tbi_conn_wrote(c, &ps.path, (size_t)rv);
    }
    return (size_t)rv;
}

int tbi_conn_update_key(struct tbi_conn *c, struct tbi_now now)
{
    if (ngtcp2_conn_initiate_key_update(c->qc, now.mono_ns) != 0) {
        return TBQ_ERR_AGAIN;
    }
    c->key_used = 0;
    c->ep->stats.key_updates++;
    tbi_conn_ready(c);
    return 0;
}

/* --- What it is ------------------------------------------------------------------------------- */

uint64_t tbi_conn_number(const struct tbi_conn *c)
{
    return c->number;
}

void tbi_conn_set_user(struct tbi_conn *c, void *user)
{
    c->user = user;
}

const struct tbi_addr *tbi_conn_remote(const struct tbi_conn *c)
{
    return &c->remote;
}

void *tbi_conn_user(const struct tbi_conn *c)
{
    return c->user;
}

gnutls_session_t tbi_conn_peer_session(const struct tbi_conn *c)
{
    return c->tls;
}

bool tbi_conn_resumed(const struct tbi_conn *c)
{
    return c->resumed;
}

uint64_t tbi_conn_rtt_ns(const struct tbi_conn *c)
{
    ngtcp2_conn_info info;
    ngtcp2_conn_get_conn_info(c->qc, &info);
    return info.smoothed_rtt;
}

void tbi_conn_facts(const struct tbi_conn *c, struct tbi_conn_facts *facts)
{
    ngtcp2_conn_info info;

    ngtcp2_conn_get_conn_info(c->qc, &info);
    *facts = (struct tbi_conn_facts){
        .rtt_ns = info.smoothed_rtt,
        .rate = info.smoothed_rtt > 0 ? info.cwnd * TBI_NS_PER_S / info.smoothed_rtt : 0,
        .in_flight = info.bytes_in_flight,
        .streams_left = ngtcp2_conn_get_streams_uni_left(c->qc),
        .bytes_in = c->bytes_in,
        .bytes_out = c->bytes_out,
        .loss = tbi_loss_permille(c),
    };
    TBI_LIST_FOREACH(it, &c->streams)
    {
        facts->unsent += TBI_CONTAINER(it, struct tbi_ostream, entry)->unsent;
    }
}
