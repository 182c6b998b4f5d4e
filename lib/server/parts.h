/* server/parts.h - what a tbq_server is made of; shared by the files of this folder only. */
#ifndef TBI_SERVER_PARTS_H
#define TBI_SERVER_PARTS_H

#include <tbquic/server.h>

#include "base/datagram.h"
#include "base/log.h"
#include "identity/identity.h"
#include "identity/trust.h"
#include "io/clock.h"
#include "io/file.h"
#include "io/names.h"
#include "io/netwatch.h"
#include "io/onefd.h"
#include "io/random.h"
#include "io/udp.h"
#include "io/wake.h"
#include "node/node.h"
#include "server/config.h"

struct tbq_server {
    struct tbi_alloc alloc;
    struct tbi_log log;
    struct tbi_settings settings;
    struct tbi_rng rng;
    struct tbi_identity *identity;
    struct tbi_file_lock key_lock;
    struct tbi_trust trust;
    struct tbi_udp *udp;
    struct tbi_wake *wake;
    struct tbi_names *names;
    struct tbi_netwatch *netwatch; /* NULL: none */
    struct tbi_onefd *onefd;       /* made when it is asked for */
    bool at_once;                  /* it ends the next wait at once, whatever comes */
    uint64_t put_off;      /* ns; since when packets wait for events to be pulled; 0: none */
    uint64_t busy_at;      /* ns; when something has come or gone last: see busy_poll_us */
    unsigned pulled;       /* events, for a look at the clock now and then; */
    unsigned calls;        /* and other calls of a turn, for the same: */
    uint64_t tick;         /* of calls outside of turns */
    struct tbi_now moment; /* the last one */
    uint64_t wall_at;      /* ns; when the wall clock is looked at again */
    struct tbi_node *node;
    tbq_loop *loop;
    tbq_actor actor;
    bool has_actor;
    unsigned in_callback;
    uint8_t *unsent_data;         /* the batch buffer */
    struct tbi_send_batch unsent; /* what the socket did not take yet; size 0: nothing */
    size_t batch_sent;            /* bytes of the last one that left */
    struct tbi_addr advertised[TBI_ADVERTISE_MAX];
    size_t advertised_len;
    uint64_t book_at;        /* ns; when the peer book and tickets are to be written */
    uint64_t book_next;      /* ns; not before */
    uint64_t network_at;     /* ns; when the node is told that the network has changed; TBI_NEVER */
    uint64_t network_latest; /* ns; not after */
    char address[TBI_ADDR_TEXT_SIZE];
    char uri[TBQ_URI_SIZE];
};

/* identity.c: the key from its files, or a new one. trust.c: the files of the policy. 0 or a
 * TBQ_ERR_*, and a text (the configuration's error_text) says why. */
int tbi_server_load_identity(struct tbq_server *s, struct tbi_now now);
void tbi_server_save_bindings(struct tbq_server *s); /* that first use has made */
int tbi_server_load_trust(struct tbq_server *s, char *text, size_t text_size);

/* drive.c: after a call that may have changed what there is to wait for; answers rv. */
int tbi_server_changed(struct tbq_server *s, int rv);
struct tbi_now tbi_server_now(struct tbq_server *s);
/* The time, for calls that may be many: within a turn, from its beginning until there are no more
 * events, as it was a few calls ago; else as it was a few milliseconds ago at most. */
struct tbi_now tbi_server_moment(struct tbq_server *s);

/* network.c: changes of this machine's addresses. 0 or TBQ_ERR_NOMEM. */
int tbi_server_watch_network(struct tbq_server *s);
void tbi_server_tend_network(struct tbq_server *s, struct tbi_now now);
void tbi_server_network_changed(struct tbq_server *s);

/* book.c: addresses to claim, and the peer book. */
#define TBI_COOKIE_ADVERTISE                                                                       \
    UINT64_MAX /* of lookups of addresses to advertise, not of contacts                            \
                */
int tbi_server_find_addresses(struct tbq_server *s, struct tbi_now now);
void tbi_server_found_address(struct tbq_server *s, struct tbi_now now,
                              const struct tbi_names_result *result);
int tbi_server_load_book(struct tbq_server *s, struct tbi_now now);
void tbi_server_save_state(struct tbq_server *s); /* what has changed: the book, and tickets */
void tbi_server_tend_state(struct tbq_server *s, struct tbi_now now); /* if it is time */

/* tickets.c: session tickets and address tokens. 0 or TBQ_ERR_NOMEM. */
int tbi_server_load_tickets(struct tbq_server *s);
void tbi_server_save_tickets(struct tbq_server *s);

#endif
