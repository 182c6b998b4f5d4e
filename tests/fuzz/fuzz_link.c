/* tests/fuzz/fuzz_link.c - a peer that may do anything, against a link that is sending to it.
 *
 * Input: steps of one byte, the low four bits what to do (enum what), the high ones how; some take
 * a byte for a length and as many bytes. There are two paths; WHICH says which one is meant. Held
 * against it: credit is given back at most once for each byte and stream, every message has at most
 * one fate, and nothing is left when all is freed.
 */
#include <stdlib.h>
#include <string.h>

#include "link/link.h"

#define HELD_MAX 64
#define STREAMS 16 /* the high four bits of a step */
#define MESSAGES_MAX 4096
#define MESSAGE_SIZE 2048 /* ours */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum what {
    LANE,
    CONTROL,
    STREAM,
    STREAM_END,
    TAKE,
    REFUSE,
    CUT,
    SEND,
    TIME,
    ROOM,
    WHICH,
    SUSPECT,
    JOIN
};

#define PATHS 2

struct peer;
struct path {
    struct peer *peer;
    struct tbi_link_path *path; /* NULL: not attached */
    uint64_t passed[TBQ_LANES];
    uint64_t consumed[TBQ_LANES];
    struct tbi_link_stream *stream[STREAMS];
    bool open[STREAMS]; /* its credit is not given back */
    size_t room;
    bool failed;
};

struct peer {
    struct tbi_link *link;
    struct tbi_now now;
    struct path path[PATHS];
    struct path *at; /* the one that is meant */
    uint64_t sent;
    bool told[MESSAGES_MAX];
    struct tbi_delivery *held[HELD_MAX];
    size_t held_len;
};

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* --- The connection, without another end ----------------------------------------------------- */

static size_t room(void *user, int stream)
{
    const struct path *p = user;
    require(stream >= TBI_LINK_CONTROL && stream < TBQ_LANES);
    return p->room;
}

static int write_stream(void *user, int stream, const struct tbi_headed *frames, size_t count)
{
    struct path *p = user;

    (void)stream;
    require(count > 0 && p->room > 0);
    for (size_t i = 0; i < count; i++) {
        require(frames[i].head != NULL && frames[i].head_size > 0);
    }
    p->room -= 1; /* the unit is writes here: so that a short input can fill it */
    return p->room % 2 == 0 ? 1 : (int)count;
}

static int write_aside(void *user, tbq_lane lane, bool unordered, const struct tbi_headed *frame)
{
    struct path *p = user;

    (void)lane;
    (void)unordered;
    require(frame->head != NULL && frame->head_size > 0);
    return p->room % 2 == 0 ? TBQ_ERR_AGAIN : 0;
}

static void consume(void *user, tbq_lane lane, uint64_t bytes)
{
    struct path *p = user;
    p->consumed[lane] += bytes;
    require(p->consumed[lane] <= p->passed[lane]);
}

static void consume_stream(void *user, uint64_t stream_id, uint64_t bytes)
{
    const struct path *p = user;
    require(stream_id < STREAMS && bytes > 0);
    require(p->open[stream_id]);
}

static void stream_done(void *user, uint64_t stream_id)
{
    struct path *p = user;
    require(stream_id < STREAMS && p->open[stream_id]);
    p->open[stream_id] = false;
}

static void facts(void *user, struct tbi_path_facts *f)
{
    const struct path *p = user;
    f->streams = p->room;
    f->rtt_ns = p->room * TBI_NS_PER_MS;
    f->rate = p->room * 1000;
}

static void detach(struct path *at)
{
    struct tbi_link_path *path = at->path;

    at->path = NULL;
    tbi_link_detach(path, TBQ_ERR_LOST);
    for (size_t i = 0; i < STREAMS; i++) {
        tbi_link_stream_free(at->stream[i]);
        at->stream[i] = NULL;
        at->open[i] = false;
    }
    memset(at->passed, 0, sizeof at->passed);
    memset(at->consumed, 0, sizeof at->consumed);
    at->failed = false;
}

static void attach(struct path *at, uint8_t how)
{
    const struct tbi_link_conn conn = {.user = at,
                                       .room = room,
                                       .write = write_stream,
                                       .write_aside = write_aside,
                                       .consume = consume,
                                       .consume_stream = consume_stream,
                                       .stream_done = stream_done,
                                       .facts = facts};
    const struct tbi_link_limits limits = {.max_message_size = TBI_MESSAGE_SIZE_MIN};
    struct tbi_confirm own, peer = {.incarnation = (how & 3U) + 1U};

    detach(at);
    tbi_link_confirm(at->peer->link, &own);
    peer.known = (how & 4U) != 0 ? own.incarnation : 0;
    peer.base[0] = (how & 8U) != 0 ? TBI_VARINT_MAX : 0;
    at->path = tbi_link_attach(at->peer->link, &conn, own.base, &peer, &limits);
}

/* --- Steps ---------------------------------------------------------------------------------- */

static void drain(struct peer *p)
{
    struct tbi_link_action a;

    tbi_link_tick(p->link, p->now);
    while (tbi_link_next_action(p->link, &a)) {
        if (a.type == TBI_LINK_DELIVER) {
            require(a.u.delivery->body->size <= MESSAGE_SIZE + TBI_MESSAGE_HEAD_MAX);
            if (p->held_len == HELD_MAX) {
                tbi_delivery_take(p->held[--p->held_len], p->now);
            }
            p->held[p->held_len++] = a.u.delivery;
        } else if (a.type == TBI_LINK_FATE) {
            require(a.u.fate.tag < p->sent && !p->told[a.u.fate.tag]);
            p->told[a.u.fate.tag] = true;
        } else if (a.type == TBI_LINK_ERROR) {
            ((struct path *)a.u.error.user)->failed = true;
        }
    }
}

static void send_one(struct peer *p, uint8_t how)
{
    static const uint8_t head[2] = {1, 2};
    struct tbi_outgoing m = {.kind = TBQ_TRANSITION,
                             .head = head,
                             .head_size = sizeof head,
                             .lane = (tbq_lane)(how % TBQ_LANES),
                             .unordered = (how & 4U) != 0,
                             .ttl_ns = (how & 8U) != 0 ? 30 * TBI_NS_PER_MS : 0,
                             .want_fate = true,
                             .tag = p->sent};

    if (p->sent < MESSAGES_MAX && tbi_link_send(p->link, p->now, &m) == 0) {
        p->sent++;
    }
}

static void stream_step(struct path *p, uint8_t how, const uint8_t *data, size_t size, bool fin)
{
    struct tbi_now now = p->peer->now;

    if (p->stream[how] == NULL && !p->open[how]) {
        p->stream[how] =
            tbi_link_stream_new(p->path, (tbq_lane)(how % TBQ_LANES), (how & 8U) != 0, how);
        p->open[how] = p->stream[how] != NULL;
    }
    if (p->stream[how] == NULL) {
        return;
    }
    tbi_link_stream_data(p->stream[how], now, data, size, fin);
    if (fin) {
        tbi_link_stream_free(p->stream[how]);
        p->stream[how] = NULL;
    }
}

static void answer(struct peer *p, uint8_t how, bool taken)
{
    if (p->held_len == 0) {
        return;
    }
    size_t i = how % p->held_len;
    struct tbi_delivery *d = p->held[i];
    p->held[i] = p->held[--p->held_len];
    if (taken) {
        tbi_delivery_take(d, p->now);
    } else {
        tbi_delivery_refuse(d, p->now, (enum tbi_decline_code)(how & 7U));
    }
}

static void step(struct peer *p, struct tbi_cursor *in)
{
    uint8_t op = tbi_cur_u8(in), how = (uint8_t)(op >> 4);
    enum what what = (enum what)(op & 15U);
    size_t size = what <= STREAM_END ? tbi_cur_u8(in) : 0;
    struct tbi_cursor body;

    size = size < tbi_cur_left(in) ? size : tbi_cur_left(in);
    const uint8_t *bytes = tbi_cur_take(in, size);
    switch (what) {
    case LANE:
        p->at->passed[how % TBQ_LANES] += size;
        tbi_link_lane_data(p->at->path, p->now, (tbq_lane)(how % TBQ_LANES), bytes, size);
        break;
    case CONTROL:
        tbi_cur_init(&body, bytes, size);
        tbi_link_control(p->at->path, p->now, how, body);
        break;
    case STREAM:
    case STREAM_END:
        stream_step(p->at, how, bytes, size, what == STREAM_END);
        break;
    case TAKE:
    case REFUSE:
        answer(p, how, what == TAKE);
        break;
    case CUT:
        attach(p->at, how);
        break;
    case SEND:
        send_one(p, how);
        break;
    case TIME:
        p->now.mono_ns += how * 10 * TBI_NS_PER_MS;
        tbi_link_tick(p->link, p->now);
        require(tbi_link_deadline(p->link) > p->now.mono_ns);
        break;
    case WHICH:
        p->at = &p->path[how % PATHS];
        break;
    case SUSPECT:
        tbi_link_suspect(p->at->path, (how & 1U) != 0);
        break;
    case JOIN:
        p->at = &p->path[1];
        if (tbi_link_may_join(p->link)) {
            attach(p->at, how);
        }
        break;
    case ROOM:
    default:
        p->at->room = how * 4U;
        tbi_link_tick(p->link, p->now);
    }
}

/* As its owner would, sooner or later. */
static void mend(struct peer *p)
{
    for (size_t i = 0; i < PATHS; i++) {
        if (p->path[i].failed) {
            detach(&p->path[i]);
            drain(p);
        }
    }
    if (p->at->path == NULL) {
        attach(p->at, 4);
        drain(p);
    }
}

static void free_streams(struct peer *p, size_t from)
{
    for (size_t k = 0; k < PATHS; k++) {
        for (size_t i = from; i < STREAMS; i += 2) {
            tbi_link_stream_free(p->path[k].stream[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[TBI_RNG_SEED_SIZE] = {1};
    static struct peer p;
    struct tbi_alloc alloc;
    struct tbi_rng rng;
    struct tbi_link_config config = {
        .alloc = &alloc, .rng = &rng, .max_message_size = MESSAGE_SIZE, .outbox_messages = 256};
    struct tbi_cursor in;

    memset(&p, 0, sizeof p);
    require(tbi_alloc_init(&alloc, NULL) == 0);
    tbi_rng_init(&rng, seed);
    p.now.mono_ns = TBI_NS_PER_S;
    for (size_t i = 0; i < PATHS; i++) {
        p.path[i].peer = &p;
        p.path[i].room = 1000;
    }
    p.at = &p.path[0];
    p.link = tbi_link_new(&config);
    require(p.link != NULL);
    attach(p.at, 4);
    tbi_cur_init(&in, data, size);
    while (tbi_cur_left(&in) > 0) {
        step(&p, &in);
        drain(&p);
        mend(&p);
    }
    tbi_link_give_up(p.link, TBQ_ERR_STOPPED);
    drain(&p);
    for (uint64_t i = 0; i < p.sent; i++) {
        require(p.told[i]);
    }
    require(tbi_link_outbox_empty(p.link));
    free_streams(&p, 0); /* some before the link, some behind it */
    tbi_link_free(p.link);
    free_streams(&p, 1);
    while (p.held_len > 0) {
        tbi_delivery_take(p.held[--p.held_len], p.now);
    }
    return 0;
}
