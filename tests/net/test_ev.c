/* tests/net/test_ev.c - servers on libev: two on one loop, timers of its own, stop and free. */
#include <check.h>
#include <string.h>

#include <tbquic/ev.h>
#include <tbquic/tbquic.h>

#include "../unit/harness.h"

struct node {
    struct ev_loop *ev;
    tbq_loop *loop;
    tbq_server *server;
    size_t messages, pongs, delivered, connected;
    bool stopped;
};

static int on_message(void *user, tbq_server *server, const tbq_event *e)
{
    struct node *n = user;
    (void)server;
    n->messages += e->message->kind == TBQ_TRANSITION;
    n->pongs += e->message->kind == TBQ_PONG;
    return 0;
}

static void on_event(void *user, tbq_server *server, const tbq_event *e)
{
    struct node *n = user;
    (void)server;
    n->connected += e->type == TBQ_EVENT_CONNECTED;
    n->delivered += e->type == TBQ_EVENT_FATE && e->fate == TBQ_DELIVERED;
    if (e->type == TBQ_EVENT_STOPPED) {
        n->stopped = true;
        ev_break(n->ev, EVBREAK_ONE);
    }
    if (n->delivered == 3) { /* the ping, and two messages */
        tbq_server_stop(n->server, 1000);
    }
}

static void start(struct node *n, struct ev_loop *ev)
{
    tbq_actor actor;
    tbq_config c;

    memset(n, 0, sizeof *n);
    n->ev = ev;
    n->loop = tbq_loop_ev(ev);
    ck_assert_ptr_nonnull(n->loop);
    tbq_actor_init(&actor);
    actor.on_message = on_message;
    actor.on_event = on_event;
    actor.user = n;
    tbq_config_init(&c);
    c.bind_address = "127.0.0.1";
    c.bind_port = 0;
    ck_assert_int_eq(tbq_server_start(&n->server, &c, &actor, NULL, n->loop), 0);
}

static void guard(struct ev_loop *ev, ev_timer *w, int events)
{
    (void)w, (void)events;
    ev_break(ev, EVBREAK_ALL);
}

START_TEST(two_servers_on_one_loop_talk_and_one_stops)
{
    struct ev_loop *ev = ev_loop_new(EVFLAG_AUTO);
    struct node a, b;
    ev_timer stuck;
    tbq_connection conn;
    tbq_message m = tbq_transition("hello", 5), ping = tbq_ping();

    start(&a, ev);
    start(&b, ev);
    ev_timer_init(&stuck, guard, 60., 0.);
    ev_timer_start(ev, &stuck);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &conn), 0);
    ck_assert_int_eq(tbq_send(a.server, conn, &ping, NULL), 0);
    ck_assert_int_eq(tbq_send(a.server, conn, &m, NULL), 0);
    ck_assert_int_eq(tbq_send(a.server, conn, &m, NULL), 0);
    ev_run(ev, 0);
    ck_assert(a.stopped);
    ck_assert_uint_eq(a.connected, 1);
    ck_assert_uint_eq(a.pongs, 1);
    ck_assert_uint_eq(b.messages, 2);
    tbq_server_free(a.server); /* one goes, the other stays on the loop */
    tbq_loop_ev_free(a.loop);
    tbq_server_stop(b.server, 0);
    ev_run(ev, 0);
    ck_assert(b.stopped);
    tbq_server_free(b.server);
    tbq_loop_ev_free(b.loop);
    ev_timer_stop(ev, &stuck);
    ev_run(ev, 0); /* nothing of ours is left that would keep it running */
    ev_loop_destroy(ev);
}
END_TEST

static void touch(struct ev_loop *ev, ev_timer *w, int events)
{
    struct node *n = w->data;
    tbq_message m = tbq_transition("later", 5);
    (void)ev, (void)events;
    const tbq_peers *peers = NULL;
    ck_assert_int_eq(tbq_server_peers(n->server, NULL, &peers), 0);
    ck_assert_uint_eq(peers->len, 1);
    for (int i = 0; i < 3; i++) { /* made outside of any call of the library's */
        ck_assert_int_eq(tbq_send_to(n->server, &peers->peer[0]->id, &m, NULL), 0);
    }
    tbq_peers_free(peers);
}

START_TEST(sends_from_anywhere_in_the_program_are_noticed)
{
    struct ev_loop *ev = ev_loop_new(EVFLAG_AUTO);
    struct node a, b;
    ev_timer later, stuck;
    tbq_connection conn;

    start(&a, ev);
    start(&b, ev);
    ck_assert_int_eq(tbq_server_connect(a.server, tbq_server_uri(b.server), &conn), 0);
    ev_timer_init(&stuck, guard, 60., 0.);
    ev_timer_start(ev, &stuck);
    ev_timer_init(&later, touch, 0.3, 0.);
    later.data = &a;
    ev_timer_start(ev, &later);
    ev_run(ev, 0);
    ck_assert(a.stopped);
    ck_assert_uint_eq(b.messages, 3);
    tbq_server_free(b.server);
    tbq_server_free(a.server);
    tbq_loop_ev_free(a.loop);
    tbq_loop_ev_free(b.loop);
    ev_loop_destroy(ev);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("libev");
    TCase *c = tcase_create("loop");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, two_servers_on_one_loop_talk_and_one_stops);
    tcase_add_test(c, sends_from_anywhere_in_the_program_are_noticed);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
