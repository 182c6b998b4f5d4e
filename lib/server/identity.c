/* server/identity.c - keys on disk: made, read, locked. */
#include <tbquic/identity.h>

#include <stdio.h>
#include <string.h>

#include "server/parts.h"

#define KEY_FILE "node.key"
#define CERT_FILE "node.crt"

/* A random key; the seed does not outlive the call. */
static int fresh(struct tbi_identity **identity, const struct tbi_alloc *a, struct tbi_rng *rng)
{
    uint8_t seed[TBI_SEED_SIZE];
    tbi_rng_bytes(rng, seed, sizeof seed);
    int rv = tbi_identity_new(identity, a, seed, rng);
    tbi_wipe(seed, sizeof seed);
    return rv;
}

/* Reads key and certificate; cert_path NULL: a certificate is made. */
static int from_files(struct tbi_identity **identity, const struct tbi_alloc *a,
                      struct tbi_rng *rng, const char *key_path, const char *cert_path, char *text,
                      size_t text_size)
{
    uint8_t *key = NULL;
    uint8_t *cert = NULL; /* stays NULL when there is no path: one is made */
    size_t key_size = 0, cert_size = 0;
    char why[256] = "";
    int rv = tbi_file_read(a, key_path, TBI_PEM_SIZE_MAX, TBI_FILE_SECRET, &key, &key_size, text,
                           text_size);

    if (rv == 0 && cert_path != NULL) {
        rv = tbi_file_read(a, cert_path, TBI_PEM_SIZE_MAX, 0, &cert, &cert_size, text, text_size);
    }
    if (rv == 0) {
        rv = tbi_identity_from_pem(identity, a, (tbq_bytes){key, key_size},
                                   (tbq_bytes){cert, cert_size}, rng, why, sizeof why);
        if (rv < 0) {
            tbi_text(text, text_size, "%s%s%s: %s", key_path, cert_path != NULL ? ", " : "",
                     cert_path != NULL ? cert_path : "", why);
        }
    }
    if (key != NULL) {
        tbi_wipe(key, key_size);
    }
    tbi_free(a, key);
    tbi_free(a, cert);
    return rv;
}

/* Writes a new key and its certificate into `dir`; a key that is there stays: TBQ_ERR_EXISTS. */
static int to_files(const struct tbi_identity *identity, const char *key_path,
                    const char *cert_path, char *text, size_t text_size)
{
    char key[TBI_KEY_PEM_SIZE];
    char cert[TBI_CERT_PEM_SIZE];
    size_t key_size = 0, cert_size = 0;
    int rv = tbi_identity_export_key(identity, key, sizeof key, &key_size);

    if (rv == 0) {
        rv = tbi_identity_export_cert(identity, cert, sizeof cert, &cert_size);
    }
    if (rv == 0) {
        rv = tbi_file_create(key_path, key, key_size, 0600, text, text_size);
    }
    tbi_wipe(key, sizeof key);
    if (rv == 0) {
        /* The certificate can be made anew from the key at any time: replacing it loses nothing. */
        rv = tbi_file_replace(cert_path, cert, cert_size, 0644, text, text_size);
    }
    return rv;
}

static int paths(const char *dir, char key[TBI_PATH_SIZE], char cert[TBI_PATH_SIZE], char *text,
                 size_t text_size)
{
    if (tbi_file_join(key, TBI_PATH_SIZE, dir, KEY_FILE) < 0 ||
        tbi_file_join(cert, TBI_PATH_SIZE, dir, CERT_FILE) < 0) {
        tbi_text(text, text_size, "the path of the folder for the key is too long: %.120s...", dir);
        return TBQ_ERR_FILE;
    }
    return 0;
}

static int from_state_dir(struct tbq_server *s, const char *dir)
{
    char key[TBI_PATH_SIZE], cert[TBI_PATH_SIZE];
    char *text = s->settings.c.error_text;
    size_t size = s->settings.c.error_text_size;
    struct tbi_identity *made = NULL;
    int rv = paths(dir, key, cert, text, size);

    if (rv == 0) {
        rv = tbi_file_make_dir(dir, text, size);
    }
    if (rv == 0) {
        rv = fresh(&made, &s->alloc, &s->rng);
    }
    if (rv == 0) {
        rv = to_files(made, key, cert, text, size);
    }
    tbi_identity_free(made);
    if (rv < 0 && rv != TBQ_ERR_EXISTS) {
        return rv;
    }
    tbi_text(text, size, "%s", "");
    rv = tbi_file_lock(&s->key_lock, key, text, size);
    if (rv < 0 && rv != TBQ_ERR_UNSUPPORTED) {
        return rv;
    }
    return from_files(&s->identity, &s->alloc, &s->rng, key, NULL, text, size);
}

int tbi_server_load_identity(struct tbq_server *s, struct tbi_now now)
{
    const tbq_config *c = &s->settings.c;
    int rv;

    if (c->key_path != NULL) {
        rv = tbi_file_lock(&s->key_lock, c->key_path, c->error_text, c->error_text_size);
        if (rv == 0 || rv == TBQ_ERR_UNSUPPORTED) {
            rv = from_files(&s->identity, &s->alloc, &s->rng, c->key_path, c->cert_path,
                            c->error_text, c->error_text_size);
        }
    } else if (c->state_dir != NULL) {
        rv = from_state_dir(s, c->state_dir);
    } else {
        rv = fresh(&s->identity, &s->alloc, &s->rng);
    }
    return rv < 0
               ? rv
               : tbi_identity_valid_at(s->identity, now.wall_ms, c->error_text, c->error_text_size);
}

/* --- Without a server ------------------------------------------------------------------------- */

static int own_rng(struct tbi_rng *rng)
{
    uint8_t seed[TBI_RNG_SEED_SIZE];
    int rv = tbi_random_fill(seed, sizeof seed);
    if (rv == 0) {
        tbi_rng_init(rng, seed);
        tbi_wipe(seed, sizeof seed);
    }
    return rv;
}

int tbq_identity_create(const char *dir, tbq_peer_id *id, char *text, size_t text_size)
{
    char key[TBI_PATH_SIZE], cert[TBI_PATH_SIZE];
    struct tbi_alloc alloc;
    struct tbi_rng rng;
    struct tbi_identity *made = NULL;
    int rv = dir != NULL && id != NULL ? tbi_alloc_init(&alloc, NULL) : TBQ_ERR_INVALID;

    if (rv < 0 || (rv = own_rng(&rng)) < 0 || (rv = paths(dir, key, cert, text, text_size)) < 0 ||
        (rv = tbi_file_make_dir(dir, text, text_size)) < 0 ||
        (rv = fresh(&made, &alloc, &rng)) < 0) {
        return rv;
    }
    rv = to_files(made, key, cert, text, text_size);
    if (rv == 0) {
        *id = *tbi_identity_id(made);
    }
    tbi_identity_free(made);
    tbi_wipe(&rng, sizeof rng);
    return rv;
}

int tbq_identity_read(const char *key_path, tbq_peer_id *id, char *text, size_t text_size)
{
    struct tbi_alloc alloc;
    struct tbi_rng rng;
    struct tbi_identity *read = NULL;
    int rv = key_path != NULL && id != NULL ? tbi_alloc_init(&alloc, NULL) : TBQ_ERR_INVALID;

    if (rv < 0 || (rv = own_rng(&rng)) < 0) {
        return rv;
    }
    rv = from_files(&read, &alloc, &rng, key_path, NULL, text, text_size);
    if (rv == 0) {
        *id = *tbi_identity_id(read);
    }
    tbi_identity_free(read);
    return rv;
}

int tbq_state_dir(char *path, size_t size)
{
    return tbi_file_state_dir(path, size, NULL, 0);
}
