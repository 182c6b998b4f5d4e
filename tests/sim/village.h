/* tests/sim/village.h - many nodes that know one address, and what they have become: who knows
 * whom, who is connected to whom, whether all hang together. Asked from outside, as an application
 * would.
 *
 * Asking costs: a wait looks every 100 ms of virtual time, so the times it tells are rounded up. */
#ifndef TBI_TESTS_VILLAGE_H
#define TBI_TESTS_VILLAGE_H

#include "sim.h"

struct village {
    struct sim *sim;
    size_t nodes;
    struct sim_node *node[SIM_NODES_MAX];
    struct tbi_block *book[SIM_NODES_MAX];
    size_t heard[SIM_NODES_MAX]; /* PEER events */
    size_t lost[SIM_NODES_MAX];  /* DISCONNECTED events, where no other connection stays */
    size_t failed;               /* dials that an application was told of */
    void (*also)(struct village *v, struct sim_node *n, const tbq_event *e); /* NULL: nobody */
    void *user;
};

/* Nodes that are not booted, 10 ms from one another. */
void village_build(struct village *v, size_t nodes, uint64_t seed);
void village_free(struct village *v);

void village_boot(struct village *v, size_t i);           /* it dials the first, for ever */
void village_boot_all(struct village *v);                 /* at the same moment */
void village_keep_books(struct village *v);               /* of all that live */
void village_boot_from_book(struct village *v, size_t i); /* and dials nobody by name */

size_t village_known(const struct sim_node *n);     /* peers with an address */
size_t village_connected(const struct sim_node *n); /* peers */

/* All that live. */
bool village_all_know(struct village *v, size_t n);    /* at least that many */
bool village_all_have(struct village *v, size_t n);    /* at least that many connections */
bool village_all_know_all(struct village *v, size_t);  /* as many as live, at least */
bool village_all_connected(struct village *v, size_t); /* each to each */
size_t village_reach(struct village *v, size_t from);  /* nodes, over any number of connections */

/* Until it holds, ms at most; how long it took, or UINT64_MAX: it does not hold. */
uint64_t village_wait(struct village *v, uint64_t ms, bool (*holds)(struct village *v, size_t n),
                      size_t n);

#endif
