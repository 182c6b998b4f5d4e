/* link/send.c - messages to the paths: first what must be sent again, then what waits.
 *
 * Lanes are filled in the order of their priority; a number is drawn when a message is first
 * written (section 6.2). An ordered message takes its lane's stream, and a stream of its own where
 * it is large, or comes again behind higher numbers of its lane: those may fill the lane's window
 * while they wait for it. The last streams are kept for the lowest number of each lane, so that
 * what everything else waits for always finds a way. */
#include "link/parts.h"

#include <string.h>

/* Frame head, number, flags, kind, and the kind's fixed part. */
#define HEAD_SIZE (TBI_FRAME_HEAD_MAX + 3 * TBI_VARINT_SIZE_MAX + TBI_LINK_HEAD_MAX)

static size_t body_size(const struct tbi_out *m)
{
    return m->payload != NULL ? m->payload->size : 0;
}

static size_t message_head(const struct tbi_out *m, uint64_t number, uint8_t head[HEAD_SIZE])
{
    struct tbi_writer w;
    struct tbi_message f = {.number = number, .kind = (uint64_t)m->fate.kind};

    f.flags = (m->repeat ? TBI_MESSAGE_REPEAT : 0U) | (m->skippable ? TBI_MESSAGE_SKIPPABLE : 0U);
    tbi_put_init(&w, head, HEAD_SIZE);
    tbi_put_message_head(&w, &f, m->head_size + body_size(m));
    tbi_put_bytes(&w, m->head, m->head_size);
    return tbi_put_size(&w);
}

/* What was not written is tried again: by itself, where nothing else would tell when. */
static void try_later(struct tbi_link *link, struct tbi_now now, int rv)
{
    if (rv != TBQ_ERR_AGAIN) {
        link->retry_at = now.mono_ns + link->ack_delay;
    }
}

/* Messages that are written to a stream at once, one behind the other: their numbers rise by one.
 * Where more than one is, they share what can be asked once for all of them. */
#define RUN_MAX 32

struct run {
    struct tbi_out *of[RUN_MAX];
    struct tbi_headed frames[RUN_MAX];
    uint8_t heads[RUN_MAX][HEAD_SIZE];
    size_t count;
    size_t size; /* bytes of all frames */
};

static size_t run_bytes(const struct run *r, size_t i)
{
    return r->frames[i].head_size + body_size(r->of[i]);
}

static void run_add(struct run *r, struct tbi_out *m, uint64_t number)
{
    uint8_t *head = r->heads[r->count];
    size_t head_size = message_head(m, number, head);

    r->of[r->count] = m;
    r->frames[r->count++] =
        (struct tbi_headed){.head = head, .head_size = head_size, .body = m->payload};
    r->size += run_bytes(r, r->count - 1);
}

static void run_of_one(struct run *r, struct tbi_out *m, uint64_t number)
{
    r->count = 0;
    r->size = 0;
    run_add(r, m, number);
}

/* A message that was taken by send when the peer's limit was not known, or was another's. */
static bool too_large(struct tbi_link *link, struct tbi_out *m)
{
    if (tbi_outbox_payload(m) <= link->peer_max) {
        return false;
    }
    tbi_outbox_settle(link, m, m->written ? TBQ_UNKNOWN : TBQ_NOT_DELIVERED, TBQ_ERR_TOO_LARGE);
    return true;
}

/* --- One message, one path -------------------------------------------------------------------- */

static bool is_lowest(struct tbi_tx_lane *l, const struct tbi_out *m, uint64_t number)
{
    for (const struct tbi_out *o = tbi_outbox_unheard(l); o != NULL && o != m;
         o = tbi_outbox_next(l, o)) {
        if (!o->received && !o->skip) {
            return false;
        }
    }
    return m->fate.numbered || number == l->next;
}

static bool may_open(const struct tbi_link_path *path, struct tbi_tx_lane *l,
                     const struct tbi_out *m, uint64_t number)
{
    struct tbi_path_facts f = {0};

    path->conn.facts(path->conn.user, &f);
    return f.streams > TBI_LINK_STREAMS_KEPT || (f.streams > 0 && is_lowest(l, m, number));
}

/* Whether the message takes a stream of its own on that path. */
static bool goes_aside(const struct tbi_link_path *path, struct tbi_tx_lane *l,
                       const struct tbi_out *m, uint64_t number)
{
    if (m->unordered || number < path->lane_next[m->fate.lane]) {
        return true;
    }
    return body_size(m) > TBI_LINK_ASIDE_SIZE && may_open(path, l, m, number);
}

static bool allowed(const struct tbi_link_path *path, const struct tbi_out *m, uint64_t number)
{
    uint8_t head[HEAD_SIZE];
    return !path->ahead || tbi_path_allows(path, message_head(m, number, head) + body_size(m));
}

static bool fits_so(struct tbi_link_path *path, struct tbi_tx_lane *l, const struct tbi_out *m,
                    uint64_t number, bool aside)
{
    if (!allowed(path, m, number)) {
        return false;
    }
    return aside ? may_open(path, l, m, number) : tbi_path_has_room(path, m->fate.lane);
}

static bool fits(struct tbi_link_path *path, struct tbi_tx_lane *l, const struct tbi_out *m,
                 uint64_t number)
{
    return fits_so(path, l, m, number, goes_aside(path, l, m, number));
}

static unsigned fitting(const struct tbi_link *link, struct tbi_tx_lane *l, const struct tbi_out *m,
                        uint64_t number, unsigned among)
{
    unsigned bits = 0;

    TBI_FOREACH_PATH(path, link)
    {
        bits |= (path->bit & among) != 0 && fits(path, l, m, number) ? path->bit : 0;
    }
    return bits;
}

/* How many of the run were written, which begins with that number; aside: the one of it. */
static size_t write_run(struct tbi_link_path *path, struct tbi_now now, const struct run *r,
                        uint64_t number, bool aside)
{
    tbq_lane lane = r->of[0]->fate.lane;
    const struct tbi_link_conn *c = &path->conn;
    int rv = aside ? c->write_aside(c->user, lane, r->of[0]->unordered, r->frames)
                   : c->write(c->user, (int)lane, r->frames, r->count);
    size_t n = rv < 0 ? 0 : aside ? 1 : (size_t)rv;
    size_t bytes = 0;

    for (size_t i = 0; i < n; i++) {
        bytes += run_bytes(r, i);
        r->of[i]->paths |= path->bit;
    }
    if (n > 0 && !aside) {
        path->lane_next[lane] = number + n;
        tbi_path_filled(path, lane, bytes);
    }
    if (n > 0) {
        tbi_path_spend(path, bytes);
    }
    if (n < r->count) {
        try_later(path->link, now, rv);
    }
    return n;
}

static bool write_on(struct tbi_link_path *path, struct tbi_now now, struct tbi_tx_lane *l,
                     struct tbi_out *m, uint64_t number)
{
    struct run r;

    run_of_one(&r, m, number);
    return write_run(path, now, &r, number, goes_aside(path, l, m, number)) > 0;
}

/* A copy outlasts its message where that has come over a faster path: what is under way on each
 * further path is bounded by the outbox, too. */
static bool takes_copy(const struct tbi_link_path *path, const struct tbi_out *m)
{
    struct tbi_path_facts f = {0};

    path->conn.facts(path->conn.user, &f);
    return f.waiting == 0 || f.waiting + body_size(m) <= path->link->limit_bytes;
}

/* Copies on those of these paths that have room; how many. */
static unsigned write_copies(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l,
                             struct tbi_out *m, uint64_t number, unsigned paths)
{
    unsigned copies = 0;

    TBI_FOREACH_PATH(path, link)
    {
        copies += (path->bit & paths & ~m->paths) != 0 && !path->failed &&
                  fits(path, l, m, number) && takes_copy(path, m) &&
                  write_on(path, now, l, m, number);
    }
    return copies;
}

/* One copy on a path that is used is enough. Those under suspicion get one as well: that may be
 * wrong, and the one that is sound fall silent next. */
static bool write_redundant(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l,
                            struct tbi_out *m, uint64_t number)
{
    unsigned usable = link->usable;
    struct tbi_link_path *first = tbi_path_choose(link, m->fate.lane, body_size(m),
                                                  fitting(link, l, m, number, usable & ~m->paths));
    unsigned copies = first != NULL && write_on(first, now, l, m, number) ? 1 : 0;

    copies += write_copies(link, now, l, m, number, usable);
    if (copies == 0) {
        return false;
    }
    link->stats.copies += copies - 1 + write_copies(link, now, l, m, number, ~usable);
    return true;
}

static bool write_message(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l,
                          struct tbi_out *m, uint64_t number)
{
    if (l->schedule == TBQ_REDUNDANT) {
        return write_redundant(link, now, l, m, number);
    }
    struct tbi_link_path *path = tbi_path_choose(link, m->fate.lane, body_size(m),
                                                 fitting(link, l, m, number, link->usable));
    return path != NULL && write_on(path, now, l, m, number);
}

/* --- Again, and elsewhere --------------------------------------------------------------------- */

/* False: not all of it found a way. */
static bool send_again(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l)
{
    while (!tbi_list_empty(&l->again)) {
        struct tbi_out *m = TBI_CONTAINER(l->again.next, struct tbi_out, again);
        if (too_large(link, m)) {
            continue;
        }
        if (!write_message(link, now, l, m, m->fate.number)) {
            return false;
        }
        tbi_list_remove(&m->again);
        link->stats.resent++;
    }
    return true;
}

#define ELSEWHERE_SIZE (TBI_FRAME_HEAD_MAX + TBI_VARINT_SIZE_MAX)

static unsigned with_room(const struct tbi_link *link, tbq_lane lane)
{
    unsigned bits = 0;

    TBI_FOREACH_PATH(path, link)
    {
        bool takes = !path->failed && tbi_path_allows(path, ELSEWHERE_SIZE);
        bits |= takes && tbi_path_has_room(path, lane) ? path->bit : 0;
    }
    return bits;
}

static void announce(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l,
                     tbq_lane lane)
{
    while (!tbi_list_empty(&l->announce)) {
        struct tbi_out *m = TBI_CONTAINER(l->announce.next, struct tbi_out, announce);
        struct tbi_link_path *path = tbi_path_choose(link, lane, 0, with_room(link, lane));
        uint8_t frame[ELSEWHERE_SIZE];
        struct tbi_elsewhere f = {.number = m->fate.number};
        struct tbi_writer w;

        if (path == NULL) {
            return;
        }
        tbi_put_init(&w, frame, sizeof frame);
        tbi_put_elsewhere(&w, &f);
        const struct tbi_link_conn *c = &path->conn;
        struct tbi_headed headed = {.head = frame, .head_size = tbi_put_size(&w)};
        int rv = c->write(c->user, (int)lane, &headed, 1);
        if (rv < 0) {
            try_later(link, now, rv);
            return;
        }
        tbi_path_filled(path, lane, tbi_put_size(&w));
        tbi_path_spend(path, tbi_put_size(&w));
        m->announced |= path->bit;
        tbi_list_remove(&m->announce);
    }
}

/* --- What waits ------------------------------------------------------------------------------- */

/* The message at that node of the list, or NULL at its end. */
static struct tbi_out *at(const struct tbi_list *list, struct tbi_list *node)
{
    if (node == list) {
        return NULL;
    }
    struct tbi_link_event *event = TBI_CONTAINER(node, struct tbi_link_event, node);
    return TBI_CONTAINER(event, struct tbi_out, event);
}

static bool may_number(const struct tbi_tx_lane *l, uint64_t number)
{
    return number - l->taken_below < TBI_LINK_WINDOW && number <= TBI_NUMBER_MAX;
}

/* Whether m goes to the lane's stream like the one before it, without a question. */
static bool may_follow(const struct tbi_link_path *path, const struct tbi_out *m)
{
    return body_size(m) <= TBI_LINK_ASIDE_SIZE && tbi_outbox_payload(m) <= path->link->peer_max;
}

/* Adds what waits behind the first one of the run, as far as there is room. */
static void run_follow(struct run *r, const struct tbi_link_path *path, const struct tbi_tx_lane *l,
                       const struct tbi_list *list)
{
    struct tbi_out *m = r->of[0];
    size_t room = path->room[m->fate.lane];

    while (r->count < RUN_MAX && r->size < room && may_number(l, l->next + r->count) &&
           (m = at(list, m->event.node.next)) != NULL && may_follow(path, m)) {
        run_add(r, m, l->next + r->count);
    }
}

/* Writes m, the first one of that list, and where one path is used, as many behind it as go with
 * it. How many, in r. */
static size_t write_waiting(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l,
                            struct tbi_out *m, const struct tbi_list *list, struct run *r)
{
    struct tbi_link_path *path = l->schedule != TBQ_REDUNDANT ? tbi_path_only(link) : NULL;

    if (path == NULL) {
        r->of[0] = m;
        return write_message(link, now, l, m, l->next) ? 1 : 0;
    }
    bool aside = goes_aside(path, l, m, l->next);
    if (!fits_so(path, l, m, l->next, aside)) {
        return 0;
    }
    run_of_one(r, m, l->next);
    if (!path->ahead && !aside) {
        run_follow(r, path, l, list);
    }
    return write_run(path, now, r, l->next, aside);
}

static void draw_number(struct tbi_link *link, struct tbi_tx_lane *l, struct tbi_out *m)
{
    m->fate.numbered = true;
    m->fate.number = l->next++;
    m->written = true;
    tbi_outbox_numbered(l, m);
    link->stats.sent++;
    if (m->unordered) {
        tbi_list_push(&l->announce, &m->announce);
    }
}

/* Writes what waits in that list, each with the lane's next number. */
static void send_waiting(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l,
                         struct tbi_list *list)
{
    struct tbi_out *m;
    struct run r;

    while ((m = at(list, list->next)) != NULL && may_number(l, l->next)) {
        if (too_large(link, m)) {
            continue;
        }
        size_t written = write_waiting(link, now, l, m, list, &r);
        if (written == 0) {
            return;
        }
        for (size_t i = 0; i < written; i++) {
            draw_number(link, l, r.of[i]);
        }
    }
}

void tbi_send_lane(struct tbi_link *link, struct tbi_now now, tbq_lane lane)
{
    struct tbi_tx_lane *l = &link->tx[lane];

    if (tbi_list_empty(&l->waiting) && tbi_list_empty(&l->aside) && tbi_list_empty(&l->again) &&
        tbi_list_empty(&l->announce)) {
        return; /* as most are, most of the time */
    }
    bool all = send_again(link, now, l);
    announce(link, now, l, lane);
    send_waiting(link, now, l, &l->aside);
    announce(link, now, l, lane);
    if (all) {
        send_waiting(link, now, l, &l->waiting);
    }
}
