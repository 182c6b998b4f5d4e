/* bench/speed_share.c - the server sends to many at once, and one of them is greedy: what do the
 * others get? Each is a node with a key of its own. */
#include "speed.h"

#include <stdlib.h>

#define GREEDY 0U /* gets as much as the outbox takes */
/* Bytes on their way to another one: several batches, so that it always wants more too. */
#define OTHERS_BYTES (512U << 10)
#define WARM_UP 2U /* a part of the time, before: until all windows are open */

struct taker {
    struct node node;    /* first: a node leads back */
    uint64_t got, began; /* messages, in all and before it counted */
};

static struct {
    const struct speed_args *a;
    struct taker *takers;
    size_t len;
    size_t told; /* connections that are up, then those whose order is answered */
} run;

static void take(struct taker *t, const tbq_bytes *b)
{
    if (b->size != run.a->side.size || !side_check(b->data, b->size, t->got, 0)) {
        side_die("message %llu is not what was sent", (unsigned long long)t->got);
    }
    t->got++;
}

static void on_event(struct node *n, const tbq_event *e)
{
    struct order place;

    if (e->type == TBQ_EVENT_CONNECTED || order_of(e, &place) != NULL) {
        run.told++;
    } else if (e->type == TBQ_EVENT_MESSAGE && e->message->kind == TBQ_TRANSITION) {
        take((struct taker *)n, &e->message->u.transition);
    } else if (e->type == TBQ_EVENT_DISCONNECTED || e->type == TBQ_EVENT_CONNECT_FAILED) {
        side_die("%s: %s", e->address, e->text);
    }
}

static void wait_for(size_t many)
{
    while (run.told < many) {
        loop_turn(1000);
        loop_must_go_on();
    }
}

static void begin(void)
{
    static const struct node_setup setup = {.mode = TBQ_MODE_CLIENT, .on_event = on_event};

    run.takers = calloc(run.len, sizeof *run.takers);
    if (run.takers == NULL) {
        side_die("out of memory");
    }
    loop_begin(run.a->drive, run.len);
    for (size_t i = 0; i < run.len; i++) {
        loop_start(&run.takers[i].node, &setup);
        loop_dial(&run.takers[i].node, run.a->side.address);
        wait_for(i < SPEED_DIALS_MAX ? 0 : i - SPEED_DIALS_MAX);
    }
    wait_for(run.len);
}

static void order_all(void)
{
    uint64_t others = OTHERS_BYTES / run.a->side.size;

    run.told = 0;
    for (size_t i = 0; i < run.len; i++) {
        struct order o = {.what = ORDER_POUR, .size = run.a->side.size};
        tbq_send_options how;
        o.messages = i == GREEDY ? 0 : others > 0 ? others : 1;
        tbq_message m = order_message(&o, &how);
        struct node *n = &run.takers[i].node;
        if (tbq_send(n->server, n->conn, &m, &how) < 0) {
            side_die("an order does not go");
        }
    }
    wait_for(run.len);
}

static uint64_t run_for(uint64_t ns)
{
    uint64_t began = side_now_ns(), now = began;

    for (; now - began < ns; now = side_now_ns()) {
        loop_turn(10);
        loop_must_go_on();
    }
    return now - began;
}

static void measure(struct side_result *r)
{
    run_for(run.a->side.ns / WARM_UP);
    for (size_t i = 0; i < run.len; i++) {
        run.takers[i].began = run.takers[i].got;
    }
    uint64_t cpu_ns = side_cpu_ns();
    r->ns = run_for(run.a->side.ns);
    r->cpu_ns = side_cpu_ns() - cpu_ns;
    r->server_cpu_ns = SIDE_UNKNOWN;
    r->slowest = UINT64_MAX;
    for (size_t i = 0; i < run.len; i++) {
        uint64_t got = run.takers[i].got - run.takers[i].began;
        r->messages += got;
        r->slowest = i != GREEDY && got < r->slowest ? got : r->slowest;
    }
    r->fastest = run.takers[GREEDY].got - run.takers[GREEDY].began;
    r->bytes = r->messages * run.a->side.size;
}

void speed_share(const struct speed_args *a)
{
    struct side_result r = {0};

    if (a->side.connections < 2) {
        side_cannot("--share wants several connections");
    }
    run.a = a;
    run.len = (size_t)a->side.connections;
    begin();
    order_all();
    measure(&r);
    side_print_result(&a->side, &r);
    loop_end();
    free(run.takers);
}
