/* tbquic/event.h - what a server has to tell: pulled one by one with tbq_server_next_event(). */
#ifndef TBQUIC_EVENT_H
#define TBQUIC_EVENT_H

#include <tbquic/body.h>
#include <tbquic/message.h>
#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tbq_event_type {
    TBQ_EVENT_CONNECTED = 1,      /* peer, connection, address, dialled: both sides have agreed */
    TBQ_EVENT_DISCONNECTED = 2,   /* peer, connection, reason, text */
    TBQ_EVENT_CONNECT_FAILED = 3, /* connection, address, reason, text: a dial came to nothing */
    TBQ_EVENT_MESSAGE = 4,        /* peer, lane, repeat, message: PONG, TRANSITION, ERROR */
    TBQ_EVENT_REQUEST = 5,    /* peer, request, message: answer with tbq_respond(), now or later */
    TBQ_EVENT_RESPONSE = 6,   /* peer, request, message: the answer to an own request */
    TBQ_EVENT_FATE = 7,       /* peer, tag, fate, reason, text: exactly one for each tbq_send();
                                 of a tbq_send_body(), body too */
    TBQ_EVENT_WRITABLE = 8,   /* peer: after TBQ_ERR_AGAIN, sends are taken again */
    TBQ_EVENT_WARNING = 9,    /* peer or none, text: something a person should look at */
    TBQ_EVENT_LOG = 10,       /* level, text */
    TBQ_EVENT_STOPPED = 11,   /* the last event: all fates were told, all connections closed */
    TBQ_EVENT_PEER = 12,      /* peer, address or none: a peer that was not known was heard of */
    TBQ_EVENT_BROADCAST = 13, /* tag, counts: after the last FATE of a tbq_broadcast() */
    TBQ_EVENT_TRUST = 14,     /* peer, public_key, address, dialled: asked where ask_trust is set;
                                 answer with tbq_event_accept(), else the peer is refused */
    TBQ_EVENT_PATH = 15,      /* peer, connection, address, dialled: the connection goes on over
                                 another path: the peer's address, or this machine's, is another. Told
                                 when that path has answered; nothing is lost */
    TBQ_EVENT_RESTING = 16,   /* peer, connection, address, text: nothing was said for link_idle_ms,
                                 and the connection was closed. Its number stays good: the next send
                                 dials again, and CONNECTED follows, or, where that fails for
                                 peer_timeout_ms, DISCONNECTED. Nothing is lost */
    TBQ_EVENT_DATAGRAM = 17, /* peer, connection, datagram: of tbq_send_datagram(). Release it soon:
                               where 256 of a peer wait, or as many as there are places left of
                               4,096 for all peers, what arrives from it is dropped */
    TBQ_EVENT_BODY = 18,     /* peer, lane, repeat, body, part: one for each part, in order, where
                                take_bodies is set; take or refuse it as a MESSAGE: who refuses one
                                refuses the body, and gets no more of it */
    TBQ_EVENT_BODY_END = 19, /* peer, body, reason, text: no more parts come, and the body is not
                                whole. Told where a part was told before, and none was refused */
    TBQ_EVENT_RELEASED = 20  /* tag: the bytes that were sent by_reference with it are the
                                application's again. Once for each such send, mostly beside its FATE,
                                perhaps before, perhaps after: a connection that has them still may
                                be slower than the one that delivered them */
} tbq_event_type;

typedef enum tbq_fate {
    TBQ_DELIVERED = 1,     /* the receiving application took it */
    TBQ_NOT_DELIVERED = 2, /* it did not and never will; `reason` says why */
    TBQ_UNKNOWN = 3        /* sent, and the receiver never answered again */
} tbq_fate;

/* The fates of a broadcast, by their number. */
typedef struct tbq_counts {
    size_t delivered;
    size_t not_delivered;
    size_t unknown;
} tbq_counts;

/* Which members count is told beside each type above; the others are zero. Everything that a
 * pointer leads to is the library's, and valid until tbq_event_release(), in any order. */
typedef struct tbq_event {
    tbq_event_type type;
    const tbq_peer_id *peer; /* NULL where it is not known */
    tbq_connection connection;
    const char *address; /* of the peer, "192.0.2.1:8443" */
    bool dialled;        /* by us */
    int reason;          /* 0 or a TBQ_ERR_* */
    const char *text;    /* for people; never NULL */
    tbq_lane lane;
    bool repeat; /* the peer may have had it taken before a restart */
    const tbq_message *message;
    tbq_request_id request;
    uint64_t tag; /* as given to the send */
    tbq_fate fate;
    tbq_log_level level;
    tbq_counts counts;
    const uint8_t *public_key; /* TBQ_PUBLIC_KEY_SIZE bytes */
    tbq_bytes datagram;
    tbq_body body;
    const tbq_body_part *part;
} tbq_event;

#ifdef __cplusplus
}
#endif
#endif
