/* tests/unit/node_pair.h - two nodes joined in memory: nothing is lost, nothing takes time unless a
 * test says so, and what each tells is counted. Each has an allocator of its own that may fail. */
#ifndef TBI_TESTS_NODE_PAIR_H
#define TBI_TESTS_NODE_PAIR_H

#include "harness.h"
#include "node/node.h"

#define PAIR_TAGS 16
#define PAIR_EVENTS 64

struct pair_end {
    struct tbi_failing_alloc memory;
    struct tbi_identity *identity;
    struct tbi_trust trust;
    struct tbi_addr addr;
    tbq_config settings;
    struct tbi_node *node; /* NULL: not running */
    bool deaf;             /* what is sent to it is lost */
    bool hold;             /* MESSAGE and REQUEST events are kept in `held` */
    tbq_event *held[PAIR_EVENTS];
    size_t held_len;
    size_t count[TBQ_EVENT_RELEASED + 1]; /* of events, by type */
    size_t after_stopped;                 /* events behind STOPPED, which is the last */
    size_t fates[PAIR_TAGS];              /* by tag */
    size_t released[PAIR_TAGS];           /* the same */
    tbq_fate fate;                        /* of the last FATE */
    int reason;                           /* of the last event that has one */
    char text[320];                       /* the last event's that has one */
    tbq_connection connection;            /* of the last CONNECTED */
    tbq_request_id request;               /* of the last REQUEST */
    tbq_response_status status;           /* of the last RESPONSE */
};

struct pair {
    struct tbi_alloc steady; /* for what is not to fail: the identities */
    struct tbi_log log;
    struct tbi_rng rng;
    struct tbi_now now;
    struct pair_end a, b;
    size_t out_of_memory; /* times that a log line said so */
};

void pair_init(struct pair *p); /* two ends that are not running */
void pair_free(struct pair *p); /* and nothing may be left allocated */
int pair_start(struct pair *p, struct pair_end *e);
void pair_kill(struct pair_end *e); /* as kill -9 */
int pair_dial(struct pair *p, struct pair_end *from, const struct pair_end *to, bool persistent,
              tbq_connection *connection);
void pair_run(struct pair *p, uint64_t ms); /* virtual time passes */
void pair_connect(struct pair *p);          /* starts both, A dials B, both are told */
void pair_release(struct pair_end *e);      /* what was held is taken */
int pair_send(struct pair *p, struct pair_end *from, const struct pair_end *to, uint64_t tag);
tbq_message pair_message(const char *text);
const tbq_peer_id *pair_id(const struct pair_end *e);

#endif
