/* bench/tls.c - the bench program over TLS 1.3 on TCP (GnuTLS): what most people would use instead.
 *
 * usage: see side.h. --connections is known in mode `oneway`. There is no early data here.
 *
 * tls_conn.h has how bytes travel. A client's first connection is its lead: over it, BEGIN starts
 * the server's count of its CPU time, and FINISH asks for the sum.
 *
 *     BEGIN   -> BEGUN
 *     DATA    counted by the server, which checks every byte
 *     ASK     -> ANSWER, with the same bytes
 *     FINISH  -> DONE: messages and bytes of this connection, CPU time of the server since BEGIN */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "side.h"
#include "tls_conn.h"

#define EVENTS_MAX 256 /* of epoll at once */
#define TURN                                                                                       \
    ((size_t)256 * 1024) /* bytes that one connection writes before the next has its turn */
#define DIALS_MAX 64     /* handshakes at once, where they are not what is measured */
#define WORD_SIZE 128    /* of an address: HOST:PORT/PIN */

enum type { BEGIN = 1, BEGUN, DATA, ASK, ANSWER, FINISH, DONE };

struct done {
    uint64_t messages, bytes, cpu_ns; /* little-endian */
};

static struct tls_side side;
static struct side_args args;
static uint64_t here; /* connections that are up */

/* ---- both ------------------------------------------------------------------------------------ */

static int listener = -1;
static const char standard_input; /* its address is what epoll tells of it */
static bool input_open = true;

static void watch(int fd, const void *what)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = (void *)(uintptr_t)what};
    if (epoll_ctl(side.epoll, EPOLL_CTL_ADD, fd, &e) < 0) {
        side_die("epoll: %s", strerror(errno));
    }
}

/* Waits for events, and sees to them. timeout: in ms, -1 for none. */
static void turn(int timeout)
{
    static struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(side.epoll, events, EVENTS_MAX, timeout);
    if (n < 0 && errno != EINTR) {
        side_die("epoll: %s", strerror(errno));
    }
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == &listener) {
            tls_accept(&side, listener);
        } else if (events[i].data.ptr == &standard_input) {
            input_open = side_orders(here);
        } else {
            tls_event(events[i].data.ptr, events[i].events);
        }
    }
}

/* ---- the server ------------------------------------------------------------------------------ */

static uint64_t cpu_began;

static void server_up(struct tls_conn *c)
{
    c->up = true;
    here++;
}

static void server_down(struct tls_conn *c)
{
    here -= c->up;
}

static void answer_done(struct tls_conn *c)
{
    struct done d = {htole64(c->number), htole64(c->bytes), htole64(side_cpu_ns() - cpu_began)};
    tls_put_head(c, DONE, sizeof d);
    tls_put(c, &d, sizeof d);
}

static void server_piece(struct tls_conn *c, const uint8_t *p, size_t len)
{
    switch (c->type) {
    case BEGIN:
        cpu_began = side_cpu_ns();
        tls_put_head(c, BEGUN, 0);
        break;
    case DATA:
        if (!side_check(p, len, c->number, c->offset)) {
            side_die("message %" PRIu64 " is not what was sent", c->number);
        }
        c->bytes += len;
        side_took(len);
        c->number += c->offset + len == c->size;
        break;
    case ASK:
        if (c->offset == 0) {
            tls_put_head(c, ANSWER, c->size);
        }
        tls_put(c, p, len);
        break;
    case FINISH:
        answer_done(c);
        break;
    default:
        side_die("a frame of type %" PRIu32, c->type);
    }
}

static struct in_addr parse_host(const char *text)
{
    struct in_addr a;
    if (inet_pton(AF_INET, text, &a) != 1) {
        side_cannot("`%s` is no address of IPv4", text);
    }
    return a;
}

static void serve(void)
{
    char word[WORD_SIZE];
    side.up = server_up;
    side.piece = server_piece;
    side.down = server_down;
    tls_side_init(&side, true);
    int len = snprintf(word, sizeof word, "%s:%u/", args.host,
                       tls_listen(&side, parse_host(args.host), &listener));
    for (size_t i = 0; i < TLS_PIN_SIZE; i++) {
        len += snprintf(word + len, sizeof word - (size_t)len, "%02x", side.pin[i]);
    }
    watch(listener, &listener);
    watch(STDIN_FILENO, &standard_input);
    side_print_ready(word);
    while (input_open) {
        turn(-1);
    }
    side_print_end();
}

/* ---- the client ------------------------------------------------------------------------------ */

static struct side_result result;
static struct side_times times;
static struct sockaddr_in server_at;
static struct tls_conn *lead, **all;
static bool begun;
static uint64_t began_ns, cpu_ns; /* when the work began */
static uint64_t done;             /* connections that have said DONE */
static uint64_t under_way;        /* handshakes, up to their answer */
static uint64_t asked, *asked_ns; /* of round trips; when, by number, of those on their way */

static bool is_over(uint64_t now)
{
    return now - began_ns >= args.ns;
}

static void put_message(struct tls_conn *c, uint32_t type, uint64_t number)
{
    tls_put_head(c, type, (uint32_t)args.size);
    for (uint64_t sent = 0; sent < args.size;) {
        size_t len;
        uint8_t *p = tls_space(c, &len);
        len = len < args.size - sent ? len : (size_t)(args.size - sent);
        side_fill(p, len, number, sent);
        tls_used(len);
        sent += len;
    }
}

static void ask(struct tls_conn *c, uint64_t now)
{
    asked_ns[asked % args.outstanding] = now;
    put_message(c, ASK, asked++);
}

static void answered(struct tls_conn *c)
{
    uint64_t now = side_now_ns();
    if (args.mode == SIDE_HANDSHAKE) {
        result.messages++;
        c->over = true;
        c->state = TLS_GONE;
        return;
    }
    side_times_add(&times, now - asked_ns[c->number % args.outstanding]);
    c->number++;
    if (!is_over(now)) {
        ask(c, now);
    }
}

static void take_done(struct tls_conn *c, const uint8_t *p, size_t len)
{
    static struct done d; /* it may come in pieces, of one connection after the other */
    memcpy((uint8_t *)&d + c->offset, p, len);
    if (c->offset + len == sizeof d) {
        result.messages += args.mode == SIDE_ONEWAY ? le64toh(d.messages) : 0;
        result.bytes += le64toh(d.bytes);
        result.server_cpu_ns = le64toh(d.cpu_ns);
        done++;
    }
}

static void client_piece(struct tls_conn *c, const uint8_t *p, size_t len)
{
    switch (c->type) {
    case BEGUN:
        begun = true;
        break;
    case ANSWER:
        if (!side_check(p, len, c->number, c->offset)) {
            side_die("answer %" PRIu64 " is not what was sent", c->number);
        }
        if (c->offset + len == c->size) {
            answered(c);
        }
        break;
    case DONE:
        take_done(c, p, len);
        break;
    default:
        side_die("a frame of type %" PRIu32, c->type);
    }
}

static void dial(void)
{
    under_way++;
    tls_dial(&side, &server_at,
             args.mode == SIDE_HANDSHAKE && args.kind == SIDE_RESUMED && lead != NULL);
}

/* Connections up to `count` are opened, some at once. */
static void dial_more(uint64_t count)
{
    while (here + under_way < count && under_way < DIALS_MAX) {
        dial();
    }
}

static void client_up(struct tls_conn *c)
{
    if (lead == NULL) {
        lead = c;
    } else if (args.mode == SIDE_HANDSHAKE) {
        if (args.kind == SIDE_RESUMED && gnutls_session_is_resumed(c->tls) == 0) {
            side_die("a session was not resumed");
        }
        put_message(c, ASK, 0);
        return; /* under way until there is the answer */
    }
    if (all != NULL) {
        all[here] = c;
    }
    here++;
    under_way--;
}

static void client_down(struct tls_conn *c)
{
    if (!c->over) {
        side_die("the server has closed a connection");
    }
    under_way--;
    if (!is_over(side_now_ns())) {
        dial();
    }
}

static void begin(void)
{
    tls_put_head(lead, BEGIN, 0);
    tls_flush(lead);
    while (!begun) {
        turn(-1);
    }
    began_ns = side_now_ns();
    cpu_ns = side_cpu_ns();
}

/* After the work: FINISH was sent over `connections`. */
static void await_done(uint64_t connections)
{
    while (done < connections) {
        turn(-1);
    }
}

static void finish_lead(void)
{
    tls_put_head(lead, FINISH, 0);
    tls_flush(lead);
    await_done(1);
}

static void stop_clocks(void)
{
    result.ns = side_now_ns() - began_ns;
    result.cpu_ns = side_cpu_ns() - cpu_ns;
}

/* ---- its modes ------------------------------------------------------------------------------- */

/* Writes until the kernel takes no more, or it is another's turn. */
static void pump(struct tls_conn *c, bool over)
{
    for (size_t wrote = 0; wrote < TURN && !c->blocked && !c->over;) {
        size_t len;
        if (c->sent == 0 && over) {
            tls_put_head(c, FINISH, 0);
            c->over = true;
            break;
        }
        if (c->sent == 0) {
            tls_put_head(c, DATA, (uint32_t)args.size);
        }
        uint8_t *p = tls_space(c, &len);
        len = len < args.size - c->sent ? len : (size_t)(args.size - c->sent);
        side_fill(p, len, c->number, c->sent);
        tls_used(len);
        c->sent += (uint32_t)len;
        wrote += len;
        if (c->sent == args.size) {
            c->sent = 0;
            c->number++;
        }
    }
    tls_flush(c);
}

static void oneway(void)
{
    all = calloc(args.connections, sizeof(struct tls_conn *));
    if (all == NULL) {
        side_die("out of memory");
    }
    all[0] = lead;
    while (here < args.connections) {
        dial_more(args.connections);
        turn(-1);
    }
    begin();
    for (uint64_t still = args.connections; still > 0;) {
        uint64_t blocked = 0;
        bool over = is_over(side_now_ns());
        still = 0;
        for (size_t i = 0; i < args.connections; i++) {
            pump(all[i], over);
            blocked += all[i]->blocked || all[i]->over;
            still += !all[i]->over;
        }
        turn(blocked == args.connections && still > 0 ? -1 : 0);
    }
    await_done(args.connections);
    stop_clocks();
}

static void roundtrip(void)
{
    asked_ns = calloc(args.outstanding, sizeof *asked_ns);
    if (asked_ns == NULL) {
        side_die("out of memory");
    }
    begin();
    for (uint64_t i = 0; i < args.outstanding; i++) {
        ask(lead, side_now_ns());
    }
    tls_flush(lead);
    while (lead->number < asked) {
        turn(-1);
    }
    stop_clocks();
    result.messages = times.len;
    result.times = &times;
    finish_lead();
}

static void handshake(void)
{
    while (side.session.size == 0) {
        turn(-1);
    }
    begin();
    for (int i = 0; i < SIDE_UNDER_WAY; i++) {
        dial();
    }
    while (under_way > 0) {
        turn(-1);
    }
    stop_clocks();
    finish_lead();
}

static void idle(void)
{
    uint64_t began = side_now_ns();
    while (here < args.count) {
        dial_more(args.count);
        turn(-1);
    }
    side_print_held(here, side_now_ns() - began);
    watch(STDIN_FILENO, &standard_input);
    while (input_open) {
        turn(-1);
    }
}

static void parse_address(void)
{
    char host[INET_ADDRSTRLEN];
    unsigned port;
    int at = 0;
    bool good = sscanf(args.address, "%15[0-9.]:%5u/%n", host, &port, &at) == 2 && at > 0 &&
                strlen(args.address + at) == 2 * (size_t)TLS_PIN_SIZE;
    for (size_t i = 0; good && i < TLS_PIN_SIZE; i++) {
        good = sscanf(args.address + at + 2 * i, "%2hhx", &side.pin[i]) == 1;
    }
    if (!good) {
        side_cannot("`%s` is no address of a server", args.address);
    }
    server_at = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = parse_host(host)};
}

static void be_client(void)
{
    side.up = client_up;
    side.piece = client_piece;
    side.down = client_down;
    parse_address();
    tls_side_init(&side, false);
    dial();
    while (lead == NULL) {
        turn(-1);
    }
    if (args.mode == SIDE_IDLE) {
        idle();
        return;
    }
    if (args.mode == SIDE_ONEWAY) {
        oneway();
    } else if (args.mode == SIDE_ROUNDTRIP) {
        roundtrip();
    } else {
        handshake();
    }
    side_print_result(&args, &result);
}

int main(int argc, char **argv)
{
    side_args(&args, argc, argv, NULL);
    if (args.mode == SIDE_SERVER) {
        serve();
        return 0;
    }
    if (args.mode == SIDE_HANDSHAKE && args.kind == SIDE_EARLY) {
        side_cannot("no early data over TCP here");
    }
    if (args.connections > 1 && args.mode != SIDE_ONEWAY) {
        side_cannot("several connections are for mode oneway");
    }
    if (args.size > TLS_SIZE_MAX) {
        side_cannot("messages have %u bytes at most", TLS_SIZE_MAX);
    }
    be_client();
    return 0;
}
