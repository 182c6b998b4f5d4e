/* tests/sim/test_sim_first.c - how soon a first message is answered: 50 ms lie between the two, so
 * each round trip takes 100. */
#include <check.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "quic/parts.h"
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

/* --- Coming again ----------------------------------------------------------------------------- */

static bool resumed(const struct sim_node *n)
{
    struct tbi_map_entry *e = tbi_map_first(&n->node->endpoint->conns), *next;

    ck_assert_ptr_nonnull(e);
    while ((next = tbi_map_next(e)) != NULL) {
        e = next; /* the newest */
    }
    return tbi_conn_resumed(tbi_map_value(e));
}

/* A is another process now, which has found in a file what the one before it has left there. */
static void come_again(struct story *t)
{
    struct tbi_block *file;

    ck_assert(tbi_node_tickets_changed(t->a->node));
    ck_assert_int_eq(tbi_node_tickets_write(t->a->node, &file), 0);
    sim_kill(t->a);
    sim_run(t->sim, 1000, NULL, NULL);
    memset(&t->at_a, 0, sizeof t->at_a);
    sim_boot(t->a);
    ck_assert_int_eq(tbi_node_tickets_read(t->a->node, file->data, file->size), 0);
    tbi_block_unref(file);
}

static void meet_first(struct story *t)
{
    begin(t);
    boot(t);
    dial_and_ping(t);
    sim_run(t->sim, 1000, NULL, NULL);
    ck_assert(!resumed(t->a));
}

START_TEST(a_process_that_comes_again_resumes)
{
    struct story t;
    meet_first(&t);
    come_again(&t);
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert(resumed(t.a) && resumed(t.b));
    ck_assert_uint_eq(answered_after(&t), 2 * RTT_MS);
    sim_free(t.sim);
}
END_TEST

/* B lets nobody in without a proof of its address, and A has one: once. */
START_TEST(who_comes_again_shows_its_token_once)
{
    struct story t;
    meet_first(&t);
    t.b->node->endpoint->cfg.always_retry = true;
    come_again(&t);
    sim_link(t.b, t.a)->cut = true; /* it is shown, and nothing comes of it */
    dial_and_ping(&t);
    sim_run(t.sim, 6000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.connected, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(t.b->node->endpoint)->tokens_taken, 1);
    ck_assert_uint_eq(tbi_endpoint_stats(t.b->node->endpoint)->retries_sent, 0);
    sim_link(t.b, t.a)->cut = false;
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.connected, 1);
    ck_assert_uint_eq(tbi_endpoint_stats(t.b->node->endpoint)->tokens_taken, 1);
    ck_assert_uint_eq(tbi_endpoint_stats(t.b->node->endpoint)->retries_sent, 1);
    sim_free(t.sim);
}
END_TEST

/* A ticket brings nobody in whom B would not let in: asked as after a full handshake. */
START_TEST(who_was_trusted_before_is_asked_about_again)
{
    char text[TBQ_PEER_ID_TEXT_SIZE], why[128];
    struct story t;
    meet_first(&t);
    come_again(&t);
    tbq_peer_id_to_text(tbi_identity_id(t.a->identity), text);
    tbq_bytes denied = {text, strlen(text)};
    ck_assert_int_eq(tbi_trust_load(&t.b->trust, TBI_TRUST_DENY, denied, why, sizeof why), 0);
    dial_and_ping(&t);
    sim_run(t.sim, 20000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.connected, 0);
    ck_assert_uint_eq(t.at_a.pongs, 0);
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
    tcase_add_test(t, a_process_that_comes_again_resumes);
    tcase_add_test(t, who_comes_again_shows_its_token_once);
    tcase_add_test(t, who_was_trusted_before_is_asked_about_again);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
