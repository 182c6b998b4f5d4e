/* base/block.c - see block.h. */
#include "base/block.h"

#include <string.h>

struct tbi_block *tbi_block_new(const struct tbi_alloc *a, size_t capacity)
{
    struct tbi_block *b = tbi_calloc(a, 1, sizeof *b);
    if (b == NULL) {
        return NULL;
    }
    b->data = tbi_malloc(a, capacity);
    if (b->data == NULL) {
        tbi_free(a, b);
        return NULL;
    }
    b->alloc = a;
    b->refs = 1;
    b->capacity = capacity;
    return b;
}

struct tbi_block *tbi_block_copy(const struct tbi_alloc *a, const void *data, size_t size)
{
    struct tbi_block *b = tbi_block_new(a, size);
    if (b != NULL && size > 0) {
        memcpy(b->data, data, size);
        b->size = size;
    }
    return b;
}

struct tbi_block *tbi_block_ref(struct tbi_block *b)
{
    if (b != NULL) {
        b->refs++;
    }
    return b;
}

void tbi_block_unref(struct tbi_block *b)
{
    if (b == NULL || --b->refs > 0) {
        return;
    }
    tbi_free(b->alloc, b->data);
    tbi_free(b->alloc, b);
}

int tbi_block_append(struct tbi_block *b, const void *data, size_t size)
{
    if (b->refs != 1) {
        return TBQ_ERR_INTERNAL; /* another reader holds pointers into it */
    }
    if (size > SIZE_MAX - b->size) {
        return TBQ_ERR_NOMEM;
    }
    void *bytes = b->data;
    int rv = tbi_grow(b->alloc, &bytes, &b->capacity, b->size + size, 1);
    b->data = bytes;
    if (rv == 0 && size > 0) {
        memcpy(b->data + b->size, data, size);
        b->size += size;
    }
    return rv;
}
