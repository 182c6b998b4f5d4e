/* tests/sim/test_sim_records.c - a peer that lies about peers: forged records, records of the
 * future and of the past, peers that do not exist by the thousand, and addresses where others live.
 * Each story looks at what is believed, at the counters, at the node's memory, and at what was sent
 * to whom; honest news passes meanwhile.
 *
 * The liar is a node of ours whose lists are written by the story: everything about it is in order
 * but what it says. */
#include <check.h>
#include <ngtcp2/ngtcp2.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "sim.h"

#define VICTIMS 16
#define DIALS_MAX 60000

/* Where somebody lives who never asked for anything, and how often he is called. */
struct network {
    struct {
        uint8_t dcid[NGTCP2_MAX_CIDLEN];
        size_t size;
        uint64_t at_ms;
        const struct sim_node *to;
        struct tbi_addr from;
    } dial[DIALS_MAX];
    size_t dials;
};

struct victim {
    struct network *in;
    struct sim_node *place;
};

struct world {
    struct sim *sim;
    struct sim_node *n;       /* is told lies */
    struct sim_node *liar;    /* dials it */
    struct sim_node *friend;  /* which the node dials: named by its operator */
    struct sim_node *visitor; /* which dials it: met */
    struct sim_node *late;    /* not there yet */
    size_t heard_late;        /* by the friend and the node: PEER events of `late` */
    struct network four, six;
    struct victim victim[2 * VICTIMS];
    size_t before; /* bytes of memory */
};

/* --- Who is there ----------------------------------------------------------------------------- */

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct world *w = n->user;
    if (e->type == TBQ_EVENT_PEER && n != w->liar &&
        tbq_peer_id_compare(e->peer, tbi_identity_id(w->late->identity)) == 0) {
        w->heard_late++;
    }
    return true;
}

static struct sim_node *live(struct world *w, const char *address)
{
    struct sim_node *n = sim_add(w->sim);
    ck_assert_int_eq(tbi_addr_from_text(&n->addr, address), 0);
    n->on_event = on_event;
    n->user = w;
    return n;
}

static void begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(51);
    w->n = live(w, "203.0.113.1:8443");
    w->liar = live(w, "198.51.100.9:8443");
    w->friend = live(w, "192.0.2.7:8443");
    w->visitor = live(w, "192.0.3.8:8443");
    w->late = live(w, "192.0.4.9:8443");
    sim_settings(w->n)->max_connections = 32; /* 320 entries in its book */
    w->n->dual_stack = w->friend->dual_stack = w->visitor->dual_stack = true;
    sim_settings(w->liar)->no_discovery = true;
    sim_boot(w->n);
    sim_boot(w->liar);
    sim_boot(w->friend);
    sim_boot(w->visitor);
    sim_dial(w->n, w->friend, true);
    sim_dial(w->visitor, w->n, true);
    sim_dial(w->liar, w->n, true);
    sim_run(w->sim, 3000, NULL, NULL);
    w->before = w->n->memory->live;
}

static const struct tbi_book_entry *entry_of(const struct world *w, const struct sim_node *of)
{
    return tbi_book_get(&w->n->node->discovery.book, tbi_identity_id(of->identity));
}

static void keeps_its_acquaintances(const struct world *w)
{
    const struct tbi_book_entry *named = entry_of(w, w->friend), *met = entry_of(w, w->visitor);
    ck_assert(named != NULL && named->standing == TBI_BOOK_NAMED && named->places > 0);
    ck_assert(met != NULL && met->standing == TBI_BOOK_MET && met->places > 0);
}

/* --- Lies ------------------------------------------------------------------------------------- */

static struct tbi_alloc plain;

struct sealed {
    uint8_t bytes[TBI_RECORD_SIZE_MAX];
    size_t size;
};

/* A genuine record of somebody who does not exist. */
static void invent(struct world *w, unsigned number, const char *const *address, size_t addresses,
                   struct sealed *to)
{
    struct tbi_record r = {.sequence = sim_now(w->sim).wall_ms};
    struct tbi_identity *nobody;
    struct tbi_rng rng;
    uint8_t seed[TBI_RNG_SEED_SIZE] = {(uint8_t)number, (uint8_t)(number >> 8), 0xa5};

    ck_assert_int_eq(tbi_alloc_init(&plain, NULL), 0);
    tbi_rng_init(&rng, seed);
    ck_assert_int_eq(tbi_identity_new(&nobody, &plain, seed, &rng), 0);
    memcpy(r.key, tbi_identity_key(nobody), sizeof r.key);
    for (size_t i = 0; i < addresses; i++) {
        ck_assert_int_eq(tbi_addr_from_text(&r.address[i].addr, address[i]), 0);
    }
    r.addresses_len = addresses;
    ck_assert_int_eq(
        tbi_record_seal(&r, tbi_identity_crypto(nobody), to->bytes, sizeof to->bytes, &to->size),
        0);
    tbi_identity_free(nobody);
}

/* The liar says so, in lists as long as they may be. */
static void tell(struct world *w, const struct sealed *record, size_t n)
{
    static uint8_t bytes[TBI_PEER_LIST_MAX * (TBI_RECORD_SIZE_MAX + 2) + 8];
    struct tbi_peer *peer = tbi_peer_get(w->liar->node, tbi_identity_id(w->n->identity), false);
    struct tbi_bond *b = tbi_peer_newest(peer);

    for (size_t at = 0; at < n;) {
        struct tbi_peer_list list = {0};
        struct tbi_writer writer;
        struct tbi_outgoing out = {.kind = TBQ_PEER_LIST, .lane = TBQ_LANE_LOW};
        for (; at < n && list.len < TBI_PEER_LIST_MAX; at++, list.len++) {
            list.at[list.len].record = record[at].bytes;
            list.at[list.len].size = record[at].size;
        }
        tbi_put_init(&writer, bytes, sizeof bytes);
        tbi_put_peer_list(&writer, &list);
        ck_assert_int_eq(tbi_put_error(&writer), 0);
        out.payload = tbi_block_copy(b->node->alloc, bytes, tbi_put_size(&writer));
        ck_assert_ptr_nonnull(b->session);
        ck_assert_int_eq(tbi_bond_send(b, &out), 0);
        tbi_block_unref(out.payload);
    }
    tbi_node_settle(w->liar->node);
}

/* --- Third parties ---------------------------------------------------------------------------- */

static void victim_recv(void *user, const struct tbi_datagram *d)
{
    struct victim *v = user;
    struct network *in = v->in;
    ngtcp2_version_cid id;

    ck_assert_int_eq(ngtcp2_pkt_decode_version_cid(&id, d->data, d->size, 0), 0);
    for (size_t i = 0; i < in->dials; i++) {
        if (in->dial[i].size == id.dcidlen && memcmp(in->dial[i].dcid, id.dcid, id.dcidlen) == 0) {
            return; /* of the same dial, once more */
        }
    }
    ck_assert_uint_lt(in->dials, DIALS_MAX);
    memcpy(in->dial[in->dials].dcid, id.dcid, id.dcidlen);
    in->dial[in->dials].size = id.dcidlen;
    in->dial[in->dials].to = v->place;
    in->dial[in->dials].from = d->remote;
    in->dial[in->dials++].at_ms = sim_ms(v->place->sim);
}

static void victim_step(void *user)
{
    (void)user;
}

static int victim_send(void *user, struct tbi_send_batch *b)
{
    (void)user;
    (void)b;
    return 0;
}

static uint64_t victim_deadline(void *user)
{
    (void)user;
    return TBI_NEVER;
}

static void put_victims(struct world *w)
{
    static const struct sim_guest guest = {victim_recv, victim_step, victim_send, victim_deadline};
    for (unsigned i = 0; i < 2 * VICTIMS; i++) {
        char text[64];
        struct victim *v = &w->victim[i];
        snprintf(text, sizeof text, i < VICTIMS ? "45.1.2.%u:443" : "[2a00:1:2:300::%u]:443", i);
        v->place = live(w, text);
        v->in = i < VICTIMS ? &w->four : &w->six;
        sim_host(v->place, &guest, v);
    }
}

/* Between two dials of the same node, which may be one that heard the lie from the first. */
static uint64_t shortest_gap_ms(const struct network *in)
{
    uint64_t gap = UINT64_MAX;
    for (size_t i = 1; i < in->dials; i++) {
        size_t before = i;
        while (before-- > 0 && !tbi_addr_equal(&in->dial[before].from, &in->dial[i].from)) {
        }
        if (before < i) {
            uint64_t g = in->dial[i].at_ms - in->dial[before].at_ms;
            gap = g < gap ? g : gap;
        }
    }
    return gap;
}

static size_t most_to_one(const struct world *w, const struct network *in)
{
    size_t most = 0;
    for (size_t v = 0; v < 2 * VICTIMS; v++) {
        size_t n = 0;
        for (size_t i = 0; i < in->dials; i++) {
            n += in->dial[i].to == w->victim[v].place &&
                 tbi_addr_equal(&in->dial[i].from, &w->n->addr);
        }
        most = n > most ? n : most;
    }
    return most;
}

static void no_harm_to_third_parties(const struct world *w)
{
    ck_assert_uint_ge(shortest_gap_ms(&w->four), 1000);
    ck_assert_uint_ge(shortest_gap_ms(&w->six), 1000);
    ck_assert_uint_le(most_to_one(w, &w->four), TBI_BOOK_TRIES_UNPROVEN);
    ck_assert_uint_le(most_to_one(w, &w->six), TBI_BOOK_TRIES_UNPROVEN);
}

static void end(struct world *w)
{
    sim_free(w->sim);
}

/* --- What is believed ------------------------------------------------------------------------- */

/* Somebody new comes there, and the node and its friend hear of him, one from the other. */
static void honest_news_passes(struct world *w, struct sim_node *by_way_of)
{
    w->heard_late = 0;
    sim_boot(w->late);
    sim_dial(w->late, by_way_of, true);
    for (int i = 0; i < 50 && w->heard_late < 2; i++) {
        sim_run(w->sim, 100, NULL, NULL);
    }
    ck_assert_uint_ge(w->heard_late, 2);
}

/* What the liar says is taken as any message is; what it says it of is another matter. */
static void took_lists(const struct world *w, size_t n)
{
    const tbq_peers *peers;
    ck_assert_int_eq(tbi_node_peers(w->n->node, tbi_identity_id(w->liar->identity), &peers), 0);
    ck_assert_uint_ge(peers->peer[0]->stats.taken, n);
    ck_assert_uint_eq(peers->peer[0]->stats.declined, 0);
    ck_assert(peers->peer[0]->connected);
    tbi_peers_free(peers);
}

static tbq_stats stats_of(const struct world *w)
{
    tbq_stats s = {0};
    tbi_node_stats(w->n->node, &s);
    return s;
}

static void takes_at_most(const struct world *w, size_t bytes)
{
    ck_assert_msg(w->n->memory->most <= w->before + bytes, "%zu bytes before, %zu at most",
                  w->before, w->n->memory->most);
}

/* One that the friend signed itself, with another sequence. */
static void sign_as(const struct sim_node *who, const uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                    uint64_t sequence, const char *address, struct sealed *to)
{
    struct tbi_record r = {.sequence = sequence, .addresses_len = 1};
    memcpy(r.key, key, sizeof r.key);
    ck_assert_int_eq(tbi_addr_from_text(&r.address[0].addr, address), 0);
    ck_assert_int_eq(tbi_record_seal(&r, tbi_identity_crypto(who->identity), to->bytes,
                                     sizeof to->bytes, &to->size),
                     0);
}

START_TEST(what_is_not_genuine_or_not_of_now_changes_nothing)
{
    enum { TURNED, ANOTHERS, FAR_AHEAD, LONG_AGO, NONSENSE, KINDS };
    static struct world w;
    static struct sealed lie[100 * KINDS];
    static const char *const somewhere = "45.9.9.9:443";
    begin(&w);
    uint64_t now = sim_now(w.sim).wall_ms;
    const uint8_t *victim = tbi_identity_key(w.friend->identity);
    for (unsigned i = 0; i < 100; i++) {
        struct sealed *l = &lie[i * KINDS];
        invent(&w, i, &somewhere, 1, &l[TURNED]);
        l[TURNED].bytes[(i * 7) % l[TURNED].size] ^= (uint8_t)(1U << (i % 8));
        sign_as(w.liar, victim, now + i, somewhere, &l[ANOTHERS]);
        sign_as(w.friend, victim, now + TBI_BOOK_AHEAD_MS + 60000 + i, somewhere, &l[FAR_AHEAD]);
        sign_as(w.friend, victim, 1 + i, somewhere, &l[LONG_AGO]);
        memset(l[NONSENSE].bytes, (int)i, l[NONSENSE].size = 100 + i);
    }
    struct tbi_block *believed = tbi_block_copy(&w.n->alloc, entry_of(&w, w.friend)->record->data,
                                                entry_of(&w, w.friend)->record->size);
    size_t known = tbi_map_count(&w.n->node->discovery.book.entries);
    tell(&w, lie, 100 * KINDS);
    sim_run(w.sim, 10000, NULL, NULL);
    took_lists(&w, 100 * KINDS / TBI_PEER_LIST_MAX);
    ck_assert_uint_eq(tbi_map_count(&w.n->node->discovery.book.entries), known);
    const struct tbi_block *still = entry_of(&w, w.friend)->record;
    ck_assert(still->size == believed->size &&
              memcmp(still->data, believed->data, still->size) == 0);
    tbi_block_unref(believed);
    ck_assert_uint_eq(stats_of(&w).records_refused, (size_t)(100 * (KINDS - 1)));
    ck_assert_uint_eq(w.n->node->discovery.book.stats.known >= 100, true);
    ck_assert_uint_eq(w.n->to_nowhere, 0);
    takes_at_most(&w, 262144);
    keeps_its_acquaintances(&w);
    honest_news_passes(&w, w.friend);
    end(&w);
}
END_TEST

#define CROWD 3000

START_TEST(peers_that_do_not_exist_displace_one_another)
{
    static struct world w;
    static struct sealed lie[CROWD];
    begin(&w);
    for (unsigned i = 0; i < CROWD; i++) {
        char text[64];
        const char *address = text;
        snprintf(text, sizeof text, "45.%u.%u.1:443", i >> 8, i & 0xff);
        invent(&w, i, &address, 1, &lie[i]);
    }
    const struct tbi_book *book = &w.n->node->discovery.book;
    tell(&w, lie, CROWD); /* at once: what is too much is not looked at */
    sim_run(w.sim, 2000, NULL, NULL);
    ck_assert_uint_eq(w.n->node->discovery.records_ignored > CROWD - 700, true);
    for (unsigned second = 0; second < 60; second++) { /* and then as many as are looked at */
        tell(&w, lie + (second * 64) % (CROWD - 64), 64);
        sim_run(w.sim, 1000, NULL, NULL);
        ck_assert_uint_le(tbi_map_count(&book->entries), book->limit);
        if (second == 30) {
            honest_news_passes(&w, w.n); /* which passes on what it believes of the lies, too */
        }
    }
    ck_assert_uint_eq(tbi_map_count(&book->entries), book->limit);
    ck_assert_uint_gt(stats_of(&w).peers_forgotten, CROWD / 2);
    takes_at_most(&w, book->limit * 2048 + 1048576); /* dials under way among it */
    keeps_its_acquaintances(&w);
    end(&w);
}
END_TEST

START_TEST(a_book_full_of_lies_finds_acquaintances_first)
{
    static struct world w;
    static struct sealed lie[500];
    struct tbi_block *book;
    begin(&w);
    for (unsigned i = 0; i < 500; i++) {
        char text[64];
        const char *address = text;
        snprintf(text, sizeof text, "45.%u.%u.1:443", i >> 8, i & 0xff);
        invent(&w, i, &address, 1, &lie[i]);
    }
    tell(&w, lie, 500);
    sim_run(w.sim, 2000, NULL, NULL);
    ck_assert_uint_eq(tbi_map_count(&w.n->node->discovery.book.entries),
                      w.n->node->discovery.book.limit);
    ck_assert_int_eq(tbi_node_book_write(w.n->node, &book), 0);
    sim_kill(w.n);
    sim_kill(w.visitor);
    sim_kill(w.liar);
    sim_kill(w.friend);
    sim_boot(w.friend); /* which remembers nobody */
    sim_boot(w.n);
    ck_assert_int_eq(tbi_node_book_read(w.n->node, sim_now(w.sim), book->data, book->size), 0);
    tbi_block_unref(book);
    sim_run(w.sim, 5000, NULL, NULL);
    const struct tbi_peer *friend =
        tbi_peer_get(w.n->node, tbi_identity_id(w.friend->identity), false);
    ck_assert(friend != NULL && friend->met);
    end(&w);
}
END_TEST

/* --- Where others live ------------------------------------------------------------------------ */

START_TEST(what_cannot_be_true_where_it_was_learnt_is_never_dialled)
{
    static const char *const where[] = {
        "127.0.0.1:22",       "127.9.9.9:443",       "10.0.0.1:443",
        "172.16.3.4:443",     "192.168.0.1:80",      "100.64.0.1:443",
        "169.254.169.254:80", "224.0.0.251:5353",    "239.255.255.250:443",
        "0.0.0.0:443",        "255.255.255.255:443", "[::1]:443",
        "[::]:443",           "[fe80::1]:443",       "[fd00::1]:443",
        "[ff02::1]:443"};
    enum { PLACES = sizeof where / sizeof where[0] };
    static struct world w;
    static struct sealed lie[PLACES + 1];
    begin(&w);
    for (unsigned i = 0; i < PLACES; i++) {
        invent(&w, i, &where[i], 1, &lie[i]);
    }
    invent(&w, PLACES, where, PLACES, &lie[PLACES]); /* all in one */
    tell(&w, lie, PLACES + 1);
    sim_run(w.sim, 60000, NULL, NULL);
    took_lists(&w, 1);
    ck_assert_uint_eq(w.n->node->discovery.book.stats.learnt >= PLACES + 1, true);
    ck_assert_uint_eq(w.n->to_nowhere, 0);
    ck_assert_uint_eq(w.friend->to_nowhere, 0); /* nor by whom it told */
    takes_at_most(&w, 262144);
    honest_news_passes(&w, w.friend);
    end(&w);
}
END_TEST

/* 60 made-up peers, each with 16 addresses: all of others, or all but the first. */
START_TEST(a_third_party_is_called_three_times_and_its_network_once_a_second)
{
    static struct world w;
    static struct sealed lie[60];
    begin(&w);
    put_victims(&w);
    for (unsigned i = 0; i < 60; i++) {
        char text[TBI_RECORD_ADDRESSES_MAX][64];
        const char *address[TBI_RECORD_ADDRESSES_MAX];
        for (unsigned k = 0; k < TBI_RECORD_ADDRESSES_MAX; k++) {
            unsigned v = (i + k) % VICTIMS;
            address[k] = text[k];
            if (k == 0 && i % 3 == 0) {
                snprintf(text[k], sizeof text[k], "46.%u.1.1:1", i);
            } else {
                tbi_addr_to_text(&w.victim[k % 2 == 0 ? v : VICTIMS + v].place->addr, text[k]);
            }
        }
        invent(&w, i, address, TBI_RECORD_ADDRESSES_MAX, &lie[i]);
    }
    tell(&w, lie, 60);
    sim_run(w.sim, 60000, NULL, NULL);
    no_harm_to_third_parties(&w);
    ck_assert_uint_gt(w.four.dials, 0);
    ck_assert_uint_gt(w.six.dials, 0);
    ck_assert_uint_gt(stats_of(&w).dials_delayed, 0);
    honest_news_passes(&w, w.friend);
    sim_run(w.sim, 3600000, NULL, NULL);
    no_harm_to_third_parties(&w);
    takes_at_most(&w, 1048576); /* dials under way */
    keeps_its_acquaintances(&w);
    end(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("records");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, what_is_not_genuine_or_not_of_now_changes_nothing);
    tcase_add_test(c, peers_that_do_not_exist_displace_one_another);
    tcase_add_test(c, a_book_full_of_lies_finds_acquaintances_first);
    tcase_add_test(c, what_cannot_be_true_where_it_was_learnt_is_never_dialled);
    tcase_add_test(c, a_third_party_is_called_three_times_and_its_network_once_a_second);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
