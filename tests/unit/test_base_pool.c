/* tests/unit/test_base_pool.c - what is remembered for long lies by itself, in few pieces. */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "base/pool.h"
#include "harness.h"

#define OBJECTS 500
#define STEPS 10000
#define LARGEST 3000 /* bytes: some are larger than what comes out of a region */

struct thing {
    uint8_t *at;
    size_t size;
    uint8_t mark;
};

static void fill(struct thing *t, uint8_t mark)
{
    t->mark = mark;
    memset(t->at, mark, t->size);
}

static void check_thing(const struct thing *t, size_t size)
{
    ck_assert_uint_eq((uintptr_t)t->at % 16, 0);
    size_t same = 0;
    while (same < size && t->at[same] == t->mark) {
        same++;
    }
    ck_assert_uint_eq(same, size);
}

/* One step with one of them: made, resized or given back; what is in all others stays. */
static void step(struct tbi_pool *p, struct tbi_rng *rng, struct thing *t)
{
    size_t size = 1 + tbi_rng_below(rng, LARGEST);
    uint8_t mark = (uint8_t)tbi_rng_below(rng, 256);

    if (t->at == NULL) {
        *t = (struct thing){.at = tbi_malloc(&p->alloc, size), .size = size};
    } else if (tbi_rng_below(rng, 3) == 0) {
        t->at = tbi_realloc(&p->alloc, t->at, size);
        check_thing(t, size < t->size ? size : t->size);
        t->size = size;
    } else {
        check_thing(t, t->size);
        tbi_free(&p->alloc, t->at);
        t->at = NULL;
        return;
    }
    ck_assert_ptr_nonnull(t->at);
    fill(t, mark);
}

START_TEST(objects_keep_what_is_in_them)
{
    static struct thing thing[OBJECTS];
    struct tbi_failing_alloc parent;
    struct tbi_pool pool;
    struct tbi_rng rng;

    memset(thing, 0, sizeof thing);
    tbi_failing_init(&parent, 0);
    tbi_pool_init(&pool, &parent.alloc);
    tbi_test_rng(&rng, 5);
    for (size_t i = 0; i < STEPS; i++) {
        step(&pool, &rng, &thing[tbi_rng_below(&rng, OBJECTS)]);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        if (thing[i].at != NULL) {
            check_thing(&thing[i], thing[i].size);
            tbi_free(&pool.alloc, thing[i].at);
        }
    }
    ck_assert_uint_eq(parent.live, 0); /* empty regions are given back */
}
END_TEST

/* 64 bytes with their head: 2048 of them fill a region of 128 KiB. */
START_TEST(small_objects_share_a_region)
{
    static void *object[2 * 2048];
    struct tbi_failing_alloc parent;
    struct tbi_pool pool;

    tbi_failing_init(&parent, 0);
    tbi_pool_init(&pool, &parent.alloc);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 2 * 2048; i++) {
            object[i] = tbi_malloc(&pool.alloc, 48);
            ck_assert_ptr_nonnull(object[i]);
        }
        ck_assert_uint_eq(parent.live, 2);
        for (size_t i = 0; i < 2 * 2048; i++) {
            tbi_free(&pool.alloc, object[i]);
        }
        ck_assert_uint_eq(parent.live, 0);
    }
    ck_assert_uint_eq(parent.calls, 4);
}
END_TEST

static void some_objects(const struct tbi_alloc *a, void *arg)
{
    struct tbi_pool pool;
    void *object[4];

    (void)arg;
    tbi_pool_init(&pool, a);
    for (size_t i = 0; i < 4; i++) {
        object[i] = tbi_malloc(&pool.alloc, i % 2 == 0 ? 100 : LARGEST);
    }
    void *more = object[0] != NULL ? tbi_realloc(&pool.alloc, object[0], LARGEST) : NULL;
    tbi_free(&pool.alloc, more != NULL ? more : object[0]);
    for (size_t i = 1; i < 4; i++) {
        tbi_free(&pool.alloc, object[i]);
    }
}

START_TEST(memory_that_runs_out_is_told)
{
    struct tbi_failing_alloc parent;
    struct tbi_pool pool;

    tbi_walk_allocations(some_objects, NULL);
    tbi_failing_init(&parent, 0);
    tbi_pool_init(&pool, &parent.alloc);
    ck_assert_ptr_null(tbi_malloc(&pool.alloc, SIZE_MAX)); /* and its head would be none */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base_pool");
    TCase *t = tcase_create("pool");
    tcase_add_test(t, objects_keep_what_is_in_them);
    tcase_add_test(t, small_objects_share_a_region);
    tcase_add_test(t, memory_that_runs_out_is_told);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
