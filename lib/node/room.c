/* node/room.c - when max_connections is reached, an own dial gets the place of a connection that
 * nobody needs: idle, of no peer that was named, the longest unused one first.
 *
 * A peer that dialled us is told BUSY, and may dial again later. One that we dialled is asked to
 * let the connection rest (rest.c): its contact stays, and the next send dials it again. Nothing
 * that is open is given up. What the node dials for company pushes nobody out. */
#include "node/parts.h"

#define UNUSED_NS                                                                                  \
    (10 * TBI_NS_PER_S) /* at least: what is in use is needed; and how long one that               \
                           was asked, and did not go, is left alone */
#define APART_NS (250 * TBI_NS_PER_MS) /* one after another: a place is free soon after */

/* Whether its contacts may lose it. */
static bool may_lose_it(const struct tbi_bond *b)
{
    TBI_LIST_FOREACH(it, &b->contacts)
    {
        if (tbi_contact_named(TBI_CONTAINER(it, struct tbi_contact, held))) {
            return false;
        }
    }
    return true;
}

static bool may_go(const struct tbi_bond *b)
{
    uint64_t now = b->node->now.mono_ns;

    return b->session != NULL && !b->session->closing && now >= b->used_at + UNUSED_NS &&
           (b->room_at == 0 || now >= b->room_at + UNUSED_NS) && tbi_rest_nothing_open(b) &&
           may_lose_it(b);
}

/* The one that was not used for longest. */
static struct tbi_bond *choose(struct tbi_node *node)
{
    struct tbi_bond *found = NULL;

    for (struct tbi_map_entry *e = tbi_map_first(&node->peers); e != NULL; e = tbi_map_next(e)) {
        struct tbi_peer *peer = tbi_map_value(e);
        TBI_LIST_FOREACH(it, &peer->bonds)
        {
            struct tbi_bond *b = TBI_CONTAINER(it, struct tbi_bond, entry);
            if ((found == NULL || b->used_at < found->used_at) && may_go(b)) {
                found = b;
            }
        }
    }
    return found;
}

int tbi_room_make(struct tbi_node *node)
{
    if (node->now.mono_ns < node->room_until) {
        return TBQ_ERR_AGAIN; /* not all at once: the last one is on its way out */
    }
    struct tbi_bond *b = choose(node);
    if (b == NULL) {
        return TBQ_ERR_LIMIT;
    }
    node->room_until = node->now.mono_ns + APART_NS;
    b->room_at = node->now.mono_ns;
    if (b->session->contact != NULL && b->session->contact->dialled) { /* it can dial again */
        tbi_rest_ask(b);
        return TBQ_ERR_AGAIN;
    }
    node->closed_for_room++;
    tbi_rest_close(b, TBI_CLOSE_BUSY);
    return 0;
}
