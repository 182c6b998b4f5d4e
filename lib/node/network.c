/* node/network.c - the ways change: a peer's address, or those of this machine. */
#include "mesh/scope.h"
#include "node/parts.h"

void tbi_session_moved(struct tbi_session *s, const struct tbi_addr *remote)
{
    struct tbi_node *node = s->node;

    s->remote = *remote;
    struct tbi_event *e = s->up ? tbi_event_new(&node->events, node, TBQ_EVENT_PATH) : NULL;
    if (e == NULL) {
        return; /* nobody knows of it yet; without memory it is not told, and works all the same */
    }
    tbi_event_set_peer(e, &s->peer_id);
    tbi_event_set_address(e, remote);
    e->pub.connection = s->contact != NULL ? s->contact->handle : 0;
    e->pub.dialled = s->dialled;
    tbi_events_push_notice(&node->events, e);
}

/* Whether a connection's own address is none of this machine's any more, as far as they are known;
 * link-local ones are not among those that are. Or the kernel chose one that never answered. */
static bool is_gone(const struct tbi_addr *local, const struct tbi_addr *interfaces, size_t n)
{
    if (local->len == 0) {
        return true;
    }
    if (n == 0 || tbi_scope_of(local) == TBI_SCOPE_LINK) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (tbi_addr_equal(local, &interfaces[i])) {
            return false;
        }
    }
    return true;
}

/* Moves it to what the kernel chooses, where its address is gone; else asks whether it lives. */
static void look_after(struct tbi_session *s, const struct tbi_addr *interfaces, size_t n)
{
    static const struct tbi_addr any;
    struct tbi_conn *conn = tbi_session_conn(s);

    if (conn == NULL || s->closing) {
        return;
    }
    if (is_gone(tbi_conn_local(conn), interfaces, n)) {
        if (s->dialled && tbi_conn_migrate(conn, s->node->now, &any, true) == 0) {
            return;
        }
        if (!s->dialled) { /* cannot move; a NAT before it may make it look the same */
            tbi_conn_forget_local(conn);
        }
    }
    tbi_conn_probe(conn, s->node->now);
}

int tbi_node_network_changed(struct tbi_node *node, struct tbi_now now,
                             const struct tbi_addr *interfaces, size_t n)
{
    struct tbi_map_entry *e;

    node->now = now;
    int rv = tbi_discovery_interfaces(node, interfaces, n);
    for (e = tbi_map_first(&node->contacts); e != NULL; e = tbi_map_next(e)) {
        tbi_contact_hurry(tbi_map_value(e));
    }
    for (e = tbi_map_first(&node->sessions); e != NULL; e = tbi_map_next(e)) {
        look_after(tbi_map_value(e), interfaces, n);
    }
    tbi_node_settle(node);
    return rv;
}
