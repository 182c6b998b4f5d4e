/* tbquic/peer.h - who a node knows and how it gets along with them: peers and counters. */
#ifndef TBQUIC_PEER_H
#define TBQUIC_PEER_H

#include <tbquic/actor.h>
#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Messages to and from one peer, in numbers of messages unless a unit is told. They begin at 0 when
 * the peer is met, and again after it was forgotten. */
typedef struct tbq_peer_stats {
    uint64_t rtt_ns;          /* smoothed round trip of its connection, RFC 9002; 0: not measured */
    uint64_t sent;            /* written to a connection for the first time */
    uint64_t resent;          /* written again on a later connection */
    uint64_t delivered;       /* fates told to the application and to the library itself */
    uint64_t not_delivered;   /* the same */
    uint64_t unknown;         /* the same */
    uint64_t expired;         /* of these: their time to live passed before their fate */
    uint64_t again;           /* sends that a full outbox refused: TBQ_ERR_AGAIN */
    uint64_t received;        /* whole and new */
    uint64_t taken;           /* released, or taken by the actor */
    uint64_t declined;        /* refused by the application or the library */
    uint64_t duplicates;      /* dropped, because they had come before */
    uint64_t connections;     /* that carried messages, one after another */
    uint64_t outbox_messages; /* now: without a fate */
    uint64_t outbox_bytes;    /* now: payload kept for them, bytes */
    uint64_t held_messages;   /* now: received, neither released nor refused */
    uint64_t held_bytes;      /* now: their payload, bytes */
} tbq_peer_stats;

/* One connection that carries messages to and from a peer, as it was when it was asked for. */
typedef struct tbq_path {
    const char *address; /* the peer's, "192.0.2.1:8443" */
    const char *local;   /* this machine's; NULL: the system has not told yet */
    bool dialled;        /* by this node */
    bool suspect;        /* what is under way on it is not acknowledged in time */
    bool known_by;       /* the one that `address` and `rtt_ns` of the peer tell of */
    uint64_t rtt_us;     /* smoothed round trip, RFC 9002, microseconds; 0: not measured */
    uint64_t rate;       /* bytes a second that congestion control lets out; 0: not known */
    uint32_t loss;       /* permille of the packets with data that it sent of late, estimated: as
                            many carried again what earlier ones had not brought */
    uint64_t bytes_sent; /* of UDP payload, all that QUIC says included */
    uint64_t bytes_received; /* the same */
} tbq_path;
#define TBQ_PATHS_MAX 8 /* that are told of one peer, its processes together */

/* A peer (the source document's QuicPeer) as it was when tbq_server_peers() was called. */
typedef struct tbq_peer {
    tbq_peer_id id;
    const uint8_t *public_key; /* TBQ_PUBLIC_KEY_SIZE bytes, proved; NULL: never met */
    bool connected;            /* now */
    const char *address;       /* of its connection, "192.0.2.1:8443"; NULL: not connected */

    /* What it says of itself, in a record that it has signed: claims, no more. */
    const char *const *addresses; /* where it can be reached */
    size_t addresses_len;
    uint64_t capabilities; /* TBQ_CAN_... */
    tbq_role role;         /* TBQ_ROLE_NONE too where its number is not known here */

    uint64_t last_seen_ms; /* ms since 1970: when it was last heard; 0: never */
    size_t processes;      /* that live, or lived a moment ago, under this id: more than one when
                              it restarts, or when two share a key */
    tbq_peer_stats stats;  /* of all its processes */

    /* What its newest process has told last, see tbq_server_set_load(): claims too. */
    bool load_told;    /* `load` counts */
    uint32_t load;     /* permille of its capacity in use, at most 65535 */
    uint32_t capacity; /* next to others', 1..65535; TBQ_CAPACITY_DEFAULT where it has told none */

    /* Unreliable datagrams, see tbq_send_datagram(); no messages, and counted nowhere else. */
    uint64_t datagrams_sent;
    uint64_t datagrams_received; /* became events */
    uint64_t datagrams_dropped;  /* arrived when as many waited to be released as may */

    /* Its connections that are up, of its newest process first. */
    const tbq_path *const *paths;
    size_t paths_len; /* at most TBQ_PATHS_MAX */

    bool resting; /* not connected, for want of use: the next send dials it, see link_idle_ms */
} tbq_peer;

/* Peers. All of it is the library's memory, one piece that
 * outlives the server's next calls, and the server. */
typedef struct tbq_peers {
    const tbq_peer *const *peer;
    size_t len;
} tbq_peers;

/* Asks for one peer, or with id NULL for all: those connected, dialled, or lost less than
 * peer_timeout_ms ago, in the order in which they were met; then those that are only remembered.
 * *peers is set on success: give it back with tbq_peers_free(), before the allocator of the
 * server's configuration ends. Returns 0, TBQ_ERR_NO_ROUTE (that peer is not known),
 * TBQ_ERR_INVALID or TBQ_ERR_NOMEM. */
TBQ_API int tbq_server_peers(tbq_server *server, const tbq_peer_id *id, const tbq_peers **peers);
TBQ_API void tbq_peers_free(const tbq_peers *peers); /* NULL is fine */

/* Counters of a whole server since its start, and what it holds now. A queue that refused something
 * has counted it here, or in the peer's. */
typedef struct tbq_stats {
    size_t size; /* set by tbq_stats_init() */

    uint64_t connections;      /* now, those under way included */
    uint64_t half_open;        /* now: handshakes that are not complete */
    uint64_t peers;            /* now: as tbq_server_peers() would list */
    uint64_t accepted;         /* connections that others began */
    uint64_t dialled;          /* connections that this node began */
    uint64_t refused_full;     /* beginnings refused: max_connections was reached */
    uint64_t retries_sent;     /* clients asked to prove their address, RFC 9000, section 8.1.2 */
    uint64_t resets_sent;      /* stateless resets, RFC 9000, section 10.3 */
    uint64_t versions_sent;    /* Version Negotiation packets */
    uint64_t replies_dropped;  /* of the three above: more than could wait for the socket */
    uint64_t dropped_reserved; /* datagrams that are not QUIC: first byte below 0x40 */
    uint64_t dropped_unknown;  /* datagrams of no connection, and not the beginning of one */
    uint64_t notices_lost;     /* events other than messages and fates that nobody pulled */
    uint64_t packets_received; /* UDP datagrams */
    uint64_t packets_sent;     /* UDP datagrams */
    uint64_t bytes_received;   /* of UDP payload */
    uint64_t bytes_sent;       /* of UDP payload */
    uint64_t receive_errors;   /* datagrams thrown away: larger than any packet, or cut */
    uint64_t send_blocked;     /* times that the socket's send buffer was full */
    uint64_t send_refused;     /* packets that the system would not send */
    uint64_t receive_buffer;   /* bytes that the system granted; see SO_RCVBUF */
    uint64_t send_buffer;      /* bytes that the system granted */
    bool gso;                  /* many packets are sent as one, which the kernel cuts: UDP_SEGMENT;
                                  false: it cannot, or a route was found that refused it */
    bool gro;                  /* many packets are received as one: UDP_GRO */

    /* Every datagram that was received is counted once: by refused_full, retries_sent,
     * versions_sent, dropped_reserved, dropped_unknown or accepted above, or by one of these. */
    uint64_t datagrams_to_connections; /* of connections that were there */
    uint64_t
        refused_crowded;    /* beginnings dropped: too many handshakes under way from one network */
    uint64_t refused_token; /* beginnings refused: the proof of the address is false or too old */
    uint64_t unanswered;    /* proofs and versions not asked for or told; in replies_dropped too */
    uint64_t not_begun;     /* beginnings for which memory or TLS failed */

    uint64_t busy_told;  /* clients told that there is no room, and who may have some */
    uint64_t violations; /* connections ended for what QUIC or TLS forbids, or has limits for */

    uint64_t over_memory;       /* of these: too much came out of order; see connection_memory */
    uint64_t connection_memory; /* the most that one connection held because of what its peer sent
                                   out of order, bytes; it may have 4.5 receive windows and 1 MiB,
                                   and 1.125 of what its windows have grown by */
    uint64_t paths_proved;      /* connected peers that came from a new address, and proved it */
    uint64_t paths_unproved;    /* new addresses that were not proved: left, or silent */
    uint64_t protocol_errors;   /* connections ended for what tbq/1 forbids, or has limits for */
    uint64_t discovers_ignored; /* answered with no peers: more than one peer may ask for */
    uint64_t records_ignored;   /* claims about peers not looked at: too many from one peer */
    uint64_t requests_refused;  /* of peers: too many have no answer yet */
    uint64_t records_refused;   /* about peers: malformed, forged, of the far future; or no room */
    uint64_t peers_forgotten;   /* of those remembered: they made way for others */
    uint64_t dials_delayed;     /* to where nobody was met: one a second goes to each network */
    uint64_t links_rested;      /* connections closed for want of use: TBQ_EVENT_RESTING */
    uint64_t closed_for_room;   /* connections that made room for own dials, see max_connections */
    uint64_t datagrams_sent;    /* unreliable ones, see tbq_send_datagram(), of all peers */
    uint64_t datagrams_received;
    uint64_t datagrams_dropped; /* arrived: more waited to be released than may, or not connected */
    uint64_t datagrams_unsent;  /* taken by the call, and too large when the path changed */
    uint64_t rests_ignored;     /* wishes of peers to rest that were not looked at: too many */
    uint64_t links_woken;       /* dialled again since, because there was something to say */
    uint64_t bodies_refused;    /* of peers: too many were open */
    uint64_t bodies_broken;     /* of peers: a part was not the next, or not as it was said */
    uint64_t joins_refused;     /* further connections of a peer that has enough, or too many that
                                   are not up yet */
    uint64_t receive_grown;     /* now: bytes of receive_budget that windows have taken */
    uint64_t windows_grown;     /* times that a window has doubled, or come to receive_window_max */
    uint64_t windows_not_grown; /* times that receive_budget had too little left for it */
    uint64_t buffer_asked;      /* bytes asked for as receive_buffer and send_buffer: socket_buffer;
                                   Linux grants twice that, for its bookkeeping, where it may */
    uint64_t bundles_refused;   /* times that a way to pass many packets by one call was found to be
                                   refused (UDP_SEGMENT; sendmmsg() and recvmmsg()); all have gone by
                                   the next one since, packet by packet in the end */
} tbq_stats;

#define tbq_stats_init(stats) tbq_stats_init_sized((stats), sizeof(tbq_stats))
TBQ_API void tbq_stats_init_sized(tbq_stats *stats, size_t size);

/* Fills in the counters, and no more than stats->size bytes. Returns 0 or TBQ_ERR_INVALID. */
TBQ_API int tbq_server_stats(const tbq_server *server, tbq_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
