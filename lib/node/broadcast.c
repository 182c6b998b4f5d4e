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
    all->waiting = peers;
    all->event = tbi_events_reserve(&node->events, node, TBQ_EVENT_BROADCAST);
    if (all->event == NULL) {
        tbi_free(node->alloc, all);
        return TBQ_ERR_NOMEM;
    }
    all->event->pub.tag = tag;
    if ((rv = tbi_map_put(&node->broadcasts, &all->id, all)) < 0) {
        tbi_event_free(all->event);
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

void tbi_broadcast_fate(struct tbi_node *node, uint64_t id, tbq_fate fate)
{
    struct tbi_broadcast *all = tbi_map_get(&node->broadcasts, &id);

    if (all == NULL) {
        return;
    }
    tbq_counts *counts = &all->event->pub.counts;
    counts->delivered += fate == TBQ_DELIVERED;
    counts->not_delivered += fate == TBQ_NOT_DELIVERED;
    counts->unknown += fate == TBQ_UNKNOWN;
    if (--all->waiting == 0) {
        tbi_events_push(&node->events, all->event);
        tbi_broadcast_free(node, all);
    }
}
