/* bench/links_peer.c - the program at both ends of the links of bench/links.py: public calls only.
 *
 * usage: links_peer can
 *        links_peer receive [OPTION VALUE]...
 *        links_peer send ADDRESS... [OPTION VALUE]...
 *        links_peer crowd ADDRESS NUMBER
 *
 * Each takes orders from standard input, one a line, ends with it, and prints JSON, one object a
 * line. "can" tells what this build is able to do, and ends: a scenario of bench/links.py that
 * needs a word which is not in abilities[] is not run. Some of them are modes, how a sender uses
 * the paths to a receiver: apply_mode() has what each asks of the library.
 *
 *     receive   takes messages; `mark` is answered with what came since the last mark.
 *     send      dials all addresses, which are of one peer. `go` begins to send, with messages that
 *               have their number in front; `stop`, or --count of them, ends it with their fates.
 *     crowd     is that many nodes in client mode. `join` dials from all of them, `leave` closes
 *               all connections; each is answered when it is done by all.
 *
 * Options: --bind ADDRESS --peers NUMBER (of a receiver), --mode MODE --size BYTES --rate
 * PER_SECOND (0: as fast as it goes) --count NUMBER --critical PER_SECOND (of a sender), --ping MS
 * --idle MS (of both). With --critical so many small messages go in the critical lane besides,
 * which then alone is sent as the mode says, the others by failover; a gap that a receiver tells is
 * one of the most urgent lane that it hears of.
 *
 * Times are those of CLOCK_MONOTONIC, which all processes of a machine share. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <tbquic/tbquic.h>

#include "../tests/net/program.h"

#define ADDRESSES_MAX 8
#define NUMBER_SIZE 8    /* bytes of a message's number, at its front */
#define CRITICAL_SIZE 64 /* bytes, at most, of a message in the critical lane */
#define EVENTS_MAX 64    /* of epoll at once */
#define LINE_SIZE 64
#define STOP_MS 10000 /* for the fates of what was sent */
#define FILES_EACH 8  /* descriptors of a node in a crowd */
#define FILES_BESIDES 64
#define TOLD_MAX 10  /* messages out of order that are told one by one */
#define DIALS_MAX 50 /* of a crowd at once: the handshakes are not under test */

struct options {
    const char *role;
    const char *addresses[ADDRESSES_MAX];
    size_t addresses_len;
    const char *bind;
    const char *mode;
    uint64_t number; /* of a crowd */
    uint64_t size, rate, count, critical, peers, ping_ms, idle_ms;
};

struct node {
    tbq_server *server;
    tbq_connection conn;
    enum { AWAY, DIALLING, HERE } state;
};

/* The first three are schedules, in the order of tbq_schedule. */
static const char *const abilities[] = {"failover", "aggregate", "redundant",
                                        "redial",   "resume",    "early"};

static struct options o = {.role = "", .mode = "redial", .size = 1024};
static struct node *nodes;
static size_t nodes_len, nodes_here, nodes_dialling;
static int ep;
static bool over; /* the input has ended */
static bool up = true;

static struct lane_in {
    uint64_t messages, bytes, gap, last;
    uint64_t in_all, expected, out_of_order;
} in[TBQ_LANES];
static uint64_t in_began;

static struct {
    bool going, full, connected, told;
    tbq_peer_id peer;
    uint64_t began, sent, critical, fates[4];
    uint8_t *message;
} out;

static struct {
    bool joining, leaving;
    uint64_t began;
    size_t next; /* node to dial */
} crowd;

/* ---- nodes ---- */

/* What a mode asks of the configuration, and later of the dials. "redial" asks nothing: the peer
 * has several addresses, and the library dials them by itself when a connection is lost. */
static void apply_mode(tbq_config *c, const char *mode)
{
    for (size_t i = 0; i < sizeof abilities / sizeof *abilities; i++) {
        if (strcmp(mode, abilities[i]) != 0) {
            continue;
        }
        for (size_t k = 0; k < TBQ_LANES && i <= TBQ_REDUNDANT; k++) {
            bool as_asked = o.critical == 0 || k == TBQ_LANE_CRITICAL;
            c->schedule[k] = as_asked ? (tbq_schedule)i : TBQ_FAILOVER;
        }
        c->paths_max = i <= TBQ_REDUNDANT ? 2 : 1;
        return;
    }
    die("this build has no mode %s", mode);
}

static void start(struct node *n, tbq_network_mode mode)
{
    char why[256];
    tbq_config c;
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = n};

    tbq_config_init(&c);
    c.network_mode = mode;
    c.no_discovery = true;
    c.bind_address = o.bind;
    c.bind_port = 0;
    c.max_connections = (uint32_t)o.peers;
    c.ping_interval_ms = (uint32_t)o.ping_ms;
    c.idle_timeout_ms = (uint32_t)o.idle_ms;
    c.error_text = why;
    c.error_text_size = sizeof why;
    if (strcmp(o.role, "send") == 0) {
        apply_mode(&c, o.mode);
        c.bootstrap_nodes = o.addresses;
        c.bootstrap_nodes_len = o.addresses_len;
    }
    if (tbq_server_start(&n->server, &c, NULL, NULL, NULL) < 0) {
        die("%s", why);
    }
    if (epoll_ctl(ep, EPOLL_CTL_ADD, tbq_server_fd(n->server), &interest) < 0) {
        die("epoll does not take a node");
    }
}

/* ---- receiving ---- */

static void receive(const tbq_event *e)
{
    const tbq_message *m = e->message;
    struct lane_in *l = &in[e->lane];
    uint64_t number, now = now_ns();

    if (m->kind != TBQ_TRANSITION || m->u.transition.size < NUMBER_SIZE) {
        return;
    }
    memcpy(&number, m->u.transition.data, sizeof number);
    if (number != l->expected && l->out_of_order++ < TOLD_MAX) {
        printf("{\"event\":\"surprise\",\"number\":%" PRIu64 ",\"expected\":%" PRIu64
               ",\"repeat\":%s}\n",
               number, l->expected, e->repeat ? "true" : "false");
    }
    l->expected = number + 1;
    l->messages++;
    l->in_all++;
    l->bytes += m->u.transition.size;
    if (l->last != 0 && now - l->last > l->gap) {
        l->gap = now - l->last;
    }
    l->last = now;
}

static void mark(void)
{
    struct lane_in all = {0};
    uint64_t now = now_ns();

    for (size_t i = TBQ_LANES; i-- > 0;) { /* the most urgent lane last: its gap is told */
        struct lane_in *l = &in[i];
        all.messages += l->messages;
        all.bytes += l->bytes;
        all.in_all += l->in_all;
        all.out_of_order += l->out_of_order;
        all.gap = l->in_all > 0 ? l->gap : all.gap;
        l->messages = l->bytes = l->gap = 0;
    }
    printf("{\"event\":\"interval\",\"ns\":%" PRIu64 ",\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"gap_ns\":%" PRIu64 ",\"in_all\":%" PRIu64 ",\"out_of_order\":%" PRIu64 "}\n",
           now - in_began, all.messages, all.bytes, all.gap, all.in_all, all.out_of_order);
    in_began = now;
}

/* ---- sending ---- */

/* The peer id that all addresses pin. */
static void read_peer(void)
{
    char text[TBQ_PEER_ID_TEXT_SIZE];
    const char *a = o.addresses[0];

    snprintf(text, sizeof text, "%.52s", a != NULL && strncmp(a, "tbq://", 6) == 0 ? a + 6 : "");
    if (tbq_peer_id_from_text(&out.peer, text) < 0) {
        die("the first address must be tbq://PEERID@host:port");
    }
}

static bool all_sent(void)
{
    return o.count > 0 && out.sent >= o.count;
}

/* How many should have gone by now. */
static uint64_t due(uint64_t rate)
{
    return 1 + (now_ns() - out.began) * rate / SECOND_NS;
}

/* False: not now. */
static bool send_one(size_t size, uint64_t *number, tbq_lane lane)
{
    tbq_message m = tbq_transition(out.message, size);
    tbq_send_options how;

    tbq_send_options_init(&how);
    how.lane = lane;
    memcpy(out.message, number, NUMBER_SIZE);
    int rv = tbq_send_to(nodes->server, &out.peer, &m, &how);
    if (rv < 0 && rv != TBQ_ERR_AGAIN) {
        die("a send: %s", tbq_strerror(rv));
    }
    *number += rv == 0;
    return rv == 0;
}

static void send_more(void)
{
    size_t small = o.size < CRITICAL_SIZE ? o.size : CRITICAL_SIZE;

    while (out.going && o.critical > 0 && out.critical < due(o.critical) &&
           send_one(small, &out.critical, TBQ_LANE_CRITICAL)) {
    }
    while (out.going && !out.full && !all_sent() && (o.rate == 0 || out.sent < due(o.rate))) {
        out.full = !send_one(o.size, &out.sent, TBQ_LANE_NORMAL);
    }
    if (out.going && all_sent()) {
        out.going = false;
        tbq_server_stop(nodes->server, STOP_MS);
    }
}

static void tell_fates(void)
{
    printf("{\"event\":\"done\",\"sent\":%" PRIu64 ",\"delivered\":%" PRIu64
           ",\"undelivered\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"ns\":%" PRIu64 "}\n",
           out.sent + out.critical, out.fates[TBQ_DELIVERED], out.fates[TBQ_NOT_DELIVERED],
           out.fates[TBQ_UNKNOWN], now_ns() - out.began);
}

/* ---- a crowd ---- */

static void tell_crowd(const char *what)
{
    printf("{\"event\":\"%s\",\"nodes\":%zu,\"ns\":%" PRIu64 "}\n", what, nodes_here,
           now_ns() - crowd.began);
}

static void crowd_on(void)
{
    while (crowd.joining && crowd.next < nodes_len && nodes_dialling < DIALS_MAX) {
        struct node *n = &nodes[crowd.next++];
        int rv = tbq_server_connect(n->server, o.addresses[0], &n->conn);
        if (rv < 0) {
            die("a dial: %s", tbq_strerror(rv));
        }
        n->state = DIALLING;
        nodes_dialling++;
    }
    if (crowd.joining && nodes_here == nodes_len) {
        crowd.joining = false;
        tell_crowd("joined");
    }
    if (crowd.leaving && nodes_here == 0) {
        crowd.leaving = false;
        tell_crowd("left");
    }
}

static void crowd_order(const char *line)
{
    crowd.began = now_ns();
    if (strcmp(line, "join") == 0) {
        crowd.joining = true;
        crowd.next = 0;
    } else if (strcmp(line, "leave") == 0) {
        crowd.leaving = true;
        for (size_t i = 0; i < nodes_len; i++) {
            tbq_connection_close(nodes[i].server, nodes[i].conn);
        }
    }
}

/* ---- the loop ---- */

static void on_connected(struct node *n, const tbq_event *e)
{
    n->conn = e->connection;
    nodes_here += n->state != HERE;
    nodes_dialling -= n->state == DIALLING;
    n->state = HERE;
    if (strcmp(o.role, "send") == 0) {
        printf("{\"event\":\"connected\",\"address\":\"%s\"}\n", e->address);
    }
}

static void on_event(struct node *n, const tbq_event *e)
{
    switch (e->type) {
    case TBQ_EVENT_CONNECTED:
        on_connected(n, e);
        break;
    case TBQ_EVENT_DISCONNECTED:
        if (strcmp(o.role, "crowd") == 0 && n->state == HERE) {
            n->state = AWAY;
            nodes_here--;
        } else if (strcmp(o.role, "send") == 0) {
            printf("{\"event\":\"disconnected\",\"reason\":\"%s\"}\n", tbq_error_name(e->reason));
        }
        break;
    case TBQ_EVENT_CONNECT_FAILED:
        if (strcmp(o.role, "crowd") == 0) {
            die("%s: %s", e->address, e->text);
        }
        break;
    case TBQ_EVENT_MESSAGE:
        receive(e);
        break;
    case TBQ_EVENT_FATE:
        out.fates[e->fate]++;
        break;
    case TBQ_EVENT_WRITABLE:
        out.full = false;
        break;
    case TBQ_EVENT_WARNING:
        fprintf(stderr, "links_peer: %s\n", e->text);
        break;
    case TBQ_EVENT_STOPPED:
        up = false;
        break;
    default:
        break;
    }
}

static void process(struct node *n)
{
    tbq_event *e;

    if (tbq_server_process(n->server) < 0) {
        die("the socket is of no use any more");
    }
    while ((e = tbq_server_next_event(n->server)) != NULL) {
        on_event(n, e);
        tbq_event_release(e);
    }
}

static void obey(const char *line)
{
    if (strcmp(line, "mark") == 0) {
        mark();
    } else if (strcmp(line, "go") == 0) {
        out.going = true;
        out.began = now_ns();
    } else if (strcmp(line, "stop") == 0) {
        out.going = false;
        tbq_server_stop(nodes->server, STOP_MS);
    } else {
        crowd_order(line);
    }
}

/* Lines come singly: whoever orders waits for the answer. */
static void read_order(void)
{
    char line[LINE_SIZE];
    ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);

    if (n <= 0) {
        over = true;
        return;
    }
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    obey(line);
}

static void run(void)
{
    struct epoll_event events[EVENTS_MAX];

    while (up && !over) {
        /* What goes at a rate looks at the clock each ms. */
        bool waits = out.going && (o.critical > 0 || (o.rate > 0 && !out.full));
        int n = epoll_wait(ep, events, EVENTS_MAX, waits ? 1 : -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                read_order();
            } else {
                process(events[i].data.ptr);
            }
        }
        send_more();
        crowd_on();
        fflush(stdout);
    }
}

/* ---- arguments ---- */

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0') {
        die("%s is not a number", text);
    }
    return value;
}

static void set_option(const char *name, const char *value)
{
    static const struct {
        const char *name;
        const char **text;
        uint64_t *number;
    } known[] = {
        {"--bind", &o.bind, NULL},         {"--mode", &o.mode, NULL},
        {"--size", NULL, &o.size},         {"--rate", NULL, &o.rate},
        {"--count", NULL, &o.count},       {"--peers", NULL, &o.peers},
        {"--ping", NULL, &o.ping_ms},      {"--idle", NULL, &o.idle_ms},
        {"--critical", NULL, &o.critical},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) != 0) {
            continue;
        }
        if (known[i].text != NULL) {
            *known[i].text = value;
        } else {
            *known[i].number = number_of(value);
        }
        return;
    }
    die("%s is not known", name);
}

static void read_arguments(int argc, char **argv)
{
    if (argc > 1) {
        o.role = argv[1];
    }
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            if (i + 1 == argc) {
                die("%s wants a value", argv[i]);
            }
            set_option(argv[i], argv[i + 1]);
            i++;
        } else if (strcmp(o.role, "crowd") == 0 && o.addresses_len == 1) {
            o.number = number_of(argv[i]);
        } else if (o.addresses_len < ADDRESSES_MAX) {
            o.addresses[o.addresses_len++] = argv[i];
        } else {
            die("too many addresses");
        }
    }
    if (o.size < NUMBER_SIZE) {
        die("a message has at least %d bytes", NUMBER_SIZE);
    }
}

static void tell_abilities(void)
{
    printf("{\"event\":\"can\",\"words\":[");
    for (size_t i = 0; i < sizeof abilities / sizeof *abilities; i++) {
        printf("\"%s\",", abilities[i]);
    }
    printf("\"body\"]}\n"); /* what tbq does with a file that is larger than a message */
}

/* A crowd needs more descriptors than a process usually has. */
static void allow_files(uint64_t many)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < many) {
        limit.rlim_cur = many;
        limit.rlim_max = limit.rlim_max < many ? many : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            die("%" PRIu64 " descriptors are not allowed here", many);
        }
    }
}

/* The nodes of the role, ready to be told what to do. */
static void begin(void)
{
    bool receives = strcmp(o.role, "receive") == 0, sends = strcmp(o.role, "send") == 0;
    struct epoll_event orders = {.events = EPOLLIN, .data.ptr = NULL};

    if ((!receives && o.addresses_len == 0) ||
        (!receives && !sends && (strcmp(o.role, "crowd") != 0 || o.number == 0))) {
        die("usage: links_peer can | receive | send ADDRESS... | crowd ADDRESS NUMBER");
    }
    nodes_len = receives || sends ? 1 : o.number;
    allow_files(nodes_len * FILES_EACH + FILES_BESIDES);
    nodes = calloc(nodes_len, sizeof *nodes);
    out.message = calloc(1, o.size);
    ep = epoll_create1(EPOLL_CLOEXEC);
    if (nodes == NULL || out.message == NULL || ep < 0 ||
        epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &orders) < 0) {
        die("cannot begin");
    }
    if (sends) {
        read_peer();
    }
    for (size_t i = 0; i < nodes_len; i++) {
        start(&nodes[i], receives ? TBQ_MODE_SERVER : TBQ_MODE_CLIENT);
    }
    in_began = now_ns();
    printf("{\"event\":\"ready\",\"uri\":\"%s\"}\n", tbq_server_uri(nodes->server));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    if (strcmp(o.role, "can") == 0) {
        tell_abilities();
        return 0;
    }
    begin();
    run();
    if (strcmp(o.role, "send") == 0) {
        tell_fates();
    }
    for (size_t i = 0; i < nodes_len; i++) {
        tbq_server_free(nodes[i].server);
    }
    free(nodes);
    free(out.message);
    close(ep);
    return 0;
}
