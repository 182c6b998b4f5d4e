/* identity/trust.h - whether a peer that has proved its key may speak: one function, asked after
 * every handshake, full or resumed, in both roles, and again when the lists change.
 *
 * The order is fixed: the pin of the dial, the deny list, the allow list, certificate authorities,
 * first use; where none of these three is set, open. */
#ifndef TBI_IDENTITY_TRUST_H
#define TBI_IDENTITY_TRUST_H

#include <tbquic/types.h>

#include <gnutls/x509.h>

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
#define TBI_TRUST_NAME_SIZE 32
#define TBI_TRUST_CA_BITS_MAX                                                                      \
    4096 /* of keys in a peer's chain: larger ones are not computed with */

struct tbi_trust {
    const struct tbi_alloc *alloc;
    uint8_t secret[16];                   /* of the maps */
    struct tbi_map list[TBI_TRUST_LISTS]; /* by peer id */
    bool set[TBI_TRUST_LISTS];
    gnutls_x509_trust_list_t ca; /* NULL: none */
    bool first_use;
    struct tbi_map known; /* SHA-256 of "host:port" to struct tbi_trust_known */
    char known_name[256]; /* of the file, for people */
    size_t known_lines;
    char name[TBI_TRUST_NAME_SIZE];
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

/* Sets the authorities whose certificates admit, by the text of a PEM file. 0, TBQ_ERR_NOMEM,
 * TBQ_ERR_INVALID (none in it, or not readable: `text` says what) or TBQ_ERR_TLS. */
int tbi_trust_load_ca(struct tbi_trust *trust, tbq_bytes pem, char *text, size_t text_size);

/* Turns first use on, with what is known already: lines of "host:port PEERID", '#' begins a
 * comment. `name` is what the file is called for people. 0, TBQ_ERR_NOMEM, TBQ_ERR_LIMIT,
 * TBQ_ERR_INVALID. */
int tbi_trust_load_known(struct tbi_trust *trust, const char *name, tbq_bytes bytes, char *text,
                         size_t text_size);

/* One more that is known from now on, as the last line of its file. 0, TBQ_ERR_EXISTS,
 * TBQ_ERR_LIMIT or TBQ_ERR_NOMEM. */
int tbi_trust_remember(struct tbi_trust *trust, const char *host_port, const tbq_peer_id *id);

struct tbi_trust_query {
    const tbq_peer_id *id;       /* of the proved key; NULL: none was proved, always refused */
    const tbq_peer_id *pin;      /* who was dialled; NULL: anybody at that address */
    bool dialled;                /* by us, */
    const char *host_port;       /* at that address, as it was named; NULL: not by an address */
    const gnutls_datum_t *chain; /* what the peer showed, DER, the leaf first */
    unsigned chain_len;
    uint64_t wall_ms;
};

/* Returns 0, TBQ_ERR_IDENTITY (NO_CERTIFICATE, PIN) or TBQ_ERR_TRUST (DENIED, NOT_ALLOWED); the
 * codes are the verdict's. */
int tbi_trust_ask(const struct tbi_trust *trust, const struct tbi_trust_query *query,
                  struct tbi_verdict *verdict);

/* Whether answers depend on a peer's chain: then it must be kept to ask again. */
bool tbi_trust_reads_chains(const struct tbi_trust *trust);

/* The policy's name for the ready line: "open", "allow", "ca", "first-use" or several of these
 * joined by '+', and "+deny" behind it where there is a deny list. Valid while the policy lives. */
const char *tbi_trust_name(const struct tbi_trust *trust);

#endif
