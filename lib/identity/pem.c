/* identity/pem.c - an identity from PEM text and back, with words for what is wrong with a file.
 *
 * Whoever reads these words has a file in front of them that some other program wrote, so they say
 * what it holds instead of what was wanted. */
#include "identity/parts.h"

#include <string.h>

#include <tbquic/error.h>

#include "base/log.h"

#define COMPLAINT_SIZE 256
#define LABEL_SIZE 48 /* of "-----BEGIN LABEL-----", with the NUL; longer ones are cut */

static const char begin_mark[] = "-----BEGIN ";
static const char private_key[] = "PRIVATE KEY";

struct complaint {
    char *text;
    size_t size;
};

/* The label of the next PEM block; false when there is none. Letters, digits and spaces only. */
static bool next_label(struct tbi_cursor *c, char label[LABEL_SIZE])
{
    const size_t mark_size = sizeof begin_mark - 1;
    const uint8_t *mark =
        tbi_cur_left(c) > 0 ? memmem(c->at, tbi_cur_left(c), begin_mark, mark_size) : NULL;
    size_t len = 0;

    if (mark == NULL) {
        return false;
    }
    tbi_cur_take(c, (size_t)(mark - c->at) + mark_size);
    while (tbi_cur_left(c) > 0 && len < LABEL_SIZE - 1) {
        char byte = (char)tbi_cur_u8(c);
        if (!((byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == ' ')) {
            break;
        }
        label[len++] = byte;
    }
    label[len] = '\0';
    return true;
}

static bool ends_with(const char *text, const char *end)
{
    size_t text_len = strlen(text), end_len = strlen(end);
    return text_len >= end_len && strcmp(text + text_len - end_len, end) == 0;
}

/* Whether the text has the form of a plain private key, as far as its labels tell. */
static int check_labels(tbq_bytes pem, const struct complaint *why)
{
    char first[LABEL_SIZE] = "", label[LABEL_SIZE];
    struct tbi_cursor c;

    if (pem.size > TBI_PEM_SIZE_MAX) {
        tbi_text(why->text, why->size, "larger than %u bytes; this is no key file",
                 TBI_PEM_SIZE_MAX);
        return TBQ_ERR_IDENTITY;
    }
    tbi_cur_init(&c, pem.data, pem.size);
    while (next_label(&c, label)) {
        if (strcmp(label, "ENCRYPTED PRIVATE KEY") == 0) {
            tbi_text(why->text, why->size, "the private key is encrypted; a plain one is needed");
            return TBQ_ERR_IDENTITY;
        }
        if (strcmp(label, "OPENSSH PRIVATE KEY") == 0) {
            tbi_text(why->text, why->size,
                     "a private key in OpenSSH's own format; PKCS #8 is needed");
            return TBQ_ERR_IDENTITY;
        }
        if (ends_with(label, private_key)) {
            return 0;
        }
        if (first[0] == '\0') {
            memcpy(first, label, sizeof first);
        }
    }
    if (first[0] == '\0') {
        tbi_text(why->text, why->size, "not a PEM file: no line begins with \"%s\"", begin_mark);
    } else {
        tbi_text(why->text, why->size, "no private key in it, but %s", first);
    }
    return TBQ_ERR_IDENTITY;
}

static void pem_datum(tbq_bytes pem, gnutls_datum_t *datum)
{
    memcpy(&datum->data, &pem.data, sizeof datum->data); /* only read from */
    datum->size = (unsigned)pem.size;                    /* at most TBI_PEM_SIZE_MAX */
}

static int export_seed(gnutls_x509_privkey_t key, uint8_t seed[TBI_SEED_SIZE])
{
    gnutls_datum_t k = {0};
    int rv = tbi_tls_error(gnutls_x509_privkey_export_ecc_raw(key, NULL, NULL, NULL, &k));

    if (rv != 0) {
        return rv;
    }
    if (k.size == TBI_SEED_SIZE) {
        memcpy(seed, k.data, TBI_SEED_SIZE);
    } else {
        rv = TBQ_ERR_TLS;
    }
    tbi_wipe(k.data, k.size);
    gnutls_free(k.data);
    return rv;
}

static int read_seed(tbq_bytes pem, uint8_t seed[TBI_SEED_SIZE], const struct complaint *why)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_datum_t datum;
    int rv = check_labels(pem, why);

    if (rv != 0) {
        return rv;
    }
    rv = tbi_tls_error(gnutls_x509_privkey_init(&key));
    if (rv != 0) {
        return rv;
    }
    pem_datum(pem, &datum);
    rv = gnutls_x509_privkey_import(key, &datum, GNUTLS_X509_FMT_PEM);
    if (rv == GNUTLS_E_MEMORY_ERROR) {
        rv = TBQ_ERR_NOMEM;
    } else if (rv < 0) {
        tbi_text(why->text, why->size, "the private key cannot be read: %s", gnutls_strerror(rv));
        rv = TBQ_ERR_IDENTITY;
    } else if (gnutls_x509_privkey_get_pk_algorithm(key) != GNUTLS_PK_EDDSA_ED25519) {
        tbi_text(why->text, why->size, "the private key is of type %s; only Ed25519 is used",
                 tbi_key_type_name(gnutls_x509_privkey_get_pk_algorithm(key)));
        rv = TBQ_ERR_IDENTITY;
    } else {
        rv = export_seed(key, seed);
    }
    gnutls_x509_privkey_deinit(key);
    return rv;
}

static int read_chain(struct tbi_identity *identity, tbq_bytes pem, const struct complaint *why)
{
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict = {0};
    unsigned count = TBI_CHAIN_MAX;
    gnutls_datum_t datum;
    int rv;

    if (pem.size > TBI_PEM_SIZE_MAX) {
        tbi_text(why->text, why->size, "larger than %u bytes; this is no certificate file",
                 TBI_PEM_SIZE_MAX);
        return TBQ_ERR_IDENTITY;
    }
    pem_datum(pem, &datum);
    rv = gnutls_x509_crt_list_import(identity->chain, &count, &datum, GNUTLS_X509_FMT_PEM,
                                     GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (rv <= 0) { /* nothing is left in the chain then */
        if (rv == GNUTLS_E_MEMORY_ERROR) {
            return TBQ_ERR_NOMEM;
        }
        if (rv == GNUTLS_E_SHORT_MEMORY_BUFFER) {
            tbi_text(why->text, why->size, "more than %d certificates", TBI_CHAIN_MAX);
        } else if (rv == 0 || rv == GNUTLS_E_NO_CERTIFICATE_FOUND) {
            tbi_text(why->text, why->size, "no certificate in PEM in it");
        } else {
            tbi_text(why->text, why->size, "the certificate cannot be read: %s",
                     gnutls_strerror(rv));
        }
        return TBQ_ERR_IDENTITY;
    }
    identity->chain_len = (unsigned)rv;
    rv = tbi_cert_ed25519(identity->chain[0], key, &verdict);
    if (rv != 0) {
        tbi_text(why->text, why->size, "%s", verdict.text);
        return rv;
    }
    if (memcmp(key, identity->key, sizeof key) != 0) {
        tbi_text(why->text, why->size, "the certificate is for another key than the key file's");
        return TBQ_ERR_IDENTITY;
    }
    return 0;
}

int tbi_identity_from_pem(struct tbi_identity **identity, const struct tbi_alloc *alloc,
                          tbq_bytes key_pem, tbq_bytes cert_pem, struct tbi_rng *rng, char *text,
                          size_t text_size)
{
    char said[COMPLAINT_SIZE];
    const struct complaint why = {.text = said, .size = sizeof said};
    const char *about = "key";
    struct tbi_identity *made = NULL;
    uint8_t seed[TBI_SEED_SIZE];
    int rv = read_seed(key_pem, seed, &why);

    if (rv == 0) {
        rv = tbi_identity_bare(&made, alloc, seed);
        tbi_wipe(seed, sizeof seed);
    }
    if (rv == 0) {
        about = "certificate";
        rv = cert_pem.data != NULL ? read_chain(made, cert_pem, &why)
                                   : tbi_identity_self_sign(made, rng);
    }
    if (rv != 0) {
        tbi_text(text, text_size, "%s: %s", about,
                 rv == TBQ_ERR_IDENTITY ? said : tbq_strerror(rv));
        tbi_identity_free(made);
        return rv;
    }
    *identity = made;
    tbi_text(text, text_size, "%s", "");
    return 0;
}

/* Takes the text that GnuTLS made, which may be secret. */
static int hand_over(gnutls_datum_t *made, char *pem, size_t capacity, size_t *size)
{
    int rv = 0;

    if (made->size >= capacity) {
        rv = TBQ_ERR_TOO_LARGE;
    } else {
        memcpy(pem, made->data, made->size);
        pem[made->size] = '\0';
        *size = made->size;
    }
    tbi_wipe(made->data, made->size);
    gnutls_free(made->data);
    return rv;
}

int tbi_identity_export_key(const struct tbi_identity *identity, char *pem, size_t capacity,
                            size_t *size)
{
    gnutls_datum_t made = {0};
    int rv = tbi_tls_error(gnutls_x509_privkey_export2_pkcs8(
        identity->x509_key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &made));

    return rv != 0 ? rv : hand_over(&made, pem, capacity, size);
}

int tbi_identity_export_cert(const struct tbi_identity *identity, char *pem, size_t capacity,
                             size_t *size)
{
    gnutls_datum_t made = {0};
    int rv = tbi_tls_error(gnutls_x509_crt_export2(identity->chain[0], GNUTLS_X509_FMT_PEM, &made));

    return rv != 0 ? rv : hand_over(&made, pem, capacity, size);
}
