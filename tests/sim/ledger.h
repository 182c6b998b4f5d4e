/* tests/sim/ledger.h - who promised what to whom: numbered messages from one node to another, and
 * what became of them, held against what a sender may rely on:
 *
 *   - each accepted message has exactly one fate;
 *   - one that was told delivered was handed out; one that was told not delivered never was;
 *   - within one life of the receiver none is handed out twice, unless it is marked as a repeat;
 *   - within a lane they come in the order of the sends, those marked unordered and repeats apart.
 */
#ifndef TBI_TESTS_LEDGER_H
#define TBI_TESTS_LEDGER_H

#include "sim.h"

#define LEDGER_MAX 100000

struct ledger {
    struct sim_node *from, *to;
    uint32_t sent; /* numbers 0 to sent - 1 were accepted */
    struct {
        uint8_t lane;
        bool unordered;
        bool dead; /* its sender died without having been told */
        uint8_t fates;
        uint8_t fate;
        int reason;
        uint8_t lives; /* bits: in which of the receiver's first eight lives it was handed out */
        uint16_t got;
    } entry[LEDGER_MAX];
    uint8_t life;                      /* of the receiver, from 0 */
    int64_t last[TBQ_LANES];           /* number that was handed out last, in this life; -1: none */
    size_t told[4];                    /* fates, by kind */
    size_t dead, got, repeats, broken; /* `broken`: promises, each said in the transcript */
};

void ledger_begin(struct ledger *l, struct sim_node *from, struct sim_node *to);

/* As tbi_node_send_to(), with `size` bytes at least 4; the number is the tag. */
int ledger_send(struct ledger *l, size_t size, tbq_lane lane, bool unordered, uint32_t ttl_ms);

/* To be called with every event of both nodes; takes what concerns it. */
void ledger_event(struct ledger *l, struct sim_node *n, const tbq_event *e);
void ledger_receiver_restarts(struct ledger *l);
void ledger_sender_dies(struct ledger *l); /* the outbox is memory: it tells no fates */

bool ledger_settled(const struct ledger *l); /* every accepted message has its fate */
size_t ledger_broken(struct ledger *l);      /* promises, fates at the end included */

#endif
