/* node/event.h - what the application has not pulled, or not released, yet.
 *
 * Four lists hold every event that exists: reserved for an outcome that is still open, waiting,
 * held back (of a paused lane) and handed out. Messages are bounded by the links' receive windows,
 * fates by the outboxes' slots; only notices (connected, log lines, ...) have a limit of their own,
 * and are counted when it drops them. */
#ifndef TBI_NODE_EVENT_H
#define TBI_NODE_EVENT_H

#include <tbquic/event.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/block.h"
#include "base/list.h"

#define TBI_NOTICES_MAX 16384 /* notices that wait, then new ones are dropped */
#define TBI_EVENT_TEXT_SIZE 320

/* What some types of event have to say besides: kept behind the event, in the same piece. */
struct tbi_event_words {
    char text[TBI_EVENT_TEXT_SIZE];
    char address[TBQ_URI_SIZE];
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    uint64_t session; /* of a TRUST event: the number of its QUIC connection */
};

struct tbi_delivery;
struct tbi_node;
struct tbi_event {
    tbq_event pub; /* what the application sees; first, so that a tbq_event * leads back */
    struct tbi_list entry;
    const struct tbi_alloc *alloc;
    struct tbi_node *node;
    tbq_peer_id peer;
    uint32_t piece; /* bytes of the memory that it has; 0: it lies in its delivery's */
    bool lent;      /* to a callback, which cannot end it */
    union {         /* what pub.message or pub.part leads to */
        tbq_message message;
        tbq_body_part part;
    };
    struct tbi_event_words *words; /* NULL for MESSAGE, REQUEST, RESPONSE, FATE and the like */
    struct tbi_block *body;        /* what message.u points into; a reference of its own */
    struct tbi_delivery *delivery; /* owed to its link: a take or a refusal; NULL: nothing */
};

struct tbi_events {
    const struct tbi_alloc *alloc;
    struct tbi_list waiting;
    struct tbi_list held;
    struct tbi_list handed_out;
    struct tbi_list reserved; /* promised: outcomes that must be told, also without memory */
    size_t fates;             /* that are owed for what the application has sent */
    size_t notices;           /* that wait */
    uint64_t notices_lost;
    size_t news;     /* so many were queued since the application asked last */
    size_t messages; /* and so many messages since there was none left */
    bool ended;      /* STOPPED was queued, behind which nothing comes */
};

void tbi_events_init(struct tbi_events *q, const struct tbi_alloc *a);

/* A new event, in no list yet; NULL when out of memory. */
struct tbi_event *tbi_event_new(struct tbi_events *q, struct tbi_node *node, tbq_event_type type);
/* The same in memory that is there already, not cleared; `piece` bytes of it, which go with the
 * event; 0: they go with its delivery. */
struct tbi_event *tbi_event_in(void *room, size_t piece, struct tbi_events *q,
                               struct tbi_node *node, tbq_event_type type);
void tbi_event_set_peer(struct tbi_event *e, const tbq_peer_id *id); /* NULL: none */
/* Copies; for types that have words. Others point to static text themselves. */
void tbi_event_set_text(struct tbi_event *e, const char *text);
void tbi_event_set_address(struct tbi_event *e, const struct tbi_addr *addr);

/* A new event in the list of those reserved; NULL when out of memory. */
struct tbi_event *tbi_events_reserve(struct tbi_events *q, struct tbi_node *node,
                                     tbq_event_type type);

/* Queues an event that is bounded elsewhere, new or reserved. A FATE is one that was owed. */
void tbi_events_push(struct tbi_events *q, struct tbi_event *e);

/* Queues a notice, or drops it and counts when too many wait. */
void tbi_events_push_notice(struct tbi_events *q, struct tbi_event *e);

/* The oldest waiting event, which is now handed out; NULL when there is none. */
struct tbi_event *tbi_events_hand_out(struct tbi_events *q);

/* Takes it out of its list and frees it; the delivery is the caller's concern, and with it the
 * memory of an event that lies there. */
void tbi_event_free(struct tbi_event *e);

#endif
