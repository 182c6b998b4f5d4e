/* tests/unit/test_quic_datagram.c - lib/quic: unreliable datagrams: their size, their turn, their
 * queue, and what became of them; two endpoints joined in memory. */
#include <string.h>

#include "quic_pair.h"

static struct quic_pair p;
static uint8_t bytes[300000];

static void begin(void)
{
    quic_init(&p);
    p.a.config.datagrams = p.b.config.datagrams = true;
}

static void end(void)
{
    quic_free(&p);
}

static int send_sized(struct quic_end *e, uint8_t first, size_t size, uint64_t id)
{
    struct tbi_block *b = tbi_block_copy(&e->memory.alloc, bytes, size);
    ck_assert_ptr_nonnull(b);
    if (size > 0) {
        b->data[0] = first;
    }
    int rv = tbi_conn_send_datagram(quic_conn(e), b, id);
    tbi_block_unref(b);
    return rv;
}

static void put(uint8_t first, size_t size, uint64_t id)
{
    ck_assert_int_eq(send_sized(&p.a, first, size, id), 0);
}

static size_t room(struct quic_end *e)
{
    return tbi_conn_datagram_room(quic_conn(e));
}

/* All that one wants to send now. */
static void hand_over(struct quic_end *from, struct quic_end *to)
{
    while (quic_take(&p, from)) {
        quic_inject(&p, to, from, from->last, from->last_size);
    }
    quic_actions(to);
}

static int64_t speak(unsigned priority, size_t size)
{
    int64_t stream = -1;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), priority, &stream), 0);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), stream, bytes, size, NULL, true), 0);
    return stream;
}

START_TEST(they_go_both_ways)
{
    quic_connect(&p);
    put('a', 500, 0);
    put('b', 1, 7);
    put(0, 0, 8); /* of nothing */
    ck_assert_int_eq(send_sized(&p.b, 'c', 30, 0), 0);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.messages, 3);
    ck_assert_uint_eq(p.b.message[0], 'a');
    ck_assert_uint_eq(p.b.message[1], 'b');
    ck_assert_uint_eq(p.b.message_size, 0);
    ck_assert_uint_eq(p.a.messages, 1);
    ck_assert_uint_eq(p.a.message[0], 'c');
    ck_assert_uint_eq(p.a.message_size, 30);
    ck_assert_uint_eq(p.a.fates.count, 2); /* of those with an id */
    ck_assert_uint_eq(p.a.fates.id[0], 7);
    ck_assert_uint_eq(p.a.fates.id[1], 8);
    ck_assert(p.a.fates.arrived[0] && p.a.fates.arrived[1]);
    ck_assert_uint_eq(p.b.fates.count, 0);
}
END_TEST

/* Each is a packet, shorter than the one before. */
START_TEST(packets_of_any_size_arrive)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    for (uint8_t i = 0; i < 4; i++) {
        put('a' + i, 1000 - 100U * i, 0);
    }
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.messages, 4);
    ck_assert_uint_eq(p.b.message[3], 'd');
    ck_assert_uint_eq(p.b.message_size, 700);
}
END_TEST

START_TEST(the_largest_fits_and_one_byte_more_does_not)
{
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    hand_over(&p.a, &p.b);
    hand_over(&p.b, &p.a);
    size_t small = room(&p.a);
    ck_assert_uint_ge(small, 1100);
    put(1, small, 0);
    ck_assert_int_eq(send_sized(&p.a, 1, small + 1, 0), TBQ_ERR_TOO_LARGE);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.message_size, small);
    quic_run(&p, 10000); /* larger packets are found to pass */
    size_t large = room(&p.a);
    ck_assert_uint_gt(large, small);
    put(2, large, 1);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.message_size, large);
    ck_assert(p.a.fates.arrived[0]);
    ck_assert_int_eq(send_sized(&p.a, 1, large + 1, 0), TBQ_ERR_TOO_LARGE);
}
END_TEST

START_TEST(a_peer_that_takes_none)
{
    p.b.config.datagrams = false;
    quic_connect(&p);
    ck_assert_uint_eq(room(&p.a), 0);
    ck_assert_int_eq(send_sized(&p.a, 1, 1, 1), TBQ_ERR_UNSUPPORTED);
    ck_assert_uint_gt(room(&p.b), 1000); /* it may send all the same */
    ck_assert_int_eq(send_sized(&p.b, 'x', 10, 0), 0);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.messages, 1);
    ck_assert_uint_eq(p.a.fates.count, 0);
}
END_TEST

START_TEST(nothing_before_the_peer_has_told)
{
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert_uint_eq(room(&p.a), 0);
    ck_assert_int_eq(send_sized(&p.a, 1, 1, 1), TBQ_ERR_UNSUPPORTED);
}
END_TEST

/* Behind control frames, before all lanes. */
START_TEST(they_have_their_turn)
{
    quic_connect(&p);
    int64_t lane = speak(TBI_DATAGRAM_PRIORITY, 30000);
    int64_t control = speak(TBI_DATAGRAM_PRIORITY - 1, 3000);
    put('d', 800, 0);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.message_after, 3000);
    ck_assert_int_eq(p.b.order[0], control);
    ck_assert_int_eq(p.b.order[1], lane);
}
END_TEST

/* While nothing can be sent, only the newest wait. */
START_TEST(a_full_queue_loses_its_oldest)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    size_t live = 0;
    for (uint64_t i = 1; i <= TBI_DATAGRAMS_MAX + 10; i++) {
        put((uint8_t)i, 600, i);
        if (i == TBI_DATAGRAMS_MAX) {
            live = p.a.memory.live;
        }
    }
    quic_actions(&p.a);
    ck_assert_uint_eq(p.a.memory.live, live);
    ck_assert_uint_eq(p.a.fates.count, 10);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(p.a.fates.id[i], i + 1);
        ck_assert(!p.a.fates.arrived[i]);
    }
    ck_assert_uint_eq(tbi_endpoint_stats(p.a.ep)->datagrams_dropped, 10);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.messages, TBI_DATAGRAMS_MAX);
    ck_assert_uint_eq(p.b.message[0], 11);
    ck_assert_uint_eq(p.a.fates.count, TBI_DATAGRAMS_MAX + 10);
}
END_TEST

START_TEST(one_that_is_lost_is_told)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    put('x', 100, 5);
    ck_assert(quic_take(&p, &p.a)); /* and thrown away */
    speak(1, 20000);                /* what follows is acknowledged, and shows the gap */
    quic_run(&p, 5000);
    ck_assert_uint_eq(p.b.messages, 0);
    ck_assert_uint_eq(p.b.got[0], 20000);
    ck_assert_uint_eq(p.a.fates.count, 1);
    ck_assert_uint_eq(p.a.fates.id[0], 5);
    ck_assert(!p.a.fates.arrived[0]);
}
END_TEST

/* What the peer never answers is counted, and no more of it is taken. */
START_TEST(fates_that_are_not_known_are_limited)
{
    quic_connect(&p);
    speak(1, sizeof bytes); /* so that much may be on the way */
    quic_run(&p, 1000);
    p.b.deaf = true;
    uint64_t id = 0;
    int rv = 0;
    while (id < 5000 && (rv = send_sized(&p.a, 1, 1, ++id)) == 0) {
        while (quic_take(&p, &p.a)) {
        }
        p.now.mono_ns += 1000; /* packets are paced */
    }
    ck_assert_int_eq(rv, TBQ_ERR_AGAIN);
    ck_assert_uint_ge(id, TBI_DATAGRAM_FATES_MAX);
    ck_assert_int_eq(send_sized(&p.a, 1, 1, 0), 0); /* who does not ask is served */
    quic_run(&p, 200000); /* the other gives up after the idle time, and so does this one then */
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_uint_eq(p.a.fates.count, id - 1); /* each once */
    for (size_t i = 0; i < p.a.fates.count; i++) {
        ck_assert(!p.a.fates.arrived[i]);
    }
}
END_TEST

START_TEST(the_end_tells_all_fates)
{
    quic_connect(&p);
    quic_run(&p, 1000);
    put(1, 100, 1);
    ck_assert(quic_take(&p, &p.a));
    put(2, 100, 2); /* one is on the way, the other waits */
    put(3, 100, 0);
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    ck_assert_int_eq(send_sized(&p.a, 1, 1, 3), TBQ_ERR_CLOSED);
    ck_assert_uint_eq(room(&p.a), 0);
    quic_actions(&p.a);
    ck_assert_uint_eq(p.a.fates.count, 2);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.fates.count, 2);
}
END_TEST

/* --- Early ------------------------------------------------------------------------------------ */

static void meet_and_dial_early(void)
{
    p.a.config.early_data = p.b.config.early_data = true;
    quic_connect(&p);
    quic_run(&p, 100);
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 2000);
    p.a.dial_early = true;
}

START_TEST(an_early_one_arrives_and_is_marked)
{
    meet_and_dial_early();
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert_uint_gt(room(&p.a), 1000);
    put('e', room(&p.a), 1);
    hand_over(&p.a, &p.b);
    ck_assert_uint_eq(p.b.messages, 1);
    ck_assert_uint_eq(p.b.early, p.b.message_size);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.fates.count, 1);
    ck_assert(p.a.fates.arrived[0]);
}
END_TEST

START_TEST(an_early_one_that_is_rejected_is_lost)
{
    meet_and_dial_early();
    tbi_endpoint_free(p.b.ep);
    p.b.config.datagrams = false;
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    put('e', 10, 1);
    hand_over(&p.a, &p.b);
    put('f', 10, 2); /* waits, until it is known that the server takes none any more */
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_EARLY_REJECTED], 1);
    ck_assert_uint_eq(p.b.messages, 0);
    ck_assert_uint_eq(p.a.fates.count, 2);
    ck_assert(!p.a.fates.arrived[0] && !p.a.fates.arrived[1]);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1); /* the first connection's */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_datagram");
    TCase *tc = tcase_create("datagrams");
    tcase_add_checked_fixture(tc, begin, end);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, they_go_both_ways);
    tcase_add_test(tc, packets_of_any_size_arrive);
    tcase_add_test(tc, the_largest_fits_and_one_byte_more_does_not);
    tcase_add_test(tc, a_peer_that_takes_none);
    tcase_add_test(tc, nothing_before_the_peer_has_told);
    tcase_add_test(tc, they_have_their_turn);
    tcase_add_test(tc, a_full_queue_loses_its_oldest);
    tcase_add_test(tc, one_that_is_lost_is_told);
    tcase_add_test(tc, fates_that_are_not_known_are_limited);
    tcase_add_test(tc, the_end_tells_all_fates);
    tcase_add_test(tc, an_early_one_arrives_and_is_marked);
    tcase_add_test(tc, an_early_one_that_is_rejected_is_lost);
    suite_add_tcase(suite, tc);
    return tbi_test_main(suite);
}
