/* cli/client.c - tbq client: ping, send, ask; and tell the fate of everything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tbq.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, false                                                                          \
    }

struct message {
    const uint8_t *data;
    size_t size;
};

struct state {
    tbq_server *server;
    tbq_connection conn;
    struct options o;
    uint8_t *files[PATHS_MAX];
    struct message *messages;
    size_t messages_len;
    size_t next;    /* message to hand to the library */
    uint64_t pings; /* sent */
    uint64_t pongs;
    uint64_t settled; /* messages with a fate */
    uint64_t bad;     /* of them not delivered, or unknown */
    bool asked, answered;
    tbq_peer_id peer;
    bool up;
    int status;
};

static int add_message(struct state *s, const uint8_t *data, size_t size)
{
    struct message *more = realloc(s->messages, (s->messages_len + 1) * sizeof *more);
    if (more == NULL) {
        return fail(EXIT_USAGE, TBQ_ERR_NOMEM, "out of memory");
    }
    s->messages = more;
    s->messages[s->messages_len++] = (struct message){data, size};
    return 0;
}

static int load(struct state *s)
{
    for (size_t i = 0; i < s->o.send_len; i++) {
        size_t size;
        int rv = file_read(s->o.send[i], &s->files[i], &size);
        const uint8_t *at = s->files[i], *end = at + size;
        if (rv != 0) {
            return rv;
        }
        if (!s->o.lines && (rv = add_message(s, at, size)) != 0) {
            return rv;
        }
        while (s->o.lines && at < end) {
            const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
            stop = stop != NULL ? stop : end;
            if ((rv = add_message(s, at, (size_t)(stop - at))) != 0) {
                return rv;
            }
            at = stop < end ? stop + 1 : end;
        }
    }
    return 0;
}

static void send_messages(struct state *s)
{
    while (s->next < s->messages_len) {
        tbq_message m = tbq_transition(s->messages[s->next].data, s->messages[s->next].size);
        tbq_send_options o;
        tbq_send_options_init(&o);
        o.tag = s->next + 1;
        int rv = tbq_send(s->server, s->conn, &m, &o);
        if (rv == TBQ_ERR_AGAIN) {
            return;
        }
        if (rv < 0) {
            s->status = fail(EXIT_NETWORK, rv, "message %zu: %s", s->next + 1, tbq_strerror(rv));
            s->settled++;
            s->bad++;
        }
        s->next++;
    }
}

static void send_ping(struct state *s)
{
    tbq_message m = tbq_ping();
    if (s->pings < s->o.count && tbq_send(s->server, s->conn, &m, NULL) == 0) {
        s->pings++;
    }
}

static int ask(struct state *s)
{
    uint8_t *data;
    size_t size;
    tbq_request_id id;
    uint32_t timeout = s->o.timeout_ms != 0 ? (uint32_t)s->o.timeout_ms : 0;

    if (s->o.request == NULL || s->asked) {
        return 0;
    }
    s->asked = true;
    int rv = file_read(s->o.request, &data, &size);
    if (rv != 0) {
        return rv;
    }
    while (size > 0 && strcmp(s->o.request, "-") == 0 && data[size - 1] == '\n') {
        size--; /* a name that was typed or echoed */
    }
    rv = tbq_request(s->server, &s->peer, data, size, timeout, NULL, &id);
    free(data);
    return rv < 0 ? fail(EXIT_NETWORK, rv, "%s", tbq_strerror(rv)) : 0;
}

static void on_fate(struct state *s, const tbq_event *e)
{
    static const char *const names[] = {"", "delivered", "undelivered", "unknown"};
    char id[24];

    if (e->tag == 0) { /* a ping or the request: their answers speak for themselves */
        if (e->fate != TBQ_DELIVERED) {
            s->status = fail(EXIT_NETWORK, e->reason, "%s", e->text);
            s->pongs = s->o.count;
            s->answered = true;
        }
        return;
    }
    s->settled++;
    s->bad += e->fate != TBQ_DELIVERED;
    snprintf(id, sizeof id, "%llu", (unsigned long long)e->tag);
    say(names[e->fate],
        (struct field[]){
            {"id", id, true}, {"reason", e->fate == TBQ_DELIVERED ? NULL : e->text, false}, END},
        "message %s: %s%s%s", id, names[e->fate], e->fate == TBQ_DELIVERED ? "" : ", ", e->text);
}

static void on_pong(struct state *s, const tbq_event *e)
{
    char rtt[32];
    snprintf(rtt, sizeof rtt, "%.3f", (double)e->message->u.pong.rtt_ns / 1e6);
    say("pong", (struct field[]){{"rtt_ms", rtt, true}, END}, "pong after %s ms", rtt);
    s->pongs++;
    send_ping(s);
}

static void on_response(struct state *s, const tbq_event *e)
{
    char hash[65], size[24];
    tbq_bytes bytes = e->message->u.response.bytes;

    s->answered = true;
    if (e->reason != 0) {
        s->status = fail(EXIT_NETWORK, e->reason, "%s", e->text);
        return;
    }
    if (e->message->u.response.status != TBQ_RESPONSE_OK) {
        s->status = fail(EXIT_NETWORK, TBQ_ERR_REFUSED, "the request was answered: %.*s",
                         (int)bytes.size, bytes.size > 0 ? (const char *)bytes.data : "");
        return;
    }
    if (file_write(s->o.output, bytes.data, bytes.size) != 0) {
        s->status = EXIT_USAGE;
        return;
    }
    if (s->o.output == NULL) {
        return; /* the bytes are all that standard output gets */
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
    if (s->o.request == NULL || s->o.output != NULL) {
        say("connected",
            (struct field[]){{"peer_id", peer, false}, {"address", e->address, false}, END},
            "connected to %s at %s", peer, e->address);
    }
    if (!s->up) {
        s->up = true;
        send_ping(s);
    }
    int rv = ask(s);
    if (rv != 0) {
        s->status = rv;
        s->answered = true;
    }
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
        if (!done(s)) {
            say("disconnected", (struct field[]){{"reason", e->text, false}, END},
                "the connection is gone: %s", e->text);
        }
        break;
    case TBQ_EVENT_CONNECT_FAILED:
        s->status = fail(EXIT_NETWORK, e->reason, "%s: %s", e->address, e->text);
        stopped = true;
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
        send_messages(s);
        break;
    default:
        break;
    }
    tbq_event_release(e);
    if (!stopped && done(s)) {
        tbq_server_stop(s->server, 1000);
    }
    return !stopped;
}

static int talk(struct state *s)
{
    struct loop l = {0};
    int rv = loop_open(&l, s->server);

    if (s->o.timeout_ms != 0) {
        l.deadline = loop_now_ms() + s->o.timeout_ms;
    }
    rv = rv == 0 ? tbq_server_connect(s->server, s->o.address, &s->conn) : rv;
    if (rv < 0) {
        return fail(rv == TBQ_ERR_ADDRESS || rv == TBQ_ERR_INVALID ? EXIT_USAGE : EXIT_NETWORK, rv,
                    "%s: %s", s->o.address, tbq_strerror(rv));
    }
    send_messages(s);
    rv = loop_run(&l, on_event, s);
    if (rv < 0) {
        return fail(EXIT_NETWORK, rv, "%s", tbq_strerror(rv));
    }
    if (l.timed_out) {
        return fail(EXIT_NETWORK, TBQ_ERR_TIMEOUT, "not done after %llu ms",
                    (unsigned long long)s->o.timeout_ms);
    }
    return s->status != 0 ? s->status : s->bad > 0 ? EXIT_NETWORK : EXIT_DONE;
}

int run_client(int argc, char **argv)
{
    static const char *const allowed[] = {"count",  "send",      "lines", "request",
                                          "output", "timeout",   "cert",  "key",
                                          "state",  "log-level", "ADDR",  NULL};
    struct state s = {0};
    char why[512] = "";
    tbq_config c;

    tbq_config_init(&c);
    c.network_mode = TBQ_MODE_CLIENT;
    c.error_text = why;
    c.error_text_size = sizeof why;
    int rv = options_read(&s.o, &commands[1], allowed, argc, argv);
    if (rv != 0 || (rv = options_to_config(&s.o, &c)) != 0) {
        return rv;
    }
    if (s.o.request != NULL && s.o.output == NULL && output_json) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                    "--request with --json needs --output: standard output is for JSON");
    }
    s.o.address = s.o.address != NULL ? s.o.address : "127.0.0.1:8443";
    if (s.o.count == 0 && s.o.send_len == 0 && s.o.request == NULL) {
        s.o.count = 1;
    }
    rv = load(&s);
    if (rv == 0) {
        rv = tbq_server_start(&s.server, &c, NULL, NULL, NULL);
        rv = rv < 0 ? fail(EXIT_USAGE, rv, "%s", why) : talk(&s);
    }
    tbq_server_free(s.server);
    for (size_t i = 0; i < s.o.send_len; i++) {
        free(s.files[i]);
    }
    free(s.messages);
    return rv;
}
