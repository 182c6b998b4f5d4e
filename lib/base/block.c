/* base/block.c - see block.h. */
#include "base/block.h"

#include <string.h>

/* The bytes lie behind the struct, in one piece of memory, until they outgrow it. */
static uint8_t *behind(struct tbi_block *b)
{
    return (uint8_t *)(b + 1);
}

struct tbi_block *tbi_block_new(const struct tbi_alloc *a, size_t capacity)
{
    struct tbi_block *b =
        capacity <= SIZE_MAX - sizeof *b ? tbi_malloc(a, sizeof *b + capacity) : NULL;
    if (b == NULL) {
        return NULL;
    }
    *b = (struct tbi_block){.alloc = a, .refs = 1, .capacity = capacity};
    b->data = behind(b);
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
    if (b->data != behind(b)) {
        tbi_free(b->alloc, b->data);
    }
    tbi_free(b->alloc, b);
}

/* Room for that many bytes in all, at least. */
static int grow(struct tbi_block *b, size_t size)
{
    bool moves = b->data == behind(b);
    void *bytes = moves ? NULL : b->data;
    size_t capacity = b->capacity;
    int rv = tbi_grow(b->alloc, &bytes, &capacity, size, 1);

    if (rv < 0) {
        return rv;
    }
    if (moves) {
        memcpy(bytes, b->data, b->size);
    }
    b->data = bytes;
    b->capacity = capacity;
    return 0;
}

int tbi_block_append(struct tbi_block *b, const void *data, size_t size)
{
    if (b->refs != 1) {
        return TBQ_ERR_INTERNAL; /* another reader holds pointers into it */
    }
    if (size > SIZE_MAX - b->size) {
        return TBQ_ERR_NOMEM;
    }
    int rv = b->size + size > b->capacity ? grow(b, b->size + size) : 0;
    if (rv == 0 && size > 0) {
        memcpy(b->data + b->size, data, size);
        b->size += size;
    }
    return rv;
}
