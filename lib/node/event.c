/* node/event.c - see event.h. */
#include "node/event.h"

#include <string.h>

#include "base/log.h"

void tbi_events_init(struct tbi_events *q, const struct tbi_alloc *a)
{
    memset(q, 0, sizeof *q);
    q->alloc = a;
    tbi_list_init(&q->waiting);
    tbi_list_init(&q->held);
    tbi_list_init(&q->handed_out);
    tbi_list_init(&q->reserved);
}

static bool has_words(tbq_event_type type)
{
    switch (type) {
    case TBQ_EVENT_CONNECTED:
    case TBQ_EVENT_DISCONNECTED:
    case TBQ_EVENT_CONNECT_FAILED:
    case TBQ_EVENT_WARNING:
    case TBQ_EVENT_LOG:
    case TBQ_EVENT_PEER:
    case TBQ_EVENT_TRUST:
    case TBQ_EVENT_PATH:
    case TBQ_EVENT_RESTING:
        return true;
    case TBQ_EVENT_MESSAGE:
    case TBQ_EVENT_REQUEST:
    case TBQ_EVENT_RESPONSE:
    case TBQ_EVENT_FATE:
    case TBQ_EVENT_WRITABLE:
    case TBQ_EVENT_STOPPED:
    case TBQ_EVENT_BROADCAST:
    case TBQ_EVENT_DATAGRAM:
    case TBQ_EVENT_BODY:
    case TBQ_EVENT_BODY_END:
    case TBQ_EVENT_RELEASED:
        return false;
    }
    return false;
}

struct whole {
    struct tbi_event event;
    struct tbi_event_words words;
};

struct tbi_event *tbi_event_new(struct tbi_events *q, struct tbi_node *node, tbq_event_type type)
{
    bool words = has_words(type);
    size_t size = words ? sizeof(struct whole) : sizeof(struct tbi_event);
    struct tbi_event *e = tbi_piece_new(q->alloc, size);

    if (e != NULL) {
        e = tbi_event_in(e, size, q, node, type);
    }
    if (e != NULL && words) {
        e->words = &((struct whole *)(void *)e)->words;
        memset(e->words, 0, sizeof *e->words);
    }
    return e;
}

struct tbi_event *tbi_event_in(void *room, size_t piece, struct tbi_events *q,
                               struct tbi_node *node, tbq_event_type type)
{
    struct tbi_event *e = room;

    *e = (struct tbi_event){.alloc = q->alloc,
                            .node = node,
                            .piece = (uint32_t)piece,
                            .pub = {.type = type, .text = ""}};
    tbi_list_init(&e->entry);
    return e;
}

struct tbi_event *tbi_events_reserve(struct tbi_events *q, struct tbi_node *node,
                                     tbq_event_type type)
{
    struct tbi_event *e = tbi_event_new(q, node, type);
    if (e != NULL) {
        tbi_list_push(&q->reserved, &e->entry);
    }
    return e;
}

void tbi_event_set_peer(struct tbi_event *e, const tbq_peer_id *id)
{
    if (id != NULL) {
        e->peer = *id;
        e->pub.peer = &e->peer;
    }
}

void tbi_event_set_text(struct tbi_event *e, const char *text)
{
    tbi_text(e->words->text, sizeof e->words->text, "%s", text != NULL ? text : "");
    tbi_text_tame(e->words->text);
    e->pub.text = e->words->text;
}

void tbi_event_set_address(struct tbi_event *e, const struct tbi_addr *addr)
{
    tbi_addr_to_text(addr, e->words->address);
    e->pub.address = e->words->address;
}

void tbi_events_push(struct tbi_events *q, struct tbi_event *e)
{
    q->fates -= e->pub.type == TBQ_EVENT_FATE;
    q->ended = q->ended || e->pub.type == TBQ_EVENT_STOPPED;
    tbi_list_remove(&e->entry); /* of those reserved */
    tbi_list_push(&q->waiting, &e->entry);
    q->news++;
    q->messages += e->delivery != NULL;
}

static bool is_notice(tbq_event_type type)
{
    return type == TBQ_EVENT_CONNECTED || type == TBQ_EVENT_DISCONNECTED ||
           type == TBQ_EVENT_WARNING || type == TBQ_EVENT_LOG || type == TBQ_EVENT_PEER ||
           type == TBQ_EVENT_PATH || type == TBQ_EVENT_RESTING;
}

void tbi_events_push_notice(struct tbi_events *q, struct tbi_event *e)
{
    if (q->notices >= TBI_NOTICES_MAX) {
        q->notices_lost++;
        tbi_event_free(e);
        return;
    }
    q->notices++;
    tbi_events_push(q, e);
}

struct tbi_event *tbi_events_hand_out(struct tbi_events *q)
{
    struct tbi_list *entry = tbi_list_shift(&q->waiting);
    if (entry == NULL) {
        return NULL;
    }
    struct tbi_event *e = TBI_CONTAINER(entry, struct tbi_event, entry);
    tbi_prefetch(TBI_CONTAINER(q->waiting.next, struct tbi_event, entry), sizeof *e);
    if (is_notice(e->pub.type)) {
        q->notices--;
    }
    tbi_list_push(&q->handed_out, entry);
    return e;
}

void tbi_event_free(struct tbi_event *e)
{
    if (e == NULL) {
        return;
    }
    tbi_list_remove(&e->entry);
    tbi_block_unref(e->body);
    if (e->piece > 0) {
        tbi_piece_free(e->alloc, e, e->piece);
    }
}
