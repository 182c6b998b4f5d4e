/* tests/unit/test_server_misuse.c - the public functions called as they should not be: without a
 * server, with structs that end early, arrays and bytes that are not there. Each is answered. */
#include <tbquic/tbquic.h>

#include <stdlib.h>
#include <string.h>

#include "harness.h"

static tbq_config config;
static char why[256];
static tbq_server *server;

static void begin(void)
{
    tbq_config_init(&config);
    config.bind_address = "127.0.0.1";
    config.bind_port = 0;
    config.error_text = why;
    config.error_text_size = sizeof why;
    server = NULL;
}

static void end(void)
{
    tbq_server_free(server);
}

static void nothing(void *arg)
{
    (void)arg;
}

START_TEST(without_a_server_every_call_is_answered)
{
    tbq_peer_id nobody = {{0}};
    tbq_message m = {.kind = TBQ_PING};
    tbq_answer answer = {.status = TBQ_RESPONSE_OK};
    tbq_connection c;
    tbq_request_id r;
    struct pollfd fds[TBQ_FDS_MAX];
    struct timespec t;

    ck_assert_int_eq(tbq_server_stop(NULL, 0), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_reload(NULL, NULL, 0), TBQ_ERR_INVALID);
    ck_assert_ptr_null(tbq_server_peer_id(NULL));
    ck_assert_ptr_null(tbq_server_uri(NULL));
    ck_assert_ptr_null(tbq_server_address(NULL));
    ck_assert_ptr_null(tbq_server_trust(NULL));
    ck_assert_uint_eq(tbq_server_pollfds(NULL, fds, TBQ_FDS_MAX), 0);
    ck_assert_ptr_null(tbq_server_timeout(NULL, &t));
    ck_assert_int_eq(tbq_server_fd(NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_process(NULL), TBQ_ERR_INVALID);
    ck_assert_ptr_null(tbq_server_next_event(NULL));
    ck_assert_int_eq(tbq_post(NULL, nothing, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_connect(NULL, "127.0.0.1:1", &c), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_connection_close(NULL, 1), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_discover(NULL, 0), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_announce(NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_network_changed(NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send(NULL, 1, &m, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send_to(NULL, &nobody, &m, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_broadcast(NULL, &m, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_request(NULL, &nobody, "", 0, 0, NULL, &r), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_cancel(NULL, 1), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send_datagram(NULL, NULL, "x", 1), TBQ_ERR_INVALID);
    ck_assert_uint_eq(tbq_datagram_size_max(NULL, NULL), 0);
    ck_assert_int_eq(tbq_respond(NULL, 1, &answer), TBQ_ERR_INVALID);
    tbq_select_query q;
    tbq_select_query_init(&q);
    ck_assert_int_eq(tbq_select(NULL, &q, &nobody, 1), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_set_load(NULL, 0, 0), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_pause(NULL, &nobody, TBQ_LANES_ALL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_resume(NULL, &nobody, TBQ_LANES_ALL), TBQ_ERR_INVALID);
}
END_TEST

static int take_all(void *user, tbq_server *s, const tbq_event *event)
{
    (void)user, (void)s, (void)event;
    return 0;
}

/* In memory of exactly their size, so that a sanitizer or valgrind sees a read past it. */
START_TEST(an_actor_that_ends_before_its_callback_is_refused)
{
    static const size_t short_of[] = {sizeof(size_t), offsetof(tbq_actor, on_message)};

    for (size_t i = 0; i < sizeof short_of / sizeof short_of[0]; i++) {
        tbq_actor *old = malloc(short_of[i]);
        tbq_actor_init_sized(old, short_of[i]);
        ck_assert_int_eq(tbq_server_start(&server, &config, old, NULL, NULL), TBQ_ERR_INVALID);
        free(old);
    }
    tbq_actor never_sized = {.on_message = take_all}; /* without tbq_actor_init() */
    ck_assert_int_eq(tbq_server_start(&server, &config, &never_sized, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_ptr_null(server);
}
END_TEST

/* The first versions of a struct grow at their end. */
START_TEST(a_query_of_any_age_is_read_to_its_own_end)
{
    tbq_peer_id out;

    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), 0);
    for (size_t size = 0; size <= sizeof(tbq_select_query); size++) {
        tbq_select_query *old = malloc(size > 0 ? size : 1);
        if (size >= sizeof old->size) {
            tbq_select_query_init_sized(old, size);
            ck_assert_int_eq(tbq_select(server, old, &out, 1), 0);
        }
        free(old);
    }
    tbq_select_query never_sized = {.capabilities = 1}; /* without tbq_select_query_init() */
    ck_assert_int_eq(tbq_select(server, &never_sized, &out, 1), TBQ_ERR_INVALID);
    tbq_select_query q;
    tbq_select_query_init(&q);
    ck_assert_uint_eq(q.recent_ms, 300000);
    ck_assert_int_eq(tbq_select(server, NULL, &out, 1), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_select(server, &q, NULL, 1), TBQ_ERR_INVALID);
    q.key.size = 1;
    ck_assert_int_eq(tbq_select(server, &q, &out, 1), TBQ_ERR_INVALID);
    static const uint8_t key[4097];
    q.key = (tbq_bytes){key, sizeof key};
    ck_assert_int_eq(tbq_select(server, &q, &out, 1), TBQ_ERR_TOO_LARGE);
    q.key.size--;
    ck_assert_int_eq(tbq_select(server, &q, &out, 1), 0); /* nobody is there */
    q.include_self = true;
    ck_assert_int_eq(tbq_select(server, &q, &out, 1), 1);
    ck_assert_mem_eq(&out, tbq_server_peer_id(server), sizeof out);
    q.policy = (tbq_select_policy)77;
    ck_assert_int_eq(tbq_select(server, &q, &out, 1), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_set_load(server, 500, 200), 0);
    tbq_server_stop(server, 0);
    ck_assert_int_eq(tbq_server_set_load(server, 500, 200), TBQ_ERR_CLOSED);
}
END_TEST

static int64_t read_nothing(void *user, void *buffer, size_t size)
{
    (void)user, (void)buffer, (void)size;
    return 0;
}

START_TEST(bodies_need_somebody_and_something)
{
    tbq_body_options o = {.size = 1};
    tbq_body_progress p = {.size = 1};
    tbq_peer_id id = {{7}};
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tbq_send_body(NULL, &id, read_nothing, NULL, 1, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send_body(server, NULL, read_nothing, NULL, 1, NULL, NULL),
                     TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send_body(server, &id, NULL, NULL, 1, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send_body(server, &id, read_nothing, NULL, 1, &o, NULL), TBQ_ERR_INVALID);
    tbq_body_options_init(&o);
    ck_assert_int_eq(o.lane, TBQ_LANE_LOW);
    o.lane = (tbq_lane)4;
    ck_assert_int_eq(tbq_send_body(server, &id, read_nothing, NULL, 1, &o, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send_body(server, &id, read_nothing, NULL, 1, NULL, NULL),
                     TBQ_ERR_NO_ROUTE);
    ck_assert_int_eq(tbq_body_ready(NULL, 1), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_body_cancel(NULL, 1), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_body_progress(server, 1, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_body_progress(server, 1, &p), TBQ_ERR_INVALID);
    tbq_body_progress_init(&p);
    ck_assert_int_eq(tbq_server_body_progress(server, 1, &p), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbq_body_ready(server, 1), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbq_body_cancel(server, 1), TBQ_ERR_CLOSED);
}
END_TEST

START_TEST(lists_that_are_not_there_are_refused_by_name)
{
    config.bootstrap_nodes_len = 1;
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "bootstrap_nodes[0]"));
    config.bootstrap_nodes_len = 0;
    config.advertise_addresses_len = 1;
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "advertise_addresses[0]"));
}
END_TEST

START_TEST(bytes_that_are_not_there_are_refused)
{
    tbq_connection c;
    tbq_message m = {.kind = TBQ_TRANSITION};
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tbq_server_connect(server, "127.0.0.1:9", &c), 0);
    m.u.transition.size = 5;
    ck_assert_int_eq(tbq_send(server, c, &m, NULL), TBQ_ERR_INVALID);
    m = (tbq_message){.kind = TBQ_ERROR};
    m.u.error.code = TBQ_ERR_REFUSED;
    m.u.error.text.size = 5;
    ck_assert_int_eq(tbq_send(server, c, &m, NULL), TBQ_ERR_INVALID);
    m.u.error.text.size = 0;
    ck_assert_int_eq(tbq_send(server, c, &m, NULL), 0); /* no bytes at all are fine */
}
END_TEST

START_TEST(a_window_beyond_what_quic_can_tell_is_refused)
{
    config.receive_window = SIZE_MAX;
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "receive_window is "));
    config.receive_window = (size_t)(UINT64_C(1) << 40);
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), 0);
    tbq_connection c;
    ck_assert_int_eq(tbq_server_connect(server, "127.0.0.1:9", &c), 0);
    ck_assert_int_eq(tbq_server_process(server), 0); /* dials: its parameters can be written */
}
END_TEST

START_TEST(a_folder_whose_path_is_too_long_is_named)
{
    static char dir[8000];
    tbq_peer_id id;
    memset(dir, 'a', sizeof dir - 1);
    dir[0] = '/';
    config.state_dir = dir;
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), TBQ_ERR_FILE);
    ck_assert_ptr_nonnull(strstr(why, "too long: /aaa"));
    memset(why, 0, sizeof why);
    ck_assert_int_eq(tbq_identity_create(dir, &id, why, sizeof why), TBQ_ERR_FILE);
    ck_assert_ptr_nonnull(strstr(why, "too long: /aaa"));
}
END_TEST

static int attach_oddly(tbq_loop *loop, tbq_server *s)
{
    (void)loop, (void)s;
    return 1;
}

static void detach(tbq_loop *loop, tbq_server *s)
{
    (void)loop, (void)s;
}

START_TEST(a_loop_that_is_none_is_refused)
{
    tbq_loop loop = {.attach = attach_oddly, .detach = detach};
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, &loop), TBQ_ERR_INVALID);
    loop = (tbq_loop){.detach = detach};
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, &loop), TBQ_ERR_INVALID);
    ck_assert_ptr_null(server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server_misuse");
    TCase *tc = tcase_create("misuse");
    tcase_add_checked_fixture(tc, begin, end);
    tcase_add_test(tc, without_a_server_every_call_is_answered);
    tcase_add_test(tc, an_actor_that_ends_before_its_callback_is_refused);
    tcase_add_test(tc, a_query_of_any_age_is_read_to_its_own_end);
    tcase_add_test(tc, bodies_need_somebody_and_something);
    tcase_add_test(tc, lists_that_are_not_there_are_refused_by_name);
    tcase_add_test(tc, bytes_that_are_not_there_are_refused);
    tcase_add_test(tc, a_window_beyond_what_quic_can_tell_is_refused);
    tcase_add_test(tc, a_folder_whose_path_is_too_long_is_named);
    tcase_add_test(tc, a_loop_that_is_none_is_refused);
    suite_add_tcase(suite, tc);
    return tbi_test_main(suite);
}
