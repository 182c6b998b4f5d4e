/* base/datagram.h - what passes between a socket (or a pretended network) and the engine.
 *
 * Both structs may carry several QUIC packets for or from the same place: the kernel joins equal
 * sized ones (GRO, GSO), and a system call for 64 KiB costs little more than one for a packet. */
#ifndef TBI_BASE_DATAGRAM_H
#define TBI_BASE_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define TBI_ECN_NOT_ECT 0U /* RFC 3168: the two low bits of the traffic class */
#define TBI_ECN_ECT1 1U
#define TBI_ECN_ECT0 2U
#define TBI_ECN_CE 3U

#define TBI_DATAGRAM_MAX 65535U /* bytes of one batch, either way; IP allows a little less */
#define TBI_SEGMENTS_MAX 64U    /* packets of one batch to send: UDP_MAX_SEGMENTS of old kernels */

/* Received. The bytes are the socket's, valid until the next receive. */
struct tbi_datagram {
    struct tbi_addr local;  /* what it was sent to; the port is the socket's */
    struct tbi_addr remote; /* who sent it */
    uint8_t ecn;            /* TBI_ECN_... of all packets in it */
    const uint8_t *data;
    size_t size;
    size_t segment_size; /* of each packet but the last, perhaps shorter; 0: one packet */
};

/* To send. The sending side lends the buffer `data` to the engine, which fills in the rest. */
struct tbi_send_batch {
    struct tbi_addr local; /* to send from; len 0 or unspecified: the kernel chooses */
    struct tbi_addr remote;
    uint8_t ecn; /* TBI_ECN_... for all packets */
    uint8_t *data;
    size_t capacity;     /* bytes that `data` has room for: TBI_DATAGRAM_MAX in a server */
    size_t size;         /* bytes to send */
    size_t segment_size; /* of each packet but the last, perhaps shorter; 0: one packet */
};

#endif
