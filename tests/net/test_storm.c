/* tests/net/test_storm.c - a server in a process of its own, over loopback, in a storm: mutations
 * of real datagrams from many ports, real beginnings that nobody goes on with, connections opened
 * and closed. All the while honest clients are answered within a second; afterwards the server is
 * as large as before, and its counters tell where each datagram went.
 *
 * "Before" is a server that has answered each of the honest clients, and a number of connections
 * one after another, and has nothing left of them. STORM=1 is the full size: three storms of a
 * million datagrams, a thousand abandoned beginnings and ten thousand connections each. The default
 * is one storm, of about a fiftieth of that. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../unit/harness.h"
#include "couple.h"

#define PORTS 64     /* that the mutated datagrams come from */
#define AHEAD_MAX 64 /* datagrams that the server has not read yet: no socket buffer is flooded */
#define CAPTURED_MAX 64
#define DATAGRAM_MAX 1500
#define MUTATE_BATCH 32
#define REGULARS 16 /* honest clients, each with a key of its own */

/* What the server tells of itself, after every step. */
struct told {
    unsigned port;
    struct size {
        uint64_t resident; /* KiB */
        uint64_t kept;     /* KiB of the C library's free memory, besides */
        uint64_t peak;     /* KiB resident, at most since it began */
        uint64_t in_use;   /* bytes that were not freed, of everybody in the process */
        uint64_t live;     /* those that the server asked for itself */
    } size;
    tbq_stats stats;
    unsigned asked, answered; /* how large it is when nothing goes on */
    bool stop;
};

static volatile struct told *told;
static pid_t child;
static uint64_t sent; /* datagrams to the server, of sockets of ours */
static int port_fd[PORTS];
static struct sockaddr_in server_addr;
static struct {
    uint8_t data[DATAGRAM_MAX];
    size_t size;
} captured[CAPTURED_MAX];
static size_t captured_len;
static struct tbi_rng rng;
static uint64_t lost;       /* of those sent: never read */
static uint64_t slowest_ms; /* that an honest client waited for its answer */
static struct regular {
    struct side side;
    uint64_t counted; /* datagrams of its that are in `sent` */
} regular[REGULARS];

static double factor(void)
{
    const char *text = getenv("TIME_FACTOR");
    return text != NULL && atof(text) > 1 ? atof(text) : 1;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- The server's process --------------------------------------------------------------------- */

/* A line of /proc/self/status, KiB. */
static uint64_t status_kib(const char *name)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = strtoull(line + strlen(name), NULL, 10);
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return kib;
}

/* glibc keeps what was freed, in the hope that it is needed again: an idle process that wants to
 * be small says so, as `tbq server` does. */
static void tell_size(const struct side *side)
{
    struct mallinfo2 m = mallinfo2();
    uint64_t before = status_kib("VmRSS:");
    malloc_trim(0);
    uint64_t after = status_kib("VmRSS:");
    struct size size = {.resident = after,
                        .kept = before > after ? before - after : 0,
                        .peak = status_kib("VmHWM:"),
                        .in_use = m.uordblks + m.hblkhd,
                        .live = side->memory.live};
    memcpy((void *)(uintptr_t)&told->size, &size, sizeof size);
    told->answered = told->asked;
}

static void serve(void)
{
    static struct side side;
    tbq_config c = couple_config(&side);
    tbq_server *server;
    tbq_event *e;

    c.no_discovery = true;
    c.ping_interval_ms = 500;
    c.peer_timeout_ms = 2000;
    c.idle_timeout_ms = 2000; /* for what the storm leaves behind */
    c.log_level = TBQ_LOG_ERROR;
    if (tbq_server_start(&server, &c, NULL, NULL, NULL) != 0) {
        _exit(1);
    }
    for (unsigned step = 0; !told->stop; step++) {
        struct pollfd fds[TBQ_FDS_MAX];
        size_t n = tbq_server_pollfds(server, fds, TBQ_FDS_MAX);
        int wait = couple_wait(server, 50);
        int ready = poll(fds, (nfds_t)n, wait);
        tbq_server_process(server);
        while ((e = tbq_server_next_event(server)) != NULL) {
            tbq_event_release(e);
        }
        tbq_stats stats;
        tbq_stats_init(&stats);
        tbq_server_stats(server, &stats);
        memcpy((void *)(uintptr_t)&told->stats, &stats, sizeof stats);
        if (ready == 0 && told->answered != told->asked && stats.connections == 0 &&
            stats.peers == 0) {
            tell_size(&side);
        }
        if (told->port == 0) {
            told->port = (unsigned)atoi(strrchr(tbq_server_address(server), ':') + 1);
        }
    }
    tbq_server_free(server);
    _exit(0);
}

static void begin(void)
{
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(told != MAP_FAILED);
    memset((void *)(uintptr_t)told, 0, sizeof *told);
    sent = lost = slowest_ms = 0;
    captured_len = 0;
    tbi_test_rng(&rng, 77);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve();
    }
    while (told->port == 0) {
        ck_assert_int_eq(waitpid(child, NULL, WNOHANG), 0);
        poll(NULL, 0, 1);
    }
    server_addr = (struct sockaddr_in){.sin_family = AF_INET,
                                       .sin_port = htons((uint16_t)told->port),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (size_t i = 0; i < PORTS; i++) {
        port_fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        ck_assert_int_ge(port_fd[i], 0);
        struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        ck_assert_int_eq(bind(port_fd[i], (struct sockaddr *)&any, sizeof any), 0);
    }
}

static void end(void)
{
    int status = 0;
    told->stop = true;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    for (size_t i = 0; i < PORTS; i++) {
        close(port_fd[i]);
    }
    munmap((void *)(uintptr_t)told, sizeof *told);
}

/* What the kernel threw away at the server's socket. */
static uint64_t kernel_drops(void)
{
    char line[512];
    unsigned long long drops = 0;
    FILE *f = fopen("/proc/net/udp", "r");

    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f) != NULL) {
        unsigned ip, port;
        if (sscanf(line, " %*d: %x:%x", &ip, &port) == 2 && port == told->port) {
            for (char *at = line + strlen(line); at > line && (at[-1] == ' ' || at[-1] == '\n');) {
                *--at = '\0';
            }
            drops = strtoull(strrchr(line, ' '), NULL, 10);
        }
    }
    fclose(f);
    return drops;
}

/* --- Attacks ---------------------------------------------------------------------------------- */

static void send_from(int fd, const uint8_t *data, size_t size)
{
    if (sendto(fd, data, size, 0, (struct sockaddr *)&server_addr, sizeof server_addr) ==
        (ssize_t)size) {
        sent++;
    }
}

/* Waits until the server has read nearly all that was sent: it shall be busy, and no socket buffer
 * full. What it has not read a while later was lost on the way. */
static void not_too_fast(void)
{
    uint64_t read = told->stats.packets_received, since = now_ms();

    while (sent > lost + read + AHEAD_MAX) {
        poll(NULL, 0, 1);
        if (told->stats.packets_received != read) {
            since = now_ms();
        } else if ((double)(now_ms() - since) > 500 * factor()) {
            lost = sent - read;
        }
        read = told->stats.packets_received;
    }
}

static void mutate_some(size_t count)
{
    uint8_t data[DATAGRAM_MAX];

    for (size_t i = 0; i < count; i++) {
        size_t which = tbi_rng_below(&rng, captured_len);
        size_t size = captured[which].size;
        memcpy(data, captured[which].data, size);
        if (tbi_rng_below(&rng, 4) == 0) {
            size = 1 + tbi_rng_below(&rng, size);
        }
        size_t turns = tbi_rng_below(&rng, 8);
        for (size_t k = 0; k < turns; k++) {
            size_t reach = k % 2 == 0 && size > 40 ? 40 : size;
            data[tbi_rng_below(&rng, reach)] = (uint8_t)tbi_rng_below(&rng, 256);
        }
        int fd = port_fd[tbi_rng_below(&rng, PORTS)];
        send_from(fd, data, size);
        while (recv(fd, data, sizeof data, 0) > 0) { /* answers are not wanted */
        }
    }
    not_too_fast();
}

static void client_start(struct side *s)
{
    tbq_config c = couple_config(s);
    c.no_discovery = true;
    c.log_level = TBQ_LOG_ERROR;
    ck_assert_int_eq(tbq_server_start(&s->server, &c, NULL, NULL, NULL), 0);
}

static uint64_t packets_of(struct side *s)
{
    tbq_stats stats;
    tbq_stats_init(&stats);
    ck_assert_int_eq(tbq_server_stats(s->server, &stats), 0);
    return stats.packets_sent;
}

static void client_step(struct side *s, int fd, int wait)
{
    struct pollfd fds[TBQ_FDS_MAX + 1];
    size_t n = tbq_server_pollfds(s->server, fds, TBQ_FDS_MAX);
    fds[n] = (struct pollfd){.fd = fd, .events = POLLIN};
    poll(fds, (nfds_t)n + 1, couple_wait(s->server, wait));
    ck_assert_int_eq(tbq_server_process(s->server), 0);
    couple_pull(s);
}

static tbq_connection dial(struct side *s, unsigned port)
{
    char address[32];
    tbq_connection c;
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    ck_assert_int_eq(tbq_server_connect(s->server, address, &c), 0);
    return c;
}

static unsigned port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t size = sizeof a;
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    return ntohs(a.sin_port);
}

/* A whole conversation of a client, with a socket of ours in its middle: the client's half is kept.
 */
static void capture(void)
{
    struct side s;
    struct sockaddr_in client = {0};
    int front = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), back = port_fd[0];
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint64_t until = now_ms() + 200;

    ck_assert_int_eq(bind(front, (struct sockaddr *)&any, sizeof any), 0);
    client_start(&s);
    dial(&s, port_of(front));
    while (captured_len < 8 || now_ms() < until) {
        uint8_t data[DATAGRAM_MAX];
        socklen_t len = sizeof client;
        ssize_t n;
        client_step(&s, front, 5);
        while ((n = recvfrom(front, data, sizeof data, 0, (struct sockaddr *)&client, &len)) > 0) {
            if (captured_len < CAPTURED_MAX) {
                memcpy(captured[captured_len].data, data, (size_t)n);
                captured[captured_len++].size = (size_t)n;
            }
            send_from(back, data, (size_t)n);
        }
        while ((n = recv(back, data, sizeof data, 0)) > 0) {
            (void)sendto(front, data, (size_t)n, 0, (struct sockaddr *)&client, sizeof client);
        }
        if (s.events[TBQ_EVENT_CONNECTED] > 0 && captured_len >= 3 && now_ms() >= until) {
            break;
        }
    }
    ck_assert_uint_ge(captured_len, 3);
    couple_end(&s);
    close(front);
}

/* A client dials ports where nobody answers; what it says there goes on to the server. */
static void abandon(size_t count)
{
    for (size_t done = 0; done < count; done += PORTS) {
        struct side s;
        uint8_t data[DATAGRAM_MAX];
        size_t got = 0;
        client_start(&s);
        for (size_t i = 0; i < PORTS; i++) {
            while (recv(port_fd[i], data, sizeof data, 0) > 0) {
            }
            dial(&s, port_of(port_fd[i]));
        }
        while (got < PORTS) {
            client_step(&s, port_fd[0], 1);
            for (size_t i = 0; i < PORTS; i++) {
                struct sockaddr_in from = {0};
                socklen_t len = sizeof from;
                ssize_t n =
                    recvfrom(port_fd[i], data, sizeof data, 0, (struct sockaddr *)&from, &len);
                if (n > 0 && from.sin_port != server_addr.sin_port) {
                    send_from(port_fd[i], data, (size_t)n);
                    got++;
                }
            }
            not_too_fast();
        }
        couple_end(&s);
    }
}

/* A connection that is opened, within a second, and closed, with `storm` going on. */
static void answered(struct regular *r, void (*storm)(void))
{
    struct side *s = &r->side;
    size_t up = s->events[TBQ_EVENT_CONNECTED], down = s->events[TBQ_EVENT_DISCONNECTED];
    uint64_t began = now_ms();
    tbq_connection c = dial(s, told->port);

    while (s->events[TBQ_EVENT_CONNECTED] == up) {
        client_step(s, -1, storm != NULL ? 1 : 100);
        uint64_t waited = now_ms() - began;
        slowest_ms = waited > slowest_ms ? waited : slowest_ms;
        if (storm != NULL) {
            storm();
        }
        if ((double)waited > 1000 * factor()) {
            ck_abort_msg("no answer within a second: %llu of %llu datagrams read, %llu lost, "
                         "%llu half open, %llu refused, %llu proofs asked for",
                         (unsigned long long)told->stats.packets_received, (unsigned long long)sent,
                         (unsigned long long)kernel_drops(),
                         (unsigned long long)told->stats.half_open,
                         (unsigned long long)told->stats.refused_full,
                         (unsigned long long)told->stats.retries_sent);
        }
    }
    ck_assert_int_eq(tbq_connection_close(s->server, c), 0);
    while (s->events[TBQ_EVENT_DISCONNECTED] == down) {
        client_step(s, -1, 100);
    }
    uint64_t packets = packets_of(s);
    sent += packets - r->counted;
    r->counted = packets;
}

static void honest(void (*storm)(void))
{
    static size_t turn;
    answered(&regular[turn++ % REGULARS], storm);
}

/* --- The story -------------------------------------------------------------------------------- */

static void storm_step(void)
{
    mutate_some(MUTATE_BATCH);
}

static void storm(size_t mutated, size_t abandoned, size_t opened)
{
    for (size_t i = 0; i < mutated; i += MUTATE_BATCH) {
        mutate_some(MUTATE_BATCH);
        if (i % (128 * MUTATE_BATCH) == 0) {
            honest(storm_step);
        }
    }
    abandon(abandoned);
    for (size_t i = 0; i < opened; i++) {
        honest(NULL);
    }
}

/* How large the server is when nothing is left of what was begun. */
static struct size settled(const char *when)
{
    struct size size;
    uint64_t began = now_ms();
    unsigned asked = ++told->asked;

    while (told->answered != asked) {
        poll(NULL, 0, 5);
        ck_assert_msg((double)(now_ms() - began) < 120000 * factor(),
                      "%llu connections and %llu peers are left",
                      (unsigned long long)told->stats.connections,
                      (unsigned long long)told->stats.peers);
    }
    memcpy(&size, (const void *)(uintptr_t)&told->size, sizeof size);
    fprintf(stderr,
            "# %s: %llu KiB resident (and %llu that only the C library kept), %llu at most; "
            "%llu KiB in use, %llu of them the server's own\n",
            when, (unsigned long long)size.resident, (unsigned long long)size.kept,
            (unsigned long long)size.peak, (unsigned long long)size.in_use / 1024,
            (unsigned long long)size.live / 1024);
    return size;
}

static void as_large_as(const struct size *before, const struct size *after)
{
    const char *sanitizers = getenv("SANITIZERS"); /* which keep what was freed */

    ck_assert_uint_le(after->live, before->live + before->live / 10);
    if (sanitizers != NULL && strcmp(sanitizers, "yes") == 0) {
        return;
    }
    ck_assert_uint_le(after->in_use, before->in_use + before->in_use / 10);
    ck_assert_msg(after->resident <= before->resident + before->resident / 10,
                  "%llu KiB before, %llu after", (unsigned long long)before->resident,
                  (unsigned long long)after->resident);
}

static void tell_counters(const tbq_stats *s)
{
    fprintf(
        stderr,
        "# %llu datagrams were sent to it, %llu of them were thrown away by the kernel. Of %llu "
        "that it read:\n"
        "#   %llu began a connection, %llu more belonged to one\n"
        "#   %llu were asked to prove their address, %llu brought no good proof\n"
        "#   %llu were of another version of QUIC, and told so\n"
        "#   %llu found the server full, %llu their network\n"
        "#   %llu were no QUIC, %llu of no connection that it knew; %llu had no memory\n"
        "# the slowest answer to an honest client took %llu ms\n",
        (unsigned long long)sent, (unsigned long long)kernel_drops(),
        (unsigned long long)s->packets_received, (unsigned long long)s->accepted,
        (unsigned long long)s->datagrams_to_connections, (unsigned long long)s->retries_sent,
        (unsigned long long)s->refused_token, (unsigned long long)s->versions_sent,
        (unsigned long long)s->refused_full, (unsigned long long)s->refused_crowded,
        (unsigned long long)s->dropped_reserved, (unsigned long long)s->dropped_unknown,
        (unsigned long long)s->not_begun, (unsigned long long)slowest_ms);
}

static void accounted_for(void)
{
    tbq_stats s;
    memcpy(&s, (const void *)(uintptr_t)&told->stats, sizeof s);
    tell_counters(&s);
    ck_assert_uint_eq(s.packets_received, s.accepted + s.datagrams_to_connections + s.retries_sent +
                                              s.versions_sent + s.refused_full + s.refused_crowded +
                                              s.refused_token + s.dropped_reserved +
                                              s.dropped_unknown + s.unanswered + s.not_begun);
    ck_assert_uint_eq(sent, s.packets_received + s.receive_errors + kernel_drops());
    ck_assert_uint_eq(s.unanswered, 0); /* it sends before it reads on */
    ck_assert_uint_gt(s.dropped_unknown, 0);
    ck_assert_uint_gt(s.retries_sent, 0); /* more were half open than may be without a proof */
}

START_TEST(a_storm_passes)
{
    bool full = getenv("STORM") != NULL;
    size_t scale = full ? 50 : 1;

    begin();
    for (size_t i = 0; i < REGULARS; i++) {
        client_start(&regular[i].side);
        regular[i].counted = 0;
    }
    capture();
    for (size_t i = 0; i < 200; i++) {
        honest(NULL);
    }
    struct size before = settled("before");
    for (int round = 1; round <= (full ? 3 : 1); round++) {
        storm(20000 * scale, full ? 1000 : PORTS * 4, 200 * scale);
        struct size after = settled("after a storm");
        as_large_as(&before, &after);
    }
    for (size_t i = 0; i < REGULARS; i++) {
        couple_end(&regular[i].side);
    }
    accounted_for();
    end();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("storm");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 900);
    tcase_add_test(c, a_storm_passes);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
