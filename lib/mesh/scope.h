/* mesh/scope.h - how far an address reaches, and which claims about addresses may be dialled.
 *
 * An address in a peer's record is a claim. Who could make a node dial any address could make a
 * thousand nodes dial a third party, or look into a private network from within: so claims are
 * dialled only when they were learnt from where they can be true, and no network is dialled often
 * (docs/protocol.md, section 11). */
#ifndef TBI_MESH_SCOPE_H
#define TBI_MESH_SCOPE_H

#include "base/addr.h"
#include "base/alloc.h"
#include "base/map.h"

enum tbi_scope {
    TBI_SCOPE_NONE,     /* unspecified, multicast, broadcast: nobody's address */
    TBI_SCOPE_LOOPBACK, /* 127/8, ::1 */
    TBI_SCOPE_LINK,     /* 169.254/16, fe80::/10 (RFC 3927, RFC 4291) */
    TBI_SCOPE_PRIVATE,  /* RFC 1918, RFC 6598, fc00::/7 (RFC 4193) */
    TBI_SCOPE_GLOBAL
};

enum tbi_scope tbi_scope_of(const struct tbi_addr *addr);

/* Whether a claim that came from a peer at address `from` may be dialled. Global addresses may;
 * others only when they were learnt in the same scope, or from this machine itself. */
bool tbi_scope_may_dial(const struct tbi_addr *claim, const struct tbi_addr *from);

/* --- One dial a second into a network ----------------------------------------------------------
 */

#define TBI_PACE_NETWORKS_MAX 1024 /* remembered at once; when full, no new network is dialled */

struct tbi_pace {
    struct tbi_map networks; /* prefix to struct tbi_pace_network */
    uint64_t refused;        /* dials that had to wait */
};

void tbi_pace_init(struct tbi_pace *p, const struct tbi_alloc *a, const uint8_t secret[16]);
void tbi_pace_free(struct tbi_pace *p);

/* Whether that address may be dialled now; if so, its network is taken for a second. Loopback has
 * no network behind it and is not paced. */
bool tbi_pace_allows(struct tbi_pace *p, uint64_t now_ns, const struct tbi_addr *addr);

#endif
