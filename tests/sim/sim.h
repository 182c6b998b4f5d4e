/* tests/sim/sim.h - stories over virtual time: real engines with real TLS on a pretended network.
 *
 * A simulation has nodes, and between every two of them a link each way made of pieces: delay,
 * loss, reordering, duplication, bandwidth, partition. Nothing sleeps: time jumps from one deadline
 * to the next. Everything random comes from one seed, and what happens is written to a transcript
 * that a person can read; the same seed gives the same transcript. */
#ifndef TBI_TESTS_SIM_H
#define TBI_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/node.h"

#define SIM_NODES_MAX 64

struct sim_link { /* from one node to another */
    uint64_t delay_ms;
    unsigned loss;       /* per mille */
    unsigned duplicate;  /* per mille */
    unsigned reorder;    /* per mille of datagrams that wait a random while longer */
    unsigned corrupt;    /* per mille: one bit is turned over */
    uint64_t rate_bps;   /* bits a second; 0: no limit */
    uint64_t queue_ms;   /* what would wait longer for its turn is lost; 0: it waits */
    bool cut;            /* a partition: nothing passes */
    size_t mtu;          /* bytes of a datagram's payload: larger ones are lost; 0: no limit */
    uint64_t busy_until; /* of the bandwidth piece */
    uint64_t sent, lost, doubled, late, corrupted, overflowed; /* datagrams so far */
    uint64_t bytes; /* of those sent, all headers down to Ethernet's included */
};

/* Something else than a node at an address; `user` is whatever it likes. */
struct sim_guest {
    void (*recv)(void *user, const struct tbi_datagram *d);
    void (*step)(void *user); /* what is due; called whenever anything has happened */
    int (*send)(void *user, struct tbi_send_batch *out); /* as tbi_node_send() */
    uint64_t (*deadline)(void *user);
};

struct sim_memory { /* of one node, without what GnuTLS takes for itself; bytes */
    size_t live;
    size_t most;
};

struct sim;
struct sim_node {
    struct sim *sim;
    char name[4]; /* A to Z, A1 ... */
    bool alive;
    struct tbi_node *node;
    struct tbi_identity *identity;
    struct tbi_trust trust;
    struct tbi_addr addr;   /* may be changed before sim_boot() */
    struct tbi_addr alias;  /* a second address, when a test sets it */
    struct tbi_addr inside; /* behind a NAT: what it sees in place of `addr`; len 0: the same */
    bool dual_stack;        /* bound to [::], so that it can dial IPv4 and IPv6 */
    tbq_config settings;
    uint8_t key_seed[32];
    /* Asked for every event; return true when the simulation shall release it (false: kept). */
    bool (*on_event)(struct sim_node *n, tbq_event *e);
    void *user;
    const struct sim_guest *guest; /* instead of a node; NULL: a node */
    struct tbi_alloc alloc;        /* of the node alone */
    struct sim_memory *memory;
    uint64_t to_nowhere; /* bytes sent to addresses where nobody is */
    /* Told of every datagram that it sends there. */
    void (*on_nowhere)(struct sim_node *n, const struct tbi_addr *to, size_t size);
    uint64_t from_nowhere; /* bytes that it wanted to send from an address that it has not */
    uint64_t uplink_bps;   /* bits a second that its socket takes, for all others; 0: no limit */
    uint64_t uplink_at;    /* ns: until then it takes nothing */
    size_t most_at_once;   /* bytes that it sent without being asked again what is due */
};

struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *s);

/* A node with its own key, at 10.0.0.1, .2, ... port 8443; named A, B, C, ... */
struct sim_node *sim_add(struct sim *s);
void sim_same_key(struct sim_node *n, const struct sim_node *as); /* before sim_boot() */
tbq_config *sim_settings(struct sim_node *n);                     /* before sim_boot() */
void sim_boot(struct sim_node *n); /* starts, or starts again after sim_kill() */
void sim_host(struct sim_node *n, const struct sim_guest *guest, void *user); /* not sim_boot() */
void sim_kill(struct sim_node *n); /* as kill -9: nothing is said */
/* A NAT before it gives it another address: it does not notice. What is under way is lost. */
void sim_rebind(struct sim_node *n, const char *addr);
void sim_see_at(struct sim_node *n, const struct tbi_addr *addr); /* the same, unsaid */
/* It has another address, the old one is gone, and it is told of both. */
void sim_move(struct sim_node *n, const char *addr);
struct sim_link *sim_link(struct sim_node *from, struct sim_node *to);
/* The same for what goes to or comes from an alias: another way. */
struct sim_link *sim_other_link(struct sim_node *from, struct sim_node *to);
void sim_other_both(struct sim_node *a, struct sim_node *b, struct sim_link link);
void sim_both(struct sim_node *a, struct sim_node *b, struct sim_link link);

tbq_connection sim_dial(struct sim_node *from, struct sim_node *to, bool persistent);
void sim_jump(struct sim *s, int64_t ms); /* the wall clock, of all nodes */
struct tbi_now sim_now(const struct sim *s);
uint64_t sim_ms(const struct sim *s); /* since the beginning */
/* How often all were asked, so far: at each moment with something due, twice at least in sim_run().
 */
uint64_t sim_turns(const struct sim *s);

/* Runs until `done` says so, or until that much time has passed: then false. */
bool sim_run(struct sim *s, uint64_t ms, bool (*done)(void *), void *arg);

void sim_say(struct sim_node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *sim_transcript(const struct sim *s);

#endif
