/* mesh/observed.c - see observed.h. */
#include "mesh/observed.h"

#include <string.h>

void tbi_observed_note(struct tbi_observed *o, const struct tbi_addr *from,
                       const struct tbi_addr *addr)
{
    uint8_t network[TBI_PREFIX_SIZE];
    size_t kept = o->count < TBI_OBSERVERS_MAX ? o->count : TBI_OBSERVERS_MAX;
    size_t at = o->count % TBI_OBSERVERS_MAX;

    if (tbi_scope_of(addr) != TBI_SCOPE_GLOBAL || tbi_scope_of(from) != TBI_SCOPE_GLOBAL) {
        return;
    }
    tbi_prefix_of(from, network);
    for (size_t i = 0; i < kept; i++) {
        if (memcmp(o->by[i].network, network, sizeof network) == 0 &&
            o->by[i].addr.u.sa.sa_family == addr->u.sa.sa_family) {
            o->by[i].addr = *addr; /* one voice for each network: the latest word counts */
            return;
        }
    }
    memcpy(o->by[at].network, network, sizeof network);
    o->by[at].addr = *addr;
    o->count++;
}

const struct tbi_addr *tbi_observed_address(const struct tbi_observed *o, int family)
{
    size_t kept = o->count < TBI_OBSERVERS_MAX ? o->count : TBI_OBSERVERS_MAX;
    const struct tbi_addr *best = NULL;
    size_t best_votes = TBI_OBSERVERS_AGREE - 1;

    for (size_t i = 0; i < kept; i++) {
        const struct tbi_addr *a = &o->by[i].addr;
        size_t votes = 0;
        for (size_t k = 0; k < kept && a->u.sa.sa_family == family; k++) {
            votes += tbi_addr_equal(a, &o->by[k].addr);
        }
        if (votes > best_votes) {
            best_votes = votes;
            best = a;
        }
    }
    return best;
}
