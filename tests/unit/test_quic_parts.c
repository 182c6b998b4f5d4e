/* tests/unit/test_quic_parts.c - the parts of lib/quic that no network reaches in every way: the
 * table of texts (error.c), and what an outgoing stream keeps (stream.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "quic/parts.h"

/* --- Texts ------------------------------------------------------------------------------------ */

static const struct {
    uint64_t code;
    int reason;
    const char *text;
} table[] = {
    {NGTCP2_NO_ERROR, TBQ_ERR_LOST, "closed without an error"},
    {NGTCP2_INTERNAL_ERROR, TBQ_ERR_PROTOCOL, "internal error"},
    {NGTCP2_CONNECTION_REFUSED, TBQ_ERR_LIMIT, "connection refused: the server takes no more now"},
    {NGTCP2_FLOW_CONTROL_ERROR, TBQ_ERR_PROTOCOL, "flow control error"},
    {NGTCP2_STREAM_LIMIT_ERROR, TBQ_ERR_PROTOCOL, "stream limit error"},
    {NGTCP2_STREAM_STATE_ERROR, TBQ_ERR_PROTOCOL, "stream state error"},
    {NGTCP2_FINAL_SIZE_ERROR, TBQ_ERR_PROTOCOL, "final size error"},
    {NGTCP2_FRAME_ENCODING_ERROR, TBQ_ERR_PROTOCOL, "frame encoding error"},
    {NGTCP2_TRANSPORT_PARAMETER_ERROR, TBQ_ERR_PROTOCOL, "transport parameter error"},
    {NGTCP2_CONNECTION_ID_LIMIT_ERROR, TBQ_ERR_PROTOCOL, "connection id limit error"},
    {NGTCP2_PROTOCOL_VIOLATION, TBQ_ERR_PROTOCOL, "protocol violation"},
    {NGTCP2_INVALID_TOKEN, TBQ_ERR_PROTOCOL, "invalid token"},
    {NGTCP2_APPLICATION_ERROR, TBQ_ERR_PROTOCOL,
     "application error before the handshake was complete"},
    {NGTCP2_CRYPTO_BUFFER_EXCEEDED, TBQ_ERR_PROTOCOL, "crypto buffer exceeded"},
    {NGTCP2_KEY_UPDATE_ERROR, TBQ_ERR_PROTOCOL, "key update error"},
    {NGTCP2_AEAD_LIMIT_REACHED, TBQ_ERR_PROTOCOL, "the keys were used up"},
    {NGTCP2_NO_VIABLE_PATH, TBQ_ERR_PROTOCOL, "no viable path"},
    {0x7777, TBQ_ERR_PROTOCOL, "transport error"},
};

START_TEST(every_transport_error_has_its_words)
{
    char text[TBI_CLOSE_TEXT_SIZE], expected[TBI_CLOSE_TEXT_SIZE];
    ngtcp2_ccerr e = {.error_code = table[_i].code};

    ck_assert_int_eq(tbi_ccerr_text(&e, false, text, sizeof text), table[_i].reason);
    snprintf(expected, sizeof expected, "%s, by this side", table[_i].text);
    ck_assert_str_eq(text, expected);
    ck_assert_int_eq(tbi_ccerr_text(&e, true, text, sizeof text), table[_i].reason);
    snprintf(expected, sizeof expected, "%s, by the peer", table[_i].text);
    ck_assert_str_eq(text, expected);
    e.reason = (const uint8_t *)"too much";
    e.reasonlen = 8;
    tbi_ccerr_text(&e, true, text, sizeof text);
    snprintf(expected, sizeof expected, "%s (too much)", table[_i].text);
    ck_assert_str_eq(text, expected);
}
END_TEST

START_TEST(tls_alerts_are_named)
{
    char text[TBI_CLOSE_TEXT_SIZE];
    ngtcp2_ccerr e = {.error_code = NGTCP2_CRYPTO_ERROR + 120};

    ck_assert_int_eq(tbi_ccerr_text(&e, true, text, sizeof text), TBQ_ERR_TLS);
    ck_assert_str_eq(text, "no application protocol in common: the peer refused (TLS alert 120)");
    e.error_code = NGTCP2_CRYPTO_ERROR + 42;
    ck_assert_int_eq(tbi_ccerr_text(&e, false, text, sizeof text), TBQ_ERR_TLS);
    ck_assert_ptr_nonnull(strstr(text, "this side refused the TLS handshake: "));
    ck_assert_ptr_nonnull(strstr(text, "(alert 42)"));
    e.error_code = NGTCP2_CRYPTO_ERROR + 0xee;
    ck_assert_int_eq(tbi_ccerr_text(&e, true, text, sizeof text), TBQ_ERR_TLS);
    ck_assert_str_eq(text, "the peer refused the TLS handshake: unknown alert (alert 238)");
}
END_TEST

/* --- An outgoing stream ----------------------------------------------------------------------- */

static struct tbi_failing_alloc memory;
static struct tbi_ostream *stream;

static void begin(void)
{
    tbi_failing_init(&memory, 0);
    stream = tbi_ostream_new(&memory.alloc, 3, 1);
    ck_assert_ptr_nonnull(stream);
}

static void end(void)
{
    tbi_ostream_free(stream);
    ck_assert_uint_eq(memory.live, 0);
}

static int push_on(struct tbi_ostream *o, const char *head, struct tbi_block *body)
{
    struct tbi_headed what = {
        .head = (const uint8_t *)head, .head_size = strlen(head), .body = body};
    return tbi_ostream_push(o, &what);
}

static void push(const char *text)
{
    ck_assert_int_eq(push_on(stream, text, NULL), 0);
}

/* What would go out next, in at most `max` pieces, and no more of them than have so many bytes. */
static void next_of(size_t max, size_t bytes, const char *text, bool is_all)
{
    ngtcp2_vec vec[8];
    char got[64] = "";
    bool all;
    size_t n = tbi_ostream_gather(stream, vec, max, bytes, &all), size = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(got + size, vec[i].base, vec[i].len);
        size += vec[i].len;
    }
    got[size] = '\0';
    ck_assert_str_eq(got, text);
    ck_assert(all == is_all);
}

static void next_is(size_t max, const char *text, bool is_all)
{
    next_of(max, SIZE_MAX, text, is_all);
}

START_TEST(pieces_are_gathered_from_where_sending_stopped)
{
    push("one");
    push("two");
    push("three");
    next_is(8, "onetwothree", true);
    next_is(2, "onetwo", false);
    next_of(8, 4, "onetwo", false); /* as many as a packet takes */
    next_of(8, 3, "one", false);
    next_of(8, 7, "onetwothree", true);
    tbi_ostream_sent(stream, 4);
    next_is(8, "wothree", true);
    next_is(1, "wo", false);
    tbi_ostream_sent(stream, 2);
    next_is(8, "three", true);
    ck_assert_uint_eq(stream->unsent, 5);
    tbi_ostream_sent(stream, 5);
    next_is(8, "", true);
    ck_assert_uint_eq(stream->unsent, 0);
    push("more");
    next_is(8, "more", true);
}
END_TEST

START_TEST(bytes_are_kept_until_they_are_acknowledged)
{
    push("one");
    push("two");
    size_t live = memory.live;
    tbi_ostream_sent(stream, 5);
    ck_assert_uint_eq(memory.live, live);
    tbi_ostream_acked(stream, 0, 2); /* a part of a piece */
    ck_assert_uint_eq(memory.live, live);
    tbi_ostream_acked(stream, 2, 1);
    ck_assert_uint_lt(memory.live, live);
    live = memory.live;
    next_is(8, "o", true);
    tbi_ostream_sent(stream, 1);
    tbi_ostream_acked(stream, 3, 3);
    ck_assert_uint_lt(memory.live, live);
    ck_assert_uint_eq(stream->count, 0);
}
END_TEST

START_TEST(a_long_life_does_not_grow_it)
{
    push("x");
    for (uint64_t i = 0; i < 10000; i++) {
        push("yz");
        tbi_ostream_sent(stream, 2);
        tbi_ostream_acked(stream, 2 * i, 2);
        ck_assert_uint_le(stream->count, 3);
    }
    ck_assert_uint_le(stream->capacity, 64);
}
END_TEST

START_TEST(a_body_is_shared_not_copied)
{
    struct tbi_block *body = tbi_block_copy(&memory.alloc, "body", 4);
    struct tbi_block *empty = tbi_block_new(&memory.alloc, 4);
    ck_assert_int_eq(push_on(stream, "head", body), 0);
    ck_assert_int_eq(push_on(stream, "", empty), 0); /* nothing to send */
    ck_assert_uint_eq(body->refs, 2);
    ck_assert_uint_eq(empty->refs, 1);
    next_is(8, "headbody", true);
    tbi_ostream_sent(stream, 8);
    tbi_ostream_acked(stream, 0, 8);
    ck_assert_uint_eq(body->refs, 1);
    tbi_block_unref(body);
    tbi_block_unref(empty);
}
END_TEST

static void pushes(const struct tbi_alloc *a, void *arg)
{
    struct tbi_ostream *o = tbi_ostream_new(a, 3, 1);
    (void)arg;
    for (size_t i = 0; o != NULL && i < 40; i++) {
        size_t before = o->unsent;
        int rv = push_on(o, "head", NULL);
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
        ck_assert_uint_eq(o->unsent, before + (rv == 0 ? 4 : 0)); /* all or nothing */
    }
    if (o != NULL) {
        tbi_ostream_free(o);
    }
}

START_TEST(memory_runs_out)
{
    tbi_walk_allocations(pushes, NULL);
}
END_TEST

/* --- What a ClientHello asks for -------------------------------------------------------------- */

struct hello {
    uint8_t bytes[300];
    struct tbi_writer w;
};

static void extension(struct hello *h, uint16_t type, const void *body, size_t size)
{
    tbi_put_u16(&h->w, type);
    tbi_put_u16(&h->w, (uint16_t)size);
    tbi_put_bytes(&h->w, body, size);
}

static void put_length(uint8_t *at, size_t size)
{
    at[0] = (uint8_t)(size >> 8);
    at[1] = (uint8_t)size;
}

/* A ClientHello with so many tickets; 0: without the extension. */
static gnutls_datum_t make_hello(struct hello *h, bool early, size_t tickets)
{
    static const uint8_t zeroes[40];
    static const uint8_t one[] = {0, 6, 't', 'i', 'c', 'k', 'e', 't', 1, 2, 3, 4};
    uint8_t psk[100];
    size_t size = 2;

    tbi_put_init(&h->w, h->bytes, sizeof h->bytes);
    tbi_put_bytes(&h->w, zeroes, 34);
    tbi_put_u8(&h->w, 3);
    tbi_put_bytes(&h->w, "abc", 3);
    tbi_put_u16(&h->w, 2);
    tbi_put_u16(&h->w, 0x1301);
    tbi_put_u8(&h->w, 1);
    tbi_put_u8(&h->w, 0);
    uint8_t *length = h->w.at;
    tbi_put_u16(&h->w, 0);
    extension(h, 7, zeroes, 9);
    if (early) {
        extension(h, 42, NULL, 0);
    }
    for (size_t i = 0; i < tickets; i++, size += sizeof one) {
        memcpy(psk + size, one, sizeof one);
    }
    put_length(psk, size - 2);
    memcpy(psk + size, "\0\3bin", 5); /* the binders */
    if (tickets > 0) {
        extension(h, 41, psk, size + 5);
    }
    put_length(length, (size_t)(h->w.at - length) - 2);
    return (gnutls_datum_t){.data = h->bytes, .size = (unsigned)tbi_put_size(&h->w)};
}

START_TEST(what_a_connection_has_lost_is_freed_with_it)
{
    struct tbi_account a;

    tbi_failing_init(&memory, 0);
    tbi_account_init(&a, &memory.alloc, 10000);
    void *kept = a.mem.malloc(100, a.mem.user_data), *lost = a.mem.calloc(3, 50, a.mem.user_data);
    a.reading = true;
    lost = a.mem.realloc(lost, 700, a.mem.user_data);
    ck_assert(kept != NULL && lost != NULL && a.held > 700);
    a.mem.free(kept, a.mem.user_data);
    tbi_account_close(&a);
    ck_assert_uint_eq(memory.live, 0);
}
END_TEST

START_TEST(a_hello_asks_for_early_data_with_one_ticket)
{
    struct hello h;
    struct tbi_cursor ticket;
    gnutls_datum_t m = make_hello(&h, true, 1);
    ck_assert(tbi_early_asked(&m, &ticket));
    ck_assert_uint_eq(tbi_cur_left(&ticket), 6);
    ck_assert_mem_eq(ticket.at, "ticket", 6);
    m = make_hello(&h, false, 1);
    ck_assert(!tbi_early_asked(&m, &ticket));
    m = make_hello(&h, true, 0);
    ck_assert(tbi_early_asked(&m, &ticket));
    ck_assert_uint_eq(tbi_cur_left(&ticket), 0);
    m = make_hello(&h, true, 2); /* which of them is meant is not ours to find out */
    ck_assert(tbi_early_asked(&m, &ticket));
    ck_assert_uint_eq(tbi_cur_left(&ticket), 0);
}
END_TEST

START_TEST(a_hello_that_is_cut_has_no_ticket)
{
    struct hello h;
    struct tbi_cursor ticket;
    gnutls_datum_t whole = make_hello(&h, true, 1);
    for (unsigned size = 0; size < whole.size; size++) {
        uint8_t *cut = malloc(size + 1); /* so that a checker sees what is read behind it */
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, h.bytes, size);
        gnutls_datum_t m = {.data = cut, .size = size};
        (void)tbi_early_asked(&m, &ticket);
        ck_assert_uint_eq(tbi_cur_left(&ticket), 0);
        free(cut);
    }
}
END_TEST

/* --- Tickets that may bring early data -------------------------------------------------------- */

#define HOLDERS 8U

static struct tbi_replay replay;

static void begin_replay(void)
{
    static const uint8_t secret[16];
    tbi_failing_init(&memory, 0);
    tbi_replay_init(&replay, &memory.alloc, secret, HOLDERS);
}

static void end_replay(void)
{
    tbi_replay_free(&replay);
    ck_assert_uint_eq(memory.live, 0);
}

static const uint8_t *number(uint8_t n) /* as a key or a hash */
{
    static uint8_t bytes[256][32];
    bytes[n][0] = bytes[n][31] = n;
    return bytes[n];
}

static void issue(uint64_t at, uint8_t who, uint8_t ticket)
{
    ck_assert_int_eq(tbi_replay_issued(&replay, at, number(who), number(ticket)), 0);
}

static void take_is(uint64_t at, uint8_t ticket, enum tbi_replay_answer answer)
{
    ck_assert_int_eq(tbi_replay_take(&replay, at, number(ticket)), answer);
}

START_TEST(a_ticket_is_taken_once)
{
    issue(1000, 1, 100);
    issue(2000, 1, 101);
    take_is(3000, 100, TBI_REPLAY_FIRST);
    take_is(4000, 100, TBI_REPLAY_AGAIN);
    take_is(4000, 101, TBI_REPLAY_FIRST);
    take_is(4000, 102, TBI_REPLAY_UNKNOWN);
    take_is(3000 + TBI_EARLY_TICKET_NS, 100, TBI_REPLAY_AGAIN);
}
END_TEST

START_TEST(a_ticket_has_its_time)
{
    issue(1000, 1, 100);
    issue(1000, 2, 101);
    take_is(1000 + TBI_EARLY_TICKET_NS, 100, TBI_REPLAY_FIRST);
    take_is(1001 + TBI_EARLY_TICKET_NS, 101, TBI_REPLAY_UNKNOWN);
}
END_TEST

/* Of one peer the newest count, however many it gets, and it displaces nobody else's. */
START_TEST(one_peer_holds_few)
{
    issue(500, 2, 1);
    for (uint8_t i = 100; i < 200; i++) {
        issue(1000 + i, 1, i);
    }
    size_t live = memory.live;
    issue(2000, 1, 200);
    ck_assert_uint_eq(memory.live, live);
    take_is(3000, 200 - TBI_EARLY_TICKETS, TBI_REPLAY_UNKNOWN);
    take_is(3000, 200 - TBI_EARLY_TICKETS + 1, TBI_REPLAY_FIRST);
    take_is(3000, 200, TBI_REPLAY_FIRST);
    take_is(3000, 1, TBI_REPLAY_FIRST);
}
END_TEST

START_TEST(the_longest_silent_peer_makes_room)
{
    for (uint8_t i = 0; i < HOLDERS; i++) {
        issue(1000 + i, i, 100 + i);
    }
    issue(2000, 0, 150); /* the first is the newest now */
    issue(3000, 50, 160);
    take_is(4000, 101, TBI_REPLAY_UNKNOWN);
    take_is(4000, 100, TBI_REPLAY_FIRST);
    take_is(4000, 150, TBI_REPLAY_FIRST);
    take_is(4000, 102, TBI_REPLAY_FIRST);
    take_is(4000, 160, TBI_REPLAY_FIRST);
    ck_assert_uint_eq(tbi_map_count(&replay.holders), HOLDERS);
}
END_TEST

START_TEST(what_is_too_old_is_not_kept)
{
    for (uint8_t i = 0; i < HOLDERS; i++) {
        issue(1000, i, 100 + i);
    }
    issue(1001 + TBI_EARLY_TICKET_NS, 50, 160);
    ck_assert_uint_eq(tbi_map_count(&replay.holders), 1);
    ck_assert_uint_eq(tbi_map_count(&replay.tickets), 1);
}
END_TEST

static void issues(const struct tbi_alloc *a, void *arg)
{
    static const uint8_t secret[16];
    struct tbi_replay r;
    (void)arg;
    tbi_replay_init(&r, a, secret, HOLDERS);
    for (uint8_t i = 0; i < 40; i++) {
        int rv = tbi_replay_issued(&r, 1000, number(i % 12), number(100 + i));
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
        enum tbi_replay_answer answer = tbi_replay_take(&r, 1000, number(100 + i));
        ck_assert_int_eq(answer, rv == 0 ? TBI_REPLAY_FIRST : TBI_REPLAY_UNKNOWN);
    }
    tbi_replay_free(&r);
}

START_TEST(memory_runs_out_for_tickets)
{
    tbi_walk_allocations(issues, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("quic_parts");
    TCase *texts = tcase_create("texts");
    tcase_add_loop_test(texts, every_transport_error_has_its_words, 0,
                        (int)(sizeof table / sizeof table[0]));
    tcase_add_test(texts, tls_alerts_are_named);
    suite_add_tcase(suite, texts);
    TCase *streams = tcase_create("streams");
    tcase_add_checked_fixture(streams, begin, end);
    tcase_add_test(streams, pieces_are_gathered_from_where_sending_stopped);
    tcase_add_test(streams, bytes_are_kept_until_they_are_acknowledged);
    tcase_add_test(streams, a_long_life_does_not_grow_it);
    tcase_add_test(streams, a_body_is_shared_not_copied);
    tcase_add_test(streams, memory_runs_out);
    suite_add_tcase(suite, streams);
    TCase *tickets = tcase_create("tickets");
    tcase_add_checked_fixture(tickets, begin_replay, end_replay);
    tcase_add_test(tickets, a_ticket_is_taken_once);
    tcase_add_test(tickets, a_ticket_has_its_time);
    tcase_add_test(tickets, one_peer_holds_few);
    tcase_add_test(tickets, the_longest_silent_peer_makes_room);
    tcase_add_test(tickets, what_is_too_old_is_not_kept);
    tcase_add_test(tickets, memory_runs_out_for_tickets);
    suite_add_tcase(suite, tickets);
    TCase *hellos = tcase_create("hellos");
    tcase_add_test(hellos, what_a_connection_has_lost_is_freed_with_it);
    tcase_add_test(hellos, a_hello_asks_for_early_data_with_one_ticket);
    tcase_add_test(hellos, a_hello_that_is_cut_has_no_ticket);
    suite_add_tcase(suite, hellos);
    return tbi_test_main(suite);
}
