/* base/rng.h - a random stream: ChaCha20 (RFC 8439) under a key that the owner brings.
 *
 * The key comes from the operating system in a server and from a fixed seed in the simulator.
 * Good for ids, tokens and secrets. The stream is rekeyed from itself, so that what was drawn
 * cannot be worked out from the state later. */
#ifndef TBI_BASE_RNG_H
#define TBI_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

#define TBI_RNG_SEED_SIZE 32

struct tbi_rng {
    uint8_t key[32];
    uint8_t pool[512];
    size_t left;
};

void tbi_rng_init(struct tbi_rng *r, const uint8_t seed[TBI_RNG_SEED_SIZE]);
void tbi_rng_bytes(struct tbi_rng *r, void *to, size_t size);
uint64_t tbi_rng_u64(struct tbi_rng *r);
uint64_t tbi_rng_below(struct tbi_rng *r, uint64_t n); /* 0..n-1, without bias; n > 0 */

#endif
