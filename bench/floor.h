/* bench/floor.h - what the files of bench/floor share: see floor.c for what it is.
 *
 * floor_quic.c  connections: ngtcp2, the table of their ids, their timers, the loop
 * floor_tls.c   GnuTLS: certificates made at the start, sessions, tickets
 * floor_udp.c   the socket: batches of packets, each way
 * floor_flow.c  messages on a stream: made, kept until acknowledged, taken apart and checked
 * floor.c       the roles and modes
 *
 * Nothing of lib/ is in it. */
#ifndef TBI_BENCH_FLOOR_H
#define TBI_BENCH_FLOOR_H

#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define KEY_SIZE 32       /* of Ed25519 */
#define CID_SIZE 8        /* bytes of the connection ids that we give out */
#define PACKET_MAX 65000U /* of UDP payload, with --payload; 1500 otherwise */
#define BATCH_MAX 65507U  /* what one IPv4 packet carries is the kernel's limit for a batch */
#define SEGMENTS_MAX 64U  /* packets of a batch: UDP_MAX_SEGMENTS of older kernels */
#define SLOTS_MAX 32U     /* batches of one receive */
#define CHUNK_SIZE (64U << 10)
#define SECOND_NS UINT64_C(1000000000)
#define NEVER UINT64_MAX

struct conn;
struct floor;

struct settings {
    uint64_t payload;    /* bytes of UDP payload that are tried for at most */
    uint64_t ack_thresh; /* packets to an acknowledgement */
    uint64_t window;     /* bytes, of a stream and of its connection */
    uint64_t buffer;     /* bytes asked of the kernel, each way */
    uint64_t slots;      /* of one receive */
    uint64_t ahead;      /* bytes that are made before they can be sent */
    uint64_t spin;       /* ns that the loop looks again before it sleeps */
    uint64_t pacing;     /* 0: a batch is followed by the next at once */
    ngtcp2_cc_algo cc;
};

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(void);
uint64_t cpu_ns(void); /* of this process, so far */
void random_bytes(uint8_t *to, size_t size);

/* ---- floor_udp.c ---- */

struct slot { /* where one datagram, or several of one size, come in */
    struct sockaddr_in from;
    size_t size;
    size_t segment; /* bytes of each but the last */
    uint8_t *data;
};

struct udp {
    int fd;
    struct sockaddr_in local;
    size_t slots_len;
    struct slot slots[SLOTS_MAX];
    struct mmsghdr messages[SLOTS_MAX];
    struct iovec iovs[SLOTS_MAX];
    _Alignas(struct cmsghdr) uint8_t control[SLOTS_MAX][64];
};

/* Packets to one address; all but the last have `segment` bytes. */
struct batch {
    size_t size, segment, packets;
    uint8_t data[BATCH_MAX + PACKET_MAX];
};

void udp_open(struct udp *u, const struct sockaddr_in *at, size_t buffer, size_t slots);
size_t udp_receive(struct udp *u); /* how many slots are filled */
void udp_send(struct udp *u, const struct sockaddr_in *to, const uint8_t *data, size_t size,
              size_t segment);

/* ---- floor_flow.c ---- */

/* A message is a word, its size in bytes times 8 and its type, and so many bytes: those of the
 * pattern that belongs to its number on the stream, or a struct sum. */
enum type {
    DATA, /* checked and counted */
    ASK,  /* answered with as many bytes */
    MARK, /* empty; answered with a sum */
    ANSWER,
    SUM
};

struct sum { /* of the server, so far */
    uint64_t messages, bytes, cpu_ns;
};

struct chunk {
    struct chunk *next;
    size_t used;
    uint8_t bytes[CHUNK_SIZE - 2 * sizeof(void *)];
};

struct pool { /* of chunks; the one that was used last is taken first, as it is in the cache */
    struct chunk *spare;
};

/* What one stream still holds: all that is not acknowledged. */
struct out {
    struct chunk *first, *last;
    struct chunk *next; /* is sent from */
    size_t next_used;   /* bytes of it that are in packets already */
    uint64_t front;     /* offset in the stream at which `first` begins */
    uint64_t number;    /* of the message that is made next */
    size_t unsent;
};

struct in {
    uint64_t number; /* of the message that is taken apart */
    size_t head_got, size, at;
    enum type type;
    uint8_t head[4];
    struct sum sum;
};

void flow_put(struct conn *c, enum type type, const void *bytes, size_t size); /* NULL: pattern */
size_t flow_gather(struct out *o, ngtcp2_vec vec[2]);
void flow_sent(struct out *o, size_t size);
void flow_acked(struct floor *f, struct out *o, uint64_t up_to);
void flow_free(struct floor *f, struct out *o);
void flow_receive(struct conn *c, const uint8_t *data, size_t size);

/* ---- floor_tls.c ---- */

struct tls {
    gnutls_priority_t priority;
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t ticket_key;
    gnutls_anti_replay_t anti_replay;
    uint8_t key[KEY_SIZE];  /* own */
    uint8_t peer[KEY_SIZE]; /* that the client expects */
};

/* What a client keeps to come back with. */
struct ticket {
    gnutls_datum_t session;
    uint8_t params[256]; /* the server's, for 0-RTT */
    size_t params_size;
};

void tls_init(struct tls *t, bool server);
void tls_session(struct conn *c, const struct ticket *ticket, bool early);
bool tls_peer_is_right(const struct conn *c);
void tls_free_ticket(struct ticket *t);

/* ---- floor_quic.c ---- */

struct conn {
    struct floor *floor;
    ngtcp2_conn *qc;
    ngtcp2_crypto_conn_ref ref;
    gnutls_session_t tls;
    struct sockaddr_in remote;
    int64_t stream; /* -1: none yet */
    struct out out;
    struct in in;
    bool up;         /* the handshake is complete */
    bool flight_due; /* a client's last handshake packets may not be written yet */
    bool listed;     /* in the list of those that may have something to send */
    bool closing;    /* CONNECTION_CLOSE comes next */
    bool gone;       /* is freed when no packet is read */
    bool answered;   /* a client's */
    bool ticketed;   /* a ticket for the next one has come */
    struct conn *next_ready;
    struct conn *next_gone;
    size_t place; /* in the heap */
    uint64_t due; /* ns */
};

struct entry {
    uint64_t id;
    struct conn *conn; /* NULL: free */
};

struct floor {
    struct settings settings;
    bool server;
    struct udp udp;
    struct tls tls;
    struct pool pool;
    struct batch batch;
    uint64_t now;
    struct entry *table; /* of connection ids, open addressing */
    size_t table_size, table_used;
    struct conn **heap; /* the one that is due first in front */
    size_t count, heap_size;
    struct conn *ready, **ready_end;
    bool hurry; /* what is ready has cost much work, and so will its answer */
    struct conn *gone;
    struct ticket newest; /* that came to a client */
    struct sum sum;       /* of what came to a server */
    bool over;
    /* The role, in floor.c: a connection is up, a ticket has come, a message is there whole, more
     * can be made. */
    void (*on_up)(struct conn *c);
    void (*on_ticket)(struct conn *c);
    void (*on_message)(struct conn *c, enum type type, size_t size);
    void (*on_closed)(struct conn *c);
    void (*work)(struct floor *f);
    void (*on_input)(struct floor *f); /* standard input can be read; NULL: it is not looked at */
};

void floor_init(struct floor *f, const struct settings *s, bool server,
                const struct sockaddr_in *at);
struct conn *floor_dial(struct floor *f, const struct sockaddr_in *to, const struct ticket *ticket,
                        bool early);
void conn_ready(struct conn *c);
void conn_close(struct conn *c);
void floor_run(struct floor *f);   /* until `over` */
void floor_flush(struct floor *f); /* sends what is ready, closes included */

#endif
