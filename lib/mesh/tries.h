/* mesh/tries.h - how often an address was dialled and not reached, whoever claims it.
 *
 * A claim gets a few tries (mesh/book.h), but a liar can make up as many peers as it likes that
 * claim one address. So what was never reached is remembered by address as well, the newest
 * TBI_TRIES_ADDRESSES_MAX of them. */
#ifndef TBI_MESH_TRIES_H
#define TBI_MESH_TRIES_H

#include "base/addr.h"
#include "base/alloc.h"
#include "base/map.h"

#define TBI_TRIES_ADDRESSES_MAX                                                                    \
    1024 /* when full, the address that was entered first is forgotten */

struct tbi_tries {
    struct tbi_map addresses; /* IP address and port to struct tbi_tried */
    uint64_t forgotten;
};

void tbi_tries_init(struct tbi_tries *t, const struct tbi_alloc *a, const uint8_t secret[16]);
void tbi_tries_free(struct tbi_tries *t);

unsigned tbi_tries_of(const struct tbi_tries *t, const struct tbi_addr *addr);
void tbi_tries_dialled(struct tbi_tries *t, const struct tbi_addr *addr); /* one more */
void tbi_tries_reached(struct tbi_tries *t, const struct tbi_addr *addr); /* none any more */

#endif
