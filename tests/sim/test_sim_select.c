/* tests/sim/test_sim_select.c - one node chooses among others: by what they can do, by a key, by
 * round trip, and by the load that they tell; who is loaded is passed over, who died is not asked.
 */
#include <check.h>
#include <string.h>

#include "sim.h"
#include "../unit/harness.h"

#define KEEPERS 4 /* that can store; node 0 asks, and the last one cannot */
#define NODES (KEEPERS + 2)

static struct sim *sim;
static struct sim_node *node[NODES];
static tbq_connection dial[NODES];
static tbq_select_query query;
static tbq_peer_id chosen[NODES];
static size_t connected;

static bool on_event(struct sim_node *n, tbq_event *e)
{
    connected += n == node[0] && e->type == TBQ_EVENT_CONNECTED;
    connected -= n == node[0] && e->type == TBQ_EVENT_DISCONNECTED;
    return true;
}

static bool all_up(void *arg)
{
    (void)arg;
    return connected == NODES - 1;
}

/* Node 0 dials the others, whose round trips are 20, 40, 60, ... ms. */
static void begin(void)
{
    sim = sim_new(42);
    connected = 0;
    for (size_t i = 0; i < NODES; i++) {
        node[i] = sim_add(sim);
        node[i]->on_event = on_event;
        sim_settings(node[i])->no_discovery = true;
        if (i > 0) {
            sim_settings(node[i])->ping_interval_ms = i == 2 ? 1000 : 30000;
            sim_settings(node[i])->capabilities = i <= KEEPERS ? TBQ_CAN_STORE : TBQ_CAN_ROUTE;
            sim_both(node[0], node[i], (struct sim_link){.delay_ms = 10 * i});
        }
        sim_boot(node[i]);
    }
    for (size_t i = 1; i < NODES; i++) {
        dial[i] = sim_dial(node[0], node[i], false);
    }
    ck_assert(sim_run(sim, 5000, all_up, NULL));
    tbq_select_query_init(&query);
    query.capabilities = TBQ_CAN_STORE;
    query.key = (tbq_bytes){"a key", 5};
}

static void end(void)
{
    sim_free(sim);
}

/* How many node 0 may choose from now; they stand in `chosen`. */
static int choose(void)
{
    return tbi_node_select(node[0]->node, sim_now(sim), &query, chosen, NODES);
}

static struct sim_node *choice(size_t place)
{
    for (size_t i = 0; i < NODES; i++) {
        if (tbq_peer_id_compare(tbi_identity_id(node[i]->identity), &chosen[place]) == 0) {
            return node[i];
        }
    }
    ck_abort_msg("nobody of that id");
}

static void set_load(struct sim_node *n, uint32_t load, uint32_t capacity)
{
    ck_assert_int_eq(tbi_node_set_load(n->node, sim_now(sim), load, capacity), 0);
}

/* What one node knows of another. */
static tbq_peer told(const struct sim_node *by, const struct sim_node *n)
{
    const tbq_peers *peers = NULL;
    ck_assert_int_eq(tbi_node_peers(by->node, tbi_identity_id(n->identity), &peers), 0);
    tbq_peer p = *peers->peer[0];
    tbi_peers_free(peers);
    return p;
}

static tbq_peer told_of(const struct sim_node *n)
{
    return told(node[0], n);
}

START_TEST(only_who_can_do_it_is_asked_in_the_order_of_the_key)
{
    tbq_peer_id first;

    ck_assert_int_eq(choose(), KEEPERS);
    first = chosen[0];
    for (size_t i = 0; i < KEEPERS; i++) {
        ck_assert_ptr_ne(choice(i), node[0]);
        ck_assert_ptr_ne(choice(i), node[NODES - 1]);
    }
    query.capabilities = 0;
    ck_assert_int_eq(choose(), KEEPERS + 1);
    query.include_self = true;
    ck_assert_int_eq(choose(), KEEPERS + 2);
    query.capabilities = TBQ_CAN_STORE; /* which it cannot itself */
    ck_assert_int_eq(choose(), KEEPERS);
    query.capabilities = TBQ_CAN_STORE | TBQ_CAN_VALIDATE;
    ck_assert_int_eq(choose(), 0);
    query.capabilities = TBQ_CAN_STORE;
    ck_assert_int_eq(tbi_node_select(node[0]->node, sim_now(sim), &query, chosen, 1), 1);
    ck_assert_mem_eq(&chosen[0], &first, sizeof first);
}
END_TEST

START_TEST(the_nearest_by_round_trip_comes_first)
{
    query.policy = TBQ_SELECT_LEAST_RTT;
    query.capabilities = 0;
    query.include_self = true;
    ck_assert_int_eq(choose(), NODES);
    for (size_t i = 0; i < NODES; i++) {
        ck_assert_ptr_eq(choice(i), node[i]);
    }
}
END_TEST

START_TEST(a_load_travels_and_who_is_loaded_is_passed_over)
{
    ck_assert_int_eq(choose(), KEEPERS);
    struct sim_node *first = choice(0), *second = choice(1);

    ck_assert(!told_of(first).load_told);
    ck_assert_uint_eq(told_of(first).capacity, TBQ_CAPACITY_DEFAULT);
    for (size_t i = 1; i <= KEEPERS; i++) {
        set_load(node[i], node[i] == first ? 900 : 300, 0);
    }
    sim_run(sim, 100, NULL, NULL); /* at once: nothing was told before */
    ck_assert(told_of(first).load_told);
    ck_assert_uint_eq(told_of(first).load, 900);
    ck_assert_uint_eq(told_of(second).load, 300);
    ck_assert_int_eq(choose(), KEEPERS);
    ck_assert_ptr_eq(choice(0), second);
    ck_assert_ptr_eq(choice(KEEPERS - 1), first);
    query.ignore_load = true;
    ck_assert_int_eq(choose(), KEEPERS);
    ck_assert_ptr_eq(choice(0), first);
    query.ignore_load = false;
    query.key = (tbq_bytes){0}; /* without a key: of two the less loaded */
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(choose(), KEEPERS);
        ck_assert_ptr_eq(choice(KEEPERS - 1), first);
    }
    query.key = (tbq_bytes){"a key", 5};
    set_load(first, 300, 1000); /* it has calmed down, and grown */
    sim_run(sim, 1100, NULL, NULL);
    ck_assert_uint_eq(told_of(first).load, 300);
    ck_assert_uint_eq(told_of(first).capacity, 1000);
    ck_assert_int_eq(choose(), KEEPERS);
    ck_assert_ptr_eq(choice(0), first);
}
END_TEST

START_TEST(a_load_that_moves_all_the_time_is_told_once_a_second)
{
    struct sim_node *n = node[1];

    set_load(n, 500, 0);
    sim_run(sim, 100, NULL, NULL);
    uint64_t before = told_of(n).stats.received;
    for (uint32_t i = 0; i < 500; i++) { /* five seconds */
        set_load(n, i % 2 == 0 ? 0 : 1000, 0);
        sim_run(sim, 10, NULL, NULL);
    }
    uint64_t times = told_of(n).stats.received - before;
    ck_assert_uint_ge(times, 4);
    ck_assert_uint_le(times, 6);
    set_load(n, 777, 0);
    sim_run(sim, 1100, NULL, NULL);
    ck_assert_uint_eq(told_of(n).load, 777);

    before = told_of(n).stats.received;
    set_load(n, 777 + 49, 0); /* too little to say */
    sim_run(sim, 3000, NULL, NULL);
    ck_assert_uint_eq(told_of(n).stats.received, before);
    set_load(n, 777 + 50, 0);
    sim_run(sim, 1100, NULL, NULL);
    ck_assert_uint_eq(told_of(n).load, 827);
    set_load(n, 840, 0);
    sim_run(sim, 31000, NULL, NULL); /* but it goes with the next ping */
    ck_assert_uint_eq(told_of(n).load, 840);
    set_load(n, UINT32_MAX, UINT32_MAX);
    sim_run(sim, 1100, NULL, NULL);
    ck_assert_uint_eq(told_of(n).load, 65535);
    ck_assert_uint_eq(told_of(n).capacity, 65535);
}
END_TEST

START_TEST(who_pings_often_is_told_with_the_answers)
{
    set_load(node[0], 300, 0);
    sim_run(sim, 500, NULL, NULL);
    set_load(node[0], 320, 0); /* too little to tell at once */
    sim_run(sim, 1500, NULL, NULL);
    ck_assert_uint_eq(told(node[2], node[0]).load, 320); /* it pings every second */
    ck_assert_uint_eq(told(node[3], node[0]).load, 300);

    /* Other lanes may lag behind the one that tells it: their answers do not. */
    tbq_send_options o = {.size = sizeof o, .lane = TBQ_LANE_LOW};
    tbq_message ping = tbq_ping();
    ck_assert_int_eq(tbi_node_send_to(node[3]->node, sim_now(sim),
                                      tbi_identity_id(node[0]->identity), &ping, &o),
                     0);
    sim_run(sim, 500, NULL, NULL);
    ck_assert_uint_eq(told(node[3], node[0]).load, 300);
    o.lane = TBQ_LANE_CRITICAL;
    ck_assert_int_eq(tbi_node_send_to(node[3]->node, sim_now(sim),
                                      tbi_identity_id(node[0]->identity), &ping, &o),
                     0);
    sim_run(sim, 500, NULL, NULL);
    ck_assert_uint_eq(told(node[3], node[0]).load, 320);
}
END_TEST

START_TEST(who_has_told_its_load_tells_newcomers_and_a_new_process_has_told_nothing)
{
    set_load(node[1], 600, 50);
    sim_kill(node[0]); /* the one that asks comes anew */
    connected = 0;
    sim_boot(node[0]);
    dial[1] = sim_dial(node[0], node[1], false);
    sim_run(sim, 500, NULL, NULL);
    ck_assert_uint_eq(told_of(node[1]).load, 600);
    ck_assert_uint_eq(told_of(node[1]).capacity, 50);
    sim_kill(node[1]);
    sim_boot(node[1]);
    sim_dial(node[1], node[0], false);
    sim_run(sim, 500, NULL, NULL);
    ck_assert(!told_of(node[1]).load_told);
    ck_assert_uint_eq(told_of(node[1]).capacity, TBQ_CAPACITY_DEFAULT);
}
END_TEST

static bool one_is_gone(void *arg)
{
    (void)arg;
    return connected == NODES - 2;
}

START_TEST(who_died_leaves_the_choice_and_comes_back_with_its_return)
{
    ck_assert_int_eq(choose(), KEEPERS);
    struct sim_node *first = choice(0), *second = choice(1);

    sim_kill(first);
    ck_assert(sim_run(sim, 200000, one_is_gone, NULL));
    ck_assert_int_eq(choose(), KEEPERS - 1);
    ck_assert_ptr_eq(choice(0), second);
    sim_boot(first);
    sim_dial(first, node[0], false);
    ck_assert(sim_run(sim, 60000, all_up, NULL));
    ck_assert_int_eq(choose(), KEEPERS);
    ck_assert_ptr_eq(choice(0), first);
}
END_TEST

START_TEST(who_was_left_in_peace_may_be_chosen_and_dialled)
{
    ck_assert_int_eq(choose(), KEEPERS);
    struct sim_node *first = choice(0);
    size_t i = 1;

    while (node[i] != first) {
        i++;
    }
    ck_assert_int_eq(tbi_node_close(node[0]->node, sim_now(sim), dial[i]), 0);
    ck_assert(sim_run(sim, 5000, one_is_gone, NULL));
    ck_assert_int_eq(choose(), KEEPERS);
    ck_assert_ptr_eq(choice(0), first);
    query.policy = TBQ_SELECT_LEAST_RTT; /* nobody knows how far it is now */
    ck_assert_int_eq(choose(), KEEPERS);
    ck_assert_ptr_eq(choice(KEEPERS - 1), first);
    query.policy = TBQ_SELECT_DEFAULT;
    query.connected_only = true;
    ck_assert_int_eq(choose(), KEEPERS - 1);
    query.connected_only = false;
    query.recent_ms = 60000;
    sim_run(sim, 61000, NULL, NULL);
    ck_assert_int_eq(choose(), KEEPERS - 1); /* that is long ago */
    query.recent_ms = 300000;
    ck_assert_int_eq(choose(), KEEPERS);

    struct tbi_target target = {.pinned = true, .id = chosen[0]};
    tbq_connection c;
    ck_assert_int_eq(tbi_node_connect(node[0]->node, sim_now(sim), &target, false, &c), 0);
    ck_assert(sim_run(sim, 5000, all_up, NULL));
}
END_TEST

START_TEST(who_stopped_is_not_chosen)
{
    ck_assert_int_eq(choose(), KEEPERS);
    struct sim_node *first = choice(0);

    tbi_node_stop(first->node, sim_now(sim), 1000);
    ck_assert_int_eq(tbi_node_set_load(first->node, sim_now(sim), 1, 0), TBQ_ERR_CLOSED);
    ck_assert(sim_run(sim, 5000, one_is_gone, NULL));
    ck_assert_int_eq(choose(), KEEPERS - 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("choices in the simulator");
    TCase *c = tcase_create("stories");
    tcase_add_checked_fixture(c, begin, end);
    tcase_add_test(c, only_who_can_do_it_is_asked_in_the_order_of_the_key);
    tcase_add_test(c, the_nearest_by_round_trip_comes_first);
    tcase_add_test(c, a_load_travels_and_who_is_loaded_is_passed_over);
    tcase_add_test(c, a_load_that_moves_all_the_time_is_told_once_a_second);
    tcase_add_test(c, who_pings_often_is_told_with_the_answers);
    tcase_add_test(c, who_has_told_its_load_tells_newcomers_and_a_new_process_has_told_nothing);
    tcase_add_test(c, who_died_leaves_the_choice_and_comes_back_with_its_return);
    tcase_add_test(c, who_was_left_in_peace_may_be_chosen_and_dialled);
    tcase_add_test(c, who_stopped_is_not_chosen);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
