/* tests/unit/test_link.c - the promise about messages, told clause by clause (docs/protocol.md,
 * sections 6 to 9). Who "gets" a message was handed it; lines that are set in are control frames:
 * "ACK 2 <3+5 <1" is lane 2, RECEIVED below 3 and 5, TAKEN below 1. */
#include <check.h>
#include <string.h>

#include "harness.h"
#include "link_world.h"

static struct world w;

static void begin(void)
{
    world_init(&w, 1);
}

static void end(void)
{
    world_free(&w);
}

static struct tbi_outgoing outgoing(uint64_t tag)
{
    return (struct tbi_outgoing){.lane = TBQ_LANE_NORMAL, .tag = tag, .want_fate = true};
}

static void send_ttl(int from, uint64_t tag, uint64_t ttl_ms, const char *text)
{
    struct tbi_outgoing m = outgoing(tag);
    m.ttl_ns = ttl_ms * TBI_NS_PER_MS;
    ck_assert_int_eq(world_send_more(&w, from, &m, text, strlen(text)), 0);
}

/* --- Fates ---------------------------------------------------------------------------------- */

START_TEST(a_message_is_delivered_when_it_was_taken_and_not_before)
{
    w.show_control = true;
    world_connect(&w);
    ck_assert_int_eq(world_send(&w, A, TBQ_LANE_NORMAL, 7, "hello"), 0);
    world_wait(&w, 24);
    world_expect(&w, "B gets 2/0 hello\n"); /* ACK waits for others to join it */
    world_wait(&w, 1);
    world_expect(&w, "  B: ACK 2 <1 <0\n");
    world_wait(&w, 100);
    world_expect(&w, "");
    world_take(&w, B, 0);
    world_flow(&w); /* nothing has joined it for long */
    world_expect(&w, "  B: ACK 2 <1 <1\nA 7 delivered\n");
    world_wait(&w, 999);
    world_expect(&w, "");
    ck_assert(!tbi_link_idle(w.end[B].link));
    world_wait(&w, 1); /* within a second after nothing is unsettled any more */
    world_expect(&w, "  A: SETTLED 2 <1\n");
    ck_assert(tbi_link_idle(w.end[A].link) && tbi_link_idle(w.end[B].link));
    ck_assert_uint_eq(tbi_link_deadline(w.end[A].link), TBI_NEVER);
    ck_assert_uint_eq(tbi_link_deadline(w.end[B].link), TBI_NEVER);
}
END_TEST

/* What comes alone has its fate as soon as it is taken; what follows closely waits for more. */
START_TEST(the_first_that_is_taken_is_told_at_once)
{
    w.show_control = true;
    world_connect(&w);
    for (uint64_t i = 0; i < 3; i++) {
        world_send(&w, A, TBQ_LANE_NORMAL, i, "m");
    }
    world_flow(&w);
    world_expect(&w, "B gets 2/0 m\nB gets 2/1 m\nB gets 2/2 m\n");
    world_take(&w, B, 0);
    world_flow(&w);
    world_expect(&w, "  B: ACK 2 <3 <1\nA 0 delivered\n");
    world_wait(&w, 1);
    world_take(&w, B, 0);
    world_wait(&w, 24);
    world_expect(&w, "");
    world_take(&w, B, 0); /* the last ACK is 25 ms old */
    world_flow(&w);
    world_expect(&w, "  B: ACK 2 <3 <3\nA 1 delivered\nA 2 delivered\n");
}
END_TEST

START_TEST(thirty_two_changes_do_not_wait_for_the_clock)
{
    w.show_control = true;
    world_connect(&w);
    for (int i = 0; i < 32; i++) {
        world_send(&w, A, TBQ_LANE_LOW, 0, "m");
    }
    w.keep_story = false;
    world_flow(&w);
    w.keep_story = true;
    ck_assert_uint_eq(w.end[B].held_len, 32);
    ck_assert_uint_gt(tbi_link_deadline(w.end[B].link), w.now.mono_ns);
    world_flow(&w);
    world_take(&w, B, 31);
    world_wait(&w, 25);
    world_expect(&w, "  B: ACK 3 <32 <0+31\nA 0 delivered\n");
    for (int i = 0; i < 31; i++) {
        world_take(&w, B, 0);
    }
    w.keep_story = false;
    world_wait(&w, 25);
    ck_assert(tbi_link_outbox_empty(w.end[A].link));
}
END_TEST

START_TEST(messages_may_be_taken_in_any_order)
{
    w.show_control = true;
    world_connect(&w);
    for (uint64_t i = 0; i < 5; i++) {
        world_send(&w, A, TBQ_LANE_HIGH, i, "m");
    }
    world_flow(&w);
    world_expect(&w, "B gets 1/0 m\nB gets 1/1 m\nB gets 1/2 m\nB gets 1/3 m\nB gets 1/4 m\n");
    world_take(&w, B, 3);
    world_flow(&w);
    world_expect(&w, "  B: ACK 1 <5 <0+3\nA 3 delivered\n");
    world_take(&w, B, 1);
    world_wait(&w, 25);
    world_expect(&w, "  B: ACK 1 <5 <0+1\nA 1 delivered\n");
    world_take_all(&w, B);
    world_wait(&w, 25);
    world_expect(&w, "  B: ACK 1 <5 <5\nA 0 delivered\nA 2 delivered\nA 4 delivered\n");
}
END_TEST

START_TEST(a_refused_message_is_told_with_its_reason)
{
    w.show_control = true;
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "keep");
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "refuse");
    world_flow(&w);
    world_refuse(&w, B, 1, TBI_DECLINE_REFUSED);
    world_take(&w, B, 0);
    world_wait(&w, 25);
    world_expect(&w, "B gets 2/0 keep\nB gets 2/1 refuse\n"
                     "  B: DECLINED 2 1:4\n  B: ACK 2 <2 <0+1\nA 2 not delivered, TBQ_ERR_REFUSED\n"
                     "  B: ACK 2 <2 <2\nA 1 delivered\n");
    world_wait(&w, 25); /* its decline may be forgotten */
    world_expect(&w, "  A: SETTLED 2 <2\n");
}
END_TEST

START_TEST(each_reason_has_its_error)
{
    static const struct {
        enum tbi_decline_code code;
        const char *story;
    } row[] = {{TBI_DECLINE_MALFORMED, "A 0 not delivered, TBQ_ERR_MALFORMED\n"},
               {TBI_DECLINE_NOT_SERVED, "A 1 not delivered, TBQ_ERR_UNSUPPORTED\n"},
               {TBI_DECLINE_TOO_LARGE, "A 2 not delivered, TBQ_ERR_TOO_LARGE\n"},
               {TBI_DECLINE_UNKNOWN_KIND, "A 3 not delivered, TBQ_ERR_UNSUPPORTED\n"},
               {TBI_DECLINE_SKIPPED, "A 4 not delivered, TBQ_ERR_REFUSED\n"},
               {(enum tbi_decline_code)77, "A 5 not delivered, TBQ_ERR_REFUSED\n"}};

    world_connect(&w);
    for (uint64_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        w.keep_story = false;
        world_send(&w, A, TBQ_LANE_LOW, i, "m");
        world_flow(&w);
        w.keep_story = true;
        world_refuse(&w, B, 0, row[i].code);
        world_wait(&w, 50);
        world_expect(&w, row[i].story);
    }
}
END_TEST

/* --- Connections ---------------------------------------------------------------------------- */

START_TEST(before_there_is_a_connection_messages_wait)
{
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "one");
    world_send(&w, A, TBQ_LANE_CRITICAL, 2, "urgent");
    world_wait(&w, 5000);
    world_connect(&w);
    world_wait(&w, 1);
    world_take_all(&w, B);
    world_wait(&w, 25);
    world_expect(&w, "B gets 0/0 urgent\nB gets 2/0 one\nA 2 delivered\nA 1 delivered\n");
}
END_TEST

START_TEST(what_was_cut_is_sent_again_and_handed_over_once)
{
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "first");
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "second");
    ck_assert_uint_eq(world_move(&w, A, TBQ_LANE_NORMAL, 13), 13); /* within the second one */
    world_expect(&w, "B gets 2/0 first\n");
    world_cut(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 3, "third");
    world_connect(&w);
    world_wait(&w, 30);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "B gets 2/1 second\nB gets 2/2 third\n"
                     "A 1 delivered\nA 2 delivered\nA 3 delivered\n");
}
END_TEST

START_TEST(a_new_connection_begins_with_what_is_known)
{
    world_connect(&w);
    for (uint64_t i = 0; i < 4; i++) {
        world_send(&w, A, TBQ_LANE_NORMAL, i, "m");
    }
    world_flow(&w);
    w.keep_story = false;
    world_refuse(&w, B, 2, TBI_DECLINE_NOT_SERVED);
    world_take(&w, B, 0);
    world_cut(&w); /* A has heard of neither */
    w.story_len = 0;
    w.keep_story = w.show_control = true;
    world_connect(&w);
    world_flow(&w);
    world_expect(&w, "  B: DECLINED 2 2:5\n  B: ACK 2 <4 <1+2\n"
                     "A 2 not delivered, TBQ_ERR_UNSUPPORTED\nA 0 delivered\n");
}
END_TEST

START_TEST(what_was_taken_while_there_was_no_connection_is_told_on_the_next)
{
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "m");
    world_flow(&w);
    world_cut(&w);
    world_take_all(&w, B);
    world_connect(&w);
    world_flow(&w);
    world_expect(&w, "B gets 2/0 m\nA 1 delivered\n");
}
END_TEST

START_TEST(a_peer_that_restarted_gets_the_rest_as_a_repeat)
{
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "received");
    world_flow(&w);
    world_wait(&w, 30);
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "on its way");
    (void)world_move(&w, A, TBQ_LANE_NORMAL, 5);
    world_restart(&w, B);
    world_expect(&w, "B gets 2/0 received\nA 1 unknown, TBQ_ERR_RESTARTED\n");
    world_send(&w, A, TBQ_LANE_NORMAL, 3, "new");
    world_connect(&w);
    world_flow(&w);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "B gets 2/0 on its way, perhaps again\nB gets 2/1 new\n"
                     "A 2 delivered\nA 3 delivered\n");
}
END_TEST

START_TEST(a_peer_that_forgot_the_link_begins_at_base)
{
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "taken");
    world_flow(&w);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "received");
    world_wait(&w, 30);
    world_send(&w, A, TBQ_LANE_NORMAL, 3, "cut");
    world_forget(&w, B);
    world_connect(&w);
    world_flow(&w);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "B gets 2/0 taken\nA 1 delivered\nB gets 2/1 received\n"
                     "A 2 unknown, TBQ_ERR_RESTARTED\n"
                     "B gets 2/2 cut, perhaps again\nA 3 delivered\n");
}
END_TEST

/* B begins anew on a connection of which A never hears. On the next one B must not say that it
 * knows A: what A was told before would then count as taken. */
START_TEST(state_that_the_peer_never_heard_of_is_not_known)
{
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "received");
    world_wait(&w, 30);
    world_forget(&w, B);
    world_confirm(&w);
    world_attach(&w, B);
    world_cut(&w);
    world_connect(&w);
    world_wait(&w, 30);
    world_expect(&w, "B gets 2/0 received\nA 1 unknown, TBQ_ERR_RESTARTED\n");
}
END_TEST

/* Both sides dialled at once, and both CONFIRMs of both connections were written before either was
 * up: on the second connection B says that it knows nothing, which by then is no longer so. */
START_TEST(a_connection_that_was_confirmed_before_another_one_repeats_nothing)
{
    struct tbi_confirm early[2];

    world_confirm(&w);
    early[A] = w.end[A].confirm;
    early[B] = w.end[B].confirm;
    world_attach(&w, A);
    world_attach(&w, B);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "over the first");
    world_flow(&w);
    world_cut(&w);
    w.end[A].confirm = early[A];
    w.end[B].confirm = early[B];
    world_attach(&w, A);
    world_attach(&w, B);
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "over the second");
    world_flow(&w);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "B gets 2/0 over the first\nB gets 2/1 over the second\n"
                     "A 1 delivered\nA 2 delivered\n");
}
END_TEST

START_TEST(the_outbox_of_an_anonymous_dial_joins_the_known_peers)
{
    struct tbi_link *dial = world_link(&w, A);
    const struct tbi_outgoing m = {.kind = TBQ_PING,
                                   .head = (const uint8_t *)"0123456789abcdef",
                                   .head_size = 16,
                                   .lane = TBQ_LANE_NORMAL,
                                   .tag = 2,
                                   .want_fate = true};

    ck_assert_ptr_nonnull(dial);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "first");
    w.now.mono_ns++;
    ck_assert_int_eq(tbi_link_send(dial, w.now, &m), 0);
    tbi_link_tick(dial, w.now);
    w.now.mono_ns++;
    world_send(&w, A, TBQ_LANE_NORMAL, 3, "third");
    tbi_link_absorb(w.end[A].link, dial);
    ck_assert(tbi_link_outbox_empty(dial));
    tbi_link_free(dial);
    world_connect(&w);
    world_flow(&w);
    world_expect(&w, "B gets 2/0 first\nB gets 2/1 0123456789abcdef\nB gets 2/2 third\n");
}
END_TEST

START_TEST(who_gives_up_tells_what_is_known)
{
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "written");
    world_cut(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "never written");
    tbi_link_give_up(w.end[A].link, TBQ_ERR_STOPPED);
    world_drain(&w, A);
    world_expect(&w, "A 1 unknown, TBQ_ERR_STOPPED\nA 2 not delivered, TBQ_ERR_STOPPED\n");
    ck_assert(tbi_link_outbox_empty(w.end[A].link));
}
END_TEST

START_TEST(a_delivery_outlives_its_link)
{
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "m");
    world_flow(&w);
    world_forget(&w, A); /* A is gone too, with its fate */
    tbi_link_free(w.end[B].link);
    w.end[B].link = world_link(&w, B);
    ck_assert_ptr_null(w.end[B].held[0]->link);
    ck_assert_mem_eq(w.end[B].held[0]->body->data, "m", 1);
    world_take_all(&w, B);
}
END_TEST

/* --- Time to live --------------------------------------------------------------------------- */

START_TEST(what_expires_unwritten_leaves_no_gap)
{
    send_ttl(A, 1, 100, "late");
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "patient");
    world_wait(&w, 99);
    world_expect(&w, "");
    world_wait(&w, 1);
    world_expect(&w, "A 1 not delivered, TBQ_ERR_EXPIRED\n");
    world_connect(&w);
    world_flow(&w);
    world_expect(&w, "B gets 2/0 patient\n");
}
END_TEST

START_TEST(what_expires_on_its_way_is_skipped_and_the_answer_is_its_fate)
{
    world_connect(&w);
    send_ttl(A, 1, 100, "expires");
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "behind it");
    world_cut(&w);
    world_wait(&w, 200);
    world_expect(&w, ""); /* nobody knows yet */
    w.show_control = true;
    world_connect(&w);
    world_wait(&w, 1);
    world_expect(&w, "  A: SKIP 2 0\nB gets 2/1 behind it, perhaps again\n"
                     "  B: DECLINED 2 0:0\n  B: ACK 2 <1 <1\nA 1 unknown, TBQ_ERR_EXPIRED\n");
}
END_TEST

START_TEST(skip_comes_too_late_for_what_was_received)
{
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 0, "makes them known");
    world_wait(&w, 30);
    w.story_len = 0;
    w.show_control = true;
    send_ttl(A, 1, 10, "just in time");
    send_ttl(A, 2, 10, "half of it");
    (void)world_move(&w, A, TBQ_LANE_NORMAL, 25);
    w.now.mono_ns += 10 * TBI_NS_PER_MS;
    tbi_link_tick(w.end[A].link, w.now);
    world_flow(&w);
    world_expect(&w, "B gets 2/1 just in time\n  A: SKIP 2 1 2\n  B: DECLINED 2 2:0\n"
                     "  B: ACK 2 <3 <0+2\nA 2 not delivered, TBQ_ERR_EXPIRED\n");
    world_take_all(&w, B);
    world_wait(&w, 25);
    world_expect(&w, "  B: ACK 2 <3 <3\nA 0 delivered\nA 1 delivered\n");
    ck_assert_uint_eq(w.end[A].passed[2], w.end[A].consumed[2]);
}
END_TEST

/* --- Lanes and unordered messages ------------------------------------------------------------ */

START_TEST(an_unordered_message_neither_waits_nor_makes_wait)
{
    struct tbi_outgoing m = outgoing(2);

    m.unordered = true;
    world_connect(&w);
    world_send(&w, A, TBQ_LANE_NORMAL, 1, "ordered");
    ck_assert_int_eq(world_send_more(&w, A, &m, "aside", 5), 0);
    world_send(&w, A, TBQ_LANE_NORMAL, 3, "behind");
    (void)world_move(&w, A, TBQ_LANE_NORMAL, 4);
    (void)world_move(&w, A, TBQ_LANES, SIZE_MAX); /* the stream overtakes its lane */
    world_expect(&w, "B gets 2/1 aside\n");
    world_flow(&w);
    world_expect(&w, "B gets 2/0 ordered\nB gets 2/2 behind\n");
    world_take_all(&w, B);
    world_wait(&w, 30);
    /* The one that B was given first is told at once, the others wait for one another. */
    world_expect(&w, "A 2 delivered\nA 1 delivered\nA 3 delivered\n");
    ck_assert(!w.end[A].stream[0].open);
}
END_TEST

START_TEST(unordered_messages_beyond_the_streams_wait_and_lanes_go_on)
{
    struct tbi_outgoing m = outgoing(1);

    m.unordered = true;
    world_connect(&w);
    for (int i = 0; i < WORLD_STREAMS + 1; i++) {
        ck_assert_int_eq(world_send_more(&w, A, &m, "aside", 5), 0);
    }
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "ordered");
    w.keep_story = false;
    world_flow(&w);
    /* The last ones are kept for numbers that others wait for. */
    ck_assert_uint_eq(w.end[B].held_len, WORLD_STREAMS - TBI_LINK_STREAMS_KEPT + 1);
    ck_assert_mem_eq(w.end[B].held[0]->body->data, "ordered", 7);
    world_take(&w, B, 1); /* the right to open another one is given back with it */
    world_flow(&w);
    ck_assert_uint_eq(w.end[B].held_len, WORLD_STREAMS - TBI_LINK_STREAMS_KEPT + 1);
}
END_TEST

START_TEST(a_half_unordered_message_is_sent_again)
{
    struct tbi_outgoing m = outgoing(1);

    m.unordered = true;
    world_connect(&w);
    ck_assert_int_eq(world_send_more(&w, A, &m, "aside", 5), 0);
    world_send(&w, A, TBQ_LANE_NORMAL, 2, "ordered");
    (void)world_move(&w, A, TBQ_LANE_NORMAL, SIZE_MAX);
    (void)world_move(&w, A, TBQ_LANES, 4);
    world_wait(&w, 0);
    world_cut(&w);
    world_connect(&w);
    world_wait(&w, 30);
    world_take_all(&w, B);
    world_wait(&w, 30);
    world_expect(&w, "B gets 2/1 ordered\nB gets 2/0 aside\nA 1 delivered\nA 2 delivered\n");
}
END_TEST

START_TEST(lanes_do_not_wait_for_one_another)
{
    static char large[WORLD_MAX];
    const struct tbi_outgoing low = {.lane = TBQ_LANE_LOW, .tag = 1};

    w.keep_story = false;
    world_connect(&w);
    memset(large, 'x', sizeof large);
    for (int i = 0; i < 12; i++) { /* more than the stream's window, and B takes none */
        ck_assert_int_eq(world_send_more(&w, A, &low, large, sizeof large), 0);
    }
    world_flow(&w);
    ck_assert_uint_lt(w.end[B].held_len, 12);
    w.keep_story = true;
    world_send(&w, A, TBQ_LANE_CRITICAL, 2, "urgent");
    world_flow(&w);
    world_expect(&w, "B gets 0/0 urgent\n");
    w.keep_story = false;
    while (w.end[B].held_len > 0) {
        world_take(&w, B, 0);
        world_flow(&w);
    }
    world_wait(&w, 30);
    ck_assert(tbi_link_outbox_empty(w.end[A].link));
}
END_TEST

/* --- Back-pressure -------------------------------------------------------------------------- */

START_TEST(a_full_outbox_refuses_and_says_when_to_go_on)
{
    struct tbi_link_stats stats;

    world_free(&w);
    world_init(&w, 1);
    tbi_link_free(w.end[A].link);
    w.outbox_messages = 16; /* an eighth of it is 2 */
    w.end[A].link = world_link(&w, A);
    for (uint64_t i = 0; i < 16; i++) {
        ck_assert_int_eq(world_send(&w, A, TBQ_LANE_LOW, i, "m"), 0);
    }
    ck_assert_int_eq(world_send(&w, A, TBQ_LANE_LOW, 16, "m"), TBQ_ERR_AGAIN);
    w.keep_story = false;
    world_connect(&w);
    world_flow(&w);
    w.keep_story = true;
    world_take(&w, B, 0);
    world_wait(&w, 25);
    world_expect(&w, "A 0 delivered\n");
    world_take(&w, B, 0);
    world_wait(&w, 25);
    world_expect(&w, "A 1 delivered\nA writable\n");
    ck_assert_int_eq(world_send(&w, A, TBQ_LANE_LOW, 16, "m"), 0);
    tbi_link_stats(w.end[A].link, &stats);
    ck_assert_uint_eq(stats.outbox_messages, 15);
    ck_assert_uint_eq(stats.refused, 1);
}
END_TEST

/* The message of that lane comes, and A hears so. */
static void comes(tbq_lane lane)
{
    world_move(&w, A, (int)lane, SIZE_MAX);
    w.now.mono_ns += 30 * TBI_NS_PER_MS;
    world_drain(&w, B);
    world_move(&w, B, TBI_LINK_CONTROL, SIZE_MAX);
    world_drain(&w, A);
}

START_TEST(what_is_large_waits_for_as_much_room)
{
    static const uint8_t large[1000];
    struct tbi_outgoing m = outgoing(1);

    world_free(&w);
    world_init(&w, 1);
    tbi_link_free(w.end[A].link);
    w.outbox_bytes = sizeof large;
    w.end[A].link = world_link(&w, A);
    w.keep_story = false;
    world_connect(&w);
    for (m.lane = TBQ_LANE_CRITICAL; m.lane <= TBQ_LANE_LOW; m.lane++) {
        ck_assert_int_eq(world_send_more(&w, A, &m, large, 250), 0);
    }
    m.lane = TBQ_LANE_LOW;
    ck_assert_int_eq(world_send_more(&w, A, &m, large, 1), TBQ_ERR_AGAIN);
    ck_assert_int_eq(world_send_more(&w, A, &m, large, 600), TBQ_ERR_AGAIN);
    ck_assert_int_eq(world_send_more(&w, A, &m, large, 1), TBQ_ERR_AGAIN);
    world_drain(&w, A);
    comes(TBQ_LANE_CRITICAL);
    comes(TBQ_LANE_HIGH);
    w.keep_story = true;
    world_expect(&w, "");
    comes(TBQ_LANE_NORMAL);
    world_expect(&w, "B gets 2/0 \nA writable\n");
    ck_assert_int_eq(world_send_more(&w, A, &m, large, 600), 0);
}
END_TEST

START_TEST(many_bytes_are_acknowledged_at_once)
{
    static const uint8_t large[WORLD_MAX];
    struct tbi_outgoing m = outgoing(1);
    struct tbi_link_stats stats;

    world_connect(&w);
    world_send(&w, A, TBQ_LANE_LOW, 1, "so that there was an ACK lately");
    world_wait(&w, 30);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(world_send_more(&w, A, &m, large, sizeof large), 0);
        world_drain(&w, A);
        world_flow(&w);
        tbi_link_stats(w.end[A].link, &stats);
        ck_assert_uint_eq(stats.outbox_bytes, i < 3 ? (size_t)(i + 1) * sizeof large : 0);
    }
}
END_TEST

START_TEST(received_frees_the_bytes_and_taken_the_slot)
{
    struct tbi_link_stats stats;

    world_connect(&w);
    world_send(&w, A, TBQ_LANE_LOW, 1, "0123456789");
    tbi_link_stats(w.end[A].link, &stats);
    ck_assert_uint_eq(stats.outbox_bytes, 10);
    world_wait(&w, 30);
    tbi_link_stats(w.end[A].link, &stats);
    ck_assert_uint_eq(stats.outbox_bytes, 0);
    ck_assert_uint_eq(stats.outbox_messages, 1);
    tbi_link_stats(w.end[B].link, &stats);
    ck_assert_uint_eq(stats.held_bytes, 10);
}
END_TEST

START_TEST(messages_that_cannot_be_are_refused_at_the_call)
{
    static const uint8_t large[WORLD_MAX + 1];
    struct tbi_outgoing m = outgoing(1);

    ck_assert_int_eq(world_send_more(&w, A, &m, large, sizeof large), 0); /* not known yet */
    world_connect(&w);
    world_expect(&w, "A 1 not delivered, TBQ_ERR_TOO_LARGE\n");
    ck_assert_int_eq(world_send_more(&w, A, &m, large, sizeof large), TBQ_ERR_TOO_LARGE);
    ck_assert_int_eq(world_send_more(&w, A, &m, large, sizeof large - 1), 0);
    m.lane = (tbq_lane)4;
    ck_assert_int_eq(world_send_more(&w, A, &m, "", 0), TBQ_ERR_INVALID);
    m = outgoing(1);
    m.kind = (tbq_kind)11;
    ck_assert_int_eq(world_send_more(&w, A, &m, "", 0), TBQ_ERR_INVALID);
    m = outgoing(1);
    m.head_size = TBI_LINK_HEAD_MAX + 1;
    ck_assert_int_eq(world_send_more(&w, A, &m, "", 0), TBQ_ERR_INVALID);
}
END_TEST

START_TEST(a_write_that_finds_no_memory_is_tried_again)
{
    world_connect(&w);
    w.end[A].no_write = true;
    world_send(&w, A, TBQ_LANE_LOW, 1, "m");
    world_wait(&w, 60);
    w.end[A].no_write = false;
    world_wait(&w, 25);
    world_expect(&w, "B gets 3/0 m\n");
    w.end[B].no_write = true;
    world_take_all(&w, B);
    world_wait(&w, 60);
    w.end[B].no_write = false;
    world_wait(&w, 25);
    world_expect(&w, "A 1 delivered\n");
}
END_TEST

/* --- Memory --------------------------------------------------------------------------------- */

static void walk_step(struct world *world, struct tbi_outgoing *m)
{
    static const char text[3000] = "something that needs several pieces";
    int rv = world_send_more(world, A, m, text, sizeof text);

    if (rv == 0) {
        m->tag++;
    } else {
        ck_assert_int_eq(rv, TBQ_ERR_NOMEM);
    }
    m->unordered = !m->unordered;
    world_flow(world);
    if (world->end[A].errors + world->end[B].errors > 0) { /* as its owner would */
        world_cut(world);
        world_connect(world);
    }
}

static void count_fate(struct world *world, int at, const struct tbi_link_fate *f)
{
    (void)at;
    ck_assert(f->fate == TBQ_DELIVERED || f->declined); /* nobody died */
    (*(uint64_t *)world->user)++;
}

/* Whatever allocation fails: no message is lost that was accepted, and no fate. */
START_TEST(any_allocation_may_fail)
{
    bool failed = true;

    for (long n = 1; failed; n++) {
        struct tbi_outgoing m = outgoing(0);
        uint64_t fates = 0;

        world_free(&w);
        world_init(&w, 1);
        w.on_fate = count_fate;
        w.user = &fates;
        w.keep_story = false;
        w.fail_at = w.allocs + n;
        world_connect(&w);
        for (int i = 0; i < 6; i++) {
            walk_step(&w, &m);
        }
        if (w.end[B].held_len > 2) {
            world_refuse(&w, B, 2, TBI_DECLINE_REFUSED);
        }
        for (int i = 0; i < 4; i++) {
            world_take_all(&w, B);
            world_wait(&w, 30);
            if (w.end[A].errors + w.end[B].errors > 0) {
                world_cut(&w);
                world_connect(&w);
            }
        }
        ck_assert_uint_eq(fates, m.tag);
        ck_assert(tbi_link_outbox_empty(w.end[A].link));
        failed = w.allocs >= w.fail_at;
    }
}
END_TEST

static void add_fates(Suite *s)
{
    TCase *t = tcase_create("fates");
    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, a_message_is_delivered_when_it_was_taken_and_not_before);
    tcase_add_test(t, the_first_that_is_taken_is_told_at_once);
    tcase_add_test(t, thirty_two_changes_do_not_wait_for_the_clock);
    tcase_add_test(t, messages_may_be_taken_in_any_order);
    tcase_add_test(t, a_refused_message_is_told_with_its_reason);
    tcase_add_test(t, each_reason_has_its_error);
    tcase_add_test(t, what_expires_unwritten_leaves_no_gap);
    tcase_add_test(t, what_expires_on_its_way_is_skipped_and_the_answer_is_its_fate);
    tcase_add_test(t, skip_comes_too_late_for_what_was_received);
    suite_add_tcase(s, t);
}

static void add_connections(Suite *s)
{
    TCase *t = tcase_create("connections");
    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, before_there_is_a_connection_messages_wait);
    tcase_add_test(t, what_was_cut_is_sent_again_and_handed_over_once);
    tcase_add_test(t, a_new_connection_begins_with_what_is_known);
    tcase_add_test(t, what_was_taken_while_there_was_no_connection_is_told_on_the_next);
    tcase_add_test(t, a_peer_that_restarted_gets_the_rest_as_a_repeat);
    tcase_add_test(t, a_peer_that_forgot_the_link_begins_at_base);
    tcase_add_test(t, state_that_the_peer_never_heard_of_is_not_known);
    tcase_add_test(t, a_connection_that_was_confirmed_before_another_one_repeats_nothing);
    tcase_add_test(t, the_outbox_of_an_anonymous_dial_joins_the_known_peers);
    tcase_add_test(t, who_gives_up_tells_what_is_known);
    tcase_add_test(t, a_delivery_outlives_its_link);
    suite_add_tcase(s, t);
}

static void add_lanes(Suite *s)
{
    TCase *t = tcase_create("lanes");
    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, an_unordered_message_neither_waits_nor_makes_wait);
    tcase_add_test(t, unordered_messages_beyond_the_streams_wait_and_lanes_go_on);
    tcase_add_test(t, a_half_unordered_message_is_sent_again);
    tcase_add_test(t, lanes_do_not_wait_for_one_another);
    tcase_add_test(t, a_full_outbox_refuses_and_says_when_to_go_on);
    tcase_add_test(t, what_is_large_waits_for_as_much_room);
    tcase_add_test(t, received_frees_the_bytes_and_taken_the_slot);
    tcase_add_test(t, many_bytes_are_acknowledged_at_once);
    tcase_add_test(t, messages_that_cannot_be_are_refused_at_the_call);
    tcase_add_test(t, a_write_that_finds_no_memory_is_tried_again);
    tcase_add_test(t, any_allocation_may_fail);
    suite_add_tcase(s, t);
}

int main(void)
{
    Suite *s = suite_create("link");

    add_fates(s);
    add_connections(s);
    add_lanes(s);
    return tbi_test_main(s);
}
