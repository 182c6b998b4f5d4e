/* node/dispatch.c - the kinds of message: out of the application's structs, and into events.
 *
 * One function for each kind that arrives; a kind without one does not build. */
#include <string.h>

#include "node/parts.h"

#define PINGS_FIRST 2U /* places: most peers only ever have one ping that waits */

/* --- Out -------------------------------------------------------------------------------------- */

/* The oldest first. Without memory all stays as it is. */
static void more_pings(struct tbi_bond *b)
{
    size_t n = b->pings > 0 ? 2 * b->pings : PINGS_FIRST;
    struct tbi_bond_ping *more = tbi_calloc(b->node->alloc, n, sizeof *more);

    if (more == NULL) {
        return;
    }
    for (size_t i = 0; b->ping != NULL && i < b->pings; i++) {
        more[i] = b->ping[(b->ping_next + i) % b->pings];
    }
    tbi_free(b->node->alloc, b->ping);
    b->ping = more;
    b->ping_next = b->pings;
    b->pings = n;
}

/* For one more. Where there are as many as may be the oldest gives way. NULL: out of memory. */
static struct tbi_bond_ping *ping_place(struct tbi_bond *b)
{
    bool full = b->ping == NULL || b->ping[b->ping_next % b->pings].id != 0;

    if (full && b->pings < TBI_PINGS_MAX) {
        more_pings(b);
    }
    return b->ping != NULL ? &b->ping[b->ping_next++ % b->pings] : NULL;
}

static int note_ping(struct tbi_bond *b, uint64_t id, bool own)
{
    struct tbi_bond_ping *p = ping_place(b);
    if (p == NULL) {
        return TBQ_ERR_NOMEM;
    }
    uint64_t at = tbi_link_attached(b->link) ? b->node->now.mono_ns : TBI_NEVER;
    *p = (struct tbi_bond_ping){.id = id, .sent_ns = at, .own = own};
    return 0;
}

void tbi_dispatch_pings_leave(struct tbi_bond *b)
{
    for (size_t i = 0; i < b->pings; i++) {
        if (b->ping[i].sent_ns == TBI_NEVER) {
            b->ping[i].sent_ns = b->node->now.mono_ns;
        }
    }
}

void tbi_dispatch_pings_move(struct tbi_bond *to, struct tbi_bond *from)
{
    for (size_t i = 0; i < from->pings; i++) {
        struct tbi_bond_ping *p = &from->ping[(from->ping_next + i) % from->pings];
        if (p->id != 0) {
            struct tbi_bond_ping *there = ping_place(to);
            if (there != NULL) { /* else its pong finds nobody */
                *there = *p;
            }
            p->id = 0;
        }
    }
}

/* Writes what stands before the bytes, and tells which bytes follow. */
static int encode(struct tbi_node *node, struct tbi_bond *b, const tbq_message *m,
                  struct tbi_writer *w, tbq_bytes *bytes)
{
    *bytes = (tbq_bytes){NULL, 0};
    switch (m->kind) {
    case TBQ_PING: {
        struct tbi_ping ping = {.id = node->next_number++, .wall_ms = node->now.wall_ms};
        tbi_put_ping(w, &ping);
        return note_ping(b, ping.id, false);
    }
    case TBQ_TRANSITION:
        *bytes = m->u.transition;
        return 0;
    case TBQ_RESOURCE_REQUEST: {
        struct tbi_resource_request r = {.id = m->u.request.id,
                                         .timeout_ms = m->u.request.timeout_ms};
        if (r.id == 0) {
            r.id = node->next_number++;
        }
        tbi_put_resource_request(w, &r);
        *bytes = m->u.request.bytes;
        return 0;
    }
    case TBQ_RESOURCE_RESPONSE: {
        struct tbi_resource_response r = {.id = m->u.response.id, .status = m->u.response.status};
        tbi_put_resource_response(w, &r);
        *bytes = m->u.response.bytes;
        return 0;
    }
    case TBQ_ERROR: {
        struct tbi_error_body e = {.code = (uint64_t)(-(int64_t)m->u.error.code),
                                   .text = m->u.error.text.data,
                                   .text_size = m->u.error.text.size};
        if (m->u.error.code >= 0) {
            return TBQ_ERR_INVALID;
        }
        if (e.text_size > TBI_ERROR_TEXT_MAX) {
            e.text_size = TBI_ERROR_TEXT_MAX;
        }
        tbi_put_error_body(w, &e);
        *bytes = (tbq_bytes){.data = w->begin, .size = tbi_put_size(w)}; /* too long for a head */
        return 0;
    }
    case TBQ_DISCOVER: {
        struct tbi_discover d = {.max = TBI_PEER_LIST_MAX,
                                 .capabilities = m->u.discover_capabilities};
        tbi_put_discover(w, &d);
        return 0;
    }
    case TBQ_ANNOUNCE: {
        struct tbi_announce a = {.record = node->record, .record_size = node->record_size};
        tbi_put_announce(w, &a);
        *bytes = (tbq_bytes){.data = w->begin, .size = tbi_put_size(w)};
        return 0;
    }
    case TBQ_PONG:
    case TBQ_PEER_LIST:
    case TBQ_BODY:
        return TBQ_ERR_UNSUPPORTED; /* the library's own: answers, and parts of a body */
    }
    return TBQ_ERR_INVALID;
}

/* A message as a link takes it: what stands before the bytes, and the bytes as a block. */
struct prepared {
    tbq_kind kind;
    uint8_t head[TBI_LINK_HEAD_MAX];
    size_t head_size;
    struct tbi_block *body;
};

/* By reference, or as a copy; NULL also where there is none. */
static struct tbi_block *body_of(struct tbi_node *node, tbq_bytes bytes,
                                 const tbq_send_options *options)
{
    if (options->by_reference) {
        return tbi_loan_new(node, bytes, options->tag);
    }
    return bytes.size > 0 ? tbi_block_behind(node->alloc, TBI_LINK_FRONT, bytes.data, bytes.size)
                          : NULL;
}

/* Others have no bytes of the caller's, or few. */
static bool has_bytes(tbq_kind kind)
{
    return kind == TBQ_TRANSITION || kind == TBQ_RESOURCE_REQUEST;
}

/* 0; INVALID, UNSUPPORTED, TOO_LARGE, NOMEM. A ping is noted at the bond it goes to. */
static int prepare(struct tbi_node *node, struct tbi_bond *b, const tbq_message *message,
                   const tbq_send_options *options, struct prepared *p)
{
    uint8_t small[TBI_RECORD_SIZE_MAX + 16]; /* the largest body of the library's own making */
    struct tbi_writer w;
    tbq_bytes bytes;

    tbi_put_init(&w, small, sizeof small);
    if (options->by_reference && !has_bytes(message->kind)) {
        return TBQ_ERR_INVALID;
    }
    if (message->kind == TBQ_ERROR && message->u.error.text.data == NULL &&
        message->u.error.text.size > 0) {
        return TBQ_ERR_INVALID; /* its text is copied by what encodes it */
    }
    int rv = encode(node, b, message, &w, &bytes);
    if (rv < 0) {
        return rv;
    }
    if (tbi_put_error(&w) < 0) {
        return TBQ_ERR_INVALID;
    }
    if (bytes.size > node->cfg.settings.max_message_size) {
        return TBQ_ERR_TOO_LARGE;
    }
    if (bytes.data == NULL && bytes.size > 0) {
        return TBQ_ERR_INVALID;
    }
    *p = (struct prepared){.kind = message->kind};
    if (bytes.data != small) {
        p->head_size = tbi_put_size(&w);
        memcpy(p->head, small, p->head_size);
    }
    p->body = body_of(node, bytes, options);
    bool wanted = bytes.size > 0 || options->by_reference;
    return wanted && p->body == NULL ? TBQ_ERR_NOMEM : 0;
}

/* One of many found no place: its fate comes at once, and counts, if there is no memory to tell. */
static void fail_at_once(struct tbi_bond *b, const struct tbi_outgoing *out, int reason)
{
    struct tbi_event *e = tbi_event_new(&b->node->events, b->node, TBQ_EVENT_FATE);
    const struct tbi_link_fate f = {.tag = out->tag,
                                    .cookie = out->cookie,
                                    .mark = out->mark,
                                    .fate = TBQ_NOT_DELIVERED,
                                    .reason = reason,
                                    .lane = out->lane};
    if (e != NULL) {
        b->node->events.fates++;
        tbi_bond_tell_fate(b, &f, e);
    } else {
        tbi_broadcast_fate(b->node, out->cookie, TBQ_NOT_DELIVERED);
    }
}

static int post(struct tbi_bond *b, const struct prepared *p, enum tbi_fate_mark mark,
                uint64_t cookie, const tbq_send_options *options)
{
    struct tbi_outgoing out = {
        .kind = p->kind,
        .head = p->head,
        .head_size = p->head_size,
        .payload = p->body,
        .lane = options->lane,
        .ttl_ns = options->ttl_ms * TBI_NS_PER_MS,
        .unordered = options->unordered,
        .tag = options->tag,
        .want_fate = true,
        .mark = (uint8_t)mark,
        .cookie = cookie,
    };
    int rv = tbi_bond_send(b, &out);
    if (rv == 0) {
        b->node->events.fates++;
        tbi_bond_said(b);
    }
    if (rv == TBQ_ERR_AGAIN && mark == TBI_FATE_OF_SEND) {
        rv = tbi_bond_full(b);
    }
    if (rv < 0 && mark == TBI_FATE_OF_BROADCAST) {
        fail_at_once(b, &out, rv);
    }
    return rv;
}

/* It was posted, with that result. */
static void let_go(struct prepared *p, int rv)
{
    if (rv < 0) {
        tbi_loan_call_off(p->body);
    }
    tbi_block_unref(p->body);
}

int tbi_dispatch_send(struct tbi_bond *b, tbq_connection connection, const tbq_message *message,
                      const tbq_send_options *options)
{
    struct prepared p;
    int rv = prepare(b->node, b, message, options, &p);

    if (rv == 0) {
        rv = post(b, &p, TBI_FATE_OF_SEND, connection, options);
        let_go(&p, rv);
    }
    return rv;
}

/* --- To all ----------------------------------------------------------------------------------- */

/* Posts to the newest process of every peer that is connected, or only counts them. */
static size_t post_to_all(struct tbi_node *node, const struct prepared *p, uint64_t broadcast,
                          const tbq_send_options *options)
{
    size_t n = 0;
    for (struct tbi_map_entry *e = tbi_map_first(&node->peers); e != NULL; e = tbi_map_next(e)) {
        struct tbi_bond *b = tbi_peer_newest(tbi_map_value(e));
        if (b == NULL || (b->session == NULL && b->resting == 0)) {
            continue;
        }
        n++;
        if (p != NULL) {
            (void)post(b, p, TBI_FATE_OF_BROADCAST, broadcast, options); /* a failure is a fate */
        }
    }
    return n;
}

int tbi_node_broadcast(struct tbi_node *node, struct tbi_now now, const tbq_message *message,
                       const tbq_send_options *options)
{
    struct tbi_broadcast *all;
    struct prepared p;

    node->now = now;
    if (node->stopping) {
        return TBQ_ERR_CLOSED;
    }
    if (message->kind == TBQ_PING || message->kind == TBQ_RESOURCE_REQUEST ||
        message->kind == TBQ_RESOURCE_RESPONSE) {
        return TBQ_ERR_UNSUPPORTED; /* their answers belong to one peer each */
    }
    int rv = prepare(node, NULL, message, options, &p);
    if (rv < 0) {
        return rv;
    }
    size_t n = post_to_all(node, NULL, 0, options);
    rv = n > 0 ? tbi_broadcast_new(node, options->tag, n, &all) : TBQ_ERR_NO_ROUTE;
    if (rv == 0) {
        post_to_all(node, &p, all->id, options);
    }
    let_go(&p, rv);
    return rv < 0 ? rv : (int)n;
}

int tbi_dispatch_ping(struct tbi_bond *b)
{
    uint8_t head[TBI_LINK_HEAD_MAX];
    struct tbi_writer w;
    struct tbi_ping ping = {
        .id = b->node->next_number++, .wall_ms = b->node->now.wall_ms, .load = b->node->load.now};
    struct tbi_outgoing out = {.kind = TBQ_PING, .head = head, .lane = TBQ_LANE_CRITICAL};

    tbi_put_init(&w, head, sizeof head);
    tbi_put_ping(&w, &ping);
    out.head_size = tbi_put_size(&w);
    note_ping(b, ping.id, true);
    return tbi_bond_send(b, &out);
}

/* --- In --------------------------------------------------------------------------------------- */

static void fill_message(struct tbi_event *e, struct tbi_bond *b, tbq_lane lane, tbq_kind kind)
{
    tbi_rest_used(b);
    tbi_event_set_peer(e, &b->peer->id);
    e->pub.lane = lane;
    e->pub.message = &e->message;
    e->message.kind = kind;
    if (b->session != NULL && b->session->contact != NULL) {
        e->pub.connection = b->session->contact->handle;
    }
}

struct tbi_event *tbi_dispatch_event(struct tbi_bond *b, const struct tbi_delivery *d,
                                     tbq_event_type type)
{
    struct tbi_event *e = tbi_event_in(d->room, 0, &b->node->events, b->node, type);

    fill_message(e, b, d->lane, (tbq_kind)d->kind);
    e->pub.repeat = d->repeat;
    return e;
}

void tbi_dispatch_take(struct tbi_bond *b, struct tbi_delivery *d)
{
    tbi_delivery_take(d, b->node->now);
    tbi_bond_touch(b);
}

/* The event owes the link a take from here on. */
static int queue(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_event *e)
{
    e->delivery = d;
    tbi_events_push(&b->node->events, e);
    return 0;
}

static int on_ping(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor body)
{
    struct tbi_ping ping;
    uint8_t head[TBI_LINK_HEAD_MAX];
    struct tbi_writer w;
    int rv = tbi_get_ping(body, &ping);
    if (rv < 0) {
        return rv;
    }
    tbi_load_heard(b, &ping.load);
    struct tbi_pong pong = {
        .id = ping.id, .echo_wall_ms = ping.wall_ms, .wall_ms = b->node->now.wall_ms};
    if (d->lane == TBQ_LANE_CRITICAL) { /* the newest comes last there: other lanes may lag */
        pong.load = b->node->load.now;
    }
    struct tbi_outgoing out = {.kind = TBQ_PONG, .head = head, .lane = d->lane};
    tbi_put_init(&w, head, sizeof head);
    tbi_put_pong(&w, &pong);
    out.head_size = tbi_put_size(&w);
    tbi_dispatch_take(b, d);
    /* A full outbox: no answer, as if it had been lost; the other side's own ping tells as much. */
    (void)tbi_bond_send(b, &out);
    return 0;
}

static void fill_pong(const struct tbi_node *node, struct tbi_event *e, uint64_t sent_ns,
                      uint64_t wall_ms)
{
    uint64_t rtt = node->now.mono_ns - sent_ns;

    e->message.u.pong.rtt_ns = rtt;
    e->message.u.pong.wall_ms = wall_ms;
    e->message.u.pong.offset_ms =
        (int64_t)wall_ms - (int64_t)node->now.wall_ms + (int64_t)(rtt / 2 / TBI_NS_PER_MS);
}

/* The ping's own pong, when it comes, finds nobody who waits for it. */
void tbi_dispatch_early_pong(struct tbi_session *s, const struct tbi_early_pong *pong)
{
    struct tbi_bond *b = s->bond;

    for (size_t i = 0; i < b->pings; i++) {
        struct tbi_bond_ping *p = &b->ping[i];
        if (p->id != pong->id || p->early_ns == 0) {
            continue;
        }
        struct tbi_event *e = tbi_event_new(&b->node->events, b->node, TBQ_EVENT_MESSAGE);
        if (e != NULL) { /* else the other pong is told */
            fill_message(e, b, TBQ_LANE_CRITICAL, TBQ_PONG);
            e->pub.connection = s->contact != NULL ? s->contact->handle : 0;
            fill_pong(b->node, e, p->early_ns, pong->wall_ms);
            tbi_events_push(&b->node->events, e);
            p->id = 0;
        }
        return;
    }
}

static int on_pong(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor body)
{
    struct tbi_pong pong;
    int rv = tbi_get_pong(body, &pong);
    if (rv < 0) {
        return rv;
    }
    for (size_t i = 0; i < b->pings; i++) {
        struct tbi_bond_ping *p = &b->ping[i];
        if (p->id == 0 || p->id != pong.id) {
            continue;
        }
        p->id = 0;
        tbi_load_heard(b, &pong.load);
        if (p->own) {
            break;
        }
        struct tbi_event *e = tbi_dispatch_event(b, d, TBQ_EVENT_MESSAGE);
        fill_pong(b->node, e, p->sent_ns, pong.wall_ms);
        return queue(b, d, e);
    }
    tbi_dispatch_take(b, d);
    return 0;
}

static int on_transition(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor body)
{
    struct tbi_event *e = tbi_dispatch_event(b, d, TBQ_EVENT_MESSAGE);
    e->message.u.transition.data = tbi_cur_rest(&body, &e->message.u.transition.size);
    return queue(b, d, e);
}

static int on_resource_request(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor body)
{
    struct tbi_resource_request m;
    int rv = tbi_get_resource_request(body, &m);
    if (rv < 0) {
        return rv;
    }
    struct tbi_request *r = tbi_request_owed(b, m.id, m.timeout_ms);
    if (r == NULL) {
        return TBQ_ERR_LIMIT;
    }
    struct tbi_event *e = tbi_dispatch_event(b, d, TBQ_EVENT_REQUEST);
    e->pub.request = r->id;
    e->message.u.request.id = r->id;
    e->message.u.request.timeout_ms = m.timeout_ms;
    e->message.u.request.bytes = (tbq_bytes){.data = m.data, .size = m.size};
    return queue(b, d, e);
}

static int on_resource_response(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor body)
{
    struct tbi_resource_response m;
    int rv = tbi_get_resource_response(body, &m);
    if (rv < 0) {
        return rv;
    }
    struct tbi_request *r = tbi_map_get(&b->node->asked, &m.id);
    if (r == NULL || tbq_peer_id_compare(&r->peer, &b->peer->id) != 0) {
        tbi_dispatch_take(b, d); /* too late, or never asked */
        return 0;
    }
    struct tbi_event *e = tbi_dispatch_event(b, d, TBQ_EVENT_RESPONSE);
    e->pub.request = m.id;
    e->message.u.response.id = m.id;
    e->message.u.response.status = (tbq_response_status)m.status;
    e->message.u.response.bytes = (tbq_bytes){.data = m.data, .size = m.size};
    tbi_request_free(r, &b->node->asked);
    return queue(b, d, e);
}

static int on_error(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor body)
{
    struct tbi_error_body m;
    int rv = tbi_get_error_body(body, &m);
    if (rv < 0) {
        return rv;
    }
    struct tbi_event *e = tbi_dispatch_event(b, d, TBQ_EVENT_MESSAGE);
    e->message.u.error.code = m.code <= 0x7fffffff ? -(int)m.code : TBQ_ERR_INTERNAL;
    e->message.u.error.text = (tbq_bytes){.data = m.text, .size = m.text_size};
    return queue(b, d, e);
}

/* The library's own talk is taken at once; what could not be read is declined. */
static int taken(struct tbi_bond *b, struct tbi_delivery *d, int rv)
{
    if (rv == 0) {
        tbi_dispatch_take(b, d);
    }
    return rv;
}

static int dispatch(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor body)
{
    switch ((tbq_kind)d->kind) {
    case TBQ_PING:
        return on_ping(b, d, body);
    case TBQ_PONG:
        return on_pong(b, d, body);
    case TBQ_TRANSITION:
        return on_transition(b, d, body);
    case TBQ_RESOURCE_REQUEST:
        return on_resource_request(b, d, body);
    case TBQ_RESOURCE_RESPONSE:
        return on_resource_response(b, d, body);
    case TBQ_ERROR:
        return on_error(b, d, body);
    case TBQ_BODY:
        return tbi_body_arrived(b, d, body);
    case TBQ_DISCOVER:
        return taken(b, d, tbi_discovery_on_discover(b, d->lane, body));
    case TBQ_ANNOUNCE:
        return taken(b, d, tbi_discovery_on_announce(b, body));
    case TBQ_PEER_LIST:
        return taken(b, d, tbi_discovery_on_peer_list(b, body));
    }
    return TBQ_ERR_UNSUPPORTED;
}

static enum tbi_decline_code decline_code(int rv)
{
    switch (rv) {
    case TBQ_ERR_UNSUPPORTED:
        return TBI_DECLINE_UNKNOWN_KIND;
    case TBQ_ERR_MALFORMED:
        return TBI_DECLINE_MALFORMED;
    case TBQ_ERR_NO_ROUTE:
        return TBI_DECLINE_NOT_SERVED;
    case TBQ_ERR_RESTARTED:
        return TBI_DECLINE_NO_BODY;
    case TBQ_ERR_BUSY:
        return TBI_DECLINE_FULL;
    default:
        return TBI_DECLINE_REFUSED;
    }
}

void tbi_dispatch_delivery(struct tbi_bond *b, struct tbi_delivery *d)
{
    struct tbi_cursor body;

    tbi_cur_init(&body, d->body->data, d->body->size);
    int rv = dispatch(b, d, body);
    if (rv == TBQ_ERR_UNSUPPORTED && d->skippable) { /* as a kind that nobody knows */
        tbi_dispatch_take(b, d);
    } else if (rv < 0) {
        tbi_delivery_refuse(d, b->node->now, decline_code(rv));
        tbi_bond_touch(b);
    }
}

/* --- The application's word about a message --------------------------------------------------- */

static void settle(struct tbi_event *e, bool take)
{
    struct tbi_delivery *d = e->delivery;
    struct tbi_request *r = e->pub.type == TBQ_EVENT_REQUEST && !take
                                ? tbi_map_get(&e->node->owed, &e->pub.request)
                                : NULL;

    if (r != NULL) { /* what was refused is not answered */
        tbi_request_free(r, &e->node->owed);
    }

    if (e->pub.type == TBQ_EVENT_DATAGRAM) {
        tbi_datagram_released(e);
    }
    tbi_body_answered(e, take);
    if (e->pub.type == TBQ_EVENT_TRUST) {
        tbi_trust_answered(e, false); /* where it was not accepted before */
    }
    if (d == NULL) {
        tbi_event_free(e);
        return;
    }
    struct tbi_now now = e->node->now;
    struct tbi_bond *b = d->link != NULL ? d->user : NULL;
    tbi_event_free(e); /* it lies in the delivery, and goes with it */
    if (take) {
        tbi_delivery_take(d, now);
    } else {
        tbi_delivery_refuse(d, now, TBI_DECLINE_REFUSED);
    }
    if (b != NULL) {
        tbi_bond_touch(b);
    }
}

void *tbi_node_event_owner(const tbq_event *event)
{
    return event != NULL ? ((const struct tbi_event *)event)->node->cfg.owner : NULL;
}

void tbi_node_event_lend(tbq_event *event, bool lent)
{
    ((struct tbi_event *)event)->lent = lent;
}

void tbi_node_event_release(tbq_event *event)
{
    struct tbi_event *e = (struct tbi_event *)event;

    if (e != NULL && !e->lent) {
        settle(e, true);
    }
}

void tbi_node_event_accept(tbq_event *event)
{
    struct tbi_event *e = (struct tbi_event *)event;

    if (e == NULL || e->lent) {
        return;
    }
    if (e->pub.type == TBQ_EVENT_TRUST) {
        tbi_trust_answered(e, true);
    }
    settle(e, true);
}

void tbi_node_event_refuse(tbq_event *event)
{
    struct tbi_event *e = (struct tbi_event *)event;

    if (e != NULL && !e->lent) {
        settle(e, false);
    }
}
