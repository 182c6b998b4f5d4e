/* tests/fuzz/fuzz_target.c - any text as a target, an address or a peer id.
 *
 * What is taken can be written out again, and what is written out reads as the same thing. */
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

#define TEXT_MAX 1024 /* bytes: well past the longest of the three */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void try_target(const char *text)
{
    char written[TBQ_URI_SIZE], again_written[TBQ_URI_SIZE];
    struct tbi_target t, again;
    int rv = tbi_target_parse(&t, text);

    if (rv != 0) {
        require(rv == TBQ_ERR_ADDRESS || rv == TBQ_ERR_INVALID);
        return;
    }
    require(t.numeric == (t.addr.len > 0));
    require(t.host[0] != '\0' || (t.pinned && t.port == 0)); /* a peer id alone */
    require(strlen(t.host) < sizeof t.host);
    require(!t.numeric || tbi_addr_port(&t.addr) == t.port);
    memset(written, 'x', sizeof written);
    tbi_target_to_text(&t, written);
    require(memchr(written, '\0', sizeof written) != NULL);
    require(tbi_target_parse(&again, written) == 0);
    require(again.port == t.port && again.numeric == t.numeric && again.pinned == t.pinned);
    require(t.numeric ? tbi_addr_equal(&t.addr, &again.addr) : strcmp(t.host, again.host) == 0);
    require(tbq_peer_id_compare(&t.id, &again.id) == 0);
    tbi_target_to_text(&again, again_written);
    require(strcmp(written, again_written) == 0);
    require(t.numeric || t.host[0] == '\0' || strcmp(written, text) == 0); /* kept as given */
}

static void try_addr(const char *text)
{
    char written[TBI_ADDR_TEXT_SIZE];
    struct tbi_addr a, again;
    struct tbi_target t;

    if (tbi_addr_from_text(&a, text) != 0) {
        require(a.len == 0);
        return;
    }
    tbi_addr_to_text(&a, written);
    require(tbi_addr_from_text(&again, written) == 0 && tbi_addr_equal(&a, &again));
    require(tbi_target_parse(&t, text) == 0 && t.numeric && tbi_addr_equal(&t.addr, &a));
    struct tbi_addr wide = a;
    tbi_addr_to_v6(&wide);
    require(tbi_addr_from_sockaddr(&again, &wide.u.sa, wide.len) == 0);
    require(tbi_addr_equal(&a, &again));
}

static void try_id(const char *text)
{
    char written[TBQ_PEER_ID_TEXT_SIZE];
    tbq_peer_id id;

    if (tbq_peer_id_from_text(&id, text) == 0) {
        tbq_peer_id_to_text(&id, written);
        require(strcmp(written, text) == 0); /* one peer, one text */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > TEXT_MAX) {
        return 0;
    }
    char *text = malloc(size + 1); /* of exactly that size: reading past it is noticed */
    if (text == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    try_target(text);
    try_addr(text);
    try_id(text);
    free(text);
    return 0;
}
