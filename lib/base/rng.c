/* base/rng.c - see rng.h. */
#include "base/rng.h"

#include <nettle/chacha.h>
#include <string.h>

#include "base/alloc.h"

void tbi_rng_init(struct tbi_rng *r, const uint8_t seed[TBI_RNG_SEED_SIZE])
{
    memset(r, 0, sizeof *r);
    memcpy(r->key, seed, sizeof r->key);
}

/* Fills the pool; its first bytes become the next key at once and are never given out. */
static void refill(struct tbi_rng *r)
{
    static const uint8_t nonce[CHACHA_NONCE_SIZE];
    struct chacha_ctx chacha;

    chacha_set_key(&chacha, r->key);
    chacha_set_nonce(&chacha, nonce);
    memset(r->pool, 0, sizeof r->pool);
    chacha_crypt(&chacha, sizeof r->pool, r->pool, r->pool);
    memcpy(r->key, r->pool, sizeof r->key);
    tbi_wipe(r->pool, sizeof r->key);
    tbi_wipe(&chacha, sizeof chacha);
    r->left = sizeof r->pool - sizeof r->key;
}

void tbi_rng_bytes(struct tbi_rng *r, void *to, size_t size)
{
    uint8_t *out = to;
    while (size > 0) {
        if (r->left == 0) {
            refill(r);
        }
        size_t n = size < r->left ? size : r->left;
        uint8_t *from = r->pool + sizeof r->pool - r->left;
        memcpy(out, from, n);
        tbi_wipe(from, n);
        r->left -= n;
        out += n;
        size -= n;
    }
}

uint64_t tbi_rng_u64(struct tbi_rng *r)
{
    uint64_t v;
    tbi_rng_bytes(r, &v, sizeof v);
    return v;
}

uint64_t tbi_rng_below(struct tbi_rng *r, uint64_t n)
{
    /* Numbers below 2^64 mod n are drawn again: without them every result is equally likely. */
    uint64_t unfair = (UINT64_MAX - n + 1) % n;
    uint64_t v;
    do {
        v = tbi_rng_u64(r);
    } while (v < unfair);
    return v % n;
}
