/* tests/fuzz/fuzz_cursor.c - any reads of any bytes.
 *
 * The first byte says how many bytes are instructions; the rest is read by them. Whatever is asked,
 * the cursor stays within the bytes, its error sticks, and what it read can be written again. */
#include <stdlib.h>
#include <string.h>

#include <tbquic/error.h>

#include "base/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Reads a varint in both ways and writes it back: never longer than it came. */
static void read_varint(struct tbi_cursor *c)
{
    uint64_t value = 0, peeked = 0;
    size_t left = tbi_cur_left(c), used = 0;
    bool whole = left > 0 && tbi_varint_peek(c->at, left, &peeked, &used);
    uint8_t bytes[TBI_VARINT_SIZE_MAX];
    struct tbi_writer w;
    struct tbi_cursor back;

    value = tbi_cur_varint(c);
    require(whole == (c->error == 0));
    if (!whole) {
        require(value == 0);
        return;
    }
    require(value == peeked && value <= TBI_VARINT_MAX && left - tbi_cur_left(c) == used);
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_varint(&w, value);
    require(tbi_put_error(&w) == 0 && tbi_put_size(&w) == tbi_varint_size(value));
    require(tbi_put_size(&w) <= used);
    tbi_cur_init(&back, bytes, tbi_put_size(&w));
    require(tbi_cur_varint(&back) == value && tbi_cur_finish(&back) == 0);
}

static void read_prefixed(struct tbi_cursor *c, size_t max)
{
    struct tbi_cursor inner = tbi_cur_prefixed(c, max);
    size_t size;
    const uint8_t *rest;

    require(inner.error == c->error);
    require(tbi_cur_left(&inner) <= max);
    rest = tbi_cur_rest(&inner, &size);
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum ^= rest[i]; /* a sanitizer sees it where it is not ours */
    }
    require(sum == 0 || size > 0);
    require(tbi_cur_finish(&inner) == inner.error);
}

static void step(struct tbi_cursor *c, uint8_t what, struct tbi_writer *out)
{
    uint8_t bytes[32];
    size_t size = what >> 3; /* 0..31 */
    uint64_t v;

    switch (what & 7U) {
    case 0:
        tbi_put_u8(out, tbi_cur_u8(c));
        break;
    case 1:
        tbi_put_u16(out, tbi_cur_u16(c));
        break;
    case 2:
        tbi_put_u32(out, tbi_cur_u32(c));
        break;
    case 3:
        tbi_put_u64(out, tbi_cur_u64(c));
        break;
    case 4:
        read_varint(c);
        break;
    case 5:
        read_prefixed(c, size);
        break;
    case 6:
        tbi_cur_copy(c, bytes, size);
        tbi_put_bytes(out, bytes, size);
        break;
    default:
        v = tbi_cur_varint_in(c, size, size * 100);
        require(c->error != 0 ? v == 0 : v >= size && v <= size * 100);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    size_t steps = data[0] < size - 1 ? data[0] : size - 1;
    size_t count = size - 1 - steps;
    uint8_t *bytes = malloc(count > 0 ? count : 1); /* reading past them is noticed */
    uint8_t written[64];
    struct tbi_cursor c;
    struct tbi_writer out;

    if (bytes == NULL) {
        return 0;
    }
    if (count > 0) {
        memcpy(bytes, data + 1 + steps, count);
    }
    tbi_cur_init(&c, bytes, count);
    tbi_put_init(&out, written, sizeof written);
    for (size_t i = 0; i < steps; i++) {
        int error = c.error;
        const uint8_t *at = c.at;
        step(&c, data[1 + i], &out);
        require(error == 0 || (c.error == error && c.at == at));
        require(c.error == 0 || c.error == TBQ_ERR_MALFORMED);
        require(c.at >= at && c.at <= c.end && c.end == bytes + count);
        require(tbi_put_size(&out) <= sizeof written);
    }
    bool all = c.error == 0 && tbi_cur_left(&c) == 0;
    require((tbi_cur_finish(&c) == 0) == all);
    free(bytes);
    return 0;
}
