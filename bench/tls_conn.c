/* bench/tls_conn.c - see tls_conn.h. */
#include "tls_conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "side.h"

#define RECORD_SIZE 16384
#define RECORD_MORE 256               /* what encryption may add to a record, and to spare */
#define IN_SIZE ((size_t)256 * 1024)  /* of one read: the fewer, the better */
#define OUT_SIZE ((size_t)256 * 1024) /* of one write, about */
#define HEAD_SIZE 4
#define BACKLOG 4096
#define CONTROLLER "cubic" /* of congestion */
#define VALID_S 86400

/* AES-128-GCM and X25519, as the programs that this one is compared with. */
static const char priority_text[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM:"
                                    "-GROUP-ALL:+GROUP-X25519:-SIGN-ALL:+SIGN-EDDSA-ED25519:"
                                    "%DISABLE_TLS13_COMPAT_MODE";

/* Shared by all connections, as each is done with them before another begins: 10,000 that idle
 * need none. */
static uint8_t plain[RECORD_SIZE]; /* the record that is being filled */
static size_t plain_len;
static uint8_t out[OUT_SIZE + RECORD_SIZE + RECORD_MORE]; /* records to be written */
static size_t out_len;
static uint8_t in[IN_SIZE]; /* what was read, and GnuTLS has not taken yet */
static size_t in_at, in_len;
static struct tls_conn *writer; /* whose plain[] and out[] are */

static int must(int rv, const char *what)
{
    if (rv < 0) {
        side_die("%s: %s", what, gnutls_strerror(rv));
    }
    return rv;
}

static int must_errno(int rv, const char *what)
{
    if (rv < 0) {
        side_die("%s: %s", what, strerror(errno));
    }
    return rv;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void raw_key(gnutls_x509_crt_t crt, uint8_t key[TLS_PIN_SIZE])
{
    gnutls_datum_t x = {NULL, 0};
    gnutls_ecc_curve_t curve = GNUTLS_ECC_CURVE_INVALID;
    must(gnutls_x509_crt_get_pk_ecc_raw(crt, &curve, &x, NULL), "the key of a certificate");
    if (curve != GNUTLS_ECC_CURVE_ED25519 || x.size != TLS_PIN_SIZE) {
        side_die("a certificate's key is not Ed25519");
    }
    memcpy(key, x.data, TLS_PIN_SIZE);
    gnutls_free(x.data);
}

static void make_identity(struct tls_side *s)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
    must(gnutls_x509_privkey_init(&key), "key");
    must(gnutls_x509_privkey_generate(key, GNUTLS_PK_EDDSA_ED25519,
                                      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519), 0),
         "making a key");
    must(gnutls_x509_crt_init(&crt), "certificate");
    must(gnutls_x509_crt_set_version(crt, 3), "version");
    must(gnutls_x509_crt_set_serial(crt, "\1", 1), "serial number");
    must(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "bench", 5), "name");
    must(gnutls_x509_crt_set_activation_time(crt, 0), "activation");
    must(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + VALID_S), "expiration");
    must(gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE), "key usage");
    must(gnutls_x509_crt_set_key(crt, key), "key of the certificate");
    must(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA512, 0), "signing");
    must(gnutls_certificate_set_x509_key(s->credentials, &crt, 1, key), "credentials");
    if (s->server) {
        raw_key(crt, s->pin);
    }
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

/* GnuTLS asks after it has seen the proof that the other side has the certificate's key. */
static int look_at_peer(gnutls_session_t tls)
{
    struct tls_conn *c = gnutls_session_get_ptr(tls);
    uint8_t key[TLS_PIN_SIZE];
    unsigned many = 0;
    gnutls_x509_crt_t crt;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(tls, &many);
    if (chain == NULL || many != 1) {
        return GNUTLS_E_NO_CERTIFICATE_FOUND;
    }
    must(gnutls_x509_crt_init(&crt), "certificate");
    must(gnutls_x509_crt_import(crt, chain, GNUTLS_X509_FMT_DER), "the certificate that came");
    raw_key(crt, key);
    gnutls_x509_crt_deinit(crt);
    if (!c->side->server && memcmp(key, c->side->pin, TLS_PIN_SIZE) != 0) {
        return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
    }
    return 0;
}

void tls_side_init(struct tls_side *s, bool server)
{
    s->server = server;
    s->epoll = must_errno(epoll_create1(EPOLL_CLOEXEC), "epoll");
    must(gnutls_certificate_allocate_credentials(&s->credentials), "credentials");
    must(gnutls_priority_init(&s->priority, priority_text, NULL), "priorities");
    must(gnutls_session_ticket_key_generate(&s->ticket_key), "ticket key");
    gnutls_certificate_set_verify_function(s->credentials, look_at_peer);
    make_identity(s);
}

/* ---- what GnuTLS reads and writes with ------------------------------------------------------- */

static ssize_t pull(gnutls_transport_ptr_t ptr, void *buf, size_t size)
{
    struct tls_conn *c = ptr;
    size_t len = in_len - in_at < size ? in_len - in_at : size;
    if (len == 0) {
        gnutls_transport_set_errno(c->tls, EAGAIN);
        return -1;
    }
    memcpy(buf, in + in_at, len);
    in_at += len;
    return (ssize_t)len;
}

/* Whether there is something to read is never the question. */
static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
    (void)ptr;
    (void)ms;
    return in_len > in_at;
}

static void keep(struct tls_conn *c, const uint8_t *p, size_t len)
{
    if (c->left_len + len > c->left_capacity) {
        c->left_capacity = 2 * (c->left_len + len);
        c->left = realloc(c->left, c->left_capacity);
        if (c->left == NULL) {
            side_die("out of memory");
        }
    }
    memcpy(c->left + c->left_len, p, len);
    c->left_len += len;
}

static void watch(struct tls_conn *c, bool blocked)
{
    struct epoll_event e = {.events = EPOLLIN | (blocked ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};
    if (blocked != c->blocked) {
        must_errno(epoll_ctl(c->side->epoll, EPOLL_CTL_MOD, c->fd, &e), "epoll");
        c->blocked = blocked;
    }
}

/* How much of it the kernel takes. A connection that broke takes everything: reading it tells. */
static size_t give(struct tls_conn *c, const uint8_t *p, size_t len)
{
    size_t given = 0;
    while (given < len) {
        ssize_t n = send(c->fd, p + given, len - given, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return errno == EAGAIN ? given : len;
        }
        given += n > 0 ? (size_t)n : 0;
    }
    return given;
}

static void write_out(struct tls_conn *c)
{
    size_t given = c->blocked ? 0 : give(c, out, out_len);
    if (given < out_len) {
        keep(c, out + given, out_len - given);
        watch(c, true);
    }
    out_len = 0;
}

static void write_left(struct tls_conn *c)
{
    size_t given = give(c, c->left, c->left_len);
    memmove(c->left, c->left + given, c->left_len - given);
    c->left_len -= given;
    if (c->left_len == 0) {
        free(c->left);
        c->left = NULL;
        c->left_capacity = 0;
        watch(c, false);
    }
}

static ssize_t push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int many)
{
    struct tls_conn *c = ptr;
    ssize_t all = 0;
    for (int i = 0; i < many; i++) {
        const uint8_t *p = iov[i].iov_base;
        for (size_t at = 0; at < iov[i].iov_len;) {
            size_t some = iov[i].iov_len - at;
            some = some < sizeof out - out_len ? some : sizeof out - out_len;
            memcpy(out + out_len, p + at, some);
            out_len += some;
            at += some;
            if (out_len == sizeof out) {
                write_out(c);
            }
        }
        all += (ssize_t)iov[i].iov_len;
    }
    return all;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void end_record(struct tls_conn *c)
{
    if (plain_len > 0) {
        must((int)gnutls_record_send(c->tls, plain, plain_len), "sending");
        plain_len = 0;
    }
    if (out_len >= OUT_SIZE) {
        write_out(c);
    }
}

uint8_t *tls_space(struct tls_conn *c, size_t *len)
{
    if (plain_len == sizeof plain) {
        end_record(c);
    }
    *len = sizeof plain - plain_len;
    return plain + plain_len;
}

void tls_used(size_t len)
{
    plain_len += len;
}

void tls_put(struct tls_conn *c, const void *p, size_t len)
{
    const uint8_t *from = p;
    while (len > 0) {
        size_t space;
        uint8_t *to = tls_space(c, &space);
        size_t some = len < space ? len : space;
        memcpy(to, from, some);
        tls_used(some);
        from += some;
        len -= some;
    }
}

void tls_put_head(struct tls_conn *c, uint32_t type, uint32_t size)
{
    uint32_t le = htole32(type | size << 8);
    if (writer == NULL) {
        writer = c;
    } else if (writer != c) {
        side_die("two connections write at once");
    }
    tls_put(c, &le, HEAD_SIZE);
}

void tls_flush(struct tls_conn *c)
{
    if (writer == NULL || writer == c) {
        end_record(c);
        if (out_len > 0) {
            write_out(c);
        }
        writer = NULL;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static size_t take_head(struct tls_conn *c, const uint8_t *p, size_t len)
{
    size_t i = 0;
    for (; i < len && c->head_len < HEAD_SIZE; i++) {
        c->head |= (uint32_t)p[i] << (8 * c->head_len++);
    }
    if (c->head_len == HEAD_SIZE) {
        c->type = c->head & 0xff;
        c->size = c->head >> 8;
        c->offset = 0;
        if (c->size == 0) {
            c->side->piece(c, p, 0);
            c->head_len = 0;
            c->head = 0;
        }
    }
    return i;
}

static void take(struct tls_conn *c, const uint8_t *p, size_t len)
{
    while (len > 0 && c->state == TLS_UP) {
        size_t some;
        if (c->head_len < HEAD_SIZE) {
            some = take_head(c, p, len);
        } else {
            some = c->size - c->offset < len ? c->size - c->offset : len;
            c->side->piece(c, p, some);
            c->offset += (uint32_t)some;
            if (c->offset == c->size) {
                c->head_len = 0;
                c->head = 0;
            }
        }
        p += some;
        len -= some;
    }
}

static void shake_hands(struct tls_conn *c)
{
    int rv = gnutls_handshake(c->tls);
    if (rv == GNUTLS_E_AGAIN || rv == GNUTLS_E_INTERRUPTED) {
        return;
    }
    must(rv, "handshake");
    c->state = TLS_UP;
    c->side->up(c);
}

/* Records until GnuTLS has taken all that was read. */
static void read_records(struct tls_conn *c)
{
    gnutls_packet_t packet;
    gnutls_datum_t d;
    ssize_t n;
    do {
        n = gnutls_record_recv_packet(c->tls, &packet);
        if (n > 0) {
            gnutls_packet_get(packet, &d, NULL);
            take(c, d.data, d.size);
            gnutls_packet_deinit(packet);
        } else if (n == 0) {
            c->state = TLS_GONE;
        } else if (n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED) {
            must((int)n, "receiving");
        }
    } while (c->state == TLS_UP && (n > 0 || in_at < in_len));
}

static void read_in(struct tls_conn *c)
{
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            c->state = TLS_GONE;
        }
        return;
    }
    in_at = 0;
    in_len = (size_t)n;
    if (c->state == TLS_BEGINS) {
        shake_hands(c);
    }
    if (c->state == TLS_UP) {
        read_records(c);
    }
    in_len = in_at = 0;
}

bool tls_event(struct tls_conn *c, uint32_t events)
{
    if (events & EPOLLOUT) {
        if (c->left_len > 0) {
            write_left(c);
        } else { /* it is connected: a client speaks first */
            watch(c, false);
            shake_hands(c);
        }
    }
    if (c->state != TLS_GONE && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        read_in(c);
    }
    tls_flush(c);
    if (c->state == TLS_GONE) {
        c->side->down(c);
        tls_free(c);
        return false;
    }
    return true;
}

/* ---- beginning and ending -------------------------------------------------------------------- */

/* A client keeps the newest ticket. */
static int on_ticket(gnutls_session_t tls, unsigned type, unsigned when, unsigned incoming,
                     const gnutls_datum_t *message)
{
    struct tls_conn *c = gnutls_session_get_ptr(tls);
    gnutls_datum_t data;
    (void)type;
    (void)when;
    (void)message;
    if (incoming && gnutls_session_get_data2(tls, &data) == 0) {
        gnutls_free(c->side->session.data);
        c->side->session = data;
    }
    return 0;
}

static struct tls_conn *new_conn(struct tls_side *s, int fd)
{
    struct tls_conn *c = calloc(1, sizeof *c);
    int yes = 1;
    if (c == NULL) {
        side_die("out of memory");
    }
    c->side = s;
    c->fd = fd;
    must_errno(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), "TCP_NODELAY");
    must(gnutls_init(&c->tls, (s->server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK),
         "session");
    gnutls_session_set_ptr(c->tls, c);
    must(gnutls_priority_set(c->tls, s->priority), "priorities");
    must(gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, s->credentials), "credentials");
    gnutls_handshake_set_timeout(c->tls, GNUTLS_INDEFINITE_TIMEOUT);
    gnutls_transport_set_ptr(c->tls, c);
    gnutls_transport_set_pull_function(c->tls, pull);
    gnutls_transport_set_pull_timeout_function(c->tls, pull_timeout);
    gnutls_transport_set_vec_push_function(c->tls, push);
    if (s->server) {
        gnutls_certificate_server_set_request(c->tls, GNUTLS_CERT_REQUIRE);
        must(gnutls_session_ticket_enable_server(c->tls, &s->ticket_key), "tickets");
    } else {
        gnutls_handshake_set_hook_function(c->tls, GNUTLS_HANDSHAKE_NEW_SESSION_TICKET,
                                           GNUTLS_HOOK_POST, on_ticket);
    }
    /* A client waits until it is connected, which is when it can write. */
    c->blocked = !s->server;
    struct epoll_event e = {.events = EPOLLIN | (c->blocked ? (uint32_t)EPOLLOUT : 0),
                            .data.ptr = c};
    must_errno(epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e), "epoll");
    return c;
}

/* What a listener has, those that it accepts have too. */
static int new_socket(void)
{
    int fd = must_errno(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");

    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, CONTROLLER, sizeof CONTROLLER - 1) < 0) {
        side_cannot("this kernel's TCP has no " CONTROLLER ": %s", strerror(errno));
    }
    return fd;
}

uint16_t tls_listen(struct tls_side *s, struct in_addr host, int *fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = host};
    socklen_t len = sizeof a;
    *fd = new_socket();
    must_errno(bind(*fd, (struct sockaddr *)&a, sizeof a), "bind");
    must_errno(listen(*fd, BACKLOG), "listen");
    must_errno(getsockname(*fd, (struct sockaddr *)&a, &len), "getsockname");
    (void)s;
    return ntohs(a.sin_port);
}

void tls_accept(struct tls_side *s, int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            new_conn(s, fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            side_die("accept: %s", strerror(errno));
        }
    }
}

struct tls_conn *tls_dial(struct tls_side *s, const struct sockaddr_in *to, bool resume)
{
    int fd = new_socket();
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS) {
        side_die("connect: %s", strerror(errno));
    }
    struct tls_conn *c = new_conn(s, fd);
    if (resume) {
        must(gnutls_session_set_data(c->tls, s->session.data, s->session.size), "the ticket");
    }
    return c;
}

void tls_free(struct tls_conn *c)
{
    /* No TIME_WAIT: thousands of connections a second would use up the ports. */
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(c->fd);
    gnutls_deinit(c->tls);
    free(c->left);
    if (writer == c) {
        writer = NULL;
        plain_len = out_len = 0;
    }
    free(c);
}
