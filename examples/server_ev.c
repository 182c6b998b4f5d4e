/* examples/server_ev.c - the least server on libev: prints its address, then what arrives. */
#include <signal.h>
#include <stdio.h>

#include <tbquic/ev.h>
#include <tbquic/tbquic.h>

/* 0 means taken: only then is the sender told "delivered". */
static int on_message(void *user, tbq_server *server, const tbq_event *e)
{
    (void)user;
    if (e->type == TBQ_EVENT_REQUEST) { /* answered with the bytes that were asked with */
        tbq_answer answer = {TBQ_RESPONSE_OK, e->message->u.request.bytes};
        return tbq_respond(server, e->request, &answer);
    }
    if (e->message->kind == TBQ_TRANSITION) {
        printf("%zu bytes\n", e->message->u.transition.size);
        fflush(stdout);
    }
    return 0;
}

/* STOPPED is the last event: all fates were told, all connections closed. */
static void on_event(void *user, tbq_server *server, const tbq_event *e)
{
    (void)server;
    if (e->type == TBQ_EVENT_STOPPED) {
        ev_break((struct ev_loop *)user, EVBREAK_ALL);
    }
}

static void on_signal(struct ev_loop *ev, ev_signal *w, int revents)
{
    (void)ev;
    (void)revents;
    tbq_server_stop((tbq_server *)w->data, 3000); /* a second signal changes nothing */
}

int main(void)
{
    struct ev_loop *ev = ev_default_loop(0);
    ev_signal sigint, sigterm;
    tbq_loop *loop = tbq_loop_ev(ev);
    tbq_server *server;
    tbq_actor actor;
    tbq_config c;
    char why[256] = "";

    tbq_actor_init(&actor);
    actor.on_message = on_message;
    actor.on_event = on_event;
    actor.user = ev;
    tbq_config_init(&c);
    c.bind_address = "127.0.0.1";
    c.bind_port = 0; /* any free one */
    c.error_text = why;
    c.error_text_size = sizeof why;
    if (loop == NULL || tbq_server_start(&server, &c, &actor, NULL, loop) < 0) {
        fprintf(stderr, "%s\n", why);
        tbq_loop_ev_free(loop);
        return 2;
    }
    puts(tbq_server_uri(server));
    fflush(stdout);
    ev_signal_init(&sigint, on_signal, SIGINT);
    ev_signal_init(&sigterm, on_signal, SIGTERM);
    sigint.data = sigterm.data = server;
    ev_signal_start(ev, &sigint);
    ev_signal_start(ev, &sigterm);
    ev_run(ev, 0);
    tbq_server_free(server);
    tbq_loop_ev_free(loop); /* after the server that runs on it */
    return 0;
}
