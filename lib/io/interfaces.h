/* io/interfaces.h - the addresses of this machine. */
#ifndef TBI_IO_INTERFACES_H
#define TBI_IO_INTERFACES_H

#include <stddef.h>

#include "base/addr.h"

/* The addresses of interfaces that are up, with that port; those that reach further come before
 * loopback. Only IPv4 ones where `v4_only`. Link-local ones are left out: they mean nothing to
 * others without an interface. Returns how many, at most `max`; 0 where the system does not tell.
 */
size_t tbi_interfaces(struct tbi_addr *to, size_t max, uint16_t port, bool v4_only);

#endif
