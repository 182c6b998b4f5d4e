/* bench/side.h - what the two sides of every bench program share.
 *
 * A bench program (bench/speed, bench/zmq, bench/tls; bench/floor speaks the same, but stands
 * alone) is two processes:
 *
 *     PROGRAM server [OPTION VALUE]...                  until its standard input ends
 *     PROGRAM client ADDRESS MODE [OPTION VALUE]...     until its work is done
 *
 * MODE is oneway, roundtrip, handshake or idle; bench/run.py drives them. Each prints JSON, one
 * object a line. This file reads the arguments, makes and checks what messages have in them, reads
 * clocks, and prints, so that all programs pay the same for it and say the same. How the sides talk
 * is each program's own.
 *
 * Exit status: 0; 1 something failed (side_die); 2 this program cannot do that (side_cannot).
 * Nothing here is safe for several threads. Times are in nanoseconds.
 */
#ifndef BENCH_SIDE_H
#define BENCH_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIDE_UNDER_WAY 8        /* handshakes at once, in mode `handshake` */
#define SIDE_UNKNOWN UINT64_MAX /* a figure that the program has not got: it is not printed */
#define SIDE_SECOND UINT64_C(1000000000)

/* ---- arguments ------------------------------------------------------------------------------- */

enum side_mode { SIDE_SERVER, SIDE_ONEWAY, SIDE_ROUNDTRIP, SIDE_HANDSHAKE, SIDE_IDLE };
enum side_kind { SIDE_FULL, SIDE_RESUMED, SIDE_EARLY };

struct side_args {
    enum side_mode mode;
    const char *address;  /* of the client: the word of the server's line `ready` */
    const char *host;     /* --host, of a server: its IPv4 address; 127.0.0.1 */
    enum side_kind kind;  /* --kind full|resumed|early; full */
    uint64_t size;        /* --size, bytes; 100 */
    uint64_t outstanding; /* --outstanding; 1 */
    uint64_t count;       /* --count, of connections that idle; 1 */
    uint64_t connections; /* --connections that share the work; 1 */
    uint64_t ns;          /* --seconds, which may have a fraction; 1 s */
};

/* An option of one program only; its value is a whole number. */
struct side_option {
    const char *name; /* "--like-this"; NULL ends the list */
    uint64_t *value;  /* keeps what it has where the option is not given */
};

/* Reads the arguments, and does what both sides want first: ignores SIGPIPE, and allows as many
 * open files as the system lets it. Wrong ones end the process with 2.
 *
 * more: options besides those of struct side_args, or NULL. */
void side_args(struct side_args *a, int argc, char **argv, const struct side_option *more);

/* ---- what messages have in them -------------------------------------------------------------- */

/* Bytes [offset, offset + len) of that message. Each is a function of both, made eight at a
 * time: about 0.03 ns a byte. buf and offset need no alignment, but are quickest with it. */
void side_fill(void *buf, size_t len, uint64_t message, uint64_t offset);
/* Whether these are those bytes. */
bool side_check(const void *buf, size_t len, uint64_t message, uint64_t offset);

/* ---- clocks and memory ----------------------------------------------------------------------- */

uint64_t side_now_ns(void);  /* CLOCK_MONOTONIC */
uint64_t side_cpu_ns(void);  /* of all threads of this process, user and system */
uint64_t side_rss_kib(void); /* resident memory of this process */

/* How long each of many things took: counts in buckets that are less than 2 % wide, so that its
 * size does not depend on how many there were. All zero is empty. */
#define SIDE_BUCKETS (64 * 64)
struct side_times {
    uint64_t len;
    uint32_t bucket[SIDE_BUCKETS];
};
void side_times_add(struct side_times *t, uint64_t ns);
/* What `per_mille` of them did not exceed: 500 is the median. 0 when there were none. */
uint64_t side_percentile(const struct side_times *t, unsigned per_mille);

/* ---- standard input of a server, and of a client that holds -----------------------------------
 */

/* To be called when standard input is readable. Answers each order `mark` with a line that has the
 * time and the CPU time so far, resident memory, `connections`, and what side_took() has counted.
 * false: the input has ended. */
bool side_orders(uint64_t connections);

/* A server's: it has checked so many more bytes of oneway, each in its turn. */
void side_took(size_t bytes);

/* ---- what is printed ------------------------------------------------------------------------- */

/* address: one word. */
void side_print_ready(const char *address);
/* A server's last line: the figures of the whole process. */
void side_print_end(void);
/* A client's, in mode `idle`: that many connections are up, `ns` after it began. */
void side_print_held(uint64_t count, uint64_t ns);

/* What the client measured. */
struct side_result {
    uint64_t messages; /* or handshakes */
    uint64_t bytes;    /* of oneway, counted by the server */
    uint64_t ns;       /* CLOCK_MONOTONIC */
    uint64_t cpu_ns;   /* of the client, meanwhile */
    uint64_t
        server_cpu_ns; /* as the server told it, or SIDE_UNKNOWN: bench/run.py then has marks */
    const struct side_times *times; /* of roundtrip, else NULL */
    /* Messages of the connection that had the fewest and of the one that had the most, where
     * several share the work and the program tells it; else 0: not printed. */
    uint64_t slowest, fastest;
};
/* With the fields that the mode of `a` has. */
void side_print_result(const struct side_args *a, const struct side_result *r);

/* Both take a format and print a line to standard error, with the program's name. */
_Noreturn void side_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void side_cannot(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
