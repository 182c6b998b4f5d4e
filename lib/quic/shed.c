/* quic/shed.c - what connections do without: once the handshake is over the TLS session, which is a
 * fifth of what an idle one holds, and nearly all of the rest once they are.
 *
 * Keys are updated by ngtcp2 from its secrets alone (RFC 9001, section 6), so that after the
 * handshake TLS has nothing to do but tickets: a server gives one as its handshake completes, and a
 * client waits for it. What comes in CRYPTO frames then is looked at here from the first byte on,
 * so that it is the same whether the session is there or not: a client takes tickets (RFC 8446,
 * section 4.6.1) and ignores those that come too late, and nothing else is allowed (RFC 9001,
 * sections 4.4 and 6). */
#include <string.h>

#include "identity/identity.h"
#include "quic/parts.h"

#define HEAD_SIZE 4          /* of a handshake message: its type, and three bytes of its length */
#define NEW_SESSION_TICKET 4 /* RFC 8446, section 4 */

bool tbi_late_tls(struct tbi_conn *c, const uint8_t *data, size_t size)
{
    struct tbi_late_tls *late = &c->late;
    struct tbi_cursor in;

    tbi_cur_init(&in, data, size);
    while (tbi_cur_left(&in) > 0) {
        if (late->left > 0) {
            size_t n = tbi_cur_left(&in) < late->left ? tbi_cur_left(&in) : late->left;
            (void)tbi_cur_take(&in, n);
            late->left -= (uint32_t)n;
            continue;
        }
        uint8_t next = tbi_cur_u8(&in);
        if (c->server || (late->head_len == 0 && next != NEW_SESSION_TICKET)) {
            return false;
        }
        late->length = late->head_len == 0 ? 0 : late->length << 8 | next;
        if (++late->head_len == HEAD_SIZE) {
            late->left = late->length;
            late->head_len = 0;
        }
    }
    return true;
}

/* The chain is the session's memory. False: there is none for a copy. */
static bool keep_chain(struct tbi_conn *c)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = tbi_identity_peer_chain(c->tls, &count);
    size_t size = count * sizeof *chain;

    for (unsigned i = 0; i < count; i++) {
        size += chain[i].size;
    }
    c->chain = tbi_malloc(c->ep->alloc, size);
    if (c->chain == NULL) {
        return false;
    }
    uint8_t *at = (uint8_t *)(c->chain + count);
    for (unsigned i = 0; i < count; i++) {
        c->chain[i] = (gnutls_datum_t){.data = at, .size = chain[i].size};
        memcpy(at, chain[i].data, chain[i].size);
        at += chain[i].size;
    }
    c->chain_len = count;
    return true;
}

void tbi_shed(struct tbi_conn *c)
{
    if (!c->not_asked || c->tls == NULL || !c->complete || c->account.reading ||
        (!c->server && !c->ticket_came)) {
        return;
    }
    if (c->wants_chain && !keep_chain(c)) {
        return; /* the session stays, until there is memory when the next packet has come */
    }
    ngtcp2_conn_set_tls_native_handle(c->qc, NULL);
    gnutls_deinit(c->tls);
    c->tls = NULL;
}

void tbi_conn_shed(struct tbi_conn *c, bool wants_chain)
{
    c->not_asked = true;
    c->wants_chain = wants_chain;
    tbi_shed(c);
}

const gnutls_datum_t *tbi_conn_peer_chain(const struct tbi_conn *c, unsigned *count)
{
    if (c->tls != NULL) {
        return tbi_identity_peer_chain(c->tls, count);
    }
    *count = c->chain_len;
    return c->chain;
}

/* --- Without the rest: it has ended ----------------------------------------------------------- */

void tbi_conn_hollow(struct tbi_conn *c)
{
    if (c->qc != NULL) {
        ngtcp2_conn_del(c->qc);
        c->qc = NULL;
    }
    tbi_account_close(&c->account);
    tbi_windows_free(c);
    if (c->tls != NULL) {
        gnutls_deinit(c->tls);
        c->tls = NULL;
    }
    tbi_free(c->ep->alloc, c->chain);
    c->chain = NULL;
    c->chain_len = 0;
    TBI_LIST_FOREACH(it, &c->streams)
    {
        tbi_ostream_free(TBI_CONTAINER(it, struct tbi_ostream, entry));
    }
    tbi_datagrams_free(c);
    tbi_routes_leave(c, &c->ep->tokens); /* who has ended need not hear that it has */
}
