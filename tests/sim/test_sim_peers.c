/* tests/sim/test_sim_peers.c - what a node tells of its peers and of itself. */
#include <check.h>
#include <string.h>

#include "sim.h"
#include "../unit/harness.h"

struct story {
    bool connected;
    size_t got;
    size_t fates;
};

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct story *t = n->user;
    t->connected |= e->type == TBQ_EVENT_CONNECTED;
    t->got += e->type == TBQ_EVENT_MESSAGE;
    t->fates += e->type == TBQ_EVENT_FATE;
    return true;
}

static bool fate_told(void *arg)
{
    return ((struct story *)arg)->fates > 0;
}

static bool is_up(void *arg)
{
    return ((struct story *)arg)->connected;
}

START_TEST(a_peer_is_told_with_its_key_its_claims_and_its_counters)
{
    struct story t = {0}, u = {0};
    struct sim *sim = sim_new(7);
    struct sim_node *a = sim_add(sim), *b = sim_add(sim);
    const tbq_peers *all = NULL, *one = NULL;
    tbq_stats stats;

    sim_settings(b)->role = TBQ_ROLE_TIME_KEEPER;
    sim_settings(b)->capabilities = TBQ_CAN_STORE | TBQ_CAN_ROUTE;
    sim_both(a, b, (struct sim_link){.delay_ms = 20});
    a->on_event = b->on_event = on_event;
    a->user = &t;
    b->user = &u;
    sim_settings(a)->no_discovery = sim_settings(b)->no_discovery = true; /* so that all counts */
    sim_boot(a);
    sim_boot(b);
    ck_assert_int_eq(tbi_node_peers(a->node, NULL, &all), 0);
    ck_assert_uint_eq(all->len, 0);
    tbi_peers_free(all);
    ck_assert_int_eq(tbi_node_peers(a->node, tbi_identity_id(b->identity), &all), TBQ_ERR_NO_ROUTE);
    sim_dial(a, b, false);
    ck_assert(sim_run(sim, 5000, is_up, &t));
    tbq_message m = tbq_transition("x", 1);
    tbq_send_options o;
    tbq_send_options_init(&o);
    ck_assert_int_eq(tbi_node_send_to(a->node, sim_now(sim), tbi_identity_id(b->identity), &m, &o),
                     0);
    ck_assert(sim_run(sim, 5000, fate_told, &t));

    ck_assert_int_eq(tbi_node_peers(a->node, NULL, &all), 0);
    ck_assert_int_eq(tbi_node_peers(a->node, tbi_identity_id(b->identity), &one), 0);
    ck_assert_uint_eq(all->len, 1);
    ck_assert_uint_eq(one->len, 1);
    const tbq_peer *p = one->peer[0];
    ck_assert_mem_eq(&p->id, &all->peer[0]->id, sizeof p->id);
    ck_assert_mem_eq(&p->id, tbi_identity_id(b->identity), sizeof p->id);
    ck_assert_mem_eq(p->public_key, tbi_identity_key(b->identity), TBQ_PUBLIC_KEY_SIZE);
    ck_assert(p->connected);
    ck_assert_str_eq(p->address, "10.0.0.2:8443");
    ck_assert_uint_eq(p->addresses_len, 1);
    ck_assert_str_eq(p->addresses[0], "10.0.0.2:8443");
    ck_assert_int_eq((int)p->role, TBQ_ROLE_TIME_KEEPER);
    ck_assert_uint_eq(p->capabilities, TBQ_CAN_STORE | TBQ_CAN_ROUTE);
    ck_assert_uint_eq(p->processes, 1);
    ck_assert_uint_eq(p->last_seen_ms, sim_now(sim).wall_ms);
    ck_assert_uint_ge(p->stats.rtt_ns, 40 * TBI_NS_PER_MS);
    ck_assert_uint_le(p->stats.rtt_ns, 70 * TBI_NS_PER_MS);
    ck_assert_uint_eq(p->stats.delivered, 1);
    ck_assert_uint_eq(p->stats.outbox_messages, 0);
    tbi_peers_free(all);

    memset(&stats, 0, sizeof stats);
    tbi_node_stats(b->node, &stats);
    ck_assert_uint_eq(stats.accepted, 1);
    ck_assert_uint_eq(stats.dialled, 0);
    ck_assert_uint_eq(stats.connections, 1);
    ck_assert_uint_eq(stats.half_open, 0);
    ck_assert_uint_eq(stats.peers, 1);

    sim_free(sim); /* what was told outlives the node */
    ck_assert_str_eq(p->address, "10.0.0.2:8443");
    tbi_peers_free(one);
}
END_TEST

/* Another node at b's place, as far as anybody can tell: with a key of its own. */
static void become_another(struct sim_node *b, uint8_t n)
{
    static struct tbi_alloc alloc;
    struct tbi_rng rng;
    uint8_t seed[TBI_RNG_SEED_SIZE] = {n, 0x5a};

    ck_assert_int_eq(tbi_alloc_init(&alloc, NULL), 0);
    tbi_rng_init(&rng, seed);
    memcpy(b->key_seed, seed, sizeof b->key_seed);
    tbi_identity_free(b->identity);
    ck_assert_int_eq(tbi_identity_new(&b->identity, &alloc, b->key_seed, &rng), 0);
}

static bool has_left(void *arg)
{
    return tbi_node_stopped(((struct sim_node *)arg)->node);
}

/* It comes, says a word, hears that it was taken, and leaves. */
static void visit(struct sim_node *b, struct sim_node *a, struct story *u)
{
    tbq_message m = tbq_transition("good day", 8);
    tbq_send_options o;

    tbq_send_options_init(&o);
    *u = (struct story){0};
    sim_boot(b);
    sim_dial(b, a, false);
    ck_assert_msg(sim_run(b->sim, 5000, is_up, u), "it is not let in");
    ck_assert_int_eq(
        tbi_node_send_to(b->node, sim_now(b->sim), tbi_identity_id(a->identity), &m, &o), 0);
    ck_assert(sim_run(b->sim, 5000, fate_told, u));
    sim_run(b->sim, 100, NULL, NULL);
    tbi_node_stop(b->node, sim_now(b->sim), 1000);
    ck_assert(sim_run(b->sim, 2000, has_left, b));
    sim_run(b->sim, 200, NULL, NULL); /* its goodbye arrives */
    sim_kill(b);
}

START_TEST(who_left_for_good_makes_way_and_who_is_owed_something_does_not)
{
    struct story t = {0}, u = {0};
    struct sim *sim = sim_new(8);
    struct sim_node *a = sim_add(sim), *b = sim_add(sim);
    tbq_stats stats = {0};
    tbq_send_options o;
    tbq_message m = tbq_transition("come back", 9);

    tbq_send_options_init(&o);
    sim_settings(a)->max_connections = 2; /* 136 peers at most */
    sim_settings(a)->no_discovery = sim_settings(b)->no_discovery = true;
    sim_both(a, b, (struct sim_link){.delay_ms = 1});
    a->on_event = b->on_event = on_event;
    a->user = &t;
    b->user = &u;
    sim_boot(a);
    visit(b, a, &u);
    tbq_peer_id friend = *tbi_identity_id(b->identity);
    ck_assert_int_eq(tbi_node_send_to(a->node, sim_now(sim), &friend, &m, &o), 0);
    for (uint8_t i = 0; i < 200; i++) { /* in less than peer_timeout_ms */
        become_another(b, i);
        visit(b, a, &u);
    }
    tbi_node_stats(a->node, &stats);
    ck_assert_uint_le(stats.peers, 136);
    ck_assert_uint_lt(sim_ms(sim), a->settings.peer_timeout_ms);
    ck_assert_uint_eq(t.fates, 0); /* what waits for the first one waits still */
    ck_assert_int_eq(tbi_node_send_to(a->node, sim_now(sim), &friend, &m, &o), 0);
    sim_free(sim);
}
END_TEST

/* Asks without end; the requests are taken, and never answered. */
static size_t ask(struct sim_node *from, struct sim_node *to, size_t n)
{
    tbq_send_options o;
    tbq_request_id id;
    size_t asked = 0;

    tbq_send_options_init(&o);
    while (asked < n &&
           tbi_node_request(from->node, sim_now(from->sim), tbi_identity_id(to->identity),
                            (tbq_bytes){"?", 1}, 3600000, &o, &id) == 0) {
        asked++;
    }
    return asked;
}

static bool count_requests(struct sim_node *n, tbq_event *e)
{
    struct story *t = n->user;
    t->got += e->type == TBQ_EVENT_REQUEST;
    return true;
}

START_TEST(who_asks_without_end_leaves_room_for_others_to_ask)
{
    struct story t = {0}, u = {0}, v = {0};
    struct sim *sim = sim_new(9);
    struct sim_node *a = sim_add(sim), *b = sim_add(sim), *c = sim_add(sim);

    sim_settings(a)->no_discovery = sim_settings(b)->no_discovery = true;
    sim_settings(c)->no_discovery = true;
    sim_both(a, b, (struct sim_link){.delay_ms = 1});
    sim_both(a, c, (struct sim_link){.delay_ms = 1});
    a->on_event = count_requests;
    b->on_event = c->on_event = on_event;
    a->user = &t;
    b->user = &u;
    c->user = &v;
    sim_boot(a);
    sim_boot(b);
    sim_boot(c);
    sim_dial(b, a, false);
    sim_dial(c, a, false);
    ck_assert(sim_run(sim, 5000, is_up, &u));
    ck_assert(sim_run(sim, 5000, is_up, &v));
    for (int i = 0; i < 20; i++) {
        ask(b, a, 400);
        sim_run(sim, 1000, NULL, NULL);
    }
    size_t before = t.got;
    ck_assert_uint_ge(before, 4096); /* it has its share */
    ck_assert_uint_eq(ask(c, a, 1), 1);
    sim_run(sim, 1000, NULL, NULL);
    ck_assert_uint_eq(t.got, before + 1);
    sim_free(sim);
}
END_TEST

struct twin {
    size_t connected, disconnected, warned, got, delivered;
};

static bool note_twin(struct sim_node *n, tbq_event *e)
{
    struct twin *t = n->user;
    t->connected += e->type == TBQ_EVENT_CONNECTED;
    t->disconnected += e->type == TBQ_EVENT_DISCONNECTED;
    t->warned += e->type == TBQ_EVENT_WARNING && strstr(e->text, "same key") != NULL;
    t->got += e->type == TBQ_EVENT_MESSAGE;
    t->delivered += e->type == TBQ_EVENT_FATE && e->fate == TBQ_DELIVERED;
    return true;
}

static void say(struct sim_node *from, struct sim_node *to)
{
    tbq_message m = tbq_transition("x", 1);
    tbq_send_options o;
    tbq_send_options_init(&o);
    ck_assert_int_eq(
        tbi_node_send_to(from->node, sim_now(from->sim), tbi_identity_id(to->identity), &m, &o), 0);
    sim_run(from->sim, 1000, NULL, NULL);
}

/* Both live: two links, a warning, and what is sent to the id goes to the newer one. */
START_TEST(two_processes_with_one_key_are_two_links)
{
    struct twin at_a = {0}, at_b = {0}, at_c = {0};
    struct sim *sim = sim_new(11);
    struct sim_node *a = sim_add(sim), *b = sim_add(sim), *c = sim_add(sim);
    struct sim_node *all[] = {a, b, c};

    sim_same_key(c, b);
    a->user = &at_a;
    b->user = &at_b;
    c->user = &at_c;
    for (size_t i = 0; i < 3; i++) {
        all[i]->on_event = note_twin;
        sim_settings(all[i])->no_discovery = true;
        sim_boot(all[i]);
    }
    sim_dial(b, a, false);
    sim_run(sim, 1000, NULL, NULL);
    say(a, b);
    ck_assert_uint_eq(at_b.got, 1);
    ck_assert_uint_eq(at_a.warned, 0);
    sim_dial(c, a, false);
    sim_run(sim, 1000, NULL, NULL);
    ck_assert_uint_eq(at_a.connected, 2);
    ck_assert_uint_ge(at_a.warned, 1);
    say(a, b);
    ck_assert_uint_eq(at_c.got, 1);
    say(b, a); /* the older link lives */
    say(c, a);
    ck_assert_uint_eq(at_a.got, 2);
    ck_assert_uint_eq(at_a.delivered, 2);
    ck_assert_uint_eq(at_b.got, 1);
    ck_assert_uint_eq(at_a.disconnected + at_b.disconnected + at_c.disconnected, 0);
    sim_free(sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("peers");
    TCase *c = tcase_create("stories");
    tcase_add_test(c, a_peer_is_told_with_its_key_its_claims_and_its_counters);
    tcase_add_test(c, who_left_for_good_makes_way_and_who_is_owed_something_does_not);
    tcase_add_test(c, who_asks_without_end_leaves_room_for_others_to_ask);
    tcase_add_test(c, two_processes_with_one_key_are_two_links);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
