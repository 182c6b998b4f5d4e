/* tests/fuzz/fuzz_pem.c - any bytes as a key file, and as the certificate file of a good key.
 *
 * What is refused has a text that says which of the two it was; what is taken can be written and
 * read again and is the same identity. */
#include <stdlib.h>
#include <string.h>

#include "identity/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char good_key[] = "-----BEGIN PRIVATE KEY-----\n"
                               "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                               "-----END PRIVATE KEY-----\n";

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check(const struct tbi_alloc *alloc, tbq_bytes key, tbq_bytes cert, const char *begin)
{
    static const uint8_t seed[TBI_RNG_SEED_SIZE];
    struct tbi_identity *identity = NULL, *again = NULL;
    char text[256], pem[TBI_KEY_PEM_SIZE];
    struct tbi_rng rng;
    size_t size;
    int rv;

    tbi_rng_init(&rng, seed);
    rv = tbi_identity_from_pem(&identity, alloc, key, cert, &rng, text, sizeof text);
    if (rv != 0) {
        require(identity == NULL && strncmp(text, begin, strlen(begin)) == 0);
        return;
    }
    require(tbi_identity_export_key(identity, pem, sizeof pem, &size) == 0);
    require(tbi_identity_from_pem(&again, alloc, (tbq_bytes){pem, size}, (tbq_bytes){NULL, 0}, &rng,
                                  text, sizeof text) == 0);
    require(tbq_peer_id_compare(tbi_identity_id(identity), tbi_identity_id(again)) == 0);
    tbi_identity_free(identity);
    tbi_identity_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const tbq_bytes any = {.data = data, .size = size};
    struct tbi_alloc alloc;

    require(tbi_alloc_init(&alloc, NULL) == 0);
    check(&alloc, any, (tbq_bytes){NULL, 0}, "key: ");
    if (size > 0) {
        check(&alloc, (tbq_bytes){good_key, sizeof good_key - 1}, any, "certificate: ");
    }
    return 0;
}
