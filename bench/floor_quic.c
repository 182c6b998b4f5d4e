/* bench/floor_quic.c - see floor.h. Connections, and the loop that turns them.
 *
 * A turn reads all that has come, then lets each connection write one batch, so that
 * acknowledgements are read between batches and are themselves sent once for a whole receive.
 * Nothing is freed while packets are read. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "floor.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_ROOM 1500U /* bytes, that ngtcp2 may write for a packet */
#define TABLE_MIN 64U     /* entries; a power of two */
#define INPUT_EVERY 64U   /* turns, while there is no time to sleep */
#define IDLE_NS (3600 * SECOND_NS)

/* ---- connection ids ---- */

static uint64_t id_of(const uint8_t *bytes)
{
    uint64_t id;
    memcpy(&id, bytes, sizeof id);
    return id;
}

/* The ids are random: no hash is needed. */
static size_t place_of(const struct floor *f, uint64_t id)
{
    size_t i = id & (f->table_size - 1);

    while (f->table[i].conn != NULL && f->table[i].id != id) {
        i = (i + 1) & (f->table_size - 1);
    }
    return i;
}

static void table_grow(struct floor *f)
{
    struct entry *old = f->table;
    size_t old_size = f->table_size;

    f->table_size = old_size > 0 ? 2 * old_size : TABLE_MIN;
    f->table = calloc(f->table_size, sizeof *f->table);
    if (f->table == NULL) {
        die("no memory");
    }
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].conn != NULL) {
            f->table[place_of(f, old[i].id)] = old[i];
        }
    }
    free(old);
}

static void table_add(struct floor *f, const ngtcp2_cid *cid, struct conn *c)
{
    if (2 * (f->table_used + 1) > f->table_size) {
        table_grow(f);
    }
    struct entry *e = &f->table[place_of(f, id_of(cid->data))];
    f->table_used += e->conn == NULL;
    *e = (struct entry){.id = id_of(cid->data), .conn = c};
}

/* Entries behind a free one move up to where they are found. */
static void table_remove(struct floor *f, const ngtcp2_cid *cid)
{
    size_t mask = f->table_size - 1, hole = place_of(f, id_of(cid->data));

    if (f->table[hole].conn == NULL) {
        return;
    }
    f->table_used--;
    for (size_t i = (hole + 1) & mask; f->table[i].conn != NULL; i = (i + 1) & mask) {
        size_t home = f->table[i].id & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            f->table[hole] = f->table[i];
            hole = i;
        }
    }
    f->table[hole].conn = NULL;
}

/* ---- timers ---- */

static void heap_put(struct floor *f, size_t place, struct conn *c)
{
    f->heap[place] = c;
    c->place = place;
}

static void heap_settle(struct floor *f, struct conn *c)
{
    size_t i = c->place;

    for (; i > 0 && c->due < f->heap[(i - 1) / 2]->due; i = (i - 1) / 2) {
        heap_put(f, i, f->heap[(i - 1) / 2]);
    }
    for (size_t child; (child = 2 * i + 1) < f->count; i = child) {
        if (child + 1 < f->count && f->heap[child + 1]->due < f->heap[child]->due) {
            child++;
        }
        if (c->due <= f->heap[child]->due) {
            break;
        }
        heap_put(f, i, f->heap[child]);
    }
    heap_put(f, i, c);
}

static void heap_add(struct floor *f, struct conn *c)
{
    if (f->count == f->heap_size) {
        f->heap_size = f->heap_size > 0 ? 2 * f->heap_size : TABLE_MIN;
        f->heap = realloc(f->heap, f->heap_size * sizeof *f->heap);
        if (f->heap == NULL) {
            die("no memory");
        }
    }
    c->due = NEVER;
    heap_put(f, f->count++, c);
}

static void heap_remove(struct floor *f, const struct conn *c)
{
    struct conn *last = f->heap[--f->count];

    if (last != c) {
        heap_put(f, c->place, last);
        heap_settle(f, last);
    }
}

/* ---- what ngtcp2 asks and tells ---- */

static void on_rand(uint8_t *to, size_t size, const ngtcp2_rand_ctx *ctx)
{
    (void)ctx;
    random_bytes(to, size);
}

static void new_cid(ngtcp2_cid *cid)
{
    uint8_t bytes[CID_SIZE];
    random_bytes(bytes, sizeof bytes);
    ngtcp2_cid_init(cid, bytes, sizeof bytes);
}

static int on_new_cid(ngtcp2_conn *qc, ngtcp2_cid *cid, uint8_t *token, size_t size, void *user)
{
    struct conn *c = user;
    (void)qc, (void)size;

    new_cid(cid);
    random_bytes(token, NGTCP2_STATELESS_RESET_TOKENLEN);
    table_add(c->floor, cid, c);
    return 0;
}

static int on_remove_cid(ngtcp2_conn *qc, const ngtcp2_cid *cid, void *user)
{
    (void)qc;
    table_remove(((struct conn *)user)->floor, cid);
    return 0;
}

static int on_handshake_completed(ngtcp2_conn *qc, void *user)
{
    struct conn *c = user;
    struct floor *f = c->floor;

    if (!tls_peer_is_right(c)) {
        fputs("floor: the peer showed no certificate, or not the right one\n", stderr);
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    if (f->server) {
        if (gnutls_session_ticket_send(c->tls, 1, 0) != 0) {
            return NGTCP2_ERR_CALLBACK_FAILURE;
        }
    } else if (c->stream < 0 && ngtcp2_conn_open_bidi_stream(qc, &c->stream, NULL) != 0) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    c->up = true;
    c->flight_due = !f->server;
    f->on_up(c);
    return 0;
}

static int on_stream_data(ngtcp2_conn *qc, uint32_t flags, int64_t stream, uint64_t offset,
                          const uint8_t *data, size_t size, void *user, void *stream_user)
{
    struct conn *c = user;
    (void)flags, (void)offset, (void)stream_user;

    c->stream = stream;
    ngtcp2_conn_extend_max_offset(qc, size);
    if (ngtcp2_conn_extend_max_stream_offset(qc, stream, size) != 0) {
        return NGTCP2_ERR_CALLBACK_FAILURE;
    }
    flow_receive(c, data, size);
    return 0;
}

static int on_acked(ngtcp2_conn *qc, int64_t stream, uint64_t offset, uint64_t size, void *user,
                    void *stream_user)
{
    struct conn *c = user;
    (void)qc, (void)stream, (void)stream_user;
    flow_acked(c->floor, &c->out, offset + size);
    return 0;
}

static const ngtcp2_callbacks callbacks = {
    .client_initial = ngtcp2_crypto_client_initial_cb,
    .recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
    .recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
    .recv_retry = ngtcp2_crypto_recv_retry_cb,
    .encrypt = ngtcp2_crypto_encrypt_cb,
    .decrypt = ngtcp2_crypto_decrypt_cb,
    .hp_mask = ngtcp2_crypto_hp_mask_cb,
    .update_key = ngtcp2_crypto_update_key_cb,
    .delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
    .delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
    .version_negotiation = ngtcp2_crypto_version_negotiation_cb,
    .get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
    .rand = on_rand,
    .get_new_connection_id = on_new_cid,
    .remove_connection_id = on_remove_cid,
    .handshake_completed = on_handshake_completed,
    .recv_stream_data = on_stream_data,
    .acked_stream_data_offset = on_acked,
};

/* ---- beginning and end ---- */

static void settings_of(const struct floor *f, ngtcp2_settings *s, ngtcp2_transport_params *p)
{
    static uint16_t probe;

    ngtcp2_settings_default(s);
    s->initial_ts = f->now;
    s->cc_algo = f->settings.cc;
    s->ack_thresh = f->settings.ack_thresh;
    s->max_tx_udp_payload_size = f->settings.payload;
    if (f->settings.payload > PACKET_ROOM) { /* ngtcp2 by itself tries for no more than Ethernet */
        probe = (uint16_t)f->settings.payload;
        s->pmtud_probes = &probe;
        s->pmtud_probeslen = 1;
    }
    ngtcp2_transport_params_default(p);
    p->initial_max_streams_bidi = 1;
    p->initial_max_stream_data_bidi_local = f->settings.window;
    p->initial_max_stream_data_bidi_remote = f->settings.window;
    p->initial_max_data = f->settings.window;
    p->max_idle_timeout = IDLE_NS;
}

static struct conn *conn_new(struct floor *f, const struct sockaddr_in *remote)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL) {
        die("no memory");
    }
    c->floor = f;
    c->remote = *remote;
    c->stream = -1;
    heap_add(f, c);
    return c;
}

static ngtcp2_path path_of(struct floor *f, struct sockaddr_in *remote)
{
    return (ngtcp2_path){
        .local = {.addr = (struct sockaddr *)&f->udp.local, .addrlen = sizeof f->udp.local},
        .remote = {.addr = (struct sockaddr *)remote, .addrlen = sizeof *remote}};
}

struct conn *floor_dial(struct floor *f, const struct sockaddr_in *to, const struct ticket *ticket,
                        bool early)
{
    struct conn *c = conn_new(f, to);
    ngtcp2_path path = path_of(f, &c->remote);
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_cid dcid, scid;

    settings_of(f, &settings, &params);
    new_cid(&dcid);
    new_cid(&scid);
    if (ngtcp2_conn_client_new(&c->qc, &dcid, &scid, &path, NGTCP2_PROTO_VER_V1, &callbacks,
                               &settings, &params, NULL, c) != 0) {
        die("no memory");
    }
    table_add(f, &scid, c);
    tls_session(c, ticket, early);
    if (early && ngtcp2_conn_open_bidi_stream(c->qc, &c->stream, NULL) != 0) {
        die("the ticket lets no early data pass");
    }
    f->hurry = true;
    conn_ready(c);
    return c;
}

static struct conn *accept_new(struct floor *f, const struct slot *s, const uint8_t *data,
                               size_t size)
{
    ngtcp2_settings settings;
    ngtcp2_transport_params params;
    ngtcp2_pkt_hd hd;
    ngtcp2_cid scid;

    if (ngtcp2_accept(&hd, data, size) != 0 || hd.dcid.datalen < CID_SIZE) {
        return NULL;
    }
    struct conn *c = conn_new(f, &s->from);
    ngtcp2_path path = path_of(f, &c->remote);
    settings_of(f, &settings, &params);
    params.original_dcid = hd.dcid;
    params.original_dcid_present = 1;
    new_cid(&scid);
    if (ngtcp2_conn_server_new(&c->qc, &hd.scid, &scid, &path, hd.version, &callbacks, &settings,
                               &params, NULL, c) != 0) {
        die("no memory");
    }
    table_add(f, &scid, c);
    table_add(f, &hd.dcid, c);
    tls_session(c, NULL, false);
    return c;
}

static void conn_gone(struct conn *c)
{
    struct floor *f = c->floor;

    if (!c->gone) {
        c->gone = true;
        c->next_gone = f->gone;
        f->gone = c;
        f->on_closed(c);
    }
}

static void conn_free(struct conn *c)
{
    struct floor *f = c->floor;
    size_t n = ngtcp2_conn_get_scid(c->qc, NULL);
    ngtcp2_cid *cids = calloc(n + 1, sizeof *cids);

    if (cids == NULL) {
        die("no memory");
    }
    ngtcp2_conn_get_scid(c->qc, cids);
    if (f->server) {
        cids[n++] = *ngtcp2_conn_get_client_initial_dcid(c->qc);
    }
    for (size_t i = 0; i < n; i++) {
        table_remove(f, &cids[i]);
    }
    free(cids);
    ngtcp2_conn_del(c->qc);
    gnutls_deinit(c->tls);
    flow_free(f, &c->out);
    heap_remove(f, c);
    free(c);
}

void conn_ready(struct conn *c)
{
    struct floor *f = c->floor;

    if (!c->listed) {
        c->listed = true;
        c->next_ready = NULL;
        *f->ready_end = c;
        f->ready_end = &c->next_ready;
    }
}

void conn_close(struct conn *c)
{
    c->closing = true;
    conn_ready(c);
}

/* A client's measurement is void then; a server has others. */
static void conn_failed(struct conn *c, const char *what, int rv)
{
    if (!c->floor->server) {
        die("%s: %s (TLS alert %u)", what, ngtcp2_strerror(rv), ngtcp2_conn_get_tls_alert(c->qc));
    }
    fprintf(stderr, "floor: %s: %s\n", what, ngtcp2_strerror(rv));
    conn_gone(c);
}

/* ---- packets in ---- */

static void read_packet(struct floor *f, struct slot *s, const uint8_t *data, size_t size)
{
    bool is_long = (data[0] & 0x80) != 0;
    size_t at = is_long ? 6 : 1; /* of the id; behind version and length in a long header */
    ngtcp2_pkt_info pi = {0};

    if (size < at + CID_SIZE) {
        return;
    }
    struct conn *c = f->table[place_of(f, id_of(data + at))].conn;
    if (c == NULL && is_long && f->server) {
        c = accept_new(f, s, data, size);
    }
    if (c == NULL || c->gone) {
        return; /* what is still under way to a connection that has ended */
    }
    f->hurry |= !c->up;
    ngtcp2_path path = path_of(f, &s->from);
    int rv = ngtcp2_conn_read_pkt(c->qc, &path, &pi, data, size, f->now);
    if (rv == NGTCP2_ERR_DRAINING || rv == NGTCP2_ERR_DROP_CONN) {
        conn_gone(c);
    } else if (rv != 0) {
        conn_failed(c, "reading", rv);
    } else {
        conn_ready(c);
    }
}

static void expire(struct floor *f)
{
    while (f->count > 0 && f->heap[0]->due <= f->now) {
        struct conn *c = f->heap[0];
        int rv = c->gone ? 0 : ngtcp2_conn_handle_expiry(c->qc, f->now);
        if (rv != 0) {
            conn_failed(c, "waiting", rv);
        }
        conn_ready(c);
        c->due = NEVER; /* told anew when it has written */
        heap_settle(f, c);
    }
}

/* ---- packets out ---- */

/* The next packet: its size, or 0. */
static size_t write_packet(struct conn *c, uint8_t *to, size_t room)
{
    ngtcp2_vec vec[2] = {{NULL, 0}};
    ngtcp2_pkt_info pi;
    ngtcp2_ssize used = -1;
    size_t n = c->stream >= 0 ? flow_gather(&c->out, vec) : 0;
    ngtcp2_ssize rv = ngtcp2_conn_writev_stream(c->qc, NULL, &pi, to, room, &used, 0,
                                                n > 0 ? c->stream : -1, vec, n, c->floor->now);

    if (used > 0) {
        flow_sent(&c->out, (size_t)used);
    }
    if (rv == NGTCP2_ERR_STREAM_DATA_BLOCKED) {
        rv = ngtcp2_conn_writev_stream(c->qc, NULL, &pi, to, room, NULL, 0, -1, NULL, 0,
                                       c->floor->now);
    }
    if (rv < 0) {
        conn_failed(c, "writing", (int)rv);
        return 0;
    }
    return (size_t)rv;
}

/* The last thing of a connection, which is then forgotten. */
static void write_close(struct conn *c)
{
    struct floor *f = c->floor;
    ngtcp2_ccerr error;
    ngtcp2_pkt_info pi;

    ngtcp2_ccerr_default(&error);
    ngtcp2_ccerr_set_application_error(&error, 0, NULL, 0);
    ngtcp2_ssize n = ngtcp2_conn_write_connection_close(c->qc, NULL, &pi, f->batch.data,
                                                        PACKET_ROOM, &error, f->now);
    if (n > 0) {
        udp_send(&f->udp, &c->remote, f->batch.data, (size_t)n, (size_t)n);
    }
    conn_gone(c);
}

static void send_batch(struct conn *c, struct batch *b)
{
    if (b->size > 0) {
        udp_send(&c->floor->udp, &c->remote, b->data, b->size, b->segment);
    }
    b->size = b->packets = 0;
}

/* One batch of packets of one size. False: the connection has nothing more to send now. */
static bool write_batch(struct conn *c)
{
    struct floor *f = c->floor;
    struct batch *b = &f->batch;
    size_t room = f->settings.payload > PACKET_ROOM ? f->settings.payload : PACKET_ROOM;
    size_t most = f->settings.pacing ? ngtcp2_conn_get_send_quantum(c->qc) : BATCH_MAX;
    bool more = true;

    b->size = b->packets = 0;
    while (b->packets == 0 ||
           (b->packets < SEGMENTS_MAX && b->size < most && b->size + b->segment <= BATCH_MAX)) {
        size_t n = write_packet(c, b->data + b->size, room);
        if (n == 0) {
            more = false;
            break;
        }
        if (b->packets > 0 && n > b->segment) { /* tries for a larger MTU: goes by itself */
            size_t at = b->size;
            send_batch(c, b);
            udp_send(&f->udp, &c->remote, b->data + at, n, n);
            break;
        }
        b->segment = b->packets == 0 ? n : b->segment;
        b->size += n;
        b->packets++;
        if (n < b->segment) {
            break;
        }
    }
    send_batch(c, b);
    if (f->settings.pacing) {
        ngtcp2_conn_update_pkt_tx_time(c->qc, f->now);
    }
    return more;
}

/* A client that has its answer already ends its handshake before it leaves. */
static void write_some(struct conn *c)
{
    bool more = (!c->closing || c->flight_due) && write_batch(c);

    c->flight_due = false;
    if (more) {
        conn_ready(c);
    } else if (c->closing && !c->gone) {
        write_close(c);
    }
    if (!c->gone) {
        c->due = ngtcp2_conn_get_expiry(c->qc);
        heap_settle(c->floor, c);
    }
}

static void write_ready(struct floor *f)
{
    struct conn *c = f->ready, *next;

    f->now = now_ns(); /* to read may have taken a while */
    f->hurry = false;
    f->ready = NULL;
    f->ready_end = &f->ready;
    for (; c != NULL; c = next) {
        next = c->next_ready;
        c->listed = false;
        if (c->gone) {
            continue;
        }
        write_some(c);
    }
    while (f->gone != NULL) {
        c = f->gone;
        f->gone = c->next_gone;
        conn_free(c);
    }
}

void floor_flush(struct floor *f)
{
    while (f->ready != NULL) {
        write_ready(f);
    }
}

/* ---- the loop ---- */

void floor_init(struct floor *f, const struct settings *s, bool server,
                const struct sockaddr_in *at)
{
    f->settings = *s;
    f->server = server;
    f->ready_end = &f->ready;
    f->now = now_ns();
    /* Sleeps are exact: pacing asks for less than the 50 microseconds that the kernel adds. */
    prctl(PR_SET_TIMERSLACK, 1UL);
    table_grow(f);
    tls_init(&f->tls, server);
    udp_open(&f->udp, at, s->buffer, s->slots);
}

/* All is read before anything is written, but for handshakes: each costs so much that the other
 * side would have nothing to do meanwhile. */
static void read_slots(struct floor *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct slot *s = &f->udp.slots[i];
        for (size_t at = 0; at < s->size; at += s->segment) {
            size_t left = s->size - at;
            read_packet(f, s, s->data + at, left < s->segment ? left : s->segment);
        }
        if (f->hurry) {
            write_ready(f);
        }
    }
}

/* False: nothing has come, and nothing is left to send. */
static bool turn(struct floor *f)
{
    size_t n = udp_receive(&f->udp);

    f->now = now_ns();
    read_slots(f, n);
    f->now = now_ns();
    expire(f);
    if (f->work != NULL) {
        f->work(f);
    }
    write_ready(f);
    return n > 0 || f->ready != NULL;
}

/* Until a packet, a line of input, or the next timer. */
static void wait_for_more(struct floor *f, bool may_sleep)
{
    bool listens = f->on_input != NULL;
    struct pollfd fds[2] = {{.fd = f->udp.fd, .events = POLLIN},
                            {.fd = listens ? STDIN_FILENO : -1, .events = POLLIN}};
    uint64_t due = f->count > 0 ? f->heap[0]->due : NEVER, now = now_ns();
    uint64_t ns = may_sleep && due > now ? due - now : 0;
    struct timespec at_most = {.tv_sec = (time_t)(ns / SECOND_NS),
                               .tv_nsec = (long)(ns % SECOND_NS)};

    if (ppoll(fds, 2, may_sleep && due == NEVER ? NULL : &at_most, NULL) > 0 && listens &&
        fds[1].revents != 0) {
        f->on_input(f);
    }
}

void floor_run(struct floor *f)
{
    uint64_t last = now_ns(); /* something was done then */

    for (unsigned turns = 1; !f->over; turns++) {
        bool busy = turn(f);
        last = busy ? f->now : last;
        if (!busy && f->now - last >= f->settings.spin) {
            wait_for_more(f, true);
        } else if (turns % INPUT_EVERY == 0 && f->on_input != NULL) {
            wait_for_more(f, false);
        }
    }
}
