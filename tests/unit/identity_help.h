/* tests/unit/identity_help.h - what the tests of lib/identity share: foreign keys and certificates
 * made by GnuTLS, and hexadecimal. */
#ifndef TESTS_UNIT_IDENTITY_HELP_H
#define TESTS_UNIT_IDENTITY_HELP_H

#include <check.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>

#include "identity/identity.h"

#define WALL_MS UINT64_C(1764000000000) /* 2025-11-24 16:00:00 UTC */
#define WALL_S ((time_t)(WALL_MS / 1000))
#define NO_END ((time_t)-1)

static inline void from_hex(const char *hex, uint8_t *to, size_t size)
{
    ck_assert_uint_eq(strlen(hex), 2 * size);
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        to[i] = (uint8_t)byte;
    }
}

static inline void rng_from(struct tbi_rng *rng, uint8_t seed)
{
    uint8_t bytes[TBI_RNG_SEED_SIZE];
    memset(bytes, seed, sizeof bytes);
    tbi_rng_init(rng, bytes);
}

/* An identity whose seed is 32 times that byte. */
static inline struct tbi_identity *identity_from(const struct tbi_alloc *alloc, uint8_t byte)
{
    struct tbi_identity *identity = NULL;
    uint8_t seed[TBI_SEED_SIZE];
    struct tbi_rng rng;

    memset(seed, byte, sizeof seed);
    rng_from(&rng, byte);
    ck_assert_int_eq(tbi_identity_new(&identity, alloc, seed, &rng), 0);
    return identity;
}

static inline gnutls_x509_privkey_t foreign_key(gnutls_pk_algorithm_t type, unsigned bits)
{
    gnutls_x509_privkey_t key;
    ck_assert_int_eq(gnutls_x509_privkey_init(&key), 0);
    ck_assert_int_eq(gnutls_x509_privkey_generate(key, type, bits, 0), 0);
    return key;
}

static inline gnutls_x509_privkey_t imported_key(const char *pem)
{
    gnutls_datum_t datum = {.data = (unsigned char *)pem, .size = (unsigned)strlen(pem)};
    gnutls_x509_privkey_t key;
    ck_assert_int_eq(gnutls_x509_privkey_init(&key), 0);
    ck_assert_int_eq(gnutls_x509_privkey_import(key, &datum, GNUTLS_X509_FMT_PEM), 0);
    return key;
}

/* A certificate for `key`, signed by itself, as an operator's tools make one. */
static inline gnutls_x509_crt_t foreign_cert(gnutls_x509_privkey_t key, time_t from, time_t until)
{
    gnutls_x509_crt_t crt;
    ck_assert_int_eq(gnutls_x509_crt_init(&crt), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_version(crt, 3), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_serial(crt, "\x07", 1), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_activation_time(crt, from), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_expiration_time(crt, until), 0);
    ck_assert_int_eq(gnutls_x509_crt_set_key(crt, key), 0);
    ck_assert_int_eq(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA512, 0), 0);
    return crt;
}

/* The private key of an identity for GnuTLS, by way of its own PEM text. */
static inline gnutls_x509_privkey_t key_of(const struct tbi_identity *identity)
{
    char pem[TBI_KEY_PEM_SIZE];
    size_t size = 0;

    ck_assert_int_eq(tbi_identity_export_key(identity, pem, sizeof pem, &size), 0);
    return imported_key(pem);
}

static inline tbq_bytes bytes_of(const gnutls_datum_t *datum)
{
    return (tbq_bytes){.data = datum->data, .size = datum->size};
}

#endif
