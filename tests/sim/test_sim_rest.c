/* tests/sim/test_sim_rest.c - connections that nobody uses are closed, and dialled again by the
 * next send. The application hears of it, and need not do anything; no message is lost or comes
 * twice, whenever it is sent. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/harness.h"
#include "ledger.h"
#include "node/parts.h"
#include "sim.h"

#define IDLE_MS 5000
#define DELAY_MS 20

struct seen {
    size_t connected, disconnected, resting;
    tbq_connection rested; /* whose RESTING came last */
    uint64_t resting_ms;
    tbq_event *kept; /* the first message, where the test wants to hold it */
    bool keep;
};

struct quiet {
    struct sim *sim;
    struct sim_node *a, *b; /* a dials b, and lets its connections rest */
    struct ledger ab, ba;
    struct seen seen[2];
    tbq_connection dial;
    bool no_ledger; /* messages are sent that it does not know */
};

static struct quiet q;

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;

    if (e->type == TBQ_EVENT_CONNECTED || e->type == TBQ_EVENT_RESTING) {
        sim_say(n, e->type == TBQ_EVENT_CONNECTED ? "is connected" : "rests");
    }
    s->connected += e->type == TBQ_EVENT_CONNECTED;
    s->disconnected += e->type == TBQ_EVENT_DISCONNECTED;
    if (e->type == TBQ_EVENT_RESTING) {
        s->resting++;
        s->rested = e->connection;
        s->resting_ms = sim_ms(n->sim);
        ck_assert_ptr_nonnull(e->peer);
    }
    if (!q.no_ledger) {
        ledger_event(&q.ab, n, e);
        ledger_event(&q.ba, n, e);
    }
    if (s->keep && s->kept == NULL &&
        (e->type == TBQ_EVENT_MESSAGE || e->type == TBQ_EVENT_REQUEST)) {
        s->kept = e;
        return false;
    }
    return true;
}

static struct sim_node *add(size_t i)
{
    struct sim_node *n = sim_add(q.sim);
    n->user = &q.seen[i];
    n->on_event = on_event;
    sim_settings(n)->no_discovery = true;
    return n;
}

static void run(uint64_t ms)
{
    sim_run(q.sim, ms, NULL, NULL);
}

static void make(uint64_t seed)
{
    memset(&q, 0, sizeof q);
    q.sim = sim_new(seed);
    q.a = add(0);
    q.b = add(1);
    sim_settings(q.a)->link_idle_ms = IDLE_MS;
    sim_settings(q.b)->network_mode = TBQ_MODE_SERVER; /* so it dials nobody */
    sim_both(q.a, q.b, (struct sim_link){.delay_ms = DELAY_MS});
    ledger_begin(&q.ab, q.a, q.b);
    ledger_begin(&q.ba, q.b, q.a);
}

static void begin(bool persistent)
{
    sim_boot(q.a);
    sim_boot(q.b);
    q.dial = sim_dial(q.a, q.b, persistent);
    run(1000);
    ck_assert_uint_eq(q.seen[0].connected, 1);
}

static int say(struct ledger *l)
{
    return ledger_send(l, 100, TBQ_LANE_NORMAL, false, 0);
}

static bool settled(void *arg)
{
    (void)arg;
    return ledger_settled(&q.ab) && ledger_settled(&q.ba);
}

static uint64_t connections(const struct sim_node *n)
{
    return tbi_endpoint_stats(n->node->endpoint)->connections;
}

static bool all_quiet(void *arg)
{
    (void)arg;
    return connections(q.a) == 0 && connections(q.b) == 0;
}

static void end(void)
{
    size_t broken = ledger_broken(&q.ab) + ledger_broken(&q.ba);
    if (broken > 0 || q.ab.repeats + q.ba.repeats > 0) {
        printf("%s", sim_transcript(q.sim));
    }
    ck_assert_uint_eq(broken, 0);
    ck_assert_uint_eq(q.ab.repeats + q.ba.repeats, 0);
    sim_free(q.sim);
}

static bool is_resting(void)
{
    const tbq_peers *peers;
    ck_assert_int_eq(tbi_node_peers(q.a->node, tbi_identity_id(q.b->identity), &peers), 0);
    bool resting = peers->peer[0]->resting;
    ck_assert(!resting || !peers->peer[0]->connected);
    tbi_peers_free(peers);
    return resting;
}

/* --- Stories ---------------------------------------------------------------------------------- */

START_TEST(an_unused_connection_rests_and_the_next_send_wakes_it)
{
    tbq_send_options o;
    tbq_message m = {.kind = TBQ_TRANSITION, .u.transition = {"again", 5}};
    tbq_stats stats = {0};

    make(1);
    begin(false);
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert_int_eq(say(&q.ba), 0);
    run(IDLE_MS - 100);
    ck_assert_uint_eq(q.seen[0].resting, 0);
    ck_assert(sim_run(q.sim, 5000, all_quiet, NULL));
    ck_assert_uint_eq(q.seen[0].resting, 1);
    ck_assert_uint_eq(q.seen[0].rested, q.dial);
    ck_assert_uint_eq(q.seen[0].disconnected, 0);
    ck_assert_uint_eq(q.seen[1].disconnected, 1); /* its connection's number has ended */
    ck_assert(is_resting());

    run(100000); /* a night, less than b remembers */
    tbq_send_options_init(&o);
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert(sim_run(q.sim, 10 * DELAY_MS, settled, NULL));
    ck_assert_int_eq(tbi_node_send_on(q.a->node, sim_now(q.sim), q.dial, &m, &o), 0);
    ck_assert_uint_eq(q.seen[0].connected, 2);
    ck_assert(!is_resting());
    tbi_node_stats(q.a->node, &stats);
    ck_assert_uint_eq(stats.links_rested, 1);
    ck_assert_uint_eq(stats.links_woken, 1);
    ck_assert_uint_eq(q.ab.told[TBQ_DELIVERED], 2);
    end();
}
END_TEST

/* The link outlives the pause, on both sides; and where one has forgotten it, that costs nothing.
 */
START_TEST(a_pause_longer_than_the_peer_remembers_costs_nothing)
{
    make(2);
    sim_settings(q.b)->peer_timeout_ms = 10000;
    begin(false);
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert_int_eq(say(&q.ba), 0);
    ck_assert(sim_run(q.sim, 20000, all_quiet, NULL));
    run(600000);
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert(sim_run(q.sim, 1000, settled, NULL));
    ck_assert_uint_eq(q.ab.told[TBQ_DELIVERED], 2);
    end();
}
END_TEST

static bool rests_within(uint64_t ms)
{
    return sim_run(q.sim, ms, all_quiet, NULL);
}

START_TEST(who_is_named_rests_only_where_that_is_asked_for)
{
    make(3);
    begin(true);
    ck_assert(!rests_within(20 * IDLE_MS));
    sim_free(q.sim);
    make(3);
    sim_settings(q.a)->link_idle_named = true;
    begin(true);
    ck_assert(rests_within(2 * IDLE_MS));
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert(sim_run(q.sim, 1000, settled, NULL));
    end();
    make(3);
    sim_settings(q.a)->link_idle_ms = 0; /* the default: never */
    begin(false);
    ck_assert(!rests_within(20 * IDLE_MS));
    sim_free(q.sim);
}
END_TEST

/* What the application holds, and a request without an answer, keep a connection. */
START_TEST(what_is_open_keeps_it_awake)
{
    tbq_answer answer = {.status = TBQ_RESPONSE_OK, .bytes = {"yes", 3}};
    tbq_send_options o;
    tbq_request_id request;
    tbq_message m = {.kind = TBQ_TRANSITION, .u.transition = {"held", 4}};

    make(4);
    q.no_ledger = true;
    q.seen[1].keep = true;
    begin(false);
    tbq_send_options_init(&o);
    ck_assert_int_eq(tbi_node_send_on(q.a->node, sim_now(q.sim), q.dial, &m, &o), 0);
    ck_assert(!rests_within(10 * IDLE_MS));
    tbi_node_event_release(q.seen[1].kept);
    q.seen[1].kept = NULL;
    ck_assert(rests_within(3 * IDLE_MS));

    ck_assert_int_eq(tbi_node_request(q.a->node, sim_now(q.sim), tbi_identity_id(q.b->identity),
                                      (tbq_bytes){"what", 4}, 3600000, &o, &request),
                     0);
    run(1000);
    tbq_request_id owed = q.seen[1].kept->request;
    tbi_node_event_release(q.seen[1].kept); /* taken, and answered later */
    ck_assert(!rests_within(10 * IDLE_MS));
    ck_assert_int_eq(tbi_node_respond(q.b->node, sim_now(q.sim), owed, &answer), 0);
    ck_assert(rests_within(3 * IDLE_MS));
    ck_assert_uint_eq(q.seen[0].disconnected, 0);
    end();
}
END_TEST

static void talk_for(struct ledger *l, uint64_t ms)
{
    for (uint64_t t = 0; t < ms; t += 1000) {
        ck_assert_int_eq(say(l), 0);
        run(1000);
    }
}

START_TEST(what_is_used_by_either_side_does_not_rest)
{
    make(10);
    begin(false);
    talk_for(&q.ab, 5 * IDLE_MS);
    talk_for(&q.ba, 5 * IDLE_MS);
    ck_assert_uint_eq(q.seen[0].resting, 0);
    end();
}
END_TEST

/* Every millisecond around the end of a connection, from either side or both. */
START_TEST(a_send_that_races_with_the_close_arrives_once)
{
    for (unsigned who = 1; who <= 3; who++) {
        for (uint64_t ms = 0; ms < 8 * DELAY_MS; ms++) {
            make(5);
            begin(false);
            run(IDLE_MS - 1000 - DELAY_MS + ms);
            if (who & 1) {
                ck_assert_int_eq(say(&q.ab), 0);
            }
            bool connected = q.seen[1].disconnected == 0;
            if (who & 2) {
                ck_assert_int_eq(say(&q.ba), 0);
            }
            run(IDLE_MS / 2);
            if (!connected && who == 2) { /* b, which dials nobody, waits to be dialled */
                ck_assert(!settled(NULL));
                ck_assert_int_eq(say(&q.ab), 0);
                run(1000);
            }
            ck_assert_msg(settled(NULL), "who %u, %llu ms", who, (unsigned long long)ms);
            ck_assert_uint_eq(q.ab.told[TBQ_DELIVERED], q.ab.sent);
            ck_assert_uint_eq(q.ba.told[TBQ_DELIVERED], q.ba.sent);
            end();
        }
    }
}
END_TEST

/* The side that was dialled: it dials where it knows an address, and waits where it does not. */
START_TEST(who_was_dialled_dials_back_where_it_can)
{
    make(6);
    sim_settings(q.b)->network_mode = TBQ_MODE_HYBRID;
    begin(false);
    ck_assert(rests_within(3 * IDLE_MS));
    ck_assert_int_eq(say(&q.ba), 0);
    ck_assert(sim_run(q.sim, 1000, settled, NULL));
    ck_assert_uint_eq(q.ba.told[TBQ_DELIVERED], 1);
    end();

    make(6);
    sim_settings(q.a)->network_mode = TBQ_MODE_CLIENT; /* which nobody can dial */
    sim_settings(q.b)->network_mode = TBQ_MODE_HYBRID;
    begin(false);
    ck_assert(rests_within(3 * IDLE_MS));
    ck_assert_int_eq(say(&q.ba), 0);
    run(60000);
    ck_assert(!settled(NULL));
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert(sim_run(q.sim, 1000, settled, NULL));
    ck_assert_uint_eq(q.ba.told[TBQ_DELIVERED], 1);
    end();
}
END_TEST

START_TEST(what_cannot_be_woken_is_told_as_it_is)
{
    make(7);
    sim_settings(q.a)->peer_timeout_ms = 20000;
    begin(false);
    ck_assert(rests_within(3 * IDLE_MS));
    sim_link(q.a, q.b)->cut = true;
    run(10000);
    ck_assert_int_eq(say(&q.ab), 0);
    run(15000);
    ck_assert(!settled(NULL)); /* it has its time from the send on */
    ck_assert_uint_eq(q.seen[0].disconnected, 0);
    ck_assert(sim_run(q.sim, 60000, settled, NULL));
    ck_assert_uint_eq(q.ab.told[TBQ_NOT_DELIVERED], 1);
    run(10000);
    ck_assert_uint_eq(q.seen[0].disconnected, 1);
    end();
}
END_TEST

/* One that is dialled for ever goes on; but nobody is there, and the application hears that. */
START_TEST(who_is_named_and_cannot_be_woken_is_told_as_gone)
{
    make(12);
    sim_settings(q.a)->peer_timeout_ms = 20000;
    sim_settings(q.a)->link_idle_named = true;
    begin(true);
    ck_assert(rests_within(3 * IDLE_MS));
    sim_link(q.a, q.b)->cut = true;
    ck_assert_int_eq(say(&q.ab), 0);
    run(60000);
    ck_assert_uint_eq(q.ab.told[TBQ_NOT_DELIVERED], 1);
    ck_assert_uint_eq(q.seen[0].disconnected, 1);
    sim_link(q.a, q.b)->cut = false;
    run(60000);
    ck_assert_uint_eq(q.seen[0].disconnected, 1);
    ck_assert_uint_eq(q.seen[0].connected, 2);
    end();
}
END_TEST

/* B dials while A's own contact rests: what A sends as B closes wakes that one. */
START_TEST(what_rests_beside_a_connection_is_there_when_that_ends)
{
    make(13);
    sim_settings(q.b)->network_mode = TBQ_MODE_HYBRID;
    begin(false);
    ck_assert(rests_within(3 * IDLE_MS));
    tbq_connection other = sim_dial(q.b, q.a, false);
    run(1000);
    ck_assert_uint_eq(q.seen[1].connected, 2);
    ck_assert_int_eq(tbi_node_close(q.b->node, sim_now(q.sim), other), 0);
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert(sim_run(q.sim, 1000, settled, NULL));
    ck_assert_uint_eq(q.ab.told[TBQ_DELIVERED], 1);
    ck_assert_uint_eq(q.ab.repeats, 1); /* B has closed for good, and remembers nothing */
    q.ab.repeats = 0;
    end();
}
END_TEST

START_TEST(a_broadcast_wakes_and_closing_ends_it)
{
    tbq_message m = {.kind = TBQ_TRANSITION, .u.transition = {"all", 3}};
    tbq_send_options o;

    make(8);
    q.no_ledger = true;
    begin(false);
    ck_assert(rests_within(3 * IDLE_MS));
    tbq_send_options_init(&o);
    ck_assert_int_eq(tbi_node_broadcast(q.a->node, sim_now(q.sim), &m, &o), 1);
    run(1000);
    ck_assert_uint_eq(q.seen[0].connected, 2);
    ck_assert(rests_within(3 * IDLE_MS));
    ck_assert_int_eq(tbi_node_close(q.a->node, sim_now(q.sim), q.dial), 0);
    run(1000);
    ck_assert_uint_eq(q.seen[0].disconnected, 1);
    ck_assert_int_eq(tbi_node_send_on(q.a->node, sim_now(q.sim), q.dial, &m, &o), TBQ_ERR_CLOSED);
    end();
}
END_TEST

static bool two_paths(void *arg)
{
    (void)arg;
    return connections(q.a) == 2;
}

START_TEST(all_connections_of_a_link_rest_together)
{
    make(9);
    sim_settings(q.a)->paths_max = sim_settings(q.b)->paths_max = 2;
    ck_assert_int_eq(tbi_addr_from_text(&q.b->alias, "10.9.0.2:8443"), 0);
    sim_other_both(q.a, q.b, (struct sim_link){.delay_ms = 3 * DELAY_MS});
    sim_boot(q.a);
    sim_boot(q.b);
    ck_assert_int_eq(tbi_node_set_addresses(q.b->node, sim_now(q.sim), &q.b->alias, 1, NULL, 0), 0);
    q.dial = sim_dial(q.a, q.b, false);
    run(500);
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert_int_eq(say(&q.ba), 0);
    ck_assert(sim_run(q.sim, 3000, two_paths, NULL));
    ck_assert(rests_within(3 * IDLE_MS));
    run(5000);
    ck_assert(all_quiet(NULL));
    ck_assert_uint_eq(q.seen[0].resting, 1);
    ck_assert_uint_eq(q.seen[0].disconnected, 0);
    ck_assert_int_eq(say(&q.ab), 0);
    ck_assert(sim_run(q.sim, 1000, settled, NULL));
    end();
}
END_TEST

/* --- Histories made up at random -------------------------------------------------------------- */

static bool both_up(void *arg)
{
    (void)arg;
    return q.seen[0].connected > 0 && q.seen[1].connected > 0;
}

static void history(uint64_t seed)
{
    struct tbi_rng rng;
    bool cut = false;

    make(seed);
    tbi_test_rng(&rng, (unsigned)seed);
    sim_settings(q.a)->link_idle_ms = 1000;
    sim_settings(q.a)->link_idle_named = true;
    if (tbi_rng_below(&rng, 2) == 0) { /* both dial, and let rest */
        sim_settings(q.b)->network_mode = TBQ_MODE_HYBRID;
        sim_settings(q.b)->link_idle_ms = 1000;
    }
    sim_both(q.a, q.b,
             (struct sim_link){.delay_ms = tbi_rng_below(&rng, 80),
                               .loss = (unsigned)tbi_rng_below(&rng, 200),
                               .duplicate = (unsigned)tbi_rng_below(&rng, 50),
                               .reorder = (unsigned)tbi_rng_below(&rng, 100)});
    sim_boot(q.a);
    sim_boot(q.b);
    sim_dial(q.a, q.b, tbi_rng_below(&rng, 2) == 0);
    ck_assert(sim_run(q.sim, 60000, both_up, NULL));
    ck_assert_int_eq(say(&q.ab), 0); /* by this they know that the other one holds state */
    ck_assert_int_eq(say(&q.ba), 0);
    ck_assert(sim_run(q.sim, 60000, settled, NULL));
    for (int i = 0; i < 40; i++) {
        struct ledger *l = tbi_rng_below(&rng, 2) == 0 ? &q.ab : &q.ba;
        if (tbi_rng_below(&rng, 12) == 0) {
            cut = !cut;
            sim_link(q.a, q.b)->cut = sim_link(q.b, q.a)->cut = cut;
        }
        for (uint64_t n = tbi_rng_below(&rng, 4); n > 0; n--) {
            (void)ledger_send(l, 4 + tbi_rng_below(&rng, 2000),
                              (tbq_lane)tbi_rng_below(&rng, TBQ_LANES), tbi_rng_below(&rng, 4) == 0,
                              0);
        }
        run(tbi_rng_below(&rng, 4000));
    }
    sim_link(q.a, q.b)->cut = sim_link(q.b, q.a)->cut = false;
    run(60000);
    (void)say(&q.ab); /* where b's last word waits to be fetched */
    bool done = sim_run(q.sim, 900000, settled, NULL);
    if (!done) {
        printf("# history %llu:\n%s", (unsigned long long)seed, sim_transcript(q.sim));
    }
    ck_assert_msg(done, "history %llu: messages without a fate", (unsigned long long)seed);
}

START_TEST(random_histories_keep_the_promise)
{
    size_t rested = 0, delivered = 0, sent = 0;
    const char *text = getenv("HISTORIES");
    uint64_t most = text != NULL ? strtoull(text, NULL, 10) : 60 / tbi_test_shallow();

    for (uint64_t seed = 1; seed <= most; seed++) {
        history(seed);
        rested += q.seen[0].resting + q.seen[1].resting;
        delivered += q.ab.told[TBQ_DELIVERED] + q.ba.told[TBQ_DELIVERED];
        sent += q.ab.sent + q.ba.sent;
        end();
    }
    printf("# %zu messages, %zu delivered, %zu rests\n", sent, delivered, rested);
    ck_assert_uint_gt(delivered, sent * 9 / 10);
    ck_assert_uint_gt(rested, most);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rest");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 600);
    tcase_add_test(c, an_unused_connection_rests_and_the_next_send_wakes_it);
    tcase_add_test(c, a_pause_longer_than_the_peer_remembers_costs_nothing);
    tcase_add_test(c, who_is_named_rests_only_where_that_is_asked_for);
    tcase_add_test(c, what_is_open_keeps_it_awake);
    tcase_add_test(c, what_is_used_by_either_side_does_not_rest);
    tcase_add_test(c, a_send_that_races_with_the_close_arrives_once);
    tcase_add_test(c, who_was_dialled_dials_back_where_it_can);
    tcase_add_test(c, what_cannot_be_woken_is_told_as_it_is);
    tcase_add_test(c, who_is_named_and_cannot_be_woken_is_told_as_gone);
    tcase_add_test(c, what_rests_beside_a_connection_is_there_when_that_ends);
    tcase_add_test(c, a_broadcast_wakes_and_closing_ends_it);
    tcase_add_test(c, all_connections_of_a_link_rest_together);
    tcase_add_test(c, random_histories_keep_the_promise);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
