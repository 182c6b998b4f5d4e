/* io/udp.h - one UDP socket as QUIC wants it: many packets per system call, ECN, local addresses.
 *
 * What the kernel has is found out by asking it; what it lacks is done without, a little slower.
 * Errors that concern one destination are counted and do not end the socket. */
#ifndef TBI_IO_UDP_H
#define TBI_IO_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/datagram.h"

/* Bytes: some 30 ms at 1 Gbit/s while the process is elsewhere. */
#define TBI_UDP_BUFFER (4U << 20)
#define TBI_UDP_RECV_MAX 32U /* datagrams (or bundles of them) of one receive */

struct tbi_udp;

struct tbi_udp_config {
    /* Where to bind. "::" takes both IP versions, and is 0.0.0.0 where IPv6 is off. */
    struct tbi_addr bind;
    size_t buffer_size; /* bytes to ask for in each direction; 0: TBI_UDP_BUFFER */
    bool no_gso;        /* do without UDP_SEGMENT and UDP_GRO, for tests and comparison */
    bool no_gro;
};

struct tbi_udp_stats {
    uint64_t datagrams_received; /* packets: bundles count as what is in them */
    uint64_t datagrams_sent;
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t truncated;       /* received and thrown away: larger than the buffer, or malformed */
    uint64_t send_blocked;    /* times that the socket's send buffer was full */
    uint64_t send_too_large;  /* packets larger than the path or interface allows (EMSGSIZE) */
    uint64_t send_refused;    /* packets that the system would not send to that destination */
    uint64_t bundles_refused; /* times that a call for many packets turned out not to be had */
    size_t buffer_asked;      /* bytes, of each of these: */
    size_t receive_buffer;    /* bytes granted; Linux counts its bookkeeping too */
    size_t send_buffer;
    bool gso; /* in use now */
    bool gro;
    bool dual_stack;
};

/* Opens and binds. On failure `text` (may be NULL) names the address and says what to do.
 * 0, TBQ_ERR_IO, TBQ_ERR_ADDRESS (not an address of this machine), TBQ_ERR_NOMEM. */
int tbi_udp_open(struct tbi_udp **udp, const struct tbi_alloc *a,
                 const struct tbi_udp_config *config, char *text, size_t text_size);
void tbi_udp_close(struct tbi_udp *udp); /* NULL is fine */

int tbi_udp_fd(const struct tbi_udp *udp);                       /* to wait for */
const struct tbi_addr *tbi_udp_local(const struct tbi_udp *udp); /* what was bound, with its port */
const struct tbi_udp_stats *tbi_udp_stats(const struct tbi_udp *udp);

/* Whether the system granted smaller buffers than were asked for; then `text` says how small, and
 * what helps. */
#define TBI_UDP_SHORT_TEXT_SIZE 256
bool tbi_udp_short(const struct tbi_udp_stats *stats, char text[TBI_UDP_SHORT_TEXT_SIZE]);

/* Takes what is there, at most TBI_UDP_RECV_MAX: *batch is valid until the next receive.
 * Returns how many; 0: nothing is there now; TBQ_ERR_IO: the socket is of no use any more. */
int tbi_udp_recv(struct tbi_udp *udp, const struct tbi_datagram **batch);

/* Sends one batch. 0: done with, sent or counted as lost to its destination. TBQ_ERR_AGAIN: the
 * send buffer is full, the batch holds what is left of it; wait for POLLOUT and call again with the
 * same batch. TBQ_ERR_INVALID: sizes that make no sense. TBQ_ERR_IO: the socket is of no use. */
int tbi_udp_send(struct tbi_udp *udp, struct tbi_send_batch *batch);

#endif
