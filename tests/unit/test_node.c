/* tests/unit/test_node.c - lib/node: each command's errors, how long events live, dialling again,
 * requests, peers that are lost or restart, and stopping; two nodes joined in memory. */
#include <string.h>

#include "identity_help.h"
#include "node_pair.h"

static struct pair p;
static const tbq_send_options normal = {.size = sizeof normal, .lane = TBQ_LANE_NORMAL};

static void begin(void)
{
    pair_init(&p);
}

static void end(void)
{
    pair_free(&p);
}

static tbq_bytes bytes(const char *text)
{
    return (tbq_bytes){.data = (const uint8_t *)text, .size = strlen(text)};
}

/* --- The own certificate ---------------------------------------------------------------------- */

#define DAY_MS UINT64_C(86400000)

/* A's key with a certificate of an operator's, for so many days from now on. */
static void certified_for(unsigned days)
{
    char key_pem[TBI_KEY_PEM_SIZE], why[128];
    size_t key_size = 0;
    gnutls_datum_t cert_pem;
    struct tbi_identity *made = NULL;
    time_t now = (time_t)(p.now.wall_ms / 1000);
    gnutls_x509_privkey_t key = key_of(p.a.identity);
    gnutls_x509_crt_t crt = foreign_cert(key, now - 1000, now + (time_t)days * 86400);

    ck_assert_int_eq(tbi_identity_export_key(p.a.identity, key_pem, sizeof key_pem, &key_size), 0);
    ck_assert_int_eq(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &cert_pem), 0);
    ck_assert_int_eq(tbi_identity_from_pem(&made, &p.steady, (tbq_bytes){key_pem, key_size},
                                           bytes_of(&cert_pem), &p.rng, why, sizeof why),
                     0);
    tbi_identity_free(p.a.identity);
    p.a.identity = made;
    gnutls_free(cert_pem.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

START_TEST(the_end_of_a_certificate_is_told_a_month_ahead)
{
    certified_for(40);
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    pair_run(&p, 9 * DAY_MS);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_WARNING], 0);
    pair_run(&p, 2 * DAY_MS);
    ck_assert_uint_ge(p.a.count[TBQ_EVENT_WARNING], 1);
    ck_assert_ptr_nonnull(strstr(p.a.text, "this node's certificate ends in "));
    pair_run(&p, 31 * DAY_MS);
    ck_assert_uint_le(p.a.count[TBQ_EVENT_WARNING], 33); /* once a day */
    ck_assert_ptr_nonnull(strstr(p.a.text, "has ended at "));
}
END_TEST

START_TEST(what_a_node_made_itself_never_ends)
{
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    pair_run(&p, 400 * DAY_MS);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_WARNING], 0);
}
END_TEST

/* --- Commands --------------------------------------------------------------------------------- */

START_TEST(what_connect_refuses)
{
    tbq_connection c;
    struct tbi_target t = {.numeric = true, .addr = p.b.addr, .host = "10.0.0.2"};
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(tbi_node_connect(p.a.node, p.now, &t, false, &c), TBQ_ERR_ADDRESS);
    int rv = 0;
    size_t dials = 0;
    while ((rv = pair_dial(&p, &p.a, &p.b, true, &c)) == 0) {
        ck_assert_uint_lt(++dials, 1000);
    }
    ck_assert_int_eq(rv, TBQ_ERR_LIMIT);
    pair_kill(&p.a);
    p.a.settings.network_mode = TBQ_MODE_SERVER;
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(pair_dial(&p, &p.a, &p.b, false, &c), TBQ_ERR_MODE);
    tbi_node_stop(p.a.node, p.now, 0);
    ck_assert_int_eq(pair_dial(&p, &p.a, &p.b, false, &c), TBQ_ERR_CLOSED);
}
END_TEST

START_TEST(what_sends_refuse)
{
    pair_connect(&p);
    static const tbq_kind unsupported[] = {TBQ_PONG, TBQ_PEER_LIST};
    tbq_connection c = p.a.connection;
    tbq_message m = pair_message("x");
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c + 1000, &m, &normal), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbi_node_send_to(p.a.node, p.now, pair_id(&p.a), &m, &normal),
                     TBQ_ERR_NO_ROUTE);
    for (size_t i = 0; i < 2; i++) {
        m.kind = unsupported[i];
        ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c, &m, &normal), TBQ_ERR_UNSUPPORTED);
    }
    m.kind = (tbq_kind)99;
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c, &m, &normal), TBQ_ERR_INVALID);
    m = (tbq_message){.kind = TBQ_ERROR}; /* code 0 is no error */
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c, &m, &normal), TBQ_ERR_INVALID);
    static uint8_t large[(1 << 20) + 1];
    m = (tbq_message){.kind = TBQ_TRANSITION};
    m.u.transition = (tbq_bytes){large, sizeof large};
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c, &m, &normal), TBQ_ERR_TOO_LARGE);
    tbq_send_options lane = normal;
    lane.lane = (tbq_lane)TBQ_LANES;
    m = pair_message("x");
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c, &m, &lane), TBQ_ERR_INVALID);
    pair_run(&p, 100);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], 0); /* what was not taken has no fate */
    ck_assert_int_eq(tbi_node_close(p.a.node, p.now, c + 1000), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbi_node_pause(p.a.node, pair_id(&p.a), TBQ_LANES_ALL), TBQ_ERR_NO_ROUTE);
    ck_assert_int_eq(tbi_node_resume(p.a.node, pair_id(&p.a), TBQ_LANES_ALL), TBQ_ERR_NO_ROUTE);
}
END_TEST

START_TEST(every_kind_that_can_be_sent_arrives)
{
    pair_connect(&p);
    tbq_message ping = {.kind = TBQ_PING};
    tbq_message error = {.kind = TBQ_ERROR};
    error.u.error.code = TBQ_ERR_BUSY;
    error.u.error.text = bytes("later");
    tbq_message response = {.kind = TBQ_RESOURCE_RESPONSE};
    response.u.response.id = 77; /* nobody asked: taken silently */
    tbq_message request = {.kind = TBQ_RESOURCE_REQUEST};
    tbq_message *all[] = {&ping, &error, &response, &request};
    for (size_t i = 0; i < 4; i++) {
        tbq_send_options o = normal;
        o.tag = i;
        ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, p.a.connection, all[i], &o), 0);
    }
    pair_run(&p, 1000);
    for (size_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(p.a.fates[i], 1);
    }
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_MESSAGE], 1); /* ERROR; a PING is answered by itself */
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_REQUEST], 1);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_MESSAGE], 1); /* the PONG */
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_RESPONSE], 0);
}
END_TEST

/* --- Events ----------------------------------------------------------------------------------- */

static void three_messages_held(void)
{
    p.b.hold = true;
    pair_connect(&p);
    for (uint64_t i = 0; i < 3; i++) {
        ck_assert_int_eq(pair_send(&p, &p.a, &p.b, i), 0);
    }
    pair_run(&p, 100);
    ck_assert_uint_eq(p.b.held_len, 3);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], 0);
}

START_TEST(events_end_in_any_order)
{
    three_messages_held();
    tbi_node_event_release(p.b.held[2]);
    pair_run(&p, 100);
    ck_assert_uint_eq(p.a.fates[2], 1);
    tbi_node_event_refuse(p.b.held[0]);
    pair_run(&p, 100);
    ck_assert_uint_eq(p.a.fates[0], 1);
    ck_assert_int_eq(p.a.fate, TBQ_NOT_DELIVERED);
    ck_assert_uint_eq(p.a.fates[1], 0);
    tbi_node_event_release(p.b.held[1]);
    p.b.held_len = 0;
    pair_run(&p, 100);
    ck_assert_uint_eq(p.a.fates[1], 1);
    ck_assert_int_eq(p.a.fate, TBQ_DELIVERED);
    tbi_node_event_release(NULL);
    tbi_node_event_refuse(NULL);
}
END_TEST

/* One flight of datagrams from one to the other. */
static void flight(struct pair_end *from, struct pair_end *to)
{
    static uint8_t buffer[TBI_DATAGRAM_MAX];
    struct tbi_send_batch out = {.data = buffer, .capacity = sizeof buffer};
    while (tbi_node_send(from->node, p.now, &out) == 1) {
        struct tbi_datagram d = {.local = to->addr,
                                 .remote = from->addr,
                                 .data = buffer,
                                 .size = out.size,
                                 .segment_size = out.segment_size};
        tbi_node_recv(to->node, p.now, &d, 1);
    }
}

/* What a turn reads is what an application can look at while it is in the cache. */
START_TEST(so_many_events_are_enough_for_a_turn)
{
    pair_connect(&p);
    for (int i = 0; i < TBI_TURN_EVENTS - 1; i++) {
        ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 10), 0);
    }
    flight(&p.a, &p.b);
    ck_assert(!tbi_node_has_enough(p.b.node));
    p.now.mono_ns += TBI_NS_PER_MS; /* the pace of what was sent */
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 10), 0);
    flight(&p.a, &p.b);
    ck_assert(tbi_node_has_enough(p.b.node));
    pair_run(&p, 100);
    ck_assert(!tbi_node_has_enough(p.b.node));
}
END_TEST

/* Who was sent nothing, or has acknowledged it, may have nothing else to do. */
START_TEST(a_peer_with_nothing_to_do_is_told_from_one_that_is_busy)
{
    pair_connect(&p);
    pair_run(&p, 1000);
    ck_assert(!tbi_node_is_awaited(p.a.node));
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 0), 0);
    ck_assert(tbi_node_is_awaited(p.a.node));
    flight(&p.a, &p.b);
    ck_assert(!tbi_node_is_awaited(p.a.node));
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0); /* the first one is on its way */
    ck_assert(!tbi_node_is_awaited(p.a.node));
    pair_run(&p, 1000);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 2), 0);
    ck_assert(tbi_node_is_awaited(p.a.node));
}
END_TEST

/* As many as eight answers, and half of what was asked, need not wait for the others. */
START_TEST(half_of_the_answers_is_enough_for_who_waits)
{
    pair_connect(&p);
    pair_run(&p, 1500);
    for (size_t asked = 4; asked <= 40; asked += 12) {
        size_t half = asked / 2 > 8 ? asked / 2 : 8;
        for (size_t i = 0; i < asked; i++) {
            ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 10), 0);
        }
        flight(&p.a, &p.b);
        for (size_t i = 1; i <= asked; i++) {
            tbq_event *e = tbi_node_next_event(p.b.node);
            ck_assert_ptr_nonnull(e);
            tbi_node_event_release(e);
            ck_assert_int_eq(pair_send(&p, &p.b, &p.a, 10), 0);
            ck_assert_msg(tbi_node_has_half(p.b.node) == (i >= half), "%zu of %zu", i, asked);
        }
        pair_run(&p, 1500); /* past what is told after a second */
        ck_assert(!tbi_node_has_half(p.b.node));
    }
}
END_TEST

START_TEST(an_event_outlives_its_connection)
{
    three_messages_held();
    ck_assert_int_eq(tbi_node_close(p.a.node, p.now, p.a.connection), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], 3); /* given up by the close */
    ck_assert_int_eq(p.a.fate, TBQ_UNKNOWN);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_DISCONNECTED], 1);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_DISCONNECTED], 1);
    ck_assert_mem_eq(p.b.held[0]->message->u.transition.data, "hello", 5);
    pair_release(&p.b);
}
END_TEST

/* From the call on, not from the end of the connection on. */
START_TEST(what_was_closed_takes_nothing_more)
{
    tbq_message m = pair_message("late");
    tbq_connection c;

    pair_connect(&p);
    c = p.a.connection;
    ck_assert_int_eq(tbi_node_close(p.a.node, p.now, c), 0);
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c, &m, &normal), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbi_node_close(p.a.node, p.now, c), TBQ_ERR_CLOSED);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_DISCONNECTED], 1);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], 0);
}
END_TEST

START_TEST(events_that_nobody_released_go_with_the_node)
{
    three_messages_held();
    pair_kill(&p.b);
}
END_TEST

START_TEST(a_paused_lane_is_not_handed_out)
{
    pair_connect(&p);
    ck_assert_int_eq(tbi_node_pause(p.b.node, pair_id(&p.a), TBQ_LANE_BIT(TBQ_LANE_NORMAL)), 0);
    tbq_message m = pair_message("high");
    tbq_send_options high = {.size = sizeof high, .lane = TBQ_LANE_HIGH, .tag = 9};
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 2), 0);
    ck_assert_int_eq(tbi_node_send_to(p.a.node, p.now, pair_id(&p.b), &m, &high), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_MESSAGE], 1);
    ck_assert_uint_eq(p.a.fates[9], 1);
    ck_assert_int_eq(tbi_node_resume(p.b.node, pair_id(&p.a), TBQ_LANES_ALL), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_MESSAGE], 3);
    ck_assert_uint_eq(p.a.fates[1] + p.a.fates[2], 2);
}
END_TEST

START_TEST(a_pause_outlives_the_peers_process)
{
    pair_connect(&p);
    ck_assert_int_eq(tbi_node_pause(p.b.node, pair_id(&p.a), TBQ_LANES_ALL), 0);
    pair_kill(&p.a);
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(pair_dial(&p, &p.a, &p.b, false, NULL), 0);
    pair_run(&p, 1000);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_MESSAGE], 0);
    ck_assert_int_eq(tbi_node_resume(p.b.node, pair_id(&p.a), TBQ_LANES_ALL), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_MESSAGE], 1);
    ck_assert_uint_eq(p.a.fates[1], 1);
}
END_TEST

/* --- Dialling --------------------------------------------------------------------------------- */

START_TEST(a_dial_that_nobody_answers_fails_in_time)
{
    tbq_connection c;
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(pair_dial(&p, &p.a, &p.b, false, &c), 0);
    tbq_message m = pair_message("wait");
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c, &m, &normal), 0);
    pair_run(&p, 4900);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECT_FAILED], 0);
    pair_run(&p, 200);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECT_FAILED], 1);
    ck_assert_int_eq(p.a.reason, TBQ_ERR_TIMEOUT);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], 1);
    ck_assert_int_eq(p.a.fate, TBQ_NOT_DELIVERED);
    ck_assert_int_eq(tbi_node_send_on(p.a.node, p.now, c, &m, &normal), TBQ_ERR_CLOSED);
    pair_run(&p, 60000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECT_FAILED], 1);
}
END_TEST

START_TEST(a_persistent_dial_comes_back)
{
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(pair_dial(&p, &p.a, &p.b, true, NULL), 0);
    pair_run(&p, 600000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECT_FAILED], 0);
    ck_assert_int_eq(pair_start(&p, &p.b), 0);
    pair_run(&p, 36000); /* 30 s of backoff at most, and a dial */
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECTED], 1);
}
END_TEST

static bool lookup(struct tbi_lookup *l)
{
    struct tbi_target t = {.port = 8443, .host = "b.example"};
    tbq_connection c;
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(tbi_node_connect(p.a.node, p.now, &t, false, &c), 0);
    bool asked = tbi_node_next_lookup(p.a.node, l);
    ck_assert_str_eq(l->host, "b.example");
    ck_assert_uint_eq(l->contact, c);
    return asked && !tbi_node_next_lookup(p.a.node, l);
}

START_TEST(a_name_is_asked_for_once_and_dialled)
{
    struct tbi_lookup l;
    struct tbi_addr addrs[20];
    ck_assert(lookup(&l));
    ck_assert_int_eq(pair_start(&p, &p.b), 0);
    for (size_t i = 0; i < 20; i++) {
        addrs[i] = p.a.addr; /* more than are kept; the first that answers counts */
    }
    addrs[0] = p.b.addr;
    tbi_node_resolved(p.a.node, p.now, l.contact, addrs, 20, NULL);
    pair_run(&p, 100);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECTED], 1);
    tbi_node_resolved(p.a.node, p.now, l.contact, addrs, 20, NULL); /* a second answer: nothing */
    tbi_node_resolved(p.a.node, p.now, l.contact + 9, addrs, 20, NULL);
}
END_TEST

START_TEST(a_name_without_addresses_fails)
{
    struct tbi_lookup l;
    ck_assert(lookup(&l));
    tbi_node_resolved(p.a.node, p.now, l.contact, NULL, 0, "no such name");
    pair_run(&p, 1);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECT_FAILED], 1);
    ck_assert_int_eq(p.a.reason, TBQ_ERR_NAME);
    ck_assert_str_eq(p.a.text, "b.example: no such name");
}
END_TEST

START_TEST(a_name_that_is_never_resolved_fails)
{
    struct tbi_lookup l;
    ck_assert(lookup(&l));
    pair_run(&p, 5001);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECT_FAILED], 1);
    ck_assert_int_eq(p.a.reason, TBQ_ERR_NAME);
}
END_TEST

/* A dial is given up at any moment of its handshake, by the application or by its time. */
static void end_after_flights(int flights, bool close)
{
    tbq_connection c;
    /* Else whom they heard of before it ended, they dial by themselves afterwards. */
    p.a.settings.no_discovery = p.b.settings.no_discovery = true;
    ck_assert_int_eq(pair_start(&p, &p.a), 0);
    ck_assert_int_eq(pair_start(&p, &p.b), 0);
    ck_assert_int_eq(pair_dial(&p, &p.a, &p.b, false, &c), 0);
    for (int i = 0; i < flights; i++) {
        flight(i % 2 == 0 ? &p.a : &p.b, i % 2 == 0 ? &p.b : &p.a);
    }
    if (close) {
        ck_assert_int_eq(tbi_node_close(p.a.node, p.now, c), 0);
    } else {
        p.a.deaf = true;
        pair_run(&p, 6000);
        p.a.deaf = false;
    }
    pair_run(&p, 400000);
    const size_t *count = p.a.count;
    ck_assert_uint_eq(count[TBQ_EVENT_CONNECT_FAILED] + count[TBQ_EVENT_CONNECTED], 1);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_CONNECTED], p.b.count[TBQ_EVENT_DISCONNECTED]);
}

START_TEST(a_dial_is_closed_at_any_moment)
{
    end_after_flights(_i, true);
}
END_TEST

START_TEST(a_dial_runs_out_of_time_at_any_moment)
{
    if (_i < 5) { /* beyond, it is connected */
        end_after_flights(_i, false);
    }
}
END_TEST

/* --- Requests --------------------------------------------------------------------------------- */

static tbq_request_id ask(uint32_t timeout_ms)
{
    tbq_request_id id = 0;
    ck_assert_int_eq(
        tbi_node_request(p.a.node, p.now, pair_id(&p.b), bytes("what?"), timeout_ms, &normal, &id),
        0);
    pair_run(&p, 100);
    return id;
}

START_TEST(a_request_is_answered_once)
{
    static const uint8_t large[(1 << 20) + 1];
    tbq_answer answer = {.status = TBQ_RESPONSE_NOT_FOUND, .bytes = {large, sizeof large}};
    pair_connect(&p);
    ask(0);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_REQUEST], 1);
    ck_assert_int_eq(tbi_node_respond(p.b.node, p.now, p.b.request + 7, &answer), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbi_node_respond(p.b.node, p.now, p.b.request, &answer), TBQ_ERR_TOO_LARGE);
    answer.bytes = bytes("no");
    ck_assert_int_eq(tbi_node_respond(p.b.node, p.now, p.b.request, &answer), 0);
    ck_assert_int_eq(tbi_node_respond(p.b.node, p.now, p.b.request, &answer), TBQ_ERR_CLOSED);
    pair_run(&p, 60000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_RESPONSE], 1);
    ck_assert_int_eq(p.a.status, TBQ_RESPONSE_NOT_FOUND);
}
END_TEST

START_TEST(a_late_answer_is_dropped)
{
    tbq_answer answer = {.status = TBQ_RESPONSE_OK};
    pair_connect(&p);
    ask(500);
    pair_run(&p, 500);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_RESPONSE], 1);
    ck_assert_int_eq(p.a.reason, TBQ_ERR_TIMEOUT);
    ck_assert_int_eq(p.a.status, TBQ_RESPONSE_FAILED);
    (void)tbi_node_respond(p.b.node, p.now, p.b.request, &answer);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_RESPONSE], 1);
}
END_TEST

START_TEST(a_cancelled_request_has_no_response)
{
    tbq_answer answer = {.status = TBQ_RESPONSE_OK};
    tbq_request_id id;
    pair_connect(&p);
    ck_assert_int_eq(
        tbi_node_request(p.a.node, p.now, pair_id(&p.b), bytes("?"), 500, &normal, &id), 0);
    pair_run(&p, 10);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_REQUEST], 1);
    ck_assert_int_eq(tbi_node_cancel(p.a.node, id), 0);
    ck_assert_int_eq(tbi_node_cancel(p.a.node, id), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbi_node_respond(p.b.node, p.now, p.b.request, &answer), 0);
    pair_run(&p, 1000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_RESPONSE], 0); /* neither the answer nor the timeout */
    tbi_node_stop(p.b.node, p.now, 10000);
    pair_run(&p, 10);
    ck_assert(tbi_node_stopped(p.b.node)); /* the answer was taken, if by nobody */
}
END_TEST

START_TEST(a_request_to_nobody_is_refused)
{
    tbq_request_id id;
    pair_connect(&p);
    ck_assert_int_eq(tbi_node_request(p.a.node, p.now, pair_id(&p.a), bytes("?"), 0, &normal, &id),
                     TBQ_ERR_NO_ROUTE);
}
END_TEST

START_TEST(requests_have_a_limit)
{
    tbq_request_id id;
    p.a.settings.outbox_messages = 5000;
    pair_connect(&p);
    for (size_t i = 0; i < 4096; i++) {
        ck_assert_int_eq(
            tbi_node_request(p.a.node, p.now, pair_id(&p.b), bytes("?"), 0, &normal, &id), 0);
    }
    ck_assert_int_eq(tbi_node_request(p.a.node, p.now, pair_id(&p.b), bytes("?"), 0, &normal, &id),
                     TBQ_ERR_LIMIT);
    pair_run(&p, 31000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_REQUEST], 4096);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE], 4096);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_RESPONSE], 4096);
    ask(0); /* all places are free again, here and there */
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_REQUEST], 4097);
}
END_TEST

/* A refused request owes no answer, and keeps no place. */
START_TEST(a_refused_request_is_over)
{
    tbq_answer answer = {.status = TBQ_RESPONSE_OK};
    p.b.hold = true;
    pair_connect(&p);
    ask(0);
    tbq_request_id id = p.b.held[0]->request;
    tbi_node_event_refuse(p.b.held[0]);
    p.b.held_len = 0;
    pair_run(&p, 100);
    ck_assert_int_eq(p.a.fate, TBQ_NOT_DELIVERED);
    ck_assert_int_eq(tbi_node_respond(p.b.node, p.now, id, &answer), TBQ_ERR_CLOSED);
}
END_TEST

START_TEST(the_requester_is_gone)
{
    tbq_answer answer = {.status = TBQ_RESPONSE_OK};
    pair_connect(&p);
    ask(0);
    ck_assert_int_eq(tbi_node_close(p.a.node, p.now, p.a.connection), 0);
    pair_run(&p, 1000);
    ck_assert_int_eq(tbi_node_respond(p.b.node, p.now, p.b.request, &answer), TBQ_ERR_CLOSED);
    pair_run(&p, 31000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_RESPONSE], 1); /* its time */
}
END_TEST

/* --- Peers that are lost ---------------------------------------------------------------------- */

static void lose_sight(void)
{
    p.a.deaf = p.b.deaf = true;
    pair_run(&p, 85000); /* the idle timeout, since the first ping that was lost */
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_DISCONNECTED], 1);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_DISCONNECTED], 1);
}

/* Both sides keep what is unsettled: the one that dialled, and the one that was dialled. */
START_TEST(messages_wait_for_a_lost_peer)
{
    pair_connect(&p);
    lose_sight();
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0);
    ck_assert_int_eq(pair_send(&p, &p.b, &p.a, 2), 0);
    pair_run(&p, 60000);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_FATE] + p.b.count[TBQ_EVENT_FATE], 0);
    p.a.deaf = p.b.deaf = false;
    pair_run(&p, 40000);
    ck_assert_uint_eq(p.a.fates[1], 1);
    ck_assert_int_eq(p.a.fate, TBQ_DELIVERED);
    ck_assert_uint_eq(p.b.fates[2], 1);
    ck_assert_int_eq(p.b.fate, TBQ_DELIVERED);
}
END_TEST

START_TEST(a_lost_peer_is_given_up_in_the_end)
{
    pair_connect(&p);
    lose_sight();
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0);
    ck_assert_int_eq(pair_send(&p, &p.b, &p.a, 2), 0);
    pair_run(&p, 340000); /* 300 s, and the last dial */
    ck_assert_uint_eq(p.a.fates[1], 1);
    ck_assert_int_eq(p.a.fate, TBQ_NOT_DELIVERED);
    ck_assert_uint_eq(p.b.fates[2], 1);
    ck_assert_int_eq(p.b.fate, TBQ_NOT_DELIVERED);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 3), TBQ_ERR_NO_ROUTE);
    ck_assert_int_eq(pair_send(&p, &p.b, &p.a, 3), TBQ_ERR_NO_ROUTE);
}
END_TEST

START_TEST(what_waits_goes_to_the_peers_next_process)
{
    pair_connect(&p);
    pair_kill(&p.b);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0);
    pair_run(&p, 1000);
    ck_assert_int_eq(pair_start(&p, &p.b), 0);
    pair_run(&p, 90000);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_MESSAGE], 1);
    ck_assert_uint_eq(p.a.fates[1], 1);
    ck_assert_int_eq(p.a.fate, TBQ_DELIVERED);
}
END_TEST

/* --- Stopping --------------------------------------------------------------------------------- */

START_TEST(a_stop_waits_for_fates)
{
    p.b.hold = true;
    pair_connect(&p);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0);
    pair_run(&p, 10);
    tbi_node_stop(p.a.node, p.now, 10000);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 2), TBQ_ERR_CLOSED);
    pair_run(&p, 5000);
    ck_assert(!tbi_node_stopped(p.a.node));
    pair_release(&p.b);
    pair_run(&p, 1000);
    ck_assert(tbi_node_stopped(p.a.node));
    ck_assert_int_eq(p.a.fate, TBQ_DELIVERED);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_STOPPED], 1);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_DISCONNECTED], 1);
    ck_assert_uint_eq(p.a.after_stopped, 0);
    ck_assert_int_eq(p.b.reason, TBQ_ERR_STOPPED);
}
END_TEST

/* Another may wait in a stop of its own for the word that its message was taken. */
START_TEST(a_stop_tells_first_what_was_taken)
{
    p.b.hold = true;
    pair_connect(&p);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0);
    pair_run(&p, 10);
    pair_release(&p.b);
    tbi_node_stop(p.b.node, p.now, 10000);
    pair_run(&p, 1);
    ck_assert(tbi_node_stopped(p.b.node));
    ck_assert_uint_eq(p.a.fates[1], 1);
    ck_assert_int_eq(p.a.fate, TBQ_DELIVERED);
}
END_TEST

START_TEST(a_stop_ends_at_its_deadline)
{
    p.b.hold = true;
    pair_connect(&p);
    ck_assert_int_eq(pair_send(&p, &p.a, &p.b, 1), 0);
    pair_run(&p, 10);
    tbi_node_stop(p.a.node, p.now, 10000);
    tbi_node_stop(p.a.node, p.now, 2000); /* the earlier one counts */
    tbi_node_stop(p.a.node, p.now, 60000);
    pair_run(&p, 1990);
    ck_assert(!tbi_node_stopped(p.a.node));
    pair_run(&p, 20);
    ck_assert(tbi_node_stopped(p.a.node));
    ck_assert_uint_eq(p.a.fates[1], 1);
    ck_assert_int_eq(p.a.fate, TBQ_UNKNOWN);
    ck_assert_uint_eq(p.a.after_stopped, 0);
    pair_release(&p.b); /* nobody is left to be told */
}
END_TEST

/* Dials in every state are told their end before STOPPED, and nothing is dialled after it. */
START_TEST(a_stop_ends_dials_too)
{
    struct tbi_lookup l;
    ck_assert(lookup(&l));                                      /* resolving */
    ck_assert_int_eq(pair_dial(&p, &p.a, &p.b, true, NULL), 0); /* waits to be dialled again */
    pair_run(&p, 4000);
    ck_assert_int_eq(pair_dial(&p, &p.a, &p.b, false, NULL), 0); /* dialling */
    ck_assert_int_eq(pair_start(&p, &p.b), 0);
    p.b.deaf = true;
    tbi_node_stop(p.a.node, p.now, 500);
    pair_run(&p, 501);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_STOPPED], 1);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_CONNECT_FAILED], 3);
    p.b.deaf = false;
    pair_run(&p, 600000);
    ck_assert_uint_eq(p.a.after_stopped, 0);
    ck_assert_uint_eq(p.b.count[TBQ_EVENT_CONNECTED], 0);
}
END_TEST

START_TEST(an_idle_node_stops_at_once)
{
    pair_connect(&p);
    tbi_node_stop(p.a.node, p.now, 10000);
    pair_run(&p, 1);
    ck_assert_uint_eq(p.a.count[TBQ_EVENT_STOPPED], 1);
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
    Suite *suite = suite_create("node");
    TCase *tc = part(suite, "commands");
    tcase_add_test(tc, what_connect_refuses);
    tcase_add_test(tc, what_sends_refuse);
    tcase_add_test(tc, every_kind_that_can_be_sent_arrives);
    tc = part(suite, "events");
    tcase_add_test(tc, events_end_in_any_order);
    tcase_add_test(tc, so_many_events_are_enough_for_a_turn);
    tcase_add_test(tc, a_peer_with_nothing_to_do_is_told_from_one_that_is_busy);
    tcase_add_test(tc, half_of_the_answers_is_enough_for_who_waits);
    tcase_add_test(tc, an_event_outlives_its_connection);
    tcase_add_test(tc, what_was_closed_takes_nothing_more);
    tcase_add_test(tc, events_that_nobody_released_go_with_the_node);
    tcase_add_test(tc, a_paused_lane_is_not_handed_out);
    tcase_add_test(tc, a_pause_outlives_the_peers_process);
    tc = part(suite, "certificate");
    tcase_add_test(tc, the_end_of_a_certificate_is_told_a_month_ahead);
    tcase_add_test(tc, what_a_node_made_itself_never_ends);
    tc = part(suite, "dials");
    tcase_add_test(tc, a_dial_that_nobody_answers_fails_in_time);
    tcase_add_test(tc, a_persistent_dial_comes_back);
    tcase_add_test(tc, a_name_is_asked_for_once_and_dialled);
    tcase_add_test(tc, a_name_without_addresses_fails);
    tcase_add_test(tc, a_name_that_is_never_resolved_fails);
    tcase_add_loop_test(tc, a_dial_is_closed_at_any_moment, 0, 8);
    tcase_add_loop_test(tc, a_dial_runs_out_of_time_at_any_moment, 0, 8);
    tc = part(suite, "requests");
    tcase_add_test(tc, a_request_is_answered_once);
    tcase_add_test(tc, a_late_answer_is_dropped);
    tcase_add_test(tc, a_cancelled_request_has_no_response);
    tcase_add_test(tc, a_request_to_nobody_is_refused);
    tcase_add_test(tc, requests_have_a_limit);
    tcase_add_test(tc, a_refused_request_is_over);
    tcase_add_test(tc, the_requester_is_gone);
    tc = part(suite, "lost peers");
    tcase_add_test(tc, messages_wait_for_a_lost_peer);
    tcase_add_test(tc, a_lost_peer_is_given_up_in_the_end);
    tcase_add_test(tc, what_waits_goes_to_the_peers_next_process);
    tc = part(suite, "stopping");
    tcase_add_test(tc, a_stop_waits_for_fates);
    tcase_add_test(tc, a_stop_tells_first_what_was_taken);
    tcase_add_test(tc, a_stop_ends_at_its_deadline);
    tcase_add_test(tc, a_stop_ends_dials_too);
    tcase_add_test(tc, an_idle_node_stops_at_once);
    return tbi_test_main(suite);
}
