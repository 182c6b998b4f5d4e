/* mesh/budget.h - so many at once, so many a second: a token bucket as a value. */
#ifndef TBI_MESH_BUDGET_H
#define TBI_MESH_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct tbi_budget {
    uint64_t spent; /* thousandths of what may be spent at once; zeroed: nothing */
    uint64_t at;    /* ns; when that was so */
};

/* Spends one, where no more than `burst` at once and `rate` a second were spent. */
bool tbi_budget_spend(struct tbi_budget *b, uint64_t now_ns, unsigned burst, unsigned rate);

#endif
