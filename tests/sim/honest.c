/* tests/sim/honest.c - see honest.h. */
#include "honest.h"

#include "../unit/harness.h"
#include "node/parts.h"

#define SIZE_MOST 10000

void honest_add(struct honest *p, struct sim_node *n,
                bool (*on_event)(struct sim_node *n, tbq_event *e), void *user)
{
    *p = (struct honest){.n = n, .h = sim_add(n->sim)};
    sim_both(n, p->h, (struct sim_link){.delay_ms = 10});
    n->user = p->h->user = user;
    n->on_event = p->h->on_event = on_event;
}

void honest_dial(struct honest *p)
{
    sim_boot(p->n);
    sim_boot(p->h);
    sim_dial(p->h, p->n, true);
    sim_run(p->n->sim, 4000, NULL, NULL);
    ck_assert_uint_eq(tbi_map_count(&p->n->node->sessions), 1);
}

void honest_event(struct honest *p, const tbq_event *e)
{
    p->served += e->type == TBQ_EVENT_FATE && e->fate == TBQ_DELIVERED;
    p->lost += e->type == TBQ_EVENT_DISCONNECTED;
}

int honest_send(struct sim_node *from, const tbq_peer_id *to, size_t size)
{
    static const uint8_t bytes[SIZE_MOST];
    tbq_message m = tbq_transition(bytes, size);
    tbq_send_options o;

    tbq_send_options_init(&o);
    return tbi_node_send_to(from->node, sim_now(from->sim), to, &m, &o);
}

static bool served_both(void *arg)
{
    return ((struct honest *)arg)->served >= 2;
}

void honest_is_served(struct honest *p)
{
    p->served = 0;
    ck_assert_int_eq(honest_send(p->n, &p->h->node->id, 5), 0);
    ck_assert_int_eq(honest_send(p->h, &p->n->node->id, 5), 0);
    if (!sim_run(p->n->sim, 1000, served_both, p)) {
        ck_abort_msg("an honest peer was not served within a second");
    }
    ck_assert_uint_eq(p->lost, 0);
}

tbq_stats honest_stats(const struct sim_node *n)
{
    tbq_stats s = {0};
    tbi_node_stats(n->node, &s);
    return s;
}
