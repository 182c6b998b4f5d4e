/* io/netwatch.h - notices that interfaces, addresses or default routes of this machine have
 * changed. What they are now is asked elsewhere (interfaces.h).
 *
 * Linux: a netlink socket. Elsewhere TBQ_ERR_UNSUPPORTED. */
#ifndef TBI_IO_NETWATCH_H
#define TBI_IO_NETWATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct tbi_netwatch;

/* 0, TBQ_ERR_UNSUPPORTED, TBQ_ERR_IO (no descriptor left, or not allowed) or TBQ_ERR_NOMEM. */
int tbi_netwatch_new(struct tbi_netwatch **watch, const struct tbi_alloc *a);
void tbi_netwatch_free(struct tbi_netwatch *watch);    /* NULL is fine */
int tbi_netwatch_fd(const struct tbi_netwatch *watch); /* readable when there is something */

/* Reads what is there, a bounded part of it, and never waits: true when something may have changed;
 * also when the kernel had to throw news away, and when the watch itself fails, which it tells by
 * *failed (then it is of no use any more). */
bool tbi_netwatch_read(struct tbi_netwatch *watch, bool *failed);

/* Whether these bytes of netlink tell of a change; what is malformed counts as one, since the
 * kernel does not write it: then the bytes are not understood. */
bool tbi_netwatch_tells(const uint8_t *data, size_t size);

#endif
