/* node/discover.c - finding peers: what is told and believed, and who is dialled for it.
 *
 * A node tells each new peer its own record (in CONFIRM), asks it for others (DISCOVER), and passes
 * news on: a record that was new to it goes to all that it is connected to, in lists, twice a
 * second at most. So a node that joins anywhere is known everywhere after as many half seconds as
 * there are steps between. What is believed, and how long it is remembered, is lib/mesh's matter.
 */
#include <string.h>

#include "node/parts.h"

#define NEWS_PERIOD_NS (500 * TBI_NS_PER_MS)
#define DIAL_PERIOD_NS (100 * TBI_NS_PER_MS)
#define DIALS_AT_ONCE 4      /* of peers that others told of, in one period */
#define ANSWERS_BURST 4      /* answers with records to DISCOVER, per peer; beyond: empty ones */
#define ANSWERS_RATE 1       /* a second */
#define RECORDS_BURST 512    /* records that are looked at, per peer; beyond: ignored */
#define RECORDS_RATE 64      /* a second: at 0.1 ms each under 1 % of a processor */
#define BOOK_ENTRIES_MIN 256 /* besides two for each connection */

/* --- Life ------------------------------------------------------------------------------------- */

int tbi_discovery_init(struct tbi_node *node)
{
    struct tbi_discovery *d = &node->discovery;
    uint8_t secret[16];
    size_t limit = 2 * (size_t)node->cfg.settings.max_connections + BOOK_ENTRIES_MIN;

    tbi_rng_bytes(&node->rng, secret, sizeof secret);
    tbi_pace_init(&d->pace, node->alloc, secret);
    tbi_tries_init(&d->tries, node->alloc, secret);
    tbi_book_init(&d->book, node->alloc, tbi_identity_crypto(node->cfg.identity), &node->rng,
                  &node->id, limit < TBI_BOOK_ENTRIES_MAX ? limit : TBI_BOOK_ENTRIES_MAX);
    d->dial_at = d->news_at = d->refresh_at = TBI_NEVER;
    d->ready = true;
    return tbi_timer_register(&node->timers, &d->timer, node, TBI_TIMER_DISCOVERY);
}

void tbi_discovery_free(struct tbi_node *node)
{
    struct tbi_discovery *d = &node->discovery;

    if (d->ready) {
        d->ready = false;
        tbi_timer_unregister(&node->timers, &d->timer);
        tbi_book_free(&d->book);
        tbi_pace_free(&d->pace);
        tbi_tries_free(&d->tries);
    }
}

static void arm(struct tbi_node *node)
{
    struct tbi_discovery *d = &node->discovery;
    uint64_t at = d->dial_at < d->news_at ? d->dial_at : d->news_at;

    tbi_timer_set(&node->timers, &d->timer, at < d->refresh_at ? at : d->refresh_at);
}

static void sooner(uint64_t *at, uint64_t when)
{
    *at = when < *at ? when : *at;
}

/* Dials as soon as the period since the last ones has passed. */
static void dial_soon(struct tbi_node *node)
{
    struct tbi_discovery *d = &node->discovery;
    uint64_t next = d->dialled_at + DIAL_PERIOD_NS;

    sooner(&d->dial_at, next > node->now.mono_ns ? next : node->now.mono_ns);
}

/* --- The own record --------------------------------------------------------------------------- */

static void claim(struct tbi_record *r, const struct tbi_addr *addr, enum tbi_address_kind kind)
{
    for (size_t i = 0; i < r->addresses_len; i++) {
        if (tbi_addr_equal(&r->address[i].addr, addr)) {
            return;
        }
    }
    if (r->addresses_len < TBI_RECORD_ADDRESSES_MAX && tbi_scope_of(addr) != TBI_SCOPE_NONE) {
        r->address[r->addresses_len].kind = kind;
        r->address[r->addresses_len++].addr = *addr;
    }
}

static void claim_all(const struct tbi_node *node, struct tbi_record *r)
{
    const struct tbi_discovery *d = &node->discovery;
    const int families[] = {AF_INET6, AF_INET};

    for (size_t i = 0; i < d->advertised_len; i++) {
        claim(r, &d->advertised[i], TBI_ADDRESS_ADVERTISED);
    }
    for (size_t i = 0; i < 2; i++) {
        const struct tbi_addr *seen = tbi_observed_address(&d->observed, families[i]);
        if (seen != NULL) {
            claim(r, seen, TBI_ADDRESS_OBSERVED);
        }
    }
    if (!tbi_addr_is_any(&node->cfg.local)) {
        claim(r, &node->cfg.local, TBI_ADDRESS_LOCAL);
    }
    for (size_t i = 0; i < d->interfaces_len && tbi_addr_is_any(&node->cfg.local); i++) {
        claim(r, &d->interfaces[i], TBI_ADDRESS_LOCAL);
    }
}

int tbi_discovery_make_record(struct tbi_node *node)
{
    struct tbi_discovery *d = &node->discovery;
    struct tbi_record r = {
        .role = node->cfg.settings.role,
        .capabilities = node->cfg.settings.capabilities,
    };

    r.sequence = d->book.own_sequence + 1;
    if (r.sequence < node->now.wall_ms) {
        r.sequence = node->now.wall_ms;
    }
    memcpy(r.key, tbi_identity_key(node->cfg.identity), sizeof r.key);
    if (node->cfg.settings.network_mode != TBQ_MODE_CLIENT) { /* which nobody can dial */
        claim_all(node, &r);
    }
    int rv = tbi_record_seal(&r, tbi_identity_crypto(node->cfg.identity), node->record,
                             sizeof node->record, &node->record_size);
    if (rv == 0) {
        d->book.own_sequence = r.sequence;
        d->book.changed = true;
    }
    return rv;
}

static void copy_addresses(struct tbi_addr *to, size_t *to_len, const struct tbi_addr *from,
                           size_t n)
{
    *to_len = n < TBI_RECORD_ADDRESSES_MAX ? n : TBI_RECORD_ADDRESSES_MAX;
    if (*to_len > 0) {
        memcpy(to, from, *to_len * sizeof *to);
    }
}

int tbi_node_set_addresses(struct tbi_node *node, struct tbi_now now,
                           const struct tbi_addr *advertised, size_t advertised_len,
                           const struct tbi_addr *interfaces, size_t interfaces_len)
{
    struct tbi_discovery *d = &node->discovery;

    node->now = now;
    copy_addresses(d->advertised, &d->advertised_len, advertised, advertised_len);
    copy_addresses(d->interfaces, &d->interfaces_len, interfaces, interfaces_len);
    return tbi_node_announce(node, now);
}

/* Peers are told if that changes what they are told. */
int tbi_discovery_interfaces(struct tbi_node *node, const struct tbi_addr *interfaces, size_t n)
{
    struct tbi_discovery *d = &node->discovery;
    size_t same = 0;

    n = n < TBI_RECORD_ADDRESSES_MAX ? n : TBI_RECORD_ADDRESSES_MAX;
    while (same < n && same < d->interfaces_len &&
           tbi_addr_equal(&interfaces[same], &d->interfaces[same])) {
        same++;
    }
    if ((same == n && n == d->interfaces_len) || !tbi_addr_is_any(&node->cfg.local)) {
        return 0;
    }
    copy_addresses(d->interfaces, &d->interfaces_len, interfaces, n);
    return tbi_node_announce(node, node->now);
}

/* --- Telling ---------------------------------------------------------------------------------- */

static int send_body(struct tbi_bond *b, tbq_kind kind, tbq_lane lane, const struct tbi_writer *w)
{
    struct tbi_outgoing out = {.kind = kind, .lane = lane};

    if (tbi_put_error(w) < 0) {
        return TBQ_ERR_INTERNAL;
    }
    out.payload = tbi_block_copy(b->node->alloc, w->begin, tbi_put_size(w));
    if (out.payload == NULL) {
        return TBQ_ERR_NOMEM;
    }
    int rv = tbi_bond_send(b, &out);
    tbi_block_unref(out.payload);
    return rv;
}

/* Records to a peer, as many as one message of its size holds. A full outbox: it is not told. */
static void send_list(struct tbi_bond *b, tbq_lane lane, struct tbi_book_entry **entry, size_t n)
{
    struct tbi_peer_list list = {0};
    uint64_t room = b->session != NULL ? b->session->hello.max_message_size : 0;
    size_t size = 1;

    for (size_t i = 0; i < n && list.len < TBI_PEER_LIST_MAX; i++) {
        const struct tbi_block *record = entry[i]->record;
        if (size + record->size + 2 <= room) {
            list.at[list.len].record = record->data;
            list.at[list.len++].size = record->size;
            size += record->size + 2;
        }
    }
    struct tbi_block *bytes = tbi_block_new(b->node->alloc, size);
    if (bytes != NULL) {
        struct tbi_writer w;
        tbi_put_init(&w, bytes->data, bytes->capacity);
        tbi_put_peer_list(&w, &list);
        (void)send_body(b, TBQ_PEER_LIST, lane, &w);
        tbi_block_unref(bytes);
    }
}

static int send_discover(struct tbi_bond *b, uint64_t capabilities)
{
    uint8_t bytes[32];
    struct tbi_writer w;
    struct tbi_discover m = {.max = TBI_PEER_LIST_MAX, .capabilities = capabilities};

    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_discover(&w, &m);
    return send_body(b, TBQ_DISCOVER, TBQ_LANE_HIGH, &w);
}

size_t tbi_for_connected(struct tbi_node *node, int (*fn)(struct tbi_bond *b, void *arg), void *arg)
{
    size_t took = 0;
    for (struct tbi_map_entry *e = tbi_map_first(&node->peers); e != NULL; e = tbi_map_next(e)) {
        struct tbi_peer *peer = tbi_map_value(e);
        TBI_LIST_FOREACH(it, &peer->bonds)
        {
            struct tbi_bond *b = TBI_CONTAINER(it, struct tbi_bond, entry);
            took += b->session != NULL && fn(b, arg) == 0;
        }
    }
    return took;
}

static int announce_to(struct tbi_bond *b, void *arg)
{
    uint8_t bytes[TBI_RECORD_SIZE_MAX + 8];
    struct tbi_writer w;
    struct tbi_announce m = {.record = b->node->record, .record_size = b->node->record_size};

    (void)arg;
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_announce(&w, &m);
    return send_body(b, TBQ_ANNOUNCE, TBQ_LANE_HIGH, &w);
}

static int ask(struct tbi_bond *b, void *arg)
{
    return send_discover(b, *(const uint64_t *)arg);
}

int tbi_node_announce(struct tbi_node *node, struct tbi_now now)
{
    node->now = now;
    if (node->stopping) {
        return TBQ_ERR_CLOSED;
    }
    int rv = tbi_discovery_make_record(node);
    if (rv == 0) {
        tbi_for_connected(node, announce_to, NULL);
        tbi_node_settle(node);
    }
    return rv;
}

int tbi_node_discover(struct tbi_node *node, struct tbi_now now, uint64_t capabilities)
{
    node->now = now;
    if (node->stopping) {
        return TBQ_ERR_CLOSED;
    }
    size_t asked = tbi_for_connected(node, ask, &capabilities);
    tbi_node_settle(node);
    return asked > 0 ? (int)asked : TBQ_ERR_NO_ROUTE;
}

/* --- News ------------------------------------------------------------------------------------- */

static void note_news(struct tbi_node *node, const tbq_peer_id *id)
{
    struct tbi_discovery *d = &node->discovery;

    d->news[d->news_end++ % TBI_NEWS_MAX] = *id;
    sooner(&d->news_at, node->now.mono_ns + NEWS_PERIOD_NS);
    dial_soon(node);
    arm(node);
}

/* What became known since that peer was told last, as far as it is still remembered. */
static int tell_news(struct tbi_bond *b, void *arg)
{
    struct tbi_discovery *d = &b->node->discovery;
    struct tbi_book_entry *entry[TBI_PEER_LIST_MAX];
    size_t n = 0;

    (void)arg;
    if (d->news_end - b->news_seen > TBI_NEWS_MAX) {
        b->news_seen = d->news_end - TBI_NEWS_MAX;
    }
    while (b->news_seen < d->news_end && n < TBI_PEER_LIST_MAX) {
        const tbq_peer_id *id = &d->news[b->news_seen++ % TBI_NEWS_MAX];
        struct tbi_book_entry *e = tbi_book_get(&d->book, id);
        if (e != NULL && e->record != NULL && tbq_peer_id_compare(id, &b->peer->id) != 0) {
            entry[n++] = e;
        }
    }
    if (n > 0) {
        send_list(b, TBQ_LANE_LOW, entry, n);
    }
    if (b->news_seen < d->news_end) {
        sooner(&d->news_at, b->node->now.mono_ns + NEWS_PERIOD_NS);
    }
    return 0;
}

static void tell_peer_event(struct tbi_node *node, const tbq_peer_id *id)
{
    const struct tbi_book_entry *known = tbi_book_get(&node->discovery.book, id);
    struct tbi_event *e = tbi_event_new(&node->events, node, TBQ_EVENT_PEER);

    if (e == NULL) {
        return;
    }
    tbi_event_set_peer(e, id);
    if (known != NULL && known->places > 0) {
        tbi_event_set_address(e, &known->place[0].addr);
    }
    tbi_events_push_notice(&node->events, e);
}

/* A record that a peer told, of itself or of another. 0, or the reason why it is not kept. */
static int hear(struct tbi_node *node, const uint8_t *record, size_t size,
                const struct tbi_addr *from, tbq_peer_id *about)
{
    struct tbi_record r;
    struct tbi_cursor c;

    tbi_cur_init(&c, record, size);
    bool first = tbi_get_record(c, &r) == 0 &&
                 tbi_book_id(&node->discovery.book, r.key, about) == 0 &&
                 tbi_book_get(&node->discovery.book, about) == NULL;
    int rv = tbi_book_learn(&node->discovery.book, node->now, record, size, from);
    if (rv == 0 && r.addresses_len > 0) { /* who cannot be dialled is of no use to others */
        note_news(node, about);
        if (first) {
            tell_peer_event(node, about);
        }
    }
    return rv;
}

static int hear_from(struct tbi_bond *b, const uint8_t *record, size_t size)
{
    tbq_peer_id about;

    if (!tbi_budget_spend(&b->records, b->node->now.mono_ns, RECORDS_BURST, RECORDS_RATE)) {
        b->node->discovery.records_ignored++;
        return TBQ_ERR_LIMIT;
    }
    /* Without a connection nobody knows in which network its claims are true: none is dialled. */
    static const struct tbi_addr nowhere;
    return hear(b->node, record, size, b->session != NULL ? &b->session->remote : &nowhere, &about);
}

int tbi_discovery_on_discover(struct tbi_bond *b, tbq_lane lane, struct tbi_cursor body)
{
    struct tbi_discovery *d = &b->node->discovery;
    struct tbi_book_entry *entry[TBI_PEER_LIST_MAX];
    struct tbi_discover m;
    size_t n = 0;

    int rv = tbi_get_discover(body, &m);
    if (rv < 0) {
        return rv;
    }
    if (tbi_budget_spend(&b->answers, b->node->now.mono_ns, ANSWERS_BURST, ANSWERS_RATE)) {
        n = tbi_book_sample(&d->book, m.capabilities, &b->peer->id, entry, (size_t)m.max);
    } else {
        d->discovers_ignored++;
    }
    send_list(b, lane, entry, n);
    return 0;
}

int tbi_discovery_on_announce(struct tbi_bond *b, struct tbi_cursor body)
{
    struct tbi_announce m;
    int rv = tbi_get_announce(body, &m);
    if (rv == 0) {
        (void)hear_from(b, m.record, m.record_size);
    }
    return rv;
}

int tbi_discovery_on_peer_list(struct tbi_bond *b, struct tbi_cursor body)
{
    struct tbi_peer_list m;
    int rv = tbi_get_peer_list(body, &m);
    for (size_t i = 0; rv == 0 && i < m.len; i++) {
        (void)hear_from(b, m.at[i].record, m.at[i].size);
    }
    return rv;
}

/* --- Meeting ---------------------------------------------------------------------------------- */

int tbi_discovery_own_word(struct tbi_node *node, const uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                           const struct tbi_block *record, const struct tbi_addr *from)
{
    struct tbi_record r;
    struct tbi_cursor c;
    tbq_peer_id about;

    tbi_cur_init(&c, record->data, record->size);
    int rv = tbi_get_record(c, &r);
    if (rv == TBQ_ERR_UNSUPPORTED) {
        return 0; /* a later version's: its form is not ours to judge, nor to keep */
    }
    if (rv < 0 || memcmp(r.key, key, sizeof r.key) != 0) {
        return TBQ_ERR_PROTOCOL;
    }
    rv = hear(node, record->data, record->size, from, &about);
    if (rv == TBQ_ERR_IDENTITY || rv == TBQ_ERR_MALFORMED) {
        return TBQ_ERR_PROTOCOL;
    }
    return rv == TBQ_ERR_NOMEM || rv == TBQ_ERR_TLS ? rv : 0; /* else: not kept, no more */
}

void tbi_discovery_reached(struct tbi_session *s)
{
    struct tbi_discovery *d = &s->node->discovery;

    (void)tbi_book_met(&d->book, s->node->now, &s->peer_id, &s->remote);
    tbi_tries_reached(&d->tries, &s->remote);
}

void tbi_discovery_met(struct tbi_session *s, const struct tbi_addr *observed)
{
    struct tbi_node *node = s->node;
    struct tbi_discovery *d = &node->discovery;
    struct tbi_addr before[2], after[2];

    tbi_discovery_reached(s);
    s->bond->news_seen = d->news_end; /* it asks for what was before */
    for (int i = 0; i < 2; i++) {
        const struct tbi_addr *a = tbi_observed_address(&d->observed, i == 0 ? AF_INET : AF_INET6);
        before[i] = a != NULL ? *a : (struct tbi_addr){0};
    }
    if (observed->len > 0) {
        tbi_observed_note(&d->observed, &s->remote, observed);
    }
    for (int i = 0; i < 2; i++) {
        const struct tbi_addr *a = tbi_observed_address(&d->observed, i == 0 ? AF_INET : AF_INET6);
        after[i] = a != NULL ? *a : (struct tbi_addr){0};
    }
    if (!tbi_addr_equal(&before[0], &after[0]) || !tbi_addr_equal(&before[1], &after[1])) {
        if (tbi_discovery_make_record(node) == 0) {
            tbi_for_connected(node, announce_to, NULL);
        }
    }
    if (!node->cfg.settings.no_discovery) {
        (void)send_discover(s->bond, 0);
        sooner(&d->refresh_at,
               node->now.mono_ns +
                   (uint64_t)node->cfg.settings.refresh_interval_ms * TBI_NS_PER_MS);
        arm(node);
    }
}

void tbi_discovery_unreached(struct tbi_node *node, const tbq_peer_id *id,
                             const struct tbi_addr *addr, int reason)
{
    struct tbi_discovery *d = &node->discovery;

    /* A node answered: no liar may use up the tries of who lives there. */
    if (reason == TBQ_ERR_IDENTITY || reason == TBQ_ERR_LIMIT) {
        tbi_tries_reached(&d->tries, addr);
    }
    if (reason != TBQ_ERR_LIMIT) { /* it is there, and full */
        tbi_book_failed(&d->book, node->now, id, addr);
    }
}

int tbi_discovery_may_dial(struct tbi_node *node, const tbq_peer_id *id,
                           const struct tbi_addr *addr)
{
    struct tbi_discovery *d = &node->discovery;
    const struct tbi_book_entry *e = tbi_book_get(&d->book, id);

    if (e != NULL && tbi_book_is_proven(e, addr)) {
        return 0;
    }
    if (tbi_tries_of(&d->tries, addr) >= TBI_BOOK_TRIES_UNPROVEN) {
        tbi_book_failed(&d->book, node->now, id, addr); /* as it has for others who claim it */
        return TBQ_ERR_LIMIT;
    }
    if (!tbi_pace_allows(&d->pace, node->now.mono_ns, addr)) {
        return TBQ_ERR_AGAIN;
    }
    tbi_tries_dialled(&d->tries, addr);
    return 0;
}

int tbi_discovery_hear(struct tbi_node *node, const uint8_t *record, size_t size,
                       const struct tbi_addr *from, tbq_peer_id *about)
{
    int rv = hear(node, record, size, from, about);
    return rv == TBQ_ERR_EXISTS ? 0 : rv;
}

size_t tbi_discovery_places(struct tbi_node *node, const tbq_peer_id *id, struct tbi_addr *to,
                            size_t max)
{
    const struct tbi_book_entry *e = tbi_book_get(&node->discovery.book, id);
    return e != NULL ? tbi_book_ways(e, node->now.mono_ns, to, max) : 0;
}

/* --- Dialling --------------------------------------------------------------------------------- */

static bool is_known(void *user, const tbq_peer_id *id)
{
    return tbi_peer_get(user, id, false) != NULL; /* connected, dialled, or lost a moment ago */
}

static bool is_no_lost_friend(void *user, const tbq_peer_id *id)
{
    const struct tbi_node *node = user;
    const struct tbi_book_entry *e = tbi_book_get(&node->discovery.book, id);
    return is_known(user, id) || e->standing == TBI_BOOK_HEARD;
}

static bool has_room(const struct tbi_node *node, uint64_t peers)
{
    const tbq_config *c = &node->cfg.settings;
    return !c->no_discovery && !node->stopping && c->network_mode != TBQ_MODE_SERVER &&
           tbi_map_count(&node->contacts) < peers;
}

static bool wants_peers(const struct tbi_node *node)
{
    return has_room(node, node->cfg.settings.peers_wanted);
}

/* What is dialled for company keeps that pace also where it was reached before. */
static bool may_dial_now(struct tbi_node *node, const struct tbi_book_entry *e)
{
    struct tbi_discovery *d = &node->discovery;
    struct tbi_addr to;

    if (tbi_book_places(e, node->now.mono_ns, &to, 1) == 0) {
        return false;
    }
    return tbi_book_is_proven(e, &to) ? tbi_pace_allows(&d->pace, node->now.mono_ns, &to)
                                      : tbi_discovery_may_dial(node, &e->id, &to) == 0;
}

static void dial_some(struct tbi_node *node)
{
    struct tbi_discovery *d = &node->discovery;
    uint64_t when = TBI_NEVER;

    d->dialled_at = node->now.mono_ns;
    for (int i = 0; i < DIALS_AT_ONCE && wants_peers(node); i++) {
        struct tbi_book_entry *e =
            tbi_book_pick(&d->book, node->now.mono_ns, is_known, node, &when);
        if (e == NULL) {
            break;
        }
        when = node->now.mono_ns + DIAL_PERIOD_NS;
        if (may_dial_now(node, e)) {
            tbi_contact_dial_peer(node, &e->id);
        }
    }
    d->dial_at = wants_peers(node) ? when : TBI_NEVER;
}

/* Of a network that was cut in two each half may be company enough for its nodes: then none would
 * look for the other half again. So a node that has all that it wants dials one that it met before,
 * now and then, up to a quarter beyond. */
static void dial_lost_friend(struct tbi_node *node)
{
    uint64_t wanted = node->cfg.settings.peers_wanted;
    uint64_t when;

    if (!wants_peers(node) && has_room(node, wanted + wanted / 4 + 1)) {
        struct tbi_book_entry *e =
            tbi_book_pick(&node->discovery.book, node->now.mono_ns, is_no_lost_friend, node, &when);
        if (e != NULL && may_dial_now(node, e)) {
            tbi_contact_dial_peer(node, &e->id);
        }
    }
}

static void refresh(struct tbi_node *node)
{
    uint64_t any = 0;
    uint64_t period = (uint64_t)node->cfg.settings.refresh_interval_ms * TBI_NS_PER_MS;

    tbi_for_connected(node, ask, &any);
    dial_lost_friend(node);
    node->discovery.refresh_at = node->now.mono_ns + period;
}

void tbi_discovery_timer(struct tbi_node *node)
{
    struct tbi_discovery *d = &node->discovery;
    uint64_t now = node->now.mono_ns;

    if (d->refresh_at <= now) {
        refresh(node);
    }
    if (d->news_at <= now) {
        d->news_at = TBI_NEVER;
        tbi_for_connected(node, tell_news, NULL);
    }
    if (d->dial_at <= now) {
        dial_some(node);
    }
    arm(node);
}

void tbi_discovery_want(struct tbi_node *node)
{
    if (node->discovery.ready) {
        dial_soon(node);
        arm(node);
    }
}

/* --- The book as a file ----------------------------------------------------------------------- */

int tbi_node_book_read(struct tbi_node *node, struct tbi_now now, const uint8_t *data, size_t size)
{
    node->now = now;
    int rv = tbi_book_read(&node->discovery.book, data, size);
    if (rv == 0) {
        rv = tbi_discovery_make_record(node); /* above the sequence that was used before */
        tbi_discovery_want(node);
    }
    return rv;
}

bool tbi_node_book_changed(const struct tbi_node *node)
{
    return node->discovery.book.changed;
}

int tbi_node_book_write(struct tbi_node *node, struct tbi_block **bytes)
{
    int rv = tbi_book_write(&node->discovery.book, bytes);
    if (rv == 0) {
        node->discovery.book.changed = false;
    }
    return rv;
}
