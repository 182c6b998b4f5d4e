/* node/request.c - requests and their answers. Both are numbered messages of a lane, joined by the
 * requester's id, so they survive their connection. */
#include <string.h>

#include "node/parts.h"

void tbi_request_free(struct tbi_request *r, struct tbi_map *from)
{
    struct tbi_node *node = r->node;
    if (r->bond != NULL) {
        r->bond->owed--;
    }
    tbi_map_remove(from, &r->id);
    tbi_timer_unregister(&node->timers, &r->timer);
    tbi_free(node->alloc, r);
}

static struct tbi_request *request_new(struct tbi_node *node, struct tbi_map *in)
{
    struct tbi_request *r = tbi_calloc(node->alloc, 1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->node = node;
    r->id = node->next_number++;
    if (tbi_timer_register(&node->timers, &r->timer, r, TBI_TIMER_REQUEST) < 0) {
        tbi_free(node->alloc, r);
        return NULL;
    }
    if (tbi_map_put(in, &r->id, r) < 0) {
        tbi_timer_unregister(&node->timers, &r->timer);
        tbi_free(node->alloc, r);
        return NULL;
    }
    return r;
}

struct tbi_request *tbi_request_owed(struct tbi_bond *b, uint64_t their_id, uint64_t timeout_ms)
{
    /* Never more than it leaves free: no crowd takes all places from the next one. */
    size_t left = TBI_OWED_MAX - tbi_map_count(&b->node->owed);
    struct tbi_request *r = NULL;

    if (b->owed < TBI_REQUESTS_MAX && b->owed < left) {
        r = request_new(b->node, &b->node->owed);
    }
    if (r != NULL) {
        if (timeout_ms > 0 && timeout_ms <= UINT32_MAX) { /* 0: not told */
            tbi_timer_set(&b->node->timers, &r->timer,
                          b->node->now.mono_ns + timeout_ms * TBI_NS_PER_MS);
        }
        r->their_id = their_id;
        r->peer = b->peer->id;
        r->bond = b;
        b->owed++;
    } else {
        b->node->requests_refused++;
    }
    return r;
}

void tbi_requests_forget(struct tbi_node *node, struct tbi_bond *b)
{
    struct tbi_map_entry *next;
    for (struct tbi_map_entry *e = tbi_map_first(&node->owed); e != NULL && b->owed > 0; e = next) {
        struct tbi_request *r = tbi_map_value(e);
        next = tbi_map_next(e);
        if (r->bond == b) {
            tbi_request_free(r, &node->owed);
        }
    }
}

int tbi_node_request(struct tbi_node *node, struct tbi_now now, const tbq_peer_id *peer,
                     tbq_bytes bytes, uint32_t timeout_ms, const tbq_send_options *options,
                     tbq_request_id *request)
{
    node->now = now;
    if (tbi_map_count(&node->asked) >= TBI_REQUESTS_MAX) {
        return TBQ_ERR_LIMIT;
    }
    struct tbi_request *r = request_new(node, &node->asked);
    if (r == NULL) {
        return TBQ_ERR_NOMEM;
    }
    if (timeout_ms == 0) {
        timeout_ms = TBI_REQUEST_TIMEOUT_MS;
    }
    r->peer = *peer;
    tbq_message m = {.kind = TBQ_RESOURCE_REQUEST};
    m.u.request.id = r->id;
    m.u.request.timeout_ms = timeout_ms;
    m.u.request.bytes = bytes;
    int rv = tbi_node_send_to(node, now, peer, &m, options);
    if (rv < 0) {
        tbi_request_free(r, &node->asked);
        return rv;
    }
    tbi_timer_set(&node->timers, &r->timer, now.mono_ns + timeout_ms * TBI_NS_PER_MS);
    *request = r->id;
    return 0;
}

void tbi_request_timer(struct tbi_request *r)
{
    struct tbi_node *node = r->node;

    if (r->bond != NULL) { /* a peer's: it waits no more, and its place is needed */
        tbi_request_free(r, &node->owed);
        return;
    }
    struct tbi_event *e = tbi_event_new(&node->events, node, TBQ_EVENT_RESPONSE);
    if (e == NULL) { /* out of memory: every request has its RESPONSE, if later */
        tbi_timer_set(&node->timers, &r->timer, node->now.mono_ns + TBI_NS_PER_S);
        return;
    }
    tbi_event_set_peer(e, &r->peer);
    e->pub.request = r->id;
    e->pub.reason = TBQ_ERR_TIMEOUT;
    e->pub.text = "no answer in time";
    e->pub.message = &e->message;
    e->message.kind = TBQ_RESOURCE_RESPONSE;
    e->message.u.response.id = r->id;
    e->message.u.response.status = TBQ_RESPONSE_FAILED;
    tbi_events_push(&node->events, e);
    tbi_request_free(r, &node->asked);
}

int tbi_node_cancel(struct tbi_node *node, tbq_request_id request)
{
    struct tbi_request *r = tbi_map_get(&node->asked, &request);

    if (r == NULL) {
        return TBQ_ERR_CLOSED;
    }
    tbi_request_free(r, &node->asked);
    return 0;
}

int tbi_node_respond(struct tbi_node *node, struct tbi_now now, tbq_request_id request,
                     const tbq_answer *answer)
{
    uint8_t head[64];
    struct tbi_writer w;
    struct tbi_request *r = tbi_map_get(&node->owed, &request);

    node->now = now;
    if (r == NULL) {
        return TBQ_ERR_CLOSED;
    }
    if (answer->bytes.data == NULL && answer->bytes.size > 0) {
        return TBQ_ERR_INVALID;
    }
    if (answer->bytes.size > node->cfg.settings.max_message_size) {
        return TBQ_ERR_TOO_LARGE;
    }
    struct tbi_resource_response m = {.id = r->their_id, .status = answer->status};
    tbi_put_init(&w, head, sizeof head);
    tbi_put_resource_response(&w, &m);
    if (tbi_put_error(&w) < 0) {
        return TBQ_ERR_INVALID;
    }
    struct tbi_block *body =
        tbi_block_behind(node->alloc, TBI_LINK_FRONT, answer->bytes.data, answer->bytes.size);
    if (body == NULL) {
        return TBQ_ERR_NOMEM;
    }
    struct tbi_outgoing out = {.kind = TBQ_RESOURCE_RESPONSE,
                               .head = head,
                               .head_size = tbi_put_size(&w),
                               .payload = body,
                               .lane = TBQ_LANE_NORMAL,
                               .want_fate = true,
                               .mark = TBI_FATE_UNTOLD}; /* a stop waits for it all the same */
    struct tbi_bond *b = r->bond;
    int rv = tbi_bond_send(b, &out);
    tbi_block_unref(body);
    node->events.fates += rv == 0;
    if (rv == TBQ_ERR_AGAIN) {
        rv = tbi_bond_full(b);
    }
    if (rv == 0) {
        tbi_request_free(r, &node->owed);
        tbi_bond_said(b);
    }
    return rv;
}
