/* mesh/select.c - see select.h. */
#include "mesh/select.h"

#include "base/now.h"

/* --- What stands before what -------------------------------------------------------------------
 */

typedef bool before_fn(const struct tbi_candidate *a, const struct tbi_candidate *b);

static bool lower_id(const struct tbi_candidate *a, const struct tbi_candidate *b)
{
    return tbq_peer_id_compare(&a->id, &b->id) < 0;
}

static uint64_t capacity_of(const struct tbi_candidate *c)
{
    return c->load.capacity != 0 ? c->load.capacity : TBQ_CAPACITY_DEFAULT;
}

/* Distance by capacity, as a fraction: at most 2^38 * 65,535 on either side. */
static bool nearer(const struct tbi_candidate *a, const struct tbi_candidate *b)
{
    uint64_t this = a->distance * capacity_of(b);
    uint64_t that = b->distance * capacity_of(a);

    if (a->over != b->over) {
        return b->over;
    }
    if (this != that) {
        return this < that;
    }
    return a->score != b->score ? a->score > b->score : lower_id(a, b);
}

static bool quicker(const struct tbi_candidate *a, const struct tbi_candidate *b)
{
    return a->rtt_ns != b->rtt_ns ? a->rtt_ns < b->rtt_ns : lower_id(a, b);
}

/* --- The best few: a heap, the best on top ------------------------------------------------------
 */

static void swap(struct tbi_candidate *a, struct tbi_candidate *b)
{
    struct tbi_candidate t = *a;
    *a = *b;
    *b = t;
}

static void sift_down(struct tbi_candidate *c, size_t at, size_t n, before_fn *before)
{
    for (size_t child = 2 * at + 1; child < n; at = child, child = 2 * at + 1) {
        if (child + 1 < n && before(&c[child + 1], &c[child])) {
            child++;
        }
        if (!before(&c[child], &c[at])) {
            return;
        }
        swap(&c[child], &c[at]);
    }
}

static void take_best(struct tbi_candidate *c, size_t n, before_fn *before, tbq_peer_id *out,
                      size_t max)
{
    for (size_t i = n / 2; i-- > 0;) {
        sift_down(c, i, n, before);
    }
    for (size_t i = 0; i < max; i++) {
        out[i] = c[0].id;
        swap(&c[0], &c[--n]);
        sift_down(c, 0, n, before);
    }
}

/* --- Load --------------------------------------------------------------------------------------
 */

/* What the candidates carry, next to the average of those that have told it. Who has not counts as
 * the average. More than full counts as full there, so that one of n moves it by 1000 / n at most,
 * whatever it says. */
static void weigh(struct tbi_candidate *c, size_t n)
{
    uint64_t sum = 0;
    uint64_t told = 0;

    for (size_t i = 0; i < n; i++) {
        if (c[i].load.told) {
            told++;
            sum += c[i].load.load < TBQ_LOAD_FULL ? c[i].load.load : TBQ_LOAD_FULL;
        }
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t load = c[i].load.load;
        c[i].filled = c[i].load.told ? load * told : sum;
        c[i].over = c[i].load.told && load > TBI_SELECT_IDLE && 4 * c[i].filled > 5 * sum;
    }
}

/* --- Policies ----------------------------------------------------------------------------------
 */

uint64_t tbi_select_distance(uint64_t score)
{
    uint64_t x = score > 0 ? score : 1;
    uint64_t exponent = 63;
    uint64_t fraction = 0;

    while (x >> 63 == 0) {
        x <<= 1;
        exponent--;
    }
    x >>= 32; /* 1 to 2, in units of 2^-31 */
    for (int bit = 31; bit >= 0; bit--) {
        x = x * x >> 31;
        if (x >> 32 != 0) {
            x >>= 1;
            fraction |= UINT64_C(1) << bit;
        }
    }
    return (UINT64_C(64) << 32) - (exponent << 32 | fraction);
}

static int by_key(const struct tbi_selection *how, const struct tbi_crypto *crypto,
                  struct tbi_candidate *c, size_t n, tbq_peer_id *out, size_t max)
{
    for (size_t i = 0; i < n; i++) {
        int rv = tbi_node_score(crypto, how->key.data, how->key.size, &c[i].id, &c[i].score);
        if (rv < 0) {
            return rv;
        }
        c[i].distance = tbi_select_distance(c[i].score);
        c[i].over = c[i].over && !how->ignore_load;
    }
    take_best(c, n, nearer, out, max);
    return (int)max;
}

static int by_two(struct tbi_rng *rng, struct tbi_candidate *c, size_t n, tbq_peer_id *out,
                  size_t max)
{
    for (size_t i = 0; i < max; i++) {
        size_t left = n - i;
        size_t one = i + tbi_rng_below(rng, left);
        swap(&c[i], &c[one]);
        if (left > 1) {
            size_t other = i + 1 + tbi_rng_below(rng, left - 1);
            if (c[other].filled < c[i].filled) {
                swap(&c[i], &c[other]);
            }
        }
        out[i] = c[i].id;
    }
    return (int)max;
}

int tbi_select(const struct tbi_selection *how, const struct tbi_crypto *crypto,
               struct tbi_rng *rng, struct tbi_candidate *candidate, size_t n, tbq_peer_id *out,
               size_t max)
{
    max = max < n ? max : n;
    weigh(candidate, n);
    switch (how->policy) {
    case TBQ_SELECT_RENDEZVOUS:
        return by_key(how, crypto, candidate, n, out, max);
    case TBQ_SELECT_LEAST_RTT:
        take_best(candidate, n, quicker, out, max);
        return (int)max;
    case TBQ_SELECT_TWO_CHOICES:
        return by_two(rng, candidate, n, out, max);
    case TBQ_SELECT_DEFAULT:
        break;
    }
    return TBQ_ERR_INVALID;
}
