/* tests/sim/test_sim_talk.c - a peer that is trusted and connected, and then abuses the protocol
 * tbq/1: lies about what it received, declines and numbers without end, floods of questions, and
 * reading slowly or not at all. Each story looks at the limit (what the peer is told, or what is
 * refused), at the counter, and at the most memory that the node held; a node that is honest sends
 * and gets messages all the while, each within a second. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/harness.h"
#include "honest.h"
#include "node/parts.h"
#include "stranger.h"
#include "wire/kind.h"

#define GOES_ON UINT64_MAX /* nothing is wrong with it: only with how much there is */
#define CONTROL 0U         /* the stranger's streams */
#define LANE 1U            /* of the normal lane */
#define KEPT_MAX 100000

struct world {
    struct sim *sim;
    struct sim_node *n; /* under attack */
    struct honest honest;
    struct stranger *x;
    struct sim_node *x_place;
    uint8_t out[1 << 16]; /* what x says next */
    struct tbi_writer w;
    uint64_t number; /* of its next message in the lane */
    uint64_t round;
    bool begun[STRANGER_STREAMS];
    size_t before;    /* bytes of memory */
    bool keep;        /* the application releases nothing of x's */
    tbq_event **kept; /* KEPT_MAX */
    size_t kept_len;
    size_t events[TBQ_EVENT_RELEASED + 1]; /* at n, of x */
    size_t fates[TBQ_UNKNOWN + 1];         /* of what n sent to x */
    size_t served; /* messages between n and h that are known to be delivered */
};

static bool is_x(const struct world *w, const tbq_event *e)
{
    return e->peer != NULL && tbq_peer_id_compare(e->peer, &w->x->id) == 0;
}

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct world *w = n->user;

    if (n == w->n && is_x(w, e)) {
        w->events[e->type]++;
        if (e->type == TBQ_EVENT_FATE) {
            w->fates[e->fate]++;
        }
        if (w->keep && (e->type == TBQ_EVENT_MESSAGE || e->type == TBQ_EVENT_REQUEST)) {
            ck_assert_uint_lt(w->kept_len, KEPT_MAX);
            w->kept[w->kept_len++] = e;
            return false;
        }
    } else {
        honest_event(&w->honest, e);
    }
    return true;
}

static void say_flush(struct world *w, unsigned stream)
{
    ck_assert_int_eq(tbi_put_error(&w->w), 0);
    ck_assert(stranger_say(w->x, stream, w->out, tbi_put_size(&w->w)));
    tbi_put_init(&w->w, w->out, sizeof w->out);
}

/* The next message of the normal lane; its body of that size follows. */
static void message(struct world *w, uint64_t kind, size_t body_size)
{
    struct tbi_message m = {.number = w->number++, .kind = kind};

    if (!w->begun[LANE]) {
        struct tbi_prologue p = {.type = TBI_STREAM_LANE, .lane = TBQ_LANE_NORMAL};
        tbi_put_prologue(&w->w, &p);
        w->begun[LANE] = true;
    }
    tbi_put_message_head(&w->w, &m, body_size);
}

static bool is_up(void *arg)
{
    struct world *w = arg;
    return w->events[TBQ_EVENT_CONNECTED] > 0;
}

static void begin(struct world *w, const struct stranger_options *o)
{
    memset(w, 0, sizeof *w);
    tbi_put_init(&w->w, w->out, sizeof w->out);
    w->kept = calloc(KEPT_MAX, sizeof *w->kept);
    ck_assert_ptr_nonnull(w->kept);
    w->sim = sim_new(51);
    w->n = sim_add(w->sim);
    honest_add(&w->honest, w->n, on_event, w);
    w->x_place = sim_add(w->sim);
    sim_both(w->n, w->x_place, (struct sim_link){.delay_ms = 2});
    tbq_config *c = sim_settings(w->n);
    c->take_bodies = true;
    c->no_discovery = true; /* it would look for x again by itself */
    c->max_message_size = 65536;
    c->receive_window = 2 * 65536 + 65536;
    c->outbox_bytes = 1 << 20;
    c->outbox_messages = 1000;
    c->peer_timeout_ms = 5000;
    c->idle_timeout_ms = 10000;
    c->ping_interval_ms = 2000;
    w->x = stranger_new(w->x_place, o);
    honest_dial(&w->honest);
    w->before = w->n->memory->live;
    w->n->memory->most = w->before;
    stranger_dial(w->x, w->n);
    ck_assert(sim_run(w->sim, 1000, is_up, w));
}

static tbq_peer_stats stats_of_x(const struct world *w)
{
    const tbq_peers *all = NULL;
    ck_assert_int_eq(tbi_node_peers(w->n->node, &w->x->id, &all), 0);
    tbq_peer_stats s = all->peer[0]->stats;
    tbi_peers_free(all);
    return s;
}

static void within(const struct world *w, size_t kib)
{
    size_t more = w->n->memory->most - w->before;
    ck_assert_msg(more <= kib << 10, "%zu bytes of memory", more);
}

/* x is silent from now on; nothing of it is left when it was given up. */
static void recovers(struct world *w)
{
    w->x->gone = w->x->said_close = true;
    while (w->kept_len > 0) {
        tbi_node_event_release(w->kept[--w->kept_len]);
    }
    sim_run(w->sim, 40000, NULL, NULL);
    honest_is_served(&w->honest);
    sim_run(w->sim, 3000, NULL, NULL);
    ck_assert_uint_eq(tbi_map_count(&w->n->node->sessions), 1);
    ck_assert_msg(w->n->memory->live <= w->before + (128 << 10), "%zu bytes before, %zu after",
                  w->before, w->n->memory->live);
}

static void end(struct world *w)
{
    stranger_free(w->x);
    sim_free(w->sim);
    free(w->kept);
}

/* --- Lies and floods -------------------------------------------------------------------------- */

static void ack(struct world *w, uint64_t received, uint64_t taken)
{
    struct tbi_ack f = {.lane = TBQ_LANE_NORMAL};
    f.received.below = received;
    f.taken.below = taken;
    tbi_put_ack(&w->w, &f);
}

static void acks_of_numbers_never_used(struct world *w)
{
    ack(w, 100, 0);
    say_flush(w, CONTROL);
}

static void declines_of_numbers_never_used(struct world *w)
{
    struct tbi_declined f = {
        .lane = TBQ_LANE_NORMAL, .len = 1, .entry = {{.number = 100, .code = 1}}};
    tbi_put_declined(&w->w, &f);
    say_flush(w, CONTROL);
}

static void acks_that_grow_and_shrink(struct world *w)
{
    for (int i = 0; i < 50; i++) {
        ack(w, 3, 3);
        ack(w, 0, 0);
        ack(w, 1, 1);
    }
    say_flush(w, CONTROL);
}

static void fates_that_change(struct world *w)
{
    for (uint64_t i = 0; i < 50; i++) {
        struct tbi_declined f = {
            .lane = TBQ_LANE_NORMAL, .len = 1, .entry = {{.number = i % 3, .code = 1 + i % 5}}};
        ack(w, 3, 3);
        tbi_put_declined(&w->w, &f);
    }
    say_flush(w, CONTROL);
}

static void skip(struct world *w, uint64_t first, uint64_t step)
{
    struct tbi_numbers f = {.lane = TBQ_LANE_NORMAL, .len = TBI_NUMBERS_MAX};
    for (size_t i = 0; i < f.len; i++) {
        f.number[i] = first + step * i;
    }
    tbi_put_numbers(&w->w, &f);
}

/* Every number of the window, and then all of them again. */
static void skips_again_and_again(struct world *w)
{
    for (uint64_t i = 0; i < 8; i++) {
        skip(w, (w->round * 8 + i) % 512 * 128, 2);
    }
    say_flush(w, CONTROL);
}

static void skips_beyond_the_window(struct world *w)
{
    skip(w, 65536, 1);
    say_flush(w, CONTROL);
}

/* One declined for that reason, the next for another: each has to be remembered by itself until
 * SETTLED comes, which does not. */
static void declines_that_are_never_settled(struct world *w)
{
    for (int i = 0; i < 1000; i++) {
        message(w, 4711, 0);     /* unknown */
        message(w, TBQ_PING, 0); /* malformed: another reason, so another run */
    }
    say_flush(w, LANE);
}

static void settled_without_end(struct world *w)
{
    for (uint64_t i = 0; i < 100; i++) {
        struct tbi_settled f = {.lane = TBQ_LANE_NORMAL, .below = (w->round * 100 + i) << 30};
        tbi_put_settled(&w->w, &f);
    }
    say_flush(w, CONTROL);
}

static void frames_that_are_skipped(struct world *w)
{
    static const uint8_t body[4096];
    for (int i = 0; i < 4; i++) {
        tbi_put_varint(&w->w, 0x3f);
        tbi_put_prefixed(&w->w, body, sizeof body);
    }
    say_flush(w, CONTROL);
}

static void put_body(struct tbi_writer *body, tbq_kind kind, uint64_t id)
{
    switch (kind) {
    case TBQ_PING:
        tbi_put_ping(body, &(struct tbi_ping){.id = id});
        break;
    case TBQ_PONG:
        tbi_put_pong(body, &(struct tbi_pong){.id = id});
        break;
    case TBQ_DISCOVER:
        tbi_put_discover(body, &(struct tbi_discover){.max = TBI_PEER_LIST_MAX});
        break;
    case TBQ_RESOURCE_REQUEST:
        tbi_put_resource_request(body,
                                 &(struct tbi_resource_request){.id = id, .timeout_ms = 80000000});
        break;
    default:
        tbi_put_resource_response(body, &(struct tbi_resource_response){.id = id});
        break;
    }
}

static void many(struct world *w, tbq_kind kind)
{
    uint8_t bytes[32];
    struct tbi_writer body;

    tbi_put_init(&body, bytes, sizeof bytes);
    put_body(&body, kind, w->round);
    for (int i = 0; i < 50; i++) {
        message(w, kind, tbi_put_size(&body));
        tbi_put_bytes(&w->w, bytes, tbi_put_size(&body));
    }
    say_flush(w, LANE);
}

static void pings(struct world *w)
{
    many(w, TBQ_PING);
}

static void pongs_of_no_ping(struct world *w)
{
    many(w, TBQ_PONG);
}

static void discovers(struct world *w)
{
    many(w, TBQ_DISCOVER);
}

static void requests(struct world *w)
{
    many(w, TBQ_RESOURCE_REQUEST);
}

static void responses_to_no_request(struct world *w)
{
    many(w, TBQ_RESOURCE_RESPONSE);
}

/* The application takes none of them. */
static void small_messages(struct world *w)
{
    w->keep = true;
    for (int i = 0; i < 1000; i++) {
        message(w, TBQ_TRANSITION, 0);
    }
    say_flush(w, LANE);
}

/* A part of one byte. */
static void body_part(struct world *w, uint64_t id, uint64_t offset, uint64_t length)
{
    uint8_t bytes[32];
    struct tbi_writer head;

    tbi_put_init(&head, bytes, sizeof bytes);
    tbi_put_body_part(&head, &(struct tbi_body_part){.id = id, .offset = offset, .length = length});
    message(w, TBQ_BODY, tbi_put_size(&head) + 1);
    tbi_put_bytes(&w->w, bytes, tbi_put_size(&head));
    tbi_put_u8(&w->w, 'b');
}

/* As long as can be said, and never gone on with. */
static void bodies_without_end(struct world *w)
{
    for (uint64_t i = 1; i <= 100; i++) {
        body_part(w, w->round * 100 + i, 0, TBQ_BODY_LENGTH_MAX);
    }
    say_flush(w, LANE);
}

/* An offset left out, one told again, another length, more than was said. */
static void bodies_that_do_not_go_on(struct world *w)
{
    for (uint64_t i = 1; i <= 40; i += 4) {
        uint64_t id = w->round * 100 + i;
        body_part(w, id, 0, TBQ_BODY_LENGTH_MAX);
        body_part(w, id, 2, TBQ_BODY_LENGTH_MAX);
        body_part(w, id + 1, 0, 1000);
        body_part(w, id + 1, 0, 1000);
        body_part(w, id + 2, 0, 1000);
        body_part(w, id + 2, 1, 1001);
        body_part(w, id + 3, 0, 2);
        body_part(w, id + 3, 1, 2); /* the last, and does not say so */
        body_part(w, id + 3, 2, 2);
    }
    say_flush(w, LANE);
}

/* On every stream that it may have a message of the largest size, of which the last byte does not
 * come. */
static void messages_that_never_end(struct world *w)
{
    static const uint8_t some[1 << 14];
    struct tbi_prologue p = {.type = TBI_STREAM_UNORDERED, .lane = TBQ_LANE_LOW};

    for (unsigned i = 1; i < STRANGER_STREAMS; i++) {
        struct tbi_message m = {.number = i, .kind = TBQ_TRANSITION};
        if (!w->begun[i]) {
            tbi_put_prologue(&w->w, &p);
            tbi_put_message_head(&w->w, &m, 65536);
            w->begun[i] = true;
        }
        tbi_put_bytes(&w->w, some,
                      w->round < 3    ? sizeof some
                      : w->round == 3 ? sizeof some - 1
                                      : 0);
        say_flush(w, i);
    }
}

static uint64_t nothing(const struct world *w)
{
    (void)w;
    return 1;
}

static uint64_t protocol_errors(const struct world *w)
{
    return honest_stats(w->n).protocol_errors;
}

static uint64_t three_are_delivered(const struct world *w)
{
    return w->fates[TBQ_DELIVERED] == 3 && w->events[TBQ_EVENT_FATE] == 3;
}

static uint64_t declined(const struct world *w)
{
    return stats_of_x(w).declined;
}

static uint64_t refused_pongs(const struct world *w)
{
    return stats_of_x(w).again;
}

static uint64_t taken(const struct world *w)
{
    return stats_of_x(w).taken;
}

static uint64_t held(const struct world *w)
{
    ck_assert_uint_gt(stranger_unsent(w->x, LANE), 0); /* it has no window left */
    return stats_of_x(w).held_messages;
}

static uint64_t discovers_ignored(const struct world *w)
{
    return honest_stats(w->n).discovers_ignored;
}

static uint64_t bodies_refused(const struct world *w)
{
    ck_assert_uint_eq(w->events[TBQ_EVENT_BODY], 64);
    ck_assert_uint_eq(w->events[TBQ_EVENT_BODY_END], 0);
    return honest_stats(w->n).bodies_refused;
}

static uint64_t bodies_broken(const struct world *w)
{
    ck_assert_uint_le(w->events[TBQ_EVENT_BODY_END], w->events[TBQ_EVENT_BODY]);
    return honest_stats(w->n).bodies_broken;
}

static uint64_t requests_refused(const struct world *w)
{
    return honest_stats(w->n).requests_refused;
}

static const struct talk {
    void (*say)(struct world *w);
    unsigned rounds;
    uint64_t code;                              /* that the connection is closed with */
    size_t memory;                              /* KiB that the node may take for it, at most */
    uint64_t (*counter)(const struct world *w); /* which tells of it, */
    uint64_t least;                             /* at least so much */
} talks[] = {
    {acks_of_numbers_never_used, 1, TBI_CLOSE_PROTOCOL, 256, protocol_errors, 1},
    {declines_of_numbers_never_used, 1, TBI_CLOSE_PROTOCOL, 256, protocol_errors, 1},
    {acks_that_grow_and_shrink, 200, GOES_ON, 256, three_are_delivered, 1},
    {fates_that_change, 200, GOES_ON, 256, three_are_delivered, 1},
    {skips_again_and_again, 300, GOES_ON, 4096, declined, 32768},
    {skips_beyond_the_window, 1, TBI_CLOSE_LIMIT, 256, protocol_errors, 1},
    {declines_that_are_never_settled, 300, TBI_CLOSE_LIMIT, 5120, protocol_errors, 1},
    {settled_without_end, 200, GOES_ON, 256, nothing, 1},
    {frames_that_are_skipped, 100, GOES_ON, 256, nothing, 1},
    {pings, 300, GOES_ON, 2048, refused_pongs, 1000},
    {pongs_of_no_ping, 300, GOES_ON, 256, taken, 10000},
    {discovers, 300, GOES_ON, 2048, discovers_ignored, 10000},
    {requests, 300, GOES_ON, 8192, requests_refused, 10000},
    {responses_to_no_request, 300, GOES_ON, 256, taken, 10000},
    {bodies_without_end, 100, GOES_ON, 512, bodies_refused, 9936},
    {bodies_that_do_not_go_on, 100, GOES_ON, 768, bodies_broken, 4000},
    {small_messages, 100, GOES_ON, 32768, held, 20000},
    {messages_that_never_end, 10, GOES_ON, 9216, nothing, 1},
};

START_TEST(a_flood_of_talk)
{
    const struct talk *t = &talks[_i];
    struct world w;
    begin(&w, &(struct stranger_options){
                  .cert = CERT_ED25519, .alpn = TBI_ALPN, .hello = true, .confirm = true});
    w.keep = t->say == requests;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(honest_send(w.n, &w.x->id, 7), 0);
    }
    sim_run(w.sim, 10, NULL, NULL);
    for (; w.round < t->rounds && !w.x->gone; w.round++) {
        t->say(&w);
        sim_run(w.sim, 5, NULL, NULL);
        if (w.round == t->rounds / 2) {
            honest_is_served(&w.honest);
        }
    }
    sim_run(w.sim, 100, NULL, NULL);
    honest_is_served(&w.honest);
    ck_assert(w.x->closed == (t->code != GOES_ON));
    if (t->code != GOES_ON) {
        ck_assert(w.x->by_code);
        ck_assert_uint_eq(w.x->code, t->code);
    }
    ck_assert_uint_ge(t->counter(&w), t->least);
    ck_assert_uint_eq(honest_stats(w.n).violations, 0);
    within(&w, t->memory);
    recovers(&w);
    end(&w);
}
END_TEST

/* --- Peers that do not take what is sent to them ---------------------------------------------- */

static size_t fill(struct world *w, size_t size)
{
    size_t sent = 0;
    int rv;
    while ((rv = honest_send(w->n, &w->x->id, size)) == 0) {
        ck_assert_uint_lt(++sent, 10000);
    }
    ck_assert_int_eq(rv, TBQ_ERR_AGAIN);
    return sent;
}

/* _i: 0 it reads what fits its first windows, 1 a byte for each datagram, 2 nothing at all: it does
 * not even acknowledge packets. */
START_TEST(a_peer_that_reads_slowly_or_not_at_all)
{
    struct world w;
    begin(&w, &(struct stranger_options){.cert = CERT_ED25519,
                                         .alpn = TBI_ALPN,
                                         .hello = true,
                                         .confirm = true,
                                         .window = 4096,
                                         .sips = _i == 1 ? 1 : 0});
    w.x->options.deaf = _i == 2;
    size_t sent = fill(&w, 10000);
    for (int i = 0; i < 40; i++) {
        sim_run(w.sim, 100, NULL, NULL);
        size_t more = fill(&w, 10000);
        ck_assert_uint_le(more, 2);
        sent += more;
        if (i % 10 == 0) {
            honest_is_served(&w.honest);
        }
    }
    ck_assert_uint_le(sent * 10000, (1 << 20) + 20000); /* outbox_bytes, and what it has read */
    tbq_peer_stats s = stats_of_x(&w);
    ck_assert_uint_ge(s.again, 40);
    ck_assert_uint_le(s.outbox_bytes, 1 << 20);
    within(&w, 1024 + 256);
    recovers(&w);
    ck_assert_uint_eq(w.events[TBQ_EVENT_FATE], sent); /* each has one, when it is given up */
    ck_assert_uint_eq(w.fates[TBQ_DELIVERED], 0);
    end(&w);
}
END_TEST

/* Each time another process of the same key, as it says, and each time gone without a word. */
START_TEST(a_peer_that_is_another_process_every_time)
{
    struct world w;
    begin(&w, &(struct stranger_options){
                  .cert = CERT_ED25519, .alpn = TBI_ALPN, .hello = true, .confirm = true});
    for (int i = 0; i < 200; i++) {
        stranger_dial(w.x, w.n);
        sim_run(w.sim, 200, NULL, NULL);
        if (i % 50 == 0) {
            honest_is_served(&w.honest);
        }
    }
    ck_assert_uint_eq(w.events[TBQ_EVENT_CONNECTED], 201);
    ck_assert_uint_eq(honest_stats(w.n).peers, 2);
    ck_assert_uint_le(honest_stats(w.n).connections, 64); /* 10 s of silence, five in a second */
    within(&w, 64 * 64);
    recovers(&w);
    end(&w);
}
END_TEST

/* Told RECEIVED for all, it settles nothing: what waits for its fate has a limit of its own. */
START_TEST(a_peer_that_receives_and_never_takes)
{
    struct world w;
    begin(&w, &(struct stranger_options){
                  .cert = CERT_ED25519, .alpn = TBI_ALPN, .hello = true, .confirm = true});
    size_t sent = fill(&w, 100);
    ck_assert_uint_ge(sent, 990); /* the node's own talk counts too */
    for (w.round = 0; w.round < 100; w.round++) {
        for (int i = 0; i < 50; i++) {
            ack(&w, sent, 0);
        }
        say_flush(&w, CONTROL);
        sim_run(w.sim, 20, NULL, NULL);
        ck_assert_uint_eq(fill(&w, 100), 0);
        if (w.round % 25 == 0) {
            honest_is_served(&w.honest);
        }
    }
    tbq_peer_stats s = stats_of_x(&w);
    ck_assert_uint_ge(s.again, 100);
    ck_assert_uint_le(s.outbox_messages, 1000);
    within(&w, 800);
    ck_assert_uint_eq(w.events[TBQ_EVENT_FATE], 0);
    recovers(&w);
    ck_assert_uint_eq(w.fates[TBQ_UNKNOWN], sent);
    end(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("talk");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, a_flood_of_talk, 0, (int)(sizeof talks / sizeof talks[0]));
    tcase_add_loop_test(c, a_peer_that_reads_slowly_or_not_at_all, 0, 3);
    tcase_add_test(c, a_peer_that_is_another_process_every_time);
    tcase_add_test(c, a_peer_that_receives_and_never_takes);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
