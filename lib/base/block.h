/* base/block.h - a counted payload: one owner for bytes, any number of readers.
 *
 * A message's body is copied once into a block. The link holds it until its fate, a connection
 * until QUIC has it acknowledged, an event until it is released; the last reference frees it.
 * Not thread-safe: one server, one thread at a time. */
#ifndef TBI_BASE_BLOCK_H
#define TBI_BASE_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct tbi_block {
    const struct tbi_alloc *alloc;
    size_t refs;
    size_t size;     /* bytes that count */
    size_t capacity; /* bytes that there is room for */
    uint8_t *data;
};

/* One reference, size 0, room for `capacity` bytes. NULL when out of memory. */
struct tbi_block *tbi_block_new(const struct tbi_alloc *a, size_t capacity);
struct tbi_block *tbi_block_copy(const struct tbi_alloc *a, const void *data, size_t size);
struct tbi_block *tbi_block_ref(struct tbi_block *b); /* returns b; NULL stays NULL */
void tbi_block_unref(struct tbi_block *b);            /* NULL is fine */

/* Appends; grows by doubling. 0, TBQ_ERR_NOMEM, or TBQ_ERR_INTERNAL while others hold it too; the
 * block is unchanged after an error. */
int tbi_block_append(struct tbi_block *b, const void *data, size_t size);

#endif
