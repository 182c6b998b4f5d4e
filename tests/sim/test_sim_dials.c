/* tests/sim/test_sim_dials.c - one name, many addresses: IPv6 first with a head start of 250 ms,
 * the first that answers wins, and nobody else hears more than a beginning (RFC 8305). */
#include <check.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "sim.h"

struct seen {
    size_t connected, failed, disconnected, fates;
    uint64_t at_ms; /* of the last of them */
    tbq_peer_id peer;
    int reason;
    char text[TBI_EVENT_TEXT_SIZE];
};

struct street {
    struct sim *sim;
    struct sim_node *dialler;
    struct sim_node *six, *four; /* two nodes: one can be reached over IPv6, one over IPv4 */
    struct seen seen[4];
    size_t nodes;
};

static bool watch(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;

    s->connected += e->type == TBQ_EVENT_CONNECTED;
    s->disconnected += e->type == TBQ_EVENT_DISCONNECTED;
    s->fates += e->type == TBQ_EVENT_FATE;
    if (e->type == TBQ_EVENT_CONNECTED) {
        s->peer = *e->peer;
        s->at_ms = sim_ms(n->sim);
    } else if (e->type == TBQ_EVENT_CONNECT_FAILED) {
        s->failed++;
        s->at_ms = sim_ms(n->sim);
        s->reason = e->reason;
        tbi_text(s->text, sizeof s->text, "%s", e->text);
    }
    return true;
}

static struct seen *seen(struct sim_node *n)
{
    return n->user;
}

static struct tbi_addr at(const char *text)
{
    struct tbi_addr a;
    ck_assert_int_eq(tbi_addr_from_text(&a, text), 0);
    return a;
}

static struct sim_node *add(struct street *t, const char *address)
{
    struct sim_node *n = sim_add(t->sim);
    n->addr = at(address);
    n->user = &t->seen[t->nodes++];
    n->on_event = watch;
    sim_settings(n)->no_discovery = true;
    return n;
}

static void begin(struct street *t, uint64_t delay6_ms, uint64_t delay4_ms)
{
    memset(t, 0, sizeof *t);
    t->sim = sim_new(8305);
    t->dialler = add(t, "10.0.0.1:8443");
    t->dialler->dual_stack = true;
    t->six = add(t, "[2001:db8::2]:8443");
    t->four = add(t, "192.0.2.4:8443");
    sim_boot(t->dialler);
    sim_boot(t->six);
    sim_boot(t->four);
    sim_both(t->dialler, t->six, (struct sim_link){.delay_ms = delay6_ms});
    sim_both(t->dialler, t->four, (struct sim_link){.delay_ms = delay4_ms});
}

/* The dialler dials a name, for which DNS has these addresses. `pin` may be NULL. */
static tbq_connection dial(struct street *t, const tbq_peer_id *pin, const struct tbi_addr *addrs,
                           size_t n)
{
    struct tbi_target target = {.host = "street.example", .port = 8443};
    struct tbi_lookup lookup;
    struct tbi_now now = sim_now(t->sim);
    tbq_connection c;

    if (pin != NULL) {
        target.pinned = true;
        target.id = *pin;
    }
    ck_assert_int_eq(tbi_node_connect(t->dialler->node, now, &target, false, &c), 0);
    ck_assert(tbi_node_next_lookup(t->dialler->node, &lookup));
    tbi_node_resolved(t->dialler->node, now, lookup.contact, addrs, n, NULL);
    return c;
}

static void dial_both(struct street *t, const tbq_peer_id *pin)
{
    struct tbi_addr addrs[] = {t->four->addr, t->six->addr}; /* as DNS may have them */
    dial(t, pin, addrs, 2);
}

static uint64_t dialled(struct street *t)
{
    return tbi_endpoint_stats(t->dialler->node->endpoint)->dialled;
}

static bool is(const tbq_peer_id *id, const struct sim_node *n)
{
    return tbq_peer_id_compare(id, &n->node->id) == 0;
}

START_TEST(ipv6_goes_first_and_alone_where_it_answers)
{
    struct street t;
    begin(&t, 100, 1);
    dial_both(&t, NULL);
    sim_run(t.sim, 2000, NULL, NULL);
    ck_assert_uint_eq(seen(t.dialler)->connected, 1);
    ck_assert(is(&seen(t.dialler)->peer, t.six));
    ck_assert_uint_eq(dialled(&t), 1);
    ck_assert_uint_eq(sim_link(t.dialler, t.four)->sent, 0);
    sim_free(t.sim);
}
END_TEST

START_TEST(ipv4_follows_a_quarter_second_behind_a_dead_ipv6)
{
    struct street t;
    begin(&t, 1, 10);
    sim_kill(t.six);
    dial_both(&t, NULL);
    sim_run(t.sim, 2000, NULL, NULL);
    ck_assert_uint_eq(seen(t.dialler)->connected, 1);
    ck_assert(is(&seen(t.dialler)->peer, t.four));
    ck_assert_uint_ge(seen(t.dialler)->at_ms, 250 + 20);
    ck_assert_uint_le(seen(t.dialler)->at_ms, 250 + 60);
    ck_assert_uint_eq(seen(t.dialler)->failed, 0);
    sim_free(t.sim);
}
END_TEST

/* Both are there; the slower one was under way first. It never hears a HELLO. */
START_TEST(the_faster_one_wins_and_the_other_is_told_nothing)
{
    struct street t;
    begin(&t, 400, 10);
    dial_both(&t, NULL);
    sim_run(t.sim, 8000, NULL, NULL);
    ck_assert_uint_eq(dialled(&t), 2);
    ck_assert_uint_eq(seen(t.dialler)->connected, 1);
    ck_assert_uint_eq(seen(t.dialler)->disconnected, 0);
    ck_assert(is(&seen(t.dialler)->peer, t.four));
    ck_assert_uint_eq(seen(t.four)->connected, 1);
    ck_assert_uint_eq(seen(t.six)->connected, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(t.six->node->endpoint)->connections, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(t.dialler->node->endpoint)->connections, 1);
    sim_free(t.sim);
}
END_TEST

/* Who answers under another key is no reason to wait, and none to give up. */
START_TEST(a_wrong_key_at_one_address_leads_to_the_next_at_once)
{
    struct street t;
    begin(&t, 10, 10);
    dial_both(&t, &t.four->node->id);
    sim_run(t.sim, 2000, NULL, NULL);
    ck_assert_uint_eq(seen(t.dialler)->connected, 1);
    ck_assert(is(&seen(t.dialler)->peer, t.four));
    ck_assert_uint_lt(seen(t.dialler)->at_ms, 250); /* nobody waited for a head start to pass */
    sim_free(t.sim);
}
END_TEST

START_TEST(a_refusal_is_told_rather_than_a_silence)
{
    struct street t;
    begin(&t, 10, 10);
    struct tbi_addr addrs[] = {t.six->addr, at("192.0.2.99:8443")};
    tbq_peer_id other = t.four->node->id;
    dial(&t, &other, addrs, 2);
    sim_run(t.sim, 6000, NULL, NULL);
    ck_assert_uint_eq(seen(t.dialler)->failed, 1);
    ck_assert_int_eq(seen(t.dialler)->reason, TBQ_ERR_IDENTITY);
    ck_assert_uint_eq(seen(t.dialler)->at_ms, 5000); /* the other address had its time */
    sim_free(t.sim);
}
END_TEST

/* Sixteen dead addresses all have their turn within the time of the one dial. */
START_TEST(many_dead_addresses_fail_in_the_time_of_one)
{
    struct street t;
    struct tbi_addr addrs[16];
    begin(&t, 10, 10);
    for (size_t i = 0; i < 16; i++) {
        char text[TBI_ADDR_TEXT_SIZE];
        tbi_text(text, sizeof text, i % 2 == 0 ? "198.51.100.%zu:1" : "[2001:db8::f%zu]:1", i);
        addrs[i] = at(text);
    }
    dial(&t, NULL, addrs, 16);
    sim_run(t.sim, 4999, NULL, NULL);
    ck_assert_uint_eq(dialled(&t), 16);
    ck_assert_uint_eq(seen(t.dialler)->failed, 0);
    sim_run(t.sim, 1, NULL, NULL);
    ck_assert_uint_eq(seen(t.dialler)->failed, 1);
    ck_assert_int_eq(seen(t.dialler)->reason, TBQ_ERR_TIMEOUT);
    sim_run(t.sim, 3000, NULL, NULL); /* what was closed lingers a while, and goes */
    ck_assert_uint_eq(tbi_endpoint_stats(t.dialler->node->endpoint)->connections, 0);
    sim_free(t.sim);
}
END_TEST

/* An IPv4 socket has no way to an IPv6 address: it costs no time. */
START_TEST(what_the_socket_cannot_reach_is_passed_over)
{
    struct street t;
    begin(&t, 10, 10);
    sim_kill(t.dialler);
    t.dialler->dual_stack = false;
    sim_boot(t.dialler);
    dial_both(&t, NULL);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(seen(t.dialler)->connected, 1);
    ck_assert_uint_lt(seen(t.dialler)->at_ms, 100);
    ck_assert_uint_eq(dialled(&t), 1);
    sim_free(t.sim);
}
END_TEST

/* At any moment of the race: every attempt ends, and nothing is left. */
START_TEST(the_application_closes_while_they_race)
{
    struct street t;
    begin(&t, 200, 200);
    struct tbi_addr addrs[] = {t.four->addr, t.six->addr};
    tbq_connection c = dial(&t, NULL, addrs, 2);
    sim_run(t.sim, (uint64_t)_i * 100, NULL, NULL);
    ck_assert_int_eq(tbi_node_close(t.dialler->node, sim_now(t.sim), c), 0);
    sim_run(t.sim, 10000, NULL, NULL);
    ck_assert_uint_eq(tbi_endpoint_stats(t.dialler->node->endpoint)->connections, 0);
    ck_assert_uint_eq(tbi_map_count(&t.dialler->node->contacts), 0);
    ck_assert_uint_eq(seen(t.dialler)->connected + seen(t.dialler)->failed, 1);
    ck_assert_uint_eq(seen(t.dialler)->disconnected, seen(t.dialler)->connected);
    sim_free(t.sim);
}
END_TEST

/* Whatever the first dial has come to when it is closed, the second one's message has its fate. */
START_TEST(who_dials_again_at_once_is_told_all_the_same)
{
    struct street t;
    begin(&t, 50, 50);
    const tbq_peer_id *id = tbi_identity_id(t.four->identity);
    struct tbi_target to = {.numeric = true, .addr = t.four->addr, .pinned = true, .id = *id};
    tbq_message m = tbq_transition("a word", 6);
    const tbq_send_options o = {.size = sizeof o, .lane = TBQ_LANE_NORMAL};
    tbq_connection c;

    ck_assert_int_eq(tbi_node_connect(t.dialler->node, sim_now(t.sim), &to, false, &c), 0);
    sim_run(t.sim, (uint64_t)_i * 20, NULL, NULL);
    ck_assert_int_eq(tbi_node_close(t.dialler->node, sim_now(t.sim), c), 0);
    ck_assert_int_eq(tbi_node_connect(t.dialler->node, sim_now(t.sim), &to, false, &c), 0);
    ck_assert_int_eq(tbi_node_send_on(t.dialler->node, sim_now(t.sim), c, &m, &o), 0);
    sim_kill(t.four);
    sim_run(t.sim, 400000, NULL, NULL); /* peer_timeout_ms, should it have been up */
    ck_assert_uint_eq(seen(t.dialler)->fates, 1);
    tbi_node_stop(t.dialler->node, sim_now(t.sim), 20000);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert(tbi_node_stopped(t.dialler->node));
    sim_free(t.sim);
}
END_TEST

START_TEST(a_stop_ends_the_race)
{
    struct street t;
    begin(&t, 200, 200);
    dial_both(&t, NULL);
    sim_run(t.sim, (uint64_t)_i * 100, NULL, NULL);
    tbi_node_stop(t.dialler->node, sim_now(t.sim), 0);
    sim_run(t.sim, 10, NULL, NULL);
    ck_assert(tbi_node_stopped(t.dialler->node));
    ck_assert_uint_eq(tbi_map_count(&t.dialler->node->contacts), 0);
    sim_free(t.sim);
}
END_TEST

/* --- Claims ----------------------------------------------------------------------------------- */

/* A record of that key which claims 16 places in one network that is not its own. */
static size_t lying_record(uint8_t to[TBI_RECORD_SIZE_MAX], struct street *t, tbq_peer_id *id)
{
    struct tbi_record r = {.sequence = 1, .addresses_len = TBI_RECORD_ADDRESSES_MAX};
    const struct tbi_identity *liar = t->four->identity;
    size_t size = 0;

    memcpy(r.key, tbi_identity_key(liar), sizeof r.key);
    for (size_t i = 0; i < TBI_RECORD_ADDRESSES_MAX; i++) {
        char text[TBI_ADDR_TEXT_SIZE];
        tbi_text(text, sizeof text, "203.0.113.%zu:53", i + 1);
        r.address[i].addr = at(text);
    }
    ck_assert_int_eq(tbi_record_seal(&r, tbi_identity_crypto(liar), to, TBI_RECORD_SIZE_MAX, &size),
                     0);
    *id = *tbi_identity_id(liar);
    return size;
}

START_TEST(claims_in_one_network_are_dialled_once_a_second)
{
    struct street t;
    uint8_t record[TBI_RECORD_SIZE_MAX];
    tbq_peer_id id, about;
    tbq_connection c;

    begin(&t, 10, 10);
    size_t size = lying_record(record, &t, &id);
    ck_assert_int_eq(tbi_discovery_hear(t.dialler->node, record, size, &t.six->addr, &about), 0);
    struct tbi_target target = {.pinned = true, .id = id};
    ck_assert_int_eq(tbi_node_connect(t.dialler->node, sim_now(t.sim), &target, false, &c), 0);
    for (uint64_t s = 1; s <= 5; s++) {
        sim_run(t.sim, 999, NULL, NULL);
        ck_assert_uint_le(dialled(&t), s);
        sim_run(t.sim, 1, NULL, NULL);
    }
    sim_run(t.sim, 10, NULL, NULL);
    ck_assert_uint_eq(seen(t.dialler)->failed, 1);
    ck_assert_uint_ge(dialled(&t), 4); /* all the same they are tried */
    sim_free(t.sim);
}
END_TEST

/* --- The order -------------------------------------------------------------------------------- */

START_TEST(families_take_turns)
{
    struct tbi_addr a[] = {at("192.0.2.1:1"), at("192.0.2.2:1"), at("192.0.2.3:1"),
                           at("[2001:db8::1]:1"), at("[2001:db8::2]:1")};
    const char *order[] = {"[2001:db8::1]:1", "192.0.2.1:1", "[2001:db8::2]:1", "192.0.2.2:1",
                           "192.0.2.3:1"};

    tbi_race_order(a, 5);
    for (size_t i = 0; i < 5; i++) {
        char text[TBI_ADDR_TEXT_SIZE];
        tbi_addr_to_text(&a[i], text);
        ck_assert_str_eq(text, order[i]);
    }
    tbi_race_order(a, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dials");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, ipv6_goes_first_and_alone_where_it_answers);
    tcase_add_test(c, ipv4_follows_a_quarter_second_behind_a_dead_ipv6);
    tcase_add_test(c, the_faster_one_wins_and_the_other_is_told_nothing);
    tcase_add_test(c, a_wrong_key_at_one_address_leads_to_the_next_at_once);
    tcase_add_test(c, a_refusal_is_told_rather_than_a_silence);
    tcase_add_test(c, many_dead_addresses_fail_in_the_time_of_one);
    tcase_add_test(c, what_the_socket_cannot_reach_is_passed_over);
    tcase_add_loop_test(c, the_application_closes_while_they_race, 0, 10);
    tcase_add_loop_test(c, who_dials_again_at_once_is_told_all_the_same, 0, 20);
    tcase_add_loop_test(c, a_stop_ends_the_race, 0, 10);
    tcase_add_test(c, claims_in_one_network_are_dialled_once_a_second);
    tcase_add_test(c, families_take_turns);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
