/* tests/unit/test_node_outbox.c - who has filled the outbox is told when there is room again,
 * whatever happens meanwhile. */
#include "node_pair.h"

static struct pair p;
static const tbq_send_options normal = {.size = sizeof normal, .lane = TBQ_LANE_NORMAL};

static void begin(void)
{
    pair_init(&p);
}

static void end(void)
{
    pair_free(&p);
}

/* A's, for four messages: those with the tags 0 to 3. */
static void fill_outbox(void)
{
    for (uint64_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pair_send(&p, &p.a, &p.b, i), 0);
    }
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 4), TBQ_ERR_AGAIN);
}

START_TEST(a_full_outbox_is_told_and_then_writable)
{
    p.a.settings.outbox_messages = 4;
    p.b.hold = true;
    pair_connect(&p);
    fill_outbox();
    pair_run(&p, 100);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_WRITABLE], 0);
    pair_release(&p.b);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_WRITABLE], 1);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], 4);
    ck_assert_uint_eq(p.a.fates[4], 0);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 4), 0);
}
END_TEST

/* One allocation fails between AGAIN and WRITABLE. */
static void memory_runs_out_at(size_t at)
{
    p.a.settings.outbox_messages = 4;
    p.b.hold = true;
    pair_connect(&p);
    fill_outbox();
    p.a.memory.fail_at = p.a.memory.calls + at;
    pair_run(&p, 100);
    p.b.hold = false;
    pair_release(&p.b);
    pair_run(&p, 60000); /* a connection may be lost by it */
    ck_assert_msg(p.a.count[TBQ_EVENT_WRITABLE] == 1, "allocation %zu: %zu times", at,
                  p.a.count[TBQ_EVENT_WRITABLE]);
}

START_TEST(writable_is_told_also_where_memory_is_out)
{
    for (size_t at = 1; at <= 30; at += tbi_test_stride()) {
        memory_runs_out_at(at);
        end();
        begin();
    }
    p.a.settings.outbox_messages = 1;
    pair_connect(&p);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 0), 0);
    p.a.memory.fail_at = p.a.memory.calls + 2; /* the payload's is the first */
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), TBQ_ERR_NOMEM);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), TBQ_ERR_AGAIN);
}
END_TEST

/* What waits moves to the link of the new process, and with it who waits for the room. */
START_TEST(writable_is_told_also_where_the_peer_has_restarted)
{
    p.a.settings.outbox_messages = 4;
    pair_connect(&p);
    pair_kill(&p.b);
    fill_outbox();
    ck_assert_int_eq(pair_start(&p, &p.b), 0);
    ck_assert_int_eq(pair_dial(&p, &p.b, &p.a, false, NULL), 0);
    pair_run(&p, 120000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], 4);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_WRITABLE], 1);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 4), 0);
}
END_TEST

/* The same where the move itself makes the room: what was received has its fate, unknown. */
START_TEST(writable_is_told_also_where_a_restart_makes_the_room)
{
    tbq_send_options urgent = normal;
    tbq_message m = pair_message("hello");

    urgent.lane = TBQ_LANE_CRITICAL; /* moved first */
    /* so many that what is moved leaves room for the node's own */
    p.a.settings.outbox_messages = 40;
    p.b.hold = true;
    pair_connect(&p);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 0), 0);
    }
    pair_run(&p, 100);
    pair_kill(&p.b);
    for (size_t i = 0; i < 30; i++) {
        ck_assert_int_eq(tbi_node_send_to(p.a.node, p.now, pair_id(&p.b), &m, &urgent), 0);
    }
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 4), TBQ_ERR_AGAIN);
    ck_assert_int_eq(pair_start(&p, &p.b), 0);
    ck_assert_int_eq(pair_dial(&p, &p.b, &p.a, false, NULL), 0);
    pair_run(&p, 120000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_WRITABLE], 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("node_outbox");
    TCase *t = tcase_create("outbox");

    tcase_add_checked_fixture(t, begin, end);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_full_outbox_is_told_and_then_writable);
    tcase_add_test(t, writable_is_told_also_where_memory_is_out);
    tcase_add_test(t, writable_is_told_also_where_the_peer_has_restarted);
    tcase_add_test(t, writable_is_told_also_where_a_restart_makes_the_room);
    suite_add_tcase(suite, t);
    return tbi_test_main(suite);
}
