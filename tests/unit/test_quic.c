/* tests/unit/test_quic.c - lib/quic: streams, credit and priorities, how connections begin and end,
 * answers without a connection, limits; two endpoints joined in memory. */
#include <ngtcp2/ngtcp2.h>
#include <string.h>

#include "quic_pair.h"

static struct quic_pair p;
static uint8_t large[600000];

static void begin(void)
{
    quic_init(&p);
}

static void end(void)
{
    quic_free(&p);
}

static int64_t open_uni(unsigned priority)
{
    int64_t stream = -1;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), priority, &stream), 0);
    return stream;
}

static void put(int64_t stream, size_t size, bool fin)
{
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), stream, large, size, NULL, fin), 0);
}

/* --- Streams ---------------------------------------------------------------------------------- */

START_TEST(bytes_and_the_end_arrive)
{
    quic_connect(&p);
    int64_t stream = open_uni(0);
    struct tbi_block *body = tbi_block_copy(&p.a.memory.alloc, "body", 4);
    ck_assert_int_eq(
        tbi_conn_write(quic_conn(&p.a), stream, (const uint8_t *)"head", 4, body, false), 0);
    tbi_block_unref(body);
    ck_assert_uint_eq(tbi_conn_unsent(quic_conn(&p.a), stream), 8);
    quic_run(&p, 100);
    ck_assert_uint_eq(tbi_conn_unsent(quic_conn(&p.a), stream), 0);
    ck_assert_uint_eq(p.b.got[0], 8);
    ck_assert_uint_eq(p.b.first[0], 'h');
    ck_assert(!p.b.fin[0]);
    put(stream, 0, true); /* nothing but the end */
    quic_run(&p, 100);
    ck_assert(p.b.fin[0]);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), stream, large, 1, NULL, false),
                     TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), 4000, large, 1, NULL, false), TBQ_ERR_CLOSED);
    ck_assert_uint_eq(tbi_conn_unsent(quic_conn(&p.a), 4000), 0);
}
END_TEST

/* Of several, as many as there is memory for: the first ones. */
START_TEST(what_is_written_together_may_be_cut_by_memory)
{
    static const struct tbi_headed all[] = {{.head = (const uint8_t *)"one", .head_size = 3},
                                            {.head = (const uint8_t *)"two", .head_size = 3},
                                            {.head = (const uint8_t *)"three", .head_size = 5}};
    static const size_t bytes_of[] = {0, 3, 6, 11};
    bool cut = false;
    quic_connect(&p);
    int64_t stream = open_uni(0);
    for (size_t at = 1; at <= 8; at++) {
        size_t before = tbi_conn_unsent(quic_conn(&p.a), stream);
        p.a.memory.fail_at = p.a.memory.calls + at;
        int rv = tbi_conn_write_all(quic_conn(&p.a), stream, all, 3);
        p.a.memory.fail_at = 0;
        size_t n = rv > 0 ? (size_t)rv : 0;
        ck_assert(rv == TBQ_ERR_NOMEM || (rv > 0 && rv <= 3));
        cut = cut || n == 1 || n == 2;
        ck_assert_uint_eq(tbi_conn_unsent(quic_conn(&p.a), stream), before + bytes_of[n]);
    }
    ck_assert(cut);
    ck_assert_int_eq(tbi_conn_write_all(quic_conn(&p.a), 4000, all, 3), TBQ_ERR_CLOSED);
}
END_TEST

/* Many small pieces: more than one call into ngtcp2 gathers. */
START_TEST(many_pieces_keep_their_order)
{
    quic_connect(&p);
    int64_t stream = open_uni(0);
    for (size_t i = 0; i < 1000; i++) {
        put(stream, 1 + i % 7, i == 999);
        if (i % 100 == 0) {
            quic_run(&p, 10);
        }
    }
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.got[0], 7 * 142 * 4 + 21); /* 1000 = 7 x 142 + 6 */
    ck_assert(p.b.fin[0]);
}
END_TEST

START_TEST(a_full_stream_is_writable_when_half_of_it_is_sent)
{
    p.b.consume = false;
    p.b.config.stream_window = 300000;
    quic_connect(&p);
    int64_t stream = open_uni(0);
    size_t writable = p.a.count[TBI_QUIC_WRITABLE];
    put(stream, sizeof large, false);
    ck_assert_uint_ge(tbi_conn_unsent(quic_conn(&p.a), stream), TBI_STREAM_UNSENT_MAX);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.got[0], 300000); /* the window, and no byte more */
    ck_assert_uint_eq(tbi_conn_unsent(quic_conn(&p.a), stream), 300000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_WRITABLE], writable);
    tbi_conn_consume(quic_conn(&p.b), stream, 150000);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.got[0], 450000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_WRITABLE], writable); /* 150,000 wait: not below half */
    tbi_conn_consume(quic_conn(&p.b), stream, 300000);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.got[0], sizeof large);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_WRITABLE], writable + 1);
}
END_TEST

/* Here a packet's pace ends at once, with nothing to send: nobody is to be woken for that. */
START_TEST(nothing_is_due_for_the_pace_of_the_last_packet)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    int64_t stream = open_uni(0);
    put(stream, 1400, false);
    while (quic_take(&p, &p.a)) {
    }
    p.now.mono_ns += TBI_NS_PER_MS;
    put(stream, 300, false);
    while (quic_take(&p, &p.a)) {
    }
    ck_assert_uint_gt(tbi_endpoint_deadline(p.a.ep), p.now.mono_ns + TBI_NS_PER_MS);
}
END_TEST

/* A stream that nobody reads does not hold up the others. */
START_TEST(credit_is_of_each_stream)
{
    p.b.consume = false;
    p.b.config.stream_window = 70000;
    quic_connect(&p);
    int64_t first = open_uni(0), second = open_uni(1);
    put(first, 200000, false);
    put(second, 50000, true);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.got[0], 70000);
    ck_assert_uint_eq(p.b.got[1], 50000);
    ck_assert(p.b.fin[1]);
}
END_TEST

START_TEST(lower_priorities_go_first)
{
    quic_connect(&p);
    int64_t low = open_uni(3), high = open_uni(1), mid = open_uni(2), high2 = open_uni(1);
    put(low, 3000, false);
    put(mid, 3000, false);
    put(high2, 3000, false);
    put(high, 3000, false);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.seen, 4);
    ck_assert_int_eq(p.b.order[0], high);
    ck_assert_int_eq(p.b.order[1], high2);
    ck_assert_int_eq(p.b.order[2], mid);
    ck_assert_int_eq(p.b.order[3], low);
}
END_TEST

START_TEST(the_peer_may_open_so_many_streams)
{
    int64_t stream;
    quic_connect(&p);
    for (size_t i = 0; i < TBI_UNI_STREAMS_MAX; i++) {
        put(open_uni(0), 1, true);
    }
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), TBQ_ERR_AGAIN);
    quic_run(&p, 1000); /* they end, and still count: until the owner is done with them */
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), TBQ_ERR_AGAIN);
    size_t writable = p.a.count[TBI_QUIC_WRITABLE];
    tbi_conn_stream_done(quic_conn(&p.b), 0);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_WRITABLE], writable + 1);
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), 0);
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), TBQ_ERR_AGAIN);
}
END_TEST

START_TEST(a_stream_that_is_not_wanted_is_reset)
{
    p.b.consume = false;
    p.b.config.stream_window = 1000;
    quic_connect(&p);
    int64_t stream = open_uni(0);
    put(stream, 5000, false);
    quic_run(&p, 100);
    tbi_conn_stop_sending(quic_conn(&p.b), stream, 7);
    quic_run(&p, 100);
    ck_assert_uint_eq(p.b.resets, 1);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), stream, large, 1, NULL, false),
                     TBQ_ERR_CLOSED);
    put(open_uni(0), 10, true); /* the connection goes on */
    quic_run(&p, 100);
    ck_assert(p.b.fin[1]);
}
END_TEST

/* --- Beginning and end ------------------------------------------------------------------------ */

START_TEST(what_both_are_told)
{
    int user;
    quic_connect(&p);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CONNECTED_EARLY], 1);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_CONNECTED_EARLY], 1);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_ACCEPTED], 0);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_ACCEPTED], 1);
    ck_assert_uint_ge(p.a.count[TBI_QUIC_TICKET], 1);
    struct tbi_conn *c = quic_conn(&p.a);
    ck_assert_uint_eq(tbi_conn_number(c), p.a.conn);
    tbi_conn_set_user(c, &user);
    ck_assert_ptr_eq(tbi_conn_user(c), &user);
    ck_assert(!tbi_conn_resumed(c));
    ck_assert_ptr_nonnull(tbi_conn_peer_session(c));
    ck_assert_uint_gt(tbi_conn_rtt_ns(c), 0);
    const struct tbi_endpoint_stats *s = tbi_endpoint_stats(p.a.ep);
    ck_assert_uint_eq(s->dialled, 1);
    ck_assert_uint_eq(s->half_open, 0);
    ck_assert_uint_eq(s->connections, 1);
    s = tbi_endpoint_stats(p.b.ep);
    ck_assert_uint_eq(s->accepted, 1);
    ck_assert_uint_eq(s->half_open, 0);
    ck_assert_uint_gt(s->datagrams_in, 2);
    ck_assert_uint_gt(s->packets_out, 2);
}
END_TEST

START_TEST(a_close_is_told_with_code_and_text)
{
    quic_connect(&p);
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_STOPPED, "going home");
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "again"); /* the first counts */
    tbi_conn_close(NULL, p.now, 0, "");
    int64_t stream;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), TBQ_ERR_CLOSED);
    quic_run(&p, 100);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.a.closed.closed.who, TBI_CLOSED_LOCAL);
    ck_assert_uint_eq(p.a.closed.closed.app_code, TBI_CLOSE_STOPPED);
    ck_assert_str_eq(p.a.closed.closed.text, "going home");
    ck_assert_uint_eq(p.b.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.b.closed.closed.who, TBI_CLOSED_APPLICATION);
    ck_assert_uint_eq(p.b.closed.closed.app_code, TBI_CLOSE_STOPPED);
    ck_assert_ptr_nonnull(strstr(p.b.closed.closed.text, ": going home"));
    quic_run(&p, 10000);
    ck_assert_ptr_null(quic_conn(&p.a));
    ck_assert_ptr_null(quic_conn(&p.b));
    ck_assert_uint_eq(tbi_endpoint_stats(p.a.ep)->connections, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->connections, 0);
    ck_assert_uint_eq(tbi_endpoint_deadline(p.a.ep), TBI_NEVER);
    ck_assert_uint_eq(tbi_endpoint_deadline(p.b.ep), TBI_NEVER);
}
END_TEST

/* The peer that missed the close asks on; it is answered with it again, ever more rarely. */
START_TEST(a_lost_close_is_repeated)
{
    quic_connect(&p);
    p.b.deaf = true;
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    while (quic_take(&p, &p.a)) {
    }
    p.b.deaf = false;
    int64_t stream;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.b), 0, &stream), 0);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.b), stream, large, 9, NULL, true), 0);
    quic_run(&p, 10);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.b.closed.closed.who, TBI_CLOSED_APPLICATION);
}
END_TEST

START_TEST(silence_ends_a_connection)
{
    quic_connect(&p);
    p.a.deaf = p.b.deaf = true;
    quic_run(&p, 100000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.a.closed.closed.reason, TBQ_ERR_LOST);
    ck_assert_int_eq(p.b.closed.closed.who, TBI_CLOSED_TRANSPORT);
    ck_assert_ptr_nonnull(strstr(p.b.closed.closed.text, "idle timeout"));
}
END_TEST

START_TEST(keep_alives_keep_it)
{
    quic_connect(&p);
    quic_run(&p, 600000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED] + p.b.count[TBI_QUIC_CLOSED], 0);
}
END_TEST

START_TEST(a_handshake_has_its_time)
{
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    p.b.deaf = true;
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p.a.ep)->half_open, 1);
    ck_assert_uint_eq(tbi_endpoint_deadline(p.a.ep), 0); /* something to send now */
    quic_run(&p, 5100);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.a.closed.closed.reason, TBQ_ERR_TIMEOUT);
    ck_assert_uint_eq(tbi_endpoint_stats(p.a.ep)->half_open, 0);
}
END_TEST

START_TEST(a_ticket_resumes)
{
    quic_connect(&p);
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 1000);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 1000);
    ck_assert(tbi_conn_resumed(quic_conn(&p.a)));
    ck_assert(tbi_conn_resumed(quic_conn(&p.b)));
    /* One that is no ticket costs a full handshake, nothing else. */
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 1000);
    memset(p.a.ticket, 0x55, sizeof p.a.ticket);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 1000);
    ck_assert(!tbi_conn_resumed(quic_conn(&p.a)));
    ck_assert_uint_eq(p.a.count[TBI_QUIC_HANDSHAKE_DONE], 3);
}
END_TEST

START_TEST(keys_are_updated)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    ck_assert_int_eq(tbi_conn_update_key(quic_conn(&p.a), p.now), 0);
    ck_assert_int_eq(tbi_conn_update_key(quic_conn(&p.a), p.now), TBQ_ERR_AGAIN);
    put(open_uni(0), 10, true);
    quic_run(&p, 100);
    ck_assert(p.b.fin[0]);
}
END_TEST

/* A NAT gives the dialler another port: the new one is validated, and told. */
START_TEST(a_peer_moves)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    tbi_addr_set_port(&p.a.addr, 9999);
    put(open_uni(0), 10, true);
    quic_run(&p, 1000);
    ck_assert(p.b.fin[0]);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_PATH], 1);
    ck_assert_uint_eq(tbi_addr_port(&p.b.path), 9999);
    put(open_uni(0), 10, true);
    quic_run(&p, 1000);
    ck_assert(p.b.fin[1]);
}
END_TEST

/* --- Answers without a connection ------------------------------------------------------------- */

START_TEST(retry_proves_the_address)
{
    p.b.config.always_retry = true;
    quic_connect(&p);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->retries_sent, 1);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->accepted, 1);
}
END_TEST

START_TEST(a_retry_token_ages)
{
    p.b.config.always_retry = true;
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert(quic_take(&p, &p.a));
    quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
    ck_assert(quic_take(&p, &p.b));
    quic_inject(&p, &p.a, &p.b, p.b.last, p.b.last_size);
    ck_assert(quic_take(&p, &p.a)); /* with the token, which arrives too late */
    p.now.wall_ms += 11000;
    quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
    quic_run(&p, 10);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_ACCEPTED], 0);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_ptr_nonnull(strstr(p.a.closed.closed.text, "invalid token"));
}
END_TEST

START_TEST(a_full_server_says_so)
{
    p.b.config.max_connections = 1;
    quic_connect(&p);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 100);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->refused_full, 1);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.a.closed.closed.reason, TBQ_ERR_LIMIT);
}
END_TEST

START_TEST(a_full_dialler_is_refused)
{
    quic_connect(&p);
    for (size_t i = 1; i < 4; i++) {
        ck_assert_int_eq(quic_dial(&p), 0);
    }
    ck_assert_int_eq(quic_dial(&p), TBQ_ERR_LIMIT);
}
END_TEST

START_TEST(who_does_not_accept_is_silent)
{
    p.b.config.accept = false;
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    quic_run(&p, 100);
    ck_assert_uint_eq(p.b.datagrams, 0);
    ck_assert_uint_ge(tbi_endpoint_stats(p.b.ep)->dropped_unknown, 1);
}
END_TEST

/* A long header of a version that nobody speaks. */
static void unknown_version(uint8_t *packet, size_t size)
{
    memset(packet, 0, size);
    packet[0] = 0xc0;
    memset(packet + 1, 0x1a, 4);
    packet[5] = packet[14] = 8;
}

START_TEST(other_versions_are_answered_and_the_ring_is_bounded)
{
    uint8_t packet[1200];
    ck_assert_int_eq(quic_start(&p.b), 0);
    unknown_version(packet, sizeof packet);
    for (size_t i = 0; i < 70; i++) {
        quic_inject(&p, &p.b, &p.a, packet, sizeof packet);
    }
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->versions_sent, 64);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->replies_dropped, 6);
    ck_assert_uint_eq(tbi_endpoint_deadline(p.b.ep), 0);
    size_t n = 0;
    while (quic_take(&p, &p.b)) {
        n++;
        ck_assert_uint_lt(p.b.last_size, sizeof packet); /* no amplification */
    }
    ck_assert_uint_eq(n, 64);
    ck_assert_uint_eq(tbi_endpoint_deadline(p.b.ep), TBI_NEVER);
}
END_TEST

START_TEST(a_dialler_is_told_of_no_common_version)
{
    uint8_t answer[64] = {0x80};
    ngtcp2_version_cid v;
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert(quic_take(&p, &p.a));
    ck_assert_int_eq(ngtcp2_pkt_decode_version_cid(&v, p.a.last, p.a.last_size, 8), 0);
    static const uint32_t versions[] = {0x1a2a3a4a};
    ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(
        answer, sizeof answer, 5, v.scid, v.scidlen, v.dcid, v.dcidlen, versions, 1);
    ck_assert_int_gt(n, 0);
    quic_inject(&p, &p.a, &p.b, answer, (size_t)n);
    quic_actions(&p.a);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.a.closed.closed.reason, TBQ_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(what_is_no_quic_is_counted)
{
    uint8_t packet[100] = {0x3f};
    ck_assert_int_eq(quic_start(&p.b), 0);
    quic_inject(&p, &p.b, &p.a, packet, sizeof packet);
    quic_inject(&p, &p.b, &p.a, packet, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->dropped_reserved, 1);
    packet[0] = 0xff;
    quic_inject(&p, &p.b, &p.a, packet, 3);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->dropped_unknown, 1);
    ck_assert(!quic_take(&p, &p.b));
}
END_TEST

START_TEST(short_packets_of_nobody_are_reset_but_not_small_ones)
{
    uint8_t packet[60] = {0x40};
    ck_assert_int_eq(quic_start(&p.b), 0);
    quic_inject(&p, &p.b, &p.a, packet, 43);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->resets_sent, 0);
    quic_inject(&p, &p.b, &p.a, packet, 44);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->resets_sent, 1);
    ck_assert(quic_take(&p, &p.b));
    ck_assert_uint_lt(p.b.last_size, 44); /* or two endpoints would go on for ever */
}
END_TEST

/* After a restart with the same key the peer learns at once that nobody knows the connection. */
START_TEST(a_restarted_endpoint_resets)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    tbi_endpoint_free(p.b.ep);
    p.b.ep = NULL;
    ck_assert_int_eq(quic_start(&p.b), 0);
    put(open_uni(0), 100, true);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.a.closed.closed.reason, TBQ_ERR_LOST);
    ck_assert_ptr_nonnull(strstr(p.a.closed.closed.text, "stateless reset"));
}
END_TEST

/* With 16 handshakes under way from one network, more clients there prove their address first. */
START_TEST(many_half_open_ask_for_proof)
{
    p.a.config.max_connections = p.b.config.max_connections = 300;
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    for (size_t i = 0; i < 20; i++) {
        ck_assert_int_eq(quic_dial(&p), 0);
        ck_assert(quic_take(&p, &p.a));
        quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
    }
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->half_open, 16);
    ck_assert_uint_eq(tbi_endpoint_stats(p.b.ep)->retries_sent, 4);
    quic_run(&p, 4000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_HANDSHAKE_DONE], 20);
}
END_TEST

static TCase *part(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, begin, end);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("quic");
    TCase *tc = part(suite, "streams");
    tcase_add_test(tc, bytes_and_the_end_arrive);
    tcase_add_test(tc, what_is_written_together_may_be_cut_by_memory);
    tcase_add_test(tc, many_pieces_keep_their_order);
    tcase_add_test(tc, a_full_stream_is_writable_when_half_of_it_is_sent);
    tcase_add_test(tc, nothing_is_due_for_the_pace_of_the_last_packet);
    tcase_add_test(tc, credit_is_of_each_stream);
    tcase_add_test(tc, lower_priorities_go_first);
    tcase_add_test(tc, the_peer_may_open_so_many_streams);
    tcase_add_test(tc, a_stream_that_is_not_wanted_is_reset);
    tc = part(suite, "connections");
    tcase_add_test(tc, what_both_are_told);
    tcase_add_test(tc, a_close_is_told_with_code_and_text);
    tcase_add_test(tc, a_lost_close_is_repeated);
    tcase_add_test(tc, silence_ends_a_connection);
    tcase_add_test(tc, keep_alives_keep_it);
    tcase_add_test(tc, a_handshake_has_its_time);
    tcase_add_test(tc, a_ticket_resumes);
    tcase_add_test(tc, keys_are_updated);
    tcase_add_test(tc, a_peer_moves);
    tc = part(suite, "stateless");
    tcase_add_test(tc, retry_proves_the_address);
    tcase_add_test(tc, a_retry_token_ages);
    tcase_add_test(tc, a_full_server_says_so);
    tcase_add_test(tc, a_full_dialler_is_refused);
    tcase_add_test(tc, who_does_not_accept_is_silent);
    tcase_add_test(tc, other_versions_are_answered_and_the_ring_is_bounded);
    tcase_add_test(tc, a_dialler_is_told_of_no_common_version);
    tcase_add_test(tc, what_is_no_quic_is_counted);
    tcase_add_test(tc, short_packets_of_nobody_are_reset_but_not_small_ones);
    tcase_add_test(tc, a_restarted_endpoint_resets);
    tcase_add_test(tc, many_half_open_ask_for_proof);
    return tbi_test_main(suite);
}
