/* bench/count_engine.c - two engines on the pretended network of the simulator: nothing of the
 * system takes part, and but for TLS's own keys nothing is random. */
#include "count.h"

#include <stdio.h>
#include <stdlib.h>

#include "../tests/sim/sim.h"
#include "node/parts.h"
#include "quic/parts.h"

#define DELAY_MS 1
#define LONG_MS UINT64_C(86400000) /* longer than any story */

static struct {
    struct sim *sim;
    struct sim_node *node[2];
    void (*on_event)(struct end *e, const tbq_event *v);
    bool (*done)(void);
    unsigned places; /* where the second node was */
} here;

static const tbq_send_options no_options = {.size = sizeof no_options, .lane = TBQ_LANE_NORMAL};

static bool on_event(struct sim_node *n, tbq_event *e)
{
    here.on_event(n->user, e);
    return true;
}

static void begin(void (*told)(struct end *e, const tbq_event *v))
{
    here.sim = sim_new(1);
    here.on_event = told;
    for (size_t i = 0; i < 2; i++) {
        struct end *e = &count_engine.end[i];
        struct sim_node *n = sim_add(here.sim);
        here.node[i] = n;
        n->user = e;
        n->on_event = on_event;
        sim_settings(n)->no_discovery = true;
        e->in_world = n;
        e->other = &count_engine.end[1 - i];
        e->id = *tbi_identity_id(n->identity);
        sim_boot(n);
    }
    sim_both(here.node[0], here.node[1], (struct sim_link){.delay_ms = DELAY_MS});
}

static void finish(void)
{
    sim_free(here.sim);
}

static struct tbi_node *engine(const struct end *e)
{
    return ((struct sim_node *)e->in_world)->node;
}

static int post(struct end *from, const tbq_message *m)
{
    return tbi_node_send_to(engine(from), sim_now(here.sim), &from->other->id, m, &no_options);
}

static int ask(struct end *from, const void *data, size_t size)
{
    tbq_request_id request;
    return tbi_node_request(engine(from), sim_now(here.sim), &from->other->id,
                            (tbq_bytes){data, size}, 0, &no_options, &request);
}

static int respond(struct end *from, tbq_request_id request, tbq_bytes bytes)
{
    tbq_answer a = {TBQ_RESPONSE_OK, bytes};
    return tbi_node_respond(engine(from), sim_now(here.sim), request, &a);
}

/* Tickets are found by the address where nothing else is known of the peer. */
static tbq_connection dial(bool elsewhere)
{
    if (elsewhere) {
        char text[TBQ_ADDRESS_SIZE];
        unsigned n = here.places++;
        snprintf(text, sizeof text, "10.1.%u.%u:8443", n / 250, 1 + n % 250);
        sim_rebind(here.node[1], text);
    }
    return sim_dial(here.node[0], here.node[1], false);
}

static void hang_up(tbq_connection connection)
{
    tbi_node_close(here.node[0]->node, sim_now(here.sim), connection);
}

/* The answer is thrown away: the next one that comes is as the first. */
static void knock(uint64_t number, bool full)
{
    static uint8_t first[TBI_DATAGRAM_MAX], answer[TBI_DATAGRAM_MAX];
    struct tbi_send_batch b = {.data = first, .capacity = sizeof first};
    struct tbi_node *client = here.node[0]->node, *node = here.node[1]->node;
    const struct tbi_endpoint_stats *stats = tbi_endpoint_stats(node->endpoint);

    (void)dial(false);
    if (tbi_node_send(client, sim_now(here.sim), &b) != 1) {
        count_fail("a client says nothing");
    }
    node->endpoint->cfg.max_connections = full ? 0 : node->endpoint->cfg.max_connections;
    node->endpoint->cfg.always_retry = true;
    struct tbi_datagram d = {
        .local = here.node[1]->addr, .remote = here.node[0]->addr, .data = first, .size = b.size};
    for (uint64_t i = 0; i < number; i++) {
        tbi_node_recv(node, sim_now(here.sim), &d, 1);
        b = (struct tbi_send_batch){.data = answer, .capacity = sizeof answer};
        tbi_node_step(node, sim_now(here.sim));
        if (tbi_node_send(node, sim_now(here.sim), &b) != 1) {
            count_fail("there is no answer");
        }
    }
    if ((full ? stats->refused_full : stats->retries_sent) != number) {
        count_fail("it is another answer");
    }
}

static bool is_done(void *arg)
{
    (void)arg;
    return here.done();
}

static void run(bool (*done)(void), uint64_t ms)
{
    here.done = done;
    if (!sim_run(here.sim, done != NULL ? LONG_MS : ms, done != NULL ? is_done : NULL, NULL)) {
        fputs(sim_transcript(here.sim), stderr);
        exit(1);
    }
}

struct world count_engine = {.name = "engine",
                             .begin = begin,
                             .finish = finish,
                             .post = post,
                             .ask = ask,
                             .respond = respond,
                             .dial = dial,
                             .close = hang_up,
                             .knock = knock,
                             .run = run};
