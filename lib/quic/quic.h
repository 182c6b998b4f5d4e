/* quic/quic.h - QUIC connections as a sans-I/O engine, over ngtcp2 and GnuTLS.
 *
 * An endpoint is one UDP port: it finds the connection of a datagram, accepts and dials, and fills
 * batches of packets to send. Time is an argument. Connections are named by numbers that are never
 * reused. Upward: stream bytes go to a sink as they come out of a packet, everything else is an
 * action to be drained after every call. Terms are those of RFC 9000. */
#ifndef TBI_QUIC_QUIC_H
#define TBI_QUIC_QUIC_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/block.h"
#include "base/crypto.h"
#include "base/datagram.h"
#include "base/log.h"
#include "base/now.h"
#include "base/rng.h"

struct tbi_endpoint;
struct tbi_conn;

#define TBI_STREAM_UNSENT_MAX (256U << 10) /* bytes of a stream that may wait for a packet */
#define TBI_UNI_STREAMS_MAX 48U            /* that the peer may have open at once */
#define TBI_CLOSE_TEXT_SIZE 320            /* of a close reason, with its NUL */
#define TBI_TOKEN_MAX 512U                 /* bytes of an address token that are kept */
/* Datagrams that wait for a packet, on one connection; then the oldest is dropped. */
#define TBI_DATAGRAMS_MAX 64U
/* Datagrams with an id whose fate is not known, on one connection: then no more are taken. */
#define TBI_DATAGRAM_FATES_MAX 1024U
/* Datagrams go out behind streams of a lower priority than this, before all others. */
#define TBI_DATAGRAM_PRIORITY 1U

/* The window of an incoming stream that may grow; zeroes to begin with. */
struct tbi_window {
    uint64_t size;     /* bytes; 0: as all begin */
    uint64_t since_ns; /* when it was looked at last */
    uint64_t taken;    /* bytes, since then */
};

/* Called from inside the receipt of a packet: the bytes must be copied, and nothing may be freed;
 * tbi_conn_close() is fine, it only marks. */
struct tbi_quic_sink {
    void *user;
    void (*stream_data)(void *user, struct tbi_conn *conn, int64_t stream, const uint8_t *data,
                        size_t size, bool fin);
    void (*stream_reset)(void *user, struct tbi_conn *conn, int64_t stream);
    /* An own stream that has no end yet is closed: the peer asked for that with STOP_SENDING. */
    void (*stream_stopped)(void *user, struct tbi_conn *conn, int64_t stream);
    /* An unreliable datagram, RFC 9221; never called unless `datagrams` is set. */
    void (*datagram)(void *user, struct tbi_conn *conn, const uint8_t *data, size_t size);
};

struct tbi_endpoint_config {
    const struct tbi_alloc *alloc;   /* outlives the endpoint */
    const struct tbi_log *log;       /* outlives the endpoint */
    const struct tbi_crypto *crypto; /* outlives it; derives the reset and Retry secrets */
    gnutls_certificate_credentials_t credentials; /* the endpoint's own from the call on */
    uint8_t seed[TBI_RNG_SEED_SIZE];
    size_t max_connections;
    size_t kept;       /* of these: neither for clients nor for dials of lesser use */
    bool accept;       /* connections from others */
    bool no_migration; /* clients are told to stay at their address; RFC 9000, section 18.2 */
    bool always_retry; /* validate every client's address first, RFC 9000, section 8.1.2 */
    uint64_t idle_timeout_ms;
    uint64_t keep_alive_ms; /* 0: a third of the idle time, which is also the most */
    uint64_t handshake_timeout_ms;
    uint64_t
        key_update_packets; /* sent until the key is changed; 0: what is well below its limits */
    uint64_t stream_window; /* bytes a peer may send on a stream beyond what was consumed */
    uint64_t stream_window_max; /* which that may grow to, see tbi_conn_taken(); 0: it does not */
    uint64_t window_budget;     /* bytes of memory that all windows together may grow by */
    tbq_congestion congestion;  /* of what is sent */
    /* 0-RTT (RFC 9001, section 4.6): what clients say before the handshake is complete is taken,
     * and dials with `early` say something. An attacker may repeat it elsewhere: see
     * tbi_conn_is_early(). */
    bool early_data;
    bool datagrams; /* unreliable ones are taken from peers */
    struct tbi_quic_sink sink;
};

struct tbi_endpoint_stats {
    uint64_t datagrams_in;
    uint64_t packets_out;
    uint64_t accepted;
    uint64_t dialled;
    uint64_t refused_full; /* Initials beyond max_connections */
    uint64_t retries_sent;
    uint64_t resets_sent;
    uint64_t versions_sent;    /* Version Negotiation packets */
    uint64_t replies_dropped;  /* of the three above: too many waited to be sent */
    uint64_t dropped_reserved; /* first byte below 0x40 */
    uint64_t dropped_unknown;  /* of no connection, and not a beginning of one */
    /* Every datagram is counted once: by one of the above that refuse, answer or drop (resets_sent
     * and replies_dropped tell more about those), by accepted, or by one of these. */
    uint64_t to_connections;  /* of a connection that is there, its stateless resets included */
    uint64_t refused_crowded; /* Initials from a network with too many handshakes under way */
    uint64_t refused_token;   /* Initials with a Retry token that is false or too old */
    uint64_t unanswered;      /* Initials and unknown versions whose answer was dropped */
    uint64_t not_begun;       /* Initials for which memory or TLS failed */
    uint64_t violations;  /* connections closed for what QUIC or TLS forbids, or has limits for */
    uint64_t over_memory; /* of these: the peer made QUIC hold more than for one connection */
    uint64_t connection_memory; /* the most that one connection had of that, bytes */
    uint64_t paths_proved;      /* new addresses of peers that answered from there */
    uint64_t paths_unproved;    /* that did not, or that were left before they did */
    uint64_t key_updates;       /* begun here */
    uint64_t keys_derived;      /* 1-RTT keys after the first; the next one is made in advance */
    uint64_t tokens_taken; /* clients that showed a token of an earlier connection, a good one */
    uint64_t tokens_old;   /* such tokens that did not count: false, too old, of another address */
    /* Clients that wanted to say something early, each counted by one of these: */
    uint64_t early_accepted;
    uint64_t early_replays;     /* their ticket had been used for it before */
    uint64_t early_refused;     /* all others */
    uint64_t datagrams_dropped; /* unreliable ones that found no place, or did not fit any more */
    uint64_t window_bytes;      /* now: of window_budget, used by windows that have grown */
    uint64_t windows_grown;     /* times that one did */
    uint64_t windows_not_grown; /* times that one did not, for want of budget */
    uint64_t certificates_read; /* of peers; those that are remembered are not read again */
    uint64_t half_open;         /* now: handshakes that are not complete */
    uint64_t connections;       /* now */
};

/* 0, TBQ_ERR_NOMEM or TBQ_ERR_TLS; the credentials are taken in any case. */
int tbi_endpoint_new(struct tbi_endpoint **made, const struct tbi_endpoint_config *config);
void tbi_endpoint_free(struct tbi_endpoint *ep); /* closes nothing, says nothing; NULL is fine */
/* It accepts nobody from now on, and what it has still to say is not put off to another turn. */
void tbi_endpoint_end(struct tbi_endpoint *ep);
const struct tbi_endpoint_stats *tbi_endpoint_stats(const struct tbi_endpoint *ep);

/* How many of them were read; the first one is in any case. Fewer than n: a handshake has gone on,
 * and the other side has nothing to do before it hears of that. Send while tbi_endpoint_hurries(),
 * and call again with the rest. */
size_t tbi_endpoint_recv(struct tbi_endpoint *ep, struct tbi_now now,
                         const struct tbi_datagram *batch, size_t n);

/* Fills one batch of equal-sized packets for one destination: 1, or 0: nothing to send now, or
 * enough until the next tick, and the deadline is at once. Connections take turns, by bytes. */
int tbi_endpoint_send(struct tbi_endpoint *ep, struct tbi_now now, struct tbi_send_batch *out);
/* So many answers wait that those to another batch might not find a place, or so much came since
 * the last tick: send before more comes. */
bool tbi_endpoint_must_send(const struct tbi_endpoint *ep);
/* The next batch is of a handshake that waits for it, and the turn has bytes left. */
bool tbi_endpoint_hurries(const struct tbi_endpoint *ep);
uint64_t tbi_endpoint_deadline(const struct tbi_endpoint *ep);
void tbi_endpoint_tick(struct tbi_endpoint *ep, struct tbi_now now);

struct tbi_dial_options {
    bool needed;           /* may have one of the connections that are kept */
    bool in_place;         /* of one that was just closed, and counts until it has ended */
    bool early;            /* streams may be opened at once, if the ticket allows it */
    const uint8_t *ticket; /* of an earlier connection to that peer, or NULL */
    size_t ticket_size;
    const uint8_t *token; /* of an earlier connection to that address, or NULL; use it once */
    size_t token_size;
    const struct tbi_addr *local; /* the own address to dial from; NULL: as the system routes */
};

/* 0, TBQ_ERR_LIMIT, TBQ_ERR_NOMEM, TBQ_ERR_TLS. */
int tbi_endpoint_dial(struct tbi_endpoint *ep, struct tbi_now now, const struct tbi_addr *remote,
                      const struct tbi_dial_options *options, uint64_t *conn);

/* Valid until the connection's CLOSED action was drained; NULL for other numbers. */
struct tbi_conn *tbi_endpoint_conn(struct tbi_endpoint *ep, uint64_t conn);

/* --- One connection --------------------------------------------------------------------------- */

uint64_t tbi_conn_number(const struct tbi_conn *c);
void tbi_conn_set_user(struct tbi_conn *c, void *user);
void *tbi_conn_user(const struct tbi_conn *c);
/* The session, NULL once it is shed; and all that the peer showed, the leaf first, valid until the
 * connection reads or is shed. NULL: nothing. */
gnutls_session_t tbi_conn_peer_session(const struct tbi_conn *c);
const gnutls_datum_t *tbi_conn_peer_chain(const struct tbi_conn *c, unsigned *count);
/* The peer is who it should be, and its certificate is not asked for any more, or only the chain:
 * the TLS session is freed as soon as no ticket is waited for. */
void tbi_conn_shed(struct tbi_conn *c, bool wants_chain);
struct tbi_verdict;
/* The key of the peer's certificate, and whether that is as it must be: as tbi_identity_peer_key(),
 * looked at once for each connection. */
int tbi_conn_peer_key(struct tbi_conn *c, uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                      struct tbi_verdict *verdict);
bool tbi_conn_resumed(const struct tbi_conn *c);

/* Inside the sink's calls: the handshake is not complete, so an attacker may have sent these bytes
 * again, and may send them again to other nodes. Here they come once, see early.c; who acts on them
 * nonetheless must be able to bear it twice. The certificate of the resumed session is known by
 * then (tbi_conn_peer_session()), so trust can be asked about it first; but a client that is closed
 * before HANDSHAKE_DONE learns no reason. They come from inside the receipt that accepts the
 * connection: the ACCEPTED action waits behind them. */
bool tbi_conn_is_early(const struct tbi_conn *c);
/* A client whose handshake is not complete, and that may write nonetheless. */
bool tbi_conn_speaks_early(const struct tbi_conn *c);
const struct tbi_addr *tbi_conn_remote(const struct tbi_conn *c); /* the peer's address */
uint64_t tbi_conn_rtt_ns(const struct tbi_conn *c);               /* smoothed; 0: not known yet */

struct tbi_conn_facts {
    uint64_t rtt_ns;       /* smoothed; 0: not known yet */
    uint64_t rate;         /* bytes a second: what congestion control lets out in a round trip */
    uint64_t unsent;       /* bytes queued, in no packet yet */
    uint64_t in_flight;    /* bytes in packets that are not acknowledged */
    uint64_t streams_left; /* that may be opened now */
    uint64_t bytes_in;     /* UDP payload that came, so far */
    uint64_t bytes_out;    /* and that was sent */
    uint32_t loss;         /* permille of the packets with data, of late; estimated */
};
void tbi_conn_facts(const struct tbi_conn *c, struct tbi_conn_facts *facts);

/* Opens a stream; lower priorities are sent first, strictly. TBQ_ERR_AGAIN: the peer allows no more
 * now, a WRITABLE action follows; TBQ_ERR_CLOSED, TBQ_ERR_NOMEM. */
int tbi_conn_open_uni(struct tbi_conn *c, unsigned priority, int64_t *stream);

/* Queues bytes: head is copied, body referenced (NULL: none). The queue has no limit of its own:
 * ask tbi_conn_unsent(). 0, TBQ_ERR_CLOSED or TBQ_ERR_NOMEM (nothing was queued). */
int tbi_conn_write(struct tbi_conn *c, int64_t stream, const uint8_t *head, size_t head_size,
                   struct tbi_block *body, bool fin);
/* The same for several, the stream goes on. How many were queued, the first ones; or an error as
 * above, where none was. */
int tbi_conn_write_all(struct tbi_conn *c, int64_t stream, const struct tbi_headed *all,
                       size_t count);

/* Whether something in flight is not acknowledged: the peer is on its way to it, or to the answer.
 */
bool tbi_conn_is_owed(const struct tbi_conn *c);

/* Bytes that were queued and are in no packet yet. A WRITABLE action tells when a stream that had
 * TBI_STREAM_UNSENT_MAX or more has less than half of it. */
size_t tbi_conn_unsent(const struct tbi_conn *c, int64_t stream);

void tbi_conn_consume(struct tbi_conn *c, int64_t stream, uint64_t size); /* MAX_STREAM_DATA */
/* The same for a stream whose window may grow, when the application has taken these bytes: doubles
 * it where half of it was taken within a round trip, and the budget has room. */
void tbi_conn_taken(struct tbi_conn *c, struct tbi_now now, struct tbi_window *w, int64_t stream,
                    uint64_t size);
void tbi_conn_stream_done(struct tbi_conn *c, int64_t stream); /* MAX_STREAMS */
void tbi_conn_stop_sending(struct tbi_conn *c, int64_t stream, uint64_t code);

/* The largest payload that a datagram may have now; 0: the peer takes none, or has not told yet. */
size_t tbi_conn_datagram_room(const struct tbi_conn *c);

bool tbi_conn_datagrams_full(const struct tbi_conn *c); /* the next one would lose the oldest */

/* Queues a datagram; the block is referenced. With an id that is not 0 its fate is told by one
 * action, DATAGRAM_ACKED or DATAGRAM_LOST, before CLOSED; ids need not be unique. A full queue
 * loses its oldest one. 0, TBQ_ERR_CLOSED, TBQ_ERR_NOMEM, TBQ_ERR_UNSUPPORTED (there is no room at
 * all), TBQ_ERR_TOO_LARGE, or TBQ_ERR_AGAIN (the fates of TBI_DATAGRAM_FATES_MAX are not known
 * yet). */
int tbi_conn_send_datagram(struct tbi_conn *c, struct tbi_block *block, uint64_t id);

/* Closes with an application close code and a reason; CLOSED follows. May be repeated. */
void tbi_conn_close(struct tbi_conn *c, struct tbi_now now, uint64_t code, const char *text);

/* Begins a key update, RFC 9001, section 6; done by itself after key_update_packets. 0 or
 * TBQ_ERR_AGAIN (the last one is too fresh). */
int tbi_conn_update_key(struct tbi_conn *c, struct tbi_now now);

/* --- Our addresses; a client's role chooses them ---------------------------------------------- */

const struct tbi_addr *tbi_conn_local(const struct tbi_conn *c); /* len 0: the kernel chooses */

/* Goes on at another of our addresses, with the socket's port; none or unspecified: what the kernel
 * chooses. It is tried first, and used once it answers; where it does not, all stays as it was.
 * at_once: the one that was used is gone, so the new one is used while it is tried, and stays. A
 * PATH action tells that it answers. The address that is used already is only probed.
 * 0; TBQ_ERR_AGAIN: the handshake is not confirmed, or the peer has given no connection id that is
 * left; TBQ_ERR_UNSUPPORTED: a server's role, or the peer forbids it; TBQ_ERR_ADDRESS: not of the
 * peer's family; TBQ_ERR_CLOSED; TBQ_ERR_NOMEM: the connection ends with it. */
int tbi_conn_migrate(struct tbi_conn *c, struct tbi_now now, const struct tbi_addr *local,
                     bool at_once);

/* Our address is gone, and there is no other path: the kernel chooses until a packet comes. */
void tbi_conn_forget_local(struct tbi_conn *c);

/* Sends a packet now that the peer must acknowledge: does the path live? */
void tbi_conn_probe(struct tbi_conn *c, struct tbi_now now);

/* --- Actions ---------------------------------------------------------------------------------- */

enum tbi_quic_action_type {
    TBI_QUIC_ACCEPTED,        /* accepted.remote: a client has begun */
    TBI_QUIC_CONNECTED_EARLY, /* streams may be opened; a server's bytes go in its first flight,
                                 and so do a client's that dialled with `early` */
    TBI_QUIC_EARLY_REJECTED,  /* what a client wrote before HANDSHAKE_DONE was not taken: all its
                                 streams are gone, and may be opened anew */
    TBI_QUIC_HANDSHAKE_DONE,  /* ask about the peer's key now */
    TBI_QUIC_WRITABLE,        /* a stream that was full has room, or more streams may be opened */
    TBI_QUIC_TICKET,          /* ticket: for tbi_dial_options; valid until the next action */
    TBI_QUIC_TOKEN,           /* ticket: the same, for the token */
    TBI_QUIC_DATAGRAM_ACKED,  /* datagram.id has arrived */
    TBI_QUIC_DATAGRAM_LOST,   /* datagram.id has probably not arrived, or was never sent */
    TBI_QUIC_PATH,            /* path: the peer's address, or ours, is another and answers */
    TBI_QUIC_SUSPECT,         /* suspect: whether what is in flight is not acknowledged in time */
    TBI_QUIC_CLOSED           /* closed: the last action of a connection */
};

enum tbi_closed_by {
    TBI_CLOSED_LOCAL,       /* by tbi_conn_close() */
    TBI_CLOSED_APPLICATION, /* by the peer, with app_code */
    TBI_CLOSED_TRANSPORT    /* by either side's transport or TLS, or by silence */
};

struct tbi_quic_action {
    enum tbi_quic_action_type type;
    uint64_t conn;
    union {
        struct {
            struct tbi_addr remote;
        } accepted;
        struct {
            struct tbi_addr remote;
            struct tbi_addr local; /* len 0: not known */
        } path;
        bool suspect;
        struct {
            const uint8_t *data;
            size_t size;
        } ticket; /* or token */
        struct {
            uint64_t id;
        } datagram;
        struct {
            enum tbi_closed_by who;
            uint64_t app_code; /* LOCAL and APPLICATION */
            int reason;        /* TRANSPORT: TBQ_ERR_LOST, _TLS, _PROTOCOL, _TIMEOUT, _LIMIT */
            char text[TBI_CLOSE_TEXT_SIZE];
        } closed;
    };
};

bool tbi_endpoint_next_action(struct tbi_endpoint *ep, struct tbi_quic_action *action);
/* Whether there is one, or anything has ended: else there is no need to ask for it. */
bool tbi_endpoint_has_actions(const struct tbi_endpoint *ep);

#endif
