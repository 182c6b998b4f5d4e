/* tests/unit/test_identity_admit.c - what admits besides lists: certificate authorities, and the
 * key that was met first at an address. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "harness.h"
#include "heavy_key.h"
#include "identity/trust.h"
#include "identity_help.h"

static struct tbi_alloc alloc;
static struct tbi_trust trust;
static struct tbi_rng rng;
static char text[256];

static void setup(void)
{
    ck_assert_int_eq(tbi_alloc_init(&alloc, NULL), 0);
    rng_from(&rng, 1);
    tbi_trust_init(&trust, &alloc, &rng);
}

static void teardown(void)
{
    tbi_trust_free(&trust);
}

static gnutls_digest_algorithm_t digest_for(gnutls_x509_privkey_t key)
{
    return gnutls_x509_privkey_get_pk_algorithm(key) == GNUTLS_PK_EDDSA_ED25519 ? GNUTLS_DIG_SHA512
                                                                                : GNUTLS_DIG_SHA256;
}

/* --- Authorities ------------------------------------------------------------------------------ */

struct authority {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
};

static struct authority authority(gnutls_x509_privkey_t key, time_t until,
                                  const struct authority *by)
{
    struct authority a = {.key = key};
    ck_assert_int_eq(gnutls_x509_crt_init(&a.crt), 0);
    gnutls_x509_crt_set_version(a.crt, 3);
    gnutls_x509_crt_set_serial(a.crt, by != NULL ? "\x02" : "\x01", 1);
    gnutls_x509_crt_set_dn(a.crt, by != NULL ? "CN=middle" : "CN=root", NULL);
    gnutls_x509_crt_set_activation_time(a.crt, WALL_S - 1000);
    gnutls_x509_crt_set_expiration_time(a.crt, until);
    gnutls_x509_crt_set_basic_constraints(a.crt, 1, -1);
    gnutls_x509_crt_set_key_usage(a.crt, GNUTLS_KEY_KEY_CERT_SIGN);
    gnutls_x509_crt_set_key(a.crt, a.key);
    const struct authority *signer = by != NULL ? by : &a;
    ck_assert_int_eq(
        gnutls_x509_crt_sign2(a.crt, signer->crt, signer->key, digest_for(signer->key), 0), 0);
    return a;
}

static void forget(struct authority *a)
{
    gnutls_x509_crt_deinit(a->crt);
    gnutls_x509_privkey_deinit(a->key);
}

/* A leaf for an Ed25519 key, by an authority or (NULL) by itself. */
static gnutls_x509_crt_t leaf(gnutls_x509_privkey_t key, time_t until, const struct authority *by)
{
    gnutls_x509_crt_t crt;
    if (by == NULL) {
        return foreign_cert(key, WALL_S - 1000, until);
    }
    ck_assert_int_eq(gnutls_x509_crt_init(&crt), 0);
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_serial(crt, "\x07", 1);
    gnutls_x509_crt_set_dn(crt, "CN=node", NULL);
    gnutls_x509_crt_set_activation_time(crt, WALL_S - 1000);
    gnutls_x509_crt_set_expiration_time(crt, until);
    gnutls_x509_crt_set_key(crt, key);
    ck_assert_int_eq(gnutls_x509_crt_sign2(crt, by->crt, by->key, digest_for(by->key), 0), 0);
    return crt;
}

static void trust_authority(const struct authority *a)
{
    gnutls_datum_t pem;
    ck_assert_int_eq(gnutls_x509_crt_export2(a->crt, GNUTLS_X509_FMT_PEM, &pem), 0);
    ck_assert_int_eq(tbi_trust_load_ca(&trust, bytes_of(&pem), text, sizeof text), 0);
    gnutls_free(pem.data);
}

/* What the policy says to who shows these certificates; crt[0] is the leaf. */
static uint64_t show(gnutls_x509_crt_t *crt, unsigned n, uint64_t wall_ms)
{
    static const tbq_peer_id somebody = {{1, 2, 3}};
    gnutls_datum_t der[16];
    struct tbi_verdict verdict;

    for (unsigned i = 0; i < n; i++) {
        ck_assert_int_eq(gnutls_x509_crt_export2(crt[i], GNUTLS_X509_FMT_DER, &der[i]), 0);
    }
    struct tbi_trust_query query = {
        .id = &somebody, .chain = der, .chain_len = n, .wall_ms = wall_ms};
    int rv = tbi_trust_ask(&trust, &query, &verdict);
    ck_assert_int_eq(rv, verdict.close_code == TBI_CLOSE_NONE ? 0 : TBQ_ERR_TRUST);
    for (unsigned i = 0; i < n; i++) {
        gnutls_free(der[i].data);
    }
    return verdict.close_code;
}

START_TEST(who_is_vouched_for_is_let_in_and_nobody_else)
{
    struct authority root =
        authority(foreign_key(GNUTLS_PK_EDDSA_ED25519, 256), WALL_S + 9999, NULL);
    struct authority other = authority(foreign_key(GNUTLS_PK_ECDSA, 256), WALL_S + 9999, NULL);
    gnutls_x509_privkey_t key = foreign_key(GNUTLS_PK_EDDSA_ED25519, 256);
    gnutls_x509_crt_t good = leaf(key, WALL_S + 999, &root);
    gnutls_x509_crt_t own = leaf(key, WALL_S + 999, NULL);
    gnutls_x509_crt_t stranger = leaf(key, WALL_S + 999, &other);

    trust_authority(&root);
    ck_assert_str_eq(tbi_trust_name(&trust), "ca");
    ck_assert_uint_eq(show(&good, 1, WALL_MS), TBI_CLOSE_NONE);
    ck_assert_uint_eq(show(&own, 1, WALL_MS), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_uint_eq(show(&stranger, 1, WALL_MS), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_uint_eq(show(&good, 0, WALL_MS), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_uint_eq(show(&good, 1, WALL_MS + 1000000), TBI_CLOSE_NOT_ALLOWED); /* expired */
    ck_assert_uint_eq(show(&good, 1, WALL_MS - 1001000), TBI_CLOSE_NOT_ALLOWED); /* not yet */
    trust_authority(&other); /* a reload replaces the authorities */
    ck_assert_uint_eq(show(&good, 1, WALL_MS), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_uint_eq(show(&stranger, 1, WALL_MS), TBI_CLOSE_NONE);
    gnutls_x509_crt_deinit(good);
    gnutls_x509_crt_deinit(own);
    gnutls_x509_crt_deinit(stranger);
    gnutls_x509_privkey_deinit(key);
    forget(&root);
    forget(&other);
}
END_TEST

START_TEST(a_chain_is_followed_as_long_as_its_links_are_sound)
{
    struct authority root = authority(foreign_key(GNUTLS_PK_ECDSA, 256), WALL_S + 999, NULL);
    struct authority middle =
        authority(foreign_key(GNUTLS_PK_EDDSA_ED25519, 256), WALL_S + 500, &root);
    struct authority heavy = authority(imported_key(heavy_key), WALL_S + 500, &root);
    gnutls_x509_privkey_t key = foreign_key(GNUTLS_PK_EDDSA_ED25519, 256);
    gnutls_x509_crt_t chain[] = {leaf(key, WALL_S + 9999, &middle), middle.crt};
    gnutls_x509_crt_t dear[] = {leaf(key, WALL_S + 9999, &heavy), heavy.crt};

    trust_authority(&root);
    ck_assert_uint_eq(show(chain, 2, WALL_MS), TBI_CLOSE_NONE);
    ck_assert_uint_eq(show(chain, 1, WALL_MS), TBI_CLOSE_NOT_ALLOWED); /* the middle is missing */
    ck_assert_uint_eq(show(chain, 2, WALL_MS + 600000), TBI_CLOSE_NOT_ALLOWED); /* it expired */
    ck_assert_uint_eq(show(chain, 2, WALL_MS + 1100000),
                      TBI_CLOSE_NOT_ALLOWED);                         /* so did the root */
    ck_assert_uint_eq(show(dear, 2, WALL_MS), TBI_CLOSE_NOT_ALLOWED); /* too dear to compute with */
    gnutls_x509_crt_deinit(chain[0]);
    gnutls_x509_crt_deinit(dear[0]);
    gnutls_x509_privkey_deinit(key);
    forget(&middle);
    forget(&heavy);
    forget(&root);
}
END_TEST

START_TEST(a_file_without_certificates_is_refused_and_changes_nothing)
{
    static const char junk[] = "no certificate\n";
    static char large[TBI_PEM_SIZE_MAX + 1];

    ck_assert_int_eq(
        tbi_trust_load_ca(&trust, (tbq_bytes){junk, sizeof junk - 1}, text, sizeof text),
        TBQ_ERR_INVALID);
    ck_assert_str_ne(text, "");
    ck_assert_int_eq(tbi_trust_load_ca(&trust, (tbq_bytes){large, sizeof large}, text, sizeof text),
                     TBQ_ERR_INVALID);
    ck_assert_str_eq(tbi_trust_name(&trust), "open");
}
END_TEST

/* --- First use -------------------------------------------------------------------------------- */

static const tbq_peer_id alice = {{1}}, bob = {{2}};

static int load(const char *lines)
{
    return tbi_trust_load_known(&trust, "known-peers", (tbq_bytes){lines, strlen(lines)}, text,
                                sizeof text);
}

static uint64_t dial(const char *host_port, const tbq_peer_id *id, bool dialled, bool *first)
{
    struct tbi_verdict verdict;
    struct tbi_trust_query query = {.id = id, .dialled = dialled, .host_port = host_port};

    int rv = tbi_trust_ask(&trust, &query, &verdict);
    ck_assert(rv == 0 || verdict.text[0] != '\0');
    *first = verdict.first_use;
    tbi_text(text, sizeof text, "%s", verdict.text);
    return verdict.close_code;
}

START_TEST(an_address_keeps_the_key_that_was_met_first)
{
    bool first;

    ck_assert_int_eq(load(""), 0);
    ck_assert_str_eq(tbi_trust_name(&trust), "first-use");
    ck_assert_uint_eq(dial("a.example:1", &alice, true, &first), TBI_CLOSE_NONE);
    ck_assert(first);
    ck_assert_int_eq(tbi_trust_remember(&trust, "a.example:1", &alice), 0);
    ck_assert_uint_eq(dial("a.example:1", &alice, true, &first), TBI_CLOSE_NONE);
    ck_assert(!first);
    ck_assert_uint_eq(dial("a.example:1", &bob, true, &first), TBI_CLOSE_PIN);
    ck_assert_str_eq(text, "the key at a.example:1 is not the one that was met there first "
                           "(known-peers, line 1)");
    ck_assert_uint_eq(dial("a.example:2", &bob, true, &first), TBI_CLOSE_NONE); /* elsewhere */
    ck_assert(first);
}
END_TEST

START_TEST(first_use_never_admits_who_comes_by_himself)
{
    bool first;

    ck_assert_int_eq(load(""), 0);
    ck_assert_int_eq(tbi_trust_remember(&trust, "a.example:1", &alice), 0);
    ck_assert_uint_eq(dial("a.example:1", &alice, false, &first), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_uint_eq(dial(NULL, &bob, true, &first), TBI_CLOSE_NOT_ALLOWED); /* by id, not named */
    ck_assert(!first);
}
END_TEST

START_TEST(known_peers_are_read_and_bad_lines_are_named)
{
    char id[TBQ_PEER_ID_TEXT_SIZE];
    char lines[512];
    bool first;

    tbq_peer_id_to_text(&alice, id);
    snprintf(lines, sizeof lines, "# mine\n\na.example:1 %s # the first\n[::1]:2\t%s\n", id, id);
    ck_assert_int_eq(load(lines), 0);
    ck_assert_uint_eq(dial("[::1]:2", &bob, true, &first), TBI_CLOSE_PIN);
    ck_assert_ptr_nonnull(strstr(text, "line 4"));
    ck_assert_int_eq(tbi_trust_remember(&trust, "b.example:1", &bob), 0);
    ck_assert_uint_eq(dial("b.example:1", &alice, true, &first), TBI_CLOSE_PIN);
    ck_assert_ptr_nonnull(strstr(text, "line 5"));
    ck_assert_int_eq(tbi_trust_remember(&trust, "b.example:1", &bob), TBQ_ERR_EXISTS);

    ck_assert_int_eq(load("a.example:1\n"), TBQ_ERR_INVALID);
    ck_assert_str_eq(text, "line 1: 0 characters, but a peer id has 52");
    snprintf(lines, sizeof lines, "a.example:1 %s\na.example:1 %s\n", id, id);
    ck_assert_int_eq(load(lines), TBQ_ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(text, "line 2"));
    memset(lines, 'x', 400);
    lines[400] = '\0';
    ck_assert_int_eq(load(lines), TBQ_ERR_INVALID);
    ck_assert_uint_eq(dial("[::1]:2", &bob, true, &first), TBI_CLOSE_PIN); /* as it was */
}
END_TEST

START_TEST(policies_join_and_the_deny_list_stands_above_them)
{
    struct authority root =
        authority(foreign_key(GNUTLS_PK_EDDSA_ED25519, 256), WALL_S + 9999, NULL);
    char id[TBQ_PEER_ID_TEXT_SIZE];
    bool first;

    trust_authority(&root);
    ck_assert_int_eq(load(""), 0);
    tbq_peer_id_to_text(&bob, id);
    ck_assert_int_eq(
        tbi_trust_load(&trust, TBI_TRUST_ALLOW, (tbq_bytes){id, strlen(id)}, text, sizeof text), 0);
    ck_assert_str_eq(tbi_trust_name(&trust), "allow+ca+first-use");
    ck_assert_uint_eq(dial("x:1", &bob, false, &first), TBI_CLOSE_NONE);  /* is on the list */
    ck_assert_uint_eq(dial("x:1", &alice, true, &first), TBI_CLOSE_NONE); /* first use */
    ck_assert_uint_eq(dial("x:1", &alice, false, &first), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_int_eq(
        tbi_trust_load(&trust, TBI_TRUST_DENY, (tbq_bytes){id, strlen(id)}, text, sizeof text), 0);
    ck_assert_str_eq(tbi_trust_name(&trust), "allow+ca+first-use+deny");
    ck_assert_uint_eq(dial("x:1", &bob, true, &first), TBI_CLOSE_DENIED);
    forget(&root);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("admit");
    TCase *c = tcase_create("admit");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, who_is_vouched_for_is_let_in_and_nobody_else);
    tcase_add_test(c, a_chain_is_followed_as_long_as_its_links_are_sound);
    tcase_add_test(c, a_file_without_certificates_is_refused_and_changes_nothing);
    tcase_add_test(c, an_address_keeps_the_key_that_was_met_first);
    tcase_add_test(c, first_use_never_admits_who_comes_by_himself);
    tcase_add_test(c, known_peers_are_read_and_bad_lines_are_named);
    tcase_add_test(c, policies_join_and_the_deny_list_stands_above_them);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
