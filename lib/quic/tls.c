/* quic/tls.c - TLS 1.3 sessions for QUIC: GnuTLS as RFC 9001 wants it.
 *
 * GnuTLS validates no certificate here: the owner asks its trust policy after every handshake, full
 * or resumed. Both sides ask for a certificate; that there is one, and of which key, is the owner's
 * question too, so that a refusal can be told with its reason. */
#include <string.h>

#include "quic/parts.h"

/* AES-128-GCM first: where the processor has AES it is the fastest by far. Ed25519 certificates
 * only: large keys of others have been used to burn a verifier's time. */
static const char priority_text[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:-SIGN-ALL:+SIGN-EDDSA-ED25519:"
    "%DISABLE_TLS13_COMPAT_MODE";

int tbi_tls_init(struct tbi_endpoint *ep)
{
    if (gnutls_priority_init(&ep->priority, priority_text, NULL) != 0 ||
        gnutls_session_ticket_key_generate(&ep->ticket_key) != 0) {
        return TBQ_ERR_TLS;
    }
    return 0;
}

void tbi_tls_free(struct tbi_endpoint *ep)
{
    if (ep->priority != NULL) {
        gnutls_priority_deinit(ep->priority);
    }
    if (ep->ticket_key.data != NULL) {
        tbi_wipe(ep->ticket_key.data, ep->ticket_key.size);
        gnutls_free(ep->ticket_key.data);
    }
    if (ep->cfg.credentials != NULL) {
        gnutls_certificate_free_credentials(ep->cfg.credentials);
    }
}

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct tbi_conn *)ref->user_data)->qc;
}

/* A session ticket has come: what a later dial needs to resume. GnuTLS shows the message before it
 * reads it, and has the session afterwards. */
static int on_ticket(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                     const gnutls_datum_t *message)
{
    ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);
    struct tbi_conn *c = ref->user_data;
    gnutls_datum_t data = {NULL, 0};
    (void)type;

    if (when == GNUTLS_HOOK_PRE) {
        return tbi_early_ticket(c, message);
    }
    if (!incoming || gnutls_session_get_data2(session, &data) != 0) {
        return 0; /* a ticket less is no error: the next dial makes a full handshake */
    }
    c->ticket_came = true;
    struct tbi_block *ticket = tbi_early_pack(c, &data);
    struct tbi_queued_action *a =
        ticket != NULL ? tbi_endpoint_action(c->ep, c, TBI_QUIC_TICKET) : NULL;
    if (a != NULL) {
        a->ticket = ticket;
    } else {
        tbi_block_unref(ticket);
    }
    tbi_wipe(data.data, data.size);
    gnutls_free(data.data);
    return 0;
}

static int configure(struct tbi_conn *c, const struct tbi_dial_options *options)
{
    if (c->server) {
        gnutls_certificate_server_set_request(c->tls, GNUTLS_CERT_REQUEST);
        if (gnutls_session_ticket_enable_server(c->tls, &c->ep->ticket_key) != 0) {
            return TBQ_ERR_TLS;
        }
        if (ngtcp2_crypto_gnutls_configure_server_session(c->tls) != 0) {
            return TBQ_ERR_TLS;
        }
        return tbi_early_server(c);
    }
    gnutls_handshake_set_hook_function(c->tls, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET,
                                       GNUTLS_HOOK_BOTH, on_ticket);
    if (ngtcp2_crypto_gnutls_configure_client_session(c->tls) != 0) {
        return TBQ_ERR_TLS;
    }
    return tbi_early_client(c, options);
}

int tbi_tls_session(struct tbi_conn *c, const struct tbi_dial_options *options)
{
    static const char alpn[] = TBI_ALPN;
    gnutls_datum_t protocol = {.data = (unsigned char *)(uintptr_t)alpn, .size = sizeof alpn - 1};
    /* One key share, X25519: a P-256 key for each handshake would be made in vain. */
    unsigned flags = c->server ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET
                               : GNUTLS_CLIENT | GNUTLS_KEY_SHARE_TOP;

    if (tbi_early_wanted(c, options)) {
        flags |= GNUTLS_ENABLE_EARLY_DATA;
    }
    /* QUIC knows no EndOfEarlyData: RFC 9001, section 8.3. */
    if (gnutls_init(&c->tls, flags | GNUTLS_NO_SIGNAL | GNUTLS_NO_END_OF_EARLY_DATA) != 0) {
        c->tls = NULL;
        return TBQ_ERR_TLS;
    }
    c->ref = (ngtcp2_crypto_conn_ref){.get_conn = conn_of_ref, .user_data = c};
    gnutls_session_set_ptr(c->tls, &c->ref);
    if (gnutls_priority_set(c->tls, c->ep->priority) != 0 ||
        gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, c->ep->cfg.credentials) != 0 ||
        gnutls_alpn_set_protocols(c->tls, &protocol, 1, GNUTLS_ALPN_MANDATORY) != 0) {
        return TBQ_ERR_TLS;
    }
    return configure(c, options);
}

bool tbi_tls_alpn_agreed(const struct tbi_conn *c)
{
    gnutls_datum_t chosen = {NULL, 0};
    return gnutls_alpn_get_selected_protocol(c->tls, &chosen) == 0 &&
           chosen.size == sizeof TBI_ALPN - 1 && memcmp(chosen.data, TBI_ALPN, chosen.size) == 0;
}
