/*
 * ngtcp2's example programs speak HTTP/3 and no other protocol; no option of theirs changes it.
 * This is loaded before them (LD_PRELOAD): it puts tbq/1 in the place of their protocol's name, and
 * takes HTTP/3 out: what arrives on streams is forgotten, and nothing is written. What is left is
 * their QUIC and their TLS.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <gnutls/gnutls.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

static unsigned char ours[] = "tbq/1", theirs[] = "h3";

int gnutls_alpn_set_protocols(gnutls_session_t session, const gnutls_datum_t *names, unsigned many,
                              unsigned flags)
{
    int (*next)(gnutls_session_t, const gnutls_datum_t *, unsigned, unsigned);
    gnutls_datum_t only = {ours, sizeof(ours) - 1};
    (void)names;
    (void)many;
    *(void **)&next = dlsym(RTLD_NEXT, "gnutls_alpn_set_protocols");
    return next(session, &only, 1, flags);
}

/* The server closes the connection when this is not the name of its protocol. */
int gnutls_alpn_get_selected_protocol(gnutls_session_t session, gnutls_datum_t *name)
{
    int (*next)(gnutls_session_t, gnutls_datum_t *);
    int rv;
    *(void **)&next = dlsym(RTLD_NEXT, "gnutls_alpn_get_selected_protocol");
    rv = next(session, name);
    if (rv == 0 && name->size == sizeof(ours) - 1 && memcmp(name->data, ours, name->size) == 0) {
        name->data = theirs;
        name->size = sizeof(theirs) - 1;
    }
    return rv;
}

ssize_t nghttp3_conn_read_stream(void *conn, int64_t stream_id, const uint8_t *src, size_t len,
                                 int fin);
ssize_t nghttp3_conn_writev_stream(void *conn, int64_t *stream_id, int *fin, void *vec,
                                   size_t room);

ssize_t nghttp3_conn_read_stream(void *conn, int64_t stream_id, const uint8_t *src, size_t len,
                                 int fin)
{
    (void)conn;
    (void)stream_id;
    (void)src;
    (void)fin;
    return (ssize_t)len;
}

ssize_t nghttp3_conn_writev_stream(void *conn, int64_t *stream_id, int *fin, void *vec, size_t room)
{
    (void)conn;
    (void)vec;
    (void)room;
    *stream_id = -1;
    *fin = 0;
    return 0;
}
