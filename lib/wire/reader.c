/* wire/reader.c - the front of a stream, and frames out of its bytes as they come in pieces.
 *
 * Only heads are kept while they are incomplete; of bodies the reader counts the bytes. Whether
 * and where to collect them is the caller's choice, after it has seen the length. */
#include <string.h>

#include <tbquic/error.h>

#include "wire/frame.h"

#include "wire/fields.h"

void tbi_put_prologue(struct tbi_writer *w, const struct tbi_prologue *p)
{
    uint64_t lane = (uint64_t)p->lane;

    if (p->type != TBI_STREAM_CONTROL && lane >= TBQ_LANES) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    if (p->type == TBI_STREAM_LANE) {
        tbi_put_varint(w, TBI_STREAM_LANE + 2 * lane);
        return;
    }
    tbi_put_varint(w, p->type);
    if (p->type == TBI_STREAM_UNORDERED || p->type == TBI_STREAM_ASIDE) {
        tbi_put_varint(w, lane);
    }
}

int tbi_get_prologue(const uint8_t *data, size_t size, struct tbi_prologue *p, size_t *used)
{
    const uint64_t lane_last = TBI_STREAM_LANE + 2 * (TBQ_LANES - 1);
    size_t type_size, lane_size = 0;
    uint64_t type, lane = 0;

    if (!tbi_varint_peek(data, size, &type, &type_size)) {
        return TBQ_ERR_AGAIN;
    }
    if (type % 2 == 0 && type >= TBI_STREAM_LANE && type <= lane_last) {
        lane = (type - TBI_STREAM_LANE) / 2;
        type = TBI_STREAM_LANE;
    } else if (type == TBI_STREAM_UNORDERED || type == TBI_STREAM_ASIDE) {
        if (!tbi_varint_peek(data + type_size, size - type_size, &lane, &lane_size)) {
            return TBQ_ERR_AGAIN;
        }
        if (lane >= TBQ_LANES) {
            return TBQ_ERR_MALFORMED;
        }
    } else if (type % 2 == 0 && type != TBI_STREAM_CONTROL) {
        return TBQ_ERR_UNSUPPORTED;
    }
    p->type = type;
    p->lane = (tbq_lane)lane;
    *used = type_size + lane_size;
    return 0;
}

void tbi_frame_reader_init(struct tbi_frame_reader *r)
{
    memset(r, 0, sizeof *r);
}

/* The size of the head that the bytes begin with, type and length are set then; 0: incomplete. */
static size_t peek_head(struct tbi_frame_reader *r, const uint8_t *data, size_t size)
{
    size_t type_size, length_size;

    return tbi_varint_peek(data, size, &r->type, &type_size) &&
                   tbi_varint_peek(data + type_size, size - type_size, &r->length, &length_size)
               ? type_size + length_size
               : 0;
}

/* Where it came in pieces it is put together, byte by byte. */
static bool whole_head(struct tbi_frame_reader *r, struct tbi_cursor *c)
{
    size_t size = r->head_len == 0 ? peek_head(r, c->at, tbi_cur_left(c)) : 0;

    if (size > 0) {
        (void)tbi_cur_take(c, size);
        return true;
    }
    while (tbi_cur_left(c) > 0) {
        /* two varints have at most TBI_FRAME_HEAD_MAX bytes: the head cannot overflow */
        r->head[r->head_len++] = tbi_cur_u8(c);
        if (peek_head(r, r->head, r->head_len) > 0) {
            return true;
        }
    }
    return false;
}

static enum tbi_frame_step read_head(struct tbi_frame_reader *r, struct tbi_cursor *c)
{
    if (!whole_head(r, c)) {
        return TBI_STEP_NEED_MORE;
    }
    if (r->length > TBI_FRAME_LENGTH_MAX) {
        tbi_cur_fail(c, TBQ_ERR_LIMIT);
        return TBI_STEP_ERROR;
    }
    r->head_len = 0;
    r->got = 0;
    r->in_body = true;
    return TBI_STEP_HEAD;
}

enum tbi_frame_step tbi_frame_step(struct tbi_frame_reader *r, struct tbi_cursor *c,
                                   const uint8_t **body, size_t *body_size, bool *complete)
{
    uint64_t want;
    size_t size;

    *body = NULL;
    *body_size = 0;
    *complete = false;
    if (tbi_cur_error(c) != 0) {
        return TBI_STEP_ERROR;
    }
    if (!r->in_body) {
        return read_head(r, c);
    }
    want = r->length - r->got;
    size = tbi_cur_left(c) < want ? tbi_cur_left(c) : (size_t)want;
    if (size == 0 && want > 0) {
        return TBI_STEP_NEED_MORE;
    }
    *body = tbi_cur_take(c, size);
    *body_size = size;
    r->got += size;
    *complete = r->got == r->length;
    r->in_body = !*complete;
    return TBI_STEP_BODY;
}
