/* identity/trust_parts.h - what the files of the trust policy share among themselves. */
#ifndef TBI_IDENTITY_TRUST_PARTS_H
#define TBI_IDENTITY_TRUST_PARTS_H

#include "base/cursor.h"
#include "identity/trust.h"

/* --- trust.c: text that people write --- */

/* The next line, without its newline. */
struct tbi_cursor tbi_text_line(struct tbi_cursor *c);

/* The next word of a line, up to white space or '#'; how long it is, which may be longer than what
 * fits into `word`, `size` bytes with its NUL. */
size_t tbi_text_word(struct tbi_cursor *line, char *word, size_t size);

/* A word of `len` bytes in line `number` as a peer id, or TBQ_ERR_INVALID and why it is none. The
 * word itself is not shown: it is bytes from a file that may be anything. */
int tbi_text_peer_id(tbq_peer_id *id, size_t number, const char *word, size_t len, char *text,
                     size_t text_size);

void tbi_trust_set_name(struct tbi_trust *trust); /* after a change of what is set */

/* --- trust_ca.c --- */
void tbi_ca_free(struct tbi_trust *trust);
bool tbi_ca_vouches(const struct tbi_trust *trust, const struct tbi_trust_query *query);

/* --- trust_known.c: who was met at which address --- */
void tbi_known_init(struct tbi_trust *trust);
void tbi_known_free(struct tbi_trust *trust);
int tbi_known_ask(const struct tbi_trust *trust, const struct tbi_trust_query *query,
                  struct tbi_verdict *verdict);

#endif
