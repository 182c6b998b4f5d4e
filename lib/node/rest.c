/* node/rest.c - connections that nobody uses are closed until there is something to say again
 * (docs/protocol.md, section 5.6).
 *
 * Who dialled asks (the frame REST), and who was dialled closes, if it has nothing open itself: so
 * the side that may have no address to dial has nothing on its way when the connection ends, and
 * what the other one sends meanwhile is resent over the connection that it dials for it. The link
 * lives on. Only messages of the application count as use: the node's own talk would keep every
 * connection awake. */
#include "node/parts.h"

#define LOOK_AGAIN_NS TBI_NS_PER_S      /* what is open now may be settled: SETTLED takes 1 s */
#define ASK_AGAIN_NS (2 * TBI_NS_PER_S) /* doubled each time: the peer may not know REST */
#define RESTS_BURST 4 /* REST frames of a peer that are looked at, for they cost a walk, */
#define RESTS_RATE 1  /* and a second */

static uint64_t idle_ns(const struct tbi_node *node)
{
    return (uint64_t)node->cfg.settings.link_idle_ms * TBI_NS_PER_MS;
}

/* Whether the application bears that its contact rests; a peer that dialled us decides itself. */
static bool may_rest(const struct tbi_contact *c)
{
    const tbq_config *settings = &c->node->cfg.settings;

    return !c->dialled ||
           (settings->link_idle_ms > 0 && (settings->link_idle_named || !tbi_contact_named(c)));
}

static bool all_may_rest(const struct tbi_bond *b)
{
    TBI_LIST_FOREACH(it, &b->contacts)
    {
        if (!may_rest(TBI_CONTAINER(it, struct tbi_contact, held))) {
            return false;
        }
    }
    return true;
}

/* Own requests whose answers would find no way back. */
static bool waits_for_answers(const struct tbi_bond *b)
{
    struct tbi_map *all = &b->node->asked;

    for (struct tbi_map_entry *e = tbi_map_first(all); e != NULL; e = tbi_map_next(e)) {
        const struct tbi_request *r = tbi_map_value(e);
        if (tbq_peer_id_compare(&r->peer, &b->peer->id) == 0) {
            return true;
        }
    }
    return false;
}

/* Both directions are settled and known to be, no request is without its answer, and no body in the
 * midst. */
bool tbi_rest_nothing_open(const struct tbi_bond *b)
{
    return tbi_link_idle(b->link) && b->owed == 0 && tbi_list_empty(&b->bodies_out) &&
           tbi_list_empty(&b->bodies_in) && !waits_for_answers(b);
}

/* --- Asking ----------------------------------------------------------------------------------- */

void tbi_rest_begin(struct tbi_bond *b)
{
    b->used_at = b->node->now.mono_ns;
    b->rest_at = idle_ns(b->node) > 0 ? b->used_at + idle_ns(b->node) : TBI_NEVER;
    b->rest_asks = 0;
    b->rest_asked = false;
    b->left_to_rest = false;
    b->room_at = 0;
}

void tbi_rest_used(struct tbi_bond *b)
{
    b->used_at = b->node->now.mono_ns;
    b->rest_asks = 0;
    b->room_at = 0;
}

void tbi_rest_ask(struct tbi_bond *b)
{
    static const struct tbi_rest rest;
    uint8_t bytes[TBI_FRAME_HEAD_MAX];
    struct tbi_writer w;

    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_rest(&w, &rest);
    if (tbi_session_write_control(b->session, &w) == 0) {
        b->rest_asked = true;
        b->rest_asks++;
    }
}

/* Who could not dial it again leaves the asking to the other side. */
static bool may_ask(const struct tbi_bond *b)
{
    const struct tbi_session *s = b->session;

    return s->contact != NULL && s->contact->dialled && !s->closing && !s->suspect &&
           !b->node->stopping && all_may_rest(b);
}

void tbi_rest_due(struct tbi_bond *b)
{
    uint64_t now = b->node->now.mono_ns;
    uint64_t idle = idle_ns(b->node);
    uint64_t wait = idle;

    if (b->session == NULL || now < b->used_at + idle) {
        b->rest_at = b->session != NULL ? b->used_at + idle : TBI_NEVER;
        return;
    }
    if (may_ask(b) && !tbi_rest_nothing_open(b)) {
        wait = LOOK_AGAIN_NS;
    } else if (may_ask(b)) {
        wait = ASK_AGAIN_NS << (b->rest_asks < 16 ? b->rest_asks : 16);
        tbi_rest_ask(b);
    }
    b->rest_at = now + (wait < idle ? wait : idle);
}

/* --- Being asked ------------------------------------------------------------------------------ */

void tbi_rest_close(struct tbi_bond *b, uint64_t code)
{
    TBI_LIST_FOREACH(it, &b->carriers)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, carries);
        tbi_session_close(s, code, tbi_close_text(code));
    }
    TBI_LIST_FOREACH(it, &b->dials)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, attempt);
        tbi_session_close(s, TBI_CLOSE_NONE, tbi_close_text(code));
    }
}

void tbi_rest_asked(struct tbi_session *s, struct tbi_cursor body)
{
    struct tbi_bond *b = s->bond;
    struct tbi_rest rest;
    int rv = tbi_get_rest(body, &rest);

    if (rv < 0) {
        tbi_session_violation(s, rv, "REST is not as it must be");
        return;
    }
    if (!s->up || s->path == NULL || b->node->stopping) {
        return;
    }
    if (!tbi_budget_spend(&b->rests, b->node->now.mono_ns, RESTS_BURST, RESTS_RATE)) {
        b->node->rests_ignored++; /* the peer asks again, if it still wants to */
        return;
    }
    /* For the link it only shows that the peer has read our CONFIRM, as any control frame does. */
    tbi_link_control(s->path, b->node->now, TBI_FRAME_REST, body);
    if (tbi_rest_nothing_open(b) && all_may_rest(b)) {
        b->left_to_rest = true;
        tbi_rest_close(b, TBI_CLOSE_RESTING);
    }
}

/* --- Resting ---------------------------------------------------------------------------------- */

bool tbi_rest_follows(const struct tbi_contact *c, uint64_t close_code)
{
    return close_code == TBI_CLOSE_RESTING && c->dialled && !c->closed && !c->node->stopping &&
           c->bond != NULL && (c->bond->rest_asked || c->bond->left_to_rest) &&
           (may_rest(c) || c->bond->room_at != 0);
}

void tbi_rest_contact(struct tbi_contact *c)
{
    struct tbi_bond *b = c->bond;

    c->session = NULL;
    c->state = TBI_CONTACT_RESTING;
    c->rested = true;
    c->failures = 0;
    tbi_timer_set(&c->node->timers, &c->timer, TBI_NEVER);
    b->resting++;
    c->node->links_rested++;
    c->node->closed_for_room += b->room_at != 0;
    tbi_rest_look(b); /* it may have been sent while the other side closed */
}

void tbi_rest_look(struct tbi_bond *b)
{
    if (b->resting > 0 && (!tbi_link_outbox_empty(b->link) || !tbi_list_empty(&b->bodies_out))) {
        tbi_rest_wake(b);
    }
}

void tbi_rest_over(struct tbi_contact *c)
{
    if (c->state == TBI_CONTACT_RESTING) {
        c->bond->resting--;
        c->state = TBI_CONTACT_WAITING;
    }
}

/* --- Waking ----------------------------------------------------------------------------------- */

/* It has peer_timeout_ms from now on, as after a loss, and dials with the next step: not from
 * inside the call that sends. */
static void wake(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;

    tbi_rest_over(c);
    c->was_up = true;
    c->give_up_at =
        node->now.mono_ns + (uint64_t)node->cfg.settings.peer_timeout_ms * TBI_NS_PER_MS;
    tbi_timer_set(&node->timers, &c->timer, node->now.mono_ns);
    node->links_woken++;
}

static struct tbi_contact *resting_one(struct tbi_bond *b)
{
    TBI_LIST_FOREACH(it, &b->contacts)
    {
        struct tbi_contact *c = TBI_CONTAINER(it, struct tbi_contact, held);
        if (c->state == TBI_CONTACT_RESTING) {
            return c;
        }
    }
    return NULL;
}

/* The peer dialled, and may not know that there is something for it: dials it where that can be. */
static struct tbi_contact *way_back(struct tbi_bond *b)
{
    struct tbi_addr place;

    if (!b->left_to_rest || !tbi_list_empty(&b->contacts) || b->peer == NULL ||
        tbi_peer_newest(b->peer) != b || b->node->cfg.settings.network_mode == TBQ_MODE_SERVER ||
        tbi_discovery_places(b->node, &b->peer->id, &place, 1) == 0) {
        return NULL;
    }
    return tbi_contact_for_peer(b->node, &b->peer->id);
}

void tbi_rest_wake(struct tbi_bond *b)
{
    struct tbi_contact *c;

    if (b->session != NULL && !b->session->closing) {
        return;
    }
    c = b->resting > 0 ? resting_one(b) : way_back(b);
    if (c != NULL) {
        wake(c);
        b->lost_at = b->node->now.mono_ns;
        tbi_bond_drain(b);
    }
}
