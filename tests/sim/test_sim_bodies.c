/* tests/sim/test_sim_bodies.c - bodies from A to B, in parts: whatever happens to the connections,
 * B gets every byte once and in order, A reads no faster than B takes, and each is told how it
 * ended, once. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "../unit/harness.h"

#define MIB(n) ((uint64_t)(n) << 20)
#define HALF_MIB (1 << 19)
#define BODIES_MAX 128
#define PARTS_MAX 4096
#define NO_BODY 999 /* tag of a message */

struct body {
    struct story *story;
    /* At A. */
    uint64_t length; /* really */
    uint64_t said;   /* to the library */
    uint64_t given;  /* bytes that were read */
    uint64_t pause;  /* there is nothing for now when so much was given; 0: never */
    int64_t fails;   /* what reading answers then, instead; 0: the end */
    uint64_t fills;  /* when so much was given, it fills the outbox itself; 0: never */
    tbq_body id;
    size_t fates[4];
    int reason;
    char text[128];
    /* At B. */
    tbq_body there;
    uint64_t arrived;
    bool whole;
    size_t ends;
    int end_reason;
};

struct story {
    struct sim *sim;
    struct sim_node *a, *b;
    struct body body[BODIES_MAX];
    size_t bodies;
    size_t wrong; /* bytes, offsets, lengths that are not as they should be */
    bool hold;    /* B keeps what it gets */
    tbq_event *held[PARTS_MAX];
    size_t held_len;
    uint64_t refuse_at;       /* B refuses the part that passes this; 0: none */
    uint64_t lead;            /* the most that A has read beyond what B has got */
    size_t turns;             /* times that a part of another body came than before */
    tbq_body last;            /* that a part of came */
    uint64_t cut_at[4];       /* B gets no more when so much has arrived, until it is noticed */
    size_t cuts, disconnects; /* of A */
    bool message;             /* came to B */
};

/* The byte of body `n` at that offset. */
static uint8_t byte_at(size_t n, uint64_t offset)
{
    return (uint8_t)(n * 91 + offset * 7 + (offset >> 9) * 13 + (offset >> 20));
}

static void fill_outbox(struct story *t)
{
    const tbq_message m = {.kind = TBQ_TRANSITION, .u.transition = {t, sizeof *t}};
    tbq_send_options o;
    int rv;

    tbq_send_options_init(&o);
    o.tag = NO_BODY;
    do {
        rv = tbi_node_send_to(t->a->node, sim_now(t->sim), tbi_identity_id(t->b->identity), &m, &o);
    } while (rv == 0);
    ck_assert_int_eq(rv, TBQ_ERR_AGAIN);
}

static int64_t read_body(void *user, void *buffer, size_t size)
{
    struct body *b = user;
    struct story *t = b->story;
    uint8_t *out = buffer;
    uint64_t left = b->length - b->given;

    if (b->pause != 0 && b->given >= b->pause) {
        return TBQ_ERR_AGAIN;
    }
    size_t n = left < size ? (size_t)left : size;
    if (n == 0) {
        return b->fails;
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = byte_at((size_t)(b - t->body), b->given + i);
    }
    b->given += n;
    if (b->fills != 0 && b->given >= b->fills) {
        b->fills = 0;
        fill_outbox(t);
    }
    if (t->bodies == 1 && b->given - b->arrived > t->lead) {
        t->lead = b->given - b->arrived;
    }
    return (int64_t)n;
}

static bool on_a(struct sim_node *n, tbq_event *e)
{
    struct story *t = n->user;

    if (e->type == TBQ_EVENT_DISCONNECTED) {
        t->disconnects++;
        sim_link(t->a, t->b)->cut = sim_link(t->b, t->a)->cut = false;
        sim_say(n, "lost the connection");
    } else if (e->type == TBQ_EVENT_FATE && e->tag != NO_BODY) {
        struct body *b = &t->body[e->tag];
        b->fates[e->fate]++;
        b->reason = e->reason;
        t->wrong += e->body != b->id;
        snprintf(b->text, sizeof b->text, "%s", e->text);
        sim_say(n, "body %d: fate %d, %s", (int)e->tag, (int)e->fate, e->text);
    }
    return true;
}

static struct body *body_of(struct story *t, const tbq_event *e)
{
    for (size_t i = 0; i < t->bodies; i++) {
        if (t->body[i].there == e->body) {
            return &t->body[i];
        }
    }
    /* A new one; its first byte tells which, as long as there are not too many of them. */
    for (size_t i = 0; i < t->bodies; i++) {
        struct body *b = &t->body[i];
        if (b->there == 0 && (e->part->bytes.size == 0 ||
                              byte_at(i, 0) == ((const uint8_t *)e->part->bytes.data)[0])) {
            b->there = e->body;
            return b;
        }
    }
    ck_abort_msg("a body that nobody sent");
}

static void look_at_part(struct story *t, struct body *b, const tbq_body_part *p)
{
    const uint8_t *bytes = p->bytes.data;

    t->wrong += p->offset != b->arrived || p->length != b->said || b->whole;
    for (size_t i = 0; i < p->bytes.size; i++) {
        t->wrong += bytes[i] != byte_at((size_t)(b - t->body), p->offset + i);
    }
    b->arrived += p->bytes.size;
    b->whole = p->last;
    t->turns += t->last != b->there;
    t->last = b->there;
    if (t->cuts < 4 && t->cut_at[t->cuts] != 0 && b->arrived >= t->cut_at[t->cuts]) {
        t->cuts++;
        sim_link(t->a, t->b)->cut = sim_link(t->b, t->a)->cut = true;
    }
}

static bool on_b(struct sim_node *n, tbq_event *e)
{
    struct story *t = n->user;

    t->message = t->message || e->type == TBQ_EVENT_MESSAGE;
    if (e->type == TBQ_EVENT_BODY_END) {
        struct body *b = body_of(t, e);
        b->ends++;
        b->end_reason = e->reason;
        sim_say(n, "body %d ends: %s", (int)(b - t->body), e->text);
    }
    if (e->type != TBQ_EVENT_BODY) {
        return true;
    }
    struct body *b = body_of(t, e);
    look_at_part(t, b, e->part);
    if (t->refuse_at != 0 && b->arrived >= t->refuse_at) {
        sim_say(n, "refuses");
        tbi_node_event_refuse(e);
        return false;
    }
    if (t->hold) {
        ck_assert_uint_lt(t->held_len, PARTS_MAX);
        t->held[t->held_len++] = e;
        return false;
    }
    return true;
}

static void release(struct story *t, size_t most)
{
    size_t n = t->held_len < most ? t->held_len : most;
    for (size_t i = 0; i < n; i++) {
        tbi_node_event_release(t->held[i]);
    }
    memmove(t->held, t->held + n, (t->held_len - n) * sizeof *t->held);
    t->held_len -= n;
}

static bool connected(void *arg)
{
    struct story *t = arg;
    const tbq_peers *p = NULL;
    bool up = tbi_node_peers(t->a->node, tbi_identity_id(t->b->identity), &p) == 0 &&
              p->peer[0]->connected;
    tbi_peers_free(p);
    return up;
}

static struct story *begin(struct sim_link link)
{
    struct story *t = calloc(1, sizeof *t);
    ck_assert_ptr_nonnull(t);
    t->sim = sim_new(71);
    t->a = sim_add(t->sim);
    t->b = sim_add(t->sim);
    t->a->user = t->b->user = t;
    t->a->on_event = on_a;
    t->b->on_event = on_b;
    for (int i = 0; i < 2; i++) {
        tbq_config *c = sim_settings(i == 0 ? t->a : t->b);
        c->ping_interval_ms = 1000;
        c->idle_timeout_ms = 3000;
        c->peer_timeout_ms = 20000;
        c->take_bodies = true;
    }
    sim_both(t->a, t->b, link);
    return t;
}

static void boot_as(struct story *t, bool b_dials)
{
    sim_boot(t->a);
    sim_boot(t->b);
    sim_dial(b_dials ? t->b : t->a, b_dials ? t->a : t->b, true);
    ck_assert(sim_run(t->sim, 30000, connected, t));
}

static void boot(struct story *t)
{
    boot_as(t, false);
}

static void end(struct story *t)
{
    if (t->wrong > 0 || getenv("SIM_SHOW") != NULL) {
        printf("%s", sim_transcript(t->sim));
    }
    ck_assert_uint_eq(t->wrong, 0);
    release(t, PARTS_MAX);
    sim_free(t->sim);
    free(t);
}

static struct body *add(struct story *t, uint64_t length, bool told)
{
    struct body *b = &t->body[t->bodies];
    b->story = t;
    b->length = length;
    b->said = told ? length : TBQ_LENGTH_UNKNOWN;
    t->bodies++;
    return b;
}

static int try_send(struct story *t, struct body *b)
{
    tbq_body_options o;
    tbq_body_options_init(&o);
    o.tag = (uint64_t)(b - t->body);
    return tbi_node_send_body(t->a->node, sim_now(t->sim), tbi_identity_id(t->b->identity),
                              read_body, b, b->said, &o, &b->id);
}

static struct body *sends(struct story *t, uint64_t length, bool told)
{
    struct body *b = add(t, length, told);
    ck_assert_int_eq(try_send(t, b), 0);
    return b;
}

static bool all_told(void *arg)
{
    const struct story *t = arg;
    for (size_t i = 0; i < t->bodies; i++) {
        const size_t *f = t->body[i].fates;
        if (f[1] + f[2] + f[3] == 0) {
            return false;
        }
    }
    return true;
}

static void comes_whole(struct story *t, const struct body *b)
{
    ck_assert_uint_eq(b->fates[TBQ_DELIVERED], 1);
    ck_assert_uint_eq(b->fates[TBQ_NOT_DELIVERED] + b->fates[TBQ_UNKNOWN], 0);
    ck_assert_uint_eq(b->arrived, b->length);
    ck_assert(b->whole);
    ck_assert_uint_eq(b->ends, 0);
    ck_assert_uint_eq(t->wrong, 0);
}

/* Its fate is that one, for that reason, and it is told once. */
static void comes_to(struct story *t, const struct body *b, tbq_fate fate, int reason)
{
    ck_assert(sim_run(t->sim, 60000, all_told, t));
    sim_run(t->sim, 3000, NULL, NULL);
    ck_assert_uint_eq(b->fates[1] + b->fates[2] + b->fates[3], 1);
    ck_assert_uint_eq(b->fates[fate], 1);
    ck_assert_msg(b->reason == reason, "%s", tbq_strerror(b->reason));
}

START_TEST(a_body_of_any_length_arrives)
{
    static const uint64_t lengths[] = {0, 1, 61440, 61441, MIB(1) + 1, MIB(20)};
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (int told = 0; told < 2; told++) {
            struct body *b = sends(t, lengths[i], told == 1);
            ck_assert(sim_run(t->sim, 60000, all_told, t));
            comes_whole(t, b);
        }
    }
    end(t);
}
END_TEST

START_TEST(memory_does_not_grow_with_the_body)
{
    size_t most[2][2];
    for (int i = 0; i < 2; i++) {
        struct story *t = begin((struct sim_link){.delay_ms = 5});
        boot(t);
        struct body *b = sends(t, MIB(i == 0 ? 8 : 80), true);
        ck_assert(sim_run(t->sim, 600000, all_told, t));
        comes_whole(t, b);
        most[i][0] = t->a->memory->most;
        most[i][1] = t->b->memory->most;
        ck_assert_uint_lt(t->lead, MIB(10));
        end(t);
    }
    for (int n = 0; n < 2; n++) {
        ck_assert_msg(most[1][n] < MIB(16) && most[1][n] < most[0][n] + MIB(2), "%zu, then %zu",
                      most[0][n], most[1][n]);
    }
}
END_TEST

START_TEST(connections_die_three_times)
{
    struct story *t = begin((struct sim_link){.delay_ms = 20, .loss = 20, .reorder = 50});
    boot(t);
    t->cut_at[0] = MIB(2);
    t->cut_at[1] = MIB(5);
    t->cut_at[2] = MIB(9);
    struct body *b = sends(t, MIB(12), true);
    ck_assert(sim_run(t->sim, 600000, all_told, t));
    ck_assert_uint_eq(t->cuts, 3);
    ck_assert_uint_ge(t->disconnects, 3);
    comes_whole(t, b);
    end(t);
}
END_TEST

START_TEST(a_slow_receiver_slows_the_sender)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    t->hold = true;
    sim_settings(t->a)->outbox_bytes = MIB(1);
    boot(t);
    struct body *b = sends(t, MIB(40), true);
    sim_run(t->sim, 20000, NULL, NULL);
    uint64_t read = b->given;
    ck_assert_uint_lt(read, MIB(4)); /* a window and half an outbox */
    sim_run(t->sim, 20000, NULL, NULL);
    ck_assert_uint_eq(b->given, read);
    tbq_message m = tbq_transition("hello", 5); /* what is not a body overtakes it */
    tbq_send_options o;
    tbq_send_options_init(&o);
    o.tag = BODIES_MAX - 1;
    ck_assert_int_eq(
        tbi_node_send_to(t->a->node, sim_now(t->sim), tbi_identity_id(t->b->identity), &m, &o), 0);
    t->body[BODIES_MAX - 1].id = 0;
    sim_run(t->sim, 1000, NULL, NULL);
    ck_assert(t->message);
    for (int i = 0; i < 1000 && !all_told(t); i++) {
        release(t, 3);
        sim_run(t->sim, 50, NULL, NULL);
        tbq_body_progress p;
        if (tbi_node_body_progress(t->a->node, b->id, &p) == 0) {
            ck_assert_uint_le(p.taken, b->arrived);
            ck_assert_uint_eq(p.read, b->given);
        }
    }
    comes_whole(t, b);
    end(t);
}
END_TEST

START_TEST(the_receiver_refuses)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    t->refuse_at = MIB(2);
    boot(t);
    struct body *b = sends(t, MIB(40), true);
    comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_REFUSED);
    ck_assert_uint_lt(b->arrived, MIB(2) + 61440); /* it gets no more of it, and no end either */
    ck_assert_uint_eq(b->ends, 0);
    ck_assert_uint_lt(b->given, MIB(12));
    t->refuse_at = 0;
    b = sends(t, MIB(2), true);
    ck_assert(sim_run(t->sim, 60000, all_told, t));
    comes_whole(t, b);
    t->refuse_at = MIB(1); /* the last part */
    b = sends(t, MIB(1), true);
    comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_REFUSED);
    end(t);
}
END_TEST

START_TEST(who_takes_no_bodies_refuses_them)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    sim_settings(t->b)->take_bodies = false;
    boot(t);
    struct body *b = sends(t, MIB(40), false);
    comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_UNSUPPORTED);
    ck_assert_uint_eq(b->arrived, 0);
    end(t);
}
END_TEST

/* _i: 0 it was dialled; 1 it dialled, so that its old connection seems to live for a while: what is
 * under way is moved to its new process when that ends. */
START_TEST(the_receiver_restarts)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot_as(t, _i == 1);
    struct body *b = sends(t, MIB(40), true);
    while (b->arrived < MIB(3)) {
        sim_run(t->sim, 5, NULL, NULL);
    }
    sim_kill(t->b);
    sim_boot(t->b);
    if (_i == 1) {
        sim_dial(t->b, t->a, true);
    }
    comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_RESTARTED);
    uint64_t had = b->arrived;
    sim_run(t->sim, 5000, NULL, NULL);
    ck_assert_uint_eq(b->arrived, had); /* the new process is not given the rest */
    b = sends(t, MIB(3), true);
    ck_assert(sim_run(t->sim, 60000, all_told, t));
    comes_whole(t, b);
    end(t);
}
END_TEST

/* All of it was sent and nothing taken: the receiver alone could tell, and is gone. */
START_TEST(the_receiver_is_gone_with_the_last_part)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    t->hold = true;
    boot(t);
    struct body *b = sends(t, HALF_MIB, true);
    sim_run(t->sim, 1000, NULL, NULL);
    ck_assert(b->whole);
    t->held_len = 0; /* they die with it */
    sim_kill(t->b);
    comes_to(t, b, TBQ_UNKNOWN, TBQ_ERR_LOST);
    end(t);
}
END_TEST

/* _i: 0 it comes back at once: its old process may still be there, for all that B knows; 1 B has
 * lost it by then. */
START_TEST(the_sender_restarts)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    struct body *b = sends(t, MIB(40), true);
    while (b->arrived < MIB(3)) {
        sim_run(t->sim, 5, NULL, NULL);
    }
    sim_kill(t->a);
    sim_run(t->sim, _i == 0 ? 1 : 5000, NULL, NULL);
    sim_boot(t->a);
    sim_dial(t->a, t->b, true);
    sim_run(t->sim, _i == 0 ? 30000 : 1000, NULL, NULL);
    ck_assert_uint_eq(b->ends, 1);
    ck_assert_int_eq(b->end_reason, TBQ_ERR_RESTARTED);
    b->fates[TBQ_UNKNOWN] = 1; /* told by nobody: its sender is gone */
    b = sends(t, MIB(3), true);
    ck_assert(sim_run(t->sim, 60000, all_told, t));
    comes_whole(t, b);
    end(t);
}
END_TEST

START_TEST(the_sender_is_gone_for_good)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    struct body *b = sends(t, MIB(40), true);
    while (b->arrived < MIB(3)) {
        sim_run(t->sim, 5, NULL, NULL);
    }
    sim_kill(t->a);
    sim_run(t->sim, 40000, NULL, NULL);
    ck_assert_uint_eq(b->ends, 1);
    ck_assert_int_eq(b->end_reason, TBQ_ERR_LOST);
    end(t);
}
END_TEST

/* _i: 0 the sender stops, with a second for what is under way, 1 the receiver does. */
START_TEST(one_of_them_stops)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5, .rate_bps = 8000000});
    boot(t);
    struct body *b = sends(t, MIB(40), true);
    sim_run(t->sim, 1000, NULL, NULL);
    tbi_node_stop((_i == 0 ? t->a : t->b)->node, sim_now(t->sim), 1000);
    if (_i == 0) {
        comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_STOPPED);
        struct body *late = add(t, 5, true);
        ck_assert_int_eq(try_send(t, late), TBQ_ERR_CLOSED);
        sim_run(t->sim, 30000, NULL, NULL);
    } else {
        comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_LOST);
    }
    ck_assert_uint_eq(b->ends, 1);
    ck_assert_int_eq(b->end_reason, _i == 0 ? TBQ_ERR_LOST : TBQ_ERR_STOPPED);
    end(t);
}
END_TEST

START_TEST(a_body_is_given_up)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    struct body *b = sends(t, MIB(40), true);
    sim_run(t->sim, 100, NULL, NULL);
    ck_assert_int_eq(tbi_node_body_cancel(t->a->node, sim_now(t->sim), b->id), 0);
    ck_assert_int_eq(tbi_node_body_cancel(t->a->node, sim_now(t->sim), b->id), TBQ_ERR_CLOSED);
    comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_STOPPED);
    ck_assert_uint_eq(b->ends, 1);
    ck_assert_int_eq(b->end_reason, TBQ_ERR_STOPPED);

    b = sends(t, MIB(1), true); /* before anything was read of it: B hears nothing */
    ck_assert_int_eq(tbi_node_body_cancel(t->a->node, sim_now(t->sim), b->id), 0);
    comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_STOPPED);
    ck_assert_uint_eq(b->given, 0);

    t->hold = true; /* all is on its way: too late */
    b = sends(t, HALF_MIB, true);
    sim_run(t->sim, 1000, NULL, NULL);
    ck_assert_int_eq(tbi_node_body_cancel(t->a->node, sim_now(t->sim), b->id), TBQ_ERR_CLOSED);
    release(t, PARTS_MAX);
    ck_assert(sim_run(t->sim, 1000, all_told, t));
    comes_whole(t, b);
    ck_assert_int_eq(tbi_node_body_ready(t->a->node, b->id), TBQ_ERR_CLOSED);
    end(t);
}
END_TEST

START_TEST(what_it_is_read_from_fails)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    struct body *b = add(t, MIB(3), false);
    b->fails = TBQ_ERR_FILE;
    ck_assert_int_eq(try_send(t, b), 0);
    comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_FILE);
    ck_assert_uint_eq(b->ends, 1);

    b = add(t, MIB(3), true); /* ends before it should */
    b->said = MIB(3) + 1;
    ck_assert_int_eq(try_send(t, b), 0);
    comes_to(t, b, TBQ_NOT_DELIVERED, TBQ_ERR_INVALID);
    ck_assert_uint_eq(b->ends, 1);

    b = add(t, 1, true);
    b->said = TBQ_BODY_LENGTH_MAX + 1;
    ck_assert_int_eq(try_send(t, b), TBQ_ERR_TOO_LARGE);
    end(t);
}
END_TEST

START_TEST(there_is_nothing_to_read_for_a_while)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    struct body *b = add(t, MIB(3), false);
    b->pause = MIB(1);
    ck_assert_int_eq(try_send(t, b), 0);
    sim_run(t->sim, 10000, NULL, NULL);
    ck_assert_uint_ge(b->arrived, MIB(1));
    ck_assert_uint_lt(b->arrived, MIB(2));
    b->pause = 0;
    sim_run(t->sim, 10000, NULL, NULL);
    ck_assert_uint_lt(b->arrived, MIB(2)); /* nobody has said so */
    ck_assert_int_eq(tbi_node_body_ready(t->a->node, b->id), 0);
    ck_assert(sim_run(t->sim, 10000, all_told, t));
    comes_whole(t, b);
    end(t);
}
END_TEST

START_TEST(who_reads_may_fill_the_outbox)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    struct body *b = add(t, MIB(3), true);
    b->fills = MIB(1);
    ck_assert_int_eq(try_send(t, b), 0);
    ck_assert(sim_run(t->sim, 60000, all_told, t));
    comes_whole(t, b);
    ck_assert(t->message);
    end(t);
}
END_TEST

START_TEST(two_bodies_take_turns)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    sends(t, MIB(6), true);
    sends(t, MIB(6), false);
    ck_assert(sim_run(t->sim, 60000, all_told, t));
    comes_whole(t, &t->body[0]);
    comes_whole(t, &t->body[1]);
    ck_assert_uint_gt(t->turns, 100);
    end(t);
}
END_TEST

START_TEST(a_hundred_bodies_wait_for_their_turn)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    for (int i = 0; i < 100; i++) {
        sends(t, 100000, true);
    }
    ck_assert(sim_run(t->sim, 60000, all_told, t));
    for (int i = 0; i < 100; i++) {
        comes_whole(t, &t->body[i]);
    }
    tbq_stats s = {0};
    tbi_node_stats(t->b->node, &s);
    ck_assert_uint_eq(s.bodies_refused + s.bodies_broken, 0);
    end(t);
}
END_TEST

START_TEST(no_more_bodies_than_a_server_sends_at_once)
{
    struct story *t = begin((struct sim_link){.delay_ms = 5});
    boot(t);
    struct body *b = add(t, 5, true);
    t->wrong = 0;
    for (int i = 0; i < TBQ_BODIES_MAX; i++) {
        ck_assert_int_eq(try_send(t, b), 0);
    }
    ck_assert_int_eq(try_send(t, b), TBQ_ERR_LIMIT);
    sim_free(t->sim);
    free(t);
}
END_TEST

int main(void)
{
    TCase *c = tcase_create("bodies");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_body_of_any_length_arrives);
    tcase_add_test(c, memory_does_not_grow_with_the_body);
    tcase_add_test(c, connections_die_three_times);
    tcase_add_test(c, a_slow_receiver_slows_the_sender);
    tcase_add_test(c, the_receiver_refuses);
    tcase_add_test(c, who_takes_no_bodies_refuses_them);
    tcase_add_loop_test(c, the_receiver_restarts, 0, 2);
    tcase_add_test(c, the_receiver_is_gone_with_the_last_part);
    tcase_add_loop_test(c, the_sender_restarts, 0, 2);
    tcase_add_test(c, the_sender_is_gone_for_good);
    tcase_add_loop_test(c, one_of_them_stops, 0, 2);
    tcase_add_test(c, a_body_is_given_up);
    tcase_add_test(c, what_it_is_read_from_fails);
    tcase_add_test(c, there_is_nothing_to_read_for_a_while);
    tcase_add_test(c, who_reads_may_fill_the_outbox);
    tcase_add_test(c, two_bodies_take_turns);
    tcase_add_test(c, a_hundred_bodies_wait_for_their_turn);
    tcase_add_test(c, no_more_bodies_than_a_server_sends_at_once);
    Suite *s = suite_create("sim_bodies");
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
