/* link/inbox.c - messages on the receiver's side: put together, checked, handed over in order,
 * answered.
 *
 * Numbers of a lane come in any order, over several paths and streams. A whole message that is
 * ordered waits in `early` until nothing before it is waited for (section 6.3); its credit is not
 * given back meanwhile, so what waits is bounded by the windows of the streams.
 *
 * A body grows in its block as its bytes come: a length is a claim, and memory follows the bytes.
 * One large message at a time is believed, so that it need not be moved as it grows.
 * The credit for a message's bytes goes back when the message is taken, declined or dropped, so
 * that an application which does not take stops exactly the lanes concerned (section 9). */
#include "link/parts.h"

#include <string.h>

/* Where the bytes at hand come from. */
struct source {
    struct tbi_link *link;
    struct tbi_link_path *path;
    struct tbi_now now;
    tbq_lane lane;
    struct tbi_rx_lane *l;
    struct tbi_link_stream *stream; /* NULL: the lane's own */
    struct tbi_intake *in;
};

static void fail(struct source *s, uint64_t code, const char *text)
{
    tbi_path_fail(s->path, code, text);
}

/* The block is the caller's, or NULL. */
static struct tbi_block *take_block(struct tbi_link *link, struct tbi_intake *in)
{
    struct tbi_block *block = in->block;

    in->block = NULL;
    link->claimed -= in->claimed;
    in->claimed = 0;
    return block;
}

void tbi_intake_reset(struct tbi_link *link, struct tbi_intake *in)
{
    tbi_block_unref(take_block(link, in));
    memset(in, 0, sizeof *in);
    tbi_frame_reader_init(&in->reader);
}

static void give_credit(struct tbi_link_path *path, tbq_lane lane, struct tbi_link_stream *stream,
                        struct tbi_intake *in)
{
    if (in->held > 0 && stream != NULL) {
        path->conn.consume_stream(path->conn.user, stream->id, in->held);
    } else {
        path->owed[lane] += in->held;
    }
    in->held = 0;
}

static void stream_done(struct tbi_link_stream *stream)
{
    if (!stream->credited) {
        stream->credited = true;
        stream->path->conn.stream_done(stream->path->conn.user, stream->id);
    }
}

bool tbi_inbox_in_window(struct tbi_link_path *path, tbq_lane lane, uint64_t number)
{
    uint64_t lowest = tbi_taken_lowest(&path->link->rx[lane]);

    if (number >= lowest && number - lowest >= TBI_LINK_WINDOW) {
        tbi_path_fail(path, TBI_CLOSE_LIMIT, "a number too far above the lowest not taken");
        return false;
    }
    if (tbi_taken_full(path->link, lane)) {
        tbi_path_fail(path, TBI_CLOSE_LIMIT, "too many declined numbers that are not settled");
        return false;
    }
    return true;
}

/* --- Order ---------------------------------------------------------------------------------- */

static void hand_over(struct tbi_link *link, struct tbi_delivered *o)
{
    tbi_list_push(&link->events, &o->event.node);
}

static struct tbi_delivered *early_of(struct tbi_list *node)
{
    struct tbi_link_event *event = TBI_CONTAINER(node, struct tbi_link_event, node);
    return TBI_CONTAINER(event, struct tbi_delivered, event);
}

static struct tbi_list *early_list(struct tbi_rx_lane *l, uint64_t part)
{
    return &l->early[part % TBI_LINK_EARLY_LISTS];
}

/* Most lanes never need them. */
static int make_early_lists(struct tbi_link *link, struct tbi_rx_lane *l)
{
    if (l->early == NULL) {
        l->early = tbi_calloc(link->alloc, TBI_LINK_EARLY_LISTS, sizeof *l->early);
        for (size_t i = 0; l->early != NULL && i < TBI_LINK_EARLY_LISTS; i++) {
            tbi_list_init(&l->early[i]);
        }
    }
    return l->early != NULL ? 0 : TBQ_ERR_NOMEM;
}

/* Keeps it until its turn has come, in the order of the numbers. */
static void keep_early(struct tbi_rx_lane *l, struct tbi_delivered *o)
{
    struct tbi_list *head = early_list(l, o->d.number / TBI_LINK_EARLY_NUMBERS);
    struct tbi_list *before = head; /* most come in their order: looked for from the end */

    while (before->prev != head && early_of(before->prev)->d.number > o->d.number) {
        before = before->prev;
    }
    tbi_list_push(before, &o->event.node);
}

void tbi_inbox_release(struct tbi_link *link, tbq_lane lane)
{
    struct tbi_rx_lane *l = &link->rx[lane];
    uint64_t waited_for = tbi_taken_waited_for(l); /* also drops what is known of lower numbers */
    uint64_t released = l->released;

    l->released = waited_for;
    if (l->early == NULL) {
        return;
    }
    uint64_t part = released / TBI_LINK_EARLY_NUMBERS;
    uint64_t last = waited_for / TBI_LINK_EARLY_NUMBERS;
    last = last - part < TBI_LINK_EARLY_LISTS ? last : part + TBI_LINK_EARLY_LISTS - 1;
    for (; part <= last; part++) {
        struct tbi_list *head = early_list(l, part);
        while (!tbi_list_empty(head) && early_of(head->next)->d.number < waited_for) {
            hand_over(link, early_of(tbi_list_shift(head)));
        }
    }
}

/* --- The head of a message ------------------------------------------------------------------ */

static void decline(struct source *s, enum tbi_decline_code code)
{
    uint64_t number = s->in->head.number;

    s->in->mode = TBI_INTAKE_DROP;
    if (tbi_taken_decline(s->link, s->lane, number, number + 1, code) < 0) {
        fail(s, TBI_CLOSE_INTERNAL, "out of memory");
        return;
    }
    tbi_taken_changed(s->link, s->lane, number, 0, s->now);
}

static void duplicate(struct source *s)
{
    s->in->mode = TBI_INTAKE_DROP;
    s->link->stats.duplicates++;
    tbi_taken_again(s->link, s->lane, s->in->head.number, s->now);
}

static bool known_kind(uint64_t kind)
{
    return kind >= TBQ_PING && kind <= TBQ_BODY;
}

/* Before the bytes there is room for their delivery. */
static struct tbi_block *block_for(struct tbi_link *link, struct tbi_intake *in, uint64_t size)
{
    size_t room = size < TBI_LINK_FIRST_BLOCK ? (size_t)size : TBI_LINK_FIRST_BLOCK;

    if (size > room && size <= TBI_LINK_CLAIMS_MAX - link->claimed) {
        room = in->claimed = (size_t)size;
        link->claimed += room;
    }
    return tbi_block_roomy(link->alloc, sizeof(struct tbi_delivered) + link->delivery_room,
                           room > 0 ? room : 1);
}

/* The head was read: what becomes of the rest? `left` bytes of body follow. */
static void decide(struct source *s, uint64_t left)
{
    struct tbi_intake *in = s->in;

    if (!tbi_inbox_in_window(s->path, s->lane, in->head.number)) {
        return;
    }
    if (tbi_ranges_has(&s->l->received, in->head.number)) {
        duplicate(s);
    } else if (in->reader.length > s->link->max_message_size + TBI_MESSAGE_HEAD_MAX) {
        decline(s, TBI_DECLINE_TOO_LARGE);
    } else if (known_kind(in->head.kind)) {
        in->block = block_for(s->link, in, left);
        in->mode = TBI_INTAKE_KEEP;
        if (in->block == NULL) {
            fail(s, TBI_CLOSE_INTERNAL, "out of memory");
        }
    } else if ((in->head.flags & TBI_MESSAGE_SKIPPABLE) != 0) {
        in->mode = TBI_INTAKE_SWALLOW;
    } else {
        decline(s, TBI_DECLINE_UNKNOWN_KIND);
    }
}

/* The size of three varints at the front of the bytes; 0: not all there. */
static size_t three_varints(const uint8_t *data, size_t size)
{
    size_t at = 0;

    for (int i = 0; i < 3; i++) {
        uint64_t value;
        size_t used;
        if (!tbi_varint_peek(data + at, size - at, &value, &used)) {
            return 0;
        }
        at += used;
    }
    return at;
}

/* Number, flags and kind: where they lie, or put together in `small` as they come. At least the
 * size of all of them; 0: not all there. */
static size_t collect_head(struct tbi_intake *in, const uint8_t *piece, size_t size,
                           const uint8_t **at)
{
    size_t room = sizeof in->small - in->small_len;
    size_t copied = size < room ? size : room;
    size_t head = in->small_len > 0 ? 0 : copied == room ? room : three_varints(piece, size);

    *at = piece;
    if (head > 0 || copied == 0) {
        return head;
    }
    *at = in->small;
    memcpy(in->small + in->small_len, piece, copied);
    head = three_varints(in->small, in->small_len + copied);
    in->small_len += head == 0 ? copied : 0;
    return head;
}

/* Returns how many bytes of the piece belong to the head. */
static size_t read_message_head(struct source *s, const uint8_t *piece, size_t size, bool complete)
{
    struct tbi_intake *in = s->in;
    size_t had = in->small_len;
    const uint8_t *at;
    struct tbi_cursor c;

    size_t head = collect_head(in, piece, size, &at);
    if (head == 0) {
        if (complete) {
            fail(s, TBI_CLOSE_PROTOCOL, "a message ends within its head");
        }
        return size;
    }
    tbi_cur_init(&c, at, head);
    int rv = tbi_get_message_head(&c, &in->head);
    head -= tbi_cur_left(&c);
    if (rv == TBQ_ERR_UNSUPPORTED) {
        fail(s, TBI_CLOSE_VERSION, "unknown flag of a message");
    } else if (rv < 0) {
        fail(s, TBI_CLOSE_PROTOCOL, "malformed head of a message");
    } else {
        decide(s, in->reader.length - head);
    }
    return head - had;
}

/* --- Bodies --------------------------------------------------------------------------------- */

static void deliver(struct source *s)
{
    struct tbi_link *link = s->link;
    struct tbi_intake *in = s->in;
    bool unordered = s->stream != NULL && s->stream->unordered;
    bool waits = !unordered && in->head.number > s->l->waited_for;

    if ((waits && make_early_lists(link, s->l) < 0) || tbi_taken_reserve(s->l, link->alloc) < 0 ||
        tbi_taken_receive(s->l, in->head.number) < 0) {
        fail(s, TBI_CLOSE_INTERNAL, "out of memory");
        return;
    }
    s->l->open++;
    struct tbi_delivered *o = tbi_block_front(in->block);
    *o = (struct tbi_delivered){.event.type = TBI_LINK_DELIVER,
                                .path = s->path->number,
                                .generation = link->generation,
                                .d = {.link = link,
                                      .lane = s->lane,
                                      .number = in->head.number,
                                      .repeat = (in->head.flags & TBI_MESSAGE_REPEAT) != 0,
                                      .skippable = (in->head.flags & TBI_MESSAGE_SKIPPABLE) != 0,
                                      .kind = in->head.kind,
                                      .body = take_block(link, in),
                                      .room = link->delivery_room > 0 ? o + 1 : NULL}};
    if (s->stream != NULL) {
        o->on_stream = true;
        o->stream_id = s->stream->id;
        s->stream->credited = true;
    } else {
        o->credit = in->held;
    }
    in->held = 0;
    if (waits) {
        keep_early(s->l, o); /* perhaps no longer than until tbi_inbox_release() */
    } else {
        hand_over(link, o);
    }
    tbi_list_push(&link->deliveries, &o->node);
    link->stats.received++;
    link->stats.held_messages++;
    link->stats.held_bytes += o->d.body->size;
    tbi_taken_changed(link, s->lane, in->head.number, o->d.body->size, s->now);
}

/* A message of an unknown kind that may be skipped counts as taken. */
static void swallow(struct source *s)
{
    if (tbi_ranges_has(&s->l->received, s->in->head.number)) {
        return;
    }
    if (tbi_taken_reserve(s->l, s->link->alloc) < 0 ||
        tbi_taken_receive(s->l, s->in->head.number) < 0) {
        fail(s, TBI_CLOSE_INTERNAL, "out of memory");
        return;
    }
    tbi_taken_take(s->l, s->in->head.number);
    tbi_taken_changed(s->link, s->lane, s->in->head.number, 0, s->now);
}

static void read_elsewhere(struct source *s, const uint8_t *piece, size_t size, bool complete)
{
    struct tbi_intake *in = s->in;
    struct tbi_elsewhere f;
    struct tbi_cursor c;

    memcpy(in->small + in->small_len, piece, size); /* the length was checked */
    in->small_len += size;
    if (!complete) {
        return;
    }
    tbi_cur_init(&c, in->small, in->small_len);
    if (tbi_get_elsewhere(c, &f) < 0) {
        fail(s, TBI_CLOSE_PROTOCOL, "malformed ELSEWHERE");
    } else if (tbi_inbox_in_window(s->path, s->lane, f.number) &&
               tbi_taken_elsewhere(s->l, f.number) < 0) {
        fail(s, TBI_CLOSE_INTERNAL, "out of memory");
    }
}

/* The frame is complete. */
static void finish(struct source *s)
{
    struct tbi_intake *in = s->in;

    if (in->mode == TBI_INTAKE_KEEP && tbi_ranges_has(&s->l->received, in->head.number)) {
        duplicate(s); /* it came on another stream meanwhile, or SETTLED covers it */
    } else if (in->mode == TBI_INTAKE_KEEP) {
        deliver(s);
    } else if (in->mode == TBI_INTAKE_SWALLOW) {
        swallow(s);
    }
    if (s->path->failed) {
        return;
    }
    tbi_inbox_release(s->link, s->lane);
    give_credit(s->path, s->lane, s->stream, in);
    tbi_block_unref(take_block(s->link, in));
    in->mode = TBI_INTAKE_FRAME;
    if (s->stream != NULL) {
        s->stream->over = true;
    }
}

/* --- Frames --------------------------------------------------------------------------------- */

static void read_head(struct source *s)
{
    struct tbi_intake *in = s->in;

    in->small_len = 0;
    switch (in->reader.type) {
    case TBI_FRAME_MESSAGE:
        in->mode = TBI_INTAKE_HEAD;
        return;
    case TBI_FRAME_ELSEWHERE:
        in->mode = TBI_INTAKE_ELSEWHERE;
        if (s->stream != NULL || in->reader.length > TBI_VARINT_SIZE_MAX ||
            in->reader.length == 0) {
            fail(s, TBI_CLOSE_PROTOCOL, "malformed or misplaced ELSEWHERE");
        }
        return;
    case TBI_FRAME_HELLO:
    case TBI_FRAME_CONFIRM:
    case TBI_FRAME_ACK:
    case TBI_FRAME_SKIP:
    case TBI_FRAME_DECLINED:
    case TBI_FRAME_SETTLED:
        fail(s, TBI_CLOSE_PROTOCOL, "a control frame on another stream");
        return;
    default:
        in->mode = TBI_INTAKE_DROP;
        if (s->stream != NULL) {
            fail(s, TBI_CLOSE_PROTOCOL, "a message's own stream holds one message and no more");
        } else if (in->reader.type % 2 == 0) {
            fail(s, TBI_CLOSE_VERSION, "unknown frame that must be understood");
        }
    }
}

static void read_body(struct source *s, const uint8_t *piece, size_t size, bool complete)
{
    struct tbi_intake *in = s->in;

    if (in->mode == TBI_INTAKE_HEAD) {
        size_t used = read_message_head(s, piece, size, complete);
        piece = piece != NULL ? piece + used : NULL;
        size -= used;
    } else if (in->mode == TBI_INTAKE_ELSEWHERE) {
        read_elsewhere(s, piece, size, complete);
    }
    if (!s->path->failed && in->mode == TBI_INTAKE_KEEP && size > 0 &&
        tbi_block_append(in->block, piece, size) < 0) {
        fail(s, TBI_CLOSE_INTERNAL, "out of memory");
    }
    if (!s->path->failed && complete) {
        finish(s);
    } else if (!s->path->failed &&
               (in->mode == TBI_INTAKE_DROP || in->mode == TBI_INTAKE_SWALLOW)) {
        give_credit(s->path, s->lane, s->stream, in);
    }
}

static void feed(struct source *s, const uint8_t *data, size_t size)
{
    struct tbi_cursor c;

    tbi_cur_init(&c, data, size);
    s->link->proven = s->link->proven || size > 0;
    while (!s->path->failed) {
        const uint8_t *piece;
        size_t piece_size, before = tbi_cur_left(&c);
        bool complete;
        if (s->stream != NULL && s->stream->over && before > 0) {
            fail(s, TBI_CLOSE_PROTOCOL, "a message's own stream holds one message and no more");
            return;
        }
        enum tbi_frame_step step =
            tbi_frame_step(&s->in->reader, &c, &piece, &piece_size, &complete);
        s->in->held += before - tbi_cur_left(&c);
        if (step == TBI_STEP_NEED_MORE) {
            return;
        } else if (step == TBI_STEP_ERROR) {
            fail(s, TBI_CLOSE_LIMIT, "a frame longer than any may be");
        } else if (step == TBI_STEP_HEAD) {
            read_head(s);
        } else {
            read_body(s, piece, piece_size, complete);
        }
    }
}

void tbi_link_lane_data(struct tbi_link_path *path, struct tbi_now now, tbq_lane lane,
                        const uint8_t *data, size_t size)
{
    if (path->failed || (unsigned)lane >= TBQ_LANES) {
        return;
    }
    struct source s = {.link = path->link,
                       .path = path,
                       .now = now,
                       .lane = lane,
                       .l = &path->link->rx[lane],
                       .in = &path->in[lane]};
    feed(&s, data, size);
}

/* --- A message's own stream ------------------------------------------------------------------- */

struct tbi_link_stream *tbi_link_stream_new(struct tbi_link_path *path, tbq_lane lane,
                                            bool unordered, uint64_t stream_id)
{
    if (path->failed || (unsigned)lane >= TBQ_LANES) {
        return NULL;
    }
    struct tbi_link_stream *stream = tbi_calloc(path->link->alloc, 1, sizeof *stream);
    if (stream == NULL) {
        tbi_path_fail(path, TBI_CLOSE_INTERNAL, "out of memory");
        return NULL;
    }
    stream->path = path;
    stream->alloc = path->link->alloc;
    stream->lane = lane;
    stream->unordered = unordered;
    stream->id = stream_id;
    tbi_frame_reader_init(&stream->in.reader);
    tbi_list_push(&path->streams, &stream->node);
    return stream;
}

void tbi_link_stream_data(struct tbi_link_stream *stream, struct tbi_now now, const uint8_t *data,
                          size_t size, bool fin)
{
    struct tbi_link_path *path = stream->path;

    if (path == NULL || path->failed) {
        return;
    }
    struct source s = {.link = path->link,
                       .path = path,
                       .now = now,
                       .lane = stream->lane,
                       .l = &path->link->rx[stream->lane],
                       .stream = stream,
                       .in = &stream->in};
    feed(&s, data, size);
    if (fin && !path->failed) {
        if (stream->over) {
            stream_done(stream);
        } else {
            fail(&s, TBI_CLOSE_PROTOCOL, "a message's own stream ends within the message");
        }
    }
}

void tbi_link_stream_free(struct tbi_link_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    if (stream->path != NULL && !stream->path->failed) {
        stream_done(stream);
    }
    tbi_list_remove(&stream->node);
    if (stream->path != NULL) { /* else it was reset with its path */
        tbi_intake_reset(stream->path->link, &stream->in);
    }
    tbi_free(stream->alloc, stream);
}

/* --- The rest of a link's life --------------------------------------------------------------- */

static void drop(struct tbi_link_path *path, tbq_lane lane, struct tbi_link_stream *stream,
                 struct tbi_intake *in, uint64_t number)
{
    if ((in->mode == TBI_INTAKE_KEEP || in->mode == TBI_INTAKE_SWALLOW) &&
        in->head.number == number) {
        tbi_block_unref(take_block(path->link, in));
        in->mode = TBI_INTAKE_DROP;
        if (!path->failed) {
            give_credit(path, lane, stream, in);
        }
    }
}

void tbi_inbox_drop(struct tbi_link *link, tbq_lane lane, uint64_t number)
{
    TBI_FOREACH_PATH(path, link)
    {
        drop(path, lane, NULL, &path->in[lane], number);
        TBI_LIST_FOREACH(node, &path->streams)
        {
            struct tbi_link_stream *stream = TBI_CONTAINER(node, struct tbi_link_stream, node);
            if (stream->lane == lane) {
                drop(path, lane, stream, &stream->in, number);
            }
        }
    }
}

void tbi_inbox_leave(struct tbi_link_path *path)
{
    struct tbi_list *node;

    for (size_t i = 0; i < TBQ_LANES; i++) {
        tbi_intake_reset(path->link, &path->in[i]);
    }
    while ((node = tbi_list_shift(&path->streams)) != NULL) {
        struct tbi_link_stream *stream = TBI_CONTAINER(node, struct tbi_link_stream, node);
        tbi_intake_reset(path->link, &stream->in);
        stream->path = NULL;
    }
}

static void delivered_free(struct tbi_delivered *o)
{
    tbi_list_remove(&o->event.node);
    tbi_list_remove(&o->node);
    tbi_block_unref(o->d.body); /* which it lies in */
}

void tbi_inbox_drop_early(struct tbi_link *link)
{
    for (size_t i = 0; i < (size_t)TBQ_LANES * TBI_LINK_EARLY_LISTS; i++) {
        struct tbi_rx_lane *l = &link->rx[i / TBI_LINK_EARLY_LISTS];
        struct tbi_list *node;
        while (l->early != NULL &&
               (node = tbi_list_shift(early_list(l, i % TBI_LINK_EARLY_LISTS))) != NULL) {
            struct tbi_delivered *o = early_of(node);
            link->stats.held_messages--;
            link->stats.held_bytes -= o->d.body->size;
            delivered_free(o);
        }
    }
}

void tbi_inbox_free(struct tbi_link *link)
{
    TBI_LIST_FOREACH(node, &link->deliveries)
    {
        struct tbi_delivered *o = TBI_CONTAINER(node, struct tbi_delivered, node);
        if (tbi_list_empty(&o->event.node)) { /* fetched: the owner has it */
            tbi_list_remove(&o->node);
            o->d.link = NULL;
        } else {
            delivered_free(o);
        }
    }
}

static void answer(struct tbi_delivery *d, struct tbi_now now, bool taken, uint64_t code)
{
    struct tbi_delivered *o = TBI_CONTAINER(d, struct tbi_delivered, d);
    struct tbi_link *link = d->link;

    if (link == NULL) {
        delivered_free(o);
        return;
    }
    struct tbi_rx_lane *l = &link->rx[d->lane];
    if (o->generation == link->generation) {
        l->open--;
        if (taken) {
            tbi_taken_take(l, d->number);
        } else {
            tbi_taken_refuse(link, d->lane, d->number, code);
        }
        tbi_taken_changed(link, d->lane, d->number, d->body->size, now);
        tbi_taken_hurry(link, d->lane, now);
    }
    link->stats.taken += taken ? 1 : 0;
    link->stats.held_messages--;
    link->stats.held_bytes -= d->body->size;
    struct tbi_link_path *path = tbi_path_by_number(link, o->path);
    if (path != NULL && !path->failed && o->on_stream) {
        path->conn.stream_done(path->conn.user, o->stream_id);
    } else if (path != NULL) {
        path->owed[d->lane] += o->credit;
    }
    delivered_free(o);
}

void tbi_delivery_take(struct tbi_delivery *d, struct tbi_now now)
{
    answer(d, now, true, 0);
}

void tbi_delivery_refuse(struct tbi_delivery *d, struct tbi_now now, enum tbi_decline_code code)
{
    answer(d, now, false, code);
}
