/* cli/loop.c - the loop of the commands that run a node: ppoll over the server and the signals. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "tbq.h"

#define STOP_MS 3000 /* what is under way gets this long to find its fate */
#define SLICE_MS 5   /* of events (a file written and synced for each); then their answers go out */

uint64_t loop_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int loop_open(struct loop *l, uint64_t timeout_ms)
{
    sigset_t set;

    *l = (struct loop){.deadline = timeout_ms != 0 ? loop_now_ms() + timeout_ms : 0};
    /* A reader that went away is noticed by the write; the node must not die of it unannounced. */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return l->signals < 0 ? fail(EXIT_USAGE, TBQ_ERR_IO, "the system gives no signalfd") : 0;
}

static void on_signals(struct loop *l)
{
    struct signalfd_siginfo info;
    while (read(l->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            l->hangup = true;
            continue;
        }
        if (++l->stops > 1) {
            _exit(EXIT_SECOND_SIGNAL);
        }
        if (l->server != NULL) {
            tbq_server_stop(l->server, STOP_MS);
        }
    }
}

static void on_deadline(struct loop *l)
{
    if (l->deadline != 0 && loop_now_ms() >= l->deadline) {
        l->timed_out = l->stops == 0;
        l->deadline = 0;
        if (l->server != NULL) {
            tbq_server_stop(l->server, 0); /* what has no fate gets one now; then STOPPED comes */
        }
    }
}

void loop_reload_on_hangup(struct loop *l)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    l->reloads = signalfd(l->signals, &set, 0) >= 0;
}

static void reload(struct loop *l)
{
    char why[512] = "", away[24];

    l->hangup = false;
    int rv = tbq_server_reload(l->server, why, sizeof why);
    if (rv < 0) {
        say("warning", (struct field[]){{"text", why, false}, {NULL, NULL, false}},
            "warning: nothing was reloaded: %s", why);
        return;
    }
    snprintf(away, sizeof away, "%d", rv);
    say("reloaded", (struct field[]){{"turned_away", away, true}, {NULL, NULL, false}},
        "the trust lists were read again; %s were turned away", away);
}

static void tick(struct loop *l, void *user)
{
    if (l->on_tick != NULL && loop_now_ms() >= l->next_tick) {
        l->next_tick = loop_now_ms() + l->tick_ms;
        l->on_tick(user);
    }
}

bool loop_stopping(const struct loop *l)
{
    return l->stops > 0 || l->timed_out || output_failed;
}

/* `wait`, or what is left until the deadline, the next tick or the next trim, when that is less. */
static const struct timespec *at_most(const struct loop *l, const struct timespec *wait,
                                      struct timespec *t)
{
    uint64_t until = l->deadline != 0 ? l->deadline : UINT64_MAX;
    until = l->on_tick != NULL && l->next_tick < until ? l->next_tick : until;
    uint64_t trim = l->server != NULL ? memory_when(l) : UINT64_MAX;
    until = trim < until ? trim : until;
    if (until == UINT64_MAX) {
        return wait;
    }
    uint64_t now = loop_now_ms();
    uint64_t left = until > now ? until - now : 0;
    if (wait == NULL || (uint64_t)t->tv_sec * 1000 + (uint64_t)t->tv_nsec / 1000000 > left) {
        t->tv_sec = (time_t)(left / 1000);
        t->tv_nsec = (long)(left % 1000) * 1000000;
    }
    return t;
}

bool loop_wait_readable(struct loop *l, int fd)
{
    for (;;) {
        struct timespec t;
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = l->signals, .events = POLLIN}};
        if (ppoll(fds, 2, at_most(l, NULL, &t), NULL) < 0 && errno != EINTR) {
            return true; /* the read will say what is wrong */
        }
        on_signals(l);
        on_deadline(l);
        if (loop_stopping(l) || fds[0].revents != 0) {
            return !loop_stopping(l);
        }
    }
}

/* Hands out events for a while. Says whether that was all, and in *end whether it is over. */
static bool hand_out(struct loop *l, bool (*on_event)(void *user, tbq_event *e), void *user,
                     bool *end)
{
    uint64_t until = loop_now_ms() + SLICE_MS;
    tbq_event *e;

    while ((e = tbq_server_next_event(l->server)) != NULL) {
        if (!on_event(user, e)) {
            *end = true;
            return true;
        }
        if (loop_now_ms() >= until) {
            return false;
        }
    }
    return true;
}

int loop_run(struct loop *l, bool (*on_event)(void *user, tbq_event *e), void *user)
{
    static const struct timespec at_once = {0, 0};
    bool end = false, all = true;

    while (!end) {
        struct pollfd fds[TBQ_FDS_MAX + 2];
        struct timespec t;

        if (output_failed && !l->told_output) {
            l->told_output = true;
            tbq_server_stop(l->server, STOP_MS);
        }
        size_t n = tbq_server_pollfds(l->server, fds, TBQ_FDS_MAX);
        const struct timespec *wait = at_most(l, tbq_server_timeout(l->server, &t), &t);

        fds[n] = (struct pollfd){.fd = l->signals, .events = POLLIN};
        fds[n + 1] = (struct pollfd){.fd = l->on_input != NULL ? l->input : -1, .events = POLLIN};
        int ready = ppoll(fds, n + 2, all ? wait : &at_once, NULL);
        if (ready < 0 && errno != EINTR) {
            return TBQ_ERR_IO;
        }
        if (ready == 0 && all) {
            memory_trim(l);
        }
        on_signals(l);
        on_deadline(l);
        if (l->hangup) {
            reload(l);
        }
        tick(l, user);
        if (ready > 0 && fds[n + 1].revents != 0 && l->on_input != NULL) {
            void (*on_input)(void *) = l->on_input;
            l->on_input = NULL;
            on_input(user);
        }
        int rv = tbq_server_process(l->server);
        if (rv < 0) {
            return rv;
        }
        all = hand_out(l, on_event, user, &end);
    }
    return 0;
}
