/* server/trust.c - the files that say whom to trust: read at start, and again when asked to; and
 * what first use adds to them. */
#include <string.h>

#include "server/parts.h"

/* What is done with the bytes of a file. */
typedef int (*take_fn)(struct tbi_trust *trust, const char *path, tbq_bytes bytes, char *why,
                       size_t why_size);

static int take_deny(struct tbi_trust *trust, const char *path, tbq_bytes bytes, char *why,
                     size_t why_size)
{
    (void)path;
    return tbi_trust_load(trust, TBI_TRUST_DENY, bytes, why, why_size);
}

static int take_allow(struct tbi_trust *trust, const char *path, tbq_bytes bytes, char *why,
                      size_t why_size)
{
    (void)path;
    return tbi_trust_load(trust, TBI_TRUST_ALLOW, bytes, why, why_size);
}

static int take_ca(struct tbi_trust *trust, const char *path, tbq_bytes bytes, char *why,
                   size_t why_size)
{
    (void)path;
    return tbi_trust_load_ca(trust, bytes, why, why_size);
}

static int load(struct tbq_server *s, struct tbi_trust *trust, const char *path, unsigned flags,
                take_fn take, char *text, size_t text_size)
{
    uint8_t *data = NULL;
    size_t size = 0;
    char why[256] = "";

    if (path == NULL) {
        return 0;
    }
    int rv = tbi_file_read(&s->alloc, path, TBI_TRUST_LIST_SIZE_MAX, flags, &data, &size, text,
                           text_size);
    if (rv == 0) {
        rv = take(trust, path, (tbq_bytes){data, size}, why, sizeof why);
        if (rv < 0) {
            tbi_text(text, text_size, "%s: %s", path, why);
        }
    }
    tbi_free(&s->alloc, data);
    return rv;
}

int tbi_server_load_trust(struct tbq_server *s, char *text, size_t text_size)
{
    const tbq_config *c = &s->settings.c;
    struct tbi_trust trust;
    int rv;

    tbi_trust_init(&trust, &s->alloc, &s->rng);
    if ((rv = load(s, &trust, c->deny_path, 0, take_deny, text, text_size)) < 0 ||
        (rv = load(s, &trust, c->allow_path, 0, take_allow, text, text_size)) < 0 ||
        (rv = load(s, &trust, c->ca_path, 0, take_ca, text, text_size)) < 0 ||
        (rv = load(s, &trust, c->known_peers_path, TBI_FILE_MAY_MISS, tbi_trust_load_known, text,
                   text_size)) < 0) {
        tbi_trust_free(&trust);
        return rv; /* all stays as it was */
    }
    tbi_trust_free(&s->trust);
    s->trust = trust;
    return 0;
}

/* One more line of known peers; the file as it was stays whole, comments included. */
static int append(struct tbq_server *s, const char *path, const struct tbi_binding *b, char *text,
                  size_t text_size)
{
    uint8_t *data = NULL;
    size_t size = 0;
    char id[TBQ_PEER_ID_TEXT_SIZE];
    char line[TBQ_ADDRESS_SIZE + TBQ_PEER_ID_TEXT_SIZE + 4];
    int rv = tbi_file_read(&s->alloc, path, TBI_TRUST_LIST_SIZE_MAX, TBI_FILE_MAY_MISS, &data,
                           &size, text, text_size);

    if (rv < 0) {
        return rv;
    }
    tbq_peer_id_to_text(&b->id, id);
    bool open_end = size > 0 && data[size - 1] != '\n';
    tbi_text(line, sizeof line, "%s%s %s\n", open_end ? "\n" : "", b->host_port, id);
    struct tbi_block *whole = tbi_block_new(&s->alloc, size + sizeof line);
    rv = whole != NULL && (size == 0 || tbi_block_append(whole, data, size) == 0) &&
                 tbi_block_append(whole, line, strlen(line)) == 0
             ? tbi_file_replace(path, whole->data, whole->size, 0600, text, text_size)
             : TBQ_ERR_NOMEM;
    tbi_block_unref(whole);
    tbi_free(&s->alloc, data);
    return rv;
}

void tbi_server_save_bindings(struct tbq_server *s)
{
    const char *path = s->settings.c.known_peers_path;
    struct tbi_binding b;
    char why[TBI_PATH_SIZE + 128];

    while (tbi_node_next_binding(s->node, &b)) {
        why[0] = '\0';
        int rv = path != NULL ? append(s, path, &b, why, sizeof why) : 0;
        if (rv < 0) {
            tbi_log(&s->log, TBQ_LOG_ERROR, "the key at %s could not be remembered: %s",
                    b.host_port, why[0] != '\0' ? why : tbq_strerror(rv));
        }
    }
}
