/* tests/unit/test_link_paths.c - one link over several connections: which of them carries what, and
 * what becomes of it when one falls silent or ends (docs/protocol.md, sections 6 to 8). */
#include <check.h>
#include <string.h>

#include "harness.h"
#include "link_world.h"

static struct world w;

static void begin_as(tbq_schedule all)
{
    const tbq_schedule schedule[TBQ_LANES] = {all, all, all, all};

    world_init_as(&w, 1, schedule);
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_LOW, 0, "hello"); /* something each way, so that both hold state */
    world_send(&w, B, TBQ_LANE_LOW, 0, "hello");
    world_flow(&w);
    world_take_all(&w, A);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_join(&w, 1);
    w.story[w.story_len = 0] = '\0';
    ck_assert_int_eq(w.end[A].errors + w.end[B].errors, 0);
}

static void end(void)
{
    world_free(&w);
}

static void measure(int path, uint64_t rtt_ms, uint64_t rate)
{
    for (int at = A; at <= B; at++) {
        world_end_of(&w, path, at)->rtt_ns = rtt_ms * TBI_NS_PER_MS;
        world_end_of(&w, path, at)->rate = rate;
    }
}

static size_t queued(int path, tbq_lane lane)
{
    return world_end_of(&w, path, A)->lane[lane].size;
}

static void send_text(uint64_t tag, const char *text)
{
    ck_assert_int_eq(world_send(&w, A, TBQ_LANE_NORMAL, tag, text), 0);
}

/* --- Failover --------------------------------------------------------------------------------- */

START_TEST(failover_keeps_to_the_quick_path_and_does_not_flutter)
{
    begin_as(TBQ_FAILOVER);
    measure(0, 40, 0);
    measure(1, 36, 0); /* a little better is not enough */
    send_text(1, "one");
    ck_assert(queued(0, TBQ_LANE_NORMAL) > 0 && queued(1, TBQ_LANE_NORMAL) == 0);
    measure(1, 20, 0);
    send_text(2, "two");
    ck_assert_uint_gt(queued(1, TBQ_LANE_NORMAL), 0);
    measure(1, 24, 0);
    measure(0, 22, 0);
    size_t before = queued(1, TBQ_LANE_NORMAL);
    send_text(3, "three");
    ck_assert_uint_gt(queued(1, TBQ_LANE_NORMAL), before);
    world_move_on(&w, 1, A, TBQ_LANE_NORMAL, SIZE_MAX);
    world_expect(&w, ""); /* two and three wait for one */
    world_flow(&w);
    world_expect(&w, "B gets 2/0 one\nB gets 2/1 two\nB gets 2/2 three\n");
}
END_TEST

START_TEST(what_a_silent_path_has_not_answered_goes_over_another_one)
{
    begin_as(TBQ_FAILOVER);
    measure(0, 10, 0);
    measure(1, 100, 0);
    send_text(1, "one");
    ck_assert_uint_eq(queued(1, TBQ_LANE_NORMAL), 0);
    world_suspect(&w, 0, true);
    (void)world_move_on(&w, 1, A, TBQ_LANE_NORMAL, SIZE_MAX);
    world_expect(&w, "B gets 2/0 one\n");
    world_take_all(&w, B);
    w.now.mono_ns += TBI_LINK_ACK_DELAY_NS;
    tbi_link_tick(w.end[B].link, w.now);
    (void)world_move_on(&w, 1, B, TBI_LINK_CONTROL, SIZE_MAX); /* the answer takes that way too */
    world_expect(&w, "A 1 delivered\n");
    world_suspect(&w, 0, false);
    world_flow(&w); /* and what was under way is a duplicate now */
    world_expect(&w, "");
    send_text(2, "two");
    ck_assert(queued(0, TBQ_LANE_NORMAL) > 0); /* the quick one is used again */
}
END_TEST

START_TEST(where_all_are_silent_the_last_one_is_still_used)
{
    begin_as(TBQ_FAILOVER);
    world_suspect(&w, 0, true);
    world_suspect(&w, 1, true);
    send_text(1, "one");
    world_flow(&w);
    world_expect(&w, "B gets 2/0 one\n");
}
END_TEST

START_TEST(a_lost_path_loses_nothing_and_repeats_nothing)
{
    struct tbi_link_stats stats;

    begin_as(TBQ_FAILOVER);
    measure(1, 100, 0);
    measure(0, 10, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        send_text(i, "m");
    }
    (void)world_move_on(&w, 0, A, TBQ_LANE_NORMAL, 9); /* the first, and some of the second */
    world_expect(&w, "B gets 2/0 m\n");
    world_part(&w, 0);
    world_flow(&w);
    world_expect(&w, "B gets 2/1 m\nB gets 2/2 m\n");
    tbi_link_stats(w.end[B].link, &stats);
    ck_assert_uint_eq(stats.duplicates, 1); /* that it has the first was not told yet */
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "A 1 delivered\nA 2 delivered\nA 3 delivered\n");
}
END_TEST

/* A decline is told before the ACK that covers its number, on whichever path that goes. */
START_TEST(what_was_declined_is_told_again_where_another_path_takes_over)
{
    begin_as(TBQ_FAILOVER);
    send_text(1, "refuse me");
    world_flow(&w);
    world_refuse(&w, B, 0, TBI_DECLINE_REFUSED);
    w.now.mono_ns += TBI_LINK_ACK_DELAY_NS;
    tbi_link_tick(w.end[B].link, w.now); /* DECLINED and ACK are written, and lost */
    world_end_of(&w, 0, B)->control.size = 0;
    world_part(&w, 0);
    world_wait(&w, 30);
    world_expect(&w, "B gets 2/0 refuse me\nA 1 not delivered, TBQ_ERR_REFUSED\n");
}
END_TEST

/* --- Aggregate -------------------------------------------------------------------------------- */

START_TEST(aggregate_spreads_by_rate_and_the_order_stays)
{
    static const char text[100] = "something of a hundred bytes";
    struct tbi_outgoing m = {.lane = TBQ_LANE_NORMAL, .want_fate = true};

    begin_as(TBQ_AGGREGATE);
    measure(0, 20, 20000);
    measure(1, 20, 10000);
    w.room = 1 << 20;
    w.keep_story = false;
    for (m.tag = 1; m.tag <= 300; m.tag++) {
        ck_assert_int_eq(world_send_more(&w, A, &m, text, sizeof text), 0);
    }
    double share = (double)queued(0, TBQ_LANE_NORMAL) / (double)queued(1, TBQ_LANE_NORMAL);
    ck_assert(share > 1.8 && share < 2.2);
    while (world_move_on(&w, 1, A, TBQ_LANE_NORMAL, 700) > 0) { /* the slow one comes first */
    }
    size_t early = w.end[B].held_len;
    world_flow(&w);
    ck_assert_uint_lt(early, 10);
    ck_assert_uint_eq(w.end[B].held_len, 300);
    for (size_t i = 0; i < 300; i++) {
        ck_assert_uint_eq(w.end[B].held[i]->number, i);
    }
}
END_TEST

/* The window of the lane's stream is full of messages that wait for one that was lost: that one
 * must find a way all the same. */
START_TEST(what_all_wait_for_finds_a_way_past_full_windows)
{
    static char large[WORLD_MAX];
    struct tbi_outgoing m = {.lane = TBQ_LANE_NORMAL, .want_fate = true};

    begin_as(TBQ_FAILOVER);
    w.keep_story = false;
    w.room = 1 << 20;
    measure(0, 10, 0);
    measure(1, 100, 0);
    send_text(1, "the first, lost");
    measure(1, 1, 0);
    for (m.tag = 2; m.tag < 20; m.tag++) {
        ck_assert_int_eq(world_send_more(&w, A, &m, large, sizeof large), 0);
    }
    while (world_move_on(&w, 1, A, TBQ_LANE_NORMAL, SIZE_MAX) > 0) {
    }
    ck_assert_uint_gt(queued(1, TBQ_LANE_NORMAL), 0); /* the window is at its end */
    ck_assert_uint_eq(w.end[B].held_len, 0);
    world_part(&w, 0);
    for (int i = 0; i < 40 && !tbi_link_outbox_empty(w.end[A].link); i++) {
        world_flow(&w);
        world_take_all(&w, B);
        world_wait(&w, 30);
    }
    ck_assert(tbi_link_outbox_empty(w.end[A].link));
}
END_TEST

/* The same where streams are scarce: all but those that are kept are taken by unordered messages
 * that nobody takes. */
START_TEST(what_all_wait_for_finds_a_stream)
{
    struct tbi_outgoing aside = {.lane = TBQ_LANE_NORMAL, .unordered = true};

    begin_as(TBQ_FAILOVER);
    measure(0, 10, 0);
    measure(1, 100, 0);
    send_text(1, "lost");
    measure(1, 1, 0);
    send_text(2, "behind");
    w.keep_story = false;
    for (int i = 0; i < 2 * WORLD_STREAMS; i++) {
        ck_assert_int_eq(world_send_more(&w, A, &aside, "aside", 5), 0);
    }
    for (int i = 0; i < WORLD_STREAMS + 5; i++) {
        (void)world_move_on(&w, 1, A, i - 1, SIZE_MAX);
    }
    size_t others = w.end[B].held_len;
    w.keep_story = true;
    world_part(&w, 0);
    for (int i = 0; i < WORLD_STREAMS + 5; i++) {
        (void)world_move_on(&w, 1, A, i - 1, SIZE_MAX);
    }
    ck_assert_uint_ge(w.end[B].held_len, others + 2);
    world_expect(&w, "B gets 2/0 lost\nB gets 2/1 behind\n");
}
END_TEST

/* --- Redundant -------------------------------------------------------------------------------- */

START_TEST(redundant_sends_a_copy_on_each_and_the_first_counts)
{
    struct tbi_link_stats stats;

    begin_as(TBQ_REDUNDANT);
    send_text(1, "one");
    send_text(2, "two");
    ck_assert_uint_eq(queued(0, TBQ_LANE_NORMAL), queued(1, TBQ_LANE_NORMAL));
    (void)world_move_on(&w, 1, A, TBQ_LANE_NORMAL, SIZE_MAX);
    world_expect(&w, "B gets 2/0 one\nB gets 2/1 two\n");
    world_flow(&w);
    world_expect(&w, "");
    tbi_link_stats(w.end[B].link, &stats);
    ck_assert_uint_eq(stats.duplicates, 2);
    tbi_link_stats(w.end[A].link, &stats);
    ck_assert_uint_eq(stats.copies, 2);
    ck_assert_uint_eq(stats.resent, 0);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "A 1 delivered\nA 2 delivered\n");
}
END_TEST

START_TEST(a_copy_is_enough_when_a_path_is_lost)
{
    struct tbi_link_stats stats;

    begin_as(TBQ_REDUNDANT);
    send_text(1, "one");
    world_part(&w, 0);
    tbi_link_stats(w.end[A].link, &stats);
    ck_assert_uint_eq(stats.resent, 0);
    world_flow(&w);
    world_expect(&w, "B gets 2/0 one\n");
}
END_TEST

/* The one that was thought silent was not, and the other falls silent now. */
START_TEST(a_copy_goes_where_it_is_silent_too)
{
    begin_as(TBQ_REDUNDANT);
    world_suspect(&w, 1, true);
    send_text(1, "one");
    ck_assert_uint_eq(queued(0, TBQ_LANE_NORMAL), queued(1, TBQ_LANE_NORMAL));
    (void)world_move_on(&w, 1, A, TBQ_LANE_NORMAL, SIZE_MAX);
    world_expect(&w, "B gets 2/0 one\n");
}
END_TEST

/* --- Large ones ------------------------------------------------------------------------------- */

/* Written one by one, or all at once, when there is a path. */
START_TEST(a_large_message_takes_a_stream_of_its_own_and_keeps_its_place)
{
    static char large[TBI_LINK_ASIDE_SIZE + 1];
    struct tbi_outgoing m = {.lane = TBQ_LANE_NORMAL, .tag = 2, .want_fate = true};

    world_init(&w, 1);
    w.end[A].max_message_size = w.end[B].max_message_size = sizeof large;
    for (int i = A; i <= B; i++) {
        tbi_link_free(w.end[i].link);
        w.end[i].link = world_link(&w, i);
    }
    if (_i == 0) {
        world_connect(&w);
    }
    memset(large, 'x', sizeof large);
    send_text(1, "before");
    ck_assert_int_eq(world_send_more(&w, A, &m, large, sizeof large), 0);
    send_text(3, "behind");
    if (_i == 1) {
        world_connect(&w);
    }
    ck_assert(w.end[A].stream[0].open && !w.end[A].stream[0].unordered);
    (void)world_move(&w, A, TBQ_LANE_NORMAL, SIZE_MAX);
    world_expect(&w, "B gets 2/0 before\n");
    world_flow(&w);
    world_expect(&w, "B gets 2/1 xxxxxxxxxxxxxxxxxxxx\nB gets 2/2 behind\n");
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "A 1 delivered\nA 2 delivered\nA 3 delivered\n");
    ck_assert(!w.end[A].stream[0].open);
}
END_TEST

/* One of many finds memory: the others are tried again, though nothing else happens. */
START_TEST(what_found_no_memory_behind_another_is_tried_again)
{
    struct tbi_link_stats stats;

    world_init(&w, 1);
    w.takes = 1;
    w.room = 100;
    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_int_eq(world_send(&w, A, TBQ_LANE_NORMAL, i, "twenty bytes of text"), 0);
    }
    world_connect(&w);
    tbi_link_stats(w.end[A].link, &stats);
    ck_assert_uint_ge(stats.sent, 1);
    ck_assert_uint_lt(stats.sent, 5); /* for so many there was room */
    ck_assert_uint_lt(tbi_link_deadline(w.end[A].link), TBI_NEVER);
    w.keep_story = false;
    w.takes = 3;
    world_wait(&w, 1000);
    tbi_link_stats(w.end[A].link, &stats);
    ck_assert_uint_eq(stats.sent, 10);
}
END_TEST

/* --- Holes ------------------------------------------------------------------------------------ */

/* The sender gave up what it had written; what it sends later does not wait for that. */
START_TEST(what_was_given_up_is_not_waited_for)
{
    begin_as(TBQ_FAILOVER);
    send_text(1, "given up");
    world_part(&w, 0);
    world_part(&w, 1);
    tbi_link_give_up(w.end[A].link, TBQ_ERR_LOST);
    world_drain(&w, A);
    send_text(2, "goes on");
    world_connect(&w);
    world_flow(&w);
    world_expect(&w, "A 1 unknown, TBQ_ERR_LOST\nB gets 2/1 goes on\n");
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "A 2 delivered\n");
}
END_TEST

/* --- Joining ---------------------------------------------------------------------------------- */

START_TEST(a_second_path_waits_until_the_first_has_shown_state)
{
    world_init(&w, 1);
    ck_assert(tbi_link_may_join(w.end[A].link)); /* the first one may */
    world_connect(&w);
    ck_assert(!tbi_link_may_join(w.end[A].link) && !tbi_link_may_join(w.end[B].link));
    world_send(&w, A, TBQ_LANE_LOW, 1, "m");
    world_flow(&w);
    ck_assert(!tbi_link_may_join(w.end[A].link) && tbi_link_may_join(w.end[B].link));
    world_wait(&w, 30);
    ck_assert(tbi_link_may_join(w.end[A].link));
}
END_TEST

/* The peer has lost its state and says so on a new connection: the others belong to the past. */
START_TEST(a_new_beginning_ends_the_old_paths)
{
    begin_as(TBQ_FAILOVER);
    send_text(1, "m");
    for (int at = A; at <= B; at++) {
        tbi_link_confirm(w.end[at].link, &world_end_of(&w, 2, at)->confirm);
    }
    world_end_of(&w, 2, B)->confirm.known = 0;
    world_end_of(&w, 2, B)->confirm.incarnation = 4711;
    const struct tbi_link_limits limits = {.max_message_size = WORLD_MAX};
    struct world_end *e = world_end_of(&w, 2, A);
    e->path = tbi_link_attach(w.end[A].link, &e->conn, e->confirm.base,
                              &world_end_of(&w, 2, B)->confirm, &limits);
    ck_assert_ptr_nonnull(e->path);
    world_drain(&w, A);
    world_expect(&w, "A error 12: the link has begun anew on another connection\n"
                     "A error 12: the link has begun anew on another connection\n");
    ck_assert_int_eq(w.end[A].errors, 1);
    ck_assert_int_eq(world_end_of(&w, 1, A)->errors, 1);
    ck_assert_uint_gt(e->lane[TBQ_LANE_NORMAL].size, 0); /* sent again, there alone */
}
END_TEST

/* Two CONFIRMs were under way, each with the base of its time. The connection of the later one
 * never comes up; on the other one the peer has lost its state, and begins where that one has said.
 */
START_TEST(a_new_beginning_is_where_that_connection_has_said)
{
    struct tbi_confirm earlier, later;

    begin_as(TBQ_FAILOVER);
    send_text(1, "one");
    tbi_link_confirm(w.end[A].link, &earlier);
    world_flow(&w);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "B gets 2/0 one\nA 1 delivered\n");
    tbi_link_confirm(w.end[A].link, &later);
    ck_assert_uint_lt(earlier.base[TBQ_LANE_NORMAL], later.base[TBQ_LANE_NORMAL]);
    world_forget(&w, B);
    world_confirm(&w);
    w.end[A].confirm = earlier;
    world_attach(&w, A);
    world_attach(&w, B);
    send_text(2, "two");
    world_flow(&w);
    world_expect(&w, "B gets 2/1 two\n"); /* does not wait for the first one */
}
END_TEST

START_TEST(four_paths_are_the_most)
{
    const struct tbi_link_limits limits = {.max_message_size = WORLD_MAX};
    struct tbi_link_path *path[TBI_LINK_PATHS_MAX];
    struct tbi_confirm confirm;

    begin_as(TBQ_FAILOVER);
    tbi_link_confirm(w.end[B].link, &confirm);
    for (int i = 2; i <= TBI_LINK_PATHS_MAX; i++) {
        path[i - 1] =
            tbi_link_attach(w.end[A].link, &w.end[A].conn, confirm.base, &confirm, &limits);
        ck_assert((path[i - 1] != NULL) == (i < TBI_LINK_PATHS_MAX));
    }
    for (int i = 2; i < TBI_LINK_PATHS_MAX; i++) {
        tbi_link_detach(path[i - 1], TBQ_ERR_LOST);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("link/paths");
    TCase *t = tcase_create("paths");

    tcase_add_checked_fixture(t, NULL, end);
    tcase_add_test(t, failover_keeps_to_the_quick_path_and_does_not_flutter);
    tcase_add_test(t, what_a_silent_path_has_not_answered_goes_over_another_one);
    tcase_add_test(t, where_all_are_silent_the_last_one_is_still_used);
    tcase_add_test(t, a_lost_path_loses_nothing_and_repeats_nothing);
    tcase_add_test(t, what_was_declined_is_told_again_where_another_path_takes_over);
    tcase_add_test(t, aggregate_spreads_by_rate_and_the_order_stays);
    tcase_add_test(t, what_all_wait_for_finds_a_way_past_full_windows);
    tcase_add_test(t, what_all_wait_for_finds_a_stream);
    tcase_add_test(t, redundant_sends_a_copy_on_each_and_the_first_counts);
    tcase_add_test(t, a_copy_goes_where_it_is_silent_too);
    tcase_add_test(t, a_copy_is_enough_when_a_path_is_lost);
    tcase_add_loop_test(t, a_large_message_takes_a_stream_of_its_own_and_keeps_its_place, 0, 2);
    tcase_add_test(t, what_found_no_memory_behind_another_is_tried_again);
    tcase_add_test(t, what_was_given_up_is_not_waited_for);
    tcase_add_test(t, a_second_path_waits_until_the_first_has_shown_state);
    tcase_add_test(t, a_new_beginning_ends_the_old_paths);
    tcase_add_test(t, a_new_beginning_is_where_that_connection_has_said);
    tcase_add_test(t, four_paths_are_the_most);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
