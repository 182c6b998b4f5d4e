/* tests/unit/test_quic_memory.c - lib/quic when memory runs out: a handshake, bytes each way and a
 * close, told again with each allocation failing once. A call fails by name, datagrams are lost, or
 * the connection ends with a reason; nothing crashes and nothing is left behind. (GnuTLS's memory
 * is not ours, and does not fail here.) */
#include <string.h>

#include "quic_pair.h"

#define SIZE (400U << 10) /* more than a stream takes at once: WRITABLE is part of the story */

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

static void dial(struct quic_pair *p)
{
    int rv = quic_dial(p);
    if (rv < 0) {
        ck_assert_int_eq(rv, TBQ_ERR_NOMEM);
        ck_assert_int_eq(quic_dial(p), 0);
    }
}

static void part_ways(struct quic_pair *p)
{
    if (quic_conn(&p->a) != NULL) {
        tbi_conn_close(quic_conn(&p->a), p->now, TBI_CLOSE_NONE, "enough");
    }
    quic_run(p, 100000);
    ck_assert_uint_eq(tbi_endpoint_stats(p->a.ep)->connections, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p->b.ep)->connections, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p->a.ep)->half_open, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(p->b.ep)->half_open, 0);
}

static void story(struct quic_pair *p, size_t at, bool failing)
{
    start(&p->a);
    start(&p->b);
    dial(p);
    quic_run(p, 20000); /* until it stands, or its time has passed */
    bool up = p->a.count[TBI_QUIC_HANDSHAKE_DONE] > 0 && p->b.count[TBI_QUIC_HANDSHAKE_DONE] > 0;
    ck_assert(up || failing);
    bool whole = up && speak(p, &p->a) && speak(p, &p->b);
    if (whole && p->a.count[TBI_QUIC_CLOSED] + p->b.count[TBI_QUIC_CLOSED] == 0) {
        ck_assert_msg(p->b.got[0] == SIZE && p->a.got[0] == SIZE,
                      "allocation %zu: it stands still, at %zu and %zu", at, p->b.got[0],
                      p->a.got[0]);
    }
    part_ways(p);
    check_end(p, &p->a, at);
    if (p->b.count[TBI_QUIC_ACCEPTED] > 0) {
        check_end(p, &p->b, at);
    }
}

/* A hundred bytes on a stream: true if the connection has them. */
static bool say(struct quic_pair *p)
{
    static const uint8_t bytes[100];
    int64_t stream = -1;
    int rv = TBQ_ERR_NOMEM;

    for (int i = 0; i < 2 && rv == TBQ_ERR_NOMEM && quic_conn(&p->a) != NULL; i++) {
        rv = stream < 0 ? tbi_conn_open_uni(quic_conn(&p->a), 1, &stream) : 0;
        rv = rv < 0 ? rv : tbi_conn_write(quic_conn(&p->a), stream, bytes, 100, NULL, true);
    }
    return rv == 0;
}

/* Datagrams with an id: how many the connection has taken. */
static size_t send_datagrams(struct quic_pair *p)
{
    size_t taken = 0;

    for (uint64_t id = 1; id <= 5 && quic_conn(&p->a) != NULL; id++) {
        struct tbi_block *b = tbi_block_copy(&p->a.memory.alloc, "abc", 3);
        if (b != NULL) {
            int rv = tbi_conn_send_datagram(quic_conn(&p->a), b, id);
            ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM || rv == TBQ_ERR_UNSUPPORTED ||
                      rv == TBQ_ERR_CLOSED);
            taken += rv == 0;
        }
        tbi_block_unref(b);
    }
    return taken;
}

/* Two connections; on the second all is said at once, or again when it was not taken, or when the
 * first left nothing that allows it. */
static void early_story(struct quic_pair *p, size_t at, bool failing)
{
    p->a.config.early_data = p->b.config.early_data = true;
    p->a.config.datagrams = p->b.config.datagrams = true;
    start(&p->a);
    start(&p->b);
    dial(p);
    quic_run(p, 20000);
    part_ways(p);
    p->a.dial_early = true;
    size_t closed = p->a.count[TBI_QUIC_CLOSED];
    size_t begun = p->a.count[TBI_QUIC_CONNECTED_EARLY];
    dial(p);
    quic_actions(&p->a);
    bool said = p->a.count[TBI_QUIC_CONNECTED_EARLY] > begun && say(p);
    size_t sent = send_datagrams(p);
    ck_assert(failing || (said && sent == 5));
    quic_run(p, 20000);
    if (!said || p->a.count[TBI_QUIC_EARLY_REJECTED] > 0) {
        said = say(p);
    }
    quic_run(p, 20000);
    ck_assert_uint_le(p->b.got[0], 100);
    if (said && p->a.count[TBI_QUIC_CLOSED] == closed) {
        ck_assert_msg(p->b.got[0] == 100, "allocation %zu: it stands still", at);
    }
    part_ways(p);
    ck_assert_msg(p->a.fates.count == sent, "allocation %zu: %zu datagrams, %zu fates", at, sent,
                  p->a.fates.count);
    ck_assert(failing || (p->b.early == 115 && p->b.messages == 5)); /* of 3 bytes each */
}

static void walk(bool dialler, void (*tell)(struct quic_pair *, size_t, bool))
{
    static struct quic_pair p;
    bool failed = true;

    for (size_t at = 1; failed; at += tbi_test_stride()) {
        quic_init(&p);
        struct quic_end *e = dialler ? &p.a : &p.b;
        tbi_failing_init(&e->memory, at);
        tell(&p, at, true);
        failed = e->memory.failed;
        ck_assert_msg(failed || at > 50, "a story of %zu allocations only", at);
        quic_free(&p);
    }
}

START_TEST(the_diallers_memory_runs_out)
{
    walk(true, story);
}
END_TEST

START_TEST(the_listeners_memory_runs_out)
{
    walk(false, story);
}
END_TEST

START_TEST(the_early_diallers_memory_runs_out)
{
    walk(true, early_story);
}
END_TEST

START_TEST(the_memory_of_who_listens_early_runs_out)
{
    walk(false, early_story);
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
    quic_init(&p);
    early_story(&p, 0, false);
    ck_assert_uint_eq(p.b.got[0], 100);
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
    tcase_add_test(tc, the_early_diallers_memory_runs_out);
    tcase_add_test(tc, the_memory_of_who_listens_early_runs_out);
    suite_add_tcase(suite, tc);
    return tbi_test_main(suite);
}
