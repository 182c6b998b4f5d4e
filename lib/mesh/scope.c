/* mesh/scope.c - see scope.h. */
#include "mesh/scope.h"

#include <string.h>

#include "base/now.h"

/* --- Scopes ------------------------------------------------------------------------------------
 */

static enum tbi_scope scope4(const uint8_t ip[4])
{
    if (ip[0] == 127) {
        return TBI_SCOPE_LOOPBACK;
    }
    if (ip[0] == 0 || ip[0] >= 224) {
        return TBI_SCOPE_NONE;
    }
    if (ip[0] == 169 && ip[1] == 254) {
        return TBI_SCOPE_LINK;
    }
    if (ip[0] == 10 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) || (ip[0] == 192 && ip[1] == 168) ||
        (ip[0] == 100 && (ip[1] & 0xc0) == 64)) {
        return TBI_SCOPE_PRIVATE;
    }
    return TBI_SCOPE_GLOBAL;
}

static enum tbi_scope scope6(const uint8_t ip[16])
{
    static const uint8_t zero[15];

    if (memcmp(ip, zero, sizeof zero) == 0) {
        return ip[15] == 1 ? TBI_SCOPE_LOOPBACK : TBI_SCOPE_NONE;
    }
    if (ip[0] == 0xff) {
        return TBI_SCOPE_NONE;
    }
    if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) {
        return TBI_SCOPE_LINK;
    }
    return (ip[0] & 0xfe) == 0xfc ? TBI_SCOPE_PRIVATE : TBI_SCOPE_GLOBAL;
}

enum tbi_scope tbi_scope_of(const struct tbi_addr *addr)
{
    size_t size;
    const uint8_t *ip = tbi_addr_bytes(addr, &size);

    if (ip == NULL || tbi_addr_port(addr) == 0) {
        return TBI_SCOPE_NONE;
    }
    return size == 4 ? scope4(ip) : scope6(ip);
}

bool tbi_scope_may_dial(const struct tbi_addr *claim, const struct tbi_addr *from)
{
    enum tbi_scope scope = tbi_scope_of(claim);
    enum tbi_scope learnt = tbi_scope_of(from);

    if (scope == TBI_SCOPE_NONE || scope == TBI_SCOPE_GLOBAL) {
        return scope == TBI_SCOPE_GLOBAL;
    }
    return learnt == scope || learnt == TBI_SCOPE_LOOPBACK;
}

/* --- Pace --------------------------------------------------------------------------------------
 */

struct tbi_pace_network {
    uint64_t free_at; /* ns */
};

void tbi_pace_init(struct tbi_pace *p, const struct tbi_alloc *a, const uint8_t secret[16])
{
    memset(p, 0, sizeof *p);
    tbi_map_init(&p->networks, a, secret, TBI_PREFIX_SIZE, TBI_PACE_NETWORKS_MAX);
}

static void forget(struct tbi_pace *p, struct tbi_map_entry *e)
{
    struct tbi_pace_network *n = tbi_map_value(e);
    tbi_map_remove(&p->networks, tbi_map_key(e));
    tbi_free(p->networks.alloc, n);
}

void tbi_pace_free(struct tbi_pace *p)
{
    struct tbi_map_entry *e;
    while ((e = tbi_map_first(&p->networks)) != NULL) {
        forget(p, e);
    }
    tbi_map_free(&p->networks);
}

/* Networks come into the map in the order of their dials, and all wait equally long: those that are
 * free again stand in front. */
static void forget_free_ones(struct tbi_pace *p, uint64_t now_ns)
{
    struct tbi_map_entry *e;
    while ((e = tbi_map_first(&p->networks)) != NULL) {
        if (((struct tbi_pace_network *)tbi_map_value(e))->free_at > now_ns) {
            return;
        }
        forget(p, e);
    }
}

bool tbi_pace_allows(struct tbi_pace *p, uint64_t now_ns, const struct tbi_addr *addr)
{
    uint8_t prefix[TBI_PREFIX_SIZE];
    struct tbi_pace_network *n;

    if (tbi_scope_of(addr) == TBI_SCOPE_LOOPBACK) {
        return true;
    }
    forget_free_ones(p, now_ns);
    tbi_prefix_of(addr, prefix);
    if (tbi_map_get(&p->networks, prefix) != NULL ||
        (n = tbi_malloc(p->networks.alloc, sizeof *n)) == NULL) {
        p->refused++;
        return false;
    }
    n->free_at = now_ns + TBI_NS_PER_S;
    if (tbi_map_put(&p->networks, prefix, n) < 0) {
        tbi_free(p->networks.alloc, n);
        p->refused++;
        return false;
    }
    return true;
}
