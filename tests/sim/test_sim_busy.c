/* tests/sim/test_sim_busy.c - full nodes: who gets in, who is sent to others, who is refused, and
 * what the full node can still do itself.
 *
 * A node may have 8 connections here: 6 for clients, one for an answer, one kept for its own
 * dials. */
#include <check.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "sim.h"

#define ROOM 6 /* clients of a full node */

struct seen {
    size_t connected, failed, disconnected;
    tbq_peer_id peer; /* of the last CONNECTED */
    int reason;       /* of the last CONNECT_FAILED */
};

struct town {
    struct sim *sim;
    struct sim_node *full, *other, *third;
    struct sim_node *client[ROOM + 2];
    struct seen seen[SIM_NODES_MAX];
    size_t nodes;
};

static bool watch(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;

    s->connected += e->type == TBQ_EVENT_CONNECTED;
    s->failed += e->type == TBQ_EVENT_CONNECT_FAILED;
    s->disconnected += e->type == TBQ_EVENT_DISCONNECTED;
    if (e->type == TBQ_EVENT_CONNECTED) {
        s->peer = *e->peer;
    } else if (e->type == TBQ_EVENT_CONNECT_FAILED) {
        s->reason = e->reason;
    }
    return true;
}

static struct seen *seen(struct sim_node *n)
{
    return n->user;
}

static struct sim_node *add_as(struct town *t, uint32_t connections, tbq_network_mode mode)
{
    struct sim_node *n = sim_add(t->sim);
    n->user = &t->seen[t->nodes++];
    n->on_event = watch;
    sim_settings(n)->no_discovery = true; /* nobody dials but those who are told to */
    if (connections != 0) {
        sim_settings(n)->max_connections = connections;
    }
    sim_settings(n)->network_mode = mode;
    sim_boot(n);
    return n;
}

/* `connections` 0: as many as there are by default. */
static struct sim_node *add(struct town *t, uint32_t connections)
{
    return add_as(t, connections, TBQ_MODE_HYBRID);
}

/* Somebody to whom nobody can be sent. */
static struct sim_node *add_client(struct town *t)
{
    return add_as(t, 0, TBQ_MODE_CLIENT);
}

static bool pass(struct town *t, uint64_t ms)
{
    sim_run(t->sim, ms, NULL, NULL);
    return true;
}

/* A full node that has met `other`, which has room unless told otherwise. */
static void begin(struct town *t, uint32_t room_at_other)
{
    memset(t, 0, sizeof *t);
    t->sim = sim_new(77);
    t->full = add(t, 8);
    t->other = add(t, room_at_other);
    sim_dial(t->other, t->full, false);
    pass(t, 500);
    for (size_t i = 0; i < ROOM - 1; i++) { /* the other one has a place too */
        t->client[i] = add_client(t);
        sim_dial(t->client[i], t->full, false);
        pass(t, 100);
    }
    ck_assert_uint_eq(seen(t->full)->connected, ROOM);
}

static bool is(const tbq_peer_id *id, const struct sim_node *n)
{
    return tbq_peer_id_compare(id, &n->node->id) == 0;
}

START_TEST(who_finds_no_room_is_sent_to_who_may_have_some)
{
    struct town t;
    begin(&t, 0);
    struct sim_node *late = add(&t, 0);
    sim_dial(late, t.full, false);
    pass(&t, 2000);
    ck_assert_uint_eq(seen(late)->connected, 1);
    ck_assert_uint_eq(seen(late)->failed, 0);
    ck_assert(is(&seen(late)->peer, t.other));
    ck_assert_uint_eq(t.full->node->busy_told, 1);
    ck_assert_uint_eq(seen(t.full)->connected, ROOM); /* never told of who was not let in */
    ck_assert_uint_eq(tbi_endpoint_stats(t.full->node->endpoint)->connections, ROOM);
    sim_free(t.sim);
}
END_TEST

/* Messages that wait for a dial go to whoever the dial came to. */
START_TEST(what_was_sent_on_the_dial_goes_along)
{
    struct town t;
    tbq_message m = {.kind = TBQ_TRANSITION};
    tbq_send_options o;
    begin(&t, 0);
    struct sim_node *late = add(&t, 0);
    tbq_connection c = sim_dial(late, t.full, false);
    m.u.transition = (tbq_bytes){"hello", 5};
    tbq_send_options_init(&o);
    ck_assert_int_eq(tbi_node_send_on(late->node, sim_now(t.sim), c, &m, &o), 0);
    pass(&t, 2000);
    const tbq_peers *peers;
    ck_assert_int_eq(tbi_node_peers(late->node, &t.other->node->id, &peers), 0);
    ck_assert_uint_eq(peers->peer[0]->stats.delivered, 1);
    tbi_peers_free(peers);
    sim_free(t.sim);
}
END_TEST

START_TEST(who_wants_a_certain_peer_is_sent_nowhere)
{
    struct town t;
    begin(&t, 0);
    struct sim_node *late = add(&t, 0);
    struct tbi_target target = {
        .numeric = true, .addr = t.full->addr, .port = 8443, .pinned = true};
    target.id = t.full->node->id;
    ck_assert_int_eq(tbi_node_connect(late->node, sim_now(t.sim), &target, false, NULL), 0);
    pass(&t, 2000);
    ck_assert_uint_eq(seen(late)->connected, 0);
    ck_assert_uint_eq(seen(late)->failed, 1);
    ck_assert_int_eq(seen(late)->reason, TBQ_ERR_LIMIT);
    sim_free(t.sim);
}
END_TEST

START_TEST(beyond_the_answers_there_is_no_state)
{
    struct town t;
    begin(&t, 0);
    struct sim_node *late[3];
    for (size_t i = 0; i < 3; i++) {
        late[i] = add(&t, 0);
        sim_dial(late[i], t.full, false); /* all at once: one answer has room */
    }
    pass(&t, 6000);
    ck_assert_uint_eq(t.full->node->busy_told, 1);
    ck_assert_uint_ge(tbi_endpoint_stats(t.full->node->endpoint)->refused_full, 2);
    ck_assert_uint_eq(
        seen(late[0])->connected + seen(late[1])->connected + seen(late[2])->connected, 1);
    sim_free(t.sim);
}
END_TEST

START_TEST(a_full_node_still_dials_whom_it_was_told_to)
{
    struct town t;
    begin(&t, 0);
    struct sim_node *boot = add(&t, 0), *any = add(&t, 0);
    sim_dial(t.full, boot, true);
    pass(&t, 2000);
    ck_assert(is(&seen(t.full)->peer, boot));
    ck_assert_uint_eq(seen(boot)->connected, 1);
    tbq_connection c;
    struct tbi_target target = {.numeric = true, .addr = any->addr, .port = 8443};
    ck_assert_int_eq(tbi_node_connect(t.full->node, sim_now(t.sim), &target, false, &c), 0);
    pass(&t, 2000);
    ck_assert_uint_eq(seen(any)->connected, 0); /* nobody needs it that much */
    sim_free(t.sim);
}
END_TEST

/* Every node that is named is full too, and names the others: two answers are followed, no more,
 * however much patience there is. */
START_TEST(it_is_followed_twice)
{
    struct town t;
    struct sim_node *full[4];
    size_t told = 0;
    memset(&t, 0, sizeof t);
    t.sim = sim_new(78);
    for (size_t i = 0; i < 4; i++) {
        full[i] = add(&t, 8);
        if (i > 0) {
            sim_dial(full[i], full[i - 1], false);
            pass(&t, 300);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        for (size_t has = i == 0 || i == 3 ? 1 : 2; has < ROOM; has++) {
            sim_dial(add_client(&t), full[i], false);
            pass(&t, 100);
        }
    }
    struct sim_node *late = sim_add(t.sim);
    late->user = &t.seen[t.nodes++];
    late->on_event = watch;
    sim_settings(late)->no_discovery = true;
    sim_settings(late)->connection_timeout_ms = 60000;
    sim_boot(late);
    sim_dial(late, full[0], false);
    pass(&t, 70000);
    ck_assert_uint_eq(seen(late)->connected, 0);
    ck_assert_uint_eq(seen(late)->failed, 1);
    for (size_t i = 0; i < 4; i++) {
        told += full[i]->node->busy_told;
    }
    ck_assert_uint_eq(told, tbi_endpoint_stats(late->node->endpoint)->dialled);
    ck_assert_uint_ge(told, 3);
    ck_assert_uint_le(told, 1 + 3 + 3); /* itself, whom it named, and whom one of those named */
    sim_free(t.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("busy");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, who_finds_no_room_is_sent_to_who_may_have_some);
    tcase_add_test(c, what_was_sent_on_the_dial_goes_along);
    tcase_add_test(c, who_wants_a_certain_peer_is_sent_nowhere);
    tcase_add_test(c, beyond_the_answers_there_is_no_state);
    tcase_add_test(c, a_full_node_still_dials_whom_it_was_told_to);
    tcase_add_test(c, it_is_followed_twice);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
