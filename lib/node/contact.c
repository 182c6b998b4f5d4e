/* node/contact.c - somebody we dial: names, and dialling again.
 *
 * A dial as a whole has the configured time; race.c tries the addresses. A contact that was up, or
 * is persistent, is dialled again with backoff: 250 ms, doubled up to 30 s, less a random quarter,
 * so that a thousand nodes do not come back in one instant. */
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
    tbi_list_init(&c->held);
    tbi_list_init(&c->lookup);
    tbi_list_init(&c->attempts);
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

    tbi_rest_over(c);
    tbi_map_remove(&node->contacts, &c->handle);
    tbi_timer_unregister(&node->timers, &c->timer);
    tbi_event_free(c->failed);
    tbi_list_remove(&c->lookup);
    if (c->bond != NULL) {
        tbi_bond_let_go(c);
    }
    tbi_free(node->alloc, c->dial);
    tbi_free(node->alloc, c);
    tbi_discovery_want(node);
}

static void tell_failed(struct tbi_contact *c, int reason, const char *text)
{
    struct tbi_event *e = c->failed;

    tbi_target_to_text(&c->dial->target, e->words->address);
    e->pub.address = e->words->address;
    if (c->dial->target.pinned) {
        tbi_event_set_peer(e, &c->dial->target.id);
    }
    e->pub.connection = c->handle;
    e->pub.reason = reason;
    tbi_event_set_text(e, text);
    tbi_events_push(&c->node->events, e);
    c->failed = NULL;
}

static void tell_end(struct tbi_contact *c, int reason, const char *text)
{
    struct tbi_event *e = tbi_event_new(&c->node->events, c->node, TBQ_EVENT_DISCONNECTED);

    if (e != NULL) {
        tbi_target_to_text(&c->dial->target, e->words->address);
        e->pub.address = e->words->address;
        const struct tbi_peer *peer = c->bond != NULL ? c->bond->peer : NULL;
        tbi_event_set_peer(e, peer != NULL ? &peer->id : NULL);
        e->pub.connection = c->handle;
        e->pub.reason = reason;
        tbi_event_set_text(e, text);
        tbi_events_push_notice(&c->node->events, e);
    }
    c->rested = false;
}

/* Those of the peer that only the contact was there for, also what is on its way to become one. */
static void close_further(struct tbi_contact *c)
{
    if (!tbi_list_alone(&c->held)) {
        return;
    }
    TBI_LIST_FOREACH(it, &c->bond->sessions)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, member);
        if (s->contact == NULL) { /* what was dialled beside it, too */
            tbi_session_close(s, TBI_CLOSE_NONE, "");
        }
    }
}

void tbi_contact_end(struct tbi_contact *c, int reason, const char *text)
{
    tbi_race_abandon(c, c->closed ? TBI_CLOSE_NONE : TBI_CLOSE_STOPPED, "");
    if (c->failed != NULL && !c->was_up) {
        tell_failed(c, reason, text);
    }
    if (c->rested) { /* the application holds it to be there */
        tell_end(c, reason, text);
    }
    /* Another contact may still lead to the same process: then its messages wait for that one. So
     * they do when the connection was replaced, also where the other one is still on its way: what
     * is known of the peer must outlive this one, or it would be handed messages twice. */
    bool replaced = reason == TBQ_ERR_EXISTS && !c->closed && !c->node->stopping;
    if (!replaced) {
        close_further(c);
    }
    if (tbi_list_alone(&c->held) && c->bond->session == NULL && !replaced) {
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

void tbi_contact_round_failed(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;
    bool in_time = c->was_up && !c->refused && node->now.mono_ns < c->give_up_at;

    if (node->stopping || (!c->persistent && !in_time)) {
        int reason = c->last_reason != 0 ? c->last_reason : TBQ_ERR_TIMEOUT;
        tbi_contact_end(c, reason,
                        c->dial->last_text[0] != '\0' ? c->dial->last_text : tbq_strerror(reason));
        return;
    }
    bool replaced = c->last_reason == TBQ_ERR_EXISTS; /* by one that will be here in a moment */
    if (c->was_up && !in_time && !replaced && c->bond != NULL && c->bond->session == NULL) {
        tbi_bond_give_up(c->bond, TBQ_ERR_LOST); /* persistent: goes on, with nothing to send */
    }
    if (c->rested && !in_time) { /* the application holds it to be there */
        tell_end(c, TBQ_ERR_LOST, c->dial->last_text);
    }
    c->state = TBI_CONTACT_WAITING;
    tbi_timer_set(&node->timers, &c->timer, node->now.mono_ns + backoff_ns(c));
    /* Once a person should hear of it; not every half minute of a night. */
    tbi_log(node->log, c->failures++ == 0 ? TBQ_LOG_WARNING : TBQ_LOG_INFO,
            "%s:%u does not answer (%s); dialled again later", c->dial->target.host,
            (unsigned)c->dial->target.port, c->dial->last_text);
}

void tbi_contact_begin(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;
    uint64_t timeout = (uint64_t)node->cfg.settings.connection_timeout_ms * TBI_NS_PER_MS;

    if (!c->was_up) {
        c->give_up_at = node->now.mono_ns + timeout;
    }
    c->refused = false;
    c->following = false;
    c->follows = 0;
    c->dial->referrals = 0;
    if (c->dial->target.numeric) {
        c->dial->addrs[0] = c->dial->target.addr;
        c->dial->addrs_len = 1;
        tbi_race_begin(c);
        return;
    }
    if (c->dial->target.host[0] == '\0') {
        c->dial->addrs_len = tbi_discovery_places(node, &c->dial->target.id, c->dial->addrs,
                                                  TBI_CONTACT_ADDRESSES_MAX);
        if (c->dial->addrs_len == 0) {
            c->last_reason = TBQ_ERR_NO_ROUTE;
            tbi_text(c->dial->last_text, sizeof c->dial->last_text,
                     "no address of that peer is known");
        }
        tbi_race_begin(c);
        return;
    }
    c->dial->addrs_len = 0;
    c->state = TBI_CONTACT_RESOLVING;
    tbi_list_remove(&c->lookup);
    tbi_list_push(&node->lookups, &c->lookup);
    tbi_timer_set(&node->timers, &c->timer, node->now.mono_ns + timeout);
}

bool tbi_node_next_lookup(struct tbi_node *node, struct tbi_lookup *lookup)
{
    struct tbi_list *e = tbi_list_shift(&node->lookups);

    if (e != NULL) {
        struct tbi_contact *c = TBI_CONTAINER(e, struct tbi_contact, lookup);
        *lookup = (struct tbi_lookup){
            .contact = c->handle, .host = c->dial->target.host, .port = c->dial->target.port};
    }
    return e != NULL;
}

void tbi_node_resolved(struct tbi_node *node, struct tbi_now now, tbq_connection contact,
                       const struct tbi_addr *addrs, size_t n, const char *why_none)
{
    struct tbi_contact *c = tbi_map_get(&node->contacts, &contact);

    node->now = now;
    if (c == NULL || c->state != TBI_CONTACT_RESOLVING) {
        return; /* closed meanwhile, or its time has passed */
    }
    c->dial->addrs_len = n < TBI_CONTACT_ADDRESSES_MAX ? n : TBI_CONTACT_ADDRESSES_MAX;
    if (c->dial->addrs_len > 0) {
        memcpy(c->dial->addrs, addrs, c->dial->addrs_len * sizeof *addrs);
        tbi_race_order(c->dial->addrs, c->dial->addrs_len);
    } else {
        c->last_reason = TBQ_ERR_NAME;
        tbi_text(c->dial->last_text, sizeof c->dial->last_text, "%s: %s", c->dial->target.host,
                 why_none != NULL ? why_none : "no address");
    }
    tbi_race_begin(c);
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
    case TBI_CONTACT_RESOLVING:
        c->last_reason = TBQ_ERR_NAME;
        tbi_text(c->dial->last_text, sizeof c->dial->last_text,
                 "%s: the name was not resolved in time", c->dial->target.host);
        tbi_list_remove(&c->lookup);
        tbi_contact_round_failed(c);
        return;
    case TBI_CONTACT_DIALLING:
        tbi_race_run(c);
        return;
    case TBI_CONTACT_UP:
    case TBI_CONTACT_RESTING:
        return;
    }
}

bool tbi_contact_named(const struct tbi_contact *c)
{
    return c->persistent || (c->dialled && c->dial->target.pinned && !c->by_itself);
}

void tbi_contact_hurry(struct tbi_contact *c)
{
    bool waits = c->dialled && c->state == TBI_CONTACT_WAITING;

    if (waits && (c->bond == NULL || c->bond->session == NULL)) {
        c->failures = c->failures > 0; /* short backoffs again, and no second warning */
        tbi_timer_set(&c->node->timers, &c->timer, c->node->now.mono_ns);
    }
}

void tbi_contact_session_up(struct tbi_contact *c)
{
    if (tbi_contact_named(c) && !c->following) { /* by the operator: never forgotten */
        (void)tbi_book_name(&c->node->discovery.book, &c->session->peer_id, &c->session->remote);
    }
    tbi_rest_over(c);
    c->state = TBI_CONTACT_UP;
    c->was_up = true;
    c->rested = false;
    tbi_event_free(c->failed);
    c->failed = NULL;
    c->failures = 0;
    c->last_reason = 0;
    if (c->dialled) {
        c->dial->last_text[0] = '\0';
    }
    tbi_timer_set(&c->node->timers, &c->timer, TBI_NEVER);
}

void tbi_contact_session_lost(struct tbi_contact *c, const struct tbi_addr *remote, int reason,
                              const char *text, bool final)
{
    struct tbi_node *node = c->node;
    bool was_up = c->state == TBI_CONTACT_UP;

    c->session = NULL;
    if (c->dialled && was_up) {
        c->last_reason = reason;
        tbi_text(c->dial->last_text, sizeof c->dial->last_text, "%s", text);
    } else if (c->dialled) {
        tbi_race_lost(c, remote, reason, text, final);
    }
    if (node->stopping || c->closed || (was_up && final && !c->persistent)) {
        tbi_contact_end(c, reason, text);
    } else if (!c->dialled) {
        tbi_contact_free(c); /* the peer may dial again: its bond waits for peer_timeout_ms */
    } else if (was_up) {
        c->give_up_at =
            node->now.mono_ns + (uint64_t)node->cfg.settings.peer_timeout_ms * TBI_NS_PER_MS;
        c->state = TBI_CONTACT_WAITING;
        tbi_timer_set(&node->timers, &c->timer, node->now.mono_ns + backoff_ns(c));
        c->failures++;
    } else {
        tbi_race_run(c);
    }
}

/* A session of the bond that is no contact's and can be one's: a sound one where there is one. */
static struct tbi_session *spare_session(const struct tbi_bond *b, bool or_suspect)
{
    struct tbi_session *suspect = NULL;

    TBI_LIST_FOREACH(it, &b->carriers)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, carries);
        if (s->contact == NULL && !s->closing && !s->suspect) {
            return s;
        }
        if (s->contact == NULL && !s->closing) {
            suspect = s;
        }
    }
    return or_suspect ? suspect : NULL;
}

/* From now on it is the contact's. */
static void take_over(struct tbi_contact *c, struct tbi_session *s)
{
    s->contact = c;
    c->session = s;
    tbi_session_ping_later(s);
    tbi_session_moved(s, &s->remote);
}

bool tbi_contact_hand_on(struct tbi_contact *c)
{
    bool goes_on = !c->closed && c->bond != NULL && !c->node->stopping;
    struct tbi_session *s = goes_on ? spare_session(c->bond, true) : NULL;

    if (s != NULL) {
        c->bond->session = s;
        take_over(c, s);
    }
    return s != NULL;
}

void tbi_contact_follow(struct tbi_bond *b)
{
    struct tbi_session *silent = b->session;
    struct tbi_session *s = silent != NULL && silent->suspect ? spare_session(b, false) : NULL;

    if (s == NULL) {
        return;
    }
    b->session = s;
    if (silent->contact != NULL && !silent->contact->closed) {
        take_over(silent->contact, s);
        silent->contact = NULL;
        tbi_timer_set(&s->node->timers, &silent->timer, TBI_NEVER);
    }
}

/* The other way about: a session of its peer comes up that has no contact. Where nobody waits for
 * one, as the contact of an accepted connection ends with it, it gets a new one. */
int tbi_contact_adopt(struct tbi_session *s)
{
    TBI_LIST_FOREACH(it, &s->bond->contacts)
    {
        struct tbi_contact *c = TBI_CONTAINER(it, struct tbi_contact, held);
        if (c->dialled && !c->closed && c->session == NULL) {
            tbi_race_abandon(c, TBI_CLOSE_NONE, "another connection came up first");
            tbi_list_remove(&c->lookup);
            s->contact = c;
            c->session = s;
            return 0;
        }
    }
    s->contact = tbi_contact_new(s->node);
    if (s->contact == NULL) {
        return TBQ_ERR_LIMIT;
    }
    s->contact->session = s;
    tbi_bond_hold(s->bond, s->contact);
    return 0;
}

static int new_dial(struct tbi_node *node, const struct tbi_target *target, bool persistent,
                    struct tbi_contact **made)
{
    struct tbi_contact *c = tbi_contact_new(node);
    if (c == NULL) {
        return tbi_map_count(&node->contacts) >= node->contacts.limit ? TBQ_ERR_LIMIT
                                                                      : TBQ_ERR_NOMEM;
    }
    c->dial = tbi_calloc(node->alloc, 1, sizeof *c->dial);
    if (c->dial == NULL) {
        tbi_contact_free(c);
        return TBQ_ERR_NOMEM;
    }
    c->dialled = true;
    c->paced = true; /* by discovery, which asked before; or the application wants it now */
    c->persistent = persistent;
    c->dial->target = *target;
    struct tbi_peer *peer = NULL;
    if (target->pinned) {
        peer = tbi_peer_get(node, &target->id, true);
    }
    struct tbi_bond *b = peer != NULL ? tbi_peer_newest(peer) : NULL;
    if (b == NULL) {
        b = peer != NULL || !target->pinned ? tbi_bond_new(node, peer) : NULL;
        if (b == NULL) {
            tbi_contact_free(c);
            return TBQ_ERR_NOMEM;
        }
    }
    tbi_bond_hold(b, c);
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

struct tbi_contact *tbi_contact_for_peer(struct tbi_node *node, const tbq_peer_id *id)
{
    struct tbi_target target = {.pinned = true, .id = *id};
    struct tbi_contact *c;

    if (new_dial(node, &target, false, &c) < 0) {
        return NULL;
    }
    c->by_itself = true;
    return c;
}

void tbi_contact_dial_peer(struct tbi_node *node, const tbq_peer_id *id)
{
    struct tbi_contact *c = tbi_contact_for_peer(node, id);

    if (c != NULL) {
        tbi_contact_begin(c);
    }
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
    close_further(c);
    if (c->session != NULL && c->session->up) {
        tbi_session_close(c->session, TBI_CLOSE_NONE, "");
        return 0; /* the session's end tells DISCONNECTED and ends the contact */
    }
    tbi_contact_end(c, TBQ_ERR_CLOSED, "closed by the application");
    return 0;
}
