/* tests/fuzz/fuzz_frames.c - any bytes as a stream: the reader and every frame's decoder.
 *
 * Input: one byte, the size of the pieces in which the rest arrives (0: all at once). Held against
 * it: the pieces do not change what is read, and what was decoded, encoded and decoded again is
 * encoded to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"

#define BODY_MAX (TBI_CONTROL_FRAME_MAX + TBI_FRAME_HEAD_MAX)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* For each frame: decode to a struct and encode that; returns the decoder's answer. */
typedef int again_fn(struct tbi_cursor body, struct tbi_writer *w);
#define AGAIN(name)                                                                                \
    static int again_##name(struct tbi_cursor body, struct tbi_writer *w)                          \
    {                                                                                              \
        struct tbi_##name f;                                                                       \
        int rv = tbi_get_##name(body, &f);                                                         \
        if (rv == 0) {                                                                             \
            tbi_put_##name(w, &f);                                                                 \
        }                                                                                          \
        return rv;                                                                                 \
    }
AGAIN(hello)
AGAIN(confirm)
AGAIN(ack)
AGAIN(numbers)
AGAIN(declined)
AGAIN(settled)
AGAIN(elsewhere)
AGAIN(busy)
AGAIN(rest)
AGAIN(early_ping)
AGAIN(early_pong)

static int again_message(struct tbi_cursor body, struct tbi_writer *w)
{
    struct tbi_message f;
    size_t size;
    const uint8_t *rest;
    int rv = tbi_get_message_head(&body, &f);

    if (rv == 0) {
        rest = tbi_cur_rest(&body, &size);
        tbi_put_message_head(w, &f, size);
        tbi_put_bytes(w, rest, size);
    }
    return rv;
}

static again_fn *again_of(uint64_t type)
{
    switch (type) {
#define AGAIN_CASE(name, number, body)                                                             \
    case number:                                                                                   \
        return again_##body;
        TBI_FRAME_MAP(AGAIN_CASE)
#undef AGAIN_CASE
    default:
        return NULL;
    }
}

static void check_frame(uint64_t type, const uint8_t *body, size_t size)
{
    static uint8_t first[2 * BODY_MAX], second[2 * BODY_MAX];
    again_fn *again = again_of(type);
    struct tbi_writer one, two;
    struct tbi_cursor c;
    uint64_t length;
    int rv;

    if (again == NULL) {
        return;
    }
    tbi_cur_init(&c, body, size);
    tbi_put_init(&one, first, sizeof first);
    rv = again(c, &one);
    if (rv != 0) {
        require(rv == TBQ_ERR_MALFORMED || rv == TBQ_ERR_UNSUPPORTED);
        return;
    }
    require(tbi_put_error(&one) == 0);
    tbi_cur_init(&c, first, tbi_put_size(&one));
    require(tbi_cur_varint(&c) == type);
    length = tbi_cur_varint(&c);
    require(tbi_cur_error(&c) == 0 && length == tbi_cur_left(&c));
    tbi_put_init(&two, second, sizeof second);
    require(again(c, &two) == 0 && tbi_put_error(&two) == 0);
    require(tbi_put_size(&one) == tbi_put_size(&two));
    require(memcmp(first, second, tbi_put_size(&one)) == 0);
}

/* FNV-1a over what was read, to compare two ways of cutting. */
static uint64_t mix(uint64_t hash, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

struct bodies {
    uint8_t at[BODY_MAX]; /* the frame's body as far as it fits */
    size_t have;
    uint64_t hash;
};

static bool take_piece(struct tbi_frame_reader *r, struct tbi_cursor *c, struct bodies *b)
{
    for (;;) {
        const uint8_t *body;
        size_t size;
        bool complete;
        switch (tbi_frame_step(r, c, &body, &size, &complete)) {
        case TBI_STEP_NEED_MORE:
            require(tbi_cur_left(c) == 0);
            return true;
        case TBI_STEP_HEAD:
            b->hash = mix(b->hash, (const uint8_t *)&r->type, sizeof r->type);
            b->hash = mix(b->hash, (const uint8_t *)&r->length, sizeof r->length);
            b->have = 0;
            break;
        case TBI_STEP_BODY:
            require(r->got <= r->length && complete == (r->got == r->length));
            b->hash = mix(b->hash, body, size);
            if (r->got <= sizeof b->at && size > 0) {
                memcpy(b->at + b->have, body, size);
                b->have += size;
            }
            if (complete && b->have == r->length) {
                check_frame(r->type, b->at, b->have);
            }
            break;
        case TBI_STEP_ERROR:
        default:
            require(tbi_cur_error(c) == TBQ_ERR_LIMIT);
            return false;
        }
    }
}

static uint64_t read_stream(const uint8_t *data, size_t size, size_t step)
{
    static struct bodies b;
    struct tbi_frame_reader r;

    b = (struct bodies){.hash = UINT64_C(0xcbf29ce484222325)};
    tbi_frame_reader_init(&r);
    for (size_t at = 0; at < size; at += step) {
        struct tbi_cursor c;
        tbi_cur_init(&c, data + at, size - at < step ? size - at : step);
        if (!take_piece(&r, &c, &b)) {
            return b.hash + 1;
        }
    }
    return b.hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tbi_prologue p;
    size_t used, step;

    if (size < 2) {
        return 0;
    }
    step = data[0] != 0 ? data[0] : size;
    data++;
    size--;
    if (tbi_get_prologue(data, size, &p, &used) == 0) {
        require(used > 0 && used <= size && (unsigned)p.lane < TBQ_LANES);
    }
    require(read_stream(data, size, step) == read_stream(data, size, size));
    return 0;
}
