/* node/select.c - who is asked: the candidates for a choice, and the load that peers are told for
 * it. The choice itself is lib/mesh's matter.
 *
 * Load goes with the node's own PINGs and the PONGs on their lane, which keeps them in order. What
 * a peer says of itself decides who is chosen, and nothing else. */
#include "node/parts.h"

#define TELL_STEP 50                /* permille: so far a load moves before it is told at once */
#define TELL_PERIOD_NS TBI_NS_PER_S /* between two times that all are told */

/* --- The own load ------------------------------------------------------------------------------
 */

int tbi_load_init(struct tbi_node *node)
{
    return tbi_timer_register(&node->timers, &node->load.timer, node, TBI_TIMER_LOAD);
}

void tbi_load_free(struct tbi_node *node)
{
    tbi_timer_unregister(&node->timers, &node->load.timer);
}

static bool is_news(const struct tbi_load *now, const struct tbi_load *told)
{
    return !told->told || now->capacity != told->capacity || now->load >= told->load + TELL_STEP ||
           told->load >= now->load + TELL_STEP;
}

int tbi_node_set_load(struct tbi_node *node, struct tbi_now now, uint32_t load, uint32_t capacity)
{
    struct tbi_own_load *own = &node->load;
    uint64_t at = now.mono_ns;

    node->now = now;
    if (node->stopping) {
        return TBQ_ERR_CLOSED;
    }
    if (capacity == 0) {
        capacity = TBQ_CAPACITY_DEFAULT;
    }
    own->now.told = true;
    own->now.load = load < UINT16_MAX ? (uint16_t)load : UINT16_MAX;
    own->now.capacity = capacity < UINT16_MAX ? (uint16_t)capacity : UINT16_MAX;
    if (own->told.told && at < own->told_at + TELL_PERIOD_NS) {
        at = own->told_at + TELL_PERIOD_NS;
    }
    tbi_timer_set(&node->timers, &own->timer, is_news(&own->now, &own->told) ? at : TBI_NEVER);
    return 0;
}

/* A full outbox has no room for it: then it goes with the next PING. */
static int tell(struct tbi_bond *b, void *arg)
{
    (void)arg;
    return tbi_dispatch_ping(b);
}

void tbi_load_timer(struct tbi_node *node)
{
    if (!node->stopping) {
        node->load.told = node->load.now;
        node->load.told_at = node->now.mono_ns;
        tbi_for_connected(node, tell, NULL);
    }
}

/* Its first PING brings the load: at once, but not from inside the transport's callback. */
void tbi_load_met(struct tbi_session *s)
{
    if (s->node->load.now.told) {
        tbi_timer_set(&s->node->timers, &s->timer, s->node->now.mono_ns);
    }
}

/* What is not told stays as it was told before. */
void tbi_load_heard(struct tbi_bond *b, const struct tbi_load *load)
{
    if (load->told) {
        b->load.told = true;
        b->load.load = load->load;
    }
    if (load->capacity != 0) {
        b->load.capacity = load->capacity;
    }
}

/* --- The choice --------------------------------------------------------------------------------
 */

static bool can(struct tbi_node *node, struct tbi_book_entry *e, uint64_t capabilities)
{
    return capabilities == 0 || (e != NULL && tbi_book_genuine(&node->discovery.book, e) &&
                                 (e->capabilities & capabilities) == capabilities);
}

/* Those that rest are at hand like those that are connected. */
static bool at_hand(const struct tbi_bond *b)
{
    return b != NULL && (b->session != NULL || b->resting > 0);
}

static uint64_t rtt_of(const struct tbi_bond *b)
{
    uint64_t rtt = b->session != NULL ? tbi_conn_rtt_ns(tbi_session_conn(b->session)) : 0;
    return rtt > 0 ? rtt : TBI_NEVER;
}

/* Those that are connected: by the process that a send by peer id goes to. */
static size_t connected_ones(struct tbi_node *node, const tbq_select_query *q,
                             struct tbi_candidate *to)
{
    size_t n = 0;

    for (struct tbi_map_entry *m = tbi_map_first(&node->peers); m != NULL; m = tbi_map_next(m)) {
        struct tbi_peer *peer = tbi_map_value(m);
        struct tbi_bond *b = tbi_peer_newest(peer);
        if (at_hand(b) && tbq_peer_id_compare(&peer->id, &node->id) != 0 &&
            can(node, tbi_book_get(&node->discovery.book, &peer->id), q->capabilities)) {
            to[n++] = (struct tbi_candidate){.id = peer->id, .rtt_ns = rtt_of(b), .load = b->load};
        }
    }
    return n;
}

/* Those that may be dialled; what they had told of their load is of yesterday. */
static size_t recent_ones(struct tbi_node *node, const tbq_select_query *q,
                          struct tbi_candidate *to)
{
    struct tbi_book *book = &node->discovery.book;
    size_t n = 0;

    for (struct tbi_map_entry *m = tbi_map_first(&book->entries); m != NULL; m = tbi_map_next(m)) {
        struct tbi_book_entry *e = tbi_map_value(m);
        struct tbi_peer *peer = tbi_peer_get(node, &e->id, false);
        struct tbi_bond *b = peer != NULL ? tbi_peer_newest(peer) : NULL;
        if (!at_hand(b) && tbi_book_alive(book, node->now, e, q->recent_ms) &&
            can(node, e, q->capabilities)) {
            to[n++] = (struct tbi_candidate){.id = e->id,
                                             .rtt_ns = TBI_NEVER,
                                             .load.capacity = b != NULL ? b->load.capacity : 0};
        }
    }
    return n;
}

static size_t gather(struct tbi_node *node, const tbq_select_query *q, struct tbi_candidate *to)
{
    const tbq_config *own = &node->cfg.settings;
    size_t n = connected_ones(node, q, to);

    if (!q->connected_only) {
        n += recent_ones(node, q, to + n);
    }
    if (q->include_self && (own->capabilities & q->capabilities) == q->capabilities) {
        to[n++] = (struct tbi_candidate){.id = node->id, .load = node->load.now};
    }
    return n;
}

int tbi_node_select(struct tbi_node *node, struct tbi_now now, const tbq_select_query *query,
                    tbq_peer_id *out, size_t max)
{
    struct tbi_selection how = {
        .policy = query->policy, .key = query->key, .ignore_load = query->ignore_load};
    size_t most = tbi_map_count(&node->peers) + tbi_map_count(&node->discovery.book.entries) + 1;

    node->now = now;
    if (how.key.data == NULL && how.key.size > 0) {
        return TBQ_ERR_INVALID;
    }
    if (how.key.size > TBI_SCORE_KEY_MAX) {
        return TBQ_ERR_TOO_LARGE;
    }
    if (how.policy == TBQ_SELECT_DEFAULT) {
        how.policy = how.key.data != NULL ? TBQ_SELECT_RENDEZVOUS : TBQ_SELECT_TWO_CHOICES;
    }
    struct tbi_candidate *all = tbi_calloc(node->alloc, most, sizeof *all);
    if (all == NULL) {
        return TBQ_ERR_NOMEM;
    }
    int rv = tbi_select(&how, tbi_identity_crypto(node->cfg.identity), &node->rng, all,
                        gather(node, query, all), out, max);
    tbi_free(node->alloc, all);
    return rv;
}
