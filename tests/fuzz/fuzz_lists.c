/* tests/fuzz/fuzz_lists.c - any bytes as an allow or deny list.
 *
 * A list is taken whole or refused with a text that names a line. Of a list that was taken, every
 * id can be written out again and is found; a fault never changes the policy. */
#include <stdlib.h>
#include <string.h>

#include "identity/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Every id of a list that was taken is one line of at least 52 bytes, and is allowed. */
static void check_taken(const struct tbi_trust *trust, size_t size)
{
    const struct tbi_map *list = &trust->list[TBI_TRUST_ALLOW];
    char text[TBQ_PEER_ID_TEXT_SIZE];
    struct tbi_verdict verdict;
    tbq_peer_id id, again;

    require(tbi_map_count(list) <= TBI_TRUST_LIST_MAX);
    require(tbi_map_count(list) <= (size + 1) / TBQ_PEER_ID_TEXT_SIZE);
    for (struct tbi_map_entry *e = tbi_map_first(list); e != NULL; e = tbi_map_next(e)) {
        memcpy(id.bytes, tbi_map_key(e), sizeof id.bytes);
        tbq_peer_id_to_text(&id, text);
        require(tbq_peer_id_from_text(&again, text) == 0);
        require(tbq_peer_id_compare(&id, &again) == 0);
        require(tbi_trust_ask(trust, &(struct tbi_trust_query){.id = &id}, &verdict) == 0);
        require(verdict.close_code == TBI_CLOSE_NONE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t seed[TBI_RNG_SEED_SIZE];
    const tbq_bytes bytes = {.data = data, .size = size};
    struct tbi_alloc alloc;
    struct tbi_trust trust;
    struct tbi_rng rng;
    char text[128];
    int rv;

    require(tbi_alloc_init(&alloc, NULL) == 0);
    tbi_rng_init(&rng, seed);
    tbi_trust_init(&trust, &alloc, &rng);
    rv = tbi_trust_load(&trust, TBI_TRUST_ALLOW, bytes, text, sizeof text);
    if (rv == 0) {
        require(text[0] == '\0' && strcmp(tbi_trust_name(&trust), "allow") == 0);
        check_taken(&trust, size);
    } else {
        require(rv == TBQ_ERR_INVALID || rv == TBQ_ERR_LIMIT);
        require(strncmp(text, "line ", 5) == 0 || strncmp(text, "larger ", 7) == 0);
        require(strcmp(tbi_trust_name(&trust), "open") == 0);
    }
    tbi_trust_free(&trust);
    return 0;
}
