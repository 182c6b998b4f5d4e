/* tests/unit/shrink.h - makes a history that fails a short one: steps are left out, halves of it
 * first, single ones last, as long as it still fails (after Zeller's delta debugging). So each step
 * of a history must draw its chances from a stream of its own. */
#ifndef TBI_TESTS_SHRINK_H
#define TBI_TESTS_SHRINK_H

#include <stdbool.h>
#include <stddef.h>

#define SHRINK_STEPS_MAX 4096

/* Runs it in a process of its own, in which an assertion may fail, without those steps for which
 * skip is true. Whether it failed, in any way. */
bool shrink_fails(void (*run)(void *arg, const bool *skip), void *arg, const bool *skip);

/* Marks in skip, which has that many places, what a history that fails can do without. Returns how
 * many steps are left. */
size_t shrink(void (*run)(void *arg, const bool *skip), void *arg, bool *skip, size_t steps);

#endif
