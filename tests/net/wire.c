/* tests/net/wire.c - an emulated link between two network interfaces.
 *
 * usage: wire LEFT RIGHT [COMMAND]...     joins them until standard input ends
 *        wire plain INTERFACE...          switches their offloads off, and ends
 *
 * Every Ethernet frame that one interface receives is sent by the other, later, or not at all. The
 * interfaces are best the ends of two veth pairs in a network namespace of their own; whoever
 * sends into their other ends must have been made `plain`, or else checksums are missing and
 * frames come 64 KiB long. tests/net/lab.py sets all this up.
 *
 * Commands are taken from the arguments, and then from standard input, one a line. Each is answered
 * with "ok" or "error: ..." and counts for all frames that come after the answer, in both
 * directions; with "ab" in front only from LEFT to RIGHT, with "ba" the other way.
 *
 *     delay MS            jitter MS            loss PERCENT [BURST]   duplicate PERCENT
 *     corrupt PERCENT     reorder PERCENT      rate BITS|off          queue BYTES
 *     mtu BYTES|off       ecn MS|off           down                   up
 *     seed NUMBER         counters
 *
 * BITS are those of IP packets, a second, and may end in kbit, mbit or gbit; BYTES in k or m
 * (1024). tests/net/way.h says exactly what each does. "counters" is answered with one line of
 * JSON, which is also the last line before the end; besides what way.h counts, "missed" are frames
 * that this program was too slow for, and "unsent" those that an interface did not take.
 *
 * Exit: 0; 2 when it cannot begin. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* recvmmsg(), sendmmsg(), ppoll() */
#endif
#include <errno.h>
#include <inttypes.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <math.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "program.h"
#include "way.h"

#define BATCH 64
#define FRAME_MAX 16384U        /* bytes; more than any MTU in use here */
#define SOCKET_BUFFER (8 << 20) /* bytes: what comes while somebody else has the core */
#define GATHER_NS 100000        /* after a wake-up; see wait_for_news() */
#define MS_NS 1e6
#define LINE_MAX_SIZE 256
#define SEED_DEFAULT 1

/* One side: what this interface receives goes the way, and leaves through the other side. */
struct side {
    const char *name;
    int fd;
    struct way way;
    uint64_t missed;
    uint64_t unsent;
};

struct wire {
    struct side sides[2];
    char line[LINE_MAX_SIZE];
    size_t line_size;
    bool too_long; /* the line whose end is awaited */
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* ---- interfaces ---- */

/* What makes a kernel hand out frames as no cable would carry them. */
static void make_plain(const char *name)
{
    static const uint32_t commands[] = {ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        struct ethtool_value value = {.cmd = commands[i], .data = 0};
        struct ifreq request = {.ifr_data = (void *)&value};
        snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
        if (ioctl(fd, SIOCETHTOOL, &request) < 0) {
            die("%s: cannot switch its offloads off: %s", name, strerror(errno));
        }
    }
    close(fd);
}

static void set_option(const struct side *s, int level, int option, const void *value, size_t size)
{
    if (setsockopt(s->fd, level, option, value, (socklen_t)size) < 0) {
        die("%s: %s", s->name, strerror(errno));
    }
}

/* All frames, whoever they are for; not those that this program itself sends. */
static void open_side(struct side *s, const char *name)
{
    int yes = 1, buffer = SOCKET_BUFFER;
    struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

    s->name = name;
    way_init(&s->way);
    all.mr_ifindex = address.sll_ifindex = (int)if_nametoindex(name);
    if (address.sll_ifindex == 0) {
        die("%s: %s", name, strerror(errno));
    }
    /* Protocol 0: nothing comes before the options are set and it is bound to one interface. */
    s->fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        die("a packet socket: %s", strerror(errno));
    }
    set_option(s, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes);
    set_option(s, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes);
    set_option(s, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all);
    set_option(s, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    set_option(s, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
    if (bind(s->fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        die("%s: %s", name, strerror(errno));
    }
}

/* Takes in all that waits. */
static void receive(struct side *s)
{
    static uint8_t bytes[BATCH][FRAME_MAX];
    struct iovec parts[BATCH];
    struct mmsghdr frames[BATCH];
    int n;

    do {
        memset(frames, 0, sizeof frames);
        for (size_t i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){bytes[i], FRAME_MAX};
            frames[i].msg_hdr.msg_iov = &parts[i];
            frames[i].msg_hdr.msg_iovlen = 1;
        }
        n = recvmmsg(s->fd, frames, BATCH, MSG_DONTWAIT, NULL);
        uint64_t now = now_ns();
        for (int i = 0; i < n; i++) {
            if ((frames[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
                s->missed++; /* its sender is not plain */
            } else {
                way_put(&s->way, now, bytes[i], frames[i].msg_len);
            }
        }
    } while (n == BATCH);
}

/* One batch of what is due; how many. */
static unsigned forward_batch(struct side *from, const struct side *to)
{
    struct frame *taken[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr frames[BATCH];
    unsigned n = 0;
    uint64_t now = now_ns();

    memset(frames, 0, sizeof frames);
    while (n < BATCH && (taken[n] = way_take(&from->way, now)) != NULL) {
        parts[n] = (struct iovec){taken[n]->bytes, taken[n]->size};
        frames[n].msg_hdr.msg_iov = &parts[n];
        frames[n].msg_hdr.msg_iovlen = 1;
        n++;
    }
    for (unsigned done = 0; done < n;) {
        int rv = sendmmsg(to->fd, frames + done, n - done, MSG_DONTWAIT);
        from->unsent += rv <= 0;
        done += rv > 0 ? (unsigned)rv : 1; /* the first one is the one that failed */
    }
    for (unsigned i = 0; i < n; i++) {
        free(taken[i]);
    }
    return n;
}

static void forward(struct side *from, const struct side *to)
{
    while (forward_batch(from, to) == BATCH) {
    }
}

/* ---- commands ---- */

static void print_side(const char *name, struct side *s)
{
    struct tpacket_stats kernel = {0};
    socklen_t size = sizeof kernel;

    if (getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &kernel, &size) == 0) {
        s->missed += kernel.tp_drops; /* since it was asked last */
    }
    printf("\"%s\":{", name);
#define WAY_COUNTER(name) printf("\"" #name "\":%" PRIu64 ",", s->way.count.name);
    WAY_COUNTERS(WAY_COUNTER)
#undef WAY_COUNTER
    printf("\"missed\":%" PRIu64 ",\"unsent\":%" PRIu64 "}", s->missed, s->unsent);
}

static void print_counters(struct wire *w)
{
    printf("{");
    print_side("ab", &w->sides[0]);
    printf(",");
    print_side("ba", &w->sides[1]);
    printf("}\n");
    fflush(stdout);
}

/* A number of at most `most` with one of the endings; "off" is 0 where the first ending is. NULL
 * or what is wrong. */
struct ending {
    const char *text;
    double factor;
};

static const char *read_number(const char *text, const struct ending *endings, double most,
                               double *value)
{
    char *rest;

    if (text == NULL) {
        return "a number is missing";
    }
    if (strcmp(text, endings->text) == 0 && endings->factor == 0) {
        *value = 0;
        return NULL;
    }
    *value = strtod(text, &rest);
    if (rest == text || !isfinite(*value) || *value < 0) {
        return "that is not a number from 0";
    }
    while (endings->text != NULL && strcmp(rest, endings->text) != 0) {
        endings++;
    }
    if (endings->text == NULL) {
        return "that unit is not known here";
    }
    *value *= endings->factor;
    return *value <= most ? NULL : "that is too much";
}

static const struct ending bare[] = {{"", 1}, {NULL, 0}};
static const struct ending ms_or_off[] = {{"off", 0}, {"", 1}, {NULL, 0}};
static const struct ending bits[] = {{"off", 0},    {"", 1},       {"kbit", 1e3},
                                     {"mbit", 1e6}, {"gbit", 1e9}, {NULL, 0}};
static const struct ending sizes[] = {{"", 1}, {"k", 1024}, {"m", 1048576}, {NULL, 0}};
static const struct ending sizes_or_off[] = {
    {"off", 0}, {"", 1}, {"k", 1024}, {"m", 1048576}, {NULL, 0}};

/* Where a setting goes, by its type. */
struct setting {
    const char *name;
    const struct ending *endings;
    double most;  /* in the unit of the command */
    double scale; /* from that unit to that of way.h */
    enum { AS_U64, AS_SIZE, AS_DOUBLE } type;
    size_t offset;
};

static const struct setting settings[] = {
#define AT(member) offsetof(struct way_settings, member)
    {"delay", bare, 60000, MS_NS, AS_U64, AT(delay_ns)},
    {"jitter", bare, 60000, MS_NS, AS_U64, AT(jitter_ns)},
    {"ecn", ms_or_off, 60000, MS_NS, AS_U64, AT(ecn_ns)},
    {"loss", bare, 100, 0.01, AS_DOUBLE, AT(loss)},
    {"duplicate", bare, 100, 0.01, AS_DOUBLE, AT(duplicate)},
    {"corrupt", bare, 100, 0.01, AS_DOUBLE, AT(corrupt)},
    {"reorder", bare, 100, 0.01, AS_DOUBLE, AT(reorder)},
    {"rate", bits, 1e12, 1, AS_U64, AT(rate)},
    {"queue", sizes, WAY_FLIGHT_MAX, 1, AS_SIZE, AT(queue)},
    {"mtu", sizes_or_off, 65535, 1, AS_SIZE, AT(mtu)},
#undef AT
};

static void store(struct way_settings *set, const struct setting *s, double value)
{
    void *at = (char *)set + s->offset;

    switch (s->type) {
    case AS_U64:
        *(uint64_t *)at = (uint64_t)value;
        break;
    case AS_SIZE:
        *(size_t *)at = (size_t)value;
        break;
    case AS_DOUBLE:
        *(double *)at = value;
        break;
    }
}

/* "loss PERCENT BURST". A loss of p can only come in bursts if they are long enough for the chain
 * in way.c: with one good frame between two of them, at least. */
static const char *set_burst(struct way_settings *set, const char *text)
{
    double burst = 1;
    const char *wrong = text != NULL ? read_number(text, bare, 1e6, &burst) : NULL;

    if (wrong == NULL && burst >= 2 && set->loss < 1 && set->loss > burst * (1 - set->loss)) {
        return "so much loss needs longer bursts";
    }
    set->burst = burst;
    return wrong;
}

/* Each direction has streams of its own. */
static void seed_side(struct side *s, bool is_right, uint64_t seed)
{
    way_seed(&s->way, 2 * seed + is_right);
}

/* One setting for one direction; NULL or what is wrong. `words` ends with NULL. */
static const char *change(struct wire *wire, size_t side, char *const *words)
{
    struct way *w = &wire->sides[side].way;
    struct way_settings set = w->set;
    bool is_loss = strcmp(words[0], "loss") == 0;
    const struct setting *s = settings, *end = s + sizeof settings / sizeof *settings;
    const char *wrong = NULL;
    double value = 0;

    if (strcmp(words[0], "down") == 0 || strcmp(words[0], "up") == 0) {
        if (words[1] != NULL) {
            return "too many words";
        }
        w->set.down = words[0][0] == 'd';
        return NULL;
    }
    while (s < end && strcmp(s->name, words[0]) != 0) {
        s++;
    }
    if (s < end) {
        wrong = read_number(words[1], s->endings, s->most, &value);
        if (wrong == NULL) {
            store(&set, s, value * s->scale);
        }
    } else if (strcmp(words[0], "seed") == 0) {
        wrong = read_number(words[1], bare, (double)(1ULL << 53), &value);
    } else {
        return "no such command";
    }
    if (wrong == NULL && words[2] != NULL && (!is_loss || words[3] != NULL)) {
        wrong = "too many words";
    }
    if (wrong == NULL && is_loss) {
        wrong = set_burst(&set, words[2]);
    }
    if (wrong == NULL && s == end) {
        seed_side(&wire->sides[side], side == 1, (uint64_t)value);
    }
    w->set = wrong == NULL ? set : w->set;
    return wrong;
}

/* Splits and obeys one command; NULL or what is wrong. Nothing is changed then. */
static const char *obey(struct wire *w, char *line)
{
    char *words[6] = {NULL}, *save = NULL;
    char *const *first = words;
    size_t n = 0, from = 0, to = 2;
    const char *wrong = NULL;

    for (char *word = strtok_r(line, " \t\r", &save); word != NULL && n < 5;
         word = strtok_r(NULL, " \t\r", &save)) {
        words[n++] = word;
    }
    if (n > 0 && (strcmp(words[0], "ab") == 0 || strcmp(words[0], "ba") == 0)) {
        from = words[0][0] == 'b';
        to = from + 1;
        first++;
    }
    if (*first == NULL) {
        return "a command is missing";
    }
    for (size_t i = from; i < to && wrong == NULL; i++) {
        wrong = change(w, i, first);
    }
    return wrong;
}

/* NULL: a line that was too long to be kept. */
static void answer(struct wire *w, char *line)
{
    char copy[LINE_MAX_SIZE] = "...";
    const char *wrong = "the line is too long";

    if (line != NULL && strcmp(line, "counters") == 0) {
        print_counters(w);
        return;
    }
    if (line != NULL) {
        snprintf(copy, sizeof copy, "%s", line);
        wrong = obey(w, line);
    }
    if (wrong == NULL) {
        puts("ok");
    } else {
        printf("error: %s: %s\n", copy, wrong);
    }
    fflush(stdout);
}

/* Obeys the whole lines that have come; false at their end. */
static bool read_commands(struct wire *w)
{
    ssize_t n = read(STDIN_FILENO, w->line + w->line_size, sizeof w->line - 1 - w->line_size);
    char *end;

    if (n <= 0) {
        return n < 0 && errno == EINTR;
    }
    w->line_size += (size_t)n;
    w->line[w->line_size] = '\0';
    while ((end = strchr(w->line, '\n')) != NULL) {
        *end++ = '\0';
        answer(w, w->too_long ? NULL : w->line);
        w->too_long = false;
        w->line_size -= (size_t)(end - w->line);
        memmove(w->line, end, w->line_size + 1);
    }
    if (w->line_size == sizeof w->line - 1) {
        w->too_long = true;
        w->line_size = 0;
    }
    return true;
}

/* ---- running ---- */

/* Until a frame comes, or is due, or a command is there: true. */
static bool wait_for_news(const struct wire *w, const sigset_t *sigmask)
{
    struct pollfd fds[3] = {
        {w->sides[0].fd, POLLIN, 0}, {w->sides[1].fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    uint64_t a = way_due(&w->sides[0].way), b = way_due(&w->sides[1].way);
    uint64_t due = a < b ? a : b, now = now_ns();
    uint64_t wait = due > now ? due - now : 0;
    struct timespec timeout = {(time_t)(wait / SECOND_NS), (long)(wait % SECOND_NS)};
    const struct timespec gather = {0, GATHER_NS};

    if (ppoll(fds, 3, due == WAY_NEVER ? NULL : &timeout, sigmask) < 0) {
        return false;
    }
    if (fds[2].revents != 0) {
        return true;
    }
    /* At full speed there would be a wake-up for every frame, twice. A tenth of a millisecond of
     * waiting makes one of many, and is far below what is measured with this. */
    clock_nanosleep(CLOCK_MONOTONIC, 0, &gather, NULL);
    return false;
}

static void run(struct wire *w, const sigset_t *sigmask)
{
    bool open = true;

    while (open && stopped == 0) {
        bool commands = wait_for_news(w, sigmask);
        for (int i = 0; i < 2; i++) {
            receive(&w->sides[i]);
        }
        /* What had come before a command is not subject to it. */
        if (commands) {
            open = read_commands(w);
        }
        for (int i = 0; i < 2; i++) {
            forward(&w->sides[i], &w->sides[!i]);
        }
    }
}

static void take_signals(sigset_t *sigmask)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked; /* they come while we wait, and at no other time */

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, sigmask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int main(int argc, char **argv)
{
    static struct wire wire;
    sigset_t sigmask;

    if (argc < 3) {
        die("usage: wire LEFT RIGHT [COMMAND]... | wire plain INTERFACE...");
    }
    if (strcmp(argv[1], "plain") == 0) {
        for (int i = 2; i < argc; i++) {
            make_plain(argv[i]);
        }
        return 0;
    }
    take_signals(&sigmask);
    prctl(PR_SET_TIMERSLACK, 1UL);
    /* A cable does not wait for the programs at its ends; without the right to, it does. */
    (void)setpriority(PRIO_PROCESS, 0, -10);
    for (int i = 0; i < 2; i++) {
        open_side(&wire.sides[i], argv[1 + i]);
        seed_side(&wire.sides[i], i == 1, SEED_DEFAULT);
    }
    for (int i = 3; i < argc; i++) {
        char *text = strdup(argv[i]);
        const char *wrong = text != NULL ? obey(&wire, text) : "out of memory";
        if (wrong != NULL) {
            die("%s: %s", argv[i], wrong);
        }
        free(text);
    }
    puts("ok"); /* from here on nothing is missed */
    fflush(stdout);
    run(&wire, &sigmask);
    print_counters(&wire);
    for (int i = 0; i < 2; i++) {
        way_clear(&wire.sides[i].way);
        close(wire.sides[i].fd);
    }
    return 0;
}
