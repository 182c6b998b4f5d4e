/* io/random.h - where randomness comes from: one seed per server, from the operating system. */
#ifndef TBI_IO_RANDOM_H
#define TBI_IO_RANDOM_H

#include <stddef.h>

/* Fills all `size` bytes or nothing that may be used. Waits only while the system's own pool is
 * not ready yet, early in its boot. 0 or TBQ_ERR_IO. */
int tbi_random_fill(void *to, size_t size);

#endif
