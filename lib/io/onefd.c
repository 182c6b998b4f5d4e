/* io/onefd.c - see onefd.h. */
#include "io/onefd.h"

#include <tbquic/error.h>

#include "base/now.h"

#if defined(__linux__)

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct tbi_onefd {
    const struct tbi_alloc *alloc;
    int epoll_fd;
    int timer_fd;
    uint64_t deadline; /* what the timer is set to */
    struct pollfd fds[TBI_ONEFD_MAX];
    size_t n;
};

int tbi_onefd_new(struct tbi_onefd **one, const struct tbi_alloc *a)
{
    struct tbi_onefd *o = tbi_calloc(a, 1, sizeof *o);

    *one = NULL;
    if (o == NULL) {
        return TBQ_ERR_NOMEM;
    }
    o->alloc = a;
    o->deadline = TBI_NEVER;
    o->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    o->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN};
    if (o->epoll_fd < 0 || o->timer_fd < 0 ||
        epoll_ctl(o->epoll_fd, EPOLL_CTL_ADD, o->timer_fd, &e) < 0) {
        tbi_onefd_free(o);
        return TBQ_ERR_IO;
    }
    *one = o;
    return 0;
}

void tbi_onefd_free(struct tbi_onefd *o)
{
    if (o == NULL) {
        return;
    }
    if (o->timer_fd >= 0) {
        close(o->timer_fd);
    }
    if (o->epoll_fd >= 0) {
        close(o->epoll_fd);
    }
    tbi_free(o->alloc, o);
}

int tbi_onefd_fd(const struct tbi_onefd *o)
{
    return o->epoll_fd;
}

static int set_deadline(struct tbi_onefd *o, uint64_t deadline, uint64_t now)
{
    /* Set again to the same time, a timer that has expired would only expire again. */
    if (deadline == o->deadline || deadline == 0) {
        return 0;
    }
    /* With traffic the deadline moves on with every turn: one wait that ends too early, now and
     * then, costs less than to follow it. */
    if (deadline != TBI_NEVER && deadline > o->deadline && o->deadline > now) {
        return 0;
    }
    struct itimerspec t = {0};
    if (deadline != TBI_NEVER) {
        t.it_value.tv_sec = (time_t)(deadline / TBI_NS_PER_S);
        t.it_value.tv_nsec = (long)(deadline % TBI_NS_PER_S);
    }
    if (timerfd_settime(o->timer_fd, TFD_TIMER_ABSTIME, &t, NULL) < 0) {
        return TBQ_ERR_IO;
    }
    o->deadline = deadline;
    return 0;
}

static const struct pollfd *find(const struct pollfd *fds, size_t n, int fd)
{
    for (size_t i = 0; i < n; i++) {
        if (fds[i].fd == fd) {
            return &fds[i];
        }
    }
    return NULL;
}

/* The kernel drops a closed descriptor by itself, and its number may stand for another one now:
 * what is watched is therefore found out by trying. */
static int watch(struct tbi_onefd *o, const struct pollfd *p)
{
    struct epoll_event e = {0};
    e.events = ((p->events & POLLIN) ? (uint32_t)EPOLLIN : 0) |
               ((p->events & POLLOUT) ? (uint32_t)EPOLLOUT : 0);
    e.data.fd = p->fd;
    if (epoll_ctl(o->epoll_fd, EPOLL_CTL_MOD, p->fd, &e) == 0) {
        return 0;
    }
    if (errno != ENOENT || epoll_ctl(o->epoll_fd, EPOLL_CTL_ADD, p->fd, &e) < 0) {
        return TBQ_ERR_IO;
    }
    return 0;
}

int tbi_onefd_update(struct tbi_onefd *o, const struct pollfd *fds, size_t n, size_t stable,
                     uint64_t deadline, uint64_t now)
{
    if (n > TBI_ONEFD_MAX) {
        return TBQ_ERR_INVALID;
    }
    if (n > 0 && n == stable && n == o->n && memcmp(fds, o->fds, n * sizeof *fds) == 0) {
        return set_deadline(o, deadline, now); /* as mostly */
    }
    for (size_t i = 0; i < o->n; i++) {
        if (find(fds, n, o->fds[i].fd) == NULL) {
            /* Fails where it was closed meanwhile: then it is not watched any more either. */
            epoll_ctl(o->epoll_fd, EPOLL_CTL_DEL, o->fds[i].fd, NULL);
        }
    }
    size_t old_n = o->n;
    struct pollfd old[TBI_ONEFD_MAX];
    memcpy(old, o->fds, sizeof old);
    o->n = 0;
    for (size_t i = 0; i < n; i++) {
        const struct pollfd *before = i < stable ? find(old, old_n, fds[i].fd) : NULL;
        o->fds[o->n++] = fds[i];
        if (before != NULL && before->events == fds[i].events) {
            continue;
        }
        int rv = watch(o, &fds[i]);
        if (rv < 0) {
            return rv;
        }
    }
    return set_deadline(o, deadline, now);
}

#else

int tbi_onefd_new(struct tbi_onefd **one, const struct tbi_alloc *a)
{
    (void)a;
    *one = NULL;
    return TBQ_ERR_UNSUPPORTED;
}

void tbi_onefd_free(struct tbi_onefd *one)
{
    (void)one;
}

int tbi_onefd_fd(const struct tbi_onefd *one)
{
    (void)one;
    return -1;
}

int tbi_onefd_update(struct tbi_onefd *one, const struct pollfd *fds, size_t n, size_t stable,
                     uint64_t deadline, uint64_t now)
{
    (void)one;
    (void)fds;
    (void)n;
    (void)stable;
    (void)deadline;
    (void)now;
    return TBQ_ERR_UNSUPPORTED;
}

#endif
