/* bench/floor_udp.c - see floor.h. As few system calls to a packet as Linux allows. */
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static void set_int(int fd, int level, int option, int value, const char *what)
{
    if (setsockopt(fd, level, option, &value, sizeof value) < 0) {
        die("the socket has no %s: %s", what, strerror(errno));
    }
}

/* As root the kernel's limit (net.core.rmem_max) does not count. */
static void set_buffer(int fd, int forced, int asked, size_t bytes)
{
    int value = (int)bytes;
    if (setsockopt(fd, SOL_SOCKET, forced, &value, sizeof value) < 0) {
        set_int(fd, SOL_SOCKET, asked, value, "such buffer");
    }
}

static void prepare_slots(struct udp *u)
{
    for (size_t i = 0; i < u->slots_len; i++) {
        struct slot *s = &u->slots[i];
        struct msghdr *m = &u->messages[i].msg_hdr;

        s->data = malloc(BATCH_MAX);
        if (s->data == NULL) {
            die("no memory");
        }
        u->iovs[i] = (struct iovec){.iov_base = s->data, .iov_len = BATCH_MAX};
        m->msg_name = &s->from;
        m->msg_iov = &u->iovs[i];
        m->msg_iovlen = 1;
        m->msg_control = u->control[i];
    }
}

void udp_open(struct udp *u, const struct sockaddr_in *at, size_t buffer, size_t slots)
{
    socklen_t len = sizeof u->local;

    u->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    u->local = *at;
    if (u->fd < 0 || bind(u->fd, (struct sockaddr *)&u->local, len) < 0 ||
        getsockname(u->fd, (struct sockaddr *)&u->local, &len) < 0) {
        die("UDP port %u: %s", ntohs(at->sin_port), strerror(errno));
    }
    set_buffer(u->fd, SO_RCVBUFFORCE, SO_RCVBUF, buffer);
    set_buffer(u->fd, SO_SNDBUFFORCE, SO_SNDBUF, buffer);
    set_int(u->fd, IPPROTO_UDP, UDP_GRO, 1, "GRO");
    set_int(u->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, "way to ask for the path's MTU");
    u->slots_len = slots < SLOTS_MAX ? slots : SLOTS_MAX;
    prepare_slots(u);
}

/* Bytes of each packet but the last, if there are several. */
static size_t segment_of(struct msghdr *m, size_t size)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int segment;
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
            return segment > 0 ? (size_t)segment : size;
        }
    }
    return size;
}

size_t udp_receive(struct udp *u)
{
    for (size_t i = 0; i < u->slots_len; i++) { /* the kernel has written the sizes over */
        u->messages[i].msg_hdr.msg_namelen = sizeof u->slots[i].from;
        u->messages[i].msg_hdr.msg_controllen = sizeof u->control[i];
    }
    int n = recvmmsg(u->fd, u->messages, (unsigned)u->slots_len, MSG_DONTWAIT, NULL);
    if (n < 0) {
        /* ICMP's word that a peer has ended is for its connection to find out. */
        if (errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED) {
            die("receiving: %s", strerror(errno));
        }
        return 0;
    }
    for (int i = 0; i < n; i++) {
        u->slots[i].size = u->messages[i].msg_len;
        u->slots[i].segment = segment_of(&u->messages[i].msg_hdr, u->slots[i].size);
    }
    return (size_t)n;
}

void udp_send(struct udp *u, const struct sockaddr_in *to, const uint8_t *data, size_t size,
              size_t segment)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint16_t))] = {0};
    struct sockaddr_in name = *to;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr m = {
        .msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &iov, .msg_iovlen = 1};

    if (segment < size) {
        uint16_t bytes = (uint16_t)segment;
        m.msg_control = control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof bytes);
        memcpy(CMSG_DATA(c), &bytes, sizeof bytes);
    }
    while (sendmsg(u->fd, &m, MSG_DONTWAIT) < 0) {
        if (errno == EAGAIN) {
            struct pollfd wait = {.fd = u->fd, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (errno == EMSGSIZE || errno == ECONNREFUSED) {
            return; /* a packet that tries for too large an MTU; a peer that has ended */
        } else if (errno != EINTR) {
            die("sending: %s", strerror(errno));
        }
    }
}
