/* base/alloc.c - see alloc.h. */
#include "base/alloc.h"

#include <stdbool.h>
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
        *a = (struct tbi_alloc){.hook = libc};
        return 0;
    }
    if (hook->alloc == NULL || hook->realloc == NULL || hook->free == NULL) {
        return TBQ_ERR_INVALID;
    }
    *a = (struct tbi_alloc){.hook = *hook};
    return 0;
}

/* --- What is kept for its next use ------------------------------------------------------------ */

#define CLASS_SIZE 64U /* bytes; a cache line */
#define CLASSES (TBI_PIECE_MAX / CLASS_SIZE)

struct piece {
    struct piece *next;
};

#define AREAS 16

struct tbi_spare {
    struct {
        struct piece *first;
        size_t count;
    } of[CLASSES];
    size_t bytes; /* of all of them */
    struct {
        void *at;
        size_t size;
    } area[AREAS]; /* the one that came last is last */
    size_t areas;
    size_t areas_bytes;
};

static void drop(const struct tbi_alloc *a, size_t i, size_t keep)
{
    struct piece *p;

    while (a->spare->of[i].count > keep && (p = a->spare->of[i].first) != NULL) {
        a->spare->of[i].first = p->next;
        a->spare->of[i].count--;
        a->spare->bytes -= (i + 1) * CLASS_SIZE;
        tbi_free(a, p);
    }
}

static void drop_areas(const struct tbi_alloc *a)
{
    while (a->spare->areas > 0) {
        tbi_free(a, a->spare->area[--a->spare->areas].at);
    }
    a->spare->areas_bytes = 0;
}

/* Others may need it more. False: there is nothing. */
static bool give_back(const struct tbi_alloc *a)
{
    bool any = a->spare != NULL && a->spare->bytes + a->spare->areas_bytes > 0;

    if (any) {
        drop_areas(a);
    }
    for (size_t i = 0; any && i < CLASSES; i++) {
        drop(a, i, 0);
    }
    return any;
}

/* --- Memory ----------------------------------------------------------------------------------- */

void *tbi_malloc(const struct tbi_alloc *a, size_t size)
{
    /* One byte at least: NULL shall mean "out of memory" and nothing else. */
    size = size > 0 ? size : 1;
    void *ptr = a->hook.alloc(a->hook.user, size);
    return ptr != NULL || !give_back(a) ? ptr : a->hook.alloc(a->hook.user, size);
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
    size = size > 0 ? size : 1;
    void *grown = a->hook.realloc(a->hook.user, ptr, size);
    return grown != NULL || !give_back(a) ? grown : a->hook.realloc(a->hook.user, ptr, size);
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

/* --- Pieces ----------------------------------------------------------------------------------- */

int tbi_alloc_keep(struct tbi_alloc *a)
{
#ifndef TBI_SEES_EVERY_USE /* a sanitizer, which could not tell whose a piece is now */
    a->spare = tbi_calloc(a, 1, sizeof *a->spare);
    return a->spare != NULL ? 0 : TBQ_ERR_NOMEM;
#else
    a->spare = NULL;
    return 0;
#endif
}

void tbi_alloc_trim(const struct tbi_alloc *a, bool all)
{
    if (a->spare != NULL) {
        drop_areas(a);
    }
    for (size_t i = 0; a->spare != NULL && i < CLASSES; i++) {
        drop(a, i, all ? 0 : a->spare->of[i].count / 2);
    }
}

void tbi_alloc_release(struct tbi_alloc *a)
{
    (void)give_back(a);
    tbi_free(a, a->spare);
    a->spare = NULL;
}

static size_t class_of(size_t size)
{
    return size > 0 ? (size - 1) / CLASS_SIZE : 0;
}

void *tbi_piece_new(const struct tbi_alloc *a, size_t size)
{
    size_t i = class_of(size);

    if (a->spare == NULL || i >= CLASSES) {
        return tbi_malloc(a, size);
    }
    struct piece *p = a->spare->of[i].first;
    if (p == NULL) {
        return tbi_malloc(a, (i + 1) * CLASS_SIZE);
    }
    a->spare->of[i].first = p->next;
    a->spare->of[i].count--;
    a->spare->bytes -= (i + 1) * CLASS_SIZE;
    tbi_prefetch(p->next, 1); /* the next one's turn is soon, and it was not used for a while */
    return p;
}

void tbi_piece_free(const struct tbi_alloc *a, void *piece, size_t size)
{
    size_t i = class_of(size);

    if (piece == NULL || a->spare == NULL || i >= CLASSES ||
        a->spare->bytes + (i + 1) * CLASS_SIZE > TBI_PIECES_BYTES) {
        tbi_free(a, piece);
        return;
    }
    struct piece *p = piece;
    p->next = a->spare->of[i].first;
    a->spare->of[i].first = p;
    a->spare->of[i].count++;
    a->spare->bytes += (i + 1) * CLASS_SIZE;
}

/* --- Areas ------------------------------------------------------------------------------------ */

static bool fits(size_t area, size_t size)
{
    return area >= size && area - size <= size / 2;
}

static void *take_area(struct tbi_spare *s, size_t i, size_t *size)
{
    void *at = s->area[i].at;

    *size = s->area[i].size;
    s->areas_bytes -= *size;
    s->areas--;
    memmove(&s->area[i], &s->area[i + 1], (s->areas - i) * sizeof s->area[i]);
    return at;
}

void *tbi_area_new(const struct tbi_alloc *a, size_t *size)
{
    struct tbi_spare *s = a->spare;

    for (size_t i = s != NULL ? s->areas : 0; i > 0; i--) {
        if (fits(s->area[i - 1].size, *size)) {
            return take_area(s, i - 1, size);
        }
    }
    return tbi_malloc(a, *size);
}

void tbi_area_free(const struct tbi_alloc *a, void *area, size_t size)
{
    struct tbi_spare *s = a->spare;

    if (area == NULL || s == NULL || size < TBI_AREA_MIN || s->areas == AREAS ||
        s->areas_bytes + size > TBI_AREAS_BYTES) {
        tbi_free(a, area);
        return;
    }
    s->area[s->areas].at = area;
    s->area[s->areas++].size = size;
    s->areas_bytes += size;
}
