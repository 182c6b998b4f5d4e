/* io/clock.h - where the time comes from: the only place that reads a clock. */
#ifndef TBI_IO_CLOCK_H
#define TBI_IO_CLOCK_H

#include "base/now.h"

uint64_t tbi_clock_mono_ns(void); /* CLOCK_MONOTONIC: never goes back */
/* Another number every few milliseconds: a fraction of the work of the above, where there is such a
 * clock. */
uint64_t tbi_clock_tick(void);
uint64_t tbi_clock_wall_ms(void); /* CLOCK_REALTIME */

#endif
