/* wire/kind.h - the ten kinds of message: their bodies as bytes and back.
 *
 * Payload kinds (TRANSITION, RESOURCE_REQUEST, RESOURCE_RESPONSE, BODY) carry the application's
 * bytes at the end of the body; the encoders write what stands before them, the caller adds the
 * bytes by reference. The other kinds end in fields that may grow, as in HELLO; so far only PING
 * and PONG have some. Times are milliseconds since 1970. Decoders return 0, TBQ_ERR_MALFORMED or
 * TBQ_ERR_UNSUPPORTED. */
#ifndef TBI_WIRE_KIND_H
#define TBI_WIRE_KIND_H

#include <tbquic/body.h>
#include <tbquic/message.h>

#include "wire/record.h"
#include "wire/wire.h"

#define TBI_PEER_LIST_MAX 64 /* records in one PEER_LIST */

/* How busy and how strong the sender says it is. */
struct tbi_load {
    bool told;         /* `load` counts */
    uint16_t load;     /* permille of its capacity in use; may be above 1000 */
    uint16_t capacity; /* relative to others', 1..65535; 0: not told */
};

struct tbi_ping {
    uint64_t id;      /* the sender's own, comes back in the PONG */
    uint64_t wall_ms; /* the sender's clock */
    struct tbi_load load;
};

struct tbi_pong {
    uint64_t id;
    uint64_t echo_wall_ms; /* as in the PING */
    uint64_t wall_ms;      /* the answering side's clock */
    struct tbi_load load;
};

struct tbi_discover {
    uint64_t max;          /* records wanted, 1..TBI_PEER_LIST_MAX (clamped) */
    uint64_t capabilities; /* only peers that have all of these bits; 0: any */
};

struct tbi_announce {
    const uint8_t *record; /* one signed record */
    size_t record_size;
};

struct tbi_peer_list {
    size_t len;
    struct {
        const uint8_t *record;
        size_t size;
    } at[TBI_PEER_LIST_MAX];
};

struct tbi_resource_request {
    uint64_t id;         /* the requester's own; joins the response to it */
    uint64_t timeout_ms; /* how long the requester waits; 0: not told; clamped */
    const uint8_t *data;
    size_t size;
};

struct tbi_resource_response {
    uint64_t id;
    uint64_t status; /* 0: here are the bytes; else enum tbq_response_status, and the bytes are a
                        text; unknown ones are read as TBQ_RESPONSE_FAILED */
    const uint8_t *data;
    size_t size;
};

enum tbi_body_what {
    TBI_BODY_MORE = 0,
    TBI_BODY_LAST = 1,
    TBI_BODY_GIVEN_UP = 2 /* by its sender; has no bytes */
};

struct tbi_body_part {
    uint64_t id;     /* the sender's own, never 0; joins the parts of one body */
    uint64_t what;   /* enum tbi_body_what */
    uint64_t offset; /* at most TBQ_BODY_LENGTH_MAX, and so is offset + size */
    uint64_t length; /* of the whole body, or TBQ_LENGTH_UNKNOWN */
    const uint8_t *data;
    size_t size;
};

struct tbi_error_body { /* not tbi_error: tbi_put_error() is the writer's */
    uint64_t code;      /* a TBQ_ERR_* without its sign, at most INT32_MAX */
    uint64_t lane;      /* of the message that it answers, with `number`; both 0 and */
    uint64_t number;    /* has_subject false when it answers none */
    bool has_subject;
    const uint8_t *text; /* UTF-8, at most TBI_ERROR_TEXT_MAX bytes; not terminated */
    size_t text_size;
};

#define TBI_KIND_PROTOTYPES(body)                                                                  \
    void tbi_put_##body(struct tbi_writer *w, const struct tbi_##body *m);                         \
    int tbi_get_##body(struct tbi_cursor c, struct tbi_##body *m);
TBI_KIND_PROTOTYPES(ping)
TBI_KIND_PROTOTYPES(pong)
TBI_KIND_PROTOTYPES(discover)
TBI_KIND_PROTOTYPES(announce)
TBI_KIND_PROTOTYPES(peer_list)
TBI_KIND_PROTOTYPES(resource_request)  /* put: without data */
TBI_KIND_PROTOTYPES(resource_response) /* put: without data */
TBI_KIND_PROTOTYPES(error_body)
TBI_KIND_PROTOTYPES(body_part) /* put: without data */
#undef TBI_KIND_PROTOTYPES
/* TRANSITION has no fields: its body is the application's bytes. */

#endif
