/* io/netwatch.c - see netwatch.h. Messages: rtnetlink(7), netlink(7). */
#include "io/netwatch.h"

#include <tbquic/error.h>

#if defined(__linux__)

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cursor.h"

#define READS_MAX 64 /* datagrams of one call: who floods the kernel does not hold up a loop */
#define BUFFER_SIZE 16384U /* bytes; the kernel's own are 8 KiB or a page, whichever is more */

struct tbi_netwatch {
    const struct tbi_alloc *alloc;
    int fd;
    uint8_t buffer[BUFFER_SIZE];
};

int tbi_netwatch_new(struct tbi_netwatch **watch, const struct tbi_alloc *a)
{
    struct tbi_netwatch *w = tbi_calloc(a, 1, sizeof *w);
    struct sockaddr_nl local = {.nl_family = AF_NETLINK,
                                .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                             RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};

    *watch = NULL;
    if (w == NULL) {
        return TBQ_ERR_NOMEM;
    }
    w->alloc = a;
    w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (w->fd < 0 || bind(w->fd, (const struct sockaddr *)&local, sizeof local) < 0) {
        tbi_netwatch_free(w);
        return TBQ_ERR_IO;
    }
    *watch = w;
    return 0;
}

void tbi_netwatch_free(struct tbi_netwatch *w)
{
    if (w == NULL) {
        return;
    }
    if (w->fd >= 0) {
        close(w->fd);
    }
    tbi_free(w->alloc, w);
}

int tbi_netwatch_fd(const struct tbi_netwatch *w)
{
    return w->fd;
}

/* --- What a message tells --------------------------------------------------------------------- */

/* Only default routes: a router's table is none of our concern. */
static bool route_tells(struct tbi_cursor *body)
{
    struct rtmsg route;
    tbi_cur_copy(body, &route, sizeof route);
    return route.rtm_dst_len == 0;
}

/* A wireless interface tells of every scan as if it had changed. */
static bool link_tells(struct tbi_cursor *body)
{
    struct ifinfomsg link;

    tbi_cur_copy(body, &link, sizeof link);
    while (link.ifi_change == 0 && tbi_cur_left(body) >= sizeof(struct rtattr)) {
        struct rtattr a;
        tbi_cur_copy(body, &a, sizeof a);
        if (a.rta_type == IFLA_WIRELESS) {
            return false;
        }
        if (a.rta_len < sizeof a) {
            tbi_cur_fail(body, TBQ_ERR_MALFORMED);
            break;
        }
        size_t padded = RTA_ALIGN((size_t)a.rta_len) - sizeof a;
        (void)tbi_cur_take(body, padded < tbi_cur_left(body) ? padded : a.rta_len - sizeof a);
    }
    return true;
}

static bool message_tells(uint16_t type, struct tbi_cursor *body)
{
    switch (type) {
    case RTM_NEWADDR:
    case RTM_DELADDR:
    case RTM_DELLINK:
    case NLMSG_OVERRUN: /* messages were lost */
        return true;
    case RTM_NEWLINK:
        return link_tells(body) || tbi_cur_error(body) < 0;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        return route_tells(body) || tbi_cur_error(body) < 0;
    default:
        return false;
    }
}

bool tbi_netwatch_tells(const uint8_t *data, size_t size)
{
    struct tbi_cursor c;

    tbi_cur_init(&c, data, size);
    while (tbi_cur_left(&c) > 0) {
        struct nlmsghdr h;
        tbi_cur_copy(&c, &h, sizeof h);
        if (tbi_cur_error(&c) < 0 || h.nlmsg_len < sizeof h ||
            h.nlmsg_len - sizeof h > tbi_cur_left(&c)) {
            return true;
        }
        size_t body_size = h.nlmsg_len - sizeof h;
        struct tbi_cursor body;
        tbi_cur_init(&body, tbi_cur_take(&c, body_size), body_size);
        if (message_tells(h.nlmsg_type, &body)) {
            return true;
        }
        size_t padding = NLMSG_ALIGN((size_t)h.nlmsg_len) - h.nlmsg_len;
        (void)tbi_cur_take(&c, padding < tbi_cur_left(&c) ? padding : tbi_cur_left(&c));
    }
    return false;
}

/* --- Reading ---------------------------------------------------------------------------------- */

bool tbi_netwatch_read(struct tbi_netwatch *w, bool *failed)
{
    bool changed = false;

    *failed = false;
    for (int i = 0; i < READS_MAX; i++) {
        struct sockaddr_nl from = {0};
        struct iovec iov = {.iov_base = w->buffer, .iov_len = sizeof w->buffer};
        struct msghdr m = {
            .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n = recvmsg(w->fd, &m, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == ENOBUFS) { /* more came than there was room for: something has */
            changed = true;
            continue;
        }
        if (n < 0) {
            *failed = errno != EAGAIN && errno != EWOULDBLOCK;
            return changed || *failed;
        }
        if (from.nl_pid != 0) { /* other programs may write to the socket; the kernel's id is 0 */
            continue;
        }
        changed =
            changed || (m.msg_flags & MSG_TRUNC) != 0 || tbi_netwatch_tells(w->buffer, (size_t)n);
    }
    return changed;
}

#else

int tbi_netwatch_new(struct tbi_netwatch **watch, const struct tbi_alloc *a)
{
    (void)a;
    *watch = NULL;
    return TBQ_ERR_UNSUPPORTED;
}

void tbi_netwatch_free(struct tbi_netwatch *watch)
{
    (void)watch;
}

int tbi_netwatch_fd(const struct tbi_netwatch *watch)
{
    (void)watch;
    return -1;
}

bool tbi_netwatch_read(struct tbi_netwatch *watch, bool *failed)
{
    (void)watch;
    *failed = true;
    return false;
}

bool tbi_netwatch_tells(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return false;
}

#endif
