/* server/drive.c - what moves a server: what to wait for, and what to do then. */
#include "server/parts.h"

/* How many times the socket is read before what waits to be sent gets its turn. */
#define READS_PER_TURN 16
#define LITTLE_BYTES 16384U /* of one receive and the last batch that left: answers, not bulk */

/* How long packets wait for the end of the events, since they go along with what the application
 * answers to these. With a millisecond, a quarter less small messages came through: their sender
 * waited for the fates. Answers to a peer with nothing under way wait less: see has_waited(). */
#define PUT_OFF_NS (250 * TBI_NS_PER_US)
#define ANSWERS_NS (40 * TBI_NS_PER_US)
#define NOT_PULLED_NS TBI_NS_PER_MS /* the same, where the events are not pulled at all */

#define CALM_NS (10 * TBI_NS_PER_MS) /* between two arrivals of a traffic there is no calm */
#define IDLE_NS (20 * TBI_NS_PER_MS) /* nothing to do for so long: there is no traffic */
#define LOOK_EVERY 8                 /* calls of a turn: at the clock */

size_t tbq_server_pollfds(tbq_server *s, struct pollfd *fds, size_t max)
{
    size_t n = 0;

    if (s == NULL || fds == NULL || max < 2) {
        return 0;
    }
    fds[n++] = (struct pollfd){.fd = tbi_udp_fd(s->udp),
                               .events = s->unsent.size > 0 ? POLLIN | POLLOUT : POLLIN};
    fds[n++] = (struct pollfd){.fd = tbi_wake_fd(s->wake), .events = POLLIN};
    if (s->netwatch != NULL && n < max) {
        fds[n++] = (struct pollfd){.fd = tbi_netwatch_fd(s->netwatch), .events = POLLIN};
    }
    return n + tbi_names_pollfds(s->names, fds + n, max - n);
}

/* What calls since the last turn have left to do, so that it need not be a turn of its own. */
static void settle(tbq_server *s)
{
    if (s->in_callback == 0) { /* else process is on its way, and does it */
        tbi_node_settle(s->node);
    }
}

/* Who polls busily does not wait yet. */
static bool is_awake(const tbq_server *s, uint64_t now)
{
    return now < s->busy_at + s->settings.c.busy_poll_us * TBI_NS_PER_US;
}

/* The nearest moment at which there is something to do, ns; 0: at once. */
static uint64_t deadline(tbq_server *s, uint64_t now)
{
    uint64_t at = tbi_node_deadline(s->node);
    uint64_t names = tbi_names_deadline(s->names, now);

    if (s->unsent.size > 0) {
        at = TBI_NEVER; /* nothing can be sent before the socket takes more */
    }
    if (tbi_node_has_news(s->node)) {
        at = 0; /* a call between two waits had events for answer: do not wait for them */
    }
    at = names < at ? names : at;
    at = s->network_at < at ? s->network_at : at;
    at = s->book_at < at ? s->book_at : at;
    if (s->put_off > 0) { /* whoever pulls the events does it before; who says more tells nobody */
        uint64_t end = s->put_off + NOT_PULLED_NS;
        at = at <= now || end < at ? end : at;
    }
    return at > now && !is_awake(s, now) ? at : 0;
}

/* The node is never told a time before one that it was told. */
struct tbi_now tbi_server_now(tbq_server *s)
{
    s->moment.mono_ns = tbi_clock_mono_ns();
    if (s->moment.mono_ns >= s->wall_at) { /* the other clock is needed to the millisecond only */
        s->moment.wall_ms = tbi_clock_wall_ms();
        s->wall_at = s->moment.mono_ns + TBI_NS_PER_MS;
    }
    return s->moment;
}

struct tbi_now tbi_server_moment(tbq_server *s)
{
    if (s->in_callback > 0 || s->put_off > 0) {
        return ++s->calls % LOOK_EVERY != 0 ? s->moment : tbi_server_now(s);
    }
    uint64_t tick = tbi_clock_tick();
    bool same = tick == s->tick;

    s->tick = tick;
    return same ? s->moment : tbi_server_now(s);
}

const struct timespec *tbq_server_timeout(tbq_server *s, struct timespec *t)
{
    if (s == NULL || t == NULL) {
        return NULL;
    }
    uint64_t now = tbi_server_now(s).mono_ns;
    settle(s);
    uint64_t at = deadline(s, now);
    if (at == TBI_NEVER) {
        return NULL;
    }
    uint64_t left = at > now ? at - now : 0;
    t->tv_sec = (time_t)(left / TBI_NS_PER_S);
    t->tv_nsec = (long)(left % TBI_NS_PER_S);
    return t;
}

/* Tells the one descriptor what to wait for. */
static int arm(tbq_server *s, uint64_t now)
{
    struct pollfd fds[TBQ_FDS_MAX];
    size_t n = tbq_server_pollfds(s, fds, TBQ_FDS_MAX);
    size_t stable = s->netwatch != NULL ? 3 : 2;
    uint64_t at = deadline(s, now);
    int rv = tbi_onefd_update(s->onefd, fds, n, stable, at, now);

    bool at_once = at == 0;
    if (at_once != s->at_once) {
        tbi_wake_hold(s->wake, at_once);
    }
    s->at_once = at_once;
    return rv;
}

/* Who waits on the one descriptor asks for nothing before the next wait, so it must know by itself
 * of a call that may have changed what there is to wait for. In a callback process does it at its
 * end; within a turn, the last event. Once it is to end the wait at once, nothing changes that. */
int tbi_server_changed(tbq_server *s, int rv)
{
    if (s != NULL && s->onefd != NULL && s->in_callback == 0 && !s->at_once && s->put_off == 0) {
        (void)arm(s, tbi_server_now(s).mono_ns);
    }
    return rv;
}

int tbq_server_fd(tbq_server *s)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    int rv = s->onefd != NULL ? 0 : tbi_onefd_new(&s->onefd, &s->alloc);

    if (rv == 0) {
        settle(s);
        rv = arm(s, tbi_server_now(s).mono_ns);
    }
    return rv < 0 ? rv : tbi_onefd_fd(s->onefd);
}

/* Something has come or gone: more may come soon. */
static void stay_awake(tbq_server *s, struct tbi_now now)
{
    s->busy_at = now.mono_ns;
}

/* All that there is to send, or only what handshakes wait for. */
static int flush(tbq_server *s, struct tbi_now now, bool all)
{
    if (s->unsent_data == NULL) {
        s->unsent_data = tbi_malloc(&s->alloc, TBI_DATAGRAM_MAX);
        if (s->unsent_data == NULL) {
            return TBQ_ERR_NOMEM;
        }
    }
    while (all || tbi_node_hurries(s->node)) {
        if (s->unsent.size == 0) {
            s->unsent =
                (struct tbi_send_batch){.data = s->unsent_data, .capacity = TBI_DATAGRAM_MAX};
            int got = tbi_node_send(s->node, now, &s->unsent);
            if (got <= 0) {
                s->unsent.size = 0;
                return got;
            }
            stay_awake(s, now);
        }
        int rv = tbi_udp_send(s->udp, &s->unsent);
        if (rv == TBQ_ERR_AGAIN) {
            return 0; /* the rest stays in s->unsent until the socket takes it */
        }
        s->batch_sent = s->unsent.size;
        s->unsent.size = 0;
        if (rv == TBQ_ERR_IO) {
            return rv;
        }
    }
    return 0;
}

/* And what has come due meanwhile: most often QUIC's acknowledgement of a packet that came in this
 * turn, which ngtcp2 puts off for an eighth of a round trip. To be woken for that costs more. */
static int send_all(tbq_server *s, struct tbi_now now)
{
    int rv = flush(s, now, true);

    if (rv == 0 && s->unsent.size == 0 && tbi_node_catch_up(s->node, tbi_server_now(s))) {
        rv = flush(s, s->moment, true);
    }
    return rv;
}

/* All is read before anything is written, but for handshakes: each of their steps costs so much
 * that the other side would have nothing to do meanwhile. */
static int take(tbq_server *s, struct tbi_now now, const struct tbi_datagram *batch, size_t n)
{
    for (size_t read = 0; read < n;) {
        read += tbi_node_recv(s->node, now, batch + read, n - read);
        if (tbi_node_hurries(s->node)) {
            now = tbi_server_now(s);
            if (flush(s, now, false) == TBQ_ERR_IO) { /* without memory: at the end of the turn */
                return TBQ_ERR_IO;
            }
        }
    }
    return 0;
}

/* Whether the socket need not be read again at once: with one datagram or bundle, or a few small
 * ones while little is sent, it is empty most likely, and somebody waits for an answer. What has
 * come meanwhile is there at the next call. Who sends much waits for what acknowledges it, so then
 * more of that is looked for (1.6 % of bulk). */
static bool is_little(const tbq_server *s, const struct tbi_datagram *batch, size_t n)
{
    size_t bytes = s->batch_sent;

    for (size_t i = 0; i < n; i++) {
        bytes += batch[i].size;
    }
    return n == 1 || (n < TBI_UDP_RECV_MAX && bytes < LITTLE_BYTES);
}

/* *quiet: there was nothing. */
static int receive(tbq_server *s, bool *quiet)
{
    *quiet = true;
    for (int i = 0; i < READS_PER_TURN; i++) {
        const struct tbi_datagram *batch;
        int n = tbi_udp_recv(s->udp, &batch);
        if (n <= 0) {
            return n;
        }
        *quiet = false;
        struct tbi_now now = tbi_server_now(s);
        stay_awake(s, now);
        int rv = take(s, now, batch, (size_t)n);
        if (rv < 0) {
            return rv;
        }
        if (is_little(s, batch, (size_t)n) || tbi_node_has_enough(s->node)) {
            return 0;
        }
    }
    return 0;
}

/* Packets that wait for what the application answers to its events: it goes along with them, and
 * the peer is woken once. Never for long: whoever sent what led here waits to hear that it came. */
static bool may_put_off(const tbq_server *s)
{
    return !s->has_actor && s->put_off == 0 && s->unsent.size == 0 && tbi_node_has_news(s->node);
}

/* What the calls since the last turn have left to do is done now, so that it needs no other one. */
static void go_on(tbq_server *s, bool more_events)
{
    struct tbi_now now = tbi_server_now(s);

    tbi_node_settle(s->node);
    if (tbi_node_deadline(s->node) == 0) {
        (void)send_all(s, now); /* a socket that is of no use is noticed by the next turn */
    }
    s->put_off = more_events ? s->moment.mono_ns : 0; /* also where nothing was sent after all */
    if (s->onefd != NULL) {
        (void)arm(s, s->moment.mono_ns); /* it was looked at just now */
    }
}

/* Who waits for answers, and has been sent nothing else, gets the first half of them as soon as
 * they are there, and goes on with these while the others are made. Who has something to do already
 * gets all at once: the same with acknowledgements is Nagle's rule (RFC 896). */
static bool has_waited(tbq_server *s)
{
    uint64_t most = tbi_node_is_awaited(s->node) ? ANSWERS_NS : PUT_OFF_NS;

    if (s->put_off == 0) {
        return false;
    }
    if (tbi_node_has_half(s->node)) {
        return true;
    }
    return ++s->pulled % LOOK_EVERY == 0 && tbi_server_now(s).mono_ns > s->put_off + most;
}

tbq_event *tbq_server_next_event(tbq_server *s)
{
    tbq_event *e = s == NULL || s->has_actor ? NULL : tbi_node_next_event(s->node);

    if (s == NULL || s->in_callback > 0 || s->unsent.size > 0) {
        return e;
    }
    bool last = e != NULL && e->type == TBQ_EVENT_STOPPED; /* the server may be freed next */
    if (last || (e == NULL ? s->put_off > 0 || tbi_node_deadline(s->node) == 0 : has_waited(s))) {
        go_on(s, e != NULL && !last); /* with more events, what these lead to waits anew */
    }
    return e;
}

static void resolve(tbq_server *s, struct tbi_now now)
{
    struct tbi_lookup lookup;
    struct tbi_names_result result;
    uint64_t timeout = s->settings.c.connection_timeout_ms * TBI_NS_PER_MS;

    while (tbi_node_next_lookup(s->node, &lookup)) {
        int rv = tbi_names_start(s->names, lookup.host, lookup.port, now.mono_ns + timeout,
                                 lookup.contact);
        if (rv < 0) {
            tbi_node_resolved(s->node, now, lookup.contact, NULL, 0, tbq_strerror(rv));
        }
    }
    tbi_names_process(s->names, now.mono_ns);
    while (tbi_names_next(s->names, &result)) {
        if (result.cookie == TBI_COOKIE_ADVERTISE) {
            tbi_server_found_address(s, now, &result);
            continue;
        }
        tbi_node_resolved(s->node, now, result.cookie, result.addrs, result.n, result.why);
    }
}

/* Hands every event to the actor, in order. */
static void act(tbq_server *s)
{
    tbq_event *e;

    while (s->has_actor && (e = tbi_node_next_event(s->node)) != NULL) {
        bool carries = e->type == TBQ_EVENT_MESSAGE || e->type == TBQ_EVENT_REQUEST ||
                       e->type == TBQ_EVENT_TRUST;
        int refused = 0;
        tbi_node_event_lend(e, true);
        s->in_callback++;
        if (carries) {
            refused = s->actor.on_message(s->actor.user, s, e);
        } else if (e->type == TBQ_EVENT_BODY) { /* there is somebody to ask, or none would come */
            refused = s->actor.on_body(s->actor.user, s, e);
        } else if (s->actor.on_event != NULL) {
            s->actor.on_event(s->actor.user, s, e);
        }
        s->in_callback--;
        tbi_node_event_lend(e, false);
        if (refused != 0) {
            tbi_node_event_refuse(e);
        } else {
            tbi_node_event_accept(e);
        }
    }
}

static void run_posts(tbq_server *s)
{
    s->in_callback++;
    tbi_wake_run(s->wake);
    s->in_callback--;
}

/* The socket is gone, and with it the server: every outcome is told all the same. */
static void give_up(tbq_server *s)
{
    struct tbi_now now = tbi_server_now(s);

    tbi_node_stop(s->node, now, 0);
    act(s);
}

int tbq_server_process(tbq_server *s)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    if (s->in_callback > 0) {
        return TBQ_ERR_BUSY;
    }
    bool quiet;
    int rv = receive(s, &quiet);
    if (rv == TBQ_ERR_IO) {
        give_up(s);
    }
    run_posts(s);
    if (rv < 0) {
        goto end;
    }
    struct tbi_now now = quiet ? tbi_server_now(s) : s->moment;
    tbi_server_tend_network(s, now);
    s->in_callback++; /* bodies are read there */
    tbi_node_step(s->node, now);
    s->in_callback--;
    resolve(s, s->moment);
    tbi_server_save_bindings(s);
    act(s);
    now = tbi_server_now(s); /* who acts may take its time, and dial */
    if (may_put_off(s)) {
        s->put_off = now.mono_ns;
    } else {
        s->put_off = 0;
        rv = send_all(s, now);
    }
    if (rv == TBQ_ERR_IO) {
        give_up(s);
    }
    tbi_server_tend_state(s, now);
    quiet = quiet && !is_awake(s, now.mono_ns) && !tbi_node_has_news(s->node);
    if (quiet && now.mono_ns - s->busy_at > CALM_NS) { /* only timers have come for a while */
        bool idle = tbi_node_deadline(s->node) > now.mono_ns + IDLE_NS;
        tbi_alloc_trim(&s->alloc, idle);
    }
end:
    if (tbi_node_stopped(s->node)) {
        tbi_wake_close(s->wake);
        run_posts(s); /* those that were taken before: nobody may call again */
        tbi_server_save_state(s);
    }
    if (s->onefd != NULL) {
        settle(s);
        (void)arm(s, s->moment.mono_ns);
    }
    return rv;
}
