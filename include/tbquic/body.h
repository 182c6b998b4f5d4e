/* tbquic/body.h - bodies: bytes of any length to one peer, in little memory on both sides.
 *
 * A message is sent and received whole; a body goes in parts. Its sender gives a function that the
 * library reads from when there is room, and is told one fate, as for a message. Its receiver gets
 * a BODY event for each part, in order and without gaps, and releases it when the part is stored.
 * Who does not release slows the sender down. Lost connections change nothing: the body goes on
 * where it was.
 *
 * Delivered means that the last part was taken, and so every other. What ends a body before is told
 * to both: the sender by its fate, the receiver by a BODY_END event. A body does not outlive one of
 * the two processes: when the receiver restarts, the body is not delivered, or unknown where its
 * last part was on its way already (TBQ_ERR_RESTARTED), and may be sent again from the beginning.
 */
#ifndef TBQUIC_BODY_H
#define TBQUIC_BODY_H

#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tbq_server;

/* Names a body of one server, sent or received; never 0, never reused while the server lives. */
typedef uint64_t tbq_body;

#define TBQ_LENGTH_UNKNOWN UINT64_MAX                 /* the body ends where reading ends */
#define TBQ_BODY_LENGTH_MAX ((UINT64_C(1) << 62) - 2) /* bytes */
#define TBQ_BODIES_MAX 256 /* that a server sends at once, to all peers */

/* --- Receiving -------------------------------------------------------------------------------- */

/* A part that arrived (TBQ_EVENT_BODY). The library's memory, until the event is released. The
 * first part of a body has offset 0, each other begins where the one before it has ended. Where the
 * length is known, no part goes beyond it, and the last one reaches it. It is a claim until then:
 * make no room for it in advance that you would not give to anybody. */
typedef struct tbq_body_part {
    uint64_t offset; /* bytes of the body before this part */
    uint64_t length; /* of the whole body, bytes, or TBQ_LENGTH_UNKNOWN; the same in each part */
    tbq_bytes bytes; /* of the part; none only in a last part */
    bool last;       /* the body ends with this part: releasing it tells "delivered" */
} tbq_body_part;

/* --- Sending ---------------------------------------------------------------------------------- */

/* Where a body's bytes come from. Writes up to `size` bytes to `buffer` and returns how many, 0 at
 * the end, or a negative TBQ_ERR_*: TBQ_ERR_AGAIN when there are none now, then it is not asked
 * again before tbq_body_ready(), called later; any other ends the body, not delivered, with that
 * reason. Never asked beyond the length, where it was told. The more bytes at once, the better: up
 * to 60 KiB.
 *
 * Called from within tbq_server_process() only, never after the body's FATE event was queued, and
 * may call what a callback may (see actor.h). */
typedef int64_t (*tbq_read_fn)(void *user, void *buffer, size_t size);

typedef struct tbq_body_options {
    size_t size;   /* set by tbq_body_options_init() */
    uint64_t tag;  /* comes back with the fate; default 0 */
    tbq_lane lane; /* default TBQ_LANE_LOW: what is sent in other lanes overtakes it */
} tbq_body_options;

#define tbq_body_options_init(options)                                                             \
    tbq_body_options_init_sized((options), sizeof(tbq_body_options))
TBQ_API void tbq_body_options_init_sized(tbq_body_options *options, size_t size);

/* Sends a body of `length` bytes, or TBQ_LENGTH_UNKNOWN, to a peer: connected, lost a moment ago,
 * or pinned by a bootstrap address or a dial. It reads `user` through `read` as there is room for
 * it: half of the peer's outbox at most is filled with bodies, and no more than 64 parts of one are
 * on their way. Bodies to one peer take turns, 16 at once; others wait for theirs. options may be
 * NULL. *body names it until its fate is told; may be NULL. On success a FATE event follows,
 * exactly one.
 *
 * Reasons of a fate, besides those of a message: what `read` returned; TBQ_ERR_INVALID (it returned
 * more than it was asked for, or its end before the length); TBQ_ERR_UNSUPPORTED (the receiver
 * takes no bodies); TBQ_ERR_LIMIT (the receiver has too many open); TBQ_ERR_RESTARTED.
 *
 * Returns 0; TBQ_ERR_NO_ROUTE; TBQ_ERR_LIMIT (TBQ_BODIES_MAX have no fate yet); TBQ_ERR_CLOSED
 * (stopping); TBQ_ERR_TOO_LARGE (the length); TBQ_ERR_INVALID; TBQ_ERR_NOMEM. */
TBQ_API int tbq_send_body(struct tbq_server *server, const tbq_peer_id *peer, tbq_read_fn read,
                          void *user, uint64_t length, const tbq_body_options *options,
                          tbq_body *body);

/* There is something to read again, after TBQ_ERR_AGAIN. Returns 0; TBQ_ERR_CLOSED: no such body,
 * or its fate was told. */
TBQ_API int tbq_body_ready(struct tbq_server *server, tbq_body body);

/* Gives the body up: its fate is "not delivered", TBQ_ERR_STOPPED, and its receiver is told.
 * Returns 0; TBQ_ERR_CLOSED: no such body, its fate was told, or all of it is on its way already,
 * so that only the receiver can tell its fate. */
TBQ_API int tbq_body_cancel(struct tbq_server *server, tbq_body body);

typedef struct tbq_body_progress {
    size_t size;     /* set by tbq_body_progress_init() */
    uint64_t length; /* bytes, or TBQ_LENGTH_UNKNOWN */
    uint64_t read;   /* bytes so far */
    uint64_t taken;  /* bytes that the receiving application has taken */
} tbq_body_progress;

#define tbq_body_progress_init(progress)                                                           \
    tbq_body_progress_init_sized((progress), sizeof(tbq_body_progress))
TBQ_API void tbq_body_progress_init_sized(tbq_body_progress *progress, size_t size);

/* How far a body has come that is sent; fills in no more than progress->size bytes. Returns 0,
 * TBQ_ERR_CLOSED (no such body, or its fate was told) or TBQ_ERR_INVALID. */
TBQ_API int tbq_server_body_progress(struct tbq_server *server, tbq_body body,
                                     tbq_body_progress *progress);

#ifdef __cplusplus
}
#endif
#endif
