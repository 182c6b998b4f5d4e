/* bench/tls_conn.h - one TLS 1.3 connection over TCP, for bench/tls.c: frames in and out.
 *
 * A frame is a head of 4 bytes (type in the lowest byte, then 24 bits of size, little-endian) and
 * so many bytes. Sockets never block: what the kernel does not take is kept until it does, and the
 * connection is `blocked` meanwhile. Many frames go in one record, and many records in one write;
 * tls_flush() ends both. One read takes what several records may have; none of it is copied once it
 * is decrypted.
 *
 * Both sides have a certificate of an Ed25519 key of their own. The client pins the server's key;
 * the server wants a certificate with such a key, whichever.
 *
 * The congestion controller is cubic, as in all that this is compared with; a kernel that has none
 * is told, and ends the process.
 *
 * Any error of TLS ends the process, as a benchmark has no use for half of its work. */
#ifndef BENCH_TLS_CONN_H
#define BENCH_TLS_CONN_H

#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_SIZE_MAX ((1U << 24) - 1) /* of what a frame has in it */
#define TLS_PIN_SIZE 32               /* an Ed25519 public key */

struct tls_conn;

/* What a side does with its connections. */
struct tls_side {
    bool server;
    int epoll;
    uint8_t pin[TLS_PIN_SIZE];      /* of a server its own key, of a client the one that it wants */
    void (*up)(struct tls_conn *c); /* the handshake is done */
    /* Bytes [offset, offset + len) of a frame of `size`; once with none when it is empty. */
    void (*piece)(struct tls_conn *c, const uint8_t *p, size_t len);
    void (*down)(struct tls_conn *c); /* the other side has closed it; it is freed afterwards */
    /* A client's newest ticket; none before there is one. */
    gnutls_datum_t session;
    /* GnuTLS */
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    gnutls_datum_t ticket_key;
};

struct tls_conn {
    struct tls_side *side;
    int fd;
    gnutls_session_t tls;
    enum { TLS_BEGINS, TLS_UP, TLS_GONE } state;
    /* what the kernel did not take */
    bool blocked;
    uint8_t *left;
    size_t left_len, left_capacity;
    /* the frame that comes in */
    unsigned head_len;
    uint32_t head;
    uint32_t type, size, offset;
    /* the owner's */
    uint64_t number, bytes; /* messages that went or came whole, and what they had */
    uint32_t sent;          /* bytes of the message under way that went out */
    bool up, over;
};

/* Makes a key, its certificate, and what all connections share. A server's `pin` is filled in. */
void tls_side_init(struct tls_side *s, bool server);

/* A server's: listens there on a free port, which it answers with. *fd: to be watched. */
uint16_t tls_listen(struct tls_side *s, struct in_addr host, int *fd);
/* Takes all connections that wait. */
void tls_accept(struct tls_side *s, int listener);
/* A client's. resume: with the newest ticket, and no other way. */
struct tls_conn *tls_dial(struct tls_side *s, const struct sockaddr_in *to, bool resume);
/* Ends it at once and frees it; never from within a callback. */
void tls_free(struct tls_conn *c);

/* What epoll has told of a connection. false: it is down, and was freed. */
bool tls_event(struct tls_conn *c, uint32_t events);

/* Everything that is written between two calls of tls_flush is of one connection. */
void tls_put_head(struct tls_conn *c, uint32_t type, uint32_t size);
void tls_put(struct tls_conn *c, const void *p, size_t len);
/* Space in the record that is being filled, at least a byte; *len of it. tls_used: so much of it
 * was filled. */
uint8_t *tls_space(struct tls_conn *c, size_t *len);
void tls_used(size_t len);
void tls_flush(struct tls_conn *c);

#endif
