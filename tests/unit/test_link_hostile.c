/* tests/unit/test_link_hostile.c - a peer that lies, errs, or speaks a newer dialect.
 *
 * Frames are made by hand and put into B's streams; what B does with its connection is the story.
 */
#include <check.h>
#include <string.h>

#include "harness.h"
#include "link/parts.h"
#include "link_world.h"

static struct world w;
static uint8_t frame[1 << 17];
static struct tbi_writer out;

static void begin(void)
{
    world_init(&w, 1);
    world_connect(&w);
    tbi_put_init(&out, frame, sizeof frame);
}

static void end(void)
{
    world_free(&w);
}

/* What was written goes to B, on a lane, as a frame of A's. */
static void to_lane(tbq_lane lane)
{
    ck_assert_int_eq(tbi_put_error(&out), 0);
    w.end[A].passed[lane] += tbi_put_size(&out);
    tbi_link_lane_data(w.end[B].path, w.now, lane, frame, tbi_put_size(&out));
    world_drain(&w, B);
    tbi_put_init(&out, frame, sizeof frame);
}

static void to_control(uint64_t type)
{
    struct tbi_frame_reader reader;
    struct tbi_cursor c, body;
    const uint8_t *piece;
    size_t size;
    bool complete;

    ck_assert_int_eq(tbi_put_error(&out), 0);
    tbi_frame_reader_init(&reader);
    tbi_cur_init(&c, frame, tbi_put_size(&out));
    ck_assert_int_eq(tbi_frame_step(&reader, &c, &piece, &size, &complete), TBI_STEP_HEAD);
    ck_assert_int_eq(tbi_frame_step(&reader, &c, &piece, &size, &complete), TBI_STEP_BODY);
    tbi_cur_init(&body, piece, size);
    tbi_link_control(w.end[B].path, w.now, type, body);
    world_drain(&w, B);
    tbi_put_init(&out, frame, sizeof frame);
}

static void message(uint64_t number, uint64_t flags, uint64_t kind, const char *text)
{
    const struct tbi_message m = {.number = number, .flags = flags, .kind = kind};
    tbi_put_message_head(&out, &m, strlen(text));
    tbi_put_bytes(&out, text, strlen(text));
}

static void elsewhere(uint64_t number)
{
    const struct tbi_elsewhere f = {.number = number};
    tbi_put_elsewhere(&out, &f);
}

#define TRANSITION ((uint64_t)TBQ_TRANSITION)

/* --- Lanes ---------------------------------------------------------------------------------- */

START_TEST(numbers_come_in_any_order_and_are_handed_over_in_theirs)
{
    message(2, 0, TRANSITION, "c");
    message(1, 0, TRANSITION, "b");
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "");
    message(0, 0, TRANSITION, "a");
    message(1, 0, TRANSITION, "b once more");
    message(3, 0, TRANSITION, "d");
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B gets 3/0 a\nB gets 3/1 b\nB gets 3/2 c\nB gets 3/3 d\n");
    ck_assert_int_eq(w.end[B].errors, 0);
}
END_TEST

/* What waits for its turn holds its credit: the windows bound it. */
START_TEST(what_is_missing_is_waited_for_at_the_expense_of_its_sender)
{
    struct tbi_link_stats stats;

    message(1, 0, TRANSITION, "early");
    to_lane(TBQ_LANE_LOW);
    ck_assert_uint_eq(w.end[A].consumed[3], 0);
    tbi_link_stats(w.end[B].link, &stats);
    ck_assert_uint_eq(stats.held_messages, 1);
    ck_assert_uint_eq(stats.held_bytes, 5);
    w.now.mono_ns += TBI_LINK_ACK_DELAY_NS;
    tbi_link_tick(w.end[B].link, w.now);
    /* RECEIVED 1, which frees the sender's copy; TAKEN nothing */
    ck_assert_mem_eq(w.end[B].control.data, "\x04\x07\x03\x00\x01\x01\x01\x00\x00", 9);
    elsewhere(0); /* not in this lane's order */
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B gets 3/1 early\n");
    world_take_all(&w, B);
    ck_assert_uint_eq(w.end[A].passed[3] - w.end[A].consumed[3], 0);
}
END_TEST

START_TEST(the_window_of_numbers_ends_at_65535)
{
    message(65535, 0, TRANSITION, "the last");
    to_lane(TBQ_LANE_LOW);
    ck_assert_int_eq(w.end[B].errors, 0);
    elsewhere(65536);
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B error 3: a number too far above the lowest not taken\n");
}
END_TEST

/* Which its sender knows, also when it writes many at once. */
START_TEST(what_is_sent_stays_within_the_window)
{
    struct tbi_link_stats stats;

    world_cut(&w);
    tbi_link_free(w.end[A].link);
    w.outbox_messages = 70000;
    w.end[A].link = world_link(&w, A);
    world_connect(&w);
    for (uint64_t i = 0; i < 65536 + 5; i++) {
        w.room = i < 5 ? SIZE_MAX : 0; /* a few alone, so that the others end where they may */
        ck_assert_int_eq(world_send(&w, A, TBQ_LANE_LOW, i, "m"), 0);
    }
    w.room = SIZE_MAX;
    tbi_link_tick(w.end[A].link, w.now);
    tbi_link_stats(w.end[A].link, &stats);
    ck_assert_uint_eq(stats.sent, 65536);
}
END_TEST

START_TEST(a_duplicate_has_no_effect_but_one_ack)
{
    struct tbi_link_stream *s = tbi_link_stream_new(w.end[B].path, TBQ_LANE_LOW, true, 0);

    message(0, 0, TRANSITION, "a");
    to_lane(TBQ_LANE_LOW);
    w.end[A].stream[0] = (struct world_stream){.open = true};
    message(0, 0, TRANSITION, "a");
    tbi_link_stream_data(s, w.now, frame, tbi_put_size(&out), true);
    world_drain(&w, B);
    world_expect(&w, "B gets 3/0 a\n");
    ck_assert(!w.end[A].stream[0].open); /* the stream's credit is given back */
    tbi_link_stream_free(s);
}
END_TEST

START_TEST(a_message_too_large_is_discarded_as_it_comes)
{
    static const char chunk[1000];
    struct tbi_link_stats stats;
    const struct tbi_message m = {.number = 0, .kind = TRANSITION};
    const size_t large = 50 * sizeof chunk;

    tbi_put_message_head(&out, &m, large);
    for (size_t i = 0; i < 50; i++) {
        tbi_put_bytes(&out, chunk, sizeof chunk);
        to_lane(TBQ_LANE_LOW);
        ck_assert_uint_eq(w.end[A].passed[3], w.end[A].consumed[3]);
    }
    message(1, 0, TRANSITION, "the connection lives");
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B gets 3/1 the connection lives\n");
    tbi_link_stats(w.end[B].link, &stats);
    ck_assert_uint_eq(stats.declined, 1);
    ck_assert_mem_eq(w.end[B].control.data, "\x08\x04\x03\x01\x00\x01", 6);
}
END_TEST

START_TEST(a_length_is_a_claim_and_memory_follows_the_bytes)
{
    const struct tbi_message m = {.number = 0, .kind = TRANSITION};

    tbi_put_message_head(&out, &m, TBI_MESSAGE_SIZE_MAX);
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "");
    ck_assert_int_eq(w.end[B].errors, 0);
    /* a frame longer than any may be */
    tbi_put_varint(&out, TBI_FRAME_MESSAGE);
    tbi_put_varint(&out, TBI_FRAME_LENGTH_MAX + 1);
    to_lane(TBQ_LANE_HIGH);
    world_expect(&w, "B error 3: a frame longer than any may be\n");
}
END_TEST

static void claim(tbq_lane lane, size_t size)
{
    const struct tbi_message m = {.number = 0, .kind = TRANSITION};

    tbi_put_message_head(&out, &m, size);
    to_lane(lane);
}

/* A link of B's that takes large messages. */
static const struct tbi_link *takes_large_ones(void)
{
    world_free(&w);
    world_init(&w, 1);
    tbi_link_free(w.end[B].link);
    w.end[B].max_message_size = 4 * (uint64_t)TBI_LINK_CLAIMS_MAX;
    w.end[B].link = world_link(&w, B);
    world_connect(&w);
    return w.end[B].link;
}

START_TEST(one_large_message_at_a_time_is_believed)
{
    const struct tbi_link *link = takes_large_ones();

    claim(TBQ_LANE_CRITICAL, 2 * (size_t)TBI_LINK_CLAIMS_MAX); /* too large to be */
    ck_assert_uint_eq(link->claimed, 0);
    claim(TBQ_LANE_HIGH, 2 * (size_t)TBI_LINK_FIRST_BLOCK);
    ck_assert_uint_eq(link->claimed, 2 * (size_t)TBI_LINK_FIRST_BLOCK);
    claim(TBQ_LANE_NORMAL, TBI_LINK_CLAIMS_MAX); /* one too many */
    claim(TBQ_LANE_LOW, 100);
    ck_assert_uint_eq(link->claimed, 2 * (size_t)TBI_LINK_FIRST_BLOCK);
    for (size_t i = 0; i < 2; i++) { /* whole */
        static const uint8_t bytes[TBI_LINK_FIRST_BLOCK];
        tbi_put_bytes(&out, bytes, sizeof bytes);
        to_lane(TBQ_LANE_HIGH);
    }
    ck_assert_uint_eq(w.end[B].held_len, 1);
    ck_assert_uint_eq(w.end[B].held[0]->body->capacity, 2 * (size_t)TBI_LINK_FIRST_BLOCK);
    ck_assert_uint_eq(link->claimed, 0);
    struct tbi_link_stream *s = tbi_link_stream_new(w.end[B].path, TBQ_LANE_LOW, true, 0);
    const struct tbi_message m = {.number = 1, .kind = TRANSITION};
    w.end[A].stream[0] = (struct world_stream){.open = true};
    tbi_put_message_head(&out, &m, TBI_LINK_CLAIMS_MAX);
    tbi_link_stream_data(s, w.now, frame, tbi_put_size(&out), false);
    ck_assert_uint_eq(link->claimed, TBI_LINK_CLAIMS_MAX);
    tbi_link_stream_free(s);
    ck_assert_uint_eq(link->claimed, 0);
}
END_TEST

/* Whatever ends a half message: what was believed of it may be claimed again. */
START_TEST(what_is_cut_off_claims_nothing)
{
    const struct tbi_link *link = takes_large_ones();
    const struct tbi_message m = {.number = 1, .kind = TRANSITION};

    claim(TBQ_LANE_HIGH, 2 * (size_t)TBI_LINK_FIRST_BLOCK);
    struct tbi_link_stream *s = tbi_link_stream_new(w.end[B].path, TBQ_LANE_LOW, true, 0);
    tbi_put_message_head(&out, &m, 2 * (size_t)TBI_LINK_FIRST_BLOCK);
    tbi_link_stream_data(s, w.now, frame, tbi_put_size(&out), false);
    ck_assert_uint_eq(link->claimed, 4 * (size_t)TBI_LINK_FIRST_BLOCK);
    world_cut(&w);
    ck_assert_uint_eq(link->claimed, 0);
    tbi_link_stream_free(s);
    ck_assert_uint_eq(link->claimed, 0);
}
END_TEST

START_TEST(an_unknown_kind_is_declined_unless_it_may_be_skipped)
{
    struct tbi_link_stats stats;

    message(0, 0, 4711, "unknown");
    message(1, TBI_MESSAGE_SKIPPABLE, 4711, "unknown");
    message(2, TBI_MESSAGE_SKIPPABLE, TRANSITION, "known");
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B gets 3/2 known\n");
    tbi_link_stats(w.end[B].link, &stats);
    ck_assert_uint_eq(stats.declined, 1);
    ck_assert_mem_eq(w.end[B].control.data, "\x08\x04\x03\x01\x00\x02", 6);
}
END_TEST

START_TEST(an_unknown_flag_must_be_understood)
{
    tbi_put_varint(&out, TBI_FRAME_MESSAGE);
    tbi_put_prefixed(&out, "\x00\x04\x06x", 4);
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B error 4: unknown flag of a message\n");
}
END_TEST

START_TEST(an_odd_frame_is_skipped_and_an_even_one_is_not)
{
    tbi_put_varint(&out, 0x4001);
    tbi_put_prefixed(&out, "whatever", 8);
    message(0, 0, TRANSITION, "after it");
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B gets 3/0 after it\n");
    tbi_put_varint(&out, 0x4000);
    tbi_put_prefixed(&out, "whatever", 8);
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B error 4: unknown frame that must be understood\n");
}
END_TEST

START_TEST(frames_out_of_place_and_out_of_shape)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *story;
    } row[] = {
        {"\x04\x05\x00\x01\x00\x01\x00", 7, "B error 2: a control frame on another stream\n"},
        {"\x20\x00", 2, "B error 2: a message ends within its head\n"},
        {"\x20\x02\x00\x00", 4, "B error 2: a message ends within its head\n"},
        {"\x22\x00", 2, "B error 2: malformed or misplaced ELSEWHERE\n"},
        {"\x22\x02\x01\x01", 4, "B error 2: malformed ELSEWHERE\n"},
    };

    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        world_cut(&w);
        world_connect(&w);
        tbi_put_bytes(&out, row[i].bytes, row[i].size);
        to_lane(TBQ_LANE_LOW);
        world_expect(&w, row[i].story);
    }
}
END_TEST

static void on_stream(const void *data, size_t size, bool fin, const char *story)
{
    struct tbi_link_stream *s;

    world_cut(&w);
    world_connect(&w);
    s = tbi_link_stream_new(w.end[B].path, TBQ_LANE_LOW, true, 0);
    ck_assert_ptr_nonnull(s);
    w.end[A].stream[0] = (struct world_stream){.open = true};
    tbi_link_stream_data(s, w.now, data, size, fin);
    world_drain(&w, B);
    tbi_link_stream_free(s);
    world_expect(&w, story);
}

START_TEST(an_unordered_stream_holds_one_message)
{
    on_stream("\x22\x01\x01", 3, false, "B error 2: malformed or misplaced ELSEWHERE\n");
    on_stream("\x20\x04\x00\x00\x06", 5, true,
              "B error 2: a message's own stream ends within the message\n");
    on_stream("\x41\x01\x00", 3, false,
              "B error 2: a message's own stream holds one message and no more\n");
    on_stream("\x20\x03\x00\x00\x06\x20", 6, false,
              "B error 2: a message's own stream holds one message and no more\nB gets 3/0 \n");
    on_stream("\x20\x04\x01\x00\x06x", 6, true, "B gets 3/1 x\n");
}
END_TEST

START_TEST(half_a_stream_that_is_reset_is_forgotten)
{
    struct tbi_link_stream *s = tbi_link_stream_new(w.end[B].path, TBQ_LANE_LOW, true, 0);

    w.end[A].stream[0] = (struct world_stream){.open = true};
    tbi_link_stream_data(s, w.now, (const uint8_t *)"\x20\x09\x00\x00\x06half", 9, false);
    tbi_link_stream_free(s);
    ck_assert(!w.end[A].stream[0].open);
    s = tbi_link_stream_new(w.end[B].path, TBQ_LANE_LOW, true, 1);
    world_cut(&w); /* the handle is still the owner's */
    tbi_link_stream_data(s, w.now, (const uint8_t *)"\x20", 1, true);
    tbi_link_stream_free(s);
    world_expect(&w, "");
}
END_TEST

/* --- Control frames ------------------------------------------------------------------------- */

START_TEST(answers_about_numbers_that_were_never_used)
{
    const struct tbi_ack ack = {.lane = TBQ_LANE_LOW, .received = {.below = 2}};
    const struct tbi_ack ranges = {.lane = TBQ_LANE_LOW,
                                   .taken = {.ranges_len = 1, .ranges = {{1, 1}}}};
    const struct tbi_declined declined = {.lane = TBQ_LANE_LOW, .len = 1, .entry = {{1, 4}}};

    world_send(&w, B, TBQ_LANE_LOW, 9, "number 0");
    tbi_put_ack(&out, &ack);
    to_control(TBI_FRAME_ACK);
    world_expect(&w, "B error 2: ACK of a number that was never used\n");
    world_cut(&w);
    world_connect(&w);
    tbi_put_ack(&out, &ranges);
    to_control(TBI_FRAME_ACK);
    world_expect(&w, "B error 2: ACK of a number that was never used\n");
    world_cut(&w);
    world_connect(&w);
    tbi_put_declined(&out, &declined);
    to_control(TBI_FRAME_DECLINED);
    world_expect(&w, "B error 2: DECLINED for a number that was never used\n");
}
END_TEST

START_TEST(taken_says_received_too_and_a_fate_stands)
{
    struct tbi_ack ack = {.lane = TBQ_LANE_LOW, .taken = {.below = 1}};
    const struct tbi_declined declined = {.lane = TBQ_LANE_LOW, .len = 1, .entry = {{0, 4}}};

    world_send(&w, B, TBQ_LANE_LOW, 9, "number 0");
    tbi_put_ack(&out, &ack);
    to_control(TBI_FRAME_ACK);
    world_expect(&w, "B 9 delivered\n");
    tbi_put_declined(&out, &declined); /* too late */
    to_control(TBI_FRAME_DECLINED);
    world_expect(&w, "");
}
END_TEST

START_TEST(control_frames_that_are_none)
{
    static const struct {
        uint64_t type;
        const char *body;
        const char *story;
    } row[] = {{TBI_FRAME_HELLO, "", "B error 2: malformed or misplaced control frame\n"},
               {TBI_FRAME_MESSAGE, "", "B error 2: malformed or misplaced control frame\n"},
               {TBI_FRAME_ACK, "\x07", "B error 2: malformed or misplaced control frame\n"},
               {TBI_FRAME_SKIP, "", "B error 2: malformed or misplaced control frame\n"},
               {TBI_FRAME_SETTLED, "", "B error 2: malformed or misplaced control frame\n"},
               {0x42, "", "B error 4: unknown control frame or field\n"},
               {0x43, "", ""}};

    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct tbi_cursor body;
        world_cut(&w);
        world_connect(&w);
        tbi_cur_init(&body, row[i].body, strlen(row[i].body));
        tbi_link_control(w.end[B].path, w.now, row[i].type, body);
        world_drain(&w, B);
        world_expect(&w, row[i].story);
    }
}
END_TEST

START_TEST(skip_beyond_the_window_and_skip_again)
{
    struct tbi_numbers skip = {.lane = TBQ_LANE_LOW, .len = 2, .number = {0, 5}};

    for (int i = 0; i < 2; i++) { /* the second one is answered again */
        w.end[B].control.size = 0;
        tbi_put_numbers(&out, &skip);
        to_control(TBI_FRAME_SKIP);
        ck_assert_mem_eq(w.end[B].control.data, "\x08\x06\x03\x02\x00\x00\x05\x00", 8);
    }
    message(0, 0, TRANSITION, "still comes");
    message(1, 0, TRANSITION, "goes on");
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B gets 3/1 goes on\n");
    skip = (struct tbi_numbers){.lane = TBQ_LANE_LOW, .len = 1, .number = {65537}};
    tbi_put_numbers(&out, &skip);
    to_control(TBI_FRAME_SKIP);
    world_expect(&w, "B error 3: a number too far above the lowest not taken\n");
}
END_TEST

START_TEST(who_asks_again_gets_no_more_than_it_asks_for)
{
    const struct tbi_numbers skip = {.lane = TBQ_LANE_LOW, .len = 1, .number = {5}};

    struct tbi_numbers all = {.lane = TBQ_LANE_LOW, .len = TBI_NUMBERS_MAX};

    w.room = SIZE_MAX;
    for (uint64_t n = 0; n < 20 * TBI_NUMBERS_MAX; n += TBI_NUMBERS_MAX) {
        for (size_t i = 0; i < TBI_NUMBERS_MAX; i++) {
            all.number[i] = n + i;
        }
        tbi_put_numbers(&out, &all);
        to_control(TBI_FRAME_SKIP); /* declined, and told */
    }
    w.end[B].control.size = 0;
    tbi_put_numbers(&out, &skip);
    to_control(TBI_FRAME_SKIP);
    ck_assert_mem_eq(w.end[B].control.data, "\x08\x04\x03\x01\x05\x00\x04", 7); /* then ACK */
    ck_assert_uint_le(w.end[B].control.size, 32);
}
END_TEST

START_TEST(skip_drops_what_is_half_there)
{
    const struct tbi_numbers skip = {.lane = TBQ_LANE_LOW, .len = 1, .number = {0}};

    tbi_put_bytes(&out,
                  "\x20\x08\x00\x00\x06"
                  "ab",
                  7);
    to_lane(TBQ_LANE_LOW);
    tbi_put_numbers(&out, &skip);
    to_control(TBI_FRAME_SKIP);
    ck_assert_uint_eq(w.end[A].passed[3], w.end[A].consumed[3]);
    tbi_put_bytes(&out, "cde", 3);
    message(1, 0, TRANSITION, "next");
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B gets 3/1 next\n");
}
END_TEST

START_TEST(settled_moves_the_window_and_forgets_declines)
{
    struct tbi_settled settled = {.lane = TBQ_LANE_LOW, .below = 1000000};

    message(5, 0, TRANSITION, "after a gap");
    to_lane(TBQ_LANE_LOW);
    tbi_put_settled(&out, &settled);
    to_control(TBI_FRAME_SETTLED);
    settled.below = 3; /* it never falls */
    tbi_put_settled(&out, &settled);
    to_control(TBI_FRAME_SETTLED);
    message(1000000, 0, TRANSITION, "goes on");
    to_lane(TBQ_LANE_LOW);
    world_expect(&w, "B gets 3/5 after a gap\nB gets 3/1000000 goes on\n");
    world_refuse(&w, B, 0, TBI_DECLINE_REFUSED); /* its sender does not wait for that any more */
    world_take_all(&w, B);
    w.now.mono_ns += TBI_LINK_ACK_DELAY_NS;
    w.end[B].control.size = 0;
    tbi_link_tick(w.end[B].link, w.now);
    ck_assert_mem_eq(w.end[B].control.data, "\x04\x0b\x03\x80\x0f\x42\x41\x00\x80", 9);
}
END_TEST

START_TEST(many_ranges_take_several_frames)
{
    w.end[B].held_len = 0;
    for (uint64_t i = 0; i < 100; i++) {
        message(i, 0, TRANSITION, "m");
    }
    w.keep_story = false;
    to_lane(TBQ_LANE_LOW);
    w.room = SIZE_MAX;
    w.now.mono_ns += TBI_LINK_ACK_DELAY_NS;
    tbi_link_tick(w.end[B].link, w.now);
    w.end[B].control.size = 0;
    for (size_t i = 100; i > 0; i -= 2) { /* 50 ranges of one */
        world_take(&w, B, i - 1);
    }
    w.now.mono_ns += TBI_LINK_ACK_DELAY_NS;
    tbi_link_tick(w.end[B].link, w.now);
    struct tbi_frame_reader reader;
    struct tbi_cursor c;
    const uint8_t *body;
    size_t size, frames = 0, ranges = 0;
    bool complete;
    tbi_frame_reader_init(&reader);
    tbi_cur_init(&c, w.end[B].control.data, w.end[B].control.size);
    for (;;) {
        struct tbi_ack ack;
        struct tbi_cursor one;
        enum tbi_frame_step step = tbi_frame_step(&reader, &c, &body, &size, &complete);
        if (step == TBI_STEP_NEED_MORE) {
            break;
        }
        if (step == TBI_STEP_BODY) {
            tbi_cur_init(&one, body, size);
            ck_assert_int_eq(tbi_get_ack(one, &ack), 0);
            ck_assert_uint_eq(ack.received.below, 100);
            frames++;
            ranges += ack.taken.ranges_len;
        }
    }
    ck_assert_uint_eq(frames, 1 + 2); /* the first one is told at once */
    ck_assert_uint_eq(ranges, 50);
}
END_TEST

#define FRAME_MOST (2 * 32 * 4 + 32) /* bytes of an ACK in these tests */

/* The numbers that B's ACKs for the lowest lane, since the last call, tell as taken: how many
 * frames that took. */
static size_t hear_acks(bool *taken, size_t numbers)
{
    struct world_bytes *from = &w.end[B].control;
    struct tbi_frame_reader reader;
    struct tbi_cursor c, one;
    const uint8_t *body;
    size_t size, frames = 0;
    bool complete;
    enum tbi_frame_step step;

    tbi_frame_reader_init(&reader);
    tbi_cur_init(&c, from->data, from->size);
    while ((step = tbi_frame_step(&reader, &c, &body, &size, &complete)) != TBI_STEP_NEED_MORE) {
        struct tbi_ack ack;
        tbi_cur_init(&one, body, size);
        if (step != TBI_STEP_BODY || reader.type != TBI_FRAME_ACK || tbi_get_ack(one, &ack) < 0) {
            continue;
        }
        frames++;
        for (uint64_t n = 0; n < ack.taken.below && n < numbers; n++) {
            taken[n] = true;
        }
        for (size_t i = 0; i < ack.taken.ranges_len; i++) {
            const struct tbi_number_range *r = &ack.taken.ranges[i];
            for (uint64_t n = r->from; n < r->from + r->count; n++) {
                taken[n] = true;
            }
        }
    }
    from->size = 0;
    return frames;
}

static void skip_one(tbq_lane lane, uint64_t number)
{
    const struct tbi_numbers f = {.lane = lane, .number = {number}, .len = 1};
    tbi_put_numbers(&out, &f);
    to_control(TBI_FRAME_SKIP);
}

/* Every second number of 2 * ranges is taken: as many ranges. */
static void take_every_second(size_t ranges)
{
    w.keep_story = false;
    for (uint64_t n = 1; n < 2 * ranges; n += 2) {
        message(n, TBI_MESSAGE_SKIPPABLE, 4242, "");
        to_lane(TBQ_LANE_LOW);
    }
}

/* Little of it fits into the control stream at a time; and while it is told, a number changes that
 * was told already. */
START_TEST(a_large_set_is_told_as_there_is_room)
{
    static bool taken[8000];
    size_t frames = 0, rounds = 0, some;

    w.room = 0;
    take_every_second(4000);
    w.room = 1024;
    do {
        tbi_link_tick(w.end[B].link, w.now);
        ck_assert_uint_lt(w.end[B].control.size, w.room + FRAME_MOST);
        some = hear_acks(taken, 8000);
        frames += some;
        if (++rounds == 4) {
            ck_assert(taken[19] && !taken[7999]);
            message(20, TBI_MESSAGE_SKIPPABLE, 4242, "");
            to_lane(TBQ_LANE_LOW);
        }
    } while (some > 0);
    for (uint64_t n = 0; n < 8000; n++) {
        ck_assert_msg(taken[n] == (n % 2 == 1 || n == 20), "number %u", (unsigned)n);
    }
    ck_assert_uint_gt(rounds, 5);
    ck_assert_uint_le(frames, 2 * 4000 / TBI_ACK_RANGES_MAX + 2);
}
END_TEST

/* Of a large set that was told, what has changed is told; and what a few bytes that come again
 * bring about is little. */
START_TEST(a_large_set_is_not_told_for_a_few_bytes)
{
    static bool taken[8000];

    w.room = SIZE_MAX;
    take_every_second(4000);
    w.now.mono_ns += TBI_LINK_ACK_DELAY_NS;
    tbi_link_tick(w.end[B].link, w.now);
    w.end[B].control.size = 0;
    message(5000, TBI_MESSAGE_SKIPPABLE, 4242, "");
    to_lane(TBQ_LANE_LOW);
    w.now.mono_ns += TBI_LINK_ACK_DELAY_NS;
    tbi_link_tick(w.end[B].link, w.now);
    ck_assert_uint_lt(w.end[B].control.size, 32);
    ck_assert_uint_eq(hear_acks(taken, 8000), 1);
    ck_assert(taken[5000]);
    for (uint64_t i = 0; i < 100 * TBI_LINK_ACK_MESSAGES; i++) {
        message(1 + 2 * i, 0, TRANSITION, ""); /* it has them */
        to_lane(TBQ_LANE_LOW);
    }
    ck_assert_uint_eq(hear_acks(taken, 8000), 100);
    skip_one(TBQ_LANE_LOW, 1);
    ck_assert_uint_eq(hear_acks(taken, 8000), 1);
}
END_TEST

/* Every second number is unordered, and the others are given up: what is known of numbers that
 * nobody waits for takes no room. */
START_TEST(unordered_numbers_that_are_done_are_forgotten)
{
    for (uint64_t n = 0; n < 33000 / tbi_test_shallow(); n++) {
        elsewhere(2 * n);
        to_lane(TBQ_LANE_LOW);
        skip_one(TBQ_LANE_LOW, 2 * n);
        skip_one(TBQ_LANE_LOW, 2 * n + 1);
        const struct tbi_settled f = {.lane = TBQ_LANE_LOW, .below = 2 * n};
        tbi_put_settled(&out, &f);
        to_control(TBI_FRAME_SETTLED);
    }
    ck_assert_int_eq(w.end[B].errors, 0);
    ck_assert_uint_eq(w.end[B].link->rx[TBQ_LANE_LOW].elsewhere.count, 0);
}
END_TEST

/* Thousands of numbers that are not waited for, a message behind it, and one frame after the
 * other that changes nothing: with all of them walked through for each, this would take very long.
 */
START_TEST(frames_that_change_nothing_cost_little)
{
    w.keep_story = false;
    w.room = SIZE_MAX; /* one ACK has a thousand frames here */
    for (uint64_t n = 0; n < 16384; n += 2) {
        elsewhere(n);
        message(n + 1, TBI_MESSAGE_SKIPPABLE, 4242, "");
        to_lane(TBQ_LANE_LOW);
        w.end[B].control.size = 0;
    }
    message(65535, 0, TRANSITION, "early");
    to_lane(TBQ_LANE_LOW);
    for (unsigned i = 0; i < 600000 / tbi_test_shallow(); i++) {
        elsewhere(0);
        to_lane(TBQ_LANE_LOW);
    }
    ck_assert_int_eq(w.end[B].errors, 0);
    ck_assert_uint_eq(w.end[B].link->rx[TBQ_LANE_LOW].waited_for, 16384);
}
END_TEST

/* A window full of messages that wait for the first one, the last one first. */
START_TEST(a_window_backwards_is_no_burden)
{
    w.keep_story = false;
    w.room = SIZE_MAX;
    for (uint64_t n = 65535 / tbi_test_shallow(); n > 0; n--) {
        message(n, 0, TRANSITION, "");
        to_lane(TBQ_LANE_LOW);
        w.end[B].control.size = 0;
    }
    ck_assert_int_eq(w.end[B].errors, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("link/hostile");
    TCase *t = tcase_create("peers");

    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, numbers_come_in_any_order_and_are_handed_over_in_theirs);
    tcase_add_test(t, what_is_missing_is_waited_for_at_the_expense_of_its_sender);
    tcase_add_test(t, the_window_of_numbers_ends_at_65535);
    tcase_add_test(t, what_is_sent_stays_within_the_window);
    tcase_add_test(t, a_duplicate_has_no_effect_but_one_ack);
    tcase_add_test(t, a_message_too_large_is_discarded_as_it_comes);
    tcase_add_test(t, a_length_is_a_claim_and_memory_follows_the_bytes);
    tcase_add_test(t, one_large_message_at_a_time_is_believed);
    tcase_add_test(t, what_is_cut_off_claims_nothing);
    tcase_add_test(t, an_unknown_kind_is_declined_unless_it_may_be_skipped);
    tcase_add_test(t, an_unknown_flag_must_be_understood);
    tcase_add_test(t, an_odd_frame_is_skipped_and_an_even_one_is_not);
    tcase_add_test(t, frames_out_of_place_and_out_of_shape);
    tcase_add_test(t, an_unordered_stream_holds_one_message);
    tcase_add_test(t, half_a_stream_that_is_reset_is_forgotten);
    tcase_add_test(t, answers_about_numbers_that_were_never_used);
    tcase_add_test(t, taken_says_received_too_and_a_fate_stands);
    tcase_add_test(t, control_frames_that_are_none);
    tcase_add_test(t, skip_beyond_the_window_and_skip_again);
    tcase_add_test(t, skip_drops_what_is_half_there);
    tcase_add_test(t, who_asks_again_gets_no_more_than_it_asks_for);
    tcase_add_test(t, settled_moves_the_window_and_forgets_declines);
    tcase_add_test(t, many_ranges_take_several_frames);
    tcase_add_test(t, a_large_set_is_told_as_there_is_room);
    tcase_add_test(t, a_large_set_is_not_told_for_a_few_bytes);
    tcase_add_test(t, unordered_numbers_that_are_done_are_forgotten);
    tcase_add_test(t, frames_that_change_nothing_cost_little);
    tcase_add_test(t, a_window_backwards_is_no_burden);
    tcase_set_timeout(t, 120);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
