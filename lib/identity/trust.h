/* identity/trust.h - whether a peer that has proved its key may speak: one function, asked after
 * every handshake, full or resumed, in both roles, and again when the lists change.
 *
 * The order is fixed: the pin of the dial, the deny list, the allow list, then open. Whatever comes
 * between them takes its place in tbi_trust_ask(). */
#ifndef TBI_IDENTITY_TRUST_H
#define TBI_IDENTITY_TRUST_H

#include <tbquic/types.h>

#include "base/map.h"
#include "base/rng.h"
#include "identity/verdict.h"

#define TBI_TRUST_LIST_MAX 65536U           /* peer ids in a list */
#define TBI_TRUST_LIST_SIZE_MAX (16U << 20) /* bytes of a list: 256 for each */

enum tbi_trust_list {
    TBI_TRUST_DENY, /* these are refused */
    TBI_TRUST_ALLOW /* where it is set, all that are not on it are refused; it may be empty */
};
#define TBI_TRUST_LISTS 2

struct tbi_trust {
    const struct tbi_alloc *alloc;
    uint8_t secret[16];                   /* of the maps */
    struct tbi_map list[TBI_TRUST_LISTS]; /* by peer id */
    bool set[TBI_TRUST_LISTS];
};

/* Open: no lists. `alloc` must outlive it. */
void tbi_trust_init(struct tbi_trust *trust, const struct tbi_alloc *alloc, struct tbi_rng *rng);
void tbi_trust_free(struct tbi_trust *trust);

/* Sets or replaces a list by the text of a file: a peer id a line, anything behind white space or
 * '#' is comment, empty lines are fine, and so is an id that comes twice. Returns 0, TBQ_ERR_NOMEM,
 * TBQ_ERR_LIMIT or TBQ_ERR_INVALID, and `text` names line and fault, without a file's name; after
 * an error the old list stands. */
int tbi_trust_load(struct tbi_trust *trust, enum tbi_trust_list which, tbq_bytes bytes, char *text,
                   size_t text_size);

struct tbi_trust_query {
    const tbq_peer_id *id;  /* of the proved key; NULL: none was proved, always refused */
    const tbq_peer_id *pin; /* who was dialled; NULL: anybody at that address */
    bool dialled;           /* by us */
    uint64_t wall_ms;
};

/* Returns 0, TBQ_ERR_IDENTITY (NO_CERTIFICATE, PIN) or TBQ_ERR_TRUST (DENIED, NOT_ALLOWED); the
 * codes are the verdict's. */
int tbi_trust_ask(const struct tbi_trust *trust, const struct tbi_trust_query *query,
                  struct tbi_verdict *verdict);

/* The policy's name for the ready line: "open", "allow", "open+deny" or "allow+deny". Static. */
const char *tbi_trust_name(const struct tbi_trust *trust);

#endif
