/* bench/side.c - see side.h. */
#include "side.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define WORD sizeof(uint64_t)
/* Odd, and far from any regular pattern: the golden ratio's fraction, and a prime of its kind. */
#define STEP UINT64_C(0x9e3779b97f4a7c15)
#define MIX UINT64_C(0xbf58476d1ce4e5b9)
#define SUB_BITS 6   /* buckets in a factor of two: 2^SUB_BITS, so one is 1.6 % wide at most */
#define ORDER_MAX 64 /* bytes of a line of standard input */

static const char *const mode_names[] = {"server", "oneway", "roundtrip", "handshake", "idle"};
static const char *const kind_names[] = {"full", "resumed", "early"};

/* ---- arguments ------------------------------------------------------------------------------- */

static _Noreturn void complain(int status, const char *format, va_list args)
{
    fflush(stdout);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    exit(status);
}

void side_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(1, format, args);
}

void side_cannot(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(2, format, args);
}

/* The place of a word in a list, or the end of the process. */
static unsigned which(const char *word, const char *const *names, unsigned len)
{
    for (unsigned i = 0; i < len; i++) {
        if (strcmp(word, names[i]) == 0) {
            return i;
        }
    }
    side_cannot("what is `%s`?", word);
}

static uint64_t number(const char *name, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-') {
        side_cannot("%s wants a whole number, not `%s`", name, text);
    }
    return v;
}

static uint64_t nanoseconds(const char *text)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(v) || v <= 0 || v > 3600) {
        side_cannot("--seconds wants a number above 0, not `%s`", text);
    }
    return (uint64_t)(v * (double)SIDE_SECOND);
}

static uint64_t *place_of(struct side_args *a, const char *name, const struct side_option *more)
{
    const struct side_option common[] = {{"--size", &a->size},
                                         {"--outstanding", &a->outstanding},
                                         {"--count", &a->count},
                                         {"--connections", &a->connections},
                                         {NULL, NULL}};
    const struct side_option *lists[] = {common, more};
    for (size_t i = 0; i < 2; i++) {
        for (const struct side_option *o = lists[i]; o != NULL && o->name != NULL; o++) {
            if (strcmp(name, o->name) == 0) {
                return o->value;
            }
        }
    }
    side_cannot("there is no option `%s`", name);
}

static void one_option(struct side_args *a, const char *name, const char *value,
                       const struct side_option *more)
{
    if (value == NULL) {
        side_cannot("`%s` wants a value", name);
    } else if (strcmp(name, "--host") == 0) {
        a->host = value;
    } else if (strcmp(name, "--seconds") == 0) {
        a->ns = nanoseconds(value);
    } else if (strcmp(name, "--kind") == 0) {
        a->kind = (enum side_kind)which(value, kind_names, 3);
    } else {
        uint64_t *place = place_of(a, name, more);
        *place = number(name, value);
    }
}

/* 10,000 connections over TCP are as many files. */
static void allow_files(void)
{
    struct rlimit most;
    if (getrlimit(RLIMIT_NOFILE, &most) == 0) {
        most.rlim_cur = most.rlim_max;
        setrlimit(RLIMIT_NOFILE, &most); /* where it is refused, who runs out of them says so */
    }
}

void side_args(struct side_args *a, int argc, char **argv, const struct side_option *more)
{
    *a = (struct side_args){.size = 100, .outstanding = 1, .count = 1, .connections = 1};
    a->ns = SIDE_SECOND;
    a->host = "127.0.0.1";
    int next = 2;
    if (argc >= 4 && strcmp(argv[1], "client") == 0) {
        a->address = argv[2];
        a->mode = (enum side_mode)(which(argv[3], mode_names + 1, 4) + 1);
        next = 4;
    } else if (argc >= 2 && strcmp(argv[1], "server") == 0) {
        a->mode = SIDE_SERVER;
    } else {
        side_cannot("usage: %s server|client ADDRESS oneway|roundtrip|handshake|idle"
                    " [OPTION VALUE]...",
                    program_invocation_short_name);
    }
    for (; next < argc; next += 2) {
        one_option(a, argv[next], next + 1 < argc ? argv[next + 1] : NULL, more);
    }
    if (a->size == 0 || a->outstanding == 0 || a->count == 0 || a->connections == 0) {
        side_cannot("sizes and counts are above 0");
    }
    signal(SIGPIPE, SIG_IGN);
    allow_files();
}

/* ---- what messages have in them -------------------------------------------------------------- */

/* Word i of message n is first_word(n) + i * STEP, as this machine has it in memory: both sides are
 * on one. So the next words are the last ones, plus the same sum, which vectors are made for. */
typedef uint64_t pair __attribute__((vector_size(2 * WORD)));
#define PAIRS (2 * sizeof(pair)) /* bytes of one turn of a loop */

static uint64_t first_word(uint64_t message)
{
    uint64_t w = (message + 1) * MIX;
    return (w ^ (w >> 31)) * STEP;
}

static pair pair_from(uint64_t w)
{
    return (pair){w, w + STEP};
}

/* How many bytes come before the next whole word. */
static size_t before_word(size_t len, uint64_t offset)
{
    size_t head = (size_t)(-offset % WORD);
    return head < len ? head : len;
}

/* Bytes of a word, from byte `at` of it. */
static void fill_part(uint8_t *p, size_t len, uint64_t w, size_t at)
{
    uint8_t bytes[2 * WORD] = {0};
    memcpy(bytes, &w, WORD);
    for (size_t i = 0; i < len; i++) {
        p[i] = bytes[at + i];
    }
}

void side_fill(void *buf, size_t len, uint64_t message, uint64_t offset)
{
    uint8_t *p = buf;
    uint64_t first = first_word(message);
    size_t head = before_word(len, offset);
    fill_part(p, head, first + offset / WORD * STEP, offset % WORD);
    p += head;
    len -= head;
    offset += head;
    uint64_t w = first + offset / WORD * STEP;
    pair words = pair_from(w), more = pair_from(w + 2 * STEP);
    for (; len >= PAIRS; len -= PAIRS, p += PAIRS) {
        memcpy(p, &words, sizeof words);
        memcpy(p + sizeof words, &more, sizeof more);
        words += 4 * STEP;
        more += 4 * STEP;
    }
    for (w = words[0]; len >= WORD; len -= WORD, p += WORD, w += STEP) {
        memcpy(p, &w, WORD);
    }
    fill_part(p, len, w, 0);
}

static bool check_part(const uint8_t *p, size_t len, uint64_t w, size_t at)
{
    uint8_t part[WORD];
    if (len == 0) {
        return true;
    }
    fill_part(part, len, w, at);
    return memcmp(p, part, len) == 0;
}

bool side_check(const void *buf, size_t len, uint64_t message, uint64_t offset)
{
    const uint8_t *p = buf;
    uint64_t first = first_word(message);
    size_t head = before_word(len, offset);
    bool good = check_part(p, head, first + offset / WORD * STEP, offset % WORD);
    p += head;
    len -= head;
    offset += head;
    uint64_t w = first + offset / WORD * STEP, rest = 0, there;
    pair words = pair_from(w), more = pair_from(w + 2 * STEP), wrong = {0}, a, b;
    for (; len >= PAIRS; len -= PAIRS, p += PAIRS) {
        memcpy(&a, p, sizeof a);
        memcpy(&b, p + sizeof a, sizeof b);
        wrong |= (a ^ words) | (b ^ more);
        words += 4 * STEP;
        more += 4 * STEP;
    }
    for (w = words[0]; len >= WORD; len -= WORD, p += WORD, w += STEP) {
        memcpy(&there, p, WORD);
        rest |= there ^ w;
    }
    rest |= wrong[0] | wrong[1];
    return good && rest == 0 && check_part(p, len, w, 0);
}

/* ---- clocks and memory ----------------------------------------------------------------------- */

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0) {
        side_die("clock: %s", strerror(errno));
    }
    return (uint64_t)t.tv_sec * SIDE_SECOND + (uint64_t)t.tv_nsec;
}

uint64_t side_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t side_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t side_rss_kib(void)
{
    uint64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%*u %" SCNu64, &pages) != 1) {
        side_die("/proc/self/statm cannot be read");
    }
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* Below 2^SUB_BITS a bucket is a nanosecond; above, the leading SUB_BITS + 1 bits choose it. */
static unsigned bucket_of(uint64_t ns)
{
    if (ns >> SUB_BITS == 0) {
        return (unsigned)ns;
    }
    unsigned shift = 63 - SUB_BITS - (unsigned)__builtin_clzll(ns);
    return (shift << SUB_BITS) + (unsigned)(ns >> shift);
}

/* The middle of a bucket. */
static uint64_t middle_of(unsigned bucket)
{
    if (bucket >> SUB_BITS < 2) {
        return bucket;
    }
    unsigned shift = (bucket >> SUB_BITS) - 1;
    uint64_t least = (uint64_t)(bucket - (shift << SUB_BITS)) << shift;
    return least + (UINT64_C(1) << shift) / 2;
}

void side_times_add(struct side_times *t, uint64_t ns)
{
    t->bucket[bucket_of(ns)]++;
    t->len++;
}

uint64_t side_percentile(const struct side_times *t, unsigned per_mille)
{
    uint64_t want = (t->len * per_mille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; i < SIDE_BUCKETS && t->len > 0; i++) {
        seen += t->bucket[i];
        if (seen >= want && seen > 0) {
            return middle_of(i);
        }
    }
    return 0;
}

/* ---- standard input -------------------------------------------------------------------------- */

static uint64_t took; /* bytes */

void side_took(size_t bytes)
{
    took += bytes;
}

static void obey(const char *order, uint64_t connections)
{
    if (strcmp(order, "mark") != 0) {
        side_die("there is no order `%s`", order);
    }
    printf("{\"event\":\"mark\",\"now_ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 ",\"rss_kib\":%" PRIu64
           ",\"connections\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n",
           side_now_ns(), side_cpu_ns(), side_rss_kib(), connections, took);
    fflush(stdout);
}

bool side_orders(uint64_t connections)
{
    static char line[ORDER_MAX]; /* what came of an order so far: it may come in pieces */
    static size_t len;
    char buf[ORDER_MAX];
    ssize_t n = read(STDIN_FILENO, buf, sizeof buf);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return true;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] == '\n') {
            line[len] = '\0';
            len = 0;
            obey(line, connections);
        } else if (len < sizeof line - 1) {
            line[len++] = buf[i];
        }
    }
    return n > 0;
}

/* ---- what is printed ------------------------------------------------------------------------- */

void side_print_ready(const char *address)
{
    printf("{\"event\":\"ready\",\"address\":\"%s\"}\n", address);
    fflush(stdout);
}

void side_print_end(void)
{
    printf("{\"event\":\"end\",\"cpu_ns\":%" PRIu64 ",\"rss_kib\":%" PRIu64 "}\n", side_cpu_ns(),
           side_rss_kib());
    fflush(stdout);
}

void side_print_held(uint64_t count, uint64_t ns)
{
    printf("{\"event\":\"held\",\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}\n", count, ns);
    fflush(stdout);
}

static void print_figure(const char *name, uint64_t value)
{
    if (value != SIDE_UNKNOWN) {
        printf(",\"%s\":%" PRIu64, name, value);
    }
}

void side_print_result(const struct side_args *a, const struct side_result *r)
{
    printf("{\"event\":\"result\",\"mode\":\"%s\"", mode_names[a->mode]);
    if (a->mode == SIDE_HANDSHAKE) {
        printf(",\"kind\":\"%s\"", kind_names[a->kind]);
        print_figure("handshakes", r->messages);
    } else {
        print_figure("size", a->size);
        print_figure("messages", r->messages);
    }
    if (a->mode == SIDE_ONEWAY) {
        print_figure("bytes", r->bytes);
    }
    if (a->mode == SIDE_ROUNDTRIP) {
        print_figure("outstanding", a->outstanding);
    }
    if (r->times != NULL) {
        print_figure("p50_ns", side_percentile(r->times, 500));
        print_figure("p99_ns", side_percentile(r->times, 990));
        print_figure("p999_ns", side_percentile(r->times, 999));
    }
    print_figure("connections", a->connections);
    if (r->fastest > 0 && a->connections > 1) {
        print_figure("slowest", r->slowest);
        print_figure("fastest", r->fastest);
    }
    print_figure("ns", r->ns);
    print_figure("cpu_ns", r->cpu_ns);
    print_figure("server_cpu_ns", r->server_cpu_ns);
    puts("}");
    fflush(stdout);
}
