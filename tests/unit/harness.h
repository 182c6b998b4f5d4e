/* tests/unit/harness.h - what the tests in C share: TAP out of Check, and memory that runs out. */
#ifndef TBI_TESTS_HARNESS_H
#define TBI_TESTS_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/crypto.h"
#include "base/rng.h"

/* Runs a suite, prints TAP on standard output, frees the suite; main()'s result. */
int tbi_test_main(Suite *suite);

/* Whether the story is to be told: each, but where the runner says STORIES="this that". */
bool tbi_test_wants(const char *story);

/* So that all of Check's ways to add a story ask. */
#define _tcase_add_test(tc, story, ...)                                                            \
    (tbi_test_wants((story)->name) ? (_tcase_add_test)((tc), (story), __VA_ARGS__) : (void)0)

/* An allocator that counts, and fails when it is told to. */
struct tbi_failing_alloc {
    struct tbi_alloc alloc; /* give this to what is tested */
    size_t calls;           /* allocations asked for, failed ones included */
    size_t fail_at;         /* the number of the one that fails, from 1; 0: none */
    size_t live;            /* blocks that are not freed */
    bool failed;            /* fail_at was reached */
};
void tbi_failing_init(struct tbi_failing_alloc *f, size_t fail_at);

/* Calls the body with the 1st allocation failing, then the 2nd (or as tbi_test_stride() says), and
 * so on, until it runs through without reaching the failing one. After each run nothing may be left
 * allocated. The body must take every failure as an error of what it tests, not as one of the test.
 */
void tbi_walk_allocations(void (*body)(const struct tbi_alloc *a, void *arg), void *arg);

/* In place of SHA-256 in a struct tbi_crypto, where only equal and different count. */
int tbi_test_hash(void *self, const void *data, size_t size, uint8_t to[TBI_HASH_SIZE]);

/* A test of many random rounds does one in so many: 1, or N where the runner says SHALLOW=N, as it
 * does under slow checkers. */
unsigned tbi_test_shallow(void);

/* A walk over all allocations lets one in so many fail: each, but where SHALLOW is 10 or more. */
unsigned tbi_test_stride(void);

/* A random stream that is the same in every run. */
void tbi_test_rng(struct tbi_rng *rng, unsigned seed);

#endif
