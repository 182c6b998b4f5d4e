/* link/parts.h - what the files of lib/link share; nobody else includes it.
 *
 * outbox.c holds messages until their fate, send.c writes them to paths, path.c knows the paths and
 * chooses among them, inbox.c puts incoming messages together and in order, taken.c knows what was
 * received, taken and declined, control.c speaks about all this with the peer, and link.c joins
 * them. */
#ifndef TBI_LINK_PARTS_H
#define TBI_LINK_PARTS_H

#include "link/link.h"

#include "base/list.h"
#include "base/ranges.h"

#define TBI_LINK_WINDOW 65536U    /* numbers in use above the lowest not taken, section 6.2 */
#define TBI_LINK_ACK_MESSAGES 32U /* changes after which ACK is not put off any more, */
#define TBI_LINK_ACK_BYTES 65536U /* and bytes of them: room, or a fate, is waited for */
#define TBI_LINK_RANGES_MAX (TBI_LINK_WINDOW / 2 + 2) /* more do not fit in the window */
#define TBI_LINK_DECLINES_MAX 65536U /* runs of declined numbers of a lane that are not settled */
#define TBI_LINK_EARLY_LISTS 64U     /* so that a place among early messages is found soon */
#define TBI_LINK_EARLY_NUMBERS (2 * TBI_LINK_WINDOW / TBI_LINK_EARLY_LISTS)
#define TBI_LINK_FIRST_BLOCK 65536U /* bytes; a body's block grows beyond as its bytes come, */
/* but where no more than so many are claimed in all: a request of 1 MiB has a head */
#define TBI_LINK_CLAIMS_MAX ((1U << 20) + TBI_LINK_HEAD_MAX)

/* What waits to be fetched as an action: a message's fate or a delivery. The slot is part of the
 * message itself, so telling needs no memory. */
struct tbi_link_event {
    struct tbi_list node;
    enum tbi_link_action_type type;
};

/* One message to send, from the call until its fate was fetched. */
struct tbi_out {
    struct tbi_link_event event; /* its node is in waiting, aside, sent or the link's events */
    struct tbi_list again;       /* in `again`: no path carries it */
    struct tbi_list announce;    /* in `announce`: no path carries its ELSEWHERE */
    struct tbi_link_fate fate;
    struct tbi_block *payload; /* NULL also once the bytes are not needed any more */
    size_t bytes;              /* of the payload, as counted in outbox_bytes */
    uint64_t expires_at;       /* ns, or TBI_NEVER */
    uint8_t head[TBI_LINK_HEAD_MAX];
    size_t head_size;
    unsigned paths;     /* bits of those that it was written to */
    unsigned announced; /* the same for ELSEWHERE */
    bool unordered;
    bool skippable;
    bool want_fate;
    bool written; /* to some stream of some connection, towards whatever process */
    bool repeat;
    bool received;  /* told RECEIVED */
    bool skip;      /* expired after it was written: the peer is asked to give it up */
    bool skip_told; /* on the path that has the control frames now */
};

struct tbi_tx_lane {
    tbq_schedule schedule;
    struct tbi_list waiting;  /* never written under this numbering, ordered */
    struct tbi_list aside;    /* the same, unordered: a stream each */
    struct tbi_list sent;     /* numbered and not settled, rising */
    struct tbi_out *unheard;  /* of these, all before it are told RECEIVED; NULL: all are */
    struct tbi_list again;    /* of these, those that no usable path carries, rising */
    struct tbi_list announce; /* the same for their ELSEWHERE */
    uint64_t next;            /* the next unused number */
    uint64_t taken_below;     /* lowest number that ACKs leave uncovered in TAKEN */
    /* What the peer has ever told, so that telling it again costs nothing; declined numbers count
     * as taken. A peer that begins anew takes nothing back: all of these are settled then. */
    struct tbi_ranges told_received;
    struct tbi_ranges told_taken;
    size_t skips;           /* in `sent` with skip and not skip_told */
    uint64_t holes_to;      /* above all numbers that were settled without the receiver's word */
    uint64_t holes_told;    /* SKIP was sent for those below; as skip_told */
    uint64_t settled_told;  /* on the path that has the control frames now */
    uint64_t settled_at;    /* when SETTLED is due, or TBI_NEVER */
    bool declined;          /* the peer has ever declined a number */
    uint64_t declined_low;  /* SETTLED hurries when it passes this; UINT64_MAX: nothing declined */
    uint64_t declined_high; /* the highest number known to be declined */
};

/* Numbers from..to-1, declined for one reason. */
struct tbi_decline_run {
    uint64_t from;
    uint64_t to;
    uint64_t told; /* all below, on the path that has the control frames now */
    uint64_t code;
};

/* A lane or unordered stream on its way in. */
enum tbi_intake_mode {
    TBI_INTAKE_FRAME, /* between frames */
    TBI_INTAKE_HEAD,  /* number, flags and kind of a MESSAGE */
    TBI_INTAKE_ELSEWHERE,
    TBI_INTAKE_KEEP,    /* a message's body, kept */
    TBI_INTAKE_SWALLOW, /* the same, of an unknown kind that may be skipped: forgotten, but taken */
    TBI_INTAKE_DROP     /* what is left of the frame is forgotten */
};

struct tbi_intake {
    struct tbi_frame_reader reader;
    enum tbi_intake_mode mode;
    uint8_t small[3 * TBI_VARINT_SIZE_MAX];
    size_t small_len;
    struct tbi_message head;
    struct tbi_block *block;
    size_t claimed; /* bytes of room that the block has on the sender's word alone */
    uint64_t held;  /* bytes of the frame whose credit was not given back */
};

struct tbi_rx_lane {
    struct tbi_ranges received;  /* both begin with all numbers below the lowest uncovered one; */
    struct tbi_ranges taken;     /* taken is part of received */
    struct tbi_ranges elsewhere; /* unordered ones that are not waited for; old ones are dropped */
    uint64_t waited_for;         /* the lowest number that is waited for; below: all of them done */
    uint64_t released;           /* waited_for, when `early` was looked at last */
    /* Whole messages behind a number that is waited for: rising in each list, and from list to list
     * of the ring, which is twice as long as the window. */
    struct tbi_list *early; /* TBI_LINK_EARLY_LISTS of them, from the first one on; NULL: none */
    struct tbi_decline_run *runs;
    size_t runs_len;
    size_t runs_capacity;
    bool untold;          /* some run is not told on the path that has the control frames now: */
    uint64_t untold_from; /* none below */
    size_t open;          /* deliveries out: each has a place reserved in taken and runs */
    uint64_t seen;        /* the first number above all that were seen */
    uint64_t settled;     /* by the peer */
    uint64_t ack_at;      /* when ACK is due, or TBI_NEVER */
    uint64_t ack_told_at; /* when the last one was written; 0: none was */
    unsigned changes;     /* since the last ACK */
    size_t changed_bytes; /* of the messages that changed */
    /* What ACK has not told yet is among the numbers from..to-1, if these differ. It is told from
     * the lowest on, as far as there is room. */
    uint64_t ack_from;
    uint64_t ack_to;
    bool ack_half;       /* lower ones than `ack_from` were told just now, and of these, since: */
    uint64_t ack_behind; /* the lowest that has changed; UINT64_MAX: none */
    uint64_t ack_again;  /* the lowest told one that the peer has sent again; UINT64_MAX: none */
};

/* One connection of the link. */
struct tbi_link_path {
    struct tbi_list node; /* in the link's paths, in the order in which they came */
    struct tbi_link *link;
    struct tbi_link_conn conn;
    uint64_t number; /* of all paths that the link has ever had */
    unsigned bit;    /* among those that it has now */
    bool suspect;
    bool ahead;       /* the peer's CONFIRM is not in: no control frames, and of messages only */
    size_t allowance; /* so many bytes more */
    bool failed;      /* nothing more is read or written */
    bool error;       /* which is not told yet */
    uint64_t error_code;
    const char *error_text;
    struct tbi_intake in[TBQ_LANES];
    uint64_t lane_next[TBQ_LANES]; /* above all numbers that our lane stream has */
    size_t room[TBQ_LANES];        /* of our lane stream, as it was asked for in this tick */
    uint64_t owed[TBQ_LANES];      /* credit of the peer's lane streams, given with the next tick */
    struct tbi_list streams;
};

struct tbi_link_stream {
    struct tbi_list node;       /* in the path's streams, or alone once the path is gone */
    struct tbi_link_path *path; /* NULL then */
    const struct tbi_alloc *alloc;
    tbq_lane lane;
    bool unordered;
    uint64_t id;
    bool over;     /* its one message is complete */
    bool credited; /* stream_done was told, or is left to the delivery */
    struct tbi_intake in;
};

/* A delivery with what the owner need not see; before the bytes of its body, in their block, and
 * with the owner's room behind it. */
struct tbi_delivered {
    struct tbi_link_event event; /* its node is in the link's events until it was fetched; before,
                                    perhaps, in the lane's early */
    struct tbi_list node;        /* in the link's deliveries */
    struct tbi_delivery d;
    uint64_t path;       /* the number of the one that it came on */
    uint64_t generation; /* of the receiving state */
    uint64_t credit;     /* bytes of the lane stream */
    bool on_stream;
    uint64_t stream_id;
};

struct tbi_link {
    const struct tbi_alloc *alloc;
    const struct tbi_log *log;
    size_t limit_bytes;
    size_t limit_messages;
    size_t roomy_messages; /* no more than so many: there is room again */
    size_t roomy_bytes;
    uint64_t max_message_size;
    uint64_t ack_delay;
    size_t out_size; /* bytes of a message's piece: it becomes its fate's room */
    bool fate_room;
    size_t delivery_room;

    struct tbi_list paths;
    struct tbi_link_path *control; /* the path that has the control frames; NULL: none */
    struct tbi_link_path *best;    /* of those, for failover; NULL: to be chosen */
    unsigned usable;      /* bits of those to be used now: not suspect, or all where all are */
    bool control_blocked; /* its stream was full when something was due */
    bool errors;          /* some path has an error to tell, perhaps */
    uint64_t retry_at;    /* after a write without memory */

    uint64_t incarnation; /* of our numbering */
    struct tbi_tx_lane tx[TBQ_LANES];
    uint64_t peer_max;    /* the peer's max_message_size; 0: not known yet */
    uint64_t next_expiry; /* no message expires earlier */
    bool starved;         /* a send was answered with AGAIN, */
    size_t wanted;        /* the largest of so many bytes */

    uint64_t known;      /* the peer's incarnation that rx belongs to, or 0 */
    bool proven;         /* the peer knows of this state: something came behind its CONFIRM */
    uint64_t generation; /* counts begins of rx */
    struct tbi_rx_lane rx[TBQ_LANES];
    size_t claimed; /* of all messages that are not whole yet */
    struct tbi_list deliveries;

    struct tbi_list events;
    bool writable;
    struct tbi_link_stats stats;
};

#define TBI_FOREACH_PATH(p, link)                                                                  \
    for (struct tbi_link_path *p = tbi_path_after(link, NULL); p != NULL;                          \
         p = tbi_path_after(link, p))

/* --- path.c */

struct tbi_link_path *tbi_path_after(const struct tbi_link *link, const struct tbi_link_path *path);
struct tbi_link_path *tbi_path_by_number(const struct tbi_link *link, uint64_t number);

/* The connection must be closed with this code; told once. */
void tbi_path_fail(struct tbi_link_path *path, uint64_t code, const char *text);

/* Whether it takes a frame of that size now: before the peer's CONFIRM only a few. */
bool tbi_path_allows(const struct tbi_link_path *path, size_t size);
void tbi_path_spend(struct tbi_link_path *path, size_t size);

/* The paths have changed, or what is thought of them: chooses the one for control frames anew, and
 * what must be sent again. */
void tbi_paths_changed(struct tbi_link *link);

/* Where a message of that lane and size goes next, by its schedule: a usable path of those that it
 * fits. NULL: nowhere now. */
struct tbi_link_path *tbi_path_choose(struct tbi_link *link, tbq_lane lane, size_t size,
                                      unsigned fitting);
#define TBI_NOT_ASKED SIZE_MAX
/* Asked once in a tick, in which nobody else writes. */
bool tbi_path_has_room(struct tbi_link_path *path, tbq_lane lane);
void tbi_path_filled(struct tbi_link_path *path, tbq_lane lane, size_t size); /* so much written */
void tbi_paths_ask_again(struct tbi_link *link);
/* The one path that is to be used, or NULL: there are several, or none. */
struct tbi_link_path *tbi_path_only(struct tbi_link *link);

/* --- outbox.c */

void tbi_outbox_init(struct tbi_link *link);
void tbi_outbox_free(struct tbi_link *link);
void tbi_outbox_expire(struct tbi_link *link, struct tbi_now now);
void tbi_outbox_check_room(struct tbi_link *link);

void tbi_out_free(struct tbi_link *link, struct tbi_out *m);

/* Tells a message's fate: it leaves its lists and waits to be fetched. */
void tbi_outbox_settle(struct tbi_link *link, struct tbi_out *m, tbq_fate fate, int reason);
void tbi_outbox_received(struct tbi_link *link, struct tbi_out *m);

/* An answer about a number that is not settled; m is in `sent`. */
void tbi_outbox_declined(struct tbi_link *link, struct tbi_out *m, uint64_t code);
uint64_t tbi_outbox_lowest(const struct tbi_tx_lane *l); /* unsettled, or the next number */

/* The message after m in `sent`, or NULL; the first one for NULL. */
struct tbi_out *tbi_outbox_next(const struct tbi_tx_lane *l, const struct tbi_out *m);
/* The first one that was not told RECEIVED, or NULL. */
struct tbi_out *tbi_outbox_unheard(struct tbi_tx_lane *l);
void tbi_outbox_numbered(struct tbi_tx_lane *l, struct tbi_out *m); /* it goes into `sent` */

/* The peer's receiving state was begun anew, at `base`: what it was told before counts no more. */
void tbi_outbox_begin(struct tbi_link *link, const uint64_t base[TBQ_LANES]);

/* Puts into `again` and `announce` what none of these paths carries. */
void tbi_outbox_again(struct tbi_link *link, unsigned usable);

/* What was told on the path of control frames so far must be told again on another one. */
void tbi_outbox_retell(struct tbi_link *link);
void tbi_outbox_off(struct tbi_link *link, unsigned path); /* it carries nothing any more */
uint64_t tbi_outbox_payload(const struct tbi_out *m); /* bytes that count as payload, section 6.3 */

/* --- send.c */

void tbi_send_lane(struct tbi_link *link, struct tbi_now now, tbq_lane lane);

/* --- taken.c */

void tbi_taken_init(struct tbi_link *link);
void tbi_taken_free(struct tbi_link *link);
/* Anew. 0 or TBQ_ERR_NOMEM. */
int tbi_taken_begin(struct tbi_link *link, const uint64_t base[TBQ_LANES]);
void tbi_taken_retell(struct tbi_link *link); /* another path has the control frames */
/* What is known of that number, of a message with that much payload, has changed: ACK tells it. */
void tbi_taken_changed(struct tbi_link *link, tbq_lane lane, uint64_t number, size_t size,
                       struct tbi_now now);
/* The peer has sent it again, and may not know that it was received: one frame tells it. */
void tbi_taken_again(struct tbi_link *link, tbq_lane lane, uint64_t number, struct tbi_now now);
/* The application is done with one, which has changed; what comes seldom is told at once. */
void tbi_taken_hurry(struct tbi_link *link, tbq_lane lane, struct tbi_now now);
void tbi_taken_told(struct tbi_rx_lane *l);             /* all that ACK had to tell */
uint64_t tbi_taken_lowest(const struct tbi_rx_lane *l); /* not taken */

/* Reserves what a delivery will need when it is taken or refused. 0 or TBQ_ERR_NOMEM. */
int tbi_taken_reserve(struct tbi_rx_lane *l, const struct tbi_alloc *alloc);
int tbi_taken_receive(struct tbi_rx_lane *l, uint64_t number);
int tbi_taken_elsewhere(struct tbi_rx_lane *l, uint64_t number); /* it is not waited for */
uint64_t tbi_taken_waited_for(struct tbi_rx_lane *l);            /* the lowest that is */
void tbi_taken_take(struct tbi_rx_lane *l, uint64_t number);     /* the room was reserved */

/* The index of the first run of declines that ends above n. */
size_t tbi_taken_run(const struct tbi_rx_lane *l, uint64_t n);

bool tbi_taken_full(const struct tbi_link *link, tbq_lane lane); /* of declines, until SETTLED */

/* Covers from..to-1 in both sets and remembers the reason. 0; unchanged: TBQ_ERR_NOMEM, or
 * TBQ_ERR_LIMIT (full). */
int tbi_taken_decline(struct tbi_link *link, tbq_lane lane, uint64_t from, uint64_t to,
                      uint64_t code);

/* The application refused what was delivered to it: the room was reserved. */
void tbi_taken_refuse(struct tbi_link *link, tbq_lane lane, uint64_t number, uint64_t code);

bool tbi_taken_declined(const struct tbi_rx_lane *l, uint64_t number, uint64_t *code);
int tbi_taken_settled(struct tbi_link *link, tbq_lane lane, uint64_t below);

/* --- inbox.c */

void tbi_intake_reset(struct tbi_link *link, struct tbi_intake *in);
void tbi_inbox_leave(struct tbi_link_path *path); /* half messages of the path are forgotten */
void tbi_inbox_free(struct tbi_link *link);
void tbi_inbox_drop_early(struct tbi_link *link); /* with the state that they belong to */

/* Hands over what has waited for its turn. */
void tbi_inbox_release(struct tbi_link *link, tbq_lane lane);

/* Forgets what came of a message that was just given up. */
void tbi_inbox_drop(struct tbi_link *link, tbq_lane lane, uint64_t number);

/* False, and the path failed, when the number is too far above the lowest not taken, or the lane
 * has more declined numbers than are remembered. */
bool tbi_inbox_in_window(struct tbi_link_path *path, tbq_lane lane, uint64_t number);

/* --- control.c */

void tbi_control_flush(struct tbi_link *link, struct tbi_now now);

#endif
