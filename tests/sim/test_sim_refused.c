/* tests/sim/test_sim_refused.c - who is refused, and what both sides are told; and a receiver that
 * takes nothing for a while. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"
#include "../unit/harness.h"

struct seen {
    bool connected;
    bool failed;
    bool disconnected;
    int reason;
    char text[320];
    size_t messages;
    size_t delivered;
    size_t others;
    bool writable;
};

static bool watch(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;
    switch (e->type) {
    case TBQ_EVENT_CONNECTED:
        s->connected = true;
        break;
    case TBQ_EVENT_CONNECT_FAILED:
    case TBQ_EVENT_DISCONNECTED:
        s->failed = s->failed || e->type == TBQ_EVENT_CONNECT_FAILED;
        s->disconnected = s->disconnected || e->type == TBQ_EVENT_DISCONNECTED;
        s->reason = e->reason;
        snprintf(s->text, sizeof s->text, "%s", e->text);
        break;
    case TBQ_EVENT_MESSAGE:
        s->messages++;
        break;
    case TBQ_EVENT_FATE:
        s->delivered += e->fate == TBQ_DELIVERED;
        s->others += e->fate != TBQ_DELIVERED;
        break;
    case TBQ_EVENT_WRITABLE:
        s->writable = true;
        break;
    default:
        break;
    }
    return true;
}

struct two {
    struct sim *sim;
    struct sim_node *a, *b;
    struct seen at_a, at_b;
};

static void begin(struct two *t)
{
    memset(t, 0, sizeof *t);
    t->sim = sim_new(11);
    t->a = sim_add(t->sim);
    t->b = sim_add(t->sim);
    t->a->user = &t->at_a;
    t->b->user = &t->at_b;
    t->a->on_event = t->b->on_event = watch;
    sim_both(t->a, t->b, (struct sim_link){.delay_ms = 10});
}

static void load(struct sim_node *n, enum tbi_trust_list which, const tbq_peer_id *id)
{
    char text[TBQ_PEER_ID_TEXT_SIZE];
    char why[128];
    tbq_peer_id_to_text(id, text);
    tbq_bytes bytes = {text, strlen(text)};
    ck_assert_int_eq(tbi_trust_load(&n->trust, which, bytes, why, sizeof why), 0);
}

static void dial_pinned(struct two *t, const tbq_peer_id *pin)
{
    struct tbi_target target = {.numeric = true, .addr = t->b->addr, .port = 8443, .pinned = true};
    target.id = *pin;
    ck_assert_int_eq(tbi_node_connect(t->a->node, sim_now(t->sim), &target, false, NULL), 0);
}

START_TEST(a_wrong_pin_is_refused_by_the_dialler)
{
    struct two t;
    begin(&t);
    sim_boot(t.a);
    sim_boot(t.b);
    tbq_peer_id other = *tbi_identity_id(t.b->identity);
    other.bytes[0] ^= 1;
    dial_pinned(&t, &other);
    sim_run(t.sim, 7000, NULL, NULL);
    ck_assert(t.at_a.failed);
    ck_assert(!t.at_a.connected);
    ck_assert(!t.at_b.connected);
    sim_free(t.sim);
}
END_TEST

START_TEST(the_right_pin_connects)
{
    struct two t;
    begin(&t);
    sim_boot(t.a);
    sim_boot(t.b);
    dial_pinned(&t, tbi_identity_id(t.b->identity));
    sim_run(t.sim, 7000, NULL, NULL);
    ck_assert(t.at_a.connected);
    ck_assert(t.at_b.connected);
    sim_free(t.sim);
}
END_TEST

START_TEST(who_is_on_the_deny_list_is_told_so)
{
    struct two t;
    begin(&t);
    load(t.b, TBI_TRUST_DENY, tbi_identity_id(t.a->identity));
    sim_boot(t.a);
    sim_boot(t.b);
    sim_dial(t.a, t.b, false);
    sim_run(t.sim, 7000, NULL, NULL);
    ck_assert(t.at_a.failed);
    ck_assert_int_eq(t.at_a.reason, TBQ_ERR_TRUST);
    ck_assert_ptr_nonnull(strstr(t.at_a.text, "deny list"));
    ck_assert(!t.at_b.connected);
    sim_free(t.sim);
}
END_TEST

START_TEST(who_is_not_on_the_allow_list_is_told_so)
{
    struct two t;
    begin(&t);
    load(t.b, TBI_TRUST_ALLOW, tbi_identity_id(t.b->identity));
    sim_boot(t.a);
    sim_boot(t.b);
    sim_dial(t.a, t.b, false);
    sim_run(t.sim, 7000, NULL, NULL);
    ck_assert(t.at_a.failed);
    ck_assert_int_eq(t.at_a.reason, TBQ_ERR_TRUST);
    ck_assert_ptr_nonnull(strstr(t.at_a.text, "allow list"));
    ck_assert(!t.at_b.connected);
    sim_free(t.sim);
}
END_TEST

START_TEST(a_dead_address_fails_in_the_time_allowed)
{
    struct two t;
    begin(&t);
    sim_boot(t.a);
    sim_dial(t.a, t.b, false);
    sim_run(t.sim, 4900, NULL, NULL);
    ck_assert(!t.at_a.failed);
    sim_run(t.sim, 200, NULL, NULL);
    ck_assert(t.at_a.failed);
    ck_assert_int_eq(t.at_a.reason, TBQ_ERR_TIMEOUT);
    sim_free(t.sim);
}
END_TEST

/* Sends messages of 10,000 bytes until the outbox is full. */
static size_t send_until_full(struct two *t, size_t most)
{
    static uint8_t data[10000];
    tbq_message m = tbq_transition(data, sizeof data);
    tbq_send_options o;
    tbq_send_options_init(&o);
    for (size_t n = 0; n < most; n++) {
        int rv =
            tbi_node_send_to(t->a->node, sim_now(t->sim), tbi_identity_id(t->b->identity), &m, &o);
        if (rv == TBQ_ERR_AGAIN) {
            return n;
        }
        ck_assert_int_eq(rv, 0);
    }
    return most;
}

START_TEST(a_paused_receiver_slows_its_sender_and_nothing_is_lost)
{
    struct two t;
    begin(&t);
    sim_boot(t.a);
    sim_boot(t.b);
    dial_pinned(&t, tbi_identity_id(t.b->identity));
    sim_run(t.sim, 1000, NULL, NULL);
    const tbq_peer_id *a = tbi_identity_id(t.a->identity);
    ck_assert_int_eq(tbi_node_pause(t.b->node, a, TBQ_LANES_ALL), 0);

    size_t sent = 0, more;
    for (int round = 0; round < 20; round++) {
        more = send_until_full(&t, 10000);
        sent += more;
        sim_run(t.sim, 1000, NULL, NULL);
    }
    /* Full for good: an outbox of 8 MiB here, and a window of 2 MiB and 64 KiB there. */
    ck_assert_uint_eq(more, 0);
    ck_assert_uint_eq(t.at_b.messages, 0);
    ck_assert_uint_gt(sent * 10000, 8U << 20);
    ck_assert_uint_lt(sent * 10000, 11U << 20);

    ck_assert_int_eq(tbi_node_resume(t.b->node, a, TBQ_LANES_ALL), 0);
    sim_run(t.sim, 20000, NULL, NULL);
    ck_assert(t.at_a.writable);
    ck_assert_uint_eq(t.at_b.messages, sent);
    ck_assert_uint_eq(t.at_a.delivered, sent);
    ck_assert_uint_eq(t.at_a.others, 0);
    sim_free(t.sim);
}
END_TEST

START_TEST(both_dial_at_once_and_one_connection_stays)
{
    struct two t;
    static const char text[] = "hello";
    tbq_message m = tbq_transition(text, sizeof text);
    tbq_send_options o;
    tbq_send_options_init(&o);
    begin(&t);
    sim_boot(t.a);
    sim_boot(t.b);
    sim_dial(t.a, t.b, true);
    sim_dial(t.b, t.a, true);
    sim_run(t.sim, 3000, NULL, NULL);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(
            tbi_node_send_to(t.a->node, sim_now(t.sim), tbi_identity_id(t.b->identity), &m, &o), 0);
        ck_assert_int_eq(
            tbi_node_send_to(t.b->node, sim_now(t.sim), tbi_identity_id(t.a->identity), &m, &o), 0);
    }
    sim_run(t.sim, 2000, NULL, NULL);
    ck_assert_uint_eq(t.at_a.delivered, 100);
    ck_assert_uint_eq(t.at_b.delivered, 100);
    ck_assert_uint_eq(t.at_a.messages, 100);
    ck_assert_uint_eq(t.at_b.messages, 100);
    /* And it stays so: nobody dials the other for ever, or is closed again. */
    t.at_a.disconnected = t.at_b.disconnected = false;
    t.at_a.connected = t.at_b.connected = false;
    sim_run(t.sim, 120000, NULL, NULL);
    ck_assert(!t.at_a.disconnected && !t.at_b.disconnected);
    ck_assert(!t.at_a.connected && !t.at_b.connected);
    sim_free(t.sim);
}
END_TEST

/* Somebody is put on the deny list while it is connected, on either side of the connection. */
static void denied_while_connected(bool by_acceptor)
{
    struct two t;
    begin(&t);
    struct sim_node *strict = by_acceptor ? t.b : t.a;
    struct sim_node *denied = by_acceptor ? t.a : t.b;
    struct seen *at_strict = by_acceptor ? &t.at_b : &t.at_a;
    struct seen *at_denied = by_acceptor ? &t.at_a : &t.at_b;
    sim_boot(t.a);
    sim_boot(t.b);
    dial_pinned(&t, tbi_identity_id(t.b->identity));
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert(t.at_a.connected && t.at_b.connected);

    ck_assert_int_eq(tbi_node_ask_again(strict->node, sim_now(t.sim)), 0); /* nothing has changed */
    load(strict, TBI_TRUST_DENY, tbi_identity_id(denied->identity));
    ck_assert_int_eq(tbi_node_ask_again(strict->node, sim_now(t.sim)), 1);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert(at_strict->disconnected && at_denied->disconnected);
    ck_assert_int_eq(at_strict->reason, TBQ_ERR_TRUST);
    ck_assert_int_eq(at_denied->reason, TBQ_ERR_TRUST);
    ck_assert_ptr_nonnull(strstr(at_denied->text, "deny list"));
    t.at_a.connected = t.at_b.connected = false;
    sim_run(t.sim, 60000, NULL, NULL);
    ck_assert(!t.at_a.connected && !t.at_b.connected); /* and it does not come back */
    sim_free(t.sim);
}

START_TEST(who_is_denied_while_connected_is_turned_away_by_the_acceptor)
{
    denied_while_connected(true);
}
END_TEST

START_TEST(who_is_denied_while_connected_is_turned_away_by_the_dialler)
{
    denied_while_connected(false);
}
END_TEST

/* --- The application's last word ----------------------------------------------------------------
 */

static int last_word; /* 1: accept, 0: refuse, -1: release, which refuses */

static bool decide(struct sim_node *n, tbq_event *e)
{
    if (e->type != TBQ_EVENT_TRUST) {
        return watch(n, e);
    }
    ck_assert_ptr_nonnull(e->public_key);
    ck_assert_ptr_nonnull(e->peer);
    if (last_word > 0) {
        tbi_node_event_accept(e);
    } else if (last_word == 0) {
        tbi_node_event_refuse(e);
    }
    return last_word < 0;
}

static void ask_application(int word, bool acceptor, bool connects)
{
    struct two t;
    begin(&t);
    last_word = word;
    struct sim_node *asks = acceptor ? t.b : t.a;
    asks->on_event = decide;
    sim_settings(asks)->ask_trust = true;
    sim_boot(t.a);
    sim_boot(t.b);
    dial_pinned(&t, tbi_identity_id(t.b->identity));
    sim_run(t.sim, 4000, NULL, NULL);
    ck_assert(t.at_a.connected == connects && t.at_b.connected == connects);
    if (!connects) {
        ck_assert(t.at_a.failed);
        ck_assert_int_eq(t.at_a.reason, TBQ_ERR_TRUST);
        ck_assert_ptr_nonnull(strstr(t.at_a.text, "the application refused the key"));
    }
    sim_free(t.sim);
}

START_TEST(the_application_has_the_last_word)
{
    for (int acceptor = 0; acceptor < 2; acceptor++) {
        ask_application(1, acceptor == 1, true);
        ask_application(0, acceptor == 1, false);
        ask_application(-1, acceptor == 1, false);
    }
}
END_TEST

START_TEST(first_use_binds_an_address_and_tells_the_server_once)
{
    struct two t;
    struct tbi_binding binding;
    char why[128];
    begin(&t);
    ck_assert_int_eq(
        tbi_trust_load_known(&t.a->trust, "known-peers", (tbq_bytes){"", 0}, why, sizeof why), 0);
    sim_boot(t.a);
    sim_boot(t.b);
    sim_dial(t.b, t.a, false); /* who comes by himself is not admitted */
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert(t.at_b.failed && !t.at_a.connected);
    ck_assert_int_eq(t.at_b.reason, TBQ_ERR_TRUST);
    sim_dial(t.a, t.b, false);
    sim_run(t.sim, 1000, NULL, NULL);
    ck_assert(t.at_a.connected);
    ck_assert(tbi_node_next_binding(t.a->node, &binding));
    ck_assert_str_eq(binding.host_port, "10.0.0.2:8443");
    ck_assert_mem_eq(&binding.id, tbi_identity_id(t.b->identity), sizeof binding.id);
    ck_assert(!tbi_node_next_binding(t.a->node, &binding));
    sim_free(t.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("refused");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_wrong_pin_is_refused_by_the_dialler);
    tcase_add_test(c, the_right_pin_connects);
    tcase_add_test(c, who_is_on_the_deny_list_is_told_so);
    tcase_add_test(c, who_is_not_on_the_allow_list_is_told_so);
    tcase_add_test(c, a_dead_address_fails_in_the_time_allowed);
    tcase_add_test(c, both_dial_at_once_and_one_connection_stays);
    tcase_add_test(c, a_paused_receiver_slows_its_sender_and_nothing_is_lost);
    tcase_add_test(c, who_is_denied_while_connected_is_turned_away_by_the_acceptor);
    tcase_add_test(c, who_is_denied_while_connected_is_turned_away_by_the_dialler);
    tcase_add_test(c, the_application_has_the_last_word);
    tcase_add_test(c, first_use_binds_an_address_and_tells_the_server_once);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
