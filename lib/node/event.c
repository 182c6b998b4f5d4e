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
}

struct tbi_event *tbi_event_new(struct tbi_events *q, struct tbi_node *node, tbq_event_type type)
{
    struct tbi_event *e = tbi_calloc(q->alloc, 1, sizeof *e);
    if (e != NULL) {
        tbi_list_init(&e->entry);
        e->alloc = q->alloc;
        e->node = node;
        e->pub.type = type;
        e->pub.text = e->text;
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
    tbi_text(e->text, sizeof e->text, "%s", text != NULL ? text : "");
}

void tbi_event_set_address(struct tbi_event *e, const struct tbi_addr *addr)
{
    tbi_addr_to_text(addr, e->address);
    e->pub.address = e->address;
}

void tbi_events_push(struct tbi_events *q, struct tbi_event *e)
{
    tbi_list_push(&q->waiting, &e->entry);
    q->news = true;
}

static bool is_notice(tbq_event_type type)
{
    return type == TBQ_EVENT_CONNECTED || type == TBQ_EVENT_DISCONNECTED ||
           type == TBQ_EVENT_WARNING || type == TBQ_EVENT_LOG || type == TBQ_EVENT_PEER;
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
    tbi_free(e->alloc, e);
}
