/* identity/trust.c - the lists, and the one place where a peer is let in or turned away. */
#include "identity/trust.h"

#include <string.h>

#include <tbquic/error.h>

#include "base/log.h"

#define ID_LEN (TBQ_PEER_ID_TEXT_SIZE - 1)

void tbi_trust_init(struct tbi_trust *trust, const struct tbi_alloc *alloc, struct tbi_rng *rng)
{
    memset(trust, 0, sizeof *trust);
    trust->alloc = alloc;
    tbi_rng_bytes(rng, trust->secret, sizeof trust->secret);
    for (int i = 0; i < TBI_TRUST_LISTS; i++) {
        tbi_map_init(&trust->list[i], alloc, trust->secret, TBQ_PEER_ID_SIZE, TBI_TRUST_LIST_MAX);
    }
}

void tbi_trust_free(struct tbi_trust *trust)
{
    for (int i = 0; i < TBI_TRUST_LISTS; i++) {
        tbi_map_free(&trust->list[i]);
        trust->set[i] = false;
    }
}

/* The next line, without its newline. */
static struct tbi_cursor next_line(struct tbi_cursor *c)
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

/* The first word of a line, up to white space or '#'; how long it is, which may be longer than
 * what fits into `word`. */
static size_t first_word(struct tbi_cursor *line, char word[TBQ_PEER_ID_TEXT_SIZE])
{
    size_t len = 0;
    bool begun = false;

    memset(word, 0, TBQ_PEER_ID_TEXT_SIZE);
    while (tbi_cur_left(line) > 0) {
        uint8_t byte = tbi_cur_u8(line);
        if (byte == '#' || (begun && is_space(byte))) {
            break;
        }
        if (!is_space(byte)) {
            begun = true;
            if (len < ID_LEN) {
                word[len] = (char)byte;
            }
            len++;
        }
    }
    return len;
}

/* Says what keeps a word of `len` bytes from being a peer id. The word itself is not shown: it is
 * bytes from a file that may be anything. */
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

/* Reads one line into the list. */
static int add_line(struct tbi_map *list, struct tbi_cursor line, size_t number, char *text,
                    size_t text_size)
{
    static const uint8_t present; /* the maps are sets: any pointer but NULL will do */
    char word[TBQ_PEER_ID_TEXT_SIZE];
    size_t len = first_word(&line, word);
    tbq_peer_id id;
    int rv;

    if (len == 0) {
        return 0;
    }
    if (len != ID_LEN || tbq_peer_id_from_text(&id, word) != 0) {
        explain(number, word, len, text, text_size);
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
        rv = add_line(&list, next_line(&c), number, text, text_size);
    }
    if (rv != 0) {
        tbi_map_free(&list);
        return rv;
    }
    tbi_map_free(&trust->list[which]);
    trust->list[which] = list;
    trust->set[which] = true;
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
    if (trust->set[TBI_TRUST_ALLOW] && !listed(trust, TBI_TRUST_ALLOW, query->id)) {
        return refuse(verdict, TBI_CLOSE_NOT_ALLOWED, TBQ_ERR_TRUST);
    }
    return 0;
}

const char *tbi_trust_name(const struct tbi_trust *trust)
{
    if (trust->set[TBI_TRUST_ALLOW]) {
        return trust->set[TBI_TRUST_DENY] ? "allow+deny" : "allow";
    }
    return trust->set[TBI_TRUST_DENY] ? "open+deny" : "open";
}
