/* tests/unit/quic_pair.h - two endpoints joined in memory, A dials and B accepts; what each tells
 * is kept. Nothing is lost and nothing takes time unless a test says so. */
#ifndef TBI_TESTS_QUIC_PAIR_H
#define TBI_TESTS_QUIC_PAIR_H

#include "harness.h"
#include "identity/identity.h"
#include "quic/quic.h"
#include "wire/wire.h"

#define QUIC_STREAMS 64 /* incoming ones that are told apart, by id / 4 */

/* What became of datagrams, in the order of being told. */
struct quic_fates {
    size_t count;
    uint64_t id[2048];
    bool arrived[2048];
};

struct quic_end {
    struct tbi_failing_alloc memory;
    struct tbi_identity *identity;
    struct tbi_endpoint_config config;
    struct tbi_endpoint *ep;
    struct tbi_addr addr;
    bool deaf;              /* what is sent to it is lost */
    struct tbi_addr second; /* another address that it has; len 0: none */
    bool first_dead;        /* nothing passes from or to `addr` */
    bool second_dead;
    uint64_t conn; /* of the connection that was dialled or accepted last */
    size_t count[TBI_QUIC_CLOSED + 1];
    struct tbi_quic_action closed; /* the last CLOSED */
    struct tbi_addr path;          /* of the last PATH */
    struct tbi_addr path_local;
    size_t from_second;       /* batches that it sent from its second address */
    size_t got[QUIC_STREAMS]; /* bytes, by stream */
    bool fin[QUIC_STREAMS];
    uint8_t first[QUIC_STREAMS]; /* a stream's first byte */
    int64_t order[QUIC_STREAMS]; /* streams as they were first seen */
    size_t seen;
    size_t resets;
    bool consume;                  /* gives credit back at once */
    size_t early;                  /* bytes that came before the handshake was complete */
    size_t early_known;            /* of these, when the peer's key could be told */
    size_t messages;               /* datagrams that came */
    size_t message_size;           /* of the last one */
    uint8_t message[QUIC_STREAMS]; /* the first byte of each */
    size_t message_after;          /* bytes of streams that had come before the first */
    struct quic_fates fates;
    bool refuse_early; /* closes as soon as something comes early */
    bool dial_early;
    uint8_t ticket[4096];
    size_t ticket_size;
    uint8_t token[TBI_TOKEN_MAX];
    size_t token_size;
    size_t datagrams; /* that it sent */
    size_t last_size;
    uint8_t last[TBI_DATAGRAM_MAX];
};

struct quic_pair {
    struct tbi_alloc steady;
    struct tbi_log log;
    struct tbi_rng rng;
    struct tbi_now now;
    struct quic_end a, b;
};

void quic_init(struct quic_pair *p);
int quic_start(struct quic_end *e); /* with e->config as the test has changed it */
void quic_free(struct quic_pair *p);
int quic_dial(struct quic_pair *p);
void quic_run(struct quic_pair *p, uint64_t ms);
void quic_connect(struct quic_pair *p); /* both start and shake hands */
void quic_actions(struct quic_end *e);
struct tbi_conn *quic_conn(struct quic_end *e); /* its last connection, or NULL */
/* Hands a datagram of the test's own to an endpoint, as if it came from the other. */
void quic_inject(struct quic_pair *p, struct quic_end *to, const struct quic_end *from,
                 const void *data, size_t size);
/* One batch that the endpoint wants to send, into e->last; false: none. */
bool quic_take(struct quic_pair *p, struct quic_end *e);

#endif
