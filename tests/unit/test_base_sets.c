/* tests/unit/test_base_sets.c - the containers and the random stream: reference vectors, limits,
 * and each container against a simple model of itself over many random steps. */
#include <string.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/now.h"
#include "base/ranges.h"
#include "harness.h"

static const uint8_t secret[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* The table of the reference implementation: key 00..0f, input 00, 01, 02, ... of each length. */
START_TEST(siphash_is_the_reference)
{
    static const struct {
        size_t size;
        uint64_t hash;
    } vectors[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
        {2, UINT64_C(0x0d6c8009d9a94f5a)},  {3, UINT64_C(0x85676696d7fb7e2d)},
        {7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)},
    };
    uint8_t input[64];

    for (size_t i = 0; i < sizeof input; i++) {
        input[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        ck_assert_uint_eq(tbi_siphash(secret, input, vectors[i].size), vectors[i].hash);
    }
}
END_TEST

START_TEST(map_keeps_insertion_order_limit_and_uniqueness)
{
    struct tbi_failing_alloc f;
    struct tbi_map m;
    char values[5];
    uint32_t keys[5] = {50, 40, 30, 20, 10};

    tbi_failing_init(&f, 0);
    tbi_map_init(&m, &f.alloc, secret, sizeof keys[0], 4);
    ck_assert_ptr_null(tbi_map_get(&m, &keys[0]));
    ck_assert_ptr_null(tbi_map_remove(&m, &keys[0]));
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(tbi_map_put(&m, &keys[i], &values[i]), 0);
    }
    ck_assert_int_eq(tbi_map_put(&m, &keys[0], &values[4]), TBQ_ERR_EXISTS);
    ck_assert_ptr_eq(tbi_map_get(&m, &keys[0]), &values[0]);
    ck_assert_int_eq(tbi_map_put(&m, &keys[4], &values[4]), TBQ_ERR_LIMIT);
    ck_assert_uint_eq(m.refused, 1);
    ck_assert_ptr_null(tbi_map_get(&m, &keys[4]));

    ck_assert_ptr_eq(tbi_map_remove(&m, &keys[1]), &values[1]);
    ck_assert_ptr_null(tbi_map_get(&m, &keys[1]));
    ck_assert_int_eq(tbi_map_put(&m, &keys[4], &values[4]), 0);
    static const size_t order[] = {0, 2, 3, 4};
    size_t n = 0;
    for (struct tbi_map_entry *e = tbi_map_first(&m); e != NULL; n++) {
        struct tbi_map_entry *next = tbi_map_next(e);
        ck_assert_uint_lt(n, 4);
        ck_assert_ptr_eq(tbi_map_value(e), &values[order[n]]);
        ck_assert_int_eq(memcmp(tbi_map_key(e), &keys[order[n]], sizeof keys[0]), 0);
        ck_assert_ptr_nonnull(tbi_map_remove(&m, &keys[order[n]])); /* after fetching the next */
        e = next;
    }
    ck_assert_uint_eq(n, 4);
    ck_assert_uint_eq(tbi_map_count(&m), 0);
    tbi_map_free(&m);
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

/* Here and below, one assertion for many steps: each writes down where it stands, which takes most
 * of the time of such a test. */
static void fill_a_map(const struct tbi_alloc *a, void *arg)
{
    struct tbi_map m;
    size_t held = 0, wrong = 0;

    (void)arg;
    tbi_map_init(&m, a, secret, sizeof(uint32_t), 600);
    for (uint32_t key = 0; key < 600; key++) { /* enough for uthash to grow its table */
        int rv = tbi_map_put(&m, &key, &m);
        held += rv == 0;
        wrong += (rv != 0 && rv != TBQ_ERR_NOMEM) || tbi_map_count(&m) != held ||
                 tbi_map_get(&m, &key) != (rv == 0 ? (void *)&m : NULL);
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_ge(held, 599);
    tbi_map_free(&m);
}

START_TEST(map_is_unchanged_when_memory_is_out)
{
    tbi_walk_allocations(fill_a_map, NULL);
}
END_TEST

#define UNIVERSE 200U

static void compare(const struct tbi_ranges *r, const bool *model)
{
    uint64_t gap = UNIVERSE, wrong = 0;

    for (uint64_t n = UNIVERSE; n-- > 0;) {
        gap = model[n] ? gap : n;
        wrong += tbi_ranges_has(r, n) != model[n] || tbi_ranges_gap(r, n) != gap;
    }
    ck_assert_uint_eq(wrong, 0);
    for (size_t i = 0; i < r->count; i++) {
        ck_assert_uint_lt(r->at[i].from, r->at[i].to);
        ck_assert(i == 0 || r->at[i - 1].to < r->at[i].from);
    }
}

START_TEST(ranges_are_a_set_of_numbers)
{
    struct tbi_failing_alloc f;
    struct tbi_ranges r;
    struct tbi_rng rng;
    bool model[UNIVERSE + 1], wish[UNIVERSE + 1];
    size_t refused = 0;

    tbi_failing_init(&f, 0);
    tbi_test_rng(&rng, 1);
    tbi_ranges_init(&r, &f.alloc, 12);
    memset(model, 0, sizeof model);
    for (size_t step = 3000 / tbi_test_shallow(); step > 0; step--) {
        if (tbi_rng_below(&rng, 40) == 0) {
            uint64_t floor = tbi_rng_below(&rng, UNIVERSE);
            tbi_ranges_drop_below(&r, floor);
            memset(model, 0, floor);
        } else {
            uint64_t from = tbi_rng_below(&rng, UNIVERSE);
            uint64_t to = from + tbi_rng_below(&rng, 5);
            to = to < UNIVERSE ? to : UNIVERSE;
            memcpy(wish, model, sizeof wish);
            memset(wish + from, 1, to - from);
            size_t islands = 0;
            for (size_t n = 0; n < UNIVERSE; n++) {
                islands += wish[n] && !wish[n + 1];
            }
            int rv = tbi_ranges_add(&r, from, to);
            ck_assert_int_eq(rv, islands > 12 ? TBQ_ERR_LIMIT : 0);
            refused += rv != 0;
            if (rv == 0) {
                memcpy(model, wish, sizeof model);
            }
        }
        compare(&r, model);
    }
    ck_assert_uint_gt(refused, 0);
    tbi_ranges_clear(&r);
    ck_assert(!tbi_ranges_has(&r, 0) && r.count == 0);
    tbi_ranges_free(&r);
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

START_TEST(ranges_reach_the_end_of_numbers)
{
    struct tbi_alloc a;
    struct tbi_ranges r;

    ck_assert_int_eq(tbi_alloc_init(&a, NULL), 0);
    tbi_ranges_init(&r, &a, 2);
    ck_assert_int_eq(tbi_ranges_add(&r, 5, 5), 0);
    ck_assert_int_eq(tbi_ranges_add(&r, 7, 3), 0);
    ck_assert_uint_eq(r.count, 0);
    ck_assert_int_eq(tbi_ranges_add(&r, UINT64_MAX - 1, UINT64_MAX), 0);
    ck_assert_int_eq(tbi_ranges_add(&r, 0, UINT64_MAX - 1), 0);
    ck_assert_uint_eq(r.count, 1);
    ck_assert_uint_eq(tbi_ranges_gap(&r, 0), UINT64_MAX);
    tbi_ranges_drop_below(&r, UINT64_MAX);
    ck_assert_uint_eq(r.count, 0);
    tbi_ranges_free(&r);
}
END_TEST

static void fill_ranges(const struct tbi_alloc *a, void *arg)
{
    struct tbi_ranges r;

    (void)arg;
    tbi_ranges_init(&r, a, 100);
    for (uint64_t n = 0; n < 100; n += 2) {
        int rv = tbi_ranges_add(&r, n, n + 1);
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
        ck_assert(tbi_ranges_has(&r, n) == (rv == 0));
    }
    tbi_ranges_free(&r);
}

START_TEST(ranges_are_unchanged_when_memory_is_out)
{
    tbi_walk_allocations(fill_ranges, NULL);
}
END_TEST

#define TIMERS 64

/* The armed timer that must come next, by looking at all of them. */
static struct tbi_timer *nearest(struct tbi_timer *timers, const uint64_t *armed_as)
{
    struct tbi_timer *best = NULL;
    for (size_t i = 0; i < TIMERS; i++) {
        struct tbi_timer *t = &timers[i];
        if (tbi_timer_armed(t) && (best == NULL || t->at < best->at ||
                                   (t->at == best->at && armed_as[i] < armed_as[best - timers]))) {
            best = t;
        }
    }
    return best;
}

START_TEST(timers_come_in_order_of_time_then_of_arming)
{
    struct tbi_failing_alloc f;
    struct tbi_heap h;
    struct tbi_rng rng;
    struct tbi_timer timers[TIMERS];
    uint64_t armed_as[TIMERS] = {0}; /* our own count of armings */
    uint64_t now = 0, count = 0;

    tbi_failing_init(&f, 0);
    tbi_test_rng(&rng, 2);
    tbi_heap_init(&h, &f.alloc);
    for (int i = 0; i < TIMERS; i++) {
        ck_assert_int_eq(tbi_timer_register(&h, &timers[i], &h, i), 0);
    }
    f.fail_at = f.calls + 1; /* places are promised: from here on nothing may allocate */
    for (size_t step = 20000 / tbi_test_shallow(); step > 0; step--) {
        size_t i = (size_t)tbi_rng_below(&rng, TIMERS);
        uint64_t what = tbi_rng_below(&rng, 10);
        if (what < 6) {
            uint64_t at = now + tbi_rng_below(&rng, 16);
            if (!tbi_timer_armed(&timers[i]) || timers[i].at != at) {
                armed_as[i] = count++;
            }
            tbi_timer_set(&h, &timers[i], at);
            ck_assert(tbi_timer_armed(&timers[i]));
        } else if (what < 7) {
            tbi_timer_set(&h, &timers[i], TBI_NEVER);
            ck_assert(!tbi_timer_armed(&timers[i]));
        } else {
            now += tbi_rng_below(&rng, 3);
            struct tbi_timer *want = nearest(timers, armed_as);
            ck_assert_uint_eq(tbi_heap_next(&h), want != NULL ? want->at : TBI_NEVER);
            want = want != NULL && want->at <= now ? want : NULL;
            ck_assert_ptr_eq(tbi_heap_due(&h, now), want);
            ck_assert(want == NULL || (!tbi_timer_armed(want) && want->owner == &h));
        }
    }
    ck_assert(!f.failed);
    for (int i = 0; i < TIMERS; i++) {
        tbi_timer_unregister(&h, &timers[i]);
        tbi_timer_unregister(&h, &timers[i]); /* zeroed is fine */
    }
    ck_assert_uint_eq(h.reserved, 0);
    ck_assert_uint_eq(tbi_heap_next(&h), TBI_NEVER);
    ck_assert_ptr_null(tbi_heap_due(&h, TBI_NEVER));
    tbi_heap_free(&h);
    ck_assert_uint_eq(f.live, 0);
}
END_TEST

static void register_timers(const struct tbi_alloc *a, void *arg)
{
    struct tbi_heap h;
    struct tbi_timer timers[20];

    (void)arg;
    memset(timers, 0, sizeof timers);
    tbi_heap_init(&h, a);
    for (int i = 0; i < 20; i++) {
        int rv = tbi_timer_register(&h, &timers[i], &h, i);
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
        if (rv == 0) {
            tbi_timer_set(&h, &timers[i], (uint64_t)i);
        }
    }
    for (int i = 0; i < 20; i++) {
        tbi_timer_unregister(&h, &timers[i]);
    }
    ck_assert_uint_eq(h.reserved, 0);
    tbi_heap_free(&h);
}

START_TEST(timers_survive_memory_running_out)
{
    tbi_walk_allocations(register_timers, NULL);
}
END_TEST

START_TEST(timers_have_room_before_they_come)
{
    struct tbi_failing_alloc a;
    struct tbi_heap h;
    struct tbi_timer timer[100];

    tbi_failing_init(&a, 0);
    tbi_heap_init(&h, &a.alloc);
    ck_assert_int_eq(tbi_heap_room(&h, 100), 0);
    size_t calls = a.calls;
    for (size_t i = 0; i < 100; i++) {
        ck_assert_int_eq(tbi_timer_register(&h, &timer[i], &timer[i], 0), 0);
    }
    ck_assert_uint_eq(a.calls, calls);
    ck_assert_int_eq(tbi_heap_room(&h, SIZE_MAX), 0); /* as much as there ever is at once */
    tbi_heap_free(&h);
    ck_assert_uint_eq(a.live, 0);
}
END_TEST

START_TEST(list_is_a_queue)
{
    struct tbi_list head, a, b, c;

    tbi_list_init(&head);
    ck_assert(tbi_list_empty(&head));
    ck_assert_ptr_null(tbi_list_shift(&head));
    tbi_list_push(&head, &a);
    tbi_list_push(&head, &b);
    tbi_list_push(&head, &c);
    tbi_list_remove(&b);
    tbi_list_remove(&b); /* safe to repeat */
    ck_assert_ptr_eq(tbi_list_shift(&head), &a);
    TBI_LIST_FOREACH(it, &head)
    {
        ck_assert_ptr_eq(it, &c);
        tbi_list_remove(it);
    }
    ck_assert(tbi_list_empty(&head));
}
END_TEST

/* ChaCha20 under a zero key and nonce (RFC 8439, A.1, vector 1): bytes 0..31 become the next key,
 * bytes 32..63 are the first that are given out. */
START_TEST(random_stream_is_chacha20)
{
    static const uint8_t expected[32] = {0xda, 0x41, 0x59, 0x7c, 0x51, 0x57, 0x48, 0x8d,
                                         0x77, 0x24, 0xe0, 0x3f, 0xb8, 0xd8, 0x4a, 0x37,
                                         0x6a, 0x43, 0xb8, 0xf4, 0x15, 0x18, 0xa1, 0x1c,
                                         0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86};
    struct tbi_rng rng;
    uint8_t got[32];

    tbi_test_rng(&rng, 0);
    tbi_rng_bytes(&rng, got, sizeof got);
    ck_assert_mem_eq(got, expected, sizeof got);
}
END_TEST

/* Whether 16 bytes that were drawn still lie somewhere in the generator. */
static bool holds(const struct tbi_rng *rng, const uint8_t *drawn)
{
    const uint8_t *state = (const uint8_t *)rng;
    for (size_t at = 0; at + 16 <= sizeof *rng; at++) {
        if (memcmp(state + at, drawn, 16) == 0) {
            return true;
        }
    }
    return false;
}

START_TEST(random_stream_repeats_and_does_not_depend_on_the_pieces)
{
    struct tbi_rng a, b, other;
    uint8_t whole[2000], pieces[2000], third[2000];

    tbi_test_rng(&a, 7);
    tbi_test_rng(&b, 7);
    tbi_test_rng(&other, 8);
    tbi_rng_bytes(&a, whole, sizeof whole);
    tbi_rng_bytes(&other, third, sizeof third);
    for (size_t at = 0, n = 1; at < sizeof pieces; at += n, n = n % 37 + 1) {
        n = n < sizeof pieces - at ? n : sizeof pieces - at;
        tbi_rng_bytes(&b, pieces + at, n);
    }
    ck_assert_mem_eq(whole, pieces, sizeof whole);
    ck_assert_mem_ne(whole, third, sizeof whole);
    ck_assert_uint_eq(tbi_rng_u64(&a), tbi_rng_u64(&b));
    /* What was drawn is not in the state any more. */
    for (size_t i = 0; i + 16 <= sizeof whole; i++) {
        ck_assert(!holds(&a, whole + i));
    }
}
END_TEST

START_TEST(random_numbers_stay_below_and_reach_all)
{
    struct tbi_rng rng;
    unsigned seen[6] = {0};

    tbi_test_rng(&rng, 9);
    for (int i = 0; i < 6000; i++) {
        uint64_t v = tbi_rng_below(&rng, 6);
        ck_assert_uint_lt(v, 6);
        seen[v]++;
    }
    for (int i = 0; i < 6; i++) {
        ck_assert_uint_gt(seen[i], 800);
        ck_assert_uint_lt(seen[i], 1200);
    }
    ck_assert_uint_eq(tbi_rng_below(&rng, 1), 0);
    ck_assert_uint_lt(tbi_rng_below(&rng, UINT64_MAX), UINT64_MAX);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base_sets");
    TCase *t = tcase_create("sets");

    tcase_set_timeout(t, 60);

    tcase_add_test(t, siphash_is_the_reference);
    tcase_add_test(t, map_keeps_insertion_order_limit_and_uniqueness);
    tcase_add_test(t, map_is_unchanged_when_memory_is_out);
    tcase_add_test(t, ranges_are_a_set_of_numbers);
    tcase_add_test(t, ranges_reach_the_end_of_numbers);
    tcase_add_test(t, ranges_are_unchanged_when_memory_is_out);
    tcase_add_test(t, timers_come_in_order_of_time_then_of_arming);
    tcase_add_test(t, timers_survive_memory_running_out);
    tcase_add_test(t, timers_have_room_before_they_come);
    tcase_add_test(t, list_is_a_queue);
    tcase_add_test(t, random_stream_is_chacha20);
    tcase_add_test(t, random_stream_repeats_and_does_not_depend_on_the_pieces);
    tcase_add_test(t, random_numbers_stay_below_and_reach_all);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
