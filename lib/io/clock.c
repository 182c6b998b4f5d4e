/* io/clock.c - see clock.h. */
#include "io/clock.h"

#include <time.h>

/* Neither clock can fail: POSIX and our platforms have them. */

uint64_t tbi_clock_mono_ns(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * TBI_NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t tbi_clock_tick(void)
{
#ifdef CLOCK_MONOTONIC_COARSE /* Linux */
    struct timespec t = {0};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * TBI_NS_PER_S + (uint64_t)t.tv_nsec;
#else
    return tbi_clock_mono_ns() / (4 * TBI_NS_PER_MS);
#endif
}

uint64_t tbi_clock_wall_ms(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / TBI_NS_PER_MS;
}
