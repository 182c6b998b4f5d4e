/* wire/record.c - signed peer records, and the score by which nodes are chosen for a key. */
#include "wire/record.h"

#include <string.h>

#include <tbquic/error.h>

#include "wire/fields.h"

/* The NUL at the end of the domain is part of what is signed. */
#define DOMAIN_SIZE sizeof(TBI_RECORD_DOMAIN)

static void put_record_address(struct tbi_writer *w, const struct tbi_record_address *a)
{
    if (a->kind > TBI_ADDRESS_VIA) {
        tbi_put_fail(w, TBQ_ERR_INTERNAL);
        return;
    }
    tbi_put_varint(w, a->kind);
    if (a->kind == TBI_ADDRESS_VIA) {
        tbi_put_prefixed(w, a->via.bytes, sizeof a->via.bytes);
    } else {
        tbi_put_address(w, &a->addr);
    }
}

/* Reads one address; false when its kind is not known: it is left out. */
static bool get_record_address(struct tbi_cursor *c, struct tbi_record_address *a)
{
    struct tbi_cursor value;
    int rv;

    memset(a, 0, sizeof *a);
    a->kind = tbi_cur_varint(c);
    value = tbi_cur_prefixed(c, TBI_RECORD_SIZE_MAX);
    if (tbi_cur_error(c) != 0 || a->kind > TBI_ADDRESS_VIA) {
        return false;
    }
    if (a->kind == TBI_ADDRESS_VIA) {
        tbi_cur_copy(&value, a->via.bytes, sizeof a->via.bytes);
    } else {
        tbi_get_address(&value, &a->addr);
    }
    rv = tbi_cur_finish(&value);
    if (rv != 0) {
        tbi_cur_fail(c, rv);
    }
    return rv == 0;
}

int tbi_get_record(struct tbi_cursor c, struct tbi_record *r)
{
    size_t size = tbi_cur_left(&c);
    struct tbi_cursor body;
    uint64_t count;

    memset(r, 0, sizeof *r);
    if (size > TBI_RECORD_SIZE_MAX || size < TBI_SIGNATURE_SIZE) {
        tbi_cur_fail(&c, TBQ_ERR_MALFORMED);
        return tbi_cur_error(&c);
    }
    r->signed_size = size - TBI_SIGNATURE_SIZE;
    r->signed_bytes = tbi_cur_take(&c, r->signed_size);
    tbi_cur_copy(&c, r->signature, sizeof r->signature);
    if (tbi_cur_finish(&c) != 0) {
        return tbi_cur_error(&c);
    }

    tbi_cur_init(&body, r->signed_bytes, r->signed_size);
    tbi_cur_copy(&body, r->key, sizeof r->key);
    r->sequence = tbi_cur_varint(&body);
    r->role = tbi_cur_varint(&body);
    r->capabilities = tbi_cur_varint(&body);
    count = tbi_cur_varint_in(&body, 0, TBI_RECORD_ADDRESSES_MAX);
    for (uint64_t i = 0; i < count && tbi_cur_error(&body) == 0; i++) {
        if (get_record_address(&body, &r->address[r->addresses_len])) {
            r->addresses_len++;
        }
    }
    tbi_fields_skip(&body);
    return tbi_cur_finish(&body);
}

int tbi_record_seal(const struct tbi_record *r, const struct tbi_crypto *crypto, uint8_t *to,
                    size_t capacity, size_t *size)
{
    uint8_t text[DOMAIN_SIZE + TBI_RECORD_SIZE_MAX] = TBI_RECORD_DOMAIN;
    uint8_t *record = text + DOMAIN_SIZE;
    size_t body_size;
    struct tbi_writer w;
    int rv;

    tbi_put_init(&w, record, TBI_RECORD_SIZE_MAX - TBI_SIGNATURE_SIZE);
    tbi_put_bytes(&w, r->key, sizeof r->key);
    tbi_put_varint(&w, r->sequence);
    tbi_put_varint(&w, r->role);
    tbi_put_varint(&w, r->capabilities);
    if (r->addresses_len > TBI_RECORD_ADDRESSES_MAX) {
        tbi_put_fail(&w, TBQ_ERR_INTERNAL);
    }
    tbi_put_varint(&w, r->addresses_len);
    for (size_t i = 0; i < r->addresses_len && tbi_put_error(&w) == 0; i++) {
        put_record_address(&w, &r->address[i]);
    }
    rv = tbi_put_error(&w);
    if (rv != 0) {
        return rv;
    }
    body_size = tbi_put_size(&w);
    if (body_size + TBI_SIGNATURE_SIZE > capacity) {
        return TBQ_ERR_TOO_LARGE;
    }
    rv = crypto->sign(crypto->self, text, DOMAIN_SIZE + body_size, record + body_size);
    if (rv != 0) {
        return rv;
    }
    *size = body_size + TBI_SIGNATURE_SIZE;
    memcpy(to, record, *size);
    return 0;
}

int tbi_record_verify(const struct tbi_record *r, const struct tbi_crypto *crypto)
{
    uint8_t text[DOMAIN_SIZE + TBI_RECORD_SIZE_MAX] = TBI_RECORD_DOMAIN;

    if (r->signed_bytes == NULL || r->signed_size > TBI_RECORD_SIZE_MAX) {
        return TBQ_ERR_IDENTITY;
    }
    memcpy(text + DOMAIN_SIZE, r->signed_bytes, r->signed_size);
    return crypto->verify(crypto->self, r->key, text, DOMAIN_SIZE + r->signed_size, r->signature);
}

int tbi_node_score(const struct tbi_crypto *crypto, const void *key, size_t size,
                   const tbq_peer_id *node, uint64_t *score)
{
    uint8_t text[TBI_SCORE_KEY_MAX + TBQ_PEER_ID_SIZE];
    uint8_t hash[TBI_HASH_SIZE];
    uint64_t v = 0;
    int rv;

    if (size > TBI_SCORE_KEY_MAX) {
        return TBQ_ERR_TOO_LARGE;
    }
    if (size > 0) {
        memcpy(text, key, size);
    }
    memcpy(text + size, node->bytes, TBQ_PEER_ID_SIZE);
    rv = crypto->hash(crypto->self, text, size + TBQ_PEER_ID_SIZE, hash);
    if (rv != 0) {
        return rv;
    }
    for (size_t i = 8; i-- > 0;) {
        v = v << 8 | hash[i];
    }
    *score = v;
    return 0;
}
