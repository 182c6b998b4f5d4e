/* tests/sim/test_sim_moves.c - peers whose address changes: one that means no harm, behind a NAT
 * which forgets, goes on as if nothing had happened; one that comes from another address with every
 * packet costs little and gets nobody else more than three times what came from there. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "honest.h"
#include "node/parts.h"
#include "scales.h"
#include "stranger.h"

#define OUTBOX (1 << 20)

struct world {
    struct sim *sim;
    struct sim_node *n; /* under attack */
    struct honest honest;
    struct stranger *x;
    struct tbi_addr home; /* x's own address, which it has proved */
    struct scales *scales;
    uint64_t moved; /* times that x has changed its address */
    bool has_news;  /* the node has much to tell x */
};

static void weigh(struct sim_node *n, const struct tbi_addr *to, size_t size)
{
    struct world *w = n->user;
    if (!tbi_addr_equal(to, &w->home)) {
        scales_to(w->scales, to, size);
    }
}

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct world *w = n->user;
    bool of_x = e->peer != NULL && tbq_peer_id_compare(e->peer, &w->x->id) == 0;

    if (!of_x) {
        honest_event(&w->honest, e);
    } else if (e->type == TBQ_EVENT_CONNECTED && w->has_news) {
        while (honest_send(w->n, &w->x->id, 10000) == 0) {
        }
    }
    return true;
}

static void begin(struct world *w, const struct stranger_options *o)
{
    memset(w, 0, sizeof *w);
    w->scales = scales_new();
    w->sim = sim_new(61);
    w->n = sim_add(w->sim);
    honest_add(&w->honest, w->n, on_event, w);
    struct sim_node *px = sim_add(w->sim);
    sim_both(w->n, px, (struct sim_link){.delay_ms = 1});
    w->n->on_nowhere = weigh;
    sim_settings(w->n)->outbox_bytes = OUTBOX;
    sim_settings(w->n)->peer_timeout_ms = 5000;
    w->x = stranger_new(px, o);
    w->home = px->addr;
    honest_dial(&w->honest);
    w->n->memory->most = w->n->memory->live;
}

static void end(struct world *w)
{
    stranger_free(w->x);
    sim_free(w->sim);
    scales_free(w->scales);
}

static struct tbi_addr address(uint64_t number)
{
    uint8_t ip[4] = {100, 1, (uint8_t)(number >> 8), (uint8_t)number};
    struct tbi_addr a;
    ck_assert_int_eq(tbi_addr_from_bytes(&a, ip, 4, 9000), 0);
    return a;
}

START_TEST(a_peer_behind_a_nat_that_forgets)
{
    struct world w;
    begin(&w, &(struct stranger_options){.cert = CERT_ED25519, .alpn = TBI_ALPN});
    for (uint64_t i = 0; i < 5; i++) {
        struct tbi_addr at = address(i);
        sim_see_at(w.honest.h, &at);
        honest_is_served(&w.honest);
        ck_assert_uint_eq(honest_stats(w.n).paths_proved, i + 1);
    }
    ck_assert_uint_eq(honest_stats(w.n).paths_unproved, 0);
    ck_assert_uint_eq(honest_stats(w.n).accepted, 1);
    end(&w);
}
END_TEST

/* --- Another address for every packet --------------------------------------------------------- */

static const struct sim_guest *plain; /* what a stranger is to the simulation */

static int send_weighed(void *user, struct tbi_send_batch *b)
{
    struct stranger *x = user;
    struct world *w = (struct world *)(uintptr_t)x->options.forge_arg;
    int rv = plain->send(x, b);
    if (rv == 1) {
        scales_from(w->scales, &x->place->addr, b->size);
    }
    return rv;
}

static size_t move_and(struct stranger *x, uint8_t *frames, uint8_t frame)
{
    struct world *w = (struct world *)(uintptr_t)x->options.forge_arg;

    struct tbi_addr at = address(1000 + w->moved++);
    sim_see_at(x->place, &at);
    frames[0] = frame;
    memset(frames + 1, (int)w->moved, frame == 0x1a ? 8 : 0);
    return frame == 0x1a ? 9 : 1;
}

static size_t forge_ping(struct stranger *x, uint8_t *frames, size_t size)
{
    (void)size;
    return move_and(x, frames, 0x01);
}

static size_t forge_challenge(struct stranger *x, uint8_t *frames, size_t size)
{
    (void)size;
    return move_and(x, frames, 0x1a);
}

static bool attacked(void *arg)
{
    const struct stranger *x = arg;
    return x->gone || x->forged == x->options.forgeries;
}

/* It dials who is gone now and then, for what it still has for it. */
static bool one_is_left(void *arg)
{
    return honest_stats(arg).connections == 1;
}

static const struct move {
    size_t (*forge)(struct stranger *x, uint8_t *frames, size_t size);
    size_t size;   /* of its packets, as forge_size */
    bool has_news; /* the node has its outbox full for it */
    bool moves;    /* it counts as a move: who only asks has not moved */
} moves[] = {
    {forge_ping, 0, false, true},       {forge_ping, 20, false, true},
    {forge_challenge, 0, false, false}, {forge_challenge, 20, false, false},
    {forge_ping, 0, true, true},        {forge_ping, 20, true, true},
};

START_TEST(a_peer_that_comes_from_elsewhere_with_every_packet)
{
    const struct move *m = &moves[_i];
    struct world w;
    struct stranger_options o = {.cert = CERT_ED25519,
                                 .alpn = TBI_ALPN,
                                 .hello = true,
                                 .confirm = true,
                                 .forge = m->forge,
                                 .forge_arg = &w,
                                 .forgeries = 2000,
                                 .forge_size = m->size};
    begin(&w, &o);
    w.has_news = m->has_news;
    plain = w.x->place->guest;
    struct sim_guest weighed = *plain;
    weighed.send = send_weighed;
    w.x->place->guest = &weighed;
    size_t before = w.n->memory->live, most = (m->has_news ? OUTBOX : 0) + (256 << 10);
    stranger_dial(w.x, w.n);
    sim_run(w.sim, 50, attacked, w.x);
    honest_is_served(&w.honest);
    sim_run(w.sim, 2000, attacked, w.x);
    w.x->gone = w.x->said_close = true;
    honest_is_served(&w.honest);
    ck_assert_uint_ge(w.x->forged, m->size > 0 ? 150 : 10);
    ck_assert_uint_le(honest_stats(w.n).paths_proved, 1); /* the last one, where it stays */
    ck_assert_uint_ge(honest_stats(w.n).paths_unproved, m->moves ? w.x->forged / 2 : 0);
    ck_assert_uint_eq(scales_excess(w.scales), 0);
    ck_assert_msg(w.n->memory->most <= before + most, "%zu bytes", w.n->memory->most - before);
    sim_run(w.sim, 120000, NULL, NULL);
    ck_assert_uint_eq(scales_excess(w.scales), 0);
    ck_assert(sim_run(w.sim, 10000, one_is_left, w.n));
    ck_assert_uint_le(w.n->memory->live, before + 16384);
    honest_is_served(&w.honest);
    end(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("moves");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_peer_behind_a_nat_that_forgets);
    tcase_add_loop_test(c, a_peer_that_comes_from_elsewhere_with_every_packet, 0,
                        (int)(sizeof moves / sizeof moves[0]));
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
