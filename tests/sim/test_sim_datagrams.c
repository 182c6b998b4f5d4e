/* tests/sim/test_sim_datagrams.c - unreliable datagrams of the application: they come, or they do
 * not, and never as messages. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "sim.h"

struct seen {
    size_t connected, datagrams, messages, fates, kept_len;
    size_t last_size;
    uint8_t last[1500];
    bool keep;
    tbq_event *kept[5000];
};

struct two {
    struct sim *sim;
    struct sim_node *a, *b;
    struct seen seen[2];
};

static struct two w;
static uint8_t bytes[2000];

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;

    s->connected += e->type == TBQ_EVENT_CONNECTED;
    s->messages += e->type == TBQ_EVENT_MESSAGE;
    s->fates += e->type == TBQ_EVENT_FATE;
    if (e->type != TBQ_EVENT_DATAGRAM) {
        return true;
    }
    const struct sim_node *other = n == w.a ? w.b : w.a;
    s->datagrams++;
    s->last_size = e->datagram.size;
    ck_assert_uint_le(s->last_size, sizeof s->last);
    memcpy(s->last, e->datagram.data, s->last_size);
    ck_assert_int_eq(tbq_peer_id_compare(e->peer, tbi_identity_id(other->identity)), 0);
    ck_assert_uint_ne(e->connection, 0);
    if (s->keep) {
        s->kept[s->kept_len++] = e;
    }
    return !s->keep;
}

static void run(uint64_t ms)
{
    sim_run(w.sim, ms, NULL, NULL);
}

static void begin(bool a_too, bool b_too, struct sim_link link)
{
    memset(&w, 0, sizeof w);
    w.sim = sim_new(21);
    w.a = sim_add(w.sim);
    w.b = sim_add(w.sim);
    w.a->user = &w.seen[0];
    w.b->user = &w.seen[1];
    w.a->on_event = w.b->on_event = on_event;
    sim_settings(w.a)->no_discovery = sim_settings(w.b)->no_discovery = true;
    sim_settings(w.a)->datagrams = a_too;
    sim_settings(w.b)->datagrams = b_too;
    sim_both(w.a, w.b, link);
    sim_boot(w.a);
    sim_boot(w.b);
    sim_dial(w.a, w.b, false);
}

static const tbq_peer_id *id_of(const struct sim_node *n)
{
    return tbi_identity_id(n->identity);
}

static int put(struct sim_node *from, struct sim_node *to, size_t size)
{
    return tbi_node_send_datagram(from->node, sim_now(w.sim), id_of(to),
                                  (tbq_bytes){.data = bytes, .size = size});
}

static size_t room(struct sim_node *from, struct sim_node *to)
{
    return tbi_node_datagram_room(from->node, id_of(to));
}

static tbq_stats stats_of(const struct sim_node *n)
{
    tbq_stats stats = {0};
    tbi_node_stats(n->node, &stats);
    return stats;
}

static tbq_peer peer_of(const struct sim_node *n, const struct sim_node *other)
{
    const tbq_peers *peers;
    ck_assert_int_eq(tbi_node_peers(n->node, id_of(other), &peers), 0);
    tbq_peer copy = *peers->peer[0];
    tbi_peers_free(peers);
    return copy;
}

static const struct sim_link near = {.delay_ms = 10};

START_TEST(they_go_both_ways_and_are_no_messages)
{
    begin(true, true, near);
    ck_assert_int_eq(put(w.a, w.b, 5), TBQ_ERR_NO_ROUTE); /* not connected yet */
    ck_assert_uint_eq(room(w.a, w.b), 0);
    run(500);
    size_t most = room(w.a, w.b);
    ck_assert_uint_ge(most, 1100);
    for (size_t i = 0; i < most; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    ck_assert_int_eq(put(w.a, w.b, most), 0);
    run(50);
    ck_assert_uint_eq(w.seen[1].datagrams, 1);
    ck_assert_uint_eq(w.seen[1].last_size, most);
    ck_assert_mem_eq(w.seen[1].last, bytes, most);
    ck_assert_int_eq(put(w.a, w.b, most + 1), TBQ_ERR_TOO_LARGE);
    ck_assert_int_eq(put(w.b, w.a, 0), 0); /* an empty one is one */
    run(50);
    ck_assert_uint_eq(w.seen[0].datagrams, 1);
    ck_assert_uint_eq(w.seen[0].last_size, 0);

    tbq_peer p = peer_of(w.a, w.b);
    ck_assert_uint_eq(p.datagrams_sent, 1);
    ck_assert_uint_eq(p.datagrams_received, 1);
    ck_assert_uint_eq(p.stats.sent + p.stats.received + p.stats.delivered, 0);
    ck_assert_uint_eq(w.seen[0].fates + w.seen[0].messages + w.seen[1].messages, 0);
    ck_assert_uint_eq(stats_of(w.b).datagrams_received, 1);
    sim_free(w.sim);
}
END_TEST

START_TEST(both_sides_must_want_them)
{
    begin(false, true, near);
    run(500);
    ck_assert_uint_eq(room(w.a, w.b), 0);
    ck_assert_int_eq(put(w.a, w.b, 1), TBQ_ERR_UNSUPPORTED);
    ck_assert_int_eq(put(w.b, w.a, 1), TBQ_ERR_UNSUPPORTED);
    sim_free(w.sim);
}
END_TEST

START_TEST(what_is_lost_stays_lost)
{
    struct sim_link link = near;
    link.loss = 200;
    begin(true, true, link);
    run(5000);
    ck_assert_uint_eq(w.seen[1].connected, 1);
    for (int i = 0; i < 400; i++) {
        ck_assert_int_eq(put(w.a, w.b, 1000), 0);
        run(40);
    }
    ck_assert(w.seen[1].datagrams > 250 && w.seen[1].datagrams < 370);
    sim_free(w.sim);
}
END_TEST

START_TEST(a_full_queue_says_so)
{
    size_t taken = 0;
    begin(true, true, near);
    run(500);
    while (put(w.a, w.b, 1000) == 0) {
        ck_assert_uint_lt(taken++, 200);
    }
    ck_assert_uint_eq(taken, 64);
    ck_assert_int_eq(put(w.a, w.b, 1000), TBQ_ERR_AGAIN);
    run(1000);
    ck_assert_uint_eq(w.seen[1].datagrams, 64); /* none was pushed out */
    ck_assert_int_eq(put(w.a, w.b, 1000), 0);
    tbi_node_stop(w.a->node, sim_now(w.sim), 0);
    ck_assert_int_eq(put(w.a, w.b, 1000), TBQ_ERR_CLOSED);
    sim_free(w.sim);
}
END_TEST

static void flood(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(put(w.a, w.b, 1000), 0);
        run(5);
    }
    run(100);
}

START_TEST(who_does_not_release_gets_no_more)
{
    begin(true, true, near);
    run(500);
    w.seen[1].keep = true;
    flood(1000);
    ck_assert_uint_eq(w.seen[1].datagrams, 256);
    ck_assert_uint_eq(peer_of(w.b, w.a).datagrams_dropped, 744);
    ck_assert_uint_eq(stats_of(w.b).datagrams_dropped, 744);
    for (size_t i = 0; i < w.seen[1].kept_len; i++) {
        tbi_node_event_release(w.seen[1].kept[i]);
    }
    w.seen[1].keep = false;
    flood(300);
    ck_assert_uint_eq(w.seen[1].datagrams, 556);
    sim_free(w.sim);
}
END_TEST

/* They are no use of a connection, and wake none. */
START_TEST(they_let_a_connection_rest)
{
    begin(true, true, near);
    sim_kill(w.a);
    sim_settings(w.a)->link_idle_ms = 3000;
    sim_boot(w.a);
    sim_dial(w.a, w.b, false);
    run(500);
    for (int i = 0; i < 100; i++) {
        (void)put(w.a, w.b, 100);
        run(100);
    }
    ck_assert_uint_gt(w.seen[1].datagrams, 10);
    ck_assert_uint_eq(stats_of(w.a).links_rested, 1);
    ck_assert_uint_eq(stats_of(w.a).links_woken, 0);
    ck_assert_int_eq(put(w.a, w.b, 100), TBQ_ERR_NO_ROUTE);
    sim_free(w.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("datagrams");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 600);
    tcase_add_test(c, they_go_both_ways_and_are_no_messages);
    tcase_add_test(c, both_sides_must_want_them);
    tcase_add_test(c, what_is_lost_stays_lost);
    tcase_add_test(c, a_full_queue_says_so);
    tcase_add_test(c, who_does_not_release_gets_no_more);
    tcase_add_test(c, they_let_a_connection_rest);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
