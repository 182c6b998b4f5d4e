/* identity/trust_ca.c - peers that a certificate authority of the operator vouches for.
 *
 * The chain is a stranger's: it is short, keys in it that are expensive to compute with are not
 * looked at, and times are judged by the clock that is passed in, not by GnuTLS's own. */
#include <string.h>

#include <tbquic/error.h>

#include "base/log.h"
#include "identity/identity.h"
#include "identity/parts.h"
#include "identity/trust_parts.h"

void tbi_ca_free(struct tbi_trust *trust)
{
    if (trust->ca != NULL) {
        gnutls_x509_trust_list_deinit(trust->ca, 1);
        trust->ca = NULL;
    }
}

int tbi_trust_load_ca(struct tbi_trust *trust, tbq_bytes pem, char *text, size_t text_size)
{
    gnutls_x509_trust_list_t list = NULL;
    gnutls_x509_crt_t *crt = NULL;
    gnutls_datum_t datum = {.data = (unsigned char *)(uintptr_t)pem.data,
                            .size = (unsigned)pem.size};
    unsigned count = 0;

    tbi_text(text, text_size, "%s", "");
    if (pem.size > TBI_PEM_SIZE_MAX) {
        tbi_text(text, text_size, "larger than %u bytes", TBI_PEM_SIZE_MAX);
        return TBQ_ERR_INVALID;
    }
    int rv = gnutls_x509_crt_list_import2(&crt, &count, &datum, GNUTLS_X509_FMT_PEM, 0);
    if (rv < 0) {
        tbi_text(text, text_size, "no certificates in PEM form can be read from it: %s",
                 gnutls_strerror(rv));
        return rv == GNUTLS_E_MEMORY_ERROR ? TBQ_ERR_NOMEM : TBQ_ERR_INVALID;
    }
    rv = gnutls_x509_trust_list_init(&list, 0);
    if (rv == 0) { /* the certificates are the list's from here on */
        rv = gnutls_x509_trust_list_add_cas(list, crt, count, 0);
    }
    if (rv != (int)count) {
        tbi_text(text, text_size, "%s", gnutls_strerror(rv < 0 ? rv : GNUTLS_E_INTERNAL_ERROR));
        for (unsigned i = 0; list == NULL && i < count; i++) {
            gnutls_x509_crt_deinit(crt[i]);
        }
        gnutls_free(crt);
        if (list != NULL) {
            gnutls_x509_trust_list_deinit(list, 1);
        }
        return rv == GNUTLS_E_MEMORY_ERROR ? TBQ_ERR_NOMEM : TBQ_ERR_TLS;
    }
    gnutls_free(crt);
    tbi_ca_free(trust);
    trust->ca = list;
    tbi_trust_set_name(trust);
    return 0;
}

/* Whether it costs little to verify a signature with that certificate's key. */
static bool is_cheap(gnutls_x509_crt_t crt)
{
    unsigned bits = 0;
    return gnutls_x509_crt_get_pk_algorithm(crt, &bits) >= 0 && bits <= TBI_TRUST_CA_BITS_MAX;
}

static bool verifies(const struct tbi_trust *trust, gnutls_x509_crt_t *crt, unsigned count,
                     uint64_t wall_ms)
{
    struct tbi_verdict ignored;
    unsigned status = 0;
    gnutls_x509_crt_t issuer = NULL;

    for (unsigned i = 0; i < count; i++) {
        if (!is_cheap(crt[i]) || tbi_cert_valid_at(crt[i], wall_ms, &ignored) < 0) {
            return false;
        }
    }
    if (gnutls_x509_trust_list_verify_crt2(trust->ca, crt, count, NULL, 0,
                                           GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status, NULL) < 0 ||
        status != 0) {
        return false;
    }
    /* The authority's own time, where it is not in the chain. */
    if (gnutls_x509_trust_list_get_issuer(trust->ca, crt[count - 1], &issuer, 0) == 0) {
        return tbi_cert_valid_at(issuer, wall_ms, &ignored) == 0;
    }
    return true;
}

bool tbi_ca_vouches(const struct tbi_trust *trust, const struct tbi_trust_query *query)
{
    gnutls_x509_crt_t crt[TBI_CHAIN_MAX];
    unsigned count = 0;
    bool good = query->chain_len > 0 && query->chain_len <= TBI_CHAIN_MAX;

    while (good && count < query->chain_len) {
        if (gnutls_x509_crt_init(&crt[count]) < 0) {
            good = false;
            break;
        }
        good = gnutls_x509_crt_import(crt[count], &query->chain[count], GNUTLS_X509_FMT_DER) == 0;
        count++;
    }
    good = good && verifies(trust, crt, count, query->wall_ms);
    while (count > 0) {
        gnutls_x509_crt_deinit(crt[--count]);
    }
    return good;
}
