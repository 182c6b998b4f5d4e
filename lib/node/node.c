/* node/node.c - the engine's entries: what comes in is handed to its part, and then everything that
 * the parts have to tell each other is drained. Start reading here. */
#include "node/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/parts.h"

#define ANSWERS_LEAST 8 /* fewer are not worth a packet of their own */

/* --- Life ------------------------------------------------------------------------------------- */

/* What comes in 0-RTT comes from inside the receipt that accepts the connection: ACCEPTED waits
 * behind it. */
static struct tbi_session *session_of(struct tbi_node *node, struct tbi_conn *conn)
{
    struct tbi_session *s = tbi_conn_user(conn);

    if (s == NULL && tbi_conn_is_early(conn)) {
        s = tbi_session_new(node, tbi_conn_number(conn), false, tbi_conn_remote(conn));
    }
    return s; /* NULL: out of memory, and ACCEPTED tries again, or closes */
}

static void on_stream_data(void *user, struct tbi_conn *conn, int64_t stream, const uint8_t *data,
                           size_t size, bool fin)
{
    struct tbi_session *s = session_of(user, conn);
    if (s != NULL) {
        tbi_session_stream(s, stream, data, size, fin);
    }
}

static void on_stream_reset(void *user, struct tbi_conn *conn, int64_t stream)
{
    struct tbi_session *s = tbi_conn_user(conn);
    (void)user;
    if (s != NULL) {
        tbi_session_stream_reset(s, stream);
    }
}

static void on_stream_stopped(void *user, struct tbi_conn *conn, int64_t stream)
{
    struct tbi_session *s = tbi_conn_user(conn);
    (void)user;
    if (s != NULL) {
        tbi_session_stream_stopped(s, stream);
    }
}

static void on_datagram(void *user, struct tbi_conn *conn, const uint8_t *data, size_t size)
{
    struct tbi_session *s = tbi_conn_user(conn);
    (void)user;
    if (s != NULL) {
        tbi_datagram_in(s, data, size);
    }
}

static int make_endpoint(struct tbi_node *node)
{
    const tbq_config *settings = &node->cfg.settings;
    struct tbi_endpoint_config config = {
        .alloc = node->alloc,
        .log = node->log,
        .crypto = tbi_identity_crypto(node->cfg.identity),
        .max_connections = settings->max_connections,
        .kept = tbi_busy_share(settings->max_connections),
        .accept = settings->network_mode != TBQ_MODE_CLIENT,
        .idle_timeout_ms = settings->idle_timeout_ms,
        /* Also where a full outbox has no room for a PING, and all that was sent is acknowledged.
         */
        .keep_alive_ms = settings->ping_interval_ms,
        .handshake_timeout_ms = settings->connection_timeout_ms,
        .stream_window = settings->receive_window,
        .stream_window_max = settings->receive_window_max,
        .window_budget = settings->receive_budget,
        .congestion = settings->congestion,
        .early_data = settings->early_data,
        .sink = {.user = node,
                 .stream_data = on_stream_data,
                 .stream_reset = on_stream_reset,
                 .stream_stopped = on_stream_stopped,
                 .datagram = on_datagram},
        .datagrams = settings->datagrams,
    };
    tbi_rng_bytes(&node->rng, config.seed, sizeof config.seed);
    int rv = tbi_identity_credentials(node->cfg.identity, &config.credentials);
    if (rv < 0) {
        return rv;
    }
    rv = tbi_endpoint_new(&node->endpoint, &config);
    tbi_wipe(config.seed, sizeof config.seed);
    return rv;
}

int tbi_node_new(struct tbi_node **made, const struct tbi_node_config *config, struct tbi_now now)
{
    struct tbi_node *node = tbi_calloc(config->alloc, 1, sizeof *node);
    uint8_t secret[16];
    int rv;

    if (node == NULL) {
        return TBQ_ERR_NOMEM;
    }
    node->cfg = *config;
    node->alloc = config->alloc;
    node->log = config->log;
    node->now = now;
    node->next_number = 1;
    node->id = *tbi_identity_id(config->identity);
    node->certificate_at = now.mono_ns; /* a first look with the first step */
    tbi_rng_init(&node->rng, config->seed);
    tbi_rng_bytes(&node->rng, secret, sizeof secret);
    tbi_rng_bytes(&node->rng, node->boot_id, sizeof node->boot_id);
    tbi_heap_init(&node->timers, node->alloc);
    tbi_events_init(&node->events, node->alloc);
    tbi_list_init(&node->bonds);
    tbi_list_init(&node->touched);
    tbi_list_init(&node->bindings);
    tbi_list_init(&node->hungry);
    tbi_list_init(&node->lookups);
    /* Dials and accepted connections, and as many peers that were here a moment ago. */
    size_t most = 2 * (size_t)config->settings.max_connections + 64;
    tbi_map_init(&node->contacts, node->alloc, secret, sizeof(tbq_connection), most);
    tbi_map_init(&node->sessions, node->alloc, secret, sizeof(uint64_t), most);
    tbi_map_init(&node->peers, node->alloc, secret, TBQ_PEER_ID_SIZE, 2 * most);
    tbi_map_init(&node->asked, node->alloc, secret, sizeof(tbq_request_id), TBI_REQUESTS_MAX);
    tbi_map_init(&node->broadcasts, node->alloc, secret, sizeof(uint64_t), TBI_BROADCASTS_MAX);
    tbi_map_init(&node->bodies_out, node->alloc, secret, sizeof(tbq_body), TBQ_BODIES_MAX);
    tbi_map_init(&node->bodies_in, node->alloc, secret, sizeof(tbq_body), TBI_BODIES_IN_ALL);
    tbi_map_init(&node->owed, node->alloc, secret, sizeof(tbq_request_id), TBI_OWED_MAX);
    tbi_tickets_init(&node->tickets, node->alloc, tbi_identity_crypto(config->identity), secret);
    /* A contact, a session and a bond have one each. */
    if ((rv = tbi_heap_room(&node->timers, 3 * most)) < 0 || (rv = make_endpoint(node)) < 0 ||
        (rv = tbi_discovery_init(node)) < 0 || (rv = tbi_discovery_make_record(node)) < 0 ||
        (rv = tbi_load_init(node)) < 0) {
        tbi_node_free(node);
        return rv;
    }
    *made = node;
    return 0;
}

static void free_events(struct tbi_list *list)
{
    struct tbi_list *entry;
    while ((entry = tbi_list_shift(list)) != NULL) {
        struct tbi_event *e = TBI_CONTAINER(entry, struct tbi_event, entry);
        struct tbi_delivery *d = e->delivery;
        struct tbi_now now = e->node->now;
        tbi_event_free(e);
        if (d != NULL) { /* where it lies */
            tbi_delivery_refuse(d, now, TBI_DECLINE_REFUSED);
        }
    }
}

void tbi_node_free(struct tbi_node *node)
{
    struct tbi_map_entry *e;

    if (node == NULL) {
        return;
    }
    while ((e = tbi_map_first(&node->sessions)) != NULL) {
        tbi_session_free(tbi_map_value(e));
    }
    while ((e = tbi_map_first(&node->contacts)) != NULL) {
        tbi_contact_free(tbi_map_value(e));
    }
    while (!tbi_list_empty(&node->bonds)) {
        tbi_bond_free(TBI_CONTAINER(node->bonds.next, struct tbi_bond, entry));
    }
    while ((e = tbi_map_first(&node->peers)) != NULL) {
        struct tbi_peer *peer = tbi_map_value(e);
        struct tbi_bond *b = tbi_peer_newest(peer);
        if (b != NULL) {
            tbi_bond_free(b); /* and the peer with its last one */
        } else {
            tbi_peer_free(peer);
        }
    }
    while ((e = tbi_map_first(&node->asked)) != NULL) {
        tbi_request_free(tbi_map_value(e), &node->asked);
    }
    while ((e = tbi_map_first(&node->owed)) != NULL) {
        tbi_request_free(tbi_map_value(e), &node->owed);
    }
    while ((e = tbi_map_first(&node->broadcasts)) != NULL) {
        tbi_broadcast_free(node, tbi_map_value(e));
    }
    struct tbi_binding ignored;
    while (tbi_node_next_binding(node, &ignored)) {
    }
    tbi_discovery_free(node);
    tbi_tickets_free(&node->tickets);
    tbi_load_free(node);
    tbi_endpoint_free(node->endpoint);
    free_events(&node->events.waiting);
    free_events(&node->events.held);
    free_events(&node->events.handed_out);
    free_events(&node->events.reserved);
    tbi_map_free(&node->contacts);
    tbi_map_free(&node->sessions);
    tbi_map_free(&node->peers);
    tbi_map_free(&node->asked);
    tbi_map_free(&node->owed);
    tbi_map_free(&node->broadcasts);
    tbi_map_free(&node->bodies_out);
    tbi_map_free(&node->bodies_in);
    tbi_heap_free(&node->timers);
    tbi_wipe(&node->rng, sizeof node->rng);
    tbi_free(node->alloc, node);
}

/* --- What the connections tell ---------------------------------------------------------------- */

static void on_closed(struct tbi_session *s, const struct tbi_quic_action *a)
{
    bool coded = a->closed.who != TBI_CLOSED_TRANSPORT; /* by a close code, ours or the peer's */
    uint64_t code = coded ? a->closed.app_code : UINT64_MAX;

    tbi_session_ended(s, coded ? tbi_close_reason(code) : a->closed.reason, a->closed.text, code);
}

static void drain(struct tbi_node *node)
{
    struct tbi_quic_action a;

    while (tbi_endpoint_next_action(node->endpoint, &a)) {
        struct tbi_session *s = tbi_map_get(&node->sessions, &a.conn);
        if (s == NULL) {
            if (a.type != TBI_QUIC_ACCEPTED) {
                continue;
            }
            s = tbi_session_new(node, a.conn, false, &a.accepted.remote);
            if (s == NULL) {
                tbi_conn_close(tbi_endpoint_conn(node->endpoint, a.conn), node->now, TBI_CLOSE_BUSY,
                               tbi_close_text(TBI_CLOSE_BUSY));
            }
            continue;
        }
        switch (a.type) {
        case TBI_QUIC_ACCEPTED:
            break;
        case TBI_QUIC_CONNECTED_EARLY:
            tbi_session_writable_early(s);
            break;
        case TBI_QUIC_HANDSHAKE_DONE:
            tbi_session_handshake_done(s);
            break;
        case TBI_QUIC_WRITABLE:
            if (s->path != NULL) {
                tbi_bond_touch(s->bond);
            }
            break;
        case TBI_QUIC_TICKET:
            tbi_resume_ticket(s, a.ticket.data, a.ticket.size);
            break;
        case TBI_QUIC_TOKEN:
            tbi_resume_token(s, a.ticket.data, a.ticket.size);
            break;
        case TBI_QUIC_SUSPECT:
            s->suspect = a.suspect;
            if (s->path != NULL) {
                tbi_link_suspect(s->path, a.suspect);
                tbi_contact_follow(s->bond);
                tbi_bond_touch(s->bond);
            }
            break;
        case TBI_QUIC_EARLY_REJECTED:
            tbi_early_rejected(s);
            break;
        case TBI_QUIC_DATAGRAM_ACKED: /* no datagram has a fate */
        case TBI_QUIC_DATAGRAM_LOST:
            break;
        case TBI_QUIC_PATH:
            tbi_session_moved(s, &a.path.remote);
            break;
        case TBI_QUIC_CLOSED:
            on_closed(s, &a);
            break;
        }
    }
}

/* Links that were touched: what they have to do and to tell, and their next deadlines. */
static void drain_bonds(struct tbi_node *node)
{
    struct tbi_list *entry;

    node->awaited = 0;
    while ((entry = tbi_list_shift(&node->touched)) != NULL) {
        struct tbi_bond *b = TBI_CONTAINER(entry, struct tbi_bond, touched);
        b->judged = false;
        tbi_link_tick(b->link, node->now);
        tbi_bond_drain(b);
    }
}

static void maybe_stopped(struct tbi_node *node);

static void settle(struct tbi_node *node)
{
    drain(node);
    drain_bonds(node);
    if (tbi_endpoint_has_actions(node->endpoint)) {
        drain(node);
    }
    maybe_stopped(node);
}

/* What has come is told, and its links stay touched: what they have to say about it is written
 * when packets are made, and by then the application has answered some. */
static void hear(struct tbi_node *node)
{
    struct tbi_list heard, *entry;

    drain(node);
    tbi_list_init(&heard);
    while ((entry = tbi_list_shift(&node->touched)) != NULL) {
        tbi_list_push(&heard, entry);
        tbi_bond_hear(TBI_CONTAINER(entry, struct tbi_bond, touched));
    }
    while ((entry = tbi_list_shift(&heard)) != NULL) {
        tbi_list_push(&node->touched, entry);
    }
    maybe_stopped(node);
}

/* Asked for often; most times there is nothing. */
void tbi_node_settle(struct tbi_node *node)
{
    if (tbi_endpoint_has_actions(node->endpoint) || !tbi_list_empty(&node->touched) ||
        node->stopping) {
        settle(node);
    }
}

/* --- Datagrams and time ----------------------------------------------------------------------- */

size_t tbi_node_recv(struct tbi_node *node, struct tbi_now now, const struct tbi_datagram *batch,
                     size_t n)
{
    node->now = now;
    size_t read = tbi_endpoint_recv(node->endpoint, now, batch, n);
    hear(node);
    return read;
}

bool tbi_node_has_enough(const struct tbi_node *node)
{
    return tbi_endpoint_must_send(node->endpoint) || node->events.news >= TBI_TURN_EVENTS;
}

bool tbi_node_hurries(const struct tbi_node *node)
{
    return tbi_endpoint_hurries(node->endpoint);
}

int tbi_node_send(struct tbi_node *node, struct tbi_now now, struct tbi_send_batch *out)
{
    node->now = now;
    tbi_node_settle(node); /* so that it is in the first packet */
    int rv = tbi_endpoint_send(node->endpoint, now, out);
    if (rv == 0) {
        tbi_node_settle(node);
        rv = tbi_endpoint_send(node->endpoint, now, out);
    }
    return rv;
}

static void fire(struct tbi_timer *t)
{
    switch ((enum tbi_timer_kind)t->kind) {
    case TBI_TIMER_CONTACT:
        tbi_contact_timer(t->owner);
        break;
    case TBI_TIMER_SESSION:
        tbi_session_timer(t->owner);
        break;
    case TBI_TIMER_BOND:
        tbi_bond_timer(t->owner);
        break;
    case TBI_TIMER_REQUEST:
        tbi_request_timer(t->owner);
        break;
    case TBI_TIMER_DISCOVERY:
        tbi_discovery_timer(t->owner);
        break;
    case TBI_TIMER_LOAD:
        tbi_load_timer(t->owner);
        break;
    }
}

void tbi_node_step(struct tbi_node *node, struct tbi_now now)
{
    struct tbi_timer *t;

    node->now = now;
    tbi_endpoint_tick(node->endpoint, now);
    drain(node);
    if (now.mono_ns >= node->certificate_at) {
        tbi_certificate_due(node);
    }
    while ((t = tbi_heap_due(&node->timers, now.mono_ns)) != NULL) {
        fire(t);
    }
    tbi_bodies_feed(node);
    hear(node);
}

bool tbi_node_catch_up(struct tbi_node *node, struct tbi_now now)
{
    uint64_t at = tbi_endpoint_deadline(node->endpoint);

    if (at == 0 || at > now.mono_ns) { /* 0: it waits for the next turn, not for a timer */
        return false;
    }
    node->now = now;
    tbi_endpoint_tick(node->endpoint, now);
    return true;
}

uint64_t tbi_node_deadline(const struct tbi_node *node)
{
    uint64_t at = tbi_heap_next(&node->timers);
    uint64_t other = tbi_endpoint_deadline(node->endpoint);
    at = other < at ? other : at;
    at = node->certificate_at < at ? node->certificate_at : at;
    at = tbi_list_empty(&node->hungry) ? at : 0; /* a body can go on */
    at = tbi_list_empty(&node->touched) ? at : 0;
    if (node->stopping && !node->stopped && node->stop_at < at) {
        at = node->stop_at;
    }
    return at;
}

/* --- Stopping --------------------------------------------------------------------------------- */

static void stop_bond(struct tbi_bond *b)
{
    tbi_bodies_out_give_up(b, TBQ_ERR_STOPPED);
    tbi_bodies_in_end(b, TBQ_ERR_STOPPED);
    tbi_link_give_up(b->link, TBQ_ERR_STOPPED);
    tbi_bond_drain(b);
}

static void end_all(struct tbi_node *node)
{
    struct tbi_map_entry *e, *next;

    for (e = tbi_map_first(&node->sessions); e != NULL; e = next) {
        next = tbi_map_next(e);
        tbi_session_close(tbi_map_value(e), TBI_CLOSE_STOPPED, tbi_close_text(TBI_CLOSE_STOPPED));
    }
    for (e = tbi_map_first(&node->peers); e != NULL; e = next) {
        struct tbi_peer *peer = tbi_map_value(e);
        next = tbi_map_next(e);
        TBI_LIST_FOREACH(it, &peer->bonds)
        {
            struct tbi_bond *b = TBI_CONTAINER(it, struct tbi_bond, entry);
            stop_bond(b);
        }
    }
    TBI_LIST_FOREACH(it, &node->bonds)
    {
        struct tbi_bond *b = TBI_CONTAINER(it, struct tbi_bond, entry);
        stop_bond(b);
    }
    drain(node);
    while ((e = tbi_map_first(&node->contacts)) != NULL) { /* dials that have no session now */
        tbi_contact_end(tbi_map_value(e), TBQ_ERR_STOPPED, tbq_strerror(TBQ_ERR_STOPPED));
    }
}

/* What the application took is told before the connections end: others may wait for it in a stop of
 * their own. False: not all of it is on its way yet. */
static bool said_all(struct tbi_node *node)
{
    struct tbi_map_entry *e;
    bool all = true;

    for (e = tbi_map_first(&node->sessions); e != NULL; e = tbi_map_next(e)) {
        struct tbi_session *s = tbi_map_value(e);
        if (s->up && !s->closing) {
            tbi_link_ack_now(s->bond->link, node->now);
            tbi_bond_drain(s->bond);
            struct tbi_conn_facts f;
            tbi_conn_facts(tbi_session_conn(s), &f);
            all = all && f.unsent == 0; /* it may wait for the pace of what went before */
        }
    }
    return all && tbi_endpoint_deadline(node->endpoint) > 0;
}

static void maybe_stopped(struct tbi_node *node)
{
    if (!node->stopping || node->stopped ||
        (node->now.mono_ns < node->stop_at && (node->events.fates > 0 || !said_all(node)))) {
        return;
    }
    struct tbi_event *e = tbi_event_new(&node->events, node, TBQ_EVENT_STOPPED);
    if (e == NULL) {
        return; /* tried again by the next step */
    }
    node->stopped = true;
    tbi_endpoint_end(node->endpoint); /* nothing comes behind STOPPED */
    end_all(node);
    tbi_events_push(&node->events, e);
}

void tbi_node_stop(struct tbi_node *node, struct tbi_now now, uint32_t deadline_ms)
{
    uint64_t at = now.mono_ns + deadline_ms * TBI_NS_PER_MS;

    node->now = now;
    if (!node->stopping || at < node->stop_at) {
        node->stop_at = at;
    }
    node->stopping = true;
    tbi_node_settle(node);
}

bool tbi_node_stopped(const struct tbi_node *node)
{
    return node->stopped;
}

/* --- Messages --------------------------------------------------------------------------------- */

int tbi_node_send_on(struct tbi_node *node, struct tbi_now now, tbq_connection connection,
                     const tbq_message *message, const tbq_send_options *options)
{
    struct tbi_contact *c = tbi_map_get(&node->contacts, &connection);

    node->now = now;
    if (node->stopping || c == NULL || c->closed || c->bond == NULL) {
        return TBQ_ERR_CLOSED;
    }
    return tbi_dispatch_send(c->bond, connection, message, options);
}

int tbi_node_send_to(struct tbi_node *node, struct tbi_now now, const tbq_peer_id *peer,
                     const tbq_message *message, const tbq_send_options *options)
{
    struct tbi_peer *known = tbi_peer_get(node, peer, false);
    struct tbi_bond *b = known != NULL ? tbi_peer_newest(known) : NULL;

    node->now = now;
    if (node->stopping) {
        return TBQ_ERR_CLOSED;
    }
    if (b == NULL || b->given_up) {
        return TBQ_ERR_NO_ROUTE;
    }
    return tbi_dispatch_send(b, 0, message, options);
}

/* --- Events ----------------------------------------------------------------------------------- */

static bool is_paused(const struct tbi_event *e)
{
    const struct tbi_delivery *d = e->delivery;
    if (d == NULL || d->link == NULL || d->user == NULL) {
        return false;
    }
    return (((const struct tbi_bond *)d->user)->peer->paused & TBQ_LANE_BIT(d->lane)) != 0;
}

bool tbi_node_has_news(const struct tbi_node *node)
{
    return node->events.news > 0;
}

bool tbi_node_is_awaited(const struct tbi_node *node)
{
    return node->awaited > 0;
}

bool tbi_node_has_half(const struct tbi_node *node)
{
    size_t half = node->events.messages / 2;
    return node->awaited >= (half > ANSWERS_LEAST ? half : ANSWERS_LEAST);
}

tbq_event *tbi_node_next_event(struct tbi_node *node)
{
    struct tbi_event *e;

    node->events.news = 0;
    while ((e = tbi_events_hand_out(&node->events)) != NULL) {
        if (tbi_body_is_over(e)) {
            tbi_node_event_refuse(&e->pub);
            continue;
        }
        if (!is_paused(e)) {
            tbi_body_handed_out(e);
            return &e->pub;
        }
        tbi_list_remove(&e->entry);
        tbi_list_push(&node->events.held, &e->entry);
    }
    node->events.messages = 0;
    return NULL;
}

static int set_paused(struct tbi_node *node, const tbq_peer_id *id, unsigned clear, unsigned set)
{
    struct tbi_peer *peer = tbi_peer_get(node, id, false);
    if (peer == NULL) {
        return TBQ_ERR_NO_ROUTE;
    }
    peer->paused = (peer->paused & ~clear) | (set & TBQ_LANES_ALL);
    return 0;
}

int tbi_node_pause(struct tbi_node *node, const tbq_peer_id *peer, unsigned lanes)
{
    return set_paused(node, peer, 0, lanes);
}

int tbi_node_resume(struct tbi_node *node, const tbq_peer_id *peer, unsigned lanes)
{
    struct tbi_list back;
    int rv = set_paused(node, peer, lanes, 0);

    /* What was held goes before what came later, in its order; also that of a peer that is gone:
     * no lane of it is paused any more. */
    tbi_list_init(&back);
    TBI_LIST_FOREACH(it, &node->events.held)
    {
        struct tbi_event *e = TBI_CONTAINER(it, struct tbi_event, entry);
        if (!is_paused(e)) {
            tbi_list_remove(it);
            tbi_list_push(&back, it);
            node->events.news++; /* nobody waits for a datagram to be told of it */
        }
    }
    struct tbi_list *entry;
    while ((entry = tbi_list_shift(&node->events.waiting)) != NULL) {
        tbi_list_push(&back, entry);
    }
    while ((entry = tbi_list_shift(&back)) != NULL) {
        tbi_list_push(&node->events.waiting, entry);
    }
    return rv;
}

void tbi_node_log_event(struct tbi_node *node, tbq_log_level level, const char *line)
{
    struct tbi_event *e = tbi_event_new(&node->events, node, TBQ_EVENT_LOG);
    if (e != NULL) {
        e->pub.level = level;
        tbi_event_set_text(e, line);
        tbi_events_push_notice(&node->events, e);
    }
}

void tbi_node_warn(struct tbi_node *node, const tbq_peer_id *peer, const char *format, ...)
{
    char line[TBI_EVENT_TEXT_SIZE];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    tbi_log(node->log, TBQ_LOG_WARNING, "%s", line);
    struct tbi_event *e = tbi_event_new(&node->events, node, TBQ_EVENT_WARNING);
    if (e != NULL) {
        tbi_event_set_peer(e, peer);
        tbi_event_set_text(e, line);
        tbi_events_push_notice(&node->events, e);
    }
}
