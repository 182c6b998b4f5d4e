/* tbquic/types.h - the small values that all other headers speak of. */
#ifndef TBQUIC_TYPES_H
#define TBQUIC_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <tbquic/error.h>
#include <tbquic/export.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TBQ_PEER_ID_SIZE 32
#define TBQ_PEER_ID_TEXT_SIZE 53 /* 52 characters of base32 and the final NUL */
#define TBQ_PUBLIC_KEY_SIZE 32   /* Ed25519, RFC 8032 */
#define TBQ_URI_SIZE 320         /* "tbq://" PEERID "@" HOST ":" PORT and the final NUL */
#define TBQ_ADDRESS_SIZE 262     /* HOST ":" PORT and the final NUL; a name has at most 253 */

/* Who a node is: SHA-256 of its raw Ed25519 public key. */
typedef struct tbq_peer_id {
    uint8_t bytes[TBQ_PEER_ID_SIZE];
} tbq_peer_id;

/* Names one connection or one dial of one server. Never 0, never reused while the server lives:
 * a number whose connection has ended is answered with TBQ_ERR_CLOSED, not mistaken. */
typedef uint64_t tbq_connection;

/* Names a request, on both sides; never 0. */
typedef uint64_t tbq_request_id;

/* How fast a connection may send: what takes the loss of a packet for a full network, and what is
 * done about it. It rules what this node sends; the peer has its own choice for the other way. */
typedef enum tbq_congestion {
    TBQ_CUBIC = 0, /* RFC 9438: fair beside TCP; slow where packets are lost without a full queue */
    TBQ_BBR = 1,   /* version 2: a model of the path's rate and round trip; goes on where packets
                      are lost by chance, such as over radio: several times as fast as the others */
    TBQ_RENO = 2   /* RFC 9002, section 7: half as fast after each loss; to compare with */
} tbq_congestion;

/* How the messages of a lane use several connections to one peer. */
typedef enum tbq_schedule {
    TBQ_FAILOVER = 0,  /* the connection with the least round trip; another one when it is at least
                          5 ms and a tenth better, or when this one does not answer */
    TBQ_AGGREGATE = 1, /* all, in proportion to their rates; the order in a lane stays */
    TBQ_REDUNDANT = 2  /* a copy over each; the first one that arrives counts */
} tbq_schedule;

/* Lanes: a message overtakes those of lower lanes, and waits only for earlier ones of its own. */
typedef enum tbq_lane {
    TBQ_LANE_CRITICAL = 0,
    TBQ_LANE_HIGH = 1,
    TBQ_LANE_NORMAL = 2,
    TBQ_LANE_LOW = 3
} tbq_lane;
#define TBQ_LANES 4

/* Sets of lanes, for tbq_pause() and tbq_resume(). */
#define TBQ_LANE_BIT(lane) (1U << (lane))
#define TBQ_LANES_ALL 0x0fU

/* The source document's QuicNetworkMode. */
typedef enum tbq_network_mode {
    TBQ_MODE_CLIENT = 1, /* dials, accepts nobody */
    TBQ_MODE_SERVER = 2, /* accepts, dials nobody: TBQ_ERR_MODE */
    TBQ_MODE_HYBRID = 3  /* both */
} tbq_network_mode;

/* Capabilities of a node, a set of bits (the runtime's CanRoute ... FullNode). */
#define TBQ_CAN_ROUTE 0x01U
#define TBQ_CAN_STORE 0x02U
#define TBQ_CAN_VALIDATE 0x04U
#define TBQ_CAN_OBSERVE 0x08U
#define TBQ_FULL_NODE 0x10U

/* The runtime's actor roles. */
typedef enum tbq_role {
    TBQ_ROLE_NONE = 0,
    TBQ_ROLE_TIME_TRAVELER = 1,
    TBQ_ROLE_TIME_KEEPER = 2,
    TBQ_ROLE_TIME_BANDIT = 3
} tbq_role;

/* Bytes of the caller: not owned, not kept past the call unless a function says so. */
typedef struct tbq_bytes {
    const void *data;
    size_t size;
} tbq_bytes;

typedef enum tbq_log_level {
    TBQ_LOG_ERROR = 0,
    TBQ_LOG_WARNING = 1,
    TBQ_LOG_INFO = 2,
    TBQ_LOG_DEBUG = 3
} tbq_log_level;

/* Where the library gets memory from. All three functions or none; `user` is handed through.
 * They must behave as the C functions do (realloc(user, NULL, n) allocates). GnuTLS's own memory
 * cannot be redirected. */
typedef struct tbq_allocator {
    void *(*alloc)(void *user, size_t size);
    void *(*realloc)(void *user, void *ptr, size_t size);
    void (*free)(void *user, void *ptr);
    void *user;
} tbq_allocator;

/* A peer id as text: lower-case base32 (RFC 4648) without padding, 52 characters. */
TBQ_API void tbq_peer_id_to_text(const tbq_peer_id *id, char text[TBQ_PEER_ID_TEXT_SIZE]);

/* The way back, strictly: exactly 52 characters, lower case, unused bits zero.
 * Returns 0 or TBQ_ERR_INVALID. */
TBQ_API int tbq_peer_id_from_text(tbq_peer_id *id, const char *text);

/* The peer id that belongs to an Ed25519 public key. Returns 0 or TBQ_ERR_TLS. */
TBQ_API int tbq_peer_id_from_key(tbq_peer_id *id, const uint8_t key[TBQ_PUBLIC_KEY_SIZE]);

/* <0, 0, >0 as memcmp(); the order by which two nodes that dial each other choose. */
TBQ_API int tbq_peer_id_compare(const tbq_peer_id *a, const tbq_peer_id *b);

#define TBQ_VERSION_TEXT "0.1.0" /* of these headers */

TBQ_API const char *tbq_version(void); /* of the library in use, such as "0.1.0" */

#ifdef __cplusplus
}
#endif
#endif
