/* tests/sim/test_sim_discover.c - nodes that know one address find one another. */
#include <check.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "village.h"

#define NODES 8

START_TEST(all_know_all_within_seconds_of_knowing_one)
{
    struct village w;

    village_build(&w, NODES, 11);
    village_boot_all(&w);
    ck_assert_uint_le(village_wait(&w, 5000, village_all_know_all, 0), 5000);
    /* 10.0.0.0/24 is one network: one dial a second of each node, two find each other by either. */
    ck_assert_uint_le(village_wait(&w, 20000, village_all_connected, 0), 20000);
    ck_assert_uint_eq(w.failed, 0);
    for (size_t i = 0; i < NODES; i++) {
        ck_assert_uint_ge(w.heard[i], NODES - 1);
        const struct tbi_book *book = &w.node[i]->node->discovery.book;
        for (size_t k = 0; k < NODES; k++) { /* the operator named the first one, and nobody else */
            const struct tbi_book_entry *e = tbi_book_get(book, &w.node[k]->node->id);
            ck_assert(k == i || (e->standing == TBI_BOOK_NAMED) == (k == 0));
        }
    }
    village_free(&w);
}
END_TEST

START_TEST(who_comes_late_is_known_everywhere_and_the_first_is_not_needed)
{
    struct village w;

    village_build(&w, NODES, 12);
    for (size_t i = 0; i + 1 < NODES; i++) {
        village_boot(&w, i);
    }
    sim_run(w.sim, 20000, NULL, NULL);
    sim_kill(w.node[0]);
    sim_run(w.sim, 1000, NULL, NULL);
    sim_boot(w.node[NODES - 1]);
    sim_dial(w.node[NODES - 1], w.node[3], false); /* which is not the first */
    ck_assert_uint_le(village_wait(&w, 5000, village_all_know_all, 0), 5000);
    village_free(&w);
}
END_TEST

START_TEST(who_wants_few_peers_dials_few)
{
    struct village w;
    size_t most = 0;

    village_build(&w, NODES, 13);
    for (size_t i = 0; i < NODES; i++) {
        sim_settings(w.node[i])->peers_wanted = 2;
        village_boot(&w, i);
    }
    ck_assert_uint_le(village_wait(&w, 10000, village_all_know_all, 0), 10000);
    for (size_t i = 1; i < NODES; i++) {
        size_t n = village_connected(w.node[i]);
        most = n > most ? n : most;
    }
    ck_assert_uint_lt(most, NODES - 1);
    village_free(&w);
}
END_TEST

START_TEST(a_peer_is_dialled_by_its_id_alone)
{
    struct village w;
    struct tbi_target target = {.pinned = true};
    tbq_connection c;

    village_build(&w, NODES, 15);
    for (size_t i = 0; i < 3; i++) {
        sim_settings(w.node[i])->no_discovery = i > 0;
        sim_boot(w.node[i]);
    }
    sim_dial(w.node[1], w.node[0], true);
    sim_dial(w.node[2], w.node[0], true);
    sim_run(w.sim, 3000, NULL, NULL);
    ck_assert_uint_eq(village_connected(w.node[1]), 1);
    target.id = *tbi_identity_id(w.node[2]->identity);
    ck_assert_int_eq(tbi_node_connect(w.node[1]->node, sim_now(w.sim), &target, false, &c), 0);
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(village_connected(w.node[1]), 2);
    target.id.bytes[0] ^= 1; /* nobody */
    ck_assert_int_eq(tbi_node_connect(w.node[1]->node, sim_now(w.sim), &target, false, &c), 0);
    sim_run(w.sim, 10000, NULL, NULL);
    ck_assert_uint_eq(w.failed, 1);
    village_free(&w);
}
END_TEST

START_TEST(who_loses_a_peer_has_room_for_another_one)
{
    struct village w;

    village_build(&w, 3, 16);
    sim_settings(w.node[1])->peers_wanted = 1;
    sim_settings(w.node[2])->no_discovery = true; /* it looks for nobody: it is to be found */
    village_boot(&w, 0);
    sim_boot(w.node[1]);
    village_boot(&w, 2);
    sim_dial(w.node[0], w.node[1], false);
    sim_run(w.sim, 5000, NULL, NULL);
    ck_assert_uint_eq(village_known(w.node[1]), 2);
    ck_assert_uint_eq(village_connected(w.node[1]), 1);
    sim_kill(w.node[0]);
    uint64_t noticed_ms = w.node[1]->settings.ping_interval_ms;
    noticed_ms += w.node[1]->settings.idle_timeout_ms;
    sim_run(w.sim, noticed_ms + 5000, NULL, NULL);
    ck_assert_uint_eq(village_connected(w.node[1]), 1);
    ck_assert_uint_eq(village_reach(&w, 1), 2);
    village_free(&w);
}
END_TEST

START_TEST(who_was_given_up_is_looked_for_as_a_stranger)
{
    struct village w;

    village_build(&w, 2, 17);
    sim_settings(w.node[1])->no_discovery = true;
    village_boot_all(&w); /* the second dials the first */
    sim_run(w.sim, 5000, NULL, NULL);
    ck_assert_uint_eq(village_connected(w.node[0]), 1);
    sim_kill(w.node[1]);
    sim_run(w.sim, 2 * (uint64_t)w.node[0]->settings.peer_timeout_ms, NULL, NULL);
    sim_boot(w.node[1]); /* and dials nobody */
    /* It is at the place where it was met: looked for every ten minutes at least. */
    ck_assert_uint_le(village_wait(&w, 600000, village_all_connected, 0), 600000);
    village_free(&w);
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
    tcase_add_test(c, a_peer_is_dialled_by_its_id_alone);
    tcase_add_test(c, who_loses_a_peer_has_room_for_another_one);
    tcase_add_test(c, who_was_given_up_is_looked_for_as_a_stranger);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
