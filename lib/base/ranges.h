/* base/ranges.h - a set of numbers as sorted, disjoint, non-adjacent ranges; bounded. */
#ifndef TBI_BASE_RANGES_H
#define TBI_BASE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct tbi_range {
    uint64_t from; /* first number in the set */
    uint64_t to;   /* first number past it */
};

struct tbi_ranges {
    const struct tbi_alloc *alloc;
    struct tbi_range *at;
    size_t count;
    size_t capacity;
    size_t limit; /* most ranges */
};

void tbi_ranges_init(struct tbi_ranges *r, const struct tbi_alloc *a, size_t limit);
void tbi_ranges_free(struct tbi_ranges *r);

/* The index of the first range that ends above n, or `count`. */
size_t tbi_ranges_above(const struct tbi_ranges *r, uint64_t n);

/* Adds from..to-1. 0, TBQ_ERR_LIMIT (unchanged) or TBQ_ERR_NOMEM (unchanged). */
int tbi_ranges_insert(struct tbi_ranges *r, uint64_t from, uint64_t to);
static inline int tbi_ranges_add(struct tbi_ranges *r, uint64_t from, uint64_t to)
{
    if (r->count > 0 && from < to && from == r->at[r->count - 1].to) { /* the next ones */
        r->at[r->count - 1].to = to;
        return 0;
    }
    return tbi_ranges_insert(r, from, to);
}

void tbi_ranges_drop_below(struct tbi_ranges *r, uint64_t floor);
void tbi_ranges_clear(struct tbi_ranges *r);

/* The first number >= n that is not in the set. */
uint64_t tbi_ranges_search(const struct tbi_ranges *r, uint64_t n);
static inline uint64_t tbi_ranges_gap(const struct tbi_ranges *r, uint64_t n)
{
    /* Without search: what is above all of them, and what lies in the first, as most does. */
    if (r->count == 0 || n >= r->at[r->count - 1].to) {
        return n;
    }
    return n >= r->at[0].from && n < r->at[0].to ? r->at[0].to : tbi_ranges_search(r, n);
}

static inline bool tbi_ranges_has(const struct tbi_ranges *r, uint64_t n)
{
    return tbi_ranges_gap(r, n) != n;
}

#endif
