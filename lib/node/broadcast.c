/* node/broadcast.c - one message to many: its fates are counted, and the counts told at the end. */
#include <string.h>

#include "node/parts.h"

int tbi_broadcast_new(struct tbi_node *node, uint64_t tag, size_t peers,
                      struct tbi_broadcast **made)
{
    struct tbi_broadcast *all = tbi_calloc(node->alloc, 1, sizeof *all);
    int rv;

    if (all == NULL) {
        return TBQ_ERR_NOMEM;
    }
    all->id = node->next_number++;
    all->tag = tag;
    all->waiting = peers;
    if ((rv = tbi_map_put(&node->broadcasts, &all->id, all)) < 0) {
        tbi_free(node->alloc, all);
        return rv;
    }
    *made = all;
    return 0;
}

void tbi_broadcast_free(struct tbi_node *node, struct tbi_broadcast *all)
{
    tbi_map_remove(&node->broadcasts, &all->id);
    tbi_free(node->alloc, all);
}

void tbi_broadcast_fate(struct tbi_node *node, uint64_t cookie, tbq_fate fate)
{
    uint64_t id = cookie & ~TBI_COOKIE_BROADCAST;
    struct tbi_broadcast *all = tbi_map_get(&node->broadcasts, &id);

    if (all == NULL) {
        return;
    }
    all->counts.delivered += fate == TBQ_DELIVERED;
    all->counts.not_delivered += fate == TBQ_NOT_DELIVERED;
    all->counts.unknown += fate == TBQ_UNKNOWN;
    if (--all->waiting > 0) {
        return;
    }
    struct tbi_event *e = tbi_event_new(&node->events, node, TBQ_EVENT_BROADCAST);
    if (e != NULL) {
        e->pub.tag = all->tag;
        e->pub.counts = all->counts;
        tbi_events_push(&node->events, e);
    }
    tbi_broadcast_free(node, all);
}
