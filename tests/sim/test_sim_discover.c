/* tests/sim/test_sim_discover.c - nodes that know one address find one another. */
#include <check.h>
#include <string.h>

#include "sim.h"
#include "../unit/harness.h"
#include "node/parts.h"

#define NODES 8

struct world {
    struct sim *sim;
    struct sim_node *node[NODES];
    size_t failed; /* dials that the application was told of */
    size_t heard[NODES];
};

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct world *w = n->user;
    w->failed += e->type == TBQ_EVENT_CONNECT_FAILED;
    for (size_t i = 0; i < NODES; i++) {
        w->heard[i] += e->type == TBQ_EVENT_PEER && w->node[i] == n;
    }
    return true;
}

static void build(struct world *w, uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(seed);
    for (size_t i = 0; i < NODES; i++) {
        w->node[i] = sim_add(w->sim);
        w->node[i]->on_event = on_event;
        w->node[i]->user = w;
        for (size_t k = 0; k < i; k++) {
            sim_both(w->node[i], w->node[k], (struct sim_link){.delay_ms = 10});
        }
    }
}

static size_t known_to(const struct sim_node *n, bool connected_only)
{
    const tbq_peers *peers = NULL;
    size_t n_known = 0;
    ck_assert_int_eq(tbi_node_peers(n->node, NULL, &peers), 0);
    for (size_t i = 0; i < peers->len; i++) {
        const tbq_peer *p = peers->peer[i];
        n_known += connected_only ? p->connected : p->addresses_len > 0;
    }
    tbi_peers_free(peers);
    return n_known;
}

static bool all_know_all(void *arg)
{
    struct world *w = arg;
    for (size_t i = 0; i < NODES; i++) {
        if (w->node[i]->alive && known_to(w->node[i], false) < NODES - 1) {
            return false;
        }
    }
    return true;
}

static bool all_connected(void *arg)
{
    struct world *w = arg;
    for (size_t i = 0; i < NODES; i++) {
        if (w->node[i]->alive && known_to(w->node[i], true) < NODES - 1) {
            return false;
        }
    }
    return true;
}

START_TEST(all_know_all_within_seconds_of_knowing_one)
{
    struct world w;

    build(&w, 11);
    for (size_t i = 0; i < NODES; i++) {
        sim_boot(w.node[i]);
        if (i > 0) {
            sim_dial(w.node[i], w.node[0], true);
        }
    }
    ck_assert(sim_run(w.sim, 5000, all_know_all, &w));
    /* 10.0.0.0/24 is one network: one dial a second of each node, two find each other by either. */
    ck_assert(sim_run(w.sim, 20000, all_connected, &w));
    ck_assert_uint_eq(w.failed, 0);
    for (size_t i = 0; i < NODES; i++) {
        ck_assert_uint_ge(w.heard[i], NODES - 1);
        const struct tbi_book *book = &w.node[i]->node->discovery.book;
        for (size_t k = 0; k < NODES; k++) { /* the operator named the first one, and nobody else */
            const struct tbi_book_entry *e = tbi_book_get(book, &w.node[k]->node->id);
            ck_assert(k == i || (e->standing == TBI_BOOK_NAMED) == (k == 0));
        }
    }
    sim_free(w.sim);
}
END_TEST

START_TEST(who_comes_late_is_known_everywhere_and_the_first_is_not_needed)
{
    struct world w;

    build(&w, 12);
    for (size_t i = 0; i + 1 < NODES; i++) {
        sim_boot(w.node[i]);
        if (i > 0) {
            sim_dial(w.node[i], w.node[0], true);
        }
    }
    sim_run(w.sim, 20000, NULL, NULL);
    sim_kill(w.node[0]);
    sim_run(w.sim, 1000, NULL, NULL);
    sim_boot(w.node[NODES - 1]);
    sim_dial(w.node[NODES - 1], w.node[3], false); /* which is not the first */
    ck_assert(sim_run(w.sim, 5000, all_know_all, &w));
    sim_free(w.sim);
}
END_TEST

START_TEST(who_wants_few_peers_dials_few)
{
    struct world w;
    size_t most = 0;

    build(&w, 13);
    for (size_t i = 0; i < NODES; i++) {
        sim_settings(w.node[i])->peers_wanted = 2;
        sim_boot(w.node[i]);
        if (i > 0) {
            sim_dial(w.node[i], w.node[0], true);
        }
    }
    ck_assert(sim_run(w.sim, 10000, all_know_all, &w));
    for (size_t i = 1; i < NODES; i++) {
        size_t n = known_to(w.node[i], true);
        most = n > most ? n : most;
    }
    ck_assert_uint_lt(most, NODES - 1);
    sim_free(w.sim);
}
END_TEST

START_TEST(a_book_finds_everybody_again_without_the_first)
{
    struct world w;
    struct tbi_block *book[NODES] = {NULL};

    build(&w, 14);
    for (size_t i = 0; i < NODES; i++) {
        sim_boot(w.node[i]);
        if (i > 0) {
            sim_dial(w.node[i], w.node[0], true);
        }
    }
    ck_assert(sim_run(w.sim, 20000, all_connected, &w));
    for (size_t i = 1; i < NODES; i++) {
        ck_assert(tbi_node_book_changed(w.node[i]->node));
        ck_assert_int_eq(tbi_node_book_write(w.node[i]->node, &book[i]), 0);
        ck_assert(!tbi_node_book_changed(w.node[i]->node));
    }
    for (size_t i = 0; i < NODES; i++) {
        sim_kill(w.node[i]);
    }
    for (size_t i = 1; i < NODES; i++) {
        sim_boot(w.node[i]);
        ck_assert_int_eq(
            tbi_node_book_read(w.node[i]->node, sim_now(w.sim), book[i]->data, book[i]->size), 0);
        tbi_block_unref(book[i]);
    }
    bool found = false;
    for (int tries = 0; tries < 60 && !found; tries++) {
        sim_run(w.sim, 1000, NULL, NULL);
        found = true;
        for (size_t i = 1; i < NODES; i++) {
            found = found && known_to(w.node[i], true) == NODES - 2;
        }
    }
    ck_assert(found);
    ck_assert_uint_eq(w.failed, 0); /* dials that nobody asked for fail in silence */
    sim_free(w.sim);
}
END_TEST

START_TEST(a_peer_is_dialled_by_its_id_alone)
{
    struct world w;
    struct tbi_target target = {.pinned = true};
    tbq_connection c;

    build(&w, 15);
    for (size_t i = 0; i < 3; i++) {
        sim_settings(w.node[i])->no_discovery = i > 0;
        sim_boot(w.node[i]);
    }
    sim_dial(w.node[1], w.node[0], true);
    sim_dial(w.node[2], w.node[0], true);
    sim_run(w.sim, 3000, NULL, NULL);
    ck_assert_uint_eq(known_to(w.node[1], true), 1);
    target.id = *tbi_identity_id(w.node[2]->identity);
    ck_assert_int_eq(tbi_node_connect(w.node[1]->node, sim_now(w.sim), &target, false, &c), 0);
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(known_to(w.node[1], true), 2);
    target.id.bytes[0] ^= 1; /* nobody */
    ck_assert_int_eq(tbi_node_connect(w.node[1]->node, sim_now(w.sim), &target, false, &c), 0);
    sim_run(w.sim, 10000, NULL, NULL);
    ck_assert_uint_eq(w.failed, 1);
    sim_free(w.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("discovery");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, all_know_all_within_seconds_of_knowing_one);
    tcase_add_test(c, who_comes_late_is_known_everywhere_and_the_first_is_not_needed);
    tcase_add_test(c, who_wants_few_peers_dials_few);
    tcase_add_test(c, a_book_finds_everybody_again_without_the_first);
    tcase_add_test(c, a_peer_is_dialled_by_its_id_alone);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
