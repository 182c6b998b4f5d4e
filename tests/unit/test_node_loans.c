/* tests/unit/test_node_loans.c - messages sent by reference: their bytes are read where they lie,
 * and RELEASED tells once, and not before, that nobody looks at them any more. */
#include <stdlib.h>
#include <string.h>

#include "node_pair.h"

#define SIZE 40000
#define TAG 3

static struct pair p;
static uint8_t lent[SIZE];

static void begin(void)
{
    pair_init(&p);
    memset(lent, 'x', sizeof lent);
}

static void end(void)
{
    pair_free(&p);
}

static const tbq_send_options by_reference = {
    .size = sizeof by_reference, .tag = TAG, .lane = TBQ_LANE_NORMAL, .by_reference = true};

static tbq_message message_of(size_t size)
{
    tbq_message m = {.kind = TBQ_TRANSITION};
    m.u.transition = (tbq_bytes){.data = lent, .size = size};
    return m;
}

static int lend(size_t size)
{
    tbq_message m = message_of(size);
    return tbi_node_send_to(p.a.node, p.now, pair_id(&p.b), &m, &by_reference);
}

static size_t released(void)
{
    ck_assert_uint_eq(p.a.released[TAG], p.a.count[TBQ_EVENT_RELEASED]); /* with its tag */
    return p.a.count[TBQ_EVENT_RELEASED];
}

/* What B holds is one message of these bytes alone. */
static void b_has(uint8_t byte, size_t size)
{
    ck_assert_uint_eq(p.b.held_len, 1);
    tbq_bytes got = p.b.held[0]->message->u.transition;
    ck_assert_uint_eq(got.size, size);
    for (size_t i = 0; i < size; i++) {
        ck_assert_uint_eq(((const uint8_t *)got.data)[i], byte);
    }
    pair_release(&p.b);
}

START_TEST(bytes_are_read_where_they_lie)
{
    p.b.hold = true;
    pair_connect(&p);
    ck_assert_int_eq(lend(SIZE), 0);
    memset(lent, 'y', sizeof lent); /* what nobody should do shows that there is no copy */
    ck_assert_uint_eq(released(), 0);
    pair_run(&p, 200);
    b_has('y', SIZE);
    ck_assert_uint_eq(released(), 1); /* the peer's QUIC has them, though no fate was told yet */
    ck_assert_uint_eq(p.a.fates[TAG], 0);
    pair_run(&p, 200);
    ck_assert_uint_eq(p.a.fates[TAG], 1);
    ck_assert_uint_eq(released(), 1);
}
END_TEST

START_TEST(nothing_is_released_before_it_has_come)
{
    p.b.hold = true;
    pair_connect(&p);
    p.b.deaf = true;
    ck_assert_int_eq(lend(SIZE), 0);
    pair_run(&p, 3000);
    ck_assert_uint_eq(released(), 0);
    p.b.deaf = false;
    pair_run(&p, 20000);
    b_has('x', SIZE);
    pair_run(&p, 1000);
    ck_assert_uint_eq(released(), 1);
}
END_TEST

START_TEST(what_was_not_taken_is_not_released)
{
    const tbq_message m = message_of(SIZE), ping = {.kind = TBQ_PING};

    p.a.settings.outbox_bytes = (size_t)4 * SIZE;
    pair_connect(&p);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(lend(SIZE), 0);
    }
    ck_assert_int_eq(lend(SIZE), TBQ_ERR_AGAIN);
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, 4711, &m, &by_reference), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbi_node_send_to(p.a.node, p.now, pair_id(&p.a), &m, &by_reference),
                     TBQ_ERR_NO_ROUTE);
    ck_assert_int_eq(tbi_node_send_to(p.a.node, p.now, pair_id(&p.b), &ping, &by_reference),
                     TBQ_ERR_INVALID);
    pair_run(&p, 1000);
    ck_assert_uint_eq(released(), 4);
    ck_assert_uint_eq(p.a.fates[TAG], 4);
}
END_TEST

START_TEST(no_bytes_are_released_like_any)
{
    p.b.hold = true;
    pair_connect(&p);
    ck_assert_int_eq(lend(0), 0);
    pair_run(&p, 200);
    b_has(0, 0);
    ck_assert_uint_eq(released(), 1);
}
END_TEST

START_TEST(a_request_may_be_lent)
{
    tbq_request_id id;

    p.b.hold = true;
    pair_connect(&p);
    ck_assert_int_eq(tbi_node_request(p.a.node, p.now, pair_id(&p.b), (tbq_bytes){lent, SIZE}, 5000,
                                      &by_reference, &id),
                     0);
    pair_run(&p, 200);
    ck_assert_uint_eq(p.b.held_len, 1);
    ck_assert_uint_eq(p.b.held[0]->message->u.request.bytes.size, SIZE);
    ck_assert_mem_eq(p.b.held[0]->message->u.request.bytes.data, lent, SIZE);
    pair_release(&p.b);
    pair_run(&p, 200);
    ck_assert_uint_eq(released(), 1);
}
END_TEST

START_TEST(a_broadcast_is_released_once)
{
    const tbq_message m = message_of(SIZE);

    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(tbi_node_broadcast(p.a.node, p.now, &m, &by_reference), TBQ_ERR_NO_ROUTE);
    pair_run(&p, 100);
    ck_assert_uint_eq(released(), 0);
    pair_kill(&p.a);
    p.b.hold = true;
    pair_connect(&p);
    ck_assert_int_eq(tbi_node_broadcast(p.a.node, p.now, &m, &by_reference), 1);
    pair_run(&p, 200);
    b_has('x', SIZE);
    ck_assert_uint_eq(released(), 1);
}
END_TEST

START_TEST(a_lost_peer_releases)
{
    p.a.settings.peer_timeout_ms = 5000;
    pair_connect(&p);
    pair_kill(&p.b);
    ck_assert_int_eq(lend(SIZE), 0);
    pair_run(&p, 200);
    ck_assert_uint_eq(released(), 0);
    pair_run(&p, 200000);
    ck_assert_uint_eq(p.a.fates[TAG], 1);
    ck_assert_uint_eq(released(), 1);
}
END_TEST

START_TEST(a_closed_connection_releases)
{
    pair_connect(&p);
    p.b.deaf = true;
    ck_assert_int_eq(lend(SIZE), 0);
    pair_run(&p, 10);
    ck_assert_int_eq(tbi_node_close(p.a.node, p.now, p.a.connection), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.a.fates[TAG], 1);
    ck_assert_uint_eq(released(), 1);
}
END_TEST

/* A connection that is closing may have them until the server is freed. */
START_TEST(nothing_comes_behind_stopped)
{
    pair_connect(&p);
    p.b.deaf = true;
    ck_assert_int_eq(lend(SIZE), 0);
    pair_run(&p, 10);
    tbi_node_stop(p.a.node, p.now, 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_STOPPED], 1);
    ck_assert_uint_eq(p.a.after_stopped, 0);
    ck_assert_uint_le(released(), 1);
}
END_TEST

static uint8_t *loan[PAIR_TAGS];

static void lend_once(uint64_t tag, size_t size)
{
    static const tbq_lane lanes[] = {TBQ_LANE_NORMAL, TBQ_LANE_HIGH, TBQ_LANE_LOW};
    tbq_send_options o = by_reference;
    tbq_message m = {.kind = TBQ_TRANSITION};

    o.tag = tag;
    o.lane = lanes[tag % 3];
    o.unordered = tag % 5 == 0;
    o.ttl_ms = tag % 4 == 0 ? 300 : 0;
    loan[tag] = malloc(size);
    memset(loan[tag], (int)tag, size);
    m.u.transition = (tbq_bytes){.data = loan[tag], .size = size};
    ck_assert_int_eq(tbi_node_send_to(p.a.node, p.now, pair_id(&p.b), &m, &o), 0);
}

/* A sanitizer notices whoever reads them later. */
static void give_up_what_is_released(void)
{
    for (size_t i = 0; i < PAIR_TAGS; i++) {
        ck_assert_uint_le(p.a.released[i], 1);
        if (p.a.released[i] == 1) {
            free(loan[i]);
            loan[i] = NULL;
        }
    }
}

static void run_and_free(uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        pair_run(&p, 1);
        give_up_what_is_released();
    }
}

/* With a dial at the time `restarts`, ms, of a peer that has begun anew; 0: never. */
static void lossy(uint64_t restarts)
{
    pair_connect(&p);
    for (uint64_t tag = 0; tag < PAIR_TAGS; tag++) {
        lend_once(tag, 1 + tag * tag * 400);
    }
    for (uint64_t i = 0; i < 300; i++) {
        p.b.deaf = i % 7 < 3;
        p.a.deaf = i % 11 < 3;
        run_and_free(2);
        if (restarts > 0 && i == restarts / 2) {
            pair_kill(&p.b);
            ck_assert_int_eq(pair_start(&p, &p.b), 0);
            ck_assert_int_eq(pair_dial(&p, &p.b, &p.a, false, NULL), 0);
        }
    }
    p.a.deaf = p.b.deaf = false;
    run_and_free(1000);
    pair_run(&p, 60000);
    give_up_what_is_released();
    for (size_t i = 0; i < PAIR_TAGS; i++) {
        ck_assert_uint_eq(p.a.fates[i], 1);
        ck_assert_uint_eq(p.a.released[i], 1);
    }
}

START_TEST(what_is_released_is_not_read_any_more)
{
    lossy(0);
}
END_TEST

START_TEST(nor_where_the_peer_has_restarted)
{
    lossy(_i == 0 ? 4 : 40);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("node_loans");
    TCase *t = tcase_create("loans");

    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, bytes_are_read_where_they_lie);
    tcase_add_test(t, nothing_is_released_before_it_has_come);
    tcase_add_test(t, what_was_not_taken_is_not_released);
    tcase_add_test(t, no_bytes_are_released_like_any);
    tcase_add_test(t, a_request_may_be_lent);
    tcase_add_test(t, a_broadcast_is_released_once);
    tcase_add_test(t, a_lost_peer_releases);
    tcase_add_test(t, a_closed_connection_releases);
    tcase_add_test(t, nothing_comes_behind_stopped);
    tcase_add_test(t, what_is_released_is_not_read_any_more);
    tcase_add_loop_test(t, nor_where_the_peer_has_restarted, 0, 2);
    suite_add_tcase(suite, t);
    return tbi_test_main(suite);
}
