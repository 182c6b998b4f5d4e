/* io/wake.h - calls from other threads: a bounded queue, and a descriptor that wakes the loop. */
#ifndef TBI_IO_WAKE_H
#define TBI_IO_WAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"

#define TBI_POSTS_MAX 1024U /* as <tbquic/server.h> promises */

struct tbi_wake;

/* 0, TBQ_ERR_IO (no descriptor left) or TBQ_ERR_NOMEM. */
int tbi_wake_new(struct tbi_wake **wake, const struct tbi_alloc *a);

/* What was posted and has not run is dropped. No post may be under way. NULL is fine. */
void tbi_wake_free(struct tbi_wake *wake);

int tbi_wake_fd(const struct tbi_wake *wake); /* readable while something waits */

/* The only function here that any thread may call at any time. Takes no memory, never waits for
 * what runs. 0, TBQ_ERR_AGAIN (TBI_POSTS_MAX wait already) or TBQ_ERR_CLOSED. */
int tbi_wake_post(struct tbi_wake *wake, void (*fn)(void *arg), void *arg);

/* Runs what was posted before the call, in order; what that posts in turn waits for the next run.
 * Returns how many ran. Not from inside itself. */
size_t tbi_wake_run(struct tbi_wake *wake);

/* Makes the descriptor readable although nothing waits, until it is called with false: who waits on
 * it goes on at once. A timer for this very moment costs several times as much. */
void tbi_wake_hold(struct tbi_wake *wake, bool on);

/* From now on posts are TBQ_ERR_CLOSED; what was accepted still runs. */
void tbi_wake_close(struct tbi_wake *wake);

#endif
