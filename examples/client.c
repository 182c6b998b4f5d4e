/* examples/client.c - sends its arguments as messages and tells the fate of each.
 *
 * usage: client ADDRESS TEXT...
 *
 * Exit status: 0 when all were delivered, 1 when not, 2 when it could not begin. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* ppoll() */
#endif
#include <stdio.h>
#include <string.h>

#include <tbquic/tbquic.h>

/* Until STOPPED, which comes once every message has its fate. */
static int run(tbq_server *s, char **text, int count)
{
    static const char *const fates[] = {"", "delivered", "not delivered", "unknown"};
    int delivered = 0, told = 0;

    for (bool up = true; up;) {
        struct pollfd fds[TBQ_FDS_MAX];
        struct timespec t;
        nfds_t n = tbq_server_pollfds(s, fds, TBQ_FDS_MAX);

        ppoll(fds, n, tbq_server_timeout(s, &t), NULL);
        if (tbq_server_process(s) < 0) {
            return 1;
        }
        for (tbq_event *e; (e = tbq_server_next_event(s)) != NULL; tbq_event_release(e)) {
            if (e->type == TBQ_EVENT_CONNECT_FAILED) {
                fprintf(stderr, "%s: %s\n", e->address, e->text);
            } else if (e->type == TBQ_EVENT_FATE) {
                printf("%s: %s %s\n", text[e->tag], fates[e->fate], e->text);
                delivered += e->fate == TBQ_DELIVERED;
                told++;
            } else if (e->type == TBQ_EVENT_STOPPED) {
                up = false;
            }
        }
        if (told == count) {
            tbq_server_stop(s, 1000);
        }
    }
    return delivered == count ? 0 : 1;
}

int main(int argc, char **argv)
{
    tbq_connection conn;
    tbq_server *s;
    tbq_config c;
    char why[256];

    if (argc < 3) {
        fprintf(stderr, "usage: %s ADDRESS TEXT...\n", argv[0]);
        return 2;
    }
    tbq_config_init(&c);
    c.network_mode = TBQ_MODE_CLIENT; /* dials, and accepts nobody */
    c.error_text = why;
    c.error_text_size = sizeof why;
    if (tbq_server_start(&s, &c, NULL, NULL, NULL) < 0) {
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    int rv = tbq_server_connect(s, argv[1], &conn);
    for (int i = 2; i < argc && rv == 0; i++) { /* they wait for the connection by themselves */
        tbq_message m = tbq_transition(argv[i], strlen(argv[i]));
        tbq_send_options o;
        tbq_send_options_init(&o);
        o.tag = (uint64_t)i; /* comes back with the fate */
        rv = tbq_send(s, conn, &m, &o);
    }
    if (rv < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], tbq_strerror(rv));
    }
    int status = rv < 0 ? 2 : run(s, argv, argc - 2);
    tbq_server_free(s);
    return status;
}
