/* wire/frame.h - frames: bytes to structs and back. No state, no time.
 *
 * Encoders write a whole frame (type, length, body) through a tbi_writer; decoders get a cursor
 * over the body alone, must use all of it, and return 0 or a TBQ_ERR_*: TBQ_ERR_MALFORMED, or
 * TBQ_ERR_UNSUPPORTED for an unknown even field. Pointers in decoded structs point into the body.
 * A struct that cannot be written (no such lane, a set that does not rise, ...) is a fault of the
 * caller and leaves TBQ_ERR_INTERNAL in the writer. */
#ifndef TBI_WIRE_FRAME_H
#define TBI_WIRE_FRAME_H

#include "base/addr.h"
#include "wire/wire.h"

/* Fields in HELLO and CONFIRM: type, length, value, in rising order of type. */
struct tbi_hello {
    uint64_t minor;                    /* of the protocol */
    uint64_t features;                 /* bits; unknown ones are ignored */
    uint8_t boot_id[TBI_BOOT_ID_SIZE]; /* random per process start */
    uint64_t max_message_size; /* largest payload taken, bytes; clamped to the documented range */
    uint64_t idle_timeout_ms;  /* information for the other side's ping interval; clamped; 0: not
                                  told */
    bool beside;               /* this connection is one more of its link, and replaces none */
};

struct tbi_confirm {
    uint64_t incarnation; /* of the sender's numbering towards this peer; random, not 0 */
    uint64_t known;       /* the incarnation of the receiver's numbering that the sender has state
                             for, or 0: it has none, and must be treated as restarted */
    uint64_t base[TBQ_LANES]; /* lowest number per lane that the sender may still (re)send */
    struct tbi_addr observed; /* the receiver's address as the sender sees it; len 0: not told */
    const uint8_t *record;    /* the sender's signed peer record, or NULL */
    size_t record_size;
};

struct tbi_number_range { /* numbers from..from+count-1 */
    uint64_t from;
    uint64_t count;
};

/* Each set: all numbers below `below`, and the ranges, rising and not touching. A set only grows:
 * an ACK adds to what earlier ones on any connection of the link told. */
struct tbi_ack_set {
    uint64_t below;
    size_t ranges_len;
    struct tbi_number_range ranges[TBI_ACK_RANGES_MAX];
};

struct tbi_ack {
    tbq_lane lane;
    struct tbi_ack_set received; /* frees the sender's window and buffers */
    struct tbi_ack_set taken;    /* settles the fate: delivered */
};

struct tbi_numbers { /* SKIP */
    tbq_lane lane;
    size_t len;
    uint64_t number[TBI_NUMBERS_MAX]; /* rising */
};

struct tbi_declined_entry {
    uint64_t number;
    uint64_t code; /* enum tbi_decline_code; unknown codes are kept as they are */
};

struct tbi_declined {
    tbq_lane lane;
    size_t len;
    struct tbi_declined_entry entry[TBI_DECLINED_MAX]; /* rising numbers */
};

struct tbi_settled {
    tbq_lane lane;
    uint64_t below;
};

struct tbi_elsewhere {
    uint64_t number;
};

struct tbi_busy { /* signed records of peers that may have room */
    size_t len;
    struct {
        const uint8_t *record;
        size_t size;
    } at[TBI_BUSY_RECORDS_MAX];
};

struct tbi_rest {
    char none; /* nothing is told yet */
};

struct tbi_early_ping {
    uint64_t id; /* of the PING that follows in its lane; not 0 */
};

struct tbi_early_pong {
    uint64_t id;      /* of the EARLY_PING */
    uint64_t wall_ms; /* the answering side's clock */
};

/* The head of a MESSAGE frame; the kind's body follows. */
struct tbi_message {
    uint64_t number; /* in its lane, from 0, rising by one for every message */
    uint64_t flags;
    uint64_t kind; /* enum tbq_kind, or one that we do not know */
};

#define TBI_FRAME_PROTOTYPES(name, type, body)                                                     \
    void tbi_put_##body(struct tbi_writer *w, const struct tbi_##body *f);                         \
    int tbi_get_##body(struct tbi_cursor body_bytes, struct tbi_##body *f);

TBI_FRAME_PROTOTYPES(HELLO, 0, hello)
TBI_FRAME_PROTOTYPES(CONFIRM, 0, confirm)
TBI_FRAME_PROTOTYPES(ACK, 0, ack)
TBI_FRAME_PROTOTYPES(SKIP, 0, numbers)
TBI_FRAME_PROTOTYPES(DECLINED, 0, declined)
TBI_FRAME_PROTOTYPES(SETTLED, 0, settled)
TBI_FRAME_PROTOTYPES(ELSEWHERE, 0, elsewhere)
TBI_FRAME_PROTOTYPES(BUSY, 0, busy)
TBI_FRAME_PROTOTYPES(REST, 0, rest)
TBI_FRAME_PROTOTYPES(EARLY_PING, 0, early_ping)
TBI_FRAME_PROTOTYPES(EARLY_PONG, 0, early_pong)
#undef TBI_FRAME_PROTOTYPES

/* MESSAGE: the frame head, number, flags and kind only; `body_size` bytes of the kind's body are
 * written by the caller next to it (by reference, not copied). */
void tbi_put_message_head(struct tbi_writer *w, const struct tbi_message *f, size_t body_size);

/* Reads number, flags and kind; what is left in the cursor is the kind's body. Returns 0,
 * TBQ_ERR_MALFORMED, or TBQ_ERR_UNSUPPORTED (unknown flags). */
int tbi_get_message_head(struct tbi_cursor *c, struct tbi_message *f);

/* --- Frames out of stream bytes ------------------------------------------------------------- */

/* A reader per incoming stream. It keeps a frame's bytes only while the frame is incomplete. */
struct tbi_frame_reader {
    uint8_t head[TBI_FRAME_HEAD_MAX];
    size_t head_len;
    bool in_body;
    uint64_t type;
    uint64_t length; /* of the body */
    uint64_t got;    /* bytes of the body seen so far */
};

/* What tbi_frame_step() found at the front of the bytes. */
enum tbi_frame_step {
    TBI_STEP_NEED_MORE, /* all bytes used, nothing complete */
    TBI_STEP_HEAD,      /* reader->type and ->length are known: check them against the limits now */
    TBI_STEP_BODY,      /* `body` is a piece of the body (all of it when the frame lies whole in the
                           bytes); the frame is complete when reader->got == reader->length */
    TBI_STEP_ERROR      /* a body longer than any may be; TBQ_ERR_LIMIT is in the cursor */
};

void tbi_frame_reader_init(struct tbi_frame_reader *r);

/* Takes bytes from *c until something is to be told. A frame of length 0 gives HEAD, then an empty
 * BODY. After the BODY that completes a frame the reader is ready for the next head. */
enum tbi_frame_step tbi_frame_step(struct tbi_frame_reader *r, struct tbi_cursor *c,
                                   const uint8_t **body, size_t *body_size, bool *complete);

#endif
