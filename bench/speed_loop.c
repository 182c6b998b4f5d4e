/* bench/speed_loop.c - nodes, and the ways to drive them: see speed.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* ppoll() */
#endif
#include "speed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef SPEED_EV
#include <tbquic/ev.h>
#endif

/* Events of epoll. Few: of many nodes the last ones of a turn are not ready again when the next one
 * is asked for, and would miss it. */
#define AT_ONCE 8
#define FILES_EACH 8                  /* descriptors of a node */
#define FILES_BESIDES 64              /* of the process */
#define DIAL_MS 30000                 /* a crowd that dials at once is slow */
#define LONGEST_NS (30 * SIDE_SECOND) /* without any event */

/* With poll(): how many descriptors a node has there, and for how long it waits at most. */
struct waits {
    size_t fds;
    bool timed;
    struct timespec timeout;
};

static struct {
    enum drive drive;
    struct node **nodes;
    size_t len, capacity;
    int ep; /* of events and actor */
    struct pollfd *fds;
    struct waits *waits; /* of each node */
    uint64_t (*connections)(void);
    bool over;               /* standard input has ended */
    uint64_t events, before; /* that have come; when it was looked at last */
    uint64_t since_ns;
#ifdef SPEED_EV
    struct ev_loop *ev;
    ev_io input;
    ev_timer timer;
#endif
} loop;

static bool is_actor(void)
{
    return loop.drive == DRIVE_ACTOR || loop.drive == DRIVE_EV;
}

static void look_at_input(void)
{
    if (loop.connections != NULL && !side_orders(loop.connections())) {
        loop.over = true;
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static void tell(struct node *n, const tbq_event *e)
{
    loop.events++;
    if (e->type == TBQ_EVENT_WARNING && n == loop.nodes[0]) {
        fprintf(stderr, "warning: %s\n", e->text); /* others would say the same */
    }
    n->on_event(n, e);
}

static int on_message(void *user, tbq_server *server, const tbq_event *e)
{
    (void)server;
    tell(user, e);
    return 0;
}

static void on_other(void *user, tbq_server *server, const tbq_event *e)
{
    (void)server;
    tell(user, e);
}

static void process(struct node *n)
{
    tbq_event *e;

    if (tbq_server_process(n->server) < 0) {
        side_die("the socket is of no use any more");
    }
    while (!is_actor() && (e = tbq_server_next_event(n->server)) != NULL) {
        tell(n, e);
        tbq_event_release(e);
    }
}

/* ---- libev ----------------------------------------------------------------------------------- */

#ifdef SPEED_EV
static void on_input(struct ev_loop *ev, ev_io *w, int events)
{
    (void)ev, (void)w, (void)events;
    look_at_input();
}

static void on_timer(struct ev_loop *ev, ev_timer *w, int events)
{
    (void)ev, (void)w, (void)events; /* it only ends the wait */
}

static void ev_begin(void)
{
    loop.ev = ev_default_loop(0);
    if (loop.ev == NULL) {
        side_die("libev does not begin");
    }
    ev_init(&loop.timer, on_timer);
}

static tbq_loop *ev_loop_of_node(void)
{
    return tbq_loop_ev(loop.ev);
}

static void ev_obey(void)
{
    ev_io_init(&loop.input, on_input, STDIN_FILENO, EV_READ);
    ev_io_start(loop.ev, &loop.input);
}

static void ev_turn(int timeout_ms)
{
    loop.timer.repeat = timeout_ms / 1000.;
    ev_timer_again(loop.ev, &loop.timer);
    ev_run(loop.ev, EVRUN_ONCE);
}

static void ev_free(tbq_loop *l)
{
    tbq_loop_ev_free(l);
}
#else
static void ev_begin(void)
{
    side_cannot("this build has no libev");
}
static tbq_loop *ev_loop_of_node(void)
{
    return NULL;
}
static void ev_obey(void)
{
}
static void ev_turn(int timeout_ms)
{
    (void)timeout_ms;
}
static void ev_free(tbq_loop *l)
{
    (void)l;
}
#endif

/* ---- a loop of its own ----------------------------------------------------------------------- */

static void watch(int fd, struct node *n)
{
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = n};

    if (fd < 0 || epoll_ctl(loop.ep, EPOLL_CTL_ADD, fd, &interest) < 0) {
        side_die("epoll does not take a descriptor");
    }
}

static void epoll_turn(int timeout_ms)
{
    struct epoll_event events[AT_ONCE];
    int n = epoll_wait(loop.ep, events, AT_ONCE, timeout_ms);

    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == NULL) {
            look_at_input();
        } else {
            process(events[i].data.ptr);
        }
    }
}

static bool sooner(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec < b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec < b->tv_nsec);
}

/* What each node waits for; returns how many descriptors, and in `least` for how long. */
static size_t gather(struct timespec *least)
{
    size_t n = 0;

    for (size_t i = 0; i < loop.len; i++) {
        struct waits *w = &loop.waits[i];
        tbq_server *s = loop.nodes[i]->server;
        w->fds = tbq_server_pollfds(s, loop.fds + n, TBQ_FDS_MAX);
        n += w->fds;
        w->timed = tbq_server_timeout(s, &w->timeout) != NULL;
        if (w->timed && sooner(&w->timeout, least)) {
            *least = w->timeout;
        }
    }
    return n;
}

/* Whether the wait has ended for that node, whose descriptors these are; quiet: none of all is
 * ready. */
static bool is_due(const struct waits *w, const struct pollfd *fds, bool quiet,
                   const struct timespec *least)
{
    static const struct timespec at_once;
    bool ready = w->timed && !sooner(quiet ? least : &at_once, &w->timeout);

    for (size_t i = 0; i < w->fds; i++) {
        ready = ready || fds[i].revents != 0;
    }
    return ready;
}

static void poll_turn(int timeout_ms)
{
    struct timespec least = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    size_t n = gather(&least), nodes = loop.len, at = 0;

    loop.fds[n] =
        (struct pollfd){.fd = loop.connections != NULL ? STDIN_FILENO : -1, .events = POLLIN};
    bool quiet = ppoll(loop.fds, n + 1, &least, NULL) == 0;
    if (loop.fds[n].revents != 0) {
        look_at_input();
    }
    for (size_t i = 0; i < nodes; i++) { /* those that begin meanwhile were not asked */
        if (is_due(&loop.waits[i], loop.fds + at, quiet, &least)) {
            process(loop.nodes[i]);
        }
        at += loop.waits[i].fds;
    }
}

/* ---- for the sides --------------------------------------------------------------------------- */

/* Root may have more than side_args() asks for. */
static void allow_files(uint64_t many)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < many) {
        limit.rlim_cur = many;
        limit.rlim_max = limit.rlim_max < many ? many : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            side_cannot("%llu descriptors are not allowed here", (unsigned long long)many);
        }
    }
}

void loop_begin(enum drive drive, uint64_t nodes)
{
    loop.drive = drive;
    loop.capacity = (size_t)nodes;
    loop.nodes = calloc(loop.capacity, sizeof *loop.nodes);
    loop.fds = calloc(loop.capacity * TBQ_FDS_MAX + 1, sizeof *loop.fds);
    loop.waits = calloc(loop.capacity, sizeof *loop.waits);
    loop.ep = epoll_create1(EPOLL_CLOEXEC);
    if (loop.nodes == NULL || loop.fds == NULL || loop.waits == NULL || loop.ep < 0) {
        side_die("cannot begin");
    }
    allow_files(nodes * FILES_EACH + FILES_BESIDES);
    if (drive == DRIVE_EV) {
        ev_begin();
    }
}

void loop_start(struct node *n, const struct node_setup *setup)
{
    char why[256] = "";
    tbq_actor actor;
    tbq_config c;

    tbq_config_init(&c);
    c.network_mode = setup->mode;
    /* Clients dial all of 127.0.0.0/8, see speed_dials.c. */
    c.bind_address = "0.0.0.0";
    c.bind_port = 0;
    c.connection_timeout_ms = DIAL_MS;
    c.no_discovery = true;
    c.no_network_watch = true;
    c.early_data = setup->early;
    c.max_connections = setup->connections;
    c.busy_poll_us = setup->busy_poll_us;
    c.error_text = why;
    c.error_text_size = sizeof why;
    tbq_actor_init(&actor);
    actor.on_message = on_message;
    actor.on_event = on_other;
    actor.user = n;
    n->on_event = setup->on_event;
    n->loop = loop.drive == DRIVE_EV ? ev_loop_of_node() : NULL;
    if (tbq_server_start(&n->server, &c, is_actor() ? &actor : NULL, NULL, n->loop) < 0) {
        side_die("%s", why);
    }
    if (loop.drive == DRIVE_EVENTS || loop.drive == DRIVE_ACTOR) {
        watch(tbq_server_fd(n->server), n);
    }
    loop.nodes[loop.len++] = n;
}

void loop_dial(struct node *n, const char *address)
{
    int rv = tbq_server_connect(n->server, address, &n->conn);

    if (rv < 0) {
        side_die("dialling %s: %s", address, tbq_strerror(rv));
    }
}

void loop_obey(uint64_t (*connections)(void))
{
    loop.connections = connections;
    if (loop.drive == DRIVE_EV) {
        ev_obey();
    } else if (loop.drive != DRIVE_POLL) {
        watch(STDIN_FILENO, NULL);
    }
}

bool loop_turn(int timeout_ms)
{
    if (loop.drive == DRIVE_EV) {
        ev_turn(timeout_ms);
    } else if (loop.drive == DRIVE_POLL) {
        poll_turn(timeout_ms);
    } else {
        epoll_turn(timeout_ms);
    }
    return !loop.over;
}

void loop_must_go_on(void)
{
    if (loop.events != loop.before || loop.since_ns == 0) {
        loop.before = loop.events;
        loop.since_ns = side_now_ns();
    } else if (side_now_ns() - loop.since_ns > LONGEST_NS) {
        side_die("nothing has come for %d s", (int)(LONGEST_NS / SIDE_SECOND));
    }
}

void loop_end(void)
{
    for (size_t i = 0; i < loop.len; i++) {
        tbq_server_free(loop.nodes[i]->server);
        ev_free(loop.nodes[i]->loop);
    }
    free(loop.nodes);
    free(loop.fds);
    free(loop.waits);
    close(loop.ep);
}

/* ---- orders ---------------------------------------------------------------------------------- */

const struct order *order_of(const tbq_event *e, struct order *place)
{
    const tbq_message *m = e->message;

    if (e->type != TBQ_EVENT_MESSAGE || e->lane != ORDER_LANE || m->kind != TBQ_TRANSITION ||
        m->u.transition.size != sizeof *place) {
        return NULL;
    }
    memcpy(place, m->u.transition.data, sizeof *place);
    return place;
}

tbq_message order_message(const struct order *o, tbq_send_options *how)
{
    tbq_send_options_init(how);
    how->lane = ORDER_LANE;
    return tbq_transition(o, sizeof *o);
}
