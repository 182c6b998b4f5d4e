/* base/block.h - a counted payload: one owner for bytes, any number of readers.
 *
 * A message's body is copied once into a block. The link holds it until its fate, a connection
 * until QUIC has it acknowledged, an event until it is released; the last reference frees it.
 * Not thread-safe: one server, one thread at a time. */
#ifndef TBI_BASE_BLOCK_H
#define TBI_BASE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct tbi_block {
    /* Aligned so that what lies behind the struct is, too. */
    _Alignas(max_align_t) const struct tbi_alloc *alloc;
    uint8_t *data;
    size_t size;     /* bytes that count */
    size_t capacity; /* bytes that there is room for */
    uint32_t refs;
    uint16_t piece; /* bytes of the struct, with the room behind it where few bytes lie at first */
    uint16_t front; /* bytes of room before `data` */
    bool prefixed;  /* which is used */
    bool apart;     /* the bytes have memory of their own */
    bool lent;      /* the bytes are somebody else's */
};

/* A block, and what stands before it where it is sent. */
struct tbi_headed {
    const uint8_t *head;
    size_t head_size;
    struct tbi_block *body; /* NULL: the head is all */
};

/* One reference, size 0, room for `capacity` bytes. NULL when out of memory. */
struct tbi_block *tbi_block_new(const struct tbi_alloc *a, size_t capacity);
struct tbi_block *tbi_block_copy(const struct tbi_alloc *a, const void *data, size_t size);
/* The same, with room before the bytes for something that lives as long as they do: at
 * tbi_block_front(), as aligned as memory is; it moves when the block grows. */
struct tbi_block *tbi_block_roomy(const struct tbi_alloc *a, size_t front, size_t capacity);
void *tbi_block_front(const struct tbi_block *b);
/* With room in front of the bytes. */
struct tbi_block *tbi_block_behind(const struct tbi_alloc *a, size_t front, const void *data,
                                   size_t size);
/* Bytes that stay somebody else's: gone(user) is called when the last reference is gone, and then
 * they are not looked at any more. They never change meanwhile, and the block does not grow. */
struct tbi_block *tbi_block_lend(const struct tbi_alloc *a, const void *data, size_t size,
                                 void (*gone)(void *user), void *user);
void *tbi_block_call_off(struct tbi_block *b); /* a lent one: nobody is told; returns `user` */
/* Puts something directly before the bytes, where it joins them; the block's own bytes are as they
 * were. NULL: there is no room, or it is used. */
uint8_t *tbi_block_prefix(struct tbi_block *b, const void *prefix, size_t size);
struct tbi_block *tbi_block_ref(struct tbi_block *b); /* returns b; NULL stays NULL */
void tbi_block_unref(struct tbi_block *b);            /* NULL is fine */

/* Appends; grows by doubling. 0, TBQ_ERR_NOMEM, or TBQ_ERR_INTERNAL while others hold it too, or
 * where its bytes are lent; the block is unchanged after an error. */
int tbi_block_append(struct tbi_block *b, const void *data, size_t size);

#endif
