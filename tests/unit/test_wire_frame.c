/* tests/unit/test_wire_frame.c - frames: what is written comes back, what is cut or bent does not.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "wire/frame.h"
#include "wire/record.h"

#define FRAME_MAX (TBI_CONTROL_FRAME_MAX + TBI_FRAME_HEAD_MAX)

static uint8_t bytes[FRAME_MAX];

/* The body of the one frame that the writer holds, after its head was checked. */
static struct tbi_cursor body_of(const struct tbi_writer *w, uint64_t type)
{
    struct tbi_cursor c;
    struct tbi_cursor body;

    ck_assert_int_eq(tbi_put_error(w), 0);
    tbi_cur_init(&c, w->begin, tbi_put_size(w));
    ck_assert_uint_eq(tbi_cur_varint(&c), type);
    body = tbi_cur_prefixed(&c, FRAME_MAX);
    ck_assert_int_eq(tbi_cur_finish(&c), 0);
    return body;
}

static struct tbi_writer *fresh(void)
{
    static struct tbi_writer w;

    tbi_put_init(&w, bytes, sizeof bytes);
    return &w;
}

/* A decoder for any frame, so that one loop can cut them all. */
typedef int decode_fn(struct tbi_cursor body, void *f);
#define DECODE(name)                                                                               \
    static int decode_##name(struct tbi_cursor body, void *f)                                      \
    {                                                                                              \
        return tbi_get_##name(body, (struct tbi_##name *)f);                                       \
    }
DECODE(hello)
DECODE(confirm)
DECODE(ack)
DECODE(numbers)
DECODE(declined)
DECODE(settled)
DECODE(elsewhere)
DECODE(busy)
DECODE(rest)

/* Every shorter body is refused, and so is one with a byte more. */
static void refuse_other_sizes(struct tbi_cursor body, decode_fn *decode, void *f)
{
    size_t size = tbi_cur_left(&body);
    uint8_t longer[FRAME_MAX];
    struct tbi_cursor c;

    memcpy(longer, body.at, size);
    longer[size] = 0;
    ck_assert_int_eq(decode(body, f), 0);
    for (size_t cut = 0; cut < size; cut++) {
        tbi_cur_init(&c, longer, cut);
        ck_assert_msg(decode(c, f) == TBQ_ERR_MALFORMED, "%zu of %zu bytes were taken", cut, size);
    }
    tbi_cur_init(&c, longer, size + 1);
    ck_assert_int_eq(decode(c, f), TBQ_ERR_MALFORMED);
}

static const struct tbi_hello a_hello = {
    .features = 5, .boot_id = {1, 2, 3}, .max_message_size = 1 << 20, .idle_timeout_ms = 60000};

START_TEST(hello_comes_back)
{
    struct tbi_writer *w = fresh();
    struct tbi_hello got;
    struct tbi_cursor body;

    tbi_put_hello(w, &a_hello);
    body = body_of(w, TBI_FRAME_HELLO);
    refuse_other_sizes(body, decode_hello, &got);
    ck_assert_int_eq(tbi_get_hello(body, &got), 0);
    ck_assert_uint_eq(got.minor, 0);
    ck_assert_uint_eq(got.features, 5);
    ck_assert_mem_eq(got.boot_id, a_hello.boot_id, sizeof got.boot_id);
    ck_assert_uint_eq(got.max_message_size, 1 << 20);
    ck_assert_uint_eq(got.idle_timeout_ms, 60000);
}
END_TEST

START_TEST(hello_sizes_are_brought_into_range)
{
    const struct {
        uint64_t size, idle, size_read, idle_read;
    } cases[] = {
        {0, 0, TBI_MESSAGE_SIZE_MIN, 0},
        {1, 1, TBI_MESSAGE_SIZE_MIN, TBI_IDLE_TIMEOUT_MIN_MS},
        {TBI_VARINT_MAX, TBI_VARINT_MAX, TBI_MESSAGE_SIZE_MAX, TBI_IDLE_TIMEOUT_MAX_MS},
        {4096, 2000, 4096, 2000},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tbi_writer *w = fresh();
        struct tbi_hello f = a_hello, got;
        f.max_message_size = cases[i].size;
        f.idle_timeout_ms = cases[i].idle;
        tbi_put_hello(w, &f);
        ck_assert_int_eq(tbi_get_hello(body_of(w, TBI_FRAME_HELLO), &got), 0);
        ck_assert_uint_eq(got.max_message_size, cases[i].size_read);
        ck_assert_uint_eq(got.idle_timeout_ms, cases[i].idle_read);
    }
}
END_TEST

START_TEST(frames_that_do_not_fit_write_nothing_past_the_end)
{
    size_t whole;
    struct tbi_writer *w = fresh();

    tbi_put_hello(w, &a_hello);
    whole = tbi_put_size(w);
    for (size_t room = 0; room < whole; room++) {
        struct tbi_writer small;
        memset(bytes, 0xee, sizeof bytes);
        tbi_put_init(&small, bytes, room);
        tbi_put_hello(&small, &a_hello);
        ck_assert_int_eq(tbi_put_error(&small), TBQ_ERR_TOO_LARGE);
        for (size_t i = room; i < whole; i++) {
            ck_assert_uint_eq(bytes[i], 0xee);
        }
    }
}
END_TEST

START_TEST(confirm_comes_back)
{
    static const uint8_t record[] = {9, 8, 7};
    struct tbi_confirm f = {.incarnation = UINT64_MAX,
                            .known = 77,
                            .base = {0, 63, 64, TBI_VARINT_MAX},
                            .record = record,
                            .record_size = sizeof record};
    struct tbi_writer *w = fresh();
    struct tbi_confirm got;
    struct tbi_cursor body;

    ck_assert_int_eq(tbi_addr_from_text(&f.observed, "[2001:db8::1]:8443"), 0);
    tbi_put_confirm(w, &f);
    body = body_of(w, TBI_FRAME_CONFIRM);
    refuse_other_sizes(body, decode_confirm, &got);
    ck_assert_int_eq(tbi_get_confirm(body, &got), 0);
    ck_assert_uint_eq(got.incarnation, UINT64_MAX);
    ck_assert_uint_eq(got.known, 77);
    ck_assert_mem_eq(got.base, f.base, sizeof f.base);
    ck_assert(tbi_addr_equal(&got.observed, &f.observed));
    ck_assert_uint_eq(got.record_size, sizeof record);
    ck_assert_mem_eq(got.record, record, sizeof record);
}
END_TEST

START_TEST(confirm_without_the_optional_parts)
{
    const struct tbi_confirm f = {.incarnation = 1};
    struct tbi_writer *w = fresh();
    struct tbi_confirm got;

    tbi_put_confirm(w, &f);
    ck_assert_int_eq(tbi_get_confirm(body_of(w, TBI_FRAME_CONFIRM), &got), 0);
    ck_assert_uint_eq(got.observed.len, 0);
    ck_assert_ptr_null(got.record);
    ck_assert_uint_eq(got.known, 0);
}
END_TEST

START_TEST(ack_sets_come_back)
{
    struct tbi_ack f = {.lane = TBQ_LANE_LOW,
                        .received = {.below = 5, .ranges_len = TBI_ACK_RANGES_MAX},
                        .taken = {.below = TBI_VARINT_MAX}};
    struct tbi_writer *w = fresh();
    struct tbi_ack got;
    struct tbi_cursor body;

    for (uint64_t i = 0; i < TBI_ACK_RANGES_MAX; i++) {
        f.received.ranges[i] = (struct tbi_number_range){.from = 6 + 1000 * i, .count = 1 + i};
    }
    /* up to the very last number */
    f.received.ranges[TBI_ACK_RANGES_MAX - 1].count =
        TBI_VARINT_MAX - f.received.ranges[TBI_ACK_RANGES_MAX - 1].from;
    tbi_put_ack(w, &f);
    body = body_of(w, TBI_FRAME_ACK);
    refuse_other_sizes(body, decode_ack, &got);
    ck_assert_int_eq(tbi_get_ack(body, &got), 0);
    ck_assert_int_eq(got.lane, TBQ_LANE_LOW);
    ck_assert_uint_eq(got.received.below, 5);
    ck_assert_uint_eq(got.received.ranges_len, TBI_ACK_RANGES_MAX);
    ck_assert_mem_eq(got.received.ranges, f.received.ranges, sizeof f.received.ranges);
    ck_assert_uint_eq(got.taken.below, TBI_VARINT_MAX);
    ck_assert_uint_eq(got.taken.ranges_len, 0);
}
END_TEST

START_TEST(ack_sets_that_do_not_rise_are_not_written)
{
    const struct tbi_ack_set bad[] = {
        {.below = 5, .ranges_len = 1, .ranges = {{5, 1}}},         /* touches */
        {.below = 5, .ranges_len = 1, .ranges = {{3, 1}}},         /* lies inside */
        {.below = 5, .ranges_len = 1, .ranges = {{7, 0}}},         /* is empty */
        {.below = 5, .ranges_len = 2, .ranges = {{7, 2}, {9, 1}}}, /* touches the one before */
        {.below = 5, .ranges_len = 1, .ranges = {{7, UINT64_MAX}}},
        {.below = TBI_VARINT_MAX + 1},
        {.below = TBI_VARINT_MAX, .ranges_len = 1, .ranges = {{TBI_VARINT_MAX, 1}}},
        {.below = 5, .ranges_len = TBI_ACK_RANGES_MAX + 1},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tbi_writer *w = fresh();
        struct tbi_ack f = {.received = bad[i]};
        tbi_put_ack(w, &f);
        ck_assert_msg(tbi_put_error(w) == TBQ_ERR_INTERNAL, "set %zu was written", i);
        ck_assert_uint_eq(tbi_put_size(w), 0);
    }
}
END_TEST

START_TEST(numbers_come_back)
{
    struct tbi_numbers f = {.lane = TBQ_LANE_HIGH, .len = TBI_NUMBERS_MAX};
    struct tbi_writer *w = fresh();
    struct tbi_numbers got;
    struct tbi_cursor body;

    for (uint64_t i = 0; i < TBI_NUMBERS_MAX; i++) {
        f.number[i] = i * i * i;
    }
    f.number[TBI_NUMBERS_MAX - 1] = TBI_NUMBER_MAX;
    tbi_put_numbers(w, &f);
    body = body_of(w, TBI_FRAME_SKIP);
    refuse_other_sizes(body, decode_numbers, &got);
    ck_assert_int_eq(tbi_get_numbers(body, &got), 0);
    ck_assert_uint_eq(got.len, TBI_NUMBERS_MAX);
    ck_assert_mem_eq(got.number, f.number, sizeof f.number);
}
END_TEST

START_TEST(declined_entries_come_back)
{
    struct tbi_declined f = {.lane = TBQ_LANE_CRITICAL, .len = TBI_DECLINED_MAX};
    struct tbi_writer *w = fresh();
    struct tbi_declined got;
    struct tbi_cursor body;

    for (uint64_t i = 0; i < TBI_DECLINED_MAX; i++) {
        f.entry[i] = (struct tbi_declined_entry){.number = 3 + 100 * i, .code = i};
    }
    f.entry[0].code = TBI_VARINT_MAX; /* unknown, and kept */
    tbi_put_declined(w, &f);
    body = body_of(w, TBI_FRAME_DECLINED);
    refuse_other_sizes(body, decode_declined, &got);
    ck_assert_int_eq(tbi_get_declined(body, &got), 0);
    ck_assert_mem_eq(got.entry, f.entry, sizeof f.entry);
}
END_TEST

START_TEST(settled_and_elsewhere_come_back)
{
    struct tbi_settled s = {.lane = TBQ_LANE_NORMAL, .below = TBI_VARINT_MAX}, s_got;
    struct tbi_elsewhere e = {.number = TBI_NUMBER_MAX}, e_got;
    struct tbi_writer *w = fresh();

    tbi_put_settled(w, &s);
    refuse_other_sizes(body_of(w, TBI_FRAME_SETTLED), decode_settled, &s_got);
    ck_assert_int_eq(tbi_get_settled(body_of(w, TBI_FRAME_SETTLED), &s_got), 0);
    ck_assert_int_eq(s_got.lane, TBQ_LANE_NORMAL);
    ck_assert_uint_eq(s_got.below, TBI_VARINT_MAX);

    w = fresh();
    tbi_put_elsewhere(w, &e);
    refuse_other_sizes(body_of(w, TBI_FRAME_ELSEWHERE), decode_elsewhere, &e_got);
    ck_assert_int_eq(tbi_get_elsewhere(body_of(w, TBI_FRAME_ELSEWHERE), &e_got), 0);
    ck_assert_uint_eq(e_got.number, TBI_NUMBER_MAX);
}
END_TEST

START_TEST(rest_comes_back_empty)
{
    const struct tbi_rest f = {0};
    struct tbi_rest got;
    struct tbi_writer *w = fresh();

    tbi_put_rest(w, &f);
    refuse_other_sizes(body_of(w, TBI_FRAME_REST), decode_rest, &got);
}
END_TEST

START_TEST(busy_comes_back_with_its_records)
{
    const uint8_t large[TBI_RECORD_SIZE_MAX + 1] = {1, 2, 3};
    struct tbi_busy f = {.len = 3}, got;
    struct tbi_writer *w = fresh();
    struct tbi_cursor body;

    for (size_t i = 0; i < f.len; i++) {
        f.at[i].record = large;
        f.at[i].size = TBI_RECORD_SIZE_MAX;
    }
    tbi_put_busy(w, &f);
    body = body_of(w, TBI_FRAME_BUSY);
    refuse_other_sizes(body, decode_busy, &got);
    ck_assert_int_eq(tbi_get_busy(body, &got), 0);
    ck_assert_uint_eq(got.len, 3);
    ck_assert_uint_eq(got.at[2].size, TBI_RECORD_SIZE_MAX);
    ck_assert_mem_eq(got.at[2].record, large, TBI_RECORD_SIZE_MAX);
    f.len = 4; /* which is more than a control frame may hold */
    f.at[3] = f.at[2];
    w = fresh();
    tbi_put_busy(w, &f);
    ck_assert_int_lt(tbi_put_error(w), 0);
    f.len = TBI_BUSY_RECORDS_MAX + 1;
    w = fresh();
    tbi_put_busy(w, &f);
    ck_assert_int_eq(tbi_put_error(w), TBQ_ERR_INTERNAL);
    f.len = 1;
    f.at[0].size = TBI_RECORD_SIZE_MAX + 1;
    w = fresh();
    tbi_put_busy(w, &f);
    ck_assert_int_eq(tbi_put_error(w), TBQ_ERR_INTERNAL);
}
END_TEST

START_TEST(a_message_is_its_head_and_the_body_beside_it)
{
    const struct tbi_message f = {.number = 70000, .flags = TBI_MESSAGE_REPEAT, .kind = 6};
    struct tbi_writer *w = fresh();
    struct tbi_message got;
    struct tbi_cursor body;
    size_t left;

    tbi_put_message_head(w, &f, 5);
    tbi_put_bytes(w, "hello", 5);
    body = body_of(w, TBI_FRAME_MESSAGE);
    ck_assert_int_eq(tbi_get_message_head(&body, &got), 0);
    ck_assert_uint_eq(got.number, 70000);
    ck_assert_uint_eq(got.flags, TBI_MESSAGE_REPEAT);
    ck_assert_uint_eq(got.kind, 6);
    ck_assert_mem_eq(tbi_cur_rest(&body, &left), "hello", 5);
    ck_assert_uint_eq(left, 5);
}
END_TEST

START_TEST(the_longest_head_has_its_place)
{
    const struct tbi_message f = {.number = TBI_NUMBER_MAX,
                                  .flags = TBI_MESSAGE_REPEAT | TBI_MESSAGE_SKIPPABLE,
                                  .kind = TBI_VARINT_MAX};
    struct tbi_writer *w = fresh();

    tbi_put_message_head(w, &f, (size_t)TBI_MESSAGE_SIZE_MAX);
    ck_assert_int_eq(tbi_put_error(w), 0);
    ck_assert_uint_le(tbi_put_size(w), TBI_MESSAGE_HEAD_MAX);

    w = fresh();
    tbi_put_message_head(w, &f, (size_t)TBI_FRAME_LENGTH_MAX);
    ck_assert_int_eq(tbi_put_error(w), TBQ_ERR_TOO_LARGE);
}
END_TEST

START_TEST(what_cannot_be_said_is_not_written)
{
    struct tbi_writer *w;

#define REFUSED(call)                                                                              \
    w = fresh();                                                                                   \
    call;                                                                                          \
    ck_assert_int_eq(tbi_put_error(w), TBQ_ERR_INTERNAL)
    REFUSED(tbi_put_confirm(w, &(struct tbi_confirm){.incarnation = 0}));
    REFUSED(tbi_put_confirm(w, &(struct tbi_confirm){.incarnation = 1,
                                                     .record = bytes,
                                                     .record_size = TBI_RECORD_SIZE_MAX + 1}));
    REFUSED(tbi_put_hello(w, &(struct tbi_hello){.minor = UINT64_MAX}));
    REFUSED(tbi_put_ack(w, &(struct tbi_ack){.lane = (tbq_lane)TBQ_LANES}));
    REFUSED(tbi_put_numbers(w, &(struct tbi_numbers){.len = 0}));
    REFUSED(tbi_put_numbers(w, &(struct tbi_numbers){.len = TBI_NUMBERS_MAX + 1}));
    REFUSED(tbi_put_numbers(w, &(struct tbi_numbers){.len = 2, .number = {4, 4}}));
    REFUSED(tbi_put_numbers(w, &(struct tbi_numbers){.len = 1, .number = {TBI_VARINT_MAX}}));
    REFUSED(tbi_put_declined(w, &(struct tbi_declined){.len = 0}));
    REFUSED(tbi_put_declined(w, &(struct tbi_declined){.len = 2, .entry = {{5, 0}, {4, 0}}}));
    REFUSED(tbi_put_declined(w, &(struct tbi_declined){.len = 1, .entry = {{5, UINT64_MAX}}}));
    REFUSED(tbi_put_settled(w, &(struct tbi_settled){.below = UINT64_MAX}));
    REFUSED(tbi_put_elsewhere(w, &(struct tbi_elsewhere){.number = TBI_VARINT_MAX}));
    REFUSED(tbi_put_message_head(w, &(struct tbi_message){.flags = 4}, 0));
    REFUSED(tbi_put_message_head(w, &(struct tbi_message){.number = TBI_VARINT_MAX}, 0));
#undef REFUSED
}
END_TEST

START_TEST(an_earlier_error_of_the_writer_stays)
{
    struct tbi_writer w;

    tbi_put_init(&w, bytes, 0);
    tbi_put_u8(&w, 1);
    tbi_put_ack(&w, &(struct tbi_ack){.lane = (tbq_lane)TBQ_LANES});
    ck_assert_int_eq(tbi_put_error(&w), TBQ_ERR_TOO_LARGE);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire/frame");
    TCase *t = tcase_create("frames");

    tcase_add_test(t, hello_comes_back);
    tcase_add_test(t, hello_sizes_are_brought_into_range);
    tcase_add_test(t, frames_that_do_not_fit_write_nothing_past_the_end);
    tcase_add_test(t, confirm_comes_back);
    tcase_add_test(t, confirm_without_the_optional_parts);
    tcase_add_test(t, ack_sets_come_back);
    tcase_add_test(t, ack_sets_that_do_not_rise_are_not_written);
    tcase_add_test(t, numbers_come_back);
    tcase_add_test(t, declined_entries_come_back);
    tcase_add_test(t, settled_and_elsewhere_come_back);
    tcase_add_test(t, rest_comes_back_empty);
    tcase_add_test(t, busy_comes_back_with_its_records);
    tcase_add_test(t, a_message_is_its_head_and_the_body_beside_it);
    tcase_add_test(t, the_longest_head_has_its_place);
    tcase_add_test(t, what_cannot_be_said_is_not_written);
    tcase_add_test(t, an_earlier_error_of_the_writer_stays);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
