/* mesh/tickets.h - what makes the next connection to a peer cheaper: a session ticket, with which
 * the handshake is resumed, and an address token, with which no Retry is needed. The newest of each
 * for a peer; both came from that peer and are shown to nobody else. They are secrets. */
#ifndef TBI_MESH_TICKETS_H
#define TBI_MESH_TICKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tbquic/types.h>

#include "base/addr.h"
#include "base/block.h"
#include "base/crypto.h"
#include "base/map.h"

#define TBI_TICKETS_MAX 1024U      /* peers; then the one heard of least recently is forgotten */
#define TBI_TICKET_SIZE_MAX 16384U /* bytes of a ticket; a larger one is not kept */
#define TBI_TICKET_TOKEN_MAX 512U  /* of a token */

struct tbi_ticket {
    tbq_peer_id id;
    struct tbi_addr addr;     /* where the peer is, and what the token is for */
    struct tbi_block *ticket; /* NULL: none */
    struct tbi_block *token;  /* NULL: none */
    bool token_used;          /* shown once, and not again (RFC 9000, section 8.1.3) */
};

struct tbi_tickets {
    const struct tbi_alloc *alloc;
    const struct tbi_crypto *crypto;
    struct tbi_map by_peer; /* in the order in which peers were heard of last */
    bool changed;           /* since it was read or written */
};

void tbi_tickets_init(struct tbi_tickets *t, const struct tbi_alloc *alloc,
                      const struct tbi_crypto *crypto, const uint8_t secret[16]);
void tbi_tickets_free(struct tbi_tickets *t); /* wipes them; it may be used on, and is empty */

/* That peer, at that address, has given this. What finds no memory, or is too large, is not kept:
 * the next connection does without. */
void tbi_tickets_keep(struct tbi_tickets *t, const tbq_peer_id *id, const struct tbi_addr *addr,
                      const uint8_t *ticket, size_t size);
void tbi_tickets_keep_token(struct tbi_tickets *t, const tbq_peer_id *id,
                            const struct tbi_addr *addr, const uint8_t *token, size_t size);

/* What is kept of that peer, or, with id NULL, of the one that was at that address. NULL: nothing.
 * Valid until the next call that changes anything. */
struct tbi_ticket *tbi_tickets_find(struct tbi_tickets *t, const tbq_peer_id *id,
                                    const struct tbi_addr *addr);

void tbi_tickets_forget(struct tbi_tickets *t, struct tbi_ticket *kept); /* NULL is fine */

/* All of it for a file; wipe the block when it was written. 0, TBQ_ERR_NOMEM, or of the hash. */
int tbi_tickets_write(struct tbi_tickets *t, struct tbi_block **bytes);
/* Takes it back; after an error it is empty. 0; TBQ_ERR_MALFORMED: no such file, or damaged;
 * TBQ_ERR_UNSUPPORTED: of another version; TBQ_ERR_NOMEM. */
int tbi_tickets_read(struct tbi_tickets *t, const uint8_t *data, size_t size);

#endif
