/* link/link.h - one remote peer's link: lanes, numbers, acknowledgements, resending, fates.
 *
 * A link is what this process and one process of a peer have in common (docs/protocol.md, sections
 * 6 to 9). It lives over its paths, each of them a connection: several at once, and new ones for
 * those that are lost. It keeps the promise about messages: each is delivered once, in order within
 * its lane, and its sender is told its fate exactly once.
 *
 * Downward it calls a connection through struct tbi_link_conn, which the owner fills; these
 * functions must not call the link back. Upward it answers with actions only: drain
 * tbi_link_next_action() after every call that takes the time. Nothing here reads a clock, and the
 * link never calls its owner otherwise. */
#ifndef TBI_LINK_LINK_H
#define TBI_LINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tbquic/event.h>
#include <tbquic/message.h>
#include <tbquic/types.h>

#include "base/alloc.h"
#include "base/block.h"
#include "base/cursor.h"
#include "base/log.h"
#include "base/now.h"
#include "base/rng.h"
#include "wire/frame.h"
#include "wire/wire.h"

struct tbi_link;
struct tbi_link_path;
struct tbi_link_stream;

/* Connections of a link: four that are wanted, as many that have fallen silent and may come back,
 * and one that takes over from another. */
#define TBI_LINK_PATHS_MAX 9

#define TBI_LINK_OUTBOX_BYTES (8U << 20) /* default: payload bytes kept for sending */
#define TBI_LINK_OUTBOX_MESSAGES 4096U   /* default: messages whose fate is not yet fetched */
#define TBI_LINK_ACK_DELAY_NS (25 * TBI_NS_PER_MS) /* section 7.1 */
#define TBI_LINK_HEAD_MAX 32 /* bytes of a kind's fixed part in tbi_outgoing */
#define TBI_LINK_FRONT 32    /* bytes before a payload that make most frames one piece with it */

struct tbi_link_config {
    const struct tbi_alloc *alloc; /* outlives the link */
    struct tbi_rng *rng;           /* outlives the link; draws the incarnation */
    const struct tbi_log *log;     /* outlives the link; NULL: silent */
    size_t outbox_bytes;           /* 0: the default */
    size_t outbox_messages;        /* 0: the default */
    uint64_t max_message_size;     /* ours, as told in HELLO: larger messages are declined */
    uint64_t ack_delay_ns;         /* 0: the default; at most the default */
    tbq_schedule schedule[TBQ_LANES];
    /* Room for the owner's own, so that each message needs no more memory than it has; 0: none. */
    size_t fate_room;     /* bytes, with every FATE action */
    size_t delivery_room; /* bytes, with every delivery */
};

/* NULL when out of memory. */
struct tbi_link *tbi_link_new(const struct tbi_link_config *config);

/* Forgets everything, actions not fetched included (call tbi_link_give_up() and drain first to tell
 * the fates). Deliveries and streams that the owner still has stay valid: taking or freeing them
 * does no more than release their memory. NULL is fine. */
void tbi_link_free(struct tbi_link *link);

/* --- Time ------------------------------------------------------------------------------------ */

void tbi_link_ack_now(struct tbi_link *link, struct tbi_now now); /* what would wait a while */
uint64_t tbi_link_deadline(const struct tbi_link *link);          /* ns, monotonic; or TBI_NEVER */
/* The one call that writes: expiry, control frames, messages, as far as there is room. Needed when
 * the deadline has come, when a stream that was full has room again or more may be opened, and
 * after any of the calls below, however many: the deadline does not know of what they left. */
void tbi_link_tick(struct tbi_link *link, struct tbi_now now);

/* --- Sending --------------------------------------------------------------------------------- */

struct tbi_outgoing {
    tbq_kind kind;
    const uint8_t *head;       /* what stands before the payload in the kind's body; copied */
    size_t head_size;          /* at most TBI_LINK_HEAD_MAX; the whole body of small kinds */
    struct tbi_block *payload; /* the rest of the body, or NULL; the link takes a reference of its
                                  own on success, and the bytes must not change any more */
    tbq_lane lane;
    uint64_t ttl_ns; /* from now on; 0: none */
    bool unordered;
    bool skippable; /* a peer that does not know the kind takes it silently */
    bool want_fate; /* false: no FATE action follows (the library's own talk) */
    uint64_t tag;   /* come back in the FATE */
    uint64_t cookie;
    uint8_t mark;
};

/* Queues a message, which the next tbi_link_tick() writes; a connection need not exist. Its number
 * is drawn when it is first written, so that one which expires unwritten leaves no gap (section
 * 6.2).
 * 0; TBQ_ERR_AGAIN (a WRITABLE action follows when it fits, and an eighth of the outbox is
 * free); TBQ_ERR_TOO_LARGE (for the peer, as far as its limit is known); TBQ_ERR_INVALID;
 * TBQ_ERR_NOMEM. */
int tbi_link_send(struct tbi_link *link, struct tbi_now now, const struct tbi_outgoing *o);

/* For what can wait: whether a message with that much payload leaves half of the outbox free, and a
 * path is there to carry it. What is alone in an outbox may be larger. */
bool tbi_link_spare(const struct tbi_link *link, size_t size);
uint64_t tbi_link_peer_max(const struct tbi_link *link); /* its max_message_size; 0: not known */

/* Moves what src has still to send to dst, in the order of the sends: messages never sent as they
 * are, messages sent but not told RECEIVED flagged REPEAT. Messages told RECEIVED but not TAKEN,
 * and sent ones that have expired, get the fate unknown (reason TBQ_ERR_RESTARTED or
 * TBQ_ERR_EXPIRED), told by src's actions: drain them before src is freed. For an anonymous dial
 * whose peer turns out to be known, and for a peer that restarted with a new boot id. src must have
 * no path. dst may exceed its limits by this, and takes no more until it is below them. */
void tbi_link_absorb(struct tbi_link *dst, struct tbi_link *src);

/* Ends all waiting: every message without a fate gets one: not delivered where it was never
 * written, else unknown; `reason` is a TBQ_ERR_*. The link stays usable. */
void tbi_link_give_up(struct tbi_link *link, int reason);

/* --- Paths: the connections below ------------------------------------------------------------ */

#define TBI_LINK_CONTROL (-1) /* as a stream: the control stream; lanes are 0..3 */

/* A message that takes a stream of its own. */
#define TBI_LINK_ASIDE_SIZE 65536U /* bytes of payload, from which on one does */
#define TBI_LINK_STREAMS_KEPT 4U   /* for the lowest number of each lane: others leave them free */

struct tbi_path_facts {
    uint64_t rtt_ns;  /* smoothed; 0: not known yet */
    uint64_t rate;    /* bytes a second that it can be expected to carry; 0: not known yet */
    uint64_t waiting; /* bytes queued or in flight */
    uint64_t streams; /* that may still be opened now */
};

/* All members are required. The connection writes the streams' prologues by itself, and opens lane
 * streams when they are first written. */
struct tbi_link_conn {
    void *user;

    /* How many more bytes the stream's queue should take now; 0: call tbi_link_tick() when that has
     * changed. Kept short (a round trip's worth) so that expiry and priority stay meaningful. A
     * write is made when it is not 0, and may be larger. */
    size_t (*room)(void *user, int stream);

    /* Queues frames in their order, each whole or not at all: the head copied, the body by
     * reference (take one of your own). Each begins within the room. How many; or TBQ_ERR_NOMEM /
     * TBQ_ERR_CLOSED: not even the first one. The others are tried again later. */
    int (*write)(void *user, int stream, const struct tbi_headed *frames, size_t count);

    /* One frame on a new stream of that lane for this message alone, which ends with it. 0, or
     * TBQ_ERR_AGAIN: no stream can be opened now, or enough is queued; call tbi_link_tick() when
     * that has changed; or as above. */
    int (*write_aside)(void *user, tbq_lane lane, bool unordered, const struct tbi_headed *frame);

    /* Gives receive credit of a lane stream back (MAX_STREAM_DATA); by the tick alone. */
    void (*consume)(void *user, tbq_lane lane, uint64_t bytes);

    /* Gives credit of a message's own stream back: its bytes are discarded as they come. */
    void (*consume_stream)(void *user, uint64_t stream_id, uint64_t bytes);

    /* The message of this stream was taken, declined or dropped: the peer may open another one
     * (MAX_STREAMS). Once for each tbi_link_stream that had a whole message or was freed before. */
    void (*stream_done)(void *user, uint64_t stream_id);

    /* Asked where there are several paths, or a message may take a stream of its own. */
    void (*facts)(void *user, struct tbi_path_facts *facts);
};

struct tbi_link_limits { /* of the peer, from its HELLO */
    uint64_t max_message_size;
};

/* Whether a CONFIRM for one more path may be sent: not while the first one of a fresh link has not
 * shown yet that both sides hold state (section 8). Ask again after whatever comes in. */
bool tbi_link_may_join(const struct tbi_link *link);

/* Fills incarnation, known and base for the CONFIRM that is about to be sent; zeroes the rest. */
void tbi_link_confirm(struct tbi_link *link, struct tbi_confirm *confirm);

/* The peer's CONFIRM is in and ours is sent: one more path. Resumes, or begins anew, as section 8
 * says: declines and ACKs first, then what must be resent. Where either side begins anew, all other
 * paths belong to the past: each gets an ERROR action. `base` is that of our CONFIRM on this
 * connection: others, on other connections, may have told other ones. The connection is copied.
 * NULL: out of memory, or TBI_LINK_PATHS_MAX are there. */
struct tbi_link_path *tbi_link_attach(struct tbi_link *link, const struct tbi_link_conn *conn,
                                      const uint64_t base[TBQ_LANES],
                                      const struct tbi_confirm *peer,
                                      const struct tbi_link_limits *limits);

/* The own CONFIRM is written and the peer's is not in: a link that never sent anything may begin
 * nonetheless, with so many bytes on lane and own streams, types and frame heads included
 * (section 5.3). Until tbi_link_confirmed() nothing that comes in is handed to the path. NULL: it
 * is no fresh link, or has a path, or memory is out: then tbi_link_attach() follows as ever. */
struct tbi_link_path *tbi_link_attach_ahead(struct tbi_link *link, const struct tbi_link_conn *conn,
                                            const struct tbi_link_limits *limits, size_t bytes);
/* Now the peer's CONFIRM is in: from here on it is a path like any other. */
void tbi_link_confirmed(struct tbi_link_path *path, const struct tbi_confirm *peer);

/* The connection is gone or must not be used any more; no function of it is called from here on,
 * and the path is freed. Half messages are forgotten, the rest is kept; what it alone had still to
 * deliver is sent again over the others. NULL is fine. */
void tbi_link_detach(struct tbi_link_path *path, int reason);
bool tbi_link_attached(const struct tbi_link *link); /* it has a path */

/* What is under way on it is not answered in time (or is again). While another path is not suspect,
 * that one is used, and what waits here for an answer is sent there too. */
void tbi_link_suspect(struct tbi_link_path *path, bool suspect);

/* --- Receiving ------------------------------------------------------------------------------- */

/* A whole frame of the control stream other than HELLO and CONFIRM; `body` over its body alone. */
void tbi_link_control(struct tbi_link_path *path, struct tbi_now now, uint64_t type,
                      struct tbi_cursor body);

/* Bytes of a lane stream, in order, behind its prologue. */
void tbi_link_lane_data(struct tbi_link_path *path, struct tbi_now now, tbq_lane lane,
                        const uint8_t *data, size_t size);

/* A message's own stream, behind its prologue (type and lane). The owner has the handle and frees
 * it, before or after the end; stream_id is what the connection's functions get. NULL: out of
 * memory (an ERROR action follows), or the path has failed. */
struct tbi_link_stream *tbi_link_stream_new(struct tbi_link_path *path, tbq_lane lane,
                                            bool unordered, uint64_t stream_id);
void tbi_link_stream_data(struct tbi_link_stream *stream, struct tbi_now now, const uint8_t *data,
                          size_t size, bool fin);

/* Reset by the peer, or at its end; what is incomplete is forgotten. NULL is fine. */
void tbi_link_stream_free(struct tbi_link_stream *stream);

/* One whole message. The receive window of its stream stays shorter by it until it is taken or
 * refused, in any order, also after the connection or the link is gone. */
struct tbi_delivery {
    struct tbi_link *link; /* NULL: the link was freed meanwhile */
    tbq_lane lane;
    uint64_t number;
    bool repeat;            /* may have been taken before a restart */
    bool skippable;         /* taken, not refused, by who cannot understand it */
    uint64_t kind;          /* enum tbq_kind, a known one */
    struct tbi_block *body; /* of the kind; never NULL; borrowed until taken or refused */
    void *user;             /* the owner's; NULL at first */
    void *room;             /* delivery_room bytes, for as long as the delivery; NULL: none */
};

/* The application is done with it: TAKEN, as the next tbi_link_tick() tells. Frees the delivery. */
void tbi_delivery_take(struct tbi_delivery *d, struct tbi_now now);

/* It will never be taken: DECLINED. Frees the delivery. */
void tbi_delivery_refuse(struct tbi_delivery *d, struct tbi_now now, enum tbi_decline_code code);

/* --- What comes out -------------------------------------------------------------------------- */

enum tbi_link_action_type {
    TBI_LINK_DELIVER = 1,  /* delivery: now the owner's, to be taken or refused */
    TBI_LINK_FATE = 2,     /* fate */
    TBI_LINK_WRITABLE = 3, /* after TBQ_ERR_AGAIN: sends are taken again */
    TBI_LINK_ERROR = 4     /* error: the peer broke the protocol, memory is out, or the path belongs
                              to the past: close the connection and detach; nothing more is read from
                              it */
};

struct tbi_link_fate {
    uint64_t tag;
    uint64_t cookie;
    uint8_t mark;
    tbq_fate fate;
    int reason;            /* 0 when delivered, else a TBQ_ERR_* */
    bool declined;         /* the peer declined it: */
    uint64_t decline_code; /* enum tbi_decline_code, or one that we do not know */
    tbq_lane lane;
    tbq_kind kind;
    bool numbered; /* it was written to a stream, as: */
    uint64_t number;
    uint64_t queued_ns; /* when it was sent, monotonic */
};

struct tbi_link_action {
    enum tbi_link_action_type type;
    void *room;       /* of a FATE: what was the message's memory, not cleared; the owner's now, who
                         gives it back as a piece. NULL: none was asked for */
    size_t room_size; /* bytes; fate_room at least */
    union {
        struct tbi_delivery *delivery;
        struct tbi_link_fate fate;
        struct {
            void *user;       /* of the path's struct tbi_link_conn */
            uint64_t code;    /* enum tbi_close_code */
            const char *text; /* static */
        } error;
    } u;
};

/* The next one, in the order in which they came about; only an ERROR comes before all that waits.
 */
bool tbi_link_next_action(struct tbi_link *link, struct tbi_link_action *action);

/* --- How it stands --------------------------------------------------------------------------- */

/* Every message that was sent has its fate, and the fates were fetched. */
bool tbi_link_outbox_empty(const struct tbi_link *link);

/* How often the state for what the peer sends was begun: another number, and what came before has
 * no continuation. */
uint64_t tbi_link_generation(const struct tbi_link *link);

/* Nothing would be lost by forgetting the link (section 6.1): the outbox is empty, no action and no
 * delivery is open, and the peer has told SETTLED for all that it sent. */
bool tbi_link_idle(const struct tbi_link *link);

struct tbi_link_stats {
    uint64_t sent; /* messages written for the first time */
    uint64_t resent;
    uint64_t delivered; /* fates, of messages sent */
    uint64_t not_delivered;
    uint64_t unknown;
    uint64_t expired;  /* whose time to live passed before their fate */
    uint64_t refused;  /* sends answered with TBQ_ERR_AGAIN */
    uint64_t received; /* whole messages that were new */
    uint64_t taken;
    uint64_t declined;      /* numbers that we declined or gave up */
    uint64_t duplicates;    /* messages dropped because they had come before */
    uint64_t attached;      /* paths so far */
    uint64_t copies;        /* of redundant lanes, beyond the first */
    size_t outbox_messages; /* now: without a fate, or the fate not fetched */
    size_t outbox_bytes;    /* now: payload bytes kept */
    size_t held_messages;   /* now: received, neither taken nor refused */
    size_t held_bytes;
};
void tbi_link_stats(const struct tbi_link *link, struct tbi_link_stats *stats);

#endif
