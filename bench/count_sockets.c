/* bench/count_sockets.c - two servers in one thread, in turns, over UDP on this machine.
 *
 * Sockets are real, time is not: this file has the library's clock (lib/io/clock.c), which goes on
 * by a step with each turn, and jumps where there is nothing to do. Else acknowledgements and
 * pacing would depend on how fast valgrind is, and the figures with them. */
#include "count.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/clock.h"
#include "io/random.h"

#define STEP_NS 20000 /* what a turn is taken to last */
#define START_NS (1000 * TBI_NS_PER_S)
#define START_WALL_MS UINT64_C(1700000000000)
#define PATIENCE_MS 2         /* of real time, for what the system has not handed over yet */
#define JUMP_NS TBI_NS_PER_MS /* longer ones only after that */

static struct {
    tbq_server *server[2];
    void (*on_event)(struct end *e, const tbq_event *v);
    uint64_t now_ns;
    unsigned places; /* where the second one was dialled */
} here = {.now_ns = START_NS};

uint64_t tbi_clock_mono_ns(void)
{
    return here.now_ns;
}

uint64_t tbi_clock_tick(void)
{
    return tbi_clock_mono_ns();
}

uint64_t tbi_clock_wall_ms(void)
{
    return START_WALL_MS + here.now_ns / TBI_NS_PER_MS;
}

/* Another seed at each call, and the same ones in each run. */
int tbi_random_fill(void *to, size_t size)
{
    static uint8_t calls;

    memset(to, ++calls, size);
    return 0;
}

static void begin(void (*told)(struct end *e, const tbq_event *v))
{
    char why[256] = "";

    here.on_event = told;
    for (size_t i = 0; i < 2; i++) {
        struct end *e = &count_sockets.end[i];
        tbq_config c;
        tbq_config_init(&c);
        c.bind_address = "0.0.0.0"; /* all of 127.0.0.0/8 is dialled */
        c.bind_port = 0;
        c.no_discovery = true;
        c.no_network_watch = true;
        c.error_text = why;
        c.error_text_size = sizeof why;
        if (tbq_server_start(&here.server[i], &c, NULL, NULL, NULL) < 0) {
            count_fail(why);
        }
        e->in_world = here.server[i];
        e->other = &count_sockets.end[1 - i];
        e->id = *tbq_server_peer_id(here.server[i]);
    }
}

static void finish(void)
{
    tbq_server_free(here.server[0]);
    tbq_server_free(here.server[1]);
}

static int post(struct end *from, const tbq_message *m)
{
    return tbq_send_to(from->in_world, &from->other->id, m, NULL);
}

static int ask(struct end *from, const void *data, size_t size)
{
    tbq_request_id request;
    return tbq_request(from->in_world, &from->other->id, data, size, 0, NULL, &request);
}

static int respond(struct end *from, tbq_request_id request, tbq_bytes bytes)
{
    tbq_answer a = {TBQ_RESPONSE_OK, bytes};
    return tbq_respond(from->in_world, request, &a);
}

static tbq_connection dial(bool elsewhere)
{
    char text[TBQ_ADDRESS_SIZE];
    const char *port = strrchr(tbq_server_address(here.server[1]), ':');
    unsigned n = elsewhere ? 1 + here.places++ : 0;
    tbq_connection c;

    snprintf(text, sizeof text, "127.1.%u.%u%s", n / 250, 1 + n % 250, port != NULL ? port : "");
    if (tbq_server_connect(here.server[0], text, &c) < 0) {
        count_fail("a dial does not begin");
    }
    return c;
}

static void hang_up(tbq_connection connection)
{
    tbq_connection_close(here.server[0], connection);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* How long that server has nothing to do, ns; 0: it has something. */
static uint64_t rests(tbq_server *s)
{
    struct pollfd fds[TBQ_FDS_MAX];
    struct timespec t;
    nfds_t n = tbq_server_pollfds(s, fds, TBQ_FDS_MAX);

    if (poll(fds, n, 0) > 0) {
        return 0;
    }
    if (tbq_server_timeout(s, &t) == NULL) {
        return TBI_NEVER;
    }
    return (uint64_t)t.tv_sec * TBI_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void process(size_t i)
{
    tbq_event *v;

    if (tbq_server_process(here.server[i]) < 0) {
        count_fail("the socket is of no use any more");
    }
    while ((v = tbq_server_next_event(here.server[i])) != NULL) {
        here.on_event(&count_sockets.end[i], v);
        tbq_event_release(v);
    }
}

/* Whether something comes after all. */
static bool comes(void)
{
    struct pollfd fds[2 * TBQ_FDS_MAX];
    nfds_t n = tbq_server_pollfds(here.server[0], fds, TBQ_FDS_MAX);

    n += tbq_server_pollfds(here.server[1], fds + n, TBQ_FDS_MAX);
    return poll(fds, n, PATIENCE_MS) > 0;
}

static void turn(uint64_t end_ns)
{
    uint64_t least = TBI_NEVER;

    for (size_t i = 0; i < 2; i++) {
        uint64_t ns = rests(here.server[i]);
        if (ns == 0) {
            process(i);
        }
        least = ns < least ? ns : least;
    }
    if (least <= STEP_NS) {
        here.now_ns += STEP_NS;
    } else if (least <= JUMP_NS || !comes()) {
        here.now_ns = least < end_ns - here.now_ns ? here.now_ns + least : end_ns;
    }
    if (here.now_ns == TBI_NEVER) {
        count_fail("both servers wait for nothing");
    }
}

static void run(bool (*done)(void), uint64_t ms)
{
    uint64_t end_ns = done != NULL ? TBI_NEVER : here.now_ns + ms * TBI_NS_PER_MS;

    while (done != NULL ? !done() : here.now_ns < end_ns) {
        turn(end_ns);
    }
}

struct world count_sockets = {.name = "sockets",
                              .begin = begin,
                              .finish = finish,
                              .post = post,
                              .ask = ask,
                              .respond = respond,
                              .dial = dial,
                              .close = hang_up,
                              .run = run};
