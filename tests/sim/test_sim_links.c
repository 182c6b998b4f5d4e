/* tests/sim/test_sim_links.c - the pieces of a link do what they say, and the delivery promise
 * holds over every mixture of them: loss, delay, reordering, duplication, corruption, narrow links
 * with short queues, partitions, restarts, and histories made up at random. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"
#include "sim.h"
#include "../unit/harness.h"

/* --- The pieces ------------------------------------------------------------------------------- */

struct probe {
    size_t to_send, sent;
    size_t got, damaged, disordered;
    uint32_t last;
    uint64_t first_ms, last_ms;
    struct sim *sim;
    struct sim_node *to;
};

static int probe_send(void *user, struct tbi_send_batch *b)
{
    struct probe *p = user;
    if (p->sent >= p->to_send) {
        return 0;
    }
    b->remote = p->to->addr;
    b->size = 1000;
    memset(b->data, 0x55, b->size);
    uint32_t n = (uint32_t)++p->sent;
    memcpy(b->data, &n, sizeof n);
    return 1;
}

static void probe_recv(void *user, const struct tbi_datagram *d)
{
    struct probe *p = user;
    uint32_t n;
    p->first_ms = p->got == 0 ? sim_ms(p->sim) : p->first_ms;
    p->last_ms = sim_ms(p->sim);
    p->got++;
    memcpy(&n, d->data, sizeof n);
    for (size_t i = sizeof n; i < d->size; i++) {
        p->damaged += d->data[i] != 0x55;
    }
    p->disordered += n < p->last;
    p->last = n;
}

static void probe_step(void *user)
{
    (void)user;
}

static uint64_t probe_deadline(void *user)
{
    (void)user;
    return TBI_NEVER;
}

static const struct sim_guest probe_guest = {
    .send = probe_send, .recv = probe_recv, .step = probe_step, .deadline = probe_deadline};

/* Sends 1,000 datagrams of 1,000 bytes over that link; what came out. */
static struct probe over(struct sim_link link, struct sim_link *after)
{
    struct sim *sim = sim_new(5);
    struct sim_node *a = sim_add(sim), *b = sim_add(sim);
    struct probe out = {.to_send = 1000, .to = b, .sim = sim}, in = {.sim = sim};

    sim_host(a, &probe_guest, &out);
    sim_host(b, &probe_guest, &in);
    sim_both(a, b, link);
    sim_run(sim, 100000, NULL, NULL);
    *after = *sim_link(a, b);
    sim_free(sim);
    return in;
}

START_TEST(each_piece_of_a_link_does_what_it_says)
{
    struct sim_link l;
    struct probe p = over((struct sim_link){.delay_ms = 40}, &l);
    ck_assert_uint_eq(p.got, 1000);
    ck_assert_uint_eq(p.first_ms, 40);
    ck_assert_uint_eq(p.last_ms, 40);
    ck_assert_uint_eq(p.disordered + p.damaged, 0);

    p = over((struct sim_link){.loss = 100}, &l);
    ck_assert_uint_eq(p.got + l.lost, 1000);
    ck_assert(l.lost > 60 && l.lost < 140);

    p = over((struct sim_link){.duplicate = 100}, &l);
    ck_assert_uint_eq(p.got, 1000 + l.doubled);
    ck_assert(l.doubled > 60 && l.doubled < 140);

    p = over((struct sim_link){.delay_ms = 40, .reorder = 300}, &l);
    ck_assert_uint_eq(p.got, 1000);
    ck_assert_uint_gt(p.disordered, 50);

    p = over((struct sim_link){.corrupt = 100}, &l);
    ck_assert_uint_eq(p.got, 1000);
    ck_assert(p.damaged > 60 && p.damaged <= l.corrupted);

    p = over((struct sim_link){.rate_bps = 8000000}, &l); /* a datagram each ms */
    ck_assert_uint_eq(p.got, 1000);
    ck_assert_uint_eq(p.last_ms, 1000);

    p = over((struct sim_link){.rate_bps = 8000000, .queue_ms = 50}, &l);
    ck_assert_uint_eq(p.got + l.overflowed, 1000);
    ck_assert(p.got >= 50 && p.got <= 52);

    p = over((struct sim_link){.cut = true}, &l);
    ck_assert_uint_eq(p.got, 0);
    ck_assert_uint_eq(l.lost, 1000);
}
END_TEST

/* --- Two nodes and a ledger each way ---------------------------------------------------------- */

struct town {
    struct sim *sim;
    struct sim_node *a, *b;
    struct ledger ab, ba;
    size_t to_ab, to_ba; /* messages still to be sent */
    size_t size;
    size_t again;
    bool mixed; /* all lanes, and every other message unordered */
};

static int send_one(struct town *t, struct ledger *l, size_t left)
{
    return t->mixed ? ledger_send(l, t->size, (tbq_lane)(left / 2 % TBQ_LANES), left % 2 == 0, 0)
                    : ledger_send(l, t->size, TBQ_LANE_NORMAL, false, 0);
}

static void send_more(struct town *t)
{
    while (t->to_ab > 0 && t->a->alive) {
        int rv = send_one(t, &t->ab, t->to_ab);
        if (rv < 0) {
            t->again += rv == TBQ_ERR_AGAIN;
            break;
        }
        t->to_ab--;
    }
    while (t->to_ba > 0 && t->b->alive) {
        int rv = send_one(t, &t->ba, t->to_ba);
        if (rv < 0) {
            t->again += rv == TBQ_ERR_AGAIN;
            break;
        }
        t->to_ba--;
    }
}

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct town *t = n->user;
    ledger_event(&t->ab, n, e);
    ledger_event(&t->ba, n, e);
    if (e->type == TBQ_EVENT_CONNECTED) {
        sim_say(n, "is connected");
    } else if (e->type == TBQ_EVENT_DISCONNECTED) {
        sim_say(n, "is disconnected: %s", e->text);
    }
    if (e->type == TBQ_EVENT_CONNECTED || e->type == TBQ_EVENT_WRITABLE) {
        send_more(t);
    }
    return true;
}

static struct town *build_with(uint64_t seed, struct sim_link link, bool dialled)
{
    struct town *t = calloc(1, sizeof *t);
    ck_assert_ptr_nonnull(t);
    t->sim = sim_new(seed);
    t->a = sim_add(t->sim);
    t->b = sim_add(t->sim);
    t->a->user = t->b->user = t;
    t->a->on_event = t->b->on_event = on_event;
    t->size = 1000;
    sim_both(t->a, t->b, link);
    ledger_begin(&t->ab, t->a, t->b);
    ledger_begin(&t->ba, t->b, t->a);
    sim_boot(t->a);
    sim_boot(t->b);
    if (dialled) {
        sim_dial(t->a, t->b, true);
    }
    return t;
}

static struct town *build(uint64_t seed, struct sim_link link)
{
    return build_with(seed, link, true);
}

static void finish(struct town *t)
{
    size_t broken = ledger_broken(&t->ab) + ledger_broken(&t->ba);
    if (broken > 0) {
        printf("%s", sim_transcript(t->sim));
    }
    ck_assert_uint_eq(broken, 0);
    sim_free(t->sim);
    free(t);
}

static bool settled(void *arg)
{
    const struct town *t = arg;
    return t->to_ab == 0 && t->to_ba == 0 && ledger_settled(&t->ab) && ledger_settled(&t->ba);
}

static void both_ways_over(struct sim_link link)
{
    struct town *t = build(31, link);
    t->size = 5000;
    t->to_ab = t->to_ba = 1000;
    bool done = sim_run(t->sim, 600000, settled, t);
    if (!done) {
        printf("%s", sim_transcript(t->sim));
    }
    ck_assert(done);
    ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED], 1000);
    ck_assert_uint_eq(t->ba.told[TBQ_DELIVERED], 1000);
    ck_assert_uint_eq(t->ab.got + t->ba.got, 2000);
    finish(t);
}

START_TEST(five_megabytes_each_way_over_every_kind_of_link)
{
    both_ways_over((struct sim_link){.delay_ms = 20, .reorder = 300});
    both_ways_over((struct sim_link){.delay_ms = 20, .duplicate = 300});
    both_ways_over((struct sim_link){.delay_ms = 20, .corrupt = 30});
    both_ways_over((struct sim_link){.delay_ms = 20, .rate_bps = 20000000, .queue_ms = 30});
    both_ways_over((struct sim_link){.delay_ms = 100,
                                     .loss = 50,
                                     .reorder = 100,
                                     .duplicate = 50,
                                     .corrupt = 10,
                                     .rate_bps = 50000000,
                                     .queue_ms = 100});
}
END_TEST

/* The dialler dials anew, and closes the old connection as replaced. Where the link shuffles, the
 * acceptor often hears that before it has heard enough of the new one. */
START_TEST(a_connection_that_is_replaced_takes_nothing_along)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct town *t = build(seed, (struct sim_link){.delay_ms = 10});
        sim_link(t->a, t->b)->loss = 200;
        t->to_ab = t->to_ba = 300;
        sim_run(t->sim, 60, NULL, NULL);
        sim_dial(t->a, t->b, true);
        bool done = sim_run(t->sim, 300000, settled, t);
        if (!done || t->ab.repeats + t->ba.repeats > 0) {
            printf("%s", sim_transcript(t->sim));
        }
        ck_assert(done);
        ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED] + t->ba.told[TBQ_DELIVERED], 600);
        ck_assert_uint_eq(t->ab.got + t->ba.got, 600);
        finish(t);
    }
}
END_TEST

static void cut(struct town *t, bool on)
{
    sim_link(t->a, t->b)->cut = sim_link(t->b, t->a)->cut = on;
    sim_say(t->a, on ? "the network is cut" : "the network heals");
}

/* As much under way as the windows allow, and half of it lost at once, again and again: nearly all
 * of the rest waits behind gaps. That is what a connection's memory is made for. */
START_TEST(a_full_window_behind_heavy_loss_has_room)
{
    struct town *t = build(38, (struct sim_link){.delay_ms = 200});
    tbq_config *from = sim_settings(t->a);
    size_t window = sim_settings(t->b)->receive_window;

    sim_kill(t->a);
    from->outbox_bytes = 64 << 20;
    sim_boot(t->a);
    sim_dial(t->a, t->b, true);
    t->mixed = true;
    t->size = 100000;
    t->to_ab = 700;
    sim_run(t->sim, 4500, NULL, NULL); /* slow start */
    for (int i = 0; i < 8 && !settled(t); i++) {
        struct sim_link *there = sim_link(t->a, t->b);
        there->loss = 500;
        there->reorder = 300;
        sim_run(t->sim, 400, NULL, NULL); /* a round trip */
        there->loss = 0;
        sim_run(t->sim, 1200, NULL, NULL);
    }
    ck_assert(sim_run(t->sim, 300000, settled, t));
    ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED], 700);
    tbq_stats stats = {0};
    tbi_node_stats(t->b->node, &stats);
    ck_assert_uint_eq(stats.over_memory, 0);
    ck_assert_uint_gt(stats.connection_memory, 2 * window);
    ck_assert_uint_le(stats.connection_memory, 4 * window + window / 2);
    finish(t);
}
END_TEST

/* Both sides look for another way when they hear nothing, and end what is too much when the first
 * one answers again: whatever each of them ends at the same moment, the link goes on. */
START_TEST(a_silence_of_any_length_ends_no_link)
{
    for (uint64_t ms = 200; ms < 4200; ms += 10) {
        struct town *t = build(ms, (struct sim_link){.delay_ms = 20 + ms % 60, .loss = 50});
        sim_run(t->sim, 3000, NULL, NULL);
        (void)tbi_node_pause(t->b->node, tbi_identity_id(t->a->identity), TBQ_LANES_ALL);
        t->to_ab = t->to_ba = 20;
        send_more(t);
        sim_run(t->sim, ms % 200, NULL, NULL);
        cut(t, true);
        sim_run(t->sim, ms, NULL, NULL);
        cut(t, false);
        sim_run(t->sim, 20000, NULL, NULL);
        (void)tbi_node_resume(t->b->node, tbi_identity_id(t->a->identity), TBQ_LANES_ALL);
        bool done = sim_run(t->sim, 60000, settled, t);
        if (!done || t->ab.repeats + t->ba.repeats > 0) {
            printf("# %llu ms of silence\n%s", (unsigned long long)ms, sim_transcript(t->sim));
        }
        ck_assert(done);
        ck_assert_uint_eq(t->ab.repeats + t->ba.repeats, 0); /* nobody has restarted */
        ck_assert_uint_eq(t->ab.got + t->ba.got, 40);
        finish(t);
    }
}
END_TEST

START_TEST(a_partition_that_heals_loses_nothing)
{
    static const uint64_t seconds[] = {5, 25, 60, 200}; /* the idle timeout is 60 s */
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        struct town *t = build(32, (struct sim_link){.delay_ms = 20});
        t->size = 100000;
        t->to_ab = t->to_ba = 200;
        sim_run(t->sim, 150, NULL, NULL);
        cut(t, true);
        sim_run(t->sim, seconds[i] * 1000, NULL, NULL);
        cut(t, false);
        bool done = sim_run(t->sim, 300000, settled, t);
        if (!done) {
            printf("%s", sim_transcript(t->sim));
        }
        ck_assert(done);
        ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED] + t->ba.told[TBQ_DELIVERED], 400);
        finish(t);
    }
}
END_TEST

START_TEST(a_partition_without_end_is_told_as_it_is_and_healing_begins_anew)
{
    struct town *t = build(33, (struct sim_link){.delay_ms = 20});
    t->size = 100000;
    t->to_ab = 200;
    sim_run(t->sim, 150, NULL, NULL);
    cut(t, true);
    sim_run(t->sim, 150, NULL, NULL);
    t->to_ab = 0;
    sim_run(t->sim, 1000000, NULL, NULL); /* peer_timeout_ms is 300 s, behind the idle timeout */
    ck_assert(ledger_settled(&t->ab));
    ck_assert_uint_gt(t->ab.told[TBQ_UNKNOWN] + t->ab.told[TBQ_NOT_DELIVERED], 0);
    cut(t, false);
    sim_run(t->sim, 60000, NULL, NULL);
    size_t before = t->ab.told[TBQ_DELIVERED];
    t->to_ab = 10;
    send_more(t);
    ck_assert(sim_run(t->sim, 10000, settled, t));
    ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED], before + 10);
    finish(t);
}
END_TEST

START_TEST(a_receiver_that_restarts_again_and_again_makes_no_fate_false)
{
    struct town *t = build(34, (struct sim_link){.delay_ms = 10, .loss = 20});
    t->size = 3000;
    t->to_ab = 3000;
    for (int i = 0; i < 6; i++) {
        sim_run(t->sim, 300, NULL, NULL);
        sim_kill(t->b);
        ledger_receiver_restarts(&t->ab);
        sim_run(t->sim, 500, NULL, NULL);
        sim_boot(t->b);
    }
    bool done = sim_run(t->sim, 300000, settled, t);
    if (!done) {
        printf("%s", sim_transcript(t->sim));
    }
    ck_assert(done);
    ck_assert_uint_gt(t->ab.told[TBQ_DELIVERED], 2000);
    finish(t);
}
END_TEST

/* It dialled, so that nothing tells its peer that the connection is nobody's any more (a client has
 * no stateless reset token, RFC 9000, section 18.2). What was sent over it in the meantime goes to
 * the new process, long before the old connection would have ended by silence. */
START_TEST(a_dialler_that_restarts_is_noticed_when_it_dials_again)
{
    struct town *t = build_with(38, (struct sim_link){.delay_ms = 10}, false);
    sim_dial(t->b, t->a, true);
    t->to_ab = 10;
    ck_assert(sim_run(t->sim, 5000, settled, t));
    sim_kill(t->b);
    ledger_receiver_restarts(&t->ab);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(ledger_send(&t->ab, 1000, TBQ_LANE_NORMAL, false, 0), 0);
    }
    sim_run(t->sim, 500, NULL, NULL);
    sim_boot(t->b);
    sim_dial(t->b, t->a, true);
    ck_assert(sim_run(t->sim, 10000, settled, t));
    ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED], 20);
    finish(t);
}
END_TEST

START_TEST(lanes_overtake_and_a_full_low_lane_holds_up_nobody)
{
    struct town *t = build(35, (struct sim_link){.delay_ms = 10, .rate_bps = 8000000});
    sim_run(t->sim, 500, NULL, NULL);
    for (int i = 0; i < 200; i++) { /* 1.6 s of this link */
        ck_assert_int_eq(ledger_send(&t->ab, 8000, TBQ_LANE_LOW, false, 0), 0);
    }
    sim_run(t->sim, 100, NULL, NULL);
    size_t before = t->ab.got;
    ck_assert_int_eq(ledger_send(&t->ab, 100, TBQ_LANE_CRITICAL, false, 0), 0);
    uint32_t urgent = t->ab.sent - 1;
    sim_run(t->sim, 600, NULL, NULL);
    ck_assert_uint_eq(t->ab.entry[urgent].got, 1);
    ck_assert_uint_lt(t->ab.got, before + 150);
    ck_assert(sim_run(t->sim, 60000, settled, t));
    finish(t);
}
END_TEST

/* There is always more in the critical lane than the link can carry; the others get on all the
 * same. */
START_TEST(a_full_critical_lane_starves_nobody)
{
    struct town *t = build(39, (struct sim_link){.delay_ms = 10, .rate_bps = 8000000});
    sim_run(t->sim, 500, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ledger_send(&t->ab, 20000, (tbq_lane)(TBQ_LANE_HIGH + i), false, 0), 0);
    }
    for (int i = 0; i < 100; i++) { /* 5 s, 5 MB */
        while (t->ab.sent - t->ab.got < 200) {
            ck_assert_int_eq(ledger_send(&t->ab, 8000, TBQ_LANE_CRITICAL, false, 0), 0);
        }
        sim_run(t->sim, 50, NULL, NULL);
    }
    for (size_t i = 0; i < 3; i++) { /* 60 kB of the 5 MB: a sixteenth would be 300 kB */
        ck_assert_uint_eq(t->ab.entry[i].got, 1);
    }
    ck_assert_uint_gt(t->ab.got, 500);
    ck_assert(sim_run(t->sim, 60000, settled, t));
    finish(t);
}
END_TEST

/* 20,000 messages of 1 KiB over 50 Mbit/s with a short queue, where packets arrive one by one: what
 * comes back is what acknowledges them, QUIC's and ours. */
START_TEST(acknowledgements_are_small_change)
{
    struct town *t = build(39, (struct sim_link){.delay_ms = 10});

    sim_link(t->a, t->b)->rate_bps = 50000000;
    sim_link(t->a, t->b)->queue_ms = 40;
    sim_run(t->sim, 500, NULL, NULL);
    uint64_t before = sim_link(t->b, t->a)->bytes;
    t->size = 1024;
    t->to_ab = 20000;
    send_more(t);
    ck_assert(sim_run(t->sim, 60000, settled, t));
    uint64_t back = sim_link(t->b, t->a)->bytes - before, payload = 20000 * 1024;
    ck_assert_msg(back < payload * 3 / 200, "%llu bytes came back", (unsigned long long)back);
    finish(t);
}
END_TEST

/* Nothing more comes that an acknowledgement could wait for. */
START_TEST(the_fates_of_a_few_messages_are_told_soon)
{
    struct town *t = build(40, (struct sim_link){.delay_ms = 10, .rate_bps = 50000000});

    sim_run(t->sim, 500, NULL, NULL);
    for (int many = 1; many <= 60; many += 1 + many / 4) {
        uint64_t began = sim_ms(t->sim);
        for (int i = 0; i < many; i++) {
            ck_assert_int_eq(ledger_send(&t->ab, 1024, TBQ_LANE_NORMAL, false, 0), 0);
        }
        ck_assert(sim_run(t->sim, 1000, settled, t));
        /* A round trip and 25 ms, or a second round trip where the first window is too small. */
        ck_assert_uint_le(sim_ms(t->sim) - began, many < 16 ? 50 : 75);
        sim_run(t->sim, 200, NULL, NULL);
    }
    finish(t);
}
END_TEST

START_TEST(a_time_to_live_ends_what_was_not_taken_in_time)
{
    struct town *t = build(36, (struct sim_link){.delay_ms = 10});
    sim_run(t->sim, 500, NULL, NULL);
    ck_assert_int_eq(ledger_send(&t->ab, 100, TBQ_LANE_NORMAL, false, 1000), 0); /* in time */
    sim_run(t->sim, 500, NULL, NULL);
    ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED], 1);
    cut(t, true);
    sim_run(t->sim, 100000, NULL, NULL); /* the connection is lost */
    ck_assert_int_eq(ledger_send(&t->ab, 100, TBQ_LANE_NORMAL, false, 1000), 0);
    ck_assert_int_eq(ledger_send(&t->ab, 100, TBQ_LANE_NORMAL, false, 0), 0); /* waits on */
    ck_assert_int_eq(ledger_send(&t->ab, 100, TBQ_LANE_NORMAL, true, 1000), 0);
    sim_run(t->sim, 1100, NULL, NULL);
    ck_assert_uint_eq(t->ab.told[TBQ_NOT_DELIVERED], 2); /* never sent: known at once */
    ck_assert_int_eq(t->ab.entry[1].reason, TBQ_ERR_EXPIRED);
    ck_assert_int_eq(t->ab.entry[3].reason, TBQ_ERR_EXPIRED);
    cut(t, false);
    ck_assert(sim_run(t->sim, 60000, settled, t));
    ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED], 2);

    /* Received in time, and waiting for the application: it is the receiver's word that counts. */
    ck_assert_int_eq(tbi_node_pause(t->b->node, tbi_identity_id(t->a->identity), TBQ_LANES_ALL), 0);
    ck_assert_int_eq(ledger_send(&t->ab, 100, TBQ_LANE_NORMAL, false, 1000), 0);
    ck_assert_int_eq(ledger_send(&t->ab, 100, TBQ_LANE_NORMAL, false, 0), 0);
    sim_run(t->sim, 5000, NULL, NULL);
    ck_assert_int_eq(tbi_node_resume(t->b->node, tbi_identity_id(t->a->identity), TBQ_LANES_ALL),
                     0);
    ck_assert(sim_run(t->sim, 60000, settled, t));
    ck_assert_uint_eq(t->ab.told[TBQ_NOT_DELIVERED], 2);
    ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED], 4);
    finish(t);
}
END_TEST

START_TEST(unordered_messages_neither_wait_nor_make_wait)
{
    struct town *t = build(37, (struct sim_link){.delay_ms = 50, .loss = 100});
    sim_run(t->sim, 2000, NULL, NULL);
    for (int i = 0; i < 300; i++) {
        int rv = ledger_send(&t->ab, 2000, TBQ_LANE_NORMAL, i % 2 == 0, 0);
        ck_assert_int_eq(rv, 0);
    }
    ck_assert(sim_run(t->sim, 120000, settled, t));
    ck_assert_uint_eq(t->ab.told[TBQ_DELIVERED], 300);
    finish(t);
}
END_TEST

/* --- Histories made up at random -------------------------------------------------------------- */

static size_t made, delivered, unknown; /* over all histories, said at the end */

static uint64_t histories(void)
{
    const char *text = getenv("HISTORIES"); /* how many; the normal run is bounded */
    return text != NULL ? strtoull(text, NULL, 10) : 60 / tbi_test_shallow();
}

static void step(struct town *t, struct tbi_rng *rng, bool *cut_now)
{
    struct ledger *l = tbi_rng_below(rng, 2) == 0 ? &t->ab : &t->ba;
    const tbq_peer_id *other = tbi_identity_id(l->from->identity);

    switch (tbi_rng_below(rng, 12)) {
    case 0:
        *cut_now = !*cut_now;
        cut(t, *cut_now);
        break;
    case 1: /* the receiver of one ledger is the sender of the other: only B dies, and sends little
             */
        if (t->b->alive && tbi_rng_below(rng, 3) == 0 && ledger_settled(&t->ba)) {
            sim_kill(t->b);
            ledger_receiver_restarts(&t->ab);
            sim_run(t->sim, tbi_rng_below(rng, 3000), NULL, NULL);
            sim_boot(t->b);
        }
        break;
    case 2:
        if (l->to->alive) {
            (void)tbi_node_pause(l->to->node, other, (unsigned)tbi_rng_below(rng, 16));
        }
        break;
    case 3:
    case 4:
        if (l->to->alive) {
            (void)tbi_node_resume(l->to->node, other, TBQ_LANES_ALL);
        }
        break;
    default:
        for (uint64_t i = tbi_rng_below(rng, 30); i > 0; i--) {
            (void)ledger_send(l, 4 + tbi_rng_below(rng, tbi_rng_below(rng, 10) == 0 ? 60000 : 2000),
                              (tbq_lane)tbi_rng_below(rng, TBQ_LANES), tbi_rng_below(rng, 4) == 0,
                              tbi_rng_below(rng, 4) == 0 ? (uint32_t)tbi_rng_below(rng, 3000) : 0);
        }
        break;
    }
    sim_run(t->sim, tbi_rng_below(rng, 1500), NULL, NULL);
}

static void history(uint64_t seed)
{
    struct tbi_rng rng;
    bool cut_now = false;
    tbi_test_rng(&rng, (unsigned)seed);
    struct sim_link link = {.delay_ms = tbi_rng_below(&rng, 80),
                            .loss = (unsigned)tbi_rng_below(&rng, 100),
                            .duplicate = (unsigned)tbi_rng_below(&rng, 50),
                            .reorder = (unsigned)tbi_rng_below(&rng, 100)};
    struct town *t = build(1000 + seed, link);

    for (int i = 0; i < 30; i++) {
        step(t, &rng, &cut_now);
    }
    cut(t, false);
    sim_run(t->sim, 60000, NULL, NULL);
    (void)tbi_node_resume(t->a->node, tbi_identity_id(t->b->identity), TBQ_LANES_ALL);
    (void)tbi_node_resume(t->b->node, tbi_identity_id(t->a->identity), TBQ_LANES_ALL);
    bool done = sim_run(t->sim, 900000, settled, t);
    if (!done || ledger_broken(&t->ab) + ledger_broken(&t->ba) > 0) {
        printf("# history %llu:\n%s", (unsigned long long)seed, sim_transcript(t->sim));
    }
    made += t->ab.sent + t->ba.sent;
    delivered += t->ab.told[TBQ_DELIVERED] + t->ba.told[TBQ_DELIVERED];
    unknown += t->ab.told[TBQ_UNKNOWN] + t->ba.told[TBQ_UNKNOWN];
    ck_assert_msg(done, "history %llu: messages without a fate", (unsigned long long)seed);
    finish(t);
}

START_TEST(random_histories_keep_the_promise)
{
    const char *first = getenv("HISTORY");
    uint64_t from = first != NULL ? strtoull(first, NULL, 10) : 1;
    for (uint64_t seed = from; seed < from + histories(); seed++) {
        history(seed);
    }
    printf("# %zu messages: %zu delivered, %zu unknown, the rest not delivered\n", made, delivered,
           unknown);
    ck_assert_uint_gt(delivered, made / 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("links");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 600);
    tcase_add_test(c, each_piece_of_a_link_does_what_it_says);
    tcase_add_test(c, five_megabytes_each_way_over_every_kind_of_link);
    tcase_add_test(c, a_full_window_behind_heavy_loss_has_room);
    tcase_add_test(c, a_connection_that_is_replaced_takes_nothing_along);
    tcase_add_test(c, a_silence_of_any_length_ends_no_link);
    tcase_add_test(c, a_partition_that_heals_loses_nothing);
    tcase_add_test(c, a_partition_without_end_is_told_as_it_is_and_healing_begins_anew);
    tcase_add_test(c, a_receiver_that_restarts_again_and_again_makes_no_fate_false);
    tcase_add_test(c, a_dialler_that_restarts_is_noticed_when_it_dials_again);
    tcase_add_test(c, lanes_overtake_and_a_full_low_lane_holds_up_nobody);
    tcase_add_test(c, a_full_critical_lane_starves_nobody);
    tcase_add_test(c, acknowledgements_are_small_change);
    tcase_add_test(c, the_fates_of_a_few_messages_are_told_soon);
    tcase_add_test(c, a_time_to_live_ends_what_was_not_taken_in_time);
    tcase_add_test(c, unordered_messages_neither_wait_nor_make_wait);
    tcase_add_test(c, random_histories_keep_the_promise);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
