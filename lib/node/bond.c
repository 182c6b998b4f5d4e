/* node/bond.c - the links, and the processes they lead to.
 *
 * A peer id may have several bonds: one for each process (boot id) that was met under it. A send by
 * peer id goes to the newest. When a process is gone and another has taken its place, what waits
 * for the old one moves over. */
#include <string.h>

#include "node/parts.h"

/* A peer that is gone and waits for nothing of ours. idle: nothing at all is lost by forgetting it;
 * else its messages, if it comes back, may be repeats, and are told as such (section 6.1). */
static bool may_go(const struct tbi_peer *peer, bool idle)
{
    TBI_LIST_FOREACH(it, &peer->bonds)
    {
        const struct tbi_bond *b = TBI_CONTAINER(it, struct tbi_bond, entry);
        struct tbi_link_stats stats;
        tbi_link_stats(b->link, &stats);
        if (!tbi_list_empty(&b->sessions) || !tbi_list_empty(&b->contacts) || b->owed > 0 ||
            !tbi_link_outbox_empty(b->link) || stats.held_messages > 0 ||
            !tbi_list_empty(&b->bodies_out) ||
            (idle && (!tbi_link_idle(b->link) || !tbi_list_empty(&b->bodies_in)))) {
            return false;
        }
    }
    return !tbi_list_empty(&peer->bonds);
}

static struct tbi_peer *find_to_go(const struct tbi_node *node, bool idle)
{
    struct tbi_map_entry *e = tbi_map_first(&node->peers);

    while (e != NULL && !may_go(tbi_map_value(e), idle)) {
        e = tbi_map_next(e);
    }
    return e != NULL ? tbi_map_value(e) : NULL;
}

/* Where the map is full, whoever was met first of those that may go makes way: else keys that come
 * once and leave would keep everybody else out until peer_timeout_ms has passed. */
static void make_room(struct tbi_node *node)
{
    if (tbi_map_count(&node->peers) < node->peers.limit) {
        return;
    }
    struct tbi_peer *peer = find_to_go(node, true);
    peer = peer != NULL ? peer : find_to_go(node, false);
    for (bool last = peer == NULL; !last;) {
        last = peer->bonds.next == peer->bonds.prev;
        tbi_bond_free(tbi_peer_newest(peer)); /* the peer goes with its last one */
    }
}

struct tbi_peer *tbi_peer_get(struct tbi_node *node, const tbq_peer_id *id, bool make)
{
    struct tbi_peer *p = tbi_map_get(&node->peers, id->bytes);
    if (p != NULL || !make) {
        return p;
    }
    make_room(node);
    p = tbi_calloc(node->alloc, 1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->node = node;
    p->id = *id;
    tbi_list_init(&p->bonds);
    if (tbi_map_put(&node->peers, id->bytes, p) < 0) {
        tbi_free(node->alloc, p);
        return NULL;
    }
    return p;
}

void tbi_peer_free(struct tbi_peer *peer)
{
    struct tbi_node *node = peer->node;

    tbi_map_remove(&node->peers, peer->id.bytes);
    tbi_free(node->alloc, peer);
    tbi_discovery_want(node); /* it may be dialled as a stranger now */
}

struct tbi_bond *tbi_peer_newest(struct tbi_peer *peer)
{
    return tbi_list_empty(&peer->bonds) ? NULL
                                        : TBI_CONTAINER(peer->bonds.next, struct tbi_bond, entry);
}

static void put_newest(struct tbi_peer *peer, struct tbi_bond *b)
{
    tbi_list_remove(&b->entry);
    b->peer = peer;
    tbi_list_push_front(&peer->bonds, &b->entry);
}

struct tbi_bond *tbi_bond_new(struct tbi_node *node, struct tbi_peer *peer)
{
    const tbq_config *settings = &node->cfg.settings;
    /* It lies before a message's bytes, with what a link has there: see tbi_block_roomy(). */
    _Static_assert(sizeof(struct tbi_event) <= TBI_PIECE_MAX / 4, "a block has no room for it");
    struct tbi_link_config config = {
        .alloc = node->alloc,
        .rng = &node->rng,
        .log = node->log,
        .outbox_bytes = settings->outbox_bytes,
        .outbox_messages = settings->outbox_messages,
        .max_message_size = settings->max_message_size,
        .fate_room = sizeof(struct tbi_event),
        .delivery_room = sizeof(struct tbi_event),
    };
    memcpy(config.schedule, settings->schedule, sizeof config.schedule);
    struct tbi_bond *b = tbi_calloc(node->alloc, 1, sizeof *b);
    if (b == NULL) {
        return NULL;
    }
    b->node = node;
    tbi_list_init(&b->entry);
    tbi_list_init(&b->contacts);
    tbi_list_init(&b->sessions);
    tbi_list_init(&b->carriers);
    tbi_list_init(&b->joiners);
    tbi_list_init(&b->dials);
    tbi_list_init(&b->bodies_out);
    tbi_list_init(&b->bodies_in);
    tbi_list_init(&b->hungry);
    tbi_list_init(&b->touched);
    b->further_at = TBI_NEVER;
    b->rest_at = TBI_NEVER;
    if (tbi_timer_register(&node->timers, &b->timer, b, TBI_TIMER_BOND) < 0) {
        tbi_free(node->alloc, b);
        return NULL;
    }
    b->link = tbi_link_new(&config);
    if (b->link == NULL) {
        tbi_timer_unregister(&node->timers, &b->timer);
        tbi_free(node->alloc, b);
        return NULL;
    }
    if (peer != NULL) {
        put_newest(peer, b);
    } else {
        tbi_list_push(&node->bonds, &b->entry);
    }
    return b;
}

void tbi_bond_free(struct tbi_bond *b)
{
    struct tbi_node *node = b->node;
    struct tbi_peer *peer = b->peer;

    tbi_requests_forget(node, b);
    tbi_list_remove(&b->entry);
    tbi_timer_unregister(&node->timers, &b->timer);
    tbi_link_free(b->link);
    tbi_free(node->alloc, b->ping);
    tbi_event_free(b->writable);
    tbi_bodies_out_free(b);
    tbi_bodies_in_end(b, TBQ_ERR_LOST);
    tbi_list_remove(&b->hungry);
    tbi_list_remove(&b->touched);
    tbi_free(node->alloc, b);
    if (peer != NULL && tbi_list_empty(&peer->bonds)) {
        tbi_peer_free(peer);
    }
}

void tbi_bond_left(struct tbi_bond *b)
{
    if (tbi_list_empty(&b->sessions) && tbi_list_empty(&b->contacts) && b->given_up) {
        tbi_bond_free(b);
    }
}

void tbi_bond_enter(struct tbi_bond *b, struct tbi_session *s)
{
    s->bond = b;
    tbi_list_push(&b->sessions, &s->member);
}

void tbi_bond_hold(struct tbi_bond *b, struct tbi_contact *c)
{
    c->bond = b;
    b->given_up = false; /* what is sent from now on has a fate of its own */
    tbi_list_push(&b->contacts, &c->held);
}

void tbi_bond_let_go(struct tbi_contact *c)
{
    struct tbi_bond *b = c->bond;

    c->bond = NULL;
    tbi_list_remove(&c->held);
    tbi_bond_drain(b);
    if (tbi_list_empty(&b->contacts) && b->session == NULL && b->lost_at == 0) {
        tbi_bond_give_up(b, TBQ_ERR_CLOSED); /* never was up: nobody will come back */
        return;
    }
    tbi_bond_left(b);
}

struct tbi_bond *tbi_bond_find(struct tbi_node *node, const tbq_peer_id *id,
                               const uint8_t boot_id[TBI_BOOT_ID_SIZE])
{
    struct tbi_peer *peer = tbi_peer_get(node, id, false);

    if (peer == NULL) {
        return NULL;
    }
    TBI_LIST_FOREACH(it, &peer->bonds)
    {
        struct tbi_bond *b = TBI_CONTAINER(it, struct tbi_bond, entry);
        if (b->have_boot && memcmp(b->boot_id, boot_id, TBI_BOOT_ID_SIZE) == 0) {
            return b;
        }
    }
    return NULL;
}

/* All that waits for one process waits for the other now: messages, who waits for room, bodies,
 * pings. */
static void move_all(struct tbi_bond *from, struct tbi_bond *to)
{
    if (to->writable == NULL) {
        to->writable = from->writable;
        from->writable = NULL;
    }
    tbi_bodies_move(from, to);
    tbi_link_absorb(to->link, from->link);
    tbi_bond_touch(to);
    tbi_dispatch_pings_move(to, from);
}

struct tbi_bond *tbi_bond_for(struct tbi_node *node, const tbq_peer_id *id,
                              const uint8_t boot_id[TBI_BOOT_ID_SIZE], struct tbi_bond *waiting)
{
    struct tbi_peer *peer = tbi_peer_get(node, id, true);
    struct tbi_bond *found = NULL;
    struct tbi_bond *old = NULL;

    if (peer == NULL) {
        return NULL;
    }
    TBI_LIST_FOREACH(it, &peer->bonds)
    {
        struct tbi_bond *b = TBI_CONTAINER(it, struct tbi_bond, entry);
        if (b->have_boot && memcmp(b->boot_id, boot_id, TBI_BOOT_ID_SIZE) == 0) {
            found = b;
        } else if (!b->have_boot && found == NULL) {
            found = b; /* made for a pinned address, waits for any process */
        } else if (b->session == NULL && !b->given_up && old == NULL) {
            old = b;
        } else if (b->session != NULL) {
            tbi_node_warn(node, id,
                          "two processes with the same key are connected; "
                          "messages by peer id go to the newer one");
        }
    }
    if (found == NULL && waiting != NULL && waiting->peer == NULL) {
        found = waiting;
    }
    if (found == NULL && (found = tbi_bond_new(node, peer)) == NULL) {
        return NULL;
    }
    put_newest(peer, found);
    found->have_boot = true;
    memcpy(found->boot_id, boot_id, TBI_BOOT_ID_SIZE);
    if (waiting != NULL && waiting != found && waiting->peer == NULL) {
        move_all(waiting, found);
        tbi_bond_drain(waiting);
    }
    if (old != NULL && old != found) { /* the process that it led to was replaced by this one */
        move_all(old, found);
        tbi_bond_give_up(old, TBQ_ERR_RESTARTED);
    }
    return found;
}

/* Its process was replaced by the one that a newer bond leads to: what waits moves over there. */
static bool move_over(struct tbi_bond *b)
{
    struct tbi_bond *next = tbi_peer_newest(b->peer);

    if (next == b || next->session == NULL) {
        return false;
    }
    move_all(b, next);
    tbi_bond_drain(next);
    tbi_bond_give_up(b, TBQ_ERR_RESTARTED);
    return true;
}

/* The message's memory becomes the event: a fate is told also when memory is out. */
static void on_fate(struct tbi_bond *b, const struct tbi_link_action *a)
{
    const struct tbi_link_fate *f = &a->u.fate;
    struct tbi_events *events = &b->node->events;

    switch ((enum tbi_fate_mark)f->mark) {
    case TBI_FATE_OF_SEND:
    case TBI_FATE_OF_BROADCAST:
        tbi_bond_tell_fate(b, f,
                           tbi_event_in(a->room, a->room_size, events, b->node, TBQ_EVENT_FATE));
        return;
    case TBI_FATE_OF_PART:
        tbi_body_part_fate(f);
        break;
    case TBI_FATE_UNTOLD:
        events->fates--;
        break;
    }
    tbi_piece_free(b->node->alloc, a->room, a->room_size);
}

void tbi_bond_tell_fate(struct tbi_bond *b, const struct tbi_link_fate *f, struct tbi_event *e)
{
    struct tbi_node *node = b->node;
    bool of_broadcast = f->mark == TBI_FATE_OF_BROADCAST;

    e->pub.tag = f->tag;
    e->pub.connection = of_broadcast ? 0 : f->cookie;
    if (b->peer != NULL) {
        tbi_event_set_peer(e, &b->peer->id);
    }
    e->pub.fate = f->fate;
    e->pub.reason = f->reason;
    e->pub.lane = f->lane;
    if (f->declined) {
        e->pub.text = tbi_decline_text(f->decline_code);
    } else if (f->reason != 0) {
        e->pub.text = tbq_strerror(f->reason);
    }
    tbi_events_push(&node->events, e);
    if (of_broadcast) {
        tbi_broadcast_fate(node, f->cookie, f->fate);
    }
}

int tbi_bond_full(struct tbi_bond *b)
{
    struct tbi_events *events = &b->node->events;

    if (b->writable == NULL) { /* now, so that it is told also where memory is out by then */
        b->writable = tbi_events_reserve(events, b->node, TBQ_EVENT_WRITABLE);
    }
    return b->writable != NULL ? TBQ_ERR_AGAIN : TBQ_ERR_NOMEM;
}

static void tell_writable(struct tbi_bond *b)
{
    struct tbi_event *e = b->writable;

    if (e != NULL) {
        b->writable = NULL;
        if (b->peer != NULL) {
            tbi_event_set_peer(e, &b->peer->id);
        }
        tbi_events_push(&b->node->events, e);
    }
}

void tbi_bond_hear(struct tbi_bond *b)
{
    struct tbi_link_action a;

    if (b->generation != tbi_link_generation(b->link)) { /* their next parts will never come */
        b->generation = tbi_link_generation(b->link);
        tbi_bodies_in_end(b, TBQ_ERR_RESTARTED);
    }
    while (tbi_link_next_action(b->link, &a)) {
        switch (a.type) {
        case TBI_LINK_DELIVER:
            a.u.delivery->user = b;
            tbi_dispatch_delivery(b, a.u.delivery);
            break;
        case TBI_LINK_FATE:
            on_fate(b, &a);
            break;
        case TBI_LINK_WRITABLE:
            tell_writable(b);
            break;
        case TBI_LINK_ERROR:
            tbi_session_breaks(a.u.error.user, a.u.error.code, a.u.error.text);
            break;
        }
    }
    tbi_bodies_look(b);
}

void tbi_bond_drain(struct tbi_bond *b)
{
    tbi_bond_hear(b);
    while (!tbi_list_empty(&b->joiners) && tbi_link_may_join(b->link)) {
        tbi_session_join(TBI_CONTAINER(tbi_list_shift(&b->joiners), struct tbi_session, carries));
    }
    tbi_further_look(b);
    uint64_t at = tbi_link_deadline(b->link);
    at = b->further_at < at ? b->further_at : at;
    at = b->rest_at < at ? b->rest_at : at;
    if (b->session == NULL && b->lost_at != 0 && !b->given_up) {
        uint64_t end = b->lost_at + (uint64_t)b->node->cfg.settings.peer_timeout_ms * TBI_NS_PER_MS;
        at = end < at ? end : at;
    }
    tbi_timer_set(&b->node->timers, &b->timer, at);
}

void tbi_bond_touch(struct tbi_bond *b)
{
    if (tbi_list_empty(&b->touched)) {
        tbi_list_push(&b->node->touched, &b->touched);
    }
}

/* It has a way, and nothing is under way on any. */
static bool is_idle(const struct tbi_bond *b)
{
    bool any = false;

    TBI_LIST_FOREACH(it, &b->carriers)
    {
        const struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, carries);
        const struct tbi_conn *c = s->suspect || s->closing ? NULL : tbi_session_conn(s);
        if (c != NULL && tbi_conn_is_owed(c)) {
            return false;
        }
        any = any || c != NULL;
    }
    return any;
}

void tbi_bond_said(struct tbi_bond *b)
{
    if (!b->judged) {
        b->judged = true;
        b->idle = is_idle(b);
    }
    b->node->awaited += b->idle;
    tbi_rest_used(b);
    tbi_rest_wake(b);
}

int tbi_bond_send(struct tbi_bond *b, const struct tbi_outgoing *out)
{
    int rv = tbi_link_send(b->link, b->node->now, out);
    if (rv == 0) {
        tbi_bond_touch(b);
    }
    return rv;
}

void tbi_bond_timer(struct tbi_bond *b)
{
    uint64_t end = b->lost_at + (uint64_t)b->node->cfg.settings.peer_timeout_ms * TBI_NS_PER_MS;

    if (b->session == NULL && b->lost_at != 0 && b->node->now.mono_ns >= end) {
        tbi_bond_give_up(b, TBQ_ERR_LOST);
        return;
    }
    if (b->node->now.mono_ns >= b->further_at) {
        tbi_further_due(b);
    }
    if (b->node->now.mono_ns >= b->rest_at) {
        tbi_rest_due(b);
    }
    tbi_link_tick(b->link, b->node->now);
    tbi_bond_drain(b);
}

void tbi_bond_carried(struct tbi_bond *b, struct tbi_session *s)
{
    if (b->session == NULL) {
        tbi_rest_begin(b);
    }
    tbi_list_push(&b->carriers, &s->carries);
    b->session = s->joins && b->session != NULL ? b->session : s;
    b->lost_at = 0;
    b->given_up = false;
}

struct tbi_tally tbi_bond_paths(const struct tbi_bond *b)
{
    struct tbi_tally n = {0};

    TBI_LIST_FOREACH(it, &b->carriers)
    {
        const struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, carries);
        n.suspect += s->path != NULL && s->suspect;
        n.sound += s->path != NULL && !s->suspect;
    }
    return n;
}

/* The newest that is not closing, if any: a connection that closes tells nobody anything more. */
static struct tbi_session *newest_open(const struct tbi_bond *b)
{
    struct tbi_session *newest = NULL;

    TBI_LIST_FOREACH(it, &b->carriers)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, carries);
        newest = s->closing ? newest : s;
    }
    return newest;
}

void tbi_bond_lost(struct tbi_bond *b, struct tbi_session *s, int reason)
{
    tbi_list_remove(&s->carries);
    if (b->session == NULL || b->session == s || b->session->closing) {
        b->session = newest_open(b);
    }
    if (b->session == NULL && b->lost_at == 0 && !b->given_up) {
        b->lost_at = b->node->now.mono_ns;
        tbi_book_parted(&b->node->discovery.book, b->node->now, &b->peer->id,
                        reason == TBQ_ERR_CLOSED);
    }
    if (b->session != NULL || !move_over(b)) {
        tbi_bond_drain(b);
    }
    if (b->session == NULL) {
        tbi_rest_look(b); /* a contact that rested beside this connection */
    }
}

void tbi_bond_replaced(struct tbi_bond *b, const struct tbi_addr *where)
{
    TBI_LIST_FOREACH(it, &b->carriers)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, carries);
        if (s->suspect && !s->closing && tbi_addr_equal(&s->remote, where)) {
            tbi_session_close(s, TBI_CLOSE_TIMEOUT, "another process answers there");
        }
    }
}

void tbi_bond_give_up(struct tbi_bond *b, int reason)
{
    if (!b->given_up) {
        tbi_bodies_out_give_up(b, reason);
        tbi_link_give_up(b->link, reason);
        tbi_bodies_in_end(b, reason);
        b->given_up = tbi_list_empty(&b->contacts);
        b->lost_at = 0;
        tbi_bond_drain(b);
    }
    tbi_bond_left(b);
}
