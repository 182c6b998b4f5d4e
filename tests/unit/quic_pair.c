/* tests/unit/quic_pair.c - see quic_pair.h. */
#include "quic_pair.h"

#include <string.h>

static size_t slot(int64_t stream)
{
    return (size_t)(stream / 4) % QUIC_STREAMS;
}

static void on_data(void *user, struct tbi_conn *conn, int64_t stream, const uint8_t *data,
                    size_t size, bool fin)
{
    struct quic_end *e = user;
    size_t i = slot(stream);

    if (e->got[i] == 0 && size > 0) {
        e->first[i] = data[0];
        e->order[e->seen++ % QUIC_STREAMS] = stream;
    }
    e->got[i] += size;
    if (tbi_conn_is_early(conn)) {
        uint8_t key[TBQ_PUBLIC_KEY_SIZE];
        struct tbi_verdict verdict;
        e->early += size;
        if (tbi_identity_peer_key(tbi_conn_peer_session(conn), 1700000000000, key, &verdict) == 0) {
            e->early_known += size;
        }
        if (e->refuse_early) {
            tbi_conn_close(conn, (struct tbi_now){0}, TBI_CLOSE_DENIED, "no");
        }
    }
    e->fin[i] = e->fin[i] || fin;
    if (e->consume) {
        tbi_conn_consume(conn, stream, size);
    }
}

static void on_reset(void *user, struct tbi_conn *conn, int64_t stream)
{
    struct quic_end *e = user;
    (void)conn, (void)stream;
    e->resets++;
}

static void on_datagram(void *user, struct tbi_conn *conn, const uint8_t *data, size_t size)
{
    struct quic_end *e = user;

    if (e->messages == 0) {
        for (size_t i = 0; i < QUIC_STREAMS; i++) {
            e->message_after += e->got[i];
        }
    }
    e->message[e->messages++ % QUIC_STREAMS] = size > 0 ? data[0] : 0;
    e->message_size = size;
    if (tbi_conn_is_early(conn)) {
        e->early += size;
    }
}

static void init_end(struct quic_pair *p, struct quic_end *e, uint8_t number)
{
    uint8_t seed[TBI_SEED_SIZE];
    uint8_t ip[4] = {10, 0, 0, number};

    memset(seed, number, sizeof seed);
    tbi_failing_init(&e->memory, 0);
    ck_assert_int_eq(tbi_identity_new(&e->identity, &p->steady, seed, &p->rng), 0);
    ck_assert_int_eq(tbi_addr_from_bytes(&e->addr, ip, 4, 8443), 0);
    e->consume = true;
    e->config = (struct tbi_endpoint_config){.alloc = &e->memory.alloc,
                                             .log = &p->log,
                                             .crypto = tbi_identity_crypto(e->identity),
                                             .max_connections = 4,
                                             .accept = number == 2,
                                             .idle_timeout_ms = 60000,
                                             .handshake_timeout_ms = 5000,
                                             .stream_window = 1 << 20,
                                             .sink = {.user = e,
                                                      .stream_data = on_data,
                                                      .stream_reset = on_reset,
                                                      .stream_stopped = on_reset,
                                                      .datagram = on_datagram}};
    tbi_rng_bytes(&p->rng, e->config.seed, sizeof e->config.seed);
}

void quic_init(struct quic_pair *p)
{
    memset(p, 0, sizeof *p);
    ck_assert_int_eq(tbi_alloc_init(&p->steady, NULL), 0);
    tbi_test_rng(&p->rng, 1);
    p->now = (struct tbi_now){.mono_ns = 1000 * TBI_NS_PER_S, .wall_ms = 1700000000000};
    init_end(p, &p->a, 1);
    init_end(p, &p->b, 2);
}

int quic_start(struct quic_end *e)
{
    ck_assert_int_eq(tbi_identity_credentials(e->identity, &e->config.credentials), 0);
    return tbi_endpoint_new(&e->ep, &e->config);
}

static void free_end(struct quic_end *e)
{
    tbi_endpoint_free(e->ep);
    ck_assert_msg(e->memory.live == 0, "%zu blocks were left behind", e->memory.live);
    tbi_identity_free(e->identity);
}

void quic_free(struct quic_pair *p)
{
    free_end(&p->a);
    free_end(&p->b);
}

int quic_dial(struct quic_pair *p)
{
    struct tbi_dial_options o = {.ticket = p->a.ticket_size > 0 ? p->a.ticket : NULL,
                                 .ticket_size = p->a.ticket_size,
                                 .token = p->a.token_size > 0 ? p->a.token : NULL,
                                 .token_size = p->a.token_size,
                                 .early = p->a.dial_early};
    return tbi_endpoint_dial(p->a.ep, p->now, &p->b.addr, &o, &p->a.conn);
}

void quic_actions(struct quic_end *e)
{
    struct tbi_quic_action a;
    while (e->ep != NULL && tbi_endpoint_next_action(e->ep, &a)) {
        e->count[a.type]++;
        if (a.type == TBI_QUIC_ACCEPTED) {
            e->conn = a.conn;
        } else if (a.type == TBI_QUIC_PATH) {
            e->path = a.path.remote;
            e->path_local = a.path.local;
        } else if (a.type == TBI_QUIC_CLOSED) {
            e->closed = a;
        } else if (a.type == TBI_QUIC_TICKET && a.ticket.size <= sizeof e->ticket) {
            memcpy(e->ticket, a.ticket.data, a.ticket.size);
            e->ticket_size = a.ticket.size;
        } else if (a.type == TBI_QUIC_TOKEN && a.ticket.size <= sizeof e->token) {
            memcpy(e->token, a.ticket.data, a.ticket.size);
            e->token_size = a.ticket.size;
        } else if (a.type == TBI_QUIC_DATAGRAM_ACKED || a.type == TBI_QUIC_DATAGRAM_LOST) {
            size_t i = e->fates.count++ % 2048;
            e->fates.id[i] = a.datagram.id;
            e->fates.arrived[i] = a.type == TBI_QUIC_DATAGRAM_ACKED;
        }
    }
}

struct tbi_conn *quic_conn(struct quic_end *e)
{
    return tbi_endpoint_conn(e->ep, e->conn);
}

void quic_inject(struct quic_pair *p, struct quic_end *to, const struct quic_end *from,
                 const void *data, size_t size)
{
    struct tbi_datagram d = {.local = to->addr, .remote = from->addr, .data = data, .size = size};
    tbi_endpoint_recv(to->ep, p->now, &d, 1);
}

bool quic_take(struct quic_pair *p, struct quic_end *e)
{
    struct tbi_send_batch out = {.data = e->last, .capacity = sizeof e->last};
    if (e->ep == NULL || tbi_endpoint_send(e->ep, p->now, &out) == 0) {
        return false;
    }
    e->last_size = out.size;
    e->datagrams++;
    return true;
}

static bool carry(struct quic_pair *p, struct quic_end *from, struct quic_end *to)
{
    struct tbi_send_batch out = {.data = from->last, .capacity = sizeof from->last};
    bool any = false;

    while (from->ep != NULL && tbi_endpoint_send(from->ep, p->now, &out) == 1) {
        bool second = from->second.len > 0 && tbi_addr_equal(&out.local, &from->second);
        bool to_second = to->second.len > 0 && tbi_addr_equal(&out.remote, &to->second);
        struct tbi_datagram d = {.local = to_second ? to->second : to->addr,
                                 .remote = second ? from->second : from->addr,
                                 .data = out.data,
                                 .size = out.size,
                                 .segment_size = out.segment_size};
        from->datagrams++;
        from->last_size = out.size;
        from->from_second += second;
        if (to->ep != NULL && !to->deaf && !(second ? from->second_dead : from->first_dead) &&
            !(to_second ? to->second_dead : to->first_dead)) {
            tbi_endpoint_recv(to->ep, p->now, &d, 1);
        }
        any = true;
    }
    quic_actions(from);
    quic_actions(to);
    return any;
}

static uint64_t deadline(const struct quic_end *e)
{
    return e->ep != NULL ? tbi_endpoint_deadline(e->ep) : TBI_NEVER;
}

void quic_run(struct quic_pair *p, uint64_t ms)
{
    uint64_t end = p->now.mono_ns + ms * TBI_NS_PER_MS;

    for (size_t rounds = 0;; rounds++) {
        ck_assert_msg(rounds < 100000, "they never come to rest");
        bool busy = carry(p, &p->a, &p->b);
        busy = carry(p, &p->b, &p->a) || busy;
        if (busy) {
            continue;
        }
        uint64_t at = deadline(&p->a) < deadline(&p->b) ? deadline(&p->a) : deadline(&p->b);
        if (at > end) {
            break;
        }
        p->now.mono_ns = at > p->now.mono_ns ? at : p->now.mono_ns + 1000;
        tbi_endpoint_tick(p->a.ep, p->now);
        tbi_endpoint_tick(p->b.ep, p->now);
        quic_actions(&p->a);
        quic_actions(&p->b);
    }
    p->now.mono_ns = p->now.mono_ns > end ? p->now.mono_ns : end; /* it never goes back */
    p->now.wall_ms += ms;
}

void quic_connect(struct quic_pair *p)
{
    ck_assert_int_eq(quic_start(&p->a), 0);
    ck_assert_int_eq(quic_start(&p->b), 0);
    ck_assert_int_eq(quic_dial(p), 0);
    quic_run(p, 100);
    ck_assert_uint_eq(p->a.count[TBI_QUIC_HANDSHAKE_DONE], 1);
    ck_assert_uint_eq(p->b.count[TBI_QUIC_HANDSHAKE_DONE], 1);
}
