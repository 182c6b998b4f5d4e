/* base/now.h - time is an argument: every step of the engine gets it, none reads a clock. */
#ifndef TBI_BASE_NOW_H
#define TBI_BASE_NOW_H

#include <stdint.h>

#define TBI_NS_PER_US UINT64_C(1000)
#define TBI_NS_PER_MS UINT64_C(1000000)
#define TBI_NS_PER_S UINT64_C(1000000000)
#define TBI_NEVER UINT64_MAX /* a deadline that does not come */

struct tbi_now {
    uint64_t mono_ns; /* for timers; never goes back */
    uint64_t wall_ms; /* since 1970, for signatures and certificates; may jump */
};

#endif
