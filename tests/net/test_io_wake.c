/* tests/net/test_io_wake.c - posts from other threads, many descriptors as one, clock, randomness.
 */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../unit/harness.h"
#include "base/alloc.h"
#include "base/now.h"
#include "io/clock.h"
#include "io/onefd.h"
#include "io/random.h"
#include "io/wake.h"
#include <tbquic/error.h>

#define WAIT_MS 5000 /* for what happens at once; only a failure waits so long */
#define THREADS 4
#define POSTS_EACH 5000

static struct tbi_alloc memory;
static struct tbi_wake *wake;

static void setup(void)
{
    ck_assert_int_eq(tbi_alloc_init(&memory, NULL), 0);
    ck_assert_int_eq(tbi_wake_new(&wake, &memory), 0);
}

static void teardown(void)
{
    tbi_wake_free(wake);
    tbi_wake_free(NULL);
}

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

/* ---- posts ---------------------------------------------------------------------------------- */

struct thread {
    pthread_t id;
    int next; /* number that the loop expects from this thread */
    int again;
};

struct note {
    struct thread *from;
    int number;
};

static struct note notes[THREADS][POSTS_EACH];
static struct thread threads[THREADS];

static void arrive(void *arg)
{
    struct note *n = arg;
    ck_assert_int_eq(n->number, n->from->next); /* each thread's posts in its order */
    n->from->next++;
}

static void *post_all(void *arg)
{
    struct thread *t = arg;
    for (int i = 0; i < POSTS_EACH;) {
        struct note *n = &notes[t - threads][i];
        n->from = t;
        n->number = i;
        int rv = tbi_wake_post(wake, arrive, n);
        if (rv == 0) {
            i++;
        } else if (rv == TBQ_ERR_AGAIN) {
            t->again++;
            sched_yield();
        } else {
            break;
        }
    }
    return NULL;
}

START_TEST(four_threads_post_and_nothing_is_lost_or_stuck)
{
    size_t ran = 0;

    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i].id, NULL, post_all, &threads[i]), 0);
    }
    while (ran < (size_t)THREADS * POSTS_EACH) {
        /* A wake-up that is lost shows here: the loop would wait with posts in the queue. */
        ck_assert_msg(readable(tbi_wake_fd(wake), WAIT_MS), "stuck after %zu posts", ran);
        ran += tbi_wake_run(wake);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i].id, NULL);
        ck_assert_int_eq(threads[i].next, POSTS_EACH);
    }
    ck_assert(!readable(tbi_wake_fd(wake), 0));
    ck_assert_uint_eq(tbi_wake_run(wake), 0);
}
END_TEST

static void count(void *arg)
{
    ++*(int *)arg;
}

START_TEST(the_queue_has_a_limit_and_goes_on_after_it)
{
    int ran = 0;

    ck_assert(!readable(tbi_wake_fd(wake), 0));
    for (unsigned i = 0; i < TBI_POSTS_MAX; i++) {
        ck_assert_int_eq(tbi_wake_post(wake, count, &ran), 0);
    }
    ck_assert_int_eq(tbi_wake_post(wake, count, &ran), TBQ_ERR_AGAIN);
    ck_assert(readable(tbi_wake_fd(wake), 0));
    ck_assert_uint_eq(tbi_wake_run(wake), TBI_POSTS_MAX);
    ck_assert_int_eq(ran, (int)TBI_POSTS_MAX);
    ck_assert_int_eq(tbi_wake_post(wake, count, &ran), 0);
    ck_assert_uint_eq(tbi_wake_run(wake), 1);
}
END_TEST

static void post_again(void *arg)
{
    ++*(int *)arg;
    ck_assert_int_eq(tbi_wake_post(wake, post_again, arg), 0);
}

START_TEST(what_a_post_posts_waits_for_the_next_run)
{
    int ran = 0;

    ck_assert_int_eq(tbi_wake_post(wake, post_again, &ran), 0);
    for (int i = 1; i <= 3; i++) {
        ck_assert(readable(tbi_wake_fd(wake), 0));
        ck_assert_uint_eq(tbi_wake_run(wake), 1);
        ck_assert_int_eq(ran, i);
    }
}
END_TEST

START_TEST(after_closing_the_accepted_still_run)
{
    int ran = 0;

    ck_assert_int_eq(tbi_wake_post(wake, count, &ran), 0);
    tbi_wake_close(wake);
    ck_assert_int_eq(tbi_wake_post(wake, count, &ran), TBQ_ERR_CLOSED);
    ck_assert_uint_eq(tbi_wake_run(wake), 1);
    ck_assert_int_eq(ran, 1);
    ck_assert(fcntl(tbi_wake_fd(wake), F_GETFD) & FD_CLOEXEC);
}
END_TEST

START_TEST(held_it_is_readable_whatever_is_posted)
{
    int ran = 0;

    tbi_wake_hold(wake, true);
    tbi_wake_hold(wake, true);
    ck_assert(readable(tbi_wake_fd(wake), 0));
    ck_assert_int_eq(tbi_wake_post(wake, count, &ran), 0);
    ck_assert_uint_eq(tbi_wake_run(wake), 1);
    ck_assert(readable(tbi_wake_fd(wake), 0));
    tbi_wake_hold(wake, false);
    ck_assert(!readable(tbi_wake_fd(wake), 0));
    tbi_wake_hold(wake, false);
    ck_assert(!readable(tbi_wake_fd(wake), 0));

    /* What is posted meanwhile wakes when it is let go, too. */
    tbi_wake_hold(wake, true);
    ck_assert_int_eq(tbi_wake_post(wake, count, &ran), 0);
    tbi_wake_hold(wake, false);
    ck_assert(readable(tbi_wake_fd(wake), 0));
    ck_assert_uint_eq(tbi_wake_run(wake), 1);
    ck_assert(!readable(tbi_wake_fd(wake), 0));

    /* The other way round: what waits is there already. */
    ck_assert_int_eq(tbi_wake_post(wake, count, &ran), 0);
    tbi_wake_hold(wake, true);
    ck_assert_uint_eq(tbi_wake_run(wake), 1);
    ck_assert(readable(tbi_wake_fd(wake), 0));
    tbi_wake_hold(wake, false);
    ck_assert(!readable(tbi_wake_fd(wake), 0));
    ck_assert_int_eq(ran, 3);
}
END_TEST

START_TEST(without_descriptors_or_memory_nothing_starts)
{
    struct tbi_wake *w;
    struct tbi_onefd *one;
    struct rlimit old, none;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3; /* standard input, output and error */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rv_wake = tbi_wake_new(&w, &memory);
    int rv_one = tbi_onefd_new(&one, &memory);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(rv_wake, TBQ_ERR_IO);
    ck_assert_ptr_null(w);
    ck_assert_int_eq(rv_one, TBQ_ERR_IO);
    ck_assert_ptr_null(one);
}
END_TEST

static void open_both(const struct tbi_alloc *a, void *arg)
{
    struct tbi_wake *w;
    struct tbi_onefd *one;
    int rv = tbi_wake_new(&w, a);
    int rv_one = tbi_onefd_new(&one, a);

    (void)arg;
    ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
    ck_assert(rv_one == 0 || rv_one == TBQ_ERR_NOMEM || rv_one == TBQ_ERR_UNSUPPORTED);
    tbi_wake_free(w);
    tbi_onefd_free(one);
}

START_TEST(without_memory_nothing_is_left_behind)
{
    tbi_walk_allocations(open_both, NULL);
}
END_TEST

/* ---- many as one ---------------------------------------------------------------------------- */

START_TEST(one_descriptor_for_pipes_that_come_and_go)
{
    struct tbi_onefd *one;
    int a[2], b[2];
    int ran = 0;

    ck_assert_int_eq(tbi_onefd_new(&one, &memory), 0);
    int fd = tbi_onefd_fd(one);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    ck_assert_int_eq(pipe(a), 0);
    struct pollfd fds[2] = {{.fd = tbi_wake_fd(wake), .events = POLLIN},
                            {.fd = a[0], .events = POLLIN}};
    ck_assert_int_eq(tbi_onefd_update(one, fds, 2, 1, TBI_NEVER, tbi_clock_mono_ns()), 0);
    ck_assert(!readable(fd, 0));

    ck_assert_int_eq(tbi_wake_post(wake, count, &ran), 0);
    ck_assert(readable(fd, 0));
    ck_assert_uint_eq(tbi_wake_run(wake), 1);
    ck_assert(!readable(fd, 0));

    /* The pipe is closed; a new one gets its number, and has to be watched. */
    close(a[0]);
    close(a[1]);
    ck_assert_int_eq(pipe(b), 0);
    ck_assert_int_eq(b[0], a[0]);
    ck_assert_int_eq(write(b[1], "x", 1), 1);
    ck_assert_int_eq(tbi_onefd_update(one, fds, 2, 1, TBI_NEVER, tbi_clock_mono_ns()), 0);
    ck_assert(readable(fd, 0));

    /* No longer named, no longer watched. */
    ck_assert_int_eq(tbi_onefd_update(one, fds, 1, 1, TBI_NEVER, tbi_clock_mono_ns()), 0);
    ck_assert(!readable(fd, 0));

    /* What waits for room: a pipe has it, at once. */
    fds[1] = (struct pollfd){.fd = b[1], .events = POLLOUT};
    ck_assert_int_eq(tbi_onefd_update(one, fds, 2, 2, TBI_NEVER, tbi_clock_mono_ns()), 0);
    ck_assert(readable(fd, 0));
    fds[1].events = 0;
    ck_assert_int_eq(tbi_onefd_update(one, fds, 2, 2, TBI_NEVER, tbi_clock_mono_ns()), 0);
    ck_assert(!readable(fd, 0));

    struct pollfd many[TBI_ONEFD_MAX + 1];
    ck_assert_int_eq(tbi_onefd_update(one, many, TBI_ONEFD_MAX + 1, 0, 0, tbi_clock_mono_ns()),
                     TBQ_ERR_INVALID);
    fds[1].fd = 1 << 20; /* not open */
    ck_assert_int_eq(tbi_onefd_update(one, fds, 2, 1, TBI_NEVER, tbi_clock_mono_ns()), TBQ_ERR_IO);
    close(b[0]);
    close(b[1]);
    tbi_onefd_free(one);
    tbi_onefd_free(NULL);
}
END_TEST

START_TEST(a_deadline_makes_it_readable_and_not_before)
{
    struct tbi_onefd *one;

    ck_assert_int_eq(tbi_onefd_new(&one, &memory), 0);
    int fd = tbi_onefd_fd(one);
    uint64_t due = tbi_clock_mono_ns() + 50 * TBI_NS_PER_MS;
    ck_assert_int_eq(tbi_onefd_update(one, NULL, 0, 0, due, tbi_clock_mono_ns()), 0);
    ck_assert(readable(fd, WAIT_MS));
    ck_assert_uint_ge(tbi_clock_mono_ns(), due);

    /* It stays readable until there is another deadline. */
    ck_assert_int_eq(tbi_onefd_update(one, NULL, 0, 0, due, tbi_clock_mono_ns()), 0);
    ck_assert(readable(fd, 0));
    ck_assert_int_eq(tbi_onefd_update(one, NULL, 0, 0, TBI_NEVER, tbi_clock_mono_ns()), 0);
    ck_assert(!readable(fd, 0));
    ck_assert_int_eq(tbi_onefd_update(one, NULL, 0, 0, 1, tbi_clock_mono_ns()), 0); /* long ago */
    ck_assert(readable(fd, WAIT_MS));
    ck_assert_int_eq(tbi_onefd_update(one, NULL, 0, 0, TBI_NEVER - 1, tbi_clock_mono_ns()), 0);
    ck_assert(!readable(fd, 0));

    /* None is told: the last one stays. */
    ck_assert_int_eq(tbi_onefd_update(one, NULL, 0, 0, 1, tbi_clock_mono_ns()), 0);
    ck_assert_int_eq(tbi_onefd_update(one, NULL, 0, 0, 0, tbi_clock_mono_ns()), 0);
    ck_assert(readable(fd, WAIT_MS));
    tbi_onefd_free(one);
}
END_TEST

/* ---- clock and randomness ------------------------------------------------------------------- */

START_TEST(the_clocks_are_the_right_ones)
{
    uint64_t mono = tbi_clock_mono_ns(), told = tbi_clock_wall_ms();
    struct timespec wall;

    clock_gettime(CLOCK_REALTIME, &wall);
    ck_assert_uint_ge(tbi_clock_mono_ns(), mono);
    uint64_t ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
    ck_assert_uint_le(told, ms + 1000); /* the wall clock may be set while this runs */
    ck_assert_uint_ge(told + 1000, ms);
}
END_TEST

START_TEST(seeds_differ_and_are_filled_to_the_end)
{
    uint8_t a[1000] = {0};
    uint8_t b[1000] = {0};
    bool end = false;

    for (int i = 0; i < 8; i++) { /* one byte is zero by chance once in 256 times */
        ck_assert_int_eq(tbi_random_fill(a, sizeof a), 0);
        end = end || a[sizeof a - 1] != 0;
    }
    ck_assert(end);
    ck_assert_int_eq(tbi_random_fill(b, sizeof b), 0);
    ck_assert_int_ne(memcmp(a, b, sizeof a), 0);
    ck_assert_int_eq(tbi_random_fill(a, 0), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("io/wake");
    TCase *t = tcase_create("wake");

    tcase_set_timeout(t, 60); /* under valgrind the threads take their time */
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, four_threads_post_and_nothing_is_lost_or_stuck);
    tcase_add_test(t, the_queue_has_a_limit_and_goes_on_after_it);
    tcase_add_test(t, what_a_post_posts_waits_for_the_next_run);
    tcase_add_test(t, after_closing_the_accepted_still_run);
    tcase_add_test(t, held_it_is_readable_whatever_is_posted);
    tcase_add_test(t, without_descriptors_or_memory_nothing_starts);
    tcase_add_test(t, without_memory_nothing_is_left_behind);
#if defined(__linux__)
    tcase_add_test(t, one_descriptor_for_pipes_that_come_and_go);
    tcase_add_test(t, a_deadline_makes_it_readable_and_not_before);
#endif
    tcase_add_test(t, the_clocks_are_the_right_ones);
    tcase_add_test(t, seeds_differ_and_are_filled_to_the_end);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
