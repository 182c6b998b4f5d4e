/* tests/net/test_api.c - the public API over real sockets: events that are pulled, actors,
 * requests, posts, one descriptor, memory under a slow receiver. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/harness.h"
#include "couple.h"

static struct side a, b;

static bool a_is_up(void *arg)
{
    (void)arg;
    return a.events[TBQ_EVENT_CONNECTED] > 0 && b.events[TBQ_EVENT_CONNECTED] > 0;
}

static void connect_them(void)
{
    tbq_connection c;
    couple_start(&a);
    couple_start(&b);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &c), 0);
    ck_assert(couple_run(&a, &b, a_is_up, NULL));
}

static void end(void)
{
    couple_end(&a);
    couple_end(&b);
}

static int send_text(struct side *from, struct side *to, const char *text, uint64_t tag)
{
    tbq_message m = tbq_transition(text, strlen(text));
    tbq_send_options o;
    tbq_send_options_init(&o);
    o.tag = tag;
    return tbq_send_to(from->server, tbq_server_peer_id(to->server), &m, &o);
}

static bool fates_told(void *arg)
{
    return a.fates[1] + a.fates[2] + a.fates[3] >= *(size_t *)arg;
}

static bool b_has_kept(void *arg)
{
    return b.kept >= *(size_t *)arg;
}

/* --- Events ----------------------------------------------------------------------------------- */

START_TEST(a_pulled_event_stays_valid_until_released_in_any_order)
{
    size_t three = 3, one = 1;
    connect_them();
    b.keep = true;
    ck_assert_int_eq(send_text(&a, &b, "one", 1), 0);
    ck_assert_int_eq(send_text(&a, &b, "two", 2), 0);
    ck_assert_int_eq(send_text(&a, &b, "three", 3), 0);
    ck_assert(couple_run(&a, &b, b_has_kept, &three));
    ck_assert_int_eq(send_text(&b, &a, "meanwhile", 9), 0); /* a send does not end it */
    ck_assert_uint_eq(a.fates[TBQ_DELIVERED], 0);           /* nor is it taken yet */
    ck_assert_mem_eq(b.last[0]->message->u.transition.data, "one", 3);
    ck_assert_mem_eq(b.last[2]->message->u.transition.data, "three", 5);
    ck_assert_mem_eq(b.last[1]->peer, tbq_server_peer_id(a.server), sizeof(tbq_peer_id));
    tbq_event_release(b.last[1]);
    ck_assert(couple_run(&a, &b, fates_told, &one));
    ck_assert_uint_eq(a.tag, 2); /* the one that was released */
    tbq_event_refuse(b.last[2]);
    tbq_event_release(b.last[0]);
    b.kept = 0;
    ck_assert(couple_run(&a, &b, fates_told, &three));
    ck_assert_uint_eq(a.fates[TBQ_DELIVERED], 2);
    ck_assert_uint_eq(a.fates[TBQ_NOT_DELIVERED], 1);
    end();
}
END_TEST

START_TEST(events_that_are_kept_outlive_the_connection_and_end_with_the_server)
{
    size_t two = 2;
    connect_them();
    b.keep = true;
    ck_assert_int_eq(send_text(&a, &b, "one", 1), 0);
    ck_assert_int_eq(send_text(&a, &b, "two", 2), 0);
    ck_assert(couple_run(&a, &b, b_has_kept, &two));
    tbq_server_free(a.server); /* the sender is gone */
    ck_assert_uint_eq(a.memory.live, 0);
    ck_assert_mem_eq(b.last[1]->message->u.transition.data, "two", 3);
    tbq_event_release(b.last[0]);
    b.kept = 0; /* the other is freed with the server */
    couple_end(&b);
}
END_TEST

/* --- Requests --------------------------------------------------------------------------------- */

static bool b_was_asked(void *arg)
{
    (void)arg;
    return b.events[TBQ_EVENT_REQUEST] > 0;
}

static bool a_has_answer(void *arg)
{
    (void)arg;
    return a.events[TBQ_EVENT_RESPONSE] > 0;
}

START_TEST(a_request_is_answered_later_after_its_event_was_released)
{
    tbq_request_id asked;
    tbq_answer answer = {TBQ_RESPONSE_NOT_FOUND, {"no such thing", 13}};

    connect_them();
    ck_assert_int_eq(
        tbq_request(a.server, tbq_server_peer_id(b.server), "thing", 5, 0, NULL, &asked), 0);
    ck_assert(couple_run(&a, &b, b_was_asked, NULL));
    ck_assert_mem_eq(b.bytes, "thing", 5);
    tbq_request_id owed = b.seen.request;
    ck_assert_int_eq(tbq_respond(b.server, owed, &answer), 0);
    ck_assert_int_eq(tbq_respond(b.server, owed, &answer), TBQ_ERR_CLOSED); /* once */
    ck_assert(couple_run(&a, &b, a_has_answer, NULL));
    ck_assert_uint_eq(a.seen.request, asked);
    ck_assert_mem_eq(a.bytes, "no such thing", 13);
    end();
}
END_TEST

START_TEST(a_stop_right_behind_an_answer_waits_for_it)
{
    tbq_request_id asked;
    tbq_answer answer = {TBQ_RESPONSE_OK, {"the last word", 13}};

    connect_them();
    ck_assert_int_eq(tbq_request(a.server, tbq_server_peer_id(b.server), "?", 1, 0, NULL, &asked),
                     0);
    ck_assert(couple_run(&a, &b, b_was_asked, NULL));
    ck_assert_int_eq(tbq_respond(b.server, b.seen.request, &answer), 0);
    ck_assert_int_eq(tbq_server_stop(b.server, 10000), 0);
    ck_assert(couple_run(&a, &b, a_has_answer, NULL));
    ck_assert_mem_eq(a.bytes, "the last word", 13);
    ck_assert_int_eq(a.seen.reason, 0);
    end();
}
END_TEST

START_TEST(a_request_without_an_answer_ends_at_its_time)
{
    tbq_request_id asked;
    connect_them();
    ck_assert_int_eq(tbq_request(a.server, tbq_server_peer_id(b.server), "?", 1, 50, NULL, &asked),
                     0);
    ck_assert(couple_run(&a, &b, a_has_answer, NULL));
    ck_assert_int_eq(a.seen.reason, TBQ_ERR_TIMEOUT);
    ck_assert_uint_eq(a.seen.request, asked);
    end();
}
END_TEST

/* --- Actors ----------------------------------------------------------------------------------- */

struct acting {
    size_t messages, others, parts;
    int process_inside, result;
    tbq_server *freed_inside;
};

static int on_message(void *user, tbq_server *server, const tbq_event *e)
{
    struct acting *x = user;
    (void)e;
    x->messages++;
    x->process_inside = tbq_server_process(server);
    tbq_server_free(server); /* does nothing: it would free what is running */
    return x->result;
}

static void on_event(void *user, tbq_server *server, const tbq_event *e)
{
    (void)server;
    ((struct acting *)user)->others += e->type == TBQ_EVENT_CONNECTED;
}

static int on_body(void *user, tbq_server *server, const tbq_event *e)
{
    struct acting *x = user;
    x->parts++;
    x->process_inside = tbq_server_process(server);
    return e->part->last ? x->result : 0;
}

/* Two parts; the server that it is read for is called meanwhile. */
static int64_t read_two(void *user, void *buffer, size_t size)
{
    int *left = user;
    ck_assert_int_eq(tbq_server_process(a.server), TBQ_ERR_BUSY);
    tbq_server_free(a.server);
    memset(buffer, 'b', size);
    return (*left)-- > 0 ? (int64_t)size : 0;
}

static void act_on_body(bool wanted, int result, tbq_fate fate)
{
    struct acting x = {.result = result};
    tbq_actor actor;
    tbq_connection conn;
    tbq_body body;
    tbq_body_progress progress;
    size_t one = 1;
    int left = 2;
    tbq_config c = couple_config(&b);

    c.take_bodies = true; /* an actor says by itself what it takes */
    tbq_actor_init(&actor);
    actor.on_message = on_message;
    actor.on_body = wanted ? on_body : NULL;
    actor.user = &x;
    ck_assert_int_eq(tbq_server_start(&b.server, &c, &actor, NULL, NULL), 0);
    couple_start(&a);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &conn), 0);
    ck_assert_int_eq(tbq_send_body(a.server, tbq_server_peer_id(b.server), read_two, &left,
                                   TBQ_LENGTH_UNKNOWN, NULL, &body),
                     0);
    tbq_body_progress_init(&progress);
    ck_assert_int_eq(tbq_server_body_progress(a.server, body, &progress), 0);
    ck_assert(progress.length == TBQ_LENGTH_UNKNOWN && progress.read == 0);
    ck_assert(couple_run(&a, &b, fates_told, &one));
    ck_assert_uint_eq(a.fates[fate], 1);
    ck_assert_int_eq(a.seen.reason, fate == TBQ_DELIVERED ? 0
                                    : wanted              ? TBQ_ERR_REFUSED
                                                          : TBQ_ERR_UNSUPPORTED);
    ck_assert_uint_eq(x.parts, wanted ? 3 : 0);
    ck_assert_int_eq(x.process_inside, wanted ? TBQ_ERR_BUSY : 0);
    ck_assert_int_eq(tbq_server_body_progress(a.server, body, &progress), TBQ_ERR_CLOSED);
    end();
}

START_TEST(an_actor_takes_and_refuses_bodies)
{
    act_on_body(true, 0, TBQ_DELIVERED);
    act_on_body(true, -1, TBQ_NOT_DELIVERED);
    act_on_body(false, 0, TBQ_NOT_DELIVERED);
}
END_TEST

static void act(int result, tbq_fate fate)
{
    struct acting x = {.result = result};
    tbq_actor actor;
    tbq_connection conn;
    size_t one = 1;
    tbq_config c = couple_config(&b);

    tbq_actor_init(&actor);
    actor.on_message = on_message;
    actor.on_event = on_event;
    actor.user = &x;
    ck_assert_int_eq(tbq_server_start(&b.server, &c, &actor, NULL, NULL), 0);
    couple_start(&a);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &conn), 0);
    tbq_message m = tbq_transition("hi", 2);
    ck_assert_int_eq(tbq_send(a.server, conn, &m, NULL), 0);
    ck_assert(couple_run(&a, &b, fates_told, &one));
    ck_assert_uint_eq(a.fates[fate], 1);
    ck_assert_uint_eq(x.messages, 1);
    ck_assert_uint_eq(x.others, 1);
    ck_assert_int_eq(x.process_inside, TBQ_ERR_BUSY);
    ck_assert_ptr_null(tbq_server_next_event(b.server)); /* an actor gets all of them */
    end();
}

START_TEST(an_actor_takes_and_refuses)
{
    act(0, TBQ_DELIVERED);
    act(-1, TBQ_NOT_DELIVERED);
}
END_TEST

/* --- Posts ------------------------------------------------------------------------------------ */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t posted, ran;
static pthread_t loop_thread;

static void count_run(void *arg)
{
    (void)arg;
    ck_assert(pthread_equal(pthread_self(), loop_thread));
    ran++;
}

static void *post_many(void *arg)
{
    for (int i = 0; i < 200; i++) {
        int rv = tbq_post(arg, count_run, NULL);
        ck_assert(rv == 0 || rv == TBQ_ERR_AGAIN);
        pthread_mutex_lock(&lock);
        posted += rv == 0;
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static bool all_ran(void *arg)
{
    (void)arg;
    return ran == posted;
}

START_TEST(posts_from_threads_run_on_the_loops_thread)
{
    pthread_t threads[4];
    posted = ran = 0;
    loop_thread = pthread_self();
    connect_them();
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, a.server), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_uint_eq(posted, 800);
    ck_assert(couple_run(&a, &b, all_ran, NULL));
    for (int i = 0; i < 1024; i++) {
        ck_assert_int_eq(tbq_post(a.server, count_run, NULL), 0);
    }
    ck_assert_int_eq(tbq_post(a.server, count_run, NULL), TBQ_ERR_AGAIN);
    posted += 1024;
    ck_assert(couple_run(&a, &b, all_ran, NULL));
    end();
}
END_TEST

static bool a_stopped(void *arg)
{
    (void)arg;
    return a.events[TBQ_EVENT_STOPPED] > 0;
}

START_TEST(after_a_stop_calls_say_closed)
{
    tbq_connection c;
    connect_them();
    ck_assert_int_eq(send_text(&a, &b, "last", 1), 0);
    ck_assert_int_eq(tbq_server_stop(a.server, 5000), 0);
    ck_assert_int_eq(send_text(&a, &b, "too late", 2), TBQ_ERR_CLOSED);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &c), TBQ_ERR_CLOSED);
    ck_assert(couple_run(&a, &b, a_stopped, NULL));
    ck_assert_uint_eq(a.fates[TBQ_DELIVERED], 1); /* what was sent before has its fate first */
    ck_assert_int_eq(tbq_post(a.server, count_run, NULL), TBQ_ERR_CLOSED);
    end();
}
END_TEST

/* --- Driving ---------------------------------------------------------------------------------- */

START_TEST(one_descriptor_is_enough)
{
    tbq_connection c;
    couple_start(&a);
    couple_start(&b);
    int fd = tbq_server_fd(a.server);
    if (fd == TBQ_ERR_UNSUPPORTED) {
        end();
        return;
    }
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &c), 0);
    tbq_message m = tbq_transition("by one descriptor", 17);
    ck_assert_int_eq(tbq_send(a.server, c, &m, NULL), 0);
    for (int i = 0; i < 1000 && a.fates[TBQ_DELIVERED] == 0; i++) {
        struct pollfd fds[TBQ_FDS_MAX + 1] = {{.fd = tbq_server_fd(a.server), .events = POLLIN}};
        size_t n = tbq_server_pollfds(b.server, fds + 1, TBQ_FDS_MAX);
        int ready = poll(fds, (nfds_t)n + 1, couple_wait(b.server, GUARD_MS));
        ck_assert_int_ge(ready, 0);
        if (fds[0].revents != 0) { /* nothing else wakes A, its timers included */
            ck_assert_int_eq(tbq_server_process(a.server), 0);
        }
        ck_assert_int_eq(tbq_server_process(b.server), 0);
        couple_pull(&a);
        couple_pull(&b);
    }
    ck_assert_uint_eq(a.fates[TBQ_DELIVERED], 1);
    end();
}
END_TEST

static size_t open_descriptors(bool *all_cloexec)
{
    size_t n = 0;
    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFD);
        n += flags >= 0;
        if (flags >= 0 && fd > 2 && (flags & FD_CLOEXEC) == 0) {
            *all_cloexec = false;
        }
    }
    return n;
}

START_TEST(descriptors_are_closed_on_exec_and_given_back)
{
    bool good = true, ignored = true;
    for (int fd = 3; fd < 256; fd++) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* those of the test's own parents do not count */
    }
    size_t before = open_descriptors(&good);
    connect_them();
    (void)tbq_server_fd(a.server);
    good = true;
    ck_assert_uint_gt(open_descriptors(&good), before);
    ck_assert(good);
    end();
    ck_assert_uint_eq(open_descriptors(&ignored), before);
}
END_TEST

/* --- Memory ----------------------------------------------------------------------------------- */

#define BIG 100000
#define BUDGET                                                                                     \
    ((size_t)16 << 20) /* outbox 8 MiB, a window of 2 MiB and a bit; the rest is QUIC's */

static bool b_got_all(void *arg)
{
    return b.events[TBQ_EVENT_MESSAGE] >= *(size_t *)arg && ran == 0;
}

static bool a_is_full_for_good(void *arg)
{
    static uint8_t bytes[BIG];
    size_t *sent = arg;
    tbq_message m = tbq_transition(bytes, sizeof bytes);
    static int rounds;

    int rv = tbq_send_to(a.server, tbq_server_peer_id(b.server), &m, NULL);
    *sent += rv == 0;
    ck_assert(rv == 0 || rv == TBQ_ERR_AGAIN);
    rounds = rv == TBQ_ERR_AGAIN ? rounds + 1 : 0;
    return rounds > 50; /* nothing moves any more */
}

START_TEST(a_paused_receiver_bounds_both_and_nothing_is_lost)
{
    size_t sent = 0;
    ran = 0;
    couple_idle_ms = 10;
    connect_them();
    ck_assert_int_eq(tbq_pause(b.server, tbq_server_peer_id(a.server), TBQ_LANES_ALL), 0);
    ck_assert(couple_run(&a, &b, a_is_full_for_good, &sent));
    ck_assert_uint_gt(sent, 80); /* the outbox alone takes 8 MiB */
    ck_assert_uint_lt(a.memory.most, BUDGET);
    ck_assert_uint_lt(b.memory.most, BUDGET);
    ck_assert_uint_eq(b.events[TBQ_EVENT_MESSAGE], 0);
    ck_assert_int_eq(tbq_resume(b.server, tbq_server_peer_id(a.server), TBQ_LANES_ALL), 0);
    ck_assert(couple_run(&a, &b, b_got_all, &sent));
    ck_assert(couple_run(&a, &b, fates_told, &sent));
    ck_assert_uint_eq(a.fates[TBQ_DELIVERED], sent);
    ck_assert_uint_ge(a.events[TBQ_EVENT_WRITABLE], 1);
    ck_assert_uint_lt(a.memory.most, BUDGET);
    ck_assert_uint_lt(b.memory.most, BUDGET);
    end();
}
END_TEST

/* --- Trust files, and the book ---------------------------------------------------------------- */

static bool a_is_down(void *arg)
{
    (void)arg;
    return a.events[TBQ_EVENT_DISCONNECTED] > 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(a_reload_of_the_deny_list_ends_a_live_connection)
{
    char id[TBQ_PEER_ID_TEXT_SIZE], why[256];
    char path[] = "deny-list";
    tbq_connection conn;
    tbq_config c = couple_config(&b);

    write_file("deny-list", "# nobody\n");
    c.deny_path = path;
    ck_assert_int_eq(tbq_server_start(&b.server, &c, NULL, NULL, NULL), 0);
    memset(path, 'x', sizeof path - 1); /* the server has a copy of its own */
    couple_start(&a);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &conn), 0);
    ck_assert(couple_run(&a, &b, a_is_up, NULL));
    ck_assert_int_eq(tbq_server_reload(b.server, why, sizeof why), 0);

    write_file("deny-list", "not a peer id\n");
    ck_assert_int_eq(tbq_server_reload(b.server, why, sizeof why), TBQ_ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why, "deny-list: line 1"));

    tbq_peer_id_to_text(tbq_server_peer_id(a.server), id);
    write_file("deny-list", id);
    ck_assert_int_eq(tbq_server_reload(b.server, why, sizeof why), 1);
    ck_assert(couple_run(&a, &b, a_is_down, NULL));
    ck_assert_int_eq(a.seen.reason, TBQ_ERR_TRUST);
    end();
}
END_TEST

static bool a_failed(void *arg)
{
    (void)arg;
    return a.events[TBQ_EVENT_CONNECT_FAILED] > 0;
}

START_TEST(first_use_is_remembered_in_its_file_across_restarts)
{
    char uri[TBQ_URI_SIZE], line[400];
    tbq_connection conn;

    couple_start(&b);
    tbq_config c = couple_config(&a);
    c.known_peers_path = "known";
    ck_assert_int_eq(tbq_server_start(&a.server, &c, NULL, NULL, NULL), 0);
    ck_assert_str_eq(tbq_server_trust(a.server), "first-use");
    snprintf(uri, sizeof uri, "%s", tbq_server_address(b.server));
    ck_assert_int_eq(tbq_server_connect(a.server, uri, &conn), 0);
    ck_assert(couple_run(&a, &b, a_is_up, NULL));
    FILE *f = fopen("known", "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, f));
    ck_assert_int_eq(strncmp(line, uri, strlen(uri)), 0);
    fclose(f);
    couple_end(&a);
    couple_end(&b);

    tbq_config other = couple_config(&b); /* the same address, another key */
    other.bind_port = (uint16_t)atoi(strrchr(uri, ':') + 1);
    ck_assert_int_eq(tbq_server_start(&b.server, &other, NULL, NULL, NULL), 0);
    c = couple_config(&a);
    c.known_peers_path = "known";
    ck_assert_int_eq(tbq_server_start(&a.server, &c, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tbq_server_connect(a.server, uri, &conn), 0);
    ck_assert(couple_run(&a, &b, a_failed, NULL));
    ck_assert_ptr_nonnull(strstr(a.text, "known, line 1"));
    end();
}
END_TEST

START_TEST(the_peer_book_is_kept_in_the_state_folder)
{
    tbq_connection conn;
    const tbq_peers *peers = NULL;
    tbq_peer_id id;
    tbq_config c = couple_config(&a);

    c.state_dir = "state";
    couple_start(&b);
    ck_assert_int_eq(tbq_server_start(&a.server, &c, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &conn), 0);
    ck_assert(couple_run(&a, &b, a_is_up, NULL));
    id = *tbq_server_peer_id(b.server);
    couple_end(&a);

    c = couple_config(&a);
    c.state_dir = "state";
    c.no_discovery = true;
    ck_assert_int_eq(tbq_server_start(&a.server, &c, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tbq_server_peers(a.server, &id, &peers), 0);
    ck_assert_uint_eq(peers->len, 1);
    ck_assert(!peers->peer[0]->connected);
    ck_assert_uint_gt(peers->peer[0]->last_seen_ms, 0);
    tbq_peers_free(peers);
    char text[TBQ_PEER_ID_TEXT_SIZE];
    tbq_peer_id_to_text(&id, text);
    memset(a.events, 0, sizeof a.events);
    memset(b.events, 0, sizeof b.events);
    ck_assert_int_eq(tbq_server_connect(a.server, text, &conn), 0); /* by its id alone */
    ck_assert(couple_run(&a, &b, a_is_up, NULL));
    end();

    write_file("state/peers", "rubbish");
    char why[512] = "";
    c = couple_config(&a);
    c.state_dir = "state";
    c.error_text = why;
    c.error_text_size = sizeof why;
    ck_assert_int_eq(tbq_server_start(&a.server, &c, NULL, NULL, NULL), TBQ_ERR_FILE);
    ck_assert_ptr_nonnull(strstr(why, "state/peers"));
    ck_assert_uint_eq(a.memory.live, 0);
}
END_TEST

START_TEST(counters_tell_what_passed)
{
    tbq_stats s;
    size_t one = 1;
    connect_them();
    ck_assert_int_eq(send_text(&a, &b, "x", 1), 0);
    ck_assert(couple_run(&a, &b, fates_told, &one));
    tbq_stats_init(&s);
    ck_assert_int_eq(tbq_server_stats(a.server, &s), 0);
    ck_assert_uint_eq(s.dialled, 1);
    ck_assert_uint_eq(s.connections, 1);
    ck_assert_uint_ge(s.packets_sent, 3);
    ck_assert_uint_ge(s.bytes_received, 1200);
    ck_assert_uint_gt(s.receive_buffer, 0);
    unsigned char small[24];
    memset(small, 0x5a, sizeof small);
    tbq_stats_init_sized((tbq_stats *)(void *)small, 16); /* an older program's */
    ck_assert_int_eq(tbq_server_stats(a.server, (tbq_stats *)(void *)small), 0);
    ck_assert_uint_eq(small[16], 0x5a);
    end();
}
END_TEST

/* What a message needs is kept for the next. Some of it is given back while the machine has no time
 * for the test, which looks to the server like little traffic: so half of the rounds count. */
START_TEST(a_traffic_of_messages_takes_no_more_memory)
{
    static char text[2][UINT16_MAX]; /* a small one, and one with a block of its own */
    const size_t many[2] = {200, 10}, most[2] = {25, 10}; /* an eighth; one for each */
    size_t within[2] = {0}, told = 0;

    memset(text[0], 'x', 100);
    memset(text[1], 'x', sizeof text[1] - 1);
    connect_them();
    for (int kind = 0; kind < 2; kind++) {
        for (int round = 0; round < 60; round++) {
            size_t before = a.memory.calls + b.memory.calls;
            for (size_t i = 0; i < many[kind]; i++) {
                ck_assert_int_eq(send_text(&a, &b, text[kind], 1), 0);
            }
            told += many[kind];
            ck_assert(couple_run(&a, &b, fates_told, &told));
            within[kind] += round >= 20 && a.memory.calls + b.memory.calls - before < most[kind];
        }
    }
#ifndef TBI_SEES_EVERY_USE /* else nothing is kept */
    ck_assert_uint_ge(within[0], 20);
    ck_assert_uint_ge(within[1], 20);
#endif
    end();
}
END_TEST

struct lines {
    size_t warned, informed; /* of the socket's buffers */
};

static void on_line(void *user, tbq_log_level level, const char *line)
{
    struct lines *l = user;
    bool buffers = strstr(line, "socket buffers") != NULL && strstr(line, "sysctl") != NULL;

    l->warned += buffers && level == TBQ_LOG_WARNING;
    l->informed += buffers && level == TBQ_LOG_INFO;
}

START_TEST(small_socket_buffers_are_told_to_who_asked)
{
    struct lines lines = {0};
    tbq_config c = couple_config(&a);
    tbq_stats s;

    c.log = on_line;
    c.log_user = &lines;
    c.log_level = TBQ_LOG_DEBUG;
    c.socket_buffer = 1U << 30;
    ck_assert_int_eq(tbq_server_start(&a.server, &c, NULL, NULL, NULL), 0);
    tbq_stats_init(&s);
    ck_assert_int_eq(tbq_server_stats(a.server, &s), 0);
    ck_assert_uint_eq(s.buffer_asked, 1U << 30);
    ck_assert_uint_eq(lines.warned, s.receive_buffer < s.buffer_asked); /* few allow as much */
    ck_assert_uint_eq(lines.informed, 0);
    couple_end(&a);

    c = couple_config(&a);
    lines = (struct lines){0};
    c.log = on_line;
    c.log_user = &lines;
    c.log_level = TBQ_LOG_DEBUG;
    ck_assert_int_eq(tbq_server_start(&a.server, &c, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tbq_server_stats(a.server, &s), 0);
    ck_assert_uint_eq(s.buffer_asked, 4 << 20);
    ck_assert_uint_eq(lines.warned, 0); /* nobody asked for as many */
    couple_end(&a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api");
    TCase *c = tcase_create("loopback");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_pulled_event_stays_valid_until_released_in_any_order);
    tcase_add_test(c, events_that_are_kept_outlive_the_connection_and_end_with_the_server);
    tcase_add_test(c, a_request_is_answered_later_after_its_event_was_released);
    tcase_add_test(c, a_stop_right_behind_an_answer_waits_for_it);
    tcase_add_test(c, a_request_without_an_answer_ends_at_its_time);
    tcase_add_test(c, an_actor_takes_and_refuses);
    tcase_add_test(c, an_actor_takes_and_refuses_bodies);
    tcase_add_test(c, posts_from_threads_run_on_the_loops_thread);
    tcase_add_test(c, after_a_stop_calls_say_closed);
    tcase_add_test(c, one_descriptor_is_enough);
    tcase_add_test(c, descriptors_are_closed_on_exec_and_given_back);
    tcase_add_test(c, a_paused_receiver_bounds_both_and_nothing_is_lost);
    tcase_add_test(c, a_reload_of_the_deny_list_ends_a_live_connection);
    tcase_add_test(c, first_use_is_remembered_in_its_file_across_restarts);
    tcase_add_test(c, the_peer_book_is_kept_in_the_state_folder);
    tcase_add_test(c, counters_tell_what_passed);
    tcase_add_test(c, a_traffic_of_messages_takes_no_more_memory);
    tcase_add_test(c, small_socket_buffers_are_told_to_who_asked);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
