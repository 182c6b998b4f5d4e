/* base/cursor.c - see cursor.h. */
#include "base/cursor.h"

#include <string.h>

#include <tbquic/error.h>

void tbi_cur_fail(struct tbi_cursor *c, int error)
{
    if (c->error == 0) {
        c->error = error;
    }
}

const uint8_t *tbi_cur_take(struct tbi_cursor *c, size_t size)
{
    /* For the callers of 0 bytes at the end of nothing: any pointer that is not NULL will do. */
    static const uint8_t empty[1];

    if (c->error != 0 || size > (size_t)(c->end - c->at)) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
        return NULL;
    }
    if (size == 0) {
        return c->at != NULL ? c->at : empty;
    }
    const uint8_t *taken = c->at;
    c->at += size;
    return taken;
}

static uint64_t big_endian(struct tbi_cursor *c, size_t size)
{
    const uint8_t *p = tbi_cur_take(c, size);
    uint64_t v = 0;
    for (size_t i = 0; p != NULL && i < size; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

uint8_t tbi_cur_u8(struct tbi_cursor *c)
{
    return (uint8_t)big_endian(c, 1);
}

uint16_t tbi_cur_u16(struct tbi_cursor *c)
{
    return (uint16_t)big_endian(c, 2);
}

uint32_t tbi_cur_u32(struct tbi_cursor *c)
{
    return (uint32_t)big_endian(c, 4);
}

uint64_t tbi_cur_u64(struct tbi_cursor *c)
{
    return big_endian(c, 8);
}

bool tbi_varint_peek_long(const uint8_t *data, size_t size, uint64_t *value, size_t *used)
{
    if (size == 0) {
        return false;
    }
    size_t whole = (size_t)1 << (data[0] >> 6);
    if (size < whole) {
        return false;
    }
    uint64_t v = data[0] & 0x3fU;
    for (size_t i = 1; i < whole; i++) {
        v = v << 8 | data[i];
    }
    *value = v;
    *used = whole;
    return true;
}

uint64_t tbi_cur_varint(struct tbi_cursor *c)
{
    uint64_t value = 0;
    size_t used = 0;
    if (c->error != 0 || !tbi_varint_peek(c->at, (size_t)(c->end - c->at), &value, &used)) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
        return 0;
    }
    c->at += used;
    return value;
}

uint64_t tbi_cur_varint_in(struct tbi_cursor *c, uint64_t min, uint64_t max)
{
    uint64_t v = tbi_cur_varint(c);
    if (c->error != 0) {
        return 0;
    }
    if (v < min || v > max) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
        return 0;
    }
    return v;
}

void tbi_cur_copy(struct tbi_cursor *c, void *to, size_t size)
{
    const uint8_t *p = tbi_cur_take(c, size);
    if (size == 0) {
        return;
    }
    if (p != NULL) {
        memcpy(to, p, size);
    } else {
        memset(to, 0, size);
    }
}

struct tbi_cursor tbi_cur_prefixed(struct tbi_cursor *c, size_t max)
{
    size_t size = (size_t)tbi_cur_varint_in(c, 0, max);
    struct tbi_cursor inner;
    const uint8_t *data = tbi_cur_take(c, size);
    tbi_cur_init(&inner, data, data != NULL ? size : 0);
    inner.error = c->error;
    return inner;
}

const uint8_t *tbi_cur_rest(struct tbi_cursor *c, size_t *size)
{
    *size = tbi_cur_left(c);
    return tbi_cur_take(c, *size);
}

int tbi_cur_finish(struct tbi_cursor *c)
{
    if (c->error == 0 && c->at != c->end) {
        c->error = TBQ_ERR_MALFORMED;
    }
    return c->error;
}

void tbi_put_bytes(struct tbi_writer *w, const void *data, size_t size)
{
    if (w->error != 0) {
        return;
    }
    if (size > (size_t)(w->end - w->at)) {
        w->error = TBQ_ERR_TOO_LARGE;
        return;
    }
    if (size > 0) {
        memcpy(w->at, data, size);
        w->at += size;
    }
}

static void put_big_endian(struct tbi_writer *w, uint64_t v, size_t size)
{
    if (w->error != 0 || size > (size_t)(w->end - w->at)) {
        w->error = w->error != 0 ? w->error : TBQ_ERR_TOO_LARGE;
        return;
    }
    for (size_t i = size; i-- > 0; v >>= 8) {
        w->at[i] = (uint8_t)v;
    }
    w->at += size;
}

void tbi_put_u8(struct tbi_writer *w, uint8_t v)
{
    put_big_endian(w, v, 1);
}

void tbi_put_u16(struct tbi_writer *w, uint16_t v)
{
    put_big_endian(w, v, 2);
}

void tbi_put_u32(struct tbi_writer *w, uint32_t v)
{
    put_big_endian(w, v, 4);
}

void tbi_put_u64(struct tbi_writer *w, uint64_t v)
{
    put_big_endian(w, v, 8);
}

size_t tbi_varint_size(uint64_t v)
{
    return v < 0x40 ? 1 : v < 0x4000 ? 2 : v < 0x40000000 ? 4 : 8;
}

void tbi_put_varint(struct tbi_writer *w, uint64_t v)
{
    if (v < 0x40) { /* most of them */
        put_big_endian(w, v, 1);
    } else if (v < 0x4000) {
        put_big_endian(w, v | 0x4000, 2);
    } else if (v < 0x40000000) {
        put_big_endian(w, v | 0x80000000, 4);
    } else if (v <= TBI_VARINT_MAX) {
        put_big_endian(w, v | UINT64_C(3) << 62, 8);
    } else if (w->error == 0) {
        w->error = TBQ_ERR_TOO_LARGE;
    }
}

void tbi_put_prefixed(struct tbi_writer *w, const void *data, size_t size)
{
    tbi_put_varint(w, size);
    tbi_put_bytes(w, data, size);
}
