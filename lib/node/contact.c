/* node/contact.c - somebody we dial: names, addresses one after another, and dialling again.
 *
 * A dial as a whole has the configured time; each address gets an equal share of what is left. A
 * contact that was up, or is persistent, is dialled again with backoff: 250 ms, doubled up to 30 s,
 * less a random quarter, so that a thousand nodes do not come back in one instant. */
#include <string.h>

#include "node/parts.h"

struct tbi_contact *tbi_contact_new(struct tbi_node *node)
{
    struct tbi_contact *c = tbi_calloc(node->alloc, 1, sizeof *c);
    if (c == NULL) {
        return NULL;
    }
    c->node = node;
    c->handle = node->next_number++;
    if (tbi_timer_register(&node->timers, &c->timer, c, TBI_TIMER_CONTACT) < 0) {
        tbi_free(node->alloc, c);
        return NULL;
    }
    if (tbi_map_put(&node->contacts, &c->handle, c) < 0) {
        tbi_timer_unregister(&node->timers, &c->timer);
        tbi_free(node->alloc, c);
        return NULL;
    }
    return c;
}

void tbi_contact_free(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;

    tbi_map_remove(&node->contacts, &c->handle);
    tbi_timer_unregister(&node->timers, &c->timer);
    tbi_block_unref(c->ticket);
    tbi_event_free(c->failed);
    if (c->bond != NULL) {
        tbi_bond_let_go(c->bond);
    }
    tbi_free(node->alloc, c);
    tbi_discovery_want(node);
}

static void tell_failed(struct tbi_contact *c, int reason, const char *text)
{
    struct tbi_event *e = c->failed;

    tbi_target_to_text(&c->target, e->words->address);
    e->pub.address = e->words->address;
    if (c->target.pinned) {
        tbi_event_set_peer(e, &c->target.id);
    }
    e->pub.connection = c->handle;
    e->pub.reason = reason;
    tbi_event_set_text(e, text);
    tbi_events_push(&c->node->events, e);
    c->failed = NULL;
}

void tbi_contact_end(struct tbi_contact *c, int reason, const char *text)
{
    if (c->failed != NULL && !c->was_up) {
        tell_failed(c, reason, text);
    }
    /* Another contact may still lead to the same process: then its messages wait for that one. */
    if (c->bond != NULL && c->bond->session == NULL && c->bond->contacts == 1) {
        tbi_bond_give_up(c->bond, reason);
    }
    tbi_contact_free(c);
}

static uint64_t backoff_ns(struct tbi_contact *c)
{
    unsigned doublings = c->failures < 8 ? c->failures : 8;
    uint64_t ms = (uint64_t)TBI_BACKOFF_FIRST_MS << doublings;
    if (ms > TBI_BACKOFF_LAST_MS) {
        ms = TBI_BACKOFF_LAST_MS;
    }
    return (ms - tbi_rng_below(&c->node->rng, ms / 4 + 1)) * TBI_NS_PER_MS;
}

/* All addresses of this round have failed. */
static void round_failed(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;
    bool in_time = c->was_up && node->now.mono_ns < c->give_up_at;

    if (node->stopping || (!c->persistent && !in_time)) {
        int reason = c->last_reason != 0 ? c->last_reason : TBQ_ERR_TIMEOUT;
        tbi_contact_end(c, reason, c->last_text[0] != '\0' ? c->last_text : tbq_strerror(reason));
        return;
    }
    if (c->was_up && !in_time && c->bond != NULL && c->bond->session == NULL) {
        tbi_bond_give_up(c->bond, TBQ_ERR_LOST); /* persistent: goes on, with nothing to send */
    }
    c->state = TBI_CONTACT_WAITING;
    tbi_timer_set(&node->timers, &c->timer, node->now.mono_ns + backoff_ns(c));
    /* Once a person should hear of it; not every half minute of a night. */
    tbi_log(node->log, c->failures++ == 0 ? TBQ_LOG_WARNING : TBQ_LOG_INFO,
            "%s:%u does not answer (%s); dialled again later", c->target.host,
            (unsigned)c->target.port, c->last_text);
}

static const tbq_peer_id *dialled_id(const struct tbi_contact *c)
{
    return c->following ? &c->via : &c->target.id;
}

/* Whether the next address may be dialled now; if not yet, the contact waits until it may. */
static int may_dial(struct tbi_contact *c, const struct tbi_addr *to)
{
    struct tbi_node *node = c->node;

    if (c->paced || !c->claims || c->following) { /* to whom it follows was asked already */
        c->paced = false;
        return 0;
    }
    int rv = tbi_discovery_may_dial(node, &c->target.id, to);
    if (rv == TBQ_ERR_AGAIN) {
        c->state = TBI_CONTACT_PACING;
        tbi_timer_set(&node->timers, &c->timer,
                      tbi_pace_again_at(&node->discovery.pace, node->now.mono_ns, to));
    }
    return rv;
}

/* Dials the next address; each gets an equal share of the time that is left. */
static void dial_next(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;

    while (c->addrs_next < c->addrs_len || tbi_busy_follow(c)) {
        const struct tbi_addr *to = &c->addrs[c->addrs_next];
        struct tbi_dial_options options = {
            .needed = c->persistent || (c->target.pinned && !c->by_itself),
        };
        uint64_t conn = 0;
        int rv = may_dial(c, to);
        if (rv == TBQ_ERR_AGAIN) {
            return;
        }
        c->addrs_next++;
        if (rv < 0) {
            c->last_reason = c->last_reason != 0 ? c->last_reason : TBQ_ERR_NO_ROUTE;
            continue;
        }
        if (c->ticket != NULL) {
            options.ticket = c->ticket->data;
            options.ticket_size = c->ticket->size;
        }
        rv = tbi_endpoint_dial(node->endpoint, node->now, to, &options, &conn);
        if (rv < 0) {
            c->last_reason = rv;
            tbi_text(c->last_text, sizeof c->last_text, "%s", tbq_strerror(rv));
            continue;
        }
        c->session = tbi_session_new(node, conn, true, to);
        if (c->session == NULL) {
            c->last_reason = TBQ_ERR_NOMEM;
            tbi_text(c->last_text, sizeof c->last_text, "%s", tbq_strerror(TBQ_ERR_NOMEM));
            tbi_conn_close(tbi_endpoint_conn(node->endpoint, conn), node->now, TBI_CLOSE_INTERNAL,
                           c->last_text);
            continue;
        }
        c->session->contact = c;
        c->state = TBI_CONTACT_DIALLING;
        uint64_t left = c->give_up_at > node->now.mono_ns ? c->give_up_at - node->now.mono_ns : 0;
        if (c->was_up || c->persistent) {
            left = (uint64_t)node->cfg.settings.connection_timeout_ms * TBI_NS_PER_MS;
        }
        tbi_timer_set(&node->timers, &c->timer,
                      node->now.mono_ns + left / (c->addrs_len - c->addrs_next + 1));
        return;
    }
    if (c->referrals > 0) {
        c->state = TBI_CONTACT_PACING;
        tbi_timer_set(&node->timers, &c->timer, node->now.mono_ns + TBI_NS_PER_S);
        return;
    }
    round_failed(c);
}

void tbi_contact_begin(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;
    uint64_t timeout = (uint64_t)node->cfg.settings.connection_timeout_ms * TBI_NS_PER_MS;

    if (!c->was_up) {
        c->give_up_at = node->now.mono_ns + timeout;
    }
    c->addrs_next = 0;
    c->following = false;
    c->follows = 0;
    c->referrals = 0;
    c->claims = !c->target.numeric && c->target.host[0] == '\0';
    if (c->target.numeric) {
        c->addrs[0] = c->target.addr;
        c->addrs_len = 1;
        dial_next(c);
        return;
    }
    if (c->claims) {
        c->addrs_len =
            tbi_discovery_places(node, &c->target.id, c->addrs, TBI_CONTACT_ADDRESSES_MAX);
        if (c->addrs_len == 0) {
            c->last_reason = TBQ_ERR_NO_ROUTE;
            tbi_text(c->last_text, sizeof c->last_text, "no address of that peer is known");
        }
        dial_next(c);
        return;
    }
    c->addrs_len = 0;
    c->state = TBI_CONTACT_RESOLVING;
    c->lookup_pending = true;
    tbi_timer_set(&node->timers, &c->timer, node->now.mono_ns + timeout);
}

bool tbi_node_next_lookup(struct tbi_node *node, struct tbi_lookup *lookup)
{
    for (struct tbi_map_entry *e = tbi_map_first(&node->contacts); e; e = tbi_map_next(e)) {
        struct tbi_contact *c = tbi_map_value(e);
        if (c->lookup_pending) {
            c->lookup_pending = false;
            *lookup = (struct tbi_lookup){
                .contact = c->handle, .host = c->target.host, .port = c->target.port};
            return true;
        }
    }
    return false;
}

void tbi_node_resolved(struct tbi_node *node, struct tbi_now now, tbq_connection contact,
                       const struct tbi_addr *addrs, size_t n, const char *why_none)
{
    struct tbi_contact *c = tbi_map_get(&node->contacts, &contact);

    node->now = now;
    if (c == NULL || c->state != TBI_CONTACT_RESOLVING) {
        return; /* closed meanwhile, or its time has passed */
    }
    c->addrs_len = n < TBI_CONTACT_ADDRESSES_MAX ? n : TBI_CONTACT_ADDRESSES_MAX;
    if (c->addrs_len > 0) {
        memcpy(c->addrs, addrs, c->addrs_len * sizeof *addrs);
    } else {
        c->last_reason = TBQ_ERR_NAME;
        tbi_text(c->last_text, sizeof c->last_text, "%s: %s", c->target.host,
                 why_none != NULL ? why_none : "no address");
    }
    dial_next(c);
}

void tbi_contact_timer(struct tbi_contact *c)
{
    switch (c->state) {
    case TBI_CONTACT_WAITING:
        if (c->bond != NULL && c->bond->session != NULL) {
            /* The peer is here by another connection: look again later. */
            tbi_timer_set(&c->node->timers, &c->timer,
                          c->node->now.mono_ns + TBI_REST_MS * TBI_NS_PER_MS);
            return;
        }
        tbi_contact_begin(c);
        return;
    case TBI_CONTACT_PACING:
        if (!c->was_up && !c->persistent && c->node->now.mono_ns >= c->give_up_at) {
            c->referrals = 0;
            c->addrs_len = c->addrs_next;
        }
        dial_next(c);
        return;
    case TBI_CONTACT_RESOLVING:
        c->last_reason = TBQ_ERR_NAME;
        tbi_text(c->last_text, sizeof c->last_text, "%s: the name was not resolved in time",
                 c->target.host);
        c->lookup_pending = false;
        round_failed(c);
        return;
    case TBI_CONTACT_DIALLING:
        c->last_reason = TBQ_ERR_TIMEOUT;
        tbi_text(c->last_text, sizeof c->last_text, "no answer in time");
        c->session->contact = NULL;
        tbi_discovery_unreached(c->node, dialled_id(c), &c->session->remote, TBQ_ERR_TIMEOUT);
        tbi_session_close(c->session, TBI_CLOSE_TIMEOUT, "no answer in time");
        c->session = NULL;
        dial_next(c);
        return;
    case TBI_CONTACT_UP:
        return;
    }
}

void tbi_contact_session_up(struct tbi_contact *c)
{
    bool named = c->persistent || (c->dialled && c->target.pinned && !c->by_itself);

    if (named && !c->following) { /* by the operator: never forgotten */
        (void)tbi_book_name(&c->node->discovery.book, &c->session->peer_id, &c->session->remote);
    }
    c->state = TBI_CONTACT_UP;
    c->was_up = true;
    tbi_event_free(c->failed);
    c->failed = NULL;
    c->failures = 0;
    c->last_reason = 0;
    c->last_text[0] = '\0';
    tbi_timer_set(&c->node->timers, &c->timer, TBI_NEVER);
}

void tbi_contact_session_lost(struct tbi_contact *c, int reason, const char *text, bool final)
{
    struct tbi_node *node = c->node;
    bool was_up = c->state == TBI_CONTACT_UP;

    c->session = NULL;
    c->last_reason = reason;
    tbi_text(c->last_text, sizeof c->last_text, "%s", text);
    if (!was_up && c->addrs_next > 0) {
        tbi_discovery_unreached(node, dialled_id(c), &c->addrs[c->addrs_next - 1], reason);
    }
    if (node->stopping || (final && !c->persistent)) {
        tbi_contact_end(c, reason, text);
        return;
    }
    if (!c->dialled) {
        tbi_contact_free(c); /* the peer may dial again: its bond waits for peer_timeout_ms */
        return;
    }
    if (was_up) {
        c->give_up_at =
            node->now.mono_ns + (uint64_t)node->cfg.settings.peer_timeout_ms * TBI_NS_PER_MS;
        c->addrs_len = c->addrs_next = 0;
        c->state = TBI_CONTACT_WAITING;
        tbi_timer_set(&node->timers, &c->timer, node->now.mono_ns + backoff_ns(c));
        c->failures++;
        return;
    }
    dial_next(c);
}

static int new_dial(struct tbi_node *node, const struct tbi_target *target, bool persistent,
                    struct tbi_contact **made)
{
    struct tbi_contact *c = tbi_contact_new(node);
    if (c == NULL) {
        return tbi_map_count(&node->contacts) >= node->contacts.limit ? TBQ_ERR_LIMIT
                                                                      : TBQ_ERR_NOMEM;
    }
    c->dialled = true;
    c->persistent = persistent;
    c->target = *target;
    struct tbi_peer *peer = NULL;
    if (target->pinned) {
        peer = tbi_peer_get(node, &target->id, true);
        c->bond = peer != NULL ? tbi_peer_newest(peer) : NULL;
    }
    if (c->bond == NULL) {
        c->bond = peer != NULL || !target->pinned ? tbi_bond_new(node, peer) : NULL;
        if (c->bond == NULL) {
            tbi_contact_free(c);
            return TBQ_ERR_NOMEM;
        }
    }
    c->bond->contacts++;
    *made = c;
    return 0;
}

int tbi_node_connect(struct tbi_node *node, struct tbi_now now, const struct tbi_target *target,
                     bool persistent, tbq_connection *connection)
{
    struct tbi_contact *c;

    node->now = now;
    if (node->stopping) {
        return TBQ_ERR_CLOSED;
    }
    if (node->cfg.settings.network_mode == TBQ_MODE_SERVER) {
        return TBQ_ERR_MODE;
    }
    if (target->port == 0 && target->host[0] != '\0') {
        return TBQ_ERR_ADDRESS;
    }
    int rv = new_dial(node, target, persistent, &c);
    if (rv < 0) {
        return rv;
    }
    c->failed = tbi_events_reserve(&node->events, node, TBQ_EVENT_CONNECT_FAILED);
    if (c->failed == NULL) {
        tbi_contact_free(c);
        return TBQ_ERR_NOMEM;
    }
    if (connection != NULL) {
        *connection = c->handle;
    }
    tbi_contact_begin(c);
    return 0;
}

int tbi_contact_dial_peer(struct tbi_node *node, const tbq_peer_id *id)
{
    struct tbi_target target = {.pinned = true, .id = *id};
    struct tbi_contact *c;
    int rv = new_dial(node, &target, false, &c);

    if (rv == 0) {
        c->by_itself = true;
        c->paced = true; /* discovery asked before it picked this peer */
        tbi_contact_begin(c);
    }
    return rv;
}

int tbi_node_close(struct tbi_node *node, struct tbi_now now, tbq_connection connection)
{
    struct tbi_contact *c = tbi_map_get(&node->contacts, &connection);

    node->now = now;
    if (c == NULL || c->closed) {
        return TBQ_ERR_CLOSED;
    }
    c->closed = true;
    c->persistent = false;
    if (c->session != NULL) {
        struct tbi_session *s = c->session;
        bool up = s->up;
        tbi_session_close(s, TBI_CLOSE_NONE, "");
        if (up) {
            return 0; /* the session's end tells DISCONNECTED and ends the contact */
        }
        s->contact = NULL;
        c->session = NULL;
    }
    tbi_contact_end(c, TBQ_ERR_CLOSED, "closed by the application");
    return 0;
}
