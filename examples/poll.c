/* examples/poll.c - a node in a loop of your own: a message with its fate, requests answered, a
 * descriptor of your own beside the library's, back-pressure, and a stop that loses nothing.
 *
 * usage: poll tbq://PEERID@host:port
 *
 * It prints its own address, sends "hello" to the peer, and every line of standard input after it;
 * it ends at the end of the input, or when SIGINT or SIGTERM asks it to. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* ppoll() */
#endif
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tbquic/tbquic.h>

static volatile sig_atomic_t quit; /* set by a signal, or by the end of the input */
static tbq_server *s;
static tbq_peer_id id;    /* of the peer that the bootstrap address pins */
static char unsent[4096]; /* a line that the outbox had no room for; no more is read meanwhile */
static size_t unsent_size;
static tbq_peer_id paused; /* while `full` */
static bool full;          /* this program has taken as much as it can at once */
static int status;

static void on_signal(int number)
{
    (void)number;
    quit = 1;
}

static void die(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(2);
}

/* "tbq://PEERID@..." names the peer. */
static void read_peer_id(const char *uri)
{
    char text[TBQ_PEER_ID_TEXT_SIZE];
    snprintf(text, sizeof text, "%.52s", strncmp(uri, "tbq://", 6) == 0 ? uri + 6 : "");
    if (tbq_peer_id_from_text(&id, text) < 0) {
        die("the address must be tbq://PEERID@host:port");
    }
}

static void settle(uint64_t tag, tbq_fate fate, int reason)
{
    static const char *const fates[] = {"", "delivered", "not delivered", "unknown"};
    printf("message %" PRIu64 ": %s%s%s\n", tag, fates[fate], reason < 0 ? ": " : "",
           reason < 0 ? tbq_strerror(reason) : "");
    status = fate == TBQ_DELIVERED ? status : 1;
}

static void take(const tbq_message *m)
{
    static size_t taken;
    if (m->kind == TBQ_TRANSITION) {
        printf("%zu bytes\n", m->u.transition.size);
    }
    full = full || ++taken % 1000 == 0;
}

static void retry(const tbq_peer_id *peer)
{
    static uint64_t lines;
    tbq_message m = tbq_transition(unsent, unsent_size);
    tbq_send_options o;

    if (unsent_size == 0 || tbq_peer_id_compare(peer, &id) != 0) {
        return; /* nothing waits for that peer */
    }

    tbq_send_options_init(&o);
    o.tag = 8 + lines;
    int rv = tbq_send_to(s, peer, &m, &o);
    if (rv == TBQ_ERR_AGAIN) {
        return; /* a WRITABLE event says when to try again */
    }
    if (rv < 0) {
        fprintf(stderr, "%s\n", tbq_strerror(rv));
        status = 1;
    }
    lines++;
    unsent_size = 0;
}

static void read_line(void)
{
    ssize_t n = read(STDIN_FILENO, unsent, sizeof unsent);
    if (n <= 0) {
        quit = 1;
        return;
    }
    unsent_size = (size_t)n;
    retry(&id);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        die("usage: poll tbq://PEERID@host:port");
    }
    const char *uri = argv[1];
    sigset_t blocked, sigmask; /* signals come while we wait, and at no other time */
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &sigmask);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_peer_id(uri);

    char why[256];
    const char *boot[] = {uri};
    tbq_config c;
    tbq_config_init(&c);
    c.bind_address = "127.0.0.1"; /* leave it out to be reached from elsewhere */
    c.bind_port = 0;
    c.bootstrap_nodes = boot;
    c.bootstrap_nodes_len = 1;
    c.error_text = why; /* names the field; there is no server yet */
    c.error_text_size = sizeof why;
    if (tbq_server_start(&s, &c, NULL, NULL, NULL) < 0) { /* no actor: pull; no loop: ours */
        die(why);
    }
    puts(tbq_server_uri(s));

    tbq_message m = tbq_transition("hello", 5);
    tbq_send_options o;
    tbq_send_options_init(&o);
    o.tag = 7;
    o.ttl_ms = 5000;
    if (tbq_send_to(s, &id, &m, &o) < 0) { /* its fate comes back with the tag */
        die("the peer is not known");
    }
    for (bool up = true; up;) {
        struct pollfd p[TBQ_FDS_MAX + 1];
        struct timespec t;
        nfds_t n = tbq_server_pollfds(s, p, TBQ_FDS_MAX);
        struct pollfd mine = {.fd = quit || unsent_size > 0 ? -1 : STDIN_FILENO, .events = POLLIN};

        p[n] = mine;
        if (ppoll(p, n + 1, tbq_server_timeout(s, &t), &sigmask) > 0 && p[n].revents != 0) {
            read_line();
        }
        if (tbq_server_process(s) < 0) {
            die("the socket is of no use any more");
        }
        for (tbq_event *v; (v = tbq_server_next_event(s)) != NULL; tbq_event_release(v)) {
            switch (v->type) {
            case TBQ_EVENT_MESSAGE: /* taken when it is released */
                take(v->message);
                if (full) {
                    paused = *v->peer;
                    tbq_pause(s, &paused, TBQ_LANES_ALL); /* its sender slows down, and stops */
                }
                break;
            case TBQ_EVENT_REQUEST: { /* now or later */
                tbq_answer answer = {TBQ_RESPONSE_OK, v->message->u.request.bytes};
                tbq_respond(s, v->request, &answer);
                break;
            }
            case TBQ_EVENT_FATE:
                settle(v->tag, v->fate, v->reason);
                break;
            case TBQ_EVENT_WRITABLE: /* the outbox to that peer has room again */
                retry(v->peer);
                break;
            case TBQ_EVENT_STOPPED:
                up = false;
                break;
            default:
                break;
            }
        }
        if (full) { /* what it had taken is done with: it goes on */
            full = false;
            tbq_resume(s, &paused, TBQ_LANES_ALL);
        }
        if (quit) {
            tbq_server_stop(s, 3000); /* all fates, then STOPPED; may be repeated */
        }
    }
    tbq_server_free(s);
    return status;
}
