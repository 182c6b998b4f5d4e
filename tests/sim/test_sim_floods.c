/* tests/sim/test_sim_floods.c - beginnings by the thousand: forged ones, abandoned ones, proofs
 * that are shown again, and noise. Each story attacks, and then looks at the limit, at the
 * counters, which account for every datagram, and at the node's memory; an honest client is
 * answered all the while. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "quic/parts.h"
#include "scales.h"
#include "stranger.h"

#define HALF_OPEN_BYTES 49152 /* of memory that a handshake under way may take, GnuTLS aside */

struct world {
    struct sim *sim;
    struct sim_node *n;         /* under attack */
    struct stranger *x;         /* makes what the attack sends */
    struct stranger *honest;    /* of another network */
    struct stranger *neighbour; /* of the attacker's network */
    struct scales *scales;      /* bytes from and to addresses where nobody is */
    size_t before;              /* bytes of memory */
};

static void put_at(struct stranger *s, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    uint8_t ip[4] = {a, b, c, d};
    ck_assert_int_eq(tbi_addr_from_bytes(&s->place->addr, ip, 4, 8443), 0);
}

static void weigh(struct sim_node *n, const struct tbi_addr *to, size_t size)
{
    scales_to(((struct world *)n->user)->scales, to, size);
}

static void begin(struct world *w)
{
    static const struct stranger_options plain = {.cert = CERT_ED25519, .alpn = TBI_ALPN};
    struct sim_node *place[4];

    memset(w, 0, sizeof *w);
    w->sim = sim_new(31);
    for (size_t i = 0; i < 4; i++) {
        place[i] = sim_add(w->sim);
        for (size_t k = 0; k < i; k++) {
            sim_both(place[i], place[k], (struct sim_link){.delay_ms = 10});
        }
    }
    w->n = place[0];
    w->n->user = w;
    w->n->on_nowhere = weigh;
    w->scales = scales_new();
    w->x = stranger_new(place[1], &plain);
    w->honest = stranger_new(place[2], &plain);
    w->neighbour = stranger_new(place[3], &plain);
    put_at(w->honest, 192, 0, 2, 7);
    put_at(w->neighbour, 10, 9, 8, 250);
    sim_boot(w->n);
    sim_run(w->sim, 100, NULL, NULL);
    w->before = w->n->memory->live;
}

static const struct tbi_endpoint_stats *stats(const struct world *w)
{
    return tbi_endpoint_stats(w->n->node->endpoint);
}

static void inject(struct world *w, const struct tbi_addr *from, const uint8_t *data, size_t size)
{
    struct tbi_datagram d = {.local = w->n->addr, .remote = *from, .data = data, .size = size};
    scales_from(w->scales, from, size);
    ck_assert_uint_eq(tbi_node_recv(w->n->node, sim_now(w->sim), &d, 1), 1);
}

/* The next datagram that x would send. */
static size_t next_of(struct world *w, uint8_t *data, size_t capacity)
{
    struct tbi_send_batch b = {.data = data, .capacity = capacity};
    return w->x->place->guest->send(w->x, &b) == 1 ? b.size : 0;
}

/* A client's first datagram, as a client of its own would send it. */
static size_t initial(struct world *w, uint8_t *data, size_t capacity)
{
    stranger_dial(w->x, w->n);
    size_t size = next_of(w, data, capacity);
    ck_assert_uint_ge(size, 1200);
    return size;
}

/* Somebody else's address: of the i-th network, or of the i-th host of one. */
static struct tbi_addr forged(size_t network, size_t host)
{
    uint8_t ip[4] = {100, (uint8_t)(network >> 8), (uint8_t)network, (uint8_t)host};
    struct tbi_addr a;
    ck_assert_int_eq(tbi_addr_from_bytes(&a, ip, 4, (uint16_t)(1024 + host)), 0);
    return a;
}

static bool complete(void *arg)
{
    return ((struct stranger *)arg)->complete;
}

/* An honest client comes, and is answered within a second. */
static void still_serves(struct world *w, struct stranger *client)
{
    stranger_dial(client, w->n);
    if (!sim_run(w->sim, 1000, complete, client)) {
        ck_abort_msg("an honest client was not answered within a second");
    }
}

/* Every datagram has its place. */
static void accounted_for(const struct world *w)
{
    const struct tbi_endpoint_stats *s = stats(w);
    ck_assert_uint_eq(s->datagrams_in, s->accepted + s->to_connections + s->retries_sent +
                                           s->versions_sent + s->refused_full + s->refused_crowded +
                                           s->refused_token + s->dropped_reserved +
                                           s->dropped_unknown + s->unanswered + s->not_begun);
}

static void not_amplified(const struct world *w)
{
    ck_assert_uint_eq(scales_excess(w->scales), 0);
}

/* All that the attack began has been given up: nothing of it is left. */
static void recovers(struct world *w)
{
    sim_run(w->sim, 60000, NULL, NULL);
    ck_assert_uint_eq(stats(w)->half_open, 0);
    ck_assert_uint_eq(stats(w)->connections, 0);
    ck_assert_uint_eq(tbi_map_count(&w->n->node->endpoint->crowd), 0);
    if (w->n->memory->live > w->before + 65536) {
        ck_abort_msg("%zu bytes before, %zu after", w->before, w->n->memory->live);
    }
    accounted_for(w);
}

static void end(struct world *w)
{
    stranger_free(w->x);
    stranger_free(w->honest);
    stranger_free(w->neighbour);
    sim_free(w->sim);
    scales_free(w->scales);
}

/* It took the memory of so many handshakes under way, and nothing of it is left. */
static void passes(struct world *w, size_t handshakes)
{
    ck_assert_uint_le(w->n->memory->most, w->before + handshakes * HALF_OPEN_BYTES);
    recovers(w);
    not_amplified(w);
    end(w);
}

/* --- Beginnings that nobody goes on with ------------------------------------------------------ */

START_TEST(forged_initials_from_everywhere)
{
    struct world w;
    uint8_t data[1500];
    begin(&w);
    for (size_t i = 0; i < 1000; i++) {
        struct tbi_addr from = forged(i, 1);
        size_t size = initial(&w, data, sizeof data);
        inject(&w, &from, data, size);
        if (i % 50 == 49) {
            sim_run(w.sim, 1, NULL, NULL);
        }
    }
    ck_assert_uint_eq(stats(&w)->half_open, TBI_HALF_OPEN_RETRY);
    ck_assert_uint_eq(stats(&w)->accepted, TBI_HALF_OPEN_RETRY);
    ck_assert_uint_eq(stats(&w)->retries_sent + stats(&w)->unanswered, 1000 - TBI_HALF_OPEN_RETRY);
    still_serves(&w, w.honest);
    ck_assert_uint_eq(w.honest->retries, 1);
    ck_assert_uint_le(w.n->memory->most, w.before + TBI_HALF_OPEN_RETRY * HALF_OPEN_BYTES);
    not_amplified(&w);
    recovers(&w);
    not_amplified(&w);
    end(&w);
}
END_TEST

/* A host of an IPv6 network: /56 is what one customer has, and a /64 of it what he uses at a time.
 */
static struct tbi_addr v6(uint8_t network, uint8_t part, uint8_t host)
{
    uint8_t ip[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, network, part, [15] = host};
    struct tbi_addr a;
    ck_assert_int_eq(tbi_addr_from_bytes(&a, ip, 16, 4000), 0);
    return a;
}

static struct tbi_addr v6_of_one(size_t i)
{
    return v6(1, (uint8_t)i, (uint8_t)(i * 7));
}

static struct tbi_addr v4(size_t i)
{
    uint8_t ip[4] = {10, 9, 8, (uint8_t)i};
    struct tbi_addr a;
    ck_assert_int_eq(tbi_addr_from_bytes(&a, ip, 4, 4000), 0);
    return a;
}

static void from_one_network(struct world *w, struct tbi_addr (*address)(size_t i))
{
    uint8_t data[1500];
    for (size_t i = 0; i < 200; i++) {
        struct tbi_addr from = address(i);
        size_t size = initial(w, data, sizeof data);
        inject(w, &from, data, size);
        sim_run(w->sim, 1, NULL, NULL);
    }
    ck_assert_uint_eq(stats(w)->half_open, TBI_HALF_OPEN_RETRY_NETWORK);
    ck_assert_uint_eq(stats(w)->retries_sent, 200 - TBI_HALF_OPEN_RETRY_NETWORK);
}

START_TEST(forged_initials_from_one_network_cost_no_other_a_round_trip)
{
    struct world w;
    begin(&w);
    from_one_network(&w, v4);
    still_serves(&w, w.honest);
    ck_assert_uint_eq(w.honest->retries, 0);
    still_serves(&w, w.neighbour); /* it pays with a round trip */
    ck_assert_uint_eq(w.neighbour->retries, 1);
    passes(&w, TBI_HALF_OPEN_RETRY_NETWORK + 2);
}
END_TEST

START_TEST(forged_initials_from_one_ipv6_network)
{
    struct world w;
    uint8_t data[1500];
    begin(&w);
    from_one_network(&w, v6_of_one);
    struct tbi_addr other = v6(2, 0, 1);
    size_t size = initial(&w, data, sizeof data);
    inject(&w, &other, data, size);
    ck_assert_uint_eq(stats(&w)->accepted, TBI_HALF_OPEN_RETRY_NETWORK + 1);
    ck_assert_uint_eq(stats(&w)->retries_sent, 200 - TBI_HALF_OPEN_RETRY_NETWORK);
    still_serves(&w, w.honest);
    ck_assert_uint_eq(w.honest->retries, 0);
    passes(&w, TBI_HALF_OPEN_RETRY_NETWORK + 2);
}
END_TEST

/* What the node says now goes to x, which moves to the address that it is for. */
static void answer_to_x(struct world *w)
{
    static uint8_t buffer[TBI_DATAGRAM_MAX];
    struct tbi_send_batch b = {.data = buffer, .capacity = sizeof buffer};

    while (tbi_node_send(w->n->node, sim_now(w->sim), &b) == 1) {
        if (tbi_addr_equal(&b.remote, &w->x->place->addr)) {
            struct tbi_datagram d = {
                .local = b.remote, .remote = w->n->addr, .data = buffer, .size = b.size};
            w->x->place->guest->recv(w->x, &d);
        }
        b = (struct tbi_send_batch){.data = buffer, .capacity = sizeof buffer};
    }
}

/* Hosts of one network that prove their addresses, and say no more. */
START_TEST(proved_addresses_of_one_network_leave_room_for_the_rest)
{
    struct world w;
    uint8_t data[1500];
    size_t proofs = 0;
    begin(&w);
    for (size_t i = 0; i < 200; i++) {
        put_at(w.x, 10, 9, 8, (uint8_t)i);
        size_t size = initial(&w, data, sizeof data);
        inject(&w, &w.x->place->addr, data, size);
        answer_to_x(&w);
        if (w.x->token_size > 0 && (size = next_of(&w, data, sizeof data)) > 0 &&
            w.x->retries > proofs) {
            proofs = w.x->retries;
            inject(&w, &w.x->place->addr, data, size);
        }
        w.x->gone = true; /* no more of this one */
    }
    w.x->said_close = true;
    ck_assert_uint_eq(proofs, 200 - TBI_HALF_OPEN_RETRY_NETWORK);
    ck_assert_uint_eq(stats(&w)->half_open, TBI_HALF_OPEN_NETWORK_MAX);
    ck_assert_uint_eq(stats(&w)->refused_crowded, 200 - TBI_HALF_OPEN_NETWORK_MAX);
    still_serves(&w, w.honest);
    ck_assert_uint_eq(w.honest->retries, 0);
    ck_assert_uint_le(w.n->memory->most,
                      w.before + (TBI_HALF_OPEN_NETWORK_MAX + 1) * HALF_OPEN_BYTES);
    recovers(&w);
    still_serves(&w, w.neighbour);
    end(&w);
}
END_TEST

/* A token counts for ten seconds, its address and its connection id: shown again, it leads to the
 * connection that it began; when that one was given up, to one more. */
START_TEST(a_token_that_is_shown_again_and_again)
{
    struct world w;
    uint8_t data[1500];
    begin(&w);
    w.n->node->endpoint->cfg.always_retry = true;
    put_at(w.x, 10, 9, 8, 1);
    size_t size = initial(&w, data, sizeof data);
    inject(&w, &w.x->place->addr, data, size);
    answer_to_x(&w);
    ck_assert_uint_eq(w.x->retries, 1);
    size = next_of(&w, data, sizeof data);
    ck_assert_uint_ge(size, 1200);
    struct tbi_addr from = w.x->place->addr;
    w.x->gone = w.x->said_close = true;
    put_at(w.x, 10, 9, 8, 2); /* what is answered goes nowhere */
    for (size_t i = 0; i < 1500; i++) {
        inject(&w, &from, data, size);
        ck_assert_uint_le(stats(&w)->connections, 1);
        sim_run(w.sim, 10, NULL, NULL);
    }
    ck_assert_uint_le(stats(&w)->accepted, 3);
    ck_assert_uint_gt(stats(&w)->refused_token, 100);
    ck_assert_uint_gt(stats(&w)->to_connections, 900);
    still_serves(&w, w.honest);
    passes(&w, 3);
}
END_TEST

/* --- Noise ------------------------------------------------------------------------------------ */

START_TEST(mutated_datagrams_and_noise)
{
    struct world w;
    uint8_t data[1500], shown[1500];
    struct tbi_rng rng;
    begin(&w);
    tbi_test_rng(&rng, 1);
    size_t size = initial(&w, data, sizeof data);
    for (size_t i = 0; i < 20000; i++) {
        struct tbi_addr from = forged(i % 300, i % 250);
        memcpy(shown, data, size);
        size_t cut = i % 3 == 0 ? 1 + tbi_rng_below(&rng, size) : size;
        for (size_t k = tbi_rng_below(&rng, 4); k < 4; k++) {
            shown[tbi_rng_below(&rng, i % 2 == 0 ? 48 : cut)] = (uint8_t)tbi_rng_below(&rng, 256);
        }
        inject(&w, &from, shown, cut);
        if (i % 20 == 19) {
            sim_run(w.sim, 1, NULL, NULL);
        }
        if (i == 15000) {
            still_serves(&w, w.honest);
        }
    }
    ck_assert_uint_le(stats(&w)->half_open, TBI_HALF_OPEN_RETRY);
    ck_assert_uint_gt(stats(&w)->versions_sent, 0);
    ck_assert_uint_gt(stats(&w)->dropped_unknown, 0);
    ck_assert_uint_gt(stats(&w)->dropped_reserved, 0);
    ck_assert_uint_gt(stats(&w)->resets_sent, 0);
    not_amplified(&w);
    passes(&w, TBI_HALF_OPEN_RETRY + 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("floods");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, forged_initials_from_everywhere);
    tcase_add_test(c, forged_initials_from_one_network_cost_no_other_a_round_trip);
    tcase_add_test(c, forged_initials_from_one_ipv6_network);
    tcase_add_test(c, proved_addresses_of_one_network_leave_room_for_the_rest);
    tcase_add_test(c, a_token_that_is_shown_again_and_again);
    tcase_add_test(c, mutated_datagrams_and_noise);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
