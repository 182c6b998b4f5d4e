/* tests/sim/test_sim_migrate.c - the ground moves under a connection: a NAT gives other addresses,
 * a machine comes into another network. The application hears of a path, and of nothing else. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "ledger.h"
#include "sim.h"
#include "../unit/harness.h"

#define MESSAGES 400
#define EVERY_MS 10

struct at { /* one node */
    size_t connected, disconnected, failed, paths, messages;
    char path[64]; /* of the last PATH */
    tbq_connection connection;
    bool same_connection; /* the last PATH was of the connection that was told last */
};

static struct sim *sim;
static struct sim_node *a, *b;
static struct at at_a, at_b;
static struct ledger ab, ba;

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct at *t = n->user;
    switch (e->type) {
    case TBQ_EVENT_CONNECTED:
        t->connected++;
        t->connection = e->connection;
        sim_say(n, "is connected with %s", e->address);
        break;
    case TBQ_EVENT_DISCONNECTED:
        t->disconnected++;
        sim_say(n, "has lost %s: %s", e->address, e->text);
        break;
    case TBQ_EVENT_CONNECT_FAILED:
        t->failed++;
        break;
    case TBQ_EVENT_PATH:
        t->paths++;
        snprintf(t->path, sizeof t->path, "%s", e->address);
        t->same_connection = e->connection == t->connection && e->peer != NULL;
        sim_say(n, "goes another way to %s", e->address);
        break;
    case TBQ_EVENT_MESSAGE:
        t->messages++;
        break;
    default:
        break;
    }
    ledger_event(&ab, n, e);
    ledger_event(&ba, n, e);
    return true;
}

static bool both_up(void *arg)
{
    (void)arg;
    return at_a.connected > 0 && at_b.connected > 0;
}

static bool all_told(void *arg)
{
    (void)arg;
    return ledger_settled(&ab) && ledger_settled(&ba);
}

static void begin(void)
{
    sim = sim_new(11);
    a = sim_add(sim);
    b = sim_add(sim);
    at_a = at_b = (struct at){0};
    a->on_event = b->on_event = on_event;
    a->user = &at_a;
    b->user = &at_b;
    sim_both(a, b, (struct sim_link){.delay_ms = 20});
    sim_settings(a)->no_discovery = sim_settings(b)->no_discovery = true;
    ledger_begin(&ab, a, b);
    ledger_begin(&ba, b, a);
}

static void end(void)
{
    sim_free(sim);
}

static void connect_them(bool persistent)
{
    sim_boot(a);
    sim_boot(b);
    sim_dial(a, b, persistent);
    ck_assert(sim_run(sim, 5000, both_up, NULL));
    sim_run(sim, 1000, NULL, NULL);
}

static void told(const struct at *t, size_t paths, const char *address)
{
    ck_assert_msg(t->paths == paths, "%zu paths\n%s", t->paths, sim_transcript(sim));
    if (paths > 0) {
        ck_assert_str_eq(t->path, address);
        ck_assert(t->same_connection);
    }
    ck_assert_uint_eq(t->connected, 1);
    ck_assert_uint_eq(t->disconnected, 0);
}

/* Both talk all the while, and `change` happens in the middle; nothing is lost or comes twice. */
static void talk_over(void (*change)(size_t n))
{
    for (size_t i = 0; i < MESSAGES; i++) {
        ck_assert_int_eq(ledger_send(&ab, 2000, TBQ_LANE_NORMAL, false, 0), 0);
        ck_assert_int_eq(ledger_send(&ba, 3000, TBQ_LANE_NORMAL, false, 0), 0);
        sim_run(sim, EVERY_MS, NULL, NULL);
        change(i);
    }
    ck_assert_msg(sim_run(sim, 60000, all_told, NULL), "%s", sim_transcript(sim));
    ck_assert_msg(ledger_broken(&ab) + ledger_broken(&ba) == 0, "%s", sim_transcript(sim));
    ck_assert_uint_eq(ab.told[TBQ_DELIVERED], MESSAGES);
    ck_assert_uint_eq(ba.told[TBQ_DELIVERED], MESSAGES);
    ck_assert_uint_eq(ab.got, MESSAGES);
    ck_assert_uint_eq(ba.got, MESSAGES);
}

/* --- A NAT ------------------------------------------------------------------------------------ */

static void rebind_a_once(size_t n)
{
    if (n == MESSAGES / 2) {
        sim_rebind(a, "192.0.2.7:4711");
    }
}

START_TEST(a_nat_gives_the_dialler_another_address)
{
    connect_them(false);
    talk_over(rebind_a_once);
    told(&at_b, 1, "192.0.2.7:4711");
    told(&at_a, 0, NULL); /* it cannot know */
    ck_assert_uint_eq(a->from_nowhere + b->from_nowhere, 0);
}
END_TEST

static void rebind_a_often(size_t n)
{
    char addr[32];
    if (n % 50 == 25) {
        snprintf(addr, sizeof addr, "192.0.2.7:%zu", 5000 + n);
        sim_rebind(a, addr);
    }
}

START_TEST(and_another_and_another)
{
    connect_them(false);
    talk_over(rebind_a_often);
    told(&at_b, MESSAGES / 50, "192.0.2.7:5375");
    told(&at_a, 0, NULL);
}
END_TEST

/* A client believes no packet from another address than it has dialled (RFC 9000, section 9): this
 * connection is lost. Who was dialled dials, and the link goes on with that. */
static void rebind_b_for_a_while(size_t n)
{
    if (n == MESSAGES / 4) {
        sim_rebind(b, "192.0.2.8:4712");
    } else if (n == 3 * MESSAGES / 4) {
        sim_rebind(b, "10.0.0.2:8443");
    }
}

START_TEST(a_nat_gives_the_accepter_another_address)
{
    sim_settings(a)->ping_interval_ms = sim_settings(b)->ping_interval_ms = 200;
    sim_settings(a)->idle_timeout_ms = sim_settings(b)->idle_timeout_ms = 1000;
    connect_them(true);
    talk_over(rebind_b_for_a_while);
    ck_assert_uint_eq(at_a.disconnected + at_b.disconnected, 0);
    ck_assert_uint_eq(at_a.connected + at_b.connected, 2);
    ck_assert_uint_ge(at_a.paths, 1);
}
END_TEST

/* --- Another network -------------------------------------------------------------------------- */

static void move_a_once(size_t n)
{
    if (n == MESSAGES / 2) {
        sim_move(a, "10.7.0.1:8443");
    }
}

START_TEST(the_dialler_comes_into_another_network)
{
    connect_them(false);
    talk_over(move_a_once);
    told(&at_b, 1, "10.7.0.1:8443");
    told(&at_a, 1, "10.0.0.2:8443"); /* where B is, as ever */
    ck_assert_uint_eq(a->from_nowhere, 0);
}
END_TEST

/* Nobody says anything: the peer learns of it all the same. */
START_TEST(a_silent_connection_moves_too)
{
    connect_them(false);
    sim_move(a, "10.7.0.1:8443");
    sim_run(sim, 1000, NULL, NULL);
    told(&at_b, 1, "10.7.0.1:8443");
    told(&at_a, 1, "10.0.0.2:8443");
    ck_assert_int_eq(ledger_send(&ba, 100, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert(sim_run(sim, 1000, all_told, NULL));
    ck_assert_uint_eq(ba.told[TBQ_DELIVERED], 1);
}
END_TEST

/* Out of one network, and some time later into another: a first try that fails is not the last. */
START_TEST(between_two_networks_there_is_none)
{
    connect_them(false);
    sim_both(a, b, (struct sim_link){.cut = true});
    sim_move(a, "127.0.0.1:8443");
    ck_assert_int_eq(ledger_send(&ab, 100, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert_int_eq(ledger_send(&ba, 100, TBQ_LANE_NORMAL, false, 0), 0);
    sim_run(sim, 15000, NULL, NULL);
    told(&at_a, 0, NULL);
    sim_both(a, b, (struct sim_link){.delay_ms = 20});
    sim_move(a, "10.7.0.1:8443");
    sim_run(sim, 1000, NULL, NULL);
    told(&at_b, 1, "10.7.0.1:8443");
    told(&at_a, 1, "10.0.0.2:8443");
    ck_assert(sim_run(sim, 10000, all_told, NULL));
    ck_assert_uint_eq(ledger_broken(&ab) + ledger_broken(&ba), 0);
    ck_assert_uint_eq(ab.told[TBQ_DELIVERED] + ba.told[TBQ_DELIVERED], 2);
}
END_TEST

/* The accepter's machine gets another address behind its NAT, which others do not see: it must not
 * go on sending from the one that is gone. */
START_TEST(the_accepter_moves_behind_its_nat)
{
    connect_them(false);
    sim_rebind(b, "10.0.0.2:8443");
    ck_assert_int_eq(tbi_addr_from_text(&b->inside, "192.168.0.9:8443"), 0);
    ck_assert_int_eq(tbi_node_network_changed(b->node, sim_now(sim), &b->inside, 1), 0);
    ck_assert_int_eq(ledger_send(&ba, 100, TBQ_LANE_NORMAL, false, 0), 0);
    ck_assert(sim_run(sim, 1000, all_told, NULL));
    ck_assert_uint_eq(ba.told[TBQ_DELIVERED], 1);
    ck_assert_uint_eq(b->from_nowhere, 0);
    told(&at_a, 0, NULL);
    told(&at_b, 0, NULL);
}
END_TEST

/* An address that stays is no reason to move; whether the peer lives is asked at once. */
START_TEST(who_stays_asks_at_once)
{
    connect_them(false);
    sim_run(sim, 5000, NULL, NULL);
    uint64_t sent = sim_link(a, b)->sent;
    ck_assert_int_eq(tbi_node_network_changed(a->node, sim_now(sim), &a->addr, 1), 0);
    sim_run(sim, 1, NULL, NULL);
    ck_assert_uint_eq(sim_link(a, b)->sent, sent + 1);
    sim_run(sim, 1000, NULL, NULL);
    ck_assert_int_eq(tbi_node_network_changed(a->node, sim_now(sim), NULL, 0), 0); /* not known */
    sim_run(sim, 1, NULL, NULL);
    ck_assert_uint_ge(sim_link(a, b)->sent, sent + 2);
    sim_run(sim, 1000, NULL, NULL);
    told(&at_a, 0, NULL);
    told(&at_b, 0, NULL);
}
END_TEST

/* An accepter with two addresses answers from the one at which it is asked, also when the dialler
 * comes from elsewhere. */
START_TEST(two_addresses_are_not_mixed_up)
{
    struct tbi_target t = {.numeric = true, .port = 8443};
    ck_assert_int_eq(tbi_addr_from_text(&b->alias, "10.8.0.2:8443"), 0);
    t.addr = b->alias;
    sim_boot(a);
    sim_boot(b);
    ck_assert_int_eq(tbi_node_connect(a->node, sim_now(sim), &t, false, NULL), 0);
    ck_assert(sim_run(sim, 5000, both_up, NULL));
    sim_run(sim, 1000, NULL, NULL);
    talk_over(move_a_once);
    told(&at_b, 1, "10.7.0.1:8443");
    told(&at_a, 1, "10.8.0.2:8443");
}
END_TEST

/* --- Dials, and what is told of oneself ------------------------------------------------------- */

static bool a_is_up(void *arg)
{
    (void)arg;
    return at_a.connected > 0;
}

START_TEST(who_waits_to_dial_again_dials_at_once)
{
    sim_both(a, b, (struct sim_link){.cut = true});
    sim_boot(a);
    sim_boot(b);
    sim_dial(a, b, true);
    sim_run(sim, 600000, NULL, NULL); /* its backoff is half a minute by now, less a quarter */
    uint64_t sent = sim_link(a, b)->sent;
    while (sim_link(a, b)->sent == sent) {
        sim_run(sim, 100, NULL, NULL);
    }
    sim_run(sim, 6000, NULL, NULL); /* that dial has failed: it waits 22 s at least */
    sim_both(a, b, (struct sim_link){.delay_ms = 20});
    sent = sim_link(a, b)->sent;
    ck_assert(!sim_run(sim, 10000, a_is_up, NULL));
    ck_assert_uint_eq(sim_link(a, b)->sent, sent);
    ck_assert_int_eq(tbi_node_network_changed(a->node, sim_now(sim), &a->addr, 1), 0);
    ck_assert(sim_run(sim, 500, a_is_up, NULL));
}
END_TEST

/* Messages of the node itself, its announcements among them. */
static uint64_t said_to_b(void)
{
    const tbq_peers *peers = NULL;
    ck_assert_int_eq(tbi_node_peers(a->node, tbi_identity_id(b->identity), &peers), 0);
    uint64_t n = peers->peer[0]->stats.sent;
    tbi_peers_free(peers);
    return n;
}

static size_t claims_of_a(void)
{
    const tbq_peers *peers = NULL;
    ck_assert_int_eq(tbi_node_peers(b->node, tbi_identity_id(a->identity), &peers), 0);
    size_t n = 0;
    for (size_t i = 0; i < peers->peer[0]->addresses_len; i++) {
        n += strcmp(peers->peer[0]->addresses[i], "10.7.0.1:8443") == 0;
    }
    tbi_peers_free(peers);
    return n;
}

START_TEST(new_addresses_are_told_and_the_same_ones_are_not)
{
    struct tbi_addr now[2] = {a->addr};
    ck_assert_int_eq(tbi_addr_from_text(&now[1], "10.7.0.1:8443"), 0);
    a->dual_stack = true;
    connect_them(false);
    ck_assert_uint_eq(claims_of_a(), 0);
    ck_assert_int_eq(tbi_node_network_changed(a->node, sim_now(sim), now, 2), 0);
    sim_run(sim, 1000, NULL, NULL);
    ck_assert_uint_eq(claims_of_a(), 1);
    uint64_t said = said_to_b();
    ck_assert_int_eq(tbi_node_network_changed(a->node, sim_now(sim), now, 2), 0);
    sim_run(sim, 1000, NULL, NULL);
    ck_assert_uint_eq(said_to_b(), said);
    ck_assert_int_eq(tbi_node_network_changed(a->node, sim_now(sim), now, 1), 0);
    sim_run(sim, 1000, NULL, NULL);
    ck_assert_uint_eq(claims_of_a(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sim moves");
    TCase *tc = tcase_create("moves");
    tcase_add_checked_fixture(tc, begin, end);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    tcase_add_test(tc, a_nat_gives_the_dialler_another_address);
    tcase_add_test(tc, and_another_and_another);
    tcase_add_test(tc, a_nat_gives_the_accepter_another_address);
    tcase_add_test(tc, the_dialler_comes_into_another_network);
    tcase_add_test(tc, a_silent_connection_moves_too);
    tcase_add_test(tc, between_two_networks_there_is_none);
    tcase_add_test(tc, the_accepter_moves_behind_its_nat);
    tcase_add_test(tc, two_addresses_are_not_mixed_up);
    tcase_add_test(tc, who_stays_asks_at_once);
    tcase_add_test(tc, who_waits_to_dial_again_dials_at_once);
    tcase_add_test(tc, new_addresses_are_told_and_the_same_ones_are_not);
    return tbi_test_main(suite);
}
