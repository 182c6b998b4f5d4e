/* tests/unit/test_quic_migrate.c - lib/quic: a connection that goes on at another address; two
 * endpoints joined in memory, of which A has two addresses. */
#include <string.h>

#include "quic_pair.h"

#define PIECE (256U << 10)
#define TEN_MIB (10U << 20)
#define FLIPS 50

static struct quic_pair p;
static uint8_t piece[PIECE];

static void begin(void)
{
    const uint8_t ip[4] = {10, 9, 9, 9};
    quic_init(&p);
    ck_assert_int_eq(tbi_addr_from_bytes(&p.a.second, ip, 4, 8443), 0);
}

static void end(void)
{
    quic_free(&p);
}

static int move(const struct tbi_addr *to, bool at_once)
{
    return tbi_conn_migrate(quic_conn(&p.a), p.now, to, at_once);
}

static int64_t open_uni(void)
{
    int64_t stream = -1;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), 0);
    return stream;
}

static void put(int64_t stream, size_t size, bool fin)
{
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), stream, piece, size, NULL, fin), 0);
}

/* They are connected, and all that a new connection has to say is said. */
static void rest(void)
{
    quic_connect(&p);
    quic_run(&p, 5000);
}

/* Both are told, and what A sends comes from its second address. */
static void is_at_second(void)
{
    ck_assert_uint_eq(p.a.count[TBI_QUIC_PATH], 1);
    ck_assert(tbi_addr_equal(&p.a.path_local, &p.a.second));
    ck_assert(tbi_addr_equal(&p.a.path, &p.b.addr));
    ck_assert_uint_eq(p.b.count[TBI_QUIC_PATH], 1);
    ck_assert(tbi_addr_equal(&p.b.path, &p.a.second));
    ck_assert(tbi_addr_equal(tbi_conn_local(quic_conn(&p.a)), &p.a.second));
    p.a.first_dead = true;
    int64_t stream = open_uni();
    put(stream, 10, true);
    quic_run(&p, 1000);
    ck_assert(p.b.fin[(stream / 4) % QUIC_STREAMS]);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED] + p.b.count[TBI_QUIC_CLOSED], 0);
}

/* --- Ways to another address ------------------------------------------------------------------ */

START_TEST(a_new_address_is_tried_and_then_used)
{
    rest();
    ck_assert(tbi_addr_equal(tbi_conn_local(quic_conn(&p.a)), &p.a.addr));
    ck_assert_int_eq(move(&p.a.second, false), 0);
    ck_assert(tbi_addr_equal(tbi_conn_local(quic_conn(&p.a)), &p.a.addr)); /* not yet */
    quic_run(&p, 1000); /* nobody has anything to say, and the peer follows all the same */
    is_at_second();
}
END_TEST

START_TEST(an_address_that_is_gone_is_left_at_once)
{
    rest();
    p.a.first_dead = true;
    ck_assert_int_eq(move(&p.a.second, true), 0);
    quic_run(&p, 1000);
    is_at_second();
}
END_TEST

/* The kernel chooses: which address that is, the answers tell. */
static const struct tbi_addr none;
START_TEST(the_kernel_may_choose)
{
    struct tbi_addr first = p.a.addr;
    rest();
    p.a.addr = p.a.second; /* where packets without an address come from now */
    ck_assert_int_eq(move(&none, _i == 1), 0);
    quic_run(&p, 1000);
    ck_assert(tbi_addr_equal(&p.a.path_local, &p.a.second));
    is_at_second();
    ck_assert(!tbi_addr_equal(&first, &p.a.path_local));
}
END_TEST

/* A packet to the address that is gone, late, must not lead back there. */
START_TEST(late_packets_do_not_lead_back)
{
    rest();
    struct tbi_addr first = p.a.addr;
    int64_t stream;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.b), 0, &stream), 0);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.b), stream, piece, 100, NULL, false), 0);
    ck_assert(quic_take(&p, &p.b));
    ck_assert_int_eq(move(&none, true), 0);
    quic_inject(&p, &p.a, &p.b, p.b.last, p.b.last_size);
    ck_assert_uint_eq(tbi_conn_local(quic_conn(&p.a))->len, 0);
    ck_assert_uint_eq(p.a.got[0], 100); /* it is heard, though */
    p.a.addr = p.a.second;
    quic_run(&p, 1000);
    ck_assert(!tbi_addr_equal(tbi_conn_local(quic_conn(&p.a)), &first));
    is_at_second();
}
END_TEST

START_TEST(an_address_that_does_not_answer_changes_nothing)
{
    rest();
    p.a.second_dead = true;
    ck_assert_int_eq(move(&p.a.second, false), 0);
    int64_t stream = open_uni();
    put(stream, PIECE, true);
    quic_run(&p, 10000);
    ck_assert(p.b.fin[0]);
    ck_assert_uint_gt(p.a.from_second, 0); /* it was tried */
    ck_assert_uint_eq(p.a.count[TBI_QUIC_PATH] + p.b.count[TBI_QUIC_PATH], 0);
    ck_assert(tbi_addr_equal(tbi_conn_local(quic_conn(&p.a)), &p.a.addr));
    size_t tried = p.a.from_second;
    put(open_uni(), 100, true);
    quic_run(&p, 30000);
    ck_assert(p.b.fin[1]);
    ck_assert_uint_eq(p.a.from_second, tried); /* and it was given up */
    p.a.second_dead = false;                   /* later it answers */
    ck_assert_int_eq(move(&p.a.second, false), 0);
    quic_run(&p, 1000);
    is_at_second();
}
END_TEST

/* What tries the new path and what goes the old way are not one batch. */
START_TEST(what_is_said_meanwhile_goes_the_old_way)
{
    rest();
    p.a.second_dead = true;
    put(open_uni(), 100, true);
    ck_assert_int_eq(move(&p.a.second, false), 0);
    quic_run(&p, 1);
    ck_assert(p.b.fin[0]); /* at once, not when its loss was noticed */
}
END_TEST

/* From an address that was left at once, back to where it came from. */
START_TEST(there_is_a_way_back)
{
    rest();
    p.a.second_dead = true;
    ck_assert_int_eq(move(&p.a.second, true), 0);
    put(open_uni(), PIECE, true);
    quic_run(&p, 5000);
    ck_assert(!p.b.fin[0]);
    ck_assert_int_eq(move(&p.a.addr, true), 0);
    quic_run(&p, 5000);
    ck_assert(p.b.fin[0]);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED] + p.b.count[TBI_QUIC_CLOSED], 0);
    ck_assert(tbi_addr_equal(&p.a.path_local, &p.a.addr));
}
END_TEST

/* Closing tells the peer where it is, not where a packet was last that tried a path. */
START_TEST(a_close_goes_where_the_peer_is)
{
    rest();
    p.a.second_dead = true;
    ck_assert_int_eq(move(&p.a.second, false), 0);
    ck_assert(quic_take(&p, &p.a));
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    quic_run(&p, 100);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_CLOSED], 1);
}
END_TEST

/* --- While bytes are under way ---------------------------------------------------------------- */

/* Sends them in pieces; after each one what is asked for. */
static void send_all(size_t size, void (*after)(size_t sent))
{
    int64_t stream = open_uni();
    for (size_t sent = 0; sent < size; sent += PIECE) {
        put(stream, PIECE, sent + PIECE == size);
        quic_run(&p, 1);
        after(sent + PIECE);
        quic_run(&p, 20);
    }
    quic_run(&p, 30000);
    ck_assert_uint_eq(p.b.got[stream / 4], size);
    ck_assert(p.b.fin[stream / 4]);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED] + p.b.count[TBI_QUIC_CLOSED], 0);
}

static void stay(size_t sent)
{
    (void)sent;
}

static void move_halfway(size_t sent)
{
    if (sent == TEN_MIB / 2) {
        ck_assert_int_eq(move(&p.a.second, false), 0);
    }
}

static void lose_it_halfway(size_t sent)
{
    if (sent == TEN_MIB / 2) {
        p.a.first_dead = true;
        ck_assert_int_eq(move(&p.a.second, true), 0);
    }
}

START_TEST(a_transfer_goes_on_at_another_address)
{
    rest();
    send_all(TEN_MIB, _i == 0 ? move_halfway : lose_it_halfway);
    is_at_second();
    ck_assert_uint_gt(p.a.from_second, 100);
}
END_TEST

static size_t flips;
static void flip(size_t sent)
{
    const struct tbi_addr *to = ++flips % 2 == 1 ? &p.a.second : &p.a.addr;
    bool at_once = flips % 3 == 0;
    (void)sent;
    if (at_once) {
        p.a.first_dead = to == &p.a.second;
        p.a.second_dead = to != &p.a.second;
    }
    ck_assert_int_eq(move(to, at_once), 0);
    quic_run(&p, 100);
    ck_assert(tbi_addr_equal(tbi_conn_local(quic_conn(&p.a)), to));
    /* Where the address before is dead, the server asks there for 3 s whether it is. */
    quic_run(&p, at_once ? 4000 : 100);
    ck_assert_msg(p.b.count[TBI_QUIC_PATH] == flips, "at %zu: %zu", flips,
                  p.b.count[TBI_QUIC_PATH]);
    p.a.first_dead = p.a.second_dead = false;
}

START_TEST(it_may_move_for_ever)
{
    rest();
    flips = 0;
    send_all((size_t)FLIPS * PIECE, flip);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_PATH], FLIPS);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_PATH], FLIPS);
    send_all(PIECE, stay);
}
END_TEST

/* --- What is refused -------------------------------------------------------------------------- */

START_TEST(not_before_the_handshake_is_confirmed)
{
    ck_assert_int_eq(quic_start(&p.a), 0);
    ck_assert_int_eq(quic_start(&p.b), 0);
    ck_assert_int_eq(quic_dial(&p), 0);
    ck_assert_int_eq(move(&p.a.second, true), TBQ_ERR_AGAIN);
    ck_assert_int_eq(move(&p.a.second, false), TBQ_ERR_AGAIN);
    while (p.a.count[TBI_QUIC_HANDSHAKE_DONE] == 0) { /* complete here, and not confirmed */
        ck_assert(quic_take(&p, &p.a));
        quic_inject(&p, &p.b, &p.a, p.a.last, p.a.last_size);
        while (quic_take(&p, &p.b)) {
            quic_inject(&p, &p.a, &p.b, p.b.last, p.b.last_size);
        }
        quic_actions(&p.a);
    }
    ck_assert_int_eq(move(&p.a.second, true), TBQ_ERR_AGAIN);
    quic_run(&p, 5000);
    ck_assert_int_eq(move(&p.a.second, true), 0);
    quic_run(&p, 1000);
    is_at_second();
}
END_TEST

START_TEST(a_server_stays_and_so_does_who_is_told_to)
{
    p.b.config.no_migration = true;
    rest();
    ck_assert_int_eq(tbi_conn_migrate(quic_conn(&p.b), p.now, &p.a.second, true),
                     TBQ_ERR_UNSUPPORTED);
    ck_assert_int_eq(move(&p.a.second, true), TBQ_ERR_UNSUPPORTED);
    ck_assert_int_eq(move(&p.a.second, false), TBQ_ERR_UNSUPPORTED);
    send_all(PIECE, stay);
    ck_assert_uint_eq(p.a.from_second, 0);
}
END_TEST

START_TEST(addresses_that_make_no_sense)
{
    struct tbi_addr v6;
    ck_assert_int_eq(tbi_addr_from_text(&v6, "[2001:db8::1]:8443"), 0);
    rest();
    ck_assert_int_eq(move(&v6, false), TBQ_ERR_ADDRESS);
    ck_assert_int_eq(move(&p.a.addr, true), 0); /* where it is already: it is only probed */
    ck_assert(quic_take(&p, &p.a));
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    ck_assert_int_eq(move(&p.a.second, false), TBQ_ERR_CLOSED);
    quic_run(&p, 1000);
}
END_TEST

/* Each move takes one of the ids that the peer has given; it gives others when it hears of it. */
START_TEST(connection_ids_run_out_and_come_again)
{
    size_t moves = 0;
    rest();
    p.b.deaf = true;
    while (moves < 20 && move(moves % 2 == 0 ? &p.a.second : &p.a.addr, true) == 0) {
        quic_run(&p, 10);
        moves++;
    }
    ck_assert_uint_eq(moves, 3); /* of 4 ids one was in use */
    ck_assert_int_eq(move(&p.a.addr, true), TBQ_ERR_AGAIN);
    p.b.deaf = false;
    quic_run(&p, 5000);
    ck_assert_int_eq(move(&p.a.addr, true), 0);
    quic_run(&p, 1000);
    send_all(PIECE, stay);
    ck_assert(tbi_addr_equal(tbi_conn_local(quic_conn(&p.a)), &p.a.addr));
}
END_TEST

/* Every allocation of a move fails once: it moves, or the connection ends; nothing is left behind.
 */
START_TEST(memory_may_run_out)
{
    for (size_t at = 1;; at++) {
        rest();
        p.a.memory.fail_at = p.a.memory.calls + at;
        int rv = move(&p.a.second, _i == 1);
        ck_assert(rv == 0 || (rv == TBQ_ERR_NOMEM && p.a.memory.failed));
        quic_run(&p, 5000);
        if (!p.a.memory.failed) {
            p.a.memory.fail_at = 0;
            ck_assert_uint_gt(at, 5);
            is_at_second();
            return;
        }
        end();
        begin();
    }
}
END_TEST

/* --- The server's side ------------------------------------------------------------------------ */

/* A NAT before the client gives it another address, again and again: each is validated. */
START_TEST(a_nat_may_change_its_mind)
{
    rest();
    for (uint16_t i = 1; i <= 20; i++) {
        tbi_addr_set_port(&p.a.addr, (uint16_t)(9000 + i));
        send_all(PIECE, stay);
        ck_assert_uint_eq(p.b.count[TBI_QUIC_PATH], i);
        ck_assert_uint_eq(tbi_addr_port(&p.b.path), 9000 + i);
    }
    ck_assert_uint_eq(p.a.count[TBI_QUIC_PATH], 0); /* it does not know */
}
END_TEST

/* The server's address is another: the client believes no packet from there (RFC 9000, section 9),
 * and the connection ends. */
START_TEST(a_server_may_not_move)
{
    rest();
    tbi_addr_set_port(&p.b.addr, 9000);
    put(open_uni(), 100, true);
    int64_t stream;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.b), 0, &stream), 0);
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.b), stream, piece, 100, NULL, true), 0);
    quic_run(&p, 59000);
    ck_assert_uint_eq(p.a.got[0], 0);
    quic_run(&p, 60000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_PATH], 0);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.a.closed.closed.reason, TBQ_ERR_LOST);
}
END_TEST

/* The address that it was reached at is gone: it does not send from there. */
START_TEST(a_server_forgets_its_address)
{
    rest();
    struct tbi_conn *c = quic_conn(&p.b);
    ck_assert(tbi_addr_equal(tbi_conn_local(c), &p.b.addr));
    tbi_conn_forget_local(c);
    ck_assert_uint_eq(tbi_conn_local(c)->len, 0);
    send_all(PIECE, stay);
    ck_assert(tbi_addr_equal(tbi_conn_local(c), &p.b.addr)); /* it was reached there again */
}
END_TEST

/* --- Probing ---------------------------------------------------------------------------------- */

static struct quic_end *side(int i)
{
    return i == 0 ? &p.a : &p.b;
}

START_TEST(a_probe_asks_at_once_and_once)
{
    rest();
    struct quic_end *e = side(_i), *other = side(1 - _i);
    ck_assert(!quic_take(&p, e));
    size_t before = e->datagrams, answers = other->datagrams;
    tbi_conn_probe(quic_conn(e), p.now);
    ck_assert_uint_eq(tbi_endpoint_deadline(e->ep), 0);
    quic_run(&p, 100);
    ck_assert_uint_eq(other->datagrams, answers + 1);
    ck_assert_uint_ge(e->datagrams, before + 1);
    ck_assert_uint_le(e->datagrams, before + 2); /* the answer may want an acknowledgement */
    before = e->datagrams;
    quic_run(&p, 15000); /* and the keep-alives are as rare as before: three a minute */
    ck_assert_uint_eq(e->datagrams, before);
}
END_TEST

/* A dead path is asked again, as every loss is; the answer tells when it lives again. */
START_TEST(a_probe_is_repeated_where_nobody_answers)
{
    rest();
    p.b.deaf = true;
    tbi_conn_probe(quic_conn(&p.a), p.now);
    size_t before = p.a.datagrams;
    quic_run(&p, 5000);
    ck_assert_uint_ge(p.a.datagrams, before + 3);
    p.b.deaf = false;
    quic_run(&p, 59000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 0);
}
END_TEST

/* In the very moment in which something came, and on a connection that ends. */
START_TEST(a_probe_at_any_time)
{
    quic_connect(&p);
    for (size_t i = 0; i < 100; i++) {
        tbi_conn_probe(quic_conn(&p.a), p.now);
        tbi_conn_probe(quic_conn(&p.b), p.now);
        put(open_uni(), 10, true);
        quic_run(&p, i % 10);
        tbi_conn_stream_done(quic_conn(&p.b), (int64_t)(4 * i + 2));
    }
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED] + p.b.count[TBI_QUIC_CLOSED], 0);
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_NONE, "");
    tbi_conn_probe(quic_conn(&p.a), p.now);
    quic_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBI_QUIC_CLOSED], 1);
}
END_TEST

static TCase *part(Suite *suite, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, begin, end);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("quic migrate");
    TCase *tc = part(suite, "ways");
    tcase_add_test(tc, a_new_address_is_tried_and_then_used);
    tcase_add_test(tc, an_address_that_is_gone_is_left_at_once);
    tcase_add_loop_test(tc, the_kernel_may_choose, 0, 2);
    tcase_add_test(tc, late_packets_do_not_lead_back);
    tcase_add_test(tc, an_address_that_does_not_answer_changes_nothing);
    tcase_add_test(tc, what_is_said_meanwhile_goes_the_old_way);
    tcase_add_test(tc, there_is_a_way_back);
    tcase_add_test(tc, a_close_goes_where_the_peer_is);
    tc = part(suite, "transfer");
    tcase_add_loop_test(tc, a_transfer_goes_on_at_another_address, 0, 2);
    tcase_add_test(tc, it_may_move_for_ever);
    tc = part(suite, "refused");
    tcase_add_test(tc, not_before_the_handshake_is_confirmed);
    tcase_add_test(tc, a_server_stays_and_so_does_who_is_told_to);
    tcase_add_test(tc, addresses_that_make_no_sense);
    tcase_add_test(tc, connection_ids_run_out_and_come_again);
    tcase_add_loop_test(tc, memory_may_run_out, 0, 2);
    tc = part(suite, "server");
    tcase_add_test(tc, a_nat_may_change_its_mind);
    tcase_add_test(tc, a_server_may_not_move);
    tcase_add_test(tc, a_server_forgets_its_address);
    tc = part(suite, "probes");
    tcase_add_loop_test(tc, a_probe_asks_at_once_and_once, 0, 2);
    tcase_add_test(tc, a_probe_is_repeated_where_nobody_answers);
    tcase_add_test(tc, a_probe_at_any_time);
    return tbi_test_main(suite);
}
