/* tests/unit/test_node_hostile.c - lib/node/session.c against a peer that speaks QUIC and TLS
 * properly and everything above as it likes: what is refused, with which close code, and what is
 * forgiven (docs/protocol.md, sections 3 and 5). */
#include <stdio.h>
#include <string.h>

#include "node/node.h"
#include "quic_pair.h"
#include "wire/frame.h"

static struct quic_pair p; /* A: the peer, B: an identity and an address for the node */
static struct tbi_trust trust;
static struct tbi_node *node;
static size_t told[TBQ_EVENT_RELEASED + 1];
static char last_words[256]; /* of the latest DISCONNECTED */
static int64_t control;
static struct tbi_quic_sink usual; /* of the peer */
static uint8_t heard[2048];        /* what the node said on its control stream */
static size_t heard_size;

static void hear(void *user, struct tbi_conn *conn, int64_t stream, const uint8_t *data,
                 size_t size, bool fin)
{
    usual.stream_data(user, conn, stream, data, size, fin);
    if (stream == p.a.order[0] && size <= sizeof heard - heard_size) {
        memcpy(heard + heard_size, data, size);
        heard_size += size;
    }
}

static bool node_said(const char *bytes, size_t size)
{
    return memmem(heard, heard_size, bytes, size) != NULL;
}

static void begin(void)
{
    struct tbi_node_config config = {.log = &p.log, .trust = &trust};

    quic_init(&p);
    p.a.config.max_connections = 8;
    usual = p.a.config.sink;
    p.a.config.sink.stream_data = hear;
    heard_size = 0;
    ck_assert_int_eq(quic_start(&p.a), 0);
    tbi_trust_init(&trust, &p.steady, &p.rng);
    memset(told, 0, sizeof told);
    config.alloc = &p.b.memory.alloc;
    config.identity = p.b.identity;
    config.local = p.b.addr;
    tbq_config_init(&config.settings);
    config.settings.receive_window = 2 * (size_t)config.settings.max_message_size + 65536;
    ck_assert_int_eq(tbi_node_new(&node, &config, p.now), 0);
}

static void end(void)
{
    tbi_node_free(node);
    tbi_trust_free(&trust);
    quic_free(&p);
}

/* --- The network ------------------------------------------------------------------------------ */

static bool to_node(void)
{
    bool any = false;
    struct tbi_send_batch out = {.data = p.a.last, .capacity = sizeof p.a.last};
    while (tbi_endpoint_send(p.a.ep, p.now, &out) == 1) {
        struct tbi_datagram d = {.local = p.b.addr,
                                 .remote = p.a.addr,
                                 .data = out.data,
                                 .size = out.size,
                                 .segment_size = out.segment_size};
        tbi_node_recv(node, p.now, &d, 1);
        any = true;
    }
    return any;
}

static bool from_node(void)
{
    bool any = false;
    struct tbi_send_batch out = {.data = p.b.last, .capacity = sizeof p.b.last};
    while (tbi_node_send(node, p.now, &out) == 1) {
        struct tbi_datagram d = {.local = p.a.addr,
                                 .remote = p.b.addr,
                                 .data = out.data,
                                 .size = out.size,
                                 .segment_size = out.segment_size};
        tbi_endpoint_recv(p.a.ep, p.now, &d, 1);
        any = true;
    }
    return any;
}

static void run(uint64_t ms)
{
    uint64_t until = p.now.mono_ns + ms * TBI_NS_PER_MS;
    for (;;) {
        tbq_event *e;
        bool busy = to_node();
        busy = from_node() || busy;
        quic_actions(&p.a);
        while ((e = tbi_node_next_event(node)) != NULL) {
            told[e->type]++;
            if (e->type == TBQ_EVENT_DISCONNECTED) {
                snprintf(last_words, sizeof last_words, "%s", e->text);
            }
            tbi_node_event_release(e);
        }
        if (busy) {
            continue;
        }
        uint64_t at = tbi_node_deadline(node), other = tbi_endpoint_deadline(p.a.ep);
        at = other < at ? other : at;
        if (at > until) {
            break;
        }
        p.now.mono_ns = at > p.now.mono_ns ? at : p.now.mono_ns + 1000;
        tbi_endpoint_tick(p.a.ep, p.now);
        tbi_node_step(node, p.now);
    }
    p.now.mono_ns = until;
}

/* --- What the peer says ----------------------------------------------------------------------- */

static void say(int64_t stream, const void *data, size_t size, bool fin)
{
    ck_assert_int_eq(tbi_conn_write(quic_conn(&p.a), stream, data, size, NULL, fin), 0);
}

static int64_t open_with(const void *data, size_t size, bool fin)
{
    int64_t stream;
    ck_assert_int_eq(tbi_conn_open_uni(quic_conn(&p.a), 0, &stream), 0);
    say(stream, data, size, fin);
    return stream;
}

static void dial(void)
{
    p.a.count[TBI_QUIC_CLOSED] = 0;
    ck_assert_int_eq(quic_dial(&p), 0);
    run(10);
    ck_assert_ptr_nonnull(quic_conn(&p.a));
    control = open_with("\x00", 1, false);
}

static void say_hello(uint8_t boot)
{
    uint8_t bytes[200];
    struct tbi_writer w;
    struct tbi_hello hello = {.max_message_size = 1 << 20, .idle_timeout_ms = 60000};
    memset(hello.boot_id, boot, sizeof hello.boot_id);
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_hello(&w, &hello);
    ck_assert_int_eq(tbi_put_error(&w), 0);
    say(control, bytes, tbi_put_size(&w), false);
}

static void say_confirm(void)
{
    uint8_t bytes[200];
    struct tbi_writer w;
    struct tbi_confirm confirm = {.incarnation = 1};
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_confirm(&w, &confirm);
    ck_assert_int_eq(tbi_put_error(&w), 0);
    say(control, bytes, tbi_put_size(&w), false);
}

static void come_up(uint8_t boot)
{
    size_t before = told[TBQ_EVENT_CONNECTED];
    dial();
    say_hello(boot);
    say_confirm();
    run(10);
    ck_assert_uint_eq(told[TBQ_EVENT_CONNECTED], before + 1);
}

static void closed_with(uint64_t code)
{
    run(100);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 1);
    ck_assert_int_eq(p.a.closed.closed.who, TBI_CLOSED_APPLICATION);
    ck_assert_msg(p.a.closed.closed.app_code == code, "closed with %llu, not %llu: %s",
                  (unsigned long long)p.a.closed.closed.app_code, (unsigned long long)code,
                  p.a.closed.closed.text);
}

static void still_open(void)
{
    run(100);
    ck_assert_msg(p.a.count[TBI_QUIC_CLOSED] == 0, "closed: %s", p.a.closed.closed.text);
}

/* --- Hello and Confirm ------------------------------------------------------------------------ */

START_TEST(a_hello_that_never_comes)
{
    dial();
    run(4900);
    ck_assert_uint_eq(p.a.count[TBI_QUIC_CLOSED], 0);
    run(200);
    closed_with(TBI_CLOSE_TIMEOUT);
}
END_TEST

START_TEST(a_confirm_that_never_comes)
{
    dial();
    say_hello(1);
    run(5100);
    closed_with(TBI_CLOSE_TIMEOUT);
    ck_assert_uint_eq(told[TBQ_EVENT_CONNECTED], 0);
}
END_TEST

START_TEST(a_second_hello)
{
    dial();
    say_hello(1);
    say_hello(1);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_confirm_before_hello)
{
    dial();
    say_confirm();
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(busy_behind_hello)
{
    dial();
    say_hello(1);
    if (_i == 1) {
        say_confirm();
    }
    say(control, "\x0c\x01\x00", 3, false);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_second_confirm)
{
    come_up(1);
    say_confirm();
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_hello_that_is_none)
{
    dial();
    say(control, "\x00\x01\x00", 3, false);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_confirm_that_is_none)
{
    dial();
    say_hello(1);
    say(control, "\x02\x01\x00", 3, false);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_frame_before_confirm)
{
    dial();
    say_hello(1);
    say(control, "\x04\x00", 2, false);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(an_optional_frame_at_any_time_after_hello)
{
    dial();
    say_hello(1);
    say(control, "\x3f\x03xyz", 5, false);
    say_confirm();
    say(control, "\x3f\x00", 2, false);
    still_open();
    ck_assert_uint_eq(told[TBQ_EVENT_CONNECTED], 1);
}
END_TEST

/* It may not rest while the node waits for an acknowledgement, however often it is asked. */
START_TEST(rest_while_something_is_open)
{
    tbq_stats stats = {0};
    come_up(1);
    for (int i = 0; i < 1000; i++) {
        say(control, "\x0d\x00", 2, false);
    }
    still_open();
    tbi_node_stats(node, &stats);
    ck_assert_uint_eq(stats.rests_ignored, 996);
    say(control, "\x0d\x02\x01\x00", 4, false); /* with an optional field */
    still_open();
    say(control, "\x0d\x02\x00\x00", 4, false);
    closed_with(TBI_CLOSE_VERSION);
}
END_TEST

START_TEST(a_rest_that_is_none)
{
    come_up(1);
    say(control, "\x0d\x01\x01", 3, false);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(rest_before_confirm)
{
    dial();
    say_hello(1);
    say(control, "\x0d\x00", 2, false);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_mandatory_frame_that_is_unknown)
{
    come_up(1);
    say(control, "\x3e\x00", 2, false);
    closed_with(TBI_CLOSE_VERSION);
}
END_TEST

START_TEST(a_control_frame_of_the_largest_size_byte_by_byte)
{
    static const uint8_t head[] = {0x3f, 0x50, 0x00}; /* 4,096 bytes */
    uint8_t body[4096] = {0};
    come_up(1);
    say(control, head, 1, false);
    run(1);
    say(control, head + 1, 2, false);
    run(1);
    say(control, body, 4000, false);
    run(1);
    say(control, body, 96, false);
    still_open();
}
END_TEST

START_TEST(a_control_frame_that_is_too_long)
{
    static const uint8_t head[] = {0x3f, 0x50, 0x01}; /* 4,097 bytes, optional or not */
    come_up(1);
    say(control, head, sizeof head, false);
    closed_with(TBI_CLOSE_LIMIT);
}
END_TEST

START_TEST(a_frame_that_cannot_be)
{
    static const uint8_t head[] = {0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    come_up(1);
    say(control, head, sizeof head, false);
    closed_with(TBI_CLOSE_LIMIT);
}
END_TEST

/* --- Streams ---------------------------------------------------------------------------------- */

START_TEST(a_second_control_stream)
{
    come_up(1);
    open_with("\x00", 1, false);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_second_stream_of_a_lane)
{
    come_up(1);
    open_with("\x14", 1, false);
    still_open();
    open_with("\x12", 1, false);
    still_open();
    open_with("\x14", 1, false);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(the_control_stream_ends)
{
    come_up(1);
    say(control, NULL, 0, true);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_lane_stream_ends)
{
    come_up(1);
    open_with("\x14", 1, true);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

START_TEST(a_stream_of_an_unknown_mandatory_type)
{
    come_up(1);
    open_with("\x3e", 1, false);
    closed_with(TBI_CLOSE_VERSION);
}
END_TEST

START_TEST(a_stream_that_ends_within_its_type)
{
    come_up(1);
    open_with("\x40", 1, true);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

/* Streams of an optional type are ignored, as many as one likes, ended or not: each gives its place
 * back. */
static void ignored_streams(bool fin)
{
    come_up(1);
    for (size_t i = 0; i < 3 * TBI_UNI_STREAMS_MAX; i++) {
        int64_t stream;
        int rv = tbi_conn_open_uni(quic_conn(&p.a), 0, &stream);
        ck_assert_msg(rv == 0, "stream %zu: %s", i, tbq_strerror(rv));
        (void)tbi_conn_write(quic_conn(&p.a), stream, (const uint8_t *)"\x3f and more", 10, NULL,
                             fin);
        run(1);
    }
    still_open();
}

START_TEST(streams_of_an_optional_type_that_end)
{
    ignored_streams(true);
}
END_TEST

START_TEST(streams_of_an_optional_type_that_go_on)
{
    ignored_streams(false);
}
END_TEST

START_TEST(lane_bytes_before_confirm_are_kept)
{
    static const uint8_t message[] = {0x14, 0x01, 0x05, 0x00, 0x00, 0x06, 'h', 'i'};
    dial();
    say_hello(1);
    open_with(message, sizeof message, false);
    run(10);
    ck_assert_uint_eq(told[TBQ_EVENT_MESSAGE], 0);
    say_confirm();
    still_open();
}
END_TEST

START_TEST(too_many_lane_bytes_before_confirm)
{
    static const uint8_t bytes[16385] = {0x14};
    dial();
    int64_t lane = open_with(bytes, 16385, false); /* 16,384 behind the type */
    still_open();
    say(lane, bytes, 1, false);
    closed_with(TBI_CLOSE_LIMIT);
}
END_TEST

/* A PING with a field that must be understood and is not: as if nobody knew the kind. */
START_TEST(a_mandatory_field_that_is_unknown)
{
    uint8_t ping[] = {0x14, 0x20, 0x0e, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
    come_up(1);
    ping[4] = _i == 0 ? 0 : TBI_MESSAGE_SKIPPABLE;
    open_with(ping, sizeof ping, false);
    still_open();
    ck_assert_int_eq(node_said("\x08\x04\x02\x01\x00\x02", 6), _i == 0); /* UNKNOWN_KIND */
    ck_assert(node_said("\x04\x05\x02\x01\x00\x01\x00", 7)); /* ACK: both sets have it */
}
END_TEST

/* The node's own streams are asked to end: the first it opened is its control stream, and its PONG
 * opens lane 2. Only an unordered one may be stopped. */
START_TEST(own_streams_that_the_peer_stops)
{
    static const uint8_t ping[] = {0x14, 0x20, 0x0c, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0};
    come_up(1);
    open_with(ping, sizeof ping, false);
    run(50);
    tbi_conn_stop_sending(quic_conn(&p.a), p.a.order[_i == 0 ? 0 : p.a.seen - 1], 0);
    closed_with(TBI_CLOSE_PROTOCOL);
}
END_TEST

/* --- Two connections -------------------------------------------------------------------------- */

START_TEST(the_same_process_twice)
{
    come_up(1);
    uint64_t first = p.a.conn;
    dial();
    say_hello(1);
    say_confirm();
    closed_with(TBI_CLOSE_REPLACED);
    ck_assert_uint_eq(p.a.closed.conn, first);
    ck_assert_uint_eq(told[TBQ_EVENT_CONNECTED], 2);
    ck_assert_uint_eq(told[TBQ_EVENT_WARNING], 0);
}
END_TEST

START_TEST(two_processes_of_one_key)
{
    come_up(1);
    come_up(2);
    still_open();
    ck_assert_uint_eq(told[TBQ_EVENT_WARNING], 1);
    ck_assert_uint_eq(told[TBQ_EVENT_DISCONNECTED], 0);
}
END_TEST

START_TEST(last_words_that_would_be_more_than_one_line)
{
    come_up(1);
    tbi_conn_close(quic_conn(&p.a), p.now, TBI_CLOSE_STOPPED, "bye\nready: tbq://me \x1b[2J");
    run(100);
    ck_assert_uint_eq(told[TBQ_EVENT_DISCONNECTED], 1);
    ck_assert_ptr_nonnull(strstr(last_words, "bye?ready: tbq://me ?[2J"));
    ck_assert_ptr_null(strpbrk(last_words, "\n\x1b"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("node_hostile");
    TCase *tc = tcase_create("sessions");
    tcase_add_checked_fixture(tc, begin, end);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_hello_that_never_comes);
    tcase_add_test(tc, a_confirm_that_never_comes);
    tcase_add_test(tc, a_second_hello);
    tcase_add_test(tc, a_confirm_before_hello);
    tcase_add_loop_test(tc, busy_behind_hello, 0, 2);
    tcase_add_test(tc, a_second_confirm);
    tcase_add_test(tc, a_hello_that_is_none);
    tcase_add_test(tc, a_confirm_that_is_none);
    tcase_add_test(tc, a_frame_before_confirm);
    tcase_add_test(tc, an_optional_frame_at_any_time_after_hello);
    tcase_add_test(tc, rest_while_something_is_open);
    tcase_add_test(tc, a_rest_that_is_none);
    tcase_add_test(tc, rest_before_confirm);
    tcase_add_test(tc, a_mandatory_frame_that_is_unknown);
    tcase_add_test(tc, a_control_frame_of_the_largest_size_byte_by_byte);
    tcase_add_test(tc, a_control_frame_that_is_too_long);
    tcase_add_test(tc, a_frame_that_cannot_be);
    tcase_add_test(tc, a_second_control_stream);
    tcase_add_test(tc, a_second_stream_of_a_lane);
    tcase_add_test(tc, the_control_stream_ends);
    tcase_add_test(tc, a_lane_stream_ends);
    tcase_add_test(tc, a_stream_of_an_unknown_mandatory_type);
    tcase_add_test(tc, a_stream_that_ends_within_its_type);
    tcase_add_test(tc, streams_of_an_optional_type_that_end);
    tcase_add_test(tc, streams_of_an_optional_type_that_go_on);
    tcase_add_test(tc, lane_bytes_before_confirm_are_kept);
    tcase_add_test(tc, too_many_lane_bytes_before_confirm);
    tcase_add_loop_test(tc, a_mandatory_field_that_is_unknown, 0, 2);
    tcase_add_loop_test(tc, own_streams_that_the_peer_stops, 0, 2);
    tcase_add_test(tc, the_same_process_twice);
    tcase_add_test(tc, two_processes_of_one_key);
    tcase_add_test(tc, last_words_that_would_be_more_than_one_line);
    suite_add_tcase(suite, tc);
    return tbi_test_main(suite);
}
