/* io/clock.c - see clock.h. */
#include "io/clock.h"

#include <time.h>

struct tbi_now tbi_clock_now(void)
{
    struct timespec mono = {0};
    struct timespec wall = {0};

    /* Neither can fail with these clocks, which POSIX and our platforms have. */
    clock_gettime(CLOCK_MONOTONIC, &mono);
    clock_gettime(CLOCK_REALTIME, &wall);

    struct tbi_now now = {
        .mono_ns = (uint64_t)mono.tv_sec * TBI_NS_PER_S + (uint64_t)mono.tv_nsec,
        .wall_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / TBI_NS_PER_MS,
    };
    return now;
}
