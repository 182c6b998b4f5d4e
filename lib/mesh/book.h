/* mesh/book.h - the peer book: who is known, where to find them, and whom to forget first.
 *
 * An entry is a peer id with the newest record that the peer has signed, and the places where it
 * may be: those that it claims, and those where it was met. The book has a limit. When it is full,
 * peers that were only heard of give way first, the longest known before the others, then those
 * that were met, the longest unseen first; peers that the operator named never do. So a flood of
 * made-up peers displaces made-up peers. */
#ifndef TBI_MESH_BOOK_H
#define TBI_MESH_BOOK_H

#include "base/block.h"
#include "base/crypto.h"
#include "base/cursor.h"
#include "base/list.h"
#include "base/map.h"
#include "base/now.h"
#include "base/pool.h"
#include "base/rng.h"
#include "mesh/scope.h"
#include "wire/record.h"

#define TBI_BOOK_ENTRIES_MAX 4096
#define TBI_BOOK_TRIES_UNPROVEN 3 /* dials of a claim that was never reached, then no more */
#define TBI_BOOK_RETRY_FIRST_MS 1000
#define TBI_BOOK_RETRY_LAST_MS 600000
#define TBI_BOOK_AHEAD_MS UINT64_C(86400000) /* sequences further ahead of the clock: refused */

enum tbi_book_standing {
    TBI_BOOK_HEARD, /* others told of it */
    TBI_BOOK_MET,   /* it proved its key to us */
    TBI_BOOK_NAMED  /* the operator named it: never forgotten */
};

struct tbi_place {
    struct tbi_addr addr;
    bool claimed;    /* in its record; otherwise it was met there */
    bool proven;     /* it was reached there once */
    bool allowed;    /* the claim may be dialled, by where it was learnt */
    unsigned tries;  /* that failed, since the last that did not */
    uint64_t try_at; /* ns; not dialled before */
};

struct tbi_book_entry {
    struct tbi_list entry; /* of the book's list of its standing */
    tbq_peer_id id;
    enum tbi_book_standing standing;
    struct tbi_block *record; /* as bytes; NULL: none was seen yet */
    bool verified;            /* its signature was; those read from the own file are when needed */
    uint64_t sequence;        /* of the record */
    uint64_t role;
    uint64_t capabilities;
    uint64_t seen_ms; /* wall clock, when it was met last, or left in peace; 0: never */
    bool lost;        /* its last connection ended by a fault, or because it stopped */
    struct tbi_place *place;
    size_t places;
};

struct tbi_book_stats {
    uint64_t learnt;    /* records that were new, or newer */
    uint64_t known;     /* records that were not */
    uint64_t refused;   /* malformed, not genuine, or of tomorrow's tomorrow */
    uint64_t full;      /* records refused for want of room */
    uint64_t forgotten; /* entries that gave way */
};

struct tbi_book {
    struct tbi_pool pool;          /* entries outlive the connections that they come from by far */
    const struct tbi_alloc *alloc; /* the pool's */
    const struct tbi_crypto *crypto;
    struct tbi_rng *rng;
    tbq_peer_id self; /* is never entered */
    size_t limit;     /* entries; those that were named may go beyond, up to as many again */
    struct tbi_map entries;
    struct tbi_list by[3]; /* by standing: the first to be forgotten stands in front */
    struct tbi_book_stats stats;
    uint64_t own_sequence; /* of the own record that was made last: the next one is higher */
    bool changed;          /* since it was written last */
};

void tbi_book_init(struct tbi_book *b, const struct tbi_alloc *a, const struct tbi_crypto *crypto,
                   struct tbi_rng *rng, const tbq_peer_id *self, size_t limit);
void tbi_book_free(struct tbi_book *b);
void tbi_book_clear(struct tbi_book *b); /* forgets everybody */

struct tbi_book_entry *tbi_book_get(const struct tbi_book *b, const tbq_peer_id *id); /* or NULL */

/* A record that the peer at `from` told of somebody (or of itself). 0: it was new, or newer;
 * TBQ_ERR_EXISTS: nothing new, which costs no signature check; TBQ_ERR_MALFORMED, _IDENTITY (not
 * genuine), _UNSUPPORTED, _EXPIRED (a sequence more than a day ahead), _SELF, _LIMIT, _NOMEM. */
int tbi_book_learn(struct tbi_book *b, struct tbi_now now, const uint8_t *record, size_t size,
                   const struct tbi_addr *from);

/* The operator named that peer: an entry without a record, if need be. 0; TBQ_ERR_NOMEM;
 * TBQ_ERR_LIMIT: too many were named. */
int tbi_book_name(struct tbi_book *b, const tbq_peer_id *id, const struct tbi_addr *addr);

/* It proved its key; at that address it was dialled, or it dialled from there. 0, TBQ_ERR_LIMIT or
 * TBQ_ERR_NOMEM. */
int tbi_book_met(struct tbi_book *b, struct tbi_now now, const tbq_peer_id *id,
                 const struct tbi_addr *addr);

/* Its connection has ended; in peace: one side was done with it, and both go on living. */
void tbi_book_parted(struct tbi_book *b, struct tbi_now now, const tbq_peer_id *id, bool in_peace);

/* Whether it may be taken to live, and be dialled, though it is not connected: it was met no longer
 * than that ago, was not lost, its record is genuine and says where it is, and the last dial of a
 * place where it was reached did not fail. */
bool tbi_book_alive(const struct tbi_book *b, struct tbi_now now, struct tbi_book_entry *e,
                    uint64_t recent_ms);

/* Whether it has a record that the peer has signed. The signature of what came from the own file is
 * checked when it is needed, once. */
bool tbi_book_genuine(const struct tbi_book *b, struct tbi_book_entry *e);

/* A dial of that place came to nothing. */
void tbi_book_failed(struct tbi_book *b, struct tbi_now now, const tbq_peer_id *id,
                     const struct tbi_addr *addr);

/* The places of an entry that may be dialled now, proven ones first; returns how many. */
size_t tbi_book_places(const struct tbi_book_entry *e, uint64_t now_ns, struct tbi_addr *to,
                       size_t max);

/* The same for who has a reason to dial that very peer, and pauses of its own: those where it was
 * reached once are among them however often they failed since. */
size_t tbi_book_ways(const struct tbi_book_entry *e, uint64_t now_ns, struct tbi_addr *to,
                     size_t max);

/* Whether it was reached there once. */
bool tbi_book_is_proven(const struct tbi_book_entry *e, const struct tbi_addr *addr);

/* An entry to dial now, picked at random among those that have a place and that `skip` does not
 * rule out; NULL: none. Half the picks are of those that were met or named, where there are any: of
 * those heard of any number may be made up. *when is the earliest time at which a place becomes
 * dialable again. */
struct tbi_book_entry *tbi_book_pick(struct tbi_book *b, uint64_t now_ns,
                                     bool (*skip)(void *user, const tbq_peer_id *id), void *user,
                                     uint64_t *when);

/* Up to `max` entries with a genuine record, a place, and all those capabilities, picked at random;
 * those met and named before those heard of. Never `except`. Returns how many. */
size_t tbi_book_sample(struct tbi_book *b, uint64_t capabilities, const tbq_peer_id *except,
                       struct tbi_book_entry **to, size_t max);

/* The peer id of a key: its SHA-256. 0 or TBQ_ERR_TLS. */
int tbi_book_id(const struct tbi_book *b, const uint8_t key[TBQ_PUBLIC_KEY_SIZE], tbq_peer_id *id);

/* --- book_file.c: as bytes ----------------------------------------------------------------------
 */

/* All entries, into a new block, which may outlive the book. 0 or TBQ_ERR_NOMEM. */
int tbi_book_write(const struct tbi_book *b, struct tbi_block **bytes);

/* Enters what a file holds into an empty book. 0; TBQ_ERR_MALFORMED (not such a file, or damaged),
 * TBQ_ERR_UNSUPPORTED (a later version's), TBQ_ERR_NOMEM; the book is empty after an error. */
int tbi_book_read(struct tbi_book *b, const uint8_t *data, size_t size);

#endif
