/* base/heap.h - deadlines, the nearest first. The nodes live in their owners' structs. */
#ifndef TBI_BASE_HEAP_H
#define TBI_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct tbi_timer {
    uint64_t at;    /* ns, monotonic */
    uint64_t order; /* of arming: equal deadlines fire in this order, so runs repeat */
    size_t slot;    /* 1 + index in the heap; 0: not armed */
    void *owner;
    int kind; /* the owner's own number for what the timer means */
};

struct tbi_heap {
    const struct tbi_alloc *alloc;
    struct tbi_timer **nodes;
    size_t count;
    size_t capacity;
    size_t reserved; /* timers that were promised a place */
    uint64_t next_order;
};

void tbi_heap_init(struct tbi_heap *h, const struct tbi_alloc *a);
void tbi_heap_free(struct tbi_heap *h);

#define TBI_HEAP_ROOM_MAX 16384 /* timers that there is room for before anybody needs it */

/* Room for so many timers at once, at most TBI_HEAP_ROOM_MAX: an array that grew in a crowd would
 * lie behind the memory of the crowd, and hold what that leaves. 0 or TBQ_ERR_NOMEM. */
int tbi_heap_room(struct tbi_heap *h, size_t timers);

/* Makes room for one more timer, so that arming it cannot fail. 0 or TBQ_ERR_NOMEM. */
int tbi_timer_register(struct tbi_heap *h, struct tbi_timer *t, void *owner, int kind);
void tbi_timer_unregister(struct tbi_heap *h, struct tbi_timer *t); /* disarms; zeroed is fine */

void tbi_timer_set(struct tbi_heap *h, struct tbi_timer *t, uint64_t at); /* TBI_NEVER: disarms */
bool tbi_timer_armed(const struct tbi_timer *t);
uint64_t tbi_heap_next(const struct tbi_heap *h); /* TBI_NEVER when empty */

/* The next timer whose time has come, disarmed; NULL when there is none. */
struct tbi_timer *tbi_heap_due(struct tbi_heap *h, uint64_t now);

#endif
