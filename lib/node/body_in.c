/* node/body_in.c - bodies on the receiver's side: each part must be the next one of its body.
 *
 * Nothing is kept of a body but where it stands. What a peer claims of a body's length makes no
 * room for it, and is held against it when parts do not fit. A body is open from its first part
 * until its last one is taken, the application refuses a part, or something ends it. */
#include "node/parts.h"

static struct tbi_body_in *find(const struct tbi_bond *b, uint64_t their_id)
{
    TBI_LIST_FOREACH(it, &b->bodies_in)
    {
        struct tbi_body_in *in = TBI_CONTAINER(it, struct tbi_body_in, entry);
        if (in->their_id == their_id) {
            return in;
        }
    }
    return NULL;
}

static void close_body(struct tbi_body_in *in)
{
    in->bond->bodies_in_len--;
    tbi_list_remove(&in->entry);
    tbi_map_remove(&in->bond->node->bodies_in, &in->id);
    tbi_event_free(in->end);
    tbi_free(in->bond->node->alloc, in);
}

/* The application is told that no more comes, by an event that was reserved for it; where it had
 * no part yet, it has nothing to forget. */
static void end_body(struct tbi_body_in *in, int reason, const char *text)
{
    struct tbi_event *e = in->end;

    if (in->known) {
        e->pub.reason = reason;
        e->pub.text = text;
        in->end = NULL;
        tbi_events_push(&in->bond->node->events, e);
    }
    close_body(in);
}

/* NULL, and counted: there is no room for one more. Never more than it leaves free: no crowd takes
 * all places from the next one. */
static struct tbi_body_in *open_body(struct tbi_bond *b, const struct tbi_body_part *m)
{
    struct tbi_node *node = b->node;
    size_t left = TBI_BODIES_IN_ALL - tbi_map_count(&node->bodies_in);

    if (b->bodies_in_len >= TBI_BODIES_IN || b->bodies_in_len >= left) {
        node->bodies_refused++;
        return NULL;
    }
    struct tbi_body_in *in = tbi_calloc(node->alloc, 1, sizeof *in);
    struct tbi_event *end =
        in != NULL ? tbi_events_reserve(&node->events, node, TBQ_EVENT_BODY_END) : NULL;
    if (end == NULL) {
        tbi_free(node->alloc, in);
        return NULL;
    }
    *in = (struct tbi_body_in){
        .bond = b, .id = node->next_number++, .their_id = m->id, .length = m->length, .end = end};
    if (tbi_map_put(&node->bodies_in, &in->id, in) < 0) {
        tbi_event_free(end);
        tbi_free(node->alloc, in);
        return NULL;
    }
    tbi_list_push(&b->bodies_in, &in->entry);
    b->bodies_in_len++;
    tbi_event_set_peer(end, &b->peer->id);
    end->pub.body = in->id;
    return in;
}

/* Whether the part begins at `at`, as one of a body of that length. */
static bool fits(const struct tbi_body_part *m, uint64_t at, uint64_t length)
{
    uint64_t end = m->offset + m->size; /* cannot overflow: checked when it was read */
    bool last = m->what == TBI_BODY_LAST;

    return m->offset == at && m->length == length &&
           (length == TBQ_LENGTH_UNKNOWN || (last ? end == length : end < length));
}

/* The body that the part belongs to, opened by its first one. 0, or why it is declined. */
static int belongs_to(struct tbi_bond *b, const struct tbi_body_part *m, struct tbi_body_in **found)
{
    struct tbi_body_in *in = find(b, m->id);

    if (in == NULL && m->offset > 0) {
        return TBQ_ERR_RESTARTED;
    }
    if (!fits(m, in != NULL ? in->next : 0, in != NULL ? in->length : m->length) ||
        (in != NULL && in->complete)) {
        b->node->bodies_broken++;
        if (in != NULL) {
            end_body(in, TBQ_ERR_PROTOCOL, "its sender did not go on as it had begun");
        }
        return TBQ_ERR_MALFORMED;
    }
    *found = in != NULL ? in : open_body(b, m);
    return *found != NULL ? 0 : TBQ_ERR_BUSY;
}

int tbi_body_arrived(struct tbi_bond *b, struct tbi_delivery *d, struct tbi_cursor bytes)
{
    struct tbi_body_part m;
    struct tbi_body_in *in = NULL;
    int rv = tbi_get_body_part(bytes, &m);

    if (rv < 0) {
        return rv;
    }
    if (m.what == TBI_BODY_GIVEN_UP) {
        if ((in = find(b, m.id)) != NULL) {
            end_body(in, TBQ_ERR_STOPPED, "given up by its sender");
        }
        tbi_dispatch_take(b, d);
        return 0;
    }
    if (!b->node->cfg.settings.take_bodies) {
        return TBQ_ERR_NO_ROUTE;
    }
    if ((rv = belongs_to(b, &m, &in)) < 0) {
        return rv;
    }
    struct tbi_event *e = tbi_dispatch_event(b, d, TBQ_EVENT_BODY);
    e->part = (tbq_body_part){.offset = m.offset,
                              .length = m.length,
                              .bytes = {.data = m.data, .size = m.size},
                              .last = m.what == TBI_BODY_LAST};
    e->pub.message = NULL;
    e->pub.part = &e->part;
    e->pub.body = in->id;
    e->delivery = d;
    in->next += m.size;
    in->complete = e->part.last;
    tbi_events_push(&b->node->events, e);
    return 0;
}

/* --- The application's word, and the end ------------------------------------------------------ */

static struct tbi_body_in *body_of(const struct tbi_event *e)
{
    return e->pub.type == TBQ_EVENT_BODY ? tbi_map_get(&e->node->bodies_in, &e->pub.body) : NULL;
}

bool tbi_body_is_over(const struct tbi_event *e)
{
    return e->pub.type == TBQ_EVENT_BODY && body_of(e) == NULL;
}

void tbi_body_handed_out(const struct tbi_event *e)
{
    struct tbi_body_in *in = body_of(e);

    if (in != NULL) {
        in->known = true;
    }
}

void tbi_body_answered(const struct tbi_event *e, bool take)
{
    struct tbi_body_in *in = body_of(e);

    if (in != NULL && (!take || e->part.last)) {
        close_body(in);
    }
}

void tbi_bodies_in_end(struct tbi_bond *b, int reason)
{
    TBI_LIST_FOREACH(it, &b->bodies_in)
    {
        end_body(TBI_CONTAINER(it, struct tbi_body_in, entry), reason, tbq_strerror(reason));
    }
}
