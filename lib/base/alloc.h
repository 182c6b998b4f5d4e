/* base/alloc.h - the one door to memory: the embedder's allocator, or the C library's. */
#ifndef TBI_BASE_ALLOC_H
#define TBI_BASE_ALLOC_H

#include <stddef.h>

#include <tbquic/types.h>

struct tbi_alloc {
    tbq_allocator hook; /* always complete: the C library's functions when none was given */
};

/* hook NULL: the C library. Returns 0 or TBQ_ERR_INVALID (some functions missing). */
int tbi_alloc_init(struct tbi_alloc *a, const tbq_allocator *hook);

/* All return NULL when out of memory; tbi_calloc also when count * size overflows. */
void *tbi_malloc(const struct tbi_alloc *a, size_t size);
void *tbi_calloc(const struct tbi_alloc *a, size_t count, size_t size);
void *tbi_realloc(const struct tbi_alloc *a, void *ptr, size_t size);
char *tbi_strdup(const struct tbi_alloc *a, const char *text);
void *tbi_memdup(const struct tbi_alloc *a, const void *data, size_t size);
void tbi_free(const struct tbi_alloc *a, void *ptr); /* NULL is fine */

/* Grows *array (of elements of `size` bytes) to hold at least `need`, doubling; 0 or NOMEM. */
int tbi_grow(const struct tbi_alloc *a, void **array, size_t *capacity, size_t need, size_t size);

/* Overwrites secrets in a way the compiler keeps. */
void tbi_wipe(void *data, size_t size);

#endif
