/* quic/parts.h - what endpoint and connections are made of; shared by the files of this folder. */
#ifndef TBI_QUIC_PARTS_H
#define TBI_QUIC_PARTS_H

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "base/cursor.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "quic/quic.h"
#include "wire/wire.h"

#define TBI_CID_SIZE                                                                               \
    8 /* bytes of the connection ids that we give out; all of one size, since                      \
         short headers do not tell it */
#define TBI_PACKET_MAX 1500 /* bytes of UDP payload that we write or probe for */
#define TBI_SECRET_SIZE 32
#define TBI_RETRY_TOKEN_NS (10 * TBI_NS_PER_S)
/* A token that a client got for its next connection proves its address for so long; as long as
 * GnuTLS lets its session tickets live. */
#define TBI_ADDRESS_TOKEN_NS (UINT64_C(6) * 3600 * TBI_NS_PER_S)
/* Tokens of one connection that a client is told of; a server that gives more wastes them. */
#define TBI_TOKENS_PER_CONN 32U
/* A ticket may bring early data for so long after it was given; as long as it lives. */
#define TBI_EARLY_TICKET_NS (UINT64_C(6) * 3600 * TBI_NS_PER_S)
#define TBI_EARLY_TICKETS 4U /* of one peer that may: the newest */
/* Peers whose tickets may; beyond, those whose newest is oldest are forgotten. About 2 MiB. */
#define TBI_EARLY_PEERS_MAX 4096U
/* Handshakes under way that others began; from there on clients prove their address (RFC 9000,
 * section 8.1.2). In all, or half of max_connections if that is less; and from one network, IPv4
 * /24 or IPv6 /56, so that a flood from there costs no one else a round trip. */
#define TBI_HALF_OPEN_RETRY 128U
#define TBI_HALF_OPEN_RETRY_NETWORK 16U
/* And from there on no more begin from that network, proved or not (or half of max_connections):
 * the clients' own repetition asks again. */
#define TBI_HALF_OPEN_NETWORK_MAX 64U
/* Packets under one key until a new one is taken: an eighth of what AES-GCM allows to send, 2^23
 * (RFC 9001, section 6.6), so that a peer that is slow to follow is no danger. */
#define TBI_KEY_UPDATE_PACKETS (UINT64_C(1) << 20)
/* Bytes of TLS that a peer may say on a connection, in all: handshake, tickets, and nothing else
 * that is of use. A long chain of large certificates has 16 KiB. */
#define TBI_CRYPTO_MAX (128U << 10)
#define TBI_CERTS_MAX 1024U /* certificates of peers that are remembered: some 256 KiB */
#define TBI_REPLIES_MAX 64  /* stateless answers that wait to be sent */
/* Bytes of a round: who comes to the front of those that have something to send may write so many,
 * and then goes behind the others. A batch takes as many, so that none is cut for it. */
#define TBI_ROUND_BYTES ((int32_t)TBI_DATAGRAM_MAX)
/* Bytes that are read, or written, in a turn, between two calls of tbi_endpoint_tick(); the batch
 * that reaches it is the last one. What else came waits for so long at most: a millisecond or two.
 */
#define TBI_TURN_BYTES (1U << 20)
/* Stream windows that a peer may have under way over all streams: one for each lane. It is given
 * back on receipt, so it bounds what arrives out of order. */
#define TBI_WINDOWS_UNDER_WAY 4U

/* A key of the connection id map: length, then the id, zeroes behind it. */
struct tbi_cid_key {
    uint8_t bytes[1 + NGTCP2_MAX_CIDLEN];
};

/* --- stream.c: what one outgoing stream still holds --- */

/* Bytes of a stream, in a row; of a block, which they hold. */
struct tbi_chunk {
    struct tbi_block *block;
    uint8_t *data;
    size_t size;
};

struct tbi_ostream {
    struct tbi_list entry; /* of the connection, by priority */
    const struct tbi_alloc *alloc;
    int64_t id;
    unsigned priority;
    struct tbi_chunk *chunk; /* queued, oldest first: from `first` on, `count` of them */
    size_t capacity;
    size_t first;
    size_t count;
    size_t next;      /* index from `first` of the chunk that is sent from */
    size_t next_used; /* bytes of it that are in packets already */
    uint64_t front;   /* stream offset at which chunk[first] begins */
    uint64_t sent;    /* all below this offset was, once */
    uint64_t acked;   /* and all below this one is acknowledged */
    size_t unsent;
    bool fin;
    bool fin_sent;
    bool blocked; /* by flow control, for the packet that is being written */
    bool was_full;
    bool closed; /* the peer does not want it any more */
};

struct tbi_ostream *tbi_ostream_new(const struct tbi_alloc *a, int64_t id, unsigned priority);
void tbi_ostream_free(struct tbi_ostream *o);
int tbi_ostream_push(struct tbi_ostream *o, const struct tbi_headed *what);
/* What is next, as far as a packet with that many bytes can take it; *all: there is no more. */
size_t tbi_ostream_gather(const struct tbi_ostream *o, ngtcp2_vec *vec, size_t max, size_t bytes,
                          bool *all);
void tbi_ostream_sent(struct tbi_ostream *o, size_t size);
void tbi_ostream_acked(struct tbi_ostream *o, uint64_t offset, uint64_t size);

/* --- account.c: the memory of one connection --- */

struct tbi_account {
    ngtcp2_mem mem; /* for ngtcp2, which keeps the pointer */
    const struct tbi_alloc *alloc;
    struct tbi_list blocks; /* all that it has */
    size_t limit;
    size_t held; /* bytes that were allocated while a packet was read */
    size_t most;
    bool reading; /* a packet of the peer's is read now */
    bool over;    /* the limit was reached: ngtcp2 was told that memory is out */
};

void tbi_account_init(struct tbi_account *a, const struct tbi_alloc *alloc, size_t limit);
/* The connection is gone: what ngtcp2 has not given back is freed. */
void tbi_account_close(struct tbi_account *a);
size_t tbi_account_limit(uint64_t connection_window);

/* --- replay.c: tickets that may bring early data --- */

struct tbi_replay {
    struct tbi_map holders; /* public key to what that peer was given */
    struct tbi_map tickets; /* a ticket's hash to what is known of it */
};

enum tbi_replay_answer {
    TBI_REPLAY_FIRST,  /* take it: it is used now */
    TBI_REPLAY_AGAIN,  /* it was used before */
    TBI_REPLAY_UNKNOWN /* too old, or not one of ours */
};

void tbi_replay_init(struct tbi_replay *r, const struct tbi_alloc *a, const uint8_t secret[16],
                     size_t peers);
void tbi_replay_free(struct tbi_replay *r);
/* 0 or TBQ_ERR_NOMEM, TBQ_ERR_EXISTS: then it may not. */
int tbi_replay_issued(struct tbi_replay *r, uint64_t now_ns, const uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                      const uint8_t hash[TBI_HASH_SIZE]);
enum tbi_replay_answer tbi_replay_take(struct tbi_replay *r, uint64_t now_ns,
                                       const uint8_t hash[TBI_HASH_SIZE]);

/* --- cert.c: what peers' certificates say --- */
void tbi_certs_init(struct tbi_endpoint *ep, const uint8_t secret[16]);
void tbi_certs_free(struct tbi_endpoint *ep);

/* --- conn.c --- */

enum tbi_conn_state {
    TBI_CONN_ALIVE,
    TBI_CONN_CLOSING,  /* our CONNECTION_CLOSE is out; answers with it again */
    TBI_CONN_DRAINING, /* the peer's came; silent */
    TBI_CONN_DEAD      /* nothing more to wait for */
};

struct tbi_conn {
    struct tbi_endpoint *ep;
    uint64_t number;
    void *user;
    struct tbi_account account;
    uint64_t grown; /* bytes that its streams' windows have grown by */
    ngtcp2_conn *qc;
    ngtcp2_crypto_conn_ref ref;
    gnutls_session_t tls;
    enum tbi_conn_state state;
    bool server;
    bool half_open;
    bool crowds; /* counted in the endpoint's crowd: begun by another, from a network */
    uint8_t network[TBI_PREFIX_SIZE]; /* for that */
    uint64_t bytes_in, bytes_out;     /* of UDP payload, so far */
    bool want_close;                  /* marked; the packet is written by the next send */
    bool others_turn;   /* the packet that is being written begins with a less urgent stream */
    unsigned last_turn; /* the priority of the stream that did last */
    bool flight_due;    /* a client's last handshake packets may not be written yet */
    bool told_closed;   /* the CLOSED action is queued */
    bool drained;       /* and was drained */
    bool resumed;
    bool begun;         /* a client's handshake is */
    bool complete;      /* the handshake is */
    bool early;         /* a client's streams were opened before that */
    bool ticket_early;  /* the ticket that is being read may bring early data */
    bool reset;         /* a stateless reset came */
    ngtcp2_ccerr error; /* what to close with */
    char error_text[TBI_CLOSE_TEXT_SIZE];
    enum tbi_closed_by who;
    int reason;
    struct tbi_addr remote;
    struct tbi_addr from; /* our address that the peer uses; len 0: the kernel chooses */
    struct tbi_addr next; /* our address that is tried; the same */
    struct tbi_addr left; /* our address before; len 0: none */
    struct tbi_addr out;  /* our address that the last packet was written for */
    uint16_t from_number; /* as ngtcp2 sees `from` */
    uint16_t next_number; /* as it sees `next`; the same as from_number: none is tried */
    uint16_t last_number; /* the last one that was given */
    bool probing;         /* a PING is due */
    uint64_t in_flight;   /* bytes, before the packet that is being written */
    uint64_t keep_alive_ns;
    struct tbi_list ready;   /* in a list of the endpoint: has something to send */
    int32_t credit;          /* bytes that it may still write in this round; below 0: owed */
    uint64_t much_at;        /* ns; a whole packet was heard last */
    uint64_t lone_at;        /* ns; nothing but an acknowledgement is due since; 0: more, or none */
    size_t unpaced;          /* bytes that were written, and are paced with what comes next */
    uint64_t paced_until;    /* ns; soon after is the end of the last pace that is not put off */
    struct tbi_list reap;    /* in the endpoint's list: it has ended */
    struct tbi_list streams; /* tbi_ostream, by priority */
    struct tbi_list routes;  /* tbi_route: connection ids and reset tokens that lead here */
    struct tbi_timer timer;
    struct tbi_queued_action *closed; /* made at the beginning: an end is told without memory */
    uint8_t *close_packet;
    size_t close_size;
    struct tbi_list datagrams; /* tbi_odatagram that wait for a packet, the oldest first */
    size_t datagram_count;     /* of these */
    struct tbi_map fates;      /* serial to tbi_odatagram whose fate is to be told */
    size_t tokens_in;          /* that a client was given */
    size_t crypto_in;          /* bytes of TLS that came */
    uint64_t close_seen;       /* packets that came while closing */
    bool close_due;            /* for one of them: the close is said once more */
    uint64_t key_used;         /* packets sent since the key was changed from here */
    uint64_t
        asked_at;     /* ns; of what is in flight, since an acknowledgement came last; 0: nothing */
    bool suspect;     /* which was told */
    bool not_asked;   /* about the peer's certificate, from now on */
    bool wants_chain; /* but for its chain */
    bool ticket_came; /* to a client */
    struct tbi_late_tls { /* the message in which CRYPTO frames of 1-RTT packets are now */
        uint8_t head_len; /* bytes of its head that have come */
        uint32_t length;  /* as far as that tells */
        uint32_t left;    /* bytes of its body to come */
    } late;
    gnutls_datum_t *chain; /* the peer's, with its bytes behind it; NULL: the session has it */
    unsigned chain_len;
    bool key_known;
    uint8_t peer_key[TBQ_PUBLIC_KEY_SIZE]; /* as its certificate tells it, once that is known */
    size_t fresh;                          /* new bytes of streams in the packet that is written */
    uint32_t data_packets;                 /* large ones, of late, */
    uint32_t again_packets;                /* and those of them that carried again what was lost */
};

struct tbi_queued_action {
    struct tbi_list entry;
    struct tbi_quic_action action;
    struct tbi_block *ticket;
};

struct tbi_reply {
    struct tbi_addr local;
    struct tbi_addr remote;
    size_t size;
    uint8_t data[NGTCP2_MAX_UDP_PAYLOAD_SIZE];
};

struct tbi_endpoint {
    struct tbi_endpoint_config cfg;
    const struct tbi_alloc *alloc;
    struct tbi_rng rng;
    struct tbi_now now;
    gnutls_priority_t priority;
    gnutls_datum_t ticket_key;
    uint8_t reset_secret[TBI_SECRET_SIZE];
    uint8_t retry_secret[TBI_SECRET_SIZE];
    uint8_t token_secret[TBI_SECRET_SIZE];
    gnutls_anti_replay_t anti_replay; /* NULL: no early data */
    struct tbi_replay replay;
    bool early_asked; /* the ClientHello that is being read brings early data, and one ticket */
    uint8_t early_ticket[TBI_HASH_SIZE]; /* the hash of the ticket in it */
    struct tbi_heap timers;
    struct tbi_map cids;     /* tbi_cid_key to tbi_route */
    struct tbi_map tokens;   /* stateless reset tokens of the peers' ids to tbi_route */
    struct tbi_map conns;    /* number to tbi_conn */
    struct tbi_conn *asked;  /* of these, who was asked for last; NULL: none */
    struct tbi_map certs;    /* hash of a certificate to what it says; the oldest first */
    struct tbi_map crowd;    /* network to the number of its handshakes under way, a size_t */
    struct tbi_list hurried; /* connections whose handshake goes on: these send first */
    struct tbi_list ready;   /* the others: whose turn is next is in front */
    size_t turn_in;          /* bytes that were read since the last tick */
    size_t turn_out;         /* and written */
    bool ending;             /* no turn follows */
    struct tbi_list reap;
    struct tbi_list actions;
    struct tbi_block *last_ticket; /* of the action that was drained last */
    struct tbi_reply *reply;       /* a ring of TBI_REPLIES_MAX */
    size_t reply_first;
    size_t reply_count;
    uint8_t spare[TBI_PACKET_MAX]; /* a packet that did not fit the batch it was written for */
    struct tbi_send_batch spare_batch;
    uint64_t next_number;
    uint64_t next_datagram; /* serial of the next one */
    uint64_t grown;         /* bytes that windows have grown by, of connections that are there */
    struct tbi_endpoint_stats stats;
};

struct tbi_conn *tbi_conn_new(struct tbi_endpoint *ep, bool server, const struct tbi_addr *remote);
void tbi_conn_free(struct tbi_conn *c);
int tbi_conn_start_client(struct tbi_conn *c, const struct tbi_dial_options *options);
/* odcid: of the client's first Initial, if the token of this one is of a Retry; else `proved` tells
 * whether it is a good one of an earlier connection. */
int tbi_conn_start_server(struct tbi_conn *c, const ngtcp2_pkt_hd *hd, const ngtcp2_cid *odcid,
                          bool proved);
void tbi_conn_recv(struct tbi_conn *c, const struct tbi_datagram *d, const uint8_t *data,
                   size_t size);
void tbi_conn_timer(struct tbi_conn *c);
uint64_t tbi_conn_in_flight(const struct tbi_conn *c);  /* bytes that wait for an acknowledgement */
uint64_t tbi_conn_suspect_at(const struct tbi_conn *c); /* ns; TBI_NEVER: nothing is waited for */
void tbi_conn_set_suspect(struct tbi_conn *c, bool suspect);
/* A packet was read: `before` was in flight. What is acknowledged leaves the flight. */
void tbi_conn_heard(struct tbi_conn *c, uint64_t before);
void tbi_conn_ready(struct tbi_conn *c); /* put it into the round of sending */
void tbi_conn_hurry(struct tbi_conn *c); /* and before all others */
void tbi_conn_rearm(struct tbi_conn *c);
/* The next packet into `dest`: its size, or 0. */
size_t tbi_conn_write_packet(struct tbi_conn *c, uint8_t *dest, size_t size, uint8_t *ecn);
void tbi_conn_callbacks(ngtcp2_callbacks *callbacks, bool server);
void tbi_conn_not_half_open(struct tbi_conn *c); /* its handshake is complete, or it ends */
struct tbi_ostream *tbi_conn_ostream(const struct tbi_conn *c, int64_t stream);
void tbi_conn_drop_ostream(struct tbi_conn *c, struct tbi_ostream *o);
void tbi_conn_ended(struct tbi_conn *c, enum tbi_closed_by who, int reason, uint64_t code,
                    const char *text);

/* The transport or TLS found a fault, an NGTCP2_ERR_*: closes with it. */
void tbi_conn_fail(struct tbi_conn *c, int liberr);

/* Given back on receipt: it only has to cover what is under way, over all streams. */
uint64_t tbi_connection_window(const struct tbi_endpoint *ep); /* as it begins */

/* --- window.c: windows that grow --- */
void tbi_windows_free(struct tbi_conn *c); /* gives back to the budget */

/* --- shed.c: without a TLS session --- */
void tbi_shed(struct tbi_conn *c); /* frees it if nothing needs it any more */
/* CRYPTO bytes of 1-RTT packets. False: what they begin may not be. */
bool tbi_late_tls(struct tbi_conn *c, const uint8_t *data, size_t size);
/* Frees all that a connection needs while it is alive. */
void tbi_conn_hollow(struct tbi_conn *c);

/* --- loss.c: how much is lost --- */
void tbi_loss_wrote(struct tbi_conn *c, size_t size); /* a packet of that size */
uint32_t tbi_loss_permille(const struct tbi_conn *c);

/* --- migrate.c: our addresses --- */
struct tbi_path {
    struct sockaddr_in local; /* a number in place of the address */
    ngtcp2_path path;
};
const ngtcp2_path *tbi_path_set(struct tbi_path *p, unsigned number, const struct tbi_addr *remote);
unsigned tbi_conn_reached_at(struct tbi_conn *c, const struct tbi_addr *local); /* its number */
void tbi_conn_before_write(struct tbi_conn *c);
void tbi_conn_wrote(struct tbi_conn *c, const ngtcp2_path *path, size_t size);
void tbi_conn_path_tried(struct tbi_conn *c, const ngtcp2_path *path, bool answers);

/* --- endpoint.c --- */
struct tbi_queued_action *tbi_endpoint_action(struct tbi_endpoint *ep, const struct tbi_conn *c,
                                              enum tbi_quic_action_type type);
int tbi_endpoint_add_cid(struct tbi_endpoint *ep, const ngtcp2_cid *cid, struct tbi_conn *c);
void tbi_endpoint_remove_cid(struct tbi_endpoint *ep, const ngtcp2_cid *cid, struct tbi_conn *c);
void tbi_endpoint_new_cid(struct tbi_endpoint *ep, ngtcp2_cid *cid);

/* --- stateless.c: answers without a connection --- */
void tbi_send_retry(struct tbi_endpoint *ep, const struct tbi_datagram *d, const ngtcp2_pkt_hd *hd);
void tbi_send_refusal(struct tbi_endpoint *ep, const struct tbi_datagram *d,
                      const ngtcp2_pkt_hd *hd, uint64_t error);
void tbi_send_versions(struct tbi_endpoint *ep, const struct tbi_datagram *d,
                       const ngtcp2_version_cid *v);
int tbi_reset_token(const struct tbi_endpoint *ep, const ngtcp2_cid *cid,
                    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN]); /* 0 or TBQ_ERR_TLS */
void tbi_send_reset(struct tbi_endpoint *ep, const struct tbi_datagram *d, const uint8_t *dcid,
                    size_t size);

/* --- token.c: proof of a client's address for its next connection --- */
int tbi_token_init(struct tbi_endpoint *ep);
void tbi_token_give(struct tbi_conn *c); /* a server's, for the address that the client has now */
bool tbi_token_proves(struct tbi_endpoint *ep, const struct tbi_datagram *d,
                      const ngtcp2_pkt_hd *hd);
int tbi_token_taken(struct tbi_conn *c, const uint8_t *token, size_t size); /* a client's */

/* --- early.c: 0-RTT --- */
void tbi_early_prepare(struct tbi_endpoint *ep, const uint8_t secret[16]);
int tbi_early_init(struct tbi_endpoint *ep); /* 0 or TBQ_ERR_TLS */
void tbi_early_free(struct tbi_endpoint *ep);
bool tbi_early_asked(const gnutls_datum_t *hello, struct tbi_cursor *ticket);
int tbi_early_server(struct tbi_conn *c); /* 0 or TBQ_ERR_TLS */
int tbi_early_client(struct tbi_conn *c, const struct tbi_dial_options *options);
bool tbi_early_wanted(const struct tbi_conn *c, const struct tbi_dial_options *options);
int tbi_early_ticket(struct tbi_conn *c, const gnutls_datum_t *message); /* 0 or GNUTLS_E_* */
struct tbi_block *tbi_ticket_pack(const struct tbi_alloc *a, const gnutls_datum_t *session,
                                  const uint8_t *params, size_t size);
struct tbi_block *tbi_early_pack(struct tbi_conn *c, const gnutls_datum_t *session);
int tbi_early_settle(struct tbi_conn *c); /* 0 or NGTCP2_ERR_CALLBACK_FAILURE */

/* --- datagram.c: unreliable ones, RFC 9221 --- */
void tbi_datagrams_init(struct tbi_conn *c);
void tbi_datagrams_end(struct tbi_conn *c); /* all fates are told: lost */
void tbi_datagrams_free(struct tbi_conn *c);
void tbi_datagrams_lost(struct tbi_conn *c); /* what is on the way is lost */
void tbi_datagrams_fit(struct tbi_conn *c);  /* drops those that no packet can take any more */
bool tbi_datagram_waits(const struct tbi_conn *c);
ngtcp2_ssize tbi_datagram_write(struct tbi_conn *c, ngtcp2_path *path, ngtcp2_pkt_info *pi,
                                uint8_t *dest, size_t size, bool *again);
void tbi_datagram_fate(struct tbi_conn *c, uint64_t serial, enum tbi_quic_action_type fate);

/* --- crowd.c: handshakes under way, by the network that they come from --- */
size_t tbi_crowd_of(const struct tbi_endpoint *ep, const struct tbi_addr *remote);
int tbi_crowd_enter(struct tbi_conn *c); /* 0 or TBQ_ERR_NOMEM */
void tbi_crowd_leave(struct tbi_conn *c);
void tbi_crowd_free(struct tbi_endpoint *ep);

/* --- tls.c --- */
int tbi_tls_init(struct tbi_endpoint *ep);
void tbi_tls_free(struct tbi_endpoint *ep);
int tbi_tls_session(struct tbi_conn *c, const struct tbi_dial_options *options);
bool tbi_tls_alpn_agreed(const struct tbi_conn *c);

/* --- route.c --- */
int tbi_route_add(struct tbi_conn *c, struct tbi_map *in, const void *key); /* as tbi_map_put() */
void tbi_route_remove(struct tbi_conn *c, struct tbi_map *in, const void *key);
void tbi_routes_free(struct tbi_conn *c);
void tbi_routes_leave(struct tbi_conn *c, const struct tbi_map *in); /* only those of that map */
struct tbi_conn *tbi_route_find(const struct tbi_map *in, const void *key);

/* --- error.c --- */
int tbi_ccerr_text(const ngtcp2_ccerr *e, bool remote, char *text, size_t size);

#endif
