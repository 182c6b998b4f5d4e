/* node/loan.c - bytes that stay the application's while they are sent (tbq_send_options,
 * by_reference).
 *
 * A block leads to them, which the link and the connections hold like any other. When the last of
 * them has let go, RELEASED tells: its event is there from the beginning, so that it is told also
 * when memory is out, and from within the transport. */
#include "node/parts.h"

static void come_back(void *user)
{
    struct tbi_event *e = user;
    struct tbi_events *events = &e->node->events;

    if (events->ended) {
        tbi_event_free(e);
    } else {
        tbi_events_push(events, e);
    }
}

struct tbi_block *tbi_loan_new(struct tbi_node *node, tbq_bytes bytes, uint64_t tag)
{
    struct tbi_event *e = tbi_events_reserve(&node->events, node, TBQ_EVENT_RELEASED);
    struct tbi_block *b = NULL;

    if (e != NULL) {
        e->pub.tag = tag;
        b = tbi_block_lend(node->alloc, bytes.data, bytes.size, come_back, e);
    }
    if (b == NULL) {
        tbi_event_free(e);
    }
    return b;
}

void tbi_loan_call_off(struct tbi_block *b)
{
    if (b != NULL && b->lent) {
        tbi_event_free(tbi_block_call_off(b));
    }
}
