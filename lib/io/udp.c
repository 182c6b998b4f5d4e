/* io/udp.c - see udp.h. Opening the socket, and receiving; sending is in udp_send.c. */
#include "io/udp_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include <tbquic/error.h>

#define RECV_ERRORS_MAX 8 /* pending ICMP errors that one receive steps over */

/* ---- opening -------------------------------------------------------------------------------- */

static bool set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* With the reason why IPv6 cannot be used, if it is that: then 0.0.0.0 is worth a try. */
static bool is_without_ipv6(int error)
{
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL || error == EPROTONOSUPPORT ||
           error == ENOPROTOOPT;
}

static int open_descriptor(int family)
{
#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
    return socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    int fd = socket(family, SOCK_DGRAM, 0);
    if (fd >= 0 && (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
#endif
}

/* Opens and binds; the errno of what failed, or 0. */
static int open_bound(struct tbi_udp *u, const struct tbi_addr *to)
{
    int family = to->u.sa.sa_family;
    bool both = family == AF_INET6 && tbi_addr_is_any(to);
    int fd = open_descriptor(family);

    if (fd < 0) {
        return errno;
    }
    if ((family == AF_INET6 && !set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both)) ||
        bind(fd, &to->u.sa, to->len) < 0) {
        int error = errno;
        close(fd);
        return error;
    }
    u->fd = fd;
    u->family = family;
    u->stats.dual_stack = both;
    return 0;
}

static int explain_bind(const struct tbi_addr *to, int error, char *text, size_t size)
{
    char name[TBI_ADDR_TEXT_SIZE];
    tbi_addr_to_text(to, name);

    switch (error) {
    case EADDRINUSE:
        tbi_text(text, size,
                 "UDP %s is in use by another program: stop that one, or choose another port "
                 "(0: any free one)",
                 name);
        return TBQ_ERR_IO;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        tbi_text(text, size,
                 "UDP %s cannot be bound: this machine does not have that address now; `ip "
                 "address` shows those it has, and :: takes all",
                 name);
        return TBQ_ERR_ADDRESS;
    case EACCES:
    case EPERM:
        tbi_text(text, size,
                 "UDP %s may not be bound: ports below 1024 need root or CAP_NET_BIND_SERVICE; "
                 "choose a higher port",
                 name);
        return TBQ_ERR_IO;
    case EMFILE:
    case ENFILE:
        tbi_text(text, size, "UDP %s: no more open files are allowed; raise `ulimit -n`", name);
        return TBQ_ERR_IO;
    default:
        tbi_text(text, size, "UDP %s cannot be opened: %s", name, strerror(error));
        return TBQ_ERR_IO;
    }
}

static int bind_somewhere(struct tbi_udp *u, const struct tbi_addr *bind_to, char *text,
                          size_t size)
{
    struct tbi_addr to = *bind_to;
    int error = open_bound(u, &to);

    if (error != 0 && to.u.sa.sa_family == AF_INET6 && tbi_addr_is_any(&to) &&
        is_without_ipv6(error)) {
        static const uint8_t any[4];
        tbi_addr_from_bytes(&to, any, sizeof any, tbi_addr_port(bind_to));
        error = open_bound(u, &to);
    }
    return error == 0 ? 0 : explain_bind(&to, error, text, size);
}

static size_t granted(int fd, int option)
{
    int value = 0;
    socklen_t len = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 || value < 0) {
        return 0;
    }
    return (size_t)value;
}

/* What the kernel cannot do here is done without: the local address and ECN are then unknown, and
 * packets are as small as the path needs because QUIC asks the path. */
static void set_options(struct tbi_udp *u, const struct tbi_udp_config *config)
{
    int fd = u->fd;
    bool v6 = u->family == AF_INET6;
    bool v4 = !v6 || u->stats.dual_stack;
    size_t ask = config->buffer_size > 0 ? config->buffer_size : TBI_UDP_BUFFER;
    int bytes = ask > INT32_MAX ? INT32_MAX : (int)ask;

    set_int(fd, SOL_SOCKET, SO_RCVBUF, bytes);
    set_int(fd, SOL_SOCKET, SO_SNDBUF, bytes);
    u->stats.buffer_asked = (size_t)bytes;
    u->stats.receive_buffer = granted(fd, SO_RCVBUF);
    u->stats.send_buffer = granted(fd, SO_SNDBUF);

    if (v6) {
        set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
#if defined(IPV6_MTU_DISCOVER) && defined(IPV6_PMTUDISC_PROBE)
        set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
#elif defined(IPV6_DONTFRAG)
        set_int(fd, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
#endif
    }
    if (v4) { /* on a dual-stack socket too: Linux keeps these apart from IPv6's */
#if defined(IP_PKTINFO)
        set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
#elif defined(IP_RECVDSTADDR)
        set_int(fd, IPPROTO_IP, IP_RECVDSTADDR, 1);
#endif
        set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
#if defined(IP_MTU_DISCOVER) && defined(IP_PMTUDISC_PROBE)
        set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
#elif defined(IP_DONTFRAG)
        set_int(fd, IPPROTO_IP, IP_DONTFRAG, 1);
#endif
    }
#if defined(UDP_GRO)
    u->stats.gro = !config->no_gro && set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
#endif
#if defined(UDP_SEGMENT)
    int segment = 0;
    socklen_t len = sizeof segment;
    u->stats.gso = !config->no_gso && getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, &len) == 0;
#endif
}

static int learn_local(struct tbi_udp *u)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof ss;

    if (getsockname(u->fd, (struct sockaddr *)&ss, &len) < 0) {
        return TBQ_ERR_IO;
    }
    return tbi_addr_from_sockaddr(&u->local, (const struct sockaddr *)&ss, len);
}

static void prepare_slots(struct tbi_udp *u)
{
    for (size_t i = 0; i < TBI_UDP_RECV_MAX; i++) {
        struct tbi_udp_slot *s = &u->slots[i];
        s->iov.iov_base = u->arena + i * TBI_DATAGRAM_MAX;
        s->iov.iov_len = TBI_DATAGRAM_MAX;
    }
#if defined(TBI_UDP_HAVE_MMSG)
    u->used = TBI_UDP_RECV_MAX;
#endif
}

int tbi_udp_open(struct tbi_udp **udp, const struct tbi_alloc *a,
                 const struct tbi_udp_config *config, char *text, size_t text_size)
{
    int rv = TBQ_ERR_NOMEM;
    struct tbi_udp *u = tbi_calloc(a, 1, sizeof *u);

    *udp = NULL;
    if (u == NULL) {
        tbi_text(text, text_size, "%s", tbq_strerror(rv));
        return rv;
    }
    u->alloc = a;
    u->fd = -1;
    u->arena = tbi_malloc(a, (size_t)TBI_UDP_RECV_MAX * TBI_DATAGRAM_MAX);
    if (u->arena == NULL) {
        tbi_text(text, text_size, "%s", tbq_strerror(rv));
        goto fail;
    }
    rv = bind_somewhere(u, &config->bind, text, text_size);
    if (rv < 0) {
        goto fail;
    }
    set_options(u, config);
    rv = learn_local(u);
    if (rv < 0) {
        tbi_text(text, text_size, "the system does not tell which address was bound");
        goto fail;
    }
    prepare_slots(u);
    *udp = u;
    return 0;

fail:
    tbi_udp_close(u);
    return rv;
}

void tbi_udp_close(struct tbi_udp *u)
{
    if (u == NULL) {
        return;
    }
    if (u->fd >= 0) {
        close(u->fd);
    }
    tbi_free(u->alloc, u->arena);
    tbi_free(u->alloc, u);
}

int tbi_udp_fd(const struct tbi_udp *u)
{
    return u->fd;
}

const struct tbi_addr *tbi_udp_local(const struct tbi_udp *u)
{
    return &u->local;
}

const struct tbi_udp_stats *tbi_udp_stats(const struct tbi_udp *u)
{
    return &u->stats;
}

#if defined(__linux__)
#define GRANTED_TWICE                                                                              \
    2U /* its own bookkeeping counts, so it tells twice what was asked, socket(7) */
#define LIMITS "sysctl net.core.rmem_max and net.core.wmem_max"
#else
#define GRANTED_TWICE 1U
#define LIMITS "sysctl kern.ipc.maxsockbuf"
#endif

bool tbi_udp_short(const struct tbi_udp_stats *stats, char text[TBI_UDP_SHORT_TEXT_SIZE])
{
    size_t in = stats->receive_buffer / GRANTED_TWICE, out = stats->send_buffer / GRANTED_TWICE;

    if (in >= stats->buffer_asked && out >= stats->buffer_asked) {
        return false;
    }
    tbi_text(text, TBI_UDP_SHORT_TEXT_SIZE,
             "the system grants socket buffers of %zu bytes to receive and %zu to send, not %zu: "
             "packets may be lost in bursts; to allow as many, raise " LIMITS,
             in, out, stats->buffer_asked);
    return true;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void prepare_message(struct tbi_udp_slot *s, struct msghdr *m)
{
    memset(m, 0, sizeof *m);
    m->msg_name = &s->name;
    m->msg_namelen = sizeof s->name;
    m->msg_iov = &s->iov;
    m->msg_iovlen = 1;
    m->msg_control = s->control.bytes;
    m->msg_controllen = sizeof s->control.bytes;
}

#if defined(TBI_UDP_HAVE_MMSG)

bool tbi_udp_lacks_mmsg(struct tbi_udp *u)
{
    if (errno != ENOSYS) {
        return false;
    }
    u->one_by_one = true;
    u->stats.bundles_refused++;
    return true;
}

/* How many messages came into the slots; -1 with errno. */
static int receive_many(struct tbi_udp *u)
{
    while (u->used > 0) {
        u->used--;
        prepare_message(&u->slots[u->used], &u->messages[u->used].msg_hdr);
    }
    int n = recvmmsg(u->fd, u->messages, TBI_UDP_RECV_MAX, MSG_DONTWAIT, NULL);
    u->used = n > 0 ? (size_t)n : 1; /* the kernel has written there */
    for (int i = 0; i < n; i++) {
        u->slots[i].message = u->messages[i].msg_hdr;
        u->slots[i].size = u->messages[i].msg_len;
    }
    return n;
}

#endif

/* The same, by a call for each. */
static int receive_each(struct tbi_udp *u)
{
    int n = 0;
    while (n < (int)TBI_UDP_RECV_MAX) {
        struct tbi_udp_slot *s = &u->slots[n];
        prepare_message(s, &s->message);
        ssize_t size = recvmsg(u->fd, &s->message, MSG_DONTWAIT);
        if (size < 0) {
            return n > 0 ? n : -1;
        }
        s->size = (size_t)size;
        n++;
    }
    return n;
}

static int receive_messages(struct tbi_udp *u)
{
#if defined(TBI_UDP_HAVE_MMSG)
    if (!u->one_by_one) {
        int n = receive_many(u);
        if (n >= 0 || !tbi_udp_lacks_mmsg(u)) {
            return n;
        }
    }
#endif
    return receive_each(u);
}

/* Kernels hand these values over as one byte or as an int. */
static int control_number(const struct cmsghdr *c)
{
    int value = 0;
    if (c->cmsg_len >= CMSG_LEN(sizeof value)) {
        memcpy(&value, CMSG_DATA(c), sizeof value);
        return value;
    }
    return c->cmsg_len >= CMSG_LEN(1) ? *CMSG_DATA(c) : 0;
}

static void read_control_v4(const struct cmsghdr *c, struct tbi_datagram *d, uint16_t port)
{
#if defined(IP_PKTINFO)
    if (c->cmsg_type == IP_PKTINFO && c->cmsg_len >= CMSG_LEN(sizeof(struct in_pktinfo))) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        tbi_addr_from_bytes(&d->local, (const uint8_t *)&info.ipi_addr, 4, port);
    }
#elif defined(IP_RECVDSTADDR)
    if (c->cmsg_type == IP_RECVDSTADDR && c->cmsg_len >= CMSG_LEN(4)) {
        tbi_addr_from_bytes(&d->local, CMSG_DATA(c), 4, port);
    }
#endif
    bool tos = c->cmsg_type == IP_TOS;
#if defined(IP_RECVTOS) && !defined(__linux__)
    tos = tos || c->cmsg_type == IP_RECVTOS; /* the BSDs name the value after the option */
#endif
    if (tos) {
        d->ecn = (uint8_t)(control_number(c) & 3);
    }
}

static void read_control_v6(const struct cmsghdr *c, struct tbi_datagram *d, uint16_t port)
{
    if (c->cmsg_type == IPV6_PKTINFO && c->cmsg_len >= CMSG_LEN(sizeof(struct in6_pktinfo))) {
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        tbi_addr_from_bytes(&d->local, info.ipi6_addr.s6_addr, 16, port);
        if (d->local.u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr)) {
            d->local.u.in6.sin6_scope_id = (uint32_t)info.ipi6_ifindex;
        }
    } else if (c->cmsg_type == IPV6_TCLASS) {
        d->ecn = (uint8_t)(control_number(c) & 3);
    }
}

static void read_control(struct msghdr *m, struct tbi_datagram *d, uint16_t port)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_IP) {
            read_control_v4(c, d, port);
        } else if (c->cmsg_level == IPPROTO_IPV6) {
            read_control_v6(c, d, port);
#if defined(UDP_GRO)
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int size = control_number(c);
            d->segment_size = size > 0 && (size_t)size < d->size ? (size_t)size : 0;
#endif
        }
    }
}

/* False: not a datagram that anyone can use. */
static bool take_slot(struct tbi_udp *u, struct tbi_udp_slot *s, struct tbi_datagram *d)
{
    memset(d, 0, sizeof *d);
    if ((s->message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || s->size == 0 ||
        tbi_addr_from_sockaddr(&d->remote, (const struct sockaddr *)&s->name,
                               s->message.msg_namelen) < 0) {
        u->stats.truncated++;
        return false;
    }
    d->data = s->iov.iov_base;
    d->size = s->size;
    read_control(&s->message, d, tbi_addr_port(&u->local));
    if (d->local.len == 0) {
        d->local = u->local;
    }
    u->stats.datagrams_received +=
        d->segment_size > 0 ? (d->size + d->segment_size - 1) / d->segment_size : 1;
    u->stats.bytes_received += d->size;
    return true;
}

int tbi_udp_recv(struct tbi_udp *u, const struct tbi_datagram **batch)
{
    int n = -1;

    *batch = u->batch;
    for (int tries = 0; n < 0; tries++) {
        n = receive_messages(u);
        if (n >= 0) {
            break;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return 0;
        }
        if (errno == EBADF || errno == ENOTSOCK || errno == EFAULT || errno == EINVAL) {
            return TBQ_ERR_IO;
        }
        /* An ICMP error about some destination, or a signal: it is gone once told. */
        if (tries == RECV_ERRORS_MAX) {
            return 0;
        }
    }
    int good = 0;
    for (int i = 0; i < n; i++) {
        if (take_slot(u, &u->slots[i], &u->batch[good])) {
            good++;
        }
    }
    return good;
}
