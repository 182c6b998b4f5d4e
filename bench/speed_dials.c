/* bench/speed_dials.c - connections: one after another, 8 under way at once; and many that idle.
 *
 * For handshakes there are 8 nodes, each with a key of its own; each dials, has one message
 * answered, closes, and dials again when that is told. So what is measured is the handshake and the
 * link that begins over it, and not how a node is set up.
 *
 *     full      A node that has been somewhere has a ticket, by peer and by address. So each dial
 *               goes to an address where nobody was dialled before, without the peer's id: all
 *               addresses in 127.0.0.0/8 are of this machine, and the server is bound to every
 *               one.
 *     resumed   The address has the peer's id in it: its ticket is shown.
 *     early     The same; the message is a ping, which goes with the first packet. It may be
 *               answered before the handshake is complete, so the connection is closed when the
 *               server has confirmed it, too: before that comes the next ticket.
 *
 * With --limit the server is full from the beginning: each dial is as those of `full`, and counts
 * when it is refused. */
#include "speed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLERK 0U          /* the node that gives orders; the others dial */
#define MESSAGE_SIZE 32U  /* bytes of what is answered */
#define NET UINT32_C(127) /* 127.1.0.0 and on, without those that end with 0 or 255 */
#define HOSTS_EACH 254U
/* Connections that a node has at once, as good as none of them alive. */
#define REFUSED_MAX 65536U

struct dial {
    struct node node;
    uint64_t number; /* of the message that is not answered yet */
    bool up;         /* CONNECTED was told */
    bool waits;      /* for an answer */
    bool closing;
};

static struct {
    const struct speed_args *a;
    struct dial *dials; /* the first one gives orders */
    size_t len;
    const char *port; /* of the server, with its colon */
    uint32_t hosts;   /* that were dialled */
    bool going;
    uint64_t ends_ns, last_ns;
    uint64_t done, before_up; /* handshakes; pongs that came before CONNECTED */
    uint64_t under_way;
    uint64_t ready; /* answers to orders */
    uint64_t server_cpu_ns;
} run;

/* ---- one dial -------------------------------------------------------------------------------- */

static const char *fresh_address(void)
{
    static char text[TBQ_ADDRESS_SIZE];
    uint32_t n = run.hosts++;

    snprintf(text, sizeof text, "%u.%u.%u.%u%s", (unsigned)NET, 1 + n / HOSTS_EACH / 256 % 255,
             n / HOSTS_EACH % 256, 1 + n % HOSTS_EACH, run.port);
    return text;
}

static void say(struct dial *d, const tbq_message *m)
{
    int rv = tbq_send(d->node.server, d->node.conn, m, NULL);

    if (rv < 0) {
        side_die("a send: %s", tbq_strerror(rv));
    }
}

static void ask(struct dial *d)
{
    uint8_t data[MESSAGE_SIZE];

    side_fill(data, sizeof data, d->number, 0);
    tbq_message m = tbq_transition(data, sizeof data);
    say(d, &m);
}

static bool is_early(void)
{
    return run.a->side.kind == SIDE_EARLY;
}

static bool is_refused(void)
{
    return run.a->limit > 0;
}

static void dial(struct dial *d)
{
    tbq_message ping = tbq_ping();

    d->up = d->closing = false;
    d->waits = true;
    run.under_way++;
    loop_dial(&d->node, run.a->side.kind == SIDE_FULL ? fresh_address() : run.a->side.address);
    if (is_early()) {
        say(d, &ping);
    } else {
        ask(d);
    }
}

static void hang_up(struct dial *d)
{
    d->closing = true;
    tbq_connection_close(d->node.server, d->node.conn);
}

/* The message under test is answered. */
static void count(struct dial *d)
{
    run.last_ns = side_now_ns();
    run.done += run.last_ns < run.ends_ns;
    run.going = run.last_ns < run.ends_ns;
    d->waits = false;
}

static void on_pong(struct dial *d)
{
    if (!d->waits || !is_early()) {
        return;
    }
    run.before_up += !d->up;
    count(d);
    if (d->up) {
        hang_up(d); /* else when it is up */
    }
}

static void on_answer(struct dial *d, const tbq_bytes *b)
{
    if (d->closing || b->size != MESSAGE_SIZE || !side_check(b->data, b->size, d->number, 0)) {
        return; /* of the connection before: its answer had come, but that was not told in time */
    }
    d->number++;
    count(d);
    hang_up(d);
}

static void on_connected(struct dial *d)
{
    if (is_refused()) {
        side_die("the server is not full");
    }
    d->up = true;
    if (is_early() && !d->waits) {
        hang_up(d);
    }
}

static void on_end(struct dial *d, const tbq_event *e)
{
    if (is_refused() && e->type == TBQ_EVENT_CONNECT_FAILED) {
        count(d);
    } else if (!d->closing) {
        side_die("%s: %s", e->address, e->text);
    }
    run.under_way--;
    if (run.going) {
        dial(d);
    }
}

static void on_event(struct node *n, const tbq_event *e)
{
    struct dial *d = (struct dial *)n;

    switch (e->type) {
    case TBQ_EVENT_CONNECTED:
        on_connected(d);
        break;
    case TBQ_EVENT_MESSAGE:
        if (e->message->kind == TBQ_PONG) {
            on_pong(d);
        } else if (e->message->kind == TBQ_TRANSITION) {
            on_answer(d, &e->message->u.transition);
        }
        break;
    case TBQ_EVENT_DISCONNECTED:
    case TBQ_EVENT_CONNECT_FAILED:
        on_end(d, e);
        break;
    default:
        break;
    }
}

/* ---- the clerk: what the server's processor did meanwhile ------------------------------------ */

static void on_clerk_event(struct node *n, const tbq_event *e)
{
    struct order place;
    const struct order *o = order_of(e, &place);
    (void)n;

    if (o != NULL) {
        run.ready++;
        run.server_cpu_ns = o->cpu_ns;
    } else if (e->type == TBQ_EVENT_CONNECTED) {
        run.dials[CLERK].up = true;
    } else if (e->type == TBQ_EVENT_DISCONNECTED || e->type == TBQ_EVENT_CONNECT_FAILED) {
        side_die("%s: %s", e->address, e->text);
    }
}

/* It is there before the others, should there be room for it alone. */
static void wait_for_clerk(void)
{
    while (!run.dials[CLERK].up) {
        loop_turn(1000);
        loop_must_go_on();
    }
}

static uint64_t ask_server_cpu(void)
{
    struct node *n = &run.dials[CLERK].node;
    struct order o = {.what = ORDER_ECHO};
    tbq_send_options how;
    tbq_message m = order_message(&o, &how);
    uint64_t before = run.ready;

    if (tbq_send(n->server, n->conn, &m, &how) < 0) {
        side_die("an order does not go");
    }
    while (run.ready == before) {
        loop_turn(1000);
        loop_must_go_on();
    }
    return run.server_cpu_ns;
}

/* ---- handshakes ------------------------------------------------------------------------------ */

static void wait_until_none(void)
{
    while (run.under_way > 0) {
        loop_turn(1000);
        loop_must_go_on();
    }
}

static void dial_all(void)
{
    for (size_t i = CLERK + 1; i < run.len; i++) {
        dial(&run.dials[i]);
    }
}

static void begin(void)
{
    struct node_setup setup = {.mode = TBQ_MODE_CLIENT, .on_event = on_clerk_event};

    run.len = 1 + SIDE_UNDER_WAY;
    run.dials = calloc(run.len, sizeof *run.dials);
    run.port = strrchr(run.a->side.address, ':');
    if (run.dials == NULL || run.port == NULL) {
        side_die("cannot begin");
    }
    loop_begin(run.a->drive, run.len);
    loop_start(&run.dials[CLERK].node, &setup);
    loop_dial(&run.dials[CLERK].node, run.a->side.address);
    wait_for_clerk();
    setup.on_event = on_event;
    setup.early = is_early();
    setup.connections = REFUSED_MAX; /* what was refused lingers for three probe timeouts */
    for (size_t i = CLERK + 1; i < run.len; i++) {
        loop_start(&run.dials[i].node, &setup);
    }
    dial_all(); /* not counted: there are no tickets yet */
    wait_until_none();
}

void speed_dials(const struct speed_args *a)
{
    struct side_result r = {0};

    run.a = a;
    begin();
    uint64_t server_ns = ask_server_cpu(), cpu_ns = side_cpu_ns(), began_ns = side_now_ns();
    run.going = true;
    run.done = run.before_up = 0;
    run.ends_ns = began_ns + a->side.ns;
    dial_all();
    while (run.going) {
        loop_turn(1000);
        loop_must_go_on();
    }
    r.ns = run.last_ns - began_ns;
    r.cpu_ns = side_cpu_ns() - cpu_ns;
    r.messages = run.done;
    r.server_cpu_ns = ask_server_cpu() - server_ns;
    wait_until_none();
    if (is_early() && run.before_up < run.done / 2) {
        side_die("of %llu pings, %llu were answered before the connection was up",
                 (unsigned long long)run.done, (unsigned long long)run.before_up);
    }
    side_print_result(&a->side, &r);
    loop_end();
    free(run.dials);
}

/* ---- a crowd that idles ---------------------------------------------------------------------- */

static void on_idle_event(struct node *n, const tbq_event *e)
{
    struct dial *d = (struct dial *)n;

    if (e->type == TBQ_EVENT_CONNECTED && !d->up) {
        d->up = true;
        run.done++;
        run.under_way--;
    } else if (e->type == TBQ_EVENT_DISCONNECTED || e->type == TBQ_EVENT_CONNECT_FAILED) {
        side_die("%s: %s", e->address, e->text);
    }
}

static uint64_t held(void)
{
    return run.done;
}

/* Dials from that many nodes, so many at once; false: standard input has ended before. */
static bool gather(uint64_t count, uint64_t at_once)
{
    static const struct node_setup setup = {.mode = TBQ_MODE_CLIENT, .on_event = on_idle_event};
    bool open = true;

    run.len = (size_t)count;
    run.dials = calloc(run.len, sizeof *run.dials);
    if (run.dials == NULL) {
        side_die("out of memory");
    }
    loop_begin(run.a->drive, run.len);
    for (size_t i = 0; i < run.len; i++) {
        loop_start(&run.dials[i].node, &setup);
    }
    loop_obey(held);
    for (size_t next = 0; run.done < run.len && open; open = loop_turn(1000)) {
        for (; next < run.len && run.under_way < at_once; run.under_way++) {
            loop_dial(&run.dials[next++].node, run.a->side.address);
        }
        loop_must_go_on();
    }
    return open;
}

static void hold(void)
{
    while (loop_turn(1000)) {
    }
    loop_end();
    free(run.dials);
}

static void part_of_crowd(uint64_t count, uint64_t at_once, int up)
{
    pid_t pid = fork();

    if (pid < 0) {
        side_die("no process for a part of the crowd");
    }
    if (pid == 0) {
        if (gather(count, at_once) && write(up, "", 1) != 1) {
            side_die("nobody waits for this part of the crowd");
        }
        close(up);
        hold();
        exit(0);
    }
}

/* So many bytes: each tells that a part is up. Or, for a number without end, the end of the file.
 */
static bool wait_for(int fd, uint64_t bytes)
{
    char byte;

    for (; bytes > 0; bytes--) {
        if (read(fd, &byte, 1) != 1) {
            return false;
        }
    }
    return true;
}

static void crowd(uint64_t count, uint64_t parts)
{
    uint64_t began_ns = side_now_ns();
    int up[2];

    if (pipe(up) < 0) {
        side_die("no pipe");
    }
    for (uint64_t i = 0; i < parts; i++) {
        part_of_crowd((count + i) / parts, 1 + SPEED_DIALS_MAX / parts, up[1]);
    }
    close(up[1]);
    if (!wait_for(up[0], parts)) {
        side_die("a part of the crowd has failed");
    }
    side_print_held(count, side_now_ns() - began_ns);
    (void)wait_for(STDIN_FILENO, UINT64_MAX); /* they see its end too */
    while (wait(NULL) > 0) {
    }
}

void speed_idle(const struct speed_args *a)
{
    uint64_t began_ns = side_now_ns();
    uint64_t count = a->side.count;

    run.a = a;
    if (count > SPEED_PART_MAX) {
        crowd(count, (count + SPEED_PART_MAX - 1) / SPEED_PART_MAX);
        return;
    }
    if (gather(count, SPEED_DIALS_MAX)) {
        side_print_held(run.done, side_now_ns() - began_ns);
    }
    hold();
}
