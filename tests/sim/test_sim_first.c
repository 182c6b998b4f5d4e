/* tests/sim/test_sim_first.c - how soon a first message is answered: 50 ms lie between the two, so
 * each round trip takes 100. */
#include <check.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "sim.h"

#define RTT_MS 100

struct seen {
    unsigned connected, pongs, fates[4];
    uint64_t connected_at, pong_at; /* ms */
    uint64_t rtt_ns;                /* of the last pong */
    bool repeat;
    size_t messages, bytes;
};

struct story {
    struct sim *sim;
    struct sim_node *a, *b;
    struct seen at_a, at_b;
    tbq_connection dial;
    uint64_t began; /* ms */
};

static bool watch(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;
    bool message = e->type == TBQ_EVENT_MESSAGE;

    if (e->type == TBQ_EVENT_CONNECTED) {
        s->connected++;
        s->connected_at = sim_ms(n->sim);
    } else if (message && e->message->kind == TBQ_PONG) {
        s->pongs++;
        s->pong_at = sim_ms(n->sim);
        s->rtt_ns = e->message->u.pong.rtt_ns;
    } else if (message && e->message->kind == TBQ_TRANSITION) {
        s->messages++;
        s->bytes += e->message->u.transition.size;
        s->repeat = s->repeat || e->repeat;
    } else if (e->type == TBQ_EVENT_FATE) {
        s->fates[e->fate]++;
    }
    return true;
}

static void begin(struct story *t)
{
    memset(t, 0, sizeof *t);
    t->sim = sim_new(5);
    t->a = sim_add(t->sim);
    t->b = sim_add(t->sim);
    sim_both(t->a, t->b, (struct sim_link){.delay_ms = RTT_MS / 2});
    t->a->user = &t->at_a;
    t->b->user = &t->at_b;
    t->a->on_event = t->b->on_event = watch;
}

static void boot(struct story *t)
{
    sim_boot(t->a);
    sim_boot(t->b);
}

static void say(struct story *t, const tbq_message *m)
{
    tbq_send_options o;
    tbq_send_options_init(&o);
    o.lane = m->kind == TBQ_PING ? TBQ_LANE_CRITICAL : TBQ_LANE_NORMAL;
    ck_assert_int_eq(tbi_node_send_on(t->a->node, sim_now(t->sim), t->dial, m, &o), 0);
}

/* A dials and asks at once, as `tbq client` does. */
static void dial_and_ping(struct story *t)
{
    const tbq_message ping = tbq_ping();

    t->began = sim_ms(t->sim);
    t->dial = sim_dial(t->a, t->b, false);
    say(t, &ping);
}

static uint64_t answered_after(const struct story *t)
{
    ck_assert_uint_eq(t->at_a.pongs, 1);
    return t->at_a.pong_at - t->began;
}

/* --- A full handshake ------------------------------------------------------------------------- */

START_TEST(a_first_message_is_answered_after_two_round_trips)
{
    struct story t;
    begin(&t);
    boot(&t);
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(answered_after(&t), 2 * RTT_MS);
    ck_assert_uint_eq(t.at_a.connected_at - t.began, 2 * RTT_MS);
    /* it counts from when the ping could leave */
    ck_assert_uint_eq(t.at_a.rtt_ns / TBI_NS_PER_MS, RTT_MS);
    ck_assert_uint_eq(t.at_a.fates[TBQ_DELIVERED], 1);
    sim_free(t.sim);
}
END_TEST

/* All that is in one flight gets lost: the server's HELLO, the client's messages, the CONFIRM. */
START_TEST(a_lost_flight_costs_time_and_nothing_else)
{
    static const uint64_t lost_at_ms[] = {60, 110, 160, 210};
    static uint8_t data[100];
    const tbq_message m = tbq_transition(data, sizeof data);
    struct story t;
    begin(&t);
    boot(&t);
    dial_and_ping(&t);
    for (int i = 0; i < 50; i++) {
        say(&t, &m);
    }
    sim_run(t.sim, lost_at_ms[_i] - RTT_MS / 2 - 20, NULL, NULL);
    sim_link(t.a, t.b)->cut = sim_link(t.b, t.a)->cut = true;
    sim_run(t.sim, 40, NULL, NULL);
    sim_link(t.a, t.b)->cut = sim_link(t.b, t.a)->cut = false;
    sim_run(t.sim, 4000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.pongs, 1);
    ck_assert_uint_eq(t.at_a.fates[TBQ_DELIVERED], 51);
    ck_assert_uint_eq(t.at_b.messages, 50);
    ck_assert(!t.at_b.repeat);
    sim_free(t.sim);
}
END_TEST

START_TEST(more_than_may_go_ahead_goes_behind_it)
{
    static uint8_t data[1000];
    const tbq_message m = tbq_transition(data, sizeof data);
    struct story t;
    begin(&t);
    boot(&t);
    dial_and_ping(&t);
    for (int i = 0; i < 100; i++) {
        say(&t, &m);
    }
    sim_run(t.sim, 240, NULL, NULL); /* B's CONFIRM is at A after 200, what A sends then at 250 */
    ck_assert_uint_gt(t.at_b.bytes, TBI_EARLY_BYTES_MAX / 2);
    ck_assert_uint_le(t.at_b.bytes, TBI_EARLY_BYTES_MAX);
    sim_run(t.sim, 3000, NULL, NULL);
    ck_assert_uint_eq(t.at_b.messages, 100);
    ck_assert_uint_eq(t.at_a.fates[TBQ_DELIVERED], 101);
    sim_free(t.sim);
}
END_TEST

/* Whoever is refused learns no more of its message than that it was sent. */
START_TEST(who_is_not_trusted_gets_no_answer)
{
    struct story t;
    begin(&t);
    t.b->settings.ask_trust = true; /* and nobody answers */
    boot(&t);
    dial_and_ping(&t);
    sim_run(t.sim, 20000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.pongs, 0);
    ck_assert_uint_eq(t.at_a.connected, 0);
    ck_assert_uint_eq(t.at_a.fates[TBQ_DELIVERED], 0);
    ck_assert_uint_eq(t.at_a.fates[TBQ_UNKNOWN], 1);
    sim_free(t.sim);
}
END_TEST

/* A has met B, and dials another address of it, whose name it does not know as such: the ping goes
 * over to the link that both have, and its pong finds it. */
START_TEST(a_ping_to_an_address_of_a_known_peer_is_answered)
{
    struct story t;
    begin(&t);
    boot(&t);
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    t.at_a.pongs = 0;
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.pongs, 1);
    sim_free(t.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sim/first");
    TCase *t = tcase_create("first");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_first_message_is_answered_after_two_round_trips);
    tcase_add_loop_test(t, a_lost_flight_costs_time_and_nothing_else, 0, 4);
    tcase_add_test(t, more_than_may_go_ahead_goes_behind_it);
    tcase_add_test(t, who_is_not_trusted_gets_no_answer);
    tcase_add_test(t, a_ping_to_an_address_of_a_known_peer_is_answered);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
