/* tests/sim/test_sim_flow.c - how fast, and in how much memory: the congestion controllers are the
 * ones that were asked for, windows grow to fill a long path and no further, and the budget of a
 * server holds whatever its peers do. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "sim.h"
#include "../unit/harness.h"

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)
#define MESSAGE_MAX 200000U
#define WINDOW (2 * KIB(64) + KIB(64)) /* the least, for messages of 64 KiB */
#define SENDERS_MAX 12
#define HELD_MAX 4096

/* Senders that always have something to say to the one who listens. */
static struct {
    struct sim *sim;
    struct sim_node *to;
    struct sim_node *from[SENDERS_MAX];
    size_t len;
    size_t size;               /* of their messages, bytes */
    uint64_t got[SENDERS_MAX]; /* bytes */
    bool quiet;                /* nobody sends any more */
    bool keeps;                /* what comes is not released */
    tbq_event *held[HELD_MAX];
    size_t held_len;
    uint64_t most_grown; /* bytes of the budget */
} w;

static void send_more(struct sim_node *n)
{
    static uint8_t bytes[MESSAGE_MAX];
    tbq_message m = tbq_transition(bytes, w.size);
    tbq_send_options o = {.size = sizeof o, .lane = TBQ_LANE_NORMAL};

    while (!w.quiet && tbi_node_send_to(n->node, sim_now(w.sim), tbi_identity_id(w.to->identity),
                                        &m, &o) == 0) {
    }
}

static bool on_sender(struct sim_node *n, tbq_event *e)
{
    if (e->type == TBQ_EVENT_CONNECTED || e->type == TBQ_EVENT_WRITABLE) {
        send_more(n);
    }
    return true;
}

static tbq_stats stats(void)
{
    tbq_stats s = {0};
    tbi_node_stats(w.to->node, &s);
    return s;
}

static bool on_listener(struct sim_node *n, tbq_event *e)
{
    (void)n;
    if (e->type != TBQ_EVENT_MESSAGE) {
        return true;
    }
    for (size_t i = 0; i < w.len; i++) {
        if (memcmp(e->peer, tbi_identity_id(w.from[i]->identity), sizeof *e->peer) == 0) {
            w.got[i] += e->message->u.transition.size;
        }
    }
    uint64_t grown = stats().receive_grown;
    w.most_grown = grown > w.most_grown ? grown : w.most_grown;
    if (w.keeps) {
        ck_assert_uint_lt(w.held_len, HELD_MAX);
        w.held[w.held_len++] = e;
        return false;
    }
    return true;
}

static struct sim_node *add(bool (*on_event)(struct sim_node *, tbq_event *))
{
    struct sim_node *n = sim_add(w.sim);
    tbq_config *c = sim_settings(n);

    n->on_event = on_event;
    c->max_message_size = (uint32_t)KIB(64);
    c->receive_window = c->receive_window_max = WINDOW;
    c->outbox_bytes = MIB(16);
    c->no_discovery = true;
    return n;
}

static void begin(size_t senders, struct sim_link link)
{
    memset(&w, 0, sizeof w);
    w.sim = sim_new(77);
    w.size = 60000;
    w.to = add(on_listener);
    for (size_t i = 0; i < senders; i++) {
        w.from[w.len++] = add(on_sender);
        sim_both(w.from[i], w.to, link);
    }
}

static void run(uint64_t ms)
{
    sim_run(w.sim, ms, NULL, NULL);
}

static void boot(void)
{
    sim_boot(w.to);
    for (size_t i = 0; i < w.len; i++) {
        sim_boot(w.from[i]);
        sim_dial(w.from[i], w.to, true);
    }
}

static void release(size_t most)
{
    size_t n = most < w.held_len ? most : w.held_len;

    for (size_t i = 0; i < n; i++) {
        tbi_node_event_release(w.held[i]);
    }
    memmove(w.held, w.held + n, (w.held_len - n) * sizeof w.held[0]);
    w.held_len -= n;
}

static void end(void)
{
    release(HELD_MAX);
    sim_free(w.sim);
}

/* --- Congestion ------------------------------------------------------------------------------- */

static void begin_with(tbq_congestion congestion, struct sim_link link)
{
    begin(1, link);
    sim_settings(w.from[0])->congestion = congestion;
    sim_settings(w.to)->receive_window = sim_settings(w.to)->receive_window_max = MIB(8);
    boot();
}

/* Bytes a second over a path of 20 Mbit/s that loses so many of a thousand packets by chance. */
static uint64_t goodput(tbq_congestion congestion, unsigned loss)
{
    begin_with(congestion,
               (struct sim_link){.delay_ms = 25, .rate_bps = 20000000, .queue_ms = 100});
    sim_link(w.from[0], w.to)->loss = loss;
    run(2000);
    uint64_t before = w.got[0];
    run(10000);
    uint64_t rate = (w.got[0] - before) / 10;
    end();
    return rate;
}

START_TEST(bbr_goes_on_where_loss_by_chance_slows_the_others)
{
    static const unsigned loss[] = {0, 10, 50};
    uint64_t cubic[3], bbr[3], reno[3];

    for (size_t i = 0; i < 3; i++) {
        cubic[i] = goodput(TBQ_CUBIC, loss[i]);
        bbr[i] = goodput(TBQ_BBR, loss[i]);
        reno[i] = goodput(TBQ_RENO, loss[i]);
        printf("# loss of %u permille, bytes a second: cubic %llu, bbr %llu, reno %llu\n", loss[i],
               (unsigned long long)cubic[i], (unsigned long long)bbr[i],
               (unsigned long long)reno[i]);
    }
    ck_assert(cubic[0] > 2000000 && bbr[0] > 2000000 && reno[0] > 2000000);
    ck_assert(bbr[1] > 4 * cubic[1] && bbr[1] > 4 * reno[1]); /* 5 to 6 times, by the seed */
    ck_assert(bbr[2] > 3 * cubic[2] && bbr[2] > 3 * reno[2]);
}
END_TEST

static uint64_t rate(void)
{
    const tbq_peers *peers;
    ck_assert_int_eq(tbi_node_peers(w.from[0]->node, tbi_identity_id(w.to->identity), &peers), 0);
    ck_assert_uint_eq(peers->peer[0]->paths_len, 1);
    uint64_t found = peers->peer[0]->paths[0]->rate;
    tbi_peers_free(peers);
    return found;
}

/* What is left, in percent, of the congestion window at its largest when something was lost. */
static uint64_t left_after_a_loss(tbq_congestion congestion)
{
    uint64_t most = 0, left = 100;

    begin_with(congestion, (struct sim_link){.delay_ms = 50, .rate_bps = 400000000});
    struct sim_link *there = sim_link(w.from[0], w.to);
    run(900);
    there->loss = 20;
    while (there->lost == 0) {
        run(1);
    }
    there->loss = 0;
    for (int i = 0; i < 250; i++) {
        uint64_t now = rate();
        most = now > most ? now : most;
        left = now * 100 / most < left ? now * 100 / most : left;
        run(1);
    }
    end();
    return left;
}

START_TEST(each_controller_answers_a_loss_in_its_own_way)
{
    uint64_t cubic = left_after_a_loss(TBQ_CUBIC);
    uint64_t bbr = left_after_a_loss(TBQ_BBR);
    uint64_t reno = left_after_a_loss(TBQ_RENO);

    printf("# a loss leaves of the window: cubic %llu %%, bbr %llu %%, reno %llu %%\n",
           (unsigned long long)cubic, (unsigned long long)bbr, (unsigned long long)reno);
    ck_assert(reno >= 44 && reno <= 56);   /* half: RFC 9002, section 7.3.2 */
    ck_assert(cubic >= 60 && cubic <= 76); /* seven tenths: RFC 9438, section 4.6 */
    ck_assert_uint_gt(bbr, 80);
}
END_TEST

START_TEST(a_connection_begins_with_ten_packets)
{
    begin_with(TBQ_CUBIC, (struct sim_link){.delay_ms = 50});
    run(199); /* the handshake, and CONFIRM is on its way */
    uint64_t before = sim_link(w.from[0], w.to)->bytes;
    run(100);
    uint64_t bytes = sim_link(w.from[0], w.to)->bytes - before;
    printf("# the first flight: %llu bytes\n", (unsigned long long)bytes);
    ck_assert_uint_gt(bytes, 10 * 1200);
    ck_assert_uint_le(bytes, 15 * 1200); /* what acknowledged the handshake has added a little */
    end();
}
END_TEST

/* --- Windows ---------------------------------------------------------------------------------- */

#define LONG_PATH                                                                                  \
    (struct sim_link)                                                                              \
    {                                                                                              \
        .delay_ms = 50, .rate_bps = 100000000, .queue_ms = 200                                     \
    }
#define LONG_PATH_HOLDS 1250000U /* bytes: rate times round trip */

static uint64_t goodput_over_the_long_path(size_t window_max)
{
    begin(1, LONG_PATH);
    sim_settings(w.to)->receive_window_max = window_max;
    sim_settings(w.to)->receive_budget = MIB(128);
    boot();
    run(4000);
    uint64_t before = w.got[0];
    run(4000);
    return (w.got[0] - before) / 4;
}

START_TEST(a_window_grows_until_it_fills_the_path_and_no_further)
{
    uint64_t fixed = goodput_over_the_long_path(WINDOW);
    ck_assert_uint_eq(stats().windows_grown, 0);
    ck_assert_uint_eq(stats().receive_grown, 0);
    end();
    uint64_t grown = goodput_over_the_long_path(MIB(16));
    tbq_stats s = stats();
    printf("# bytes a second: window of 192 KiB %llu, growing %llu; grown by %llu\n",
           (unsigned long long)fixed, (unsigned long long)grown,
           (unsigned long long)s.receive_grown * 8 / 17);
    ck_assert_uint_le(fixed, WINDOW * 10); /* one window in a round trip of 100 ms */
    ck_assert_uint_gt(grown, 100000000 / 8 / 10 * 8);
    ck_assert_uint_gt(s.windows_grown, 0);
    ck_assert_uint_eq(s.windows_not_grown, 0);
    ck_assert_uint_le(s.receive_grown * 8 / 17, 4 * LONG_PATH_HOLDS);
    end();
}
END_TEST

START_TEST(a_window_ends_at_its_most)
{
    uint64_t capped = goodput_over_the_long_path(2 * WINDOW + 5000);
    ck_assert_uint_eq(stats().receive_grown, (WINDOW + 5000) * 17 / 8);
    ck_assert_uint_eq(stats().windows_grown, 2);
    ck_assert_uint_le(capped, (2 * WINDOW + 5000) * 10);
    ck_assert_uint_gt(capped, (2 * WINDOW + 5000) * 8);
    end();
}
END_TEST

START_TEST(a_short_path_needs_no_growth)
{
    begin(1, (struct sim_link){.delay_ms = 1, .rate_bps = 200000000, .queue_ms = 50});
    sim_settings(w.to)->receive_window_max = MIB(16);
    sim_settings(w.to)->receive_budget = MIB(128);
    boot();
    run(3000);
    ck_assert_uint_gt(w.got[0], 3 * 20000000U);
    ck_assert_uint_eq(stats().windows_grown, 0);
    end();
}
END_TEST

/* Who takes slowly, one by one or in bursts, has no use for a larger window, and gets none. */
START_TEST(a_window_does_not_grow_where_the_application_is_slow)
{
    for (int bursts = 0; bursts < 2; bursts++) {
        begin(1, LONG_PATH);
        sim_settings(w.to)->receive_window_max = MIB(16);
        sim_settings(w.to)->receive_budget = MIB(128);
        w.keeps = true;
        w.size = 10000; /* 19 are a window */
        boot();
        for (int i = 0; i < 10; i++) {
            for (int k = 0; k < 10; k++) { /* as many in a second, either way */
                run(100);
                release(bursts ? 0 : 1);
            }
            if (bursts) { /* in two turns; once both of them are half a window */
                release(i % 2 == 0 ? 10 : 9);
                run(1);
                release(HELD_MAX);
            }
        }
        ck_assert_uint_gt(w.got[0], 20 * w.size);
        ck_assert_uint_eq(stats().windows_grown, 0);
        w.keeps = false;
        end();
    }
}
END_TEST

/* --- The budget ------------------------------------------------------------------------------- */

/* All of them could use 3 MiB each. Afterwards nothing is taken any more: what they then bring is
 * all that they can make the listener hold. */
START_TEST(greedy_peers_stay_within_the_budget)
{
    const size_t budget = MIB(6);

    begin(8, LONG_PATH);
    sim_settings(w.to)->receive_window_max = MIB(16);
    sim_settings(w.to)->receive_budget = budget;
    boot();
    run(4000);
    tbq_stats s = stats();
    ck_assert_uint_gt(s.receive_grown, budget / 2);
    ck_assert_uint_le(w.most_grown, budget);
    ck_assert_uint_gt(s.windows_not_grown, 0);
    ck_assert_uint_gt(s.windows_grown, 2);
    for (size_t i = 0; i < w.len; i++) { /* what was promised to each is there */
        ck_assert_uint_gt(w.got[i], 3 * WINDOW * 9);
    }
    w.keeps = true;
    run(4000);
    ck_assert_uint_le(w.most_grown, budget);
    printf("# 8 greedy peers: %zu bytes held, %llu of the budget in use\n", w.to->memory->live,
           (unsigned long long)w.most_grown);
    ck_assert_uint_le(w.to->memory->live, w.len * (WINDOW + KIB(128)) + budget);
    w.keeps = false;
    w.quiet = true;
    release(HELD_MAX);
    for (size_t i = 0; i < w.len; i++) {
        sim_kill(w.from[i]);
    }
    run(100000); /* the idle timeout */
    ck_assert_uint_eq(stats().connections, 0);
    ck_assert_uint_eq(stats().receive_grown, 0); /* given back */
    end();
}
END_TEST

START_TEST(one_greedy_peer_leaves_half_of_the_budget)
{
    const size_t budget = MIB(4);

    begin(2, LONG_PATH);
    sim_settings(w.to)->receive_window_max = MIB(16);
    sim_settings(w.to)->receive_budget = budget;
    sim_boot(w.to);
    sim_boot(w.from[0]);
    sim_dial(w.from[0], w.to, true);
    run(4000);
    uint64_t first = stats().receive_grown;
    ck_assert_uint_gt(first, 0);
    ck_assert_uint_le(first, budget / 2);
    sim_boot(w.from[1]);
    sim_dial(w.from[1], w.to, true);
    run(4000);
    ck_assert_uint_gt(stats().receive_grown, first);
    ck_assert_uint_le(w.most_grown, budget);
    end();
}
END_TEST

/* A grown window of which half is lost, again and again: nearly all of the rest waits behind gaps,
 * and the connection's account, which has grown with it, has room. */
START_TEST(grown_windows_behind_heavy_loss_have_room)
{
    begin(1, (struct sim_link){.delay_ms = 100});
    sim_settings(w.to)->receive_window_max = MIB(4);
    sim_settings(w.to)->receive_budget = MIB(32);
    boot();
    run(8000);
    ck_assert_uint_eq(stats().receive_grown, (MIB(4) - WINDOW) * 17 / 8);
    for (int i = 0; i < 6; i++) {
        struct sim_link *there = sim_link(w.from[0], w.to);
        there->loss = 500;
        run(200);
        there->loss = 0;
        run(1200);
    }
    tbq_stats s = stats();
    printf("# behind gaps: %llu bytes\n", (unsigned long long)s.connection_memory);
    ck_assert_uint_eq(s.over_memory, 0);
    ck_assert_uint_eq(s.accepted, 1);
    ck_assert_uint_le(s.connection_memory, 9 * WINDOW / 2 + MIB(1) + (MIB(4) - WINDOW) * 9 / 8);
    end();
}
END_TEST

/* --- What a sender holds ---------------------------------------------------------------------- */

#define OVERHEAD KIB(512) /* the second connection, events, and what leads to each packet */

/* The most that a sender holds toward a peer who is reached over two ways, one of them a hundred
 * times as slow as the other, which is filled. */
static size_t held_for_two_ways(tbq_schedule schedule)
{
    begin(1, (struct sim_link){.delay_ms = 10, .rate_bps = 100000000, .queue_ms = 100});
    struct sim_node *a = w.from[0];
    ck_assert_int_eq(tbi_addr_from_text(&w.to->alias, "10.9.0.2:8443"), 0);
    sim_other_both(a, w.to, (struct sim_link){.delay_ms = 10, .rate_bps = 1000000});
    for (size_t k = 0; k < TBQ_LANES; k++) {
        sim_settings(a)->schedule[k] = schedule;
    }
    sim_settings(a)->paths_max = sim_settings(w.to)->paths_max = 2;
    sim_settings(a)->outbox_bytes = MIB(1);
    sim_settings(a)->max_message_size = sim_settings(w.to)->max_message_size = (uint32_t)MIB(1);
    w.size = MESSAGE_MAX; /* each has a stream of its own */
    sim_settings(w.to)->receive_window = sim_settings(w.to)->receive_window_max = MIB(8);
    boot();
    ck_assert_int_eq(tbi_node_set_addresses(w.to->node, sim_now(w.sim), &w.to->alias, 1, NULL, 0),
                     0);
    size_t before = a->memory->live;
    run(20000);
    if (schedule == TBQ_REDUNDANT) {
        ck_assert_uint_gt(sim_other_link(a, w.to)->bytes, 1000000);
    }
    ck_assert_uint_gt(w.got[0], MIB(20));
    size_t most = a->memory->most - before;
    end();
    return most;
}

START_TEST(what_waits_for_a_peer_is_within_the_outbox)
{
    size_t aggregate = held_for_two_ways(TBQ_AGGREGATE);
    size_t redundant = held_for_two_ways(TBQ_REDUNDANT);

    printf("# an outbox of 1 MiB, two ways: aggregate %zu bytes, redundant %zu\n", aggregate,
           redundant);
    ck_assert_uint_le(aggregate, MIB(1) + MIB(1) / 4 + OVERHEAD);
    ck_assert_uint_le(redundant, 2 * (MIB(1) + MIB(1) / 4) + OVERHEAD);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sim_flow");
    TCase *t = tcase_create("congestion");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, bbr_goes_on_where_loss_by_chance_slows_the_others);
    tcase_add_test(t, each_controller_answers_a_loss_in_its_own_way);
    tcase_add_test(t, a_connection_begins_with_ten_packets);
    suite_add_tcase(s, t);
    t = tcase_create("windows");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, a_window_grows_until_it_fills_the_path_and_no_further);
    tcase_add_test(t, a_window_ends_at_its_most);
    tcase_add_test(t, a_short_path_needs_no_growth);
    tcase_add_test(t, a_window_does_not_grow_where_the_application_is_slow);
    suite_add_tcase(s, t);
    t = tcase_create("budget");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, greedy_peers_stay_within_the_budget);
    tcase_add_test(t, one_greedy_peer_leaves_half_of_the_budget);
    tcase_add_test(t, grown_windows_behind_heavy_loss_have_room);
    suite_add_tcase(s, t);
    t = tcase_create("outbox");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, what_waits_for_a_peer_is_within_the_outbox);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
