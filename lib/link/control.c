/* link/control.c - ACK, SKIP, DECLINED and SETTLED, both ways (docs/protocol.md, section 7).
 *
 * What goes out is made from the state when it is due and there is room, never queued: so a slow
 * peer costs no memory. DECLINED goes before ACK, since TAKEN alone would say delivered. */
#include "link/parts.h"

#define SETTLED_EMPTY_NS (1 * TBI_NS_PER_S) /* section 7.5: a lane without anything unsettled */
#define FRAME_MAX (TBI_FRAME_HEAD_MAX + TBI_CONTROL_FRAME_MAX)

/* --- The control stream ---------------------------------------------------------------------- */

/* Whether something may be written to the control stream now. */
static bool room(struct tbi_link *link)
{
    if (link->control == NULL || link->control_blocked) {
        return false;
    }
    const struct tbi_link_conn *conn = &link->control->conn;
    link->control_blocked = conn->room(conn->user, TBI_LINK_CONTROL) == 0;
    return !link->control_blocked;
}

static bool put(struct tbi_link *link, struct tbi_now now, const struct tbi_writer *w)
{
    const struct tbi_link_conn *conn = &link->control->conn;
    int rv = tbi_put_error(w);

    if (rv == 0) {
        struct tbi_headed frame = {.head = w->begin, .head_size = tbi_put_size(w)};
        rv = conn->write(conn->user, TBI_LINK_CONTROL, &frame, 1);
    }
    if (rv < 0) {
        link->control_blocked = true;
        link->retry_at = now.mono_ns + link->ack_delay;
    }
    return rv >= 0;
}

/* --- In: about what we sent ------------------------------------------------------------------ */

static uint64_t set_end(const struct tbi_ack_set *s)
{
    const struct tbi_number_range *last = &s->ranges[s->ranges_len > 0 ? s->ranges_len - 1 : 0];
    return s->ranges_len > 0 ? last->from + last->count : s->below;
}

/* Whether the set has n; *at remembers the range, for numbers that rise from call to call. */
static bool set_has(const struct tbi_ack_set *s, uint64_t n, size_t *at)
{
    if (n < s->below) {
        return true;
    }
    while (*at < s->ranges_len && n >= s->ranges[*at].from + s->ranges[*at].count) {
        (*at)++;
    }
    return *at < s->ranges_len && n >= s->ranges[*at].from;
}

/* False: all of it was told before. What finds no room is looked at again the next time. */
static bool learn(struct tbi_ranges *known, const struct tbi_ack_set *s)
{
    bool news = tbi_ranges_gap(known, 0) < s->below;

    if (news) {
        (void)tbi_ranges_add(known, 0, s->below);
    }
    for (size_t i = 0; i < s->ranges_len; i++) {
        uint64_t from = s->ranges[i].from, to = from + s->ranges[i].count;
        if (tbi_ranges_gap(known, from) < to) {
            (void)tbi_ranges_add(known, from, to);
            news = true;
        }
    }
    return news;
}

static void settle_taken(struct tbi_link *link, struct tbi_tx_lane *l, const struct tbi_ack_set *s)
{
    uint64_t end = set_end(s);
    size_t at = 0;
    struct tbi_out *next;

    for (struct tbi_out *m = tbi_outbox_next(l, NULL); m != NULL && m->fate.number < end;
         m = next) {
        next = tbi_outbox_next(l, m);
        tbi_prefetch(next, sizeof *next);
        if (set_has(s, m->fate.number, &at)) {
            tbi_outbox_settle(link, m, TBQ_DELIVERED, 0);
        }
    }
}

static void note_received(struct tbi_link *link, struct tbi_tx_lane *l, const struct tbi_ack_set *s)
{
    uint64_t end = set_end(s);
    size_t at = 0;

    for (struct tbi_out *m = tbi_outbox_unheard(l); m != NULL && m->fate.number < end;
         m = tbi_outbox_next(l, m)) {
        if (!m->received && set_has(s, m->fate.number, &at)) {
            tbi_outbox_received(link, m);
        }
    }
}

static void got_ack(struct tbi_link_path *path, const struct tbi_ack *f)
{
    struct tbi_link *link = path->link;
    struct tbi_tx_lane *l = &link->tx[f->lane];
    uint64_t received_end = set_end(&f->received), taken_end = set_end(&f->taken);

    if ((received_end > taken_end ? received_end : taken_end) > l->next) {
        tbi_path_fail(path, TBI_CLOSE_PROTOCOL, "ACK of a number that was never used");
        return;
    }
    if (f->taken.below > l->taken_below) {
        l->taken_below = f->taken.below;
    }
    if (learn(&l->told_taken, &f->taken)) {
        settle_taken(link, l, &f->taken);
    }
    if (learn(&l->told_received, &f->received)) {
        note_received(link, l, &f->received);
    }
}

static void got_declined(struct tbi_link_path *path, const struct tbi_declined *f)
{
    struct tbi_link *link = path->link;
    struct tbi_tx_lane *l = &link->tx[f->lane];
    struct tbi_out *m = tbi_outbox_next(l, NULL);

    if (f->len > 0 && f->entry[f->len - 1].number >= l->next) {
        tbi_path_fail(path, TBI_CLOSE_PROTOCOL, "DECLINED for a number that was never used");
        return;
    }
    for (size_t i = 0; i < f->len; i++) {
        uint64_t n = f->entry[i].number;
        if (n >= l->settled_told) {
            l->declined_low = n < l->declined_low ? n : l->declined_low;
            l->declined_high = n > l->declined_high ? n : l->declined_high;
            l->declined = true;
        }
        if (tbi_ranges_has(&l->told_taken, n)) {
            continue;
        }
        (void)tbi_ranges_add(&l->told_taken, n, n + 1);
        while (m != NULL && m->fate.number < n) {
            m = tbi_outbox_next(l, m);
        }
        if (m != NULL && m->fate.number == n) {
            struct tbi_out *next = tbi_outbox_next(l, m);
            tbi_outbox_declined(link, m, f->entry[i].code);
            m = next;
        }
    }
}

/* --- In: about what we receive --------------------------------------------------------------- */

/* What is declined already is told once more, where there is room: on every connection all of it is
 * told once, so that who asks again and again gets no more than it asks for. */
static void tell_again(struct tbi_link *link, struct tbi_now now, struct tbi_declined *f)
{
    uint8_t frame[FRAME_MAX];
    struct tbi_writer w;

    if (f->len > 0 && room(link)) {
        tbi_put_init(&w, frame, sizeof frame);
        tbi_put_declined(&w, f);
        (void)put(link, now, &w);
    }
    f->len = 0;
}

static void got_skip(struct tbi_link_path *path, struct tbi_now now, const struct tbi_numbers *f)
{
    struct tbi_link *link = path->link;
    struct tbi_rx_lane *l = &link->rx[f->lane];
    struct tbi_declined again = {.lane = f->lane};

    for (size_t i = 0; i < f->len; i++) {
        uint64_t n = f->number[i];
        if (!tbi_inbox_in_window(path, f->lane, n)) {
            return;
        }
        struct tbi_declined_entry *e = &again.entry[again.len];
        if (tbi_ranges_has(&l->received, n)) {
            tbi_taken_again(link, f->lane, n, now);
        }
        if (tbi_taken_declined(l, n, &e->code)) {
            e->number = n;
            if (++again.len == TBI_DECLINED_MAX) {
                tell_again(link, now, &again);
            }
            continue;
        }
        if (tbi_ranges_has(&l->received, n)) {
            continue;
        }
        if (tbi_taken_decline(link, f->lane, n, n + 1, TBI_DECLINE_SKIPPED) < 0) {
            tbi_path_fail(path, TBI_CLOSE_INTERNAL, "out of memory");
            return;
        }
        tbi_taken_changed(link, f->lane, n, 0, now);
        tbi_inbox_drop(link, f->lane, n);
        tbi_inbox_release(link, f->lane);
    }
    tell_again(link, now, &again);
    l->ack_at = now.mono_ns; /* the sender waits for the answer */
}

static int read_frame(struct tbi_link_path *path, struct tbi_now now, uint64_t type,
                      struct tbi_cursor body)
{
    union {
        struct tbi_ack ack;
        struct tbi_numbers skip;
        struct tbi_declined declined;
        struct tbi_settled settled;
    } f;
    int rv;

    switch (type) {
    case TBI_FRAME_ACK:
        rv = tbi_get_ack(body, &f.ack);
        if (rv == 0) {
            got_ack(path, &f.ack);
        }
        return rv;
    case TBI_FRAME_SKIP:
        rv = tbi_get_numbers(body, &f.skip);
        if (rv == 0) {
            got_skip(path, now, &f.skip);
        }
        return rv;
    case TBI_FRAME_DECLINED:
        rv = tbi_get_declined(body, &f.declined);
        if (rv == 0) {
            got_declined(path, &f.declined);
        }
        return rv;
    case TBI_FRAME_SETTLED:
        rv = tbi_get_settled(body, &f.settled);
        if (rv == 0) {
            rv = tbi_taken_settled(path->link, f.settled.lane, f.settled.below);
        }
        if (rv == 0) {
            tbi_inbox_release(path->link, f.settled.lane);
        }
        return rv;
    case TBI_FRAME_HELLO:
    case TBI_FRAME_CONFIRM:
    case TBI_FRAME_MESSAGE:
    case TBI_FRAME_ELSEWHERE:
        return TBQ_ERR_PROTOCOL;
    default:
        return type % 2 == 1 ? 0 : TBQ_ERR_UNSUPPORTED;
    }
}

void tbi_link_control(struct tbi_link_path *path, struct tbi_now now, uint64_t type,
                      struct tbi_cursor body)
{
    struct tbi_link *link = path->link;

    if (path->failed) {
        return;
    }
    link->proven = true;
    int rv = read_frame(path, now, type, body);
    if (rv == TBQ_ERR_UNSUPPORTED) {
        tbi_path_fail(path, TBI_CLOSE_VERSION, "unknown control frame or field");
    } else if (rv == TBQ_ERR_NOMEM) {
        tbi_path_fail(path, TBI_CLOSE_INTERNAL, "out of memory");
    } else if (rv < 0) {
        tbi_path_fail(path, TBI_CLOSE_PROTOCOL, "malformed or misplaced control frame");
    }
}

/* --- Out ------------------------------------------------------------------------------------ */

/* Fills f with the next entries that were not told; false when there is none. `l->runs` is marked
 * as told only by told_declined(), when they were written. */
static bool next_declined(const struct tbi_rx_lane *l, struct tbi_declined *f)
{
    f->len = 0;
    for (size_t i = tbi_taken_run(l, l->untold_from); i < l->runs_len && f->len < TBI_DECLINED_MAX;
         i++) {
        const struct tbi_decline_run *r = &l->runs[i];
        for (uint64_t n = r->told; n < r->to && f->len < TBI_DECLINED_MAX; n++) {
            f->entry[f->len++] = (struct tbi_declined_entry){.number = n, .code = r->code};
        }
    }
    return f->len > 0;
}

static void told_declined(struct tbi_rx_lane *l, const struct tbi_declined *f)
{
    size_t k = 0;

    for (size_t i = tbi_taken_run(l, l->untold_from); i < l->runs_len && k < f->len; i++) {
        struct tbi_decline_run *r = &l->runs[i];
        while (k < f->len && f->entry[k].number < r->to) {
            r->told = f->entry[k++].number + 1;
        }
    }
    l->untold_from = f->entry[f->len - 1].number + 1;
}

static void flush_declined(struct tbi_link *link, struct tbi_now now, tbq_lane lane)
{
    struct tbi_rx_lane *l = &link->rx[lane];
    struct tbi_declined f;

    f.lane = lane;
    while (l->untold && room(link)) {
        uint8_t frame[FRAME_MAX];
        struct tbi_writer w;
        if (!next_declined(l, &f)) {
            l->untold = false;
            return;
        }
        tbi_put_init(&w, frame, sizeof frame);
        tbi_put_declined(&w, &f);
        if (!put(link, now, &w)) {
            return;
        }
        told_declined(l, &f);
    }
}

/* Fills s with all below the first gap, and the ranges between from and to that fit. The number
 * that the next frame goes on from: `to` where none is left. */
static uint64_t ack_set(const struct tbi_ranges *r, uint64_t from, uint64_t to,
                        struct tbi_ack_set *s)
{
    size_t first = r->count > 0 && r->at[0].from == 0 ? 1 : 0;
    size_t i = tbi_ranges_above(r, from);

    s->below = first == 1 ? r->at[0].to : 0;
    s->ranges_len = 0;
    for (i = i > first ? i : first; i < r->count && r->at[i].from < to; i++) {
        if (s->ranges_len == TBI_ACK_RANGES_MAX) {
            return r->at[i].from;
        }
        s->ranges[s->ranges_len++] =
            (struct tbi_number_range){.from = r->at[i].from, .count = r->at[i].to - r->at[i].from};
    }
    return to;
}

/* One frame; *from: where the next goes on. False: there is no room now. */
static bool put_ack(struct tbi_link *link, struct tbi_now now, tbq_lane lane, uint64_t *from,
                    uint64_t to)
{
    const struct tbi_rx_lane *l = &link->rx[lane];
    struct tbi_ack f = {.lane = lane};
    uint8_t frame[FRAME_MAX];
    struct tbi_writer w;

    uint64_t received_next = ack_set(&l->received, *from, to, &f.received);
    uint64_t taken_next = ack_set(&l->taken, *from, to, &f.taken);
    tbi_put_init(&w, frame, sizeof frame);
    tbi_put_ack(&w, &f);
    if (!room(link) || !put(link, now, &w)) {
        return false;
    }
    *from = received_next < taken_next ? received_next : taken_next;
    return true;
}

/* What has changed, in as many frames as its ranges need, and as there is room for. What the peer
 * has sent again is worth one frame: a peer that sends a little again and again must not get all of
 * a large set each time. */
static void flush_ack(struct tbi_link *link, struct tbi_now now, tbq_lane lane)
{
    struct tbi_rx_lane *l = &link->rx[lane];
    uint64_t told_below = 0;

    if (l->ack_at > now.mono_ns || l->untold) {
        return;
    }
    while (l->ack_from < l->ack_to) {
        if (!put_ack(link, now, lane, &l->ack_from, l->ack_to)) {
            return;
        }
        told_below = tbi_ranges_gap(&l->received, 0);
        l->ack_half = true;
        if (l->ack_from == l->ack_to && l->ack_behind < l->ack_to) {
            l->ack_from = l->ack_behind;
            l->ack_behind = UINT64_MAX;
        }
    }
    l->ack_half = false;
    if (l->ack_again != UINT64_MAX && l->ack_again >= told_below &&
        !put_ack(link, now, lane, &l->ack_again, UINT64_MAX)) {
        return;
    }
    l->ack_told_at = now.mono_ns;
    tbi_taken_told(l);
}

static bool put_skip(struct tbi_link *link, struct tbi_now now, const struct tbi_numbers *f)
{
    uint8_t frame[FRAME_MAX];
    struct tbi_writer w;

    tbi_put_init(&w, frame, sizeof frame);
    tbi_put_numbers(&w, f);
    return put(link, now, &w);
}

/* What has expired on its way. */
static void flush_skip(struct tbi_link *link, struct tbi_now now, tbq_lane lane)
{
    struct tbi_tx_lane *l = &link->tx[lane];

    while (l->skips > 0 && room(link)) {
        struct tbi_numbers f = {.lane = lane};
        struct tbi_out *m;
        for (m = tbi_outbox_next(l, NULL); m != NULL; m = tbi_outbox_next(l, m)) {
            if (m->skip && !m->skip_told && f.len < TBI_NUMBERS_MAX) {
                f.number[f.len++] = m->fate.number;
            }
        }
        if (!put_skip(link, now, &f)) {
            return;
        }
        for (m = tbi_outbox_next(l, NULL); m != NULL; m = tbi_outbox_next(l, m)) {
            if (m->skip && !m->skip_told && m->fate.number <= f.number[f.len - 1]) {
                m->skip_told = true;
                l->skips--;
            }
        }
    }
}

/* Fills f with numbers from *from on that were settled while the receiver may still wait for them;
 * *from: the next to look at. */
static void next_holes(const struct tbi_tx_lane *l, uint64_t *from, struct tbi_numbers *f)
{
    const struct tbi_out *m = tbi_outbox_next(l, NULL);

    for (f->len = 0; *from < l->holes_to && f->len < TBI_NUMBERS_MAX; (*from)++) {
        while (m != NULL && m->fate.number < *from) {
            m = tbi_outbox_next(l, m);
        }
        if (m == NULL || m->fate.number > *from) {
            f->number[f->len++] = *from;
        }
    }
}

/* Numbers that nothing more will be sent of. Those that the receiver has taken meanwhile are asked
 * about in vain, which does no harm. */
static void flush_holes(struct tbi_link *link, struct tbi_now now, tbq_lane lane)
{
    struct tbi_tx_lane *l = &link->tx[lane];
    struct tbi_numbers f;

    f.lane = lane;
    while (l->holes_told < l->holes_to && room(link)) {
        uint64_t from = l->holes_told > l->taken_below ? l->holes_told : l->taken_below;
        next_holes(l, &from, &f);
        if (f.len > 0 && !put_skip(link, now, &f)) {
            return;
        }
        l->holes_told = from < l->holes_to ? from : l->holes_to;
    }
}

/* When SETTLED is due by the two rules of section 7.5. */
static void plan_settled(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l)
{
    uint64_t lowest = tbi_outbox_lowest(l), at = TBI_NEVER;

    if (lowest <= l->settled_told) {
        return;
    }
    if (l->declined_low < lowest) {
        at = now.mono_ns + link->ack_delay;
    } else if (tbi_list_empty(&l->sent)) {
        at = now.mono_ns + SETTLED_EMPTY_NS;
    }
    l->settled_at = at < l->settled_at ? at : l->settled_at;
}

static void flush_settled(struct tbi_link *link, struct tbi_now now, tbq_lane lane)
{
    struct tbi_tx_lane *l = &link->tx[lane];
    struct tbi_settled f = {.lane = lane, .below = tbi_outbox_lowest(l)};
    uint8_t frame[FRAME_MAX];
    struct tbi_writer w;

    plan_settled(link, now, l);
    if (l->settled_at > now.mono_ns || !room(link)) {
        return;
    }
    tbi_put_init(&w, frame, sizeof frame);
    tbi_put_settled(&w, &f);
    if (!put(link, now, &w)) {
        return;
    }
    l->settled_told = f.below;
    l->settled_at = TBI_NEVER;
    l->declined_low = l->declined && l->declined_high >= f.below ? f.below : UINT64_MAX;
}

void tbi_control_flush(struct tbi_link *link, struct tbi_now now)
{
    link->control_blocked = false;
    for (unsigned i = 0; i < TBQ_LANES; i++) {
        const struct tbi_rx_lane *in = &link->rx[i];
        const struct tbi_tx_lane *out = &link->tx[i];
        if (in->untold || in->ack_at <= now.mono_ns) {
            flush_declined(link, now, (tbq_lane)i);
            flush_ack(link, now, (tbq_lane)i);
        }
        if (out->skips > 0 || out->holes_told < out->holes_to ||
            tbi_outbox_lowest(out) > out->settled_told) {
            flush_skip(link, now, (tbq_lane)i);
            flush_holes(link, now, (tbq_lane)i);
            flush_settled(link, now, (tbq_lane)i);
        }
    }
}
