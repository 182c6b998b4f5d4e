/* server/network.c - this machine's network changes: noticed by the watch, or told by the embedder,
 * and passed on to the node when it has come to rest. */
#include "io/interfaces.h"
#include "server/parts.h"

#define QUIET_NS (100 * TBI_NS_PER_MS) /* without another change: an interface has many to tell */
#define LATEST_NS TBI_NS_PER_S         /* after the first one, however many more come */
#define INTERFACES_MAX 256             /* addresses; with more, connections move without need */

int tbi_server_watch_network(struct tbq_server *s)
{
    s->network_at = s->network_latest = TBI_NEVER;
    int rv = s->settings.c.no_network_watch ? 0 : tbi_netwatch_new(&s->netwatch, &s->alloc);
    if (rv == TBQ_ERR_IO) {
        tbi_log(&s->log, TBQ_LOG_INFO, "changes of the network are not noticed: no netlink");
    }
    return rv == TBQ_ERR_NOMEM ? rv : 0;
}

static void note(struct tbq_server *s, struct tbi_now now)
{
    if (s->network_latest == TBI_NEVER) {
        s->network_latest = now.mono_ns + LATEST_NS;
    }
    s->network_at = now.mono_ns + QUIET_NS;
    if (s->network_at > s->network_latest) {
        s->network_at = s->network_latest;
    }
}

static void tell_node(struct tbq_server *s, struct tbi_now now)
{
    struct tbi_addr interface[INTERFACES_MAX];
    const struct tbi_addr *local = tbi_udp_local(s->udp);
    size_t n = 0;

    s->network_at = s->network_latest = TBI_NEVER;
    if (tbi_addr_is_any(local)) {
        n = tbi_interfaces(interface, INTERFACES_MAX, tbi_addr_port(local),
                           local->u.sa.sa_family == AF_INET);
    }
    tbi_log(&s->log, TBQ_LOG_INFO, "the network has changed; this machine has %zu addresses", n);
    int rv = tbi_node_network_changed(s->node, now, interface, n);
    if (rv < 0 && rv != TBQ_ERR_CLOSED) {
        tbi_log(&s->log, TBQ_LOG_WARNING, "the new addresses are not told to peers: %s",
                tbq_strerror(rv));
    }
}

void tbi_server_tend_network(struct tbq_server *s, struct tbi_now now)
{
    bool failed = false;

    if (s->netwatch != NULL && tbi_netwatch_read(s->netwatch, &failed)) {
        note(s, now);
    }
    if (failed) {
        tbi_log(&s->log, TBQ_LOG_WARNING, "changes of the network are noticed no more");
        tbi_netwatch_free(s->netwatch);
        s->netwatch = NULL;
    }
    if (now.mono_ns >= s->network_at) {
        tell_node(s, now);
    }
}

void tbi_server_network_changed(struct tbq_server *s)
{
    note(s, tbi_server_now(s));
}
