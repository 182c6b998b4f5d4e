/* io/udp_send.c - see udp.h. Sending: one system call for many packets, or what comes closest. */
#include "io/udp_parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <tbquic/error.h>

/* Bytes of one UDP_SEGMENT send: what fits into an IPv4 packet (RFC 791, RFC 768), which is the
 * kernel's limit for the bundle. IPv6 would take 20 more. */
#define BUNDLE_MAX (65535U - 20U - 8U)

/* Where the packets of a batch go, and what goes beside them. */
struct envelope {
    struct tbi_addr to;
    struct tbi_udp_control control;
    size_t control_size; /* without the segment size */
};

/* Appends a control message; the caller makes sure that there is room (TBI_UDP_CONTROL_SIZE). */
static size_t put_control(struct tbi_udp_control *control, size_t used, int level, int type,
                          const void *value, size_t size)
{
    struct cmsghdr c = {.cmsg_level = level, .cmsg_type = type};
    c.cmsg_len = CMSG_LEN(size);
    memset(control->bytes + used, 0, CMSG_SPACE(size));
    memcpy(control->bytes + used, &c, sizeof c);
    memcpy(control->bytes + used + CMSG_LEN(0), value, size);
    return used + CMSG_SPACE(size);
}

/* Linux takes IPv4's own options for mapped addresses on an IPv6 socket; others want IPv6's. */
static bool uses_v4_control(const struct tbi_udp *u, const struct tbi_addr *remote)
{
#if defined(__linux__)
    (void)u;
    return remote->u.sa.sa_family == AF_INET;
#else
    (void)remote;
    return u->family == AF_INET;
#endif
}

static void put_local(struct envelope *e, bool v4, const struct tbi_addr *local)
{
    if (local->len == 0 || tbi_addr_is_any(local)) {
        return;
    }
    if (v4 && local->u.sa.sa_family == AF_INET) {
#if defined(IP_PKTINFO)
        struct in_pktinfo info = {.ipi_spec_dst = local->u.in.sin_addr};
        e->control_size =
            put_control(&e->control, e->control_size, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
#elif defined(IP_SENDSRCADDR)
        e->control_size = put_control(&e->control, e->control_size, IPPROTO_IP, IP_SENDSRCADDR,
                                      &local->u.in.sin_addr, 4);
#endif
    } else if (!v4) {
        struct tbi_addr mapped = *local;
        tbi_addr_to_v6(&mapped);
        struct in6_pktinfo info = {.ipi6_addr = mapped.u.in6.sin6_addr};
        if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) {
            info.ipi6_ifindex = mapped.u.in6.sin6_scope_id;
        }
        e->control_size = put_control(&e->control, e->control_size, IPPROTO_IPV6, IPV6_PKTINFO,
                                      &info, sizeof info);
    }
}

static void put_ecn(struct envelope *e, bool v4, uint8_t ecn)
{
    if (ecn == TBI_ECN_NOT_ECT) {
        return;
    }
    int value = ecn & 3;
#if defined(__FreeBSD__)
    if (v4) { /* there the value is one byte */
        uint8_t byte = (uint8_t)value;
        e->control_size =
            put_control(&e->control, e->control_size, IPPROTO_IP, IP_TOS, &byte, sizeof byte);
        return;
    }
#endif
    e->control_size = put_control(&e->control, e->control_size, v4 ? IPPROTO_IP : IPPROTO_IPV6,
                                  v4 ? IP_TOS : IPV6_TCLASS, &value, sizeof value);
}

static void address_envelope(const struct tbi_udp *u, const struct tbi_send_batch *b,
                             struct envelope *e)
{
    bool v4 = uses_v4_control(u, &b->remote);

    e->to = b->remote;
    e->control_size = 0;
    if (u->family == AF_INET6) {
        tbi_addr_to_v6(&e->to);
    }
    put_local(e, v4, &b->local);
    put_ecn(e, v4, b->ecn);
}

static void fill_message(struct msghdr *m, struct iovec *iov, struct envelope *e,
                         const uint8_t *data, size_t size)
{
    memset(m, 0, sizeof *m);
    iov->iov_base = (void *)data; /* not written to */
    iov->iov_len = size;
    m->msg_name = &e->to.u.sa;
    m->msg_namelen = e->to.len;
    m->msg_iov = iov;
    m->msg_iovlen = 1;
    m->msg_control = e->control_size > 0 ? e->control.bytes : NULL;
    m->msg_controllen = e->control_size;
}

static ssize_t send_one(struct tbi_udp *u, const struct msghdr *m)
{
    ssize_t n;
    do {
        n = sendmsg(u->fd, m, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    return n;
}

static size_t packets_in(size_t size, size_t segment)
{
    return (size + segment - 1) / segment;
}

/* What an error means for `size` bytes of packets: 0 to go on with the next, or an error of
 * tbi_udp_send(). Everything about a destination, a route or a firewall is the former. */
static int judge(struct tbi_udp *u, int error, size_t packets)
{
    switch (error) {
    case EAGAIN:
#if EWOULDBLOCK != EAGAIN
    case EWOULDBLOCK:
#endif
        u->stats.send_blocked++;
        return TBQ_ERR_AGAIN;
    case EBADF:
    case ENOTSOCK:
    case EFAULT:
        return TBQ_ERR_IO;
    case EMSGSIZE:
        u->stats.send_too_large += packets;
        return 0;
    default:
        u->stats.send_refused += packets;
        return 0;
    }
}

static void count_sent(struct tbi_udp *u, size_t packets, size_t size)
{
    u->stats.datagrams_sent += packets;
    u->stats.bytes_sent += size;
}

/* Packets of their own, each by a system call. *done: bytes that are dealt with. */
static int send_each(struct tbi_udp *u, struct envelope *e, const uint8_t *data, size_t size,
                     size_t segment, size_t *done)
{
    while (*done < size) {
        struct msghdr m;
        struct iovec iov;
        size_t one = size - *done < segment ? size - *done : segment;
        fill_message(&m, &iov, e, data + *done, one);
        if (send_one(u, &m) < 0) {
            int rv = judge(u, errno, 1);
            if (rv < 0) {
                return rv;
            }
        } else {
            count_sent(u, 1, one);
        }
        *done += one;
    }
    return 0;
}

#if defined(TBI_UDP_HAVE_MMSG)

/* The same, several to a system call. */
static int send_packets(struct tbi_udp *u, struct envelope *e, const uint8_t *data, size_t size,
                        size_t segment, size_t *done)
{
    struct mmsghdr messages[TBI_SEGMENTS_MAX];
    struct iovec iovs[TBI_SEGMENTS_MAX];

    while (*done < size && !u->one_by_one) {
        unsigned n = 0;
        for (size_t at = *done; at < size && n < TBI_SEGMENTS_MAX; at += segment, n++) {
            size_t one = size - at < segment ? size - at : segment;
            fill_message(&messages[n].msg_hdr, &iovs[n], e, data + at, one);
            messages[n].msg_len = 0;
        }
        int sent = sendmmsg(u->fd, messages, n, MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR || tbi_udp_lacks_mmsg(u)) {
                continue;
            }
            int rv = judge(u, errno, 1);
            if (rv < 0) {
                return rv;
            }
            *done += iovs[0].iov_len;
        }
        for (int i = 0; i < sent; i++) {
            count_sent(u, 1, iovs[i].iov_len);
            *done += iovs[i].iov_len;
        }
    }
    return send_each(u, e, data, size, segment, done);
}

#else
#define send_packets send_each
#endif

#if defined(UDP_SEGMENT)

/* One bundle, which the kernel cuts into packets. */
static ssize_t send_bundle(struct tbi_udp *u, const struct envelope *envelope, const uint8_t *data,
                           size_t size, size_t segment)
{
    struct envelope e = *envelope;
    struct msghdr m;
    struct iovec iov;
    uint16_t gso = (uint16_t)segment;

    e.control_size =
        put_control(&e.control, e.control_size, IPPROTO_UDP, UDP_SEGMENT, &gso, sizeof gso);
    fill_message(&m, &iov, &e, data, size);
    return send_one(u, &m);
}

/* A kernel may know UDP_SEGMENT and yet refuse it on a route: an interface without checksum
 * offload (EIO), or one that sits behind IPsec (EINVAL, as for a wrong destination). When the same
 * packets pass one by one, it is never tried again. */
static int send_bundles(struct tbi_udp *u, struct envelope *e, const uint8_t *data, size_t size,
                        size_t segment, size_t *done)
{
    if (segment > BUNDLE_MAX || segment >= size) {
        return send_packets(u, e, data, size, segment, done);
    }
    size_t most = BUNDLE_MAX / segment;
    most = (most > TBI_SEGMENTS_MAX ? TBI_SEGMENTS_MAX : most) * segment;

    while (*done < size) {
        size_t part = size - *done < most ? size - *done : most;
        size_t packets = packets_in(part, segment);
        if (packets == 1 || !u->stats.gso) {
            return send_packets(u, e, data, size, segment, done);
        }
        if (send_bundle(u, e, data + *done, part, segment) >= 0) {
            count_sent(u, packets, part);
            *done += part;
            continue;
        }
        if (errno != EIO && errno != EINVAL && errno != EOPNOTSUPP && errno != EMSGSIZE) {
            int rv = judge(u, errno, packets);
            if (rv < 0) {
                return rv;
            }
            *done += part;
            continue;
        }
        bool about_gso = errno != EMSGSIZE;
        uint64_t before = u->stats.datagrams_sent;
        int rv = send_packets(u, e, data, *done + part, segment, done);
        if (about_gso && u->stats.datagrams_sent != before) {
            u->stats.gso = false;
            u->stats.bundles_refused++;
        }
        if (rv < 0) {
            return rv;
        }
    }
    return 0;
}

#else

static int send_bundles(struct tbi_udp *u, struct envelope *e, const uint8_t *data, size_t size,
                        size_t segment, size_t *done)
{
    return send_packets(u, e, data, size, segment, done);
}

#endif

int tbi_udp_send(struct tbi_udp *u, struct tbi_send_batch *b)
{
    struct envelope e;
    size_t segment = b->segment_size > 0 && b->segment_size < b->size ? b->segment_size : b->size;
    size_t done = 0;

    if (b->size == 0 || b->size > TBI_DATAGRAM_MAX || b->remote.len == 0) {
        return TBQ_ERR_INVALID;
    }
    if (u->family == AF_INET && b->remote.u.sa.sa_family != AF_INET) {
        u->stats.send_refused += packets_in(b->size, segment);
        return 0;
    }
    address_envelope(u, b, &e);
    int rv = send_bundles(u, &e, b->data, b->size, segment, &done);
    if (rv == TBQ_ERR_AGAIN && done > 0) {
        memmove(b->data, b->data + done, b->size - done);
        b->size -= done;
    }
    return rv;
}
