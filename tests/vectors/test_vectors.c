/* tests/vectors/test_vectors.c - libtbquic against the golden bytes of docs/protocol.md.
 *
 * Every line is decoded, what came out is written as the text of its fields and compared, and
 * encoded again: so both directions are held to the file. TAP on standard output; the folder of
 * the vectors is the first argument. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/select.h"
#include "render.h"
#include "vectors.h"
#include "wire/frame.h"
#include "wire/kind.h"
#include "wire/record.h"

#define RAW_MAX 70000 /* bytes; the longest line is a PEER_LIST */

static const char *folder;
static int tests;
static int failures;

static void result(bool ok, const char *family, const char *name, const char *what)
{
    tests++;
    failures += ok ? 0 : 1;
    printf("%sok %d - %s/%s\n", ok ? "" : "not ", tests, family, name);
    if (!ok) {
        printf("# %s\n", what);
    }
}

static const char *short_name(int error)
{
    const char *name = tbq_error_name(error);

    return strncmp(name, "TBQ_ERR_", 8) == 0 ? name + 8 : name;
}

/* What a family knows: decode writes the fields as text, and the bytes that the encoder makes of
 * what was decoded. Returns 0 or the error. */
struct out {
    FILE *text;
    struct tbi_writer w;
};
typedef int decode_fn(const struct vector *v, struct out *out);

static void check(const char *family, const struct vector *v, decode_fn *decode)
{
    static uint8_t again[RAW_MAX];
    struct out out;
    char *text = NULL;
    size_t size = 0;
    char what[512] = "";
    bool same;
    int rv;

    out.text = open_memstream(&text, &size);
    if (out.text == NULL) {
        result(false, family, v->name, "out of memory");
        return;
    }
    tbi_put_init(&out.w, again, sizeof again);
    rv = decode(v, &out);
    fclose(out.text);
    same = tbi_put_error(&out.w) == 0 && tbi_put_size(&out.w) == v->size &&
           memcmp(again, v->raw, v->size) == 0;
    if (v->error != NULL) {
        if (rv == 0 || strcmp(short_name(rv), v->error) != 0) {
            snprintf(what, sizeof what, "decodes to %s, not to %s", short_name(rv), v->error);
        }
    } else if (rv != 0) {
        snprintf(what, sizeof what, "decodes to error %s", short_name(rv));
    } else if (strcmp(text, v->fields) != 0) {
        snprintf(what, sizeof what, "decodes to %.400s", text);
    } else if (tbi_put_error(&out.w) != 0) {
        snprintf(what, sizeof what, "cannot be encoded: %s", short_name(tbi_put_error(&out.w)));
    } else if (same == v->lenient) {
        snprintf(what, sizeof what, "encodes to %s bytes", same ? "the same" : "other");
    }
    result(what[0] == '\0', family, v->name, what);
    free(text);
}

/* --- Numbers and the fronts of streams ------------------------------------------------------- */

static int decode_varint(const struct vector *v, struct out *out)
{
    struct tbi_cursor c;
    uint64_t value;

    tbi_cur_init(&c, v->raw, v->size);
    value = tbi_cur_varint(&c);
    fprintf(out->text, "value=%" PRIu64, value);
    tbi_put_varint(&out->w, value);
    return tbi_cur_finish(&c);
}

static int decode_prologue(const struct vector *v, struct out *out)
{
    struct tbi_prologue p;
    size_t used = 0;
    int rv = tbi_get_prologue(v->raw, v->size, &p, &used);

    if (rv != 0) {
        return rv;
    }
    if (p.type == TBI_STREAM_CONTROL) {
        fprintf(out->text, "stream=control");
    } else if (p.type == TBI_STREAM_UNORDERED) {
        fprintf(out->text, "stream=unordered lane=%d", (int)p.lane);
    } else if (p.type == TBI_STREAM_ASIDE) {
        fprintf(out->text, "stream=aside lane=%d", (int)p.lane);
    } else if (p.type == TBI_STREAM_LANE) {
        fprintf(out->text, "stream=lane lane=%d", (int)p.lane);
    } else {
        fprintf(out->text, "stream=unknown type=%" PRIu64, p.type);
    }
    tbi_put_prologue(&out->w, &p);
    return used == v->size ? 0 : TBQ_ERR_MALFORMED;
}

/* --- Frames ---------------------------------------------------------------------------------- */

/* A whole frame that lies in one piece, as the owner of a stream takes it; *c moves on. */
static int take_frame(struct tbi_cursor *c, uint64_t *type, const uint8_t **body, size_t *size)
{
    struct tbi_frame_reader r;
    bool complete;

    tbi_frame_reader_init(&r);
    if (tbi_frame_step(&r, c, body, size, &complete) != TBI_STEP_HEAD) {
        return tbi_cur_error(c) != 0 ? tbi_cur_error(c) : TBQ_ERR_MALFORMED;
    }
    *type = r.type;
    if (r.type < TBI_FRAME_MESSAGE && r.type % 2 == 0 && r.length > TBI_CONTROL_FRAME_MAX) {
        return TBQ_ERR_LIMIT;
    }
    if (tbi_frame_step(&r, c, body, size, &complete) != TBI_STEP_BODY || !complete) {
        return TBQ_ERR_MALFORMED;
    }
    return 0;
}

static int decode_frame(const struct vector *v, struct out *out)
{
    struct tbi_cursor c;
    const uint8_t *body = NULL;
    uint64_t type = 0;
    size_t size = 0;
    int rv;

    tbi_cur_init(&c, v->raw, v->size);
    rv = take_frame(&c, &type, &body, &size);
    if (rv == 0) {
        rv = render_frame(type, body, size, out->text, &out->w);
    }
    return rv != 0 ? rv : tbi_cur_finish(&c);
}

/* --- Kinds ----------------------------------------------------------------------------------- */

static int decode_kind(const struct vector *v, struct out *out)
{
    char name[32] = "";
    struct tbi_cursor c;

    vector_get(v, "kind", name, sizeof name);
    tbi_cur_init(&c, v->raw, v->size);
    for (int kind = TBQ_PING; kind <= TBQ_BODY; kind++) {
        if (strcmp(tbq_kind_name(kind), name) == 0) {
            return render_kind((tbq_kind)kind, c, out->text, &out->w);
        }
    }
    return TBQ_ERR_INVALID;
}

/* --- Records, ids, scores -------------------------------------------------------------------- */

static int decode_record(const struct vector *v, struct out *out)
{
    struct tbi_crypto crypto;
    struct tbi_record r;
    struct tbi_cursor c;
    uint8_t seed[32], sealed[TBI_RECORD_SIZE_MAX];
    char text[65] = "";
    bool has_seed = vector_get(v, "seed", text, sizeof text);
    size_t size = 0;
    int rv;

    tbi_cur_init(&c, v->raw, v->size);
    rv = tbi_get_record(c, &r);
    if (rv != 0) {
        return rv;
    }
    crypto = render_crypto(NULL, NULL);
    rv = tbi_record_verify(&r, &crypto);
    if (rv != 0) {
        return rv;
    }
    if (!has_seed) { /* a lenient line: what is left out cannot be sealed again */
        render_record(&r, NULL, out->text);
        return 0;
    }
    if (vectors_hex(text, strlen(text), seed, sizeof seed) != sizeof seed) {
        return TBQ_ERR_INVALID;
    }
    crypto = render_crypto(seed, r.key);
    rv = tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size);
    tbi_put_bytes(&out->w, sealed, rv == 0 ? size : 0);
    render_record(&r, text, out->text);
    return rv;
}

static int decode_id(const struct vector *v, struct out *out)
{
    char key_text[65] = "", text[128] = "", back[TBQ_PEER_ID_TEXT_SIZE];
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    tbq_peer_id id, from_text;
    int rv;

    vector_get(v, "text", text, sizeof text);
    rv = tbq_peer_id_from_text(&from_text, text);
    if (rv != 0 || v->error != NULL) {
        return rv;
    }
    vector_get(v, "key", key_text, sizeof key_text);
    if (vectors_hex(key_text, strlen(key_text), key, sizeof key) != sizeof key) {
        return TBQ_ERR_INVALID;
    }
    rv = tbq_peer_id_from_key(&id, key);
    if (rv != 0) {
        return rv;
    }
    tbq_peer_id_to_text(&id, back);
    fprintf(out->text, "key=%s text=%s", key_text, back);
    tbi_put_bytes(&out->w, from_text.bytes, sizeof from_text.bytes);
    return tbq_peer_id_compare(&id, &from_text) == 0 ? 0 : TBQ_ERR_IDENTITY;
}

static int decode_score(const struct vector *v, struct out *out)
{
    struct tbi_crypto crypto = render_crypto(NULL, NULL);
    char key_text[1025] = "", node_text[65] = "";
    uint8_t key[512];
    tbq_peer_id node;
    uint64_t score = 0;
    size_t size;
    int rv;

    vector_get(v, "key", key_text, sizeof key_text);
    vector_get(v, "node", node_text, sizeof node_text);
    size = vectors_hex(key_text, strlen(key_text), key, sizeof key);
    if (size == SIZE_MAX || vectors_hex(node_text, strlen(node_text), node.bytes, 32) != 32) {
        return TBQ_ERR_INVALID;
    }
    rv = tbi_node_score(&crypto, key, size, &node, &score);
    fprintf(out->text, "key=%s node=%s score=%" PRIu64, key_text, node_text, score);
    for (int i = 0; i < 8; i++) {
        tbi_put_u8(&out->w, (uint8_t)(score >> 8 * i));
    }
    return rv;
}

/* --- Choices by key -------------------------------------------------------------------------- */

static int decode_distance(const struct vector *v, struct out *out)
{
    char text[32] = "";

    vector_get(v, "score", text, sizeof text);
    uint64_t score = strtoull(text, NULL, 10);
    uint64_t distance = tbi_select_distance(score);
    fprintf(out->text, "score=%" PRIu64 " distance=%" PRIu64, score, distance);
    tbi_put_u64(&out->w, distance);
    return 0;
}

#define CANDIDATES_MAX 16

/* "PEERID/CAPACITY/LOAD,..." */
static size_t read_candidates(char *text, struct tbi_candidate *c)
{
    char *save = NULL;
    size_t n = 0;

    for (char *p = strtok_r(text, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save), n++) {
        char *capacity = strchr(p, '/');
        char *load = capacity != NULL ? strchr(capacity + 1, '/') : NULL;
        if (n == CANDIDATES_MAX || load == NULL ||
            vectors_hex(p, (size_t)(capacity - p), c[n].id.bytes, TBQ_PEER_ID_SIZE) !=
                TBQ_PEER_ID_SIZE) {
            return 0;
        }
        c[n].load.capacity = (uint16_t)strtoul(capacity + 1, NULL, 10); /* "none": 0 */
        c[n].load.told = strcmp(load + 1, "none") != 0;
        c[n].load.load = (uint16_t)strtoul(load + 1, NULL, 10);
    }
    return n;
}

static int decode_order(const struct vector *v, struct out *out)
{
    struct tbi_crypto crypto = render_crypto(NULL, NULL);
    struct tbi_candidate given[CANDIDATES_MAX] = {0}, c[CANDIDATES_MAX];
    struct tbi_selection how = {.policy = TBQ_SELECT_RENDEZVOUS};
    tbq_peer_id ids[CANDIDATES_MAX];
    char text[4096] = "", key_text[256] = "";
    uint8_t key[128];

    vector_get(v, "key", key_text, sizeof key_text);
    vector_get(v, "candidates", text, sizeof text);
    fprintf(out->text, "key=%s candidates=%s", key_text, text);
    how.key = (tbq_bytes){key, vectors_hex(key_text, strlen(key_text), key, sizeof key)};
    size_t n = read_candidates(text, given);
    if (n == 0 || how.key.size == SIZE_MAX) {
        return TBQ_ERR_INVALID;
    }
    memcpy(c, given, sizeof c);
    int rv = tbi_select(&how, &crypto, NULL, c, n, ids, n);
    for (int i = 0; i < rv; i++) {
        uint8_t place = 0;
        while (tbq_peer_id_compare(&given[place].id, &ids[i]) != 0) {
            place++;
        }
        tbi_put_u8(&out->w, place);
    }
    return rv < 0 ? rv : 0;
}

/* --- Codes: every number of the headers stands in the file, and none besides ------------------ */

struct code {
    const char *family;
    const char *name;
    uint64_t number;
};

#define STREAM_CODE(name) {"stream", #name, TBI_STREAM_##name},
#define FRAME_CODE(name, type, body) {"frame", #name, type},
#define KIND_CODE(name) {"kind", #name, TBQ_##name},
#define FLAG_CODE(name) {"flag", #name, TBI_MESSAGE_##name},
#define DECLINE_CODE(name, code, text) {"decline", #name, code},
#define CLOSE_CODE(name, code, text) {"close", #name, code},
#define ERROR_CODE(name, number, text) {"error", #name, -(number)},
#define STATUS_CODE(name) {"status", #name, TBQ_RESPONSE_##name},
static const struct code codes[] = {
    STREAM_CODE(CONTROL) STREAM_CODE(UNORDERED) STREAM_CODE(ASIDE) STREAM_CODE(LANE)
        TBI_FRAME_MAP(FRAME_CODE) KIND_CODE(PING) KIND_CODE(PONG) KIND_CODE(DISCOVER)
            KIND_CODE(ANNOUNCE) KIND_CODE(PEER_LIST) KIND_CODE(TRANSITION)
                KIND_CODE(RESOURCE_REQUEST) KIND_CODE(RESOURCE_RESPONSE) KIND_CODE(ERROR)
                    KIND_CODE(BODY) FLAG_CODE(REPEAT) FLAG_CODE(SKIPPABLE)
                        TBI_DECLINE_MAP(DECLINE_CODE) TBI_CLOSE_MAP(CLOSE_CODE)
                            TBQ_ERROR_MAP(ERROR_CODE) STATUS_CODE(OK) STATUS_CODE(NOT_FOUND)
                                STATUS_CODE(REFUSED) STATUS_CODE(FAILED)};
#define CODES_LEN (sizeof codes / sizeof codes[0])

static int decode_code(const struct vector *v, struct out *out)
{
    char family[16] = "";
    struct tbi_cursor c;
    uint64_t number;

    vector_get(v, "family", family, sizeof family);
    tbi_cur_init(&c, v->raw, v->size);
    number = tbi_cur_varint(&c);
    for (size_t i = 0; i < CODES_LEN; i++) {
        if (codes[i].number == number && strcmp(codes[i].family, family) == 0) {
            fprintf(out->text, "family=%s name=%s", family, codes[i].name);
            tbi_put_varint(&out->w, codes[i].number);
        }
    }
    return tbi_cur_finish(&c);
}

static void check_codes_complete(const struct vectors *v)
{
    char text[128];

    for (size_t i = 0; i < CODES_LEN; i++) {
        bool found = false;
        snprintf(text, sizeof text, "family=%s name=%s", codes[i].family, codes[i].name);
        for (size_t j = 0; j < v->len && !found; j++) {
            found = strcmp(v->at[j].fields, text) == 0;
        }
        if (!found) {
            result(false, "codes", text, "a number of the headers is not in the file");
        }
    }
    result(v->len == CODES_LEN, "codes", "complete", "the file and the headers differ in length");
}

/* --- The exchange: whole streams, in pieces of every size ------------------------------------- */

struct table {
    const char *family;
    decode_fn *decode;
    struct vectors v;
};

static struct table tables[] = {
    {.family = "varints", .decode = decode_varint},
    {.family = "prologues", .decode = decode_prologue},
    {.family = "frames", .decode = decode_frame},
    {.family = "kinds", .decode = decode_kind},
    {.family = "records", .decode = decode_record},
    {.family = "ids", .decode = decode_id},
    {.family = "scores", .decode = decode_score},
    {.family = "distances", .decode = decode_distance},
    {.family = "orders", .decode = decode_order},
    {.family = "codes", .decode = decode_code},
};
#define TABLES_LEN (sizeof tables / sizeof tables[0])

/* Renders a stream's frames as it comes in pieces of `step` bytes. */
static int render_stream(const struct vector *v, size_t at, size_t step, FILE *text)
{
    static uint8_t collected[RAW_MAX], again[RAW_MAX];
    struct tbi_frame_reader r;
    size_t have = 0;
    int rv = 0;

    tbi_frame_reader_init(&r);
    for (; at < v->size && rv == 0; at += step) {
        struct tbi_cursor c;
        enum tbi_frame_step found;
        size_t left = v->size - at;
        tbi_cur_init(&c, v->raw + at, left < step ? left : step);
        do {
            const uint8_t *body;
            size_t size;
            bool complete;
            struct tbi_writer w;
            found = tbi_frame_step(&r, &c, &body, &size, &complete);
            if (found == TBI_STEP_ERROR || have + size > sizeof collected) {
                return TBQ_ERR_LIMIT;
            }
            memcpy(collected + have, body != NULL ? body : collected, size);
            have += size;
            if (found == TBI_STEP_BODY && complete) {
                tbi_put_init(&w, again, sizeof again);
                fputc(' ', text);
                rv = render_frame(r.type, collected, have, text, &w);
                have = 0;
            }
        } while (found != TBI_STEP_NEED_MORE && rv == 0);
    }
    return rv;
}

static const struct vector *find_part(const char *part)
{
    const char *slash = strchr(part, '/');

    for (size_t i = 0; slash != NULL && i < TABLES_LEN; i++) {
        if (strlen(tables[i].family) == (size_t)(slash - part) &&
            strncmp(tables[i].family, part, (size_t)(slash - part)) == 0) {
            return vectors_find(&tables[i].v, slash + 1);
        }
    }
    return NULL;
}

/* Joins the parts: their bytes, and behind the first (what the stream begins with) their fields. */
static bool join_parts(char *parts, uint8_t *raw, size_t *size, size_t *begin, FILE *text)
{
    char *save = NULL;

    *size = *begin = 0;
    for (char *p = strtok_r(parts, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
        const struct vector *v = find_part(p);
        if (v == NULL || v->error != NULL || *size + v->size > RAW_MAX) {
            return false;
        }
        memcpy(raw + *size, v->raw, v->size);
        *size += v->size;
        if (*begin == 0) {
            *begin = v->size;
        } else {
            fprintf(text, " %s", v->fields);
        }
    }
    return true;
}

static const char *exchange_fault(const struct vector *v, const char *want, size_t begin)
{
    for (size_t step = 1; step <= v->size; step++) {
        char *got = NULL;
        size_t size = 0;
        FILE *text = open_memstream(&got, &size);
        int rv = text == NULL ? TBQ_ERR_NOMEM : render_stream(v, begin, step, text);
        bool same;
        if (text != NULL) {
            fclose(text);
        }
        same = rv == 0 && strcmp(got, want) == 0;
        free(got);
        if (!same) {
            return "reads as something else in some size of pieces";
        }
    }
    return NULL;
}

static void check_exchange(const struct vector *v)
{
    static uint8_t raw[RAW_MAX];
    char parts[1024] = "", *want = NULL;
    const char *fault;
    size_t size = 0, begin = 0, want_size = 0;
    FILE *text = open_memstream(&want, &want_size);
    bool joined;

    if (text == NULL) {
        result(false, "exchange", v->name, "out of memory");
        return;
    }
    vector_get(v, "parts", parts, sizeof parts);
    joined = join_parts(parts, raw, &size, &begin, text);
    fclose(text);
    if (!joined || size != v->size || memcmp(raw, v->raw, size) != 0) {
        fault = "the parts do not make these bytes";
    } else {
        fault = exchange_fault(v, want, begin);
    }
    result(fault == NULL, "exchange", v->name, fault);
    free(want);
}

int main(int argc, char **argv)
{
    struct vectors exchange;

    folder = argc > 1 ? argv[1] : getenv("VECTORS_DIR");
    if (folder == NULL) {
        folder = ".";
    }
    for (size_t i = 0; i < TABLES_LEN; i++) {
        vectors_load(&tables[i].v, folder, tables[i].family);
        for (size_t j = 0; j < tables[i].v.len; j++) {
            check(tables[i].family, &tables[i].v.at[j], tables[i].decode);
        }
    }
    check_codes_complete(&tables[TABLES_LEN - 1].v);
    vectors_load(&exchange, folder, "exchange");
    for (size_t i = 0; i < exchange.len; i++) {
        check_exchange(&exchange.at[i]);
    }
    vectors_free(&exchange);
    for (size_t i = 0; i < TABLES_LEN; i++) {
        vectors_free(&tables[i].v);
    }
    printf("1..%d\n", tests);
    return failures == 0 ? 0 : 1;
}
