/* base/alloc.h - the one door to memory: the embedder's allocator, or the C library's. */
#ifndef TBI_BASE_ALLOC_H
#define TBI_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tbquic/types.h>

struct tbi_spare;
struct tbi_alloc {
    tbq_allocator hook;      /* always complete: the C library's functions when none was given */
    struct tbi_spare *spare; /* pieces that wait for their next use; NULL: none are kept */
};

/* hook NULL: the C library. Returns 0 or TBQ_ERR_INVALID (some functions missing). */
int tbi_alloc_init(struct tbi_alloc *a, const tbq_allocator *hook);

/* Pieces: what comes and goes with every message. Some of those given back are kept, by size, for
 * the next: taking one then costs a few instructions. Whoever gives one back tells its size.
 * Keeping begins with tbi_alloc_keep() and ends, for copies of `a` too, with tbi_alloc_release();
 * pieces that are in use stay valid. Without it, pieces are memory like any other. Where the
 * embedder has no memory for something else, all that is kept is given back first. */
#define TBI_PIECE_MAX 2560               /* bytes; larger ones are never kept */
#define TBI_PIECES_BYTES (8UL << 20)     /* that are kept, of all sizes: one for every 64 bytes */
int tbi_alloc_keep(struct tbi_alloc *a); /* 0 or TBQ_ERR_NOMEM */
void tbi_alloc_release(struct tbi_alloc *a);
/* Half of the pieces that are kept go, or all of them, and all areas: there is little traffic, or
 * none. What was allocated amid a crowd must not stay, or a page of the C library's stays with each
 * piece. */
void tbi_alloc_trim(const struct tbi_alloc *a, bool all);
void *tbi_piece_new(const struct tbi_alloc *a, size_t size); /* not cleared; NULL: out of memory */
void tbi_piece_free(const struct tbi_alloc *a, void *piece, size_t size); /* NULL is fine */

/* Areas: what large messages lie in. The C library gives such memory back to the system when it is
 * freed, and to have it again is a fault for each of its pages; so a few are kept, as pieces are.
 * `size` becomes what the area really has, which is told when it is given back; it may be more than
 * was asked for, by half. */
#define TBI_AREA_MIN 65536U /* bytes; smaller ones are never kept */
/* That are kept: four of a MiB, with what stands before the bytes in each. */
#define TBI_AREAS_BYTES ((4UL << 20) + (128UL << 10))
void *tbi_area_new(const struct tbi_alloc *a, size_t *size); /* not cleared; NULL: out of memory */
void tbi_area_free(const struct tbi_alloc *a, void *area, size_t size); /* NULL is fine */

/* All return NULL when out of memory; tbi_calloc also when count * size overflows. */
void *tbi_malloc(const struct tbi_alloc *a, size_t size);
void *tbi_calloc(const struct tbi_alloc *a, size_t count, size_t size);
void *tbi_realloc(const struct tbi_alloc *a, void *ptr, size_t size);
char *tbi_strdup(const struct tbi_alloc *a, const char *text);
void *tbi_memdup(const struct tbi_alloc *a, const void *data, size_t size);
void tbi_free(const struct tbi_alloc *a, void *ptr); /* NULL is fine */

/* Grows *array (of elements of `size` bytes) to hold at least `need`, doubling; 0 or NOMEM. */
int tbi_grow(const struct tbi_alloc *a, void **array, size_t *capacity, size_t need, size_t size);

/* What comes next in a walk over what was not used for a while: the memory of it comes into the
 * cache while there is something else to do. */
static inline void tbi_prefetch(const void *at, size_t size)
{
    for (uintptr_t i = 0; i < size; i += 64) { /* not as a pointer: it may lead nowhere */
        __builtin_prefetch((const void *)((uintptr_t)at + i), 1);
    }
}

/* Overwrites secrets in a way the compiler keeps. */
void tbi_wipe(void *data, size_t size);

#endif
