/* examples/poll.c - the whole of a node in one loop of your own: dial, send, and learn the fate.
 *
 * usage: poll tbq://PEERID@host:port */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <tbquic/tbquic.h>

/* 0: the message was delivered. */
static int tell(const tbq_event *e)
{
    static const char *const fates[] = {"", "delivered", "not delivered", "unknown"};

    printf("message %" PRIu64 ": %s %s\n", e->tag, fates[e->fate], e->text);
    return e->fate == TBQ_DELIVERED ? 0 : 1;
}

/* Until STOPPED, which comes once every message has its fate. */
static int run(tbq_server *s)
{
    int status = 1;

    for (bool up = true; up;) {
        struct pollfd fds[TBQ_FDS_MAX]; /* room for descriptors of your own goes here */
        struct timespec t;
        nfds_t n = tbq_server_pollfds(s, fds, TBQ_FDS_MAX);

        ppoll(fds, n, tbq_server_timeout(s, &t), NULL);
        if (tbq_server_process(s) < 0) {
            return 1;
        }
        for (tbq_event *e; (e = tbq_server_next_event(s)) != NULL; tbq_event_release(e)) {
            if (e->type == TBQ_EVENT_CONNECT_FAILED) {
                fprintf(stderr, "%s: %s\n", e->address, e->text);
                tbq_server_stop(s, 0);
            } else if (e->type == TBQ_EVENT_FATE) {
                status = tell(e);
                tbq_server_stop(s, 1000);
            } else if (e->type == TBQ_EVENT_STOPPED) {
                up = false;
            }
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    static const char text[] = "hello";
    tbq_message m = tbq_transition(text, strlen(text));
    tbq_send_options o;
    tbq_connection conn;
    tbq_server *s;
    tbq_config c;
    char why[256] = "";

    if (argc != 2) {
        fprintf(stderr, "usage: %s tbq://PEERID@host:port\n", argv[0]);
        return 2;
    }
    tbq_config_init(&c);
    c.network_mode = TBQ_MODE_CLIENT;
    c.error_text = why; /* names the field: there is no server yet that could be asked */
    c.error_text_size = sizeof why;
    if (tbq_server_start(&s, &c, NULL, NULL, NULL) < 0) { /* no actor: pull; no loop: ours */
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    tbq_send_options_init(&o);
    o.tag = 7; /* comes back with the fate */
    o.ttl_ms = 5000;
    int rv = tbq_server_connect(s, argv[1], &conn);
    if (rv == 0) {
        rv = tbq_send(s, conn, &m, &o); /* waits for the connection by itself */
    }
    if (rv < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], tbq_strerror(rv));
    }
    int status = rv < 0 ? 2 : run(s);
    tbq_server_free(s);
    return status;
}
