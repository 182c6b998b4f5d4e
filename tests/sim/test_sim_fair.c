/* tests/sim/test_sim_fair.c - one node that has much to say to many others: the one that wants most
 * gets no more than its share, and no turn is longer than it may be. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "quic/parts.h"
#include "sim.h"

#define UPLINK_BPS UINT64_C(100000000) /* bits a second that the node can send, to all */
#define GREEDY 0U                      /* the peer that is sent as much as the outbox takes */
#define GREEDY_SIZE 65536U             /* bytes of each of its messages */
#define SIZE 16384U                    /* of the others' */
#define WINDOW 32U /* messages that another peer has on their way: half a second of its share */
#define PEERS_MAX 50U
#define LEAST 0.8 /* of what everybody would get */

struct peer {
    struct sim_node *node;
    size_t connected, waits, turn;
    uint64_t bytes; /* that came */
};

static struct world {
    struct sim *sim;
    struct sim_node *n;
    struct peer peer[PEERS_MAX];
    size_t peers;
    bool datagrams; /* the others get these, else messages */
    bool pours;
} w;

static uint8_t bytes[GREEDY_SIZE];

static const tbq_peer_id *id_of(const struct peer *p)
{
    return tbi_identity_id(p->node->identity);
}

/* ---- the others ------------------------------------------------------------------------------ */

static bool on_peer_event(struct sim_node *n, tbq_event *e)
{
    struct peer *p = n->user;

    p->connected += e->type == TBQ_EVENT_CONNECTED;
    if (e->type == TBQ_EVENT_MESSAGE) {
        p->bytes += e->message->u.transition.size;
    } else if (e->type == TBQ_EVENT_DATAGRAM) {
        p->bytes += e->datagram.size;
    }
    return true;
}

/* ---- the one that sends ---------------------------------------------------------------------- */

static size_t number_of(const tbq_peer_id *id)
{
    size_t i = 0;
    while (i < w.peers && tbq_peer_id_compare(id, id_of(&w.peer[i])) != 0) {
        i++;
    }
    ck_assert_uint_lt(i, w.peers);
    return i;
}

static void pour(size_t i)
{
    static const tbq_send_options none = {.size = sizeof none, .lane = TBQ_LANE_NORMAL};
    struct peer *p = &w.peer[i];
    tbq_message m = tbq_transition(bytes, i == GREEDY ? GREEDY_SIZE : SIZE);

    while (w.pours && (i == GREEDY || (!w.datagrams && p->waits < WINDOW))) {
        int rv = tbi_node_send_to(w.n->node, sim_now(w.sim), id_of(p), &m, &none);
        if (rv == TBQ_ERR_AGAIN) {
            return;
        }
        ck_assert_int_eq(rv, 0);
        p->waits++;
    }
}

static bool on_event(struct sim_node *n, tbq_event *e)
{
    (void)n;
    if (e->type == TBQ_EVENT_FATE) {
        size_t i = number_of(e->peer);
        w.peer[i].waits--;
        pour(i);
    } else if (e->type == TBQ_EVENT_WRITABLE) {
        pour(number_of(e->peer));
    }
    return true;
}

/* Of two sizes in turn, so that no two packets go in one batch. */
static void top_up(struct peer *p)
{
    int rv = 0;

    while (rv == 0) {
        tbq_bytes b = {.data = bytes, .size = p->turn % 2 == 0 ? 800 : 1000};
        rv = tbi_node_send_datagram(w.n->node, sim_now(w.sim), id_of(p), b);
        p->turn += rv == 0;
    }
    ck_assert_int_eq(rv, TBQ_ERR_AGAIN);
}

/* ---- stories --------------------------------------------------------------------------------- */

static bool all_up(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < w.peers; i++) {
        if (w.peer[i].connected == 0) {
            return false;
        }
    }
    return true;
}

static void begin(size_t peers, bool datagrams)
{
    memset(&w, 0, sizeof w);
    w.sim = sim_new(41);
    w.n = sim_add(w.sim);
    w.n->on_event = on_event;
    w.peers = peers;
    w.datagrams = datagrams;
    sim_settings(w.n)->no_discovery = true;
    sim_settings(w.n)->datagrams = datagrams;
    sim_boot(w.n);
    for (size_t i = 0; i < peers; i++) {
        struct sim_node *p = sim_add(w.sim);
        w.peer[i].node = p;
        p->user = &w.peer[i];
        p->on_event = on_peer_event;
        sim_settings(p)->no_discovery = true;
        sim_settings(p)->datagrams = datagrams;
        sim_both(w.n, p, (struct sim_link){.delay_ms = 10});
        sim_boot(p);
        sim_dial(p, w.n, false);
    }
    ck_assert(sim_run(w.sim, 1000, all_up, NULL));
    w.pours = true;
    for (size_t i = 0; i < peers; i++) {
        pour(i);
    }
}

static void run(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        for (size_t k = 0; w.datagrams && k < w.peers; k++) {
            if (k != GREEDY) {
                top_up(&w.peer[k]);
            }
        }
        sim_run(w.sim, 1, NULL, NULL);
    }
}

/* What the slowest of the others gets of what each would get if all got the same. */
static void shared_for(uint64_t ms)
{
    uint64_t all = 0, slowest = UINT64_MAX;

    w.n->uplink_bps = UPLINK_BPS;
    run(1000); /* until all windows are open */
    for (size_t i = 0; i < w.peers; i++) {
        w.peer[i].bytes = 0;
    }
    run(ms);
    for (size_t i = 0; i < w.peers; i++) {
        uint64_t got = w.peer[i].bytes;
        all += got;
        slowest = i != GREEDY && got < slowest ? got : slowest;
    }
    double share = (double)slowest * (double)w.peers / (double)all;
    double used = (double)all * 8000 / (double)(UPLINK_BPS * ms);
    fprintf(stderr, "# the slowest of %zu gets %.2f of its share, the greedy one %.2f; %.2f used\n",
            w.peers - 1, share, (double)w.peer[GREEDY].bytes * (double)w.peers / (double)all, used);
    ck_assert_double_ge(share, LEAST);
    ck_assert_double_ge(used, LEAST);
    sim_free(w.sim);
}

START_TEST(one_of_fifty_is_greedy)
{
    begin(50, false);
    shared_for(3000);
}
END_TEST

/* Bytes count, not batches: those of the others have one packet each. */
START_TEST(small_batches_are_no_disadvantage)
{
    begin(10, true);
    shared_for(2000);
}
END_TEST

/* However much waits, and however much the network takes. */
START_TEST(a_turn_has_an_end)
{
    begin(20, false);
    run(200);
    ck_assert_uint_gt(w.n->most_at_once, TBI_TURN_BYTES / 2);
    ck_assert_uint_le(w.n->most_at_once, TBI_TURN_BYTES + TBI_DATAGRAM_MAX);
    sim_free(w.sim);
}
END_TEST

START_TEST(so_has_what_is_read_in_it)
{
    static uint8_t noise[TBI_DATAGRAM_MAX];
    struct tbi_datagram d = {.data = noise, .size = sizeof noise};
    size_t read = 0;

    begin(1, false);
    d.local = w.n->addr;
    d.remote = w.peer[0].node->addr;
    for (; !tbi_node_has_enough(w.n->node) && read < 2 * (size_t)TBI_TURN_BYTES; read += d.size) {
        ck_assert_uint_eq(tbi_node_recv(w.n->node, sim_now(w.sim), &d, 1), 1);
    }
    ck_assert_uint_lt(read, TBI_TURN_BYTES + sizeof noise);
    tbi_node_step(w.n->node, sim_now(w.sim));
    ck_assert(!tbi_node_has_enough(w.n->node));
    sim_free(w.sim);
}
END_TEST

/* How many batches the node wants to send now; they are lost. */
static size_t batches(void)
{
    static uint8_t buffer[TBI_DATAGRAM_MAX];
    struct tbi_send_batch b = {.data = buffer, .capacity = sizeof buffer};
    size_t n = 0;

    while (tbi_node_send(w.n->node, sim_now(w.sim), &b) == 1) {
        b.size = 0;
        n++;
    }
    return n;
}

/* Who stops may be freed after that turn. */
START_TEST(the_last_words_are_not_put_off)
{
    begin(20, false);
    run(200);
    w.n->uplink_at = sim_now(w.sim).mono_ns + 200 * TBI_NS_PER_MS;
    run(100); /* what was sent is acknowledged, and much may be said now */
    ck_assert_uint_gt(batches(), 0);
    ck_assert_uint_eq(tbi_node_deadline(w.n->node), 0); /* there is more, for another turn */
    tbi_node_stop(w.n->node, sim_now(w.sim), 0);
    ck_assert_uint_ge(batches(), w.peers); /* and where it looked for another way meanwhile */
    ck_assert_uint_gt(tbi_node_deadline(w.n->node), 0);
    sim_free(w.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fair");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, one_of_fifty_is_greedy);
    tcase_add_test(c, small_batches_are_no_disadvantage);
    tcase_add_test(c, a_turn_has_an_end);
    tcase_add_test(c, so_has_what_is_read_in_it);
    tcase_add_test(c, the_last_words_are_not_put_off);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
