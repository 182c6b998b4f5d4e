/* io/onefd.h - many descriptors and a deadline as one descriptor, for loops that take only one.
 *
 * Linux: epoll, itself pollable, with a timerfd in it. Elsewhere TBQ_ERR_UNSUPPORTED. */
#ifndef TBI_IO_ONEFD_H
#define TBI_IO_ONEFD_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

#define TBI_ONEFD_MAX 20U /* descriptors; the same as TBQ_FDS_MAX */

struct tbi_onefd;

/* 0, TBQ_ERR_UNSUPPORTED, TBQ_ERR_IO (no descriptor left) or TBQ_ERR_NOMEM. */
int tbi_onefd_new(struct tbi_onefd **one, const struct tbi_alloc *a);
void tbi_onefd_free(struct tbi_onefd *one); /* NULL is fine */
int tbi_onefd_fd(const struct tbi_onefd *one);

/* Makes the descriptor readable when one of `fds` is ready for its events (POLLIN, POLLOUT) or at
 * `deadline` (ns, monotonic; TBI_NEVER: no deadline; 0: the last one stays, since what is to be
 * done at once is told by tbi_wake_hold()), and not otherwise but once at an earlier deadline that
 * has moved on. Call it after whatever may have changed either. The first `stable` ones live as
 * long as this does; the others may be closed and opened anew between calls. 0, TBQ_ERR_INVALID
 * (too many) or TBQ_ERR_IO. */
int tbi_onefd_update(struct tbi_onefd *one, const struct pollfd *fds, size_t n, size_t stable,
                     uint64_t deadline, uint64_t now);

#endif
