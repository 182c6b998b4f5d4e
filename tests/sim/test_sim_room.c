/* tests/sim/test_sim_room.c - a node that has as many connections as it may have, and must dial one
 * more: which one makes room, and which never does. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "sim.h"

#define PEERS 4 /* as many as max_connections allows */

struct seen {
    size_t connected, disconnected, resting, failed, messages;
    int reason; /* of the last failure or end */
    tbq_event *kept;
    bool keep;
};

struct full {
    struct sim *sim;
    struct sim_node *a, *peer[PEERS], *late;
    struct seen seen[2 + PEERS]; /* a, the peers, the late one */
};

static struct full w;

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;

    s->connected += e->type == TBQ_EVENT_CONNECTED;
    s->disconnected += e->type == TBQ_EVENT_DISCONNECTED;
    s->resting += e->type == TBQ_EVENT_RESTING;
    s->failed += e->type == TBQ_EVENT_CONNECT_FAILED;
    s->messages += e->type == TBQ_EVENT_MESSAGE;
    s->reason = e->reason != 0 ? e->reason : s->reason;
    if (e->type == TBQ_EVENT_MESSAGE && s->keep) {
        s->kept = e;
        return false;
    }
    return true;
}

static struct sim_node *add(struct seen *s)
{
    struct sim_node *n = sim_add(w.sim);
    n->user = s;
    n->on_event = on_event;
    sim_settings(n)->no_discovery = true;
    return n;
}

static void run(uint64_t ms)
{
    sim_run(w.sim, ms, NULL, NULL);
}

static int say(struct sim_node *from, struct sim_node *to)
{
    tbq_message m = {.kind = TBQ_TRANSITION, .u.transition = {"hello", 5}};
    tbq_send_options o;
    tbq_send_options_init(&o);
    return tbi_node_send_to(from->node, sim_now(w.sim), tbi_identity_id(to->identity), &m, &o);
}

/* All nodes, and a's connections: dialled by a where `dials`, else by the peers. */
static void begin(bool dials, bool persistent)
{
    memset(&w, 0, sizeof w);
    w.sim = sim_new(11);
    w.a = add(&w.seen[0]);
    sim_settings(w.a)->max_connections = PEERS;
    sim_settings(w.a)->peer_timeout_ms = 600000;
    for (size_t i = 0; i < PEERS; i++) {
        w.peer[i] = add(&w.seen[1 + i]);
    }
    w.late = add(&w.seen[1 + PEERS]);
    sim_boot(w.a);
    sim_boot(w.late);
    sim_both(w.a, w.late, (struct sim_link){.delay_ms = 10});
    for (size_t i = 0; i < PEERS; i++) {
        sim_both(w.a, w.peer[i], (struct sim_link){.delay_ms = 10});
        sim_boot(w.peer[i]);
        sim_dial(dials ? w.a : w.peer[i], dials ? w.peer[i] : w.a, persistent);
        run(500);
        ck_assert_int_eq(say(w.a, w.peer[i]), 0); /* used in this order */
        run(500);
    }
    ck_assert_uint_eq(w.seen[0].connected, PEERS);
}

static uint64_t closed_for_room(void)
{
    tbq_stats stats = {0};
    tbi_node_stats(w.a->node, &stats);
    return stats.closed_for_room;
}

static bool is_connected(const struct sim_node *n)
{
    const tbq_peers *peers;
    ck_assert_int_eq(tbi_node_peers(w.a->node, tbi_identity_id(n->identity), &peers), 0);
    bool yes = peers->peer[0]->connected;
    tbi_peers_free(peers);
    return yes;
}

START_TEST(the_longest_unused_one_that_was_dialled_makes_room)
{
    begin(true, false);
    run(20000);
    ck_assert_int_eq(say(w.a, w.peer[0]), 0); /* now the second is the longest unused */
    run(2000);
    sim_dial(w.a, w.late, false);
    run(4000);
    ck_assert(is_connected(w.late));
    ck_assert(!is_connected(w.peer[1]));
    ck_assert(is_connected(w.peer[0]) && is_connected(w.peer[2]) && is_connected(w.peer[3]));
    ck_assert_uint_eq(closed_for_room(), 1);
    ck_assert_uint_eq(w.seen[0].resting, 1);
    ck_assert_uint_eq(w.seen[0].disconnected, 0);

    run(20000); /* the next send to it takes the place of the next one */
    ck_assert_int_eq(say(w.a, w.peer[1]), 0);
    run(5000);
    ck_assert_uint_eq(w.seen[2].messages, 2);
    ck_assert(!is_connected(w.peer[2]));
    ck_assert_uint_eq(closed_for_room(), 2);
    sim_free(w.sim);
}
END_TEST

START_TEST(one_that_has_dialled_is_told_to_come_again_later)
{
    begin(false, false);
    run(20000);
    sim_dial(w.a, w.late, false);
    run(4000);
    ck_assert(is_connected(w.late));
    ck_assert(!is_connected(w.peer[0]));
    ck_assert_uint_eq(closed_for_room(), 1);
    ck_assert_uint_eq(w.seen[1].disconnected, 1);
    ck_assert_int_eq(w.seen[1].reason, TBQ_ERR_LIMIT);
    sim_free(w.sim);
}
END_TEST

START_TEST(what_is_in_use_held_or_named_stays)
{
    begin(true, true); /* bootstrap nodes */
    run(60000);
    sim_dial(w.a, w.late, false);
    run(10000);
    ck_assert_uint_eq(w.seen[0].failed, 1);
    ck_assert_int_eq(w.seen[0].reason, TBQ_ERR_LIMIT);
    ck_assert_uint_eq(w.seen[0].resting + closed_for_room(), 0);
    sim_free(w.sim);

    begin(true, false);
    run(6000); /* the last one was used less than 10 s ago, the first is held */
    for (size_t i = 0; i < PEERS; i++) {
        w.seen[1 + i].keep = true;
        ck_assert_int_eq(say(w.a, w.peer[i]), 0);
    }
    run(60000);
    sim_dial(w.a, w.late, false);
    run(10000);
    ck_assert_uint_eq(w.seen[0].failed, 1);
    ck_assert_uint_eq(closed_for_room(), 0);
    sim_free(w.sim);

    begin(true, false);
    run(2000); /* used a moment ago, all of them */
    sim_dial(w.a, w.late, false);
    run(3000);
    ck_assert_uint_eq(closed_for_room(), 0);
    sim_free(w.sim);
}
END_TEST

START_TEST(company_pushes_nobody_out)
{
    begin(true, false);
    run(60000);
    sim_settings(w.a)->max_connections = PEERS;
    w.a->node->cfg.settings.no_discovery = false;
    ck_assert_int_eq(tbi_book_met(&w.a->node->discovery.book, sim_now(w.sim),
                                  tbi_identity_id(w.late->identity), &w.late->addr),
                     0);
    tbi_discovery_want(w.a->node);
    run(60000);
    ck_assert_uint_eq(closed_for_room(), 0);
    ck_assert_uint_eq(w.seen[0].resting, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(w.a->node->endpoint)->connections, PEERS);
    sim_free(w.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("room");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 600);
    tcase_add_test(c, the_longest_unused_one_that_was_dialled_makes_room);
    tcase_add_test(c, one_that_has_dialled_is_told_to_come_again_later);
    tcase_add_test(c, what_is_in_use_held_or_named_stays);
    tcase_add_test(c, company_pushes_nobody_out);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
