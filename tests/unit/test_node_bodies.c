/* tests/unit/test_node_bodies.c - lib/node and what bodies are read from: that is the
 * application's, and may do nearly anything meanwhile. */
#include <string.h>

#include "node_pair.h"

#define LENGTH 8000000

struct source {
    struct pair *p;
    uint64_t given;
    uint64_t acts_at; /* when it has given so much, it does: */
    void (*act)(struct source *s);
    tbq_body body;
    bool acted;
    size_t late; /* times that it was read afterwards */
};

static int64_t read_source(void *user, void *buffer, size_t size)
{
    struct source *s = user;
    uint64_t left = LENGTH - s->given;
    size_t n = left < size ? (size_t)left : size;

    s->late += s->acted;
    if (s->act != NULL && s->given >= s->acts_at) {
        void (*act)(struct source *) = s->act;
        s->act = NULL;
        s->acted = true;
        act(s);
    }
    memset(buffer, 1, n);
    s->given += n;
    return (int64_t)n;
}

static int send_body(struct source *s, uint64_t tag)
{
    tbq_body_options o = {.size = sizeof o, .tag = tag, .lane = TBQ_LANE_LOW};
    return tbi_node_send_body(s->p->a.node, s->p->now, pair_id(&s->p->b), read_source, s, LENGTH,
                              &o, &s->body);
}

static struct source begin(struct pair *p)
{
    pair_init(p);
    p->b.settings.take_bodies = true;
    pair_connect(p);
    return (struct source){.p = p, .acts_at = LENGTH / 4 * 3};
}

static void cancels(struct source *s)
{
    ck_assert_int_eq(tbi_node_body_cancel(s->p->a.node, s->p->now, s->body), 0);
}

static void closes(struct source *s)
{
    ck_assert_int_eq(tbi_node_close(s->p->a.node, s->p->now, s->p->a.connection), 0);
}

static void sends(struct source *s)
{
    ck_assert_int_eq(pair_send(s->p, &s->p->a, &s->p->b, 2), 0);
}

static void stops(struct source *s)
{
    tbi_node_stop(s->p->a.node, s->p->now, 0);
}

START_TEST(reading_may_cancel_close_send_and_stop)
{
    static void (*const acts[])(struct source *) = {cancels, closes, sends, stops};
    static struct pair p;
    struct source s = begin(&p);

    s.act = acts[_i];
    ck_assert_int_eq(send_body(&s, 1), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.a.fates[1], 1);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], acts[_i] == sends ? 2U : 1U);
    ck_assert_int_eq(p.a.fate, acts[_i] == sends ? TBQ_DELIVERED : TBQ_NOT_DELIVERED);
    pair_run(&p, 400000);
    ck_assert(acts[_i] == sends || s.late == 0); /* nobody asks behind the fate */
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_BODY_END], acts[_i] == sends ? 0U : 1U);
    pair_free(&p);
}
END_TEST

/* Its lane is paused, and what comes is held back; others go on. */
START_TEST(a_paused_lane_holds_a_body_back)
{
    static struct pair p;
    struct source s = begin(&p);

    ck_assert_int_eq(tbi_node_pause(p.b.node, pair_id(&p.a), TBQ_LANE_BIT(TBQ_LANE_LOW)), 0);
    ck_assert_int_eq(send_body(&s, 1), 0);
    pair_run(&p, 1000);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 2), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_BODY], 0);
    ck_assert_uint_eq(p.a.fates[2], 1);

    ck_assert_int_eq(tbi_node_resume(p.b.node, pair_id(&p.a), TBQ_LANES_ALL), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_BODY], (LENGTH + 61439) / 61440);
    ck_assert_uint_eq(p.a.fates[1], 1);
    ck_assert_int_eq(p.a.fate, TBQ_DELIVERED);
    pair_free(&p);
}
END_TEST

/* What is held back of a body that has ended is not handed out any more. */
START_TEST(parts_of_an_ended_body_do_not_come)
{
    static struct pair p;
    struct source s = begin(&p);

    ck_assert_int_eq(tbi_node_pause(p.b.node, pair_id(&p.a), TBQ_LANE_BIT(TBQ_LANE_LOW)), 0);
    s.act = cancels;
    s.acts_at = LENGTH / 8; /* its end still fits into the window */
    ck_assert_int_eq(send_body(&s, 1), 0);
    pair_run(&p, 1000);
    ck_assert_int_eq(tbi_node_resume(p.b.node, pair_id(&p.a), TBQ_LANES_ALL), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_BODY], 0);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_BODY_END], 0); /* nor its end: it was never heard of */
    pair_free(&p);
}
END_TEST

START_TEST(a_body_needs_a_peer_that_is_known)
{
    static struct pair p;
    struct source s = {.p = &p};

    pair_init(&p);
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(send_body(&s, 1), TBQ_ERR_NO_ROUTE);
    tbq_body_progress progress;
    ck_assert_int_eq(tbi_node_body_progress(p.a.node, 1, &progress), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbi_node_body_ready(p.a.node, 1), TBQ_ERR_CLOSED);
    pair_free(&p);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("node bodies");
    TCase *c = tcase_create("reading");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, reading_may_cancel_close_send_and_stop, 0, 4);
    tcase_add_test(c, a_paused_lane_holds_a_body_back);
    tcase_add_test(c, parts_of_an_ended_body_do_not_come);
    tcase_add_test(c, a_body_needs_a_peer_that_is_known);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
