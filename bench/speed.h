/* bench/speed.h - what the files of bench/speed share.
 *
 * speed.c reads the arguments, speed_loop.c has the nodes and the ways to drive them,
 * speed_server.c is the side that is dialled, speed_load.c and speed_dials.c are the side that
 * dials: messages, and connections; speed_share.c is that side where it is the server that sends,
 * speed_parts.c divides messages among processes. Only public headers of the library are used. */
#ifndef BENCH_SPEED_H
#define BENCH_SPEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tbquic/tbquic.h>

#include "side.h"

/* ---- nodes, and what drives them (speed_loop.c) ---------------------------------------------- */

enum drive {
    DRIVE_EVENTS, /* events are pulled; epoll over tbq_server_fd() */
    DRIVE_POLL,   /* events are pulled; ppoll over tbq_server_pollfds() and tbq_server_timeout() */
    DRIVE_ACTOR,  /* callbacks; epoll as above */
    DRIVE_EV      /* callbacks, on libev */
};

struct node {
    tbq_server *server;
    tbq_connection conn; /* of the last dial */
    tbq_loop *loop;      /* of DRIVE_EV */
    void (*on_event)(struct node *n, const tbq_event *e);
};

struct node_setup {
    tbq_network_mode mode;
    bool early; /* 0-RTT */
    uint32_t connections;
    uint32_t busy_poll_us;
    void (*on_event)(struct node *n, const tbq_event *e);
};

void loop_begin(enum drive drive, uint64_t nodes);
void loop_start(struct node *n, const struct node_setup *setup); /* and drives it from now on */
void loop_dial(struct node *n, const char *address);
/* Standard input is looked at too; `connections` is what a mark tells. */
void loop_obey(uint64_t (*connections)(void));
/* Waits for something, so long at most, and does it. false: standard input has ended. */
bool loop_turn(int timeout_ms);
/* Ends the process when nothing has come for long: a bug must not hang who drives it. */
void loop_must_go_on(void);
void loop_end(void);

/* ---- what the sides say to one another besides ----------------------------------------------- */

/* Orders and their answers go in a lane of their own, messages under test in the normal one. */
#define ORDER_LANE TBQ_LANE_HIGH

enum order_what {
    ORDER_TAKE = 1, /* from now on messages are checked and counted; answer: ready */
    ORDER_ECHO,     /* from now on they are sent back, as they are at first; answer: ready */
    ORDER_END,      /* so many were sent: when they are all here, the answer is done */
    ORDER_POUR,     /* from now on messages are sent, so many on their way; 0: all that fit in */
    ORDER_READY,
    ORDER_DONE
};

struct order {
    uint64_t what;
    uint64_t size;     /* bytes of each message */
    uint64_t messages; /* sent, or had */
    uint64_t bytes;    /* had */
    uint64_t cpu_ns;   /* of the process that answers, so far */
};

/* NULL when the event is none. */
const struct order *order_of(const tbq_event *e, struct order *place);
tbq_message order_message(const struct order *o, tbq_send_options *how);

/* A node has four descriptors, and a process may not have as many as a large crowd wants: so many
 * are in one. */
#define SPEED_PART_MAX UINT64_C(2000)
#define SPEED_DIALS_MAX 50U /* of a crowd, at once: the handshakes are not under test */

/* ---- the sides ------------------------------------------------------------------------------- */

struct speed_args {
    struct side_args side;
    enum drive drive;
    bool requests; /* roundtrip by tbq_request() and tbq_respond() */
    bool greedy;   /* each connection sends as fast as it can; else they take turns */
    bool share;    /* oneway from the server to all connections, one of which is greedy */
    uint32_t busy_poll_us;
    uint32_t limit;          /* connections that the server takes; 0: enough */
    uint64_t parts;          /* processes that share the work, of which this is one; else 0 */
    void (*connected)(void); /* of a part: it is; returns when all are */
};

void speed_server(const struct speed_args *a);
void speed_load(const struct speed_args *a);                         /* oneway, roundtrip */
void speed_part(const struct speed_args *a, struct side_result *r);  /* in this process */
void speed_parts(const struct speed_args *a, struct side_result *r); /* oneway, in several */
void speed_dials(const struct speed_args *a);                        /* handshake */
void speed_share(const struct speed_args *a);
void speed_idle(const struct speed_args *a);

#endif
