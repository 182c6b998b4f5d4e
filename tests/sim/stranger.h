/* tests/sim/stranger.h - a QUIC peer that is none of ours: ngtcp2 and GnuTLS put together by hand,
 * in either role, to come to a node with what no node would bring: another kind of certificate or
 * none, another ALPN name, another version, a token or a ticket from elsewhere. */
#ifndef TBI_TESTS_STRANGER_H
#define TBI_TESTS_STRANGER_H

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>

#include "sim.h"

#define STRANGER_TOKEN_MAX 256
#define STRANGER_STREAMS 48         /* that it speaks on; the first is its control stream */
#define STRANGER_SAYS_MAX (8 << 20) /* bytes on one of them */

enum stranger_cert {
    CERT_NONE,
    CERT_RSA,
    CERT_ECDSA,
    CERT_ED25519,
    CERT_ED25519_BROKEN, /* its self-signature does not fit */
    CERT_ED25519_EXPIRED,
    CERT_ED25519_CHAIN, /* certified by an authority with an RSA key */
    CERT_RSA_CHAIN      /* certified by an authority with an Ed25519 key */
};

struct stranger;
struct stranger_options {
    enum stranger_cert cert;
    const char *alpn; /* NULL: none is offered */
    uint32_t version; /* 0: QUIC version 1 */
    bool hello;       /* says HELLO as soon as it can */
    bool confirm;     /* and CONFIRM behind it: it comes up as a peer */
    size_t window;    /* bytes that each stream of the other side may have, and four times as many
                         in all; 0: 1 MiB */
    size_t sips;      /* bytes of a window that it gives back for each datagram that comes; 0: of
                         streams none */
    bool deaf;        /* hears nothing and says no more, once its handshake is complete */
    const gnutls_datum_t *ticket;     /* to resume with, as a client */
    const gnutls_datum_t *ticket_key; /* of its tickets, as a server; NULL: it gives none */
    const uint8_t *token;             /* in the first Initial */
    size_t token_size;
    const ngtcp2_cid *dcid; /* of the first Initial; NULL: any */
    /* Writes frames of its own choice into a 1-RTT packet, `size` bytes at most, in place of what
     * it would say: their size. Asked for `forgeries` packets once the handshake is complete. */
    size_t (*forge)(struct stranger *x, uint8_t *frames, size_t size);
    const void *forge_arg; /* whatever it likes */
    unsigned forgeries;
    size_t forge_size; /* bytes of frames in each of these packets, at most 1,000, its default */
};

struct stranger {
    struct sim_node *place;
    struct stranger_options options;
    bool server;
    gnutls_certificate_credentials_t credentials;
    tbq_peer_id id; /* of an Ed25519 key */
    struct tbi_rng rng;
    /* The present connection. */
    ngtcp2_conn *qc;
    gnutls_session_t tls;
    void *ref[2]; /* ngtcp2_crypto_conn_ref */
    ngtcp2_cid scid, first_dcid;
    struct tbi_addr remote;
    bool gone; /* closed by either side */
    bool said_close;
    int64_t filler;  /* the stream that forged packets are made for */
    unsigned forged; /* packets */
    struct stranger_speech {
        int64_t id; /* -1: not opened yet */
        uint8_t *data;
        size_t size, sent;
        bool fin, fin_sent;
        bool blocked; /* by a window, or not wanted: for this round, or for ever */
        bool dead;
    } speech[STRANGER_STREAMS];
    /* What it has seen. */
    bool complete;
    bool resumed;
    bool closed;    /* by the other side's CONNECTION_CLOSE */
    bool by_code;   /* of the application; else of the transport or TLS */
    uint64_t code;  /* that came with it */
    char text[320]; /* that came with it */
    int error;      /* NGTCP2_ERR_* that ended it on this side */
    bool reset;     /* by a stateless reset */
    unsigned tries; /* connections begun, as a server */
    unsigned retries;
    size_t stream_bytes;
    size_t datagrams;                  /* that came */
    uint8_t token[STRANGER_TOKEN_MAX]; /* of the Retry */
    size_t token_size;
    ngtcp2_cid retry_scid;
    gnutls_datum_t ticket; /* the last that came */
};

/* At the address of that place, which is not booted; waits as a server. */
struct stranger *stranger_new(struct sim_node *place, const struct stranger_options *options);
void stranger_free(struct stranger *x);
void stranger_dial(struct stranger *x, const struct sim_node *to);
/* On its stream of that number: what it says comes there as it is. Stream 0 has begun with HELLO,
 * the others are opened by what is said first. False: no more fits. */
bool stranger_say(struct stranger *x, unsigned stream, const void *data, size_t size);
void stranger_fin(struct stranger *x, unsigned stream);
size_t stranger_unsent(const struct stranger *x, unsigned stream);            /* bytes */
void stranger_be(struct stranger *x, const struct stranger_options *options); /* from now on */

#endif
