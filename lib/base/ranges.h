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
bool tbi_ranges_has(const struct tbi_ranges *r, uint64_t n);

/* The index of the first range that ends above n, or `count`. */
size_t tbi_ranges_above(const struct tbi_ranges *r, uint64_t n);

/* Adds from..to-1. 0, TBQ_ERR_LIMIT (unchanged) or TBQ_ERR_NOMEM (unchanged). */
int tbi_ranges_add(struct tbi_ranges *r, uint64_t from, uint64_t to);
void tbi_ranges_drop_below(struct tbi_ranges *r, uint64_t floor);
void tbi_ranges_clear(struct tbi_ranges *r);

/* The first number >= n that is not in the set. */
uint64_t tbi_ranges_gap(const struct tbi_ranges *r, uint64_t n);

#endif
