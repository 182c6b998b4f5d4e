/* base/pool.h - a place of its own for what is remembered for long.
 *
 * A peer that is met in a crowd is remembered for days; the connections around it are gone in a
 * second. Were both allocated side by side, every page that a few remembered bytes lie in would
 * stay with the process: the C library gives whole pages back only. So what lives long comes out of
 * regions of 128 KiB, of which pages that nobody used cost nothing, and a region that is empty is
 * given back. Within a region a page holds objects of one size. */
#ifndef TBI_BASE_POOL_H
#define TBI_BASE_POOL_H

#include "base/alloc.h"
#include "base/list.h"

#define TBI_POOL_CLASSES 13

struct tbi_pool {
    struct tbi_alloc alloc; /* what its users allocate with; the pool may not be moved */
    const struct tbi_alloc *parent;
    struct tbi_list room[TBI_POOL_CLASSES]; /* pages of one size with room for another object */
    struct tbi_list unused;                 /* pages of no size yet */
};

void tbi_pool_init(struct tbi_pool *p, const struct tbi_alloc *parent);

#endif
