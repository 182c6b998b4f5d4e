/* io/clock.h - where the time comes from: the only place that reads a clock. */
#ifndef TBI_IO_CLOCK_H
#define TBI_IO_CLOCK_H

#include "base/now.h"

/* CLOCK_MONOTONIC and CLOCK_REALTIME. Never goes back in mono_ns. */
struct tbi_now tbi_clock_now(void);
uint64_t tbi_clock_mono_ns(void); /* the one half, */
uint64_t tbi_clock_wall_ms(void); /* and the other */

#endif
