/* base/alloc.c - see alloc.h. */
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *libc_alloc(void *user, size_t size)
{
    (void)user;
    return malloc(size);
}

static void *libc_realloc(void *user, void *ptr, size_t size)
{
    (void)user;
    return realloc(ptr, size);
}

static void libc_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

int tbi_alloc_init(struct tbi_alloc *a, const tbq_allocator *hook)
{
    static const tbq_allocator libc = {
        .alloc = libc_alloc, .realloc = libc_realloc, .free = libc_free};

    if (hook == NULL || (hook->alloc == NULL && hook->realloc == NULL && hook->free == NULL)) {
        a->hook = libc;
        return 0;
    }
    if (hook->alloc == NULL || hook->realloc == NULL || hook->free == NULL) {
        return TBQ_ERR_INVALID;
    }
    a->hook = *hook;
    return 0;
}

void *tbi_malloc(const struct tbi_alloc *a, size_t size)
{
    /* One byte at least: NULL shall mean "out of memory" and nothing else. */
    return a->hook.alloc(a->hook.user, size > 0 ? size : 1);
}

void *tbi_calloc(const struct tbi_alloc *a, size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    void *ptr = tbi_malloc(a, count * size);
    if (ptr != NULL) {
        memset(ptr, 0, count * size);
    }
    return ptr;
}

void *tbi_realloc(const struct tbi_alloc *a, void *ptr, size_t size)
{
    return a->hook.realloc(a->hook.user, ptr, size > 0 ? size : 1);
}

void *tbi_memdup(const struct tbi_alloc *a, const void *data, size_t size)
{
    void *copy = tbi_malloc(a, size);
    if (copy != NULL && size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

char *tbi_strdup(const struct tbi_alloc *a, const char *text)
{
    return tbi_memdup(a, text, strlen(text) + 1);
}

void tbi_free(const struct tbi_alloc *a, void *ptr)
{
    if (ptr != NULL) {
        a->hook.free(a->hook.user, ptr);
    }
}

int tbi_grow(const struct tbi_alloc *a, void **array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) {
        return 0;
    }
    size_t wanted = *capacity > 0 ? *capacity : 8;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2) {
            return TBQ_ERR_NOMEM;
        }
        wanted *= 2;
    }
    if (size > 0 && wanted > SIZE_MAX / size) {
        return TBQ_ERR_NOMEM;
    }
    void *grown = tbi_realloc(a, *array, wanted * size);
    if (grown == NULL) {
        return TBQ_ERR_NOMEM;
    }
    *array = grown;
    *capacity = wanted;
    return 0;
}

void tbi_wipe(void *data, size_t size)
{
    /* A volatile pointer: the compiler may not conclude that nobody reads the zeroes. */
    volatile uint8_t *p = data;
    while (size-- > 0) {
        *p++ = 0;
    }
}
