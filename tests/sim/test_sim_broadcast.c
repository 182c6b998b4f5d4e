/* tests/sim/test_sim_broadcast.c - one message to all, with a fate for each and the counts. */
#include <check.h>
#include <string.h>

#include "sim.h"
#include "../unit/harness.h"

#define PEERS 5

struct world {
    struct sim *sim;
    struct sim_node *hub;
    struct sim_node *peer[PEERS];
    size_t connected;
    size_t got[PEERS];
    bool refuses[PEERS];
    size_t fates;
    bool told;
    bool fate_after_counts;
    uint64_t tag;
    tbq_counts counts;
};

static bool on_hub(struct sim_node *n, tbq_event *e)
{
    struct world *w = n->user;
    w->connected += e->type == TBQ_EVENT_CONNECTED;
    if (e->type == TBQ_EVENT_FATE) {
        ck_assert_ptr_nonnull(e->peer);
        ck_assert_uint_eq(e->connection, 0);
        w->fates++;
        w->fate_after_counts |= w->told;
    }
    if (e->type == TBQ_EVENT_BROADCAST) {
        ck_assert(!w->told);
        w->told = true;
        w->tag = e->tag;
        w->counts = e->counts;
    }
    return true;
}

static bool on_peer(struct sim_node *n, tbq_event *e)
{
    struct world *w = n->user;
    for (size_t i = 0; i < PEERS; i++) {
        if (w->peer[i] == n && e->type == TBQ_EVENT_MESSAGE) {
            w->got[i]++;
            if (w->refuses[i]) {
                tbi_node_event_refuse(e);
                return false;
            }
        }
    }
    return true;
}

static bool all_up(void *arg)
{
    return ((struct world *)arg)->connected == PEERS;
}

static bool told(void *arg)
{
    return ((struct world *)arg)->told;
}

static void build(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(21);
    w->hub = sim_add(w->sim);
    w->hub->on_event = on_hub;
    w->hub->user = w;
    sim_settings(w->hub)->no_discovery = true;
    sim_settings(w->hub)->peer_timeout_ms = 5000;
    sim_settings(w->hub)->ping_interval_ms = 500;
    sim_settings(w->hub)->idle_timeout_ms = 2000;
    for (size_t i = 0; i < PEERS; i++) {
        w->peer[i] = sim_add(w->sim);
        w->peer[i]->on_event = on_peer;
        w->peer[i]->user = w;
        sim_settings(w->peer[i])->no_discovery = true;
        sim_both(w->hub, w->peer[i], (struct sim_link){.delay_ms = 10});
    }
    sim_boot(w->hub);
    for (size_t i = 0; i < PEERS; i++) {
        sim_boot(w->peer[i]);
        sim_dial(w->peer[i], w->hub, true);
    }
    ck_assert(sim_run(w->sim, 5000, all_up, w));
}

static int broadcast(struct world *w, uint64_t tag)
{
    tbq_send_options o;
    tbq_message m = tbq_transition("to all", 6);
    tbq_send_options_init(&o);
    o.tag = tag;
    return tbi_node_broadcast(w->hub->node, sim_now(w->sim), &m, &o);
}

START_TEST(everybody_gets_it_once_and_the_counts_come_last)
{
    struct world w;

    build(&w);
    ck_assert_int_eq(broadcast(&w, 42), PEERS);
    ck_assert(sim_run(w.sim, 5000, told, &w));
    ck_assert_uint_eq(w.tag, 42);
    ck_assert_uint_eq(w.fates, PEERS);
    ck_assert_uint_eq(w.counts.delivered, PEERS);
    ck_assert_uint_eq(w.counts.not_delivered + w.counts.unknown, 0);
    for (size_t i = 0; i < PEERS; i++) {
        ck_assert_uint_eq(w.got[i], 1);
    }
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert(!w.fate_after_counts);
    sim_free(w.sim);
}
END_TEST

START_TEST(one_that_is_gone_is_unknown_and_one_that_refuses_is_told_so)
{
    struct world w;

    build(&w);
    w.refuses[1] = true;
    sim_link(w.hub, w.peer[3])->cut = sim_link(w.peer[3], w.hub)->cut = true; /* as if stopped */
    ck_assert_int_eq(broadcast(&w, 1), PEERS);
    sim_run(w.sim, 200, NULL, NULL);
    ck_assert_uint_eq(w.fates, PEERS - 1); /* it holds up nobody */
    ck_assert(!w.told);
    ck_assert(sim_run(w.sim, 60000, told, &w));
    ck_assert_uint_eq(w.counts.delivered, PEERS - 2);
    ck_assert_uint_eq(w.counts.not_delivered, 1);
    ck_assert_uint_eq(w.counts.unknown, 1);
    sim_free(w.sim);
}
END_TEST

START_TEST(what_cannot_be_broadcast_is_refused_by_name)
{
    struct world w;
    tbq_send_options o;
    tbq_message m = tbq_ping();

    build(&w);
    tbq_send_options_init(&o);
    ck_assert_int_eq(tbi_node_broadcast(w.hub->node, sim_now(w.sim), &m, &o), TBQ_ERR_UNSUPPORTED);
    m = tbq_transition(NULL, (size_t)2 << 20);
    ck_assert_int_eq(tbi_node_broadcast(w.hub->node, sim_now(w.sim), &m, &o), TBQ_ERR_TOO_LARGE);
    m.kind = TBQ_PEER_LIST;
    ck_assert_int_eq(tbi_node_broadcast(w.hub->node, sim_now(w.sim), &m, &o), TBQ_ERR_UNSUPPORTED);
    m.kind = TBQ_ANNOUNCE; /* the own record, to all */
    ck_assert_int_eq(tbi_node_broadcast(w.hub->node, sim_now(w.sim), &m, &o), PEERS);
    ck_assert(sim_run(w.sim, 5000, told, &w));
    ck_assert_uint_eq(w.counts.delivered, PEERS);
    tbi_node_stop(w.hub->node, sim_now(w.sim), 100);
    ck_assert_int_eq(broadcast(&w, 1), TBQ_ERR_CLOSED);
    sim_free(w.sim);

    struct sim *sim = sim_new(3);
    struct sim_node *alone = sim_add(sim);
    sim_boot(alone);
    m = tbq_transition("x", 1);
    ck_assert_int_eq(tbi_node_broadcast(alone->node, sim_now(sim), &m, &o), TBQ_ERR_NO_ROUTE);
    sim_free(sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("broadcast");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, everybody_gets_it_once_and_the_counts_come_last);
    tcase_add_test(c, one_that_is_gone_is_unknown_and_one_that_refuses_is_told_so);
    tcase_add_test(c, what_cannot_be_broadcast_is_refused_by_name);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
