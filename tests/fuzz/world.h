/* tests/fuzz/world.h - a node and, over a pretended wire, a peer that speaks QUIC and TLS properly
 * and whatever else the fuzzer says. Time is virtual, all randomness fixed: an input always does
 * the same. */
#ifndef TBI_TESTS_FUZZ_WORLD_H
#define TBI_TESTS_FUZZ_WORLD_H

#include "node/node.h"
#include "quic/quic.h"

#define WIRE_MAX 64 /* datagrams under way; more are lost */

struct flying {
    bool to_node;
    size_t size;
    uint8_t data[1500];
};

struct world {
    struct tbi_alloc alloc; /* counts: nothing may be left at the end */
    struct tbi_now now;
    struct tbi_endpoint *peer;
    uint64_t conn; /* of the peer's, dialled or accepted; 0: none */
    bool peer_up;  /* its streams may be opened */
    struct tbi_trust trust;
    struct tbi_node *node;
    struct tbi_addr peer_addr, node_addr;
    struct flying wire[WIRE_MAX]; /* the oldest first */
    size_t flying;
    size_t events[32]; /* that the node told, by type */
    bool keep_events;  /* do not release messages: the application is slow */
    tbq_event *kept[64];
    size_t kept_len;
};

void require(bool holds); /* or the input is a finding */

/* node_dials: the node is the client, else the peer is. */
void world_begin(struct world *w, bool node_dials);
void world_end(struct world *w); /* frees all, and requires that nothing is left */

void world_collect(struct world *w);            /* what both sides have to send goes on the wire */
void world_deliver(struct world *w, size_t at); /* one datagram arrives; it leaves the wire */
void world_inject(struct world *w, const uint8_t *data, size_t size, const struct tbi_addr *from);
void world_pass(struct world *w, uint64_t ms); /* time goes by; what is due is done */
void world_run(struct world *w, uint64_t ms);  /* everything arrives at once, for that long */
void world_connect(struct world *w);           /* runs until the handshake is over */
void world_look(struct world *w);              /* takes the node's events; checks what must hold */

#endif
