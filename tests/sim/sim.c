/* tests/sim/sim.c - see sim.h. */
#include "sim.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEADERS 42 /* bytes: Ethernet, IPv4, UDP */
#define START_NS (1000 * TBI_NS_PER_S)
#define START_WALL_MS UINT64_C(1700000000000)

struct packet {
    uint64_t at;
    uint64_t order;
    struct tbi_addr from;
    struct tbi_addr to;
    uint8_t ecn;
    size_t size;
    uint8_t data[];
};

struct sim {
    struct tbi_rng rng;
    struct tbi_alloc alloc;
    struct tbi_log log;
    uint64_t turns;
    uint64_t now_ns;
    int64_t wall_jumps_ms;
    uint64_t next_order;
    size_t nodes_len;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_link links[SIM_NODES_MAX][SIM_NODES_MAX];
    struct sim_link other[SIM_NODES_MAX][SIM_NODES_MAX];
    struct packet **heap;
    size_t heap_len, heap_cap;
    char *text;
    size_t text_len, text_cap;
};

static struct sim_memory memory[SIM_NODES_MAX]; /* outlives the simulation, as told peers do */
static struct sim *current;                     /* GnuTLS asks for the time without an argument */

static time_t gnutls_time(time_t *t)
{
    time_t now = (time_t)(sim_now(current).wall_ms / 1000);
    if (t != NULL) {
        *t = now;
    }
    return now;
}

struct sim *sim_new(uint64_t seed)
{
    struct sim *s = calloc(1, sizeof *s);
    uint8_t key[TBI_RNG_SEED_SIZE] = {0};
    assert(s != NULL);
    memcpy(key, &seed, sizeof seed);
    tbi_rng_init(&s->rng, key);
    tbi_alloc_init(&s->alloc, NULL);
    s->now_ns = START_NS;
    current = s;
    gnutls_global_set_time_function(gnutls_time);
    return s;
}

void sim_free(struct sim *s)
{
    for (size_t i = 0; i < s->nodes_len; i++) {
        if (s->nodes[i].alive) {
            sim_kill(&s->nodes[i]);
        }
        tbi_identity_free(s->nodes[i].identity);
        tbi_trust_free(&s->nodes[i].trust);
    }
    for (size_t i = 0; i < s->heap_len; i++) {
        free(s->heap[i]);
    }
    free(s->heap);
    free(s->text);
    free(s);
}

struct tbi_now sim_now(const struct sim *s)
{
    return (struct tbi_now){.mono_ns = s->now_ns,
                            .wall_ms = START_WALL_MS + (uint64_t)s->wall_jumps_ms +
                                       (s->now_ns - START_NS) / TBI_NS_PER_MS};
}

void sim_jump(struct sim *s, int64_t ms)
{
    s->wall_jumps_ms += ms;
}

uint64_t sim_ms(const struct sim *s)
{
    return (s->now_ns - START_NS) / TBI_NS_PER_MS;
}

uint64_t sim_turns(const struct sim *s)
{
    return s->turns;
}

struct sim_node *sim_add(struct sim *s)
{
    struct sim_node *n = &s->nodes[s->nodes_len];
    uint8_t ip[4] = {10, 0, 0, (uint8_t)(s->nodes_len + 1)};

    assert(s->nodes_len < SIM_NODES_MAX);
    n->sim = s;
    snprintf(n->name, sizeof n->name, s->nodes_len < 26 ? "%c" : "%c%u",
             (int)('A' + s->nodes_len % 26), (unsigned)(s->nodes_len / 26));
    n->memory = &memory[s->nodes_len++];
    *n->memory = (struct sim_memory){0};
    tbi_addr_from_bytes(&n->addr, ip, 4, 8443);
    tbq_config_init(&n->settings);
    n->settings.receive_window = 2 * (size_t)n->settings.max_message_size + 65536;
    n->settings.receive_window_max = (size_t)16 << 20; /* as lib/server/config.c has it */
    n->settings.receive_budget = (size_t)128 << 20;
    tbi_rng_bytes(&s->rng, n->key_seed, sizeof n->key_seed);
    int rv = tbi_identity_new(&n->identity, &s->alloc, n->key_seed, &s->rng);
    assert(rv == 0);
    (void)rv;
    tbi_trust_init(&n->trust, &s->alloc, &s->rng);
    return n;
}

void sim_same_key(struct sim_node *n, const struct sim_node *as)
{
    memcpy(n->key_seed, as->key_seed, sizeof n->key_seed);
    tbi_identity_free(n->identity);
    int rv = tbi_identity_new(&n->identity, &n->sim->alloc, n->key_seed, &n->sim->rng);
    assert(rv == 0);
    (void)rv;
}

tbq_config *sim_settings(struct sim_node *n)
{
    return &n->settings;
}

#define BLOCK_HEAD 16 /* the size of each block stands before it */

static void *counted_realloc(void *user, void *ptr, size_t size)
{
    struct sim_memory *m = user;
    size_t before = ptr != NULL ? *(size_t *)(void *)((char *)ptr - BLOCK_HEAD) : 0;
    size_t *p = realloc(ptr != NULL ? (char *)ptr - BLOCK_HEAD : NULL, size + BLOCK_HEAD);

    if (p == NULL) {
        return NULL;
    }
    *p = size;
    m->live += size - before;
    m->most = m->live > m->most ? m->live : m->most;
    return (char *)p + BLOCK_HEAD;
}

static void *counted_alloc(void *user, size_t size)
{
    return counted_realloc(user, NULL, size);
}

static void counted_free(void *user, void *ptr)
{
    struct sim_memory *m = user;
    if (ptr != NULL) {
        size_t *p = (size_t *)(void *)((char *)ptr - BLOCK_HEAD);
        m->live -= *p;
        free(p);
    }
}

void sim_boot(struct sim_node *n)
{
    const tbq_allocator hook = {counted_alloc, counted_realloc, counted_free, n->memory};
    struct tbi_node_config config = {
        .alloc = &n->alloc,
        .log = &n->sim->log,
        .identity = n->identity,
        .trust = &n->trust,
        .local = n->addr,
        .settings = n->settings,
    };
    if (n->dual_stack) {
        tbi_addr_from_text(&config.local, "[::]:8443");
    }
    tbi_rng_bytes(&n->sim->rng, config.seed, sizeof config.seed);
    tbi_alloc_init(&n->alloc, &hook);
    int rv = tbi_node_new(&n->node, &config, sim_now(n->sim));
    assert(rv == 0);
    (void)rv;
    n->alive = true;
}

void sim_host(struct sim_node *n, const struct sim_guest *guest, void *user)
{
    n->guest = guest;
    n->user = user;
    n->alive = true;
}

void sim_kill(struct sim_node *n)
{
    tbi_node_free(n->node);
    n->node = NULL;
    n->alive = false;
    sim_say(n, "is killed");
}

static struct tbi_addr numeric(const char *text)
{
    struct tbi_addr a;
    int rv = tbi_addr_from_text(&a, text);
    assert(rv == 0);
    (void)rv;
    return a;
}

void sim_see_at(struct sim_node *n, const struct tbi_addr *addr)
{
    if (n->inside.len == 0) {
        n->inside = n->addr;
    }
    n->addr = *addr;
}

void sim_rebind(struct sim_node *n, const char *addr)
{
    struct tbi_addr to = numeric(addr);

    sim_see_at(n, &to);
    sim_say(n, "is seen at %s now", addr);
}

void sim_move(struct sim_node *n, const char *addr)
{
    n->addr = numeric(addr);
    n->inside.len = 0;
    sim_say(n, "moves to %s", addr);
    (void)tbi_node_network_changed(n->node, sim_now(n->sim), &n->addr, 1);
}

struct sim_link *sim_link(struct sim_node *from, struct sim_node *to)
{
    struct sim *s = from->sim;
    return &s->links[from - s->nodes][to - s->nodes];
}

struct sim_link *sim_other_link(struct sim_node *from, struct sim_node *to)
{
    struct sim *s = from->sim;
    return &s->other[from - s->nodes][to - s->nodes];
}

void sim_other_both(struct sim_node *a, struct sim_node *b, struct sim_link link)
{
    *sim_other_link(a, b) = link;
    *sim_other_link(b, a) = link;
}

void sim_both(struct sim_node *a, struct sim_node *b, struct sim_link link)
{
    *sim_link(a, b) = link;
    *sim_link(b, a) = link;
}

tbq_connection sim_dial(struct sim_node *from, struct sim_node *to, bool persistent)
{
    struct tbi_target t = {.numeric = true, .addr = to->addr, .port = 8443};
    tbq_connection c = 0;
    int rv = tbi_node_connect(from->node, sim_now(from->sim), &t, persistent, &c);
    assert(rv == 0);
    (void)rv;
    return c;
}

void sim_say(struct sim_node *n, const char *format, ...)
{
    struct sim *s = n->sim;
    char line[400];
    va_list args;
    int used =
        snprintf(line, sizeof line, "[%6llu ms] %s  ", (unsigned long long)sim_ms(s), n->name);

    va_start(args, format);
    used += vsnprintf(line + used, sizeof line - (size_t)used - 2, format, args);
    va_end(args);
    size_t size = (size_t)used < sizeof line - 2 ? (size_t)used : sizeof line - 2;
    line[size++] = '\n';
    if (s->text_len + size + 1 > s->text_cap) {
        s->text_cap = 2 * s->text_cap + size + 4096;
        s->text = realloc(s->text, s->text_cap);
        assert(s->text != NULL);
    }
    memcpy(s->text + s->text_len, line, size);
    s->text_len += size;
    s->text[s->text_len] = '\0';
}

const char *sim_transcript(const struct sim *s)
{
    return s->text != NULL ? s->text : "";
}

/* --- The network ------------------------------------------------------------------------------ */

static bool sooner(const struct packet *a, const struct packet *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void put(struct sim *s, struct packet *p)
{
    if (s->heap_len == s->heap_cap) {
        s->heap_cap = 2 * s->heap_cap + 64;
        s->heap = realloc(s->heap, s->heap_cap * sizeof *s->heap);
        assert(s->heap != NULL);
    }
    size_t i = s->heap_len++;
    for (; i > 0 && sooner(p, s->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        s->heap[i] = s->heap[(i - 1) / 2];
    }
    s->heap[i] = p;
}

static struct packet *take(struct sim *s)
{
    struct packet *first = s->heap[0], *last = s->heap[--s->heap_len];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < s->heap_len; i = c) {
        if (c + 1 < s->heap_len && sooner(s->heap[c + 1], s->heap[c])) {
            c++;
        }
        if (!sooner(s->heap[c], last)) {
            break;
        }
        s->heap[i] = s->heap[c];
    }
    s->heap[i] = last;
    return first;
}

static bool chance(struct sim *s, unsigned per_mille)
{
    return per_mille > 0 && tbi_rng_below(&s->rng, 1000) < per_mille;
}

static struct sim_node *find(struct sim *s, const struct tbi_addr *addr)
{
    for (size_t i = 0; i < s->nodes_len; i++) {
        if (tbi_addr_equal(&s->nodes[i].addr, addr) || tbi_addr_equal(&s->nodes[i].alias, addr)) {
            return &s->nodes[i];
        }
    }
    return NULL;
}

/* When a datagram that is sent now has left through a link of that bandwidth; TBI_NEVER: its queue
 * is full. */
static uint64_t leaves_at(struct sim_link *l, uint64_t now_ns, size_t size)
{
    if (l->rate_bps == 0) {
        return now_ns;
    }
    uint64_t begins = l->busy_until > now_ns ? l->busy_until : now_ns;
    if (l->queue_ms > 0 && begins - now_ns > l->queue_ms * TBI_NS_PER_MS) {
        return TBI_NEVER;
    }
    l->busy_until = begins + (uint64_t)size * 8 * TBI_NS_PER_S / l->rate_bps;
    return l->busy_until;
}

/* What the node itself calls its first address. */
static const struct tbi_addr *own(const struct sim_node *n)
{
    return n->inside.len > 0 ? &n->inside : &n->addr;
}

/* What others see when it sends from there; NULL: it has no such address. */
static const struct tbi_addr *seen_from(const struct sim_node *n, const struct tbi_addr *local)
{
    if (local->len == 0 || tbi_addr_is_any(local) || tbi_addr_equal(local, own(n))) {
        return &n->addr;
    }
    return tbi_addr_equal(local, &n->alias) ? &n->alias : NULL;
}

static void fly(struct sim *s, const struct tbi_addr *from, struct sim_link *l,
                const struct tbi_send_batch *b, const uint8_t *data, size_t size)
{
    uint64_t leaves = leaves_at(l, s->now_ns, size);
    struct packet *p;

    if (leaves == TBI_NEVER) {
        l->overflowed++;
        return;
    }
    p = malloc(sizeof *p + size);
    assert(p != NULL);
    p->at = leaves + l->delay_ms * TBI_NS_PER_MS;
    if (chance(s, l->reorder)) {
        l->late++;
        p->at += tbi_rng_below(&s->rng, 1 + l->delay_ms * TBI_NS_PER_MS / 2);
    }
    p->order = s->next_order++;
    p->from = *from;
    p->to = b->remote;
    p->ecn = b->ecn;
    p->size = size;
    memcpy(p->data, data, size);
    if (size > 0 && chance(s, l->corrupt)) {
        l->corrupted++;
        p->data[tbi_rng_below(&s->rng, size)] ^= (uint8_t)(1U << tbi_rng_below(&s->rng, 8));
    }
    put(s, p);
}

static void send_one(struct sim_node *from, const struct tbi_send_batch *b, const uint8_t *data,
                     size_t size)
{
    struct sim *s = from->sim;
    struct sim_node *to = find(s, &b->remote);
    const struct tbi_addr *source = seen_from(from, &b->local);
    if (source == NULL) {
        from->from_nowhere += size;
        return;
    }
    if (to == NULL) {
        from->to_nowhere += size;
        if (from->on_nowhere != NULL) {
            from->on_nowhere(from, &b->remote, size);
        }
        return;
    }
    bool other = tbi_addr_equal(&b->remote, &to->alias) || tbi_addr_equal(source, &from->alias);
    struct sim_link *l = other ? sim_other_link(from, to) : sim_link(from, to);
    unsigned copies = 1;

    l->sent++;
    l->bytes += size + HEADERS;
    if (l->cut || (l->mtu > 0 && size > l->mtu) || chance(s, l->loss)) {
        l->lost++;
        return;
    }
    if (chance(s, l->duplicate)) {
        l->doubled++;
        copies++;
    }
    while (copies-- > 0) {
        fly(s, source, l, b, data, size);
    }
}

static int next_batch(struct sim_node *n, struct tbi_send_batch *b)
{
    return n->guest != NULL ? n->guest->send(n->user, b)
                            : tbi_node_send(n->node, sim_now(n->sim), b);
}

/* A socket that takes no more for a while: what waits then waits in the node. */
static bool takes_more(struct sim_node *n, size_t size)
{
    uint64_t now = n->sim->now_ns;

    if (n->uplink_bps > 0) {
        n->uplink_at = now + (uint64_t)size * 8 * TBI_NS_PER_S / n->uplink_bps;
    }
    return n->uplink_at <= now;
}

static void flush(struct sim_node *n)
{
    static uint8_t buffer[TBI_DATAGRAM_MAX];
    struct tbi_send_batch b = {.data = buffer, .capacity = sizeof buffer};
    bool takes = n->uplink_at <= n->sim->now_ns;
    size_t at_once = 0;

    while (takes && next_batch(n, &b) == 1) {
        takes = takes_more(n, b.size);
        at_once += b.size;
        n->most_at_once = at_once > n->most_at_once ? at_once : n->most_at_once;
        size_t step = b.segment_size > 0 ? b.segment_size : b.size;
        for (size_t at = 0; at < b.size; at += step) {
            send_one(n, &b, b.data + at, b.size - at < step ? b.size - at : step);
        }
        b = (struct tbi_send_batch){.data = buffer, .capacity = sizeof buffer};
    }
}

static void events(struct sim_node *n)
{
    tbq_event *e;
    while (n->alive && (e = tbi_node_next_event(n->node)) != NULL) {
        if (n->on_event == NULL || n->on_event(n, e)) {
            tbi_node_event_release(e);
        }
    }
}

static void settle(struct sim *s)
{
    s->turns++;
    for (size_t i = 0; i < s->nodes_len; i++) {
        struct sim_node *n = &s->nodes[i];
        if (n->alive && n->guest != NULL) {
            n->guest->step(n->user);
        } else if (n->alive) {
            tbi_node_step(n->node, sim_now(s));
            events(n);
        }
        if (n->alive) {
            flush(n);
        }
    }
}

static uint64_t next_at(struct sim *s)
{
    uint64_t at = s->heap_len > 0 ? s->heap[0]->at : TBI_NEVER;
    for (size_t i = 0; i < s->nodes_len; i++) {
        const struct sim_node *n = &s->nodes[i];
        if (n->alive) {
            uint64_t d =
                n->guest != NULL ? n->guest->deadline(n->user) : tbi_node_deadline(n->node);
            if (d <= s->now_ns && n->uplink_at > s->now_ns) {
                d = n->uplink_at; /* nothing can be sent before */
            }
            at = d < at ? d : at;
        }
    }
    return at;
}

static void arrive(struct sim *s)
{
    while (s->heap_len > 0 && s->heap[0]->at <= s->now_ns) {
        struct packet *p = take(s);
        struct sim_node *to = find(s, &p->to);
        struct tbi_datagram d = {
            .local = p->to, .remote = p->from, .ecn = p->ecn, .data = p->data, .size = p->size};
        if (to == NULL) { /* it has another address by now */
            free(p);
            continue;
        }
        bool there = to->alive;
        if (tbi_addr_equal(&p->to, &to->addr)) {
            d.local = *own(to);
        }
        if (there && to->guest != NULL) {
            to->guest->recv(to->user, &d);
        } else if (there) {
            tbi_node_recv(to->node, sim_now(s), &d, 1);
        }
        free(p);
    }
}

bool sim_run(struct sim *s, uint64_t ms, bool (*done)(void *), void *arg)
{
    uint64_t end = s->now_ns + ms * TBI_NS_PER_MS;

    for (;;) {
        settle(s);
        if (done != NULL && done(arg)) {
            return true;
        }
        uint64_t at = next_at(s);
        if (at > end) {
            s->now_ns = s->now_ns > end ? s->now_ns : end; /* it never goes back */
            settle(s);
            return done == NULL;
        }
        s->now_ns = at > s->now_ns ? at : s->now_ns + 1;
        arrive(s);
    }
}
