/* tests/fuzz/world.c - see world.h. */
#include "world.h"

#include <stdlib.h>
#include <string.h>

static struct tbi_identity *node_identity, *peer_identity; /* made once: they cost a millisecond */
static struct tbi_alloc heap;
static size_t live; /* blocks */

void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void *counted_alloc(void *user, size_t size)
{
    void *p = malloc(size);
    (void)user;
    live += p != NULL;
    return p;
}

static void *counted_realloc(void *user, void *ptr, size_t size)
{
    void *p = realloc(ptr, size);
    (void)user;
    live += ptr == NULL && p != NULL;
    return p;
}

static void counted_free(void *user, void *ptr)
{
    (void)user;
    live -= ptr != NULL;
    free(ptr);
}

static struct tbi_identity *identity(uint8_t number)
{
    struct tbi_identity *made = NULL;
    uint8_t seed[TBI_SEED_SIZE];
    struct tbi_rng rng;

    memset(seed, number, sizeof seed);
    tbi_rng_init(&rng, seed);
    require(tbi_identity_new(&made, &heap, seed, &rng) == 0);
    return made;
}

static void fixed_seed(uint8_t *seed, uint8_t number)
{
    memset(seed, number, TBI_RNG_SEED_SIZE);
}

static void no_log(void *user, tbq_log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
}

static const struct tbi_log log_nowhere = {.level = TBQ_LOG_ERROR, .write = no_log};

static void ignore_data(void *user, struct tbi_conn *c, int64_t stream, const uint8_t *data,
                        size_t size, bool fin)
{
    (void)user;
    (void)data;
    (void)fin;
    tbi_conn_consume(c, stream, size);
}

static void ignore_reset(void *user, struct tbi_conn *c, int64_t stream)
{
    (void)user;
    (void)c;
    (void)stream;
}

static void make_peer(struct world *w)
{
    struct tbi_endpoint_config config = {
        .alloc = &w->alloc,
        .log = &log_nowhere,
        .crypto = tbi_identity_crypto(peer_identity),
        .max_connections = 4,
        .accept = true,
        .idle_timeout_ms = 60000,
        .handshake_timeout_ms = 5000,
        .stream_window = 1 << 20,
        .sink = {.stream_data = ignore_data,
                 .stream_reset = ignore_reset,
                 .stream_stopped = ignore_reset},
    };
    fixed_seed(config.seed, 7);
    require(tbi_identity_credentials(peer_identity, &config.credentials) == 0);
    require(tbi_endpoint_new(&w->peer, &config) == 0);
}

static void make_node(struct world *w)
{
    struct tbi_node_config config = {.alloc = &w->alloc,
                                     .log = &log_nowhere,
                                     .identity = node_identity,
                                     .trust = &w->trust,
                                     .local = w->node_addr};
    fixed_seed(config.seed, 8);
    tbq_config_init(&config.settings);
    config.settings.max_connections = 4;
    config.settings.max_message_size = 4096;
    config.settings.take_bodies = true;
    config.settings.receive_window = 2 * 4096 + 65536;
    config.settings.outbox_bytes = 65536;
    config.settings.outbox_messages = 64;
    require(tbi_node_new(&w->node, &config, w->now) == 0);
}

void world_begin(struct world *w, bool node_dials)
{
    const tbq_allocator hook = {counted_alloc, counted_realloc, counted_free, NULL};
    const uint8_t node_ip[4] = {10, 0, 0, 1}, peer_ip[4] = {10, 0, 0, 2};
    struct tbi_rng rng;
    uint8_t seed[TBI_RNG_SEED_SIZE];

    if (node_identity == NULL) {
        require(tbi_alloc_init(&heap, NULL) == 0);
        node_identity = identity(1);
        peer_identity = identity(2);
    }
    memset(w, 0, sizeof *w);
    live = 0;
    require(tbi_alloc_init(&w->alloc, &hook) == 0);
    require(tbi_addr_from_bytes(&w->node_addr, node_ip, 4, 8443) == 0);
    require(tbi_addr_from_bytes(&w->peer_addr, peer_ip, 4, 8443) == 0);
    w->now = (struct tbi_now){.mono_ns = 1000 * TBI_NS_PER_S, .wall_ms = 1764000000000};
    fixed_seed(seed, 9);
    tbi_rng_init(&rng, seed);
    tbi_trust_init(&w->trust, &w->alloc, &rng);
    make_peer(w);
    make_node(w);
    if (node_dials) {
        struct tbi_target t = {.numeric = true, .addr = w->peer_addr, .port = 8443, .host = "x"};
        require(tbi_node_connect(w->node, w->now, &t, false, NULL) == 0);
    } else {
        const struct tbi_dial_options none = {0};
        require(tbi_endpoint_dial(w->peer, w->now, &w->node_addr, &none, &w->conn) == 0);
    }
}

void world_end(struct world *w)
{
    for (size_t i = 0; i < w->kept_len; i++) {
        tbi_node_event_release(w->kept[i]);
    }
    tbi_node_free(w->node);
    tbi_endpoint_free(w->peer);
    tbi_trust_free(&w->trust);
    require(live == 0);
}

/* --- The wire --------------------------------------------------------------------------------- */

static void put(struct world *w, bool to_node, const struct tbi_send_batch *out)
{
    size_t step = out->segment_size > 0 ? out->segment_size : out->size;
    for (size_t at = 0; at < out->size; at += step) {
        size_t size = out->size - at < step ? out->size - at : step;
        require(size <= sizeof w->wire[0].data);
        if (w->flying < WIRE_MAX) {
            struct flying *f = &w->wire[w->flying++];
            f->to_node = to_node;
            f->size = size;
            memcpy(f->data, out->data + at, size);
        }
    }
}

void world_collect(struct world *w)
{
    static uint8_t buffer[TBI_DATAGRAM_MAX];
    struct tbi_send_batch out = {.data = buffer, .capacity = sizeof buffer};
    struct tbi_quic_action a;

    for (int i = 0; i < 64 && tbi_endpoint_send(w->peer, w->now, &out) == 1; i++) {
        put(w, true, &out);
        out = (struct tbi_send_batch){.data = buffer, .capacity = sizeof buffer};
    }
    for (int i = 0; i < 64 && tbi_node_send(w->node, w->now, &out) == 1; i++) {
        put(w, false, &out);
        out = (struct tbi_send_batch){.data = buffer, .capacity = sizeof buffer};
    }
    while (tbi_endpoint_next_action(w->peer, &a)) {
        if (a.type == TBI_QUIC_ACCEPTED) {
            w->conn = a.conn;
        }
        if (a.conn == w->conn && a.type == TBI_QUIC_CONNECTED_EARLY) {
            w->peer_up = true;
        } else if (a.conn == w->conn && a.type == TBI_QUIC_CLOSED) {
            w->peer_up = false;
        }
    }
}

void world_inject(struct world *w, const uint8_t *data, size_t size, const struct tbi_addr *from)
{
    uint8_t *exact = malloc(size > 0 ? size : 1); /* reading past it is noticed */
    struct tbi_datagram d = {.local = w->node_addr, .remote = *from, .data = exact, .size = size};

    require(exact != NULL);
    if (size > 0) {
        memcpy(exact, data, size);
    }
    require(tbi_node_recv(w->node, w->now, &d, 1) == 1);
    free(exact);
}

void world_deliver(struct world *w, size_t at)
{
    struct flying f = w->wire[at];

    memmove(w->wire + at, w->wire + at + 1, (w->flying - at - 1) * sizeof w->wire[0]);
    w->flying--;
    if (f.to_node) {
        world_inject(w, f.data, f.size, &w->peer_addr);
    } else {
        struct tbi_datagram d = {
            .local = w->peer_addr, .remote = w->node_addr, .data = f.data, .size = f.size};
        (void)tbi_endpoint_recv(w->peer, w->now, &d, 1);
    }
}

void world_pass(struct world *w, uint64_t ms)
{
    uint64_t until = w->now.mono_ns + ms * TBI_NS_PER_MS;

    for (int i = 0; i < 1000; i++) { /* timers that never rest would be a finding, but not here */
        uint64_t at = tbi_node_deadline(w->node), other = tbi_endpoint_deadline(w->peer);
        at = other < at ? other : at;
        if (at > until) {
            break;
        }
        if (at > w->now.mono_ns) {
            w->now.wall_ms += (at - w->now.mono_ns) / TBI_NS_PER_MS;
            w->now.mono_ns = at;
        }
        tbi_node_step(w->node, w->now);
        tbi_endpoint_tick(w->peer, w->now);
        world_collect(w);
        require(i < 999);
    }
    w->now.mono_ns = until > w->now.mono_ns ? until : w->now.mono_ns;
}

void world_run(struct world *w, uint64_t ms)
{
    for (uint64_t i = 0; i <= ms; i++) {
        world_collect(w);
        while (w->flying > 0) {
            world_deliver(w, 0);
            world_collect(w);
        }
        world_look(w);
        if (i < ms) {
            world_pass(w, 1);
        }
    }
}

void world_connect(struct world *w)
{
    world_run(w, 5);
    require(w->peer_up);
}

void world_look(struct world *w)
{
    const struct tbi_endpoint_stats *s = tbi_endpoint_stats(w->peer);
    tbq_event *e;

    require(s->connections <= 4);
    while ((e = tbi_node_next_event(w->node)) != NULL) {
        require(e->type < 32 && e->text != NULL);
        w->events[e->type]++;
        if (w->keep_events && w->kept_len < 64) {
            w->kept[w->kept_len++] = e;
        } else {
            tbi_node_event_release(e);
        }
    }
}
