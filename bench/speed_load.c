/* bench/speed_load.c - messages: one way as fast as it goes, and there and back.
 *
 * Each connection is a node with a key of its own, since the library has one link to a peer. First
 * all are told what the server shall do; then they send until the time is over, and at last each
 * tells how many it has sent and waits for the server to say that it has them. Large messages are
 * sent by reference, from buffers that are used in turn. */
#include "speed.h"

#include <stdlib.h>

#define LOOK_EVERY 16U           /* sends between two looks at the clock */
#define LOOK_ANSWERS UINT64_C(8) /* the same for answers, where many are waited for */
/* Messages without a fate that several connections have in all, and one has at least. Else a
 * thousand connections would have a thousand full outboxes to empty when the time is over. */
#define SHARED_MESSAGES 8192U
#define SHARED_LEAST 64U
/* One alone has as many as its outbox takes, and no more small ones, or buffers of large ones, than
 * lie in a processor's own cache: what waits for longer comes from slow memory when it leaves. */
#define CACHE_BYTES (1U << 20)
#define SMALL_SIZE 4096U
#define ORDER_TAG 1U     /* tells the fates of orders from those of messages, */
#define LENT_TAG 2U      /* and of these what is the number of a buffer */
#define LENT_SIZE 65536U /* bytes of a message, from which on it is sent by reference */
#define LENT_LEAST 2U    /* buffers: one is filled while the other is on its way */

struct slot { /* what waits for its answer */
    uint64_t number;
    uint64_t began_ns;
    tbq_request_id request;
    bool taken;
};

struct load {
    struct node node; /* first: a node leads back */
    tbq_peer_id peer;
    uint8_t *message;
    bool filled; /* with the message of number `sent`: it was refused for want of room */
    bool full;   /* until WRITABLE */
    uint64_t sent, answered;
    uint64_t told;      /* fates, but of orders */
    struct slot *slots; /* of roundtrip, as many as may be outstanding */
};

static struct {
    const struct speed_args *a;
    struct load *loads;
    size_t len, turn;
    bool sending;
    size_t told;          /* connections whose last order is answered */
    size_t full;          /* connections whose outbox is */
    uint64_t outstanding; /* of all */
    uint64_t window;      /* of a connection: messages without a fate */
    uint64_t answers;     /* of this turn */
    uint64_t ends_ns, last_ns;
    uint64_t server_cpu_ns; /* the most that was told */
    uint64_t bytes;
    struct side_times times;
    struct { /* large messages */
        uint8_t *bytes;
        size_t *unused; /* the one that came back last is taken first: it is in the cache */
        size_t len;     /* of these */
    } lent;
} run;

static bool goes_back(void)
{
    return run.a->side.mode == SIDE_ROUNDTRIP;
}

static bool in_time(void)
{
    run.last_ns = side_now_ns();
    run.sending = run.last_ns < run.ends_ns;
    return run.sending;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* To look at the clock costs as much as a fortieth of a trip: where many are on their way they come
 * by dozens, and the first one of a turn is looked at, and each eighth behind it (by the bare loop,
 * the first one). */
static bool may_look(void)
{
    return run.a->side.outstanding < 2 * LOOK_ANSWERS || run.answers++ % LOOK_ANSWERS == 0;
}

static struct slot *free_slot(struct load *l)
{
    uint64_t many = run.a->side.outstanding;

    for (uint64_t i = 0; i < many; i++) {
        struct slot *s = &l->slots[(l->sent + i) % many];
        if (!s->taken) {
            return s;
        }
    }
    return NULL;
}

static bool is_lent(void)
{
    return !goes_back() && run.a->side.size >= LENT_SIZE;
}

static void make_buffers(void)
{
    size_t size = (size_t)run.a->side.size, n = CACHE_BYTES / size;

    n = n < LENT_LEAST ? LENT_LEAST : n;
    run.lent.bytes = malloc(n * size);
    run.lent.unused = calloc(n, sizeof *run.lent.unused);
    if (run.lent.bytes == NULL || run.lent.unused == NULL) {
        side_die("out of memory");
    }
    while (run.lent.len < n) {
        run.lent.unused[run.lent.len] = run.lent.len;
        run.lent.len++;
    }
}

static int send_lent(struct load *l)
{
    size_t size = (size_t)run.a->side.size, buffer = run.lent.unused[run.lent.len - 1];
    uint8_t *bytes = run.lent.bytes + buffer * size;
    tbq_message m = tbq_transition(bytes, size);
    tbq_send_options how;

    tbq_send_options_init(&how);
    how.by_reference = true;
    how.tag = LENT_TAG + buffer;
    side_fill(bytes, size, l->sent, 0);
    int rv = tbq_send(l->node.server, l->node.conn, &m, &how);
    run.lent.len -= rv == 0;
    return rv;
}

static int send_one(struct load *l, struct slot *slot)
{
    size_t size = (size_t)run.a->side.size;

    if (is_lent()) {
        return send_lent(l);
    }
    if (!l->filled) {
        side_fill(l->message, size, l->sent, 0);
        l->filled = true;
    }
    if (run.a->requests) {
        return tbq_request(l->node.server, &l->peer, l->message, size, 0, NULL, &slot->request);
    }
    tbq_message m = tbq_transition(l->message, size);
    return tbq_send(l->node.server, l->node.conn, &m, NULL);
}

static bool may_send(const struct load *l)
{
    if (is_lent() && run.lent.len == 0) {
        return false;
    }
    return !l->full && (goes_back() || l->sent - l->told < run.window);
}

/* False: not now. */
static bool send_next(struct load *l)
{
    struct slot *slot = goes_back() ? free_slot(l) : NULL;

    if (!may_send(l) || (goes_back() && slot == NULL)) {
        return false;
    }
    uint64_t began = run.last_ns; /* of the answer that it follows, or a few sends ago */
    int rv = send_one(l, slot);
    if (rv == TBQ_ERR_AGAIN) {
        l->full = true;
        run.full++;
        return false;
    }
    if (rv < 0) {
        side_die("a send: %s", tbq_strerror(rv));
    }
    if (slot != NULL) {
        slot->number = l->sent;
        slot->began_ns = began;
        slot->taken = true;
        run.outstanding++;
    }
    l->filled = false;
    l->sent++;
    return true;
}

static void send_in_turns(void)
{
    for (unsigned i = 1; send_next(&run.loads[run.turn]); i++) {
        run.turn = (run.turn + 1) % run.len;
        if (i % LOOK_EVERY == 0 && !in_time()) {
            return;
        }
    }
}

static void send_all(struct load *l)
{
    for (unsigned i = 1; send_next(l); i++) {
        if (i % LOOK_EVERY == 0 && !in_time()) {
            return;
        }
    }
}

/* What is answered is sent anew at once, by on_answer(); here is the beginning, and what had no
 * room. */
static void send_more(void)
{
    if (!run.sending || (goes_back() && run.full == 0 && run.outstanding > 0) || !in_time()) {
        return;
    }
    if (!goes_back() && !run.a->greedy) {
        send_in_turns();
        return;
    }
    for (size_t i = 0; i < run.len && run.sending; i++) {
        send_all(&run.loads[i]);
    }
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* False: not now. */
static bool give_order(struct load *l, uint64_t what)
{
    struct order o = {.what = what, .size = run.a->side.size, .messages = l->sent};
    tbq_send_options how;
    tbq_message m = order_message(&o, &how);

    how.tag = ORDER_TAG;
    int rv = tbq_send(l->node.server, l->node.conn, &m, &how);
    if (rv < 0 && rv != TBQ_ERR_AGAIN) {
        side_die("an order: %s", tbq_strerror(rv));
    }
    return rv == 0;
}

static void on_order(const struct order *o)
{
    run.told++;
    run.bytes += o->bytes;
    run.server_cpu_ns = o->cpu_ns > run.server_cpu_ns ? o->cpu_ns : run.server_cpu_ns;
}

/* Messages come back in their order; of responses each tells whose it is, and is in order too where
 * nothing hinders. */
static struct slot *slot_of(struct load *l, const tbq_event *e)
{
    uint64_t many = run.a->side.outstanding;

    for (uint64_t i = 0; i < many; i++) {
        struct slot *s = &l->slots[(l->answered + i) % many];
        bool here = run.a->requests ? s->request == e->request : s->number == l->answered;
        if (s->taken && here) {
            return s;
        }
    }
    side_die("an answer to nothing");
}

static void on_answer(struct load *l, const tbq_event *e)
{
    const tbq_message *m = e->message;
    struct slot *slot = slot_of(l, e);
    tbq_bytes b = e->type == TBQ_EVENT_RESPONSE ? m->u.response.bytes : m->u.transition;

    if (e->reason != 0 || b.size != run.a->side.size ||
        !side_check(b.data, b.size, slot->number, 0)) {
        side_die("answer %llu is not what was sent", (unsigned long long)slot->number);
    }
    if (may_look()) {
        (void)in_time();
    }
    side_times_add(&run.times, run.last_ns - slot->began_ns);
    slot->taken = false;
    l->answered++;
    run.outstanding--;
    if (run.sending) {
        (void)send_next(l);
    }
}

static void on_writable(struct load *l)
{
    l->full = false;
    run.full -= run.full > 0;
}

static void on_event(struct node *n, const tbq_event *e)
{
    struct load *l = (struct load *)n;
    struct order place;
    const struct order *o = order_of(e, &place);

    if (o != NULL) {
        on_order(o);
        return;
    }
    switch (e->type) {
    case TBQ_EVENT_CONNECTED:
        l->peer = *e->peer;
        run.told++;
        break;
    case TBQ_EVENT_MESSAGE:
    case TBQ_EVENT_RESPONSE:
        on_answer(l, e);
        break;
    case TBQ_EVENT_WRITABLE:
        on_writable(l);
        break;
    case TBQ_EVENT_FATE:
        l->told += e->tag != ORDER_TAG;
        if (e->fate != TBQ_DELIVERED) {
            side_die("a message was not delivered: %s", e->text);
        }
        break;
    case TBQ_EVENT_RELEASED:
        run.lent.unused[run.lent.len++] = (size_t)(e->tag - LENT_TAG);
        break;
    case TBQ_EVENT_DISCONNECTED:
    case TBQ_EVENT_CONNECT_FAILED:
        side_die("%s: %s", e->address, e->text);
    default:
        break;
    }
}

/* ---- one after another ----------------------------------------------------------------------- */

static void wait_for(size_t many)
{
    while (run.told < many) {
        loop_turn(1000);
        loop_must_go_on();
    }
}

static void wait_for_all(void)
{
    wait_for(run.len);
    run.told = 0;
}

static void order_all(uint64_t what)
{
    for (size_t i = 0; i < run.len; i++) {
        while (!give_order(&run.loads[i], what)) { /* the outbox is for all lanes */
            loop_turn(10);
            loop_must_go_on();
        }
    }
    wait_for_all();
}

static void start(struct load *l)
{
    struct node_setup setup = {
        .mode = TBQ_MODE_CLIENT, .busy_poll_us = run.a->busy_poll_us, .on_event = on_event};

    l->message = malloc((size_t)run.a->side.size);
    l->slots = calloc((size_t)run.a->side.outstanding, sizeof *l->slots);
    if (l->message == NULL || l->slots == NULL) {
        side_die("out of memory");
    }
    loop_start(&l->node, &setup);
    loop_dial(&l->node, run.a->side.address);
}

static void send_for(uint64_t ns)
{
    run.ends_ns = side_now_ns() + ns;
    run.sending = true;
    for (send_more(); run.sending || run.outstanding > 0; send_more()) {
        run.answers = 0;
        loop_turn(run.sending && run.outstanding == 0 ? 10 : 1000);
        loop_must_go_on();
    }
}

/* How the connections came along that had to share. */
static void share(struct side_result *r)
{
    r->slowest = UINT64_MAX;
    for (size_t i = 0; i < run.len; i++) {
        const struct load *l = &run.loads[i];
        r->messages += l->sent;
        r->slowest = l->sent < r->slowest ? l->sent : r->slowest;
        r->fastest = l->sent > r->fastest ? l->sent : r->fastest;
    }
}

static void measure(struct side_result *r)
{
    order_all(goes_back() ? ORDER_ECHO : ORDER_TAKE);
    uint64_t server_ns = run.server_cpu_ns, cpu_ns = side_cpu_ns(), began_ns = side_now_ns();
    run.bytes = 0;
    send_for(run.a->side.ns);
    r->ns = run.last_ns - began_ns;
    r->cpu_ns = side_cpu_ns() - cpu_ns;
    order_all(ORDER_END);
    if (!goes_back()) { /* it is over when the server has all */
        r->ns = side_now_ns() - began_ns;
        r->cpu_ns = side_cpu_ns() - cpu_ns;
    }
    r->server_cpu_ns = run.server_cpu_ns - server_ns;
    r->bytes = run.bytes;
    r->times = goes_back() ? &run.times : NULL;
    share(r);
}

static uint64_t window_of(uint64_t size, uint64_t connections)
{
    if (connections == 1) {
        return size > SMALL_SIZE ? UINT64_MAX : CACHE_BYTES / (size + 1);
    }
    uint64_t share = SHARED_MESSAGES / connections;
    return share < SHARED_LEAST ? SHARED_LEAST : share;
}

void speed_part(const struct speed_args *a, struct side_result *r)
{
    size_t dials = a->parts > 0 ? 1 + SPEED_DIALS_MAX / a->parts : SPEED_DIALS_MAX;

    run.a = a;
    run.len = (size_t)a->side.connections;
    run.window = window_of(a->side.size, run.len);
    run.loads = calloc(run.len, sizeof *run.loads);
    if (run.loads == NULL) {
        side_die("out of memory");
    }
    if (is_lent()) {
        make_buffers();
    }
    loop_begin(a->drive, run.len);
    for (size_t i = 0; i < run.len; i++) {
        start(&run.loads[i]);
        wait_for(i < dials ? 0 : i - dials);
    }
    wait_for_all();
    if (a->parts > 0) {
        a->connected();
    }
    measure(r);
    loop_end();
    for (size_t i = 0; i < run.len; i++) {
        free(run.loads[i].message);
        free(run.loads[i].slots);
    }
    free(run.loads);
    free(run.lent.bytes);
    free(run.lent.unused);
}

void speed_load(const struct speed_args *a)
{
    struct side_result r = {0};

    if (a->side.mode == SIDE_ONEWAY && a->side.connections > SPEED_PART_MAX) {
        speed_parts(a, &r);
    } else {
        speed_part(a, &r);
    }
    side_print_result(&a->side, &r);
}
