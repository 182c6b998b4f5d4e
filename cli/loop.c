/* cli/loop.c - the loop of the commands that run a node: ppoll over the server and the signals. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tbq.h"

#define STOP_MS 3000 /* what is under way gets this long to find its fate */

uint64_t loop_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int loop_open(struct loop *l, tbq_server *server)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    l->server = server;
    l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return l->signals < 0 ? TBQ_ERR_IO : 0;
}

static void on_signals(struct loop *l)
{
    struct signalfd_siginfo info;
    while (read(l->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (++l->stops > 1) {
            _exit(EXIT_SECOND_SIGNAL);
        }
        tbq_server_stop(l->server, STOP_MS);
    }
}

static const struct timespec *wait_for(struct loop *l, struct timespec *t)
{
    const struct timespec *wait = tbq_server_timeout(l->server, t);
    if (l->deadline == 0) {
        return wait;
    }
    uint64_t now = loop_now_ms();
    uint64_t left = l->deadline > now ? l->deadline - now : 0;
    if (wait == NULL || (uint64_t)t->tv_sec * 1000 + (uint64_t)t->tv_nsec / 1000000 > left) {
        t->tv_sec = (time_t)(left / 1000);
        t->tv_nsec = (long)(left % 1000) * 1000000;
    }
    return t;
}

int loop_run(struct loop *l, bool (*on_event)(void *user, tbq_event *e), void *user)
{
    for (;;) {
        struct pollfd fds[TBQ_FDS_MAX + 1];
        struct timespec t;
        tbq_event *e;
        size_t n = tbq_server_pollfds(l->server, fds, TBQ_FDS_MAX);

        fds[n] = (struct pollfd){.fd = l->signals, .events = POLLIN};
        if (ppoll(fds, n + 1, wait_for(l, &t), NULL) < 0 && errno != EINTR) {
            return TBQ_ERR_IO;
        }
        on_signals(l);
        int rv = tbq_server_process(l->server);
        if (rv < 0) {
            return rv;
        }
        while ((e = tbq_server_next_event(l->server)) != NULL) {
            if (!on_event(user, e)) {
                return 0;
            }
        }
        if (l->deadline != 0 && loop_now_ms() >= l->deadline) {
            l->timed_out = true; /* what has no fate gets one now, and then STOPPED comes */
            l->deadline = 0;
            tbq_server_stop(l->server, 0);
        }
    }
}
