/* tests/fuzz/fuzz_record.c - any bytes as a signed peer record.
 *
 * Signatures are pretended (all are genuine, made of zeroes), so that the fuzzer gets past them.
 * What was read must be within the documented limits; sealed and read again, it must be the same.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static int zero_sign(void *self, const void *data, size_t size,
                     uint8_t signature[TBI_SIGNATURE_SIZE])
{
    (void)self;
    require(size > sizeof TBI_RECORD_DOMAIN && memcmp(data, TBI_RECORD_DOMAIN, 18) == 0);
    memset(signature, 0, TBI_SIGNATURE_SIZE);
    return 0;
}

static int accept_any(void *self, const uint8_t key[32], const void *data, size_t size,
                      const uint8_t signature[TBI_SIGNATURE_SIZE])
{
    (void)self;
    (void)key;
    (void)signature;
    require(size > sizeof TBI_RECORD_DOMAIN && memcmp(data, TBI_RECORD_DOMAIN, 18) == 0);
    return 0;
}

static bool same_address(const struct tbi_record_address *a, const struct tbi_record_address *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    if (a->kind == TBI_ADDRESS_VIA) {
        return memcmp(&a->via, &b->via, sizeof a->via) == 0;
    }
    return tbi_addr_port(&a->addr) != 0 && tbi_addr_equal(&a->addr, &b->addr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tbi_crypto crypto = {.sign = zero_sign, .verify = accept_any};
    uint8_t sealed[TBI_RECORD_SIZE_MAX];
    struct tbi_record r, again;
    struct tbi_cursor c;
    size_t sealed_size = 0;
    int rv;

    tbi_cur_init(&c, data, size);
    rv = tbi_get_record(c, &r);
    if (rv != 0) {
        require(rv == TBQ_ERR_MALFORMED || rv == TBQ_ERR_UNSUPPORTED);
        return 0;
    }
    require(size <= TBI_RECORD_SIZE_MAX && r.addresses_len <= TBI_RECORD_ADDRESSES_MAX);
    require(r.signed_bytes == data && r.signed_size + TBI_SIGNATURE_SIZE == size);
    require(tbi_record_verify(&r, &crypto) == 0);

    require(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &sealed_size) == 0);
    require(sealed_size <= size); /* the shortest form, without what we do not know */
    tbi_cur_init(&c, sealed, sealed_size);
    require(tbi_get_record(c, &again) == 0);
    require(memcmp(r.key, again.key, sizeof r.key) == 0 && r.sequence == again.sequence);
    require(r.role == again.role && r.capabilities == again.capabilities);
    require(r.addresses_len == again.addresses_len);
    for (size_t i = 0; i < r.addresses_len; i++) {
        require(same_address(&r.address[i], &again.address[i]));
    }
    return 0;
}
