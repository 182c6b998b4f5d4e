/* base/block.c - see block.h. */
#include "base/block.h"

#include <string.h>

/* Few bytes lie behind the struct, in one piece with it; many, which may grow, apart. */
static struct tbi_block *make(const struct tbi_alloc *a, size_t front, size_t capacity)
{
    if (front > TBI_PIECE_MAX / 2 || capacity > SIZE_MAX - TBI_PIECE_MAX) {
        return NULL;
    }
    bool apart = sizeof(struct tbi_block) + front + capacity > TBI_PIECE_MAX;
    size_t piece = sizeof(struct tbi_block) + (apart ? 0 : front + capacity);
    struct tbi_block *b = tbi_piece_new(a, piece);
    if (b == NULL) {
        return NULL;
    }
    size_t size = front + capacity;
    uint8_t *bytes = apart ? tbi_area_new(a, &size) : (uint8_t *)(b + 1);
    if (bytes == NULL) {
        tbi_piece_free(a, b, piece);
        return NULL;
    }
    *b = (struct tbi_block){.alloc = a,
                            .data = bytes + front,
                            .capacity = size - front,
                            .refs = 1,
                            .piece = (uint16_t)piece,
                            .front = (uint16_t)front,
                            .apart = apart};
    return b;
}

struct lent {
    struct tbi_block block;
    void (*gone)(void *user); /* NULL: nobody is told */
    void *user;
};

static struct lent *lent_of(struct tbi_block *b)
{
    return (struct lent *)(void *)b;
}

struct tbi_block *tbi_block_lend(const struct tbi_alloc *a, const void *data, size_t size,
                                 void (*gone)(void *user), void *user)
{
    struct lent *l = tbi_piece_new(a, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    *l = (struct lent){.block = {.alloc = a,
                                 .data = (uint8_t *)(uintptr_t)data, /* not written to */
                                 .size = size,
                                 .capacity = size,
                                 .refs = 1,
                                 .piece = sizeof *l,
                                 .lent = true},
                       .gone = gone,
                       .user = user};
    return &l->block;
}

void *tbi_block_call_off(struct tbi_block *b)
{
    lent_of(b)->gone = NULL;
    return lent_of(b)->user;
}

struct tbi_block *tbi_block_new(const struct tbi_alloc *a, size_t capacity)
{
    return make(a, 0, capacity);
}

struct tbi_block *tbi_block_roomy(const struct tbi_alloc *a, size_t front, size_t capacity)
{
    struct tbi_block *b = make(a, front, capacity);
    if (b != NULL) {
        b->prefixed = true; /* the room is taken */
    }
    return b;
}

void *tbi_block_front(const struct tbi_block *b)
{
    return b->data - b->front;
}

struct tbi_block *tbi_block_copy(const struct tbi_alloc *a, const void *data, size_t size)
{
    return tbi_block_behind(a, 0, data, size);
}

struct tbi_block *tbi_block_behind(const struct tbi_alloc *a, size_t front, const void *data,
                                   size_t size)
{
    struct tbi_block *b = make(a, front, size);
    if (b != NULL && size > 0) {
        memcpy(b->data, data, size);
        b->size = size;
    }
    return b;
}

uint8_t *tbi_block_prefix(struct tbi_block *b, const void *prefix, size_t size)
{
    if (size > b->front || b->prefixed) {
        return NULL;
    }
    b->prefixed = true;
    return memcpy(b->data - size, prefix, size);
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
    if (b->apart) {
        tbi_area_free(b->alloc, b->data - b->front, b->front + b->capacity);
    }
    if (b->lent && lent_of(b)->gone != NULL) {
        lent_of(b)->gone(lent_of(b)->user);
    }
    tbi_piece_free(b->alloc, b, b->piece);
}

/* Room for that many bytes in all, at least. */
static int grow(struct tbi_block *b, size_t size)
{
    void *bytes = b->apart ? b->data - b->front : NULL;
    size_t capacity = b->front + b->capacity;
    int rv = tbi_grow(b->alloc, &bytes, &capacity, b->front + size, 1);

    if (rv < 0) {
        return rv;
    }
    if (!b->apart) {
        memcpy((uint8_t *)bytes, b->data - b->front, b->front + b->size);
    }
    b->apart = true;
    b->data = (uint8_t *)bytes + b->front;
    b->capacity = capacity - b->front;
    return 0;
}

int tbi_block_append(struct tbi_block *b, const void *data, size_t size)
{
    if (b->refs != 1 || b->lent) {
        return TBQ_ERR_INTERNAL; /* another reader holds pointers into it, or another writer */
    }
    if (size > SIZE_MAX - TBI_PIECE_MAX - b->size) {
        return TBQ_ERR_NOMEM;
    }
    int rv = b->size + size > b->capacity ? grow(b, b->size + size) : 0;
    if (rv == 0 && size > 0) {
        memcpy(b->data + b->size, data, size);
        b->size += size;
    }
    return rv;
}
