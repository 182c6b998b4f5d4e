/* tests/unit/test_quic_shed.c - what connections do without: the TLS session once the handshake is
 * over, and nearly all of the rest once they are; and certificates that are read once. */
#include <string.h>

#include "identity_help.h"
#include "quic/parts.h"
#include "quic_pair.h"

#define KEY_UPDATE 24 /* RFC 8446, section 4 */
#define NEW_SESSION_TICKET 4

static struct quic_pair p;

static void begin(void)
{
    quic_init(&p);
}

static void end(void)
{
    quic_free(&p);
}

static void shed(struct quic_end *e, bool wants_chain)
{
    tbi_conn_shed(quic_conn(e), wants_chain);
    ck_assert_ptr_null(tbi_conn_peer_session(quic_conn(e)));
}

static void talks(struct quic_end *from, struct quic_end *to)
{
    int64_t stream;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(from), 0, &stream), 0);
    ck_assert_int_eq(
        tbi_conn_write(quic_conn(from), stream, (const uint8_t *)"well", 4, NULL, true), 0);
    quic_run(&p, 1000);
    ck_assert(to->fin[(stream / 4) % QUIC_STREAMS]);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED] + p.b.count[TBI_QUIC_CLOSED], 0);
}

/* As TLS would, in 1-RTT packets. */
static void says_tls(struct quic_end *e, const void *data, size_t size)
{
    ck_assert_int_eq(
        ngtcp2_conn_submit_crypto_data(quic_conn(e)->qc, NGTCP2_ENCRYPTION_LEVEL_1RTT, data, size),
        0);
    tbi_conn_probe(quic_conn(e), p.now);
    quic_run(&p, 100);
}

static void is_closed_by(struct quic_end *e)
{
    ck_assert_uint_eq(e->count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(e->closed.closed.who, TBI_CLOSED_TRANSPORT);
    ck_assert_ptr_nonnull(strstr(e->closed.closed.text, "nexpected message"));
}

/* --- Without TLS ------------------------------------------------------------------------------ */

START_TEST(all_goes_on_without_tls)
{
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict;
    quic_connect(&p);
    ck_assert_int_eq(tbi_conn_peer_key(quic_conn(&p.b), key, &verdict), 0);
    shed(&p.a, false);
    shed(&p.b, false);
    talks(&p.a, &p.b);
    for (int i = 0; i < 3; i++) {
        uint64_t derived = tbi_endpoint_stats(p.b.ep)->keys_derived;
        ck_assert_int_eq(tbi_conn_update_key(quic_conn(&p.a), p.now), 0);
        talks(&p.a, &p.b);
        talks(&p.b, &p.a);
        ck_assert_uint_gt(tbi_endpoint_stats(p.b.ep)->keys_derived, derived);
    }
    memset(key, 0, sizeof key);
    ck_assert_int_eq(tbi_conn_peer_key(quic_conn(&p.b), key, &verdict), 0);
    ck_assert_mem_eq(key, tbi_identity_key(p.a.identity), sizeof key);
}
END_TEST

/* Asked for before the handshake is over; a client has its ticket first, a server has given it. */
START_TEST(not_before_it_has_done_its_work)
{
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    tbi_conn_shed(quic_conn(&p.a), false);
    ck_assert(quic_take(&p, &p.a));
    quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
    quic_actions(&p.b);
    tbi_conn_shed(quic_conn(&p.b), false);
    ck_assert_ptr_nonnull(tbi_conn_peer_session(quic_conn(&p.a)));
    ck_assert_ptr_nonnull(tbi_conn_peer_session(quic_conn(&p.b)));
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_TICKET], 1);
    ck_assert_ptr_null(tbi_conn_peer_session(quic_conn(&p.a)));
    ck_assert_ptr_null(tbi_conn_peer_session(quic_conn(&p.b)));
    talks(&p.b, &p.a);
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 1000);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 1000);
    ck_assert(tbi_conn_resumed(quic_conn(&p.a)));
}
END_TEST

/* Without memory for the copy as well: then it is as if none had been shown. */
START_TEST(the_chain_is_kept_for_who_wants_it)
{
    unsigned count = 0;
    gnutls_datum_t leaf;
    uint8_t bytes[1024];
    quic_connect(&p);
    const gnutls_datum_t *chain = tbi_conn_peer_chain(quic_conn(&p.b), &count);
    ck_assert_uint_eq(count, 1);
    leaf = chain[0];
    ck_assert_uint_le(leaf.size, sizeof bytes);
    memcpy(bytes, leaf.data, leaf.size);
    if (_i == 2) { /* without memory the session stays, until there is some */
        p.b.memory.fail_at = p.b.memory.calls + 1;
        tbi_conn_shed(quic_conn(&p.b), true);
        ck_assert_ptr_nonnull(tbi_conn_peer_session(quic_conn(&p.b)));
        ck_assert_ptr_nonnull(tbi_conn_peer_chain(quic_conn(&p.b), &count));
        p.b.memory.fail_at = 0;
    }
    shed(&p.b, _i > 0);
    chain = tbi_conn_peer_chain(quic_conn(&p.b), &count);
    ck_assert_uint_eq(count, _i > 0);
    if (_i > 0) {
        ck_assert_uint_eq(chain[0].size, leaf.size);
        ck_assert_mem_eq(chain[0].data, bytes, leaf.size);
    }
}
END_TEST

/* --- What comes too late ---------------------------------------------------------------------- */

/* In pieces; some of them in the middle of a head. */
START_TEST(late_tickets_are_ignored)
{
    static const uint8_t two[] = {NEW_SESSION_TICKET, 0, 0, 5, 1, 2, 3, 4, 5,
                                  NEW_SESSION_TICKET, 0, 0, 2, 6, 7};
    quic_connect(&p);
    says_tls(&p.b, two, 3); /* GnuTLS has these, and waits for more */
    shed(&p.a, false);
    says_tls(&p.b, two + 3, sizeof two - 3);
    for (size_t i = 0; i < sizeof two; i++) {
        says_tls(&p.b, two + i, 1);
    }
    says_tls(&p.b, two, 11);
    says_tls(&p.b, two + 11, sizeof two - 11);
    talks(&p.b, &p.a);
    talks(&p.a, &p.b);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_TICKET], 1);
}
END_TEST

/* RFC 9001, sections 4.4 and 6; with the session, and without it. */
START_TEST(nothing_else_may_come)
{
    static const uint8_t update[] = {KEY_UPDATE, 0, 0, 1, 0};
    static const uint8_t ticket_and_update[] = {NEW_SESSION_TICKET, 0, 0, 1, 9,
                                                KEY_UPDATE,         0, 0, 1, 0};
    quic_connect(&p);
    if (_i % 2 == 1) {
        shed(&p.a, false);
        shed(&p.b, false);
    }
    if (_i < 2) {
        says_tls(&p.b, update, sizeof update);
        is_closed_by(&p.a);
    } else if (_i < 4) { /* nor a ticket for a server */
        says_tls(&p.a, ticket_and_update, 5);
        is_closed_by(&p.b);
    } else {
        shed(&p.a, false);
        says_tls(&p.b, ticket_and_update, sizeof ticket_and_update);
        is_closed_by(&p.a);
    }
}
END_TEST

/* A message claims 16 MiB, and comes. */
START_TEST(tickets_without_end)
{
    uint8_t much[1000] = {NEW_SESSION_TICKET, 0xff, 0xff, 0xff};
    quic_connect(&p);
    if (_i == 1) {
        shed(&p.a, false);
    }
    size_t said = 0;
    for (; said < 200000 && p.a.count[TBI_QUIC_CLOSED] == 0; said += sizeof much) {
        says_tls(&p.b, much, sizeof much);
        memset(much, 0, sizeof much);
    }
    is_closed_by(&p.a);
    ck_assert_uint_gt(said, 100000);
}
END_TEST

/* --- The end ---------------------------------------------------------------------------------- */

/* Answers for a few hundred milliseconds yet, and holds next to nothing. */
START_TEST(who_has_ended_holds_little)
{
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    size_t before_a = p.a.memory.live, before_b = p.b.memory.live;
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 1000);
    size_t a = p.a.memory.live - before_a, b = p.b.memory.live - before_b;
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 1);
    ck_assert_ptr_nonnull(quic_conn(&p.a));
    ck_assert_ptr_nonnull(quic_conn(&p.b));
    ck_assert_uint_lt(p.a.memory.live - before_a, a * 2 / 3);
    ck_assert_uint_lt(p.b.memory.live - before_b, b * 2 / 3);
    quic_run(&p, 10000);
    ck_assert_ptr_null(quic_conn(&p.a));
    ck_assert_ptr_null(quic_conn(&p.b));
}
END_TEST

/* --- Certificates ----------------------------------------------------------------------------- */

static uint64_t read_by_b(void)
{
    return tbi_endpoint_stats(p.b.ep)->certificates_read;
}

static void come_again(void)
{
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 1000);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 1000);
}

START_TEST(a_certificate_is_read_once)
{
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict;
    quic_connect(&p);
    for (int i = 0; i < 3; i++) {
        memset(key, 0, sizeof key);
        ck_assert_int_eq(tbi_conn_peer_key(quic_conn(&p.b), key, &verdict), 0);
        ck_assert_mem_eq(key, tbi_identity_key(p.a.identity), sizeof key);
        ck_assert_uint_eq(read_by_b(), 1);
        p.a.ticket_size = i == 0 ? 0 : p.a.ticket_size; /* full, and resumed */
        come_again();
    }
}
END_TEST

/* That of an operator ends. */
START_TEST(but_its_time_is_looked_at_each_time)
{
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict;
    gnutls_x509_privkey_t own = key_of(p.a.identity);
    gnutls_x509_crt_t crt = foreign_cert(own, 0, (time_t)(p.now.wall_ms / 1000) + 3600);
    gnutls_certificate_credentials_t *credentials = &p.a.config.credentials;
    ck_assert_int_eq(gnutls_certificate_allocate_credentials(credentials), 0);
    ck_assert_int_eq(gnutls_certificate_set_x509_key(*credentials, &crt, 1, own), 0);
    ck_assert_int_eq(tbi_endpoint_new(&p.a.ep, &p.a.config), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 1000);
    ck_assert_int_eq(tbi_conn_peer_key(quic_conn(&p.b), key, &verdict), 0);
    p.now.wall_ms += 7200 * UINT64_C(1000);
    come_again();
    ck_assert_int_eq(tbi_conn_peer_key(quic_conn(&p.b), key, &verdict), TBQ_ERR_IDENTITY);
    ck_assert_uint_eq(verdict.close_code, TBI_CLOSE_CERTIFICATE);
    ck_assert_uint_eq(read_by_b(), 1);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(own);
}
END_TEST

/* --- Handshakes first ------------------------------------------------------------------------- */

/* Of several first flights that are read at once, each is answered before the next is looked at. */
START_TEST(a_handshake_does_not_wait_for_the_next)
{
    static uint8_t bytes[2][TBI_DATAGRAM_MAX];
    struct tbi_datagram d[2];
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(quic_dial(&p), 0);
        ck_assert(quic_take(&p, &p.a));
        memcpy(bytes[i], p.a.last, p.a.last_size);
        d[i] = (struct tbi_datagram){
            .local = p.b.addr, .remote = p.a.addr, .data = bytes[i], .size = p.a.last_size};
    }
    for (size_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(tbi_endpoint_recv(p.b.ep, p.now, d + i, 2 - i), 1);
        ck_assert(tbi_endpoint_hurries(p.b.ep));
        ck_assert(quic_take(&p, &p.b));
        while (tbi_endpoint_hurries(p.b.ep)) {
            (void)quic_take(&p, &p.b);
        }
    }
    quic_run(&p, 1000);
    ck_assert(!tbi_endpoint_hurries(p.a.ep) && !tbi_endpoint_hurries(p.b.ep));
}
END_TEST

/* One that is closed before its flight has left says so once, and once more for what comes. */
START_TEST(who_closes_in_a_hurry_says_so_once)
{
    struct tbi_datagram d;
    size_t said = 0;
    static uint8_t bytes[TBI_DATAGRAM_MAX];
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert(quic_take(&p, &p.a));
    memcpy(bytes, p.a.last, p.a.last_size);
    d = (struct tbi_datagram){
        .local = p.b.addr, .remote = p.a.addr, .data = bytes, .size = p.a.last_size};
    ck_assert_uint_eq(tbi_endpoint_recv(p.b.ep, p.now, &d, 1), 1);
    ck_assert(tbi_endpoint_hurries(p.b.ep));
    quic_actions(&p.b);
    tbi_conn_close(quic_conn(&p.b), p.now, TBI_CLOSE_BUSY, "");
    ck_assert(quic_take(&p, &p.b));
    ck_assert_uint_eq(tbi_endpoint_recv(p.b.ep, p.now, &d, 1), 1);
    while (said < 100 && quic_take(&p, &p.b)) {
        said++;
    }
    ck_assert_uint_le(said, 1);
}
END_TEST

static TCase *part(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, begin, end);
    suite_add_tcase(suite, tc);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("quic shed");
    TCase *tc = part(suite, "without TLS");
    tcase_add_test(tc, all_goes_on_without_tls);
    tcase_add_test(tc, not_before_it_has_done_its_work);
    tcase_add_loop_test(tc, the_chain_is_kept_for_who_wants_it, 0, 3);
    tc = part(suite, "too late");
    tcase_add_test(tc, late_tickets_are_ignored);
    tcase_add_loop_test(tc, nothing_else_may_come, 0, 5);
    tcase_add_loop_test(tc, tickets_without_end, 0, 2);
    tc = part(suite, "the end");
    tcase_add_test(tc, who_has_ended_holds_little);
    tc = part(suite, "certificates");
    tcase_add_test(tc, a_certificate_is_read_once);
    tcase_add_test(tc, but_its_time_is_looked_at_each_time);
    tc = part(suite, "handshakes first");
    tcase_add_test(tc, a_handshake_does_not_wait_for_the_next);
    tcase_add_test(tc, who_closes_in_a_hurry_says_so_once);
    return tbi_test_main(suite);
}
