/* io/udp_parts.h - what a UDP socket is made of; shared by udp.c and udp_send.c only. */
#ifndef TBI_IO_UDP_PARTS_H
#define TBI_IO_UDP_PARTS_H

#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "io/udp.h"

#if defined(__linux__) || defined(__FreeBSD__) || defined(__NetBSD__)
#define TBI_UDP_HAVE_MMSG 1
#endif

#if defined(__linux__)
/* Older C libraries lack the names; the kernel is asked whether it has the thing. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#endif

/* Bytes for both pktinfos, both traffic classes and the GRO size, with room to spare. */
#define TBI_UDP_CONTROL_SIZE 256

struct tbi_udp_control {
    _Alignas(struct cmsghdr) uint8_t bytes[TBI_UDP_CONTROL_SIZE];
};

/* Where one datagram, or a bundle of them, comes in. */
struct tbi_udp_slot {
    struct msghdr message;
    struct iovec iov; /* TBI_DATAGRAM_MAX bytes of the arena */
    struct sockaddr_storage name;
    struct tbi_udp_control control;
    size_t size;
};

struct tbi_udp {
    const struct tbi_alloc *alloc;
    int fd;
    int family; /* of the socket: IPv4 goes through AF_INET6 when both are served */
    struct tbi_addr local;
    struct tbi_udp_stats stats;
    uint8_t *arena;
    struct tbi_udp_slot slots[TBI_UDP_RECV_MAX];
    struct tbi_datagram batch[TBI_UDP_RECV_MAX];
#if defined(TBI_UDP_HAVE_MMSG)
    struct mmsghdr messages[TBI_UDP_RECV_MAX];
    size_t used;     /* of these, the first ones: they are prepared anew before the next receive */
    bool one_by_one; /* this kernel has no such calls, or a filter says so (ENOSYS) */
#endif
};

#if defined(TBI_UDP_HAVE_MMSG)
/* Whether recvmmsg() or sendmmsg() failed, with errno, since there is none: it is not tried again.
 */
bool tbi_udp_lacks_mmsg(struct tbi_udp *udp);
#endif

#endif
