/* tests/unit/test_quic_memory.c - lib/quic when memory runs out: a handshake, bytes each way and a
 * close, told again with each allocation failing once. A call fails by name, datagrams are lost, or
 * the connection ends with a reason; nothing crashes and nothing is left behind. (GnuTLS's memory
 * is not ours, and does not fail here.) */
#include <stdlib.h>
#include <string.h>

#include "quic_pair.h"

#define SIZE (400U << 10) /* more than a stream takes at once: WRITABLE is part of the story */

/* Every allocation, or each 13th under a slow checker (the runner tells it by TIME_FACTOR). */
static size_t stride(void)
{
    const char *factor = getenv("TIME_FACTOR");
    return factor != NULL && atoi(factor) > 3 ? 13 : 1;
}

static void start(struct quic_end *e)
{
    int rv = quic_start(e);
    if (rv < 0) {
        ck_assert_int_eq(rv, TBQ_ERR_NOMEM);
        ck_assert_int_eq(quic_start(e), 0); /* only one allocation fails */
    }
}

/* Writes SIZE bytes as a careful application does: what is refused for want of memory is tried
 * again, and more is written when there is room. False: the connection is closed. */
static bool speak(struct quic_pair *p, struct quic_end *from)
{
    static const uint8_t bytes[SIZE / 8];
    int64_t stream = -1;
    int rv = TBQ_ERR_NOMEM;

    for (int i = 0; i < 2 && rv == TBQ_ERR_NOMEM && quic_conn(from) != NULL; i++) {
        rv = tbi_conn_open_uni(quic_conn(from), 1, &stream);
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM || rv == TBQ_ERR_CLOSED);
    }
    for (size_t i = 0; rv == 0 && i < 8; i++) {
        struct tbi_conn *c = quic_conn(from);
        rv = c != NULL ? tbi_conn_write(c, stream, bytes, sizeof bytes, NULL, i == 7)
                       : TBQ_ERR_CLOSED;
        if (rv == TBQ_ERR_NOMEM) {
            rv = tbi_conn_write(c, stream, bytes, sizeof bytes, NULL, i == 7);
        }
        ck_assert(rv == 0 || rv == TBQ_ERR_CLOSED);
        if (i == 5) {
            quic_run(p, 500);
        }
    }
    quic_run(p, 1000);
    return rv == 0;
}

static void check_end(const struct quic_pair *p, const struct quic_end *e, size_t at)
{
    const struct tbi_quic_action *a = &e->closed;
    (void)p;
    ck_assert_msg(e->count[TBI_QUIC_CLOSED] > 0, "allocation %zu: no end", at);
    ck_assert_msg(a->closed.who != TBI_CLOSED_TRANSPORT || a->closed.reason < 0,
                  "allocation %zu: no reason", at);
    ck_assert_msg(a->closed.who != TBI_CLOSED_TRANSPORT || a->closed.text[0] != '\0',
                  "allocation %zu: no text", at);
}

static void story(struct quic_pair *p, size_t at, bool failing)
{
    start(&p->a);
    start(&p->b);
    int rv = quic_dial(p);
    if (rv < 0) {
        ck_assert_int_eq(rv, TBQ_ERR_NOMEM);
        ck_assert_int_eq(quic_dial(p), 0);
    }
    quic_run(p, 20000); /* until it stands, or its time has passed */
    bool up = p->a.count[TBI_QUIC_HANDSHAKE_DONE] > 0 && p->b.count[TBI_QUIC_HANDSHAKE_DONE] > 0;
    ck_assert(up || failing);
    bool whole = up && speak(p, &p->a) && speak(p, &p->b);
    if (whole && p->a.count[TBI_QUIC_CLOSED] + p->b.count[TBI_QUIC_CLOSED] == 0) {
        ck_assert_msg(p->b.got[0] == SIZE && p->a.got[0] == SIZE,
                      "allocation %zu: it stands still, at %zu and %zu", at, p->b.got[0],
                      p->a.got[0]);
    }
    if (quic_conn(&p->a) != NULL) {
        tbi_conn_close(quic_conn(&p->a), p->now, TBI_CLOSE_NONE, "enough");
    }
    quic_run(p, 100000);
    check_end(p, &p->a, at);
    if (p->b.count[TBI_QUIC_ACCEPTED] > 0) {
        check_end(p, &p->b, at);
    }
    ck_assert_uint_eq(tbi_endpoint_stats(p->a.ep)->connections, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p->b.ep)->connections, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p->a.ep)->half_open, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p->b.ep)->half_open, 0);
}

static void walk(bool dialler)
{
    static struct quic_pair p;
    bool failed = true;

    for (size_t at = 1; failed; at += stride()) {
        quic_init(&p);
        struct quic_end *e = dialler ? &p.a : &p.b;
        tbi_failing_init(&e->memory, at);
        story(&p, at, true);
        failed = e->memory.failed;
        ck_assert_msg(failed || at > 50, "a story of %zu allocations only", at);
        quic_free(&p);
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

START_TEST(with_memory_the_story_ends_well)
{
    static struct quic_pair p;
    quic_init(&p);
    story(&p, 0, false);
    ck_assert_uint_eq(p.a.got[0], SIZE);
    ck_assert_uint_eq(p.b.got[0], SIZE);
    ck_assert_int_eq(p.a.closed.closed.who, TBI_CLOSED_LOCAL);
    quic_free(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_memory");
    TCase *tc = tcase_create("walk");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, with_memory_the_story_ends_well);
    tcase_add_test(tc, the_diallers_memory_runs_out);
    tcase_add_test(tc, the_listeners_memory_runs_out);
    suite_add_tcase(suite, tc);
    return tbi_test_main(suite);
}
