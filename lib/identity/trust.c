/* identity/trust.c - the lists, and the one place where a peer is let in or turned away. */
#include "identity/trust.h"

#include <string.h>

#include <tbquic/error.h>

#include "base/log.h"
#include "identity/trust_parts.h"

#define ID_LEN (TBQ_PEER_ID_TEXT_SIZE - 1)

void tbi_trust_set_name(struct tbi_trust *trust)
{
    const bool admits[] = {trust->set[TBI_TRUST_ALLOW], trust->ca != NULL, trust->first_use};
    static const char *const names[] = {"allow", "ca", "first-use"};
    size_t len = 0;

    for (size_t i = 0; i < sizeof admits / sizeof admits[0]; i++) {
        if (admits[i]) {
            tbi_text(trust->name + len, sizeof trust->name - len, "%s%s", len > 0 ? "+" : "",
                     names[i]);
            len = strlen(trust->name);
        }
    }
    tbi_text(trust->name + len, sizeof trust->name - len, "%s%s", len == 0 ? "open" : "",
             trust->set[TBI_TRUST_DENY] ? "+deny" : "");
}

void tbi_trust_init(struct tbi_trust *trust, const struct tbi_alloc *alloc, struct tbi_rng *rng)
{
    memset(trust, 0, sizeof *trust);
    trust->alloc = alloc;
    tbi_rng_bytes(rng, trust->secret, sizeof trust->secret);
    for (int i = 0; i < TBI_TRUST_LISTS; i++) {
        tbi_map_init(&trust->list[i], alloc, trust->secret, TBQ_PEER_ID_SIZE, TBI_TRUST_LIST_MAX);
    }
    tbi_known_init(trust);
    tbi_trust_set_name(trust);
}

void tbi_trust_free(struct tbi_trust *trust)
{
    tbi_ca_free(trust);
    tbi_known_free(trust);
    for (int i = 0; i < TBI_TRUST_LISTS; i++) {
        tbi_map_free(&trust->list[i]);
        trust->set[i] = false;
    }
    tbi_trust_set_name(trust);
}

struct tbi_cursor tbi_text_line(struct tbi_cursor *c)
{
    struct tbi_cursor line;
    const uint8_t *newline = memchr(c->at, '\n', tbi_cur_left(c));
    size_t len = newline != NULL ? (size_t)(newline - c->at) : tbi_cur_left(c);

    tbi_cur_init(&line, tbi_cur_take(c, len), len);
    if (newline != NULL) {
        tbi_cur_take(c, 1);
    }
    return line;
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\v' || byte == '\f';
}

size_t tbi_text_word(struct tbi_cursor *line, char *word, size_t size)
{
    size_t len = 0;
    bool begun = false;

    memset(word, 0, size);
    while (tbi_cur_left(line) > 0) {
        uint8_t byte = tbi_cur_u8(line);
        if (byte == '#') {
            line->at = line->end; /* the rest is a comment */
            break;
        }
        if (begun && is_space(byte)) {
            break;
        }
        if (!is_space(byte)) {
            begun = true;
            if (len + 1 < size) {
                word[len] = (char)byte;
            }
            len++;
        }
    }
    return len;
}

static void explain(size_t number, const char *word, size_t len, char *text, size_t text_size)
{
    if (len != ID_LEN) {
        tbi_text(text, text_size, "line %zu: %zu characters, but a peer id has %d", number, len,
                 ID_LEN);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (!((word[i] >= 'a' && word[i] <= 'z') || (word[i] >= '2' && word[i] <= '7'))) {
            tbi_text(text, text_size,
                     "line %zu: character %zu cannot be in a peer id (only a-z and 2-7 can)",
                     number, i + 1);
            return;
        }
    }
    tbi_text(text, text_size, "line %zu: no peer id ends with '%c'", number, word[len - 1]);
}

int tbi_text_peer_id(tbq_peer_id *id, size_t number, const char *word, size_t len, char *text,
                     size_t text_size)
{
    if (len != ID_LEN || tbq_peer_id_from_text(id, word) != 0) {
        explain(number, word, len, text, text_size);
        return TBQ_ERR_INVALID;
    }
    return 0;
}

/* Reads one line into the list. */
static int add_line(struct tbi_map *list, struct tbi_cursor line, size_t number, char *text,
                    size_t text_size)
{
    static const uint8_t present; /* the maps are sets: any pointer but NULL will do */
    char word[TBQ_PEER_ID_TEXT_SIZE];
    size_t len = tbi_text_word(&line, word, sizeof word);
    tbq_peer_id id;
    int rv;

    if (len == 0) {
        return 0;
    }
    if (tbi_text_peer_id(&id, number, word, len, text, text_size) < 0) {
        return TBQ_ERR_INVALID;
    }
    rv = tbi_map_put(list, id.bytes, (void *)(uintptr_t)&present);
    if (rv == TBQ_ERR_EXISTS) {
        return 0;
    }
    if (rv == TBQ_ERR_LIMIT) {
        tbi_text(text, text_size, "line %zu: more than %u peer ids", number, TBI_TRUST_LIST_MAX);
    } else if (rv != 0) {
        tbi_text(text, text_size, "%s", tbq_strerror(rv));
    }
    return rv;
}

int tbi_trust_load(struct tbi_trust *trust, enum tbi_trust_list which, tbq_bytes bytes, char *text,
                   size_t text_size)
{
    struct tbi_map list;
    struct tbi_cursor c;
    int rv = 0;

    tbi_text(text, text_size, "%s", "");
    if (bytes.size > TBI_TRUST_LIST_SIZE_MAX) {
        tbi_text(text, text_size, "larger than %u bytes", TBI_TRUST_LIST_SIZE_MAX);
        return TBQ_ERR_LIMIT;
    }
    tbi_map_init(&list, trust->alloc, trust->secret, TBQ_PEER_ID_SIZE, TBI_TRUST_LIST_MAX);
    tbi_cur_init(&c, bytes.data, bytes.size);
    for (size_t number = 1; rv == 0 && tbi_cur_left(&c) > 0; number++) {
        rv = add_line(&list, tbi_text_line(&c), number, text, text_size);
    }
    if (rv != 0) {
        tbi_map_free(&list);
        return rv;
    }
    tbi_map_free(&trust->list[which]);
    trust->list[which] = list;
    trust->set[which] = true;
    tbi_trust_set_name(trust);
    return 0;
}

static bool listed(const struct tbi_trust *trust, enum tbi_trust_list which, const tbq_peer_id *id)
{
    return tbi_map_get(&trust->list[which], id->bytes) != NULL;
}

static int refuse(struct tbi_verdict *verdict, uint64_t code, int error)
{
    verdict->close_code = code;
    tbi_text(verdict->text, sizeof verdict->text, "%s", tbi_close_text(code));
    return error;
}

/* None of what admits has admitted. */
static int not_allowed(const struct tbi_trust *trust, struct tbi_verdict *verdict)
{
    refuse(verdict, TBI_CLOSE_NOT_ALLOWED, TBQ_ERR_TRUST);
    if (!trust->set[TBI_TRUST_ALLOW]) { /* its text speaks of the allow list */
        tbi_text(verdict->text, sizeof verdict->text, "%s",
                 trust->ca != NULL ? "no certificate authority that is trusted here vouches for it"
                                   : "only who was dialled is known here");
    }
    return TBQ_ERR_TRUST;
}

int tbi_trust_ask(const struct tbi_trust *trust, const struct tbi_trust_query *query,
                  struct tbi_verdict *verdict)
{
    memset(verdict, 0, sizeof *verdict); /* TBI_CLOSE_NONE: accepted */

    if (query->id == NULL) {
        return refuse(verdict, TBI_CLOSE_NO_CERTIFICATE, TBQ_ERR_IDENTITY);
    }
    if (query->pin != NULL && tbq_peer_id_compare(query->id, query->pin) != 0) {
        return refuse(verdict, TBI_CLOSE_PIN, TBQ_ERR_IDENTITY);
    }
    if (listed(trust, TBI_TRUST_DENY, query->id)) {
        return refuse(verdict, TBI_CLOSE_DENIED, TBQ_ERR_TRUST);
    }
    if (listed(trust, TBI_TRUST_ALLOW, query->id)) {
        return 0;
    }
    if (trust->ca != NULL && tbi_ca_vouches(trust, query)) {
        return 0;
    }
    if (trust->first_use && query->dialled) {
        return tbi_known_ask(trust, query, verdict);
    }
    if (trust->set[TBI_TRUST_ALLOW] || trust->ca != NULL || trust->first_use) {
        return not_allowed(trust, verdict);
    }
    return 0;
}

bool tbi_trust_reads_chains(const struct tbi_trust *trust)
{
    return trust->ca != NULL;
}

const char *tbi_trust_name(const struct tbi_trust *trust)
{
    return trust->name;
}
