/* wire/record.h - the signed peer record: who a node is, where it can be reached, what it can do.
 */
#ifndef TBI_WIRE_RECORD_H
#define TBI_WIRE_RECORD_H

#include "base/addr.h"
#include "base/crypto.h"
#include "wire/wire.h"

#define TBI_RECORD_SIZE_MAX 1024
#define TBI_RECORD_ADDRESSES_MAX 16
#define TBI_RECORD_DOMAIN "tbq/1 peer record" /* stands before the signed bytes, with its NUL */

enum tbi_address_kind {
    TBI_ADDRESS_ADVERTISED = 0, /* the operator says so */
    TBI_ADDRESS_OBSERVED = 1,   /* several peers saw it */
    TBI_ADDRESS_LOCAL = 2,      /* of an own interface */
    TBI_ADDRESS_VIA = 3         /* not an address: the neighbour `via` forwards (reserved) */
};

struct tbi_record_address {
    uint64_t kind;
    struct tbi_addr addr;
    tbq_peer_id via;
};

struct tbi_record {
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    uint64_t sequence; /* max(stored + 1, wall clock in ms): a newer record replaces an older */
    uint64_t role;
    uint64_t capabilities;
    size_t addresses_len;
    struct tbi_record_address address[TBI_RECORD_ADDRESSES_MAX]; /* unknown kinds are left out */
    const uint8_t *signed_bytes; /* set by decode: what the signature is over, without the domain */
    size_t signed_size;
    uint8_t signature[TBI_SIGNATURE_SIZE];
};

/* Form only; tbi_record_verify() checks the signature. 0, MALFORMED or UNSUPPORTED. */
int tbi_get_record(struct tbi_cursor c, struct tbi_record *r);

/* Signs and writes at most TBI_RECORD_SIZE_MAX bytes; *size is set. */
int tbi_record_seal(const struct tbi_record *r, const struct tbi_crypto *crypto, uint8_t *to,
                    size_t capacity, size_t *size);

/* 0, TBQ_ERR_IDENTITY (not the key's signature) or TBQ_ERR_TLS. */
int tbi_record_verify(const struct tbi_record *r, const struct tbi_crypto *crypto);

#define TBI_SCORE_KEY_MAX 4096 /* bytes of a key that is placed */

/* Rendezvous score of a node for a key: the first 8 bytes, little endian, of
 * SHA-256(key, then the node's 32-byte id). Highest wins, ties to the lower id.
 * TBQ_ERR_TOO_LARGE: the key is longer than TBI_SCORE_KEY_MAX. */
int tbi_node_score(const struct tbi_crypto *crypto, const void *key, size_t size,
                   const tbq_peer_id *node, uint64_t *score);

#endif
