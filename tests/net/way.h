/* tests/net/way.h - one direction of an emulated link: which frames it loses, and when it lets the
 * others go. Time and the random stream's seed are arguments, so that the same frames at the same
 * times always fare alike; tests/net/wire.c has the sockets and the clock. */
#ifndef TBI_TESTS_WAY_H
#define TBI_TESTS_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAY_NEVER UINT64_MAX
#define WAY_FLIGHT_MAX (64U << 20) /* bytes under way; a frame beyond them is dropped */
#define WAY_QUEUE_DEFAULT (256U << 10)
#define ETHERNET_HEADER 14

/* A frame passes these in this order: down, mtu, loss, queue and rate, delay. Random faults befall
 * unicast IP frames only: neighbours must find each other, and multicast is not under test. */
struct way_settings {
    bool down;          /* a black hole; it swallows what is under way, too */
    size_t mtu;         /* bytes of IP; longer frames vanish without a word; 0: no limit */
    double loss;        /* 0..1 */
    double burst;       /* how many are lost in a row on average; below 2: each for itself */
    uint64_t rate;      /* bits of IP a second; 0: no limit */
    size_t queue;       /* bytes that may wait for the rate; a frame that has no room is dropped */
    uint64_t ecn_ns;    /* who waits longer than this is marked, if it can be; 0: nobody */
    double duplicate;   /* 0..1 */
    double corrupt;     /* 0..1: one bit of a UDP payload is turned, the checksums stay right */
    uint64_t delay_ns;  /* of the propagation */
    uint64_t jitter_ns; /* more or less by up to this; who comes first still leaves first */
    double reorder;     /* 0..1: is not delayed, and so overtakes */
};

/* X(name): what happened, in frames where nothing else is said. All of them are told at the end. */
#define WAY_COUNTERS(X)                                                                            \
    X(in)                                                                                          \
    X(in_bytes) /* of IP */                                                                        \
    X(down)                                                                                        \
    X(mtu)                                                                                         \
    X(lost)                                                                                        \
    X(queue)    /* dropped for want of room there */                                               \
    X(overflow) /* dropped by WAY_FLIGHT_MAX or for want of memory */                              \
    X(marked)                                                                                      \
    X(duplicated)                                                                                  \
    X(corrupted)                                                                                   \
    X(reordered)                                                                                   \
    X(out)                                                                                         \
    X(out_bytes) /* of IP */

struct way_counters {
#define WAY_COUNTER(name) uint64_t name;
    WAY_COUNTERS(WAY_COUNTER)
#undef WAY_COUNTER
};

struct frame {
    struct frame *next;
    uint64_t due;
    size_t size;
    uint8_t bytes[];
};

/* Frames in the order in which they leave. */
struct frames {
    struct frame *first, *last;
};

/* Each kind of chance draws from a stream of its own: switching one on does not change another. */
enum chance { BY_LOSS, BY_DUPLICATE, BY_CORRUPT, BY_BIT, BY_JITTER, BY_REORDER, CHANCES };

struct way {
    struct way_settings set;
    struct way_counters count;
    uint64_t random[CHANCES];
    struct frames delayed, overtaking;
    size_t flight;    /* bytes in both */
    uint64_t free_at; /* when the last frame that was let in has passed the rate */
    bool bursting;    /* the last frame was lost, in a burst */
};

void way_init(struct way *w); /* a perfect link; seed it before it gets faults */
void way_seed(struct way *w, uint64_t seed);
void way_clear(struct way *w); /* drops what is under way */

/* A whole Ethernet frame arrives. Times are ns and never go back. */
void way_put(struct way *w, uint64_t now, const uint8_t *bytes, size_t size);

/* When the next frame leaves, or WAY_NEVER. */
uint64_t way_due(const struct way *w);

/* A frame that is due, the caller's to free() with the C library; NULL: none is. */
struct frame *way_take(struct way *w, uint64_t now);

#endif
