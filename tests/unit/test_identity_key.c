/* tests/unit/test_identity_key.c - keys and certificates: made from a seed, written as PEM, read
 * back, and refused with words that say what is wrong. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "identity_help.h"

static struct tbi_alloc alloc;

static void setup(void)
{
    ck_assert_int_eq(tbi_alloc_init(&alloc, NULL), 0);
}

/* RFC 8032, section 7.1: tests 1 and 2. */
static const struct {
    const char *seed, *key, *message, *signature, *id;
} rfc8032[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b"
     "4"
     "6bd25bf5f0595bbe24655141438e7a100b",
     "eh7ddx5bksrgcytl7bkai36se4nxx3klnk7elksyq57pi74xeg4q"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11"
     "d"
     "8c387b2eaeb4302aeeb00d291612bb0c00",
     "hh3rhufgiqst6bcssqq3t5i3tmejphiiffmvtrhttehomf7vcopq"},
};

static struct tbi_identity *rfc8032_identity(size_t i)
{
    struct tbi_identity *identity = NULL;
    uint8_t seed[TBI_SEED_SIZE];
    struct tbi_rng rng;

    from_hex(rfc8032[i].seed, seed, sizeof seed);
    rng_from(&rng, 1);
    ck_assert_int_eq(tbi_identity_new(&identity, &alloc, seed, &rng), 0);
    return identity;
}

START_TEST(the_vectors_of_rfc_8032_come_out)
{
    struct tbi_identity *identity = rfc8032_identity((size_t)_i);
    const struct tbi_crypto *crypto = tbi_identity_crypto(identity);
    uint8_t key[TBQ_PUBLIC_KEY_SIZE], expected[TBI_SIGNATURE_SIZE], got[TBI_SIGNATURE_SIZE];
    uint8_t message[1] = {0};
    size_t size = strlen(rfc8032[_i].message) / 2;
    char text[TBQ_PEER_ID_TEXT_SIZE];

    from_hex(rfc8032[_i].key, key, sizeof key);
    from_hex(rfc8032[_i].signature, expected, sizeof expected);
    from_hex(rfc8032[_i].message, message, size);
    ck_assert_mem_eq(tbi_identity_key(identity), key, sizeof key);
    tbq_peer_id_to_text(tbi_identity_id(identity), text);
    ck_assert_str_eq(text, rfc8032[_i].id);

    ck_assert_int_eq(crypto->sign(crypto->self, size > 0 ? message : NULL, size, got), 0);
    ck_assert_mem_eq(got, expected, sizeof got);
    ck_assert_int_eq(crypto->verify(crypto->self, key, message, size, got), 0);
    tbi_identity_free(identity);
}
END_TEST

START_TEST(a_signature_with_any_part_changed_is_not_genuine)
{
    struct tbi_identity *a = identity_from(&alloc, 1), *b = identity_from(&alloc, 2);
    const struct tbi_crypto *crypto = tbi_identity_crypto(a);
    uint8_t signature[TBI_SIGNATURE_SIZE];
    char message[] = "the bandits left at noon";

    ck_assert_int_eq(crypto->sign(crypto->self, message, sizeof message, signature), 0);
    ck_assert_int_eq(
        crypto->verify(crypto->self, tbi_identity_key(a), message, sizeof message, signature), 0);
    ck_assert_int_eq(
        crypto->verify(crypto->self, tbi_identity_key(b), message, sizeof message, signature),
        TBQ_ERR_IDENTITY);
    ck_assert_int_eq(
        crypto->verify(crypto->self, tbi_identity_key(a), message, sizeof message - 1, signature),
        TBQ_ERR_IDENTITY);
    for (size_t i = 0; i < sizeof signature; i++) {
        signature[i] ^= 0x10;
        ck_assert_int_eq(
            crypto->verify(crypto->self, tbi_identity_key(a), message, sizeof message, signature),
            TBQ_ERR_IDENTITY);
        signature[i] ^= 0x10;
    }
    tbi_identity_free(a);
    tbi_identity_free(b);
}
END_TEST

START_TEST(derived_secrets_hang_on_key_and_label_only)
{
    /* HKDF-SHA256 of the seed of RFC 8032's test 1, worked out with another implementation: a
     * restarted node must derive the same for ever. */
    static const char expected_hex[] =
        "9b1ef45802b84f1c9a653e8a3a4199403a006bcba04f83f256b1d4293f34f855e9cb9b05901f1c81";
    struct tbi_identity *identity = rfc8032_identity(0), *other = rfc8032_identity(1);
    const struct tbi_crypto *crypto = tbi_identity_crypto(identity);
    uint8_t expected[40], got[40];
    uint8_t large[255 * TBI_HASH_SIZE + 1];

    from_hex(expected_hex, expected, sizeof expected);
    ck_assert_int_eq(crypto->derive(crypto->self, "stateless reset", got, sizeof got), 0);
    ck_assert_mem_eq(got, expected, sizeof got);
    ck_assert_int_eq(crypto->derive(crypto->self, "token", got, sizeof got), 0);
    ck_assert_mem_ne(got, expected, sizeof got);
    crypto = tbi_identity_crypto(other);
    ck_assert_int_eq(crypto->derive(crypto->self, "stateless reset", got, sizeof got), 0);
    ck_assert_mem_ne(got, expected, sizeof got);
    ck_assert_int_eq(crypto->derive(crypto->self, "token", large, sizeof large - 1), 0);
    ck_assert_int_eq(crypto->derive(crypto->self, "token", large, sizeof large), TBQ_ERR_TOO_LARGE);
    tbi_identity_free(identity);
    tbi_identity_free(other);
}
END_TEST

START_TEST(hashes_are_sha_256)
{
    struct tbi_identity *identity = identity_from(&alloc, 1);
    const struct tbi_crypto *crypto = tbi_identity_crypto(identity);
    uint8_t expected[TBI_HASH_SIZE], got[TBI_HASH_SIZE];

    from_hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", expected, 32);
    ck_assert_int_eq(crypto->hash(crypto->self, "abc", 3, got), 0);
    ck_assert_mem_eq(got, expected, sizeof got);
    from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", expected, 32);
    ck_assert_int_eq(crypto->hash(crypto->self, NULL, 0, got), 0);
    ck_assert_mem_eq(got, expected, sizeof got);
    tbi_identity_free(identity);
}
END_TEST

START_TEST(the_same_seed_gives_the_same_key_and_the_same_certificate)
{
    struct tbi_identity *a = identity_from(&alloc, 7), *b = identity_from(&alloc, 7);
    struct tbi_identity *c = identity_from(&alloc, 8);
    char one[TBI_CERT_PEM_SIZE], two[TBI_CERT_PEM_SIZE];
    size_t one_size, two_size;

    ck_assert_mem_eq(tbi_identity_key(a), tbi_identity_key(b), TBQ_PUBLIC_KEY_SIZE);
    ck_assert_int_eq(tbi_identity_export_cert(a, one, sizeof one, &one_size), 0);
    ck_assert_int_eq(tbi_identity_export_cert(b, two, sizeof two, &two_size), 0);
    ck_assert_str_eq(one, two);
    ck_assert_uint_eq(one_size, strlen(one));

    /* Another key: another certificate, but never of another size. */
    ck_assert_mem_ne(tbi_identity_key(a), tbi_identity_key(c), TBQ_PUBLIC_KEY_SIZE);
    ck_assert_int_eq(tbi_identity_export_cert(c, two, sizeof two, &two_size), 0);
    ck_assert_str_ne(one, two);
    ck_assert_uint_eq(one_size, two_size);
    tbi_identity_free(a);
    tbi_identity_free(b);
    tbi_identity_free(c);
}
END_TEST

START_TEST(a_certificate_says_who_and_for_ever)
{
    char name[TBQ_PEER_ID_TEXT_SIZE], said[128], pem[TBI_CERT_PEM_SIZE];
    uint8_t serial[32];
    size_t said_size, serial_size, pem_size;
    unsigned usage, critical, ca;
    gnutls_x509_crt_t crt;
    int path;

    for (unsigned byte = 0; byte < 64; byte++) { /* as many serials */
        struct tbi_identity *identity = identity_from(&alloc, (uint8_t)byte);
        ck_assert_int_eq(tbi_identity_export_cert(identity, pem, sizeof pem, &pem_size), 0);
        gnutls_datum_t datum = {.data = (unsigned char *)pem, .size = (unsigned)pem_size};
        ck_assert_int_eq(gnutls_x509_crt_init(&crt), 0);
        ck_assert_int_eq(gnutls_x509_crt_import(crt, &datum, GNUTLS_X509_FMT_PEM), 0);

        tbq_peer_id_to_text(tbi_identity_id(identity), name);
        said_size = sizeof said;
        ck_assert_int_eq(
            gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, said, &said_size),
            0);
        ck_assert_str_eq(said, name);
        said_size = sizeof said;
        ck_assert_int_eq(gnutls_x509_crt_get_issuer_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
                                                              0, said, &said_size),
                         0);
        ck_assert_str_eq(said, name);
        ck_assert_int_eq(gnutls_x509_crt_get_version(crt), 3);
        ck_assert_int_eq(gnutls_x509_crt_get_activation_time(crt), 0);
        ck_assert(gnutls_x509_crt_get_expiration_time(crt) == (time_t)(TBI_WALL_MS_MAX / 1000));
        serial_size = sizeof serial;
        ck_assert_int_eq(gnutls_x509_crt_get_serial(crt, serial, &serial_size), 0);
        ck_assert_uint_eq(serial_size, 16);
        ck_assert(serial[0] != 0 && serial[0] < 0x80);
        ck_assert_int_eq(gnutls_x509_crt_get_key_usage(crt, &usage, &critical), 0);
        ck_assert_uint_eq(usage, GNUTLS_KEY_DIGITAL_SIGNATURE);
        ck_assert_int_ge(gnutls_x509_crt_get_basic_constraints(crt, &critical, &ca, &path), 0);
        ck_assert_uint_eq(ca, 0);
        ck_assert_int_eq(gnutls_x509_crt_check_issuer(crt, crt), 1);
        gnutls_x509_crt_deinit(crt);
        tbi_identity_free(identity);
    }
}
END_TEST

START_TEST(what_was_written_is_read_back)
{
    struct tbi_identity *made = identity_from(&alloc, 3), *read = NULL;
    char key[TBI_KEY_PEM_SIZE], cert[TBI_CERT_PEM_SIZE], again[TBI_CERT_PEM_SIZE], text[256] = "?";
    size_t key_size, cert_size, size;
    struct tbi_rng rng;

    ck_assert_int_eq(tbi_identity_export_key(made, key, sizeof key, &key_size), 0);
    ck_assert_int_eq(tbi_identity_export_cert(made, cert, sizeof cert, &cert_size), 0);
    ck_assert(strncmp(key, "-----BEGIN PRIVATE KEY-----\n", 28) == 0);
    ck_assert_uint_eq(key_size, strlen(key));

    rng_from(&rng, 9);
    ck_assert_int_eq(tbi_identity_from_pem(&read, &alloc, (tbq_bytes){key, key_size},
                                           (tbq_bytes){cert, cert_size}, &rng, text, sizeof text),
                     0);
    ck_assert_str_eq(text, "");
    ck_assert_mem_eq(tbi_identity_key(read), tbi_identity_key(made), TBQ_PUBLIC_KEY_SIZE);
    ck_assert_int_eq(tbi_identity_export_cert(read, again, sizeof again, &size), 0);
    ck_assert_str_eq(again, cert);
    tbi_identity_free(read);

    /* Without its certificate: the same node, with another serial. */
    ck_assert_int_eq(tbi_identity_from_pem(&read, &alloc, (tbq_bytes){key, key_size},
                                           (tbq_bytes){NULL, 0}, &rng, NULL, 0),
                     0);
    ck_assert(tbq_peer_id_compare(tbi_identity_id(read), tbi_identity_id(made)) == 0);
    ck_assert_int_eq(tbi_identity_export_cert(read, again, sizeof again, &size), 0);
    ck_assert_str_ne(again, cert);
    tbi_identity_free(read);
    tbi_identity_free(made);
}
END_TEST

START_TEST(a_buffer_that_is_too_small_is_told)
{
    struct tbi_identity *identity = identity_from(&alloc, 3);
    char pem[TBI_CERT_PEM_SIZE];
    size_t size = 0, again = 0;

    ck_assert_int_eq(tbi_identity_export_cert(identity, pem, sizeof pem, &size), 0);
    ck_assert_int_eq(tbi_identity_export_cert(identity, pem, size + 1, &again), 0);
    ck_assert_int_eq(tbi_identity_export_cert(identity, pem, size, &again), TBQ_ERR_TOO_LARGE);
    ck_assert_int_eq(tbi_identity_export_key(identity, pem, 20, &again), TBQ_ERR_TOO_LARGE);
    tbi_identity_free(identity);
}
END_TEST

static void refused(tbq_bytes key, tbq_bytes cert, const char *why)
{
    struct tbi_identity *identity = NULL;
    char text[256];
    struct tbi_rng rng;

    rng_from(&rng, 1);
    ck_assert_int_eq(tbi_identity_from_pem(&identity, &alloc, key, cert, &rng, text, sizeof text),
                     TBQ_ERR_IDENTITY);
    ck_assert_ptr_null(identity);
    ck_assert_str_eq(text, why);
}

static void refused_key(const char *pem, const char *why)
{
    refused((tbq_bytes){pem, strlen(pem)}, (tbq_bytes){NULL, 0}, why);
}

START_TEST(a_key_file_that_holds_something_else_is_named)
{
    static char large[TBI_PEM_SIZE_MAX + 1];

    memset(large, '\n', sizeof large);
    refused_key("", "key: not a PEM file: no line begins with \"-----BEGIN \"");
    refused_key("hello\n", "key: not a PEM file: no line begins with \"-----BEGIN \"");
    refused_key("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
                "key: no private key in it, but CERTIFICATE");
    refused_key("-----BEGIN RED\x1b[31mKEY-----\n", "key: no private key in it, but RED");
    refused_key(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "key: the private key is encrypted; a plain one is needed");
    refused_key("-----BEGIN OPENSSH PRIVATE KEY-----\nMAA=\n-----END OPENSSH PRIVATE KEY-----\n",
                "key: a private key in OpenSSH's own format; PKCS #8 is needed");
    refused((tbq_bytes){large, sizeof large}, (tbq_bytes){NULL, 0},
            "key: larger than 65536 bytes; this is no key file");
}
END_TEST

START_TEST(a_damaged_key_file_cannot_be_read)
{
    static const char pem[] = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    struct tbi_identity *identity = NULL;
    struct tbi_rng rng;
    char text[256];

    rng_from(&rng, 1);
    ck_assert_int_eq(tbi_identity_from_pem(&identity, &alloc, (tbq_bytes){pem, sizeof pem - 1},
                                           (tbq_bytes){NULL, 0}, &rng, text, sizeof text),
                     TBQ_ERR_IDENTITY);
    ck_assert_msg(strncmp(text, "key: the private key cannot be read: ", 37) == 0, "%s", text);
}
END_TEST

static const struct {
    gnutls_pk_algorithm_t type;
    unsigned bits;
    const char *name;
} foreign[] = {{GNUTLS_PK_RSA, 2048, "RSA"},
               {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), "EC/ECDSA"},
               {GNUTLS_PK_EDDSA_ED448, 0, "EdDSA (Ed448)"}};
#define FOREIGN (sizeof foreign / sizeof foreign[0])

START_TEST(keys_and_certificates_of_other_types_are_refused_by_name)
{
    gnutls_x509_privkey_t key = foreign_key(foreign[_i].type, foreign[_i].bits);
    struct tbi_identity *identity = identity_from(&alloc, 1);
    gnutls_datum_t pkcs8 = {0}, own = {0}, cert = {0};
    char why[128], good[TBI_KEY_PEM_SIZE];
    size_t size;

    snprintf(why, sizeof why, "key: the private key is of type %s; only Ed25519 is used",
             foreign[_i].name);
    ck_assert_int_eq(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
                                                       GNUTLS_PKCS_PLAIN, &pkcs8),
                     0);
    ck_assert_int_eq(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &own), 0);
    refused(bytes_of(&pkcs8), (tbq_bytes){NULL, 0}, why);

    if (foreign[_i].type != GNUTLS_PK_EDDSA_ED448) { /* without a form of its own, or SHA-512 */
        refused(bytes_of(&own), (tbq_bytes){NULL, 0}, why);
        gnutls_x509_crt_t crt = foreign_cert(key, 0, NO_END);
        ck_assert_int_eq(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &cert), 0);
        ck_assert_int_eq(tbi_identity_export_key(identity, good, sizeof good, &size), 0);
        snprintf(why, sizeof why,
                 "certificate: the certificate's key is of type %s; only Ed25519 is used",
                 foreign[_i].name);
        refused((tbq_bytes){good, size}, bytes_of(&cert), why);
        gnutls_x509_crt_deinit(crt);
    }
    gnutls_free(pkcs8.data);
    gnutls_free(own.data);
    gnutls_free(cert.data);
    gnutls_x509_privkey_deinit(key);
    tbi_identity_free(identity);
}
END_TEST

START_TEST(a_certificate_file_must_fit_the_key)
{
    struct tbi_identity *a = identity_from(&alloc, 1), *b = identity_from(&alloc, 2);
    static char many[TBI_PEM_SIZE_MAX + 1];
    char key[TBI_KEY_PEM_SIZE], cert[TBI_CERT_PEM_SIZE];
    size_t key_size, cert_size, size = 0;

    ck_assert_int_eq(tbi_identity_export_key(a, key, sizeof key, &key_size), 0);
    ck_assert_int_eq(tbi_identity_export_cert(b, cert, sizeof cert, &cert_size), 0);
    refused((tbq_bytes){key, key_size}, (tbq_bytes){cert, cert_size},
            "certificate: the certificate is for another key than the key file's");
    refused((tbq_bytes){key, key_size}, (tbq_bytes){key, key_size},
            "certificate: no certificate in PEM in it");
    refused((tbq_bytes){key, key_size}, (tbq_bytes){"", 0},
            "certificate: no certificate in PEM in it");
    for (int i = 0; i < TBI_CHAIN_MAX + 1; i++) {
        memcpy(many + size, cert, cert_size);
        size += cert_size;
    }
    refused((tbq_bytes){key, key_size}, (tbq_bytes){many, size},
            "certificate: more than 8 certificates");
    refused((tbq_bytes){key, key_size}, (tbq_bytes){many, sizeof many},
            "certificate: larger than 65536 bytes; this is no certificate file");
    tbi_identity_free(a);
    tbi_identity_free(b);
}
END_TEST

START_TEST(an_operators_certificate_is_judged_by_the_given_time)
{
    struct tbi_identity *made = identity_from(&alloc, 1), *read = NULL;
    gnutls_x509_privkey_t key = key_of(made);
    gnutls_x509_crt_t crt = foreign_cert(key, WALL_S, WALL_S + 60);
    char pem[TBI_KEY_PEM_SIZE], text[256];
    gnutls_datum_t cert = {0};
    struct tbi_rng rng;
    size_t size;

    rng_from(&rng, 1);
    ck_assert_int_eq(tbi_identity_export_key(made, pem, sizeof pem, &size), 0);
    ck_assert_int_eq(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &cert), 0);
    ck_assert_int_eq(tbi_identity_from_pem(&read, &alloc, (tbq_bytes){pem, size}, bytes_of(&cert),
                                           &rng, text, sizeof text),
                     0);
    ck_assert_int_eq(tbi_identity_valid_at(read, WALL_MS, text, sizeof text), 0);
    ck_assert_str_eq(text, "");
    ck_assert_int_eq(tbi_identity_valid_at(read, WALL_MS - 1, text, sizeof text), TBQ_ERR_IDENTITY);
    ck_assert_str_eq(text, "the certificate is valid only from 2025-11-24 16:00:00 UTC on");
    ck_assert_int_eq(tbi_identity_valid_at(read, WALL_MS + 61000, text, sizeof text),
                     TBQ_ERR_IDENTITY);
    ck_assert_str_eq(text, "the certificate expired at 2025-11-24 16:01:00 UTC");
    gnutls_free(cert.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
    tbi_identity_free(read);
    tbi_identity_free(made);
}
END_TEST

/* The one allocation that is ours; GnuTLS's cannot be made to fail. */
static void *no_memory(void *user, size_t size)
{
    (void)user;
    (void)size;
    return NULL;
}

static void *no_more_memory(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)ptr;
    (void)size;
    return NULL;
}

static void nothing_to_free(void *user, void *ptr)
{
    (void)user;
    ck_assert_ptr_null(ptr);
}

START_TEST(without_memory_there_is_no_identity)
{
    const tbq_allocator hook = {no_memory, no_more_memory, nothing_to_free, NULL};
    struct tbi_identity *made = identity_from(&alloc, 1), *identity = NULL;
    const uint8_t seed[TBI_SEED_SIZE] = {1};
    char pem[TBI_KEY_PEM_SIZE], text[64];
    struct tbi_alloc poor;
    struct tbi_rng rng;
    size_t size;

    rng_from(&rng, 1);
    ck_assert_int_eq(tbi_alloc_init(&poor, &hook), 0);
    ck_assert_int_eq(tbi_identity_new(&identity, &poor, seed, &rng), TBQ_ERR_NOMEM);
    ck_assert_int_eq(tbi_identity_export_key(made, pem, sizeof pem, &size), 0);
    ck_assert_int_eq(tbi_identity_from_pem(&identity, &poor, (tbq_bytes){pem, size},
                                           (tbq_bytes){NULL, 0}, &rng, text, sizeof text),
                     TBQ_ERR_NOMEM);
    ck_assert_str_eq(text, "key: out of memory");
    ck_assert_ptr_null(identity);
    tbi_identity_free(NULL);
    tbi_identity_free(made);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("identity/key");
    TCase *keys = tcase_create("keys"), *files = tcase_create("files");

    tcase_add_checked_fixture(keys, setup, NULL);
    tcase_add_loop_test(keys, the_vectors_of_rfc_8032_come_out, 0, 2);
    tcase_add_test(keys, a_signature_with_any_part_changed_is_not_genuine);
    tcase_add_test(keys, derived_secrets_hang_on_key_and_label_only);
    tcase_add_test(keys, hashes_are_sha_256);
    tcase_add_test(keys, the_same_seed_gives_the_same_key_and_the_same_certificate);
    tcase_add_test(keys, a_certificate_says_who_and_for_ever);
    tcase_add_test(keys, without_memory_there_is_no_identity);
    suite_add_tcase(s, keys);

    tcase_add_checked_fixture(files, setup, NULL);
    tcase_add_test(files, what_was_written_is_read_back);
    tcase_add_test(files, a_buffer_that_is_too_small_is_told);
    tcase_add_test(files, a_key_file_that_holds_something_else_is_named);
    tcase_add_test(files, a_damaged_key_file_cannot_be_read);
    tcase_add_loop_test(files, keys_and_certificates_of_other_types_are_refused_by_name, 0,
                        (int)FOREIGN);
    tcase_add_test(files, a_certificate_file_must_fit_the_key);
    tcase_add_test(files, an_operators_certificate_is_judged_by_the_given_time);
    suite_add_tcase(s, files);
    return tbi_test_main(s);
}
