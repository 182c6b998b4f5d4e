/* base/cursor.h - the only way in for bytes from outside, and the only way out.
 *
 * A cursor reads, a writer writes; both carry an error that sticks, so that a parser reads a whole
 * structure and checks once at the end. After an error every read yields zeroes. */
#ifndef TBI_BASE_CURSOR_H
#define TBI_BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TBI_VARINT_MAX UINT64_C(0x3fffffffffffffff) /* RFC 9000, section 16 */
#define TBI_VARINT_SIZE_MAX 8

struct tbi_cursor {
    const uint8_t *at;
    const uint8_t *end;
    int error; /* 0, or the first TBQ_ERR_* */
};

static inline void tbi_cur_init(struct tbi_cursor *c, const void *data, size_t size)
{
    c->at = data;
    c->end = size > 0 ? c->at + size : c->at;
    c->error = 0;
}

static inline size_t tbi_cur_left(const struct tbi_cursor *c)
{
    return c->error != 0 ? 0 : (size_t)(c->end - c->at);
}

static inline int tbi_cur_error(const struct tbi_cursor *c)
{
    return c->error;
}

void tbi_cur_fail(struct tbi_cursor *c, int error); /* keeps an earlier error */

uint8_t tbi_cur_u8(struct tbi_cursor *c);
uint16_t tbi_cur_u16(struct tbi_cursor *c); /* big endian, as all fixed-size numbers */
uint32_t tbi_cur_u32(struct tbi_cursor *c);
uint64_t tbi_cur_u64(struct tbi_cursor *c);
uint64_t tbi_cur_varint(struct tbi_cursor *c);

/* A varint in min..max, else TBQ_ERR_MALFORMED. */
uint64_t tbi_cur_varint_in(struct tbi_cursor *c, uint64_t min, uint64_t max);

/* The next `size` bytes, in place; NULL after an error. */
const uint8_t *tbi_cur_take(struct tbi_cursor *c, size_t size);

/* Copies the next `size` bytes, or zeroes after an error. */
void tbi_cur_copy(struct tbi_cursor *c, void *to, size_t size);

/* A varint length, at most `max`, and that many bytes, as a cursor of its own. */
struct tbi_cursor tbi_cur_prefixed(struct tbi_cursor *c, size_t max);

/* All that is left, in place. */
const uint8_t *tbi_cur_rest(struct tbi_cursor *c, size_t *size);

/* TBQ_ERR_MALFORMED unless everything was read; returns the error. */
int tbi_cur_finish(struct tbi_cursor *c);

/* Whether the bytes begin with a whole varint; its value and size. For bytes that come in pieces.
 */
bool tbi_varint_peek_long(const uint8_t *data, size_t size, uint64_t *value, size_t *used);
static inline bool tbi_varint_peek(const uint8_t *data, size_t size, uint64_t *value, size_t *used)
{
    if (size > 0 && data[0] < 0x40) { /* most of them */
        *value = data[0];
        *used = 1;
        return true;
    }
    return tbi_varint_peek_long(data, size, value, used);
}

struct tbi_writer {
    uint8_t *begin;
    uint8_t *at;
    uint8_t *end;
    int error; /* 0 or TBQ_ERR_TOO_LARGE: nothing was written past end */
};

static inline void tbi_put_init(struct tbi_writer *w, void *data, size_t size)
{
    w->begin = w->at = data;
    w->end = size > 0 ? w->at + size : w->at;
    w->error = 0;
}

static inline size_t tbi_put_size(const struct tbi_writer *w) /* bytes written so far */
{
    return (size_t)(w->at - w->begin);
}

static inline int tbi_put_error(const struct tbi_writer *w)
{
    return w->error;
}

void tbi_put_u8(struct tbi_writer *w, uint8_t v);
void tbi_put_u16(struct tbi_writer *w, uint16_t v);
void tbi_put_u32(struct tbi_writer *w, uint32_t v);
void tbi_put_u64(struct tbi_writer *w, uint64_t v);
void tbi_put_varint(struct tbi_writer *w, uint64_t v); /* the shortest form */
void tbi_put_bytes(struct tbi_writer *w, const void *data, size_t size);
void tbi_put_prefixed(struct tbi_writer *w, const void *data, size_t size);
size_t tbi_varint_size(uint64_t v); /* 1, 2, 4 or 8 */

#endif
