/* tests/unit/node_pair.c - see node_pair.h. */
#include "node_pair.h"

#include <stdio.h>
#include <string.h>

static void on_log(void *user, tbq_log_level level, const char *line)
{
    struct pair *p = user;
    (void)level;
    p->out_of_memory += strstr(line, "out of memory") != NULL;
}

static void init_end(struct pair *p, struct pair_end *e, uint8_t number)
{
    uint8_t ip[4] = {10, 0, 0, number};
    uint8_t seed[TBI_SEED_SIZE];

    memset(seed, number, sizeof seed);
    tbi_failing_init(&e->memory, 0);
    ck_assert_int_eq(tbi_identity_new(&e->identity, &p->steady, seed, &p->rng), 0);
    tbi_trust_init(&e->trust, &p->steady, &p->rng);
    ck_assert_int_eq(tbi_addr_from_bytes(&e->addr, ip, 4, 8443), 0);
    tbq_config_init(&e->settings);
    e->settings.max_connections = 8;
    e->settings.receive_window = 2 * (size_t)e->settings.max_message_size + 65536;
}

void pair_init(struct pair *p)
{
    memset(p, 0, sizeof *p);
    ck_assert_int_eq(tbi_alloc_init(&p->steady, NULL), 0);
    tbi_test_rng(&p->rng, 1);
    p->log = (struct tbi_log){.level = TBQ_LOG_DEBUG, .write = on_log, .user = p};
    p->now = (struct tbi_now){.mono_ns = 1000 * TBI_NS_PER_S, .wall_ms = 1700000000000};
    init_end(p, &p->a, 1);
    init_end(p, &p->b, 2);
}

static void free_end(struct pair_end *e)
{
    pair_kill(e);
    ck_assert_msg(e->memory.live == 0, "%zu blocks were left behind", e->memory.live);
    tbi_identity_free(e->identity);
    tbi_trust_free(&e->trust);
}

void pair_free(struct pair *p)
{
    free_end(&p->a);
    free_end(&p->b);
}

int pair_start(struct pair *p, struct pair_end *e)
{
    struct tbi_node_config config = {.alloc = &e->memory.alloc,
                                     .log = &p->log,
                                     .identity = e->identity,
                                     .trust = &e->trust,
                                     .local = e->addr,
                                     .settings = e->settings};
    tbi_rng_bytes(&p->rng, config.seed, sizeof config.seed);
    e->node = NULL;
    return tbi_node_new(&e->node, &config, p->now);
}

void pair_kill(struct pair_end *e)
{
    tbi_node_free(e->node);
    e->node = NULL;
    e->held_len = 0;
}

int pair_dial(struct pair *p, struct pair_end *from, const struct pair_end *to, bool persistent,
              tbq_connection *connection)
{
    struct tbi_target t = {.numeric = true, .addr = to->addr, .port = 8443};
    snprintf(t.host, sizeof t.host, "10.0.0.%d", to == &p->a ? 1 : 2);
    return tbi_node_connect(from->node, p->now, &t, persistent, connection);
}

static void note(struct pair_end *e, tbq_event *event)
{
    e->after_stopped += e->count[TBQ_EVENT_STOPPED];
    e->count[event->type]++;
    if (event->reason != 0) {
        e->reason = event->reason;
    }
    if (event->text[0] != '\0') {
        snprintf(e->text, sizeof e->text, "%s", event->text);
    }
    if (event->type == TBQ_EVENT_FATE) {
        e->fates[event->tag % PAIR_TAGS]++;
        e->fate = event->fate;
    } else if (event->type == TBQ_EVENT_RELEASED) {
        e->released[event->tag % PAIR_TAGS]++;
    } else if (event->type == TBQ_EVENT_CONNECTED) {
        e->connection = event->connection;
    } else if (event->type == TBQ_EVENT_REQUEST) {
        e->request = event->request;
    } else if (event->type == TBQ_EVENT_RESPONSE) {
        e->status = event->message->u.response.status;
    }
    bool may_hold = event->type == TBQ_EVENT_MESSAGE || event->type == TBQ_EVENT_REQUEST;
    if (e->hold && may_hold) {
        ck_assert_uint_lt(e->held_len, PAIR_EVENTS);
        e->held[e->held_len++] = event;
    } else {
        tbi_node_event_release(event);
    }
}

/* Sends all that `from` has to send; true when there was something. */
static bool carry(struct pair *p, struct pair_end *from, struct pair_end *to)
{
    static uint8_t buffer[TBI_DATAGRAM_MAX];
    struct tbi_send_batch out = {.data = buffer, .capacity = sizeof buffer};
    bool any = false;

    while (from->node != NULL && tbi_node_send(from->node, p->now, &out) == 1) {
        struct tbi_datagram d = {.local = to->addr,
                                 .remote = from->addr,
                                 .ecn = out.ecn,
                                 .data = buffer,
                                 .size = out.size,
                                 .segment_size = out.segment_size};
        if (to->node != NULL && !to->deaf && tbi_addr_equal(&out.remote, &to->addr)) {
            tbi_node_recv(to->node, p->now, &d, 1);
        }
        any = true;
    }
    return any;
}

static void step(struct pair *p, struct pair_end *e)
{
    tbq_event *event;
    if (e->node == NULL) {
        return;
    }
    tbi_node_step(e->node, p->now);
    while ((event = tbi_node_next_event(e->node)) != NULL) {
        note(e, event);
    }
}

static uint64_t deadline(const struct pair_end *e)
{
    return e->node != NULL ? tbi_node_deadline(e->node) : TBI_NEVER;
}

void pair_run(struct pair *p, uint64_t ms)
{
    uint64_t end = p->now.mono_ns + ms * TBI_NS_PER_MS;
    uint64_t wall = p->now.wall_ms + ms;

    for (;;) {
        bool busy;
        size_t rounds = 0;
        do {
            step(p, &p->a);
            step(p, &p->b);
            busy = carry(p, &p->a, &p->b);
            busy = carry(p, &p->b, &p->a) || busy;
            ck_assert_msg(++rounds < 10000, "they never come to rest");
        } while (busy);
        uint64_t at = deadline(&p->a) < deadline(&p->b) ? deadline(&p->a) : deadline(&p->b);
        if (at > end) {
            break;
        }
        p->now.mono_ns = at > p->now.mono_ns ? at : p->now.mono_ns + 1000;
        p->now.wall_ms = wall - (end - p->now.mono_ns) / TBI_NS_PER_MS;
    }
    p->now = (struct tbi_now){.mono_ns = end, .wall_ms = wall};
    step(p, &p->a);
    step(p, &p->b);
}

void pair_connect(struct pair *p)
{
    ck_assert_int_eq(pair_start(p, &p->a), 0);
    ck_assert_int_eq(pair_start(p, &p->b), 0);
    ck_assert_int_eq(pair_dial(p, &p->a, &p->b, false, NULL), 0);
    pair_run(p, 100);
    ck_assert_uint_eq(p->a.count[TBQ_EVENT_CONNECTED], 1);
    ck_assert_uint_eq(p->b.count[TBQ_EVENT_CONNECTED], 1);
}

void pair_release(struct pair_end *e)
{
    for (size_t i = 0; i < e->held_len; i++) {
        tbi_node_event_release(e->held[i]);
    }
    e->held_len = 0;
}

tbq_message pair_message(const char *text)
{
    tbq_message m = {.kind = TBQ_TRANSITION};
    m.u.transition = (tbq_bytes){.data = (const uint8_t *)text, .size = strlen(text)};
    return m;
}

int pair_send(struct pair *p, struct pair_end *from, const struct pair_end *to, uint64_t tag)
{
    tbq_message m = pair_message("hello");
    tbq_send_options o = {.size = sizeof o, .tag = tag, .lane = TBQ_LANE_NORMAL};
    return tbi_node_send_to(from->node, p->now, pair_id(to), &m, &o);
}

const tbq_peer_id *pair_id(const struct pair_end *e)
{
    return tbi_identity_id(e->identity);
}
