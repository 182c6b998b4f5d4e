/* mesh/budget.c - see budget.h. */
#include "mesh/budget.h"

#include "base/now.h"

bool tbi_budget_spend(struct tbi_budget *b, uint64_t now_ns, unsigned burst, unsigned rate)
{
    uint64_t passed_ms = (now_ns - b->at) / TBI_NS_PER_MS;
    uint64_t back = passed_ms < 1000000 ? passed_ms * rate : UINT64_MAX; /* thousandths */

    if (b->spent > 0 && back > 0) {
        b->spent = back < b->spent ? b->spent - back : 0;
        b->at += passed_ms * TBI_NS_PER_MS;
    }
    if (b->spent == 0) {
        b->at = now_ns;
    }
    if (b->spent + 1000 > (uint64_t)burst * 1000) {
        return false;
    }
    b->spent += 1000;
    return true;
}
