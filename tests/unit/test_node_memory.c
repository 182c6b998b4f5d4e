/* tests/unit/test_node_memory.c - lib/node when memory runs out: one small story, told again with
 * each allocation failing once. Nothing crashes, nothing is left behind, what was accepted has one
 * fate; where one cannot be told, the log says that memory was out. */
#include <string.h>

#include "node_pair.h"

enum { TO_B = 1, TO_A = 2, ASKED = 3, BODY = 4, LENT = 5 };

static bool known_error(int rv)
{
    return rv == TBQ_ERR_NOMEM || rv == TBQ_ERR_NO_ROUTE || rv == TBQ_ERR_CLOSED ||
           rv == TBQ_ERR_LIMIT || rv == TBQ_ERR_TLS;
}

/* Whether it was accepted. */
static bool took(int rv)
{
    ck_assert_msg(rv == 0 || known_error(rv), "%d: %s", rv, tbq_strerror(rv));
    return rv == 0;
}

static void start(struct pair *p, struct pair_end *e)
{
    int rv = pair_start(p, e);
    if (rv < 0) {
        ck_assert_msg(rv == TBQ_ERR_NOMEM || rv == TBQ_ERR_TLS, "%d", rv);
        ck_assert_ptr_null(e->node);
        ck_assert_int_eq(pair_start(p, e), 0); /* only one allocation fails */
    }
}

/* The first of A's peers, B being the only one. */
static int choose(struct pair *p, tbq_peer_id *chosen)
{
    const tbq_select_query q = {.size = sizeof q, .recent_ms = 300000};
    return tbi_node_select(p->a.node, p->now, &q, chosen, 1);
}

/* B has a load to tell, and A chooses, where they are connected. */
static void load_and_choose(struct pair *p)
{
    tbq_peer_id chosen;

    ck_assert_int_eq(tbi_node_set_load(p->b.node, p->now, 700, 0), 0);
    pair_run(p, 100);
    int n = choose(p, &chosen);
    ck_assert_msg(n >= 0 || n == TBQ_ERR_NOMEM, "%d: %s", n, tbq_strerror(n));
}

/* Three parts. */
static int64_t read_some(void *user, void *buffer, size_t size)
{
    int *left = user;
    memset(buffer, 'b', size);
    return (*left)-- > 0 ? (int64_t)size : 0;
}

static bool send_body(struct pair *p, int *left)
{
    const tbq_body_options o = {.size = sizeof o, .tag = BODY, .lane = TBQ_LANE_LOW};
    *left = 2;
    return took(tbi_node_send_body(p->a.node, p->now, pair_id(&p->b), read_some, left,
                                   TBQ_LENGTH_UNKNOWN, &o, NULL));
}

static bool lend(struct pair *p)
{
    const tbq_send_options o = {
        .size = sizeof o, .tag = LENT, .lane = TBQ_LANE_NORMAL, .by_reference = true};
    tbq_message m = pair_message("lent");

    return took(tbi_node_send_to(p->a.node, p->now, pair_id(&p->b), &m, &o));
}

/* Dial, a load and a choice, a message each way, one by reference, a body, a request and its
 * answer, close, stop. */
static void story(struct pair *p, bool accepted[PAIR_TAGS], bool *asked)
{
    tbq_answer answer = {.status = TBQ_RESPONSE_OK};
    tbq_send_options o = {.size = sizeof o, .tag = ASKED, .lane = TBQ_LANE_NORMAL};
    tbq_request_id id;
    int left;

    p->b.settings.take_bodies = true;
    start(p, &p->a);
    start(p, &p->b);
    if (!took(pair_dial(p, &p->a, &p->b, true, NULL))) {
        ck_assert_int_eq(pair_dial(p, &p->a, &p->b, true, NULL), 0);
    }
    pair_run(p, 40000); /* a first connection may fail: the dial is persistent */
    load_and_choose(p);
    accepted[TO_B] = took(pair_send(p, &p->a, &p->b, TO_B));
    accepted[TO_A] = took(pair_send(p, &p->b, &p->a, TO_A));
    accepted[LENT] = lend(p);
    accepted[BODY] = send_body(p, &left);
    pair_run(p, 1000);
    *asked = took(tbi_node_request(p->a.node, p->now, pair_id(&p->b),
                                   (tbq_bytes){(const uint8_t *)"?", 1}, 5000, &o, &id));
    accepted[ASKED] = *asked;
    pair_run(p, 1000);
    if (p->b.count[TBQ_EVENT_REQUEST] > 0) {
        (void)took(tbi_node_respond(p->b.node, p->now, p->b.request, &answer));
    }
    pair_run(p, 10000);
    tbi_node_stop(p->a.node, p->now, 1000);
    pair_run(p, 2000);
    tbi_node_stop(p->b.node, p->now, 1000);
    pair_run(p, 2000);
}

static void check(const struct pair *p, const bool accepted[PAIR_TAGS], bool asked, size_t at)
{
    const struct pair_end *by[PAIR_TAGS] = {NULL, &p->a, &p->b, &p->a, &p->a, &p->a};
    size_t missing = 0;

    for (size_t tag = TO_B; tag <= LENT; tag++) {
        size_t fates = by[tag]->fates[tag];
        ck_assert_msg(fates <= (accepted[tag] ? 1 : 0), "allocation %zu: %zu fates", at, fates);
        missing += accepted[tag] && fates == 0;
    }
    ck_assert_msg(missing == 0, "allocation %zu: %zu fates missing", at, missing);
    ck_assert_msg(p->a.released[LENT] == (accepted[LENT] ? 1 : 0), "allocation %zu: %zu released",
                  at, p->a.released[LENT]);
    ck_assert_msg(p->a.count[TBQ_EVENT_RESPONSE] == (asked ? 1 : 0),
                  "allocation %zu: %zu responses", at, p->a.count[TBQ_EVENT_RESPONSE]);
    ck_assert_msg(tbi_node_stopped(p->a.node) && tbi_node_stopped(p->b.node),
                  "allocation %zu: not stopped", at);
    ck_assert_uint_eq(p->a.count[TBQ_EVENT_STOPPED], 1);
    ck_assert_uint_eq(p->b.count[TBQ_EVENT_STOPPED], 1);
    ck_assert_uint_eq(p->a.after_stopped + p->b.after_stopped, 0);
}

/* `dialler`: A's memory fails, else B's. */
static void walk(bool dialler)
{
    static struct pair p;
    bool failed = true;

    for (size_t at = 1; failed; at += tbi_test_stride()) {
        bool accepted[PAIR_TAGS] = {false};
        bool asked;
        pair_init(&p);
        struct pair_end *e = dialler ? &p.a : &p.b;
        tbi_failing_init(&e->memory, at);
        story(&p, accepted, &asked);
        failed = e->memory.failed;
        check(&p, accepted, asked, at);
        ck_assert_msg(failed || (accepted[TO_B] && accepted[TO_A] && asked), "the story itself");
        ck_assert_msg(failed || p.b.count[TBQ_EVENT_BODY] == 3, "the story's body");
        ck_assert_msg(failed || at > 150, "a story of %zu allocations only", at);
        pair_free(&p);
    }
}

START_TEST(the_diallers_memory_runs_out)
{
    walk(true);
}
END_TEST

START_TEST(the_listeners_memory_runs_out)
{
    walk(false);
}
END_TEST

START_TEST(a_choice_without_memory_is_told_and_can_be_made_again)
{
    static struct pair p;
    tbq_peer_id chosen = {{0}};

    pair_init(&p);
    pair_connect(&p);
    p.a.memory.fail_at = p.a.memory.calls + 1;
    ck_assert_int_eq(choose(&p, &chosen), TBQ_ERR_NOMEM);
    ck_assert(p.a.memory.failed);
    ck_assert_int_eq(choose(&p, &chosen), 1);
    ck_assert_mem_eq(&chosen, pair_id(&p.b), sizeof chosen);
    pair_free(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("node_memory");
    TCase *tc = tcase_create("walk");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, the_diallers_memory_runs_out);
    tcase_add_test(tc, the_listeners_memory_runs_out);
    tcase_add_test(tc, a_choice_without_memory_is_told_and_can_be_made_again);
    suite_add_tcase(suite, tc);
    return tbi_test_main(suite);
}
