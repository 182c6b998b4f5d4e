/* tests/unit/test_wire_reader.c - frames out of stream bytes, however they are cut into pieces. */
#include <check.h>
#include <string.h>

#include "harness.h"
#include "wire/frame.h"

/* Three frames: an ELSEWHERE of one byte, an unknown one of no bytes, one of 300 bytes. */
static uint8_t stream[400];
static size_t stream_size;

static void make_stream(void)
{
    struct tbi_writer w;

    tbi_put_init(&w, stream, sizeof stream);
    tbi_put_elsewhere(&w, &(struct tbi_elsewhere){.number = 7});
    tbi_put_varint(&w, 0x4001);
    tbi_put_varint(&w, 0);
    tbi_put_varint(&w, TBI_FRAME_MESSAGE);
    tbi_put_varint(&w, 300);
    for (int i = 0; i < 300; i++) {
        tbi_put_u8(&w, (uint8_t)i);
    }
    ck_assert_int_eq(tbi_put_error(&w), 0);
    stream_size = tbi_put_size(&w);
}

struct seen {
    size_t frames;
    size_t heads;
    size_t have;
    uint8_t body[300];
};

static void frame_done(struct seen *s, const struct tbi_frame_reader *r)
{
    static const struct {
        uint64_t type;
        size_t length;
    } want[] = {{TBI_FRAME_ELSEWHERE, 1}, {0x4001, 0}, {TBI_FRAME_MESSAGE, 300}};

    ck_assert_uint_lt(s->frames, 3);
    ck_assert_uint_eq(r->type, want[s->frames].type);
    ck_assert_uint_eq(r->length, want[s->frames].length);
    ck_assert_uint_eq(s->have, want[s->frames].length);
    ck_assert_uint_eq(s->heads, s->frames + 1);
    for (size_t i = 0; i < s->have && s->frames == 2; i++) {
        ck_assert_uint_eq(s->body[i], (uint8_t)i);
    }
    s->frames++;
    s->have = 0;
}

static void feed(struct tbi_frame_reader *r, struct seen *s, const uint8_t *data, size_t size)
{
    struct tbi_cursor c;
    enum tbi_frame_step found;

    tbi_cur_init(&c, data, size);
    do {
        const uint8_t *body;
        size_t body_size;
        bool complete;
        found = tbi_frame_step(r, &c, &body, &body_size, &complete);
        ck_assert_int_ne(found, TBI_STEP_ERROR);
        if (found == TBI_STEP_HEAD) {
            s->heads++;
        } else if (found == TBI_STEP_BODY) {
            ck_assert_uint_le(s->have + body_size, sizeof s->body);
            memcpy(s->body + s->have, body_size > 0 ? body : s->body, body_size);
            s->have += body_size;
            ck_assert_uint_eq(complete, r->got == r->length);
            if (complete) {
                frame_done(s, r);
            }
        }
    } while (found != TBI_STEP_NEED_MORE);
    ck_assert_uint_eq(tbi_cur_left(&c), 0);
}

START_TEST(pieces_of_every_size_give_the_same_frames)
{
    make_stream();
    for (size_t step = 1; step <= stream_size; step++) {
        struct tbi_frame_reader r;
        struct seen s = {0};
        tbi_frame_reader_init(&r);
        for (size_t at = 0; at < stream_size; at += step) {
            feed(&r, &s, stream + at, stream_size - at < step ? stream_size - at : step);
        }
        ck_assert_uint_eq(s.frames, 3);
    }
}
END_TEST

START_TEST(a_frame_in_one_piece_is_not_copied)
{
    struct tbi_frame_reader r;
    struct tbi_cursor c;
    const uint8_t *body;
    size_t size;
    bool complete;

    make_stream();
    tbi_frame_reader_init(&r);
    tbi_cur_init(&c, stream, stream_size);
    ck_assert_int_eq(tbi_frame_step(&r, &c, &body, &size, &complete), TBI_STEP_HEAD);
    ck_assert_int_eq(tbi_frame_step(&r, &c, &body, &size, &complete), TBI_STEP_BODY);
    ck_assert_ptr_eq(body, stream + 2);
    ck_assert(complete);
}
END_TEST

START_TEST(heads_in_their_longest_form)
{
    static const uint8_t head[16] = {0xc0, 0, 0, 0, 0, 0, 0, 0x22, 0xc0, 0, 0, 0, 0, 0, 0, 1};
    struct tbi_frame_reader r;
    const uint8_t *body;
    size_t size;
    bool complete;

    tbi_frame_reader_init(&r);
    for (size_t i = 0; i < sizeof head; i++) {
        struct tbi_cursor c;
        tbi_cur_init(&c, head + i, 1);
        ck_assert_int_eq(tbi_frame_step(&r, &c, &body, &size, &complete),
                         i == 15 ? TBI_STEP_HEAD : TBI_STEP_NEED_MORE);
    }
    ck_assert_uint_eq(r.type, TBI_FRAME_ELSEWHERE);
    ck_assert_uint_eq(r.length, 1);
}
END_TEST

START_TEST(a_length_beyond_all_limits_is_an_error_at_the_head)
{
    uint8_t head[16];
    struct tbi_frame_reader r;
    struct tbi_cursor c;
    struct tbi_writer w;
    const uint8_t *body;
    size_t size;
    bool complete;

    for (uint64_t over = 0; over <= 1; over++) {
        tbi_put_init(&w, head, sizeof head);
        tbi_put_varint(&w, TBI_FRAME_MESSAGE);
        tbi_put_varint(&w, TBI_FRAME_LENGTH_MAX + over);
        tbi_frame_reader_init(&r);
        tbi_cur_init(&c, head, tbi_put_size(&w));
        ck_assert_int_eq(tbi_frame_step(&r, &c, &body, &size, &complete),
                         over ? TBI_STEP_ERROR : TBI_STEP_HEAD);
        ck_assert_int_eq(tbi_cur_error(&c), over ? TBQ_ERR_LIMIT : 0);
    }
    ck_assert_int_eq(tbi_frame_step(&r, &c, &body, &size, &complete), TBI_STEP_ERROR);
}
END_TEST

START_TEST(streams_begin_with_what_they_are)
{
    static const struct tbi_prologue all[] = {
        {TBI_STREAM_CONTROL, 0},
        {TBI_STREAM_LANE, TBQ_LANE_CRITICAL},
        {TBI_STREAM_LANE, TBQ_LANE_LOW},
        {TBI_STREAM_UNORDERED, TBQ_LANE_CRITICAL},
        {TBI_STREAM_UNORDERED, TBQ_LANE_LOW},
        {TBI_STREAM_ASIDE, TBQ_LANE_NORMAL},
        {0x21, 0},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        uint8_t front[TBI_PROLOGUE_SIZE_MAX];
        struct tbi_prologue got;
        struct tbi_writer w;
        size_t used = 99, size;
        tbi_put_init(&w, front, sizeof front);
        tbi_put_prologue(&w, &all[i]);
        size = tbi_put_size(&w);
        for (size_t cut = 0; cut < size; cut++) {
            ck_assert_int_eq(tbi_get_prologue(front, cut, &got, &used), TBQ_ERR_AGAIN);
        }
        ck_assert_int_eq(tbi_get_prologue(front, size, &got, &used), 0);
        ck_assert_uint_eq(used, size);
        ck_assert_uint_eq(got.type, all[i].type);
        ck_assert_int_eq(got.lane, all[i].lane);
        /* what follows is not looked at */
        ck_assert_int_eq(tbi_get_prologue(front, sizeof front, &got, &used), 0);
        ck_assert_uint_eq(used, size);
    }
}
END_TEST

START_TEST(streams_that_must_be_understood_are_refused)
{
    struct tbi_prologue p;
    struct tbi_writer w;
    uint8_t front[1];
    size_t used;

    ck_assert_int_eq(tbi_get_prologue((const uint8_t *)"\x04", 1, &p, &used), TBQ_ERR_UNSUPPORTED);
    ck_assert_int_eq(tbi_get_prologue((const uint8_t *)"\x18", 1, &p, &used), TBQ_ERR_UNSUPPORTED);
    ck_assert_int_eq(tbi_get_prologue((const uint8_t *)"\x02\x04", 2, &p, &used),
                     TBQ_ERR_MALFORMED);
    tbi_put_init(&w, front, sizeof front);
    tbi_put_prologue(&w, &(struct tbi_prologue){TBI_STREAM_LANE, (tbq_lane)TBQ_LANES});
    ck_assert_int_eq(tbi_put_error(&w), TBQ_ERR_INTERNAL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire/reader");
    TCase *t = tcase_create("streams");

    tcase_add_test(t, pieces_of_every_size_give_the_same_frames);
    tcase_add_test(t, a_frame_in_one_piece_is_not_copied);
    tcase_add_test(t, heads_in_their_longest_form);
    tcase_add_test(t, a_length_beyond_all_limits_is_an_error_at_the_head);
    tcase_add_test(t, streams_begin_with_what_they_are);
    tcase_add_test(t, streams_that_must_be_understood_are_refused);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
