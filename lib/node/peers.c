/* node/peers.c - what the application is told of peers: those at hand, and those in the book. */
#include <string.h>

#include "node/parts.h"
#include "wire/record.h"

/* --- What is told ------------------------------------------------------------------------------
 */

/* A peer with the memory that its members point to. */
struct told_peer {
    tbq_peer pub;
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    char address[TBI_ADDR_TEXT_SIZE];
    tbq_path path[TBQ_PATHS_MAX];
    const tbq_path *paths[TBQ_PATHS_MAX];
    char path_text[TBQ_PATHS_MAX][2][TBI_ADDR_TEXT_SIZE]; /* the peer's address and ours */
    const char *claim[TBI_RECORD_ADDRESSES_MAX];
    char claim_text[TBI_RECORD_ADDRESSES_MAX][TBI_ADDR_TEXT_SIZE];
};

struct told_peers {
    tbq_peers pub;
    struct tbi_alloc alloc; /* a copy: the server may be gone when this is freed */
    const tbq_peer *list[];
};

static void tell_claims(struct told_peer *t, const struct tbi_block *record)
{
    struct tbi_record r;
    struct tbi_cursor c;

    if (record == NULL) {
        return;
    }
    tbi_cur_init(&c, record->data, record->size);
    if (tbi_get_record(c, &r) < 0) {
        return;
    }
    t->pub.capabilities = r.capabilities;
    t->pub.role = r.role <= TBQ_ROLE_TIME_BANDIT ? (tbq_role)r.role : TBQ_ROLE_NONE;
    for (size_t i = 0; i < r.addresses_len; i++) {
        if (r.address[i].kind != TBI_ADDRESS_VIA) {
            size_t n = t->pub.addresses_len++;
            tbi_addr_to_text(&r.address[i].addr, t->claim_text[n]);
            t->claim[n] = t->claim_text[n];
        }
    }
}

static void add_link_stats(tbq_peer_stats *to, const struct tbi_link *link)
{
    struct tbi_link_stats s;

    tbi_link_stats(link, &s);
    to->sent += s.sent;
    to->resent += s.resent;
    to->delivered += s.delivered;
    to->not_delivered += s.not_delivered;
    to->unknown += s.unknown;
    to->expired += s.expired;
    to->again += s.refused;
    to->received += s.received;
    to->taken += s.taken;
    to->declined += s.declined;
    to->duplicates += s.duplicates;
    to->connections += s.attached;
    to->outbox_messages += s.outbox_messages;
    to->outbox_bytes += s.outbox_bytes;
    to->held_messages += s.held_messages;
    to->held_bytes += s.held_bytes;
}

static void tell_path(struct told_peer *t, const struct tbi_session *s)
{
    const struct tbi_conn *conn = tbi_session_conn(s);
    size_t n = t->pub.paths_len;
    struct tbi_conn_facts f;

    if (n == TBQ_PATHS_MAX || s->closing || conn == NULL) {
        return;
    }
    tbi_conn_facts(conn, &f);
    tbi_addr_to_text(&s->remote, t->path_text[n][0]);
    t->path[n] = (tbq_path){
        .address = t->path_text[n][0],
        .dialled = s->dialled,
        .suspect = s->suspect,
        .known_by = s->bond->session == s,
        .rtt_us = f.rtt_ns / 1000,
        .rate = f.rate,
        .loss = f.loss,
        .bytes_sent = f.bytes_out,
        .bytes_received = f.bytes_in,
    };
    if (tbi_conn_local(conn)->len > 0) {
        tbi_addr_to_text(tbi_conn_local(conn), t->path_text[n][1]);
        t->path[n].local = t->path_text[n][1];
    }
    t->paths[t->pub.paths_len++] = &t->path[n];
}

static void tell_bonds(struct told_peer *t, const struct tbi_peer *peer)
{
    TBI_LIST_FOREACH(it, &peer->bonds)
    {
        const struct tbi_bond *b = TBI_CONTAINER(it, struct tbi_bond, entry);
        const struct tbi_session *s = b->session;
        if (it == peer->bonds.next) { /* the newest process */
            t->pub.load_told = b->load.told;
            t->pub.load = b->load.load;
            t->pub.capacity = b->load.capacity;
        }
        t->pub.processes += b->have_boot;
        t->pub.resting = t->pub.resting || (s == NULL && b->resting > 0);
        add_link_stats(&t->pub.stats, b->link);
        TBI_LIST_FOREACH(c, &b->carriers)
        {
            tell_path(t, TBI_CONTAINER(c, struct tbi_session, carries));
        }
        if (s != NULL && !t->pub.connected) { /* the newest process comes first */
            t->pub.connected = true;
            tbi_addr_to_text(&s->remote, t->address);
            t->pub.address = t->address;
            t->pub.stats.rtt_ns = tbi_conn_rtt_ns(tbi_endpoint_conn(s->node->endpoint, s->conn));
        }
    }
}

/* A peer at hand, or one of the book, or both. */
static int add_peer(struct told_peers *all, const tbq_peer_id *id, const struct tbi_peer *peer,
                    const struct tbi_book_entry *known)
{
    struct told_peer *t = tbi_calloc(&all->alloc, 1, sizeof *t);

    if (t == NULL) {
        return TBQ_ERR_NOMEM;
    }
    t->pub.id = *id;
    t->pub.addresses = t->claim;
    t->pub.paths = t->paths;
    if (known != NULL) {
        t->pub.last_seen_ms = known->seen_ms;
        tell_claims(t, known->record);
    }
    if (peer != NULL) {
        t->pub.datagrams_sent = peer->datagrams.sent;
        t->pub.datagrams_received = peer->datagrams.received;
        t->pub.datagrams_dropped = peer->datagrams.dropped;
        tell_bonds(t, peer);
    }
    if (peer != NULL && peer->met) {
        memcpy(t->key, peer->key, sizeof t->key);
        t->pub.public_key = t->key;
        t->pub.last_seen_ms = peer->seen_ms;
    }
    if (t->pub.capacity == 0) {
        t->pub.capacity = TBQ_CAPACITY_DEFAULT;
    }
    all->list[all->pub.len++] = &t->pub;
    return 0;
}

static int add_all(struct told_peers *all, const struct tbi_node *node)
{
    const struct tbi_book *book = &node->discovery.book;
    const struct tbi_map_entry *e;
    int rv = 0;

    for (e = tbi_map_first(&node->peers); e != NULL && rv == 0; e = tbi_map_next(e)) {
        const struct tbi_peer *peer = tbi_map_value(e);
        rv = add_peer(all, &peer->id, peer, tbi_book_get(book, &peer->id));
    }
    for (e = tbi_map_first(&book->entries); e != NULL && rv == 0; e = tbi_map_next(e)) {
        const struct tbi_book_entry *known = tbi_map_value(e);
        if (tbi_map_get(&node->peers, known->id.bytes) == NULL) {
            rv = add_peer(all, &known->id, NULL, known);
        }
    }
    return rv;
}

int tbi_node_peers(const struct tbi_node *node, const tbq_peer_id *id, const tbq_peers **peers)
{
    const struct tbi_book *book = &node->discovery.book;
    const struct tbi_peer *peer = id != NULL ? tbi_map_get(&node->peers, id->bytes) : NULL;
    const struct tbi_book_entry *known = id != NULL ? tbi_book_get(book, id) : NULL;
    size_t most = id != NULL ? 1 : tbi_map_count(&node->peers) + tbi_map_count(&book->entries);
    struct told_peers *all;

    if (id != NULL && peer == NULL && known == NULL) {
        return TBQ_ERR_NO_ROUTE;
    }
    all = tbi_calloc(node->alloc, 1, sizeof *all + most * sizeof all->list[0]);
    if (all == NULL) {
        return TBQ_ERR_NOMEM;
    }
    all->alloc = (struct tbi_alloc){.hook = node->alloc->hook};
    all->pub.peer = all->list;
    int rv = id != NULL ? add_peer(all, id, peer, known) : add_all(all, node);
    if (rv < 0) {
        tbi_peers_free(&all->pub);
        return rv;
    }
    *peers = &all->pub;
    return 0;
}

void tbi_peers_free(const tbq_peers *peers)
{
    struct told_peers *all = (struct told_peers *)(uintptr_t)peers; /* ours, behind the const */

    if (all != NULL) {
        struct tbi_alloc alloc = all->alloc;
        for (size_t i = 0; i < all->pub.len; i++) {
            tbi_free(&alloc, (void *)(uintptr_t)all->list[i]);
        }
        tbi_free(&alloc, all);
    }
}

void tbi_node_stats(const struct tbi_node *node, tbq_stats *stats)
{
    const struct tbi_endpoint_stats *e = tbi_endpoint_stats(node->endpoint);
    const struct tbi_discovery *d = &node->discovery;

    stats->connections = e->connections;
    stats->half_open = e->half_open;
    stats->peers = tbi_map_count(&node->peers);
    stats->accepted = e->accepted;
    stats->dialled = e->dialled;
    stats->refused_full = e->refused_full;
    stats->retries_sent = e->retries_sent;
    stats->resets_sent = e->resets_sent;
    stats->versions_sent = e->versions_sent;
    stats->replies_dropped = e->replies_dropped;
    stats->dropped_reserved = e->dropped_reserved;
    stats->dropped_unknown = e->dropped_unknown;
    stats->datagrams_to_connections = e->to_connections;
    stats->refused_crowded = e->refused_crowded;
    stats->refused_token = e->refused_token;
    stats->unanswered = e->unanswered;
    stats->not_begun = e->not_begun;
    stats->busy_told = node->busy_told;
    stats->violations = e->violations;
    stats->over_memory = e->over_memory;
    stats->connection_memory = e->connection_memory;
    stats->receive_grown = e->window_bytes;
    stats->windows_grown = e->windows_grown;
    stats->windows_not_grown = e->windows_not_grown;
    stats->paths_proved = e->paths_proved;
    stats->paths_unproved = e->paths_unproved;
    stats->protocol_errors = node->protocol_errors;
    stats->discovers_ignored = node->discovery.discovers_ignored;
    stats->records_ignored = node->discovery.records_ignored;
    stats->requests_refused = node->requests_refused;
    stats->bodies_refused = node->bodies_refused;
    stats->bodies_broken = node->bodies_broken;
    stats->joins_refused = node->joins_refused;
    stats->records_refused = d->book.stats.refused + d->book.stats.full;
    stats->peers_forgotten = d->book.stats.forgotten;
    stats->dials_delayed = d->pace.refused;
    stats->links_rested = node->links_rested;
    stats->datagrams_sent = node->datagrams.sent;
    stats->datagrams_received = node->datagrams.received;
    stats->datagrams_dropped = node->datagrams.dropped;
    stats->datagrams_unsent = e->datagrams_dropped;
    stats->closed_for_room = node->closed_for_room;
    stats->rests_ignored = node->rests_ignored;
    stats->links_woken = node->links_woken;
    stats->notices_lost = node->events.notices_lost;
}
