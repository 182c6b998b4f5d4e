/* wire/fields.h - fields that may grow: type, length, value, in strictly rising order of type.
 *
 * An unknown odd field is skipped, an unknown even one is TBQ_ERR_UNSUPPORTED. Only lib/wire
 * includes this. */
#ifndef TBI_WIRE_FIELDS_H
#define TBI_WIRE_FIELDS_H

#include "base/addr.h"
#include "base/cursor.h"

struct tbi_fields {
    struct tbi_cursor *from;
    uint64_t next; /* the lowest type that may still come */
};

void tbi_fields_init(struct tbi_fields *f, struct tbi_cursor *from);

/* The next field, its value as a cursor of its own; false at the end or after an error, which is
 * left in the cursor that the fields come from. */
bool tbi_fields_next(struct tbi_fields *f, uint64_t *type, struct tbi_cursor *value);

/* To be called when a field was read: its value must have been used up. */
void tbi_fields_done(struct tbi_fields *f, struct tbi_cursor *value);

/* To be called for a type that is not known. */
void tbi_fields_unknown(struct tbi_fields *f, uint64_t type);

/* All that is left must be fields, and none is known. */
void tbi_fields_skip(struct tbi_cursor *from);

void tbi_put_field(struct tbi_writer *w, uint64_t type, const void *value, size_t size);
void tbi_put_field_varint(struct tbi_writer *w, uint64_t type, uint64_t value);
void tbi_put_field_u64(struct tbi_writer *w, uint64_t type, uint64_t value);

/* An address is 4 or 16 bytes and a port: 6 or 18 bytes in all; port 0 is refused. */
void tbi_put_address(struct tbi_writer *w, const struct tbi_addr *a);
void tbi_get_address(struct tbi_cursor *c, struct tbi_addr *a);

/* A signed record as bytes: its length, then 1..TBI_RECORD_SIZE_MAX bytes. */
void tbi_put_sealed(struct tbi_writer *w, const uint8_t *record, size_t size);
const uint8_t *tbi_get_sealed(struct tbi_cursor *c, size_t *size);

uint64_t tbi_get_id(struct tbi_cursor *c); /* 8 bytes, never 0 */

uint64_t tbi_clamp(uint64_t v, uint64_t min, uint64_t max);

/* Keeps an earlier error, as the writer itself does. */
void tbi_put_fail(struct tbi_writer *w, int error);

#endif
