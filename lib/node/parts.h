/* node/parts.h - what a node is made of; shared by the files of this folder only.
 *
 *   contact  somebody we dial or who dialled us: the number that the application holds. A dialled
 *            contact outlives its connections: it is dialled again when one is lost.
 *   session  one QUIC connection: Hello, Confirm, and which stream is which.
 *   peer     a peer id, with one bond for each process that lives (or lived) under it.
 *   bond     what we have in common with one process of a peer: the link, and the session that
 *            carries it now, if any.
 */
#ifndef TBI_NODE_PARTS_H
#define TBI_NODE_PARTS_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "link/link.h"
#include "mesh/book.h"
#include "mesh/budget.h"
#include "mesh/observed.h"
#include "mesh/select.h"
#include "mesh/tickets.h"
#include "mesh/tries.h"
#include "node/event.h"
#include "node/node.h"
#include "quic/quic.h"
#include "wire/frame.h"
#include "wire/kind.h"

#define TBI_CONTACT_ADDRESSES_MAX 16
#define TBI_BACKOFF_FIRST_MS 250
#define TBI_BACKOFF_LAST_MS 30000
#define TBI_REST_MS 1000      /* how often a contact that is not needed looks whether it is again */
#define TBI_PINGS_MAX 64      /* own pings that wait for a pong, per bond; the oldest gives way */
#define TBI_REQUESTS_MAX 4096 /* own requests without an answer; and of each peer's process */
#define TBI_OWED_MAX 32768    /* requests of all peers without an answer */
#define TBI_REQUEST_TIMEOUT_MS 30000
#define TBI_INSTREAMS_MAX 64   /* incoming streams per connection */
#define TBI_BODY_PART 61440U   /* bytes; below what takes a stream of its own */
#define TBI_BODY_PARTS 64U     /* of one body that have no fate yet */
#define TBI_BODIES_AT_ONCE 16U /* to one peer: others wait for their turn */
#define TBI_BODIES_IN 64U      /* of a peer's process that are open here */
#define TBI_BODIES_IN_ALL 1024U
#define TBI_JOINERS_MAX 8 /* further connections from a peer that are not up yet */
#define TBI_NEWS_MAX 256  /* peers newly heard of that are remembered to be passed on */

enum tbi_contact_state {
    TBI_CONTACT_WAITING,   /* for its backoff to pass */
    TBI_CONTACT_RESOLVING, /* for the server's answer about a name */
    TBI_CONTACT_DIALLING,
    TBI_CONTACT_UP,
    TBI_CONTACT_RESTING /* closed for want of use: the next send dials, see rest.c */
};

/* Of a contact that is dialled: whom, and where. */
struct tbi_dial {
    struct tbi_target target;
    struct tbi_addr addrs[TBI_CONTACT_ADDRESSES_MAX];
    size_t addrs_len;
    size_t addrs_next; /* those before are dialled already */
    tbq_peer_id via;
    tbq_peer_id referral[TBI_BUSY_RECORDS_MAX]; /* that were named and are not dialled yet */
    size_t referrals;
    char last_text[TBI_EVENT_TEXT_SIZE]; /* of last_reason */
};

struct tbi_contact {
    struct tbi_node *node;
    struct tbi_list held; /* in its bond's contacts */
    tbq_connection handle;
    bool dialled;
    bool paced;      /* its first address may be dialled: that was asked already */
    bool persistent; /* dialled for as long as the node runs */
    bool by_itself;  /* the node dials it for company: nobody asked, nobody is told of failures */
    bool closed;     /* by the application: it only waits for the end of its session */
    bool was_up;
    bool announced; /* CONNECTED was told for the present session */
    bool rested;    /* RESTING was told: CONNECTED or DISCONNECTED will follow */
    enum tbi_contact_state state;
    struct tbi_dial *dial;       /* NULL: the peer has dialled */
    struct tbi_list lookup;      /* in the node's, until the server fetches the name */
    struct tbi_list attempts;    /* sessions that race: the first one that may speak wins */
    uint64_t round_ends_at;      /* ns; of all attempts */
    bool refused;                /* for good, by somebody in this round: that is its reason */
    struct tbi_session *session; /* the one that has won, or is up */
    struct tbi_bond *bond;       /* where messages go; without a peer until one is known */
    unsigned failures;           /* in a row, for the backoff */
    uint64_t give_up_at;         /* ns; of the dial, or of the peer that was lost */
    int last_reason;
    bool following;           /* `via` is dialled, to whom a full node has referred us */
    unsigned follows;         /* BUSY answers that were followed, in this round */
    struct tbi_event *failed; /* of a dial that the application asked for: reserved */
    struct tbi_timer timer;
};

/* One incoming stream, from its first byte. */
struct tbi_instream {
    int64_t id; /* of QUIC; -1: free */
    enum {
        TBI_IN_PROLOGUE,
        TBI_IN_CONTROL,
        TBI_IN_LANE,
        TBI_IN_UNORDERED,
        TBI_IN_ASIDE,
        TBI_IN_IGNORED
    } what;
    tbq_lane lane;
    uint8_t head[TBI_PROLOGUE_SIZE_MAX];
    size_t head_len;
    struct tbi_link_stream *own; /* of a message that has a stream to itself */
    struct tbi_block *early;     /* lane bytes that came before the peer's HELLO */
    struct tbi_window window;    /* of a lane */
    bool fin;
};

struct tbi_session {
    struct tbi_node *node;
    uint64_t conn; /* number of the QUIC connection in the endpoint */
    struct tbi_contact *contact;
    struct tbi_list attempt;    /* of the contact, while others may be faster; or of the bond */
    struct tbi_bond *bond;      /* from the moment that the peer is known */
    struct tbi_list member;     /* in the bond's sessions */
    struct tbi_link_path *path; /* of the bond's link, while it is up, or speaks ahead of that */
    struct tbi_list carries;    /* in the bond's carriers, while it is up */
    struct tbi_addr remote;
    uint64_t began;    /* ns */
    uint64_t ready_at; /* ns: both HELLOs and trust */
    bool dialled;
    bool hello_sent;
    bool hello_in;
    bool handshake_done;
    bool trusted;
    bool confirm_sent;
    bool confirm_in;
    bool up;
    bool closing;
    bool busy; /* there is no room for it: it is told BUSY, and nothing that it says is read */
    bool busy_heard;     /* the peer has no room for us */
    bool further;        /* dialled as one more path of a link that has one */
    bool joins;          /* as `further`, by either side; waits in the bond's joiners until the
                            link may have it */
    bool joining;        /* counted in its peer's `joining` */
    bool suspect;        /* what is under way on it is not answered in time */
    bool early_wrong;    /* in 0-RTT came what may not: refused when the handshake is complete */
    bool early_answered; /* its EARLY_PING */
    uint64_t early_ping; /* the id of the client's; 0: none */
    struct tbi_early_pong early_pong; /* the server's, until it is trusted; id 0: none */
    struct tbi_block *referrals;      /* the body of its BUSY, until it is trusted */
    tbq_peer_id peer_id;
    uint8_t peer_key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_hello hello;     /* the peer's */
    struct tbi_confirm confirm; /* the peer's, while ours cannot be sent yet */
    uint64_t base[TBQ_LANES];   /* as told in ours */
    struct tbi_block *record;   /* of its CONFIRM, not checked yet; NULL: none */
    int64_t control_out;        /* -1: not open */
    int64_t lane_out[TBQ_LANES];
    struct tbi_frame_reader control_in;
    struct tbi_block *control_body; /* of a frame that is not complete; NULL: none */
    struct tbi_instream *in;        /* incoming streams, and free places */
    size_t in_len;                  /* at most TBI_INSTREAMS_MAX */
    size_t early_bytes;
    struct tbi_timer timer; /* HELLO in time; then the ping interval */
};

struct tbi_bond_ping {
    uint64_t id;
    uint64_t sent_ns;  /* TBI_NEVER: it waits for a connection */
    uint64_t early_ns; /* when it was asked in 0-RTT as well; 0: it was not */
    bool own;          /* the node's, for liveness: nobody is told */
};

struct tbi_bond {
    struct tbi_node *node;
    struct tbi_list entry; /* of the peer's bonds, the newest first; or of the node's */
    struct tbi_peer *peer; /* NULL: not known yet */
    bool have_boot;
    uint8_t boot_id[TBI_BOOT_ID_SIZE];
    struct tbi_link *link;
    struct tbi_list touched;     /* in the node's list: the link has something to do or to tell */
    bool judged;                 /* since the link was looked at last, something was said: */
    bool idle;                   /* to a peer to whom nothing was under way */
    struct tbi_list carriers;    /* sessions that are up: each is a path of the link */
    struct tbi_session *session; /* the one of them that the peer is known by; NULL: none */
    struct tbi_session *chosen;  /* the one that we sent CONFIRM on last; it may come up */
    struct tbi_list joiners;     /* sessions that will be further paths */
    struct tbi_list dials;       /* sessions that are dialled for one more path now */
    unsigned further;            /* how many */
    bool silent;                 /* all its paths are suspect: that is dealt with already */
    size_t further_next;         /* the number of the way that is tried next */
    unsigned further_failures;   /* rounds in a row that came to nothing */
    uint64_t further_at;         /* ns; when one more is dialled; TBI_NEVER */
    struct tbi_list contacts;    /* that point here */
    struct tbi_list sessions;    /* that point here, those that are closing too */
    size_t owed;                 /* requests of this process that have no answer yet */
    uint64_t used_at;            /* ns; the application's last message, either way */
    uint64_t rest_at;            /* ns; when it is looked whether it may rest; TBI_NEVER */
    unsigned rest_asks;          /* how often the peer was asked in vain since it was used */
    bool rest_asked;             /* on the present connection */
    uint64_t room_at;            /* ns; when its connection was to make room for another; 0: not */
    bool left_to_rest;           /* by the peer: whoever has something to say dials */
    size_t resting;              /* contacts that rest */
    struct tbi_budget rests;     /* the peer's REST frames that are looked at */
    struct tbi_event *writable;  /* for who was told AGAIN; NULL: nobody was */
    bool given_up;
    struct tbi_bond_ping *ping; /* a ring; NULL: there was none yet */
    size_t pings;               /* its places */
    size_t ping_next;
    struct tbi_timer timer;     /* of the link's deadline */
    uint64_t lost_at;           /* ns; when the last session ended */
    struct tbi_load load;       /* as that process has told it last */
    uint64_t news_seen;         /* number of the first of the node's news that it was not told */
    struct tbi_list bodies_out; /* to it; whose turn is next comes first */
    size_t started;             /* of these, a part was read of them */
    struct tbi_list hungry;     /* in the node's list: some of these could go on */
    struct tbi_list bodies_in;  /* of that process, which are open */
    size_t bodies_in_len;
    uint64_t generation;       /* of the receiving state that they belong to */
    struct tbi_budget answers; /* to its DISCOVERs */
    struct tbi_budget records; /* of others that it may tell of */
};

/* The mark of a message that is sent: whose fate it is, and so what its cookie means. */
enum tbi_fate_mark {
    TBI_FATE_OF_SEND,      /* the connection that was named, or 0 */
    TBI_FATE_OF_BROADCAST, /* the broadcast's number */
    TBI_FATE_OF_PART,      /* the body that it is a part of, a pointer */
    TBI_FATE_UNTOLD        /* an answer's: a stop waits for it, but nobody is told */
};

struct tbi_datagram_counts { /* of unreliable ones */
    uint64_t sent;
    uint64_t received; /* handed to the application */
    uint64_t dropped;  /* arrived, and found no place; or nobody was up */
    size_t waiting;    /* now: not released */
};

struct tbi_peer {
    struct tbi_node *node;
    tbq_peer_id id;
    struct tbi_list bonds;
    unsigned paused; /* lanes, of all its processes, those to come too */
    size_t joining;  /* further connections that it dialled, with all its processes, not up yet */
    bool met;        /* `key` counts */
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    uint64_t seen_ms; /* wall clock, when it was last heard; 0: never */
    struct tbi_datagram_counts datagrams;
};

/* An own request that waits for its answer, or a peer's that waits for ours. */
struct tbi_request {
    struct tbi_node *node;
    tbq_request_id id; /* ours: the number the application knows */
    uint64_t their_id; /* of a peer's request */
    tbq_peer_id peer;
    struct tbi_bond *bond;  /* of a peer's request; NULL when gone */
    struct tbi_timer timer; /* the requester's patience */
};

/* A body that is sent, until its fate is told and its parts have theirs. */
struct tbi_body_out {
    struct tbi_node *node;
    struct tbi_bond *bond; /* the newest process of the peer, from one to the next */
    struct tbi_list entry;
    uint64_t id; /* for the application and on the wire */
    tbq_read_fn source;
    void *user;
    uint64_t length;  /* bytes, or TBQ_LENGTH_UNKNOWN */
    uint64_t read;    /* bytes */
    uint64_t taken;   /* bytes */
    size_t under_way; /* parts without a fate */
    tbq_lane fate_lane;
    bool started;           /* counts in the bond's `started` */
    bool waits;             /* until the application says that there is something to read */
    bool complete;          /* its last part was handed to the link */
    bool failed;            /* nothing more is read: */
    bool missed;            /* a part was certainly not taken */
    bool owes_end;          /* the receiver is to be told that no more comes */
    bool held_last;         /* the last part was read, and the outbox had no room for it; */
    struct tbi_block *held; /* a part for which it had none, or NULL: a last one without bytes */
    int reason;
    const char *text;       /* static */
    struct tbi_event *fate; /* reserved; NULL: told */
};

/* A body that comes in. */
struct tbi_body_in {
    struct tbi_bond *bond;
    struct tbi_list entry;
    uint64_t id; /* ours */
    uint64_t their_id;
    uint64_t next;         /* offset of the part that must come, bytes */
    uint64_t length;       /* as claimed, or TBQ_LENGTH_UNKNOWN */
    bool complete;         /* the last part came, and is not taken yet */
    bool known;            /* to the application: it was handed a part */
    struct tbi_event *end; /* BODY_END, reserved */
};

/* What discover.c keeps. */
struct tbi_discovery {
    bool ready;
    struct tbi_book book;
    struct tbi_pace pace;
    struct tbi_tries tries; /* of claims, by address */
    struct tbi_observed observed;
    struct tbi_addr advertised[TBI_RECORD_ADDRESSES_MAX]; /* by the operator */
    size_t advertised_len;
    struct tbi_addr interfaces[TBI_RECORD_ADDRESSES_MAX]; /* of this machine */
    size_t interfaces_len;
    tbq_peer_id news[TBI_NEWS_MAX]; /* a ring: number n stands at n % TBI_NEWS_MAX */
    uint64_t news_end;              /* the number of the next */
    struct tbi_timer timer;
    uint64_t dial_at;    /* ns; TBI_NEVER */
    uint64_t dialled_at; /* ns; when it was due last */
    uint64_t news_at;
    uint64_t refresh_at;
    uint64_t discovers_ignored; /* answered with nothing: too many */
    uint64_t records_ignored;   /* not looked at: too many from one peer */
};

/* What select.c keeps: the own load, and when it is told. */
struct tbi_own_load {
    struct tbi_load now;  /* as the application has set it; not told: it has not */
    struct tbi_load told; /* to all that were connected at `told_at` */
    uint64_t told_at;     /* ns */
    struct tbi_timer timer;
};

/* A broadcast whose fates are not all in. */
struct tbi_broadcast {
    uint64_t id;
    size_t waiting;          /* fates */
    struct tbi_event *event; /* the counts so far; reserved */
};
#define TBI_BROADCASTS_MAX 4096 /* at once */

struct tbi_node {
    struct tbi_node_config cfg;
    const struct tbi_alloc *alloc;
    const struct tbi_log *log;
    struct tbi_rng rng;
    struct tbi_now now; /* of the call that runs */
    struct tbi_endpoint *endpoint;
    struct tbi_heap timers;
    struct tbi_events events;
    struct tbi_map contacts;   /* by handle */
    struct tbi_map sessions;   /* by number of the QUIC connection */
    struct tbi_map peers;      /* by peer id */
    struct tbi_map asked;      /* own requests, by id */
    struct tbi_map owed;       /* peers' requests, by id */
    struct tbi_map broadcasts; /* by id */
    struct tbi_map bodies_out; /* by id */
    struct tbi_map bodies_in;  /* by id */
    struct tbi_list hungry;    /* bonds with bodies that could go on */
    struct tbi_list lookups;   /* contacts whose names are to be resolved */
    struct tbi_list touched;   /* bonds whose links have something to do or to tell */
    struct tbi_list bonds;     /* whose peer is not known yet */
    struct tbi_list bindings;  /* of first use, that the server has not fetched */
    struct tbi_discovery discovery;
    struct tbi_own_load load;
    struct tbi_tickets tickets; /* of peers that were dialled */
    uint8_t boot_id[TBI_BOOT_ID_SIZE];
    tbq_peer_id id;
    uint8_t record[TBI_RECORD_SIZE_MAX];
    size_t record_size;
    uint64_t busy_told;
    uint64_t early_answered;   /* pings in 0-RTT */
    uint64_t protocol_errors;  /* connections ended for what tbq/1 forbids */
    uint64_t requests_refused; /* of peers: too many */
    uint64_t links_rested;     /* connections that were let go until there is something to say */
    uint64_t links_woken;      /* dialled again because there was something to say */
    uint64_t closed_for_room;  /* connections, so that an own dial had a place */
    uint64_t room_until;       /* ns; until then no other one is closed for it */
    uint64_t rests_ignored;    /* REST frames: too many from one peer */
    uint64_t bodies_refused;   /* of peers: too many */
    uint64_t bodies_broken;    /* of peers: parts that do not fit */
    uint64_t joins_refused;    /* further connections: the link, or the peer, has enough */
    uint64_t certificate_at;   /* ns; when its end is looked at next; TBI_NEVER: it has none */
    struct tbi_datagram_counts datagrams;
    uint64_t next_number; /* handles, requests, pings: never reused */
    size_t awaited;       /* see tbi_node_is_awaited() */
    bool stopping;
    bool stopped;
    uint64_t stop_at;
};

enum tbi_timer_kind {
    TBI_TIMER_CONTACT,
    TBI_TIMER_SESSION,
    TBI_TIMER_BOND,
    TBI_TIMER_REQUEST,
    TBI_TIMER_DISCOVERY,
    TBI_TIMER_LOAD
};

/* --- contact.c: dialling, and dialling again --- */
struct tbi_contact *tbi_contact_new(struct tbi_node *node);
void tbi_contact_free(struct tbi_contact *c);
void tbi_contact_begin(struct tbi_contact *c); /* a first dial, or the next after a backoff */
void tbi_contact_timer(struct tbi_contact *c);
/* To be dialled where the book says that it may be; the first does not dial yet. NULL: there is no
 * memory, or no room. */
struct tbi_contact *tbi_contact_for_peer(struct tbi_node *node, const tbq_peer_id *id);
void tbi_contact_dial_peer(struct tbi_node *node, const tbq_peer_id *id);
void tbi_contact_session_up(struct tbi_contact *c);
void tbi_contact_hurry(struct tbi_contact *c);       /* waits for its backoff no longer */
bool tbi_contact_named(const struct tbi_contact *c); /* by the operator or the application */
/* A session of it has ended; `text` says why. May free the contact. */
void tbi_contact_session_lost(struct tbi_contact *c, const struct tbi_addr *remote, int reason,
                              const char *text, bool final);
void tbi_contact_round_failed(struct tbi_contact *c); /* every address; may free the contact */
/* Ends the contact: fates are told, and CONNECT_FAILED where it never was up. Frees it. */
void tbi_contact_end(struct tbi_contact *c, int reason, const char *text);

/* Its session has ended. True: another one of its peer is its own now. */
bool tbi_contact_hand_on(struct tbi_contact *c);
/* Where the session that the peer is known by is suspect, and another one is not, that one takes
 * its place. */
void tbi_contact_follow(struct tbi_bond *b);
/* It is the first of its link, and has no contact. 0, or TBQ_ERR_LIMIT. */
int tbi_contact_adopt(struct tbi_session *s);

/* --- resume.c: what makes the next connection cheaper --- */
void tbi_resume_ticket(struct tbi_session *s, const uint8_t *data, size_t size);
void tbi_resume_token(struct tbi_session *s, const uint8_t *data, size_t size);
/* What is kept of the peer with that id, or, where it is NULL, of who was at that address. */
void tbi_resume_prepare(struct tbi_node *node, const tbq_peer_id *id, const struct tbi_addr *to,
                        struct tbi_dial_options *options);
/* Trust refuses whom the session was made with. Perhaps another one is there by now, or has another
 * certificate: the next handshake is a full one. */
void tbi_resume_refused(struct tbi_session *s);

/* --- early.c: 0-RTT, the one question that a client may ask with its first packet --- */
void tbi_early_ask(struct tbi_session *s); /* the first ping that waits, where that is possible */
void tbi_early_rejected(struct tbi_session *s);
void tbi_early_wrong(struct tbi_session *s); /* a client sent early what it must not */
/* From inside a callback. 0, or a TBQ_ERR_* of the form. */
int tbi_early_ping_in(struct tbi_session *s, struct tbi_cursor body);
int tbi_early_pong_in(struct tbi_session *s, struct tbi_cursor body);
void tbi_early_answer(struct tbi_session *s); /* as soon as trust and HELLO allow */
void tbi_early_tell(struct tbi_session *s);   /* the pong, as soon as the server is trusted */

/* --- further.c: further connections to a peer --- */
void tbi_further_due(struct tbi_bond *b); /* further_at has come */
/* One path more or less, or what is thought of one: looks whether another one is wanted. */
void tbi_further_look(struct tbi_bond *b);
/* A further connection, by either side, is ready but for CONFIRM: it joins, waits, or is refused.
 */
void tbi_further_ready(struct tbi_session *s);
bool tbi_further_full(const struct tbi_bond *b);                 /* no place for one more */
void tbi_further_refuse(struct tbi_session *s, const char *why); /* counted, and closed */
void tbi_further_settled(struct tbi_session *s); /* it is up, or gone: it does not wait any more */
void tbi_further_up(struct tbi_session *s);
/* It has ended, or never came up. */
void tbi_further_lost(struct tbi_bond *b, struct tbi_session *s, int reason);

/* --- rest.c: connections that nobody uses --- */
void tbi_rest_begin(struct tbi_bond *b); /* it has a connection again */
void tbi_rest_used(struct tbi_bond *b);  /* by a message of the application, either way */
void tbi_rest_due(struct tbi_bond *b);   /* rest_at has come */
/* All is settled, both ways and known to be, and no request is without its answer. */
bool tbi_rest_nothing_open(const struct tbi_bond *b);
void tbi_rest_ask(struct tbi_bond *b);                  /* the peer, with REST */
void tbi_rest_close(struct tbi_bond *b, uint64_t code); /* all its connections */
/* The peer asks for it; from inside a callback. */
void tbi_rest_asked(struct tbi_session *s, struct tbi_cursor body);
/* Whether a contact rests when its connection ends with that code. */
bool tbi_rest_follows(const struct tbi_contact *c, uint64_t close_code);
void tbi_rest_contact(struct tbi_contact *c); /* it does, from now on */
void tbi_rest_over(struct tbi_contact *c);    /* no longer, for whatever reason */
void tbi_rest_look(struct tbi_bond *b); /* without a connection: what waits wakes one that rests */
void tbi_rest_wake(struct tbi_bond *b); /* there is something to say: dials where it can */

/* --- room.c: a place for an own dial --- */
/* max_connections is reached. 0: one was closed, dial in its place; TBQ_ERR_AGAIN: one is about to
 * be, ask again in 250 ms; TBQ_ERR_LIMIT: all are needed. */
int tbi_room_make(struct tbi_node *node);

/* --- race.c: a contact's addresses, a head start apart --- */
void tbi_race_order(struct tbi_addr *addrs, size_t n); /* IPv6 first, then in turn */
void tbi_race_begin(struct tbi_contact *c);            /* a round; may free the contact */
void tbi_race_run(struct tbi_contact *c); /* goes on with it, or ends it; may free the contact */
void tbi_race_won(struct tbi_session *s); /* it may speak: the others are closed and forgotten */
/* An attempt has ended, for good if `final`; call tbi_race_run() then. */
void tbi_race_lost(struct tbi_contact *c, const struct tbi_addr *remote, int reason,
                   const char *text, bool final);
void tbi_race_abandon(struct tbi_contact *c, uint64_t code, const char *text); /* closes all */

/* --- session.c: one connection, from its handshake to its end --- */
struct tbi_session *tbi_session_new(struct tbi_node *node, uint64_t conn, bool dialled,
                                    const struct tbi_addr *remote);
void tbi_session_free(struct tbi_session *s);
void tbi_session_writable_early(struct tbi_session *s); /* HELLO may go out */
void tbi_session_handshake_done(struct tbi_session *s);
void tbi_session_trusted(struct tbi_session *s); /* who is there may speak */
void tbi_session_join(struct tbi_session *s);    /* the link may have one more path now */
struct tbi_conn *tbi_session_conn(const struct tbi_session *s);
/* The peer broke the protocol: counted, and closed with that code, or the one for a TBQ_ERR_*. */
void tbi_session_breaks(struct tbi_session *s, uint64_t code, const char *what);
void tbi_session_violation(struct tbi_session *s, int error, const char *what);
void tbi_session_control(struct tbi_session *s, const uint8_t *data, size_t size);
/* A stream of ours, and a frame on the control stream. 0 or a TBQ_ERR_*; a frame that cannot be
 * written closes the connection. */
int tbi_session_open(struct tbi_session *s, const struct tbi_prologue *p, unsigned priority,
                     int64_t *stream);
int tbi_session_write_control(struct tbi_session *s, const struct tbi_writer *w);
void tbi_session_timer(struct tbi_session *s);
void tbi_session_ping_later(struct tbi_session *s); /* it is the one of its peer that pings */
void tbi_session_close(struct tbi_session *s, uint64_t code, const char *text);
void tbi_session_ended(struct tbi_session *s, int reason, const char *text, uint64_t close_code);

/* --- busy.c: full nodes, and whom they name --- */
size_t tbi_busy_share(size_t max_connections); /* kept for own dials; and as many for answers */
bool tbi_busy_is(const struct tbi_session *s); /* there is no room for this new client */
void tbi_busy_tell(struct tbi_session *s);
void tbi_busy_heard(struct tbi_session *s, struct tbi_cursor body); /* from inside a callback */
void tbi_busy_trusted(struct tbi_session *s);                       /* what was heard may count */
/* The next peer to dial in place of one that was full: its addresses replace the contact's. False:
 * there is none. */
bool tbi_busy_follow(struct tbi_contact *c);

/* --- instream.c: what an incoming stream is, and where its bytes go --- */
void tbi_session_stream(struct tbi_session *s, int64_t stream, const uint8_t *data, size_t size,
                        bool fin);
void tbi_session_stream_reset(struct tbi_session *s, int64_t stream);
void tbi_session_stream_stopped(struct tbi_session *s, int64_t stream);
void tbi_instreams_to_link(struct tbi_session *s); /* what came before the link was up */
void tbi_instream_free(struct tbi_instream *in);

/* --- bond.c: links and the processes they lead to --- */
struct tbi_peer *tbi_peer_get(struct tbi_node *node, const tbq_peer_id *id, bool make);
struct tbi_bond *tbi_bond_new(struct tbi_node *node, struct tbi_peer *peer); /* peer may be NULL */
struct tbi_bond *tbi_peer_newest(struct tbi_peer *peer);                     /* or NULL */
void tbi_peer_free(struct tbi_peer *peer); /* its bonds are gone already */
/* The bond for a process that has just said HELLO; moves what waits in `waiting` there. */
struct tbi_bond *tbi_bond_for(struct tbi_node *node, const tbq_peer_id *id,
                              const uint8_t boot_id[TBI_BOOT_ID_SIZE], struct tbi_bond *waiting);
void tbi_bond_hold(struct tbi_bond *b, struct tbi_contact *c);  /* for the first time */
void tbi_bond_let_go(struct tbi_contact *c);                    /* frees it if nothing needs it */
void tbi_bond_enter(struct tbi_bond *b, struct tbi_session *s); /* its bond is known */
void tbi_bond_left(struct tbi_bond *b);                         /* frees it if nothing needs it */
void tbi_bond_hear(struct tbi_bond *b);                         /* what its link has to tell */
void tbi_bond_drain(struct tbi_bond *b); /* the same, and what follows; re-arms its timer */
/* The link has something to do or to tell: it is ticked and drained before the node sends, or tells
 * when it wants to be called next. So a thousand sends or releases in a row cost one turn. */
void tbi_bond_touch(struct tbi_bond *b);
/* The link has taken a message of the application's: it is used, perhaps awaited, and a contact
 * that rests wakes. */
void tbi_bond_said(struct tbi_bond *b);
int tbi_bond_send(struct tbi_bond *b, const struct tbi_outgoing *out); /* to the link; touches */
/* A send found no room: AGAIN, and WRITABLE is told later; or NOMEM. */
int tbi_bond_full(struct tbi_bond *b);
void tbi_bond_carried(struct tbi_bond *b, struct tbi_session *s);          /* by one more session */
void tbi_bond_lost(struct tbi_bond *b, struct tbi_session *s, int reason); /* one less */
/* Another process of the peer answers at that address: connections to there that are silent are of
 * one that is gone. */
void tbi_bond_replaced(struct tbi_bond *b, const struct tbi_addr *where);
/* The bond of that process, or NULL. */
struct tbi_bond *tbi_bond_find(struct tbi_node *node, const tbq_peer_id *id,
                               const uint8_t boot_id[TBI_BOOT_ID_SIZE]);
void tbi_bond_timer(struct tbi_bond *b);
struct tbi_tally { /* of paths that are not closing */
    size_t sound;
    size_t suspect;
};
struct tbi_tally tbi_bond_paths(const struct tbi_bond *b);
/* Fills the event and queues it; counts it where it is a broadcast's. */
void tbi_bond_tell_fate(struct tbi_bond *b, const struct tbi_link_fate *f, struct tbi_event *e);
void tbi_bond_give_up(struct tbi_bond *b, int reason);
void tbi_bond_free(struct tbi_bond *b); /* events that are out stay valid */

/* --- dispatch.c: kinds of message, each way --- */
int tbi_dispatch_send(struct tbi_bond *b, tbq_connection connection, const tbq_message *message,
                      const tbq_send_options *options);
int tbi_dispatch_ping(struct tbi_bond *b);         /* the node's own, for liveness */
void tbi_dispatch_pings_leave(struct tbi_bond *b); /* those that waited for a connection do now */
/* What waits for a pong goes along when messages move. */
void tbi_dispatch_pings_move(struct tbi_bond *to, struct tbi_bond *from);
void tbi_dispatch_early_pong(struct tbi_session *s, const struct tbi_early_pong *pong);
void tbi_dispatch_take(struct tbi_bond *b, struct tbi_delivery *d); /* nobody else is to see it */
void tbi_dispatch_delivery(struct tbi_bond *b, struct tbi_delivery *d);
/* An event about a message that arrived, its kind and bytes, in the room of its delivery. */
struct tbi_event *tbi_dispatch_event(struct tbi_bond *b, const struct tbi_delivery *d,
                                     tbq_event_type type);

/* --- loan.c: bytes that stay the application's --- */
/* RELEASED is told with that tag when the last reference is gone. NULL: out of memory. */
struct tbi_block *tbi_loan_new(struct tbi_node *node, tbq_bytes bytes, uint64_t tag);
void tbi_loan_call_off(struct tbi_block *b); /* the send has failed: if it is one, nobody is told */

/* --- body_out.c: bodies that are sent --- */
void tbi_bodies_look(struct tbi_bond *b);    /* whether some could go on */
void tbi_bodies_feed(struct tbi_node *node); /* all that could: calls what they are read from */
void tbi_body_part_fate(const struct tbi_link_fate *f);
void tbi_bodies_move(struct tbi_bond *from, struct tbi_bond *to); /* with what waits in the link */
/* The link gives up, too: each has its fate when that of its parts is told. */
void tbi_bodies_out_give_up(struct tbi_bond *b, int reason);
void tbi_bodies_out_free(struct tbi_bond *b); /* after the link */

/* --- body_in.c: bodies that arrive --- */
/* A part. 0, and it is taken or an event owes the answer; or a TBQ_ERR_* for its decline. */
int tbi_body_arrived(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor bytes);
bool tbi_body_is_over(const struct tbi_event *e);             /* nobody wants this part any more */
void tbi_body_handed_out(const struct tbi_event *e);          /* a part, or something else */
void tbi_body_answered(const struct tbi_event *e, bool take); /* a part, by the application */
void tbi_bodies_in_end(struct tbi_bond *b, int reason);       /* all of that process */

/* --- datagram.c: unreliable ones --- */
void tbi_datagram_in(struct tbi_session *s, const uint8_t *data, size_t size);
void tbi_datagram_released(struct tbi_event *e); /* of a DATAGRAM: before it is freed */

/* --- select.c: choosing among peers, and what they are told for it --- */
int tbi_load_init(struct tbi_node *node);
void tbi_load_free(struct tbi_node *node);
void tbi_load_timer(struct tbi_node *node);
void tbi_load_met(struct tbi_session *s);                             /* it is up */
void tbi_load_heard(struct tbi_bond *b, const struct tbi_load *load); /* in a PING or PONG */

/* --- discover.c: finding peers --- */
/* Calls fn for every bond that is connected; returns how many took it (fn returned 0). */
size_t tbi_for_connected(struct tbi_node *node, int (*fn)(struct tbi_bond *b, void *arg),
                         void *arg);
int tbi_discovery_init(struct tbi_node *node);
void tbi_discovery_free(struct tbi_node *node);
void tbi_discovery_timer(struct tbi_node *node);
int tbi_discovery_make_record(struct tbi_node *node); /* of the node itself, anew */

/* The record that the peer with that key has sent of itself. 0; PROTOCOL: its form or signature is
 * wrong, or it is another's; NOMEM, TLS. */
int tbi_discovery_own_word(struct tbi_node *node, const uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                           const struct tbi_block *record, const struct tbi_addr *from);

/* The session is up, and its peer sees us at `observed` (len 0: not told). */
void tbi_discovery_met(struct tbi_session *s, const struct tbi_addr *observed);
void tbi_discovery_reached(struct tbi_session *s); /* the peer, at its address; part of the above */
void tbi_discovery_unreached(struct tbi_node *node, const tbq_peer_id *id,
                             const struct tbi_addr *addr, int reason);
/* Whether that address, which the peer claims, may be dialled now: 0, and its network is taken for
 * a second where it was never reached; TBQ_ERR_AGAIN: not yet; TBQ_ERR_LIMIT: it was tried often
 * enough, whoever claimed it. */
int tbi_discovery_may_dial(struct tbi_node *node, const tbq_peer_id *id,
                           const struct tbi_addr *addr);
/* A record that a peer at `from` told of another, whose id is set. 0 where it is in the book now.
 */
int tbi_discovery_hear(struct tbi_node *node, const uint8_t *record, size_t size,
                       const struct tbi_addr *from, tbq_peer_id *about);
size_t tbi_discovery_places(struct tbi_node *node, const tbq_peer_id *id, struct tbi_addr *to,
                            size_t max);
void tbi_discovery_want(struct tbi_node *node); /* there may be room for one more peer */
int tbi_discovery_on_discover(struct tbi_bond *b, tbq_lane lane, struct tbi_cursor body);
int tbi_discovery_on_announce(struct tbi_bond *b, struct tbi_cursor body);
int tbi_discovery_on_peer_list(struct tbi_bond *b, struct tbi_cursor body);

int tbi_discovery_interfaces(struct tbi_node *node, const struct tbi_addr *interfaces, size_t n);

/* --- network.c: other ways --- */
void tbi_session_moved(struct tbi_session *s, const struct tbi_addr *remote);

/* --- broadcast.c --- */
int tbi_broadcast_new(struct tbi_node *node, uint64_t tag, size_t peers,
                      struct tbi_broadcast **made);
void tbi_broadcast_fate(struct tbi_node *node, uint64_t id, tbq_fate fate);
void tbi_broadcast_free(struct tbi_node *node, struct tbi_broadcast *all);

/* --- request.c --- */
void tbi_request_timer(struct tbi_request *r);
void tbi_requests_forget(struct tbi_node *node, struct tbi_bond *b); /* the requester is gone */
struct tbi_request *tbi_request_owed(struct tbi_bond *b, uint64_t their_id, uint64_t timeout_ms);
void tbi_request_free(struct tbi_request *r, struct tbi_map *from);

void tbi_node_warn(struct tbi_node *node, const tbq_peer_id *peer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* --- trust.c: who may speak --- */
struct tbi_queued_binding {
    struct tbi_list entry;
    struct tbi_binding binding;
};
void tbi_certificate_due(struct tbi_node *node); /* warns a month before the own one ends */
/* Whether the policy lets the client of a resumed session in, whose handshake is not complete yet.
 * False also where the application has the last word. */
bool tbi_trust_allows_early(struct tbi_session *s);
void tbi_trust_answered(struct tbi_event *e, bool accept); /* by the application */
int tbi_node_tell_binding(struct tbi_node *node, const char *host_port, const tbq_peer_id *id);

/* --- close.c: what close codes mean --- */
bool tbi_close_is_final(uint64_t code); /* no use in dialling again */
int tbi_close_reason(uint64_t code);    /* the TBQ_ERR_* that an embedder is told */
#endif
