/* wire/fields.c - fields that may grow, and the small pieces that frames, kinds and records share.
 */
#include "wire/fields.h"

#include <tbquic/error.h>

#include "wire/record.h"

void tbi_fields_init(struct tbi_fields *f, struct tbi_cursor *from)
{
    f->from = from;
    f->next = 0;
}

bool tbi_fields_next(struct tbi_fields *f, uint64_t *type, struct tbi_cursor *value)
{
    if (tbi_cur_error(f->from) != 0 || tbi_cur_left(f->from) == 0) {
        return false;
    }
    /* strictly rising, so that a field cannot come twice */
    *type = tbi_cur_varint_in(f->from, f->next, TBI_VARINT_MAX);
    *value = tbi_cur_prefixed(f->from, tbi_cur_left(f->from));
    f->next = *type + 1;
    return tbi_cur_error(f->from) == 0;
}

void tbi_fields_done(struct tbi_fields *f, struct tbi_cursor *value)
{
    int rv = tbi_cur_finish(value);
    if (rv != 0) {
        tbi_cur_fail(f->from, rv);
    }
}

void tbi_fields_unknown(struct tbi_fields *f, uint64_t type)
{
    if (type % 2 == 0) {
        tbi_cur_fail(f->from, TBQ_ERR_UNSUPPORTED);
    }
}

void tbi_fields_skip(struct tbi_cursor *from)
{
    struct tbi_fields f;
    struct tbi_cursor value;
    uint64_t type;

    tbi_fields_init(&f, from);
    while (tbi_fields_next(&f, &type, &value)) {
        tbi_fields_unknown(&f, type);
    }
}

void tbi_put_field(struct tbi_writer *w, uint64_t type, const void *value, size_t size)
{
    tbi_put_varint(w, type);
    tbi_put_prefixed(w, value, size);
}

void tbi_put_field_varint(struct tbi_writer *w, uint64_t type, uint64_t value)
{
    if (value > TBI_VARINT_MAX) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_varint(w, type);
    tbi_put_varint(w, tbi_varint_size(value));
    tbi_put_varint(w, value);
}

void tbi_put_field_u64(struct tbi_writer *w, uint64_t type, uint64_t value)
{
    tbi_put_varint(w, type);
    tbi_put_varint(w, 8);
    tbi_put_u64(w, value);
}

void tbi_put_address(struct tbi_writer *w, const struct tbi_addr *a)
{
    size_t size = 0;
    const uint8_t *ip = tbi_addr_bytes(a, &size);

    if (ip == NULL || size == 0 || tbi_addr_port(a) == 0) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_varint(w, size + 2);
    tbi_put_bytes(w, ip, size);
    tbi_put_u16(w, tbi_addr_port(a));
}

void tbi_get_address(struct tbi_cursor *c, struct tbi_addr *a)
{
    size_t size = tbi_cur_left(c);
    const uint8_t *ip = NULL;
    uint16_t port;

    if (size == 4 + 2 || size == 16 + 2) {
        ip = tbi_cur_take(c, size - 2);
    }
    port = tbi_cur_u16(c);
    if (ip == NULL || port == 0 || tbi_addr_from_bytes(a, ip, size - 2, port) != 0) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
    }
}

void tbi_put_sealed(struct tbi_writer *w, const uint8_t *record, size_t size)
{
    if (size < 1 || size > TBI_RECORD_SIZE_MAX) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_prefixed(w, record, size);
}

const uint8_t *tbi_get_sealed(struct tbi_cursor *c, size_t *size)
{
    struct tbi_cursor value = tbi_cur_prefixed(c, TBI_RECORD_SIZE_MAX);

    if (tbi_cur_error(c) == 0 && tbi_cur_left(&value) == 0) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
    }
    return tbi_cur_rest(&value, size);
}

uint64_t tbi_get_id(struct tbi_cursor *c)
{
    uint64_t id = tbi_cur_u64(c);

    if (id == 0) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
    }
    return id;
}

uint64_t tbi_clamp(uint64_t v, uint64_t min, uint64_t max)
{
    return v < min ? min : v > max ? max : v;
}

void tbi_put_fail(struct tbi_writer *w, int error)
{
    if (w->error == 0) {
        w->error = error;
    }
}
