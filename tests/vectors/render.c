/* tests/vectors/render.c - one function per frame and kind: fields as text, bytes again. */
#include "render.h"

#include <inttypes.h>
#include <string.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>

#define U64 "%" PRIu64

static void put_hex(FILE *text, const uint8_t *data, size_t size)
{
    if (size == 0) {
        fputc('-', text);
    }
    for (size_t i = 0; i < size; i++) {
        fprintf(text, "%02x", data[i]);
    }
}

static void put_addr(FILE *text, const struct tbi_addr *a)
{
    char buffer[TBI_ADDR_TEXT_SIZE];

    tbi_addr_to_text(a, buffer);
    fputs(buffer, text);
}

/* --- Frames ---------------------------------------------------------------------------------- */

static int hello(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_hello f;
    int rv = tbi_get_hello(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=hello minor=" U64 " features=" U64 " boot_id=", f.minor, f.features);
    put_hex(text, f.boot_id, sizeof f.boot_id);
    fprintf(text, " idle_timeout_ms=" U64 " max_message_size=" U64, f.idle_timeout_ms,
            f.max_message_size);
    fputs(f.beside ? " beside=1" : "", text);
    tbi_put_hello(w, &f);
    return 0;
}

static int confirm(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_confirm f;
    int rv = tbi_get_confirm(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=confirm incarnation=" U64 " observed=", f.incarnation);
    if (f.observed.len == 0) {
        fputs("none", text);
    } else {
        put_addr(text, &f.observed);
    }
    fprintf(text, " known=" U64 " record=", f.known);
    if (f.record == NULL) {
        fputs("none", text);
    } else {
        put_hex(text, f.record, f.record_size);
    }
    fprintf(text, " base=" U64 "," U64 "," U64 "," U64, f.base[0], f.base[1], f.base[2], f.base[3]);
    tbi_put_confirm(w, &f);
    return 0;
}

static void put_set(FILE *text, const struct tbi_ack_set *s)
{
    fprintf(text, U64, s->below);
    for (size_t i = 0; i < s->ranges_len; i++) {
        fprintf(text, ";" U64 "+" U64, s->ranges[i].from, s->ranges[i].count);
    }
}

static int ack(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_ack f;
    int rv = tbi_get_ack(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=ack lane=%d received=", (int)f.lane);
    put_set(text, &f.received);
    fputs(" taken=", text);
    put_set(text, &f.taken);
    tbi_put_ack(w, &f);
    return 0;
}

static int skip(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_numbers f;
    int rv = tbi_get_numbers(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=skip lane=%d numbers=", (int)f.lane);
    for (size_t i = 0; i < f.len; i++) {
        fprintf(text, "%s" U64, i == 0 ? "" : ",", f.number[i]);
    }
    tbi_put_numbers(w, &f);
    return 0;
}

static int declined(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_declined f;
    int rv = tbi_get_declined(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=declined lane=%d entries=", (int)f.lane);
    for (size_t i = 0; i < f.len; i++) {
        fprintf(text, "%s" U64 ":" U64, i == 0 ? "" : ",", f.entry[i].number, f.entry[i].code);
    }
    tbi_put_declined(w, &f);
    return 0;
}

static int settled(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_settled f;
    int rv = tbi_get_settled(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=settled lane=%d below=" U64, (int)f.lane, f.below);
    tbi_put_settled(w, &f);
    return 0;
}

static int message(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_message f;
    const uint8_t *body;
    size_t size;
    int rv = tbi_get_message_head(&c, &f);

    if (rv != 0) {
        return rv;
    }
    body = tbi_cur_rest(&c, &size);
    fprintf(text, "frame=message number=" U64 " flags=" U64 " kind=" U64 " body=", f.number,
            f.flags, f.kind);
    put_hex(text, body, size);
    tbi_put_message_head(w, &f, size);
    tbi_put_bytes(w, body, size);
    return 0;
}

static int elsewhere(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_elsewhere f;
    int rv = tbi_get_elsewhere(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=elsewhere number=" U64, f.number);
    tbi_put_elsewhere(w, &f);
    return 0;
}

static int busy(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_busy f;
    int rv = tbi_get_busy(c, &f);

    if (rv != 0) {
        return rv;
    }
    fputs(f.len == 0 ? "frame=busy records=none" : "frame=busy records=", text);
    for (size_t i = 0; i < f.len; i++) {
        fputs(i == 0 ? "" : ",", text);
        put_hex(text, f.at[i].record, f.at[i].size);
    }
    tbi_put_busy(w, &f);
    return 0;
}

static int rest(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_rest f;
    int rv = tbi_get_rest(c, &f);

    if (rv == 0) {
        fputs("frame=rest", text);
        tbi_put_rest(w, &f);
    }
    return rv;
}

static int early_ping(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_early_ping f;
    int rv = tbi_get_early_ping(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=early_ping id=" U64, f.id);
    tbi_put_early_ping(w, &f);
    return 0;
}

static int early_pong(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_early_pong f;
    int rv = tbi_get_early_pong(c, &f);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, "frame=early_pong id=" U64 " wall_ms=" U64, f.id, f.wall_ms);
    tbi_put_early_pong(w, &f);
    return 0;
}

static int unknown(uint64_t type, const uint8_t *body, size_t size, FILE *text,
                   struct tbi_writer *w)
{
    if (type % 2 == 0) {
        return TBQ_ERR_UNSUPPORTED;
    }
    fprintf(text, "frame=unknown type=" U64 " body=", type);
    put_hex(text, body, size);
    tbi_put_varint(w, type);
    tbi_put_prefixed(w, body, size);
    return 0;
}

int render_frame(uint64_t type, const uint8_t *body, size_t size, FILE *text, struct tbi_writer *w)
{
    struct tbi_cursor c;

    tbi_cur_init(&c, body, size);
    switch (type) {
    case TBI_FRAME_HELLO:
        return hello(c, text, w);
    case TBI_FRAME_CONFIRM:
        return confirm(c, text, w);
    case TBI_FRAME_ACK:
        return ack(c, text, w);
    case TBI_FRAME_SKIP:
        return skip(c, text, w);
    case TBI_FRAME_DECLINED:
        return declined(c, text, w);
    case TBI_FRAME_SETTLED:
        return settled(c, text, w);
    case TBI_FRAME_MESSAGE:
        return message(c, text, w);
    case TBI_FRAME_ELSEWHERE:
        return elsewhere(c, text, w);
    case TBI_FRAME_BUSY:
        return busy(c, text, w);
    case TBI_FRAME_REST:
        return rest(c, text, w);
    case TBI_FRAME_EARLY_PING:
        return early_ping(c, text, w);
    case TBI_FRAME_EARLY_PONG:
        return early_pong(c, text, w);
    default:
        return unknown(type, body, size, text, w);
    }
}

/* --- Kinds ----------------------------------------------------------------------------------- */

static void put_load(FILE *text, const struct tbi_load *l)
{
    if (l->told) {
        fprintf(text, " load=%u", l->load);
    }
    if (l->capacity != 0) {
        fprintf(text, " capacity=%u", l->capacity);
    }
}

static int ping(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_ping m;
    int rv = tbi_get_ping(c, &m);

    if (rv == 0) {
        fprintf(text, " id=" U64 " wall_ms=" U64, m.id, m.wall_ms);
        put_load(text, &m.load);
        tbi_put_ping(w, &m);
    }
    return rv;
}

static int pong(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_pong m;
    int rv = tbi_get_pong(c, &m);

    if (rv == 0) {
        fprintf(text, " id=" U64 " echo_wall_ms=" U64 " wall_ms=" U64, m.id, m.echo_wall_ms,
                m.wall_ms);
        put_load(text, &m.load);
        tbi_put_pong(w, &m);
    }
    return rv;
}

static int discover(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_discover m;
    int rv = tbi_get_discover(c, &m);

    if (rv == 0) {
        fprintf(text, " max=" U64 " capabilities=" U64, m.max, m.capabilities);
        tbi_put_discover(w, &m);
    }
    return rv;
}

static int announce(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_announce m;
    int rv = tbi_get_announce(c, &m);

    if (rv == 0) {
        fputs(" record=", text);
        put_hex(text, m.record, m.record_size);
        tbi_put_announce(w, &m);
    }
    return rv;
}

static int peer_list(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_peer_list m;
    int rv = tbi_get_peer_list(c, &m);

    if (rv != 0) {
        return rv;
    }
    fputs(m.len == 0 ? " records=none" : " records=", text);
    for (size_t i = 0; i < m.len; i++) {
        fputs(i == 0 ? "" : ",", text);
        put_hex(text, m.at[i].record, m.at[i].size);
    }
    tbi_put_peer_list(w, &m);
    return 0;
}

static int request(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_resource_request m;
    int rv = tbi_get_resource_request(c, &m);

    if (rv == 0) {
        fprintf(text, " id=" U64 " timeout_ms=" U64 " data=", m.id, m.timeout_ms);
        put_hex(text, m.data, m.size);
        tbi_put_resource_request(w, &m);
        tbi_put_bytes(w, m.data, m.size);
    }
    return rv;
}

static int response(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_resource_response m;
    int rv = tbi_get_resource_response(c, &m);

    if (rv == 0) {
        fprintf(text, " id=" U64 " status=" U64 " data=", m.id, m.status);
        put_hex(text, m.data, m.size);
        tbi_put_resource_response(w, &m);
        tbi_put_bytes(w, m.data, m.size);
    }
    return rv;
}

static int error(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_error_body m;
    int rv = tbi_get_error_body(c, &m);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, " code=" U64 " subject=", m.code);
    if (m.has_subject) {
        fprintf(text, U64 ":" U64, m.lane, m.number);
    } else {
        fputs("none", text);
    }
    fputs(" text=", text);
    put_hex(text, m.text, m.text_size);
    tbi_put_error_body(w, &m);
    return 0;
}

static int transition(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    size_t size;
    const uint8_t *data = tbi_cur_rest(&c, &size);

    fputs(" data=", text);
    put_hex(text, data, size);
    tbi_put_bytes(w, data, size);
    return tbi_cur_finish(&c);
}

static int body(struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    struct tbi_body_part m;
    int rv = tbi_get_body_part(c, &m);

    if (rv != 0) {
        return rv;
    }
    fprintf(text, " id=" U64 " what=" U64 " offset=" U64 " length=", m.id, m.what, m.offset);
    if (m.length == TBQ_LENGTH_UNKNOWN) {
        fputs("unknown", text);
    } else {
        fprintf(text, U64, m.length);
    }
    fputs(" data=", text);
    put_hex(text, m.data, m.size);
    tbi_put_body_part(w, &m);
    tbi_put_bytes(w, m.data, m.size);
    return 0;
}

int render_kind(tbq_kind kind, struct tbi_cursor c, FILE *text, struct tbi_writer *w)
{
    static int (*const by_kind[])(struct tbi_cursor, FILE *, struct tbi_writer *) = {
        [TBQ_PING] = ping,
        [TBQ_PONG] = pong,
        [TBQ_DISCOVER] = discover,
        [TBQ_ANNOUNCE] = announce,
        [TBQ_PEER_LIST] = peer_list,
        [TBQ_TRANSITION] = transition,
        [TBQ_RESOURCE_REQUEST] = request,
        [TBQ_RESOURCE_RESPONSE] = response,
        [TBQ_ERROR] = error,
        [TBQ_BODY] = body,
    };

    fprintf(text, "kind=%s", tbq_kind_name((int)kind));
    return by_kind[kind](c, text, w);
}

/* --- Records --------------------------------------------------------------------------------- */

void render_record(const struct tbi_record *r, const char *seed, FILE *text)
{
    if (seed != NULL) {
        fprintf(text, "seed=%s ", seed);
    }
    fputs("key=", text);
    put_hex(text, r->key, sizeof r->key);
    fprintf(text, " sequence=" U64 " role=" U64 " capabilities=" U64 " addresses=", r->sequence,
            r->role, r->capabilities);
    if (r->addresses_len == 0) {
        fputs("none", text);
    }
    for (size_t i = 0; i < r->addresses_len; i++) {
        const struct tbi_record_address *a = &r->address[i];
        fprintf(text, "%s" U64 "/", i == 0 ? "" : ",", a->kind);
        if (a->kind == TBI_ADDRESS_VIA) {
            put_hex(text, a->via.bytes, sizeof a->via.bytes);
        } else {
            put_addr(text, &a->addr);
        }
    }
    fputs(" signature=", text);
    put_hex(text, r->signature, sizeof r->signature);
}

/* --- Signatures, straight from GnuTLS: the vectors need no lib/identity ----------------------- */

static struct {
    gnutls_datum_t seed;
    gnutls_datum_t key;
    uint8_t bytes[64];
} signer;

static int crypto_sign(void *self, const void *data, size_t size,
                       uint8_t signature[TBI_SIGNATURE_SIZE])
{
    gnutls_datum_t text = {(unsigned char *)(uintptr_t)data, (unsigned)size};
    gnutls_datum_t out = {NULL, 0};
    gnutls_privkey_t key;
    int rv;

    (void)self;
    if (gnutls_privkey_init(&key) < 0) {
        return TBQ_ERR_TLS;
    }
    rv = gnutls_privkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_ED25519, &signer.key, NULL,
                                       &signer.seed);
    if (rv >= 0) {
        rv = gnutls_privkey_sign_data2(key, GNUTLS_SIGN_EDDSA_ED25519, 0, &text, &out);
    }
    if (rv >= 0 && out.size == TBI_SIGNATURE_SIZE) {
        memcpy(signature, out.data, out.size);
    }
    rv = rv < 0 || out.size != TBI_SIGNATURE_SIZE ? TBQ_ERR_TLS : 0;
    gnutls_free(out.data);
    gnutls_privkey_deinit(key);
    return rv;
}

static int crypto_verify(void *self, const uint8_t key[32], const void *data, size_t size,
                         const uint8_t signature[TBI_SIGNATURE_SIZE])
{
    gnutls_datum_t x = {(unsigned char *)(uintptr_t)key, 32};
    gnutls_datum_t text = {(unsigned char *)(uintptr_t)data, (unsigned)size};
    gnutls_datum_t sig = {(unsigned char *)(uintptr_t)signature, TBI_SIGNATURE_SIZE};
    gnutls_pubkey_t pubkey;
    int rv;

    (void)self;
    if (gnutls_pubkey_init(&pubkey) < 0) {
        return TBQ_ERR_TLS;
    }
    rv = gnutls_pubkey_import_ecc_raw(pubkey, GNUTLS_ECC_CURVE_ED25519, &x, NULL);
    if (rv >= 0) {
        rv = gnutls_pubkey_verify_data2(pubkey, GNUTLS_SIGN_EDDSA_ED25519, 0, &text, &sig);
    }
    gnutls_pubkey_deinit(pubkey);
    return rv < 0 ? TBQ_ERR_IDENTITY : 0;
}

static int crypto_hash(void *self, const void *data, size_t size, uint8_t hash[TBI_HASH_SIZE])
{
    (void)self;
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, data, size, hash) < 0 ? TBQ_ERR_TLS : 0;
}

struct tbi_crypto render_crypto(const uint8_t seed[32], const uint8_t key[32])
{
    if (seed != NULL) {
        memcpy(signer.bytes, seed, 32);
        memcpy(signer.bytes + 32, key, 32);
        signer.seed = (gnutls_datum_t){signer.bytes, 32};
        signer.key = (gnutls_datum_t){signer.bytes + 32, 32};
    }
    return (struct tbi_crypto){.sign = crypto_sign, .verify = crypto_verify, .hash = crypto_hash};
}
