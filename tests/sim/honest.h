/* tests/sim/honest.h - an honest node that talks with one under attack: whether it is served. */
#ifndef TBI_TESTS_HONEST_H
#define TBI_TESTS_HONEST_H

#include "sim.h"

struct honest {
    struct sim_node *n, *h; /* under attack, and honest: both booted, h has dialled n */
    size_t served;          /* messages between them that are known to be delivered */
    size_t lost;            /* connections between them */
};

/* Adds it beside n, 10 ms away; n and it get that handler and user, which calls honest_event(). */
void honest_add(struct honest *p, struct sim_node *n,
                bool (*on_event)(struct sim_node *n, tbq_event *e), void *user);
void honest_dial(struct honest *p); /* boots both; returns when they have told each other all */

/* Of every event of both that concerns no one else. */
void honest_event(struct honest *p, const tbq_event *e);

/* A message each way has its fate within a second. */
void honest_is_served(struct honest *p);

int honest_send(struct sim_node *from, const tbq_peer_id *to, size_t size); /* zeroes */
tbq_stats honest_stats(const struct sim_node *n);

#endif
