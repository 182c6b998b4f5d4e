/* node/body_out.c - bodies on the sender's side: parts are read when there is room for them.
 *
 * A body is a row of ordered messages of one lane (docs/protocol.md, section 10), so the link
 * resumes it, keeps it in order, slows it down and tells the fate of each part; what is left to do
 * here is to read no more than the outbox has room for, and to make one fate of many.
 *
 * Reading calls the application back, and so happens in tbi_node_step() alone: everywhere else a
 * bond whose bodies could go on is only put down in the node's list of hungry ones. */
#include "node/parts.h"

/* Told, and nothing of it is left in the link: nothing leads here any more. */
static void maybe_free(struct tbi_body_out *o)
{
    if (o->fate == NULL && o->under_way == 0 && !o->owes_end) {
        o->bond->started -= o->started;
        tbi_list_remove(&o->entry);
        tbi_block_unref(o->held);
        tbi_free(o->node->alloc, o);
    }
}

static void tell(struct tbi_body_out *o, tbq_fate fate)
{
    struct tbi_event *e = o->fate;

    if (o->bond->peer != NULL) {
        tbi_event_set_peer(e, &o->bond->peer->id);
    }
    e->pub.fate = fate;
    e->pub.reason = fate == TBQ_DELIVERED ? 0 : o->reason;
    e->pub.text = fate == TBQ_DELIVERED ? "" : o->text;
    o->fate = NULL;
    tbi_map_remove(&o->node->bodies_out, &o->id); /* its place, whatever the receiver still holds */
    tbi_events_push(&o->node->events, e);
}

/* Tells the fate once it is known, and frees what nothing needs. Before its last part was handed to
 * the link nobody can have taken all of it; behind that the parts decide, when all have their fate.
 */
static void settle(struct tbi_body_out *o)
{
    if (o->fate != NULL && o->failed && !o->complete) {
        tell(o, TBQ_NOT_DELIVERED);
    } else if (o->fate != NULL && o->complete && o->under_way == 0) {
        tell(o, !o->failed ? TBQ_DELIVERED : o->missed ? TBQ_NOT_DELIVERED : TBQ_UNKNOWN);
    }
    maybe_free(o);
}

/* The receiver is told that no more comes, where it may wait for more: without room or memory it is
 * tried again when the link has moved on. */
static void send_end(struct tbi_body_out *o)
{
    uint8_t head[TBI_LINK_HEAD_MAX];
    struct tbi_writer w;
    struct tbi_body_part part = {
        .id = o->id, .what = TBI_BODY_GIVEN_UP, .offset = o->read, .length = o->length};
    struct tbi_outgoing out = {
        .kind = TBQ_BODY, .head = head, .lane = o->fate_lane, .skippable = true};

    tbi_put_init(&w, head, sizeof head);
    tbi_put_body_part(&w, &part);
    out.head_size = tbi_put_size(&w);
    int rv = tbi_bond_send(o->bond, &out);
    o->owes_end = rv == TBQ_ERR_AGAIN || rv == TBQ_ERR_NOMEM;
}

/* Ends it where it has not failed before; may free it. */
static void fail(struct tbi_body_out *o, int reason, const char *text, bool tell_peer)
{
    if (!o->failed) {
        o->failed = true;
        o->reason = reason;
        o->text = text;
        if (tell_peer && o->read > 0 && !o->complete) {
            send_end(o);
        }
    }
    o->owes_end = o->owes_end && tell_peer;
    settle(o);
}

void tbi_body_part_fate(const struct tbi_link_fate *f)
{
    struct tbi_body_out *o = (struct tbi_body_out *)(uintptr_t)f->cookie;

    o->under_way--;
    if (f->fate == TBQ_DELIVERED) {
        o->taken += f->tag;
        settle(o);
        return;
    }
    o->missed = o->missed || f->fate == TBQ_NOT_DELIVERED;
    fail(o, f->reason, f->declined ? tbi_decline_text(f->decline_code) : tbq_strerror(f->reason),
         true);
}

/* --- Reading ---------------------------------------------------------------------------------- */

static size_t part_size(const struct tbi_body_out *o)
{
    uint64_t size = tbi_link_peer_max(o->bond->link);
    uint64_t own = o->node->cfg.settings.max_message_size;

    size = own < size ? own : size;
    size = size > TBI_BODY_PART ? TBI_BODY_PART : size;
    return o->length - o->read < size ? (size_t)(o->length - o->read) : (size_t)size;
}

/* Whether something could be done for it, if the link has room. */
static bool wants(const struct tbi_body_out *o)
{
    return o->owes_end ||
           (!o->failed && !o->complete && !o->waits && o->under_way < TBI_BODY_PARTS &&
            (o->started || o->bond->started < TBI_BODIES_AT_ONCE));
}

static struct tbi_body_out *next_of(struct tbi_bond *b)
{
    TBI_LIST_FOREACH(it, &b->bodies_out)
    {
        struct tbi_body_out *o = TBI_CONTAINER(it, struct tbi_body_out, entry);
        if (wants(o) && tbi_link_spare(b->link, o->owes_end ? 0 : part_size(o))) {
            return o;
        }
    }
    return NULL;
}

void tbi_bodies_look(struct tbi_bond *b)
{
    tbi_list_remove(&b->hungry);
    if (next_of(b) != NULL) {
        tbi_list_push(&b->node->hungry, &b->hungry);
    }
}

/* Hands what was read to the link; `bytes` may be NULL: none. */
static void send_part(struct tbi_body_out *o, struct tbi_block *bytes, bool last)
{
    uint8_t head[TBI_LINK_HEAD_MAX];
    struct tbi_writer w;
    size_t size = bytes != NULL ? bytes->size : 0;
    struct tbi_body_part part = {.id = o->id,
                                 .what = last ? TBI_BODY_LAST : TBI_BODY_MORE,
                                 .offset = o->read,
                                 .length = o->length};
    struct tbi_outgoing out = {.kind = TBQ_BODY,
                               .head = head,
                               .payload = bytes,
                               .lane = o->fate_lane,
                               .tag = size,
                               .want_fate = true,
                               .mark = TBI_FATE_OF_PART,
                               .cookie = (uintptr_t)o};

    tbi_put_init(&w, head, sizeof head);
    tbi_put_body_part(&w, &part);
    out.head_size = tbi_put_size(&w);
    int rv = tbi_bond_send(o->bond, &out);
    if (rv == TBQ_ERR_AGAIN) { /* who was asked to read has filled the outbox itself */
        o->held = tbi_block_ref(bytes);
        o->held_last = last;
        return;
    }
    if (rv < 0) {
        fail(o, rv, tbq_strerror(rv), true);
        return;
    }
    o->under_way++;
    o->read += size;
    o->complete = last;
}

static void send_held(struct tbi_body_out *o)
{
    struct tbi_block *bytes = o->held;
    bool last = o->held_last;

    o->held = NULL;
    o->held_last = false;
    send_part(o, bytes, last);
    tbi_block_unref(bytes);
}

/* The application may do nearly anything meanwhile: what is held here is looked up again. */
static int64_t read_bytes(struct tbi_body_out **at, struct tbi_block *bytes, size_t size)
{
    struct tbi_body_out *o = *at;
    struct tbi_node *node = o->node;
    uint64_t id = o->id;

    int64_t got = o->source(o->user, bytes->data, size);
    o = tbi_map_get(&node->bodies_out, &id);
    *at = o != NULL && !o->failed ? o : NULL;
    if (o != NULL) {
        o->waits = got == TBQ_ERR_AGAIN;
    }
    return got;
}

static void read_part(struct tbi_body_out *o)
{
    size_t size = part_size(o);
    struct tbi_block *bytes = size > 0 ? tbi_block_new(o->node->alloc, size) : NULL;

    if (!o->started) {
        o->started = true;
        o->bond->started++;
    }
    if (size > 0 && bytes == NULL) {
        fail(o, TBQ_ERR_NOMEM, tbq_strerror(TBQ_ERR_NOMEM), true);
        return;
    }
    int64_t got = size > 0 ? read_bytes(&o, bytes, size) : 0; /* 0: a body of no bytes */
    if (o == NULL || got == TBQ_ERR_AGAIN) {
        tbi_block_unref(bytes);
        return;
    }
    bool known = o->length != TBQ_LENGTH_UNKNOWN;
    if (got > (int64_t)size || (got == 0 && known && o->read < o->length)) {
        fail(o, TBQ_ERR_INVALID, "what it is read from gave more or less than was said", true);
    } else if (got < 0) {
        int reason = got < INT32_MIN ? TBQ_ERR_INVALID : (int)got;
        fail(o, reason, tbq_strerror(reason), true);
    } else {
        if (bytes != NULL) {
            bytes->size = (size_t)got;
        }
        send_part(o, got > 0 ? bytes : NULL,
                  known ? o->read + (uint64_t)got == o->length : got == 0);
    }
    tbi_block_unref(bytes);
}

/* The next part of one of its bodies, which take turns. */
static void feed(struct tbi_bond *b)
{
    struct tbi_body_out *o = next_of(b);

    if (o == NULL) {
        tbi_bond_drain(b); /* all that can go is on its way: what that has brought about */
        return;
    }
    tbi_list_push(&b->node->hungry, &b->hungry); /* until there is nothing more to do */
    tbi_list_remove(&o->entry);
    tbi_list_push(&b->bodies_out, &o->entry);
    if (o->owes_end) {
        send_end(o);
        if (o->owes_end) { /* memory is out: with the link's next word */
            tbi_list_remove(&b->hungry);
        }
        settle(o);
    } else if (o->held != NULL || o->held_last) {
        send_held(o);
    } else {
        read_part(o);
    }
}

void tbi_bodies_feed(struct tbi_node *node)
{
    struct tbi_list *entry;

    while ((entry = tbi_list_shift(&node->hungry)) != NULL) {
        feed(TBI_CONTAINER(entry, struct tbi_bond, hungry));
    }
}

/* --- Life ------------------------------------------------------------------------------------- */

int tbi_node_send_body(struct tbi_node *node, struct tbi_now now, const tbq_peer_id *peer,
                       tbq_read_fn source, void *user, uint64_t length,
                       const tbq_body_options *options, tbq_body *body)
{
    struct tbi_peer *known = tbi_peer_get(node, peer, false);
    struct tbi_bond *b = known != NULL ? tbi_peer_newest(known) : NULL;

    node->now = now;
    if (node->stopping) {
        return TBQ_ERR_CLOSED;
    }
    if (length != TBQ_LENGTH_UNKNOWN && length > TBQ_BODY_LENGTH_MAX) {
        return TBQ_ERR_TOO_LARGE;
    }
    if (b == NULL || b->given_up) {
        return TBQ_ERR_NO_ROUTE;
    }
    struct tbi_body_out *o = tbi_calloc(node->alloc, 1, sizeof *o);
    struct tbi_event *fate =
        o != NULL ? tbi_events_reserve(&node->events, node, TBQ_EVENT_FATE) : NULL;
    if (fate == NULL) {
        tbi_free(node->alloc, o);
        return TBQ_ERR_NOMEM;
    }
    *o = (struct tbi_body_out){.node = node,
                               .bond = b,
                               .id = node->next_number++,
                               .source = source,
                               .user = user,
                               .length = length,
                               .fate_lane = options->lane,
                               .text = "",
                               .fate = fate};
    int rv = tbi_map_put(&node->bodies_out, &o->id, o);
    node->events.fates += rv == 0;
    if (rv < 0) {
        tbi_event_free(fate);
        tbi_free(node->alloc, o);
        return rv;
    }
    fate->pub.tag = options->tag;
    fate->pub.lane = options->lane;
    fate->pub.body = o->id;
    tbi_list_push(&b->bodies_out, &o->entry);
    tbi_rest_used(b);
    tbi_rest_wake(b);
    tbi_bodies_look(b);
    if (body != NULL) {
        *body = o->id;
    }
    return 0;
}

/* The body, while its fate is not told. */
static struct tbi_body_out *find(const struct tbi_node *node, tbq_body body)
{
    return tbi_map_get(&node->bodies_out, &body);
}

int tbi_node_body_ready(struct tbi_node *node, tbq_body body)
{
    struct tbi_body_out *o = find(node, body);

    if (o == NULL) {
        return TBQ_ERR_CLOSED;
    }
    o->waits = false;
    tbi_bodies_look(o->bond);
    return 0;
}

int tbi_node_body_cancel(struct tbi_node *node, struct tbi_now now, tbq_body body)
{
    struct tbi_body_out *o = find(node, body);

    node->now = now;
    if (o == NULL || o->complete) {
        return TBQ_ERR_CLOSED;
    }
    struct tbi_bond *b = o->bond;
    fail(o, TBQ_ERR_STOPPED, "cancelled", true);
    tbi_bond_drain(b);
    return 0;
}

int tbi_node_body_progress(const struct tbi_node *node, tbq_body body, tbq_body_progress *progress)
{
    const struct tbi_body_out *o = find(node, body);

    if (o == NULL) {
        return TBQ_ERR_CLOSED;
    }
    progress->length = o->length;
    progress->read = o->read;
    progress->taken = o->taken;
    return 0;
}

void tbi_bodies_move(struct tbi_bond *from, struct tbi_bond *to)
{
    TBI_LIST_FOREACH(it, &from->bodies_out)
    {
        struct tbi_body_out *o = TBI_CONTAINER(it, struct tbi_body_out, entry);
        o->bond = to;
        to->started += o->started;
        tbi_list_remove(&o->entry);
        tbi_list_push(&to->bodies_out, &o->entry);
    }
    from->started = 0;
}

void tbi_bodies_out_give_up(struct tbi_bond *b, int reason)
{
    TBI_LIST_FOREACH(it, &b->bodies_out)
    {
        fail(TBI_CONTAINER(it, struct tbi_body_out, entry), reason, tbq_strerror(reason), false);
    }
}

void tbi_bodies_out_free(struct tbi_bond *b)
{
    tbi_bodies_out_give_up(b, TBQ_ERR_LOST);
    TBI_LIST_FOREACH(it, &b->bodies_out) /* their parts went with the link */
    {
        struct tbi_body_out *o = TBI_CONTAINER(it, struct tbi_body_out, entry);
        if (o->fate != NULL) {
            tell(o, o->missed ? TBQ_NOT_DELIVERED : TBQ_UNKNOWN);
        }
        o->under_way = 0;
        maybe_free(o);
    }
}
