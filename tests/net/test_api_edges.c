/* tests/net/test_api_edges.c - what a program that waits may rely on: calls between two waits wake
 * it where there is something to do, and an end is told, whatever ended the server. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "couple.h"
#include "../unit/harness.h"

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

static void send_text(struct side *from, struct side *to, const char *text)
{
    tbq_message m = tbq_transition(text, strlen(text));
    ck_assert_int_eq(tbq_send_to(from->server, tbq_server_peer_id(to->server), &m, NULL), 0);
}

/* ---- waiting ---- */

/* So often in a row a has nothing to do, and may not wait; `most` ends it. */
static int busy_turns(int most)
{
    struct timespec t;
    int n = 0;

    while (n < most && tbq_server_timeout(a.server, &t) != NULL && t.tv_sec == 0 &&
           t.tv_nsec == 0) {
        ck_assert_int_eq(tbq_server_process(a.server), 0);
        couple_pull(&a);
        n++;
    }
    return n;
}

static void connect_busy(uint32_t us)
{
    tbq_connection c;
    tbq_config config = couple_config(&a);
    config.busy_poll_us = us;
    ck_assert_int_eq(tbq_server_start(&a.server, &config, NULL, NULL, NULL), 0);
    couple_start(&b);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &c), 0);
    ck_assert(couple_run(&a, &b, a_is_up, NULL));
}

/* For a second: far more turns than there is anything to do in. */
START_TEST(who_polls_busily_does_not_wait)
{
    connect_busy(1000000);
    ck_assert_int_eq(busy_turns(200), 200);
    int fd = tbq_server_fd(a.server);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ck_assert(fd == TBQ_ERR_UNSUPPORTED || poll(&p, 1, 0) == 1);
    end();
}
END_TEST

START_TEST(nor_does_it_poll_for_ever)
{
    connect_busy(1);
    ck_assert_int_lt(busy_turns(100000), 100000);
    end();
}
END_TEST

/* Both work until neither has anything to do before its next timer. */
static void calm_down(int fd)
{
    for (int i = 0; i < 1000; i++) {
        struct pollfd fds[TBQ_FDS_MAX + 1] = {{.fd = fd, .events = POLLIN}};
        size_t n = tbq_server_pollfds(b.server, fds + 1, TBQ_FDS_MAX);
        if (poll(fds, (nfds_t)n + 1, 300) == 0) {
            return;
        }
        ck_assert_int_eq(tbq_server_process(a.server), 0);
        ck_assert_int_eq(tbq_server_process(b.server), 0);
        couple_pull(&a);
        couple_pull(&b);
    }
    ck_abort_msg("it is never calm");
}

static bool is_readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 100) == 1;
}

START_TEST(the_one_descriptor_notices_calls_between_two_waits)
{
    connect_them();
    int fd = tbq_server_fd(a.server); /* asked for once, as a loop that registers it does */
    if (fd == TBQ_ERR_UNSUPPORTED) {
        end();
        return;
    }
    calm_down(fd);
    send_text(&a, &b, "a word");
    ck_assert(is_readable(fd));
    calm_down(fd);
    ck_assert_uint_eq(a.fates[TBQ_DELIVERED], 1);
    a.keep = true;
    send_text(&b, &a, "another");
    ck_assert_int_eq(tbq_server_process(b.server), 0);
    calm_down(fd);
    ck_assert_uint_eq(a.kept, 1);
    tbq_event_release(a.last[--a.kept]); /* its sender is to be told */
    ck_assert(is_readable(fd));
    calm_down(fd);
    ck_assert_uint_eq(b.fates[TBQ_DELIVERED], 1);
    ck_assert_int_eq(tbq_server_stop(a.server, 1000), 0);
    ck_assert(is_readable(fd));
    end();
}
END_TEST

static int socket_of(tbq_server *s)
{
    struct pollfd fds[TBQ_FDS_MAX];
    ck_assert_uint_ge(tbq_server_pollfds(s, fds, TBQ_FDS_MAX), 1);
    return fds[0].fd;
}

static bool is_quiet(int ms)
{
    struct pollfd p[] = {{.fd = socket_of(a.server), .events = POLLIN},
                         {.fd = socket_of(b.server), .events = POLLIN}};
    return poll(p, 2, ms) == 0;
}

/* Both without anything on its way, and no timer near: what acknowledges alone waits for a few
 * milliseconds. */
static void all_is_told(void)
{
    for (int quiet = 0; quiet < 3; quiet = is_quiet(10) ? quiet + 1 : 0) {
        ck_assert_int_eq(tbq_server_process(a.server), 0);
        couple_pull(&a);
        ck_assert_int_eq(tbq_server_process(b.server), 0);
        couple_pull(&b);
    }
}

START_TEST(the_end_of_the_events_sends_what_was_said)
{
    connect_them();
    all_is_told();
    send_text(&a, &b, "a word");
    ck_assert(!is_readable(socket_of(b.server)));
    ck_assert_ptr_null(tbq_server_next_event(a.server));
    ck_assert(is_readable(socket_of(b.server)));
    end();
}
END_TEST

/* What was sent leaves nothing to do at once: what comes due a moment after a packet is over before
 * anybody could wait for it, and a turn for that alone would be one for nothing. */
START_TEST(what_was_sent_wakes_nobody)
{
    static char words[3000];
    int at_once = 0;
    memset(words, 'x', sizeof words - 1); /* two packets and more: they have a pace */
    connect_them();
    all_is_told();
    for (int i = 0; i < 100; i++) {
        struct timespec t = {0};
        send_text(&a, &b, words);
        ck_assert_ptr_null(tbq_server_next_event(a.server));
        ck_assert(is_readable(socket_of(b.server)));
        ck_assert_ptr_nonnull(tbq_server_timeout(a.server, &t));
        at_once += t.tv_sec == 0 && t.tv_nsec == 0;
        all_is_told();
    }
    ck_assert_int_lt(at_once, 10); /* some other timer may have come due */
    end();
}
END_TEST

/* Who does not pull is asked to go on within a moment, and then the peer hears that it came. */
START_TEST(what_waits_for_the_events_does_not_wait_for_ever)
{
    struct timespec t = {.tv_sec = 99};
    connect_them();
    all_is_told();
    for (int i = 0; i < 20; i++) { /* enough for an acknowledgement at once */
        send_text(&a, &b, "a word");
        ck_assert_ptr_null(tbq_server_next_event(a.server));
    }
    ck_assert(is_readable(socket_of(b.server)));
    ck_assert_int_eq(tbq_server_process(b.server), 0);
    ck_assert_ptr_nonnull(tbq_server_timeout(b.server, &t));
    ck_assert(t.tv_sec == 0 && t.tv_nsec <= 1000000);
    ck_assert(!is_readable(socket_of(a.server)));
    ck_assert_int_eq(tbq_server_process(b.server), 0);
    ck_assert(is_readable(socket_of(a.server)));
    end();
}
END_TEST

START_TEST(who_hears_that_it_has_stopped_has_said_goodbye)
{
    connect_them();
    all_is_told();
    ck_assert_int_eq(tbq_server_stop(a.server, 1000), 0);
    ck_assert_int_eq(tbq_server_process(a.server), 0);
    tbq_event *e;
    while ((e = tbq_server_next_event(a.server)) != NULL && e->type != TBQ_EVENT_STOPPED) {
        tbq_event_release(e);
    }
    ck_assert_ptr_nonnull(e);
    tbq_event_release(e);
    ck_assert(is_readable(socket_of(b.server)));
    end();
}
END_TEST

/* Events that came of timers alone leave nothing to send; what is sent after them is seen to. */
START_TEST(after_a_turn_of_timers_the_descriptor_notices_calls)
{
    tbq_request_id id;
    connect_them();
    int fd = tbq_server_fd(a.server);
    if (fd == TBQ_ERR_UNSUPPORTED) {
        end();
        return;
    }
    b.keep = true;
    ck_assert_int_eq(tbq_request(a.server, tbq_server_peer_id(b.server), "?", 1, 2500, NULL, &id),
                     0);
    all_is_told();
    calm_down(fd);
    tbq_event *e = NULL;
    while (e == NULL) { /* until there is no answer in time */
        ck_assert_int_eq(tbq_server_process(b.server), 0);
        couple_pull(&b);
        ck_assert_int_eq(tbq_server_process(a.server), 0);
        e = tbq_server_next_event(a.server);
        (void)is_readable(fd); /* or, with an event, that it does not wait for ever */
    }
    ck_assert_int_eq(e->type, TBQ_EVENT_RESPONSE);
    tbq_event_release(e);
    ck_assert_ptr_null(tbq_server_next_event(a.server));
    ck_assert(!is_readable(fd));
    send_text(&a, &b, "a word");
    ck_assert(is_readable(fd));
    end();
}
END_TEST

#define ASKED 24

/* The first events have waited for so long that packets leave amid them. */
START_TEST(who_stops_amid_the_events_is_heard_all_the_same)
{
    tbq_request_id id;
    connect_them();
    int fd = tbq_server_fd(a.server);
    if (fd == TBQ_ERR_UNSUPPORTED) {
        end();
        return;
    }
    b.keep = true;
    uint64_t began = couple_now_ns();
    for (int i = 0; i < ASKED; i++) {
        ck_assert_int_eq(
            tbq_request(a.server, tbq_server_peer_id(b.server), "?", 1, 2500, NULL, &id), 0);
    }
    uint64_t until_all_are_due = couple_now_ns() - began + 1000000; /* from the first one on */
    all_is_told();
    calm_down(fd);
    tbq_event *e = NULL;
    for (int turns = 0; e == NULL; turns++) {
        ck_assert_int_lt(turns, 1000);
        ck_assert_int_eq(tbq_server_process(b.server), 0);
        couple_pull(&b);
        (void)is_readable(fd);
        for (uint64_t at = couple_now_ns() + until_all_are_due; couple_now_ns() < at;) {
            ck_assert_int_eq(tbq_server_process(b.server), 0);
        }
        ck_assert_int_eq(tbq_server_process(a.server), 0);
        (void)is_readable(fd); /* when the events, if there are any, have waited for long */
        e = tbq_server_next_event(a.server);
    }
    for (int i = 0; i < ASKED / 2 && e != NULL; i++) {
        tbq_event_release(e);
        e = tbq_server_next_event(a.server);
    }
    ck_assert_ptr_nonnull(e); /* not the last one */
    tbq_event_release(e);
    send_text(&a, &b, "a word");
    ck_assert(is_readable(fd));
    end();
}
END_TEST

static bool a_was_told(void *arg)
{
    (void)arg;
    return a.events[TBQ_EVENT_FATE] > 0;
}

static tbq_stats stats_of(tbq_server *s)
{
    tbq_stats st;
    tbq_stats_init(&st);
    ck_assert_int_eq(tbq_server_stats(s, &st), 0);
    return st;
}

static bool b_holds_one(void *arg)
{
    const tbq_peers *peers;
    (void)arg;
    ck_assert_int_eq(tbq_server_peers(b.server, tbq_server_peer_id(a.server), &peers), 0);
    bool holds = peers->peer[0]->stats.held_messages > 0;
    tbq_peers_free(peers);
    return holds;
}

static bool b_waits(void *arg)
{
    struct timespec t = {.tv_sec = 99};
    (void)arg;
    return tbq_server_timeout(b.server, &t) == NULL || t.tv_sec > 0 || t.tv_nsec > 0;
}

START_TEST(a_resume_wakes_for_what_was_held)
{
    struct timespec t = {.tv_sec = 99};
    connect_them();
    ck_assert_int_eq(tbq_pause(b.server, tbq_server_peer_id(a.server), TBQ_LANES_ALL), 0);
    send_text(&a, &b, "while paused");
    ck_assert(couple_run(&a, &b, b_holds_one, NULL));
    ck_assert(couple_run(&a, &b, b_waits, NULL)); /* for nothing else that would wake it now */
    ck_assert_uint_eq(b.events[TBQ_EVENT_MESSAGE], 0);
    ck_assert_int_eq(tbq_resume(b.server, tbq_server_peer_id(a.server), TBQ_LANES_ALL), 0);
    ck_assert_ptr_nonnull(tbq_server_timeout(b.server, &t));
    ck_assert(t.tv_sec == 0 && t.tv_nsec == 0); /* there is an event to pull */
    ck_assert(couple_run(&a, &b, a_was_told, NULL));
    ck_assert_uint_eq(a.fates[TBQ_DELIVERED], 1);
    end();
}
END_TEST

static void count(void *arg)
{
    (*(int *)arg)++;
}

static int stops;
static int ran;

static int take(void *user, tbq_server *s, const tbq_event *e)
{
    (void)user, (void)s, (void)e;
    return 0;
}

static void post_at_the_end(void *user, tbq_server *s, const tbq_event *e)
{
    (void)user;
    if (e->type == TBQ_EVENT_STOPPED) {
        stops++;
        ck_assert_int_eq(tbq_post(s, count, &ran), 0);
    }
}

START_TEST(what_was_posted_before_the_end_runs)
{
    tbq_config c = couple_config(&a);
    tbq_actor actor;
    tbq_actor_init(&actor);
    actor.on_message = take;
    actor.on_event = post_at_the_end;
    stops = ran = 0;
    ck_assert_int_eq(tbq_server_start(&a.server, &c, &actor, NULL, NULL), 0);
    ck_assert_int_eq(tbq_server_stop(a.server, 0), 0);
    ck_assert_int_eq(tbq_server_process(a.server), 0);
    ck_assert_int_eq(stops, 1);
    ck_assert_int_eq(ran, 1); /* it was taken, so it runs, though nobody processes again */
    ck_assert_int_eq(tbq_post(a.server, count, &ran), TBQ_ERR_CLOSED);
    couple_end(&a);
}
END_TEST

START_TEST(a_socket_that_fails_ends_the_server_and_all_is_told)
{
    connect_them();
    send_text(&a, &b, "never sent");
    struct pollfd fds[TBQ_FDS_MAX];
    ck_assert_uint_ge(tbq_server_pollfds(a.server, fds, TBQ_FDS_MAX), 2);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(dup2(null, fds[0].fd), 0); /* the program closed what is not its own */
    close(null);
    ck_assert_int_eq(tbq_server_process(a.server), TBQ_ERR_IO);
    couple_pull(&a);
    ck_assert_uint_eq(a.events[TBQ_EVENT_FATE], 1);
    ck_assert_uint_eq(a.events[TBQ_EVENT_STOPPED], 1);
    ck_assert_int_eq(tbq_post(a.server, count, &ran), TBQ_ERR_CLOSED);
    end();
}
END_TEST

static void release_it(void *user, tbq_server *s, const tbq_event *e)
{
    tbq_event *event = (tbq_event *)(uintptr_t)e;
    (void)user, (void)s;
    tbq_event_release(event); /* as one that pulls would */
    tbq_event_refuse(event);
    tbq_event_accept(event);
    stops += event->type == TBQ_EVENT_STOPPED;
}

START_TEST(an_actor_cannot_end_the_event_that_it_was_lent)
{
    tbq_config c = couple_config(&a);
    tbq_actor actor;
    tbq_actor_init(&actor);
    actor.on_message = take;
    actor.on_event = release_it;
    stops = 0;
    ck_assert_int_eq(tbq_server_start(&a.server, &c, &actor, NULL, NULL), 0);
    ck_assert_int_eq(tbq_server_stop(a.server, 0), 0);
    ck_assert_int_eq(tbq_server_process(a.server), 0);
    ck_assert_int_eq(stops, 1);
    ck_assert_uint_eq(stats_of(a.server).connections, 0);
    couple_end(&a);
}
END_TEST

#define DIALS 20

/* Closes what is up, and dials again what is gone, as it hears of it. */
static void redial(void *user, tbq_server *s, const tbq_event *e)
{
    int *dials = user;
    tbq_connection c;

    if (e->type == TBQ_EVENT_CONNECTED) {
        (void)tbq_connection_close(s, e->connection); /* it may have ended meanwhile */
    } else if (e->type == TBQ_EVENT_DISCONNECTED && ++*dials < DIALS) {
        ck_assert_int_eq(tbq_server_connect(s, tbq_server_uri(b.server), &c), 0);
    }
}

static bool dials_done(void *arg)
{
    return *(int *)arg == DIALS;
}

START_TEST(an_actor_may_dial_from_its_callback)
{
    tbq_config c = couple_config(&a);
    tbq_connection first;
    tbq_actor actor;
    int dials = 0;

    couple_start(&b);
    tbq_actor_init(&actor);
    actor.on_message = take;
    actor.on_event = redial;
    actor.user = &dials;
    ck_assert_int_eq(tbq_server_start(&a.server, &c, &actor, NULL, NULL), 0);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &first), 0);
    ck_assert(couple_run(&a, &b, dials_done, &dials));
    end();
}
END_TEST

#define QUESTIONS 80 /* more than the answers that may wait (64), less than what a socket holds */

/* Nobody reads on while answers fill their queue: each of many questions that waited in the socket
 * is answered, here with Version Negotiation (RFC 9000, section 6.1: datagrams of 1,200 bytes). */
START_TEST(every_question_that_waited_is_answered)
{
    uint8_t question[1200] = {0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    couple_start(&a);
    to.sin_port = htons((uint16_t)atoi(strrchr(tbq_server_address(a.server), ':') + 1));
    for (int i = 0; i < QUESTIONS; i++) {
        ck_assert_int_eq(
            sendto(fd, question, sizeof question, 0, (struct sockaddr *)&to, sizeof to),
            sizeof question);
    }
    while (stats_of(a.server).packets_received < QUESTIONS) {
        ck_assert_int_eq(tbq_server_process(a.server), 0);
    }
    ck_assert_uint_eq(stats_of(a.server).versions_sent, QUESTIONS);
    ck_assert_uint_eq(stats_of(a.server).unanswered, 0);
    close(fd);
    couple_end(&a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("api_edges");
    TCase *c = tcase_create("edges");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, who_polls_busily_does_not_wait);
    tcase_add_test(c, nor_does_it_poll_for_ever);
    tcase_add_test(c, the_one_descriptor_notices_calls_between_two_waits);
    tcase_add_test(c, the_end_of_the_events_sends_what_was_said);
    tcase_add_test(c, what_was_sent_wakes_nobody);
    tcase_add_test(c, what_waits_for_the_events_does_not_wait_for_ever);
    tcase_add_test(c, who_hears_that_it_has_stopped_has_said_goodbye);
    tcase_add_test(c, after_a_turn_of_timers_the_descriptor_notices_calls);
    tcase_add_test(c, who_stops_amid_the_events_is_heard_all_the_same);
    tcase_add_test(c, a_resume_wakes_for_what_was_held);
    tcase_add_test(c, what_was_posted_before_the_end_runs);
    tcase_add_test(c, a_socket_that_fails_ends_the_server_and_all_is_told);
    tcase_add_test(c, every_question_that_waited_is_answered);
    tcase_add_test(c, an_actor_cannot_end_the_event_that_it_was_lent);
    tcase_add_test(c, an_actor_may_dial_from_its_callback);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
