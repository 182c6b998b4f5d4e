/* wire/wire.h - names and numbers of the protocol "tbq/1"; docs/protocol.md is the text for them.
 *
 * One rule for all that may grow (frame types, stream types, field types): an odd number may be
 * skipped by who does not know it, an even one must be understood. */
#ifndef TBI_WIRE_WIRE_H
#define TBI_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tbquic/types.h>

#include "base/cursor.h"

#define TBI_ALPN "tbq/1"
#define TBI_PROTOCOL_MINOR 0

/* The first varint of every unidirectional stream. Bidirectional streams are not used. */
enum tbi_stream_type {
    TBI_STREAM_CONTROL = 0x00,   /* one each way: HELLO, CONFIRM, acknowledgements, ... */
    TBI_STREAM_UNORDERED = 0x02, /* then the lane as a varint, then one MESSAGE frame, then FIN */
    TBI_STREAM_ASIDE = 0x06, /* the same, of a message that keeps its place in its lane's order */
    TBI_STREAM_LANE = 0x10   /* + 2 * lane: 0x10, 0x12, 0x14, 0x16; one each way and lane */
};
#define TBI_PROLOGUE_SIZE_MAX 16 /* bytes: two varints in their longest form */

/* What a stream begins with. `lane` counts for all but the control stream; the type of a lane
 * stream is given as TBI_STREAM_LANE, without the lane. */
struct tbi_prologue {
    uint64_t type;
    tbq_lane lane;
};
void tbi_put_prologue(struct tbi_writer *w, const struct tbi_prologue *p);

/* Reads the front of a stream's bytes; *used is set with 0 only. Returns 0 (an unknown odd type
 * too: STOP_SENDING and forget the stream), TBQ_ERR_AGAIN (not all there yet), TBQ_ERR_UNSUPPORTED
 * (an unknown even type) or TBQ_ERR_MALFORMED (no such lane). */
int tbi_get_prologue(const uint8_t *data, size_t size, struct tbi_prologue *p, size_t *used);

/* X(NAME, type, struct): the frames. Each makes TBI_FRAME_NAME and, in frame.h, the encode and
 * decode prototypes. */
#define TBI_FRAME_MAP(X)                                                                           \
    X(HELLO, 0x00, hello)           /* control: the first frame each way */                        \
    X(CONFIRM, 0x02, confirm)       /* control: authenticated, trusted, where we stand */          \
    X(ACK, 0x04, ack)               /* control: what was received and taken in a lane */           \
    X(SKIP, 0x06, numbers)          /* control: please give these up, they expired */              \
    X(DECLINED, 0x08, declined)     /* control: these will never be taken, and why */              \
    X(SETTLED, 0x0a, settled)       /* control: all below this number is settled at the sender */  \
    X(BUSY, 0x0c, busy)             /* control, instead of HELLO: full, these may have room */     \
    X(REST, 0x0d, rest)             /* control: close it, unless there is something to say */      \
    X(EARLY_PING, 0x0f, early_ping) /* control, in 0-RTT: are you there? */                        \
    X(EARLY_PONG, 0x11, early_pong) /* control, after HELLO: the answer */                         \
    X(MESSAGE, 0x20, message)       /* lane, unordered: a message */                               \
    X(ELSEWHERE, 0x22, elsewhere)   /* lane: this number travels on a stream of its own */

enum tbi_frame_type {
#define TBI_FRAME_ENUM(name, type, body) TBI_FRAME_##name = type,
    TBI_FRAME_MAP(TBI_FRAME_ENUM)
#undef TBI_FRAME_ENUM
        TBI_FRAME_RESERVED_FIRST = 0x40, /* relaying and NAT traversal */
    TBI_FRAME_RESERVED_LAST = 0x5f
};

/* Sizes that bound what is accepted before anything is allocated. */
#define TBI_CONTROL_FRAME_MAX 4096 /* body of any control frame, bytes */
#define TBI_FRAME_HEAD_MAX 16      /* type and length as varints */
#define TBI_MESSAGE_HEAD_MAX 64    /* frame head, number, flags, kind and the kind's fixed part */
#define TBI_ACK_RANGES_MAX 32
#define TBI_DECLINED_MAX 32       /* entries in one DECLINED frame */
#define TBI_NUMBERS_MAX 64        /* entries in one SKIP frame */
#define TBI_BUSY_RECORDS_MAX 8    /* in one BUSY frame, as far as it holds them */
#define TBI_MESSAGE_SIZE_MIN 1024 /* every node takes messages of this size */
#define TBI_MESSAGE_SIZE_MAX (UINT64_C(1) << 30)
#define TBI_EARLY_BYTES_MAX 16384 /* lane bytes that a client may send before CONFIRM */
#define TBI_LATE_BYTES_MAX 262144 /* that may overtake the CONFIRM of who had the own one */
#define TBI_ERROR_TEXT_MAX 256    /* bytes of text in errors and close reasons */
#define TBI_BOOT_ID_SIZE 16
#define TBI_NUMBER_MAX (TBI_VARINT_MAX - 1) /* of a message, so that "below" is a varint too */
#define TBI_FRAME_LENGTH_MAX (TBI_MESSAGE_SIZE_MAX + TBI_MESSAGE_HEAD_MAX) /* body of any frame */

/* What is out of these ranges is read as their nearest end. */
#define TBI_IDLE_TIMEOUT_MIN_MS 1000U
#define TBI_IDLE_TIMEOUT_MAX_MS 86400000U         /* a day */
#define TBI_REQUEST_TIMEOUT_MAX_MS 86400000U      /* a day */
#define TBI_WALL_MS_MAX UINT64_C(253402300799999) /* the last ms of the year 9999 */

/* X(NAME, code, text): application close codes of a QUIC connection. */
#define TBI_CLOSE_MAP(X)                                                                           \
    X(NONE, 0x00, "closed by the application")                                                     \
    X(STOPPED, 0x01, "the node was stopped")                                                       \
    X(PROTOCOL, 0x02, "protocol violation")                                                        \
    X(LIMIT, 0x03, "a limit of the protocol was exceeded")                                         \
    X(VERSION, 0x04, "a feature or field that must be understood is unknown")                      \
    X(NO_CERTIFICATE, 0x05, "a client certificate is required")                                    \
    X(KEY_TYPE, 0x06, "the certificate's key is not Ed25519")                                      \
    X(CERTIFICATE, 0x07, "the certificate is not valid")                                           \
    X(PIN, 0x08, "the key is not the one that was dialled")                                        \
    X(DENIED, 0x09, "the key is on the deny list")                                                 \
    X(NOT_ALLOWED, 0x0a, "the key is not on the allow list")                                       \
    X(BUSY, 0x0b, "the node has no free connection")                                               \
    X(REPLACED, 0x0c, "another connection to the same peer is used instead")                       \
    X(SELF, 0x0d, "the node reached itself")                                                       \
    X(TIMEOUT, 0x0e, "no Hello within the time allowed")                                           \
    X(MODE, 0x0f, "the node's mode does not accept connections")                                   \
    X(INTERNAL, 0x10, "internal error")                                                            \
    X(RESTING, 0x11, "nothing was said for a while")

enum tbi_close_code {
#define TBI_CLOSE_ENUM(name, code, text) TBI_CLOSE_##name = code,
    TBI_CLOSE_MAP(TBI_CLOSE_ENUM)
#undef TBI_CLOSE_ENUM
};

/* The text for a close code; "unknown close code" for others. */
const char *tbi_close_text(uint64_t code);

/* X(NAME, code, text): why a message was declined. */
#define TBI_DECLINE_MAP(X)                                                                         \
    X(SKIPPED, 0x00, "given up as the sender asked")                                               \
    X(TOO_LARGE, 0x01, "larger than the receiver accepts")                                         \
    X(UNKNOWN_KIND, 0x02, "of a kind that the receiver does not know")                             \
    X(MALFORMED, 0x03, "malformed")                                                                \
    X(REFUSED, 0x04, "refused by the receiving application")                                       \
    X(NOT_SERVED, 0x05, "nobody there answers such a message")                                     \
    X(NO_BODY, 0x06, "part of a body that the receiver does not know")                             \
    X(FULL, 0x07, "the receiver has too many of these already")

enum tbi_decline_code {
#define TBI_DECLINE_ENUM(name, code, text) TBI_DECLINE_##name = code,
    TBI_DECLINE_MAP(TBI_DECLINE_ENUM)
#undef TBI_DECLINE_ENUM
};
const char *tbi_decline_text(uint64_t code);

/* MESSAGE flags; others must be zero. */
#define TBI_MESSAGE_REPEAT 0x01U    /* may have been taken before the receiver restarted */
#define TBI_MESSAGE_SKIPPABLE 0x02U /* who does not know the kind takes it silently */

#endif
