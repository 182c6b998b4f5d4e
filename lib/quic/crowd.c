/* quic/crowd.c - how many handshakes are under way from one network. Who can send from many
 * addresses of one network gets no more of the node for it; the networks of others do not notice.
 */
#include "quic/parts.h"

/* This machine is no network: what runs on it could fill the node's memory otherwise. */
static bool has_network(const struct tbi_addr *remote)
{
    return !tbi_addr_is_loopback(remote);
}

size_t tbi_crowd_of(const struct tbi_endpoint *ep, const struct tbi_addr *remote)
{
    uint8_t network[TBI_PREFIX_SIZE];

    if (!has_network(remote)) {
        return 0;
    }
    tbi_prefix_of(remote, network);
    const size_t *count = tbi_map_get(&ep->crowd, network);
    return count != NULL ? *count : 0;
}

int tbi_crowd_enter(struct tbi_conn *c)
{
    struct tbi_endpoint *ep = c->ep;

    if (!has_network(&c->remote)) {
        return 0;
    }
    tbi_prefix_of(&c->remote, c->network);
    size_t *count = tbi_map_get(&ep->crowd, c->network);
    if (count == NULL) {
        count = tbi_calloc(ep->alloc, 1, sizeof *count);
        if (count == NULL || tbi_map_put(&ep->crowd, c->network, count) < 0) {
            tbi_free(ep->alloc, count);
            return TBQ_ERR_NOMEM;
        }
    }
    ++*count;
    c->crowds = true;
    return 0;
}

void tbi_crowd_leave(struct tbi_conn *c)
{
    if (!c->crowds) {
        return;
    }
    c->crowds = false;
    size_t *count = tbi_map_get(&c->ep->crowd, c->network);
    if (--*count == 0) {
        tbi_map_remove(&c->ep->crowd, c->network);
        tbi_free(c->ep->alloc, count);
    }
}

/* After the connections: their networks went with them. */
void tbi_crowd_free(struct tbi_endpoint *ep)
{
    tbi_map_free(&ep->crowd);
}
