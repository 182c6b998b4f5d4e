/* tests/vectors/render.h - what libtbquic decodes, as the text of the golden files, and encoded
 * again; and the signatures for it. */
#ifndef TBI_TESTS_RENDER_H
#define TBI_TESTS_RENDER_H

#include <stdio.h>

#include "wire/frame.h"
#include "wire/kind.h"
#include "wire/record.h"

/* Decodes, writes the fields, encodes. 0 or the decoder's error; TBQ_ERR_UNSUPPORTED for an unknown
 * even type, as the owner of a stream would say. */
int render_frame(uint64_t type, const uint8_t *body, size_t size, FILE *text, struct tbi_writer *w);
int render_kind(tbq_kind kind, struct tbi_cursor c, FILE *text, struct tbi_writer *w);

/* Writes the fields; seed: hex, or NULL. */
void render_record(const struct tbi_record *r, const char *seed, FILE *text);

/* Signs with the private key that the seed of RFC 8032 makes; NULL: verifies and hashes only. */
struct tbi_crypto render_crypto(const uint8_t seed[32], const uint8_t key[32]);

#endif
