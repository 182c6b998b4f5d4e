/* tests/unit/link_world.h - two links, A and B, joined by connections that are only pretended: one,
 * or up to WORLD_PATHS.
 *
 * Bytes lie in queues until the test moves them, so a test decides how much arrived when the
 * connection was cut. What happens is written down as a story. */
#ifndef LINK_WORLD_H
#define LINK_WORLD_H

#include "link/link.h"

enum { A = 0, B = 1 };

#define WORLD_PATHS 3
#define WORLD_STREAMS 8 /* unordered streams that a side may have open */
#define WORLD_HELD 8192 /* deliveries that a side may hold */
#define WORLD_MAX 16384 /* max_message_size of both sides, bytes */
#define WORLD_WINDOW (WORLD_MAX + 65536)

struct world_bytes {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

struct world_stream { /* an unordered one, seen from its sender */
    bool open;
    bool ended; /* all bytes passed */
    uint64_t id;
    tbq_lane lane;
    bool unordered;
    struct world_bytes bytes;
    struct tbi_link_stream *in; /* at the receiver */
};

struct world;
struct world_end { /* one end of one path */
    struct world *world;
    int me;
    int at_path;
    struct tbi_link *link;      /* of the ends of path 0 only */
    struct tbi_link_path *path; /* NULL: not attached */
    bool ahead;                 /* without the other's CONFIRM: nothing is moved to it yet */
    uint64_t rtt_ns, rate;      /* what the connection claims to have measured */
    struct tbi_link_conn conn;
    struct tbi_confirm confirm;
    struct world_bytes control;
    struct world_bytes lane[TBQ_LANES];
    uint64_t passed[TBQ_LANES];   /* bytes that the other side has got */
    uint64_t consumed[TBQ_LANES]; /* of these, credit given back */
    struct world_stream stream[WORLD_STREAMS];
    uint64_t next_stream;
    struct tbi_frame_reader reader; /* of the other side's control stream */
    struct world_bytes frame;
    struct tbi_delivery *held[WORLD_HELD];
    size_t held_len;
    uint64_t max_message_size;
    bool no_write; /* writes fail, as out of memory */
    int errors;    /* ERROR actions since the connection began */
};

struct world {
    struct tbi_alloc alloc;
    struct tbi_rng rng;
    struct tbi_now now;
    struct world_end end[2];                   /* of path 0 */
    struct world_end more[WORLD_PATHS - 1][2]; /* of the others */
    bool up;                                   /* path 0 */
    size_t room;                               /* bytes that a stream's queue takes */
    size_t takes;                              /* frames of a write; 0: all */
    char story[1 << 16];
    size_t story_len;
    bool show_control; /* frames of control streams come into the story */
    bool keep_story;
    bool aloud; /* the story goes to standard error as it happens */
    void (*on_deliver)(struct world *w, int at, struct tbi_delivery *d);
    void (*on_fate)(struct world *w, int at, const struct tbi_link_fate *fate);
    void *user;
    long allocs;  /* so far */
    long fail_at; /* the allocation with this number fails; 0: none */
    size_t outbox_messages;
    size_t outbox_bytes;
    tbq_schedule schedule[TBQ_LANES]; /* of links made from now on */
};

void world_init(struct world *w, uint64_t seed);
void world_init_as(struct world *w, uint64_t seed, const tbq_schedule schedule[TBQ_LANES]);
void world_free(struct world *w);
struct tbi_link *world_link(struct world *w, int at); /* a fresh one */

void world_confirm(struct world *w);        /* both fill their CONFIRM */
void world_attach(struct world *w, int at); /* that side has the other's CONFIRM */
void world_ahead(struct world *w, int at);  /* that side writes before, where it may */
void world_connect(struct world *w);        /* all three */
void world_cut(struct world *w);
void world_restart(struct world *w, int at); /* the process; the other side begins a new link */
void world_forget(struct world *w, int at); /* the link only; the other side goes on with its own */

int world_send(struct world *w, int from, tbq_lane lane, uint64_t tag, const char *text);
int world_send_more(struct world *w, int from, const struct tbi_outgoing *like, const void *data,
                    size_t size);

struct world_end *world_end_of(struct world *w, int path, int at);
/* One more path, whose CONFIRMs go both ways at once; and the end of any. */
void world_join(struct world *w, int path);
void world_part(struct world *w, int path);
void world_suspect(struct world *w, int path, bool suspect); /* at both ends */

/* Stream -1: control; 0..3: lanes; 4 and more: own streams. Returns the bytes moved. */
size_t world_move(struct world *w, int from, int stream, size_t most);
size_t world_move_on(struct world *w, int path, int from, int stream, size_t most);
void world_drain(struct world *w, int at);
void world_flow(struct world *w);              /* moves all until nothing moves any more */
void world_wait(struct world *w, uint64_t ms); /* the same, and time goes by, from
                                                   one deadline to the next */
void world_take(struct world *w, int at, size_t held);
void world_take_all(struct world *w, int at);
void world_refuse(struct world *w, int at, size_t held, enum tbi_decline_code code);

/* The story since the last call must be this. */
void world_expect(struct world *w, const char *story);
void world_say(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
