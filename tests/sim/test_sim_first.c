/* tests/sim/test_sim_first.c - how soon a first message is answered: 50 ms lie between the two, so
 * each round trip takes 100. */
#include <check.h>
#include <stdio.h>
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
    unsigned gone;
    char text[320]; /* of the last event about a connection's end */
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
    } else if (e->type == TBQ_EVENT_CONNECT_FAILED || e->type == TBQ_EVENT_DISCONNECTED) {
        s->gone++;
        snprintf(s->text, sizeof s->text, "%s", e->text);
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

/* Of those that wait, 64 at most. */
START_TEST(many_first_pings_are_answered)
{
    const tbq_message ping = tbq_ping();
    struct story t;
    begin(&t);
    boot(&t);
    dial_and_ping(&t);
    for (int i = 1; i < (_i == 0 ? 60 : 70); i++) {
        say(&t, &ping);
    }
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.pongs, _i == 0 ? 60 : TBI_PINGS_MAX);
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

/* Some connection that it has now. */
static bool resumed(const struct sim_node *n)
{
    struct tbi_map_entry *e = tbi_map_first(&n->node->endpoint->conns);

    while (e != NULL && !tbi_conn_resumed(tbi_map_value(e))) {
        e = tbi_map_next(e);
    }
    return e != NULL;
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

static void deny(struct sim_node *at, const struct sim_node *whom)
{
    char text[TBQ_PEER_ID_TEXT_SIZE], why[128];

    tbq_peer_id_to_text(tbi_identity_id(whom->identity), text);
    tbq_bytes denied = {text, strlen(text)};
    ck_assert_int_eq(tbi_trust_load(&at->trust, TBI_TRUST_DENY, denied, why, sizeof why), 0);
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
    struct story t;
    meet_first(&t);
    come_again(&t);
    deny(t.b, t.a);
    dial_and_ping(&t);
    sim_run(t.sim, 20000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.connected, 0);
    ck_assert_uint_eq(t.at_a.pongs, 0);
    sim_free(t.sim);
}
END_TEST

/* --- 0-RTT ------------------------------------------------------------------------------------ */

static const struct tbi_endpoint_stats *at_b(const struct story *t)
{
    return tbi_endpoint_stats(t->b->node->endpoint);
}

/* Both have 0-RTT, and A comes again. */
static void come_again_early(struct story *t)
{
    begin(t);
    t->a->settings.early_data = t->b->settings.early_data = true;
    boot(t);
    dial_and_ping(t);
    sim_run(t->sim, 1000, NULL, NULL);
    ck_assert_uint_eq(answered_after(t), 2 * RTT_MS); /* A has no ticket yet */
    come_again(t);
}

/* In the end there are one pong and one fate, whatever became of the early one. */
static void nothing_is_lost_or_told_twice(struct story *t)
{
    sim_run(t->sim, 3000, NULL, NULL);
    ck_assert_uint_eq(t->at_a.pongs, 1);
    ck_assert_uint_eq(t->at_a.connected, 1);
    ck_assert_uint_eq(t->at_a.fates[TBQ_DELIVERED], 1);
}

START_TEST(a_first_ping_is_answered_after_one_round_trip)
{
    struct story t;
    come_again_early(&t);
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(answered_after(&t), RTT_MS);
    ck_assert_uint_eq(t.at_a.rtt_ns / TBI_NS_PER_MS, RTT_MS);
    ck_assert_uint_eq(t.at_a.connected_at - t.began, 2 * RTT_MS);
    ck_assert_uint_eq(at_b(&t)->early_accepted, 1);
    nothing_is_lost_or_told_twice(&t);
    sim_free(t.sim);
}
END_TEST

/* As from a socket that was read late: all that A has sent is there at once. */
START_TEST(a_first_flight_may_come_in_one_batch)
{
    static uint8_t bytes[8][TBI_DATAGRAM_MAX];
    struct tbi_datagram d[8];
    struct tbi_send_batch out = {.data = bytes[0], .capacity = TBI_DATAGRAM_MAX};
    size_t n = 0;
    struct story t;
    come_again_early(&t);
    dial_and_ping(&t);
    tbi_node_step(t.a->node, sim_now(t.sim));
    while (n < 8 && tbi_node_send(t.a->node, sim_now(t.sim), &out) > 0) {
        d[n] = (struct tbi_datagram){.data = bytes[n],
                                     .size = out.size,
                                     .segment_size = out.segment_size,
                                     .remote = t.a->addr,
                                     .local = t.b->addr};
        out.data = bytes[++n % 8];
    }
    ck_assert_uint_ge(n, 1);
    for (size_t read = 0; read < n;) {
        read += tbi_node_recv(t.b->node, sim_now(t.sim), d + read, n - read);
    }
    ck_assert_uint_eq(at_b(&t)->early_accepted, 1);
    ck_assert_uint_eq(t.b->node->early_answered, 1);
    nothing_is_lost_or_told_twice(&t);
    sim_free(t.sim);
}
END_TEST

START_TEST(both_must_want_it)
{
    struct story t;
    begin(&t);
    t.a->settings.early_data = _i == 0;
    t.b->settings.early_data = _i == 1;
    boot(&t);
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    come_again(&t);
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(answered_after(&t), 2 * RTT_MS);
    ck_assert_uint_eq(at_b(&t)->early_accepted + at_b(&t)->early_refused, 0);
    sim_free(t.sim);
}
END_TEST

enum { A_HAS_NOT, B_HAS_NOT, B_RESTARTED, B_ASKS_THE_APPLICATION, NO_EARLY };

/* Without it on one side, or where B cannot tell a ticket from a used one, all is as without it. */
START_TEST(where_it_is_not_taken_a_round_trip_is_the_price)
{
    struct story t;
    come_again_early(&t);
    switch (_i) {
    case A_HAS_NOT:
        t.a->node->cfg.settings.early_data = false;
        break;
    case B_HAS_NOT:
        t.b->settings.early_data = false;
        sim_kill(t.b);
        sim_boot(t.b);
        break;
    case B_RESTARTED:
        sim_kill(t.b);
        sim_boot(t.b);
        break;
    case B_ASKS_THE_APPLICATION:
        t.b->node->cfg.settings.ask_trust = true;
        break;
    }
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(t.b->node->early_answered, 0);
    if (_i == B_ASKS_THE_APPLICATION) { /* which says nothing */
        ck_assert_uint_eq(t.at_a.pongs, 0);
    } else {
        ck_assert_uint_eq(answered_after(&t), 2 * RTT_MS);
        ck_assert_uint_eq(t.at_a.rtt_ns / TBI_NS_PER_MS, RTT_MS);
        nothing_is_lost_or_told_twice(&t);
    }
    sim_free(t.sim);
}
END_TEST

/* The same ticket a second time, as by a client that was copied: the handshake goes on. */
START_TEST(a_ticket_brings_early_data_once)
{
    struct story t;
    struct tbi_block *file;
    come_again_early(&t);
    ck_assert_int_eq(tbi_node_tickets_write(t.a->node, &file), 0);
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    sim_kill(t.a);
    memset(&t.at_a, 0, sizeof t.at_a);
    sim_boot(t.a);
    ck_assert_int_eq(tbi_node_tickets_read(t.a->node, file->data, file->size), 0);
    tbi_block_unref(file);
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(at_b(&t)->early_accepted, 1);
    ck_assert_uint_eq(at_b(&t)->early_replays, 1);
    ck_assert_uint_eq(answered_after(&t), 2 * RTT_MS);
    nothing_is_lost_or_told_twice(&t);
    sim_free(t.sim);
}
END_TEST

/* _i: 0 B does not answer whom it would not let in; 1 A does not believe whom it would not. */
START_TEST(trust_is_asked_before_anything_early_counts)
{
    struct story t;
    come_again_early(&t);
    deny(_i == 0 ? t.b : t.a, _i == 0 ? t.a : t.b);
    dial_and_ping(&t);
    sim_run(t.sim, 20000, NULL, NULL);
    ck_assert_uint_eq(at_b(&t)->early_accepted, 1);
    ck_assert_uint_eq(t.b->node->early_answered, (unsigned)_i);
    ck_assert_uint_eq(t.at_a.pongs, 0);
    ck_assert_uint_eq(t.at_a.connected, 0);
    ck_assert_uint_eq(t.at_a.fates[TBQ_DELIVERED], 0);
    sim_free(t.sim);
}
END_TEST

/* An attacker has kept A's first flight from B, and shows it to B now, while A is connected. It is
 * the first time that B sees it; and nothing that A has is disturbed. */
START_TEST(a_first_flight_that_comes_late_disturbs_nobody)
{
    struct story t;
    come_again_early(&t);
    sim_link(t.a, t.b)->delay_ms = 2000; /* it is on its way still... */
    dial_and_ping(&t);
    sim_run(t.sim, 1, NULL, NULL);
    sim_link(t.a, t.b)->delay_ms = RTT_MS / 2;
    sim_link(t.a, t.b)->cut = true; /* ...and A gives up */
    sim_run(t.sim, 1, NULL, NULL);
    ck_assert_int_eq(tbi_node_close(t.a->node, sim_now(t.sim), t.dial), 0);
    sim_run(t.sim, 1, NULL, NULL);
    sim_link(t.a, t.b)->cut = false;
    memset(&t.at_a, 0, sizeof t.at_a);
    t.a->node->tickets.changed = false;
    tbi_tickets_forget(&t.a->node->tickets,
                       tbi_tickets_find(&t.a->node->tickets, NULL, &t.b->addr));
    dial_and_ping(&t);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.connected, 1);
    ck_assert_uint_eq(at_b(&t)->early_accepted, 0);
    unsigned connected = t.at_b.connected, gone = t.at_b.gone;
    sim_run(t.sim, 10000, NULL, NULL); /* it comes, and its handshake is never complete */
    ck_assert_uint_eq(at_b(&t)->early_accepted, 1);
    ck_assert_uint_eq(t.b->node->early_answered, 1);
    ck_assert_uint_eq(at_b(&t)->half_open, 0);
    ck_assert_uint_eq(t.at_b.connected, connected);
    ck_assert_uint_eq(t.at_b.gone, gone);
    nothing_is_lost_or_told_twice(&t);
    sim_free(t.sim);
}
END_TEST

/* A client that is not ours says more than it may. */
static void say_early(struct story *t, const char *hex)
{
    struct tbi_map_entry *e = tbi_map_first(&t->a->node->sessions);
    struct tbi_session *s = tbi_map_value(e);
    uint8_t bytes[64];
    size_t size = 0;
    int64_t stream = s->control_out;

    for (; hex[2 * size] != '\0'; size++) {
        unsigned value;
        ck_assert_int_eq(sscanf(hex + 2 * size, "%2x", &value), 1);
        bytes[size] = (uint8_t)value;
    }
    if (bytes[0] == 0x10) { /* a lane's own stream, with its type */
        ck_assert_int_eq(tbi_conn_open_uni(tbi_session_conn(s), 1, &stream), 0);
    }
    ck_assert_int_eq(tbi_conn_write(tbi_session_conn(s), stream, bytes, size, NULL, false), 0);
}

static const struct {
    const char *hex;
    bool refused;
} early[] = {
    {"2004000006"
     "61",
     true}, /* a MESSAGE where it never belongs */
    {"102004000006"
     "61",
     true}, /* a lane, and a TRANSITION in it */
    {"021a"
     "0008"
     "1122334455667788"
     "0208"
     "0000000000000000"
     "0404"
     "00000000",
     true},                         /* CONFIRM */
    {"0a020000", true},             /* SETTLED */
    {"0f080000000000000007", true}, /* a second EARLY_PING */
    {"3d0161", false},              /* what nobody knows is skipped */
};

START_TEST(a_client_that_says_more_early_is_refused)
{
    struct story t;
    come_again_early(&t);
    dial_and_ping(&t);
    tbi_node_step(t.a->node, sim_now(t.sim)); /* HELLO and the ping are written, not sent */
    say_early(&t, early[_i].hex);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(at_b(&t)->early_accepted, 1);
    ck_assert_uint_eq(t.b->node->protocol_errors, early[_i].refused);
    ck_assert_uint_eq(t.b->node->early_answered, early[_i].refused ? 0 : 1);
    ck_assert_uint_eq(t.at_b.messages, 0);
    ck_assert_uint_eq(t.at_b.connected, early[_i].refused ? 1 : 2);
    if (early[_i].refused) {
        ck_assert_msg(strstr(t.at_a.text, "0-RTT is for") != NULL, "%s", t.at_a.text);
    }
    sim_free(t.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sim/first");
    TCase *t = tcase_create("first");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_first_message_is_answered_after_two_round_trips);
    tcase_add_loop_test(t, many_first_pings_are_answered, 0, 2);
    tcase_add_loop_test(t, a_lost_flight_costs_time_and_nothing_else, 0, 4);
    tcase_add_test(t, more_than_may_go_ahead_goes_behind_it);
    tcase_add_test(t, who_is_not_trusted_gets_no_answer);
    tcase_add_test(t, a_ping_to_an_address_of_a_known_peer_is_answered);
    tcase_add_test(t, a_process_that_comes_again_resumes);
    tcase_add_test(t, who_comes_again_shows_its_token_once);
    tcase_add_test(t, who_was_trusted_before_is_asked_about_again);
    tcase_add_test(t, a_first_ping_is_answered_after_one_round_trip);
    tcase_add_test(t, a_first_flight_may_come_in_one_batch);
    tcase_add_loop_test(t, both_must_want_it, 0, 2);
    tcase_add_loop_test(t, where_it_is_not_taken_a_round_trip_is_the_price, 0, NO_EARLY);
    tcase_add_test(t, a_ticket_brings_early_data_once);
    tcase_add_loop_test(t, trust_is_asked_before_anything_early_counts, 0, 2);
    tcase_add_test(t, a_first_flight_that_comes_late_disturbs_nobody);
    tcase_add_loop_test(t, a_client_that_says_more_early_is_refused, 0,
                        sizeof early / sizeof early[0]);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
