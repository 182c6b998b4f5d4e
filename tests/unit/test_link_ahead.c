/* tests/unit/test_link_ahead.c - what a client sends before the server's CONFIRM is in
 * (docs/protocol.md, sections 5.3 and 8): A speaks ahead, B is the server. */
#include <check.h>
#include <string.h>

#include "harness.h"
#include "link_world.h"

static struct world w;

static void begin(void)
{
    world_init(&w, 1);
    w.room = 1 << 20;
    world_confirm(&w);
}

static void end(void)
{
    ck_assert_int_eq(w.end[A].errors + w.end[B].errors, 0);
    world_free(&w);
}

static void say(uint64_t tag, const char *text)
{
    ck_assert_int_eq(world_send(&w, A, TBQ_LANE_NORMAL, tag, text), 0);
}

static struct tbi_link_stats stats(int at)
{
    struct tbi_link_stats s;
    tbi_link_stats(w.end[at].link, &s);
    return s;
}

static size_t written(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < TBQ_LANES; i++) {
        bytes += w.end[A].lane[i].size;
    }
    for (size_t i = 0; i < WORLD_STREAMS; i++) {
        bytes += w.end[A].stream[i].bytes.size;
    }
    return bytes;
}

START_TEST(what_is_sent_ahead_comes_once_and_is_told_once)
{
    say(1, "waited for the connection");
    world_ahead(&w, A);
    say(2, "just now");
    world_attach(&w, B);
    world_flow(&w);
    world_expect(&w, "B gets 2/0 waited for the conne\nB gets 2/1 just now\n");
    world_take_all(&w, B);
    world_wait(&w, 30); /* B's answers are not read before its CONFIRM */
    world_expect(&w, "");
    world_attach(&w, A);
    world_wait(&w, 30);
    world_expect(&w, "A 1 delivered\nA 2 delivered\n");
    ck_assert_uint_eq(stats(A).resent, 0);
    ck_assert_uint_eq(stats(B).duplicates, 0);
}
END_TEST

START_TEST(only_so_many_bytes_go_ahead_and_the_rest_behind_the_confirm)
{
    static const uint8_t body[1000];
    const struct tbi_outgoing plain = {.lane = TBQ_LANE_NORMAL, .want_fate = true};
    const struct tbi_outgoing alone = {.lane = TBQ_LANE_LOW, .want_fate = true, .unordered = true};

    world_ahead(&w, A);
    for (size_t i = 0; i < 20; i++) {
        ck_assert_int_eq(world_send_more(&w, A, &plain, body, sizeof body), 0);
        ck_assert_int_eq(world_send_more(&w, A, &alone, body, i), 0);
    }
    ck_assert_uint_gt(written(), TBI_EARLY_BYTES_MAX * 9 / 10);
    ck_assert_uint_le(written(), TBI_EARLY_BYTES_MAX); /* less than that, by the streams' types */
    ck_assert_uint_eq(w.end[A].control.size, 0);
    world_attach(&w, B);
    world_attach(&w, A);
    for (int i = 0; i < 20; i++) { /* streams come back as their messages are taken */
        world_flow(&w);
        world_take_all(&w, B);
        world_wait(&w, 30);
    }
    ck_assert_uint_eq(stats(B).received, 40);
    ck_assert_uint_eq(stats(A).resent, 0);
    ck_assert_uint_eq(stats(A).delivered, 40);
}
END_TEST

/* B has it, but A has read nothing of B: the next connection tells A what became of it. */
START_TEST(a_connection_lost_before_the_confirm_loses_and_repeats_nothing)
{
    world_ahead(&w, A);
    say(1, "there");
    world_attach(&w, B);
    world_flow(&w);
    world_take_all(&w, B);
    say(2, "on its way");
    world_cut(&w);
    world_expect(&w, "B gets 2/0 there\n");
    world_connect(&w);
    world_flow(&w);
    world_expect(&w, "B gets 2/1 on its way\nA 1 delivered\n");
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "A 2 delivered\n");
}
END_TEST

START_TEST(what_a_lost_connection_carried_alone_says_so_when_it_comes_again)
{
    world_ahead(&w, A);
    say(1, "into nothing"); /* B never had A's CONFIRM */
    world_cut(&w);
    world_connect(&w);
    world_flow(&w);
    world_expect(&w, "B gets 2/0 into nothing, perhaps again\n");
}
END_TEST

/* Else a peer that remembers nothing could not be told from one that does. */
START_TEST(a_link_that_has_sent_anything_waits)
{
    world_connect(&w);
    say(1, "one");
    world_flow(&w);
    world_cut(&w);
    world_confirm(&w);
    world_ahead(&w, A);
    ck_assert_ptr_null(w.end[A].path);
    world_attach(&w, A);
    world_ahead(&w, B); /* has sent nothing: it might, were it the client */
    ck_assert_ptr_nonnull(w.end[B].path);
}
END_TEST

START_TEST(what_expires_ahead_is_called_back_behind_the_confirm)
{
    struct tbi_outgoing m = {
        .lane = TBQ_LANE_NORMAL, .tag = 1, .want_fate = true, .ttl_ns = 10 * TBI_NS_PER_MS};

    world_ahead(&w, A);
    ck_assert_int_eq(world_send_more(&w, A, &m, "late", 4), 0);
    w.end[A].lane[TBQ_LANE_NORMAL].size -= 1; /* its last byte is lost for ever */
    w.now.mono_ns += 11 * TBI_NS_PER_MS;
    tbi_link_tick(w.end[A].link, w.now);
    world_drain(&w, A);
    world_expect(&w, "");
    ck_assert_uint_eq(w.end[A].control.size, 0); /* no SKIP yet */
    world_attach(&w, B);
    world_attach(&w, A);
    world_wait(&w, 30);
    world_expect(&w, "A 1 not delivered, TBQ_ERR_EXPIRED\n");
}
END_TEST

START_TEST(without_memory_it_begins_as_ever)
{
    w.fail_at = w.allocs + 1;
    world_ahead(&w, A);
    ck_assert_ptr_null(w.end[A].path);
    world_attach(&w, A);
    world_attach(&w, B);
    say(1, "hello");
    world_flow(&w);
    world_expect(&w, "B gets 2/0 hello\n");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("link/ahead");
    TCase *t = tcase_create("ahead");

    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, what_is_sent_ahead_comes_once_and_is_told_once);
    tcase_add_test(t, only_so_many_bytes_go_ahead_and_the_rest_behind_the_confirm);
    tcase_add_test(t, a_connection_lost_before_the_confirm_loses_and_repeats_nothing);
    tcase_add_test(t, what_a_lost_connection_carried_alone_says_so_when_it_comes_again);
    tcase_add_test(t, a_link_that_has_sent_anything_waits);
    tcase_add_test(t, what_expires_ahead_is_called_back_behind_the_confirm);
    tcase_add_test(t, without_memory_it_begins_as_ever);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
