/* tests/sim/stranger.c - see stranger.h. */
#include "stranger.h"

#include <assert.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/frame.h"
#include "wire/wire.h"

#define CID_SIZE 8
#define DAY_S 86400
#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #call);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define FORGED_MAX 1200
static struct stranger *forger; /* whose packet is being made: ngtcp2 does not tell that there */

static const struct sockaddr_in any_local = {.sin_family = AF_INET};

/* --- Certificates ----------------------------------------------------------------------------- */

static gnutls_x509_privkey_t new_key(gnutls_pk_algorithm_t type)
{
    gnutls_x509_privkey_t key;
    unsigned bits = type == GNUTLS_PK_RSA     ? 2048
                    : type == GNUTLS_PK_ECDSA ? GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)
                                              : 256;
    OK(gnutls_x509_privkey_init(&key));
    OK(gnutls_x509_privkey_generate(key, type, bits, 0));
    return key;
}

static gnutls_x509_crt_t new_cert(gnutls_x509_privkey_t key, time_t until, gnutls_x509_crt_t issuer,
                                  gnutls_x509_privkey_t issuer_key)
{
    gnutls_x509_crt_t crt;
    bool eddsa = gnutls_x509_privkey_get_pk_algorithm(issuer_key) == GNUTLS_PK_EDDSA_ED25519;

    OK(gnutls_x509_crt_init(&crt));
    OK(gnutls_x509_crt_set_version(crt, 3));
    OK(gnutls_x509_crt_set_serial(crt, "\x05", 1));
    OK(gnutls_x509_crt_set_activation_time(crt, 0));
    OK(gnutls_x509_crt_set_expiration_time(crt, until));
    OK(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "stranger", 8));
    OK(gnutls_x509_crt_set_basic_constraints(crt, issuer == NULL, -1));
    OK(gnutls_x509_crt_set_key(crt, key));
    OK(gnutls_x509_crt_sign2(crt, issuer != NULL ? issuer : crt, issuer_key,
                             eddsa ? GNUTLS_DIG_SHA512 : GNUTLS_DIG_SHA256, 0));
    return crt;
}

/* Turns a bit of the signature, which is what a certificate ends with. */
static void break_signature(gnutls_x509_crt_t *crt)
{
    gnutls_datum_t der;
    OK(gnutls_x509_crt_export2(*crt, GNUTLS_X509_FMT_DER, &der));
    der.data[der.size - 8] ^= 1;
    gnutls_x509_crt_deinit(*crt);
    OK(gnutls_x509_crt_init(crt));
    OK(gnutls_x509_crt_import(*crt, &der, GNUTLS_X509_FMT_DER));
    gnutls_free(der.data);
}

static void set_id(struct stranger *x, gnutls_x509_privkey_t key)
{
    gnutls_datum_t raw;
    OK(gnutls_x509_privkey_export_ecc_raw(key, NULL, &raw, NULL, NULL));
    OK(tbq_peer_id_from_key(&x->id, raw.data));
    gnutls_free(raw.data);
}

static void make_certificate(struct stranger *x)
{
    enum stranger_cert cert = x->options.cert;
    gnutls_pk_algorithm_t type = cert == CERT_RSA || cert == CERT_RSA_CHAIN ? GNUTLS_PK_RSA
                                 : cert == CERT_ECDSA                       ? GNUTLS_PK_ECDSA
                                                      : GNUTLS_PK_EDDSA_ED25519;
    time_t now = (time_t)(sim_now(x->place->sim).wall_ms / 1000);
    time_t until = cert == CERT_ED25519_EXPIRED ? now - DAY_S : (time_t)-1;
    gnutls_x509_privkey_t ca_key = NULL;
    gnutls_x509_crt_t chain[2] = {NULL, NULL};
    int len = 1;

    OK(gnutls_certificate_allocate_credentials(&x->credentials));
    if (cert == CERT_NONE) {
        return;
    }
    gnutls_x509_privkey_t key = new_key(type);
    if (cert == CERT_ED25519_CHAIN || cert == CERT_RSA_CHAIN) {
        ca_key = new_key(cert == CERT_RSA_CHAIN ? GNUTLS_PK_EDDSA_ED25519 : GNUTLS_PK_RSA);
        chain[1] = new_cert(ca_key, (time_t)-1, NULL, ca_key);
        len = 2;
    }
    chain[0] = new_cert(key, until, chain[1], ca_key != NULL ? ca_key : key);
    if (cert == CERT_ED25519_BROKEN) {
        break_signature(&chain[0]);
    }
    if (type == GNUTLS_PK_EDDSA_ED25519) {
        set_id(x, key);
    }
    OK(gnutls_certificate_set_x509_key(x->credentials, chain, len, key));
    for (int i = 0; i < len; i++) {
        gnutls_x509_crt_deinit(chain[i]);
    }
    gnutls_x509_privkey_deinit(key);
    if (ca_key != NULL) {
        gnutls_x509_privkey_deinit(ca_key);
    }
}

/* --- What ngtcp2 asks and tells --------------------------------------------------------------- */

static void on_rand(uint8_t *to, size_t size, const ngtcp2_rand_ctx *ctx)
{
    tbi_rng_bytes(ctx->native_handle, to, size);
}

static int on_new_cid(ngtcp2_conn *qc, ngtcp2_cid *cid, uint8_t *token, size_t size, void *user)
{
    struct stranger *x = user;
    uint8_t bytes[NGTCP2_MAX_CIDLEN];
    (void)qc;
    tbi_rng_bytes(&x->rng, bytes, size);
    tbi_rng_bytes(&x->rng, token, NGTCP2_STATELESS_RESET_TOKENLEN);
    ngtcp2_cid_init(cid, bytes, size);
    return 0;
}

static int on_complete(ngtcp2_conn *qc, void *user)
{
    struct stranger *x = user;
    (void)qc;
    x->complete = true;
    x->resumed = gnutls_session_is_resumed(x->tls) != 0;
    if (x->server && x->options.ticket_key != NULL) {
        OK(gnutls_session_ticket_send(x->tls, 1, 0));
    }
    return 0;
}

/* The frames of a packet are exchanged where they are sealed: for its peer it is a packet like any
 * other. What is left of its length is padding. */
static int on_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
                      const ngtcp2_crypto_aead_ctx *aead_ctx, const uint8_t *plain, size_t size,
                      const uint8_t *nonce, size_t nonce_size, const uint8_t *aad, size_t aad_size)
{
    uint8_t frames[FORGED_MAX];
    struct stranger *x = forger;

    if (x != NULL && (aad[0] & 0x80U) == 0 && size <= sizeof frames) {
        memset(frames, 0, sizeof frames);
        (void)x->options.forge(x, frames, size);
        x->forged++;
        plain = frames;
    }
    return ngtcp2_crypto_encrypt_cb(dest, aead, aead_ctx, plain, size, nonce, nonce_size, aad,
                                    aad_size);
}

static int on_stream(ngtcp2_conn *qc, uint32_t flags, int64_t stream, uint64_t offset,
                     const uint8_t *data, size_t size, void *user, void *stream_user)
{
    struct stranger *x = user;
    (void)flags, (void)stream, (void)offset, (void)data, (void)stream_user;
    x->stream_bytes += size;
    if (x->options.sips == 0) {
        ngtcp2_conn_extend_max_offset(qc, size);
    } else {
        size_t sip = size < x->options.sips ? size : x->options.sips;
        ngtcp2_conn_extend_max_offset(qc, sip);
        ngtcp2_conn_extend_max_stream_offset(qc, stream, sip);
    }
    return 0;
}

static int on_retry(ngtcp2_conn *qc, const ngtcp2_pkt_hd *hd, void *user)
{
    struct stranger *x = user;
    x->retries++;
    x->retry_scid = hd->scid;
    return ngtcp2_crypto_recv_retry_cb(qc, hd, user);
}

static int on_reset(ngtcp2_conn *qc, const ngtcp2_pkt_stateless_reset *sr, void *user)
{
    (void)qc, (void)sr;
    ((struct stranger *)user)->reset = true;
    return 0;
}

static int on_ticket(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                     const gnutls_datum_t *message)
{
    ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);
    struct stranger *x = ref->user_data;
    (void)type, (void)when, (void)message;
    if (incoming) {
        gnutls_free(x->ticket.data);
        OK(gnutls_session_get_data2(session, &x->ticket));
    }
    return 0;
}

static ngtcp2_conn *conn_of_ref(ngtcp2_crypto_conn_ref *ref)
{
    return ((struct stranger *)ref->user_data)->qc;
}

static void set_callbacks(ngtcp2_callbacks *c, bool server)
{
    *c = (ngtcp2_callbacks){
        .client_initial = server ? NULL : ngtcp2_crypto_client_initial_cb,
        .recv_client_initial = server ? ngtcp2_crypto_recv_client_initial_cb : NULL,
        .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
        .recv_retry = server ? NULL : on_retry,
        .encrypt = on_encrypt,
        .decrypt = ngtcp2_crypto_decrypt_cb,
        .hp_mask = ngtcp2_crypto_hp_mask_cb,
        .update_key = ngtcp2_crypto_update_key_cb,
        .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
        .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
        .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
        .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
        .handshake_completed = on_complete,
        .recv_stream_data = on_stream,
        .recv_stateless_reset = on_reset,
        .rand = on_rand,
        .get_new_connection_id = on_new_cid,
    };
}

/* --- A connection ----------------------------------------------------------------------------- */

static void end_connection(struct stranger *x)
{
    if (x->qc != NULL) {
        ngtcp2_conn_del(x->qc);
        gnutls_deinit(x->tls);
    }
    x->qc = NULL;
    x->tls = NULL;
    x->gone = x->said_close = x->complete = x->resumed = x->closed = x->by_code = x->reset = false;
    x->code = 0;
    x->text[0] = '\0';
    x->error = 0;
    x->filler = -1;
    x->forged = 0;
    for (size_t i = 0; i < STRANGER_STREAMS; i++) {
        free(x->speech[i].data);
        x->speech[i] = (struct stranger_speech){.id = -1};
    }
}

static void random_cid(struct stranger *x, ngtcp2_cid *cid, size_t size)
{
    uint8_t bytes[NGTCP2_MAX_CIDLEN];
    tbi_rng_bytes(&x->rng, bytes, size);
    ngtcp2_cid_init(cid, bytes, size);
}

static void attach_tls(struct stranger *x)
{
    static const char priority[] =
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:%DISABLE_TLS13_COMPAT_MODE";
    const struct stranger_options *o = &x->options;
    ngtcp2_crypto_conn_ref *ref = (ngtcp2_crypto_conn_ref *)x->ref;

    OK(gnutls_init(&x->tls,
                   (x->server ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET : GNUTLS_CLIENT) |
                       GNUTLS_NO_SIGNAL));
    *ref = (ngtcp2_crypto_conn_ref){.get_conn = conn_of_ref, .user_data = x};
    gnutls_session_set_ptr(x->tls, ref);
    OK(gnutls_priority_set_direct(x->tls, priority, NULL));
    OK(gnutls_credentials_set(x->tls, GNUTLS_CRD_CERTIFICATE, x->credentials));
    if (o->alpn != NULL) {
        gnutls_datum_t name = {(unsigned char *)(uintptr_t)o->alpn, (unsigned)strlen(o->alpn)};
        OK(gnutls_alpn_set_protocols(x->tls, &name, 1, 0));
    }
    if (x->server) {
        gnutls_certificate_server_set_request(x->tls, GNUTLS_CERT_REQUEST);
        if (o->ticket_key != NULL) {
            OK(gnutls_session_ticket_enable_server(x->tls, o->ticket_key));
        }
        OK(ngtcp2_crypto_gnutls_configure_server_session(x->tls));
    } else {
        gnutls_handshake_set_hook_function(x->tls, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET,
                                           GNUTLS_HOOK_POST, on_ticket);
        if (o->ticket != NULL) {
            OK(gnutls_session_set_data(x->tls, o->ticket->data, o->ticket->size));
        }
        OK(ngtcp2_crypto_gnutls_configure_client_session(x->tls));
    }
    ngtcp2_conn_set_tls_native_handle(x->qc, x->tls);
}

static void begin(struct stranger *x, const ngtcp2_pkt_hd *hd)
{
    static const uint32_t versions[] = {NGTCP2_PROTO_VER_V1, NGTCP2_PROTO_VER_V2};
    const struct stranger_options *o = &x->options;
    ngtcp2_path path = {
        .local = {.addr = (ngtcp2_sockaddr *)(uintptr_t)&any_local, .addrlen = sizeof any_local},
        .remote = {.addr = (ngtcp2_sockaddr *)&x->remote.u.sa, .addrlen = x->remote.len}};
    ngtcp2_callbacks callbacks;
    ngtcp2_settings settings;
    ngtcp2_transport_params params;

    end_connection(x);
    set_callbacks(&callbacks, x->server);
    ngtcp2_settings_default(&settings);
    settings.initial_ts = sim_now(x->place->sim).mono_ns;
    settings.rand_ctx.native_handle = &x->rng;
    settings.token = o->token;
    settings.tokenlen = o->token_size;
    ngtcp2_transport_params_default(&params);
    params.initial_max_streams_uni = 16;
    params.initial_max_stream_data_uni = o->window > 0 ? o->window : 1 << 20;
    params.initial_max_data = o->window > 0 ? 4 * o->window : 1 << 20;
    params.max_idle_timeout = 30 * NGTCP2_SECONDS;
    random_cid(x, &x->scid, CID_SIZE);
    if (x->server) {
        settings.available_versions = versions;
        settings.available_versionslen = 2;
        params.original_dcid = x->first_dcid = hd->dcid;
        params.original_dcid_present = 1;
        x->tries++;
        OK(ngtcp2_conn_server_new(&x->qc, &hd->scid, &x->scid, &path, hd->version, &callbacks,
                                  &settings, &params, NULL, x));
    } else {
        random_cid(x, &x->first_dcid, 18);
        OK(ngtcp2_conn_client_new(&x->qc, o->dcid != NULL ? o->dcid : &x->first_dcid, &x->scid,
                                  &path, o->version != 0 ? o->version : NGTCP2_PROTO_VER_V1,
                                  &callbacks, &settings, &params, NULL, x));
    }
    attach_tls(x);
}

/* --- What the simulation asks ----------------------------------------------------------------- */

static void read_failed(struct stranger *x, int rv)
{
    x->gone = true;
    x->error = rv;
    if (rv == NGTCP2_ERR_DRAINING && !x->reset) {
        const ngtcp2_ccerr *e = ngtcp2_conn_get_ccerr(x->qc);
        x->closed = true;
        x->by_code = e->type == NGTCP2_CCERR_TYPE_APPLICATION;
        x->code = e->error_code;
        snprintf(x->text, sizeof x->text, "%.*s", (int)e->reasonlen,
                 e->reasonlen > 0 ? (const char *)e->reason : "");
        sim_say(x->place, "sees %s 0x%llx: %s", x->by_code ? "close code" : "error",
                (unsigned long long)x->code, x->text);
    }
}

static bool is_ours(const struct stranger *x, const struct tbi_datagram *d)
{
    ngtcp2_version_cid v;
    return x->qc != NULL && ngtcp2_pkt_decode_version_cid(&v, d->data, d->size, CID_SIZE) == 0 &&
           (v.version == 0 ||
            (v.dcidlen == x->scid.datalen && memcmp(v.dcid, x->scid.data, v.dcidlen) == 0) ||
            (v.dcidlen == x->first_dcid.datalen &&
             memcmp(v.dcid, x->first_dcid.data, v.dcidlen) == 0));
}

/* ngtcp2 keeps a Retry's token to itself: it lies behind the ids, before a tag of 16 bytes (RFC
 * 9000, section 17.2.5). */
static void keep_token(struct stranger *x, const uint8_t *data, size_t size)
{
    ngtcp2_version_cid v;
    if (ngtcp2_pkt_decode_version_cid(&v, data, size, CID_SIZE) != 0 ||
        v.version != NGTCP2_PROTO_VER_V1 || (data[0] & 0x30U) != 0x30U) {
        return;
    }
    size_t head = 7 + v.dcidlen + v.scidlen;
    assert(size > head + 16 && size - head - 16 <= sizeof x->token);
    x->token_size = size - head - 16;
    memcpy(x->token, data + head, x->token_size);
}

static void guest_recv(void *user, const struct tbi_datagram *d)
{
    struct stranger *x = user;
    ngtcp2_pkt_hd hd;
    ngtcp2_pkt_info pi = {.ecn = d->ecn};

    x->datagrams++;
    keep_token(x, d->data, d->size);
    if (x->options.deaf && x->complete) {
        return;
    }
    if (x->server && !is_ours(x, d) && ngtcp2_accept(&hd, d->data, d->size) == 0) {
        x->remote = d->remote;
        begin(x, &hd);
    }
    if (x->qc == NULL || x->gone) {
        return;
    }
    ngtcp2_path path = {
        .local = {.addr = (ngtcp2_sockaddr *)(uintptr_t)&any_local, .addrlen = sizeof any_local},
        .remote = {.addr = (ngtcp2_sockaddr *)(uintptr_t)&d->remote.u.sa,
                   .addrlen = d->remote.len}};
    int rv =
        ngtcp2_conn_read_pkt(x->qc, &path, &pi, d->data, d->size, sim_now(x->place->sim).mono_ns);
    if (rv != 0) {
        read_failed(x, rv);
    }
}

bool stranger_say(struct stranger *x, unsigned stream, const void *data, size_t size)
{
    struct stranger_speech *s = &x->speech[stream];

    if (s->data == NULL) { /* ngtcp2 sends from there: it never moves, and costs what is used */
        s->data = malloc(STRANGER_SAYS_MAX);
        assert(s->data != NULL);
    }
    if (s->size + size > STRANGER_SAYS_MAX) {
        return false;
    }
    memcpy(s->data + s->size, data, size);
    s->size += size;
    return true;
}

void stranger_fin(struct stranger *x, unsigned stream)
{
    x->speech[stream].fin = true;
}

size_t stranger_unsent(const struct stranger *x, unsigned stream)
{
    return x->speech[stream].size - x->speech[stream].sent;
}

static void say_hello(struct stranger *x)
{
    struct tbi_writer w;
    struct tbi_prologue p = {.type = TBI_STREAM_CONTROL};
    struct tbi_hello hello = {.max_message_size = 65536};
    struct tbi_confirm confirm = {.incarnation = 1};
    uint8_t bytes[256];

    if (!x->options.hello || x->speech[0].data != NULL || !x->complete) {
        return;
    }
    tbi_rng_bytes(&x->rng, hello.boot_id, sizeof hello.boot_id);
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_prologue(&w, &p);
    tbi_put_hello(&w, &hello);
    if (x->options.confirm) {
        tbi_put_confirm(&w, &confirm);
    }
    assert(tbi_put_error(&w) == 0);
    (void)stranger_say(x, 0, bytes, tbi_put_size(&w));
}

/* The next stream with something to say, opened; NULL: none now. */
static struct stranger_speech *next_speech(struct stranger *x)
{
    for (size_t i = 0; i < STRANGER_STREAMS && x->complete; i++) {
        struct stranger_speech *s = &x->speech[i];
        bool says = s->size > s->sent || (s->fin && !s->fin_sent);
        if (says && !s->blocked && !s->dead &&
            (s->id >= 0 || ngtcp2_conn_open_uni_stream(x->qc, &s->id, NULL) == 0)) {
            return s;
        }
    }
    return NULL;
}

/* A packet of what it has to say. */
static ngtcp2_ssize write_speech(struct stranger *x, ngtcp2_path *path, ngtcp2_pkt_info *pi,
                                 uint8_t *to, uint64_t now)
{
    for (size_t i = 0; i < STRANGER_STREAMS; i++) {
        x->speech[i].blocked = false;
    }
    for (;;) {
        struct stranger_speech *s = next_speech(x);
        ngtcp2_ssize used = -1;
        ngtcp2_vec v = {NULL, 0};
        uint32_t flags = 0;
        if (s != NULL) {
            v = (ngtcp2_vec){s->data + s->sent, s->size - s->sent};
            flags = s->fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0;
        }
        ngtcp2_ssize n = ngtcp2_conn_writev_stream(x->qc, path, pi, to, 1200, &used, flags,
                                                   s != NULL ? s->id : -1, &v, v.len > 0, now);
        if (s == NULL) {
            return n;
        }
        s->blocked = n == NGTCP2_ERR_STREAM_DATA_BLOCKED;
        s->dead = n == NGTCP2_ERR_STREAM_SHUT_WR || n == NGTCP2_ERR_STREAM_NOT_FOUND;
        if (used >= 0) {
            s->sent += (size_t)used;
            s->fin_sent = s->fin && s->sent == s->size;
        }
        if (!s->blocked && !s->dead) {
            return n;
        }
    }
}

/* A packet whose frames are exchanged when it is sealed. */
static ngtcp2_ssize write_forged(struct stranger *x, ngtcp2_path *path, ngtcp2_pkt_info *pi,
                                 uint8_t *to, uint64_t now)
{
    static uint8_t filler[1000]; /* which the packet is made for, and which is never sent */
    size_t size = x->options.forge_size;
    ngtcp2_vec v = {filler, size > 0 ? size : sizeof filler};
    ngtcp2_ssize used, n;

    do {
        if (x->filler < 0 && ngtcp2_conn_open_uni_stream(x->qc, &x->filler, NULL) != 0) {
            return ngtcp2_conn_write_pkt(x->qc, path, pi, to, 1200, now);
        }
        forger = x;
        n = ngtcp2_conn_writev_stream(x->qc, path, pi, to, 1200, &used, 0, x->filler, &v, 1, now);
        forger = NULL;
        if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
            x->filler = -1; /* the next one has a window of its own */
        }
    } while (n == NGTCP2_ERR_STREAM_DATA_BLOCKED);
    return n;
}

static int guest_send(void *user, struct tbi_send_batch *b)
{
    struct stranger *x = user;
    ngtcp2_path_storage ps;
    ngtcp2_pkt_info pi = {0};
    ngtcp2_ssize n;
    uint64_t now = sim_now(x->place->sim).mono_ns;

    if (x->qc == NULL || x->said_close || (x->gone && x->error == NGTCP2_ERR_DRAINING) ||
        (x->options.deaf && x->complete)) {
        return 0;
    }
    ngtcp2_path_storage_zero(&ps);
    if (x->gone) { /* by an error of this side: said once */
        x->said_close = true;
        ngtcp2_ccerr e;
        ngtcp2_ccerr_default(&e);
        if (x->error == NGTCP2_ERR_CRYPTO) {
            ngtcp2_ccerr_set_tls_alert(&e, ngtcp2_conn_get_tls_alert(x->qc), NULL, 0);
        } else {
            ngtcp2_ccerr_set_liberr(&e, x->error, NULL, 0);
        }
        n = ngtcp2_conn_write_connection_close(x->qc, &ps.path, &pi, b->data, 1200, &e, now);
        if (n <= 0) {
            return 0;
        }
    } else {
        say_hello(x);
        bool forge = x->options.forge != NULL && x->complete && x->forged < x->options.forgeries &&
                     stranger_unsent(x, 0) == 0;
        n = forge ? write_forged(x, &ps.path, &pi, b->data, now)
                  : write_speech(x, &ps.path, &pi, b->data, now);
        if (n < 0) {
            read_failed(x, (int)n);
            return 0;
        }
        if (n == 0) {
            return 0;
        }
    }
    b->size = (size_t)n;
    b->ecn = 0;
    b->remote = x->remote;
    return 1;
}

static void guest_step(void *user)
{
    struct stranger *x = user;
    uint64_t now = sim_now(x->place->sim).mono_ns;
    if (x->qc != NULL && !x->gone && ngtcp2_conn_get_expiry(x->qc) <= now) {
        int rv = ngtcp2_conn_handle_expiry(x->qc, now);
        if (rv != 0) {
            read_failed(x, rv);
        }
    }
}

static uint64_t guest_deadline(void *user)
{
    struct stranger *x = user;
    return x->qc != NULL && !x->gone && !(x->options.deaf && x->complete)
               ? ngtcp2_conn_get_expiry(x->qc)
               : TBI_NEVER;
}

/* --- Life ------------------------------------------------------------------------------------- */

struct stranger *stranger_new(struct sim_node *place, const struct stranger_options *options)
{
    static const struct sim_guest guest = {
        .recv = guest_recv, .step = guest_step, .send = guest_send, .deadline = guest_deadline};
    struct stranger *x = calloc(1, sizeof *x);
    uint8_t seed[TBI_RNG_SEED_SIZE];

    assert(x != NULL);
    x->place = place;
    memcpy(seed, place->key_seed, sizeof seed);
    tbi_rng_init(&x->rng, seed);
    x->filler = -1;
    for (size_t i = 0; i < STRANGER_STREAMS; i++) {
        x->speech[i].id = -1;
    }
    x->server = true;
    x->options = *options;
    make_certificate(x);
    sim_host(place, &guest, x);
    return x;
}

void stranger_free(struct stranger *x)
{
    x->place->alive = false;
    end_connection(x);
    gnutls_certificate_free_credentials(x->credentials);
    gnutls_free(x->ticket.data);
    free(x);
}

void stranger_dial(struct stranger *x, const struct sim_node *to)
{
    x->server = false;
    x->remote = to->addr;
    begin(x, NULL);
}

void stranger_be(struct stranger *x, const struct stranger_options *options)
{
    enum stranger_cert before = x->options.cert;
    x->options = *options;
    if (before != options->cert) {
        end_connection(x);
        gnutls_certificate_free_credentials(x->credentials);
        make_certificate(x);
    }
}
