/* mesh/observed.h - the own address as others see it.
 *
 * Each peer tells the address that our datagrams come from. One peer may be mistaken, or lie; an
 * address that peers in several networks tell alike is published in the own record
 * (docs/protocol.md, section 11). */
#ifndef TBI_MESH_OBSERVED_H
#define TBI_MESH_OBSERVED_H

#include "mesh/scope.h"

#define TBI_OBSERVERS_MAX 32  /* opinions that are kept: the newest, one for each network */
#define TBI_OBSERVERS_AGREE 3 /* networks that must tell the same */

struct tbi_observed {
    struct {
        uint8_t network[TBI_PREFIX_SIZE]; /* of the peer that told it */
        struct tbi_addr addr;             /* what it told; len 0: none */
    } by[TBI_OBSERVERS_MAX];
    size_t count; /* opinions so far; the next one takes the oldest's place */
};

/* A peer at `from` sees us at `addr`; addresses of no use outside are ignored. */
void tbi_observed_note(struct tbi_observed *o, const struct tbi_addr *from,
                       const struct tbi_addr *addr);

/* The address of that IP version (AF_INET or AF_INET6) that enough networks agree on, or NULL. */
const struct tbi_addr *tbi_observed_address(const struct tbi_observed *o, int family);

#endif
