/* tests/sim/test_sim_handshake.c - the machinery around handshakes and keys: addresses proved by
 * Retry, versions, key updates, resumption, fullness, restarts and silence. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "quic/parts.h"
#include "stranger.h"

struct seen {
    unsigned connected, failed, disconnected;
    int reason;
    char text[320];
    size_t messages, delivered;
};

struct world {
    struct sim *sim;
    struct sim_node *a, *b;
    struct seen at_a, at_b;
    struct stranger *x, *y;
};

static bool watch(struct sim_node *n, tbq_event *e)
{
    struct seen *s = n->user;
    s->connected += e->type == TBQ_EVENT_CONNECTED;
    s->failed += e->type == TBQ_EVENT_CONNECT_FAILED;
    s->disconnected += e->type == TBQ_EVENT_DISCONNECTED;
    s->messages += e->type == TBQ_EVENT_MESSAGE;
    s->delivered += e->type == TBQ_EVENT_FATE && e->fate == TBQ_DELIVERED;
    if (e->type == TBQ_EVENT_CONNECT_FAILED || e->type == TBQ_EVENT_DISCONNECTED) {
        s->reason = e->reason;
        snprintf(s->text, sizeof s->text, "%s", e->text);
    }
    return true;
}

static void begin(struct world *w)
{
    static const struct stranger_options plain = {.cert = CERT_ED25519, .alpn = TBI_ALPN};
    struct sim_node *place[4];

    memset(w, 0, sizeof *w);
    w->sim = sim_new(23);
    for (size_t i = 0; i < 4; i++) {
        place[i] = sim_add(w->sim);
    }
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < i; k++) {
            sim_both(place[i], place[k], (struct sim_link){.delay_ms = 10});
        }
    }
    w->a = place[0];
    w->b = place[1];
    w->a->user = &w->at_a;
    w->b->user = &w->at_b;
    w->a->on_event = w->b->on_event = watch;
    w->x = stranger_new(place[2], &plain);
    w->y = stranger_new(place[3], &plain);
}

static void end(struct world *w)
{
    stranger_free(w->x);
    stranger_free(w->y);
    sim_free(w->sim);
}

static const struct tbi_endpoint_stats *stats(const struct sim_node *n)
{
    return tbi_endpoint_stats(n->node->endpoint);
}

static struct tbi_conn *conn_of(struct sim_node *n)
{
    struct tbi_map_entry *e = tbi_map_first(&n->node->endpoint->conns);
    ck_assert_ptr_nonnull(e);
    return tbi_map_value(e);
}

static void say(struct world *w, struct sim_node *from, struct sim_node *to, size_t count)
{
    static uint8_t data[1000];
    tbq_message m = tbq_transition(data, sizeof data);
    tbq_send_options o;
    tbq_send_options_init(&o);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(
            tbi_node_send_to(from->node, sim_now(w->sim), tbi_identity_id(to->identity), &m, &o),
            0);
    }
}

/* --- Retry ------------------------------------------------------------------------------------ */

START_TEST(a_client_proves_its_address_where_that_is_always_asked)
{
    struct world w;
    begin(&w);
    sim_boot(w.a);
    sim_boot(w.b);
    w.b->node->endpoint->cfg.always_retry = true;
    sim_dial(w.a, w.b, false);
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(stats(w.b)->retries_sent, 1);
    ck_assert_uint_eq(w.at_a.connected, 1);
    ck_assert_uint_eq(w.at_b.connected, 1);
    end(&w);
}
END_TEST

START_TEST(addresses_must_be_proved_while_many_handshakes_are_under_way)
{
    struct world w;
    begin(&w);
    sim_boot(w.b);
    w.b->node->endpoint->stats.half_open = TBI_HALF_OPEN_RETRY - 1;
    stranger_dial(w.x, w.b); /* the last that is believed; its handshake is let go on below */
    sim_run(w.sim, 15, NULL, NULL);
    ck_assert_uint_eq(stats(w.b)->retries_sent, 0);
    stranger_dial(w.y, w.b);
    sim_run(w.sim, 15, NULL, NULL);
    ck_assert_uint_eq(stats(w.b)->retries_sent, 1);
    sim_run(w.sim, 300, NULL, NULL);
    ck_assert(w.x->complete);
    ck_assert_uint_eq(w.x->retries, 0);
    ck_assert(w.y->complete);
    ck_assert_uint_eq(w.y->retries, 1);
    w.b->node->endpoint->stats.half_open -= TBI_HALF_OPEN_RETRY - 1;
    end(&w);
}
END_TEST

enum { TOKEN_RIGHT, TOKEN_OTHER_ADDRESS, TOKEN_FORGED, TOKEN_OTHER_CID, TOKEN_LATE, TOKENS };

/* x asked and got a Retry, but said no more. The token then comes with a new Initial. */
START_TEST(a_token_is_good_for_its_address_its_id_and_ten_seconds)
{
    struct world w;
    begin(&w);
    sim_boot(w.b);
    w.b->node->endpoint->cfg.always_retry = true;
    stranger_dial(w.x, w.b);
    sim_run(w.sim, 15, NULL, NULL);
    sim_link(w.x->place, w.b)->cut = true; /* the answer to the Retry gets lost */
    sim_run(w.sim, 15, NULL, NULL);
    sim_link(w.x->place, w.b)->cut = false;
    ck_assert_uint_eq(w.x->retries, 1);

    struct stranger *who = _i == TOKEN_OTHER_ADDRESS ? w.y : w.x;
    uint8_t token[STRANGER_TOKEN_MAX];
    ngtcp2_cid cid = w.x->retry_scid;
    memcpy(token, w.x->token, w.x->token_size);
    token[w.x->token_size / 2] ^= _i == TOKEN_FORGED;
    cid.data[0] ^= _i == TOKEN_OTHER_CID;
    struct stranger_options o = {.cert = CERT_ED25519,
                                 .alpn = TBI_ALPN,
                                 .token = token,
                                 .token_size = w.x->token_size,
                                 .dcid = &cid};
    if (_i == TOKEN_LATE) {
        sim_link(w.x->place, w.b)->cut = true;
        sim_run(w.sim, 10001, NULL, NULL);
        sim_link(w.x->place, w.b)->cut = false;
    }
    stranger_be(who, &o);
    stranger_dial(who, w.b);
    sim_run(w.sim, 100, NULL, NULL);
    if (_i == TOKEN_RIGHT) {
        /* Taken: the server answers as for a Retry, which this connection of x never had. */
        ck_assert_uint_eq(stats(w.b)->accepted, 1);
    } else {
        ck_assert_uint_eq(stats(w.b)->accepted, 0);
        ck_assert(who->closed);
        ck_assert(!who->by_code);
        ck_assert_uint_eq(who->code, NGTCP2_INVALID_TOKEN);
    }
    ck_assert_uint_eq(stats(w.b)->retries_sent, 1);
    end(&w);
}
END_TEST

/* --- Versions --------------------------------------------------------------------------------- */

START_TEST(version_two_is_spoken)
{
    struct world w;
    begin(&w);
    sim_boot(w.b);
    stranger_be(w.x, &(struct stranger_options){
                         .cert = CERT_ED25519, .alpn = TBI_ALPN, .version = NGTCP2_PROTO_VER_V2});
    stranger_dial(w.x, w.b);
    sim_run(w.sim, 500, NULL, NULL);
    ck_assert(w.x->complete);
    ck_assert_uint_eq(ngtcp2_conn_get_negotiated_version(w.x->qc), NGTCP2_PROTO_VER_V2);
    ck_assert_uint_gt(w.x->stream_bytes, 0); /* its HELLO */
    ck_assert_uint_eq(stats(w.b)->versions_sent, 0);
    end(&w);
}
END_TEST

START_TEST(who_comes_with_an_unknown_version_is_told_the_known_ones)
{
    struct world w;
    begin(&w);
    sim_boot(w.b);
    /* Of the versions that ask for a negotiation, RFC 9000, section 15; ngtcp2 speaks it as 1. */
    stranger_be(w.x, &(struct stranger_options){
                         .cert = CERT_ED25519, .alpn = TBI_ALPN, .version = 0x1a2a3a4a});
    stranger_dial(w.x, w.b);
    sim_run(w.sim, 500, NULL, NULL);
    ck_assert_uint_eq(stats(w.b)->versions_sent, 1);
    ck_assert_uint_eq(stats(w.b)->accepted, 0);
    ck_assert_int_eq(w.x->error, NGTCP2_ERR_RECV_VERSION_NEGOTIATION);
    end(&w);
}
END_TEST

/* --- Keys ------------------------------------------------------------------------------------- */

/* _i: 0 the dialler changes its key, 1 the other side. */
START_TEST(keys_are_changed_by_themselves_and_data_goes_on)
{
    struct world w;
    begin(&w);
    sim_boot(w.a);
    sim_boot(w.b);
    struct sim_node *from = _i == 0 ? w.a : w.b, *to = _i == 0 ? w.b : w.a;
    struct seen *at_from = from->user, *at_to = to->user;
    from->node->endpoint->cfg.key_update_packets = 200;
    sim_dial(w.a, w.b, false);
    sim_run(w.sim, 1000, NULL, NULL);
    uint64_t derived = stats(to)->keys_derived;
    for (int round = 0; round < 10; round++) {
        say(&w, from, to, 100);
        say(&w, to, from, 10);
        sim_run(w.sim, 1000, NULL, NULL);
    }
    ck_assert_uint_ge(stats(from)->key_updates, 3);
    ck_assert_uint_eq(stats(to)->key_updates, 0);
    ck_assert_uint_ge(stats(to)->keys_derived, derived + 3);
    ck_assert_uint_eq(at_to->messages, 1000);
    ck_assert_uint_eq(at_from->messages, 100);
    ck_assert_uint_eq(at_from->delivered, 1000);
    ck_assert_uint_eq(at_to->delivered, 100);
    ck_assert_uint_eq(w.at_a.disconnected + w.at_b.disconnected, 0);
    end(&w);
}
END_TEST

/* --- Coming back ------------------------------------------------------------------------------ */

static void load(struct sim_node *n, enum tbi_trust_list which, const tbq_peer_id *id)
{
    char text[TBQ_PEER_ID_TEXT_SIZE], why[128];
    tbq_peer_id_to_text(id, text);
    tbq_bytes bytes = {text, strlen(text)};
    ck_assert_int_eq(tbi_trust_load(&n->trust, which, bytes, why, sizeof why), 0);
}

/* Without its TLS session; and its certificate is still there for who needs all of it. */
START_TEST(who_is_vouched_for_stays_when_trust_is_asked_again)
{
    char pem[TBI_CERT_PEM_SIZE], why[256];
    size_t size;
    struct world w;
    begin(&w);
    sim_boot(w.a);
    sim_boot(w.b);
    ck_assert_int_eq(tbi_identity_export_cert(w.a->identity, pem, sizeof pem, &size), 0);
    if (_i == 0) {
        ck_assert_int_eq(
            tbi_trust_load_ca(&w.b->trust, (tbq_bytes){(uint8_t *)pem, size}, why, sizeof why), 0);
    }
    sim_dial(w.a, w.b, true);
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(w.at_b.connected, 1);
    ck_assert_ptr_null(tbi_conn_peer_session(conn_of(w.a)));
    ck_assert_ptr_null(tbi_conn_peer_session(conn_of(w.b)));
    ck_assert_int_eq(tbi_node_ask_again(w.b->node, sim_now(w.sim)), 0);
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(w.at_b.disconnected, 0);
    end(&w);
}
END_TEST

/* Both sides forget the connection, as by a long partition; a dials again with its ticket.
 * _i: 0 all is well, 1 b denies a by now, 2 a denies b by now. */
START_TEST(a_node_that_resumes_is_asked_about_again)
{
    struct world w;
    begin(&w);
    sim_boot(w.a);
    sim_boot(w.b);
    sim_dial(w.a, w.b, true);
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(w.at_a.connected, 1);
    ck_assert(!tbi_conn_resumed(conn_of(w.a)));
    sim_both(w.a, w.b, (struct sim_link){.delay_ms = 10, .cut = true});
    while (w.at_a.disconnected == 0 || w.at_b.disconnected == 0) {
        ck_assert_uint_lt(sim_ms(w.sim), 200000);
        sim_run(w.sim, 1000, NULL, NULL);
    }
    if (_i > 0) {
        struct sim_node *who = _i == 1 ? w.b : w.a, *whom = _i == 1 ? w.a : w.b;
        load(who, TBI_TRUST_DENY, tbi_identity_id(whom->identity));
    }
    uint64_t accepted = stats(w.b)->accepted;
    sim_both(w.a, w.b, (struct sim_link){.delay_ms = 10});
    sim_run(w.sim, 40000, NULL, NULL);
    ck_assert_uint_gt(stats(w.b)->accepted, accepted);
    if (_i == 0) {
        ck_assert_uint_eq(w.at_a.connected, 2);
        ck_assert_uint_eq(w.at_b.connected, 2);
        ck_assert(tbi_conn_resumed(conn_of(w.a)));
        ck_assert(tbi_conn_resumed(conn_of(w.b)));
    } else {
        ck_assert_uint_eq(w.at_b.connected, 1);
    }
    end(&w);
}
END_TEST

START_TEST(a_full_node_refuses_without_keeping_anything)
{
    struct world w;
    begin(&w);
    w.b->settings.max_connections = 1;
    sim_boot(w.a);
    sim_boot(w.b);
    stranger_dial(w.x, w.b);
    sim_run(w.sim, 100, NULL, NULL);
    ck_assert(w.x->complete);
    sim_dial(w.a, w.b, false);
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert_uint_eq(w.at_a.failed, 1);
    ck_assert_int_eq(w.at_a.reason, TBQ_ERR_LIMIT);
    ck_assert_ptr_nonnull(strstr(w.at_a.text, "connection refused"));
    ck_assert_uint_eq(stats(w.b)->refused_full, 1);
    ck_assert_uint_eq(stats(w.b)->accepted, 1);
    ck_assert_uint_eq(stats(w.b)->connections, 1);
    end(&w);
}
END_TEST

START_TEST(a_node_that_restarted_resets_what_it_no_longer_knows)
{
    struct world w;
    begin(&w);
    sim_boot(w.a);
    sim_boot(w.b);
    sim_dial(w.a, w.b, false);
    sim_run(w.sim, 1000, NULL, NULL);
    sim_kill(w.b);
    sim_boot(w.b); /* another random stream, the same identity key */
    say(&w, w.a, w.b, 1);
    sim_run(w.sim, 100, NULL, NULL);
    ck_assert_uint_ge(stats(w.b)->resets_sent, 1);
    ck_assert_uint_eq(w.at_a.disconnected, 1);
    ck_assert_int_eq(w.at_a.reason, TBQ_ERR_LOST);
    ck_assert_ptr_nonnull(strstr(w.at_a.text, "stateless reset"));
    end(&w);
}
END_TEST

/* --- Silence ---------------------------------------------------------------------------------- */

START_TEST(a_connection_with_nothing_to_say_is_kept_and_a_dead_one_found_out)
{
    struct world w;
    begin(&w);
    /* Without the node's own pings, which come later than both. */
    w.a->settings.idle_timeout_ms = w.b->settings.idle_timeout_ms = 20000;
    w.a->settings.ping_interval_ms = w.b->settings.ping_interval_ms = 3600000;
    sim_boot(w.a);
    sim_boot(w.b);
    sim_dial(w.a, w.b, false);
    sim_run(w.sim, 200000, NULL, NULL);
    ck_assert_uint_eq(w.at_a.connected, 1);
    ck_assert_uint_eq(w.at_a.disconnected + w.at_b.disconnected, 0);
    sim_both(w.a, w.b, (struct sim_link){.delay_ms = 10, .cut = true});
    sim_run(w.sim, 12000, NULL, NULL);
    ck_assert_uint_eq(w.at_a.disconnected + w.at_b.disconnected, 0);
    sim_run(w.sim, 18000, NULL, NULL);
    ck_assert_uint_eq(w.at_a.disconnected, 1);
    ck_assert_uint_eq(w.at_b.disconnected, 1);
    ck_assert_int_eq(w.at_a.reason, TBQ_ERR_LOST);
    ck_assert_ptr_nonnull(strstr(w.at_a.text, "idle timeout"));
    end(&w);
}
END_TEST

START_TEST(a_handshake_that_gets_stuck_is_given_up_and_leaves_nothing)
{
    struct world w;
    begin(&w);
    sim_boot(w.b);
    stranger_dial(w.x, w.b);
    sim_run(w.sim, 15, NULL, NULL);
    sim_link(w.x->place, w.b)->cut = true;
    ck_assert_uint_eq(stats(w.b)->half_open, 1);
    sim_run(w.sim, 4900, NULL, NULL);
    ck_assert_uint_eq(stats(w.b)->half_open, 1);
    sim_run(w.sim, 10000, NULL, NULL);
    ck_assert_uint_eq(stats(w.b)->half_open, 0);
    ck_assert_uint_eq(stats(w.b)->connections, 0);
    ck_assert_uint_eq(w.at_b.connected, 0);
    end(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("handshake");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_client_proves_its_address_where_that_is_always_asked);
    tcase_add_test(c, addresses_must_be_proved_while_many_handshakes_are_under_way);
    tcase_add_loop_test(c, a_token_is_good_for_its_address_its_id_and_ten_seconds, 0, TOKENS);
    tcase_add_test(c, version_two_is_spoken);
    tcase_add_test(c, who_comes_with_an_unknown_version_is_told_the_known_ones);
    tcase_add_loop_test(c, keys_are_changed_by_themselves_and_data_goes_on, 0, 2);
    tcase_add_loop_test(c, who_is_vouched_for_stays_when_trust_is_asked_again, 0, 2);
    tcase_add_loop_test(c, a_node_that_resumes_is_asked_about_again, 0, 3);
    tcase_add_test(c, a_full_node_refuses_without_keeping_anything);
    tcase_add_test(c, a_node_that_restarted_resets_what_it_no_longer_knows);
    tcase_add_test(c, a_connection_with_nothing_to_say_is_kept_and_a_dead_one_found_out);
    tcase_add_test(c, a_handshake_that_gets_stuck_is_given_up_and_leaves_nothing);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
