/* bench/count.h - what the files of bench/count share: two ends that talk, and the world between.
 */
#ifndef BENCH_COUNT_H
#define BENCH_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tbquic/tbquic.h>

struct end {
    tbq_peer_id id;
    const struct end *other;
    void *in_world; /* the world's own */
};

/* Where both ends live: on a pretended network, or with sockets. Both have a pretended time, so
 * that a run does the same in each repetition. */
struct world {
    const char *name;
    void (*begin)(void (*on_event)(struct end *e, const tbq_event *v));
    void (*finish)(void);
    int (*post)(struct end *from, const tbq_message *m); /* to the other end */
    int (*ask)(struct end *from, const void *data, size_t size);
    int (*respond)(struct end *from, tbq_request_id request, tbq_bytes bytes);
    /* The first end dials the second: where it was before, or where it never was. */
    tbq_connection (*dial)(bool elsewhere);
    void (*close)(tbq_connection connection);
    /* So many first packets of clients, to the second end, which is full, or asks them for a proof
     * of their address. NULL: that cannot be done there. */
    void (*knock)(uint64_t number, bool full);
    /* Until done() says so; or, where that is NULL, for so many ms of pretended time. */
    void (*run)(bool (*done)(void), uint64_t ms);
    struct end end[2];
};

_Noreturn void count_fail(const char *why);

extern struct world count_engine;  /* the engine on tests/sim's network: no socket, no system */
extern struct world count_sockets; /* two servers over UDP on this machine */

#endif
