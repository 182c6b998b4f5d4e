/* tests/unit/test_quic_early.c - lib/quic: what one connection leaves for the next: tokens that
 * prove the client's address, tickets, and what is said with them before the handshake is complete;
 * two endpoints joined in memory. */
#include <string.h>

#include "quic/parts.h"
#include "quic_pair.h"

#define HOUR_MS UINT64_C(3600000)

static struct quic_pair p;
static uint8_t bytes[600000];

static void begin(void)
{
    quic_init(&p);
    p.a.config.early_data = p.b.config.early_data = true;
}

static void end(void)
{
    quic_free(&p);
}

static const struct tbi_endpoint_stats *server(void)
{
    return tbi_endpoint_stats(p.b.ep);
}

static void pass(uint64_t ms)
{
    p.now.mono_ns += ms * TBI_NS_PER_MS;
    p.now.wall_ms += ms;
}

static void part_ways(void)
{
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 2000);
    ck_assert_uint_eq(server()->connections, 0);
}

/* One connection, and its end: there are a ticket and a token. */
static void meet(void)
{
    quic_connect(&p);
    quic_run(&p, 100);
    ck_assert_uint_gt(p.a.ticket_size, 0);
    ck_assert_uint_gt(p.a.token_size, 0);
    part_ways();
}

static void restart(struct quic_end *e)
{
    tbi_endpoint_free(e->ep);
    e->ep = NULL;
    ck_assert_int_eq(quic_start(e), 0);
}

static int64_t say(size_t size, bool fin)
{
    int64_t stream = -1;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), 0);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), stream, bytes, size, NULL, fin), 0);
    return stream;
}

/* Dials with the ticket and says 100 bytes at once, on stream 2. */
static void dial_early(void)
{
    size_t before = p.a.count[TBI_QUIC_CONNECTED_EARLY];
    p.a.dial_early = true;
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_actions(&p.a);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CONNECTED_EARLY], before + 1);
    ck_assert_int_eq(say(100, true), 2);
}

/* --- Tokens ----------------------------------------------------------------------------------- */

START_TEST(a_token_saves_the_retry)
{
    p.b.config.always_retry = true;
    meet();
    ck_assert_uint_eq(server()->retries_sent, 1);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 100);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_HANDSHAKE_DONE], 2);
    ck_assert_uint_eq(server()->retries_sent, 1);
    ck_assert_uint_eq(server()->tokens_taken, 1);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_TOKEN], 2); /* the next one */
}
END_TEST

START_TEST(a_token_counts_after_a_restart)
{
    p.b.config.always_retry = true;
    meet();
    restart(&p.b); /* the same identity */
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 100);
    ck_assert_uint_eq(server()->retries_sent, 0);
    ck_assert_uint_eq(server()->tokens_taken, 1);
}
END_TEST

/* With a token that does not count the client is one without a token. */
static void retried_all_the_same(void)
{
    uint64_t before = server()->retries_sent;
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 100);
    ck_assert_uint_eq(server()->tokens_taken, 0);
    ck_assert_uint_eq(server()->tokens_old, 1);
    ck_assert_uint_eq(server()->refused_token, 0);
    ck_assert_uint_eq(server()->retries_sent, before + 1);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_HANDSHAKE_DONE], 2);
}

START_TEST(a_token_counts_at_its_own_address)
{
    p.b.config.always_retry = true;
    meet();
    uint8_t ip[4] = {10, 0, 0, 77};
    ck_assert_int_eq(tbi_addr_from_bytes(&p.a.addr, ip, 4, 8443), 0);
    retried_all_the_same();
}
END_TEST

START_TEST(a_token_ages)
{
    p.b.config.always_retry = true;
    meet();
    pass(6 * HOUR_MS);
    retried_all_the_same();
}
END_TEST

START_TEST(a_token_of_another_server_is_none)
{
    p.b.config.always_retry = true;
    meet();
    p.a.token[p.a.token_size - 1] ^= 1;
    retried_all_the_same();
}
END_TEST

START_TEST(a_busy_server_lets_in_who_has_a_token)
{
    p.a.config.max_connections = p.b.config.max_connections = 300;
    meet();
    size_t size = p.a.token_size;
    for (size_t i = 0; i < 20; i++) {
        p.a.token_size = i < 18 ? 0 : size; /* the first 16 are let in, the next 2 are not */
        ck_assert_int_eq(quic_dial(&p), 0);
        ck_assert(quic_take(&p, &p.a));
        quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
    }
    ck_assert_uint_eq(server()->retries_sent, 2);
    ck_assert_uint_eq(server()->tokens_taken, 2);
    ck_assert_uint_eq(server()->half_open, 18);
}
END_TEST

START_TEST(who_moves_gets_another_token)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_TOKEN], 1);
    uint8_t ip[4] = {10, 0, 0, 78};
    ck_assert_int_eq(tbi_addr_from_bytes(&p.a.addr, ip, 4, 8443), 0);
    say(10, true);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_PATH], 1);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_TOKEN], 2);
    part_ways();
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 100);
    ck_assert_uint_eq(server()->tokens_taken, 1);
}
END_TEST

START_TEST(a_client_keeps_so_many_tokens_and_no_more)
{
    int64_t stream;
    quic_connect(&p);
    quic_run(&p, 1000);
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), 0);
    for (uint8_t i = 0; i < TBI_TOKENS_PER_CONN + 8; i++) {
        uint8_t ip[4] = {10, 0, 0, 80 + i};
        ck_assert_int_eq(tbi_addr_from_bytes(&p.a.addr, ip, 4, 8443), 0);
        ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), stream, bytes, 1, NULL, false), 0);
        quic_run(&p, 1000);
    }
    ck_assert_uint_eq(p.b.count[TBI_QUIC_PATH], TBI_TOKENS_PER_CONN + 8);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_TOKEN], TBI_TOKENS_PER_CONN);
}
END_TEST

/* --- 0-RTT ------------------------------------------------------------------------------------ */

START_TEST(early_bytes_are_in_the_first_flight)
{
    meet();
    dial_early();
    while (quic_take(&p, &p.a)) {
        quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
    }
    quic_actions(&p.b);
    ck_assert_uint_eq(p.b.got[0], 100);
    ck_assert(p.b.fin[0]);
    ck_assert_uint_eq(p.b.early, 100);
    ck_assert_uint_eq(p.b.early_known, 100); /* whose they are can be told by then */
    ck_assert_uint_eq(p.b.count[TBI_QUIC_HANDSHAKE_DONE], 1);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_HANDSHAKE_DONE], 2);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_EARLY_REJECTED], 0);
    ck_assert_uint_eq(server()->early_accepted, 1);
    ck_assert(tbi_conn_resumed(quic_conn(&p.b)));
    say(50, true); /* nothing of what follows is early */
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.got[1], 50);
    ck_assert_uint_eq(p.b.early, 100);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CONNECTED_EARLY], 2); /* once for each dial */
}
END_TEST

/* More than fits: the rest follows with the handshake, and every byte comes once. */
START_TEST(much_is_said_early)
{
    p.b.config.stream_window = 100000;
    meet();
    p.a.dial_early = true;
    ck_assert_int_eq(quic_dial(&p), 0);
    say(sizeof bytes, true);
    quic_run(&p, 3000);
    ck_assert_uint_eq(p.b.got[0], sizeof bytes);
    ck_assert(p.b.fin[0]);
    ck_assert_uint_gt(p.b.early, 0);
    ck_assert_uint_le(p.b.early, 100000);
}
END_TEST

START_TEST(early_bytes_survive_a_retry)
{
    p.b.config.always_retry = true;
    meet();
    p.a.token_size = 0;
    dial_early();
    quic_run(&p, 1000);
    ck_assert_uint_eq(server()->retries_sent, 2);
    ck_assert_uint_eq(p.b.got[0], 100);
    ck_assert_uint_eq(p.b.early, 100);
}
END_TEST

START_TEST(a_dial_may_end_before_it_began)
{
    meet();
    dial_early();
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 10000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 2);
    ck_assert_ptr_null(quic_conn(&p.a));
    ck_assert_uint_eq(tbi_endpoint_stats(p.a.ep)->connections, 0);
    ck_assert_uint_eq(server()->half_open, 0);
}
END_TEST

/* While the handshake is not complete QUIC carries no code of the application's. */
START_TEST(who_is_refused_early_learns_no_reason)
{
    p.b.refuse_early = true;
    meet();
    dial_early();
    say(100, true); /* nothing is handed over after the close */
    quic_run(&p, 2000);
    ck_assert_uint_eq(p.b.early, 100);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 2);
    ck_assert_int_eq(p.a.closed.closed.who, TBI_CLOSED_TRANSPORT);
    ck_assert_ptr_nonnull(strstr(p.a.closed.closed.text, "application error before"));
}
END_TEST

START_TEST(without_being_asked_nothing_is_early)
{
    int64_t stream;
    meet();
    ck_assert_int_eq(quic_dial(&p), 0); /* the same ticket, but not `early` */
    quic_actions(&p.a);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CONNECTED_EARLY], 1);
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), TBQ_ERR_AGAIN);
    quic_run(&p, 1000);
    ck_assert(tbi_conn_resumed(quic_conn(&p.a)));
    ck_assert_uint_eq(server()->early_accepted + server()->early_refused, 0);
}
END_TEST

/* What was written is gone, and told; the same is written again, and comes once. */
static void rejected_and_said_again(size_t replays, size_t refused)
{
    size_t done = p.b.count[TBI_QUIC_HANDSHAKE_DONE];
    dial_early();
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_EARLY_REJECTED], 1);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_HANDSHAKE_DONE], done + 1);
    ck_assert_uint_eq(p.b.got[0], 0);
    ck_assert_uint_eq(p.b.early, 0);
    ck_assert_uint_eq(server()->early_accepted, 0);
    ck_assert_uint_eq(server()->early_replays, replays);
    ck_assert_uint_eq(server()->early_refused, refused);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), 2, bytes, 1, NULL, false), TBQ_ERR_CLOSED);
    ck_assert_int_eq(say(100, true), 2);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.got[0], 100);
    ck_assert(p.b.fin[0]);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED] + p.b.count[TBI_QUIC_CLOSED], 2);
}

START_TEST(a_server_that_takes_none)
{
    meet();
    p.b.config.early_data = false;
    restart(&p.b);
    rejected_and_said_again(0, 0);
}
END_TEST

/* With a ticket that does not allow it, or a client that may not, `early` says nothing. */
static void dial_is_as_any_other(void)
{
    int64_t stream;
    meet();
    p.a.dial_early = true;
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), TBQ_ERR_AGAIN);
    quic_run(&p, 1000);
    ck_assert(tbi_conn_resumed(quic_conn(&p.a)));
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CONNECTED_EARLY], 2); /* each with its 1-RTT keys */
    ck_assert_uint_eq(p.a.count[TBI_QUIC_EARLY_REJECTED], 0);
}

START_TEST(a_server_that_gives_none)
{
    p.b.config.early_data = false;
    dial_is_as_any_other();
}
END_TEST

START_TEST(a_client_that_says_none)
{
    p.a.config.early_data = false;
    dial_is_as_any_other();
}
END_TEST

START_TEST(an_old_ticket_says_nothing_early)
{
    meet();
    pass(6 * HOUR_MS);
    rejected_and_said_again(0, 1);
    ck_assert(tbi_conn_resumed(quic_conn(&p.a))); /* GnuTLS's clock has not moved */
}
END_TEST

/* Its tickets of before are unknown, whatever is said with them. */
START_TEST(a_restarted_server_takes_nothing_early)
{
    meet();
    restart(&p.b);
    rejected_and_said_again(0, 1);
}
END_TEST

/* A server may not hold a client to less than it remembers: it makes a full handshake instead. */
START_TEST(a_server_that_allows_less_than_before)
{
    p.b.config.stream_window = 200000;
    meet();
    p.b.config.stream_window = 50;
    restart(&p.b);
    rejected_and_said_again(0, 1);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
}
END_TEST

START_TEST(a_server_that_has_another_key)
{
    uint8_t seed[TBI_SEED_SIZE] = {9};
    struct tbi_identity *old = p.b.identity;
    meet();
    ck_assert_int_eq(tbi_identity_new(&p.b.identity, &p.steady, seed, &p.rng), 0);
    p.b.config.crypto = tbi_identity_crypto(p.b.identity);
    restart(&p.b);
    tbi_identity_free(old);
    rejected_and_said_again(0, 1);
}
END_TEST

/* --- Replays ---------------------------------------------------------------------------------- */

static struct {
    size_t count;
    size_t size[8];
    uint8_t data[8][TBI_DATAGRAM_MAX];
} flight;

/* Keeps what the client sends first; delivers it or not. */
static void capture(bool deliver)
{
    flight.count = 0;
    while (quic_take(&p, &p.a)) {
        ck_assert_uint_lt(flight.count, 8);
        flight.size[flight.count] = p.a.last_size;
        memcpy(flight.data[flight.count++], p.a.last, p.a.last_size);
        if (deliver) {
            quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
        }
    }
}

static void replay(void)
{
    for (size_t i = 0; i < flight.count; i++) {
        quic_inject(&p, &p.b, &p.a, flight.data[i], flight.size[i]);
    }
    quic_actions(&p.b);
}

START_TEST(the_same_flight_twice_acts_once)
{
    meet();
    dial_early();
    capture(true);
    quic_run(&p, 100);
    ck_assert_uint_eq(p.b.got[0], 100);
    replay(); /* while the connection stands */
    quic_run(&p, 100);
    ck_assert_uint_eq(p.b.got[0], 100);
    part_ways();
    pass(1000);
    replay(); /* and when it is gone */
    ck_assert_uint_eq(p.b.count[TBI_QUIC_ACCEPTED], 3);
    ck_assert_uint_eq(p.b.got[0], 100);
    ck_assert_uint_eq(server()->early_accepted, 1);
    ck_assert_uint_eq(server()->early_replays, 1);
    ck_assert_uint_eq(server()->early_refused, 0);
}
END_TEST

START_TEST(a_restarted_server_takes_no_replay)
{
    meet();
    dial_early();
    capture(true);
    quic_run(&p, 100);
    ck_assert_uint_eq(p.b.got[0], 100);
    restart(&p.b);
    replay();
    ck_assert_uint_eq(p.b.got[0], 100);
    ck_assert_uint_eq(server()->accepted, 1);
    ck_assert_uint_eq(server()->early_accepted, 0);
    ck_assert_uint_eq(server()->early_refused, 1);
}
END_TEST

/* A client that uses its ticket again is no attacker, and is told to say it again. */
START_TEST(a_ticket_is_for_one_time)
{
    meet();
    size_t size = p.a.ticket_size;
    static uint8_t ticket[sizeof p.a.ticket];
    memcpy(ticket, p.a.ticket, size);
    dial_early();
    quic_run(&p, 100);
    ck_assert_uint_eq(server()->early_accepted, 1);
    part_ways();
    memcpy(p.a.ticket, ticket, size);
    p.a.ticket_size = size;
    p.b.got[0] = 0;
    dial_early();
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_EARLY_REJECTED], 1);
    ck_assert_uint_eq(p.b.got[0], 0);
    ck_assert_uint_eq(server()->early_replays, 1);
}
END_TEST

/* The ticket that the second connection left is as good as the first one's. */
START_TEST(tickets_follow_one_another)
{
    meet();
    for (size_t i = 1; i <= 5; i++) {
        dial_early();
        quic_run(&p, 100);
        ck_assert_uint_eq(server()->early_accepted, i);
        ck_assert_uint_eq(p.b.early, 100 * i);
        part_ways();
    }
    ck_assert_uint_eq(p.a.count[TBI_QUIC_EARLY_REJECTED], 0);
}
END_TEST

/* --- Who gets none ---------------------------------------------------------------------------- */

/* Nothing would tell on the next connection who it is. */
START_TEST(a_client_without_certificate_gets_no_ticket)
{
    ck_assert_int_eq(gnutls_certificate_allocate_credentials(&p.a.config.credentials), 0);
    ck_assert_int_eq(tbi_endpoint_new(&p.a.ep, &p.a.config), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_HANDSHAKE_DONE], 1);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_HANDSHAKE_DONE], 1);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_TICKET], 0);
}
END_TEST

/* QUIC has no other limit of early data than those of its streams: RFC 9001, section 4.6.1. */
START_TEST(a_server_that_limits_early_data_is_at_fault)
{
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert(quic_take(&p, &p.a));
    quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
    quic_actions(&p.b);
    gnutls_session_t session = tbi_conn_peer_session(quic_conn(&p.b));
    ck_assert_int_eq(gnutls_record_set_max_early_data_size(session, 16384), 0);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_TICKET], 0);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_CLOSED], 1);
    ck_assert_ptr_nonnull(strstr(p.b.closed.closed.text, "protocol violation"));
}
END_TEST

START_TEST(bytes_that_are_no_ticket)
{
    int64_t stream;
    meet();
    size_t size = p.a.ticket_size;
    p.a.dial_early = true;
    for (size_t i = 0; i < 3; i++) {
        size_t done = p.b.count[TBI_QUIC_HANDSHAKE_DONE];
        p.a.ticket_size = i == 0 ? size - 1 : i == 1 ? 1 : size;
        p.a.ticket[0] ^= i == 2 ? 0xff : 0; /* a format to come */
        ck_assert_int_eq(quic_dial(&p), 0);
        ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), TBQ_ERR_AGAIN);
        quic_run(&p, 1000);
        ck_assert_uint_eq(p.b.count[TBI_QUIC_HANDSHAKE_DONE], done + 1);
        ck_assert(!tbi_conn_resumed(quic_conn(&p.a)));
        part_ways();
    }
    ck_assert_uint_eq(server()->early_accepted + server()->early_refused, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_early");
    TCase *tc = tcase_create("early");
    tcase_add_checked_fixture(tc, begin, end);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_token_saves_the_retry);
    tcase_add_test(tc, a_token_counts_after_a_restart);
    tcase_add_test(tc, a_token_counts_at_its_own_address);
    tcase_add_test(tc, a_token_ages);
    tcase_add_test(tc, a_token_of_another_server_is_none);
    tcase_add_test(tc, a_busy_server_lets_in_who_has_a_token);
    tcase_add_test(tc, who_moves_gets_another_token);
    tcase_add_test(tc, a_client_keeps_so_many_tokens_and_no_more);
    tcase_add_test(tc, early_bytes_are_in_the_first_flight);
    tcase_add_test(tc, much_is_said_early);
    tcase_add_test(tc, early_bytes_survive_a_retry);
    tcase_add_test(tc, a_dial_may_end_before_it_began);
    tcase_add_test(tc, who_is_refused_early_learns_no_reason);
    tcase_add_test(tc, without_being_asked_nothing_is_early);
    tcase_add_test(tc, a_server_that_takes_none);
    tcase_add_test(tc, a_server_that_gives_none);
    tcase_add_test(tc, a_client_that_says_none);
    tcase_add_test(tc, an_old_ticket_says_nothing_early);
    tcase_add_test(tc, a_restarted_server_takes_nothing_early);
    tcase_add_test(tc, a_server_that_allows_less_than_before);
    tcase_add_test(tc, a_server_that_has_another_key);
    tcase_add_test(tc, the_same_flight_twice_acts_once);
    tcase_add_test(tc, a_restarted_server_takes_no_replay);
    tcase_add_test(tc, a_ticket_is_for_one_time);
    tcase_add_test(tc, tickets_follow_one_another);
    tcase_add_test(tc, a_client_without_certificate_gets_no_ticket);
    tcase_add_test(tc, a_server_that_limits_early_data_is_at_fault);
    tcase_add_test(tc, bytes_that_are_no_ticket);
    suite_add_tcase(suite, tc);
    return tbi_test_main(suite);
}
