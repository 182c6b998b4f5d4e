/* tests/sim/test_sim_paths.c - two nodes with two ways between them: more than one connection, one
 * that falls silent, and a fresh one in place of one that is lost. The application hears of nothing
 * but another path; its messages arrive once and in order. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/harness.h"
#include "ledger.h"
#include "node/parts.h"
#include "sim.h"

struct seen {
    size_t connected, disconnected, paths;
    uint64_t heard_ms;   /* of the last message */
    uint64_t silence_ms; /* the longest between two messages, since it was set to 0 */
};

struct roads {
    struct sim *sim;
    struct sim_node *a, *b; /* b has two addresses */
    struct ledger ab, ba;
    struct seen seen[2];
};

static struct roads r;
static uint64_t seed; /* of what is at random, keys too */

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;

    s->connected += e->type == TBQ_EVENT_CONNECTED;
    s->disconnected += e->type == TBQ_EVENT_DISCONNECTED;
    s->paths += e->type == TBQ_EVENT_PATH;
    if (e->type == TBQ_EVENT_MESSAGE) {
        uint64_t silence = sim_ms(n->sim) - s->heard_ms;
        s->silence_ms = silence > s->silence_ms ? silence : s->silence_ms;
        s->heard_ms = sim_ms(n->sim);
    }
    ledger_event(&r.ab, n, e);
    ledger_event(&r.ba, n, e);
    return true;
}

static struct sim_node *add(size_t i, tbq_schedule schedule, uint32_t paths)
{
    struct sim_node *n = sim_add(r.sim);
    n->user = &r.seen[i];
    n->on_event = on_event;
    sim_settings(n)->no_discovery = true;
    sim_settings(n)->paths_max = paths;
    for (size_t k = 0; k < TBQ_LANES; k++) {
        sim_settings(n)->schedule[k] = schedule;
    }
    return n;
}

static bool both_ways(void *arg)
{
    (void)arg;
    return tbi_endpoint_stats(r.a->node->endpoint)->connections == 2;
}

static void run(uint64_t ms)
{
    sim_run(r.sim, ms, NULL, NULL);
}

/* One has dialled the other, and a has learnt of b's other address. */
static void begin_as(tbq_schedule schedule, uint32_t paths, bool b_dials)
{
    memset(&r, 0, sizeof r);
    r.sim = sim_new(4 + seed);
    r.a = add(0, schedule, paths);
    r.b = add(1, schedule, paths);
    ck_assert_int_eq(tbi_addr_from_text(&r.b->alias, "10.9.0.2:8443"), 0);
    sim_boot(r.a);
    sim_boot(r.b);
    sim_both(r.a, r.b, (struct sim_link){.delay_ms = 10});
    sim_other_both(r.a, r.b, (struct sim_link){.delay_ms = 20});
    ledger_begin(&r.ab, r.a, r.b);
    ledger_begin(&r.ba, r.b, r.a);
    ck_assert_int_eq(tbi_node_set_addresses(r.b->node, sim_now(r.sim), &r.b->alias, 1, NULL, 0), 0);
    sim_dial(b_dials ? r.b : r.a, b_dials ? r.a : r.b, false);
    run(500);
    ck_assert_uint_eq(r.seen[0].connected + r.seen[1].connected, 2);
}

static void begin(tbq_schedule schedule, uint32_t paths)
{
    begin_as(schedule, paths, false);
}

static void begin_two(tbq_schedule schedule)
{
    begin(schedule, 2);
    /* Both sides must have shown state: a ping does. */
    ck_assert_int_eq(ledger_send(&r.ab, 100, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert_int_eq(ledger_send(&r.ba, 100, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert(sim_run(r.sim, 5000, both_ways, NULL));
    run(200);
}

static void end(void)
{
    size_t broken = ledger_broken(&r.ab) + ledger_broken(&r.ba);
    if (broken > 0) {
        printf("%s", sim_transcript(r.sim));
    }
    ck_assert_uint_eq(broken, 0);
    sim_free(r.sim);
}

static bool settled(void *arg)
{
    (void)arg;
    return ledger_settled(&r.ab) && ledger_settled(&r.ba);
}

/* A message each way every 10 ms. */
static void talk(uint64_t ms)
{
    for (uint64_t t = 0; t < ms; t += 10) {
        ck_assert_int_eq(ledger_send(&r.ab, 300, TBQ_LANE_NORMAL, false, 0), 0);
        ck_assert_int_eq(ledger_send(&r.ba, 300, TBQ_LANE_NORMAL, false, 0), 0);
        run(10);
    }
}

static void listen_anew(void)
{
    for (size_t i = 0; i < 2; i++) {
        r.seen[i].silence_ms = 0;
        r.seen[i].heard_ms = sim_ms(r.sim);
    }
}

/* Until now. */
static uint64_t longest_silence(size_t at)
{
    uint64_t now = sim_ms(r.sim) - r.seen[at].heard_ms;
    return now > r.seen[at].silence_ms ? now : r.seen[at].silence_ms;
}

static void all_arrived(void)
{
    ck_assert(sim_run(r.sim, 30000, settled, NULL));
    ck_assert_uint_eq(r.ab.told[TBQ_DELIVERED], r.ab.sent);
    ck_assert_uint_eq(r.ba.told[TBQ_DELIVERED], r.ba.sent);
    ck_assert_uint_eq(r.seen[0].disconnected + r.seen[1].disconnected, 0);
    ck_assert_uint_eq(r.seen[0].connected + r.seen[1].connected, 2);
}

START_TEST(a_peer_with_two_addresses_gets_two_connections_and_one_event)
{
    begin_two(TBQ_FAILOVER);
    talk(500);
    all_arrived();
    ck_assert_uint_eq(tbi_endpoint_stats(r.b->node->endpoint)->connections, 2);
    ck_assert_uint_eq(r.seen[0].paths + r.seen[1].paths, 0);
    ck_assert_uint_gt(sim_other_link(r.a, r.b)->sent, 0);
    end();
}
END_TEST

START_TEST(one_connection_is_enough_where_one_is_wanted)
{
    begin(TBQ_FAILOVER, 1);
    talk(3000);
    all_arrived();
    ck_assert_uint_eq(tbi_endpoint_stats(r.a->node->endpoint)->connections, 1);
    end();
}
END_TEST

/* Two are wanted, but there is one way only; when it falls silent, that is dealt with at once all
 * the same. */
START_TEST(where_there_is_one_way_there_is_one_connection)
{
    memset(&r, 0, sizeof r);
    r.sim = sim_new(5);
    r.a = add(0, TBQ_FAILOVER, 2);
    r.b = add(1, TBQ_FAILOVER, 2);
    r.a->dual_stack = true;
    sim_boot(r.a);
    sim_boot(r.b);
    sim_both(r.a, r.b, (struct sim_link){.delay_ms = 10});
    ledger_begin(&r.ab, r.a, r.b);
    ledger_begin(&r.ba, r.b, r.a);
    ck_assert_int_eq(tbi_node_set_addresses(r.a->node, sim_now(r.sim), NULL, 0, &r.a->addr, 1), 0);
    sim_dial(r.a, r.b, false);
    run(500);
    talk(20000);
    ck_assert_uint_eq(tbi_endpoint_stats(r.a->node->endpoint)->connections, 1);
    ck_assert_uint_eq(tbi_endpoint_stats(r.a->node->endpoint)->dialled, 1);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    talk(400);
    ck_assert_uint_gt(tbi_endpoint_stats(r.a->node->endpoint)->dialled, 1);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = false;
    all_arrived();
    run(5000); /* both dialled, and keep one; the other one's remains are gone by then */
    ck_assert_uint_eq(tbi_endpoint_stats(r.a->node->endpoint)->connections, 1);
    end();
}
END_TEST

/* The quick way swallows everything from one moment to the next. _i: both directions, only there,
 * only back. */
START_TEST(a_way_that_falls_silent_costs_no_message_and_little_time)
{
    begin_two(TBQ_FAILOVER);
    talk(300);
    listen_anew();
    sim_link(r.a, r.b)->cut = _i != 2;
    sim_link(r.b, r.a)->cut = _i != 1;
    talk(2000);
    ck_assert_uint_lt(longest_silence(0), 300);
    ck_assert_uint_lt(longest_silence(1), 300);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = false;
    talk(2000);
    all_arrived();
    end();
}
END_TEST

START_TEST(redundant_lanes_notice_nothing_of_a_way_that_falls_silent)
{
    begin_two(TBQ_REDUNDANT);
    talk(300);
    listen_anew();
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    talk(1000);
    ck_assert_uint_le(longest_silence(0), 20); /* the other way is 10 ms longer */
    ck_assert_uint_le(longest_silence(1), 20);
    all_arrived();
    end();
}
END_TEST

/* Two ways of 5 Mbit/s: together they carry clearly more than one could. */
START_TEST(aggregate_uses_both_ways)
{
    begin_two(TBQ_AGGREGATE);
    sim_both(r.a, r.b, (struct sim_link){.delay_ms = 10, .rate_bps = 5000000, .queue_ms = 100});
    sim_other_both(r.a, r.b,
                   (struct sim_link){.delay_ms = 20, .rate_bps = 5000000, .queue_ms = 100});
    uint64_t began = sim_ms(r.sim);
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(ledger_send(&r.ab, 10000, TBQ_LANE_NORMAL, false, 0), 0);
    }
    all_arrived();
    uint64_t took = sim_ms(r.sim) - began;
    ck_assert_uint_lt(took, 3 * 8 * 1000 / 5 * 10 / 16); /* 3 MB; one way needs 4,800 ms */
    end();
}
END_TEST

/* One way alone, and what was under way on it is never answered: the translator has forgotten, or
 * the route is another. A fresh connection gets through. */
START_TEST(a_fresh_connection_takes_over_where_all_fall_silent)
{
    begin(TBQ_FAILOVER, 1);
    talk(300);
    listen_anew();
    sim_link(r.a, r.b)->cut = true;
    sim_link(r.b, r.a)->cut = true;
    talk(1500);
    /* Two probe timeouts, and a handshake over the longer way. */
    ck_assert_uint_lt(longest_silence(0), 500);
    ck_assert_uint_lt(longest_silence(1), 500);
    ck_assert_uint_ge(r.seen[0].paths, 1); /* it is told that the path is another */
    ck_assert_uint_ge(r.seen[1].paths, 1);
    all_arrived();
    end();
}
END_TEST

/* b dialled, and knows of one address of a; a knows of two of b. */
START_TEST(who_was_dialled_mends_it_too)
{
    begin_as(TBQ_FAILOVER, 1, true);
    talk(300);
    listen_anew();
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    talk(2000);
    ck_assert_uint_lt(longest_silence(0), 700); /* it leaves the other side a while to do it */
    ck_assert_uint_lt(longest_silence(1), 700);
    all_arrived();
    end();
}
END_TEST

/* The same while all is well, where two ways are wanted. _i: other keys, so that now the one and
 * now the other has the lower id; neither takes the two for one. */
START_TEST(who_was_dialled_adds_a_way)
{
    seed = (uint64_t)_i;
    begin_as(TBQ_FAILOVER, 2, true);
    talk(300);
    ck_assert(sim_run(r.sim, 10000, both_ways, NULL));
    run(5000);
    ck_assert(both_ways(NULL));
    all_arrived();
    end();
}
END_TEST

/* It failed a hundred times while all was cut. The pauses of the book are for dials to strangers.
 */
START_TEST(a_way_that_failed_for_long_is_tried_when_it_is_needed)
{
    begin_two(TBQ_FAILOVER);
    talk(300);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    sim_other_link(r.a, r.b)->cut = sim_other_link(r.b, r.a)->cut = true;
    run(200000);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = false;
    ck_assert(sim_run(r.sim, 100000, settled, NULL));
    talk(1000);
    sim_other_link(r.a, r.b)->cut = sim_other_link(r.b, r.a)->cut = false;
    listen_anew();
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    talk(2000);
    ck_assert_uint_lt(longest_silence(0), 1000);
    ck_assert_uint_lt(longest_silence(1), 1000);
    ck_assert(sim_run(r.sim, 30000, settled, NULL));
    end();
}
END_TEST

/* The connection that the peer is known by ends, and the other one goes on. */
START_TEST(a_connection_that_ends_is_not_the_end)
{
    begin_two(TBQ_FAILOVER);
    talk(100);
    struct tbi_contact *c = tbi_map_value(tbi_map_first(&r.a->node->contacts));
    tbi_conn_close(tbi_session_conn(c->session), sim_now(r.sim), TBI_CLOSE_INTERNAL, "lost");
    talk(1000);
    all_arrived();
    ck_assert_uint_eq(r.seen[0].paths, 1);
    ck_assert_uint_eq(r.seen[1].paths, 1);
    end();
}
END_TEST

/* Everything is silent for a minute: the link heals by itself. */
START_TEST(a_partition_heals)
{
    begin_two(TBQ_FAILOVER);
    talk(300);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    sim_other_link(r.a, r.b)->cut = sim_other_link(r.b, r.a)->cut = true;
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(ledger_send(&r.ab, 300, TBQ_LANE_NORMAL, false, 0), 0);
        ck_assert_int_eq(ledger_send(&r.ba, 300, TBQ_LANE_NORMAL, false, 0), 0);
        run(200);
    }
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = false;
    sim_other_link(r.a, r.b)->cut = sim_other_link(r.b, r.a)->cut = false;
    ck_assert(sim_run(r.sim, 60000, settled, NULL));
    ck_assert_uint_eq(r.ab.told[TBQ_DELIVERED], r.ab.sent);
    ck_assert_uint_eq(r.ba.told[TBQ_DELIVERED], r.ba.sent);
    end();
}
END_TEST

/* The application closes: all connections end, and none is dialled any more. */
START_TEST(a_close_ends_all_of_them)
{
    begin_two(TBQ_FAILOVER);
    struct tbi_contact *c = tbi_map_value(tbi_map_first(&r.a->node->contacts));
    ck_assert_int_eq(tbi_node_close(r.a->node, sim_now(r.sim), c->handle), 0);
    run(5000);
    ck_assert_uint_eq(tbi_endpoint_stats(r.a->node->endpoint)->connections, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(r.b->node->endpoint)->connections, 0);
    ck_assert_uint_eq(r.seen[0].disconnected, 1);
    ck_assert_uint_eq(r.seen[1].disconnected, 1);
    sim_free(r.sim);
}
END_TEST

static bool a_further_one_is_dialled(void *arg)
{
    (void)arg;
    for (struct tbi_map_entry *e = tbi_map_first(&r.a->node->sessions); e; e = tbi_map_next(e)) {
        const struct tbi_session *s = tbi_map_value(e);
        if (s->further && !s->up) {
            return true;
        }
    }
    return false;
}

/* While one more is on its way; _i ms later, and by whom. */
START_TEST(a_close_ends_also_what_is_still_dialled)
{
    begin(TBQ_FAILOVER, 1);
    struct sim_node *closes = _i % 2 == 0 ? r.a : r.b;
    ck_assert_int_eq(ledger_send(&r.ab, 100, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert_int_eq(ledger_send(&r.ba, 100, TBQ_LANE_NORMAL, false, 0), 0);
    run(200);
    r.a->node->cfg.settings.paths_max = 2;
    ck_assert_int_eq(ledger_send(&r.ab, 100, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert(sim_run(r.sim, 5000, a_further_one_is_dialled, NULL));
    run((uint64_t)_i * 5);
    struct tbi_contact *c = tbi_map_value(tbi_map_first(&closes->node->contacts));
    ck_assert_int_eq(tbi_node_close(closes->node, sim_now(r.sim), c->handle), 0);
    run(20000);
    for (size_t i = 0; i < 2; i++) {
        bool linked = tbi_endpoint_stats((i == 0 ? r.a : r.b)->node->endpoint)->connections > 0;
        ck_assert_msg(r.seen[i].connected - r.seen[i].disconnected == (linked ? 1 : 0),
                      "%zu connected, %zu disconnected, %s", r.seen[i].connected,
                      r.seen[i].disconnected, linked ? "a connection" : "no connection");
    }
    ck_assert_uint_eq(tbi_endpoint_stats(r.a->node->endpoint)->connections, 0);
    sim_free(r.sim);
}
END_TEST

/* The only connection is lost while one more is on its way; _i: so much later. */
START_TEST(one_that_comes_too_late_is_the_first_one)
{
    begin(TBQ_FAILOVER, 1);
    talk(200);
    r.a->node->cfg.settings.paths_max = 2;
    ck_assert_int_eq(ledger_send(&r.ab, 100, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert(sim_run(r.sim, 5000, a_further_one_is_dialled, NULL));
    run((uint64_t)_i * 5);
    for (size_t i = 0; i < 2; i++) {
        struct sim_node *n = i == 0 ? r.a : r.b;
        struct tbi_contact *c = tbi_map_value(tbi_map_first(&n->node->contacts));
        tbi_session_close(c->session, TBI_CLOSE_TIMEOUT, "");
        tbi_node_step(n->node, sim_now(r.sim));
    }
    talk(3000);
    ck_assert(sim_run(r.sim, 30000, settled, NULL));
    for (size_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(r.seen[i].connected, 1 + r.seen[i].disconnected);
        struct sim_node *n = i == 0 ? r.a : r.b;
        struct tbi_contact *c = tbi_map_value(tbi_map_first(&n->node->contacts));
        ck_assert_uint_eq(tbi_map_count(&n->node->contacts), 1);
        ck_assert(c->session != NULL && c->session->up);
    }
    end();
}
END_TEST

/* Both are silent; one of them ends, the other comes back: the peer is still connected. */
START_TEST(a_silent_way_is_a_way)
{
    begin_two(TBQ_FAILOVER);
    talk(300);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    sim_other_link(r.a, r.b)->cut = sim_other_link(r.b, r.a)->cut = true;
    talk(1000);
    for (size_t i = 0; i < 2; i++) { /* as the idle timeout would, a little before the other's */
        struct sim_node *n = i == 0 ? r.a : r.b;
        struct tbi_contact *c = tbi_map_value(tbi_map_first(&n->node->contacts));
        tbi_session_close(c->session, TBI_CLOSE_TIMEOUT, "");
        tbi_node_step(n->node, sim_now(r.sim));
    }
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = false;
    sim_other_link(r.a, r.b)->cut = sim_other_link(r.b, r.a)->cut = false;
    talk(2000);
    all_arrived();
    for (size_t i = 0; i < 2; i++) {
        struct sim_node *n = i == 0 ? r.a : r.b;
        struct tbi_contact *c = tbi_map_value(tbi_map_first(&n->node->contacts));
        ck_assert_ptr_nonnull(c->session);
        ck_assert(c->session->up);
    }
    end();
}
END_TEST

static bool rests(void *arg)
{
    struct tbi_map_entry *e = tbi_map_first(&r.a->node->peers);
    struct tbi_bond *b = tbi_peer_newest(tbi_map_value(e));

    (void)arg;
    return b->further == 0 && b->further_at != TBI_NEVER &&
           b->further_at > sim_now(r.sim).mono_ns + 5 * TBI_NS_PER_S;
}

/* A second way is wanted, and never was there. The pauses between dials in vain are not waited for
 * when the first one falls silent. */
START_TEST(what_was_tried_in_vain_does_not_delay_the_mending)
{
    begin(TBQ_FAILOVER, 2);
    sim_other_link(r.a, r.b)->cut = sim_other_link(r.b, r.a)->cut = true;
    talk(60000);
    ck_assert(sim_run(r.sim, 100000, rests, NULL));
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    talk(500);
    ck_assert(a_further_one_is_dialled(NULL));
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = false;
    all_arrived();
    end();
}
END_TEST

/* --- More than are wanted --------------------------------------------------------------------- */

static struct tbi_bond *bond_of(struct sim_node *n)
{
    return tbi_peer_newest(tbi_map_value(tbi_map_first(&n->node->peers)));
}

/* a dials b once more, beside the others and over the quick way, though nobody asked for it. */
static void one_more(uint8_t number)
{
    struct tbi_bond *bond = bond_of(r.a);
    const struct tbi_dial_options options = {.needed = true};
    uint64_t conn;

    ck_assert_int_eq(
        tbi_endpoint_dial(r.a->node->endpoint, sim_now(r.sim), &r.b->addr, &options, &conn), 0);
    struct tbi_session *s = tbi_session_new(r.a->node, conn, true, &r.b->addr);
    ck_assert_ptr_nonnull(s);
    s->further = true;
    s->peer_id = bond->peer->id;
    tbi_bond_enter(bond, s);
    /* As if to another place each: none replaces the other. */
    s->remote.u.in.sin_port = htons((uint16_t)(9000 + number));
    bond->further++;
    tbi_list_push(&bond->dials, &s->attempt);
}

static uint64_t connections(struct sim_node *n)
{
    return tbi_endpoint_stats(n->node->endpoint)->connections;
}

/* Four are wanted, four are there, over one way; nothing is under way from b when the way falls
 * silent, so that all of them look sound to it. */
START_TEST(four_silent_connections_do_not_keep_out_the_one_that_mends)
{
    begin(TBQ_FAILOVER, 1);
    sim_other_link(r.a, r.b)->cut = true;
    talk(300);
    r.a->node->cfg.settings.paths_max = 4;
    for (uint8_t i = 0; i < 3; i++) {
        one_more(i);
    }
    run(1000);
    ck_assert_uint_eq(tbi_bond_paths(bond_of(r.b)).sound, 4);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    sim_other_link(r.a, r.b)->cut = false;
    ck_assert_int_eq(ledger_send(&r.ab, 300, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert(sim_run(r.sim, 10000, settled, NULL)); /* other places are tried first, in vain */
    all_arrived();
    end();
}
END_TEST

/* A client dials one after the other, all to join a link that may not have them yet. */
START_TEST(those_that_wait_to_join_are_few)
{
    tbq_stats stats = {0};

    begin(TBQ_FAILOVER, 1);
    r.a->node->cfg.settings.paths_max = 100;
    for (uint8_t i = 0; i < 20; i++) {
        one_more(i);
    }
    run(1000);
    tbi_node_stats(r.b->node, &stats);
    ck_assert_uint_eq(stats.joins_refused, 20 - TBI_JOINERS_MAX);
    ck_assert_uint_eq(connections(r.b), 1 + TBI_JOINERS_MAX);
    ck_assert_uint_eq(bond_of(r.b)->peer->joining, TBI_JOINERS_MAX);
    talk(100); /* the link may have more: as many as it may */
    run(1000);
    ck_assert_uint_eq(bond_of(r.b)->peer->joining, 0);
    ck_assert_uint_eq(tbi_bond_paths(bond_of(r.b)).sound, TBI_LINK_PATHS_MAX - 1);
    r.a->node->cfg.settings.paths_max = 1; /* who dialled closes what it does not want */
    talk(3000);
    all_arrived();
    ck_assert_uint_eq(connections(r.b), 1);
    end();
}
END_TEST

/* The same, one after the other: each joins at once. */
START_TEST(a_link_has_so_many_connections_and_no_more)
{
    tbq_stats stats = {0};

    begin(TBQ_FAILOVER, 1);
    talk(100);
    r.a->node->cfg.settings.paths_max = 100;
    for (uint8_t i = 0; i < 12; i++) {
        one_more(i);
        run(200);
        struct tbi_tally n = tbi_bond_paths(bond_of(r.b));
        ck_assert_uint_le(n.sound + n.suspect, TBI_LINK_PATHS_MAX - 1);
    }
    tbi_node_stats(r.b->node, &stats);
    ck_assert_uint_gt(stats.joins_refused + r.a->node->joins_refused, 0);
    talk(100);
    all_arrived();
    end();
}
END_TEST

/* --- The end ---------------------------------------------------------------------------------- */

static void deny(struct sim_node *n, const tbq_peer_id *id)
{
    char text[TBQ_PEER_ID_TEXT_SIZE], why[128];
    tbq_peer_id_to_text(id, text);
    tbq_bytes bytes = {text, strlen(text)};
    ck_assert_int_eq(tbi_trust_load(&n->trust, TBI_TRUST_DENY, bytes, why, sizeof why), 0);
}

/* All is silent. What becomes of messages is told when the connections are closed, all of them, and
 * not when nobody has come back for minutes. _i: who ends it, and whether it is the application, or
 * the peer is on the deny list now. */
START_TEST(the_end_of_all_connections_tells_all_fates)
{
    begin_two(TBQ_FAILOVER);
    r.a->node->cfg.settings.paths_max = 4;
    one_more(0);
    one_more(1);
    run(1000);
    struct sim_node *ends = _i % 2 == 0 ? r.a : r.b, *other = _i % 2 == 0 ? r.b : r.a;
    struct ledger *l = _i % 2 == 0 ? &r.ab : &r.ba;
    ck_assert_uint_eq(tbi_bond_paths(bond_of(ends)).sound, 4);
    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true;
    sim_other_link(r.a, r.b)->cut = sim_other_link(r.b, r.a)->cut = true;
    ck_assert_int_eq(ledger_send(l, 100, TBQ_LANE_NORMAL, false, 0), 0);
    run(10);
    if (_i < 2) {
        struct tbi_contact *c = tbi_map_value(tbi_map_first(&ends->node->contacts));
        ck_assert_int_eq(tbi_node_close(ends->node, sim_now(r.sim), c->handle), 0);
    } else {
        deny(ends, tbi_identity_id(other->identity));
        ck_assert_int_eq(tbi_node_ask_again(ends->node, sim_now(r.sim)), 4);
    }
    run(100);
    ck_assert(ledger_settled(l));
    ck_assert_uint_eq(l->told[TBQ_UNKNOWN], 1);
    ck_assert_int_eq(l->entry[l->sent - 1].reason, _i < 2 ? TBQ_ERR_CLOSED : TBQ_ERR_TRUST);
    sim_free(r.sim);
}
END_TEST

/* --- Histories made up at random -------------------------------------------------------------- */

static void change(struct tbi_rng *rng)
{
    struct sim_link *l[4] = {sim_link(r.a, r.b), sim_link(r.b, r.a), sim_other_link(r.a, r.b),
                             sim_other_link(r.b, r.a)};
    struct sim_link *one = l[tbi_rng_below(rng, 4)];

    one->cut = tbi_rng_below(rng, 4) == 0;
    one->loss = tbi_rng_below(rng, 3) == 0 ? (unsigned)tbi_rng_below(rng, 300) : 0;
    one->delay_ms = 1 + tbi_rng_below(rng, 100);
    one->reorder = (unsigned)tbi_rng_below(rng, 100);
}

static uint64_t histories(void)
{
    const char *text = getenv("HISTORIES"); /* how many; the normal run is bounded */
    return text != NULL ? strtoull(text, NULL, 10) : 40 / tbi_test_shallow();
}

static void history(uint64_t number)
{
    struct tbi_rng rng;

    tbi_test_rng(&rng, (unsigned)number);
    begin((tbq_schedule)(number % 3), 1 + (uint32_t)(number / 3 % 3));
    for (int i = 0; i < 60; i++) {
        struct ledger *l = tbi_rng_below(&rng, 2) == 0 ? &r.ab : &r.ba;
        for (uint64_t k = tbi_rng_below(&rng, 10); k > 0; k--) {
            (void)ledger_send(
                l, 4 + tbi_rng_below(&rng, tbi_rng_below(&rng, 8) == 0 ? 100000 : 900),
                (tbq_lane)tbi_rng_below(&rng, TBQ_LANES), tbi_rng_below(&rng, 4) == 0, 0);
        }
        if (tbi_rng_below(&rng, 3) == 0) {
            change(&rng);
        }
        run(tbi_rng_below(&rng, 400));
    }
    sim_both(r.a, r.b, (struct sim_link){.delay_ms = 10});
    sim_other_both(r.a, r.b, (struct sim_link){.delay_ms = 20});
    bool done = sim_run(r.sim, 400000, settled, NULL);
    if (!done || ledger_broken(&r.ab) + ledger_broken(&r.ba) > 0) {
        printf("# history %llu:\n%s", (unsigned long long)number, sim_transcript(r.sim));
    }
    ck_assert_msg(done, "history %llu: messages without a fate", (unsigned long long)number);
    ck_assert_uint_eq(r.ab.told[TBQ_UNKNOWN] + r.ba.told[TBQ_UNKNOWN], 0); /* nobody died */
    ck_assert_uint_eq(r.ab.told[TBQ_DELIVERED], r.ab.sent);
    ck_assert_uint_eq(r.ba.told[TBQ_DELIVERED], r.ba.sent);
    end();
}

START_TEST(whatever_becomes_of_the_ways_every_message_arrives_once)
{
    const char *first = getenv("HISTORY");
    uint64_t from = first != NULL ? strtoull(first, NULL, 10) : 1;
    for (uint64_t n = from; n < from + histories(); n++) {
        history(n);
    }
}
END_TEST

static const tbq_path *path_at(const tbq_peer *p, const char *address)
{
    for (size_t i = 0; i < p->paths_len; i++) {
        if (strcmp(p->paths[i]->address, address) == 0) {
            return p->paths[i];
        }
    }
    return NULL;
}

/* What the sender tells of the loss towards b after 3 MB in one direction. */
static uint32_t loss_told(unsigned permille)
{
    const tbq_peers *peers;

    begin(TBQ_FAILOVER, 1);
    sim_link(r.a, r.b)->loss = permille;
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(ledger_send(&r.ab, 10000, TBQ_LANE_NORMAL, false, 0), 0);
    }
    ck_assert(sim_run(r.sim, 120000, settled, NULL));
    ck_assert_int_eq(tbi_node_peers(r.a->node, tbi_identity_id(r.b->identity), &peers), 0);
    uint32_t told = peers->peer[0]->paths[0]->loss;
    tbi_peers_free(peers);
    end();
    return told;
}

START_TEST(the_loss_of_a_path_is_estimated)
{
    ck_assert_uint_le(loss_told(0), 5);
    uint32_t some = loss_told(20), much = loss_told(100);
    ck_assert_msg(some >= 10 && some <= 40, "2 %%: told as %u permille", some);
    ck_assert_msg(much >= 70 && much <= 150, "10 %%: told as %u permille", much);
}
END_TEST

START_TEST(each_path_is_told_of)
{
    const tbq_peers *peers;

    begin_two(TBQ_FAILOVER);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(ledger_send(&r.ab, 10000, TBQ_LANE_NORMAL, false, 0), 0);
    }
    run(1000);
    ck_assert_int_eq(tbi_node_peers(r.a->node, tbi_identity_id(r.b->identity), &peers), 0);
    const tbq_peer *p = peers->peer[0];
    ck_assert_uint_eq(p->paths_len, 2);
    const tbq_path *near = path_at(p, "10.0.0.2:8443"), *far = path_at(p, "10.9.0.2:8443");
    ck_assert_ptr_nonnull(near);
    ck_assert_ptr_nonnull(far);
    ck_assert(near->dialled && near->known_by && !near->suspect && !far->known_by);
    ck_assert_str_eq(near->local, "10.0.0.1:8443");
    ck_assert(near->rtt_us >= 20000 && near->rtt_us < 30000);
    ck_assert(far->rtt_us >= 40000 && far->rtt_us < 50000);
    ck_assert_uint_gt(near->rate, 100000);
    ck_assert_uint_gt(near->bytes_sent, 200000); /* which the nearer one carries */
    ck_assert_uint_lt(far->bytes_sent, 50000);
    ck_assert(near->bytes_received > 1000 && near->bytes_received < 100000);
    tbi_peers_free(peers);

    sim_link(r.a, r.b)->cut = sim_link(r.b, r.a)->cut = true; /* and the nearer one is silent */
    ck_assert_int_eq(ledger_send(&r.ab, 100, TBQ_LANE_NORMAL, false, 0), 0);
    run(400);
    ck_assert_int_eq(tbi_node_peers(r.a->node, tbi_identity_id(r.b->identity), &peers), 0);
    near = path_at(peers->peer[0], "10.0.0.2:8443");
    far = path_at(peers->peer[0], "10.9.0.2:8443");
    ck_assert(near->suspect && !near->known_by && far->known_by && !far->suspect);
    tbi_peers_free(peers);
    ck_assert(sim_run(r.sim, 5000, settled, NULL));
    end();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("paths");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 300);
    tcase_add_test(c, a_peer_with_two_addresses_gets_two_connections_and_one_event);
    tcase_add_test(c, one_connection_is_enough_where_one_is_wanted);
    tcase_add_test(c, where_there_is_one_way_there_is_one_connection);
    tcase_add_loop_test(c, a_way_that_falls_silent_costs_no_message_and_little_time, 0, 3);
    tcase_add_test(c, redundant_lanes_notice_nothing_of_a_way_that_falls_silent);
    tcase_add_test(c, aggregate_uses_both_ways);
    tcase_add_test(c, a_fresh_connection_takes_over_where_all_fall_silent);
    tcase_add_test(c, who_was_dialled_mends_it_too);
    tcase_add_loop_test(c, who_was_dialled_adds_a_way, 0, 6);
    tcase_add_test(c, a_way_that_failed_for_long_is_tried_when_it_is_needed);
    tcase_add_test(c, a_connection_that_ends_is_not_the_end);
    tcase_add_test(c, a_partition_heals);
    tcase_add_test(c, a_close_ends_all_of_them);
    tcase_add_loop_test(c, a_close_ends_also_what_is_still_dialled, 0, 20);
    tcase_add_loop_test(c, one_that_comes_too_late_is_the_first_one, 0, 20);
    tcase_add_test(c, a_silent_way_is_a_way);
    tcase_add_test(c, what_was_tried_in_vain_does_not_delay_the_mending);
    tcase_add_test(c, four_silent_connections_do_not_keep_out_the_one_that_mends);
    tcase_add_test(c, those_that_wait_to_join_are_few);
    tcase_add_test(c, a_link_has_so_many_connections_and_no_more);
    tcase_add_loop_test(c, the_end_of_all_connections_tells_all_fates, 0, 4);
    tcase_add_test(c, whatever_becomes_of_the_ways_every_message_arrives_once);
    tcase_add_test(c, each_path_is_told_of);
    tcase_add_test(c, the_loss_of_a_path_is_estimated);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
