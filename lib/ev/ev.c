/* ev/ev.c - libev as the loop of a server; knows the public headers only.
 *
 * A prepare watcher runs before every wait: it asks the server what to wait for, so that sends made
 * anywhere in the program are noticed without any notification. A check watcher runs after the wait
 * and lets the server work. */
#include <stdlib.h>

#include <tbquic/ev.h>
#include <tbquic/server.h>

struct loop {
    tbq_loop base; /* first: a tbq_loop * leads back */
    struct ev_loop *ev;
    tbq_server *server;
    struct ev_prepare prepare;
    struct ev_check check;
    struct ev_timer timer;
    struct ev_io io[TBQ_FDS_MAX];
    size_t io_len;
};

static void on_io(struct ev_loop *ev, struct ev_io *w, int events)
{
    (void)ev, (void)w, (void)events; /* it only ends the wait; on_check() does the work */
}

static void on_timer(struct ev_loop *ev, struct ev_timer *w, int events)
{
    (void)ev, (void)w, (void)events;
}

static void stop_io(struct loop *l)
{
    while (l->io_len > 0) {
        ev_io_stop(l->ev, &l->io[--l->io_len]);
    }
}

static void on_prepare(struct ev_loop *ev, struct ev_prepare *w, int events)
{
    struct loop *l = w->data;
    struct pollfd fds[TBQ_FDS_MAX];
    struct timespec t;
    (void)events;

    stop_io(l);
    size_t n = tbq_server_pollfds(l->server, fds, TBQ_FDS_MAX);
    for (; l->io_len < n; l->io_len++) {
        struct ev_io *io = &l->io[l->io_len];
        int wanted = (fds[l->io_len].events & POLLIN ? EV_READ : 0) |
                     (fds[l->io_len].events & POLLOUT ? EV_WRITE : 0);
        ev_io_init(io, on_io, fds[l->io_len].fd, wanted);
        ev_io_start(ev, io);
    }
    ev_timer_stop(ev, &l->timer);
    if (tbq_server_timeout(l->server, &t) != NULL) {
        ev_timer_set(&l->timer, (double)t.tv_sec + (double)t.tv_nsec * 1e-9, 0.);
        ev_timer_start(ev, &l->timer);
    }
}

static void on_check(struct ev_loop *ev, struct ev_check *w, int events)
{
    struct loop *l = w->data;
    (void)ev, (void)events;
    /* An error that ends the server comes to the application as its STOPPED event. */
    (void)tbq_server_process(l->server);
}

static int attach(tbq_loop *base, tbq_server *server)
{
    struct loop *l = (struct loop *)base;

    if (l->server != NULL) {
        return TBQ_ERR_EXISTS;
    }
    l->server = server;
    ev_prepare_start(l->ev, &l->prepare);
    ev_check_start(l->ev, &l->check);
    return 0;
}

static void detach(tbq_loop *base, tbq_server *server)
{
    struct loop *l = (struct loop *)base;
    (void)server;
    stop_io(l);
    ev_timer_stop(l->ev, &l->timer);
    ev_prepare_stop(l->ev, &l->prepare);
    ev_check_stop(l->ev, &l->check);
    l->server = NULL;
}

tbq_loop *tbq_loop_ev(struct ev_loop *ev)
{
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->base = (tbq_loop){.attach = attach, .detach = detach};
    l->ev = ev;
    ev_prepare_init(&l->prepare, on_prepare);
    ev_check_init(&l->check, on_check);
    ev_timer_init(&l->timer, on_timer, 0., 0.);
    l->prepare.data = l->check.data = l;
    return &l->base;
}

void tbq_loop_ev_free(tbq_loop *base)
{
    free(base);
}
