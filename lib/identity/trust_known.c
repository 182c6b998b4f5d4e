/* identity/trust_known.c - first use: the key that was met first at an address is the key of that
 * address from then on.
 *
 * Only addresses that were dialled are bound: who comes by himself could choose any. */
#include <string.h>

#include <gnutls/crypto.h>
#include <tbquic/error.h>

#include "base/log.h"
#include "identity/trust_parts.h"

#define HASH_SIZE 32

struct tbi_trust_known {
    tbq_peer_id id;
    size_t line; /* of the file */
};

void tbi_known_init(struct tbi_trust *trust)
{
    tbi_map_init(&trust->known, trust->alloc, trust->secret, HASH_SIZE, TBI_TRUST_LIST_MAX);
}

static void free_all(const struct tbi_alloc *alloc, struct tbi_map *known)
{
    for (struct tbi_map_entry *e = tbi_map_first(known); e != NULL; e = tbi_map_next(e)) {
        tbi_free(alloc, tbi_map_value(e));
    }
    tbi_map_free(known);
}

void tbi_known_free(struct tbi_trust *trust)
{
    free_all(trust->alloc, &trust->known);
    trust->first_use = false;
}

static int add(const struct tbi_alloc *alloc, struct tbi_map *known, const char *host_port,
               const tbq_peer_id *id, size_t line)
{
    uint8_t key[HASH_SIZE];
    struct tbi_trust_known *k;

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, host_port, strlen(host_port), key) < 0) {
        return TBQ_ERR_TLS;
    }
    k = tbi_malloc(alloc, sizeof *k);
    if (k == NULL) {
        return TBQ_ERR_NOMEM;
    }
    *k = (struct tbi_trust_known){.id = *id, .line = line};
    int rv = tbi_map_put(known, key, k);
    if (rv < 0) {
        tbi_free(alloc, k);
    }
    return rv;
}

static int add_line(struct tbi_trust *trust, struct tbi_map *known, struct tbi_cursor line,
                    size_t number, char *text, size_t text_size)
{
    char host_port[TBQ_ADDRESS_SIZE];
    char word[TBQ_PEER_ID_TEXT_SIZE];
    tbq_peer_id id;
    size_t len = tbi_text_word(&line, host_port, sizeof host_port);

    if (len == 0) {
        return 0;
    }
    if (len >= sizeof host_port) {
        tbi_text(text, text_size, "line %zu: the address is too long", number);
        return TBQ_ERR_INVALID;
    }
    len = tbi_text_word(&line, word, sizeof word);
    int rv = tbi_text_peer_id(&id, number, word, len, text, text_size);
    if (rv == 0) {
        rv = add(trust->alloc, known, host_port, &id, number);
        if (rv == TBQ_ERR_EXISTS) {
            tbi_text(text, text_size, "line %zu: that address has a line already", number);
            rv = TBQ_ERR_INVALID;
        } else if (rv < 0) {
            tbi_text(text, text_size, "line %zu: %s", number, tbq_strerror(rv));
        }
    }
    return rv;
}

int tbi_trust_load_known(struct tbi_trust *trust, const char *name, tbq_bytes bytes, char *text,
                         size_t text_size)
{
    struct tbi_map known;
    struct tbi_cursor c;
    size_t number = 1;
    int rv = 0;

    tbi_text(text, text_size, "%s", "");
    tbi_map_init(&known, trust->alloc, trust->secret, HASH_SIZE, TBI_TRUST_LIST_MAX);
    tbi_cur_init(&c, bytes.data, bytes.size);
    for (; rv == 0 && tbi_cur_left(&c) > 0; number++) {
        rv = add_line(trust, &known, tbi_text_line(&c), number, text, text_size);
    }
    if (rv < 0) {
        free_all(trust->alloc, &known);
        return rv;
    }
    free_all(trust->alloc, &trust->known);
    trust->known = known;
    trust->known_lines = number - 1;
    trust->first_use = true;
    tbi_text(trust->known_name, sizeof trust->known_name, "%s", name);
    tbi_trust_set_name(trust);
    return 0;
}

int tbi_trust_remember(struct tbi_trust *trust, const char *host_port, const tbq_peer_id *id)
{
    int rv = add(trust->alloc, &trust->known, host_port, id, trust->known_lines + 1);
    if (rv == 0) {
        trust->known_lines++;
    }
    return rv;
}

int tbi_known_ask(const struct tbi_trust *trust, const struct tbi_trust_query *query,
                  struct tbi_verdict *verdict)
{
    uint8_t key[HASH_SIZE];

    if (query->pin != NULL) {
        return 0; /* whoever dialled knew the key before */
    }
    if (query->host_port == NULL ||
        gnutls_hash_fast(GNUTLS_DIG_SHA256, query->host_port, strlen(query->host_port), key) < 0) {
        verdict->close_code = TBI_CLOSE_NOT_ALLOWED;
        tbi_text(verdict->text, sizeof verdict->text, "it was not dialled by an address");
        return TBQ_ERR_TRUST;
    }
    const struct tbi_trust_known *k = tbi_map_get(&trust->known, key);
    if (k == NULL) {
        verdict->first_use = true;
        return 0;
    }
    if (tbq_peer_id_compare(&k->id, query->id) == 0) {
        return 0;
    }
    verdict->close_code = TBI_CLOSE_PIN;
    tbi_text(verdict->text, sizeof verdict->text,
             "the key at %.80s is not the one that was met there first (%.100s, line %zu)",
             query->host_port, trust->known_name, k->line);
    return TBQ_ERR_IDENTITY;
}
