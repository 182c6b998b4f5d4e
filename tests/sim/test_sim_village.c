/* tests/sim/test_sim_village.c - discovery at the size of a village: fifty nodes that know one
 * address, the loss of that one, books after a power cut, and halves that are cut from each other
 * and heal. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "ledger.h"
#include "village.h"

#define NODES 50
#define WANTED 16 /* peers_wanted, as it is by default */

/* Holds within that time; how long it took is told for whoever reads the log. */
static void within(struct village *v, uint64_t ms, bool (*holds)(struct village *v, size_t n),
                   size_t n, const char *what)
{
    uint64_t took = village_wait(v, ms, holds, n);
    if (took == UINT64_MAX) {
        ck_abort_msg("not within %llu ms: %s", (unsigned long long)ms, what);
    }
    printf("# %s: %llu ms of virtual time\n", what, (unsigned long long)took);
    fflush(stdout); /* what was measured is told by a story that fails later, too */
}

static size_t lost_by_the_rest(const struct village *v)
{
    size_t n = 0;
    for (size_t i = 1; i < v->nodes; i++) {
        n += v->lost[i];
    }
    return n;
}

/* --- Fifty ------------------------------------------------------------------------------------ */

START_TEST(fifty_that_know_one_know_all_and_the_first_may_come_and_go)
{
    static struct village v;
    village_build(&v, NODES, 21);
    village_boot_all(&v);
    within(&v, 5000, village_all_know_all, 0, "fifty that know one address all know all");
    /* All are in one network, where a node dials once a second. */
    within(&v, 30000, village_all_have, WANTED, "each has the connections that it wants");
    ck_assert_uint_eq(village_reach(&v, 0), NODES);
    memset(v.lost, 0, sizeof v.lost);

    size_t has = village_connected(v.node[0]);
    sim_kill(v.node[0]);
    sim_run(v.sim, 20000, NULL, NULL);
    ck_assert_uint_eq(village_reach(&v, 1), NODES - 1);
    village_boot(&v, 0);
    within(&v, 60000, village_all_know_all, 0, "the first, back without memory, knows all");
    within(&v, 60000, village_all_have, WANTED, "and has its connections");
    sim_run(v.sim, 60000, NULL, NULL);                          /* who did not notice does so now */
    ck_assert_uint_eq(village_connected(v.node[0]), NODES - 1); /* all were told to dial it */
    ck_assert_uint_eq(lost_by_the_rest(&v), has); /* of the rest nobody lost another one */
    ck_assert_uint_eq(village_reach(&v, 0), NODES);
    ck_assert_uint_eq(v.failed, 0);
    village_free(&v);
}
END_TEST

START_TEST(after_a_power_cut_they_are_one_village_again_without_the_first)
{
    static struct village v;
    village_build(&v, NODES, 22);
    village_boot_all(&v);
    within(&v, 30000, village_all_have, WANTED, "each has the connections that it wants");
    village_keep_books(&v);
    for (size_t i = 0; i < NODES; i++) {
        sim_kill(v.node[i]);
    }
    for (size_t i = 1; i < NODES; i++) {
        village_boot_from_book(&v, i);
    }
    within(&v, 60000, village_all_have, WANTED, "from their books, each has as many again");
    ck_assert_uint_eq(village_reach(&v, 1), NODES - 1);
    ck_assert_uint_eq(v.failed, 0); /* dials that nobody asked for fail in silence */
    village_free(&v);
}
END_TEST

/* --- Two halves ------------------------------------------------------------------------------- */

#define HALF 8 /* nodes; one more comes to the left half while they are apart */
#define MANY 64
#define FEW 4 /* peers wanted, where each half is company enough */

struct halves {
    struct village v;
    struct ledger right, left; /* from the left half to the right one, and back */
};

static void to_ledgers(struct village *v, struct sim_node *n, const tbq_event *e)
{
    struct halves *h = v->user;
    ledger_event(&h->right, n, e);
    ledger_event(&h->left, n, e);
}

static bool settled(struct village *v, size_t n)
{
    const struct halves *h = v->user;
    (void)n;
    return ledger_settled(&h->right) && ledger_settled(&h->left);
}

static void send_each_way(struct halves *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(ledger_send(&h->right, 1000, TBQ_LANE_NORMAL, false, 0), 0);
        ck_assert_int_eq(ledger_send(&h->left, 1000, TBQ_LANE_NORMAL, false, 0), 0);
        sim_run(h->v.sim, 10, NULL, NULL);
    }
}

static bool is_left(size_t i)
{
    return i < HALF || i == 2 * HALF;
}

static void set_cut(struct halves *h, bool cut)
{
    for (size_t i = 0; i < h->v.nodes; i++) {
        for (size_t k = 0; k < h->v.nodes; k++) {
            if (is_left(i) != is_left(k)) {
                sim_link(h->v.node[i], h->v.node[k])->cut = cut;
            }
        }
    }
}

static void settle_down(struct halves *h, uint64_t seed)
{
    memset(h, 0, sizeof *h);
    village_build(&h->v, 2 * HALF + 1, seed);
    h->v.also = to_ledgers;
    h->v.user = h;
    for (size_t i = 0; i <= 2 * HALF; i++) {
        sim_settings(h->v.node[i])->peers_wanted = MANY; /* all that there are */
    }
    for (size_t i = 0; i < 2 * HALF; i++) {
        village_boot(&h->v, i);
    }
    ledger_begin(&h->right, h->v.node[1], h->v.node[HALF + 1]);
    ledger_begin(&h->left, h->v.node[HALF + 1], h->v.node[1]);
    within(&h->v, 60000, village_all_connected, 0, "sixteen are all connected");
    send_each_way(h, 50);
    sim_run(h->v.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(h->right.told[TBQ_DELIVERED] + h->left.told[TBQ_DELIVERED], 100);
}

START_TEST(halves_that_heal_keep_what_they_had_to_say_and_hear_the_news)
{
    static struct halves h;
    settle_down(&h, 23);
    set_cut(&h, true);
    send_each_way(&h, 200);
    sim_boot(h.v.node[2 * HALF]);
    sim_dial(h.v.node[2 * HALF], h.v.node[1], true);
    sim_run(h.v.sim, 120000, NULL,
            NULL); /* twice the idle timeout, and less than peer_timeout_ms */
    ck_assert_uint_eq(village_reach(&h.v, 1), HALF + 1);
    ck_assert_uint_eq(village_reach(&h.v, HALF), HALF);
    ck_assert_uint_eq(village_known(h.v.node[HALF]), 2 * HALF - 1); /* not of the new one */
    ck_assert_uint_eq(h.right.got, 50);

    set_cut(&h, false);
    send_each_way(&h, 50);
    /* Who lost a peer dials it twice a minute at least. */
    within(&h.v, 60000, village_all_know_all, 0, "healed, all know who came meanwhile");
    within(&h.v, 120000, village_all_connected, 0, "and each is connected to each");
    within(&h.v, 60000, settled, 0, "and all that was said has its fate");
    ck_assert_uint_eq(village_reach(&h.v, 0), 2 * HALF + 1);
    ck_assert_uint_eq(h.right.told[TBQ_DELIVERED], 300);
    ck_assert_uint_eq(h.left.told[TBQ_DELIVERED], 300);
    ck_assert_uint_eq(h.right.got + h.left.got, 600);
    ck_assert_uint_eq(ledger_broken(&h.right) + ledger_broken(&h.left), 0);
    village_free(&h.v);
}
END_TEST

START_TEST(halves_that_were_given_up_find_each_other_without_the_first)
{
    static struct halves h;
    settle_down(&h, 24);
    set_cut(&h, true);
    send_each_way(&h, 50);
    sim_kill(h.v.node[0]);
    sim_run(h.v.sim, 1200000, NULL, NULL); /* peer_timeout_ms, four times */
    ck_assert(settled(&h.v, 0));
    ck_assert_uint_eq(h.right.told[TBQ_DELIVERED], 50);
    ck_assert_uint_eq(village_reach(&h.v, HALF), HALF);

    set_cut(&h, false);
    /* Where nobody answers, a peer that was met is looked for every ten minutes. */
    within(&h.v, 900000, village_all_connected, 0, "given up and healed, all are connected");
    send_each_way(&h, 50);
    within(&h.v, 10000, settled, 0, "and messages arrive");
    ck_assert_uint_eq(h.right.told[TBQ_DELIVERED], 100);
    ck_assert_uint_eq(h.left.told[TBQ_DELIVERED], 100);
    ck_assert_uint_eq(ledger_broken(&h.right) + ledger_broken(&h.left), 0);
    village_free(&h.v);
}
END_TEST

static bool are_one(struct village *v, size_t n)
{
    return village_reach(v, 1) == n;
}

START_TEST(halves_that_are_company_enough_for_themselves_find_each_other_too)
{
    static struct halves h;
    memset(&h, 0, sizeof h);
    village_build(&h.v, 2 * HALF, 25);
    for (size_t i = 0; i < 2 * HALF; i++) {
        sim_settings(h.v.node[i])->peers_wanted = FEW;
        village_boot(&h.v, i);
    }
    within(&h.v, 30000, village_all_have, FEW, "sixteen have the few connections that they want");
    sim_run(h.v.sim, 5000, NULL, NULL);
    set_cut(&h, true);
    sim_kill(h.v.node[0]);
    sim_run(h.v.sim, 1200000, NULL, NULL); /* peer_timeout_ms, four times */
    ck_assert_uint_le(village_reach(&h.v, 1), HALF);
    set_cut(&h, false);
    /* Each looks every five minutes for one that it met, and for that one every ten. */
    within(&h.v, 1800000, are_one, 2 * HALF - 1, "healed, they are one village");
    village_free(&h.v);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("village");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, fifty_that_know_one_know_all_and_the_first_may_come_and_go);
    tcase_add_test(c, after_a_power_cut_they_are_one_village_again_without_the_first);
    tcase_add_test(c, halves_that_heal_keep_what_they_had_to_say_and_hear_the_news);
    tcase_add_test(c, halves_that_were_given_up_find_each_other_without_the_first);
    tcase_add_test(c, halves_that_are_company_enough_for_themselves_find_each_other_too);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
