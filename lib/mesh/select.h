/* mesh/select.h - in which order peers are to be tried: candidates in, order out.
 *
 * RENDEZVOUS is weighted rendezvous hashing in whole numbers, so that every implementation computes
 * the same order (docs/protocol.md, section 12), with bounded loads (Mirrokni, Thorup and
 * Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018). TWO_CHOICES is Mitzenmacher's
 * power of two choices. */
#ifndef TBI_MESH_SELECT_H
#define TBI_MESH_SELECT_H

#include <tbquic/select.h>

#include "base/crypto.h"
#include "base/rng.h"
#include "wire/kind.h"

#define TBI_SELECT_IDLE                                                                            \
    50 /* permille; a load up to this passes for none: nobody is passed over                       \
        */

struct tbi_candidate {
    tbq_peer_id id;
    uint64_t rtt_ns;      /* TBI_NEVER: not measured */
    struct tbi_load load; /* as far as it was told */

    /* tbi_select()'s own. */
    uint64_t score;
    uint64_t distance;
    uint64_t filled; /* its load, times how many candidates have told one */
    bool over;       /* passed over */
};

struct tbi_selection {
    tbq_select_policy policy; /* not DEFAULT */
    tbq_bytes key;
    bool ignore_load;
};

/* How far a score is from the highest one there can be: 2^32 times the binary logarithm of
 * 2^64 / score, 2..2^38; a higher score is never further away. */
uint64_t tbi_select_distance(uint64_t score);

/* Writes the ids of the best `max` of the `n` candidates, the best first. The candidates change
 * places. Returns how many; TBQ_ERR_INVALID (the policy), TBQ_ERR_TOO_LARGE (the key), TBQ_ERR_TLS.
 */
int tbi_select(const struct tbi_selection *how, const struct tbi_crypto *crypto,
               struct tbi_rng *rng, struct tbi_candidate *candidate, size_t n, tbq_peer_id *out,
               size_t max);

#endif
