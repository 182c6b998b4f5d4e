/* tests/fuzz/fuzz_book.c - any bytes as the file of a peer book.
 *
 * Hashes and signatures are pretended, so that the fuzzer gets past them. What was read can be
 * written, and read again it is written the same. */
#include <stdlib.h>
#include <string.h>

#include "mesh/book.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* The hash at the end of an input is made of zeroes. */
static int zero_hash(void *self, const void *data, size_t size, uint8_t hash[TBI_HASH_SIZE])
{
    (void)self;
    (void)data;
    (void)size;
    memset(hash, 0, TBI_HASH_SIZE);
    return 0;
}

static int accept_any(void *self, const uint8_t key[32], const void *data, size_t size,
                      const uint8_t signature[TBI_SIGNATURE_SIZE])
{
    (void)self;
    (void)key;
    (void)data;
    (void)size;
    (void)signature;
    return 0;
}

static bool nobody(void *user, const tbq_peer_id *id)
{
    (void)user;
    (void)id;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[TBI_RNG_SEED_SIZE];
    const struct tbi_crypto crypto = {.hash = zero_hash, .verify = accept_any};
    const tbq_peer_id self = {{1}};
    struct tbi_alloc alloc;
    struct tbi_rng rng;
    struct tbi_book book, again;
    struct tbi_block *first = NULL, *second = NULL;
    struct tbi_book_entry *some[8];
    uint64_t when;

    require(tbi_alloc_init(&alloc, NULL) == 0);
    tbi_rng_init(&rng, seed);
    tbi_book_init(&book, &alloc, &crypto, &rng, &self, 64);
    tbi_book_init(&again, &alloc, &crypto, &rng, &self, 64);
    int rv = tbi_book_read(&book, data, size);
    if (rv == 0) {
        (void)tbi_book_pick(&book, 0, nobody, NULL, &when);
        require(tbi_book_sample(&book, 0, NULL, some, 8) <= 8);
        require(tbi_book_write(&book, &first) == 0);
        require(tbi_book_read(&again, first->data, first->size) == 0);
        require(tbi_book_write(&again, &second) == 0);
        require(first->size == second->size && memcmp(first->data, second->data, first->size) == 0);
    } else {
        require(rv == TBQ_ERR_MALFORMED || rv == TBQ_ERR_UNSUPPORTED);
        require(tbi_map_count(&book.entries) == 0);
    }
    tbi_block_unref(first);
    tbi_block_unref(second);
    tbi_book_free(&book);
    tbi_book_free(&again);
    return 0;
}
