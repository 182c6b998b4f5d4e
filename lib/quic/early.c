/* quic/early.c - 0-RTT: what a client that comes back says with its first packet.
 *
 * The server takes it with a ticket that it has itself given, in this life of the endpoint, to a
 * peer with an Ed25519 certificate, not long ago, and only once (replay.c). Whatever else a client
 * brings costs it a round trip, nothing more: the handshake goes on as if it had said nothing.
 *
 * GnuTLS has replay protection of its own, and refuses early data without it. What is of use of it
 * here is the moment at which it asks its store: the ticket is decrypted and the client's binder is
 * checked by then. Its own rule would refuse any ticket that is older than its window of seconds,
 * and it measures with the real clock: gnutls_global_set_time_function(), which the simulator sets,
 * changes certificates' validity and sessions' ages, not the times of tickets. So its window is as
 * wide as can be, and the answer is given here, by our clock.
 *
 * Tried with GnuTLS 3.7.9: when the store is asked, gnutls_certificate_get_peers() still tells
 * nothing on a resumed session; when the first early bytes arrive, and ever after, it tells the
 * certificate of the session that the ticket was made in. So the ticket says whose it is here, and
 * the owner of the connection can ask for the certificate before it acts. */
#include <string.h>

#include "identity/identity.h"
#include "quic/parts.h"

#define EXTENSION_PRE_SHARED_KEY 41 /* RFC 8446, section 4.2 */
#define EXTENSION_EARLY_DATA 42
#define TICKET_FORMAT 1 /* of the bytes of a TICKET action */
#define PARAMS_MAX 256  /* bytes of remembered transport parameters */

/* --- What the server is shown ----------------------------------------------------------------- */

static struct tbi_cursor take16(struct tbi_cursor *c)
{
    struct tbi_cursor inner;
    size_t size = tbi_cur_u16(c);
    const uint8_t *at = tbi_cur_take(c, size);

    tbi_cur_init(&inner, at, at != NULL ? size : 0);
    return inner;
}

/* The one ticket in a list of identities; with more of them early data is none of ours. */
static bool only_ticket(struct tbi_cursor psk, struct tbi_cursor *ticket)
{
    struct tbi_cursor identities = take16(&psk);

    *ticket = take16(&identities);
    (void)tbi_cur_u32(&identities); /* its age, as the client tells it */
    return tbi_cur_finish(&identities) == 0 && tbi_cur_error(&psk) == 0;
}

/* Whether a ClientHello brings early data, and the ticket that it goes with (size 0: none). GnuTLS
 * reads it for itself, and refuses what is malformed. */
bool tbi_early_asked(const gnutls_datum_t *hello, struct tbi_cursor *ticket)
{
    struct tbi_cursor c;
    bool early = false;

    tbi_cur_init(ticket, NULL, 0);
    tbi_cur_init(&c, hello->data, hello->size);
    (void)tbi_cur_take(&c, 2 + 32); /* version and random */
    (void)tbi_cur_take(&c, tbi_cur_u8(&c));
    (void)take16(&c); /* cipher suites */
    (void)tbi_cur_take(&c, tbi_cur_u8(&c));
    struct tbi_cursor extensions = take16(&c);
    while (tbi_cur_left(&extensions) > 0) {
        unsigned type = tbi_cur_u16(&extensions);
        struct tbi_cursor body = take16(&extensions);
        if (type == EXTENSION_EARLY_DATA) {
            early = true;
        } else if (type == EXTENSION_PRE_SHARED_KEY && !only_ticket(body, ticket)) {
            tbi_cur_init(ticket, NULL, 0);
        }
    }
    return early;
}

static bool hash_of(struct tbi_endpoint *ep, const struct tbi_cursor *ticket, uint8_t *hash)
{
    const struct tbi_crypto *crypto = ep->cfg.crypto;
    size_t size = tbi_cur_left(ticket);
    return size > 0 && crypto->hash(crypto->self, ticket->at, size, hash) == 0;
}

static void on_client_hello(struct tbi_endpoint *ep, const gnutls_datum_t *message)
{
    struct tbi_cursor ticket;

    ep->early_asked = false;
    if (tbi_early_asked(message, &ticket)) {
        ep->stats.early_refused++; /* until it is taken */
        ep->early_asked = hash_of(ep, &ticket, ep->early_ticket);
    }
}

/* A NewSessionTicket (RFC 8446, section 4.6.1): the ticket, and the size of early data that it may
 * bring, 0: it may not. */
static uint32_t read_ticket(const gnutls_datum_t *message, struct tbi_cursor *ticket)
{
    struct tbi_cursor m;
    uint32_t early = 0;

    tbi_cur_init(&m, message->data, message->size);
    (void)tbi_cur_take(&m, 4 + 4); /* lifetime and age_add */
    (void)tbi_cur_take(&m, tbi_cur_u8(&m));
    *ticket = take16(&m);
    struct tbi_cursor extensions = take16(&m);
    while (tbi_cur_left(&extensions) > 0) {
        unsigned type = tbi_cur_u16(&extensions);
        struct tbi_cursor body = take16(&extensions);
        if (type == EXTENSION_EARLY_DATA) {
            early = tbi_cur_u32(&body);
        }
    }
    return early;
}

/* One goes out to a peer: it may bring early data, once. */
static void on_ticket_out(struct tbi_conn *c, const gnutls_datum_t *message)
{
    struct tbi_endpoint *ep = c->ep;
    uint8_t hash[TBI_HASH_SIZE], key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict;
    struct tbi_cursor ticket;

    (void)read_ticket(message, &ticket);
    if (hash_of(ep, &ticket, hash) && tbi_conn_peer_key(c, key, &verdict) == 0) {
        /* Without memory it is not remembered, and brings no early data. */
        (void)tbi_replay_issued(&ep->replay, ep->now.mono_ns, key, hash);
    }
}

static int on_server_message(gnutls_session_t session, unsigned type, unsigned when,
                             unsigned incoming, const gnutls_datum_t *message)
{
    struct tbi_conn *c = ((ngtcp2_crypto_conn_ref *)gnutls_session_get_ptr(session))->user_data;
    (void)when;

    if (incoming && type == GNUTLS_HANDSHAKE_CLIENT_HELLO) {
        on_client_hello(c->ep, message);
    } else if (!incoming && type == GNUTLS_HANDSHAKE_NEW_SESSION_TICKET) {
        on_ticket_out(c, message);
    }
    return 0;
}

/* GnuTLS asks whether it has seen this ClientHello before; see above. */
static int on_replay_check(void *user, time_t until, const gnutls_datum_t *binder,
                           const gnutls_datum_t *data)
{
    struct tbi_endpoint *ep = user;
    bool asked = ep->early_asked;
    (void)until, (void)binder, (void)data;

    ep->early_asked = false;
    if (!asked) {
        return GNUTLS_E_DB_ENTRY_EXISTS;
    }
    switch (tbi_replay_take(&ep->replay, ep->now.mono_ns, ep->early_ticket)) {
    case TBI_REPLAY_FIRST:
        ep->stats.early_refused--;
        ep->stats.early_accepted++;
        return 0;
    case TBI_REPLAY_AGAIN:
        ep->stats.early_refused--;
        ep->stats.early_replays++;
        return GNUTLS_E_DB_ENTRY_EXISTS;
    case TBI_REPLAY_UNKNOWN:
        break;
    }
    return GNUTLS_E_DB_ENTRY_EXISTS;
}

void tbi_early_prepare(struct tbi_endpoint *ep, const uint8_t secret[16])
{
    tbi_replay_init(&ep->replay, ep->alloc, secret, TBI_EARLY_PEERS_MAX);
}

int tbi_early_init(struct tbi_endpoint *ep)
{
    if (!ep->cfg.early_data) {
        return 0;
    }
    if (gnutls_anti_replay_init(&ep->anti_replay) != 0) {
        ep->anti_replay = NULL;
        return TBQ_ERR_TLS;
    }
    gnutls_anti_replay_set_window(ep->anti_replay, UINT32_MAX); /* ms */
    gnutls_anti_replay_set_add_function(ep->anti_replay, on_replay_check);
    gnutls_anti_replay_set_ptr(ep->anti_replay, ep);
    return 0;
}

void tbi_early_free(struct tbi_endpoint *ep)
{
    tbi_replay_free(&ep->replay);
    if (ep->anti_replay != NULL) {
        gnutls_anti_replay_deinit(ep->anti_replay);
    }
}

int tbi_early_server(struct tbi_conn *c)
{
    if (!c->ep->cfg.early_data) {
        return 0;
    }
    gnutls_handshake_set_hook_function(c->tls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE,
                                       on_server_message);
    gnutls_anti_replay_enable(c->tls, c->ep->anti_replay);
    /* QUIC has limits of its own; RFC 9001, section 4.6.1, demands this value. */
    return gnutls_record_set_max_early_data_size(c->tls, UINT32_MAX) == 0 ? 0 : TBQ_ERR_TLS;
}

/* --- What the client keeps -------------------------------------------------------------------- */

bool tbi_conn_is_early(const struct tbi_conn *c)
{
    return c->server && !c->complete;
}

bool tbi_conn_speaks_early(const struct tbi_conn *c)
{
    return c->early && !c->complete;
}

/* A NewSessionTicket comes in. */
int tbi_early_ticket(struct tbi_conn *c, const gnutls_datum_t *message)
{
    struct tbi_cursor ticket;
    uint32_t size = read_ticket(message, &ticket);

    c->ticket_early = size != 0;
    if (size != 0 && size != UINT32_MAX) { /* RFC 9001, section 4.6.1 */
        ngtcp2_conn_set_tls_error(c->qc, NGTCP2_ERR_PROTO);
        return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
    }
    return 0;
}

/* The bytes of a TICKET action: format, session, and the server's transport parameters if it takes
 * early data with this ticket. NULL: no memory, so the next dial makes a full handshake. */
struct tbi_block *tbi_ticket_pack(const struct tbi_alloc *a, const gnutls_datum_t *session,
                                  const uint8_t *params, size_t size)
{
    struct tbi_writer w;
    struct tbi_block *b =
        tbi_block_new(a, 1 + 2 * (size_t)TBI_VARINT_SIZE_MAX + session->size + size);

    if (b == NULL) {
        return NULL;
    }
    tbi_put_init(&w, b->data, b->capacity);
    tbi_put_u8(&w, TICKET_FORMAT);
    tbi_put_prefixed(&w, session->data, session->size);
    tbi_put_prefixed(&w, params, size);
    b->size = tbi_put_size(&w);
    return b;
}

struct tbi_block *tbi_early_pack(struct tbi_conn *c, const gnutls_datum_t *session)
{
    uint8_t params[PARAMS_MAX];
    ngtcp2_ssize n = 0;

    if (c->ep->cfg.early_data && c->ticket_early) {
        n = ngtcp2_conn_encode_0rtt_transport_params(c->qc, params, sizeof params);
    }
    return tbi_ticket_pack(c->ep->alloc, session, params, n > 0 ? (size_t)n : 0);
}

/* Both empty for bytes that are no ticket. */
static void unpack(const struct tbi_dial_options *options, struct tbi_cursor *session,
                   struct tbi_cursor *params)
{
    struct tbi_cursor c;

    tbi_cur_init(&c, options->ticket, options->ticket_size);
    uint8_t format = tbi_cur_u8(&c);
    *session = tbi_cur_prefixed(&c, options->ticket_size);
    *params = tbi_cur_prefixed(&c, PARAMS_MAX);
    if (tbi_cur_finish(&c) != 0 || format != TICKET_FORMAT) {
        tbi_cur_init(session, NULL, 0);
        tbi_cur_init(params, NULL, 0);
    }
}

bool tbi_early_wanted(const struct tbi_conn *c, const struct tbi_dial_options *options)
{
    struct tbi_cursor session, params;

    if (c->server) {
        return c->ep->cfg.early_data;
    }
    unpack(options, &session, &params);
    return c->ep->cfg.early_data && options->early && tbi_cur_left(&params) > 0;
}

/* Data that GnuTLS or ngtcp2 do not like cost a full handshake, nothing else. */
int tbi_early_client(struct tbi_conn *c, const struct tbi_dial_options *options)
{
    struct tbi_cursor session, params;

    unpack(options, &session, &params);
    if (tbi_cur_left(&session) == 0 ||
        gnutls_session_set_data(c->tls, session.at, tbi_cur_left(&session)) != 0 ||
        !tbi_early_wanted(c, options)) {
        return 0;
    }
    int rv =
        ngtcp2_conn_decode_and_set_0rtt_transport_params(c->qc, params.at, tbi_cur_left(&params));
    if (rv != 0) {
        return rv == NGTCP2_ERR_NOMEM ? TBQ_ERR_NOMEM : 0;
    }
    c->early = true;
    return tbi_endpoint_action(c->ep, c, TBI_QUIC_CONNECTED_EARLY) != NULL ? 0 : TBQ_ERR_NOMEM;
}

/* The client's handshake is complete, and the server has perhaps not taken what was said before:
 * then it has read nothing of it, and nothing of it is left here. */
int tbi_early_settle(struct tbi_conn *c)
{
    if (!c->early || (gnutls_session_get_flags(c->tls) & GNUTLS_SFLAGS_EARLY_DATA) != 0) {
        return 0;
    }
    if (tbi_endpoint_action(c->ep, c, TBI_QUIC_EARLY_REJECTED) == NULL ||
        ngtcp2_conn_tls_early_data_rejected(c->qc) != 0) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    TBI_LIST_FOREACH(it, &c->streams)
    {
        tbi_ostream_free(TBI_CONTAINER(it, struct tbi_ostream, entry));
    }
    tbi_datagrams_lost(c);
    return 0;
}
