/* tbquic/message.h - messages: the nine kinds of the source document, and one for bodies.
 *
 * PING, PONG, DISCOVER, ANNOUNCE and PEER_LIST are the network's own talk; TRANSITION,
 * RESOURCE_REQUEST and RESOURCE_RESPONSE carry the application's bytes; ERROR is a named failure.
 */
#ifndef TBQUIC_MESSAGE_H
#define TBQUIC_MESSAGE_H

#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tbq_kind {
    TBQ_PING = 1,
    TBQ_PONG = 2,
    TBQ_DISCOVER = 3,
    TBQ_ANNOUNCE = 4,
    TBQ_PEER_LIST = 5,
    TBQ_TRANSITION = 6,
    TBQ_RESOURCE_REQUEST = 7,
    TBQ_RESOURCE_RESPONSE = 8,
    TBQ_ERROR = 9,
    TBQ_BODY = 10 /* a part of a body, which tbq_send_body() sends: see body.h */
} tbq_kind;

/* Lower-case name, such as "transition"; "unknown" for other numbers. Static memory. */
TBQ_API const char *tbq_kind_name(int kind);

/* How a request was answered. */
typedef enum tbq_response_status {
    TBQ_RESPONSE_OK = 0,        /* the bytes are the resource */
    TBQ_RESPONSE_NOT_FOUND = 1, /* otherwise they are a text for people */
    TBQ_RESPONSE_REFUSED = 2,
    TBQ_RESPONSE_FAILED = 3
} tbq_response_status;

/* A message to send, or one that arrived. Which member of the union counts is told by `kind`.
 * When sending, all bytes are copied by the call, unless they are sent by_reference; in an event
 * they are the library's, valid until the event is released.
 *
 * tbq_send() takes all but PONG, PEER_LIST and BODY, which the library sends by itself
 * (TBQ_ERR_UNSUPPORTED). DISCOVER, ANNOUNCE and PEER_LIST that arrive are the library's matter too:
 * what is new in them comes as PEER events. */
typedef struct tbq_message {
    tbq_kind kind;
    union {
        struct {               /* PING: nothing to set. PONG in an event: */
            uint64_t rtt_ns;   /* round trip, from the send of the PING to this PONG */
            uint64_t wall_ms;  /* the peer's clock, ms since 1970 */
            int64_t offset_ms; /* the peer's clock less ours, half the round trip taken off */
        } pong;
        uint64_t discover_capabilities; /* DISCOVER: of peers that have all of these TBQ_CAN_... */
        /* ANNOUNCE: nothing to set, the own record is sent. */
        tbq_bytes transition; /* TRANSITION: a serialized transition message */
        struct {
            tbq_request_id id;   /* 0 to send: the library picks one (see tbq_request()) */
            uint64_t timeout_ms; /* how long the requester waits; 0: not told */
            tbq_bytes bytes;
        } request; /* RESOURCE_REQUEST */
        struct {
            tbq_request_id id; /* of the request that it answers */
            tbq_response_status status;
            tbq_bytes bytes;
        } response; /* RESOURCE_RESPONSE */
        struct {
            int code;       /* a TBQ_ERR_* */
            tbq_bytes text; /* UTF-8 for people; at most 256 bytes are sent */
        } error;            /* ERROR */
    } u;
} tbq_message;

/* Shorthands that fill a message; the bytes are not copied here. */
TBQ_API tbq_message tbq_ping(void);
TBQ_API tbq_message tbq_transition(const void *data, size_t size);

#ifdef __cplusplus
}
#endif
#endif
