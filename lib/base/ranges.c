/* base/ranges.c - see ranges.h. */
#include "base/ranges.h"

#include <string.h>

void tbi_ranges_init(struct tbi_ranges *r, const struct tbi_alloc *a, size_t limit)
{
    memset(r, 0, sizeof *r);
    r->alloc = a;
    r->limit = limit;
}

void tbi_ranges_free(struct tbi_ranges *r)
{
    tbi_free(r->alloc, r->at);
    tbi_ranges_init(r, r->alloc, r->limit);
}

/* The index of the first range that ends at or after n (so n lies in it, touches it or is below).
 */
static size_t first_reaching(const struct tbi_ranges *r, uint64_t n)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->at[middle].to < n) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t tbi_ranges_above(const struct tbi_ranges *r, uint64_t n)
{
    return n < UINT64_MAX ? first_reaching(r, n + 1) : r->count;
}

uint64_t tbi_ranges_search(const struct tbi_ranges *r, uint64_t n)
{
    for (size_t i = first_reaching(r, n); i < r->count && r->at[i].from <= n; i++) {
        if (n < r->at[i].to) {
            return r->at[i].to; /* ranges do not touch, so this number is free */
        }
    }
    return n;
}

int tbi_ranges_insert(struct tbi_ranges *r, uint64_t from, uint64_t to)
{
    if (from >= to) {
        return 0;
    }
    size_t first = first_reaching(r, from);
    size_t past = first; /* the ranges first..past-1 melt into the new one */
    while (past < r->count && r->at[past].from <= to) {
        past++;
    }
    if (past == first) {
        if (r->count >= r->limit) {
            return TBQ_ERR_LIMIT;
        }
        void *at = r->at;
        int rv = tbi_grow(r->alloc, &at, &r->capacity, r->count + 1, sizeof *r->at);
        r->at = at;
        if (rv < 0) {
            return rv;
        }
    } else {
        from = from < r->at[first].from ? from : r->at[first].from;
        to = to > r->at[past - 1].to ? to : r->at[past - 1].to;
    }
    memmove(r->at + first + 1, r->at + past, (r->count - past) * sizeof *r->at);
    r->count = r->count - (past - first) + 1;
    r->at[first] = (struct tbi_range){.from = from, .to = to};
    return 0;
}

void tbi_ranges_drop_below(struct tbi_ranges *r, uint64_t floor)
{
    size_t gone = 0;
    while (gone < r->count && r->at[gone].to <= floor) {
        gone++;
    }
    if (gone > 0) {
        memmove(r->at, r->at + gone, (r->count - gone) * sizeof *r->at);
        r->count -= gone;
    }
    if (r->count > 0 && r->at[0].from < floor) {
        r->at[0].from = floor;
    }
}

void tbi_ranges_clear(struct tbi_ranges *r)
{
    r->count = 0;
}
