/* tests/unit/test_wire_kind.c - the bodies of messages, and the names of things. */
#include <check.h>
#include <string.h>

#include "harness.h"
#include "wire/kind.h"

static uint8_t bytes[80000];

static struct tbi_writer *fresh(void)
{
    static struct tbi_writer w;

    tbi_put_init(&w, bytes, sizeof bytes);
    return &w;
}

static struct tbi_cursor written(const struct tbi_writer *w)
{
    struct tbi_cursor c;

    ck_assert_int_eq(tbi_put_error(w), 0);
    tbi_cur_init(&c, w->begin, tbi_put_size(w));
    return c;
}

START_TEST(ping_and_pong_come_back)
{
    const struct tbi_ping ping = {.id = UINT64_MAX, .wall_ms = 1764000000000};
    const struct tbi_pong pong = {.id = 3, .echo_wall_ms = 5, .wall_ms = UINT64_MAX};
    struct tbi_ping ping_got;
    struct tbi_pong pong_got;
    struct tbi_writer *w = fresh();

    tbi_put_ping(w, &ping);
    ck_assert_int_eq(tbi_get_ping(written(w), &ping_got), 0);
    ck_assert_uint_eq(ping_got.id, UINT64_MAX);
    ck_assert_uint_eq(ping_got.wall_ms, 1764000000000);

    w = fresh();
    tbi_put_pong(w, &pong);
    ck_assert_int_eq(tbi_get_pong(written(w), &pong_got), 0);
    ck_assert_uint_eq(pong_got.id, 3);
    ck_assert_uint_eq(pong_got.echo_wall_ms, 5);
    ck_assert_uint_eq(pong_got.wall_ms, TBI_WALL_MS_MAX); /* a clock gone mad stays a date */
}
END_TEST

START_TEST(a_load_is_told_or_not_and_stays_within_its_bounds)
{
    struct tbi_pong pong = {.id = 3, .echo_wall_ms = UINT64_MAX, .wall_ms = UINT64_MAX}, got;
    struct tbi_ping ping = {.load = {.capacity = 7}}, ping_got;
    struct tbi_writer *w = fresh();

    tbi_put_pong(w, &pong);
    ck_assert_int_eq(tbi_get_pong(written(w), &got), 0);
    ck_assert(!got.load.told && got.load.load == 0 && got.load.capacity == 0);
    w = fresh();
    pong.load = (struct tbi_load){true, UINT16_MAX, UINT16_MAX};
    tbi_put_pong(w, &pong);
    ck_assert_uint_eq(tbi_put_size(w), 32); /* all that fits beside a message's head */
    ck_assert_int_eq(tbi_get_pong(written(w), &got), 0);
    ck_assert(got.load.told);
    ck_assert_uint_eq(got.load.load, UINT16_MAX);
    ck_assert_uint_eq(got.load.capacity, UINT16_MAX);
    w = fresh();
    tbi_put_ping(w, &ping);
    ck_assert_int_eq(tbi_get_ping(written(w), &ping_got), 0);
    ck_assert(!ping_got.load.told);
    ck_assert_uint_eq(ping_got.load.capacity, 7);
}
END_TEST

START_TEST(discover_asks_for_a_sane_number)
{
    struct tbi_discover got;
    struct tbi_writer *w = fresh();

    tbi_put_discover(w, &(struct tbi_discover){.max = 0, .capabilities = TBQ_CAN_STORE});
    ck_assert_int_eq(tbi_get_discover(written(w), &got), 0);
    ck_assert_uint_eq(got.max, 1);
    ck_assert_uint_eq(got.capabilities, TBQ_CAN_STORE);
    w = fresh();
    tbi_put_varint(w, 1000000);
    tbi_put_varint(w, 0);
    ck_assert_int_eq(tbi_get_discover(written(w), &got), 0);
    ck_assert_uint_eq(got.max, TBI_PEER_LIST_MAX);
}
END_TEST

START_TEST(the_longest_peer_list_comes_back)
{
    static uint8_t record[TBI_RECORD_SIZE_MAX];
    static struct tbi_peer_list list, got;
    struct tbi_writer *w = fresh();

    list.len = TBI_PEER_LIST_MAX;
    for (size_t i = 0; i < list.len; i++) {
        list.at[i].record = record;
        list.at[i].size = sizeof record - i;
    }
    memset(record, 0x5a, sizeof record);
    tbi_put_peer_list(w, &list);
    ck_assert_int_eq(tbi_get_peer_list(written(w), &got), 0);
    ck_assert_uint_eq(got.len, TBI_PEER_LIST_MAX);
    for (size_t i = 0; i < got.len; i++) {
        ck_assert_uint_eq(got.at[i].size, sizeof record - i);
        ck_assert_mem_eq(got.at[i].record, record, got.at[i].size);
    }
}
END_TEST

START_TEST(announce_carries_one_record)
{
    struct tbi_announce got;
    struct tbi_writer *w = fresh();

    tbi_put_announce(w, &(struct tbi_announce){(const uint8_t *)"abc", 3});
    ck_assert_int_eq(tbi_get_announce(written(w), &got), 0);
    ck_assert_uint_eq(got.record_size, 3);
    ck_assert_mem_eq(got.record, "abc", 3);
}
END_TEST

START_TEST(requests_and_responses_leave_room_for_their_bytes)
{
    const struct tbi_resource_request q = {.id = 1, .timeout_ms = UINT64_MAX};
    const struct tbi_resource_response r = {.id = UINT64_MAX, .status = TBQ_RESPONSE_REFUSED};
    struct tbi_resource_request q_got;
    struct tbi_resource_response r_got;
    struct tbi_writer *w = fresh();

    tbi_put_resource_request(w, &q);
    tbi_put_bytes(w, "which", 5);
    ck_assert_int_eq(tbi_get_resource_request(written(w), &q_got), 0);
    ck_assert_uint_eq(q_got.id, 1);
    ck_assert_uint_eq(q_got.timeout_ms, TBI_REQUEST_TIMEOUT_MAX_MS);
    ck_assert_uint_eq(q_got.size, 5);
    ck_assert_mem_eq(q_got.data, "which", 5);

    w = fresh();
    tbi_put_resource_response(w, &r);
    ck_assert_int_eq(tbi_get_resource_response(written(w), &r_got), 0);
    ck_assert_uint_eq(r_got.id, UINT64_MAX);
    ck_assert_uint_eq(r_got.status, TBQ_RESPONSE_REFUSED);
    ck_assert_uint_eq(r_got.size, 0);
}
END_TEST

START_TEST(an_error_names_its_message)
{
    const struct tbi_error_body m = {.code = 20,
                                     .lane = 3,
                                     .number = TBI_NUMBER_MAX,
                                     .has_subject = true,
                                     .text = (const uint8_t *)"not now",
                                     .text_size = 7};
    struct tbi_error_body got;
    struct tbi_writer *w = fresh();
    struct tbi_cursor c;

    tbi_put_error_body(w, &m);
    ck_assert_int_eq(tbi_get_error_body(written(w), &got), 0);
    ck_assert(got.has_subject);
    ck_assert_uint_eq(got.code, 20);
    ck_assert_uint_eq(got.lane, 3);
    ck_assert_uint_eq(got.number, TBI_NUMBER_MAX);
    ck_assert_mem_eq(got.text, "not now", 7);
    for (size_t cut = 0; cut < tbi_put_size(w); cut++) {
        tbi_cur_init(&c, bytes, cut);
        ck_assert_int_eq(tbi_get_error_body(c, &got), TBQ_ERR_MALFORMED);
    }
}
END_TEST

START_TEST(fields_of_later_days_are_skipped_or_refused)
{
    struct tbi_error_body got;
    struct tbi_writer *w = fresh();
    size_t known;

    tbi_put_error_body(w, &(struct tbi_error_body){.code = 1});
    known = tbi_put_size(w);
    tbi_put_bytes(w, "\x03\x02zz", 4);
    ck_assert_int_eq(tbi_get_error_body(written(w), &got), 0);
    bytes[known] = 0x04;
    ck_assert_int_eq(tbi_get_error_body(written(w), &got), TBQ_ERR_UNSUPPORTED);
}
END_TEST

START_TEST(what_cannot_be_said_is_not_written)
{
    static struct tbi_peer_list list = {.len = TBI_PEER_LIST_MAX + 1};
    struct tbi_writer *w;

#define REFUSED(call)                                                                              \
    w = fresh();                                                                                   \
    call;                                                                                          \
    ck_assert_int_eq(tbi_put_error(w), TBQ_ERR_INTERNAL)
    REFUSED(tbi_put_announce(w, &(struct tbi_announce){bytes, 0}));
    REFUSED(tbi_put_announce(w, &(struct tbi_announce){bytes, TBI_RECORD_SIZE_MAX + 1}));
    REFUSED(tbi_put_peer_list(w, &list));
    REFUSED(tbi_put_resource_request(w, &(struct tbi_resource_request){.id = 0}));
    REFUSED(tbi_put_resource_response(w, &(struct tbi_resource_response){.id = 0}));
    REFUSED(tbi_put_error_body(w, &(struct tbi_error_body){.code = (uint64_t)INT32_MAX + 1}));
    REFUSED(tbi_put_error_body(
        w, &(struct tbi_error_body){.text = bytes, .text_size = TBI_ERROR_TEXT_MAX + 1}));
    REFUSED(tbi_put_error_body(w, &(struct tbi_error_body){.has_subject = true, .lane = 4}));
    REFUSED(tbi_put_body_part(w, &(struct tbi_body_part){.id = 0}));
    REFUSED(tbi_put_body_part(w, &(struct tbi_body_part){.id = 1, .what = 3}));
    REFUSED(
        tbi_put_body_part(w, &(struct tbi_body_part){.id = 1, .offset = TBQ_BODY_LENGTH_MAX + 1}));
    REFUSED(
        tbi_put_body_part(w, &(struct tbi_body_part){.id = 1, .length = TBQ_BODY_LENGTH_MAX + 1}));
#undef REFUSED
}
END_TEST

START_TEST(everything_has_a_name)
{
    ck_assert_str_eq(tbq_kind_name(TBQ_PING), "ping");
    ck_assert_str_eq(tbq_kind_name(TBQ_PEER_LIST), "peer_list");
    ck_assert_str_eq(tbq_kind_name(TBQ_ERROR), "error");
    ck_assert_str_eq(tbq_kind_name(0), "unknown");
    ck_assert_str_eq(tbq_kind_name(TBQ_BODY), "body");
    ck_assert_str_eq(tbq_kind_name(11), "unknown");
    ck_assert_str_eq(tbq_kind_name(-1), "unknown");
    ck_assert_str_eq(tbi_close_text(TBI_CLOSE_SELF), "the node reached itself");
    ck_assert_str_eq(tbi_close_text(0x12), "unknown close code");
    ck_assert_str_eq(tbi_decline_text(TBI_DECLINE_TOO_LARGE), "larger than the receiver accepts");
    ck_assert_str_eq(tbi_decline_text(UINT64_MAX), "unknown reason");
}
END_TEST

START_TEST(shorthands_fill_a_message)
{
    tbq_message m = tbq_ping();

    ck_assert_int_eq(m.kind, TBQ_PING);
    m = tbq_transition("xyz", 3);
    ck_assert_int_eq(m.kind, TBQ_TRANSITION);
    ck_assert_uint_eq(m.u.transition.size, 3);
    ck_assert_mem_eq(m.u.transition.data, "xyz", 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire/kind");
    TCase *t = tcase_create("kinds");

    tcase_add_test(t, ping_and_pong_come_back);
    tcase_add_test(t, a_load_is_told_or_not_and_stays_within_its_bounds);
    tcase_add_test(t, discover_asks_for_a_sane_number);
    tcase_add_test(t, the_longest_peer_list_comes_back);
    tcase_add_test(t, announce_carries_one_record);
    tcase_add_test(t, requests_and_responses_leave_room_for_their_bytes);
    tcase_add_test(t, an_error_names_its_message);
    tcase_add_test(t, fields_of_later_days_are_skipped_or_refused);
    tcase_add_test(t, what_cannot_be_said_is_not_written);
    tcase_add_test(t, everything_has_a_name);
    tcase_add_test(t, shorthands_fill_a_message);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
