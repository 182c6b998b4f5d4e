/* tests/sim/test_sim_pace.c - few and small messages. On a long path they wait for no pace that is
 * not theirs, and a stop tells of all that was taken; on a short one what acknowledges them waits
 * for company, and not for long. */
#include <check.h>
#include <string.h>

#include "sim.h"
#include "../unit/harness.h"

#define ONE_WAY_MS 50
#define SHORT_MS 1 /* an eighth of that round trip is a quarter of a millisecond */
#define TRIPS 100U

static struct {
    struct sim *sim;
    struct sim_node *from, *to;
    size_t came, delivered, told;
    uint64_t longest; /* ns that one took, beyond the path's own time */
    size_t trips;     /* that are left: what came goes back */
} w;

static void say(struct sim_node *from, const struct sim_node *to)
{
    tbq_send_options o = {.size = sizeof o, .lane = TBQ_LANE_NORMAL};
    uint8_t bytes[100] = {0};
    uint64_t now = sim_now(w.sim).mono_ns;

    memcpy(bytes, &now, sizeof now);
    tbq_message m = tbq_transition(bytes, sizeof bytes);
    ck_assert_int_eq(
        tbi_node_send_to(from->node, sim_now(w.sim), tbi_identity_id(to->identity), &m, &o), 0);
}

static uint64_t datagrams(void)
{
    return sim_link(w.from, w.to)->sent + sim_link(w.to, w.from)->sent;
}

static bool on_event(struct sim_node *n, tbq_event *e)
{
    uint64_t sent, took;

    w.delivered += n == w.from && e->type == TBQ_EVENT_FATE && e->fate == TBQ_DELIVERED;
    if (n == w.to && e->type == TBQ_EVENT_MESSAGE) {
        memcpy(&sent, e->message->u.transition.data, sizeof sent);
        took = sim_now(w.sim).mono_ns - sent - ONE_WAY_MS * TBI_NS_PER_MS;
        w.longest = took > w.longest ? took : w.longest;
        w.came++;
    }
    if (w.trips > 0 && e->type == TBQ_EVENT_MESSAGE && --w.trips > 0) {
        say(n, n == w.from ? w.to : w.from);
    }
    return true;
}

static struct sim_node *add(void)
{
    struct sim_node *n = sim_add(w.sim);

    n->on_event = on_event;
    sim_settings(n)->no_discovery = true;
    sim_settings(n)->datagrams = true;
    return n;
}

static void run(uint64_t ms)
{
    sim_run(w.sim, ms, NULL, NULL);
}

static void begin_with(struct sim_link link, uint64_t ms)
{
    memset(&w, 0, sizeof w);
    w.sim = sim_new(5);
    w.from = add();
    w.to = add();
    sim_both(w.from, w.to, link);
    sim_boot(w.from);
    sim_boot(w.to);
    sim_dial(w.from, w.to, false);
    run(ms);
}

static void begin_over(uint64_t one_way_ms)
{
    begin_with((struct sim_link){.delay_ms = one_way_ms}, 2000);
}

static void begin(void)
{
    begin_over(ONE_WAY_MS);
}

/* So many, a pause after each. */
static void speak(int many, uint64_t pause_ms)
{
    for (int i = 0; i < many; i++) {
        say(w.from, w.to);
        run(pause_ms);
    }
}

START_TEST(a_small_message_waits_for_no_pace_of_others)
{
    begin();
    speak(500, 2);
    run(1000);
    ck_assert_uint_eq(w.came, 500);
    ck_assert_uint_lt(w.longest, TBI_NS_PER_MS);
    sim_free(w.sim);
}
END_TEST

/* The last acknowledgement waits for the pace of datagrams, which have no fate to wait for. */
START_TEST(a_stop_amid_traffic_tells_of_all_that_was_taken)
{
    static const uint8_t bytes[1000];

    begin();
    speak(50 + 7 * _i, 1);
    tbq_bytes b = {.data = bytes, .size = sizeof bytes};
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(tbi_node_send_datagram(w.to->node, sim_now(w.sim),
                                                tbi_identity_id(w.from->identity), b),
                         0);
    }
    run(1);
    tbi_node_stop(w.to->node, sim_now(w.sim), 5000);
    run(1000);
    ck_assert_uint_gt(w.came, 0);
    ck_assert_uint_eq(w.came, w.delivered);
    sim_free(w.sim);
}
END_TEST

START_TEST(an_answer_takes_along_what_acknowledges_its_question)
{
    begin_over(SHORT_MS);
    uint64_t before = datagrams();
    w.trips = TRIPS;
    say(w.from, w.to);
    run((TRIPS - 1) * SHORT_MS);
    ck_assert_uint_eq(w.trips, 1);
    ck_assert_uint_le(datagrams() - before, TRIPS + 2); /* and a PING of the node's own */
    sim_free(w.sim);
}
END_TEST

START_TEST(it_waits_for_an_answer_no_longer_than_five_milliseconds)
{
    begin_over(SHORT_MS);
    say(w.from, w.to);
    run(4); /* the link's word of it has left, the acknowledgement of its packet has not */
    uint64_t before = sim_link(w.to, w.from)->sent;
    run(4);
    ck_assert_uint_eq(sim_link(w.to, w.from)->sent, before + 1);
    sim_free(w.sim);
}
END_TEST

static bool came(void *many)
{
    return w.came == *(size_t *)many;
}

/* Its sender may have its window full, or wait to hear what was lost. Where the link's own word of
 * a message leaves without, which depends on when its last packets came, it follows at once. */
START_TEST(of_many_packets_the_last_ones_are_acknowledged_at_once)
{
    static uint8_t bytes[UINT16_MAX];
    tbq_send_options o = {.size = sizeof o, .lane = TBQ_LANE_NORMAL};
    size_t followed = 0;

    begin_over(SHORT_MS);
    for (size_t many = 1; many <= 40; many++) {
        tbq_message m = tbq_transition(bytes, many * 1500);
        ck_assert_int_eq(
            tbi_node_send_to(w.from->node, sim_now(w.sim), tbi_identity_id(w.to->identity), &m, &o),
            0);
        ck_assert(sim_run(w.sim, 1000, came, &many));
        uint64_t before = sim_link(w.to, w.from)->sent;
        run(1);
        followed += sim_link(w.to, w.from)->sent > before;
        run(100);
    }
    ck_assert_uint_ge(followed, 3);
    sim_free(w.sim);
}
END_TEST

static size_t room(void)
{
    return tbi_node_datagram_room(w.from->node, tbi_identity_id(w.to->identity));
}

/* The first packets that try whether larger ones pass are lost. To try smaller ones is for ngtcp2
 * to say when it is asked, which messages that follow one another put off, each for a little, but
 * for the end of their pace. */
START_TEST(how_large_packets_may_be_is_found_out_among_messages_too)
{
    begin_with((struct sim_link){.delay_ms = _i == 0 ? SHORT_MS : 0, .mtu = 1400}, 60);
    size_t before = room();
    ck_assert_uint_gt(before, 0);
    for (int i = 0; i < 400; i++) {
        say(w.from, w.to);
        run(1);
        say(w.to, w.from);
        run(2);
    }
    ck_assert_uint_gt(room(), before);
    sim_free(w.sim);
}
END_TEST

/* Sends so many bytes; how many packets left within the busiest millisecond. */
static uint64_t flood(size_t bytes)
{
    static uint8_t part[16 << 10];
    tbq_send_options o = {.size = sizeof o, .lane = TBQ_LANE_NORMAL};
    tbq_message m = tbq_transition(part, sizeof part);
    uint64_t most = 0;

    for (size_t i = 0; i < bytes / sizeof part || w.delivered < w.told;) {
        uint64_t before = sim_link(w.from, w.to)->sent;
        while (i < bytes / sizeof part &&
               tbi_node_send_to(w.from->node, sim_now(w.sim), tbi_identity_id(w.to->identity), &m,
                                &o) == 0) {
            i++;
            w.told++;
        }
        run(1);
        uint64_t packets = sim_link(w.from, w.to)->sent - before;
        most = packets > most ? packets : most;
    }
    return most;
}

/* Each of them has a pace, of which less than half a millisecond is left when it is written. */
START_TEST(what_follows_small_messages_is_paced_as_ever)
{
    begin_over(10);
    flood(5 << 20); /* the window grows */
    uint64_t paced = flood(5 << 20);
    speak(3000, 20);
    w.told += 3000;
    uint64_t after = flood(5 << 20);
    ck_assert_uint_le(after, 2 * paced);
    sim_free(w.sim);
}
END_TEST

/* An hour of it: a ping of each node every half a minute, its answer, and their acknowledgements.
 */
START_TEST(who_has_nothing_to_say_is_woken_for_pings_alone)
{
    begin_over(10);
    run(60000);
    uint64_t turns = sim_turns(w.sim), packets = datagrams();
    run(3600000);
    ck_assert_uint_le(sim_turns(w.sim) - turns, 2 * 120 * 24);
    ck_assert_uint_le(datagrams() - packets, 2 * 120 * 10);
    sim_free(w.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sim_pace");
    TCase *t = tcase_create("pace");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_small_message_waits_for_no_pace_of_others);
    tcase_add_test(t, who_has_nothing_to_say_is_woken_for_pings_alone);
    tcase_add_test(t, what_follows_small_messages_is_paced_as_ever);
    tcase_add_test(t, an_answer_takes_along_what_acknowledges_its_question);
    tcase_add_test(t, it_waits_for_an_answer_no_longer_than_five_milliseconds);
    tcase_add_loop_test(t, how_large_packets_may_be_is_found_out_among_messages_too, 0, 2);
    tcase_add_test(t, of_many_packets_the_last_ones_are_acknowledged_at_once);
    tcase_add_loop_test(t, a_stop_amid_traffic_tells_of_all_that_was_taken, 1, 60);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
