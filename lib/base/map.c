/* base/map.c - see map.h; uthash underneath, with its memory and its hash function replaced. */
#include "base/map.h"

#include <string.h>

/* A failed insertion is undone and reported instead of ending the process. The allocator and the
 * secret come from the local variable `m` of the functions below. */
#define HASH_NONFATAL_OOM 1
#define uthash_malloc(size) tbi_malloc(m->alloc, size)
#define uthash_free(ptr, size) tbi_free(m->alloc, ptr)
#define uthash_nonfatal_oom(e) ((e)->lost = true)
#define HASH_FUNCTION(key, size, value) ((value) = (unsigned)tbi_siphash(m->secret, (key), (size)))
#include <stdbool.h>
#include <uthash.h>

/* As many in one bucket double their number. With uthash's own 10 a map of many has two or three in
 * each, and each that is passed by is likely not in the cache: with 6 it is one. */
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH 6U

struct tbi_map_entry {
    UT_hash_handle hh;
    void *value;
    bool lost; /* uthash found no memory for it */
    uint8_t key[TBI_MAP_KEY_MAX];
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline uint64_t word(const uint8_t *p) /* which compilers make one load of */
{
    return p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

static uint64_t little_endian(const uint8_t *p, size_t size)
{
    uint64_t v = 0;
    for (size_t i = size; i-- > 0;) {
        v = v << 8 | p[i];
    }
    return v;
}

uint64_t tbi_siphash(const uint8_t secret[16], const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t k0 = word(secret);
    uint64_t k1 = word(secret + 8);
    /* The constants spell "somepseudorandomlygeneratedbytes". */
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t last = (uint64_t)size << 56;

    for (; size >= 8; p += 8, size -= 8) {
        uint64_t m = word(p);
        v[3] ^= m;
        sip_round(v);
        sip_round(v);
        v[0] ^= m;
    }
    last |= little_endian(p, size);
    v[3] ^= last;
    sip_round(v);
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(v);
    }
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void tbi_map_init(struct tbi_map *m, const struct tbi_alloc *a, const uint8_t secret[16],
                  size_t key_size, size_t limit)
{
    memset(m, 0, sizeof *m);
    m->alloc = a;
    memcpy(m->secret, secret, sizeof m->secret);
    m->key_size = key_size < TBI_MAP_KEY_MAX ? key_size : TBI_MAP_KEY_MAX;
    m->limit = limit;
}

void tbi_map_free(struct tbi_map *m)
{
    struct tbi_map_entry *e = m->head;
    m->last = NULL;
    if (e != NULL) {
        HASH_CLEAR(hh, m->head);
    }
    while (e != NULL) { /* the chain of insertion lives in the entries and outlasts the table */
        struct tbi_map_entry *next = e->hh.next;
        tbi_free(m->alloc, e);
        e = next;
    }
}

size_t tbi_map_count(const struct tbi_map *m)
{
    return HASH_COUNT(m->head);
}

/* Calls in a row mostly ask for one key: it is compared before it is hashed. To remember it changes
 * nothing that a caller could see, so that the map may be const all the same. */
static struct tbi_map_entry *find(const struct tbi_map *m, const void *key)
{
    struct tbi_map_entry *e = m->last;
    if (e != NULL && memcmp(e->key, key, m->key_size) == 0) {
        return e;
    }
    e = NULL;
    if (m->head != NULL) {
        HASH_FIND(hh, m->head, key, m->key_size, e);
    }
    if (e != NULL) {
        ((struct tbi_map *)(uintptr_t)m)->last = e;
    }
    return e;
}

int tbi_map_put(struct tbi_map *m, const void *key, void *value)
{
    if (find(m, key) != NULL) {
        return TBQ_ERR_EXISTS;
    }
    if (tbi_map_count(m) >= m->limit) {
        m->refused++;
        return TBQ_ERR_LIMIT;
    }
    struct tbi_map_entry *e = tbi_calloc(m->alloc, 1, sizeof *e);
    if (e == NULL) {
        return TBQ_ERR_NOMEM;
    }
    memcpy(e->key, key, m->key_size);
    e->value = value;
    HASH_ADD(hh, m->head, key, (unsigned)m->key_size, e);
    if (e->lost) {
        tbi_free(m->alloc, e);
        return TBQ_ERR_NOMEM;
    }
    return 0;
}

void *tbi_map_get(const struct tbi_map *m, const void *key)
{
    struct tbi_map_entry *e = find(m, key);
    return e != NULL ? e->value : NULL;
}

void *tbi_map_remove(struct tbi_map *m, const void *key)
{
    struct tbi_map_entry *e = find(m, key);
    if (e == NULL) {
        return NULL;
    }
    void *value = e->value;
    m->last = NULL; /* which is the one that goes */
    HASH_DELETE(hh, m->head, e);
    tbi_free(m->alloc, e);
    return value;
}

struct tbi_map_entry *tbi_map_first(const struct tbi_map *m)
{
    return m->head;
}

struct tbi_map_entry *tbi_map_next(const struct tbi_map_entry *e)
{
    return e->hh.next;
}

void *tbi_map_value(const struct tbi_map_entry *e)
{
    return e->value;
}

const void *tbi_map_key(const struct tbi_map_entry *e)
{
    return e->key;
}
