/* bench/floor.c - what ngtcp2 and GnuTLS can do on a machine, without the library: its ceiling.
 *
 * usage: floor server [OPTION VALUE]...
 *        floor client ADDRESS oneway|roundtrip|handshake|idle [OPTION VALUE]...
 *
 * One thread, one socket, one stream on a connection; packets, acknowledgements, congestion control
 * and TLS set as the library sets them, so that the difference is the library's own. A server
 * prints the ADDRESS for its clients and serves until its input ends; "mark" on it is answered with
 * what was used so far. A client prints one result: JSON, one object a line; times are ns of
 * CLOCK_MONOTONIC and of the process's CPU time.
 *
 *     oneway     messages as fast as they go, each counted when the server has checked its bytes
 *     roundtrip  requests that are answered with as many bytes
 *     handshake  connections one after another, each counted when one small request is answered
 *     idle       --count connections that are held until standard input ends
 *
 * Options of both sides: --payload BYTES (of UDP, at most) --ack-thresh PACKETS --cc cubic|reno|bbr
 * --window BYTES --buffer BYTES (of the socket) --slots NUMBER (of one receive) --ahead BYTES (made
 * before they can be sent) --pacing 0|1 --spin NS (looked again before sleeping). Of a server:
 * --port --host (IPv4). Of a client: --size BYTES --seconds S --outstanding N --under-way N --kind
 * full|resumed|early --count N.
 *
 * Exit status: 1 for what went wrong, 2 for what cannot be used like that. */
#include "floor.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define RANDOM_SIZE 4096U /* bytes asked of the kernel at once */
#define SMALL_SIZE 32U    /* bytes of the message that shows that a connection is of use */
#define DIALS_MAX 32U     /* of idle connections that are under way at once */
#define LINE_SIZE 64
#define FINE                                                                                       \
    UINT64_C(128) /* steps from one power of two to the next, in the table of times: 0.8 % */

enum mode { ONEWAY, ROUNDTRIP, HANDSHAKE, IDLE };
static const char *const mode_names[] = {"oneway", "roundtrip", "handshake", "idle"};

static struct options {
    enum mode mode;
    const char *kind;
    const char *cc;
    const char *host;
    const char *seconds;
    uint64_t size, ns, outstanding, under_way, count, port;
    struct settings settings;
} o = {.kind = "full",
       .cc = "cubic",
       .host = "127.0.0.1",
       .size = 65536,
       .seconds = "5",
       .outstanding = 64,
       .under_way = 8,
       .count = 100,
       /* As lib/quic sets them: an Ethernet frame less IPv6 and UDP, 8 packets to an
        * acknowledgement. */
       .settings = {.payload = 1452,
                    .ack_thresh = 8,
                    .window = 16U << 20,
                    .buffer = 8U << 20,
                    .slots = 32,
                    .ahead = 128U << 10,
                    .spin = 0,
                    .pacing = 1}};

/* A client's measurement. */
static struct {
    struct conn *control; /* stays; the server's sums come over it */
    struct sockaddr_in to;
    bool going;  /* more is begun */
    bool ending; /* the last sum is asked for */
    uint64_t began, until, cpu_began, asked, answered;
    uint64_t *asked_at; /* of those that are outstanding: a ring */
    struct sum sum_began;
    uint64_t up;               /* connections */
    uint64_t times[64 * FINE]; /* how many answers took so long */
} run;

static struct floor bare;

/* ---- the machine ---- */

static _Noreturn void leave(int status, const char *format, va_list args)
{
    fputs("floor: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    exit(status);
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    leave(1, format, args);
}

static _Noreturn void misused(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void misused(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    leave(2, format, args);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

void random_bytes(uint8_t *to, size_t size)
{
    static uint8_t bytes[RANDOM_SIZE];
    static size_t left;

    while (size > 0) {
        if (left == 0) {
            ssize_t n = getrandom(bytes, sizeof bytes, 0);
            left = n > 0 ? (size_t)n : 0;
        }
        size_t n = size < left ? size : left;
        left -= n;
        memcpy(to, bytes + left, n);
        to += n;
        size -= n;
    }
}

static uint64_t rss_kib(void)
{
    unsigned long long all, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL ||
        fscanf(file, "%llu %llu", &all, &resident) != 2) { /* NOLINT(cert-err34-c) */
        die("/proc/self/statm cannot be read");
    }
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* ---- the server ---- */

static void nothing_on_conn(struct conn *c)
{
    (void)c;
}

static void serve_message(struct conn *c, enum type type, size_t size)
{
    struct sum *sum = &c->floor->sum;

    if (type == MARK) {
        sum->cpu_ns = cpu_ns();
        flow_put(c, SUM, sum, sizeof *sum);
        return;
    }
    sum->messages++;
    sum->bytes += size;
}

/* Whole lines, or the end. */
static void serve_input(struct floor *f)
{
    char line[LINE_SIZE];
    ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);

    f->over = n <= 0;
    if (n > 0 && memchr(line, '\n', (size_t)n) != NULL && strncmp(line, "mark", 4) == 0) {
        printf("{\"event\":\"mark\",\"now_ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64
               ",\"rss_kib\":%" PRIu64 ",\"connections\":%zu,\"bytes\":%" PRIu64 "}\n",
               now_ns(), cpu_ns(), rss_kib(), f->count, f->sum.bytes);
        fflush(stdout);
    }
}

static void print_ready(const struct floor *f)
{
    printf("{\"event\":\"ready\",\"address\":\"%s:%u/", o.host, ntohs(f->udp.local.sin_port));
    for (size_t i = 0; i < KEY_SIZE; i++) {
        printf("%02x", f->tls.key[i]);
    }
    puts("\"}");
    fflush(stdout);
}

static struct sockaddr_in address_of(const char *host, unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        misused("%s is not an address of IPv4", host);
    }
    return a;
}

static void serve(void)
{
    bare.on_up = bare.on_ticket = bare.on_closed = nothing_on_conn;
    bare.on_message = serve_message;
    bare.on_input = serve_input;
    struct sockaddr_in at = address_of(o.host, (unsigned)o.port);
    floor_init(&bare, &o.settings, true, &at);
    print_ready(&bare);
    floor_run(&bare);
    printf("{\"event\":\"end\",\"cpu_ns\":%" PRIu64 ",\"rss_kib\":%" PRIu64 "}\n", cpu_ns(),
           rss_kib());
}

/* ---- times of answers ---- */

/* Below FINE each ns has its place; above, each power of two has FINE of them. */
static uint64_t place_of_time(uint64_t ns)
{
    unsigned shift = 0;
    while (ns >> shift >= 2 * FINE) {
        shift++;
    }
    return shift * FINE + (ns >> shift);
}

static uint64_t time_at_place(uint64_t place)
{
    uint64_t shift = place < 2 * FINE ? 0 : place / FINE - 1;
    return (place - shift * FINE) << shift;
}

/* What `part` of a thousand answers took at most. */
static uint64_t time_of(uint64_t part)
{
    uint64_t seen = 0, wanted = (run.answered * part + 999) / 1000;

    for (size_t i = 0; i < sizeof run.times / sizeof *run.times; i++) {
        seen += run.times[i];
        if (seen >= wanted) {
            return time_at_place(i);
        }
    }
    return 0;
}

/* ---- the client: beginning and end ---- */

static bool is_kind(const char *name)
{
    return strcmp(o.kind, name) == 0;
}

static void print_result(const struct sum *sum)
{
    uint64_t ns = now_ns() - run.began, cpu = cpu_ns() - run.cpu_began;
    uint64_t messages = sum->messages - run.sum_began.messages;

    if (messages != run.asked) {
        die("%" PRIu64 " messages were sent, %" PRIu64 " have come", run.asked, messages);
    }
    printf("{\"event\":\"result\",\"mode\":\"%s\",", mode_names[o.mode]);
    switch (o.mode) {
    case ONEWAY:
        printf("\"size\":%" PRIu64 ",\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64, o.size, messages,
               sum->bytes - run.sum_began.bytes);
        break;
    case ROUNDTRIP:
        printf("\"size\":%" PRIu64 ",\"outstanding\":%" PRIu64 ",\"messages\":%" PRIu64
               ",\"p50_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64 ",\"p999_ns\":%" PRIu64,
               o.size, o.outstanding, messages, time_of(500), time_of(990), time_of(999));
        break;
    default:
        printf("\"kind\":\"%s\",\"handshakes\":%" PRIu64, o.kind, run.answered);
    }
    printf(",\"ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 ",\"server_cpu_ns\":%" PRIu64 "}\n", ns, cpu,
           sum->cpu_ns - run.sum_began.cpu_ns);
}

static void ask(struct conn *c, size_t size)
{
    if (o.mode == ROUNDTRIP) {
        run.asked_at[run.asked++ % o.outstanding] = bare.now;
    }
    flow_put(c, ASK, NULL, size);
    conn_ready(c);
}

static void ask_for_sum(void)
{
    flow_put(run.control, MARK, NULL, 0);
    conn_ready(run.control);
}

/* True while there is time; the first time there is none, the end begins. */
static bool goes_on(void)
{
    if (run.going && bare.now >= run.until) {
        run.going = false;
    }
    return run.going;
}

static void end_when_answered(void)
{
    if (!run.going && !run.ending && run.asked == run.answered) {
        run.ending = true;
        ask_for_sum();
    }
}

/* ---- the client: each mode ---- */

/* As soon as there is room for them, and not before: they stay in the cache. */
static void send_more(struct floor *f)
{
    struct conn *c = run.control;

    if (!run.going) {
        return;
    }
    while (c->out.unsent < f->settings.ahead) {
        flow_put(c, DATA, NULL, o.size);
        run.asked++;
        conn_ready(c);
    }
    if (!goes_on()) {
        run.ending = true;
        ask_for_sum();
    }
}

static void dial_one(void)
{
    bool early = o.mode == HANDSHAKE && is_kind("early");
    bool again = o.mode == HANDSHAKE && !is_kind("full");
    struct conn *c = floor_dial(&bare, &run.to, again ? &bare.newest : NULL, early);

    run.asked++; /* when it is up, or now */
    if (early) {
        ask(c, SMALL_SIZE);
    }
}

static void begin(const struct sum *sum)
{
    run.sum_began = *sum;
    run.began = bare.now = now_ns();
    run.cpu_began = cpu_ns();
    run.until = run.began + o.ns;
    run.going = true;
    if (o.mode == HANDSHAKE) {
        if (bare.newest.session.data == NULL) {
            die("no ticket has come");
        }
        for (uint64_t i = 0; i < o.under_way; i++) {
            dial_one();
        }
    }
    for (uint64_t i = 0; o.mode == ROUNDTRIP && i < o.outstanding; i++) {
        ask(run.control, o.size);
    }
    bare.work = o.mode == ONEWAY ? send_more : NULL;
}

/* A request that goes early may be answered before the handshake is complete on both sides: that it
 * is, is known by the next ticket. */
static void end_dial(struct conn *c)
{
    if (c->closing || !c->answered || (is_kind("early") && !c->ticketed)) {
        return;
    }
    conn_close(c);
    if (goes_on()) {
        dial_one();
    }
    end_when_answered();
}

static void client_ticket(struct conn *c)
{
    c->ticketed = true;
    end_dial(c);
}

static void take_answer(struct conn *c)
{
    uint64_t place = run.answered % o.outstanding;

    run.answered++;
    if (o.mode == HANDSHAKE) {
        c->answered = true;
        end_dial(c);
        return;
    }
    run.times[place_of_time(bare.now - run.asked_at[place])]++;
    if (goes_on()) {
        ask(c, o.size);
    }
    end_when_answered();
}

static void client_message(struct conn *c, enum type type, size_t size)
{
    (void)size;
    if (type == ANSWER) {
        take_answer(c);
    } else if (type == SUM && !run.ending) {
        begin(&c->in.sum);
    } else if (type == SUM) {
        print_result(&c->in.sum);
        bare.over = true;
    }
}

static void hold_more(void)
{
    run.up++;
    if (run.up == o.count) {
        printf("{\"event\":\"held\",\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}\n", run.up,
               now_ns() - run.began);
        fflush(stdout);
    } else if (run.up + DIALS_MAX <= o.count) {
        dial_one();
    }
}

static void client_up(struct conn *c)
{
    if (o.mode == IDLE) {
        hold_more();
        return;
    }
    if (c == run.control) {
        ask_for_sum();
        return;
    }
    if ((gnutls_session_is_resumed(c->tls) != 0) != !is_kind("full")) {
        die("a session was resumed, or not, against what was asked for");
    }
    if (!is_kind("early")) {
        ask(c, SMALL_SIZE);
    } else if ((gnutls_session_get_flags(c->tls) & GNUTLS_SFLAGS_EARLY_DATA) == 0) {
        die("the server took no early data");
    }
}

static void client_closed(struct conn *c)
{
    if (!c->closing) {
        die("the server has closed a connection");
    }
}

static void client_input(struct floor *f)
{
    char line[LINE_SIZE];
    f->over = read(STDIN_FILENO, line, sizeof line) <= 0;
}

static void close_all(void)
{
    for (size_t i = 0; i < bare.count; i++) {
        conn_close(bare.heap[i]);
    }
    floor_flush(&bare);
}

/* HOST:PORT/KEY */
static void read_address(const char *text)
{
    char host[INET_ADDRSTRLEN];
    unsigned port;
    int at = 0;

    if (sscanf(text, "%15[0-9.]:%5u/%n", host, &port, &at) != 2 || at == 0 || port > UINT16_MAX ||
        strlen(text + at) != 2 * (size_t)KEY_SIZE) {
        misused("%s is not an address that a server printed", text);
    }
    for (size_t i = 0; i < KEY_SIZE; i++) {
        char hex[3] = {text[(size_t)at + 2 * i], text[(size_t)at + 2 * i + 1], '\0'};
        bare.tls.peer[i] = (uint8_t)strtoul(hex, NULL, 16);
    }
    run.to = address_of(host, port);
}

static void ask_server(void)
{
    run.asked_at = calloc(o.outstanding, sizeof *run.asked_at);
    if (run.asked_at == NULL) {
        die("no memory");
    }
    bare.on_up = client_up;
    bare.on_ticket = client_ticket;
    bare.on_message = client_message;
    bare.on_closed = client_closed;
    bare.on_input = o.mode == IDLE ? client_input : NULL;
    struct sockaddr_in any = {.sin_family = AF_INET};
    floor_init(&bare, &o.settings, false, &any);
    run.began = now_ns();
    run.control = floor_dial(&bare, &run.to, NULL, false);
    for (uint64_t i = 1; o.mode == IDLE && i < DIALS_MAX && i < o.count; i++) {
        dial_one();
    }
    floor_run(&bare);
    close_all();
}

/* ---- arguments ---- */

static uint64_t number_of(const char *text)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);

    if (*text < '0' || *text > '9' || *end != '\0') {
        misused("%s is not a number", text);
    }
    return value;
}

/* Of seconds, with a point perhaps. */
static uint64_t ns_of(const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (*text < '0' || *text > '9' || *end != '\0' || !(value < 1e6)) {
        misused("%s is not a number of seconds", text);
    }
    return (uint64_t)(value * (double)SECOND_NS);
}

static void set_option(const char *name, const char *value)
{
    static const struct {
        const char *name;
        const char **text;
        uint64_t *number;
    } known[] = {
        {"--kind", &o.kind, NULL},
        {"--cc", &o.cc, NULL},
        {"--host", &o.host, NULL},
        {"--size", NULL, &o.size},
        {"--seconds", &o.seconds, NULL},
        {"--outstanding", NULL, &o.outstanding},
        {"--under-way", NULL, &o.under_way},
        {"--count", NULL, &o.count},
        {"--port", NULL, &o.port},
        {"--payload", NULL, &o.settings.payload},
        {"--ack-thresh", NULL, &o.settings.ack_thresh},
        {"--window", NULL, &o.settings.window},
        {"--buffer", NULL, &o.settings.buffer},
        {"--slots", NULL, &o.settings.slots},
        {"--ahead", NULL, &o.settings.ahead},
        {"--spin", NULL, &o.settings.spin},
        {"--pacing", NULL, &o.settings.pacing},
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
    misused("%s is not known", name);
}

static void check_options(void)
{
    static const struct {
        const char *name;
        ngtcp2_cc_algo cc;
    } known[] = {{"cubic", NGTCP2_CC_ALGO_CUBIC},
                 {"reno", NGTCP2_CC_ALGO_RENO},
                 {"bbr", NGTCP2_CC_ALGO_BBR}};
    size_t i = 0, n = sizeof known / sizeof *known;

    while (i < n && strcmp(o.cc, known[i].name) != 0) {
        i++;
    }
    if (i == n || (!is_kind("full") && !is_kind("resumed") && !is_kind("early"))) {
        misused("--cc is cubic, reno or bbr; --kind is full, resumed or early");
    }
    o.settings.cc = known[i].cc;
    o.ns = ns_of(o.seconds);
    if (o.settings.payload < 1200 || o.settings.payload > PACKET_MAX || o.settings.slots == 0 ||
        o.outstanding == 0 || o.under_way == 0 || o.count == 0 || o.port > UINT16_MAX) {
        misused("an option is too small or too large");
    }
}

static void read_arguments(int argc, char **argv, int first)
{
    for (int i = first; i < argc; i += 2) {
        if (i + 1 == argc) {
            misused("%s wants a value", argv[i]);
        }
        set_option(argv[i], argv[i + 1]);
    }
    check_options();
}

static enum mode mode_of(const char *name)
{
    for (size_t i = 0; i < sizeof mode_names / sizeof *mode_names; i++) {
        if (strcmp(name, mode_names[i]) == 0) {
            return (enum mode)i;
        }
    }
    misused("there is no mode %s", name);
}

int main(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "server") == 0) {
        read_arguments(argc, argv, 2);
        serve();
    } else if (argc >= 4 && strcmp(argv[1], "client") == 0) {
        o.mode = mode_of(argv[3]);
        read_address(argv[2]);
        read_arguments(argc, argv, 4);
        ask_server();
    } else {
        misused(
            "usage: floor server | client ADDRESS MODE, and options; see the top of its source");
    }
    return 0;
}
