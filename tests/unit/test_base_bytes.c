/* tests/unit/test_base_bytes.c - memory, blocks, and the cursor by which all foreign bytes come in:
 * each must say no at the right place, and stay where it was. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <tbquic/error.h>

#include "base/block.h"
#include "base/cursor.h"
#include "harness.h"

START_TEST(fixed_numbers_are_big_endian)
{
    uint8_t bytes[32];
    struct tbi_writer w;
    struct tbi_cursor c;

    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_u8(&w, 0x01);
    tbi_put_u16(&w, 0x0203);
    tbi_put_u32(&w, 0x04050607);
    tbi_put_u64(&w, UINT64_C(0x08090a0b0c0d0e0f));
    ck_assert_int_eq(tbi_put_error(&w), 0);
    ck_assert_uint_eq(tbi_put_size(&w), 15);
    for (uint8_t i = 0; i < 15; i++) {
        ck_assert_uint_eq(bytes[i], i + 1U);
    }
    tbi_cur_init(&c, bytes, 15);
    ck_assert_uint_eq(tbi_cur_u8(&c), 0x01);
    ck_assert_uint_eq(tbi_cur_u16(&c), 0x0203);
    ck_assert_uint_eq(tbi_cur_u32(&c), 0x04050607);
    ck_assert_uint_eq(tbi_cur_left(&c), 8);
    ck_assert_uint_eq(tbi_cur_u64(&c), UINT64_C(0x08090a0b0c0d0e0f));
    ck_assert_int_eq(tbi_cur_finish(&c), 0);
}
END_TEST

/* RFC 9000, appendix A.1. */
START_TEST(varints_are_those_of_quic)
{
    static const struct {
        uint64_t value;
        size_t size;
        uint8_t bytes[8];
    } vectors[] = {
        {UINT64_C(151288809941952652), 8, {0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c}},
        {494878333, 4, {0x9d, 0x7f, 0x3e, 0x7d}},
        {15293, 2, {0x7b, 0xbd}},
        {37, 1, {0x25}},
    };
    static const uint8_t long_37[] = {0x40, 0x25};
    struct tbi_cursor c;

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        uint8_t bytes[8];
        struct tbi_writer w;
        uint64_t value;
        size_t used;
        tbi_put_init(&w, bytes, vectors[i].size);
        tbi_put_varint(&w, vectors[i].value);
        ck_assert_int_eq(tbi_put_error(&w), 0);
        ck_assert_mem_eq(bytes, vectors[i].bytes, vectors[i].size);
        ck_assert_uint_eq(tbi_varint_size(vectors[i].value), vectors[i].size);
        for (size_t cut = 0; cut < vectors[i].size; cut++) {
            ck_assert(!tbi_varint_peek(bytes, cut, &value, &used));
            tbi_cur_init(&c, bytes, cut);
            ck_assert_uint_eq(tbi_cur_varint(&c), 0);
            ck_assert_int_eq(tbi_cur_error(&c), TBQ_ERR_MALFORMED);
        }
        ck_assert(tbi_varint_peek(bytes, vectors[i].size, &value, &used));
        ck_assert_uint_eq(value, vectors[i].value);
        ck_assert_uint_eq(used, vectors[i].size);
    }
    tbi_cur_init(&c, long_37, sizeof long_37); /* a longer form than needed is allowed */
    ck_assert_uint_eq(tbi_cur_varint(&c), 37);
}
END_TEST

START_TEST(varints_change_size_at_their_borders)
{
    static const uint64_t borders[] = {0x40, 0x4000, 0x40000000, TBI_VARINT_MAX + 1};
    uint8_t bytes[8];
    struct tbi_writer w;
    struct tbi_cursor c;

    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(tbi_varint_size(borders[i] - 1), (size_t)1 << i);
        tbi_put_init(&w, bytes, (size_t)1 << i);
        tbi_put_varint(&w, borders[i] - 1);
        tbi_cur_init(&c, bytes, tbi_put_size(&w));
        ck_assert_uint_eq(tbi_cur_varint(&c), borders[i] - 1);
        ck_assert_int_eq(tbi_cur_finish(&c), 0);
        tbi_put_init(&w, bytes, (size_t)1 << i);
        tbi_put_varint(&w, borders[i]); /* no room, or no varint at all */
        ck_assert_int_eq(tbi_put_error(&w), TBQ_ERR_TOO_LARGE);
        ck_assert_uint_eq(tbi_put_size(&w), 0);
    }
}
END_TEST

START_TEST(a_varint_keeps_to_its_bounds)
{
    static const uint8_t bytes[] = {5, 6, 7, 8};
    struct tbi_cursor c;

    tbi_cur_init(&c, bytes, sizeof bytes);
    ck_assert_uint_eq(tbi_cur_varint_in(&c, 5, 6), 5);
    ck_assert_uint_eq(tbi_cur_varint_in(&c, 5, 6), 6);
    ck_assert_uint_eq(tbi_cur_varint_in(&c, 5, 6), 0);
    ck_assert_int_eq(tbi_cur_error(&c), TBQ_ERR_MALFORMED);
    tbi_cur_init(&c, bytes, sizeof bytes);
    ck_assert_uint_eq(tbi_cur_varint_in(&c, 6, 9), 0);
    ck_assert_int_eq(tbi_cur_error(&c), TBQ_ERR_MALFORMED);
}
END_TEST

START_TEST(an_error_sticks_and_reads_zeroes)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t copy[4] = {1, 2, 3, 4};
    struct tbi_cursor c;
    size_t size;

    tbi_cur_init(&c, bytes, sizeof bytes);
    tbi_cur_fail(&c, TBQ_ERR_PROTOCOL);
    tbi_cur_fail(&c, TBQ_ERR_LIMIT); /* the first one stays */
    ck_assert_uint_eq(tbi_cur_u8(&c), 0);
    ck_assert_uint_eq(tbi_cur_u16(&c), 0);
    ck_assert_uint_eq(tbi_cur_u32(&c), 0);
    ck_assert_uint_eq(tbi_cur_u64(&c), 0);
    ck_assert_uint_eq(tbi_cur_varint(&c), 0);
    ck_assert_uint_eq(tbi_cur_varint_in(&c, 3, 9), 0);
    ck_assert_ptr_null(tbi_cur_take(&c, 0));
    ck_assert_ptr_null(tbi_cur_rest(&c, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert_uint_eq(tbi_cur_left(&c), 0);
    tbi_cur_copy(&c, copy, sizeof copy);
    ck_assert_mem_eq(copy, "\0\0\0\0", 4);
    struct tbi_cursor inner = tbi_cur_prefixed(&c, 100);
    ck_assert_int_eq(tbi_cur_finish(&inner), TBQ_ERR_PROTOCOL);
    ck_assert_int_eq(tbi_cur_finish(&c), TBQ_ERR_PROTOCOL);
}
END_TEST

START_TEST(nothing_is_read_past_the_end)
{
    static const uint8_t bytes[] = {9, 8, 7};
    uint8_t copy[4];
    struct tbi_cursor c;

    tbi_cur_init(&c, bytes, 3);
    ck_assert_ptr_null(tbi_cur_take(&c, SIZE_MAX));
    tbi_cur_init(&c, bytes, 3);
    ck_assert_ptr_eq(tbi_cur_take(&c, 3), bytes);
    ck_assert_ptr_nonnull(tbi_cur_take(&c, 0));
    ck_assert_int_eq(tbi_cur_finish(&c), 0);
    ck_assert_uint_eq(tbi_cur_u8(&c), 0);
    ck_assert_int_eq(tbi_cur_error(&c), TBQ_ERR_MALFORMED);
    tbi_cur_init(&c, bytes, 3);
    ck_assert_uint_eq(tbi_cur_u32(&c), 0);
    ck_assert_int_eq(tbi_cur_error(&c), TBQ_ERR_MALFORMED);
    tbi_cur_init(&c, bytes, 3);
    tbi_cur_copy(&c, copy, 2);
    ck_assert(copy[0] == 9 && copy[1] == 8);
    tbi_cur_copy(&c, NULL, 0);
    ck_assert_int_eq(tbi_cur_finish(&c), TBQ_ERR_MALFORMED); /* one byte is left */

    tbi_cur_init(&c, NULL, 0);
    ck_assert_ptr_nonnull(tbi_cur_take(&c, 0));
    ck_assert_int_eq(tbi_cur_finish(&c), 0);
    ck_assert_uint_eq(tbi_cur_varint(&c), 0);
    ck_assert_int_eq(tbi_cur_error(&c), TBQ_ERR_MALFORMED);
}
END_TEST

START_TEST(a_prefixed_part_has_its_own_end)
{
    static const uint8_t bytes[] = {2, 0xaa, 0xbb, 0, 3, 0xcc, 0xdd};
    struct tbi_cursor c;
    size_t size;

    tbi_cur_init(&c, bytes, sizeof bytes);
    struct tbi_cursor inner = tbi_cur_prefixed(&c, 2);
    ck_assert_uint_eq(tbi_cur_u16(&inner), 0xaabb);
    ck_assert_int_eq(tbi_cur_finish(&inner), 0);
    inner = tbi_cur_prefixed(&c, 2);
    ck_assert_ptr_nonnull(tbi_cur_rest(&inner, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert_int_eq(tbi_cur_finish(&inner), 0);
    struct tbi_cursor again = c;
    inner = tbi_cur_prefixed(&c, 2); /* says 3, and 2 are allowed */
    ck_assert_int_eq(tbi_cur_error(&inner), TBQ_ERR_MALFORMED);
    inner = tbi_cur_prefixed(&again, 3); /* says 3, and 2 are there */
    ck_assert_int_eq(tbi_cur_error(&inner), TBQ_ERR_MALFORMED);
    ck_assert_uint_eq(tbi_cur_left(&inner), 0);
    ck_assert_int_eq(tbi_cur_error(&again), TBQ_ERR_MALFORMED);
}
END_TEST

START_TEST(nothing_is_written_past_the_end)
{
    uint8_t bytes[5] = {0, 0, 0, 0, 0x77};
    struct tbi_writer w;

    tbi_put_init(&w, bytes, 4);
    tbi_put_prefixed(&w, "ab", 2);
    ck_assert_mem_eq(bytes, "\2ab", 3);
    tbi_put_u16(&w, 0xffff);
    ck_assert_int_eq(tbi_put_error(&w), TBQ_ERR_TOO_LARGE);
    tbi_put_u8(&w, 0xff); /* would have fitted, but the error sticks */
    tbi_put_varint(&w, TBI_VARINT_MAX + 1);
    ck_assert_uint_eq(tbi_put_size(&w), 3);
    ck_assert(bytes[3] == 0 && bytes[4] == 0x77);

    tbi_put_init(&w, NULL, 0);
    tbi_put_bytes(&w, NULL, 0);
    ck_assert_int_eq(tbi_put_error(&w), 0);
    tbi_put_u8(&w, 1);
    ck_assert_int_eq(tbi_put_error(&w), TBQ_ERR_TOO_LARGE);
    ck_assert_uint_eq(tbi_put_size(&w), 0);
}
END_TEST

START_TEST(an_allocator_is_whole_or_none)
{
    struct tbi_failing_alloc f;
    struct tbi_alloc a;
    tbq_allocator hook;

    tbi_failing_init(&f, 0);
    ck_assert_int_eq(tbi_alloc_init(&a, NULL), 0);
    tbi_free(&a, tbi_malloc(&a, 10));
    tbi_free(&a, tbi_realloc(&a, NULL, 0));
    ck_assert_int_eq(tbi_alloc_init(&a, &(tbq_allocator){.user = &f}), 0);
    hook = f.alloc.hook;
    hook.alloc = NULL;
    ck_assert_int_eq(tbi_alloc_init(&a, &hook), TBQ_ERR_INVALID);
    hook = f.alloc.hook;
    hook.realloc = NULL;
    ck_assert_int_eq(tbi_alloc_init(&a, &hook), TBQ_ERR_INVALID);
    hook = f.alloc.hook;
    hook.free = NULL;
    ck_assert_int_eq(tbi_alloc_init(&a, &hook), TBQ_ERR_INVALID);
}
END_TEST

START_TEST(sizes_do_not_overflow)
{
    struct tbi_failing_alloc f;
    void *array = NULL;
    size_t capacity = 0;

    tbi_failing_init(&f, 0);
    ck_assert_ptr_null(tbi_calloc(&f.alloc, SIZE_MAX / 2, 3));
    ck_assert_int_eq(tbi_grow(&f.alloc, &array, &capacity, SIZE_MAX, 1), TBQ_ERR_NOMEM);
    ck_assert_int_eq(tbi_grow(&f.alloc, &array, &capacity, SIZE_MAX / 8, 16), TBQ_ERR_NOMEM);
    ck_assert(array == NULL && capacity == 0 && f.calls == 0);

    ck_assert_int_eq(tbi_grow(&f.alloc, &array, &capacity, 0, 4), 0);
    ck_assert_ptr_null(array);
    ck_assert_int_eq(tbi_grow(&f.alloc, &array, &capacity, 9, 4), 0);
    ck_assert_uint_eq(capacity, 16);
    void *before = array;
    f.fail_at = f.calls + 1;
    ck_assert_int_eq(tbi_grow(&f.alloc, &array, &capacity, 17, 4), TBQ_ERR_NOMEM);
    ck_assert(array == before && capacity == 16);
    tbi_free(&f.alloc, array);
    tbi_free(&f.alloc, NULL);

    uint8_t *zeroed = tbi_calloc(&f.alloc, 0, 0); /* NULL means out of memory and nothing else */
    ck_assert_ptr_nonnull(zeroed);
    tbi_free(&f.alloc, zeroed);
    char *copy = tbi_strdup(&f.alloc, "text");
    ck_assert_str_eq(copy, "text");
    tbi_wipe(copy, 4);
    ck_assert_mem_eq(copy, "\0\0\0\0", 5);
    tbi_free(&f.alloc, copy);
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

static void went(void *user)
{
    ++*(int *)user;
}

START_TEST(lent_bytes_are_somebody_elses)
{
    static const uint8_t bytes[] = "not ours";
    struct tbi_failing_alloc f;
    int gone = 0;

    tbi_failing_init(&f, 0);
    struct tbi_block *b = tbi_block_lend(&f.alloc, bytes, sizeof bytes, went, &gone);
    ck_assert_ptr_eq(b->data, bytes);
    ck_assert_uint_eq(b->size, sizeof bytes);
    ck_assert_ptr_null(tbi_block_prefix(b, "x", 1));
    ck_assert_int_eq(tbi_block_append(b, "x", 1), TBQ_ERR_INTERNAL);
    tbi_block_unref(tbi_block_ref(b));
    ck_assert_int_eq(gone, 0);
    tbi_block_unref(b);
    ck_assert_int_eq(gone, 1);
    b = tbi_block_lend(&f.alloc, bytes, sizeof bytes, went, &gone);
    ck_assert_ptr_eq(tbi_block_call_off(b), &gone);
    tbi_block_unref(b);
    ck_assert_int_eq(gone, 1);
    f.fail_at = f.calls + 1;
    ck_assert_ptr_null(tbi_block_lend(&f.alloc, bytes, sizeof bytes, went, &gone));
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

#ifdef TBI_SEES_EVERY_USE /* and keeps none */
static const bool keeps = false;
#else
static const bool keeps = true;
#endif

START_TEST(pieces_are_kept_for_their_next_use)
{
    struct tbi_failing_alloc f;

    tbi_failing_init(&f, 0);
    ck_assert_int_eq(tbi_alloc_keep(&f.alloc), 0);
    size_t own = f.live;
    void *first = tbi_piece_new(&f.alloc, 100);
    tbi_piece_free(&f.alloc, first, 100);
    size_t calls = f.calls;
    void *next = tbi_piece_new(&f.alloc, 128);
    ck_assert(!keeps || (next == first && f.calls == calls));
    tbi_piece_free(&f.alloc, next, 128);
    calls = f.calls;
    void *other = tbi_piece_new(&f.alloc, 129); /* of another size: not that one */
    ck_assert_uint_eq(f.calls, calls + 1);
    tbi_piece_free(&f.alloc, other, 129);
    tbi_piece_free(&f.alloc, NULL, 1);

    static void *piece[TBI_PIECES_BYTES / TBI_PIECE_MAX + 8];
    const size_t kept = (TBI_PIECES_BYTES - 128 - 192) / TBI_PIECE_MAX; /* beside these two */
    for (size_t i = 0; i < kept + 8; i++) {
        piece[i] = tbi_piece_new(&f.alloc, TBI_PIECE_MAX);
    }
    for (size_t i = 0; i < kept + 8; i++) {
        tbi_piece_free(&f.alloc, piece[i], TBI_PIECE_MAX);
    }
    ck_assert_uint_eq(f.live, own + (keeps ? kept + 2 : 0));
    tbi_piece_free(&f.alloc, tbi_piece_new(&f.alloc, TBI_PIECE_MAX + 1), TBI_PIECE_MAX + 1);
    ck_assert_uint_eq(f.live, own + (keeps ? kept + 2 : 0));
    tbi_alloc_trim(&f.alloc, false);
    ck_assert_uint_eq(f.live, own + (keeps ? kept / 2 : 0));
    tbi_alloc_trim(&f.alloc, true);
    ck_assert_uint_eq(f.live, own);
    next = tbi_piece_new(&f.alloc, 10); /* outlives it */
    tbi_alloc_release(&f.alloc);
    ck_assert_uint_eq(f.live, 1);
    tbi_piece_free(&f.alloc, next, 10);
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

static void *area(struct tbi_failing_alloc *f, size_t size)
{
    size_t real = size;
    void *at = tbi_area_new(&f->alloc, &real);

    ck_assert_uint_ge(real, size);
    return at;
}

START_TEST(areas_are_kept_for_their_next_use)
{
    const size_t size = 1 << 20, most = keeps ? TBI_AREAS_BYTES / size : 0;
    struct tbi_failing_alloc f;
    void *at[TBI_AREAS_BYTES / (1 << 20) + 2];
    size_t smaller = size - size / 4;

    tbi_failing_init(&f, 0);
    ck_assert_int_eq(tbi_alloc_keep(&f.alloc), 0);
    size_t own = f.live;
    void *first = area(&f, size);
    tbi_area_free(&f.alloc, first, size);
    size_t calls = f.calls;
    void *next = tbi_area_new(&f.alloc, &smaller); /* a little less: the same one, as it is */
    ck_assert(!keeps || (next == first && f.calls == calls && smaller == size));
    tbi_area_free(&f.alloc, next, smaller);
    calls = f.calls;
    tbi_area_free(&f.alloc, area(&f, size / 2), size / 2); /* too little for that */
    ck_assert_uint_eq(f.calls, calls + 1);
    tbi_area_free(&f.alloc, NULL, size);
    tbi_alloc_trim(&f.alloc, false);
    ck_assert_uint_eq(f.live, own);

    for (size_t i = 0; i < most + 2; i++) {
        at[i] = area(&f, size);
    }
    for (size_t i = 0; i < most + 2; i++) {
        tbi_area_free(&f.alloc, at[i], size);
    }
    ck_assert_uint_eq(f.live, own + most);
    if (keeps) {
        f.fail_at = f.calls + 1; /* where memory is out, they are given back */
        void *other = tbi_malloc(&f.alloc, 100);
        ck_assert_ptr_nonnull(other);
        ck_assert_uint_eq(f.live, own + 1);
        tbi_free(&f.alloc, other);
    }
    tbi_area_free(&f.alloc, area(&f, size), size);
    tbi_alloc_release(&f.alloc);
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

START_TEST(what_is_kept_is_given_back_where_memory_is_out)
{
    struct tbi_failing_alloc f;

    tbi_failing_init(&f, 0);
    ck_assert_int_eq(tbi_alloc_keep(&f.alloc), 0);
    if (keeps) {
        size_t own = f.live;
        tbi_piece_free(&f.alloc, tbi_piece_new(&f.alloc, 100), 100);
        tbi_piece_free(&f.alloc, tbi_piece_new(&f.alloc, 1000), 1000);
        ck_assert_uint_eq(f.live, own + 2);
        f.fail_at = f.calls + 1; /* the first try */
        void *large = tbi_malloc(&f.alloc, 100000);
        ck_assert_ptr_nonnull(large);
        ck_assert_uint_eq(f.live, own + 1);
        tbi_piece_free(&f.alloc, tbi_piece_new(&f.alloc, 100), 100);
        f.fail_at = f.calls + 1;
        large = tbi_realloc(&f.alloc, large, 200000);
        ck_assert_ptr_nonnull(large);
        f.fail_at = f.calls + 1; /* and there is nothing to give back */
        ck_assert_ptr_null(tbi_malloc(&f.alloc, 100000));
        tbi_free(&f.alloc, large);
    }
    tbi_alloc_release(&f.alloc);
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

START_TEST(a_prefix_joins_the_bytes_once)
{
    struct tbi_failing_alloc f;

    tbi_failing_init(&f, 0);
    for (size_t size = 4; size < 4000; size += 3000) { /* in one piece, and apart */
        char text[4000] = "body";
        struct tbi_block *b = tbi_block_behind(&f.alloc, 8, text, size);
        ck_assert_ptr_null(tbi_block_prefix(b, "123456789", 9));
        uint8_t *at = tbi_block_prefix(b, "head ", 5);
        ck_assert_ptr_eq(at + 5, b->data);
        ck_assert_mem_eq(at, "head body", 9);
        ck_assert_uint_eq(b->size, size);
        ck_assert_ptr_null(tbi_block_prefix(b, "x", 1)); /* somebody may be reading there */
        ck_assert_int_eq(tbi_block_append(b, text, sizeof text), 0);
        ck_assert_mem_eq(b->data - 5, "head body", 9);
        ck_assert_mem_eq(b->data + size, "body", 4);
        tbi_block_unref(b);
    }
    ck_assert_ptr_null(tbi_block_behind(&f.alloc, SIZE_MAX, "", 0));
    ck_assert_ptr_null(tbi_block_new(&f.alloc, SIZE_MAX));
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

START_TEST(what_lies_before_the_bytes_goes_with_them)
{
    struct tbi_failing_alloc f;

    tbi_failing_init(&f, 0);
    for (size_t size = 4; size < 4000; size += 3000) { /* in one piece, and apart */
        char text[4000] = "body";
        struct tbi_block *b = tbi_block_roomy(&f.alloc, 64, size);
        ck_assert_uint_eq((uintptr_t)tbi_block_front(b) % _Alignof(max_align_t), 0);
        ck_assert_int_eq(tbi_block_append(b, text, size), 0);
        memcpy(tbi_block_front(b), "before", 7);
        ck_assert_ptr_null(tbi_block_prefix(b, "x", 1)); /* it is no room for others */
        ck_assert_int_eq(tbi_block_append(b, text, sizeof text), 0);
        ck_assert_str_eq(tbi_block_front(b), "before");
        ck_assert_mem_eq(b->data, "body", 4);
        ck_assert_mem_eq(b->data + size, "body", 4);
        tbi_block_unref(b);
    }
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

START_TEST(a_block_lives_as_long_as_its_last_reader)
{
    struct tbi_failing_alloc f;
    char text[8] = "payload";

    tbi_failing_init(&f, 0);
    struct tbi_block *b = tbi_block_copy(&f.alloc, text, 7);
    memset(text, 0, sizeof text);
    ck_assert_ptr_eq(tbi_block_ref(b), b);
    ck_assert_int_eq(tbi_block_append(b, "x", 1), TBQ_ERR_INTERNAL); /* another one reads it */
    tbi_block_unref(b);
    ck_assert_mem_eq(b->data, "payload", 7);
    ck_assert_int_eq(tbi_block_append(b, " and more than that", 19), 0);
    ck_assert_int_eq(tbi_block_append(b, NULL, 0), 0);
    ck_assert_int_eq(tbi_block_append(b, text, SIZE_MAX), TBQ_ERR_NOMEM);
    ck_assert_uint_eq(b->size, 26);
    ck_assert_uint_ge(b->capacity, 26);
    ck_assert_mem_eq(b->data, "payload and more than that", 26);
    ck_assert_uint_eq(f.live, 2);
    tbi_block_unref(b);
    tbi_block_unref(NULL);
    ck_assert_ptr_null(tbi_block_ref(NULL));
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

static void build_blocks(const struct tbi_alloc *a, void *arg)
{
    struct tbi_block *copy = tbi_block_copy(a, "abc", 3);
    struct tbi_block *grown = tbi_block_new(a, 0);

    (void)arg;
    for (size_t i = 0; grown != NULL && i < 40; i++) {
        size_t size = grown->size;
        int rv = tbi_block_append(grown, "1234", 4);
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
        ck_assert_uint_eq(grown->size, rv == 0 ? size + 4 : size);
    }
    tbi_block_unref(copy);
    tbi_block_unref(grown);
    void *dup = tbi_memdup(a, "", 0);
    tbi_free(a, dup);
}

START_TEST(blocks_survive_memory_running_out)
{
    tbi_walk_allocations(build_blocks, NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base_bytes");
    TCase *t = tcase_create("bytes");

    tcase_add_test(t, fixed_numbers_are_big_endian);
    tcase_add_test(t, varints_are_those_of_quic);
    tcase_add_test(t, varints_change_size_at_their_borders);
    tcase_add_test(t, a_varint_keeps_to_its_bounds);
    tcase_add_test(t, an_error_sticks_and_reads_zeroes);
    tcase_add_test(t, nothing_is_read_past_the_end);
    tcase_add_test(t, a_prefixed_part_has_its_own_end);
    tcase_add_test(t, nothing_is_written_past_the_end);
    tcase_add_test(t, an_allocator_is_whole_or_none);
    tcase_add_test(t, sizes_do_not_overflow);
    tcase_add_test(t, pieces_are_kept_for_their_next_use);
    tcase_add_test(t, areas_are_kept_for_their_next_use);
    tcase_add_test(t, lent_bytes_are_somebody_elses);
    tcase_add_test(t, what_is_kept_is_given_back_where_memory_is_out);
    tcase_add_test(t, a_prefix_joins_the_bytes_once);
    tcase_add_test(t, what_lies_before_the_bytes_goes_with_them);
    tcase_add_test(t, a_block_lives_as_long_as_its_last_reader);
    tcase_add_test(t, blocks_survive_memory_running_out);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
