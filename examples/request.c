/* examples/request.c - asks a peer for something, and writes the answer to standard output.
 *
 * usage: request tbq://PEERID@host:port QUESTION */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* ppoll() */
#endif
#include <stdio.h>
#include <string.h>

#include <tbquic/tbquic.h>

/* 0: the answer is the resource. The text of another status is for people. */
static int tell(const tbq_event *e)
{
    tbq_bytes bytes = e->message->u.response.bytes;

    if (e->reason != 0) { /* no answer came */
        fprintf(stderr, "%s\n", e->text);
        return 1;
    }
    bool good = e->message->u.response.status == TBQ_RESPONSE_OK;
    fwrite(bytes.data, 1, bytes.size, good ? stdout : stderr);
    return good ? 0 : 1;
}

static int run(tbq_server *s, tbq_request_id asked)
{
    int status = 1;

    for (bool up = true; up;) {
        struct pollfd fds[TBQ_FDS_MAX];
        struct timespec t;
        nfds_t n = tbq_server_pollfds(s, fds, TBQ_FDS_MAX);

        ppoll(fds, n, tbq_server_timeout(s, &t), NULL);
        if (tbq_server_process(s) < 0) {
            return 1;
        }
        for (tbq_event *e; (e = tbq_server_next_event(s)) != NULL; tbq_event_release(e)) {
            if (e->type == TBQ_EVENT_RESPONSE && e->request == asked) {
                status = tell(e);
                tbq_server_stop(s, 1000);
            } else if (e->type == TBQ_EVENT_CONNECT_FAILED) {
                fprintf(stderr, "%s: %s\n", e->address, e->text);
                tbq_server_stop(s, 0);
            } else if (e->type == TBQ_EVENT_STOPPED) {
                up = false;
            }
        }
    }
    return status;
}

int main(int argc, char **argv)
{
    char text[TBQ_PEER_ID_TEXT_SIZE], why[256];
    tbq_request_id asked = 0;
    tbq_connection conn;
    tbq_peer_id peer;
    tbq_server *s;
    tbq_config c;

    bool pinned = argc == 3 && strncmp(argv[1], "tbq://", 6) == 0;
    snprintf(text, sizeof text, "%.52s", pinned ? argv[1] + 6 : "");
    if (!pinned || tbq_peer_id_from_text(&peer, text) < 0) {
        fprintf(stderr, "usage: %s tbq://PEERID@host:port QUESTION\n", argv[0]);
        return 2;
    }
    tbq_config_init(&c);
    c.network_mode = TBQ_MODE_CLIENT;
    c.error_text = why;
    c.error_text_size = sizeof why;
    if (tbq_server_start(&s, &c, NULL, NULL, NULL) < 0) {
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    int rv = tbq_server_connect(s, argv[1], &conn);
    if (rv == 0) { /* 5 s for the answer, the connection included */
        rv = tbq_request(s, &peer, argv[2], strlen(argv[2]), 5000, NULL, &asked);
    }
    if (rv < 0) {
        fprintf(stderr, "%s: %s\n", argv[1], tbq_strerror(rv));
    }
    int status = rv < 0 ? 2 : run(s, asked);
    tbq_server_free(s);
    return status;
}
