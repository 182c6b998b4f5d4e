/* tests/unit/test_wire_record.c - peer records: sealed, changed, refused; scores of nodes.
 *
 * The signatures are pretended: a sum over key and text, so that the tests need no TLS library and
 * can make signing fail. The real ones are checked by tests/vectors. */
#include <check.h>
#include <string.h>

#include "harness.h"
#include "wire/record.h"

struct pretended {
    uint8_t key[32];
    int answer;         /* what every function returns, unless 0 */
    uint8_t text[2048]; /* what was signed last */
    size_t size;
};

static void sum(const uint8_t key[32], const uint8_t *data, size_t size, uint8_t *to, size_t room)
{
    memset(to, 0, room);
    for (size_t i = 0; i < 32; i++) {
        to[i % room] ^= key[i];
    }
    for (size_t i = 0; i < size; i++) {
        size_t at = i % room;
        to[at] = (uint8_t)(to[at] * 31 + data[i] + 1);
    }
}

static int pretend_sign(void *self, const void *data, size_t size,
                        uint8_t signature[TBI_SIGNATURE_SIZE])
{
    struct pretended *p = self;

    ck_assert_uint_le(size, sizeof p->text);
    memcpy(p->text, data, size);
    p->size = size;
    sum(p->key, data, size, signature, TBI_SIGNATURE_SIZE);
    return p->answer;
}

static int pretend_verify(void *self, const uint8_t key[32], const void *data, size_t size,
                          const uint8_t signature[TBI_SIGNATURE_SIZE])
{
    struct pretended *p = self;
    uint8_t expected[TBI_SIGNATURE_SIZE];

    sum(key, data, size, expected, sizeof expected);
    if (p->answer != 0) {
        return p->answer;
    }
    return memcmp(expected, signature, sizeof expected) == 0 ? 0 : TBQ_ERR_IDENTITY;
}

static int pretend_hash(void *self, const void *data, size_t size, uint8_t hash[TBI_HASH_SIZE])
{
    struct pretended *p = self;

    (void)data;
    for (size_t i = 0; i < TBI_HASH_SIZE; i++) {
        hash[i] = (uint8_t)(size + i);
    }
    return p->answer;
}

static struct tbi_crypto pretend(struct pretended *p)
{
    memset(p, 0, sizeof *p);
    memset(p->key, 0x42, sizeof p->key);
    return (struct tbi_crypto){
        .self = p, .sign = pretend_sign, .verify = pretend_verify, .hash = pretend_hash};
}

static struct tbi_record a_record(void)
{
    struct tbi_record r = {.sequence = 1764000000000, .role = TBQ_ROLE_TIME_KEEPER};

    memset(r.key, 0x42, sizeof r.key);
    r.capabilities = TBQ_CAN_ROUTE | TBQ_CAN_STORE;
    r.addresses_len = 3;
    r.address[0].kind = TBI_ADDRESS_ADVERTISED;
    ck_assert_int_eq(tbi_addr_from_text(&r.address[0].addr, "192.0.2.1:8443"), 0);
    r.address[1].kind = TBI_ADDRESS_LOCAL;
    ck_assert_int_eq(tbi_addr_from_text(&r.address[1].addr, "[2001:db8::1]:9"), 0);
    r.address[2].kind = TBI_ADDRESS_VIA;
    memset(r.address[2].via.bytes, 0x17, sizeof r.address[2].via.bytes);
    return r;
}

static struct tbi_cursor over(const uint8_t *data, size_t size)
{
    struct tbi_cursor c;

    tbi_cur_init(&c, data, size);
    return c;
}

START_TEST(a_sealed_record_comes_back_and_verifies)
{
    struct pretended p;
    struct tbi_crypto crypto = pretend(&p);
    struct tbi_record r = a_record(), got;
    uint8_t sealed[TBI_RECORD_SIZE_MAX];
    size_t size = 0;

    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), 0);
    ck_assert_int_eq(tbi_get_record(over(sealed, size), &got), 0);
    ck_assert_int_eq(tbi_record_verify(&got, &crypto), 0);
    ck_assert_mem_eq(got.key, r.key, sizeof r.key);
    ck_assert_uint_eq(got.sequence, r.sequence);
    ck_assert_uint_eq(got.role, r.role);
    ck_assert_uint_eq(got.capabilities, r.capabilities);
    ck_assert_uint_eq(got.addresses_len, 3);
    ck_assert(tbi_addr_equal(&got.address[0].addr, &r.address[0].addr));
    ck_assert(tbi_addr_equal(&got.address[1].addr, &r.address[1].addr));
    ck_assert_mem_eq(got.address[2].via.bytes, r.address[2].via.bytes, TBQ_PEER_ID_SIZE);
}
END_TEST

START_TEST(what_is_signed_begins_with_the_domain)
{
    static const char domain[] = TBI_RECORD_DOMAIN; /* with its NUL */
    struct pretended p;
    struct tbi_crypto crypto = pretend(&p);
    struct tbi_record r = a_record();
    uint8_t sealed[TBI_RECORD_SIZE_MAX];
    size_t size = 0;

    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), 0);
    ck_assert_uint_eq(p.size, sizeof domain + size - TBI_SIGNATURE_SIZE);
    ck_assert_mem_eq(p.text, domain, sizeof domain);
    ck_assert_mem_eq(p.text + sizeof domain, sealed, size - TBI_SIGNATURE_SIZE);
}
END_TEST

START_TEST(no_byte_can_be_changed_or_cut)
{
    struct pretended p;
    struct tbi_crypto crypto = pretend(&p);
    struct tbi_record r = a_record(), got;
    uint8_t sealed[TBI_RECORD_SIZE_MAX];
    size_t size = 0;

    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), 0);
    for (size_t i = 0; i < size; i++) {
        sealed[i] ^= 1;
        if (tbi_get_record(over(sealed, size), &got) == 0) {
            ck_assert_int_eq(tbi_record_verify(&got, &crypto), TBQ_ERR_IDENTITY);
        }
        sealed[i] ^= 1;
        if (tbi_get_record(over(sealed, i), &got) == 0) {
            ck_assert_int_eq(tbi_record_verify(&got, &crypto), TBQ_ERR_IDENTITY);
        }
    }
}
END_TEST

START_TEST(sealing_fails_without_a_trace)
{
    struct pretended p;
    struct tbi_crypto crypto = pretend(&p);
    struct tbi_record r = a_record();
    uint8_t sealed[TBI_RECORD_SIZE_MAX];
    size_t size = 0, whole;

    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &whole), 0);
    memset(sealed, 0xee, sizeof sealed);
    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, whole - 1, &size), TBQ_ERR_TOO_LARGE);
    p.answer = TBQ_ERR_TLS;
    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), TBQ_ERR_TLS);
    p.answer = 0;
    r.addresses_len = TBI_RECORD_ADDRESSES_MAX + 1;
    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), TBQ_ERR_INTERNAL);
    r.addresses_len = 1;
    r.address[0].kind = TBI_ADDRESS_VIA + 1;
    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), TBQ_ERR_INTERNAL);
    r.address[0].kind = TBI_ADDRESS_ADVERTISED;
    r.address[0].addr.len = 0;
    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), TBQ_ERR_INTERNAL);
    ck_assert_uint_eq(size, 0);
    for (size_t i = 0; i < sizeof sealed; i++) {
        ck_assert_uint_eq(sealed[i], 0xee);
    }
}
END_TEST

START_TEST(the_fullest_record_fits)
{
    struct pretended p;
    struct tbi_crypto crypto = pretend(&p);
    struct tbi_record r = a_record();
    uint8_t sealed[TBI_RECORD_SIZE_MAX];
    size_t size = 0;

    r.sequence = r.role = r.capabilities = TBI_VARINT_MAX;
    r.addresses_len = TBI_RECORD_ADDRESSES_MAX;
    for (size_t i = 0; i < r.addresses_len; i++) {
        r.address[i] = r.address[2]; /* via: the longest kind */
        r.address[i].kind = TBI_ADDRESS_VIA;
    }
    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), 0);
    ck_assert_uint_le(size, TBI_RECORD_SIZE_MAX);
}
END_TEST

START_TEST(a_broken_library_is_not_a_forged_record)
{
    struct pretended p;
    struct tbi_crypto crypto = pretend(&p);
    struct tbi_record r = a_record(), got;
    uint8_t sealed[TBI_RECORD_SIZE_MAX];
    size_t size = 0;

    ck_assert_int_eq(tbi_record_seal(&r, &crypto, sealed, sizeof sealed, &size), 0);
    ck_assert_int_eq(tbi_get_record(over(sealed, size), &got), 0);
    p.answer = TBQ_ERR_TLS;
    ck_assert_int_eq(tbi_record_verify(&got, &crypto), TBQ_ERR_TLS);
    p.answer = 0;
    /* one that was never decoded holds no text to verify */
    ck_assert_int_eq(tbi_record_verify(&r, &crypto), TBQ_ERR_IDENTITY);
}
END_TEST

START_TEST(the_score_is_the_front_of_the_hash_read_little_endian)
{
    static const uint8_t key[TBI_SCORE_KEY_MAX + 1];
    struct pretended p;
    struct tbi_crypto crypto = pretend(&p);
    const tbq_peer_id node = {{0}};
    uint64_t score = 0;

    /* the pretended hash of 1 + 32 bytes begins 33, 34, 35, ... */
    ck_assert_int_eq(tbi_node_score(&crypto, key, 1, &node, &score), 0);
    ck_assert_uint_eq(score, 0x2827262524232221);
    ck_assert_int_eq(tbi_node_score(&crypto, NULL, 0, &node, &score), 0);
    ck_assert_uint_eq(score, 0x2726252423222120);
    ck_assert_int_eq(tbi_node_score(&crypto, key, TBI_SCORE_KEY_MAX, &node, &score), 0);
    score = 5;
    ck_assert_int_eq(tbi_node_score(&crypto, key, sizeof key, &node, &score), TBQ_ERR_TOO_LARGE);
    p.answer = TBQ_ERR_TLS;
    ck_assert_int_eq(tbi_node_score(&crypto, key, 1, &node, &score), TBQ_ERR_TLS);
    ck_assert_uint_eq(score, 5);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wire/record");
    TCase *t = tcase_create("records");

    tcase_add_test(t, a_sealed_record_comes_back_and_verifies);
    tcase_add_test(t, what_is_signed_begins_with_the_domain);
    tcase_add_test(t, no_byte_can_be_changed_or_cut);
    tcase_add_test(t, sealing_fails_without_a_trace);
    tcase_add_test(t, the_fullest_record_fits);
    tcase_add_test(t, a_broken_library_is_not_a_forged_record);
    tcase_add_test(t, the_score_is_the_front_of_the_hash_read_little_endian);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
