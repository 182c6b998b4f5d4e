/* tests/unit/harness.c - see harness.h. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tbi_test_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* each is seen as it ends */
    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

bool tbi_test_wants(const char *story)
{
    const char *list = getenv("STORIES");
    size_t size = strlen(story);

    if (list == NULL) {
        return true;
    }
    for (const char *at = list; (at = strstr(at, story)) != NULL; at += size) {
        if ((at == list || at[-1] == ' ') && (at[size] == ' ' || at[size] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool may_pass(struct tbi_failing_alloc *f)
{
    bool fails = ++f->calls == f->fail_at;
    f->failed = f->failed || fails;
    return !fails; /* this one only: what follows must also stand on what went wrong before */
}

static void *failing_alloc(void *user, size_t size)
{
    struct tbi_failing_alloc *f = user;
    void *ptr = may_pass(f) ? malloc(size) : NULL;
    f->live += ptr != NULL;
    return ptr;
}

static void *failing_realloc(void *user, void *ptr, size_t size)
{
    struct tbi_failing_alloc *f = user;
    void *grown = may_pass(f) ? realloc(ptr, size) : NULL;
    f->live += ptr == NULL && grown != NULL;
    return grown;
}

static void failing_free(void *user, void *ptr)
{
    struct tbi_failing_alloc *f = user;
    f->live -= ptr != NULL;
    free(ptr);
}

void tbi_failing_init(struct tbi_failing_alloc *f, size_t fail_at)
{
    tbq_allocator hook = {
        .alloc = failing_alloc, .realloc = failing_realloc, .free = failing_free, .user = f};
    memset(f, 0, sizeof *f);
    f->fail_at = fail_at;
    ck_assert_int_eq(tbi_alloc_init(&f->alloc, &hook), 0);
}

void tbi_walk_allocations(void (*body)(const struct tbi_alloc *a, void *arg), void *arg)
{
    for (size_t at = 1;; at += tbi_test_stride()) {
        struct tbi_failing_alloc f;
        tbi_failing_init(&f, at);
        body(&f.alloc, arg);
        ck_assert_msg(f.live == 0, "allocation %zu failed, and %zu blocks were left", at, f.live);
        if (!f.failed) {
            ck_assert_msg(at > 1, "the body allocates nothing");
            return;
        }
    }
}

int tbi_test_hash(void *self, const void *data, size_t size, uint8_t to[TBI_HASH_SIZE])
{
    uint32_t sum = 1;

    (void)self;
    for (size_t i = 0; i < size; i++) {
        sum = sum * 31 + ((const uint8_t *)data)[i];
    }
    memset(to, 0, TBI_HASH_SIZE);
    memcpy(to, &sum, sizeof sum);
    return 0;
}

unsigned tbi_test_shallow(void)
{
    const char *text = getenv("SHALLOW");
    unsigned long n = text != NULL ? strtoul(text, NULL, 10) : 1;
    return n > 1 && n <= 100 ? (unsigned)n : 1;
}

unsigned tbi_test_stride(void)
{
    return tbi_test_shallow() >= 10 ? tbi_test_shallow() : 1;
}

void tbi_test_rng(struct tbi_rng *rng, unsigned seed)
{
    uint8_t key[TBI_RNG_SEED_SIZE] = {0};
    memcpy(key, &seed, sizeof seed);
    tbi_rng_init(rng, key);
}
