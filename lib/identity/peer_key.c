/* identity/peer_key.c - the key that a certificate carries, and whether its time is now.
 *
 * The bytes are a stranger's. Nothing in them is verified but what TLS has: that the peer holds the
 * key. A foreign key type is turned away by its name, before any arithmetic with it
 * (CVE-2023-39533). */
#include "identity/parts.h"

#include <string.h>
#include <time.h>

#include <tbquic/error.h>

#include "base/log.h"

#define DATE_TEXT_SIZE 32

static int refuse(struct tbi_verdict *verdict, uint64_t code, const char *text)
{
    verdict->close_code = code;
    tbi_text(verdict->text, sizeof verdict->text, "%s", text);
    return TBQ_ERR_IDENTITY;
}

/* Our own trouble, not the peer's. */
static int give_up(struct tbi_verdict *verdict, int gnutls_error)
{
    verdict->close_code = TBI_CLOSE_INTERNAL;
    tbi_text(verdict->text, sizeof verdict->text, "the certificate could not be looked at: %s",
             gnutls_strerror(gnutls_error));
    return tbi_tls_error(gnutls_error);
}

const char *tbi_key_type_name(int pk_algorithm)
{
    const char *name = pk_algorithm > GNUTLS_PK_UNKNOWN
                           ? gnutls_pk_algorithm_get_name((gnutls_pk_algorithm_t)pk_algorithm)
                           : NULL;
    return name != NULL ? name : "unknown";
}

static int wrong_type(struct tbi_verdict *verdict, int pk_algorithm)
{
    verdict->close_code = TBI_CLOSE_KEY_TYPE;
    tbi_text(verdict->text, sizeof verdict->text,
             "the certificate's key is of type %s; only Ed25519 is used",
             tbi_key_type_name(pk_algorithm));
    return TBQ_ERR_IDENTITY;
}

int tbi_cert_ed25519(gnutls_x509_crt_t crt, uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                     struct tbi_verdict *verdict)
{
    gnutls_datum_t x = {0};
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    int algorithm = gnutls_x509_crt_get_pk_algorithm(crt, NULL);
    int rv;

    if (algorithm != GNUTLS_PK_EDDSA_ED25519) {
        return wrong_type(verdict, algorithm);
    }
    rv = gnutls_x509_crt_get_pk_ecc_raw(crt, &curve, &x, NULL);
    if (rv == GNUTLS_E_MEMORY_ERROR) {
        return give_up(verdict, rv);
    }
    if (rv < 0 || curve != GNUTLS_ECC_CURVE_ED25519 || x.size != TBQ_PUBLIC_KEY_SIZE) {
        rv = refuse(verdict, TBI_CLOSE_CERTIFICATE, "the certificate's key cannot be read");
    } else {
        memcpy(key, x.data, TBQ_PUBLIC_KEY_SIZE);
        rv = 0;
    }
    gnutls_free(x.data);
    return rv;
}

/* "2026-11-23 17:30:00 UTC" */
static void date_text(time_t when, char text[DATE_TEXT_SIZE])
{
    struct tm tm;
    if (gmtime_r(&when, &tm) == NULL ||
        strftime(text, DATE_TEXT_SIZE, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0) {
        tbi_text(text, DATE_TEXT_SIZE, "a time out of range");
    }
}

static void read_times(gnutls_x509_crt_t crt, struct tbi_cert *cert)
{
    cert->from = gnutls_x509_crt_get_activation_time(crt);
    cert->until = gnutls_x509_crt_get_expiration_time(crt);
}

int tbi_cert_judge(const struct tbi_cert *cert, uint64_t wall_ms, struct tbi_verdict *verdict)
{
    time_t now = (time_t)((wall_ms < TBI_WALL_MS_MAX ? wall_ms : TBI_WALL_MS_MAX) / 1000);
    char when[DATE_TEXT_SIZE];

    if (cert->from == (time_t)-1 || cert->until == (time_t)-1) {
        return refuse(verdict, TBI_CLOSE_CERTIFICATE, "the certificate's dates cannot be read");
    }
    if (now < cert->from) {
        date_text(cert->from, when);
        verdict->close_code = TBI_CLOSE_CERTIFICATE;
        tbi_text(verdict->text, sizeof verdict->text, "the certificate is valid only from %s on",
                 when);
        return TBQ_ERR_IDENTITY;
    }
    if (now > cert->until) { /* both ends count, RFC 5280, section 4.1.2.5 */
        date_text(cert->until, when);
        verdict->close_code = TBI_CLOSE_CERTIFICATE;
        tbi_text(verdict->text, sizeof verdict->text, "the certificate expired at %s", when);
        return TBQ_ERR_IDENTITY;
    }
    return 0;
}

int tbi_cert_valid_at(gnutls_x509_crt_t crt, uint64_t wall_ms, struct tbi_verdict *verdict)
{
    struct tbi_cert cert = {.key = {0}};

    read_times(crt, &cert);
    return tbi_cert_judge(&cert, wall_ms, verdict);
}

int tbi_cert_read(const gnutls_datum_t *der, struct tbi_cert *cert, struct tbi_verdict *verdict)
{
    gnutls_x509_crt_t crt = NULL;
    int rv;

    memset(verdict, 0, sizeof *verdict);
    if (der == NULL || der->data == NULL || der->size == 0) {
        return refuse(verdict, TBI_CLOSE_NO_CERTIFICATE, "the peer showed no certificate");
    }
    rv = gnutls_x509_crt_init(&crt);
    if (rv < 0) {
        return give_up(verdict, rv);
    }
    rv = gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER);
    if (rv == GNUTLS_E_MEMORY_ERROR) {
        rv = give_up(verdict, rv);
    } else if (rv < 0) {
        rv = refuse(verdict, TBI_CLOSE_CERTIFICATE, "the certificate cannot be read");
    } else {
        rv = tbi_cert_ed25519(crt, cert->key, verdict);
    }
    if (rv == 0) {
        read_times(crt, cert);
    }
    gnutls_x509_crt_deinit(crt);
    return rv;
}

int tbi_identity_cert_key(const gnutls_datum_t *der, uint64_t wall_ms,
                          uint8_t key[TBQ_PUBLIC_KEY_SIZE], struct tbi_verdict *verdict)
{
    struct tbi_cert cert = {.key = {0}};
    int rv = tbi_cert_read(der, &cert, verdict);

    rv = rv != 0 ? rv : tbi_cert_judge(&cert, wall_ms, verdict);
    if (rv == 0) {
        memcpy(key, cert.key, sizeof cert.key);
    }
    return rv;
}

int tbi_identity_peer_key(gnutls_session_t session, uint64_t wall_ms,
                          uint8_t key[TBQ_PUBLIC_KEY_SIZE], struct tbi_verdict *verdict)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);

    return tbi_identity_cert_key(count > 0 ? chain : NULL, wall_ms, key, verdict);
}

const gnutls_datum_t *tbi_identity_peer_chain(gnutls_session_t session, unsigned *count)
{
    *count = 0;
    return gnutls_certificate_get_peers(session, count);
}

int tbi_identity_valid_at(const struct tbi_identity *identity, uint64_t wall_ms, char *text,
                          size_t text_size)
{
    struct tbi_verdict verdict = {0};
    int rv = tbi_cert_valid_at(identity->chain[0], wall_ms, &verdict);

    tbi_text(text, text_size, "%s", verdict.text);
    return rv;
}

uint64_t tbi_identity_ends_ms(const struct tbi_identity *identity, char *text, size_t text_size)
{
    uint64_t first = TBI_WALL_MS_MAX;
    char when[DATE_TEXT_SIZE];

    for (unsigned i = 0; i < identity->chain_len; i++) {
        time_t until = gnutls_x509_crt_get_expiration_time(identity->chain[i]);
        if (until != (time_t)-1 && (uint64_t)until < first / 1000) {
            first = (uint64_t)until * 1000;
        }
    }
    date_text((time_t)(first / 1000), when);
    tbi_text(text, text_size, "%s", when);
    return first;
}
