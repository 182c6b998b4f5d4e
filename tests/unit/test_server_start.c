/* tests/unit/test_server_start.c - tbq_server by itself, on a free port of loopback: what start
 * refuses and leaves behind, what calls with nothing in them answer, and its loop and actor. */
#include <tbquic/tbquic.h>

#include <poll.h>
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

static int take_all(void *user, tbq_server *s, const tbq_event *event)
{
    (void)user, (void)s, (void)event;
    return 0;
}

START_TEST(calls_with_nothing_in_them)
{
    tbq_request_id request;
    tbq_message m = {.kind = TBQ_PING};
    tbq_peer_id nobody = {{0}};
    tbq_send_options old = {.size = 1};
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tbq_send(server, 1, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send(server, 1, &m, &old), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send(server, 1, &m, NULL), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbq_send_to(server, NULL, &m, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send_to(server, &nobody, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_send_to(server, &nobody, &m, NULL), TBQ_ERR_NO_ROUTE);
    ck_assert_int_eq(tbq_request(server, NULL, "", 0, 0, NULL, &request), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_request(server, &nobody, NULL, 1, 0, NULL, &request), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_request(server, &nobody, "", 0, 0, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_request(server, &nobody, "", 0, 0, &old, &request), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_request(server, &nobody, "", 0, 0, NULL, &request), TBQ_ERR_NO_ROUTE);
    tbq_answer answer = {.status = TBQ_RESPONSE_OK};
    ck_assert_int_eq(tbq_respond(server, 1, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_respond(server, 1, &answer), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbq_pause(server, NULL, TBQ_LANES_ALL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_pause(server, &nobody, TBQ_LANES_ALL), TBQ_ERR_NO_ROUTE);
    ck_assert_int_eq(tbq_resume(server, NULL, TBQ_LANES_ALL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_resume(server, &nobody, TBQ_LANES_ALL), TBQ_ERR_NO_ROUTE);
    ck_assert_int_eq(tbq_connection_close(server, 1), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbq_post(server, NULL, NULL), TBQ_ERR_INVALID);
    tbq_event_release(NULL);
    tbq_event_refuse(NULL);
}
END_TEST

START_TEST(what_start_refuses)
{
    tbq_actor deaf;
    uint8_t other_key[TBQ_PUBLIC_KEY_SIZE] = {1};
    tbq_actor_init(&deaf);
    ck_assert_int_eq(tbq_server_start(NULL, &config, NULL, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_start(&server, NULL, NULL, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_start(&server, &config, &deaf, NULL, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, other_key, NULL), TBQ_ERR_IDENTITY);
    ck_assert_ptr_nonnull(strstr(why, "private key of the public key that was given"));
    config.key_path = config.cert_path = "no-such-file";
    ck_assert_int_lt(tbq_server_start(&server, &config, NULL, NULL, NULL), 0);
    ck_assert_ptr_nonnull(strstr(why, "no-such-file"));
    ck_assert_ptr_null(server);
}
END_TEST

struct counting_loop {
    tbq_loop loop;
    int attached, detached, answer;
};

static int attach(tbq_loop *loop, tbq_server *s)
{
    struct counting_loop *l = (struct counting_loop *)loop;
    (void)s;
    l->attached++;
    return l->answer;
}

static void detach(tbq_loop *loop, tbq_server *s)
{
    (void)s;
    ((struct counting_loop *)loop)->detached++;
}

START_TEST(a_loop_is_attached_and_detached_once)
{
    struct counting_loop l = {.loop = {.attach = attach, .detach = detach},
                              .answer = TBQ_ERR_NOMEM};
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, &l.loop), TBQ_ERR_NOMEM);
    ck_assert_int_eq(l.attached, 1);
    ck_assert_int_eq(l.detached, 0); /* what was not attached */
    l.answer = 0;
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, &l.loop), 0);
    ck_assert_int_eq(l.attached, 2);
    tbq_server_free(server);
    server = NULL;
    ck_assert_int_eq(l.detached, 1);
}
END_TEST

static void freeing(void *user, tbq_server *s, const tbq_event *event)
{
    int *stopped = user;
    if (event->type == TBQ_EVENT_STOPPED) {
        tbq_server_free(s); /* does nothing: it runs */
        ck_assert_int_eq(tbq_server_process(s), TBQ_ERR_BUSY);
        (*stopped)++;
    }
}

START_TEST(an_actor_is_told_and_cannot_free_what_runs)
{
    tbq_actor actor;
    int stopped = 0;
    tbq_actor_init(&actor);
    actor.on_message = take_all;
    actor.on_event = freeing;
    actor.user = &stopped;
    actor.role = 1;
    actor.capabilities = 1;
    ck_assert_int_eq(tbq_server_start(&server, &config, &actor, NULL, NULL), 0);
    ck_assert_ptr_null(tbq_server_next_event(server)); /* they go to the actor */
    ck_assert_int_eq(tbq_server_stop(server, 0), 0);
    ck_assert_int_eq(tbq_server_process(server), 0);
    ck_assert_int_eq(stopped, 1);
}
END_TEST

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

START_TEST(one_descriptor_tells_of_a_post)
{
    ck_assert_int_eq(tbq_server_start(&server, &config, NULL, NULL, NULL), 0);
    int fd = tbq_server_fd(server);
    if (fd == TBQ_ERR_UNSUPPORTED) {
        return;
    }
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(tbq_server_process(server), 0);
    ck_assert_int_eq(tbq_server_fd(server), fd);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&p, 1, 0), 0); /* nothing to do */
    bool ran = false;
    ck_assert_int_eq(tbq_post(server, set_true, &ran), 0);
    ck_assert_int_eq(poll(&p, 1, 5000), 1);
    ck_assert_int_eq(tbq_server_process(server), 0);
    ck_assert(ran);
    ck_assert_int_eq(poll(&p, 1, 0), 0);
}
END_TEST

static void start_and_free(const struct tbi_alloc *a, void *arg)
{
    (void)arg;
    config.allocator = a->hook;
    int rv = tbq_server_start(&server, &config, NULL, NULL, NULL);
    ck_assert_msg(rv == 0 || rv == TBQ_ERR_NOMEM, "%d: %s", rv, why);
    ck_assert((rv == 0) == (server != NULL));
    tbq_server_free(server);
    server = NULL;
}

START_TEST(memory_runs_out_at_the_start)
{
    tbi_walk_allocations(start_and_free, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server_start");
    TCase *tc = tcase_create("start");
    tcase_add_checked_fixture(tc, begin, end);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, calls_with_nothing_in_them);
    tcase_add_test(tc, what_start_refuses);
    tcase_add_test(tc, a_loop_is_attached_and_detached_once);
    tcase_add_test(tc, an_actor_is_told_and_cannot_free_what_runs);
    tcase_add_test(tc, one_descriptor_tells_of_a_post);
    tcase_add_test(tc, memory_runs_out_at_the_start);
    suite_add_tcase(suite, tc);
    return tbi_test_main(suite);
}
