/* bench/floor_tls.c - see floor.h. TLS as the library has it: the same priorities, Ed25519
 * certificates on both sides, tickets, 0-RTT. */
#include "floor.h"

#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdlib.h>
#include <string.h>

static const char priority_text[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:"
    "-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:-SIGN-ALL:+SIGN-EDDSA-ED25519:"
    "%DISABLE_TLS13_COMPAT_MODE";
static const char alpn[] = "tbq-floor";

static void must(int rv, const char *what)
{
    if (rv < 0) {
        die("%s: %s", what, gnutls_strerror(rv));
    }
}

/* ---- the own certificate ---- */

static void describe(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key)
{
    static const char name[] = "floor";
    static const uint8_t serial[] = {1};

    must(gnutls_x509_crt_set_version(crt, 3), "certificate");
    must(gnutls_x509_crt_set_serial(crt, serial, sizeof serial), "certificate");
    must(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name, sizeof name - 1),
         "certificate");
    must(gnutls_x509_crt_set_activation_time(crt, 0), "certificate");
    must(gnutls_x509_crt_set_expiration_time(crt, (time_t)-1), "certificate"); /* never */
    must(gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE), "certificate");
    must(gnutls_x509_crt_set_key(crt, key), "certificate");
    /* The hash of Ed25519 is part of it; GnuTLS wants to hear its name. */
    must(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA512, 0), "signing");
}

/* The Ed25519 key of a certificate; false: it has none. */
static bool key_of(gnutls_x509_crt_t crt, uint8_t key[KEY_SIZE])
{
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    gnutls_datum_t x = {NULL, 0};

    if (gnutls_x509_crt_get_pk_algorithm(crt, NULL) != GNUTLS_PK_EDDSA_ED25519 ||
        gnutls_x509_crt_get_pk_ecc_raw(crt, &curve, &x, NULL) < 0) {
        return false;
    }
    bool good = curve == GNUTLS_ECC_CURVE_ED25519 && x.size == KEY_SIZE;
    if (good) {
        memcpy(key, x.data, KEY_SIZE);
    }
    gnutls_free(x.data);
    return good;
}

static void make_identity(struct tls *t)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;

    must(gnutls_x509_privkey_init(&key), "key");
    must(gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519, 0, 0), "key");
    must(gnutls_x509_crt_init(&crt), "certificate");
    describe(crt, key);
    must(gnutls_certificate_allocate_credentials(&t->credentials), "credentials");
    must(gnutls_certificate_set_x509_key(t->credentials, &crt, 1, key), "credentials");
    if (!key_of(crt, t->key)) {
        die("the own certificate has no key");
    }
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

/* GnuTLS takes no early data without a store that tells which ClientHello it has seen. To remember
 * them is a server's own work and no part of the floor: every one is new. */
static int on_replay_check(void *user, time_t until, const gnutls_datum_t *binder,
                           const gnutls_datum_t *data)
{
    (void)user, (void)until, (void)binder, (void)data;
    return 0;
}

void tls_init(struct tls *t, bool server)
{
    must(gnutls_priority_init(&t->priority, priority_text, NULL), "priorities");
    make_identity(t);
    if (server) {
        must(gnutls_session_ticket_key_generate(&t->ticket_key), "ticket key");
        must(gnutls_anti_replay_init(&t->anti_replay), "replay check");
        gnutls_anti_replay_set_window(t->anti_replay, UINT32_MAX); /* ms */
        gnutls_anti_replay_set_add_function(t->anti_replay, on_replay_check);
    }
}

/* ---- sessions ---- */

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct conn *)ref->user_data)->qc;
}

void tls_free_ticket(struct ticket *t)
{
    gnutls_free(t->session.data);
    *t = (struct ticket){0};
}

/* The newest ticket is the one to come back with. */
static int on_ticket(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                     const gnutls_datum_t *message)
{
    struct conn *c = ((ngtcp2_crypto_conn_ref *)gnutls_session_get_ptr(session))->user_data;
    struct ticket *t = &c->floor->newest;
    (void)type, (void)when, (void)incoming, (void)message;

    tls_free_ticket(t);
    must(gnutls_session_get_data2(session, &t->session), "ticket");
    ngtcp2_ssize n = ngtcp2_conn_encode_0rtt_transport_params(c->qc, t->params, sizeof t->params);
    t->params_size = n > 0 ? (size_t)n : 0;
    c->floor->on_ticket(c);
    return 0;
}

static void configure_server(struct conn *c)
{
    struct tls *t = &c->floor->tls;

    gnutls_certificate_server_set_request(c->tls, GNUTLS_CERT_REQUIRE);
    must(gnutls_session_ticket_enable_server(c->tls, &t->ticket_key), "tickets");
    must(ngtcp2_crypto_gnutls_configure_server_session(c->tls), "session");
    gnutls_anti_replay_enable(c->tls, t->anti_replay);
    /* RFC 9001, section 4.6.1, demands this value. */
    must(gnutls_record_set_max_early_data_size(c->tls, UINT32_MAX), "early data");
}

static void configure_client(struct conn *c, const struct ticket *ticket, bool early)
{
    gnutls_handshake_set_hook_function(c->tls, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET,
                                       GNUTLS_HOOK_POST, on_ticket);
    must(ngtcp2_crypto_gnutls_configure_client_session(c->tls), "session");
    if (ticket == NULL) {
        return;
    }
    must(gnutls_session_set_data(c->tls, ticket->session.data, ticket->session.size), "ticket");
    if (early && ngtcp2_conn_decode_and_set_0rtt_transport_params(c->qc, ticket->params,
                                                                  ticket->params_size) != 0) {
        die("the ticket is of no use for early data");
    }
}

void tls_session(struct conn *c, const struct ticket *ticket, bool early)
{
    struct tls *t = &c->floor->tls;
    gnutls_datum_t protocol = {.data = (unsigned char *)(uintptr_t)alpn, .size = sizeof alpn - 1};
    /* Else a client makes a key of P-256 in each handshake besides, for servers without X25519. */
    unsigned flags = c->floor->server ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET
                                      : GNUTLS_CLIENT | GNUTLS_KEY_SHARE_TOP;

    flags |= early || c->floor->server ? GNUTLS_ENABLE_EARLY_DATA : 0;
    /* QUIC knows no EndOfEarlyData: RFC 9001, section 8.3. */
    must(gnutls_init(&c->tls, flags | GNUTLS_NO_SIGNAL | GNUTLS_NO_END_OF_EARLY_DATA), "session");
    c->ref = (ngtcp2_crypto_conn_ref){.get_conn = conn_of_ref, .user_data = c};
    gnutls_session_set_ptr(c->tls, &c->ref);
    must(gnutls_priority_set(c->tls, t->priority), "priorities");
    must(gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, t->credentials), "credentials");
    must(gnutls_alpn_set_protocols(c->tls, &protocol, 1, GNUTLS_ALPN_MANDATORY), "ALPN");
    if (c->floor->server) {
        configure_server(c);
    } else {
        configure_client(c, ticket, early);
    }
    ngtcp2_conn_set_tls_native_handle(c->qc, c->tls);
}

/* As the library does it: TLS has shown that the peer holds the key of its certificate, and the key
 * is who it is. A server takes any. */
bool tls_peer_is_right(const struct conn *c)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(c->tls, &count);
    uint8_t key[KEY_SIZE];
    gnutls_x509_crt_t crt;

    if (count == 0) {
        return false;
    }
    must(gnutls_x509_crt_init(&crt), "certificate");
    bool good = gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) == 0 &&
                key_of(crt, key) &&
                (c->floor->server || memcmp(key, c->floor->tls.peer, sizeof key) == 0);
    gnutls_x509_crt_deinit(crt);
    return good;
}
