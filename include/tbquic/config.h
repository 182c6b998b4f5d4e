/* tbquic/config.h - how a node is set up (the source document's QuicConfig). */
#ifndef TBQUIC_CONFIG_H
#define TBQUIC_CONFIG_H

#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Fill it with tbq_config_init(), then change what you need. tbq_server_start() checks every field
 * and copies all it keeps, strings and arrays included; a bad one is TBQ_ERR_INVALID and
 * error_text names field and value. Zero in a number means its default. */
typedef struct tbq_config {
    size_t size; /* set by tbq_config_init() */

    /* Where to listen. A numeric address without port, such as "127.0.0.1" or "::1". Default NULL:
     * "::", both IP versions (0.0.0.0 where IPv6 is off). In client mode any address is used. */
    const char *bind_address;
    uint16_t bind_port; /* UDP; default 8443; 0: any free one, see tbq_server_uri() */

    /* PEM files. Both or none; none: the key is `state_dir`/node.key, made when absent. */
    const char *cert_path;
    const char *key_path;
    /* Has the key, the peer book, and the session tickets of peers that were dialled (0600).
     * Default NULL: nothing on disk, a fresh key in memory. */
    const char *state_dir;

    tbq_network_mode network_mode; /* default TBQ_MODE_HYBRID */

    /* "host:port", "[v6]:port" or "tbq://PEERID@host:port"; dialled at start and for as long as the
     * server runs. At most 64. */
    const char *const *bootstrap_nodes;
    size_t bootstrap_nodes_len;

    /* Where others can reach this node, "host:port" or "[v6]:port", told to peers in its record; a
     * name is looked up once, at start. At most 16. Besides these, the node tells the address that
     * it is bound to (or, bound to every address, those of its interfaces), and what peers in
     * three networks see alike. */
    const char *const *advertise_addresses;
    size_t advertise_addresses_len;

    /* Whom to trust of those who have proved their key. Asked in this order: the peer id of a
     * "tbq://" dial must be right; who is on the deny list is refused; who is on the allow list is
     * let in; so is who shows a certificate of one of the authorities; so is who is dialled at an
     * address, the first time with any key, from then on with that one. Where none of these three
     * is set, everybody is let in; else nobody else. All NULL: none. */
    const char *allow_path;       /* peer ids, one a line, '#' begins a comment */
    const char *deny_path;        /* the same */
    const char *ca_path;          /* certificates of authorities, PEM */
    const char *known_peers_path; /* first use: lines of "host:port PEERID"; made when absent */
    bool ask_trust; /* the application has the last word about each: TBQ_EVENT_TRUST */

    uint32_t connection_timeout_ms; /* 5000; 100..600000: names, all addresses, handshake, Hello */
    /* 1024; 1..1048576, in both directions. From 8 on, one of 16 (16 at most) is kept for own dials
     * to bootstrap nodes and pinned peers; as many of the others only tell a client of peers that
     * may have room (TBQ_ERR_LIMIT to who dialled a certain peer); beyond, clients are refused
     * without state. When all are taken, a dial that the application asked for gets the place of a
     * connection that has nothing open, was not used for 10 s, and leads to no bootstrap node or
     * peer dialled by id: the longest unused one goes first (TBQ_EVENT_RESTING where this node
     * dialled it, else TBQ_EVENT_DISCONNECTED; tbq_stats counts it in closed_for_room). Such a one
     * still counts for a moment, and the new one beside it. */
    uint32_t max_connections;
    uint32_t max_message_size; /* bytes of payload; 1 MiB; 1024..1 GiB */
    uint32_t ping_interval_ms; /* 30000; 100..3600000 */
    uint32_t idle_timeout_ms;  /* 60000; at least two ping intervals */
    uint32_t peer_timeout_ms;  /* 300000; how long what is unsettled waits for a lost peer */

    /* Finding peers. A node asks those that it meets for others, and dials some of them, until it
     * has `peers_wanted` connections, accepted ones included. Beyond, up to a quarter more, it only
     * dials peers again that it met before: a network that was cut in two becomes one again. */
    uint32_t peers_wanted;        /* 16; 1..1048576 */
    uint32_t refresh_interval_ms; /* 300000; 1000..86400000: how often all are asked again */
    bool no_discovery;            /* neither ask nor dial by itself; default false */

    /* Do without noticing that this machine's network changes (Linux: netlink); then, and on other
     * systems, tbq_server_network_changed() tells. Default false. */
    bool no_network_watch;

    /* Budgets per peer. A full outbox is TBQ_ERR_AGAIN; a full window stops the peer's sending. */
    size_t outbox_bytes;    /* 8 MiB: payloads of all lanes and connections that are queued or under
                               way, parts of bodies included, until the peer tells that it has them;
                               at least (and with 0 the default) one of max_message_size. A path
                               is not filled by less than its rate times its round trip. Copies
                               of TBQ_REDUNDANT that have come over a faster connection may be
                               under way a while longer: as much again on each further one. */
    size_t outbox_messages; /* 4096: messages without a fate */
    size_t receive_window;  /* per lane of a connection, bytes not released yet, from the beginning
                               on and at least; default and least: twice max_message_size and 64
                               KiB; at most 1 TiB. See receive_window_max. */

    uint64_t capabilities; /* TBQ_CAN_...; told to peers */
    tbq_role role;

    tbq_log_level log_level; /* default TBQ_LOG_WARNING */
    /* Where log lines go. NULL: they come as TBQ_EVENT_LOG. Called from within calls of the
     * library; it must not call back into the same server. */
    void (*log)(void *user, tbq_log_level level, const char *line);
    void *log_user;

    tbq_allocator allocator; /* all NULL: malloc() and friends */

    /* Where a failed tbq_server_start() explains itself; may be NULL. Not kept. */
    char *error_text;
    size_t error_text_size;

    /* Several connections to one peer, over different addresses of it and of this machine. The node
     * that dialled a peer dials the others, where it knows more addresses; a connection that stops
     * answering is replaced by itself, whatever this is. */
    uint32_t paths_max;               /* 1; 1..4: connections to a peer that are wanted at once */
    tbq_schedule schedule[TBQ_LANES]; /* how the messages of each lane use them; TBQ_FAILOVER */

    /* A connection that this node dialled, and over which the application has neither sent nor got
     * a message for so long, is closed when both sides have nothing open: TBQ_EVENT_RESTING. The
     * next send to that peer dials it again. The peer closes it, so that nothing of its own is on
     * its way then; a peer that was dialled, and can dial back nobody, keeps what it wants to say
     * for peer_timeout_ms, in case it is dialled. 0: never (the default); 1000..86400000. */
    uint32_t link_idle_ms;
    bool link_idle_named; /* bootstrap nodes and peers that were dialled by id too; false */

    bool datagrams; /* unreliable ones are taken, and may be sent: tbq_send_datagram(); false */

    /* Bodies of peers come as TBQ_EVENT_BODY; default false: they are refused, so that no program
     * takes parts that it does not know. A peer's process may have 64 open at once, all 1024. */
    bool take_bodies;

    /* 0-RTT, where both sides have this set: a dial of a peer that was met before asks the first
     * ping that waits for it with the first packet, so its pong may come a round trip earlier,
     * before CONNECTED. Nothing else goes so early, since an attacker may send it again. Default
     * false. */
    bool early_data;

    /* Microseconds, 0..1000000: for so long after something has come or gone, waits end at once
     * (tbq_server_timeout() is 0, tbq_server_fd() readable), so that what comes next finds this
     * process awake and not asleep: a round trip within that time is shorter by what the system
     * takes to wake a process. It takes a whole processor meanwhile, and helps only where there is
     * one to spare for each side. Not for one of several servers that share a loop: each of them
     * keeps the loop awake. 0, the default: never. */
    uint32_t busy_poll_us;

    /* Of all connections, in what they send. They begin with ten packets of 1200 bytes (RFC 9002,
     * section 7.2), which cannot be configured: ngtcp2 has no setting for it. */
    tbq_congestion congestion; /* TBQ_CUBIC */

    /* A lane's window doubles while the application releases within a round trip as much as half
     * of it, up to receive_window_max bytes: default 16 MiB or, if that is more, receive_window;
     * with that one it does not grow. At least receive_window, at most 1 TiB. Messages of more than
     * 64 KiB may have streams of their own beside the lane: of them four times receive_window may
     * be under way on a connection, which does not grow for them.
     *
     * receive_budget, bytes, is what all windows of the server together may have grown by, counted
     * as the memory that peers may fill with it: 17/8 of what is added to a window, since as much
     * again may wait behind a gap. Default 128 MiB; at most 1 TiB. No connection gets more of it
     * than it leaves free; where that forbids a step the window stays as it is
     * (windows_not_grown). What was given to a connection comes back when that ends. */
    size_t receive_window_max;
    size_t receive_budget;

    /* Bytes to ask for as SO_RCVBUF, and as SO_SNDBUF; default 0: 4 MiB; 4096..1 GiB. Where
     * the system grants less, a log line says so, with the sysctl that helps: TBQ_LOG_WARNING where
     * this was set, else TBQ_LOG_INFO. See receive_buffer of tbq_stats. */
    uint32_t socket_buffer;
} tbq_config;

#define tbq_config_init(config) tbq_config_init_sized((config), sizeof(tbq_config))

/* Writes the defaults into the first `size` bytes, and never more. */
TBQ_API void tbq_config_init_sized(tbq_config *config, size_t size);

#ifdef __cplusplus
}
#endif
#endif
