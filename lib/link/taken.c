/* link/taken.c - what the receiver's side knows of each number: received, taken, declined and why.
 *
 * Declines are kept as runs with one reason, so that a gap of thousands of numbers costs one entry.
 * What a delivery may need later is reserved when it goes out: taking and refusing cannot fail. */
#include "link/parts.h"

#include <string.h>

void tbi_taken_init(struct tbi_link *link)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        struct tbi_rx_lane *l = &link->rx[i];
        tbi_ranges_init(&l->received, link->alloc, TBI_LINK_RANGES_MAX);
        tbi_ranges_init(&l->taken, link->alloc, TBI_LINK_RANGES_MAX);
        tbi_ranges_init(&l->elsewhere, link->alloc, TBI_LINK_RANGES_MAX);
        tbi_taken_told(l);
    }
}

void tbi_taken_free(struct tbi_link *link)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        struct tbi_rx_lane *l = &link->rx[i];
        tbi_ranges_free(&l->received);
        tbi_ranges_free(&l->taken);
        tbi_ranges_free(&l->elsewhere);
        tbi_free(link->alloc, l->runs);
        tbi_free(link->alloc, l->early);
    }
}

uint64_t tbi_taken_lowest(const struct tbi_rx_lane *l)
{
    return tbi_ranges_gap(&l->taken, 0);
}

static int reserve_ranges(struct tbi_ranges *r, size_t more)
{
    void *at = r->at;
    int rv = tbi_grow(r->alloc, &at, &r->capacity, r->count + more, sizeof *r->at);
    r->at = at;
    return rv;
}

static int reserve_runs(struct tbi_rx_lane *l, const struct tbi_alloc *alloc, size_t more)
{
    void *at = l->runs;
    int rv = tbi_grow(alloc, &at, &l->runs_capacity, l->runs_len + more, sizeof *l->runs);
    l->runs = at;
    return rv;
}

int tbi_taken_reserve(struct tbi_rx_lane *l, const struct tbi_alloc *alloc)
{
    if (reserve_ranges(&l->received, 1) < 0 || reserve_ranges(&l->taken, l->open + 1) < 0 ||
        reserve_runs(l, alloc, l->open + 1) < 0) {
        return TBQ_ERR_NOMEM;
    }
    return 0;
}

static void saw(struct tbi_rx_lane *l, uint64_t past)
{
    if (past > l->seen) {
        l->seen = past;
    }
}

int tbi_taken_elsewhere(struct tbi_rx_lane *l, uint64_t number)
{
    saw(l, number + 1);
    return number < l->waited_for ? 0 : tbi_ranges_add(&l->elsewhere, number, number + 1);
}

int tbi_taken_receive(struct tbi_rx_lane *l, uint64_t number)
{
    saw(l, number + 1);
    return tbi_ranges_add(&l->received, number, number + 1);
}

/* Both sets only grow, so it goes on where it was: a peer cannot have all of them looked at again
 * with each frame. */
uint64_t tbi_taken_waited_for(struct tbi_rx_lane *l)
{
    uint64_t n = l->waited_for, from;

    do {
        from = n;
        n = tbi_ranges_gap(&l->elsewhere, tbi_ranges_gap(&l->received, n));
    } while (n != from && l->elsewhere.count > 0);
    tbi_ranges_drop_below(&l->elsewhere, n);
    l->waited_for = n;
    return n;
}

/* Covers from..to-1 in both sets: 0, or TBQ_ERR_NOMEM (nothing is changed). */
static int cover(struct tbi_link *link, struct tbi_rx_lane *l, uint64_t from, uint64_t to)
{
    int rv = tbi_taken_reserve(l, link->alloc); /* then nothing below fails */

    rv = rv < 0 ? rv : tbi_ranges_add(&l->received, from, to);
    return rv < 0 ? rv : tbi_ranges_add(&l->taken, from, to);
}

void tbi_taken_take(struct tbi_rx_lane *l, uint64_t number)
{
    (void)tbi_ranges_add(&l->taken, number, number + 1);
}

/* --- What ACK has to tell --------------------------------------------------------------------- */

void tbi_taken_told(struct tbi_rx_lane *l)
{
    l->ack_at = TBI_NEVER;
    l->changes = 0;
    l->changed_bytes = 0;
    l->ack_from = l->ack_to = 0;
    l->ack_half = false;
    l->ack_behind = l->ack_again = UINT64_MAX;
}

static void ack_soon(struct tbi_link *link, struct tbi_rx_lane *l, struct tbi_now now)
{
    bool enough = ++l->changes >= TBI_LINK_ACK_MESSAGES || l->changed_bytes >= TBI_LINK_ACK_BYTES;
    uint64_t at = enough ? now.mono_ns : now.mono_ns + link->ack_delay;

    if (at < l->ack_at) {
        l->ack_at = at;
    }
}

void tbi_taken_changed(struct tbi_link *link, tbq_lane lane, uint64_t number, size_t size,
                       struct tbi_now now)
{
    struct tbi_rx_lane *l = &link->rx[lane];

    l->changed_bytes += size;
    ack_soon(link, l, now);
    if (l->ack_from == l->ack_to) {
        l->ack_from = number;
        l->ack_to = number + 1;
    }
    if (number < l->ack_from && !l->ack_half) {
        l->ack_from = number;
    } else if (number < l->ack_from && number < l->ack_behind) {
        l->ack_behind = number; /* later: else what is above would never have its turn */
    }
    l->ack_to = number < l->ack_to ? l->ack_to : number + 1;
}

void tbi_taken_again(struct tbi_link *link, tbq_lane lane, uint64_t number, struct tbi_now now)
{
    struct tbi_rx_lane *l = &link->rx[lane];

    ack_soon(link, l, now);
    l->ack_again = number < l->ack_again ? number : l->ack_again;
}

/* There is nothing to wait for: had more come lately, an ACK would have told of it. */
void tbi_taken_hurry(struct tbi_link *link, tbq_lane lane, struct tbi_now now)
{
    struct tbi_rx_lane *l = &link->rx[lane];

    if (now.mono_ns >= l->ack_told_at + link->ack_delay) {
        l->ack_at = now.mono_ns;
    }
}

/* --- Declines ------------------------------------------------------------------------------- */

size_t tbi_taken_run(const struct tbi_rx_lane *l, uint64_t n)
{
    size_t low = 0, high = l->runs_len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->runs[middle].to <= n) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* There is room for one more run. */
static void add_run(struct tbi_rx_lane *l, uint64_t from, uint64_t to, uint64_t code)
{
    size_t i = tbi_taken_run(l, from);

    if (i > 0 && l->runs[i - 1].to == from && l->runs[i - 1].code == code) {
        l->runs[i - 1].to = to;
    } else {
        memmove(l->runs + i + 1, l->runs + i, (l->runs_len - i) * sizeof *l->runs);
        l->runs[i] = (struct tbi_decline_run){.from = from, .to = to, .told = from, .code = code};
        l->runs_len++;
    }
    l->untold_from = l->untold && l->untold_from < from ? l->untold_from : from;
    l->untold = true;
}

bool tbi_taken_full(const struct tbi_link *link, tbq_lane lane)
{
    return link->rx[lane].runs_len >= TBI_LINK_DECLINES_MAX;
}

int tbi_taken_decline(struct tbi_link *link, tbq_lane lane, uint64_t from, uint64_t to,
                      uint64_t code)
{
    struct tbi_rx_lane *l = &link->rx[lane];

    if (tbi_taken_full(link, lane)) {
        return TBQ_ERR_LIMIT;
    }
    if (cover(link, l, from, to) < 0) {
        return TBQ_ERR_NOMEM;
    }
    add_run(l, from, to, code);
    saw(l, to);
    link->stats.declined += to - from;
    return 0;
}

void tbi_taken_refuse(struct tbi_link *link, tbq_lane lane, uint64_t number, uint64_t code)
{
    struct tbi_rx_lane *l = &link->rx[lane];

    if (number < l->settled) {
        return; /* its sender has stopped waiting for an answer */
    }
    (void)tbi_ranges_add(&l->taken, number, number + 1);
    add_run(l, number, number + 1, code);
    link->stats.declined++;
}

bool tbi_taken_declined(const struct tbi_rx_lane *l, uint64_t number, uint64_t *code)
{
    size_t i = tbi_taken_run(l, number);

    if (i == l->runs_len || number < l->runs[i].from) {
        return false;
    }
    *code = l->runs[i].code;
    return true;
}

int tbi_taken_settled(struct tbi_link *link, tbq_lane lane, uint64_t below)
{
    struct tbi_rx_lane *l = &link->rx[lane];
    size_t gone = 0;

    if (below <= l->settled) {
        return 0;
    }
    if (cover(link, l, 0, below) < 0) {
        return TBQ_ERR_NOMEM;
    }
    gone = tbi_taken_run(l, below - 1); /* the runs before it end at or below `below` - 1... */
    if (gone < l->runs_len && l->runs[gone].to <= below) {
        gone++; /* ...and this one holds the last number below it and no more */
    }
    if (gone > 0) {
        memmove(l->runs, l->runs + gone, (l->runs_len - gone) * sizeof *l->runs);
        l->runs_len -= gone;
    }
    if (l->runs_len > 0 && l->runs[0].from < below) {
        l->runs[0].from = below;
        l->runs[0].told = l->runs[0].told > below ? l->runs[0].told : below;
    }
    l->settled = below;
    saw(l, below);
    return 0;
}

/* --- Connections ---------------------------------------------------------------------------- */

int tbi_taken_begin(struct tbi_link *link, const uint64_t base[TBQ_LANES])
{
    int rv = 0;

    tbi_inbox_drop_early(link);
    link->generation++; /* deliveries that are out belong to what is dropped here */
    for (size_t i = 0; i < TBQ_LANES; i++) {
        struct tbi_rx_lane *l = &link->rx[i];
        tbi_ranges_clear(&l->received);
        tbi_ranges_clear(&l->taken);
        tbi_ranges_clear(&l->elsewhere);
        l->waited_for = l->released = base[i];
        l->runs_len = 0;
        l->untold = false;
        l->open = 0;
        tbi_taken_told(l);
        l->seen = l->settled = base[i];
        if (cover(link, l, 0, base[i]) < 0) {
            rv = TBQ_ERR_NOMEM;
        }
    }
    return rv;
}

void tbi_taken_retell(struct tbi_link *link)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        struct tbi_rx_lane *l = &link->rx[i];
        for (size_t k = 0; k < l->runs_len; k++) {
            l->runs[k].told = l->runs[k].from;
        }
        l->untold = l->runs_len > 0;
        l->untold_from = 0;
        tbi_taken_told(l);
        if (l->received.count > 0) { /* at once, where there is state */
            l->ack_at = 0;
            l->ack_to = UINT64_MAX;
        }
    }
}
