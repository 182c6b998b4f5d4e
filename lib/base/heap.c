/* base/heap.c - see heap.h: a binary heap of pointers to timers. */
#include "base/heap.h"

#include <string.h>

#include "base/now.h"

void tbi_heap_init(struct tbi_heap *h, const struct tbi_alloc *a)
{
    memset(h, 0, sizeof *h);
    h->alloc = a;
}

void tbi_heap_free(struct tbi_heap *h)
{
    tbi_free(h->alloc, h->nodes);
    tbi_heap_init(h, h->alloc);
}

static int grow(struct tbi_heap *h, size_t timers)
{
    void *nodes = h->nodes;
    int rv = tbi_grow(h->alloc, &nodes, &h->capacity, timers, sizeof *h->nodes);
    h->nodes = nodes;
    return rv;
}

int tbi_heap_room(struct tbi_heap *h, size_t timers)
{
    return grow(h, timers < TBI_HEAP_ROOM_MAX ? timers : TBI_HEAP_ROOM_MAX);
}

int tbi_timer_register(struct tbi_heap *h, struct tbi_timer *t, void *owner, int kind)
{
    int rv = grow(h, h->reserved + 1);
    if (rv < 0) {
        return rv;
    }
    h->reserved++;
    *t = (struct tbi_timer){.at = TBI_NEVER, .owner = owner, .kind = kind};
    return 0;
}

static bool before(const struct tbi_timer *a, const struct tbi_timer *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void place(struct tbi_heap *h, size_t i, struct tbi_timer *t)
{
    h->nodes[i] = t;
    t->slot = i + 1;
}

static void sift_up(struct tbi_heap *h, size_t i, struct tbi_timer *t)
{
    while (i > 0 && before(t, h->nodes[(i - 1) / 2])) {
        place(h, i, h->nodes[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, t);
}

static void sift_down(struct tbi_heap *h, size_t i, struct tbi_timer *t)
{
    for (size_t child; (child = 2 * i + 1) < h->count; i = child) {
        if (child + 1 < h->count && before(h->nodes[child + 1], h->nodes[child])) {
            child++;
        }
        if (!before(h->nodes[child], t)) {
            break;
        }
        place(h, i, h->nodes[child]);
    }
    place(h, i, t);
}

static void disarm(struct tbi_heap *h, struct tbi_timer *t)
{
    size_t i = t->slot - 1;
    struct tbi_timer *last = h->nodes[--h->count];
    t->slot = 0;
    if (last == t) {
        return;
    }
    if (i > 0 && before(last, h->nodes[(i - 1) / 2])) {
        sift_up(h, i, last);
    } else {
        sift_down(h, i, last);
    }
}

void tbi_timer_unregister(struct tbi_heap *h, struct tbi_timer *t)
{
    if (t->slot > 0) {
        disarm(h, t);
    }
    if (t->owner != NULL) {
        h->reserved--;
    }
    memset(t, 0, sizeof *t);
}

void tbi_timer_set(struct tbi_heap *h, struct tbi_timer *t, uint64_t at)
{
    if (t->slot > 0) {
        if (t->at == at) {
            return;
        }
        disarm(h, t);
    }
    t->at = at;
    if (at != TBI_NEVER) {
        t->order = h->next_order++;
        sift_up(h, h->count++, t);
    }
}

bool tbi_timer_armed(const struct tbi_timer *t)
{
    return t->slot > 0;
}

uint64_t tbi_heap_next(const struct tbi_heap *h)
{
    return h->count > 0 ? h->nodes[0]->at : TBI_NEVER;
}

struct tbi_timer *tbi_heap_due(struct tbi_heap *h, uint64_t now)
{
    if (h->count == 0 || h->nodes[0]->at > now) {
        return NULL;
    }
    struct tbi_timer *t = h->nodes[0];
    disarm(h, t);
    return t;
}
