/* cli/client.c - tbq client: ping, send, ask; and tell the fate of everything. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tbq.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, false                                                                          \
    }

/* Told by us from messages, which are tagged by their number from 1. */
#define TAG_PING UINT64_MAX
#define TAG_REQUEST (UINT64_MAX - 1)

#define ALWAYS_TAKEN 1024     /* bytes: every node takes messages of this size */
#define PROGRESS_MS 250       /* how often people are told */
#define PROGRESS_JSON_MS 1000 /* and programs */

/* A message is taken from its file, or goes as a body where the file is larger. */
struct message {
    struct input in; /* of a line: no more than where it is */
    bool settled;
};

struct state {
    tbq_server *server;
    tbq_connection conn;
    struct loop loop;
    struct options o;
    struct input files[PATHS_MAX];
    size_t largest;        /* bytes of a message */
    struct input *sending; /* as a body: one at a time */
    tbq_body body;
    uint8_t *request;
    size_t request_size;
    struct message *messages;
    size_t messages_len;
    size_t next;     /* message to hand to the library */
    uint64_t pings;  /* sent */
    uint64_t pongs;  /* pings that need no more waiting */
    bool ping_taken; /* the last ping, by the peer: its pong is under way, or lost */
    size_t settled;  /* messages with a fate */
    size_t bad;      /* of them not delivered, or unknown */
    bool asked, answered;
    bool full; /* the outbox: WRITABLE will come */
    bool gone; /* the connection, for good */
    bool up;
    tbq_peer_id peer;
    char last_words[320]; /* why the connection was lost last */
    int failure;          /* what went wrong first, told when every fate was: a TBQ_ERR_* */
    int status;           /* the exit status for it */
    char why[512];
};

/* Keeps the first thing that went wrong: the fates come before it. */
static void failed(struct state *s, int status, int code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void failed(struct state *s, int status, int code, const char *format, ...)
{
    va_list args;

    if (s->status == 0) {
        s->failure = code;
        s->status = status;
        va_start(args, format);
        vsnprintf(s->why, sizeof s->why, format, args);
        va_end(args);
    }
}

static int add_message(struct state *s, const struct input *in)
{
    if ((s->messages_len & (s->messages_len - 1)) == 0) { /* full: room for twice as many */
        size_t room = s->messages_len > 0 ? 2 * s->messages_len : 1;
        struct message *more = realloc(s->messages, room * sizeof *more);
        if (more == NULL) {
            return fail(EXIT_USAGE, TBQ_ERR_NOMEM, "out of memory");
        }
        s->messages = more;
    }
    s->messages[s->messages_len++] = (struct message){*in, false};
    return 0;
}

static int add_lines(struct state *s, const struct input *in)
{
    uint8_t *at = in->data, *end = at + in->size;
    int rv = 0;

    while (at < end && rv == 0) {
        uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop != NULL ? stop : end;
        size_t size = (size_t)(stop - at);
        rv = add_message(s, &(struct input){.data = at, .size = size, .fd = -1, .length = size});
        at = stop < end ? stop + 1 : end;
    }
    return rv;
}

static int load(struct state *s)
{
    size_t stdins = s->o.request != NULL && strcmp(s->o.request, "-") == 0;

    for (size_t i = 0; i < s->o.send_len; i++) {
        stdins += strcmp(s->o.send[i], "-") == 0;
    }
    if (stdins > 1) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                    "\"-\" is given twice: standard input is read once");
    }
    for (size_t i = 0; i < s->o.send_len; i++) {
        struct input *in = &s->files[i];
        int rv = input_open(&s->loop, s->o.send[i], s->o.lines ? SIZE_MAX : s->largest, in);
        if (rv != 0 || (rv = s->o.lines ? add_lines(s, in) : add_message(s, in)) != 0) {
            return rv;
        }
    }
    if (s->o.request == NULL) {
        return 0;
    }
    int rv = file_read(&s->loop, s->o.request, &s->request, &s->request_size);
    while (rv == 0 && s->request_size > 0 && strcmp(s->o.request, "-") == 0 &&
           s->request[s->request_size - 1] == '\n') {
        s->request_size--; /* a name that was typed or echoed */
    }
    return rv;
}

static void tell_fate(struct state *s, size_t i, const char *fate, const char *reason)
{
    char id[24];

    s->messages[i].settled = true;
    s->settled++;
    s->bad += reason != NULL;
    snprintf(id, sizeof id, "%zu", i + 1);
    say(fate, (struct field[]){{"id", id, true}, {"reason", reason, false}, END},
        "message %s: %s%s%s", id, fate, reason != NULL ? ", " : "", reason != NULL ? reason : "");
}

/* How far it has come: a line that is written over for people, who look; events for programs. */
static void tell_progress(void *user)
{
    struct state *s = user;
    char id[24], taken[24], size[24];
    tbq_body_progress p;

    tbq_body_progress_init(&p);
    if (s->sending == NULL || tbq_server_body_progress(s->server, s->body, &p) < 0) {
        return;
    }
    if (loop_stopping(&s->loop)) {
        (void)tbq_body_ready(s->server, s->body); /* what waits for its input ends, too */
        return;
    }
    bool known = p.length != TBQ_LENGTH_UNKNOWN;
    snprintf(id, sizeof id, "%zu", s->next);
    snprintf(taken, sizeof taken, "%llu", (unsigned long long)p.taken);
    snprintf(size, sizeof size, "%llu", (unsigned long long)p.length);
    if (output_json) {
        say("progress",
            (struct field[]){
                {"id", id, true}, {"taken", taken, true}, {"size", known ? size : NULL, true}, END},
            "message %s: %s bytes taken", id, taken);
    } else if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\rmessage %s: %.1f", id, (double)p.taken / (1 << 20));
        fprintf(stderr, known ? " of %.1f MiB, %.0f %%" : " MiB", (double)p.length / (1 << 20),
                p.length > 0 ? 100.0 * (double)p.taken / (double)p.length : 100.0);
    }
}

static void on_input(void *user)
{
    struct state *s = user;
    (void)tbq_body_ready(s->server, s->body);
}

static int64_t read_input(void *user, void *buffer, size_t size)
{
    struct state *s = user;
    if (loop_stopping(&s->loop)) {
        return TBQ_ERR_STOPPED; /* so that the receiver need not wait for more */
    }
    int64_t n = input_read(s->sending, buffer, size);

    if (n == TBQ_ERR_AGAIN) {
        s->loop.input = s->sending->fd;
        s->loop.on_input = on_input;
    }
    return n;
}

/* What is too large for a message. */
static int send_body(struct state *s, struct input *in, uint64_t tag)
{
    tbq_body_options o;

    tbq_body_options_init(&o);
    o.tag = tag;
    int rv = tbq_send_body(s->server, &s->peer, read_input, s, in->length, &o, &s->body);
    if (rv == 0) {
        s->sending = in;
        s->loop.on_tick = tell_progress;
        s->loop.tick_ms = output_json ? PROGRESS_JSON_MS : PROGRESS_MS;
        s->loop.next_tick = loop_now_ms() + s->loop.tick_ms;
    }
    return rv;
}

/* Its fate is known: nothing is read any more, and the next one may go. */
static void end_body(struct state *s)
{
    if (s->sending != NULL) {
        if (!output_json && isatty(STDERR_FILENO)) {
            fputs("\r\033[K", stderr); /* the line of its progress goes */
        }
        s->sending = NULL;
        s->loop.on_tick = NULL;
        s->loop.on_input = NULL;
    }
}

static void send_messages(struct state *s)
{
    for (; s->next < s->messages_len && !s->full && !s->gone && s->sending == NULL; s->next++) {
        struct input *in = &s->messages[s->next].in;
        tbq_message m = tbq_transition(in->data, in->size);
        tbq_send_options o;
        tbq_send_options_init(&o);
        o.tag = s->next + 1;
        if (!s->up && in->length > ALWAYS_TAKEN) {
            return; /* how much the peer takes is known when it is there */
        }
        int rv = in->length > s->largest ? TBQ_ERR_TOO_LARGE : tbq_send(s->server, s->conn, &m, &o);
        if (rv == TBQ_ERR_TOO_LARGE) {
            rv = send_body(s, in, o.tag);
        }
        s->full = rv == TBQ_ERR_AGAIN; /* WRITABLE says when to go on */
        s->gone = rv == TBQ_ERR_CLOSED;
        if (s->full || s->gone) {
            return;
        }
        if (rv < 0) {
            tell_fate(s, s->next, "undelivered", tbq_strerror(rv));
        }
    }
}

/* One after another; on the lane that waits for no file. A full outbox: tried when it is not. */
static void send_ping(struct state *s)
{
    tbq_message m = tbq_ping();
    tbq_send_options o;

    tbq_send_options_init(&o);
    o.tag = TAG_PING;
    o.lane = TBQ_LANE_CRITICAL;
    if (s->pings > s->pongs || s->pings >= s->o.count) {
        return;
    }
    int rv = tbq_send(s->server, s->conn, &m, &o);
    s->gone = s->gone || rv == TBQ_ERR_CLOSED;
    if (rv == 0) {
        s->ping_taken = false;
        s->pings++;
    }
}

static void ask(struct state *s)
{
    tbq_request_id id;
    tbq_send_options o;

    if (s->o.request == NULL || s->asked || !s->up) {
        return;
    }
    tbq_send_options_init(&o);
    o.tag = TAG_REQUEST;
    int rv = tbq_request(s->server, &s->peer, s->request, s->request_size,
                         (uint32_t)s->o.timeout_ms, &o, &id);
    s->asked = rv != TBQ_ERR_AGAIN;
    if (rv < 0 && s->asked) {
        failed(s, EXIT_NETWORK, rv, "the request: %s", tbq_strerror(rv));
        s->answered = true;
    }
}

/* Whatever there is room for. */
static void go_on(struct state *s)
{
    if (!loop_stopping(&s->loop) && !s->gone) {
        send_ping(s);
        ask(s);
        send_messages(s);
    }
    if (s->gone) {
        tbq_server_stop(s->server, 0); /* nobody to send to any more: the fates, then STOPPED */
    }
}

static void on_fate(struct state *s, const tbq_event *e)
{
    static const char *const names[] = {"", "delivered", "undelivered", "unknown"};
    bool good = e->fate == TBQ_DELIVERED;

    if (e->tag != TAG_PING && e->tag != TAG_REQUEST) {
        if (e->body != 0) {
            end_body(s);
        }
        tell_fate(s, e->tag - 1, names[e->fate], good ? NULL : e->text);
        return;
    }
    if (e->tag == TAG_PING) {
        s->ping_taken = good;
    }
    if (good) {
        return; /* its answer speaks for itself */
    }
    if (!loop_stopping(&s->loop)) { /* else why it stops is told */
        failed(s, EXIT_NETWORK, e->reason, "the %s was %s: %s",
               e->tag == TAG_PING ? "ping" : "request",
               e->fate == TBQ_UNKNOWN ? "sent, and nothing more is known" : "not delivered",
               e->text);
    }
    s->pongs = s->o.count;
    s->answered = true;
}

static void on_pong(struct state *s, const tbq_event *e)
{
    char rtt[32];
    snprintf(rtt, sizeof rtt, "%.3f", (double)e->message->u.pong.rtt_ns / 1e6);
    say("pong", (struct field[]){{"rtt_ms", rtt, true}, END}, "pong after %s ms", rtt);
    s->pongs++;
}

static void on_response(struct state *s, const tbq_event *e)
{
    char hash[65], size[24];
    tbq_bytes bytes = e->message->u.response.bytes;

    s->answered = true;
    if (e->reason != 0) {
        failed(s, EXIT_NETWORK, e->reason, "the request: %s", e->text);
        return;
    }
    if (e->message->u.response.status != TBQ_RESPONSE_OK) {
        failed(s, EXIT_NETWORK, TBQ_ERR_REFUSED, "the request was answered: %.*s", (int)bytes.size,
               bytes.size > 0 ? (const char *)bytes.data : "");
        return;
    }
    int error = file_write(s->o.output, bytes.data, bytes.size);
    if (error != 0) {
        failed(s, EXIT_USAGE, TBQ_ERR_FILE, "%s: %s",
               s->o.output != NULL ? s->o.output : "standard output", strerror(error));
        return;
    }
    sha256_text(bytes.data, bytes.size, hash);
    snprintf(size, sizeof size, "%zu", bytes.size);
    say("response", (struct field[]){{"size", size, true}, {"sha256", hash, false}, END},
        "%s bytes, sha256 %s", size, hash);
}

static void on_connected(struct state *s, const tbq_event *e)
{
    char peer[TBQ_PEER_ID_TEXT_SIZE];

    s->peer = *e->peer;
    tbq_peer_id_to_text(e->peer, peer);
    say("connected",
        (struct field[]){{"peer_id", peer, false}, {"address", e->address, false}, END},
        "connected to %s at %s", peer, e->address);
    if (s->up && s->pings > s->pongs && s->ping_taken) {
        s->pings--; /* its pong was lost with the connection: ask again */
    }
    s->up = true;
}

static bool done(const struct state *s)
{
    return s->pongs >= s->o.count && s->settled >= s->messages_len &&
           (s->o.request == NULL || s->answered);
}

static bool on_event(void *user, tbq_event *e)
{
    struct state *s = user;
    bool stopped = e->type == TBQ_EVENT_STOPPED;

    switch (e->type) {
    case TBQ_EVENT_CONNECTED:
        on_connected(s, e);
        break;
    case TBQ_EVENT_DISCONNECTED:
        snprintf(s->last_words, sizeof s->last_words, "%s", e->text);
        if (!done(s)) {
            say("disconnected", (struct field[]){{"reason", e->text, false}, END},
                "the connection is gone: %s", e->text);
        }
        break;
    case TBQ_EVENT_CONNECT_FAILED:
        if (!loop_stopping(&s->loop)) {
            failed(s, EXIT_NETWORK, e->reason, "%s: %s", e->address, e->text);
            s->gone = true;
        }
        break;
    case TBQ_EVENT_WARNING:
        say("warning", (struct field[]){{"text", e->text, false}, END}, "warning: %s", e->text);
        break;
    case TBQ_EVENT_MESSAGE:
        if (e->message->kind == TBQ_PONG) {
            on_pong(s, e);
        }
        break;
    case TBQ_EVENT_RESPONSE:
        on_response(s, e);
        break;
    case TBQ_EVENT_FATE:
        on_fate(s, e);
        break;
    case TBQ_EVENT_WRITABLE:
        s->full = false;
        break;
    default:
        break;
    }
    tbq_event_release(e);
    if (!stopped) {
        if (done(s)) {
            tbq_server_stop(s->server, 1000);
        } else {
            go_on(s);
        }
    }
    return !stopped;
}

/* Dials, and does all that was asked for, or as much of it as is possible. */
static void talk(struct state *s)
{
    int rv = tbq_server_connect(s->server, s->o.address, &s->conn);

    if (rv < 0) {
        failed(s, rv == TBQ_ERR_ADDRESS || rv == TBQ_ERR_INVALID ? EXIT_USAGE : EXIT_NETWORK, rv,
               "%s: %s", s->o.address, tbq_strerror(rv));
        return;
    }
    send_ping(s); /* what waits for the connection goes out with its beginning */
    send_messages(s);
    rv = loop_run(&s->loop, on_event, s);
    if (rv < 0) {
        failed(s, EXIT_NETWORK, rv, "%s", tbq_strerror(rv));
    }
}

/* The fates of what the library never had, the error if there is one, and the exit status. */
static int sum_up(struct state *s)
{
    if (s->loop.timed_out) {
        failed(s, EXIT_NETWORK, TBQ_ERR_TIMEOUT, "not done after %llu ms",
               (unsigned long long)s->o.timeout_ms);
    }
    if (!done(s) && !loop_stopping(&s->loop)) {
        failed(s, EXIT_NETWORK, TBQ_ERR_LOST, "%s: the connection was lost: %s", s->o.address,
               s->last_words);
    }
    for (size_t i = 0; i < s->messages_len; i++) {
        if (!s->messages[i].settled) {
            tell_fate(s, i, i < s->next ? "unknown" : "undelivered",
                      tbq_strerror(s->failure != 0 ? s->failure : TBQ_ERR_STOPPED));
        }
    }
    if (output_failed) {
        return EXIT_USAGE;
    }
    if (s->loop.stops > 0) {
        return EXIT_DONE; /* as asked */
    }
    if (s->status != 0) {
        return fail(s->status, s->failure, "%s", s->why);
    }
    return s->bad > 0 ? EXIT_NETWORK : EXIT_DONE;
}

static int check_options(struct state *s)
{
    struct options *o = &s->o;

    if (o->output != NULL && o->request == NULL) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID, "--output is for the answer to a --request");
    }
    if (o->lines && o->send_len == 0) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID, "--lines is for the files of --send");
    }
    output_to_stderr = o->request != NULL && o->output == NULL;
    if (output_to_stderr && output_json) {
        output_to_stderr = false;
        return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                    "--request with --json needs --output: standard output is for JSON");
    }
    o->address = o->address != NULL ? o->address : "127.0.0.1:8443";
    if (o->count == 0 && o->send_len == 0 && o->request == NULL) {
        o->count = 1;
    }
    return 0;
}

int run_client(int argc, char **argv)
{
    static const char *const allowed[] = {"count",     "send",    "lines",      "early", "request",
                                          "output",    "timeout", "cert",       "key",   "state",
                                          "log-level", "ADDR",    OPTIONS_FLOW, NULL};
    struct state s = {0};
    char why[512] = "";
    tbq_config c;

    tbq_config_init(&c);
    c.no_discovery = true; /* it is here for one node */
    c.network_mode = TBQ_MODE_CLIENT;
    c.ping_interval_ms = 1000; /* somebody waits: a server that is gone is to be noticed soon */
    c.error_text = why;
    c.error_text_size = sizeof why;
    int rv = options_read(&s.o, command_named("client"), allowed, argc, argv);
    if (rv != 0 || (rv = options_to_config(&s.o, &c)) != 0 || (rv = check_options(&s)) != 0 ||
        (rv = loop_open(&s.loop, s.o.timeout_ms)) != 0) {
        return rv;
    }
    s.largest = c.max_message_size;
    rv = load(&s);
    if (rv == 0 && !loop_stopping(&s.loop)) {
        int error = tbq_server_start(&s.server, &c, NULL, NULL, NULL);
        if (error < 0) {
            failed(&s, EXIT_USAGE, error, "%s", why);
        } else {
            s.loop.server = s.server;
            talk(&s);
        }
    }
    rv = rv != 0 ? rv : sum_up(&s);
    tbq_server_free(s.server);
    for (size_t i = 0; i < s.o.send_len; i++) {
        input_close(&s.files[i]);
    }
    free(s.request);
    free(s.messages);
    return rv;
}
